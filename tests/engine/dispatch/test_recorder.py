"""Conversations about facts: answers, refusals, doubts, skips, cancellations, late answers, grants.

The engine is real from the door to the bind; the test is the SMSC and the clock.
"""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
import trio
import trio.lowlevel
from todoke.codecs import constants as c
from todoke.engine.intake.errors import NodeUnavailable
from todoke.engine.messages import Correction, Report, Valid, Window
from todoke_tests_kit import NUMBER, WALL_S, FakeBind, House, node_config, run

LONG = "x" * 400
"""Three parts."""
LONGER = "y" * 1_400
"""Ten parts."""


def ids(count: int, prefix: str = "A") -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


async def answered(house: House, bind: FakeBind, *given: str | int) -> None:
    bind.answer(*given)
    await house.settle()


# -- the plain road --------------------------------------------------------------------------------------


def test_every_message_is_sent_once_and_told_once() -> None:
    async def story(house: House) -> None:
        bind = house.bind(window=7)
        mids = await house.accept(*(f"text {number}" for number in range(50)))
        number = 0
        while bind.waiting:
            await answered(house, bind, f"A{number}")
            number += 1
        assert sorted(sent.text for sent in bind.seen) == sorted(f"text {number}" for number in range(50))
        for number in range(50):
            bind.receipt(f"A{number}")
        assert sorted(await house.states()) == sorted((mid, "delivered") for mid in mids)
        assert house.grants() == 0

    run(story)


def test_without_a_receipt_wanted_the_answer_is_the_end() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept(Valid(NUMBER, text="a", receipt=False))
        await answered(house, bind, "A1")
        assert bind.seen[0].pdu.registered_delivery == 0
        assert await house.states() == [(mid, "sent")]
        await house.later(700)
        assert house.left_over() == {}

    run(story)


def test_an_answer_without_an_id_is_told_unknown_at_once() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        await answered(house, bind, "")
        (event,) = await house.told()
        assert isinstance(event, Report)
        assert (event.message_id, event.state) == (mid, "unknown")
        assert event.error is not None
        assert event.error.class_ == "no_message_id"

    run(story)


def test_a_long_message_is_told_once_all_its_parts_are_final() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept(LONG)
        assert [sent.part for sent in bind.seen] == [0, 1, 2]
        await answered(house, bind, *ids(3))
        bind.receipt("A0")
        bind.receipt("A2")
        assert await house.states() == []
        bind.receipt("A1")
        (event,) = await house.told()
        assert isinstance(event, Report)
        assert (event.state, event.parts, event.delivered_parts) == ("delivered", 3, 3)
        assert event.message_id == mid
        await house.later(700)
        assert house.left_over() == {}

    run(story)


def test_parts_that_share_one_message_id_are_still_told() -> None:
    """Some SMSCs answer every part of a message with the same id, and send one receipt a part."""

    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept(LONG)
        await answered(house, bind, "same", "same", "same")
        for _ in range(3):
            bind.receipt("same")
            await house.settle()
        assert await house.states() == [(mid, "delivered")]
        await house.later(700)
        assert house.left_over() == {}

    run(story)


def test_an_id_given_again_keeps_both_messages() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (one,) = await house.accept(Valid("819011111111", text="a"))
        await answered(house, bind, "7")
        (two,) = await house.accept(Valid("819022222222", text="b"))
        await answered(house, bind, "7")
        bind.receipt("7", to="819022222222")
        assert await house.states() == [(two, "delivered")]
        bind.receipt("7", "UNDELIV", to="819011111111")
        assert await house.states() == [(one, "undeliverable")]
        await house.later(700)
        assert house.left_over() == {}

    run(story)


# -- windows and grants ----------------------------------------------------------------------------------


def test_a_window_of_one_passes_a_message_of_ten_parts() -> None:
    async def story(house: House) -> None:
        bind = house.bind(window=1)
        (mid,) = await house.accept(LONGER)
        for number in range(10):
            assert len(bind.waiting) == 1
            await answered(house, bind, f"A{number}")
        assert [sent.part for sent in bind.seen] == list(range(10))
        for number in range(10):
            bind.receipt(f"A{number}")
        assert await house.states() == [(mid, "delivered")]
        assert house.grants() == 0

    run(story)


