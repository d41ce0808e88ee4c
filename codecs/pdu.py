"""The complete codec between the PDUs (`structs`) and octets, for every command of SMPP 3.4.

`fast` does the common shapes in a fraction of the time; what it does not cover comes here, and a property
holds the two equal. Layouts are data (`fields`): one expression compiled from each reads the good PDUs, a
cursor over the same data finds out what is wrong with the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from struct import Struct
from typing import Any, NamedTuple

from . import constants as c
from .errors import FramingError, PduError
from .fields import LAYOUTS, TLVS, Field, Kind
from .structs import (
    PDUS,
    AlertNotification,
    BindReceiver,
    BindReceiverResp,
    BindTransceiver,
    BindTransceiverResp,
    BindTransmitter,
    BindTransmitterResp,
    CancelSm,
    CancelSmResp,
    DataSm,
    DataSmResp,
    DeliverSm,
    DeliverSmResp,
    DestAddress,
    EnquireLink,
    EnquireLinkResp,
    GenericNack,
    Outbind,
    Pdu,
    QuerySm,
    QuerySmResp,
    ReplaceSm,
    ReplaceSmResp,
    SubmitMulti,
    SubmitMultiResp,
    SubmitSm,
    SubmitSmResp,
    Tlvs,
    Unbind,
    UnbindResp,
    UnsuccessSme,
)

__all__ = [
    "PDUS",
    "AlertNotification",
    "BindReceiver",
    "BindReceiverResp",
    "BindTransceiver",
    "BindTransceiverResp",
    "BindTransmitter",
    "BindTransmitterResp",
    "CancelSm",
    "CancelSmResp",
    "DataSm",
    "DataSmResp",
    "DeliverSm",
    "DeliverSmResp",
    "DestAddress",
    "EnquireLink",
    "EnquireLinkResp",
    "GenericNack",
    "Outbind",
    "Pdu",
    "QuerySm",
    "QuerySmResp",
    "ReplaceSm",
    "ReplaceSmResp",
    "SubmitMulti",
    "SubmitMultiResp",
    "SubmitSm",
    "SubmitSmResp",
    "Tlvs",
    "Unbind",
    "UnbindResp",
    "UnsuccessSme",
    "decode",
    "decode_tlvs",
    "encode",
    "encode_tlvs",
]

_header = Struct(">4I")
_tlv_header = Struct(">HH")

# --- encode -----------------------------------------------------------------------------------------------


def encode(pdu: Pdu, sequence_number: int, command_status: int = 0) -> bytes:
    """The whole PDU. Raises PduError naming the field that breaks its limit.

    A response with a command_status other than 0 carries no body (section 3.2.1.3), as SMSCs expect.
    """
    command_id = pdu.command_id
    if command_status and command_id & c.RESPONSE_BIT and not pdu.tlvs:
        body = b""
    else:
        name = c.COMMAND_NAMES[command_id]
        pieces = [_write(name, field, getattr(pdu, field.name)) for field in LAYOUTS[command_id]]
        pieces.append(encode_tlvs(pdu.tlvs, name))
        body = b"".join(pieces)
    length = c.HEADER_OCTETS + len(body)
    if not 0 <= sequence_number <= 0xFFFFFFFF or not 0 <= command_status <= 0xFFFFFFFF:
        raise PduError(c.COMMAND_NAMES[command_id], "sequence_number", "32 bits unsigned", c.ESME_RINVCMDLEN)
    return _header.pack(length, command_id, command_status, sequence_number) + body


def encode_tlvs(tlvs: Tlvs, pdu: str = "") -> bytes:
    """Optional parameters as octets. A known tag must have a value of its size; others are written as given.

    Raises PduError (ESME_RINVTLVLEN, or ESME_RINVTLVSTREAM above TLVS_MAX).
    """
    if len(tlvs) > c.TLVS_MAX:
        raise PduError(pdu, "tlvs", f"at most {c.TLVS_MAX}", c.ESME_RINVTLVSTREAM)
    out: list[bytes] = []
    for tag, value in tlvs:
        rule = TLVS.get(tag)
        if rule is not None and not rule.octets_min <= len(value) <= rule.octets_max:
            limit = f"{rule.octets_min} to {rule.octets_max} octets"
            raise PduError(pdu, rule.name, limit, c.ESME_RINVTLVLEN)
        if not 0 <= tag <= 0xFFFF or len(value) > 0xFFFF:
            raise PduError(pdu, "tlvs", "tag and length are 16 bits", c.ESME_RINVTLVLEN)
        out.append(_tlv_header.pack(tag, len(value)) + value)
    return b"".join(out)


def _write(pdu: str, field: Field, value: Any) -> bytes:
    kind = field.kind
    if kind is Kind.INTEGER:
        if not 0 <= value <= 0xFF:
            raise PduError(pdu, field.name, "0 to 255", field.status)
        return bytes((value,))
    if kind is Kind.STRING or kind is Kind.TIME:
        return _write_string(pdu, field.name, value, field.size, field.status, fixed=kind is Kind.TIME)
    if kind is Kind.MESSAGE:
        if len(value) > c.SHORT_MESSAGE_OCTETS_MAX:
            raise PduError(pdu, field.name, f"at most {c.SHORT_MESSAGE_OCTETS_MAX} octets", field.status)
        return bytes((len(value),)) + bytes(value)
    if len(value) > field.size:
        raise PduError(pdu, field.name, f"at most {field.size}", field.status)
    one = _write_destination if kind is Kind.DESTINATIONS else _write_unsuccessful
    return bytes((len(value),)) + b"".join([one(pdu, item) for item in value])


def _write_string(pdu: str, name: str, value: bytes, size: int, status: int, *, fixed: bool = False) -> bytes:
    if len(value) >= size or b"\0" in value or (fixed and len(value) not in (0, size - 1)):
        limit = f"empty or {size - 1} octets" if fixed else f"at most {size - 1} octets, none of them NUL"
        raise PduError(pdu, name, limit, status)
    return bytes(value) + b"\0"


def _write_address(pdu: str, item: DestAddress | UnsuccessSme) -> bytes:
    if not (0 <= item.dest_addr_ton <= 0xFF and 0 <= item.dest_addr_npi <= 0xFF):
        raise PduError(pdu, "dest_addr_ton", "0 to 255", c.ESME_RINVDSTTON)
    address = _write_string(pdu, "destination_addr", item.destination_addr, 21, c.ESME_RINVDSTADR)
    return bytes((item.dest_addr_ton, item.dest_addr_npi)) + address


def _write_destination(pdu: str, item: DestAddress) -> bytes:
    if item.dl_name:
        return b"\x02" + _write_string(pdu, "dl_name", item.dl_name, 21, c.ESME_RINVDLNAME)
    return b"\x01" + _write_address(pdu, item)


def _write_unsuccessful(pdu: str, item: UnsuccessSme) -> bytes:
    return _write_address(pdu, item) + (item.error_status_code & 0xFFFFFFFF).to_bytes(4, "big")


# --- decode -----------------------------------------------------------------------------------------------


class _Layout(NamedTuple):
    """A layout as one regular expression: it matches if every mandatory field is within its limits."""

    match: Callable[[bytes, int], re.Match[bytes] | None]
    names: tuple[str, ...]
    integers: tuple[int, ...]
    message: bool


def _compile(layout: tuple[Field, ...]) -> _Layout | None:
    pieces: list[bytes] = []
    for field in layout:
        if field.kind is Kind.STRING:
            pieces.append(rb"([^\0]{0,%d}+)\0" % (field.size - 1))
        elif field.kind is Kind.TIME:
            pieces.append(rb"((?:[^\0]{%d})?)\0" % (field.size - 1))
        elif field.kind in (Kind.INTEGER, Kind.MESSAGE):
            pieces.append(b"(.)")
        else:
            return None
    return _Layout(
        re.compile(b"".join(pieces), re.DOTALL).match,
        tuple(field.name for field in layout),
        tuple(index for index, field in enumerate(layout) if field.kind is Kind.INTEGER),
        any(field.kind is Kind.MESSAGE for field in layout),
    )


_COMPILED = {command_id: _compile(layout) for command_id, layout in LAYOUTS.items()}


def decode(frame: bytes, *, lenient: bool = False) -> Pdu:
    """A whole PDU as `framing.split` cuts it.

    Raises PduError (answer `.command_status`, go on), or FramingError if `frame` is not one PDU. A response
    cannot be answered, so it is read as far as it goes: one without body, or without the NUL at its very end;
    and if it has a command_status, a body that cannot be read is ignored (section 3.2.1.3).
    `lenient` reads a PDU whose sm_length is wrong, or whose optional parameters are broken, as if all that
    follows sm_length were short_message.
    """
    if len(frame) < c.HEADER_OCTETS:
        raise FramingError(c.ESME_RINVCMDLEN, 0, f"{len(frame)} octets are no PDU")
    command_length, command_id, command_status, sequence_number = _header.unpack_from(frame)
    if command_length != len(frame):
        raise FramingError(
            c.ESME_RINVCMDLEN, sequence_number, f"command_length is not the {len(frame)} octets"
        )
    struct = PDUS.get(command_id)
    if struct is None:
        raise PduError(f"0x{command_id:08X}", "command_id", "unknown", c.ESME_RINVCMDID, sequence_number)
    if command_length == c.HEADER_OCTETS and command_id & c.RESPONSE_BIT:
        values: dict[str, Any] = {}
    else:
        try:
            values = _read(frame, command_id, sequence_number, lenient)
        except PduError:
            if not (command_status and command_id & c.RESPONSE_BIT):
                raise
            values = {}
    return struct(command_status=command_status, sequence_number=sequence_number, **values)


def _read(frame: bytes, command_id: int, sequence_number: int, lenient: bool) -> dict[str, Any]:
    """The fields by the layout's expression; if that does not match, by the cursor, which can say why."""
    compiled = _COMPILED[command_id]
    match = compiled.match(frame, c.HEADER_OCTETS) if compiled else None
    if compiled is None or match is None:
        return _Reader(frame, command_id, sequence_number).read(lenient)
    fields = list(match.groups())
    for index in compiled.integers:
        fields[index] = fields[index][0]
    values = dict(zip(compiled.names, fields, strict=True))
    at = match.end()
    if compiled.message:
        end = at + frame[at - 1]
        if end != len(frame):
            return values | _message_and_tlvs(frame, at, end, command_id, sequence_number, lenient)
        values["short_message"] = frame[at:]
        return values
    values["tlvs"] = (
        decode_tlvs(frame, at, c.COMMAND_NAMES[command_id], sequence_number) if at < len(frame) else []
    )
    return values


