"""The GSM 7-bit default alphabet with its extension table (3GPP TS 23.038 sections 6.2.1 and 6.2.1.1).

Reading also goes by national language tables (6.2.1.2); writing with them is in `national`.

Octets here are unpacked: one septet an octet, bit 8 clear, an extension character being 0x1B and a second
octet. That is what data_coding 0 carries to an SMSC that expects unpacked septets.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, Final

from . import national_tables

if TYPE_CHECKING:
    from collections.abc import Callable

ESCAPE: Final = 0x1B

BASIC: Final = (
    "@£$¥èéùìòÇ\nØø\rÅå"
    "Δ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ"
    " !\"#¤%&'()*+,-./"
    "0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNO"
    "PQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmno"
    "pqrstuvwxyzäöñüà"
)
"""The default alphabet in order of its codes; 0x1B is the escape, no character."""

EXTENSION: Final[dict[str, int]] = {
    "\f": 0x0A,
    "^": 0x14,
    "{": 0x28,
    "}": 0x29,
    "\\": 0x2F,
    "[": 0x3C,
    "~": 0x3D,
    "]": 0x3E,
    "|": 0x40,
    "€": 0x65,
}
"""Characters of the extension table and the code that follows the escape."""

# A text is turned into one octet a character first: the septet, or 0x80 + the code in the extension table.
# Then `isascii()` is the question "no extension character?", answered at memory speed.
_NONE = 0xFF


def _latin1_table() -> bytes:
    table = bytearray([_NONE]) * 256
    for code, character in enumerate(BASIC):
        if code != ESCAPE and ord(character) < 256:
            table[ord(character)] = code
    for character, code in EXTENSION.items():
        if ord(character) < 256:
            table[ord(character)] = 0x80 | code
    return bytes(table)


def _charmap() -> tuple[object, bytes]:
    """A charmap for all characters, and the translation of its octets to septets.

    CPython builds a fast trie only if code 0 is U+0000 ("@" is ours), so "@" stands at 0x80 meanwhile.
    """
    decoding = ["\ufffe"] * 256
    after = bytearray(range(256))
    for code, character in enumerate(BASIC):
        if code != ESCAPE:
            decoding[code] = character
    for character, code in EXTENSION.items():
        decoding[0x80 | code] = character
    decoding[0], decoding[0x80] = "\0", "@"
    after[0], after[0x80] = _NONE, 0
    return codecs.charmap_build("".join(decoding)), bytes(after)


_BEYOND_LATIN1: Final = frozenset(character for character in (*BASIC, *EXTENSION) if ord(character) > 255)
LATIN1_TO_SEPTETS: Final = _latin1_table()
_CHARMAP, _AFTER_CHARMAP = _charmap()
_charmap_encode: Callable[[str, str, object], tuple[bytes, int]] = getattr(  # noqa: B009
    codecs, "charmap_encode"
)
# The type checkers' stubs know neither the trie nor a plain string as a map.
_charmap_decode: Callable[[bytes, str, str], tuple[str, int]] = getattr(codecs, "charmap_decode")  # noqa: B009
_ESCAPED: Final = tuple((bytes([0x80 | code]), bytes([ESCAPE, code])) for code in EXTENSION.values())
_DECODED: Final[str] = BASIC + "\ufffd" * 128
_EXTENDED: Final = {BASIC[code]: character for character, code in EXTENSION.items()} | {"\x1b": " "}
_escape_pairs = re.compile("\x1b(.?)", re.DOTALL).sub

# With national tables U+FFFD stands at many codes, so here a pair is looked up by its code.
_DECODED_DEFAULT: Final = _DECODED.replace("\x1b", " ")
_DECODED_NATIONAL: Final = {
    language: table.replace("\x1b", " ") + "\ufffd" * 128
    for language, table in national_tables.LOCKING.items()
}
_EXTENSION_CHARACTERS: Final = {code: character for character, code in EXTENSION.items()}
_escape_octets = re.compile(b"\x1b(.?)", re.DOTALL).finditer


def encode(text: str) -> bytes | None:
    """The text in unpacked septets, escapes included; None if a character is not in the alphabet."""
    try:
        octets = text.encode("latin-1").translate(LATIN1_TO_SEPTETS)
    except UnicodeEncodeError as error:
        # The first character beyond Latin-1 decides at once for a Japanese text; Greek capitals and € go on.
        if text[error.start] not in _BEYOND_LATIN1:
            return None
        try:
            octets = _charmap_encode(text, "strict", _CHARMAP)[0].translate(_AFTER_CHARMAP)
        except UnicodeEncodeError:
            return None
    if octets.isascii():
        return octets
    if _NONE in octets:
        return None
    for mark, pair in _ESCAPED:
        octets = octets.replace(mark, pair)
    return octets


def decode(data: bytes, locking: int = 0, single: int = 0) -> str:
    """Unpacked septets to text, as a handset would (TS 23.038 section 6.2.1.1); never fails.

    `locking` and `single` are the languages of the shift tables (annex A), 0 or one unknown: the default
    alphabet and its extension. An unknown extension code shows the character of the alphabet or locking shift
    table, a doubled escape a space, a trailing escape nothing; an octet above 0x7F, or a code for which a
    locking shift table has no character, shows U+FFFD.
    """
    if locking or single:
        return _decode_national(data, locking, single)
    text = _charmap_decode(data, "strict", _DECODED)[0]
    return _escape_pairs(_unescape, text) if ESCAPE in data else text


def _unescape(pair: re.Match[str]) -> str:
    character = pair[1]
    return _EXTENDED.get(character, character)


def _decode_national(data: bytes, locking: int, single: int) -> str:
    table = _DECODED_NATIONAL.get(locking, _DECODED_DEFAULT)
    characters = national_tables.SINGLE_CHARACTERS.get(single, _EXTENSION_CHARACTERS)
    shown: list[str] = []
    at = 0
    for pair in _escape_octets(data):
        shown.append(_charmap_decode(data[at : pair.start()], "strict", table)[0])
        shown += [characters.get(code, table[code]) for code in pair[1]]
        at = pair.end()
    shown.append(_charmap_decode(data[at:], "strict", table)[0])
    return "".join(shown)
