"""What must hold for any text, septets and times (`segment`, `gsm7`, `national`, `septets`, `smpp_time`)."""

# An error that is let out is looked at where it is caught; there is no pytest here.
# ruff: noqa: PT017

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import regex  # type: ignore[import-untyped,unused-ignore]  # its types are a package apart
from todoke.codecs import (
    gsm7,
    inbound,
    national,
    pdu,
    segment,
    septets,
    smpp_time,
    transliterate,
    ucs2,
    udh,
)
from todoke.codecs.errors import TextError

from .reading import Octets, text_of

# --- parts of texts ---------------------------------------------------------------------------------------

CLUSTERS = regex.compile(r"\X")
USER_DATA_BITS = 8 * 140
LANGUAGES = tuple(national.LANGUAGES)
ALPHABETS = (
    ("gsm7", "ucs2"),
    ("ucs2",),
    ("gsm7", "latin1", "ucs2"),
    ("latin1",),
    ("gsm7",),
    ("ucs2", "gsm7"),
)
PORTS = (None, None, udh.Ports(240, 255, 8), udh.Ports(16_000, 1, 16))


def _rules(octets: Octets) -> segment.Rules:
    parts_max = octets.octet() or 255
    sizes = octets.octet()
    small = {"gsm7": 2 + sizes % 20, "ucs2": 2 + sizes % 9, "latin1": 2 + sizes % 7, "binary": 2}
    concat = octets.choice(("udh8", "udh16", "sar", "payload"))
    alphabets = octets.choice(ALPHABETS)
    more = octets.octet()
    languages = ((), (octets.octet() % 13 + 1,), LANGUAGES, (1, 3))[more & 3]
    return segment.Rules(
        concat=concat,
        alphabets=alphabets,
        # A part that goes alone has no less room than one of several.
        units_single=small if sizes & 0xC0 == 0xC0 else None,
        units_part=small if sizes & 0x80 else None,
        parts_max=parts_max,
        languages=languages,
        packed=bool(more & 4),
        transliterate=transliterate.TABLE if more & 8 else None,
    )


def segments(data: bytes) -> None:
    """Parts within every limit that say the text again, each for itself, and nothing torn that fits."""
    octets = Octets(data)
    rules = _rules(octets)
    reference = octets.number(2)
    ports = octets.choice(PORTS)
    if octets.octet() & 1:
        content = octets.rest()
        try:
            cut = segment.segment_data(content, rules, ports)
        except TextError as error:
            assert error.code == "too_long"
            return
        assert b"".join(cut.parts) == content
    else:
        text = text_of(octets)
        try:
            cut = segment.segment(text, rules, ports)
        except TextError as error:
            assert error.code in ("unencodable", "too_long")
            return
        sent = "".join(cut.texts)
        assert cut.alphabet in rules.alphabets
        if sent != text:
            assert rules.transliterate is not None
            kept = national.characters_of(rules.languages)
            assert sent in list(transliterate.versions(text, rules.transliterate, kept))
        _check_clusters(sent, cut, rules)
        _check_single(text)
    _check_parts(cut, rules, reference, ports)


def _check_single(text: str) -> None:
    one = segment.single(text)
    if one is not None:
        assert gsm7.encode(text) == one
        assert len(one) <= 160


def _check_parts(
    cut: segment.Segmented, rules: segment.Rules, reference: int, ports: udh.Ports | None
) -> None:
    assert 1 <= cut.segments <= rules.parts_max
    octets_a_unit = 2 if cut.alphabet == "ucs2" else 1
    assert len(cut.parts) == len(cut.units) == (1 if rules.concat == "payload" else cut.segments)
    assert cut.units_left >= 0
    for part, units in zip(cut.parts, cut.units, strict=True):
        assert len(part) == units * octets_a_unit
        if rules.concat != "payload":
            assert units <= (rules.part(cut.alphabet) if cut.segments > 1 else rules.single(cut.alphabet))
    fields = segment.fields(cut, rules, reference)
    assert len(fields) == len(cut.parts)
    for number, (part, field) in enumerate(zip(cut.parts, fields, strict=True), 1):
        read = _as_received(cut, rules, field)
        assert (read.locking, read.single) == (cut.locking, cut.single)
        assert _shown(read, cut, part) == part
        if not read.sniffed and not read.packed:
            assert read.text == _text_of_part(cut, part)
        if len(fields) > 1:
            bits = 0xFF if rules.concat == "udh8" else 0xFFFF
            assert read.concat == udh.Concat(reference & bits, len(fields), number)
        else:
            assert read.concat is None
        if ports is None:
            assert read.ports is None
        else:
            assert read.ports is not None
            assert read.ports[:2] == ports[:2]


