"""Text in another alphabet than its data_coding says: carriers that put UTF-16 under data_coding 0, plain
ASCII under 8, or UTF-16 with its octets exchanged.

Only strong evidence counts, because most texts are what they say they are, and a right one read wrongly is
worse than a wrong one shown as it came. What that is stands with each rule; a short text gives none.
"""

from __future__ import annotations

import re
from typing import Final

UTF16_UNITS_MIN: Final = 3
"""Units, not all alike, of a text in a small alphabet, whose first octets are all the same."""
EAST_ASIAN_UNITS_MIN: Final = 6
"""Units of a text in kana and Chinese characters, or Hangul, and pairs of letters in ASCII: each of them
happens once in four to once in ten by chance.
"""

# First octets of UTF-16 in small alphabets: Greek, Cyrillic, Hebrew, Arabic, the Indian ones, Thai.
_SCRIPTS: Final = frozenset({0x03, 0x04, 0x05, 0x06, *range(0x09, 0x0F)} - {0x0A, 0x0D})
_HANGUL: Final = range(0xAC, 0xD8)
_KANA: Final = 0x30
_SURROGATES: Final = frozenset(range(0xD8, 0xE0))
_SYMBOLS: Final = range(0x20, 0x28)
_EAST_ASIAN: Final = _SURROGATES.union({0x00, _KANA, 0xFF}, _SYMBOLS, range(0x4E, 0xA0), _HANGUL)

_plain_ascii = re.compile(rb"[\t\r\n -~]+").fullmatch
_ascii_words = re.compile(rb"[\r\nA-Za-z0-9 .,!?'\":/()@+-]+").fullmatch
_jis_pairs = re.compile(rb"(?:[!-~]{2})*").fullmatch

_SEVEN_OR_EIGHT_BITS: Final = frozenset({"gsm7", "ascii", "latin1"})


def alphabet_of(data: bytes, claimed: str) -> str:
    """The alphabet the octets are in: `claimed` unless they are strong evidence of another, and which of the
    Japanese encodings if that is what is claimed.
    """
    if claimed == "ucs2" or claimed in _SEVEN_OR_EIGHT_BITS:
        if found := _utf16(data):
            return found
        if claimed == "ucs2":
            return "ascii" if _is_ascii(data) else claimed
        return "utf-8" if claimed == "gsm7" and _is_utf8(data) else claimed
    if claimed in ("jis_x_0208", "jis_x_0212"):
        return _japanese(data, claimed)
    return claimed


def _utf16(data: bytes) -> str | None:
    """A byte order mark says it; otherwise one order of the octets must read as a known script."""
    even, odd = data[::2], data[1::2]
    if len(even) != len(odd):
        return None
    if data[:2] == b"\xfe\xff" or _is_script(even, odd):
        return "ucs2"
    return "utf-16-le" if data[:2] == b"\xff\xfe" or _is_script(odd, even) else None


def _is_script(high: bytes, low: bytes) -> bool:
    """Whether units of these first and second octets are a text in one script, beyond chance.

    As text of 7 or 8 bits it would have one and the same control character or accented letter in every second
    place (small alphabets), or octets no such text has (the East Asian ones).
    """
    pages = set(high)
    scripts = pages - {0} - _SURROGATES
    if (
        len(high) >= UTF16_UNITS_MIN
        and len(scripts) <= 1
        and _SCRIPTS.issuperset(scripts)
        and len(set(low)) > 1
    ):
        text = _text(high, low)
        return _is_printable(text) and (not scripts or _is_mostly(text.count(" ") + _letters(text), high))
    if (
        len(high) < EAST_ASIAN_UNITS_MIN
        or not _EAST_ASIAN.issuperset(pages)
        or (high.isascii() and low.isascii())
    ):
        return False
    hangul = sum(page in _HANGUL for page in high)
    return _is_mostly(max(hangul, high.count(_KANA)), high) and _is_printable(_text(high, low))


def _text(high: bytes, low: bytes) -> str:
    units = bytearray(2 * len(high))
    units[::2], units[1::2] = high, low
    return units.decode("utf-16-be", "replace")


def _letters(text: str) -> int:
    return sum(character.isalpha() for character in text)


def _is_mostly(count: int, of: bytes) -> bool:
    return 2 * count >= len(of)


def _is_printable(text: str) -> bool:
    """No control characters, nothing unassigned, nothing of private use."""
    return "\ufffd" not in text and all(one.isprintable() or one in "\t\r\n\xa0\u3000" for one in text)


def _is_ascii(data: bytes) -> bool:
    """Under data_coding 8. An odd number of octets cannot be UTF-16; an even one must be words.

    Chinese characters do consist of such octets (U+4F60 U+597D is "O`Y}"), kana are "0" and another.
    """
    if len(data) % 2:
        return _plain_ascii(data) is not None
    pairs = len(data) // 2 - data[::2].count(_KANA)
    return pairs >= EAST_ASIAN_UNITS_MIN and _ascii_words(data) is not None


def _is_utf8(data: bytes) -> bool:
    """Octets above 0x7F are none of the default alphabet's, and are UTF-8 by chance once in a long while."""
    if data.isascii():
        return False
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _japanese(data: bytes, claimed: str) -> str:
    """The standard's two octets a character, as they are or behind escape sequences, or what Japanese
    carriers use.
    """
    if b"\x1b" in data:
        return "iso2022_jp"
    if _jis_pairs(data):
        try:
            decode_jis(data, claimed, "strict")
        except UnicodeDecodeError:
            pass
        else:
            return claimed
    return "shift_jis"


def decode_jis(data: bytes, alphabet: str, errors: str = "replace") -> str:
    """Characters of two 7-bit octets each, of JIS X 0208 or of its supplement JIS X 0212."""
    raised = bytes(octet | 0x80 for octet in data)
    if alphabet == "jis_x_0212":
        raised = b"".join(b"\x8f" + raised[at : at + 2] for at in range(0, len(raised), 2))
    return raised.decode("euc_jp", errors)
