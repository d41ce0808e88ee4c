"""One engine process: the real engine behind the real intake, to be killed and started again.

`kill` is `kill -9`: connections fall, the store is out of reach at once (see `gate`), and what the process
knew is gone. `stop` is SIGTERM, as `engine.app.run_node` does it.
"""

from __future__ import annotations

import logging
import random
import traceback
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
import anyio.abc

from ...engine.app import Engine
from ...engine.client_wire import NodeAway
from ...engine.config import CarrierConfig
from ...engine.dispatch.binds import Connector
from ...engine.intake.limits import Limits
from ...engine.intake.server import Intake
from ...engine.ledger.port import StoreError
from ...engine.node import TodokeNode
from ...engine.session.memory import MemoryByteStream, byte_stream_pair
from .clock import ProcessClock, VirtualClock
from .gate import Killed, Path, ProcessStore
from .halting import PROCESS, called_in
from .wires import Line, Wire

if TYPE_CHECKING:
    from .scenario import ProcessPlan
    from .world import World

log = logging.getLogger(__name__)

RESTART_PAUSE_S: Final = 1.0
"""A process that could not start is started again after this."""
STOP_S: Final = 30.0
SYN_TIMEOUT_S: Final = 5.0
DEFECTS_MAX: Final = 3
"""A process that died so often of a defect ends the run."""


class Life:
    """What a life of a process knows of others (see engine.peers): the dead of this machine are dead."""

    def __init__(self, dead: set[str], me: str) -> None:
        self._dead = dead
        self.me = me

    def is_gone(self, identity: str) -> bool:
        return identity in self._dead


