"""`todoke pdu`: PDUs out of pasted hexadecimal, a file or a network capture, field by field."""

from __future__ import annotations

import gzip
import os
import sys
import zlib
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from io import BytesIO
from pathlib import Path
from struct import Struct
from typing import Annotated, BinaryIO

import msgspec
from cyclopts import Parameter

from ...codecs import constants as c
from ...codecs.describe import Row, describe
from ..dispatch import retry
from . import hex_input
from .captures import (
    LINK_ETHERNET,
    LINK_IP,
    MAGICS,
    CaptureError,
    Packet,
    Source,
    endpoint_name,
    packets,
    segment_of,
)
from .errors import EXIT_FAILED, EXIT_OK, UsageError
from .pdu_summary import Summary
from .streams import Connections, Event, Frame, Framer, is_plausible

HEX_OCTETS_MAX = 64 * 1024 * 1024
"""Hexadecimal or raw octets are read as a whole, unlike captures."""

PADDING_OCTETS_MAX = 10
"""An Ethernet frame has at least 60 octets, of which headers take 54; 4 more may be a checksum."""

_header = Struct(">4I").unpack_from
_GZIP = b"\x1f\x8b"
_RED, _PLAIN = "\x1b[31m", "\x1b[0m"


class ShownPdu(msgspec.Struct):
    """One line of `--json`. `offset` is where the PDU begins in its input, or in its direction of the
    connection; `time` (seconds since 1970), `source`, `destination` and, for an answer, `answer_s` are null
    without a capture. A row with a `problem` has an `answer` to send back ("" if there is none to send).
    """

    name: str
    command_id: int | None
    command_status: int | None
    sequence_number: int | None
    octets: int
    offset: int
    time: float | None
    source: str | None
    destination: str | None
    answer_s: float | None
    wrong: bool
    rows: list[Row]


class ShownNote(msgspec.Struct):
    """The other line of `--json`: something about the stream of octets between two PDUs."""

    note: str
    offset: int
    time: float | None
    source: str | None
    destination: str | None
    wrong: bool


