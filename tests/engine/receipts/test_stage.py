"""Receipts on their way: answered once they are stored, matched whenever and in whatever form they come."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.lowlevel
from hypothesis import given, settings
from hypothesis import strategies as st
from todoke.codecs import constants as c
from todoke.codecs import pdu, septets
from todoke.engine.ledger.keys import CarrierKeys
from todoke.engine.messages import Received, Valid
from todoke.engine.receipts import stage as stage_module
from todoke_tests_kit import NUMBER, FakeBind, House, node_config, receipt_frame, run

OK, LATER = c.ESME_ROK, c.ESME_RX_T_APPN


async def sent(house: House, message_id: str) -> tuple[str, FakeBind]:
    """One message taken by the SMSC under that id."""
    bind = house.bind()
    (mid,) = await house.accept("a")
    bind.answer(message_id)
    await house.settle()
    return mid, bind


@pytest.mark.parametrize(
    ("given_id", "receipt_id"),
    [
        ("812FC7470000001B", "9308878062554710043"),  # variants 1 and 2
        ("9308878062554710043", "812FC7470000001B"),  # 3
        ("04062581461565934000241", "4062581461565934000241"),  # 4
        ("0913121205", "913121205"),
        ("0e999f21-1234-5678-9abc-000000000000", "0E999F21-1234-5678-9ABC-000000000000"),  # 5, 6
        ("rdwjwxns18krxr9936ey96ymcw", "rdwjwxns18krxr9936ey96ymcw"),
        (" 77 ", "77"),
    ],
)
@pytest.mark.parametrize("early", [False, True])
def test_an_id_is_known_in_any_of_its_forms_before_or_after_the_answer(
    given_id: str, receipt_id: str, early: bool
) -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        if early:  # variant 27
            bind.receipt(receipt_id)
            await house.settle()
            assert bind.delivers == [(1, OK)]
            bind.answer(given_id)
        else:
            bind.answer(given_id)
            await house.settle()
            bind.receipt(receipt_id)
        assert await house.states() == [(mid, "delivered")]
        assert "orphans" not in house.stored()

    run(story)


@pytest.mark.parametrize("checkpoints", range(12))
def test_receipt_and_answer_in_the_same_breath_find_each_other(checkpoints: int) -> None:
    """Whichever of the two steps is first, one of them sees the other; here under two forms of the id."""

    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        bind.receipt("28")
        for _ in range(checkpoints):
            await trio.lowlevel.checkpoint()
        bind.answer("1C")
        assert await house.states() == [(mid, "delivered")]
        assert "orphans" not in house.stored()

    run(story)


@pytest.mark.parametrize("checkpoints", range(8))
def test_an_answer_whose_record_lost_its_reply_still_finds_the_receipt_that_came_first(
    checkpoints: int,
) -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        bind.receipt("A1")
        await house.settle()
        bind.answer("A1")
        for _ in range(checkpoints):
            await trio.lowlevel.checkpoint()
        house.store.cut()
        await house.later(3)
        assert await house.states() == [(mid, "delivered")]

    for seed in range(4):
        run(story, seed=seed)


def test_a_receipt_parked_while_an_earlier_one_finds_its_message_is_not_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The account's other process looks for the message before its answer, and parks its end while the
    first receipt, which was none, is just being taken up.
    """

    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        bind.receipt("A1", stat="ACCEPTD")
        other = await house.neighbour()
        ours, theirs = house.carrier().receipts._stage, other.carrier().receipts._stage
        looks, parked, taken_up = trio.Event(), trio.Event(), trio.Event()
        orphans = ("HMGET", CarrierKeys("docomo").orphans)

        async def parks_late(*args: Any, commit: Any = theirs.commit) -> Any:
            await looks.wait()
            replies = await commit(*args)
            parked.set()
            return replies

        async def looks_late(commands: list[tuple[Any, ...]], *watch: Any, read: Any = theirs.read) -> Any:
            if parked.is_set() and commands[0][:2] == orphans:
                await taken_up.wait()
            return await read(commands, *watch)

        async def reads_before(commands: list[tuple[Any, ...]], *watch: Any, read: Any = ours.read) -> Any:
            replies = await read(commands, *watch)
            if commands[0][:2] == orphans:
                looks.set()
                await parked.wait()
            return replies

        async def commits(*args: Any, commit: Any = ours.commit) -> Any:
            replies = await commit(*args)
            taken_up.set()
            return replies

        for stage, name, instead in (
            (theirs, "commit", parks_late),
            (theirs, "read", looks_late),
            (ours, "read", reads_before),
            (ours, "commit", commits),
        ):
            monkeypatch.setattr(stage, name, instead)
        other.bind().receipt("A1")
        await house.settle()
        bind.answer("A1")
        await taken_up.wait()
        assert await house.states() == [(mid, "delivered")]

    run(story)


