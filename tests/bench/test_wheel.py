from __future__ import annotations

import math

from hypothesis import example, given
from hypothesis import strategies as st
from todoke.bench.wheel import TICK_S, TimerWheel

deadlines = st.lists(st.floats(min_value=0.0, max_value=1e6), max_size=40)


@given(deadlines, st.floats(min_value=0.0, max_value=1e6))
def test_an_item_is_due_at_its_deadline_and_at_most_a_tick_later(items: list[float], now: float) -> None:
    wheel: TimerWheel[float] = TimerWheel()
    for item in items:
        wheel.add(item, item)
    due = wheel.due(now)
    assert all(item <= now + 1e-6 for item in due)
    assert all(item > now - TICK_S - 1e-6 for item in items if item not in due)
    assert len(wheel) == len(items) - len(due)


@given(deadlines)
@example([1.001])  # 1001 / 1000.0 * 1000.0 < 1001
def test_asking_at_the_next_deadline_always_gives_something(items: list[float]) -> None:
    wheel: TimerWheel[float] = TimerWheel()
    for item in items:
        wheel.add(item, item)
    taken: list[float] = []
    while (deadline := wheel.next_deadline()) < math.inf:
        due = wheel.due(deadline)
        assert due
        taken += due
    assert sorted(taken) == sorted(items)


def test_items_of_one_tick_keep_their_order() -> None:
    wheel: TimerWheel[str] = TimerWheel()
    wheel.extend(1.0, ["a", "b"])
    wheel.add(0.5, "first")
    wheel.add(1.0, "c")
    assert wheel.due(2.0) == ["first", "a", "b", "c"]
    assert wheel.due(2.0) == []
    assert wheel.next_deadline() == math.inf
