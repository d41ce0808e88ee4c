"""What follows a command_status, by the table of protocol.md 1.12."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.codecs import constants as c
from todoke.engine.dispatch import retry
from todoke.engine.dispatch.retry import CLASSES, DEFAULT_CLASSES, StatusClass, decide, parse_classes

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


# -- classes by carrier --------------------------------------------------------------------------------


THROTTLE, BUSY, SESSION, ROUTE = (
    StatusClass.THROTTLE,
    StatusClass.BUSY,
    StatusClass.SESSION,
    StatusClass.ROUTE,
)
PERMANENT, DESTINATION, ONCE = (
    StatusClass.PERMANENT,
    StatusClass.PERMANENT_DESTINATION,
    StatusClass.RETRY_ONCE,
)

# The whole table, written down a second time from the specification's list.
EXPECTED = {
    **dict.fromkeys((0x58,), THROTTLE),
    **dict.fromkeys((0x08, 0x14, 0x64, 0x102), BUSY),
    **dict.fromkeys((0x02, 0x04), SESSION),
    **dict.fromkeys((0x03, 0x06, 0x07, 0x0A, 0x15, 0x42, 0x43, 0x48, 0x49, 0x50, 0x51, 0x54), ROUTE),
    **dict.fromkeys((0x61, 0x62, 0xC0, 0xC1, 0xC2, 0xC3, 0xC4, 0x100, 0x101, 0x104, 0x105, 0x106), ROUTE),
    **dict.fromkeys((0x01, 0x33, 0x34, 0x40, 0x44, 0x55, 0x63, 0x65, 0x66, 0x103), PERMANENT),
    **dict.fromkeys((0x0B,), DESTINATION),
}


def test_the_default_table_has_every_status_of_the_specification_and_every_other_is_tried_once_more() -> None:
    assert {status: DEFAULT_CLASSES.of(status) for status in range(1, 0x600)} == {
        status: EXPECTED.get(status, ONCE) for status in range(1, 0x600)
    }


@pytest.mark.parametrize(
    ("reason", "expected"),
    [(None, ONCE), (0, BUSY), (1, DESTINATION), (2, DESTINATION), (3, BUSY), (4, ONCE), (255, ONCE)],
)
def test_a_failed_delivery_is_told_by_its_reason(reason: int | None, expected: StatusClass) -> None:
    decision = decide(c.ESME_RDELIVERYFAILURE, 0, MAX, 0.5, delivery_failure_reason=reason)
    assert decision.status_class is expected


def test_a_reason_says_nothing_about_another_status() -> None:
    assert DEFAULT_CLASSES.of(c.ESME_RSYSERR, 1) is BUSY
    assert DEFAULT_CLASSES.of(0x4FF, 1) is ONCE


def test_a_carrier_may_say_otherwise() -> None:
    classes = parse_classes(
        {
            "0x45": "busy",
            "esme_rinvdstadr": "route",
            "88": "permanent",
            "0x400-0x4FF": "route",
            "0x410": "permanent-destination",
            "ESME_RINVOPTPARSTREAM": "Permanent",
            "0xFE": "throttle",
        }
    )
    assert classes.of(c.ESME_RSUBMITFAIL) is BUSY
    assert classes.of(c.ESME_RINVDSTADR) is ROUTE
    assert classes.of(c.ESME_RTHROTTLED) is PERMANENT
    assert classes.of(0x3FF) is ONCE
    assert (classes.of(0x400), classes.of(0x4FF), classes.of(0x500)) == (ROUTE, ROUTE, ONCE)
    assert classes.of(0x410) is DESTINATION
    assert classes.of(0xC0) is PERMANENT
    assert classes.of(0xFE, 1) is THROTTLE
    assert classes.of(c.ESME_RSYSERR) is BUSY, "what it leaves out stays"
    assert DEFAULT_CLASSES.of(c.ESME_RSUBMITFAIL) is ONCE, "one carrier's table is no other's"
    assert decide(0x410, 0, MAX, 0.5, classes) == (DESTINATION, None, True, False)


def test_a_single_code_wins_whichever_is_written_first() -> None:
    for words in ({"0x410": "busy", "0x400-0x4FF": "route"}, {"0x400-0x4FF": "route", "0x410": "busy"}):
        assert parse_classes(words).of(0x410) is BUSY


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ({"0x58": "slow"}, ("'0x58'", "'slow'", "throttle, busy, session, route, permanent")),
        ({"ESME_RNOTHING": "busy"}, ("'ESME_RNOTHING'", "ESME_RTHROTTLED")),
        ({"": "busy"}, ("''", "0x58")),
        ({"0x": "busy"}, ("'0x'", "0x58")),
        ({"58-": "busy"}, ("'58-'", "0x400-0x4FF")),
        ({"ESME_ROK": "busy"}, ("'ESME_ROK'", "0x1 to 0xFFFFFFFF")),
        ({"0": "busy"}, ("'0'", "0x1")),
        ({"-1": "busy"}, ("'-1'", "0x58")),
        ({"0x100000000": "busy"}, ("'0x100000000'", "0xFFFFFFFF")),
        ({"0x4FF-0x400": "busy"}, ("'0x4FF-0x400'", "ranges")),
        ({"0x1-0x100000": "busy"}, ("'0x1-0x100000'", "4096")),
        ({"0x58": "busy", "ESME_RTHROTTLED": "route"}, ("'ESME_RTHROTTLED'", "'0x58'")),
        ({"0x400-0x410": "busy", "0x410-0x420": "route"}, ("'0x410-0x420'", "0x410")),
    ],
)
def test_a_wrong_entry_is_named_with_what_is_allowed(words: dict[str, str], names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        parse_classes(words)
    said = str(caught.value)
    assert "\n" not in said
    assert [name for name in names if name not in said] == []


@given(st.dictionaries(st.integers(1, 0xFFFFFFFF), st.sampled_from(StatusClass), max_size=20))
def test_what_is_written_is_what_is_read(overrides: dict[int, StatusClass]) -> None:
    classes = parse_classes({hex(code): str(found) for code, found in overrides.items()})
    assert classes.overrides == overrides
    assert all(classes.of(code) is found for code, found in overrides.items())


@given(st.dictionaries(st.text(max_size=12), st.text(max_size=12) | st.sampled_from(StatusClass), max_size=3))
def test_any_configuration_is_classes_or_one_line(words: dict[str, str]) -> None:
    said = ""
    try:
        parse_classes(words)
    except ValueError as error:
        said = str(error)
    assert "\n" not in said
