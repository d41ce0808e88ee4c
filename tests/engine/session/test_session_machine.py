"""A Session against a model SMSC that does anything in any order, and against octets that are no SMPP."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from todoke.codecs import constants as c
from todoke.codecs.framing import split
from todoke.engine.session.events import (
    Bound,
    Closed,
    CloseReason,
    Counted,
    Delivers,
    Event,
    LateResponses,
    Responses,
    TimedOut,
)
from todoke.engine.session.session import Session
from todoke.engine.session.settings import SessionConfig
from todoke.engine.session.states import BOUND, SENDS, State

_KNOWN_REQUESTS = [command_id for command_id in c.COMMAND_NAMES if not command_id & c.RESPONSE_BIT]
_STATUSES = st.sampled_from([0, 0, 0, c.ESME_RTHROTTLED, c.ESME_RSYSERR, 0x4FF])
_BODIES = st.sampled_from([b"", b"\0", b"12345\0", b"12345", b"a" * 70 + b"\0", b"9\0\x04\x28\0\1\x20"])


def _pdu(command_id: int, sequence_number: int, body: bytes = b"", command_status: int = 0) -> bytes:
    words = (16 + len(body), command_id, command_status, sequence_number)
    return b"".join(word.to_bytes(4, "big") for word in words) + body


class SessionMachine(RuleBasedStateMachine):
    """Every token comes back exactly once, the window is kept, and what is sent is legal and framed."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.next_token = 0
        self.open_tokens: set[object] = set()
        self.late_tokens: set[object] = set()
        self.wire: dict[int, int] = {}
        """What the SMSC has seen of our requests and not answered: sequence_number -> command_id."""
        self.delivers: list[tuple[int, int]] = []
        self.closed: Closed | None = None
        self.owed = 0

    @initialize(
        bind=st.sampled_from(["transceiver", "transmitter", "receiver"]),
        window=st.integers(1, 8),
        accepted=st.booleans(),
        split_at=st.sampled_from([0, 1, 3]),
    )
    def connect(self, bind: Any, window: int, accepted: bool, split_at: int) -> None:
        config = SessionConfig(
            system_id="a",
            password="b",
            bind=bind,
            window=window,
            response_timeout_s=8.0,
            deliver_outstanding_max=5,
            late_max=4,
            inactivity_timeout_s=100.0,
        )
        self.session = Session(config, self.now, 3)
        # Near the wrap: it is met within a few requests.
        self.session._window._next = c.SEQUENCE_NUMBER_MAX - split_at
        self.flush()
        if accepted:
            self.receive(_pdu(self.wire.pop(1) | c.RESPONSE_BIT, 1, b"x\0"))

    # --- what happens ---------------------------------------------------------------------------------

    @rule(n=st.integers(1, 4))
    def submit(self, n: int) -> None:
        n = min(n, self.session.window_free)
        tokens: list[object] = list(range(self.next_token, self.next_token + n))
        self.next_token += n
        self.session.submit([b"body"] * n, tokens, self.now)
        self.open_tokens |= set(tokens)

    @precondition(lambda self: self.session.window_free > 0)
    @rule()
    def query(self) -> None:
        token = self.next_token
        self.next_token += 1
        self.session.request(c.QUERY_SM, b"1\0\0\0\0", token, self.now)
        self.open_tokens.add(token)

    @rule()
    def flush(self) -> None:
        data = self.session.data_to_send()
        frames, consumed = split(data, 1_000_000)
        assert consumed == len(data)
        for command_id, command_status, sequence_number, _ in frames:
            if not command_id & c.RESPONSE_BIT:
                assert command_status == 0
                assert 1 <= sequence_number <= c.SEQUENCE_NUMBER_MAX
                assert sequence_number not in self.wire, "a sequence number in flight was used again"
                if command_id in (c.SUBMIT_SM, c.QUERY_SM):
                    assert self.session.config.bind != "receiver"
                self.wire[sequence_number] = command_id

    @precondition(lambda self: self.wire)
    @rule(
        data=st.data(),
        n=st.integers(1, 5),
        status=_STATUSES,
        body=_BODIES,
        kind=st.sampled_from(["response", "response", "response", "nack", "other"]),
        one_by_one=st.booleans(),
    )
    def answer(self, data: Any, n: int, status: int, body: bytes, kind: str, one_by_one: bool) -> None:
        pdus: list[bytes] = []
        for _ in range(min(n, len(self.wire))):
            sequence_number = data.draw(st.sampled_from(sorted(self.wire)))
            command_id = self.wire[sequence_number] | c.RESPONSE_BIT
            if kind == "nack":
                command_id = c.GENERIC_NACK
            elif kind == "other":
                command_id = c.REPLACE_SM_RESP
            if kind != "other":
                del self.wire[sequence_number]
            pdus.append(_pdu(command_id, sequence_number, body, status))
        self.receive(b"".join(pdus), one_by_one)

    @rule(sequence_number=st.integers(0, 0xFFFFFFFF), command_id=st.sampled_from([c.DELIVER_SM, c.DATA_SM]))
    def deliver(self, sequence_number: int, command_id: int) -> None:
        self.receive(_pdu(command_id, sequence_number, b"anything"))

    @precondition(lambda self: self.delivers)
    @rule(n=st.integers(1, 4), status=_STATUSES)
    def answer_delivers(self, n: int, status: int) -> None:
        taken, self.delivers = self.delivers[:n], self.delivers[n:]
        if not self.session.closed:
            self.owed -= len(taken)
        self.session.answer_delivers([(handle, command_id, status) for handle, command_id in taken])
        self.take_events()

    @rule(command_id=st.sampled_from([*_KNOWN_REQUESTS, 0x99, 0x111]), sequence_number=st.integers(0, 99))
    def any_request(self, command_id: int, sequence_number: int) -> None:
        self.receive(_pdu(command_id, sequence_number, b"\0\0"))

    @rule(command_id=st.sampled_from([c.GENERIC_NACK, c.SUBMIT_SM_RESP, c.UNBIND_RESP, 0xFFFFFFFF]))
    def unsolicited(self, command_id: int) -> None:
        self.receive(_pdu(command_id, 0x40000000, b"12\0"))

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 9.0, 21.0]))
    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        turns = 0
        while (deadline := self.session.next_deadline()) <= end:
            self.now = max(self.now, deadline)
            self.session.handle_tick(self.now)
            self.take_events()
            turns += 1
            assert turns < 500, "time does not pass"
        self.now = end

    @rule(seconds=st.sampled_from([0.0, 3.0, 50.0]))
    def pause(self, seconds: float) -> None:
        self.session.pause_reading(self.now)
        self.wait(seconds)
        self.session.resume_reading(self.now)

    @rule(size=st.integers(0, 10))
    def narrow(self, size: int) -> None:
        self.session.window = size

    @rule()
    def unbind(self) -> None:
        if self.session.outstanding == 0:
            self.session.unbind(self.now)
            self.take_events()

    @precondition(lambda self: self.closed is None and self.next_token > 6)
    @rule(how=st.sampled_from(["eof", "lost", "garbage"]))
    def end(self, how: str) -> None:
        if how == "eof":
            self.session.receive_eof(self.now)
        elif how == "lost":
            self.session.connection_lost(CloseReason.LOST)
        else:
            self.receive(b"HTTP/1.1 400 Bad Request")
        self.take_events()

    # --- what must hold -------------------------------------------------------------------------------

    def receive(self, data: bytes, one_by_one: bool = False) -> None:
        pieces = [data[i : i + 1] for i in range(len(data))] if one_by_one else [data]
        for piece in pieces:
            self.session.receive_data(piece, self.now)
            self.take_events()

    def take_events(self) -> None:
        for event in self.session.events():
            self.take(event)

    def take(self, event: Event) -> None:
        assert self.closed is None or isinstance(event, Counted), "nothing is told after Closed"
        match event:
            case Responses(items):
                self.end_tokens([item[0] for item in items])
                assert all(item[2] != 0 for item in items if item[1] == c.GENERIC_NACK)
                assert all(len(item[3]) <= 64 for item in items if item[1] == c.SUBMIT_SM_RESP)
            case TimedOut(tokens):
                self.end_tokens(tokens)
                self.late_tokens |= set(tokens)
            case LateResponses(items):
                for item in items:
                    assert item[0] in self.late_tokens
                    self.late_tokens.remove(item[0])
            case Delivers(items):
                if self.session.config.bind == "transmitter" and self.session.state is State.BOUND_TX:
                    assert all(item[1] == c.DELIVER_SM for item in items)
                self.delivers += [(handle, command_id) for handle, command_id, _ in items]
                self.owed += len(items)
            case Bound():
                assert self.next_token == 0
            case Closed():
                self.closed = event
                self.end_tokens(event.tokens_in_doubt)
                self.end_tokens(event.tokens_unsent)
                sent = {n for n, command_id in self.wire.items() if command_id in (c.SUBMIT_SM, c.QUERY_SM)}
                assert len(event.tokens_in_doubt) <= len(sent)
                assert not self.open_tokens
            case _:
                pass

    def end_tokens(self, tokens: list[Any]) -> None:
        for token in tokens:
            assert token in self.open_tokens, f"{token} ended twice"
            self.open_tokens.remove(token)

    @invariant()
    def window_is_kept(self) -> None:
        session = self.session
        assert session.outstanding == len(self.open_tokens) <= session.config.window
        assert 0 <= session.window_free <= session.window
        if session.window_free:
            assert session.state in BOUND
            assert c.SUBMIT_SM in SENDS[session.state]
        assert session.closed == (self.closed is not None)
        assert len(session._window.late) <= 4
        assert session.delivers_unanswered == self.owed

    @invariant()
    def there_is_always_a_deadline(self) -> None:
        assert self.session.closed == (self.session.next_deadline() == float("inf"))


SessionMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestSessionMachine = SessionMachine.TestCase


# --- garbage --------------------------------------------------------------------------------------------


def _talk(data: bytes, pieces: list[int], bound: bool) -> tuple[list[Event], bytes, Session]:
    session = Session(SessionConfig(system_id="a", password="b", window=5), 0.0)
    session.data_to_send()
    if bound:
        session.receive_data(_pdu(c.BIND_TRANSCEIVER_RESP, 1, b"x\0"), 0.0)
        session.submit([b"x"] * 3, ["a", "b", "c"], 0.0)
        session.data_to_send()
        session.events()
    at = 0
    events: list[Event] = []
    for size in [*pieces, len(data)]:
        session.receive_data(data[at : at + size], 0.0)
        events += session.events()
        at += size
    return events, session.data_to_send(), session


_GARBAGE = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.builds(
            _pdu,
            st.sampled_from([*c.COMMAND_NAMES, 0x77, 0x80000077]),
            st.one_of(st.integers(0, 6), st.integers(0, 0xFFFFFFFF)),
            st.binary(max_size=40),
            st.one_of(st.just(0), st.integers(0, 0xFFFFFFFF)),
        ),
        max_size=12,
    ).map(b"".join),
)


def _flat(events: list[Event]) -> dict[str, list[Any]]:
    """What was told, whatever the batches it came in."""
    flat: dict[str, list[Any]] = {}
    for event in events:
        name = type(event).__name__
        if name == "Counted":
            continue
        flat.setdefault(name, []).extend(getattr(event, "items", [event]))
    return flat


