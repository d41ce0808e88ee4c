"""The client library against a fake node behind the real server: both clients, spellings and event loops."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.engine.client import (
    Client,
    ClientError,
    NodeAway,
    OverCredit,
    Pending,
    ProtocolViolation,
    Refused,
    SyncClient,
)
from todoke.engine.client_wire import Chunks, Reports, Wire
from todoke.engine.intake.frames import encode
from todoke.engine.intake.limits import Limits
from todoke.engine.intake.server import Intake
from todoke.engine.messages import Accepted, Refusal, Report, SubmitAnswer, SubmitMessage

pytestmark = pytest.mark.anyio

TO = "+819012345678"
LIMITS = Limits(credit_messages=50, frame_octets_max=20_000, close_s=0.2, linger_s=0.2)
BOTH = pytest.mark.parametrize("spelling", ["msgpack", "json"])


def load_fake() -> ModuleType:
    name = "todoke_tests_fake_node"
    if name not in sys.modules:
        path = Path(__file__).parent / "intake" / "fake_node.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


fake = load_fake()


@pytest.fixture(
    params=[
        pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"),
        pytest.param(("trio", {}), id="trio"),
    ]
)
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return request.param


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "todoke.sock"


@asynccontextmanager
async def served(path: Path, node: Any, apps: Any = None) -> AsyncIterator[Intake]:
    intake = Intake(node, LIMITS, wall=lambda: 1_795_224_600.0)
    async with anyio.create_task_group() as tasks:
        await tasks.start(lambda *, task_status: intake.serve(path, apps, task_status=task_status))
        yield intake
        tasks.cancel_scope.cancel()


def message(n: int, text: str = "x") -> SubmitMessage:
    return SubmitMessage(TO, text, ref=f"order-{n}")


@BOTH
async def test_the_road(path: Path, spelling: Any) -> None:
    node = fake.FakeNode()
    async with served(path, node), Client(path, spelling=spelling) as client:
        answer = await client.submit(
            [{"to": TO, "text": "届け", "from": "0032069000"}, message(7), {"to": "090"}]
        )
        assert answer.accepted == [Accepted(None, "m-1", 1), Accepted("order-7", "m-2", 1)]
        assert [(refusal.index, refusal.code) for refusal in answer.refused] == [(2, "invalid_number")]
        assert await client.submit_one(message(7)) == Accepted("order-7", "m-2", 1, duplicate=True)
        with pytest.raises(Refused, match="nobody goes there") as caught:
            await client.submit_one(message(8, "refuse"))
        assert (caught.value.code, caught.value.field) == ("no_route", "to")
        assert (await client.query("m-1"))["accepted"] == 5
        assert await client.cancel("m-1") == {"cancelled": True, "state": "cancelled"}
        assert (await client.status())["queued"] == 2
        with pytest.raises(Refused) as caught:
            await client.query("m-9")
        assert (caught.value.code, caught.value.field) == ("unknown_message", "message_id")
        binary = await client.submit_one({"to": TO, "data": b"\0\xff"})
        assert node.messages[binary.message_id][1].data == b"\0\xff"


@BOTH
async def test_the_road_without_an_event_loop(path: Path, spelling: Any) -> None:
    node = fake.FakeNode()

    def road() -> None:
        with SyncClient(path, spelling=spelling) as client:
            answer = client.submit(
                [{"to": TO, "text": "届け", "from": "0032069000"}, message(7), {"to": "090"}]
            )
            assert answer.accepted == [Accepted(None, "m-1", 1), Accepted("order-7", "m-2", 1)]
            assert [(refusal.index, refusal.code) for refusal in answer.refused] == [(2, "invalid_number")]
            assert client.submit_one(message(7)).duplicate
            with pytest.raises(Refused, match="nobody goes there"):
                client.submit_one(message(8, "refuse"))
            assert (client.query("m-1"))["accepted"] == 5
            assert client.cancel("m-1") == {"cancelled": True, "state": "cancelled"}
            assert client.status()["queued"] == 2
            with pytest.raises(Refused, match="unknown_message"):
                client.query("m-9")
            answer = client.submit_many([message(n) for n in range(1000)], chunk_messages=20)
            assert [accepted.ref for accepted in answer.accepted] == [f"order-{n}" for n in range(1000)]

    async with served(path, node):
        await anyio.to_thread.run_sync(road)
    assert node.peak_in_hand <= LIMITS.credit_messages


@BOTH
async def test_submit_many_keeps_the_credit_and_the_order(path: Path, spelling: Any) -> None:
    node = fake.FakeNode()
    node.turns = 30
    messages = [message(n, "refuse" if n % 100 == 7 else "x") for n in range(1000)]
    async with served(path, node), Client(path, spelling=spelling) as client:
        answer = await client.submit_many(messages, chunk_messages=20)
    assert [refusal.index for refusal in answer.refused] == list(range(7, 1000, 100))
    assert [accepted.ref for accepted in answer.accepted] == [
        f"order-{n}" for n in range(1000) if n % 100 != 7
    ]
    assert 20 < node.peak_in_hand <= LIMITS.credit_messages
    outcomes = answer.outcomes()
    assert [outcome.ref for outcome in outcomes] == [f"order-{n}" for n in range(1000)]


async def test_submit_many_cuts_frames_to_the_node_s_limit(path: Path) -> None:
    node = fake.FakeNode()
    async with served(path, node), Client(path) as client:
        answer = await client.submit_many([message(n, "x" * 5000) for n in range(10)])
        assert len(answer.accepted) == 10
        some = [message(10), message(11, "x" * 21_000), message(12, "\ud800"), message(13), message(14, "")]
        answer = await client.submit_many(some)
        assert [accepted.ref for accepted in answer.accepted] == ["order-10", "order-13"]
        assert [(refusal.index, refusal.code) for refusal in answer.refused] == [
            (1, "frame_too_long"),
            (2, "invalid_text"),
            (4, "empty"),
        ]
        with pytest.raises(Refused, match="frame_too_long"):
            await client.submit([message(n, "x" * 5000) for n in range(10)])
        with pytest.raises(Refused, match="too_many"):
            await client.submit([message(n) for n in range(51)])
        with pytest.raises(Refused, match="not valid Unicode"):
            await client.submit([message(1, "\ud800")])
        assert (await client.status())["queued"] == 12


async def test_the_fast_path(path: Path) -> None:
    node = fake.FakeNode()
    node.gate = anyio.Event()
    done: list[Pending] = []
    async with served(path, node), Client(path) as client:
        with pytest.raises(NodeAway):
            client.submit_frame([message(0)])
        assert (await client.connect()).credit_messages == 50
        pending = [client.submit_frame([message(n)] * 25, done.append) for n in range(2)]
        assert client.in_flight_messages == 50
        with pytest.raises(OverCredit):
            client.submit_frame([message(3)])
        with anyio.move_on_after(0.05) as waited:
            await client.room(1)
        assert waited.cancelled_caught
        node.gate.set()
        await client.room(50)
        assert client.in_flight_messages == 0
        assert all(each.done for each in pending)
        assert done == pending
        assert [len((await each).accepted) for each in pending] == [25, 25]
        assert pending[0].result().accepted[1].duplicate


async def test_many_waits_for_room_at_once(path: Path) -> None:
    node = fake.FakeNode()
    async with served(path, node), Client(path) as client, anyio.create_task_group() as tasks:
        for n in range(40):
            tasks.start_soon(client.submit, [message(n)] * 20)
    assert sum(map(len, node.calls)) == 800
    assert node.peak_in_hand <= 50


async def read(client: Client, count: int, **how: Any) -> list[str]:
    """The cursors of the next events."""
    cursors: list[str] = []
    with anyio.fail_after(5):
        async with client.subscribe(**how) as events:
            async for event in events:
                cursors.append(event.cursor)
                if len(cursors) == count:
                    if not how.get("auto_ack"):
                        await events.ack(event.cursor)
                    return cursors
    raise AssertionError


@BOTH
async def test_subscribe_and_acknowledge(path: Path, spelling: Any) -> None:
    node = fake.FakeNode()
    node.tell(*[fake.report(n) for n in range(1, 2001)])
    async with served(path, node), Client(path, spelling=spelling) as client:
        assert await read(client, 3) == ["c-1", "c-2", "c-3"]
        assert await read(client, 2000 - 3) == [f"c-{n}" for n in range(4, 2001)]
        node.tell(fake.report(2001), fake.report(2002))
        assert await read(client, 2, auto_ack=True) == ["c-2001", "c-2002"]
        await client.ack("c-2001")
        assert await read(client, 1) == ["c-2002"]
        with pytest.raises(Refused, match="bad_cursor"):
            await client.ack("nonsense")


async def test_automatic_acknowledgement_follows_the_reader(path: Path) -> None:
    node = fake.FakeNode()
    node.tell(fake.report(1), fake.report(2))
    async with served(path, node), Client(path) as client, client.subscribe(auto_ack=True) as events:
        assert [event.cursor for event in await events.receive()] == ["c-1", "c-2"]
        assert node.acked == []
        node.tell(fake.report(3))
        assert [event.cursor for event in await events.receive()] == ["c-3"]
        await fake.until(lambda: node.acked == ["c-2"])


async def test_a_subscription_is_resumed_after_the_node_was_away(path: Path) -> None:
    node = fake.FakeNode()
    node.tell(fake.report(1), fake.report(2))
    async with Client(path) as client:
        with pytest.raises(NodeAway, match="no node at"):
            await client.status()
        async with served(path, node):
            events = client.subscribe()
            await events.__aenter__()
            with anyio.fail_after(5):
                assert [event.cursor for event in await events.receive()] == ["c-1", "c-2"]
                await events.ack("c-1")
                await fake.until(lambda: node.acked == ["c-1"])
        async with anyio.create_task_group() as tasks:
            told: list[str] = []

            async def listen() -> None:
                told.extend(event.cursor for event in await events.receive())

            tasks.start_soon(listen)
            await anyio.sleep(0.02)
            async with served(path, node):
                await fake.until(lambda: told)
                assert told == ["c-2"]
                await events.__aexit__(None, None, None)


async def test_without_reconnect_the_loss_is_told(path: Path) -> None:
    node = fake.FakeNode()
    async with Client(path) as client:
        async with served(path, node):
            events = client.subscribe(reconnect=False)
            await events.__aenter__()
            node.tell(fake.report(1))
            await events.receive()
        with pytest.raises(NodeAway):
            await events.receive()
        await events.__aexit__(None, None, None)


async def test_one_subscription_an_app(path: Path) -> None:
    node = fake.FakeNode()
    async with served(path, node) as intake, Client(path) as client, client.subscribe():
        await fake.until(lambda: intake.statistics().subscribed)
        async with Client(path) as second, second.subscribe(takeover_s=0) as events:
            with pytest.raises(Refused, match="already_subscribed"):
                await events.receive()
        async with Client(path) as third:
            with pytest.raises(Refused, match="already_subscribed"):
                await third.wait_for_report("m-1", timeout_s=5)
    # A subscription that ended is taken over, without the app minding how quick it was.
    node.tell(fake.report(1))
    async with served(path, node), Client(path) as client:
        for _ in range(10):
            async with client.subscribe() as events:
                assert await events.receive()


async def test_waiting_for_reports(path: Path) -> None:
    node = fake.FakeNode()
    node.auto_report = True
    async with served(path, node), Client(path) as client:
        report = await client.submit_and_wait(message(1), timeout_s=5)
        assert (report.ref, report.state) == ("order-1", "delivered")
        reports: list[Report] = []

        async def wait(n: int) -> None:
            reports.append(await client.submit_and_wait(message(n), timeout_s=5))

        async with anyio.create_task_group() as tasks:
            for n in range(2, 20):
                tasks.start_soon(wait, n)
        assert sorted(str(each.ref) for each in reports) == sorted(f"order-{n}" for n in range(2, 20))
        # One that came before it was asked for, by its ref.
        assert (await client.wait_for_report(ref="order-5", timeout_s=5)).ref == "order-5"
        with pytest.raises(TimeoutError):
            await client.wait_for_report("m-99", timeout_s=0.02)
        with pytest.raises(ValueError, match="message_id or a ref"):
            await client.wait_for_report()
        await fake.until(lambda: node.acked[-1:] == ["c-19"])


async def test_an_open_subscription_finds_the_reports_waited_for(path: Path) -> None:
    node = fake.FakeNode()
    node.auto_report = True
    async with served(path, node), Client(path) as client:
        await client.submit_and_wait(message(1), timeout_s=5)
        async with anyio.create_task_group() as tasks, client.subscribe(auto_ack=True) as events:

            async def listen() -> None:
                async for event in events:
                    heard.append(event.cursor)  # noqa: PERF401  looked at meanwhile

            heard: list[str] = []
            tasks.start_soon(listen)
            assert (await client.submit_and_wait(message(2), timeout_s=5)).ref == "order-2"
            await fake.until(lambda: "c-2" in heard)
            tasks.cancel_scope.cancel()


async def test_waiting_for_reports_without_an_event_loop(path: Path) -> None:
    node = fake.FakeNode()
    node.auto_report = True

    def road() -> None:
        with SyncClient(path) as client:
            assert client.submit_and_wait(message(1), timeout_s=5).ref == "order-1"
            client.submit_many([message(n) for n in range(2, 9)])
            assert client.wait_for_report(ref="order-8", timeout_s=5).message_id == "m-8"
            assert client.wait_for_report("m-3", timeout_s=5).ref == "order-3"
            with pytest.raises(TimeoutError):
                client.wait_for_report("m-99", timeout_s=0.02)
            client.submit_one(message(9))
            with client.subscribe(auto_ack=True) as events:
                assert [event.cursor for event in events.receive(5)] == ["c-9"]
            with client.subscribe() as events:
                for event in events:
                    assert event.cursor == "c-9"
                    events.ack(event.cursor)
                    break
            with client.subscribe() as events, pytest.raises(TimeoutError):
                events.receive(0.05)

    async with served(path, node):
        await anyio.to_thread.run_sync(road)


async def test_a_node_that_goes_away(path: Path) -> None:
    node = fake.FakeNode()
    node.gate = anyio.Event()
    async with Client(path, answer_timeout_s=5) as client:
        async with served(path, node):
            await client.connect()
            pending = client.submit_frame([message(1)])
            await fake.until(lambda: node.in_hand)
        with pytest.raises(NodeAway, match="outcome is unknown"):
            await pending
        with pytest.raises(NodeAway, match="no node at"):
            await client.submit([message(1)])
        node.gate = None
        async with served(path, node):
            assert (await client.submit_one(message(1))).message_id == "m-1"


async def test_a_node_that_does_not_answer(path: Path) -> None:
    node = fake.FakeNode()
    node.gate = anyio.Event()

    def sync() -> None:
        with SyncClient(path, answer_timeout_s=0.05) as client, pytest.raises(TimeoutError):
            client.submit([message(1)])

    async with served(path, node), Client(path, answer_timeout_s=0.05) as client:
        with pytest.raises(TimeoutError):
            await client.submit([message(1)])
        await anyio.to_thread.run_sync(sync)


@BOTH
async def test_a_caller_that_is_no_app(path: Path, spelling: Any) -> None:
    def sync() -> None:
        with SyncClient(path, spelling=spelling) as client, pytest.raises(Refused, match="unknown_app"):
            client.status()

    async with served(path, fake.FakeNode(), {os.getuid() + 1: "other"}):
        async with Client(path, spelling=spelling) as client:
            with pytest.raises(Refused, match="unknown_app"):
                await client.status()
            with pytest.raises(Refused, match="unknown_app"):
                async with client.subscribe() as events:
                    await events.receive()
        await anyio.to_thread.run_sync(sync)


async def test_an_error_comes_out_as_it_is(path: Path) -> None:
    async with served(path, fake.FakeNode()):
        # No group: who uses a client need not know of its tasks.
        with pytest.raises(ZeroDivisionError):  # noqa: PT012  it comes out of the client
            async with Client(path) as client:
                await client.status()
                raise ZeroDivisionError


def speak(path: Path, answer: Callable[[socket.socket], None]) -> threading.Thread:
    """A server of one connection that says what it is told to."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.fspath(path))
    listener.listen()

    def serve() -> None:
        with listener, listener.accept()[0] as caller:
            answer(caller)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


