"""The GSM 7-bit default alphabet with its extension table (3GPP TS 23.038 sections 6.2.1 and 6.2.1.1).

Octets here are unpacked: one septet an octet, bit 8 clear, an extension character being 0x1B and a second
octet. That is what data_coding 0 carries to an SMSC that expects unpacked septets.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, Final

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


def decode(data: bytes) -> str:
    """Unpacked septets to text, as a handset would (TS 23.038 section 6.2.1.1); never fails.

    An unknown extension code shows the character of the default table, a doubled escape a space, a trailing
    escape nothing; an octet above 0x7F shows U+FFFD.
    """
    text = _charmap_decode(data, "strict", _DECODED)[0]
    return _escape_pairs(_unescape, text) if ESCAPE in data else text


def _unescape(pair: re.Match[str]) -> str:
    character = pair[1]
    return _EXTENDED.get(character, character)
