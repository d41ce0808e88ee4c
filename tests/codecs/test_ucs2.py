"""ucs2: units big-endian, pairs for what is above U+FFFF, no lone surrogate goes out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.codecs import ucs2


@pytest.mark.parametrize(
    ("text", "octets"), [("", b""), ("日本", b"\x65\xe5\x67\x2c"), ("😀", b"\xd8\x3d\xde\x00"), ("a", b"\0a")]
)
def test_texts_and_octets(text: str, octets: bytes):
    assert ucs2.encode(text) == octets
    assert ucs2.decode(octets) == text


def test_a_lone_surrogate_is_not_sent():
    assert ucs2.encode("a\ud800b") is None


@pytest.mark.parametrize(("octets", "text"), [(b"\0aX", "a\ufffd"), (b"\xd8\x3d\0a", "\ufffda")])
def test_broken_units_show_a_replacement(octets: bytes, text: str):
    assert ucs2.decode(octets) == text


@given(st.text(max_size=100))
def test_texts_come_back(text: str):
    octets = ucs2.encode(text)
    assert octets is None or ucs2.decode(octets) == text
