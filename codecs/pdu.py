"""The complete codec between the PDUs (`structs`) and octets, for every command of SMPP 3.4.

Layouts are data (`fields`). What is in order is read and written by functions compiled from them
(`compiled`); here everything is done field by field over the same data, which is how what is wrong is found
and named. A property holds the two equal, and both equal to `fast`, which does the commonest shapes in less.
"""

from __future__ import annotations

from functools import partial
from struct import Struct, error
from typing import Any, Final

from . import constants as c
from .compiled import compile_reader, compile_writer
from .errors import FramingError, PduError, command_name
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
    VendorPdu,
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
    "VendorPdu",
    "decode",
    "decode_tlvs",
    "encode",
    "encode_tlvs",
]

_header = Struct(">4I")
_unpack_header = _header.unpack_from
_tlv_header = Struct(">HH")

# --- encode -----------------------------------------------------------------------------------------------


def encode(pdu: Pdu, sequence_number: int, command_status: int = 0) -> bytes:
    """The whole PDU. Raises PduError naming the field that breaks its limit.

    A response with a command_status other than 0 carries no body (section 3.2.1.3), as SMSCs expect, unless
    it has optional parameters. Of a VendorPdu every octet is written as it is.
    """
    writer = _WRITERS.get(type(pdu))
    if writer is not None and not (command_status and pdu.command_id & c.RESPONSE_BIT):
        whole = writer(pdu, sequence_number, command_status)
        if whole is not None:
            return whole
    return _encode_field_by_field(pdu, sequence_number, command_status)


def _encode_field_by_field(pdu: Pdu, sequence_number: int, command_status: int) -> bytes:
    command_id = pdu.command_id
    name = command_name(command_id)
    if isinstance(pdu, VendorPdu):
        if command_id & ~c.RESPONSE_BIT not in c.VENDOR_COMMANDS:
            limit = "0x00010200 to 0x000102FF, or with the response bit"
            raise PduError(name, "command_id", limit, c.ESME_RINVCMDID)
        body = bytes(pdu.body)
    elif command_status and command_id & c.RESPONSE_BIT and not pdu.tlvs:
        body = b""
    else:
        pieces = [_write(name, field, getattr(pdu, field.name)) for field in LAYOUTS[command_id]]
        pieces.append(_encode_all_tlvs(name, pdu))
        body = b"".join(pieces)
    try:
        return _header.pack(c.HEADER_OCTETS + len(body), command_id, command_status, sequence_number) + body
    except error:
        limit = "command_status and sequence_number are 32 bits unsigned"
        raise PduError(name, "sequence_number", limit, c.ESME_RINVCMDLEN) from None


def encode_tlvs(tlvs: Tlvs, pdu: str = "") -> bytes:
    """Optional parameters as octets, in order, repeated or not. A known tag must have a value within its
    limits; others are written as given.

    Raises PduError: ESME_RINVTLVLEN, ESME_RINVTLVVAL, or ESME_RINVTLVSTREAM above TLVS_MAX.
    """
    if len(tlvs) > c.TLVS_MAX:
        raise PduError(pdu, "tlvs", f"at most {c.TLVS_MAX}", c.ESME_RINVTLVSTREAM)
    out: list[bytes] = []
    for tag, value in tlvs:
        rule = TLVS.get(tag)
        if rule is not None:
            if not rule.octets_min <= len(value) <= rule.octets_max:
                limit = f"{rule.octets_min} to {rule.octets_max} octets"
                raise PduError(pdu, rule.name, limit, c.ESME_RINVTLVLEN)
            if len(value) == 1 and not rule.value_min <= value[0] <= rule.value_max:
                limit = f"{rule.value_min} to {rule.value_max}"
                raise PduError(pdu, rule.name, limit, c.ESME_RINVTLVVAL)
        if not 0 <= tag <= 0xFFFF or len(value) > 0xFFFF:
            raise PduError(pdu, "tlvs", "tag and length are 16 bits", c.ESME_RINVTLVLEN)
        out.append(_tlv_header.pack(tag, len(value)) + value)
    return b"".join(out)


_SAR: Final = {c.TAG_SAR_MSG_REF_NUM, c.TAG_SAR_TOTAL_SEGMENTS, c.TAG_SAR_SEGMENT_SEQNUM}