def pdu(
    *source: Annotated[str, Parameter(allow_leading_hyphen=True)],
    show_text: Annotated[bool, Parameter(negative="")] = False,
    port: int | None = None,
    command: str | None = None,
    sequence: int | None = None,
    limit: int | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Show PDUs field by field, and what is wrong with them and where.

    Addresses and texts are masked; passwords are never shown. A capture is summed up on standard error.

    Exit 0 if nothing is wrong in the PDUs shown, 1 if something is, 2 if the input cannot be read.

    Parameters
    ----------
    source
        Hexadecimal (any spelling, dumps of xxd, tcpdump and Wireshark too), a file of it, a file of raw
        octets, a pcap or pcapng file (.gz too), or `-` for any of these on standard input.
    show_text
        Show addresses and texts.
    port
        TCP port of SMPP in a capture; without it, every connection that looks like SMPP.
    command
        Only PDUs of this command, by its name, such as submit_sm.
    sequence
        Only PDUs with this sequence_number.
    limit
        Show at most so many PDUs.
    json
        Print one JSON object a line.
    """
    if not source:
        raise UsageError("pdu: give hexadecimal, a file, or - for standard input")
    if command is not None and command not in c.COMMAND_NAMES.values():
        raise UsageError(f"pdu: no command {command!r}; such as submit_sm, deliver_sm_resp")
    shower = Shower(show_text, command, sequence, limit, json)
    try:
        with _opened(source) as file:
            return _read(file, port, shower)
    except hex_input.HexError as error:
        raise UsageError(f"pdu: {error}; neither a file, nor hexadecimal") from None
    except (EOFError, zlib.error):
        raise UsageError(f"pdu: cannot read {source[0]}: its compression is broken") from None
    except OSError as error:
        raise UsageError(f"pdu: cannot read {source[0]}: {error.strerror or error}") from None


# --- input ------------------------------------------------------------------------------------------------


def _opened(source: tuple[str, ...]) -> BinaryIO:
    if source == ("-",):
        return sys.stdin.buffer
    if len(source) == 1 and _is_file(source[0]):
        return Path(source[0]).open("rb")
    if len(source) == 1 and (os.sep in source[0] or "." in source[0]):
        raise UsageError(f"pdu: no file {source[0]}")
    return BytesIO(" ".join(source).encode())


def _is_file(name: str) -> bool:
    """Named pipes and devices too; a name too long for one is hexadecimal."""
    try:
        return Path(name).exists() and not Path(name).is_dir()
    except OSError:
        return False


def _read(file: BinaryIO, port: int | None, shower: Shower) -> int:
    begin = file.read(4)
    if begin[:2] == _GZIP:
        whole: Source = gzip.GzipFile(fileobj=_Joined(begin, file))
        begin = whole.read(4)
    else:
        whole = file
    if begin in MAGICS:
        return _read_capture(whole, begin, port, shower)
    data = begin + whole.read(HEX_OCTETS_MAX)
    if whole.read(1):
        raise UsageError(f"pdu: more than {HEX_OCTETS_MAX:,} octets that are no capture")
    connections = Connections(port)
    blocks = _blocks(data)
    dumped = [packet for block in blocks if (packet := _packet(block)) is not None]
    for packet in dumped:
        if segment := segment_of(packet, connections.counted):
            shower.show(connections.feed(segment))
    # Among packets tshark prints the PDUs that it put together: those come out of the packets as well.
    for block in () if dumped else blocks:
        shower.show(_block_events(block))
    shower.show(connections.finish())
    if not shower.summary.counts and not shower.wrong:
        raise UsageError("pdu: no PDU in the input")
    return EXIT_FAILED if shower.wrong else EXIT_OK


def _read_capture(file: Source, magic: bytes, port: int | None, shower: Shower) -> int:
    shower.capture = True
    connections = Connections(port)
    broken = ""
    try:
        for packet in packets(file, magic):
            if segment := segment_of(packet, connections.counted):
                shower.show(connections.feed(segment))
    except CaptureError as error:
        broken = str(error)
    shower.show(connections.finish())
    sys.stdout.flush()
    print(*shower.summary.lines(connections.counted.items()), sep="\n", file=sys.stderr)
    if broken:
        raise UsageError(f"pdu: the capture is {broken}" if broken.startswith("cut") else f"pdu: {broken}")
    if not shower.summary.counts:
        hint = "give the port of SMPP with --port" if port is None else f"is SMPP on port {port}?"
        raise UsageError(f"pdu: no PDU in the capture; {hint}")
    return EXIT_FAILED if shower.wrong else EXIT_OK


def _blocks(data: bytes) -> list[bytes]:
    """Hexadecimal text as octets; what is no text is octets already."""
    if is_plausible(data) or not data.strip():
        return [data] if data.strip() else []
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return [data]
    return (
        hex_input.blocks(text)
        if text.replace("\t", " ").replace("\r", "").replace("\n", "").isprintable()
        else [data]
    )


def _block_events(block: bytes) -> list[Event]:
    """The PDUs of octets that belong together, one behind another."""
    framer = Framer(None, None, certain=True, from_start=True)
    events = framer.feed(0.0, block)
    if rest := framer.rest(0.0):
        events.append(rest)
    return events


def _packet(block: bytes) -> Packet | None:
    """The block as a packet with its IP, or Ethernet and IP, header, if its length says that it is one."""
    if is_plausible(block):
        return None
    for link, at in ((LINK_IP, 0), (LINK_ETHERNET, 14)):
        ip = block[at:]
        version = ip[0] >> 4 if len(ip) >= 40 else 0
        length = {4: ip[2:4], 6: ip[4:6]}.get(version, b"")
        surplus = len(ip) - int.from_bytes(length, "big") - (40 if version == 6 else 0)
        if length and 0 <= surplus <= PADDING_OCTETS_MAX:
            return Packet(0.0, link, block)
    return None


class _Joined(BytesIO):
    """Octets that were read already, and the rest of the file."""

    def __init__(self, begin: bytes, file: BinaryIO) -> None:
        super().__init__(begin)
        self._file = file

    def read(self, size: int | None = -1, /) -> bytes:
        begin = super().read(size)
        left = -1 if size is None or size < 0 else size - len(begin)
        return begin + self._file.read(left) if left else begin


# --- output -----------------------------------------------------------------------------------------------


class Shower:
    """Prints what was asked for and remembers whether something was wrong."""

    def __init__(
        self, show_text: bool, command: str | None, sequence: int | None, limit: int | None, json: bool
    ) -> None:
        self.describe = partial(describe, show_text=show_text, retry_class=_retry_class)
        self.command = command
        self.sequence = sequence
        self.left = sys.maxsize if limit is None else limit
        self.json = json
        self.capture = False
        self.wrong = False
        self.summary = Summary()
        self.colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def show(self, events: Iterable[Event]) -> None:
        """Print PDUs and notes as they come."""
        for event in events:
            if isinstance(event, Frame):
                self.show_frame(event)
            else:
                self.wrong |= event.wrong
                note = ShownNote(
                    event.text,
                    event.offset,
                    event.time if self.capture else None,
                    event.source and endpoint_name(event.source),
                    event.destination and endpoint_name(event.destination),
                    event.wrong,
                )
                if self.json:
                    print(msgspec.json.encode(note).decode())
                else:
                    where = f"octet {note.offset}"
                    print(f"-- {_where(note.time, note.source, note.destination) or where}: {note.note}\n")

    def show_frame(self, frame: Frame) -> None:
        answer_s = None
        name, sequence_number = "", None
        if len(frame.octets) >= c.HEADER_OCTETS:
            _, command_id, command_status, sequence_number = _header(frame.octets)
            answer_s = self.summary.add(frame, command_id, command_status, sequence_number)
            name = c.COMMAND_NAMES.get(command_id, "")
        if self.left <= 0:
            return
        if self.command not in (None, name) or self.sequence not in (None, sequence_number):
            return
        self.left -= 1
        found = self.describe(frame.octets)
        self.wrong |= found.wrong
        self.summary.wrong += found.wrong
        shown = ShownPdu(
            found.name,
            found.command_id,
            found.command_status,
            found.sequence_number,
            found.octets,
            frame.offset,
            frame.time if self.capture else None,
            frame.source and endpoint_name(frame.source),
            frame.destination and endpoint_name(frame.destination),
            answer_s if self.capture else None,
            found.wrong,
            found.rows,
        )
        print(msgspec.json.encode(shown).decode() if self.json else self.for_people(shown))

    def for_people(self, shown: ShownPdu) -> str:
        head = [shown.name]
        if shown.sequence_number is not None:
            head.append(f"sequence {shown.sequence_number}")
        head.append(f"{shown.octets} octets")
        if where := _where(shown.time, shown.source, shown.destination):
            head.append(where)
        elif shown.offset:
            head.append(f"from octet {shown.offset} of the input")
        if shown.answer_s is not None:
            head.append(f"answered in {shown.answer_s * 1000:.1f} ms")
        lines = ["  ".join(head)]
        names = [f"{'  ' * row.level}{row.name}" for row in shown.rows]
        width = max(map(len, names), default=0)
        for row, name in zip(shown.rows, names, strict=True):
            mark = "!" if row.problem else " "
            words = "  ".join(word for word in (row.value, row.meaning) if word and word != "''")
            lines.append(f"{mark}{row.offset:6} {row.octets:5}  {name:{width}}  {words}".rstrip())
            if row.problem:
                answer = f"; answer {row.answer}" if row.answer else ""
                line = f"{'':15}{'':{width}} ^ octet {row.offset}: {row.problem}{answer}"
                lines.append(f"{_RED}{line}{_PLAIN}" if self.colour else line)
        return "\n".join(lines) + "\n"


def _where(time: float | None, source: str | None, destination: str | None) -> str:
    when = (
        "" if time is None else datetime.fromtimestamp(time, UTC).isoformat(" ", "microseconds")[:26] + "Z  "
    )
    return f"{when}{source} > {destination}" if source else ""


def _retry_class(command_status: int) -> str:
    """What `dispatch.retry` does about it unless the carrier's table says otherwise."""
    return str(retry.CLASSES.get(command_status, retry.StatusClass.RETRY_ONCE)).replace("_", " ")
