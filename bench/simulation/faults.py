"""The faults a scenario may hold, and how each is done to a running world.

A fault is a name, a moment, a target and a length; what it draws besides comes from its own seed, so a fault
can be left out of a scenario alone. `matrix` names the entries of the project's fault matrix that it plays.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
import msgspec

from ..handset import Ids
from ..smsc_config import Rule
from .gate import CALL_TIMEOUT_S
from .traffic import SHARED_NUMBERS

LEASE_LEFT: Final = 0.6
"""A store that is away for this share of a lease may cost slots: renewals are a third of it apart."""

WRITING_STAGES: Final = ("accept", "ack", "due", "record", "record", "record", "rx", "take")
WRITE_WAIT_S: Final = 20.0
"""A write that is to be cut is waited for so long."""

if TYPE_CHECKING:
    from .clock import VirtualClock
    from .process import Process
    from .wires import Line
    from .world import World


class Fault(msgspec.Struct, frozen=True):
    """`target` is a carrier's name, `process` an engine process's ("" = the first); most kinds use one."""

    at_s: float
    kind: str
    target: str
    duration_s: float
    seed: int
    process: str = ""


class Kind(NamedTuple):
    """One kind of fault: what it does, how long it may last, how often it is drawn, its row in the matrix."""

    strike: Callable[[World, Fault, random.Random], Awaitable[None]]
    duration_s: tuple[float, float]
    weight: float
    matrix: str


async def inject(world: World, fault: Fault) -> None:
    """Wait for the fault's moment, then let it happen from beginning to end."""
    await anyio.sleep(max(0.0, fault.at_s - anyio.current_time()))
    world.trace.add("fault", f"{fault.kind} {fault.target} {fault.process} {fault.duration_s}")
    world.coverage.count(f"fault {fault.kind}")
    await KINDS[fault.kind].strike(world, fault, random.Random(fault.seed))
    world.trace.add("fault", f"{fault.kind} is over")


# -- carriers and the network ----------------------------------------------------------------------------


def _cut(mode: str) -> Callable[[World, Fault, random.Random], Awaitable[None]]:
    async def strike(world: World, fault: Fault, rng: random.Random) -> None:
        """One bind, or all of the carrier's."""
        line = world.lines[fault.target]
        # Of a session that falls silent only a timer tells.
        line.doubt(f"cut {mode}", 3 * line.plan.engine.enquire_link_s if mode == "silence" else 0.0)
        sessions = [each for account in line.smsc.core.accounts.values() for each in account.sessions]
        if sessions and rng.random() < 0.6:
            sessions = [rng.choice(sessions)]
        for session in sessions:
            session.cut(mode, anyio.current_time())
        line.smsc.flush()

    return strike


async def _freeze(world: World, fault: Fault, rng: random.Random) -> None:
    """A half-open connection: no octet passes, nobody is told."""
    line = world.lines[fault.target]
    wires = list(line.wires)
    if not wires:
        return
    line.doubt("frozen", 3 * line.plan.engine.enquire_link_s)
    for wire in wires if rng.random() < 0.3 else [rng.choice(wires)]:
        wire.freeze()


async def _stall(world: World, fault: Fault, rng: random.Random) -> None:
    """Answers come late, after the response timer if it lasts; nothing is lost."""
    line = world.lines[fault.target]
    line.doubt("stalled", fault.duration_s)
    line.stalled_until = max(line.stalled_until, anyio.current_time() + fault.duration_s)
    await anyio.sleep(fault.duration_s)


def _weather(**changes: object) -> Callable[[World, Fault, random.Random], Awaitable[None]]:
    async def strike(world: World, fault: Fault, rng: random.Random) -> None:
        """The SMSC behaves in another way for a while."""
        line = world.lines[fault.target]
        line.weather(**changes)
        await anyio.sleep(fault.duration_s)
        line.weather()

    return strike


async def _down(world: World, fault: Fault, rng: random.Random) -> None:
    """The SMSC is gone, all its binds with it."""
    line = world.lines[fault.target]
    _fall(line, rng.choice(("reset", "close")))
    line.smsc.refusing = True
    await anyio.sleep(fault.duration_s)
    line.smsc.refusing = False


async def _locked_out(world: World, fault: Fault, rng: random.Random) -> None:
    """The binds fall and the password is not taken for a while."""
    line = world.lines[fault.target]
    line.weather(accounts=dict.fromkeys(line.plan.smsc.accounts, "other"))
    _fall(line, "close")
    await anyio.sleep(fault.duration_s)
    line.weather()


