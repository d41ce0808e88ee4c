"""Encoded text -> its parts, none above a limit: full, and cut only where it may be cut.

Not torn are an escape pair, a surrogate pair, and a grapheme cluster (UAX 29: what a person sees as one
character) that fits one part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import regex  # type: ignore[import-untyped,unused-ignore]

_ESCAPE: Final = 0x1B
_ESCAPE_OCTET: Final = b"\x1b"


def octets(text: str, data: bytes, limit: int, alphabet: str) -> list[bytes]:
    """One octet a unit, `data` for `text` ("" for binary); `limit` is at least 2. Kept together are an escape
    and what follows it in "gsm7", and CR LF, the only cluster of more than one character, in a text.
    """
    # Of a text every octet beyond its characters is an escape.
    escape = _ESCAPE if alphabet == "gsm7" and len(data) != len(text) else -1
    lines = "\r" in text
    if escape < 0 and not lines:
        return [data[at : at + limit] for at in range(0, len(data), limit)]
    parts: list[bytes] = []
    at = 0
    while at < len(data):
        end = at + limit
        if end < len(data) and (
            data[end - 1] == escape or (lines and data[end - 1] == 13 and data[end] == 10)
        ):
            end -= 1
        parts.append(data[at:end])
        at = end
    return parts


def septets(text: str, data: bytes, limit: int, units: Callable[[str], int]) -> list[bytes]:
    """Septets of national language tables, `data` for `text`; `units` measures a piece of the text. An escape
    pair is two units of the `limit`, which is at least 2.
    """
    parts: list[bytes] = []
    at = index = 0
    while at < len(data):
        end = at + limit
        if end < len(data):
            if data[end - 1] == _ESCAPE:
                end -= 1
            cut = index + end - at - data.count(_ESCAPE_OCTET, at, end)
            index = boundary(text, index, cut, limit, units)
            for _ in range(cut - index):
                end -= 2 if data[end - 2] == _ESCAPE else 1
        parts.append(data[at:end])
        at = end
    return parts


def utf16(text: str, data: bytes, limit: int) -> list[bytes]:
    """UTF-16 octets, big-endian; `limit` in units of two octets, at least 2."""
    if len(data) == 2 * len(text):
        # No surrogate pair: a unit is a character, and most often no cut needs a closer look.
        for at in range(limit, len(text), limit):
            if text[at] in JOINING or text[at - 1] in JOINING:
                break
        else:
            step = limit * 2
            return [data[at : at + step] for at in range(0, len(data), step)]
    parts: list[bytes] = []
    at = index = 0
    while at < len(data):
        end = at + limit * 2
        if end < len(data):
            if 0xD8 <= data[end - 2] <= 0xDB:
                end -= 2
            cut = index + len(data[at:end].decode("utf-16-be"))
            index = boundary(text, index, cut, limit, _utf16_units)
            end -= 2 * _utf16_units(text[index:cut])
        parts.append(data[at:end])
        at = end
    return parts


def _utf16_units(text: str) -> int:
    return len(text.encode("utf-16-be")) >> 1


def _joining() -> frozenset[str]:
    member = regex.compile(
        r"[\r\p{GCB=Extend}\p{GCB=ZWJ}\p{GCB=SpacingMark}\p{GCB=Prepend}\p{GCB=Regional_Indicator}"
        r"\p{GCB=L}\p{GCB=V}\p{GCB=T}]"
    )
    return frozenset(member.findall("".join(map(chr, range(0x10000)))))


JOINING: Final = _joining()
"""Code points of the BMP that can make one cluster with a neighbour.

A cut between two code points of which neither is in this set nor above the BMP is between two clusters; so
whether a cut is safe costs two look-ups, and only the text around one that is not gets segmented.
"""

_clusters = regex.compile(r"\X").finditer


def boundary(text: str, begin: int, cut: int, limit: int, units: Callable[[str], int]) -> int:
    """Where a part that begins at `begin` ends, if `cut` is how far its units reach: at `cut`, or before the
    cluster that would be torn there. One of more units than `limit` fits no part and is torn.

    `text` goes on beyond `cut`, which is above `begin`, and so is the result. A character is at most two
    units.
    """
    start = cut
    while start > begin and not (_stands_alone(text[start - 1]) and _stands_alone(text[start])):
        start -= 1
    if start == cut:
        return cut
    # Far enough to see that a cluster is too long.
    torn = next(cluster for cluster in _clusters(text, start, cut + limit + 1) if cluster.end() > cut)
    start, end = torn.span()
    fits = 2 * (end - start) <= limit or units(text[start:end]) <= limit
    return start if fits and start > begin else cut


def _stands_alone(character: str) -> bool:
    return character <= "\uffff" and character not in JOINING
