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
from typing import Any, Final, Literal

import anyio
import msgspec
from anyio.abc import ByteStream

from ...codecs import constants as c
from ..bell import Bell
from ..clock import Clock
from ..config import CarrierConfig
from ..ledger import blocks
from ..ledger.durable import DurableStage
from ..ledger.keys import CarrierKeys
from ..ledger.port import Store
from ..receipts.stage import ReceiptStage
from ..session.bind import Bind, BindStatistics
from ..session.events import DeliverItem, ResponseItem
from ..session.settings import SessionConfig
from .bodies import BodyMaker
from .due import DueStage
from .outgoing import Outgoing
from .pacing import Pacer
from .recorder import Elsewhere, Recorder
from .taker import Taker

log = logging.getLogger("todoke.carrier")

DRAIN_LOOK_S: Final = 0.005
UNBIND_S: Final = 3.0
"""How long an SMSC may take to answer an unbind: by then nothing is owed to it any more."""
STAGE_SETTLE_S: Final = 10.0
"""At a clean stop: how long the stages may take to write down what the last answers said."""

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
        mint: Callable[[], str],
        elsewhere: Elsewhere,
        other_keys: Callable[[str], CarrierKeys],
        app_for: Callable[[str], str],
    ) -> None:
        self.config = config
        self.keys = CarrierKeys(config.name)
        self._store = store
        turns = self.keys.prefix + b"turns"
        self.maker = BodyMaker(config)
        self.outgoing = Outgoing(self.maker, Pacer(config.rate), clock, self._on_skip)
        self._stages = [
            DurableStage(store, f"{kind}-{config.name}", turns, epoch) for kind in ("record", "rx", "due")
        ]
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
        )
        self.receipts = ReceiptStage(config, self.keys, self._stages[1], clock, app_for=app_for)
        self.due = DueStage(config, self.keys, self._stages[2], clock, epoch=epoch)
        self.taker = Taker(
            self.keys, store, self.outgoing, self.recorder, clock, slots=config.binds, epoch=epoch
        )
        self._clock = clock
        self._pace_bell = Bell()
        self.recorder.on_orphans = self.receipts.look_for
        self.recorder.on_due = self.due.notice
        self.receipts.on_due = self.due.notice
        self.due.on_released = self.taker.queued
        self.due.on_parked = self.receipts.look_for
        self.due.applying = self.receipts.applying
        self.receiving_only: list[Bind] = []
        self.binds = self._make_binds(config, connect, clock, rng)
        self._bound: set[str] = set()

    def _make_binds(
        self, config: CarrierConfig, connect: Connector, clock: Clock, rng: random.Random
    ) -> list[Bind]:
        binds: list[Bind] = []
        for number in range(1, config.binds + 1):
            name = f"{config.name}-{number}"
            if config.bind == "transceiver":
                binds.append(Bind(name, session_config(config, "transceiver"), connect, clock, rng, self))
            else:
                binds.append(
                    Bind(f"{name}-tx", session_config(config, "transmitter"), connect, clock, rng, self)
                )
                receiver = Bind(f"{name}-rx", session_config(config, "receiver"), connect, clock, rng, self)
                self.receiving_only.append(receiver)
        return binds

    # -- the binds' handler ----------------------------------------------------------------------------

    def on_bound(self, bind: Bind) -> None:
        self._bound.add(bind.name)
        if bind in self.receiving_only:
            return
        self.outgoing.binds.append(bind)
        self._windows_changed()
        # What was granted before the bind was up needs no grant, nor an answer, to leave now.
        self._pump()

    def on_responses(self, bind: Bind, items: list[ResponseItem]) -> None:
        # The pump first: its writer is woken before the recorder, and the window is full again while we
        # write down.
        try:
            self._pump()
        finally:
            self.recorder.answered(items)

    def on_late_responses(self, bind: Bind, items: list[ResponseItem]) -> None:
        self.recorder.answered_late(items)

    def on_delivers(self, bind: Bind, items: list[DeliverItem]) -> None:
        self.receipts.delivered(bind, items)

    def on_doubt(self, bind: Bind, tokens: list[Any]) -> None:
        log.warning("%s: %d parts are in doubt on bind %s", self.config.name, len(tokens), bind.name)
        self.recorder.doubted(tokens)

    def on_unsent(self, bind: Bind, tokens: list[Any]) -> None:
        self.recorder.answered([(token, c.SUBMIT_SM_RESP, c.ESME_RINVBNDSTS, b"", 0) for token in tokens])

    def on_lost(self, bind: Bind, reason: str) -> None:
        self._bound.discard(bind.name)
        unwritten = self.outgoing.lost(bind)
        if unwritten:
            self.on_unsent(bind, unwritten)
        self._windows_changed()

    def on_window(self, bind: Bind) -> None:
        self._pump()

    def _windows_changed(self) -> None:
        self.recorder.windows = sum(bind.window for bind in self.binds if bind.bound)
        self.recorder.want_grants()
        self.taker.bell.ring()

    def _on_skip(self) -> None:
        self.recorder.bell.ring()

    def _pump(self) -> None:
        self.outgoing.pump()
        if self.outgoing.pace_wait_until is not None:
            self._pace_bell.ring()
        if self.taker.wanted():
            self.taker.bell.ring()
        rate = self.config.rate
        if rate and self.outgoing.granted_ahead() * 2 < rate and self.outgoing.ungranted():
            # With a rate, grants reach a second ahead: answers that take longer must not stop the line.
            self.recorder.want_grants()

    # -- life ------------------------------------------------------------------------------------------

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Every task of this carrier, until cancelled. Raises Fenced, StoreError at the start."""
        await self.taker.prepare()
        self.recorder.after_turn = self._pump
        async with anyio.create_task_group() as group:
            group.start_soon(self.recorder.run)
            group.start_soon(self.receipts.run)
            group.start_soon(self.due.run)
            group.start_soon(self.taker.run)
            group.start_soon(self.taker.watch)
            group.start_soon(self._keep_pace)
            for bind in [*self.binds, *self.receiving_only]:
                group.start_soon(bind.run)
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
            while any(bind.outstanding for bind in self.binds) or self.outgoing.has_begun():  # noqa: ASYNC110
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
        return self.recorder.counts["in_doubt"] - before

    def status(self) -> CarrierStatus:
        return CarrierStatus(
            binds=[bind.statistics() for bind in [*self.binds, *self.receiving_only]],
            counts={**self.recorder.counts, **self.receipts.counts, "forgotten": self.due.forgotten},
            granted_open=self.recorder.granted_open,
            runs=len(self.outgoing.runs),
            used_last_second=self.outgoing.pacer.used_last_second(self._clock.monotonic()),
            receipt_lag_s=self.receipts.lag_s,
            in_doubt=self.recorder.counts["in_doubt"],
        )

    def find(self, block_id: str) -> Any:
        """The run of a block in hand, or None."""
        return self.outgoing.runs.get(block_id)

    def made(self, block: blocks.Block, payloads: list[bytes | None]) -> None:
        """A block of this carrier was accepted in this process."""
        self.taker.made(block, payloads)


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
