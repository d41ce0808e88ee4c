"""The limits of the local socket: each has a name, a unit and a default; configuration sets some."""

from __future__ import annotations

from typing import Final

import msgspec

FRAME_OCTETS_LIMIT: Final = 0xFF_FFFF
"""No frame_octets_max may be more: the first octet of a MessagePack frame's length is then 0, neither `{` nor
white space, and that is how the two spellings are told apart."""


class Limits(msgspec.Struct, frozen=True):
    """The limits of one server; every connection has the same.

    Raises ValueError for values that contradict one another.
    """

    credit_messages: int = 10_000
    """A connection is not read while more of its messages than this are in the node's hands or unanswered;
    also the most messages of one submit. Every other request counts as one message."""
    frame_octets_max: int = 1_048_576
    """A JSON line without its line feed, or a MessagePack frame without its length, both ways."""
    connections_max: int = 256
    events_per_frame_max: int = 500
    write_ahead_octets_max: int = 262_144
    """No more events are fetched for a subscriber while more octets than this wait to be written to it."""
    first_octet_s: float = 5.0
    """How long a caller without an app may take to show its spelling, before it is refused unheard."""
    close_s: float = 2.0
    """When the server stops, requests in hand get this long to be answered."""
    linger_s: float = 1.0
    """After a bad frame: how long what the caller still sends is read and thrown away; it can read why."""

    def __post_init__(self) -> None:
        if not 64 <= self.frame_octets_max <= FRAME_OCTETS_LIMIT:
            raise ValueError(f"frame_octets_max: 64 to {FRAME_OCTETS_LIMIT}, not {self.frame_octets_max}")
        for name in ("credit_messages", "connections_max", "events_per_frame_max", "write_ahead_octets_max"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: at least 1, not {getattr(self, name)}")
        for name in ("first_octet_s", "close_s", "linger_s"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: at least 0, not {getattr(self, name)}")
