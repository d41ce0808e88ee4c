"""What becomes due on one carrier: blocks to release into a lane, blocks to finish, orphans to forget.

One task sleeps until the next deadline of `{c}:due`. A release is guarded by the block's journal (watched,
then written), so that of two processes only one puts a block into a lane. Finishing forgets what ended more
than `history_s` ago: body entries, journal facts, index fields; a block with a few survivors is rewritten in
place, so one missing receipt does not pin five hundred messages. What finishing changes in the index beside
removing what is over (receipts that never came, ids that several messages share) is done while the receipt
stage stands still.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from heapq import heappop, heappush
from math import inf
from typing import Any, Final

import anyio

from ...codecs.receipt import Receipt
from ..bell import Bell
from ..clock import Clock
from ..config import CarrierConfig
from ..ledger import blocks
from ..ledger.durable import DurableStage
from ..ledger.events import publish
from ..ledger.keys import CarrierKeys
from ..ledger.port import StoreError
from ..receipts.correlation import Batch
from ..receipts.fields import decode_parked, index_key, index_keys, next_look
from .block_look import BlockLook, is_origin
from .copies import ALL_PARTS
from .settling import Found, Release, Settling

log = logging.getLogger("todoke.due")

DUE_AT_ONCE_MAX: Final = 64
LONGEST_SLEEP_S: Final = 60.0
ERROR_PAUSE_S: Final = 0.5
HELD_LANE: Final = "urgent"
ORPHAN_SCAN_COUNT: Final = 500
ORPHAN_SWEEP_S: Final = 300.0
OWN_TIMES_MAX: Final = 10_000
"""Times that are remembered as scheduled here; what is beyond is treated as another process's."""
FOREIGN_LAG_S: Final = 2.0
"""What another process scheduled is done by it; by us only when it is so late."""
FIND_LOOK_S: Final = 30.0
"""How often it is looked whose the orphans are."""
SAY_AGAIN_S: Final = 60.0
"""Parts that were never told of are said in the log this often at most."""


