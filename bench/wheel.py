"""Timers by the thousand: items fall into buckets of one tick, and a heap holds only the ticks.

A timer of its own costs an event loop microseconds; an item in a bucket costs an append. Pure: time is
an argument.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Final, Generic, TypeVar

T = TypeVar("T")
TICK_S: Final = 0.001
ROUNDING_TICKS: Final = 1e-6
"""`next_deadline()` handed back as `now` must be due, though tick / per_s * per_s may fall short of tick."""


class TimerWheel(Generic[T]):
    """Items with a deadline, in ticks of `tick_s` seconds. An item is never due before its deadline."""

    def __init__(self, tick_s: float = TICK_S) -> None:
        self._per_s = 1.0 / tick_s
        self._buckets: dict[int, list[T]] = {}
        self._ticks: list[int] = []
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, deadline: float, item: T) -> None:
        """Make `item` due at `deadline` (seconds), rounded up to a tick."""
        tick = math.ceil(deadline * self._per_s - ROUNDING_TICKS)
        bucket = self._buckets.get(tick)
        if bucket is None:
            self._buckets[tick] = [item]
            heappush(self._ticks, tick)
        else:
            bucket.append(item)
        self._size += 1

    def extend(self, deadline: float, items: Iterable[T]) -> None:
        """Make all `items` due at `deadline`."""
        tick = math.ceil(deadline * self._per_s - ROUNDING_TICKS)
        bucket = self._buckets.get(tick)
        if bucket is None:
            bucket = self._buckets[tick] = []
            heappush(self._ticks, tick)
        before = len(bucket)
        bucket.extend(items)
        self._size += len(bucket) - before

    def due(self, now: float) -> list[T]:
        """Take out what is due at `now`, in order of deadline, then of arrival."""
        limit = now * self._per_s + ROUNDING_TICKS
        ticks = self._ticks
        if not ticks or ticks[0] > limit:
            return []
        items: list[T] = []
        while ticks and ticks[0] <= limit:
            items += self._buckets.pop(heappop(ticks))
        self._size -= len(items)
        return items

    def next_deadline(self) -> float:
        """When something is due next; infinity when nothing is held."""
        return self._ticks[0] / self._per_s if self._ticks else math.inf
