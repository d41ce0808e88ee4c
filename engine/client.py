"""The client library: `Client` for asyncio and trio, `SyncClient` for programs without an event loop.

    async with Client("run/todoke.sock") as client:
        accepted = await client.submit_one({"to": "+819012345678", "text": "...", "ref": "order-7"})
        async with client.subscribe() as events:
            async for event in events:
                ...

Both speak MessagePack unless told otherwise. Submit with a `ref` of your own: after NodeAway the same submit
can be repeated, and is taken once. An app has one subscription at a time, whoever holds it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
import anyio.abc
import msgspec

from .client_link import Link, Pending, connect
from .client_subscription import Subscription
from .client_sync import SyncClient as SyncClient
from .client_sync import SyncSubscription as SyncSubscription
from .client_wire import (
    CHUNK_MESSAGES,
    TAKEOVER_S,
    Chunks,
    ClientError,
    Limits,
    Message,
    NodeAway,
    OverCredit,
    ProtocolViolation,
    Refused,
    Reports,
    only,
    too_many,
)
from .intake.frames import Spelling
from .messages import Accepted, Event, Report, SubmitAnswer

__all__ = [
    "Client",
    "ClientError",
    "NodeAway",
    "OverCredit",
    "Pending",
    "ProtocolViolation",
    "Refused",
    "Subscription",
    "SyncClient",
    "SyncSubscription",
]

T = TypeVar("T")


class Client:
    """One app's client, an async context manager. It connects at the first request, and again by itself after
    the node was away.

    `answer_timeout_s`: methods that wait for an answer raise TimeoutError after so many seconds (what was
    asked stays asked: of a submit the outcome is unknown). None: they wait for ever.
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
        self._link: Link | None = None
        self._limits = Limits(0, 0, 0)
        self._reports = Reports()
        self._waits_for_reports = 0
        self._listener: anyio.CancelScope | None = None
        self._listener_error: ClientError | None = None
        self._subscriptions = 0
        self._tasks: anyio.abc.TaskGroup
        self._connecting: anyio.Lock
        self._room: anyio.Lock
        self._heard_more: anyio.Event

    async def __aenter__(self) -> Self:
        self._connecting = anyio.Lock()
        self._room = anyio.Lock()
        self._heard_more = anyio.Event()
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tasks.cancel_scope.cancel()
        # Not handed the body's exception, the group does not wrap it: callers catch Refused, not groups.
        await self._tasks.__aexit__(None, None, None)

    async def connect(self) -> Limits:
        """Connect now, if there is no connection; what the node grants. Raises NodeAway, Refused."""
        async with self._connecting:
            if self._link is None or self._link.lost is not None:
                link = Link(await connect(self._path), self._spelling)
                self._tasks.start_soon(link.run)
                self._limits = msgspec.convert(await self._timed(link.ask("hello")), Limits)
                link.wire.frame_octets_max = self._limits.frame_octets_max
                self._link = link
        return self._limits

    # -- Submitting -------------------------------------------------------------------------------------

    @property
    def in_flight_messages(self) -> int:
        """How many submitted messages are not answered yet."""
        return 0 if self._link is None else self._link.in_flight_messages

    def submit_frame(
        self, messages: Sequence[Message], on_answer: Callable[[Pending], None] | None = None
    ) -> Pending:
        """Queue one submit and return at once: the fast path, for who minds the credit by `room`.

        `on_answer` is called when the Pending is done; it must not raise. Raises NodeAway without a
        connection (see `connect`), OverCredit, and Refused for messages that cannot be one frame.
        """
        link = self._link
        if link is None or link.lost is not None:
            raise NodeAway("no connection")
        if link.in_flight_messages + len(messages) > self._limits.credit_messages:
            raise OverCredit(f"{link.in_flight_messages} of {self._limits.credit_messages} in flight")
        id_, frame = link.wire.submit(messages)
        pending = Pending(len(messages), on_answer)
        link.send(id_, frame, pending)
        return pending

    async def room(self, messages: int) -> None:
        """Wait until there is credit for so many messages. Raises NodeAway, Refused (never so many)."""
        limits = await self.connect()
        if messages > limits.credit_messages:
            raise too_many(messages, limits.credit_messages)
        async with self._room:
            while (link := self._link) is not None and link.lost is None:
                if link.in_flight_messages + messages <= limits.credit_messages:
                    return
                await link.room.wait()
        raise NodeAway("the connection was lost")

    async def submit(self, messages: Sequence[Message]) -> SubmitAnswer:
        """Submit in one frame; returns when what is accepted is durable. Refused messages are in the answer.

        Raises NodeAway, Refused (the frame as a whole), TimeoutError.
        """
        await self._timed(self.room(len(messages)))
        return await self._timed(self.submit_frame(messages).wait())

    async def submit_one(self, message: Message) -> Accepted:
        """Submit one message; raises Refused if it is not taken."""
        return only(await self.submit([message]))

    async def submit_many(
        self, messages: Sequence[Message], *, chunk_messages: int = CHUNK_MESSAGES
    ) -> SubmitAnswer:
        """Submit any number, in frames of `chunk_messages`, as many at once as the credit allows.

        The answer is one, with the indexes of `messages`. Raises NodeAway when the node goes away in between:
        submit all of it again, those with a `ref` are taken once.
        """
        limits = await self.connect()
        chunks = Chunks(messages, min(chunk_messages, limits.credit_messages))
        waiting: list[tuple[int, Pending]] = []
        while chunks.left:
            await self._timed(self.room(min(chunks.left, chunks.messages_max)))
            chunk = chunks.submit_next(self.submit_frame)
            if chunk is not None:
                waiting.append((chunk[0], chunk[2]))
        for first, pending in waiting:
            chunks.add(first, await self._timed(pending.wait()))
        return chunks.answer()

    # -- Asking -----------------------------------------------------------------------------------------

    async def query(self, message_id: str) -> dict[str, Any]:
        """What is known of a message. Raises Refused (unknown_message), NodeAway, TimeoutError."""
        return await self._ask("query", message_id=message_id)

    async def cancel(self, message_id: str) -> dict[str, Any]:
        """Cancel a message: `{"cancelled": bool, "state": ...}`. Raises as `query`."""
        return await self._ask("cancel", message_id=message_id)

    async def status(self) -> dict[str, Any]:
        """The node's state. Raises NodeAway, TimeoutError."""
        return await self._ask("status")

    async def carrier(self, act: str, name: str | None = None, value: float | None = None) -> dict[str, Any]:
        """For an operator: `list` the accounts, or `pause`, `resume`, set the `rate` or the `window` of one
        (None: as configured). Raises Refused (not_allowed, unknown_carrier, out_of_range).
        """
        return await self._ask("carrier", act=act, name=name, value=value)

    async def held(
        self, act: str, carrier: str | None = None, message_id: str | None = None
    ) -> dict[str, Any]:
        """For an operator: `list`, `release` or `drop` what is held because it is in doubt: one message, a
        carrier's, or all. Raises Refused (not_allowed, unknown_carrier, unknown_message).
        """
        return await self._ask("held", act=act, carrier=carrier, message_id=message_id)

    async def ack(self, cursor: str) -> None:
        """Acknowledge the app's events up to `cursor`, and wait until that is durable. Raises Refused."""
        await self._ask("ack", cursor=cursor)

    async def _ask(self, op: str, **fields: Any) -> dict[str, Any]:
        await self.connect()
        if self._link is None:
            raise NodeAway("no connection")
        return await self._timed(self._link.ask(op, **fields))

    # -- Listening --------------------------------------------------------------------------------------

    def subscribe(
        self, *, auto_ack: bool = False, reconnect: bool = True, takeover_s: float = TAKEOVER_S
    ) -> Subscription:
        """The app's events, on a connection of their own: see Subscription. Enter it with `async with`."""
        return Subscription(
            self._path,
            self._spelling,
            auto_ack=auto_ack,
            reconnect=reconnect,
            takeover_s=takeover_s,
            listener=self,
        )

    async def wait_for_report(
        self, message_id: str | None = None, *, ref: str | None = None, timeout_s: float | None = None
    ) -> Report:
        """Wait for the report of a message, by its id or its ref.

        Unless a subscription of this client is open (then it must be read for reports to be found), the
        client subscribes by itself from now on and acknowledges every event; reports nobody waited for are
        kept, the latest REPORTS_KEPT_MAX. Raises TimeoutError after `timeout_s`, Refused
        (already_subscribed).
        """
        if message_id is None and ref is None:
            raise ValueError("a message_id or a ref")
        self._waits_for_reports += 1
        try:
            with anyio.fail_after(timeout_s):
                while True:
                    report = self._reports.find(message_id, ref)
                    if report is not None:
                        return report
                    if self._listener_error is not None:
                        error, self._listener_error = self._listener_error, None
                        raise error
                    self._listen()
                    await self._heard_more.wait()
        finally:
            self._waits_for_reports -= 1

    async def submit_and_wait(self, message: Message, *, timeout_s: float | None = None) -> Report:
        """Submit one message and wait for its report. Raises Refused, NodeAway, TimeoutError.

        `timeout_s` is for the report. A duplicate whose report was acknowledged before is not reported again.
        """
        self._waits_for_reports += 1  # the report may come before the answer
        try:
            accepted = await self.submit_one(message)
            return await self.wait_for_report(accepted.message_id, timeout_s=timeout_s)
        finally:
            self._waits_for_reports -= 1

    def _listen(self) -> None:
        if self._listener is None and not self._subscriptions:
            self._listener = anyio.CancelScope()
            self._tasks.start_soon(self._listen_for_reports, self._listener)

    async def _listen_for_reports(self, scope: anyio.CancelScope) -> None:
        subscription = Subscription(
            self._path,
            self._spelling,
            auto_ack=False,
            reconnect=True,
            takeover_s=TAKEOVER_S,
        )
        try:
            with scope:
                async with subscription:
                    while True:
                        events = await subscription.receive()
                        self.hear(events)
                        await subscription.ack(events[-1].cursor)
        except ClientError as error:
            self._listener_error = error
        finally:
            if self._listener is scope:
                self._listener = None
            self._wake_waits()

    def hear(self, events: Sequence[Event]) -> None:
        """Events of this app, wherever they came from, for those that wait for reports."""
        for event in events:
            self._reports.add(event)
        self._wake_waits()

    def _wake_waits(self) -> None:
        self._heard_more.set()
        self._heard_more = anyio.Event()

    def subscription_opened(self) -> None:
        self._subscriptions += 1
        if self._listener is not None:
            self._listener.cancel()

    def subscription_closed(self) -> None:
        self._subscriptions -= 1
        self._wake_waits()

    def subscription_received(self, events: list[Event]) -> None:
        if self._waits_for_reports:
            self.hear(events)

    async def _timed(self, waits: Coroutine[Any, Any, T]) -> T:
        with anyio.fail_after(self._answer_timeout_s):
            return await waits
