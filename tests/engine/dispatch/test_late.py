"""Answers to what was given up: written down where the message stands, as long as it stands anywhere."""

from __future__ import annotations

import pytest
from todoke.codecs import constants as c
from todoke.engine.messages import Report, Valid
from todoke_tests_kit import NUMBER, House, node_config, run


def test_an_answer_to_a_message_that_is_forgotten_leaves_nothing_behind() -> None:
    """Its block is still there, because another message in it waits for its receipt."""

    async def story(house: House) -> None:
        bind = house.bind()
        over, waits = await house.accept("over", "waits")
        token = bind.waiting[0][0]
        bind.answer("A1", "B1")
        await house.settle()
        bind.receipt("A1")
        await house.later(100)
        assert list(house.stored()["rx"]) == [b"b1"]
        assert await house.carrier().late.write([(token, c.SUBMIT_SM_RESP, 0, b"A1", 1)]) == []
        assert list(house.stored()["rx"]) == [b"b1"], "nobody would ever forget it"
        bind.receipt("A1")
        bind.receipt("B1")
        await house.settle()
        assert sorted(await house.states()) == [(over, "delivered"), (waits, "delivered")]
        await house.later(200_000)
        assert house.left_over() == {}

    run(story, node_config({"history_s": 10}))


def test_an_answer_to_a_copy_whose_message_is_forgotten_leaves_nothing_behind() -> None:
    """The place where it was accepted is what forgets its table."""

    async def story(house: House) -> None:
        bind = house.bind()
        await house.accept("doubted")
        bind.time_out()
        await house.later(20)
        token = bind.waiting[0][0]
        bind.answer("A1")
        bind.receipt("A1")
        await house.later(3_000)
        assert house.left_over() == {}
        assert await house.carrier().late.write([(token, c.SUBMIT_SM_RESP, 0, b"A2", 1)]) == []
        assert house.left_over() == {}

    run(story, node_config({"history_s": 10, "hold_s": 15}))


def test_a_message_that_its_former_holder_heard_of_in_time_is_forgotten_whole() -> None:
    """Its answer came when the account had changed hands, and says that a copy may be on its way."""

    async def story(house: House) -> None:
        bind = house.bind()
        (message_id,) = await house.accept("heard")
        token = bind.waiting[0][0]
        late = house.carrier().late
        await house.kill()
        await late.write([(token, c.SUBMIT_SM_RESP, 0, b"A1", 1)])
        await house.reopen()
        bind = house.bind()
        await house.later(20)
        assert bind.waiting == [], "it is known to be taken"
        bind.receipt("A1")
        await house.settle()
        assert await house.states() == [(message_id, "delivered")]
        await house.later(200_000)
        assert house.left_over() == {}

    run(story, node_config({"history_s": 10, "hold_s": 15}))


def test_what_its_former_holder_hears_of_a_first_copy_tells_of_the_second() -> None:
    """The third is held, and is not sent."""

    async def story(house: House) -> None:
        bind = house.bind()
        (message_id,) = await house.accept(Valid(NUMBER, text="no receipt", receipt=False))
        token = bind.waiting[0][0]
        bind.time_out()
        await house.later(20)
        bind.time_out()
        await house.later(5)
        assert await house.carrier().late.write([(token, c.SUBMIT_SM_RESP, 0, b"A1", 1)]) == []
        (told,) = await house.told()
        assert isinstance(told, Report)
        assert (told.message_id, told.state, told.possibly_doubled) == (message_id, "sent", True)
        await house.later(60)
        assert len(bind.seen) == 2

    run(story, node_config({"hold_s": 15}))


def test_an_answer_to_a_retried_message_under_an_id_given_before_stands_beside_it() -> None:
    """The SMSC has given the id to a message to another number."""

    async def story(house: House) -> None:
        bind = house.bind()
        other, retried = await house.accept(Valid("+819077777777", text="other"), "retried")
        bind.answer("A1", c.ESME_RSUBMITFAIL)
        await house.later(10)
        token = bind.waiting[0][0]
        late = house.carrier().late
        await house.kill()
        await late.write([(token, c.SUBMIT_SM_RESP, 0, b"A1", 1)])
        await house.reopen()
        bind = house.bind()
        await house.later(20)
        assert bind.waiting == []
        bind.receipt("A1", "UNDELIV", to="819077777777")
        bind.receipt("A1")
        await house.settle()
        assert sorted(await house.states()) == [(other, "undeliverable"), (retried, "delivered")]
        await house.later(200_000)
        assert house.left_over() == {}

    run(story, node_config({"history_s": 10, "hold_s": 15}))


@pytest.mark.parametrize("receipt", [True, False])
def test_what_is_heard_of_a_message_whose_copy_waits_behind_granted_ones_stops_the_copy(
    receipt: bool,
) -> None:
    """The block of the copies is in hand and granted in part: the rest of its journal is read again."""

    async def story(house: House) -> None:
        bind = house.bind(window=4)
        mids = await house.accept(*[Valid(NUMBER, text=text, receipt=receipt) for text in "abcd"])
        token = bind.waiting[3][0]
        bind.time_out()
        bind.lose()
        bind.bind_again(window=1)
        await house.later(20)
        assert (len(bind.seen), house.grants()) == (5, 2)
        assert await house.carrier().late.write([(token, c.SUBMIT_SM_RESP, 0, b"A3", 1)]) == []
        await house.answer_each(bind)
        assert len(bind.seen) == 7
        if receipt:
            for message_id in ("A3", "A0", "A1", "A2"):
                bind.receipt(message_id)
        told = [(each.message_id, each.possibly_doubled) for each in await house.told()]
        assert told == [(mids[3], False), *((mid, True) for mid in mids[:3])]
        assert house.grants() == 0
        await house.all_forgotten(3_000)

    run(story)
