"""The 46 ways in which receipts of the field differ from appendix B, each with its frame and its reading.

`IDS` are those about the id in submit_sm_resp and in the receipt, `VARIANTS` all others that octets show.
What a node does with a receipt (order, repetition, absence) is the engine's: `ENGINE` names the test that
shows it, and the variant has its octets here all the same.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from todoke.codecs import constants as c
from todoke.codecs import fast, pdu, receipt
from todoke.codecs.errors import FramingError
from todoke.codecs.receipt import (
    FINAL_STATES,
    STATES,
    WORDS,
    Receipt,
    canonical_id,
    id_variants,
    parse_deliver,
)

USUAL = (
    b"id:1234567890 sub:001 dlvrd:001 submit date:2611211000 done date:2611211001"
    b" stat:DELIVRD err:000 text:Dear"
)
SOURCE, DESTINATION = b"819012345678", b"0032069000"


def frame(
    text: bytes = USUAL,
    *tlvs: tuple[int, bytes],
    esm_class: int = 4,
    data_coding: int = 0,
    registered_delivery: int = 0,
    source: bytes = SOURCE,
    destination: bytes = DESTINATION,
    sequence_number: int = 9,
) -> bytes:
    """A deliver_sm by hand, so that nothing in it depends on what our encoder would refuse."""
    body = b"\0\1\1%b\0\0\0%b\0%c\0\0\0\0%c\0%c\0%c%b" % (
        source, destination, esm_class, registered_delivery, data_coding, len(text), text,
    )  # fmt: skip
    for tag, value in tlvs:
        body += tag.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value
    words = (16 + len(body), c.DELIVER_SM, 0, sequence_number)
    return b"".join(word.to_bytes(4, "big") for word in words) + body


def changed(old: bytes, new: bytes) -> bytes:
    return frame(USUAL.replace(old, new))


def data_sm(payload: bytes) -> bytes:
    message = pdu.DataSm(
        source_addr=SOURCE,
        destination_addr=DESTINATION,
        esm_class=4,
        tlvs=[(c.TAG_MESSAGE_PAYLOAD, payload)],
    )
    return pdu.encode(message, 9)


def tlv_id(value: bytes) -> tuple[int, bytes]:
    return c.TAG_RECEIPTED_MESSAGE_ID, value


def tlv_state(state: int) -> tuple[int, bytes]:
    return c.TAG_MESSAGE_STATE, bytes((state,))


USUAL_FIELDS: dict[str, Any] = {
    "message_id": "1234567890",
    "stat": "DELIVRD",
    "state": "delivered",
    "err": "000",
    "network_error": None,
    "alt_ids": (),
    "source_addr": "819012345678",
    "destination_addr": "0032069000",
    "done_date": "2611211001",
}
NOTHING: dict[str, Any] = USUAL_FIELDS | {
    "message_id": "",
    "stat": "",
    "state": "unknown",
    "err": "",
    "done_date": "",
}


def short(message_id: str, stat: str = "DELIVRD", err: str = "", **rest: Any) -> dict[str, Any]:
    """The fields of a receipt that says only these."""
    state = WORDS.get(stat, "unknown")
    return NOTHING | {"message_id": message_id, "stat": stat, "state": state, "err": err} | rest


def usual(**changes: Any) -> dict[str, Any]:
    return USUAL_FIELDS | changes


# --- 1 to 6: the id of the answer and the id of the receipt ----------------------------------------

IDS: list[tuple[int, str, str, str]] = [
    (1, "hexadecimal in the response, decimal in the receipt", "5B0D3E2A", "1527594538"),
    (1, "the same with zeros in front", "005b0d3e2a", "1527594538"),
    (2, "beyond 2 to the 63", "812FC7470000001B", "9308878062554710043"),
    (2, "beyond 2 to the 64", "1812FC7470000001B", "27755622136264261659"),
    (3, "decimal in the response, hexadecimal in the receipt", "1527594538", "5b0d3e2a"),
    (4, "a zero in front in the response only", "04062581461565934000241", "4062581461565934000241"),
    (4, "a zero in front in the receipt only", "913121205", "0913121205"),
    (4, "a zero in front in both", "0221067780", "0221067780"),
    (5, "a UUID", "0e999f21-7a01-4a4b-b0c0-0123456789ab", "0e999f21-7a01-4a4b-b0c0-0123456789ab"),
    (5, "groups of letters and digits", "0118Z-0122I-2309U-57DGB", "0118Z-0122I-2309U-57DGB"),
    (5, "letters and digits", "rdwjwxns18krxr9936ey96ymcw", "rdwjwxns18krxr9936ey96ymcw"),
    (6, "letter case differs", "0E999F21-AB", "0e999f21-ab"),
]


@pytest.mark.parametrize(
    ("submitted", "received"), [row[2:] for row in IDS], ids=[f"{row[0]:02} {row[1]}" for row in IDS]
)
def test_the_id_of_the_response_is_found_by_the_receipts(submitted: str, received: str):
    answer = pdu.decode(pdu.encode(pdu.SubmitSmResp(message_id=submitted.encode()), 1))
    read = parse_deliver(frame(b"id:%b stat:DELIVRD" % received.encode()))
    assert isinstance(answer, pdu.SubmitSmResp)
    assert read is not None
    assert read.message_id == received
    forms = [canonical_id(read.message_id), *id_variants(read.message_id)]
    assert canonical_id(answer.message_id.decode()) in forms


def test_no_two_ids_of_the_table_are_one():
    received = {row[3].casefold().lstrip("0") for row in IDS}
    assert len({canonical_id(one) for one in received}) == len(received)


# --- 7 to 46 --------------------------------------------------------------------------------------

TEXT = USUAL.decode()
VARIANTS: list[tuple[int, str, bytes, dict[str, Any] | None]] = [
    (0, "appendix B to the letter", frame(), usual()),
    (7, "no sub, no dlvrd", changed(b" sub:001 dlvrd:001", b""), usual()),
    (7, "no sub", changed(b" sub:001", b""), usual()),
    (7, "id and stat alone", frame(b"id:7f stat:UNDELIV"), short("7f", "UNDELIV")),
    (8, "err of four digits", changed(b"err:000", b"err:0000"), usual(err="0000")),
    (8, "err alphanumeric", changed(b"err:000", b"err:21b"), usual(err="21b")),
    (8, "err nul", changed(b"err:000", b"err:nul"), usual(err="nul")),
    (8, "err of many characters", changed(b"err:000", b"err:0x0426-77"), usual(err="0x0426-77")),
    (8, "err empty", changed(b"err:000", b"err:"), usual(err="")),
    (9, "dates with seconds", changed(b"2611211001", b"261121100159"), usual(done_date="261121100159")),
    (10, "dates of 14 digits", changed(b"26112110", b"2026112110"), usual(done_date="202611211001")),
    (
        11,
        "dates as SMPP time",
        changed(b"2611211001", b"261121100100036+"),
        usual(done_date="261121100100036+"),
    ),
    (12, "dates of zeros", changed(b"2611211001", b"0000000000"), usual(done_date="0000000000")),
    (12, "no dates at all", changed(b"2611211001", b"never"), usual(done_date="never")),
    (
        13,
        "keys without their space",
        frame(USUAL.replace(b"submit date", b"submitdate").replace(b"done date", b"donedate")),
        usual(),
    ),
    (14, "no text", frame(USUAL[:-10]), usual()),
    (14, "text empty", frame(USUAL[:-4]), usual()),
    (14, "Text", changed(b"text:", b"Text:"), usual()),
    (14, "text:none", frame(USUAL[:-4] + b"none"), usual()),
    (15, "the subscriber's words look like fields", frame(USUAL + b" id:99 stat:EXPIRED err:777"), usual()),
    (
        15,
        "the subscriber's words for a field that is missing",
        frame(b"id:5 err:1 text:hi stat:DELIVRD"),
        short("5", "", "1"),
    ),
    (16, "text cut within a character", frame(USUAL + b"H\x1b llo \xe3\x81"), usual()),
    (16, "text with a header's octets", frame(USUAL[:-4] + b"\5\0\3\7\2\1"), usual()),
    (16, "text as hexadecimal digits of UCS-2", frame(USUAL[:-4] + b"65E5672C"), usual()),
    (17, "UCS-2", frame(TEXT.encode("utf-16-be"), data_coding=8), usual()),
    (18, "ASCII under data_coding 8", frame(data_coding=8), usual()),
    (19, "data_coding of the original: class 0", frame(data_coding=0xF0), usual()),
    (19, "data_coding of the original: octets", frame(data_coding=4), usual()),
    (19, "UCS-2 under data_coding 0", frame(TEXT.encode("utf-16-be")), usual()),
    (20, "little-endian UCS-2", frame(TEXT.encode("utf-16-le"), data_coding=8), usual()),
    (
        21,
        "optional parameters only",
        frame(b"", tlv_id(b"abc-1\0"), tlv_state(5), (c.TAG_NETWORK_ERROR_CODE, b"\3\0\x22")),
        NOTHING | {"message_id": "abc-1", "state": "undeliverable", "network_error": (3, 34)},
    ),
    (22, "id as parameter, state in the text", frame(USUAL, tlv_id(b"1234567890\0")), usual()),
    (
        22,
        "id as parameter, no other in the text",
        frame(b"stat:EXPIRED err:1", tlv_id(b"7\0")),
        short("7", "EXPIRED", "1"),
    ),
    (
        23,
        "another base",
        frame(USUAL, tlv_id(b"499602d2\0")),
        usual(message_id="499602d2", alt_ids=("1234567890",)),
    ),
    (
        23,
        "other padding is no other id",
        frame(USUAL, tlv_id(b"001234567890\0")),
        usual(message_id="001234567890"),
    ),
    (23, "the parameter empty", frame(USUAL, tlv_id(b"\0")), usual()),
    (23, "the text's empty", frame(USUAL.replace(b"1234567890", b""), tlv_id(b"7\0")), usual(message_id="7")),
    (24, "text in message_payload", frame(b"", (c.TAG_MESSAGE_PAYLOAD, USUAL)), usual()),
    (
        24,
        "text in message_payload, with the parameters",
        frame(b"", tlv_id(b"1234567890\0"), tlv_state(2), (c.TAG_MESSAGE_PAYLOAD, USUAL)),
        usual(),
    ),
    (24, "a data_sm", data_sm(USUAL), usual()),
    (25, "esm_class 0, a receipt's text", frame(esm_class=0), usual()),
    (
        25,
        "esm_class 0, id and state as parameters",
        frame(b"", tlv_id(b"7\0"), tlv_state(2), esm_class=0),
        NOTHING | {"message_id": "7", "state": "delivered"},
    ),
    (
        25,
        "esm_class 0, a subscriber's words",
        frame(b"my id:5 stat:DELIVRD done date:2611211001", esm_class=0),
        None,
    ),
    (26, "esm_class 0x44 with a header", frame(b"\5\0\3\7\1\1" + USUAL, esm_class=0x44), usual()),
    (26, "esm_class 0x44 without one", frame(esm_class=0x44), usual()),
    (26, "esm_class 0x24", frame(esm_class=0x24), usual()),
    (
        26,
        "esm_class 0x20",
        frame(USUAL.replace(b"DELIVRD", b"ENROUTE"), esm_class=0x20),
        usual(stat="ENROUTE", state="enroute"),
    ),
    (26, "esm_class 0x08", frame(esm_class=8), usual()),
    (26, "esm_class 0x08, a subscriber's words", frame(b"thanks", esm_class=8), None),
    (27, "before its submit_sm_resp: as any other", frame(), usual()),
    (28, "on another bind: as any other", frame(sequence_number=0x1234), usual()),
    (29, "in a burst after a rebind: as any other", frame(sequence_number=1), usual()),
    (30, "again: equal to the first", frame(sequence_number=0x7FFFFFFF), usual()),
    (31, "intermediate: ACCEPTD", changed(b"DELIVRD", b"ACCEPTD"), usual(stat="ACCEPTD", state="accepted")),
    (31, "intermediate: BUFFRED", changed(b"DELIVRD", b"BUFFRED"), usual(stat="BUFFRED", state="enroute")),
    (32, "another final", changed(b"DELIVRD", b"EXPIRED"), usual(stat="EXPIRED", state="expired")),
    (33, "lower case", changed(b"DELIVRD", b"delivrd"), usual()),
    (33, "mixed case, keys too", frame(b"ID:5 Stat:Undeliv Err:0"), short("5", "UNDELIV", "0")),
    (34, "an unknown word is kept", changed(b"DELIVRD", b"Wobbled"), usual(stat="WOBBLED", state="unknown")),
    (35, "FAILED", changed(b"DELIVRD", b"FAILED"), usual(stat="FAILED", state="undeliverable")),
    (35, "a digit", changed(b"DELIVRD", b"0"), usual(stat="0", state="unknown")),
    (
        36,
        "network_error_code as digits",
        frame(USUAL, (c.TAG_NETWORK_ERROR_CODE, b"034")),
        usual(network_error=(0, 34)),
    ),
    (
        36,
        "network_error_code of octets",
        frame(USUAL, (c.TAG_NETWORK_ERROR_CODE, b"\3\1\2")),
        usual(network_error=(3, 258)),
    ),
    (
        36,
        "network_error_code of five digits",
        frame(USUAL, (c.TAG_NETWORK_ERROR_CODE, b"12345\0")),
        usual(network_error=(0, 12345)),
    ),
    (36, "network_error_code of more digits", frame(USUAL, (c.TAG_NETWORK_ERROR_CODE, b"123456")), usual()),
    (36, "network_error_code too short", frame(USUAL, (c.TAG_NETWORK_ERROR_CODE, b"\3\2")), usual()),
    (37, "not requested", frame(registered_delivery=0), usual()),
    (37, "requested", frame(registered_delivery=1), usual()),
    (
        38,
        "the answer to a query says the state instead: UNKNOWN",
        frame(USUAL, tlv_state(7)),
        usual(state="unknown"),
    ),
    (39, "of a part: its own id", changed(b"1234567890", b"a2"), usual(message_id="a2")),
    (40, "a short counter", changed(b"1234567890", b"24"), usual(message_id="24")),
    (41, "the id of another carrier: nothing in it says whose", frame(source=b"1"), usual(source_addr="1")),
    (42, "no id", frame(USUAL[14:]), usual(message_id="")),
    (
        43,
        "addresses not swapped",
        frame(source=DESTINATION, destination=SOURCE),
        usual(source_addr="0032069000", destination_addr="819012345678"),
    ),
    (43, "addresses with +", frame(source=b"+819012345678"), usual(source_addr="+819012345678")),
    (43, "national addresses", frame(source=b"09012345678"), usual(source_addr="09012345678")),
    (44, "delivered again, its answer being lost", frame(sequence_number=10), usual()),
    (45, "CRLF", frame(b"id:5\r\nstat:DELIVRD\r\nerr:001\r\n"), short("5", err="001")),
    (45, "tabs", frame(b"id:5\tstat:DELIVRD\terr:001"), short("5", err="001")),
    (45, "NUL at the end", frame(b"id:5 stat:DELIVRD err:001\0"), short("5", err="001")),
    (
        45,
        "extra fields",
        frame(b"id:5 foo:9 stat:DELIVRD mccmnc:44010 err:001 price:0.1"),
        short("5", err="001"),
    ),
    (45, "another order", frame(b"stat:DELIVRD err:001 id:5 text:"), short("5", err="001")),
    (45, "commas", frame(b"id:5,stat:DELIVRD,err:001"), short("5", err="001")),
    (45, "spaces after the colon", frame(b"id: 5 stat: DELIVRD err: 001"), short("5", err="001")),
    (46, "vendors' parameters", frame(USUAL, (0x1400, b"44010\0"), (0x1401, b"0.1"), (0x3FFF, b"")), usual()),
    (
        46,
        "vendors' parameters around known ones",
        frame(b"", (0x1400, b"\0"), tlv_id(b"9\0"), (0x1400, b"x"), tlv_state(3)),
        NOTHING | {"message_id": "9", "state": "expired"},
    ),
]


@pytest.mark.parametrize(
    ("octets", "expected"), [row[2:] for row in VARIANTS], ids=[f"{row[0]:02} {row[1]}" for row in VARIANTS]
)
def test_variants(octets: bytes, expected: dict[str, Any] | None):
    wanted = None if expected is None else Receipt(**expected)
    assert parse_deliver(octets) == wanted
    assert receipt._patiently(octets, False) == wanted
    assert fast.receipt_of(octets) in (None, wanted)


@pytest.mark.parametrize(
    "text",
    [USUAL, USUAL.replace(b" sub:", b"  sub:"), USUAL.replace(b" sub:", b" id:7 sub:")],
    ids=["usual", "unusual", "an id twice"],
)
@pytest.mark.parametrize(
    ("esm_class", "strictly"),
    [(0, False), (4, True), (8, True), (0x20, True), (0x10, False), (0x18, False), (0x40, False)],
)
def test_a_carrier_whose_esm_class_can_be_trusted(text: bytes, esm_class: int, strictly: bool):
    octets = frame(text, esm_class=esm_class)
    assert parse_deliver(octets) == Receipt(**USUAL_FIELDS)
    expected = Receipt(**USUAL_FIELDS) if strictly else None
    assert parse_deliver(octets, by_esm_class_only=True) == expected


@pytest.mark.parametrize(
    "octets",
    [
        frame(),
        frame(USUAL, tlv_id(b"1234567890\0"), tlv_state(2)),
        frame(esm_class=0),
        changed(b" sub:001 dlvrd:001", b""),
        changed(b"DELIVRD", b"wobbled"),
        changed(b"text:", b"Text:"),
        frame(USUAL[:-10]),
        frame(USUAL + b"\0\xff id:9"),
    ],
)
def test_the_usual_is_read_the_short_way(octets: bytes):
    usual_one = receipt._usual_receipt(octets)
    assert usual_one is not None
    assert usual_one[0] == receipt._patiently(octets, False)


def test_what_is_not_one_pdu_is_no_receipt():
    octets = frame(USUAL, tlv_state(2))
    for broken in (octets[:-5], b"\0\0\0\xff" + octets[4:], octets + b"\0"):
        with pytest.raises(FramingError):
            parse_deliver(broken)


# What the codec cannot show: 27 to 32, 37 to 42 and 44 are about more than one PDU.
ENGINE: dict[int, str] = {
    1: "test_an_id_is_known_in_any_of_its_forms_before_or_after_the_answer",
    23: "test_the_tlv_s_id_and_the_text_s_differ_and_only_one_is_known",
    27: "test_receipt_and_answer_in_the_same_breath_find_each_other",
    28: "test_a_receipt_on_another_bind_is_as_good",
    29: "test_the_store_away_leaves_receipts_with_the_smsc",
    30: "test_redelivered_receipts_are_answered_and_told_once",
    31: "test_an_intermediate_one_tells_nothing_and_does_not_undo_a_final_one",
    32: "test_delivered_after_another_final_is_a_correction_and_only_that",
    37: "test_an_unknown_id_is_missed",
    38: "test_no_receipt_in_time_is_unknown_and_can_be_corrected",
    39: "test_one_receipt_may_stand_for_all_parts",
    40: "test_of_two_messages_with_one_id_the_destination_decides",
    41: "test_one_id_at_two_carriers_is_two_messages",
    42: "test_receipts_without_an_id_are_kept_as_orphans_and_match_nothing",
    43: "test_addresses_that_were_not_swapped_fit_as_well",
    44: "test_redelivered_receipts_are_answered_and_told_once",
}


def test_every_variant_is_here_and_the_engines_tests_exist():
    assert {row[0] for row in (*IDS, *VARIANTS)} == set(range(47))
    folder = Path(__file__).parent.parent / "engine" / "receipts"
    written = "".join(path.read_text("utf-8") for path in folder.glob("test_*.py"))
    missing = [name for name in ENGINE.values() if not re.search(rf"^def {name}\(", written, re.MULTILINE)]
    assert missing == []


# --- states ---------------------------------------------------------------------------------------

WORDS_OF_THE_FIELD: dict[str, str] = {
    "DELIVRD": "delivered", "EXPIRED": "expired", "DELETED": "deleted", "UNDELIV": "undeliverable",
    "ACCEPTD": "accepted", "UNKNOWN": "unknown", "REJECTD": "rejected", "ENROUTE": "enroute",
    "ACKED": "accepted", "BUFFRED": "enroute", "BUFFERD": "enroute", "FAILED": "undeliverable",
    "SKIPPED": "skipped", "NOROUTES": "undeliverable", "0": "unknown", "": "unknown",
    "DELIVERED": "delivered", "UNDELIVERABLE": "undeliverable", "UNDELIVERED": "undeliverable",
    "ACCEPTED": "accepted", "REJECTED": "rejected", "SCHEDULED": "enroute", "BUFFERED": "enroute",
}  # fmt: skip


@pytest.mark.parametrize(("word", "state"), WORDS_OF_THE_FIELD.items())
def test_words(word: str, state: str):
    for spelt in (word, word.lower()):
        read = parse_deliver(frame(USUAL.replace(b"DELIVRD", spelt.encode())))
        assert read is not None
        assert (read.stat, read.state) == (word, state)
    assert WORDS.keys() <= WORDS_OF_THE_FIELD.keys()


@pytest.mark.parametrize(
    ("number", "state", "final"),
    [
        (0, "enroute", False),
        (1, "enroute", False),
        (2, "delivered", True),
        (3, "expired", True),
        (4, "deleted", True),
        (5, "undeliverable", True),
        (6, "accepted", False),
        (7, "unknown", False),
        (8, "rejected", True),
        (9, "skipped", True),
    ],
)
def test_message_states(number: int, state: str, final: bool):
    read = parse_deliver(frame(b"", tlv_id(b"7\0"), tlv_state(number)))
    assert read is not None
    assert (read.state, read.state in FINAL_STATES) == (state, final)
    assert set(STATES) == set(range(10))


def test_a_reserved_message_state_leaves_the_word():
    for value in (b"\x0a", b"\xff", b"", b"\1\2"):
        read = parse_deliver(frame(USUAL, (c.TAG_MESSAGE_STATE, value)))
        assert read == Receipt(**USUAL_FIELDS)
