"""What an app is told, from its cursor on: at least once, not again once acknowledged, counted."""

from __future__ import annotations

import random
from typing import Any

import anyio
import pytest
import trio
import trio.lowlevel
from hypothesis import given, settings
from hypothesis import strategies as st
from todoke.engine.feed import Feed
from todoke.engine.intake.errors import BadCursor, NodeUnavailable
from todoke.engine.ledger.events import Told, publish
from todoke.engine.ledger.keys import AppKeys
from todoke.engine.ledger.memory_store import MemoryStore
from todoke.engine.messages import Report

APP = "billing"
KEYS = AppKeys(APP)


def told(number: int) -> Told:
    return Told("report", f"d.1-1.{number}", None, "delivered", "d", 1, 1, False, None, 0)


class Desk:
    """A feed on a memory store, and somebody who writes events."""

    def __init__(self, store: MemoryStore, nursery: trio.Nursery) -> None:
        self.store = store
        self.nursery = nursery
        self.written = 0
        self._stage = store.stage("writer")
        self.feed: Feed
        self._scope = trio.CancelScope()

    async def open(self) -> None:
        self._scope.cancel()
        self._scope = trio.CancelScope()
        self.feed = Feed(self.store, APP)
        await self.feed.load()

        async def live() -> None:
            with self._scope:
                await self.feed.run()

        self.nursery.start_soon(live)

    async def write(self, *entries: int) -> None:
        """Entries with so many events each."""
        for count in entries:
            events = [told(self.written + place) for place in range(count)]
            while True:
                try:
                    await self._stage.commit(publish(APP, events))
                    break
                except Exception:
                    await trio.sleep(0.01)
            self.written += count
            self.feed.told(count)

    async def read(self, after: str | None) -> tuple[list[int], str]:
        found = list(await self.feed.events(after))
        reports = [event for _, event in found if isinstance(event, Report)]
        assert len(reports) == len(found)
        return [int(report.message_id.split(".")[-1]) for report in reports], found[-1][0]

    async def all(self, after: str | None) -> tuple[list[int], list[str]]:
        numbers: list[int] = []
        cursors: list[str] = []
        while True:
            found: list[Any] = []
            with anyio.move_on_after(0.001):
                found = list(await self.feed.events(after))
            if not found:
                return numbers, cursors
            after = found[-1][0]
            numbers += [int(event.message_id.split(".")[-1]) for _, event in found]
            cursors += [where for where, _ in found]

    async def settle(self) -> None:
        await trio.testing.wait_all_tasks_blocked()

    def stored(self) -> int:
        return int(self.store.contents().get(KEYS.events_n, 0))


def desk(story: Any, seed: int = 1) -> None:
    async def main() -> None:
        store = MemoryStore(rng=random.Random(seed), wall=lambda: 1_800_000_000 + trio.current_time())
        async with trio.open_nursery() as nursery:
            made = Desk(store, nursery)
            await made.open()
            await story(made)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_events_come_in_order_each_with_its_cursor() -> None:
    async def story(desk: Desk) -> None:
        await desk.write(1, 3, 2)
        numbers, cursors = await desk.all(None)
        assert numbers == list(range(6))
        assert len(set(cursors)) == 6
        for place, where in enumerate(cursors):
            assert (await desk.all(where))[0] == list(range(place + 1, 6))

    desk(story)


def test_a_reader_waits_and_is_woken_by_what_is_told() -> None:
    async def story(desk: Desk) -> None:
        got: list[list[int]] = []

        async def read() -> None:
            got.append((await desk.read(None))[0])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(read)
            await desk.settle()
            assert got == []
            await desk.write(2)
        assert got == [[0, 1], [0, 1]]

    desk(story)


def test_an_acknowledgement_is_the_start_of_the_next_subscription_and_of_the_next_process() -> None:
    async def story(desk: Desk) -> None:
        await desk.write(3, 3)
        _, cursors = await desk.all(None)
        await desk.feed.ack(cursors[3])
        assert (await desk.all(None))[0] == [4, 5]
        await desk.settle()
        assert desk.feed.unacknowledged == desk.stored() == 2
        await desk.open()
        assert desk.feed.unacknowledged == 2
        assert (await desk.all(None))[0] == [4, 5]

    desk(story)


