"""Whole descriptions, row by row, against descriptions.txt: one of each PDU, and of each thing that can
be wrong with one. After a change that is meant:

    python tests/codecs/test_descriptions.py > tests/codecs/descriptions.txt     and read the difference
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from todoke.codecs import constants as c
from todoke.codecs import pdu, udh
from todoke.codecs.describe import describe

EXPECTED = Path(__file__).with_name("descriptions.txt")
ADDRESSES: dict[str, Any] = {
    "source_addr_ton": 1,
    "source_addr_npi": 1,
    "source_addr": b"819012345678",
    "destination_addr": b"+12ab",
}


def raw(
    command_id: int, body: bytes = b"", status: int = 0, sequence: int = 1, length: int | None = None
) -> bytes:
    numbers = (16 + len(body) if length is None else length, command_id, status, sequence)
    return b"".join(number.to_bytes(4, "big") for number in numbers) + body


def tlv(tag: int, value: bytes, length: int | None = None) -> bytes:
    return tag.to_bytes(2, "big") + (len(value) if length is None else length).to_bytes(2, "big") + value


def submit(
    short_message: bytes = b"hi", tail: bytes = b"", command_id: int = c.SUBMIT_SM, **fields: Any
) -> bytes:
    made = pdu.DeliverSm if command_id == c.DELIVER_SM else pdu.SubmitSm
    octets = pdu.encode(made(**(ADDRESSES | {"short_message": short_message} | fields)), 1) + tail
    return len(octets).to_bytes(4, "big") + octets[4:]


def deliver(short_message: bytes = b"hi", tail: bytes = b"", **fields: Any) -> bytes:
    return submit(short_message, tail, c.DELIVER_SM, **fields)


def data_sm(*tlvs: tuple[int, bytes], **fields: Any) -> bytes:
    return pdu.encode(pdu.DataSm(**(ADDRESSES | {"tlvs": list(tlvs)} | fields)), 1)


def cut(octets: bytes, end: int) -> bytes:
    """The first octets, and the length that they have."""
    octets = octets[:end]
    return len(octets).to_bytes(4, "big") + octets[4:]


def bind(**fields: Any) -> bytes:
    return pdu.encode(pdu.BindTransceiver(**({"system_id": b"us", "password": b"Xq7"} | fields)), 1)


RECEIPT = b"id:7 sub:001 dlvrd:1 submit date:2611211000 done date:2611211001 stat:DELIVRD err:000 text:sub:9"
MULTI = pdu.encode(
    pdu.SubmitMulti(
        dest_addresses=[pdu.DestAddress(b"123", 1, 1), pdu.DestAddress(dl_name=b"list")], short_message=b"hi"
    ),
    1,
)
UNSUCCESSFUL = raw(c.SUBMIT_MULTI_RESP, b"7\0\2" + b"\x01\x01123\0\0\0\0\x58" + b"\5\0ab\0\0\0\0\0")
HALVES = data_sm((c.TAG_MESSAGE_PAYLOAD, b"\0h\0i"), data_coding=8)

FRAMES: dict[str, bytes] = {
    # one of each command
    "bind_transceiver": bind(address_range=b"81"),
    "bind_transceiver with an empty password": bind(password=b""),
    "bind_transceiver_resp": raw(
        c.BIND_TRANSCEIVER_RESP, b"smsc\0" + tlv(c.TAG_SC_INTERFACE_VERSION, b"\x34")
    ),
    "bind_transceiver_resp refused": raw(c.BIND_TRANSCEIVER_RESP, b"", 0x0E),
    "outbind": raw(c.OUTBIND, b"smsc\0Xq7\0"),
    "unbind": raw(c.UNBIND),
    "enquire_link": raw(c.ENQUIRE_LINK, sequence=0x7FFFFFFF),
    "generic_nack": raw(c.GENERIC_NACK, b"", 3, 0),
    "alert_notification": raw(
        c.ALERT_NOTIFICATION, b"\x01\x01123\0\x01\x01456\0" + tlv(c.TAG_MS_AVAILABILITY_STATUS, b"\1")
    ),
    "submit_sm": submit(validity_period=b"000002000000000R", schedule_delivery_time=b"261122103000000+"),
    "submit_sm_resp": raw(c.SUBMIT_SM_RESP, b"7\0"),
    "submit_sm_resp without body": raw(c.SUBMIT_SM_RESP),
    "submit_sm_resp throttled": raw(c.SUBMIT_SM_RESP, b"", 0x58),
    "submit_sm_resp without its NUL": raw(c.SUBMIT_SM_RESP, b"7"),
    "submit_sm_resp of 65 octets without its NUL": raw(c.SUBMIT_SM_RESP, b"7" * 65),
    "submit_sm_resp of 66 octets": raw(c.SUBMIT_SM_RESP, b"7" * 65 + b"\0"),
    "submit_sm_resp with an error and a broken body": raw(c.SUBMIT_SM_RESP, b"7" * 70, 8),
    "submit_sm_resp with an empty id": raw(c.SUBMIT_SM_RESP, b"\0"),
    "data_sm_resp with an empty id": raw(c.DATA_SM_RESP, b"\0"),
    "deliver_sm_resp": raw(c.DELIVER_SM_RESP, b"\0"),
    "query_sm": raw(c.QUERY_SM, b"7\0\x01\x01123\0"),
    "query_sm_resp": raw(c.QUERY_SM_RESP, b"7\x00261122103000000+\0\2\0"),
    "query_sm_resp with a short date": raw(c.QUERY_SM_RESP, b"7\x002611221030\0\2\0"),
    "query_sm_resp with a date of 17": raw(c.QUERY_SM_RESP, b"7\x00261122103000000+1\0\2\0"),
    "query_sm_resp without the NUL of its date": raw(c.QUERY_SM_RESP, b"7\x002611221030"),
    "cancel_sm of one": raw(c.CANCEL_SM, b"\x007\0\x01\x01123\0\x01\x01456\0"),
    "cancel_sm of all": raw(c.CANCEL_SM, b"\0\0\x01\x01123\0\x01\x01456\0"),
    "replace_sm": raw(c.REPLACE_SM, b"7\0\x01\x01123\0\x00000002000000000R\0\1\0\2hi"),
    "submit_multi": MULTI,
    "submit_multi_resp": UNSUCCESSFUL,
    "submit_multi_resp with fewer than it says": cut(UNSUCCESSFUL, -4),
    "submit_multi_resp without its count": raw(c.SUBMIT_MULTI_RESP, b"7\0"),
    "submit_multi_resp that ends within an address": cut(UNSUCCESSFUL, -6),
    "submit_multi_resp that ends within a status": cut(UNSUCCESSFUL, -2),
    "submit_multi that ends before its count": cut(MULTI, 16 + 4),
    "query_sm_resp that ends behind its id": raw(c.QUERY_SM_RESP, b"7\0"),
    "a vendor's, and more": raw(0x00010200, b"Abcd", length=16 + 2),
    "a vendor's": raw(0x00010200, b"Abc"),
    "a vendor's response": raw(0x80010200),
    "broadcast_sm": raw(0x00000111, b"Abc"),
    "an unknown command": raw(0x00000010, b"Abc"),
    "an unknown response": raw(0x80000010),
    # headers
    "nothing": b"",
    "15 octets": raw(c.UNBIND)[:15],
    "command_length below the octets": raw(c.SUBMIT_SM_RESP, b"7\0abc", length=18),
    "command_length above the octets": raw(c.SUBMIT_SM_RESP, b"7\0", length=19),
    "command_length of 15": raw(c.UNBIND, length=15),
    "command_length of the most": raw(c.UNBIND, length=c.PDU_OCTETS_MAX),
    "command_length above the most": raw(c.UNBIND, length=c.PDU_OCTETS_MAX + 1),
    "a request with a status": raw(c.UNBIND, status=1),
    "sequence_number 0": raw(c.UNBIND, sequence=0),
    "sequence_number beyond": raw(c.GENERIC_NACK, sequence=0x80000000),
    # fields
    "short_message beyond the PDU": cut(submit(b"hello"), -1),
    "short_message of 254": submit(b"a" * 254),
    "short_message of 255": raw(c.SUBMIT_SM, submit(b"a" * 254)[16:-255] + b"\xff" + b"a" * 255),
    "letters among the numbers of a broken PDU": cut(submit(b"hello", protocol_id=0x41, priority_flag=1), -1),
    "a date with tenths": submit(validity_period=b"261122103000500+"),
    "a PDU that ends in a number": cut(submit(), 16 + 2),
    "a PDU that ends before a number": cut(submit(), 16 + 1),
    "a PDU that ends in an address": cut(submit(), 16 + 8),
    "a PDU that ends in a time": raw(c.SUBMIT_SM, submit()[16:45] + b"2611"),
    "a PDU that ends before sm_length": cut(submit(b""), -1),
    "an address that is too long": raw(c.QUERY_SM, b"7\0\1\1" + b"1" * 21 + b"\0"),
    "an address of 20": raw(c.QUERY_SM, b"7\0\1\1" + b"1" * 20 + b"\0"),
    "reserved values": raw(c.SUBMIT_SM, b"\0\7\x0bA\0\x09\x13\x31\0\x43\x80\5\0\0\xff\x02\x0b\0\0"),
    "a time that is none": raw(c.REPLACE_SM, b"7\0\x01\x01123\0\x000000000000000099\0\1\0\0"),
    "a time that is too short": raw(c.REPLACE_SM, b"7\0\x01\x01123\0\x002611\0\1\0\0"),
    "no destinations": raw(c.SUBMIT_MULTI, b"\0\0\0\0\0" + b"\0" * 10),
    "a destination of no kind": raw(c.SUBMIT_MULTI, b"\0\0\0\0\1\3\x01\x01123\0" + b"\0" * 10),
    "a PDU that ends in a destination": cut(MULTI, 16 + 5 + 3),
    "a PDU that ends before a destination": cut(MULTI, 16 + 5),
    "a PDU that ends in a list's name": cut(MULTI, 16 + 5 + 7 + 3),
    "a list's name of 20": raw(c.SUBMIT_MULTI, b"\0\0\0\0\1\2" + b"n" * 20 + b"\0" + b"\0" * 10),
    "a list's name that is too long": raw(c.SUBMIT_MULTI, b"\0\0\0\0\1\2" + b"n" * 21 + b"\0" + b"\0" * 10),
    # texts
    "GSM 7-bit": submit(b"\0\x1be\x7f"),
    "GSM 7-bit with high octets": submit(b"abc\x80"),
    "UCS-2 of odd length": submit(b"\0a\0", data_coding=8),
    "UCS-2 that looks like UTF-8": deliver("日本語テキスト".encode(), data_coding=8),
    "UCS-2 with its octets exchanged": deliver("日本語テキスト".encode("utf-16-le"), data_coding=8),
    "UTF-8 under the default alphabet": deliver("Grüße, ありがとう".encode()),
    "UCS-2 with its octets exchanged behind a header of tables": deliver(
        b"\3\x24\1\1" + "日本語テキスト".encode("utf-16-le"), data_coding=8, esm_class=0x40
    ),
    "octets": submit(b"\1\xff", data_coding=4),
    "KS C 5601": submit("한".encode("cp949"), data_coding=0x0E),
    "a header and nothing else": submit(udh.concat8(7, 3, 2), esm_class=0x40),
    "a header that does not fit": submit(b"\x05\0\3", esm_class=0x40),
    "a header of tables": submit(b"\6\x24\1\1\x25\1\1g", esm_class=0x40),
    "a header of tables and UCS-2": submit(b"\3\x24\1\1\0g", esm_class=0x40, data_coding=8),
    "a header with an element that overruns": submit(b"\x08\x00\x03\x07\x02\x03\x05\x04hi", esm_class=0x40),
    "a header with others": submit(b"\x0b\x70\1z\x22\2\x91\x21\x02\x02abhi", esm_class=0x40),
    "no text": submit(b""),
    "no text and data_coding of text": submit(b"", data_coding=8),
    # optional parameters
    "parameters": submit(
        b"",
        tlv(c.TAG_USER_MESSAGE_REFERENCE, b"\1\2")
        + tlv(c.TAG_SOURCE_PORT, b"\0\7")
        + tlv(0x1400, b"Abc")
        + tlv(0x13FF, b"Abc")
        + tlv(0x3FFF, b"")
        + tlv(0x4000, b"\xff")
        + tlv(c.TAG_ALERT_ON_MESSAGE_DELIVERY, b"")
        + tlv(c.TAG_LANGUAGE_INDICATOR, b"\3")
        + tlv(c.TAG_CALLBACK_NUM, b"\1\x01\x01123")
        + tlv(c.TAG_USSD_SERVICE_OP, b"\2")
        + tlv(c.TAG_ITS_SESSION_INFO, b"\1\2")
        + tlv(c.TAG_MS_VALIDITY, b"\1"),
    ),
    "sar parameters": submit(b"hi", tlv(0x20C, b"\0\7") + tlv(0x20E, b"\2") + tlv(0x20F, b"\1")),
    "two sar parameters": submit(b"hi", tlv(0x20C, b"\0\7") + tlv(0x20E, b"\2")),
    "a payload beside a text": submit(b"hi", tlv(c.TAG_MESSAGE_PAYLOAD, b"hello")),
    "an empty payload beside a text": submit(b"hi", tlv(c.TAG_MESSAGE_PAYLOAD, b"")),
    "a payload of one octet beside a text": submit(b"hi", tlv(c.TAG_MESSAGE_PAYLOAD, b"h")),
    "a payload alone": submit(b"", tlv(c.TAG_MESSAGE_PAYLOAD, b"hello")),
    "a payload and another parameter": submit(
        b"", tlv(c.TAG_MESSAGE_PAYLOAD, b"hello") + tlv(c.TAG_SOURCE_PORT, b"\0\7")
    ),
    "a payload that overruns": submit(b"", tlv(c.TAG_MESSAGE_PAYLOAD, b"hello", 6)),
    "a parameter that overruns": submit(b"hi", tlv(c.TAG_SOURCE_PORT, b"\0", 2)),
    "two parameters, the second overruns": submit(
        b"hi", tlv(c.TAG_ITS_SESSION_INFO, b"\1\2") + tlv(c.TAG_SOURCE_PORT, b"\0", 2)
    ),
    "a vendor's parameter that overruns": submit(b"hi", tlv(0x1401, b"Ab", 3)),
    "three octets left over": submit(b"hi", b"\2\4\0"),
    "four octets of a parameter": submit(b"hi", b"\2\4\0\0"),
    "a parameter of a wrong size": submit(
        b"hi", tlv(c.TAG_SOURCE_PORT, b"\0\0\7") + tlv(c.TAG_CALLBACK_NUM, b"\1")
    ),
    "a parameter outside its values": submit(
        b"hi", tlv(c.TAG_SAR_TOTAL_SEGMENTS, b"\0") + tlv(c.TAG_PRIVACY_INDICATOR, b"\4")
    ),
    "a parameter at the end of its values": submit(b"hi", tlv(c.TAG_PRIVACY_INDICATOR, b"\3")),
    "too many parameters": submit(b"hi", tlv(0x1400, b"") * (c.TLVS_MAX + 1)),
    "as many parameters as there may be": submit(b"hi", tlv(0x1400, b"") * c.TLVS_MAX),
    "a response with an error and a broken parameter": raw(
        c.SUBMIT_SM_RESP, b"7\0" + tlv(c.TAG_NETWORK_ERROR_CODE, b"\3\0", 3), 8
    ),
    "a bind with a broken parameter": raw(c.BIND_TRANSCEIVER, bind()[16:] + tlv(c.TAG_SOURCE_PORT, b"\0", 2)),
    "a bind with two parameters, the second broken": raw(
        c.BIND_TRANSCEIVER, bind()[16:] + tlv(c.TAG_SOURCE_PORT, b"\0\7") + tlv(0x1400, b"\0", 2)
    ),
    "a bind with a payload and a broken parameter": raw(
        c.BIND_TRANSCEIVER, bind()[16:] + tlv(c.TAG_MESSAGE_PAYLOAD, b"hi") + tlv(0x1400, b"\0", 2)
    ),
    "values at their ends": submit(b"", tlv(c.TAG_NUMBER_OF_MESSAGES, b"\x63")),
    "values beyond their ends": submit(b"", tlv(c.TAG_NUMBER_OF_MESSAGES, b"\x64")),
    "three octets left over before what is no more of the PDU": raw(
        c.SUBMIT_SM_RESP, b"7\0" + b"\2\4\0" + b"more", length=16 + 5
    ),
    # receipts
    "receipt with a count like a date": deliver(
        b"id:7 sub:2611211000 dlvrd:1 submit date:2611211000", esm_class=4
    ),
    "receipt with more behind 1024 octets": data_sm(
        (c.TAG_MESSAGE_PAYLOAD, b"id:7 sub:1 stat:DELIVRD " + b"x" * 1000 + b" dlvrd:1"), esm_class=4
    ),
    "receipt": deliver(RECEIPT, esm_class=4),
    "receipt with parameters": deliver(
        RECEIPT,
        tlv(c.TAG_RECEIPTED_MESSAGE_ID, b"8\0")
        + tlv(c.TAG_NETWORK_ERROR_CODE, b"\3\1\2")
        + tlv(c.TAG_MESSAGE_STATE, b"\1"),
        esm_class=4,
    ),
    "receipt with strange parameters": deliver(
        RECEIPT,
        tlv(c.TAG_RECEIPTED_MESSAGE_ID, b"7")
        + tlv(c.TAG_NETWORK_ERROR_CODE, b"034")
        + tlv(c.TAG_MESSAGE_STATE, b"\x0a"),
        esm_class=4,
    ),
    "receipt with an error that cannot be read": deliver(
        RECEIPT, tlv(c.TAG_NETWORK_ERROR_CODE, b"\3\0"), esm_class=4
    ),
    "receipt of few words": deliver(b"id:7", esm_class=4),
    "receipt of strange words": deliver(
        b"stat:LOST SUBMITDATE:26112110000 dlvrd:0000000000000001 sub:12345678901234567 TEXT :dlvrd:9",
        esm_class=4,
    ),
    "receipt in data_sm": data_sm((c.TAG_MESSAGE_PAYLOAD, RECEIPT), esm_class=4),
    "receipt's text in submit_sm": submit(RECEIPT),
    "payload in UCS-2": HALVES,
    "receipt with a broken parameter": deliver(RECEIPT, tlv(c.TAG_MESSAGE_STATE, b"", 1), esm_class=4),
}


def described(octets: bytes, show_text: bool) -> str:
    found = describe(octets, show_text, lambda status: f"class of {status}")
    number = "none" if found.command_id is None else f"{found.command_id:#010x}"
    lines = [f"{found.name} {number} {found.command_status} {found.sequence_number} {found.octets} octets"]
    lines[0] += f"{', wrong' * (found.wrong is True)}{', refused' * (found.refused is True)}"
    for number, row in enumerate(found.rows):
        if 40 <= number < len(found.rows) - 1:
            continue
        line = f"{row.offset:>5} {row.octets:>3} {row.level} {row.name} | {row.value} | {row.meaning}"
        if row.problem or row.answer or row.refused:
            line += f" | {row.problem} | {row.answer} | {'refused' if row.refused is True else row.refused}"
        lines.append(line)
    return "\n".join(line.rstrip() for line in lines)


def block(name: str) -> str:
    octets = FRAMES[name]
    shown, masked = described(octets, True), described(octets, False)
    lines = [f"== {name}", shown]
    if masked != shown:
        rest = set(shown.split("\n"))
        lines += ["masked:", *(line for line in masked.split("\n") if line not in rest)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", FRAMES)
def test_every_row_is_as_it_was_last_read(name: str) -> None:
    expected = EXPECTED.read_text("utf-8")
    assert f"\n{block(name)}\n" in f"\n{expected}\n"


if __name__ == "__main__":
    print("\n".join(block(name) for name in FRAMES), end="")
