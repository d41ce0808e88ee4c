"""What the apps are told: reading `{a}:events` for subscribers, and trimming what they acknowledged."""

from __future__ import annotations

import logging
from typing import Any, Final

import anyio

from .bell import Bell
from .intake.errors import BadCursor, NodeUnavailable
from .ledger.events import Told, as_event, cursor, entry_events, entry_key, split_cursor
from .ledger.keys import AppKeys
from .ledger.port import Stage, Store, StoreError
from .messages import StoredEvent

log = logging.getLogger("todoke.feed")

ENTRIES_AT_ONCE_MAX: Final = 8
ACK_PAUSE_S: Final = 0.2


class Feed:
    """The events of one app. `run()` is its acknowledging task."""

    def __init__(self, store: Store, app: str) -> None:
        self.app = app
        self._keys = AppKeys(app)
        self._reading: Stage = store.stage(f"events-{app}")
        self._acking: Stage = store.stage(f"ack-{app}")
        self._bell = Bell()
        self._ack_bell = Bell()
        self._wanted: str | None = None
        self._acked: str | None = None
        self._loaded = False
        self._counts: dict[str, int] = {}
        """Entries handed out and not acknowledged in whole -> how many of their events are not
        acknowledged.
        """
        self.unacknowledged = 0

    async def load(self) -> None:
        """At the start: where the app is. Raises StoreError."""
        acked, count = await self._reading.read([("GET", self._keys.acked), ("GET", self._keys.events_n)])
        self._acked = acked.decode() if acked is not None else None
        self.unacknowledged = int(count or 0)
        self._loaded = True

    def told(self, count: int) -> None:
        """New events were written."""
        self.unacknowledged += count
        self._bell.ring()

    async def events(self, after: str | None) -> list[StoredEvent]:
        """Events after a cursor (None: after the acknowledged one); waits until there is one.

        Raises BadCursor, NodeUnavailable.
        """
        where = after if after is not None else self._wanted or self._acked
        while True:
            try:
                found = await self._read(where)
            except StoreError as error:
                raise NodeUnavailable(str(error)) from error
            if found:
                return found
            await self._bell.wait()

    async def _read(self, after: str | None) -> list[StoredEvent]:
        entries: list[Any] = []
        skip = 0
        if after is None:
            start = "-"
        else:
            try:
                entry_id, position, count = split_cursor(after)
            except ValueError:
                raise BadCursor() from None
            if position + 1 < count:
                start, skip = entry_id, position + 1
            else:
                start = f"({entry_id}"
        (entries,) = await self._reading.read(
            [("XRANGE", self._keys.events, start, "+", "COUNT", ENTRIES_AT_ONCE_MAX)]
        )
        found: list[StoredEvent] = []
        for raw_id, fields in entries:
            entry_id = raw_id.decode()
            told: list[Told] = entry_events(fields[1])
            count = len(told)
            first = 0
            if skip:
                if after is not None and entry_id == split_cursor(after)[0]:
                    first = skip
                skip = 0
            self._counts.setdefault(entry_id, count)
            for position in range(first, count):
                where = cursor(entry_id, position, count)
                found.append((where, as_event(told[position], where)))
        return found

    def ack(self, where: str) -> None:
        """Everything up to this cursor is acknowledged; written soon. Raises BadCursor."""
        try:
            new = _order(where)
        except ValueError:
            raise BadCursor() from None
        now = self._wanted or self._acked
        if now is None or new > _order(now):
            self._wanted = where
            self._ack_bell.ring()

    async def run(self) -> None:
        """Write down acknowledgements, the newest at a time, until cancelled."""
        while True:
            await self._ack_bell.wait()
            where = self._wanted
            if where is None:
                continue
            try:
                await self._write_ack(where)
            except StoreError as error:
                log.info("%s: an acknowledgement waits for the message store: %s", self.app, error)
                await anyio.sleep(ACK_PAUSE_S)
                self._ack_bell.ring()

    async def _write_ack(self, where: str) -> None:
        entry_id, position, count = split_cursor(where)
        number = await self._newly_acked(where)
        milliseconds, sequence = entry_key(entry_id)
        keep_from = f"{milliseconds}-{sequence + 1}" if position + 1 >= count else entry_id
        await self._acking.commit(
            [
                ("XTRIM", self._keys.events, "MINID", keep_from),
                ("SET", self._keys.acked, where),
                ("INCRBY", self._keys.events_n, -number),
            ]
        )
        self._acked = where
        self.unacknowledged -= number

    async def _newly_acked(self, where: str) -> int:
        """How many events this acknowledgement covers beyond the one before."""
        new = _order(where)
        old = _order(self._acked) if self._acked is not None else ((0, 0), -1)
        number = 0
        known = [entry_id for entry_id in self._counts if entry_key(entry_id) <= new[0]]
        if not known:
            entry_id = split_cursor(where)[0]
            start = split_cursor(self._acked)[0] if self._acked is not None else "-"
            (entries,) = await self._acking.read([("XRANGE", self._keys.events, start, entry_id)])
            counts = {raw_id.decode(): len(entry_events(fields[1])) for raw_id, fields in entries}
        else:
            counts = {entry_id: self._counts[entry_id] for entry_id in known}
        for entry_id, count in counts.items():
            key = entry_key(entry_id)
            first = old[1] + 1 if key == old[0] else 0
            last = new[1] if key == new[0] else count - 1
            if key >= old[0]:
                number += max(0, last - first + 1)
            if last == count - 1:
                self._counts.pop(entry_id, None)
        return number


def _order(where: str) -> tuple[tuple[int, int], int]:
    entry_id, position, _ = split_cursor(where)
    return entry_key(entry_id), position
