"""The pace: no sliding second above the contract, and no less than the contract either."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.engine.dispatch.pacing import UNLIMITED, Pacer


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


def test_memory_is_bounded_by_the_spans_of_a_second() -> None:
    pacer = Pacer(1e6)
    for tick in range(100_000):
        pacer.took(1, tick / 1_000)
    assert len(pacer._sent) <= 52
