"""The command line: errors are one line and an exit code; help has examples; what is quick stays quick."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
from todoke.engine.cli import main

WRONG = [
    (["prewiev"], "no command 'prewiev'; did you mean 'preview'?"),
    (["fly"], "no command 'fly'; commands: demo, serve,"),
    (["check"], "requires an argument"),
    (["check", "none.toml"], "none.toml: cannot read none.toml: No such file or directory"),
    (["preview", "--text", "a", "--colour"], "Unknown option: --colour"),
    (["preview"], "give one of --text and --file"),
    (["preview", "--text", "a", "--file", "b"], "give one of --text and --file"),
    (["preview", "--text", "a", "--whole"], "--whole needs --file"),
    (["preview", "--text", "a", "--carrier", "x"], "no carrier 'x'; allowed: docomo, au, softbank, rakuten"),
    (["serve", "none.toml"], "cannot read none.toml"),
]


@pytest.mark.parametrize(("arguments", "expected"), WRONG)
def test_a_wrong_command_line_is_told_in_one_line(
    arguments: list[str],
    expected: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main.run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("todoke: ")
    assert captured.err.count("\n") == 1
    assert expected in captured.err


def test_the_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["--help"], ["-h"]):
        assert main.run(arguments) == 0
        shown = capsys.readouterr().out
        for name, command in main.COMMANDS.items():
            assert name in shown
            assert command.summary.split()[0] in shown


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_has_help_with_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"Usage: todoke {name}" in shown
    assert "Examples:" in shown
    for example in main.COMMANDS[name].examples:
        assert example.split()[:2] == ["todoke", name]
        assert example.split("'")[0].split()[1] in shown


def test_the_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--version"]) == 0
    assert capsys.readouterr().out.strip() == main.program_version()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_commands_and_options(
    shell: Literal["bash", "zsh", "fish"], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = main.build_app().generate_completion(shell=shell)
    for word in (*main.COMMANDS, "carrier", "json"):
        assert word in script


def test_preview_imports_no_event_loop_and_no_phone_book() -> None:
    code = (
        "import sys; from todoke.engine.cli import main; main.run(['preview', '--text', 'x']);"
        "print(sorted(set(sys.modules) & {'anyio', 'asyncio', 'phonenumbers', 'redis', 'uvloop'}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


def test_the_module_is_the_command() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "todoke.engine.cli", "preview", "--text", "x"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.startswith("gsm7, data_coding 0, 1 part")


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.write_text("text\n" * 20_000)
    command = f"{sys.executable} -m todoke.engine.cli preview --file {texts} --json | head -n 1"
    run = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert run.stdout.count("\n") == 1
    assert run.stderr == ""
