"""A subscriber's message (deliver_sm or data_sm, no receipt) -> text or data, and its place in a series.

Reading is tolerant, like `udh`: what a handset sent is shown as well as it can be, never refused.
"""

from __future__ import annotations

import msgspec

from . import constants as c
from . import gsm7, ucs2, udh
from .pdu import DataSm, DeliverSm


class Inbound(msgspec.Struct, frozen=True):
    """`text` is None if data_coding says binary; `data` is the user data without its header either way.

    `concat` tells which part of which message this is, None if it stands alone.
    """

    source_addr: str
    destination_addr: str
    text: str | None
    data: bytes
    concat: udh.Concat | None

    def __repr__(self) -> str:
        """Without text and addresses."""
        return f"Inbound(octets={len(self.data)}, concat={self.concat})"


def read(message: DeliverSm | DataSm, default_alphabet: str = "gsm7") -> Inbound:
    """What a subscriber sent; `default_alphabet` (gsm7, latin1) is what this SMSC means by 0."""
    data = message.message
    concat = _sar(message)
    if message.esm_class & c.ESM_CLASS_UDHI:
        header, data = udh.strip(data)
        concat = udh.concat_of(header) or concat
    alphabet = alphabet_of(message.data_coding, default_alphabet)
    return Inbound(
        message.source_addr.decode("latin-1"),
        message.destination_addr.decode("latin-1"),
        None if alphabet == "binary" else _text(data, alphabet),
        data,
        concat,
    )


def alphabet_of(data_coding: int, default_alphabet: str = "gsm7") -> str:
    """One of "gsm7", "latin1", "ucs2", "binary" (SMPP 3.4 section 5.2.19).

    0x10-0x1F and 0xC0-0xFF are the GSM data coding scheme passed through (3GPP TS 23.038 section 4): message
    class, waiting indications. Alphabets without a decoder (JIS, Cyrillic, Hebrew, KS C 5601) are binary.
    """
    if data_coding == c.DATA_CODING_DEFAULT:
        return default_alphabet
    if data_coding in (c.DATA_CODING_ASCII, c.DATA_CODING_LATIN1):
        return "latin1"
    if data_coding == c.DATA_CODING_UCS2 or 0xE0 <= data_coding <= 0xEF:
        return "ucs2"
    if 0x10 <= data_coding <= 0x1F:
        return {0x00: "gsm7", 0x08: "ucs2"}.get(data_coding & 0x0C, "binary")
    if 0xC0 <= data_coding <= 0xDF or (data_coding >= 0xF0 and not data_coding & 0x04):
        return "gsm7"
    return "binary"


def _text(data: bytes, alphabet: str) -> str:
    if alphabet == "gsm7":
        return gsm7.decode(data)
    return ucs2.decode(data) if alphabet == "ucs2" else data.decode("latin-1")


def _sar(message: DeliverSm | DataSm) -> udh.Concat | None:
    """The same from the sar_* parameters (5.3.2.22 to 24), which an SMSC may write instead of a header."""
    numbers = [
        message.tlv_integer(tag)
        for tag in (c.TAG_SAR_MSG_REF_NUM, c.TAG_SAR_TOTAL_SEGMENTS, c.TAG_SAR_SEGMENT_SEQNUM)
    ]
    reference, total, number = (-1 if found is None else found for found in numbers)
    return udh.Concat(reference, total, number) if reference >= 0 and 1 <= number <= total <= 255 else None
