"""Descriptions: rows as the specification has them, problems with their place, nothing shown that must not
be, and agreement with the decoder about what cannot be read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.codecs import constants as c
from todoke.codecs import meanings, names, pdu, udh
from todoke.codecs.describe import Description, Row, describe
from todoke.codecs.errors import FramingError, PduError, status_name
from todoke.codecs.fields import LAYOUTS, TLVS

SOURCE, DESTINATION, TEXT, PASSWORD = b"QJXVZKWYPG", b"MBHDQFKZWXC", b"zqxjkvbwpyhgfd", b"Vkqzwxjb"


def frame(command_id: int, body: bytes = b"", status: int = 0, sequence: int = 1) -> bytes:
    numbers = (16 + len(body), command_id, status, sequence)
    return b"".join(number.to_bytes(4, "big") for number in numbers) + body


def submit(**fields: Any) -> bytes:
    values: dict[str, Any] = {
        "source_addr_ton": 5,
        "source_addr": SOURCE,
        "dest_addr_ton": 1,
        "dest_addr_npi": 1,
        "destination_addr": b"+819012345678",
        "short_message": b"hello",
    }
    return pdu.encode(pdu.SubmitSm(**(values | fields)), 7)


def rows(octets: bytes, *, show_text: bool = True) -> dict[str, Row]:
    """By name; of a repeated one the last."""
    return {row.name: row for row in describe(octets, show_text).rows}


def words(description: Description) -> str:
    return "\n".join(" ".join((row.name, row.value, row.meaning, row.problem)) for row in description.rows)


# --- good PDUs --------------------------------------------------------------------------------------------


def test_a_submit_sm_row_by_row() -> None:
    octets = submit(
        esm_class=0x43,
        registered_delivery=0x11,
        validity_period=b"000002000000000R",
        data_coding=8,
        short_message=udh.concat8(7, 3, 2) + "é€".encode("utf-16-be"),
        tlvs=[(c.TAG_USER_MESSAGE_REFERENCE, b"\1\2")],
    )
    found = describe(octets, show_text=True)
    assert (found.name, found.command_id, found.command_status, found.sequence_number) == (
        "submit_sm",
        4,
        0,
        7,
    )
    assert found.octets == len(octets)
    assert not found.wrong
    assert not found.refused
    assert [(row.offset, row.octets, row.level, row.name, row.value, row.meaning) for row in found.rows] == [
        (0, 4, 0, "command_length", str(len(octets)), ""),
        (4, 4, 0, "command_id", "0x00000004", "submit_sm"),
        (8, 4, 0, "command_status", "0x00000000", ""),
        (12, 4, 0, "sequence_number", "7", ""),
        (16, 1, 0, "service_type", "''", ""),
        (17, 1, 0, "source_addr_ton", "5", "alphanumeric"),
        (18, 1, 0, "source_addr_npi", "0", "unknown"),
        (19, 11, 0, "source_addr", "'QJXVZKWYPG'", "10 octets, not all digits"),
        (30, 1, 0, "dest_addr_ton", "1", "international"),
        (31, 1, 0, "dest_addr_npi", "1", "ISDN (E.163, E.164)"),
        (32, 14, 0, "destination_addr", "'+819012345678'", "12 digits, and a + that SMPP leaves out"),
        (
            46, 1, 0, "esm_class", "67 (0x43)",
            "store and forward mode, default message type, user data header (UDHI)",
        ),
        (47, 1, 0, "protocol_id", "0", "short message"),
        (48, 1, 0, "priority_flag", "0", "lowest"),
        (49, 1, 0, "schedule_delivery_time", "''", "not set"),
        (
            50, 17, 0, "validity_period", "'000002000000000R'",
            "2 days, 0:00:00 (d, h:mm:ss) after the SMSC gets it; years as 365 days, months as 30",
        ),
        (
            67, 1, 0, "registered_delivery", "17 (0x11)",
            "SMSC receipt on success and failure, intermediate notification",
        ),
        (68, 1, 0, "replace_if_present_flag", "0", "do not replace"),
        (69, 1, 0, "data_coding", "8", "UCS-2"),
        (70, 1, 0, "sm_default_msg_id", "0", ""),
        (71, 1, 0, "sm_length", "10 (0x0A)", ""),
        (72, 6, 0, "user data header", "6 octets", ""),
        (73, 5, 1, "0x00 concat_8", "7", "reference 7, part 2 of 3"),
        (78, 4, 0, "short_message", "'é€'", "UCS-2"),
        (82, 6, 0, "user_message_reference", "258 (0x0102)", ""),
    ]  # fmt: skip


def test_every_layout_is_read_to_its_end() -> None:
    for command_id in LAYOUTS:
        filled = {"dest_addresses": [pdu.DestAddress(b"1", 1, 1), pdu.DestAddress(dl_name=b"list")]}
        made = pdu.PDUS[command_id](**(filled if command_id == c.SUBMIT_MULTI else {}))
        octets = pdu.encode(made, 9)
        found = describe(octets, show_text=True)
        assert not found.wrong, found
        assert sum(row.octets for row in found.rows) == len(octets), found.name


@pytest.mark.parametrize(
    ("octets", "name", "value", "meaning"),
    [
        (frame(c.SUBMIT_SM_RESP, b"a1\0"), "message_id", "'a1'", ""),
        (frame(c.SUBMIT_SM_RESP, b"\0"), "message_id", "''", "empty: no receipt can be matched to it"),
        (frame(c.SUBMIT_SM_RESP, b"a1"), "message_id", "'a1'", "its NUL is missing"),
        (frame(c.DELIVER_SM_RESP, b"\0"), "message_id", "''", "unused"),
        (
            frame(c.CANCEL_SM, b"\0\0\0\0\0\0\0\0"),
            "message_id", "''", "empty: cancels ALL messages between the two addresses",
        ),
        (
            frame(c.QUERY_SM_RESP, b"a\0" b"260102030405600+\0\x02\x00"),
            "final_date", "'260102030405600+'", "",
        ),
        (
            frame(c.QUERY_SM_RESP, b"a\0" b"260102030405604+\0\x02\x00"),
            "final_date", "'260102030405604+'", "",
        ),
        (frame(c.QUERY_SM_RESP, b"a\0\0\x02\x00"), "message_state", "2", "DELIVERED (final)"),
        (frame(c.QUERY_SM_RESP, b"a\0\0\x09\x07"), "error_code", "7", "the SMSC's own code: ask the carrier"),
        (
            frame(c.SUBMIT_SM_RESP, status=0x58), "command_status", "0x00000058",
            "ESME_RTHROTTLED: throttled: more messages a second than are allowed",
        ),
        (
            frame(c.SUBMIT_SM_RESP, status=0x401), "command_status", "0x00000401",
            "0x00000401: a code of the SMSC's vendor: ask the carrier",
        ),
        (
            frame(c.BIND_RECEIVER_RESP, b"\0", status=0x999), "command_status", "0x00000999",
            "0x00000999: reserved: no meaning in SMPP 3.4 or 5.0",
        ),
        (frame(c.BIND_RECEIVER, b"me\0\0\0\x33\0\0\0"), "interface_version", "51 (0x33)", "SMPP 3.3"),
        (frame(c.BIND_RECEIVER, b"\0\0\0\x10\0\0\0"), "interface_version", "16 (0x10)", "SMPP 3.3 or older"),
        (frame(0x10201, b"\1\2"), "body", "01 02", ""),
        (frame(0x80010201), "command_id", "0x80010201", "0x80010201"),
        (
            frame(c.SUBMIT_MULTI_RESP, b"m\0\x01\x01\x0112\0\x00\x00\x00\x0b"),
            "error_status_code", "11 (0x0000000B)", "ESME_RINVDSTADR: the destination address is invalid",
        ),
        (submit(protocol_id=0x41), "protocol_id", "65 (0x41)", "replace short message type 1"),
        (submit(protocol_id=0x99), "protocol_id", "153 (0x99)", ""),
        (submit(source_addr_npi=7), "source_addr_npi", "7", "reserved"),
        (submit(source_addr=b"8190"), "source_addr", "'8190'", "4 digits"),
        (submit(source_addr=b"\x1b[2J"), "source_addr", r"'\x1b[2J'", "4 octets, not all digits"),
    ],
)  # fmt: skip
def test_one_row(octets: bytes, name: str, value: str, meaning: str) -> None:
    row = rows(octets)[name]
    assert row.value == value
    if name != "final_date":
        assert (row.meaning, row.problem) == (meaning, "")


@pytest.mark.parametrize(
    ("value", "to_smsc", "expected"),
    [
        (0x00, True, "default mode, default message type"),
        (0x01, True, "datagram mode, default message type"),
        (0x0A, True, "forward (transaction) mode, delivery acknowledgement by the ESME"),
        (0x93, True, "store and forward mode, manual (user) acknowledgement by the ESME, reply path"),
        (0x04, True, "default mode, reserved message type 0x04"),
        (0x44, False, "SMSC delivery receipt, user data header (UDHI)"),
        (0x20, False, "intermediate delivery notification"),
        (0x3C, False, "reserved message type 0x3C"),
    ],
)
def test_esm_class(value: int, to_smsc: bool, expected: str) -> None:
    assert meanings.esm_class(value, to_smsc=to_smsc) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0x00, "no SMSC receipt"),
        (0x02, "SMSC receipt on failure"),
        (0x0D, "SMSC receipt on success and failure, delivery and manual acknowledgement of the handset"),
        (0x20, "no SMSC receipt, intermediate notification"),
        (0xC3, "SMSC receipt on success (5.0; reserved in 3.4), reserved bits 0xC0"),
    ],
)
def test_registered_delivery(value: int, expected: str) -> None:
    assert meanings.registered_delivery(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0x00, "the SMSC's default alphabet"),
        (0x0F, "reserved"),
        (0x10, "GSM scheme: GSM 7-bit, message class 0 (flash)"),
        (0x19, "GSM scheme: UCS-2, message class 1 (handset)"),
        (0x20, "reserved"),
        (0x48, "GSM scheme: UCS-2, deleted by itself when read"),
        (0xC8, "message waiting indication: voicemail active, discard the text"),
        (0xD1, "message waiting indication: fax inactive, GSM 7-bit, store the text"),
        (0xEB, "message waiting indication: other message active, UCS-2, store the text"),
        (0xF0, "GSM 7-bit, message class 0 (flash)"),
        (0xF6, "8-bit data, message class 2 (SIM)"),
    ],
)
def test_data_coding(value: int, expected: str) -> None:
    assert names.data_coding_name(value) == expected


@pytest.mark.parametrize(
    ("tag", "value", "shown", "meaning"),
    [
        (c.TAG_RECEIPTED_MESSAGE_ID, b"ab12\0", "'ab12'", ""),
        (c.TAG_RECEIPTED_MESSAGE_ID, b"ab12", "'ab12'", "its NUL is missing"),
        (c.TAG_MESSAGE_STATE, b"\5", "5", "UNDELIVERABLE (final)"),
        (c.TAG_NETWORK_ERROR_CODE, b"\3\0\x05", "03 00 05", "GSM, error 5"),
        (c.TAG_NETWORK_ERROR_CODE, b"\x63\0\x05", "63 00 05", "network type 99, error 5"),
        (c.TAG_NETWORK_ERROR_CODE, b"034", "30 33 34", "network type 0, error 34"),
        (c.TAG_CONGESTION_STATE, b"\x55", "85 (0x55)", "optimum load"),
        (c.TAG_QOS_TIME_TO_LIVE, b"\0\0\x0e\x10", "3600 (0x00000E10)", "1:00:00 (d, h:mm:ss)"),
        (c.TAG_DEST_PORT, b"\x0b\x84", "2948 (0x0B84)", "WAP push"),
        (c.TAG_SOURCE_PORT, b"\0\1", "1", ""),
        (c.TAG_MS_MSG_WAIT_FACILITIES, b"\x81", "129 (0x81)", "fax active"),
        (c.TAG_MS_MSG_WAIT_FACILITIES, b"\x00", "0", "voicemail inactive"),
        (c.TAG_CALLBACK_NUM_PRES_IND, b"\x04", "4", "presentation restricted"),
        (c.TAG_DEST_ADDR_SUBUNIT, b"\1", "1", "MS display (flash)"),
        (c.TAG_DEST_ADDR_SUBUNIT, b"\x09", "9", "reserved"),
        (c.TAG_USER_RESPONSE_CODE, b"\x09", "9", ""),
        (c.TAG_USSD_SERVICE_OP, b"\x02", "02", "USSR request"),
        (c.TAG_ALERT_ON_MESSAGE_DELIVERY, b"", "''", "default"),
        (c.TAG_BROADCAST_END_TIME, b"260102030405000+\0", "'260102030405000+'", "2026-01-02 03:04:05+00:00"),
        (c.TAG_CALLBACK_NUM, b"\1\1\x0112", "(5 octets, masked)", ""),
        (c.TAG_ADDITIONAL_STATUS_INFO_TEXT, b"zqxj\0", "(4 octets, masked)", ""),
        (c.TAG_MESSAGE_PAYLOAD, b"", "0 octets", ""),
    ],
)
def test_optional_parameters(tag: int, value: bytes, shown: str, meaning: str) -> None:
    octets = frame(c.DATA_SM, b"\0\0\0\0\0\0\0\0\0\0" + tlv(tag, value))
    row = rows(octets, show_text=False)[TLVS[tag].name]
    assert (row.offset, row.octets, row.value, row.meaning, row.problem) == (
        26,
        4 + len(value),
        shown,
        meaning,
        "",
    )


def tlv(tag: int, value: bytes) -> bytes:
    return tag.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value


def test_unknown_optional_parameters() -> None:
    octets = frame(c.SUBMIT_SM_RESP, b"\0" + tlv(0x1401, b"ab") + tlv(0x4001, b""))
    assert rows(octets)["vendor tag 0x1401"].value == "61 62"
    assert rows(octets, show_text=False)["vendor tag 0x1401"].value == "(2 octets, masked)"
    assert rows(octets)["tag 0x4001"].value == "''"


@pytest.mark.parametrize(("value", "meaning"), [(0, "idle"), (30, "medium load"), (90, "nearing congestion")])
def test_congestion(value: int, meaning: str) -> None:
    assert names.congestion_name(value) == meaning
    assert names.congestion_name(101) == "reserved"


@pytest.mark.parametrize(
    ("element", "name", "value", "meaning"),
    [
        ((0, b"\x01\x02\x01"), "0x00 concat_8", "1", "reference 1, part 1 of 2"),
        ((8, b"\x01\x00\x02\x01"), "0x08 concat_16", "256", "reference 256, part 1 of 2"),
        (
            udh.ports16(2948, 9200),
            "0x05 ports_16",
            "2948, 9200",
            "destination port 2948, source port 9200, WAP push",
        ),
        (udh.ports8(240, 241), "0x04 ports_8", "240, 241", "destination port 240, source port 241"),
        ((4, b"\1"), "0x04 ports_8", "01", ""),
        ((0x24, b"\1"), "0x24 national_single_shift", "1", "turkish"),
        ((0x25, b"\x0d"), "0x25 national_locking_shift", "13", "urdu"),
        ((0x25, b"\x63"), "0x25 national_locking_shift", "99", "reserved language"),
        ((0x25, b""), "0x25 national_locking_shift", "''", ""),
        ((1, b"\x80\x03"), "0x01 special_message_indication", "128, 3", "3 waiting: voicemail"),
        ((1, b"\x80"), "0x01 special_message_indication", "80", ""),
        ((0x22, b"12"), "0x22 reply_address", "31 32", ""),
        ((0x26, b""), "0x26 reserved", "''", ""),
    ],
)
def test_elements_of_the_user_data_header(
    element: tuple[int, bytes], name: str, value: str, meaning: str
) -> None:
    octets = submit(esm_class=0x40, short_message=udh.build([element]) + b"x")
    row = rows(octets)[name]
    assert (row.level, row.octets, row.value, row.meaning, row.problem) == (
        1,
        2 + len(element[1]),
        value,
        meaning,
        "",
    )


def test_addresses_in_the_user_data_header_are_masked() -> None:
    octets = submit(esm_class=0x40, short_message=udh.build([(0x22, b"12")]) + b"x")
    assert rows(octets, show_text=False)["0x22 reply_address"].value == "(2 octets, masked)"


@pytest.mark.parametrize(
    ("fields", "value", "meaning"),
    [
        ({"short_message": b"\0\x02"}, "'@$'", "GSM 7-bit, unpacked"),
        (
            {"short_message": b"\xff"},
            "'\ufffd'",
            "GSM 7-bit, unpacked; octets above 0x7F: packed septets, or another alphabet",
        ),
        ({"short_message": "é".encode("latin-1"), "data_coding": 3}, "'é'", "Latin-1"),
        (
            {"short_message": b"\1\2", "data_coding": 4},
            "01 02",
            "8-bit data, or an alphabet that is not read here",
        ),
        (
            {"short_message": b"hello, you there, my friend", "data_coding": 8},
            "'hello, you there, my friend'",
            "UCS-2; the octets look like ASCII",
        ),
        ({"short_message": "жук".encode("iso8859_5"), "data_coding": 6}, "'жук'", "iso8859_5"),
        ({"short_message": b""}, "''", "GSM 7-bit, unpacked"),
    ],
)
def test_text(fields: dict[str, object], value: str, meaning: str) -> None:
    row = rows(submit(**fields))["short_message"]
    assert (row.value, row.meaning, row.problem) == (value, meaning, "")


def test_text_in_national_tables() -> None:
    octets = submit(esm_class=0x40, short_message=udh.build([(0x24, b"\1")]) + b"\x1b\x53")
    assert rows(octets)["short_message"].value == "'Ş'"


def test_text_in_message_payload() -> None:
    octets = submit(
        short_message=b"", esm_class=0x40, tlvs=[(c.TAG_MESSAGE_PAYLOAD, udh.concat8(1, 2, 1) + b"hi")]
    )
    found = describe(octets, show_text=True)
    begin = len(octets) - 8
    assert [(row.offset, row.level, row.name, row.value) for row in found.rows[-4:]] == [
        (begin - 4, 0, "message_payload", "8 octets"),
        (begin, 1, "user data header", "6 octets"),
        (begin + 1, 2, "0x00 concat_8", "1"),
        (begin + 6, 1, "text", "'hi'"),
    ]


def test_a_header_alone_has_no_text() -> None:
    assert "short_message" not in rows(submit(esm_class=0x40, short_message=udh.concat8(1, 2, 1)))


def test_the_text_of_replace_sm_is_of_an_alphabet_that_the_pdu_does_not_name() -> None:
    octets = pdu.encode(pdu.ReplaceSm(message_id=b"a", short_message=b"hi"), 1)
    row = rows(octets)["short_message"]
    assert (row.value, row.meaning) == ("68 69", "data_coding is the original message's")


FIELDS = b"id:0a1B sub:001 dlvrd:001 submit date:2601011200 done date:260101120130 stat:DELIVRD err:000"
RECEIPT = FIELDS + b" text:zqxjkvbwpy"


def test_a_receipt() -> None:
    octets = pdu.encode(pdu.DeliverSm(esm_class=4, short_message=RECEIPT), 1)
    found = [row for row in describe(octets).rows if row.name.startswith("receipt ")]
    assert [(row.name[8:], row.value, row.meaning) for row in found] == [
        ("id", "0a1B", ""),
        ("state", "delivered", "final"),
        ("stat", "DELIVRD", ""),
        ("err", "000", "the SMSC's own code: ask the carrier"),
        ("done date", "260101120130", "2026-01-01 12:01:30"),
        ("sub", "001", ""),
        ("dlvrd", "001", ""),
        ("submit date", "2601011200", "2026-01-01 12:00:00"),
    ]
    assert {(row.offset, row.octets, row.level) for row in found} == {(33, len(RECEIPT), 1)}


def test_a_receipt_in_optional_parameters_and_in_text_that_differ() -> None:
    tlvs = [(c.TAG_RECEIPTED_MESSAGE_ID, b"77\0"), (c.TAG_MESSAGE_STATE, b"\1")]
    octets = pdu.encode(pdu.DeliverSm(esm_class=4, short_message=b"id:5 stat:ODD done date:x", tlvs=tlvs), 1)
    found = [row for row in describe(octets).rows if row.name.startswith("receipt ")]
    assert [(row.name[8:], row.value, row.meaning) for row in found] == [
        ("id", "77", ""),
        ("id", "5", "in the text; the optional parameter says another"),
        ("state", "enroute", "not final"),
        ("stat", "ODD", "not a known word"),
        ("done date", "x", ""),
    ]


def test_a_receipt_without_an_id() -> None:
    octets = pdu.encode(pdu.DeliverSm(esm_class=4, short_message=b"zqxj"), 1)
    assert rows(octets)["receipt id"].meaning == "none: cannot be matched"


def test_no_receipt_in_a_message_or_towards_the_smsc() -> None:
    for octets in (pdu.encode(pdu.DeliverSm(short_message=b"hi"), 1), submit(short_message=RECEIPT)):
        assert not any(row.name.startswith("receipt ") for row in describe(octets).rows)


def test_the_retry_class_stands_where_a_message_was_refused() -> None:
    def meaning(octets: bytes) -> str:
        return describe(octets, retry_class=lambda status: f"class {status}").rows[2].meaning

    assert meaning(frame(c.SUBMIT_SM_RESP, status=0x14)).endswith("; retry: class 20")
    for octets in (frame(c.SUBMIT_SM_RESP, b"a\0"), frame(c.BIND_RECEIVER_RESP, status=0x14)):
        assert "retry" not in meaning(octets)


def test_every_status_has_a_meaning() -> None:
    assert names.STATUS_MEANINGS.keys() == c.STATUS_NAMES.keys()


def test_values_are_named_for_known_parameters_only() -> None:
    assert set(names.TLV_VALUES) <= set(TLVS)


# --- broken PDUs ------------------------------------------------------------------------------------------

CLOSE = "generic_nack ESME_RINVCMDLEN, then close"


def answer(name: str, status: int) -> str:
    return f"{name} {status_name(status)} (0x{status:08X})"


def to_submit(status: int) -> str:
    return answer("submit_sm_resp", status)


def problems(octets: bytes) -> list[tuple[int, str, str, str, bool]]:
    found = describe(octets).rows
    return [(row.offset, row.name, row.problem, row.answer, row.refused) for row in found if row.problem]


def broken(octets: bytes, at: int, new: bytes, old: int = 1) -> bytes:
    """`old` octets at `at` replaced, command_length put right."""
    changed = octets[:at] + new + octets[at + old :]
    return len(changed).to_bytes(4, "big") + changed[4:]


GOOD = submit()  # destination_addr at 32, esm_class at 46, sm_length at 55, short_message at 56


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"", (0, "header", "0 octets, a header has 16", CLOSE, True)),
        (b"x" * 15, (0, "header", "15 octets, a header has 16", CLOSE, True)),
        (GOOD[:-1], (0, "command_length", f"{len(GOOD) - 1} octets are there", CLOSE, True)),
        (GOOD + b"x", (0, "command_length", f"{len(GOOD) + 1} octets are there", CLOSE, True)),
        (b"\0\0\0\x0f" + GOOD[4:], (0, "command_length", "must be 16 to 70000", CLOSE, True)),
        (
            frame(0x7777, b"x"),
            (4, "command_id", "unknown", answer("generic_nack", c.ESME_RINVCMDID), True),
        ),
        (frame(0x80007777), (4, "command_id", "unknown", "", True)),
        (
            frame(c.BROADCAST_SM),
            (4, "command_id", "not supported", answer("generic_nack", c.ESME_RINVCMDID), True),
        ),
        (frame(c.ENQUIRE_LINK, status=1), (8, "command_status", "must be 0 in a request", "", False)),
        (frame(c.ENQUIRE_LINK, sequence=0), (12, "sequence_number", "must be 1 to 2147483647", "", False)),
        (
            frame(c.GENERIC_NACK, sequence=1 << 31),
            (12, "sequence_number", "must be 1 to 2147483647", "", False),
        ),
        (
            broken(GOOD, 16, b"seventy\0"),
            (16, "service_type", "8 octets with its NUL, at most 6", to_submit(c.ESME_RINVSERTYP), True),
        ),
        (
            broken(GOOD, 32, b"x" * 20 + b"+", 1),
            (
                32,
                "destination_addr",
                "34 octets with its NUL, at most 21",
                to_submit(c.ESME_RINVDSTADR),
                True,
            ),
        ),
        (
            broken(GOOD, 48, b"\4"),
            (48, "priority_flag", "must be 0 to 3", to_submit(c.ESME_RINVPRTFLG), False),
        ),
        (
            broken(GOOD, 49, b"260101\0"),
            (
                49,
                "schedule_delivery_time",
                "7 octets with its NUL, must be 1 or 17",
                to_submit(c.ESME_RINVSCHED),
                True,
            ),
        ),
        (
            broken(GOOD, 50, b"260132000000000+\0"),
            (50, "validity_period", "no such date", to_submit(c.ESME_RINVEXPIRY), False),
        ),
        (
            broken(GOOD, 55, b"\x06"),
            (55, "sm_length", "5 octets are left in the PDU", to_submit(c.ESME_RINVMSGLEN), True),
        ),
        (
            broken(GOOD, 55, b"\x04"),
            (
                60,
                "optional parameters",
                "left over: a tag and a length take 4 octets",
                to_submit(c.ESME_RINVTLVSTREAM),
                True,
            ),
        ),
        (
            broken(GOOD, 55, b"\xff" + b"x" * 250),
            (55, "sm_length", "at most 254 in SMPP 3.4", to_submit(c.ESME_RINVMSGLEN), False),
        ),
        (
            GOOD[:3] + b"\x37" + GOOD[4:55],
            (55, "sm_length", "the PDU ends before it", to_submit(c.ESME_RINVMSGLEN), True),
        ),
        (
            frame(c.SUBMIT_SM, b"\0\0\0" + SOURCE),
            (
                19,
                "source_addr",
                "no NUL before the end of the PDU, at most 21 octets with it",
                to_submit(c.ESME_RINVSRCADR),
                True,
            ),
        ),
        (
            frame(c.QUERY_SM, b"1\0\0"),
            (
                19,
                "source_addr_npi",
                "the PDU ends before it",
                answer("query_sm_resp", c.ESME_RINVSRCNPI),
                True,
            ),
        ),
        (
            frame(c.ALERT_NOTIFICATION, b"\0"),
            (
                17,
                "source_addr_npi",
                "the PDU ends before it",
                answer("generic_nack", c.ESME_RINVSRCNPI),
                True,
            ),
        ),
        (
            frame(c.SUBMIT_MULTI, b"\0\0\0\0\0"),
            (
                20,
                "number_of_dests",
                "must be 1 to 255",
                answer("submit_multi_resp", c.ESME_RINVNUMDESTS),
                True,
            ),
        ),
        (
            frame(c.SUBMIT_MULTI, b"\0\0\0\0\1\3\1\1" + DESTINATION + b"\0" + b"\0" * 10),
            (
                21,
                "dest_flag",
                "must be 1 or 2; read on as 1",
                answer("submit_multi_resp", c.ESME_RINVDESTFLAG),
                True,
            ),
        ),
        (
            frame(c.SUBMIT_MULTI, b"\0\0\0\0\2\1\1\1" + DESTINATION + b"\0"),
            (
                36,
                "dest_flag",
                "the PDU ends before it",
                answer("submit_multi_resp", c.ESME_RINVDESTFLAG),
                True,
            ),
        ),
        (
            frame(c.SUBMIT_MULTI, b"\0\0\0\0\1\2" + b"l" * 30 + b"\0" * 11),
            (
                22,
                "dl_name",
                "31 octets with its NUL, at most 21",
                answer("submit_multi_resp", c.ESME_RINVDLNAME),
                True,
            ),
        ),
        (
            frame(c.SUBMIT_MULTI_RESP, b"m\0\1\0\0" + b"1\0\0"),
            (23, "error_status_code", "the PDU ends before it", "", True),
        ),
        (
            frame(c.SUBMIT_SM_RESP, b"m" * 65 + b"\0"),
            (16, "message_id", "66 octets with its NUL, at most 65", "", True),
        ),
        (
            frame(c.SUBMIT_SM_RESP, b"m" * 65),
            (16, "message_id", "no NUL before the end of the PDU, at most 65 octets with it", "", True),
        ),
        (
            frame(c.SUBMIT_SM_RESP, b"m" * 65 + b"\0", status=8),
            (
                16,
                "message_id",
                "66 octets with its NUL, at most 65 (ignored in a response with an error)",
                "",
                False,
            ),
        ),
        (
            frame(c.SUBMIT_SM, GOOD[16:] + tlv(c.TAG_MESSAGE_STATE, b"\1\2")),
            (61, "message_state", "its length is 2, must be 1 octets", to_submit(c.ESME_RINVTLVLEN), False),
        ),
        (
            frame(c.SUBMIT_SM, GOOD[16:] + tlv(c.TAG_CALLBACK_NUM, b"\1\2")),
            (
                61,
                "callback_num",
                "its length is 2, must be 4 to 19 octets",
                to_submit(c.ESME_RINVTLVLEN),
                False,
            ),
        ),
        (
            frame(c.SUBMIT_SM, GOOD[16:] + tlv(c.TAG_NUMBER_OF_MESSAGES, b"\x64")),
            (61, "number_of_messages", "must be 0 to 99", to_submit(c.ESME_RINVTLVVAL), False),
        ),
        (
            frame(c.SUBMIT_SM, GOOD[16:] + tlv(c.TAG_MESSAGE_STATE, b"\1")[:-1]),
            (
                61,
                "message_state",
                "its length 1 runs past the end of the PDU",
                to_submit(c.ESME_RINVTLVSTREAM),
                True,
            ),
        ),
        (
            frame(c.SUBMIT_SM, GOOD[16:] + tlv(c.TAG_MESSAGE_PAYLOAD, b"x")),
            (
                61,
                "message_payload",
                "short_message is there too; only one may be",
                to_submit(c.ESME_RTLVNOTALLWD),
                False,
            ),
        ),
        (
            frame(c.SUBMIT_SM, GOOD[16:] + tlv(c.TAG_SAR_MSG_REF_NUM, b"\0\1")),
            (61, "sar_msg_ref_num", "ignored without the two other sar_ parameters", "", False),
        ),
        (
            frame(c.SUBMIT_SM, GOOD[16:] + tlv(0x1400, b"") * 65),
            (
                61 + 64 * 4,
                "optional parameters",
                "more than 64 optional parameters",
                to_submit(c.ESME_RINVTLVSTREAM),
                True,
            ),
        ),
        (
            submit(esm_class=0x40, short_message=b"\x05x"),
            (56, "user data header", "esm_class says user data header, but none fits", "", False),
        ),
        (
            submit(esm_class=0x40, short_message=b"\x05\0\3\1\2\3x"),
            (
                57,
                "0x00 concat_8",
                "must be a reference, a total of 1 to 255 and a number of 1 to the total: ignored",
                "",
                False,
            ),
        ),
        (
            submit(esm_class=0x40, short_message=b"\x03\x22\x05\1x"),
            (57, "element", "an element runs past the end of the header", "", False),
        ),
        (
            submit(data_coding=8, short_message=b"\0a\0"),
            (56, "short_message", "an odd number of octets is no UCS-2", "", False),
        ),
    ],
)
def test_what_is_wrong_and_where(octets: bytes, expected: tuple[int, str, str, str, bool]) -> None:
    assert problems(octets)[0] == expected


def test_reading_goes_on_behind_a_bad_field() -> None:
    octets = broken(broken(GOOD, 55, b"\x06"), 16, b"seventy\0")
    found = describe(octets, show_text=True)
    assert [row.name for row in found.rows if row.problem] == ["service_type", "sm_length"]
    assert next(row for row in found.rows if row.name == "short_message").value == "'hello'"


def test_what_is_not_there_is_listed() -> None:
    row = describe(frame(c.QUERY_SM, b"1\0\0")).rows[-1]
    assert (row.offset, row.name, row.meaning) == (19, "not there", "source_addr")


def test_what_stands_behind_the_pdu_is_said_and_not_read() -> None:
    row = describe(GOOD + b"xy").rows[-1]
    assert (row.offset, row.octets, row.name, row.value, row.meaning) == (
        len(GOOD),
        2,
        "behind the PDU",
        "",
        "not read",
    )


def test_all_three_sar_parameters_are_fine_and_two_are_not() -> None:
    three = [
        tlv(c.TAG_SAR_MSG_REF_NUM, b"\0\1"),
        tlv(c.TAG_SAR_TOTAL_SEGMENTS, b"\2"),
        tlv(c.TAG_SAR_SEGMENT_SEQNUM, b"\1"),
    ]
    assert problems(frame(c.SUBMIT_SM, GOOD[16:] + b"".join(three))) == []
    assert len(problems(frame(c.SUBMIT_SM, GOOD[16:] + b"".join(three[1:])))) == 2


def test_a_broken_parameter_keeps_its_first_problem() -> None:
    octets = frame(c.SUBMIT_SM, GOOD[16:] + tlv(c.TAG_SAR_MSG_REF_NUM, b"\0"))
    assert [problem for _, _, problem, _, _ in problems(octets)] == ["its length is 1, must be 2 octets"]


# --- nothing that must not be shown -----------------------------------------------------------------------


def bind(**fields: Any) -> bytes:
    values: dict[str, Any] = {"system_id": b"carrier", "password": PASSWORD, "system_type": b"kind"}
    return pdu.encode(pdu.BindTransceiver(**(values | fields)), 1)


def leaks(found: Description, *secrets: bytes) -> list[str]:
    """Four characters in a row of a secret, as they are or in hexadecimal."""
    text = words(found).lower()
    pieces = [secret[at : at + 4] for secret in secrets for at in range(len(secret) - 3)]
    forms = [form for piece in pieces for form in (piece.decode().lower(), piece.hex(), piece.hex(" "))]
    return [form for form in forms if form in text]


PRIVATE_PDUS = [
    submit(destination_addr=DESTINATION, short_message=TEXT),
    submit(
        destination_addr=DESTINATION,
        short_message=TEXT,
        tlvs=[(0x1401, SOURCE), (c.TAG_CALLBACK_NUM, SOURCE)],
    ),
    submit(destination_addr=DESTINATION, short_message=b"", tlvs=[(c.TAG_MESSAGE_PAYLOAD, TEXT)]),
    submit(
        destination_addr=DESTINATION, data_coding=8, short_message=TEXT, validity_period=b"000002000000000R"
    ),
    pdu.encode(pdu.DeliverSm(esm_class=4, source_addr=SOURCE, short_message=RECEIPT), 1),
    pdu.encode(pdu.SubmitMulti(dest_addresses=[pdu.DestAddress(DESTINATION)] * 3, short_message=TEXT), 1),
    pdu.encode(pdu.AlertNotification(source_addr=SOURCE, esme_addr=DESTINATION), 1),
    pdu.encode(pdu.DataSm(source_addr=SOURCE, tlvs=[(c.TAG_MESSAGE_PAYLOAD, TEXT)]), 1),
    pdu.encode(pdu.ReplaceSm(message_id=b"1", source_addr=SOURCE, short_message=TEXT), 1),
]


@pytest.mark.parametrize("octets", PRIVATE_PDUS)
def test_addresses_and_texts_are_masked(octets: bytes) -> None:
    assert leaks(describe(octets), SOURCE, DESTINATION, TEXT) == []
    assert leaks(describe(octets, show_text=True), SOURCE, DESTINATION, TEXT) != []


def test_digits_are_masked() -> None:
    row = rows(GOOD, show_text=False)["destination_addr"]
    assert (row.value, row.meaning) == ("(13 octets, masked)", "12 digits, and a + that SMPP leaves out")


def test_a_password_is_never_shown() -> None:
    for octets in (bind(), pdu.encode(pdu.Outbind(system_id=b"carrier", password=PASSWORD), 1)):
        found = describe(octets, show_text=True)
        assert leaks(found, PASSWORD) == []
        assert "'carrier'" in words(found)
        assert "(8 octets, never shown)" in words(found)


@st.composite
def mutated(draw: st.DrawFn, frames: list[bytes]) -> bytes:
    """A PDU with a few octets changed, taken out or put in behind its header; its length right or wrong."""
    octets = bytearray(draw(st.sampled_from(frames)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(16, max(16, len(octets) - 1)))
        octets[at : at + draw(st.integers(0, 2))] = draw(
            st.sampled_from([b"", b"\0", b"x", b"\xff", b"\x05", b"\0\0"])
        )
    length = len(octets) if draw(st.booleans()) else draw(st.integers(16, 200))
    return length.to_bytes(4, "big") + bytes(octets[4:])


# The first octets of an address can fall into a field that is shown (service_type), where the PDU is whole.
@given(mutated(PRIVATE_PDUS))
def test_a_broken_message_shows_no_more_than_a_whole_one(octets: bytes) -> None:
    found = describe(octets)
    if found.refused:
        assert leaks(found, SOURCE, DESTINATION, TEXT) == []


@given(
    mutated([bind(), bind(system_type=b""), pdu.encode(pdu.Outbind(system_id=b"c", password=PASSWORD), 1)])
)
def test_a_broken_bind_shows_no_password_either(octets: bytes) -> None:
    found = describe(octets, show_text=True)
    if found.refused:
        assert leaks(found, PASSWORD) == []


# --- any octets -------------------------------------------------------------------------------------------

commands = st.sampled_from([*LAYOUTS, 0x10201, 0x80010299, 0x7777])
headers = st.builds(frame, commands, st.binary(max_size=80), st.sampled_from([0, 0, 8]))
any_octets = st.one_of(st.binary(max_size=120), headers, mutated([*PRIVATE_PDUS, GOOD, bind()]))


@given(any_octets, st.booleans())
def test_any_octets_give_a_description_whose_rows_lie_within_them(octets: bytes, show_text: bool) -> None:
    found = describe(octets, show_text)
    assert found.octets == len(octets)
    assert found.rows
    for row in found.rows:
        assert 0 <= row.offset <= row.offset + row.octets <= len(octets)
        assert (row.value + row.meaning + row.problem).isprintable()
        assert row.problem or not (row.answer or row.refused)


@given(any_octets)
def test_it_refuses_what_the_decoder_refuses(octets: bytes) -> None:
    first = next((row for row in describe(octets).rows if row.refused), None)
    error = refusal(octets)
    assert (first is None) == (error is None)
    if first is not None and isinstance(error, FramingError):
        assert first.answer == CLOSE
    elif first is not None and error is not None and not octets[4] & 0x80:
        assert status_name(error.command_status) in first.answer


def refusal(octets: bytes) -> FramingError | PduError | None:
    """What the decoder says against it."""
    try:
        pdu.decode(octets)
    except (FramingError, PduError) as error:
        return error
    return None


@pytest.mark.parametrize("octets", [*PRIVATE_PDUS, GOOD, bind()])
def test_cut_anywhere_it_says_so_and_shows_nothing(octets: bytes) -> None:
    for end in range(len(octets)):
        found = describe(octets[:end])
        assert found.refused
        assert leaks(found, SOURCE, DESTINATION, TEXT, PASSWORD) == []


def test_a_number_of_several_octets_that_may_be_of_an_address_is_not_shown():
    # The address has slipped to where error_status_code should be, and the second of two is missing.
    found = describe(frame(c.SUBMIT_MULTI_RESP, b"7\0\2\1\1\0" + b"819\0"))
    assert found.refused
    assert [row.value for row in found.rows if row.name == "error_status_code"] == ["(masked)"]
    # A text has slipped to where an optional parameter should be.
    found = describe(frame(c.DATA_SM_RESP, b"7\0" + b"\x02\x0c\0\2" + b"a\n" + b"\x04\x24\0\x09"))
    assert found.refused
    assert [row.value for row in found.rows if row.name == "sar_msg_ref_num"] == ["(masked)"]


def test_what_is_not_shown_is_not_told_by_its_meaning_either():
    # congestion_state 80, in a PDU that breaks off: it could be the letter P.
    found = describe(frame(c.DATA_SM_RESP, b"7\0" + b"\x04\x28\0\1P" + b"\x04\x24\0\x09"))
    assert found.refused
    shown = [(row.value, row.meaning) for row in found.rows if row.name == "congestion_state"]
    assert shown == [("(masked)", "")]
    # network_error_code 819, if it is one.
    found = describe(frame(c.DATA_SM_RESP, b"7\0" + b"\x04\x23\0\x03819" + b"\x04\x24\0\x09"))
    shown = [(row.value, row.meaning) for row in found.rows if row.name == "network_error_code"]
    assert shown == [("(3 octets, masked)", "")]
