"""The slots of one carrier account: which of its binds this process may hold, and until when.

An account has as many slots as binds. A slot is held by lease: `{c}:lease:N` lives only as long as its holder
renews it, and `{c}:slot:N` names the holder for good, until another writes its own name there. That second
key is the fence: whoever writes a decision does so in one step with the question whether it still holds
(`Stage.commit_if`). Leases run on the store's clock, what may be written to a socket on this process's own
monotonic clock, which is asked before the renewal is sent: so it ends earlier.

Processes that serve the same account share its slots evenly; what is left over stays with who has it. Who
has more than its share gives a slot up when that is idle. A slot whose holder died on this machine is taken
at once, any other when its lease has ended.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import anyio

from ..bell import Bell
from ..clock import Clock
from ..ledger.keys import CarrierKeys
from ..ledger.port import OutcomeUnknown, Stage, StoreError
from ..peers import Peers

log = logging.getLogger("todoke.slots")

MARGIN_S: Final = 1.5
"""Nothing is written to a socket this long before a lease ends: what is written takes time to leave."""
RENEWALS_PER_LEASE: Final = 3
ASK_AGAIN_S: Final = 0.5
"""After the store did not answer."""
AFTER_LEASE_S: Final = 0.05
"""A foreign lease is looked at again this long after its end."""
NEVER: Final = float("-inf")


class Slots:
    """Takes, keeps and gives up the slots of one account. `run()` is its one task."""

    def __init__(
        self,
        keys: CarrierKeys,
        stage: Stage,
        clock: Clock,
        peers: Peers,
        *,
        number: int,
        lease_s: float,
        epoch: int,
    ) -> None:
        """`number` of slots of the account; `epoch` of this process, a larger one for a younger process."""
        self._keys = keys
        self._stage = stage
        self._clock = clock
        self._peers = peers
        self._numbers = range(1, number + 1)
        self._lease_s = lease_s
        self._epoch = epoch
        self._taken = 0
        self._claims: dict[int, bytes] = {}
        self._lost_claims: dict[int, bytes] = {}
        """Of slots that are another's now, while what was taken under them is still in hand."""
        self._lock = anyio.Lock(fast_acquire=True)
        self._leaving = False
        self.bell = Bell()
        self.until = NEVER
        """Monotonic moment from which nothing may be written to a socket."""
        self.alone = True
        """No other living process serves this account."""
        self.was_shared = False
        """Another process served this account at some time in the life of this one."""
        self.giving_up: set[int] = set()
        self.given_up: set[int] = set()
        """Those of them whose binds are being closed: that is not taken back."""
        self.on_gained: Callable[[list[int], bool], None] = lambda numbers, foreign: None
        """Slots were taken; whether any of them had a holder before."""
        self.on_lost: Callable[[list[int]], None] = lambda numbers: None
        """Another process has taken these."""
        self.on_give_up: Callable[[int], None] = lambda number: None
        """More than our share: call `release` when nothing is in hand under this slot any more."""
        self.on_renewed: Callable[[], None] = lambda: None
        """The store knows that this process is alive; `until` may have moved on."""
        self.along: Callable[[], list[tuple[Any, ...]]] = list
        """Commands to be carried out with the next renewal, and in the same step."""
        self.on_along: Callable[[list[Any]], None] = lambda replies: None
        """Their replies."""
        self._known: dict[int, str] = {}
        """Epoch -> identity of the others that were members at the last look."""

    @property
    def held(self) -> list[int]:
        """The slots of this process, as far as it knows."""
        return sorted(self._claims)

    @property
    def surely_alone(self) -> bool:
        """That nobody else serves the account, and nobody can have begun to without our having lost a slot: a
        process that was stopped, or cut off, knows nothing before its next look.
        """
        return self.alone and self._clock.monotonic() < self.until

    @property
    def holds(self) -> Mapping[bytes, bytes]:
        """What the store must say for this process to take or prolong anything."""
        return {self._keys.slot(number): claim for number, claim in self._claims.items()}

    @property
    def fence(self) -> Mapping[bytes, bytes]:
        """What the store must say for this process to decide about what it has in hand. What was taken under
        a slot that was lost since is not decided here, even if the slot is ours again.
        """
        claims = {**self._claims, **self._lost_claims}
        return {self._keys.slot(number): claim for number, claim in claims.items()}

    def forget_lost(self) -> None:
        """Nothing is in hand any more that was taken under a slot of another's."""
        self._lost_claims.clear()

    async def run(self) -> None:
        """Renew and take, until cancelled."""
        while True:
            try:
                pause_s = await self.turn()
            except StoreError as error:
                log.debug("%s: leases wait for the message store: %s", self._keys.name, error)
                pause_s = ASK_AGAIN_S
            await self.bell.wait(pause_s)

    async def turn(self) -> float:
        """One look at all slots. Returns when to look again, in seconds. Raises StoreError."""
        async with self._lock:
            return self._lease_s if self._leaving else await self._look()

    async def _look(self) -> float:
        """Prolong what is held and see how things stand, in one step."""
        asked_at = self._clock.monotonic()
        keys, me = self._keys, self._peers.me
        ttl_ms = int(self._lease_s * 1000)
        commands: list[tuple[Any, ...]] = [
            ("HSET", keys.members, self._epoch, me),
            ("SET", keys.alive(self._epoch), me, "PX", ttl_ms),
        ]
        commands += [("SET", keys.lease(number), me, "PX", ttl_ms) for number in self._claims]
        before = len(commands)
        commands.append(("HGETALL", keys.members))
        for number in self._numbers:
            commands += [("GET", keys.lease(number)), ("PTTL", keys.lease(number))]
        known = self._known
        commands += [("EXISTS", keys.alive(epoch)) for epoch in known]
        along = self.along()
        commands += along
        try:
            if self._claims:
                done = await self._stage.commit_if(self.holds, commands)
            else:
                done = await self._stage.commit(commands)
        except OutcomeUnknown:
            return 0.0  # prolonged or not: asked again at once
        if done is None:
            await self._notice_lost()
            return 0.0
        if self._claims:
            self.until = asked_at + self._lease_s - MARGIN_S
        replies = done[before : len(done) - len(along)]
        leases = {number: replies[2 * number - 1] for number in self._numbers}
        left_ms = [replies[2 * number] for number in self._numbers if number not in self._claims]
        there = dict(zip(known, replies[1 + 2 * len(self._numbers) :], strict=True))
        others = await self._others(replies[0], there)
        self.on_along(done[len(done) - len(along) :])
        holders = Counter(lease.decode("utf-8", "replace") for lease in leases.values() if lease is not None)
        self.on_renewed()
        wanted, excess = share(len(self._numbers), len(self._claims), [holders[name] for name in others])
        free = [
            number for number in self._numbers if number not in self._claims and self._is_free(leases[number])
        ]
        if wanted and free:
            await self._take(free[:wanted])
        if excess and len(free) < excess:
            for number in self.held[-excess:]:
                if number not in self.giving_up:
                    self.giving_up.add(number)
                    self.on_give_up(number)
        else:
            self.giving_up &= self.given_up
        pause_s = self._lease_s / RENEWALS_PER_LEASE
        if wanted and left_ms:
            pause_s = min([pause_s, *(max(0, left) / 1000 + AFTER_LEASE_S for left in left_ms)])
        return pause_s

    def _is_free(self, lease: bytes | None) -> bool:
        """Whether a slot that this process does not hold may be taken. (Its own name stands there after an
        attempt whose outcome it never learnt.)
        """
        if lease is None:
            return True
        name = lease.decode("utf-8", "replace")
        return name == self._peers.me or self._peers.is_gone(name)

    async def _notice_lost(self) -> None:
        names = await self._stage.read([("GET", self._keys.slot(number)) for number in self._claims])
        lost = [
            number for (number, claim), name in zip(self._claims.items(), names, strict=True) if name != claim
        ]
        for number in lost:
            self._lost_claims.setdefault(number, self._claims.pop(number))
            self.giving_up.discard(number)
            self.given_up.discard(number)
        if lost:
            log.warning("%s: slots %s are another process's now", self._keys.name, lost)
            self.on_lost(lost)

    async def _others(self, members: list[bytes], there: dict[int, int]) -> list[str]:
        """The living processes besides this one that serve the account. `there`: by epoch, of those that were
        known before, whether they have shown themselves.
        """
        others = {
            int(epoch): identity.decode("utf-8", "replace")
            for epoch, identity in zip(members[::2], members[1::2], strict=True)
            if int(epoch) != self._epoch
        }
        new = [epoch for epoch in others if epoch not in there]
        if new:
            replies = await self._stage.read([("EXISTS", self._keys.alive(epoch)) for epoch in new])
            there = there | dict(zip(new, replies, strict=True))
        gone = [
            epoch for epoch, identity in others.items() if not there[epoch] or self._peers.is_gone(identity)
        ]
        if gone:
            await self._stage.commit([("HDEL", self._keys.members, *gone)])
        for epoch in gone:
            del others[epoch]
        self._known = others
        self.alone = not others
        self.was_shared = self.was_shared or bool(others)
        return list(others.values())

    async def _take(self, numbers: list[int]) -> None:
        """Write our name on slots that nobody holds. Raises StoreError."""
        asked_at = self._clock.monotonic()
        keys = self._keys
        watched = [key for number in numbers for key in (keys.slot(number), keys.lease(number))]
        found = await self._stage.read([("GET", key) for key in watched], watched)
        if not all(self._is_free(lease) for lease in found[1::2]):
            await self._stage.unwatch()
            self.bell.ring()
            return
        self._taken += 1
        claim = b"%x.%x" % (self._epoch, self._taken)
        ttl_ms = int(self._lease_s * 1000)
        commands: list[tuple[Any, ...]] = []
        for number in numbers:
            commands.append(("SET", keys.slot(number), claim))
            commands.append(("SET", keys.lease(number), self._peers.me, "PX", ttl_ms))
        try:
            taken = await self._stage.commit(commands) is not None
        except OutcomeUnknown:
            (name,) = await self._stage.read([("GET", keys.slot(numbers[0]))])
            taken = bool(name == claim)
        if not taken:
            self.bell.ring()
            return
        first = not self._claims
        for number in numbers:
            self._claims[number] = claim
        until = asked_at + self._lease_s - MARGIN_S
        self.until = until if first else min(self.until, until)
        log.info("%s: holding slots %s", keys.name, self.held)
        self.on_gained(numbers, any(name is not None for name in found[::2]))

    async def release(self, *numbers: int) -> None:
        """Give slots back: whoever wants them need not wait. Raises StoreError."""
        async with self._lock:
            await self._release(numbers)

    async def _release(self, numbers: Iterable[int]) -> None:
        held = {number: self._claims[number] for number in numbers if number in self._claims}
        if not held:
            return
        holds = {self._keys.slot(number): claim for number, claim in held.items()}
        await self._stage.commit_if(holds, [("DEL", *(self._keys.lease(number) for number in held))])
        for number in held:
            self._claims.pop(number, None)
            self.giving_up.discard(number)
            self.given_up.discard(number)

    async def leave(self) -> None:
        """The last thing of a clean stop. Raises StoreError."""
        async with self._lock:
            self._leaving = True
            await self._release(self.held)
            await self._stage.commit(
                [("HDEL", self._keys.members, self._epoch), ("DEL", self._keys.alive(self._epoch))]
            )


def share(slots: int, mine: int, others: list[int]) -> tuple[int, int]:
    """How many more slots a process wants if they are free, and how many it has too many.

    `mine` and `others` are held now. Everybody gets an even part first; what is left over stays where it is.
    """
    even, rest = divmod(slots, len(others) + 1)
    needy = any(count < even for count in others)
    most = even + (1 if rest and not needy else 0)
    return max(0, most - mine), max(0, mine - most)
