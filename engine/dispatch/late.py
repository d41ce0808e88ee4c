"""Answers to what this process had to give up: facts, written down whoever decides now.

A process that was stopped, or cut off from the store, finds its slots in other hands. The new holder has read
the journals and holds what was granted and not answered for in doubt. An answer that comes to light now ends
that doubt: it is written where the message stands today, so a copy that was not granted yet is not sent, and
its message_id correlates from now on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import anyio
import msgspec

from ..clock import Clock
from ..ledger import blocks
from ..ledger.blocks import Block, Extra
from ..ledger.durable import DurableStage
from ..ledger.events import Told, publish
from ..ledger.keys import CarrierKeys
from ..receipts.fields import DESTINATION_DIGITS, WITHDRAWN, beside, index_key
from .holds import doubt_field
from .outgoing import Token

log = logging.getLogger("todoke.late")

PLACES_MAX: Final = 16
"""A message that moved on more often than this while its answer was away is not followed further."""
UNDECIDED_S: Final = 1.0
"""How soon a new holder who had just read the journal has its doubts on record."""

_encode = msgspec.msgpack.Encoder().encode

Answer = tuple[Token, int, int, bytes, int]


class LateFacts:
    """Writes facts of one account outside any turn. One call of `write` at a time: `write_twice` and
    `write_found` wait for one another.
    """

    def __init__(
        self, carrier: str, keys: CarrierKeys, stage: DurableStage, clock: Clock, *, epoch: int
    ) -> None:
        self._carrier = carrier
        self._keys = keys
        self._stage = stage
        self._clock = clock
        self._epoch = epoch
        self.on_events: Callable[[str, int], None] = lambda app, n: None
        self.on_orphans: Callable[[list[bytes]], None] = lambda keys: None
        self.written = 0
        self._lock = anyio.Lock()
        self._doubts_there = 0
        """How often the message had been in doubt at the place read last ..."""
        self._pending_there: list[int] = []
        """... and the parts of it that are to be sent from there."""

    async def write_twice(self, facts: list[Answer]) -> None:
        """Write these down, and once more those that the new holder had not decided on."""
        async with self._lock:
            undecided = await self.write(facts)
        if undecided:
            # The new holder may have read the journal just before: it has its doubts on record soon.
            await anyio.sleep(UNDECIDED_S)
            async with self._lock:
                await self.write(undecided)

    async def write(self, facts: list[Answer]) -> list[Answer]:
        """Write these down, as often as the store needs. Returns those whose message the new holder had not
        decided on: it may still hold it for in doubt, and send a copy.
        """
        undecided: list[Answer] = []
        for fact in facts:
            (run, index, part), _, command_status, message_id, _ = fact
            if command_status == 0 and await self._write(run.block, index, part, message_id):
                undecided.append(fact)
        return undecided

    async def write_found(self, block: Block, index: int, part: int, message_id: str) -> None:
        """A receipt, by its id, tells that this part was taken whose answer is lost. Nothing is written if
        that is known by now: another process may have read the same, at the end of a hold.
        """
        async with self._lock:
            await self._write(block, index, part, message_id.encode("latin-1", "replace"), noted=True)

    async def _write(
        self, block: Block, index: int, part: int, message_id: bytes, *, noted: bool = False
    ) -> bool:
        """`noted`: only while the part's doubt is."""
        entry = block.entries[index]
        if entry is None:
            return False
        if entry.parts > 1 and entry.extra is not None and not entry.extra.receipt:
            # No receipt will end it: its app is told when the copies of its parts are answered.
            return False
        raw = message_id.decode("latin-1")
        keys = self._keys
        while True:
            if noted:
                field = doubt_field(entry.to, block.block_id, index, part)
                (since,) = await self._stage.read_surely([("HGET", keys.doubts, field)], (keys.doubts,))
                if since is None:
                    await self._stage.unwatch()
                    return False
            self._doubts_there = 0
            place, fold, undecided = await self._find(block.block_id, index, part)
            if fold is None or not await self._origin_is_kept(entry):
                log.info("%s: an answer came after its message was forgotten", self._carrier)
                await self._stage.unwatch()
                return False
            position = place[1]
            if fold.sent.get((position, part)) == raw:
                await self._stage.unwatch()
                return undecided
            known = await self._known(message_id)
            end = fold.ended.get(position)
            given_up = end is not None and end[0] == blocks.ABANDONED
            commands, told = self._commands(
                block, index, part, message_id, place, known, given_up=given_up, doubts=self._doubts_there
            )
            replies = await self._stage.commit_surely(commands, watched=True)
            if replies is None:
                continue
            self.written += 1
            if told is not None:
                self.on_events(block.app, 1)
            if message_id and (entry.extra is None or entry.extra.receipt):
                self.on_orphans([index_key(message_id)])
            log.info("%s: what became of a part in doubt is written down", self._carrier)
            return undecided

    async def _known(self, message_id: bytes) -> bytes | None:
        """What the index has under this id (watched): the SMSC may have given it to another message."""
        if not message_id:
            return None
        keys = self._keys
        ((value,),) = await self._stage.read_surely(
            [("HMGET", keys.receipts, index_key(message_id))], (keys.receipts_version,)
        )
        found: bytes | None = value
        return found

    async def _find(
        self, block_id: str, index: int, part: int
    ) -> tuple[tuple[str, int], blocks.Progress | None, bool]:
        """Where the message stands: the last place whose copy is not granted yet, or else where it was.

        Also that place's journal (watched), None if the message is forgotten; and whether nobody has decided
        yet.
        """
        first = await self._journal(block_id, index)
        place, fold = (block_id, index), first
        for _ in range(PLACES_MAX):
            if fold is None:
                break
            end = fold.ended.get(place[1])
            if end is None:
                if place == (block_id, index):
                    return place, first, True
                waiting = (
                    fold.grant <= place[1]
                    and (place[1], part) not in fold.sent
                    # Else a copy of this part was answered already, by its answer or by a receipt.
                    and part in self._pending_there
                )
                return (place, fold, False) if waiting else ((block_id, index), first, False)
            if end[0] != blocks.MOVED:
                break
            carrier, next_block, next_index = blocks.split_message_id(end[2])
            if carrier != self._carrier:
                break
            place = (next_block, next_index)
            fold = await self._journal(next_block, next_index)
        return (block_id, index), first, False

    async def _origin_is_kept(self, entry: blocks.Entry) -> bool:
        """Whether the place is kept where this message was accepted: that is who forgets what it leaves."""
        if entry.extra is None or not entry.extra.message_id:
            return True
        carrier, block_id, index = blocks.split_message_id(entry.extra.message_id)
        return await self._journal(block_id, index, CarrierKeys(carrier)) is not None

    async def _journal(
        self, block_id: str, index: int, keys: CarrierKeys | None = None
    ) -> blocks.Progress | None:
        """A block's journal (watched); None if this entry of it is forgotten, alone or with the block. A fact
        about such a one would stay in the index for good.
        """
        keys = keys or self._keys
        key = keys.journal(block_id)
        body, records = await self._stage.read_surely(
            [("GET", keys.block(block_id)), ("LRANGE", key, 0, -1)], (key,)
        )
        entry = None if body is None else blocks.decode_block(body).entries[index]
        if entry is None:
            return None
        if keys is self._keys:
            self._doubts_there = 0 if entry.extra is None else entry.extra.doubts
            nameless = entry.parts > 1 and entry.extra is not None and entry.extra.nameless
            # With a part that has no id nobody would tell the end: the copy does.
            self._pending_there = [] if nameless else blocks.pending_parts(entry)
        return blocks.fold(records)

    def _commands(
        self,
        block: Block,
        index: int,
        part: int,
        message_id: bytes,
        place: tuple[str, int],
        known: bytes | None,
        *,
        given_up: bool,
        doubts: int,
    ) -> tuple[list[tuple[Any, ...]], Told | None]:
        """`known`: what the index has under this id. `given_up`: no copy was ever made of what was in doubt
        there.
        """
        entry = block.entries[index]
        assert entry is not None
        withdrawn = place != (block.block_id, index)
        block_id, position = place
        now_ms = int(self._clock.wall() * 1000)
        extra = entry.extra or Extra()
        mid = blocks.message_id(self._carrier, block.block_id, index, entry)
        record = blocks.Record(
            blocks.FORMAT, self._epoch, -1, [position], [part], [message_id.decode("latin-1")]
        )
        commands: list[tuple[Any, ...]] = [
            ("RPUSHX", self._keys.journal(block_id), blocks.encode(record)),
            ("HDEL", self._keys.doubts, doubt_field(entry.to, block.block_id, index, part)),
        ]
        if not withdrawn and extra.message_id:
            carrier, origin_block, origin_index = blocks.split_message_id(extra.message_id)
            also = (origin_index, blocks.ALSO, 0, f"{self._carrier}.{block.block_id}.{index}")
            fact = blocks.encode(blocks.Record(blocks.FORMAT, self._epoch, -1, ended=[also]))
            commands.append(("RPUSHX", CarrierKeys(carrier).journal(origin_block), fact))
        # Between the part and what is withdrawn other copies may have been sent, for other doubts.
        alone = not extra.doubled and (given_up or (withdrawn and doubts <= extra.doubts + 1))
        if message_id and extra.receipt:
            doubled = WITHDRAWN if alone else True
            origin = (
                *(block_id, position, part, entry.parts, block.app, entry.ref),
                *(entry.to[-DESTINATION_DIGITS:], mid, doubled),
            )
            value = b"0" + (now_ms // 1000).to_bytes(4, "big") + _encode(origin)
            commands += [
                ("HSET", self._keys.receipts, index_key(message_id), beside(known, value)),
                ("INCR", self._keys.receipts_version),
            ]
            if known is not None:
                commands.append(("INCR", self._keys.receipts_shared))
        told: Told | None = None
        if withdrawn and entry.parts == 1 and not extra.receipt:
            told = Told(
                "report", mid, entry.ref, "sent", self._carrier, 1, 0, not alone, None, now_ms
            )  # fmt: skip
            commands += publish(block.app, [told])
        return commands, told
