"""The store port in memory, for simulation and tests: on any anyio back end, with crashes and cuts on demand.

It models what Redis with `appendfsync always` does to its callers, no more:

- a call travels (a moment in which others act), is executed at once and completely, and is answered only
when all
  that was executed up to then is on disk. One sync covers everybody who waits for one.
- `crash()` is a power failure: what was answered survives, what was executed but not yet synced survives up
to a random
  point (a file is written from its start). Whoever waits for an answer gets OutcomeUnknown or
  StoreUnavailable.
- `cut()` loses every connection, not the data: a call that was on its way may still be executed.
- a caller that is cancelled (its process is killed) leaves the same doubt behind.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import anyio
import anyio.lowlevel

from .memory_commands import Prepared, execute, prepared
from .memory_data import Database, Watch
from .port import (
    WATCH_LOST,
    Command,
    OutcomeUnknown,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    is_pure_read,
)

LOG_MAX: Final = 20_000
"""Writes that are kept to be played again after a crash."""

Ran = tuple[Any, list[Prepared] | None]
"""An answer, and what was written for it."""


class MemoryStore:
    """A store that forgets on demand.

    sync: awaited once for every fsync (default: one checkpoint; a simulation passes a sleep). rng: decides
    what survives. wall: seconds since 1970, for expiry and for XADD's `*`.
    """

    def __init__(
        self,
        *,
        rng: random.Random,
        sync: Callable[[], Awaitable[None]] = anyio.lowlevel.checkpoint,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._rng = rng
        self._sync = sync
        self._wall = wall
        self._live = Database()
        self._disk = Database()
        self._unsynced: list[tuple[int, list[Prepared]]] = []  # (time, what was executed together)
        self._log: list[tuple[int, list[Prepared]]] = []  # on disk, and not yet played into `_disk`
        self._executed = 0  # how many of those there have been
        self._synced = 0  # how many of them are on disk
        self._syncing = False
        self._waiting: dict[bytes, dict[Waiting, None]] = {}  # stream -> who waits for an entry
        self._changed: anyio.Event | None = None  # there while somebody waits for what `_tell` tells
        self._life = 1  # changes whenever all connections are lost
        self._crashes = 0
        self._stages: list[MemoryStage] = []
        self._up = True
        self._closed = False

    # port.Store

    async def __aenter__(self) -> MemoryStore:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def stage(self, name: str) -> MemoryStage:
        """See `port.Store.stage`."""
        stage = MemoryStage(self, name)
        self._stages.append(stage)
        return stage

    async def wait(self, streams: dict[bytes, bytes], timeout_s: float) -> bool:
        """See `port.Store.wait`."""
        command: Command = ("XREAD", "COUNT", 1, "STREAMS", *streams.keys(), *streams.values())
        life = self._enter()
        with anyio.move_on_after(timeout_s):
            await anyio.lowlevel.checkpoint()
            while True:
                self._still(life, [command])
                if execute(self._live, command, self._now_ms()) is not None:
                    await self._settle(life, [command])
                    return True
                added = anyio.Event()
                for stream in streams:
                    self._waiting.setdefault(stream, {})[added] = None
                try:
                    await added.wait()
                finally:
                    for stream in streams:
                        del self._waiting[stream][added]
        return False

    async def close(self) -> None:
        """See `port.Store.close`."""
        if not self._closed:
            self.cut()
        self._closed = True
        self._tell()

    # What a simulation does to it

    def crash(self, *, stay_down: bool = False) -> None:
        """Power failure and restart; see the module. `stay_down`: refuse every call until `up()`."""
        self._write_down(self._rng.randint(0, len(self._unsynced)))
        self._play_log()
        self._crashes += 1
        self._unsynced.clear()
        self._executed = self._synced
        self._live = self._disk.copy()
        self._up = not stay_down
        for stage in self._stages:
            stage.travelling.clear()
        self._lose_connections()

    def cut(self) -> None:
        """Every connection is lost; of the calls on their way, the first few of each stage still arrive."""
        for stage in self._stages:
            for _ in range(self._rng.randint(0, len(stage.travelling))):
                self._execute(stage.travelling.popleft())
            stage.travelling.clear()
        self._lose_connections()

    def down(self) -> None:
        """Unreachable, with every connection lost, until `up()`."""
        self.cut()
        self._up = False

    def up(self) -> None:
        """Reachable again."""
        self._up = True
        self._tell()

    def contents(self) -> dict[bytes, Any]:
        """A copy of all keys and values as Python objects, for assertions."""
        self._live.advance(self._now_ms())
        return self._live.copy().values

    # What the stages use

    async def call(self, stage: MemoryStage, request: Request) -> Any:
        """Travel, execute, be synced, answer."""
        life = self._enter()
        stage.travelling.append(request)
        try:
            await anyio.lowlevel.checkpoint()
        except BaseException:
            self._leave(stage, request, life)
            raise
        self._still(life, request.commands)
        if not request.done:
            self._arrive(stage, request)
        await self._settle(life, request.commands)
        if isinstance(request.answer, StoreRefused):
            raise request.answer
        return request.answer

    def _leave(self, stage: MemoryStage, request: Request, life: int) -> None:
        """The caller is being killed with its request on the way, which may arrive nevertheless."""
        if self._life == life and not request.done:
            if self._rng.random() < 0.5:
                self._arrive(stage, request)
            else:
                stage.travelling.remove(request)

    def connection(self) -> int:
        """A number for the connection a call made now would use; 0 if there is none."""
        return self._life if self._up and not self._closed else 0

    def unwatch(self, watch: Watch | None) -> None:
        """Nothing of this is watched any more."""
        if watch is not None:
            self._live.unwatch(watch)

    async def until_up(self) -> None:
        while not self._up:
            await self._told()
        if self._closed:
            raise StoreUnavailable("the store is closed")

    def _enter(self) -> int:
        if self._closed or not self._up:
            raise StoreUnavailable("the store is closed" if self._closed else "the store is down")
        return self._life

    def _still(self, life: int, commands: Sequence[Command]) -> None:
        """Raise if the connection was lost since `life`."""
        if self._life != life:
            error: type[StoreError] = StoreUnavailable if is_pure_read(commands) else OutcomeUnknown
            raise error("the connection was lost")

    def _lose_connections(self) -> None:
        self._life += 1
        for stage in self._stages:
            self._live.unwatch(stage.watched)
            stage.watched = Watch()
        self._tell()
        for waiting in self._waiting.values():
            for added in waiting:
                added.set()

    def _arrive(self, stage: MemoryStage, request: Request) -> None:
        """A connection is read in order: what was sent before this request is executed before it."""
        while not request.done:
            self._execute(stage.travelling.popleft())

    def _execute(self, request: Request) -> None:
        request.done = True
        self._live.advance(self._now_ms())
        request.answer, written = request.run(self._live)
        if written is not None:
            self._unsynced.append((self._live.now_ms, written))
            self._executed += 1
            if self._waiting:
                self._tell_waiting(request.commands)

    async def _settle(self, life: int, commands: Sequence[Command]) -> None:
        """Return when all that was executed up to now is on disk."""
        upto = self._executed
        while self._synced < upto:
            if self._syncing:
                await self._told()
            else:
                await self._flush()
            self._still(life, commands)

    async def _flush(self) -> None:
        """One fsync, on behalf of everybody. If the one who does it is cancelled, the next in line does
        it.
        """
        crashes, number = self._crashes, len(self._unsynced)
        self._syncing = True
        try:
            await self._sync()
            if self._crashes == crashes:
                self._write_down(number)
        finally:
            self._syncing = False
            self._tell()

    def _write_down(self, number: int) -> None:
        self._log += self._unsynced[:number]
        del self._unsynced[:number]
        self._synced += number
        if len(self._log) > LOG_MAX:
            self._play_log()

    def _play_log(self) -> None:
        """Only a crash wants to know what the disk holds: until then it is a log."""
        disk = self._disk
        for now_ms, written in self._log:
            disk.advance(now_ms)
            for function, arguments in written:
                with contextlib.suppress(StoreRefused):
                    function(disk, arguments)
        self._log.clear()

    def _now_ms(self) -> int:
        return int(self._wall() * 1000)

    def _tell_waiting(self, commands: Sequence[Command]) -> None:
        for command in commands:
            if command[0] == "XADD":
                stream = command[1]
                for added in self._waiting.get(
                    stream if isinstance(stream, bytes) else str(stream).encode(), ()
                ):
                    added.set()

    def _tell(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def _told(self) -> None:
        """Until a sync, a loss of connections, or a return."""
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()


class Waiting(Protocol):
    """Who waits for an entry in a stream."""

    def set(self) -> object:
        """One was added."""


class Request:
    """A call on its way: `run` gives the answer (a StoreRefused is raised later) and what it wrote, if it
    wrote anything.
    """

    __slots__ = ("answer", "commands", "done", "run")

    def __init__(self, commands: Sequence[Command], run: Callable[[Database], Ran]) -> None:
        self.commands = commands
        self.run = run
        self.done = False
        self.answer: Any = None


class MemoryStage:
    """See `port.Stage`. Made by `MemoryStore.stage`."""

    def __init__(self, store: MemoryStore, name: str) -> None:
        self.name = name
        self.travelling: deque[Request] = deque()
        self.watched = Watch()
        self._store = store
        self._guard = 0  # the connection that holds our WATCHes; 0 if nothing is watched

    async def ready(self) -> None:
        """See `port.Stage.ready`."""
        await self._store.until_up()

    async def read(self, commands: Sequence[Command], watch: Sequence[bytes] = ()) -> list[Any]:
        """See `port.Stage.read`."""
        if not commands and not watch:
            return []
        watched, connection = self.watched, self._store.connection()

        def run(db: Database) -> Ran:
            db.watch(watched, watch)
            replies, refusal, done = _run_all(db, commands)
            written = None if pure else done
            if refusal is None:
                return replies, written
            if watch:
                db.unwatch(watched)
            return StoreRefused(refusal.code, refusal.detail, partial=not pure), written

        pure = is_pure_read(commands)
        if watch:
            guard, self._guard = self._guard, 0
            if guard and connection and guard != connection:
                raise StoreUnavailable(WATCH_LOST)
        try:
            replies: list[Any] = await self._store.call(self, Request(commands, run))
        except BaseException:
            self._store.unwatch(watched if watch else None)
            raise
        if watch:
            self._guard = connection
        return replies

    async def commit(self, commands: Sequence[Command]) -> list[Any] | None:
        """See `port.Stage.commit`."""
        guard, self._guard = self._guard, 0
        connection = self._store.connection()
        if guard and connection and guard != connection:
            raise StoreUnavailable(WATCH_LOST)
        watched = self.watched

        def run(db: Database) -> Ran:
            dirty = watched.dirty
            db.unwatch(watched)
            return _transaction(db, commands, dirty=dirty)

        answer: list[Any] | None = await self._store.call(self, Request(commands, run))
        return answer

    async def commit_if(self, holds: Mapping[bytes, bytes], commands: Sequence[Command]) -> list[Any] | None:
        """See `port.Stage.commit_if`."""

        def run(db: Database) -> Ran:
            if any(db.values.get(key) != value for key, value in holds.items()):
                return None, None
            return _transaction(db, commands)

        answer: list[Any] | None = await self._store.call(self, Request(commands, run))
        return answer

    async def unwatch(self) -> None:
        """See `port.Stage.unwatch`."""
        self._guard = 0
        self._store.unwatch(self.watched)


def _transaction(db: Database, commands: Sequence[Command], *, dirty: bool = False) -> Ran:
    """MULTI, the commands, EXEC: the answer, and what was written."""
    try:
        done = [prepared(command) for command in commands]
    except StoreRefused as refusal:
        return refusal, None
    if dirty:
        return None, None
    replies, failed = _run(db, done)
    if failed is not None:
        return StoreRefused(failed.code, failed.detail, partial=True), done
    return replies, None if is_pure_read(commands) else done


def _run_all(
    db: Database, commands: Sequence[Command]
) -> tuple[list[Any], StoreRefused | None, list[Prepared]]:
    """The replies, the first refusal, and the commands; a refused one does not keep the others from
    running.
    """
    done: list[Prepared] = []
    replies: list[Any] = []
    first: StoreRefused | None = None
    for command in commands:
        try:
            done.append(prepared(command))
            function, arguments = done[-1]
            replies.append(function(db, arguments))
        except StoreRefused as refusal:
            first = first or refusal
    return replies, first, done


def _run(db: Database, done: list[Prepared]) -> tuple[list[Any], StoreRefused | None]:
    replies: list[Any] = []
    first: StoreRefused | None = None
    for function, arguments in done:
        try:
            replies.append(function(db, arguments))
        except StoreRefused as refusal:
            first = first or refusal
    return replies, first
