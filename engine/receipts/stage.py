"""The receipt stage of one carrier: deliver_sm in, index and reports written in one step, deliver_sm_resp
out.

A deliver_sm is answered ESME_ROK only after the step that stored what it says; while the store is away it is
answered ESME_RX_T_APPN, so the SMSC keeps it. A receipt that matches nothing yet is parked: the parking step
looks into the index once more in the same transaction, and the record stage looks for parked receipts in the
step that writes the index, so one of the two sees the other.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final, Protocol

import anyio
import msgspec

from ...codecs import constants as c
from ...codecs.errors import CodecError
from ...codecs.fast import delivered_id, receipt_of
from ...codecs.quoted import quoted_text
from ...codecs.receipt import Receipt, id_variants, parse_deliver
from ..bell import Bell
from ..clock import Clock
from ..config import CarrierConfig
from ..ledger import blocks
from ..ledger.durable import Applied, DurableStage
from ..ledger.events import Told, publish
from ..ledger.keys import CarrierKeys
from ..ledger.port import StoreError
from .correlation import Batch
from .fields import BEFORE_DOUBT_S, Parked, decode_parked, index_key, numbers_of
from .mobile_originated import read_message

log = logging.getLogger("todoke.receipts")

TURN_RECEIPTS_MAX: Final = 1_000
ORPHANS_PER_ID_MAX: Final = 8
UNREADABLE_MAX: Final = 1_000
"""Frames kept of PDUs that cannot be read; what comes after the last of them is counted alone."""
UNREADABLE_TTL_S: Final = 7 * 86_400
TRUST_MAX: Final = 20
"""So many more receipts that name another number than their message's than such as name the right one: then
numbers are not looked at (see `_settle_contested`), until as many more are right again."""
ADOPT_PAUSE_S: Final = 0.2
"""A store that reads but refuses writes would otherwise be asked without a pause."""


class DeliveringBind(Protocol):
    """What this stage needs of a bind."""

    def answer_delivers(self, answers: Sequence[tuple[int, int, int]]) -> None: ...


_encode = msgspec.msgpack.Encoder().encode

MoveOn = Callable[[blocks.Block, int, blocks.Entry], "list[tuple[Any, ...]] | None"]
"""(block, index, entry) -> the commands by which this message goes on elsewhere, or None."""

Item = tuple[DeliveringBind, int, int, bytes]
"""bind, handle, command_id, frame."""


class _Work:
    """The receipts of one turn, in parallel lists: what came from the binds, or out of the orphans
    (`parked`).
    """

    __slots__ = ("came_s", "items", "keys", "now", "parked", "receipts", "stored")

    def __init__(self, parked: bool) -> None:
        self.receipts: list[Receipt | None] = []
        """None: a plain DELIVRD that nobody had to read further so far; see `receipt`."""
        self.keys: list[bytes] = []
        """Where each stands in the index if its id is the one in submit_sm_resp."""
        self.items: list[Item] = []
        """The PDUs they came in; empty for parked ones."""
        self.came_s: list[int] = []
        """The seconds at which parked ones came; empty for what was asked for."""
        self.stored: dict[bytes, bytes] = {}
        """The values of the orphans by key, as they were when the parked ones were read out of them ..."""
        self.now: dict[bytes, bytes | None] = {}
        """... and as they are in the step that decides."""
        self.parked = parked

    def receipt(self, position: int) -> Receipt:
        """The whole receipt at a position, read now if it was not."""
        found = self.receipts[position]
        if found is None:
            found = self.receipts[position] = receipt_of(self.items[position][3])
            assert found is not None  # as delivered_id promises
        return found


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
        self.goes_on: Callable[[Receipt], bool] = lambda receipt: False
        """Whether a message that failed so may be tried over another carrier."""
        self.move_on: MoveOn | None = None
        self._items: list[Item] = []
        self._trust = TRUST_MAX
        self._trusted = True
        """Whether this SMSC writes numbers as we know them."""
        self.moves: list[tuple[Any, ...]] = []
        """The commands by which messages of this turn go on over another carrier ..."""
        self._moved = 0
        """... and how many they are."""
        self.on_moved: Callable[[int], None] = lambda messages: None
        """Called with how many messages go on that had ended here, as far as sending goes."""
        self._orphan_keys: list[bytes] = []
        self._unread: list[bytes] = []
        """Frames of this turn that could not be read."""
        self.bell = Bell()
        self.applying = anyio.Lock(fast_acquire=True)
        """Held while receipts are applied: who changes index values must not overlap."""
        self.busy = False
        self.on_events: Callable[[str, int], None] = lambda app, n: None
        self.on_due: Callable[[int], None] = lambda at_ms: None
        self.on_finals: Callable[[int, list[Receipt]], None] = lambda delivered, failed: None
        """Called with how many parts were delivered, and the receipts of those that were not."""
        self.counts: dict[str, int] = {
            "receipts": 0,
            "repeated": 0,
            "orphaned": 0,
            "adopted": 0,
            "received": 0,
            "unreadable": 0,
            "put_off": 0,
            "moved": 0,
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

    async def learn(self, receipts: list[Receipt]) -> None:
        """Apply what was asked for, as if receipts had said it. Raises StoreError."""
        work = _Work(parked=True)
        work.receipts += receipts
        work.keys += [index_key(receipt.message_id.encode("latin-1", "replace")) for receipt in receipts]
        await self._apply(work, [])

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
            if self._unread:
                await self._keep_unread()
            put_off = await self._apply(work, received)
        except StoreError as error:
            self._unread.clear()  # it comes again
            self.counts["put_off"] += len(items)
            log.warning("%s: %d PDUs are left with the SMSC: %s", self._config.name, len(items), error)
            self._answer(items, c.ESME_RX_T_APPN)
            return
        if put_off:
            self.counts["put_off"] += len(put_off)
            self._answer([work.items[position] for position in put_off], c.ESME_RX_T_APPN)
            refused = {id(work.items[position]) for position in put_off}
            items = [item for item in items if id(item) not in refused]
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

    def _read(self, items: list[Item]) -> tuple[_Work, list[Told]]:
        """Octets to receipts, and to messages from handsets."""
        work = _Work(parked=False)
        receipts, keys, kept = work.receipts, work.keys, work.items
        received: list[Told] = []
        by_text = self._config.receipt_id == "text"
        for item in items:
            frame = item[3]
            plain = delivered_id(frame)
            if plain is not None:
                receipts.append(None)
                keys.append(plain.lower().lstrip(b"0") or b"0")
                kept.append(item)
                continue
            receipt = receipt_of(frame)
            if receipt is None:
                try:
                    receipt = parse_deliver(frame)
                    if receipt is None:
                        received.append(self._read_message(frame))
                        continue
                except Exception as error:
                    # A fault of ours must not end the node either: the SMSC would offer the PDU to its next
                    # life, and to the one after that.
                    self._unreadable(frame, error)
                    continue
            if by_text and receipt.alt_ids:
                receipt.message_id, receipt.alt_ids = receipt.alt_ids[0], (receipt.message_id,)
            receipts.append(receipt)
            keys.append(index_key(receipt.message_id.encode("latin-1", "replace")))
            kept.append(item)
        return work, received

    def _unreadable(self, frame: bytes, error: Exception) -> None:
        """Answered ESME_ROK all the same: refused, the SMSC would offer it for ever. The frame is kept."""
        self.counts["unreadable"] += 1
        self._unread.append(frame)
        what = str(error)
        if not isinstance(error, CodecError):
            # Its words may be the subscriber's.
            last = traceback.extract_tb(error.__traceback__)[-1]
            what = f"{type(error).__name__} in {last.name}, line {last.lineno} of {last.filename}"
        log.error("%s: a deliver_sm cannot be read: %s", self._config.name, what)

    async def _keep_unread(self) -> None:
        """Write down what could not be read, as much as there is room for. Raises StoreError."""
        key = self._keys.unreadable
        (count,) = await self._stage.read([("XLEN", key)])
        kept = self._unread[: max(0, UNREADABLE_MAX - count)]
        if kept:
            commands: list[tuple[Any, ...]] = [("XADD", key, "*", b"pdu", frame) for frame in kept]
            await self._stage.commit([*commands, ("EXPIRE", key, UNREADABLE_TTL_S)])
        self._unread.clear()

    def _read_message(self, frame: bytes) -> Told:
        config = self._config
        at_ms = int(self._clock.wall() * 1000)
        return read_message(
            frame, config.name, at_ms, config.received_alphabet, packed=config.received_packed
        )

    async def _apply(self, work: _Work, received: list[Told]) -> list[int]:
        """Read the index, decide, write; again if another process was faster.

        Returns the positions in `work` that must stay with the SMSC: orphans that there is no room for.
        Raises StoreError.
        """
        async with self.applying:
            return await self._apply_alone(work, received)

    async def _apply_alone(self, work: _Work, received: list[Told]) -> list[int]:
        while True:
            self.moves, self._moved = [], 0
            batch, unmatched = await self._decide(work)
            commands = self._commands(batch)
            for told in received:
                commands += publish(self._app_for(told.to), [told])
            put_off: list[int] = []
            park_at = len(commands)
            parked: list[int] = []
            if work.parked:
                commands += self._clear(work, unmatched)
            elif unmatched:
                parking, parked, put_off = await self._park(work, unmatched)
                commands += parking
            if not commands:
                await self._stage.unwatch()
                replies: list[Any] | Applied | None = []
            else:
                commands.append(("INCR", self._keys.receipts_version))
                replies = await self._stage.commit(commands)
            if replies is not None:
                break
        self.counts["receipts"] += batch.applied
        if self._moved:
            self.counts["moved"] += self._moved
            self.on_moved(self._moved)
        self.counts["repeated"] += batch.repeated
        if batch.delivered or batch.failed:
            self.on_finals(batch.delivered, batch.failed)
        self.counts["received"] += len(received)
        for app, told_list in batch.events.items():
            self.on_events(app, len(told_list))
        for told in received:
            self.on_events(self._app_for(told.to), 1)
        if parked:
            self.counts["orphaned"] += len(parked)
            now_there = [True] if isinstance(replies, Applied) else replies[park_at + 1]
            if any(now_there):
                # The answer to submit_sm was recorded between our look and our parking.
                self.look_for([work.keys[position] for position in parked])
        return put_off

    async def _decide(self, work: _Work) -> tuple[Batch, list[int]]:
        """What the receipts change, and the positions of those that match nothing."""
        keys = work.keys
        batch = Batch(
            self._config.name,
            int(self._clock.wall() * 1000),
            self._config.multipart_receipts == "one",
            self.goes_on,
        )
        if not keys:
            return batch, []
        reads: list[tuple[Any, ...]] = [("HMGET", self._keys.receipts, *keys)]
        if work.stored:
            reads.append(("HMGET", self._keys.orphans, *work.stored))
        found, *orphans = await self._stage.read(reads, (self._keys.receipts_version,))
        if orphans:
            work.now = dict(zip(work.stored, orphans[0], strict=True))
        frames = [b""] * len(keys) if work.parked else [item[3] for item in work.items]
        missed = batch.apply_all(keys, work.receipts, found, frames, work.receipt)
        if not work.parked:
            self._learn_form(batch.applied - len(batch.contested))
        if batch.contested:
            missed += await self._settle_contested(work, found, batch)
        unmatched = await self._look_closer(work, missed, batch) if missed else []
        if batch.long:
            names = list({batch.message_id(origin) for origin, _, _ in batch.long})
            (tables,) = await self._stage.read([("HMGET", self._keys.multi, *names)])
            batch.multi = dict(zip(names, tables, strict=True))
            batch.finish_long()
        if batch.again:
            await self._move_on(batch)
        return batch, unmatched

    async def _settle_contested(self, work: _Work, found: list[bytes | None], batch: Batch) -> list[int]:
        """Receipts of a known id that name another number than its message's: apply those that are that
        message's all the same. Returns the positions of the others.

        Some SMSCs write numbers in forms of their own; then their ids alone count. Where numbers are right,
        the SMSC may have given the id before, to a message whose answer was lost: such a receipt waits among
        the orphans until every answer that was under way is there or in doubt, and is the doubted message's
        if one to that number is.
        """
        contested = batch.contested
        ready: list[int] = []
        if not self._trusted or (work.parked and not work.came_s):
            ready = contested
        elif work.parked:
            lost_s = self._config.response_timeout_s + self._config.lease_s + BEFORE_DOUBT_S
            before_s = self._clock.wall() - lost_s
            waited = [position for position in contested if work.came_s[position] <= before_s]
            doubted: set[str] = await self._doubted_numbers() if waited else set()
            ready = [
                position for position in waited if numbers_of(work.receipt(position)).isdisjoint(doubted)
            ]
        keys = work.keys
        applied = {
            position
            for position in ready
            if batch.apply(keys[position], work.receipt(position), found[position], exact=True)
        }
        return [position for position in contested if position not in applied]

    def _learn_form(self, agreeing: int) -> None:
        """So many more receipts named the right number than another one."""
        self._trust = max(0, min(TRUST_MAX, self._trust + agreeing))
        if self._trust in (0, TRUST_MAX):
            self._trusted = self._trust > 0

    async def _doubted_numbers(self) -> set[str]:
        """The ends of the numbers that a part in doubt was sent to."""
        return {field.partition(b" ")[0].decode() async for field, _ in self._stage.scan(self._keys.doubts)}

    async def _move_on(self, batch: Batch) -> None:
        """Failed messages that another carrier may deliver go on there, and nothing is told yet."""
        again = batch.again
        bodies = await self._stage.read(
            [("GET", self._keys.block(origin.block_id)) for _, origin, _ in again]
        )
        for (key, origin, receipt), body in zip(again, bodies, strict=True):
            commands = None
            if body is not None and self.move_on is not None:
                block = blocks.decode_block(body)
                entry = block.entries[origin.index]
                commands = None if entry is None else self.move_on(block, origin.index, entry)
            if commands is None:
                batch.tell_failed(origin, receipt)
            else:
                batch.moved_on(key, origin)
                self.moves += commands
                self._moved += 1

    async def _look_closer(self, work: _Work, missed: list[int], batch: Batch) -> list[int]:
        """Other forms of ids that the index does not know: the other base, the id in the text beside the
        TLV's.

        Returns the positions that match nothing at all.
        """
        tries: list[list[bytes]] = []
        for position in missed:
            receipt = work.receipt(position)
            forms = list(receipt.alt_ids)
            if self._config.message_ids == "auto":
                for raw in (receipt.message_id, *receipt.alt_ids):
                    forms += id_variants(raw)
            tries.append([index_key(form.encode("latin-1", "replace")) for form in forms])
        more = list({key for keys in tries for key in keys})
        values: dict[bytes, bytes | None] = {}
        if more:
            (found,) = await self._stage.read([("HMGET", self._keys.receipts, *more)])
            values = dict(zip(more, found, strict=True))
        return [
            position
            for position, keys in zip(missed, tries, strict=True)
            if not any(batch.apply(key, work.receipt(position), values[key], exact=False) for key in keys)
        ]

    def _commands(self, batch: Batch) -> list[tuple[Any, ...]]:
        commands: list[tuple[Any, ...]] = []
        for key, changed in ((self._keys.receipts, batch.changed), (self._keys.multi, batch.changed_multi)):
            if changed:
                commands.append(("HSET", key, *chain.from_iterable(changed.items())))
        for app, told in batch.events.items():
            commands += publish(app, told)
        commands += self.moves
        return commands

    def _clear(self, work: _Work, unmatched: list[int]) -> list[tuple[Any, ...]]:
        """Take the parked receipts that found their message out of the orphans; the others stay, and what
        another process has parked under their ids since they were read.
        """
        kept = {work.keys[position] for position in unmatched}
        cleared: list[bytes] = []
        left: list[bytes] = []
        for key, value in work.stored.items():
            now = work.now.get(key)
            if key in kept or now is None:
                continue
            more = [] if now == value else _without(decode_parked(now), decode_parked(value))
            if more:
                left += [key, _encode(more)]
            else:
                cleared.append(key)
        commands: list[tuple[Any, ...]] = []
        if cleared:
            commands.append(("HDEL", self._keys.orphans, *cleared))
        if left:
            commands.append(("HSET", self._keys.orphans, *left))
        return commands

    async def _park(
        self, work: _Work, unmatched: list[int]
    ) -> tuple[list[tuple[Any, ...]], list[int], list[int]]:
        """Keep these receipts for a message_id still to come, and look once more for it in the same step.

        Returns the commands (the second one looks), the positions parked, and those there is no room for.
        """
        now_s = int(self._clock.wall())
        (count,) = await self._stage.read([("HLEN", self._keys.orphans)])
        room = max(0, self._config.orphans_max - count)
        parked, put_off = unmatched[:room], unmatched[room:]
        if put_off:
            log.error(
                "%s: %d receipts without a message are kept already (orphans_max)", self._config.name, count
            )
        if not parked:
            return [], [], put_off
        keys = [work.keys[position] for position in parked]
        (before,) = await self._stage.read([("HMGET", self._keys.orphans, *keys)])
        stored: dict[bytes, list[Parked]] = {
            key: decode_parked(value) if value is not None else []
            for key, value in zip(keys, before, strict=True)
        }
        for position in parked:
            held = stored[work.keys[position]]
            held.append(Parked(now_s, work.receipt(position), quoted_text(work.items[position][3])))
            del held[:-ORPHANS_PER_ID_MAX]
        pairs = [each for key, value in stored.items() for each in (key, _encode(value))]
        self.on_due((now_s + int(self._config.orphan_ttl_s)) * 1000)
        commands: list[tuple[Any, ...]] = [
            ("HSET", self._keys.orphans, *pairs),
            ("HMGET", self._keys.receipts, *self._all_forms(keys)),
        ]
        return commands, parked, put_off

    def _all_forms(self, keys: list[bytes]) -> list[bytes]:
        """These index keys and, where the carrier's ids come in two bases, their twins."""
        forms = list(dict.fromkeys(keys))
        if self._config.message_ids == "auto":
            for key in list(forms):
                forms += [index_key(form.encode()) for form in id_variants(key.decode("latin-1"))]
        return forms

    async def _adopt(self, keys: list[bytes]) -> None:
        """Receipts that were parked under these ids (in any base) find their message now."""
        looked = self._all_forms(keys)
        (found,) = await self._stage.read_surely([("HMGET", self._keys.orphans, *looked)])
        work = _Work(parked=True)
        for key, value in zip(looked, found, strict=True):
            if value is None:
                continue
            work.stored[key] = value
            for parked in decode_parked(value):
                work.receipts.append(parked.receipt)
                work.keys.append(key)
                work.came_s.append(parked.came_s)
        if not work.keys:
            return
        try:
            before = self.counts["receipts"]
            await self._apply(work, [])
            self.counts["adopted"] += self.counts["receipts"] - before
        except StoreError as error:
            log.warning("%s: parked receipts wait for the message store: %s", self._config.name, error)
            await anyio.sleep(ADOPT_PAUSE_S)
            self._orphan_keys += keys
            self.bell.ring()


def _without(stored: list[Parked], taken: list[Parked]) -> list[Parked]:
    """What is stored under an id beside what was taken, each as often as it is there."""
    left = list(stored)
    for each in taken:
        if each in left:
            left.remove(each)
    return left
