"""A whole engine against simulated SMSCs, over real sessions in virtual time; starting, stopping, fencing."""

from __future__ import annotations

import random
from typing import Any

import anyio
import trio
import trio.testing
from todoke.bench.smsc_config import SmscConfig
from todoke.bench.smsc_memory import MemorySmsc
from todoke.engine.app import Engine
from todoke.engine.config import CarrierConfig, Config
from todoke.engine.ledger.memory_store import MemoryStore
from todoke.engine.messages import Report, Valid
from todoke_tests_kit import APP, NUMBER, WALL_S, House, Machine, VirtualClock, node_config, run


class Town:
    """An engine, its store, and an SMSC for each of its carriers."""

    def __init__(
        self, config: Config, store: MemoryStore, smscs: dict[str, MemorySmsc], nursery: trio.Nursery
    ) -> None:
        self.config = config
        self.store = store
        self.smscs = smscs
        self._nursery = nursery
        self.machine = Machine()
        self._scope = trio.CancelScope()
        self._stopped = trio.Event()
        self._cursor: str | None = None
        self.engine: Engine
        self.node: Any = None
        self.reports: list[Report] = []

    def connector(self, config: CarrierConfig) -> Any:
        return self.smscs[config.name].connect

    async def open(self) -> None:
        self._scope = trio.CancelScope()
        self._stopped = trio.Event()
        started = trio.Event()

        async def live() -> None:
            try:
                with self._scope:
                    async with anyio.create_task_group() as group:
                        peers = self.machine.process()
                        self.engine = Engine(
                            self.config, self.store, VirtualClock(), random.Random(7), self.connector, peers
                        )
                        self.node = await self.engine.start(group)
                        started.set()
                        await trio.sleep_forever()
            finally:
                self.machine.dead.add(peers.me)
                self._stopped.set()

        self._nursery.start_soon(live)
        await started.wait()

    async def kill(self) -> None:
        self.store.cut()
        self._scope.cancel()
        await self._stopped.wait()

    async def submit(self, *messages: Valid) -> list[str]:
        accepted, refused = await self.node.submit(APP, list(messages), list(range(len(messages))))
        assert refused == []
        return [each.message_id for each in accepted]

    async def listen(self) -> None:
        """Take and acknowledge what there is."""
        while True:
            events: list[Any] = []
            with anyio.move_on_after(0.001):
                events = list(await self.node.events(APP, self._cursor))
            if not events:
                return
            self._cursor = events[-1][0]
            self.reports += [event for _, event in events if isinstance(event, Report)]
            await self.node.ack(APP, self._cursor)

    def accepted(self, name: str = "docomo") -> int:
        return len(self.smscs[name].log.parts)


def play(
    story: Any, *, smsc: SmscConfig | None = None, carriers: tuple[dict[str, Any], ...] = ({},), seed: int = 1
) -> None:
    async def main() -> None:
        store = MemoryStore(rng=random.Random(seed), wall=lambda: WALL_S + trio.current_time())
        config = node_config(*carriers)
        async with trio.open_nursery() as nursery:
            smscs: dict[str, MemorySmsc] = {}
            for number, carrier in enumerate(config.carrier):
                smscs[carrier.name] = MemorySmsc(smsc or SmscConfig(), random.Random(seed + number))
                await nursery.start(_run, smscs[carrier.name])
            town = Town(config, store, smscs, nursery)
            await town.open()
            await story(town)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def _run(smsc: MemorySmsc, task_status: trio.TaskStatus[None]) -> None:
    await smsc.run(task_status=task_status)


def texts(number: int) -> list[Valid]:
    return [Valid(NUMBER, text=f"text {place}", ref=f"ref-{place}") for place in range(number)]


def test_the_whole_road_once() -> None:
    async def story(town: Town) -> None:
        await trio.sleep(1)
        mids = await town.submit(*texts(500), Valid(NUMBER, text="x" * 400))
        await trio.sleep(20)
        await town.listen()
        assert {report.message_id for report in town.reports} == set(mids)
        assert {report.state for report in town.reports} == {"delivered"}
        assert town.accepted() == 503

    play(story, smsc=SmscConfig(response_delay_s=0.02, receipt_delay_s=1, id_form="hex_decimal"))


