"""Several processes on one account: who holds its slots, and what becomes of the work of one that is gone."""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio
from todoke.engine.dispatch.slots import share
from todoke.engine.intake.errors import NodeUnavailable
from todoke.engine.ledger.keys import CarrierKeys
from todoke_tests_kit import House
from todoke_tests_pair import LEASE_S, cable, held, play, sent

KEYS = CarrierKeys("docomo")


@pytest.mark.parametrize(
    ("slots", "mine", "others", "wanted", "excess"),
    [
        (3, 0, [], 3, 0),
        (3, 3, [], 0, 0),
        (3, 3, [0], 0, 2),  # somebody has less than an even part: one at least, and the odd one may follow
        (3, 2, [1], 0, 0),
        (3, 1, [2], 1, 0),
        (3, 1, [1], 1, 0),
        (1, 1, [0], 0, 0),  # the only slot stays where it is
        (1, 0, [1], 1, 0),
        (4, 2, [2, 0], 0, 1),
        (4, 2, [1, 1], 0, 0),
        (4, 0, [2, 2], 2, 0),
        (2, 1, [0, 1], 0, 0),  # more processes than slots
    ],
)
def test_an_even_part(slots: int, mine: int, others: list[int], wanted: int, excess: int) -> None:
    assert share(slots, mine, others) == (wanted, excess)


def test_slots_are_shared_evenly_and_the_odd_one_stays() -> None:
    async def tale(first: House, second: House) -> None:
        assert held(first) == [1, 2, 3]
        await second.open()
        await first.later(2 * LEASE_S)
        assert sorted(held(first) + held(second)) == [1, 2, 3]
        assert {len(held(first)), len(held(second))} == {1, 2}
        for house in (first, second):
            assert house.carrier().outgoing.pacer.rate == 100 * len(held(house))
        await second.drain()
        await first.later(LEASE_S)
        assert held(first) == [1, 2, 3]
        assert first.carrier().outgoing.pacer.rate == 300

    play(tale, binds=3, rate=300)


def test_a_process_without_a_slot_stands_by_and_sends_nothing() -> None:
    async def tale(first: House, second: House) -> None:
        await second.open()
        other = second.bind()
        await first.later(3 * LEASE_S)
        assert (held(first), held(second)) == ([1], [])
        await second.accept("from the second")
        await first.later(1)
        assert sent(other) == []
        mine = first.bind()
        await first.later(6)
        assert sent(mine) == ["from the second"]

    play(tale)


@pytest.mark.parametrize(("one_machine", "within_s"), [(True, LEASE_S / 4 + 0.1), (False, LEASE_S + 1.0)])
def test_the_work_of_a_killed_process_goes_on(one_machine: bool, within_s: float) -> None:
    """On one machine it is known to be dead; from elsewhere only its lease tells."""

    async def tale(first: House, second: House) -> None:
        mine = first.bind(window=2)
        await first.accept("a", "b", "c", "d", "e", "f")
        await second.open()
        other = second.bind(window=8)
        await first.later(1)
        assert sent(mine) == ["a", "b"]
        await first.kill()
        died_at = trio.current_time()
        while not other.seen:  # noqa: ASYNC110 - virtual time
            await trio.sleep(0.05)
        assert trio.current_time() - died_at <= within_s
        await second.later(60)
        assert set(sent(mine, other)) == {"a", "b", "c", "d", "e", "f"}
        doubled = [text for text in sent(mine, other) if sent(mine, other).count(text) > 1]
        assert set(doubled) == {"a", "b"}  # in doubt, and held for so long

    play(tale, one_machine=one_machine)


def test_a_process_takes_over_what_it_had_accepted_itself() -> None:
    """It knows these blocks, and still has to read what the other did with them."""
    texts = [f"{number:02}" for number in range(20)]

    async def tale(first: House, second: House) -> None:
        mine = first.bind(window=2)
        await second.open()
        other = second.bind(window=8)
        await second.accept(*texts)
        await first.later(1)
        for number in range(10):
            mine.answer(f"A{number}")
            await first.later(0.1)
        assert sent(mine) == texts[:12]
        await first.kill()
        await second.later(LEASE_S)
        assert "10" not in sent(other), "it may have been taken: it is held"
        for number in range(20):
            if other.waiting:
                other.answer(f"B{number}")
            await second.later(5)
        assert set(sent(mine, other)) == set(texts)
        assert {text for text in texts if sent(mine, other).count(text) > 1} == {"10", "11"}

    play(tale, one_machine=True)