def test_a_refused_part_keeps_the_parts_behind_it() -> None:
    """The first part is throttled while later ones were not written yet: none of the rest is lost."""

    async def story(house: House) -> None:
        bind = house.bind(window=2)
        (mid,) = await house.accept(LONGER)
        await answered(house, bind, c.ESME_RTHROTTLED)
        await house.later(1)
        sent: dict[int, str] = {}
        number = 0
        for _ in range(40):
            while bind.waiting:
                part = bind.waiting[0][0][2]
                sent[part] = f"A{number}"
                await answered(house, bind, f"A{number}")
                number += 1
            await house.later(1)
        assert sorted(sent) == list(range(10))
        for message_id in sent.values():
            bind.receipt(message_id)
        assert await house.states() == [(mid, "delivered")]
        assert house.grants() == 0

    run(story)


def test_a_message_granted_while_no_bind_was_up_leaves_when_one_is_back() -> None:
    async def story(house: House) -> None:
        bind = house.bind(window=1)
        await house.accept("first", "second")
        assert [sent.text for sent in bind.seen] == ["first"]
        # "second" is granted already (grants reach twice the window); nothing else will ever need a grant.
        bind.lose(unsent=0)
        await house.settle()
        bind.bind_again()
        await house.settle()
        assert [sent.text for sent in bind.seen[1:]] == ["second"]

    run(story)


def test_a_lost_bind_with_half_a_long_message_on_it() -> None:
    async def story(house: House) -> None:
        bind = house.bind(window=3)
        (mid,) = await house.accept(LONGER)
        await answered(house, bind, "A0")
        bind.lose(unsent=1)
        await house.settle()
        assert bind.waiting == []
        bind.bind_again(window=20)
        sent = {0: "A0"}
        for _ in range(30):
            while bind.waiting:
                part = bind.waiting[0][0][2]
                sent[part] = f"B{part}"
                await answered(house, bind, f"B{part}")
            await house.later(1)
        assert sorted(sent) == list(range(10))
        for message_id in sent.values():
            bind.receipt(message_id)
        (event,) = await house.told()
        assert isinstance(event, Report)
        assert (event.message_id, event.state, event.possibly_doubled) == (mid, "delivered", True)
        assert house.grants() == 0
        # Only what was on the wire may have been doubled.
        doubled = [sent.part for sent in bind.seen if sum(sent.part == other.part for other in bind.seen) > 1]
        assert set(doubled) <= {1, 2, 3}

    run(story)


def test_a_bind_lost_between_two_parts_with_nothing_on_the_wire() -> None:
    """The pace holds the next part back, all that was written is answered: no doubt tells of the loss."""

    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept(LONG)
        assert [sent.part for sent in bind.seen] == [0]
        await answered(house, bind, "A0")
        bind.lose()
        await house.later(5)
        bind.bind_again()
        await house.later(5)
        assert [sent.part for sent in bind.seen] == [0, 1, 2]
        await answered(house, bind, "A1", "A2")
        for part in range(3):
            bind.receipt(f"A{part}")
        (event,) = await house.told()
        assert isinstance(event, Report)
        assert (event.message_id, event.state, event.possibly_doubled) == (mid, "delivered", False)
        assert house.grants() == 0

    run(story, node_config({"rate": 1}))


def test_half_a_long_message_is_not_continued_after_it_expired() -> None:
    """The bind is lost between two parts and comes back an hour later: what expired meanwhile is not sent."""

    async def story(house: House) -> None:
        bind = house.bind(window=3)
        expires_ms = int((WALL_S + 600) * 1000)
        (mid,) = await house.accept(Valid(NUMBER, text=LONGER, expires_ms=expires_ms))
        assert len(bind.seen) == 3
        bind.lose()
        await house.settle()
        await house.later(3_600)
        bind.bind_again()
        await house.later(60)
        assert len(bind.seen) == 3
        assert await house.states() == [(mid, "expired")]
        assert house.grants() == 0

    run(story)


