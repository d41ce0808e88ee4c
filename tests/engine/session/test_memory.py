"""Streams in memory: what is put at once, and what is left for who sends."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest
from todoke.engine.session.memory import byte_stream_pair

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_put_takes_what_there_is_room_for(anyio_backend: str) -> None:
    near, far = byte_stream_pair(4)
    assert near.put(b"abcdef") == b"ef"
    assert near.put(b"ef") == b"ef"
    assert await far.receive() == b"abcd"
    assert near.put(b"ef") == b""
    assert await far.receive() == b"ef"


async def test_put_wakes_who_receives(anyio_backend: str) -> None:
    near, far = byte_stream_pair()
    received: list[bytes] = []

    async def receive() -> None:
        received.append(await far.receive())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(receive)
        await anyio.wait_all_tasks_blocked()
        near.put(b"abc")
    assert received == [b"abc"]


@pytest.mark.parametrize("how", ["cut", "lose", "eof", "close"])
async def test_what_could_not_be_sent_is_not_put(anyio_backend: str, how: str) -> None:
    near, _ = byte_stream_pair()
    if how == "cut":
        near.cut()
    elif how == "lose":
        near.lose()
    elif how == "eof":
        await near.send_eof()
    else:
        await near.aclose()
    assert near.put(b"abc") == b"abc"
    with pytest.raises((anyio.BrokenResourceError, anyio.ClosedResourceError)):
        await near.send(b"abc")


async def test_receiving_what_is_there_lets_others_run(anyio_backend: str) -> None:
    near, far = byte_stream_pair()
    turns: list[str] = []

    async def other() -> None:
        turns.append("other")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        for _ in range(3):
            near.put(b"abc")
            await far.receive()
        assert turns == ["other"]


async def test_a_frozen_stream_keeps_its_reader_waiting_until_it_is_cut(anyio_backend: str) -> None:
    near, far = byte_stream_pair()
    near.put(b"abc")
    far.freeze()
    with anyio.move_on_after(0.01) as scope:
        await far.receive()
    assert scope.cancelled_caught
    async with anyio.create_task_group() as tasks:

        async def cut() -> None:
            far.cut()

        tasks.start_soon(cut)
        with pytest.raises(anyio.BrokenResourceError):
            await far.receive()
