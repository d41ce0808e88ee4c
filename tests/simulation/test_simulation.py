"""The engine on a virtual clock: hours pass, a seed repeats itself, and a broken engine is found out.

The scenarios here are small and fixed; many seeds are played by `python -m todoke.bench.simulation`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from todoke.bench.simulation.__main__ import main
from todoke.bench.simulation.faults import KINDS, Fault
from todoke.bench.simulation.marks import MarkReader, data_of, text_of
from todoke.bench.simulation.run import Outcome, play
from todoke.bench.simulation.scenario import Scenario, draw
from todoke.engine.dispatch.inbox import Inbox
from todoke.engine.dispatch.outgoing import Outgoing
from todoke.engine.dispatch.pacing import UNLIMITED, Pacer
from todoke.engine.dispatch.taker import Taker
from todoke.engine.feed import Feed
from todoke.engine.receipts.stage import ReceiptStage


def with_faults(scenario: Scenario, *faults: tuple[float, str, str, float]) -> Scenario:
    """The scenario with these faults (moment, kind, target, duration) and no others."""
    made = [Fault(at_s, kind, target, duration_s, 1) for at_s, kind, target, duration_s in faults]
    return msgspec.structs.replace(scenario, faults=made)


def when_busy(scenario: Scenario, count: int) -> list[float]:
    """Moments just after the largest batches were submitted, spread over the scenario."""
    batches = sorted(scenario.batches, key=lambda batch: -len(batch.messages))[:count]
    return sorted(batch.at_s + 0.3 for batch in batches)


def test_an_hour_with_cuts_and_crashes_keeps_every_promise() -> None:
    scenario = draw(7, "hour", 150)
    first, second, third, fourth, fifth = when_busy(scenario, 5)
    outcome = play(
        with_faults(
            scenario,
            (first, "cut_reset", "alpha", 0.0),
            (first + 60, "cut_close", "beta", 0.0),
            (second, "kill", "", 2.0),
            (third, "cut_unbind", "alpha", 0.0),
            (third + 60, "silence", "beta", 0.0),
            (fourth, "power_cut", "", 30.0),
            (fifth, "store_crash", "", 5.0),
        )
    )
    assert outcome.broken == []
    assert outcome.messages == 150
    assert outcome.virtual_s > 3_600
    assert outcome.coverage["fault kill"] == outcome.coverage["fault power_cut"] == 1
    assert outcome.coverage["lives"] >= 2 + 1 + 2
    assert not [word for word in outcome.coverage if word.startswith("missing")]


def test_a_receipt_held_back_by_a_carrier_that_is_down_for_long_came_too_late() -> None:
    scenario = draw(8, "minutes", 100)
    busy = when_busy(scenario, 1)[0] + 6
    longer = 2 * scenario.carriers[0].engine.receipt_timeout_s
    outcome = play(
        with_faults(scenario, (busy, "down_long", "alpha", longer), (busy, "down_long", "beta", longer))
    )
    assert outcome.broken == []
    assert outcome.coverage["engine unanswered"] > 10


def test_twenty_seeds_in_two_processes_leave_the_same_traces() -> None:
    command = [sys.executable, "-m", "todoke.bench.simulation", "--seeds", "20", "--from", "3"]
    command += ["--size", "minutes", "--messages", "40", "--json", "--jobs", "1"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONHASHSEED"}

    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) for _ in range(2)]

    def traces(process: subprocess.Popen[bytes]) -> list[tuple[int, str, int, list[str]]]:
        lines = process.communicate(timeout=300)[0].splitlines()
        outcomes = [msgspec.json.decode(line, type=Outcome) for line in lines]
        return [(each.seed, each.trace_hash, each.trace_lines, each.broken) for each in outcomes]

    once, again = map(traces, both)
    assert [seed for seed, *_ in once] == list(range(3, 23))
    assert all(lines > 200 and not broken for _, _, lines, broken in once)
    assert len({trace_hash for _, trace_hash, _, _ in once}) == 20
    assert again == once


def forgets_doubts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Inbox, "doubted", lambda self, tokens: None)


def forgets_what_was_taken(patch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Taker, held: list[int]) -> None: ...

    patch.setattr(Taker, "_recover", nothing)


def takes_receipts_it_cannot_store(patch: pytest.MonkeyPatch) -> None:
    answer: Callable[..., None] = ReceiptStage._answer
    patch.setattr(ReceiptStage, "_answer", lambda self, items, command_status: answer(self, items, 0))


def knows_no_pace(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Pacer, "available", lambda self, now: UNLIMITED)


def sends_what_has_expired(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Outgoing, "_still_in_time", lambda self, message, now_ms: True)
    slow_entry: Callable[..., Any] = Outgoing._slow_entry

    def eager(self: Outgoing, run: Any, index: int, entry: Any, *rest: Any) -> int:
        *others, now_ms = rest
        before = entry.expires_ms
        entry.expires_ms = 0
        try:
            return int(slow_entry(self, run, index, entry, *others, now_ms))
        finally:
            entry.expires_ms = before

    patch.setattr(Outgoing, "_slow_entry", eager)


def forgets_acknowledgements(patch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Feed) -> None: ...

    patch.setattr(Feed, "run", nothing)


BROKEN: dict[Callable[[pytest.MonkeyPatch], None], str] = {
    forgets_doubts: "lost",
    forgets_what_was_taken: "lost",
    takes_receipts_it_cannot_store: "untrue",
    knows_no_pace: "parts in a second",
    sends_what_has_expired: "expired",
    forgets_acknowledgements: "not acknowledged",
}


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    """A small one that a sound engine passes."""
    scenario = msgspec.structs.replace(draw(10, "minutes", 120), patience_s=600.0)
    first, second, third = when_busy(scenario, 3)
    scenario = with_faults(
        scenario,
        (first, "kill", "", 1.0),
        (second, "store_away", "", 5.0),
        (third - 0.2, "lost_responses", "alpha", 60.0),
        (third - 0.2, "lost_responses", "beta", 60.0),
    )
    assert play(scenario).broken == []
    return scenario


@pytest.mark.parametrize("breaking", BROKEN, ids=[each.__name__ for each in BROKEN])
def test_a_broken_engine_is_found_out(
    scenario: Scenario, breaking: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking(monkeypatch)
    broken = play(scenario).broken
    assert any(BROKEN[breaking] in line for line in broken), broken


def test_a_scenario_is_its_seed() -> None:
    assert draw(11) == draw(11)
    assert draw(11) != draw(12)
    scenario = draw(11)
    assert len(scenario.faults) >= 10
    assert sum(len(batch.messages) for batch in scenario.batches) == 2_000
    assert sum(plan.engine.binds for plan in scenario.carriers) >= 4
    assert {fault.kind for fault in scenario.faults} <= set(KINDS)


def test_a_seed_that_fails_says_how_to_repeat_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forgets_acknowledgements(monkeypatch)
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    code = main(["--seeds", "1", "--from", "9", "--size", "minutes", "--messages", "30", "--jobs", "1"])
    told = capsys.readouterr().out
    assert code == 1
    assert "seed 9:" in told
    assert "not acknowledged" in told
    assert "--seeds 1 --from 9 --size minutes" in told


@pytest.mark.parametrize("characters", [8, 20, 160, 700])
@pytest.mark.parametrize("japanese", [False, True])
def test_marks_are_read_back(characters: int, japanese: bool) -> None:
    text = text_of(421, characters, japanese=japanese)
    payload = text.encode("utf-16-be") if japanese else text.encode()
    mark = MarkReader().read(0, 8 if japanese else 0, b"81", payload)
    assert mark is not None
    assert (mark.number, mark.part, mark.parts) == (421, 0, 1)


def test_a_short_last_part_is_named_by_its_siblings() -> None:
    reader = MarkReader()
    header = b"\x05\x00\x03\x2a\x02"
    first, last = header + b"\x01" + data_of(9, 20), header + b"\x02" + b"m0"
    assert reader.read(0x40, 4, b"81", last) is None
    assert reader.read(0x40, 4, b"81", first) is not None
    mark = reader.read(0x40, 4, b"81", last)
    assert mark is not None
    assert (mark.number, mark.part, mark.parts) == (9, 1, 2)
    assert reader.read(0x40, 4, b"82", last) is None
