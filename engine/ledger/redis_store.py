"""The store port on Redis >= 7.0 or Valkey >= 8, on asyncio (production: uvloop).

Each stage has its own link and a task that reconnects it for ever. No command is ever repeated here:
whether that is safe is known only above the port.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final

import anyio
import msgspec
from anyio.abc import TaskGroup

from .port import (
    WATCH_LOST,
    Command,
    OutcomeUnknown,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    is_pure_read,
)
from .redis_connect import Durability, Server, connect, parse_url
from .redis_link import Link, LinkLost, ReplyError, pack

CALL_TIMEOUT_S: Final = 10.0
"""Silence of the server after which a connection is given up."""
RECONNECT_FIRST_S: Final = 0.01
RECONNECT_MAX_S: Final = 1.0
WAITERS_MAX: Final = 64
"""Calls of `wait` at one time, each on a connection of its own."""
CLOSE_S: Final = 1.0

_MULTI: Final = pack(("MULTI",))
_EXEC: Final = pack(("EXEC",))

_log = logging.getLogger(__name__)


class StoreStatistics(msgspec.Struct, frozen=True):
    """`connected` of `stages` stages have a connection now; `lost` counts connections lost since the
    start.
    """

    server: str
    stages: int
    connected: int
    lost: int
    last_error: str


class RedisStore:
    """`async with RedisStore(url) as store:` connects, verifies the server, and closes every connection at
    the end.

    url: redis://, rediss://, unix:// (see `redis_connect.parse_url`). durability: "always" demands a server
    that fsyncs before it answers; "relaxed" takes any. rng: for the jitter of reconnecting.
    Entering raises StoreAddressError, StoreUnavailable, StoreRefused, DurabilityError; nothing is retried
    there.
    """

    def __init__(
        self,
        url: str,
        *,
        durability: Durability = "always",
        call_timeout_s: float = CALL_TIMEOUT_S,
        rng: random.Random | None = None,
    ) -> None:
        self._address = parse_url(url)
        self._durability: Durability = durability
        self._call_timeout_s = call_timeout_s
        self._rng = rng or random.Random()
        self._tasks: TaskGroup | None = None
        self._stages: list[RedisStage] = []
        self._waiting: set[Link] = set()
        self._idle: list[Link] = []
        self._closed = False
        self._outage: str | None = None
        """What was last said of an outage; None while all is well."""
        self.server = Server("", "", "")

    async def __aenter__(self) -> RedisStore:
        self._idle.append(await self._waiter())
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await self.close()
        if self._tasks is not None:
            await self._tasks.__aexit__(None, None, None)  # told of no error: it would wrap it in a group

    def stage(self, name: str) -> RedisStage:
        """See `port.Store.stage`. Raises StoreUnavailable if the store is closed or was never entered."""
        if self._closed or self._tasks is None:
            raise StoreUnavailable("the store is closed")
        stage = RedisStage(self, name)
        self._stages.append(stage)
        self._tasks.start_soon(stage.keep_connected, name=f"redis stage {name}")
        return stage

    async def wait(self, streams: dict[bytes, bytes], timeout_s: float) -> bool:
        """See `port.Store.wait`. A cancelled wait gives its connection up."""
        if self._closed:
            raise StoreUnavailable("the store is closed")
        if len(self._waiting) >= WAITERS_MAX:
            raise StoreUnavailable(f"{WAITERS_MAX} calls of wait at a time")
        while self._idle and self._idle[-1].closed:
            self._idle.pop()
        link = self._idle.pop() if self._idle else await self._waiter()
        block: tuple[str | int, ...] = ("BLOCK", max(1, int(timeout_s * 1000))) if timeout_s > 0 else ()
        data = pack(("XREAD", "COUNT", 1, *block, "STREAMS", *streams.keys(), *streams.values()))
        self._waiting.add(link)
        try:
            (reply,) = await link.call(data, 1, timeout_s + self._call_timeout_s)
        except LinkLost as error:
            raise StoreUnavailable(str(error)) from None
        except BaseException:
            link.abort("the wait was cancelled")
            raise
        finally:
            self._waiting.discard(link)
        self._idle.append(link)
        if isinstance(reply, ReplyError):
            raise _refusal(reply)
        return reply is not None

    async def close(self) -> None:
        """See `port.Store.close`."""
        self._closed = True
        links = [
            *self._waiting,
            *self._idle,
            *(stage.link for stage in self._stages if stage.link is not None),
        ]
        for stage in self._stages:
            stage.closed()
        for link in links:
            link.abort("the store was closed")
        with anyio.move_on_after(CLOSE_S):
            for link in links:
                await link.gone.wait()

    def statistics(self) -> StoreStatistics:
        """A picture of the connections, for `todoke status`."""
        return StoreStatistics(
            server=f"{self.server.name} {self.server.version}",
            stages=len(self._stages),
            connected=sum(stage.link is not None for stage in self._stages),
            lost=sum(stage.lost for stage in self._stages),
            last_error=next((stage.last_error for stage in reversed(self._stages) if stage.last_error), ""),
        )

    async def connect(self, name: str, previous: Link | None) -> Link:
        """A verified link to the server. Raises StoreError."""
        link, self.server = await connect(
            self._address, f"todoke:{name}", self._durability, self._call_timeout_s, previous
        )
        if self._closed:
            link.abort("the store was closed")
            raise StoreUnavailable("the store is closed")
        return link

    def stage_failed(self, name: str, reason: str) -> None:
        """One line for an outage, not one for each of a dozen connections."""
        if self._outage != reason:
            _log.warning("the message store is away (%s): %s; connecting again", name, reason)
        self._outage = reason

    def stage_came_back(self, name: str) -> None:
        if self._outage is not None and all(stage.link is not None or stage.ended for stage in self._stages):
            _log.warning("the message store is back: %d connections", len(self._stages))
            self._outage = None

    def pause_s(self, failures: int) -> float:
        """Time until the next attempt, after so many failures in a row: doubling, with jitter."""
        longest_s = min(RECONNECT_MAX_S, RECONNECT_FIRST_S * (1 << min(failures, 16)))
        return longest_s * self._rng.uniform(0.5, 1.0)

    async def _waiter(self) -> Link:
        return await self.connect("wait", None)


class RedisStage:
    """See `port.Stage`. Made by `RedisStore.stage`."""

    def __init__(self, store: RedisStore, name: str) -> None:
        self._store = store
        self._name = name
        self._changed = anyio.Event()  # replaced at every change of `link` and at the end
        self._trying_first = True
        self.ended = False
        self._keeping = anyio.CancelScope()
        self._watched: Link | None = None  # the link that holds our WATCHes
        self._standing: tuple[Link, dict[bytes, bytes]] | None = None
        """The link on which these keys are watched, having had these values: see `commit_if`."""
        self._fenced: Link | None = None  # the link that may hold such watches
        self.link: Link | None = None
        self.lost = 0
        self.last_error = ""

    async def ready(self) -> None:
        """See `port.Stage.ready`."""
        while self.link is None:
            if self.ended:
                raise StoreUnavailable("the store is closed")
            await self._changed.wait()

    async def read(self, commands: Sequence[Command], watch: Sequence[bytes] = ()) -> list[Any]:
        """See `port.Stage.read`."""
        link = self.link or await self._first_link()
        packed = [pack(command) for command in commands]
        if watch:
            watched, self._watched = self._watched, None
            if watched is not None and watched is not link:
                raise StoreUnavailable(WATCH_LOST)
            self._lower_fence(link)
            packed.insert(0, pack(("WATCH", *watch)))
        elif not packed:
            return []
        try:
            replies = await link.call(b"".join(packed), len(packed))
        except LinkLost as error:
            raise self._lost_call(error, commands) from None
        except asyncio.CancelledError:
            if watch:
                link.forget_watches()
            raise
        for reply in replies:
            if reply.__class__ is ReplyError:
                if watch:
                    link.forget_watches()
                raise _refusal(reply, partial=not is_pure_read(commands))
        if watch:
            self._watched = link
            del replies[0]
        return replies

    async def commit(self, commands: Sequence[Command]) -> list[Any] | None:
        """See `port.Stage.commit`."""
        watched, self._watched = self._watched, None
        link = self.link or await self._first_link()
        if watched is not None and watched is not link:
            raise StoreUnavailable(WATCH_LOST)
        self._lower_fence(link)
        packed = [_MULTI, *map(pack, commands), _EXEC]
        try:
            replies = await link.call(b"".join(packed), len(packed))
        except LinkLost as error:
            raise OutcomeUnknown(str(error)) from None
        return self._results(link, replies)

    async def commit_if(self, holds: Mapping[bytes, bytes], commands: Sequence[Command]) -> list[Any] | None:
        """See `port.Stage.commit_if`.

        The watch that guards a transaction is set behind the one before it, in the same write, and its
        values are read there too: a fence that holds costs no round trip.
        """
        held = dict(holds)
        watch = [pack(("WATCH", *held)), pack(("MGET", *held))]
        while True:
            link = self.link or await self._first_link()
            standing, self._standing = self._standing, None
            if standing != (link, held):
                self._fenced = link
                try:
                    replies = await link.call(b"".join(watch), 2)
                except LinkLost as error:
                    raise StoreUnavailable(str(error)) from None
                for reply in replies:
                    if reply.__class__ is ReplyError:
                        raise _refusal(reply)
                if replies[1] != list(held.values()):
                    return None
            packed = [_MULTI, *map(pack, commands), _EXEC]
            try:
                replies = await link.call(b"".join(packed + watch), len(packed) + 2)
            except LinkLost as error:
                raise OutcomeUnknown(str(error)) from None
            stands: bool = replies[-1] == list(held.values())
            results = self._results(link, replies[:-2])
            if stands:
                self._standing = (link, held)
            if results is not None or not stands:
                return results
            # Written again with the value it had: what was watched is watched anew.

    def _lower_fence(self, link: Link) -> None:
        """No key of an earlier `commit_if` is watched any more."""
        self._standing = None
        if self._fenced is link:
            link.forget_watches()
        self._fenced = None

    @staticmethod
    def _results(link: Link, replies: list[Any]) -> list[Any] | None:
        """What MULTI ... EXEC answered. Raises StoreRefused."""
        results: list[Any] | None = replies[-1]
        if results is None:
            return None
        if results.__class__ is not list:
            link.forget_watches()
            raise _aborted(replies)
        for result in results:
            if result.__class__ is ReplyError:
                raise _refusal(result, partial=True)
        return results

    async def unwatch(self) -> None:
        """See `port.Stage.unwatch`."""
        watched, self._watched = self._watched, None
        if watched is not None and watched is self.link:
            watched.forget_watches()

    async def keep_connected(self) -> None:
        """Connect, and connect again whenever the link is lost, until `closed`."""
        loop = asyncio.get_running_loop()
        previous: Link | None = None
        failures = 0
        with self._keeping:
            while True:
                try:
                    link = await self._store.connect(self._name, previous)
                except StoreError as error:
                    self._failed(str(error))
                else:
                    previous = link
                    connected_at = loop.time()
                    self._connected(link)
                    await link.gone.wait()
                    if loop.time() - connected_at > RECONNECT_MAX_S:
                        failures = 0
                await anyio.sleep(self._store.pause_s(failures))
                failures += 1

    def closed(self) -> None:
        """The store was closed: wake whoever waits in `ready`."""
        self.ended = True
        self._keeping.cancel()  # not the group's own scope: that would cancel whoever entered the store
        self._trying_first = False
        self.last_error = self.last_error or "the store is closed"
        self._tell()

    def _connected(self, link: Link) -> None:
        failed_before = bool(self.last_error)
        self.last_error = ""
        self._trying_first = False
        self.link = link
        if failed_before:
            self._store.stage_came_back(self._name)
        link.on_lost = self._link_lost
        if link.closed:  # it fell between the handshake and here
            self._link_lost("connection lost")
        self._tell()

    def _link_lost(self, reason: str) -> None:
        self.link = None
        self.lost += 1
        self._failed(reason)

    def _failed(self, reason: str) -> None:
        if reason != self.last_error and not self.ended:
            self._store.stage_failed(self._name, reason)
        self.last_error = reason
        self._trying_first = False
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def _first_link(self) -> Link:
        """The link, if the very first attempt to connect is still under way and succeeds."""
        while self._trying_first:
            await self._changed.wait()
        if self.link is None:
            raise StoreUnavailable(self.last_error or "not connected")
        return self.link

    @staticmethod
    def _lost_call(error: LinkLost, commands: Sequence[Command]) -> StoreError:
        return StoreUnavailable(str(error)) if is_pure_read(commands) else OutcomeUnknown(str(error))


def _refusal(error: Any, *, partial: bool = False) -> StoreRefused:
    code, _, detail = str(error).partition(" ")
    return StoreRefused(code, detail, partial=partial)


def _aborted(replies: list[Any]) -> StoreRefused:
    """MULTI ... EXEC that ended without results: the first error among the replies is the cause."""
    errors = [reply for reply in replies if isinstance(reply, ReplyError)]
    if not errors:
        return StoreRefused("PROTOCOL", "EXEC was answered by neither a list nor an error")
    if (
        len(errors) == 1
    ):  # refused as a whole: "EXECABORT Transaction discarded because of: OOM command not allowed ..."
        _, found, cause = str(errors[0]).partition("because of: ")
        return _refusal(cause if found else errors[0])
    # A refused MULTI lets the commands behind it run one by one.
    ran_alone = errors[0] is replies[0] and any(not isinstance(reply, ReplyError) for reply in replies[1:-1])
    return _refusal(errors[0], partial=ran_alone)
