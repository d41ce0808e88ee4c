"""No receipt came: the SMSC is asked before the app is told `unknown`."""

from __future__ import annotations

import pytest
from todoke.codecs import constants as c
from todoke_tests_kit import House, node_config, run

ASKING = node_config({"query_sm": True, "receipt_timeout_s": 100.0, "history_s": 5.0, "hold_s": 5.0})


@pytest.mark.parametrize(
    ("message_state", "told"),
    [
        (c.MESSAGE_STATE_DELIVERED, "delivered"),
        (c.MESSAGE_STATE_UNDELIVERABLE, "undeliverable"),
        (c.MESSAGE_STATE_EXPIRED, "expired"),
        (None, "unknown"),
    ],
)
def test_what_the_smsc_says_is_the_report(message_state: int | None, told: str) -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        mids = await house.accept("a")
        bind.answer("A-1f")
        await house.later(115)
        assert [asked.message_id for _, asked in bind.questions] == [b"A-1f"]
        assert await house.states() == []
        bind.answer_question(message_state)
        await house.later(20)
        assert await house.states() == [(mids[0], told)]
        assert house.carrier().status().counts["unanswered"] == int(told == "unknown")
        assert bind.questions == []
        await house.later(2_000)
        assert house.left_over() == {}

    run(story, ASKING)


def test_an_smsc_that_never_answers_is_asked_once() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        mids = await house.accept("a", "b", "c")
        bind.answer("A1", "A2", "A3")
        await house.later(115)
        assert len(bind.questions) == 1
        await house.later(60)
        assert sorted(await house.states()) == sorted((mid, "unknown") for mid in mids)
        assert len(bind.questions) == 1

    run(story, ASKING)


def test_a_bind_lost_under_a_question_answers_it() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        mids = await house.accept("a")
        bind.answer("A1")
        await house.later(115)
        (token, _) = bind.questions.pop()
        house.carrier().on_doubt(bind, [token])
        await house.later(1)
        assert await house.states() == [(mids[0], "unknown")]

    run(story, ASKING)


def test_a_receipt_after_the_answer_is_no_news() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        mids = await house.accept("a")
        bind.answer("A1")
        await house.later(115)
        bind.answer_question(c.MESSAGE_STATE_DELIVERED)
        await house.settle()
        bind.receipt("A1")
        await house.settle()
        assert await house.states() == [(mids[0], "delivered")]

    run(story, ASKING)


def test_what_is_still_on_its_way_is_waited_for_once_more() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        mids = await house.accept("a")
        bind.answer("A1")
        await house.later(115)
        bind.answer_question(c.MESSAGE_STATE_ENROUTE)
        await house.later(60)
        assert await house.states() == []
        await house.later(60)
        bind.answer_question(c.MESSAGE_STATE_ENROUTE)
        await house.later(20)
        assert await house.states() == [(mids[0], "unknown")]

    run(story, ASKING)
