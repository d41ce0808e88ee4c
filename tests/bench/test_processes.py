from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path

import pytest
from todoke.bench.processes import (
    FsyncProbe,
    Meter,
    ProcessFailed,
    Spawned,
    ask,
    cpu_s,
    percentiles,
    rss_peak_mb,
)


def spawned(tmp_path: Path, *arguments: str) -> Spawned:
    return Spawned("smsc", "todoke.bench.smsc", list(arguments), tmp_path)


def test_a_process_starts_speaks_and_stops(tmp_path: Path) -> None:
    with spawned(tmp_path, "--json") as process:
        assert process.line().startswith("listening on")
        process.check()
        assert cpu_s(process.pid) > 0
        assert rss_peak_mb(process.pid) > 1
        code, rest = process.stop()
        assert code == 0
        assert '"accepted":0' in rest
        with pytest.raises(ProcessFailed, match="ended with 0"):
            process.check()
        assert cpu_s(process.pid) == rss_peak_mb(process.pid) == 0


def test_one_that_fails_is_quoted(tmp_path: Path) -> None:
    with spawned(tmp_path, "--rate-max", "many") as process, pytest.raises(ProcessFailed, match="rate_max"):
        process.line()


def test_leaving_kills(tmp_path: Path) -> None:
    with spawned(tmp_path) as process:
        process.line()
    assert not Path(f"/proc/{process.pid}").exists()


def test_a_meter_adds_up_over_restarts() -> None:
    meter = Meter()
    meter.watch("me", os.getpid(), from_its_start=True)
    meter.close("me")
    first = meter.cpu_s["me"]
    meter.watch("me", os.getpid())
    started = time.process_time()
    while time.process_time() < started + 0.05:
        pass
    meter.close()
    assert first > 0
    assert first + 0.02 <= meter.cpu_s["me"] < first + 1.0
    assert meter.rss_mb["me"] > 1


def test_asking_a_node(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            for answer in (b'{"id":1,"a":', b""):
                connection, _ = listener.accept()
                assert connection.recv(100) == b'{"op":"status","id":1}\n'
                connection.sendall(answer)
                if answer:
                    connection.sendall(b"2}\n")
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        assert ask(path, "status") == {"id": 1, "a": 2}
        with pytest.raises(ProcessFailed, match="closed"):
            ask(path, "status")
        thread.join()


def test_the_fsync_probe(tmp_path: Path) -> None:
    probe = FsyncProbe(tmp_path)
    before = probe.now(5)
    probe.start()
    time.sleep(0.2)
    beside = probe.stop()
    assert 0 < before["p50"] <= before["p99"]
    assert 0 < beside["p50"] <= beside["p99"]


def test_percentiles() -> None:
    assert percentiles([]) == {}
    assert percentiles([float(n) for n in range(100)]) == {"p50": 50.0, "p99": 99.0}
