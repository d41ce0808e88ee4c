"""Virtual time as the engine is told it, and how a run is made the same every time.

trio's autojump clock lets time pass only when every task waits, so a day of retries takes seconds. trio
shuffles its run queue on purpose; a simulation fixes that order with a seed.
"""

from __future__ import annotations

import importlib
import os
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import trio
import trio.testing

WALL_START_S: Final = 1_795_219_200.0
"""2026-11-21 00:00 UTC, a Saturday."""
HASH_SEED: Final = "0"
"""PYTHONHASHSEED of every simulation: sets of strings have one order then."""

T = TypeVar("T")


class VirtualClock:
    """Both clocks of one machine. `skew_s` is how far its date is wrong; durations do not know of it."""

    def __init__(self, wall_start_s: float = WALL_START_S) -> None:
        self._wall_start_s = wall_start_s
        self.skew_s = 0.0

    def monotonic(self) -> float:
        return trio.current_time()

    def wall(self) -> float:
        return self._wall_start_s + trio.current_time() + self.skew_s


class Rounds(trio.abc.Instrument):
    """Counts the rounds of the event loop; calls `too_many` in the first that is beyond `limit`.

    What spins without end lets no virtual time pass, so that no deadline ends it.
    """

    def __init__(self, limit: int, too_many: Callable[[], None]) -> None:
        self.done = 0
        self._limit = limit
        self._too_many = too_many

    def before_io_wait(self, timeout: float) -> None:
        self.done += 1
        if self.done == self._limit:
            self._too_many()


def run_virtually(main: Callable[[], Awaitable[T]], seed: int, *instruments: trio.abc.Instrument) -> T:
    """Run `main` on trio under a virtual clock that starts at 0, its scheduling drawn from `seed`.

    Only with PYTHONHASHSEED=0 is the order the same in every process (`ordered()` tells).
    """
    # No public way exists: https://github.com/python-trio/trio/issues/32.
    internals: Any = importlib.import_module("trio._core._run")
    internals._ALLOW_DETERMINISTIC_SCHEDULING = True
    internals._r = random.Random(f"{seed}:scheduler")
    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0), instruments=instruments)


def ordered() -> bool:
    """Whether this process was started so that runs can be repeated."""
    return os.environ.get("PYTHONHASHSEED") == HASH_SEED
