"""What must hold for any octets in `todoke.codecs`: each function raises AssertionError, or lets out an
exception that is not documented, if it does not.
"""

# An error that is let out is looked at where it is caught; there is no pytest here.
# ruff: noqa: PT017

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import msgspec
import regex  # type: ignore[import-untyped,unused-ignore]
from todoke.codecs import constants as c
from todoke.codecs import fast, gsm7, inbound, pdu, receipt, segment, smpp_time, ucs2, udh
from todoke.codecs.errors import FramingError, PduError, TextError, command_name
from todoke.codecs.fields import LAYOUTS, TLVS
from todoke.codecs.framing import split

from .reading import Octets, text_of

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


def _decode(frame: bytes, lenient: bool = False) -> pdu.Pdu | None:
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
    _decode(data)
    frame = whole(data)
    strict = _decode(frame)
    lenient = _decode(frame, lenient=True)
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
    decoded = _decode(frame)
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
    template = fast.SubmitTemplate(**{name: getattr(decoded, name) for name in names})
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


# --- user data header -------------------------------------------------------------------------------------


def headers(data: bytes) -> None:
    """A header and the rest are the data; elements lie in the header; what is found can be built again."""
    header, rest = udh.strip(data)
    assert header + rest == data
    assert not header or len(header) == header[0] + 1
    elements = udh.elements(header)
    laid = b"".join(bytes((iei, len(value))) + value for iei, value in elements)
    assert header[1:].startswith(laid)
    concat = udh.concat_of(header)
    if concat is not None:
        assert 1 <= concat.number <= concat.total <= 255
        assert 0 <= concat.reference <= 0xFFFF
        built = udh.concat16(*concat)
        assert udh.strip(built + b"x") == (built, b"x")
        assert udh.concat_of(built) == concat
    udh.elements(data)
    udh.concat_of(data)


# --- receipts ---------------------------------------------------------------------------------------------

RECEIPT_STATES = set(receipt.STATES.values()) | set(receipt.WORDS.values())


def ids(raw: str) -> None:
    """The canonical form of a canonical form is itself; the other base's other base is the first."""
    canonical = receipt.canonical_id(raw)
    assert canonical
    assert receipt.canonical_id(canonical) == canonical
    variants = receipt.id_variants(raw)
    assert receipt.id_variants(canonical) == variants
    assert len(variants) <= 2
    assert canonical not in variants
    for variant in variants:
        assert receipt.canonical_id(variant) == variant
        if len(variant) <= receipt.ID_CHARACTERS_MAX:
            assert canonical in receipt.id_variants(variant)


def receipts(data: bytes) -> None:
    """A receipt, or None, or a documented error; its strings are short; its id is stable."""
    frame = whole(data)
    try:
        found = receipt.parse_deliver(frame)
    except (PduError, FramingError):
        assert _decode(frame, lenient=True) is None
        found = None
    else:
        strict = receipt.parse_deliver(frame, by_esm_class_only=True)
        assert strict is None or strict == found
    if found is not None:
        assert found.state in RECEIPT_STATES
        for value in (found.message_id, found.stat, found.err, found.done_date, *found.alt_ids):
            # One letter in lower case may be two in upper case.
            assert len(value) <= 2 * receipt.VALUE_CHARACTERS_MAX
            assert "\0" not in value
        assert found.stat == found.stat.upper()
        assert found.message_id not in found.alt_ids
        assert found.message_id or not found.alt_ids
        if found.network_error is not None:
            assert all(0 <= number <= 99_999 for number in found.network_error)
        smpp_time.receipt_date(found.done_date)
        for raw in (found.message_id, *found.alt_ids):
            ids(raw)
    ids(data[16:].decode("latin-1"))
    ids(data[16:].decode("utf-8", "replace"))


# --- subscribers' messages --------------------------------------------------------------------------------


def inbounds(data: bytes) -> None:
    """Any deliver_sm or data_sm that can be decoded can be shown."""
    decoded = _decode(whole(data), lenient=True)
    if not isinstance(decoded, pdu.DeliverSm | pdu.DataSm):
        return
    for alphabet in ("gsm7", "latin1"):
        read = inbound.read(decoded, alphabet)
        assert decoded.message.endswith(read.data)
        assert read.text is None or len(read.text) <= 8 * len(decoded.message) // 7 + 1
        assert (read.text is None) == (inbound.alphabet_of(decoded.data_coding, alphabet) == "binary")
        if read.concat is not None:
            assert 1 <= read.concat.number <= read.concat.total <= 255
            assert 0 <= read.concat.reference <= 0xFFFFFFFF
        if read.text is not None:
            read.text.encode("utf-8")
        assert "text" not in repr(read)


# --- texts ------------------------------------------------------------------------------------------------

CLUSTERS = regex.compile(r"\X")


def _rules(octets: Octets) -> segment.Rules:
    parts_max = octets.octet() or 255
    sizes = octets.octet()
    small = {"gsm7": 2 + sizes % 20, "ucs2": 2 + sizes % 9, "latin1": 2 + sizes % 7, "binary": 2}
    order = (("gsm7", "ucs2"), ("ucs2",), ("gsm7", "latin1", "ucs2"), ("latin1",), ("gsm7",))
    return segment.Rules(
        concat=octets.choice(("udh8", "udh16", "sar", "payload")),
        alphabets=octets.choice(order),
        # A part that goes alone has no less room than one of several.
        units_single=small if sizes & 0xC0 == 0xC0 else None,
        units_part=small if sizes & 0x80 else None,
        parts_max=parts_max,
    )


