"""What the machine leaves out: clocks, large values, `wait`, and stages at odds. Each test runs on every
store.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import pytest
from todoke.engine.ledger.memory_store import MemoryStore
from todoke.engine.ledger.port import StoreRefused, StoreUnavailable, is_pure_read
from todoke.engine.ledger.redis_store import RedisStore

pytestmark = pytest.mark.anyio

DEADLINE_S = 10.0


@pytest.fixture(params=["redis", "memory on asyncio", "memory on trio"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def anyio_backend(kind: str) -> str:
    return "trio" if kind.endswith("trio") else "asyncio"


@pytest.fixture
async def store(kind: str, server: Any, anyio_backend: str) -> AsyncIterator[Any]:
    opening: AbstractAsyncContextManager[Any] = (
        RedisStore(server.url) if kind == "redis" else MemoryStore(rng=random.Random(0))
    )
    async with opening as opened:
        yield opened


async def test_a_watched_key_that_changed_stops_the_commit(store: Any) -> None:
    mine, other = store.stage("mine"), store.stage("other")
    await mine.commit([("SET", "k", 1)])
    assert await mine.read([("GET", "k")], watch=[b"k", b"l"]) == [b"1"]
    await other.commit([("SET", "l", 1)])
    assert await mine.commit([("SET", "k", 2)]) is None
    assert await mine.commit([("SET", "k", 3)]) == [b"OK"]
    await mine.read([], watch=[b"k"])
    await mine.unwatch()
    await other.commit([("SET", "k", 4)])
    assert await mine.commit([("GET", "k")]) == [b"4"]


async def test_watches_add_up_until_the_commit(store: Any) -> None:
    mine, other = store.stage("mine"), store.stage("other")
    await mine.read([], watch=[b"k"])
    await mine.read([("GET", "l")], watch=[b"l"])
    await other.commit([("SET", "k", 1)])
    assert await mine.commit([("SET", "l", 1)]) is None


async def test_a_fenced_commit_is_done_while_what_is_held_is_held(store: Any) -> None:
    mine, other = store.stage("mine"), store.stage("other")
    await other.commit([("SET", "slot:1", "a"), ("SET", "slot:2", "b")])
    holds = {b"slot:1": b"a", b"slot:2": b"b"}
    assert await mine.commit_if(holds, [("INCR", "n")]) == [1]
    assert await mine.commit_if(holds, [("INCR", "n"), ("GET", "slot:1")]) == [2, b"a"]
    await other.commit([("SET", "slot:2", "b")])  # the same value again: still held
    assert await mine.commit_if(holds, [("INCR", "n")]) == [3]
    await other.commit([("SET", "slot:2", "c")])
    assert await mine.commit_if(holds, [("INCR", "n")]) is None
    assert await mine.commit_if(holds, [("INCR", "n")]) is None
    assert await mine.commit_if({b"slot:1": b"a"}, [("INCR", "n")]) == [4]
    await other.commit([("DEL", "slot:1")])
    assert await mine.commit_if({b"slot:1": b"a"}, [("INCR", "n")]) is None
    assert await mine.read([("GET", "n")]) == [b"4"]


async def test_a_fence_does_not_outlive_its_commit(store: Any) -> None:
    mine, other = store.stage("mine"), store.stage("other")
    await other.commit([("SET", "slot:1", "a")])
    holds = {b"slot:1": b"a"}
    assert await mine.commit_if(holds, [("INCR", "n")]) == [1]
    await other.commit([("SET", "slot:1", "x")])
    assert await mine.commit([("INCR", "n")]) == [2]  # not fenced: a fact
    assert await mine.read([("GET", "n")], watch=[b"n"]) == [b"2"]
    await other.commit([("SET", "slot:1", "y")])
    assert await mine.commit([("INCR", "n")]) == [3]
    await other.commit([("SET", "slot:1", "a")])
    assert await mine.commit_if(holds, [("INCR", "n")]) == [4]
    with pytest.raises(StoreRefused):
        await mine.commit_if(holds, [("NO-SUCH-COMMAND",)])
    assert await mine.commit_if(holds, [("INCR", "n")]) == [5]


async def test_a_key_that_expires_is_gone_and_counts_as_changed(store: Any) -> None:
    stage = store.stage("a")
    await stage.commit([("SET", "k", 1), ("PEXPIRE", "k", 400), ("SET", "l", 1, "PX", 400)])
    (left,) = await stage.read([("PTTL", "k")], watch=[b"k"])
    assert 0 < left <= 400
    with anyio.fail_after(DEADLINE_S):
        while await stage.read([("EXISTS", "k", "l")]) != [0]:  # noqa: ASYNC110  the server's own clock decides
            await anyio.sleep(0.005)
    assert await stage.commit([("SET", "m", 1)]) is None
    assert await stage.read([("GET", "m")]) == [None]


async def test_xadd_gives_ids_that_grow(store: Any) -> None:
    stage = store.stage("a")
    ids = await stage.commit([("XADD", "s", "*", "f", n) for n in range(20)])
    numbers = [tuple(map(int, id_.split(b"-"))) for id_ in ids]
    assert numbers == sorted(set(numbers))
    assert await stage.commit([("XADD", "s", b"%d-*" % numbers[-1][0], "f", "v")]) == [
        b"%d-%d" % (numbers[-1][0], numbers[-1][1] + 1)
    ]
    refusal = await refused(stage.commit([("XADD", "s", "1-1", "f", "v")]))
    assert refusal.code == "ERR"


async def refused(call: Any) -> StoreRefused:
    with pytest.raises(StoreRefused) as caught:
        await call
    return caught.value


async def test_every_field_of_a_large_hash_is_scanned(store: Any) -> None:
    stage = store.stage("a")
    await stage.commit([("HSET", "h", *[word for n in range(3000) for word in (n, n)])])
    found: set[bytes] = set()
    cursor, steps = b"0", 0
    while steps == 0 or cursor != b"0":
        ((cursor, words),) = await stage.read([("HSCAN", "h", cursor, "COUNT", 100)])
        found.update(words[::2])
        steps += 1
        await stage.commit([("HDEL", "h", "no such field")])
    assert found == {b"%d" % n for n in range(3000)}
    assert steps > 1


async def test_approximate_trimming_never_removes_too_much(store: Any) -> None:
    stage = store.stage("a")
    await stage.commit([("XADD", "s", f"{n}-0", "f", n) for n in range(1, 451)])
    (removed,) = await stage.commit([("XTRIM", "s", "MINID", "~", "421-0")])
    ((first, _),) = (await stage.read([("XRANGE", "s", "-", "+", "COUNT", 1)]))[0]
    assert 0 < removed <= 420
    assert first == b"%d-0" % (removed + 1)


async def test_wait_sees_what_comes_and_what_is_there(store: Any) -> None:
    stage = store.stage("a")
    assert await store.wait({b"s": b"0", b"t": b"0"}, 0.01) is False
    seen: list[bool] = []

    async def wait() -> None:
        seen.append(await store.wait({b"s": b"0", b"t": b"3-0"}, DEADLINE_S))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        await stage.commit([("XADD", "t", "3-0", "f", "v")])
        assert seen == []
        await stage.commit([("XADD", "t", "3-1", "f", "v")])
    assert seen == [True]
    assert await store.wait({b"t": b"3-0"}, 0.5) is True
    assert await store.wait({b"t": b"3-1"}, 0.01) is False


async def test_nothing_is_done_for_nothing(store: Any) -> None:
    stage = store.stage("a")
    assert await stage.read([]) == []
    assert await stage.commit([]) == []


async def test_a_closed_store_refuses(store: Any) -> None:
    stage = store.stage("a")
    await stage.ready()
    await store.close()
    await store.close()
    for call in (
        stage.read([("GET", "k")]),
        stage.commit([("SET", "k", 1)]),
        stage.ready(),
        store.wait({b"s": b"0"}, 1),
    ):
        with pytest.raises(StoreUnavailable):
            await call


def test_pure_reads() -> None:
    assert is_pure_read([("GET", "k"), (b"hmget", "h", "f")])
    assert not is_pure_read([("GET", "k"), ("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">")])
