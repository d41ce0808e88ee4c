"""The operator's desk: a pause that is one, rates within the contract, held messages that are never lost."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from todoke.codecs import constants as c
from todoke.engine.intake.errors import (
    BadValue,
    NodeUnavailable,
    TooManyTraces,
    UnknownCarrier,
    UnknownMessage,
)
from todoke.engine.messages import Valid
from todoke_tests_kit import NUMBER, WALL_S, House, node_config, run, steps

BY = "uid 1000"


async def do(house: House, act: str, value: float | None = None, name: str = "docomo") -> dict[str, Any]:
    answer = await house.engine.desk.carrier(act, name, value, BY)
    await house.settle()
    return next(one for one in answer["carriers"] if one["name"] == name)


async def held(house: House, act: str, mid: str | None = None, carrier: str | None = None) -> dict[str, Any]:
    answer = await house.engine.desk.held(act, carrier, mid, BY)
    await house.settle()
    return answer


async def held_ids(house: House) -> list[str]:
    return [one["message_id"] for one in (await held(house, "list"))["messages"]]


# -- pause -----------------------------------------------------------------------------------------------


def test_paused_nothing_is_written_while_answers_and_receipts_are_taken() -> None:
    async def story(house: House) -> None:
        bind = house.bind(window=2)
        mids = await house.accept("a", "b", "c", "d")
        shown = await do(house, "pause")
        assert (shown["state"], shown["paused"], shown["changed_by"]) == ("paused", True, BY)
        bind.answer("A", "B")
        await house.later(30)
        bind.receipt("A")
        assert await house.states() == [(mids[0], "delivered")]
        more = await house.accept("e")
        await house.later(30)
        assert [sent.text for sent in bind.seen] == ["a", "b"]
        assert bind.bound
        shown = await do(house, "resume")
        assert (shown["state"], shown["paused"]) == ("sending", False)
        assert [sent.text for sent in bind.seen] == ["a", "b", "c", "d"]
        bind.answer("C", "D")
        await house.settle()
        bind.answer("E")
        await house.settle()
        for id_ in "BCDE":
            bind.receipt(id_)
        assert sorted(await house.states()) == sorted((mid, "delivered") for mid in [*mids[1:], *more])
        assert house.grants() == 0
        await house.later(2_000)
        assert house.left_over() == {"hand": house.stored()["hand"]}
        assert (await house.node.status())["queued"] == 0

    run(story)


def test_what_was_granted_is_not_in_doubt_after_a_crash_in_a_pause() -> None:
    async def story(house: House) -> None:
        bind = house.bind(window=2)
        mids = await house.accept(*"abcdef")
        assert house.grants() == 4
        await do(house, "pause")
        assert house.grants() == len(bind.waiting) == 2
        await house.reopen()
        bind = house.bind(window=10)
        await house.later(5)
        assert bind.seen == []
        assert (await do(house, "list"))["paused"]
        await do(house, "resume")
        await house.later(60)
        assert sorted(sent.text for sent in bind.seen) == list("abcdef")
        await house.deliver(bind, *(f"Z{sent.text}" for sent in bind.seen))
        doubled = {each.message_id: each.possibly_doubled for each in await house.told()}
        assert doubled == dict(zip(mids, [True, True, False, False, False, False], strict=True))

    run(story)


def test_nothing_leaves_even_if_it_is_granted_and_there_is_room() -> None:
    async def story(house: House) -> None:
        bind = house.bind(window=1)
        await house.accept("a", "b")
        outgoing = house.carrier().outgoing
        outgoing.paused = True
        bind.answer("A")
        outgoing.pump()
        assert outgoing.granted_ahead() == 1
        assert [sent.text for sent in bind.seen] == ["a"]

    run(story)


def test_what_another_process_cancels_in_a_pause_is_not_sent_after_it() -> None:
    async def story(house: House) -> None:
        bind = house.bind(window=1)
        await house.accept("a")
        (mid,) = await house.accept("b")
        other = await house.neighbour()
        await do(house, "pause")
        assert (await other.node.cancel("default", mid))["cancelled"] is True
        await do(house, "resume")
        bind.answer("A")
        await house.later(2)
        assert [sent.text for sent in bind.seen] == ["a"]
        assert house.grants() == 0

    run(story, node_config({"binds": 2}))


@pytest.mark.parametrize("cancelled", [0, 1, 2])
def test_cancelling_in_a_pause_is_true(cancelled: int) -> None:
    async def story(house: House) -> None:
        bind = house.bind(window=1)
        mids = await house.accept("a", "b", "c")
        await do(house, "pause")
        answer = await house.node.cancel("default", mids[cancelled])
        assert answer["cancelled"] is (cancelled > 0)
        await do(house, "resume")
        await house.answer_each(bind)
        assert [sent.text for sent in bind.seen] == [
            text for place, text in enumerate("abc") if not cancelled or place != cancelled
        ]
        assert house.grants() == 0

    run(story)


def test_pausing_again_and_again_keeps_count_of_what_is_granted() -> None:
    async def story(house: House) -> None:
        bind = house.bind(window=3)
        await house.accept(*"abcdefghijkl", "x" * 400)
        number = 0
        for turn in range(40):
            await do(house, "pause" if turn % 2 == 0 else "resume")
            if bind.waiting:
                bind.answer(f"A{number}")
                number += 1
            if turn % 3 == 0:
                await house.settle()
        await do(house, "resume")
        await house.answer_each(bind, number)
        assert len(bind.seen) == 15
        assert house.grants() == 0

    run(story)


def test_a_stop_in_a_pause_does_not_wait_for_the_rest_of_a_message() -> None:
    async def story(house: House) -> None:
        bind = house.bind(window=1)
        await house.accept("x" * 400)
        await do(house, "pause")
        bind.answer("A0")
        await house.settle()
        before = trio.current_time()
        await house.drain(30.0)
        assert trio.current_time() - before < 5

    run(story)


# -- rate and window ---------------------------------------------------------------------------------------


def test_a_rate_holds_at_once_and_never_above_the_contract() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        with pytest.raises(BadValue, match=r"rate of docomo: 0.01 to 50 \(the contract\)"):
            await do(house, "rate", 51)
        with pytest.raises(BadValue):
            await do(house, "rate", 0)
        shown = await do(house, "rate", 5)
        assert (shown["rate"], shown["rate_allowed"], shown["rate_contract"]) == (5, 5, 50)
        await house.accept(*("x" for _ in range(40)))
        await house.later(3)
        assert 10 <= len(bind.seen) <= 20
        assert (await do(house, "rate"))["rate_allowed"] == 50
        await house.later(2)
        assert len(bind.seen) == 40

    run(story, node_config({"rate": 50.0}))


def test_an_account_without_a_rate_may_have_one_for_a_while() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        await do(house, "rate", 4)
        await house.accept(*("x" for _ in range(40)))
        await house.later(2)
        assert 4 <= len(bind.seen) <= 12
        assert (await do(house, "rate"))["rate_allowed"] == 0
        await house.later(1)
        assert len(bind.seen) == 40

    run(story)


def test_a_window_holds_at_once_and_over_a_restart() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        with pytest.raises(BadValue, match=r"a whole number from 1 to 100 \(the contract\)"):
            await do(house, "window", 101)
        with pytest.raises(BadValue):
            await do(house, "window", 1.5)
        shown = await do(house, "window", 3)
        assert (shown["window"], shown["window_allowed"], shown["window_contract"]) == (3, 3, 100)
        assert bind.window == 3
        await house.accept(*"abcdefgh")
        assert len(bind.waiting) == 3
        await house.reopen()
        assert [bind.window for bind in house.carrier().binds.sending] == [3]
        status = (await house.node.status())["carriers"][0]
        assert (status["window"], status["window_allowed"], status["changed_by"]) == (100, 3, BY)
        house.bind(window=3)
        await do(house, "window")
        assert [bind.window for bind in house.carrier().binds.sending] == [100]

    run(story)


def test_another_process_learns_it_when_it_looks() -> None:
    async def story(house: House) -> None:
        other = await house.neighbour()
        await do(house, "pause")
        assert not other.carrier().outgoing.paused
        await house.later(6)
        assert other.carrier().outgoing.paused
        await other.engine.desk.carrier("resume", "docomo", None, "root")
        await house.later(6)
        assert not house.carrier().outgoing.paused
        assert house.carrier().hand.by == "root"

    run(story, node_config({"binds": 2, "lease_s": 10.0}))


THREE = node_config({"window": 10}, {"name": "au"}, {"name": "softbank"})


def test_a_refused_message_goes_to_a_paused_carrier_only_if_there_is_no_other() -> None:
    async def story(house: House) -> None:
        docomo, au, softbank = (house.bind(carrier=name) for name in ("docomo", "au", "softbank"))
        await do(house, "pause", name="au")
        await house.accept("a")
        docomo.answer(c.ESME_RPROHIBITED)
        await house.later(1)
        assert [sent.text for sent in softbank.seen] == ["a"]
        await do(house, "pause", name="softbank")
        await house.accept("b")
        docomo.answer(c.ESME_RPROHIBITED)
        await house.later(1)
        assert (await house.states(), au.seen, len(softbank.seen)) == ([], [], 1)
        await do(house, "resume", name="au")
        await do(house, "resume", name="softbank")
        await house.later(1)
        assert len(au.seen) + len(softbank.seen) == 2

    run(story, THREE)


def test_what_leaves_a_broken_carrier_does_not_go_to_a_paused_one() -> None:
    async def story(house: House) -> None:
        docomo, au = house.bind(), house.bind(carrier="au")
        await do(house, "pause", name="au")
        await house.accept(*("a" for _ in range(30)))
        while len(docomo.seen) < 30 and docomo.waiting:
            docomo.answer(*[c.ESME_RSYSERR] * len(docomo.waiting))
            await house.settle()
        assert (await do(house, "list"))["breaker"] == "open"
        await house.later(1)
        assert sum((await house.node.status())["carriers"][1]["queued"].values()) == 0
        assert au.seen == []

    run(story, node_config({"window": 10}, {"name": "au"}))


def test_a_store_that_is_away_takes_no_change() -> None:
    async def story(house: House) -> None:
        house.store.down()
        with pytest.raises(NodeUnavailable):
            await do(house, "pause")
        assert not house.carrier().outgoing.paused
        house.store.up()
        await house.later(2)
        assert (await do(house, "pause"))["paused"]

    run(story)


def test_unknown_carriers_are_said_to_be() -> None:
    async def story(house: House) -> None:
        for request in (
            house.engine.desk.carrier("pause", "none", None, BY),
            house.engine.desk.carrier("pause", None, None, BY),
            house.engine.desk.held("list", "none", None, BY),
        ):
            with pytest.raises(UnknownCarrier):
                await request
        with pytest.raises(UnknownCarrier):
            house.engine.desk.watch("none", None, None, BY)
        with pytest.raises(BadValue):
            house.engine.desk.watch("docomo", 2, None, BY)
        with pytest.raises(BadValue):
            house.engine.desk.watch("docomo", None, ["submit"], BY)

    run(story)


# -- held --------------------------------------------------------------------------------------------------


async def three_in_doubt(house: House) -> tuple[Any, list[str]]:
    bind = house.bind()
    mids = await house.accept("a", "b", Valid(NUMBER, text="c" * 200, ref="order-7"))
    bind.time_out()
    await house.settle()
    return bind, mids


def test_what_is_held_is_listed_without_its_number() -> None:
    async def story(house: House) -> None:
        _, mids = await three_in_doubt(house)
        await house.later(4)
        shown = await held(house, "list")
        assert (shown["held"], shown["parts"]) == (3, 4)
        assert sorted(one["message_id"] for one in shown["messages"]) == sorted(mids)
        one = next(each for each in shown["messages"] if each["message_id"] == mids[2])
        assert (one["carrier"], one["app"], one["parts"]) == ("docomo", "default", 2)
        assert one["to"].startswith("+8190")
        assert one["to"].endswith("*******")
        assert one["age_s"] == pytest.approx(4, abs=0.5)
        assert one["due_in_s"] == pytest.approx(11, abs=0.5)
        assert (await do(house, "list"))["held_parts"] == 4

    run(story)


def test_released_they_are_sent_now_and_marked() -> None:
    async def story(house: House) -> None:
        bind, mids = await three_in_doubt(house)
        assert await held(house, "release") == {"changed": 3, "elsewhere": 0}
        await house.later(1)
        assert len(bind.waiting) == 4
        assert await held_ids(house) == []
        await house.deliver(bind, "A", "B", "C1", "C2")
        told = await house.told()
        assert sorted((each.message_id, each.state, each.possibly_doubled) for each in told) == sorted(
            (mid, "delivered", True) for mid in mids
        )
        await house.all_forgotten(6_000)

    run(story)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_one_is_released_and_the_others_wait(which: int) -> None:
    async def story(house: House) -> None:
        bind, mids = await three_in_doubt(house)
        assert (await held(house, "release", mids[which]))["changed"] == 1
        await house.later(1)
        assert {sent.text[:1] for sent in (each for _, _, each in bind.waiting)} in (
            {"ab"[which:][:1]},
            {"c"},
            {"\x05"},
        )
        assert sorted(await held_ids(house)) == sorted(set(mids) - {mids[which]})
        assert (await house.query(mids[which]))["final"] is False
        bind.answer(*(f"A{n}" for n in range(len(bind.waiting))))
        await house.later(30)
        rest = len(bind.waiting)
        bind.answer(*(f"B{n}" for n in range(rest)))
        await house.settle()
        for n in range(4):
            bind.receipt(f"A{n}")
            bind.receipt(f"B{n}")
        assert sorted(await house.states()) == sorted((mid, "delivered") for mid in mids)
        assert len(bind.seen) == 8
        await house.all_forgotten(4_000)

    run(story, node_config({"receipt_timeout_s": 900.0, "orphan_ttl_s": 900.0}))


def test_a_late_answer_withdraws_the_copy_that_was_taken_out() -> None:
    async def story(house: House) -> None:
        bind, mids = await three_in_doubt(house)
        await do(house, "pause")
        assert (await held(house, "release", mids[1]))["changed"] == 1
        await house.later(1)
        bind.late = bind.late[1:]
        bind.answer_late("B")
        await house.settle()
        await do(house, "resume")
        await house.later(1)
        assert [sent.text for _, _, sent in bind.waiting] == []
        bind.receipt("B")
        assert await house.states() == [(mids[1], "delivered")]

    run(story)


def test_dropped_they_are_told_and_never_sent_and_a_receipt_corrects() -> None:
    async def story(house: House) -> None:
        bind, mids = await three_in_doubt(house)
        assert (await held(house, "drop", mids[0]))["changed"] == 1
        assert await house.states() == [(mids[0], "unknown")]
        assert (await held(house, "drop", mids[0]))["changed"] == 0
        assert (await held(house, "drop", None, "docomo"))["changed"] == 2
        events = await house.told()
        assert sorted((each.message_id, each.state) for each in events) == sorted(
            (mid, "unknown") for mid in mids[1:]
        )
        assert await held_ids(house) == []
        bind.answer_late("A")
        await house.settle()
        bind.receipt("A")
        (event,) = await house.told()
        assert (type(event).__name__, event.state) == ("Correction", "delivered")
        await house.later(60)
        assert len(bind.seen) == 4
        await house.all_forgotten(4_000)

    run(story, node_config({"receipt_timeout_s": 900.0, "orphan_ttl_s": 900.0}))


def test_a_late_answer_to_what_was_dropped_tells_nothing_more() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept(Valid(NUMBER, text="a", receipt=False))
        bind.time_out()
        await house.settle()
        assert (await held(house, "drop"))["changed"] == 1
        bind.answer_late("A")
        await house.later(60)
        assert await house.states() == [(mid, "unknown")]
        assert len(bind.seen) == 1

    run(story)


def test_only_what_is_held_is_changed() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        (mid,) = await house.accept("a")
        (later,) = await house.accept(Valid(NUMBER, text="b", at_ms=int((WALL_S + 600) * 1000)))
        for act in ("release", "drop"):
            for each in (mid, later):
                assert (await held(house, act, each))["changed"] == 0
            assert (await held(house, act))["changed"] == 0
            with pytest.raises(UnknownMessage):
                await held(house, act, "docomo.1-99.0")
        bind.answer(c.ESME_RTHROTTLED)
        await house.settle()
        assert (await held(house, "drop"))["changed"] == 0
        assert await house.states() == []

    run(story)


@pytest.mark.parametrize("checkpoints", range(0, 40, 2))
def test_dropping_while_the_hold_ends_is_true_either_way(checkpoints: int) -> None:
    """Told unknown, no copy is sent; not told so, one is."""

    async def story(house: House) -> None:
        bind = house.bind()
        mids = await house.accept("a", "b")
        bind.time_out()
        await house.settle()
        await house.later(10)
        changed: list[int] = []

        async def drop() -> None:
            changed.append((await house.engine.desk.held("drop", None, mids[0], BY))["changed"])

        async with trio.open_nursery() as nursery:
            # The hold ends now, without the desk's knowledge.
            due = house.carrier().keys.due
            (members,) = await house.store.stage("test").read([("ZRANGEBYSCORE", due, "-inf", "+inf")])
            (member,) = (each for each in members if each.startswith(b"h:"))
            now_ms = int(house.clock.wall() * 1000)
            await house.store.stage("test2").commit([("ZADD", due, now_ms, member)])
            house.carrier().due.notice(0)
            await steps(checkpoints)
            nursery.start_soon(drop)
        await house.later(2)
        sent = sorted(each.text for each in bind.seen)
        assert sent == (["a", "b", "b"] if changed == [1] else ["a", "a", "b", "b"])
        assert await house.states() == ([(mids[0], "unknown")] if changed == [1] else [])

    for seed in range(3):
        run(story, seed=seed)


class SlowToCommit:
    """A stage whose commits leave late."""

    def __init__(self, stage: Any, seconds: float) -> None:
        self._stage = stage
        self._seconds = seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stage, name)

    async def commit(self, commands: Any) -> Any:
        await trio.sleep(self._seconds)
        return await self._stage.commit(commands)


@pytest.mark.parametrize("act", ["drop", "release"])
@pytest.mark.parametrize("one", [True, False])
def test_who_looked_before_the_hold_ended_changes_nothing_after(act: str, one: bool) -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        mids = await house.accept("a", "b")
        bind.time_out()
        await house.settle()
        desk = house.engine.desk
        desk._stage = SlowToCommit(desk._stage, 20)
        assert (await held(house, act, mids[0] if one else None))["changed"] == 0
        assert sorted(each.text for each in bind.seen) == ["a", "a", "b", "b"]
        await house.deliver(bind, "A", "B")
        assert sorted(await house.states()) == sorted((mid, "delivered") for mid in mids)

    run(story)


@pytest.mark.parametrize("checkpoints", range(0, 12))
@pytest.mark.parametrize("act", ["release", "drop"])
def test_against_a_crash_nothing_is_lost(act: str, checkpoints: int) -> None:
    async def story(house: House) -> None:
        _, mids = await three_in_doubt(house)
        await house.crash_during(checkpoints, house.engine.desk.held(act, None, mids[0], BY))
        bind = house.bind()
        await house.later(60)
        bind.answer(*(f"A{n}" for n in range(len(bind.waiting))))
        await house.settle()
        for n in range(4):
            bind.receipt(f"A{n}")
        states = dict(await house.states())
        assert states.keys() == set(mids)
        assert set(states.values()) <= ({"delivered"} if act == "release" else {"delivered", "unknown"})

    for seed in range(2):
        run(story, seed=seed)


# -- traces ------------------------------------------------------------------------------------------------


def test_no_more_than_a_few_watch() -> None:
    async def story(house: House) -> None:
        leaves = [house.engine.desk.watch("docomo", None, None, BY)[1] for _ in range(4)]
        with pytest.raises(TooManyTraces):
            house.engine.desk.watch("docomo", None, None, BY)
        leaves[0]()
        house.engine.desk.watch("docomo", 1, ["submit_sm"], BY)

    run(story)
