"""Time as the engine is told it: one object to inject, so that a simulation can own both clocks.

The date of a machine may step: somebody sets it, a virtual machine wakes up, NTP corrects what was wrong.
What waits for a while (a hold, a retry, a receipt) is written down as a date, because it outlives the
process, and must not end an hour early for that; nor may messages expire in a mass because of a date that is
right again a minute later. So `SystemClock` does not follow a step at once: it goes on at the pace of a clock
that never steps, and believes the new date when that has stood for `STEP_BELIEVED_S`. Smaller corrections it
follows.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

log = logging.getLogger("todoke")

STEP_S: Final = 2.0
"""A difference from the date we go by that is a step: more than a leap second and a second of stall."""
STEP_BELIEVED_S: Final = 300.0
"""A new date that stands so long is believed: far longer than a hold or the next look of NTP takes."""


class Clock(Protocol):
    """Two clocks in seconds. Intervals and deadlines use `monotonic`; what people read uses `wall`."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never steps back, not even when the date is corrected."""
        ...

    def wall(self) -> float:
        """Seconds since 1970-01-01 UTC; may jump."""
        ...


class SystemClock:
    """The machine's clocks, its date without steps that are taken back soon.

    `wall`, `steady`: what to read instead; `steady` is what dates go on by and counts the time in which the
    machine slept.
    """

    __slots__ = ("_at", "_offset", "_steady", "_step", "_wall")

    def __init__(
        self, wall: Callable[[], float] | None = None, steady: Callable[[], float] | None = None
    ) -> None:
        self._wall = wall or time.time
        self._steady = steady or _since_boot
        self._offset = self._wall() - self._steady()
        self._step = 0.0
        """The step that is not believed yet, 0 = none; `_at`: since when it has stood."""
        self._at = 0.0

    def monotonic(self) -> float:
        """See Clock."""
        return time.monotonic()

    def wall(self) -> float:
        """See Clock."""
        now = self._steady()
        step = self._wall() - now - self._offset
        if -STEP_S < step < STEP_S:
            if self._step:
                log.warning("the date is what it was before it stepped")
                self._step = 0.0
            self._offset += step
        else:
            self._doubt(step, now)
        return now + self._offset

    def _doubt(self, step: float, now: float) -> None:
        if not self._step or abs(step - self._step) >= STEP_S:
            log.warning("the date stepped by %+.0f s: believed if it stands %.0f s", step, STEP_BELIEVED_S)
            self._step, self._at = step, now
        elif now - self._at >= STEP_BELIEVED_S:
            log.warning("the date stepped by %+.0f s and stands: believed", step)
            self._offset += step
            self._step = 0.0


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
