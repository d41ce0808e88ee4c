"""The names of everything Todoke keeps in Redis: one place, so that an operator can read a key and find its
writer.

`{c:NAME}` is the tag of a carrier account, `{a:NAME}` that of an app. The tags group keys for the eye (and
for a proxy that shards by tag); one engine speaks to one Redis primary, so a step may touch the keys of
both at once.
"""

from __future__ import annotations

from typing import Final

LANES: Final = ("urgent", "normal", "bulk")
GROUP: Final = b"engine"
"""The one consumer group of every lane; its consumers are slots."""

PROCESS_EPOCH: Final = b"{todoke}:epoch"
"""Counter without a time to live: each engine process takes the next number and mints its ids from it."""

KNOWN_CARRIERS: Final = b"{todoke}:carriers"
KNOWN_APPS: Final = b"{todoke}:apps"
"""Names under which something may be kept -> the epoch of the last process that served them."""


class CarrierKeys:
    """Every key of one carrier account."""

    __slots__ = (
        "answers",
        "asks",
        "doubts",
        "due",
        "hand",
        "lanes",
        "members",
        "multi",
        "name",
        "orphans",
        "prefix",
        "queued",
        "receipts",
        "receipts_shared",
        "receipts_version",
        "unreadable",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.prefix = b"{c:%b}:" % name.encode()
        self.lanes = {lane: self.prefix + b"q:" + lane.encode() for lane in LANES}
        self.due = self.prefix + b"due"
        self.hand = self.prefix + b"hand"
        """What an operator has changed, until it is changed back."""
        self.receipts = self.prefix + b"rx"
        self.receipts_version = self.prefix + b"rx:version"
        """Counted up by whoever changes what `{c}:rx` or `{c}:multi` says; the record stage only adds."""
        self.receipts_shared = self.prefix + b"rx:shared:version"
        """Counted up when a message was put beside another one under an id that was given again."""
        self.multi = self.prefix + b"multi"
        self.orphans = self.prefix + b"orphans"
        self.doubts = self.prefix + b"doubts"
        """Parts whose answers were lost, until it is known what became of them (see dispatch.holds)."""
        self.unreadable = self.prefix + b"unreadable"
        """Frames of deliver_sm that could not be read, for a person to look at."""
        self.members = self.prefix + b"members"
        self.asks = self.prefix + b"asks"
        self.answers = self.prefix + b"answers"
        self.queued = {lane: self.prefix + b"queued:" + lane.encode() for lane in LANES}

    def block(self, block_id: str) -> bytes:
        return self.prefix + b"b:" + block_id.encode()

    def journal(self, block_id: str) -> bytes:
        return self.prefix + b"j:" + block_id.encode()

    def slot(self, number: int) -> bytes:
        """Whose a slot is; it has no time to live, so whoever lost it finds another value there."""
        return self.prefix + b"slot:%d" % number

    def lease(self, number: int) -> bytes:
        """Who holds a slot, as long as this key lives."""
        return self.prefix + b"lease:%d" % number

    def alive(self, epoch: int) -> bytes:
        """That process of this epoch serves the account, as long as this key lives."""
        return self.prefix + b"alive:%d" % epoch


class AppKeys:
    """Every key of one app."""

    __slots__ = ("acked", "events", "events_n", "name", "prefix", "refs_version")

    def __init__(self, name: str) -> None:
        self.name = name
        self.prefix = b"{a:%b}:" % name.encode()
        self.events = self.prefix + b"events"
        self.events_n = self.prefix + b"events:n"
        self.acked = self.prefix + b"events:acked"
        self.refs_version = self.prefix + b"ref:version"

    def refs(self, bucket: int) -> bytes:
        """The references accepted in one span of `ref_ttl_s`; a look-up reads the current and the previous
        one.
        """
        return self.prefix + b"ref:%d" % bucket
