"""Time as the engine is told it: one object to inject, so that a simulation can own both clocks."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks in seconds. Intervals and deadlines use `monotonic`; what people read uses `wall`."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never steps back, not even when the date is corrected."""
        ...

    def wall(self) -> float:
        """Seconds since 1970-01-01 UTC; may jump."""
        ...


class SystemClock:
    """The machine's clocks."""

    __slots__ = ()

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()
