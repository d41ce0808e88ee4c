"""What may happen between two calls to the store: another process's write, a stop of our own, its death."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio
import trio.lowlevel
from todoke.codecs import constants as c
from todoke.engine.ledger.port import Command, OutcomeUnknown
from todoke.engine.receipts.fields import decode_parked
from todoke_tests_kit import NUMBER, FakeBind, House, Valid, node_config, run
from todoke_tests_pair import LEASE_S, cable, held, play, sent

OTHER = "819011111111"


async def answer_all(house: House, *binds: FakeBind, rounds: int) -> None:
    """Everything that waits is taken, and what comes up behind it."""
    for number in range(rounds):
        for bind in binds:
            while bind.waiting:
                bind.answer(f"{bind.name}-{number}-{len(bind.seen)}-{len(bind.waiting)}")
                await house.settle()
        await house.later(1)


def test_a_slot_whose_binds_are_being_closed_is_given_up_whatever_happens() -> None:
    """The process that it was for dies meanwhile, and comes back: nothing may be in hand under it."""

    async def tale(first: House, second: House) -> None:
        mine = [first.bind(window=1), first.bind(window=1)]
        stopping, go_on = trio.Event(), trio.Event()

        async def stops_slowly(number: int) -> None:
            stopping.set()
            await go_on.wait()

        first.carrier().binds.stop = stops_slowly
        await second.open()
        with trio.fail_after(60):
            await stopping.wait()
        await second.kill()
        first.machine.dead.add(second.peers.me)
        first.carrier().slots.bell.ring()
        await first.settle()
        for name in "mno":
            await first.accept(*(f"{name}{number}" for number in range(4)))
        go_on.set()
        await second.open()
        await first.later(3 * LEASE_S)
        other = second.bind(window=100)
        await answer_all(first, *mine, other, rounds=40)
        texts = sent(*mine, other)
        assert len(texts) == len(set(texts)) == 12

    play(tale, binds=2)


def test_binds_of_a_slot_stay_closed_until_it_is_known_whether_it_was_released() -> None:
    """The release is written and its reply lost: the other process may bind in its place at once."""

    async def tale(first: House, second: House) -> None:
        first.bind()
        first.bind()
        await first.later(1)
        lost = 0

        async def loses_the_reply(name: str, commands: list[Command]) -> None:
            nonlocal lost
            if name == "slots-docomo" and commands[0][0] == "DEL" and lost < 5:
                lost += 1
                raise OutcomeUnknown("the connection was lost")

        async def looks(name: str, commands: list[Command]) -> None:
            if lost:
                open_slots.append(set(first.carrier().binds.running))

        open_slots: list[set[int]] = []
        cable(first).after, cable(first).before = loses_the_reply, looks
        await second.open()
        await first.later(3 * LEASE_S)
        assert (held(first), held(second)) == ([1], [2])
        assert open_slots
        assert all(running == {1} for running in open_slots)

    play(tale, binds=2)


def test_what_a_stopped_process_is_asked_to_cancel_is_not_cancelled_under_another_s_hands() -> None:
    """When it goes on it believes to be alone still."""

    async def tale(first: House, second: House) -> None:
        first.bind(window=1)
        await first.accept(*(f"before {number}" for number in range(70)))
        mids = await first.accept(*(f"x{number}" for number in range(8)))
        await first.later(1)
        go_on = trio.Event()

        async def stopped(name: str, commands: list[Command]) -> None:
            await go_on.wait()

        cable(first).before = stopped
        await second.open()
        await second.later(3 * LEASE_S)
        other = second.bind(window=1)
        number = 0
        while "x0" not in sent(other):
            if other.waiting:
                other.answer(f"B{(number := number + 1)}")
            await second.later(0.05)
        run = second.carrier().find(mids[0].split(".")[1])
        assert 0 < run.grant < 8
        answers: list[dict[str, Any]] = []

        async def ask() -> None:
            answers.append(await first.node.cancel("default", mids[7]))

        first._nursery.start_soon(ask)
        go_on.set()
        await first.later(1)
        for _ in range(12):
            if other.waiting:
                other.answer(f"B{(number := number + 1)}")
            await second.later(0.5)
        cancelled = bool(answers and answers[0]["cancelled"])
        assert ("x7" in sent(other)) == (not cancelled)

    play(tale, binds=1)


@pytest.mark.parametrize("receipt", [True, False])
def test_a_copy_that_another_process_sent_is_not_withdrawn_after_that_one_has_left(receipt: bool) -> None:
    async def tale(first: House, second: House) -> None:
        mine = first.bind(window=4)
        await second.open()
        await first.later(3 * LEASE_S)
        (mid,) = await first.accept(Valid(NUMBER, text="a", receipt=receipt))
        mine.time_out()
        mine.window = 0  # it is full: the other process takes the copy
        first.carrier().flow.windows_changed()
        other = second.bind(window=4)
        await first.later(16)
        assert sent(other) == ["a"]
        other.answer("B1")
        await first.later(1)
        assert await first.states() == ([] if receipt else [(mid, "sent")])
        await second.drain()
        await first.later(LEASE_S)
        assert held(first) == [1, 2]
        mine.answer_late("A1")
        await first.later(1)
        if not receipt:
            assert await first.states() == []
            return
        mine.receipt("A1")
        (told,) = await first.told()
        assert told.possibly_doubled

    play(tale, binds=2, hold_s=15.0)


@pytest.mark.parametrize("shape", ["plain", "looked at one by one"])
def test_an_id_given_again_while_its_old_block_is_forgotten_still_finds_its_message(shape: str) -> None:
    async def tale(first: House, second: House) -> None:
        mine = first.bind(window=4)
        await second.open()
        await first.later(3 * LEASE_S)
        other = second.bind(window=4)
        if shape == "plain":
            await first.accept("old")
            mine.answer("A1")
        else:
            await first.accept("old", "refused")
            mine.answer("A1", c.ESME_RINVDSTADR)
        await first.settle()
        mine.receipt("A1")
        await first.settle()
        stopped, go_on = trio.Event(), trio.Event()

        async def stops_before_it_forgets(name: str, commands: list[Command]) -> None:
            if name == "due-docomo" and any(each[0] == "HDEL" for each in commands):
                stopped.set()
                await go_on.wait()

        async def is_late(name: str, commands: list[Command]) -> None:
            if name == "due-docomo":
                await trio.sleep_forever()

        cable(first).before, cable(second).before = stops_before_it_forgets, is_late
        with trio.fail_after(5_000):
            await stopped.wait()
        (new,) = await second.accept("new")
        await first.settle()
        other.answer("A1")
        await second.settle()
        go_on.set()
        await first.later(1)
        other.receipt("A1")
        await first.later(1)
        assert (new, "delivered") in await first.states()

    play(tale, binds=2, history_s=10, receipt_timeout_s=100)


def test_a_held_copy_goes_on_while_receipts_keep_coming() -> None:
    """Each of them changes what the end of the hold watches."""

    async def tale(first: House, second: House) -> None:
        mine = first.bind(window=100)
        await first.accept("doubted")
        mine.time_out()
        await first.settle()
        await first.accept(*(Valid(f"+{OTHER}", text=f"t{number}") for number in range(60)))
        mine.answer(*(f"T{number}" for number in range(60)))
        await first.settle()
        mine.receipt("0RPHAN", to="819022222222")
        await first.settle()
        tries = 0

        async def receipts_meanwhile(name: str, commands: list[Command]) -> None:
            nonlocal tries
            if name == "due-docomo" and any(each[0] == "HSCAN" for each in commands) and tries < 60:
                mine.receipt(f"T{tries}", to=OTHER)
                tries += 1
                for _ in range(200):
                    await trio.lowlevel.checkpoint()

        cable(first).before = receipts_meanwhile
        await first.later(16)
        assert "doubted" in sent(mine)[1:]
        assert tries < 10

    play(tale, binds=1, hold_s=15.0)


def test_what_a_former_holder_took_last_is_sent_by_who_has_its_slot() -> None:
    """The take was on its way when that one was stopped, and comes when the new holder is alone."""

    async def tale(first: House, second: House) -> None:
        first.bind(window=4)
        await first.later(1)
        go_on = trio.Event()

        async def stopped(name: str, commands: list[Command]) -> None:
            await go_on.wait()
            if name != "accept":
                await trio.sleep_forever()

        cable(first).before = stopped
        first._nursery.start_soon(first.submit, "last")
        await first.settle()
        await second.open()
        await second.later(3 * LEASE_S)
        assert second.carrier().slots.alone
        other = second.bind(window=4)
        await second.later(10)
        go_on.set()
        await first.settle()
        await first.kill()
        await second.accept("other")
        await second.later(60)
        assert sorted(sent(other)) == ["last", "other"]

    play(tale, binds=1)


def test_a_receipt_parked_beside_those_that_are_taken_up_does_not_have_them_count_again() -> None:
    """Three parts share an id. Two receipts came, the second while the first was being taken up."""

    async def story(house: House) -> None:
        bind = house.bind()
        await house.accept("x" * 400)
        bind.receipt("same")
        await house.settle()
        receipts = house.carrier().receipts
        stage = receipts._stage
        read, parked = stage.read_surely, trio.Event()

        async def another_parks(commands: list[Command], *watch: Any) -> Any:
            found = await read(commands, *watch)
            if not parked.is_set() and commands[0][:2] == ("HMGET", receipts._keys.orphans):
                parked.set()
                there = decode_parked(found[0][0])
                both = msgspec.msgpack.encode([*there, *there])
                await stage.commit(
                    [
                        ("HSET", receipts._keys.orphans, commands[0][2], both),
                        ("INCR", receipts._keys.receipts_version),
                    ]
                )
            return found

        stage.read_surely = another_parks
        bind.answer("same", "same", "same")
        await house.settle()
        assert parked.is_set()
        receipts.look_for([b"same"])
        assert await house.states() == [], "the receipt of the third has not come"
        bind.receipt("same")
        assert [state for _, state in await house.states()] == ["delivered"]

    run(story)


def test_counts_are_right_when_the_other_process_has_died() -> None:
    """It accepted since our last look, and told."""

    async def tale(first: House, second: House) -> None:
        mine = first.bind(window=100)
        await second.open()
        await first.later(3 * LEASE_S)
        other = second.bind(window=100)
        first.carrier().slots.bell.ring()
        await first.later(1.2)
        await second.accept(*(f"m{number}" for number in range(8)))
        await second.settle()
        ids = [f"A{number}" for number in range(len(other.waiting))]
        other.answer(*ids)
        await second.settle()
        for message_id in ids:
            other.receipt(message_id)
        await second.accept(*(f"n{number}" for number in range(8)))
        await second.settle()
        await second.kill()
        await answer_all(first, mine, rounds=80)
        told = await first.told()
        if told:
            await first.node.ack("default", told[-1].cursor)
        await first.later(30)
        assert first.node._accept.queued_messages == 0
        assert first.node._feeds["default"].unacknowledged == first.unacknowledged()

    play(tale, one_machine=True, binds=2)


def test_what_goes_on_after_its_receipt_is_counted_in_again() -> None:
    async def story(house: House) -> None:
        bind, other = house.bind(), house.bind(carrier="au")
        await house.accept(*(f"m{number}" for number in range(5)))
        bind.answer(*(f"A{number}" for number in range(5)))
        await house.settle()
        for number in range(5):
            bind.receipt(f"A{number}", "UNDELIV", err="034")
        await house.settle()
        assert house.node._accept.queued_messages == len(other.waiting) == 5
        other.answer(*(f"B{number}" for number in range(5)))
        await house.settle()
        assert house.node._accept.queued_messages == 0

    retried = {"window": 10, "retry_failed": True}
    run(story, node_config(retried, {"name": "au", **retried}))


def test_a_block_that_was_not_written_is_not_remembered() -> None:
    """Another process wrote a reference of the same app first."""

    async def tale(first: House, second: House) -> None:
        mine = first.bind(window=100)
        await second.open()
        await first.later(3 * LEASE_S)
        armed = False

        async def other_first(name: str, commands: list[Command]) -> None:
            nonlocal armed
            if armed and name == "accept" and any(each[0] == "XADD" for each in commands):
                armed = False
                await second.submit(Valid(NUMBER, text="theirs", ref=f"theirs-{number}"))

        cable(first).before = other_first
        for number in range(10):
            await answer_all(first, mine, rounds=1)
            armed = True
            await first.submit(Valid(NUMBER, text="mine", ref=f"mine-{number}"))
        await answer_all(first, mine, rounds=1)
        assert len(first.carrier().taker._recent) == 0

    play(tale, binds=1, window=100)
