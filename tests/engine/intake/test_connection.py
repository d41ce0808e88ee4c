"""One connection over memory streams: credit, answers out of order, events, ends. On both event loops."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from anyio.streams.stapled import StapledObjectStream
from todoke.engine.intake.limits import Limits
from todoke.engine.intake.server import Intake, handle_connection

pytestmark = pytest.mark.anyio

LIMITS = Limits(credit_messages=10, frame_octets_max=10_000, close_s=0.2, linger_s=0.2)


class Caller:
    """The app's end of a connection: JSON lines over memory streams."""

    def __init__(self, send: ObjectSendStream[bytes], receive: ObjectReceiveStream[bytes]) -> None:
        self.send = send
        self.receive = receive
        self._rest = b""
        self._lines: list[bytes] = []

    async def say(self, *bodies: Any) -> None:
        await self.send.send(b"".join(msgspec.json.encode(body) + b"\n" for body in bodies))

    async def hear(self) -> Any:
        with anyio.fail_after(5):
            while not self._lines:
                *lines, self._rest = (self._rest + await self.receive.receive()).split(b"\n")
                self._lines += lines
        return msgspec.json.decode(self._lines.pop(0))

    async def hear_end(self) -> None:
        with pytest.raises(anyio.EndOfStream):
            await self.hear()


@asynccontextmanager
async def connected(
    node: Any, limits: Limits = LIMITS, *, intake: Intake | None = None, buffered: float = math.inf
) -> AsyncIterator[Caller]:
    """A served connection; at the end the caller hangs up and the server is done by itself."""
    to_server, server_hears = anyio.create_memory_object_stream[bytes](buffered)
    to_app, app_hears = anyio.create_memory_object_stream[bytes](buffered)
    stream = StapledObjectStream(to_app, server_hears)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks, to_server, app_hears:
            intake = intake or Intake(node, limits, wall=lambda: 0.0)
            tasks.start_soon(intake.handle_connection, stream, "billing")
            yield Caller(to_server, app_hears)
            await to_server.aclose()


def submit(id_: int, count: int, text: str = "x") -> dict[str, Any]:
    return {"op": "submit", "id": id_, "messages": [{"to": "+819012345678", "text": text}] * count}


async def settle() -> None:
    for _ in range(30):
        await anyio.lowlevel.checkpoint()


async def test_requests_are_answered_when_ready(fake: ModuleType) -> None:
    node = fake.FakeNode()
    node.gate = anyio.Event()
    async with connected(node) as caller:
        await caller.say(submit(1, 2), {"op": "status", "id": 2})
        assert (await caller.hear())["id"] == 2
        node.gate.set()
        answer = await caller.hear()
        assert (answer["id"], len(answer["accepted"])) == (1, 2)


async def test_submits_that_come_together_are_one_call(fake: ModuleType) -> None:
    node = fake.FakeNode()
    async with connected(node) as caller:
        await caller.say(submit(1, 2), submit(2, 1, "refuse"), submit(3, 0), submit(4, 1))
        answers = [await caller.hear() for _ in range(4)]
    assert len(node.calls) == 1
    assert [(each["id"], len(each["accepted"]), len(each["refused"])) for each in answers] == [
        (1, 2, 0),
        (2, 0, 1),
        (3, 0, 0),
        (4, 1, 0),
    ]
    assert answers[1]["refused"][0]["index"] == 0


async def test_answers_are_written_together(fake: ModuleType) -> None:
    node = fake.FakeNode()
    node.gate = anyio.Event()
    async with connected(node) as caller:
        for id_ in range(5):
            await caller.say(submit(id_, 1))
            await settle()
        assert len(node.calls) == 5
        node.gate.set()
        assert (await caller.receive.receive()).count(b"\n") == 5


