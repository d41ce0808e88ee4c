from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from todoke.bench.smsc_config import SmscConfig
from todoke.codecs import receipt
from todoke.codecs.constants import (
    DELIVER_SM,
    ENQUIRE_LINK,
    ENQUIRE_LINK_RESP,
    ESME_RALYBND,
    ESME_RBINDFAIL,
    ESME_RINVBNDSTS,
    ESME_RINVCMDID,
    ESME_RINVCMDLEN,
    ESME_RINVDSTADR,
    ESME_RINVMSGID,
    ESME_RINVPASWD,
    ESME_RINVSYSID,
    ESME_RMSGQFUL,
    ESME_ROK,
    ESME_RTHROTTLED,
    ESME_RX_P_APPN,
    ESME_RX_T_APPN,
    GENERIC_NACK,
    SUBMIT_SM_RESP,
    TAG_MESSAGE_PAYLOAD,
    UNBIND,
)
from todoke.codecs.pdu import (
    DataSm,
    DataSmResp,
    DeliverSm,
    EnquireLink,
    Pdu,
    QuerySm,
    QuerySmResp,
    SubmitSmResp,
    Unbind,
    UnbindResp,
    encode,
)


def receipts_of(pdus: list[Pdu]) -> list[receipt.Receipt]:
    found = [
        receipt.parse_deliver(encode(pdu, pdu.sequence_number)) for pdu in pdus if isinstance(pdu, DeliverSm)
    ]
    return [one for one in found if one is not None]


def statuses(pdus: list[Pdu]) -> list[int]:
    return [pdu.command_status for pdu in pdus if not isinstance(pdu, DeliverSm)]


# Binds and states


@pytest.mark.parametrize(
    ("system_id", "password", "status"),
    [
        (b"todoke", b"wrong", ESME_RINVPASWD),
        (b"nobody", b"secret", ESME_RINVSYSID),
        (b"todoke", b"secret", ESME_ROK),
    ],
)
def test_credentials(world, system_id: bytes, password: bytes, status: int) -> None:
    (answer,) = world().peer().bind(system_id, password)
    assert answer.command_status == status


def test_a_bind_too_many_is_refused_and_a_place_becomes_free(world) -> None:
    smsc = world(binds_max=2)
    first, _ = smsc.bound(), smsc.bound()
    assert statuses(smsc.peer().bind()) == [ESME_RALYBND]
    assert statuses(first.request(Unbind())) == [ESME_ROK]
    assert first.ended == "close"
    assert statuses(smsc.peer().bind()) == [ESME_ROK]


def test_binds_refused_by_proportion(world) -> None:
    smsc = world(bind_errors={"ESME_RBINDFAIL": 0.5}, binds_max=100)
    counts = Counter(smsc.peer().bind()[0].command_status for _ in range(60))
    assert 15 < counts[ESME_RBINDFAIL] < 45
    assert counts[ESME_ROK] == 60 - counts[ESME_RBINDFAIL] == smsc.core.statistics().bound


def test_binding_twice_on_one_connection_is_refused(world) -> None:
    assert statuses(world().bound().bind()) == [ESME_RALYBND]


def test_submit_needs_a_bind_that_may_send(world) -> None:
    smsc = world()
    assert statuses(smsc.peer().submit(1)) == [ESME_RINVBNDSTS]
    assert statuses(smsc.bound("receiver").submit(1)) == [ESME_RINVBNDSTS]
    assert statuses(smsc.bound("transmitter").submit(1)) == [ESME_ROK]


def test_enquire_link_is_answered_in_any_state(world) -> None:
    assert statuses(world().peer().request(EnquireLink())) == [ESME_ROK]


def test_an_unknown_command_gets_generic_nack_and_the_session_lives(world) -> None:
    peer = world().bound()
    (nack,) = peer.octets(bytes.fromhex("00000010 00000077 00000000 00000009"))
    assert (nack.command_id, nack.command_status, nack.sequence_number) == (GENERIC_NACK, ESME_RINVCMDID, 9)
    assert statuses(peer.submit(1)) == [ESME_ROK]


