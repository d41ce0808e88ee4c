"""The fuzzer's targets without a fuzzer: their seeds, the inputs that once broke them, and its own parts."""

from __future__ import annotations

import ast
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutate import own_tests
from todoke_fuzz.known import KNOWN, Known
from todoke_fuzz.mutations import mutants
from todoke_fuzz.mutator import mutate_pdu
from todoke_fuzz.seeds import PDUS, SEEDS
from todoke_fuzz.strategies import inputs, plain
from todoke_fuzz.targets import TARGETS

RUN = Path(__file__).with_name("run.py")


@pytest.mark.parametrize("name", TARGETS)
def test_every_seed_holds(name: str):
    target = TARGETS[name]
    seeds = target.seeds()
    assert seeds
    for data in seeds:
        assert len(data) <= target.octets_max
        target.check(data)


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.was)
def test_what_once_broke_a_property_holds(known: Known):
    TARGETS[known.target].check(bytes.fromhex(known.octets))


# The others have theirs beside the tests of what they check.
NAMES = ["session", "captures", "streams"]
INPUTS = {name: inputs(name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
@given(st.data())
@settings(max_examples=150)
def test_its_properties_hold_for_any_octets(name: str, data: st.DataObject):
    TARGETS[name].check(data.draw(INPUTS[name]))


def test_every_target_has_seeds_and_says_what_it_holds():
    assert set(SEEDS) == set(TARGETS)
    assert all(target.check.__doc__ for target in TARGETS.values())


@given(st.sampled_from(PDUS), st.integers(0, 2**32 - 1), st.integers(16, 300))
def test_a_changed_pdu_keeps_within_its_limit_and_is_the_same_each_time(
    data: bytes, seed: int, octets_max: int
):
    changed = mutate_pdu(data, octets_max, seed, plain)
    assert len(changed) <= octets_max
    assert changed == mutate_pdu(data, octets_max, seed, plain)


def test_most_changed_pdus_are_framed():
    changed = [mutate_pdu(data, 500, seed, plain) for data in PDUS for seed in range(40)]
    framed = [data for data in changed if len(data) >= 16 and int.from_bytes(data[:4], "big") == len(data)]
    assert len(framed) > 0.8 * len(changed)


def test_what_the_log_says():
    read_log: Any = runpy.run_path(str(RUN))["read_log"]
    text = "#2\tINITED cov: 3 ft: 4 corp: 1/1b\n#900\tNEW    cov: 30 ft: 77 corp: 25/1Kb lim: 4 exec/s: 9\n"
    assert read_log(text) == (900, 77, 25)
    assert read_log(text + "stat::number_of_executed_units: 1000\n") == (1000, 77, 25)
    assert read_log("") == (0, 0, 0)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(RUN), *arguments], capture_output=True, text=True, timeout=60)


def test_an_input_is_repeated_without_a_fuzzer(tmp_path: Path):
    file = tmp_path / "udh-1"
    file.write_bytes(b"\5\0\3\1\2\1")
    done = run("udh", "--repeat", str(file))
    assert (done.returncode, done.stdout) == (0, "udh: 6 octets: 050003010201\nholds\n")


def test_names_are_checked_and_listed():
    done = run("--list")
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(TARGETS)
    wrong = run("nothing")
    assert wrong.returncode == 2
    assert "framing" in wrong.stderr


# --- mutants ----------------------------------------------------------------------------------------------

MODULE = '''
"""Docstring."""
from __future__ import annotations
import re
LIMIT = 3
_word = re.compile("[^a]{0,5}+b?").match


def inside(value: int = 1) -> str | None:
    """Docstring."""
    if value < LIMIT and not value == 0:
        raise ValueError(f"below {LIMIT}")
    value += 1
    return "x"[1:]
'''


def test_a_module_and_its_mutants():
    found = list(mutants(MODULE))
    shown = {(mutant.kind, mutant.before, mutant.after) for mutant in found}
    assert ("comparison", "value < LIMIT", "value <= LIMIT") in shown
    assert ("operand left out", "value < LIMIT and (not value == 0)", "value < LIMIT") in shown
    assert ("operator left out", "not value == 0", "value == 0") in shown
    assert ("left out", "raise ValueError(f'below {LIMIT}')", "pass") in shown
    assert ("arithmetic", "value += 1", "value -= 1") in shown
    assert ("return", "return 'x'[1:]", "return None") in shown
    assert ("slice", "1:", ":") in shown
    assert ("constant", "3", "4") in shown
    assert ("pattern", "re.compile('[^a]{0,5}+b?')", "re.compile('[a]{0,5}+b?')") in shown
    assert ("pattern", "re.compile('[^a]{0,5}+b?')", "re.compile('[^a]{0,6}+b?')") in shown
    assert not any(
        "Docstring" in before or "below" in before for kind, before, _ in shown if kind == "constant"
    )
    assert {mutant.function for mutant in found if mutant.line >= 11} == {("inside", 9)}
    assert {mutant.function for mutant in found if mutant.line <= 9} == {None}
    assert any(mutant.before == "'below '" for mutant in mutants(MODULE, texts=True))


def test_every_module_of_the_codecs_has_tests_to_be_run_against_its_mutants():
    modules = sorted((RUN.parents[2] / "codecs").glob("*.py"))
    assert len(modules) > 20
    assert [path.name for path in modules if not own_tests(path)] == []


def test_a_mutant_is_one_change_to_the_module_and_leaves_the_next_alone():
    source = ast.unparse(ast.parse(MODULE))
    found = list(mutants(MODULE))
    assert len({ast.unparse(mutant.tree()) for mutant in found}) == len(found)
    for mutant in found:
        assert ast.unparse(mutant.tree()) != source
        assert ast.unparse(mutant.tree(whole=False)) in ast.unparse(mutant.tree())