def test_a_clean_stop_hands_over_what_the_other_had_accepted() -> None:
    """All of the first grant was sent by the one before: the second must follow."""
    texts = [f"{number:02}" for number in range(30)]

    async def tale(first: House, second: House) -> None:
        mine = first.bind(window=2)
        await second.open()
        other = second.bind(window=2)
        await second.accept(*texts)
        await first.later(1)
        for number in range(20):
            mine.answer(f"A{number}")
            await first.later(0.1)
        mine.answer("A20")
        mine.answer("A21")
        await first.drain()
        for number in range(30):
            await second.later(5)
            if other.waiting:
                other.answer(f"B{number}")
        assert sorted(set(sent(mine, other))) == texts
        # Two were on the wire without an answer: the second sends them again when their hold is over.
        assert {text for text in texts if sent(mine, other).count(text) > 1} == {"22", "23"}

    play(tale, one_machine=True)


def test_a_process_cut_off_stops_in_time_and_its_late_answers_count() -> None:
    """Cut off from the store it may not send past its lease; what it heard meanwhile is true all the same."""

    async def tale(first: House, second: House) -> None:
        mine = first.bind(window=2)
        mids = await first.accept("a", "b", "c")
        await second.open()
        other = second.bind(window=8)
        await first.later(1)
        first.store.unplugged = True  # type: ignore[attr-defined]
        cut_at = trio.current_time()
        mine.answer("A1")
        await first.later(LEASE_S + 3)
        assert held(second) == [1]
        assert all(each.at < cut_at + LEASE_S - 1.5 for each in mine.seen)
        assert "a" not in sent(other)  # held: it may be on its way
        first.store.unplugged = False  # type: ignore[attr-defined]
        await first.later(5)
        assert held(first) == []
        await first.later(120)
        assert sent(mine, other).count("a") == 1
        assert sent(mine, other).count("b") == 2  # nobody ever answered for it
        other.receipt("A1")
        await second.later(1)
        assert (await second.query(mids[0]))["state"] == "delivered"

    play(tale)


def test_a_process_that_lost_its_slot_decides_nothing() -> None:
    """A refusal that it hears is no reason to tell the app anything: another has the message now."""

    async def tale(first: House, second: House) -> None:
        mine = first.bind(window=2)
        await first.accept("a")
        await second.open()
        other = second.bind(window=8)
        await first.later(1)
        first.store.unplugged = True  # type: ignore[attr-defined]
        await first.later(LEASE_S + 3)
        mine.answer(0x0B)
        await first.later(1)
        first.store.unplugged = False  # type: ignore[attr-defined]
        await first.later(60)
        assert sent(other) == ["a"]
        assert await first.told() == []

    play(tale)


@pytest.mark.parametrize("alone", [False, True])
def test_a_process_cut_off_for_longer_than_its_lease_closes_its_binds(alone: bool) -> None:
    """Whoever takes its slots could not bind otherwise. Alone on the account it has nobody to make room
    for.
    """

    async def tale(first: House, second: House) -> None:
        before = first.bind()
        if not alone:
            await second.open()
            await first.later(LEASE_S)
        first.store.unplugged = True  # type: ignore[attr-defined]
        await first.later(LEASE_S / 2)
        assert before.bound
        await first.later(LEASE_S)
        assert before.bound == alone
        first.store.unplugged = False  # type: ignore[attr-defined]
        if alone:
            await first.later(5)
            assert first.carrier().binds.sending == [before]
            return
        assert held(second) == [1]
        await second.drain()
        await first.later(LEASE_S)
        assert held(first) == [1]
        assert await first.accept("a")
        again = first.bind()
        await first.later(2)
        assert sent(again) == ["a"]

    play(tale)


def test_after_a_partition_without_a_rival_the_process_goes_on_as_if_nothing_had_been() -> None:
    async def tale(first: House, second: House) -> None:
        mine = first.bind(window=2)
        await first.accept("a", "b", "c", "d")
        first.store.unplugged = True  # type: ignore[attr-defined]
        mine.answer("A1", "A2")
        await first.later(5 * LEASE_S)
        first.store.unplugged = False  # type: ignore[attr-defined]
        await first.later(3)
        mine.answer(*(f"B{place}" for place in range(len(mine.waiting))))
        await first.later(3)
        assert sent(mine) == ["a", "b", "c", "d"]
        assert first.grants() == 0

    play(tale)


