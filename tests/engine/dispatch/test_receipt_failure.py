"""Why a receipt says no: by the carrier's codes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.codecs.receipt import FINAL_STATES
from todoke.engine.dispatch.receipt_failure import (
    FAILURES,
    REFUSED_STATES,
    RESENT_STATES,
    is_destinations,
    normal_code,
    parse_receipt_table,
    receipt_failure,
)

NetworkError = tuple[int, int] | None


@pytest.mark.parametrize(
    ("err", "network_error", "expected"),
    [
        ("001", None, "permanent"),
        ("1", None, "permanent"),
        ("013", None, "permanent"),
        ("034", None, "temporary"),
        ("0034", None, "temporary"),
        (" 34 ", None, "temporary"),
        ("060", None, "temporary"),
        ("65", None, "temporary"),
        ("66", None, "unknown"),
        ("041", None, "unknown"),
        ("375", None, "unknown"),
        ("21b", None, "unknown"),
        ("", None, "unknown"),
        ("000", (3, 34), "temporary"),
        ("nul", (3, 1), "permanent"),
        ("", (0, 60), "temporary"),
        ("", (8, 60), "unknown"),  # an SMSC's own numbering
        ("001", (3, 34), "permanent"),  # the text is what the common table was made from
        ("375", (3, 34), "temporary"),
    ],
)
def test_the_common_codes(err: str, network_error: NetworkError, expected: str) -> None:
    for state in RESENT_STATES:
        assert receipt_failure(state, err, network_error) == expected


def test_only_what_was_tried_can_be_temporary() -> None:
    assert receipt_failure("rejected", "034", None) == "permanent"
    assert receipt_failure("deleted", "", None) == "permanent"
    assert receipt_failure("delivered", "001", None) == "unknown"
    assert receipt_failure("enroute", "034", None) == "unknown"


def test_every_final_state_that_is_a_failure_is_thought_of() -> None:
    assert RESENT_STATES | REFUSED_STATES | {"delivered"} == FINAL_STATES


def test_a_carrier_may_say_otherwise() -> None:
    table = parse_receipt_table(
        {"034": "permanent", "21B": "temporary", "8:60": "temporary", "3:001": "unknown"}
    )
    assert receipt_failure("undeliverable", "34", None, table) == "permanent"
    assert receipt_failure("undeliverable", "21b", None, table) == "temporary"
    assert receipt_failure("undeliverable", "", (8, 60), table) == "temporary"
    assert receipt_failure("undeliverable", "001", (3, 1), table) == "unknown", "the particular entry wins"
    assert receipt_failure("undeliverable", "001", None, table) == "permanent"
    assert receipt_failure("undeliverable", "034", None) == "temporary", "one carrier's table is no other's"


def test_whose_fault_it_is() -> None:
    assert is_destinations("060", None)
    assert is_destinations("", (3, 1))
    assert not is_destinations("034", None)
    assert not is_destinations("000", None)
    assert not is_destinations("999", None)
    assert is_destinations("060", None, parse_receipt_table({"60": "permanent"}))


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ({"034": "soon"}, ("'034'", "'soon'", "temporary, permanent, unknown")),
        ({"": "temporary"}, ("''", "TYPE:CODE")),
        ({"000": "temporary"}, ("'000'", "other than 0")),
        ({"3:x": "temporary"}, ("'3:x'", "TYPE:CODE")),
        ({"3:": "temporary"}, ("'3:'",)),
        ({":3": "temporary"}, ("':3'",)),
        ({"1:2:3": "temporary"}, ("'1:2:3'",)),
        ({"34": "temporary", "034": "permanent"}, ("'034'", "twice")),
    ],
)
def test_a_wrong_entry_is_named_with_what_is_allowed(words: dict[str, str], names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        parse_receipt_table(words)
    said = str(caught.value)
    assert "\n" not in said
    assert [name for name in names if name not in said] == []


@given(
    st.sampled_from(sorted(FINAL_STATES)) | st.text(max_size=8),
    st.text(max_size=10),
    st.none() | st.tuples(st.integers(0, 255), st.integers(0, 65_535)),
)
def test_anything_has_an_answer(state: str, err: str, network_error: NetworkError) -> None:
    failure = receipt_failure(state, err, network_error)
    assert failure in FAILURES
    assert failure != "temporary" or state in RESENT_STATES


@given(st.integers(1, 10**9), st.integers(0, 6))
def test_leading_zeros_never_matter(code: int, zeros: int) -> None:
    written = "0" * zeros + str(code)
    assert normal_code(written) == str(code)
    assert receipt_failure("expired", written, None) == receipt_failure("expired", str(code), None)