async def _congested(world: World, fault: Fault, rng: random.Random) -> None:
    """The SMSC says how full it is, in every answer."""
    line = world.lines[fault.target]
    for state in (rng.randrange(70, 101), rng.randrange(90, 101), rng.randrange(30, 90)):
        line.congestion_state = state
        await anyio.sleep(fault.duration_s / 3)
    line.congestion_state = None


async def _number_full(world: World, fault: Fault, rng: random.Random) -> None:
    """ESME_RMSGQFUL for a few numbers only."""
    line = world.lines[fault.target]
    numbers = [f"{SHARED_NUMBERS}{n:08d}" for n in range(5)]
    now = anyio.current_time()
    near = [m.to for batch in world.scenario.batches if batch.at_s >= now - 1.0 for m in batch.messages[:2]]
    rules = [Rule(suffix=to, command_status="ESME_RMSGQFUL") for to in [*numbers, *near[:10]]]
    line.weather(rules=rules)
    await anyio.sleep(fault.duration_s)
    line.weather()


async def _absent(world: World, fault: Fault, rng: random.Random) -> None:
    """A tenth of the handsets is switched off: what is taken for them is delivered when they are back."""
    line = world.lines[fault.target]
    line.absent_digit = b"%d" % rng.randrange(10)
    line.absent_until = anyio.current_time() + fault.duration_s
    await anyio.sleep(fault.duration_s)
    line.absent_digit = b""


async def _sessions_linger(world: World, fault: Fault, rng: random.Random) -> None:
    """Connections are lost without the SMSC's knowing: it refuses the new ones (ESME_RALYBND) for a while."""
    line = world.lines[fault.target]
    line.doubt("sessions linger", 3 * line.plan.engine.enquire_link_s)
    for wire in list(line.wires):
        wire.lose()


async def _ids_again(world: World, fault: Fault, rng: random.Random) -> None:
    """The SMSC restarts and counts its ids from the beginning."""
    line = world.lines[fault.target]
    _fall(line, "reset")
    line.smsc.core.ids = Ids(line.plan.smsc.id_form, line.plan.smsc.id_start, rng)


def _fall(line: Line, mode: str) -> None:
    line.doubt("down")
    line.smsc.cut(mode)


# -- the store -------------------------------------------------------------------------------------------


async def _store_cut(world: World, fault: Fault, rng: random.Random) -> None:
    """Its connections fall, mostly in the middle of a write; what was on its way may still be done."""
    if rng.random() < 0.7:
        await _wait_for_write(world, rng.choice(WRITING_STAGES))
        if rng.random() < 0.3:
            await anyio.sleep(world.sync_s * rng.random())
    world.outage(0.0)
    world.store.cut()


async def _wait_for_write(world: World, stage: str) -> None:
    """Until a stage of this kind begins to write in some process, or for a while."""
    begun = anyio.Event()

    def look(name: str) -> None:
        if name.startswith(stage):
            begun.set()

    for process in world.processes.values():
        process.path.on_write = look
    with anyio.move_on_after(WRITE_WAIT_S):
        await begun.wait()


async def _store_away(world: World, fault: Fault, rng: random.Random) -> None:
    """It restarts cleanly, and takes its time."""
    _outage(world, fault.duration_s, "store away")
    world.store.down()
    await anyio.sleep(fault.duration_s)
    world.store.up()


async def _store_crash(world: World, fault: Fault, rng: random.Random) -> None:
    """It loses what was not on disk."""
    _outage(world, fault.duration_s, "store away")
    world.store.crash(stay_down=True)
    await anyio.sleep(fault.duration_s)
    world.store.up()


async def _store_slow(world: World, fault: Fault, rng: random.Random) -> None:
    """Every fsync takes long."""
    world.sync_s = rng.choice((0.05, 0.5, 2.0))
    _outage(world, fault.duration_s, "store slow")
    await anyio.sleep(fault.duration_s)
    world.sync_s = world.usual_sync_s


async def _store_full(world: World, fault: Fault, rng: random.Random) -> None:
    """It refuses writes (OOM) and still reads."""
    _outage(world, fault.duration_s, "store full")
    for process in world.processes.values():
        process.path.full = True
    await anyio.sleep(fault.duration_s)
    for process in world.processes.values():
        process.path.full = False


def _outage(world: World, duration_s: float, why: str, process: str = "") -> None:
    """Facts cannot be written down. If it lasts, leases end: what is under way is in doubt for others."""
    world.outage(duration_s, process)
    if duration_s >= LEASE_LEFT * min(plan.engine.lease_s for plan in world.scenario.carriers):
        world.doubt(f"lost its slots ({why})", process, duration_s + world.longest_lease_s)


