"""The default alphabet against perl's Encode::GSM0338, the national tables against PyPI's gsmcodecs."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
from todoke.codecs import gsm7, national

PERL_S = 60.0
REPLACEMENT = "\ufffd"

# --- perl --------------------------------------------------------------------------------------------------


@cache
def perls() -> tuple[dict[str, bytes], dict[bytes, str]]:
    """Character -> octets, octets -> text, as Encode::GSM0338 has them; skips where there is no perl."""
    perl = shutil.which("perl")
    if perl is None:
        pytest.skip("needs perl")
    if subprocess.run([perl, "-MEncode::GSM0338", "-e1"], capture_output=True, check=False).returncode:
        pytest.skip("needs perl's Encode::GSM0338")
    script = Path(__file__).with_name("gsm0338.pl")
    done = subprocess.run([perl, str(script)], capture_output=True, text=True, timeout=PERL_S, check=False)
    assert done.returncode == 0, done.stderr
    encoded, decoded = dict[str, bytes](), dict[bytes, str]()
    for line in done.stdout.splitlines():
        kind, key, *values = line.split(" ")
        if kind == "e":
            encoded[chr(int(key, 16))] = bytes.fromhex(values[0])
        else:
            decoded[bytes.fromhex(key)] = "".join(chr(int(value, 16)) for value in values)
    return encoded, decoded


def test_every_character_of_the_bmp_is_encoded_as_perl_does_or_not_at_all() -> None:
    theirs, _ = perls()
    ours: dict[str, bytes] = {}
    for code in (*range(0xD800), *range(0xE000, 0x10000)):
        octets = gsm7.encode(chr(code))
        if octets is not None:
            ours[chr(code)] = octets
    assert ours == theirs
    assert len(ours) == 127 + 10


def test_every_septet_and_escape_pair_is_decoded_as_perl_does() -> None:
    _, theirs = perls()
    assert len(theirs) == 256
    differ = {septets: text for septets, text in theirs.items() if gsm7.decode(septets) != text}
    # perl has U+FFFD for an escape with nothing to escape. A handset shows what the next code is without it,
    # a space for a second escape (TS 23.038 section 6.2.1.1), and nothing for one at the end.
    no_extension = set(range(128)) - set(gsm7.EXTENSION.values())
    assert differ == dict.fromkeys([b"\x1b", *(bytes((0x1B, code)) for code in no_extension)], REPLACEMENT)
    shown = {code: gsm7.decode(bytes((0x1B, code))) for code in no_extension}
    assert shown == {code: " " if code == 0x1B else gsm7.BASIC[code] for code in no_extension}
    assert gsm7.decode(b"\x1b") == ""


# --- gsmcodecs ---------------------------------------------------------------------------------------------

THEIR_ERRORS: dict[tuple[str, int, int], str] = {
    ("locking", 4, 0x2C): "'",
    ("locking", 5, 0x2C): "'",
    ("locking", 6, 0x2C): "'",
    ("locking", 7, 0x2C): "'",
    ("locking", 8, 0x2C): "'",
    ("locking", 9, 0x2C): "'",
    ("locking", 10, 0x2C): "'",
    ("locking", 11, 0x2C): "'",
    ("locking", 12, 0x2C): "'",
    ("locking", 13, 0x2C): "'",
    ("locking", 7, 0x24): "\u0caa",
    ("single", 12, 0x65): "",
}
"""(table, language, code) -> what gsmcodecs 1.0.0 has there: an apostrophe for a comma in ten tables, a
Kannada DDA for a PA, and Telugu's euro sign is missing. Android's tables agree with ours."""
OURS_THERE = {("locking", 7, 0x24): "\u0ca1", ("single", 12, 0x65): "€"}


@cache
def tables() -> dict[int, dict[str, Any]]:
    """gsmcodecs' tables by language."""
    charmaps = pytest.importorskip("gsmcodecs.charmaps", reason="needs gsmcodecs")
    found: dict[int, dict[str, Any]] = charmaps.GSMCHARMAPS
    assert set(found) == {0, *national.LANGUAGES}
    return found


def differences() -> dict[tuple[str, int, int], tuple[str, str]]:
    """(table, language, code) -> (ours, theirs), wherever the two decode one code differently."""
    found: dict[tuple[str, int, int], tuple[str, str]] = {}
    for language, theirs in tables().items():
        for code in set(range(128)) - {gsm7.ESCAPE}:
            if "locking" in theirs:
                own = gsm7.decode(bytes((code,)), locking=language).replace(REPLACEMENT, "")
                other = _character(theirs["locking"]["decode"], code)
                if own != other:
                    found["locking", language, code] = own, other
            # A code without a character behind the escape is shown as it is without it.
            own = gsm7.decode(bytes((gsm7.ESCAPE, code)), single=language)
            other = _character(theirs["singleShift"]["decode"], code)
            if own != (other or gsm7.BASIC[code]):
                found["single", language, code] = own, other
    return found


def _character(table: dict[int, int], code: int) -> str:
    return chr(table[code]) if code in table else ""


def test_national_tables_but_for_their_twelve_errors() -> None:
    found = differences()
    assert {place: theirs for place, (_, theirs) in found.items()} == THEIR_ERRORS
    assert {place: ours for place, (ours, _) in found.items()} == dict.fromkeys(
        THEIR_ERRORS, ","
    ) | OURS_THERE
    assert len(THEIR_ERRORS) == 12


def test_tables_and_decoder_say_the_same() -> None:
    """What was compared above is what the encoder uses."""
    for language in (0, *national.LANGUAGES):
        locking = national.LOCKING[language]
        assert len(locking) == 128
        for code in set(range(128)) - {gsm7.ESCAPE}:
            assert gsm7.decode(bytes((code,)), locking=language) == locking[code]
        for character, code in national.SINGLE[language].items():
            assert gsm7.decode(bytes((gsm7.ESCAPE, code)), single=language) == character


PAIRS = [(locking, single) for locking in (0, 1, *range(3, 14)) for single in range(14)]
TEXTS_EACH = 12


@pytest.mark.parametrize(("locking", "single"), PAIRS)
def test_each_reads_what_the_other_writes(locking: int, single: int) -> None:
    pytest.importorskip("gsmcodecs", reason="needs gsmcodecs")
    theirs = f"gsm23.038-{locking}-{single}"
    random = Random(locking * 14 + single)
    wrong = {
        character for place in THEIR_ERRORS for character in (THEIR_ERRORS[place], OURS_THERE.get(place, ","))
    }
    known = sorted({*national.LOCKING[locking], *national.SINGLE[single]} - {"\x1b", REPLACEMENT} - wrong)
    for _ in range(TEXTS_EACH):
        text = "".join(random.choices(known, k=random.randint(1, 200)))
        septets = national.encode(text, locking, single)
        assert septets is not None
        assert septets.decode(theirs) == text
        other = text.encode(theirs)
        assert gsm7.decode(other, locking, single) == text
        assert len(other) == len(septets)
    # And both refuse the same: a character of neither table.
    for character in ("日", "\u0400", "\x1b"):
        assert national.encode(character, locking, single) is None
        with pytest.raises(UnicodeEncodeError):
            character.encode(theirs)
