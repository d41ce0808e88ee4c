"""septets: packing bit by bit as the standard draws it, fill bits, seven bits left over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.codecs import septets

SEPTETS = st.binary(max_size=700).map(lambda data: bytes(octet & 0x7F for octet in data))
FILL = st.integers(0, 6)


def drawn(data: bytes, fill_bits: int) -> bytes:
    """The same by the letter of TS 23.038 section 6.1.2.1: a string of bits, lowest first."""
    bits = "0" * fill_bits + "".join(f"{septet:07b}"[::-1] for septet in data)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[at : at + 8][::-1], 2) for at in range(0, len(bits), 8))


@pytest.mark.parametrize(
    ("text", "fill_bits", "packed"),
    [
        (b"", 0, ""),
        (b"", 3, "00"),
        (b"a", 0, "61"),
        (b"hellohello", 0, "e8329bfd4697d9ec37"),
        (b"1234567", 0, "31d98c56b3dd00"),
        (b"12345678", 0, "31d98c56b3dd70"),
        (b"hello", 1, "d06536fb0d"),
    ],
)
def test_vectors(text: bytes, fill_bits: int, packed: str):
    assert septets.pack(text, fill_bits).hex() == packed
    assert septets.unpack(bytes.fromhex(packed), len(text), fill_bits) == text


@given(SEPTETS, FILL)
def test_as_the_standard_draws_it(data: bytes, fill_bits: int):
    packed = septets.pack(data, fill_bits)
    assert packed == drawn(data, fill_bits)
    assert septets.unpack(packed, len(data), fill_bits) == data


@pytest.mark.parametrize("count", [159, 160, 161, 167, 168, 169, 320, 321, 1_000])
def test_longer_than_one_message(count: int):
    data = bytes(at * 37 & 0x7F for at in range(count))
    assert septets.pack(data) == drawn(data, 0)
    assert septets.unpack(septets.pack(data), count) == data


@pytest.mark.parametrize(
    ("header_octets", "fill_bits"),
    [(0, 0), (4, 3), (6, 1), (7, 0), (9, 5), (10, 4), (12, 2), (13, 1), (14, 0)],
)
def test_fill_bits_of_a_header(header_octets: int, fill_bits: int):
    assert septets.fill_bits(header_octets) == fill_bits
    assert (8 * header_octets + fill_bits) % 7 == 0


@given(SEPTETS, FILL)
def test_without_a_count_only_what_seven_bits_left_over_hide_is_lost(data: bytes, fill_bits: int):
    found = septets.unpack(septets.pack(data, fill_bits), None, fill_bits)
    left = -(7 * len(data) + fill_bits) % 8
    if left == 0 and data and data[-1] in (0x00, 0x0D):
        assert found == data[:-1]
    else:
        assert found == data


@pytest.mark.parametrize(("last", "shown"), [(0x00, b""), (0x0D, b""), (0x41, b"A")])
def test_a_phantom_at_and_the_padding_are_no_text(last: int, shown: bytes):
    packed = septets.pack(b"1234567" + bytes((last,)))
    assert septets.unpack(packed) == b"1234567" + shown
    assert septets.unpack(packed, 8) == b"1234567" + bytes((last,))


def test_a_count_beyond_the_octets_gives_what_they_hold():
    assert septets.unpack(b"\x61", 5) == b"a"
    assert septets.unpack(b"", 5, 3) == b""
    assert septets.unpack(b"", None, 3) == b""


@pytest.mark.parametrize("count", range(17))
def test_without_a_header_seven_septets_are_padded(count: int):
    assert septets.padded(b"1" * count) == b"1" * count + (b"\r" if count % 8 == 7 else b"")


@given(SEPTETS, FILL)
def test_padded_leaves_no_room_for_a_phantom(data: bytes, fill_bits: int):
    padded = septets.padded(data, fill_bits)
    octets = len(septets.pack(padded, fill_bits))
    assert octets == len(septets.pack(data, fill_bits)), "the CR costs nothing"
    assert (8 * octets - fill_bits) // 7 == len(padded), "counted by octets, it is what was sent"
    assert padded in (data, data + b"\r")