async def _store_lost(world: World, fault: Fault, rng: random.Random) -> None:
    """One process reaches the store no more; SMSCs and apps it does."""
    process = _process(world, fault)
    _outage(world, fault.duration_s + CALL_TIMEOUT_S, "store not reached", process.name)
    await process.lose_store(fault.duration_s)


async def _store_far(world: World, fault: Fault, rng: random.Random) -> None:
    """Calls of one process take long."""
    process = _process(world, fault)
    process.path.latency_s = rng.choice((0.05, 0.5, 3.0))
    _outage(world, fault.duration_s + 2 * process.path.latency_s, "store far", process.name)
    await anyio.sleep(fault.duration_s)
    process.path.latency_s = 0.0


# -- clocks ----------------------------------------------------------------------------------------------


async def _clock_step(world: World, fault: Fault, rng: random.Random) -> None:
    """The date of one machine jumps; a small jump stays, a large one is put right."""
    process = _process(world, fault)
    await _step(world, world.clocks[process.machine], process.name, fault, rng)


async def _store_clock_step(world: World, fault: Fault, rng: random.Random) -> None:
    """The store's date jumps: leases end at once, or later than they should."""
    world.doubt("the store's clock jumped", "", fault.duration_s + world.longest_lease_s)
    world.outage(fault.duration_s)
    await _step(world, world.store_clock, "", fault, rng)


async def _step(world: World, clock: VirtualClock, name: str, fault: Fault, rng: random.Random) -> None:
    # A store clock of yesterday, or two hours ahead, is rare: what it wrote is waited for so long.
    steps = (*(-300.0, -30.0, -1.0, 1.0, 30.0, 300.0) * 3, -7_200.0, 7_200.0)
    step_s = rng.choice(steps)
    world.evidence.steps.append((anyio.current_time(), name))
    clock.skew_s += step_s
    if abs(step_s) > 1.0:
        await anyio.sleep(fault.duration_s)
        world.evidence.steps.append((anyio.current_time(), name))
        clock.skew_s -= step_s


# -- the engine and the apps -----------------------------------------------------------------------------


def _process(world: World, fault: Fault) -> Process:
    return world.processes[fault.process] if fault.process else next(iter(world.processes.values()))


async def _kill(world: World, fault: Fault, rng: random.Random) -> None:
    process = _process(world, fault)
    world.doubt("killed", process.name)
    process.kill(rng, fault.duration_s)


async def _machine_lost(world: World, fault: Fault, rng: random.Random) -> None:
    """Nobody is told: only the lease ends, and the SMSC keeps the sessions as long as it is patient."""
    process = _process(world, fault)
    world.doubt("machine lost", process.name)
    process.kill(rng, fault.duration_s, linger=True)


async def _kill_all(world: World, fault: Fault, rng: random.Random) -> None:
    world.doubt("killed")
    for process in world.processes.values():
        process.kill(rng, fault.duration_s * rng.random())


async def _halt(world: World, fault: Fault, rng: random.Random) -> None:
    """SIGSTOP: sockets stay open, nothing runs; it wakes to find its slots in other hands."""
    process = _process(world, fault)
    world.doubt("stopped", process.name, fault.duration_s)
    world.outage(fault.duration_s, process.name)
    await process.halt(fault.duration_s)


async def _smscs_lost(world: World, fault: Fault, rng: random.Random) -> None:
    """One process reaches no SMSC; the store it does."""
    process = _process(world, fault)
    quiet_s = max(plan.engine.enquire_link_s for plan in world.scenario.carriers)
    world.doubt("SMSCs not reached", process.name, fault.duration_s + 3 * quiet_s)
    await process.lose_smscs(fault.duration_s)


async def _power_cut(world: World, fault: Fault, rng: random.Random) -> None:
    """All processes and the store at once; the store is back first, or not."""
    world.doubt("power cut")
    for process in world.processes.values():
        process.kill(rng, fault.duration_s)
    world.store.crash(stay_down=True)
    await anyio.sleep(fault.duration_s * rng.choice((0.5, 1.5)))
    world.store.up()


async def _stop(world: World, fault: Fault, rng: random.Random) -> None:
    """A clean stop doubts nothing, unless answers are so late that it goes without them."""
    await _process(world, fault).stop(fault.duration_s)


async def _stop_all(world: World, fault: Fault, rng: random.Random) -> None:
    async with anyio.create_task_group() as group:
        for process in world.processes.values():
            group.start_soon(process.stop, fault.duration_s)


