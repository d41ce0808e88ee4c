"""A process's way to the message store: what a killed process can no longer do ends here.

`kill -9` leaves no time for a `finally`, but in simulation the tasks of a killed engine still unwind. What
they ask of the store then raises `Killed`, which nothing in the engine catches; calls on their way are
abandoned to the store, which decides by its own dice whether they arrive.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import anyio

from ...engine.ledger.memory_store import MemoryStage, MemoryStore
from ...engine.ledger.port import Command, StoreError, StoreRefused, name_of
from .coverage import Coverage
from .trace import Trace

T = TypeVar("T")


class Killed(BaseException):
    """This task belongs to a process that no longer exists."""


class ProcessStore:
    """One process's `port.Store`. `full`: every write is refused with OOM, as by a server without memory."""

    def __init__(self, store: MemoryStore, name: str, trace: Trace, coverage: Coverage) -> None:
        self._store = store
        self._name = name
        self._trace = trace
        self.coverage = coverage
        self.full = False
        self._killed = False
        self._calls: dict[anyio.CancelScope, None] = {}

    def kill(self) -> None:
        """From now on every call raises `Killed`, those under way included."""
        self._killed = True
        for scope in list(self._calls):
            scope.cancel()

    def stage(self, name: str) -> ProcessStage:
        """See `port.Store.stage`."""
        return ProcessStage(self, self._store.stage(name), name)

    async def wait(self, streams: dict[bytes, bytes], timeout_s: float) -> bool:
        """See `port.Store.wait`."""
        return await self.call("wait", lambda: self._store.wait(streams, timeout_s))

    async def close(self) -> None:
        """See `port.Store.close`: the store outlives this process."""

    async def call(self, stage: str, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call of this process, as long as it lives."""
        if self._killed:
            raise Killed
        with anyio.CancelScope() as scope:
            self._calls[scope] = None
            try:
                result = await call()
            except StoreError as error:
                self.coverage.count(f"store {type(error).__name__} {stage.split('-')[0]}")
                if not self._killed:
                    raise
            else:
                if not self._killed:
                    return result
            finally:
                del self._calls[scope]
        raise Killed

    def note(self, stage: str, commands: Sequence[Command]) -> None:
        """A write was answered."""
        self._trace.add(self._name, f"{stage} {len(commands)} {name_of(commands[0]) if commands else ''}")


class ProcessStage:
    """See `port.Stage`. Made by `ProcessStore.stage`."""

    def __init__(self, store: ProcessStore, stage: MemoryStage, name: str) -> None:
        self._store = store
        self._stage = stage
        self._name = name

    async def ready(self) -> None:
        """See `port.Stage.ready`."""
        await self._store.call(self._name, self._stage.ready)

    async def read(self, commands: Sequence[Command], watch: Sequence[bytes] = ()) -> list[Any]:
        """See `port.Stage.read`."""
        return await self._store.call(self._name, lambda: self._stage.read(commands, watch))

    async def commit(self, commands: Sequence[Command]) -> list[Any] | None:
        """See `port.Stage.commit`."""
        if self._store.full:
            await self._stage.unwatch()
            self._store.coverage.count(f"store StoreRefused {self._name.split('-')[0]}")
            raise StoreRefused("OOM", "command not allowed when used memory > 'maxmemory'.")
        replies = await self._store.call(self._name, lambda: self._stage.commit(commands))
        self._store.note(self._name, commands)
        return replies

    async def commit_if(self, holds: Mapping[bytes, bytes], commands: Sequence[Command]) -> list[Any] | None:
        """See `port.Stage.commit_if`."""
        if self._store.full:
            self._store.coverage.count(f"store StoreRefused {self._name.split('-')[0]}")
            raise StoreRefused("OOM", "command not allowed when used memory > 'maxmemory'.")
        replies = await self._store.call(self._name, lambda: self._stage.commit_if(holds, commands))
        self._store.note(self._name, commands)
        return replies

    async def unwatch(self) -> None:
        """See `port.Stage.unwatch`."""
        await self._store.call(self._name, self._stage.unwatch)
