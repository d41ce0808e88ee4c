"""Receipts whose message_id was lost with the answer: they find their message all the same."""

from __future__ import annotations

import pytest
from todoke.codecs.receipt import FINAL_STATES
from todoke.engine.dispatch import settling
from todoke.engine.dispatch.settling import Found
from todoke.engine.messages import Event
from todoke_tests_kit import NUMBER, FakeBind, House, Valid, node_config, run

SENDER = "0032069000"
HOLD_S = 15.0
HELD = node_config({"response_timeout_s": 30.0, "hold_s": HOLD_S})
WAITED_S = 35.0
"""response_timeout_s, and five seconds for a doubt to be recorded."""
LOOK_S = 30.0


def message(text: str = "a", to: str = NUMBER) -> Valid:
    return Valid(to, text=text, sender=SENDER)


def told(events: list[Event]) -> list[tuple[str, str, bool]]:
    return [(type(each).__name__.lower(), each.state, each.possibly_doubled) for each in events]


def doubts(house: House) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = house.stored().get("doubts", {})
    return found


async def copied(house: House, bind: FakeBind, *ids: str, texts: str = "a") -> list[str]:
    """Messages whose answers are lost, and whose copies are answered with these ids."""
    mids = await house.accept(*(message(text) for text in texts))
    bind.time_out()
    await house.later(HOLD_S + 1)
    assert [each.text for each in bind.seen] == 2 * list(texts)
    bind.answer(*ids)
    await house.settle()
    return mids


async def looked(house: House) -> None:
    """Long enough for every orphan there is to be looked at."""
    await house.later(WAITED_S + LOOK_S)


def test_a_receipt_that_comes_after_the_copy_was_sent_finds_its_message() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await copied(house, bind, "B1")
        bind.receipt("A1")
        await looked(house)
        (report,) = await house.told()
        assert report.message_id == mid
        assert told([report]) == [("report", "delivered", True)]
        assert doubts(house) == {}
        assert set(house.stored()["rx"]) == {b"a1", b"b1"}, "both ids correlate"
        bind.receipt("B1")
        bind.receipt("A1")
        await house.later(1)
        assert await house.told() == []
        assert house.stored().get("orphans", {}) == {}
        await house.later(3_000)
        assert house.left_over() == {}

    run(story, HELD)


@pytest.mark.parametrize("first", ["UNDELIV", "EXPIRED"])
def test_it_corrects_what_was_told_of_the_copy(first: str) -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await copied(house, bind, "B1")
        bind.receipt("B1", first)
        await house.later(1)
        state = {"UNDELIV": "undeliverable", "EXPIRED": "expired"}[first]
        assert told(await house.told()) == [("report", state, True)]
        bind.receipt("A1")
        await looked(house)
        found = await house.told()
        assert [each.message_id for each in found] == [mid]
        assert told(found) == [("correction", "delivered", True)]

    run(story, HELD)


def test_it_is_not_looked_whose_it_is_before_every_answer_is_there_or_in_doubt() -> None:
    """Another message to that number may be on its way, and have its answer lost as well."""

    async def story(house: House) -> None:
        bind = house.bind()
        await copied(house, bind, "B1")
        bind.receipt("A1")
        await house.later(WAITED_S - 1)
        assert await house.told() == []
        await house.later(LOOK_S + 1)
        assert told(await house.told()) == [("report", "delivered", True)]

    run(story, HELD)


def test_a_receipt_may_be_that_of_a_message_whose_answer_is_not_lost_yet() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        await copied(house, bind, "B1")
        await house.later(5)
        await house.accept(message("b"))
        bind.receipt("X")  # of either
        await house.later(30)
        bind.time_out()
        await house.later(HOLD_S + 1)
        assert [each.text for each in bind.seen] == ["a", "a", "b", "b"]
        await looked(house)
        assert await house.told() == []

    run(story, HELD)


def test_one_receipt_for_two_in_doubt_finds_neither() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        mids = await copied(house, bind, "B1", "B2", texts="ab")
        bind.receipt("A1")
        await looked(house)
        assert await house.told() == []
        assert len(doubts(house)) == 2
        bind.receipt("A2")
        await looked(house)
        found = await house.told()
        assert sorted(each.message_id for each in found) == sorted(mids)
        assert set(told(found)) == {("report", "delivered", True)}

    run(story, HELD)