def test_what_is_acknowledged_leaves_the_store() -> None:
    async def story(desk: Desk) -> None:
        await desk.write(*([2] * 30))
        _, cursors = await desk.all(None)
        await desk.feed.ack(cursors[-1])
        await desk.settle()
        assert len(desk.store.contents()[KEYS.events].entries) == 0
        assert desk.feed.unacknowledged == desk.stored() == 0
        assert desk.feed._counts == {}

    desk(story)


def test_acknowledging_again_or_less_changes_nothing() -> None:
    async def story(desk: Desk) -> None:
        await desk.write(2, 2)
        _, cursors = await desk.all(None)
        for where in (cursors[2], cursors[0], cursors[2], cursors[1]):
            await desk.feed.ack(where)
            await desk.settle()
        assert desk.feed.unacknowledged == desk.stored() == 1

    desk(story)


@pytest.mark.parametrize(
    "where",
    [
        "",
        "5",
        "nonsense",
        "5-0.0",
        "5-0.0.1",
        "99999999999999999999999-0.0.1",
        "９-0.0.1",
        "9999999999999-0.0.1",
        "0-0.0.1",
    ],
)
def test_what_was_never_handed_out_is_no_cursor(where: str) -> None:
    async def story(desk: Desk) -> None:
        await desk.write(2)
        with pytest.raises(BadCursor):
            await desk.feed.ack(where)
        await desk.settle()
        assert desk.stored() == 2
        assert (await desk.all(None))[0] == [0, 1]

    desk(story)


def test_a_cursor_beyond_its_entry_is_none() -> None:
    async def story(desk: Desk) -> None:
        await desk.write(2)
        _, cursors = await desk.all(None)
        entry = cursors[0].split(".")[0]
        for where in (f"{entry}.2.2", f"{entry}.5.9", f"{entry}.0.9"):
            with pytest.raises(BadCursor):
                await desk.feed.ack(where)

    desk(story)


def test_an_unreadable_cursor_to_go_on_from_is_refused() -> None:
    async def story(desk: Desk) -> None:
        for where in ("x", "99999999999999999999999-0.0.1", "９-0.0.1"):
            with pytest.raises(BadCursor):
                await desk.feed.events(where)

    desk(story)


def test_an_app_that_goes_on_from_its_own_cursor_leaves_no_count_behind() -> None:
    """It handled events whose acknowledgement was lost, and a new process never handed those out."""

    async def story(desk: Desk) -> None:
        await desk.write(2, 2, 2, 2)
        _, cursors = await desk.all(None)
        await desk.feed.ack(cursors[0])
        await desk.settle()
        await desk.open()
        numbers, later = await desk.all(cursors[4])
        assert numbers == [5, 6, 7]
        await desk.feed.ack(later[-1])
        await desk.settle()
        assert desk.feed.unacknowledged == desk.stored() == 0

    desk(story)


def test_acknowledging_what_only_an_earlier_process_handed_out() -> None:
    async def story(desk: Desk) -> None:
        await desk.write(*([1] * 500))
        _, cursors = await desk.all(None)
        await desk.open()
        await desk.feed.ack(cursors[449])
        await desk.settle()
        assert desk.feed.unacknowledged == desk.stored() == 50
        assert (await desk.all(None))[0] == list(range(450, 500))

    desk(story)


def test_while_the_store_is_away_reading_says_so_and_an_acknowledgement_waits() -> None:
    async def story(desk: Desk) -> None:
        await desk.write(3)
        _, cursors = await desk.all(None)
        desk.store.down()
        with pytest.raises(NodeUnavailable):
            await desk.feed.events(None)
        await desk.feed.ack(cursors[1])
        await trio.sleep(5)
        desk.store.up()
        await trio.sleep(1)
        assert desk.feed.unacknowledged == desk.stored() == 1

    desk(story)


def test_two_processes_tell_one_app_and_nothing_is_counted_twice() -> None:
    """The app goes from one to the other; what the first had still to write down comes too late to count."""

    async def story(desk: Desk) -> None:
        other = Feed(desk.store, APP)
        await other.load()
        desk.nursery.start_soon(other.run)
        await desk.write(4, 3, 3)
        _, cursors = await desk.all(None)
        assert [where for where, _ in await other.events(None)] == cursors
        await desk.feed.ack(cursors[1])
        await trio.sleep(1)
        await other.ack(cursors[7])
        await trio.sleep(1)
        assert desk.stored() == 2
        await desk.feed.ack(cursors[4])
        await trio.sleep(1)
        assert desk.stored() == 2
        assert (await desk.all(None))[0] == [8, 9], "it goes back"
        await desk.feed.ack(cursors[9])
        await trio.sleep(1)
        assert desk.stored() == 0

    desk(story)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
