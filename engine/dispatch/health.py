"""What one carrier account bears just now, as its own answers tell.

Four judges hear the same answers: a window for each bind and a rate for the account (send_window), the
numbers whose queue is full (destinations), and the breaker. This module tells them what each has to know,
once for a batch, and says what follows; the carrier does it. Time is an argument; no I/O.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from ...codecs import constants as c
from .breaker import Breaker, BreakerStatistics, State
from .destinations import Destinations, DestinationsStatistics
from .outgoing import Token
from .retry import DEFAULT_CLASSES, Classes, StatusClass
from .send_window import AdaptivePace, PaceStatistics, SendWindow, WindowStatistics

LOOK_S: Final = 0.25
"""While the rate comes back: how often it is raised."""

Answer = tuple[Token, int, int, bytes, int]


class HealthStatistics(msgspec.Struct, frozen=True):
    """What every judge is at. `windows` by bind name."""

    breaker: BreakerStatistics
    pace: PaceStatistics
    windows: dict[str, WindowStatistics]
    destinations: DestinationsStatistics


class Health:
    """The judges of one account in this process. Times monotonic; `jitter` gives numbers in [0, 1)."""

    def __init__(
        self,
        now: float,
        *,
        window: int,
        rate: float,
        response_timeout_s: float,
        jitter: Callable[[], float],
        classes: Classes = DEFAULT_CLASSES,
        breaks: bool = True,
    ) -> None:
        """`rate`: this process's part of the account's (0 = unlimited). `breaks`: the breaker may open."""
        self._breaks = breaks
        self.classes = classes
        self.pace = AdaptivePace(rate)
        self.destinations = Destinations()
        self.breaker = Breaker(now, response_timeout_s=response_timeout_s)
        self._window = window
        self._windows: dict[str, SendWindow] = {}
        self._jitter = jitter

    def window_of(self, bind: str) -> int:
        """Requests that this bind may have unanswered."""
        return self._of(bind).window

    def set_window(self, window: int) -> None:
        """Another limit for every bind."""
        self._window = window
        for each in self._windows.values():
            each.limit = window

    def _of(self, bind: str) -> SendWindow:
        found = self._windows.get(bind)
        if found is None:
            found = self._windows[bind] = SendWindow(self._window)
        return found

    def heard(self, bind: str, items: Sequence[Answer], congestion_state: int | None, now: float) -> None:
        """A batch of answers to submit_sm on one bind."""
        refused = [item for item in items if item[2]]
        ok = len(items) - len(refused)
        window = self._of(bind)
        if not refused:
            if window.window < window.limit or congestion_state is not None:
                window.answered(ok, now, congestion_state=congestion_state)
            self.pace.answered(ok, 0, now)
            if self.destinations:
                self._accepted(items)
            self.breaker.answers(ok, {}, now, 0.5)
            return
        failed: Counter[StatusClass] = Counter()
        full = alone = 0
        for (run, index, _), _, command_status, _, _ in refused:
            if command_status == c.ESME_RMSGQFUL:
                entry = run.entries[index]
                if entry is not None and not self.destinations.full(entry.to, now):
                    alone += 1
                    continue
                full += 1
            failed[self.classes.of(command_status)] += 1
        throttled = failed[StatusClass.THROTTLE]
        self.destinations.answered(len(items) - full, now)
        if self.destinations:
            self._accepted(items)
        window.answered(ok, now, throttled=throttled, full=full, congestion_state=congestion_state)
        self.pace.answered(ok, throttled, now)
        self.breaker.answers(ok, failed, now, self._jitter(), full=alone)

    def _accepted(self, items: Sequence[Answer]) -> None:
        for (run, index, _), _, command_status, _, _ in items:
            if not command_status:
                entry = run.entries[index]
                if entry is not None:
                    self.destinations.accepted(entry.to)

    def timed_out(self, parts: int, now: float) -> None:
        """So many parts were not answered in time."""
        self.breaker.timed_out(parts, now, self._jitter())

    def binds(self, up: int, now: float) -> None:
        """So many binds may send."""
        self.breaker.binds(up, now, self._jitter())

    def receipts(self, delivered: int, failed: int, now: float) -> None:
        """Final receipts came; `failed` for a reason that may be the carrier's."""
        self.breaker.receipts(delivered, failed, now, self._jitter())

    def is_open(self, now: float) -> bool:
        """Whether messages had better go elsewhere."""
        return self._breaks and self.breaker.state(now) is State.OPEN

    def probes(self, now: float) -> int | None:
        """Parts that may be sent while the account is tried out; None: any number."""
        return self.breaker.probes(now) if self._breaks else None

    def look_again_in(self, now: float) -> float | None:
        """When something may have changed by time alone, in seconds; None: only answers change anything."""
        change_at = self.breaker.next_change_at(now) if self._breaks else None
        waits = [] if change_at is None else [max(0.001, change_at - now)]
        if self.pace.contract_rate and self.pace.rate(now) < self.pace.contract_rate:
            waits.append(LOOK_S)
        return min(waits, default=None)

    def statistics(self, now: float) -> HealthStatistics:
        """What every judge is at."""
        return HealthStatistics(
            breaker=self.breaker.statistics(now),
            pace=self.pace.statistics(now),
            windows={name: window.statistics() for name, window in self._windows.items()},
            destinations=self.destinations.statistics(now),
        )


def destination_full(status: int, destinations: Destinations, to: str, now: float) -> float:
    """Seconds for which a number that refused with ESME_RMSGQFUL is left alone; 0: the account was meant."""
    if status != c.ESME_RMSGQFUL or not destinations:
        return 0.0
    return max(0.0, destinations.until(to, now) - now)
