"""Two faulty carriers, small: real processes, the ceiling, the verdict."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from todoke.bench import reach
from todoke.bench.audit import audit
from todoke.bench.reach_figures import (
    Deliverable,
    Doubt,
    ReachConfig,
    ReachConfigError,
    ReachFigures,
    requirements,
    table,
)
from todoke.bench.reach_network import Copies, RateUsed
from todoke.bench.road import EXIT_INTERRUPTED

SMALL: dict[str, Any] = {
    "messages": 900,
    "rate": 150,
    "gone": 0.02,
    "away": 0.02,
    "away_s": 6.0,
    "response_timeout_s": 2.0,
    "hold_s": 4.0,
    "receipt_delay_s": 0.2,
    "receipt_jitter_s": 0.5,
    "cut_every_s": 3.0,
    "spell_after_s": 1.0,
    "spell_s": 2.0,
    "quiet_s": 30.0,
}


def test_a_small_run_delivers_what_can_be_delivered(tmp_path: Path) -> None:
    figures = reach.run_reach(ReachConfig(**SMALL, directory=str(tmp_path / "kept")))
    ceiling = figures.deliverable
    assert figures.audit.broken == []
    assert (ceiling.messages, ceiling.unforeseen, ceiling.too_late) == (900, 0, 0)
    assert ceiling.deliverable + ceiling.gone == 900
    assert 5 <= ceiling.gone <= 40
    assert ceiling.share >= 0.999, ceiling.missed
    assert figures.load.states == {"delivered": ceiling.delivered, "undeliverable": ceiling.gone}
    assert figures.refused["first"]["0x00000008"] > 0
    assert "0x00000008" not in figures.refused["second"]
    assert min(figures.cuts.values()) >= 1
    assert figures.doubt.in_doubt > 0
    assert figures.engine_exit == 0
    assert "kept    delivered of the deliverable" in table(figures)
    assert msgspec.json.decode(msgspec.json.encode(figures), type=ReachFigures) == figures


@pytest.mark.parametrize(
    "wrong", [{"away_s": 900.0}, {"hold_s": 2.0}, {"messages": 0}, {"messages": "many"}, {"nonsense": 1}]
)
def test_wrong_settings_are_one_line(wrong: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert reach.main(["--config-json", msgspec.json.encode(wrong).decode()]) == 2
    said = capsys.readouterr().err
    assert said.startswith("bench reach: ")
    assert said.count("\n") == 1


def test_settings_that_contradict_one_another() -> None:
    with pytest.raises(ReachConfigError, match="away_s"):
        ReachConfig(away_s=10.0, validity_s=5.0)


def test_a_second_ctrl_c_is_not_needed(tmp_path: Path) -> None:
    """Interrupted in the middle, everything that was started ends."""
    words = ["--directory", str(tmp_path / "kept"), "--messages", "50000"]
    with subprocess.Popen(
        [sys.executable, "-m", "todoke.bench.reach", *words],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 60
        log = tmp_path / "kept" / "first.log"
        while not (log.exists() and log.stat().st_size > 1_000):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == EXIT_INTERRUPTED
    while _processes_of(str(tmp_path)):
        assert time.monotonic() < deadline + 60
        time.sleep(0.05)


def _processes_of(word: str) -> list[int]:
    found: list[int] = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            directory = str(Path(f"/proc/{pid}/cwd").readlink())
        except OSError:
            continue
        if int(pid) != os.getpid() and (word.encode() in words or word in directory):
            found.append(int(pid))
    return found


# -- what is asked for -------------------------------------------------------------------------------------

GOOD: dict[str, Any] = {"delivered": 9_990, "inside": 1, "in_doubt": 200, "used": 0.95, "peak_sure": 300}


def asked(**figures: Any) -> dict[str, bool | None]:
    given = GOOD | figures
    ceiling = Deliverable(
        messages=10_000,
        deliverable=10_000,
        gone=0,
        too_late=0,
        delivered=given["delivered"],
        missed={},
        unforeseen=given.get("unforeseen", 0),
    )
    doubt = Doubt(
        in_doubt=given["in_doubt"],
        suspects=250,
        settled=0,
        copies=Copies(doubled=5, inside=given["inside"], between_carriers=0, examples=[]),
    )
    rate = RateUsed(
        contract=300.0,
        counted_s=50,
        used=given["used"],
        lowest=0.9,
        refusing_s=0,
        recovering_s=0,
        bind_down_s=0,
        no_backlog_s=0,
        peak=306,
        peak_sure=given["peak_sure"],
        recovered_s=None,
    )
    verdict = msgspec.structs.replace(audit([], []), accepted=given.get("accepted", 10_000))
    found = requirements(ReachConfig(messages=10_000), ceiling, doubt, {"first": rate}, verdict)
    return {each.name: each.ok for each in found}


def test_good_figures_are_good_enough() -> None:
    assert set(asked().values()) == {True}


@pytest.mark.parametrize(
    ("figures", "name", "ok"),
    [
        ({"delivered": 9_989}, "delivered of the deliverable", False),
        ({"unforeseen": 1}, "delivered of the deliverable", False),
        ({"accepted": 9_999}, "without a final state", False),
        ({"inside": 3}, "sent twice, receipt within the hold", False),
        ({"inside": 1, "in_doubt": 50}, "sent twice, receipt within the hold", None),
        ({"used": 0.94}, "rate used, first", False),
        ({"used": None}, "rate used, first", None),
        ({"peak_sure": 301}, "most in a second, first", False),
    ],
)
def test_what_is_not_good_enough(figures: dict[str, Any], name: str, ok: bool | None) -> None:
    found = asked(**figures)
    assert found.pop(name) is ok
    assert set(found.values()) == {True}
