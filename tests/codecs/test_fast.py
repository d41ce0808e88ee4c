"""fast: whatever the fast path says, the complete path says too."""

from __future__ import annotations

from itertools import chain, permutations, product
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from todoke.codecs import constants as c
from todoke.codecs import pdu, receipt
from todoke.codecs.errors import CodecError, PduError
from todoke.codecs.fast import SubmitTemplate, delivered_id, receipt_of, submit_of
from todoke.codecs.framing import split
from todoke.codecs.receipt import parse_deliver

TEMPLATE_FIELDS: dict[str, Any] = {
    "service_type": b"%b",
    "source_addr_ton": 5,
    "source_addr_npi": 0x25,
    "source_addr": b"100%",
    "dest_addr_ton": 2,
    "dest_addr_npi": 8,
    "protocol_id": 0x25,
    "priority_flag": 1,
    "registered_delivery": 0x11,
    "replace_if_present_flag": 1,
}
TEMPLATE = SubmitTemplate(**TEMPLATE_FIELDS)

strings = st.binary(max_size=20).map(lambda value: value.replace(b"\0", b"x"))
octets = st.integers(0, 255)


# --- submit_sm ------------------------------------------------------------------------------------


@given(
    strings | st.from_regex(rb"\A[0-9]{1,20}\Z"),
    octets,
    st.binary(max_size=254),
    octets | st.just(0),
    st.sampled_from([b"", b"000001000000000R"]),
    st.lists(st.tuples(st.integers(0x1400, 0x3FFF), st.binary(max_size=9)), max_size=3),
    st.integers(0, 2**32 - 1),
)
@example(b"819012345678", 0, b"hi", 0, b"", [], 1)
@example(b"819012345678", 8, b"%b%c", 0x40, b"", [], 1)
def test_the_template_writes_what_the_complete_encoder_writes(
    destination_addr: bytes,
    data_coding: int,
    short_message: bytes,
    esm_class: int,
    validity_period: bytes,
    tlvs: list[tuple[int, bytes]],
    sequence_number: int,
):
    complete = pdu.encode(
        pdu.SubmitSm(
            **TEMPLATE_FIELDS,
            destination_addr=destination_addr,
            data_coding=data_coding,
            short_message=short_message,
            esm_class=esm_class,
            validity_period=validity_period,
            tlvs=tlvs,
        ),
        sequence_number,
    )
    rest = (destination_addr, data_coding, short_message, esm_class, validity_period, pdu.encode_tlvs(tlvs))
    # Twice: the first use of a data_coding takes the longer way.
    for _ in range(2):
        assert TEMPLATE.pdu(sequence_number, *rest) == complete
        assert TEMPLATE.body(*rest) == complete[16:]


@pytest.mark.parametrize("data_coding", [0, 8, 255])
def test_parts_of_one_template_leave_nothing_to_each_other(data_coding: int):
    template = SubmitTemplate(**TEMPLATE_FIELDS)
    parts = list(product((0, 0x40), (b"", b"000001000000000R"), ([], [(c.TAG_MESSAGE_STATE, b"\2")])))
    for esm_class, validity_period, tlvs in chain.from_iterable(permutations(parts, 2)):
        fields: dict[str, Any] = {
            "destination_addr": b"819012345678",
            "data_coding": data_coding,
            "short_message": b"hi",
            "esm_class": esm_class,
            "validity_period": validity_period,
        }
        complete = pdu.encode(pdu.SubmitSm(**TEMPLATE_FIELDS, **fields, tlvs=tlvs), 7)
        assert template.pdu(7, **fields, tlvs=pdu.encode_tlvs(tlvs)) == complete
        assert template.body(**fields, tlvs=pdu.encode_tlvs(tlvs)) == complete[16:]


def test_defaults_of_the_template():
    body = SubmitTemplate(source_addr=b"1").body(b"2", 0, b"")
    message = pdu.SubmitSm(
        source_addr=b"1", destination_addr=b"2", dest_addr_ton=1, dest_addr_npi=1, registered_delivery=1
    )
    assert body == pdu.encode(message, 1)[16:]


