"""Inputs of a target for hypothesis: its seeds with edits, PDUs changed as PDUs, and plain octets."""

from __future__ import annotations

from hypothesis import strategies as st

from .mutator import mutate_pdu
from .seeds import WORDS
from .targets import TARGETS

EDITS_MAX = 4


def plain(data: bytes, octets_max: int) -> bytes:
    """Instead of a fuzzer's own mutation, where none is there: turn the octets round."""
    return data[::-1][:octets_max]


def inputs(name: str) -> st.SearchStrategy[bytes]:
    """What to give to the target `name`, within its length."""
    target = TARGETS[name]
    seeds = st.sampled_from(target.seeds())
    kinds = [_edited(seeds), st.binary(max_size=min(64, target.octets_max))]
    if target.structured:
        kinds.insert(0, _mutated(seeds, target.octets_max))
    return st.one_of(kinds).map(lambda data: data[: target.octets_max])


@st.composite
def _edited(draw: st.DrawFn, seeds: st.SearchStrategy[bytes]) -> bytes:
    data = draw(seeds)
    for _ in range(draw(st.integers(0, EDITS_MAX))):
        at = draw(st.integers(0, len(data)))
        cut = at + draw(st.integers(0, 4))
        data = data[:at] + draw(st.sampled_from(WORDS) | st.binary(max_size=4)) + data[cut:]
    return data


@st.composite
def _mutated(draw: st.DrawFn, seeds: st.SearchStrategy[bytes], octets_max: int) -> bytes:
    data = draw(seeds)
    for _ in range(draw(st.integers(1, EDITS_MAX))):
        data = mutate_pdu(data, octets_max, draw(st.integers(0, 2**32 - 1)), plain)
    return data
