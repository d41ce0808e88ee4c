"""Late answers and receipts to parts of long messages: what is still sent, and who tells the end."""

from __future__ import annotations

import pytest
from todoke.codecs import constants as c
from todoke.engine.messages import Valid
from todoke_tests_kit import NUMBER, FakeBind, House, node_config, run

TWO_PARTS, THREE_PARTS = "x" * 300, "x" * 400
SLOW_S = 3_000
"""When all but what waits for a receipt is forgotten."""
SHORT = node_config({"receipt_timeout_s": 5_000})


def parts(bind: FakeBind, first: int = 0) -> list[int]:
    return [sent.part for sent in bind.seen[first:]]


@pytest.mark.parametrize("receipt", [True, False])
@pytest.mark.parametrize("policy", ["hold", "resend", "never"])
def test_a_late_answer_counts_while_another_part_is_unanswered(policy: str, receipt: bool) -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept(Valid(NUMBER, text=TWO_PARTS, receipt=receipt))
        bind.time_out(1)
        await house.settle()
        bind.answer_late("A0")
        await house.settle()
        bind.answer("A1")
        await house.later(60)
        assert parts(bind) == [0, 1], "a needless copy"
        if receipt:
            assert await house.told() == []
            bind.receipt("A0")
            bind.receipt("A1")
        (told,) = await house.told()
        assert (told.message_id, told.state) == (mid, "delivered" if receipt else "sent")
        assert not told.possibly_doubled
        await house.all_forgotten(SLOW_S)

    run(story, node_config({"in_doubt": policy}))


@pytest.mark.parametrize("comes", [True, False])
def test_a_message_outlives_blocks_while_a_part_that_was_answered_late_waits(comes: bool) -> None:
    """The other part went on through two more blocks."""

    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept(TWO_PARTS)
        bind.time_out()
        await house.later(5)
        bind.answer_late("A0")
        await house.later(20)
        assert parts(bind) == [0, 1, 1]
        bind.answer(c.ESME_RMSGQFUL)
        await house.later(300)
        bind.answer("C1")
        await house.settle()
        bind.receipt("C1")
        await house.later(SLOW_S)
        if comes:
            bind.receipt("A0")
        else:
            await house.later(20_000)
        assert await house.states() == [(mid, "delivered" if comes else "unknown")]
        await house.all_forgotten(SLOW_S)

    run(story, SHORT)


def test_so_it_does_where_a_part_of_the_copy_waits() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept(THREE_PARTS)
        bind.time_out()
        await house.later(20)
        assert parts(bind) == [0, 1, 2] * 2
        bind.answer_late("A0")
        await house.settle()
        bind.answer(c.ESME_RMSGQFUL, c.ESME_RMSGQFUL, "B2")
        await house.later(300)
        assert parts(bind, 6) == [1]
        bind.answer("C1")
        await house.settle()
        bind.receipt("A0")
        bind.receipt("C1")
        await house.later(SLOW_S)
        bind.receipt("B2")
        assert await house.states() == [(mid, "delivered")]
        await house.all_forgotten(SLOW_S)

    run(story)


def test_and_where_a_part_was_taken_out_of_a_copy_in_hand() -> None:
    async def story(house: House) -> None:
        bind = house.bind(window=4)
        mids = await house.accept(TWO_PARTS, TWO_PARTS)
        bind.time_out()
        bind.lose()
        bind.bind_again(window=1)
        await house.later(20)
        assert len(bind.seen) == 5
        bind.late = bind.late[2:]
        bind.answer_late("A2")
        await house.settle()
        for message_id in ("B0", "B1"):
            bind.answer(message_id)
            await house.settle()
        bind.answer(c.ESME_RMSGQFUL)
        await house.later(300)
        assert parts(bind, 4) == [0, 1, 1, 1]
        bind.answer("C1")
        await house.settle()
        for message_id in ("B0", "B1", "C1"):
            bind.receipt(message_id)
        await house.later(SLOW_S)
        bind.receipt("A2")
        assert sorted(await house.states()) == [(mid, "delivered") for mid in mids]
        await house.all_forgotten(SLOW_S)

    run(story)


