"""User data header (3GPP TS 23.040 section 9.2.3.24): the concatenation elements 0x00 and 0x08.

Reading is tolerant: a header that does not fit, or an element that breaks its own rules, is no header or no
element; never an error, because it arrives from handsets through networks that change it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

IEI_CONCAT_8: Final = 0x00
IEI_PORTS_16: Final = 0x05
IEI_CONCAT_16: Final = 0x08

CONCAT_8_OCTETS: Final = 6
CONCAT_16_OCTETS: Final = 7


class Concat(NamedTuple):
    """Which part of which message: `number` is 1 to `total`, `total` 1 to 255."""

    reference: int
    total: int
    number: int


def concat8(reference: int, total: int, number: int) -> bytes:
    """UDH with an 8-bit reference (its low 8 bits are taken), 6 octets. Raises ValueError outside 1-255
    parts.
    """
    return bytes((5, IEI_CONCAT_8, 3, reference & 0xFF, total, number))


def concat16(reference: int, total: int, number: int) -> bytes:
    """UDH with a 16-bit reference (its low 16 bits are taken), 7 octets. Raises ValueError outside 1-255
    parts.
    """
    return bytes((6, IEI_CONCAT_16, 4, reference >> 8 & 0xFF, reference & 0xFF, total, number))


def strip(data: bytes) -> tuple[bytes, bytes]:
    """(header with its length octet, the rest); (b"", data) if the claimed header does not fit."""
    if not data or data[0] >= len(data):
        return b"", data
    after = data[0] + 1
    return data[:after], data[after:]


def elements(header: bytes) -> list[tuple[int, bytes]]:
    """(element id, value) in order, of a header as `strip` returns it; stops at the first that overruns."""
    found: list[tuple[int, bytes]] = []
    at = 1
    while at + 2 <= len(header):
        after = at + 2 + header[at + 1]
        if after > len(header):
            break
        found.append((header[at], header[at + 2 : after]))
        at = after
    return found


def concat_of(header: bytes) -> Concat | None:
    """The concatenation element (the last valid one wins), or None.

    An element whose number is 0 or above its total is to be ignored (TS 23.040 section 9.2.3.24.1).
    """
    found: Concat | None = None
    for iei, value in elements(header):
        if iei == IEI_CONCAT_8 and len(value) == 3:
            concat = Concat(value[0], value[1], value[2])
        elif iei == IEI_CONCAT_16 and len(value) == 4:
            concat = Concat(value[0] << 8 | value[1], value[2], value[3])
        else:
            continue
        if 1 <= concat.number <= concat.total:
            found = concat
    return found