def test_expired_cancelled_long_and_plain_messages_in_one_block() -> None:
    async def story(house: House) -> None:
        soon_ms = int((WALL_S + 30) * 1000)
        plain, expired, cancelled, long, unsent_receipt = await house.accept(
            "plain",
            Valid(NUMBER, text="expires", expires_ms=soon_ms),
            "cancel me",
            LONG,
            Valid(NUMBER, text="quiet", receipt=False),
        )
        assert (await house.node.cancel("default", cancelled))["cancelled"] is True
        await house.later(31)
        bind = house.bind(window=2)
        await house.settle()
        number = 0
        while bind.waiting:
            await answered(house, bind, f"A{number}")
            number += 1
        assert [(sent.text[-5:], sent.part) for sent in bind.seen] == [
            ("plain", 0), ("xxxxx", 0), ("xxxxx", 1), ("xxxxx", 2), ("quiet", 0),
        ]  # fmt: skip
        for place in range(4):
            bind.receipt(f"A{place}")
        assert dict(await house.states()) == {
            plain: "delivered",
            expired: "expired",
            cancelled: "cancelled",
            long: "delivered",
            unsent_receipt: "sent",
        }
        assert house.grants() == 0
        await house.later(700)
        assert house.left_over() == {}

    run(story)


# -- refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command_status", "class_"),
    [
        (c.ESME_RINVDSTADR, "permanent_destination"),
        (c.ESME_RINVMSGLEN, "permanent"),
        (c.ESME_RINVSRCADR, "route"),
    ],
)
def test_a_final_refusal_is_told(command_status: int, class_: str) -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        await answered(house, bind, command_status)
        (event,) = await house.told()
        assert isinstance(event, Report)
        assert event.error is not None
        assert (event.message_id, event.state) == (mid, "rejected")
        assert (event.error.class_, event.error.command_status) == (class_, command_status)
        await house.later(700)
        assert house.left_over() == {}
        assert house.grants() == 0

    run(story)


def test_busy_is_tried_eight_times_then_told() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        for _ in range(8):
            await answered(house, bind, c.ESME_RSYSERR)
            await house.later(600)
        assert len(bind.seen) == 8
        assert await house.states() == [(mid, "rejected")]
        await house.later(10_000)
        assert house.left_over() == {}

    run(story)


def test_throttling_burns_no_attempt_but_ends_at_the_horizon() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        while bind.waiting:
            assert trio.current_time() < 300
            await answered(house, bind, c.ESME_RTHROTTLED)
            await house.later(2)
        assert len(bind.seen) > 20
        (event,) = await house.told()
        assert isinstance(event, Report)
        assert (event.message_id, event.state) == (mid, "rejected")
        assert 120 <= trio.current_time() < 130

    run(story, node_config({"retry_horizon_s": 120}))


def test_a_message_that_was_moved_a_hundred_times_can_be_queried_and_cancelled() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        for _ in range(100):
            await answered(house, bind, c.ESME_RTHROTTLED)
            await house.later(2)
        answer = await house.query(mid)
        assert (answer["message_id"], answer["final"]) == (mid, False)
        await answered(house, bind, c.ESME_RTHROTTLED)
        assert (await house.node.cancel("default", mid))["cancelled"] is True
        assert await house.states() == [(mid, "cancelled")]
        await house.later(2_000)
        assert house.left_over() == {}

    run(story)


def test_the_blocks_a_throttled_message_went_through_do_not_pile_up() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        await house.accept("a")
        for _ in range(100):
            await answered(house, bind, c.ESME_RTHROTTLED)
            await house.later(2)
        kept = [name for name in house.stored() if name.startswith("b:")]
        assert len(kept) < 20

    run(story, node_config({"history_s": 20}))


def test_refused_by_one_carrier_a_message_goes_to_the_next() -> None:
    async def story(house: House) -> None:
        first, second = house.bind(carrier="docomo"), house.bind(carrier="au")
        (mid,) = await house.accept("a")
        await answered(house, first, c.ESME_RINVSRCADR)
        assert [sent.text for sent in second.seen] == ["a"]
        second.answer("B1")
        await house.settle()
        second.receipt("B1")
        (event,) = await house.told()
        assert isinstance(event, Report)
        assert (event.message_id, event.state, event.carrier) == (mid, "delivered", "au")
        assert (await house.query(mid))["state"] == "delivered"
        await house.later(2_000)
        assert house.left_over() == {}
        assert house.left_over("au") == {}

    run(story, node_config({}, {"name": "au"}))


def test_the_next_carriers_own_sender_is_used_when_the_app_gave_none() -> None:
    async def story(house: House) -> None:
        first, second = house.bind(carrier="docomo"), house.bind(carrier="au")
        await house.accept("a")
        assert first.seen[0].pdu.source_addr == b"1111"
        await answered(house, first, c.ESME_RINVSRCADR)
        assert second.seen[0].pdu.source_addr == b"2222"

    run(story, node_config({"sender": "1111"}, {"name": "au", "sender": "2222"}))


