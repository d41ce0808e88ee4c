"""A subscriber's message (deliver_sm or data_sm, no receipt) -> text or data, and its place in a series.

Reading is tolerant, like `udh`: what a handset sent is shown as well as it can be, never refused. The parts
of a long message are put together in `reassembly`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from . import constants as c
from . import gsm7, septets, sniff, ucs2, udh
from .pdu import DataSm, DeliverSm

USER_DATA_OCTETS_MAX: Final = 140
"""TP-UD of one short message, header and all (3GPP TS 23.040 section 9.2.3.16)."""

_CODECS: Final = {
    "ascii": "latin-1",
    "latin1": "latin-1",
    "utf-8": "utf-8",
    "utf-16-le": "utf-16-le",
    "iso8859_5": "iso8859_5",
    "iso8859_8": "iso8859_8",
    "iso2022_jp": "iso2022_jp_ext",
    "shift_jis": "cp932",
    "ks_c_5601": "cp949",
}
"""Alphabet -> Python's codec: the wider one where senders take more than the standard has."""

ALPHABETS: Final = frozenset({*_CODECS, "gsm7", "ucs2", "jis_x_0208", "jis_x_0212", "binary"})

_BY_DATA_CODING: Final = {
    0x01: "ascii",
    0x03: "latin1",
    0x05: "jis_x_0208",
    0x06: "iso8859_5",
    0x07: "iso8859_8",
    0x08: "ucs2",
    0x0A: "iso2022_jp",
    0x0D: "jis_x_0212",
    0x0E: "ks_c_5601",
}
_GSM_ALPHABETS: Final = ("gsm7", "binary", "ucs2", "binary")
"""Bits 3 and 2 of a general data coding group (3GPP TS 23.038 section 4)."""
_PAIRS: Final = (bytes((gsm7.ESCAPE,)), b"\r\n")


class Inbound(msgspec.Struct, frozen=True):
    """What one PDU says. `text` is None if it is binary; `data` is the user data behind its header, octet by
    octet as it came, either way.

    `concat` tells which part of which message this is (None: it stands alone), `reference_bits` how wide its
    reference is. `claimed` is the alphabet data_coding names, `alphabet` the one the text was read in.
    `locking` and `single` are national tables; `packed` tells septets packed behind the header.
    `message_class` is 0 (flash) to 3, None if there is none.
    """

    source_addr: str
    destination_addr: str
    text: str | None
    data: bytes
    concat: udh.Concat | None = None
    reference_bits: int = 0
    data_coding: int = 0
    claimed: str = "gsm7"
    alphabet: str = "gsm7"
    header: bytes = b""
    locking: int = 0
    single: int = 0
    packed: bool = False
    ports: udh.Ports | None = None
    message_class: int | None = None

    @property
    def sniffed(self) -> bool:
        """Whether the octets were taken for something else than data_coding says."""
        return self.alphabet != self.claimed

    def __repr__(self) -> str:
        """Without text and addresses."""
        return f"Inbound(octets={len(self.data)}, alphabet={self.alphabet!r}, concat={self.concat})"


def read(message: DeliverSm | DataSm, default_alphabet: str = "gsm7", *, packed: bool = False) -> Inbound:
    """What a subscriber sent. `default_alphabet` (one of ALPHABETS) is what this SMSC means by data_coding 0;
    `packed`: its septets come packed, with fill bits behind a header.
    """
    data = message.message
    header = b""
    if message.esm_class & c.ESM_CLASS_UDHI:
        header, data = udh.strip(data)
    concat, bits = udh.concat_of(header), udh.reference_bits_of(header)
    if concat is None:
        concat = _sar(message)
        bits = 16 if concat else 0
    claimed = alphabet_of(message.data_coding, default_alphabet)
    found = Inbound(
        message.source_addr.decode("latin-1"),
        message.destination_addr.decode("latin-1"),
        None,
        data,
        concat,
        bits,
        message.data_coding,
        claimed,
        claimed,
        header,
        *(udh.shifts_of(header) if claimed == "gsm7" else (0, 0)),
        packed and claimed == "gsm7",
        udh.ports_of(header) or _ports(message),
        _message_class(message),
    )
    text, alphabet = decode(units(found), found)
    return msgspec.structs.replace(found, text=text, alphabet=alphabet)