def test_an_impossible_length_closes_the_session(world) -> None:
    peer = world().bound()
    (nack,) = peer.octets(bytes.fromhex("00000003 00000004"))
    assert (nack.command_id, nack.command_status) == (GENERIC_NACK, ESME_RINVCMDLEN)
    assert peer.ended == "close"


def test_octets_one_at_a_time_give_the_same_answers(world) -> None:
    whole, dribble = world().peer(), world().peer()
    octets = b"".join(
        encode(pdu, number)
        for number, pdu in enumerate(
            [EnquireLink(), QuerySm(message_id=b"1"), *[EnquireLink()] * 3, Unbind()], 1
        )
    )
    expected = whole.octets(octets)
    assert [pdu for octet in octets for pdu in dribble.octets(bytes((octet,)))] == expected


def test_a_connection_that_does_not_bind_is_closed(world) -> None:
    smsc = world(bind_timeout_s=5.0)
    silent, bound = smsc.peer(), smsc.bound()
    smsc.pass_time(6.0)
    assert (silent.ended, bound.ended) == ("close", "")


def test_enquire_link_and_inactivity(world) -> None:
    smsc = world(enquire_link_s=10.0, inactivity_s=25.0)
    peer = smsc.bound()
    smsc.pass_time(24.0)
    assert [pdu.command_id for pdu in peer.pdus()] == [ENQUIRE_LINK, ENQUIRE_LINK]
    smsc.pass_time(2.0)
    assert peer.ended == "close"


# Responses and receipts


def test_a_part_is_answered_then_receipted_with_its_id(world) -> None:
    smsc = world()
    peer = smsc.bound()
    answer, report = peer.submit(42)
    assert isinstance(answer, SubmitSmResp)
    (got,) = receipts_of([report])
    assert (got.message_id, got.state, got.err) == (answer.message_id.decode(), "delivered", "000")
    assert (report.source_addr, report.destination_addr) == (b"819000000042", b"Todoke")
    assert (report.source_addr_ton, report.dest_addr_ton) == (1, 5)
    assert got.done_date == "2701150816"
    peer.answer([report])
    assert smsc.core.statistics().delivers_answered == 1
    assert smsc.core.statistics().waiting == 0
    (part,) = smsc.log.parts
    assert (part.destination, part.source, part.message_id) == ("819000000042", "Todoke", got.message_id)
    assert [answered.serial for answered in smsc.log.receipts] == [part.serial]


def test_delays(world) -> None:
    smsc = world(response_delay_s=0.5, receipt_delay_s=2.0)
    peer = smsc.bound()
    assert peer.submit(1, 2) == []
    smsc.pass_time(0.499)
    assert peer.pdus() == []
    smsc.pass_time(0.003)
    assert statuses(peer.pdus()) == [ESME_ROK, ESME_ROK]
    smsc.pass_time(1.99)
    assert peer.pdus() == []
    smsc.pass_time(0.02)
    assert len(receipts_of(peer.pdus())) == 2


def test_dates_in_receipts(world) -> None:
    smsc = world(receipt_delay_s=3_600.0)
    peer = smsc.bound()
    peer.submit(1)
    smsc.pass_time(3_601.0)
    (report,) = peer.pdus()
    assert b"submit date:2701150816 done date:2701150916 " in report.short_message


def test_jitter_spreads_answers_and_no_receipt_overtakes_its_response(world) -> None:
    smsc = world(response_jitter_s=1.0, receipt_jitter_s=0.5)
    peer = smsc.bound()
    peer.submit(*range(200))
    smsc.pass_time(0.5)
    early = peer.pdus()
    assert 60 < len(statuses(early)) < 140
    smsc.pass_time(1.0)
    answered: set[str] = set()
    for pdu in early + peer.pdus():
        if isinstance(pdu, SubmitSmResp):
            answered.add(pdu.message_id.decode())
        else:
            assert receipts_of([pdu])[0].message_id in answered
    assert len(answered) == 200


