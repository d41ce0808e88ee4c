"""udh: the concatenation headers, and headers that handsets and networks have broken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.codecs import udh


def test_the_two_forms():
    assert udh.concat8(0x1FF, 3, 2) == b"\x05\x00\x03\xff\x03\x02"
    assert udh.concat16(0x12345, 3, 2) == b"\x06\x08\x04\x23\x45\x03\x02"
    assert len(udh.concat8(0, 1, 1)) == udh.CONCAT_8_OCTETS
    assert len(udh.concat16(0, 1, 1)) == udh.CONCAT_16_OCTETS


@given(st.integers(0, 0xFFFF), st.integers(1, 255), st.data(), st.binary(min_size=1, max_size=10))
def test_both_forms_come_back(reference: int, total: int, data: st.DataObject, text: bytes):
    number = data.draw(st.integers(1, total))
    header, rest = udh.strip(udh.concat16(reference, total, number) + text)
    assert (udh.concat_of(header), rest) == ((reference, total, number), text)
    header, rest = udh.strip(udh.concat8(reference, total, number) + text)
    assert (udh.concat_of(header), rest) == ((reference & 0xFF, total, number), text)


@pytest.mark.parametrize(
    "header",
    [
        b"\x05\x00\x03\x01\x02\x00",  # number 0
        b"\x05\x00\x03\x01\x02\x03",  # number above total
        b"\x05\x00\x03\x01\x00\x00",  # total 0
        b"\x05\x00\x04\x01\x02\x01",  # the element overruns
        b"\x04\x00\x02\x01\x02",  # too short
        b"\x00",
        b"",
    ],
)
def test_a_broken_element_is_none(header: bytes):
    assert udh.concat_of(header) is None


def test_other_elements_are_passed_over_and_the_last_concatenation_wins():
    ports = b"\x05\x04\x0b\x84\x23\xf0"
    header = b"\x14" + ports + b"\x00\x03\x01\x02\x01" + b"\x08\x04\x00\x09\x02\x02" + b"\x24\x01\x01"
    assert udh.elements(header)[0] == (udh.IEI_PORTS_16, b"\x0b\x84\x23\xf0")
    assert udh.concat_of(header) == (9, 2, 2)


@pytest.mark.parametrize("data", [b"", b"\x05", b"\x05\x00\x03\x01\x02", b"\xff" + b"a" * 140])
def test_a_header_longer_than_the_data_is_no_header(data: bytes):
    assert udh.strip(data) == (b"", data)


@given(st.binary(max_size=60))
def test_any_octets_are_read(data: bytes):
    header, rest = udh.strip(data)
    assert header + rest == data
    concat = udh.concat_of(header)
    assert concat is None or 1 <= concat.number <= concat.total