def units(part: Inbound, following: bytes = b"") -> bytes:
    """The user data with packed septets unpacked, one an octet, so that parts can be joined; `following` is
    the same of the next part, if that is here.

    Octets cannot tell seven bits to spare from one more septet, a zero or CR. It is taken for padding where a
    message ends and in a part with room left. In a full part that others follow a zero is "@", unless the
    next begins with a pair that had to be kept whole, which is why there was room; a CR is padding (whatever
    had to be kept whole) unless its LF comes next.
    """
    if not part.packed:
        return part.data
    fill = septets.fill_bits(len(part.header))
    found = septets.unpack(part.data, None, fill)
    full = len(part.header) + len(part.data) == USER_DATA_OCTETS_MAX
    if not full or part.concat is None or part.concat.number == part.concat.total:
        return found
    whole = septets.unpack(part.data, 8 * len(part.data), fill)
    if whole[len(found) :] == b"\r":
        return whole if following[:1] == b"\n" else found
    return found if following.startswith(_PAIRS) else whole


def decode(octets: bytes, like: Inbound) -> tuple[str | None, str]:
    """(text, alphabet it was read in) of octets as `units` gives them, of one part or of joined ones like
    this one; (None, "binary") for data.
    """
    alphabet = like.claimed
    if not (like.packed or like.locking or like.single):
        alphabet = sniff.alphabet_of(octets, alphabet)
    if alphabet == "binary":
        return None, alphabet
    if alphabet == "gsm7":
        return gsm7.decode(octets, like.locking, like.single), alphabet
    if alphabet in ("jis_x_0208", "jis_x_0212"):
        return sniff.decode_jis(octets, alphabet), alphabet
    text = ucs2.decode(octets) if alphabet == "ucs2" else octets.decode(_CODECS[alphabet], "replace")
    return text.removeprefix("\ufeff"), alphabet


def alphabet_of(data_coding: int, default_alphabet: str = "gsm7") -> str:
    """One of ALPHABETS (SMPP 3.4 section 5.2.19).

    0x10-0x1F, 0x40-0x5F and 0xC0-0xFF are the GSM data coding scheme passed through (3GPP TS 23.038 section
    4): message class, automatic deletion, waiting indications. Octets (0x02, 0x04), pictograms (0x09),
    compressed text and what is reserved are binary.
    """
    if data_coding == c.DATA_CODING_DEFAULT:
        return default_alphabet
    if 0x10 <= data_coding <= 0x1F or 0x40 <= data_coding <= 0x5F:
        return _GSM_ALPHABETS[data_coding >> 2 & 3]
    if 0xC0 <= data_coding <= 0xDF or (data_coding >= 0xF0 and not data_coding & 0x04):
        return "gsm7"
    return "ucs2" if 0xE0 <= data_coding <= 0xEF else _BY_DATA_CODING.get(data_coding, "binary")


def _message_class(message: DeliverSm | DataSm) -> int | None:
    """Of the GSM data coding scheme passed through, else of dest_addr_subunit (5.3.2.1), whose 1 to 4 are the
    same in order.
    """
    data_coding = message.data_coding
    if data_coding & 0x90 == 0x10 or data_coding >= 0xF0:
        return data_coding & 3
    subunit = message.tlv_integer(c.TAG_DEST_ADDR_SUBUNIT)
    return subunit - 1 if subunit and subunit <= 4 else None


def _ports(message: DeliverSm | DataSm) -> udh.Ports | None:
    """source_port and destination_port (5.3.2.20 and 21), 0 for one that is not given."""
    source = message.tlv_integer(c.TAG_SOURCE_PORT)
    destination = message.tlv_integer(c.TAG_DEST_PORT)
    if source is None and destination is None:
        return None
    return udh.Ports((destination or 0) & 0xFFFF, (source or 0) & 0xFFFF, 16)


def _sar(message: DeliverSm | DataSm) -> udh.Concat | None:
    """The same from the sar_* parameters (5.3.2.22 to 24), which an SMSC may write instead of a header."""
    numbers = [
        message.tlv_integer(tag)
        for tag in (c.TAG_SAR_MSG_REF_NUM, c.TAG_SAR_TOTAL_SEGMENTS, c.TAG_SAR_SEGMENT_SEQNUM)
    ]
    reference, total, number = (-1 if found is None else found for found in numbers)
    return udh.Concat(reference, total, number) if reference >= 0 and 1 <= number <= total <= 255 else None
