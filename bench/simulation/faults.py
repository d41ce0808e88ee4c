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

if TYPE_CHECKING:
    from .wires import Line
    from .world import World


class Fault(msgspec.Struct, frozen=True):
    """`target` is a carrier's name; faults of the store, the engine or the apps make no use of it."""

    at_s: float
    kind: str
    target: str
    duration_s: float
    seed: int


class Kind(NamedTuple):
    """One kind of fault: what it does, how long it may last, how often it is drawn, its row in the matrix."""

    strike: Callable[[World, Fault, random.Random], Awaitable[None]]
    duration_s: tuple[float, float]
    weight: float
    matrix: str


async def inject(world: World, fault: Fault) -> None:
    """Wait for the fault's moment, then let it happen from beginning to end."""
    await anyio.sleep(max(0.0, fault.at_s - anyio.current_time()))
    world.trace.add("fault", f"{fault.kind} {fault.target} {fault.duration_s}")
    world.coverage.count(f"fault {fault.kind}")
    await KINDS[fault.kind].strike(world, fault, random.Random(fault.seed))
    world.trace.add("fault", f"{fault.kind} is over")


# -- carriers and the network ----------------------------------------------------------------------------


def _cut(mode: str) -> Callable[[World, Fault, random.Random], Awaitable[None]]:
    async def strike(world: World, fault: Fault, rng: random.Random) -> None:
        """One bind, or all of the carrier's."""
        line = world.lines[fault.target]
        line.doubt(f"cut {mode}")
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
    """Its connections fall; what was on its way may still be done."""
    world.store.cut()


async def _store_away(world: World, fault: Fault, rng: random.Random) -> None:
    """It restarts cleanly, and takes its time."""
    world.store.down()
    await anyio.sleep(fault.duration_s)
    world.store.up()


async def _store_crash(world: World, fault: Fault, rng: random.Random) -> None:
    """It loses what was not on disk."""
    world.store.crash(stay_down=True)
    await anyio.sleep(fault.duration_s)
    world.store.up()


async def _store_slow(world: World, fault: Fault, rng: random.Random) -> None:
    """Every fsync takes long."""
    world.sync_s = rng.choice((0.05, 0.5, 2.0))
    await anyio.sleep(fault.duration_s)
    world.sync_s = world.usual_sync_s


async def _store_full(world: World, fault: Fault, rng: random.Random) -> None:
    """It refuses writes (OOM) and still reads."""
    world.process.fill_store(True)
    await anyio.sleep(fault.duration_s)
    world.process.fill_store(False)


# -- the engine and the apps -----------------------------------------------------------------------------


async def _kill(world: World, fault: Fault, rng: random.Random) -> None:
    world.doubt("killed")
    world.process.kill(rng, fault.duration_s)


async def _power_cut(world: World, fault: Fault, rng: random.Random) -> None:
    """Engine and store at once; the store is back first, or not."""
    world.doubt("power cut")
    world.process.kill(rng, fault.duration_s)
    world.store.crash(stay_down=True)
    await anyio.sleep(fault.duration_s * rng.choice((0.5, 1.5)))
    world.store.up()


async def _stop(world: World, fault: Fault, rng: random.Random) -> None:
    """A clean stop doubts nothing, unless answers are so late that it goes without them."""
    await world.process.stop(fault.duration_s)


async def _kill_while_stopping(world: World, fault: Fault, rng: random.Random) -> None:
    async def stop() -> None:
        await world.process.stop(fault.duration_s)

    async with anyio.create_task_group() as group:
        group.start_soon(stop)
        await anyio.sleep(rng.choice((0.0, 0.01, 0.2)))
        world.doubt("killed while stopping")
        world.process.kill(rng, fault.duration_s)


async def _apps_cut(world: World, fault: Fault, rng: random.Random) -> None:
    world.process.cut_callers()


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
    "down": Kind(_down, (1, 300), 2, "2, 33"),
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
