"""What both benches over the whole road stand on: whatever ends a run, nothing of it stays."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from todoke.bench.processes import ProcessFailed
from todoke.bench.road import EXIT_INTERRUPTED, carrier_table, command, open_road, route_table
from todoke.bench.smsc_config import SmscConfig


class RunFailed(Exception):
    """The test's own."""


@pytest.mark.parametrize("killed", [False, True])
def test_a_run_that_fails_leaves_no_process(tmp_path: Path, killed: bool) -> None:
    with suppress(RunFailed), open_road(str(tmp_path)) as road:
        smsc = road.start_smsc("smsc", SmscConfig(accounts={"todoke": "secret"}))
        carrier = carrier_table("carrier", smsc.listening_port(), 1, 0, 10, "")
        toml = road.toml(carrier, route_table([], ["carrier"]), server_binary="", events_max=100)
        assert road.start_engine(toml, 1) > 0
        pids = [smsc.pid, road.engine.pid, int((road.data / "server.pid").read_text())]
        assert all(Path(f"/proc/{pid}").exists() for pid in pids)
        if killed:
            road.engine.kill()
        raise RunFailed
    deadline = time.monotonic() + 30
    while any(_lives(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert (tmp_path / "smsc.log").exists()


def _lives(pid: int) -> bool:
    """A server whose engine was killed may stay as a zombie where nobody waits for orphans."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_temporary_directory_is_removed() -> None:
    with open_road("") as road:
        assert road.data.is_dir()
    assert not road.directory.exists()


class Told(msgspec.Struct):
    json: bool = False


class Found(msgspec.Struct):
    config: Told
    ok: bool


def ends(how: Callable[[Told], Found], *words: str) -> int:
    return command("it", list(words), "", Told, how, lambda found: f"kept: {found.ok}")


@pytest.mark.parametrize("ok", [True, False])
def test_a_run_is_told_to_people_or_as_json(ok: bool, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (([], f"kept: {ok}\n"), (["--json"], '{"config":{"json":true},"ok":%s}\n')):
        assert ends(lambda config: Found(config, ok), *words) == (0 if ok else 1)
        assert capsys.readouterr().out == said.replace("%s", str(ok).lower())


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ProcessFailed("engine ended"), 2, "bench it: engine ended\n"),
        (FileNotFoundError("smsc.log"), 2, "bench it: smsc.log\n"),
        (KeyboardInterrupt(), EXIT_INTERRUPTED, ""),
    ],
)
def test_no_run_is_one_line(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(config: Told) -> Found:
        raise error

    assert ends(fail) == code
    assert capsys.readouterr().err == said
