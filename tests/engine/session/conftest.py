"""Peers, clocks and handlers for the tests of sessions and binds."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any

import anyio
import pytest
import trio.testing
from todoke.codecs import constants as c
from todoke.engine.session.events import Event
from todoke.engine.session.session import Session
from todoke.engine.session.settings import SessionConfig

_header = Struct(">4I")


class Wire:
    """PDUs as octets, written here a second time: what the tests believe, not what the codecs do."""

    @staticmethod
    def pdu(command_id: int, sequence_number: int, body: bytes = b"", command_status: int = 0) -> bytes:
        return _header.pack(16 + len(body), command_id, command_status, sequence_number) + body

    @staticmethod
    def cut(data: bytes) -> list[tuple[int, int, int, bytes]]:
        """(command_id, command_status, sequence_number, body) of whole PDUs, nothing left over."""
        found: list[tuple[int, int, int, bytes]] = []
        while data:
            length, command_id, command_status, sequence_number = _header.unpack_from(data)
            assert 16 <= length <= len(data)
            found.append((command_id, command_status, sequence_number, data[16:length]))
            data = data[length:]
        return found

    @staticmethod
    def names(data: bytes) -> list[str]:
        return [c.COMMAND_NAMES[command_id] for command_id, _, _, _ in Wire.cut(data)]

    SUBMIT_BODY = b"\0\1\1123\0\1\1819012345678\0\0\0\0\0\0\1\0\0\0\2hi"
    DELIVER_BODY = b"\0\1\1819012345678\0\1\1123\0\4\0\0\0\0\0\0\0\0\2ok"


class Talk:
    """A Session and its side of the conversation: every step returns what it told."""

    def __init__(self, **settings: Any) -> None:
        self.now = 100.0
        settings = {"system_id": "todoke", "password": "secret", **settings}
        self.session = Session(SessionConfig(**settings), self.now, settings.pop("number", 7))

    def bound(self) -> Talk:
        bind = Wire.cut(self.session.data_to_send())
        assert len(bind) == 1
        self.receive(Wire.pdu(bind[0][0] | c.RESPONSE_BIT, bind[0][2], b"smsc\0"))
        self.sent()
        return self

    def receive(self, *pdus: bytes) -> list[Event]:
        self.session.receive_data(b"".join(pdus), self.now)
        return self.session.events()

    def sent(self) -> list[tuple[int, int, int, bytes]]:
        return Wire.cut(self.session.data_to_send())

    def submit(self, *tokens: object) -> list[int]:
        """Submit one part for each token, and give the sequence numbers they got."""
        self.session.submit([Wire.SUBMIT_BODY] * len(tokens), list(tokens), self.now)
        return [sequence for command_id, _, sequence, _ in self.sent() if command_id == c.SUBMIT_SM]

    def wait(self, seconds: float) -> list[Event]:
        """Let time pass, keeping every deadline on the way."""
        end = self.now + seconds
        told: list[Event] = []
        while (deadline := self.session.next_deadline()) <= end:
            assert deadline > self.now or told == []
            self.now = max(self.now, deadline)
            self.session.handle_tick(self.now)
            told += self.session.events()
        self.now = end
        self.session.handle_tick(end)
        return told + self.session.events()


class VirtualClock:
    """Both clocks from the event loop's time."""

    def monotonic(self) -> float:
        return anyio.current_time()

    def wall(self) -> float:
        return 1_800_000_000.0 + anyio.current_time()


class Recorder:
    """A handler that writes down what it was told; tests hang their reactions on it."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.tokens: dict[Any, str] = {}
        self.bound = 0
        self.poke: Callable[[], None] = lambda: None
        self.lost: list[str] = []
        self.when_bound: Callable[[Any], None] | None = None
        self.when_responses: Callable[[Any, Any], None] | None = None
        self.when_delivers: Callable[[Any, Any], None] | None = None
        self.when_window: Callable[[Any], None] | None = None

    def _once(self, tokens: Any, outcome: str) -> None:
        for token in tokens:
            assert token not in self.tokens, f"{token} was told twice"
            self.tokens[token] = outcome

    def on_bound(self, bind: Any) -> None:
        self.bound += 1
        self.told.append(("bound", None))
        if self.when_bound is not None:
            self.when_bound(bind)
        self.poke()

    def on_responses(self, bind: Any, items: Any) -> None:
        self._once([item[0] for item in items], "answered")
        self.told.append(("responses", items))
        if self.when_responses is not None:
            self.when_responses(bind, items)
        self.poke()

    def on_late_responses(self, bind: Any, items: Any) -> None:
        self.told.append(("late", items))
        self.poke()

    def on_delivers(self, bind: Any, items: Any) -> None:
        self.told.append(("delivers", items))
        if self.when_delivers is not None:
            self.when_delivers(bind, items)
        self.poke()

    def on_doubt(self, bind: Any, tokens: Any) -> None:
        self._once(tokens, "doubt")
        self.told.append(("doubt", tokens))
        self.poke()

    def on_unsent(self, bind: Any, tokens: Any) -> None:
        self._once(tokens, "unsent")
        self.told.append(("unsent", tokens))
        self.poke()

    def on_lost(self, bind: Any, reason: str) -> None:
        self.lost.append(reason)
        self.told.append(("lost", reason))
        self.poke()

    def on_window(self, bind: Any) -> None:
        self.told.append(("window", None))
        if self.when_window is not None:
            self.when_window(bind)
        self.poke()


@pytest.fixture
def wire() -> type[Wire]:
    return Wire


@pytest.fixture
def talk() -> type[Talk]:
    return Talk


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def virtual_clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """trio on virtual time, unless a test asks for another by parametrizing."""
    name = getattr(request, "param", "trio-virtual")
    if name == "trio-virtual":
        return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}
    if name == "uvloop":
        return "asyncio", {"use_uvloop": True}
    return name, {}
