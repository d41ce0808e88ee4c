"""Sequence numbers over the wrap, and time-outs that are never early."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from todoke.codecs.constants import SEQUENCE_NUMBER_MAX
from todoke.engine.session.window import NEVER, Window


def _send(window: Window, tokens: list[object], now: float) -> list[int]:
    numbers = list(window.allocate(len(tokens)))
    window.tokens.update(zip(numbers, tokens, strict=True))
    window.sent(numbers[0], numbers[-1], now)
    return numbers


def test_sequence_numbers_begin_at_1_and_rise() -> None:
    window = Window(30.0, 10)
    assert list(window.allocate(3)) == [1, 2, 3]
    assert list(window.allocate(1)) == [4]


def test_after_the_greatest_comes_1() -> None:
    window = Window(30.0, 10, SEQUENCE_NUMBER_MAX - 1)
    assert list(window.allocate(4)) == [SEQUENCE_NUMBER_MAX - 1, SEQUENCE_NUMBER_MAX, 1, 2]


def test_the_wrap_falls_between_two_calls() -> None:
    window = Window(30.0, 10, SEQUENCE_NUMBER_MAX)
    assert list(window.allocate(1)) == [SEQUENCE_NUMBER_MAX]
    window.tokens[1] = "in flight"
    assert list(window.allocate(2)) == [2, 3]


def test_numbers_in_use_are_skipped_whatever_uses_them() -> None:
    window = Window(30.0, 10, SEQUENCE_NUMBER_MAX)
    window.tokens[1] = "submit"
    window.requests[2] = (3, "query")
    window.control[3] = 0x15
    window.late[4] = "given up"
    assert list(window.allocate(3)) == [SEQUENCE_NUMBER_MAX, 5, 6]


def test_a_time_out_over_the_wrap_takes_what_was_sent_then() -> None:
    window = Window(32.0, 10, SEQUENCE_NUMBER_MAX)
    _send(window, ["a", "b"], 0.0)
    _send(window, ["c"], 5.0)
    assert window.expire(32.9) == []
    assert sorted(window.expire(33.0)) == ["a", "b"]
    assert window.late == {SEQUENCE_NUMBER_MAX: "a", 1: "b"}
    assert len(window) == 1


def test_nothing_outstanding_has_no_deadline() -> None:
    window = Window(30.0, 10)
    assert window.deadline() == NEVER
    (number,) = _send(window, ["a"], 0.0)
    assert window.deadline() == 31.0
    del window.tokens[number]
    assert window.deadline() == NEVER
    _send(window, ["b"], 50.0)
    assert window.deadline() == 81.0


def test_late_tokens_are_limited_and_the_oldest_go() -> None:
    window = Window(1.0, 3)
    _send(window, ["a", "b", "c", "d", "e"], 0.0)
    assert len(window.expire(100.0)) == 5
    assert list(window.late.values()) == ["c", "d", "e"]


def test_other_requests_time_out_too() -> None:
    window = Window(1.0, 3)
    (number,) = window.allocate(1)
    window.requests[number] = (3, "query")
    window.sent(number, number, 0.0)
    assert window.expire(2.0) == ["query"]


def test_unsent_are_told_apart_over_the_wrap() -> None:
    window = Window(1.0, 3, SEQUENCE_NUMBER_MAX - 1)
    _send(window, ["sent"], 0.0)
    numbers = _send(window, ["queued", "queued too"], 0.0)
    assert window.take_all(numbers[0]) == (["sent"], ["queued", "queued too"])
    assert len(window) == 0


@given(
    st.lists(st.tuples(st.floats(0.0, 3.0), st.integers(1, 4)), min_size=1, max_size=40),
    st.floats(0.5, 40.0),
)
def test_a_request_is_given_up_never_early_and_hardly_late(
    sends: list[tuple[float, int]], timeout_s: float
) -> None:
    window = Window(timeout_s, 1000, SEQUENCE_NUMBER_MAX - 20)
    sent_at: dict[object, float] = {}
    now = 0.0
    given_up: dict[object, float] = {}

    def pass_time(until: float) -> None:
        while (deadline := window.deadline()) <= until:
            given_up.update(dict.fromkeys(window.expire(deadline), deadline))

    for delay_s, n in sends:
        now += delay_s
        pass_time(now)
        tokens: list[object] = [len(sent_at) + i for i in range(n)]
        _send(window, tokens, now)
        sent_at.update(dict.fromkeys(tokens, now))
    pass_time(now + 100.0)
    assert given_up.keys() == sent_at.keys()
    for token, at in given_up.items():
        waited_s = at - sent_at[token]
        assert timeout_s - 1e-9 <= waited_s <= timeout_s + window.granularity_s + 1e-9