def test_only_exact_ids_where_the_carrier_says_so() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        await house.accept("a")
        bind.answer("1C")
        await house.settle()
        bind.receipt("28")
        assert await house.states() == []

    run(story, node_config({"message_ids": "exact"}))


def test_another_bases_hit_needs_the_destination() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        bind.answer("1C")
        await house.settle()
        bind.receipt("28", to="819099999999")
        assert await house.states() == []
        bind.receipt("28", to="0" + NUMBER[2:])
        assert await house.states() == [(mid, "delivered")]

    run(story)


def test_an_id_given_twice_of_which_one_answer_was_lost_closes_no_wrong_message() -> None:
    """Fault 36: the SMSC began its ids anew; its first answer under this id never came."""

    async def story(house: House) -> None:
        bind = house.bind()
        (doubted,) = await house.accept(Valid("+819077777777", text="a"))
        bind.time_out()
        await house.settle()
        (known,) = await house.accept("b")
        bind.answer("7")
        await house.settle()
        bind.receipt("7", to="819077777777")
        assert await house.states() == []
        bind.receipt("7", "UNDELIV")
        assert await house.states() == [(known, "undeliverable")]
        await house.later(120)
        assert await house.states() == [(doubted, "delivered")]
        assert len(bind.seen) == 2, "no copy is needed"
        await house.later(5_000)
        assert house.left_over() == {}

    run(story, node_config({"hold_s": 15, "history_s": 30}))


@pytest.mark.parametrize("stat", ["DELIVRD", "UNDELIV"])
def test_where_numbers_are_never_as_we_know_them_ids_alone_count(stat: str) -> None:
    """The first few wait, for what may yet be heard of an id given twice."""

    async def story(house: House) -> None:
        bind = house.bind()
        mids = await house.accept(*(f"text {number}" for number in range(stage_module.TRUST_MAX + 2)))
        bind.answer(*(f"A{number}" for number in range(len(mids))))
        await house.settle()
        for number in range(len(mids)):
            bind.receipt(f"A{number}", stat, to="0120444444")
            await house.settle()
        told = [mid for mid, _ in await house.states()]
        assert told == mids[stage_module.TRUST_MAX - 1 :]
        await house.later(400)
        told += [mid for mid, _ in await house.states()]
        assert sorted(told) == sorted(mids)

    run(story, node_config({"lease_s": 60}))


def test_a_single_odd_number_is_believed_when_nothing_in_doubt_speaks_against_it() -> None:
    async def story(house: House) -> None:
        mid, bind = await sent(house, "A1")
        bind.receipt("A1", to="0120444444")
        assert await house.states() == []
        await house.later(600)
        assert await house.states() == [(mid, "delivered")]

    run(story, node_config({"lease_s": 60}))


def test_the_tlv_s_id_and_the_text_s_differ_and_only_one_is_known() -> None:
    """Variant 23."""

    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        bind.answer("known")
        await house.settle()
        bind.deliver(receipt_frame("known", tlvs=[(c.TAG_RECEIPTED_MESSAGE_ID, b"other\0")]))
        assert await house.states() == [(mid, "delivered")]

    run(story)


def test_a_receipt_on_another_bind_is_as_good() -> None:
    """Variant 28."""

    async def story(house: House) -> None:
        one, two = house.bind(), house.bind()
        (mid,) = await house.accept("a")
        taken = one if one.waiting else two
        taken.answer("A1")
        await house.settle()
        (two if taken is one else one).receipt("A1")
        assert await house.states() == [(mid, "delivered")]

    run(story)


