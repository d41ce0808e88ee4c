"""A stage whose writes must happen: repeated until their outcome is known.

Facts (a response, a receipt) may not be dropped because Redis was restarting. Every write of such a stage
carries a turn number; after a lost reply the number tells whether the write was applied, so nothing is
written twice.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Final

import anyio

from ..errors import Fenced
from .port import WATCH_LOST, OutcomeUnknown, Store, StoreError, StoreRefused, StoreUnavailable

log = logging.getLogger("todoke.ledger")

FIRST_PAUSE_S: Final = 0.02
LONGEST_PAUSE_S: Final = 1.0
SCAN_COUNT: Final = 500


class Applied:
    """A write that was applied, its replies lost with the connection."""

    __slots__ = ()


APPLIED: Final = Applied()


class DurableStage:
    """One stage of the store with a memory of its last turn. `name` is unique within `turns_key` and
    process.
    """

    def __init__(self, store: Store, name: str, turns_key: bytes, epoch: int) -> None:
        self._stage = store.stage(name)
        self._turns_key = turns_key
        self._field = f"{name}:{epoch:x}"
        self._turn = 0
        self.away_since: float | None = None
        self._watches = False
        self._watch_lost = False
        """Of what was watched since the last commit some is watched no more: the next must not be made."""
        self._next_pause_s = FIRST_PAUSE_S
        """Of a watched write; a store may answer reads and refuse every write."""

    async def read(self, commands: list[tuple[Any, ...]], watch: Sequence[bytes] = ()) -> list[Any]:
        """As Stage.read. Raises StoreError."""
        try:
            replies = await self._stage.read(commands, watch)
        except StoreError:
            self._watches = False
            raise
        self._watches = self._watches or bool(watch)
        return replies

    async def read_surely(self, commands: list[tuple[Any, ...]], watch: Sequence[bytes] = ()) -> list[Any]:
        """As `read`, repeated until the store answers. What earlier reads watched may be lost by then: the
        `commit` that follows is refused.
        """
        pause_s = FIRST_PAUSE_S
        watched = self._watches
        while True:
            try:
                return await self.read(commands, watch)
            except StoreError as error:
                self._watch_lost = self._watch_lost or watched
                pause_s = await self._pause(error, pause_s)

    async def scan(self, key: bytes) -> AsyncGenerator[tuple[bytes, bytes]]:
        """The fields and values of a hash, each once; what changes meanwhile may be there or not. Raises
        StoreError.
        """
        cursor: bytes | int = 0
        seen: set[bytes] = set()  # a scan may return a field twice
        while True:
            ((cursor, pairs),) = await self.read([("HSCAN", key, cursor, "COUNT", SCAN_COUNT)])
            for field, value in zip(pairs[::2], pairs[1::2], strict=True):
                if field not in seen:
                    seen.add(field)
                    yield field, value
            if int(cursor) == 0:
                return

    async def unwatch(self) -> None:
        """As Stage.unwatch. Raises StoreUnavailable; nothing is watched then either."""
        self._watches = self._watch_lost = False
        await self._stage.unwatch()

    async def commit(
        self,
        commands: list[tuple[Any, ...]],
        holds: Mapping[bytes, bytes] | None = None,
        unless_changed: Mapping[bytes, bytes | None] | None = None,
    ) -> list[Any] | Applied | None:
        """One attempt with the outcome known. None: a watched key, or one of `unless_changed`, has another
        value now. Raises StoreError: nothing was written.

        `holds`: written only while these keys have these values; raises Fenced if one has not.
        """
        lost, self._watches, self._watch_lost = self._watch_lost, False, False
        if lost:
            await self._stage.unwatch()
            raise StoreUnavailable(WATCH_LOST)
        self._turn += 1
        marked = [*commands, ("HSET", self._turns_key, self._field, self._turn)]
        try:
            if unless_changed:
                # One read: watches of two would not outlive a connection that is lost between them.
                keys = [*unless_changed, *(holds or {})]
                known = await self._stage.read([("GET", key) for key in keys], keys)
                if known[len(unless_changed) :] != list((holds or {}).values()):
                    await self._stage.unwatch()
                    raise Fenced("another process has taken a slot of this account")
                if known[: len(unless_changed)] != list(unless_changed.values()):
                    await self._stage.unwatch()
                    return None
                replies = await self._stage.commit(marked)
            elif holds:
                replies = await self._stage.commit_if(holds, marked)
                if replies is None:
                    raise Fenced("another process has taken a slot of this account")
            else:
                replies = await self._stage.commit(marked)
        except OutcomeUnknown:
            applied = await self.read_surely([("HGET", self._turns_key, self._field)])
            if applied[0] is not None and int(applied[0]) == self._turn:
                return APPLIED
            raise StoreUnavailable("the connection was lost and nothing was written") from None
        return None if replies is None else replies[:-1]

    async def commit_surely(
        self,
        commands: list[tuple[Any, ...]],
        holds: Mapping[bytes, bytes] | None = None,
        unless_changed: Mapping[bytes, bytes | None] | None = None,
        *,
        watched: bool = False,
    ) -> list[Any] | Applied | None:
        """As `commit`, repeated until the store has taken it. Raises Fenced as `commit` does.

        `watched`: what was read is watched. A lost connection takes the watch along: None then, read again.
        """
        pause_s = self._next_pause_s
        while True:
            try:
                replies = await self.commit(commands, holds, unless_changed)
            except StoreError as error:
                pause_s = await self._pause(error, pause_s)
                if watched:
                    self._next_pause_s = pause_s
                    return None
                continue
            self._next_pause_s = FIRST_PAUSE_S
            if self.away_since is not None:
                self.away_since = None
                log.warning("%s: the message store takes writes again", self._field)
            return replies

    async def forget(self) -> None:
        """Remove the turn marker: the last thing a clean stop writes."""
        try:
            await self._stage.commit([("HDEL", self._turns_key, self._field)])
        except StoreError as error:
            log.info("a turn marker was left behind: %s", error)

    async def _pause(self, error: StoreError, pause_s: float) -> float:
        if self.away_since is None:
            self.away_since = anyio.current_time()
            kind = "refuses writes" if isinstance(error, StoreRefused) else "is away"
            log.error(
                "%s: the message store %s (%s); work waits and resumes by itself", self._field, kind, error
            )
        await anyio.sleep(pause_s)
        return min(LONGEST_PAUSE_S, pause_s * 2)
