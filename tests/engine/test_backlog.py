"""A backlog revived after days: what is too late is told and never sent, the rest keeps hours and pace (fault
54).
"""

from __future__ import annotations

from typing import Any

import pytest
import trio
from todoke.codecs import constants as c
from todoke.engine.messages import Valid, Window
from todoke_tests_kit import NUMBER, WALL_S, FakeBind, House, Machine, node_config, run

HOUR_S = 3_600.0
DAY_S = 24 * HOUR_S
DOWN_S = 3 * DAY_S + 15 * HOUR_S
"""From 08:00 UTC to 23:00 UTC."""
OPENS_S = 4 * DAY_S
RATE = 10
BY_DAY = Window(from_="08:00", to="21:00", zone="UTC", days=None)


def in_ms(seconds: float) -> int:
    return int((WALL_S + trio.current_time() + seconds) * 1000)


def answer_all(bind: FakeBind, answered: list[Any]) -> None:
    while bind.waiting:
        answered.append(bind.waiting[0][2])
        bind.answer(f"B{len(answered)}")


@pytest.mark.parametrize("crashed", [True, False], ids=["killed", "stopped"])
def test_a_backlog_of_days_is_sent_in_its_time_and_at_its_pace_or_told_as_expired(crashed: bool) -> None:
    async def story(house: House) -> None:
        bind = house.bind(window=4)
        mids: dict[str, str] = {}

        async def accept(*messages: Valid) -> None:
            ids = await house.accept(*messages)
            mids.update(zip((str(message.text) for message in messages), ids, strict=True))

        # What stood where when it stopped: on the wire, in a hold, in a retry, without its receipt ...
        await accept(*(Valid(NUMBER, text=name) for name in ("on the wire", "retry", "in doubt", "taken")))
        await house.later(1)
        bind.window = 0
        bind.answer(c.ESME_RSYSERR, first=1)
        bind.answer("T", first=2)
        bind.time_out(1)
        await house.settle()
        # ... and what was never begun.
        await accept(*(Valid(NUMBER, text=f"plain {number}") for number in range(40)))
        await accept(*(Valid(NUMBER, text=f"dead {number}", expires_ms=in_ms(DAY_S)) for number in range(20)))
        await accept(*(Valid(NUMBER, text=f"by day {number}", window=BY_DAY) for number in range(30)))
        await accept(Valid(NUMBER, text="dead by day", window=BY_DAY, expires_ms=in_ms(DOWN_S + HOUR_S)))
        await accept(Valid(NUMBER, text="long ago", at_ms=in_ms(HOUR_S)))
        await accept(Valid(NUMBER, text="to come", at_ms=in_ms(DOWN_S + 2 * HOUR_S)))
        await accept(Valid(NUMBER, text="alive", expires_ms=in_ms(DOWN_S + HOUR_S)))
        if crashed:
            await house.kill()
        else:
            await house.drain()
        house.machine = Machine()  # another one, which cannot know that its predecessor is dead
        await trio.sleep(DOWN_S)
        await house.open()
        revived = trio.current_time()
        again = house.bind()
        answered: list[Any] = []
        for _ in range(40):
            await house.later(0.5)
            answer_all(again, answered)
        night = {sent.text for sent in again.seen}
        due = {"retry", "long ago", "alive", "on the wire", "in doubt"}
        assert night == {f"plain {number}" for number in range(40)} | due
        while trio.current_time() < revived + 10 * HOUR_S:
            await house.later(0.5 if trio.current_time() > revived + 9 * HOUR_S - 1 else 60)
            answer_all(again, answered)
        texts = [sent.text for sent in again.seen]
        assert len(set(texts)) == len(texts), "each once"
        by_day = [sent for sent in again.seen if sent.text.startswith("by day")]
        assert len(by_day) == 30
        assert all(sent.at >= OPENS_S for sent in by_day), "the window opens at 08:00"
        (to_come,) = [sent for sent in again.seen if sent.text == "to come"]
        assert to_come.at >= revived + 2 * HOUR_S - 10
        assert not [text for text in texts if text.startswith("dead")]
        times = [sent.at for sent in again.seen]
        for first, later in zip(times, times[RATE:], strict=False):
            assert later - first >= 1.0, "more than the contract in a sliding second"
        for number in range(1, len(answered) + 1):
            again.receipt(f"B{number}")
        await house.settle()
        told = dict(await house.states())
        for text, message_id in mids.items():
            expected = "expired" if text.startswith("dead") else "delivered"
            assert told.pop(message_id) == ("unknown" if text == "taken" else expected), text
        assert told == {}
        await house.later(DAY_S)
        assert house.left_over() == {}

    run(story, node_config({"rate": RATE, "lease_s": 600.0, "hold_s": 15, "window": 100}))
