"""Copies of messages in doubt, and how one is withdrawn when its first was taken after all.

What is remembered here is a hint, kept in memory: which block holds the copy of what. The ledger decides: a
copy that another process has is withdrawn by what it reads in its journal before the first grant.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import msgspec

from ..ledger import blocks
from ..ledger.blocks import Entry, Extra
from ..ledger.keys import CarrierKeys
from .outgoing import Outgoing
from .runs import Run
from .turn import Turn

DOUBTS_REMEMBERED_MAX: Final = 100_000
ALL_PARTS: Final = -1


class Copies:
    """The copies of one carrier that this process made."""

    def __init__(self, keys: CarrierKeys, outgoing: Outgoing, epoch: int) -> None:
        self._keys = keys
        self._outgoing = outgoing
        self._epoch = epoch
        self._moved: OrderedDict[tuple[str, int], tuple[str, int]] = OrderedDict()
        """Where a message in doubt was -> where its copy is."""
        self._open: dict[str, set[tuple[int, int]]] = {}
        """Blocks with such copies, not closed yet -> (index, part or ALL_PARTS) of what has ended in them."""

    def remember(self, before: tuple[str, int], after: tuple[str, int]) -> None:
        """The message that was in doubt at `before` (block, index) has its copy at `after`."""
        self._moved[before] = after
        self._open.setdefault(after[0], set())
        if len(self._moved) > DOUBTS_REMEMBERED_MAX:
            self._moved.popitem(last=False)

    def closed(self, block_id: str) -> None:
        """Everything in this block has ended."""
        self._open.pop(block_id, None)

    def is_away(self, run: Run, index: int) -> bool:
        """Whether the copy of a message in doubt stands in a block that is not in hand here."""
        place = self._last(run, index)
        return place != (run.block_id, index) and place[0] not in self._outgoing.runs

    def _last(self, run: Run, index: int) -> tuple[str, int]:
        """Where the last copy of this message is that was made here, or the message itself."""
        place = (run.block_id, index)
        while place in self._moved:
            place = self._moved[place]
        return place

    def hops(self, run: Run, index: int) -> int:
        """How many copies of this part's message were made since, for this doubt and for later ones."""
        place, hops = (run.block_id, index), 0
        while place in self._moved:
            place = self._moved[place]
            hops += 1
        return hops

    def withdraw(self, work: Turn, run: Run, index: int, part: int, text: str) -> tuple[str, int] | None:
        """Let the copy of a message in doubt not be sent: its first one was taken, under this message_id.

        Returns where the copy stood; None if there is none, or it cannot be stopped any more.
        """
        place = block_id, position = self._last(run, index)
        withdrawn = self._open.get(block_id)
        if withdrawn is None or (position, ALL_PARTS) in withdrawn or (position, part) in withdrawn:
            # Of two late answers for one part the second tells of one copy more.
            return None
        ahead = self._outgoing.runs.get(block_id)
        if ahead is None:
            # Waiting in `due` or in a lane: the step that grants it for the first time reads this.
            before = run.entries[index]
            if before is None or not _is_ended_by_receipts(before, text):
                return None
            withdrawn.add((position, ALL_PARTS if before.parts == 1 else part))
            self.note_sent(work, place, part, text)
            return place
        entry = ahead.entries[position]
        if entry is None:
            return None
        if work.superseded.pop(place, None) is None and not _take_out(work, ahead, position, part, text):
            return None
        ahead.sent.append(position)
        ahead.ids.append(text)
        if ahead.has_long:
            ahead.parts.append(part)
        if not blocks.pending_parts(entry) or entry.parts == 1:
            ahead.open -= 1
        work.touch(ahead)
        return place

    def mark(self, work: Turn | None, run: Run, index: int, part: int, text: str) -> None:
        """The first copy of this part was taken, under this message_id. Should the one that is on its way be
        refused or lost, no further one is sent, and the message is not refused. So it is with a part of a
        message that is not decided about yet: there is no copy.

        `work`: the turn in which the answer is taken up; None: that happens elsewhere.
        """
        block_id, position = place = self._last(run, index)
        ahead = self._outgoing.runs.get(block_id)
        if ahead is None or position in ahead.skip or (ahead is run and position not in run.long):
            return
        entry = ahead.entries[position]
        if entry is None:
            return
        ahead.taken.setdefault((position, part), text)
        if work is not None and ahead is run:
            work.uncopied.add(place)
        elif work is not None and entry.parts == 1 and position < ahead.next:
            work.taken.add(place)

    def note_sent(self, work: Turn, place: tuple[str, int], part: int, text: str) -> None:
        """A part was taken whose block is not in hand, or has no more to send."""
        block_id, index = place
        record = blocks.Record(blocks.FORMAT, self._epoch, -1, [index], [part], [text])
        work.commands.append(("RPUSHX", self._keys.journal(block_id), blocks.encode(record)))

    def settled(self, block_id: str, index: int, part: int) -> None:
        """A copy that waits in a block not in hand is not needed: its first one was taken."""
        copies = self._open.get(block_id)
        if copies is not None:
            copies.add((index, part))

    def moved(self, before: tuple[str, int], after: tuple[str, int]) -> None:
        """A copy that waits in a block not in hand was put into another block: (block, index) of both."""
        self.ended_elsewhere(*before)
        self.remember(before, after)

    def ended_elsewhere(self, block_id: str, index: int) -> None:
        """A message that waits in a block not in hand was cancelled: there is no copy to withdraw any
        more.
        """
        self.settled(block_id, index, ALL_PARTS)


def _take_out(work: Turn, ahead: Run, position: int, part: int, text: str) -> bool:
    """Let a part of a copy in hand not be sent; whether that is possible still."""
    entry = ahead.entries[position]
    if entry is None or position < ahead.next or position in ahead.skip:
        return False
    left: list[int] = []
    if entry.parts > 1:
        wanted = blocks.pending_parts(entry)
        left = [each for each in wanted if each != part]
        if not _is_ended_by_receipts(entry, text) or len(left) == len(wanted):
            return False
        entry.extra = msgspec.structs.replace(entry.extra or Extra(), pending=left)
    if not left:
        ahead.skip.add(position)
    if position < ahead.grant:
        work.resolved_parts += 1
    return True


def _is_ended_by_receipts(entry: Entry, message_id: str) -> bool:
    """Whether a message may be left to its receipts when this part of it was taken, under this message_id:
    the end of one in several parts that has none, or a part without an id, is told when its copy is answered.
    """
    extra = entry.extra or Extra()
    return entry.parts == 1 or (bool(message_id) and extra.receipt and not extra.nameless)
