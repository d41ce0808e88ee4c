"""The pace: no sliding second above the contract, and no less than the contract either."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.engine.dispatch.pacing import CATCH_UP_SPANS, SPAN_S, SPANS_PER_SECOND, UNLIMITED, Pacer


def most_in_a_second(sent: list[tuple[float, int]], seconds: float = 1.0) -> int:
    """The most parts in any half-open window of that length that begins with a part."""
    return max(
        (sum(parts for at, parts in sent if begin <= at < begin + seconds) for begin, _ in sent), default=0
    )


def send_all(pacer: Pacer, wakes: list[float], eager: bool = True) -> list[tuple[float, int]]:
    """A sender that takes all it may at each of these moments."""
    sent: list[tuple[float, int]] = []
    for now in wakes:
        parts = pacer.available(now)
        if parts and eager:
            pacer.took(parts, now)
            sent.append((now, parts))
    return sent


def test_unlimited_never_holds_back() -> None:
    pacer = Pacer(0)
    assert pacer.available(5.0) == UNLIMITED
    pacer.took(10_000, 5.0)
    assert pacer.available(5.0) == UNLIMITED
    assert pacer.next_at(5.0) == 5.0
    assert pacer.used_last_second(5.0) == 0


@given(
    rate=st.one_of(st.integers(1, 2_000).map(float), st.floats(1.0, 500.0)),
    steps=st.lists(st.floats(0.0, 1.7), min_size=1, max_size=80),
    start=st.floats(0.0, 1e6),
)
def test_no_sliding_second_is_above_the_contract(rate: float, steps: list[float], start: float) -> None:
    wakes = [start]
    for step in steps:
        wakes.append(wakes[-1] + step * step * step)
    assert most_in_a_second(send_all(Pacer(rate), wakes)) <= rate


@given(
    rate=st.floats(0.01, 0.99),
    steps=st.lists(st.floats(0.0, 3.0), min_size=1, max_size=60),
    start=st.floats(0.0, 1e6),
)
def test_below_one_a_second_each_part_takes_its_whole_time(
    rate: float, steps: list[float], start: float
) -> None:
    wakes = [start]
    for step in steps:
        wakes.append(wakes[-1] + step)
    sent = send_all(Pacer(rate), wakes)
    assert all(parts == 1 for _, parts in sent)
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(sent)]
    assert all(gap >= 1 / rate for gap in gaps)


@pytest.mark.parametrize("rate", [1, 2, 3, 7, 30, 100, 500, 1_500, 45_000])
def test_a_sender_that_wakes_when_told_to_sends_nearly_the_contract(rate: int) -> None:
    pacer = Pacer(rate)
    now, sent, wakes = 100.0, 0, 0
    while now < 120.0:
        parts = pacer.available(now)
        pacer.took(parts, now)
        sent += parts
        wakes += 1
        now = max(pacer.next_at(now), now + 1e-6)
    assert 0.93 * rate * 20 <= sent <= rate * 21
    assert wakes <= 20 * 60, "it is woken no more often than there are spans"


@given(
    rate=st.integers(1, 600).map(float),
    steps=st.lists(st.floats(0.0, 0.08), min_size=60, max_size=120),
    start=st.floats(0.0, 1e5),
)
def test_a_part_may_arrive_a_span_later_than_the_others(
    rate: float, steps: list[float], start: float
) -> None:
    """Whatever arrives up to 20 ms late, no second at the carrier has more than the contract."""
    wakes = [start]
    for step in steps:
        wakes.append(wakes[-1] + step)
    assert most_in_a_second(send_all(Pacer(rate), wakes), 1.0 + SPAN_S - 1e-6) <= rate


@pytest.mark.parametrize("rate", [50, 100, 300, 1_500])
def test_a_sender_that_wakes_late_makes_up_for_it(rate: int) -> None:
    """Timers that ring 10 to 70 ms late take nothing from the rate, and give nothing to a second."""
    pacer = Pacer(rate)
    sent: list[tuple[float, int]] = []
    now, turn = 100.0, 0
    while now < 120.0:
        parts = pacer.available(now)
        pacer.took(parts, now)
        sent.append((now, parts))
        turn += 1
        now = max(pacer.next_at(now), now) + 0.01 * (1 + turn * 5 % 7)
    assert sum(parts for _, parts in sent) >= 0.92 * rate * 20
    assert most_in_a_second(sent) <= rate


def test_what_was_missed_long_ago_is_not_made_up_for() -> None:
    pacer = Pacer(500)
    pacer.took(pacer.available(100.0), 100.0)
    assert pacer.available(100.9) == (CATCH_UP_SPANS + 1) * 500 // SPANS_PER_SECOND
    pacer.took(pacer.available(100.9), 100.9)
    assert pacer.available(100.9001) == 0
    assert pacer.available(100.921) == 500 // SPANS_PER_SECOND


@given(rate=st.floats(0.05, 300.0), burst=st.integers(1, 40), now=st.floats(0.0, 1e6))
def test_next_at_is_a_moment_at_which_something_may_leave(rate: float, burst: int, now: float) -> None:
    pacer = Pacer(rate)
    for _ in range(burst):
        parts = pacer.available(now)
        pacer.took(min(1, parts), now)
        moment = pacer.next_at(now)
        assert moment >= now
        # (A hair later: the moment is a sum of floats.)
        assert pacer.available(moment + 1e-6) > 0
        now = moment + 1e-6


def test_a_second_after_a_burst_all_is_free_again() -> None:
    pacer = Pacer(10)
    for tick in range(10):
        pacer.took(1, 5.0 + tick / 50)
    assert pacer.used_last_second(5.9) == 10
    assert pacer.available(5.9) == 0
    assert pacer.available(6.3) > 0
    assert pacer.used_last_second(7.0) == 0


def test_the_last_moment_of_a_span_is_remembered_for_a_whole_second() -> None:
    for rate, last in ((1, 0.0199), (50, 0.0199)):
        pacer = Pacer(rate)
        pacer.took(rate, last)
        assert pacer.available(last + 0.9999) == 0


# -- a rate that changes -------------------------------------------------------------------------------

RATES = st.one_of(st.integers(1, 600).map(float), st.floats(1.0, 300.0))


@given(
    first=RATES,
    steps=st.lists(st.tuples(st.floats(0.0, 1.2), st.none() | RATES), min_size=1, max_size=120),
    start=st.floats(0.0, 1e6),
)
def test_across_changes_no_second_is_above_the_rate_at_its_last_part(
    first: float, steps: list[tuple[float, float | None]], start: float
) -> None:
    """Which is never above the highest rate in force in that second, and is the lower rate at once."""
    pacer = Pacer(first)
    now = start
    sent: list[tuple[float, int, float]] = []
    for step, rate in steps:
        now += step * step * step
        if rate is not None:
            pacer.set_rate(rate, now)
        parts = pacer.available(now)
        if parts:
            pacer.took(parts, now)
            sent.append((now, parts, pacer.rate))
    for number, (last, _, rate) in enumerate(sent, 1):
        assert sum(parts for at, parts, _ in sent[:number] if at > last - 1) <= rate


@pytest.mark.parametrize(("before", "after"), [(1_000, 50), (500, 1), (2_000, 1_999), (100, 0.5)])
def test_a_lower_rate_holds_from_the_next_second_on(before: float, after: float) -> None:
    pacer = Pacer(before)
    now = 100.0
    while now < 103.0:
        pacer.took(pacer.available(now), now)
        now = max(pacer.next_at(now), now + 1e-6)
    pacer.set_rate(after, now)
    sent: list[tuple[float, int]] = []
    end = now + 6
    while now < end:
        parts = pacer.available(now)
        if parts:
            sent.append((now, parts))
            pacer.took(parts, now)
        assert pacer.next_at(now) > now
        now = max(pacer.next_at(now), now + 1e-6)
    assert most_in_a_second(sent) <= max(1, after)
    assert sum(parts for _, parts in sent) >= min(1, after) * 4 * 0.93
    if after >= 1:
        assert sent[0][0] <= 103.0 + 1.1
        assert sum(parts for _, parts in sent) >= 0.93 * after * 4.9


def test_a_higher_rate_is_used_at_once() -> None:
    pacer = Pacer(10)
    sent = send_all(pacer, [7 + tick / 50 for tick in range(60)])
    assert sum(parts for _, parts in sent) <= 20
    pacer.set_rate(1_000, 8.3)
    more = send_all(pacer, [8.3 + tick / 50 for tick in range(50)])
    assert sum(parts for _, parts in more) >= 900


def test_from_and_to_unlimited() -> None:
    pacer = Pacer(0)
    pacer.took(5_000, 1.0)
    pacer.set_rate(10, 1.5)
    assert pacer.used_last_second(1.5) == 0
    assert pacer.available(1.5) == 1
    pacer.took(1, 1.5)
    pacer.set_rate(0, 1.6)
    assert pacer.available(1.6) == UNLIMITED
    pacer.set_rate(10, 1.7)
    assert pacer.available(1.7) == 1


@given(
    changes=st.lists(st.tuples(st.floats(0.05, 300.0), st.integers(1, 20)), min_size=1, max_size=20),
    now=st.floats(0.0, 1e6),
)
def test_next_at_holds_across_changes(changes: list[tuple[float, int]], now: float) -> None:
    pacer = Pacer(100)
    for rate, wakes in changes:
        pacer.set_rate(rate, now)
        for _ in range(wakes):
            pacer.took(pacer.available(now), now)
            moment = pacer.next_at(now)
            assert moment >= now
            assert pacer.available(moment + 1e-6) > 0
            now = moment + 1e-6


def test_memory_is_bounded_by_the_spans_of_a_second() -> None:
    pacer = Pacer(1e6)
    for tick in range(100_000):
        pacer.took(1, tick / 1_000)
    assert len(pacer._sent) <= 52