@pytest.mark.parametrize(
    ("form", "in_response", "in_receipt"),
    [
        ("decimal", "1000000001", "1000000001"),
        ("hex", "3b9aca01", "3b9aca01"),
        ("hex_decimal", "3b9aca01", "1000000001"),
        ("decimal_hex", "1000000001", "3b9aca01"),
        ("zeros", "0000001000000001", "1000000001"),
        ("zeros_receipt", "1000000001", "0000001000000001"),
        ("mixed_case", "3B9ACA01", "3b9aca01"),
    ],
)
def test_id_forms(world, form: str, in_response: str, in_receipt: str) -> None:
    answer, report = world(id_form=form).bound().submit(1)
    assert (answer.message_id.decode(), receipts_of([report])[0].message_id) == (in_response, in_receipt)


def test_uuids_differ_and_match(world) -> None:
    pdus = world(id_form="uuid").bound().submit(1, 2)
    ids = [pdu.message_id.decode() for pdu in pdus if isinstance(pdu, SubmitSmResp)]
    assert len(set(ids)) == 2
    assert all(len(one) == 36 for one in ids)
    assert [one.message_id for one in receipts_of(pdus)] == ids


@pytest.mark.parametrize("form", ["text", "tlv", "both"])
def test_receipt_forms(world, form: str) -> None:
    answer, report = world(receipt_form=form, states={"undeliverable:027": 1.0}).bound().submit(1)
    (got,) = receipts_of([report])
    assert (got.message_id, got.state) == (answer.message_id.decode(), "undeliverable")
    assert bool(report.short_message) == (form != "tlv")
    assert bool(report.tlvs) == (form != "text")


def test_receipt_text(world) -> None:
    _, report = world(receipt_text=True).bound().submit(1, text=b"id:9 stat:EXPIRED and more")
    assert report.short_message.endswith(b"text:id:9 stat:EXPIRED an")
    assert receipts_of([report])[0].state == "delivered"


@pytest.mark.parametrize(
    ("registered_delivery", "state", "wanted"),
    [
        (0, "delivered", 0),
        (1, "delivered", 1),
        (2, "delivered", 0),
        (3, "delivered", 1),
        (17, "delivered", 1),
        (0, "rejected", 0),
        (1, "rejected", 1),
        (2, "rejected", 1),
        (3, "rejected", 0),
    ],
)
def test_registered_delivery(world, registered_delivery: int, state: str, wanted: int) -> None:
    peer = world(states={state: 1.0}).bound()
    assert len(receipts_of(peer.submit(1, registered_delivery=registered_delivery))) == wanted


def test_states_by_proportion_and_the_same_seed_twice(world) -> None:
    fields = {"states": {"undeliverable:011": 0.2, "expired": 0.1}, "receipt_window_max": 2_000, "seed": 9}
    runs = [world(**fields).bound().submit(*range(1_000)) for _ in range(2)]
    assert runs[0] == runs[1]
    counts = Counter((one.state, one.err) for one in receipts_of(runs[0]))
    assert 150 < counts["undeliverable", "011"] < 250
    assert 60 < counts["expired", "001"] < 140
    assert sum(counts.values()) == 1_000
    other = world(**(fields | {"seed": 10})).bound().submit(*range(1_000))
    assert other != runs[0]


def test_a_plain_scenario_and_one_that_chooses_give_the_same_octets(world) -> None:
    """The batch path and the path for each part are one behaviour."""
    plain, chosen = world(seed=3), world(seed=3)
    chosen.core.plain = False
    for smsc in (plain, chosen):
        smsc.bound()
    assert plain.peers[0].submit(*range(50)) == chosen.peers[0].submit(*range(50))
    assert plain.log.parts == chosen.log.parts
    assert plain.core.statistics() == chosen.core.statistics()


def test_errors_by_proportion_are_not_taken(world) -> None:
    smsc = world(errors={"ESME_RMSGQFUL": 0.3, "0x400": 0.1}, receipt_window_max=2_000)
    pdus = smsc.bound().submit(*range(1_000))
    counts = Counter(statuses(pdus))
    assert 230 < counts[ESME_RMSGQFUL] < 370
    assert 60 < counts[0x400] < 140
    assert (
        counts[ESME_ROK] == len(smsc.log.parts) == len(receipts_of(pdus)) == smsc.core.statistics().accepted
    )


