"""What is known of a message, at every station of its way."""

from __future__ import annotations

from typing import Any

import pytest
from todoke.codecs import constants as c
from todoke.engine.intake.errors import UnknownMessage
from todoke.engine.messages import Valid
from todoke_tests_kit import APP, NUMBER, WALL_S, House, node_config, run

LONG = "x" * 400


async def known(house: House, mid: str) -> tuple[Any, ...]:
    answer = await house.query(mid)
    assert answer["message_id"] == mid
    assert answer["accepted_at"] == "2027-01-15T08:00:00Z"
    return answer["state"], answer["final"], answer["sent_parts"], answer["delivered_parts"]


def test_the_stations_of_a_plain_message() -> None:
    async def story(house: House) -> None:
        (mid,) = await house.accept(Valid(NUMBER, text="a", ref="order-7"))
        assert await known(house, mid) == ("queued", False, 0, 0)
        assert (await house.query(mid))["ref"] == "order-7"
        bind = house.bind()
        await house.settle()
        assert await known(house, mid) == ("in_doubt", False, 0, 0)
        bind.answer("A")
        await house.settle()
        assert await known(house, mid) == ("submitted", False, 1, 0)
        bind.receipt("A", "ENROUTE")
        await house.settle()
        assert await known(house, mid) == ("submitted", False, 1, 0)
        bind.receipt("A")
        await house.settle()
        assert await known(house, mid) == ("delivered", True, 1, 1)
        await house.later(2_000)
        with pytest.raises(UnknownMessage):
            await house.query(mid)

    run(story)


def test_the_stations_of_a_long_message() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept(LONG)
        bind.answer("A0")
        await house.settle()
        assert (await known(house, mid))[2] == 1
        bind.answer("A1", "A2")
        await house.settle()
        assert await known(house, mid) == ("submitted", False, 3, 0)
        bind.receipt("A1", "UNDELIV")
        bind.receipt("A0")
        await house.settle()
        assert await known(house, mid) == ("submitted", False, 3, 1)
        bind.receipt("A2")
        await house.settle()
        assert await known(house, mid) == ("undeliverable", True, 3, 2)

    run(story)


@pytest.mark.parametrize(
    ("message", "answer", "expected"),
    [
        (Valid(NUMBER, text="a", receipt=False), "A", ("sent", True)),
        (Valid(NUMBER, text="a"), "", ("unknown", True)),
        (Valid(NUMBER, text="a"), c.ESME_RINVDSTADR, ("rejected", True)),
        (Valid(NUMBER, text=LONG), c.ESME_RINVDSTADR, ("rejected", True)),
        (Valid(NUMBER, text="a"), c.ESME_RTHROTTLED, ("queued", False)),
    ],
)
def test_what_an_answer_makes_of_it(message: Valid, answer: Any, expected: tuple[str, bool]) -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept(message)
        bind.answer(*([answer] * len(bind.waiting)))
        await house.settle()
        reply = await house.query(mid)
        assert (reply["state"], reply["final"]) == expected
        assert reply["command_status"] == (answer if isinstance(answer, int) and expected[1] else None)

    run(story)


def test_expired_cancelled_and_timed_out() -> None:
    async def story(house: House) -> None:
        expired, cancelled, silent = await house.accept(
            Valid(NUMBER, text="a", expires_ms=int((WALL_S + 10) * 1000)), "b", "c"
        )
        await house.node.cancel(APP, cancelled)
        assert (await known(house, cancelled))[:2] == ("cancelled", True)
        await house.later(11)
        bind = house.bind()
        await house.settle()
        bind.answer("C")
        await house.settle()
        assert (await known(house, expired))[:2] == ("expired", True)
        await house.later(120)
        assert (await known(house, silent))[:2] == ("unknown", True)

    run(story, node_config({"receipt_timeout_s": 60, "history_s": 100}))


def test_retried_and_held_it_is_followed_from_block_to_block() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        bind.answer(c.ESME_RSYSERR)
        await house.settle()
        assert (await known(house, mid))[:2] == ("queued", False)
        await house.later(5)
        bind.time_out()
        await house.settle()
        assert (await house.query(mid))["possibly_doubled"] is True
        await house.later(16)
        bind.answer("A")
        await house.settle()
        bind.receipt("A")
        await house.settle()
        assert await known(house, mid) == ("delivered", True, 1, 1)

    run(story)


def test_after_a_correction_it_says_what_was_told_last() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        bind.time_out()
        await house.settle()
        assert (await known(house, mid))[:2] == ("unknown", True)
        bind.answer_late("A")
        await house.settle()
        bind.receipt("A")
        await house.settle()
        assert (await known(house, mid))[:2] == ("delivered", True)

    run(story, node_config({"in_doubt": "never"}))


@pytest.mark.parametrize(
    "message_id",
    ["", "nonsense", "docomo.1-1.0", "docomo.1-1.9999", "nobody.1-1.0", "docomo.1-1.٣", "..", "a.b.c.d.0"],
)
def test_what_nobody_accepted_is_unknown(message_id: str) -> None:
    async def story(house: House) -> None:
        with pytest.raises(UnknownMessage):
            await house.query(message_id)
        with pytest.raises(UnknownMessage):
            await house.node.cancel(APP, message_id)

    run(story)


def test_an_index_beyond_the_block_is_unknown() -> None:
    async def story(house: House) -> None:
        (mid,) = await house.accept("a")
        with pytest.raises(UnknownMessage):
            await house.query(mid[:-1] + "1")

    run(story)


def test_another_app_s_message_is_unknown() -> None:
    async def story(house: House) -> None:
        (mid,) = await house.accept("a")
        with pytest.raises(UnknownMessage):
            await house.node.query("someone", mid)
        with pytest.raises(UnknownMessage):
            await house.node.cancel("someone", mid)
        bind = house.bind()
        await house.settle()
        assert len(bind.seen) == 1

    run(story)
