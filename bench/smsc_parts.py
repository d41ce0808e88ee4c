"""submit_sm and data_sm frames as the simulated SMSC reads them.

The usual submit_sm is read by one regular expression; whatever it does not cover goes through the complete
decoder of `codecs.pdu`, with the same result (a property holds the two equal).
"""

from __future__ import annotations

import re

from ..codecs.constants import (
    ESM_CLASS_UDHI,
    ESME_RINVDSTADR,
    ESME_RINVESMCLASS,
    TAG_MESSAGE_PAYLOAD,
)
from ..codecs.errors import Frame, PduError
from ..codecs.pdu import DataSm, SubmitSm, decode

Fields = tuple[bytes, bytes, bytes, bytes, bytes, bytes]
"""service_type NUL, source, destination (ton, npi, digits NUL), esm_class, registered_delivery,
data_coding."""

Part = tuple[int, bytes, Fields]
"""(sequence_number, payload: short_message and TLVs as on the wire, fields)."""

_usual = re.compile(
    rb".{16}([^\0]{0,5}\0)(..[^\0]{0,20}\0)(..[^\0]{1,20}\0)(.)..(?:\0|[^\0]{16}\0)(?:\0|[^\0]{16}\0)(.).(.)..",
    re.DOTALL,
).match


def read_submits(frames: list[Frame]) -> tuple[list[Part], list[tuple[int, int]]]:
    """(parts, refusals as (sequence_number, command_status)) of a batch of submit_sm frames."""
    parts: list[Part] = []
    refused: list[tuple[int, int]] = []
    append = parts.append
    for _, _, sequence_number, frame in frames:
        usual = _usual(frame)
        if usual is not None:
            end = usual.end()
            if frame[end - 1] == len(frame) - end:
                append((sequence_number, frame[end:], usual.groups()))  # type: ignore[arg-type]  # as many as Fields has
                continue
        try:
            append(read_submit(frame))
        except PduError as error:
            refused.append((sequence_number, error.command_status))
    return parts, refused


def read_submit(frame: bytes) -> Part:
    """One submit_sm through the complete decoder. Raises `PduError`."""
    pdu = decode(frame)
    assert isinstance(pdu, SubmitSm)
    return _part(pdu, "submit_sm", pdu.short_message)


def read_data(frame: bytes) -> Part:
    """One data_sm, as a part whose payload is its TLVs. Raises `PduError`."""
    pdu = decode(frame)
    assert isinstance(pdu, DataSm)
    return _part(pdu, "data_sm", b"")


def _part(pdu: SubmitSm | DataSm, name: str, short_message: bytes) -> Part:
    if not pdu.destination_addr:
        raise PduError(name, "destination_addr", "1 to 20 octets", ESME_RINVDSTADR, pdu.sequence_number)
    if pdu.esm_class & ESM_CLASS_UDHI and not (short_message or _payload(pdu)):
        raise PduError(name, "esm_class", "a header needs octets", ESME_RINVESMCLASS, pdu.sequence_number)
    tlvs = b"".join(tag.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value for tag, value in pdu.tlvs)
    return (
        pdu.sequence_number,
        short_message + tlvs,
        (
            pdu.service_type + b"\0",
            bytes((pdu.source_addr_ton, pdu.source_addr_npi)) + pdu.source_addr + b"\0",
            bytes((pdu.dest_addr_ton, pdu.dest_addr_npi)) + pdu.destination_addr + b"\0",
            bytes((pdu.esm_class,)),
            bytes((pdu.registered_delivery,)),
            bytes((pdu.data_coding,)),
        ),
    )


def _payload(pdu: SubmitSm | DataSm) -> bytes:
    return next((value for tag, value in pdu.tlvs if tag == TAG_MESSAGE_PAYLOAD), b"")