def test_a_day_with_throttling_lost_answers_cuts_and_a_crash_loses_nothing() -> None:
    async def story(town: Town) -> None:
        rng = random.Random(3)
        mids: list[str] = []
        for turn in range(12):
            mids += await town.submit(
                *(Valid(NUMBER, text=f"{turn}.{place}", ref=f"{turn}.{place}") for place in range(20))
            )
            await trio.sleep(rng.random() * 3)
            if turn in (3, 8):
                town.smscs["docomo"].cut(rng.choice(("reset", "close", "unbind")))
            if turn == 6:
                await town.kill()
                await trio.sleep(2)
                await town.open()
            await town.listen()
        await trio.sleep(4_000)
        await town.listen()
        finals = {report.message_id: report.state for report in town.reports}
        assert set(finals) == set(mids)
        assert len(town.reports) == len(mids)
        assert town.engine.carriers["docomo"].recorder.grants.open_parts == 0

    play(
        story,
        smsc=SmscConfig(
            response_delay_s=0.05, response_jitter_s=0.1, receipt_delay_s=1, receipt_jitter_s=5,
            errors={"ESME_RTHROTTLED": 0.1},
            lost_responses=0.02, states={"undeliverable": 0.1}, early_receipts=0.05, doubled_receipts=0.05,
        ),
        carriers=({"window": 10, "response_timeout_s": 5, "receipt_timeout_s": 1_200},),
    )  # fmt: skip


def test_a_clean_stop_leaves_nothing_in_doubt() -> None:
    async def story(town: Town) -> None:
        await trio.sleep(1)
        mids = await town.submit(*texts(300))
        await trio.sleep(0.2)
        town.node.stopping = True
        result = await town.engine.drain(10)
        assert result.in_doubt == 0
        sent = town.accepted()
        assert 0 < sent < 300
        await town.kill()
        await town.open()
        await trio.sleep(60)
        await town.listen()
        assert town.accepted() == 300
        assert {report.message_id for report in town.reports} == set(mids)
        assert not any(report.possibly_doubled for report in town.reports)

    play(story, smsc=SmscConfig(response_delay_s=0.1), carriers=({"window": 10},))


def test_unsent_answers_at_the_end_of_the_drain_are_counted() -> None:
    async def story(town: Town) -> None:
        await trio.sleep(1)
        await town.submit(*texts(3))
        await trio.sleep(0.1)
        result = await town.engine.drain(1)
        assert result.in_doubt == 3

    play(story, smsc=SmscConfig(lost_responses=1.0))


def test_a_message_of_one_part_here_and_two_there_is_cut_by_the_rules_of_each() -> None:
    async def story(house: House) -> None:
        first, second = house.bind(carrier="docomo"), house.bind(carrier="au")
        (mid,) = await house.accept("x" * 100)
        first.answer(0x0A)
        await house.settle()
        assert [sent.part for sent in second.seen] == [0, 1]
        references = {sent.pdu.short_message[3] for sent in second.seen}
        assert len(references) == 1
        second.answer("B0", "B1")
        await house.settle()
        second.receipt("B0")
        second.receipt("B1")
        (event,) = await house.told()
        assert isinstance(event, Report)
        assert (event.message_id, event.state, event.parts) == (mid, "delivered", 2)
        await house.later(3_000)
        assert house.left_over() == {}
        assert house.left_over("au") == {}

    au = {"name": "au", "gsm7_single_units": 80, "gsm7_part_units": 75}
    run(story, node_config({}, au))


def test_one_carrier_s_trouble_is_its_own() -> None:
    async def story(town: Town) -> None:
        await trio.sleep(1)
        town.smscs["au"].refusing = True
        town.smscs["au"].cut("silence")
        slow = await town.submit(*(Valid(NUMBER, text="a", carrier="au") for _ in range(50)))
        fast = await town.submit(*texts(300))
        await trio.sleep(20)
        await town.listen()
        assert {report.message_id for report in town.reports} == set(fast)
        town.smscs["au"].refusing = False
        await trio.sleep(300)
        await town.listen()
        assert {report.message_id for report in town.reports} == {*fast, *slow}

    play(story, carriers=({}, {"name": "au", "window": 20}))
