"""Asking the orphans about parts in doubt: the reads around `holds.settle`, on the due stage's connection.

At the end of a hold, for the block that is to be sent again; and now and then for everything in doubt, so
that a receipt that comes later still finds its message, whatever was told of it meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from typing import Any, Final, NamedTuple

from ..config import CarrierConfig
from ..ledger import blocks
from ..ledger.durable import SCAN_COUNT, DurableStage
from ..ledger.keys import CarrierKeys
from ..receipts.correlation import read_table
from ..receipts.fields import (
    BEFORE_DOUBT_S,
    DESTINATION_DIGITS,
    WAITING,
    WITHDRAWN,
    Origin,
    Parked,
    beside,
    candidates,
    decode_parked,
    index_key,
    new_value,
    origin_of,
)
from .holds import Doubt, Settled, by_number, doubt_field, read_doubts, settle

log = logging.getLogger("todoke.due")

DOUBTS_MAX: Final = 100_000
"""Parts in doubt of which an account keeps note; now and then the oldest beyond are forgotten. Their receipts
find no message from then on."""

Commands = list[tuple[Any, ...]]


_Entries = dict[str, tuple[blocks.Entry, int, str]]
"""Messages, when each was accepted and its id, by the place it was sent from."""


class Withdrawn(NamedTuple):
    """A part of a held block that is not sent again."""

    position: int
    part: int
    key: bytes
    message_id: str


class Release(NamedTuple):
    """What is known of a held block when its time comes."""

    withdrawn: list[Withdrawn]
    told: list[int]
    """Positions of copies that would send nothing but what receipts have told of."""
    commands: Commands
    """The index entries that follow."""


class Held:
    """A block whose hold is over, and what orphans say of it."""

    def __init__(
        self,
        keys: CarrierKeys,
        block: blocks.Block,
        copies: dict[str, tuple[int, blocks.Entry]],
        settled: list[tuple[int, blocks.Entry, Settled]],
    ) -> None:
        """`copies`: position and entry, by the message's id, of what was sent before; `settled`: of what an
        orphan speaks of, with that.
        """
        self._keys = keys
        self._block = block
        self._copies = copies
        self._settled = settled
        self._ids = [index_key(each.message_id.encode("latin-1", "replace")) for _, _, each in settled]
        """Where the orphans' ids are in the index."""

    @property
    def questions(self) -> Commands:
        """What `release` has to know, watched."""
        asked: Commands = []
        if self._copies:
            asked.append(("HMGET", self._keys.multi, *self._copies))
        if self._ids:
            asked.append(("HMGET", self._keys.receipts, *self._ids))
        return asked

    def release(self, replies: list[Any], now_s: int) -> Release | None:
        """What to write, by the answers to `questions`; None: an orphan has found its message meanwhile, look
        again.
        """
        told = self._told(replies[0]) if self._copies else []
        known: list[bytes | None] = replies[-1] if self._ids else []
        withdrawn: list[Withdrawn] = []
        rx: list[bytes] = []
        gone: list[bytes] = []
        for (index, entry, settled), key, before in zip(self._settled, self._ids, known, strict=True):
            tail = entry.to[-DESTINATION_DIGITS:]
            if _is_to(before, tail):
                return None
            if index in told:
                continue  # one copy more was taken: `find` tells of it
            withdrawn.append(Withdrawn(index, settled.part, settled.key, settled.message_id))
            # The SMSC may have given an id to a message to another number before.
            rx += [key, beside(before, new_value(self._origin(index, entry, settled.part), now_s))]
            gone.append(_field(entry.to, settled.place, settled.part))
        commands: Commands = []
        if rx:
            commands = [
                ("HSET", self._keys.receipts, *rx),
                ("HDEL", self._keys.doubts, *gone),
                ("INCR", self._keys.receipts_version),
            ]
            if any(known):
                commands.append(("INCR", self._keys.receipts_shared))
        return Release(withdrawn, told, commands)

    def _told(self, tables: list[bytes | None]) -> list[int]:
        """The copies that are not needed: receipts have told of all that they would send. An earlier one's
        may find the message while a copy is on its way, and that one be refused, or lost, and held once more.
        """
        told: list[int] = []
        for (index, entry), stored in zip(self._copies.values(), tables, strict=True):
            _, table = read_table(stored, entry.parts)
            if all(table[part] != WAITING for part in blocks.pending_parts(entry)):
                told.append(index)
        return told

    def _origin(self, index: int, entry: blocks.Entry, part: int) -> Origin:
        block = self._block
        return Origin(
            block.block_id,
            index,
            part,
            entry.parts,
            block.app,
            entry.ref,
            entry.to[-DESTINATION_DIGITS:],
            blocks.message_id(self._keys.name, block.block_id, index, entry),
            # An earlier copy may have been sent for another doubt.
            WITHDRAWN if entry.extra is not None and entry.extra.doubts <= 1 else True,
        )


