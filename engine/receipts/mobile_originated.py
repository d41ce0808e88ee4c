"""A message from a handset, as an app is told of it. Pure."""

from __future__ import annotations

from typing import Final

from ...codecs import inbound
from ...codecs.pdu import DataSm, DeliverSm, decode
from ..ledger.events import Told

TON_INTERNATIONAL: Final = 1


def read_message(
    frame: bytes, carrier: str, at_ms: int, default_alphabet: str = "gsm7", *, packed: bool = False
) -> Told:
    """The `received` event of a deliver_sm or data_sm from a handset; `default_alphabet` and `packed` as
    `inbound.read` takes them. Raises CodecError.

    A part of a long message is told as it comes; binary content as its octets in hexadecimal.
    """
    pdu = decode(frame)
    assert isinstance(pdu, DeliverSm | DataSm)  # the session hands over nothing else
    message = inbound.read(pdu, default_alphabet, packed=packed)
    text = message.text if message.text is not None else message.data.hex()
    sender = _address(message.source_addr, pdu.source_addr_ton)
    to = _address(message.destination_addr, pdu.dest_addr_ton)
    return Told("received", "", None, "", carrier, 1, 0, False, None, at_ms, sender, to, text)


def _address(address: str, ton: int) -> str:
    return f"+{address}" if ton == TON_INTERNATIONAL and not address.startswith("+") else address
