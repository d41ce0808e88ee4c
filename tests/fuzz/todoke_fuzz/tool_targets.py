"""What must hold for anything `todoke pdu` is given: descriptions of PDUs, captures, streams of segments."""

# An error that is let out is looked at where it is caught; there is no pytest here.
# ruff: noqa: PT017

from __future__ import annotations

from io import BytesIO

import msgspec
from todoke.codecs import constants as c
from todoke.codecs import describe, pdu
from todoke.codecs.errors import CodecError, FramingError
from todoke.codecs.framing import split
from todoke.engine.cli import hex_input
from todoke.engine.cli.captures import MAGICS, CaptureError, Segment, packets, segment_of
from todoke.engine.cli.streams import Connections, Frame

from .reading import Octets

# --- descriptions -----------------------------------------------------------------------------------------


def descriptions(data: bytes) -> None:
    """Rows of any octets: refused where they cannot be decoded, printable, in the PDU, no secrets."""
    for show_text in (False, True):
        found = describe.describe(data, show_text)
        assert found.octets == len(data)
        try:
            decoded = pdu.decode(data)
        except CodecError:
            assert found.refused
            decoded = None
        else:
            assert not found.refused, [row for row in found.rows if row.refused]
            assert (found.command_id, found.command_status) == (decoded.command_id, decoded.command_status)
            assert found.sequence_number == decoded.sequence_number
        assert found.rows
        assert not found.refused or found.wrong
        for row in found.rows:
            assert 0 <= row.offset <= len(data)
            assert 0 <= row.octets <= len(data) - row.offset
            assert (row.name + row.value + row.meaning + row.problem + row.answer).isprintable()
            assert row.problem or not row.refused
        if decoded is not None:
            _hides(decoded, found, data, show_text)


def _hides(decoded: pdu.Pdu, found: describe.Description, data: bytes, show_text: bool) -> None:
    """Another password, or address where none is shown, of the same length makes no difference."""
    names = ["password"] if show_text else ["password", "source_addr", "destination_addr", "esme_addr"]
    secrets = {name: getattr(decoded, name) for name in names if hasattr(decoded, name)}
    others = {name: value.translate(ANOTHER) for name, value in secrets.items()}
    try:
        other = pdu.encode(
            msgspec.structs.replace(decoded, **others), decoded.sequence_number, decoded.command_status
        )
        if pdu.encode(decoded, decoded.sequence_number, decoded.command_status) != data:
            return
    except CodecError:
        return
    again = describe.describe(other, show_text)
    assert [(row.name, row.value) for row in again.rows] == [(row.name, row.value) for row in found.rows]


ANOTHER = bytes([0, *range(2, 0x100), 1])
"""Each octet but NUL to the next one, so that none stays."""

# --- captures ---------------------------------------------------------------------------------------------


def captures(data: bytes) -> None:
    """Packets, or CaptureError; their payloads are pieces of the file; what they make up is framed."""
    file = BytesIO(data)
    magic = file.read(4)
    connections = Connections()
    count = 0
    try:
        for packet in packets(file, magic):
            count += 1
            assert len(packet.octets) <= len(data)
            segment = segment_of(packet, connections.counted)
            if segment is not None:
                assert segment.payload in data
                assert segment.missing >= 0
                assert len(segment.source[0]) in (4, 16)
                for event in connections.feed(segment):
                    assert not isinstance(event, Frame) or event.octets in data or count > 1
    except CaptureError as error:
        assert str(error)
    assert magic in MAGICS or count == 0
    connections.finish()
    assert all(n > 0 for n in connections.counted.values())
    try:
        blocks = hex_input.blocks(data.decode("latin-1"))
    except hex_input.HexError as error:
        assert str(error)
    else:
        assert sum(map(len, blocks)) <= len(data) + hex_input.REPEATED_OCTETS_MAX


# --- streams ----------------------------------------------------------------------------------------------

CLIENT, SERVER = (b"\x0a\0\0\1", 40_000), (b"\x0a\0\0\2", 2775)


def streams(data: bytes) -> None:
    """However a connection's octets are cut, repeated and disordered on their way, the PDUs are the same."""
    octets = Octets(data)
    plan = octets.take(1 + octets.octet() % 24)
    first = octets.number(4)
    stream = octets.rest()
    try:
        frames, consumed = split(stream, c.PDU_OCTETS_MAX)
    except FramingError:
        return
    segments = _cut(plan, first, stream[:consumed])
    connections = Connections(2775)
    events = connections.feed(_segment(first - 1 & 0xFFFFFFFF, b"", syn=True))
    for segment in segments:
        events += connections.feed(segment)
    events += connections.finish()
    assert [event.octets for event in events if isinstance(event, Frame)] == [frame[3] for frame in frames]
    assert not any(event.wrong for event in events if not isinstance(event, Frame))


def _cut(plan: bytes, first: int, stream: bytes) -> list[Segment]:
    """Pieces of some octets each, one in so many twice, some neighbours changed about."""
    segments: list[Segment] = []
    at = step = 0
    while at < len(stream):
        how = plan[step % len(plan)]
        piece = stream[at : at + 1 + (how & 0x3F)]
        segments.append(_segment(first + at & 0xFFFFFFFF, piece))
        if how & 0x40:
            segments.append(_segment(first + at & 0xFFFFFFFF, piece))
        if how & 0x80 and len(segments) > 1:
            segments[-1], segments[-2] = segments[-2], segments[-1]
        at += len(piece)
        step += 1
    return segments


def _segment(sequence: int, payload: bytes, *, syn: bool = False) -> Segment:
    return Segment(0.0, CLIENT, SERVER, sequence, None, syn, payload, 0)