def _encode_all_tlvs(name: str, pdu: Pdu) -> bytes:
    """The optional parameters of one PDU, with the rules between them and its fields."""
    first = dict(reversed(pdu.tlvs))
    if c.TAG_MESSAGE_PAYLOAD in first and getattr(pdu, "short_message", None):
        # 5.3.2.32; of the two the SMSC takes whichever it likes.
        raise PduError(name, "message_payload", "not beside a short_message", c.ESME_RTLVNOTALLWD)
    if not _SAR.isdisjoint(first):
        if missing := _SAR - first.keys():  # 5.3.2.22 to 24
            limit = "sar_* parameters are three together"
            raise PduError(name, TLVS[min(missing)].name, limit, c.ESME_RMISSINGTLV)
        if first[c.TAG_SAR_SEGMENT_SEQNUM] > first[c.TAG_SAR_TOTAL_SEGMENTS]:
            raise PduError(name, "sar_segment_seqnum", "1 to sar_total_segments", c.ESME_RINVTLVVAL)
    return encode_tlvs(pdu.tlvs, name)


def _write(pdu: str, field: Field, value: Any) -> bytes:
    kind = field.kind
    if kind is Kind.INTEGER:
        values = _OCTETS if field.values is None else field.values
        if value not in values:
            raise PduError(pdu, field.name, _described(values), field.status)
        return bytes((value,))
    if kind is Kind.STRING or kind is Kind.TIME:
        return _write_string(pdu, field.name, value, field.size, field.status, fixed=kind is Kind.TIME)
    if kind is Kind.MESSAGE:
        if len(value) > c.SHORT_MESSAGE_OCTETS_MAX:
            raise PduError(pdu, field.name, f"at most {c.SHORT_MESSAGE_OCTETS_MAX} octets", field.status)
        return bytes((len(value),)) + bytes(value)
    least, one = (1, _write_destination) if kind is Kind.DESTINATIONS else (0, _write_unsuccessful)
    if not least <= len(value) <= field.size:
        raise PduError(pdu, field.name, f"{least} to {field.size} of them", field.status)
    return bytes((len(value),)) + b"".join([one(pdu, item) for item in value])


_OCTETS: Final = frozenset(range(256))


def _described(values: frozenset[int]) -> str:
    """The runs of consecutive numbers in `values`, such as "0 to 52 or 80"."""
    firsts = sorted(value for value in values if value - 1 not in values)
    lasts = sorted(value for value in values if value + 1 not in values)
    return " or ".join(
        f"{first} to {last}" if first != last else str(first)
        for first, last in zip(firsts, lasts, strict=True)
    )


def _write_string(pdu: str, name: str, value: bytes, size: int, status: int, *, fixed: bool = False) -> bytes:
    if len(value) >= size or b"\0" in value or (fixed and len(value) not in (0, size - 1)):
        limit = f"empty or {size - 1} octets" if fixed else f"at most {size - 1} octets, none of them NUL"
        raise PduError(pdu, name, limit, status)
    return bytes(value) + b"\0"


def _write_address(pdu: str, item: DestAddress | UnsuccessSme) -> bytes:
    if item.dest_addr_ton not in _OCTETS:
        raise PduError(pdu, "dest_addr_ton", "0 to 255", c.ESME_RINVDSTTON)
    if item.dest_addr_npi not in _OCTETS:
        raise PduError(pdu, "dest_addr_npi", "0 to 255", c.ESME_RINVDSTNPI)
    address = _write_string(pdu, "destination_addr", item.destination_addr, 21, c.ESME_RINVDSTADR)
    return bytes((item.dest_addr_ton, item.dest_addr_npi)) + address


def _write_destination(pdu: str, item: DestAddress) -> bytes:
    if item.dl_name:
        return b"\x02" + _write_string(pdu, "dl_name", item.dl_name, 21, c.ESME_RINVDLNAME)
    return b"\x01" + _write_address(pdu, item)


def _write_unsuccessful(pdu: str, item: UnsuccessSme) -> bytes:
    if not 0 <= item.error_status_code <= 0xFFFFFFFF:
        raise PduError(pdu, "error_status_code", "32 bits unsigned", c.ESME_RINVNUMDESTS)
    return _write_address(pdu, item) + item.error_status_code.to_bytes(4, "big")


# --- decode -----------------------------------------------------------------------------------------------


