"""How a simulated message is known again at the SMSC: its number stands in its text, over and over.

Pure. The mark is `m000123;`. A full part of the smallest kind (UCS-2 with a header) holds seven marks, so
however a carrier cuts a text, parts name their message without any of the engine's books.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from zlib import crc32

NUMBERS_MAX: Final = 1_000_000
DATA_CODING_UCS2: Final = 8
ESM_CLASS_UDHI: Final = 0x40
JAPANESE: Final = "お荷物のお届け予定をお知らせいたします。"

_mark = re.compile(r"m(\d{6});").search
_sar_reference = re.compile(rb"\x02\x0c\x00\x02(..)", re.DOTALL).search
_sar_parts = re.compile(rb"\x02\x0e\x00\x01(.)", re.DOTALL).search
_sar_part = re.compile(rb"\x02\x0f\x00\x01(.)", re.DOTALL).search


class Mark(NamedTuple):
    """What a part says of itself: message number, part (0 = first), of how many, checksum of its octets."""

    number: int
    part: int
    parts: int
    payload_crc: int


def text_of(number: int, characters: int, *, japanese: bool) -> str:
    """A text of about so many characters that is marked throughout."""
    mark = f"m{number:06d};"
    if japanese:
        # The opening makes the whole text UCS-2; it is short enough to leave a mark in the first part.
        return (JAPANESE[: max(1, min(20, characters - 8))] + mark * (characters // 8 + 1))[
            : max(9, characters)
        ]
    return (mark * (characters // 8 + 1))[: max(8, characters)]


def data_of(number: int, octets: int) -> bytes:
    """Binary content that is marked throughout."""
    return (f"m{number:06d};".encode() * (octets // 8 + 1))[: max(8, octets)]


class MarkReader:
    """Reads marks. A last part may be too short for one: its siblings, of the same reference, name it."""

    def __init__(self) -> None:
        self._by_reference: dict[tuple[bytes, bytes, int], int] = {}

    def read(self, esm_class: int, data_coding: int, destination: bytes, payload: bytes) -> Mark | None:
        """The mark of a part by its short_message and TLVs as on the wire; None: none of ours."""
        payload_crc = crc32(payload)
        part, parts, reference = 0, 1, b""
        if esm_class & ESM_CLASS_UDHI and payload:
            header = payload[1 : 1 + payload[0]]
            payload = payload[1 + payload[0] :]
            if header[:1] in (b"\0", b"\x08") and len(header) >= 5:
                parts, part, reference = header[-2], header[-1] - 1, header[2:-2]
        else:
            found, total, number = _sar_part(payload), _sar_parts(payload), _sar_reference(payload)
            if found is not None and total is not None and number is not None:
                part, parts, reference = found[1][0] - 1, total[1][0], number[1]
        key = (destination, reference, parts)
        text = payload.decode("utf-16-be" if data_coding == DATA_CODING_UCS2 else "latin-1", "ignore")
        mark = _mark(text)
        if mark is not None:
            self._by_reference[key] = int(mark[1])
        elif key not in self._by_reference:
            return None
        return Mark(self._by_reference[key], part, parts, payload_crc)
