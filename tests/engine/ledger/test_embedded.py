"""The embedded server: started, adopted, shared, survived, stopped by its last user; real processes
throughout.
"""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from todoke.engine.ledger import embedded
from todoke.engine.ledger.embedded import EmbeddedServerError, embedded_server
from todoke.engine.ledger.redis_connect import SETTINGS_NEEDED
from todoke.engine.ledger.redis_store import RedisStore

pytestmark = pytest.mark.anyio

DEADLINE_S = 20.0

OWNER = """
import sys, anyio
from todoke.engine.ledger.embedded import embedded_server
from todoke.engine.ledger.redis_store import RedisStore
async def main():
    async with embedded_server(sys.argv[1], sys.argv[2]) as url, RedisStore(url) as store:
        await store.stage("owner").commit([("RPUSH", "owners", sys.argv[3])])
        print("ready", flush=True)
        await anyio.to_thread.run_sync(sys.stdin.read)
anyio.run(main)
"""


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def data(short_path: Path) -> Iterator[Path]:
    """A data directory whose server, if any is left, is killed at the end."""
    directory = short_path / "run"
    yield directory
    pid = pid_of(directory)
    if pid and alive(directory):
        os.kill(pid, signal.SIGKILL)
        until(lambda: not alive(directory))


def pid_of(data: Path) -> int:
    path = data / "server.pid"
    return int(path.read_text()) if path.exists() else 0


def alive(data: Path) -> bool:
    """Whether a process has the directory's lock."""
    if not (data / "server.alive").exists():
        return False
    with (data / "server.alive").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def below(path: Path) -> list[Path]:
    return sorted(path.rglob("*"))


def octets(path: str) -> bytes:
    return Path(path).read_bytes()


