"""The async client's connection: one that reads and settles, one that writes; for asyncio and trio."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, cast

import anyio
import anyio.abc

from .bell import Bell
from .client_wire import RECEIVE_OCTETS_MAX, ClientError, NodeAway, Outcome, ProtocolViolation, Refused, Wire
from .intake.frames import Spelling
from .messages import SubmitAnswer

LOST = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)
"""What a stream raises when its other end is gone."""


class Pending:
    """A submit that is on its way. Await it, or ask `done`; `answer` is set when it was answered."""

    __slots__ = ("_error", "_event", "_on_answer", "answer", "messages")

    def __init__(self, messages: int, on_answer: Callable[[Pending], None] | None) -> None:
        self.messages = messages
        self.answer: SubmitAnswer | None = None
        self._error: Exception | None = None
        self._event: anyio.Event | None = None
        self._on_answer = on_answer

    @property
    def done(self) -> bool:
        return self.answer is not None or self._error is not None

    def result(self) -> SubmitAnswer:
        """The answer; raises Refused, NodeAway or ProtocolViolation as the submit failed."""
        if self.answer is not None:
            return self.answer
        raise NodeAway("not answered yet") if self._error is None else self._error

    def __await__(self) -> Generator[Any, None, SubmitAnswer]:
        return self.wait().__await__()

    async def wait(self) -> SubmitAnswer:
        if not self.done:
            if self._event is None:
                self._event = anyio.Event()
            await self._event.wait()
        return self.result()

    def settle(self, outcome: Outcome | Exception) -> None:
        """Called once, by the connection."""
        if isinstance(outcome, SubmitAnswer):
            self.answer = outcome
        elif isinstance(outcome, Exception):
            self._error = outcome
        else:
            self._error = ProtocolViolation("a submit was answered as something else")
        if self._event is not None:
            self._event.set()
        if self._on_answer is not None:
            self._on_answer(self)


class _Asked:
    """A request other than submit that is on its way."""

    __slots__ = ("event", "messages", "outcome")

    def __init__(self) -> None:
        self.messages = 0
        self.event = anyio.Event()
        self.outcome: Outcome | Exception | None = None

    def settle(self, outcome: Outcome | Exception) -> None:
        self.outcome = outcome
        self.event.set()

    async def answer(self) -> dict[str, Any]:
        await self.event.wait()
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return cast(dict[str, Any], self.outcome)


class Link:
    """One connection: a reader that settles what waits, a writer that writes all that is queued at once."""

    def __init__(self, stream: anyio.abc.ByteStream, spelling: Spelling) -> None:
        self.stream = stream
        self.wire = Wire(spelling)
        self.lost: ClientError | None = None
        self.in_flight_messages = 0
        self.room = Bell()
        self._waiting: dict[int, Pending | _Asked] = {}
        self._outbound: list[bytes] = []
        self._bell = Bell()
        self.scope = anyio.CancelScope()

    async def run(self) -> None:
        """Until the connection is lost or the scope is cancelled; whatever still waits then learns it."""
        try:
            with self.scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._write)
                    try:
                        await self._read()
                    finally:
                        tasks.cancel_scope.cancel()
        finally:
            self._lose(NodeAway("the connection was lost"))
            await anyio.aclose_forcefully(self.stream)

    def send(self, id_: int, frame: bytes, waits: Pending | _Asked) -> None:
        self._waiting[id_] = waits
        self.in_flight_messages += waits.messages
        self._outbound.append(frame)
        self._bell.ring()

    async def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        if self.lost is not None:
            raise self.lost
        asked = _Asked()
        id_, frame = self.wire.request(op, **fields)
        self.send(id_, frame, asked)
        return await asked.answer()

    async def _read(self) -> None:
        while self.lost is None:
            try:
                data = await self.stream.receive(RECEIVE_OCTETS_MAX)
                answers, _events = self.wire.receive_data(data)
            except LOST:
                return
            except ProtocolViolation as error:
                self._lose(error)
                return
            for id_, outcome in answers:
                if id_ is None:
                    # The node's last words: it closes this connection, and they say why.
                    if isinstance(outcome, Refused):
                        self._lose(outcome)
                    continue
                waits = self._waiting.pop(id_, None)
                if waits is not None:
                    self.in_flight_messages -= waits.messages
                    waits.settle(outcome)
            if answers:
                self.room.ring()

    async def _write(self) -> None:
        while True:
            while not self._outbound:
                await self._bell.wait()
            data = b"".join(self._outbound)
            self._outbound.clear()
            try:
                await self.stream.send(data)
            except LOST:
                return  # the reader learns it too, after the node's last words

    def _lose(self, error: ClientError) -> None:
        if self.lost is None:
            self.lost = error
        waiting, self._waiting = self._waiting, {}
        self.in_flight_messages = 0
        for waits in waiting.values():
            if isinstance(waits, _Asked):
                waits.settle(self.lost)
            else:
                waits.settle(NodeAway("the connection was lost before the answer: the outcome is unknown"))
        self.room.ring()


async def connect(path: str) -> anyio.abc.ByteStream:
    """Raises NodeAway."""
    try:
        return await anyio.connect_unix(path)
    except OSError as error:
        raise NodeAway(f"no node at {path}: {error.strerror or error}") from error
