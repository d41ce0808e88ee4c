"""One connection of an app: reads requests, has them served together, writes answers and events.

Tasks of a connection, and who ends them:

    run ─┬─ reader (run itself)   ends at the end of input, at a bad frame, or when the server is cancelled
         └─ shelter               shielded: what the app was promised an answer to is answered first
             ├─ writer            the one that writes; ends the shelter when nothing is in hand any more
             ├─ a task a request  submits that arrived together are one call to the node
             ├─ acker             one acknowledgement at a time
             ├─ subscription      at most one; ends with the input
             └─ trace             the same, for an operator

Credit: messages count from when they are read until their answer is written, so neither the node nor the
outbound buffer can be filled by an app that does not read its answers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import anyio
import anyio.abc
import msgspec
from anyio.streams.stapled import StapledObjectStream
from msgspec import UNSET, UnsetType

from ..bell import Bell
from ..messages import (
    ALREADY_SUBSCRIBED,
    INTERNAL,
    PROTOCOL_VERSION,
    Accepted,
    ErrorBody,
    Event,
    Refusal,
    RequestId,
)
from .batch import Batch
from .errors import (
    FrameError,
    IntakeError,
    NodeError,
    NodeUnavailable,
    NotAllowed,
    RequestError,
    TooManyTraces,
)
from .frames import FrameBuffer, Spelling, encode, encode_events
from .limits import Limits
from .node import Desk, Node, Watch
from .requests import (
    Ack,
    Cancel,
    CarrierRequest,
    HeldRequest,
    Hello,
    Query,
    Request,
    Status,
    Submission,
    Subscribe,
    TraceRequest,
    decode_request,
)

log = logging.getLogger(__name__)

Stream: TypeAlias = anyio.abc.ByteStream | StapledObjectStream[bytes]
"""A socket, or two memory streams of bytes in a simulation."""

_OPERATORS = (CarrierRequest, HeldRequest, TraceRequest)
_ANYBODYS = (Hello, Status)
TRACE_FRAME_OCTETS = 65_536
"""PDUs of about so many octets go into one frame of a trace (base64 in JSON: a third more)."""

RETRY_AFTER_S = 1.0
"""What an app is told when the node does not say when to come back."""


class _SubmitAnswer(msgspec.Struct):
    id: RequestId | UnsetType
    accepted: list[Accepted]
    refused: list[Refusal]


class _ErrorAnswer(msgspec.Struct):
    id: RequestId | UnsetType
    error: ErrorBody


def error_body(error: IntakeError) -> ErrorBody:
    """An error as it is answered."""
    return ErrorBody(error.field, error.code, error.detail, error.retry_after_s)


def error_frame(spelling: Spelling, id_: RequestId | UnsetType, body: ErrorBody) -> bytes:
    """An error object as a frame: `{"id": ..., "error": {"field", "code", "detail", "retry_after_s"}}`."""
    return encode(spelling, _ErrorAnswer(id_, body))


class Connection:
    """Serve `stream` for `app` until it ends; `subscribed` is the set of apps with a subscription, shared.

    `desk` is there for an operator, who is `caller` in the log; `app` None: an operator without an app.
    """

    def __init__(
        self,
        stream: Stream,
        app: str | None,
        node: Node,
        limits: Limits,
        subscribed: set[str],
        wall: Callable[[], float],
        desk: Desk | None = None,
        caller: str = "",
    ) -> None:
        self._stream = stream
        self._app = app or ""
        self._desk = desk
        self._caller = caller
        self._node = node
        self._limits = limits
        self._subscribed = subscribed
        self._wall = wall
        self._frames = FrameBuffer(limits.frame_octets_max)
        self._outbound: list[bytes] = []
        self._outbound_octets = 0
        self._outbound_credit = 0
        self.messages_in_hand = 0
        self._input_ended = False
        self._acks: list[Ack] = []
        self._acking = False
        self._work_bell = Bell()  # the writer has something to do
        self._credit_bell = Bell()  # the reader may go on
        self._room_bell = Bell()  # the subscription may go on
        self._subscription = anyio.CancelScope()
        self._trace = anyio.CancelScope()
        self._tracing = False
        self._shelter = anyio.CancelScope(shield=True)
        self._finished = anyio.Event()
        self._requests: anyio.abc.TaskGroup

    async def run(self) -> None:
        """Until the app closes, sends a bad frame, or the task is cancelled; what is in hand is answered."""
        fault: FrameError | None = None
        try:
            async with anyio.create_task_group() as tasks:
                try:
                    # Shielded: a shelter that began under a cancelled `start` would never be told to end.
                    with anyio.CancelScope(shield=True):
                        await tasks.start(self._serve)
                    fault = await self._read()
                    self._end_input()
                    await self._finished.wait()
                finally:
                    self._end_input()
                    if not self._finished.is_set():
                        self._shelter.deadline = anyio.current_time() + self._limits.close_s
            if fault is not None:
                await say_and_linger(self._stream, self._spelling, fault, self._limits.linger_s)
        finally:
            await anyio.aclose_forcefully(self._stream)

    @property
    def _spelling(self) -> Spelling:
        return self._frames.spelling or "json"

    def _end_input(self) -> None:
        self._input_ended = True
        self._subscription.cancel()
        self._trace.cancel()
        self._work_bell.ring()

    # -- Reading ----------------------------------------------------------------------------------------

    async def _read(self) -> FrameError | None:
        """Read and hand out requests; returns at the end of input, or what makes the rest unreadable."""
        while True:
            try:
                data = await self._stream.receive()
            except anyio.EndOfStream:
                frames = self._frames.receive_eof()
                ended = True
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                return None
            else:
                frames = self._frames.receive_data(data)
                ended = False
            fault = await self._take(frames)
            if fault is not None or self._frames.error is not None:
                return fault or self._frames.error
            if ended:
                return None

    async def _take(self, frames: list[bytes]) -> FrameError | None:
        """Start what these frames ask for; waits while the connection is over its credit."""
        limits = self._limits
        batch: list[Submission] = []
        for frame in frames:
            try:
                request = decode_request(frame, self._spelling, limits.credit_messages)
            except RequestError as error:
                self.messages_in_hand += 1
                self._answer_error(error.id, error_body(error), 1)
            except FrameError as error:
                self._start_submits(batch)
                return error
            else:
                if not self._may(request):
                    self.messages_in_hand += 1
                    self._answer_error(request.id, error_body(self._not_allowed(request)), 1)
                elif isinstance(request, Submission):
                    # A submit of nothing, or of a few, is also a request: none is free.
                    self.messages_in_hand += max(1, request.count)
                    batch.append(request)
                else:
                    self.messages_in_hand += 1
                    self._start(request)
            if self.messages_in_hand > limits.credit_messages:
                self._start_submits(batch)
                batch = []
                while self.messages_in_hand > limits.credit_messages:
                    await self._credit_bell.wait()
        self._start_submits(batch)
        return None

    def _start_submits(self, batch: list[Submission]) -> None:
        if batch:
            self._requests.start_soon(self._submit, batch)

    def _start(self, request: Request) -> None:
        match request:
            case Hello():
                self._answer(request.id, self._hello(), 1)
            case Ack():
                self._acks.append(request)
                if not self._acking:
                    self._acking = True
                    self._requests.start_soon(self._acknowledge)
            case Subscribe():
                self._start_subscription(request)
            case TraceRequest():
                self._start_trace(request)
            case Query() | Cancel() | Status() | CarrierRequest() | HeldRequest():
                self._requests.start_soon(self._ask, request)
            case Submission():
                self._start_submits([request])

    def _may(self, request: Request) -> bool:
        if isinstance(request, _OPERATORS):
            return self._desk is not None
        return bool(self._app) or isinstance(request, _ANYBODYS)

    def _not_allowed(self, request: Request) -> NotAllowed:
        if isinstance(request, _OPERATORS):
            return NotAllowed("only the node's own uid, or root, may ask this")
        return NotAllowed(f"{self._caller} belongs to no app")

    # -- Serving ----------------------------------------------------------------------------------------

    async def _serve(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        with self._shelter:
            async with anyio.create_task_group() as self._requests:
                task_status.started()
                await self._write()
                self._requests.cancel_scope.cancel()
        self._finished.set()

    async def _submit(self, submissions: list[Submission]) -> None:
        """Submits that were read together: one call to the node, one answer each."""
        batch = Batch(submissions, int(self._wall() * 1000))
        try:
            accepted: list[Accepted] = []
            refused: list[Refusal] = []
            if batch.messages:
                accepted, refused = await self._node.submit(self._app, batch.messages, batch.indexes)
            answers = batch.share_out(accepted, refused)
        except NodeUnavailable as error:
            answers = batch.share_out([], batch.refuse_all(error.code, error.detail, _retry_after_s(error)))
        except Exception:  # a task's edge
            log.exception("app %s: a submit of %d messages failed", self._app, len(batch.messages))
            detail = "a fault of the node, the outcome is unknown: repeat with the same `ref`"
            answers = batch.share_out([], batch.refuse_all(INTERNAL, detail, None))
        for submission, (accepted, refused) in zip(submissions, answers, strict=True):
            answer = _SubmitAnswer(submission.id, accepted, refused)
            self._put(encode(self._spelling, answer), max(1, submission.count))

    async def _ask(self, request: Query | Cancel | Status | CarrierRequest | HeldRequest) -> None:
        try:
            if isinstance(request, Status):
                answer = await self._node.status()
            elif isinstance(request, CarrierRequest | HeldRequest):
                answer = await self._ask_desk(request)
            elif isinstance(request, Query):
                answer = await self._node.query(self._app, request.message_id)
            else:
                answer = await self._node.cancel(self._app, request.message_id)
            self._answer(request.id, answer, 1)
        except Exception as error:  # a task's edge
            self._answer_error(request.id, self._error_body(error), 1)

    async def _ask_desk(self, request: CarrierRequest | HeldRequest) -> dict[str, Any]:
        desk = self._desk
        assert desk is not None  # asked before
        if isinstance(request, CarrierRequest):
            return await desk.carrier(request.act, request.name, request.value, self._caller)
        return await desk.held(request.act, request.carrier, request.message_id, self._caller)

    async def _acknowledge(self) -> None:
        """One acknowledgement at a time. They are cumulative: the last that waited speaks for all."""
        while self._acks:
            acks, self._acks = self._acks, []
            done = False
            for ack in reversed(acks):
                try:
                    if not done or ack.id is not UNSET:
                        await self._node.ack(self._app, ack.cursor)
                    done = True
                    if ack.id is UNSET:
                        self._put(b"", 1)
                    else:
                        self._answer(ack.id, {"cursor": ack.cursor}, 1)
                except Exception as error:  # a task's edge
                    self._answer_error(ack.id, self._error_body(error), 1)
        self._acking = False

    def _start_subscription(self, request: Subscribe) -> None:
        if self._app in self._subscribed:
            body = ErrorBody(None, ALREADY_SUBSCRIBED, "this app has a subscription; one at a time")
            self._answer_error(request.id, body, 1)
            return
        self._subscribed.add(self._app)
        self._put(b"", 1)
        self._requests.start_soon(self._tell_events)

    async def _tell_events(self) -> None:
        """Write the app's events until the input ends; a store that is away is waited for."""
        after: str | None = None
        try:
            with self._subscription:
                while True:
                    while self._outbound_octets > self._limits.write_ahead_octets_max:
                        await self._room_bell.wait()
                    try:
                        stored = await self._node.events(self._app, after)
                    except NodeUnavailable as error:
                        await anyio.sleep(_retry_after_s(error))
                        continue
                    for start in range(0, len(stored), self._limits.events_per_frame_max):
                        some = stored[start : start + self._limits.events_per_frame_max]
                        events = _with_cursors(some)
                        self._put(encode_events(self._spelling, events, self._limits.frame_octets_max), 0)
                        after = some[-1][0]
        except Exception as error:  # a task's edge
            self._answer_error(UNSET, self._error_body(error), 0)
        finally:
            self._subscribed.discard(self._app)

    def _start_trace(self, request: TraceRequest) -> None:
        desk = self._desk
        assert desk is not None  # asked before
        try:
            if self._tracing:
                raise TooManyTraces("one trace a connection")
            watch, leave = desk.watch(request.carrier, request.bind, request.commands, self._caller)
        except NodeError as error:
            self._answer_error(request.id, error_body(error), 1)
            return
        self._tracing = True
        self._answer(request.id, {"carrier": request.carrier, "pdus": [], "lost": 0}, 1)
        self._requests.start_soon(self._tell_pdus, request.id, watch, leave)

    async def _tell_pdus(self, id_: RequestId | UnsetType, watch: Watch, leave: Callable[[], None]) -> None:
        """Write PDUs as they pass until the input ends. Whoever does not read them loses some."""
        octets_max = min(TRACE_FRAME_OCTETS, self._limits.frame_octets_max // 4)
        try:
            with self._trace:
                while True:
                    while self._outbound_octets > self._limits.write_ahead_octets_max:
                        await self._room_bell.wait()
                    pdus, lost = watch.take(octets_max)
                    if pdus or lost:
                        self._answer(id_, {"pdus": pdus, "lost": lost}, 0)
                    else:
                        await watch.bell.wait()
        except Exception as error:  # a task's edge
            self._answer_error(id_, self._error_body(error), 0)
        finally:
            self._tracing = False
            leave()

    def _hello(self) -> dict[str, Any]:
        return {
            "version": PROTOCOL_VERSION,
            "credit_messages": self._limits.credit_messages,
            "frame_octets_max": self._limits.frame_octets_max,
        }

    def _error_body(self, error: Exception) -> ErrorBody:
        if isinstance(error, NodeError):
            return error_body(error)
        log.error("app %s: a request failed", self._app, exc_info=error)
        return ErrorBody(None, INTERNAL, "a fault of the node")

    # -- Writing ----------------------------------------------------------------------------------------

    def _answer(self, id_: RequestId | UnsetType, body: dict[str, Any], credit: int) -> None:
        self._put(encode(self._spelling, body if id_ is UNSET else {"id": id_, **body}), credit)

    def _answer_error(self, id_: RequestId | UnsetType, body: ErrorBody, credit: int) -> None:
        self._put(error_frame(self._spelling, id_, body), credit)

    def _put(self, frame: bytes, credit: int) -> None:
        """Queue a frame for the writer; `credit` messages are out of hand when it is written."""
        self._outbound.append(frame)
        self._outbound_octets += len(frame)
        self._outbound_credit += credit
        self._work_bell.ring()

    async def _write(self) -> None:
        """Everything that is queued in one write, until nothing is in hand after the end of input."""
        broken = False
        while True:
            while not self._outbound:
                if self._input_ended and not self.messages_in_hand:
                    return
                await self._work_bell.wait()
            data = b"".join(self._outbound)
            octets, credit = self._outbound_octets, self._outbound_credit
            self._outbound.clear()
            self._outbound_credit = 0
            if data and not broken:
                try:
                    await self._stream.send(data)
                except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                    # Nobody hears us any more; what was said before is still read, to its end.
                    broken = True
                    self._subscription.cancel()
            self._outbound_octets -= octets
            self.messages_in_hand -= credit
            self._credit_bell.ring()
            self._room_bell.ring()


async def say_and_linger(stream: Stream, spelling: Spelling, error: FrameError, linger_s: float) -> None:
    """Write an error without an id as the last object, and let the caller read it.

    Closing a socket with octets unread in it resets the connection and can lose what we said: what still
    comes is read and thrown away until the caller closes too, for `linger_s` seconds.
    """
    body = error_body(error)
    with anyio.move_on_after(linger_s):
        try:
            await stream.send(error_frame(spelling, UNSET, body))
            await stream.send_eof()
            while True:
                await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            return


def _retry_after_s(error: NodeUnavailable) -> float:
    return RETRY_AFTER_S if error.retry_after_s is None else error.retry_after_s


def _with_cursors(stored: Sequence[tuple[str, Event]]) -> list[Event]:
    events: list[Event] = []
    for cursor, event in stored:
        event.cursor = cursor
        events.append(event)
    return events
