"""The audit's own ceiling, and what it reads off an SMSC's log."""

from __future__ import annotations

from array import array

import pytest
from todoke.bench.population import Population
from todoke.bench.reach_network import CarrierSeen, Ceiling, Plan, copies, first_seen, unforeseen
from todoke.bench.smsc_config import Spell
from todoke.bench.smsc_log import AcceptedPart, LogEvent, LogRecord

ALL_THERE = Population(1, 0.0, 0.0, 60.0)
SPELL = Spell(after_s=10.0, for_s=5.0, command_status="ESME_RSYSERR")


def part(time: float, number: int = 0, crc: int = 0, bind: int = 1, state: str = "delivered") -> AcceptedPart:
    to = f"8190{number:08d}"
    return AcceptedPart(time, "todoke", bind, number + 1, "1", "1", "Todoke", to, 0, 0, 1, crc, b"", state)


def event(time: float, word: str, number: int = 1) -> LogEvent:
    return LogEvent(time, "todoke", word, number)


def steady(rate: int, seconds: int, *, but: dict[int, int] | None = None) -> list[LogRecord]:
    """`rate` parts a second, each with a number of its own; `but` = other counts in some seconds."""
    records: list[LogRecord] = [event(99.0, "bound"), event(99.0, "bound", 2)]
    number = 0
    for second in range(seconds):
        count = (but or {}).get(second, rate)
        for place in range(count):
            records.append(part(100.0 + second + place / count, number))
            number += 1
    return records


def judged(records: list[LogRecord], rate: int = 8, spells: list[Spell] | None = None):
    seen = CarrierSeen(records)
    (times,) = first_seen([seen], 1, lambda to: 0)
    return seen.used(rate, 2, spells or [], times)


# -- the ceiling ------------------------------------------------------------------------------------------


def plan(**other: float) -> Plan:
    return Plan(rates=[10.0, 10.0], spells=[[SPELL], []], receipt_s=1.0, **({"validity_s": 20.0} | other))


def test_capacity_is_the_contracts_less_the_spells() -> None:
    ceiling = Ceiling(plan(), ALL_THERE)
    assert [ceiling.capacity(each) for each in (0, 10, 12, 15, 20)] == [0, 200, 220, 250, 350]


def test_what_cannot_leave_in_time_is_not_deliverable() -> None:
    ceiling = Ceiling(plan(), ALL_THERE)
    deliverable = [ceiling.message(f"8190{number:08d}", 1) for number in range(400)]
    # 19 s of sending: 380 parts less the 50 of the spell.
    assert deliverable == [True] * 330 + [False] * 70
    assert (ceiling.deliverable, ceiling.too_late, ceiling.gone) == (330, 70, 0)


def test_validity_counts_from_the_submission() -> None:
    ceiling = Ceiling(plan(), ALL_THERE)
    assert all(ceiling.message(f"8190{number:08d}", 1, number / 10) for number in range(400))


def test_long_messages_take_the_room_of_their_parts() -> None:
    ceiling = Ceiling(plan(), ALL_THERE)
    assert sum(ceiling.message(f"8190{number:08d}", 2) for number in range(400)) == 165


def test_handsets_gone_or_away_too_long_are_not_deliverable() -> None:
    population = Population(3, gone=0.1, away=0.2, away_s=30.0)
    ceiling = Ceiling(plan(validity_s=25.0), population)
    for number in range(100):
        to = f"8190{number:08d}"
        handset = population.handset(to.encode())
        assert ceiling.message(to, 1) == (not handset.gone and handset.away_s + number / 20 + 1 < 25.1), (
            number
        )
    assert ceiling.gone
    assert ceiling.too_late


# -- the rate -----------------------------------------------------------------------------------------------


def test_a_rate_used_to_the_full() -> None:
    used = judged(steady(8, 30))
    assert used.used == 1.0
    assert used.peak == used.peak_sure == 8
    # The last 2 s of work are no backlog.
    assert (used.counted_s, used.no_backlog_s) == (28, 2)


def test_seconds_without_parts_count_when_there_was_work() -> None:
    used = judged(steady(8, 30, but={7: 0, 8: 4}))
    assert used.used == pytest.approx(1 - 12 / 224, abs=1e-3)
    assert used.lowest == 0.0


