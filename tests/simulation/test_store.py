"""The simulated store by the virtual clock: what `MemoryStore` promises and doubts, and what it costs."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from todoke.bench.simulation.clock import run_virtually, virtual_clock
from todoke.bench.simulation.store import Abandoned, TimedStore
from todoke.engine.ledger.port import OutcomeUnknown, StoreError, StoreRefused, StoreUnavailable

SYNC_S = 0.01


def played(story: Callable[[TimedStore], Awaitable[Any]], seed: int = 1) -> Any:
    async def main() -> Any:
        store = TimedStore(
            rng=random.Random(seed), sync_s=lambda: SYNC_S, wall=lambda: 1_800_000_000 + trio.current_time()
        )
        return await story(store)

    return run_virtually(main, seed)


async def outcome(call: Awaitable[Any], found: list[Any]) -> None:
    try:
        found.append(await call)
    except (StoreError, Abandoned) as error:
        found.append(type(error))


async def during(calls: list[Awaitable[Any]], rounds: int, then: Callable[[], object]) -> list[Any]:
    """Start the calls, act after so many rounds; what became of them."""
    found: list[list[Any]] = [[] for _ in calls]
    async with trio.open_nursery() as nursery:
        for call, each in zip(calls, found, strict=True):
            nursery.start_soon(outcome, call, each)
        for _ in range(rounds):
            await trio.lowlevel.checkpoint()
        then()
    return [each[0] for each in found]


def test_an_answer_comes_with_the_sync_and_one_sync_serves_a_round() -> None:
    async def story(store: TimedStore) -> None:
        a, b, c = store.stage("a"), store.stage("b"), store.stage("c")
        calls: list[Awaitable[Any]] = [
            a.commit([("INCR", "k")]),
            b.commit([("INCR", "k")]),
            c.read([("GET", "k")]),
        ]
        found = await during(calls, 0, lambda: None)
        assert sorted(found[:2]) == [[1], [2]]
        assert trio.current_time() in (SYNC_S, 2 * SYNC_S)  # who travelled a round longer waits for a second
        assert await c.read([("GET", "k")]) == [b"2"]
        assert trio.current_time() in (SYNC_S, 2 * SYNC_S)
        with pytest.raises(StoreRefused):
            await a.commit([("NOTHING", "k")])

    for seed in range(10):
        played(story, seed)


def test_a_read_waits_for_what_is_not_on_disk() -> None:
    async def story(store: TimedStore) -> float:
        found: list[Any] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outcome, store.stage("a").commit([("SET", "k", 1)]), found)
            await trio.sleep(SYNC_S / 2)
            assert await store.stage("b").read([("GET", "k")]) == [b"1"]
            return trio.current_time()

    assert played(story) == SYNC_S


def test_a_crash_keeps_what_was_answered_and_perhaps_what_was_not() -> None:
    async def story(store: TimedStore) -> int:
        a, b = store.stage("a"), store.stage("b")
        await a.commit([("SET", "k", "answered")])
        calls = [a.commit([("RPUSH", "l", 1)]), b.commit([("RPUSH", "l", 2)])]
        assert await during(calls, 4, store.crash) == [OutcomeUnknown, OutcomeUnknown]
        assert store.contents()[b"k"] == b"answered"
        (kept,) = await a.read([("LRANGE", "l", 0, -1)])
        await a.commit([("RPUSH", "l", 3)])
        store.crash()
        assert store.contents()[b"l"] == [*kept, b"3"]
        return len(kept)

    assert {played(story, seed) for seed in range(20)} == {0, 1, 2}


def test_a_sync_that_a_crash_interrupts_is_none_for_what_is_written_after() -> None:
    async def story(store: TimedStore) -> float:
        a = store.stage("a")
        found: list[Any] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outcome, a.commit([("INCR", "k")]), found)
            await trio.sleep(SYNC_S / 2)
            store.crash()
            await a.commit([("INCR", "k")])
        return trio.current_time()

    assert played(story) == 2 * SYNC_S


@pytest.mark.parametrize("rounds", [2, 3])
def test_a_cut_loses_the_answer_and_perhaps_the_call(rounds: int) -> None:
    async def story(store: TimedStore) -> int:
        a, b = store.stage("a"), store.stage("b")
        found = await during([a.commit([("INCR", "k")]), b.read([("GET", "k")])], rounds, store.cut)
        assert found[0] is OutcomeUnknown
        assert found[1] is StoreUnavailable or found[1] in ([None], [b"1"])
        (value,) = await b.read([("GET", "k")])
        return int(value or 0)

    assert {played(story, seed) for seed in range(30)} == ({0, 1} if rounds < 3 else {1})


def test_a_caller_who_leaves_leaves_the_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("todoke.bench.simulation.store.LONGER", 1.0)  # the call is on its way still

    async def story(store: TimedStore, how: str) -> int:
        async def leave() -> None:
            tasks: list[trio.lowlevel.Task] = []

            async def call() -> None:
                tasks.append(trio.lowlevel.current_task())
                with pytest.raises((Abandoned, trio.Cancelled)) as caught:
                    await store.stage("a").commit([("INCR", "k")])
                if how == "cancel":
                    raise caught.value

            async with trio.open_nursery() as nursery:
                nursery.start_soon(call)
                for _ in range(2):
                    await trio.lowlevel.checkpoint()
                if how == "cancel":
                    nursery.cancel_scope.cancel()
                else:
                    store.abandon(tasks[0])

        await leave()
        (value,) = await store.stage("a").read([("GET", "k")])
        assert trio.current_time() == (SYNC_S if value else 0.0)
        return int(value or 0)

    for how in ("cancel", "abandon"):
        assert {played(lambda store, how=how: story(store, how), seed) for seed in range(30)} == {0, 1}


def test_whoever_waits_for_a_stream_hears_of_it_or_of_the_end_of_its_time() -> None:
    async def story(store: TimedStore) -> None:
        a = store.stage("a")
        assert await store.wait({b"s": b"0-0", b"t": b"0-0"}, 3.0) is False
        assert trio.current_time() == 3.0
        found: list[Any] = []
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(outcome, store.wait({b"s": b"0-0", b"t": b"0-0"}, 3.0), found)
            await trio.sleep(1.0)
            await a.commit([("XADD", "t", "*", "b", "1")])
        assert found == [True, True]
        assert trio.current_time() == 4.0 + SYNC_S
        assert await store.wait({b"s": b"0-0", b"t": b"0-0"}, 3.0) is True
        last = (await a.read([("XRANGE", "t", "-", "+")]))[0][0][0]
        assert await store.wait({b"t": last}, 3.0) is False

    played(story)


def test_whoever_waits_for_a_stream_hears_of_a_lost_connection() -> None:
    async def story(store: TimedStore) -> None:
        assert await during([store.wait({b"s": b"0-0"}, 30.0)], 3, store.cut) == [StoreUnavailable]
        assert trio.current_time() == 0.0
        await store.stage("a").commit([("XADD", "s", "*", "b", "1")])

    played(story)


def test_calls_of_one_round_arrive_in_more_than_one_order() -> None:
    async def story(store: TimedStore) -> list[bytes]:
        stages = [store.stage(name) for name in "abc"]
        await during([stage.commit([("RPUSH", "l", stage.name)]) for stage in stages], 0, lambda: None)
        (found,) = await stages[0].read([("LRANGE", "l", 0, -1)])
        return [bytes(word) for word in found]

    assert len({tuple(played(story, seed)) for seed in range(60)}) == 6


def test_a_call_is_one_step_of_its_caller() -> None:
    async def story(store: TimedStore) -> int:
        a = store.stage("a")
        task = trio.lowlevel.current_task()
        before = task._schedule_points
        for _ in range(10):
            await a.commit([("INCR", "k")])
            await a.read([("GET", "k")])
        return task._schedule_points - before

    assert played(story) == 20


def test_alarms_of_one_moment_ring_in_their_order() -> None:
    async def main() -> list[str]:
        clock = virtual_clock()
        rung: list[str] = []
        clock.at(2.0, lambda: rung.append("c"))

        def first() -> None:
            rung.append("a")
            clock.at(1.0, lambda: rung.append("again"))

        clock.at(1.0, first)
        clock.at(1.0, lambda: rung.append("b"))
        await trio.sleep(1.5)
        assert rung == ["a", "b", "again"]
        await trio.sleep(1.5)
        return rung

    assert run_virtually(main, 1) == ["a", "b", "again", "c"]
