"""A node and a simulated carrier, real processes, for the commands that speak to one."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path

import pytest
from todoke.engine.client import ClientError, SyncClient

READY_S_MAX = 20.0
STOP_S_MAX = 20.0

CARRIER = """
[[carrier]]
name = "docomo"
hosts = ["{host}"]
system_id = "todoke"
password = "secret"
window = 100
"""


class Process:
    """A `todoke` command in a process of its own; its standard error goes to a file."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.error_path = directory / f"{arguments[0]}.{time.monotonic_ns()}.err"
        with self.error_path.open("w") as error:
            self.popen = subprocess.Popen(
                [sys.executable, "-P", "-m", "todoke.engine.cli", *arguments],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=error,
                text=True,
            )

    @property
    def error(self) -> str:
        return self.error_path.read_text()

    def line(self) -> str:
        assert self.popen.stdout is not None
        return self.popen.stdout.readline()

    def wait(self) -> int:
        """Wait for its end: the exit code."""
        try:
            return self.popen.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise

    def stop(self) -> int:
        """SIGTERM if it still runs; the exit code."""
        self.popen.terminate()
        code = self.wait()
        if self.popen.stdout is not None:
            self.popen.stdout.close()
        return code


class Site:
    """A directory with a simulated carrier and a node in it."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self.socket = directory / "run" / "todoke.sock"
        self.smsc_log = directory / "smsc.log"
        self._stack = stack

    def start_smsc(self, *settings: str) -> tuple[Process, str]:
        """A simulated SMSC on a free port: (process, host:port)."""
        smsc = Process(self.directory, "smsc", "--port", "0", "--log", str(self.smsc_log), *settings)
        self._stack.callback(smsc.stop)
        line = smsc.line()
        assert line.startswith("listening on 127.0.0.1:"), line
        return smsc, line.split()[-1]

    def start_node(self, config: str) -> Process:
        """A node by its command, ready and bound."""
        (self.directory / "todoke.toml").write_text(config)
        node = Process(self.directory, "serve", "todoke.toml")
        self._stack.callback(node.stop)
        give_up_at = time.monotonic() + READY_S_MAX
        with SyncClient(self.socket) as client:
            while True:
                assert node.popen.poll() is None, node.error
                try:
                    if all(one["bound"] == len(one["binds"]) for one in client.status()["carriers"]):
                        return node
                except ClientError:
                    pass
                assert time.monotonic() < give_up_at, node.error
                time.sleep(0.02)


@pytest.fixture(scope="module")
def node() -> Generator[Site, None, None]:
    """One node and one carrier that answers at once, shared by the tests of a module."""
    with ExitStack() as stack:
        site = Site(_directory(stack), stack)
        _smsc, host = site.start_smsc("--rules", '[{"suffix": "9999", "state": "undeliverable:732"}]')
        site.start_node(CARRIER.format(host=host))
        yield site


@pytest.fixture(scope="module")
def new_site() -> Generator[Site, None, None]:
    """An empty site of a module's own."""
    with ExitStack() as stack:
        yield Site(_directory(stack), stack)


@pytest.fixture
def site() -> Generator[Site, None, None]:
    """An empty site of one test's own."""
    with ExitStack() as stack:
        yield Site(_directory(stack), stack)


def _directory(stack: ExitStack) -> Path:
    """A temporary directory with a short path, as Unix sockets need it."""
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="t-")))


@pytest.fixture
def carrier_table() -> Callable[[str], str]:
    """The configuration of the one carrier at a host."""
    return lambda host: CARRIER.format(host=host)