class DueStage:
    """Owns the due stage's connection. `run()` is its one task."""

    def __init__(
        self, config: CarrierConfig, keys: CarrierKeys, stage: DurableStage, clock: Clock, *, epoch: int
    ) -> None:
        self._config = config
        self._keys = keys
        self._stage = stage
        self._clock = clock
        self._epoch = epoch
        self._next_ms: float = 0
        self._own: list[int] = []
        """A heap of the times at which something is due that was scheduled here."""
        self._own_set: set[int] = set()
        self._bell = Bell()
        self._sweep_at_ms = 0
        self._find_at_ms = 0
        self._settling = Settling(config, keys, stage)
        self.on_found: Callable[[Found], Awaitable[None]] = _nothing
        """Awaited with each part in doubt that a receipt is found to speak of."""
        self.applying = anyio.Lock(fast_acquire=True)
        """Held while receipts are applied to the index."""
        self.on_released: Callable[[], None] = lambda: None
        self.on_parked: Callable[[list[bytes]], None] = lambda keys: None
        """Called with ids under which receipts are parked: their message may have come meanwhile."""
        self.on_events: Callable[[str, int], None] = lambda app, n: None
        self.on_settled: Callable[[str, int, int], None] = lambda block_id, index, part: None
        """Called for each part in doubt of which a receipt tells that it was taken."""
        self.ask: Callable[[str, blocks.Entry], Awaitable[Receipt | None]] | None = None
        """Asks the SMSC about a message_id."""
        self.learn: Callable[[list[Receipt]], Awaitable[None]] = _nothing
        """Applies what it answered. May raise StoreError."""
        self.forgotten = 0
        self.settled = 0
        self.unanswered = 0
        self._unsaid = 0
        self._say_at = 0.0

    def notice(self, at_ms: int) -> None:
        """Something was scheduled here for `at_ms`: wake earlier if need be."""
        if at_ms not in self._own_set and len(self._own) < OWN_TIMES_MAX:
            self._own_set.add(at_ms)
            heappush(self._own, at_ms)
        self._wake_at(at_ms)

    def _wake_at(self, at_ms: float) -> None:
        if at_ms < self._next_ms:
            self._next_ms = at_ms
            self._bell.ring()

    async def run(self) -> None:
        """The stage's task, until cancelled."""
        while True:
            now_ms = self._clock.wall() * 1000
            if now_ms < self._next_ms:
                await self._bell.wait(min(LONGEST_SLEEP_S, (self._next_ms - now_ms) / 1000))
                continue
            try:
                await self._turn(int(now_ms))
            except StoreError as error:
                log.info("%s: due work waits for the message store: %s", self._config.name, error)
                await anyio.sleep(ERROR_PAUSE_S)
                # What this turn did not get to is still due.
                self._next_ms = 0

    async def _turn(self, now_ms: int) -> None:
        own = self._own
        while own and own[0] <= now_ms:
            self._own_set.discard(heappop(own))
        self._next_ms = own[0] if own else inf
        (found, ahead, *parked) = await self._stage.read(
            [
                ("ZRANGEBYSCORE", self._keys.due, "-inf", now_ms, "LIMIT", 0, DUE_AT_ONCE_MAX),
                ("ZRANGEBYSCORE", self._keys.due, f"({now_ms}", "+inf", "WITHSCORES", "LIMIT", 0, 1),
                *(self._settling.counts if now_ms >= self._find_at_ms else ()),
            ]
        )
        if ahead:
            # Whoever scheduled it is woken in time: it is left to that one as long as it lives.
            self._wake_at(int(float(ahead[1])) + FOREIGN_LAG_S * 1000)
        released = False
        for member in found:
            kind, _, rest = member.decode().partition(":")
            if kind in ("r", "h"):
                lane, _, block_id = rest.partition(":")
                await self._release(member, lane, block_id, held=kind == "h")
                released = True
            else:
                await self._finish(member, rest, now_ms)
        if released:
            self.on_released()
        if now_ms >= self._find_at_ms:
            self._find_at_ms = now_ms + int(FIND_LOOK_S * 1000)
            if all(parked):
                await self._find_messages()
        self._wake_at(self._find_at_ms)
        if now_ms >= self._sweep_at_ms:
            self._sweep_at_ms = now_ms + int(ORPHAN_SWEEP_S * 1000)
            await self._sweep_orphans(now_ms // 1000)
            await self._settling.forget(now_ms - int(self._config.orphan_ttl_s * 1000))
        self._wake_at(self._sweep_at_ms)
        if len(found) == DUE_AT_ONCE_MAX:
            self.notice(now_ms)

    async def _release(self, member: bytes, lane: str, block_id: str, *, held: bool) -> None:
        journal = self._keys.journal(block_id)
        now_s = int(self._clock.wall())
        looked = await self._settling.look(block_id, now_s) if held else None
        watched = (journal, self._keys.receipts_version) if held else (journal,)
        score, *answers = await self._stage.read(
            [("ZSCORE", self._keys.due, member), *(looked.questions if looked is not None else ())], watched
        )
        if score is None:
            await self._stage.unwatch()
            return
        look = looked.release(answers, now_s) if looked is not None else Release([], [], [])
        if look is None:
            await self._stage.unwatch()
            self.notice(0)
            return
        settled = look.withdrawn
        record = blocks.Record(
            blocks.FORMAT,
            self._epoch,
            -1,
            [each.position for each in settled],
            [each.part for each in settled],
            [each.message_id for each in settled],
            [(position, blocks.TOLD, 0, "") for position in look.told],
        )
        replies = await self._stage.commit(
            [
                ("ZREM", self._keys.due, member),
                ("RPUSHX", journal, blocks.encode(record)),
                # What was held has waited, and its time may be short: it goes before fresh messages. Copies
                # are few, no more than twice the windows for a fault.
                ("XADD", self._keys.lanes[HELD_LANE if held else lane], "*", b"b", block_id),
                *look.commands,
            ]
        )
        if replies is None:
            # A cancellation or a late answer was written meanwhile.
            self.notice(0)
            return
        for position in look.told:
            self.on_settled(block_id, position, ALL_PARTS)
        if settled:
            log.info("%s: %d parts in doubt were taken, as receipts say", self._config.name, len(settled))
            self.settled += len(settled)
            for each in settled:
                self.on_settled(block_id, each.position, each.part)
            self.on_parked([each.key for each in settled])

    async def _find_messages(self) -> None:
        """Receipts that came after the copies of what they speak of were sent."""
        for found in await self._settling.find(int(self._clock.wall())):
            await self.on_found(found)

    # -- the end of a block ----------------------------------------------------------------------------

    async def _finish(self, member: bytes, block_id: str, now_ms: int) -> None:
        """Forget what of this block is over; look again later if anything is not."""
        journal = self._keys.journal(block_id)
        # What is read of the index may be removed: an id of it must not be given again meanwhile.
        watched = (journal, self._keys.receipts_shared)
        (records,) = await self._stage.read([("LRANGE", journal, 0, -1)], watched)
        if await self._finish_plain(member, block_id, records, now_ms):
            return
        look = await self._look(member, block_id, records, now_ms)
        if look is None:
            return
        if not (look.overdue or look.shared):
            await self._finish_looked(look, member, now_ms)
            return
        await self._stage.unwatch()
        if look.unanswered and self.ask is not None:
            await self._ask(look.unanswered)
        async with self.applying:
            watched = (journal, self._keys.receipts_version)
            (records,) = await self._stage.read([("LRANGE", journal, 0, -1)], watched)
            look = await self._look(member, block_id, records, now_ms)
            if look is not None:
                await self._finish_looked(look, member, now_ms)

    async def _ask(self, unanswered: list[tuple[str, blocks.Entry]]) -> None:
        """Before a message is told `unknown`: what the SMSC says. An SMSC that does not answer is left
        alone.
        """
        assert self.ask is not None
        found: list[Receipt] = []
        for message_id, entry in unanswered:
            receipt = await self.ask(message_id, entry)
            if receipt is None:
                break
            found.append(receipt)
        if found:
            await self.learn(found)

    async def _look(
        self, member: bytes, block_id: str, records: list[bytes], now_ms: int
    ) -> BlockLook | None:
        """Read what there is of a block; None: it is gone, and its member with it."""
        keys = self._keys
        (body,) = await self._stage.read([("GET", keys.block(block_id))])
        if body is None:
            await self._stage.commit([("ZREM", keys.due, member), ("UNLINK", keys.journal(block_id))])
            return None
        block = blocks.decode_block(body)
        progress = blocks.fold(records)
        told = [*progress.sent.values(), *(raw for _, _, raw in progress.more)]
        ids = list(dict.fromkeys(index_key(raw.encode("latin-1")) for raw in told if raw))
        values: list[bytes | None] = []
        if ids:
            (values,) = await self._stage.read([("HMGET", keys.receipts, *ids)])
        index = dict(zip(ids, values, strict=True))
        elsewhere = await self._alive_elsewhere(block, progress)
        return BlockLook(self._config, block, progress, index, now_ms, elsewhere, len(records))

    async def _finish_looked(self, look: BlockLook, member: bytes, now_ms: int) -> None:
        keys = self._keys
        batch = Batch(self._config.name, now_ms, self._config.multipart_receipts == "one")
        await self._time_out(look, batch, now_ms // 1000)
        commands: list[tuple[Any, ...]] = []
        if batch.changed:
            commands.append(("HSET", keys.receipts, *[e for pair in batch.changed.items() for e in pair]))
        if batch.changed_multi:
            commands.append(("HSET", keys.multi, *[e for pair in batch.changed_multi.items() for e in pair]))
        for app, told in batch.events.items():
            commands += publish(app, told)
        if commands:
            commands.append(("INCR", keys.receipts_version))
        commands += look.forget(keys, member, self._epoch)
        replies = await self._stage.commit(commands)
        if replies is None:
            self.notice(now_ms)
            return
        for app, told in batch.events.items():
            self.on_events(app, len(told))
        self.forgotten += len(look.over)
        if batch.unanswered:
            self._say_unanswered(batch.unanswered)
        if look.next_ms:
            self.notice(look.next_ms)

    def _say_unanswered(self, parts: int) -> None:
        self.unanswered += parts
        self._unsaid += parts
        now = self._clock.monotonic()
        if now >= self._say_at:
            log.warning("%s: %d parts were taken and never told of", self._config.name, self._unsaid)
            self._unsaid = 0
            self._say_at = now + SAY_AGAIN_S

    async def _finish_plain(self, member: bytes, block_id: str, records: list[bytes], now_ms: int) -> bool:
        """The usual block: every message one part, sent once.

        Forgets it when all of it is over, or looks again later, without reading the bodies. False: nothing
        was done, look at each message.
        """
        told = blocks.plain_ids(records)
        if told is None:
            return False
        keys = self._keys
        ids = index_keys(told)
        (values,) = await self._stage.read([("HMGET", keys.receipts, *ids)])
        config = self._config
        again_s = next_look(values, block_id, now_ms // 1000, config.history_s, config.receipt_timeout_s)
        if again_s is None:
            return False
        commands: list[tuple[Any, ...]] = [("ZADD", keys.due, again_s * 1000, member)]
        if not again_s:
            commands = [
                ("HDEL", keys.receipts, *ids),
                ("ZREM", keys.due, member),
                ("UNLINK", keys.block(block_id), keys.journal(block_id)),
            ]
        if await self._stage.commit(commands) is None:
            self.notice(now_ms)
        elif again_s:
            self.notice(again_s * 1000)
        else:
            self.forgotten += len(ids)
        return True

    async def _alive_elsewhere(self, block: blocks.Block, progress: blocks.Progress) -> set[int]:
        """Entries accepted here that went on in another block which is still kept: this one is how they are
        found, and it owns their table. (Blocks they went through in between are in nobody's way.)
        """
        moved = [
            (position, place)
            for position, (kind, _, where) in progress.ended.items()
            if kind == blocks.MOVED and is_origin(block.entries[position])
            for place in (where, *progress.also.get(position, ()))
        ]
        if not moved:
            return set()
        asked: list[tuple[Any, ...]] = []
        for _, where in moved:
            carrier, block_id, _ = blocks.split_message_id(where)
            asked.append(("EXISTS", CarrierKeys(carrier).block(block_id)))
        replies = await self._stage.read(asked)
        return {position for (position, _), there in zip(moved, replies, strict=True) if there}

    async def _time_out(self, look: BlockLook, batch: Batch, now_s: int) -> None:
        for key, value in look.overdue.items():
            batch.time_out(key, value, now_s - int(self._config.receipt_timeout_s))
        if batch.long:
            names = list({batch.message_id(origin) for origin, _, _ in batch.long})
            (tables,) = await self._stage.read([("HMGET", self._keys.multi, *names)])
            batch.multi = dict(zip(names, tables, strict=True))
            batch.finish_long()

    # -- orphans -----------------------------------------------------------------------------------------

    async def _sweep_orphans(self, now_s: int) -> None:
        """Forget receipts that found no message within orphan_ttl_s; look once more for the others' messages.

        The second is for the moment between the index and the orphans in which a process may have died.
        """
        cursor: bytes | int = 0
        oldest = now_s - self._config.orphan_ttl_s
        while True:
            ((cursor, pairs),) = await self._stage.read(
                [("HSCAN", self._keys.orphans, cursor, "COUNT", ORPHAN_SCAN_COUNT)], (self._keys.orphans,)
            )
            gone: list[bytes] = []
            kept: list[bytes] = []
            for key, value in zip(pairs[::2], pairs[1::2], strict=True):
                old = all(parked.came_s <= oldest for parked in decode_parked(value))
                (gone if old else kept).append(key)
            if not gone:
                await self._stage.unwatch()
            elif await self._stage.commit([("HDEL", self._keys.orphans, *gone)]) is not None:
                log.warning("%s: %d receipts never found their message", self._config.name, len(gone))
            if kept:
                self.on_parked(kept)
            if int(cursor) == 0:
                return


async def _nothing(what: object) -> None:
    """Nobody listens."""
