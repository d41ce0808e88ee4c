"""What must hold for any octets on an SMPP connection: frames, PDUs, the fast paths.

Each function here raises AssertionError, or lets out an exception that is not documented, if it does not.
"""

# An error that is let out is looked at where it is caught; there is no pytest here.
# ruff: noqa: PT017

from __future__ import annotations

from typing import Any

import msgspec
from todoke.codecs import constants as c
from todoke.codecs import fast, pdu, receipt
from todoke.codecs.errors import FramingError, PduError, command_name
from todoke.codecs.fields import LAYOUTS, TLVS, Kind
from todoke.codecs.framing import split

from .reading import Octets

FIELD_NAMES = {field.name for layout in LAYOUTS.values() for field in layout} | {
    rule.name for rule in TLVS.values()
}
COUNT_NAMES = {"command_id", "sm_length", "number_of_dests", "no_unsuccess", "dest_flag", "dl_name", "tlvs"}
ADDRESS_NAMES = {"dest_addr_ton", "destination_addr", "error_status_code", "sequence_number"}
SECRETS = ("password", "short_message", "source_addr", "destination_addr", "esme_addr")


def whole(data: bytes) -> bytes:
    """`data` as one PDU as `framing.split` cuts it: with the length it has."""
    return len(data).to_bytes(4, "big") + data[4:] if len(data) >= 16 else data


# --- framing ----------------------------------------------------------------------------------------------


def _feed(pieces: list[bytes], octets_max: int) -> tuple[list[Any], bytes, str]:
    frames: list[Any] = []
    rest = b""
    for piece in pieces:
        rest += piece
        try:
            more, consumed = split(rest, octets_max)
        except FramingError as error:
            frames += error.frames
            return frames, b"", error.detail
        frames += more
        rest = rest[consumed:]
    return frames, rest, ""


def framing(data: bytes) -> None:
    """Frames are pieces of the stream; the same ones however it is cut; an error only for a bad length."""
    octets = Octets(data)
    octets_max = octets.choice((70_000, 16, 40, 4_096))
    step = octets.octet() + 1
    stream = octets.rest()
    frames, rest, detail = _feed([stream], octets_max)
    for command_id, command_status, sequence_number, frame in frames:
        assert type(frame) is bytes
        assert 16 <= len(frame) <= octets_max
        header = (len(frame), command_id, command_status, sequence_number)
        assert frame[:16] == b"".join(word.to_bytes(4, "big") for word in header)
    joined = b"".join(frame for *_, frame in frames)
    assert stream.startswith(joined)
    after = stream[len(joined) :]
    claimed = int.from_bytes(after[:4], "big")
    if detail:
        assert len(after) >= 4
        assert not 16 <= claimed <= octets_max
        assert str(claimed) in detail or "not SMPP" in detail
    else:
        assert rest == after
        assert len(rest) < 4 or (16 <= claimed <= octets_max and len(rest) < claimed)
    for size in (1, step):
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        assert _feed(pieces, octets_max) == (frames, rest, detail)
    try:
        assert split(bytearray(stream), octets_max)[0] == frames
    except FramingError as error:
        assert (error.command_status, error.sequence_number) == (c.ESME_RINVCMDLEN, 0)
        assert error.frames == frames


# --- PDUs -------------------------------------------------------------------------------------------------


def decoded_of(frame: bytes, lenient: bool = False) -> pdu.Pdu | None:
    """None for a documented error, once it has been looked at."""
    try:
        return pdu.decode(frame, lenient=lenient)
    except FramingError as error:
        assert len(frame) < 16 or int.from_bytes(frame[:4], "big") != len(frame)
        assert error.command_status == c.ESME_RINVCMDLEN
        assert error.frames == []
    except PduError as error:
        command_id, _, sequence_number = (int.from_bytes(frame[at : at + 4], "big") for at in (4, 8, 12))
        assert error.sequence_number == sequence_number
        assert error.pdu == command_name(command_id)
        assert error.field in FIELD_NAMES | COUNT_NAMES | ADDRESS_NAMES
        assert error.command_status in c.STATUS_NAMES
        assert error.command_status
        assert error.limit
    return None