def test_what_is_not_given_is_empty():
    plain = pdu.SubmitSm(destination_addr=b"2", dest_addr_ton=1, dest_addr_npi=1, registered_delivery=1)
    complete = pdu.encode(plain, 7)
    template = SubmitTemplate()
    for _ in range(2):
        assert template.pdu(7, b"2", 0, b"") == complete
        assert template.body(b"2", 0, b"") == complete[16:]


@pytest.mark.parametrize("changes", [{"short_message": b"x" * 254}, {"destination_addr": b"1" * 20}])
def test_a_part_at_the_limits_is_written(changes: dict[str, Any]):
    arguments: dict[str, Any] = {"destination_addr": b"1", "data_coding": 0, "short_message": b""} | changes
    arguments["data_coding"] = 8  # not yet used by this template: the longer way once
    template = SubmitTemplate(**TEMPLATE_FIELDS)
    complete = pdu.encode(pdu.SubmitSm(**TEMPLATE_FIELDS, **arguments), 7)
    for _ in range(2):
        assert template.pdu(7, **arguments) == complete
        assert template.body(**arguments) == complete[16:]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"short_message": b"x" * 255}, "short_message"),
        ({"destination_addr": b"1" * 21}, "destination_addr"),
        ({"destination_addr": b"1\0002"}, "destination_addr"),
        ({"validity_period": b"x"}, "validity_period"),
        ({"validity_period": b"x" * 15 + b"\0"}, "validity_period"),
        ({"data_coding": 256}, "data_coding"),
        ({"esm_class": -1}, "esm_class"),
        ({"esm_class": 256}, "esm_class"),
    ],
)
def test_a_part_beyond_the_limits_is_refused(changes: dict[str, Any], field: str):
    arguments = {"destination_addr": b"1", "data_coding": 0, "short_message": b""} | changes
    for call in (TEMPLATE.body, lambda **rest: TEMPLATE.pdu(1, **rest)):
        with pytest.raises(PduError) as caught:
            call(**arguments)
        assert caught.value.field == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("service_type", b"a\0b"),
        ("source_addr_ton", 256),
        ("source_addr_npi", 256),
        ("source_addr", b"1" * 21),
        ("dest_addr_ton", 256),
        ("dest_addr_npi", -1),
        ("protocol_id", -1),
        ("priority_flag", 4),
        ("registered_delivery", 0x40),
        ("replace_if_present_flag", 2),
    ],
)
def test_a_template_beyond_the_limits_is_refused(field: str, value: Any):
    with pytest.raises(PduError) as caught:
        SubmitTemplate(**{field: value})
    assert caught.value.field == field


def same_submit(frame: bytes) -> bool:
    """True if the fast reader covered the frame (and agreed)."""
    fast = submit_of(frame)
    try:
        complete = pdu.decode(frame)
    except CodecError:
        complete = None
    if fast is None:
        return False
    tlvs = fast[6]
    if complete is None:
        with pytest.raises(PduError):
            pdu.decode_tlvs(tlvs)
        return True
    assert isinstance(complete, pdu.SubmitSm)
    assert fast[:6] == (
        complete.source_addr,
        complete.destination_addr,
        complete.esm_class,
        complete.registered_delivery,
        complete.data_coding,
        complete.short_message,
    )
    assert pdu.decode_tlvs(tlvs) == complete.tlvs
    return True


@given(
    strings, st.binary(max_size=254), octets, st.sampled_from([b"", b"\x02\x04\0\2\0\7", b"\x02\x04\0\3\0\7"])
)
def test_submit_sm_read_fast_is_read_the_same(address: bytes, short_message: bytes, octet: int, tlvs: bytes):
    assert same_submit(TEMPLATE.pdu(1, address, octet, short_message, octet, b"", tlvs))


