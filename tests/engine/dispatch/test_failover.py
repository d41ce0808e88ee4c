"""An account that is ill: less is sent, what waits goes elsewhere, and all is as before once it is well."""

from __future__ import annotations

from typing import Any

import msgspec
from todoke.codecs import constants as c
from todoke_tests_kit import House, Valid, node_config, run

NUMBER = "819000000000"
TWO = node_config({"window": 10}, {"name": "au", "window": 10})


def texts(count: int, first: int = 0) -> list[Valid]:
    return [Valid(f"8190{number:08d}", text=str(number)) for number in range(first, first + count)]


def seen(*binds: Any) -> list[str]:
    return sorted((each.text for bind in binds for each in bind.seen if not each.refused), key=int)


def test_an_open_breaker_sends_what_waits_to_the_next_carrier() -> None:
    async def story(house: House) -> None:
        first, second = house.bind(), house.bind(carrier="au")
        await house.accept(*texts(100))
        for _ in range(3):
            first.answer(*[c.ESME_RSYSERR] * len(first.waiting))
            await house.later(0.01)
        assert house.engine.open_carriers == {"docomo"}
        await house.accept(*texts(5, first=200))
        for number in range(40):
            second.answer(*[f"B{number}-{place}" for place in range(len(second.waiting))])
            await house.later(0.05)
        sent = seen(second)
        assert len(sent) >= 75, len(sent)
        assert set(sent) >= {"200", "201", "202", "203", "204"}

    run(story, TWO)


def with_own_work(first_recovers: bool) -> tuple[list[int], list[int]]:
    """What either carrier took when the first is ill for 2 s, or for good, and the second has a queue."""
    taken: list[list[int]] = []

    async def story(house: House) -> None:
        first, second = house.bind(), house.bind(carrier="au")
        own = [msgspec.structs.replace(each, carrier="au") for each in texts(200, first=1000)]
        urgent = [msgspec.structs.replace(each, lane="urgent") for each in texts(5, first=500)]
        await house.accept(*own, *texts(100))
        number = 0
        for tick in range(400):
            if tick == 15:
                assert house.engine.open_carriers == {"docomo"}
                await house.accept(*(msgspec.structs.replace(each, carrier="docomo") for each in urgent))
            for name, bind, well in (
                ("A", first, first_recovers and tick > 20),
                ("B", second, True),
            ):
                ids: list[str | int] = [f"{name}{number + each}" for each in range(len(bind.waiting))]
                number += len(ids)
                bind.answer(*(ids if well else [c.ESME_RSYSERR] * len(ids)))
            await house.later(0.1)
        taken.extend([int(each.text) for each in bind.seen if not each.refused] for bind in (first, second))

    run(story, node_config({"window": 10, "rate": 20}, {"name": "au", "window": 10, "rate": 20}))
    first, second = taken
    assert len({*first, *second}) == len(first) + len(second)
    return first, second


def test_what_waits_stays_while_the_next_carrier_has_work_of_its_own() -> None:
    """A full queue elsewhere is no better place to wait, and what has moved there does not come back."""
    first, second = with_own_work(first_recovers=True)
    assert len([each for each in first if each < 100]) >= 75
    urgent = [each for each in second if 500 <= each < 505]
    assert len(urgent) == 5
    assert second.index(urgent[-1]) < 100


def test_new_messages_wait_where_they_belong_while_the_next_carrier_is_full() -> None:
    async def story(house: House) -> None:
        first, second = house.bind(), house.bind(carrier="au")
        await house.accept(*texts(100))
        for _ in range(15):
            first.answer(*[c.ESME_RSYSERR] * len(first.waiting))
            await house.later(0.1)
        assert house.engine.open_carriers == {"docomo"}
        mids = await house.accept(*texts(5, first=200))
        assert {each.partition(".")[0] for each in mids} == {"au"}
        await house.accept(*(msgspec.structs.replace(each, carrier="au") for each in texts(300, first=1000)))
        mids = await house.accept(*texts(5, first=300))
        assert {each.partition(".")[0] for each in mids} == {"docomo"}
        mids = await house.accept(*(msgspec.structs.replace(each, lane="urgent") for each in texts(5, 400)))
        assert {each.partition(".")[0] for each in mids} == {"au"}
        assert second.seen

    run(story, node_config({"window": 10, "rate": 20}, {"name": "au", "window": 10, "rate": 60}))


def test_what_waits_goes_when_the_next_carrier_has_done_its_own() -> None:
    _, second = with_own_work(first_recovers=False)
    assert len(second) >= 290


def test_nothing_is_lost_or_doubled_when_it_moves() -> None:
    async def story(house: House) -> None:
        first, second = house.bind(), house.bind(carrier="au")
        mids = await house.accept(*texts(60))
        for _ in range(3):
            first.answer(*[c.ESME_RSYSERR] * len(first.waiting))
            await house.later(0.01)
        number = 0
        for _ in range(600):
            for name, bind in (("A", first), ("B", second)):
                ids = [f"{name}{number + place}" for place in range(len(bind.waiting))]
                number += len(ids)
                tos = [sent.to for _, _, sent in bind.waiting]
                bind.answer(*ids)
                await house.settle()
                for id_, to in zip(ids, tos, strict=True):
                    bind.receipt(id_, to=to)
            await house.later(0.5)
        assert seen(first, second) == [str(each) for each in range(60)]
        assert sorted(await house.states()) == sorted((mid, "delivered") for mid in mids)
        assert house.grants() == house.grants("au") == 0

    run(story, TWO)