def test_seconds_of_refusals_and_of_lost_binds_do_not_count() -> None:
    records = steady(8, 30, but={7: 0, 8: 4, 12: 2, 13: 2})
    events = [event(107.5, "refused:0x00000058", 3), event(108.1, "refused:0x00000058", 1)]
    events += [event(112.4, "lost", 2), event(113.2, "bound", 3)]
    used = judged(sorted([*records, *events], key=lambda each: each.time))
    assert (used.refusing_s, used.bind_down_s) == (2, 2)
    assert used.used == 1.0


def test_a_spell_and_the_time_to_recover_do_not_count() -> None:
    idle = dict.fromkeys(range(10, 18), 0)
    used = judged(steady(8, 40, but=idle), spells=[SPELL])
    assert (used.refusing_s, used.recovering_s) == (6, 10)
    assert used.used == 1.0
    assert used.recovered_s == pytest.approx(3.0, abs=0.2)


def test_a_carrier_left_idle_after_a_spell_is_seen() -> None:
    """Its work went elsewhere and did not come back: there was a backlog that names it first."""
    spell = Spell(after_s=2.0, for_s=1.0, command_status="ESME_RSYSERR")
    idle = CarrierSeen(steady(8, 2))
    other = CarrierSeen([part(100.0 + place / 8, 1_000 + place) for place in range(400)])
    (times,) = first_seen([idle, other], 1, lambda to: 0)
    used = idle.used(8, 2, [spell], times)
    assert used.used is not None
    assert used.used < 0.2
    assert used.recovered_s is None


def test_a_second_above_the_contract() -> None:
    assert judged(steady(8, 10, but={4: 12})).peak_sure == 12


def test_what_a_late_simulator_read_together_is_no_breach() -> None:
    """The first parts of the second had come 30 ms before they were read."""
    records = steady(8, 4)
    records += [part(105.03 + place / 8, 900 + place) for place in range(8)]
    records.append(part(106.0, 990))
    assert judged(records).peak_sure == 9
    late = [event(105.031, "late", 35_000)]
    used = judged(sorted([*records, *late], key=lambda each: each.time))
    assert (used.peak, used.peak_sure) == (9, 8)


def test_refused_parts_count_for_the_peak() -> None:
    records = [*steady(8, 5), event(103.95, "refused:0x00000058", 4)]
    assert judged(sorted(records, key=lambda each: each.time)).peak == 12


# -- copies and doubts --------------------------------------------------------------------------------------


def test_copies_are_told_by_whether_they_were_needed() -> None:
    population = Population(3, gone=0.0, away=0.5, away_s=30.0)
    away = next(n for n in range(50) if population.handset(b"8190%08d" % n).away_s)
    there = next(n for n in range(50) if not population.handset(b"8190%08d" % n).away_s)
    first = CarrierSeen([part(1.0, away), part(1.0, there), part(1.0, there, crc=7), part(20.0, away)])
    second = CarrierSeen([part(20.0, there)])
    found = copies([first, second], population)
    assert (found.doubled, found.inside, found.between_carriers) == (2, 1, 1)
    assert found.examples == [f"8190{there:08d}"]


def test_parts_whose_answer_may_be_lost_are_suspects() -> None:
    records: list[LogRecord] = [event(0.5, "bound"), part(1.0, 1), part(5.0, 2), part(5.3, 3, bind=2)]
    records += [event(5.3, "response_lost", 9), event(5.4, "cut"), event(5.4, "lost")]
    seen = CarrierSeen(records)
    assert (seen.suspects, seen.cuts) == (2, 1)


def test_an_smsc_that_decides_otherwise_than_the_seed_is_noticed() -> None:
    seen = CarrierSeen([part(1.0, 1), part(1.0, 2, state="undeliverable")])
    assert unforeseen([seen], ALL_THERE) == 1


def test_nothing_seen_is_nothing_used() -> None:
    used = CarrierSeen([]).used(10, 2, [], array("d"))
    assert (used.used, used.peak, used.counted_s) == (None, 0, 0)