@given(st.data())
def test_a_damaged_submit_sm_is_read_the_same(data: st.DataObject):
    frame = damaged(data, TEMPLATE.pdu(1, b"819012345678", 0, b"hello"))
    same_submit(frame)


def damaged(data: st.DataObject, frame: bytes) -> bytes:
    """Some octets of the body changed, some cut off or put in; still one whole PDU of the same command."""
    body = bytearray(frame[16:])
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, max(len(body) - 1, 0)))
        taken = data.draw(st.integers(0, 2))
        body[at : at + taken] = data.draw(
            st.binary(max_size=3) | st.sampled_from([b"\0", b" ", b"text:", b"id:9 "])
        )
    return (16 + len(body)).to_bytes(4, "big") + frame[4:16] + bytes(body)


# --- receipts -------------------------------------------------------------------------------------

USUAL = b"id:%b sub:001 dlvrd:001 submit date:2611211000 done date:2611211001 stat:%b err:%b text:%b"


def deliver(short_message: bytes, tlvs: list[tuple[int, bytes]] | None = None, **fields: Any) -> bytes:
    values: dict[str, Any] = {
        "source_addr": b"819012345678",
        "destination_addr": b"0032069000",
        "esm_class": 4,
    }
    frame = pdu.encode(pdu.DeliverSm(**values | fields, short_message=short_message), 9)
    # As SMSCs do it, and not as the encoder would: message_payload may stand beside short_message.
    frame += pdu.encode_tlvs(tlvs or [])
    return len(frame).to_bytes(4, "big") + frame[4:]


def same_receipt(frame: bytes) -> bool:
    """True if the fast reader covered the frame (and agreed)."""
    assert split(frame, 70_000)[1] == len(frame)
    fast = receipt_of(frame)
    plain = delivered_id(frame)
    if plain is not None:
        assert fast is not None
        assert (fast.message_id.encode(), fast.state) == (plain, "delivered")
    usual = receipt._usual_receipt(frame)
    if usual is not None:
        assert usual[0] == receipt._patiently(frame, False)
    if fast is None:
        return False
    assert fast == parse_deliver(frame)
    return True


def test_the_plainest_receipt_gives_its_id_at_once() -> None:
    assert delivered_id(deliver(USUAL % (b"1234567890", b"DELIVRD", b"000", b""))) == b"1234567890"
    assert delivered_id(deliver(USUAL % (b"1234567890", b"UNDELIV", b"000", b""))) is None
    assert delivered_id(deliver(USUAL % (b"7", b"DELIVRD", b"000", b""), esm_class=0x20)) is None


@pytest.mark.parametrize(
    "frame",
    [
        deliver(USUAL % (b"1234567890", b"DELIVRD", b"000", b"")),
        deliver(USUAL % (b"1234567890", b"DELIVRD", b"000", b"Dear customer, you")),
        deliver(USUAL % (b"0e999f21-7a01-4a4b", b"UNDELIV", b"21b", b"\xe3\x81")),
        deliver(USUAL.replace(b"10", b"1000") % (b"7", b"EXPIRED", b"0", b"id:8 stat:DELIVRD")),
        deliver(USUAL % (b"7", b"WOBBLED", b"0", b""), esm_class=0x20),
        deliver(USUAL % (b"7", b"DELIVRD", b"0", b""), service_type=b"CMT"),
        deliver(
            USUAL % (b"7", b"DELIVRD", b"0", b"x"), [(0x1E, b"7\0"), (0x423, b"\3\1\2"), (0x427, b"\x63")]
        ),
        deliver(USUAL % (b"7", b"DELIVRD", b"0", b"x"), [(0x1E, b"8\0"), (0x427, b"\2")]),
        deliver(
            USUAL % (b"7", b"DELIVRD", b"0", b"x"), [(c.TAG_RECEIPTED_MESSAGE_ID, b"7\0"), (0x427, b"\2")]
        ),
        deliver(USUAL % (b"7", b"DELIVRD", b"0", b"x"), [(0x427, b"\5"), (0x1E, b"A7"), (0x423, b"\3\0\1")]),
        deliver(USUAL % (b"7", b"DELIVRD", b"0", b"x"), [(0x1400, b"44010")]),
    ],
)
def test_the_usual_shapes_are_covered(frame: bytes):
    assert same_receipt(frame)