def _as_received(
    cut: segment.Segmented, rules: segment.Rules, field: tuple[int, bytes, bytes]
) -> inbound.Inbound:
    """The part as a handset's SMSC would hand it to us, once it has been through the codec."""
    esm_class, short_message, tlvs = field
    if rules.units_part is None and rules.concat != "payload":
        _check_room(cut, rules, field)
    message = pdu.DeliverSm(
        esm_class=esm_class,
        data_coding=cut.data_coding,
        short_message=short_message,
        tlvs=pdu.decode_tlvs(tlvs),
    )
    decoded = pdu.decode(pdu.encode(message, 1))
    assert msgspec.structs.replace(decoded, sequence_number=0) == message
    assert isinstance(decoded, pdu.DeliverSm)
    return inbound.read(decoded, packed=rules.packed)


def _check_room(cut: segment.Segmented, rules: segment.Rules, field: tuple[int, bytes, bytes]) -> None:
    """What goes out fits 140 octets, as it is or once the SMSC has packed it."""
    esm_class, user_data, _ = field
    header, rest = udh.strip(user_data) if esm_class & 0x40 else (b"", user_data)
    if cut.alphabet == "gsm7" and not rules.packed:
        fill = septets.fill_bits(len(header)) if header else 0
        assert 8 * len(header) + fill + 7 * len(rest) <= USER_DATA_BITS
    else:
        assert 8 * len(user_data) <= USER_DATA_BITS


def _shown(read: inbound.Inbound, cut: segment.Segmented, part: bytes) -> bytes:
    """The units of the part, out of what was received."""
    if cut.alphabet == "gsm7" and read.packed:
        return septets.unpack(read.data, len(part), septets.fill_bits(len(read.header)) if read.header else 0)
    return read.data


def _text_of_part(cut: segment.Segmented, part: bytes) -> Any:
    if cut.alphabet == "gsm7":
        return gsm7.decode(part, cut.locking, cut.single)
    if cut.alphabet == "ucs2":
        return ucs2.decode(part).removeprefix("\ufeff")
    return part.decode("latin-1") if cut.alphabet == "latin1" else None


def _check_clusters(text: str, cut: segment.Segmented, rules: segment.Rules) -> None:
    if cut.alphabet != "ucs2" or cut.header:
        return
    limit = rules.part("ucs2") * 2
    inside = {
        at
        for match in CLUSTERS.finditer(text)
        if len(match[0].encode("utf-16-be")) <= limit
        for at in range(match.start() + 1, match.end())
    }
    at = 0
    for part in cut.texts[:-1]:
        at += len(part)
        assert at not in inside, f"torn at {at}"


# --- alphabets --------------------------------------------------------------------------------------------


def alphabets(data: bytes) -> None:
    """Octets always show a text; a text that can be written is read again; septets stay septets."""
    octets = Octets(data)
    locking, single, fill = octets.octet() % 14, octets.octet() % 14, octets.octet() % 7
    shown = gsm7.decode(data, locking, single)
    assert len(shown) <= len(data)
    shown.encode("utf-8")
    text = text_of(octets)
    for written, language in (
        (gsm7.encode(text), (0, 0)),
        (national.encode(text, locking, single), (locking, single)),
    ):
        if written is not None:
            assert written.isascii()
            assert gsm7.decode(written, *language) == text
            assert len(text) <= len(written) <= 2 * len(text)
            _check_packing(written, fill)
    for pair in national.candidates(text, national.pairs_of(LANGUAGES)) if text else ():
        assert gsm7.decode(pair[2], pair[0], pair[1]) == text
    known = {character for character in (*gsm7.BASIC, *gsm7.EXTENSION) if character != "\x1b"}
    assert (gsm7.encode(text) is None) == (not known.issuperset(text))
    ucs2.decode(data).encode("utf-8")
    units = ucs2.encode(text)
    assert (units is None) == any("\ud800" <= character <= "\udfff" for character in text)
    assert units is None or ucs2.decode(units) == text
    unpacked = septets.unpack(data, None, fill)
    assert unpacked.isascii()
    assert 7 * len(unpacked) + fill <= max(8 * len(data), fill)
    _check_packing(unpacked, fill)


def _check_packing(units: bytes, fill: int) -> None:
    packed = septets.pack(units, fill)
    assert len(packed) == (7 * len(units) + fill + 7) // 8
    assert septets.unpack(packed, len(units), fill) == units
    told = septets.unpack(septets.pack(septets.padded(units, fill), fill), None, fill)
    assert told == units or (told == units[:-1] and units[-1] in b"\0\r")


def transliterations(data: bytes) -> None:
    """What the table has is replaced, but for what is kept; what is said to be replaced is."""
    octets = Octets(data)
    kept = set(text_of(Octets(octets.take(octets.octet() % 16))))
    text = text_of(octets)
    table = transliterate.TABLE
    thorough = transliterate.apply(text, table)
    assert not any(character in table for character in thorough)
    gentle = transliterate.apply(text, table, kept)
    assert all(character in kept for character in gentle if character in table)
    versions = list(transliterate.versions(text, table, kept))
    assert set(versions) == {gentle, thorough}
    for sent in versions:
        pairs = transliterate.replaced(text, sent, table, kept)
        assert all(written in text and written != replaced for written, replaced in pairs)
        assert bool(pairs) == (sent != text)


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