def test_the_queue_counts_return_to_zero_after_retries() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        await house.accept("a", "b", "c")
        await answered(house, bind, c.ESME_RTHROTTLED, c.ESME_RSYSERR, "A1")
        await house.later(5)
        while bind.waiting:
            await answered(house, bind, "B1")
        status = await house.node.status()
        assert status["queued"] == 0
        assert status["carriers"][0]["queued"] == {"urgent": 0, "normal": 0, "bulk": 0}

    run(story)


# -- doubt -----------------------------------------------------------------------------------------------


def test_in_doubt_is_held_then_sent_again_and_marked() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        bind.time_out()
        await house.later(10)
        assert len(bind.seen) == 1
        assert (await house.query(mid))["state"] in ("queued", "in_doubt")
        await house.later(6)
        assert len(bind.seen) == 2
        assert bind.seen[0].octets == bind.seen[1].octets
        await answered(house, bind, "B1")
        bind.receipt("B1")
        (event,) = await house.told()
        assert isinstance(event, Report)
        assert (event.message_id, event.state, event.possibly_doubled) == (mid, "delivered", True)
        assert house.grants() == 0
        await house.later(2_000)
        assert house.left_over() == {}

    run(story)


def test_a_late_answer_withdraws_the_copy_that_was_not_sent() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        bind.time_out()
        await house.later(5)
        bind.answer_late("A1")
        await house.later(60)
        assert len(bind.seen) == 1
        bind.receipt("A1")
        assert await house.states() == [(mid, "delivered")]
        await house.later(2_000)
        assert house.left_over() == {}

    run(story)


def test_a_late_answer_in_the_same_breath_as_the_doubt_is_an_answer() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        bind.time_out()
        bind.answer_late("A1")
        await house.later(60)
        assert len(bind.seen) == 1
        bind.receipt("A1")
        assert await house.states() == [(mid, "delivered")]

    run(story)


def test_a_copy_between_the_answered_one_and_the_withdrawn_one_is_told_of() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept(Valid(NUMBER, text="a", receipt=False))
        bind.time_out()
        await house.later(20)
        bind.time_out()
        await house.later(5)
        bind.answer_late("A1")
        await house.later(60)
        assert len(bind.seen) == 2, "the third was held, and is not sent"
        (told,) = await house.told()
        assert isinstance(told, Report)
        assert (told.message_id, told.state, told.possibly_doubled) == (mid, "sent", True)

    run(story)


def test_a_withdrawn_copy_without_a_receipt_is_told_sent() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept(Valid(NUMBER, text="a", receipt=False))
        bind.time_out()
        await house.later(5)
        bind.answer_late("A1")
        await house.later(60)
        assert len(bind.seen) == 1
        assert await house.states() == [(mid, "sent")]
        await house.later(2_000)
        assert house.left_over() == {}

    run(story)


def test_a_withdrawn_copy_without_an_id_is_told_unknown() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        bind.time_out()
        await house.later(5)
        bind.answer_late("")
        await house.later(60)
        assert len(bind.seen) == 1
        assert await house.states() == [(mid, "unknown")]

    run(story)


def test_a_withdrawn_copy_whose_receipt_never_comes_is_told_unknown() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        bind.time_out()
        await house.later(5)
        bind.answer_late("A1")
        await house.later(4_000)
        assert len(bind.seen) == 1
        assert await house.states() == [(mid, "unknown")]
        await house.later(4_000)
        assert house.left_over() == {}

    run(story, node_config({"receipt_timeout_s": 1_000}))


def test_two_copies_are_told_as_one_message_whatever_their_receipts_say() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        bind.time_out()
        await house.later(20)
        await answered(house, bind, "B1")
        bind.answer_late("A1")
        await house.settle()
        bind.receipt("A1", "DELIVRD")
        bind.receipt("B1", "UNDELIV")
        assert await house.states() == [(mid, "delivered")]
        assert (await house.query(mid))["state"] == "delivered"
        await house.later(4_000)
        assert house.left_over() == {}

    run(story)


