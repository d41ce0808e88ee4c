"""TCP segments -> the octets of each direction in order -> PDUs.

Retransmissions and overlaps are dropped, out of order segments wait (OUT_OF_ORDER_OCTETS_MAX), gaps are
named. Where a capture begins in the middle of a connection, octets are missing, or a command_length cannot
be, the next plausible PDU header is looked for.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter
from struct import Struct
from typing import Final, NamedTuple

from ...codecs import constants as c
from ...codecs import framing
from ...codecs.errors import FramingError
from ...codecs.fields import LAYOUTS
from .captures import Endpoint, Segment

OUT_OF_ORDER_OCTETS_MAX: Final = 1_048_576
"""One direction waits for a missing segment until that much has come after it."""
OUT_OF_ORDER_OCTETS_ALL_MAX: Final = 33_554_432
"""The same for all directions together."""
SEGMENTS_AFTER_ACK: Final = 16
"""The receiver has what we wait for, and so many segments came since: the capture has missed it."""
FLOWS_MAX: Final = 4_096
"""Directions followed at a time; the one longest idle is given up."""
DETECT_OCTETS_MAX: Final = 16_384
"""A direction that begins in the middle is not SMPP if no header is found within so many octets."""

_header = Struct(">4I").unpack_from
# command_length below 0x00020000, command_id with or without the response bit, below 0x00020000.
_candidate = re.compile(rb"\x00[\x00\x01].{2}[\x00\x80][\x00\x01].{2}", re.DOTALL).search


class Frame(NamedTuple):
    """Octets that should be one PDU, and where in their direction (`offset`) they began."""

    time: float
    source: Endpoint | None
    destination: Endpoint | None
    offset: int
    octets: bytes


class Note(NamedTuple):
    """Something about the stream; `wrong` if it is the peer's fault and not the capture's."""

    time: float
    source: Endpoint | None
    destination: Endpoint | None
    offset: int
    text: str
    wrong: bool


Event = Frame | Note


def is_plausible(data: bytes | bytearray, at: int = 0) -> bool:
    """Whether 16 octets can be the header of a PDU that SMPP names."""
    if len(data) - at < c.HEADER_OCTETS:
        return False
    command_length, command_id, command_status, sequence_number = _header(data, at)
    request = not command_id & c.RESPONSE_BIT
    return (
        c.HEADER_OCTETS <= command_length <= c.PDU_OCTETS_MAX
        and (command_id in LAYOUTS or command_id & ~c.RESPONSE_BIT in c.VENDOR_COMMANDS)
        and (bool(LAYOUTS.get(command_id, True)) or command_length == c.HEADER_OCTETS)
        and (not command_status if request else command_status <= 0xFFFF)
        and (1 <= sequence_number <= c.SEQUENCE_NUMBER_MAX or command_id == c.GENERIC_NACK)
    )


class Framer:
    """One direction's octets -> frames.

    `certain`: it is SMPP, whatever it looks like. Otherwise the first octets decide: a direction read from
    its beginning must begin with a header, one from the middle must have one within DETECT_OCTETS_MAX.
    """

    def __init__(
        self, source: Endpoint | None, destination: Endpoint | None, *, certain: bool, from_start: bool
    ) -> None:
        self.source = source
        self.destination = destination
        self.certain = certain
        self.from_start = from_start
        self.known = certain
        self.foreign = False
        self.synchronised = from_start
        self.offset = 0  # of buffer[0] in the direction
        self.skipped = 0
        self.buffer = bytearray()

    def feed(self, time: float, data: bytes) -> list[Event]:
        """The next octets; the PDUs they complete."""
        if self.foreign:
            return []
        self.buffer += data
        events: list[Event] = []
        if not self.known and self.from_start:
            if len(self.buffer) < c.HEADER_OCTETS:
                return []
            self.known = is_plausible(self.buffer)
            self.foreign = not self.known
        while not self.foreign and (self.synchronised or self.synchronise(time, events)):
            self.cut(time, events)
            if self.synchronised:
                break
        if self.foreign:
            self.buffer.clear()
        return events if self.known else []

    def gap(self, time: float, octets: int) -> list[Event]:
        """So many octets are missing here."""
        if self.foreign:
            return []
        lost = f" within a PDU, of which {len(self.buffer)} are there" if self.buffer else ""
        note = self.note(time, f"{octets} octets are missing in the capture{lost}", wrong=False)
        self.offset += len(self.buffer) + octets
        self.buffer.clear()
        self.synchronised = self.from_start = False
        return [note] if self.known else []

    def finish(self, time: float) -> list[Event]:
        """The end: what is left is no whole PDU."""
        octets = len(self.buffer)
        if not self.known or not octets:
            return []
        text = f"the capture ends within a PDU, of which {octets} octets are there"
        if not self.synchronised:
            text = f"{self.skipped + octets} octets at the end without a plausible header"
        return [self.note(time, text, wrong=False)]

    def rest(self, time: float) -> Frame | None:
        """The same where nothing can follow: as the PDU it should have been."""
        return self.frame(time, 0, len(self.buffer)) if self.buffer else None

    def cut(self, time: float, events: list[Event]) -> None:
        """Whole PDUs off the front, until one is not whole or its length cannot be."""
        buffer, at = self.buffer, 0
        while len(buffer) - at >= 4:
            length = int.from_bytes(buffer[at : at + 4], "big")
            if not c.HEADER_OCTETS <= length <= c.PDU_OCTETS_MAX:
                self.synchronised = False
                events.append(self.note(time, self.why(at), wrong=True, at=at))
                until = self.find(at + 1)
                after = len(buffer) if until is None else until
                events.append(self.frame(time, at, after))
                self.drop(after)
                return
            if len(buffer) - at < length:
                break
            events.append(self.frame(time, at, at + length))
            at += length
        self.drop(at)

    def synchronise(self, time: float, events: list[Event]) -> bool:
        """Drop what comes before the next plausible header; whether there is one."""
        at = self.find(0)
        # A header may begin in the last octets.
        drop = max(0, len(self.buffer) - c.HEADER_OCTETS + 1) if at is None else at
        self.skipped += drop
        self.drop(drop)
        if at is None:
            self.foreign = not self.known and self.skipped > DETECT_OCTETS_MAX
            return False
        if self.skipped or not self.offset:
            begins = "the capture begins within the connection; " if self.offset == self.skipped else ""
            text = f"{begins}{self.skipped} octets skipped up to a plausible header"
            events.append(self.note(time, text, wrong=False))
        self.known = self.synchronised = True
        self.skipped = 0
        return True

    def find(self, at: int) -> int | None:
        """The first plausible header from `at`, behind which (if that is there) another one begins."""
        while (match := _candidate(self.buffer, at)) is not None:
            at = match.start()
            if is_plausible(self.buffer, at):
                after = at + int.from_bytes(self.buffer[at : at + 4], "big")
                if after + c.HEADER_OCTETS > len(self.buffer) or is_plausible(self.buffer, after):
                    return at
            at += 1
        return None

    def why(self, at: int) -> str:
        try:
            framing.split(self.buffer[at : at + c.HEADER_OCTETS], c.PDU_OCTETS_MAX)
        except FramingError as error:
            return f"lost the frames: {error.detail}"
        raise AssertionError("only for a length that cannot be")

    def drop(self, octets: int) -> None:
        del self.buffer[:octets]
        self.offset += octets

    def frame(self, time: float, start: int, end: int) -> Frame:
        octets = bytes(self.buffer[start:end])
        return Frame(time, self.source, self.destination, self.offset + start, octets)

    def note(self, time: float, text: str, *, wrong: bool, at: int = 0) -> Note:
        return Note(time, self.source, self.destination, self.offset + at, text, wrong)


class Flow:
    """One direction of one connection: segments -> octets in order."""

    def __init__(self, framer: Framer, first: int) -> None:
        self.framer = framer
        self.next = first
        self.first = first
        self.last_time = 0.0
        self.pending: list[tuple[int, int, float, bytes, int]] = []
        self.pending_octets = 0
        self.count = 0

    def add(self, segment: Segment, counted: Counter[str]) -> list[Event]:
        """A segment with payload."""
        self.last_time = segment.time
        ahead = self.distance(segment.sequence + segment.syn)
        at = self.next + ahead
        if ahead > 0:
            counted["segments out of order"] += 1
            self.count += 1
            item = (at, self.count, segment.time, segment.payload, segment.missing)
            heapq.heappush(self.pending, item)
            self.pending_octets += len(segment.payload)
            return []
        if ahead < 0:
            counted["segments sent again"] += 1
        events = self.deliver(at, segment.time, segment.payload, segment.missing)
        self.drain(events)
        return events

    def skip(self, counted: Counter[str]) -> list[Event]:
        """Give up waiting for what lies before the first segment that waits."""
        at, _, time, _, _ = self.pending[0]
        counted["gaps"] += 1
        events = self.framer.gap(time, at - self.next)
        self.next = at
        self.drain(events)
        return events

    def finish(self, counted: Counter[str]) -> list[Event]:
        """The end of the capture, or of this connection."""
        events: list[Event] = []
        while self.pending:
            events += self.skip(counted)
        return events + self.framer.finish(self.last_time)

    def distance(self, sequence: int) -> int:
        """How far a 32-bit sequence number is ahead (or, below 0, behind) of what is expected."""
        return ((sequence - self.next + 0x80000000) & 0xFFFFFFFF) - 0x80000000

    def drain(self, events: list[Event]) -> None:
        while self.pending and self.pending[0][0] <= self.next:
            at, _, time, payload, missing = heapq.heappop(self.pending)
            self.pending_octets -= len(payload)
            events += self.deliver(at, time, payload, missing)

    def deliver(self, at: int, time: float, payload: bytes, missing: int) -> list[Event]:
        """What of payload is new, from stream position `at` on."""
        end = at + len(payload)
        events: list[Event] = []
        if end > self.next:
            events = self.framer.feed(time, payload[self.next - at :])
            self.next = end
        if missing and end + missing > self.next:
            events += self.framer.gap(time, end + missing - self.next)
            self.next = end + missing
        return events


class Connections:
    """All segments of a capture -> frames and notes.

    `port`: only connections with it, which are SMPP; None: those that look like SMPP. `counted` tells about
    segments sent again, out of order, gaps.
    """

    def __init__(self, port: int | None = None) -> None:
        self.port = port
        self.counted: Counter[str] = Counter()
        self.flows: dict[tuple[Endpoint, Endpoint], Flow] = {}
        self.pending_octets = 0

    def feed(self, segment: Segment) -> list[Event]:
        """The next segment of the capture."""
        if self.port is not None and self.port not in (segment.source[1], segment.destination[1]):
            return []
        events = self.acknowledge(segment)
        if not segment.syn and not segment.payload and not segment.missing:
            return events
        key = segment.source, segment.destination
        flow = self.flows.pop(key, None)
        if segment.syn and flow is not None and flow.first != segment.sequence + 1:
            events += self.end(flow)
            flow = None
        if flow is None:
            flow = self.begin(segment, events)
        self.flows[key] = flow
        before = flow.pending_octets
        events += flow.add(segment, self.counted)
        others = self.pending_octets - before
        while flow.pending_octets > min(OUT_OF_ORDER_OCTETS_MAX, OUT_OF_ORDER_OCTETS_ALL_MAX - others):
            events += flow.skip(self.counted)
        self.pending_octets += flow.pending_octets - before
        return events

    def finish(self) -> list[Event]:
        """The end of the capture."""
        events: list[Event] = []
        for flow in self.flows.values():
            events += self.end(flow)
        self.flows.clear()
        return events

    def begin(self, segment: Segment, events: list[Event]) -> Flow:
        if len(self.flows) >= FLOWS_MAX:
            events += self.end(self.flows.pop(next(iter(self.flows))))
        framer = Framer(
            segment.source, segment.destination, certain=self.port is not None, from_start=segment.syn
        )
        return Flow(framer, segment.sequence + segment.syn)

    def end(self, flow: Flow) -> list[Event]:
        self.pending_octets -= flow.pending_octets
        return flow.finish(self.counted)

    def acknowledge(self, segment: Segment) -> list[Event]:
        """What the receiver has got and the capture has not will not come any more."""
        flow = self.flows.get((segment.destination, segment.source))
        if flow is None or segment.acknowledged is None or len(flow.pending) < SEGMENTS_AFTER_ACK:
            return []
        if flow.distance(segment.acknowledged) <= 0:
            return []
        before = flow.pending_octets
        events = flow.skip(self.counted)
        self.pending_octets += flow.pending_octets - before
        return events
