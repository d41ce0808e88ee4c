"""What becomes due: releases happen once, finished blocks leave nothing, orphans leave in the end."""

from __future__ import annotations

import trio
import trio.lowlevel
from todoke.codecs import constants as c
from todoke.engine.ledger import blocks
from todoke.engine.ledger.accept import release_member
from todoke.engine.ledger.keys import CarrierKeys
from todoke.engine.messages import Valid
from todoke_tests_kit import NUMBER, WALL_S, House, node_config, run

KEYS = CarrierKeys("docomo")


def test_a_scheduled_message_leaves_at_its_time() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        await house.accept(Valid(NUMBER, text="a", at_ms=int((WALL_S + 3_600) * 1000)), "now")
        await house.later(3_590)
        assert [sent.text for sent in bind.seen] == ["now"]
        await house.later(11)
        assert bind.seen[1].text == "a"
        assert 3_600 <= bind.seen[1].at < 3_601

    run(story)


def test_the_earliest_of_many_wakes_the_stage_in_whatever_order_they_came() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        for after_s in (500, 100, 900, 50, 700):
            await house.accept(Valid(NUMBER, text=str(after_s), at_ms=int((WALL_S + after_s) * 1000)))
        await house.later(1_000)
        assert [(sent.text, round(sent.at)) for sent in bind.seen] == [
            (str(after_s), after_s) for after_s in (50, 100, 500, 700, 900)
        ]

    run(story)


def test_more_than_one_turn_s_worth_is_released_all_the_same() -> None:
    async def story(house: House) -> None:
        bind = house.bind(window=100)
        for number in range(150):
            await house.accept(Valid(NUMBER, text=str(number), at_ms=int((WALL_S + 60) * 1000) + number))
        await house.later(61)
        number = 0
        while bind.waiting:
            bind.answer(f"A{number}")
            number += 1
            await house.settle()
        assert len(bind.seen) == 150

    run(story)


def test_due_while_the_store_was_away_is_released_when_it_is_back() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        await house.accept(Valid(NUMBER, text="a", at_ms=int((WALL_S + 100) * 1000)))
        await house.later(90)
        house.store.down()
        await house.later(60)
        house.store.up()
        await house.later(5)
        assert [sent.text for sent in bind.seen] == ["a"]

    run(story)


def test_connections_lost_at_the_very_moment_delay_a_release_and_nothing_else() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        await house.accept(Valid(NUMBER, text="a", at_ms=int((WALL_S + 100) * 1000)))
        await trio.sleep(100)
        for _ in range(6):
            await trio.lowlevel.checkpoint()
            house.store.cut()
        await house.later(10)
        assert [sent.text for sent in bind.seen] == ["a"]

    for seed in range(4):
        run(story, seed=seed)


def test_a_restart_finds_what_is_due() -> None:
    async def story(house: House) -> None:
        await house.accept(Valid(NUMBER, text="a", at_ms=int((WALL_S + 100) * 1000)))
        await house.kill()
        await trio.sleep(500)
        await house.open()
        bind = house.bind()
        await house.later(2)
        assert [sent.text for sent in bind.seen] == ["a"]

    run(story)


def test_a_cancellation_while_a_release_is_being_written_is_not_lost_nor_is_the_release() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        one, _two = await house.accept(
            Valid(NUMBER, text="one", at_ms=int((WALL_S + 100) * 1000)),
            Valid(NUMBER, text="two", at_ms=int((WALL_S + 100) * 1000)),
        )
        await trio.sleep(100 - 1e-9)

        cancelled: list[bool] = []

        async def cancel() -> None:
            answer = await house.node.cancel("default", one)
            cancelled.append(answer["cancelled"])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel)
            await trio.sleep(1e-9)
        await house.later(30)
        texts = [sent.text for sent in bind.seen]
        assert texts == (["two"] if cancelled == [True] else ["one", "two"])

    for seed in range(6):
        run(story, seed=seed)


def test_a_due_member_whose_journal_changes_under_it_is_tried_again() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept(Valid(NUMBER, text="a", at_ms=int((WALL_S + 100) * 1000)))
        block_id = mid.split(".")[1]
        stage = house.store.stage("test")
        due = house.carrier().due
        commit = due._stage.commit

        async def late_commit(commands: object) -> object:
            due._stage.commit = commit
            mark = blocks.encode(blocks.Record(blocks.FORMAT, 1, -1))
            await stage.commit([("RPUSHX", KEYS.journal(block_id), mark)])
            return await commit(commands)

        due._stage.commit = late_commit
        await house.later(130)
        assert [sent.text for sent in bind.seen] == ["a"]

    run(story)


def test_a_member_without_its_block_goes() -> None:
    async def story(house: House) -> None:
        now_ms = int(WALL_S * 1000)
        await house.store.stage("test").commit(
            [("ZADD", KEYS.due, now_ms, "f:9-9"), ("ZADD", KEYS.due, now_ms, release_member("normal", "9-8"))]
        )
        await house.reopen()
        house.bind()
        await house.later(10)
        assert house.left_over() == {}

    run(story)


