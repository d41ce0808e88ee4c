"""The log of a node: nobody waits for it, and what is missing in it is said."""

from __future__ import annotations

import fcntl
import logging
import os
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from todoke.engine.cli import log_writer
from todoke.engine.cli.log_writer import LogWriter

WAIT_S_MAX = 10.0


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("todoke", logging.WARNING, "x.py", 1, text, None, None)


def until(true: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + WAIT_S_MAX
    while not true():
        assert time.monotonic() < give_up_at
        time.sleep(0.005)


def test_lines_are_written_in_their_order(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        writer = LogWriter(file.fileno())
        for number in range(100):
            writer.handle(record(f"line {number} é"))
        writer.flush()
    assert (tmp_path / "log").read_text("utf-8").splitlines() == [f"line {n} é" for n in range(100)]


@pytest.mark.parametrize("blocking", [True, False])
def test_a_pipe_nobody_reads_stops_nobody(blocking: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "FLUSH_S", 0.1)
    reader, sink = os.pipe()
    fcntl.fcntl(sink, fcntl.F_SETPIPE_SZ, 4_096)
    os.set_blocking(sink, blocking)
    writer = LogWriter(sink, lines_max=50)
    began = time.monotonic()
    for number in range(1_000):
        writer.handle(record(f"line {number:90}"))
    writer.flush()
    assert time.monotonic() - began < 5
    read = b""

    def drain() -> None:
        nonlocal read
        while data := os.read(reader, 65_536):
            read += data

    thread = threading.Thread(target=drain)
    thread.start()
    until(lambda: not writer._lines.unfinished_tasks)
    writer.handle(record("the last"))
    writer.flush()
    until(lambda: b"the last" in read)
    os.close(sink)
    thread.join()
    os.close(reader)
    lines = read.decode().splitlines()
    written = [line for line in lines if line.startswith("line")]
    told = [int(line.split()[0]) for line in lines if "could not be written" in line]
    assert lines[-1] == "the last"
    assert sum(told) == 1_000 - len(written), "what is missing is said"
    assert 50 <= len(written) < 150


def test_a_full_disk_costs_lines_and_says_so_when_there_is_room(tmp_path: Path) -> None:
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    with (tmp_path / "log").open("wb") as file:
        writer = LogWriter(file.fileno())
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (105, hard))
            for number in range(20):
                writer.handle(record(f"line {number:4}"))
            writer.flush()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        writer.handle(record("room again"))
        writer.flush()
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines == [
        *(f"line {number:4}" for number in range(10)),
        "line ",
        "10 lines of this log could not be written",
        "room again",
    ]
