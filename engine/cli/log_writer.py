"""Where a node's log goes: to standard error, by a thread of its own.

A log is worth less than what it tells of. Whoever reads it may have stopped reading, and the disk it goes to
may be full: a line that cannot be written waits behind the others up to `LINES_MAX`, is counted after that,
and is never waited for. When lines can be written again, how many are missing is said there.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from queue import Full, Queue
from typing import Final

LINES_MAX: Final = 10_000
"""Lines that wait to be written."""
AGAIN_S: Final = 0.05
"""A descriptor that is not ready is tried again after this long."""
FLUSH_S: Final = 1.0
"""At the end of the process lines that wait are given this long."""


class LogWriter(logging.Handler):
    """Writes lines to a descriptor; `emit` never blocks."""

    def __init__(self, descriptor: int, lines_max: int = LINES_MAX) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lines: Queue[str] = Queue(lines_max)
        self._count = threading.Lock()
        self._missing = 0
        self._torn = False
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(self.format(record))
        except Full:
            self._lost(1)

    def flush(self) -> None:
        """Wait until all is written, or `FLUSH_S` are over."""
        done = self._lines.all_tasks_done
        with done:
            done.wait_for(lambda: not self._lines.unfinished_tasks, FLUSH_S)

    def _lost(self, lines: int) -> None:
        with self._count:
            self._missing += lines

    def _run(self) -> None:
        while True:
            line = self._lines.get()
            missing = self._missing
            if missing and self._write(f"{missing} lines of this log could not be written"):
                self._lost(-missing)
            if not self._write(line):
                self._lost(1)
            self._lines.task_done()

    def _write(self, line: str) -> bool:
        """Whether the whole line was written. Blocks as long as nobody reads."""
        start = "\n" if self._torn else ""
        data = f"{start}{line}\n".encode("utf-8", "backslashreplace")
        left = data
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:
                time.sleep(AGAIN_S)
            except OSError:
                self._torn = self._torn or len(left) < len(data)
                return False
        self._torn = False
        return True
