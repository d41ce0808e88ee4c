"""What a hold waits for: receipts that tell that a part in doubt was taken after all. Pure.

The answer to a submit_sm was lost, and with it the message_id, so the receipt of that part matches nothing
and is parked as an orphan. Before a copy is sent, the orphans are asked: one that came since the part was
written, to the same number, from the same sender, and that quotes no other words, is taken for its receipt.
Where fewer fit than parts are in doubt, of this message and of others it fits as well, nobody can tell which
part a receipt speaks of: all of them are sent again. A copy too many costs less than a message lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from ...codecs.quoted import speaks_of
from ..ledger.blocks import Block, Entry, pending_parts
from ..receipts.fields import DESTINATION_DIGITS, Parked

BEFORE_DOUBT_S: Final = 5.0
"""A part may have been written this much longer than response_timeout_s before its doubt was recorded."""

_RIVAL: Final = -1
"""In place of a position: an entry of another block."""


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
    rivals: Iterable[Entry] = (),
) -> tuple[list[Settled], list[bytes]]:
    """The parts of a held block that need no copy, by these orphans (an orphan settles one part); and the
    orphans that fit messages which nevertheless must be sent again.

    `one_receipt`: this carrier tells of a whole message at once. `rivals`: messages in doubt that are held in
    other blocks.
    """
    wanted: dict[str, list[tuple[int, Entry]]] = {}
    for index, entry in enumerate(block.entries):
        if entry is not None and entry.extra is not None and entry.extra.doubled and entry.extra.receipt:
            wanted.setdefault(entry.to[-DESTINATION_DIGITS:], []).append((index, entry))
    if not wanted:
        return [], []
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
    others: dict[str, list[tuple[int, Entry]]] = {}
    for entry in rivals:
        tail = entry.to[-DESTINATION_DIGITS:]
        if tail in found:
            others.setdefault(tail, []).append((_RIVAL, entry))
    settled: list[Settled] = []
    contested: dict[bytes, None] = {}
    for tail, waiting in found.items():
        waiting.sort(key=lambda each: each[:2])
        done, open_ = _share_out(wanted[tail], others.get(tail, []), waiting, response_timeout_s, one_receipt)
        settled += done
        contested |= dict.fromkeys(open_)
    return settled, list(contested)


def _share_out(
    entries: list[tuple[int, Entry]],
    others: list[tuple[int, Entry]],
    waiting: list[tuple[int, bytes, Parked]],
    response_timeout_s: float,
    one_receipt: bool,
) -> tuple[list[Settled], set[bytes]]:
    """The orphans of one number among the messages to it: only where there are enough for all they fit."""
    fitting = [
        (index, entry, {key: each for _, key, each in waiting if _fits(entry, each, response_timeout_s)})
        for index, entry in sorted([*entries, *others], key=lambda each: _doubted_ms(each[1]))
    ]
    settled: list[Settled] = []
    used: set[bytes] = set()
    contested: set[bytes] = set()
    for index, entry, orphans in fitting:
        if index == _RIVAL or not orphans:
            continue
        needed = sum(
            _needed(other, one_receipt)
            for _, other, theirs in fitting
            if not theirs.keys().isdisjoint(orphans)
        )
        if len(orphans) < needed:
            contested.update(orphans)
            continue
        keys = [key for key in orphans if key not in used][: _needed(entry, one_receipt)]
        used.update(keys)
        parts = pending_parts(entry)
        for part, key in zip(parts, keys * len(parts), strict=False):
            settled.append(Settled(index, part, key, orphans[key].receipt.message_id))
    return settled, contested


def _needed(entry: Entry, one_receipt: bool) -> int:
    return 1 if one_receipt else len(pending_parts(entry))


def _doubted_ms(entry: Entry) -> int:
    return entry.extra.first_ms if entry.extra is not None else 0


def _fits(entry: Entry, parked: Parked, response_timeout_s: float) -> bool:
    if parked.came_s * 1000 < _doubted_ms(entry) - (response_timeout_s + BEFORE_DOUBT_S) * 1000:
        return False
    if parked.contested or not parked.receipt.message_id:
        return False
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