def test_whatever_is_read_acknowledged_cut_or_restarted_the_count_is_what_is_left(seed: int) -> None:
    async def story(desk: Desk) -> None:
        rng = random.Random(seed)
        cursors: list[str] = []
        acked = -1
        for _ in range(rng.randint(3, 25)):
            what = rng.random()
            if what < 0.35:
                await desk.write(*(rng.randint(1, 4) for _ in range(rng.randint(1, 4))))
            elif what < 0.6:
                after = rng.choice([None, *cursors[acked + 1 :]])
                begin = acked + 1 if after is None else cursors.index(after) + 1
                try:
                    numbers, found = await desk.all(after)
                except NodeUnavailable:
                    continue
                assert numbers == list(range(begin, desk.written))
                cursors = cursors[:begin] + found
            elif what < 0.8 and len(cursors) > acked + 1:
                place = rng.randrange(max(0, acked), len(cursors))
                await desk.feed.ack(cursors[place])
                acked = max(acked, place)
                if rng.random() < 0.5:
                    for _ in range(rng.randrange(4)):
                        await trio.lowlevel.checkpoint()
                    desk.store.cut()
                    if rng.random() < 0.5:
                        desk.store.down()
                        await trio.sleep(1)
                        desk.store.up()
                await trio.sleep(2)
            elif what < 0.9:
                desk.store.cut()
            else:
                await trio.sleep(2)
                await desk.open()
        await trio.sleep(2)
        await desk.settle()
        assert desk.feed.unacknowledged == desk.stored() == desk.written - acked - 1
        assert (await desk.all(None))[0] == list(range(acked + 1, desk.written))

    desk(story, seed)


@pytest.mark.parametrize("shared", [False, True])
def test_who_has_read_all_is_told_of_the_next_event_with_one_read(
    shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(desk: Desk) -> None:
        if shared:
            desk.feed.shared_with_others(0)
        reads: list[Any] = []
        read_of_stage = desk.feed._reading.read

        async def read(commands: Any, *more: Any) -> list[Any]:
            reads.append(commands)
            return await read_of_stage(commands, *more)

        monkeypatch.setattr(desk.feed._reading, "read", read)
        await desk.write(2)
        assert (await desk.read(None))[0] == [0, 1]
        after = (await desk.all(None))[1]
        async with trio.open_nursery() as nursery:
            for round_ in range(3):
                reads.clear()
                found: list[tuple[list[int], str]] = []

                async def one(where: str = after[-1], found: Any = found) -> None:
                    found.append(await desk.read(where))

                nursery.start_soon(one)
                await trio.sleep(0.001)
                await desk.write(1)
                await trio.sleep(0.001)
                assert found[0][0] == [2 + round_]
                assert len(reads) == 1 or not round_  # the wait of `all` was cancelled
                after.append(found[0][1])
            # Half an entry was read: the rest of it is no news.
            await desk.write(3)
            whole = await desk.all(after[-1])
            assert (await desk.all(whole[1][0]))[0] == whole[0][1:]

    desk(story)


def test_what_another_process_writes_is_read_by_who_had_read_all() -> None:
    async def story(desk: Desk) -> None:
        desk.feed.shared_with_others(0)
        await desk.write(1)
        _, where = await desk.read(None)
        for number in (1, 2):
            found: list[tuple[list[int], str]] = []

            async def one(where: str = where, found: Any = found) -> None:
                found.append(await desk.read(where))

            with trio.fail_after(1):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(one)
                    await trio.sleep(0.001)
                    await desk._stage.commit(publish(APP, [told(number)]))
            assert found[0][0] == [number]
            where = found[0][1]

    desk(story)


def test_what_is_written_while_all_is_being_read_is_no_end() -> None:
    async def story(desk: Desk) -> None:
        await desk.write(1)
        read_of_stage = desk.feed._reading.read
        late = [1]

        async def read(commands: Any, *more: Any) -> list[Any]:
            replies = await read_of_stage(commands, *more)
            if late:
                await desk.write(late.pop())
            return replies

        desk.feed._reading.read = read  # type: ignore[method-assign]  # of this stage alone
        numbers, where = await desk.read(None)
        assert numbers == [0]
        with trio.fail_after(1):
            assert (await desk.read(where))[0] == [1]

    desk(story)
