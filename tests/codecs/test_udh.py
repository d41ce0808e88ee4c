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


def test_repeated_elements_the_last_valid_one_counts():
    header = udh.build([(0, b"\1\2\1"), (0, b"\2\3\2"), (8, b"\0\3\2\0"), (0, b"\3\2")])
    assert udh.concat_of(header) == (2, 3, 2)
    assert udh.reference_bits_of(header) == 8
    assert udh.reference_bits_of(udh.concat16(1, 1, 1)) == 16
    assert udh.ports_of(udh.build([udh.ports16(1, 2), udh.ports8(240, 241), (5, b"\1\2\3"), (4, b"\1")])) == (
        240,
        241,
        8,
    )
    shifts = [
        (0x25, b"\1"),
        (0x25, b"\3"),
        (0x25, b"\x0e"),
        (0x25, b"\0"),
        (0x25, b"\1\1"),
        (0x25, b""),
        (1, b"\1"),
    ]
    assert udh.shifts_of(udh.build([*shifts, (0x24, b"\x0d"), (0x24, b"\xff")])) == (3, 13)


def test_headers_built():
    assert udh.build([]) == b""
    assert udh.build([(0, b"\x01\x03\x02")]) == udh.concat8(1, 3, 2)
    header = udh.build([(udh.IEI_NATIONAL_SINGLE_SHIFT, b"\2"), udh.ports16(2948, 9200)])
    assert header == b"\x09\x24\x01\x02\x05\x04\x0b\x84\x23\xf0"
    assert udh.shifts_of(header) == (0, 2)
    assert udh.ports_of(header) == udh.Ports(2948, 9200, 16)
    assert udh.concat_of(header) is None
    assert (udh.shifts_of(udh.concat8(1, 1, 1)), udh.ports_of(udh.concat8(1, 1, 1))) == ((0, 0), None)


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=20)), max_size=10))
def test_elements_come_back(elements: list[tuple[int, bytes]]):
    assert udh.elements(udh.build(elements)) == elements


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_ports_come_back(destination: int, source: int, destination_16: int, source_16: int):
    for ports in (udh.Ports(destination, source, 8), udh.Ports(destination_16, source_16, 16)):
        assert udh.ports_of(udh.build([ports.element])) == ports


def test_what_does_not_fit_is_refused():
    for refused in (
        lambda: udh.build([(0, bytes(256))]),
        lambda: udh.build([(256, b"")]),
        lambda: udh.build([(0, bytes(254))]),
        lambda: udh.ports8(256, 0),
        lambda: udh.ports8(0, -1),
        lambda: udh.ports16(0x10000, 0),
        lambda: udh.ports16(0, 0x10000),
        lambda: udh.ports16(-1, 0),
    ):
        with pytest.raises(ValueError, match="range"):
            refused()
    assert len(udh.build([(0, bytes(253))])) == 256


def test_names_of_elements():
    assert udh.IEI_NAMES[0x25] == "national_locking_shift"
    assert [iei for iei in range(0x27) if iei not in udh.IEI_NAMES] == [
        *(0x02, 0x03, 0x1B, 0x1C, 0x1D, 0x1E, 0x1F, 0x26)
    ]
    kinds = [udh.IEI_NAMES.get(iei) for iei in (0x6F, 0x70, 0x7F, 0x80, 0x9F, 0xA0, 0xBF, 0xC0, 0xDF, 0xE0)]
    security, sme, sc = "usim_toolkit_security", "sme_to_sme_specific", "sc_specific"
    assert kinds == [None, security, security, sme, sme, None, None, sc, sc, None]


@given(st.binary(max_size=60))
def test_any_octets_are_read(data: bytes):
    header, rest = udh.strip(data)
    assert header + rest == data
    assert udh.reference_bits_of(header) in ((8, 16) if udh.concat_of(header) else (0,))
    concat = udh.concat_of(header)
    assert concat is None or 1 <= concat.number <= concat.total
    assert all(0 <= language <= 13 for language in udh.shifts_of(header))
    ports = udh.ports_of(header)
    assert ports is None or udh.ports_of(udh.build([ports.element])) == ports


VALUES = (b"\1", b"\1\1", b"\1\1\1", b"\1\1\1\1", b"\1\1\1\1\1")


def test_each_reader_reads_its_own_elements_of_their_size_and_no_others():
    """Of all element ids and of values of 1 to 5 octets."""
    headers = {(iei, len(value)): udh.build([(iei, value)]) for iei in range(256) for value in VALUES}
    concat = {key for key, header in headers.items() if udh.concat_of(header)}
    assert concat == {(udh.IEI_CONCAT_8, 3), (udh.IEI_CONCAT_16, 4)}
    assert {key for key, header in headers.items() if udh.reference_bits_of(header)} == concat
    ports = {key for key, header in headers.items() if udh.ports_of(header)}
    assert ports == {(udh.IEI_PORTS_8, 2), (udh.IEI_PORTS_16, 4)}
    shifts = {key: udh.shifts_of(header) for key, header in headers.items() if any(udh.shifts_of(header))}
    assert shifts == {(udh.IEI_NATIONAL_LOCKING_SHIFT, 1): (1, 0), (udh.IEI_NATIONAL_SINGLE_SHIFT, 1): (0, 1)}


def test_one_octet_behind_the_last_element_is_none():
    assert udh.elements(b"\x04\x24\x01\x01\x25") == [(0x24, b"\x01")]


def test_names_begin_and_end_where_the_standard_says():
    unnamed = {0x6F, 0xA0, 0xBF, 0xE0, 0xFF, 0x02, 0x03, 0x1B, 0x26}
    assert not unnamed & udh.IEI_NAMES.keys()
    named = {0x70: "usim_toolkit_security", 0x7F: "usim_toolkit_security", 0x80: "sme_to_sme_specific"}
    named |= {0x9F: "sme_to_sme_specific", 0xC0: "sc_specific", 0xDF: "sc_specific"}
    assert {iei: udh.IEI_NAMES[iei] for iei in named} == named
