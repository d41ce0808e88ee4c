"""gsm7: the table of TS 23.038, both ways, and what a handset shows of odd octets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.codecs import gsm7

CHARACTERS = [*gsm7.BASIC.replace("\x1b", ""), *gsm7.EXTENSION]


def test_the_table_is_whole():
    assert len(gsm7.BASIC) == 128
    assert len(set(gsm7.BASIC)) == 128
    assert gsm7.BASIC[0x1B] == "\x1b"
    assert not set(gsm7.BASIC) & set(gsm7.EXTENSION)


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("", b""),
        ("@", b"\x00"),
        ("£$¥", b"\x01\x02\x03"),
        ("Ç", b"\x09"),
        ("Δ_ΦΓΛΩΠΨΣΘΞ", bytes(range(0x10, 0x1B))),
        ("ÆæßÉ", b"\x1c\x1d\x1e\x1f"),
        ("¤", b"\x24"),
        ("¡", b"\x40"),
        ("ÄÖÑÜ§", b"\x5b\x5c\x5d\x5e\x5f"),
        ("¿", b"\x60"),
        ("äöñüà", b"\x7b\x7c\x7d\x7e\x7f"),
        ("Hello 09", b"Hello 09"),
        ("€", b"\x1b\x65"),
        ("[]{}^~\\|\f", b"\x1b\x3c\x1b\x3e\x1b\x28\x1b\x29\x1b\x14\x1b\x3d\x1b\x2f\x1b\x40\x1b\x0a"),
        ("Δ€@a[", b"\x10\x1b\x65\x00a\x1b\x3c"),
    ],
)
def test_texts_and_octets(text: str, octets: bytes):
    assert gsm7.encode(text) == octets
    assert gsm7.decode(octets) == text


@pytest.mark.parametrize(
    "text", ["`", "ç", "\x1b", "\0", "日", "a\0€", "€\x80", "Δ\ufffe", "Δ\x1b", "é日", "\ud800", "😀"]
)
def test_what_is_not_in_the_alphabet(text: str):
    assert gsm7.encode(text) is None


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (b"\x1ba", "a"),
        (b"\x1b\x00", "@"),
        (b"\x1b\x1b", " "),
        (b"\x1b\x1b\x65", " e"),
        (b"\x1b\x1b\x1b\x65", " €"),
        (b"a\x1b", "a"),
        (b"\x1b\x0d", "\r"),
        (b"\x80\xff", "\ufffd\ufffd"),
        (b"\x1b\x80", "\ufffd"),
    ],
)
def test_odd_octets_show_what_a_handset_shows(octets: bytes, text: str):
    assert gsm7.decode(octets) == text


def test_every_octet_behind_an_escape_shows_the_extension_or_the_alphabet():
    extension = {code: character for character, code in gsm7.EXTENSION.items()} | {gsm7.ESCAPE: " "}
    for octet in range(256):
        shown = extension.get(octet, gsm7.BASIC[octet] if octet < 128 else "\ufffd")
        assert gsm7.decode(bytes((gsm7.ESCAPE, octet))) == shown


@given(st.text(st.sampled_from(CHARACTERS), max_size=200))
def test_every_text_of_the_alphabet_comes_back(text: str):
    octets = gsm7.encode(text)
    assert octets is not None
    assert octets.isascii()
    assert gsm7.decode(octets) == text
    assert len(octets) == len(text) + sum(character in gsm7.EXTENSION for character in text)


@given(st.text(max_size=50))
def test_encodes_exactly_what_the_table_has(text: str):
    known = set(CHARACTERS)
    assert (gsm7.encode(text) is not None) == all(character in known for character in text)


@given(st.binary(max_size=100))
def test_any_octets_decode(data: bytes):
    gsm7.decode(data)