NONSENSE = [b"\0\0\0\1\xc1", b"\xff\xff\xff\xff", b"\0\0\0\1\x05", b"HTTP/1.1 400 Bad Request\r\n\r\n"]


@pytest.mark.parametrize("anyio_backend", [("asyncio", {})])
@pytest.mark.parametrize("nonsense", NONSENSE)
async def test_what_is_no_node_is_a_typed_error(path: Path, nonsense: bytes) -> None:
    thread = speak(path, lambda caller: (caller.recv(9), caller.sendall(nonsense), caller.recv(9999))[0])
    async with Client(path, answer_timeout_s=5) as client:
        with pytest.raises(ProtocolViolation):
            await client.status()
    await anyio.to_thread.run_sync(thread.join)


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_what_is_no_node_is_a_typed_error_without_an_event_loop(path: Path, nonsense: bytes) -> None:
    thread = speak(path, lambda caller: (caller.recv(9), caller.sendall(nonsense))[0])
    with SyncClient(path, answer_timeout_s=5) as client, pytest.raises(ProtocolViolation):
        client.status()
    thread.join()


def test_without_a_node(path: Path) -> None:
    with SyncClient(path) as client, pytest.raises(NodeAway, match="no node at"):
        client.submit([message(1)])


@given(st.binary(max_size=100), st.sampled_from(["json", "msgpack"]))
def test_garbage_from_a_node_is_a_typed_error(data: bytes, spelling: Any) -> None:
    for octets in (data, len(data).to_bytes(4, "big") + data, b"{" + data + b"}\n"):
        with suppress(ClientError):
            Wire(spelling).receive_data(octets)


