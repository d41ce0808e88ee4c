"""What a hold waits for: receipts that tell that a part in doubt was taken after all. Pure.

The answer to a submit_sm was lost, and with it the message_id, so the receipt of that part matches nothing
and is parked as an orphan. Before a copy is sent, the orphans are asked: one that came since the part was
written, to the same number and from the same sender, is taken for its receipt. Where fewer fit than parts
are in doubt nobody can tell which part a receipt speaks of: all of them are sent again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from ..ledger.blocks import Block, Entry, pending_parts
from ..receipts.fields import DESTINATION_DIGITS, Parked

BEFORE_DOUBT_S: Final = 5.0
"""A part may have been written this much longer than response_timeout_s before its doubt was recorded."""


class Settled(NamedTuple):
    """A part that was taken: where its copy stands, and the orphan that says so."""

    position: int
    part: int
    key: bytes
    """Of the orphan in `{c}:orphans`."""
    message_id: str


def settle(
    block: Block,
    orphans: Iterable[tuple[bytes, list[Parked]]],
    response_timeout_s: float,
    *,
    one_receipt: bool,
) -> list[Settled]:
    """The parts of a held block that need no copy, by these orphans. An orphan settles one part.

    `one_receipt`: this carrier tells of a whole message at once.
    """
    wanted: dict[str, list[tuple[int, Entry]]] = {}
    for index, entry in enumerate(block.entries):
        if entry is not None and entry.extra is not None and entry.extra.doubled and entry.extra.receipt:
            wanted.setdefault(entry.to[-DESTINATION_DIGITS:], []).append((index, entry))
    if not wanted:
        return []
    found: dict[str, list[tuple[int, bytes, Parked]]] = {}
    known: set[tuple[str, bytes]] = set()
    for key, parked in orphans:
        for each in parked:
            receipt = each.receipt
            for address in {receipt.source_addr, receipt.destination_addr}:
                tail = address[-DESTINATION_DIGITS:]
                # A receipt that came twice tells of one part; and a scan may return the same orphan again.
                if tail in wanted and (tail, key) not in known:
                    known.add((tail, key))
                    found.setdefault(tail, []).append((each.came_s, key, each))
    settled: list[Settled] = []
    for tail, entries in wanted.items():
        waiting = sorted(found.get(tail, ()), key=lambda each: each[:2])
        for index, entry in sorted(entries, key=lambda each: _doubted_ms(each[1])):
            fitting = [each for each in waiting if _fits(entry, each[2], response_timeout_s)]
            parts = pending_parts(entry)
            needed = 1 if one_receipt else len(parts)
            if not fitting or len(fitting) < needed:
                continue
            for part, (_, key, parked_one) in zip(parts, fitting[:needed] * len(parts), strict=False):
                settled.append(Settled(index, part, key, parked_one.receipt.message_id))
            waiting = [each for each in waiting if each not in fitting[:needed]]
    return settled


def _doubted_ms(entry: Entry) -> int:
    return entry.extra.first_ms if entry.extra is not None else 0


def _fits(entry: Entry, parked: Parked, response_timeout_s: float) -> bool:
    if parked.came_s * 1000 < _doubted_ms(entry) - (response_timeout_s + BEFORE_DOUBT_S) * 1000:
        return False
    if not parked.receipt.message_id:
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
