"""`todoke check`: what would run, and what deserves a second look."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pytest
from todoke.engine import config
from todoke.engine.cli import check, main

CARRIER = """[[carrier]]
name = "docomo"
hosts = ["127.0.0.1:2775"]
system_id = "x"
password = "hush"
rate = 10
"""


def warnings(text: str) -> list[str]:
    return check.warnings_of(config.parse(text))


def test_a_plain_configuration_has_no_warning() -> None:
    assert warnings(CARRIER) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[redis]\ndurability = 'relaxed'", "can be lost when the server dies"),
        (
            "[[route]]\nprefix = ['81', '82']\ncarriers = ['docomo']",
            "only numbers that begin with 81, 82 have",
        ),
        ("binds = 20", "rate 10 over 20 binds is less than one"),
        ("in_doubt = 'resend'", "always makes a second copy"),
        ("in_doubt = 'never'", "can lose the message"),
        ("orphan_ttl_s = 40", "thrown away before response_timeout_s + hold_s (45 s) are over"),
        (
            CARRIER.replace("docomo", "au").replace('"x"', '"y"') + "[[route]]\ncarriers = ['docomo']",
            "[[carrier]] au: no route leads there",
        ),
    ],
)
def test_what_deserves_a_second_look_is_told(text: str, expected: str) -> None:
    (found,) = warnings(CARRIER + text)
    assert expected in found


@pytest.mark.parametrize(
    ("was", "becomes", "expected"),
    [
        ("rate = 10", "", "rate = 0: sends as fast"),
        ('password = "hush"', "", "no password"),
        ("127.0.0.1", "smsc.example", "cross the network to smsc.example:2775 unencrypted"),
        ("127.0.0.1", "192.0.2.1", "unencrypted"),
    ],
)
def test_what_is_missing_is_told(was: str, becomes: str, expected: str) -> None:
    (found,) = warnings(CARRIER.replace(was, becomes))
    assert expected in found


def test_one_account_under_two_names_is_told() -> None:
    other = CARRIER.replace('"docomo"', '"docomo2"')
    (found,) = warnings(CARRIER + other)
    assert "docomo2 is the account docomo too" in found
    assert warnings(CARRIER + other.replace("127.0.0.1", "127.0.0.2")) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "[::1]", "localhost"])
def test_loopback_needs_no_tls(host: str) -> None:
    assert warnings(CARRIER.replace("127.0.0.1", host)) == []


def test_the_plan_has_absolute_paths_and_no_password(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "todoke.toml"
    path.write_text(
        CARRIER + "[[app]]\nname = 'billing'\nuid = 1001\n[redis]\nurl = 'redis://u:hush@127.0.0.1/0'\n"
    )
    path.chmod(0o600)
    assert main.run(["check", "todoke.toml", "--json"]) == 0
    text = capsys.readouterr().out
    assert "hush" not in text
    plan = json.loads(text)
    assert plan["file"] == str(path)
    assert plan["socket"] == str(tmp_path / "run/todoke.sock")
    assert plan["data"] == str(tmp_path / "run")
    assert plan["redis"] == "redis://127.0.0.1/0"
    assert plan["apps"] == {"billing": 1001}
    assert plan["carriers"][0]["name"] == "docomo"
    assert plan["routes"] == [{"prefix": [], "carriers": ["docomo"]}]
    assert plan["warnings"] == []
    assert main.run(["check", "todoke.toml"]) == 0
    shown = capsys.readouterr().out
    assert "hush" not in shown
    assert str(tmp_path / "run/todoke.sock") in shown
    path.chmod(0o644)
    assert main.run(["check", "todoke.toml"]) == 0
    assert "holds a password and can be read by others (mode 0644)" in capsys.readouterr().out


def test_a_wrong_configuration_is_told_with_its_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "todoke.toml"
    path.write_text(CARRIER + "windw = 3\n")
    assert main.run(["check", str(path)]) == 2
    expected = (
        f"todoke: {path}: table [[carrier]] docomo: key 'windw': unknown (did you mean 'window'?); allowed: "
    )
    assert capsys.readouterr().err.startswith(expected)


def test_the_shipped_example_passes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "todoke.toml"
    path.write_text((files("todoke.conf") / "todoke.toml").read_text("utf-8"))
    assert main.run(["check", str(path)]) == 0
    assert "docomo: 1 x transceiver to 127.0.0.1:2775, 500 parts/s, window 100" in capsys.readouterr().out