def test_what_a_wire_tells_apart() -> None:
    wire = Wire("msgpack")
    data = b"".join(
        encode("msgpack", body)
        for body in [
            {"id": 1, "accepted": [], "refused": []},
            {"id": 2, "message_id": "m", "error": {"class": "permanent"}},
            {"id": 3, "error": {"field": None, "code": "unknown_op", "detail": "d", "retry_after_s": 2.0}},
            {"id": 4, "accepted": 12, "refused": 3, "events": 4},
            {"events": [fake.report(1), fake.report(2)]},
            {"error": {"field": None, "code": "bad_frame", "detail": "d"}},
        ]
    )
    answers, events = wire.receive_data(data)
    assert [event.message_id for event in events if isinstance(event, Report)] == ["m-1", "m-2"]
    assert answers[0] == (1, SubmitAnswer([], []))
    assert answers[1] == (2, {"message_id": "m", "error": {"class": "permanent"}})
    assert isinstance(answers[2][1], Refused)
    assert answers[2][1].retry_after_s == 2.0
    assert answers[3] == (4, {"accepted": 12, "refused": 3, "events": 4})
    assert answers[4][0] is None
    assert isinstance(answers[4][1], Refused)


@given(st.integers(0, 50), st.integers(1, 12), st.integers(1, 12), st.sets(st.integers(0, 49), max_size=5))
def test_chunks_hold_every_message_once(count: int, chunk: int, fits: int, never: set[int]) -> None:
    def submit(some: Any) -> list[SubmitMessage]:
        if len(some) > fits or any(message.text == "never" for message in some):
            raise Refused("frame_too_long")
        return list(some)

    messages = [message(n, "never" if n in never else "x") for n in range(count)]
    chunks = Chunks(messages, chunk)
    sent: list[SubmitMessage] = []
    while chunks.left:
        chunk = chunks.submit_next(submit)
        if chunk is not None:
            first, size, some = chunk
            assert first == messages.index(some[0])
            assert size == len(some)
            sent += some
            chunks.add(first, SubmitAnswer([], [Refusal(n, None, None, "x", "") for n in range(size)]))
    assert sent == [message for message in messages if message.text != "never"]
    assert [refusal.index for refusal in chunks.answer().refused] == list(range(count))


def test_reports_that_nobody_fetches_are_limited() -> None:
    reports = Reports(kept_max=3)
    for n in range(10):
        reports.add(fake.report(n, ref=f"r-{n}"))
    assert [reports.find(f"m-{n}", None) is not None for n in range(10)] == [False] * 7 + [True] * 3
    assert [reports.find(None, f"r-{n}") is not None for n in range(10)] == [False] * 7 + [True] * 3
    assert len(reports._id_of_ref) == 3


def test_messages_encode_as_section_7_says() -> None:
    id_, frame = Wire("json").submit([SubmitMessage("+81", "x", "s", "r")])
    assert msgspec.json.decode(frame) == {
        "op": "submit",
        "id": id_,
        "messages": [{"to": "+81", "text": "x", "from": "s", "ref": "r"}],
    }
