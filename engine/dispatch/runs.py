"""A block on its way out: what of it is granted, written, answered. Plain state, no I/O.

The carrier's tasks own these objects; nothing outside the dispatch folder holds one.
"""

from __future__ import annotations

from typing import Final

from ..ledger import blocks
from ..ledger.blocks import Block, Entry
from ..ledger.keys import CarrierKeys

OK: Final = 0
IN_DOUBT: Final = -1
"""The outcome of a part whose answer never came, beside the command_status values (which are not
negative).
"""
OUT_OF_TIME: Final = -2
"""The outcome of a part that was not written before its message expired or its hours were over."""


class LongMessage:
    """A message in parts: all are written over one bind, and one decision is taken when all are answered."""

    __slots__ = ("bodies", "failed", "index", "nameless", "outstanding", "run", "timed_ms", "todo")

    def __init__(self, run: Run, index: int, bodies: dict[int, bytes], timed_ms: int = 0) -> None:
        self.run = run
        self.index = index
        self.bodies = bodies
        self.todo = list(bodies)
        """Parts not written yet, in order."""
        self.outstanding: set[int] = set()
        self.failed: dict[int, int] = {}
        """part -> command_status, IN_DOUBT or OUT_OF_TIME."""
        self.timed_ms = timed_ms
        """When `bodies` were made, if the message has an expiry or a window; else 0."""
        self.nameless = False
        """The SMSC took a part without giving it a message_id."""


class Run:
    """One block that this process is sending."""

    __slots__ = (
        "block",
        "block_id",
        "claimed",
        "dirty",
        "dropped",
        "ended",
        "entries",
        "fresh",
        "grant",
        "has_copies",
        "has_long",
        "ids",
        "journal_key",
        "lane",
        "long",
        "next",
        "open",
        "parts",
        "payloads",
        "sent",
        "skip",
        "slot",
        "stream_id",
        "taken",
        "taken_at",
        "tried_moving",
        "usable",
    )

    def __init__(
        self,
        keys: CarrierKeys,
        block: Block,
        stream_id: bytes,
        slot: int,
        taken_at: float,
        lane: str | None = None,
    ) -> None:
        """`lane`: the one it was taken from, if that is not the block's own."""
        self.block = block
        self.block_id = block.block_id
        self.journal_key = keys.journal(block.block_id)
        self.entries = block.entries
        self.payloads: list[bytes | None] = []
        """Octets of one-part GSM-7 texts, parallel to entries; empty when the block was read back from the
        store.
        """
        self.stream_id = stream_id
        self.slot = slot
        self.lane = lane or block.lane
        self.taken_at = taken_at
        self.next = 0
        """First entry not handed to a bind."""
        self.grant = 0
        """Entries below are granted, or will be by the write in flight."""
        self.usable = 0
        """Entries below are durably granted: they may be written to a socket."""
        self.open = len(block.entries)
        """Entries without a recorded end of dispatch."""
        self.has_long = False
        self.has_copies = False
        """Some of its messages were sent before and are in doubt: whoever hears of such a one writes that
        into the journal of its copy as long as that is not granted.
        """
        self.long: dict[int, LongMessage] = {}
        self.skip: set[int] = set()
        """Entries not to be written: ended before (journal, cancellation) or forgotten."""
        self.taken: dict[tuple[int, int], str] = {}
        """(entry, part) on its way whose earlier copy was taken, as a late answer says -> its message_id."""
        self.fresh = True
        """Its journal has not been read yet (a cancellation may be in it)."""
        self.claimed = False
        """Its journal says that what is not granted is this process's to decide as well."""
        self.dirty = False
        self.tried_moving = 0
        """Entries below were asked whether they can go to another carrier."""
        self.dropped = False
        """Given up because its slot was lost: what is still heard of it is a fact, nothing is decided."""
        self.sent: list[int] = []
        self.parts: list[int] = []
        self.ids: list[str] = []
        self.ended: list[tuple[int, int, int, str]] = []

    def record(self, epoch: int) -> bytes:
        """The journal record of what was learnt since the last one; starts the next one empty."""
        record = blocks.Record(blocks.FORMAT, epoch, self.grant, self.sent, self.parts, self.ids, self.ended)
        data = blocks.encode(record)
        self.sent = []
        self.parts = []
        self.ids = []
        self.ended = []
        self.dirty = False
        return data


def parts_to_send(entry: Entry) -> int:
    """How many parts of a grant this entry takes."""
    extra = entry.extra
    return entry.parts if extra is None or extra.pending is None else len(extra.pending)
