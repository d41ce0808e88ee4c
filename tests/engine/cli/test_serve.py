"""`todoke serve` as a process: what it says, how it stops, with which exit code; the audit of what it did."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE, run
from sys import executable
from typing import Any

import pytest
from todoke.engine.cli import main
from todoke.engine.client import SyncClient

MESSAGES = 200


def submit(socket: Path, count: int, told: Path | None = None) -> int:
    messages = [
        {"to": f"+8190123{n:05d}", "text": "A text that no log may show.", "ref": f"r-{n}"}
        for n in range(count)
    ]
    with SyncClient(socket) as client:
        answer = client.submit_many(messages)
    if told is not None:
        lines = [
            json.dumps({"message_id": accepted.message_id, "parts": accepted.parts, "to": message["to"]})
            for accepted, message in zip(answer.accepted, messages, strict=True)
        ]
        told.write_text("".join(f"{line}\n" for line in lines))
    return len(answer.accepted)


def test_a_clean_drain_is_exit_0_and_logs_name_no_one(site: Any, carrier_table: Callable[[str], str]) -> None:
    _smsc, host = site.start_smsc()
    node = site.start_node(carrier_table(host))
    assert submit(site.socket, 3) == 3
    node.popen.terminate()
    assert node.wait() == 0
    log = node.error
    for fact in (
        "socket ",
        "redis embedded, durability always",
        "ready",
        "SIGTERM: draining",
        "nothing in doubt",
    ):
        assert fact in log
    for secret in ("no log may show", "secret", "8190123"):
        assert secret not in log
    assert not list((site.directory / "run").glob("*.pid")), "the embedded server goes with its last user"


def test_parts_without_an_answer_are_exit_3(site: Any, carrier_table: Callable[[str], str]) -> None:
    _smsc, host = site.start_smsc("--lost-responses", "1")
    node = site.start_node(carrier_table(host) + "[node]\ndrain_s = 0.5\n")
    assert submit(site.socket, 5) == 5
    give_up_at = time.monotonic() + 10
    with SyncClient(site.socket) as client:
        while client.status()["carriers"][0]["outstanding"] < 5:
            assert time.monotonic() < give_up_at
            time.sleep(0.02)
    node.popen.send_signal(signal.SIGINT)
    assert node.wait() == 3
    assert "5 parts stayed in doubt" in node.error


def test_a_second_signal_ends_at_once(site: Any, carrier_table: Callable[[str], str]) -> None:
    _smsc, host = site.start_smsc("--lost-responses", "1")
    node = site.start_node(carrier_table(host) + "[node]\ndrain_s = 600\n")
    assert submit(site.socket, 1) == 1
    time.sleep(0.2)
    node.popen.terminate()
    give_up_at = time.monotonic() + 10
    while "draining" not in node.error:
        assert time.monotonic() < give_up_at
        time.sleep(0.02)
    node.popen.terminate()
    assert node.wait() == 128 + signal.SIGTERM
    assert "ending without waiting" in node.error
    # What it left behind: the next node adopts the server, and stops it.
    again = site.start_node(carrier_table(host) + "[node]\ndrain_s = 0.5\n")
    assert again.stop() in (0, 3)
    assert not list((site.directory / "run").glob("*.pid"))


def test_a_second_node_on_the_same_socket_is_told(site: Any, carrier_table: Callable[[str], str]) -> None:
    _smsc, host = site.start_smsc()
    site.start_node(carrier_table(host))
    second = run(
        [executable, "-m", "todoke.engine.cli", "serve", "todoke.toml"],
        cwd=site.directory,
        stderr=PIPE,
        text=True,
        timeout=30,
        check=False,
    )
    assert second.returncode == 1
    assert "cannot go on" in second.stderr
    assert "Traceback" not in second.stderr
    with SyncClient(site.socket) as client:
        assert client.status()["store"] == "ready"


def test_an_unreachable_redis_is_told(site: Any, carrier_table: Callable[[str], str]) -> None:
    (site.directory / "todoke.toml").write_text(
        carrier_table("127.0.0.1:1") + '[redis]\nurl = "unix://none.sock"\n'
    )
    ended = run(
        [executable, "-m", "todoke.engine.cli", "serve", "todoke.toml"],
        cwd=site.directory,
        stderr=PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "cannot go on" in ended.stderr


def test_what_was_told_and_seen_agree(
    site: Any, carrier_table: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    smsc, host = site.start_smsc("--states", '{"undeliverable:732": 0.1}')
    node = site.start_node(carrier_table(host))
    told = site.directory / "told.jsonl"
    rows = "".join(f"090-1234-{n:04d},お知らせ {n}\n" for n in range(MESSAGES))
    (site.directory / "list.csv").write_text(f"to,text\n{rows}")
    arguments = ["--csv", str(site.directory / "list.csv"), "--told", str(told), "--socket", str(site.socket)]
    assert main.run(["send", *arguments, "--wait", "--timeout", "30", "--json"]) == 0
    assert node.stop() == 0
    assert smsc.stop() == 0
    capsys.readouterr()
    assert main.run(["audit", "--told", str(told), "--smsc", str(site.smsc_log), "--json"]) == 0
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["accepted"] == MESSAGES
    assert (verdict["lost"], verdict["doubled"], verdict["unreported"]) == (0, 0, 0)
    # The audit can fail: a line of what was told that no SMSC saw.
    with told.open("a") as file:
        file.write('{"message_id": "x.1-1.0", "parts": 1, "to": "+819099999999"}\n')
    assert main.run(["audit", "--told", str(told), "--smsc", str(site.smsc_log)]) == 1
    assert "BROKEN" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["--told", "none", "--smsc", "none"], 1, "cannot read none: No such file"),
        (["--told", "none"], 2, "requires an argument"),
        (["--told", "bad", "--smsc", "none"], 1, "line 1"),
    ],
)
def test_an_audit_of_wrong_files(
    arguments: list[str],
    code: int,
    expected: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad").write_text("not json\n")
    assert main.run(["audit", *arguments]) == code
    captured = capsys.readouterr()
    assert expected in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(["--colour", "red"], "smsc: "), (["--states", '{"happy": 1}'], "happy"), (["--port", "x"], "--port")],
)
def test_a_wrong_simulator_is_told(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["smsc", *arguments]) == 2
    assert expected in capsys.readouterr().err
