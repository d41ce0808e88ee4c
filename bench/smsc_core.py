"""A simulated SMSC without its sockets: accounts, ids, fates, timers.

Pure: the same core runs behind asyncio streams (`smsc`) and behind memory streams under a virtual clock
(`smsc_memory`). A shell does four things:

    session = core.connect(now)             for each connection; None when there are too many
    session.receive_data(octets, now)       or receive_eof(now)
    core.handle_tick(now)                   at core.next_deadline()
    for session in core.take_dirty(): ...   after each of them: write session.data_to_send(), obey .ending

All randomness comes from the `random.Random` given; the same calls give the same octets.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from .handset import Ids, Receipts, Scenario
from .smsc_account import Account
from .smsc_config import SmscConfig
from .smsc_log import SubmitLog
from .smsc_session import EsmeSession
from .wheel import TimerWheel

if TYPE_CHECKING:
    from random import Random


class SmscStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What happened so far. Counts are of parts (submits) and of PDUs (delivers)."""

    binds: int
    binds_refused: int
    bound: int
    submits: int
    accepted: int
    refused: dict[str, int]
    """command_status in hex -> requests answered so."""
    lost_responses: int
    delivers: int
    delivers_answered: int
    offered_again: int
    receipts_dropped: int
    waiting: int
    held: int
    cuts: int
    nacks: int
    framing_errors: int
    unexpected_responses: int
    peak_parts_per_s: int
    peak_unanswered: int


class Counters:
    """The mutable side of `SmscStatistics`."""

    def __init__(self) -> None:
        self.binds = 0
        self.binds_refused = 0
        self.submits = 0
        self.accepted = 0
        self.statuses: Counter[int] = Counter()
        self.lost_responses = 0
        self.delivers = 0
        self.delivers_answered = 0
        self.offered_again = 0
        self.receipts_dropped = 0
        self.cuts = 0
        self.nacks = 0
        self.framing_errors = 0
        self.unexpected_responses = 0
        self.peak_unanswered = 0

    def refused(self, command_status: int, count: int) -> None:
        self.statuses[command_status] += count


class SmscCore:
    """See the module. `wall_offset_s` + `now` is Unix time (dates in receipts)."""

    def __init__(
        self,
        config: SmscConfig,
        rng: Random,
        now: float,
        wall_offset_s: float = 0.0,
        log: SubmitLog | None = None,
    ) -> None:
        self.config = config
        self.rng = rng
        self.random = rng.random
        self.log = log
        self.counters = Counters()
        self.scenario = Scenario(config, rng)
        self.plain = self.scenario.plain and not (config.response_jitter_s or config.receipt_jitter_s)
        """Every part has the same fate and the same delays."""
        self.ids = Ids(config.id_form, config.id_start, rng)
        self.receipts = Receipts(config.receipt_form, wall_offset_s)
        self.serial = 1
        self.dirty: list[EsmeSession] = []
        self._connections: dict[EsmeSession, None] = {}
        self._responses: TimerWheel[tuple[EsmeSession, bytes, int]] = TimerWheel()
        self._timers: TimerWheel[Callable[[float], None]] = TimerWheel()
        self.accounts = {system_id: Account(system_id, self) for system_id in config.accounts}
        for account in self.accounts.values():
            account.start(now)

    # The shell's side

    def connect(self, now: float) -> EsmeSession | None:
        """A session for a new connection; None when `connections_max` are open."""
        if len(self._connections) >= self.config.connections_max:
            return None
        session = EsmeSession(self, now)
        self._connections[session] = None
        return session

    def next_deadline(self) -> float:
        """When `handle_tick` is wanted next; infinity when nothing is pending."""
        deadline = min(self._responses.next_deadline(), self._timers.next_deadline())
        for account in self.accounts.values():
            deadline = min(deadline, account.receipts.next_deadline())
        return deadline

    def handle_tick(self, now: float) -> None:
        """Do what is due at `now`: timers, then responses, then receipts."""
        for call in self._timers.due(now):
            call(now)
        for session, octets, count in self._responses.due(now):
            session.unanswered -= count
            session.answer([octets])
        for account in self.accounts.values():
            account.handle_tick(now)

    def take_dirty(self) -> list[EsmeSession]:
        """Sessions with octets to write, or ended, since the last call."""
        dirty, self.dirty = self.dirty, []
        return dirty

    def release(self, now: float) -> None:
        """Send the held receipts of every account."""
        for account in self.accounts.values():
            account.release(now)

    def shut_down(self, now: float) -> None:
        """Close every connection."""
        for session in list(self._connections):
            session.close("close", now)

    def statistics(self) -> SmscStatistics:
        counters, accounts = self.counters, list(self.accounts.values())
        unanswered = [session.peak_unanswered for session in self._connections]
        return SmscStatistics(
            binds=counters.binds,
            binds_refused=counters.binds_refused,
            bound=sum(len(account.sessions) for account in accounts),
            submits=counters.submits,
            accepted=counters.accepted,
            refused={f"0x{status:08x}": count for status, count in sorted(counters.statuses.items())},
            lost_responses=counters.lost_responses,
            delivers=counters.delivers,
            delivers_answered=counters.delivers_answered,
            offered_again=counters.offered_again,
            receipts_dropped=counters.receipts_dropped,
            waiting=sum(account.waiting for account in accounts),
            held=sum(account.held for account in accounts),
            cuts=counters.cuts,
            nacks=counters.nacks,
            framing_errors=counters.framing_errors,
            unexpected_responses=counters.unexpected_responses,
            peak_parts_per_s=max((account.peak_parts_per_s for account in accounts), default=0),
            peak_unanswered=max([counters.peak_unanswered, *unanswered]),
        )

    # The sessions' and accounts' side

    def call_at(self, deadline: float, call: Callable[[float], None]) -> None:
        """Have `call(now)` made at `deadline`."""
        if deadline < math.inf:
            self._timers.add(deadline, call)

    def respond(self, session: EsmeSession, octets: bytes, count: int, deadline: float, now: float) -> None:
        """Send `octets`, `count` responses, at `deadline`."""
        if deadline > now:
            self._responses.add(deadline, (session, octets, count))
        else:
            session.unanswered -= count
            session.answer([octets])

    def bound(self, session: EsmeSession, now: float) -> None:
        self.counters.binds += 1
        session.bind = self.counters.binds
        assert session.account is not None
        self.note(now, session.account.system_id, "bound", session.bind)

    def gone(self, session: EsmeSession) -> None:
        self._connections.pop(session, None)
        self.counters.peak_unanswered = max(self.counters.peak_unanswered, session.peak_unanswered)

    def note(self, now: float, system_id: str, word: str, number: int) -> None:
        if self.log is not None:
            self.log.event(now, system_id, word, number)
