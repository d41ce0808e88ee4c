"""The session's few octets of its own, and its fastest loop; the rest of SMPP is in codecs."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, Final

from ...codecs import constants as c
from ...codecs.pdu import BindReceiver, BindTransceiver, BindTransmitter, encode
from .events import ResponseItem
from .settings import SessionConfig

pack_header: Final = Struct(">4I").pack
_unpack_length: Final = Struct(">I").unpack_from
_unpack_tlv: Final = Struct(">HH").unpack_from

MISSING: Final[Any] = object()
_SUBMIT_SM_RESP: Final = c.SUBMIT_SM_RESP
_RUN_OCTETS_MIN: Final = c.HEADER_OCTETS + 2
RESPONSE_OCTETS_MAX: Final = c.HEADER_OCTETS + c.MESSAGE_ID_OCTETS_MAX + 1
"""A submit_sm_resp with the longest message_id and no optional parameters."""

# One Struct for each length: header, message_id, its NUL as a number.
_RUNS: Final = {
    length: Struct(f">4I{length - c.HEADER_OCTETS - 1}sB")
    for length in range(_RUN_OCTETS_MIN, RESPONSE_OCTETS_MAX + 1)
}

_BINDS: Final[dict[str, type[BindTransceiver] | type[BindTransmitter] | type[BindReceiver]]] = {
    "transceiver": BindTransceiver,
    "transmitter": BindTransmitter,
    "receiver": BindReceiver,
}


def match_run(data: bytes, pop: Callable[[int, Any], Any], responses: list[ResponseItem]) -> int:
    """Match the run of submit_sm_resp at the front of `data` that are all of one length, ESME_ROK,
    well-formed and ours; returns the octets dealt with.

    A loaded SMSC sends little else, and such a run is cut by one C loop: a third of the time that framing
    each takes. What breaks the run, and everything behind it, is left to `codecs.framing.split`. Each
    length is compared, so a run never leaves the frames.
    """
    length: int = _unpack_length(data)[0]
    run = _RUNS.get(length)
    # Two PDUs of the same length and command_id, or it is not worth the while.
    if run is None or data[:8] != data[length : length + 8]:
        return 0
    whole = len(data) // length
    append = responses.append
    before = len(responses)
    for command_length, command_id, command_status, sequence_number, message_id, nul in run.iter_unpack(
        memoryview(data)[: whole * length]
    ):
        if (
            command_length != length
            or command_id != _SUBMIT_SM_RESP
            or command_status
            or nul
            or 0 in message_id
        ):
            break
        token = pop(sequence_number, MISSING)
        if token is MISSING:
            break
        append((token, command_id, command_status, message_id, sequence_number))
    return (len(responses) - before) * length


def bind_pdu(config: SessionConfig, sequence_number: int) -> bytes:
    """bind_transceiver, bind_transmitter or bind_receiver (SMPP 3.4 section 4.1)."""
    pdu = _BINDS[config.bind](
        system_id=config.system_id.encode("ascii"),
        password=config.password.encode("ascii"),
        system_type=config.system_type.encode("ascii"),
        interface_version=config.interface_version,
        addr_ton=config.addr_ton,
        addr_npi=config.addr_npi,
        address_range=config.address_range.encode("ascii"),
    )
    return encode(pdu, sequence_number)


def find_tlv(frame: bytes, at: int, tag: int) -> bytes | None:
    """The value of the first optional parameter with this tag; None also where their stream is broken.

    More forgiving than `codecs.pdu.decode`: a response is used even when what follows its body is junk.
    """
    for _ in range(c.TLVS_MAX):
        if at + 4 > len(frame):
            return None
        found, length = _unpack_tlv(frame, at)
        at += 4 + length
        if at > len(frame):
            return None
        if found == tag:
            return frame[at - length : at]
    return None
