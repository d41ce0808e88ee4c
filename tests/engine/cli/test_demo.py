"""`todoke demo`: what it prints, that it ends, and that nothing stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

import pytest
from todoke.engine.cli.demo_house import demo_house

DEMO = [sys.executable, "-P", "-m", "todoke.engine.cli", "demo"]
SECONDS_MAX = 30.0


@pytest.fixture
def place() -> Generator[Path, None, None]:
    """An empty directory to run in; temporary files go beside it. Its path is short, as sockets need it."""
    with tempfile.TemporaryDirectory(prefix="t-") as name:
        for folder in ("tmp", "empty"):
            Path(name, folder).mkdir()
        yield Path(name)


def start(place: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*DEMO, *arguments],
        cwd=place / "empty",
        env={**os.environ, "TMPDIR": str(place / "tmp")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def left_behind(place: Path) -> list[str]:
    """Files in either directory, and processes that know the temporary one."""
    found = [str(path) for path in (*(place / "tmp").iterdir(), *(place / "empty").iterdir())]
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and str(place).encode() in (process / "cmdline").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def test_the_demonstration(place: Path) -> None:
    began = time.monotonic()
    process = start(place, "--json")
    out, err = process.communicate(timeout=2 * SECONDS_MAX)
    assert process.returncode == 0, err
    assert time.monotonic() - began < SECONDS_MAX
    assert "nothing leaves this machine" in err
    assert left_behind(place) == []
    (line,) = out.splitlines()
    figures = json.loads(line)
    assert figures["recipients"] == 1009
    assert figures["complete"] is True
    assert [one["row"] for one in figures["refused"]] == [99, 200, 301, 402, 503, 604, 705, 806, 907]
    assert len({one["code"] for one in figures["refused"]}) == 7
    assert [one["carrier"] for one in figures["carriers"]] == ["docomo", "au", "softbank", "rakuten"]
    assert sum(one["accepted"] for one in figures["carriers"]) == 1000
    for one in figures["carriers"]:
        assert one["delivered"] + sum(one["failed"].values()) == one["accepted"]
        assert one["unreported"] == 0
        assert one["delivered"] > 0.9 * one["accepted"]
        assert one["parts"] > one["accepted"]
        for times in (one["response_s"], one["receipt_s"]):
            assert 0 <= times["p50"] <= times["p99"] < SECONDS_MAX


def test_a_long_path_of_temporary_files_is_avoided(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with demo_house() as house:
        assert len(str(house.directory / "run" / "server.sock")) <= 107
    assert not house.directory.exists()


@pytest.mark.parametrize("after_s", [0.0, 2.0])
def test_a_demonstration_whose_node_dies_ends_and_says_so(place: Path, after_s: float) -> None:
    process = start(place)
    assert process.stdout is not None
    process.stdout.readline()
    (node,) = wait_for_process(place, b"serve")
    time.sleep(after_s)
    os.kill(node, signal.SIGKILL)
    _out, err = process.communicate(timeout=SECONDS_MAX)
    assert process.returncode == 1
    assert "the node" in err.splitlines()[-1]
    assert left_behind(place) == []


def wait_for_process(place: Path, word: bytes) -> list[int]:
    """The processes in the demonstration's directory whose command line has this word."""
    give_up_at = time.monotonic() + SECONDS_MAX
    while time.monotonic() < give_up_at:
        found: list[int] = []
        for process in Path("/proc").iterdir():
            try:
                inside = str(process.joinpath("cwd").readlink()).startswith(str(place / "tmp"))
                if (
                    process.name.isdigit()
                    and inside
                    and word in (process / "cmdline").read_bytes().split(b"\0")
                ):
                    found.append(int(process.name))
            except OSError:
                continue
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"no process {word!r}")


@pytest.mark.parametrize("after_s", [0.0, 0.4, 2.0])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_an_interrupted_demonstration_leaves_nothing(
    place: Path, number: signal.Signals, after_s: float
) -> None:
    process = start(place)
    assert process.stdout is not None
    assert "nothing leaves this machine" in process.stdout.readline()
    time.sleep(after_s)
    process.send_signal(number)
    _out, err = process.communicate(timeout=SECONDS_MAX)
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "todoke: interrupted"
    assert left_behind(place) == []