def _octets_in(value: object) -> int:
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, list | tuple):
        return sum(_octets_in(item) for item in value)
    return _octets_in(msgspec.structs.astuple(value)) if isinstance(value, msgspec.Struct) else 0


def _slowly(frame: bytes, lenient: bool) -> pdu.Pdu | None:
    """As `decode` does where its compiled reader finds something unusual."""
    words = [int.from_bytes(frame[at : at + 4], "big") for at in (4, 8, 12)]
    try:
        return pdu._decode_field_by_field(frame, *words, lenient)
    except PduError:
        return None


def pdus(data: bytes) -> None:
    """Decode, encode, decode is stable; all the ways to decode agree; errors name what they are about."""
    decoded_of(data)
    frame = whole(data)
    strict = decoded_of(frame)
    lenient = decoded_of(frame, lenient=True)
    if len(frame) >= 16:
        assert _slowly(frame, False) == strict
        assert _slowly(frame, True) == lenient
    if strict is not None:
        assert lenient == strict
    decoded = lenient
    if decoded is None:
        return
    command_id, command_status, sequence_number = (
        int.from_bytes(frame[at : at + 4], "big") for at in (4, 8, 12)
    )
    assert decoded.command_id == command_id
    assert (decoded.command_status, decoded.sequence_number) == (command_status, sequence_number)
    assert _octets_in(decoded) <= len(frame)
    fields = {name: getattr(decoded, name) for name in decoded.__struct_fields__}
    hidden = {name: b"*" * len(fields[name]) for name in SECRETS if name in fields}
    assert repr(msgspec.structs.replace(decoded, **hidden)) == repr(decoded), "repr shows a secret"
    try:
        again = pdu.encode(decoded, sequence_number, command_status)
        assert pdu._encode_field_by_field(decoded, sequence_number, command_status) == again
    except PduError as error:
        assert error.pdu == command_name(command_id)
        assert error.field in FIELD_NAMES | COUNT_NAMES | ADDRESS_NAMES
        return
    response = bool(command_id & c.RESPONSE_BIT)
    second = pdu.decode(again)
    if not (response and command_status):
        assert second == decoded
    assert pdu.encode(second, sequence_number, command_status) == again
    if strict is not None and not response:
        assert again == frame


INTEGERS = (0, 1, 2, 3, 4, 0x34, 0x50, 0xFF, 0x100, -1, 1 << 32)
COMMANDS = sorted(LAYOUTS)


def _strings(octets: Octets) -> bytes:
    """Mostly without a NUL, and now and then at the limit of some field."""
    how = octets.octet()
    if how < 0x20:
        return b"x" * (1, 5, 6, 8, 9, 12, 13, 15, 16, 17, 20, 21, 40, 41, 64, 65)[how & 15]
    data = octets.take(how & 0x1F)
    return data if how & 0x80 else data.replace(b"\0", b"0")


def _filled(octets: Octets) -> pdu.Pdu:
    """Any PDU with anything in its fields."""
    command_id = octets.choice(COMMANDS)
    fields: dict[str, Any] = {}
    for field in LAYOUTS[command_id]:
        if field.kind is Kind.INTEGER:
            number = octets.octet()
            fields[field.name] = INTEGERS[number % len(INTEGERS)] if number & 1 else number
        elif field.kind is Kind.DESTINATIONS:
            some = [
                pdu.DestAddress(dl_name=_strings(octets))
                if octets.octet() & 1
                else pdu.DestAddress(_strings(octets), octets.octet(), octets.choice(INTEGERS))
                for _ in range(octets.octet() % 4)
            ]
            fields[field.name] = some * (90 if octets.octet() == 0xFF else 1)
        elif field.kind is Kind.UNSUCCESSFUL:
            fields[field.name] = [
                pdu.UnsuccessSme(_strings(octets), octets.octet(), octets.octet(), octets.choice(INTEGERS))
                for _ in range(octets.octet() % 4)
            ]
        else:
            fields[field.name] = _strings(octets)
    tags = sorted(TLVS)
    for _ in range(octets.octet() % 5):
        tag = octets.choice(tags) if octets.octet() & 3 else octets.number(3)
        fields.setdefault("tlvs", []).append((tag, octets.take(octets.octet() % 8)))
    return pdu.PDUS[command_id](**fields)


