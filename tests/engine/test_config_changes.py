"""The configuration changed under queued messages (fault 55): nothing is lost, the new limits hold, and what
nobody can send is said.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
import trio
from todoke.engine.config import AppConfig, Config, RouteConfig
from todoke.engine.messages import Report, Valid
from todoke_tests_kit import NUMBER, FakeBind, House, Machine, node_config, run

LONG = "x" * 400
TWO: tuple[dict[str, Any], ...] = ({"name": "docomo"}, {"name": "au"})


def routed(config: Config, *routes: list[str]) -> Config:
    """The same with these carriers for every number."""
    return msgspec.structs.replace(config, route=[RouteConfig(carriers=carriers) for carriers in routes])


async def restart(house: House, config: Config) -> None:
    """A clean stop, and another life with this configuration."""
    await house.drain()
    house.config = config
    await house.open()


async def stranded(house: House) -> Mapping[str, Any]:
    status = await house.node.status()
    found: Mapping[str, Any] = status["stranded"]
    return found


async def to_the_end(house: House, bind: FakeBind, first_id: str = "A") -> list[str]:
    """Answer all that comes, and tell of it; the texts in the order in which they came."""
    number, texts = 0, []
    for _ in range(40):
        while bind.waiting:
            number += 1
            texts.append(bind.waiting[0][2].text)
            bind.answer(f"{first_id}{number}")
            bind.receipt(f"{first_id}{number}")
        await house.later(0.5)
    return texts


def test_a_carrier_that_is_gone_is_said_with_what_waits_there_and_comes_back_with_all_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story(house: House) -> None:
        bind = house.bind(window=2)
        mids = await house.accept("sent", "on the wire", "waits", "waits too")
        bind.window = 0
        bind.answer("S")
        bind.time_out()
        await house.settle()
        assert await stranded(house) == {"carriers": [], "apps": []}
        without = routed(node_config({"name": "au"}), ["au"])
        with caplog.at_level(logging.WARNING):
            await restart(house, without)
        (found,) = (await stranded(house))["carriers"]
        assert (found["name"], found["receipts"]) == ("docomo", 1)
        assert 3 <= found["queued"] <= 5, "its block is not finished, and one goes on in another"
        (said,) = [record.getMessage() for record in caplog.records if "configured no more" in record.message]
        assert "'docomo'" in said
        assert f"at most {found['queued']} messages wait" in said
        assert "put its [[carrier]] table back" in said
        assert (await house.query(mids[3]))["final"] is False
        other = house.bind(carrier="au")
        await house.accept("by the new one")
        assert (await to_the_end(house, other, "N"))[0] == "by the new one"
        await house.later(86_400)
        assert [state for _, state in await house.states()] == ["delivered"]
        await restart(house, node_config())
        again = house.bind()
        assert await to_the_end(house, again) == ["waits", "waits too", "on the wire"]
        again.receipt("S")
        assert dict(await house.states()) == dict.fromkeys(mids, "delivered")

    run(story)


def test_a_renamed_carrier_is_a_new_one_and_the_old_name_is_forgotten_when_nothing_is_left() -> None:
    async def story(house: House) -> None:
        await house.accept("under the old name")
        new = routed(node_config({"name": "docomo2"}), ["docomo2"])
        await restart(house, new)
        assert [each["name"] for each in (await stranded(house))["carriers"]] == ["docomo"]
        both = routed(node_config({"name": "docomo2"}, {"name": "docomo"}), ["docomo2"])
        await restart(house, both)
        assert (await stranded(house))["carriers"] == []
        bind = house.bind()
        assert await to_the_end(house, bind) == ["under the old name"]
        assert [state for _, state in await house.states()] == ["delivered"]
        await house.later(3_000)
        await restart(house, new)
        assert (await stranded(house))["carriers"] == []
        await restart(house, new)
        names = house.store.contents()[b"{todoke}:carriers"]
        assert list(names) == [b"docomo2"]

    run(story)


def test_what_another_living_process_serves_is_not_stranded() -> None:
    async def story(house: House) -> None:
        await house.accept("waits for its bind")
        async with trio.open_nursery() as nursery:
            config = routed(node_config({"name": "au"}), ["au"])
            other = House(config, house.store, nursery, house.machine)
            await other.open()
            assert (await stranded(other))["carriers"] == []
            nursery.cancel_scope.cancel()

    run(story)


def test_a_process_that_died_elsewhere_is_waited_for_and_then_what_it_left_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story(house: House) -> None:
        await house.accept("waits for its bind")
        await house.kill()
        house.machine = Machine()
        house.config = routed(node_config({"name": "au", "lease_s": 10.0}), ["au"])
        with caplog.at_level(logging.WARNING):
            await house.open()
            assert "configured no more" not in caplog.text, "it may be alive"
            await house.later(20)
        assert caplog.text.count("'docomo' is configured no more") == 1

    run(story, node_config({"lease_s": 10.0}))


@pytest.mark.parametrize("bound", [True, False], ids=["its binds stand", "it cannot be bound"])
def test_a_carrier_that_no_route_names_any_more_is_drained_or_its_messages_go_elsewhere(bound: bool) -> None:
    async def story(house: House) -> None:
        mids = await house.accept("one", "two", Valid(NUMBER, text=LONG))
        await restart(house, routed(house.config, ["au"]))
        other = house.bind(carrier="au")
        if bound:
            bind = house.bind()
            assert len(await to_the_end(house, bind)) == 5
            assert other.seen == []
        else:
            assert len(await to_the_end(house, other)) == 5
        reports: list[Any] = await house.told()
        assert {report.message_id: report.state for report in reports} == dict.fromkeys(mids, "delivered")
        assert {report.carrier for report in reports} == {"docomo" if bound else "au"}

    run(story, node_config(*TWO))


def test_another_route_is_for_what_comes_and_not_for_what_waits() -> None:
    async def story(house: House) -> None:
        await house.accept("before")
        await restart(house, routed(house.config, ["au", "docomo"]))
        bind, other = house.bind(), house.bind(carrier="au")
        await house.accept("after")
        assert await to_the_end(house, bind) == ["before"]
        assert await to_the_end(house, other, "B") == ["after"]
        assert [state for _, state in await house.states()] == ["delivered", "delivered"]

    run(story, node_config(*TWO))


@pytest.mark.parametrize("crash", [True, False])
def test_fewer_binds_a_smaller_window_and_a_lower_rate_hold_at_once_and_leave_nothing_behind(
    crash: bool,
) -> None:
    rate = 5

    async def story(house: House) -> None:
        binds = [house.bind() for _ in range(3)]
        mids = [mid for number in range(12) for mid in await house.accept(f"text {number}")]
        on_the_wire = [sent.text for bind in binds for sent in bind.seen]
        assert len(on_the_wire) == 12
        for bind in binds:
            bind.window = 0
        mids += await house.accept(*(f"more {number}" for number in range(12)))
        if crash:
            await house.kill()
        else:
            await house.drain()
        house.config = node_config({"binds": 1, "window": 2, "rate": rate, "hold_s": 1})
        await house.open()
        began = trio.current_time()
        assert house.carrier().slots.held == [1]
        bind = house.bind()
        number = 0
        while number < 24:
            assert len(bind.waiting) <= 2
            for _ in tuple(bind.waiting):
                number += 1
                bind.answer(f"A{number}")
                bind.receipt(f"A{number}")
            await house.later(0.05)
            assert trio.current_time() < began + 60
        times = [sent.at for sent in bind.seen]
        for first, later in zip(times, times[rate:], strict=False):
            assert later - first >= 1.0
        assert dict(await house.states()) == dict.fromkeys(mids, "delivered")

    run(story, node_config({"binds": 3, "window": 100, "hold_s": 1}))


@pytest.mark.parametrize(
    ("settings", "text", "state"),
    [
        ({"concat": "udh16"}, LONG, "delivered"),  # as many parts: cut as today
        ({"concat": "payload"}, LONG, "rejected"),  # the app was told of three
        ({"alphabets": ["ucs2"]}, LONG, "rejected"),
        ({"alphabets": ["ucs2"]}, "short", "delivered"),
        ({"alphabets": ["gsm7"]}, "お荷物", "rejected"),
        ({"parts_max": 2}, LONG, "rejected"),
    ],
)
def test_other_rules_for_texts_send_it_whole_by_todays_rules_or_say_that_it_does_not_fit(
    settings: dict[str, Any], text: str, state: str
) -> None:
    async def story(house: House) -> None:
        (mid,) = await house.accept(Valid(NUMBER, text=text))
        await restart(house, node_config(settings))
        bind = house.bind()
        texts = await to_the_end(house, bind)
        (report,) = await house.told()
        assert isinstance(report, Report)
        assert (report.message_id, report.state) == (mid, state)
        if state == "rejected":
            assert texts == []
            assert report.error is not None
            assert report.error.class_ == "unencodable"
        else:
            assert len(texts) == report.parts

    run(story)


def test_a_wider_reference_is_written_into_a_narrower_field() -> None:
    """udh16 to udh8 while a message waits: its reference loses its upper octet, not the message its way."""

    async def story(house: House) -> None:
        for _ in range(3):
            await house.accept(Valid(NUMBER, text=LONG))
        await restart(house, node_config({"concat": "udh8"}))
        bind = house.bind()
        assert len(await to_the_end(house, bind)) == 9
        headers = [sent.pdu.short_message[:6] for sent in bind.seen]
        assert len(set(headers)) == 9
        assert [state for _, state in await house.states()] == ["delivered"] * 3

    run(story, node_config({"concat": "udh16"}))


def test_an_app_that_is_gone_is_said_and_hears_everything_when_it_comes_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def apps(*names: str) -> Config:
        found = [AppConfig(name=name, uid=uid) for uid, name in enumerate(names)]
        return msgspec.structs.replace(node_config(), app=found)

    async def story(house: House) -> None:
        (mid,) = [each.message_id for each in (await house.submit("a", app="shop"))[0]]
        await restart(house, apps("bank"))
        bind = house.bind()
        assert await to_the_end(house, bind) == ["a"]
        with caplog.at_level(logging.WARNING):
            await restart(house, apps("bank"))
        assert any("app 'shop' is configured no more: 1 events" in each.message for each in caplog.records)
        assert (await stranded(house))["apps"] == [{"name": "shop", "events": 1}]
        await restart(house, apps("bank", "shop"))
        assert (await stranded(house))["apps"] == []
        (report,) = await house.told("shop")
        assert isinstance(report, Report)
        assert (report.message_id, report.state) == (mid, "delivered")

    run(story, apps("shop", "bank"))


def test_a_lower_limit_is_in_force_within_a_second_on_a_running_node() -> None:
    async def story(house: House) -> None:
        bind = house.bind(window=50)
        await house.accept(*(f"text {number}" for number in range(200)))
        await house.later(0.3)
        while bind.waiting:
            bind.answer(f"A{len(bind.seen)}-{len(bind.waiting)}")
        await house.engine.desk.carrier("rate", "docomo", 5, "a test")
        await house.engine.desk.carrier("window", "docomo", 3, "a test")
        began = trio.current_time()
        before = len(bind.seen)
        await house.later(1.0)
        while trio.current_time() < began + 5:
            assert len(bind.waiting) <= 3
            while bind.waiting:
                bind.answer(f"B{len(bind.seen)}-{len(bind.waiting)}")
            await house.later(0.1)
        late = [sent.at for sent in bind.seen[before:] if sent.at >= began + 1]
        for first, later in zip(late, late[5:], strict=False):
            assert later - first >= 1.0
        assert late

    run(story, node_config({"rate": 50}))
