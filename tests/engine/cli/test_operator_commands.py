"""carrier, held and trace against a running node and a simulated carrier, over the real socket."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from todoke.engine.cli import main
from todoke.engine.client_trace import SyncTrace

SILENT = '[{"suffix": "7777", "lost_response": true, "no_receipt": true}]'
CARRIER = """
[[carrier]]
name = "docomo"
hosts = ["{host}"]
system_id = "todoke"
password = "secret"
window = 100
rate = 400
response_timeout_s = 1
hold_s = 300
"""
WAIT_S_MAX = 20.0


class Command:
    """Runs commands against the node."""

    def __init__(self, socket: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.socket = socket
        self._capsys = capsys

    def run(self, *arguments: str, code: int = 0) -> str:
        found = main.run([*arguments, "--socket", str(self.socket)])
        captured = self._capsys.readouterr()
        assert found == code, captured
        return captured.out + captured.err

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code).splitlines()[0])

    def account(self, *arguments: str) -> Any:
        (one,) = self.json("carrier", *arguments)["carriers"]
        return one

    def send(self, number: str, text: str = "x") -> str:
        sent = self.json("send", "--to", number, "--text", text)["messages"][0]
        return str(sent["message_id"])

    def state(self, message_id: str) -> Any:
        return self.json("query", message_id)["state"]


def until(condition: Callable[[], Any]) -> Any:
    give_up_at = time.monotonic() + WAIT_S_MAX
    while not (found := condition()):
        assert time.monotonic() < give_up_at
        time.sleep(0.02)
    return found


@pytest.fixture(scope="module")
def place(new_site: Any) -> Any:
    """A node whose carrier swallows what goes to ...7777; what is in doubt is held for minutes."""
    _smsc, host = new_site.start_smsc("--rules", SILENT)
    new_site.table = CARRIER.format(host=host)
    new_site.node = new_site.start_node(new_site.table)
    return new_site


@pytest.fixture
def command(place: Any, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(place.socket, capsys)


def test_paused_nothing_leaves_until_it_is_resumed(command: Command) -> None:
    shown = command.account("pause", "docomo")
    assert (shown["state"], shown["paused"], shown["bound"]) == ("paused", True, 1)
    assert shown["changed_by"] == f"uid {os.getuid()}"
    message_id = command.send("090-1234-0001")
    time.sleep(0.3)
    assert command.state(message_id) == "queued"
    assert "PAUSED" in command.run("status")
    assert "paused" in command.run("carrier")
    assert command.account("resume", "docomo")["state"] == "sending"
    until(lambda: command.state(message_id) == "delivered")
    assert "PAUSED" not in command.run("status")


def test_rate_and_window_within_the_contract(command: Command) -> None:
    assert "out_of_range: rate of docomo: 0.01 to 400 (the contract)" in command.run(
        "carrier", "rate", "docomo", "401", code=1
    )
    assert "from 1 to 100 (the contract)" in command.run("carrier", "window", "docomo", "0", code=1)
    assert "unknown_carrier" in command.run("carrier", "pause", "au", code=1)
    assert "which carrier?" in command.run("carrier", "pause", code=2)
    assert "takes no value" in command.run("carrier", "pause", "docomo", "5", code=2)
    command.account("rate", "docomo", "20")
    shown = command.account("window", "docomo", "7")
    assert (shown["rate"], shown["window"]) == (20, 7)
    assert "rate 20 of 400, window 7 of 100" in command.run("carrier", "list")
    command.account("rate", "docomo")
    shown = command.account("window", "docomo")
    assert (shown["rate_allowed"], shown["window_allowed"]) == (400, 100)


def test_held_is_listed_released_and_dropped(command: Command) -> None:
    command.run("events")
    first, second = command.send("090-1234-7777"), command.send("080-1234-7777")
    until(lambda: command.json("held", "list")["held"] == 2)
    shown = command.run("held", "list")
    assert first in shown
    assert "12347777" not in shown
    assert command.account("list")["held_parts"] == 2
    assert "a message_id, --carrier or --all" in command.run("held", "release", code=2)
    assert "say --yes" in command.run("held", "drop", first, code=2)
    assert command.json("held", "drop", first, "--yes") == {"changed": 1, "elsewhere": 0}
    assert command.json("held", "drop", first, "--yes", code=1)["changed"] == 0
    event = json.loads(command.run("events", "--json").splitlines()[0])
    assert (event["message_id"], event["state"], event["possibly_doubled"]) == (first, "unknown", True)
    with SyncTrace(command.socket, "docomo", commands=["submit_sm"]) as trace:
        assert command.json("held", "release", second)["changed"] == 1
        pdus, _ = trace.receive(WAIT_S_MAX)
    assert b"818012347777" in pdus[0].octets
    until(lambda: command.json("held", "list")["held"] == 1)
    assert command.json("held", "drop", "--all", "--yes")["changed"] == 1
    assert "unknown" in command.run("events")


def trace_process(place: Any, *arguments: str) -> subprocess.Popen[str]:
    """A trace that has begun."""
    before = place.node.error.count("its PDUs are watched, as")
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "todoke.engine.cli", "trace", "docomo", *arguments],
        cwd=place.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: place.node.error.count("its PDUs are watched, as") > before)
    return process


def test_a_trace_shows_what_passes_and_no_number_until_ctrl_c(place: Any, command: Command) -> None:
    process = trace_process(place)
    message_id = command.send("090-1234-0101", "secret words")
    until(lambda: command.state(message_id) == "delivered")
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=WAIT_S_MAX)
    assert process.returncode == 0, err
    assert err == "4 PDUs\n"
    lines = out.splitlines()
    assert [line.split()[1:4] for line in lines] == [
        ["->", "docomo-1", "submit_sm"],
        ["<-", "docomo-1", "submit_sm_resp"],
        ["<-", "docomo-1", "deliver_sm"],
        ["->", "docomo-1", "deliver_sm_resp"],
    ]
    assert "ESME_ROK" in lines[1]
    assert "to 81901*******" in lines[0]
    assert "9012340101" not in out
    assert "secret words" not in out


def test_a_trace_of_one_command_field_by_field(place: Any, command: Command) -> None:
    process = trace_process(place, "--command", "submit_sm", "--limit", "1", "--full", "--bind", "1")
    command.send("090-1234-0102", "secret words")
    out, err = process.communicate(timeout=WAIT_S_MAX)
    assert (process.returncode, err) == (0, "1 PDUs\n")
    assert "destination_addr" in out
    assert "masked" in out
    assert "9012340102" not in out
    assert "deliver_sm" not in out.splitlines()[0]


def test_a_wrong_trace_is_told(command: Command) -> None:
    assert "unknown_carrier" in command.run("trace", "au", code=1)
    assert "no command 'submit'" in command.run("trace", "docomo", "--command", "submit", code=2)
    assert "binds 1 to 1" in command.run("trace", "docomo", "--bind", "2", code=1)
    assert "needs --show-text" in command.run("trace", "docomo", "--pcap", "x.pcap", code=2)
    assert "0 PDUs" in command.run("trace", "docomo", "--seconds", "0.1", "--command", "query_sm")


def test_a_capture_is_one_for_others_too(place: Any, command: Command, tmp_path: Path) -> None:
    path = tmp_path / "docomo.pcap"
    process = trace_process(place, "--show-text", "--pcap", str(path), "--json", "--limit", "8")
    for number in ("090-1234-0201", "090-1234-0202"):
        message_id = command.send(number, "a text " * 40)
        until(lambda message_id=message_id: command.state(message_id) == "delivered")
    out, err = process.communicate(timeout=WAIT_S_MAX)
    assert process.returncode == 0, err
    traced = [json.loads(line) for line in out.splitlines()]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "cannot write" in command.run("trace", "docomo", "--show-text", "--pcap", str(path), code=2)
    assert main.run(["pdu", str(path), "--json"]) == 0
    read = [json.loads(line) for line in command._capsys.readouterr().out.splitlines()]
    read = [each for each in read if "name" in each]
    assert [each["name"] for each in read] == [each["name"] for each in traced]
    assert [each["sequence_number"] for each in read] == [each["sequence_number"] for each in traced]
    if shutil.which("tshark"):
        fields = ["-T", "fields", "-e", "smpp.command_id", "-e", "smpp.sequence_number"]
        checks = ["-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE"]
        said = subprocess.run(
            ["tshark", "-n", "-r", str(path), *checks, *fields], capture_output=True, text=True, check=True
        )
        rows = [line.split("\t") for line in said.stdout.splitlines()]
        assert [(int(a, 0), int(b)) for a, b in rows] == [
            (each["command_id"], each["sequence_number"]) for each in traced
        ]
        bad = ["-Y", "ip.checksum.status==0 || tcp.checksum.status==0 || tcp.analysis.flags"]
        wrong = subprocess.run(
            ["tshark", "-n", "-r", str(path), *checks, *bad], capture_output=True, text=True, check=True
        )
        assert wrong.stdout == ""


def test_what_was_laid_holds_over_a_restart(place: Any, command: Command) -> None:
    command.account("pause", "docomo")
    command.account("rate", "docomo", "50")
    assert place.node.stop() == 0
    place.node = place.start_node(place.table)
    shown = command.account("list")
    assert (shown["state"], shown["rate_allowed"]) == ("paused", 50)
    assert "paused, rate 50, window 100" in place.node.error
    message_id = command.send("090-1234-0501")
    time.sleep(0.2)
    assert command.state(message_id) == "queued"
    command.account("resume", "docomo")
    command.account("rate", "docomo")
    until(lambda: command.state(message_id) == "delivered")
    assert f"docomo: resume, as uid {os.getuid()} asked" in place.node.error
