"""One number that is full, and an account that is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.engine.dispatch.destinations import FIRST_S, FORGET_S, LONGEST_S, Destinations

NUMBERS = [f"8190{n:08d}" for n in range(20)]


def test_a_number_that_nobody_refused_is_free() -> None:
    destinations = Destinations()
    assert not destinations
    assert destinations.until(NUMBERS[0], 5.0) == 5.0


def test_one_full_number_waits_and_no_other() -> None:
    destinations = Destinations()
    destinations.answered(100, 10.0)
    assert destinations.full(NUMBERS[0], 10.0) is False
    assert destinations
    assert destinations.until(NUMBERS[0], 10.0) == 10.0 + FIRST_S
    assert destinations.until(NUMBERS[0], 10.0 + FIRST_S) == 10.0 + FIRST_S
    assert destinations.until(NUMBERS[0], 99.0) == 99.0
    assert destinations.until(NUMBERS[1], 10.0) == 10.0


def test_it_waits_twice_as_long_each_time_up_to_a_quarter_of_an_hour() -> None:
    destinations = Destinations()
    now, pauses = 10.0, []
    for _ in range(9):
        destinations.full(NUMBERS[0], now)
        pauses.append(destinations.until(NUMBERS[0], now) - now)
        now = destinations.until(NUMBERS[0], now)
    assert pauses[:4] == [15.0, 30.0, 60.0, 120.0]
    assert pauses[-1] == LONGEST_S


def test_parts_refused_together_are_one_step() -> None:
    destinations = Destinations()
    for part in range(10):
        destinations.full(NUMBERS[0], 10.0 + part / 100)
    assert destinations.until(NUMBERS[0], 10.1) == 10.0 + FIRST_S


def test_an_acceptance_frees_it() -> None:
    destinations = Destinations()
    destinations.full(NUMBERS[0], 10.0)
    destinations.full(NUMBERS[0], 30.0)
    destinations.accepted(NUMBERS[0])
    assert not destinations
    assert destinations.until(NUMBERS[0], 30.0) == 30.0
    destinations.full(NUMBERS[0], 31.0)
    assert destinations.until(NUMBERS[0], 31.0) == 31.0 + FIRST_S


def test_after_a_long_time_it_begins_anew() -> None:
    destinations = Destinations()
    destinations.full(NUMBERS[0], 0.0)
    destinations.full(NUMBERS[0], 20.0)
    free_at = destinations.until(NUMBERS[0], 20.0)
    assert free_at == 50.0
    destinations.full(NUMBERS[0], free_at + FORGET_S + 1)
    assert destinations.until(NUMBERS[0], 0.0) == free_at + FORGET_S + 1 + FIRST_S


def test_many_numbers_and_few_acceptances_are_the_account() -> None:
    destinations = Destinations()
    destinations.answered(4, 10.0)
    said = [destinations.full(number, 10.0) for number in NUMBERS[:6]]
    assert said == [False, False, True, True, True, True]
    assert destinations.until(NUMBERS[5], 10.0) == 10.0
    assert destinations.is_accounts(10.0)


def test_many_numbers_among_far_more_acceptances_are_the_numbers() -> None:
    destinations = Destinations()
    for number in NUMBERS:
        destinations.answered(10, 10.0)
        assert destinations.full(number, 10.0) is False
    assert destinations.until(NUMBERS[0], 10.0) == 10.0 + FIRST_S


def test_one_number_that_is_sent_to_a_lot_is_no_account() -> None:
    destinations = Destinations()
    assert not any(destinations.full(NUMBERS[0], 10.0) for _ in range(500))
    assert not destinations.is_accounts(10.0)


def test_what_was_long_ago_says_nothing() -> None:
    destinations = Destinations()
    for number in NUMBERS[:5]:
        destinations.full(number, 10.0)
    assert destinations.is_accounts(19.0)
    assert not destinations.is_accounts(21.0)
    assert destinations.full(NUMBERS[6], 30.0) is False


def test_the_share_is_that_of_the_last_answers() -> None:
    destinations = Destinations()
    destinations.answered(1_000_000, 10.0)
    assert [destinations.full(number, 10.0) for number in NUMBERS * 5][-1] is True
    share = destinations.statistics(10.0).share
    assert 0.25 <= share < 1.0
    destinations.answered(100, 21.0)
    assert destinations.statistics(21.0).share == 0.0


def test_an_account_that_recovers_is_no_longer_suspected() -> None:
    destinations = Destinations()
    for number in NUMBERS[:5]:
        destinations.full(number, 10.0)
    for _ in range(10):
        destinations.answered(100, 11.0)
    assert not destinations.is_accounts(11.0)
    assert destinations.full(NUMBERS[6], 11.0) is False


def test_memory_has_a_limit_and_the_oldest_goes_first() -> None:
    destinations = Destinations(limit=2)
    destinations.answered(1_000, 10.0)
    for number in (NUMBERS[0], NUMBERS[1], NUMBERS[0], NUMBERS[2]):
        destinations.full(number, 10.0)
    assert destinations.until(NUMBERS[1], 10.0) == 10.0
    assert destinations.until(NUMBERS[0], 10.0) > 10.0
    told = destinations.statistics(10.0)
    assert (told.numbers, told.limit, told.forgotten) == (2, 2, 1)
    assert NUMBERS[0] not in repr(destinations)
    with pytest.raises(ValueError, match="0 destinations"):
        Destinations(0)


EVENTS = st.tuples(
    st.floats(0, 400), st.sampled_from(["ok", "full", "other"]), st.sampled_from(NUMBERS), st.integers(0, 300)
)


@given(st.integers(1, 5), st.lists(EVENTS, max_size=80))
def test_it_never_waits_longer_than_the_longest_nor_remembers_more_than_its_limit(
    limit: int, events: list[tuple[float, str, str, int]]
) -> None:
    destinations = Destinations(limit)
    now = 0.0
    for step, kind, number, count in events:
        now += step
        if kind == "full":
            accounts = destinations.full(number, now)
            assert accounts or destinations.until(number, now) > now
        elif kind == "ok":
            destinations.answered(1, now)
            destinations.accepted(number)
            assert destinations.until(number, now) == now
        else:
            destinations.answered(count, now)
        assert all(now <= destinations.until(each, now) <= now + LONGEST_S for each in NUMBERS)
        told = destinations.statistics(now)
        assert told.numbers <= limit
        assert 0.0 <= told.share <= 1.0
