"""What happened, in order: (time, actor, event), hashed as it grows. Equal hashes: the same run."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from typing import Final, TextIO

KEPT_LINES: Final = 400
"""The last lines of a failing seed are shown."""


class Trace:
    """`add` a line an event. `echo`: also write every line there."""

    def __init__(self, now: Callable[[], float], echo: TextIO | None = None) -> None:
        self._now = now
        self._echo = echo
        self._hash = hashlib.sha256()
        self.lines = 0
        self.last: deque[str] = deque(maxlen=KEPT_LINES)

    def add(self, actor: str, event: str) -> None:
        line = f"{self._now():.6f} {actor} {event}"
        self._hash.update(line.encode())
        self._hash.update(b"\n")
        self.lines += 1
        self.last.append(line)
        if self._echo is not None:
            self._echo.write(line + "\n")

    def digest(self) -> str:
        return self._hash.hexdigest()
