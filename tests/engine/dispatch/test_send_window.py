"""The window and the rate that an account bears: down by half, up by steps, never above the contract."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.engine.dispatch.pacing import Pacer
from todoke.engine.dispatch.send_window import (
    CONTENT_S,
    CUT_PAUSE_S,
    RECOVERY_S,
    SHARE_MIN,
    THROTTLE_PAUSE_S,
    AdaptivePace,
    SendWindow,
)

# -- the window ----------------------------------------------------------------------------------------


def test_it_begins_at_the_limit_and_stays_there() -> None:
    window = SendWindow(100)
    assert window.window == 100
    assert window.answered(10_000, 1.0) == 100


@pytest.mark.parametrize("refusals", [{"throttled": 1}, {"full": 1}, {"congestion_state": 90}])
def test_too_much_halves_it_at_most_once_a_second(refusals: dict[str, int]) -> None:
    window = SendWindow(100)
    assert window.answered(50, 10.0, **refusals) == 50
    assert window.answered(0, 10.99, **refusals) == 50
    assert window.answered(0, 11.0, **refusals) == 25


def test_where_answers_take_longer_than_a_second_so_does_the_pause() -> None:
    window = SendWindow(100)
    window.answered(0, 10.0, throttled=1, round_trip_s=4.0)
    assert window.answered(0, 13.9, throttled=1, round_trip_s=4.0) == 50
    assert window.answered(0, 14.0, throttled=1, round_trip_s=4.0) == 25
    assert window.answered(0, 24.0, throttled=1, round_trip_s=600.0) == 12


def test_it_never_falls_below_one() -> None:
    window = SendWindow(100)
    for second in range(20):
        window.answered(0, float(second), throttled=5)
    assert window.window == 1


def test_a_windows_worth_of_answers_raises_it_by_one() -> None:
    window = SendWindow(100)
    window.answered(0, 10.0, throttled=1)
    for _ in range(49):
        assert window.answered(1, 10.1) == 50
    window.answered(2, 10.1)
    assert window.window == 51
    window.answered(51, 10.2)
    assert window.window in (51, 52)


def test_congestion_between_80_and_90_holds_and_below_raises() -> None:
    window = SendWindow(100)
    window.answered(0, 10.0, congestion_state=95)
    for tick in range(100):
        assert window.answered(100, 11.0 + tick, congestion_state=80 + tick % 10) == 50
    assert window.answered(100, 200.0, congestion_state=79) == 100
    assert window.statistics().congestion_state == 79


def test_once_content_it_is_back_at_the_limit_within_a_few_rounds() -> None:
    window = SendWindow(128)
    for second in range(10):
        window.answered(0, float(second), throttled=1)
    assert window.window == 1
    now, rounds = 9.0 + CONTENT_S, 0
    while window.window < 128:
        now += 0.5
        window.answered(window.window, now)
        rounds += 1
    assert rounds == 7


def test_a_limit_changes_at_once() -> None:
    window = SendWindow(100)
    window.limit = 200
    assert (window.window, window.limit) == (200, 200), "nothing was cut: nothing has to be found out"
    window.limit = 10
    assert window.window == 10
    window.answered(0, 1.0, throttled=1)
    window.limit = 100
    assert window.window == 5, "what was cut is found out anew"
    with pytest.raises(ValueError, match="window of 0"):
        window.limit = 0
    with pytest.raises(ValueError, match="window of 0"):
        SendWindow(0)


def test_what_it_tells() -> None:
    window = SendWindow(10)
    assert window.statistics().last_cut_at is None
    window.answered(1, 5.0, throttled=1)
    told = window.statistics()
    assert (told.window, told.limit, told.cuts, told.last_cut_at) == (5, 10, 1, 5.0)


BATCH = st.tuples(
    st.floats(0, 3),
    st.integers(0, 300),
    st.integers(0, 3),
    st.integers(0, 3),
    st.none() | st.integers(0, 100),
    st.none() | st.floats(0, 60),
    st.none() | st.integers(1, 300),
)


@given(st.integers(1, 300), st.lists(BATCH, max_size=60))
def test_it_is_always_between_one_and_the_limit_and_never_raised_by_a_refusal(
    limit: int, batches: list[tuple[float, int, int, int, int | None, float | None, int | None]]
) -> None:
    window = SendWindow(limit)
    now = 0.0
    last_cut: float | None = None
    for step, ok, throttled, full, congestion_state, round_trip_s, new_limit in batches:
        now += step
        if new_limit is not None:
            window.limit = new_limit
        before, cuts = window.window, window.statistics().cuts
        window.answered(
            ok,
            now,
            throttled=throttled,
            full=full,
            congestion_state=congestion_state,
            round_trip_s=round_trip_s,
        )
        assert 1 <= window.window <= window.limit
        if throttled or full or (congestion_state or 0) >= 90:
            assert window.window <= before
        else:
            assert window.window >= before
        if window.statistics().cuts > cuts:
            assert last_cut is None or now - last_cut >= CUT_PAUSE_S - 1e-9
            last_cut = now


# -- the rate ------------------------------------------------------------------------------------------


def test_without_throttling_the_rate_is_the_contract() -> None:
    pace = AdaptivePace(500)
    for tick in range(100):
        pace.answered(50, 0, tick / 10)
        assert pace.rate(tick / 10) == 500


def test_all_throttled_halves_at_most_once_a_second() -> None:
    pace = AdaptivePace(500)
    pace.answered(0, 50, 10.0)
    assert pace.rate(10.0) == 250
    pace.answered(0, 50, 10.5)
    assert pace.rate(10.5) == pytest.approx(275)
    pace.answered(0, 50, 11.0)
    assert pace.rate(11.0) == pytest.approx(150)


def test_a_little_too_much_costs_little() -> None:
    pace = AdaptivePace(500)
    for tick in range(10):
        pace.answered(48, 0, 10 + tick / 10)
    pace.answered(40, 10, 11.0)
    assert pace.rate(11.0) == 450


def test_what_was_taken_is_what_is_sent_next() -> None:
    pace = AdaptivePace(1_000)
    pace.answered(700, 0, 10.0)
    pace.answered(0, 300, 10.9)
    assert pace.rate(10.9) == pytest.approx(700)


def test_half_of_the_second_before_counts_and_older_ones_do_not() -> None:
    pace = AdaptivePace(1_000)
    pace.answered(800, 0, 10.0)
    pace.answered(0, 100, 11.5)
    assert pace.rate(11.5) == pytest.approx(800)
    pace = AdaptivePace(1_000)
    pace.answered(800, 0, 10.0)
    pace.answered(0, 100, 12.5)
    assert pace.rate(12.5) == 500


def test_a_carrier_that_bears_half_the_contract_is_given_nearly_that() -> None:
    pace, capacity = AdaptivePace(1_000), 500
    taken, offered = 0.0, 0.0
    for tick in range(600):
        now = 50 + tick / 10
        sent = pace.rate(now) / 10
        ok = min(sent, capacity / 10)
        pace.answered(int(ok), int(sent - ok), now)
        taken += ok
        offered += sent
    assert taken >= 0.85 * capacity * 60
    assert offered <= 1.3 * capacity * 60


def test_ten_seconds_after_the_last_throttling_it_is_the_contract_again() -> None:
    pace = AdaptivePace(500)
    for second in range(61):
        pace.answered(0, 500, float(second))
    assert pace.rate(60.0) < 0.2 * 500
    assert pace.rate(65.0) < 0.9 * 500
    assert pace.rate(70.0) >= 0.95 * 500


def test_another_contract_holds_at_once() -> None:
    pace = AdaptivePace(500)
    pace.answered(0, 1, 10.0)
    pace.set_contract(100)
    assert pace.rate(10.0) == 50
    pace.set_contract(0)
    assert pace.rate(10.0) == 0
    with pytest.raises(ValueError, match="rate of -1"):
        pace.set_contract(-1)
    with pytest.raises(ValueError, match="rate of nan"):
        AdaptivePace(float("nan"))


def test_an_unlimited_account_is_only_paused() -> None:
    pace = AdaptivePace(0)
    assert pace.paused_until(5.0) == 5.0
    pace.answered(100, 1, 5.0)
    assert pace.rate(5.0) == 0
    assert pace.paused_until(5.0) == 5.0 + THROTTLE_PAUSE_S
    pace.answered(0, 1, 5.4)
    assert pace.paused_until(5.4) == 5.0 + THROTTLE_PAUSE_S
    assert pace.paused_until(6.0) == 6.0
    limited = AdaptivePace(10)
    limited.answered(0, 1, 5.0)
    assert limited.paused_until(5.0) == 5.0


def test_what_the_pace_tells() -> None:
    pace = AdaptivePace(500)
    assert pace.statistics(1.0).last_cut_at is None
    pace.answered(0, 1, 5.0)
    told = pace.statistics(5.0)
    assert (told.rate, told.contract_rate, told.cuts, told.last_cut_at) == (250, 500, 1, 5.0)


ANSWERS = st.tuples(
    st.floats(0, 2), st.integers(0, 500), st.integers(0, 100), st.none() | st.floats(0.01, 5_000)
)


@given(st.floats(0.01, 5_000), st.lists(ANSWERS, max_size=80), st.floats(0, 1e6))
def test_never_above_the_contract_never_without_a_probe_and_back_in_time(
    contract: float, answers: list[tuple[float, int, int, float | None]], now: float
) -> None:
    pace = AdaptivePace(contract)
    last_cut: float | None = None
    for step, ok, throttled, other in answers:
        now += step
        if other is not None:
            contract = other
            pace.set_contract(contract)
        cuts = pace.statistics(now).cuts
        pace.answered(ok, throttled, now)
        rate = pace.rate(now)
        assert min(contract, 1.0, SHARE_MIN * contract) <= rate <= contract
        assert rate >= min(1.0, contract)
        if pace.statistics(now).cuts > cuts:
            assert throttled
            assert last_cut is None or now - last_cut >= CUT_PAUSE_S - 1e-9
            last_cut = now
    assert pace.rate(now + RECOVERY_S) >= 0.95 * contract


# -- window, rate and pacer together -------------------------------------------------------------------


@pytest.mark.parametrize("contract", [20, 200, 2_000])
def test_against_a_carrier_that_throttles_for_a_while_and_recovers(contract: int) -> None:
    """An SMSC that bears a fifth for 20 s: never above the contract in any second, and 10 s after it is well
    95 % of the contract is in use, over one bind whose answers take 100 ms.
    """
    pace, pacer, window = AdaptivePace(contract), Pacer(contract), SendWindow(contract)
    well_at, end = 120.0, 140.0
    on_the_way: deque[tuple[float, bool]] = deque()
    sent: list[tuple[float, int]] = []
    taken: deque[tuple[float, int]] = deque()
    unanswered, taken_last_second, refused_at = 0, 0, 0.0
    for tick in range(int((end - 100.0) * 100)):
        now = 100.0 + tick / 100
        ok = throttled = 0
        while on_the_way and on_the_way[0][0] <= now:
            unanswered -= 1
            if on_the_way.popleft()[1]:
                ok += 1
            else:
                throttled += 1
        if ok or throttled:
            pace.answered(ok, throttled, now)
            window.answered(ok, now, throttled=throttled, round_trip_s=0.1)
        pacer.set_rate(pace.rate(now), now)
        parts = min(pacer.available(now), window.window - unanswered)
        if parts <= 0:
            continue
        pacer.took(parts, now)
        sent.append((now, parts))
        while taken and taken[0][0] <= now - 1:
            taken_last_second -= taken.popleft()[1]
        bears = contract // 5 if now < well_at else contract
        fits = max(0, min(parts, bears - taken_last_second))
        if fits < parts:
            refused_at = now
        taken.append((now, fits))
        taken_last_second += fits
        unanswered += parts
        on_the_way.extend((now + 0.1, part < fits) for part in range(parts))
    assert refused_at < well_at, "the contract itself is never throttled"
    for begin, _ in sent:
        assert sum(parts for at, parts in sent if begin <= at < begin + 0.9999) <= contract
    ill = sum(parts for at, parts in sent if 105 <= at < 120) / 15
    assert ill <= 0.35 * contract, "it yields"
    assert ill >= 0.15 * contract, "and does not give up"
    well = sum(parts for at, parts in sent if 130 <= at < 140) / 10
    assert well >= 0.95 * contract
