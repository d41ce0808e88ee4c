"""How many parts may be written now, so that no sliding second ever holds more than the contract. Pure.

A carrier counts what arrives in any second, not a bucket with bursts: a bucket that allows 500 at once after
a quiet time and 500 more in the same second breaks a contract of 500. So what was written is remembered in
spans of a fiftieth of a second, with the moment of each span's last part. What is younger than a second and
one span is summed (2 % of the rate is the price): a carrier counts what arrives, and two parts that left a
second apart may arrive some milliseconds less apart. No span takes more than its share of the rate: the line
is even, and a carrier that counts shorter windows than a second is content too. Whoever wakes late makes up
for the few spans just missed: on a machine with much to do timers ring some ten milliseconds late, and what
each of them missed would be missing from the second.

The rate may change at any moment, and what was written stays remembered. So the promise holds across a
change: in every sliding second there is no more than the rate that was in force when its last part was
written. After a lower rate nothing leaves until the second behind it has room for it, which takes one second
at most (two spans more, exactly).
"""

from __future__ import annotations

from collections import deque
from math import ceil
from typing import Final

SPANS_PER_SECOND: Final = 50
SPAN_S: Final = 1 / SPANS_PER_SECOND
CATCH_UP_SPANS: Final = 5
"""Missed spans that are made up for, at most: a tenth of a second."""
UNLIMITED: Final = 1 << 30


class Pacer:
    """The pace of one carrier account in parts per second; `rate` 0 = unlimited. Times in seconds,
    monotonic. `rate` is read freely and changed with `set_rate` only.
    """

    __slots__ = ("_sent", "_share", "_total", "rate")

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._share = _share_of(rate)
        self._sent: deque[tuple[int, int, float]] = deque()
        """Span, parts, when the last of them were written."""
        self._total = 0

    def set_rate(self, rate: float, now: float) -> None:
        """Another rate from `now` on; 0 = unlimited. Ask `next_at` anew afterwards.

        What left while the rate was unlimited was not counted: a limit that follows begins with nothing used.
        """
        if rate == self.rate:
            return
        if self.rate and rate:
            self._forget(now)
        else:
            self._sent.clear()
            self._total = 0
        self.rate = rate
        self._share = _share_of(rate)

    def available(self, now: float) -> int:
        """Parts that may be written at `now`."""
        if not self.rate:
            return UNLIMITED
        span = self._forget(now)
        here, share = 0, self._share
        if self._sent:
            last, parts, _ = self._sent[-1]
            if last == span:
                here = parts
                last = self._sent[-2][0] if len(self._sent) > 1 else span - 1
            if span - last > 1:
                missed = min(CATCH_UP_SPANS, span - last - 1)
                share = max(share, ceil(self.rate * (missed + 1) / SPANS_PER_SECOND))
        return max(0, min(self._limit() - self._total, share - here))

    def took(self, parts: int, now: float) -> None:
        """`parts` were handed to a socket at `now`."""
        if not self.rate:
            return
        span = self._forget(now)
        if self._sent and self._sent[-1][0] == span:
            self._sent[-1] = (span, self._sent[-1][1] + parts, now)
        else:
            self._sent.append((span, parts, now))
        self._total += parts

    def next_at(self, now: float) -> float:
        """When `available` is next above zero (now, if it is)."""
        if self.available(now) > 0:
            return now
        span = int(now * SPANS_PER_SECOND)
        if self._total < self._limit():
            return (span + 1) * SPAN_S
        # After a lower rate the oldest span alone may not make room.
        too_many = self._total - self._limit()
        for _, parts, at in self._sent:
            too_many -= parts
            if too_many < 0:
                moment = at + self._memory_s()
                return moment if moment >= (span + 1) * SPAN_S else (span + 1) * SPAN_S
        raise AssertionError("the spans hold what was counted")

    def used_last_second(self, now: float) -> int:
        """Parts written in the last second (and one span)."""
        if not self.rate:
            return 0
        self._forget(now)
        return self._total

    def _limit(self) -> int:
        """Parts that the remembered spans may hold together."""
        return max(1, int(self.rate))

    def _memory_s(self) -> float:
        """How long a part is remembered. For a rate below one a second: the time that one part is worth."""
        return (1.0 if self.rate >= 1 else 1.0 / self.rate) + SPAN_S

    def _forget(self, now: float) -> int:
        span = int(now * SPANS_PER_SECOND)
        memory_s = self._memory_s()
        sent = self._sent
        while sent and sent[0][2] + memory_s <= now:
            self._total -= sent.popleft()[1]
        return span


def _share_of(rate: float) -> int:
    """Parts that one span may take."""
    return max(1, ceil(rate / SPANS_PER_SECOND))
