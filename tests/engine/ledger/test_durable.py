"""Writes whose outcome is known in the end: repeated, found to have been applied, or read anew."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import trio
import trio.testing
from todoke.engine.ledger.durable import APPLIED, LONGEST_PAUSE_S, DurableStage
from todoke.engine.ledger.memory_store import MemoryStage, MemoryStore
from todoke.engine.ledger.port import Command, Stage, StoreRefused

TURNS = b"turns"


class Refusing:
    """A store that answers reads and refuses writes until told otherwise. It notes when it was asked."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.full = True
        self.asked_at: list[float] = []

    def stage(self, name: str) -> Stage:
        return RefusingStage(self, self._store.stage(name))

    async def wait(self, streams: dict[bytes, bytes], timeout_s: float) -> bool:
        return await self._store.wait(streams, timeout_s)

    async def close(self) -> None:
        await self._store.close()


class RefusingStage:
    def __init__(self, store: Refusing, stage: MemoryStage) -> None:
        self._store = store
        self._stage = stage
        self.ready, self.read, self.unwatch = stage.ready, stage.read, stage.unwatch

    async def commit(self, commands: Sequence[Command]) -> list[Any] | None:
        self._store.asked_at.append(trio.current_time())
        if self._store.full:
            await self._stage.unwatch()
            raise StoreRefused("OOM", "not now")
        return await self._stage.commit(commands)

    async def commit_if(self, holds: Mapping[bytes, bytes], commands: Sequence[Command]) -> list[Any] | None:
        return await self._stage.commit_if(holds, commands)


def play(story: Callable[[MemoryStore], Awaitable[None]]) -> None:
    """Run it on virtual time, with a store whose fsync takes 10 ms."""

    async def sync() -> None:
        await trio.sleep(0.01)

    async def main() -> None:
        await story(MemoryStore(rng=random.Random(1), sync=sync))

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def add_watched(stage: DurableStage) -> int:
    """Read k, write k + 1, as often as it takes. How often it was read."""
    readings = 0
    while True:
        readings += 1
        (value,) = await stage.read_surely([("GET", "k")], (b"k",))
        if await stage.commit_surely([("SET", "k", int(value or 0) + 1)], watched=True) is not None:
            return readings


def test_a_watched_write_whose_connection_falls_is_read_anew() -> None:
    """Another has written meanwhile: what was read is old, and the watch is lost with the connection."""

    async def story(store: MemoryStore) -> None:
        ours = DurableStage(store, "ours", TURNS, 1)
        theirs = store.stage("theirs")
        assert await ours.read_surely([("GET", "k")], (b"k",)) == [None]
        await theirs.commit([("SET", "k", 41)])
        store.cut()
        assert await ours.commit_surely([("SET", "k", 1)], watched=True) is None
        assert await add_watched(ours) == 1
        assert await theirs.read([("GET", "k")]) == [b"42"]

    play(story)


def test_a_connection_that_falls_between_two_watched_reads_takes_the_first_watch_along() -> None:
    """The second read is repeated on a new connection, where the first key is not watched."""

    async def story(store: MemoryStore) -> None:
        ours = DurableStage(store, "ours", TURNS, 1)
        theirs = store.stage("theirs")
        for falls in (True, False):
            assert len(await ours.read_surely([("GET", "k")], (b"k",))) == 1
            if falls:
                store.cut()
            await ours.read_surely([("GET", "l")], (b"l",))
            await theirs.commit([("INCR", "k")])
            assert await ours.commit_surely([("SET", "k", 100)], watched=True) is None
        assert await theirs.read([("GET", "k")]) == [b"2"]
        assert await add_watched(ours) == 1

    play(story)


def test_a_store_that_refuses_watched_writes_is_asked_less_and_less_often() -> None:
    async def story(store: MemoryStore) -> None:
        refusing = Refusing(store)
        stage = DurableStage(refusing, "ours", TURNS, 1)
        readings: list[int] = []
        async with trio.open_nursery() as nursery:

            async def add() -> None:
                readings.append(await add_watched(stage))

            nursery.start_soon(add)
            await trio.sleep(60)
            assert stage.away_since is not None
            refusing.full = False
        asked = list(refusing.asked_at)
        assert 60 <= len(asked) <= 70, "twenty times a second"
        pauses = [round(later - earlier, 6) for earlier, later in pairwise(asked)]
        assert pauses[0] < 0.05
        assert pauses == sorted(pauses)
        assert pauses[-1] >= LONGEST_PAUSE_S
        assert readings == [len(asked)]
        assert stage.away_since is None
        refusing.full = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(add_watched, stage)
            await trio.sleep(0.1)
            refusing.full = False
        again = refusing.asked_at[len(asked) :]
        assert again[1] - again[0] < 0.05, "the next trouble begins anew"

    play(story)


def test_a_write_is_repeated_until_the_store_is_there_and_applied_once() -> None:
    async def story(store: MemoryStore) -> None:
        stage = DurableStage(store, "ours", TURNS, 1)
        store.down()
        async with trio.open_nursery() as nursery:

            async def write() -> None:
                assert await stage.commit_surely([("INCR", "k")]) == [1]

            nursery.start_soon(write)
            await trio.sleep(30)
            store.up()
        assert await stage.read([("GET", "k")]) == [b"1"]

    play(story)


def test_a_write_whose_answer_is_lost_is_not_made_twice() -> None:
    """Cut at every moment of it: sometimes it had arrived, sometimes not."""
    outcomes: list[Any] = []

    async def story(store: MemoryStore) -> None:
        stage = DurableStage(store, "ours", TURNS, 1)
        for number in range(1, 31):
            async with trio.open_nursery() as nursery:

                async def write() -> None:
                    outcomes.append(await stage.commit_surely([("INCR", "k")]))

                nursery.start_soon(write)
                if number % 2:
                    await trio.sleep(0.005)
                else:
                    await trio.lowlevel.checkpoint()
                store.cut()
            assert await stage.read([("GET", "k")]) == [str(number).encode()]

    play(story)
    assert APPLIED in outcomes
    assert any(isinstance(outcome, list) for outcome in outcomes), "made again"
