"""What is worth a look as often as leases are renewed: an operator's hand, what other processes ask, blocks
that are pending and not known here.

The questions travel with the renewal, in the same step: a quiet account costs the message store one write for
each third of a lease. What the replies call for is done in a task of its own, so that no renewal waits for
it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import anyio
import anyio.lowlevel

from ..bell import Bell
from ..ledger.keys import CarrierKeys
from ..ledger.port import Stage, StoreError
from .asks import Asks
from .hand import Hand, read_hand
from .slots import Slots
from .taker import Taker

log = logging.getLogger("todoke.upkeep")

Commands = list[tuple[Any, ...]]

_HAND: Final = 0
_ASKED: Final = 1
_PENDING: Final = 2


class Upkeep:
    """Of one account, beside its slots. `run()` is its one task."""

    def __init__(self, keys: CarrierKeys, stage: Stage, slots: Slots, asks: Asks, taker: Taker) -> None:
        """`stage` is for the operator's changes."""
        self._keys = keys
        self._stage = stage
        self._slots = slots
        self._asks = asks
        self._taker = taker
        self._lock = anyio.Lock()
        self._bell = Bell()
        self._hands_laid = 0
        """How often an operator's change began, or ended, here."""
        self._asked: tuple[int, int] = (0, 0)
        """`_hands_laid`, and blocks in hand, when the last questions were asked."""
        self._found: tuple[list[Any], int, int] = ([], 0, 0)
        self.on_hand: Callable[[Hand], None] = lambda hand: None
        """What an operator wants, whether or not it has changed."""
        self.on_looked: Callable[[], Awaitable[None]] = anyio.lowlevel.checkpoint
        """Awaited after a look, as long as other processes serve the account. May raise StoreError."""
        slots.along, slots.on_along = self._questions, self._answers

    def _questions(self) -> Commands:
        """Reads that go with the next renewal."""
        self._asked = self._hands_laid, self._taker.in_hand
        return [("HGETALL", self._keys.hand), ("HGETALL", self._keys.asks), *self._taker.pending()]

    def _answers(self, replies: list[Any]) -> None:
        self._found = (replies, *self._asked)
        self._bell.ring()

    async def run(self) -> None:
        """Heed what each renewal brought, until cancelled."""
        was_alone = False
        while True:
            await self._bell.wait()
            found, hands_laid, known = self._found
            if hands_laid == self._hands_laid:
                self.on_hand(read_hand(found[_HAND]))
            alone = self._slots.alone
            try:
                self._taker.look_for_more(found[_PENDING:], known)
                if not alone or not was_alone:
                    await self._asks.look(found[_ASKED])
                    await self.on_looked()
                was_alone = alone
            except StoreError as error:
                log.debug("%s: a look waits for the message store: %s", self._keys.name, error)

    async def look_at_hand(self) -> None:
        """At the start: what an operator wanted before. Raises StoreError."""
        (pairs,) = await self._stage.read([("HGETALL", self._keys.hand)])
        self.on_hand(read_hand(pairs))

    async def lay_hand(self, commands: Sequence[tuple[Any, ...]]) -> None:
        """An operator's change, by way of this process. Raises StoreError."""
        async with self._lock:
            self._hands_laid += 1  # a renewal under way may have read what was there before
            replies = await self._stage.commit([*commands, ("HGETALL", self._keys.hand)])
            self._hands_laid += 1
            assert replies is not None  # this stage watches nothing
            self.on_hand(read_hand(replies[-1]))
