"""quoted: the words that a receipt quotes, and when they tell whose it is."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.codecs import pdu
from todoke.codecs.quoted import quoted_text, speaks_of

HEAD = b"id:A1 sub:001 dlvrd:001 submit date:2701150800 done date:2701150801 stat:DELIVRD err:000"
PRINTABLE = string.ascii_letters + string.digits + string.punctuation + " "


def frame(tail: bytes, **fields: Any) -> bytes:
    """A deliver_sm whose receipt ends so."""
    return pdu.encode(pdu.DeliverSm(esm_class=4, short_message=HEAD + tail, **fields), 1)


@pytest.mark.parametrize(
    ("tail", "quoted"),
    [
        (b" text:Good morning, Hana", "Good morning, Hana"),
        (b" Text:Good", "Good"),
        (b" TEXT: \t Good", "Good"),
        (b"\ttext:Good", "Good"),
        (b" text:~ and a space ", "~ and a space"),
        (b" text:", ""),
        (b" text:   ", ""),
        (b"", ""),
        (b" context:Good morning", ""),  # another word
        (b" text Good", ""),
        (b" text:Good\nmorning", "Good"),
        (b" text:Good\x7fmorning", "Good"),
        (b" text:Good\xe9morning", "Good"),
        (b" text:\x05\x00\x03\x07\x02\x01Good", ""),  # a user data header
        (b" text:\x00G\x00o\x00o\x00d", ""),  # UCS-2
        (b" text:\x00@Good", ""),
        (b" text:one text:two", "one text:two"),
        (b" text:" + b"x" * 64, "x" * 64),
        (b" text:" + b"x" * 65, "x" * 64),
    ],
)
def test_what_stands_behind_the_word_text(tail: bytes, quoted: str) -> None:
    assert quoted_text(frame(tail)) == quoted


def test_what_follows_the_text_in_the_pdu_is_not_of_it() -> None:
    assert quoted_text(frame(b" text:Good", tlvs=[(0x001E, b"A1\0"), (0x0427, b"\2")])) == "Good"


@given(st.binary(max_size=100))
def test_any_octets_give_printable_words_or_none(octets: bytes) -> None:
    words = quoted_text(b" text:" + octets)
    assert len(words) <= 64
    assert words.isascii()
    assert words == words.strip()
    assert words == "" or words.isprintable()


@pytest.mark.parametrize(
    ("quoted", "text", "told"),
    [
        ("Good morning, Hana", "Good morning, Hanako", True),
        ("Good morning, Hanako", "Good morning, Hanako", True),
        ("good morning", "Good morning, Hanako", False),
        ("Good evening", "Good morning, Hanako", False),
        ("ning, Hana", "Good morning, Hanako", True),  # of a later part
        ("Good morning, Hanako!", "Good morning, Hanako", False),
        ("Goodm", "Good morning", False),  # five characters tell
        ("Good ", "Good morning", True),
        ("Evil", "Good morning", None),  # four do not
        ("", "Good morning", None),
        ("Good morning", "", False),
        ("Good morning", "Good\n\t  morning", True),  # white space is anybody's
        ("Good  morning", "Good  morning", True),
        ("Good morning", "Good morning\xe9", None),
        ("?????", "こんにちは", None),
    ],
)
def test_whether_words_are_a_messages(quoted: str, text: str, told: bool | None) -> None:
    assert speaks_of(quoted, text) is told


@given(st.text(PRINTABLE + "\n\t", max_size=200), st.integers(0, 200), st.integers(0, 64))
def test_a_true_quotation_is_never_held_against_its_message(text: str, start: int, length: int) -> None:
    """In the white space of the message or in an SMSC's, from wherever, and however it is cut."""
    for told in (text, " ".join(text.split())):
        words = quoted_text(frame(b" text:" + told[start:][:length].encode("ascii")))
        assert speaks_of(words, text) is not False
