from __future__ import annotations

from pathlib import Path
from zlib import crc32

import pytest
from todoke.bench.smsc_log import (
    AcceptedPart,
    FileLog,
    LogEvent,
    LogFormatError,
    MemoryLog,
    ReceiptAnswered,
    read_log,
    wall_offset_s,
)

ENTRIES = [
    (b"1001", b"3e9", b"\5\0Todoke\0", b"\1\1819012345678\0", 0x40, 8, 1, crc32(b"abc"), b"\5\0\3abc", 0),
    (b"1002", b"3ea", b"\5\0Todoke\0", b"\1\1819012345679\0", 0, 0, 1, crc32(b"def"), b"def", 3),
]


def written(path: Path) -> FileLog:
    log = FileLog(path, 1_700_000_000.5, "sim")
    log.accepted(12.5, "todoke", 3, 7, ENTRIES)
    log.answered(13.5, [7, 8])
    log.event(14.0, "todoke", "cut", 3)
    return log


def test_a_file_reads_back_what_memory_keeps(tmp_path: Path) -> None:
    written(tmp_path / "log").close()
    memory = MemoryLog()
    memory.accepted(12.5, "todoke", 3, 7, ENTRIES)
    memory.answered(13.5, [7, 8])
    memory.event(14.0, "todoke", "cut", 3)
    assert list(read_log(tmp_path / "log")) == [*memory.parts, *memory.receipts, *memory.events]
    assert wall_offset_s(tmp_path / "log") == 1_700_000_000.5


def test_the_records_say_what_happened(tmp_path: Path) -> None:
    written(tmp_path / "log").close()
    first, second, answered, _, event = read_log(tmp_path / "log")
    assert isinstance(first, AcceptedPart)
    assert isinstance(second, AcceptedPart)
    assert (first.destination, first.source, first.serial, first.state) == (
        "819012345678",
        "Todoke",
        7,
        "delivered",
    )
    assert (second.message_id, second.receipt_id, second.state) == ("1002", "3ea", "undeliverable")
    assert answered == ReceiptAnswered(13.5, 7)
    assert event == LogEvent(14.0, "todoke", "cut", 3)


def test_a_log_is_on_disk_only_after_a_flush_and_reads_up_to_a_torn_record(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = written(path)
    assert list(read_log(path)) == []
    log.close()
    octets = path.read_bytes()
    records = list(read_log(path))
    for cut in range(len(octets)):
        path.write_bytes(octets[:cut])
        try:
            torn = list(read_log(path))
        except LogFormatError:
            assert cut < 40  # not even the header
            continue
        assert torn == records[: len(torn)]


@pytest.mark.parametrize("octets", [b"", b"hello world, this is no log", b"\0\0\0\1\xc1", b"\0\0\0\2\x91\7"])
def test_something_else_is_not_taken_for_a_log(tmp_path: Path, octets: bytes) -> None:
    (tmp_path / "x").write_bytes(octets)
    with pytest.raises(LogFormatError):
        list(read_log(tmp_path / "x"))
    with pytest.raises(LogFormatError):
        wall_offset_s(tmp_path / "x")
