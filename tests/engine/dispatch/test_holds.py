"""Parts in doubt that a receipt settles before their copy is sent."""

from __future__ import annotations

import pytest
from todoke.codecs import constants as c
from todoke_tests_kit import House, Valid, node_config, run

NUMBER = "819000000000"
OTHER = "819011111111"
SENDER = "0032069000"
HELD = node_config({"response_timeout_s": 30.0, "hold_s": 15.0, "lease_s": 10.0})


def message(text: str, to: str = NUMBER, sender: str = SENDER) -> Valid:
    return Valid(to, text=text, sender=sender)


def test_a_receipt_that_fits_cancels_the_copy() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        mids = await house.accept(message("a"))
        bind.time_out()
        await house.later(1)
        bind.receipt("A1")
        await house.later(60)
        assert [each.text for each in bind.seen] == ["a"]
        (report,) = await house.told()
        assert (report.message_id, report.state, report.possibly_doubled) == (mids[0], "delivered", False)
        assert house.grants() == 0

    run(story, HELD)


def test_a_receipt_before_the_doubt_counts_too() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        await house.accept(message("a"))
        bind.receipt("A1")
        await house.later(29)
        bind.time_out()
        await house.later(60)
        assert len(bind.seen) == 1
        assert [state for _, state in await house.states()] == ["delivered"]

    run(story, HELD)


def test_a_receipt_from_before_a_long_outage_counts_too() -> None:
    """The doubt is recorded when the node is back; nobody could tell by its moment when the part was sent."""

    async def story(house: House) -> None:
        bind = house.bind()
        await house.accept(message("a"))
        bind.receipt("A1")
        await house.settle()
        await house.kill()
        await house.later(600)
        await house.reopen()
        again = house.bind()
        await house.later(60)
        assert again.seen == []
        assert [state for _, state in await house.states()] == ["delivered"]

    run(story, HELD)


@pytest.mark.parametrize(
    ("to", "sender", "late_s"), [(OTHER, SENDER, 1), (NUMBER, "0099999999", 1), (NUMBER, SENDER, 20)]
)
def test_what_does_not_fit_or_comes_too_late_lets_the_copy_go(to: str, sender: str, late_s: float) -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        await house.accept(message("a", to, sender))
        bind.time_out()
        await house.later(late_s)
        bind.receipt("A1")
        await house.later(60)
        assert [each.text for each in bind.seen] == ["a", "a"]
        bind.answer("A2")
        await house.later(1)
        bind.receipt("A2", to=to)
        await house.settle()
        (report,) = await house.told()
        assert (report.state, report.possibly_doubled) == ("delivered", True)

    run(story, HELD)


def test_one_receipt_that_came_twice_settles_one_part() -> None:
    """Both parts would get its id, and the other part's receipt would never find them."""

    async def story(house: House) -> None:
        bind = house.bind()
        mids = await house.accept(message("a" * 200))
        bind.time_out()
        bind.time_out()
        await house.later(1)
        bind.receipt("A1")
        bind.receipt("A1")
        await house.later(1)
        bind.receipt("A2")
        await house.later(60)
        while bind.waiting:
            bind.answer("A9", "A10")
            await house.later(1)
        bind.receipt("A9")
        bind.receipt("A10")
        await house.settle()
        assert await house.states() == [(mids[0], "delivered")]
        assert len(bind.seen) == 2

    run(story, HELD)


def test_an_old_orphan_is_no_receipt_of_a_new_message() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        bind.receipt("OLD")
        await house.later(100)  # longer than an answer and a lease may take
        await house.accept(message("a"))
        bind.time_out()
        await house.later(60)
        assert len(bind.seen) == 2

    run(story, HELD)


def test_one_receipt_that_fits_two_messages_settles_neither() -> None:
    """One copy too many costs less than the one message that would not be sent."""

    async def story(house: House) -> None:
        bind = house.bind()
        await house.accept(message("a"), message("b"))
        bind.time_out()
        await house.later(1)
        bind.receipt("A1")
        await house.later(60)
        assert sorted(each.text for each in bind.seen) == ["a", "a", "b", "b"]

    run(story, HELD)


def test_nor_does_it_settle_one_that_is_held_longer() -> None:
    """The first was sent again because the receipt could be the second's; now it could be the first's."""

    async def story(house: House) -> None:
        bind = house.bind()
        await house.accept(message("a"))
        await house.later(3)
        await house.accept(message("b"))
        bind.time_out(1)
        await house.later(3)
        bind.time_out(1)
        await house.later(1)
        bind.receipt("A1")
        await house.later(60)
        assert [each.text for each in bind.seen] == ["a", "b", "a", "b"]

    run(story, HELD)


