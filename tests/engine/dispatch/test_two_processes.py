"""Two processes decide about one message: its app hears of one end."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from todoke.engine.intake.errors import NodeUnavailable
from todoke_tests_kit import NUMBER, FakeBind, House, Valid
from todoke_tests_pair import LEASE_S, cable, held, play, sent


async def cancel(house: House, message_id: str) -> dict[str, Any]:
    return await house.node.cancel("default", message_id)


async def told_of(house: House, *message_ids: str) -> list[tuple[str, str]]:
    """What the app is told of these: (message_id, state)."""
    return [each for each in await house.states() if each[0] in message_ids]


async def in_hand_and_not_granted(first: House, second: House) -> tuple[FakeBind, str, str]:
    """The first process sends one part at a time, and has a block of two in hand of which none is granted."""
    mine = first.bind(window=1)
    await first.accept(*(f"before {number}" for number in range(8)))
    mid, other = await first.accept("cancelled", "stays")
    await second.open()
    await second.later(LEASE_S)
    run = first.carrier().find(mid.split(".")[1])
    assert run.fresh
    assert not run.grant
    assert held(second) == []
    return mine, mid, other


# -- what is not granted yet ---------------------------------------------------------------------------------


def test_what_was_cancelled_elsewhere_is_not_moved_to_another_carrier() -> None:
    async def tale(first: House, second: House) -> None:
        mine, mid, _ = await in_hand_and_not_granted(first, second)
        there = first.bind(carrier="au")
        assert (await cancel(second, mid))["cancelled"] is True
        first.carrier().recorder.failover.move_away(True)
        await first.later(1)
        assert "cancelled" not in sent(mine, there)
        assert "stays" in sent(there)
        for number in range(8):
            if there.waiting:
                there.answer(*(f"B{number}-{place}" for place in range(len(there.waiting))))
            await first.later(0.1)
        assert await told_of(second, mid) == [(mid, "cancelled")]
        assert "cancelled" not in sent(mine, there)
        assert (await second.query(mid))["state"] == "cancelled"

    play(tale, {"name": "au", "lease_s": LEASE_S, "window": 100})


def test_what_is_moved_is_not_cancelled_in_the_block_that_it_leaves() -> None:
    """Its cancellation comes while the breaker's claim is on its way to the journal."""

    async def tale(first: House, second: House) -> None:
        mine, mid, _ = await in_hand_and_not_granted(first, second)
        there = first.bind(carrier="au", window=100)
        answers: list[dict[str, Any]] = []

        async def ask() -> None:
            answers.append(await cancel(second, mid))

        async with trio.open_nursery() as nursery:
            first.carrier().recorder.failover.move_away(True)
            nursery.start_soon(ask)
        await first.later(LEASE_S)
        cancelled = bool(answers[0]["cancelled"])
        assert sent(mine, there).count("cancelled") == (not cancelled)
        while there.waiting:
            there.answer(*(f"B{place}" for place in range(len(there.waiting))))
            await first.later(0.1)
        assert await told_of(second, mid) == ([(mid, "cancelled")] if cancelled else [])

    play(tale, {"name": "au", "lease_s": LEASE_S, "window": 100})


@pytest.mark.parametrize("order", ["at once", "elsewhere first", "here first"])
def test_two_processes_that_cancel_one_message_tell_of_it_once(order: str) -> None:
    async def tale(first: House, second: House) -> None:
        mine, mid, other = await in_hand_and_not_granted(first, second)
        answers: list[dict[str, Any]] = []

        async def ask(house: House) -> None:
            answers.append(await cancel(house, mid))

        if order == "at once":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, first)
                nursery.start_soon(ask, second)
        else:
            for house in (first, second) if order == "here first" else (second, first):
                await ask(house)
        assert [answer["cancelled"] for answer in answers].count(True) == 1
        assert {answer["state"] for answer in answers} == {"cancelled"}
        for number in range(10):
            if mine.waiting:
                mine.answer(f"A{number}")
            await first.later(0.1)
        assert "cancelled" not in sent(mine)
        assert "stays" in sent(mine)
        assert await told_of(second, mid, other) == [(mid, "cancelled")]
        assert first.grants() == 0

    play(tale)


def test_what_is_cancelled_where_it_is_in_hand_is_answered_after_its_journal_says_so() -> None:
    async def tale(first: House, second: House) -> None:
        mine, mid, _ = await in_hand_and_not_granted(first, second)
        assert (await cancel(first, mid))["cancelled"] is True
        await first.kill()
        other = second.bind(window=100)
        await second.later(2 * LEASE_S)
        assert "stays" in sent(other)
        assert "cancelled" not in sent(mine, other)
        assert await told_of(second, mid) == [(mid, "cancelled")]

    play(tale)


