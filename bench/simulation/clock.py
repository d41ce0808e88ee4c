"""Virtual time as the engine is told it, and how a run is made the same every time.

Time passes only when every task waits, so a day of retries takes seconds. trio
shuffles its run queue on purpose; a simulation fixes that order with a seed.
"""

from __future__ import annotations

import heapq
import importlib
import math
import os
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import trio

from ...engine.clock import SystemClock

WALL_START_S: Final = 1_795_219_200.0
"""2026-11-21 00:00 UTC, a Saturday."""
HASH_SEED: Final = "0"
"""PYTHONHASHSEED of every simulation: sets of strings have one order then."""

ASKED_EVERY: Final = 1_000
"""Rounds of the event loop from one look at the kernel's events to the next."""
WAIT_S: Final = 0.05
WAITS_MAX: Final = 20
"""Real time that nothing virtual can happen in, one after another."""

T = TypeVar("T")


class VirtualClock:
    """Both clocks of one machine. `skew_s` is how far its date is wrong; durations do not know of it. To be
    made inside `run_virtually`.
    """

    def __init__(self, wall_start_s: float = WALL_START_S) -> None:
        self._wall_start_s = wall_start_s
        self.monotonic: Callable[[], float] = virtual_clock().current_time
        self.skew_s = 0.0

    def wall(self) -> float:
        return self._wall_start_s + self.monotonic() + self.skew_s


class ProcessClock:
    """The clock of one life of a process: what the engine makes of its machine's date."""

    def __init__(self, machine: VirtualClock) -> None:
        self.monotonic = machine.monotonic
        self.wall = SystemClock(machine.wall, machine.monotonic).wall


class Jumping(trio.abc.Clock):
    """Time that stands still while any task can run, and jumps to the next deadline when none can.

    (`trio.testing.MockClock` does the same with another round of the event loop for each jump.)

    `soon` and `at` call back between two rounds of the loop: what needs no task of its own does without one,
    and without the scope, the exception and the round that a sleep ends with.
    """

    def __init__(self) -> None:
        self._now_s = 0.0
        self._waits = 0
        self._soon: list[Callable[[], None]] = []
        self._alarms: list[tuple[float, int, Callable[[], None]]] = []
        self.rounds = 0
        self._set = 0
        """How many alarms there have been: those of one moment ring in the order they were set in."""

    def start_clock(self) -> None:
        """See trio.abc.Clock: it starts at 0."""

    def current_time(self) -> float:
        """Virtual seconds since the start."""
        return self._now_s

    def soon(self, callback: Callable[[], None]) -> None:
        """Call it before the tasks of the next round run."""
        self._soon.append(callback)

    def at(self, at_s: float, callback: Callable[[], None]) -> None:
        """Call it when it is `at_s`, in a round to come."""
        self._set += 1
        heapq.heappush(self._alarms, (at_s, self._set, callback))

    def ring(self) -> None:
        """A new round: call what is due."""
        self.rounds += 1
        if self._soon:
            soon, self._soon = self._soon, []
            for callback in soon:
                callback()
        alarms = self._alarms
        if alarms and alarms[0][0] <= self._now_s:
            last = self._set
            while alarms and alarms[0][0] <= self._now_s and alarms[0][1] <= last:
                heapq.heappop(alarms)[2]()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Asked only when no task can run. Raises Stuck when none ever will."""
        if self._soon:
            return 0.0
        if self._alarms:
            deadline = min(deadline, self._alarms[0][0])
        if deadline == math.inf:
            # At its start and at its end trio waits for its own wake-up, which is a real socket.
            self._waits += 1
            if self._waits > WAITS_MAX:
                raise Stuck("every task waits for another, and none for time")
            return WAIT_S
        self._waits = 0
        self._now_s = max(self._now_s, deadline)
        return 0.0


def virtual_clock() -> Jumping:
    """The clock of the run that this is called in."""
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, Jumping)
    return clock


class Stuck(Exception):
    """Nothing will ever happen again."""


class Order:
    """The order in which tasks run, drawn from a seed; counts the rounds of the event loop.

    What spins without end lets no virtual time pass, so that no deadline ends it: `too_many` is called in the
    round that is beyond `rounds_max`.
    """

    def __init__(self, rounds_max: int, too_many: Callable[[], None]) -> None:
        self.rounds = 0
        self._rounds_max = rounds_max
        self._too_many = too_many
        self._rng = random.Random()

    def seed(self, seed: int) -> None:
        """Begin anew."""
        self._rng = random.Random(f"{seed}:scheduler")
        self.rounds = 0

    def shuffle(self, tasks: list[Any]) -> None:
        """Called by trio in every round, with those that run in it."""
        self.rounds += 1
        if self.rounds == self._rounds_max:
            self._too_many()
        number = len(tasks)
        if number == 2:
            if self._rng.random() < 0.5:
                tasks.reverse()
        elif number > 2:
            self._rng.shuffle(tasks)


def run_virtually(main: Callable[[], Awaitable[T]], seed: int, order: Order | None = None) -> T:
    """Run `main` on trio under a virtual clock that starts at 0, its scheduling drawn from `seed`.

    Only with PYTHONHASHSEED=0 is the order the same in every process (`ordered()` tells).
    """
    # No public way exists: https://github.com/python-trio/trio/issues/32.
    internals: Any = importlib.import_module("trio._core._run")
    order = order or Order(0, lambda: None)
    order.seed(seed)
    before = internals._ALLOW_DETERMINISTIC_SCHEDULING, internals._r
    internals._ALLOW_DETERMINISTIC_SCHEDULING, internals._r = True, order
    try:
        return trio.run(_without_io, main, clock=Jumping())
    finally:
        internals._ALLOW_DETERMINISTIC_SCHEDULING, internals._r = before


async def _without_io(main: Callable[[], Awaitable[T]]) -> T:
    internals: Any = importlib.import_module("trio._core._run")
    runner = internals.GLOBAL_RUN_CONTEXT.runner
    runner.io_manager = _SeldomAsked(runner.io_manager, runner.clock)
    if not runner.instruments["_all"]:
        # Asked five times a step, which a plain dict answers faster than trio's own.
        runner.instruments = {}
    return await main()


class _SeldomAsked:
    """trio's manager of real I/O, asked only now and then (for Ctrl-C): nothing real is waited for here.

    In its place the clock's alarms ring in every round.
    """

    def __init__(self, manager: Any, clock: Jumping) -> None:
        self._manager = manager
        self._ring = clock.ring
        self._rounds = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._manager, name)

    def get_events(self, timeout: float) -> Any:
        self._rounds += 1
        if timeout or self._rounds % ASKED_EVERY == 0:
            return self._manager.get_events(timeout)
        return ()

    def process_events(self, events: Any) -> None:
        if events:
            self._manager.process_events(events)
        self._ring()


def ordered() -> bool:
    """Whether this process was started so that runs can be repeated."""
    return os.environ.get("PYTHONHASHSEED") == HASH_SEED