def test_a_healthy_carrier_is_not_left_for_one_refusal() -> None:
    async def story(house: House) -> None:
        first, second = house.bind(), house.bind(carrier="au")
        await house.accept(*texts(30))
        for number in range(3):
            first.answer(c.ESME_RSYSERR, *[f"A{number}-{each}" for each in range(len(first.waiting) - 1)])
            await house.settle()
        assert not house.engine.open_carriers
        assert second.seen == []

    run(story, TWO)


def test_binds_that_stay_down_send_what_waits_elsewhere() -> None:
    async def story(house: House) -> None:
        first, second = house.bind(), house.bind(carrier="au")
        await house.settle()
        first.lose()
        await house.accept(*texts(20))
        await house.later(5)
        assert second.seen == []
        await house.later(10)
        assert house.engine.open_carriers == {"docomo"}
        while second.waiting:
            second.answer(*[f"B{len(second.seen)}-{each}" for each in range(len(second.waiting))])
            await house.later(1)
        assert seen(second) == [str(each) for each in range(20)]
        first.bind_again()
        await house.later(15)
        assert not house.engine.open_carriers

    run(story, TWO)


def test_a_bind_that_comes_back_is_tried_though_nothing_else_happens() -> None:
    """Its breaker's pause is not over when it comes, and nobody else wakes what waits for it."""

    async def story(house: House) -> None:
        bind = house.bind()
        bind.lose()
        await house.later(10.2)
        assert house.engine.open_carriers == {"docomo"}
        await house.accept(*texts(1))
        await house.later(0.1)
        bind.bind_again()
        assert bind.waiting == []
        await house.later(5)
        assert seen(bind) == ["0"]
        bind.answer("A1")
        await house.settle()
        assert house.engine.open_carriers == set()

    run(story)


def test_throttling_lowers_the_window_and_the_rate_and_both_come_back() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        await house.accept(*texts(500))
        bind.answer(*[c.ESME_RTHROTTLED] * len(bind.waiting))
        await house.settle()
        assert bind.window == 10
        assert house.carrier().outgoing.pacer.rate <= 25
        began = 0.0
        number = 0
        while began < 12:
            bind.answer(*[f"A{number}-{each}" for each in range(len(bind.waiting))])
            number += 1
            await house.later(0.1)
            began += 0.1
        assert bind.window == 20
        assert house.carrier().outgoing.pacer.rate >= 47.5

    run(story, node_config({"window": 20, "rate": 50}))


def test_a_full_number_waits_alone() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        await house.accept(*texts(30))
        while bind.waiting:
            bind.answer(*[f"A{len(bind.seen)}-{each}" for each in range(len(bind.waiting))])
            await house.settle()
        await house.accept(Valid(NUMBER, text="900"), Valid("819055555555", text="901"))
        bind.answer(c.ESME_RMSGQFUL, "B1")
        await house.settle()
        await house.accept(Valid(NUMBER, text="902"), Valid("819055555555", text="903"))
        assert [sent.text for _, _, sent in bind.waiting] == ["903"]
        assert bind.window == 10
        bind.answer("B2")
        await house.later(14)
        assert bind.waiting == []
        await house.later(3)
        assert sorted(sent.text for _, _, sent in bind.waiting) == ["900", "902"]

    run(story, node_config({"window": 10}))


def test_a_bind_that_is_not_bound_by_its_smsc_is_bound_anew() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        await house.accept("1")
        bind.answer(c.ESME_RINVBNDSTS)
        await house.settle()
        assert len(bind.rebinds) == 1
        await house.later(3)
        bind.answer("A1")
        await house.settle()
        assert [each.text for each in bind.seen] == ["1", "1"]

    run(story)


RETRIED = node_config(
    {"window": 10, "retry_failed": True}, {"name": "au", "window": 10, "retry_failed": True}
)


def test_a_failed_delivery_is_tried_elsewhere_and_told_once() -> None:
    async def story(house: House) -> None:
        first, second = house.bind(), house.bind(carrier="au")
        mids = await house.accept("1")
        first.answer("A1")
        await house.settle()
        first.receipt("A1", "UNDELIV", err="034")
        await house.later(6)
        assert await house.states() == []
        assert (await house.query(mids[0]))["carrier"] == "au"
        second.answer("B1")
        await house.settle()
        second.receipt("B1")
        await house.settle()
        assert await house.states() == [(mids[0], "delivered")]
        first.receipt("A1", "UNDELIV", err="034")
        first.receipt("A1")
        await house.later(2_000)
        assert await house.states() == []
        assert house.left_over() == house.left_over("au") == {}

    run(story, RETRIED)


def test_failed_everywhere_the_last_failure_is_the_report() -> None:
    async def story(house: House) -> None:
        first, second = house.bind(), house.bind(carrier="au")
        mids = await house.accept("1")
        first.answer("A1")
        await house.settle()
        first.receipt("A1", "UNDELIV", err="034")
        await house.later(6)
        second.answer("B1")
        await house.settle()
        second.receipt("B1", "EXPIRED", err="036")
        await house.later(6)
        assert await house.states() == [(mids[0], "expired")]
        assert len(first.seen) == len(second.seen) == 1

    run(story, RETRIED)


def test_a_permanent_failure_is_told_at_once() -> None:
    async def story(house: House) -> None:
        first, second = house.bind(), house.bind(carrier="au")
        mids = await house.accept("1", "x" * 200)
        first.answer("A1", "A2", "A3")
        await house.settle()
        first.receipt("A1", "UNDELIV", err="001")
        first.receipt("A2", "UNDELIV", err="034")  # of a message in parts: its parts must stay together
        first.receipt("A3")
        await house.later(6)
        assert await house.states() == [(mids[0], "undeliverable"), (mids[1], "undeliverable")]
        assert second.seen == []

    run(story, RETRIED)
