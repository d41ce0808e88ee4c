"""A bind over memory streams on virtual time: coming back, draining, and peers that misbehave.

The SMSC here is a script: what it does with each PDU is a function the test gives.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
from todoke.codecs import constants as c
from todoke.codecs.framing import split
from todoke.engine.session.backoff import REFUSED_BACKOFF_S_MIN
from todoke.engine.session.bind import Bind
from todoke.engine.session.errors import ConnectError, NotBound
from todoke.engine.session.memory import MemoryByteStream, byte_stream_pair
from todoke.engine.session.settings import SessionConfig

pytestmark = pytest.mark.anyio

OK = c.ESME_ROK
Reply = Callable[["Smsc", int, int], "bytes | None"]


def pdu(command_id: int, sequence_number: int, body: bytes = b"", command_status: int = 0) -> bytes:
    words = (16 + len(body), command_id, command_status, sequence_number)
    return b"".join(word.to_bytes(4, "big") for word in words) + body


def answer_all(smsc: Smsc, command_id: int, sequence_number: int) -> bytes | None:
    if command_id & c.RESPONSE_BIT:
        return None
    body = b"%d\0" % sequence_number if command_id == c.SUBMIT_SM else b""
    return pdu(command_id | c.RESPONSE_BIT, sequence_number, body)


def only(*answered: int) -> Reply:
    """Answer these commands and nothing else."""
    return lambda smsc, command_id, sequence: (
        answer_all(smsc, command_id, sequence) if command_id in answered else None
    )


class Smsc:
    """Takes connections; remembers when, and what it was sent, in segments as they were written."""

    def __init__(self, tasks: anyio.abc.TaskGroup, reply: Reply = answer_all) -> None:
        self.tasks = tasks
        self.reply = reply
        self.connections: list[float] = []
        self.attempts: list[float] = []
        self.refuse = 0
        self.received: list[tuple[int, int, int]] = []
        self.at: list[float] = []
        self.segments: list[bytes] = []
        self.stream: MemoryByteStream | None = None
        self.buffer_octets = 65_536
        self.reading = True
        self.poke: Callable[[], None] = lambda: None
        self.unread = anyio.Event()

    async def connect(self) -> MemoryByteStream:
        await anyio.lowlevel.checkpoint()
        self.attempts.append(anyio.current_time())
        if self.refuse:
            self.refuse -= 1
            raise ConnectionRefusedError("nobody listens")
        near, far = byte_stream_pair(self.buffer_octets)
        self.connections.append(anyio.current_time())
        self.stream = far
        self.tasks.start_soon(self._serve, far)
        return near

    async def _serve(self, stream: MemoryByteStream) -> None:
        buffer = b""
        try:
            while True:
                if not self.reading:
                    await self.unread.wait()
                data = await stream.receive()
                self.segments.append(data)
                frames, consumed = split(buffer + data, 100_000)
                buffer = (buffer + data)[consumed:]
                for command_id, command_status, sequence_number, _ in frames:
                    self.received.append((command_id, command_status, sequence_number))
                    self.at.append(anyio.current_time())
                    reply = self.reply(self, command_id, sequence_number)
                    if reply is not None:
                        await stream.send(reply)
                self.poke()
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            await stream.aclose()

    async def say(self, data: bytes) -> None:
        assert self.stream is not None
        await self.stream.send(data)

    def count(self, command_id: int) -> int:
        return sum(received[0] == command_id for received in self.received)


class World:
    """A bind running against a scripted SMSC."""

    def __init__(self, tasks: anyio.abc.TaskGroup, recorder: Any, clock: Any, reply: Reply, **settings: Any):
        self.smsc = Smsc(tasks, reply)
        self.handler = recorder
        settings = {"system_id": "todoke", "password": "hunter2!", **settings}
        self.bind = Bind(
            "docomo-1", SessionConfig(**settings), self.smsc.connect, clock, random.Random(5), recorder
        )
        self.tasks = tasks
        self.changed = anyio.Event()
        recorder.poke = self.smsc.poke = self.poke
        tasks.start_soon(self.bind.run)

    def poke(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()

    async def until(self, what: Callable[[], bool], seconds: float = 600.0) -> None:
        with anyio.fail_after(seconds):
            while not what():
                await self.changed.wait()


@pytest.fixture
def world(recorder: Any, virtual_clock: Any) -> Callable[..., World]:
    def make(tasks: anyio.abc.TaskGroup, reply: Reply = answer_all, **settings: Any) -> World:
        return World(tasks, recorder, virtual_clock, reply, **settings)

    return make


async def test_binds_sends_and_is_answered(world: Any) -> None:
    async with anyio.create_task_group() as tasks:
        w = world(tasks)
        await w.until(lambda: w.bind.bound)
        w.bind.submit([b"one", b"two"], ["a", "b"])
        w.bind.submit([b"three"], ["c"])
        await w.until(lambda: len(w.handler.tokens) == 3)
        assert set(w.handler.tokens.values()) == {"answered"}
        assert w.smsc.segments[-1] == pdu(4, 2, b"one") + pdu(4, 3, b"two") + pdu(4, 4, b"three"), "one write"
        statistics = w.bind.statistics()
        assert (statistics.state, statistics.submitted, statistics.answered) == ("bound_trx", 3, 3)
        assert statistics.bound_since == pytest.approx(1_800_000_000.0, abs=5.0)
        await w.bind.close(10.0)
        assert w.handler.lost == ["unbound"]
        assert w.smsc.received[-1][0] == c.UNBIND
        assert w.bind.statistics().state == "closed"
        assert w.bind.statistics().submitted == 3


async def test_a_handler_may_submit_from_its_calls(world: Any) -> None:
    async with anyio.create_task_group() as tasks:
        w = world(tasks, window=4)
        left = list(range(50))

        def pump(bind: Any, _: Any = None) -> None:
            n = min(bind.window_free, len(left))
            tokens = [left.pop() for _ in range(n)]
            bind.submit([b"x"] * n, tokens)

        w.handler.when_bound = w.handler.when_window = pump
        await w.until(lambda: len(w.handler.tokens) == 50)
        assert not left
        await w.bind.close(1.0)


async def test_comes_back_for_ever_with_growing_waits(world: Any) -> None:
    async with anyio.create_task_group() as tasks:
        w = world(tasks)
        w.smsc.refuse = 40
        await w.until(lambda: w.bind.bound, 10_000.0)
        gaps = [b - a for a, b in zip(w.smsc.attempts, w.smsc.attempts[1:], strict=False)]
        assert len(gaps) == 40
        assert all(1.0 <= gap <= 60.1 for gap in gaps)
        assert max(gaps[:3]) <= 4.1
        assert sum(gaps[10:]) / 30 == pytest.approx(30.0, abs=12.0), "full jitter over a minute"
        await w.bind.close(1.0)


async def test_unsure_connectors_do_not_end_it(world: Any, recorder: Any, virtual_clock: Any) -> None:
    errors: list[Exception] = [ConnectError("no host"), TimeoutError(), OSError("unreachable")]

    async def connect() -> Any:
        await anyio.lowlevel.checkpoint()
        raise errors.pop() if errors else ConnectError("still none")

    config = SessionConfig(system_id="a", password="b")
    bind = Bind("x", config, connect, virtual_clock, random.Random(1), recorder)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bind.run)
        await anyio.sleep(500.0)
        assert bind.statistics().last_error == "ConnectError: still none"
        await bind.close(1.0)


@pytest.mark.parametrize("command_status", [c.ESME_RINVPASWD, c.ESME_RBINDFAIL, c.ESME_RINVSYSID])
async def test_refused_credentials_are_retried_slowly_with_an_alarm(
    world: Any, command_status: int, caplog: pytest.LogCaptureFixture
) -> None:
    refusals = 3

    def reply(smsc: Smsc, command_id: int, sequence: int) -> bytes | None:
        if command_id == c.BIND_TRANSCEIVER and len(smsc.connections) <= refusals:
            return pdu(c.BIND_TRANSCEIVER_RESP, sequence, b"", command_status)
        return answer_all(smsc, command_id, sequence)

    async with anyio.create_task_group() as tasks:
        w = world(tasks, reply)
        await w.until(lambda: bool(w.handler.lost))
        assert w.bind.statistics().refused
        await w.until(lambda: w.bind.bound, 10_000.0)
        gaps = [b - a for a, b in zip(w.smsc.attempts, w.smsc.attempts[1:], strict=False)]
        assert len(gaps) == refusals
        assert min(gaps) >= REFUSED_BACKOFF_S_MIN
        assert not w.bind.statistics().refused
        await w.bind.close(1.0)
    alarms = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(alarms) == refusals
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("command_status", [c.ESME_RALYBND, c.ESME_RSYSERR, c.ESME_RTHROTTLED])
async def test_other_refusals_are_retried_as_failures(world: Any, command_status: int) -> None:
    def reply(smsc: Smsc, command_id: int, sequence: int) -> bytes | None:
        return pdu(command_id | c.RESPONSE_BIT, sequence, b"", command_status)

    async with anyio.create_task_group() as tasks:
        w = world(tasks, reply)
        await anyio.sleep(600.0)
        assert 15 <= len(w.smsc.attempts) <= 60
        assert not w.bind.statistics().refused
        await w.bind.close(1.0)


async def test_a_bind_that_is_kicked_at_once_settles_down(world: Any) -> None:
    async with anyio.create_task_group() as tasks:
        w = world(tasks)
        w.handler.when_bound = lambda bind: w.smsc.stream.cut()
        await anyio.sleep(600.0)
        assert w.handler.bound > 5
        assert 10 <= len(w.smsc.attempts) <= 60
        await w.bind.close(1.0)


async def test_a_cut_in_mid_window_is_doubt_and_the_bind_comes_back_soon(world: Any) -> None:
    async with anyio.create_task_group() as tasks:
        w = world(tasks, only(c.BIND_TRANSCEIVER, c.UNBIND))
        w.smsc.refuse = 8
        await w.until(lambda: w.bind.bound)
        await anyio.sleep(15.0)
        w.bind.submit([b"x"] * 3, ["a", "b", "c"])
        await w.until(lambda: w.smsc.count(c.SUBMIT_SM) == 3)
        cut_at = anyio.current_time()
        w.smsc.stream.cut()
        await w.until(lambda: w.handler.bound == 2)
        assert anyio.current_time() - cut_at <= 1.2, "a session that lasted is resumed within a second"
        assert w.handler.tokens == {"a": "doubt", "b": "doubt", "c": "doubt"}
        assert [name for name, _ in w.handler.told] == ["bound", "doubt", "lost", "bound"]
        assert w.bind.outstanding == 0
        await w.bind.close(1.0)


async def test_what_never_left_is_told_as_unsent(world: Any) -> None:
    async with anyio.create_task_group() as tasks:
        w = world(tasks)
        await w.until(lambda: w.bind.bound)
        await anyio.sleep(0.1)
        w.bind.submit([b"x"], ["a"])
        w.bind.rebind("of no use")
        await w.until(lambda: w.handler.bound == 2)
        assert w.handler.tokens == {"a": "unsent"}
        assert w.smsc.count(c.SUBMIT_SM) == 0
        assert w.handler.lost == ["abandoned: of no use"]
        await w.bind.close(1.0)


async def test_a_half_open_peer_is_found_out(world: Any) -> None:
    async with anyio.create_task_group() as tasks:
        w = world(tasks, enquire_link_s=20.0, enquire_link_timeout_s=10.0)
        await w.until(lambda: w.bind.bound)
        w.smsc.stream.freeze()
        frozen_at = anyio.current_time()
        w.bind.submit([b"x"], ["a"])
        await w.until(lambda: bool(w.handler.lost))
        assert anyio.current_time() - frozen_at == pytest.approx(30.0, abs=0.5)
        assert w.handler.tokens == {"a": "doubt"}
        assert w.handler.lost[0].startswith("enquire_link_timeout")
        await w.until(lambda: w.handler.bound == 2)
        await w.bind.close(1.0)
        tasks.cancel_scope.cancel()


async def test_an_idle_bind_is_kept_alive_for_hours(world: Any) -> None:
    async with anyio.create_task_group() as tasks:
        w = world(tasks)
        await anyio.sleep(6 * 3_600.0)
        assert len(w.smsc.connections) == 1
        assert w.smsc.count(c.ENQUIRE_LINK) == pytest.approx(6 * 3_600 / 20, rel=0.01)
        await w.bind.close(1.0)


async def test_close_waits_for_answers_then_unbinds(world: Any) -> None:
    async with anyio.create_task_group() as tasks:
        w = world(tasks, only(c.BIND_TRANSCEIVER, c.UNBIND))
        await w.until(lambda: w.bind.bound)
        w.bind.submit([b"x"] * 2, ["a", "b"])

        async def answer_slowly() -> None:
            for sequence in (2, 3):
                await anyio.sleep(3.0)
                assert w.smsc.count(c.UNBIND) == 0
                await w.smsc.say(pdu(c.SUBMIT_SM_RESP, sequence, b"1\0"))

        tasks.start_soon(answer_slowly)
        began = anyio.current_time()
        await anyio.sleep(0.01)
        await w.bind.close(30.0)
        assert anyio.current_time() - began == pytest.approx(6.0, abs=0.2)
        assert set(w.handler.tokens.values()) == {"answered"}
        assert w.smsc.count(c.UNBIND) == 1
        with pytest.raises(NotBound):
            w.bind.submit([b"x"], ["late"])


async def test_close_takes_no_more_while_it_drains(world: Any) -> None:
    async with anyio.create_task_group() as tasks:
        w = world(tasks, only(c.BIND_TRANSCEIVER))
        await w.until(lambda: w.bind.bound)
        w.bind.submit([b"x"], ["a"])
        async with anyio.create_task_group() as closing:
            closing.start_soon(w.bind.close, 5.0)
            await anyio.sleep(1.0)
            assert w.bind.window_free == 0
            with pytest.raises(NotBound):
                w.bind.submit([b"x"], ["late"])
            began = anyio.current_time()
        assert anyio.current_time() - began <= 4.0 + 10.0 + 2.0
        assert w.handler.tokens == {"a": "doubt"}


@pytest.mark.parametrize("when", ["never run", "connecting", "binding", "waiting"])
async def test_close_at_any_moment(world: Any, recorder: Any, virtual_clock: Any, when: str) -> None:
    async def never() -> Any:
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        if when == "never run":
            config = SessionConfig(system_id="a", password="b")
            bind = Bind("x", config, never, virtual_clock, random.Random(1), recorder)
        elif when == "connecting":
            config = SessionConfig(system_id="a", password="b")
            bind = Bind("x", config, never, virtual_clock, random.Random(1), recorder)
            tasks.start_soon(bind.run)
        else:
            w = world(tasks, only())
            bind = w.bind
            w.smsc.refuse = 100 if when == "waiting" else 0
        await anyio.sleep(3.0)
        with anyio.fail_after(1.0):
            await bind.close(30.0)
        await bind.run()


async def test_the_smscs_unbind_is_obeyed_and_the_bind_comes_back(world: Any) -> None:
    async with anyio.create_task_group() as tasks:
        w = world(tasks)
        await w.until(lambda: w.bind.bound)
        await w.smsc.say(pdu(c.UNBIND, 9))
        await w.until(lambda: w.handler.bound == 2)
        assert (c.UNBIND_RESP, OK, 9) in w.smsc.received, "answered before the connection is closed"
        assert w.handler.lost == ["unbound_by_peer"]
        await w.bind.close(1.0)


async def test_garbage_costs_one_session(world: Any) -> None:
    async with anyio.create_task_group() as tasks:
        w = world(tasks)
        await w.until(lambda: w.bind.bound)
        await w.smsc.say(b"HTTP/1.1 400 Bad Request\r\n")
        await w.until(lambda: w.handler.bound == 2)
        assert (c.GENERIC_NACK, c.ESME_RINVCMDLEN, 0) in w.smsc.received
        assert "HTTP" in w.handler.lost[0]
        assert w.bind.statistics().counters["framing_error"] == 1
        await w.bind.close(1.0)


async def test_a_peer_that_sends_octets_one_by_one_is_understood(world: Any) -> None:
    def dribble(smsc: Smsc, command_id: int, sequence: int) -> bytes | None:
        data = answer_all(smsc, command_id, sequence)
        if data is not None:
            smsc.tasks.start_soon(say_slowly, smsc, data)
        return None

    async def say_slowly(smsc: Smsc, data: bytes) -> None:
        for octet in data:
            await smsc.say(bytes([octet]))
            await anyio.sleep(0.1)

    async with anyio.create_task_group() as tasks:
        w = world(tasks, dribble)
        await w.until(lambda: w.bind.bound)
        w.bind.submit([b"x"], ["a"])
        await w.until(lambda: "a" in w.handler.tokens)
        assert w.handler.tokens == {"a": "answered"}
        w.tasks.cancel_scope.cancel()


async def test_half_a_pdu_and_silence_costs_one_session(world: Any) -> None:
    async with anyio.create_task_group() as tasks:
        w = world(tasks, read_timeout_s=10.0)
        await w.until(lambda: w.bind.bound)
        said_at = anyio.current_time()
        await w.smsc.say(b"\0\0\0\x40\0\0")
        await w.until(lambda: bool(w.handler.lost))
        assert w.handler.lost[0].startswith("read_timeout")
        assert anyio.current_time() - said_at == pytest.approx(10.0, abs=0.2)
        await w.bind.close(1.0)


async def test_a_peer_that_does_not_read_costs_one_session_and_little_memory(world: Any) -> None:
    async with anyio.create_task_group() as tasks:
        w = world(tasks, write_timeout_s=10.0, write_buffer_octets_max=20_000, window=1000)
        w.smsc.buffer_octets = 1000
        await w.until(lambda: w.bind.bound)
        w.smsc.reading = False
        await w.smsc.say(pdu(c.ENQUIRE_LINK, 1))
        sent_at = anyio.current_time()
        taken = 0
        while w.bind.window_free and taken < 1000:
            w.bind.submit([b"x" * 1000], [taken])
            taken += 1
            await anyio.lowlevel.checkpoint()
        assert taken < 50, "at most what is being written and as much again waits in memory"
        await w.until(lambda: bool(w.handler.lost))
        assert w.handler.lost[0].startswith("write_stalled")
        assert anyio.current_time() - sent_at == pytest.approx(10.0, abs=0.5)
        assert len(w.handler.tokens) == taken
        assert "unsent" in w.handler.tokens.values()
        w.tasks.cancel_scope.cancel()


async def test_a_peer_that_asks_without_reading_the_answers_is_not_read(world: Any) -> None:
    async with anyio.create_task_group() as tasks:
        w = world(tasks, write_buffer_octets_max=5_000)
        w.smsc.buffer_octets = 2_000
        await w.until(lambda: w.bind.bound)
        w.smsc.reading = False

        async def ask() -> None:
            for n in range(100_000):
                await w.smsc.say(pdu(c.ENQUIRE_LINK, n))

        with anyio.move_on_after(5.0):
            await ask()
            pytest.fail("all was read")
        assert w.bind.statistics().counters["reading_paused"] >= 1
        w.tasks.cancel_scope.cancel()


async def test_unanswered_delivers_stop_the_reading_until_they_are_answered(world: Any) -> None:
    async with anyio.create_task_group() as tasks:
        w = world(tasks, deliver_outstanding_max=10, enquire_link_s=5.0, enquire_link_timeout_s=5.0)
        handles: list[int] = []
        w.handler.when_delivers = lambda bind, items: handles.extend(item[0] for item in items)
        w.smsc.buffer_octets = 100
        await w.until(lambda: w.bind.bound)

        async def flood() -> None:
            for n in range(200):
                await w.smsc.say(pdu(c.DELIVER_SM, n, b"x" * 20))

        tasks.start_soon(flood)
        await anyio.sleep(100.0)
        assert 10 <= len(handles) < 20
        assert w.bind.bound, "a bind that does not read does not take silence for death"

        while w.smsc.count(c.DELIVER_SM_RESP) < 200:
            w.bind.answer_delivers([(handle, c.DELIVER_SM, OK) for handle in handles])
            handles.clear()
            await anyio.sleep(0.1)
        assert sorted(n for i, _, n in w.smsc.received if i == c.DELIVER_SM_RESP) == list(range(200))
        await w.bind.close(1.0)


async def test_answers_to_delivers_of_a_lost_session_go_nowhere(world: Any) -> None:
    async with anyio.create_task_group() as tasks:
        w = world(tasks)
        handles: list[int] = []
        w.handler.when_delivers = lambda bind, items: handles.extend(item[0] for item in items)
        for expected in (1, 2):
            await w.until(lambda expected=expected: w.handler.bound == expected)
            await w.smsc.say(pdu(c.DELIVER_SM, 1, b"x"))
            await w.until(lambda expected=expected: len(handles) == expected)
            if expected == 1:
                w.smsc.stream.cut()
        w.bind.answer_delivers([(handles[0], c.DELIVER_SM, OK)])
        await anyio.sleep(0.1)
        assert w.smsc.count(c.DELIVER_SM_RESP) == 0
        w.bind.answer_delivers([(handles[1], c.DELIVER_SM, OK)])
        await anyio.sleep(0.1)
        assert w.smsc.count(c.DELIVER_SM_RESP) == 1
        assert w.bind.statistics().counters["answer_stale"] == 1
        await w.bind.close(1.0)


async def test_time_out_then_late_answer(world: Any) -> None:
    async with anyio.create_task_group() as tasks:
        w = world(tasks, only(c.BIND_TRANSCEIVER, c.ENQUIRE_LINK, c.UNBIND), response_timeout_s=30.0)
        await w.until(lambda: w.bind.bound)
        w.bind.submit([b"x"], ["a"])
        sent_at = anyio.current_time()
        await w.until(lambda: "a" in w.handler.tokens)
        assert w.handler.tokens == {"a": "doubt"}
        assert 30.0 <= anyio.current_time() - sent_at <= 31.1
        await w.smsc.say(pdu(c.SUBMIT_SM_RESP, 2, b"late\0"))
        await anyio.sleep(0.1)
        assert w.handler.told[-1] == ("late", [("a", c.SUBMIT_SM_RESP, OK, b"late", 2)])
        await w.bind.close(1.0)


async def test_a_handler_that_fails_costs_one_session(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with anyio.create_task_group() as tasks:
        w = world(tasks)
        failures = [ValueError("a fault of ours")]

        def fail(bind: Any, items: Any) -> None:
            if failures:
                raise failures.pop()

        w.handler.when_responses = fail
        await w.until(lambda: w.bind.bound)
        w.bind.submit([b"x"], ["a"])
        await w.until(lambda: w.handler.bound == 2)
        w.bind.submit([b"x"], ["b"])
        await w.until(lambda: "b" in w.handler.tokens)
        assert "Traceback" in caplog.text
        await w.bind.close(1.0)


async def test_cancellation_tells_what_is_in_doubt(world: Any) -> None:
    async with anyio.create_task_group() as tasks:
        w = world(tasks, only(c.BIND_TRANSCEIVER))
        await w.until(lambda: w.bind.bound)
        w.bind.submit([b"x"], ["a"])
        await anyio.sleep(1.0)
        tasks.cancel_scope.cancel()
    assert w.handler.tokens == {"a": "doubt"}
    assert w.handler.lost == ["abandoned: cancelled"]


async def test_the_window_is_kept_over_sessions(world: Any) -> None:
    async with anyio.create_task_group() as tasks:
        w = world(tasks, window=10)
        await w.until(lambda: w.bind.bound)
        w.bind.window = 3
        w.smsc.stream.cut()
        await w.until(lambda: w.handler.bound == 2)
        assert w.bind.window_free == 3
        await w.bind.close(1.0)


async def test_room_again_is_told_once(world: Any) -> None:
    async with anyio.create_task_group() as tasks:
        w = world(tasks, only(c.BIND_TRANSCEIVER, c.UNBIND), window=2)
        await w.until(lambda: w.bind.bound)
        w.bind.submit([b"x"] * 2, ["a", "b"])
        await anyio.sleep(1.0)
        await w.smsc.say(pdu(c.SUBMIT_SM_RESP, 2, b"1\0") + pdu(c.SUBMIT_SM_RESP, 3, b"2\0"))
        await anyio.sleep(1.0)
        await w.smsc.say(pdu(c.ENQUIRE_LINK, 1))
        await anyio.sleep(1.0)
        assert [name for name, _ in w.handler.told] == ["bound", "responses", "window"]
        w.bind.submit([b"x"] * 2, ["c", "d"])
        w.bind.window = 1
        await anyio.sleep(1.0)
        await w.smsc.say(pdu(c.SUBMIT_SM_RESP, 4, b"1\0"))
        await anyio.sleep(1.0)
        assert [name for name, _ in w.handler.told][3:] == ["responses"], "still full"
        await w.smsc.say(pdu(c.SUBMIT_SM_RESP, 5, b"1\0"))
        await anyio.sleep(1.0)
        assert [name for name, _ in w.handler.told][4:] == ["responses", "window"]
        await w.bind.close(1.0)


async def test_no_log_line_shows_a_password_or_octets(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with anyio.create_task_group() as tasks:
        w = world(tasks)
        await w.until(lambda: w.bind.bound)
        w.bind.submit([b"819012345678 a secret text"], ["a"])
        await w.smsc.say(pdu(0x77, 1, b"819012345678\x1b[31m another"))
        await anyio.sleep(1.0)
        await w.smsc.say(b"\0\0\0\0 819012345678")
        await w.until(lambda: w.handler.bound == 2)
        await w.bind.close(1.0)
    assert len(caplog.records) >= 3
    for word in ("hunter2", "8190", "secret text", "another", "\x1b"):
        assert word not in caplog.text
