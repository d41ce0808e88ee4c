"""The load client's side of the local socket: the fields it needs of each object, and framing.

Not `engine.client`: what a measuring client spends on convenience is taken from the engine it measures.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol, cast

import msgspec

TEXT_CHARACTERS: Final = 61
LONG_TEXT: Final = (
    "Your parcel could not be delivered today, because nobody was at home to sign for it. Please choose "
    "another day at the counter of your post office, or over the telephone, between 8:00 and 21:00 h. "
)
"""Behind a message's own eight digits: two parts of GSM 7-bit."""
MESSAGES_MAX: Final = 100_000_000
"""A destination is told from all others by eight digits."""


class Accepted(msgspec.Struct, gc=False):
    """One message the node holds."""

    ref: str
    message_id: str
    parts: int = 1
    duplicate: bool = False


class Refused(msgspec.Struct, gc=False):
    """One it does not."""

    index: int
    code: str
    retry_after_s: float | None = None


class Answer(msgspec.Struct, gc=False):
    """The answer to a submit."""

    id: int = 0
    accepted: list[Accepted] = []
    refused: list[Refused] = []
    error: dict[str, Any] | None = None


class Event(msgspec.Struct, gc=False):
    """A report or a correction (of other events only the cursor matters)."""

    event: str
    cursor: str
    message_id: str = ""
    ref: str | None = None
    state: str = ""
    possibly_doubled: bool = False


class Events(msgspec.Struct, gc=False):
    """A frame on the subscribed connection: events, or why there are none."""

    events: list[Event] | None = None
    error: dict[str, Any] | None = None


class Message(msgspec.Struct, gc=False, rename={"from_": "from"}, omit_defaults=True):
    """One message as submitted."""

    to: str
    text: str
    ref: str
    from_: str = ""
    receipt: bool = True
    expires: str | None = None


def destination(number: int) -> str:
    """The destination of message `number`: no two share one."""
    return f"+8190{number * 49_999_991 % MESSAGES_MAX:08d}"


def is_long(number: int, share: float) -> bool:
    """Whether message `number` is one of the share (0 to 1) that has more than one part."""
    return number * 617 % 1_000 < share * 1_000


def text_of(number: int, text: str, long: float = 0.0) -> str:
    """The text of message `number`."""
    if long and is_long(number, long):
        return f"{number:08d} " + LONG_TEXT
    if text:
        return f"{number:08d} {text}"
    return f"{number:08d} Your parcel arrives today between 14:00 and 16:00 h."[:TEXT_CHARACTERS]


class Client(Protocol):
    """Whose connections these are."""

    def received(self, connection: Frames, octets: bytes) -> None: ...

    def lost(self, connection: Frames) -> None: ...


class Frames(asyncio.Protocol):
    """Length-prefixed MessagePack, read frame by frame."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self.name = name
        self._rest = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        buffer = self._rest + data if self._rest else data
        at, end = 0, len(buffer)
        while end - at >= 4:
            after = at + 4 + int.from_bytes(buffer[at : at + 4], "big")
            if after > end:
                break
            self._client.received(self, buffer[at + 4 : after])
            at = after
        self._rest = buffer[at:]

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._client.lost(self)

    def send(self, octets: bytes) -> None:
        if self.transport is not None:
            self.transport.write(len(octets).to_bytes(4, "big") + octets)
