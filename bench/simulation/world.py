"""Everything of one run, joined: the store, the carriers, the engine's processes, the apps, and time."""

from __future__ import annotations

import random
from typing import Any, Final, TextIO

import anyio
import anyio.abc

from ...engine.app import Engine
from ...engine.client_wire import NodeAway
from .apps import App
from .clock import VirtualClock, virtual_clock
from .coverage import Coverage
from .evidence import Doubt, Evidence, Outage
from .faults import inject
from .halting import Halting
from .process import Process
from .scenario import APPS, Scenario
from .store import TimedStore
from .trace import Trace
from .wires import Line

ACKNOWLEDGED_S: Final = 0.7
ACKNOWLEDGED_LOOKS_MAX: Final = 1_000
LOOK_S: Final = 5.0
"""How often it is looked whether all is quiet."""


class World:
    """Made inside a running loop. `run` plays the scenario until all is quiet, or as long as it may take."""

    def __init__(self, scenario: Scenario, coverage: Coverage, echo: TextIO | None = None) -> None:
        self.scenario = scenario
        self.config = scenario.config()
        self.coverage = coverage
        self.trace = Trace(virtual_clock().current_time, echo)
        self.store_clock = VirtualClock()
        self.clocks = {plan.machine: VirtualClock() for plan in scenario.processes}
        """By machine."""
        self.halting = Halting()
        self.evidence = Evidence(self.trace)
        self.usual_sync_s = 0.0005
        self.sync_s = self.usual_sync_s
        self.store = TimedStore(
            rng=self._rng("store"), sync_s=lambda: self.sync_s, wall=self.store_clock.wall
        )
        self.lines = {
            plan.engine.name: Line(plan, self._rng(f"smsc:{plan.engine.name}"), self.evidence)
            for plan in scenario.carriers
        }
        dead: dict[str, set[str]] = {plan.machine: set() for plan in scenario.processes}
        self.processes = {
            plan.name: Process(self, plan, self.clocks[plan.machine], dead[plan.machine])
            for plan in scenario.processes
        }
        self.apps = {name: App(self, name) for name in APPS}
        self._rng_connect = self._rng("connect")
        self.tasks: anyio.abc.TaskGroup
        self.quiet_at: float | None = None
        self.contents: dict[bytes, Any] = {}
        """What the store holds at the end."""

    def _rng(self, name: str) -> random.Random:
        return random.Random(f"{self.scenario.seed}:{name}")

    def connect(self, app: str) -> anyio.abc.ByteStream:
        """A connection to the local socket of one of the processes that are up. Raises NodeAway."""
        up = [process for process in self.processes.values() if process.up]
        if not up:
            raise NodeAway("no node")
        return self._rng_connect.choice(up).connect(app)

    def doubt(self, why: str, process: str = "", duration_s: float = 0.0) -> None:
        """A process (all of them) loses what it knew of all that is under way, now or within this time."""
        now = anyio.current_time()
        self.evidence.doubts.append(Doubt(now, now + duration_s, "", why, process))

    def outage(self, duration_s: float, process: str = "") -> None:
        """For so long a process (all of them) cannot write down what it hears."""
        now = anyio.current_time()
        self.evidence.outages.append(Outage(now, now + duration_s, process))

    @property
    def longest_lease_s(self) -> float:
        return max(plan.engine.lease_s for plan in self.scenario.carriers)

    async def run(self) -> None:
        """Play it."""
        async with anyio.create_task_group() as self.tasks:
            for line in self.lines.values():
                await self.tasks.start(line.smsc.run)
            for process in self.processes.values():
                self.tasks.start_soon(process.run)
            for app in self.apps.values():
                self.tasks.start_soon(app.listen)
            try:
                await self._play()
            finally:
                # Who is halted would not hear of the end.
                self.halting.release()
            self.contents = self.store.contents()
            self.tasks.cancel_scope.cancel()

    async def _play(self) -> None:
        with anyio.move_on_after(self.scenario.length_s + self.scenario.patience_s) as scope:
            async with anyio.create_task_group() as playing:
                for app in self.apps.values():
                    playing.start_soon(app.run)
                for fault in self.scenario.faults:
                    playing.start_soon(inject, self, fault)
        if scope.cancelled_caught:
            self.evidence.broke("apps have not submitted all, or a fault does not end")
        await self._wait_until_quiet()
        await self._wait_for_the_end_of_history()
        await self._wait_for_acknowledgements()
        for process in self.processes.values():
            self.coverage.count("lives", process.lives)
            await process.finish()
        for line in self.lines.values():
            for word, n in line.excused.items():
                self.coverage.count(f"excused {word}", n)

    def end(self, why: str) -> None:
        """Stop everything at once: the run has failed."""
        self.evidence.broke(why)
        self.halting.release()
        self.tasks.cancel_scope.cancel()

    async def _wait_until_quiet(self) -> None:
        """Every accepted message has its report, or the scenario's patience is at its end."""
        until = anyio.current_time() + self.scenario.patience_s
        told: set[str] = set()
        looked_at = 0
        while anyio.current_time() < until:
            told.update(each.event.message_id for each in self.evidence.told[looked_at:])
            looked_at = len(self.evidence.told)
            if self.evidence.number_of.keys() <= told:
                self.quiet_at = anyio.current_time()
                self.trace.add("world", "quiet")
                return
            await anyio.sleep(LOOK_S)
        self.trace.add("world", "not quiet")

    async def _wait_for_the_end_of_history(self) -> None:
        """Receipts that still come are told, and what is over is forgotten."""
        await anyio.sleep(
            max(
                plan.engine.receipt_timeout_s + 2 * plan.engine.history_s + plan.engine.orphan_ttl_s
                for plan in self.scenario.carriers
            )
            + 200.0
            + 2 * self.evidence.largest_step_s
        )

    async def _wait_for_acknowledgements(self) -> None:
        """Handsets write for as long as the run lasts: stop when what they wrote has been read."""
        for _ in range(ACKNOWLEDGED_LOOKS_MAX):
            await anyio.sleep(ACKNOWLEDGED_S)
            feeds = [
                feed
                for process in self.processes.values()
                if process.engine is not None
                for feed in process.engine.feeds.values()
            ]
            if feeds and not any(feed.unacknowledged for feed in feeds):
                return
        self.evidence.broke("there are always events that are not acknowledged")

    def count_engine(self, engine: Engine) -> None:
        """The engine's own counters at the end of a life, for coverage."""
        for carrier in engine.carriers.values():
            for word, n in carrier.status().counts.items():
                self.coverage.count(f"engine {word}", n)
