"""One seed, from its scenario to a verdict."""

from __future__ import annotations

import logging
import re
import sys
import time
import traceback
from collections import Counter
from contextlib import nullcontext
from typing import Final, TextIO

import msgspec

from .audit import audit
from .ceiling import reach
from .clock import Order, ordered, run_virtually
from .coverage import Coverage
from .deletions import deleted
from .scenario import PASSWORD, SHAPES, Scenario, Size, draw
from .world import World

LAST_LINES: Final = 40
ROUNDS_MAX: Final = 4_000_000
"""Of the event loop, in one seed; a seed of 2,000 messages takes some hundred thousand."""

_private = re.compile(rf"m\d{{6}};|81[89]0\d{{8}}|\b{PASSWORD}\b").search


class Outcome(msgspec.Struct, frozen=True):
    """What came of one seed."""

    seed: int
    size: Size
    messages: int
    trace_hash: str
    trace_lines: int
    broken: list[str]
    states: dict[str, int]
    """Final state -> reports."""
    copies: int
    doubled: int
    """Parts that an SMSC took again."""
    deliverable: int
    """Messages that the network could have delivered, by the seed and the SMSCs."""
    delivered: int
    """How many of those were told delivered (sent, where no receipt was asked)."""
    virtual_s: float
    real_s: float
    cpu_s: float
    coverage: dict[str, int]
    last_lines: list[str]
    """The end of the trace; empty when all is well."""
    messages_asked: int | None = None
    """How many were asked for instead of the size's own number."""
    faults_asked: tuple[str, ...] = ()
    """Kinds of faults that were asked for instead of all."""
    deleted: str = ""
    """The recovery branch that the engine had to be without."""

    @property
    def ok(self) -> bool:
        return not self.broken

    @property
    def command(self) -> str:
        """What repeats it."""
        messages = f" --messages {self.messages_asked}" if self.messages_asked is not None else ""
        faults = f" --faults {','.join(self.faults_asked)}" if self.faults_asked else ""
        deleted = f" --delete {self.deleted}" if self.deleted else ""
        asked = f"{messages}{faults}{deleted}"
        return f"todoke simulate --seeds 1 --from {self.seed} --size {self.size}{asked} --trace"


def simulate(
    seed: int,
    size: Size = "hour",
    *,
    messages: int | None = None,
    without: tuple[str, ...] = (),
    faults: tuple[str, ...] = (),
    delete: str = "",
    echo: TextIO | None = None,
) -> Outcome:
    """Play a seed and judge it. `without`: kinds of faults to leave out; `faults`: the only kinds that
    strike, if any are named; `delete`: a recovery branch to be without (see `deletions`); `echo`: where the
    trace goes.
    """
    scenario = draw(seed, size, messages, faults)
    if without:
        kept = [fault for fault in scenario.faults if fault.kind not in without]
        scenario = msgspec.structs.replace(scenario, faults=kept)
    if delete:
        # What has not come by then never will.
        patience_s = 4 * SHAPES[size].receipt_timeout_s + SHAPES[size].length_s
        scenario = msgspec.structs.replace(scenario, patience_s=patience_s)
    with deleted(delete) if delete else nullcontext():
        outcome = play(scenario, echo)
    return msgspec.structs.replace(outcome, messages_asked=messages, faults_asked=faults, deleted=delete)


def play(scenario: Scenario, echo: TextIO | None = None) -> Outcome:
    """Play a scenario and judge it."""
    coverage = Coverage()
    worlds: list[World] = []
    began, cpu_began = time.perf_counter(), time.process_time()

    async def main() -> None:
        world = World(scenario, coverage, echo)
        worlds.append(world)
        await world.run()

    order = Order(ROUNDS_MAX, lambda: worlds[0].end(f"no end after {ROUNDS_MAX} rounds of the event loop"))
    ended_badly = ""
    logs = _LogWatch()
    with coverage.watching(), logs:
        try:
            run_virtually(main, scenario.seed, order)
        except Exception:  # the edge: whatever a seed does, it is a verdict
            ended_badly = traceback.format_exc()
    if not worlds:
        raise RuntimeError(ended_badly)
    world = worlds[0]
    world.halting.release()
    evidence = world.evidence
    could, did = reach(scenario, evidence)
    broken = audit(scenario, evidence, world.contents)
    broken += logs.broken
    if ended_badly:
        broken.insert(0, f"the run itself failed: {ended_badly}")
    states = Counter(told.event.state for told in evidence.told)
    seen = Counter((copy.number, copy.part) for copy in evidence.copies)
    real_s = time.perf_counter() - began
    return Outcome(
        seed=scenario.seed,
        size=scenario.size,
        messages=len(evidence.sent),
        trace_hash=world.trace.digest(),
        trace_lines=world.trace.lines,
        broken=broken,
        states=dict(sorted(states.items())),
        copies=len(evidence.copies),
        doubled=sum(seen.values()) - len(seen),
        deliverable=could,
        delivered=did,
        virtual_s=float(world.trace.last[-1].split()[0]),
        real_s=round(real_s, 3),
        cpu_s=round(time.process_time() - cpu_began, 3),
        coverage={**dict(sorted(coverage.counts.items())), "rounds": order.rounds},
        last_lines=list(world.trace.last)[-LAST_LINES:] if broken else [],
    )


class _LogWatch(logging.Handler):
    """The engine's log in a simulation: no traceback, and nothing private in any line."""

    def __init__(self) -> None:
        super().__init__()
        self.broken: list[str] = []

    def __enter__(self) -> _LogWatch:
        logging.getLogger("todoke").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("todoke").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if record.exc_info:
            self.broken.append(f"logged with a traceback: {logging.Formatter().format(record)}")
        elif _private(line):
            self.broken.append(f"{record.module} logs something private (line {record.lineno})")


def main_of_one(
    seed: int, size: Size, messages: int | None, trace: bool, faults: tuple[str, ...] = (), delete: str = ""
) -> Outcome:
    """One seed in this process, its trace on standard output if wanted."""
    if not ordered():
        print("PYTHONHASHSEED is not 0: this run cannot be repeated exactly", file=sys.stderr)
    echo = sys.stdout if trace else None
    return simulate(seed, size, messages=messages, faults=faults, delete=delete, echo=echo)