def test_one_id_at_two_carriers_is_two_messages() -> None:
    """Variant 41."""

    async def story(house: House) -> None:
        first, second = house.bind(carrier="docomo"), house.bind(carrier="au")
        one, two = await house.accept("a", Valid(NUMBER, text="b", carrier="au"))
        first.answer("7")
        second.answer("7")
        await house.settle()
        second.receipt("7", "UNDELIV")
        assert await house.states() == [(two, "undeliverable")]
        first.receipt("7")
        assert await house.states() == [(one, "delivered")]

    run(story, node_config({}, {"name": "au"}))


def test_redelivered_receipts_are_answered_and_told_once() -> None:
    """Variants 30 and 44."""

    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        bind.answer("A1")
        await house.settle()
        for _ in range(5):
            bind.receipt("A1")
            await house.settle()
        bind.deliver(*(receipt_frame("A1") for _ in range(5)))
        await house.settle()
        assert bind.delivers == [(handle, OK) for handle in range(1, 11)]
        assert await house.states() == [(mid, "delivered")]

    run(story)


def test_the_store_away_leaves_receipts_with_the_smsc() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        bind.answer("A1")
        await house.settle()
        house.store.down()
        bind.receipt("A1")
        await house.settle()
        assert bind.delivers == [(1, LATER)]
        house.store.up()
        await house.later(1)
        assert await house.states() == []
        bind.receipt("A1")
        await house.settle()
        assert bind.delivers == [(1, LATER), (2, OK)]
        assert await house.states() == [(mid, "delivered")]

    run(story)


@pytest.mark.parametrize("checkpoints", range(10))
def test_what_was_answered_ok_survives_a_crash_of_everything(checkpoints: int) -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        mids = await house.accept("a", "b", "c")
        bind.answer("A0", "A1", "A2")
        await house.settle()
        bind.deliver(*(receipt_frame(f"A{number}") for number in range(3)))
        for _ in range(checkpoints):
            await trio.lowlevel.checkpoint()
        answered = {handle - 1 for handle, status in bind.delivers if status == OK}
        house.store.crash()
        await house.reopen()
        again = house.bind()
        for number in set(range(3)) - answered:
            again.receipt(f"A{number}")
        assert dict(await house.states()) == dict.fromkeys(mids, "delivered")

    for seed in range(3):
        run(story, seed=seed)


def test_without_room_orphans_stay_with_the_smsc() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        bind.deliver(*(receipt_frame(f"nobody-{number}") for number in range(5)))
        await house.settle()
        assert sorted(status for _, status in bind.delivers) == [OK, OK, OK, LATER, LATER]
        assert len(house.stored()["orphans"]) == 3

    run(story, node_config({"orphans_max": 3}))


def test_a_flood_under_one_id_keeps_the_newest_few() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        for _ in range(5):
            bind.deliver(*(receipt_frame("same") for _ in range(20)))
            await house.settle()
        assert len(house.stored()["orphans"]) == 1
        assert len(house.stored()["orphans"][b"same"]) < 3_000

    run(story)


def test_a_message_from_a_handset_is_told_and_answered() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        bind.deliver(
            pdu.encode(
                pdu.DeliverSm(
                    source_addr=b"819012345678", source_addr_ton=1, destination_addr=b"0032069000",
                    data_coding=8, short_message="はい".encode("utf-16-be"),
                ),
                1,
            )
        )  # fmt: skip
        (event,) = await house.heard()
        assert isinstance(event, Received)
        assert (event.from_, event.to, event.text) == ("+819012345678", "0032069000", "はい")
        assert bind.delivers == [(1, OK)]

    run(story)


@pytest.mark.parametrize(
    ("settings", "octets", "text"),
    [
        ({}, b"\x00\x41", "@A"),
        ({"received_alphabet": "latin1"}, b"caf\xe9 @", "café @"),
        ({"received_alphabet": "shift_jis"}, "はい".encode("cp932"), "はい"),
        ({"received_packed": True}, septets.pack(b"hello"), "hello"),
    ],
)
def test_data_coding_0_of_handsets_is_what_the_carrier_says(
    settings: dict[str, Any], octets: bytes, text: str
) -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        bind.deliver(pdu.encode(pdu.DeliverSm(source_addr=b"1", short_message=octets), 1))
        await house.settle()
        (event,) = await house.heard()
        assert isinstance(event, Received)
        assert event.text == text

    run(story, node_config(settings))


