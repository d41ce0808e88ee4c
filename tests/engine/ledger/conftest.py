"""Real servers for the tests of the store: Valkey from the wheel, and redis-server if it is installed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from todoke.engine.ledger.embedded import EmbeddedServerError, bundled_binary

START_S_MAX = 10.0


class ServerProcess:
    """A durable server on a Unix socket, to be killed, stopped in its tracks and started again."""

    def __init__(self, binary: str, directory: Path) -> None:
        self.binary = binary
        self.directory = directory
        self.socket = directory / "s"
        self.url = f"unix://{self.socket}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *settings: str) -> None:
        self.socket.unlink(missing_ok=True)
        common = f"--port 0 --unixsocket {self.socket} --dir {self.directory} --save  --appendonly yes"
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.binary, *common.split(" "), "--appendfsync", "always", *settings],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_S_MAX
        while self.ask(b"PING") != b"+PONG":
            assert time.monotonic() < deadline, (self.directory / "log").read_text()
            time.sleep(0.005)

    def ask(self, command: bytes) -> bytes:
        """The first line of the answer, on a connection of its own."""
        with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(START_S_MAX)
            connection.connect(str(self.socket))
            connection.sendall(command + b"\r\n")
            return connection.recv(4096).split(b"\r\n")[0]
        return b""

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


@pytest.fixture(scope="module", params=["valkey", "redis"])
def server_binary(request: pytest.FixtureRequest) -> str:
    if request.param == "valkey":
        try:
            return str(bundled_binary())
        except EmbeddedServerError as error:
            pytest.skip(str(error))
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("redis-server is not installed")
    return found


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory whose sockets have short paths (pytest's own may be too long for one)."""
    with tempfile.TemporaryDirectory(prefix="todoke-") as name:
        yield Path(name)


@pytest.fixture
def stopped_server(server_binary: str, short_path: Path) -> Iterator[ServerProcess]:
    process = ServerProcess(server_binary, short_path)
    yield process
    process.kill()


@pytest.fixture
def server(stopped_server: ServerProcess) -> ServerProcess:
    stopped_server.start()
    return stopped_server
