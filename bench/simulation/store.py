"""The memory store by the virtual clock: a call costs its caller one wait, and the disk no task at all.

What it does to its callers is what `MemoryStore` does, and by the same dice; only who waits for what differs.
A call that was made travels until the next round of the event loop or the one after it. What is executed is
synced by an alarm, one sync at a time, and whoever waits for that sync is woken by it, and nobody else.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import outcome
import trio

from ...engine.ledger.memory_commands import execute
from ...engine.ledger.memory_store import MemoryStage, MemoryStore, Request
from ...engine.ledger.port import Command, StoreRefused
from .clock import virtual_clock

LONGER: Final = 0.25
"""This share of the calls travels a round longer: those who act in it may be faster."""


class Abandoned(Exception):
    """The caller waits no more: what becomes of its call it will not hear."""


class TimedStore(MemoryStore):
    """To be made inside `run_virtually`. `sync_s`: how long a sync that begins now takes."""

    def __init__(self, *, rng: random.Random, sync_s: Callable[[], float], wall: Callable[[], float]) -> None:
        super().__init__(rng=rng, wall=wall)
        self._clock = virtual_clock()
        self._sync_s = sync_s
        self._sync_began = (0, 0)
        """After how many crashes, in which round."""
        self._in_sync = 0
        """How much of what is not synced the present sync writes."""
        self._calls: dict[trio.lowlevel.Task, _Call | _Wait] = {}
        """By who waits."""
        self._owed: deque[_Call | _Wait] = deque()
        """Executed, and to be answered when the disk has it."""

    async def call(self, stage: MemoryStage, request: Request) -> Any:
        """See `MemoryStore.call`. Raises Abandoned as well."""
        life = self._enter()
        stage.travelling.append(request)
        task = trio.lowlevel.current_task()
        self._calls[task] = call = _Call(self, task, stage, request)
        call.longer = self._rng.random() < LONGER
        self._clock.soon(call.arrive)

        def give_up(_: Any) -> trio.lowlevel.Abort:
            del self._calls[task]
            return trio.lowlevel.Abort.SUCCEEDED

        try:
            await trio.lowlevel.wait_task_rescheduled(give_up)
        except BaseException:
            self._leave(stage, request, life)
            raise
        self._still(life, request.commands)
        if request.answer.__class__ is StoreRefused:
            raise request.answer
        return request.answer

    def soon(self, callback: Callable[[], None]) -> None:
        self._clock.soon(callback)

    def abandon(self, task: trio.lowlevel.Task) -> None:
        """If this task waits for an answer, it need not any longer."""
        if self._calls.pop(task, None) is not None:
            trio.lowlevel.reschedule(task, outcome.Error(Abandoned()))

    def arrive(self, call: _Call) -> None:
        """It has come to the store."""
        if self._calls.get(call.task) is not call:
            return
        if call.longer:
            call.longer = False
            self._clock.soon(call.arrive)
            return
        self._arrive(call.stage, call.request)
        self._answer_when_synced(call)

    async def wait(self, streams: dict[bytes, bytes], timeout_s: float) -> bool:
        """See `port.Store.wait`. Raises Abandoned as well."""
        command: Command = ("XREAD", "COUNT", 1, "STREAMS", *streams.keys(), *streams.values())
        life = self._enter()
        task = trio.lowlevel.current_task()
        self._calls[task] = wait = _Wait(self, task, command, list(streams))
        self._clock.soon(wait.look)
        self._clock.at(self._clock.current_time() + timeout_s, wait.time_out)

        def give_up(_: Any) -> trio.lowlevel.Abort:
            del self._calls[task]
            return trio.lowlevel.Abort.SUCCEEDED

        try:
            await trio.lowlevel.wait_task_rescheduled(give_up)
        finally:
            for stream in streams:
                waiting = self._waiting.get(stream)
                if waiting is not None:
                    waiting.pop(wait, None)
        self._still(life, [command])
        return wait.found

    def look(self, wait: _Wait) -> None:
        """Whether one of its streams has an entry; if none has, it is told of the next."""
        if self._calls.get(wait.task) is not wait or wait.found:
            return
        wait.found = execute(self._live, wait.command, self._now_ms()) is not None
        if wait.found:
            self._answer_when_synced(wait)
            return
        for stream in wait.streams:
            self._waiting.setdefault(stream, {})[wait] = None

    def time_out(self, wait: _Wait) -> None:
        if self._calls.get(wait.task) is wait:
            wait.found = False
            self._answer(wait)

    def _answer_when_synced(self, call: _Call | _Wait) -> None:
        if self._synced >= self._executed:
            self._answer(call)
        else:
            call.upto = self._executed
            self._owed.append(call)

    def _answer(self, call: _Call | _Wait) -> None:
        """Wake who waits for it, if it does."""
        if self._calls.get(call.task) is call:
            del self._calls[call.task]
            trio.lowlevel.reschedule(call.task)

    def _execute(self, request: Request) -> None:
        super()._execute(request)
        if not self._syncing:
            self._sync_if_needed()
        elif self._sync_began == (self._crashes, self._clock.rounds):
            self._in_sync = len(self._unsynced)

    def _sync_if_needed(self) -> None:
        """What is executed in one round is written in one sync."""
        if self._synced < self._executed:
            self._syncing = True
            self._sync_began = (self._crashes, self._clock.rounds)
            self._in_sync = len(self._unsynced)
            self._clock.at(self._clock.current_time() + self._sync_s(), self._end_sync)

    def _end_sync(self) -> None:
        self._syncing = False
        if self._crashes == self._sync_began[0]:
            self._write_down(self._in_sync)
        owed = self._owed
        while owed and owed[0].upto <= self._synced:
            self._answer(owed.popleft())
        self._sync_if_needed()
        self._tell()

    def _lose_connections(self) -> None:
        super()._lose_connections()
        self._owed.clear()
        for call in list(self._calls.values()):
            self._answer(call)


class _Call:
    """One that somebody waits for."""

    __slots__ = ("longer", "request", "stage", "store", "task", "upto")

    def __init__(
        self, store: TimedStore, task: trio.lowlevel.Task, stage: MemoryStage, request: Request
    ) -> None:
        self.store = store
        self.task = task
        self.stage = stage
        self.request = request
        self.longer = False
        self.upto = 0

    def arrive(self) -> None:
        self.store.arrive(self)


class _Wait:
    """One that waits for an entry in a stream."""

    __slots__ = ("command", "found", "store", "streams", "task", "upto")

    def __init__(
        self, store: TimedStore, task: trio.lowlevel.Task, command: Command, streams: list[bytes]
    ) -> None:
        self.store = store
        self.task = task
        self.command = command
        self.streams = streams
        self.found = False
        self.upto = 0

    def set(self) -> None:
        """There may be one."""
        self.store.soon(self.look)

    def look(self) -> None:
        self.store.look(self)

    def time_out(self) -> None:
        self.store.time_out(self)
