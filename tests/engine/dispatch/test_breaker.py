"""When a carrier gets no work, and when it gets some again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.engine.dispatch.breaker import TABLE, Breaker, BreakerRules, Event, State
from todoke.engine.dispatch.retry import StatusClass

BUSY, ROUTE, THROTTLE, ONCE = (
    StatusClass.BUSY,
    StatusClass.ROUTE,
    StatusClass.THROTTLE,
    StatusClass.RETRY_ONCE,
)
CLOSED, OPEN, HALF_OPEN = State.CLOSED, State.OPEN, State.HALF_OPEN
J = 0.5


def working(now: float = 0.0, **rules: float) -> Breaker:
    """A breaker with two binds up."""
    breaker = Breaker(now, BreakerRules(**rules))  # type: ignore[arg-type]
    breaker.binds(2, now, J)
    return breaker


def opened(now: float = 10.0, **rules: float) -> Breaker:
    breaker = working(**rules)
    assert breaker.answers(0, {BUSY: 20}, now, J) is OPEN
    return breaker


def test_the_table_closes_only_by_way_of_half_open() -> None:
    assert Event.PROVED not in TABLE[OPEN]
    assert {State.CLOSED} == {
        after for row in TABLE.values() for e, after in row.items() if e is Event.PROVED
    }
    assert set(TABLE) == set(State)


# -- opening -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status_class", [StatusClass.BUSY, StatusClass.SESSION, StatusClass.RETRY_ONCE])
def test_half_of_the_answers_being_faults_opens_it(status_class: StatusClass) -> None:
    breaker = working()
    assert breaker.answers(51, {status_class: 49}, 10.0, J) is CLOSED
    assert breaker.answers(0, {status_class: 2}, 10.0, J) is OPEN
    assert breaker.reason == "51 of 102 answers due in 10 s were faults or did not come"


@pytest.mark.parametrize("status_class", [c for c in StatusClass if c not in (BUSY, ROUTE, ONCE, "session")])
def test_refusals_of_a_message_and_throttling_never_do(status_class: StatusClass) -> None:
    breaker = working()
    assert breaker.answers(0, {status_class: 10_000}, 10.0, J) is CLOSED


def test_a_refused_sender_does_not_but_a_refused_account_does() -> None:
    breaker = working()
    assert breaker.answers(20, {ROUTE: 80}, 10.0, J) is CLOSED
    assert breaker.answers(0, {ROUTE: 120}, 11.0, J) is OPEN
    assert "refused the route" in breaker.reason


def test_few_samples_prove_nothing_and_old_ones_are_forgotten() -> None:
    breaker = working()
    assert breaker.answers(0, {BUSY: 19}, 10.0, J) is CLOSED
    assert breaker.answers(0, {BUSY: 19}, 21.0, J) is CLOSED
    assert breaker.answers(0, {BUSY: 1}, 22.0, J) is OPEN


def test_a_quarter_of_time_outs_is_too_many_and_two_per_cent_is_not() -> None:
    breaker = working()
    for second in range(10):
        breaker.answers(98, {}, 10.0 + second, J)
        assert breaker.timed_out(2, 10.0 + second, J) is CLOSED
    assert breaker.timed_out(320, 19.5, J) is OPEN
    assert "did not come" in breaker.reason


def test_no_bind_for_ten_seconds_opens_it_by_time_alone() -> None:
    breaker = working()
    breaker.binds(0, 50.0, J)
    assert breaker.next_change_at(50.0) == 60.0
    assert breaker.state(59.9) is CLOSED
    assert breaker.state(60.0) is OPEN
    assert breaker.reason == "no bind for 10 s"
    assert breaker.next_change_at(60.0) is None, "only a bind can help"


def test_a_rebind_in_time_opens_nothing() -> None:
    breaker = working()
    for second in range(0, 100, 9):
        breaker.binds(0, float(second), J)
        breaker.binds(1, second + 8.0, J)
        assert breaker.state(second + 8.5) is CLOSED


def test_a_carrier_that_never_came_up_is_given_its_time_from_the_start() -> None:
    breaker = Breaker(1_000.0)
    assert breaker.state(1_009.0) is CLOSED
    assert breaker.state(1_010.0) is OPEN


def test_receipts_that_fail_more_than_usual_open_it() -> None:
    breaker = working()
    now = 0.0
    for _ in range(60):
        now += 10
        assert breaker.receipts(90, 10, now, J) is CLOSED
    assert breaker.statistics(now).usual == pytest.approx(0.9)
    seconds = 0
    while breaker.receipts(0, 100, now, J) is CLOSED:
        now += 10
        seconds += 10
    assert seconds <= 60
    assert "usual are 90 %" in breaker.reason


def test_a_fast_carriers_failure_is_judged_before_it_is_usual() -> None:
    breaker = working()
    now = 0.0
    for _ in range(300):
        now += 1
        breaker.receipts(475, 25, now, J)
    for _ in range(119):
        now += 1
        breaker.receipts(300, 200, now, J)
    assert breaker.state(now) is OPEN


def test_a_carrier_whose_receipts_always_fail_half_is_not_opened_for_it() -> None:
    breaker = working()
    for second in range(2_000):
        assert breaker.receipts(5, 5, float(second), J) is CLOSED
    assert breaker.statistics(2_000.0).usual == pytest.approx(0.5)


def test_few_receipts_prove_nothing() -> None:
    breaker = working()
    now = 0.0
    for _ in range(60):
        now += 10
        breaker.receipts(90, 10, now, J)
    now += 1_000
    assert breaker.receipts(0, 99, now, J) is CLOSED
    assert breaker.receipts(0, 1, now, J) is OPEN


def test_what_was_judged_is_not_judged_again_after_it_closed() -> None:
    breaker = opened(10.0)
    breaker.state(11.0)
    assert breaker.answers(10, {}, 11.0, J) is CLOSED
    assert breaker.answers(0, {BUSY: 19}, 11.5, J) is CLOSED


def test_a_few_hundred_receipts_are_not_usual_yet() -> None:
    breaker = working()
    breaker.receipts(499, 0, 10.0, J)
    assert breaker.receipts(0, 200, 500.0, J) is CLOSED


def test_a_new_carrier_has_no_usual() -> None:
    breaker = working()
    assert breaker.receipts(0, 5_000, 10.0, J) is CLOSED


# -- half open -----------------------------------------------------------------------------------------


def test_after_the_pause_a_few_are_tried_and_ten_good_answers_close_it() -> None:
    breaker = opened(10.0)
    assert breaker.probes(10.5) == 0
    assert breaker.next_change_at(10.5) == 11.0
    assert breaker.state(10.99) is OPEN
    assert breaker.state(11.0) is HALF_OPEN
    assert breaker.reason.startswith("trying again after: 20 of 20")
    assert breaker.probes(11.0) == 10
    breaker.probing(7, 11.0)
    assert breaker.probes(11.0) == 3
    assert breaker.answers(7, {THROTTLE: 3}, 11.1, J) is HALF_OPEN
    assert breaker.probes(11.1) == 10
    assert breaker.answers(2, {StatusClass.PERMANENT: 1}, 11.2, J) is CLOSED
    assert breaker.probes(11.2) is None
    assert breaker.reason == "working"


def test_faults_while_half_open_open_it_again_for_twice_as_long() -> None:
    breaker = opened(10.0)
    pauses: list[float] = []
    for _ in range(6):
        at = breaker.next_change_at(10.0)
        assert at is not None
        assert breaker.state(at) is HALF_OPEN
        assert breaker.answers(4, {BUSY: 4}, at, J) is HALF_OPEN
        assert breaker.answers(0, {BUSY: 1}, at, J) is OPEN
        again = breaker.next_change_at(at)
        assert again is not None
        pauses.append(again - at)
    assert pauses == pytest.approx([2, 4, 8, 10, 10, 10])
    assert breaker.statistics(0.0).opened == 7


def test_a_refused_sender_among_the_probes_does_not_open_it_a_refused_account_does() -> None:
    breaker = opened(10.0)
    breaker.state(20.0)
    assert breaker.answers(5, {ROUTE: 20}, 20.0, J) is HALF_OPEN
    breaker = opened(10.0)
    breaker.state(20.0)
    assert breaker.answers(0, {ROUTE: 10}, 20.0, J) is OPEN


def test_the_jitter_spreads_the_return() -> None:
    returns: list[float | None] = []
    for jitter in (0.0, 0.5, 0.999):
        breaker = working()
        breaker.answers(0, {BUSY: 20}, 10.0, jitter)
        returns.append(breaker.next_change_at(10.0))
    assert returns == pytest.approx([10.75, 11.0, 11.2495])


def test_a_calm_time_makes_the_next_pause_short_again() -> None:
    breaker = opened(10.0)
    breaker.state(20.0)
    breaker.answers(10, {}, 20.0, J)
    breaker.answers(0, {BUSY: 20}, 30.0, J)
    assert breaker.next_change_at(30.0) == 32.0
    breaker.state(40.0)
    breaker.answers(10, {}, 40.0, J)
    breaker.answers(0, {BUSY: 20}, 340.0, J)
    assert breaker.next_change_at(340.0) == 341.0


def test_it_stays_open_while_no_bind_is_up_and_tries_at_once_when_one_is() -> None:
    breaker = working()
    breaker.binds(0, 50.0, J)
    assert breaker.state(60.0) is OPEN
    assert breaker.state(500.0) is OPEN
    assert breaker.binds(1, 600.0, J) is HALF_OPEN


def test_time_outs_of_what_was_sent_before_it_opened_prove_nothing_afterwards() -> None:
    breaker = opened(10.0)
    assert breaker.state(20.0) is HALF_OPEN
    assert breaker.timed_out(100, 40.0, J) is HALF_OPEN
    assert breaker.timed_out(5, 50.0, J) is OPEN


def test_probes_to_a_number_whose_queue_is_full_are_answered_all_the_same() -> None:
    breaker = opened()
    breaker.probing(breaker.probes(20.0) or 0, 20.0)
    assert breaker.probes(20.0) == 0
    breaker.answers(0, {}, 20.1, J, full=10)
    assert breaker.state(20.1) is HALF_OPEN
    assert breaker.probes(20.1) == 10


def test_when_probes_are_given_up_is_said_in_advance() -> None:
    """Nothing else may happen meanwhile that has anybody look."""
    breaker = opened()
    breaker.probing(breaker.probes(20.0) or 0, 20.0)
    at = breaker.next_change_at(20.0)
    assert at == 80.0
    assert breaker.probes(at) == 10
    assert breaker.next_change_at(at) is None


def test_probes_that_a_lost_bind_took_along_do_not_count_for_ever() -> None:
    breaker = opened(10.0)
    breaker.state(20.0)
    breaker.probing(10, 20.0)
    assert breaker.probes(20.0) == 0
    breaker.binds(1, 21.0, J)
    assert breaker.probes(21.0) == 10
    breaker.probing(10, 21.0)
    assert breaker.probes(80.0) == 0
    assert breaker.probes(82.0) == 10


def after_bad_receipts() -> tuple[Breaker, float]:
    breaker = working()
    now = 0.0
    for _ in range(60):
        now += 10
        breaker.receipts(90, 10, now, J)
    while breaker.receipts(0, 100, now, J) is CLOSED:
        now += 10
    now += 20
    assert breaker.state(now) is HALF_OPEN
    return breaker, now


def test_what_bad_receipts_opened_good_receipts_close() -> None:
    breaker, now = after_bad_receipts()
    assert breaker.answers(50, {}, now, J) is HALF_OPEN, "answers were good all the time"
    assert breaker.receipts(5, 0, now, J) is HALF_OPEN
    assert breaker.receipts(4, 1, now, J) is CLOSED


def test_what_bad_receipts_opened_bad_receipts_keep_open() -> None:
    breaker, now = after_bad_receipts()
    breaker.answers(50, {}, now, J)
    assert breaker.receipts(3, 7, now, J) is OPEN
    assert breaker.reason == "7 of 10 receipts of the probes failed"


def test_when_no_receipts_come_at_all_answers_suffice_after_a_while() -> None:
    breaker, now = after_bad_receipts()
    breaker.answers(50, {}, now, J)
    assert breaker.next_change_at(now) == now + 300
    assert breaker.state(now + 299) is HALF_OPEN
    assert breaker.state(now + 300) is CLOSED


# -- always --------------------------------------------------------------------------------------------

HAPPENINGS = st.tuples(
    st.floats(0, 20),
    st.sampled_from(["answers", "timed_out", "binds", "receipts", "probe", "time"]),
    st.integers(0, 40),
    st.sampled_from(StatusClass),
    st.integers(0, 60),
    st.floats(0, 1, exclude_max=True),
)


@given(st.lists(HAPPENINGS, max_size=100))
def test_whatever_happens_it_follows_the_table_and_says_when_to_look_again(
    happenings: list[tuple[float, str, int, StatusClass, int, float]],
) -> None:
    breaker = Breaker(0.0)
    now, state = 0.0, breaker.state(0.0)
    for step, kind, good, status_class, bad, jitter in happenings:
        change_at = breaker.next_change_at(now)
        later = now + step
        if change_at is None or later < change_at:
            assert breaker.state(later) is state, "time alone changes nothing before the moment told"
        elif change_at > now:
            changed = breaker.state(change_at)
            assert changed is not state
            assert changed in TABLE[state].values()
            state = changed
        now = later
        before = breaker.state(now)
        match kind:
            case "answers":
                after = breaker.answers(good, {status_class: bad}, now, jitter)
            case "timed_out":
                after = breaker.timed_out(bad, now, jitter)
            case "binds":
                after = breaker.binds(good % 3, now, jitter)
            case "receipts":
                after = breaker.receipts(good, bad, now, jitter)
            case "probe":
                breaker.probing(min(good, breaker.probes(now) or 0), now)
                after = breaker.state(now)
            case _:
                after = breaker.state(now)
        assert after is before or after in TABLE[before].values()
        probes = breaker.probes(now)
        assert (probes is None) == (after is CLOSED)
        assert probes == 0 if after is OPEN else True
        assert breaker.reason
        assert "\n" not in breaker.reason
        state = after
    # However it stands, a carrier that is well again is closed soon.
    breaker.binds(2, now, 0.5)
    for _ in range(400):
        now += 1
        if breaker.probes(now) != 0:
            breaker.answers(10, {}, now, 0.5)
            breaker.receipts(10, 0, now, 0.5)
    assert breaker.state(now) is CLOSED
