"""A process's way to the message store: what a killed process can no longer do ends here.

`kill -9` leaves no time for a `finally`, but in simulation the tasks of a killed engine still unwind. What
they ask of the store then raises `Killed`, which nothing in the engine catches; calls on their way are
abandoned to the store, which decides by its own dice whether they arrive.

Between a living process and the store lies a `Path`: it may be slow, or lead nowhere for a while.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import anyio
import trio

from ...engine.ledger.memory_store import MemoryStage
from ...engine.ledger.port import (
    WATCH_LOST,
    Command,
    OutcomeUnknown,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    is_pure_read,
    name_of,
)
from .coverage import Coverage
from .store import Abandoned, TimedStore
from .trace import Trace

T = TypeVar("T")

CALL_TIMEOUT_S: Final = 10.0
"""A call on its way when the path broke is given up after this."""
CONNECT_TIMEOUT_S: Final = 3.0


class Path:
    """The network between one process and the store, over the lives of the process."""

    def __init__(self) -> None:
        self.latency_s = 0.0
        self.broken = False
        self.breaks = 0
        """How often it broke: a connection does not outlive that."""
        self.healed = anyio.Event()
        self.full = False
        """The store refuses writes for want of memory."""
        self.calls: dict[object, Callable[[], None]] = {}
        """What is under way, and how each is ended."""
        self.on_write: Callable[[str], None] = lambda stage: None
        """Called with the name of a stage that begins to write."""

    def cut(self) -> None:
        """Nothing passes any more, and nobody is told."""
        self.broken = True
        self.breaks += 1
        self.healed = anyio.Event()
        self.end_calls()

    def end_calls(self) -> None:
        """Whoever waits for an answer waits no longer."""
        for end in list(self.calls.values()):
            end()

    def heal(self) -> None:
        self.broken = False
        self.healed.set()


class Killed(BaseException):
    """This task belongs to a process that no longer exists."""


class ProcessStore:
    """One process's `port.Store`."""

    def __init__(self, store: TimedStore, name: str, trace: Trace, coverage: Coverage, path: Path) -> None:
        self._store = store
        self._name = name
        self._trace = trace
        self.coverage = coverage
        self.path = path
        self._killed = False

    def kill(self) -> None:
        """From now on every call raises `Killed`, those under way included."""
        self._killed = True
        self.path.end_calls()

    def stage(self, name: str) -> ProcessStage:
        """See `port.Store.stage`."""
        return ProcessStage(self, self._store.stage(name), name)

    async def wait(self, streams: dict[bytes, bytes], timeout_s: float) -> bool:
        """See `port.Store.wait`."""
        return await self.call("wait", partial(self._store.wait, streams, timeout_s), ())

    async def close(self) -> None:
        """See `port.Store.close`: the store outlives this process."""

    async def call(
        self, stage: str, call: Callable[[], Awaitable[T]], commands: Sequence[Command] | None = None
    ) -> T:
        """Make a call of this process, as long as it lives, that waits for nothing but `TimedStore`.
        `commands`: what it reads, if it may be that it changes nothing.
        """
        path, breaks = self.path, self.path.breaks
        if path.broken or path.latency_s:
            return await self.call_far(stage, call, commands)
        if self._killed:
            raise Killed
        task = trio.lowlevel.current_task()
        path.calls[task] = partial(self._store.abandon, task)
        try:
            result = await call()
        except Abandoned:
            pass
        except StoreError as error:
            self._count(error, stage)
            if not self._killed:
                raise
        else:
            if not self._killed:
                return result
        finally:
            del path.calls[task]
        if not self._killed and path.breaks != breaks:
            await self._time_out(stage, commands)
        raise Killed

    async def call_far(
        self, stage: str, call: Callable[[], Awaitable[T]], commands: Sequence[Command] | None = ()
    ) -> T:
        """`call` by any path, and whatever it waits for."""
        path, breaks = self.path, self.path.breaks
        if self._killed:
            raise Killed
        with trio.CancelScope() as scope:
            path.calls[scope] = scope.cancel
            try:
                if path.broken:
                    await self._knock()
                    breaks = path.breaks
                if path.latency_s:
                    await trio.sleep(path.latency_s / 2)
                result = await call()
                if path.latency_s:
                    await trio.sleep(path.latency_s / 2)
            except StoreError as error:
                self._count(error, stage)
                if not self._killed:
                    raise
            else:
                if not self._killed:
                    return result
            finally:
                del path.calls[scope]
        if not self._killed and path.breaks != breaks:
            await self._time_out(stage, commands)
        raise Killed

    def _count(self, error: StoreError, stage: str) -> None:
        self.coverage.count(f"store {type(error).__name__} {stage.split('-')[0]}")

    async def _knock(self) -> None:
        """Try to connect. Raises StoreUnavailable."""
        with anyio.move_on_after(CONNECT_TIMEOUT_S):
            await self.path.healed.wait()
        if self.path.broken:
            raise StoreUnavailable("no way to the store")

    async def _time_out(self, stage: str, commands: Sequence[Command] | None) -> None:
        """The connection broke during a call: whether it arrived is not known. Raises StoreError."""
        with trio.CancelScope() as scope:
            self.path.calls[scope] = scope.cancel
            try:
                await trio.sleep(CALL_TIMEOUT_S)
            finally:
                del self.path.calls[scope]
        if not self._killed:
            pure = commands is not None and is_pure_read(commands)
            error = (StoreUnavailable if pure else OutcomeUnknown)("the way to the store is broken")
            self._count(error, stage)
            raise error

    def note(self, stage: str, commands: Sequence[Command]) -> None:
        """A write was answered."""
        self._trace.add(self._name, f"{stage} {len(commands)} {name_of(commands[0]) if commands else ''}")


