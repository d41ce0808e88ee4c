from __future__ import annotations

import msgspec
import pytest
from todoke.bench import flags


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    count: int = 1
    some_rate: float = 0.0
    loud: bool = False
    table: dict[str, float] = {}
    name: str | None = None


def read(*words: str) -> Settings:
    return flags.settings(Settings, list(words), "x", "y")


def test_a_flag_a_field() -> None:
    assert read() == Settings()
    assert read("--count", "3", "--some-rate=2.5", "--loud", "--name", "n") == Settings(3, 2.5, True, {}, "n")
    assert not read("--config-json", '{"loud": true}', "--no-loud").loud
    assert read("--table", '{"a": 0.5}').table == {"a": 0.5}


def test_a_flag_beats_the_whole() -> None:
    assert read("--config-json", '{"count": 2, "loud": true}', "--count", "5") == Settings(5, loud=True)


@pytest.mark.parametrize("words", [["--count", "many"], ["--config-json", '{"cuont": 1}']])
def test_wrong_values_are_validation_errors(words: list[str]) -> None:
    with pytest.raises(msgspec.ValidationError):
        read(*words)


@pytest.mark.parametrize("words", [["--cuont", "1"], ["--cou", "1"], ["stray"]])
def test_wrong_flags_end_the_program(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read(*words)
    assert "usage" in capsys.readouterr().err
