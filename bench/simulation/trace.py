"""What happened, in order: (time, actor, event), hashed as it grows. Equal hashes: the same run."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from typing import Final, TextIO

KEPT_LINES: Final = 400
"""The last lines of a failing seed are shown."""
HASHED_AT_ONCE: Final = 1_000


class Trace:
    """`add` a line an event. `echo`: also write every line there."""

    def __init__(self, now: Callable[[], float], echo: TextIO | None = None) -> None:
        self._now = now
        self._echo = echo
        self._hash = hashlib.sha256()
        self._unhashed: list[str] = []
        self.lines = 0
        self.last: deque[str] = deque(maxlen=KEPT_LINES)

    def add(self, actor: str, event: str) -> None:
        line = f"{self._now():.6f} {actor} {event}"
        self._unhashed.append(line)
        if len(self._unhashed) >= HASHED_AT_ONCE:
            self._hash_lines()
        self.lines += 1
        self.last.append(line)
        if self._echo is not None:
            self._echo.write(line + "\n")

    def _hash_lines(self) -> None:
        self._hash.update("".join(f"{line}\n" for line in self._unhashed).encode())
        self._unhashed.clear()

    def digest(self) -> str:
        self._hash_lines()
        return self._hash.hexdigest()
