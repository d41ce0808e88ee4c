"""Taking: every block that waits is sent, whatever was lost on the way to it; none is taken twice."""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio
import trio.lowlevel
from todoke.engine.dispatch.taker import WAIT_S
from todoke.engine.intake.errors import NodeUnavailable
from todoke.engine.ledger import blocks
from todoke.engine.ledger.keys import GROUP, CarrierKeys
from todoke.engine.ledger.memory_store import MemoryStage
from todoke.engine.messages import Valid
from todoke_tests_kit import NUMBER, House, node_config, run

KEYS = CarrierKeys("docomo")


def test_blocks_of_two_lanes_with_the_same_entry_id_are_both_taken() -> None:
    """Two blocks made in one step get the same time, and so the same id in their lanes."""

    async def story(house: House) -> None:
        await house.accept(
            *(
                Valid(NUMBER, text=f"{lane}{number}", lane=lane)
                for number in range(3)
                for lane in ("urgent", "normal", "bulk")
            )  # type: ignore[arg-type]
        )
        bind = house.bind()
        await house.settle()
        assert sorted(sent.text for sent in bind.seen) == sorted(
            f"{lane}{number}" for number in range(3) for lane in ("urgent", "normal", "bulk")
        )
        assert [sent.text[:-1] for sent in bind.seen] == ["urgent"] * 3 + ["normal"] * 3 + ["bulk"] * 3

    run(story)


def test_a_queue_entry_without_a_block_is_dropped_and_does_no_harm() -> None:
    async def story(house: House) -> None:
        stage = house.store.stage("test")
        await stage.commit([("XADD", KEYS.lanes["normal"], "*", b"b", b"9-9")])
        bind = house.bind()
        await house.later(10)
        await house.accept("a")
        assert [sent.text for sent in bind.seen] == ["a"]
        bind.answer("A")
        await house.settle()
        (pending, length) = await stage.read(
            [("XPENDING", KEYS.lanes["normal"], GROUP), ("XLEN", KEYS.lanes["normal"])]
        )
        assert (pending[0], length) == (0, 0)

    run(story)


def test_a_block_queued_twice_is_sent_once() -> None:
    async def story(house: House) -> None:
        (mid,) = await house.accept("a")
        block_id = mid.split(".")[1]
        await house.store.stage("test").commit([("XADD", KEYS.lanes["normal"], "*", b"b", block_id)])
        bind = house.bind()
        await house.later(1)
        bind.answer("A")
        await house.later(20)
        assert len(bind.seen) == 1
        await house.reopen()
        again = house.bind()
        await house.later(20)
        assert again.seen == []
        again.receipt("A")
        assert await house.states() == [(mid, "delivered")]

    run(story)


def test_another_process_s_block_is_noticed() -> None:
    """A block that this process did not make: it is found by waiting on the lanes."""

    async def story(house: House) -> None:
        bind = house.bind()
        await house.later(1)
        mids = await house.accept("made here")
        bind.answer("A")
        await house.settle()
        contents = house.store.contents()
        body = contents[KEYS.block(mids[0].split(".")[1])].replace(b"1-1", b"7-1")
        record = contents[KEYS.journal(mids[0].split(".")[1])][0]
        await house.store.stage("other").commit(
            [
                ("SET", KEYS.block("7-1"), body), ("RPUSH", KEYS.journal("7-1"), record),
                ("INCRBY", KEYS.queued["normal"], 1), ("XADD", KEYS.lanes["normal"], "*", b"b", b"7-1"),
            ]
        )  # fmt: skip
        began = trio.current_time()
        await house.later(0.01)
        assert trio.current_time() - began < 1
        assert len(bind.seen) + len(house.carrier().outgoing.runs) >= 2

    run(story)


@pytest.mark.parametrize("before_us", [False, True])
def test_what_another_made_in_hope_and_our_own_lost_read_took_is_in_no_doubt(before_us: bool) -> None:
    """It had granted the block in its making; the read of ours came first, and its replies were lost. In the
    pending list of a slot that we have only just taken the same would be what its holder had sent.
    """

    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("made here")
        bind.answer("A")
        await house.settle()
        contents = house.store.contents()
        body = contents[KEYS.block(mid.split(".")[1])].replace(b"1-1", b"7-1")
        if before_us:
            await house.kill()
        await house.store.stage("other").commit(
            [
                ("SET", KEYS.block("7-1"), body),
                ("RPUSH", KEYS.journal("7-1"), blocks.encode(blocks.Record(blocks.FORMAT, 7, 1))),
                ("INCRBY", KEYS.queued["normal"], 1),
                ("XADD", KEYS.lanes["normal"], "*", b"b", b"7-1"),
                ("XREADGROUP", "GROUP", GROUP, b"1", "COUNT", 1, "STREAMS", KEYS.lanes["normal"], ">"),
            ]
        )
        if before_us:
            await house.reopen()
            bind = house.bind()
            await house.later(1)
        else:
            house.carrier().taker.recover()
            await house.settle()
        assert [part.text for *_, part in bind.waiting] == ([] if before_us else ["made here"])

    run(story)