def decode(frame: bytes, *, lenient: bool = False) -> Pdu:
    """A whole PDU as `framing.split` cuts it.

    Raises PduError (answer `.command_status`, go on), or FramingError if `frame` is not one PDU. Only the
    shape of a field is held against it, never its value: reserved ones are given as they came. A response
    cannot be answered, so it is read as far as it goes: one without body, or without the NUL at its very end;
    and if it has a command_status, a body that cannot be read is ignored (section 3.2.1.3). A vendor's PDU is
    a VendorPdu.
    `lenient` reads a PDU whose times are of another length, whose sm_length is wrong, or whose optional
    parameters are broken (the latter two as if all that follows sm_length were short_message).
    """
    try:
        command_length, command_id, command_status, sequence_number = _unpack_header(frame)
    except error:
        raise FramingError(c.ESME_RINVCMDLEN, 0, f"{len(frame)} octets are no PDU") from None
    if command_length != len(frame):
        raise FramingError(
            c.ESME_RINVCMDLEN, sequence_number, f"command_length is not the {len(frame)} octets"
        )
    reader = _READERS.get(command_id)
    if reader is not None and command_length > c.HEADER_OCTETS:
        pdu = reader(frame, command_status, sequence_number)
        if pdu is not None:
            return pdu
    return _decode_field_by_field(frame, command_id, command_status, sequence_number, lenient)


def _decode_field_by_field(
    frame: bytes, command_id: int, command_status: int, sequence_number: int, lenient: bool
) -> Pdu:
    struct = PDUS.get(command_id)
    if struct is None:
        if command_id & ~c.RESPONSE_BIT in c.VENDOR_COMMANDS:
            return VendorPdu(
                command_status, sequence_number, [], command_id=command_id, body=frame[c.HEADER_OCTETS :]
            )
        limit = "not supported" if command_id in c.BROADCAST_NAMES else "unknown"
        raise PduError(command_name(command_id), "command_id", limit, c.ESME_RINVCMDID, sequence_number)
    values: dict[str, Any] = {}
    if len(frame) > c.HEADER_OCTETS or not command_id & c.RESPONSE_BIT:
        try:
            values = _Reader(frame, command_id, sequence_number, lenient).read()
        except PduError:
            if not (command_status and command_id & c.RESPONSE_BIT):
                raise
    return struct(command_status=command_status, sequence_number=sequence_number, **values)


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

    __slots__ = ("at", "command_id", "frame", "layout", "lenient", "pdu", "response", "sequence_number")

    def __init__(self, frame: bytes, command_id: int, sequence_number: int, lenient: bool) -> None:
        self.frame = frame
        self.at = c.HEADER_OCTETS
        self.command_id = command_id
        self.lenient = lenient
        self.pdu = c.COMMAND_NAMES[command_id]
        self.layout = LAYOUTS[command_id]
        self.response = bool(command_id & c.RESPONSE_BIT)
        self.sequence_number = sequence_number

    def read(self) -> dict[str, Any]:
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
                    self.frame, self.at, self.at + length, self.command_id, self.sequence_number, self.lenient
                )
            elif kind is Kind.DESTINATIONS:
                count = self.octets(1, "number_of_dests", field.status)[0]
                if not count:
                    raise self.fail("number_of_dests", "1 to 255", field.status)
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
        # A date in a response is often another than the specification's.
        if len(value) not in (0, field.size - 1) and not (self.response or self.lenient):
            raise self.fail(field.name, f"must be 1 or {field.size} octets", field.status)
        return value

    def address(self) -> tuple[bytes, int, int]:
        ton = self.octets(1, "dest_addr_ton", c.ESME_RINVDSTTON)[0]
        npi = self.octets(1, "dest_addr_npi", c.ESME_RINVDSTNPI)[0]
        return self.string(21, "destination_addr", c.ESME_RINVDSTADR), ton, npi

    def destination(self) -> DestAddress:
        flag = self.octets(1, "dest_flag", c.ESME_RINVDESTFLAG)[0]
        if flag == 1:
            return DestAddress(*self.address())
        if flag == 2:
            name = self.string(21, "dl_name", c.ESME_RINVDLNAME)
            if not name:
                raise self.fail("dl_name", "1 to 20 octets", c.ESME_RINVDLNAME)
            return DestAddress(dl_name=name)
        raise self.fail("dest_flag", "must be 1 or 2", c.ESME_RINVDESTFLAG)

    def unsuccessful(self) -> UnsuccessSme:
        address = self.address()
        code = self.octets(4, "error_status_code", c.ESME_RINVNUMDESTS)
        return UnsuccessSme(*address, int.from_bytes(code, "big"))


_READERS: Final = {command_id: compile_reader(command_id, decode_tlvs) for command_id in LAYOUTS}
_WRITERS: Final = {
    PDUS[command_id]: compile_writer(command_id, partial(_encode_all_tlvs, name))
    for command_id, name in c.COMMAND_NAMES.items()
}