@pytest.mark.parametrize(
    ("network_error", "state"),
    [(b"\3\1\2", b"\5"), (b"034", b"\3"), (b"\0\0\1", b"\0"), (b"\x09\0\1", b"\x63")],
)
def test_usual_tlvs_are_read_the_same(network_error: bytes, state: bytes):
    tlvs = [(0x1E, b"7\0"), (0x423, network_error), (0x427, state)]
    frame = deliver(USUAL % (b"7", b"DELIVRD", b"0", b"x"), tlvs)
    assert same_receipt(frame)
    # A length of the id's TLV that is wrong makes the rest no TLVs at all.
    assert not same_receipt(frame.replace(b"\0\x1e\0\2", b"\0\x1e\0\3"))


def test_a_receipt_text_in_a_message_of_another_esm_class_is_not_covered():
    for esm_class in (0, 0x40, 0x44, 0x08, 0x10):
        assert receipt_of(deliver(USUAL % (b"7", b"DELIVRD", b"0", b""), esm_class=esm_class)) is None


@pytest.mark.parametrize("field", [b"819012345678", b"0032069000"])
def test_an_address_beyond_its_limit_is_not_covered(field: bytes):
    frame = deliver(USUAL % (b"7", b"DELIVRD", b"0", b"")).replace(field, b"1" * 21)
    assert receipt_of(len(frame).to_bytes(4, "big") + frame[4:]) is None


def test_an_sm_length_that_ends_within_the_fields_makes_tlvs_of_the_rest():
    frame = deliver(USUAL % (b"12345", b"DELIVRD", b"000", b""))
    at = frame.index(b"id:")
    # After "id:12" the octets "345 " are the header of an optional parameter of 0x3520 octets.
    rest = frame[at:].ljust(5 + 4 + 0x3520, b"\0")
    body = frame[16 : at - 1] + b"\5" + rest
    whole = (16 + len(body)).to_bytes(4, "big") + frame[4:16] + body
    receipt = parse_deliver(whole)
    assert receipt is not None
    assert receipt.message_id == "12"
    assert receipt_of(whole) is None


def test_an_sm_length_that_ends_within_the_error_makes_tlvs_of_the_rest():
    frame = deliver(USUAL % (b"12345", b"DELIVRD", b"000", b""))
    at, end = frame.index(b"id:"), frame.index(b"00 text:")
    # Behind "err:0" the octets "00 t" are the header of an optional parameter of 0x2074 octets.
    rest = frame[at : end + 4] + frame[end + 4 :].ljust(0x2074, b"\0")
    body = frame[16 : at - 1] + bytes((end - at,)) + rest
    whole = (16 + len(body)).to_bytes(4, "big") + frame[4:16] + body
    receipt = parse_deliver(whole)
    assert receipt is not None
    assert receipt.err == "0"
    assert receipt_of(whole) is None


words = st.from_regex(rb"\A[0-9A-Za-z.,:_ -]{0,20}\Z") | st.binary(max_size=20)
some_tlvs = st.lists(
    st.one_of(
        st.tuples(st.just(0x1E), st.from_regex(rb"\A[0-9a-f]{1,12}\0?\Z")),
        st.tuples(st.just(0x427), octets.map(lambda value: bytes((value,)))),
        st.tuples(st.just(0x423), st.binary(min_size=3, max_size=3)),
        st.tuples(st.just(0x424), st.binary(max_size=20)),
        st.tuples(st.integers(0x1400, 0x3FFF), st.binary(max_size=9)),
    ),
    max_size=4,
)
usual_tlvs = st.tuples(
    st.sampled_from([b"12345\0", b"7\0", b"7"]),
    st.binary(min_size=3, max_size=3),
    st.binary(min_size=1, max_size=1),
).map(lambda values: list(zip((0x1E, 0x423, 0x427), values, strict=True)))