def test_lost_responses_are_taken_and_receipted(world) -> None:
    smsc = world(lost_responses=1.0)
    pdus = smsc.bound().submit(1, 2)
    assert statuses(pdus) == []
    assert len(receipts_of(pdus)) == len(smsc.log.parts) == 2


def test_doubled_early_missing_and_intermediate_receipts(world) -> None:
    assert len(receipts_of(world(doubled_receipts=1.0).bound().submit(1))) == 2
    assert receipts_of(world(no_receipts=1.0).bound().submit(1)) == []
    early, answer = world(early_receipts=1.0).bound().submit(1)
    assert isinstance(early, DeliverSm)
    assert isinstance(answer, SubmitSmResp)
    states = [one.state for one in receipts_of(world(enroute_first=1.0).bound().submit(1))]
    assert states == ["enroute", "delivered"]


def test_shuffled_receipts(world) -> None:
    pdus = world(shuffle_receipts=True).bound().submit(*range(100))
    numbers = [int(one.source_addr) for one in receipts_of(pdus)]
    assert sorted(numbers) == list(range(819000000000, 819000000100)) != numbers


# Limits


def test_a_rate_is_kept_over_the_sliding_second(world) -> None:
    smsc = world(rate_max=10)
    peer = smsc.bound()
    assert Counter(statuses(peer.submit(*range(6)))) == {ESME_ROK: 6}
    smsc.pass_time(0.6)
    assert Counter(statuses(peer.submit(*range(6)))) == {ESME_ROK: 4, ESME_RTHROTTLED: 2}
    smsc.pass_time(0.5)
    assert Counter(statuses(peer.submit(*range(8)))) == {ESME_ROK: 6, ESME_RTHROTTLED: 2}
    assert smsc.core.statistics().peak_parts_per_s == 14
    assert smsc.core.statistics().refused == {"0x00000058": 4}


def test_a_window_is_kept(world) -> None:
    smsc = world(window_max=3, response_delay_s=1.0)
    peer = smsc.bound()
    assert statuses(peer.submit(*range(5))) == [ESME_RTHROTTLED] * 2
    smsc.pass_time(1.1)
    assert statuses(peer.pdus()) == [ESME_ROK] * 3
    assert statuses(peer.submit(1)) == []


def test_a_full_smsc_says_so(world) -> None:
    smsc = world(messages_max=3, receipt_delay_s=60.0)
    assert Counter(statuses(smsc.bound().submit(*range(5)))) == {ESME_ROK: 3, ESME_RMSGQFUL: 2}


def test_unanswered_deliveries_stay_within_the_window(world) -> None:
    smsc = world(receipt_window_max=3)
    peer = smsc.bound()
    first = peer.submit(*range(5))
    assert len(receipts_of(first)) == 3
    assert len(receipts_of(peer.answer(first))) == 2


# Faults


def test_a_cut_after_n_submits_leaves_them_taken_and_unanswered(world) -> None:
    smsc = world(cut_after_submits=3)
    peer = smsc.bound()
    assert peer.submit(1, 2) != []
    assert peer.submit(3, 4) == []
    assert peer.ended == "reset"
    assert len(smsc.log.parts) == 3
    answer, *pdus = smsc.peer().bind()
    assert [event.word for event in smsc.log.events] == ["bound", "cut", "lost", "bound"]
    assert len(receipts_of([answer, *pdus])) == 3


def test_unanswered_receipts_are_offered_on_the_next_receiving_bind(world) -> None:
    smsc = world()
    peer = smsc.bound()
    expected = receipts_of(peer.submit(1, 2, 3))
    smsc.core.shut_down(smsc.now)
    smsc.collect()
    smsc.bound("transmitter")
    later = smsc.peer()
    (_, *pdus) = later.bind()
    assert receipts_of(pdus) == expected
    later.answer(pdus)
    assert smsc.core.statistics().waiting == 0


