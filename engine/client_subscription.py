"""The events of an app as an async client reads them, over as many connections as it takes."""

from __future__ import annotations

from collections import deque
from types import TracebackType
from typing import Protocol, Self

import anyio
import anyio.abc

from .client_link import LOST, connect
from .client_wire import (
    RECEIVE_OCTETS_MAX,
    RECONNECT_S_MAX,
    RECONNECT_S_MIN,
    NodeAway,
    Refused,
    Wire,
)
from .intake.frames import Spelling
from .messages import ALREADY_SUBSCRIBED, Event


class Listener(Protocol):
    """Who wants to know of a subscription's life and events beside its reader."""

    def subscription_opened(self) -> None: ...
    def subscription_received(self, events: list[Event]) -> None: ...
    def subscription_closed(self) -> None: ...


class Subscription:
    """The events of an app, from the first unacknowledged one; an async context manager and iterator.

        async with client.subscribe() as events:
            async for event in events:
                ...
                await events.ack(event.cursor)

    Acknowledge what is dealt with: `ack` is cumulative, and what is not acknowledged is told again after a
    reconnect or restart (at least once: `(message_id, event, state)` tells repeats). With `auto_ack` those
    that came together are acknowledged when the next after them is asked for.

    A connection that is lost is made again, for ever, unless `reconnect` is False: then NodeAway. While the
    app has another subscription it tries for `takeover_s` seconds, then Refused (already_subscribed).
    """

    def __init__(
        self,
        path: str,
        spelling: Spelling,
        *,
        auto_ack: bool,
        reconnect: bool,
        takeover_s: float,
        listener: Listener | None = None,
    ) -> None:
        self._path = path
        self._spelling: Spelling = spelling
        self._auto_ack = auto_ack
        self._reconnect = reconnect
        self._takeover_s = takeover_s
        self._listener = listener
        self._stream: anyio.abc.ByteStream | None = None
        self._wire = Wire(spelling)
        self._received: str | None = None
        self._ready: deque[Event] = deque()

    async def __aenter__(self) -> Self:
        if self._listener is not None:
            self._listener.subscription_opened()
        try:
            await self._open()
        except BaseException:
            if self._listener is not None:
                self._listener.subscription_closed()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listener is not None:
            self._listener.subscription_closed()
        await self._close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if not self._ready:
            self._ready.extend(await self.receive())
        return self._ready.popleft()

    async def receive(self) -> list[Event]:
        """The next events, as many as came together (at least one): the fast path.

        Not to be mixed with iteration. With `auto_ack`, those returned before are acknowledged first.
        """
        if self._auto_ack and self._received is not None:
            await self.ack(self._received)
            self._received = None
        give_up_at: float | None = None
        pause_s = RECONNECT_S_MIN
        while True:
            try:
                if self._stream is None:
                    await self._open()
                events = await self._receive()
            except NodeAway:
                if not self._reconnect:
                    raise
            except Refused as refused:
                if refused.code != ALREADY_SUBSCRIBED:
                    await self._close()  # events that came with it are told again by the next connection
                    raise
                now = anyio.current_time()
                give_up_at = now + self._takeover_s if give_up_at is None else give_up_at
                if now >= give_up_at:
                    raise
            else:
                if events:
                    self._received = events[-1].cursor
                    if self._listener is not None:
                        self._listener.subscription_received(events)
                    return events
                continue
            await self._close()
            await anyio.sleep(pause_s)
            pause_s = min(2 * pause_s, RECONNECT_S_MAX)

    async def ack(self, cursor: str) -> None:
        """Acknowledge every event up to `cursor`, without waiting for an answer.

        If the connection is lost the acknowledgement may be too: its events are then told again.
        """
        if self._stream is None:
            return
        try:
            await self._stream.send(self._wire.ack(cursor))
        except LOST:
            await self._close()
            if not self._reconnect:
                raise NodeAway("the connection was lost") from None

    async def _open(self) -> None:
        stream = await connect(self._path)
        self._wire = Wire(self._spelling)
        try:
            await stream.send(self._wire.request("subscribe")[1])
        except BaseException as error:
            await anyio.aclose_forcefully(stream)
            if isinstance(error, LOST):
                raise NodeAway("the connection was lost") from None
            raise
        self._stream = stream

    async def _receive(self) -> list[Event]:
        if self._stream is None:
            raise NodeAway("no connection")
        try:
            data = await self._stream.receive(RECEIVE_OCTETS_MAX)
        except LOST:
            raise NodeAway("the connection was lost") from None
        answers, events = self._wire.receive_data(data)
        for _id, outcome in answers:
            if isinstance(outcome, Refused):
                raise outcome
        return events

    async def _close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await anyio.aclose_forcefully(stream)
