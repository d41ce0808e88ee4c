"""Accepting: answers in the order of the submission, duplicates told, limits kept; durable before said."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import anyio
import pytest
import trio
import trio.lowlevel
from hypothesis import given, settings
from hypothesis import strategies as st
from todoke.codecs.segment import Rules
from todoke.engine.dispatch.prepare import CarrierRules, Preparer
from todoke.engine.dispatch.router import Router
from todoke.engine.ledger import accept as accept_module
from todoke.engine.ledger import blocks
from todoke.engine.ledger.accept import AcceptStage
from todoke.engine.ledger.keys import CarrierKeys
from todoke.engine.ledger.memory_store import MemoryStore
from todoke.engine.ledger.port import StoreError, StoreUnavailable
from todoke.engine.messages import Accepted, Refusal, Valid
from todoke_tests_kit import APP, NUMBER, WALL_S, House, VirtualClock, node_config, run

CARRIERS = {name: CarrierKeys(name) for name in ("docomo", "au")}
PREPARER = Preparer(
    Router([(["81"], ("docomo",)), (["82"], ("au",))]),
    {name: CarrierRules(Rules(), "", True) for name in CARRIERS},
)


class Desk:
    """The accept stage alone, on a memory store, with nobody behind it."""

    def __init__(self, store: MemoryStore, block_messages: int = 512, epoch: int = 1) -> None:
        self.store = store
        self.made: list[tuple[str, blocks.Block, list[bytes | None]]] = []
        self.scheduled: list[tuple[str, int]] = []
        self.stage = AcceptStage(
            store, CARRIERS, VirtualClock(), epoch=epoch, ref_ttl_s=3_600,
            block_messages=dict.fromkeys(CARRIERS, block_messages),
            reference_max={"docomo": 255, "au": 65_535},
            on_block=lambda carrier, block, payloads: self.made.append((carrier, block, payloads)),
        )  # fmt: skip
        self.stage.on_scheduled = lambda carrier, at_ms: self.scheduled.append((carrier, at_ms))

    async def submit(self, *messages: Valid, app: str = APP) -> tuple[list[Accepted], list[Refusal]]:
        now_ms = int((WALL_S + trio.current_time()) * 1000)
        batchlets, refused = PREPARER.prepare(list(messages), list(range(len(messages))), now_ms)
        assert refused == []
        return await self.stage.submit(app, batchlets)

    def blocks(self, carrier: str = "docomo") -> dict[str, blocks.Block]:
        prefix = CARRIERS[carrier].prefix + b"b:"
        return {
            key[len(prefix) :].decode(): blocks.decode_block(value)
            for key, value in self.store.contents().items()
            if key.startswith(prefix)
        }

    def entry(self, accepted: Accepted) -> blocks.Entry:
        carrier, block_id, index = blocks.split_message_id(accepted.message_id)
        entry = self.blocks(carrier)[block_id].entries[index]
        assert entry is not None
        return entry


def desk(story: Any, *, seed: int = 1, **settings: Any) -> None:
    async def main() -> None:
        store = MemoryStore(rng=random.Random(seed), wall=lambda: WALL_S + trio.current_time())
        made = Desk(store, **settings)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.stage.run)
            await story(made)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def valid(number: int, ref: str | None = None, **fields: Any) -> Valid:
    return Valid(f"81{number:010d}", text=f"text {number}", ref=ref, **fields)


def test_what_is_answered_is_in_the_store_under_the_id_that_was_told() -> None:
    async def story(desk: Desk) -> None:
        messages = [valid(1), Valid("820000000001", text="b"), valid(2, "r"), valid(3, lane="urgent")]
        accepted, refused = await desk.submit(*messages)
        assert refused == []
        desk.store.crash()
        for message, answer in zip(messages, accepted, strict=True):
            entry = desk.entry(answer)
            assert (entry.to, entry.text, entry.ref) == (message.to, message.text, message.ref)
            assert (answer.ref, answer.parts, answer.duplicate) == (message.ref, 1, False)

    desk(story)


def test_the_body_is_handed_on_with_its_payloads_and_its_block_stands_in_its_lane() -> None:
    async def story(desk: Desk) -> None:
        await desk.submit(valid(1), valid(2))
        ((carrier, block, payloads),) = desk.made
        assert (carrier, len(block.entries), payloads) == ("docomo", 2, [b"text 1", b"text 2"])
        contents = desk.store.contents()
        assert len(contents[CARRIERS["docomo"].lanes["normal"]].entries) == 1
        assert contents[CARRIERS["docomo"].queued["normal"]] == b"2"
        assert desk.stage.queued_messages == 2

    desk(story)


def test_a_scheduled_block_waits_among_the_due_and_says_when() -> None:
    async def story(desk: Desk) -> None:
        at_ms = int((WALL_S + 60) * 1000)
        (accepted,), _ = await desk.submit(valid(1, at_ms=at_ms))
        assert desk.made == []
        assert desk.scheduled == [("docomo", at_ms)]
        block_id = accepted.message_id.split(".")[1]
        due = desk.store.contents()[CARRIERS["docomo"].due]
        assert due.scores == {f"r:normal:{block_id}".encode(): at_ms}

    desk(story)


def test_blocks_are_no_larger_than_their_limits() -> None:
    async def story(desk: Desk) -> None:
        await desk.submit(*(valid(number) for number in range(100)))
        assert [len(block.entries) for block in desk.blocks().values()] == [30, 30, 30, 10]

    desk(story, block_messages=30)


def test_blocks_of_long_texts_are_cut_by_their_octets() -> None:
    async def story(desk: Desk) -> None:
        await desk.submit(*(Valid(NUMBER, text="あ" * 660) for _ in range(500)))
        sizes = [len(value) for key, value in desk.store.contents().items() if b":b:" in key]
        assert len(sizes) > 3
        assert max(sizes) <= accept_module.BLOCK_OCTETS_MAX

    desk(story)


def test_blocks_of_binary_messages_are_cut_by_their_octets() -> None:
    async def story(desk: Desk) -> None:
        await desk.submit(*(Valid(NUMBER, data=bytes(1_300)) for _ in range(500)))
        sizes = [len(value) for key, value in desk.store.contents().items() if b":b:" in key]
        assert max(sizes) <= accept_module.BLOCK_OCTETS_MAX

    desk(story)


def test_long_messages_to_one_number_get_references_of_their_own() -> None:
    async def story(desk: Desk) -> None:
        references = []
        for _ in range(3):
            accepted, _ = await desk.submit(*(Valid(NUMBER, text="x" * 400) for _ in range(100)))
            references += [desk.entry(each).reference for each in accepted]
        assert len(set(references[:256])) == 256
        assert all(0 <= reference <= 255 for reference in references)
        assert [(later - earlier) % 256 for earlier, later in pairwise(references)] == ([1] * 299)

    desk(story)


# -- references ------------------------------------------------------------------------------------------


def test_the_same_ref_and_body_is_the_same_message() -> None:
    async def story(desk: Desk) -> None:
        (first,), _ = await desk.submit(valid(1, "order-7"))
        (again,), refused = await desk.submit(valid(1, "order-7"))
        assert refused == []
        assert again == Accepted("order-7", first.message_id, 1, True)
        assert len(desk.blocks()) == 1

    desk(story)


def test_the_same_ref_with_another_body_is_refused_alone() -> None:
    async def story(desk: Desk) -> None:
        await desk.submit(valid(1, "order-7"))
        accepted, refused = await desk.submit(valid(2), valid(9, "order-7"), valid(3))
        assert len(accepted) == 2
        assert [(each.index, each.ref, each.field, each.code) for each in refused] == [
            (1, "order-7", "ref", "ref_conflict")
        ]

    desk(story)


def test_twins_and_conflicts_within_one_submission() -> None:
    async def story(desk: Desk) -> None:
        accepted, refused = await desk.submit(
            valid(1, "a"),
            valid(1, "a"),
            valid(2, "a"),
            valid(3),
            valid(1, "a"),
            Valid("820000000009", text="z", ref="b"),
        )
        assert [each.index for each in refused] == [2]
        assert [(each.ref, each.duplicate) for each in accepted] == [
            ("a", False), ("a", True), (None, False), ("a", True), ("b", False),
        ]  # fmt: skip
        assert accepted[0].message_id == accepted[1].message_id == accepted[3].message_id

    desk(story)


def test_twins_of_two_submissions_in_one_batch() -> None:
    async def story(desk: Desk) -> None:
        answers: list[Any] = [None, None]

        async def one(place: int) -> None:
            answers[place] = await desk.submit(valid(1, "a"), valid(2 + place, f"own-{place}"))

        async with anyio.create_task_group() as group:
            group.start_soon(one, 0)
            group.start_soon(one, 1)
        (first, _), (second, _) = answers[0][0], answers[1][0]
        assert first.message_id == second.message_id
        assert {first.duplicate, second.duplicate} == {False, True}
        assert sum(len(block.entries) for block in desk.blocks().values()) == 3

    desk(story)


def test_one_ref_of_two_apps_is_two_messages() -> None:
    async def story(desk: Desk) -> None:
        (one,), _ = await desk.submit(valid(1, "a"), app="billing")
        (two,), _ = await desk.submit(valid(1, "a"), app="alerts")
        assert one.message_id != two.message_id
        assert not two.duplicate

    desk(story)


def test_a_ref_is_remembered_for_its_time_over_the_edge_of_a_bucket_and_no_longer() -> None:
    async def story(desk: Desk) -> None:
        (first,), _ = await desk.submit(valid(1, "a"))
        await trio.sleep(3_590)
        (again,), _ = await desk.submit(valid(1, "a"))
        assert again.message_id == first.message_id
        await trio.sleep(20)
        (new,), _ = await desk.submit(valid(1, "a"))
        assert not new.duplicate
        await trio.sleep(20_000)
        assert [key for key in desk.store.contents() if b":ref:" in key and b"version" not in key] == []

    desk(story)


def test_another_process_that_takes_a_ref_between_look_and_write_wins() -> None:
    async def story(desk: Desk) -> None:
        other = Desk(desk.store, epoch=2)
        answers: list[Any] = []

        async def one(of: Desk) -> None:
            answers.append(await of.submit(valid(0), valid(1, "a"), valid(2)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other.stage.run)
            async with anyio.create_task_group() as group:
                group.start_soon(one, desk)
                group.start_soon(one, other)
            nursery.cancel_scope.cancel()
        for accepted, refused in answers:
            assert refused == []
            assert [each.ref for each in accepted] == [None, "a", None]
        taken = [accepted[1] for accepted, _ in answers]
        assert taken[0].message_id == taken[1].message_id
        assert sorted(each.duplicate for each in taken) == [False, True]

    desk(story)


# -- weather ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("checkpoints", range(8))
@pytest.mark.parametrize("seed", range(4))
def test_a_lost_reply_leaves_the_answer_whole(checkpoints: int, seed: int) -> None:
    """Whether the write arrived or has to be made again: every message is answered, in order."""

    async def story(desk: Desk) -> None:
        (before,), _ = await desk.submit(valid(5, "old"))
        answers: list[Any] = []

        async def one() -> None:
            answers.append(
                await desk.submit(
                    valid(0),
                    valid(5, "old"),
                    valid(1, "a"),
                    valid(1, "a"),
                    valid(9, "old"),
                    valid(2),
                    valid(3, "b"),
                )
            )

        async with trio.open_nursery() as nursery:

            async def try_it() -> None:
                try:
                    await one()
                except StoreError as error:
                    answers.append(error)

            nursery.start_soon(try_it)
            for _ in range(checkpoints):
                await trio.lowlevel.checkpoint()
            desk.store.cut()
        (answer,) = answers
        if isinstance(answer, StoreError):
            assert isinstance(answer, StoreUnavailable)
            assert sum(len(block.entries) for block in desk.blocks().values()) == 1
            return
        accepted, refused = answer
        assert [each.index for each in refused] == [4]
        assert [(each.ref, each.duplicate) for each in accepted] == [
            (None, False), ("old", True), ("a", False), ("a", True), (None, False), ("b", False),
        ]  # fmt: skip
        assert accepted[1].message_id == before.message_id
        assert accepted[2].message_id == accepted[3].message_id
        assert [desk.entry(each).text for each in accepted] == [
            "text 0",
            "text 5",
            "text 1",
            "text 1",
            "text 2",
            "text 3",
        ]
        assert sum(len(block.entries) for block in desk.blocks().values()) == 1 + 4

    desk(story, seed=seed)


def test_while_the_store_is_away_the_door_is_closed_and_opens_by_itself() -> None:
    async def story(desk: Desk) -> None:
        desk.store.down()
        with pytest.raises(StoreUnavailable):
            await desk.submit(valid(1))
        began = trio.current_time()
        with pytest.raises(StoreUnavailable):
            await desk.submit(valid(1))
        assert trio.current_time() == began
        desk.store.up()
        await trio.sleep(1)
        accepted, _ = await desk.submit(valid(1))
        assert len(accepted) == 1

    desk(story)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**9))
def test_no_answer_is_false_whatever_the_weather(seed: int) -> None:
    """Submissions from many callers, cuts and crashes: what was answered is there, and once."""

    async def story(desk: Desk) -> None:
        rng = random.Random(seed)
        answered: dict[str, str] = {}
        tried = 0

        async def caller(name: int) -> None:
            nonlocal tried
            for _turn in range(4):
                messages = [
                    valid(rng.randrange(30), rng.choice((None, f"ref-{rng.randrange(12)}"))) for _ in range(3)
                ]
                # One body for a ref, as an honest app has it.
                messages = [valid(int(each.ref[4:]), each.ref) if each.ref else each for each in messages]
                while True:
                    tried += 1
                    try:
                        accepted, refused = await desk.submit(*messages)
                    except StoreError:
                        await trio.sleep(0.3)
                        if all(each.ref for each in messages):
                            continue
                        break
                    assert refused == []
                    assert [each.ref for each in accepted] == [each.ref for each in messages]
                    for each, message in zip(accepted, messages, strict=True):
                        assert desk.entry(each).to == message.to
                        if each.ref is not None:
                            assert answered.setdefault(each.ref, each.message_id) == each.message_id
                    break
                await trio.sleep(rng.random() * 0.2)

        async with trio.open_nursery() as nursery:
            for name in range(3):
                nursery.start_soon(caller, name)
            for _ in range(6):
                await trio.sleep(rng.random() * 0.2)
                for _ in range(rng.randrange(6)):
                    await trio.lowlevel.checkpoint()
                rng.choice((desk.store.cut, desk.store.crash))()
        stored: dict[str, int] = {}
        for block in desk.blocks().values():
            for entry in block.entries:
                assert entry is not None
                if entry.ref is not None:
                    stored[entry.ref] = stored.get(entry.ref, 0) + 1
        assert set(answered) <= set(stored)
        assert [ref for ref, copies in stored.items() if copies > 1] == []
        assert tried >= 12

    desk(story, seed=seed)


# -- taken in the write that makes it -----------------------------------------------------------------------


def test_an_idle_carrier_takes_a_message_in_the_write_that_makes_it() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        await house.later(1)
        accepted, _ = await house.node.submit(APP, [Valid(NUMBER, text="a")], [0])
        assert len(accepted) == 1
        assert [sent.text for sent in bind.seen] == ["a"]
        bind.answer("A")
        await house.settle()
        assert house.grants() == 0
        assert house.carrier().outgoing.runs == {}

    run(story)


@pytest.mark.parametrize("checkpoints", range(10))
def test_a_reply_lost_while_taking_directly_loses_and_doubles_nothing(checkpoints: int) -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        await house.later(1)
        outcome: list[Any] = []

        async def submit() -> None:
            try:
                outcome.append(await house.node.submit(APP, [Valid(NUMBER, text="a", ref="a")], [0]))
            except Exception as error:
                outcome.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(submit)
            for _ in range(checkpoints):
                await trio.lowlevel.checkpoint()
            house.store.cut()
        await house.later(1)
        accepted, _ = await house.node.submit(APP, [Valid(NUMBER, text="a", ref="a")], [0])
        await house.later(20)
        assert [sent.text for sent in bind.seen] == ["a"]
        bind.answer("A")
        await house.settle()
        bind.receipt("A")
        assert await house.states() == [(accepted[0].message_id, "delivered")]
        assert house.grants() == 0

    for seed in range(3):
        run(story, seed=seed)


def test_a_crash_between_accepting_and_sending_is_a_doubt_at_most() -> None:
    async def story(house: House) -> None:
        house.bind()
        await house.later(1)
        accepted, _ = await house.node.submit(APP, [Valid(NUMBER, text="a")], [0])
        await house.reopen()
        again = house.bind()
        await house.later(20)
        assert [sent.text for sent in again.seen] == ["a"]
        again.answer("B")
        await house.settle()
        again.receipt("B")
        assert await house.states() == [(accepted[0].message_id, "delivered")]

    run(story)


def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    async def story(house: House) -> None:
        accepted, refused = await house.submit("a", "b")
        assert len(accepted) == 2
        accepted, refused = await house.submit("c", "d")
        assert accepted == []
        assert [each.code for each in refused] == ["queue_full", "queue_full"]
        assert all(each.retry_after_s for each in refused)
        bind = house.bind()
        await house.settle()
        bind.answer("A", "B")
        await house.settle()
        accepted, refused = await house.submit("c", "d")
        assert len(accepted) == 2

    run(story, node_config(intake={"queue_max": 3}))