def test_a_delivery_without_answer_is_offered_again_after_a_while(world) -> None:
    smsc = world(receipt_timeout_s=10.0)
    peer = smsc.bound()
    expected = receipts_of(peer.submit(1))
    smsc.pass_time(9.9)
    assert peer.pdus() == []
    smsc.pass_time(0.3)
    again = peer.pdus()
    assert receipts_of(again) == expected
    peer.answer(again)
    smsc.pass_time(60.0)
    assert peer.pdus() == []


def test_a_temporary_error_brings_the_receipt_back_and_a_permanent_one_does_not(world) -> None:
    smsc = world(receipt_retry_s=5.0)
    peer = smsc.bound()
    pdus = peer.submit(1, 2)
    reports = [pdu for pdu in pdus if isinstance(pdu, DeliverSm)]
    peer.answer(reports[:1], ESME_RX_T_APPN)
    peer.answer(reports[1:], ESME_RX_P_APPN)
    smsc.pass_time(4.9)
    assert peer.pdus() == []
    smsc.pass_time(0.2)
    assert receipts_of(peer.pdus()) == receipts_of(reports[:1])
    assert smsc.core.statistics().receipts_dropped == 1
    assert smsc.log.receipts == []


def test_receipts_reach_any_receiving_bind_of_the_account(world) -> None:
    smsc = world()
    sender = smsc.bound("transmitter")
    receivers = [smsc.bound("receiver") for _ in range(2)]
    assert receipts_of(sender.submit(*range(10))) == []
    shares = [len(receipts_of(receiver.pdus())) for receiver in receivers]
    assert sum(shares) == 10
    assert min(shares) > 0


def test_timed_cuts_and_their_modes(world) -> None:
    for mode, ending in (("reset", "reset"), ("close", "close"), ("silence", "")):
        smsc = world(cut_every_s=10.0, cut_mode=mode)
        peer = smsc.bound()
        smsc.pass_time(11.0)
        assert peer.ended == ending
        assert peer.submit(1) == []
        assert smsc.core.statistics().bound == 0


def test_an_unbind_from_the_smsc(world) -> None:
    smsc = world(cut_every_s=10.0, cut_mode="unbind")
    peer = smsc.bound()
    smsc.pass_time(10.1)
    (unbind,) = peer.pdus()
    assert unbind.command_id == UNBIND
    assert statuses(peer.submit(1)) == [ESME_ROK]
    peer.octets(encode(UnbindResp(), unbind.sequence_number))
    assert peer.ended == "close"


def test_held_receipts_are_released_in_random_order(world) -> None:
    smsc = world(hold_receipts=100, receipt_window_max=1_000)
    peer = smsc.bound()
    assert receipts_of(peer.submit(*range(99))) == []
    assert smsc.core.statistics().held == 99
    numbers = [int(one.source_addr) - 819000000000 for one in receipts_of(peer.submit(99))]
    assert sorted(numbers) == list(range(100))
    assert numbers not in (list(range(100)), list(range(99, -1, -1)))
    assert [event.word for event in smsc.log.events] == ["bound", "released"]


def test_a_release_keeps_its_rate(world) -> None:
    smsc = world(hold_receipts=1_000, release_rate=100.0)
    peer = smsc.bound()
    peer.submit(*range(300))
    smsc.core.release(smsc.now)
    smsc.pass_time(1.0)
    assert 95 <= len(receipts_of(peer.pdus())) <= 100
    smsc.pass_time(5.0)
    assert len(receipts_of(peer.pdus())) >= 200


def test_messages_from_handsets(world) -> None:
    smsc = world(mo_rate=2.0, mo_texts=["STOP", "配信停止"])
    peer = smsc.bound()
    smsc.pass_time(10.0)
    pdus = peer.pdus()
    assert len(pdus) == 20
    assert all(pdu.command_id == DELIVER_SM and pdu.destination_addr == b"0032069000" for pdu in pdus)
    texts = {pdu.short_message.decode("utf-16-be" if pdu.data_coding == 8 else "ascii") for pdu in pdus}
    assert texts == {"STOP", "配信停止"}
    assert receipts_of(pdus) == []
    peer.answer(pdus)
    assert smsc.log.receipts == []


