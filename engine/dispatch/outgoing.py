"""What one carrier account has in hand, and the pump that gives granted parts to binds with room at the
carrier's pace.

Synchronous: it is called when a bind has room, a grant became durable, or the pace allows more. Three limits
meet here, and each is asked before a part leaves: the grant (durable permission), the window (unanswered
requests of a bind) and the pace (parts in a sliding second of the account).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from math import ceil
from typing import Final, Protocol

from ...codecs import segment
from ...codecs.errors import CodecError
from ..clock import Clock
from ..ledger import blocks
from ..ledger.keys import LANES
from . import hours
from .bodies import BodyMaker, least_ms
from .destinations import Destinations
from .pacing import Pacer
from .runs import OUT_OF_TIME, LongMessage, Run, parts_to_send

log = logging.getLogger("todoke.dispatch")

Token = tuple[Run, int, int]
"""run, entry index, part: what a bind gives back with an answer."""

NOT_NOW: Final = 0
"""Kind of a skipped entry that may be sent later, beside the kinds of blocks.py."""


class SendingBind(Protocol):
    """What the pump needs of a bind."""

    name: str

    @property
    def window_free(self) -> int: ...

    def submit(self, bodies: list[bytes], tokens: list[Token]) -> None: ...


class Outgoing:
    """The runs of one carrier account in this process, and its pump."""

    def __init__(self, maker: BodyMaker, pacer: Pacer, clock: Clock, on_skip: Callable[[], None]) -> None:
        self.maker = maker
        self.pacer = pacer
        self.clock = clock
        self.runs: dict[str, Run] = {}
        self.lanes: dict[str, deque[Run]] = {lane: deque() for lane in LANES}
        self.binds: list[SendingBind] = []
        """Binds that may send, in the order in which the next part is offered."""
        self.begun_long: dict[str, deque[LongMessage]] = {}
        self.skips: list[tuple[Run, int, int, int]] = []
        """run, index, kind, when it may be sent (ms): for the recorder. Beside the kinds of blocks.py there
        are NOT_NOW and OUT_OF_TIME, whose last number is the part.
        """
        self.paused_until = 0.0
        """After ESME_RTHROTTLED: nothing leaves before this moment (monotonic seconds)."""
        self.lease_until = float("inf")
        """Nothing leaves from this moment on (monotonic seconds): the account's slots may be another's."""
        self.paused = False
        """An operator's pause: nothing leaves, not even the rest of a message that was begun."""
        self.probes: int | None = None
        """Parts that may still be sent while the account is tried out (breaker.py); None: any number."""
        self.destinations: Destinations | None = None
        """The numbers that have to wait; asked only while there are any."""
        self.pace_wait_until: float | None = None
        """Set when only the pace (or a pause) holds parts back: call `pump` then."""
        self.parts_sent = 0
        self.stopping = False
        """A clean stop: only messages already begun go on."""
        self._on_skip = on_skip
        self._least_ms = least_ms(maker.config)

    def hold(self, until: float) -> None:
        """Nothing leaves before that moment (monotonic seconds) if the account has a rate."""
        if self.pacer.rate:
            self.paused_until = max(self.paused_until, until)

    def add(self, run: Run) -> None:
        """A block was taken: its entries wait for a grant."""
        self.runs[run.block_id] = run
        if run.next < len(run.entries):
            self.lanes[run.lane].append(run)

    def drop_all(self) -> None:
        """Nothing is in hand any more."""
        for run in self.runs.values():
            run.dropped = True
        self.runs.clear()
        for lane in self.lanes.values():
            lane.clear()
        self.begun_long.clear()
        self.skips.clear()

    def ungranted(self) -> int:
        """Entries in hand that are not granted yet: the measure of whether to take another block."""
        return sum(len(run.entries) - run.grant for lane in self.lanes.values() for run in lane)

    def unsent(self) -> int:
        """Entries in hand that were not handed to a bind."""
        return sum(len(run.entries) - run.next for lane in self.lanes.values() for run in lane)

    def unmoved(self) -> int:
        """Entries in hand that were not asked yet whether another carrier may take them."""
        return sum(
            max(0, len(run.entries) - max(run.next, run.tried_moving))
            for lane in self.lanes.values()
            for run in lane
        )

    def granted_ahead(self) -> int:
        """Entries granted and not handed to a bind."""
        return sum(run.grant - run.next for lane in self.lanes.values() for run in lane)

    def take_back(self) -> tuple[list[Run], int]:
        """Lower every grant to what was handed to a bind: (the runs, how many parts were granted in vain).

        What was granted and not written would be in doubt after a crash, and a pause may last. Only while
        nothing leaves and no grant is being written. A run of which nothing was handed out is looked at anew
        when it is granted again: meanwhile others may cancel of it.
        """
        runs: list[Run] = []
        parts = 0
        for lane in self.lanes.values():
            for run in lane:
                if run.grant <= run.next:
                    continue
                for index in range(run.next, run.grant):
                    entry = run.entries[index]
                    if entry is not None and index not in run.skip:
                        parts += parts_to_send(entry)
                run.grant = run.usable = run.next
                run.fresh = run.fresh or not run.next
                runs.append(run)
        return runs, parts

    def pump(self) -> None:
        """Write as much as grants, windows and pace allow."""
        self.pace_wait_until = None
        if self.paused or not self.binds:
            return
        now = self.clock.monotonic()
        if now >= self.lease_until:
            return
        if now < self.paused_until:
            self.pace_wait_until = self.paused_until
            return
        allowed = self.pacer.available(now)
        if self.probes is not None:
            allowed = min(allowed, self.probes)
        now_ms = int(self.clock.wall() * 1000)
        blocked = False
        for bind in self.binds:
            room = bind.window_free
            if room <= 0:
                continue
            if allowed <= 0:
                blocked = True
                break
            bodies: list[bytes] = []
            tokens: list[Token] = []
            count = min(room, allowed)
            self._gather(bind, count, bodies, tokens, now_ms)
            if bodies:
                self.pacer.took(len(bodies), now)
                if self.probes is not None:
                    self.probes -= len(bodies)
                allowed -= len(bodies)
                self.parts_sent += len(bodies)
                bind.submit(bodies, tokens)
                blocked = allowed <= 0
        if blocked and self.probes != 0 and self._has_usable():
            self.pace_wait_until = self.pacer.next_at(now)
        if len(self.binds) > 1:
            self.binds.append(self.binds.pop(0))
        if self.skips:
            self._on_skip()

    def lost(self, bind: SendingBind) -> list[Token]:
        """A bind may not send any more. Returns a part that was not written of each message it had begun:
        the rest of such a message is decided on anew, because its time may be over when a bind is back.
        """
        if bind in self.binds:
            self.binds.remove(bind)
        begun = self.begun_long.pop(bind.name, ())
        return [(message.run, message.index, message.todo[0]) for message in begun if message.todo]

    def has_begun(self) -> bool:
        """Messages in parts of which some are still to be written."""
        return any(message.todo for begun in self.begun_long.values() for message in begun)

    def _has_usable(self) -> bool:
        return any(run.next < run.usable for lane in self.lanes.values() for run in lane) or any(
            self.begun_long.values()
        )

    def _gather(
        self, bind: SendingBind, count: int, bodies: list[bytes], tokens: list[Token], now_ms: int
    ) -> None:
        """Collect up to `count` granted parts for one bind."""
        begun = self.begun_long.get(bind.name)
        if begun:
            count -= self._continue_long(begun, count, bodies, tokens, now_ms)
        if self.stopping:
            return
        for lane in LANES:
            runs = self.lanes[lane]
            while runs and count > 0:
                run = runs[0]
                count = self._from_run(run, bind, count, bodies, tokens, now_ms)
                if run.next >= len(run.entries):
                    runs.popleft()
                elif run.next >= run.usable:
                    if len(runs) > 1 and any(other.next < other.usable for other in runs):
                        runs.rotate(-1)
                        continue
                    break

    def _from_run(
        self, run: Run, bind: SendingBind, count: int, bodies: list[bytes], tokens: list[Token], now_ms: int
    ) -> int:
        """The hot loop: granted entries of one run, until `count` parts are collected. Returns what is left
        of it.
        """
        entries, payloads = run.entries, run.payloads
        skip = run.skip
        index, stop = run.next, run.usable
        sender: str | None = None
        body = None
        waiting = self.destinations or None
        while index < stop and count > 0:
            entry = entries[index]
            if entry is None or (skip and index in skip):
                index += 1
                continue
            if waiting is not None and self._has_to_wait(run, index, entry, waiting, now_ms):
                index += 1
                continue
            if entry.parts == 1 and entry.extra is None and not entry.expires_ms:
                payload = payloads[index] if payloads else None
                if payload is None:
                    payload = self._simple_payload(entry.text)
                if payload is not None:
                    if entry.sender != sender:
                        sender = entry.sender
                        body = self.maker.template(sender).body
                    assert body is not None
                    bodies.append(body(entry.to.encode(), self._gsm7_coding, payload))
                    tokens.append((run, index, 0))
                    index += 1
                    count -= 1
                    continue
            count -= self._slow_entry(run, index, entry, bind, count, bodies, tokens, now_ms)
            index += 1
        run.next = index
        return count

    def _has_to_wait(
        self, run: Run, index: int, entry: blocks.Entry, destinations: Destinations, now_ms: int
    ) -> bool:
        """Whether this number's queue at the SMSC is full: the message waits outside its block. What has
        expired waits no more.
        """
        now = self.clock.monotonic()
        wait_s = destinations.until(entry.to, now) - now
        if wait_s <= 0 or (entry.expires_ms and entry.expires_ms - now_ms < self._least_ms):
            return False
        # Rounded up: what is due before its time is taken and put off again, for as long as it takes.
        self.skips.append((run, index, NOT_NOW, now_ms + ceil(wait_s * 1000)))
        return True

    @property
    def _gsm7_coding(self) -> int:
        return self.maker.rules.gsm7_data_coding

    def _simple_payload(self, text: str) -> bytes | None:
        rules = self.maker.rules
        if rules.alphabets[0] == "gsm7" and rules.units_single is None and not rules.packed:
            return segment.single(text)
        return None

    def _slow_entry(
        self,
        run: Run,
        index: int,
        entry: blocks.Entry,
        bind: SendingBind,
        count: int,
        bodies: list[bytes],
        tokens: list[Token],
        now_ms: int,
    ) -> int:
        """Anything that is not one plain part. Returns how many parts were collected."""
        if entry.expires_ms and entry.expires_ms - now_ms < self._least_ms:
            self.skips.append((run, index, blocks.EXPIRED, 0))
            return 0
        window = entry.extra.window if entry.extra is not None else None
        if window is not None:
            opens_ms = hours.next_moment(window, now_ms, self._least_ms)
            if opens_ms > now_ms:
                kind = NOT_NOW
                if opens_ms == hours.NEVER_MS or (entry.expires_ms and opens_ms >= entry.expires_ms):
                    kind = blocks.EXPIRED
                self.skips.append((run, index, kind, opens_ms))
                return 0
        try:
            made = self.maker.bodies(entry, now_ms)
        except CodecError as error:
            log.error("%s entry %d no longer fits the carrier's rules: %s", run.block_id, index, error)
            made = {}
        except Exception as error:
            # A fault of ours: one message ends for it, not the node, and not the next one with it. What the
            # error says may be the message's text.
            log.error("%s entry %d cannot be encoded: %s", run.block_id, index, type(error).__name__)
            made = {}
        if not made:
            self.skips.append((run, index, blocks.FAILED, 0))
            return 0
        if entry.parts == 1:
            bodies.append(made[0])
            tokens.append((run, index, 0))
            return 1
        timed = bool(entry.expires_ms) or window is not None
        message = LongMessage(run, index, made, now_ms if timed else 0)
        run.long[index] = message
        begun = self.begun_long.setdefault(bind.name, deque())
        begun.append(message)
        return self._continue_long(begun, count, bodies, tokens, now_ms)

    def _continue_long(
        self,
        begun: deque[LongMessage],
        count: int,
        bodies: list[bytes],
        tokens: list[Token],
        now_ms: int,
    ) -> int:
        """Further parts of messages that this bind has begun; all parts of a message go over one bind."""
        sent = 0
        while begun and sent < count:
            message = begun[0]
            if message.failed:
                # The recorder decides on what is left of it.
                begun.popleft()
                continue
            if message.timed_ms and message.timed_ms != now_ms and not self._still_in_time(message, now_ms):
                self.skips.append((message.run, message.index, OUT_OF_TIME, message.todo[0]))
                message.failed[message.todo[0]] = OUT_OF_TIME
                continue
            while message.todo and sent < count:
                part = message.todo.pop(0)
                bodies.append(message.bodies[part])
                tokens.append((message.run, message.index, part))
                message.outstanding.add(part)
                sent += 1
            if message.todo:
                break
            begun.popleft()
        return sent

    def _still_in_time(self, message: LongMessage, now_ms: int) -> bool:
        """Whether the rest of a message may still be written now; its validity_period is made anew if so."""
        entry = message.run.entries[message.index]
        assert entry is not None
        if entry.expires_ms and entry.expires_ms - now_ms < self._least_ms:
            return False
        window = entry.extra.window if entry.extra is not None else None
        if window is not None and hours.next_moment(window, now_ms, self._least_ms) > now_ms:
            return False
        message.bodies.update(self.maker.bodies(entry, now_ms))
        message.timed_ms = now_ms
        return True


def grant_more(outgoing: Outgoing, budget: int) -> tuple[list[Run], int]:
    """Raise the grants of waiting runs by up to `budget` parts, urgent lanes first.

    Returns the runs whose grant was raised and the parts granted. At least one message is granted when the
    budget is positive, even if it has more parts than that: a window of 1 must still pass a message of ten
    parts.
    """
    raised: list[Run] = []
    granted = 0
    for lane in LANES:
        for run in outgoing.lanes[lane]:
            if granted >= budget:
                return raised, granted
            entries = run.entries
            grant, stop = run.grant, len(entries)
            before = grant
            if not run.has_long and not run.skip:
                step = min(stop - grant, budget - granted)
                grant += step
                granted += step
            else:
                while grant < stop and granted < budget:
                    entry = entries[grant]
                    if entry is not None and grant not in run.skip:
                        granted += parts_to_send(entry)
                    grant += 1
            if grant != before:
                run.grant = grant
                raised.append(run)
    return raised, granted