@given(st.binary(max_size=60), _GARBAGE, st.lists(st.integers(1, 30), max_size=8), st.booleans())
@settings(max_examples=150, deadline=None)
def test_garbage_is_told_the_same_however_it_is_cut(
    tail: bytes, garbage: bytes, pieces: list[int], bound: bool
) -> None:
    data = garbage + tail
    whole_events, whole_sent, whole = _talk(data, [], bound)
    cut_events, cut_sent, cut = _talk(data, pieces, bound)
    octet_events, octet_sent, octet = _talk(data, [1] * len(data), bound)
    assert _flat(whole_events) == _flat(cut_events) == _flat(octet_events)
    assert whole_sent == cut_sent == octet_sent
    assert whole.state is cut.state is octet.state
    _, consumed = split(whole_sent, 1_000_000)
    assert consumed == len(whole_sent)
    if whole.closed:
        assert sum(isinstance(event, Closed) for event in whole_events) == 1


@pytest.mark.parametrize(
    "length", [0, 1, 3, 15, 70_001, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF], ids=lambda n: f"{n:#x}"
)
@pytest.mark.parametrize("bound", [True, False])
@pytest.mark.parametrize("one_by_one", [True, False])
def test_impossible_lengths_close_at_their_fourth_octet(length: int, bound: bool, one_by_one: bool) -> None:
    good = _pdu(c.ENQUIRE_LINK, 5)
    events, sent, session = _talk(good + length.to_bytes(4, "big"), [1] * 20 if one_by_one else [], bound)
    closed = events[-1]
    assert isinstance(closed, Closed)
    assert closed.reason is CloseReason.FRAMING
    assert sorted(closed.tokens_in_doubt) == (["a", "b", "c"] if bound else [])
    answers = [frame[:3] for frame in split(sent, 100)[0]]
    assert answers == [
        (c.ENQUIRE_LINK_RESP, 0, 5),
        (c.GENERIC_NACK, c.ESME_RINVCMDLEN, 0),
    ]
    assert not session._buffer


@pytest.mark.parametrize(
    ("banner", "protocol"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "TLS"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "SSH"),
        (b"AMQP\0\0\x09\x01", "AMQP"),
        (b"220 mail.example ESMTP\r\n", "SMTP"),
    ],
)
def test_other_protocols_are_named(banner: bytes, protocol: str) -> None:
    events, _, _ = _talk(banner, [], False)
    assert isinstance(events[-1], Closed)
    assert protocol in events[-1].detail


def test_a_peer_that_claims_much_and_sends_little_takes_little_memory() -> None:
    session = Session(SessionConfig(system_id="a", password="b"), 0.0)
    session.receive_data(_pdu(c.BIND_TRANSCEIVER_RESP, 1, b"x\0"), 0.0)
    head = (70_000).to_bytes(4, "big") + b"\0\0\0\5"
    for octet in head + b"x" * 500:
        session.receive_data(bytes([octet]), 0.0)
    assert len(session._buffer) == 508


def test_ten_megabytes_in_one_piece() -> None:
    session = Session(SessionConfig(system_id="a", password="b", deliver_outstanding_max=10), 0.0)
    session.receive_data(_pdu(c.BIND_TRANSCEIVER_RESP, 1, b"x\0"), 0.0)
    session.events()
    session.receive_data(_pdu(c.DELIVER_SM, 1, b"y" * 1000) * 10_000, 0.0)
    (event,) = session.events()
    assert isinstance(event, Delivers)
    assert len(event.items) == 10_000
    assert not session.wants_read
