"""What is known of one message: the fold of body, journal and receipt index, wherever the message went.

Queries, cancellations and delivery records use this one reading. Pure but for the reads it is given.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..receipts.correlation import DELIVERED, read_table, worst_of
from ..receipts.fields import REPORT_STATES, WAITING, candidates, index_key, is_final, origin_of
from . import blocks
from .events import rfc3339
from .keys import CarrierKeys
from .port import Stage

HOPS_MAX: Final = 64
"""Blocks one message may have gone through; retries are bounded well below."""


class Standing(msgspec.Struct):
    """Where a message stands. `place` is the block that holds it now."""

    app: str
    carrier: str
    block_id: str
    index: int
    lane: str
    entry: blocks.Entry
    journal: list[bytes]
    state: str
    """A report's state if `final`, else queued, submitted (taken by the SMSC) or in_doubt."""
    final: bool
    sent_parts: int
    delivered_parts: int
    command_status: int
    accepted_ms: int
    begun: bool = False
    """Some of its block was granted or moved: who has it in hand decides, and reads its journal no more."""

    def answer(self, message_id: str) -> dict[str, Any]:
        """The flat object for an app."""
        return {
            "message_id": message_id,
            "ref": self.entry.ref,
            "state": self.state,
            "final": self.final,
            "carrier": self.carrier,
            "parts": self.entry.parts,
            "sent_parts": self.sent_parts,
            "delivered_parts": self.delivered_parts,
            "possibly_doubled": self.entry.extra is not None and self.entry.extra.doubled,
            "command_status": self.command_status or None,
            "accepted_at": rfc3339(self.accepted_ms),
        }


async def find(stage: Stage, message_id: str, *, watch: bool = False) -> Standing | None:
    """Follow a message to where it is now; None if nothing is known of it. Raises StoreError.

    With `watch`, the journal it was found in stays watched: follow with `commit` or `unwatch`.
    """
    try:
        carrier, block_id, index = blocks.split_message_id(message_id)
    except ValueError:
        return None
    first: Standing | None = None
    for _ in range(HOPS_MAX):
        keys = CarrierKeys(carrier)
        journal = keys.journal(block_id)
        body, records = await stage.read(
            [("GET", keys.block(block_id)), ("LRANGE", journal, 0, -1)], (journal,) if watch else ()
        )
        if body is None:
            break
        block = blocks.decode_block(body)
        entry = block.entries[index] if index < len(block.entries) else None
        if entry is None:
            break
        progress = blocks.fold(records)
        end = progress.ended.get(index)
        standing = Standing(
            block.app, carrier, block_id, index, block.lane, entry, records, "queued", False, 0, 0,
            end[1] if end is not None else 0, block.accepted_ms,
            progress.grant > 0 or progress.claimed,
        )  # fmt: skip
        if entry.extra is not None and entry.extra.accepted_ms:
            standing.accepted_ms = entry.extra.accepted_ms
        if end is not None and end[0] == blocks.MOVED:
            if watch:
                await stage.unwatch()
            first = first or standing
            carrier, block_id, index = blocks.split_message_id(end[2])
            continue
        if end is not None and end[0] == blocks.TOLD:
            await _judge(stage, keys, standing, message_id)
            return standing
        if end is not None:
            standing.state, standing.final = blocks.STATE_OF_KIND.get(end[0], "unknown"), True
            _, table = await _read_table(stage, keys, standing, message_id)
            if table.count(DELIVERED) == len(table):
                standing.state, standing.delivered_parts = "delivered", len(table)
            return standing
        await _read_receipts(stage, keys, standing, progress, message_id)
        return standing
    if watch:
        await stage.unwatch()
    if first is not None:
        # Its last block is forgotten, and an earlier one waits for receipts of the parts that were sent from
        # there.
        first.sent_parts = first.entry.parts
        await _judge(stage, CarrierKeys(carrier), first, message_id)
    return first


async def _read_table(
    stage: Stage, keys: CarrierKeys, standing: Standing, message_id: str
) -> tuple[bool, bytes]:
    (stored,) = await stage.read([("HGET", keys.multi, message_id)])
    return read_table(stored, standing.entry.parts)


async def _judge(stage: Stage, keys: CarrierKeys, standing: Standing, message_id: str) -> None:
    """What the table of a message says that was sent whole."""
    closed, table = await _read_table(stage, keys, standing, message_id)
    standing.delivered_parts = table.count(DELIVERED)
    standing.state = "submitted"
    if WAITING not in table:
        standing.state, standing.final = REPORT_STATES.get(worst_of(table), "unknown"), True
    elif closed:
        standing.state, standing.final = "unknown", True


async def _read_receipts(
    stage: Stage, keys: CarrierKeys, standing: Standing, progress: blocks.Progress, message_id: str
) -> None:
    """Fill in what the receipts of the sent parts say."""
    entry, index = standing.entry, standing.index
    wanted = blocks.pending_parts(entry)
    mine = {
        part: raw for (position, part), raw in progress.sent.items() if position == index and part in wanted
    }
    standing.sent_parts = entry.parts - len(wanted) + len(mine)
    if not mine and index < progress.grant:
        standing.state = "in_doubt"
    doubled = entry.extra is not None and entry.extra.doubled
    if len(mine) < len(wanted):
        if doubled:
            # Receipts of an earlier copy may have told its end while the next one waits.
            waits = standing.state
            await _judge(stage, keys, standing, message_id)
            if not standing.final:
                standing.state = waits
        return
    standing.state = "submitted"
    if entry.extra is not None and not entry.extra.receipt:
        standing.state, standing.final = "sent", True
        return
    ids = [index_key(raw.encode("latin-1")) for raw in mine.values() if raw]
    if len(ids) < len(mine):
        standing.state, standing.final = "unknown", True
        return
    if entry.parts > 1 or doubled:
        await _judge(stage, keys, standing, message_id)
        return
    (values,) = await stage.read([("HMGET", keys.receipts, *ids)])
    for value in values:
        for each in candidates(value) if value is not None else []:
            origin = origin_of(each)
            if (origin.block_id, origin.index) == (standing.block_id, index) and is_final(each):
                standing.state, standing.final = REPORT_STATES.get(each[0], "unknown"), True
                standing.delivered_parts = int(each[0] == DELIVERED)
