"""The client for programs without an event loop: plain sockets, one thread at a time."""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self, cast

import msgspec

from .client_wire import (
    CHUNK_MESSAGES,
    RECEIVE_OCTETS_MAX,
    RECONNECT_S_MAX,
    RECONNECT_S_MIN,
    TAKEOVER_S,
    Chunks,
    Limits,
    Message,
    NodeAway,
    Outcome,
    ProtocolViolation,
    Refused,
    Reports,
    Wire,
    only,
    too_many,
)
from .intake.frames import Spelling
from .messages import ALREADY_SUBSCRIBED, Accepted, Event, Report, SubmitAnswer


class SyncLink:
    """One blocking connection. Nothing waits longer than the deadline it is given (monotonic seconds)."""

    def __init__(self, path: str, spelling: Spelling) -> None:
        self.wire = Wire(spelling)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise NodeAway(f"no node at {path}: {error.strerror or error}") from error

    def close(self) -> None:
        self._socket.close()

    def send(self, frame: bytes, deadline: float | None) -> None:
        """Raises NodeAway, TimeoutError (part of the frame may be written: close the link)."""
        self._socket.settimeout(_left_s(deadline))
        try:
            self._socket.sendall(frame)
        except TimeoutError:
            raise
        except OSError:
            raise NodeAway("the connection was lost") from None

    def receive(self, deadline: float | None) -> tuple[list[tuple[int | None, Outcome]], list[Event]]:
        """What came. Raises NodeAway, ProtocolViolation, TimeoutError."""
        self._socket.settimeout(_left_s(deadline))
        try:
            data = self._socket.recv(RECEIVE_OCTETS_MAX)
        except TimeoutError:
            raise
        except OSError:
            data = b""
        if not data:
            raise NodeAway("the connection was lost")
        return self.wire.receive_data(data)