def test_doubts_are_forgotten_when_their_receipts_would_be() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        await copied(house, bind, "B1")
        bind.receipt("B1")
        await house.later(800)
        assert len(doubts(house)) == 1, "the orphan of another message may be its receipt"
        await house.later(700)
        assert doubts(house) == {}
        bind.receipt("A1")
        await looked(house)
        assert told(await house.told()) == [("report", "delivered", True)]

    run(story, node_config({"hold_s": HOLD_S, "orphan_ttl_s": 1_000.0}))


def test_an_old_doubt_counts_against_the_receipt_of_a_new_one() -> None:
    """Its message is forgotten, its receipt may still come: nobody can tell whose this one is."""

    async def story(house: House) -> None:
        bind = house.bind()
        await copied(house, bind, "B1")
        bind.receipt("B1")
        await house.later(800)
        await house.accept(message("b"))
        bind.time_out()
        await house.later(1)
        bind.receipt("A2")
        await house.later(HOLD_S + 1)
        assert [each.text for each in bind.seen] == ["a", "a", "b", "b"]

    run(story, node_config({"hold_s": HOLD_S, "history_s": 10.0}))


@pytest.mark.parametrize("when_s", [1, HOLD_S + 1])
def test_a_late_answer_takes_its_doubt_out(when_s: float) -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        await house.accept(message(), message("b"))
        bind.time_out(1)
        await house.later(when_s)
        assert len(doubts(house)) == 1
        bind.answer_late("A1")
        await house.later(1)
        assert doubts(house) == {}

    run(story, HELD)


def test_an_answer_that_the_process_gave_up_takes_its_doubt_out() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        await house.accept(message())
        (token, *_) = bind.waiting[0]
        bind.time_out()
        await house.later(HOLD_S + 1)
        assert len(doubts(house)) == 1
        await house.carrier().late.write([(token, 0x80000004, 0, b"A1", 1)])
        assert doubts(house) == {}

    run(story, HELD)


def test_a_hold_that_is_settled_takes_its_doubt_out() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        await house.accept(message())
        bind.time_out()
        await house.later(1)
        assert len(doubts(house)) == 1
        bind.receipt("A1")
        await house.later(HOLD_S)
        assert doubts(house) == {}
        assert told(await house.told()) == [("report", "delivered", False)]
        # What is in doubt next has its own receipt, and only that.
        await house.accept(message("b"))
        bind.time_out()
        await house.later(1)
        bind.receipt("A2")
        await house.later(HOLD_S + 1)
        assert told(await house.told()) == [("report", "delivered", False)]
        assert len(bind.seen) == 2

    run(story, HELD)


def test_who_asked_for_no_receipt_has_no_doubts_noted() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        await house.accept(Valid(NUMBER, text="a", receipt=False), message("b"))
        bind.time_out()
        await house.later(1)
        assert [field.split()[0] for field in doubts(house)] == [NUMBER[-6:].encode()]
        bind.receipt("A1")
        await house.later(HOLD_S + 1)
        assert [each.text for each in bind.seen] == ["a", "b", "a"]

    run(story, HELD)


def test_a_copy_in_doubt_as_well_needs_two_receipts_and_is_told_possibly_doubled() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        await house.accept(message())
        bind.time_out()
        await house.later(HOLD_S + 1)
        bind.time_out()
        await house.later(1)
        assert len(doubts(house)) == 2
        bind.receipt("A1")
        bind.receipt("A2")
        await house.later(HOLD_S)
        assert [each.text for each in bind.seen] == ["a", "a"], "no third copy"
        assert told(await house.told()) == [("report", "delivered", True)]
        await looked(house)
        assert await house.told() == []
        assert doubts(house) == {}
        assert house.stored().get("orphans", {}) == {}

    run(story, HELD)


def test_one_receipt_of_two_copies_keeps_the_third_from_being_sent() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        await house.accept(message())
        for _ in range(2):
            bind.time_out()
            await house.later(HOLD_S + 1)
            bind.receipt("A1")
        await house.later(HOLD_S)
        assert [each.text for each in bind.seen] == ["a", "a"]
        assert told(await house.told()) == [("report", "delivered", True)]
        await house.later(3_000)
        bind.receipt("A2")
        await looked(house)
        assert await house.told() == []
        await house.later(90_000)
        assert house.left_over() == {}

    run(story, HELD)


