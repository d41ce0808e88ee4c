"""What a quiet process looks at: how often it asks the store, and that it misses nothing."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import trio
from todoke.engine.ledger.keys import GROUP, CarrierKeys
from todoke_tests_kit import House
from todoke_tests_pair import LEASE_S, cable, held, play, sent

KEYS = CarrierKeys("docomo")
SLOTS, HAND, TAKE = "slots-docomo", "hand-docomo", "take-docomo"
RENEWAL_S = LEASE_S / 3
ELSEWHERE = ("due-", "watch-", "wait")
"""What is looked at for other reasons, twice a minute."""


def asked(house: House) -> Counter[str]:
    """How often each stage asked since the last time, and forget it."""
    calls = cable(house).calls
    found = Counter(name for name, _ in calls if not name.startswith(ELSEWHERE))
    calls.clear()
    return found


async def shared(first: House, second: House) -> None:
    """Both serve the account, and nothing has happened for a while."""
    await second.open()
    await first.later(5 * LEASE_S + 1)
    assert held(first)
    assert held(second)
    asked(first)


# -- how often -----------------------------------------------------------------------------------------------


def test_a_quiet_shared_account_costs_one_call_a_renewal_and_one_for_all_accounts() -> None:
    async def tale(first: House, second: House) -> None:
        first.bind()
        first.bind(carrier="au")
        await shared(first, second)
        await first.later(3 * LEASE_S)
        assert asked(first) == {SLOTS: 9, "slots-au": 9, "queued": 9}

    play(tale, {"name": "au", "lease_s": LEASE_S, "binds": 2}, binds=2)


def test_alone_it_costs_the_renewal() -> None:
    async def tale(first: House, second: House) -> None:
        first.bind()
        await first.later(5 * LEASE_S + 1)
        asked(first)
        await first.later(3 * LEASE_S)
        assert asked(first) == {SLOTS: 9}

    play(tale, binds=2)


def test_empty_lanes_are_not_asked_again_before_something_is_queued() -> None:
    async def tale(first: House, second: House) -> None:
        mine = first.bind(window=2)
        await second.open()
        await first.accept("a")
        await first.later(LEASE_S)
        asked(first)
        for _ in range(10):
            first.carrier().taker.bell.ring()
            await first.later(1)
        mine.answer("A")
        await first.later(60)
        assert TAKE not in asked(first)
        # Another process says so, by way of the store.
        await second.accept("b")
        began_at = trio.current_time()
        await first.later(0.01)
        assert sent(mine) == ["a", "b"]
        assert mine.seen[-1].at - began_at < 0.01
        # This one says so itself, to itself, when it cannot offer: two in hand are not answered.
        mine.answer("B")
        await first.later(1)
        asked(first)
        await first.accept(*"cdefgh")
        for number in range(6):
            if mine.waiting:
                mine.answer(f"C{number}")
            await first.later(0.1)
        assert sent(mine) == list("abcdefgh")

    play(tale)


# -- an operator's hand --------------------------------------------------------------------------------------


def heard(house: House) -> list[bool]:
    """Whether each hand that the account is told of from now on says paused."""
    upkeep, told = house.carrier().upkeep, []
    obey = upkeep.on_hand

    def listen(hand: Any) -> None:
        told.append(bool(hand.paused))
        obey(hand)

    upkeep.on_hand = listen
    return told


@pytest.mark.parametrize("when", ["the renewal was answered before", "the renewal was asked meanwhile"])
def test_a_change_made_here_is_not_undone_by_a_renewal_that_read_the_older_value(when: str) -> None:
    async def tale(first: House, second: House) -> None:
        first.bind()
        await shared(first, second)
        told = heard(first)
        carrier = first.carrier()
        read, laid = trio.Event(), trio.Event()
        changing = trio.Event()

        async def after(name: str, commands: list[Any]) -> None:
            if name == SLOTS and ("HGETALL", KEYS.hand) in commands and not read.is_set():
                read.set()
                await laid.wait()

        async def before(name: str, commands: list[Any]) -> None:
            if name == HAND:
                changing.set()
                if when == "the renewal was asked meanwhile":
                    carrier.slots.bell.ring()
                    await read.wait()

        cable(first).before = before
        if when == "the renewal was answered before":
            cable(first).after = after
            carrier.slots.bell.ring()
            await read.wait()
        else:
            cable(first).after = after
        await carrier.lay_hand("pause", None, "operator")
        assert changing.is_set()
        laid.set()
        await first.settle()
        assert carrier.hand.paused
        await first.later(2 * RENEWAL_S)
        assert carrier.hand.paused
        assert set(told) == {True}
        assert len(told) >= 2, "the next renewals tell of it again"

    play(tale, binds=2)


def test_a_change_by_another_process_is_obeyed_at_the_next_renewal() -> None:
    async def tale(first: House, second: House) -> None:
        mine = first.bind()
        await shared(first, second)
        await second.carrier().lay_hand("pause", None, "operator")
        await first.later(RENEWAL_S + 0.1)
        assert first.carrier().outgoing.paused
        await first.accept("a")
        await first.later(1)
        assert sent(mine) == []
        await second.carrier().lay_hand("resume", None, "operator")
        await first.later(RENEWAL_S + 0.1)
        assert sent(mine) == ["a"]

    play(tale, binds=2)


def test_alone_too_a_change_in_the_store_is_obeyed() -> None:
    """A command without a running node may write it, and one that has died may have written it."""

    async def tale(first: House, second: House) -> None:
        await first.later(3 * LEASE_S)
        await first.store.stage("other").commit([("HSET", KEYS.hand, "paused", "1")])
        await first.later(RENEWAL_S + 0.1)
        assert first.carrier().outgoing.paused

    play(tale)


# -- what is pending and unknown -----------------------------------------------------------------------------


def test_a_block_that_is_pending_and_not_known_here_is_found_after_two_looks() -> None:
    """One look may be older than what was taken since; who took it in our name is gone."""

    async def tale(first: House, second: House) -> None:
        await shared(first, second)
        (mid,) = await first.accept("a")
        (number,) = held(first)
        stage = first.store.stage("predecessor")
        lane = KEYS.lanes["normal"]
        taken = await stage.commit([("XREADGROUP", "GROUP", GROUP, b"%d" % number, "STREAMS", lane, ">")])
        assert taken
        assert taken[0]
        mine = first.bind()
        await first.settle()
        asked(first)
        looks = 0
        while not mine.seen:
            assert looks <= 2
            await first.later(0.05)
            looks += asked(first)[SLOTS]
        assert looks == 2
        assert sent(mine) == ["a"]
        mine.answer("A")
        await first.later(0.1)
        mine.receipt("A")
        assert await first.states() == [(mid, "delivered")]
        await first.later(5 * LEASE_S)
        assert TAKE not in asked(first), "and then no more"

    play(tale, binds=2)


def test_what_is_known_here_is_not_looked_for() -> None:
    async def tale(first: House, second: House) -> None:
        await shared(first, second)
        mine = first.bind(window=1)
        await first.accept("a", "b", "c")
        await first.later(0.1)
        asked(first)
        await first.later(5 * LEASE_S)
        assert TAKE not in asked(first)
        assert sent(mine) == ["a"]

    play(tale, binds=2)
