"""What the memory store keeps: keys, values, when they expire, and who watches them. Pure."""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import Any

from .port import StoreRefused


class SortedSet:
    """Scores by member, and (score, member) in order. Scores are whole numbers, as the ledger's are."""

    __slots__ = ("order", "scores")

    def __init__(self) -> None:
        self.scores: dict[bytes, float] = {}
        self.order: list[tuple[float, bytes]] = []

    def __len__(self) -> int:
        return len(self.scores)

    def put(self, member: bytes, score: float) -> None:
        self.drop(member)
        self.scores[member] = score
        insort(self.order, (score, member))

    def drop(self, member: bytes) -> bool:
        score = self.scores.pop(member, None)
        if score is None:
            return False
        del self.order[bisect_left(self.order, (score, member))]
        return True

    def copy(self) -> SortedSet:
        new = SortedSet()
        new.scores = dict(self.scores)
        new.order = list(self.order)
        return new


class Watch:
    """What one connection watches; `dirty` once one of the keys was changed."""

    __slots__ = ("dirty", "keys")

    def __init__(self) -> None:
        self.dirty = False
        self.keys: set[bytes] = set()


class Database:
    """Keys and values. `now_ms` is the time of the command that runs, in milliseconds since 1970."""

    def __init__(self) -> None:
        self.values: dict[bytes, Any] = {}
        self.expires_ms: dict[bytes, int] = {}
        self.now_ms = 0
        self._expiry_heap: list[tuple[int, bytes]] = []
        self._watchers: dict[bytes, set[Watch]] = {}

    # What the store calls

    def advance(self, now_ms: int) -> None:
        """It is this time now, or later if it was before: remove what has expired."""
        self.now_ms = max(self.now_ms, now_ms)
        heap = self._expiry_heap
        while heap and heap[0][0] <= self.now_ms:
            at_ms, key = heapq.heappop(heap)
            if self.expires_ms.get(key) == at_ms:
                self.remove(key)

    def watch(self, watch: Watch, keys: Sequence[bytes]) -> None:
        """Mark `watch` dirty from now on when one of these keys changes."""
        for key in keys:
            watch.keys.add(key)
            self._watchers.setdefault(key, set()).add(watch)

    def unwatch(self, watch: Watch) -> None:
        for key in watch.keys:
            watchers = self._watchers.get(key)
            if watchers is None:
                continue  # it was registered with the database before a crash
            watchers.discard(watch)
            if not watchers:
                del self._watchers[key]
        watch.keys.clear()
        watch.dirty = False

    def copy(self) -> Database:
        """A copy that shares no mutable value and is watched by nobody."""
        new = Database()
        new.values = {k: v if v.__class__ is bytes else v.copy() for k, v in self.values.items()}
        new.expires_ms = dict(self.expires_ms)
        new.now_ms = self.now_ms
        new._expiry_heap = list(self._expiry_heap)
        return new

    # What the commands call

    def touched(self, key: bytes) -> None:
        """The key was changed, as WATCH understands it."""
        for watch in self._watchers.get(key, ()):
            watch.dirty = True

    def remove(self, key: bytes) -> bool:
        self.expires_ms.pop(key, None)
        if self.values.pop(key, None) is None:
            return False
        self.touched(key)
        return True

    def expire_at(self, key: bytes, at_ms: int) -> None:
        self.expires_ms[key] = at_ms
        heapq.heappush(self._expiry_heap, (at_ms, key))

    def get(self, key: bytes, kind: type[Any]) -> Any:
        """The value, None if there is none. Raises StoreRefused WRONGTYPE."""
        value = self.values.get(key)
        if value is not None and value.__class__ is not kind:
            raise StoreRefused("WRONGTYPE", "Operation against a key holding the wrong kind of value")
        return value

    def get_or_make(self, key: bytes, kind: type[Any]) -> Any:
        value = self.get(key, kind)
        if value is None:
            value = self.values[key] = kind()
        return value

    def changed(self, key: bytes, value: Any) -> None:
        """A collection was changed: an empty one ceases to exist."""
        self.touched(key)
        if not value:
            self.remove(key)