def test_a_missing_receipt_pins_its_own_message_only() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        mids = await house.accept(*("x" * 150 for _ in range(100)))
        bind.answer(*(f"A{number}" for number in range(100)))
        await house.settle()
        for number in range(99):
            bind.receipt(f"A{number}")
        await house.later(5)
        before = sum(len(value) for name, value in house.stored().items() if name.startswith("b:"))
        await house.later(2_000)
        left = house.stored()
        after = sum(len(value) for name, value in left.items() if name.startswith("b:"))
        assert after < before / 20
        assert len(left["rx"]) == 1
        assert (await house.query(mids[99]))["state"] == "submitted"
        bind.receipt("A99", "UNDELIV")
        await house.settle()
        assert (mids[99], "undeliverable") in await house.states()
        await house.later(90_000)
        assert house.left_over() == {}

    run(story)


def test_receipts_that_never_come_are_told_unknown_at_their_time() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        one, long = await house.accept("a", "x" * 400)
        bind.answer("A", "B0", "B1", "B2")
        await house.settle()
        bind.receipt("B0")
        await house.later(990)
        assert await house.states() == []
        await house.later(40)
        assert sorted(await house.states()) == sorted([(one, "unknown"), (long, "unknown")])
        assert house.unacknowledged() == 2
        await house.later(2_000)
        assert await house.states() == []
        assert house.left_over() == {}

    run(story, node_config({"receipt_timeout_s": 1_000, "history_s": 10}))


def test_times_are_up_although_receipts_pour_in_without_a_pause() -> None:
    """Finishing must get its turn while the receipt stage writes all the time."""

    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("lost")
        bind.answer("lost")
        await house.settle()
        for number in range(200):
            await house.accept(f"{number}")
            bind.answer(f"A{number}")
            await house.settle()

        async def pour() -> None:
            for number in range(2_000):
                bind.receipt(f"A{number % 200}", "ACCEPTD" if number % 3 else "DELIVRD")
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            await trio.sleep(1_000 - trio.current_time())
            nursery.start_soon(pour)
        await house.later(12)
        assert (mid, "unknown") in await house.states()

    run(story, node_config({"receipt_timeout_s": 1_000, "history_s": 10}))


def test_an_id_shared_with_another_block_is_forgotten_one_message_at_a_time() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        await house.accept(Valid("819011111111", text="a"))
        bind.answer("7")
        await house.settle()
        bind.receipt("7", to="819011111111")
        await house.later(300)
        (two,) = await house.accept(Valid("819022222222", text="b"))
        bind.answer("7")
        await house.later(400)
        assert len(house.stored()["rx"]) == 1
        bind.receipt("7", "EXPIRED", to="819022222222")
        await house.settle()
        assert (two, "expired") in await house.states()
        await house.later(5_000)
        assert house.left_over() == {}

    run(story)


def test_two_messages_of_one_block_with_one_id_leave_together() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        await house.accept(Valid("819011111111", text="a"), Valid("819022222222", text="b"))
        bind.answer("7", "7")
        await house.settle()
        bind.receipt("7", to="819022222222")
        bind.receipt("7", to="819011111111")
        await house.later(2_000)
        assert house.left_over() == {}

    run(story)


def test_orphans_leave_after_their_time_and_are_looked_at_again_before() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        bind.receipt("nobody's")
        await house.settle()
        assert len(house.stored()["orphans"]) == 1
        await house.later(900)
        assert len(house.stored()["orphans"]) == 1
        await house.later(500)
        assert house.left_over() == {}

    run(story, node_config({"orphan_ttl_s": 1_000}))


def test_a_receipt_parked_beside_its_message_by_a_crash_finds_it_after_the_restart() -> None:
    """The index was written, the process died before it looked at the orphans."""

    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        bind.receipt("A1")
        await house.settle()
        assert len(house.stored()["orphans"]) == 1
        house.carrier().recorder.on_orphans = lambda keys: None
        bind.answer("A1")
        await house.settle()
        assert await house.states() == []
        await house.reopen()
        await house.later(1)
        assert await house.states() == [(mid, "delivered")]

    run(story)


def test_a_chain_of_retries_is_forgotten_from_its_last_block_to_its_first() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("x" * 400)
        bind.answer("A0", c.ESME_RTHROTTLED, c.ESME_RTHROTTLED)
        await house.later(3)
        bind.answer("A1", c.ESME_RTHROTTLED)
        await house.later(3)
        bind.answer("A2")
        await house.settle()
        bind.receipt("A2")
        bind.receipt("A1")
        # The first part's receipt takes longer than the history of the blocks of the others.
        await house.later(3_000)
        assert await house.states() == []
        assert (await house.query(mid))["state"] == "submitted"
        bind.receipt("A0")
        assert await house.states() == [(mid, "delivered")]
        assert (await house.query(mid))["state"] == "delivered"
        await house.later(5_000)
        assert house.left_over() == {}

    run(story)