def test_while_nothing_comes_the_pending_blocks_are_not_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(house: House) -> None:
        house.bind()
        await house.later(1)
        asked: list[str] = []
        read = MemoryStage.read

        async def counted(stage: MemoryStage, *more: Any) -> list[Any]:
            if stage.name.startswith("watch-"):
                asked.append(stage.name)
            return await read(stage, *more)

        monkeypatch.setattr(MemoryStage, "read", counted)
        await house.later(5 * WAIT_S)
        assert asked == []

    run(story)


def test_nothing_is_taken_while_no_bind_is_up() -> None:
    async def story(house: House) -> None:
        await house.accept(*(str(number) for number in range(10)))
        await house.later(60)
        assert house.carrier().outgoing.runs == {}
        assert house.grants() == 0
        bind = house.bind()
        await house.settle()
        assert len(bind.seen) == 10

    run(story)


def test_only_what_is_soon_sent_is_in_hand() -> None:
    async def story(house: House) -> None:
        bind = house.bind(window=2)
        for batch in range(40):
            await house.accept(*(f"{batch}.{number}" for number in range(50)))
        assert sum(len(held.entries) for held in house.carrier().outgoing.runs.values()) <= 64 + 8 * 50
        number = 0
        while bind.waiting:
            count = len(bind.waiting)
            bind.answer(*(f"A{number + place}" for place in range(count)))
            number += count
            await house.settle()
        assert number == 2_000
        assert len({sent.text for sent in bind.seen}) == 2_000

    run(story)


def test_a_block_taken_by_a_dead_process_before_it_was_granted_is_sent_without_doubt() -> None:
    async def story(house: House) -> None:
        (mid,) = await house.accept("a")
        await house.store.stage("dead").commit(
            [("XREADGROUP", "GROUP", GROUP, b"1", "COUNT", 1, "STREAMS", KEYS.lanes["normal"], ">")]
        )
        await house.reopen()
        bind = house.bind()
        await house.later(0.1)
        bind.answer("A")
        await house.settle()
        bind.receipt("A")
        (event,) = await house.told()
        assert event.message_id == mid
        assert event.possibly_doubled is False

    run(story)


def test_an_entry_read_before_its_end_was_written_is_not_taken_up_again() -> None:
    """The pending list was asked for, the block ended meanwhile, then the list arrived."""

    async def story(house: House) -> None:
        bind = house.bind(window=1)
        mids = await house.accept("first", "a")
        taker = house.carrier().taker
        (held,) = house.carrier().outgoing.runs.values()
        assert held.block_id == mids[1].split(".")[1]
        found = [(held.stream_id, held.block_id, KEYS.lanes["normal"])]
        bind.answer("A")
        await house.settle()
        bind.answer("B")
        await house.settle()
        await taker._load(found, 1, first=False)
        await house.later(5)
        assert (await house.node.status())["queued"] == 0
        assert len(bind.seen) == 2

    run(story)


def test_a_slot_that_is_configured_away_gives_up_what_it_held() -> None:
    async def story(house: House) -> None:
        await house.accept("a")
        await house.store.stage("dead").commit(
            [("XREADGROUP", "GROUP", GROUP, b"7", "COUNT", 1, "STREAMS", KEYS.lanes["normal"], ">")]
        )
        await house.reopen()
        bind = house.bind()
        await house.later(0.1)
        assert [sent.text for sent in bind.seen] == ["a"]

    run(story)


@pytest.mark.parametrize("seed", range(5))
def test_replies_lost_while_taking_leave_nothing_behind(seed: int) -> None:
    async def story(house: House) -> None:
        rng = random.Random(seed)
        bind = house.bind(window=3)
        texts: list[str] = []
        for number in range(25):
            try:
                await house.node.submit("default", [Valid(NUMBER, text=str(number))], [0])
                texts.append(str(number))
            except NodeUnavailable:
                pass
            for _ in range(rng.randint(0, 3)):
                await trio.lowlevel.checkpoint()
            if rng.random() < 0.5:
                house.store.cut()
            if rng.random() < 0.7:
                await house.settle()
            if bind.waiting:
                bind.answer(f"A{number}")
        number = 100
        for _ in range(60):
            await house.later(1)
            while bind.waiting:
                bind.answer(f"A{number}")
                number += 1
                await house.settle()
        seen = [sent.text for sent in bind.seen]
        assert set(texts) <= set(seen)
        assert len(seen) == len(set(seen))
        assert house.carrier().outgoing.runs == {}
        assert house.grants() == 0
        assert (await house.node.status())["queued"] == 0

    run(story, seed=seed)


def test_after_a_crash_the_contract_s_second_is_waited_for() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        await house.accept(*(str(number) for number in range(30)))
        for _ in range(20):
            if bind.waiting:
                bind.answer(*(f"A{len(bind.seen)}-{place}" for place in range(len(bind.waiting))))
            await house.later(0.045)
        sent = [each.at for each in bind.seen]
        await house.reopen()
        again = house.bind()
        await house.later(2)
        sent += [each.at for each in again.seen]
        assert len(again.seen) > 0
        assert max(sum(at <= each < at + 1 for each in sent) for at in sent) <= 10

    run(story, node_config({"rate": 10, "window": 3}))
