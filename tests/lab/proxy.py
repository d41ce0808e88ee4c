"""A TCP proxy in a thread of its own that does to a connection what networks do, when a test says so.

`Proxy` stands between anything: it cuts, stalls, swallows, delays and dribbles. `SmppLine` knows PDUs and
`RedisDoor` knows commands, so that a fault can be put at a PDU or at one commit of one stage. TCP itself
neither reorders nor doubles nor corrupts; `SmppLine.on_pdu` may do all three, as a broken peer could.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Literal, NamedTuple

import hiredis

READ_OCTETS = 65_536
START_S_MAX = 10.0
LINGER_NOT = struct.pack("ii", 1, 0)
"""SO_LINGER of zero seconds: closing sends RST."""

Direction = Literal["up", "down"]
"""up: from the engine to the server."""


class Cut(NamedTuple):
    """Pass these octets on, then reset both connections."""

    octets: bytes


class Wire:
    """One connection through the proxy. Used in the proxy's thread alone."""

    def __init__(self, writers: dict[Direction, asyncio.StreamWriter]) -> None:
        self.writers = writers
        self.swallowed = False
        self.buffer: dict[Direction, bytes] = {"up": b"", "down": b""}
        self.name = ""
        self.commands = hiredis.Reader()
        self.replies = hiredis.Reader()
        self.transaction: list[list[Any]] | None = None
        self.sent = self.answered = 0
        self.struck: Strike | None = None
        self.strike_at = 0

    def cut(self) -> None:
        for writer in self.writers.values():
            sock = writer.get_extra_info("socket")
            if sock is not None and sock.family != socket.AF_UNIX:
                with suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
            writer.transport.abort()


class Proxy:
    """Listens on 127.0.0.1 (`host`) and passes octets to `upstream`: "host:port", or the path of a socket."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._loop = asyncio.new_event_loop()
        self._wires: set[Wire] = set()
        self._open: dict[Direction, asyncio.Event] = {"up": asyncio.Event(), "down": asyncio.Event()}
        for event in self._open.values():
            event.set()
        self._ready = threading.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.connections = 0
        self.partitioned = False
        self.delay_s = 0.0
        """Every read is passed on so much later."""
        self.dribbling = False
        """Octets are passed on one by one."""
        self.octets: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._ready.wait(START_S_MAX)
        self.host = f"127.0.0.1:{self.port}"

    # What a test says

    def cut(self) -> None:
        """Reset every connection."""
        self._call(lambda: [wire.cut() for wire in tuple(self._wires)])

    def stall(self, *directions: Direction) -> None:
        """Read nothing more of these directions: buffers fill, nobody is told."""
        self._call(lambda: [self._open[direction].clear() for direction in directions])

    def go_on(self) -> None:
        self._call(lambda: [event.set() for event in self._open.values()])

    def swallow(self) -> None:
        """The connections of now are half-open: nothing passes any more, and nobody is told."""

        def all_of_now() -> None:
            for wire in self._wires:
                wire.swallowed = True

        self._call(all_of_now)

    def swallow_here(self) -> None:
        """As `swallow`, said in the proxy's own thread: by `on_pdu`."""
        for wire in self._wires:
            wire.swallowed = True

    def partition(self) -> None:
        """As `swallow`, for connections to come as well, until `heal`."""
        self.partitioned = True
        self.swallow()

    def heal(self) -> None:
        self.partitioned = False

        def cut_swallowed() -> None:
            for wire in tuple(self._wires):
                if wire.swallowed:
                    wire.cut()

        self._call(cut_swallowed)

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _call(self, done: Callable[[], object]) -> None:
        finished = threading.Event()

        def run() -> None:
            done()
            finished.set()

        self._loop.call_soon_threadsafe(run)
        assert finished.wait(START_S_MAX)

    # The thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for wire in tuple(self._wires):
            wire.cut()
        self._loop.run_until_complete(self._end())
        self._loop.close()

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            with suppress(OSError):
                await self._relay(reader, writer)
        except asyncio.CancelledError:
            pass  # the end of the proxy; a cancelled handler would be reported as an error
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._upstream.startswith("/"):
            up_reader, up_writer = await asyncio.open_unix_connection(self._upstream)
        else:
            host, port = self._upstream.split(":")
            up_reader, up_writer = await asyncio.open_connection(host, int(port))
        wire = Wire({"up": up_writer, "down": writer})
        wire.swallowed = self.partitioned
        self._wires.add(wire)
        try:
            await asyncio.gather(self._pump(wire, "up", reader), self._pump(wire, "down", up_reader))
        finally:
            self._wires.discard(wire)
            up_writer.transport.abort()

    async def _pump(self, wire: Wire, direction: Direction, reader: asyncio.StreamReader) -> None:
        writer = wire.writers[direction]
        try:
            while data := await reader.read(READ_OCTETS):
                await self._open[direction].wait()
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if wire.swallowed:
                    continue
                for piece in self.judge(wire, direction, data):
                    octets = piece.octets if isinstance(piece, Cut) else piece
                    await self._write(writer, octets)
                    self.octets[direction] += len(octets)
                    if isinstance(piece, Cut):
                        wire.cut()
                        return
        except OSError:
            wire.cut()
            return
        if not wire.swallowed and writer.can_write_eof() and not writer.transport.is_closing():
            with suppress(OSError):
                writer.write_eof()

    async def _write(self, writer: asyncio.StreamWriter, octets: bytes) -> None:
        if not self.dribbling:
            writer.write(octets)
            await writer.drain()
            return
        for octet in octets:
            writer.write(bytes([octet]))
            await writer.drain()
            await asyncio.sleep(0)

    def judge(self, wire: Wire, direction: Direction, data: bytes) -> Iterable[bytes | Cut]:
        """What is passed on for what was read."""
        return (data,)


