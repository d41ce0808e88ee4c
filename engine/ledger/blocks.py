"""What the ledger stores, and the one way to read it: truth = fold(body, journal, receipt fields).

A *block* is up to 512 accepted messages of one carrier, lane, app and campaign, stored as one value. Its
*journal* is an append-only list of records. A record carries the facts that one turn of the record stage
learnt of that block and the *grant*: messages below it may have been written to a socket, messages at or
above it certainly were not.

Pure: bytes and values in, values out. Every stored shape begins with a format number.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ..messages import Window

FORMAT: Final = 1

# What became of one message at this carrier, as far as dispatch is concerned. A journal stores these numbers.
FAILED: Final = 1  # the carrier refused it for good
EXPIRED: Final = 2
CANCELLED: Final = 3
MOVED: Final = 4  # goes on as an entry of another block (retry, hold, another carrier)
ABANDONED: Final = 5  # in doubt, and the carrier's policy says never to send twice
TOLD: Final = 6  # a copy that was not sent: by then receipts had told of what an earlier one sent
UNANSWERED: Final = 7  # sent, and no receipt came within receipt_timeout_s
ALSO: Final = 8  # no end: a later block in which parts of the message were sent, before it went on from there
CLAIMED: Final = 9  # no end, and of the whole block: whoever has it in hand decides about it, granted or not

STATE_OF_KIND: Final = {
    FAILED: "rejected",
    EXPIRED: "expired",
    CANCELLED: "cancelled",
    ABANDONED: "unknown",
    UNANSWERED: "unknown",
}


class Extra(msgspec.Struct, array_like=True, gc=False):
    """What few messages need; most entries carry None in its place."""

    message_id: str = ""
    """Given when the entry was moved: the id the app knows it by. Empty: `carrier.block.index`."""
    receipt: bool = True
    window: Window | None = None
    attempts: int = 0
    pending: list[int] | None = None
    """Parts still to be sent, from 0; None = all."""
    doubled: bool = False
    """An earlier copy may have been taken by the SMSC."""
    carriers: list[str] | None = None
    """Carriers tried before this one."""
    tags: list[str] | None = None
    accepted_ms: int = 0
    last_status: int = 0
    data: bytes | None = None
    """Binary content, in place of a text."""
    nameless: bool = False
    """The SMSC took a part of it without giving a message_id: no receipt can end it."""
    first_ms: int = 0
    """When it was first refused or in doubt: the retry horizon counts from there."""
    doubts: int = 0
    """How often it was in doubt: so many copies before this one may have been taken."""
    doubt: str = ""
    """Where the last of them was sent from: `block.index`."""


class Entry(msgspec.Struct, array_like=True, gc=False):
    """One message in a block; `text` is empty when the app sent `data` (see Extra)."""

    to: str
    sender: str
    text: str
    ref: str | None
    parts: int
    expires_ms: int = 0
    reference: int = 0
    extra: Extra | None = None


class Block(msgspec.Struct, array_like=True):
    """One stored value. `entries[i] is None` where a finished message has been forgotten."""

    format: int
    block_id: str
    lane: str
    app: str
    campaign: str
    accepted_ms: int
    entries: list[Entry | None]


class Record(msgspec.Struct, array_like=True):
    """One journal record: the grant from now on (-1 = unchanged), and facts of this block.

    `sent`, `parts` and `ids` are parallel: entry index, part number (0 = first), the SMSC's message_id as
    latin-1 characters.
    `parts` is empty when all are part 0. `ended` holds (index, kind, command_status, where it moved).
    """

    format: int
    epoch: int
    grant: int
    sent: list[int] = []
    parts: list[int] = []
    ids: list[str] = []
    ended: list[tuple[int, int, int, str]] = []


_encoder = msgspec.msgpack.Encoder()
_block_decoder = msgspec.msgpack.Decoder(Block)
_record_decoder = msgspec.msgpack.Decoder(Record)

encode = _encoder.encode


class StoredShapeError(ValueError):
    """A stored value is not of a format this version reads: stop and keep the data, upgrade the engine."""


def decode_block(data: bytes) -> Block:
    """A block from its stored value. Raises StoredShapeError."""
    try:
        block = _block_decoder.decode(data)
    except msgspec.DecodeError as error:
        raise StoredShapeError(f"a stored block cannot be read: {error}") from error
    if block.format != FORMAT:
        raise StoredShapeError(f"a stored block has format {block.format}; this version reads {FORMAT}")
    return block


def decode_record(data: bytes) -> Record:
    """A journal record from its stored value. Raises StoredShapeError."""
    try:
        record = _record_decoder.decode(data)
    except msgspec.DecodeError as error:
        raise StoredShapeError(f"a journal record cannot be read: {error}") from error
    if record.format != FORMAT:
        raise StoredShapeError(f"a journal record has format {record.format}; this version reads {FORMAT}")
    return record


class Progress(msgspec.Struct):
    """What a journal says of its block."""

    grant: int = 0
    sent: dict[tuple[int, int], str] = {}
    """(index, part) -> message_id, of every part answered ESME_ROK."""
    ended: dict[int, tuple[int, int, str]] = {}
    """index -> (kind, command_status, where it moved)."""
    also: dict[int, list[str]] = {}
    """index -> further places with receipts to come."""
    more: list[tuple[int, int, str]] = []
    """(index, part, message_id): further ids under which the same part was taken."""
    claimed: bool = False
    """Whoever has the block in hand has begun to decide about its messages."""


def fold(records: list[bytes]) -> Progress:
    """Read a journal. A repeated (index, part) or end keeps the first telling; the last grant counts, and of
    a message that moved on again (told to the block it was accepted in) the last place.

    (A grant is only lowered at a clean stop and in a pause, by who knows what it never wrote.)
    """
    progress = Progress(sent={}, ended={}, also={}, more=[])
    for raw in records:
        record = decode_record(raw)
        if record.grant >= 0:
            progress.grant = record.grant
        parts = record.parts
        for position, index in enumerate(record.sent):
            key = index, parts[position] if parts else 0
            raw_id = record.ids[position]
            known = progress.sent.setdefault(key, raw_id)
            if known != raw_id and (*key, raw_id) not in progress.more:
                progress.more.append((*key, raw_id))
        for index, kind, command_status, where in record.ended:
            if kind == CLAIMED:
                progress.claimed = True
                continue
            if kind == ALSO:
                places = progress.also.setdefault(index, [])
                if where not in places:
                    places.append(where)
                continue
            before = progress.ended.get(index)
            if before is None or (kind == MOVED and before[0] == MOVED):
                progress.ended[index] = (kind, command_status, where)
    return progress


def plain_ids(records: list[bytes]) -> list[str] | None:
    """The message_ids of a block whose messages all had one part and were all sent; None for any other
    block.
    """
    grant = 0
    ids: list[str] = []
    sent: list[int] = []
    for raw in records:
        record = decode_record(raw)
        if record.ended or record.parts:
            return None
        grant = record.grant if record.grant >= 0 else grant
        ids += record.ids
        sent += record.sent
    if not ids or len(set(sent)) != grant or len(ids) != grant or "" in ids:
        return None
    return ids


def pending_parts(entry: Entry) -> list[int]:
    """The parts of this entry that this block has to send."""
    if entry.extra is not None and entry.extra.pending is not None:
        return entry.extra.pending
    return list(range(entry.parts))


def message_id(carrier: str, block_id: str, index: int, entry: Entry | None = None) -> str:
    """The id the app knows a message by: carrier, block and index of where it was accepted."""
    if entry is not None and entry.extra is not None and entry.extra.message_id:
        return entry.extra.message_id
    return f"{carrier}.{block_id}.{index}"


def split_message_id(value: str) -> tuple[str, str, int]:
    """carrier, block, index of a message id. Raises ValueError for anything else."""
    carrier, block_id, index = value.rsplit(".", 2)
    if not carrier or not block_id or not index.isdecimal() or len(index) > 4:
        raise ValueError("not a message id")
    return carrier, block_id, int(index)