class SyncClient:
    """As `Client`, blocking; a context manager. For one thread at a time.

    It connects at the first request, and again by itself after the node was away.
    """

    def __init__(
        self,
        socket_path: str | os.PathLike[str],
        *,
        spelling: Spelling = "msgpack",
        answer_timeout_s: float | None = 60.0,
    ) -> None:
        self._path = os.fspath(socket_path)
        self._spelling: Spelling = spelling
        self._answer_timeout_s = answer_timeout_s
        self._link: SyncLink | None = None
        self._limits = Limits(0, 0, 0)
        self._answers: dict[int, Outcome] = {}
        self._reports = Reports()
        self._listener: SyncSubscription | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; a later request makes new ones."""
        self._drop_link()
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def connect(self) -> Limits:
        """Connect now, if there is no connection; what the node grants. Raises NodeAway, Refused."""
        if self._link is None:
            self._link = SyncLink(self._path, self._spelling)
            self._limits = msgspec.convert(self._ask("hello"), Limits)
            self._link.wire.frame_octets_max = self._limits.frame_octets_max
        return self._limits

    def submit(self, messages: Sequence[Message]) -> SubmitAnswer:
        """Submit in one frame; returns when what is accepted is durable. Refused messages are in the answer.

        Raises NodeAway, Refused (the frame as a whole), TimeoutError (the outcome is unknown).
        """
        limits = self.connect()
        if len(messages) > limits.credit_messages:
            raise too_many(len(messages), limits.credit_messages)
        deadline = self._deadline()
        return self._submitted(self._send_submit(messages, deadline), deadline)

    def submit_one(self, message: Message) -> Accepted:
        """Submit one message; raises Refused if it is not taken."""
        return only(self.submit([message]))

    def submit_many(
        self, messages: Sequence[Message], *, chunk_messages: int = CHUNK_MESSAGES
    ) -> SubmitAnswer:
        """Submit any number, in frames of `chunk_messages`, as many at once as the credit allows.

        The answer is one, with the indexes of `messages`. Raises as `submit`; those with a `ref` can be
        submitted again.
        """
        credit = self.connect().credit_messages
        chunks = Chunks(messages, min(chunk_messages, credit))
        waiting: deque[tuple[int, int, int]] = deque()
        in_flight = 0
        while chunks.left or waiting:
            room = in_flight + min(chunks.left, chunks.messages_max) <= credit
            if chunks.left and room:
                chunk = chunks.submit_next(lambda some: self._send_submit(some, self._deadline()))
                if chunk is not None:
                    waiting.append(chunk)
                    in_flight += chunk[1]
            else:
                # Never over the credit: the node goes on reading, so neither side waits for the other.
                first, count, id_ = waiting.popleft()
                chunks.add(first, self._submitted(id_, self._deadline()))
                in_flight -= count
        return chunks.answer()

    def query(self, message_id: str) -> dict[str, Any]:
        """What is known of a message. Raises Refused (unknown_message), NodeAway, TimeoutError."""
        self.connect()
        return self._ask("query", message_id=message_id)

    def cancel(self, message_id: str) -> dict[str, Any]:
        """Cancel a message: `{"cancelled": bool, "state": ...}`. Raises as `query`."""
        self.connect()
        return self._ask("cancel", message_id=message_id)

    def status(self) -> dict[str, Any]:
        """The node's state. Raises NodeAway, TimeoutError."""
        self.connect()
        return self._ask("status")

    def carrier(self, act: str, name: str | None = None, value: float | None = None) -> dict[str, Any]:
        """For an operator: `list` the accounts, or `pause`, `resume`, set the `rate` or the `window` of one
        (None: as configured). Raises Refused (not_allowed, unknown_carrier, out_of_range).
        """
        self.connect()
        return self._ask("carrier", act=act, name=name, value=value)

    def held(self, act: str, carrier: str | None = None, message_id: str | None = None) -> dict[str, Any]:
        """For an operator: `list`, `release` or `drop` what is held because it is in doubt: one message, a
        carrier's, or all. Raises Refused (not_allowed, unknown_carrier, unknown_message).
        """
        self.connect()
        return self._ask("held", act=act, carrier=carrier, message_id=message_id)

    def ack(self, cursor: str) -> None:
        """Acknowledge the app's events up to `cursor`, and wait until that is durable. Raises Refused."""
        self.connect()
        self._ask("ack", cursor=cursor)

    def subscribe(
        self, *, auto_ack: bool = False, reconnect: bool = True, takeover_s: float = TAKEOVER_S
    ) -> SyncSubscription:
        """The app's events, on a connection of their own. Ends the client's own listening for reports."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        return SyncSubscription(
            self._path, self._spelling, auto_ack=auto_ack, reconnect=reconnect, takeover_s=takeover_s
        )

    def wait_for_report(
        self, message_id: str | None = None, *, ref: str | None = None, timeout_s: float | None = None
    ) -> Report:
        """Wait for the report of a message, by its id or its ref.

        The client subscribes by itself from now on and acknowledges every event it reads; reports nobody
        waited for are kept, the latest REPORTS_KEPT_MAX. Raises TimeoutError after `timeout_s`; Refused
        (already_subscribed) if another subscription of the app is open.
        """
        if message_id is None and ref is None:
            raise ValueError("a message_id or a ref")
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while (report := self._reports.find(message_id, ref)) is None:
            if self._listener is None:
                self._listener = SyncSubscription(
                    self._path, self._spelling, auto_ack=False, reconnect=True, takeover_s=TAKEOVER_S
                )
            try:
                events = self._listener.receive(_left_s(deadline))
            except Refused:
                self._listener.close()
                self._listener = None
                raise
            for event in events:
                self._reports.add(event)
            self._listener.ack(events[-1].cursor)
        return report

    def submit_and_wait(self, message: Message, *, timeout_s: float | None = None) -> Report:
        """Submit one message and wait for its report. Raises Refused, NodeAway, TimeoutError.

        `timeout_s` is for the report. A duplicate whose report was acknowledged before is not reported again.
        """
        return self.wait_for_report(self.submit_one(message).message_id, timeout_s=timeout_s)

    def _deadline(self) -> float | None:
        return None if self._answer_timeout_s is None else time.monotonic() + self._answer_timeout_s

    def _send_submit(self, messages: Sequence[Message], deadline: float | None) -> int:
        id_, frame = self._live().wire.submit(messages)
        self._send(frame, deadline)
        return id_

    def _submitted(self, id_: int, deadline: float | None) -> SubmitAnswer:
        outcome = self._answer(id_, deadline)
        if isinstance(outcome, SubmitAnswer):
            return outcome
        raise ProtocolViolation("a submit was answered as something else")

    def _ask(self, op: str, **fields: Any) -> dict[str, Any]:
        deadline = self._deadline()
        id_, frame = self._live().wire.request(op, **fields)
        self._send(frame, deadline)
        return cast(dict[str, Any], self._answer(id_, deadline))

    def _live(self) -> SyncLink:
        if self._link is None:
            raise NodeAway("the connection was lost")
        return self._link

    def _send(self, frame: bytes, deadline: float | None) -> None:
        try:
            self._live().send(frame, deadline)
        except NodeAway:
            # The node may have said why before it closed.
            self._answer(0, deadline)
            raise
        except TimeoutError:
            self._drop_link()
            raise

    def _answer(self, id_: int, deadline: float | None) -> SubmitAnswer | dict[str, Any]:
        while id_ not in self._answers:
            try:
                answers, _events = self._live().receive(deadline)
            except (NodeAway, ProtocolViolation, TimeoutError):
                # Without the rest of the answers the link's order is lost with them: begin anew.
                self._drop_link()
                raise
            for answered, outcome in answers:
                if answered is not None:
                    self._answers[answered] = outcome
                elif isinstance(outcome, Refused):
                    self._drop_link()
                    raise outcome
        outcome = self._answers.pop(id_)
        if isinstance(outcome, Refused):
            raise outcome
        return outcome

    def _drop_link(self) -> None:
        self._answers.clear()
        if self._link is not None:
            self._link.close()
            self._link = None


class SyncSubscription:
    """As `Subscription`, blocking: a context manager and an iterator of events; `receive` for batches."""

    def __init__(
        self, path: str, spelling: Spelling, *, auto_ack: bool, reconnect: bool, takeover_s: float
    ) -> None:
        self._path = path
        self._spelling: Spelling = spelling
        self._auto_ack = auto_ack
        self._reconnect = reconnect
        self._takeover_s = takeover_s
        self._link: SyncLink | None = None
        self._received: str | None = None
        self._open(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def __iter__(self) -> Iterator[Event]:
        while True:
            yield from self.receive()

    def receive(self, timeout_s: float | None = None) -> list[Event]:
        """The next events, as many as came together (at least one).

        With `auto_ack`, those returned before are acknowledged first. Raises TimeoutError, Refused,
        ProtocolViolation; NodeAway without `reconnect`.
        """
        if self._auto_ack and self._received is not None:
            self.ack(self._received)
            self._received = None
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        give_up_at: float | None = None
        pause_s = RECONNECT_S_MIN
        while True:
            try:
                link = self._open(deadline)
                answers, events = link.receive(deadline)
                for _id, outcome in answers:
                    if isinstance(outcome, Refused):
                        raise outcome
            except NodeAway:
                if not self._reconnect:
                    raise
            except Refused as refused:
                if refused.code != ALREADY_SUBSCRIBED:
                    self.close()  # events that came with it are told again by the next connection
                    raise
                now = time.monotonic()
                give_up_at = now + self._takeover_s if give_up_at is None else give_up_at
                if now >= give_up_at:
                    raise
            else:
                if events:
                    self._received = events[-1].cursor
                    return events
                continue
            self.close()
            left_s = _left_s(deadline)
            time.sleep(pause_s if left_s is None else min(pause_s, left_s))
            pause_s = min(2 * pause_s, RECONNECT_S_MAX)

    def ack(self, cursor: str) -> None:
        """Acknowledge every event up to `cursor`, without waiting for an answer.

        If the connection is lost the acknowledgement may be too: its events are then told again.
        """
        if self._link is None:
            return
        try:
            self._link.send(self._link.wire.ack(cursor), None)
        except NodeAway:
            self.close()
            if not self._reconnect:
                raise

    def _open(self, deadline: float | None) -> SyncLink:
        if self._link is None:
            link = SyncLink(self._path, self._spelling)
            try:
                link.send(link.wire.request("subscribe")[1], deadline)
            except BaseException:
                link.close()
                raise
            self._link = link
        return self._link


def _left_s(deadline: float | None) -> float | None:
    """Seconds until the deadline, never 0 (a socket's non-blocking mode); TimeoutError once it passed."""
    if deadline is None:
        return None
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("no answer in time")
    return left_s
