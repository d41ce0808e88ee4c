"""A carrier that does not heed validity_period tries for as long as it likes: that time has to fit."""

from __future__ import annotations

import pytest
from todoke.codecs import constants as c
from todoke.engine.messages import INVALID_WINDOW, Window
from todoke_tests_kit import WALL_S, House, Valid, node_config, run

NUMBER = "819000000000"
HOUR_S = 3_600.0
STUBBORN = node_config({"ignores_validity_s": HOUR_S})


def until(minutes: float) -> Window:
    """Open now (2027-01-15T08:00:00Z), closing in so many minutes."""
    close = 8 * 60 + int(minutes)
    return Window(from_="08:00", to=f"{close // 60:02d}:{close % 60:02d}", zone="UTC")


def test_what_could_arrive_after_its_hours_waits_for_the_next_ones() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        await house.submit(Valid(NUMBER, text="fits", window=until(90)))
        await house.later(45 * 60)
        await house.submit(Valid(NUMBER, text="too late today", window=until(90)))
        await house.later(HOUR_S)
        assert [each.text for each in bind.seen] == ["fits"]
        await house.later(23 * HOUR_S)
        assert [each.text for each in bind.seen] == ["fits", "too late today"]

    run(story, STUBBORN)


def test_hours_shorter_than_its_patience_are_refused_at_the_door() -> None:
    async def story(house: House) -> None:
        _, refused = await house.submit(Valid(NUMBER, text="never", window=until(30)))
        assert [each.code for each in refused] == [INVALID_WINDOW]

    run(story, STUBBORN)


def test_what_expires_before_it_may_give_up_is_not_sent() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        soon, late = int((WALL_S + 1_800) * 1000), int((WALL_S + 2 * HOUR_S) * 1000)
        await house.submit(
            Valid(NUMBER, text="soon", expires_ms=soon), Valid(NUMBER, text="late", expires_ms=late)
        )
        await house.settle()
        assert [each.text for each in bind.seen] == ["late"]
        assert [state for _, state in await house.states()] == ["expired"]

    run(story, STUBBORN)


def test_a_carrier_that_heeds_it_needs_no_more_than_a_moment() -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        await house.submit(Valid(NUMBER, text="now", window=until(30)))
        await house.settle()
        assert bind.seen[0].pdu.validity_period == b"000000003000000R"

    run(story)


def expires(seconds: float) -> int:
    return int((WALL_S + seconds) * 1000)


@pytest.mark.parametrize(("expires_s", "told"), [(24 * HOUR_S, True), (24 * HOUR_S + 60, False)])
def test_what_expires_before_its_hours_open_again_is_told_at_once(expires_s: float, told: bool) -> None:
    """Not when it expires, nor when they open: it is known now."""

    async def story(house: House) -> None:
        (mid,) = await house.accept(Valid(NUMBER, text="a", window=until(30), expires_ms=expires(expires_s)))
        await house.later(45 * 60)
        bind = house.bind()
        await house.later(1)
        assert await house.states() == ([(mid, "expired")] if told else [])
        await house.later(24 * HOUR_S)
        assert len(bind.seen) == (not told)
        assert house.grants() == len(bind.waiting)

    run(story, node_config({"ignores_validity_s": 0}))


@pytest.mark.parametrize("failure", ["refused", "in doubt", "number full"])
def test_a_retry_that_would_come_after_the_expiry_is_told_at_the_expiry(failure: str) -> None:
    async def story(house: House) -> None:
        bind = house.bind()
        if failure == "number full":
            await house.accept(*(Valid(NUMBER, text="before") for _ in range(3)))
            bind.answer(*[c.ESME_RMSGQFUL] * 3)
            await house.settle()
        (mid,) = await house.accept(Valid(NUMBER, text="a", expires_ms=expires(3)))
        await house.settle()
        if failure == "refused":
            bind.answer(c.ESME_RDELIVERYFAILURE)
        elif failure == "in doubt":
            bind.time_out()
        await house.later(2.9)
        assert await house.states() == []
        await house.later(0.2)
        assert (mid, "expired") in await house.states()
        assert [each.text for each in bind.seen].count("a") == (failure != "number full")

    run(story, node_config({"hold_s": 600.0}))
