"""The whole road, small: real processes, real Redis, the audit."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import pytest
from todoke.bench import dispatch
from todoke.bench.dispatch_figures import DispatchConfig, DispatchFigures, ProcessFigures, saturated, table
from todoke.bench.processes import ProcessFailed
from todoke.bench.road import Road


@pytest.mark.parametrize("options", [{}, {"in_flight": True, "window": 50}])
def test_a_small_run_keeps_every_promise(options: dict[str, object]) -> None:
    config = msgspec.convert({"messages": 500, "window": 100, "quiet_s": 20.0} | options, DispatchConfig)
    figures = dispatch.run_dispatch(config)
    assert figures.audit.ok, figures.audit.broken
    assert (figures.load.accepted, figures.load.reported, figures.engine_exit) == (500, 500, 0)
    assert set(figures.processes) == {"engine", "redis", "smsc", "client"}
    assert figures.smsc["accepted"] == 500 + dispatch.PROBES
    assert figures.memory.peak_mb >= figures.memory.start_mb > 0
    assert figures.fsync_before_ms["p99"] > 0
    printed = table(figures)
    assert "every promise kept" in printed
    assert "us of CPU a message" in printed
    assert msgspec.json.decode(msgspec.json.encode(figures), type=DispatchFigures) == figures


def test_one_message_at_a_time(tmp_path: Path) -> None:
    figures = dispatch.run_dispatch(DispatchConfig(messages=5, idle=True, directory=str(tmp_path / "kept")))
    assert 0 < figures.hands_ms["p50"] < 1_000
    assert (tmp_path / "kept" / "told.jsonl").exists()


def test_kill_in_full_flight_breaks_no_promise() -> None:
    config = DispatchConfig(
        messages=3_000, window=50, delay_ms=5.0, kill_engine_at=0.4, engine_toml="hold_s = 1", quiet_s=20.0
    )
    figures = dispatch.run_dispatch(config)
    assert figures.restart_s is not None
    assert figures.audit.ok, figures.audit.broken
    assert figures.of_window is not None


@pytest.mark.parametrize(
    ("busy", "of_window", "rate", "said"),
    [
        ((0.95, 0.1), None, 0.0, "engine (one core)"),
        ((0.95, 0.9), None, 0.0, "all 2 cores"),
        ((0.3, 0.1), 0.97, 0.0, "the window"),
        ((0.3, 0.1), None, 100.0, "the rate offered"),
        ((0.3, 0.1), None, 0.0, "waiting"),
    ],
)
def test_what_saturated(busy: tuple[float, float], of_window: float | None, rate: float, said: str) -> None:
    names = dict(zip(("engine", "redis"), busy, strict=True))
    processes = {name: ProcessFigures(1.0, part, 1.0) for name, part in names.items()}
    assert saturated(processes, 2, of_window, rate).startswith(said)


def test_wrong_settings_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch.main(["--messages", "many"]) == 2
    assert capsys.readouterr().err.startswith("bench dispatch: ")
    assert dispatch.main(["--states", '{"nonsense": 0.5}']) == 2
    assert capsys.readouterr().err.strip().startswith("bench dispatch: state 'nonsense'")


def test_an_engine_that_cannot_start_is_quoted(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch.main(["--messages", "5", "--engine-toml", "nonsense = 1"]) == 2
    assert "nonsense" in capsys.readouterr().err


def test_a_run_that_fails_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ProcessFailed("client ended")

    monkeypatch.setattr(Road, "load", fail)
    with pytest.raises(ProcessFailed):
        dispatch.run_dispatch(DispatchConfig(messages=5))
    assert [thread.name for thread in threading.enumerate() if thread.name == "fsync-probe"] == []
