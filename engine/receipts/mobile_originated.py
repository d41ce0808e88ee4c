"""A message from a handset, as an app is told of it. Pure."""

from __future__ import annotations

from ...codecs import gsm7, ucs2, udh
from ...codecs import constants as c
from ...codecs.pdu import DataSm, DeliverSm, decode
from ..ledger.events import Told

DCS_UCS2 = 0x08
DCS_LATIN_1 = 0x03
DCS_IA5 = 0x01
DCS_OCTETS = (0x02, 0x04)


def read_message(frame: bytes, carrier: str, at_ms: int) -> Told:
    """The `received` event of a deliver_sm or data_sm from a handset. Raises CodecError.

    A part of a long message is told as it comes.
    """
    pdu = decode(frame)
    assert isinstance(pdu, DeliverSm | DataSm)  # the session hands over nothing else
    data = pdu.message
    if pdu.esm_class & c.ESM_CLASS_UDHI:
        _, data = udh.strip(data)
    return Told(
        "received",
        "",
        None,
        "",
        carrier,
        1,
        0,
        False,
        None,
        at_ms,
        _address(pdu.source_addr, pdu.source_addr_ton),
        _address(pdu.destination_addr, pdu.dest_addr_ton),
        text_of(data, pdu.data_coding),
    )


def text_of(data: bytes, data_coding: int) -> str:
    """What a subscriber wrote, by data_coding (SMPP 3.4 section 5.2.19); octets that are none become U+FFFD."""
    if data_coding == DCS_UCS2 or (data_coding & 0xEC) == 0x08 and data_coding >= 0x10:
        return ucs2.decode(data)
    if data_coding in DCS_OCTETS or data_coding == DCS_LATIN_1:
        return data.decode("latin-1")
    if data_coding == DCS_IA5:
        return data.decode("ascii", "replace")
    return gsm7.decode(data)


def _address(address: bytes, ton: int) -> str:
    digits = address.decode("latin-1")
    return f"+{digits}" if ton == 1 and not digits.startswith("+") else digits
