"""The processes of a demonstration: four simulated carriers and a node, in a temporary directory.

Every process is in a session of its own, so that Ctrl-C in the terminal reaches only the demonstration,
which then stops them in order. Nothing stays: processes, the embedded server and the directory go,
however this ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Generator
from importlib.resources import files
from pathlib import Path
from types import FrameType
from typing import Any, Final

import msgspec

from ..client import ClientError, SyncClient
from ..config import host_port, parse, profiles
from .errors import CliError

START_S_MAX: Final = 12.0
STOP_S_MAX: Final = 3.0
POLL_S: Final = 0.02
LOG_LINES_SHOWN: Final = 5
BASE_OCTETS_MAX: Final = 107 - len("/todoke-demo-12345678/run/server.sock")
DATA: Final = files("todoke.conf") / "demo"


class House:
    """A running demonstration: its directory and where its node listens."""

    def __init__(self, directory: Path, interrupts: _Interrupts) -> None:
        self.directory = directory
        self._interrupts = interrupts
        self.socket = directory / "run" / "todoke.sock"
        self.carriers: list[str] = []
        self._smscs: dict[str, subprocess.Popen[str]] = {}
        self._node: subprocess.Popen[bytes] | None = None

    def log_of(self, carrier: str) -> Path:
        """The submit log of a simulated carrier."""
        return self.directory / f"{carrier}.log"

    def start(self) -> None:
        """Start everything and wait until every bind is up. Raises `CliError` if something does not start."""
        text = (DATA / "todoke.toml").read_text("utf-8")
        config = parse(text, profiles())
        self.carriers = [carrier.name for carrier in config.carrier]
        settings = tomllib.loads((DATA / "carriers.toml").read_text("utf-8"))
        for carrier in config.carrier:
            account = {carrier.system_id: carrier.password}
            self._start_smsc(carrier.name, {**settings[carrier.name], "accounts": account})
            self._interrupts.check()
        for carrier in config.carrier:
            port = host_port(_listening(self._smscs[carrier.name]))[1]
            text = text.replace(f'"{carrier.hosts[0]}"', f'"127.0.0.1:{port}"')
            self._interrupts.check()
        (self.directory / "todoke.toml").write_text(text, "utf-8")
        with (self.directory / "node.log").open("wb") as log:
            self._node = subprocess.Popen(
                [*_module("todoke.engine.cli"), "serve", "todoke.toml"],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait_until_bound(self._node)
        self._interrupts.held = False
        self._interrupts.check()

    def _start_smsc(self, name: str, settings: dict[str, Any]) -> None:
        settings |= {"smsc_id": name, "port": 0, "log": str(self.log_of(name))}
        self._smscs[name] = subprocess.Popen(
            [*_module("todoke.bench.smsc"), "--config-json", msgspec.json.encode(settings).decode()],
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def _wait_until_bound(self, node: subprocess.Popen[bytes]) -> None:
        give_up_at = time.monotonic() + START_S_MAX
        with SyncClient(self.socket) as client:
            while time.monotonic() < give_up_at:
                self._interrupts.check()
                if node.poll() is not None:
                    raise CliError(f"the node ended (exit {node.returncode}): {self.last_words()}")
                try:
                    if all(one["bound"] == len(one["binds"]) for one in client.status()["carriers"]):
                        return
                except (ClientError, TimeoutError):
                    pass
                time.sleep(POLL_S)
        raise CliError(f"the node is not bound after {START_S_MAX:g} s: {self.last_words()}")

    def last_words(self) -> str:
        """What the node wrote last."""
        lines = (self.directory / "node.log").read_text("utf-8", "replace").splitlines()
        return " / ".join(lines[-LOG_LINES_SHOWN:]) or "it wrote nothing"

    def stop(self) -> None:
        """Stop the node, then the carriers, and wait; what does not stop in time is killed."""
        if self._node is not None:
            _stop([self._node])
            self._stop_embedded_server()
        _stop(list(self._smscs.values()))
        for process in self._smscs.values():
            if process.stdout is not None:
                process.stdout.close()

    def _stop_embedded_server(self) -> None:
        """The server goes with its node; only a node that had to be killed leaves it behind."""
        for pid_file in (self.directory / "run").glob("*.pid"):
            with contextlib.suppress(OSError, ValueError):
                os.kill(int(pid_file.read_text()), signal.SIGTERM)


class _Interrupts:
    """A signal handler that interrupts at most once, and only where nothing is half made."""

    def __init__(self) -> None:
        self.held = True
        self._caught = False
        self._raised = False

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        self._caught = True
        if not self.held:
            self.check()

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal came, once."""
        if self._caught and not self._raised:
            self._raised = True
            raise KeyboardInterrupt


@contextlib.contextmanager
def demo_house() -> Generator[House, None, None]:
    """A demonstration that can be started; afterwards nothing of it is left.

    SIGTERM and SIGHUP end it as Ctrl-C does. The body is interrupted at once, starting and stopping
    between steps.
    """
    interrupts = _Interrupts()
    with _handlers(interrupts):
        with tempfile.TemporaryDirectory(
            prefix="todoke-demo-", dir=_base(), ignore_cleanup_errors=True
        ) as name:
            house = House(Path(name), interrupts)
            try:
                try:
                    yield house
                finally:
                    interrupts.held = True
            finally:
                house.stop()
        interrupts.check()


def _base() -> str:
    """Where temporary files go, unless Unix sockets there would have too long a path (at most 107 octets)."""
    usual = tempfile.gettempdir()
    places = [place for place in (usual, "/tmp", "/var/tmp") if os.access(place, os.W_OK)]
    return next((place for place in places if len(os.fsencode(place)) <= BASE_OCTETS_MAX), usual)


def _module(name: str) -> list[str]:
    # -P: the current directory is the user's, and may hold a folder that is called as a module of ours.
    return [sys.executable, "-P", "-m", name]


def _listening(process: subprocess.Popen[str]) -> str:
    """Wait for `listening on HOST:PORT`; `HOST:PORT`."""
    killer = threading.Timer(START_S_MAX, process.kill)
    killer.start()
    try:
        line = process.stdout.readline() if process.stdout is not None else ""
    finally:
        killer.cancel()
    if not line.startswith("listening on "):
        raise CliError(f"a simulated carrier did not start: {line.strip() or 'it wrote nothing'}")
    return line.removeprefix("listening on ").strip()


def _stop(processes: list[subprocess.Popen[Any]]) -> None:
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    give_up_at = time.monotonic() + STOP_S_MAX
    for process in processes:
        try:
            process.wait(max(0.0, give_up_at - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _handlers(handler: _Interrupts) -> Generator[None, None, None]:
    """Handle the signals that end a command; only the main thread may."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