def _message_and_tlvs(
    frame: bytes, start: int, end: int, command_id: int, sequence_number: int, lenient: bool
) -> dict[str, Any]:
    """short_message from `start` to `end`, then the optional parameters."""
    pdu = c.COMMAND_NAMES[command_id]
    try:
        if end > len(frame):
            raise PduError(
                pdu, "sm_length", "runs past the end of the PDU", c.ESME_RINVMSGLEN, sequence_number
            )
        return {"short_message": frame[start:end], "tlvs": decode_tlvs(frame, end, pdu, sequence_number)}
    except PduError:
        if not lenient:
            raise
        return {"short_message": frame[start:], "tlvs": []}


def decode_tlvs(data: bytes, at: int = 0, pdu: str = "", sequence_number: int = 0) -> Tlvs:
    """Optional parameters from `at` to the end, known or not, in order, with whatever size they have.

    Raises PduError ESME_RINVTLVSTREAM if 1 to 3 octets are left over, a length overruns, or there are over
    TLVS_MAX.
    """
    tlvs: Tlvs = []
    end = len(data)
    while at < end:
        if end - at < 4:
            raise PduError(pdu, "tlvs", "octets left over", c.ESME_RINVTLVSTREAM, sequence_number)
        tag, length = _tlv_header.unpack_from(data, at)
        at += 4 + length
        if at > end:
            raise PduError(pdu, "tlvs", "a length beyond the PDU", c.ESME_RINVTLVSTREAM, sequence_number)
        if len(tlvs) == c.TLVS_MAX:
            raise PduError(pdu, "tlvs", f"at most {c.TLVS_MAX}", c.ESME_RINVTLVSTREAM, sequence_number)
        tlvs.append((tag, data[at - length : at]))
    return tlvs