# Rules, query_sm, data_sm


def test_rules_go_by_the_longest_suffix_and_may_end(world) -> None:
    smsc = world(
        rules=[
            {"suffix": "7", "state": "undeliverable:027"},
            {"suffix": "17", "command_status": "ESME_RINVDSTADR"},
            {"suffix": "5", "command_status": "ESME_RTHROTTLED", "first": 2},
            {"suffix": "6", "lost_response": True, "no_receipt": True},
        ]
    )
    peer = smsc.bound()
    assert receipts_of(peer.submit(7))[0].err == "027"
    assert statuses(peer.submit(17)) == [ESME_RINVDSTADR]
    assert [statuses(peer.submit(5)) for _ in range(3)] == [[ESME_RTHROTTLED], [ESME_RTHROTTLED], [ESME_ROK]]
    assert peer.submit(6) == []
    assert statuses(peer.submit(8)) == [ESME_ROK]


def test_query_sm(world) -> None:
    smsc = world(receipt_delay_s=5.0, states={"expired": 1.0}, query_messages_max=4)
    peer = smsc.bound()
    (answer,) = peer.submit(1)
    assert isinstance(answer, SubmitSmResp)
    (reply,) = peer.request(QuerySm(message_id=answer.message_id))
    assert isinstance(reply, QuerySmResp)
    assert (reply.message_id, reply.message_state) == (answer.message_id, 1)
    smsc.pass_time(6.0)
    peer.pdus()
    (reply,) = peer.request(QuerySm(message_id=answer.message_id))
    assert isinstance(reply, QuerySmResp)
    assert reply.message_state == 3
    for number in range(4):
        peer.submit(number)
    assert statuses(peer.request(QuerySm(message_id=answer.message_id))) == [ESME_RINVMSGID]


def test_data_sm(world) -> None:
    peer = world().bound()
    answer, report = peer.request(
        DataSm(destination_addr=b"819011112222", registered_delivery=1, tlvs=[(TAG_MESSAGE_PAYLOAD, b"hi")])
    )
    assert isinstance(answer, DataSmResp)
    assert receipts_of([report])[0].message_id == answer.message_id.decode()


def test_a_submit_with_a_broken_tail_is_refused_alone(world) -> None:
    peer = world().bound()
    good = encode(EnquireLink(), 1)
    frame = bytes.fromhex("00000014 00000004 00000000 00000002 00000000")
    answers = peer.octets(good + frame)
    assert [pdu.command_id for pdu in answers] == [ENQUIRE_LINK_RESP, SUBMIT_SM_RESP]
    assert answers[1].command_status != ESME_ROK
    assert statuses(peer.submit(1)) == [ESME_ROK]


# Configuration


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"errors": {"ESME_NONSENSE": 0.1}}, "ESME_NONSENSE"),
        ({"bind_errors": {"13": 0.7, "14": 0.7}}, "bind_errors"),
        ({"errors": {"ESME_RSYSERR": 0.6, "0x14": 0.6}}, "errors"),
        ({"states": {"happy": 0.1}}, "happy"),
        ({"states": {"expired:x y": 0.1}}, "err code"),
        ({"lost_responses": 1.5}, "lost_responses"),
        ({"receipt_delay_s": -1.0}, "receipt_delay_s"),
        ({"receipt_delay_s": float("inf")}, "receipt_delay_s"),
        ({"binds_max": 0}, "binds_max"),
        ({"tls_cert": "x"}, "tls_key"),
        ({"hold_receipts": 10, "messages_max": 5}, "hold_receipts"),
        ({"rules": [{"suffix": "1", "state": "sad"}]}, "sad"),
    ],
)
def test_what_cannot_be_played_is_named(fields: dict[str, object], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        msgspec.convert(fields, SmscConfig)


def test_no_password_in_the_representation() -> None:
    shown = repr(SmscConfig(accounts={"carrier": "hunter2"}))
    assert "carrier" in shown
    assert "hunter2" not in shown
