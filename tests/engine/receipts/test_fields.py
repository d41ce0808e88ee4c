"""One field of the receipt index: what is written is what is read."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from todoke.codecs.receipt import canonical_id
from todoke.engine.receipts import fields
from todoke.engine.receipts.fields import Origin

origins = st.builds(
    Origin,
    block_id=st.text("0123456789abcdef-r", min_size=1, max_size=12),
    index=st.integers(0, 511),
    part=st.integers(0, 254),
    parts=st.integers(1, 255),
    app=st.text(min_size=1, max_size=8),
    ref=st.none() | st.text(max_size=64),
    destination=st.text("0123456789", max_size=6),
    message_id=st.text(max_size=20),
    doubled=st.booleans(),
)


@given(origins, st.integers(0, 2**32 - 1))
def test_a_new_value_waits_and_remembers(origin: Origin, now_s: int) -> None:
    value = fields.new_value(origin, now_s)
    assert fields.origin_of(value) == origin
    assert fields.since_s(value) == now_s
    assert not fields.is_final(value)
    assert fields.candidates(value) == [value]


@given(origins, st.sampled_from(sorted(fields.REPORT_STATES)), st.integers(0, 2**32 - 1))
def test_a_state_changes_state_and_time_and_nothing_else(origin: Origin, octet: int, now_s: int) -> None:
    value = fields.with_state(fields.new_value(origin, 1), octet, now_s)
    assert value[0] == octet
    assert fields.is_final(value)
    assert fields.since_s(value) == now_s
    assert fields.origin_of(value) == origin


@given(st.lists(st.builds(fields.new_value, origins, st.integers(0, 2**32 - 1)), min_size=1, max_size=5))
def test_candidates_and_joined_undo_each_other(values: list[bytes]) -> None:
    assert fields.candidates(fields.joined(values)) == values


def test_every_final_state_has_a_report_and_a_severity() -> None:
    assert set(fields.STATE_OCTETS.values()) == set(fields.REPORT_STATES) == set(fields.SEVERITY)
    marks = {fields.WAITING, fields.INTERMEDIATE, fields.MANY}
    assert marks.isdisjoint(fields.REPORT_STATES)
    assert min(fields.SEVERITY, key=lambda octet: fields.SEVERITY[octet]) == fields.STATE_OCTETS["delivered"]


@given(st.text("0123456789abcdefABCDEFxyzXYZ-._ \t\r\n\0", max_size=65))
def test_the_index_key_is_the_codecs_canonical_form(raw: str) -> None:
    assert fields.index_key(raw.encode("latin-1")) == canonical_id(raw).encode("latin-1")
    assert fields.index_keys([raw]) == [fields.index_key(raw.encode("latin-1"))]


def final(block_id: str, since_s: int, state: str = "delivered") -> bytes:
    value = fields.new_value(Origin(block_id, 0, 0, 1, "default", None, "345678"), 1)
    return fields.with_state(value, fields.STATE_OCTETS[state], since_s)


def waiting(block_id: str, since_s: int) -> bytes:
    return fields.new_value(Origin(block_id, 0, 0, 1, "default", None, "345678"), since_s)


NOW_S, HISTORY_S, TIMEOUT_S = 100_000, 600.0, 86_400.0


def next_look(*values: bytes | None) -> int | None:
    return fields.next_look(list(values), "1-1", NOW_S, HISTORY_S, TIMEOUT_S)


def test_a_block_is_over_when_every_message_is_final_for_its_history() -> None:
    old = final("1-1", NOW_S - 600)
    assert next_look(old, final("1-1", NOW_S - 601, "rejected")) == 0
    young = final("1-1", NOW_S - 599)
    assert next_look(young) == NOW_S + 2
    assert next_look(young, young, old) == NOW_S + 2


def test_what_is_not_plain_is_looked_at_message_by_message() -> None:
    old = final("1-1", NOW_S - 600)
    assert next_look(old, None) is None
    assert next_look(old, final("1-10", NOW_S - 600)) is None
    assert next_look(old, fields.joined([old, old])) is None
    assert next_look(waiting("1-1", NOW_S - 86_400)) is None
    assert next_look(old, waiting("1-1", NOW_S - 10)) is None


@given(st.lists(st.integers(0, 90_000), min_size=1, max_size=6))
def test_the_next_look_comes_before_a_receipt_is_long_overdue(ages: list[int]) -> None:
    at_s = next_look(*(waiting("1-1", NOW_S - age) for age in ages))
    overdue_s = NOW_S - max(ages) + TIMEOUT_S
    if overdue_s <= NOW_S:
        assert at_s is None
    else:
        assert at_s is not None
        assert NOW_S < at_s <= max(NOW_S + HISTORY_S, overdue_s)


def test_the_tuple_of_the_record_stage_is_an_origin() -> None:
    origin = Origin("1-2", 3, 0, 1, "default", "ref", "345678", "", False)
    assert msgspec.msgpack.encode(("1-2", 3, 0, 1, "default", "ref", "345678", "", False)) == (
        msgspec.msgpack.encode(origin)
    )
