"""Processes of a benchmark: starting, watching and ending them, and what Linux says they used."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec

START_S: Final = 30.0
STOP_S: Final = 60.0
POLL_S: Final = 0.002
FSYNC_OCTETS: Final = 4_096
FSYNC_PAUSE_S: Final = 0.05
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


class ProcessFailed(RuntimeError):
    """A process did not start, or ended when it should not have; the text says which and what it wrote."""


class Spawned:
    """A Python module as a process of its own, standard output piped, standard error in a file."""

    def __init__(self, name: str, module: str, arguments: list[str], directory: Path) -> None:
        self.name = name
        self.errors = directory / f"{name}.err"
        with self.errors.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=directory,
            )
        assert self._process.stdout is not None
        self.output = self._process.stdout
        self.pid = self._process.pid

    def line(self) -> str:
        """The next line of its output. Raises `ProcessFailed` when it has ended."""
        line = self.output.readline()
        if not line:
            raise ProcessFailed(f"{self.name} ended with {self._process.wait()}: {self.last_words()}")
        return line

    def listening_port(self) -> int:
        """The port in its next line, `listening on HOST:PORT`. Raises `ProcessFailed` when it has ended."""
        return int(self.line().rpartition(":")[2])

    def last_words(self) -> str:
        """The end of its standard error."""
        return " | ".join(self.errors.read_text(errors="replace").strip().splitlines()[-5:])

    def check(self) -> None:
        """Raises `ProcessFailed` when it has ended."""
        if self._process.poll() is not None:
            raise ProcessFailed(f"{self.name} ended with {self._process.returncode}: {self.last_words()}")

    def kill(self) -> None:
        """kill -9, and wait."""
        self._process.kill()
        self._process.wait()
        self.output.close()

    def stop(self) -> tuple[int, str]:
        """SIGTERM; its exit code and the rest of its output. Killed when it takes longer than `STOP_S`."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            rest, _ = self._process.communicate(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ProcessFailed(f"{self.name} did not end within {STOP_S:g} s of SIGTERM") from None
        return self._process.returncode, rest

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self.kill()
        self.output.close()


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far, its threads and waited-for children included; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS_PER_S


def rss_peak_mb(pid: int) -> float:
    """Most memory a process ever had resident, in MB; 0 when it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0.0


class Meter:
    """CPU and memory of named processes between `watch` and `close`, added up over restarts."""

    def __init__(self) -> None:
        self.cpu_s: dict[str, float] = {}
        self.rss_mb: dict[str, float] = {}
        self._watched: dict[str, tuple[int, float]] = {}

    def watch(self, name: str, pid: int, *, from_its_start: bool = False) -> None:
        self._watched[name] = pid, 0.0 if from_its_start else cpu_s(pid)

    def close(self, *names: str) -> None:
        """Take the last reading of these, or of all; call it while they live."""
        for name in names or tuple(self._watched):
            pid, before = self._watched.pop(name)
            self.cpu_s[name] = self.cpu_s.get(name, 0.0) + cpu_s(pid) - before
            self.rss_mb[name] = max(self.rss_mb.get(name, 0.0), rss_peak_mb(pid))


def ask(path: str | Path, op: str) -> dict[str, Any]:
    """One request to a node's socket, in JSON. Raises OSError, `ProcessFailed` for no answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(START_S)
        connection.connect(os.fspath(path))
        connection.sendall(b'{"op":"%b","id":1}\n' % op.encode())
        buffer = b""
        while not buffer.endswith(b"\n"):
            octets = connection.recv(65_536)
            if not octets:
                raise ProcessFailed(f"the node closed instead of answering {op}")
            buffer += octets
    return msgspec.json.decode(buffer, type=dict[str, Any])


class FsyncProbe:
    """How long an append and fdatasync of 4 KiB take in a directory: before a run, and beside it."""

    def __init__(self, directory: Path) -> None:
        self._fd = os.open(directory / "fsync.probe", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fsync-probe")
        self._beside: list[float] = []

    def now(self, count: int = 100) -> dict[str, float]:
        """Measure `count` times at once: {"p50", "p99"} in milliseconds."""
        return percentiles([self._once() for _ in range(count)])

    def start(self) -> None:
        """Measure 20 times a second until `stop`."""
        self._thread.start()

    def stop(self) -> dict[str, float]:
        """The same of what was measured since `start`."""
        self._stopped.set()
        self._thread.join()
        os.close(self._fd)
        return percentiles(self._beside)

    def _run(self) -> None:
        while not self._stopped.wait(FSYNC_PAUSE_S):
            self._beside.append(self._once())

    def _once(self) -> float:
        start = time.perf_counter()
        os.write(self._fd, bytes(FSYNC_OCTETS))
        os.fdatasync(self._fd)
        return (time.perf_counter() - start) * 1e3


def percentiles(values_ms: list[float]) -> dict[str, float]:
    """{"p50", "p99"} of what was measured, in its unit; empty of nothing."""
    if not values_ms:
        return {}
    ordered = sorted(values_ms)
    return {
        name: round(ordered[min(len(ordered) - 1, int(len(ordered) * part))], 3)
        for name, part in (("p50", 0.5), ("p99", 0.99))
    }
