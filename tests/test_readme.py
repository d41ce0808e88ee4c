"""The README tells the truth: its commands run, its tables are complete, its examples are answered so."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from todoke.engine import config, messages
from todoke.engine.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")
READY_S_MAX = 20.0
COMMAND_S_MAX = 60.0


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def shipped_files() -> dict[str, str]:
    return dict(re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)^```$", README, re.MULTILINE | re.DOTALL))


def console() -> list[tuple[str, str]]:
    """(command, the output shown) of every command in the README, in order."""
    found: list[tuple[str, str]] = []
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


@pytest.fixture(scope="module")
def place() -> Generator[dict[str, str], None, None]:
    """A directory with the README's files and a `todoke` on its path: the environment of its commands."""
    directory = Path(tempfile.mkdtemp(prefix="t-"))
    for name, content in shipped_files().items():
        (directory / name).write_text(content, "utf-8")
    script = directory / "bin" / "todoke"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m todoke.engine.cli "$@"\n')
    script.chmod(0o755)
    environment = {**os.environ, "PATH": f"{script.parent}:{os.environ['PATH']}", "PWD": str(directory)}
    environment.pop("TODOKE_SOCKET", None)
    yield environment
    shutil.rmtree(directory)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_ready(directory: Path, command: str, port: int) -> None:
    """A reader takes a moment between two commands; wait until what was started can be spoken to."""
    give_up_at = time.monotonic() + READY_S_MAX
    while time.monotonic() < give_up_at:
        family, address = (
            (socket.AF_INET, ("127.0.0.1", port))
            if "smsc" in command
            else (socket.AF_UNIX, str(directory / "run/todoke.sock"))
        )
        try:
            with socket.socket(family) as probe:
                probe.connect(address)
                return
        except OSError:
            time.sleep(0.02)
    raise AssertionError(f"not ready: {command}")


def test_its_commands_and_examples_work_in_their_order(place: dict[str, str]) -> None:
    directory = Path(place["PWD"])
    port = free_port()
    path = directory / "todoke.toml"
    path.write_text(path.read_text().replace("2775", str(port)))
    message_id = ""
    with ExitStack() as stack:
        for command, shown in console():
            # Which number a block gets depends on what was accepted together: the id is the one just told.
            line = re.sub(r"docomo\.\S+", message_id, command.replace("2775", str(port)))
            if line.endswith("&"):
                process = subprocess.Popen(
                    ["sh", "-c", f"exec {line.removesuffix('&')}"],
                    cwd=directory,
                    env=place,
                    stderr=subprocess.DEVNULL,
                )
                stack.callback(end, process)
                wait_until_ready(directory, line, port)
                continue
            done = subprocess.run(
                ["bash", "-c", line],
                cwd=directory,
                env=place,
                capture_output=True,
                text=True,
                timeout=COMMAND_S_MAX,
                check=False,
            )
            assert done.returncode == 0, (line, done.stdout, done.stderr)
            if told := re.findall(r"^(docomo\.\S+) accepted", done.stdout, re.MULTILINE):
                message_id = told[-1]
            if shown:
                assert done.stdout == shown, line
        speaks_python(directory, place)
        speaks_json(directory)


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    assert process.wait(COMMAND_S_MAX) == 0