class Found(NamedTuple):
    """A part in doubt that an orphan speaks of."""

    block: blocks.Block
    position: int
    part: int
    message_id: str


class Settling:
    """Of one account. Shares its stage with the due stage, which awaits one method at a time."""

    def __init__(self, config: CarrierConfig, keys: CarrierKeys, stage: DurableStage) -> None:
        self._config = config
        self._keys = keys
        self._stage = stage

    @property
    def counts(self) -> Commands:
        """The questions how many orphans and doubts there are: without either `find` finds nothing."""
        return [("HLEN", self._keys.orphans), ("HLEN", self._keys.doubts)]

    async def look(self, block_id: str, now_s: int) -> Held | None:
        """What orphans say of a block that was held for them; None: it is gone. Raises StoreError.

        This takes a while where there are many orphans, and receipts come all the time: so nothing is watched
        yet. What is found is looked at again, by `Held.questions`, when it is.
        """
        (body, number) = await self._stage.read([("GET", self._keys.block(block_id)), self.counts[0]])
        if body is None:
            return None
        block = blocks.decode_block(body)
        waiting: dict[str, tuple[int, blocks.Entry]] = {}
        copies: dict[str, tuple[int, blocks.Entry]] = {}
        for index, entry in enumerate(block.entries):
            if entry is None or entry.extra is None or not entry.extra.receipt:
                continue
            if entry.extra.doubt:
                waiting[entry.extra.doubt] = (index, entry)
            if entry.extra.doubled:
                copies[blocks.message_id(self._config.name, block_id, index, entry)] = (index, entry)
        settled: list[tuple[int, blocks.Entry, Settled]] = []
        if number and waiting:
            tails = {entry.to[-DESTINATION_DIGITS:] for _, entry in waiting.values()}
            known = {place: self._known(entry, block, index) for place, (index, entry) in waiting.items()}
            async for each in self._settled(tails, known, now_s):
                if each.place not in waiting:
                    continue  # held elsewhere, or sent again: its own time comes
                index, entry = waiting[each.place]
                if each.part not in blocks.pending_parts(entry):
                    continue  # its copy was sent from an earlier block: `find` tells whose the receipt is
                if entry.parts > 1 and entry.extra is not None and entry.extra.nameless:
                    continue  # its end is told when its copy is answered
                settled.append((index, entry, each))
        return Held(self._keys, block, copies, settled)

    async def find(self, now_s: int) -> list[Found]:
        """Whose the orphans are that have waited until every answer was there or in doubt. Raises
        StoreError.
        """
        keys = self._keys
        before_s = now_s - int(self._config.response_timeout_s + BEFORE_DOUBT_S)
        found: list[Found] = []
        async for settled in self._settled(None, {}, before_s):
            block_id, _, index = settled.place.rpartition(".")
            (body,) = await self._stage.read([("GET", keys.block(block_id))])
            if body is not None:
                block = blocks.decode_block(body)
                found.append(Found(block, int(index), settled.part, settled.message_id))
        return found

    async def forget(self, before_ms: int) -> None:
        """Doubts noted before that are noted no more: by then their receipts, if they came, are gone as well.
        Until then they count, whatever has become of their messages: a receipt may be theirs. Nor are the
        oldest of too many. Raises StoreError.
        """
        keys = self._keys
        noted = sorted([(int(since), field) async for field, since in self._stage.scan(keys.doubts)])
        excess = max(0, len(noted) - DOUBTS_MAX)
        if excess:
            log.warning("%s: the oldest %d parts in doubt are given up", keys.name, excess)
        old = [
            field for position, (since, field) in enumerate(noted) if position < excess or since < before_ms
        ]
        for start in range(0, len(old), SCAN_COUNT):
            await self._stage.commit([("HDEL", keys.doubts, *old[start : start + SCAN_COUNT])])

    async def _settled(
        self, tails: set[str] | None, entries: _Entries, came_until_s: int
    ) -> AsyncGenerator[Settled]:
        """What the orphans that came until then say of what is in doubt to these numbers (None: to any).

        `entries`: messages that are at hand.
        """
        keys = self._keys
        orphans = by_number(
            [
                (key, [each for each in decode_parked(value) if each.came_s <= came_until_s])
                async for key, value in self._stage.scan(keys.orphans)
            ]
        )
        numbers = (orphans.keys() if tails is None else tails) & orphans.keys()
        if not numbers:
            return
        pairs = [each async for pair in self._stage.scan(keys.doubts) for each in pair]
        doubts = {tail: places for tail, places in read_doubts(pairs).items() if tail in numbers}
        if not doubts:
            return
        # An orphan whose id is in the index has its message already, if that was sent to this number: the
        # receipt stage has not taken it up yet.
        asked = list({key for tail in doubts for key in orphans[tail]})
        (values,) = await self._stage.read([("HMGET", keys.receipts, *asked)])
        known = dict(zip(asked, values, strict=True))
        places_of_all = {place for places in doubts.values() for place in places}
        entries = entries | await self._entries(places_of_all - entries.keys())
        for tail, places in doubts.items():
            waiting: dict[bytes, Parked] = {
                key: parked for key, parked in orphans[tail].items() if not _is_to(known[key], tail)
            }
            told = settle(
                [
                    Doubt(place, parts, since_ms, *entries.get(place, (None, 0, "")))
                    for place, (parts, since_ms) in places.items()
                ],
                waiting,
                # Of a process that died its successor records the doubts, when the lease is over.
                self._config.response_timeout_s + self._config.lease_s,
                one_receipt=self._config.multipart_receipts == "one",
            )
            for each in told:
                yield each

    def _known(self, entry: blocks.Entry, block: blocks.Block, index: int) -> tuple[blocks.Entry, int, str]:
        accepted_ms = (entry.extra.accepted_ms if entry.extra is not None else 0) or block.accepted_ms
        return entry, accepted_ms, blocks.message_id(self._config.name, block.block_id, index, entry)

    async def _entries(self, places: set[str]) -> _Entries:
        names = sorted({place.rpartition(".")[0] for place in places})
        if not names:
            return {}
        bodies = await self._stage.read([("GET", self._keys.block(name)) for name in names])
        held = {
            name: blocks.decode_block(body)
            for name, body in zip(names, bodies, strict=True)
            if body is not None
        }
        found: _Entries = {}
        for place in places:
            name, _, index = place.rpartition(".")
            block = held.get(name)
            entry = None if block is None else block.entries[int(index)]
            if block is not None and entry is not None:
                found[place] = self._known(entry, block, int(index))
        return found


def _is_to(value: bytes | None, tail: str) -> bool:
    """Whether the index knows a message to this number by the id."""
    return value is not None and any(origin_of(each).destination == tail for each in candidates(value))


def _field(to: str, place: str, part: int) -> bytes:
    block_id, _, index = place.rpartition(".")
    return doubt_field(to, block_id, int(index), part)
