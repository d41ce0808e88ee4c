"""What receipts tell of parts in doubt. Pure.

The answer to a submit_sm was lost, and with it the message_id, so the receipt of that part matches nothing
and is parked as an orphan. Every part in doubt is noted in `{c}:doubts` until it is known what became of it.
Before its copy is sent, and later too, the orphans are asked: one that came since the part was written, to
the same number, from the same sender, and that quotes no other words, is taken for its receipt. Where fewer
fit than parts are in doubt, of this message and of others that they fit as well, or where they tell of
different ends, nobody can tell which part a receipt speaks of, and all of them are sent again: a copy too
many costs less than a message lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ...codecs.quoted import speaks_of
from ..ledger.blocks import Entry
from ..receipts.fields import BEFORE_DOUBT_S, DESTINATION_DIGITS, Parked


class Doubt(NamedTuple):
    """The parts of one message whose answers were lost at one attempt."""

    place: str
    """Where they were sent from: `block.index`."""
    parts: list[int]
    since_ms: int
    """When their doubt was recorded."""
    entry: Entry | None
    """The message; None when it is forgotten, and only its number is known."""
    accepted_ms: int = 0
    """When it was accepted, if that is known."""
    message_id: str = ""
    """The id its app knows it by, if that is known."""

    @property
    def message(self) -> str:
        """Alike for every doubt of one message."""
        return self.message_id or self.place


class Settled(NamedTuple):
    """A part that was taken, and the orphan that says so."""

    place: str
    part: int
    key: bytes
    """Of the orphan in `{c}:orphans`."""
    message_id: str


def doubt_field(to: str, block_id: str, index: int, part: int) -> bytes:
    """The field of a part in `{c}:doubts`; its value is when the doubt was recorded, in milliseconds."""
    return f"{to[-DESTINATION_DIGITS:]} {block_id}.{index}.{part}".encode()


def read_doubts(pairs: Sequence[bytes]) -> dict[str, dict[str, tuple[list[int], int]]]:
    """Fields and values of `{c}:doubts`: the end of a number -> place -> (parts, since when)."""
    found: dict[str, dict[str, tuple[list[int], int]]] = {}
    for field, value in zip(pairs[::2], pairs[1::2], strict=True):
        tail, _, rest = field.decode().partition(" ")
        place, _, part = rest.rpartition(".")
        parts, _ = found.setdefault(tail, {}).setdefault(place, ([], int(value)))
        parts.append(int(part))
    return found


def by_number(orphans: Iterable[tuple[bytes, list[Parked]]]) -> dict[str, dict[bytes, Parked]]:
    """Orphans by the end of the numbers on them. One that came twice counts once."""
    found: dict[str, dict[bytes, Parked]] = {}
    for key, parked in orphans:
        for each in parked:
            for address in {each.receipt.source_addr, each.receipt.destination_addr}:
                found.setdefault(address[-DESTINATION_DIGITS:], {}).setdefault(key, each)
    return found


def settle(
    doubts: Iterable[Doubt],
    orphans: dict[bytes, Parked],
    doubted_after_s: float,
    *,
    one_receipt: bool,
) -> list[Settled]:
    """Which of the parts in doubt to one number these orphans speak of: an orphan speaks of one part.

    `doubted_after_s`: as long as all goes on, a doubt is recorded so long after its part was written at most.
    `one_receipt`: this carrier tells of a whole message at once.
    """
    # By name what came in the same second: whoever else asks reads them in another order.
    waiting = sorted(orphans, key=lambda key: (orphans[key].came_s, key))
    fitting = [
        (doubt, [key for key in waiting if _fits(doubt, orphans[key], doubted_after_s)])
        for doubt in sorted(doubts, key=lambda each: (each.since_ms, each.place))
    ]
    # The last copy of a message before those that it had been sent in before: those may never have left.
    newest = {doubt.message: doubt.place for doubt, _ in fitting}
    fitting.sort(key=lambda each: newest[each[0].message] != each[0].place)
    settled: list[Settled] = []
    used: set[bytes] = set()
    for doubt, keys in fitting:
        if not keys:
            continue
        rivals = [other for other, theirs in fitting if not set(theirs).isdisjoint(keys)]
        if len(keys) < _needed(rivals, one_receipt):
            continue
        several = len({other.message for other in rivals}) > 1 or len(doubt.parts) > 1
        if several and len({orphans[key].receipt.state for key in keys}) > 1:
            continue  # one of them was delivered and another was not: which?
        mine = [key for key in keys if key not in used][: _needed([doubt], one_receipt)]
        used.update(mine)
        for part, key in zip(sorted(doubt.parts), mine * len(doubt.parts), strict=False):
            settled.append(Settled(doubt.place, part, key, orphans[key].receipt.message_id))
    return settled


def _needed(doubts: list[Doubt], one_receipt: bool) -> int:
    """So many receipts have to be there before one is taken for any of these parts.

    As many as were sent, or some may be of what was taken twice and none of what was not taken at all. Only
    where all are copies of one part it does not matter: it was taken.
    """
    names = {(doubt.message, 0 if one_receipt else part) for doubt in doubts for part in doubt.parts}
    if len(names) == 1:
        return 1
    return len(doubts) if one_receipt else sum(len(doubt.parts) for doubt in doubts)


def _fits(doubt: Doubt, parked: Parked, doubted_after_s: float) -> bool:
    written_ms = doubt.since_ms - doubted_after_s * 1000
    if doubt.accepted_ms:
        # The node, or the store, may have been away for long before the doubt could be recorded.
        written_ms = min(written_ms, doubt.accepted_ms)
    if parked.came_s * 1000 < written_ms - BEFORE_DOUBT_S * 1000:
        return False
    if not parked.receipt.message_id:
        return False
    entry = doubt.entry
    if entry is None:
        return True
    if speaks_of(parked.quoted, entry.text) is False:
        return False
    sender = entry.sender.removeprefix("+")
    others = [
        address.removeprefix("+")
        for address in (parked.receipt.source_addr, parked.receipt.destination_addr)
        if address[-DESTINATION_DIGITS:] != entry.to[-DESTINATION_DIGITS:]
    ]
    # Some SMSCs write no sender, or their own form of it: only another sender of ours speaks against it.
    return not sender or not others or any(_same_sender(sender, other) for other in others)


def _same_sender(ours: str, theirs: str) -> bool:
    if not theirs:
        return True
    ours, theirs = ours.casefold(), theirs.casefold()
    return ours == theirs or (
        len(min(ours, theirs, key=len)) >= DESTINATION_DIGITS
        and (ours.endswith(theirs) or theirs.endswith(ours))
    )
