"""What must hold for a Session whatever its peer sends and whenever (`todoke.engine.session.session`)."""

from __future__ import annotations

from typing import Any

from todoke.codecs import constants as c
from todoke.codecs.framing import split
from todoke.engine.session import events as e
from todoke.engine.session.errors import NotBound, WindowFull
from todoke.engine.session.session import Session
from todoke.engine.session.settings import SessionConfig
from todoke.engine.session.states import State

from .reading import Octets

STEPS_MAX = 64
BINDS = ("transceiver", "transmitter", "receiver")
KNOWN_EVENTS = (e.Bound, e.BindRefused, e.Responses, e.LateResponses, e.Delivers, e.TimedOut,
                e.UnbindReceived, e.Closed, e.Counted)  # fmt: skip
TIMES_S = (0.0, 0.1, 5.0, 9.0, 25.0, 70.0)


class Watched:
    """A session and what it owes: every token back exactly once, nothing but whole PDUs on the wire."""

    def __init__(self, octets: Octets) -> None:
        kind = octets.octet()
        config = SessionConfig(
            system_id="a",
            password="b",
            bind=BINDS[kind % 3],
            window=1 + octets.octet() % 5,
            late_max=3,
            deliver_outstanding_max=4,
            inactivity_timeout_s=60.0 if kind & 0x40 else 0.0,
        )
        self.now = 0.0
        self.session = Session(config, 0.0, number=kind >> 4 & 3)
        self.owed: set[object] = set()
        self.doubtful: set[object] = set()
        self.next_token = 0
        self.delivers: list[tuple[int, int]] = []
        self.closed = 0
        self.sent: list[tuple[int, int]] = []
        self.drain()

    def drain(self) -> None:
        for event in self.session.events():
            assert isinstance(event, KNOWN_EVENTS)
            assert not self.closed or isinstance(event, e.Counted)
            if isinstance(event, e.Responses):
                self.settle([item[0] for item in event.items])
                assert all(len(item[3]) <= 70_000 for item in event.items)
            elif isinstance(event, e.LateResponses):
                late = [item[0] for item in event.items]
                assert self.doubtful.issuperset(late)
                self.doubtful -= set(late)
            elif isinstance(event, e.TimedOut):
                self.settle(event.tokens)
                self.doubtful.update(event.tokens)
            elif isinstance(event, e.Delivers):
                self.delivers += [(handle, command_id) for handle, command_id, _ in event.items]
            elif isinstance(event, e.Closed):
                self.closed += 1
                self.settle(event.tokens_in_doubt + event.tokens_unsent)
                assert not self.owed
            elif isinstance(event, e.Counted):
                assert event.n > 0
        assert self.closed <= 1
        assert bool(self.closed) == self.session.closed
        data = self.session.data_to_send()
        frames, consumed = split(data, c.PDU_OCTETS_MAX)
        assert consumed == len(data)
        self.sent += [(frame[0], frame[2]) for frame in frames]
        assert self.session.outstanding <= self.session.config.window
        assert self.session.outstanding == len(self.owed)

    def settle(self, tokens: list[Any]) -> None:
        assert len(set(tokens)) == len(tokens)
        assert self.owed.issuperset(tokens)
        self.owed -= set(tokens)

    def submit(self, count: int) -> None:
        tokens = list(range(self.next_token, self.next_token + count))
        free = self.session.window_free
        try:
            self.session.submit([b"\0" * 33] * count, tokens, self.now)
        except (NotBound, WindowFull):
            assert count > free
            return
        self.next_token += count
        self.owed.update(tokens)

    def ask(self, command_id: int) -> None:
        try:
            self.session.request(command_id, b"x\0\0\0\0", self.next_token, self.now)
        except (NotBound, WindowFull):
            return
        self.owed.add(self.next_token)
        self.next_token += 1

    def step(self, octets: Octets) -> None:
        session = self.session
        action = octets.octet() % 16
        if action <= 5:
            session.receive_data(octets.take(octets.octet()), self.now)
        elif action <= 8:
            # A PDU with a whole header; the sequence_number of one of ours, mostly.
            command_id = octets.choice(sorted(c.COMMAND_NAMES))
            status = octets.choice((0, 0, 0, 8, 0x58, 0x4FF))
            number = octets.octet()
            sequence = self.sent[number % len(self.sent)][1] if number < 0xE0 else octets.number(4)
            body = octets.take(octets.octet() % 32)
            words = (16 + len(body), command_id, status, sequence)
            session.receive_data(b"".join(word.to_bytes(4, "big") for word in words) + body, self.now)
        elif action == 9:
            self.submit(octets.octet() % 6)
        elif action == 10:
            self.ask(octets.choice((c.QUERY_SM, c.DATA_SM, c.CANCEL_SM, c.BIND_RECEIVER, c.SUBMIT_MULTI)))
        elif action == 11:
            answers = [(handle, command_id, 0) for handle, command_id in self.delivers[:3]]
            del self.delivers[:3]
            session.answer_delivers(answers + ([(1 << 40, c.DELIVER_SM, 0)] if octets.octet() & 1 else []))
        elif action == 12:
            self.now += octets.choice(TIMES_S)
            session.handle_tick(self.now)
        elif action == 13:
            octets.choice(
                (session.unbind, session.pause_reading, session.resume_reading, session.write_began)
            )(self.now)
        elif action == 14:
            session.write_done()
            if octets.octet() & 1:
                session.hold()
        else:
            session.receive_eof(self.now) if octets.octet() & 1 else session.receive_data(b"", self.now)


def sessions(data: bytes) -> None:
    """Only documented events; each token once; whole PDUs out; Closed once and last."""
    octets = Octets(data)
    watched = Watched(octets)
    if octets.octet() & 3:
        bind = watched.sent[0]
        words = (17, bind[0] | c.RESPONSE_BIT, 0, bind[1])
        watched.session.receive_data(b"".join(word.to_bytes(4, "big") for word in words) + b"\0", 0.0)
        watched.drain()
        assert watched.session.state is not State.OPEN
    for _ in range(STEPS_MAX):
        if not octets:
            break
        watched.step(octets)
        watched.drain()
    watched.session.connection_lost(e.CloseReason.LOST)
    watched.drain()
    assert watched.closed == 1
    assert watched.session.next_deadline() == float("inf")
