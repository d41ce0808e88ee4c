"""Watching PDUs: cut at any octet they are the same, passwords are hidden, and nobody is waited for."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from todoke.codecs import constants as c
from todoke.codecs import pdu
from todoke.engine.dispatch.tracing import (
    TRACED_OCTETS_MAX,
    TRACED_PDUS_MAX,
    TRACES_MAX,
    Trace,
    Tracing,
    without_password,
)
from todoke.engine.messages import TracedPdu

ENQUIRE = pdu.encode(pdu.EnquireLink(), 1)
SUBMIT = pdu.encode(pdu.SubmitSm(destination_addr=b"819012345678", short_message=b"hello"), 2)
BIND = pdu.encode(pdu.BindTransceiver(system_id=b"todoke", password=b"secret", system_type=b"x"), 3)
STREAM = ENQUIRE + SUBMIT + SUBMIT + ENQUIRE


class FakeBind:
    def __init__(self, name: str = "docomo-1", unframed: bytes = b"") -> None:
        self.name = name
        self.tap = None
        self.session_number = 1
        self.unframed = unframed


def watched(*binds: FakeBind, trace: Trace | None = None) -> tuple[Tracing, Trace]:
    trace = trace or Trace(None, None)
    tracing = Tracing(lambda: binds, lambda: 5.0)
    assert tracing.watch(trace)
    return tracing, trace


def octets(trace: Trace) -> list[bytes]:
    found: list[bytes] = []
    while True:
        pdus, lost = trace.take(1 << 20)
        assert lost == 0
        if not pdus:
            return found
        found += [each.octets for each in pdus]


@given(st.lists(st.integers(0, len(STREAM)), max_size=6), st.integers(0, len(ENQUIRE + SUBMIT) - 1))
def test_however_the_octets_come_they_are_cut_into_the_same_pdus(cuts: list[int], before: int) -> None:
    whole = 0 if before < len(ENQUIRE) else 1
    done = len(ENQUIRE) * whole
    bind = FakeBind(unframed=STREAM[done:before])
    tracing, trace = watched(bind)
    assert bind.tap is tracing
    edges = [before, *sorted(cut for cut in cuts if cut > before), len(STREAM)]
    for start, end in pairwise(edges):
        tracing.passed(bind, "received", STREAM[start:end])
    assert octets(trace) == [ENQUIRE, SUBMIT, SUBMIT, ENQUIRE][whole:]


def test_a_new_session_begins_with_a_whole_pdu() -> None:
    bind = FakeBind()
    tracing, trace = watched(bind)
    tracing.passed(bind, "received", SUBMIT[:20])
    bind.session_number = 2
    tracing.passed(bind, "received", ENQUIRE + SUBMIT[:20])
    tracing.passed(bind, "received", SUBMIT[20:])
    assert octets(trace) == [ENQUIRE, SUBMIT]


def test_only_what_was_asked_for() -> None:
    one, two = FakeBind(), FakeBind("docomo-2")
    tracing, trace = watched(one, two, trace=Trace(frozenset({"docomo-2"}), frozenset({c.SUBMIT_SM})))
    tracing.passed(one, "sent", STREAM)
    tracing.passed(two, "sent", STREAM)
    ((first, second), lost) = trace.take(1 << 20)
    assert (first.bind, first.direction, first.at, first.octets) == ("docomo-2", "sent", 5.0, SUBMIT)
    assert (second.octets, lost) == (SUBMIT, 0)


def test_a_password_is_hidden_and_the_rest_stays() -> None:
    bind = FakeBind()
    tracing, trace = watched(bind)
    tracing.passed(bind, "sent", BIND)
    (shown,) = octets(trace)
    assert b"secret" not in shown
    assert shown == BIND.replace(b"secret", b"******")
    assert pdu.decode(shown).system_id == b"todoke"
    for end in range(16, len(BIND) - 12):
        assert b"secre" not in without_password(BIND[:end])


def test_a_stream_without_frames_is_shown_as_one_piece() -> None:
    bind = FakeBind()
    tracing, trace = watched(bind)
    tracing.passed(bind, "received", ENQUIRE + b"HTTP/1.1 400 Bad Request\r\n")
    tracing.passed(bind, "received", ENQUIRE)
    assert octets(trace) == [ENQUIRE, b"HTTP/1.1 400 Bad Request\r\n", ENQUIRE]


def test_a_queue_has_its_limits_and_says_what_is_lost_in_its_place() -> None:
    trace = Trace(None, None)
    for _ in range(TRACED_PDUS_MAX + 5):
        trace.put(TracedPdu(0.0, "sent", "b", 1, ENQUIRE))
    first, lost = trace.take(16 * 10)
    assert (len(first), lost) == (10, 0)
    rest, lost = trace.take(1 << 30)
    assert (len(rest), lost) == (TRACED_PDUS_MAX - 10, 5)
    assert trace.take(1) == ([], 0)
    big = TracedPdu(0.0, "sent", "b", 1, bytes(TRACED_OCTETS_MAX // 2 + 1))
    trace.put(big)
    trace.put(big)
    assert trace.take(1) == ([big], 1)
    trace.put(big)
    assert trace.take(1) == ([big], 0)


def test_after_the_last_nothing_is_tapped() -> None:
    bind = FakeBind()
    tracing, trace = watched(bind)
    others = [Trace(None, None) for _ in range(TRACES_MAX)]
    assert [tracing.watch(each) for each in others] == [True] * (TRACES_MAX - 1) + [False]
    tracing.leave(trace)
    made = FakeBind()
    tracing.made(made)
    assert bind.tap is made.tap is tracing
    for each in others[:-1]:
        tracing.leave(each)
    assert bind.tap is None
    tracing.made(made)
    assert made.tap is None


def test_its_repr_shows_no_octets() -> None:
    assert "hello" not in repr(TracedPdu(0.0, "sent", "b", 1, SUBMIT))
