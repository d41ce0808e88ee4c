"""What apps are told, as stored and as read; cursors."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.engine.ledger import events
from todoke.engine.ledger.events import Told
from todoke.engine.messages import Correction, Received, Report, ReportError

told = st.builds(
    Told,
    kind=st.sampled_from(["report", "correction", "received"]),
    message_id=st.text(max_size=20),
    ref=st.none() | st.text(max_size=8),
    state=st.sampled_from(["delivered", "unknown"]),
    carrier=st.just("docomo"),
    parts=st.integers(1, 255),
    delivered_parts=st.integers(0, 255),
    doubled=st.booleans(),
    error=st.none()
    | st.tuples(st.text(max_size=5), st.none() | st.integers(0, 2**32 - 1), st.none() | st.text(max_size=5)),
    at_ms=st.integers(0, 4_000_000_000_000),
    sender=st.text(max_size=9),
    to=st.text(max_size=9),
    text=st.text(max_size=9),
)


@given(st.lists(told, min_size=1, max_size=4))
def test_an_entry_is_read_as_it_was_written(events_told: list[Told]) -> None:
    add, count = events.publish("billing", events_told)
    assert add[0] == "XADD"
    assert events.entry_events(add[-1]) == events_told
    assert count[0] == "INCRBY"
    assert count[-1] == len(events_told)
    assert b"{a:billing}" in add[1]
    assert b"{a:billing}" in count[1]


def test_a_report_a_correction_and_a_message_from_a_handset() -> None:
    one = Told("report", "d.1-1.0", "r", "rejected", "d", 2, 1, True, ("route", 10, None), 1_800_000_000_999)
    assert events.as_event(one, "5-0.0.1") == Report(
        "5-0.0.1",
        "d.1-1.0",
        "r",
        "rejected",
        "d",
        2,
        1,
        True,
        ReportError("route", 10, None),
        "2027-01-15T08:00:00Z",
    )
    one.kind, one.error = "correction", None
    event = events.as_event(one, "5-0.0.1")
    assert isinstance(event, Correction)
    assert event.error is None
    one = Told("received", "", None, "", "d", 1, 0, False, None, 0, "+8190", "0032", "hi")
    assert events.as_event(one, "c") == Received(
        cursor="c", from_="+8190", to="0032", text="hi", in_reply_to=None
    )


def test_an_event_says_on_the_socket_what_design_promises() -> None:
    one = Told("report", "d.1-1.0", None, "delivered", "d", 1, 1, False, None, 1_800_000_000_000)
    spoken = msgspec.json.decode(msgspec.json.encode(events.as_event(one, "5-0.0.1")))
    assert list(spoken) == [
        "event", "cursor", "message_id", "ref", "state", "carrier", "parts", "delivered_parts",
        "possibly_doubled",
        "error", "at",
    ]  # fmt: skip


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 9), st.integers(1, 10))
def test_a_cursor_names_an_event(milliseconds: int, sequence: int, position: int, count: int) -> None:
    where = events.cursor(f"{milliseconds}-{sequence}", position, count)
    assert events.split_cursor(where) == (f"{milliseconds}-{sequence}", position, count)
    assert events.entry_key(f"{milliseconds}-{sequence}") == (milliseconds, sequence)


@pytest.mark.parametrize(
    "where", ["", "5", "5-0", "5-0.0", "5.0.1", "a-0.0.1", "5-0.-1.1", "5-0.0.1.1", "5-0-0.0.1"]
)
def test_what_is_no_cursor_is_a_value_error(where: str) -> None:
    with pytest.raises(ValueError, match=r"cursor|unpack"):
        events.split_cursor(where)


def test_times_of_many_seconds_do_not_pile_up() -> None:
    for second in range(5_000):
        events.rfc3339(second * 1_000)
    assert len(events._seconds) <= 1_001
    assert events.rfc3339(4_999_000) == "1970-01-01T01:23:19Z"
