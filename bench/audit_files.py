"""What the audit reads: JSON lines of what an application was told.

One object a line, of two kinds:

    {"message_id": "...", "ref": "order-7", "parts": 1, "to": "+819012345678", "payload_crcs": [305419896]}
    {"event": "report", "message_id": "...", "state": "delivered", ...}    as it came over the socket

The first says a submit was answered with this message id (`to` as submitted, `parts` as answered).
`payload_crcs` is optional: CRC-32 of every part's payload on the wire; it tells messages to one number apart.
Other keys are ignored.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

LINE_OCTETS_MAX: Final = 1 << 20


class Accepted(msgspec.Struct, frozen=True):
    """A submit was answered with this id."""

    message_id: str
    to: str
    parts: int = 1
    ref: str | None = None
    payload_crcs: list[int] | None = None


class Reported(msgspec.Struct, frozen=True):
    """An event came: a report or a correction."""

    message_id: str
    state: str
    correction: bool = False
    possibly_doubled: bool = False


class ToldFormatError(ValueError):
    """A line is not what this reader expects; the text names file and line number."""


class _Line(msgspec.Struct):
    message_id: str = ""
    to: str = ""
    parts: int = 1
    ref: str | None = None
    payload_crcs: list[int] | None = None
    event: str | None = None
    state: str = ""
    possibly_doubled: bool = False


_decode = msgspec.json.Decoder(_Line).decode


def read_told(path: str | Path) -> Iterator[Accepted | Reported]:
    """What the application was told, in order; events other than reports are left out.

    A last line without its newline is a client killed while writing: left out. Raises OSError,
    `ToldFormatError`.
    """
    with open(path, "rb") as file:
        for number, octets in enumerate(iter(lambda: file.readline(LINE_OCTETS_MAX), b""), 1):
            if not octets.endswith(b"\n"):
                if len(octets) == LINE_OCTETS_MAX:
                    raise ToldFormatError(f"{path}: line {number}: longer than {LINE_OCTETS_MAX} octets")
                return
            try:
                line = _decode(octets)
            except msgspec.DecodeError as error:
                raise ToldFormatError(f"{path}: line {number}: {error}") from error
            if line.event is None:
                if not (line.message_id and line.to):
                    raise ToldFormatError(f"{path}: line {number}: an accepted message has message_id and to")
                yield Accepted(line.message_id, line.to, line.parts, line.ref, line.payload_crcs)
            elif line.event in ("report", "correction"):
                correction = line.event == "correction"
                yield Reported(line.message_id, line.state, correction, line.possibly_doubled)