@pytest.mark.parametrize("heard", ["before", "with"])
@pytest.mark.parametrize("lost", [True, False])
def test_a_refused_copy_of_a_part_that_was_taken_refuses_nothing(heard: str, lost: bool) -> None:
    """The copy of the other part is lost, or its number busy."""

    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept(TWO_PARTS)
        bind.time_out()
        await house.later(20)
        bind.answer_late("A0")
        if heard == "before":
            await house.settle()
        bind.answer(c.ESME_RINVDSTADR)
        if lost:
            bind.time_out()
        else:
            bind.answer(c.ESME_RMSGQFUL)
        await house.later(300)
        assert await house.states() == []
        assert parts(bind, 4) == [1]
        bind.answer("C1")
        await house.settle()
        bind.receipt("A0")
        bind.receipt("C1")
        assert await house.states() == [(mid, "delivered")]
        await house.all_forgotten(SLOW_S)

    run(story)


@pytest.mark.parametrize("when", ["held", "in hand"])
def test_with_a_part_that_has_no_id_the_copy_of_another_is_sent_and_tells_the_end(when: str) -> None:
    async def story(house: House) -> None:
        bind = house.bind(window=4)
        _, mid = await house.accept(TWO_PARTS, TWO_PARTS)
        if when == "in hand":
            bind.answer("", first=2)
            await house.settle()
            bind.time_out()
            bind.lose()
            bind.bind_again(window=1)
            await house.later(20)
            bind.late = bind.late[2:]
        else:
            bind.answer("F0", "F1", "")
            await house.settle()
            bind.time_out()
            await house.later(5)
        bind.answer_late("A1")
        await house.later(20)
        while bind.waiting:
            bind.answer(f"B{len(bind.seen)}")
            await house.settle()
        bind.receipt("A1")
        await house.later(20_000)
        assert [state for state in await house.states() if state[0] == mid] == [(mid, "unknown")]
        await house.all_forgotten(SLOW_S)

    run(story, SHORT)


def test_so_it_is_where_a_receipt_fits_the_part_in_doubt() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept(TWO_PARTS)
        bind.answer("")
        await house.settle()
        bind.time_out()
        await house.later(1)
        bind.receipt("G1")
        await house.later(60)
        bind.answer("B1")
        await house.later(20_000)
        assert await house.states() == [(mid, "unknown")]
        await house.all_forgotten(SLOW_S)

    run(story, SHORT)


def test_refused_copies_of_a_message_without_a_receipt_refuse_it_not() -> None:
    """Its parts were answered late while the copy waited in hand behind another one."""

    async def story(house: House) -> None:
        bind = house.bind(window=4)
        message = Valid(NUMBER, text=TWO_PARTS, receipt=False)
        mids = await house.accept(message, message)
        bind.time_out()
        bind.lose()
        bind.bind_again(window=1)
        await house.later(20)
        bind.late = bind.late[2:]
        bind.answer_late("A2", "A3")
        await house.settle()
        for answer in ("B0", "B1", c.ESME_RINVDSTADR, c.ESME_RINVDSTADR):
            if bind.waiting:
                bind.answer(answer)
                await house.settle()
        assert sorted(await house.states()) == [(mid, "sent") for mid in mids]
        await house.all_forgotten(SLOW_S)

    run(story)


def test_a_copy_without_an_id_leaves_the_end_to_the_first_one_s_receipt() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        bind.time_out()
        await house.later(20)
        bind.answer_late("A1")
        await house.settle()
        bind.answer("")
        assert await house.states() == []
        bind.receipt("A1")
        assert await house.states() == [(mid, "delivered")]

    run(story)