def test_an_app_hears_at_one_process_what_another_sends() -> None:
    async def tale(first: House, second: House) -> None:
        mine = first.bind()
        await second.open()
        await second.later(LEASE_S)
        (mid,) = await second.accept("a")
        heard: list[Any] = []

        async def listen() -> None:
            heard.extend(await second.node.events("default", None))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await first.later(6)
            mine.answer("A1")
            await first.later(0.1)
            mine.receipt("A1")
        assert [(event.message_id, event.state) for _, event in heard] == [(mid, "delivered")]
        await first.later(LEASE_S)
        assert (await second.node.status())["queued"] == 0

    play(tale)


def test_what_another_process_has_in_hand_is_cancelled_there() -> None:
    async def tale(first: House, second: House) -> None:
        mine = first.bind(window=1)
        mids = await first.accept("a", "b", "c", "d")
        await second.open()
        await second.later(LEASE_S)
        answers = [(await second.node.cancel("default", mid))["cancelled"] for mid in (mids[0], mids[3])]
        assert answers == [False, True]
        for number in range(3):
            mine.answer(f"A{number}")
            await first.later(0.1)
        assert mine.waiting == []
        assert sent(mine) == ["a", "b", "c"]
        assert (mids[3], "cancelled") in await second.states()
        await first.later(2 * LEASE_S)
        assert not {"asks", "answers"} & first.stored().keys()


def test_who_asks_a_process_that_is_gone_is_told_so() -> None:
    async def tale(first: House, second: House) -> None:
        first.bind(window=1)
        mids = await first.accept("a", "b", "c", "d")
        await second.open()
        await second.later(LEASE_S)
        first.store.unplugged = True  # type: ignore[attr-defined]
        with pytest.raises(NodeUnavailable):
            await second.node.cancel("default", mids[3])

    play(tale)


def test_many_processes_come_and_go_and_every_slot_has_one_holder() -> None:
    async def tale(first: House, second: House) -> None:
        rng = random.Random(5)
        up = {0}
        houses = [first, second]
        for _ in range(40):
            place = rng.randrange(2)
            if place in up:
                await (houses[place].kill() if rng.random() < 0.5 else houses[place].drain())
                up.discard(place)
            else:
                await houses[place].open()
                up.add(place)
            await trio.sleep(rng.random() * 2 * LEASE_S)
            everybody = [number for each in up for number in held(houses[each])]
            assert len(everybody) == len(set(everybody))
        if not up:
            await first.open()
            up.add(0)
        await trio.sleep(3 * LEASE_S)
        everybody = [number for each in up for number in held(houses[each])]
        assert sorted(everybody) == [1, 2, 3, 4, 5]

    play(tale, binds=5)


def test_a_slot_lost_while_another_is_being_given_up_is_given_up_too() -> None:
    """It is found out twice, and the account must not stay fenced for ever."""

    async def tale(first: House, second: House) -> None:
        carrier = first.carrier()
        bind = first.bind(window=4)
        given_up: list[int] = []
        drop_all = carrier.recorder.drop_all

        def told_again() -> list[Any]:
            facts = drop_all()
            given_up.append(len(facts))
            if len(given_up) == 1:
                carrier.tenure.fenced()
            return facts

        carrier.recorder.drop_all = told_again
        carrier.tenure.fenced()
        await first.later(LEASE_S)
        assert len(given_up) == 2
        await first.accept("after")
        await first.later(LEASE_S)
        assert sent(bind) == ["after"]

    play(tale)


@pytest.mark.parametrize("taken_again", [False, True])
def test_what_is_decided_while_a_slot_is_lost_is_not_written(taken_again: bool) -> None:
    """The turn has begun, and waits for a read; then the slot is another's, and perhaps ours again."""

    async def tale(first: House, second: House) -> None:
        mine = first.bind()
        await first.accept("a")
        mine.time_out()
        await first.later(6)
        assert sent(mine) == ["a", "a"], "the copy"
        slots, rival = first.carrier().slots, second.store.stage("rival")
        lost: list[int] = []

        async def lose(stage: str, commands: list[Any]) -> None:
            if stage.startswith("record") and commands[-1][0] == "HMGET" and not lost:
                lost.extend(slots.held)
                claims = dict(slots.holds)
                await rival.commit([("SET", key, b"ff.1") for key in claims])
                await slots.turn()
                assert slots.held == []
                if taken_again:
                    await rival.commit([("DEL", KEYS.lease(number)) for number in lost])
                    await slots.turn()
                    assert slots.held == lost

        cable(first).before = lose
        mine.answer(0x0B)
        await first.settle()
        assert lost == [1]
        assert await first.told() == []
        assert await second.store.stage("look").read([("HLEN", KEYS.multi)]) == [0]

    play(tale, hold_s=5)