class SmppLine(Proxy):
    """Between the engine and an SMSC. `on_pdu(direction, command_id, frame)` says what becomes of a PDU: None
    lets it pass, octets take its place (none: it is lost), `Cut` ends the connection."""

    def __init__(self, upstream: str) -> None:
        self.on_pdu: Callable[[Direction, int, bytes], bytes | Cut | None] = lambda *_: None
        super().__init__(upstream)

    def judge(self, wire: Wire, direction: Direction, data: bytes) -> Iterable[bytes | Cut]:
        """See Proxy: by whole PDUs."""
        buffer = wire.buffer[direction] + data
        passed: list[bytes | Cut] = []
        while len(buffer) >= 16 and len(buffer) >= (length := int.from_bytes(buffer[:4], "big")) >= 16:
            frame, buffer = buffer[:length], buffer[length:]
            verdict = self.on_pdu(direction, int.from_bytes(frame[4:8], "big"), frame)
            passed.append(frame if verdict is None else verdict)
            if isinstance(verdict, Cut):
                break
        wire.buffer[direction] = buffer
        cuts = [index for index, piece in enumerate(passed) if isinstance(piece, Cut)]
        if cuts:
            return [*passed[: cuts[0] + 1]]
        return [b"".join(piece for piece in passed if not isinstance(piece, Cut))]


class Strike(NamedTuple):
    """A fault at one commit: `action` is called before its EXEC reaches the server, or when its answer has
    come back to the proxy and the engine has not seen it. The connection is cut then.
    """

    stage: str
    when: Literal["before", "after"]
    match: Callable[[list[list[Any]]], bool]
    action: Callable[[], None]


class RedisDoor(Proxy):
    """Between an engine and its store. Knows each connection by the name the engine gave it."""

    def __init__(self, upstream: str) -> None:
        self.commits: Counter[tuple[str, tuple[str, ...]]] = Counter()
        """(stage, the names of a transaction's commands) -> how many passed."""
        self.strike: Strike | None = None
        self.hit = threading.Event()
        super().__init__(upstream)

    def strike_at(
        self,
        stage: str,
        when: Literal["before", "after"],
        action: Callable[[], None],
        match: Callable[[list[list[Any]]], bool] = lambda _: True,
    ) -> None:
        """The next commit of this stage that `match` accepts is struck, once."""
        self.hit.clear()
        self.strike = Strike(stage, when, match, action)

    def judge(self, wire: Wire, direction: Direction, data: bytes) -> Iterable[bytes | Cut]:
        """See Proxy: by commands and replies."""
        if direction == "down":
            return self._answered(wire, data)
        wire.commands.feed(data)
        passed = b""
        while (command := wire.commands.gets()) is not False:
            name = command[0].upper()
            if name == b"CLIENT" and command[1].upper() == b"SETNAME":
                wire.name = command[2].decode().removeprefix("todoke:")
            if name == b"MULTI":
                wire.transaction = []
            wire.sent += 1
            if wire.transaction is None:
                passed += _pack(command)
                continue
            wire.transaction.append(command)
            if name == b"EXEC":
                transaction, wire.transaction = wire.transaction, None
                strike = self._judged(wire, transaction)
                if strike is not None and strike.when == "before":
                    self._hit(strike)
                    return (Cut(passed),)
                if strike is not None:
                    wire.struck, wire.strike_at = strike, wire.sent
                passed += b"".join(map(_pack, transaction))
        return (passed,)

    def _judged(self, wire: Wire, transaction: list[list[Any]]) -> Strike | None:
        inner = transaction[1:-1]
        self.commits[wire.name, tuple(sorted({one[0].decode().upper() for one in inner}))] += 1
        strike = self.strike
        if strike is None or strike.stage != wire.name or not strike.match(inner):
            return None
        self.strike = None
        return strike

    def _answered(self, wire: Wire, data: bytes) -> Iterable[bytes | Cut]:
        wire.replies.feed(data)
        while wire.replies.gets() is not False:
            wire.answered += 1
        if wire.struck is None:
            return (data,)
        if wire.answered < wire.strike_at:
            return ()
        self._hit(wire.struck)
        return (Cut(b""),)

    def _hit(self, strike: Strike) -> None:
        strike.action()
        self.hit.set()


def _pack(command: list[Any]) -> bytes:
    return hiredis.pack_command(tuple(command))
