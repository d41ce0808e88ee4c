"""What a crash and a cut leave of the memory store: every promise kept, and every doubt possible."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from todoke.engine.ledger.memory_store import MemoryStage, MemoryStore
from todoke.engine.ledger.port import OutcomeUnknown, StoreError, StoreUnavailable

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Disk:
    """An fsync that lasts until it is let through; the last `release` is good for all that follow."""

    def __init__(self) -> None:
        self.started = 0
        self._gate = anyio.Event()

    async def sync(self) -> None:
        self.started += 1
        await self._gate.wait()

    def release(self) -> None:
        self._gate.set()

    def block(self) -> None:
        self._gate = anyio.Event()


@pytest.fixture
async def disk(anyio_backend: str) -> Disk:
    return Disk()


async def outcome(call: Any, outcomes: list[Any]) -> None:
    try:
        outcomes.append(await call)
    except StoreError as error:
        outcomes.append(type(error))


async def during(calls: list[Any], then: Callable[[], object]) -> list[Any]:
    """Start the calls, act once all of them wait for something; what became of them."""
    outcomes: list[list[Any]] = [[] for _ in calls]
    async with anyio.create_task_group() as tasks:
        for call, found in zip(calls, outcomes, strict=True):
            tasks.start_soon(outcome, call, found)
        await anyio.wait_all_tasks_blocked()
        then()
    return [found[0] for found in outcomes]


def opened(disk: Disk, seed: int = 0) -> tuple[MemoryStore, MemoryStage, MemoryStage]:
    store = MemoryStore(rng=random.Random(seed), sync=disk.sync)
    return store, store.stage("a"), store.stage("b")


async def test_an_answer_comes_after_the_sync_and_one_sync_serves_all(disk: Disk) -> None:
    _, a, b = opened(disk)
    calls = [a.commit([("INCR", "k")]), b.commit([("INCR", "k")]), a.read([("GET", "k")])]
    found = await during(calls, disk.release)
    assert sorted(map(str, found[:2])) == ["[1]", "[2]"]
    assert disk.started <= 2  # whoever came after the first had begun waits for the second


async def test_a_read_of_what_is_not_yet_on_disk_waits_for_it(disk: Disk) -> None:
    store, a, b = opened(disk)

    def crash() -> None:
        disk.release()
        store.crash()

    found = await during([a.commit([("SET", "k", 1)]), b.read([("GET", "k")])], crash)
    assert found[0] is OutcomeUnknown
    assert found[1] in (StoreUnavailable, [None])


async def test_what_was_answered_survives_and_what_was_not_may(disk: Disk) -> None:
    survivors: set[Any] = set()
    for seed in range(12):
        disk.release()
        store, a, b = opened(disk, seed)
        await a.commit([("SET", "k", "answered"), ("XGROUP", "CREATE", "s", "g", "0", "MKSTREAM")])
        disk.block()

        def crash(store: MemoryStore = store) -> None:
            store.crash()
            disk.release()

        found = await during([a.commit([("RPUSH", "l", 1)]), b.commit([("RPUSH", "l", 2)])], crash)
        assert found == [OutcomeUnknown, OutcomeUnknown]
        assert store.contents()[b"k"] == b"answered"
        assert (await a.read([("XPENDING", "s", "g")]))[0][0] == 0
        (kept,) = await a.read([("LRANGE", "l", 0, -1)])
        survivors.add(tuple(kept))
    assert {len(kept) for kept in survivors} == {0, 1, 2}


async def test_the_same_seed_keeps_as_much(disk: Disk) -> None:
    kept: list[Any] = []
    for _ in range(2):
        disk.block()
        store, a, _ = opened(disk, 5)

        def crash(store: MemoryStore = store) -> None:
            store.crash()
            disk.release()

        await during([a.commit([("SET", f"k{n}", n)]) for n in range(10)], crash)
        kept.append(list(store.contents()))
    assert len(kept[0]) == len(kept[1])  # trio starts the writers in any order


async def test_a_delivery_to_a_consumer_is_a_write(disk: Disk) -> None:
    """XREADGROUP through `read`: answered means pending, also after a crash."""
    disk.release()
    store, a, _ = opened(disk)
    await a.commit([("XGROUP", "CREATE", "s", "g", "0", "MKSTREAM"), ("XADD", "s", "1-0", "f", "v")])
    take = ("XREADGROUP", "GROUP", "g", "slot-1", "STREAMS", "s", ">")
    assert await a.read([take]) == [[[b"s", [[b"1-0", [b"f", b"v"]]]]]]
    store.crash()
    assert (await a.read([("XPENDING", "s", "g")]))[0][:1] == [1]


async def test_a_cut_keeps_the_data_and_ends_the_calls(disk: Disk) -> None:
    store, a, b = opened(disk)

    def cut() -> None:
        store.cut()
        disk.release()

    found = await during(
        [a.commit([("SET", "k", 1)]), b.wait_for() if False else b.read([("GET", "x")])], cut
    )
    assert found[0] is OutcomeUnknown
    assert await a.read([("GET", "k")]) == [b"1"]


@pytest.mark.parametrize("end", ["cut", "kill"])
async def test_a_call_on_its_way_may_arrive_or_not(disk: Disk, end: str) -> None:
    """Cut, or the caller killed, before the request was executed: every outcome happens."""
    disk.release()
    seen: set[int] = set()
    for seed in range(40):
        store, a, _ = opened(disk, seed)
        async with anyio.create_task_group() as tasks:
            for number in (1, 2):
                tasks.start_soon(outcome, a.commit([("RPUSH", "l", number)]), [])
            await anyio.lowlevel.checkpoint()  # asyncio: both travel now; trio: any of them, or none yet
            if end == "cut":
                store.cut()
            else:
                tasks.cancel_scope.cancel()
        seen.add(len(store.contents().get(b"l", ())))
    assert seen == {0, 1, 2}


async def test_down_and_up(disk: Disk) -> None:
    disk.release()
    store, a, b = opened(disk)
    await a.commit([("SET", "k", 1)])
    store.down()
    with pytest.raises(StoreUnavailable):
        await a.read([("GET", "k")])
    with pytest.raises(StoreUnavailable):
        await store.wait({b"s": b"0"}, 10)
    assert await during([b.ready()], store.up) == [None]
    assert await a.read([("GET", "k")]) == [b"1"]


async def test_crash_ends_a_wait(disk: Disk) -> None:
    store, _, _ = opened(disk)
    assert await during([store.wait({b"s": b"0"}, 1000)], store.crash) == [StoreUnavailable]


async def test_a_watch_does_not_survive_its_connection(disk: Disk) -> None:
    disk.release()
    store, a, _ = opened(disk)
    for end in (store.cut, store.crash):
        await a.read([("GET", "k")], watch=[b"k"])
        end()
        with pytest.raises(StoreUnavailable):
            await a.commit([("SET", "k", 1)])
        assert await a.read([("EXISTS", "k")]) == [0]
    assert await a.commit([("SET", "k", 1)]) == [b"OK"]


async def test_whoever_syncs_for_all_may_be_cancelled(disk: Disk) -> None:
    _, a, b = opened(disk)
    found: list[Any] = []
    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as first:
            tasks.start_soon(outcome, b.commit([("SET", "l", 1)]), found)

            async def cancel() -> None:
                await anyio.wait_all_tasks_blocked()
                first.cancel()
                disk.release()

            tasks.start_soon(cancel)
            await a.commit([("SET", "k", 1)])
    assert found == [[b"OK"]]


counters = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(["commit", "crash", "cut"])), max_size=30
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(steps=counters, seed=st.integers(0, 2**16))
def test_no_crash_takes_back_an_answer(steps: list[tuple[str, str]], seed: int) -> None:
    """Two writers append; whatever happens between, what they were told is there, once, and nothing else
    but what they were left in doubt about."""

    async def run() -> None:
        store = MemoryStore(rng=random.Random(seed), sync=anyio.lowlevel.checkpoint)
        stages = {name: store.stage(name) for name in "ab"}
        told: list[bytes] = []
        doubtful: set[bytes] = set()

        async def append(stage: MemoryStage, number: int) -> None:
            word = b"%d" % number
            try:
                await stage.commit([("RPUSH", "l", word)])
                told.append(word)
            except OutcomeUnknown:
                doubtful.add(word)
            except StoreUnavailable:
                pass

        async with anyio.create_task_group() as tasks:
            for number, (name, step) in enumerate(steps):
                if step == "commit":
                    tasks.start_soon(append, stages[name], number)
                else:
                    getattr(store, step)()
                await anyio.lowlevel.checkpoint()
        store.crash()
        kept = store.contents().get(b"l", [])
        assert len(kept) == len(set(kept))
        assert set(told) <= set(kept) <= set(told) | doubtful

    anyio.run(run, backend="trio")