async def _kill_while_stopping(world: World, fault: Fault, rng: random.Random) -> None:
    process = _process(world, fault)

    async def stop() -> None:
        await process.stop(fault.duration_s)

    async with anyio.create_task_group() as group:
        group.start_soon(stop)
        await anyio.sleep(rng.choice((0.0, 0.01, 0.2)))
        world.doubt("killed while stopping", process.name)
        process.kill(rng, fault.duration_s)


async def _apps_cut(world: World, fault: Fault, rng: random.Random) -> None:
    for process in world.processes.values():
        process.cut_callers()


async def _subscriber_away(world: World, fault: Fault, rng: random.Random) -> None:
    app = rng.choice(list(world.apps.values()))
    await app.hang_up(fault.duration_s)


KINDS: Final[dict[str, Kind]] = {
    "cut_reset": Kind(_cut("reset"), (0, 0), 3, "1"),
    "cut_close": Kind(_cut("close"), (0, 0), 2, "2"),
    "cut_unbind": Kind(_cut("unbind"), (0, 0), 2, "3"),
    "silence": Kind(_cut("silence"), (0, 0), 1, "4"),
    "freeze": Kind(_freeze, (0, 0), 1, "4"),
    "stall": Kind(_stall, (1, 60), 3, "7, 27"),
    "lost_responses": Kind(_weather(lost_responses=0.5), (0.5, 60), 2, "8"),
    "early_receipts": Kind(_weather(early_receipts=1.0), (5, 120), 1, "30"),
    "doubled_receipts": Kind(_weather(doubled_receipts=1.0), (5, 120), 1, "32"),
    "locked_out": Kind(_locked_out, (5, 90), 1, "20"),
    "throttled": Kind(_weather(errors={"ESME_RTHROTTLED": 1.0}), (1, 60), 2, "22"),
    "throttled_partly": Kind(_weather(errors={"ESME_RTHROTTLED": 0.1}), (10, 120), 1, "22"),
    "queue_full": Kind(_weather(errors={"ESME_RMSGQFUL": 1.0}), (1, 60), 1, "23"),
    "system_error": Kind(_weather(errors={"ESME_RSYSERR": 1.0}), (1, 30), 1, "24"),
    "vendor_error": Kind(_weather(errors={"0x4a5": 0.5}), (1, 30), 1, "25"),
    "ids_again": Kind(_ids_again, (0, 0), 0.5, "36"),
    "down": Kind(_down, (1, 120), 2, "2, 33"),
    "down_long": Kind(_down, (120, 600), 1, "2, 24, 33"),
    "congested": Kind(_congested, (10, 120), 2, "26"),
    "number_full": Kind(_number_full, (5, 120), 2, "23"),
    "absent": Kind(_absent, (20, 300), 2, "60"),
    "sessions_linger": Kind(_sessions_linger, (0, 0), 1.5, "20, 29"),
    "store_lost": Kind(_store_lost, (0.5, 60), 3, "46"),
    "store_far": Kind(_store_far, (2, 60), 2, "45"),
    "clock_step": Kind(_clock_step, (1, 300), 2, "42"),
    "store_clock_step": Kind(_store_clock_step, (1, 120), 1, "42"),
    "halt": Kind(_halt, (0.5, 60), 4, "39, 40"),
    "smscs_lost": Kind(_smscs_lost, (2, 120), 2, "4, 46"),
    "machine_lost": Kind(_machine_lost, (5, 120), 2, "37, 20"),
    "kill_all": Kind(_kill_all, (0.05, 30), 1, "37"),
    "stop_all": Kind(_stop_all, (0.2, 30), 0.5, "38"),
    "store_cut": Kind(_store_cut, (0, 0), 3, "43"),
    "store_away": Kind(_store_away, (0.1, 20), 2, "34, 43"),
    "store_crash": Kind(_store_crash, (0.05, 10), 2, "43"),
    "store_slow": Kind(_store_slow, (1, 30), 1, "45"),
    "store_full": Kind(_store_full, (0.2, 10), 1, "47"),
    "kill": Kind(_kill, (0.05, 60), 4, "37"),
    "power_cut": Kind(_power_cut, (0.1, 60), 2, "37, 43"),
    "stop": Kind(_stop, (0.2, 30), 1, "38"),
    "kill_while_stopping": Kind(_kill_while_stopping, (0.2, 10), 1, "37, 38"),
    "apps_cut": Kind(_apps_cut, (0, 0), 2, "49"),
    "subscriber_away": Kind(_subscriber_away, (1, 300), 1, "49"),
}
