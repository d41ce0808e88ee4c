"""Bytes <-> frames, in the two spellings of the local socket. No I/O.

A connection speaks JSON lines if its first octet that is not white space is `{`, else MessagePack frames,
each behind its length as 4 octets, big-endian. Both carry the same objects; answers come in the caller's
spelling.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from ..messages import BAD_FRAME, FRAME_TOO_LONG, Event
from .errors import FrameError

Spelling: TypeAlias = Literal["json", "msgpack"]

LENGTH_OCTETS: Final = 4
_WHITE: Final = b" \t\r\n"

_encode_json = msgspec.json.Encoder().encode
_encode_msgpack = msgspec.msgpack.Encoder().encode


class FrameBuffer:
    """Cuts a stream of octets into frames; holds at most one unfinished frame.

    `spelling` is None until the first octet that is not white space has come; give it to skip that (a client
    knows what it speaks).
    """

    def __init__(self, frame_octets_max: int, spelling: Spelling | None = None) -> None:
        self.spelling: Spelling | None = spelling
        self.error: FrameError | None = None
        self._octets_max = frame_octets_max
        self._rest = bytearray()

    def receive_data(self, data: bytes) -> list[bytes]:
        """The frames that `data` completes, in order.

        If what follows them can be no frame, `error` says why: serve the frames returned, then close. Later
        calls return nothing.
        """
        if self.error is not None:
            return []
        if self.spelling is None:
            data = data.lstrip(_WHITE)
            if not data:
                return []
            self.spelling = "json" if data[:1] == b"{" else "msgpack"
        return self._lines(data) if self.spelling == "json" else self._frames(data)

    def receive_eof(self) -> list[bytes]:
        """The last JSON line, if its line feed is missing; half a MessagePack frame is an `error`."""
        rest, self._rest = bytes(self._rest), bytearray()
        if self.error is not None or not rest.strip(_WHITE):
            return []
        if self.spelling == "json":
            return [rest]
        self.error = FrameError(BAD_FRAME, "the connection ended inside a frame")
        return []

    def _frames(self, data: bytes) -> list[bytes]:
        rest = self._rest
        if rest:
            rest += data
            # A long frame arrives in many pieces: it is copied once, when it is whole.
            if len(rest) < LENGTH_OCTETS:
                return []
            length = int.from_bytes(rest[:LENGTH_OCTETS], "big")
            if not self._check(length) or len(rest) < LENGTH_OCTETS + length:
                return []
            data = bytes(rest)
            rest.clear()
        frames: list[bytes] = []
        at, end = 0, len(data)
        while end - at >= LENGTH_OCTETS:
            start = at + LENGTH_OCTETS
            length = int.from_bytes(data[at:start], "big")
            if not self._check(length):
                return frames
            if start + length > end:
                break
            at = start + length
            frames.append(data[start:at])
        self._rest += data[at:]
        return frames

    def _lines(self, data: bytes) -> list[bytes]:
        lines = data.split(b"\n")
        if self._rest and len(lines) > 1:
            lines[0] = bytes(self._rest) + lines[0]
        frames: list[bytes] = []
        for line in lines[:-1]:
            if not self._check(len(line)):
                return frames
            if line.strip(_WHITE):
                frames.append(line)
        if len(lines) > 1:
            self._rest.clear()
        self._rest += lines[-1]
        self._check(len(self._rest))
        return frames

    def _check(self, length: int) -> bool:
        if length <= self._octets_max:
            return True
        detail = f"longer than frame_octets_max, {self._octets_max} octets"
        if self.spelling == "msgpack" and length > 0xFF_FFFF:
            detail += "; send JSON lines that begin with {, or MessagePack behind a length of 4 octets"
        self.error = FrameError(FRAME_TOO_LONG, detail)
        self._rest.clear()
        return False


class Events(msgspec.Struct):
    """Many events in one MessagePack frame."""

    events: Sequence[Event]


def encode(spelling: Spelling, body: object) -> bytes:
    """One object as one frame, ready to be written."""
    if spelling == "json":
        return _encode_json(body) + b"\n"
    packed = _encode_msgpack(body)
    return len(packed).to_bytes(LENGTH_OCTETS, "big") + packed


def encode_events(spelling: Spelling, events: Sequence[Event], frame_octets_max: int) -> bytes:
    """Events as one line each (JSON), or as few frames as `frame_octets_max` allows (MessagePack)."""
    if spelling == "json":
        return b"".join([_encode_json(event) + b"\n" for event in events])
    frame = encode("msgpack", Events(events))
    if len(frame) <= frame_octets_max + LENGTH_OCTETS or len(events) == 1:
        return frame
    half = len(events) // 2
    return encode_events(spelling, events[:half], frame_octets_max) + encode_events(
        spelling, events[half:], frame_octets_max
    )
