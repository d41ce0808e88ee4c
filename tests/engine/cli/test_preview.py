"""`todoke preview`: the JSON that others rely on, texts from files, carriers."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from todoke.engine.cli import main

CARRIER = '[[carrier]]\nname = "mine"\nhosts = ["h:1"]\nsystem_id = "x"\n'


def preview(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert main.run(["preview", "--json", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return [json.loads(line) for line in captured.out.removesuffix("\n").split("\n")]


SHAPES = [
    ("Hello", "gsm7", 0, [(5, 5)], 155),
    ("x" * 160, "gsm7", 0, [(160, 160)], 0),
    ("x" * 161, "gsm7", 0, [(153, 159), (8, 14)], 145),
    ("€" * 80, "gsm7", 0, [(160, 160)], 0),
    ("€" * 81, "gsm7", 0, [(152, 158), (10, 16)], 143),
    ("あ" * 70, "ucs2", 8, [(70, 140)], 0),
    ("あ" * 71, "ucs2", 8, [(67, 140), (4, 14)], 63),
    ("😀" * 36, "ucs2", 8, [(66, 138), (6, 18)], 61),
    ("", "gsm7", 0, [(0, 0)], 160),
]


@pytest.mark.parametrize(("text", "alphabet", "data_coding", "parts", "left"), SHAPES)
def test_the_object_is_as_documented(
    text: str,
    alphabet: str,
    data_coding: int,
    parts: list[tuple[int, int]],
    left: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (shown,) = preview(capsys, "--text", text)
    assert list(shown) == ["alphabet", "data_coding", "parts", "units_left"]
    assert (shown["alphabet"], shown["data_coding"], shown["units_left"]) == (alphabet, data_coding, left)
    assert [list(part) for part in shown["parts"]] == [["text", "units", "octets"]] * len(parts)
    assert [(part["units"], part["octets"]) for part in shown["parts"]] == parts
    assert "".join(part["text"] for part in shown["parts"]) == text


@pytest.mark.parametrize(
    ("carrier", "parts"),
    [
        ("docomo", [(67, 140)] * 9 + [(57, 120)]),
        ("au", [(67, 140)] * 9 + [(57, 120)]),
        ("softbank", [(125, 250)] * 5 + [(35, 70)]),
        ("rakuten", [(66, 139)] * 10),
    ],
)
def test_660_characters_fit_every_japanese_carrier(
    carrier: str, parts: list[tuple[int, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    (shown,) = preview(capsys, "--text", "あ" * 660, "--carrier", carrier)
    assert [(part["units"], part["octets"]) for part in shown["parts"]] == parts


def test_a_carrier_of_a_configuration(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = tmp_path / "todoke.toml"
    config.write_text(f'{CARRIER}concat = "udh16"\nalphabets = ["ucs2"]\n')
    (shown,) = preview(capsys, "--text", "x" * 71, "--carrier", "mine", "--config", str(config))
    assert [(part["units"], part["octets"]) for part in shown["parts"]] == [(66, 139), (5, 17)]
    assert main.run(["preview", "--text", "x", "--carrier", "other", "--config", str(config)]) == 2
    assert "allowed: mine, docomo, au, softbank, rakuten" in capsys.readouterr().err


def test_a_payload_has_no_header(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = tmp_path / "todoke.toml"
    config.write_text(f'{CARRIER}concat = "payload"\n')
    (shown,) = preview(capsys, "--text", "x" * 200, "--carrier", "mine", "--config", str(config))
    assert sum(part["octets"] for part in shown["parts"]) == 200


def test_a_file_has_a_text_a_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.write_bytes("\ufeffone\r\ntwo\x0c\n\nあ".encode())
    shown = preview(capsys, "--file", str(texts))
    assert ["".join(part["text"] for part in one["parts"]) for one in shown] == ["one", "two\x0c", "", "あ"]


def test_a_whole_file_may_be_one_text(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("one\n\ntwo\n")
    (shown,) = preview(capsys, "--file", str(text), "--whole")
    assert shown["parts"][0]["text"] == "one\n\ntwo"


def test_standard_input_and_leading_hyphens(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"-5% off\n")))
    assert preview(capsys, "--file", "-") == preview(capsys, "--text", "-5% off")


def test_a_text_that_cannot_be_sent_is_told_in_its_place(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    texts = tmp_path / "texts"
    texts.write_text("a\n" + "あ" * 671 + "\nb\n")
    assert main.run(["preview", "--file", str(texts), "--carrier", "docomo", "--json"]) == 1
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert [line.get("error", {}).get("code") for line in lines] == [None, "too_long", None]
    assert captured.err == "todoke: text 2: more than 10 parts (too_long)\n"
    assert main.run(["preview", "--file", str(texts)]) == 0, "without a carrier there is no carrier's limit"


@pytest.mark.parametrize(("content", "expected"), [(b"\xff", "octet 0 is not UTF-8"), (None, "No such file")])
def test_a_file_that_cannot_be_read(
    content: bytes | None, expected: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "texts"
    if content is not None:
        path.write_bytes(content)
    assert main.run(["preview", "--file", str(path)]) == 1
    assert expected in capsys.readouterr().err


def test_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["preview", "--text", "x" * 161]) == 0
    first, *parts = capsys.readouterr().out.splitlines()
    assert first == "gsm7, data_coding 0, 2 parts, 145 units left in the last"
    assert parts[1] == "  2/2    8 units   14 octets  'xxxxxxxx'"


def test_national_tables_are_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = tmp_path / "todoke.toml"
    config.write_text(f'{CARRIER}languages = ["hindi", "turkish"]\ngsm7_packed = true\n')
    arguments = ["--carrier", "mine", "--config", str(config)]
    (shown,) = preview(capsys, "--text", "ş" * 155, *arguments)
    assert (shown["locking"], "single" in shown, "replaced" in shown) == ("turkish", False, False)
    assert [(part["units"], part["octets"]) for part in shown["parts"]] == [(155, 140)]
    (shown,) = preview(capsys, "--text", "क" * 80 + "A", *arguments)
    assert (shown["locking"], shown["single"]) == ("hindi", "hindi")
    assert main.run(["preview", "--text", "क" * 80 + "A", *arguments]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first == (
        "gsm7, hindi locking shift table, hindi single shift table, data_coding 0, 1 part, "
        "70 units left in the last"
    )


def test_what_transliteration_replaces_is_told_by_name(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "todoke.toml"
    config.write_text(f'{CARRIER}transliterate = true\ntransliterate_extra = {{ "♥" = "<3" }}\n')
    arguments = ["--carrier", "mine", "--config", str(config)]
    (shown,) = preview(capsys, "--text", "“♥”\te\u0301 “", *arguments)
    assert shown["parts"][0]["text"] == '"<3" é "'
    assert shown["replaced"] == [
        {"text": "“", "names": ["LEFT DOUBLE QUOTATION MARK"], "sent": '"'},
        {"text": "♥", "names": ["BLACK HEART SUIT"], "sent": "<3"},
        {"text": "”", "names": ["RIGHT DOUBLE QUOTATION MARK"], "sent": '"'},
        {"text": "\t", "names": ["U+0009"], "sent": " "},
        {"text": "e\u0301", "names": ["LATIN SMALL LETTER E", "COMBINING ACUTE ACCENT"], "sent": "é"},
    ]
    (shown,) = preview(capsys, "--text", "“日”", *arguments)
    assert (shown["alphabet"], "replaced" in shown) == ("ucs2", False)
    assert main.run(["preview", "--text", "e\u0301…", *arguments]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "  replaced 'e\u0301' by 'é'  LATIN SMALL LETTER E + COMBINING ACUTE ACCENT",
        "  replaced '…' by '...'  HORIZONTAL ELLIPSIS",
    ]


def test_the_transliteration_table_can_be_seen(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = tmp_path / "todoke.toml"
    other = CARRIER.replace("mine", "other")
    config.write_text(f'{CARRIER}transliterate = true\ntransliterate_extra = {{ "♥" = "<3" }}\n{other}')
    entries = preview(capsys, "--transliteration-table")
    assert {"text": "…", "names": ["HORIZONTAL ELLIPSIS"], "sent": "..."} in entries
    assert main.run(["preview", "--transliteration-table"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert "U+2026  '…' -> '...'  HORIZONTAL ELLIPSIS" in rows
    assert len(rows) == len(entries) > 700
    own = preview(capsys, "--transliteration-table", "--carrier", "mine", "--config", str(config))
    assert [one for one in own if one not in entries] == [
        {"text": "♥", "names": ["BLACK HEART SUIT"], "sent": "<3"}
    ]
    assert (
        main.run(["preview", "--transliteration-table", "--carrier", "other", "--config", str(config)]) == 2
    )
    assert "carrier 'other' has no transliterate = true" in capsys.readouterr().err
    for extra in (["--text", "a"], ["--file", "a"]):
        assert main.run(["preview", "--transliteration-table", *extra]) == 2
        assert "goes without --text and --file" in capsys.readouterr().err


def test_octets_of_what_goes_into_message_payload(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = tmp_path / "todoke.toml"
    config.write_text(f"{CARRIER}ucs2_single_units = 130\nucs2_part_units = 130\n")
    (shown,) = preview(capsys, "--text", "日" * 131, "--carrier", "mine", "--config", str(config))
    assert [(part["units"], part["octets"]) for part in shown["parts"]] == [(130, 266), (1, 8)]
