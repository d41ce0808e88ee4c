"""Texts in the national language tables of GSM 7-bit (3GPP TS 23.038 sections 6.2.1.2.1 to 6.2.1.2.4).

A message names up to two tables in its header: a locking shift table in place of the default alphabet, a
single shift table in place of the extension table (the characters behind an escape). Language 0 is no shift.
Which pair of tables takes a text in the fewest units is found by elimination: a pair is tried as a whole, and
the character at which it fails rules out every other pair without it, in one operation on a bit mask.
"""

from __future__ import annotations

import codecs
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from . import gsm7, national_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

LANGUAGES: Final = national_tables.LANGUAGES

LOCKING: Final[dict[int, str]] = {
    language: national_tables.LOCKING.get(language, gsm7.BASIC) for language in (0, *LANGUAGES)
}
"""Language -> its 128 characters in order of their codes; Spanish has the default alphabet.

"\\x1b" stands at the escape, U+FFFD where a code has no character.
"""

SINGLE: Final[dict[int, dict[str, int]]] = {0: gsm7.EXTENSION, **national_tables.SINGLE}
"""Language -> character -> the code that follows the escape."""

_ABSENT: Final = (national_tables.UNDEFINED, "\x1b")
"""No characters, though they stand in locking tables."""

_OWN_LOCKING: Final = tuple(national_tables.LOCKING)


class Pair(NamedTuple):
    """The tables of a message: languages of its locking and its single shift, 0 without."""

    locking: int
    single: int


# In the order of trying: of one locking table the single shift table of the same language first, and the
# default alphabet before what only it can rule out (see `candidates`). No pair is without a single shift
# table: each has the extension table's characters under the same codes, and a text that needs no others goes
# without.
_PAIRS: Final = (
    *(Pair(language, language) for language in _OWN_LOCKING),
    *(Pair(0, single) for single in LANGUAGES),
    *(Pair(locking, single) for locking in _OWN_LOCKING for single in LANGUAGES if locking != single),
)
_EXTENSION_OCTETS: Final = frozenset(0x80 | code for code in gsm7.EXTENSION.values())


def _mask(lockings: Collection[int], singles: Collection[int]) -> int:
    return sum(
        1 << place for place, pair in enumerate(_PAIRS) if pair.locking in lockings and pair.single in singles
    )


_BY_LOCKING: Final = [_mask((language,), SINGLE) for language in LOCKING]
_BY_SINGLE: Final = [_mask(LOCKING, (language,)) for language in LOCKING]


def _by_character() -> tuple[dict[str, int], dict[str, int]]:
    """Character -> the pairs that have it, and -> the pairs whose locking table has it, as bit masks."""
    either = dict[str, int]()
    locked = dict[str, int]()
    for language, table in LOCKING.items():
        for character in table:
            locked[character] = locked.get(character, 0) | _BY_LOCKING[language]
    for absent in _ABSENT:
        del locked[absent]
    either.update(locked)
    for language, codes in SINGLE.items():
        for character in codes:
            either[character] = either.get(character, 0) | _BY_SINGLE[language]
    return either, locked


_PAIRS_WITH, _LOCKED_WITH = _by_character()

NATIONAL: Final = frozenset(_PAIRS_WITH) - {*gsm7.BASIC, *gsm7.EXTENSION}
"""Characters that only national tables have."""

# As in gsm7: a text becomes one octet a character first, 0x80 + the code for one that needs an escape.
# CPython builds a fast trie only if octet 0 is U+0000; so what a locking table has at code 0 stands at
# 0x80 + ESCAPE, which no single shift table uses, and the two change places afterwards.
_CODE_0: Final = 0x80 | gsm7.ESCAPE
_LOW: Final = bytes(range(0x80))
_SEPTETS: Final = bytes((_CODE_0, *range(1, _CODE_0), 0, *range(_CODE_0 + 1, 256)))
"""Thus _CODE_0 stands for NUL, which no table has."""
_OCTET: Final = [bytes([octet]) for octet in range(256)]
_EXPANDED: Final = [bytes([gsm7.ESCAPE, octet & 0x7F]) for octet in range(256)]
_charmap_encode: Callable[[str, str, object], tuple[bytes, int]] = getattr(  # noqa: B009
    codecs, "charmap_encode"
)


