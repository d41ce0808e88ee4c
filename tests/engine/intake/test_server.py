# ruff: noqa: ASYNC240  files of a test are looked at where it stands
"""The real socket: both spellings of the same conversations, who may call, what hostile bytes do."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import anyio.abc
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from todoke.engine.intake.errors import SocketError
from todoke.engine.intake.frames import FrameBuffer, Spelling
from todoke.engine.intake.limits import FRAME_OCTETS_LIMIT, Limits
from todoke.engine.intake.server import Intake, serve

pytestmark = pytest.mark.anyio

LIMITS = Limits(
    credit_messages=100,
    frame_octets_max=4096,
    connections_max=4,
    first_octet_s=0.2,
    close_s=0.2,
    linger_s=0.2,
)
BOTH = pytest.mark.parametrize("spelling", ["json", "msgpack"])
APPS = {os.getuid(): "billing"}


class Caller:
    """An app that writes frames by hand, a few octets at a time if told so."""

    def __init__(self, stream: anyio.abc.SocketStream, spelling: Spelling, octets: int = 1 << 20) -> None:
        self.stream = stream
        self.spelling: Spelling = spelling
        self._octets = octets
        self._buffer = FrameBuffer(FRAME_OCTETS_LIMIT, spelling)
        self._heard: list[Any] = []

    def spell(self, body: Any) -> bytes:
        if self.spelling == "json":
            return msgspec.json.encode(body) + b"\n"
        packed = msgspec.msgpack.encode(body)
        return len(packed).to_bytes(4, "big") + packed

    async def say(self, *bodies: Any) -> None:
        await self.write(b"".join(map(self.spell, bodies)))

    async def write(self, data: bytes) -> None:
        for start in range(0, len(data), self._octets):
            await self.stream.send(data[start : start + self._octets])

    async def hear(self) -> Any:
        """The next object; events that come many to a frame are given one by one, as in JSON."""
        with anyio.fail_after(5):
            while not self._heard:
                for frame in self._buffer.receive_data(await self.stream.receive()):
                    body: Any = (msgspec.json if self.spelling == "json" else msgspec.msgpack).decode(frame)
                    self._heard += body.get("events", [body])
        return self._heard.pop(0)

    async def hear_end(self) -> None:
        with pytest.raises(anyio.EndOfStream):
            await self.hear()


@asynccontextmanager
async def served(path: Path, node: Any, limits: Limits = LIMITS, apps: Any = APPS) -> AsyncIterator[Intake]:
    intake = Intake(node, limits, wall=lambda: 1_795_224_600.0)
    async with anyio.create_task_group() as tasks:
        await tasks.start(lambda *, task_status: intake.serve(path, apps, task_status=task_status))
        yield intake
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def calling(path: Path, spelling: Spelling = "json", octets: int = 1 << 20) -> AsyncIterator[Caller]:
    async with await anyio.connect_unix(path) as stream:
        yield Caller(stream, spelling, octets)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "todoke.sock"


def refused(index: int, field: str, code: str, ref: str | None = None) -> dict[str, Any]:
    return {"index": index, "ref": ref, "field": field, "code": code, "retry_after_s": None}


TO = "+819012345678"
REPORT = {
    "event": "report",
    "cursor": "c-1",
    "message_id": "m-1",
    "ref": "order-7",
    "state": "delivered",
    "carrier": "docomo",
    "parts": 1,
    "delivered_parts": 1,
    "possibly_doubled": False,
    "error": None,
    "at": "2026-11-21T10:00:00Z",
}
ORDER = {"to": TO, "text": "x", "ref": "order-7", "from": "0032069000"}

CONVERSATIONS: dict[str, list[tuple[Any, list[Any]]]] = {
    "hello": [
        ({"op": "hello"}, [{"version": 1, "credit_messages": 100, "frame_octets_max": 4096}]),
        (
            {"op": "hello", "id": "a"},
            [{"id": "a", "version": 1, "credit_messages": 100, "frame_octets_max": 4096}],
        ),
    ],
    "submit": [
        (
            {"op": "submit", "id": 1, "messages": [ORDER, {"to": "819012345679", "text": "届け"}]},
            [
                {
                    "id": 1,
                    "accepted": [
                        {"ref": "order-7", "message_id": "m-1", "parts": 1},
                        {"ref": None, "message_id": "m-2", "parts": 1},
                    ],
                    "refused": [],
                }
            ],
        ),
        (
            {"op": "submit", "id": 2, "messages": [ORDER]},
            [
                {
                    "id": 2,
                    "accepted": [{"ref": "order-7", "message_id": "m-1", "parts": 1, "duplicate": True}],
                    "refused": [],
                }
            ],
        ),
        ({"op": "submit", "messages": []}, [{"accepted": [], "refused": []}]),
    ],
    "refused alone": [
        (
            {
                "op": "submit",
                "id": 1,
                "messages": [
                    {"to": "09012345678", "text": "x", "ref": "r"},
                    {"to": TO, "text": "x"},
                    {"to": TO, "text": "nul\0"},
                    {"to": TO, "txet": "x"},
                    {"to": TO, "text": "refuse"},
                    {"to": TO, "text": "x", "expires": "2026-11-21T01:00:00Z"},
                    {"to": TO, "text": "x"},
                ],
            },
            [
                {
                    "id": 1,
                    "accepted": [
                        {"ref": None, "message_id": "m-1", "parts": 1},
                        {"ref": None, "message_id": "m-2", "parts": 1},
                    ],
                    "refused": [
                        refused(0, "to", "invalid_number", "r"),
                        refused(2, "text", "invalid_text"),
                        refused(3, "txet", "unknown_key"),
                        refused(4, "to", "no_route"),
                        refused(5, "expires", "expired"),
                    ],
                }
            ],
        ),
    ],
    "events": [
        (
            {"op": "submit", "id": 1, "messages": [ORDER]},
            [{"id": 1, "accepted": [{"ref": "order-7", "message_id": "m-1", "parts": 1}], "refused": []}],
        ),
        ({"op": "subscribe", "id": 2}, [REPORT]),
        ({"op": "ack", "cursor": "c-1"}, []),
        ({"op": "ack", "cursor": "c-2"}, [{"error": {"field": "cursor", "code": "bad_cursor"}}]),
        ({"op": "subscribe", "id": 3}, [{"id": 3, "error": {"field": None, "code": "already_subscribed"}}]),
    ],
    "query and cancel": [
        (
            {"op": "submit", "id": 1, "messages": [ORDER]},
            [{"id": 1, "accepted": [{"ref": "order-7", "message_id": "m-1", "parts": 1}], "refused": []}],
        ),
        (
            {"op": "query", "id": 2, "message_id": "m-1"},
            [{"id": 2, "message_id": "m-1", "state": "queued", "error": None, "accepted": 5}],
        ),
        (
            {"op": "cancel", "id": 3, "message_id": "m-1"},
            [{"id": 3, "cancelled": True, "state": "cancelled"}],
        ),
        (
            {"op": "query", "id": 4, "message_id": "m-9"},
            [{"id": 4, "error": {"field": "message_id", "code": "unknown_message"}}],
        ),
        (
            {"op": "cancel", "message_id": "m-9"},
            [{"error": {"field": "message_id", "code": "unknown_message"}}],
        ),
        ({"op": "status", "id": 5}, [{"id": 5, "queued": 1, "error": {"class": "none"}}]),
    ],
    "bad requests": [
        ({"id": 1}, [{"id": 1, "error": {"field": "op", "code": "missing"}}]),
        ({"id": 1, "op": "sumbit"}, [{"id": 1, "error": {"field": "op", "code": "unknown_op"}}]),
        ({"id": 1, "op": "hello", "x": 1}, [{"id": 1, "error": {"field": "x", "code": "unknown_key"}}]),
        ({"id": 1, "op": "submit"}, [{"id": 1, "error": {"field": "messages", "code": "missing"}}]),
        (
            {"id": 1, "op": "submit", "messages": [{}] * 101},
            [{"id": 1, "error": {"field": "messages", "code": "too_many"}}],
        ),
        ({"op": "hello"}, [{"version": 1, "credit_messages": 100, "frame_octets_max": 4096}]),
    ],
}


def without_details(body: Any) -> Any:
    """Details are for people; they are only there."""
    for each in [*body.get("refused", []), *([body["error"]] if "code" in (body.get("error") or {}) else [])]:
        assert each.pop("detail")
    return body


@BOTH
@pytest.mark.parametrize("octets", [1, 1 << 20])
@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_conversations(
    path: Path, fake: ModuleType, name: str, spelling: Spelling, octets: int
) -> None:
    node = fake.FakeNode()
    node.auto_report = True
    async with served(path, node), calling(path, spelling, octets) as caller:
        for said, heard in CONVERSATIONS[name]:
            if name == "events" and said["op"] == "subscribe":
                node._events[0][1].ref = "order-7"
            await caller.say(said)
            assert [without_details(await caller.hear()) for _ in heard] == heard
        await caller.stream.send_eof()
        await caller.hear_end()


BAD_FRAMES = [
    ("json", b"{nonsense\n", "bad_frame"),
    ("json", b'{"op":"hello"}x\n', "bad_frame"),
    ("json", b"{" + b"x" * 5000, "frame_too_long"),
    ("msgpack", b"\0\0\x10\1", "frame_too_long"),
    ("msgpack", b"\xff\xff\xff\xff", "frame_too_long"),
    ("msgpack", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "frame_too_long"),
    ("msgpack", b"hello\n", "frame_too_long"),
    ("msgpack", b"[1]\n", "frame_too_long"),
    ("msgpack", b"\0\0\0\0", "bad_frame"),
    ("msgpack", b"\0\0\0\4\xff\xff\xff\xff", "bad_frame"),
    ("msgpack", b"\0\0\0\3abc", "bad_frame"),
]


@pytest.mark.parametrize("octets", [1, 1 << 20])
@pytest.mark.parametrize(("spelling", "data", "code"), BAD_FRAMES, ids=lambda value: ascii(value)[:30])
async def test_a_bad_frame_closes_only_its_connection(
    path: Path, fake: ModuleType, spelling: Spelling, data: bytes, code: str, octets: int
) -> None:
    node = fake.FakeNode()
    async with served(path, node), calling(path) as other, calling(path, spelling, octets) as caller:
        await caller.write(data)
        last = await caller.hear()
        assert list(last) == ["error"]
        assert last["error"]["code"] == code
        assert last["error"]["detail"]
        await caller.hear_end()
        await other.say({"op": "status"})
        assert (await other.hear())["queued"] == 0


async def test_a_frame_over_the_limit_can_be_written_whole_and_its_error_read(
    path: Path, fake: ModuleType
) -> None:
    # The caller is in the middle of writing far more than the socket holds; it must not die of EPIPE first.
    async with served(path, fake.FakeNode()), calling(path, "msgpack") as caller:
        await caller.write((2_000_000).to_bytes(4, "big") + b"x" * 2_000_000)
        assert (await caller.hear())["error"]["code"] == "frame_too_long"


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=4))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_garbage_never_hurts_the_server(tmp_path: Path, fake: ModuleType, chunks: list[bytes]) -> None:
    async def main() -> None:
        path = tmp_path / "s"
        async with served(path, fake.FakeNode()), calling(path) as other:
            async with await anyio.connect_unix(path) as stream:
                try:
                    for chunk in chunks:
                        await stream.send(chunk)
                    await stream.send_eof()
                    with anyio.fail_after(5):
                        while True:
                            await stream.receive()
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    pass
            await other.say({"op": "status"})
            assert (await other.hear())["queued"] == 0

    anyio.run(main, backend="asyncio")


async def test_a_line_for_nc(path: Path, fake: ModuleType) -> None:
    """What a person types, or pipes: white space before it, no line feed at the end, the input closed."""
    async with served(path, fake.FakeNode()), calling(path) as caller:
        await caller.write(b'\r\n  \n{"op":"hello","id":1}\r\n\n {"op": "status", "id": 2}')
        await caller.stream.send_eof()
        assert {(await caller.hear())["id"], (await caller.hear())["id"]} == {1, 2}
        await caller.hear_end()


async def test_modes_and_tidy_end(path: Path, fake: ModuleType) -> None:
    async with served(path, fake.FakeNode()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750
    assert not path.exists()
    async with served(path, fake.FakeNode()):
        assert path.exists()


async def test_an_unknown_uid_is_turned_away_in_its_spelling(path: Path, fake: ModuleType) -> None:
    async with served(path, fake.FakeNode(), apps={os.getuid() + 1: "other"}) as intake:
        for spelling in ("json", "msgpack"):
            async with calling(path, spelling) as caller:
                await caller.say({"op": "status"})
                assert (await caller.hear())["error"]["code"] == "unknown_app"
                await caller.hear_end()
        async with calling(path) as silent:
            assert (await silent.hear())["error"]["code"] == "unknown_app"
        assert intake.statistics().refused_connections == 3


async def test_without_apps_the_server_s_own_uid_is_the_app(path: Path, fake: ModuleType) -> None:
    node = fake.FakeNode()
    async with served(path, node, apps=None), calling(path) as caller:
        await caller.say({"op": "submit", "messages": [{"to": TO, "text": "x"}]})
        await caller.hear()
        assert node.messages["m-1"][0] == "default"


async def test_connections_are_limited(path: Path, fake: ModuleType) -> None:
    async with served(path, fake.FakeNode()) as intake:
        async with calling(path) as first, calling(path), calling(path), calling(path):
            await fake.until(lambda: intake.statistics().connections == 4)
            async with calling(path) as fifth:
                await fifth.say({"op": "status"})
                assert (await fifth.hear())["error"]["code"] == "too_many_connections"
            await first.say({"op": "status"})
            assert (await first.hear())["queued"] == 0
        await fake.until(lambda: not intake.statistics().connections)
        async with calling(path) as again:
            await again.say({"op": "status"})
            assert (await again.hear())["queued"] == 0


async def test_a_stale_socket_is_replaced_and_a_live_one_is_not(path: Path, fake: ModuleType) -> None:
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(path))
    async with served(path, fake.FakeNode()), calling(path) as caller:
        with pytest.raises(SocketError, match="another server"):
            await serve(path, fake.FakeNode())
        await caller.say({"op": "status"})
        assert (await caller.hear())["queued"] == 0


async def test_what_is_no_socket_is_left_alone(path: Path, fake: ModuleType) -> None:
    path.parent.mkdir()
    path.write_text("precious")
    with pytest.raises(SocketError, match="no socket"):
        await serve(path, fake.FakeNode())
    assert path.read_text() == "precious"
    with pytest.raises(SocketError, match="107 octets"):
        await serve(path.with_name("x" * 120), fake.FakeNode())
    with pytest.raises(SocketError, match=r"todoke\.sock/s"):
        await serve(path / "s", fake.FakeNode())


async def test_a_successor_s_socket_is_not_removed(path: Path, fake: ModuleType) -> None:
    async with served(path, fake.FakeNode()):
        path.unlink()
        path.write_text("a successor's")
    assert path.read_text() == "a successor's"


async def test_a_subscriber_that_is_killed_makes_room_for_the_next(path: Path, fake: ModuleType) -> None:
    script = (
        "import socket,sys;s=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1]);"
        'print(s.send(b\'{"op":"subscribe"}\\n{"op":"status"}\\n\'),s.recv(9)[:1],flush=True);sys.stdin.read()'
    )
    async with served(path, fake.FakeNode()) as intake:
        async with await anyio.open_process(
            [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            with anyio.fail_after(20):
                await process.stdout.receive()
            assert intake.statistics().subscribed == ("billing",)
            process.kill()
        await fake.until(lambda: not intake.statistics().subscribed)


@pytest.mark.parametrize(
    "wrong",
    [{"frame_octets_max": 1 << 24}, {"frame_octets_max": 10}, {"credit_messages": 0}, {"close_s": -1.0}],
)
def test_limits_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Limits(**wrong)