@given(words, words, words, st.binary(max_size=60), some_tlvs, st.sampled_from([4, 0x20, 0x24, 0x44, 0]))
def test_receipts_read_fast_are_read_the_same(
    message_id: bytes, stat: bytes, err: bytes, text: bytes, tlvs: list[tuple[int, bytes]], esm_class: int
):
    same_receipt(deliver((USUAL % (message_id, stat, err, text))[:254], tlvs, esm_class=esm_class))


@given(
    st.from_regex(rb"\A[0-9A-Za-z-]{1,20}\Z") | st.sampled_from([b"7", b"12345"]),
    st.sampled_from([b"DELIVRD", b"UNDELIV", b"ENROUTE"]),
    st.from_regex(rb"\A[0-9a-z]{1,4}\Z"),
    st.binary(max_size=20).map(lambda value: value.replace(b"\0", b"")),
    some_tlvs | usual_tlvs,
)
def test_usual_receipts_are_covered_and_the_same(
    message_id: bytes, stat: bytes, err: bytes, text: bytes, tlvs: list[tuple[int, bytes]]
):
    assert same_receipt(deliver(USUAL % (message_id, stat, err, text), tlvs))


@given(st.data())
def test_damaged_receipts_are_read_the_same(data: st.DataObject):
    tlvs = data.draw(some_tlvs | usual_tlvs)
    text = data.draw(st.binary(max_size=5))
    same_receipt(damaged(data, deliver(USUAL % (b"12345", b"DELIVRD", b"000", text), tlvs)))


@given(st.integers(0, 255), st.binary(max_size=300))
def test_any_sm_length_and_tail_are_read_the_same(sm_length: int, tail: bytes):
    frame = deliver(USUAL % (b"12345", b"DELIVRD", b"000", b""))
    at = frame.index(b"id:")
    body = frame[16 : at - 1] + bytes((sm_length,)) + frame[at:] + tail
    same_receipt((16 + len(body)).to_bytes(4, "big") + frame[4:16] + body)


@given(st.binary(max_size=100))
def test_any_octets_are_not_covered_or_read_the_same(body: bytes):
    frame = (16 + len(body)).to_bytes(4, "big") + b"\0\0\0\5\0\0\0\0\0\0\0\1" + body
    same_receipt(frame)
    submit_of(frame)


# --- the borders of what is covered -------------------------------------------------------------------------

FIELDS: dict[str, bytes] = {
    "service_type": b"",
    "source": b"819012345678",
    "destination": b"0032069000",
    "id": b"12345",
    "sub": b"001",
    "dlvrd": b"001",
    "submit": b"2611211000",
    "done": b"2611211001",
    "stat": b"DELIVRD",
    "err": b"000",
    "text": b"",
}
BORDERS = [
    ("service_type", b"A", 0, 5),
    ("source", b"1", 0, 20),
    ("destination", b"1", 0, 20),
    ("id", b"A", 1, 64),
    ("sub", b"1", 1, 3),
    ("dlvrd", b"1", 1, 3),
    ("submit", b"1", 10, 14),
    ("done", b"1", 10, 14),
    ("stat", b"A", 1, 16),
    ("err", b"a", 1, 32),
    ("text", b"x", 0, 200),
]


def by_hand(tail: bytes = b"", esm_class: int = 4, **fields: bytes) -> bytes:
    values = FIELDS | fields
    text = (
        b"id:%(id)b sub:%(sub)b dlvrd:%(dlvrd)b submit date:%(submit)b done date:%(done)b stat:%(stat)b"
        b" err:%(err)b text:%(text)b" % {name.encode(): value for name, value in values.items()}
    )
    body = b"%b\0\1\1%b\0\1\1%b\0%c\0\0\0\0\0\0\0\0%c%b%b" % (
        values["service_type"], values["source"], values["destination"], esm_class, len(text) & 0xFF, text,
        tail,
    )  # fmt: skip
    return (16 + len(body)).to_bytes(4, "big") + b"\0\0\0\5\0\0\0\0\0\0\0\1" + body


