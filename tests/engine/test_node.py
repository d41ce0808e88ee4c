"""The node as its apps see it: the door, queries, cancellations that are true, a status that adds up."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from todoke.codecs import constants as c
from todoke.engine.intake.errors import BadCursor, NodeUnavailable
from todoke.engine.messages import Valid
from todoke_tests_kit import APP, NUMBER, WALL_S, House, node_config, run, steps

LONG = "x" * 400


async def cancel(house: House, mid: str) -> tuple[bool, str]:
    answer = await house.node.cancel(APP, mid)
    return answer["cancelled"], answer["state"]


# -- the door --------------------------------------------------------------------------------------------


def test_refusals_and_acceptances_keep_their_places() -> None:
    async def story(house: House) -> None:
        accepted, refused = await house.node.submit(
            APP,
            [
                Valid(NUMBER, text="a"),
                Valid(NUMBER, text="x" * 4_000),
                Valid(NUMBER, text="b", carrier="none"),
            ],
            [3, 5, 9],
        )
        assert len(accepted) == 1
        assert [(each.index, each.code) for each in refused] == [(5, "too_long"), (9, "unknown_carrier")]

    run(story)


def test_a_stopping_node_takes_nothing() -> None:
    async def story(house: House) -> None:
        house.node.stopping = True
        accepted, refused = await house.submit("a")
        assert accepted == []
        assert [(each.code, each.retry_after_s) for each in refused] == [("stopping", 10.0)]

    run(story)


def test_an_app_that_does_not_acknowledge_is_refused_until_it_does() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        await house.accept(*(Valid(NUMBER, text="a", receipt=False) for _ in range(3)))
        bind.answer("A", "B", "C")
        await house.settle()
        _, refused = await house.submit("more")
        assert [each.code for each in refused] == ["events_full"]
        events = await house.node.events(APP, None)
        await house.node.ack(APP, events[-1][0])
        await house.settle()
        accepted, _ = await house.submit("more")
        assert len(accepted) == 1

    run(story, node_config(intake={"events_max": 3}))


def test_a_store_that_is_away_is_said_and_nothing_is_accepted() -> None:
    async def story(house: House) -> None:
        house.store.down()
        for request in (
            house.node.submit(APP, [Valid(NUMBER, text="a")], [0]),
            house.node.query(APP, "docomo.1-1.0"),
            house.node.cancel(APP, "docomo.1-1.0"),
            house.node.status(),
            house.node.events(APP, None),
        ):
            with pytest.raises(NodeUnavailable):
                await request
        house.store.up()
        await house.later(2)
        assert await house.accept("a")

    run(story)


# -- cancelling ------------------------------------------------------------------------------------------


def test_what_waits_is_cancelled_and_never_sent() -> None:
    async def story(house: House) -> None:
        kept, waiting, scheduled = await house.accept(
            "kept", "waiting", Valid(NUMBER, text="scheduled", at_ms=int((WALL_S + 60) * 1000))
        )
        assert await cancel(house, waiting) == (True, "cancelled")
        assert await cancel(house, scheduled) == (True, "cancelled")
        bind = house.bind()
        await house.later(120)
        assert [sent.text for sent in bind.seen] == ["kept"]
        assert sorted(await house.states()) == sorted([(waiting, "cancelled"), (scheduled, "cancelled")])
        await house.deliver(bind, "A")
        assert await house.states() == [(kept, "delivered")]
        await house.all_forgotten(2_000)

    run(story)


def test_cancelled_in_hand_behind_a_full_window() -> None:
    async def story(house: House) -> None:
        bind = house.bind(window=1)
        mids = await house.accept(*"abcdef")
        assert await cancel(house, mids[1]) == (True, "cancelled")
        assert await cancel(house, mids[4]) == (True, "cancelled")
        assert await cancel(house, mids[0]) == (False, "submitted")
        await house.answer_each(bind)
        assert [sent.text for sent in bind.seen] == ["a", "c", "d", "f"]
        assert house.grants() == 0

    run(story)


def test_cancelling_twice_is_told_once() -> None:
    async def story(house: House) -> None:
        (mid,) = await house.accept("a")
        assert await cancel(house, mid) == (True, "cancelled")
        assert await cancel(house, mid) == (False, "cancelled")
        assert await house.states() == [(mid, "cancelled")]

    run(story)


@pytest.mark.parametrize(
    ("answer", "expected"), [("A", "submitted"), (c.ESME_RINVDSTADR, "rejected"), ("", "unknown")]
)
def test_what_has_left_is_not_cancelled(answer: Any, expected: str) -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        bind.answer(answer)
        await house.settle()
        assert await cancel(house, mid) == (False, expected)

    run(story)


def test_half_a_message_is_not_cancelled() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept(LONG)
        bind.answer("A0", c.ESME_RTHROTTLED, c.ESME_RTHROTTLED)
        await house.settle()
        assert (await cancel(house, mid))[0] is False
        await house.later(3)
        assert len(bind.waiting) == 2

    run(story)


def test_what_waits_for_its_retry_is_cancelled_there() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        bind.answer(c.ESME_RSYSERR)
        await house.settle()
        assert await cancel(house, mid) == (True, "cancelled")
        await house.later(60)
        assert len(bind.seen) == 1
        assert await house.states() == [(mid, "cancelled")]
        await house.all_forgotten(2_000)

    run(story)


def test_cancelled_while_in_doubt_the_copy_is_not_sent_and_a_delivery_is_a_correction() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        bind.time_out()
        await house.settle()
        assert await cancel(house, mid) == (True, "cancelled")
        bind.answer_late("A")
        await house.settle()
        bind.receipt("A")
        events = await house.told()
        assert [(type(event).__name__, event.state) for event in events] == [
            ("Report", "cancelled"), ("Correction", "delivered"),
        ]  # fmt: skip
        await house.later(60)
        assert len(bind.seen) == 1
        await house.all_forgotten(4_000)

    run(story)


def test_cancelled_while_in_doubt_a_late_answer_tells_nothing_more() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept(Valid(NUMBER, text="a", receipt=False))
        bind.time_out()
        await house.settle()
        assert await cancel(house, mid) == (True, "cancelled")
        bind.answer_late("A")
        await house.later(60)
        assert await house.states() == [(mid, "cancelled")]
        assert len(bind.seen) == 1

    run(story)


@pytest.mark.parametrize("checkpoints", range(0, 14))
def test_cancelling_while_a_bind_comes_up_is_true_either_way(checkpoints: int) -> None:
    """Told cancelled, it is never sent; not told so, it is."""

    async def story(house: House) -> None:
        (mid,) = await house.accept("a")
        block_id = mid.split(".")[1]
        house.carrier().taker._recent.pop(block_id, None)
        answers: list[tuple[bool, str]] = []

        async def try_it() -> None:
            answers.append(await cancel(house, mid))

        async with trio.open_nursery() as nursery:
            bind = house.bind()
            await steps(checkpoints)
            nursery.start_soon(try_it)
        await house.later(1)
        ((cancelled, _),) = answers
        assert len(bind.seen) == (0 if cancelled else 1)
        assert await house.states() == ([(mid, "cancelled")] if cancelled else [])

    for seed in range(3):
        run(story, seed=seed)


@pytest.mark.parametrize("checkpoints", range(0, 14))
def test_cancelling_against_a_crash_is_true_either_way(checkpoints: int) -> None:
    async def story(house: House) -> None:
        (mid,) = await house.accept("a")
        answer = await house.crash_during(checkpoints, cancel(house, mid))
        bind = house.bind()
        await house.later(1)
        states = await house.states()
        if (answer is not None and answer[0]) or states:
            assert states == [(mid, "cancelled")]
            assert bind.seen == []
        else:
            assert len(bind.seen) == 1

    for seed in range(3):
        run(story, seed=seed)


# -- status ----------------------------------------------------------------------------------------------


def test_the_status_adds_up() -> None:
    async def story(house: House) -> None:
        bind = house.bind(window=2)
        await house.accept(
            "a", Valid(NUMBER, text="b", lane="urgent"), Valid(NUMBER, text="c", lane="bulk"), "d"
        )
        bind.answer("A", c.ESME_RINVDSTADR)
        await house.settle()
        bind.receipt("nobody's")
        await house.later(5)
        status = await house.node.status()
        (carrier,) = status["carriers"]
        assert status["accepted"] == 4
        assert status["refused"] == 0
        assert status["store"] == "ready"
        assert (carrier["bound"], carrier["outstanding"], carrier["orphans"]) == (1, 2, 1)
        assert carrier["counts"]["sent"] == 1
        assert carrier["counts"]["refused"] == 1
        assert carrier["oldest_queued_s"] == pytest.approx(5, abs=0.1)
        assert sum(carrier["queued"].values()) == status["queued"] == 3
        assert status["apps"] == [{"name": APP, "unacknowledged": 1}]

    run(story)


def test_a_cursor_of_nobody_is_refused() -> None:
    async def story(house: House) -> None:
        with pytest.raises(BadCursor):
            await house.node.ack(APP, "5-0.0.1")

    run(story)