class ProcessStage:
    """See `port.Stage`. Made by `ProcessStore.stage`."""

    def __init__(self, store: ProcessStore, stage: MemoryStage, name: str) -> None:
        self._store = store
        self._stage = stage
        self._name = name
        self._watched_at: int | None = None
        """How often the path had broken when something was watched; None: nothing is."""

    async def ready(self) -> None:
        """See `port.Stage.ready`."""
        await self._store.call_far(self._name, self._stage.ready)

    async def read(self, commands: Sequence[Command], watch: Sequence[bytes] = ()) -> list[Any]:
        """See `port.Stage.read`."""
        if watch and self._watched_at is not None and self._watched_at != self._store.path.breaks:
            await self._stage.unwatch()
            self._watched_at = None
            raise StoreUnavailable(WATCH_LOST)
        replies = await self._store.call(self._name, partial(self._stage.read, commands, watch), commands)
        if watch:
            self._watched_at = self._store.path.breaks
        return replies

    async def commit(self, commands: Sequence[Command]) -> list[Any] | None:
        """See `port.Stage.commit`."""
        watched_at, self._watched_at = self._watched_at, None
        if watched_at is not None and watched_at != self._store.path.breaks:
            await self._stage.unwatch()
            raise StoreUnavailable(WATCH_LOST)
        if self._store.path.full:
            await self._stage.unwatch()
            self._refuse()
        self._store.path.on_write(self._name)
        replies = await self._store.call(self._name, partial(self._stage.commit, commands))
        self._store.note(self._name, commands)
        return replies

    async def commit_if(self, holds: Mapping[bytes, bytes], commands: Sequence[Command]) -> list[Any] | None:
        """See `port.Stage.commit_if`."""
        if self._store.path.full:
            self._refuse()
        self._store.path.on_write(self._name)
        replies = await self._store.call(self._name, partial(self._stage.commit_if, holds, commands))
        self._store.note(self._name, commands)
        return replies

    def _refuse(self) -> None:
        self._store.coverage.count(f"store StoreRefused {self._name.split('-')[0]}")
        raise StoreRefused("OOM", "command not allowed when used memory > 'maxmemory'.")

    async def unwatch(self) -> None:
        """See `port.Stage.unwatch`."""
        self._watched_at = None
        await self._store.call(self._name, self._stage.unwatch, ())