@pytest.mark.parametrize(("name", "octet", "least", "most"), BORDERS, ids=[row[0] for row in BORDERS])
def test_what_is_covered_ends_where_the_expression_says(name: str, octet: bytes, least: int, most: int):
    for length in {least, most}:
        frame = by_hand(**{name: octet * length})
        assert receipt_of(frame) == parse_deliver(frame) is not None, length
        plain = delivered_id(frame)
        assert (plain is not None) == (name != "stat"), length
    beyond = {most + 1} | ({least - 1} if least else set())
    for length in beyond - ({201} if name == "text" else set()):
        frame = by_hand(**{name: octet * length})
        assert receipt_of(frame) is None, length
        assert delivered_id(frame) is None, length


def test_a_longer_text_is_left_to_the_length_that_the_pdu_says():
    frame = by_hand(id=b"1", text=b"x" * 201)
    assert delivered_id(frame) is None
    assert receipt_of(frame) is None  # sm_length is beyond 255


@pytest.mark.parametrize("wrong", [b"12 45", b"12\x0045", b"12,45", b"12/45"])
def test_an_id_of_other_characters_is_not_covered(wrong: bytes):
    assert receipt_of(by_hand(id=wrong)) is None
    assert delivered_id(by_hand(id=wrong)) is None


@pytest.mark.parametrize("esm_class", [0, 4, 0x20, 0x24, 0x44, 5])
def test_the_esm_classes_that_are_covered(esm_class: int):
    frame = by_hand(esm_class=esm_class)
    assert (receipt_of(frame) is not None) == (esm_class in (4, 0x20, 0x24))
    assert (delivered_id(frame) is not None) == (esm_class == 4)


def test_a_nul_in_the_text_ends_what_is_covered_at_once():
    frame = by_hand(text=b"a\0b")
    assert delivered_id(frame) is None
    assert receipt_of(frame) == parse_deliver(frame) is not None


def test_parameters_behind_the_text_are_covered():
    tail = b"\0\x1e\0\x0612345\0\4\x23\0\3\3\1\2\4\x27\0\1\5"
    frame = by_hand(tail)
    assert delivered_id(frame) is None
    found = receipt_of(frame)
    assert found is not None
    assert found == parse_deliver(frame)
    assert (found.state, found.network_error) == ("undeliverable", (3, 0x0102))


def submit_by_hand(
    source: bytes = b"1", destination: bytes = b"2", service_type: bytes = b"", time: bytes = b""
):
    body = b"%b\0\1\1%b\0\1\1%b\0\x43\7\1%b\0%b\0\5\0\x08\0\2hi\1\2\0\1x" % (
        service_type, source, destination, time, time,
    )  # fmt: skip
    return (16 + len(body)).to_bytes(4, "big") + b"\0\0\0\4\0\0\0\0\0\0\0\1" + body


@pytest.mark.parametrize(("name", "most"), [("source", 20), ("destination", 20), ("service_type", 5)])
def test_submits_are_covered_up_to_their_limits(name: str, most: int):
    for length in (0, most):
        values = {"source": b"1", "destination": b"2", "service_type": b""} | {name: b"9" * length}
        found = submit_of(submit_by_hand(**values))
        expected = (values["source"], values["destination"], 0x43, 5, 8, b"hi", b"\1\2\0\1x")
        assert found == expected
    assert submit_of(submit_by_hand(**{name: b"9" * (most + 1)})) is None


def test_times_of_submits_are_none_or_whole():
    for length in range(20):
        covered = submit_of(submit_by_hand(time=b"1" * length)) is not None
        assert covered == (length in (0, 16)), length
