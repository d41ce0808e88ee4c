"""User data header (3GPP TS 23.040 section 9.2.3.24): building and reading its information elements.

Reading is tolerant: a header that does not fit, or an element that breaks its own rules, is no header or no
element; never an error, because it arrives from handsets through networks that change it. Of an element that
may stand only once the last valid one counts.
"""

from __future__ import annotations

from typing import Final, NamedTuple

# --- information element identifiers, in the order of the table in section 9.2.3.24 -----------------------

IEI_CONCAT_8: Final = 0x00
IEI_SPECIAL_MESSAGE_INDICATION: Final = 0x01
IEI_PORTS_8: Final = 0x04
IEI_PORTS_16: Final = 0x05
IEI_SMSC_CONTROL_PARAMETERS: Final = 0x06
IEI_UDH_SOURCE_INDICATOR: Final = 0x07
IEI_CONCAT_16: Final = 0x08
IEI_WIRELESS_CONTROL_MESSAGE_PROTOCOL: Final = 0x09
IEI_TEXT_FORMATTING: Final = 0x0A
IEI_PREDEFINED_SOUND: Final = 0x0B
IEI_USER_DEFINED_SOUND: Final = 0x0C
IEI_PREDEFINED_ANIMATION: Final = 0x0D
IEI_LARGE_ANIMATION: Final = 0x0E
IEI_SMALL_ANIMATION: Final = 0x0F
IEI_LARGE_PICTURE: Final = 0x10
IEI_SMALL_PICTURE: Final = 0x11
IEI_VARIABLE_PICTURE: Final = 0x12
IEI_USER_PROMPT_INDICATOR: Final = 0x13
IEI_EXTENDED_OBJECT: Final = 0x14
IEI_REUSED_EXTENDED_OBJECT: Final = 0x15
IEI_COMPRESSION_CONTROL: Final = 0x16
IEI_OBJECT_DISTRIBUTION_INDICATOR: Final = 0x17
IEI_STANDARD_WVG_OBJECT: Final = 0x18
IEI_CHARACTER_SIZE_WVG_OBJECT: Final = 0x19
IEI_EXTENDED_OBJECT_DATA_REQUEST: Final = 0x1A
IEI_EMAIL_HEADER: Final = 0x20
IEI_HYPERLINK_FORMAT: Final = 0x21
IEI_REPLY_ADDRESS: Final = 0x22
IEI_ENHANCED_VOICE_MAIL_INFORMATION: Final = 0x23
IEI_NATIONAL_SINGLE_SHIFT: Final = 0x24
IEI_NATIONAL_LOCKING_SHIFT: Final = 0x25

IEI_NAMES: Final[dict[int, str]] = {
    value: name.removeprefix("IEI_").lower() for name, value in list(globals().items()) if name[:4] == "IEI_"
} | {
    iei: kind
    for kind, first, last in (
        ("usim_toolkit_security", 0x70, 0x7F),
        ("sme_to_sme_specific", 0x80, 0x9F),
        ("sc_specific", 0xC0, 0xDF),
    )
    for iei in range(first, last + 1)
}
"""For a person; what is not here is reserved (0x02, 0x1B-0x1F, 0x26-0x6F, 0xA0-0xBF, 0xE0-0xFF) or must not
be used (0x03: it would be misread as a line feed).
"""

LANGUAGE_IDS: Final = range(1, 14)
"""National languages of TS 23.038 section 6.2.1.2.4; others are reserved."""

CONCAT_8_OCTETS: Final = 6
CONCAT_16_OCTETS: Final = 7


class Concat(NamedTuple):
    """Which part of which message: `number` is 1 to `total`, `total` 1 to 255."""

    reference: int
    total: int
    number: int


class Ports(NamedTuple):
    """Application ports, each of `bits` 8 or 16 (sections 9.2.3.24.3 and 4)."""

    destination: int
    source: int
    bits: int

    @property
    def element(self) -> tuple[int, bytes]:
        """What goes into `build`. Raises ValueError for a port beyond its bits."""
        return (ports8 if self.bits == 8 else ports16)(self.destination, self.source)


def build(elements: list[tuple[int, bytes]]) -> bytes:
    """A header with its length octet, of (element id, value); b"" of none. Raises ValueError if it, or an
    element, does not fit into 255 octets.
    """
    body = b"".join([bytes((iei, len(value))) + value for iei, value in elements])
    return bytes((len(body),)) + body if body else b""


def ports8(destination: int, source: int) -> tuple[int, bytes]:
    """The element of two 8-bit ports (240 to 255 are for applications). Raises ValueError beyond 0-255."""
    return IEI_PORTS_8, bytes((destination, source))


def ports16(destination: int, source: int) -> tuple[int, bytes]:
    """The element of two 16-bit ports. Raises ValueError beyond 0-65535."""
    return IEI_PORTS_16, bytes((destination >> 8, destination & 0xFF, source >> 8, source & 0xFF))


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
    found = _concat(header)
    return found[0] if found else None


def reference_bits_of(header: bytes) -> int:
    """Width of the reference `concat_of` gives, 8 or 16 (the two number apart); 0 if it gives none."""
    found = _concat(header)
    return found[1] if found else 0


def _concat(header: bytes) -> tuple[Concat, int] | None:
    found: tuple[Concat, int] | None = None
    for iei, value in elements(header):
        if iei == IEI_CONCAT_8 and len(value) == 3:
            concat, bits = Concat(value[0], value[1], value[2]), 8
        elif iei == IEI_CONCAT_16 and len(value) == 4:
            concat, bits = Concat(value[0] << 8 | value[1], value[2], value[3]), 16
        else:
            continue
        if 1 <= concat.number <= concat.total:
            found = concat, bits
    return found


def shifts_of(header: bytes) -> tuple[int, int]:
    """(locking, single): language ids of the national tables this part is written in (9.2.3.24.15 and 16).

    0 is the default alphabet: there is no such element, or none with a language we know. Language 2 (Spanish)
    has no locking table of its own.
    """
    locking = single = 0
    for iei, value in elements(header):
        if len(value) == 1 and value[0] in LANGUAGE_IDS:
            if iei == IEI_NATIONAL_LOCKING_SHIFT:
                locking = value[0]
            elif iei == IEI_NATIONAL_SINGLE_SHIFT:
                single = value[0]
    return locking, single


def ports_of(header: bytes) -> Ports | None:
    """The application ports (the last valid element wins, of either width), or None.

    Ports that the standard reserves are given too: whoever listens on one knows why.
    """
    found: Ports | None = None
    for iei, value in elements(header):
        if iei == IEI_PORTS_8 and len(value) == 2:
            found = Ports(value[0], value[1], 8)
        elif iei == IEI_PORTS_16 and len(value) == 4:
            found = Ports(value[0] << 8 | value[1], value[2] << 8 | value[3], 16)
    return found
