"""Byte streams in memory, with the faults of a network: for simulation and tests, on any anyio backend.

    ours, theirs = byte_stream_pair(65_536)
    theirs.cut()          both ends fail, as after a TCP reset
    theirs.freeze()       nothing passes any more and nobody is told, as with a half-open peer

Both directions hold at most `buffer_octets_max`; a sender waits beyond it, as before a zero window.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import anyio
import anyio.lowlevel
from anyio.abc import ByteStream

BUFFER_OCTETS_MAX: Final = 262_144


class _Pipe:
    """One direction."""

    __slots__ = ("changed", "cut", "data", "eof", "frozen", "octets_max")

    def __init__(self, octets_max: int) -> None:
        self.data = bytearray()
        self.octets_max = octets_max
        self.eof = False
        self.cut = False
        self.frozen = False
        self.changed: anyio.Event | None = None
        """There while somebody waits for a change."""

    def change(self) -> None:
        if self.changed is not None:
            self.changed.set()
            self.changed = None

    async def wait(self) -> None:
        if self.changed is None:
            self.changed = anyio.Event()
        await self.changed.wait()


class MemoryByteStream(ByteStream):
    """One end of a pair; see `byte_stream_pair`."""

    def __init__(self, incoming: _Pipe, outgoing: _Pipe) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._closed = False
        self._lost = False
        self.on_close: Callable[[], None] | None = None

    @property
    def _ready(self) -> bool:
        """Whether `receive` has something to say."""
        pipe = self._incoming
        return self._closed or pipe.cut or self._lost or (not pipe.frozen and bool(pipe.data or pipe.eof))

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        pipe = self._incoming
        if self._ready:
            await anyio.lowlevel.checkpoint()
        while True:
            if self._closed:
                raise anyio.ClosedResourceError
            if pipe.cut or self._lost:
                raise anyio.BrokenResourceError
            if pipe.data and not pipe.frozen:
                data = bytes(pipe.data[:max_bytes])
                del pipe.data[:max_bytes]
                pipe.change()
                return data
            if pipe.eof and not pipe.frozen:
                raise anyio.EndOfStream
            await pipe.wait()

    async def send(self, item: bytes) -> None:
        await anyio.lowlevel.checkpoint()
        pipe = self._outgoing
        at = 0
        while at < len(item):
            if self._closed:
                raise anyio.ClosedResourceError
            if pipe.cut or pipe.eof or self._lost:
                raise anyio.BrokenResourceError
            room = pipe.octets_max - len(pipe.data)
            if room > 0:
                pipe.data += item[at : at + room]
                at += room
                pipe.change()
            else:
                await pipe.wait()

    def put(self, item: bytes) -> bytes:
        """Send at once what there is room for; returns the rest. All of it where `send` would fail."""
        pipe = self._outgoing
        if self._closed or pipe.cut or pipe.eof or self._lost:
            return item
        room = pipe.octets_max - len(pipe.data)
        if room > 0 and item:
            pipe.data += item[:room]
            pipe.change()
        return item[max(0, room) :]

    async def send_eof(self) -> None:
        self._outgoing.eof = True
        self._outgoing.change()

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            for pipe in (self._incoming, self._outgoing):
                pipe.eof = True
                pipe.change()
            if self.on_close is not None:
                self.on_close()
        await anyio.lowlevel.checkpoint()

    def cut(self) -> None:
        """Break both directions at once; what was under way is lost."""
        for pipe in (self._incoming, self._outgoing):
            pipe.data.clear()
            pipe.cut = True
            pipe.change()

    def lose(self) -> None:
        """This end fails, the other is never told: a connection that something on its way has forgotten."""
        self.freeze()
        self._lost = True
        for pipe in (self._incoming, self._outgoing):
            pipe.change()

    def freeze(self) -> None:
        """Let nothing pass any more, silently."""
        self._incoming.frozen = self._outgoing.frozen = True


def byte_stream_pair(
    buffer_octets_max: int = BUFFER_OCTETS_MAX,
) -> tuple[MemoryByteStream, MemoryByteStream]:
    """Two joined ends. Call it inside a running event loop."""
    there, back = _Pipe(buffer_octets_max), _Pipe(buffer_octets_max)
    return MemoryByteStream(back, there), MemoryByteStream(there, back)