def encodings(data: bytes) -> None:
    """A PDU of any values is written so that it is read again as it was, or refused by name; the compiled
    writer and the one that goes field by field agree.
    """
    octets = Octets(data)
    sequence_number, command_status = octets.number(4), octets.choice((0, 0, 8, 0x58, 1 << 32))
    made = _filled(octets)
    outcomes: list[Any] = []
    for write in (pdu.encode, pdu._encode_field_by_field):
        try:
            outcomes.append(write(made, sequence_number, command_status))
        except PduError as error:
            assert error.pdu == command_name(made.command_id)
            assert error.field in FIELD_NAMES | COUNT_NAMES | ADDRESS_NAMES
            assert error.command_status in c.STATUS_NAMES
            outcomes.append((error.field, error.limit, error.command_status))
    assert outcomes[0] == outcomes[1]
    frame = outcomes[0]
    if not isinstance(frame, bytes):
        return
    read = pdu.decode(frame)
    assert (read.sequence_number, read.command_status) == (sequence_number, command_status)
    if not (made.command_id & c.RESPONSE_BIT and command_status and not made.tlvs):
        made.sequence_number, made.command_status = sequence_number, command_status
        assert read == made


# --- the fast paths ---------------------------------------------------------------------------------------


def fast_paths(data: bytes) -> None:
    """Whatever a fast path says, the complete path says too."""
    frame = whole(data)
    if len(frame) < 16:
        return
    found = fast.receipt_of(frame)
    if found is not None:
        assert receipt.parse_deliver(frame) == found
        assert receipt.parse_deliver(frame, by_esm_class_only=True) == found
    delivered = fast.delivered_id(frame)
    if delivered is not None:
        assert found is not None
        assert found.message_id == delivered.decode("ascii")
        assert found.state == "delivered"
    submitted = fast.submit_of(frame)
    if submitted is None:
        return
    decoded = decoded_of(frame)
    if decoded is None:
        try:
            pdu.decode_tlvs(submitted[6])
        except PduError:
            return
        raise AssertionError("only the fast path reads it")
    assert isinstance(decoded, pdu.SubmitSm)
    assert submitted[:6] == (
        decoded.source_addr,
        decoded.destination_addr,
        decoded.esm_class,
        decoded.registered_delivery,
        decoded.data_coding,
        decoded.short_message,
    )
    assert pdu.decode_tlvs(submitted[6]) == decoded.tlvs
    _template(decoded, frame, submitted[6])


def _template(decoded: pdu.SubmitSm, frame: bytes, tlvs: bytes) -> None:
    if decoded.schedule_delivery_time or decoded.sm_default_msg_id or decoded.command_status:
        return
    names = ("service_type", "source_addr_ton", "source_addr_npi", "source_addr", "dest_addr_ton",
             "dest_addr_npi", "protocol_id", "priority_flag", "registered_delivery",
             "replace_if_present_flag")  # fmt: skip
    try:
        template = fast.SubmitTemplate(**{name: getattr(decoded, name) for name in names})
    except PduError as error:  # read, a reserved value is as good as another; written, it is refused
        assert error.field in ("priority_flag", "registered_delivery", "replace_if_present_flag")
        return
    part = (
        decoded.destination_addr,
        decoded.data_coding,
        decoded.short_message,
        decoded.esm_class,
        decoded.validity_period,
        tlvs,
    )
    try:
        for _ in range(2):  # the second time what was made the first time is there
            assert template.pdu(decoded.sequence_number, *part) == frame
            assert template.body(*part) == frame[16:]
    except PduError as error:
        assert error.field == "short_message"
        assert len(decoded.short_message) == 255