async def test_over_its_credit_a_connection_is_not_read(fake: ModuleType) -> None:
    node = fake.FakeNode()
    node.gate = anyio.Event()
    async with connected(node) as caller:
        for id_ in range(20):
            await caller.say(submit(id_, 4))
        await settle()
        # 4 and 8 are within the credit of 10; with 12 the connection is over it, and not read any further.
        assert node.in_hand == 12
        assert caller.send.statistics().current_buffer_used > 10  # type: ignore[attr-defined]  # a stream in memory
        node.gate.set()
        assert {(await caller.hear())["id"] for _ in range(20)} == set(range(20))
    assert node.peak_in_hand == 12


async def test_credit_holds_within_one_read_too(fake: ModuleType) -> None:
    node = fake.FakeNode()
    node.gate = anyio.Event()
    async with connected(node) as caller:
        await caller.say(*[submit(id_, 4) for id_ in range(20)])
        await settle()
        assert node.in_hand == 12
        node.gate.set()
        assert [(await caller.hear())["id"] for _ in range(20)] == list(range(20))


async def test_a_caller_that_does_not_read_answers_is_not_read(fake: ModuleType) -> None:
    node = fake.FakeNode()
    async with connected(node, buffered=1) as caller:
        said = 0
        with anyio.move_on_after(0.2):
            while True:
                await caller.say({"op": "nope"}, {"op": "status"}, submit(1, 1))
                said += 1
        # Neither answers nor requests are piled up: the caller is stopped after a credit's worth.
        assert said < 2 * LIMITS.credit_messages
        for _ in range(3 * said):
            await caller.hear()


async def test_the_unread_of_one_caller_do_not_hold_another(fake: ModuleType) -> None:
    node = fake.FakeNode()
    node.tell(*[fake.report(n) for n in range(1000)])
    intake = Intake(node, LIMITS)
    async with connected(node, intake=intake, buffered=1) as slow, connected(node, intake=intake) as quick:
        await slow.say({"op": "subscribe"})
        await settle()
        await quick.say(submit(1, 1))
        assert (await quick.hear())["id"] == 1


async def test_events_are_not_piled_up_for_a_slow_reader(fake: ModuleType) -> None:
    node = fake.FakeNode()
    node.tell(*[fake.report(n) for n in range(20_000)])
    async with connected(node, Limits(write_ahead_octets_max=1000), buffered=1) as caller:
        await caller.say({"op": "subscribe"})
        for _ in range(20):
            await settle()
        # What the stream holds, what is being written and what waits: one fetch each.
        assert node.fetched <= 3000
        for n in range(20_000):
            assert (await caller.hear())["cursor"] == f"c-{n + 1}"


async def test_too_many_messages_in_one_submit(fake: ModuleType) -> None:
    async with connected(fake.FakeNode()) as caller:
        await caller.say(submit(1, 11), submit(2, 10))
        answers = {answer["id"]: answer for answer in [await caller.hear(), await caller.hear()]}
    assert answers[1]["error"]["code"] == "too_many"
    assert len(answers[2]["accepted"]) == 10


async def test_a_store_that_is_away_refuses_every_message_and_says_when_to_come_back(
    fake: ModuleType,
) -> None:
    node = fake.FakeNode()
    node.away = True
    async with connected(node) as caller:
        await caller.say({**submit(1, 2), "messages": [{"to": "+819012345678", "text": "x", "ref": "r"}, {}]})
        answer = await caller.hear()
        assert answer["accepted"] == []
        assert [
            (each["index"], each["ref"], each["code"], each["retry_after_s"]) for each in answer["refused"]
        ] == [
            (0, "r", "unavailable", 2.5),
            (1, None, "missing", None),
        ]
        await caller.say({"op": "status", "id": 2})
        assert await caller.hear() == {
            "id": 2,
            "error": {
                "field": None,
                "code": "unavailable",
                "detail": "the store is away",
                "retry_after_s": 2.5,
            },
        }
        node.away = False
        await caller.say(submit(3, 1))
        assert len((await caller.hear())["accepted"]) == 1


