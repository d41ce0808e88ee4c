"""Packing of septets into octets (3GPP TS 23.038 section 6.1.2.1), behind a user data header or without one.

The first septet is in the lowest bits of the first octet; what is left of the last octet is zero. Behind a
header the text begins at the next multiple of seven bits: the bits skipped are the fill bits (TS 23.040
section 9.2.3.24). Three shifts of one long whole number do the work of a loop over septets.
"""

from __future__ import annotations

from typing import Final

_SEPTETS: Final = 160
"""Taken at once: what a message without a header holds, in 140 octets."""
_OCTETS: Final = 140


def _lanes(bits: int, every: int) -> int:
    """A mask over `_SEPTETS` octets: the lowest `bits` of each `every` bits."""
    return sum(((1 << bits) - 1) << at for at in range(0, 8 * _SEPTETS, every))


# Two septets in 16 bits move together to 14, two of these in 32 to 28, two of these in 64 to 56.
_LOW_7, _LOW_14, _LOW_28 = _lanes(7, 16), _lanes(14, 32), _lanes(28, 64)
_NEXT_7, _NEXT_14, _NEXT_28 = _LOW_7 << 7, _LOW_14 << 14, _LOW_28 << 28

_PADDING: Final = frozenset((0x00, 0x0D))


def fill_bits(header_octets: int) -> int:
    """Bits, 0 to 6, between a header (its length octet included) and the first septet."""
    return -8 * header_octets % 7


def pack(septets: bytes, fill_bits: int = 0) -> bytes:
    """One septet an octet (none above 0x7F) -> packed, behind `fill_bits` zero bits."""
    packed = b"".join([_pack(septets[at : at + _SEPTETS]) for at in range(0, len(septets), _SEPTETS)])
    octets = (7 * len(septets) + fill_bits + 7) // 8
    if fill_bits:
        packed = (int.from_bytes(packed, "little") << fill_bits).to_bytes(len(packed) + 1, "little")
    return packed[:octets]


def unpack(data: bytes, count: int | None = None, fill_bits: int = 0) -> bytes:
    """Packed octets -> one septet an octet, at most `count` of them (TP-UDL says how many).

    Without `count` it is as many as the octets hold; but seven last bits that hold what a packer leaves there
    are no character: zeros, which would show a phantom "@", or CR (TS 23.038 section 6.1.2.3.1). So an "@" or
    CR that is meant, and ends with the last octet, is lost without `count`.
    """
    held, spare = divmod(max(8 * len(data) - fill_bits, 0), 7)
    if fill_bits:
        data = (int.from_bytes(data, "little") >> fill_bits).to_bytes(len(data), "little")
    septets = b"".join([_unpack(data[at : at + _OCTETS]) for at in range(0, len(data), _OCTETS)])[:held]
    if count is not None:
        return septets[:count]
    return septets[:-1] if not spare and septets and septets[-1] in _PADDING else septets


def padded(septets: bytes, fill_bits: int = 0) -> bytes:
    """The septets with a CR added if packing would leave seven bits over.

    SMPP carries no TP-UDL: an SMSC that counts septets by the octets would take zeros there for an "@". A CR
    at the end shows nothing (TS 23.038 section 6.1.2.3.1, which says it for USSD and cell broadcast).
    """
    return septets + b"\r" if (7 * len(septets) + fill_bits) % 8 == 1 else septets


def _pack(septets: bytes) -> bytes:
    """Up to `_SEPTETS`, to seven octets for each begun eight."""
    number = int.from_bytes(septets, "little")
    number = number & _LOW_7 | number >> 1 & _NEXT_7
    number = number & _LOW_14 | number >> 2 & _NEXT_14
    number = number & _LOW_28 | number >> 4 & _NEXT_28
    octets = bytearray(number.to_bytes((len(septets) + 7) // 8 * 8, "little"))
    del octets[7::8]
    return bytes(octets)


def _unpack(data: bytes) -> bytes:
    """Up to `_OCTETS`, to eight septets for each begun seven."""
    groups = (len(data) + 6) // 7
    data = data.ljust(7 * groups, b"\0")
    octets = bytearray(8 * groups)
    for place in range(7):
        octets[place::8] = data[place::7]
    number = int.from_bytes(octets, "little")
    number = number & _LOW_28 | (number & _NEXT_28) << 4
    number = number & _LOW_14 | (number & _NEXT_14) << 2
    number = number & _LOW_7 | (number & _NEXT_7) << 1
    return number.to_bytes(8 * groups, "little")
