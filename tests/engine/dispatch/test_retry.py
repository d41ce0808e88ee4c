"""What follows a command_status, by the table of protocol.md 1.12."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.codecs import constants as c
from todoke.engine.dispatch import retry
from todoke.engine.dispatch.retry import CLASSES, StatusClass, decide

MAX = 8


@pytest.mark.parametrize("command_status", sorted(status for status in CLASSES if status))
@pytest.mark.parametrize("attempts", [0, 1, 6, 7, 50])
def test_every_class_keeps_its_word(command_status: int, attempts: int) -> None:
    decision = decide(command_status, attempts, MAX, 0.5)
    match decision.status_class:
        case StatusClass.THROTTLE | StatusClass.SESSION:
            assert not decision.burns or command_status == c.ESME_RINVCMDLEN
        case StatusClass.BUSY:
            assert (decision.after_s is None) == (attempts + 1 >= MAX)
        case StatusClass.ROUTE:
            assert (decision.after_s, decision.elsewhere) == (None, True)
        case StatusClass.PERMANENT | StatusClass.PERMANENT_DESTINATION:
            assert (decision.after_s, decision.elsewhere) == (None, False)
        case StatusClass.RETRY_ONCE:
            assert (decision.after_s is None) == (attempts > 0)
            assert decision.elsewhere


def test_throttling_is_tried_again_about_a_second_later_for_ever() -> None:
    for attempts in (0, 100):
        decision = decide(c.ESME_RTHROTTLED, attempts, MAX, 0.5)
        assert decision == (StatusClass.THROTTLE, 1.0, False, False)


def test_a_session_fault_sends_again_and_burns_nothing() -> None:
    decision = decide(c.ESME_RINVBNDSTS, 100, MAX, 0.5)
    assert decision.after_s is not None
    assert not decision.burns


def test_a_pdu_the_smsc_cannot_read_is_sent_once_more_and_then_is_final() -> None:
    first = decide(c.ESME_RINVCMDLEN, 0, MAX, 0.5)
    assert first.after_s is not None
    assert first.burns
    assert decide(c.ESME_RINVCMDLEN, 1, MAX, 0.5).after_s is None


def test_busy_backs_off_to_five_minutes() -> None:
    pauses = [decide(c.ESME_RSYSERR, attempts, 100, 0.5).after_s for attempts in range(20)]
    assert pauses[:4] == [2.0, 4.0, 8.0, 16.0]
    assert pauses[-1] == retry.BUSY_LONGEST_S


def test_what_nobody_knows_is_tried_once_more() -> None:
    assert 0x4FF not in CLASSES
    assert decide(0x4FF, 0, MAX, 0.5).after_s is not None
    assert decide(0x4FF, 1, MAX, 0.5) == (StatusClass.RETRY_ONCE, None, True, True)


def test_one_attempt_is_one_attempt() -> None:
    for command_status in (c.ESME_RSYSERR, c.ESME_RSUBMITFAIL, 0x400):
        assert decide(command_status, 0, 1, 0.0).after_s is None


@given(
    st.integers(1, 0xFFFFFFFF),
    st.integers(0, 2_000),
    st.integers(1, 1_000),
    st.floats(0, 1, exclude_max=True),
)
def test_any_status_has_a_decision_with_a_bounded_pause(
    command_status: int, attempts: int, attempts_max: int, jitter: float
) -> None:
    decision = decide(command_status, attempts, attempts_max, jitter)
    assert decision.after_s is None or 0 < decision.after_s <= retry.BUSY_LONGEST_S * 1.25
    assert decision.status_class is CLASSES.get(command_status, StatusClass.RETRY_ONCE)
