"""How much may leave an account now: rate, windows, breaker and an operator's hand become what the pump does.

The judges (health) hear every answer here; what they say is laid upon `Outgoing` at once, and looked at again
when time alone may have changed it. Whoever makes room calls `pump`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import inf
from typing import Final

import anyio

from ...codecs import constants as c
from ...codecs.receipt import Receipt
from ..bell import Bell
from ..clock import Clock
from ..config import CarrierConfig
from ..session.bind import Bind
from ..session.events import ResponseItem
from .binds import Binds
from .hand import Hand
from .health import Health
from .outgoing import Outgoing
from .receipt_failure import ReceiptTable, is_destinations
from .recorder import Recorder
from .slots import Slots
from .taker import Taker

log = logging.getLogger("todoke.carrier")

MOVED_AHEAD_S: Final = 2.0
"""Work of an ill carrier that another one may have in hand beside its own, in seconds of its rate."""
MOVE_LOOK_S: Final = 0.2
"""How often it is looked whether there is room for more of it."""
HEALTH_GRAIN_S: Final = 0.02
"""What the judges say is looked at by time this often at most."""
PACE_WAIT_MIN_S: Final = 0.0005


class FlowControl:
    """Of one account. Three tasks: `keep_pace`, `keep_health`, `keep_moving`."""

    def __init__(
        self,
        config: CarrierConfig,
        health: Health,
        outgoing: Outgoing,
        recorder: Recorder,
        taker: Taker,
        slots: Slots,
        binds: Binds,
        clock: Clock,
        *,
        receipt_table: ReceiptTable,
        alternatives: bool,
    ) -> None:
        """`alternatives`: some route has other carriers beside this one."""
        self._config = config
        self._health = health
        self._outgoing = outgoing
        self._recorder = recorder
        self._taker = taker
        self._slots = slots
        self._binds = binds
        self._clock = clock
        self._receipt_table = receipt_table
        self._alternatives = alternatives
        self.hand = Hand()
        """What an operator has laid on."""
        self._was_open = False
        self._pace_bell = Bell()
        self._health_bell = Bell()
        self._held_back_bell = Bell()
        self.on_open: Callable[[bool], None] = lambda is_open: None
        """Called when the breaker opens, and when it is open no more."""
        recorder.failover.on_held_back = self._held_back_bell.ring

    # -- the pump --------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Let leave what may leave now, and have more granted and taken where that is called for."""
        outgoing = self._outgoing
        if outgoing.paused:
            if outgoing.granted_ahead():
                # What is granted and may not leave would be in doubt after a crash.
                self._recorder.inbox.bell.ring()
            if self._taker.wanted():
                self._taker.bell.ring()
            return
        if outgoing.probes is None:
            outgoing.pump()
        else:
            before = outgoing.parts_sent
            outgoing.pump()
            self._health.breaker.probing(outgoing.parts_sent - before, self._clock.monotonic())
        if outgoing.pace_wait_until is not None:
            self._pace_bell.ring()
        if self._taker.wanted():
            self._taker.bell.ring()
        rate = outgoing.pacer.rate
        if rate and outgoing.granted_ahead() * 2 < rate and outgoing.ungranted():
            # With a rate, grants reach a second ahead: answers that take longer must not stop the line.
            self._recorder.grants.want()

    async def keep_pace(self) -> None:
        """A task: pump again when the pace allows more."""
        while True:
            until = self._outgoing.pace_wait_until
            if until is None:
                await self._pace_bell.wait()
                continue
            await anyio.sleep(max(PACE_WAIT_MIN_S, until - self._clock.monotonic()))
            if self._outgoing.pace_wait_until is not None:
                self.pump()

    def written(self) -> None:
        """A bind has written what it was given."""
        self._outgoing.pacer.left(self._clock.monotonic())

    # -- the judges ------------------------------------------------------------------------------------

    def hear(self, bind: Bind, items: list[ResponseItem]) -> None:
        """Let the account's judges hear these answers, and do what they say."""
        now = self._clock.monotonic()
        health = self._health
        before = health.window_of(bind.name)
        health.heard(bind.name, items, bind.congestion_state, now)
        window = health.window_of(bind.name)
        if window != before:
            bind.window = window
            self.windows_changed()
        self.heed(now)
        if any(item[2] == c.ESME_RINVBNDSTS for item in items):
            bind.rebind("the SMSC says that this session is not bound (ESME_RINVBNDSTS)")

    def timed_out(self, parts: int) -> None:
        """So many parts were not answered in time, on a bind that is up."""
        now = self._clock.monotonic()
        self._health.timed_out(parts, now)
        self.heed(now)

    def finals(self, delivered: int, failed: list[Receipt]) -> None:
        """Final receipts came."""
        table = self._receipt_table
        carriers = sum(not is_destinations(each.err, each.network_error, table) for each in failed)
        self._health.receipts(delivered, carriers, self._clock.monotonic())
        self.heed(self._clock.monotonic())

    def heed(self, now: float) -> None:
        """What the judges say now becomes what the pump does."""
        health, outgoing = self._health, self._outgoing
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
            log.log(level, "%s: %s: %s", self._config.name, word, health.breaker.reason)
            self.on_open(is_open)
            self._recorder.failover.move_away(is_open and self._alternatives)
            self._taker.bell.ring()
            self._health_bell.ring()
        elif tried != (outgoing.probes is not None):
            self._health_bell.ring()

    async def keep_health(self) -> None:
        """A task: what time alone changes."""
        while True:
            self.heed(self._clock.monotonic())
            wait_s = self._health.look_again_in(self._clock.monotonic())
            if await self._health_bell.wait(wait_s):
                await anyio.sleep(HEALTH_GRAIN_S)
            self.heed(self._clock.monotonic())
            # What waits may have nobody else to wake it.
            self.pump()

    async def keep_moving(self) -> None:
        """A task: what could not be moved away for want of room is asked again."""
        while True:
            await self._held_back_bell.wait()
            await anyio.sleep(MOVE_LOOK_S)
            self._recorder.inbox.bell.ring()

    def room(self) -> float:
        """Parts that would be sent within `MOVED_AHEAD_S` if they were moved here now."""
        rate = self._health.pace.contract_rate
        if not rate:
            return inf
        return MOVED_AHEAD_S * rate - self._outgoing.unsent() if self._taker.lanes_empty else 0.0

    # -- the contract, and an operator's hand ----------------------------------------------------------

    def share_rate(self) -> None:
        """Each slot is worth an even part of the account's rate."""
        config = self._config
        rate = self.hand.rate_of(config.rate)
        if (rate or self._outgoing.pacer.rate) and self._slots.held:
            now = self._clock.monotonic()
            self._health.pace.set_contract(rate * len(self._slots.held) / config.binds)
            self._outgoing.pacer.set_rate(self._health.pace.rate(now), now)

    def windows_changed(self) -> None:
        """A bind came or went, or may have more or less unanswered."""
        now = self._clock.monotonic()
        self._recorder.grants.windows = sum(bind.window for bind in self._binds.sending if bind.bound)
        self._health.binds(len(self._outgoing.binds), now)
        self.heed(now)
        self._health_bell.ring()
        self._recorder.grants.want()
        self._taker.bell.ring()

    def obey(self, hand: Hand) -> None:
        """What an operator wants, whether or not it has changed."""
        before, self.hand = self.hand, hand
        if hand == before:
            return
        config, outgoing = self._config, self._outgoing
        rate, window = hand.rate_of(config.rate), hand.window_of(config.window)
        log.warning(
            "%s: %s, rate %s, window %d, by %s",
            config.name, "paused" if hand.paused else "not paused", f"{rate:g}" if rate else "unlimited",
            window, hand.by or "nobody",
        )  # fmt: skip
        outgoing.paused = hand.paused
        self.share_rate()
        self._health_bell.ring()
        if window != before.window_of(config.window):
            self._health.set_window(window)
            for bind in self._binds.sending:
                bind.window = self._health.window_of(bind.name)
        self.windows_changed()
        self.pump()
