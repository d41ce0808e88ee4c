"""One connection to Redis or Valkey on asyncio: packed commands out, replies in, in order. No WATCH, no
retry, no policy.

`redis.asyncio` costs a coroutine, a lock, a pool and a timer for every call. This link writes what it is
given in one `write`, keeps a queue of (future, replies expected), and has one timer for all calls: they are
answered in order and have one time limit, so the oldest is always the first to expire.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

import hiredis

from .port import Command, StoreUnavailable

CALLS_IN_FLIGHT_MAX: Final = 4096
"""Unanswered calls on one link; a further one is refused (StoreUnavailable) rather than queued without
end.
"""

ReplyError = hiredis.ReplyError

pack: Callable[[Command], bytes] = getattr(hiredis, "pack_command")  # noqa: B009 (its stub knows one word only)

_NOTHING: Final = object()
_UNWATCH: Final = pack(("UNWATCH",))


class LinkLost(Exception):
    """The connection fell while this call was in flight: whether the server ran it is not known here."""


class Link(asyncio.Protocol):
    """A connected link; `closed` turns True once and for all, and `on_lost(reason)` is called at that moment.

    `client_id` and `run_id` are filled in by the handshake: together they name this connection to the server.
    """

    def __init__(self, call_timeout_s: float, on_lost: Callable[[str], None] | None = None) -> None:
        self.closed = True
        self.client_id = 0
        self.run_id = ""
        self.on_lost = on_lost
        self.gone = asyncio.Event()  # set once the transport itself is closed
        self._loop = asyncio.get_running_loop()
        self._call_timeout_s = call_timeout_s
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._calls: deque[tuple[asyncio.Future[list[Any]] | None, int, float]] = deque()
        self._expected = 0  # replies that complete the oldest call
        self._replies: list[Any] = []
        reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._feed = reader.feed
        self._gets = reader.gets

    def call(self, data: bytes, expected: int, timeout_s: float | None = None) -> asyncio.Future[list[Any]]:
        """Write packed commands at once; the future gives their `expected` replies (ReplyError instances
        among them).

        Raises StoreUnavailable if nothing was written. The future raises LinkLost if the connection falls,
        or if no answer came in time, which closes it: what a silent server will do with the call is unknown.
        """
        if self.closed:
            raise StoreUnavailable("the connection is closed")
        if len(self._calls) >= CALLS_IN_FLIGHT_MAX:
            raise StoreUnavailable(f"{CALLS_IN_FLIGHT_MAX} calls are waiting for answers already")
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        self._send(data, expected, future, timeout_s)
        return future

    def forget_watches(self) -> None:
        """UNWATCH without waiting for its answer: it precedes whatever is written next."""
        if not self.closed:
            self._send(_UNWATCH, 1, None, None)

    def abort(self, reason: str) -> None:
        """Close at once; every call in flight ends with LinkLost(reason). May be called again."""
        transport = self._transport
        self._end(reason)
        if transport is not None:
            transport.abort()

    def _send(
        self, data: bytes, expected: int, future: asyncio.Future[list[Any]] | None, timeout_s: float | None
    ) -> None:
        assert self._transport is not None
        deadline = self._loop.time() + (self._call_timeout_s if timeout_s is None else timeout_s)
        if not self._calls:
            self._expected = expected
        self._calls.append((future, expected, deadline))
        if self._timer is None:
            self._timer = self._loop.call_at(deadline, self._check_deadline)
        self._transport.write(data)

    def _check_deadline(self) -> None:
        self._timer = None
        if not self._calls:
            return
        deadline = self._calls[0][2]
        if deadline <= self._loop.time():
            self.abort("the server did not answer in time")
        else:
            self._timer = self._loop.call_at(deadline, self._check_deadline)

    def _end(self, reason: str) -> None:
        if self.closed:
            return
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        calls, self._calls = self._calls, deque()
        for future, _, _ in calls:
            if future is not None and not future.done():
                future.set_exception(LinkLost(reason))
        if self.on_lost is not None:
            self.on_lost(reason)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it
        self.closed = False

    def data_received(self, data: bytes) -> None:
        if self.closed:
            return
        try:
            self._feed(data)
            gets = self._gets
            replies = self._replies
            while (reply := gets()) is not _NOTHING:
                replies.append(reply)
                if len(replies) == self._expected:
                    future = self._calls.popleft()[0]
                    if future is not None and not future.done():
                        future.set_result(replies)
                    replies = self._replies = []
                    self._expected = self._calls[0][1] if self._calls else 0
        except hiredis.ProtocolError:
            self.abort("the server sent something that is not its protocol")
            return
        if replies and not self._calls:
            self.abort("the server sent a reply nobody asked for")

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(f"connection lost ({type(exc).__name__})" if exc else "the server closed the connection")
        self._transport = None
        self.gone.set()
