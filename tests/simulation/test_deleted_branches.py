"""Without one of its recovery branches, the engine breaks a promise in some seed, and whole it keeps it.

Each case is played by the command itself, in an interpreter that orders sets as its traces need it. A few
seeds are named in each case, of which one has to fail: which one, changes with the engine.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final, NamedTuple

import msgspec
import pytest
from todoke.bench.simulation.__main__ import main
from todoke.bench.simulation.deletions import DELETIONS, NotThere, deleted
from todoke.bench.simulation.faults import KINDS
from todoke.bench.simulation.trial import Trial
from todoke.engine.dispatch.grants import Grants
from todoke.engine.dispatch.taker import Taker

SEEDS: Final = 6


class Case(NamedTuple):
    """Seeds from `first` on fail, with these kinds of faults, in these words."""

    delete: str
    faults: str
    first: int
    why: str
    messages: int = 60


CASES: Final[tuple[Case, ...]] = (
    Case("inherited-doubt", "kill,power_cut", 2, "lost: "),
    Case("take-over", "kill,power_cut", 1, "lost: "),
    Case("doubt", "lost_responses,cut_reset", 4, "lost: "),
    Case("retry", "queue_full,system_error,throttled", 2, "deliverable messages delivered"),
    Case("response-timer", "lost_responses", 1, "lost: "),
    Case("enquire-link", "freeze", 6, "deliverable messages delivered"),
    Case("held-second-look", "lost_responses", 6, ""),
    Case("first-look", "store_slow,throttled", 5, "", 100),
    Case("fence", "halt", 7, ""),
    Case("fenced", "halt", 6, ""),
    Case("lease-margin", "halt", 1, "", 300),
    Case("ask-then-repeat", "store_cut", 26, ""),
    Case("repeat", "store_away,store_cut", 2, ""),
    Case("ack-from-store", "store_cut,stop,kill,apps_cut", 12, "not acknowledged"),
    Case("put-off", "store_away,store_full", 2, ""),
    Case("adopt-parked", "early_receipts", 2, "untrue: "),
    Case("repeated-receipts", "doubled_receipts", 2, "told twice: "),
    Case("ids-again", "ids_again", 2, "lost: "),
    Case("acks", "store_cut", 2, "not acknowledged"),
)


@pytest.mark.parametrize("case", CASES, ids=[case.delete for case in CASES])
def test_a_deleted_branch_is_missed(case: Case) -> None:
    command = [sys.executable, "-m", "todoke.bench.simulation", "--json", "--jobs", "1"]
    command += ["--delete", case.delete, "--seeds", str(SEEDS), "--from", str(case.first)]
    command += ["--size", "minutes", "--messages", str(case.messages), "--faults", case.faults]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, env=environment, check=False, stdout=subprocess.PIPE, timeout=120)
    trial = msgspec.json.decode(done.stdout, type=Trial)
    assert trial.failed is not None, f"{trial.played} seeds keep every promise without {case.delete}"
    assert done.returncode == 1
    assert any(case.why in line for line in trial.why), trial.why
    # `try_without` has played the whole engine with the same seed, which kept what is broken here.
    assert f"--delete {case.delete}" in trial.failed.command


def test_ten_branches_and_more_are_missed() -> None:
    assert len({DELETIONS[case.delete].branch for case in CASES}) >= 10
    assert len({DELETIONS[case.delete].branch.partition(".")[0] for case in CASES}) >= 8
    assert {kind for case in CASES for kind in case.faults.split(",")} <= set(KINDS)


@pytest.mark.parametrize("name", DELETIONS)
def test_what_is_deleted_is_there(name: str) -> None:
    with deleted(name) as deletion:
        changes = deletion.changes
        assert deletion.branch
    for owner, attribute, without in changes():
        assert vars(owner)[attribute] is not without


def test_a_deletion_ends_with_its_body() -> None:
    before = vars(Taker)["_recover"]
    with deleted("take-over"):
        assert vars(Taker)["_recover"] is not before
    assert vars(Taker)["_recover"] is before


def test_words_that_are_not_there_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def first_look(self: Grants, run: object, records: list[bytes]) -> None: ...

    monkeypatch.setattr(Grants, "first_look", first_look)
    with pytest.raises(NotThere, match="first_look"), deleted("first-look"):
        pass
    assert vars(Grants)["first_look"] is first_look


def test_deletions_are_listed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    assert main(["--delete"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in told] == list(DELETIONS)


def test_a_kind_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--faults", "kill,flood"])
    assert "no such kind: flood" in capsys.readouterr().err