def test_the_better_copy_comes_second_as_a_correction() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        bind.time_out()
        await house.later(20)
        await answered(house, bind, "B1")
        bind.answer_late("A1")
        await house.settle()
        bind.receipt("B1", "UNDELIV")
        await house.settle()
        bind.receipt("A1", "DELIVRD")
        first, second = await house.told()
        assert isinstance(first, Report)
        assert isinstance(second, Correction)
        assert [(each.message_id, each.state) for each in (first, second)] == [
            (mid, "undeliverable"), (mid, "delivered"),
        ]  # fmt: skip

    run(story)


def test_a_copy_delivered_after_its_message_expired_is_a_correction() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept(Valid(NUMBER, text="a", expires_ms=int((WALL_S + 10) * 1000)))
        bind.time_out()
        await house.later(20)
        assert await house.states() == [(mid, "expired")]
        bind.answer_late("A1")
        await house.settle()
        bind.receipt("A1")
        (event,) = await house.told()
        assert isinstance(event, Correction)
        assert (event.message_id, event.state) == (mid, "delivered")
        await house.later(4_000)
        assert house.left_over() == {}

    run(story)


def test_policy_never_tells_unknown_and_a_late_delivery_corrects_it() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        bind.time_out()
        assert await house.states() == [(mid, "unknown")]
        bind.answer_late("A1")
        await house.settle()
        bind.receipt("A1")
        (event,) = await house.told()
        assert isinstance(event, Correction)
        assert not event.possibly_doubled, "no copy was ever sent"
        await house.later(60)
        assert len(bind.seen) == 1

    run(story, node_config({"in_doubt": "never"}))


def test_what_was_queued_but_never_given_to_the_connection_is_not_in_doubt() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        bind.lose(unsent=1)
        await house.settle()
        bind.bind_again()
        await house.later(3)
        assert len(bind.seen) == 2
        await answered(house, bind, "A1")
        bind.receipt("A1")
        (event,) = await house.told()
        assert isinstance(event, Report)
        assert (event.message_id, event.possibly_doubled) == (mid, False)

    run(story)


# -- crashes ---------------------------------------------------------------------------------------------


def test_killed_with_parts_on_the_wire_they_are_in_doubt_and_the_rest_is_not() -> None:
    async def story(house: House) -> None:
        bind = house.bind(window=2)
        mids = await house.accept(*(f"text {number}" for number in range(20)))
        await answered(house, bind, "A0")
        first = [sent.text for sent in bind.seen]
        await house.reopen()
        again = house.bind(window=2)
        number = 0
        for _ in range(60):
            await house.later(1)
            while again.waiting:
                await answered(house, again, f"B{number}")
                number += 1
        copies = first + [sent.text for sent in again.seen]
        assert {f"text {number}" for number in range(20)} == set(copies)
        assert len(copies) <= 20 + 4
        again.receipt("A0")
        for place in range(number):
            again.receipt(f"B{place}")
        assert dict(await house.states()) == dict.fromkeys(mids, "delivered")
        await house.later(2_000)
        assert house.left_over() == {}

    run(story)


def test_killed_before_the_record_the_answer_makes_a_doubt_not_a_loss() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        bind.answer("A1")
        await house.reopen()
        again = house.bind()
        await house.later(20)
        assert len(again.seen) <= 1
        if again.waiting:
            await answered(house, again, "B1")
        again.receipt("B1")
        again.receipt("A1")
        states = await house.states()
        assert states[0] == (mid, "delivered")
        assert set(states) == {(mid, "delivered")}

    for seed in range(4):
        run(story, seed=seed)


def test_a_clean_stop_leaves_no_doubt_behind() -> None:
    async def story(house: House) -> None:
        bind = house.bind(window=3)
        await house.accept(*(f"text {number}" for number in range(20)), LONG)

        async def answer_in_time() -> None:
            await trio.sleep(1)
            bind.answer(*ids(3))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer_in_time)
            result = await house.drain(5)
        assert result.in_doubt == 0
        first = [sent.text for sent in bind.seen]
        await house.open()
        again = house.bind(window=100)
        await house.later(60)
        texts = [sent.text for sent in again.seen]
        assert set(first).isdisjoint(texts)
        assert len(first) + len(texts) == 23

    run(story)


def test_a_stop_with_nothing_to_wait_for_does_not_wait() -> None:
    """Half a long message whose bind is gone cannot be finished by waiting."""

    async def story(house: House) -> None:
        bind = house.bind(window=3)
        await house.accept(LONGER)
        bind.lose()
        await house.settle()
        began = trio.current_time()
        await house.drain(30)
        assert trio.current_time() - began < 5

    run(story)