@cache
def _charmap(locking: int, single: int) -> object:
    octets = ["\ufffe"] * 256
    table = LOCKING[locking]
    for code, character in enumerate(table):
        if code != gsm7.ESCAPE and character != national_tables.UNDEFINED:
            octets[code] = character
    for character, code in SINGLE[single].items():
        if character not in table:
            octets[0x80 | code] = character
    octets[0], octets[_CODE_0] = "\0", octets[0]
    return codecs.charmap_build("".join(octets))


def encode(text: str, locking: int, single: int) -> bytes | None:
    """The text in unpacked septets, escapes included; None if a character is in neither table.

    `locking` and `single` are languages, or 0. Raises KeyError for a number that is none.
    """
    try:
        octets = _charmap_encode(text, "strict", _charmap(locking, single))[0].translate(_SEPTETS)
    except UnicodeEncodeError:
        return None
    escaped = set(octets.translate(None, _LOW))
    return None if _CODE_0 in escaped else _expand(octets, escaped)


def measure(locking: int) -> Callable[[str], int]:
    """What counts the septets of a text that tables of this locking shift have."""
    table = LOCKING[locking]
    return lambda text: len(text) + sum(character not in table for character in text)


def _expand(octets: bytes, escaped: set[int]) -> bytes:
    for octet in escaped:
        octets = octets.replace(_OCTET[octet], _EXPANDED[octet])
    return octets


@cache
def pairs_of(languages: tuple[int, ...]) -> int:
    """What a carrier with these languages allows, as a mask for `candidates`."""
    allowed = (0, *languages)
    return _mask(allowed, allowed)


def pairs_locking(characters: Iterable[str]) -> int:
    """The pairs with a locking table that has one of these characters, as a mask for `candidates`."""
    mask = 0
    for character in characters:
        mask |= _LOCKED_WITH.get(character, 0)
    return mask


@cache
def characters_of(languages: tuple[int, ...]) -> frozenset[str]:
    """What GSM 7-bit has with the tables of these languages."""
    return frozenset(
        character
        for language in (0, *languages)
        for characters in (LOCKING[language], SINGLE[language])
        for character in characters
        if character not in _ABSENT
    )


def candidates(text: str, pairs: int) -> list[tuple[int, int, bytes]]:
    """The text, not empty, by each locking table of `pairs` that could be the best, with the simplest single
    shift table: (locking, single, septets).

    The number of septets depends on the locking table alone: a character that is not in it takes two. Left
    out is a locking table that needs as many as the default alphabet, which goes with the shorter header.
    """
    found: list[tuple[int, int, bytes]] = []
    # Two characters of the text are enough to rule out most.
    pairs &= _PAIRS_WITH.get(text[0], 0) & _PAIRS_WITH.get(text[len(text) // 2], 0)
    while pairs:
        locking, single = _PAIRS[(pairs & -pairs).bit_length() - 1]
        try:
            octets = _charmap_encode(text, "strict", _charmap(locking, single))[0].translate(_SEPTETS)
        except UnicodeEncodeError as error:
            pairs &= _PAIRS_WITH.get(text[error.start], 0)
            continue
        if octets.isascii():
            found.append((locking, 0, octets))
            break
        escaped = set(octets.translate(None, _LOW))
        if _CODE_0 in escaped:
            break
        septets = _expand(octets, escaped)
        found.append((locking, 0 if escaped <= _EXTENSION_OCTETS else single, septets))
        pairs &= ~_BY_LOCKING[locking]
        if not locking:
            pairs &= pairs_locking(text[octets.index(octet)] for octet in escaped)
    return found
