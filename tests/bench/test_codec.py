from __future__ import annotations

import builtins
import importlib.util
from typing import Any

import msgspec
import pytest
from todoke.bench import codec

for library in ("smpp34", "smpplib"):
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"compares with {library}, which is not installed", allow_module_level=True)


def test_all_contestants_do_the_same_work_and_every_line_has_its_figures() -> None:
    figures = codec.run_codec(rounds=1)
    submit, receipt, cut, *others = figures.lines
    assert set(submit.ratios) == set(submit.theirs_ns) == set(receipt.ratios) == {"smpp34", "smpplib"}
    assert (submit.required, receipt.required) == (
        {"smpp34": 1.5, "smpplib": 50.0},
        {"smpp34": 1.2, "smpplib": 20.0},
    )
    assert set(cut.ratios) == {"smpplib"}
    limits = [(line.work, line.at_most_ns) for line in others if line.at_most_ns]
    assert [at_most_ns for _, at_most_ns in limits] == [*[1_000] * 3, *[5_000] * 3, *[3_000] * 7]
    assert (submit.at_most_ns, receipt.at_most_ns, cut.at_most_ns) == (3_000, 3_000, 10_000)
    assert all(line.ours_ns > 0 for line in figures.lines)
    assert figures.ok == all(line.ok for line in figures.lines)


def test_another_result_is_not_timed() -> None:
    work = codec.Work("x", lambda: [1, 2], {"smpp34": lambda: [1, 3]})
    with pytest.raises(AssertionError, match="smpp34 does other work"):
        codec._measure([work], 1)


def test_a_ratio_not_reached_is_said() -> None:
    work = codec.Work(
        "slow", lambda: [sum(range(20_000))], {"smpp34": lambda: [199_990_000]}, {"smpp34": 1.0}
    )
    line = codec._measure([work], 3)[0]
    assert not line.ok
    assert line.ratios["smpp34"] < 1
    figures = codec.CodecFigures("3", 3, {}, [line], False)
    assert "MISSED" in codec.table(figures)
    slow = codec._measure([codec.Work("slow", lambda: [sum(range(99))], at_most_ns=0.001)], 1)[0]
    assert not slow.ok
    assert slow.at_most_ns == 0.001
    assert codec._measure([codec.Work("quick", lambda: [sum(range(99))], at_most_ns=1e9)], 1)[0].ok


def test_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    figures = codec.CodecFigures("3", 3, {}, [codec.Line("w", 1.0, {}, {}, {}, True)], True)
    monkeypatch.setattr(codec, "run_codec", lambda rounds: figures)
    assert codec.main_codec(json=True) == 0
    assert msgspec.json.decode(capsys.readouterr().out, type=codec.CodecFigures) == figures


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "smpp34":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(codec.MissingContestant, match=r"smpp34 1\.5\.0"):
        codec.run_codec(1)
