"""inbound: what a subscriber sent, in every alphabet, alone and in a series."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.codecs import constants as c
from todoke.codecs import gsm7, pdu, septets, udh
from todoke.codecs.inbound import ALPHABETS, Inbound, alphabet_of, read, units
from todoke.codecs.segment import Rules, fields, segment


def deliver(short_message: bytes, **fields: Any) -> pdu.DeliverSm:
    return pdu.DeliverSm(source_addr=b"81", destination_addr=b"32", short_message=short_message, **fields)


@pytest.mark.parametrize(
    ("data_coding", "data", "text"),
    [
        (0x00, b"\x00\x1be", "@€"),
        (0x01, b"@a", "@a"),
        (0x03, b"\xe9", "é"),
        (0x08, b"\x65\xe5", "日"),
        (0x10, b"\x02", "$"),
        (0x18, b"\x65\xe5", "日"),
        (0xC8, b"\x02", "$"),
        (0xE0, b"\x65\xe5", "日"),
        (0xF0, b"\x02", "$"),
        (0xF1, b"\x02", "$"),
        (0xF5, b"\x02", None),
        (0x14, b"\x02", None),
        (0x02, b"\x02", None),
        (0x04, b"\x02", None),
        (0x05, b"\x46\x7c\x4b\x5c", "日本"),
        (0x05, "日本".encode("cp932"), "日本"),
        (0x05, "日本".encode("iso2022_jp"), "日本"),
        (0x05, "日本".encode("cp932")[:-1], "日\ufffd"),
        (0x06, "Привет".encode("iso8859_5"), "Привет"),
        (0x07, "שלום".encode("iso8859_8"), "שלום"),
        (0x09, b"\x02", None),
        (0x0A, "日本".encode("iso2022_jp"), "日本"),
        (0x0A, "丂".encode("iso2022_jp_ext"), "丂"),
        (0x05, "①".encode("cp932"), "①"),
        (0x0D, b"\x30\x21", "丂"),
        (0x0E, "안녕".encode("euc_kr"), "안녕"),
        (0x0E, "똠".encode("cp949"), "똠"),
        (0x01, b"\xe9", "é"),
        (0x0B, b"\x02", None),
        (0x0F, b"\x02", None),
        (0x1C, b"\x02", None),
        (0x20, b"\x02", None),
        (0x3F, b"\x02", None),
        (0x40, b"\x02", "$"),
        (0x44, b"\x02", None),
        (0x59, b"\x65\xe5", "日"),
        (0x5F, b"\x02", None),
        (0x60, b"\x02", None),
        (0x80, b"\x02", None),
        (0xBF, b"\x02", None),
        (0xC0, b"\x02", "$"),
        (0xDF, b"\x02", "$"),
        (0xEF, b"\x65\xe5", "日"),
        (0xF4, b"\x02", None),
        (0xFB, b"\x02", "$"),
    ],
)
def test_alphabets(data_coding: int, data: bytes, text: str | None):
    found = read(deliver(data, data_coding=data_coding))
    assert (found.text, found.data, found.concat) == (text, data, None)
    assert (found.source_addr, found.destination_addr) == ("81", "32")


def test_the_default_alphabet_is_the_carriers():
    assert read(deliver(b"@"), "latin1").text == "@"
    assert alphabet_of(0, "latin1") == "latin1"


@pytest.mark.parametrize("concat", ["udh8", "udh16", "sar"])
def test_a_series_in_each_way(concat: Any):
    rules = Rules(concat=concat)
    text = "日" * 100
    found = [
        read(deliver(short, esm_class=esm_class, data_coding=8, tlvs=pdu.decode_tlvs(tlvs)))
        for esm_class, short, tlvs in fields(segment(text, rules), rules, 0x1AB)
    ]
    reference = 0xAB if concat == "udh8" else 0x1AB
    assert [part.concat for part in found] == [(reference, 2, 1), (reference, 2, 2)]
    assert "".join(part.text or "" for part in found) == text


def test_a_header_without_a_series_beside_sar_parameters():
    tlvs = [
        (c.TAG_SAR_MSG_REF_NUM, b"\0\7"),
        (c.TAG_SAR_TOTAL_SEGMENTS, b"\2"),
        (c.TAG_SAR_SEGMENT_SEQNUM, b"\1"),
    ]
    ports = b"\x06\x05\x04\x0b\x84\x23\xf0"
    found = read(deliver(ports + b"hi", esm_class=0x40, tlvs=tlvs))
    assert (found.text, found.concat) == ("hi", (7, 2, 1))
    header = udh.concat8(9, 3, 3)
    assert read(deliver(header + b"hi", esm_class=0x40, tlvs=tlvs)).concat == (9, 3, 3)


def test_payload_and_data_sm():
    message = pdu.DataSm(esm_class=0x40, tlvs=[(c.TAG_MESSAGE_PAYLOAD, udh.concat8(1, 2, 2) + b"hi")])
    found = read(message)
    assert (found.text, found.concat) == ("hi", (1, 2, 2))


def test_a_header_that_does_not_fit_is_text():
    assert read(deliver(b"\x20hi", esm_class=0x40)).text == " hi"
    assert read(deliver(b"", esm_class=0x40)).text == ""


@pytest.mark.parametrize(
    ("data_coding", "message_class"),
    [
        *((0x00, None), (0x03, None), (0x0F, None)),
        *((0x10, 0), (0x18, 0), (0x1B, 3), (0x20, None), (0x32, 2), (0x40, None), (0x51, 1), (0x80, None)),
        *((0x90, None), (0xC8, None), (0xD1, None), (0xE1, None), (0xF0, 0), (0xF5, 1), (0xFF, 3)),
    ],
)
def test_message_classes(data_coding: int, message_class: int | None):
    assert read(deliver(b"hi", data_coding=data_coding)).message_class == message_class


@pytest.mark.parametrize(
    ("value", "message_class"), [(b"\0", None), (b"\1", 0), (b"\4", 3), (b"\5", None), (b"", None)]
)
def test_flash_by_dest_addr_subunit(value: bytes, message_class: int | None):
    tlvs = [(c.TAG_DEST_ADDR_SUBUNIT, value)]
    assert read(deliver(b"hi", tlvs=tlvs)).message_class == message_class
    assert read(deliver(b"hi", tlvs=tlvs, data_coding=0xF2)).message_class == 2


def test_ports_of_the_header_and_of_the_parameters():
    assert read(deliver(b"hi")).ports is None
    source, destination = (c.TAG_SOURCE_PORT, b"\x23\xf0"), (c.TAG_DEST_PORT, b"\x0b\x84")
    assert read(deliver(b"hi", tlvs=[source, destination])).ports == udh.Ports(2948, 9200, 16)
    assert read(deliver(b"hi", tlvs=[source])).ports == udh.Ports(0, 9200, 16)
    assert read(deliver(b"hi", tlvs=[destination])).ports == udh.Ports(2948, 0, 16)
    wide = [(c.TAG_SOURCE_PORT, b"\1\0\1"), (c.TAG_DEST_PORT, b"\1\0\2")]
    assert read(deliver(b"hi", tlvs=wide)).ports == udh.Ports(2, 1, 16)
    header = udh.build([udh.ports8(240, 241)])
    found = read(deliver(header + b"hi", esm_class=0x40, tlvs=[source, destination]))
    assert (found.ports, found.text) == (udh.Ports(240, 241, 8), "hi")


def test_references_of_either_width():
    assert read(deliver(b"hi")).reference_bits == 0
    assert read(deliver(udh.concat8(1, 2, 1) + b"hi", esm_class=0x40)).reference_bits == 8
    assert read(deliver(udh.concat16(1, 2, 1) + b"hi", esm_class=0x40)).reference_bits == 16
    tlvs = [
        (c.TAG_SAR_MSG_REF_NUM, b"\0\7"),
        (c.TAG_SAR_TOTAL_SEGMENTS, b"\2"),
        (c.TAG_SAR_SEGMENT_SEQNUM, b"\1"),
    ]
    assert read(deliver(b"hi", tlvs=tlvs)).reference_bits == 16
    assert read(deliver(udh.concat8(1, 2, 1) + b"hi", esm_class=0x40, tlvs=tlvs)).reference_bits == 8


@pytest.mark.parametrize(
    ("reference", "total", "number"),
    [(b"", b"\2", b"\1"), (b"\1", b"\2", b"\0"), (b"\1", b"\2", b"\3"), (b"\1", b"\1\0", b"\1")],
)
def test_sar_parameters_that_make_no_series(reference: bytes, total: bytes, number: bytes):
    tlvs = [
        (c.TAG_SAR_MSG_REF_NUM, reference),
        (c.TAG_SAR_TOTAL_SEGMENTS, total),
        (c.TAG_SAR_SEGMENT_SEQNUM, number),
    ]
    assert read(deliver(b"hi", tlvs=tlvs)).concat is None
    assert read(deliver(b"hi", tlvs=[(c.TAG_SAR_MSG_REF_NUM, b"\0\0"), *tlvs])).concat == (
        None if reference else (0, 2, 1)
    )


# --- national tables and packed septets -------------------------------------------------------------------


def test_national_tables_are_those_of_the_header():
    turkish = udh.build([(udh.IEI_NATIONAL_LOCKING_SHIFT, b"\1"), (udh.IEI_NATIONAL_SINGLE_SHIFT, b"\1")])
    data = b"\x07\x1bg"
    found = read(deliver(turkish + data, esm_class=0x40))
    assert (found.text, found.data, found.locking, found.single) == ("ığ", data, 1, 1)
    assert read(deliver(turkish + data, esm_class=0x40), "latin1").text == "\x07\x1bg"
    ucs2 = read(deliver(turkish + b"\x65\xe5", esm_class=0x40, data_coding=8))
    assert (ucs2.text, ucs2.locking, ucs2.single) == ("日", 0, 0)


def test_national_tables_are_evidence_enough():
    """Nothing is guessed about a part that says which tables it was written with."""
    for element in (udh.IEI_NATIONAL_LOCKING_SHIFT, udh.IEI_NATIONAL_SINGLE_SHIFT):
        spanish = udh.build([(element, b"\2")])
        found = read(deliver(spanish + b"\0a\0b\0c", esm_class=0x40))
        assert (found.text, found.sniffed) == ("@a@b@c", False)


@pytest.mark.parametrize("text", ["", "hellohello", "a" * 7, "a" * 8, "€" * 79, "b" * 160])
@pytest.mark.parametrize("header", [b"", udh.concat8(1, 1, 1), udh.concat16(1, 1, 1)])
def test_packed(text: str, header: bytes):
    encoded = gsm7.encode(text)
    assert encoded is not None
    data = septets.pack(encoded, septets.fill_bits(len(header)))
    message = deliver(header + data, esm_class=0x40 if header else 0)
    found = read(message, packed=True)
    assert (found.text, found.data, found.packed, found.sniffed) == (text, data, True, False)


def test_packed_is_about_septets_only():
    assert read(deliver(b"\x65\xe5", data_coding=8), packed=True).text == "日"
    assert not read(deliver(b"\x65\xe5", data_coding=8), packed=True).packed
    assert read(deliver(b"\xe8\x32"), "latin1", packed=True).text == "\xe82"
    assert (
        read(deliver(b"\xe8\x32\x9b\xfd\x46\x97\xd9\xec\x37", data_coding=0xF1), packed=True).text
        == "hellohello"
    )


def test_packed_is_not_taken_for_something_else():
    data = septets.pack(gsm7.encode("Hello, everybody") or b"")
    assert not read(deliver("Привет".encode("utf-16-be")), packed=True).sniffed
    assert read(deliver(data), packed=True).text == "Hello, everybody"


def packed_part(number: int, octets: bytes, total: int = 2) -> Inbound:
    header = udh.concat8(1, total, number)
    data = septets.pack(octets, septets.fill_bits(len(header)))
    return read(deliver(header + data, esm_class=0x40), packed=True)


def test_seven_bits_to_spare():
    """Padding at an end and where there is room; a character in a full part, but for a pair held back."""
    for last in (b"\0", b"\r"):
        full = b"a" * 152 + last
        assert units(packed_part(2, full)) == b"a" * 152
        assert units(packed_part(1, full)) == (full if last == b"\0" else b"a" * 152)
        assert units(packed_part(1, full), b"b") == (full if last == b"\0" else b"a" * 152)
        assert units(packed_part(1, full), b"\n") == full
        assert units(packed_part(1, full), b"\nab") == full
        assert units(packed_part(1, full), b"\x1be") == b"a" * 152
        assert units(packed_part(1, full), b"\r\nb") == b"a" * 152
        assert units(packed_part(1, b"a" * 144 + last)) == b"a" * 144
        alone = read(deliver(septets.pack(b"a" * 159 + last)), packed=True)
        assert units(alone) == b"a" * 159
        assert alone.text == "a" * 159
    assert units(packed_part(1, b"a" * 153), b"\x1be") == b"a" * 153


# --- sniffed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data_coding", "data", "text", "alphabet"),
    [
        (8, b"id:1 stat:DELIVRD", "id:1 stat:DELIVRD", "ascii"),
        (0x18, b"Hello, world", "Hello, world", "ascii"),
        (0, "Привет".encode("utf-16-be"), "Привет", "ucs2"),
        (3, "Привет".encode("utf-16-le"), "Привет", "utf-16-le"),
        (1, "\ufeff日本".encode("utf-16-be"), "日本", "ucs2"),
        (8, "\ufeff日本".encode("utf-16-le"), "日本", "utf-16-le"),
        (0, "é".encode(), "é", "utf-8"),
        (5, b"Hello", "Hello", "shift_jis"),
    ],
)
def test_what_carriers_lie_about(data_coding: int, data: bytes, text: str, alphabet: str):
    found = read(deliver(data, data_coding=data_coding))
    assert (found.text, found.alphabet, found.data) == (text, alphabet, data)
    assert found.sniffed
    assert found.claimed == alphabet_of(data_coding)


@pytest.mark.parametrize("alphabet", sorted(ALPHABETS))
def test_every_alphabet_can_be_the_default(alphabet: str):
    found = read(deliver(b""), alphabet)
    assert (found.text, found.claimed) == (None if alphabet == "binary" else "", alphabet)


def test_stored_and_back():
    found = packed_part(1, b"a")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=Inbound) == found


@given(st.binary(max_size=200), st.integers(0, 255), st.integers(0, 255))
def test_any_octets_are_read(data: bytes, esm_class: int, data_coding: int):
    for packed in (False, True):
        found = read(deliver(data, esm_class=esm_class, data_coding=data_coding), packed=packed)
        assert repr(found).startswith("Inbound(octets=")
        assert "source_addr" not in repr(found)
        assert found.header + found.data == data
        assert {found.claimed, found.alphabet} <= ALPHABETS
        assert (found.text is None) == (found.alphabet == "binary")


def test_each_data_coding_by_its_group():
    named = dict(zip((1, 3, 5, 6, 7, 8, 10, 13, 14), (
        "ascii", "latin1", "jis_x_0208", "iso8859_5", "iso8859_8", "ucs2", "iso2022_jp", "jis_x_0212",
        "ks_c_5601",
    ), strict=True))  # fmt: skip
    for data_coding in range(256):
        group, low = data_coding >> 4, data_coding & 0x0F
        expected, message_class = "binary", None
        if data_coding == 0:
            expected = "shift_jis"
        elif group == 0:
            expected = named.get(low, "binary")
        elif group in (1, 4, 5):
            expected = ("gsm7", "binary", "ucs2", "binary")[low >> 2]
        elif group in (12, 13):
            expected = "gsm7"
        elif group == 14:
            expected = "ucs2"
        elif group == 15:
            expected = "binary" if low & 4 else "gsm7"
        if group == 15 or (group < 8 and group % 2):
            message_class = low & 3
        assert alphabet_of(data_coding, "shift_jis") == expected, data_coding
        assert read(deliver(b"", data_coding=data_coding)).message_class == message_class, data_coding


def test_what_is_not_there_is_empty():
    assert read(deliver(b"hi")) == Inbound("81", "32", "hi", b"hi")
    assert read(deliver(b"hi")).header == b""


def test_ports_and_parts_up_to_their_bits():
    ports = [(c.TAG_DEST_PORT, b"\xff\xff"), (c.TAG_SOURCE_PORT, b"\xff\xfe")]
    assert read(deliver(b"", tlvs=ports)).ports == udh.Ports(0xFFFF, 0xFFFE, 16)
    series = [
        (c.TAG_SAR_MSG_REF_NUM, b"\0\0"),
        (c.TAG_SAR_TOTAL_SEGMENTS, b"\xff"),
        (c.TAG_SAR_SEGMENT_SEQNUM, b"\xff"),
    ]
    assert read(deliver(b"", tlvs=series)).concat == udh.Concat(0, 255, 255)
    # One that is not given at all is no number, not even below 0.
    assert read(deliver(b"", tlvs=series[1:])).concat is None


def test_septets_that_were_packed_are_not_taken_for_utf_16():
    text = "@H@e@l@l@o@!"
    assert read(deliver(gsm7.encode(text) or b"")).sniffed
    assert read(deliver(septets.pack(gsm7.encode(text) or b"")), packed=True).text == text