def until(condition: Any) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Owner:
    """Another process that uses the server until it is told to end."""

    def __init__(self, data: Path, binary: str, name: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", OWNER, data, binary, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def end(self) -> None:
        self.process.communicate(timeout=DEADLINE_S)
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


async def owners(url: str) -> list[bytes]:
    async with RedisStore(url) as store:
        (found,) = await store.stage("test").read([("LRANGE", "owners", 0, -1)])
        return list(found)


async def test_it_starts_keeps_and_stops(data: Path, server_binary: str) -> None:
    for round_ in range(2):
        async with embedded_server(data, server_binary) as url, RedisStore(url) as store:
            assert await store.stage("a").commit([("INCR", "k")]) == [round_ + 1]
            assert alive(data)
        assert not alive(data)
        assert not (data / "server.sock").exists()


async def test_its_files_are_private(data: Path, server_binary: str) -> None:
    async with embedded_server(data, server_binary):
        assert mode(data) == 0o750
        assert {path: mode(path) & 0o077 for path in below(data)} == dict.fromkeys(below(data), 0)


async def test_it_is_not_told_our_secrets(
    data: Path, server_binary: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARRIER_PASSWORD", "s3cret")
    async with embedded_server(data, server_binary):
        assert b"s3cret" not in octets(f"/proc/{pid_of(data)}/environ")


async def test_users_share_it_and_the_last_one_stops_it(data: Path, server_binary: str) -> None:
    async with embedded_server(data, server_binary) as url:
        pid = pid_of(data)
        async with embedded_server(data, server_binary) as same:
            assert same == url
        other = Owner(data, server_binary, "other")
        assert pid_of(data) == pid
    assert alive(data)
    other.end()
    assert not alive(data)


async def test_it_survives_its_owner_and_is_adopted(data: Path, server_binary: str) -> None:
    first = Owner(data, server_binary, "first")
    pid = pid_of(data)
    first.kill()
    assert alive(data)
    async with embedded_server(data, server_binary) as url:
        assert pid_of(data) == pid
        assert await owners(url) == [b"first"]
    assert not alive(data)


async def test_a_killed_user_does_not_count(data: Path, server_binary: str) -> None:
    async with embedded_server(data, server_binary):
        Owner(data, server_binary, "other").kill()
    assert not alive(data)


async def test_the_terminals_interrupt_does_not_reach_it(data: Path, server_binary: str) -> None:
    async with embedded_server(data, server_binary):
        assert os.getsid(pid_of(data)) != os.getsid(0)
        assert os.getpgid(pid_of(data)) != os.getpgid(0)


async def test_engine_and_server_killed_together_lose_nothing(data: Path, server_binary: str) -> None:
    owner = Owner(data, server_binary, "first")
    os.kill(pid_of(data), signal.SIGKILL)
    owner.kill()
    until(lambda: not alive(data))
    assert (data / "server.sock").exists()  # stale
    async with embedded_server(data, server_binary) as url:
        assert await owners(url) == [b"first"]


async def test_two_who_start_at_once_get_one_server(data: Path, server_binary: str) -> None:
    urls: list[str] = []
    pids: set[int] = set()

    async def use() -> None:
        async with embedded_server(data, server_binary) as url:
            urls.append(url)
            pids.add(pid_of(data))
            with anyio.fail_after(DEADLINE_S):
                while len(urls) < 3:  # noqa: ASYNC110  a store starts in another task
                    await anyio.sleep(0.005)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(use)
    assert len(pids) == 1
    assert not alive(data)


async def test_no_second_server_beside_one_that_cannot_be_reached(
    data: Path, server_binary: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "START_S_MAX", 0.3)
    owner = Owner(data, server_binary, "first")
    pid = pid_of(data)
    (data / "server.sock").unlink()
    with pytest.raises(EmbeddedServerError, match=f"process {pid}"):
        async with embedded_server(data, server_binary):
            pass
    assert pid_of(data) == pid
    owner.kill()


async def test_one_that_does_not_stop_is_killed(
    data: Path, server_binary: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "STOP_S_MAX", 0.1)
    monkeypatch.setattr(embedded, "ANSWER_S_MAX", 0.1)
    async with embedded_server(data, server_binary) as url, RedisStore(url) as store:
        await store.stage("a").commit([("RPUSH", "owners", "kept")])
        os.kill(pid_of(data), signal.SIGSTOP)
    assert not alive(data)
    async with embedded_server(data, server_binary) as url:
        assert await owners(url) == [b"kept"]


async def test_a_server_that_dies_meanwhile_is_no_trouble_at_the_end(data: Path, server_binary: str) -> None:
    async with embedded_server(data, server_binary):
        os.kill(pid_of(data), signal.SIGKILL)
        until(lambda: not alive(data))


async def test_a_cancelled_start_leaves_nothing_behind(data: Path, server_binary: str) -> None:
    with anyio.move_on_after(0.005):
        async with embedded_server(data, server_binary):
            pytest.fail("started too soon to be cancelled")
    assert not alive(data)


@pytest.mark.parametrize("binary", ["/bin/false", "/no/such/server", "/etc/passwd"])
async def test_a_binary_that_is_no_server(data: Path, binary: str) -> None:
    with pytest.raises(EmbeddedServerError, match=binary):
        async with embedded_server(data, binary):
            pass
    assert not alive(data)


async def test_a_damaged_file_is_named(data: Path, server_binary: str) -> None:
    async with embedded_server(data, server_binary) as url, RedisStore(url) as store:
        await store.stage("a").commit([("SET", "k", 1), ("SET", "l", 1)])
    (file,) = (data / "appendonlydir").glob("*.incr.aof")
    file.write_bytes(b"garbage" + file.read_bytes())
    with pytest.raises(EmbeddedServerError, match="ended at its start"):
        async with embedded_server(data, server_binary):
            pass


async def test_a_torn_tail_is_dropped(data: Path, server_binary: str) -> None:
    async with embedded_server(data, server_binary) as url, RedisStore(url) as store:
        await store.stage("a").commit([("RPUSH", "owners", "kept")])
    (file,) = (data / "appendonlydir").glob("*.incr.aof")
    file.write_bytes(file.read_bytes() + b"*3\r\n$5\r\nRPU")
    async with embedded_server(data, server_binary) as url:
        assert await owners(url) == [b"kept"]


async def test_a_path_too_long_for_a_socket(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedServerError, match="107 octets"):
        async with embedded_server(tmp_path / ("x" * 100)):
            pass


async def test_a_directory_that_cannot_be_made(short_path: Path) -> None:
    (short_path / "file").touch()
    with pytest.raises(EmbeddedServerError, match="file"):
        async with embedded_server(short_path / "file" / "run"):
            pass


def test_the_settings_are_what_the_store_demands() -> None:
    lines = dict(line.split(" ", 1) for line in embedded.SETTINGS.splitlines() if line and line[0] != "#")
    assert {name: lines[name] for name in SETTINGS_NEEDED} == SETTINGS_NEEDED