@pytest.mark.parametrize("form", ["Good morning, Hana", "good evening, ", "Good"])
def test_the_words_that_a_receipt_quotes_tell_whose_it_is(form: str) -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        await house.accept(message("Good morning, Hanako"), message("Good evening, Taro"))
        bind.time_out()
        await house.later(1)
        bind.receipt("A1", quoted=form)
        await house.later(60)
        expected = {
            "Good morning, Hana": ["Good evening, Taro"],  # the first is not sent again
            "good evening, ": ["Good morning, Hanako", "Good evening, Taro"],  # words of neither
            "Good": ["Good morning, Hanako", "Good evening, Taro"],  # too few to tell
        }
        assert [each.text for each in bind.seen[2:]] == expected[form]

    run(story, HELD)


def test_a_long_message_needs_a_receipt_for_every_part_in_doubt() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        mids = await house.accept(message("x" * 300))
        assert len(bind.waiting) == 2
        bind.time_out()
        await house.later(1)
        bind.receipt("A1")
        await house.later(40)
        assert len(bind.seen) == 4  # one receipt: nobody knows of which part
        bind.answer("B1", "B2")
        await house.later(1)
        for each in ("B1", "B2"):
            bind.receipt(each)
        await house.settle()
        assert await house.states() == [(mids[0], "delivered")]
        # Another number: the second part of the first message is in doubt for ever.
        mids = await house.accept(message("y" * 300, OTHER))
        bind.time_out()
        await house.later(1)
        bind.receipt("C1", to=OTHER)
        bind.receipt("C2", to=OTHER)
        await house.later(40)
        assert len(bind.seen) == 6
        assert await house.states() == [(mids[0], "delivered")]

    run(story, HELD)


def test_the_late_answer_to_a_settled_part_changes_nothing() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        mids = await house.accept(message("a"))
        bind.time_out()
        await house.later(1)
        bind.receipt("A1")
        await house.later(40)
        assert await house.states() == [(mids[0], "delivered")]
        bind.answer_late("A1")
        await house.later(1)
        bind.receipt("A1")
        await house.later(60)
        assert await house.states() == []
        assert len(bind.seen) == 1
        await house.later(2_000)
        assert house.left_over() == {}

    run(story, HELD)


def test_two_holds_that_end_at_once_take_an_orphan_each() -> None:
    """Their blocks are released one after the other, before the receipt stage has taken the orphans up."""

    async def story(house: House) -> None:
        bind = house.bind()
        mids = await house.accept(message("a"))
        mids += await house.accept(Valid(NUMBER, text="b", sender=SENDER, lane="bulk"))
        bind.time_out()
        await house.later(1)
        bind.receipt("A1")
        bind.receipt("A2")
        await house.later(40)
        assert len(bind.seen) == 2
        assert sorted(await house.states()) == sorted((mid, "delivered") for mid in mids)

    run(story, HELD)


def test_what_was_held_goes_before_what_waits() -> None:
    async def story(house: House) -> None:
        bind = house.bind(window=1)
        await house.accept(message("held"))
        bind.time_out()
        await house.accept(*(message(str(number)) for number in range(40)))
        for number in range(41):
            bind.answer(f"A{number}")
            await house.later(1)
        order = [each.text for each in bind.seen]
        assert len(order) == 42
        assert 14 <= order.index("held", 1) <= 20, order
        assert (await house.node.status())["queued"] == 0

    run(story, HELD)


@pytest.mark.parametrize("lost", [True, False])
@pytest.mark.parametrize(("stat", "state"), [("DELIVRD", "delivered"), ("UNDELIV", "undeliverable")])
def test_no_copy_is_sent_of_what_receipts_have_told_of_meanwhile(lost: bool, stat: str, state: str) -> None:
    """The receipt of the first copy finds its message while the second is on its way, and that one is lost,
    or its number is busy.
    """

    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        bind.time_out()
        await house.later(16)
        assert len(bind.seen) == 2
        bind.receipt("A1", stat)
        await house.later(70)
        assert await house.states() == [(mid, state)]
        assert (await house.query(mid))["state"] == state
        if lost:
            bind.time_out()
        else:
            bind.answer(c.ESME_RMSGQFUL)
        await house.later(1)
        await house.later(400)
        assert len(bind.seen) == 2
        assert (await house.query(mid))["state"] == state
        assert await house.told() == []
        assert house.grants() == 0
        await house.all_forgotten(3_000)

    run(story)
