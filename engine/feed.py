"""What the apps are told: reading `{a}:events` for subscribers, and trimming what they acknowledged."""

from __future__ import annotations

import logging
from typing import Final

import anyio

from .bell import Bell
from .intake.errors import BadCursor, NodeUnavailable
from .ledger.events import Told, as_events, entry_events, entry_key, split_cursor
from .ledger.keys import AppKeys
from .ledger.port import Stage, Store, StoreError
from .messages import StoredEvent

log = logging.getLogger("todoke.feed")

ENTRIES_AT_ONCE_MAX: Final = 8
STREAM_ID_MAX: Final = (1 << 64) - 1
COUNTED_AT_ONCE_MAX: Final = 200
"""Entries read at once to count what an acknowledgement covers that was handed out by an earlier process."""
ACK_PAUSE_S: Final = 0.2
SHARED_WAIT_S: Final = 30.0
"""While other processes write events too, the store is asked to say when there are some; so long at a
time.
"""
SHARED_LOOK_S: Final = 0.2
"""Where it cannot be asked, it is looked for them so often."""

Order = tuple[tuple[int, int], int]
"""A cursor as it compares: entry, and place in it."""
BEGINNING: Final[Order] = ((0, 0), -1)


class Feed:
    """The events of one app. `run()` is its acknowledging task; the other methods may be called from many."""

    def __init__(self, store: Store, app: str) -> None:
        self.app = app
        self._store = store
        self._keys = AppKeys(app)
        self._reading: Stage = store.stage(f"events-{app}")
        self._acking: Stage = store.stage(f"ack-{app}")
        self._news = anyio.Event()
        """Set, and replaced, when there are new events."""
        self._read_out: tuple[str | None, anyio.Event | None] = ("", None)
        """A cursor behind which nothing stood, and `_news` when it was read: so it is until that is set."""
        self._ack_bell = Bell()
        self._wanted: str | None = None
        self._acked: str | None = None
        self._in_doubt = ("", 0)
        """The last acknowledgement sent, whose answer may be lost, and how many events it covers."""
        self._counts: dict[str, int] = {}
        """Entries handed out and not acknowledged in whole -> how many events each has; in order, and
        complete from `_handed_from` to `_handed_to`.
        """
        self._handed_from: Order = BEGINNING
        self._handed_to: Order = BEGINNING
        self.unacknowledged = 0
        self.shared = False
        """Other processes may write events too: they are looked for now and then."""

    async def load(self) -> None:
        """At the start: where the app is. Raises StoreError."""
        acked, count = await self._reading.read([("GET", self._keys.acked), ("GET", self._keys.events_n)])
        self._acked = acked.decode() if acked is not None else None
        self._handed_from = self._handed_to = self._acked_order()
        self.unacknowledged = int(count or 0)

    def told(self, count: int) -> None:
        """New events were written."""
        self.unacknowledged += count
        self._news.set()
        self._news = anyio.Event()

    @property
    def counted(self) -> tuple[str, bytes]:
        """The question how many events wait."""
        return ("GET", self._keys.events_n)

    def shared_with_others(self, count: int) -> None:
        """Now and then, while other processes are alive: so many events wait, by whomever they were
        written.
        """
        self.unacknowledged = count
        self._set_shared(True)

    def alone(self) -> None:
        """Nobody else writes events, or acknowledges any."""
        self._set_shared(False)

    def _set_shared(self, shared: bool) -> None:
        changed, self.shared = shared != self.shared, shared
        if changed:
            self.told(0)

    async def events(self, after: str | None) -> list[StoredEvent]:
        """Events after a cursor (None: after the acknowledged one); waits until there is one.

        Raises BadCursor, NodeUnavailable.
        """
        where = after if after is not None else self._wanted or self._acked
        while True:
            news = self._news
            if self._read_out != (where, news):
                try:
                    found, more = await self._read(where)
                except StoreError as error:
                    raise NodeUnavailable(str(error)) from error
                if not more:
                    self._read_out = (found[-1][0] if found else where, news)
                if found:
                    return found
            if not self.shared:
                await news.wait()
                continue
            # It tells of what this process writes as well; a wait that is cancelled would cost a connection.
            last = _split(where)[0].encode() if where is not None else b"0-0"
            self._read_out = ("", None)
            try:
                await self._store.wait({self._keys.events: last}, SHARED_WAIT_S)
            except StoreError:
                with anyio.move_on_after(SHARED_LOOK_S):
                    await news.wait()

    async def _read(self, after: str | None) -> tuple[list[StoredEvent], bool]:
        """Events after this one, and whether there may be more behind them."""
        start, begin = "-", BEGINNING
        if after is not None:
            entry_id, position, count = _split(after)
            begin = (entry_key(entry_id), position)
            start = entry_id if position + 1 < count else f"({entry_id}"
        (entries,) = await self._reading.read(
            [("XRANGE", self._keys.events, start, "+", "COUNT", ENTRIES_AT_ONCE_MAX)]
        )
        if not self._handed_from <= begin <= self._handed_to:
            # The app goes on from a cursor of its own: what lies between has not been counted.
            self._counts.clear()
            self._handed_from = self._handed_to = begin
        found: list[StoredEvent] = []
        for raw_id, fields in entries:
            entry_id = raw_id.decode()
            told: list[Told] = entry_events(fields[1])
            count = len(told)
            key = entry_key(entry_id)
            if (key, count - 1) > self._handed_to:
                self._counts[entry_id] = count
                self._handed_to = (key, count - 1)
            found += as_events(entry_id, told, begin[1] + 1 if key == begin[0] else 0)
        return found, len(entries) == ENTRIES_AT_ONCE_MAX

    async def ack(self, where: str) -> None:
        """Everything up to this cursor is acknowledged; written soon.

        Raises BadCursor, also for what was never handed out; NodeUnavailable.
        """
        entry_id, position, count = _split(where)
        new = (entry_key(entry_id), position)
        if new <= self._wanted_order():
            return
        there = self._counts.get(entry_id)
        if there is None:
            try:
                (entries,) = await self._reading.read([("XRANGE", self._keys.events, entry_id, entry_id)])
            except StoreError as error:
                raise NodeUnavailable(str(error)) from error
            there = len(entry_events(entries[0][1][1])) if entries else 0
        if count != there or position >= count:
            raise BadCursor()
        if new > self._wanted_order():
            self._wanted = where
            self._ack_bell.ring()

    async def run(self) -> None:
        """Write down acknowledgements, the newest at a time, until cancelled."""
        while True:
            await self._ack_bell.wait()
            while self._wanted is not None and self._wanted_order() > self._acked_order():
                try:
                    await self._write_ack(self._wanted)
                except StoreError as error:
                    log.info("%s: an acknowledgement waits for the message store: %s", self.app, error)
                    await anyio.sleep(ACK_PAUSE_S)

    async def _write_ack(self, where: str) -> None:
        """One attempt, from where the store says the app is: another process, or a write of ours whose answer
        was lost, may have come further. What is acknowledged already is not counted again.
        """
        keys = self._keys
        (stored,) = await self._acking.read([("GET", keys.acked)], (keys.acked,))
        there = stored.decode() if stored is not None else None
        if there is not None and _order(there) > self._acked_order():
            mine, number = self._in_doubt
            self._advance(there, number if mine == there else await self._newly_acked(_order(there)))
        if _order(where) <= self._acked_order():
            await self._acking.unwatch()
            return
        entry_id, position, count = split_cursor(where)
        number = await self._newly_acked(_order(where))
        self._in_doubt = (where, number)
        milliseconds, sequence = entry_key(entry_id)
        keep_from = f"{milliseconds}-{sequence + 1}" if position + 1 >= count else entry_id
        done = await self._acking.commit(
            [
                ("XTRIM", keys.events, "MINID", keep_from),
                ("SET", keys.acked, where),
                ("INCRBY", keys.events_n, -number),
            ]
        )
        if done is not None:
            self._advance(where, number)

    def _advance(self, where: str, number: int) -> None:
        """The app is there now, so many events further."""
        self._acked = where
        if self._wanted is not None and _order(self._wanted) < _order(where):
            self._wanted = where
        self.unacknowledged -= number
        for known, events in list(self._counts.items()):
            if (entry_key(known), events - 1) > _order(where):
                break
            del self._counts[known]

    async def _newly_acked(self, new: Order) -> int:
        """How many events this acknowledgement covers beyond the one before."""
        old = self._acked_order()
        counts = self._counts
        if not (self._handed_from <= old and new <= self._handed_to):
            counts = await self._stored_counts(old[0], new[0])
        number = 0
        for entry_id, count in counts.items():
            key = entry_key(entry_id)
            if key > new[0]:
                break
            if key >= old[0]:
                first = old[1] + 1 if key == old[0] else 0
                last = new[1] if key == new[0] else count - 1
                number += max(0, last - first + 1)
        return number

    async def _stored_counts(self, first: tuple[int, int], last: tuple[int, int]) -> dict[str, int]:
        counts: dict[str, int] = {}
        start, end = "{}-{}".format(*first), "{}-{}".format(*last)
        while True:
            (entries,) = await self._reading.read(
                [("XRANGE", self._keys.events, start, end, "COUNT", COUNTED_AT_ONCE_MAX)]
            )
            for raw_id, fields in entries:
                counts[raw_id.decode()] = len(entry_events(fields[1]))
            if len(entries) < COUNTED_AT_ONCE_MAX:
                return counts
            start = "(" + entries[-1][0].decode()

    def _acked_order(self) -> Order:
        return BEGINNING if self._acked is None else _order(self._acked)

    def _wanted_order(self) -> Order:
        return self._acked_order() if self._wanted is None else _order(self._wanted)


def _split(where: str) -> tuple[str, int, int]:
    """entry id, position, count. Raises BadCursor."""
    try:
        entry_id, position, count = split_cursor(where)
    except ValueError:
        raise BadCursor() from None
    if not where.isascii() or max(entry_key(entry_id)) > STREAM_ID_MAX:
        raise BadCursor()
    return entry_id, position, count


def _order(where: str) -> Order:
    entry_id, position, _ = split_cursor(where)
    return entry_key(entry_id), position
