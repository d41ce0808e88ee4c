"""One carrier account in this process: its binds, and the four stages between them and the ledger.

    take -> Outgoing.pump -> binds -> answers -> Recorder -> ledger
                             binds -> receipts -> ReceiptStage -> ledger
                                                  DueStage: what becomes due

`run()` owns every task. The binds' handler calls arrive here and are handed on without awaiting.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any, Final, Literal

import anyio
import msgspec
from anyio.abc import ByteStream, TaskGroup

from ...codecs import constants as c
from ...codecs.receipt import Receipt
from ..bell import Bell
from ..clock import Clock
from ..config import CarrierConfig
from ..ledger import blocks
from ..ledger.accept import make_block
from ..ledger.durable import DurableStage
from ..ledger.keys import CarrierKeys
from ..ledger.port import Store, StoreError
from ..peers import Peers
from ..receipts.stage import ReceiptStage
from ..session.bind import Bind, BindStatistics
from ..session.events import DeliverItem, ResponseItem
from ..session.settings import SessionConfig
from .asks import Asks
from .bodies import BodyMaker
from .due import DueStage
from .hand import Hand, change
from .health import Health, HealthStatistics
from .inquirer import Inquirer, Question
from .late import LateFacts
from .outgoing import Outgoing
from .pacing import Pacer
from .portability import LearnedPortability
from .receipt_failure import is_destinations, parse_receipt_table, receipt_failure
from .recorder import Elsewhere, Recorder
from .retry import parse_classes
from .settling import Found
from .slots import MARGIN_S as LEASE_MARGIN_S
from .slots import Slots
from .taker import Taker
from .tracing import Tracing
from .upkeep import Upkeep

log = logging.getLogger("todoke.carrier")

DRAIN_LOOK_S: Final = 0.005
UNBIND_S: Final = 3.0
"""How long an SMSC may take to answer an unbind: by then nothing is owed to it any more."""
STAGE_SETTLE_S: Final = 10.0
"""At a clean stop: how long the stages may take to write down what the last answers said."""

PREDECESSOR_S: Final = 1.0
"""The sliding second of the contract: what an earlier process sent in it is not known."""
GIVE_UP_LOOK_S: Final = 0.05
LAST_ANSWERS_S: Final = 1.0
"""After a slot was lost: how long answers to what is on the wire are waited for before it is given up."""
UNDECIDED_S: Final = 1.0
LEASE_OVER_S: Final = 1.0
"""After the end of a lease that was not renewed: binds stay open so long. A process that was stopped and goes
on hears of the store first.
"""
MOVED_AHEAD_S: Final = 2.0
"""Work of an ill carrier that another one may have in hand beside its own, in seconds of its rate."""
MOVE_LOOK_S: Final = 0.2
"""How often it is looked whether there is room for more of it."""
HEALTH_GRAIN_S: Final = 0.02
"""What the judges say is looked at by time this often at most."""

Connector = Callable[[], Awaitable[ByteStream]]


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
        self._epoch = epoch
        self._mint = mint
        self._elsewhere = elsewhere
        self._other_keys = other_keys
        self._alternatives = alternatives
        self._connect = connect
        self._rng = rng
        self.keys = CarrierKeys(config.name)
        self._store = store
        self.maker = BodyMaker(config)
        self.health = _health(config, clock.monotonic(), rng)
        self._receipt_table = parse_receipt_table(config.receipt_errors)
        self.outgoing = Outgoing(self.maker, Pacer(config.rate), clock, self._on_skip)
        self.outgoing.destinations = self.health.destinations
        self._stages = _stages(store, self.keys, epoch)
        self.slots = Slots(
            self.keys,
            store.stage(f"slots-{config.name}"),
            clock,
            peers,
            number=config.binds,
            lease_s=config.lease_s,
            epoch=epoch,
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
            is_sole=lambda: len(self.slots.held) == config.binds,
            health=self.health,
            portability=portability,
        )
        self.late = LateFacts(config.name, self.keys, self._stages[3], clock, epoch=epoch)
        self.receipts = ReceiptStage(config, self.keys, self._stages[1], clock, app_for=app_for)
        self.due = DueStage(config, self.keys, self._stages[2], clock, epoch=epoch)
        self.asks = Asks(
            self.keys,
            store.stage(f"asks-{config.name}"),
            clock,
            runs=lambda: self.outgoing.runs,
            cancel=self.recorder.cancel,
        )
        self.inquirer = Inquirer(config, lambda: [bind for bind in self.binds if bind.bound])
        self.taker = Taker(
            self.keys,
            store,
            self.outgoing,
            self.recorder,
            clock,
            slots=self.slots,
            slots_number=config.binds,
            epoch=epoch,
        )
        self.upkeep = Upkeep(self.keys, store.stage(f"hand-{config.name}"), self.slots, self.asks, self.taker)
        self._clock = clock
        self._pace_bell = Bell()
        self._health_bell = Bell()
        self._held_back_bell = Bell()
        self.recorder.on_held_back = self._held_back_bell.ring
        self._was_open = False
        self.on_open: Callable[[bool], None] = lambda is_open: None
        """Called when the breaker opens, and when it is open no more."""
        self._late_lock = anyio.Lock()
        self._group: TaskGroup | None = None
        self._losing = False
        self.receiving_only: list[Bind] = []
        self.binds: list[Bind] = []
        self._by_slot: dict[int, list[Bind]] = {}
        self.hand = Hand()
        self.tracing = Tracing(lambda: [*self.binds, *self.receiving_only], clock.wall)
        for number in range(1, config.binds + 1):
            self._make_binds(number)
        self._running: set[int] = set()
        """Slots whose binds are up, or on their way."""
        self._leaving: set[int] = set()
        """Slots that are being given back, or whose binds are being closed."""
        self._stopping = {number: anyio.Lock() for number in range(1, config.binds + 1)}
        self._bound: set[str] = set()
        self._join()

    def _join(self) -> None:
        """What each stage tells the others."""
        if self.config.query_sm:
            self.due.ask = self.inquirer.ask
            self.due.learn = self.receipts.learn
        if self.config.retry_failed and self._alternatives:
            self.receipts.goes_on = self._goes_on
            self.receipts.move_on = self._move_on
        self.recorder.on_orphans = self.receipts.look_for
        self.recorder.on_due = self.due.notice
        self.receipts.on_due = self.due.notice
        self.receipts.on_finals = self._on_finals
        self.due.on_released = self.taker.queued
        self.due.on_parked = self.receipts.look_for
        self.due.on_settled = self.recorder.copies.settled
        self.due.on_found = self._found
        self.due.applying = self.receipts.applying
        self.slots.on_gained = self._gained
        self.slots.on_lost = lambda numbers: self._fenced()
        self.slots.on_give_up = self._give_up
        self.slots.on_renewed = self._renewed
        self.upkeep.on_hand = self._obey
        self.recorder.on_fenced = self.taker.on_fenced = self._fenced
        self.recorder.on_facts = self._late_facts
        self.late.on_orphans = self.receipts.look_for

    def _make_binds(self, number: int) -> None:
        """The binds of one slot; they run while it is held."""
        config, clock = self.config, self._clock
        name = f"{config.name}-{number}"
        for old in self._by_slot.get(number, ()):
            (self.receiving_only if old in self.receiving_only else self.binds).remove(old)
        if config.bind == "transceiver":
            settings = session_config(config, "transceiver")
            made = [Bind(name, settings, self._connect, clock, self._rng, self)]
        else:
            made = [
                Bind(
                    f"{name}-tx", session_config(config, "transmitter"), self._connect, clock, self._rng, self
                ),
                Bind(f"{name}-rx", session_config(config, "receiver"), self._connect, clock, self._rng, self),
            ]
            self.receiving_only.append(made[1])
        if config.rate:
            made[0].on_written = self._written
        self.binds.append(made[0])
        if self.hand.window is not None:
            made[0].window = self.health.window_of(made[0].name)
        for bind in made:
            self.tracing.made(bind)
        self._by_slot[number] = made

    # -- slots -----------------------------------------------------------------------------------------

    def _gained(self, numbers: list[int], foreign: bool) -> None:
        now = self._clock.monotonic()
        self._share_rate()
        if foreign:
            # Whoever was before us may have used up its share of the rate to the moment it died. That it
            # left nothing behind proves nothing: what it wrote may be answered and recorded already.
            self.outgoing.hold(now + PREDECESSOR_S)
        if not self._losing:
            self.outgoing.lease_until = self.slots.until
            self._run_binds()
        self.taker.recover()
        # What its holder had put off is ours to release.
        self.due.notice(0)

    def _run_binds(self) -> None:
        for number in self.slots.held:
            if number not in self._running and number not in self._leaving and self._group is not None:
                self._running.add(number)
                for bind in self._by_slot[number]:
                    self._group.start_soon(bind.run)

    def _share_rate(self) -> None:
        """Each slot is worth an even part of the account's rate."""
        config = self.config
        rate = self.hand.rate_of(config.rate)
        if (rate or self.outgoing.pacer.rate) and self.slots.held:
            now = self._clock.monotonic()
            self.health.pace.set_contract(rate * len(self.slots.held) / config.binds)
            self.outgoing.pacer.set_rate(self.health.pace.rate(now), now)

    def _renewed(self) -> None:
        if not self._losing:
            over = self._clock.monotonic() >= self.outgoing.lease_until
            self.outgoing.lease_until = self.slots.until
            if over:
                self._run_binds()
                self._pump()

    def _give_up(self, number: int) -> None:
        if self._group is not None:
            self._group.start_soon(self._give_up_when_idle, number)

    async def _give_up_when_idle(self, number: int) -> None:
        """Another process is to have this slot: it takes nothing more, and leaves when nothing is in hand."""
        while any(run.slot == number for run in self.outgoing.runs.values()) or self.taker.offers(number):
            if number not in self.slots.giving_up:
                self.taker.recover()
                return
            await anyio.sleep(GIVE_UP_LOOK_S)
        # Until it is released it is held still, and another slot's release must not start its binds again.
        self._leaving.add(number)
        try:
            await self._stop_binds(number)
            await self.slots.release(number)
        except StoreError as error:
            log.info("%s: slot %d ends with its lease: %s", self.config.name, number, error)
            self.slots.giving_up.discard(number)
            self.taker.recover()
        finally:
            self._leaving.discard(number)
        self._share_rate()
        self._run_binds()

    async def _stop_binds(self, number: int) -> None:
        """Close the binds of a slot and make new ones, for the time when it is ours again."""
        async with self._stopping[number]:
            if number in self._running:
                async with anyio.create_task_group() as group:
                    for bind in self._by_slot[number]:
                        group.start_soon(bind.close, 0.5)
                self._make_binds(number)
                self._running.discard(number)

    def _lease_lasts_s(self) -> float:
        """Until the slots may be another's, by our own clock; 0: they may be, and binds are open."""
        if not self._running or self._losing or self.slots.alone:
            # Who is alone loses nothing to anybody while the store is away: its binds stay.
            return self.config.lease_s
        return max(0.0, self.slots.until + LEASE_MARGIN_S - self._clock.monotonic())

    async def _keep_lease(self) -> None:
        """A task: a process that others share the account with, and that does not reach the store, closes its
        binds when its lease is over. Whoever takes its slots could not bind: the account has no room.
        """
        while True:
            lasts_s = self._lease_lasts_s()
            await anyio.sleep(lasts_s or LEASE_OVER_S)
            if lasts_s or self._lease_lasts_s():
                continue
            numbers = self._running - self._leaving
            if not numbers:
                continue
            log.warning(
                "%s: the lease is over and the message store away: binds are closed", self.config.name
            )
            self._leaving |= numbers
            try:
                async with anyio.create_task_group() as group:
                    for number in sorted(numbers):
                        group.start_soon(self._stop_binds, number)
            finally:
                self._leaving -= numbers
            if not self._losing and self._clock.monotonic() < self.outgoing.lease_until:
                self._run_binds()
            self._windows_changed()

    def _fenced(self) -> None:
        """A slot is another's: send nothing, decide nothing, until it is known what is still ours."""
        self.outgoing.lease_until = float("-inf")
        self.recorder.fenced = True
        if not self._losing and self._group is not None:
            self._losing = True
            self._group.start_soon(self._lose)

    async def _lose(self) -> None:
        """Give up everything in hand, keep its facts, and begin anew with the slots that are left.

        Slots that are still ours are read again like any other: their journals say where they stand.
        """
        with anyio.move_on_after(LAST_ANSWERS_S):
            while any(bind.outstanding for bind in self.binds):  # noqa: ASYNC110
                await anyio.sleep(DRAIN_LOOK_S)  # as rare as a stop: no event is kept for it
        while self.recorder.busy:  # noqa: ASYNC110
            await anyio.sleep(DRAIN_LOOK_S)  # its turn ends: refused by the fence, or written before it
        self.slots.bell.ring()
        facts = self.recorder.drop_all()
        self.taker.drop_all()
        self.slots.forget_lost()
        held = self.slots.held
        for number in sorted(self._running):
            if number not in held:
                await self._stop_binds(number)
        self._late_facts(facts)
        self._losing = False
        if self.recorder.fenced:
            # It was told of again while binds were being closed: what came into hand since may be another's.
            self._fenced()
            return
        self._share_rate()
        if held:
            self.outgoing.lease_until = self.slots.until
        self._run_binds()
        self._windows_changed()

    def _late_facts(self, facts: list[Any]) -> None:
        if facts and self._group is not None:
            self._group.start_soon(self._write_late, facts)

    async def _write_late(self, facts: list[Any]) -> None:
        async with self._late_lock:
            undecided = await self.late.write(facts)
        if undecided:
            # The new holder may have read the journal just before: it has its doubts on record soon.
            await anyio.sleep(UNDECIDED_S)
            async with self._late_lock:
                await self.late.write(undecided)

    async def _found(self, found: Found) -> None:
        async with self._late_lock:
            await self.late.write_found(found.block, found.position, found.part, found.message_id)

    # -- an operator's hand ----------------------------------------------------------------------------

    async def lay_hand(self, act: str, value: float | None, by: str) -> Hand:
        """Pause, resume, another rate or window, durably and at once; `value` None: as configured.

        Other processes of the account learn it when they renew their leases. Raises OutOfRange, StoreError.
        """
        config, key = self.config, self.keys.hand
        now_ms = int(self._clock.wall() * 1000)
        commands = change(act, value, rate=config.rate, window=config.window, key=key, by=by, at_ms=now_ms)
        await self.upkeep.lay_hand(commands)
        return self.hand

    def _obey(self, hand: Hand) -> None:
        before, self.hand = self.hand, hand
        if hand == before:
            return
        config, outgoing = self.config, self.outgoing
        rate, window = hand.rate_of(config.rate), hand.window_of(config.window)
        log.warning(
            "%s: %s, rate %s, window %d, by %s",
            config.name, "paused" if hand.paused else "not paused", f"{rate:g}" if rate else "unlimited",
            window, hand.by or "nobody",
        )  # fmt: skip
        outgoing.paused = hand.paused
        self._share_rate()
        self._health_bell.ring()
        if window != before.window_of(config.window):
            self.health.set_window(window)
            for bind in self.binds:
                bind.window = self.health.window_of(bind.name)
        self._windows_changed()
        self._pump()

    # -- the binds' handler ----------------------------------------------------------------------------

    def on_bound(self, bind: Bind) -> None:
        self._bound.add(bind.name)
        if bind in self.receiving_only:
            return
        self.outgoing.binds.append(bind)
        self._windows_changed()
        # What was granted before the bind was up needs no grant, nor an answer, to leave now.
        self._pump()

    def _hear(self, bind: Bind, items: list[ResponseItem]) -> None:
        """Let the account's judges hear these answers, and do what they say."""
        now = self._clock.monotonic()
        health = self.health
        before = health.window_of(bind.name)
        health.heard(bind.name, items, bind.congestion_state, now)
        window = health.window_of(bind.name)
        if window != before:
            bind.window = window
            self._windows_changed()
        self._heed(now)
        if any(item[2] == c.ESME_RINVBNDSTS for item in items):
            bind.rebind("the SMSC says that this session is not bound (ESME_RINVBNDSTS)")

    def _heed(self, now: float) -> None:
        """What the judges say now becomes what the pump does."""
        health, outgoing = self.health, self.outgoing
        pace = health.pace
        if pace.contract_rate:
            rate = pace.rate(now)
            if rate != outgoing.pacer.rate:
                outgoing.pacer.set_rate(rate, now)
                self._health_bell.ring()
        else:
            outgoing.paused_until = max(outgoing.paused_until, pace.paused_until(now))
        is_open = health.is_open(now)
        tried = outgoing.probes is not None
        outgoing.probes = health.probes(now)
        if is_open != self._was_open:
            self._was_open = is_open
            level = logging.WARNING if is_open else logging.INFO
            word = "is left alone for a while" if is_open else "is tried again"
            log.log(level, "%s: %s: %s", self.config.name, word, health.breaker.reason)
            self.on_open(is_open)
            self.recorder.move_away(is_open and self._alternatives)
            self.taker.bell.ring()
            self._health_bell.ring()
        elif tried != (outgoing.probes is not None):
            self._health_bell.ring()

    async def _keep_health(self) -> None:
        """A task: what time alone changes."""
        while True:
            self._heed(self._clock.monotonic())
            wait_s = self.health.look_again_in(self._clock.monotonic())
            if await self._health_bell.wait(wait_s) is False:
                self._heed(self._clock.monotonic())
                self._pump()
            else:
                await anyio.sleep(HEALTH_GRAIN_S)

    async def _keep_moving(self) -> None:
        """A task: what could not be moved away for want of room is asked again."""
        while True:
            await self._held_back_bell.wait()
            await anyio.sleep(MOVE_LOOK_S)
            self.recorder.bell.ring()

    def room(self) -> float:
        """Parts that would be sent within `MOVED_AHEAD_S` if they were moved here now."""
        rate = self.health.pace.contract_rate
        if not rate:
            return inf
        return MOVED_AHEAD_S * rate - self.outgoing.unsent() if self.taker.lanes_empty else 0.0

    def _goes_on(self, receipt: Receipt) -> bool:
        """Whether a message that failed so may be tried over another carrier."""
        kind = receipt_failure(receipt.state, receipt.err, receipt.network_error, self._receipt_table)
        return kind == "temporary"

    def _move_on(self, block: blocks.Block, index: int, entry: blocks.Entry) -> list[tuple[Any, ...]] | None:
        """The commands by which a message that was not delivered goes to the next carrier of its route."""
        now_ms = int(self._clock.wall() * 1000)
        extra = entry.extra or blocks.Extra()
        accepted_ms = extra.accepted_ms or block.accepted_ms
        if now_ms - accepted_ms > self.config.retry_horizon_s * 1000:
            return None
        if entry.expires_ms and entry.expires_ms <= now_ms:
            return None
        tried = [*(extra.carriers or []), self.config.name]
        other = self._elsewhere(entry, block.app, tried)
        if other is None:
            return None
        name, moved = other
        mid = blocks.message_id(self.config.name, block.block_id, index, entry)
        moved.extra = msgspec.structs.replace(
            extra,
            message_id=mid,
            attempts=0,
            pending=None,
            carriers=tried,
            first_ms=0,
            accepted_ms=accepted_ms,
        )
        new = blocks.Block(
            blocks.FORMAT, self._mint(), block.lane, block.app, block.campaign, now_ms, [moved]
        )
        place = f"{name}.{new.block_id}.0"
        fact = [(index, blocks.MOVED, 0, place)]
        record = blocks.encode(blocks.Record(blocks.FORMAT, self._epoch, -1, ended=fact))
        commands = make_block(self._other_keys(name), new, 0, self._epoch)
        commands.append(("RPUSHX", self.keys.journal(block.block_id), record))
        if extra.message_id:
            carrier, first_block, first_index = blocks.split_message_id(extra.message_id)
            known = [(first_index, blocks.MOVED, 0, place)]
            record = blocks.encode(blocks.Record(blocks.FORMAT, self._epoch, -1, ended=known))
            commands.append(("RPUSHX", CarrierKeys(carrier).journal(first_block), record))
        return commands

    def _on_finals(self, delivered: int, failed: list[Receipt]) -> None:
        table = self._receipt_table
        carriers = sum(not is_destinations(each.err, each.network_error, table) for each in failed)
        self.health.receipts(delivered, carriers, self._clock.monotonic())
        self._heed(self._clock.monotonic())

    def on_responses(self, bind: Bind, items: list[ResponseItem]) -> None:
        if self.inquirer.under_way and (items := self._answer_questions(items)) == []:
            return
        self._hear(bind, items)
        # The pump first: its writer is woken before the recorder, and the window is full again while we
        # write down.
        try:
            self._pump()
        finally:
            self.recorder.answered(items)

    def _answer_questions(self, items: list[ResponseItem]) -> list[ResponseItem]:
        """Hand the answers to query_sm on; returns the others."""
        others: list[ResponseItem] = []
        for item in items:
            if type(item[0]) is Question:
                item[0].answer(item[2], item[3])
            else:
                others.append(item)
        return others

    def on_late_responses(self, bind: Bind, items: list[ResponseItem]) -> None:
        items = [item for item in items if type(item[0]) is not Question]
        self.recorder.answered_late(items)

    def on_delivers(self, bind: Bind, items: list[DeliverItem]) -> None:
        self.receipts.delivered(bind, items)

    def on_doubt(self, bind: Bind, tokens: list[Any]) -> None:
        if self.inquirer.under_way:
            for token in tokens:
                if type(token) is Question:
                    token.answer(-1, b"")
            tokens = [token for token in tokens if type(token) is not Question]
            if not tokens:
                return
        log.warning("%s: %d parts are in doubt on bind %s", self.config.name, len(tokens), bind.name)
        if bind.bound:
            self.health.timed_out(len(tokens), self._clock.monotonic())
            self._heed(self._clock.monotonic())
        self.recorder.doubted(tokens)

    def on_unsent(self, bind: Bind, tokens: list[Any]) -> None:
        tokens = [token for token in tokens if type(token) is not Question]
        self.recorder.answered([(token, c.SUBMIT_SM_RESP, c.ESME_RINVBNDSTS, b"", 0) for token in tokens])

    def on_lost(self, bind: Bind, reason: str) -> None:
        self._bound.discard(bind.name)
        unwritten = self.outgoing.lost(bind)
        if unwritten:
            self.on_unsent(bind, unwritten)
        self._windows_changed()

    def _written(self) -> None:
        self.outgoing.pacer.left(self._clock.monotonic())

    def on_window(self, bind: Bind) -> None:
        self._pump()

    def _windows_changed(self) -> None:
        now = self._clock.monotonic()
        self.recorder.windows = sum(bind.window for bind in self.binds if bind.bound)
        self.health.binds(len(self.outgoing.binds), now)
        self._heed(now)
        self.recorder.want_grants()
        self.taker.bell.ring()

    def _on_skip(self) -> None:
        self.recorder.bell.ring()

    def _pump(self) -> None:
        outgoing = self.outgoing
        if outgoing.paused:
            if outgoing.granted_ahead():
                # What is granted and may not leave would be in doubt after a crash.
                self.recorder.bell.ring()
            if self.taker.wanted():
                self.taker.bell.ring()
            return
        if outgoing.probes is None:
            outgoing.pump()
        else:
            before = outgoing.parts_sent
            outgoing.pump()
            self.health.breaker.probing(outgoing.parts_sent - before, self._clock.monotonic())
        if self.outgoing.pace_wait_until is not None:
            self._pace_bell.ring()
        if self.taker.wanted():
            self.taker.bell.ring()
        rate = self.outgoing.pacer.rate
        if rate and self.outgoing.granted_ahead() * 2 < rate and self.outgoing.ungranted():
            # With a rate, grants reach a second ahead: answers that take longer must not stop the line.
            self.recorder.want_grants()

    # -- life ------------------------------------------------------------------------------------------

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Every task of this carrier, until cancelled. Raises StoreError at the start."""
        await self.taker.prepare()
        await self.upkeep.look_at_hand()
        self.recorder.after_turn = self._pump
        async with anyio.create_task_group() as group:
            self._group = group
            await self.slots.turn()
            if not self.slots.held:
                log.warning("%s: all slots are held by other processes; standing by", self.config.name)
            group.start_soon(self.recorder.run)
            group.start_soon(self.receipts.run)
            group.start_soon(self.due.run)
            group.start_soon(self.taker.run)
            group.start_soon(self.taker.watch)
            group.start_soon(self._keep_pace)
            group.start_soon(self.slots.run)
            group.start_soon(self.upkeep.run)
            group.start_soon(self._keep_lease)
            group.start_soon(self._keep_health)
            group.start_soon(self._keep_moving)
            task_status.started()

    async def _keep_pace(self) -> None:
        """Pump again when the pace allows more."""
        while True:
            until = self.outgoing.pace_wait_until
            if until is None:
                await self._pace_bell.wait()
                continue
            await anyio.sleep(max(0.0005, until - self._clock.monotonic()))
            if self.outgoing.pace_wait_until is not None:
                self._pump()

    async def drain(self, drain_s: float) -> int:
        """Stop sending, wait for the answers to what is on the wire, unbind. Returns how many parts stay in
        doubt.
        """
        self.outgoing.stopping = True
        self.recorder.stopping = True
        before = self.recorder.counts["in_doubt"]
        with anyio.move_on_after(drain_s):
            while any(bind.outstanding for bind in self.binds) or self._writes_on():  # noqa: ASYNC110
                await anyio.sleep(DRAIN_LOOK_S)  # a stop is rare: no event is kept for it on the hot path
        async with anyio.create_task_group() as group:
            for bind in [*self.binds, *self.receiving_only]:
                group.start_soon(bind.close, 0.5)
        self.recorder.lower_grants()
        with anyio.move_on_after(STAGE_SETTLE_S):
            while not (self.recorder.idle and self.receipts.idle):  # noqa: ASYNC110
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
            binds=[bind.statistics() for bind in [*self.binds, *self.receiving_only]],
            counts={
                **self.recorder.counts,
                **self.receipts.counts,
                "forgotten": self.due.forgotten,
                "settled": self.due.settled,
                "asked": self.inquirer.asked,
                "unanswered": self.due.unanswered,
            },
            granted_open=self.recorder.granted_open,
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


def session_config(
    config: CarrierConfig, kind: Literal["transceiver", "transmitter", "receiver"]
) -> SessionConfig:
    """What one bind is told of its account."""
    return SessionConfig(
        system_id=config.system_id,
        password=config.password or "",
        system_type=config.system_type,
        bind=kind,
        interface_version=config.interface_version_octet,
        addr_ton=config.addr_ton,
        addr_npi=config.addr_npi,
        address_range=config.address_range,
        window=config.window,
        response_timeout_s=config.response_timeout_s,
        enquire_link_s=config.enquire_link_s,
        bind_timeout_s=config.bind_timeout_s,
        unbind_timeout_s=UNBIND_S,
    )