# -- the store in bad weather ----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_lost_connections_to_the_store_lose_and_double_nothing(seed: int) -> None:
    async def story(house: House) -> None:
        rng = random.Random(seed)
        bind = house.bind(window=5)
        accepted: list[str] = []
        number = 0
        told: list[tuple[str, str]] = []
        for turn in range(30):
            with suppress(NodeUnavailable):
                accepted += await house.accept(*(f"{turn}.{place}" for place in range(rng.randint(1, 4))))
            if rng.random() < 0.6:
                house.store.cut()
            while bind.waiting:
                count = rng.randint(1, len(bind.waiting))
                bind.answer(*(f"A{number + place}" for place in range(count)))
                for place in range(count):
                    if rng.random() < 0.5:
                        bind.receipt(f"A{number + place}")
                number += count
                if rng.random() < 0.3:
                    await trio.lowlevel.checkpoint()
                    house.store.cut()
                await house.settle()
            await house.later(2)
        texts = [sent.text for sent in bind.seen]
        assert len(texts) == len(set(texts))
        for place in range(number):
            bind.receipt(f"A{place}")
        await house.later(5)
        for place in range(number):
            bind.receipt(f"A{place}")
        told += await house.states()
        assert set(accepted) <= {mid for mid, _ in told}
        assert len(told) == len(set(told)) == len(texts)
        assert house.grants() == 0
        status = await house.node.status()
        assert status["queued"] == 0

    run(story)


def test_the_store_away_for_a_minute_holds_everything_up_and_loses_nothing() -> None:
    async def story(house: House) -> None:
        bind = house.bind(window=2)
        (one, two, three) = await house.accept("a", "b", "c")
        house.store.down()
        bind.answer("A0", "A1")
        await house.later(60)
        assert len(bind.seen) == 2 + 0 or len(bind.seen) == 3
        house.store.up()
        await house.later(5)
        bind.answer("A2")
        await house.settle()
        for place in range(3):
            bind.receipt(f"A{place}")
        assert dict(await house.states()) == dict.fromkeys((one, two, three), "delivered")

    run(story)


# -- hours -----------------------------------------------------------------------------------------------

TOKYO_EVENING = Window(from_="08:00", to="17:30", zone="Asia/Tokyo")
"""The clock of these houses starts at 17:00 in Tokyo."""


def test_after_hours_a_message_waits_for_the_morning() -> None:
    async def story(house: House) -> None:
        (mid,) = await house.accept(Valid(NUMBER, text="a", window=TOKYO_EVENING))
        await house.later(45 * 60)
        bind = house.bind()
        await house.later(60)
        assert bind.seen == []
        assert (await house.query(mid))["state"] == "queued"
        await house.later(15 * 3600)
        (sent,) = bind.seen
        assert sent.at == pytest.approx(15 * 3600, abs=2)
        assert sent.pdu.validity_period == b"000000092959000R" or sent.pdu.validity_period.startswith(
            b"00000009"
        )
        assert house.grants() == 1
        await answered(house, bind, "A1")
        assert house.grants() == 0
        bind.receipt("A1")
        assert await house.states() == [(mid, "delivered")]

    run(story)


def test_nothing_is_sent_whose_shortest_validity_reaches_a_forbidden_hour() -> None:
    async def story(house: House) -> None:
        await house.accept(Valid(NUMBER, text="a", window=TOKYO_EVENING))
        await trio.sleep(30 * 60 - 0.5)
        bind = house.bind()
        await house.later(0.2)
        assert bind.seen == []

    run(story)


def test_nothing_is_sent_whose_shortest_validity_outlives_its_expiry() -> None:
    async def story(house: House) -> None:
        (mid,) = await house.accept(Valid(NUMBER, text="a", expires_ms=int((WALL_S + 60) * 1000)))
        await trio.sleep(59.5)
        bind = house.bind()
        await house.later(0.2)
        assert bind.seen == []
        assert await house.states() == [(mid, "expired")]

    run(story)