def test_what_cannot_be_read_is_answered_and_counted_and_holds_up_nothing() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        bind.answer("A1")
        await house.settle()
        broken = b"\0\0\0\x14\0\0\0\5\0\0\0\0\0\0\0\1abcd"
        bind.deliver(broken, receipt_frame("A1"))
        assert await house.states() == [(mid, "delivered")]
        assert bind.delivers == [(1, OK), (2, OK)]
        assert house.carrier().receipts.counts["unreadable"] == 1
        assert await unread(house) == [broken], "kept for a person to look at"

    run(story)


async def unread(house: House) -> list[bytes]:
    """The frames that were kept."""
    stage = house.store.stage("test")
    (entries,) = await stage.read([("XRANGE", CarrierKeys("docomo").unreadable, "-", "+")])
    return [fields[1] for _, fields in entries]


def test_a_poisoned_pdu_ends_neither_the_node_nor_its_next_life(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The codec itself fails at it (fault 58). Nothing of its text is logged; the rest flows."""

    def fails(frame: bytes) -> None:
        raise IndexError("a fault of ours: 0312345678 says hello")

    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        bind.answer("A1")
        await house.settle()
        monkeypatch.setattr(stage_module, "parse_deliver", fails)
        poison = pdu.encode(pdu.DeliverSm(source_addr=b"0312345678", short_message=b"hello"), 1)
        for _ in range(3):
            bind.deliver(poison, receipt_frame("A1"))
            await house.settle()
        assert {status for _, status in bind.delivers} == {OK}
        assert len(bind.delivers) == 6
        assert await house.states() == [(mid, "delivered")]
        assert await unread(house) == [poison] * 3
        house.store.down()
        bind.deliver(poison)
        await house.later(1)
        house.store.up()
        assert bind.delivers[-1][1] == c.ESME_RX_T_APPN, "what is not kept stays with the SMSC"
        assert len(await unread(house)) == 3

    run(story)
    assert "IndexError in fails" in caplog.text
    assert "hello" not in caplog.text


def test_of_many_poisoned_pdus_the_first_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_module, "UNREADABLE_MAX", 5)

    async def story(house: House) -> None:
        bind = house.bind()
        for number in range(8):
            bind.deliver(b"\0\0\0\x14\0\0\0\5\0\0\0\0\0\0\0\1abc%d" % number)
            await house.settle()
        assert [frame[-1:] for frame in await unread(house)] == [b"%d" % number for number in range(5)]
        assert house.carrier().receipts.counts["unreadable"] == 8

    run(story)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=120), min_size=1, max_size=8))
def test_garbage_in_a_deliver_sm_never_stops_the_stage(bodies: list[bytes]) -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        await house.accept("a")
        bind.answer("A1")
        await house.settle()
        frames = [(16 + len(body)).to_bytes(4, "big") + b"\0\0\0\5\0\0\0\0\0\0\0\1" + body for body in bodies]
        bind.deliver(*frames, receipt_frame("A1"))
        await house.settle()
        assert len(bind.delivers) == len(bodies) + 1
        states = [event.state for event in await house.told() if hasattr(event, "state")]
        assert states == ["delivered"]

    run(story)


def test_receipts_without_an_id_are_kept_as_orphans_and_match_nothing() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        await house.accept("a")
        bind.answer("A1")
        await house.settle()
        text = b"stat:DELIVRD err:000"
        bind.deliver(
            pdu.encode(pdu.DeliverSm(esm_class=4, source_addr=NUMBER.encode(), short_message=text), 1)
        )
        await house.settle()
        assert bind.delivers == [(1, OK)]
        assert await house.states() == []

    run(story)


def test_an_intermediate_receipt_is_not_told_and_a_query_does_not_take_it_for_an_end() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        bind.answer("A1")
        await house.settle()
        bind.receipt("A1", "ACCEPTD")
        assert await house.states() == []
        assert (await house.query(mid))["final"] is False
        bind.receipt("A1", "UNDELIV", err="045")
        (event,) = await house.told()
        assert event.error is not None
        assert event.error.network_error == "045"

    run(story)
