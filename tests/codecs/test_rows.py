"""rows: what of a value is shown, by who may see it and how sure it is whose octets they are."""

from __future__ import annotations

from itertools import product

import pytest
from todoke.codecs.rows import Description, Row, Shown

FINE = Row(16, 1, 0, "esm_class", "0")
ODD = Row(17, 1, 0, "sm_length", "255", problem="at most 254 in SMPP 3.4")
FATAL = Row(18, 1, 0, "service_type", "''", problem="its NUL is missing", refused=True)


@pytest.mark.parametrize(
    ("found", "wrong", "refused"),
    [
        ([], False, False),
        ([FINE], False, False),
        ([FINE, ODD, FINE], True, False),
        ([FATAL, FINE], True, True),
    ],
)
def test_one_row_makes_a_description_wrong_or_refused(found: list[Row], wrong: bool, refused: bool):
    description = Description("submit_sm", 4, 0, 1, 33, found)
    assert (description.wrong, description.refused) == (wrong, refused)


def test_rows_and_descriptions_are_values():
    description = Description("submit_sm", 4, 0, 1, 33, [])
    for one, name in ((FINE, "value"), (description, "name")):
        with pytest.raises(AttributeError):
            setattr(one, name, "")


STATES = [
    Shown(text, doubtful=doubtful, secret=secret)
    for text, doubtful, secret in product((False, True), repeat=3)
]


@pytest.mark.parametrize("shown", STATES, ids=lambda shown: str(vars(shown)))
def test_strings_and_octets(shown: Shown):
    assert shown.string(b"") == shown.string(b"", private=True, password=True) == shown.octets(b"") == "''"
    assert shown.string(b"ab", password=True) == "(2 octets, never shown)"
    if shown.secret:
        assert shown.string(b"ab") == shown.octets(b"ab") == "(2 octets, never shown)"
        assert shown.octets(b"ab", private=False) == "(2 octets, never shown)"
        return
    private = "(2 octets, masked)" if not shown.show_text else None
    other = private if shown.doubtful else None
    assert shown.string(b"a\x1b", private=True) == (private or r"'a\x1b'")
    assert shown.string(b"a\x1b") == (other or r"'a\x1b'")
    assert shown.octets(b"a\x1b") == shown.octets(b"a\x1b", private=True) == (private or "61 1b")
    assert shown.octets(b"a\x1b", private=False) == (other or "61 1b")


@pytest.mark.parametrize("shown", STATES, ids=lambda shown: str(vars(shown)))
def test_a_number_with_a_letter_or_digit_in_any_octet_may_be_of_a_string(shown: Shown):
    careful = shown.doubtful and (shown.secret or not shown.show_text)
    for number in (b"8", b"z", b"\xe9", b"A\0", b"\x009", b"\0A\0\0", b"9\0\0\0"):
        assert shown.may_show(number) == (not careful)
        assert (shown.integer(number) == "(masked)") == careful
    for number, written in (
        (b"\0", "0"),
        (b"\x09", "9"),
        (b"\x0a", "10 (0x0A)"),
        (b"\xbf", "191 (0xBF)"),
        (b"\1\0", "256 (0x0100)"),
        (b"\0\0\4\0", "1024 (0x00000400)"),
    ):
        assert shown.may_show(number)
        assert shown.integer(number) == written


def test_sure_of_everything_unless_told_otherwise():
    shown = Shown(show_text=False)
    assert (shown.doubtful, shown.secret, shown.level) == (False, False, 0)
    assert shown.string(b"CMT") == "'CMT'"