class Process:
    """`run` keeps it alive until `finish`; `node` is None while it is down."""

    def __init__(self, world: World, plan: ProcessPlan, clock: VirtualClock, dead: set[str]) -> None:
        """`dead`: lives of this machine's processes that are over."""
        self.world = world
        self.name = plan.name
        self.machine = plan.machine
        self._machine_clock = clock
        self.clock = ProcessClock(clock)
        """Of its present life."""
        self.path = Path()
        """Its way to the store."""
        self.smscs_away_until = 0.0
        """It reaches no SMSC before."""
        self._starts_at_s = plan.starts_at_s
        self._dead = dead
        self.node: TodokeNode | None = None
        self.engine: Engine | None = None
        self.lives = 0
        self._store: ProcessStore | None = None
        self._scope = anyio.CancelScope()
        self._callers: anyio.abc.TaskGroup | None = None
        self._intake: Intake | None = None
        self._wires: dict[Wire, None] = {}
        self._sockets: dict[MemoryByteStream, None] = {}
        self._down_s = 0.0
        self._finishing = False
        self._defects = 0
        self._lingers = False
        self._draining: anyio.CancelScope | None = None
        self.ended = anyio.Event()

    # -- what the world does to it -----------------------------------------------------------------------

    async def run(self) -> None:
        """Live, die, live again."""
        PROCESS.set(self.name)
        await anyio.sleep(self._starts_at_s)
        while not self._finishing:
            await self._live()
            if not self._finishing:
                await anyio.sleep(self._down_s)
        self.ended.set()

    def kill(self, rng: random.Random, down_s: float, *, linger: bool = False) -> None:
        """kill -9; started again after `down_s`. `linger`: with its machine, so that nobody is told and its
        sessions stay open at the SMSCs.
        """
        if self._store is None:
            return
        self.world.trace.add(self.name, "killed")
        self._down_s = down_s
        self._lingers = linger
        self.node = None
        self._store.kill()
        if self._draining is not None:
            self._draining.cancel()
        for wire in list(self._wires):
            if linger:
                wire.abandon()
            else:
                wire.sever(reset=rng.random() < 0.5)
        for socket in list(self._sockets):
            socket.cut()
        self._scope.cancel()
        self.world.halting.resume(self.name)

    async def halt(self, for_s: float) -> None:
        """SIGSTOP, and SIGCONT so long after."""
        if self.engine is None or self._draining is not None:
            return
        life = self.lives
        self.world.trace.add(self.name, "halted")
        self.world.halting.halt(self.name)
        await anyio.sleep(for_s)
        if self.lives == life and self.world.halting.halted(self.name):
            self.world.trace.add(self.name, "continues")
            self.world.evidence.continued[self.name] = anyio.current_time()
            self.world.halting.resume(self.name)

    async def lose_smscs(self, for_s: float) -> None:
        """No SMSC is reached, and nobody is told; the store and the apps are."""
        self.smscs_away_until = max(self.smscs_away_until, anyio.current_time() + for_s)
        for wire in list(self._wires):
            wire.freeze()
        await anyio.sleep(for_s)

    async def lose_store(self, for_s: float) -> None:
        """The store is not reached, and nobody is told; the SMSCs and the apps are."""
        self.path.cut()
        breaks = self.path.breaks
        await anyio.sleep(for_s)
        if self.path.breaks == breaks:
            self.path.heal()

    @property
    def up(self) -> bool:
        return self.node is not None

    async def stop(self, down_s: float) -> None:
        """SIGTERM; started again after `down_s`."""
        node, engine, callers = self.node, self.engine, self._callers
        if node is None or engine is None or callers is None or self._draining is not None:
            return
        self.world.halting.resume(self.name)
        self.world.trace.add(self.name, "stopping")
        node.stopping = True
        try:
            with anyio.CancelScope() as self._draining:
                result = await engine.drain(STOP_S)
                self.world.trace.add(self.name, f"drained, {result.in_doubt} in doubt")
                if result.in_doubt:
                    self.world.doubt("stopped without all answers", self.name)
                if self.node is node:
                    self._down_s = down_s
                    self.node = None
                    callers.cancel_scope.cancel()
                    self._scope.cancel()
        except BaseExceptionGroup as group:
            self._look_at(group)
        finally:
            self._draining = None

    async def finish(self) -> None:
        """The last stop."""
        self._finishing = True
        await self.stop(0.0)
        self._scope.cancel()
        await self.ended.wait()

    def cut_callers(self) -> None:
        """Every app loses its connection."""
        for socket in list(self._sockets):
            socket.cut()

    # -- what an app does --------------------------------------------------------------------------------

    def connect(self, app: str) -> anyio.abc.ByteStream:
        """A connection of `app` to the local socket. Raises NodeAway."""
        if self.node is None or self._callers is None or self._callers.cancel_scope.cancel_called:
            raise NodeAway("no node")
        near, far = byte_stream_pair()
        self._sockets[far] = None
        called_in(self.name, self._callers.start_soon, self._serve, far, app)
        return near

    async def _serve(self, far: MemoryByteStream, app: str) -> None:
        assert self._intake is not None
        try:
            await self._intake.handle_connection(far, app)
        finally:
            self._sockets.pop(far, None)

    # -- its life ----------------------------------------------------------------------------------------

    async def _live(self) -> None:
        world = self.world
        self.lives += 1
        self._down_s = RESTART_PAUSE_S
        store = self._store = ProcessStore(world.store, self.name, world.trace, world.coverage, self.path)
        rng = random.Random(f"{world.scenario.seed}:{self.name}:{self.lives}")
        life = Life(self._dead, f"{self.machine} {self.name} {self.lives}")
        self.clock = ProcessClock(self._machine_clock)
        wrong_s = abs(self._machine_clock.skew_s)
        world.evidence.largest_step_s = max(world.evidence.largest_step_s, wrong_s)
        engine = Engine(world.config, store, self.clock, rng, self._connector_for, life)
        self._lingers = False
        world.trace.add(self.name, f"life {self.lives}")
        try:
            with anyio.CancelScope() as self._scope:
                await self._serve_until_cancelled(engine)
        except BaseExceptionGroup as group:
            self._look_at(group)
        except (Killed, StoreError) as error:
            self._look_at(BaseExceptionGroup("", [error]))
        finally:
            if not self._lingers:
                self._dead.add(life.me)
            world.count_engine(engine)
            self.node = self.engine = self._callers = self._intake = self._store = None
            for socket in list(self._sockets):
                socket.cut()
            self._sockets.clear()
            self._wires.clear()

    async def _serve_until_cancelled(self, engine: Engine) -> None:
        world = self.world
        limits = Limits(credit_messages=1_000)
        async with anyio.create_task_group() as group:
            node = await engine.start(group)
            self._intake = Intake(node, limits, wall=self.clock.wall)
            node.intake_statistics = self._intake.statistics
            async with anyio.create_task_group() as self._callers:
                self.node, self.engine = node, engine
                world.trace.add(self.name, "ready")
                await anyio.sleep_forever()

    def _look_at(self, group: BaseExceptionGroup[BaseException]) -> None:
        """Killed is as it should be, a store that is away at the start too; anything else is a defect."""
        _, rest = group.split((Killed, anyio.get_cancelled_exc_class()))
        if rest is None:
            return
        _, defects = rest.split(StoreError)
        if defects is not None or self.node is not None:
            text = "".join(traceback.format_exception(rest))
            self.world.evidence.broke(f"{self.name} died: {text}")
            self._defects += 1
            if self._defects >= DEFECTS_MAX:
                self.world.tasks.cancel_scope.cancel()
        else:
            self.world.trace.add(self.name, "could not start")

    def _connector_for(self, config: CarrierConfig) -> Connector:
        return partial(self._connect, self.world.lines[config.name])

    async def _connect(self, line: Line) -> Wire:
        if anyio.current_time() < self.smscs_away_until:
            await anyio.sleep(SYN_TIMEOUT_S)
            raise TimeoutError("no way to the SMSC")
        wire = await line.connect(self)
        self._wires[wire] = None
        return wire
