"""inbound: what a subscriber sent, in every alphabet, alone and in a series."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.codecs import constants as c
from todoke.codecs import pdu, udh
from todoke.codecs.inbound import alphabet_of, read
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
        (0x05, b"\x02", None),
        (0x0E, b"\x02", None),
        (0x80, b"\x02", None),
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


@given(st.binary(max_size=200), st.integers(0, 255), st.integers(0, 255))
def test_any_octets_are_read(data: bytes, esm_class: int, data_coding: int):
    found = read(deliver(data, esm_class=esm_class, data_coding=data_coding))
    assert "81" not in repr(found)
    assert data.endswith(found.data)