# -- late answers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("copy", ["waits", "sent", "answered"])
def test_a_message_without_receipt_is_told_sent_once_whoever_has_its_copy(copy: str) -> None:
    async def tale(first: House, second: House) -> None:
        mine = first.bind(window=4)
        await second.open()
        await first.later(3 * LEASE_S)
        assert len(held(first)) == len(held(second)) == 1
        (mid,) = await first.accept(Valid(NUMBER, text="a", receipt=False))
        assert sent(mine) == ["a"], "taken at once by who made it"
        mine.time_out()
        mine.lose()
        other = second.bind(window=1)
        if copy == "waits":
            await second.accept("busy", "busy", "busy")
        await first.later(16)
        assert sent(mine) == ["a"]
        (run,) = [run for run in second.carrier().outgoing.runs.values() if run.entries[0].text == "a"]
        assert run.fresh == (copy == "waits")
        assert sent(other).count("a") == (copy != "waits")
        if copy == "answered":
            other.answer("B1")
            await first.later(0.1)
        mine.answer_late("A1")
        await first.later(1)
        for number in range(2, 5):
            if other.waiting:
                other.answer(f"B{number}")
            await first.later(0.1)
        assert await told_of(second, mid) == [(mid, "sent")]
        assert sent(mine, other).count("a") == 1 + (copy != "waits")
        await first.later(60)
        assert await told_of(second, mid) == []

    play(tale, binds=2, hold_s=15.0)


def test_a_long_message_without_receipt_is_told_when_its_copies_are_answered() -> None:
    """A late answer that gave up its copy would leave nobody to tell its app."""

    async def tale(first: House, second: House) -> None:
        mine = first.bind(window=4)
        await second.open()
        await first.later(3 * LEASE_S)
        (mid,) = await first.accept(Valid(NUMBER, text="a" * 200, receipt=False))
        mine.time_out()
        mine.lose()
        other = second.bind(window=1)
        await second.accept("busy", "busy", "busy")
        await first.later(16)
        mine.answer_late("A1", "A2")
        await first.later(1)
        for number in range(8):
            if other.waiting:
                other.answer(f"B{number}")
            await first.later(1)
        assert await told_of(second, mid) == [(mid, "sent")]

    play(tale, binds=2, hold_s=15.0)


# -- what another process has in hand ------------------------------------------------------------------------


def test_who_asks_hears_soon_that_it_was_sent_before_the_other_looked() -> None:
    async def tale(first: House, second: House) -> None:
        mine = first.bind(window=1)
        (mid,) = await first.accept("a")
        await second.open()
        await second.later(LEASE_S)
        answers: list[dict[str, Any]] = []

        async def ask() -> None:
            answers.append(await cancel(second, mid))

        asked_at = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await first.later(0.1)
            assert f"{mid.split('.')[1]}.0".encode() in first.stored()["asks"]
            mine.answer("A1")
        assert trio.current_time() - asked_at < 1.5
        assert (answers[0]["cancelled"], answers[0]["state"]) == (False, "submitted")
        assert "asks" not in first.stored()
        await first.later(LEASE_S)
        assert "answers" not in first.stored()
        assert await told_of(second, mid) == []

    play(tale)


@pytest.mark.parametrize("end", ["cancelled", "rejected"])
def test_who_asks_hears_how_it_ended_meanwhile(end: str) -> None:
    async def tale(first: House, second: House) -> None:
        mine = first.bind(window=1)
        mids = await first.accept("a", "b")
        mid = mids[0] if end == "rejected" else mids[1]
        await second.open()
        await second.later(LEASE_S)
        answers: list[dict[str, Any]] = []

        async def ask() -> None:
            answers.append(await cancel(second, mid))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await first.later(0.1)
            if end == "rejected":
                mine.answer(0x0B)
            else:
                assert (await cancel(first, mid))["cancelled"] is True
        assert (answers[0]["cancelled"], answers[0]["state"]) == (end == "cancelled", end)
        assert "asks" not in first.stored()
        assert await told_of(second, mid) == [(mid, end)]

    play(tale)


def test_a_question_that_nobody_answers_is_taken_back() -> None:
    async def tale(first: House, second: House) -> None:
        mine = first.bind(window=1)
        mids = await first.accept("a", "b")
        await second.open()
        await second.later(LEASE_S)

        async def deaf(asked: object) -> None:
            """As if it were busy with something else for ever."""

        first.carrier().asks.look = deaf
        asked_at = trio.current_time()
        with pytest.raises(NodeUnavailable):
            await cancel(second, mids[1])
        assert LEASE_S < trio.current_time() - asked_at < 2 * LEASE_S
        assert "asks" not in first.stored()
        del first.carrier().asks.look
        mine.answer("A1")
        await first.later(LEASE_S)
        assert sent(mine) == ["a", "b"], "what nobody asks any more is not done"
        assert cable(first).calls

    play(tale)


def test_a_copy_that_is_in_hand_here_is_withdrawn_here() -> None:
    """Its block is granted as far as the window goes: its journal is read no more."""

    async def tale(first: House, second: House) -> None:
        mine = first.bind(window=4)
        await second.open()
        await first.later(3 * LEASE_S)
        mids = await first.accept(*(Valid(NUMBER, text=text, receipt=False) for text in "abcd"))
        mine.time_out()
        mine.lose()
        mine.bind_again(window=1)
        await first.later(16)
        assert sent(mine) == ["a", "a", "b", "c", "d"]
        mine.answer_late("A", "B", "C", "D")
        await first.later(1)
        while mine.waiting:
            mine.answer(f"again {len(mine.seen)}")
            await first.later(0.1)
        told = await told_of(second, *mids)
        assert sorted(told) == sorted((mid, "sent") for mid in mids)
        assert sent(mine).count("d") == 1

    play(tale, binds=2, hold_s=15.0)