class _Reader:
    """A cursor over one PDU that never reads past its end."""

    __slots__ = ("at", "command_id", "frame", "layout", "pdu", "response", "sequence_number")

    def __init__(self, frame: bytes, command_id: int, sequence_number: int) -> None:
        self.frame = frame
        self.at = c.HEADER_OCTETS
        self.command_id = command_id
        self.pdu = c.COMMAND_NAMES[command_id]
        self.layout = LAYOUTS[command_id]
        self.response = bool(command_id & c.RESPONSE_BIT)
        self.sequence_number = sequence_number

    def read(self, lenient: bool) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for field in self.layout:
            kind = field.kind
            if kind is Kind.INTEGER:
                values[field.name] = self.octets(1, field.name, field.status)[0]
            elif kind is Kind.STRING:
                values[field.name] = self.string(field.size, field.name, field.status)
            elif kind is Kind.TIME:
                values[field.name] = self.time(field)
            elif kind is Kind.MESSAGE:
                length = self.octets(1, "sm_length", field.status)[0]
                return values | _message_and_tlvs(
                    self.frame, self.at, self.at + length, self.command_id, self.sequence_number, lenient
                )
            elif kind is Kind.DESTINATIONS:
                count = self.octets(1, "number_of_dests", field.status)[0]
                values[field.name] = [self.destination() for _ in range(count)]
            else:
                count = self.octets(1, "no_unsuccess", field.status)[0]
                values[field.name] = [self.unsuccessful() for _ in range(count)]
        values["tlvs"] = decode_tlvs(self.frame, self.at, self.pdu, self.sequence_number)
        return values

    def fail(self, field: str, limit: str, status: int) -> PduError:
        return PduError(self.pdu, field, limit, status, self.sequence_number)

    def octets(self, count: int, field: str, status: int) -> bytes:
        value = self.frame[self.at : self.at + count]
        if len(value) != count:
            raise self.fail(field, "runs past the end of the PDU", status)
        self.at += count
        return value

    def string(self, size: int, field: str, status: int) -> bytes:
        start = self.at
        end = self.frame.find(0, start, start + size)
        if end < 0:
            if self.response and len(self.frame) - start < size:
                self.at = len(self.frame)
                return self.frame[start:]
            raise self.fail(field, f"no NUL within {size} octets", status)
        self.at = end + 1
        return self.frame[start:end]

    def time(self, field: Field) -> bytes:
        value = self.string(field.size, field.name, field.status)
        if len(value) not in (0, field.size - 1):
            raise self.fail(field.name, f"must be 1 or {field.size} octets", field.status)
        return value

    def address(self) -> tuple[bytes, int, int]:
        ton, npi = self.octets(2, "dest_addr_ton", c.ESME_RINVDSTTON)
        return self.string(21, "destination_addr", c.ESME_RINVDSTADR), ton, npi

    def destination(self) -> DestAddress:
        flag = self.octets(1, "dest_flag", c.ESME_RINVDESTFLAG)[0]
        if flag == 1:
            return DestAddress(*self.address())
        if flag == 2:
            return DestAddress(dl_name=self.string(21, "dl_name", c.ESME_RINVDLNAME))
        raise self.fail("dest_flag", "must be 1 or 2", c.ESME_RINVDESTFLAG)

    def unsuccessful(self) -> UnsuccessSme:
        address = self.address()
        code = self.octets(4, "error_status_code", c.ESME_RINVNUMDESTS)
        return UnsuccessSme(*address, int.from_bytes(code, "big"))