@pytest.mark.parametrize("stat", ["DELIVRD", "UNDELIV"])
def test_who_is_never_sent_again_is_told_unknown_and_corrected_by_a_receipt(stat: str) -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept(message())
        bind.time_out()
        await house.later(1)
        assert await house.states() == [(mid, "unknown")]
        bind.receipt("A1", stat)
        await looked(house)
        found = await house.told()
        assert told(found) == ([("correction", "delivered", False)] if stat == "DELIVRD" else [])
        assert doubts(house) == {}
        assert len(bind.seen) == 1
        await house.later(3_000)
        assert house.left_over() == {}

    run(story, node_config({"in_doubt": "never"}))


def test_a_long_message_s_parts_are_found_one_by_one() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept(message("x" * 300))
        bind.answer("A1")
        bind.time_out()
        await house.later(HOLD_S + 1)
        assert [each.part for each in bind.seen] == [0, 1, 1]
        bind.answer("B2")
        await house.settle()
        bind.receipt("A1")
        bind.receipt("A2")
        await looked(house)
        found = await house.told()
        assert told(found) == [("report", "delivered", True)]
        assert [each.message_id for each in found] == [mid]

    run(story, HELD)


def test_one_receipt_tells_of_all_parts_where_the_carrier_does_so() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        await house.accept(message("x" * 300))
        bind.time_out()
        await house.later(1)
        bind.receipt("A1")
        await house.later(HOLD_S)
        assert len(bind.seen) == 2
        assert told(await house.told()) == [("report", "delivered", False)]

    run(story, node_config({"hold_s": HOLD_S, "multipart_receipts": "one"}))


def test_a_process_that_dies_leaves_its_doubts_to_the_next() -> None:
    async def story(house: House) -> None:
        await copied(house, house.bind(), "B1")
        await house.reopen()
        bind = house.bind()
        await house.later(1)
        bind.receipt("A1")
        await looked(house)
        assert told(await house.told()) == [("report", "delivered", True)]
        assert doubts(house) == {}

    run(story, HELD)


def test_what_is_not_final_finds_its_message_and_ends_nothing() -> None:
    async def story(house: House) -> None:
        assert "enroute" not in FINAL_STATES
        bind = house.bind()
        await copied(house, bind, "B1")
        bind.receipt("A1", "ENROUTE")
        await looked(house)
        assert await house.told() == []
        bind.receipt("A1")
        await house.later(1)
        assert told(await house.told()) == [("report", "delivered", True)]

    run(story, HELD)


def test_an_orphan_that_has_its_message_is_given_to_no_other_while_it_is_not_taken_up() -> None:
    """Two holds end one after the other, and the receipt stage has not come to it."""

    async def story(house: House) -> None:
        bind = house.bind()
        house.carrier().due.on_parked = lambda keys: None
        await house.accept(Valid(NUMBER, text="b", sender=SENDER, lane="bulk"))
        await house.accept(message())
        bind.time_out()
        await house.later(1)
        bind.receipt("A1")
        bind.receipt("A2")
        await house.later(HOLD_S + 1)
        assert set(house.stored()["rx"]) == {b"a1", b"a2"}

    run(story, HELD)


def test_what_a_hold_has_settled_is_not_written_again_by_who_looked_at_the_same_time() -> None:
    """The other process has read the doubt and the orphan before; the receipt has come to its end since."""

    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept(message())
        run_ = house.carrier().find(mid.split(".")[1])
        bind.time_out()
        await house.later(1)
        bind.receipt("A1")
        await house.later(HOLD_S)
        assert told(await house.told()) == [("report", "delivered", False)]
        known = {name: value for name, value in house.stored().items() if name.startswith(("rx", "j:", "b:"))}
        assert known["rx"][b"a1"][:1] == b"D"
        await house.carrier()._found(Found(run_.block, 0, 0, "A1"))
        assert {name: house.stored()[name] for name in known} == known
        await house.later(3_000)
        assert house.left_over() == {}

    run(story, HELD)


def test_of_too_many_doubts_the_oldest_are_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(settling, "DOUBTS_MAX", 2)

    async def story(house: House) -> None:
        bind = house.bind()
        for number in range(4):
            await house.accept(message(to=f"+81900000000{number}"))
            bind.time_out(1)
            await house.later(1)
        assert len(doubts(house)) == 4
        await house.later(300)
        assert sorted(field.split()[0] for field in doubts(house)) == [b"000002", b"000003"]

    run(story, HELD)
    assert "the oldest 2 parts in doubt are given up" in caplog.text