def speaks_python(directory: Path, environment: dict[str, str]) -> None:
    (example,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-P", "-c", example],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=COMMAND_S_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def speaks_json(directory: Path) -> None:
    """The exchange shown: every answer has the keys of the README's, and the values that are not made up."""
    (exchange,) = blocks("jsonl")
    message_id = cursor = ""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(READY_S_MAX)
        connection.connect(str(directory / "run/todoke.sock"))
        answers = connection.makefile("rb")
        for line in exchange.splitlines():
            direction, body = line.split(" ", 1)
            if direction == "<":
                said: dict[str, Any] = json.loads(body)
                if "message_id" in said:
                    wait_until_final(directory, message_id)
                    said["message_id"] = message_id
                if "cursor" in said:
                    said["cursor"] = cursor
                connection.sendall(json.dumps(said).encode() + b"\n")
                continue
            expected: dict[str, Any] = json.loads(body)
            answer: dict[str, Any] = json.loads(answers.readline())
            while "event" in expected and answer.get("ref") != expected["ref"]:
                answer = json.loads(answers.readline())  # of earlier messages
            assert shape(answer) == shape(expected), line
            if "accepted" in answer:
                message_id = answer["accepted"][0]["message_id"]
                for one, shown in zip(answer["refused"], expected["refused"], strict=True):
                    assert (one["index"], one["field"], one["code"]) == (
                        shown["index"],
                        shown["field"],
                        shown["code"],
                    )
            if "state" in expected:
                assert answer["state"] == expected["state"]
            cursor = answer.get("cursor", cursor)


def wait_until_final(directory: Path, message_id: str) -> None:
    from todoke.engine.client import SyncClient

    give_up_at = time.monotonic() + READY_S_MAX
    with SyncClient(directory / "run/todoke.sock") as client:
        while not client.query(message_id)["final"]:
            assert time.monotonic() < give_up_at
            time.sleep(0.02)


def shape(value: object) -> object:
    """Keys and kinds of a JSON value, without the values."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value[:1]]
    return type(value).__name__


def rows(pattern: str) -> dict[str, str]:
    """First column -> the rest of the row, of the table whose header matches."""
    found = re.search(rf"^\| {pattern}.*\n\|[-|]+\n((?:\|.*\n)*)", README, re.MULTILINE)
    assert found, pattern
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in found[1].splitlines()]
    return {first.strip("`"): " | ".join(rest) for first, *rest in cells}


@pytest.mark.parametrize(
    ("pattern", "codes"),
    [
        ("code \\| a message is refused", messages.REFUSAL_CODES),
        ("code \\| a request is refused", messages.ERROR_CODES),
    ],
)
def test_the_codes_are_those_of_the_socket(pattern: str, codes: dict[str, str]) -> None:
    assert rows(pattern) == codes


def default_of(field: msgspec.structs.FieldInfo) -> str:
    value: Any = field.default
    if value is msgspec.NODEFAULT:
        if field.default_factory is msgspec.NODEFAULT:
            return "required"
        value = field.default_factory()
    if value is None:
        return "—"
    return f"`{json.dumps(value)}`"


@pytest.mark.parametrize(
    ("table", "struct"),
    [
        ("[node]", config.NodeConfig),
        ("[redis]", config.RedisConfig),
        ("[intake]", config.IntakeConfig),
        ("[portability]", config.PortabilityConfig),
        ("[[app]]", config.AppConfig),
        ("[[carrier]]", config.CarrierConfig),
        ("[[route]]", config.RouteConfig),
    ],
)
def test_the_configuration_is_told_key_by_key(table: str, struct: type[msgspec.Struct]) -> None:
    told = {key: rest.split(" | ")[0] for key, rest in rows(f"`{re.escape(table)}` \\| default").items()}
    assert told == {field.encode_name: default_of(field) for field in msgspec.structs.fields(struct)}


def test_every_command_is_used() -> None:
    used = {command.split()[1] for command, _ in console()} | {"demo"}
    assert used == set(COMMANDS)


def test_the_two_commands_come_first() -> None:
    first, second = blocks("sh")
    assert first.strip().endswith("&& .venv/bin/todoke demo")
    assert second.strip().endswith("&& .venv/bin/python -m pytest -n 2 --dist loadfile")
    assert README.index(second) < 2_000


def test_its_tour_names_what_is_there() -> None:
    tour = README[README.index("## A tour of the files") :]
    for entry in re.findall(r"^\d+\. `([\w/.]+)`(.*(?:\n   .*)*)", tour, re.MULTILINE):
        folder, text = entry
        assert (ROOT / folder).exists(), folder
        if folder.endswith("/") and folder not in ("bench/", "conf/", "engine/cli/"):
            for name in re.findall(r"`(\w+)`", text):
                assert (ROOT / folder / f"{name}.py").exists(), f"{folder}{name}"


def test_its_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
