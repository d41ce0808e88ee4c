"""The engine's clocks, and a date that steps while a node sends, holds and leases (fault 42)."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
import trio
import trio.testing
from todoke.codecs import constants as c
from todoke.engine.clock import STEP_BELIEVED_S, SystemClock
from todoke.engine.ledger.memory_store import MemoryStore
from todoke.engine.messages import Valid
from todoke_tests_kit import NUMBER, WALL_S, House, Machine, node_config

HOUR_S = 3_600.0
HOUR_EACH_WAY = pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S])


class Date:
    """A machine's date, which a test sets: `by_s` off the true one."""

    def __init__(self) -> None:
        self.true_s = 0.0
        self.by_s = 0.0

    def wall(self) -> float:
        return WALL_S + self.true_s + self.by_s

    def steady(self) -> float:
        return self.true_s

    def clock(self) -> SystemClock:
        return SystemClock(self.wall, self.steady)


def test_the_systems_clocks_are_the_machines() -> None:
    import time

    clock = SystemClock()
    assert abs(clock.wall() - time.time()) < 1
    assert clock.monotonic() <= time.monotonic() <= clock.monotonic()


@HOUR_EACH_WAY
def test_a_step_that_is_taken_back_is_never_followed(step_s: float) -> None:
    date = Date()
    clock = date.clock()
    date.by_s = step_s
    for second in range(int(STEP_BELIEVED_S)):
        date.true_s = float(second)
        assert clock.wall() == WALL_S + date.true_s
    date.by_s = 0.0
    assert clock.wall() == WALL_S + date.true_s
    date.by_s = step_s
    date.true_s += 10
    assert clock.wall() == WALL_S + date.true_s, "a second one has to stand as long as the first"


@HOUR_EACH_WAY
def test_a_step_that_stands_is_believed(step_s: float) -> None:
    date = Date()
    clock = date.clock()
    date.by_s = step_s
    clock.wall()
    date.true_s = STEP_BELIEVED_S
    clock.wall()
    assert clock.wall() == date.wall()


def test_one_step_after_another_is_believed_when_the_last_has_stood() -> None:
    date = Date()
    clock = date.clock()
    for number in range(10):
        date.by_s += HOUR_S
        date.true_s += STEP_BELIEVED_S - 1
        assert clock.wall() == WALL_S + date.true_s, number
    date.true_s += STEP_BELIEVED_S
    clock.wall()
    assert clock.wall() == date.wall()


def test_small_corrections_and_a_leap_second_are_followed_at_once() -> None:
    date = Date()
    clock = date.clock()
    for correction_s in (0.01, -0.5, -1.0, 1.9):
        date.by_s += correction_s
        assert clock.wall() == pytest.approx(date.wall())


class EngineClock:
    """Virtual time under a date that steps."""

    def __init__(self, date: Date) -> None:
        self._system = SystemClock(date.wall, anyio.current_time)

    def monotonic(self) -> float:
        return anyio.current_time()

    def wall(self) -> float:
        return self._system.wall()


class TrioDate(Date):
    """The same over virtual time."""

    def wall(self) -> float:
        return WALL_S + trio.current_time() + self.by_s


Story = Callable[[House, TrioDate], Awaitable[None]]


def play(story: Story, *, intake: dict[str, Any] | None = None, **settings: Any) -> None:
    """One node, whose message store lives on the same machine: its leases run by the date that steps."""

    async def main() -> None:
        date = TrioDate()
        store = MemoryStore(rng=random.Random(1), wall=date.wall)
        async with trio.open_nursery() as nursery:
            house = House(node_config({"lease_s": 10.0, **settings}, intake=intake), store, nursery)
            house.clock = EngineClock(date)
            await house.open()
            await story(house, date)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def at_ms(after_s: float) -> int:
    return int((WALL_S + trio.current_time() + after_s) * 1000)


