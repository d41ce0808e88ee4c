"""The receipt stage of one carrier: deliver_sm in, index and reports written in one step, deliver_sm_resp out.

A deliver_sm is answered ESME_ROK only after the step that stored what it says; while the store is away it is answered
ESME_RX_T_APPN, so the SMSC keeps it. A receipt that matches nothing yet is parked: the parking step looks into the
index once more in the same transaction, and the record stage looks for parked receipts in the step that writes the
index, so one of the two sees the other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import msgspec

from ...codecs import constants as c
from ...codecs.errors import CodecError
from ...codecs.fast import receipt_of
from ...codecs.receipt import Receipt, id_variants, parse_deliver
from ..bell import Bell
from ..clock import Clock
from ..config import CarrierConfig
from ..ledger.durable import Applied, DurableStage
from ..ledger.events import Told, publish
from ..ledger.keys import CarrierKeys
from ..ledger.port import StoreError
from .correlation import Batch
from .fields import Parked, decode_parked, index_key
from .mobile_originated import read_message

log = logging.getLogger("todoke.receipts")

TURN_RECEIPTS_MAX: Final = 4_000
ORPHANS_PER_ID_MAX: Final = 8


class DeliveringBind(Protocol):
    """What this stage needs of a bind."""

    def answer_delivers(self, answers: Sequence[tuple[int, int, int]]) -> None: ...


_encode = msgspec.msgpack.Encoder().encode

Item = tuple[DeliveringBind, int, int, bytes]
"""bind, handle, command_id, frame."""


class _Work:
    """One receipt on its way through a turn."""

    __slots__ = ("key", "parked", "receipt", "tries")

    def __init__(self, receipt: Receipt, key: bytes, parked: bool) -> None:
        self.receipt = receipt
        self.key = key
        self.parked = parked
        """It comes out of the orphans, which are to be cleared of it."""
        self.tries: list[bytes] = [key]
        """Index keys it may stand under, its own first."""


class ReceiptStage:
    """Owns the receipt stage's connection. `run()` is its one task."""

    def __init__(
        self,
        config: CarrierConfig,
        keys: CarrierKeys,
        stage: DurableStage,
        clock: Clock,
        *,
        app_for: Callable[[str], str],
    ) -> None:
        """`app_for`: destination address of a message from a handset -> the app that is told."""
        self._config = config
        self._keys = keys
        self._stage = stage
        self._clock = clock
        self._app_for = app_for
        self._items: list[Item] = []
        self._orphan_keys: list[bytes] = []
        self.bell = Bell()
        self.busy = False
        self.on_events: Callable[[str, int], None] = lambda app, n: None
        self.on_due: Callable[[int], None] = lambda at_ms: None
        self.counts: dict[str, int] = {
            "receipts": 0, "repeated": 0, "orphaned": 0, "adopted": 0, "received": 0, "unreadable": 0, "put_off": 0,
        }
        self.lag_s = 0.0
        """How long the last batch waited between its arrival and its answer."""
        self._oldest_at: float | None = None

    def delivered(self, bind: DeliveringBind, items: list[tuple[int, int, bytes]]) -> None:
        """Take PDUs from a bind; each is answered through that bind later."""
        if self._oldest_at is None:
            self._oldest_at = self._clock.monotonic()
        self._items += [(bind, handle, command_id, frame) for handle, command_id, frame in items]
        self.bell.ring()

    def look_for(self, keys: list[bytes]) -> None:
        """These ids were just written into the index while orphans exist: one of them may be theirs."""
        self._orphan_keys += keys
        self.bell.ring()

    @property
    def idle(self) -> bool:
        return not (self.busy or self._items or self._orphan_keys)

    async def run(self) -> None:
        """The stage's task, until cancelled."""
        while True:
            await self.bell.wait()
            self.busy = True
            try:
                await self._turn()
            finally:
                self.busy = False

    async def _turn(self) -> None:
        items, self._items = self._items[:TURN_RECEIPTS_MAX], self._items[TURN_RECEIPTS_MAX:]
        orphan_keys, self._orphan_keys = self._orphan_keys, []
        began, self._oldest_at = self._oldest_at, None
        if self._items:
            self._oldest_at = began
            self.bell.ring()
        if orphan_keys:
            await self._adopt(orphan_keys)
        if not items:
            return
        work, received = self._read(items)
        try:
            await self._apply(work, received)
        except StoreError as error:
            self.counts["put_off"] += len(items)
            log.warning("%s: %d PDUs are left with the SMSC: %s", self._config.name, len(items), error)
            self._answer(items, c.ESME_RX_T_APPN)
            return
        self._answer(items, c.ESME_ROK)
        if began is not None:
            self.lag_s = self._clock.monotonic() - began

    def _answer(self, items: list[Item], command_status: int) -> None:
        by_bind: dict[int, tuple[DeliveringBind, list[tuple[int, int, int]]]] = {}
        for bind, handle, command_id, _ in items:
            found = by_bind.get(id(bind))
            if found is None:
                found = by_bind[id(bind)] = (bind, [])
            found[1].append((handle, command_id, command_status))
        for bind, answers in by_bind.values():
            bind.answer_delivers(answers)

    def _read(self, items: list[Item]) -> tuple[list[_Work], list[Told]]:
        """Octets to receipts, and to messages from handsets."""
        work: list[_Work] = []
        received: list[Told] = []
        for _bind, _handle, _command_id, frame in items:
            receipt = receipt_of(frame)
            if receipt is None:
                try:
                    receipt = parse_deliver(frame)
                    if receipt is None:
                        received.append(read_message(frame, self._config.name, int(self._clock.wall() * 1000)))
                        continue
                except CodecError as error:
                    # Answered ESME_ROK all the same: refused, the SMSC would offer it for ever (protocol.md 1.6).
                    self.counts["unreadable"] += 1
                    log.error("%s: a deliver_sm cannot be read: %s", self._config.name, error)
                    continue
            work.append(_Work(receipt, index_key(receipt.message_id.encode("latin-1", "replace")), False))
        return work, received

    async def _apply(self, work: list[_Work], received: list[Told]) -> None:
        """Read the index, decide, write; again if another process was faster. Raises StoreError."""
        while True:
            batch, orphans = await self._decide(work)
            unmatched = {id(item) for item in orphans}
            commands = self._commands(batch, [item for item in work if id(item) not in unmatched])
            fresh = [item for item in orphans if not item.parked]
            for told in received:
                commands += publish(self._app_for(told.to), [told])
            park_at = len(commands)
            if fresh:
                commands += await self._park(fresh)
            if not commands:
                await self._stage.unwatch()
                replies: list[Any] | Applied | None = []
            else:
                commands.append(("INCR", self._keys.receipts_version))
                replies = await self._stage.commit(commands)
            if replies is not None:
                break
        self.counts["receipts"] += batch.applied
        self.counts["repeated"] += batch.repeated
        self.counts["received"] += len(received)
        for app, told_list in batch.events.items():
            self.on_events(app, len(told_list))
        for told in received:
            self.on_events(self._app_for(told.to), 1)
        if fresh:
            self.counts["orphaned"] += len(fresh)
            now_there = [True] if isinstance(replies, Applied) else replies[park_at + 1]
            if any(now_there):
                # The answer to submit_sm was recorded between our look and our parking.
                self.look_for([item.key for item in fresh])

    async def _decide(self, work: list[_Work]) -> tuple[Batch, list[_Work]]:
        keys = [item.key for item in work]
        values: dict[bytes, bytes] = {}
        if keys:
            (found,) = await self._stage.read(
                [("HMGET", self._keys.receipts, *keys)], (self._keys.receipts_version,)
            )
            values = {key: value for key, value in zip(keys, found, strict=True) if value is not None}
        missed = [item for item in work if item.key not in values]
        if missed:
            await self._look_closer(missed, values)
        batch = Batch(
            self._config.name,
            int(self._clock.wall() * 1000),
            values,
            self._config.multipart_receipts == "one",
        )
        orphans: list[_Work] = []
        apply = batch.apply
        for item in work:
            if item.key in values and apply(item.key, item.receipt, True):
                continue
            for key in item.tries[1:]:
                if key in values and apply(key, item.receipt, False):
                    break
            else:
                orphans.append(item)
        if batch.long:
            names = list({batch.message_id(origin) for origin, _, _ in batch.long})
            (tables,) = await self._stage.read([("HMGET", self._keys.multi, *names)])
            batch.multi = dict(zip(names, tables, strict=True))
            batch.finish_long()
        return batch, orphans

    async def _look_closer(self, missed: list[_Work], values: dict[bytes, bytes]) -> None:
        """Other forms of ids that the index does not know: the other base, the id in the text beside the TLV's."""
        more: list[bytes] = []
        for item in missed:
            item.tries = [item.key]
            receipt = item.receipt
            for raw in (receipt.message_id, *receipt.alt_ids):
                forms = [raw] if raw is not receipt.message_id else []
                if self._config.message_ids == "auto":
                    forms += id_variants(raw)
                item.tries += [index_key(form.encode("latin-1", "replace")) for form in forms]
            more += item.tries[1:]
        if more:
            (found,) = await self._stage.read([("HMGET", self._keys.receipts, *more)])
            values.update({key: value for key, value in zip(more, found, strict=True) if value is not None})

    def _commands(self, batch: Batch, work: list[_Work]) -> list[tuple[Any, ...]]:
        commands: list[tuple[Any, ...]] = []
        if batch.changed:
            commands.append(
                ("HSET", self._keys.receipts, *[each for pair in batch.changed.items() for each in pair])
            )
        if batch.changed_multi:
            commands.append(
                ("HSET", self._keys.multi, *[each for pair in batch.changed_multi.items() for each in pair])
            )
        for app, told in batch.events.items():
            commands += publish(app, told)
        cleared = [item.key for item in work if item.parked]
        if cleared:
            commands.append(("HDEL", self._keys.orphans, *cleared))
        return commands

    async def _park(self, orphans: list[_Work]) -> list[tuple[Any, ...]]:
        """The commands that keep these receipts for a message_id still to come, and look once more for it."""
        now_s = int(self._clock.wall())
        keys = [item.key for item in orphans]
        (count, before) = await self._stage.read(
            [("HLEN", self._keys.orphans), ("HMGET", self._keys.orphans, *keys)]
        )
        if count >= self._config.orphans_max:
            log.error("%s: %d receipts without a message are kept already; more are dropped", self._config.name, count)
            return [("HLEN", self._keys.orphans), ("HMGET", self._keys.receipts, *keys)]
        stored: dict[bytes, list[Parked]] = {
            key: decode_parked(value) if value is not None else [] for key, value in zip(keys, before, strict=True)
        }
        for item in orphans:
            if len(stored[item.key]) < ORPHANS_PER_ID_MAX:
                stored[item.key].append(Parked(now_s, item.receipt))
        pairs = [each for key, value in stored.items() for each in (key, _encode(value))]
        self.on_due((now_s + int(self._config.orphan_ttl_s)) * 1000)
        return [
            ("HSET", self._keys.orphans, *pairs),
            ("HMGET", self._keys.receipts, *keys),
        ]

    async def _adopt(self, keys: list[bytes]) -> None:
        """Receipts that were parked under these ids (in any base) find their message now."""
        looked = list(dict.fromkeys(keys))
        if self._config.message_ids == "auto":
            for key in list(looked):
                looked += [index_key(form.encode()) for form in id_variants(key.decode("latin-1"))]
        (found,) = await self._stage.read_surely([("HMGET", self._keys.orphans, *looked)])
        work: list[_Work] = []
        for key, value in zip(looked, found, strict=True):
            if value is not None:
                work += [_Work(parked.receipt, key, True) for parked in decode_parked(value)]
        if not work:
            return
        try:
            await self._apply(work, [])
        except StoreError as error:
            log.warning("%s: parked receipts wait for the message store: %s", self._config.name, error)
            self._orphan_keys += keys
            self.bell.ring()
            return
        self.counts["adopted"] += len(work)
