"""Taking blocks from the lanes of one carrier, and taking over what an earlier process left behind.

A block is read into the pending list of a slot (the name of a consumer), so ownership follows the slot and
not the process. Waiting has no side effect; taking is a separate, short write. After any error the pending
list is read again: a block whose reply was lost is found there.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final

import anyio

from ..bell import Bell
from ..clock import Clock
from ..ledger import blocks
from ..ledger.keys import GROUP, CarrierKeys
from ..ledger.port import Stage, Store, StoreError, StoreRefused
from .failover import Failover
from .grants import Grants
from .outgoing import Outgoing
from .runs import Run
from .slots import Slots

log = logging.getLogger("todoke.take")

RECENT_BLOCKS_MAX: Final = 64
"""Blocks this process accepted and has not taken yet whose bodies it keeps, to spare reading them back."""
WAIT_S: Final = 30.0
ERROR_PAUSE_S: Final = 0.5
AHEAD_MESSAGES_MIN: Final = 64
TAKE_BLOCKS_MAX: Final = 8
MOVING_BLOCKS_MAX: Final = 200
"""Blocks in hand at most while they are moved to other carriers: those that cannot go stay in hand."""


class Taker:
    """One task a carrier: keeps enough granted-to-be work in hand, never more than is soon sent."""

    def __init__(
        self,
        keys: CarrierKeys,
        store: Store,
        outgoing: Outgoing,
        grants: Grants,
        failover: Failover,
        clock: Clock,
        *,
        slots: Slots,
        slots_number: int,
        epoch: int,
    ) -> None:
        self._keys = keys
        self._epoch = epoch
        self._store = store
        self._stage: Stage = store.stage(f"take-{keys.name}")
        self._outgoing = outgoing
        self._grants = grants
        self._failover = failover
        self._clock = clock
        self._slots = slots
        self._slots_number = slots_number
        self._lane_names = {key: name for name, key in keys.lanes.items()}
        self._turns = 0
        self._recent: OrderedDict[str, tuple[blocks.Block, list[bytes | None]]] = OrderedDict()
        self._recovered = False
        self._read_whole: dict[int, bytes] = {}
        """slot -> the claim under which its pending list was read to its end: what is found there later was
        taken by reads of ours whose replies were lost."""
        self._lanes_empty = False
        """The last look found every lane empty, and no bell has rung since."""
        self._offered: dict[str, int] = {}
        """Blocks being made and taken in one write -> the slot."""
        self._reading: set[int] = set()
        """Slots in whose name something is being read: what comes is in hand from then on."""
        self._more_pending = False
        self._lives = 0
        """How often everything in hand was given up."""
        self.on_fenced: Callable[[], None] = lambda: None
        """Called when the store says that a slot is not ours any more."""
        self.bell = Bell()
        """Rung when a block was made here, and when less is in hand than could be sent."""
        self._idle = Bell()

    def made(self, block: blocks.Block, payloads: list[bytes | None]) -> None:
        """A block of this carrier was accepted here: keep its body at hand."""
        # The lanes are first in, first out: when there is no room, the new one is the last to be needed.
        if len(self._recent) < RECENT_BLOCKS_MAX:
            self._recent[block.block_id] = (block, payloads)
        self.queued()

    def queued(self) -> None:
        """A block was put into a lane."""
        self._lanes_empty = False
        self.bell.ring()

    def offer(self, block: blocks.Block) -> bytes | None:
        """See DirectTaker: yes, when all lanes were found empty and nothing in hand waits for a grant."""
        if not (self._recovered and self._lanes_empty) or any(self._outgoing.lanes.values()):
            return None
        slot = self._next_slot()
        if slot is None or not self._grants.reserve(_parts_of(block)):
            return None
        self._offered[block.block_id] = slot
        return b"%d" % slot

    def offered(self, block: blocks.Block, payloads: list[bytes | None], reply: Any, known: bool) -> None:
        """See DirectTaker."""
        slot = self._offered.pop(block.block_id, None)
        if slot is None:
            # All that was in hand was given up meanwhile: whoever has the slot finds it there.
            self._recovered = False
            self.bell.ring()
            return
        found = _entries([reply])
        if len(found) == 1 and found[0][1] == block.block_id:
            run = Run(self._keys, block, found[0][0], slot, self._clock.monotonic())
            run.payloads = payloads
            run.fresh = False
            run.grant = run.usable = len(block.entries)
            self._add(run)
            self._grants.on_usable()
            return
        self._grants.open_parts -= _parts_of(block)
        if reply is None and known:
            return  # there is no such block
        if found or not known:
            # Another block came first, or the replies are lost: what was taken stands in the pending list.
            self._recovered = False
        # It may stand there too, taken by the read of another block, with all its messages granted. None was
        # sent: they are in no doubt.
        self._recent[block.block_id] = (block, payloads)
        self.queued()

    def _next_slot(self) -> int | None:
        """The slot to take the next block in the name of; None: there is none, or its lease may be over."""
        slots = [number for number in self._slots.held if number not in self._slots.giving_up]
        if not slots or self._clock.monotonic() >= self._slots.until:
            return None
        self._turns += 1
        return slots[self._turns % len(slots)]

    @property
    def lanes_empty(self) -> bool:
        """Nothing waits that is not in hand, as far as is known here."""
        return self._lanes_empty

    def offers(self, slot: int) -> bool:
        """Whether a block is being taken, or taken over, in the name of this slot."""
        return slot in self._reading or slot in self._offered.values()

    def drop_all(self) -> None:
        """Nothing is in hand any more: what the slots hold is read again."""
        self._recovered = self._lanes_empty = False
        self._read_whole.clear()
        self._offered.clear()
        self._lives += 1
        self.bell.ring()

    def recover(self) -> None:
        """Read the pending lists of our slots: one was added, or there may be more in them than we know."""
        self._recovered = False
        self.bell.ring()

    def wanted(self) -> bool:
        """Whether another block should be taken: less than twice the grants' reach is in hand."""
        windows = self._grants.windows
        if self._failover.moving:
            # Blocks are taken to be sent elsewhere.
            return (
                self._outgoing.unmoved() < AHEAD_MESSAGES_MIN and len(self._outgoing.runs) < MOVING_BLOCKS_MAX
            )
        return windows > 0 and self._outgoing.ungranted() < max(AHEAD_MESSAGES_MIN, 2 * windows)

    async def prepare(self) -> None:
        """Make the lanes' groups; once at start. Raises StoreError."""
        for lane in self._keys.lanes.values():
            try:
                await self._stage.commit([("XGROUP", "CREATE", lane, GROUP, "0", "MKSTREAM")])
            except StoreRefused as error:
                if error.code != "BUSYGROUP":
                    raise

    async def run(self) -> None:
        """The taker's task, until cancelled."""
        pause_s = 0.02
        while True:
            try:
                if not self._recovered:
                    self._recovered = True
                    # A slot that is being given up may be another's before we are done: it is left to that
                    # one.
                    held = [number for number in self._slots.held if number not in self._slots.giving_up]
                    with self._reading_for(held):
                        await self._recover(held)
                slot = self._next_slot() if self.wanted() else None
                if slot is None:
                    await self.bell.wait()
                    continue
                with self._reading_for([slot]):
                    found = await self._take(slot)
                if not found:
                    self._lanes_empty = True
                    self._idle.ring()
                    # The bell is also rung when there is room: nothing can be taken before more is queued.
                    while self._lanes_empty and self._recovered:
                        await self.bell.wait()
                pause_s = 0.02
            except StoreError as error:
                self._recovered = False
                log.debug("%s: taking waits for the message store: %s", self._keys.name, error)
                await anyio.sleep(pause_s)
                pause_s = min(1.0, pause_s * 2)

    async def watch(self) -> None:
        """A second task: while nothing is made here, wait for what other processes accept. Until
        cancelled.
        """
        stage = self._store.stage(f"watch-{self._keys.name}")
        lanes = list(self._keys.lanes.values())
        while True:
            await self._idle.wait()
            try:
                # What was taken is pending until it is deleted: whatever comes after the last of it was not
                # taken.
                pending = await stage.read([("XPENDING", lane, GROUP) for lane in lanes])
                after = {lane: summary[2] or b"0-0" for lane, summary in zip(lanes, pending, strict=True)}
                while not await self._store.wait(after, WAIT_S):
                    pass  # nothing came: what was the last is the last still
                self.queued()
            except StoreError:
                await anyio.sleep(ERROR_PAUSE_S)
                self._idle.ring()

    @contextmanager
    def _reading_for(self, slots: list[int]) -> Generator[None]:
        self._reading = set(slots)
        try:
            yield
        finally:
            self._reading = set()

    async def _take(self, slot: int) -> bool:
        """Take the next blocks by priority of their lanes. False if there are none."""
        consumer, lives = b"%d" % slot, self._lives
        commands: list[tuple[Any, ...]] = [
            ("XREADGROUP", "GROUP", GROUP, consumer, "COUNT", TAKE_BLOCKS_MAX, "STREAMS", lane, ">")
            for lane in self._keys.lanes.values()
        ]
        replies = await self._stage.commit_if(self._slots.holds, commands)
        if replies is None:
            self.on_fenced()
            return False
        found = _entries(replies)
        if not found:
            return False
        if lives == self._lives:
            await self._load(found, slot, first=True)
        return True

    @property
    def in_hand(self) -> int:
        """Blocks in hand, or being taken."""
        return len(self._outgoing.runs) + len(self._offered)

    def pending(self) -> list[tuple[Any, ...]]:
        """The questions whose replies `look_for_more` wants."""
        return [("XPENDING", lane, GROUP) for lane in self._keys.lanes.values()]

    def look_for_more(self, summaries: list[Any], known: int) -> None:
        """Now and then: whether the pending lists hold more than we know of. What a process took in the name
        of a slot while it lost it is found so. `known`: what was in hand when they were asked for.
        """
        consumers = {b"%d" % number for number in self._slots.held}
        pending = sum(
            int(count) for summary in summaries for name, count in summary[3] or () if name in consumers
        )
        more = pending > max(known, self.in_hand)
        if more and self._more_pending:
            self.recover()
        self._more_pending = more and not self._more_pending

    async def _recover(self, held: list[int]) -> None:
        """Read the pending lists of these slots of ours: what was taken and not finished, by us (a lost
        reply) or before us. Slots that are configured no more belong to the first.
        """
        lanes = list(self._keys.lanes.values())
        lives = self._lives
        consumers = {b"%d" % slot for slot in held}
        if 1 in held:
            for summary in await self._stage.read([("XPENDING", lane, GROUP) for lane in lanes]):
                pending: list[tuple[bytes, bytes]] = summary[3] or []
                consumers |= {name for name, _ in pending if int(name) > self._slots_number}
        for consumer in sorted(consumers):
            slot = int(consumer)
            claim = self._slots.holds.get(self._keys.slot(slot))
            ours = claim is not None and self._read_whole.get(slot) == claim
            after = [b"0"] * len(lanes)
            while True:
                commands = [
                    ("XREADGROUP", "GROUP", GROUP, consumer, "COUNT", 100, "STREAMS", lane, last)
                    for lane, last in zip(lanes, after, strict=True)
                ]
                replies = await self._stage.commit_if(self._slots.holds, commands)
                if replies is None:
                    self.on_fenced()
                    return
                found = _entries(replies)
                if lives != self._lives:
                    break
                if not found:
                    if claim is not None:
                        self._read_whole[slot] = claim
                    break
                there = [item for item in found if item[1] is not None]
                await self._load(there, slot, first=False, ours=ours)
                for stream_id, _, lane in found:
                    position = lanes.index(lane)
                    after[position] = max(after[position], stream_id, key=_id_key)

    async def _load(
        self,
        found: list[tuple[bytes, str | None, bytes]],
        slot: int,
        *,
        first: bool,
        ours: bool = False,
    ) -> None:
        """Make runs of these queue entries.

        `first`: nobody has held them before. A grant in their journals is then one that was written in the
        hope of taking them at once (`offer`), and nothing was sent under it. `ours`: only we have, if at all.
        """
        now, lives = self._clock.monotonic(), self._lives
        unread: list[tuple[bytes, str, bytes]] = []
        made_here: set[str] = set()
        for stream_id, block_id, lane in found:
            if block_id is None or block_id in self._outgoing.runs or block_id in self._offered:
                continue
            recent = self._recent.pop(block_id, None)
            if recent is not None and first:
                run = Run(self._keys, recent[0], stream_id, slot, now, self._lane_names[lane])
                run.payloads = recent[1]
                self._add(run)
                continue
            unread.append((stream_id, block_id, lane))
            if recent is not None:
                made_here.add(block_id)
        if unread:
            commands: list[tuple[Any, ...]] = []
            for _, block_id, _ in unread:
                commands.append(("GET", self._keys.block(block_id)))
                commands.append(("LRANGE", self._keys.journal(block_id), 0, -1))
            for stream_id, _, lane in unread:
                commands.append(("XRANGE", lane, stream_id, stream_id))
            replies = await self._stage.read(commands)
            if lives != self._lives:
                return
            for position, (stream_id, block_id, lane) in enumerate(unread):
                body, records = replies[2 * position], replies[2 * position + 1]
                if not replies[2 * len(unread) + position]:
                    # It was pending when we read the list, and its end has been written since.
                    continue
                if body is None:
                    await self._drop(stream_id, block_id, lane)
                    continue
                block = blocks.decode_block(body)
                run = Run(self._keys, block, stream_id, slot, now, self._lane_names[lane])
                progress = blocks.fold(records)
                hopes = _granting(records)
                if first or (
                    len(hopes) <= 1 and (block_id in made_here or (ours and self._epoch not in hopes))
                ):
                    progress.grant = 0
                self._grants.adopt(run, progress)
                self._add(run)
        self._grants.want()

    async def _drop(self, stream_id: bytes, block_id: str, lane: bytes) -> None:
        """A queue entry without a block: its end was written and this reply is older. Nothing is lost by
        it.
        """
        log.warning("%s: queue entry of block %s has no block; dropped", self._keys.name, block_id)
        await self._stage.commit([("XACK", lane, GROUP, stream_id), ("XDEL", lane, stream_id)])

    def _add(self, run: Run) -> None:
        run.has_long = any(entry is not None and entry.parts > 1 for entry in run.entries)
        run.has_copies = any(
            entry is not None and entry.extra is not None and entry.extra.doubled for entry in run.entries
        )
        self._outgoing.add(run)


def _granting(records: list[bytes]) -> set[int]:
    """The epochs of those who granted anything in this journal. The only one is who made the block: it may
    have done so without having it in hand, in the hope of taking it at once.
    """
    return {record.epoch for record in map(blocks.decode_record, records) if record.grant >= 0}


def _parts_of(block: blocks.Block) -> int:
    return sum([entry.parts for entry in block.entries if entry is not None])


def _entries(replies: list[Any]) -> list[tuple[bytes, str | None, bytes]]:
    """(stream id, block id, lane) of every entry in these XREADGROUP replies; block id None: the entry was
    deleted.
    """
    found: list[tuple[bytes, str | None, bytes]] = []
    lanes: list[tuple[bytes, list[tuple[bytes, list[bytes] | None]]]]
    for lanes in replies:
        for lane, entries in lanes or ():
            for stream_id, fields in entries:
                found.append((stream_id, fields[1].decode() if fields else None, lane))
    return found


def _id_key(stream_id: bytes) -> tuple[int, int]:
    milliseconds, _, sequence = stream_id.partition(b"-")
    return int(milliseconds), int(sequence or b"0")
