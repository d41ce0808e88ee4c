"""The simulator's log: every part it accepted and every receipt that was answered ESME_ROK.

A file is a row of records, each a 4-octet big-endian length and a MessagePack array whose first element is
its kind:

    [0, version, wall_offset_s, smsc_id]                      first record; wall clock = time + wall_offset_s
    [1, time, system_id, bind, first_serial, [entry, ...]]    parts accepted in one go, serials counted up
    [2, time, [serial, ...]]                                  receipts answered ESME_ROK
    [3, time, system_id, word, number]                        "bound", "cut", "lost" (a bind), "released",
                                                              "refused:0x00000058" (so many parts at once),
                                                              "response_lost" (the serial of the part),
                                                              "late" (the simulator, in microseconds) ...

An entry is [message_id, receipt_id, source, destination, esm_class, data_coding, registered_delivery,
payload_crc, head, state]: ids as written in submit_sm_resp and in the receipt, addresses as on the PDU (ton,
npi, digits, NUL), payload_crc the CRC-32 of short_message and TLVs, head the first octets of them (all, with
`log_payload`), state an index into `smsc_config.STATES`. Times are seconds of the machine's monotonic clock.
Records are kept in memory and written `FLUSH_OCTETS` at a time; a file cut off in the middle of a record (a
killed simulator) reads up to there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

import msgspec

from .smsc_config import STATES

VERSION: Final = 1
FLUSH_OCTETS: Final = 262_144
HEAD_OCTETS: Final = 7
"""Enough for a concatenation header with a 16-bit reference."""
_RECORD_OCTETS_MAX: Final = 1 << 26

Entry = tuple[bytes, bytes, bytes, bytes, int, int, int, int, bytes, int]


class SubmitLog(Protocol):
    """Where the simulator tells what happened; called once a batch."""

    def accepted(
        self, now: float, system_id: str, bind: int, first_serial: int, entries: list[Entry]
    ) -> None: ...

    def answered(self, now: float, serials: list[int]) -> None: ...

    def event(self, now: float, system_id: str, word: str, number: int) -> None: ...


class AcceptedPart(msgspec.Struct, frozen=True):
    """One submit_sm the SMSC took. `source` and `destination` are digits (or letters) only."""

    time: float
    system_id: str
    bind: int
    serial: int
    message_id: str
    receipt_id: str
    source: str
    destination: str
    esm_class: int
    data_coding: int
    registered_delivery: int
    payload_crc: int
    head: bytes
    state: str


class ReceiptAnswered(msgspec.Struct, frozen=True):
    """The ESME answered the receipt of part `serial` with ESME_ROK."""

    time: float
    serial: int


class LogEvent(msgspec.Struct, frozen=True):
    """Something that happened to a bind or an account."""

    time: float
    system_id: str
    word: str
    number: int


LogRecord = AcceptedPart | ReceiptAnswered | LogEvent


class MemoryLog:
    """Keeps everything as objects: for tests and for deterministic simulation."""

    def __init__(self) -> None:
        self.parts: list[AcceptedPart] = []
        self.receipts: list[ReceiptAnswered] = []
        self.events: list[LogEvent] = []

    def accepted(
        self, now: float, system_id: str, bind: int, first_serial: int, entries: list[Entry]
    ) -> None:
        self.parts += [
            _part(now, system_id, bind, first_serial + index, entry) for index, entry in enumerate(entries)
        ]

    def answered(self, now: float, serials: list[int]) -> None:
        self.receipts += [ReceiptAnswered(now, serial) for serial in serials]

    def event(self, now: float, system_id: str, word: str, number: int) -> None:
        self.events.append(LogEvent(now, system_id, word, number))


class FileLog:
    """Writes the log to `path` (truncated first). Raises OSError."""

    def __init__(self, path: str | Path, wall_offset_s: float, smsc_id: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        self._encode = msgspec.msgpack.Encoder().encode
        self._buffer = bytearray()
        self._record((0, VERSION, wall_offset_s, smsc_id))
        self.flush()

    def accepted(
        self, now: float, system_id: str, bind: int, first_serial: int, entries: list[Entry]
    ) -> None:
        self._record((1, now, system_id, bind, first_serial, entries))

    def answered(self, now: float, serials: list[int]) -> None:
        self._record((2, now, serials))

    def event(self, now: float, system_id: str, word: str, number: int) -> None:
        self._record((3, now, system_id, word, number))

    def flush(self) -> None:
        """Hand everything to the operating system (no fsync). Raises OSError."""
        rest = memoryview(self._buffer)
        while rest:
            rest = rest[os.write(self._fd, rest) :]
        rest.release()
        self._buffer = bytearray()

    def close(self) -> None:
        self.flush()
        os.close(self._fd)

    def _record(self, record: tuple[object, ...]) -> None:
        octets = self._encode(record)
        self._buffer += len(octets).to_bytes(4, "big")
        self._buffer += octets
        if len(self._buffer) >= FLUSH_OCTETS:
            self.flush()


class LogFormatError(ValueError):
    """The file is not a log of this simulator, or of another version."""


def read_log(path: str | Path) -> Iterator[LogRecord]:
    """The records of a log file, in the order written. Raises OSError, `LogFormatError`."""
    records = _records(path)
    _header(path, next(records, None))
    for record in records:
        match record:
            case _Accepted():
                for index, entry in enumerate(record.entries):
                    yield _part(
                        record.time, record.system_id, record.bind, record.first_serial + index, entry
                    )
            case _Answered():
                for serial in record.serials:
                    yield ReceiptAnswered(record.time, serial)
            case _Event():
                yield LogEvent(record.time, record.system_id, record.word, record.number)
            case _Header():
                raise LogFormatError(f"{path}: two headers")


def wall_offset_s(path: str | Path) -> float:
    """What to add to a log's times to get Unix time. Raises OSError, `LogFormatError`."""
    return _header(path, next(_records(path), None)).wall_offset_s