async def test_a_fault_of_the_node_is_answered_and_logged(
    fake: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    node = fake.FakeNode()
    node.broken = True
    async with connected(node) as caller:
        await caller.say(submit(1, 1, "secret"))
        (refusal,) = (await caller.hear())["refused"]
        assert refusal["code"] == "internal"
        await caller.say({"op": "query", "id": 2, "message_id": "m"})
        assert (await caller.hear())["error"]["code"] == "internal"
    assert "broken on purpose" in caplog.text
    assert "secret" not in caplog.text
    assert "9012345678" not in caplog.text


async def test_events_are_told_from_the_acknowledged_one(fake: ModuleType) -> None:
    node = fake.FakeNode()
    node.tell(fake.report(1), fake.report(2), fake.report(3))
    async with connected(node) as caller:
        await caller.say({"op": "subscribe", "id": 1})
        assert [(await caller.hear())["cursor"] for _ in range(3)] == ["c-1", "c-2", "c-3"]
        node.tell(fake.report(4))
        assert (await caller.hear())["cursor"] == "c-4"
        await caller.say({"op": "ack", "cursor": "c-2", "id": 9})
        assert await caller.hear() == {"id": 9, "cursor": "c-2"}
    async with connected(node) as caller:
        await caller.say({"op": "subscribe", "id": 1})
        assert [(await caller.hear())["cursor"] for _ in range(2)] == ["c-3", "c-4"]


async def test_acknowledgements_that_wait_are_one(fake: ModuleType) -> None:
    node = fake.FakeNode()
    node.tell(*[fake.report(n) for n in range(1, 6)])
    async with connected(node) as caller:
        await caller.say(
            *[{"op": "ack", "cursor": f"c-{n}"} for n in range(1, 5)],
            {"op": "ack", "cursor": "c-3", "id": 1},
            {"op": "ack", "cursor": "c-99", "id": 2},
            {"op": "ack", "cursor": "nonsense"},
        )
        answers = [await caller.hear() for _ in range(3)]
        assert [answer.get("id") for answer in answers] == [None, 2, 1]
        assert [answer.get("error", {}).get("code") for answer in answers] == [
            "bad_cursor",
            "bad_cursor",
            None,
        ]
    assert node.acked == ["c-3"] or node.acked == ["c-4"] or node.acked == ["c-3", "c-4"]


async def test_one_subscription_an_app(fake: ModuleType) -> None:
    node = fake.FakeNode()
    intake = Intake(node, LIMITS)
    async with connected(node, intake=intake) as first:
        await first.say({"op": "subscribe", "id": 1}, {"op": "subscribe", "id": 2}, {"op": "status", "id": 3})
        answers = {answer["id"]: answer for answer in [await first.hear(), await first.hear()]}
        assert answers[2]["error"]["code"] == "already_subscribed"
        async with connected(node, intake=intake) as second:
            await second.say({"op": "subscribe", "id": 4})
            assert (await second.hear())["error"]["code"] == "already_subscribed"
        assert intake.statistics().subscribed == ("billing",)
    assert intake.statistics().subscribed == ()
    async with connected(node, intake=intake) as third:
        node.tell(fake.report(1))
        await third.say({"op": "subscribe"})
        assert (await third.hear())["event"] == "report"


async def test_a_caller_that_stops_reading_its_end_gives_up_its_subscription(fake: ModuleType) -> None:
    node = fake.FakeNode()
    intake = Intake(node, LIMITS)
    async with connected(node, intake=intake) as caller:
        await caller.say({"op": "subscribe"})
        await fake.until(lambda: intake.statistics().subscribed)
        await caller.receive.aclose()
        node.tell(fake.report(1))
        await fake.until(lambda: not intake.statistics().subscribed)
        await caller.say(submit(1, 1))  # what it says is heard all the same
        await fake.until(lambda: node.messages)


async def test_a_subscription_outlives_a_store_that_is_away(fake: ModuleType) -> None:
    node = fake.FakeNode()
    node.away = True
    async with connected(node) as caller:
        await caller.say({"op": "subscribe"})
        await anyio.sleep(0.03)
        node.away = False
        node.tell(fake.report(1))
        assert (await caller.hear())["cursor"] == "c-1"


async def test_a_bad_frame_is_answered_last(fake: ModuleType) -> None:
    node = fake.FakeNode()
    node.gate = anyio.Event()
    async with connected(node) as caller:
        await caller.send.send(msgspec.json.encode(submit(1, 1)) + b"\n{nonsense\n" + b'{"op":"status"}\n')
        await settle()
        node.gate.set()
        assert (await caller.hear())["id"] == 1
        last = await caller.hear()
        assert list(last) == ["error"]
        assert last["error"]["code"] == "bad_frame"
        await caller.hear_end()


async def test_the_end_of_input_waits_for_the_answers(fake: ModuleType) -> None:
    node = fake.FakeNode()
    node.gate = anyio.Event()
    async with connected(node) as caller:
        await caller.send.send(msgspec.json.encode(submit(1, 1)))  # no line feed: `printf ... | nc -N`
        await caller.send.aclose()
        await settle()
        node.gate.set()
        assert (await caller.hear())["id"] == 1
        await caller.hear_end()


async def test_a_cancelled_server_answers_what_it_has_in_hand(fake: ModuleType) -> None:
    node = fake.FakeNode()
    node.gate = anyio.Event()
    to_server, server_hears = anyio.create_memory_object_stream[bytes](9)
    to_app, app_hears = anyio.create_memory_object_stream[bytes](9)
    async with anyio.create_task_group() as tasks, to_server, app_hears:
        tasks.start_soon(
            handle_connection, StapledObjectStream(to_app, server_hears), "billing", node, LIMITS
        )
        caller = Caller(to_server, app_hears)
        await caller.say(submit(1, 1), {"op": "subscribe"})
        await settle()
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            node.gate.set()
            assert (await caller.hear())["id"] == 1
            await caller.hear_end()


async def test_a_cancelled_server_waits_no_longer_than_close_s(fake: ModuleType) -> None:
    node = fake.FakeNode()
    node.gate = anyio.Event()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks, connected(node) as caller:
            await caller.say(submit(1, 1))
            await settle()
            tasks.cancel_scope.cancel()
    assert node.in_hand == 0


async def test_a_caller_that_vanishes_loses_nothing_it_was_promised(fake: ModuleType) -> None:
    node = fake.FakeNode()
    node.gate = anyio.Event()
    intake = Intake(node, LIMITS)
    async with connected(node, intake=intake) as caller:
        await caller.say(submit(1, 1), {"op": "subscribe"})
        await settle()
        await caller.receive.aclose()
        await caller.send.aclose()
        await settle()
        assert node.in_hand == 1  # the call to the node is not torn down half way
        node.gate.set()
    assert len(node.messages) == 1
    assert intake.statistics().connections == 0
    assert intake.statistics().subscribed == ()


async def test_ids_are_echoed_as_they_came(fake: ModuleType) -> None:
    async with connected(fake.FakeNode()) as caller:
        for id_ in (0, -1, 2**63 - 1, "", "ünï", None):
            await caller.say({"op": "hello", "id": id_})
            assert await caller.hear() == {
                "id": id_,
                "version": 1,
                "credit_messages": 10,
                "frame_octets_max": 10_000,
            }
        await caller.say({"op": "hello"})
        assert "id" not in await caller.hear()


async def test_nothing_of_a_message_is_logged(fake: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with connected(fake.FakeNode()) as caller:
        await caller.say(submit(1, 2, "secret"), submit(2, 1, "secret\0"))
        await caller.hear()
        await caller.hear()
        await caller.send.send(b'{"op":"submit","messages":[{"to":"+819012345678","text":"secret"')
    assert "secret" not in caplog.text
    assert "9012345678" not in caplog.text