@HOUR_EACH_WAY
def test_a_date_that_is_wrong_for_a_while_changes_nothing(step_s: float) -> None:
    """A hold, a retry, a lease, a time to be sent, an expiry, the wait for a receipt: as long as ever."""

    async def story(house: House, date: TrioDate) -> None:
        bind = house.bind()
        await house.accept("held", "refused", "waits for its receipt")
        bind.answer(c.ESME_RSYSERR, first=1)
        bind.answer("W", first=1)
        bind.time_out()
        await house.settle()
        began = trio.current_time()
        date.by_s = step_s
        await house.accept(
            Valid(NUMBER, text="later", at_ms=at_ms(100)),
            Valid(NUMBER, text="expires", expires_ms=at_ms(1_800)),
        )
        assert [sent.text for sent in bind.seen[3:]] == ["expires"], "by the date it expired half an hour ago"
        bind.answer("X", first=0)
        await house.later(0.5)
        assert len(bind.seen) == 4, "nothing is early"
        bind.receipt("H")  # of the first copy of the one that is held
        await house.later(60)
        assert [sent.text for sent in bind.seen[4:]] == ["refused"]
        assert bind.seen[4].at - began >= 0.5, "the retry waits for its time"
        bind.answer("R")
        await house.later(60)
        assert [sent.text for sent in bind.seen[5:]] == ["later"]
        assert 100 <= bind.seen[5].at - began < 101
        bind.answer("L")
        assert await house.told() != [], "the one that was held is delivered"
        date.by_s = 0.0
        for id_ in ("W", "X", "R", "L"):
            bind.receipt(id_)
        await house.settle()
        told = await house.told()
        assert {event.state for event in told} == {"delivered"}
        assert len(told) == 4
        assert not any(event.possibly_doubled for event in told)
        assert house.carrier().slots.held == [1]
        await house.later(3_000)
        assert house.left_over() == {}

    play(story, hold_s=15, receipt_timeout_s=1_000)


@HOUR_EACH_WAY
def test_a_date_that_stays_what_it_became_loses_and_doubles_nothing(step_s: float) -> None:
    async def story(house: House, date: TrioDate) -> None:
        bind = house.bind()
        first = Valid(NUMBER, text="once", ref="order-1")
        (once,) = await house.accept(first)
        bind.answer("A")
        await house.accept("held", Valid(NUMBER, text="later", at_ms=at_ms(HOUR_S + 900)))
        bind.time_out()
        await house.settle()
        date.by_s = step_s
        for _ in range(70):
            await house.later(10)  # a node has always something to look at the clock for
            house.engine._clock.wall()
        assert house.engine._clock.wall() == date.wall()
        assert [sent.text for sent in bind.seen] == ["once", "held", "held"]
        bind.answer("B")
        (again,), refused = await house.submit(first)
        assert (again.message_id, again.duplicate, refused) == (once, True, [])
        bind.receipt("A")
        bind.receipt("B")
        assert {state for _, state in await house.states()} == {"delivered"}
        # By the new date the other is due: it was never lost, whichever way the date went.
        await house.later(3 * HOUR_S)
        assert [sent.text for sent in bind.seen[3:]] == ["later"]
        bind.answer("C")
        bind.receipt("C")
        assert [state for _, state in await house.states()] == ["delivered"]

    play(story, intake={"ref_ttl_s": 2 * HOUR_S}, hold_s=15)


@HOUR_EACH_WAY
def test_leases_that_end_with_a_step_of_the_stores_date_move_a_slot_and_double_nothing(step_s: float) -> None:
    """The other node may take the slot at once; the one that had it is fenced, and its late answers count."""

    async def main() -> None:
        date = TrioDate()
        store = MemoryStore(rng=random.Random(1), wall=date.wall)
        async with trio.open_nursery() as nursery:
            config = node_config({"lease_s": 10.0, "window": 4, "hold_s": 15})
            first, second = (House(config, store, nursery, Machine()) for _ in range(2))
            for house in (first, second):
                house.clock = EngineClock(date)
                await house.open()
            bind = first.bind()
            mids = await first.accept(*(f"text {number}" for number in range(8)))
            date.by_s = step_s
            bind.answer("A0", "A1")
            await first.settle()
            await first.later(1)
            if second.carrier().slots.held:
                bind.bound = False
            holder = second if second.carrier().slots.held else first
            sending = second.bind() if holder is second else bind
            number = 2
            for _ in range(40):
                while bind.waiting:
                    bind.answer(f"A{number}")
                    number += 1
                while sending.waiting:
                    sending.answer(f"A{number}")
                    number += 1
                await holder.later(1)
            seen = [each.text for each in bind.seen] + (
                [each.text for each in sending.seen] if sending is not bind else []
            )
            assert sorted(seen) == [f"text {number}" for number in range(8)], "each once"
            for each in range(number):
                sending.receipt(f"A{each}")
            await holder.settle()
            states = dict(await holder.states())
            assert states == dict.fromkeys(mids, "delivered")
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