class _Header(msgspec.Struct, array_like=True, tag=0):
    version: int
    wall_offset_s: float
    smsc_id: str


class _Accepted(msgspec.Struct, array_like=True, tag=1):
    time: float
    system_id: str
    bind: int
    first_serial: int
    entries: list[Entry]


class _Answered(msgspec.Struct, array_like=True, tag=2):
    time: float
    serials: list[int]


class _Event(msgspec.Struct, array_like=True, tag=3):
    time: float
    system_id: str
    word: str
    number: int


_decoder = msgspec.msgpack.Decoder(_Header | _Accepted | _Answered | _Event)


def _records(path: str | Path) -> Iterator[_Header | _Accepted | _Answered | _Event]:
    with open(path, "rb") as file:
        while True:
            length = int.from_bytes(file.read(4), "big")
            if length > _RECORD_OCTETS_MAX:
                raise LogFormatError(f"{path}: not a submit log")
            octets = file.read(length)
            if not length or len(octets) < length:
                return
            try:
                yield _decoder.decode(octets)
            except msgspec.DecodeError as error:
                raise LogFormatError(f"{path}: not a submit log: {error}") from error


def _header(path: str | Path, record: object) -> _Header:
    if not isinstance(record, _Header) or record.version != VERSION:
        raise LogFormatError(f"{path}: not a submit log of version {VERSION}")
    return record


def _part(now: float, system_id: str, bind: int, serial: int, entry: Entry) -> AcceptedPart:
    message_id, receipt_id, source, destination, esm, coding, registered, crc, head, state = entry
    return AcceptedPart(
        now,
        system_id,
        bind,
        serial,
        message_id.decode("latin-1"),
        receipt_id.decode("latin-1"),
        source[2:-1].decode("latin-1"),
        destination[2:-1].decode("latin-1"),
        esm,
        coding,
        registered,
        crc,
        head,
        STATES[state],
    )