@pytest.mark.parametrize("heard", ["before", "with"])
@pytest.mark.parametrize("copy", [c.ESME_RMSGQFUL, c.ESME_RINVDSTADR, "in doubt"])
@pytest.mark.parametrize("receipt", [True, False])
def test_a_copy_that_is_refused_or_lost_is_the_last_when_the_first_one_was_taken(
    heard: str, copy: int | str, receipt: bool
) -> None:
    """The late answer to the first is heard before the copy's end, or with it in one turn: the message is
    neither refused nor sent a third time, and the receipt of the first tells its end.
    """

    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept(Valid(NUMBER, text="a", receipt=receipt))
        bind.time_out()
        await house.later(20)
        bind.answer_late("A1")
        if heard == "before":
            await house.settle()
        if isinstance(copy, int):
            bind.answer(copy)
        else:
            bind.time_out()
        await house.later(200)
        assert len(bind.seen) == 2
        if receipt:
            assert await house.told() == []
            bind.receipt("A1")
        (told,) = await house.told()
        assert isinstance(told, Report)
        assert (told.message_id, told.state) == (mid, "delivered" if receipt else "sent")
        # What was said in the index while the copy was on its way stays said.
        assert told.possibly_doubled == (copy == "in doubt" or heard == "before")
        assert house.grants() == 0
        await house.all_forgotten(3_000)

    run(story)


TWO_PARTS = "x" * 300
"""Two parts."""


@pytest.mark.parametrize("heard", ["before", "with"])
@pytest.mark.parametrize("copy", [c.ESME_RMSGQFUL, c.ESME_RINVDSTADR, "in doubt"])
@pytest.mark.parametrize("receipt", [True, False])
def test_so_is_that_of_a_part_of_a_long_message(heard: str, copy: int | str, receipt: bool) -> None:
    """Its other part was answered at once."""

    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept(Valid(NUMBER, text=TWO_PARTS, receipt=receipt))
        bind.answer("A0")
        bind.time_out()
        await house.later(20)
        assert [sent.part for sent in bind.seen] == [0, 1, 1]
        bind.answer_late("A1")
        if heard == "before":
            await house.settle()
        if isinstance(copy, int):
            bind.answer(copy)
        else:
            bind.time_out()
        await house.later(200)
        assert len(bind.seen) == 3
        if receipt:
            assert await house.told() == []
            bind.receipt("A0")
            bind.receipt("A1")
        assert await house.states() == [(mid, "delivered" if receipt else "sent")]
        assert house.grants() == 0
        await house.all_forgotten(3_000)

    run(story)


@pytest.mark.parametrize("status", [c.ESME_RMSGQFUL, c.ESME_RINVDSTADR])
def test_of_a_copy_in_parts_only_those_go_on_whose_first_ones_are_still_in_doubt(status: int) -> None:
    """Both parts are lost, one answer comes late, and both parts of the copy are refused."""

    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept(Valid(NUMBER, text=TWO_PARTS))
        bind.time_out()
        await house.later(20)
        assert len(bind.seen) == 4
        bind.answer_late("A0")
        bind.answer(status, status)
        await house.later(200)
        if status == c.ESME_RINVDSTADR:
            assert await house.states() == [(mid, "rejected")]
            assert len(bind.seen) == 4
            return
        assert [sent.part for sent in bind.seen[4:]] == [1]
        bind.answer("A1")
        await house.settle()
        bind.receipt("A0")
        bind.receipt("A1")
        assert await house.states() == [(mid, "delivered")]
        assert house.grants() == 0
        await house.all_forgotten(3_000)

    run(story)


def test_a_late_answer_takes_its_part_out_of_a_copy_that_waits_in_hand() -> None:
    """The window is taken up by the first of two copies."""

    async def story(house: House) -> None:
        bind = house.bind(window=4)
        mids = await house.accept(Valid(NUMBER, text=TWO_PARTS), Valid(NUMBER, text=TWO_PARTS))
        bind.time_out()
        bind.lose()
        bind.bind_again(window=1)
        await house.later(20)
        assert len(bind.seen) == 5
        bind.late = bind.late[2:]
        bind.answer_late("A2")
        await house.settle()
        while bind.waiting:
            bind.answer(f"B{len(bind.seen)}")
            await house.settle()
        assert [sent.part for sent in bind.seen[4:]] == [0, 1, 1]
        for message_id in ("A2", "B5", "B6", "B7"):
            bind.receipt(message_id)
        assert sorted(await house.states()) == [(mid, "delivered") for mid in mids]
        assert house.grants() == 0
        await house.all_forgotten(3_000)

    run(story)
