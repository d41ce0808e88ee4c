"""The record stage of one carrier: answers, doubts and skips become facts, and facts carry the next grant.

One write is in flight at a time; everything learnt meanwhile is the next one. A turn is one MULTI: journal
records with grants, the receipt index, blocks for what is to be sent again, the events that tell the apps,
and the end of blocks. A crash leaves a turn either whole or undone; undone means the parts concerned are
below a grant and without a fact: in doubt, and handled as such by the next owner.

Here are the turns and their order, and nothing of what a turn decides: that is `outcomes`, `late_answers`,
`cancellations`, `failover` and `grants`, each of which is asked once a turn and adds to it; `writer` writes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from ..clock import Clock
from ..config import CarrierConfig
from ..errors import Fenced
from ..ledger.durable import Applied, DurableStage
from ..ledger.keys import CarrierKeys
from .cancellations import Cancellations, Done
from .claims import Claims
from .copies import Copies
from .failover import Failover
from .grants import Grants
from .health import Health
from .inbox import Answer, Inbox
from .late_answers import LateAnswers
from .outcomes import Outcomes
from .outgoing import Outgoing
from .portability import LearnedPortability
from .runs import IN_DOUBT, Run
from .turn import Elsewhere, Turn
from .writer import TurnWriter


class Recorder:
    """Owns the order of turns and, through its parts, every run's unrecorded facts. `run()` is its task."""

    def __init__(
        self,
        config: CarrierConfig,
        keys: CarrierKeys,
        stage: DurableStage,
        outgoing: Outgoing,
        clock: Clock,
        rng: random.Random,
        *,
        epoch: int,
        mint: Callable[[], str],
        elsewhere: Elsewhere,
        other_keys: Callable[[str], CarrierKeys],
        holds: Callable[[], Mapping[bytes, bytes]] = dict,
        is_sole: Callable[[], bool] = lambda: True,
        health: Health,
        portability: LearnedPortability | None = None,
    ) -> None:
        """`holds`: what the store must say for a turn to be written (see Slots). `is_sole`: whether it is all
        of the account, so that nobody else has a block of it in hand.
        """
        self._outgoing = outgoing
        self._keys = keys
        self._clock = clock
        self.counts: dict[str, int] = {
            "sent": 0,
            "refused": 0,
            "retried": 0,
            "moved": 0,
            "in_doubt": 0,
            "resolved_late": 0,
            "expired": 0,
            "cancelled": 0,
        }
        self.inbox = Inbox()
        self.copies = Copies(keys, outgoing, epoch)
        self.grants = Grants(outgoing, self.inbox)
        self._claims = Claims()
        self.cancellations = Cancellations(self._claims, self.inbox.bell, self.counts)
        self.failover = Failover(
            config, outgoing, self._claims, self.inbox.bell, self.counts, elsewhere=elsewhere
        )
        self._outcomes = Outcomes(
            config, clock, rng, self.counts, elsewhere=elsewhere, health=health, portability=portability
        )
        self._late_answers = LateAnswers(
            config, keys, stage, self.inbox, self.copies, self.counts, is_sole=is_sole
        )
        self._writer = TurnWriter(
            config, keys, stage, self.copies, epoch=epoch, mint=mint, other_keys=other_keys, holds=holds
        )
        self.fenced = False
        """A slot was lost: nothing is decided until `drop_all`."""
        self._dropped_before = False
        self.busy = False
        self.on_fenced: Callable[[], None] = lambda: None
        """Called when the store says that a slot is not ours any more."""
        self.on_facts: Callable[[list[Answer]], None] = lambda facts: None
        """Called with answers to what was given up: they are still true."""
        self.on_events: Callable[[str, int], None] = lambda app, n: None
        self.on_orphans: Callable[[list[bytes]], None] = lambda keys: None
        self.on_due: Callable[[int], None] = lambda at_ms: None
        self.on_closed: Callable[[int], None] = lambda messages: None

    @property
    def idle(self) -> bool:
        """Nothing waits to be recorded."""
        return not self.busy and self.inbox.is_empty and not self._outgoing.skips

    async def run(self) -> None:
        """The stage's task, until cancelled."""
        while True:
            await self.inbox.bell.wait()
            if self.fenced:
                continue
            self.busy = True
            try:
                await self.turn()
            except Fenced:
                self.fenced = True
                self.on_fenced()
            finally:
                self.busy = False

    def drop_all(self) -> list[Answer]:
        """Give up every run: the slots they were taken under may be another's, who has read their journals.

        Returns the answers that are not written down: facts, whoever decides now.
        """
        facts = self.inbox.drop_all()
        self._claims.drop_all()
        asked = self.cancellations.drop_all()
        self._outgoing.drop_all()
        self.grants.open_parts = 0
        self.fenced = False
        self._dropped_before = True
        for done in asked:
            done(False)
        return facts

    async def turn(self) -> None:
        """Record what is known now and grant what may follow. Raises Fenced."""
        inbox = self.inbox
        if self._dropped_before:
            # What is heard of runs that were given up goes another way.
            facts = inbox.sort_out_dropped()
            if facts:
                for (run, index, part), _, command_status, message_id, _ in facts:
                    if not command_status:
                        self.copies.mark(None, run, index, part, message_id.decode("latin-1"))
                self.on_facts(facts)
        if inbox.late:
            await self._late_answers.drop_too_late()
        work = Turn(self._keys, int(self._clock.wall() * 1000))
        cancelled = self._decide(work)
        raised = self.grants.grant(work)
        # A journal is read in the very step that grants for the first time, or claims: a cancellation is in
        # it, or finds it changed. So is that of copies in every step that grants more of them.
        fresh = [run for run in raised if run.fresh or run.has_copies]
        claims = self._claims.claim(work, fresh)
        if not (work.dirty or work.commands or work.events or work.endings or work.rx or work.later):
            inbox.in_turn = []
            for done, result in cancelled:
                done(result)
            return
        try:
            closed, replies, reads = await self._writer.write(work, fresh + claims)
        except Fenced:
            for done, _ in cancelled:
                done(False)
            raise
        inbox.in_turn = []
        self.grants.open_parts -= work.resolved_parts
        for run, position in reads:
            if isinstance(replies, Applied):
                await self._look_again(run)
            else:
                self.grants.first_look(run, replies[position])
        for run in claims:
            # Late answers are written to the journal until it grants: it is read again then.
            run.claimed = run.fresh = True
        if claims or self.cancellations.asked:
            inbox.bell.ring()
        for run in raised:
            run.usable = run.grant
        self._tell(work, closed, cancelled)
        if work.rx:
            orphans = await self._writer.after_index(work, replies)
            if orphans:
                self.on_orphans(orphans)
        if raised:
            self.grants.on_usable()
        if self.grants.wanted or self._outgoing.skips:
            inbox.bell.ring()

    def _decide(self, work: Turn) -> list[tuple[Done, bool]]:
        """All that is known now becomes part of the turn. Returns the cancellations to answer after it."""
        inbox, outgoing = self.inbox, self._outgoing
        answers = inbox.next_answers()
        ended, inbox.ended = inbox.ended, []
        for run in ended:
            work.touch(run)
        if inbox.late:
            # First: what is heard of copies in this turn is judged by it.
            self._late_answers.mark(work)
        if answers:
            self._outcomes.take_answers(work, answers)
        if inbox.doubts:
            doubts, inbox.doubts = inbox.doubts, []
            for run, index, part in doubts:
                self._outcomes.part_failed(work, run, index, part, IN_DOUBT)
        if outgoing.skips:
            skips, outgoing.skips = outgoing.skips, []
            self._outcomes.take_skips(work, skips)
        if inbox.late:
            for fact in self._late_answers.take(work):
                self.on_facts([fact])
            self._outcomes.end_superseded(work)
        cancelled = self.cancellations.take(work)
        if self.failover.moving:
            self.failover.choose(work)
        if outgoing.paused:
            self.grants.take_back(work)
        return cancelled

    def _tell(self, work: Turn, closed: list[Run], cancelled: list[tuple[Done, bool]]) -> None:
        """The turn is written: whoever waits for something in it is told."""
        for run in closed:
            # Nothing of it may be granted again, nor the run closed a second time.
            run.next = run.grant = run.usable = len(run.entries)
            self._outgoing.runs.pop(run.block_id, None)
            self.copies.closed(run.block_id)
        if closed or work.later:
            moved = sum(len(items) for items in work.later.values())
            self.on_closed(sum(len(run.entries) for run in closed) - moved)
        for events in (work.events, work.ended):
            for app, told in events.items():
                self.on_events(app, len(told))
        for at_ms in work.due_times:
            self.on_due(at_ms)
        for done, result in cancelled:
            done(result)

    async def _look_again(self, run: Run) -> None:
        """The replies to the commit are lost, and it is known to be there: its journal is read by itself."""
        self.grants.first_look(run, await self._writer.read_journal(run))
