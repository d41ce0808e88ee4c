"""Receipts: every variant of the field has a vector, named by its number in the list of variants.

Variants that concern what the engine does with a receipt have a test of the codec's share: ids and states.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from todoke.codecs import constants as c
from todoke.codecs import fast, pdu, receipt, udh
from todoke.codecs.errors import CodecError, FramingError, PduError
from todoke.codecs.receipt import (
    FINAL_STATES,
    STATES,
    WORDS,
    Receipt,
    _patiently,
    _usual_receipt,
    canonical_id,
    id_variants,
    parse_deliver,
)

USUAL = (
    b"id:1234567890 sub:001 dlvrd:001 submit date:2611211000 done date:2611211001"
    b" stat:DELIVRD err:000 text:Dear"
)


def deliver(text: bytes | str = USUAL, *tlvs: tuple[int, bytes], **fields: Any) -> bytes:
    short_message = text.encode("latin-1") if isinstance(text, str) else text
    values: dict[str, Any] = {
        "source_addr": b"819012345678",
        "source_addr_ton": 1,
        "source_addr_npi": 1,
        "destination_addr": b"0032069000",
        "esm_class": 4,
        "short_message": short_message,
        "tlvs": list(tlvs),
    }
    return pdu.encode(pdu.DeliverSm(**values | fields), 9)


def parsed(*arguments: Any, **fields: Any) -> Receipt:
    receipt = parse_deliver(deliver(*arguments, **fields))
    assert receipt is not None
    return receipt


def with_tlvs(frame: bytes, tlvs: bytes) -> bytes:
    """With octets behind it that our encoder would refuse."""
    return (len(frame) + len(tlvs)).to_bytes(4, "big") + frame[4:] + tlvs


def brief(receipt: Receipt) -> tuple[str, str, str]:
    return receipt.message_id, receipt.state, receipt.err


def test_the_usual_receipt_is_read_whole():
    assert parsed() == Receipt(
        message_id="1234567890",
        stat="DELIVRD",
        state="delivered",
        err="000",
        network_error=None,
        alt_ids=(),
        source_addr="819012345678",
        destination_addr="0032069000",
        done_date="2611211001",
    )


# --- ids (variants 1 to 6, 23, 40 to 42) ----------------------------------------------------------

SAME_ID = {
    "01 hexadecimal in the response, decimal in the receipt": ("5B0D3E2A", "1527594538"),
    "02 beyond 2 to the 63": ("812FC7470000001B", "9308878062554710043"),
    "03 decimal in the response, hexadecimal in the receipt": ("1527594538", "5b0d3e2a"),
    "04 leading zeros in the response": ("04062581461565934000241", "4062581461565934000241"),
    "04 leading zeros in the receipt": ("913121205", "0913121205"),
    "06 letter case": ("0E999F21-ab", "e999f21-AB"),
}


@pytest.mark.parametrize(("submitted", "received"), SAME_ID.values(), ids=SAME_ID)
def test_ids_meet_by_canonical_form_or_variant(submitted: str, received: str):
    forms = {canonical_id(received), *id_variants(received)}
    assert canonical_id(submitted) in forms


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        ("0e999f21-7a01-4a4b-b0c0-0123456789ab", "e999f21-7a01-4a4b-b0c0-0123456789ab"),
        ("0118Z-0122I-2309U-57DGB", "118z-0122i-2309u-57dgb"),
        ("rdwjwxns18krxr9936ey96ymcw", "rdwjwxns18krxr9936ey96ymcw"),
        ("000", "0"),
        ("", "0"),
        (" 12\r\n\0", "12"),
        ("0221067780", "221067780"),
        ("XYX", "xyx"),
    ],
)
def test_05_other_ids_keep_all_that_tells_them_apart(raw: str, canonical: str):
    assert canonical_id(raw) == canonical


def test_02_two_large_ids_stay_apart():
    large = ["9308878062554710043", "9308878062554710044"]
    assert len({canonical_id(raw) for raw in large}) == 2
    assert id_variants(large[0]) == ["812fc7470000001b", str(int(large[0], 16))]


def test_05_no_variants_of_what_is_no_number():
    assert id_variants("rdwjwxns18krxr9936ey96ymcw") == []
    assert id_variants("0118Z-0122I") == []
    assert id_variants("9" * 66) == []
    assert id_variants("9" * 65) == [f"{int('9' * 65):x}", str(int("9" * 65, 16))]
    assert id_variants("²") == []


def test_variants_leave_out_the_canonical_form():
    assert id_variants("0007") == []
    assert id_variants("10") == ["a", "16"]
    assert id_variants("FF") == ["255"]


def test_23_id_in_tlv_and_text_differ():
    receipt = parsed(USUAL, (c.TAG_RECEIPTED_MESSAGE_ID, b"499602d2\0"))
    assert (receipt.message_id, receipt.alt_ids) == ("499602d2", ("1234567890",))
    assert parsed(USUAL, (c.TAG_RECEIPTED_MESSAGE_ID, b"0001234567890\0")).alt_ids == ()
    assert parsed(USUAL, (c.TAG_RECEIPTED_MESSAGE_ID, b"\0")).message_id == "1234567890"


def test_40_a_short_counter_as_id():
    assert parsed("id:24 stat:DELIVRD").message_id == "24"
    assert canonical_id("024") == canonical_id("24")


def test_41_the_id_says_nothing_of_the_carrier():
    assert parsed(source_addr=b"1").message_id == parsed(source_addr=b"2").message_id


def test_42_a_receipt_without_id_is_one_still_with_what_can_match_it():
    receipt = parsed("sub:001 dlvrd:001 submit date:2611211000 done date:2611211001 stat:DELIVRD err:000")
    assert receipt.message_id == ""
    assert (receipt.state, receipt.source_addr, receipt.done_date) == (
        "delivered",
        "819012345678",
        "2611211001",
    )


# --- the text (variants 7 to 16, 33 to 35, 45) ----------------------------------------------------

TEXTS = {
    "07 no sub, no dlvrd": (
        "id:1526758174 submit date:1805192229 done date:1805192230 stat:DELIVRD err:000 text:hellow",
        ("1526758174", "delivered", "000"),
    ),
    "07 id and stat alone": ("id:7f stat:UNDELIV", ("7f", "undeliverable", "")),
    "08 err of four digits": (USUAL.replace(b"err:000", b"err:0000"), ("1234567890", "delivered", "0000")),
    "08 err alphanumeric": (USUAL.replace(b"err:000", b"err:21b"), ("1234567890", "delivered", "21b")),
    "08 err nul": (USUAL.replace(b"err:000", b"err:nul"), ("1234567890", "delivered", "nul")),
    "08 err long": (
        USUAL.replace(b"err:000", b"err:0x00000426-77"),
        ("1234567890", "delivered", "0x00000426-77"),
    ),
    "08 err empty": (USUAL.replace(b"err:000", b"err:"), ("1234567890", "delivered", "")),
    "15 the subscriber's words": (
        USUAL.replace(b"DELIVRD", b"EXPIRED") + b" id:99 stat:DELIVRD err:777",
        ("1234567890", "expired", "000"),
    ),
    "15 text: at once": (b"id:5 stat:REJECTD text:id:6 stat:DELIVRD", ("5", "rejected", "")),
    "15 words for a field that is missing": (b"id:5 err:1 text:hi stat:DELIVRD id:6", ("5", "unknown", "1")),
    "16 text cut in a character": (USUAL + b"H\x1b llo \xe3\x81", ("1234567890", "delivered", "000")),
    "16 text with a header's octets": (
        USUAL[:-4] + b"\x05\x00\x03\x07\x02\x01",
        ("1234567890", "delivered", "000"),
    ),
    "33 lower case": (b"id:5 stat:delivrd err:0", ("5", "delivered", "0")),
    "33 mixed case": (b"ID:5 Stat:Undeliv Err:0", ("5", "undeliverable", "0")),
    "34 unknown word": (b"id:5 stat:WOBBLED err:0", ("5", "unknown", "0")),
    "35 FAILED": (b"id:5 stat:FAILED", ("5", "undeliverable", "")),
    "35 a digit": (b"id:5 stat:0", ("5", "unknown", "")),
    "35 NOROUTES": (b"id:5 stat:NOROUTES", ("5", "undeliverable", "")),
    "45 CRLF": (b"id:5\r\nstat:DELIVRD\r\nerr:001\r\n", ("5", "delivered", "001")),
    "45 tabs": (b"id:5\tstat:DELIVRD\terr:001", ("5", "delivered", "001")),
    "45 NUL at the end": (b"id:5 stat:DELIVRD err:001\0", ("5", "delivered", "001")),
    "45 extra fields": (b"id:5 foo:9 stat:DELIVRD mccmnc:44010 err:001 price:0.1", ("5", "delivered", "001")),
    "45 other order": (b"stat:DELIVRD err:001 id:5 text:", ("5", "delivered", "001")),
    "45 commas": (b"id:5,stat:DELIVRD,err:001", ("5", "delivered", "001")),
    "45 spaces after the colon": (b"id: 5 stat: DELIVRD err: 001", ("5", "delivered", "001")),
    "45 an empty field takes nothing from the next": (b"id:5 stat: err:001", ("5", "unknown", "001")),
    "45 a repeated field": (b"id:5 stat:EXPIRED stat:DELIVRD", ("5", "expired", "")),
    "45 a repeated field between others": (
        b"id:5 stat:EXPIRED stat:DELIVRD id:6 err:1",
        ("5", "expired", "1"),
    ),
}


@pytest.mark.parametrize(("text", "expected"), TEXTS.values(), ids=TEXTS)
def test_texts(text: bytes | str, expected: tuple[str, str, str]):
    assert brief(parsed(text)) == expected


DATES = {
    "09 twelve digits": "261121100123",
    "10 fourteen digits": "20261121100123",
    "11 SMPP time": "180711070003912+",
    "12 zeros": "0000000000",
    "12 twelve zeros": "000000000000",
    "12 no date at all": "never",
}


@pytest.mark.parametrize("date", DATES.values(), ids=DATES)
def test_dates_of_any_shape_do_not_matter(date: str):
    receipt = parsed(f"id:5 submit date:{date} done date:{date} stat:DELIVRD err:000 text:x")
    assert (receipt.state, receipt.done_date) == ("delivered", date)


@pytest.mark.parametrize("key", ["donedate", "done date", "Done Date", "done\tdate"])
def test_13_keys_without_their_space(key: str):
    text = f"id:5 submitdate:261121100123 {key}:261121100124 stat:DELIVRD"
    assert parsed(text).done_date == "261121100124"


@pytest.mark.parametrize("text", ["", " text:", " Text:", " text:none", " TEXT:stat:EXPIRED"])
def test_14_text_missing_empty_or_spelt_otherwise(text: str):
    assert brief(parsed("id:5 stat:DELIVRD err:000" + text)) == ("5", "delivered", "000")


def test_34_the_raw_word_is_kept():
    assert parsed("id:5 stat:Wobbled").stat == "WOBBLED"


# --- the encoding (variants 17 to 20, 24) ---------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "data_coding"),
    [
        pytest.param("utf-16-be", 8, id="17 UCS-2"),
        pytest.param("utf-16-be", 0, id="17 UCS-2 that does not say so"),
        pytest.param("latin-1", 8, id="18 ASCII under data_coding 8"),
        pytest.param("latin-1", 0xF0, id="19 data_coding of the original, class 0"),
        pytest.param("latin-1", 4, id="19 data_coding of the original, octets"),
        pytest.param("utf-16-le", 8, id="20 little-endian"),
    ],
)
def test_encodings(encoding: str, data_coding: int):
    text = USUAL.decode().encode(encoding)
    assert brief(parsed(text, data_coding=data_coding)) == ("1234567890", "delivered", "000")


def test_24_text_in_message_payload():
    receipt = parsed(b"", (c.TAG_MESSAGE_PAYLOAD, USUAL))
    assert brief(receipt) == ("1234567890", "delivered", "000")


def test_only_the_beginning_of_a_payload_is_looked_at():
    assert parsed(b"", (c.TAG_MESSAGE_PAYLOAD, b" " * 60_000 + USUAL)).message_id == ""
    fields = b"id:5 err:123"
    for more, err in ((0, "123"), (1, "12")):
        payload = b" " * (1_024 - len(fields) + more) + fields + b"4" * (1 - more)
        assert parsed(b"", (c.TAG_MESSAGE_PAYLOAD, payload)).err == err


@pytest.mark.parametrize("characters", [64, 65])
def test_a_value_is_cut_to_64_characters(characters: int):
    text = f"stat:EXPIRED err:{'e' * characters} id:{'7' * characters}"
    assert brief(parsed(text)) == ("7" * 64, "expired", "e" * 64)
    tlvs = b"\0\x1e\0" + bytes((characters,)) + b"8" * characters
    receipt = parse_deliver(with_tlvs(deliver(b""), tlvs))
    assert receipt is not None
    assert receipt.message_id == "8" * 64


# --- optional parameters (variants 21, 22, 36, 46) ------------------------------------------------


def test_21_only_tlvs():
    receipt = parsed(
        b"",
        (c.TAG_RECEIPTED_MESSAGE_ID, b"abc-1\0"),
        (c.TAG_MESSAGE_STATE, b"\5"),
        (c.TAG_NETWORK_ERROR_CODE, b"\3\0\x22"),
    )
    assert (receipt.message_id, receipt.state, receipt.network_error) == ("abc-1", "undeliverable", (3, 34))


def test_22_id_as_tlv_state_in_the_text():
    receipt = parsed(b"stat:EXPIRED err:1", (c.TAG_RECEIPTED_MESSAGE_ID, b"abc\0"))
    assert brief(receipt) == ("abc", "expired", "1")


def test_the_tlv_state_counts_more_than_the_word():
    receipt = parsed(USUAL, (c.TAG_MESSAGE_STATE, b"\3"))
    assert (receipt.state, receipt.stat) == ("expired", "DELIVRD")


def test_a_reserved_message_state_counts_nothing():
    assert parsed(USUAL, (c.TAG_MESSAGE_STATE, b"\x63")).state == "delivered"


def test_id_tlv_without_its_nul():
    assert parsed(b"", (c.TAG_RECEIPTED_MESSAGE_ID, b"abc")).message_id == "abc"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"\3\1\2", (3, 258)),
        (b"034", (0, 34)),
        (b"12\0", (0, 12)),
        (b"12X", (0x31, 0x3258)),
        (b"\3\2", None),
    ],
    ids=["octets", "36 digits", "digits and a NUL", "octets that look like digits", "too short"],
)
def test_network_error_code(value: bytes, expected: tuple[int, int] | None):
    receipt = parse_deliver(with_tlvs(deliver(), b"\x04\x23" + len(value).to_bytes(2, "big") + value))
    assert receipt is not None
    assert receipt.network_error == expected


def test_46_vendor_tlvs():
    tlvs = ((0x1400, b"44010\0"), (0x1401, b"0.1"), (c.TAG_RECEIPTED_MESSAGE_ID, b"9\0"), (0x3FFF, b""))
    receipt = parsed(b"stat:DELIVRD", *tlvs)
    assert (receipt.message_id, receipt.state) == ("9", "delivered")


def test_a_repeated_tlv_counts_once_the_first():
    receipt = parsed(b"", (c.TAG_RECEIPTED_MESSAGE_ID, b"1\0"), (c.TAG_RECEIPTED_MESSAGE_ID, b"2\0"))
    assert receipt.message_id == "1"


# --- receipt or message from a subscriber (variants 25, 26, 37, 43) -------------------------------


def test_25_esm_class_0_and_the_text_of_a_receipt():
    assert brief(parsed(USUAL, esm_class=0)) == ("1234567890", "delivered", "000")
    assert parse_deliver(deliver(USUAL, esm_class=0), by_esm_class_only=True) is None
    for encoding in ("utf-16-be", "utf-16-le"):
        text = USUAL.decode().encode(encoding)
        assert brief(parsed(text, esm_class=0)) == ("1234567890", "delivered", "000")


def test_25_esm_class_0_and_the_id_as_tlv():
    assert parsed(b"", (c.TAG_RECEIPTED_MESSAGE_ID, b"7\0"), esm_class=0).message_id == "7"


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "",
        "id:5 stat:DELIVRD",
        "my id: 5",
        "stat:DELIVRD done date:1",
        "see id:5 stat:DELIVRD done date:2611211001",
        "id: stat:DELIVRD done date:2611211001",
        "id:5 stat: done date:2611211001",
        "id:5 submit date:2611211000 done date:2611211001 err:000",
    ],
)
def test_a_subscribers_words_are_no_receipt(text: str):
    assert parse_deliver(deliver(text, esm_class=0)) is None


@pytest.mark.parametrize("date", ["submit date", "submitdate", "done date", "donedate"])
def test_an_id_a_state_and_one_date_of_either_name_are_a_receipt(date: str):
    assert brief(parsed(f"id:5 {date}:2611211001 stat:DELIVRD", esm_class=0)) == ("5", "delivered", "")


@pytest.mark.parametrize("esm_class", [0x04, 0x24, 0x20, 0x08, 0x07, 0xC4 & ~0x40])
def test_26_esm_class_of_receipts(esm_class: int):
    assert parsed("id:5 stat:DELIVRD", esm_class=esm_class).message_id == "5"


def test_26_receipt_with_a_user_data_header():
    header = udh.concat8(7, 1, 1)
    assert brief(parsed(header + USUAL, esm_class=0x44)) == ("1234567890", "delivered", "000")
    assert brief(parsed(USUAL, esm_class=0x44)) == ("1234567890", "delivered", "000")
    text = header + USUAL.decode().encode("utf-16-be")
    assert brief(parsed(text, esm_class=0x44, data_coding=8)) == ("1234567890", "delivered", "000")


def test_26_a_header_that_is_not_there_does_not_lead_to_the_subscribers_words():
    words = b" id:6 stat:EXPIRED err:7 done date:1"
    for fields in (b"id:5 stat:DELIVRD text:", b"id:5 stat:DELIVRD stat:DELIVRD text:"):
        text = fields.ljust(1 + ord("i"), b".") + words
        assert brief(parsed(text, esm_class=0x44)) == ("5", "delivered", "")


def test_26_a_header_that_esm_class_does_not_announce_is_text():
    assert parsed(udh.concat8(7, 1, 1) + b"id:7 stat:EXPIRED").message_id == ""


def test_without_an_id_the_reading_with_the_most_fields_counts():
    header = udh.concat8(7, 1, 1)
    # With the header in front, `stat` does not begin a word.
    assert brief(parsed(header + b"stat:EXPIRED err:21", esm_class=0x44)) == ("", "expired", "21")
    # Of two that show as many the first, the octets as they are.
    both = b"stat:EXPIRED" + " stat:DELIVRD".encode("utf-16-be")
    assert brief(parsed(both)) == ("", "expired", "")


def test_22_id_and_state_as_tlvs_the_rest_in_the_text():
    receipt = parsed(
        b"done date:2611211001 err:21", (c.TAG_RECEIPTED_MESSAGE_ID, b"7\0"), (c.TAG_MESSAGE_STATE, b"\3")
    )
    assert (*brief(receipt), receipt.done_date) == ("7", "expired", "21", "2611211001")


def test_26_a_subscribers_acknowledgement_in_free_words_is_no_receipt():
    assert parse_deliver(deliver("thanks", esm_class=0x08)) is None


def test_37_a_receipt_is_read_whether_or_not_one_was_asked():
    assert parsed(registered_delivery=0) == parsed(registered_delivery=1)


@pytest.mark.parametrize("address", [b"0032069000", b"+819012345678", b"09012345678", b""])
def test_43_addresses_are_as_on_the_pdu(address: bytes):
    receipt = parsed(source_addr=address, destination_addr=b"x")
    assert (receipt.source_addr, receipt.destination_addr) == (address.decode(), "x")
    assert brief(receipt) == ("1234567890", "delivered", "000")


def test_a_receipt_in_data_sm():
    body = pdu.DataSm(source_addr=b"1", esm_class=4, tlvs=[(c.TAG_MESSAGE_PAYLOAD, USUAL)])
    receipt = parse_deliver(pdu.encode(body, 3))
    assert receipt is not None
    assert brief(receipt) == ("1234567890", "delivered", "000")


def test_other_pdus_are_no_receipts():
    assert parse_deliver(pdu.encode(pdu.SubmitSm(esm_class=4, short_message=USUAL), 1)) is None


# --- what the engine does with them: the codec's share (variants 27 to 32, 38, 39, 44) ------------


def test_27_29_a_receipt_alone_names_the_id_that_a_later_response_will_bring():
    response = pdu.decode(pdu.encode(pdu.SubmitSmResp(message_id=b"01234567890"), 1))
    assert isinstance(response, pdu.SubmitSmResp)
    assert canonical_id(response.message_id.decode()) == canonical_id(parsed().message_id)


def test_28_30_44_the_same_receipt_from_another_bind_is_equal():
    again = deliver()[:12] + b"\0\0\x12\x34" + deliver()[16:]
    assert parse_deliver(again) == parsed()


def test_31_intermediate_states_are_not_final():
    words = {"ENROUTE", "ACCEPTD", "BUFFRED", "BUFFERD", "ACKED", "UNKNOWN"}
    assert all(parsed(f"id:5 stat:{word}", esm_class=0x20).state not in FINAL_STATES for word in words)


def test_32_finals_are_final_and_told_apart():
    words = ["DELIVRD", "EXPIRED", "DELETED", "UNDELIV", "REJECTD", "SKIPPED"]
    states = [parsed(f"id:5 stat:{word}").state for word in words]
    assert set(states) == FINAL_STATES


def test_38_the_states_of_query_sm_are_those_of_receipts():
    assert {STATES[state] for state in range(10)} == set(WORDS.values())


def test_39_each_part_has_its_own_id():
    assert [parsed(f"id:{number} stat:DELIVRD").message_id for number in ("a1", "a2")] == ["a1", "a2"]


# --- bad octets -----------------------------------------------------------------------------------


def test_a_wrong_sm_length_does_not_hide_the_receipt():
    frame = deliver()
    at = frame.index(b"id:") - 1
    for sm_length in (0, 5, len(USUAL) - 1, len(USUAL) + 1, 255):
        broken = frame[:at] + bytes((sm_length,)) + frame[at + 1 :]
        receipt = parse_deliver(broken)
        assert receipt is not None
        assert brief(receipt) == ("1234567890", "delivered", "000")
        assert fast.receipt_of(broken) in (None, receipt)


def test_broken_tlvs_do_not_hide_the_receipt():
    receipt = parse_deliver(with_tlvs(deliver(), b"\x04\x27\x00"))
    assert receipt is not None
    assert receipt.state == "delivered"


def test_broken_mandatory_fields_are_a_typed_error():
    frame = deliver(source_addr=b"1" * 20)
    longer = frame.replace(b"1" * 20, b"1" * 30)
    with pytest.raises(PduError) as caught:
        parse_deliver(len(longer).to_bytes(4, "big") + longer[4:])
    assert (caught.value.field, caught.value.command_status) == ("source_addr", c.ESME_RINVSRCADR)
    with pytest.raises(FramingError):
        parse_deliver(frame[:-1])


def test_no_address_in_the_repr():
    assert "8190" not in repr(parsed())
    assert "0032069000" not in repr(parsed())


@given(
    st.binary(max_size=300),
    st.sampled_from([0, 4, 0x44, 8]),
    st.lists(
        st.tuples(st.sampled_from([0x1E, 0x423, 0x427, 0x424, 0x1400]), st.binary(max_size=40)), max_size=5
    ),
)
def test_any_text_and_tlvs_give_a_receipt_a_message_or_a_typed_error(text: bytes, esm_class: int, tlvs: Any):
    octets = b"".join(tag.to_bytes(2, "big") + len(v).to_bytes(2, "big") + v for tag, v in tlvs)
    body = b"\0\1\1819012345678\0\1\1100\0" + bytes((esm_class, 0, 0, 0, 0, 0, 0, 0, 0, len(text) & 255))
    body += text + octets
    frame = (16 + len(body)).to_bytes(4, "big") + b"\0\0\0\5\0\0\0\0\0\0\0\1" + body
    try:
        receipt = parse_deliver(frame)
    except CodecError:
        return
    if receipt is not None:
        assert receipt.state in set(STATES.values())
        assert canonical_id(receipt.message_id)
        id_variants(receipt.message_id)


@given(st.text(max_size=80))
def test_any_id_has_a_stable_canonical_form(raw: str):
    once = canonical_id(raw)
    assert canonical_id(once) == once
    assert once not in id_variants(raw)


@given(st.integers(0, 2**200))
def test_both_bases_meet(number: int):
    assert canonical_id(f"{number:X}") in {canonical_id(str(number)), *id_variants(str(number))}
    assert canonical_id(str(number)) in {canonical_id(f"{number:x}"), *id_variants(f"{number:x}")}


# --- the short ways ----------------------------------------------------------------------------------------

_keys = st.sampled_from(
    [
        *("id", "sub", "dlvrd", "submit date", "done date", "stat", "err", "text"),
        *("ID", "Submit Date", "donedate", "DONE\tDATE", "Stat", "Text", "idx", "xid", "date", "état"),
    ]
)
_gaps = st.sampled_from([" ", " ", " ", ", ", ";", "|", "\n", "  ", "\0", "", "\x85", "\xa0"])
_values = st.sampled_from(
    ["", "7", "0A9", "DELIVRD", "failed", "2611211001", "000", "id", "stat:", "é", "x" * 65]
)
_colons = st.sampled_from([":", ":", ":", " :", "\t:", ": ", "=", " : "])
_texts = st.lists(st.tuples(_gaps, _keys, _colons, _values), max_size=9).map(
    lambda fields: "".join(part for field in fields for part in field)
)


@settings(max_examples=400)
@given(_texts, st.sampled_from([4, 4, 0x20, 0x44, 0, 0x08]))
def test_fields_in_any_order_and_spelling_are_read_as_the_patient_way_does(text: str, esm_class: int):
    frame = deliver(text.encode("latin-1")[:254], esm_class=esm_class)
    short = _usual_receipt(frame)
    if short is not None:
        assert short == (_patiently(frame, False), esm_class)


@pytest.mark.parametrize(
    "text",
    [
        b"id:7 stat:DELIVRD err:000 sub:001 dlvrd:001 submit date:2611211000 done date:2611211001 text:x",
        b"ID: 7, STAT: DELIVRD, ERR: 000, DONE DATE: 2611211001",
        b"\0 status of id :7; done date:2611211001|stat:DELIVRD; err:000 Text :id:8",
        b"donedate:2611211001 err:000 submitdate:1 id:7 stat:delivrd",
    ],
)
def test_an_unusual_text_is_read_the_short_way(text: bytes):
    found = _usual_receipt(deliver(text))
    assert found is not None
    assert found[0] == Receipt(
        "7", "DELIVRD", "delivered", "000", None, (), "819012345678", "0032069000", "2611211001"
    )
    # Nothing but esm_class says that these are receipts.
    assert _usual_receipt(deliver(text, esm_class=0)) is None


@pytest.mark.parametrize("key", ["text", "Text", "TEXT", "tExt"])
def test_nothing_is_read_behind_the_text_however_it_is_spelt(key: str):
    # Without esm_class the long way reads it.
    for esm_class in (0, 4):
        found = parsed(f"id: 7 done date: 1 stat: DELIVRD {key}: err:9 sub:2", esm_class=esm_class)
        assert (found.message_id, found.err) == ("7", "")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("service_type", b"CMTXX"),
        ("service_type", b""),
        ("source_addr", b"8" * 20),
        ("source_addr", b""),
        ("destination_addr", b"8" * 20),
        ("destination_addr", b""),
        ("schedule_delivery_time", b"261121100100036+"),
        ("validity_period", b"261121100100036+"),
    ],
)
def test_the_short_way_keeps_the_limits_of_the_fields_before_the_text(field: str, value: bytes):
    frame = deliver(**{field: value})
    assert _usual_receipt(frame) == (_patiently(frame, False), 4)
    if value:
        longer = frame.replace(value, value + value[:1])
        with pytest.raises(PduError) as caught:
            parse_deliver(len(longer).to_bytes(4, "big") + longer[4:])
        assert caught.value.field == field


ID, NETWORK, STATE = (
    (c.TAG_RECEIPTED_MESSAGE_ID, b"1234567890\0"),
    (c.TAG_NETWORK_ERROR_CODE, b"\3\1\2"),
    (c.TAG_MESSAGE_STATE, b"\3"),
)


@pytest.mark.parametrize(
    ("tlvs", "network_error", "state"),
    [
        ([ID], None, "unknown"),
        ([ID, STATE], None, "expired"),
        ([NETWORK, ID], (3, 258), "unknown"),
        ([ID, NETWORK, STATE], (3, 258), "expired"),
        ([STATE, NETWORK, ID], (3, 258), "expired"),
        ([(c.TAG_MESSAGE_STATE, b"\x63"), ID], None, "unknown"),
    ],
)
def test_the_usual_parameters_are_read_the_short_way(
    tlvs: list[tuple[int, bytes]],
    network_error: tuple[int, int] | None,
    state: str,
    monkeypatch: pytest.MonkeyPatch,
):
    frame = deliver(USUAL.replace(b"DELIVRD", b"WOBBLED"), *tlvs)
    patient = _patiently(frame, False)
    monkeypatch.delattr(receipt, "decode_tlvs")
    found = parse_deliver(frame)
    assert found is not None
    assert (found.message_id, found.network_error, found.state) == ("1234567890", network_error, state)
    assert found == patient


def test_nor_does_the_short_way_need_them_where_there_are_none(monkeypatch: pytest.MonkeyPatch):
    frame = deliver()
    monkeypatch.delattr(receipt, "decode_tlvs")
    assert parsed() == _patiently(frame, False)


def test_a_repeated_state_counts_once_the_first():
    assert parsed(USUAL, ID, STATE, (c.TAG_MESSAGE_STATE, b"\2")).state == "expired"


def test_what_a_wrong_length_makes_part_of_the_id_is_no_parameter_of_its_own():
    frame = deliver(USUAL, ID, NETWORK)
    at = frame.index(b"\0\x1e\0\x0b")
    swallowed = frame[: at + 3] + bytes((11 + 7,)) + frame[at + 4 :]
    found = parse_deliver(swallowed)
    assert found is not None
    assert (found.message_id, found.network_error) == ("1234567890", None)


def test_an_id_of_one_character_is_as_good_as_one_of_64():
    for octets in (1, 64):
        text = USUAL.replace(b"1234567890", b"7" * octets)
        found = _usual_receipt(deliver(text, (c.TAG_RECEIPTED_MESSAGE_ID, b"7" * octets + b"\0")))
        assert found is not None
        assert found[0].message_id == "7" * octets
