"""What it means for the work in hand that a slot is gained, renewed, given up or lost.

A slot is a share of the account's contract: binds, and a part of the rate. Whoever holds one may send what it
has in hand in its name; whoever lost one decides nothing any more (see Slots for the leases themselves).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import anyio
from anyio.abc import TaskGroup

from ..clock import Clock
from ..config import CarrierConfig
from ..ledger.port import StoreError
from .binds import Binds
from .flow_control import FlowControl
from .late import LateFacts
from .outgoing import Outgoing
from .recorder import Recorder
from .slots import MARGIN_S as LEASE_MARGIN_S
from .slots import Slots
from .taker import Taker

log = logging.getLogger("todoke.carrier")

PREDECESSOR_S: Final = 1.0
"""The sliding second of the contract: what an earlier process sent in it is not known."""
GIVE_UP_LOOK_S: Final = 0.05
RELEASE_AGAIN_S: Final = 0.5
"""After the message store did not say whether a slot was released."""
LAST_ANSWERS_S: Final = 1.0
"""After a slot was lost: how long answers to what is on the wire are waited for before it is given up."""
LAST_LOOK_S: Final = 0.005
LEASE_OVER_S: Final = 1.0
"""After the end of a lease that was not renewed: binds stay open so long. A process that was stopped and goes
on hears of the store first.
"""


class Tenure:
    """Of one account in this process. `keep_lease` is its one task; others it starts in the same group."""

    def __init__(
        self,
        config: CarrierConfig,
        slots: Slots,
        binds: Binds,
        outgoing: Outgoing,
        recorder: Recorder,
        taker: Taker,
        late: LateFacts,
        flow: FlowControl,
        clock: Clock,
    ) -> None:
        self._config = config
        self._slots = slots
        self._binds = binds
        self._outgoing = outgoing
        self._recorder = recorder
        self._taker = taker
        self._late = late
        self._flow = flow
        self._clock = clock
        self._group: TaskGroup | None = None
        self._losing = False
        """Everything in hand is being given up."""
        self.on_gained: Callable[[], None] = lambda: None
        """Called when a slot was gained: what its holder had put off is ours to release."""
        slots.on_gained = self._gained
        slots.on_lost = lambda numbers: self.fenced()
        slots.on_give_up = self._give_up
        slots.on_renewed = self._renewed
        recorder.on_fenced = taker.on_fenced = self.fenced
        recorder.on_facts = self._late_facts

    def begin(self, group: TaskGroup) -> None:
        """From now on binds run, in this group."""
        self._group = self._binds.group = group

    def _gained(self, numbers: list[int], foreign: bool) -> None:
        now = self._clock.monotonic()
        self._flow.share_rate()
        if foreign:
            # Whoever was before us may have used up its share of the rate to the moment it died. That it
            # left nothing behind proves nothing: what it wrote may be answered and recorded already.
            self._outgoing.hold(now + PREDECESSOR_S)
        if not self._losing:
            self._outgoing.lease_until = self._slots.until
            self._binds.run(self._slots.held)
        self._taker.recover()
        self.on_gained()

    def _renewed(self) -> None:
        if not self._losing:
            over = self._clock.monotonic() >= self._outgoing.lease_until
            self._outgoing.lease_until = self._slots.until
            if over:
                self._binds.run(self._slots.held)
                self._flow.pump()

    def _give_up(self, number: int) -> None:
        if self._group is not None:
            self._group.start_soon(self._give_up_when_idle, number)

    async def _give_up_when_idle(self, number: int) -> None:
        """Another process is to have this slot: it takes nothing more, and leaves when nothing is in hand."""
        while number in self._slots.giving_up and (  # noqa: ASYNC110 - as rare as a new process
            any(run.slot == number for run in self._outgoing.runs.values()) or self._taker.offers(number)
        ):
            await anyio.sleep(GIVE_UP_LOOK_S)
        if number not in self._slots.giving_up:
            self._taker.recover()
            return
        # From here on nothing is taken in its name, whoever comes or goes.
        self._slots.given_up.add(number)
        # Until it is released it is held still, and another slot's release must not start its binds again.
        self._binds.leaving.add(number)
        try:
            await self._binds.stop(number)
            while number in self._slots.held:
                try:
                    await self._slots.release(number)
                except StoreError as error:
                    # Another may have it already: until that is known its binds stay closed.
                    log.info("%s: slot %d is not given up yet: %s", self._config.name, number, error)
                    await anyio.sleep(RELEASE_AGAIN_S)
        finally:
            self._slots.giving_up.discard(number)
            self._slots.given_up.discard(number)
            self._binds.leaving.discard(number)
        self._flow.share_rate()
        self._binds.run(self._slots.held)

    def _lease_lasts_s(self) -> float:
        """Until the slots may be another's, by our own clock; 0: they may be, and binds are open."""
        if not self._binds.running or self._losing or self._slots.alone:
            # Who is alone loses nothing to anybody while the store is away: its binds stay.
            return self._config.lease_s
        return max(0.0, self._slots.until + LEASE_MARGIN_S - self._clock.monotonic())

    async def keep_lease(self) -> None:
        """A task: a process that others share the account with, and that does not reach the store, closes its
        binds when its lease is over. Whoever takes its slots could not bind: the account has no room.
        """
        while True:
            lasts_s = self._lease_lasts_s()
            await anyio.sleep(lasts_s or LEASE_OVER_S)
            if lasts_s or self._lease_lasts_s():
                continue
            numbers = self._binds.running - self._binds.leaving
            if not numbers:
                continue
            log.warning(
                "%s: the lease is over and the message store away: binds are closed", self._config.name
            )
            self._binds.leaving |= numbers
            try:
                async with anyio.create_task_group() as group:
                    for number in sorted(numbers):
                        group.start_soon(self._binds.stop, number)
            finally:
                self._binds.leaving -= numbers
            if not self._losing and self._clock.monotonic() < self._outgoing.lease_until:
                self._binds.run(self._slots.held)
            self._flow.windows_changed()

    def fenced(self) -> None:
        """A slot is another's: send nothing, decide nothing, until it is known what is still ours."""
        self._outgoing.lease_until = float("-inf")
        self._recorder.fenced = True
        if not self._losing and self._group is not None:
            self._losing = True
            self._group.start_soon(self._lose)

    async def _lose(self) -> None:
        """Give up everything in hand, keep its facts, and begin anew with the slots that are left.

        Slots that are still ours are read again like any other: their journals say where they stand.
        """
        with anyio.move_on_after(LAST_ANSWERS_S):
            while self._binds.outstanding:  # noqa: ASYNC110 - as rare as a stop: no event is kept for it
                await anyio.sleep(LAST_LOOK_S)
        # Its turn ends: refused by the fence, or written before it.
        while self._recorder.busy:  # noqa: ASYNC110 - for a turn at most: no event is kept for it
            await anyio.sleep(LAST_LOOK_S)
        self._slots.bell.ring()
        facts = self._recorder.drop_all()
        self._taker.drop_all()
        self._slots.forget_lost()
        held = self._slots.held
        for number in sorted(self._binds.running):
            if number not in held:
                await self._binds.stop(number)
        self._late_facts(facts)
        self._losing = False
        if self._recorder.fenced:
            # It was told of again while binds were being closed: what came into hand since may be another's.
            self.fenced()
            return
        self._flow.share_rate()
        if held:
            self._outgoing.lease_until = self._slots.until
        self._binds.run(self._slots.held)
        self._flow.windows_changed()

    def _late_facts(self, facts: list[Any]) -> None:
        """Answers to what was given up are written down, whoever decides now."""
        if facts and self._group is not None:
            self._group.start_soon(self._late.write_twice, facts)