def segments(data: bytes) -> None:
    """Parts within every limit that say the text again, each for itself, and nothing torn that fits."""
    octets = Octets(data)
    rules = _rules(octets)
    reference = octets.number(2)
    binary = octets.octet() & 1
    if binary:
        content = octets.rest()
        try:
            cut = segment.segment_data(content, rules)
        except TextError as error:
            assert error.code == "too_long"
            return
        assert b"".join(cut.parts) == content
    else:
        text = text_of(octets)
        try:
            cut = segment.segment(text, rules)
        except TextError as error:
            assert error.code in ("unencodable", "too_long")
            return
        assert "".join(cut.texts) == text
        assert cut.alphabet in rules.alphabets
        if cut.alphabet == "ucs2":
            _check_clusters(text, cut, rules)
        one = segment.single(text)
        if one is not None:
            assert gsm7.encode(text) == one
            assert len(one) <= 160
    _check_parts(cut, rules, reference)


def _check_parts(cut: segment.Segmented, rules: segment.Rules, reference: int) -> None:
    assert 1 <= cut.segments <= rules.parts_max
    limit = rules.part(cut.alphabet) if cut.segments > 1 else rules.single(cut.alphabet)
    octets_a_unit = 2 if cut.alphabet == "ucs2" else 1
    assert len(cut.parts) == len(cut.units) == (1 if rules.concat == "payload" else cut.segments)
    assert 0 <= cut.units_left <= limit
    for part, units in zip(cut.parts, cut.units, strict=True):
        assert len(part) == units * octets_a_unit
        assert units <= limit * cut.segments
        if rules.concat != "payload":
            assert units <= limit
    fields = segment.fields(cut, rules, reference)
    assert len(fields) == len(cut.parts)
    for number, (part, (esm_class, short_message, tlvs)) in enumerate(zip(cut.parts, fields, strict=True), 1):
        message = pdu.DeliverSm(
            esm_class=esm_class,
            data_coding=cut.data_coding,
            short_message=short_message,
            tlvs=pdu.decode_tlvs(tlvs),
        )
        frame = pdu.encode(message, 1)
        read = inbound.read(pdu.DeliverSm(**_without_base(pdu.decode(frame))))
        assert read.data == part
        if cut.alphabet == "gsm7":
            assert read.text == gsm7.decode(part)
        elif cut.alphabet == "ucs2":
            assert read.text == ucs2.decode(part)
        if len(fields) > 1:
            bits = 0xFF if rules.concat == "udh8" else 0xFFFF
            assert read.concat == udh.Concat(reference & bits, len(fields), number)
        else:
            assert read.concat is None


def _without_base(decoded: pdu.Pdu) -> dict[str, Any]:
    return {name: getattr(decoded, name) for name in decoded.__struct_fields__}


def _check_clusters(text: str, cut: segment.Segmented, rules: segment.Rules) -> None:
    limit = rules.part("ucs2") * 2
    torn = [
        (match.start(), match.end())
        for match in CLUSTERS.finditer(text)
        if len(text[match.start() : match.end()].encode("utf-16-be")) <= limit
    ]
    whole_clusters = {at for start, end in torn for at in range(start + 1, end)}
    at = 0
    for part in cut.texts[:-1]:
        at += len(part)
        assert at not in whole_clusters, f"torn at {at}"


def alphabets(data: bytes) -> None:
    """Octets always show a text; a text that can be written is read again; septets stay septets."""
    shown = gsm7.decode(data)
    assert len(shown) <= len(data)
    shown.encode("utf-8")
    text = text_of(Octets(data))
    written = gsm7.encode(text)
    if written is not None:
        assert written.isascii()
        assert gsm7.decode(written) == text
        assert len(text) <= len(written) <= 2 * len(text)
    elif text:
        assert (
            any(character not in gsm7.BASIC and character not in gsm7.EXTENSION for character in text)
            or "\x1b" in text
        )
    shown = ucs2.decode(data)
    shown.encode("utf-8")
    units = ucs2.encode(text)
    if units is None:
        assert re.search("[\ud800-\udfff]", text)
    else:
        assert ucs2.decode(units) == text


# --- time -------------------------------------------------------------------------------------------------


def times(data: bytes) -> None:
    """A time, a duration, nothing, or TextError; what is written back names the same instant."""
    try:
        found = smpp_time.parse(data)
    except TextError as error:
        assert error.code == "unencodable"
    else:
        assert len(data) in (0, 16)
        if isinstance(found, datetime):
            assert found.tzinfo is not None
            try:
                written = smpp_time.absolute(found)
            except TextError:
                assert (
                    not datetime(2000, 1, 1)
                    <= found.replace(tzinfo=None) - (found.utcoffset() or timedelta())
                    < datetime(2100, 1, 1)
                )
            else:
                assert smpp_time.parse(written) == found
        elif found is None:
            assert data == b""
    octets = Octets(data)
    seconds = octets.number(4)
    try:
        relative = smpp_time.relative(seconds)
    except TextError:
        assert not 1 <= seconds <= smpp_time.RELATIVE_SECONDS_MAX
    else:
        back = smpp_time.parse(relative)
        assert isinstance(back, timedelta)
        assert back.total_seconds() <= seconds
        if seconds <= 30 * 86_400:
            assert back.total_seconds() == seconds
    date = smpp_time.receipt_date(data.decode("latin-1"))
    assert date is None or 0 < date.year <= 9999
    smpp_time.receipt_date(data.decode("utf-8", "replace"))
