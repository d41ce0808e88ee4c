"""send, events, query, cancel and status against a running node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from todoke.engine.cli import main


class Command:
    """Runs commands against the node."""

    def __init__(self, socket: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.socket = socket
        self._capsys = capsys

    def run(self, *arguments: str, code: int = 0) -> str:
        assert main.run([*arguments, "--socket", str(self.socket)]) == code
        captured = self._capsys.readouterr()
        if code == 0:
            assert captured.err == ""
        else:
            assert captured.err.count("\n") <= 1
        return captured.out + captured.err

    def json(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        (line,) = self.run(*arguments, "--json", code=code).splitlines()
        value: dict[str, Any] = json.loads(line)
        return value


@pytest.fixture
def command(node: Any, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(node.socket, capsys)


def test_a_message_is_sent_and_reported(command: Command) -> None:
    shown = command.json(
        "send", "--to", "090-1234-0001", "--text", "お荷物が届きました。", "--ref", "r-1", "--wait"
    )
    assert (shown["accepted"], shown["parts"], shown["refused"]) == (1, 1, [])
    (message,) = shown["messages"]
    assert message["ref"] == "r-1"
    assert message["report"]["state"] == "delivered"
    again = command.json("send", "--to", "090-1234-0001", "--text", "お荷物が届きました。", "--ref", "r-1")
    assert again["duplicates"] == 1
    assert again["messages"][0]["message_id"] == message["message_id"]
    asked = command.json("query", message["message_id"])
    assert (asked["state"], asked["final"], asked["ref"]) == ("delivered", True, "r-1")
    assert "delivered" in command.run("query", message["message_id"])


def test_for_people(command: Command) -> None:
    shown = command.run("send", "--to", "+819012349999", "--text", "x", "--wait")
    first, second = shown.splitlines()
    assert "accepted, 1 part" in first
    assert "undeliverable" in second
    assert "error 732" in second


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["--to", "090-1234", "--text", "x"], 2, "--to: no number of the numbering plan of JP"),
        (["--to", "090-1234-0001", "--text", "x", "--at", "tomorrow"], 2, "--at: not a time such as"),
        (["--to", "090-1234-0001", "--text", ""], 1, "empty"),
        (["--to", "090-1234-0001", "--text", "あ" * 671], 1, "too_long"),
        (["--to", "090-1234-0001", "--text", "x", "--from", "way too long a name"], 1, "invalid_sender"),
        (["--to", "090-1234-0001", "--text", "x", "--carrier", "au"], 1, "unknown_carrier"),
    ],
)
def test_a_refused_message_says_why(command: Command, arguments: list[str], code: int, expected: str) -> None:
    assert expected in command.run("send", *arguments, code=code)


def test_a_list_is_sent_but_for_its_wrong_rows(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(
        "電話番号,氏名,本文\r\n"
        "090-1234-0101,見本 太郎,{氏名}様 こんにちは。\r\n"
        "03-1234-0102,見本 次郎,{氏名}様 こんにちは。\r\n"
        "090-1234-0103,見本 三郎,{氏名}様 こんにちは。\r\n"
        f"090-1234-0104,見本 四郎,{'長' * 671}\r\n".encode("cp932")
    )
    told = tmp_path / "told.jsonl"
    arguments = ["send", "--csv", str(path), "--wait", "--timeout", "20", "--told", str(told)]
    shown = command.json(*arguments)
    assert (shown["encoding"], shown["rows"], shown["accepted"], shown["duplicates"]) == ("cp932", 4, 2, 0)
    assert [(one["row"], one["column"], one["code"]) for one in shown["refused"]] == [
        (3, "電話番号", "not_mobile"),
        (5, "本文", "too_long"),
    ]
    assert shown["reports"] == {"delivered": 2}
    lines = [json.loads(line) for line in told.read_text().splitlines()]
    assert [line.get("event") for line in lines] == [None, None, "report", "report"]
    again = command.json("send", "--csv", str(path))
    assert (again["accepted"], again["duplicates"]) == (2, 2)
    once_more = command.json("send", "--csv", str(path), "--again", "1", "--wait", "--timeout", "20")
    assert (once_more["accepted"], once_more["duplicates"]) == (2, 0)


def test_a_list_for_people(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("to,name\n090-1234-0201,A\nx,B\n")
    shown = command.run("send", "--csv", str(path), "--text", "Dear {name}", "--wait")
    assert "invalid_number" in shown
    assert "2 rows (utf-8; to from 'to')" in shown
    assert "accepted 1 (1 parts, 0 duplicates), refused 1" in shown
    assert "reports: delivered 1" in shown


def test_a_dry_run_sends_nothing(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("to,text\n090-1234-0301,A\nx,B\n")
    before = command.json("status")["accepted"]
    shown = command.json("send", "--csv", str(path), "--dry-run")
    assert (shown["dry_run"], shown["accepted"], len(shown["refused"])) == (True, 0, 1)
    assert "1 rows can be submitted; nothing was sent" in command.run("send", "--csv", str(path), "--dry-run")
    assert command.json("status")["accepted"] == before


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("name,text\na,b\n", "no column with the numbers"),
        (None, "No such file"),
        ("to\n1\n", "no column with the texts"),
    ],
)
def test_a_list_that_cannot_be_read(
    command: Command, tmp_path: Path, content: str | None, expected: str
) -> None:
    path = tmp_path / "list.csv"
    if content is not None:
        path.write_text(content)
    assert expected in command.run("send", "--csv", str(path), code=1)


def test_events_are_printed_once(command: Command) -> None:
    command.run("events")
    sent = command.json("send", "--to", "090-1234-0401", "--text", "x", "--wait")["messages"][0]
    # --wait acknowledged it: there was nothing else.
    assert command.run("events") == ""
    command.run("send", "--to", "090-1234-0402", "--text", "x")
    looked = command.run("events", "--no-ack", "--json")
    (event,) = (json.loads(line) for line in looked.splitlines())
    assert (event["event"], event["state"]) == ("report", "delivered")
    assert event["message_id"] != sent["message_id"]
    line = command.run("events")
    assert event["message_id"] in line
    assert "delivered" in line
    assert command.run("events") == ""


def test_a_message_of_later_can_be_cancelled(command: Command) -> None:
    sent = command.json("send", "--to", "090-1234-0501", "--text", "x", "--at", "2099-01-01 10:00", code=1)
    assert sent["refused"][0]["code"] == "too_far"
    from datetime import UTC, datetime, timedelta

    later = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    message_id = command.json("send", "--to", "090-1234-0501", "--text", "x", "--at", later)["messages"][0][
        "message_id"
    ]
    cancelled = command.json("cancel", message_id)
    assert (cancelled["cancelled"], cancelled["state"]) == (True, "cancelled")
    assert "cancelled" in command.run("events")
    assert command.json("cancel", message_id, code=1)["cancelled"] is False


@pytest.mark.parametrize("name", ["query", "cancel"])
def test_an_unknown_message(command: Command, name: str) -> None:
    assert "unknown_message" in command.run(name, "docomo.f-1.0", code=1)


def test_the_status_has_what_operators_ask(command: Command) -> None:
    status = command.json("status")
    (carrier,) = status["carriers"]
    for key in (
        "binds",
        "window",
        "rate_used",
        "queued",
        "oldest_queued_s",
        "in_doubt",
        "orphans",
        "receipt_lag_s",
    ):
        assert key in carrier
    assert "last_error" in carrier
    assert carrier["bound"] == 1
    shown = command.run("status")
    assert "docomo" in shown
    assert "1/1" in shown


def test_the_socket_is_found(
    node: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main.run(["status", "--json"]) == 1
    assert "no node at run/todoke.sock" in capsys.readouterr().err
    monkeypatch.setenv("TODOKE_SOCKET", str(node.socket))
    assert main.run(["status", "--json"]) == 0
    monkeypatch.delenv("TODOKE_SOCKET")
    monkeypatch.chdir(node.directory)
    assert main.run(["status", "--json"]) == 0
    assert main.run(["status", "--json", "--config", "todoke.toml"]) == 0
