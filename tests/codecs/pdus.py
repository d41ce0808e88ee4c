"""Hypothesis strategies and edge cases of every PDU: all fields within their limits, optional parameters
known, unknown and of vendors. Shared by the tests of the codec and by those that ask other implementations.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import msgspec
from hypothesis import strategies as st
from todoke.codecs import constants as c
from todoke.codecs import pdu
from todoke.codecs.fields import LAYOUTS, TLVS, Field, Kind, TlvRule

KNOWN_TLV_OCTETS_MAX = 300
"""Values drawn are no longer than this, though message_payload may be; `edge_tlvs` has the longest."""

OCTET = st.integers(0, 255) | st.sampled_from([0, 1, 2, 3, 4, 8, 0x40, 0xF0, 255])
TEXT = bytes(range(1, 256))
"""What a C-Octet String may hold: any octet but NUL."""


def strings(size: int) -> st.SearchStrategy[bytes]:
    """C-Octet Strings of at most `size` octets, NUL included (and left out here); printable or not."""
    printable = st.binary(max_size=size - 1).map(lambda value: bytes(33 + octet % 94 for octet in value))
    return printable | st.binary(max_size=size - 1).map(lambda value: value.replace(b"\0", b"z"))


@st.composite
def times(draw: st.DrawFn) -> bytes:
    """Nothing, an absolute or a relative time (7.1.1): always 16 characters."""
    kind = draw(st.sampled_from(["none", "absolute", "relative"]))
    if kind == "none":
        return b""
    if kind == "absolute":
        date = f"{draw(st.integers(0, 99)):02}{draw(st.integers(1, 12)):02}{draw(st.integers(1, 28)):02}"
        sign = draw(st.sampled_from("+-"))
        end = f"{draw(st.integers(0, 9))}{draw(st.integers(0, 48)):02}{sign}"
    else:
        years = draw(st.sampled_from(["0000", "0001", "0111", "9911"]))
        date = f"{years}{draw(st.integers(0, 30)):02}"
        end = "000R"
    clock = [draw(st.integers(0, most)) for most in (23, 59, 59)]
    return (date + "".join(f"{value:02}" for value in clock) + end).encode()


ADDRESSES = st.builds(pdu.DestAddress, strings(21), OCTET, OCTET)
LISTS = strings(21).filter(bool).map(lambda name: pdu.DestAddress(dl_name=name))
UNSUCCESSFUL = st.builds(
    pdu.UnsuccessSme,
    strings(21),
    OCTET,
    OCTET,
    st.sampled_from(sorted(c.STATUS_NAMES)) | st.integers(0, 2**32 - 1),
)


def field_values(field: Field) -> st.SearchStrategy[Any]:
    """Every value this mandatory field may have when it is written."""
    if field.kind is Kind.INTEGER:
        return OCTET if field.values is None else st.sampled_from(sorted(field.values))
    if field.kind is Kind.STRING:
        return strings(field.size)
    if field.kind is Kind.TIME:
        return times()
    if field.kind is Kind.MESSAGE:
        return st.binary(max_size=c.SHORT_MESSAGE_OCTETS_MAX)
    if field.kind is Kind.DESTINATIONS:
        return st.lists(ADDRESSES | LISTS, min_size=1, max_size=3)
    return st.lists(UNSUCCESSFUL, max_size=3)


def tlv_values(tag: int, rule: TlvRule) -> st.SearchStrategy[bytes]:
    """A value of a known optional parameter, within its sizes and of its kind."""
    most = min(rule.octets_max, KNOWN_TLV_OCTETS_MAX)
    if tag == c.TAG_BROADCAST_END_TIME:
        return times().filter(bool).map(lambda value: value + b"\0")
    if most == 1 and rule.octets_min:
        return st.integers(rule.value_min, rule.value_max).map(lambda value: bytes((value,)))
    if rule.kind == "string":
        sized = st.binary(min_size=rule.octets_min - 1, max_size=most - 1)
        return sized.map(lambda value: value.replace(b"\0", b"z") + b"\0")
    return st.binary(min_size=rule.octets_min, max_size=most)


def known_tlvs(without: frozenset[int] = frozenset()) -> st.SearchStrategy[tuple[int, bytes]]:
    """One known optional parameter, none of the tags `without`."""
    tags = sorted(set(TLVS) - without)
    return st.sampled_from(tags).flatmap(lambda tag: st.tuples(st.just(tag), tlv_values(tag, TLVS[tag])))


VENDOR_TLVS = st.tuples(st.integers(0x1400, 0x3FFF), st.binary(max_size=40))
UNKNOWN_TLVS = st.tuples(st.integers(0, 0xFFFF).filter(lambda tag: tag not in TLVS), st.binary(max_size=40))


def tlvs(without: frozenset[int] = frozenset()) -> st.SearchStrategy[pdu.Tlvs]:
    """Up to four optional parameters, repeated or not."""
    return st.lists(known_tlvs(without) | VENDOR_TLVS | UNKNOWN_TLVS, max_size=4)


@st.composite
def pdus(draw: st.DrawFn, command_id: int | None = None) -> pdu.Pdu:
    """Any PDU, or one of this command."""
    struct = pdu.PDUS[draw(st.sampled_from(sorted(pdu.PDUS))) if command_id is None else command_id]
    values = {field.name: draw(field_values(field)) for field in LAYOUTS[struct.command_id]}
    some = draw(tlvs())
    if values.get("short_message"):
        some = [(tag, value) for tag, value in some if tag != c.TAG_MESSAGE_PAYLOAD]
    return struct(**values, tlvs=with_whole_sar(some))


def with_whole_sar(some: pdu.Tlvs) -> pdu.Tlvs:
    """The three sar_* parameters or none of them, as they must be written: number within total."""
    sar = {c.TAG_SAR_MSG_REF_NUM: b"\0\7", c.TAG_SAR_TOTAL_SEGMENTS: b"\1", c.TAG_SAR_SEGMENT_SEQNUM: b"\1"}
    given = {tag: value for tag, value in some if tag in sar}
    if not given:
        return some
    sar |= given
    sar[c.TAG_SAR_TOTAL_SEGMENTS] = max(sar[c.TAG_SAR_TOTAL_SEGMENTS], sar[c.TAG_SAR_SEGMENT_SEQNUM])
    return [*((tag, value) for tag, value in some if tag not in sar), *sar.items()]


@st.composite
def vendor_pdus(draw: st.DrawFn) -> pdu.VendorPdu:
    """A PDU of the range that SMPP leaves to vendors (5.1.2.1), request or response."""
    command_id = draw(st.integers(0x00010200, 0x000102FF)) | draw(st.sampled_from([0, c.RESPONSE_BIT]))
    return pdu.VendorPdu(command_id=command_id, body=draw(st.binary(max_size=60)))


def crossed(found: list[pdu.Pdu], count: int, random: Random) -> Iterator[pdu.Pdu]:
    """More PDUs out of drawn ones, fast: each field taken from some other of the same command."""
    kinds: dict[type[pdu.Pdu], list[pdu.Pdu]] = {}
    for message in found:
        kinds.setdefault(type(message), []).append(message)
    for _ in range(count):
        parents = kinds[random.choice(list(kinds))]
        names = [field.name for field in LAYOUTS[parents[0].command_id]]
        values = {name: getattr(random.choice(parents), name) for name in names}
        some = random.choice(parents).tlvs
        if values.get("short_message"):
            some = [(tag, value) for tag, value in some if tag != c.TAG_MESSAGE_PAYLOAD]
        yield type(parents[0])(**values, tlvs=some)


# --- the edges, one by one ---------------------------------------------------------------------------------

SHORTEST: dict[Kind, Any] = {
    Kind.INTEGER: 0,
    Kind.STRING: b"",
    Kind.TIME: b"",
    Kind.MESSAGE: b"",
    Kind.DESTINATIONS: [pdu.DestAddress()],
    Kind.UNSUCCESSFUL: [],
}


def longest(field: Field) -> Any:
    """The largest value that may be written."""
    if field.kind is Kind.INTEGER:
        return 255 if field.values is None else max(field.values)
    if field.kind is Kind.STRING:
        return bytes(33 + at % 94 for at in range(field.size - 1))
    if field.kind is Kind.TIME:
        return b"991231235959948-"
    if field.kind is Kind.MESSAGE:
        return bytes(33 + at % 94 for at in range(c.SHORT_MESSAGE_OCTETS_MAX))
    if field.kind is Kind.DESTINATIONS:
        addresses = [pdu.DestAddress(b"9" * 20, 255, 255), pdu.DestAddress(dl_name=b"L" * 20)]
        return (addresses * 128)[: field.size]
    return [pdu.UnsuccessSme(b"9" * 20, 255, 255, 0xFFFFFFFF)] * field.size


def edges(command_id: int) -> Iterator[pdu.Pdu]:
    """This command with every field at its least, every field at its most, and each alone at its most."""
    struct, layout = pdu.PDUS[command_id], LAYOUTS[command_id]
    least = struct(**{field.name: SHORTEST[field.kind] for field in layout})
    yield least
    yield struct(**{field.name: longest(field) for field in layout})
    for field in layout:
        yield msgspec.structs.replace(least, **{field.name: longest(field)})


def edge_tlvs() -> Iterator[tuple[int, bytes]]:
    """Every known optional parameter with its shortest and its longest value, and a few that nobody knows."""
    for tag, rule in sorted(TLVS.items()):
        for size in sorted({rule.octets_min, rule.octets_max}):
            value = bytes(1 + at % 255 for at in range(size))
            if tag == c.TAG_BROADCAST_END_TIME:
                value = b"261121103005300+\0"
            elif rule.kind == "string":
                value = b"x" * (size - 1) + b"\0"
            yield tag, value
    yield from [(0x1400, b""), (0x1400, b"\0" * 300), (0x3FFF, b"\xff"), (0x4000, b"q"), (0xFFFF, b"")]
