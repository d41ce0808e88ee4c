"""Octets of any kind against every property of the intake that the fuzzer knows (tests/fuzz)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from todoke_fuzz.strategies import inputs
from todoke_fuzz.targets import TARGETS

NAMES = ["frames", "requests", "objects"]
INPUTS = {name: inputs(name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
@given(st.data())
@settings(max_examples=150)
def test_its_properties_hold_for_any_octets(name: str, data: st.DataObject):
    TARGETS[name].check(data.draw(INPUTS[name]))
