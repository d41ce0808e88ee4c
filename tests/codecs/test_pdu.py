"""pdu: tables of (object, octets) both ways, round trips, other implementations' octets, and garbage."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
import smpp34
import smpplib.smpp
from hypothesis import given
from hypothesis import strategies as st
from todoke.codecs import constants as c
from todoke.codecs import pdu
from todoke.codecs.errors import CodecError, FramingError, PduError
from todoke.codecs.fields import LAYOUTS, TLVS, Field, Kind


def whole(command_id: int, body: bytes, command_status: int = 0, sequence_number: int = 7) -> bytes:
    words = (16 + len(body), command_id, command_status, sequence_number)
    return b"".join(word.to_bytes(4, "big") for word in words) + body


MESSAGE = (
    b"CMT\0" + b"\1\1" + b"0032069000\0" + b"\1\1" + b"819012345678\0" + b"\x40\x01\x02"
    b"261121103005300+\0"
    + b"000001000000000R\0"
    + b"\1\1\x08\x05"
    + b"\4\x65\xe5\x67\x2c"
    + b"\x02\x04\0\2\0\7"
)
MESSAGE_FIELDS: dict[str, Any] = {
    "service_type": b"CMT",
    "source_addr_ton": 1,
    "source_addr_npi": 1,
    "source_addr": b"0032069000",
    "dest_addr_ton": 1,
    "dest_addr_npi": 1,
    "destination_addr": b"819012345678",
    "esm_class": 0x40,
    "protocol_id": 1,
    "priority_flag": 2,
    "schedule_delivery_time": b"261121103005300+",
    "validity_period": b"000001000000000R",
    "registered_delivery": 1,
    "replace_if_present_flag": 1,
    "data_coding": 8,
    "sm_default_msg_id": 5,
    "short_message": b"\x65\xe5\x67\x2c",
    "tlvs": [(0x0204, b"\0\7")],
}
BIND_FIELDS: dict[str, Any] = {
    "system_id": b"todoke",
    "password": b"secret",
    "system_type": b"X",
    "addr_ton": 1,
}
BIND = b"todoke\0secret\0X\0\x34\1\0\0"

TABLE: list[tuple[pdu.Pdu, bytes]] = [
    (pdu.BindReceiver(**BIND_FIELDS), whole(1, BIND)),
    (pdu.BindTransmitter(**BIND_FIELDS), whole(2, BIND)),
    (pdu.BindTransceiver(**BIND_FIELDS), whole(9, BIND)),
    (pdu.BindReceiverResp(system_id=b"SMSC"), whole(0x80000001, b"SMSC\0")),
    (pdu.BindTransmitterResp(system_id=b""), whole(0x80000002, b"\0")),
    (
        pdu.BindTransceiverResp(system_id=b"SMSC", tlvs=[(c.TAG_SC_INTERFACE_VERSION, b"\x34")]),
        whole(0x80000009, b"SMSC\0\x02\x10\0\1\x34"),
    ),
    (pdu.Outbind(system_id=b"a", password=b"b"), whole(0x0B, b"a\0b\0")),
    (pdu.Unbind(), whole(6, b"")),
    (pdu.UnbindResp(), whole(0x80000006, b"")),
    (pdu.EnquireLink(), whole(0x15, b"")),
    (pdu.EnquireLinkResp(), whole(0x80000015, b"")),
    (pdu.GenericNack(), whole(0x80000000, b"")),
    (pdu.SubmitSm(**MESSAGE_FIELDS), whole(4, MESSAGE)),
    (pdu.DeliverSm(**MESSAGE_FIELDS), whole(5, MESSAGE)),
    (pdu.SubmitSmResp(message_id=b"abc-1"), whole(0x80000004, b"abc-1\0")),
    (pdu.DeliverSmResp(), whole(0x80000005, b"\0")),
    (
        pdu.SubmitMulti(
            dest_addresses=[pdu.DestAddress(b"81", 1, 1), pdu.DestAddress(dl_name=b"list")],
            short_message=b"hi",
        ),
        whole(0x21, b"\0\0\0\0\2\1\1\1" + b"81\0\2list\0" + bytes(9) + b"\2hi"),
    ),
    (
        pdu.SubmitMultiResp(message_id=b"a", unsuccess_smes=[pdu.UnsuccessSme(b"81", 1, 1, 0x0B)]),
        whole(0x80000021, b"a\0\1\1\1" + b"81\0\0\0\0\x0b"),
    ),
    (
        pdu.DataSm(
            source_addr=b"1", destination_addr=b"2", esm_class=4, tlvs=[(c.TAG_MESSAGE_PAYLOAD, b"hi")]
        ),
        whole(0x103, b"\0\0\0" + b"1\0" + b"\0\0" + b"2\0" + b"\4\0\0" + b"\x04\x24\0\2hi"),
    ),
    (pdu.DataSmResp(message_id=b"x"), whole(0x80000103, b"x\0")),
    (pdu.QuerySm(message_id=b"x", source_addr_ton=5, source_addr=b"me"), whole(3, b"x\0\5\0me\0")),
    (
        pdu.QuerySmResp(message_id=b"x", final_date=b"261121103005300+", message_state=2, error_code=9),
        whole(0x80000003, b"x\0" + b"261121103005300+\0\2\x09"),
    ),
    (
        pdu.CancelSm(message_id=b"x", source_addr=b"1", destination_addr=b"2"),
        whole(8, b"\0x\0\0\0" + b"1\0\0\0" + b"2\0"),
    ),
    (pdu.CancelSmResp(), whole(0x80000008, b"")),
    (
        pdu.ReplaceSm(message_id=b"x", source_addr=b"1", registered_delivery=1, short_message=b"new"),
        whole(7, b"x\0\0\0" + b"1\0\0\0\1\0\3new"),
    ),
    (pdu.ReplaceSmResp(), whole(0x80000007, b"")),
    (
        pdu.AlertNotification(source_addr=b"1", esme_addr=b"2", tlvs=[(c.TAG_MS_AVAILABILITY_STATUS, b"\0")]),
        whole(0x102, b"\0\0" + b"1\0\0\0" + b"2\0" + b"\x04\x22\0\1\0"),
    ),
]


@pytest.mark.parametrize(("message", "octets"), TABLE, ids=[type(message).__name__ for message, _ in TABLE])
def test_objects_and_octets(message: pdu.Pdu, octets: bytes):
    assert pdu.encode(message, 7) == octets
    decoded = pdu.decode(octets)
    assert decoded.sequence_number == 7
    assert msgspec.structs.replace(decoded, sequence_number=0) == message


def test_the_table_has_every_pdu():
    assert {type(message) for message, _ in TABLE} == set(pdu.PDUS.values())
    assert set(pdu.PDUS) == set(LAYOUTS) == set(c.COMMAND_NAMES)


# --- other implementations ------------------------------------------------------------------------


class Counting:
    """What smpplib asks of its client."""

    sequence = 7

    def next_sequence(self) -> int:
        return 7


COUNTING = Counting()


def test_submit_sm_as_smpp34_writes_and_reads_it():
    theirs = smpp34.SubmitSm(
        "0032069000", "819012345678", b"hello", source_addr_ton=1, dest_addr_npi=1, registered_delivery=1,
        sequence_number=7, tlvs=[smpp34.Tlv(c.TAG_USER_MESSAGE_REFERENCE, b"\0\1")],
    )  # fmt: skip
    ours = pdu.decode(theirs.encode())
    assert isinstance(ours, pdu.SubmitSm)
    assert (ours.source_addr, ours.destination_addr, ours.short_message) == (
        b"0032069000", b"819012345678", b"hello",
    )  # fmt: skip
    assert ours.tlvs == [(c.TAG_USER_MESSAGE_REFERENCE, b"\0\1")]
    assert pdu.encode(ours, 7) == theirs.encode()


def test_submit_sm_as_smpplib_writes_it():
    theirs = smpplib.smpp.make_pdu(
        "submit_sm", client=COUNTING, source_addr="0032069000", destination_addr="819012345678",
        short_message=b"hello", registered_delivery=True,
    ).generate()  # fmt: skip
    ours = pdu.SubmitSm(
        source_addr=b"0032069000",
        destination_addr=b"819012345678",
        short_message=b"hello",
        registered_delivery=1,
    )
    assert pdu.encode(ours, 7) == theirs


@pytest.mark.parametrize(
    "ours",
    [
        pdu.BindTransceiver(system_id=b"todoke", password=b"secret", addr_ton=1, addr_npi=1),
        pdu.QuerySm(message_id=b"abc", source_addr_ton=1, source_addr_npi=1, source_addr=b"81"),
        pdu.Unbind(),
        pdu.EnquireLink(),
    ],
)
def test_smpplib_reads_ours(ours: pdu.Pdu):
    theirs = smpplib.smpp.parse_pdu(pdu.encode(ours, 7), client=COUNTING)
    assert theirs.command == c.COMMAND_NAMES[ours.command_id]
    for field in LAYOUTS[ours.command_id]:
        value = getattr(theirs, field.name)
        assert (value if isinstance(value, int) else (value or b"")) == getattr(ours, field.name)


# --- limits: every field of every PDU, one beyond its limit, both ways ------------------------------


def least(command_id: int, **fields: Any) -> pdu.Pdu:
    """The smallest PDU of this command that may be written."""
    if command_id == c.SUBMIT_MULTI:
        fields = {"dest_addresses": [pdu.DestAddress(b"1")]} | fields
    return pdu.PDUS[command_id](**fields)


def unwritable(field: Field) -> list[tuple[Any, str, int]]:
    """(value, name of the field in the error, its command_status)"""
    own = (field.name, field.status)
    if field.kind is Kind.INTEGER:
        beyond = [] if field.values is None else sorted({value + 1 for value in field.values} - field.values)
        return [(value, *own) for value in (*beyond, 256, -1, 1 << 40)]
    if field.kind is Kind.STRING:
        return [(b"x" * field.size, *own), (b"a\0b", *own), (b"\0", *own)]
    if field.kind is Kind.TIME:
        return [(value, *own) for value in (b"x", b"x" * 15, b"x" * 17, b"x" * 15 + b"\0")]
    if field.kind is Kind.MESSAGE:
        return [(b"x" * 255, *own)]
    address = (pdu.DestAddress if field.kind is Kind.DESTINATIONS else pdu.UnsuccessSme)(b"1")
    items: list[tuple[Any, str, int]] = [
        (msgspec.structs.replace(address, destination_addr=b"x" * 21), "destination_addr", c.ESME_RINVDSTADR),
        (msgspec.structs.replace(address, destination_addr=b"\0"), "destination_addr", c.ESME_RINVDSTADR),
        (msgspec.structs.replace(address, dest_addr_ton=256), "dest_addr_ton", c.ESME_RINVDSTTON),
        (msgspec.structs.replace(address, dest_addr_npi=-1), "dest_addr_npi", c.ESME_RINVDSTNPI),
    ]
    if field.kind is Kind.DESTINATIONS:
        items += [(pdu.DestAddress(dl_name=b"x" * 21), "dl_name", c.ESME_RINVDLNAME)]
        return [([], *own), ([address] * 255, *own), *(([item], *rest) for item, *rest in items)]
    for code in (1 << 32, -1):
        items.append((pdu.UnsuccessSme(b"1", 0, 0, code), "error_status_code", field.status))
    return [([address] * 256, *own), *(([item], *rest) for item, *rest in items)]


def unwritable_cases() -> list[Any]:
    return [
        pytest.param(command_id, field.name, *case, id=f"{c.COMMAND_NAMES[command_id]}-{case[1]}-{number}")
        for command_id, layout in LAYOUTS.items()
        for field in layout
        for number, case in enumerate(unwritable(field))
    ]


@pytest.mark.parametrize(("command_id", "name", "value", "field", "status"), unwritable_cases())
def test_a_field_beyond_its_limit_is_not_written(
    command_id: int, name: str, value: Any, field: str, status: int
):
    assert pdu.decode(pdu.encode(least(command_id), 1))
    with pytest.raises(PduError) as caught:
        pdu.encode(least(command_id, **{name: value}), 1)
    error = caught.value
    assert (error.pdu, error.field, error.command_status) == (c.COMMAND_NAMES[command_id], field, status)
    assert error.sequence_number == 0
    assert error.limit
    assert "x" * 9 not in str(error)


@pytest.mark.parametrize(
    ("field", "value", "limit"),
    [
        ("priority_flag", 4, "0 to 3"),
        ("registered_delivery", 0x40, "0 to 63"),
        ("esm_class", 256, "0 to 255"),
        ("short_message", b"x" * 255, "at most 254 octets"),
        ("source_addr", b"x" * 21, "at most 20 octets, none of them NUL"),
        ("validity_period", b"x", "empty or 16 octets"),
    ],
)
def test_the_limit_is_said_in_words(field: str, value: Any, limit: str):
    with pytest.raises(PduError) as caught:
        pdu.encode(pdu.SubmitSm(**{field: value}), 1)
    assert caught.value.limit == limit


def test_limits_of_other_words():
    with pytest.raises(PduError, match=r"interface_version: 0 to 52 or 80 \(ESME_RINVCMDLEN\)"):
        pdu.encode(pdu.BindReceiver(interface_version=0x35), 1)
    with pytest.raises(PduError, match="dest_addresses: 1 to 254 of them"):
        pdu.encode(pdu.SubmitMulti(), 1)
    with pytest.raises(PduError, match="unsuccess_smes: 0 to 255 of them"):
        pdu.encode(pdu.SubmitMultiResp(unsuccess_smes=[pdu.UnsuccessSme()] * 256), 1)


def test_as_many_structures_as_the_limits_allow():
    for count in (1, 254):
        message = pdu.SubmitMulti(dest_addresses=[pdu.DestAddress(b"1")] * count, sequence_number=7)
        assert pdu.decode(pdu.encode(message, 7)) == message
    for count in (0, 255):
        answer = pdu.SubmitMultiResp(unsuccess_smes=[pdu.UnsuccessSme(b"1")] * count, sequence_number=7)
        assert pdu.decode(pdu.encode(answer, 7)) == answer


@pytest.mark.parametrize("command_id", [c.SUBMIT_SM, c.SUBMIT_MULTI])
def test_a_request_has_its_body_whatever_its_command_status(command_id: int):
    plain = pdu.encode(least(command_id), 7)
    assert pdu.encode(least(command_id), 7, c.ESME_RSYSERR) == plain[:8] + b"\0\0\0\x08" + plain[12:]


def test_the_size_of_a_parameter_is_said_in_words():
    with pytest.raises(PduError, match=r"^submit_sm: callback_num: 4 to 19 octets \(ESME_RINVTLVLEN\)$"):
        pdu.encode(pdu.SubmitSm(tlvs=[(c.TAG_CALLBACK_NUM, b"x")]), 1)


@pytest.mark.parametrize("version", [0, 0x33, 0x34, 0x50])
def test_interface_versions_that_are_not_reserved_are_written(version: int):
    decoded = pdu.decode(pdu.encode(pdu.BindTransceiver(interface_version=version), 1))
    assert isinstance(decoded, pdu.BindTransceiver)
    assert decoded.interface_version == version


EMPTY = {Kind.DESTINATIONS: b"\1\1\0\0\0"}


def unreadable(field: Field) -> list[tuple[bytes, str, int]]:
    """(octets of the field and after it, name of the field in the error, its command_status)"""
    own = (field.name, field.status)
    if field.kind is Kind.INTEGER:
        return [(b"", *own)]
    if field.kind is Kind.STRING:
        return [(b"x" * field.size + b"\0", *own)]
    if field.kind is Kind.TIME:
        return [(b"x" * 17 + b"\0", *own)]
    if field.kind is Kind.MESSAGE:
        cases = [(b"", "sm_length"), (b"\1", "sm_length"), (b"\xff" + b"x" * 254, "sm_length")]
        return [(octets, name, field.status) for octets, name in cases]
    address: list[tuple[bytes, str, int]] = [
        (b"", "dest_addr_ton", c.ESME_RINVDSTTON),
        (b"\0", "dest_addr_npi", c.ESME_RINVDSTNPI),
        (b"\0\0" + b"x" * 21 + b"\0", "destination_addr", c.ESME_RINVDSTADR),
    ]
    if field.kind is Kind.DESTINATIONS:
        return [
            (b"", "number_of_dests", field.status),
            (b"\0", "number_of_dests", field.status),
            (b"\1", "dest_flag", c.ESME_RINVDESTFLAG),
            (b"\1\0", "dest_flag", c.ESME_RINVDESTFLAG),
            (b"\1\3", "dest_flag", c.ESME_RINVDESTFLAG),
            (b"\2" + b"\1\0\0\0", "dest_flag", c.ESME_RINVDESTFLAG),
            (b"\1\2" + b"x" * 21 + b"\0", "dl_name", c.ESME_RINVDLNAME),
            (b"\1\2\0", "dl_name", c.ESME_RINVDLNAME),
            *((b"\1\1" + octets, name, status) for octets, name, status in address),
        ]
    return [
        (b"", "no_unsuccess", field.status),
        *((b"\1" + octets, name, status) for octets, name, status in address),
        (b"\1" + bytes(6), "error_status_code", field.status),
    ]


def unreadable_cases() -> list[Any]:
    return [
        pytest.param(
            command_id,
            b"".join(EMPTY.get(before.kind, b"\0") for before in layout[:at]) + octets,
            name,
            status,
            id=f"{c.COMMAND_NAMES[command_id]}-{name}-{number}",
        )
        for command_id, layout in LAYOUTS.items()
        for at, field in enumerate(layout)
        for number, (octets, name, status) in enumerate(unreadable(field))
        # A response without its body is one (section 3.2.1.3).
        if octets or at or not command_id & c.RESPONSE_BIT
    ]


@pytest.mark.parametrize(("command_id", "body", "field", "status"), unreadable_cases())
def test_a_field_beyond_its_limit_is_not_read(command_id: int, body: bytes, field: str, status: int):
    with pytest.raises(PduError) as caught:
        pdu.decode(whole(command_id, body))
    error = caught.value
    assert (error.pdu, error.field, error.command_status) == (c.COMMAND_NAMES[command_id], field, status)
    assert error.sequence_number == 7
    assert error.limit
    assert "x" * 9 not in str(error)


@pytest.mark.parametrize("command_id", [c.SUBMIT_SM, c.DELIVER_SM, c.REPLACE_SM])
def test_the_longest_of_a_peer_that_speaks_5_0_is_read(command_id: int):
    body = b"".join(b"\0" for _ in LAYOUTS[command_id][:-1]) + b"\xff" + b"x" * 255
    decoded = pdu.decode(whole(command_id, body))
    assert isinstance(decoded, pdu.SubmitSm | pdu.DeliverSm | pdu.ReplaceSm)
    assert decoded.short_message == b"x" * 255


def reserved_values() -> list[Any]:
    return [
        pytest.param(command_id, field, id=f"{c.COMMAND_NAMES[command_id]}-{field.name}")
        for command_id, layout in LAYOUTS.items()
        for field in layout
        if field.values is not None
    ]


@pytest.mark.parametrize(("command_id", "field"), reserved_values())
def test_reserved_values_are_read(command_id: int, field: Field):
    layout = LAYOUTS[command_id]
    body = b"".join(
        b"\xfe\xff"[one.name == "sm_default_msg_id" :][:1] if one == field else EMPTY.get(one.kind, b"\0")
        for one in layout
    )
    value = getattr(pdu.decode(whole(command_id, body)), field.name)
    assert value in (0xFE, 0xFF)
    assert value not in (field.values or ())


@pytest.mark.parametrize("octets", [b"x\0", b"2611211000\0", b"x" * 15 + b"\0"])
def test_a_time_of_another_length_is_read_where_nobody_can_be_told(octets: bytes):
    response = pdu.decode(whole(c.QUERY_SM_RESP, b"id\0" + octets + b"\2\0"))
    assert isinstance(response, pdu.QuerySmResp)
    assert (response.final_date, response.message_state) == (octets[:-1], 2)
    body = bytes(10) + octets + b"\0" + bytes(4) + b"\2hi"
    assert isinstance(pdu.decode(whole(c.DELIVER_SM, body), lenient=True), pdu.DeliverSm)
    with pytest.raises(PduError, match="schedule_delivery_time: must be 1 or 17 octets"):
        pdu.decode(whole(c.DELIVER_SM, body))


def test_the_text_goes_into_one_place_only():
    payload = [(c.TAG_MESSAGE_PAYLOAD, b"b")]
    for struct in (pdu.SubmitSm, pdu.DeliverSm, pdu.ReplaceSm):
        assert pdu.encode(struct(tlvs=payload), 1)
        with pytest.raises(PduError) as caught:
            pdu.encode(struct(short_message=b"a", tlvs=payload), 1)
        assert (caught.value.field, caught.value.command_status) == ("message_payload", c.ESME_RTLVNOTALLWD)
    with pytest.raises(PduError):
        pdu.encode(least(c.SUBMIT_MULTI, short_message=b"a", tlvs=payload), 1)


SAR = [(c.TAG_SAR_MSG_REF_NUM, b"\0\7"), (c.TAG_SAR_TOTAL_SEGMENTS, b"\3"), (c.TAG_SAR_SEGMENT_SEQNUM, b"\3")]


def test_the_three_parameters_of_a_part_go_together():
    assert pdu.encode(pdu.SubmitSm(tlvs=SAR[::-1]), 1)
    for at, (tag, _) in enumerate(SAR):
        with pytest.raises(PduError) as caught:
            pdu.encode(pdu.SubmitSm(tlvs=SAR[:at] + SAR[at + 1 :]), 1)
        assert (caught.value.field, caught.value.command_status) == (TLVS[tag].name, c.ESME_RMISSINGTLV)
    with pytest.raises(PduError) as caught:
        pdu.encode(pdu.SubmitSm(tlvs=[*SAR[:2], (c.TAG_SAR_SEGMENT_SEQNUM, b"\4")]), 1)
    assert (caught.value.field, caught.value.command_status) == ("sar_segment_seqnum", c.ESME_RINVTLVVAL)
    assert pdu.decode(whole(c.DATA_SM_RESP, b"x\0\x02\x0f\0\1\0")).tlvs == [(0x20F, b"\0")]


def test_values_of_tlvs_have_limits_too():
    limited = {rule.name: (rule.value_min, rule.value_max) for rule in TLVS.values() if rule[4:] != (0, 255)}
    assert limited == {
        "number_of_messages": (0, 99),
        "sar_total_segments": (1, 255),
        "sar_segment_seqnum": (1, 255),
        "congestion_state": (0, 100),
    }
    for tag, rule in TLVS.items():
        for value in {rule.value_min - 1, rule.value_max + 1} & set(range(256)):
            with pytest.raises(
                PduError, match=f"{rule.name}: {rule.value_min} to {rule.value_max}"
            ) as caught:
                pdu.encode_tlvs([(tag, bytes((value,)))], "submit_sm")
            assert (caught.value.pdu, caught.value.command_status) == ("submit_sm", c.ESME_RINVTLVVAL)
            assert pdu.decode_tlvs(tag.to_bytes(2, "big") + b"\0\1" + bytes((value,)))


def test_known_tlvs_must_have_their_size_and_others_go_out_as_they_are():
    for tag, rule in TLVS.items():
        for size in {rule.octets_min, rule.octets_max}:
            for value in {rule.value_min, rule.value_max}:
                encoded = pdu.encode_tlvs([(tag, bytes((value,)) * size)])
                assert pdu.decode_tlvs(encoded) == [(tag, bytes((value,)) * size)]
        if rule.octets_min:
            with pytest.raises(PduError, match=rule.name):
                pdu.encode_tlvs([(tag, b"x" * (rule.octets_min - 1))])
        with pytest.raises(PduError, match=rule.name):
            pdu.encode_tlvs([(tag, b"x" * (rule.octets_max + 1))])
    assert pdu.encode_tlvs([(0x1400, b"")]) == b"\x14\0\0\0"
    with pytest.raises(PduError):
        pdu.encode_tlvs([(0x10000, b"")])
    with pytest.raises(PduError):
        pdu.encode_tlvs([(0x1400, b"")] * (c.TLVS_MAX + 1))


def test_the_tags_of_the_table_are_the_constants():
    constants = {value for name, value in vars(c).items() if name.startswith("TAG_")}
    assert set(TLVS) == constants
    assert all(getattr(c, f"TAG_{rule.name.upper()}") == tag for tag, rule in TLVS.items())


def test_numbers_of_the_header_have_limits():
    for numbers in ((1 << 32, 0), (-1, 0), (1, -1), (1, 1 << 32)):
        for message in (pdu.Unbind(), pdu.SubmitSm(), pdu.SubmitSmResp(), least(c.SUBMIT_MULTI)):
            with pytest.raises(PduError, match="sequence_number"):
                pdu.encode(message, *numbers)


def test_a_refusal_has_no_body():
    assert pdu.encode(pdu.SubmitSmResp(message_id=b"x"), 7, c.ESME_RTHROTTLED) == whole(0x80000004, b"", 0x58)


# --- decoding what peers send ---------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"\0", b"\xff" * 70, b"junk\0\x04\x27\0", b"id\0"])
@pytest.mark.parametrize("command_id", [0x80000004, 0x80000009, 0x80000103])
def test_the_body_of_a_refusal_may_be_anything(command_id: int, body: bytes):
    decoded = pdu.decode(whole(command_id, body, c.ESME_RTHROTTLED))
    assert decoded.command_status == c.ESME_RTHROTTLED
    assert decoded.sequence_number == 7


@pytest.mark.parametrize("body", [b"", b"\0", b"abc\0", b"abc"])
def test_a_response_is_read_as_far_as_it_goes(body: bytes):
    decoded = pdu.decode(whole(0x80000004, body))
    assert isinstance(decoded, pdu.SubmitSmResp)
    assert decoded.message_id == body.rstrip(b"\0")


def test_a_refusal_keeps_the_tlvs_it_has():
    body = b"\0\x04\x25\0\1\3\x04\x28\0\1\x50"
    decoded = pdu.decode(whole(0x80000004, body, c.ESME_RDELIVERYFAILURE))
    assert decoded.tlv_integer(c.TAG_DELIVERY_FAILURE_REASON) == 3
    assert decoded.congestion_state == 80


@pytest.mark.parametrize(
    ("value", "expected"),
    [(b"\0", 0), (b"\x64", 100), (b"\x65", None), (b"\xff", None), (b"", None), (b"\0\1", None)],
)
def test_the_congestion_state_of_any_response(value: bytes, expected: int | None):
    tlv = b"\x04\x28" + len(value).to_bytes(2, "big") + value
    for body, command_id in ((b"id\0", c.SUBMIT_SM_RESP), (b"", c.ENQUIRE_LINK_RESP), (b"", c.GENERIC_NACK)):
        assert pdu.decode(whole(command_id, body + tlv)).congestion_state == expected
    assert pdu.SubmitSmResp().congestion_state is None


def test_the_version_of_the_smsc():
    decoded = pdu.decode(whole(c.BIND_RECEIVER_RESP, b"SMSC\0\x02\x10\0\1\x50"))
    assert isinstance(decoded, pdu.BindReceiverResp)
    assert decoded.sc_interface_version == 0x50
    assert pdu.BindTransceiverResp().sc_interface_version is None


def test_unknown_tlvs_survive():
    body = MESSAGE + b"\x14\0\0\3abc" + b"\x3f\xff\0\0" + b"\x14\0\0\1z"
    decoded = pdu.decode(whole(4, body))
    assert decoded.tlvs[1:] == [(0x1400, b"abc"), (0x3FFF, b""), (0x1400, b"z")]
    assert decoded.tlv(0x1400) == b"abc"
    assert pdu.encode(decoded, 7) == whole(4, body)


def test_tlv_accessors():
    message = pdu.DataSm(tlvs=[(0x1E, b"abc\0\0"), (0x204, b"\1\2"), (0x424, b""), (0x1400, b"12345")])
    assert message.tlv_string(0x1E) == b"abc"
    assert message.tlv_integer(0x204) == 258
    assert message.tlv_integer(0x424) is None
    assert message.tlv_integer(0x1400) is None
    assert message.tlv(0x427) is message.tlv_string(0x427) is message.tlv_integer(0x427) is None


def test_user_data_is_short_message_or_payload():
    assert pdu.SubmitSm(short_message=b"a").message == b"a"
    assert pdu.SubmitSm(tlvs=[(c.TAG_MESSAGE_PAYLOAD, b"b")]).message == b"b"
    assert pdu.DataSm(tlvs=[(c.TAG_MESSAGE_PAYLOAD, b"b")]).message == b"b"
    assert pdu.SubmitSm().message == pdu.DataSm().message == b""


def broken_bodies() -> list[Any]:
    good = b"CMT\0" + b"\1\1" + b"1\0" + b"\1\1" + b"2\0" + bytes(9)
    long = b"x" * 21
    return [
        pytest.param(b"CMTCMTCMT" + good, "service_type", c.ESME_RINVSERTYP, id="service_type"),
        pytest.param(b"\0\1\1" + long + b"\0", "source_addr", c.ESME_RINVSRCADR, id="source_addr"),
        pytest.param(b"\0\1\1\0\1\1" + long, "destination_addr", c.ESME_RINVDSTADR, id="no NUL"),
        pytest.param(b"\0\1", "source_addr_npi", c.ESME_RINVSRCNPI, id="ends early"),
        pytest.param(
            b"\0\1\1\0\1\1\0\0\0\0" + b"26\0\0", "schedule_delivery_time", c.ESME_RINVSCHED, id="time"
        ),
        pytest.param(b"\0\1\1\0\1\1\0\0\0\0\0R\0", "validity_period", c.ESME_RINVEXPIRY, id="validity"),
        pytest.param(good + b"\5abcd", "sm_length", c.ESME_RINVMSGLEN, id="sm_length too long"),
        pytest.param(good, "sm_length", c.ESME_RINVMSGLEN, id="no sm_length"),
        pytest.param(good + b"\3abcd", "tlvs", c.ESME_RINVTLVSTREAM, id="sm_length too short"),
        pytest.param(good + b"\0\x04\x24\0\5abcd", "tlvs", c.ESME_RINVTLVSTREAM, id="TLV overruns"),
        pytest.param(good + b"\0\x04\x24\0", "tlvs", c.ESME_RINVTLVSTREAM, id="octets left over"),
        pytest.param(good + b"\0" + b"\x14\0\0\0" * 65, "tlvs", c.ESME_RINVTLVSTREAM, id="too many TLVs"),
    ]


@pytest.mark.parametrize(("body", "field", "status"), broken_bodies())
def test_a_broken_field_is_named_with_its_answer(body: bytes, field: str, status: int):
    with pytest.raises(PduError) as caught:
        pdu.decode(whole(4, body))
    error = caught.value
    assert (error.pdu, error.field, error.command_status, error.sequence_number) == (
        "submit_sm",
        field,
        status,
        7,
    )


def test_broken_destinations():
    for tail, status in (
        (b"\1\3", c.ESME_RINVDESTFLAG),
        (b"\2\1\1\1a\0", c.ESME_RINVDESTFLAG),
        (b"", c.ESME_RINVNUMDESTS),
    ):
        with pytest.raises(PduError) as caught:
            pdu.decode(whole(0x21, b"\0\0\0\0" + tail))
        assert caught.value.command_status == status


@pytest.mark.parametrize(
    ("command_id", "name", "limit"),
    [
        (0x111, "broadcast_sm", "not supported"),
        (0x112, "query_broadcast_sm", "not supported"),
        (0x80000113, "cancel_broadcast_sm_resp", "not supported"),
        (0x101FF, "0x000101FF", "unknown"),
        (0x10300, "0x00010300", "unknown"),
        (0x40010200, "0x40010200", "unknown"),
        (0x80000099, "0x80000099", "unknown"),
        (0, "0x00000000", "unknown"),
    ],
)
def test_an_unknown_command_is_answered(command_id: int, name: str, limit: str):
    with pytest.raises(PduError) as caught:
        pdu.decode(whole(command_id, b"x"))
    error = caught.value
    assert (error.pdu, error.field, error.limit) == (name, "command_id", limit)
    assert (error.command_status, error.sequence_number) == (c.ESME_RINVCMDID, 7)


@pytest.mark.parametrize("body", [b"", b"\0", b"anything\xff\0\x04\x27"])
@pytest.mark.parametrize("command_id", [0x10200, 0x102FF, 0x80010200, 0x800102FF])
def test_a_vendors_pdu_is_kept_octet_by_octet(command_id: int, body: bytes):
    for status in (0, c.ESME_RTHROTTLED):
        frame = whole(command_id, body, status)
        decoded = pdu.decode(frame)
        assert decoded == pdu.VendorPdu(
            command_id=command_id, body=body, command_status=status, sequence_number=7
        )
        assert pdu.encode(decoded, 7, status) == frame
        assert (
            repr(decoded)
            == f"VendorPdu(command_id=0x{command_id:08X}, sequence_number=7, octets={len(body)})"
        )


@pytest.mark.parametrize("command_id", [0x101FF, 0x10300, 4, c.BROADCAST_SM])
def test_no_other_pdu_is_written_as_a_vendors(command_id: int):
    with pytest.raises(PduError) as caught:
        pdu.encode(pdu.VendorPdu(command_id=command_id), 1)
    assert (caught.value.field, caught.value.command_status) == ("command_id", c.ESME_RINVCMDID)


@pytest.mark.parametrize("frame", [b"", b"\0\0\0\x10", whole(0x15, b"")[:-1], whole(0x15, b"") + b"\0"])
def test_what_is_not_one_pdu_is_a_framing_error(frame: bytes):
    with pytest.raises(FramingError):
        pdu.decode(frame)


# --- properties -----------------------------------------------------------------------------------


def field_values(field: Field) -> st.SearchStrategy[Any]:
    octets = st.binary(max_size=field.size - 1).map(lambda value: value.replace(b"\0", b"x"))
    if field.kind is Kind.INTEGER:
        return st.integers(0, 255) if field.values is None else st.sampled_from(sorted(field.values))
    if field.kind is Kind.STRING:
        return octets
    if field.kind is Kind.TIME:
        return st.sampled_from([b"", b"261121103005300+", b"000001000000000R"])
    if field.kind is Kind.MESSAGE:
        return st.binary(max_size=254)
    address = st.binary(max_size=20).map(lambda value: value.replace(b"\0", b"x"))
    octet = st.integers(0, 255)
    if field.kind is Kind.DESTINATIONS:
        lists = address.filter(bool).map(lambda name: pdu.DestAddress(dl_name=name))
        return st.lists(st.builds(pdu.DestAddress, address, octet, octet) | lists, min_size=1, max_size=3)
    return st.lists(st.builds(pdu.UnsuccessSme, address, octet, octet, st.integers(0, 2**32 - 1)), max_size=3)


TLV_VALUES = st.lists(st.tuples(st.integers(0x1400, 0x3FFF), st.binary(max_size=20)), max_size=4)


@st.composite
def pdus(draw: st.DrawFn) -> pdu.Pdu:
    struct = pdu.PDUS[draw(st.sampled_from(sorted(pdu.PDUS)))]
    values = {field.name: draw(field_values(field)) for field in LAYOUTS[struct.command_id]}
    return struct(**values, tlvs=draw(TLV_VALUES))


@given(pdus(), st.integers(0, 2**32 - 1))
def test_every_pdu_comes_back(message: pdu.Pdu, sequence_number: int):
    decoded = pdu.decode(pdu.encode(message, sequence_number))
    assert decoded.sequence_number == sequence_number
    assert msgspec.structs.replace(decoded, sequence_number=0) == message


@given(pdus(), st.data())
def test_a_damaged_pdu_is_read_or_a_typed_error(message: pdu.Pdu, data: st.DataObject):
    frame = bytearray(pdu.encode(message, 7))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(4, len(frame) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(16, len(frame)))
    damaged = cut.to_bytes(4, "big") + bytes(frame[4:cut])
    for lenient in (False, True):
        try:
            decoded = pdu.decode(damaged, lenient=lenient)
        except CodecError:
            continue
        assert repr(decoded)


@given(st.sampled_from(sorted(LAYOUTS)), st.integers(0, 300), st.binary(max_size=200), st.booleans())
def test_garbage_gives_a_pdu_or_a_typed_error(command_id: int, status: int, body: bytes, lenient: bool):
    raised: PduError | None = None
    try:
        pdu.decode(whole(command_id, body, status), lenient=lenient)
    except PduError as error:
        raised = error
    assert raised is None or (raised.sequence_number == 7 and raised.command_status in c.STATUS_NAMES)


@given(st.binary(max_size=64))
def test_any_octets_give_a_pdu_or_a_typed_error(data: bytes):
    with contextlib.suppress(CodecError):
        pdu.decode(data)


# --- what may not be seen -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message", [message for message, _ in TABLE], ids=lambda message: type(message).__name__
)
def test_no_secret_in_a_repr(message: pdu.Pdu):
    shown = repr(message)
    for secret in ("secret", "819012345678", "0032069000", "\\xe5"):
        assert secret not in shown


def test_no_address_in_a_repr_of_a_structure():
    assert repr(pdu.DestAddress(b"819012345678")) == "DestAddress(...)"
    assert repr(pdu.UnsuccessSme(b"819012345678", 1, 1, 0x0B)) == "UnsuccessSme(error_status_code=0xb)"


# --- field by field, at the limits --------------------------------------------------------------------------


def test_structures_at_their_limits_come_back():
    longest = pdu.SubmitMulti(
        sequence_number=1,
        dest_addresses=[pdu.DestAddress(b"1" * 20, 255, 255), pdu.DestAddress(dl_name=b"n" * 20)],
        short_message=b"x" * 254,
    )
    assert pdu.decode(pdu.encode(longest, 1)) == longest
    answer = pdu.SubmitMultiResp(
        sequence_number=1, unsuccess_smes=[pdu.UnsuccessSme(b"1" * 20, 255, 255, 0xFFFFFFFF)]
    )
    assert pdu.decode(pdu.encode(answer, 1)) == answer


def test_tags_and_values_have_16_bits():
    tlvs = [(0, b""), (0xFFFF, b"x" * 0xFFFF)]
    assert pdu.decode_tlvs(pdu.encode_tlvs(tlvs)) == tlvs
    for wrong in ((-1, b""), (0x10000, b""), (0xFFFF, b"x" * 0x10000)):
        with pytest.raises(PduError) as caught:
            pdu.encode_tlvs([wrong])
        assert (caught.value.pdu, caught.value.limit) == ("", "tag and length are 16 bits")
    many = [(0x1400, b"")] * c.TLVS_MAX
    assert pdu.decode_tlvs(pdu.encode_tlvs(many)) == many


def test_parameters_alone_are_of_no_pdu():
    with pytest.raises(PduError) as caught:
        pdu.decode_tlvs(b"\0\0\0")
    assert (caught.value.pdu, caught.value.sequence_number) == ("", 0)


@pytest.mark.parametrize(
    ("message", "sequence_number", "field", "limit"),
    [
        (
            pdu.VendorPdu(command_id=5, body=b""),
            1,
            "command_id",
            "0x00010200 to 0x000102FF, or with the response bit",
        ),
        (pdu.Unbind(), -1, "sequence_number", "command_status and sequence_number are 32 bits unsigned"),
        (
            pdu.SubmitSm(tlvs=[(c.TAG_SAR_MSG_REF_NUM, b"\0\1")]),
            1,
            "sar_total_segments",
            "sar_* parameters are three together",
        ),
    ],
)
def test_what_cannot_be_written_is_said_in_words(
    message: pdu.Pdu, sequence_number: int, field: str, limit: str
):
    with pytest.raises(PduError) as caught:
        pdu.encode(message, sequence_number)
    assert (caught.value.field, caught.value.limit) == (field, limit)


def test_a_refusal_with_parameters_is_written_with_its_body():
    refusal = pdu.DataSmResp(message_id=b"7", tlvs=[(c.TAG_DELIVERY_FAILURE_REASON, b"\1")])
    assert pdu.encode(refusal, 1, 8)[16:] == b"7\0" + b"\x04\x25\0\1\1"


@pytest.mark.parametrize("command_id", [c.QUERY_SM_RESP, c.SUBMIT_MULTI_RESP])
def test_a_response_without_body_is_read_as_an_empty_one(command_id: int):
    assert pdu.decode(whole(command_id, b"")) == pdu.PDUS[command_id](sequence_number=7)


def test_the_body_of_a_request_counts_whatever_its_status():
    with pytest.raises(PduError):
        pdu.decode(whole(c.SUBMIT_SM, b"", command_status=1))


def test_only_a_response_may_leave_out_its_last_nul():
    with pytest.raises(PduError) as caught:
        pdu.decode(whole(c.OUTBIND, b"smsc\0hush"))
    assert caught.value.field == "password"
    answer = pdu.decode(whole(c.SUBMIT_SM_RESP, b"7" * 64))
    assert isinstance(answer, pdu.SubmitSmResp)
    assert answer.message_id == b"7" * 64
    with pytest.raises(PduError):
        pdu.decode(whole(c.SUBMIT_SM_RESP, b"7" * 65))


def test_leniently_all_behind_a_wrong_sm_length_is_the_text():
    body = b"\0" * 16 + b"\x09hello"
    with pytest.raises(PduError):
        pdu.decode(whole(c.DELIVER_SM, body))
    found = pdu.decode(whole(c.DELIVER_SM, body), lenient=True)
    assert isinstance(found, pdu.DeliverSm)
    assert (found.short_message, found.tlvs) == (b"hello", [])
