"""A random walk through everything at once: cancelling apps, an SMSC of every mood, weather, crashes.

Whatever happens, every accepted message ends in one report, what was told cancelled stays so, no part is sent
again without a doubt, grants return to zero, the counts of the queue too, and nothing is left in the store.
"""

from __future__ import annotations

import random
from collections import Counter
from contextlib import suppress

import anyio
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from todoke.codecs import constants as c
from todoke.engine.intake.errors import NodeUnavailable, UnknownMessage
from todoke.engine.messages import Report, Valid
from todoke_tests_kit import APP, NUMBER, WALL_S, FakeBind, House, Sent, node_config, run

CARRIERS = ("docomo", "au")
STATUSES = (
    c.ESME_RTHROTTLED,
    c.ESME_RSYSERR,
    c.ESME_RSUBMITFAIL,
    c.ESME_RINVDSTADR,
    c.ESME_RINVSRCADR,
    c.ESME_RINVBNDSTS,
)
STATS = ("DELIVRD", "UNDELIV", "EXPIRED", "ACCEPTD")


class Walk:
    """One walk through one house."""

    def __init__(self, house: House, rng: random.Random) -> None:
        self.house = house
        self.rng = rng
        self.binds: dict[str, FakeBind] = {}
        self.accepted: dict[str, Valid] = {}
        self.unclear = 0
        """Messages of submissions that were not answered: they may have been accepted."""
        self.cancelled: set[str] = set()
        self.given: dict[str, list[str]] = {name: [] for name in CARRIERS}
        """Every message_id that a carrier's SMSC gave."""
        self.doubts = 0
        self.sent: list[Sent] = []
        self.turn = 0

    def bind_all(self) -> None:
        for bind in self.binds.values():
            self.sent += bind.seen
        self.binds = {name: self.house.bind(self.rng.choice((1, 2, 10)), name) for name in CARRIERS}

    def new_id(self, name: str) -> str:
        self.given[name].append(f"{len(self.given[name]):x}-")
        return self.given[name][-1]

    async def step(self) -> None:
        rng = self.rng
        name = rng.choice(CARRIERS)
        bind = self.binds[name]
        what = rng.choices(
            ("submit", "answer", "time out", "lose", "late", "cancel", "die", "cut", "away", "receipt"),
            (30, 32, 5, 5, 6, 6, 4, 6, 2, 6),
        )[0]
        if what == "submit":
            await self.submit()
        elif what == "answer":
            await self.answer(name)
        elif what == "time out" and bind.bound:
            self.doubts += 1
            bind.time_out(rng.randint(0, len(bind.waiting)))
        elif what == "lose" and bind.bound:
            self.doubts += 1
            bind.lose(unsent=rng.randint(0, len(bind.waiting)))
        elif what == "late" and bind.late:
            bind.answer_late(self.new_id(name))
        elif what == "cancel" and self.accepted:
            await self.cancel(rng.choice(sorted(self.accepted)))
        elif what == "die":
            self.doubts += 1
            if rng.random() < 0.5:
                self.house.store.crash()
            await self.house.reopen()
            self.bind_all()
        elif what == "cut":
            for _ in range(rng.randrange(5)):
                await trio.lowlevel.checkpoint()
            self.house.store.cut()
        elif what == "away":
            self.house.store.down()
            await trio.sleep(rng.choice((0.1, 3, 20)))
            self.house.store.up()
        elif what == "receipt" and self.given[name]:
            bind.receipt(rng.choice(self.given[name]), rng.choice(STATS))
        for bind in self.binds.values():
            if not bind.bound and rng.random() < 0.5:
                bind.bind_again()
        if rng.random() < 0.7:
            await self.house.later(rng.choice((0, 0, 0.1, 3, 20)))
        else:
            for _ in range(rng.randrange(6)):
                await trio.lowlevel.checkpoint()

    async def submit(self) -> None:
        rng = self.rng
        now_s = WALL_S + trio.current_time()
        messages = []
        for place in range(rng.randint(1, 5)):
            name = f"{self.turn}.{place}"
            messages.append(
                Valid(
                    NUMBER,
                    text=f"{name} " + "x" * rng.choice((1, 1, 300, 1_400)),
                    ref=rng.choice((None, name)),
                    receipt=rng.random() < 0.8,
                    lane=rng.choice(("urgent", "normal", "bulk")),
                    carrier=rng.choice((None, *CARRIERS)),
                    at_ms=rng.choice((0, 0, 0, int((now_s + rng.randint(1, 50)) * 1000))),
                    expires_ms=rng.choice((0, 0, int((now_s + 60) * 1000))),
                )
            )
        self.turn += 1
        try:
            accepted, refused = await self.house.node.submit(APP, messages, list(range(len(messages))))
        except NodeUnavailable:
            self.unclear += len(messages)
            return
        assert refused == []
        for message, answer in zip(messages, accepted, strict=True):
            assert answer.message_id not in self.accepted
            self.accepted[answer.message_id] = message

    async def answer(self, name: str) -> None:
        bind = self.binds[name]
        for _ in range(self.rng.randint(1, 12)):
            if not bind.waiting:
                return
            bind.answer(self.new_id(name) if self.rng.random() < 0.75 else self.rng.choice(STATUSES))
            if self.rng.random() < 0.4:
                await self.house.settle()

    async def cancel(self, mid: str) -> None:
        with suppress(UnknownMessage, NodeUnavailable), anyio.move_on_after(50):
            answer = await self.house.node.cancel(APP, mid)
            if answer["cancelled"]:
                self.cancelled.add(mid)

    async def calm_down(self) -> None:
        """From now on the SMSCs take everything, and send every receipt."""
        await self.house.later(2)
        for bind in self.binds.values():
            if not bind.bound:
                bind.bind_again()
        for _ in range(80):
            for name, bind in self.binds.items():
                while bind.waiting:
                    bind.answer(self.new_id(name))
                    await self.house.settle()
            await self.house.later(5)
        for name, bind in self.binds.items():
            for message_id in self.given[name]:
                bind.receipt(message_id)
            self.sent += bind.seen
        await self.house.later(5)

    async def judge(self) -> None:
        house = self.house
        assert [house.grants(name) for name in CARRIERS] == [0, 0]
        events = await house.told()
        await house.later(700)
        events += await house.told()
        told: dict[str, list[str]] = {}
        for event in events:
            if isinstance(event, Report):
                told.setdefault(event.message_id, []).append(event.state)
        assert set(self.accepted) - set(told) == set(), "lost"
        assert len(set(told) - set(self.accepted)) <= self.unclear
        assert {mid: states for mid, states in told.items() if len(states) > 1} == {}, "told twice"
        assert {mid: told[mid] for mid in self.cancelled} == {mid: ["cancelled"] for mid in self.cancelled}
        copies = Counter(sent.text for sent in self.sent if sent.part == 0 and not sent.refused)
        assert max(copies.values(), default=0) <= 1 + self.doubts + self.unclear, "doubled"
        await house.later(4_000)
        assert [event for event in await house.told() if isinstance(event, Report)] == []
        assert {**house.left_over("docomo"), **house.left_over("au")} == {}
        assert (await house.node.status())["queued"] == 0


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10**9))
def test_whatever_happens_every_message_ends_once(seed: int) -> None:
    async def story(house: House) -> None:
        walk = Walk(house, random.Random(seed))
        walk.bind_all()
        for _ in range(walk.rng.randint(5, 30)):
            await walk.step()
        await walk.calm_down()
        await walk.judge()

    short = {"history_s": 5, "receipt_timeout_s": 600, "orphan_ttl_s": 60, "window": 10}
    run(story, node_config(short, {**short, "name": "au"}), seed=seed)
