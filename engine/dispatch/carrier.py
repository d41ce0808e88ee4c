"""One carrier account in this process: its binds, and the four stages between them and the ledger.

    take -> Outgoing.pump -> binds -> answers -> Recorder -> ledger
                             binds -> receipts -> ReceiptStage -> ledger
                                                  DueStage: what becomes due

`FlowControl` says how much may leave, `Tenure` in the name of which slots. `run()` owns every task. The
binds' handler calls arrive here and are handed on without awaiting.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import Any, Final

import anyio
import msgspec

from ...codecs import constants as c
from ..clock import Clock
from ..config import CarrierConfig
from ..ledger import blocks
from ..ledger.durable import DurableStage
from ..ledger.keys import CarrierKeys
from ..ledger.port import Store, StoreError
from ..peers import Peers
from ..receipts.stage import ReceiptStage
from ..session.bind import Bind, BindStatistics
from ..session.events import DeliverItem, ResponseItem
from .asks import Asks
from .binds import Binds, Connector
from .bodies import BodyMaker
from .due import DueStage
from .flow_control import FlowControl
from .hand import Hand, change
from .health import Health, HealthStatistics
from .inquirer import Inquirer, Question
from .late import LateFacts
from .outgoing import Outgoing
from .pacing import Pacer
from .portability import LearnedPortability
from .receipt_failure import parse_receipt_table
from .recorder import Recorder
from .rerouting import Rerouting
from .retry import parse_classes
from .settling import Found
from .slots import Slots
from .taker import Taker
from .tenure import Tenure
from .tracing import Tracing
from .turn import Elsewhere
from .upkeep import Upkeep

log = logging.getLogger("todoke.carrier")

DRAIN_LOOK_S: Final = 0.005
STAGE_SETTLE_S: Final = 10.0
"""At a clean stop: how long the stages may take to write down what the last answers said."""


class CarrierStatus(msgspec.Struct, frozen=True):
    """A moment of one carrier, as `status` shows it."""

    binds: list[BindStatistics]
    counts: dict[str, int]
    granted_open: int
    runs: int
    used_last_second: int
    receipt_lag_s: float
    in_doubt: int
    slots_held: list[int]
    hand: Hand
    window: int
    """Of one bind, as the operator and the contract allow."""
    rate: float
    """Parts a second of the whole account, as the operator and the contract allow; 0 = unlimited."""
    health: HealthStatistics


class Carrier:
    """One account. Made by the node, which also passes the events on."""

    def __init__(
        self,
        config: CarrierConfig,
        store: Store,
        clock: Clock,
        rng: random.Random,
        connect: Connector,
        *,
        epoch: int,
        peers: Peers,
        mint: Callable[[], str],
        elsewhere: Elsewhere,
        other_keys: Callable[[str], CarrierKeys],
        app_for: Callable[[str], str],
        portability: LearnedPortability | None = None,
        alternatives: bool = False,
    ) -> None:
        """`alternatives`: some route has other carriers beside this one."""
        self.config = config
        self._clock = clock
        self.keys = CarrierKeys(config.name)
        self.maker = BodyMaker(config)
        self.health = _health(config, clock.monotonic(), rng)
        receipt_table = parse_receipt_table(config.receipt_errors)
        self.outgoing = Outgoing(self.maker, Pacer(config.rate), clock, self._on_skip)
        self.outgoing.destinations = self.health.destinations
        self._stages = _stages(store, self.keys, epoch)
        slots_stage = store.stage(f"slots-{config.name}")
        self.slots = Slots(
            self.keys, slots_stage, clock, peers, number=config.binds, lease_s=config.lease_s, epoch=epoch
        )
        self.recorder = Recorder(
            config,
            self.keys,
            self._stages[0],
            self.outgoing,
            clock,
            rng,
            epoch=epoch,
            mint=mint,
            elsewhere=elsewhere,
            other_keys=other_keys,
            holds=lambda: self.slots.fence,
            is_sole=lambda: len(self.slots.held) == config.binds and not self.slots.was_shared,
            health=self.health,
            portability=portability,
        )
        self.late = LateFacts(config.name, self.keys, self._stages[3], clock, epoch=epoch)
        self.receipts = ReceiptStage(config, self.keys, self._stages[1], clock, app_for=app_for)
        if config.retry_failed and alternatives:
            rerouting = Rerouting(config, self.keys, clock, receipt_table, elsewhere, epoch, mint, other_keys)
            self.receipts.goes_on, self.receipts.move_on = rerouting.goes_on, rerouting.move_on
        self.due = DueStage(config, self.keys, self._stages[2], clock, epoch=epoch)
        asks_stage, cancel = store.stage(f"asks-{config.name}"), self.recorder.cancellations.cancel
        self.asks = Asks(self.keys, asks_stage, clock, runs=lambda: self.outgoing.runs, cancel=cancel)
        self.inquirer = Inquirer(config, lambda: [bind for bind in self.binds.sending if bind.bound])
        self.taker = Taker(
            self.keys,
            store,
            self.outgoing,
            self.recorder.grants,
            self.recorder.failover,
            clock,
            slots=self.slots,
            slots_number=config.binds,
            epoch=epoch,
        )
        self.upkeep = Upkeep(self.keys, store.stage(f"hand-{config.name}"), self.slots, self.asks, self.taker)
        self.binds = Binds(config, connect, clock, rng, self, self._fit)
        self.tracing = Tracing(lambda: self.binds.all, clock.wall)
        self.flow = FlowControl(
            config,
            self.health,
            self.outgoing,
            self.recorder,
            self.taker,
            self.slots,
            self.binds,
            clock,
            receipt_table=receipt_table,
            alternatives=alternatives,
        )
        self.tenure = Tenure(
            config,
            self.slots,
            self.binds,
            self.outgoing,
            self.recorder,
            self.taker,
            self.late,
            self.flow,
            clock,
        )
        for number in range(1, config.binds + 1):
            self.binds.make(number)
        self._join()

    def _join(self) -> None:
        """What each stage tells the others."""
        if self.config.query_sm:
            self.due.ask = self.inquirer.ask
            self.due.learn = self.receipts.learn
        self.recorder.on_orphans = self.receipts.look_for
        self.recorder.on_due = self.due.notice
        self.receipts.on_due = self.due.notice
        self.receipts.on_finals = self.flow.finals
        self.receipts.on_moved = lambda messages: self.recorder.on_closed(-messages)
        self.due.on_released = self.taker.queued
        self.due.on_parked = self.receipts.look_for
        self.due.on_settled = self.recorder.copies.settled
        self.due.on_found = self._found
        self.due.applying = self.receipts.applying
        self.tenure.on_gained = lambda: self.due.notice(0)
        self.upkeep.on_hand = self.flow.obey
        self.late.on_orphans = self.receipts.look_for

    def _fit(self, made: list[Bind]) -> None:
        """New binds, the one that sends first, get what holds for the account now."""
        sending = made[0]
        if self.config.rate:
            sending.on_written = self.flow.written
        if self.hand.window is not None:
            sending.window = self.health.window_of(sending.name)
        for bind in made:
            self.tracing.made(bind)

    async def _found(self, found: Found) -> None:
        await self.late.write_found(found.block, found.position, found.part, found.message_id)

    # -- an operator's hand ----------------------------------------------------------------------------

    @property
    def hand(self) -> Hand:
        """What an operator has laid on."""
        return self.flow.hand

    async def lay_hand(self, act: str, value: float | None, by: str) -> Hand:
        """Pause, resume, another rate or window, durably and at once; `value` None: as configured.

        Other processes of the account learn it when they renew their leases. Raises OutOfRange, StoreError.
        """
        config, key = self.config, self.keys.hand
        now_ms = int(self._clock.wall() * 1000)
        commands = change(act, value, rate=config.rate, window=config.window, key=key, by=by, at_ms=now_ms)
        await self.upkeep.lay_hand(commands)
        return self.hand

    # -- the binds' handler ----------------------------------------------------------------------------

    def on_bound(self, bind: Bind) -> None:
        if bind in self.binds.receiving:
            return
        self.outgoing.binds.append(bind)
        self.flow.windows_changed()
        # What was granted before the bind was up needs no grant, nor an answer, to leave now.
        self.flow.pump()

    def on_responses(self, bind: Bind, items: list[ResponseItem]) -> None:
        if self.inquirer.under_way and (items := self.inquirer.take_answers(items)) == []:
            return
        self.flow.hear(bind, items)
        # The pump first: its writer is woken before the recorder, and the window is full again while we
        # write down.
        try:
            self.flow.pump()
        finally:
            self.recorder.inbox.answered(items)

    def on_late_responses(self, bind: Bind, items: list[ResponseItem]) -> None:
        items = [item for item in items if type(item[0]) is not Question]
        self.recorder.inbox.answered_late(items)

    def on_delivers(self, bind: Bind, items: list[DeliverItem]) -> None:
        self.receipts.delivered(bind, items)

    def on_doubt(self, bind: Bind, tokens: list[Any]) -> None:
        if self.inquirer.under_way:
            tokens = self.inquirer.take_doubts(tokens)
            if not tokens:
                return
        log.warning("%s: %d parts are in doubt on bind %s", self.config.name, len(tokens), bind.name)
        if bind.bound:
            self.flow.timed_out(len(tokens))
        self.recorder.inbox.doubted(tokens)

    def on_unsent(self, bind: Bind, tokens: list[Any]) -> None:
        tokens = [token for token in tokens if type(token) is not Question]
        self.recorder.inbox.answered(
            [(token, c.SUBMIT_SM_RESP, c.ESME_RINVBNDSTS, b"", 0) for token in tokens]
        )

    def on_lost(self, bind: Bind, reason: str) -> None:
        unwritten = self.outgoing.lost(bind)
        if unwritten:
            self.on_unsent(bind, unwritten)
        self.flow.windows_changed()

    def on_window(self, bind: Bind) -> None:
        self.flow.pump()

    def _on_skip(self) -> None:
        self.recorder.inbox.bell.ring()

    # -- life ------------------------------------------------------------------------------------------

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Every task of this carrier, until cancelled. Raises StoreError at the start."""
        await self.taker.prepare()
        await self.upkeep.look_at_hand()
        self.recorder.grants.on_usable = self.flow.pump
        async with anyio.create_task_group() as group:
            self.tenure.begin(group)
            await self.slots.turn()
            if not self.slots.held:
                log.warning("%s: all slots are held by other processes; standing by", self.config.name)
            group.start_soon(self.recorder.run)
            group.start_soon(self.receipts.run)
            group.start_soon(self.due.run)
            group.start_soon(self.taker.run)
            group.start_soon(self.taker.watch)
            group.start_soon(self.flow.keep_pace)
            group.start_soon(self.slots.run)
            group.start_soon(self.upkeep.run)
            group.start_soon(self.tenure.keep_lease)
            group.start_soon(self.flow.keep_health)
            group.start_soon(self.flow.keep_moving)
            task_status.started()

    async def drain(self, drain_s: float) -> int:
        """Stop sending, wait for the answers to what is on the wire, unbind. Returns how many parts stay in
        doubt.
        """
        self.outgoing.stopping = True
        self.recorder.grants.stopping = True
        before = self.recorder.counts["in_doubt"]
        with anyio.move_on_after(drain_s):
            while self.binds.outstanding or self._writes_on():  # noqa: ASYNC110 - rare: no event is kept for it
                await anyio.sleep(DRAIN_LOOK_S)
        await self.binds.close()
        self.recorder.grants.lower()
        with anyio.move_on_after(STAGE_SETTLE_S):
            while not (self.recorder.idle and self.receipts.idle):  # noqa: ASYNC110 - as rare as the stop
                await anyio.sleep(DRAIN_LOOK_S)
        for stage in self._stages:
            with anyio.move_on_after(1):
                await stage.forget()
        with anyio.move_on_after(1):
            try:
                await self.slots.leave()
            except StoreError as error:
                log.info("%s: its slots end with their leases: %s", self.config.name, error)
        return self.recorder.counts["in_doubt"] - before

    def _writes_on(self) -> bool:
        """Whether the rest of a begun message is still to be written."""
        return self.outgoing.has_begun() and not self.outgoing.paused

    def status(self) -> CarrierStatus:
        return CarrierStatus(
            binds=[bind.statistics() for bind in self.binds.all],
            counts={
                **self.recorder.counts,
                **self.receipts.counts,
                "forgotten": self.due.forgotten,
                "settled": self.due.settled,
                "asked": self.inquirer.asked,
                "unanswered": self.due.unanswered,
            },
            granted_open=self.recorder.grants.open_parts,
            runs=len(self.outgoing.runs),
            used_last_second=self.outgoing.pacer.used_last_second(self._clock.monotonic()),
            receipt_lag_s=self.receipts.lag_s,
            in_doubt=self.recorder.counts["in_doubt"],
            slots_held=self.slots.held,
            hand=self.hand,
            window=self.hand.window_of(self.config.window),
            rate=self.hand.rate_of(self.config.rate),
            health=self.health.statistics(self._clock.monotonic()),
        )

    def find(self, block_id: str) -> Any:
        """The run of a block in hand, or None."""
        return self.outgoing.runs.get(block_id)

    def made(self, block: blocks.Block, payloads: list[bytes | None]) -> None:
        """A block of this carrier was accepted in this process."""
        self.taker.made(block, payloads)


def _stages(store: Store, keys: CarrierKeys, epoch: int) -> list[DurableStage]:
    """The connections of the recorder, the receipts, the due stage and the late facts."""
    turns = keys.prefix + b"turns"
    return [
        DurableStage(store, f"{kind}-{keys.name}", turns, epoch) for kind in ("record", "rx", "due", "late")
    ]


def _health(config: CarrierConfig, now: float, rng: random.Random) -> Health:
    return Health(
        now,
        window=config.window,
        rate=config.rate,
        response_timeout_s=config.response_timeout_s,
        jitter=rng.random,
        classes=parse_classes(config.status_classes),
        breaks=config.breaker,
    )
