"""The record stage of one carrier: answers, doubts and skips become facts, and facts carry the next grant.

One write is in flight at a time; everything learnt meanwhile is the next one. A turn is one MULTI: journal
records with grants, the receipt index, blocks for what is to be sent again, the events that tell the apps,
and the end of blocks. A crash leaves a turn either whole or undone; undone means the parts concerned are
below a grant and without a fact: in doubt, and handled as such by the next owner.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping
from math import ceil, inf
from typing import Any, Final

import msgspec

from ..bell import Bell
from ..clock import Clock
from ..config import CarrierConfig
from ..errors import Fenced
from ..ledger import blocks
from ..ledger.accept import finish_member, make_block
from ..ledger.blocks import Entry, Extra
from ..ledger.durable import Applied, DurableStage
from ..ledger.events import publish
from ..ledger.keys import GROUP, LANES, CarrierKeys
from ..receipts.correlation import CLOSED, read_table
from ..receipts.fields import (
    DESTINATION_DIGITS,
    WAITING,
    WHITE,
    WITHDRAWN,
    ZERO,
    candidates,
    index_key,
    joined,
    origin_octets,
)
from . import retry
from .copies import Copies
from .health import Health, destination_full
from .holds import doubt_field
from .outgoing import NOT_NOW, Outgoing, Token, grant_more
from .portability import LearnedPortability, teaches
from .runs import IN_DOUBT, OK, OUT_OF_TIME, LongMessage, Run, parts_to_send
from .turn import Turn, has_table, merged

log = logging.getLogger("todoke.record")

TURN_ANSWERS_MAX: Final = 1_000
"""A turn of this many keeps the event loop for a millisecond or two: the next answer need not wait longer."""
FINISH_GRACE_MS: Final = 2_000
"""Receipts mostly come within this time (or history_s, if that is less): then the first look at a block is
the last.
"""
FINISH_GRAIN_MS: Final = 500
"""Blocks that ended within this time are looked after in one go."""
MOVES_PER_TURN_MAX: Final = 1_000
URGENT: Final = LANES[0]

NO_MESSAGE_ID: Final = ("no_message_id", None, None)
"""The SMSC took it and gave no id: no receipt can ever be matched."""

_encode = msgspec.msgpack.Encoder().encode

Answer = tuple[Token, int, int, bytes, int]
Elsewhere = Callable[[Entry, str, list[str]], tuple[str, Entry] | None]
"""(entry, its app, carriers tried) -> another carrier and the entry as that one takes it, or None."""


class Recorder:
    """Owns the record stage's connection and every run's unrecorded facts. `run()` is its one task."""

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
        self._config = config
        self._keys = keys
        self._stage = stage
        self._outgoing = outgoing
        self._clock = clock
        self._rng = rng
        self._epoch = epoch
        self._mint = mint
        self._elsewhere = elsewhere
        self._other_keys = other_keys
        self._holds = holds
        self._is_sole = is_sole
        self._health = health
        self._portability = portability
        self._answers: list[Answer] = []
        self._late: list[Answer] = []
        self._doubts: list[Token] = []
        self._cancels: list[tuple[Run, int, Callable[[bool], None]]] = []
        self._grants_wanted = False
        self._unclaimed: list[Run] = []
        """Runs about whose ungranted messages something is to be decided, which nobody knows yet."""
        self._ended_runs: list[Run] = []
        """Runs found to have nothing left to send: their end is still to be recorded."""
        self.copies = Copies(keys, outgoing, epoch)
        self.bell = Bell()
        self.granted_open = 0
        """Parts granted and without a recorded outcome, over all runs."""
        self.windows = 0
        """Sum of the windows of the binds that may send; grants never exceed twice this."""
        self.stopping = False
        """A clean stop: no new grants."""
        self.moving = False
        """The account's breaker is open: what can go elsewhere goes."""
        self.fenced = False
        """A slot was lost: nothing is decided until `drop_all`."""
        self._in_turn: list[Answer] = []
        """The answers that the turn under way is writing down."""
        self._dropped_before = False
        self.busy = False
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
        self.after_turn: Callable[[], None] = lambda: None
        """Called when grants became usable."""
        self.on_fenced: Callable[[], None] = lambda: None
        """Called when the store says that a slot is not ours any more."""
        self.on_facts: Callable[[list[Answer]], None] = lambda facts: None
        """Called with answers to what was given up: they are still true."""
        self.on_events: Callable[[str, int], None] = lambda app, n: None
        self.on_orphans: Callable[[list[bytes]], None] = lambda keys: None
        self.room_at: Callable[[str], float] = lambda carrier: inf
        """How many parts another carrier would send soon if they were moved to it."""
        self.on_held_back: Callable[[], None] = lambda: None
        """Called when something was not moved for want of room: ring the bell after a while."""
        self.on_due: Callable[[int], None] = lambda at_ms: None
        self.on_closed: Callable[[int], None] = lambda messages: None

    # -- what the binds and the pump hand in -----------------------------------------------------------

    def answered(self, items: list[Answer]) -> None:
        self._answers += items
        self.bell.ring()

    def answered_late(self, items: list[Answer]) -> None:
        self._late += items
        self.bell.ring()

    def doubted(self, tokens: list[Token]) -> None:
        self._doubts += tokens
        self.bell.ring()

    def lower_grants(self) -> None:
        """A clean stop: what was granted and never given to a bind is granted no more, so nobody doubts it
        later.
        """
        self.stopping = True
        for lane in self._outgoing.lanes.values():
            for run in lane:
                if run.grant > run.next:
                    run.grant = run.usable = run.next
                    self._ended_runs.append(run)
        self.bell.ring()

    def cancel(self, run: Run, index: int, done: Callable[[bool], None]) -> None:
        self._cancels.append((run, index, done))
        self.bell.ring()

    def want_grants(self) -> None:
        self._grants_wanted = True
        self.bell.ring()

    @property
    def idle(self) -> bool:
        """Nothing waits to be recorded."""
        waiting = self._answers or self._late or self._doubts or self._ended_runs or self._outgoing.skips
        return not (self.busy or waiting)

    async def run(self) -> None:
        """The stage's task, until cancelled."""
        while True:
            await self.bell.wait()
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
        facts = [*self._in_turn, *self._answers, *self._late]
        self._in_turn, self._answers, self._late, self._doubts, self._ended_runs = [], [], [], [], []
        self._unclaimed = []
        cancels, self._cancels = self._cancels, []
        self._outgoing.drop_all()
        self.granted_open = 0
        self.fenced = False
        self._dropped_before = True
        for _, _, done in cancels:
            done(False)
        return facts

    def _sort_out_dropped(self) -> None:
        """What is heard of runs that were given up goes another way."""
        facts = [answer for answer in (*self._answers, *self._late) if answer[0][0].dropped]
        self._doubts = [token for token in self._doubts if not token[0].dropped]
        if facts:
            self._answers = [answer for answer in self._answers if not answer[0][0].dropped]
            self._late = [answer for answer in self._late if not answer[0][0].dropped]
            self.on_facts(facts)

    # -- one turn --------------------------------------------------------------------------------------

    async def turn(self) -> None:
        """Record what is known now and grant what may follow. Raises Fenced."""
        if self._dropped_before:
            self._sort_out_dropped()
        if self._late:
            await self._drop_too_late()
        work = Turn(self._keys, int(self._clock.wall() * 1000))
        answers = self._answers
        if len(answers) > TURN_ANSWERS_MAX:
            self._answers = answers[TURN_ANSWERS_MAX:]
            answers = answers[:TURN_ANSWERS_MAX]
            self.bell.ring()
        else:
            self._answers = []
        if self._late and self._doubts:
            answers = [*answers, *self._answered_after_all()]
        self._in_turn = [*answers, *self._late] if self._late else answers
        ended, self._ended_runs = self._ended_runs, []
        for run in ended:
            work.touch(run)
        if answers:
            self._take_answers(work, answers)
        if self._doubts:
            doubts, self._doubts = self._doubts, []
            for run, index, part in doubts:
                self._part_failed(work, run, index, part, IN_DOUBT)
        if self._outgoing.skips:
            self._take_skips(work)
        if self._late:
            late, self._late = self._late, []
            self._take_late(work, late)
        cancelled = self._take_cancels(work)
        if self.moving:
            self._move_away(work)
        if self._outgoing.paused:
            self._take_back(work)
        raised = self._grant(work)
        # A journal is read in the very step that grants for the first time, or claims: a cancellation is in
        # it, or finds it changed.
        fresh = [run for run in raised if run.fresh]
        claims = self._claim(work, fresh)
        if not (work.dirty or work.commands or work.events or work.endings or work.rx or work.later):
            self._in_turn = []
            for done, result in cancelled:
                done(result)
            return
        try:
            closed, replies, reads = await self._write(work, fresh + claims)
        except Fenced:
            for done, _ in cancelled:
                done(False)
            raise
        self._in_turn = []
        self.granted_open -= work.resolved_parts
        for run, position in reads:
            if isinstance(replies, Applied):
                await self._look_again(run)
            else:
                self._first_look(run, replies[position])
        for run in claims:
            # Late answers are written to the journal until it grants: it is read again then.
            run.claimed = run.fresh = True
        if claims or self._cancels:
            self.bell.ring()
        for run in raised:
            run.usable = run.grant
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
        if work.rx:
            await self._after_index(work, replies)
        if raised:
            self.after_turn()
        if self._grants_wanted or self._outgoing.skips:
            self.bell.ring()

    def _claim(self, work: Turn, fresh: list[Run]) -> list[Run]:
        """Let the journals of these runs say that what is not granted is decided here, too."""
        claims = [
            run for run in dict.fromkeys(self._unclaimed) if run.fresh and run.open > 0 and run not in fresh
        ]
        self._unclaimed = []
        for run in claims:
            run.ended.append((0, blocks.CLAIMED, 0, ""))
            work.touch(run)
        return claims

    def _is_ours(self, run: Run) -> bool:
        """Whether everybody knows that its messages are decided about here. If not, they will soon."""
        if run.claimed or not run.fresh:
            return True
        self._unclaimed.append(run)
        return False

    async def _write(
        self, work: Turn, fresh: list[Run]
    ) -> tuple[list[Run], list[Any] | Applied, list[tuple[Run, int]]]:
        """Build the commit and write it. Returns the runs that ended, the replies, and where each first look
        is.
        """
        commands: list[tuple[Any, ...]] = []
        reads: list[tuple[Run, int]] = []
        if work.rx:
            ids = work.rx[::2]
            if len(set(ids)) < len(ids):
                work.rx = merged(work.rx)
                ids = work.rx[::2]
            commands.append(("HMGET", self._keys.receipts, *ids))
            commands.append(("HSET", self._keys.receipts, *work.rx))
            commands.append(("EXISTS", self._keys.orphans))
        for run in fresh:
            reads.append((run, len(commands)))
            commands.append(("LRANGE", run.journal_key, 0, -1))
        self._close_later(work)
        closed: list[Run] = []
        for run in work.dirty:
            commands.append(("RPUSHX", run.journal_key, run.record(self._epoch)))
            if run.open <= 0:
                closed.append(run)
                lane = self._keys.lanes[run.lane]
                commands.append(("XACK", lane, GROUP, run.stream_id))
                commands.append(("XDEL", lane, run.stream_id))
                commands.append(("INCRBY", self._keys.queued[run.block.lane], -len(run.entries)))
                history_ms = int(self._config.history_s * 1000)
                finish_at = work.now_ms + history_ms + min(FINISH_GRACE_MS, history_ms)
                finish_at += FINISH_GRAIN_MS - finish_at % FINISH_GRAIN_MS
                commands.append(("ZADD", self._keys.due, finish_at, finish_member(run.block_id)))
                work.due_times.append(finish_at)
        if work.doubts:
            commands.append(("HSET", self._keys.doubts, *work.doubts))
        commands += work.commands
        commands += work.places(self._epoch)
        for app, told in work.events.items():
            commands += publish(app, told)
        while True:
            endings, unless = await self._endings(work) if work.endings else ([], None)
            replies = await self._stage.commit_surely(commands + endings, self._holds(), unless)
            if replies is not None:
                return closed, replies, reads
            # A receipt came meanwhile: it may have ended one of these messages.

    async def _endings(self, work: Turn) -> tuple[list[tuple[Any, ...]], dict[bytes, bytes | None]]:
        """The commands that tell and close what no receipt has ended, and the version of the index in which
        none has. What is told so is added to the turn's events.
        """
        keys = self._keys
        names = [told.message_id for _, _, told in work.endings]
        version, tables = await self._stage.read_surely(
            [("GET", keys.receipts_version), ("HMGET", keys.multi, *names)]
        )
        work.ended = {}
        commands: list[tuple[Any, ...]] = []
        for (app, parts, told), stored in zip(work.endings, tables, strict=True):
            closed, table = read_table(stored, parts)
            if not closed and WAITING in table:
                commands.append(("HSET", keys.multi, told.message_id, CLOSED))
                work.ended.setdefault(app, []).append(told)
        for app, ended in work.ended.items():
            commands += publish(app, ended)
        if commands:
            # Whoever is applying a receipt to one of them reads its table again.
            commands.append(("INCR", keys.receipts_version))
        return commands, {keys.receipts_version: version}

    async def _after_index(self, work: Turn, replies: list[Any] | Applied) -> None:
        """Two things the index may tell once it is written: an id that was given before, a receipt that came
        first.
        """
        ids = work.rx[::2]
        if isinstance(replies, Applied):
            self.on_orphans(list(ids))
            return
        before = replies[0]
        if any(before):
            new = work.rx[1::2]
            await self._keep_candidates(
                {
                    key: [*candidates(old), *candidates(new[position])]
                    for position, (key, old) in enumerate(zip(ids, before, strict=True))
                    if old is not None
                }
            )
        if replies[2]:
            self.on_orphans(list(ids))

    async def _keep_candidates(self, known: dict[bytes, list[bytes]]) -> None:
        """An SMSC gave an id again, and the new message was written over the one that had it: both are
        candidates. A receipt may have come for either meanwhile; what is stored now knows its state.
        """
        while True:
            (stored,) = await self._stage.read_surely(
                [("HMGET", self._keys.receipts, *known)], (self._keys.receipts_version,)
            )
            pairs: list[bytes] = []
            for (key, values), value in zip(known.items(), stored, strict=True):
                merged = {origin_octets(each): each for each in values}
                if value is not None:
                    merged.update((origin_octets(each), each) for each in candidates(value))
                pairs += [key, joined(list(merged.values()))]
            commands: list[tuple[Any, ...]] = [("HSET", self._keys.receipts, *pairs)]
            commands.append(("INCR", self._keys.receipts_version))
            if await self._stage.commit_surely(commands, watched=True) is not None:
                return

    # -- answers ---------------------------------------------------------------------------------------

    def _take_answers(self, work: Turn, answers: list[Answer]) -> None:
        """The hot loop: one ESME_ROK a message, mostly."""
        head = b"0" + (work.now_ms // 1000).to_bytes(4, "big")
        rx = work.rx
        encode = _encode
        refused = self.counts["refused"]
        for token, _command_id, command_status, message_id, _sequence in answers:
            run, index, part = token
            entry = run.entries[index]
            assert entry is not None
            if command_status:
                self._part_failed(work, run, index, part, command_status)
                continue
            if not run.dirty:
                run.dirty = True
                work.dirty.append(run)
            run.sent.append(index)
            run.ids.append(message_id.decode("latin-1"))
            if run.has_long:
                run.parts.append(part)
            extra = entry.extra
            if message_id and (extra is None or extra.receipt):
                rx.append(message_id.rstrip(WHITE).lstrip(ZERO).lower() or b"0")
                rx.append(
                    head
                    + encode(
                        (
                            run.block_id,
                            index,
                            part,
                            entry.parts,
                            run.block.app,
                            entry.ref,
                            entry.to[-DESTINATION_DIGITS:],
                            "" if extra is None else extra.message_id,
                            extra is not None and extra.doubled,
                        )
                    )
                )
            if extra is not None and extra.carriers and self._portability is not None:
                self._portability.accepted(entry.to, self._config.name, self._clock.monotonic())
            work.resolved_parts += 1
            if entry.parts == 1:
                run.open -= 1
                if extra is not None and not extra.receipt:
                    work.tell(run, index, entry, "sent")
                elif not message_id:
                    work.tell(run, index, entry, "unknown", NO_MESSAGE_ID)
            else:
                if not message_id:
                    run.long[index].nameless = True
                self._long_part_done(work, run, index, part, OK)
        self.counts["sent"] += len(answers) - (self.counts["refused"] - refused)

    def _part_failed(self, work: Turn, run: Run, index: int, part: int, outcome: int) -> None:
        """A part was refused (command_status) or is in doubt (IN_DOUBT)."""
        entry = run.entries[index]
        assert entry is not None
        self.counts["in_doubt" if outcome == IN_DOUBT else "refused"] += 1
        if entry.parts > 1:
            # A lost bind names an unwritten part of a message that its other parts may have decided already.
            if index in run.long:
                self._long_part_done(work, run, index, part, outcome)
            return
        work.resolved_parts += parts_to_send(entry)
        self._decide(work, run, index, entry, {part: outcome}, None)

    def _long_part_done(self, work: Turn, run: Run, index: int, part: int, outcome: int) -> None:
        message = run.long[index]
        message.outstanding.discard(part)
        if outcome != OK:
            message.failed[part] = outcome
        if message.outstanding or (message.todo and not message.failed):
            return
        del run.long[index]
        entry = run.entries[index]
        assert entry is not None
        if not message.failed:
            run.open -= 1
            if entry.extra is not None and not entry.extra.receipt:
                work.tell(run, index, entry, "sent")
            elif message.nameless or (entry.extra is not None and entry.extra.nameless):
                work.close_table(run, index, entry)
                work.tell(run, index, entry, "unknown", NO_MESSAGE_ID)
            return
        unsent = [each for each in message.bodies if each in message.todo or each in message.failed]
        work.resolved_parts += len(unsent)
        message.todo.clear()
        if message.nameless:
            entry.extra = msgspec.structs.replace(entry.extra or Extra(), nameless=True)
        self._decide(work, run, index, entry, message.failed, sorted(unsent))

    def _decide(
        self,
        work: Turn,
        run: Run,
        index: int,
        entry: Entry,
        failed: dict[int, int],
        pending: list[int] | None,
    ) -> None:
        """One decision for a message: final here, again later, or over another carrier."""
        extra = entry.extra or Extra()
        statuses = [status for status in failed.values() if status not in (IN_DOUBT, OUT_OF_TIME)]
        doubtful = [part for part, outcome in failed.items() if outcome == IN_DOUBT]
        doubt = bool(doubtful)
        work.doubt(run, index, entry, doubtful)
        worst: retry.Decision | None = None
        last_status = 0
        health = self._health
        full_s = 0.0
        for status in statuses:
            decision = retry.decide(
                status, extra.attempts, self._config.max_attempts, self._rng.random(), health.classes
            )
            if self._portability is not None and teaches(status, decision.status_class):
                self._portability.refused(entry.to, self._config.name, self._clock.monotonic())
            full_s = full_s or destination_full(
                status, health.destinations, entry.to, self._clock.monotonic()
            )
            if worst is None or (
                worst.after_s is not None and (decision.after_s is None or decision.after_s > worst.after_s)
            ):
                worst = decision
                last_status = status
        if worst is not None and worst.after_s is None:
            whole = entry.parts == 1 or pending is None or len(pending) == entry.parts
            if worst.elsewhere and whole and not doubt and not extra.doubled:
                tried = [*(extra.carriers or []), self._config.name]
                other = self._elsewhere(entry, run.block.app, tried)
                if other is not None:
                    work.go_elsewhere(run, index, entry, last_status, other, tried)
                    return
            work.fail(run, index, entry, worst.status_class, last_status)
            return
        after_s = 0.0 if worst is None or worst.after_s is None else max(full_s, worst.after_s)
        if doubt and self._config.in_doubt != "resend":
            after_s = max(after_s, self._config.hold_s)
        first_ms = extra.first_ms or work.now_ms
        too_late = work.now_ms + after_s * 1000 - first_ms > self._config.retry_horizon_s * 1000
        if doubt and (too_late or self._config.in_doubt == "never"):
            work.end(run, index, blocks.ABANDONED, 0)
            work.close_table(run, index, entry)
            work.tell(run, index, entry, "unknown", ("in_doubt", None, None))
            return
        if too_late and worst is not None:
            work.fail(run, index, entry, worst.status_class, last_status)
            return
        self.counts["retried"] += 1
        again = msgspec.structs.replace(
            extra,
            message_id=blocks.message_id(self._config.name, run.block_id, index, entry),
            attempts=extra.attempts + (1 if worst is not None and worst.burns else 0),
            pending=pending if entry.parts > 1 else None,
            doubled=extra.doubled or doubt,
            doubts=extra.doubts + doubt,
            doubt=f"{run.block_id}.{index}" if doubt else extra.doubt,
            first_ms=first_ms,
            last_status=last_status,
            accepted_ms=extra.accepted_ms or run.block.accepted_ms,
        )
        work.go_on_later(run, index, entry, again, work.now_ms + int(after_s * 1000), last_status)

    def _move_away(self, work: Turn) -> None:
        """While the breaker is open: what was not given to a bind goes to the next carrier of its route.

        Not with a part in doubt, nor after a part's ROK: then only this account can tell what became of it.
        Nor before the next carrier has room: its queue is no better a place to wait than ours, and what has
        moved does not come back when this carrier does. Urgent messages overtake those that wait there.
        """
        left = MOVES_PER_TURN_MAX
        room: dict[str, float] = {}
        held_back = False
        for lane_name, lane in self._outgoing.lanes.items():
            for run in lane:
                if not left:
                    break
                if run.open <= 0:
                    continue  # its end is recorded, or about to be
                if run.tried_moving < len(run.entries) and not self._is_ours(run):
                    left -= 1
                    continue
                while run.tried_moving < len(run.entries) and left:
                    index = max(run.next, run.tried_moving)
                    run.tried_moving = index + 1
                    entry = run.entries[index] if index < len(run.entries) else None
                    if entry is None or index in run.skip:
                        continue
                    extra = entry.extra or Extra()
                    if extra.doubled or extra.pending is not None:
                        continue
                    tried = [*(extra.carriers or []), self._config.name]
                    other = self._elsewhere(entry, run.block.app, tried)
                    if other is None:
                        continue
                    if lane_name != URGENT:
                        there = room.get(other[0])
                        if there is None:
                            there = self.room_at(other[0])
                        if there < other[1].parts:
                            run.tried_moving = index
                            held_back = True
                            break
                        room[other[0]] = there - other[1].parts
                    left -= 1
                    run.skip.add(index)
                    if index < run.grant:
                        work.resolved_parts += parts_to_send(entry)
                    self.counts["moved"] += 1
                    work.go_elsewhere(run, index, entry, extra.last_status, other, tried)
        if not left:
            self.bell.ring()
        elif held_back:
            self.on_held_back()

    def move_away(self, moving: bool) -> None:
        """Begin or end moving what waits to other carriers. Called again: what could not go is tried anew."""
        self.moving = moving
        for run in self._outgoing.runs.values():
            run.tried_moving = 0
        if moving:
            self.bell.ring()

    def _close_later(self, work: Turn) -> None:
        """The blocks of what is sent again, and the facts that say where each message went."""
        for (carrier, lane, app, campaign, at_ms), items in work.later.items():
            keys = self._other_keys(carrier)
            for start in range(0, len(items), 512):
                chunk = items[start : start + 512]
                block_id = self._mint()
                entries: list[Entry | None] = [moved for _, _, moved, _ in chunk]
                block = blocks.Block(blocks.FORMAT, block_id, lane, app, campaign, work.now_ms, entries)
                held = any(moved.extra is not None and moved.extra.doubled for _, _, moved, _ in chunk)
                work.commands += make_block(keys, block, at_ms, self._epoch, held=held)
                if at_ms and carrier == self._config.name:
                    work.due_times.append(at_ms)
                for position, (run, index, moved, command_status) in enumerate(chunk):
                    place = f"{carrier}.{block_id}.{position}"
                    work.end(run, index, blocks.MOVED, command_status, place)
                    before = run.entries[index]
                    if before is not None and before.extra is not None and before.extra.message_id:
                        mid = before.extra.message_id
                        work.moved_on(mid, blocks.MOVED, command_status, place)
                        if moved.extra is not None and moved.extra.pending != before.extra.pending:
                            work.moved_on(mid, blocks.ALSO, 0, f"{self._config.name}.{run.block_id}.{index}")
                    if moved.extra is not None and moved.extra.doubled and carrier == self._config.name:
                        self.copies.remember((run.block_id, index), (block_id, position))

    # -- skips, cancellations, late answers --------------------------------------------------------------

    def _take_skips(self, work: Turn) -> None:
        skips, self._outgoing.skips = self._outgoing.skips, []
        for run, index, kind, at_ms in skips:
            entry = run.entries[index]
            assert entry is not None
            if kind == OUT_OF_TIME:
                # The rest of a begun message; answers to its other parts may have decided it already.
                if index in run.long:
                    self._long_part_done(work, run, index, at_ms, OUT_OF_TIME)
                continue
            work.resolved_parts += parts_to_send(entry)
            if kind == NOT_NOW:
                extra = msgspec.structs.replace(
                    entry.extra or Extra(),
                    message_id=blocks.message_id(self._config.name, run.block_id, index, entry),
                    accepted_ms=(entry.extra.accepted_ms if entry.extra else 0) or run.block.accepted_ms,
                )
                work.go_on_later(run, index, entry, extra, at_ms, 0)
            elif kind == blocks.EXPIRED:
                self.counts["expired"] += 1
                work.end(run, index, kind, 0)
                if has_table(entry):
                    work.close_table(run, index, entry)
                work.tell(run, index, entry, "expired")
            else:
                work.fail(run, index, entry, "unencodable", 0)

    def _take_cancels(self, work: Turn) -> list[tuple[Callable[[bool], None], bool]]:
        """Cancel what no bind has been given. Answered after the journal says so."""
        cancels, self._cancels = self._cancels, []
        results: list[tuple[Callable[[bool], None], bool]] = []
        for run, index, done in cancels:
            if run.open > 0 and not self._is_ours(run):
                self._cancels.append((run, index, done))
                continue
            entry = run.entries[index]
            possible = index >= run.next and entry is not None and index not in run.skip
            if possible:
                assert entry is not None
                run.skip.add(index)
                if index < run.grant:
                    work.resolved_parts += parts_to_send(entry)
                self.counts["cancelled"] += 1
                work.end(run, index, blocks.CANCELLED, 0)
                if has_table(entry):
                    work.close_table(run, index, entry)
                work.tell(run, index, entry, "cancelled")
            results.append((done, possible))
        return results

    async def _drop_too_late(self) -> None:
        """Take out late answers to messages that are forgotten: nobody would forget what they add."""
        late, self._late = self._late, []
        places: list[list[tuple[str, str, int]]] = []
        for (run, index, _part), *_ in late:
            mid = blocks.message_id(self._config.name, run.block_id, index, run.entries[index])
            places.append([(self._config.name, run.block_id, index), blocks.split_message_id(mid)])
        wanted = list(dict.fromkeys((carrier, block_id) for pair in places for carrier, block_id, _ in pair))
        bodies = await self._stage.read_surely(
            [("GET", CarrierKeys(carrier).block(block_id)) for carrier, block_id in wanted]
        )
        held = {
            key: blocks.decode_block(body).entries
            for key, body in zip(wanted, bodies, strict=True)
            if body is not None
        }
        kept = [
            answer
            for answer, pair in zip(late, places, strict=True)
            if all(
                (carrier, block_id) in held and held[carrier, block_id][index] is not None
                for carrier, block_id, index in pair
            )
        ]
        if len(kept) < len(late):
            number = len(late) - len(kept)
            log.info("%s: %d answers came after their messages were forgotten", self._config.name, number)
        self._late = kept + self._late

    def _answered_after_all(self) -> list[Answer]:
        """Late answers to parts whose doubt was not recorded yet: there never was one."""
        doubted = set(self._doubts)
        answers = [answer for answer in self._late if answer[0] in doubted]
        if answers:
            tokens = {answer[0] for answer in answers}
            self._doubts = [token for token in self._doubts if token not in tokens]
            self._late = [answer for answer in self._late if answer[0] not in tokens]
        return answers

    def _take_late(self, work: Turn, late: list[Answer]) -> None:
        """Answers to parts that were in doubt: their ids correlate from now on, and a copy not sent yet is
        withdrawn.
        """
        sole = self._is_sole()
        for answer in late:
            token, _command_id, command_status, message_id, _sequence = answer
            run, index, part = token
            entry = run.entries[index]
            if entry is None:
                continue
            work.commands.append(
                ("HDEL", self._keys.doubts, doubt_field(entry.to, run.block_id, index, part))
            )
            if command_status:
                continue
            if not sole and self.copies.is_away(run, index):
                # Another process may have the copy in hand: what is remembered here decides nothing.
                self.on_facts([answer])
                continue
            extra = entry.extra or Extra()
            text = message_id.decode("latin-1")
            place = self.copies.withdraw(work, run, index, part, text)
            copied = self.copies.hops(run, index) > 1 or (place is None and self._config.in_doubt != "never")
            doubled = True if copied or extra.doubled else WITHDRAWN
            if place is None:
                # The copy is on its way or there is none: both may be told of, and the block of the first
                # one waits.
                place = (run.block_id, index)
                self.copies.note_sent(work, place, part, text)
                if extra.message_id:
                    work.moved_on(
                        extra.message_id, blocks.ALSO, 0, f"{self._config.name}.{run.block_id}.{index}"
                    )
            else:
                self.counts["resolved_late"] += 1
                if entry.parts == 1 and not extra.receipt:
                    work.tell(run, index, entry, "sent", doubled=copied)
                elif entry.parts == 1 and not message_id:
                    work.tell(run, index, entry, "unknown", NO_MESSAGE_ID, doubled=copied)
            if message_id and extra.receipt:
                mid = blocks.message_id(self._config.name, run.block_id, index, entry)
                origin = (
                    *(*place, part, entry.parts, run.block.app, entry.ref),
                    *(entry.to[-DESTINATION_DIGITS:], mid, doubled),
                )
                work.rx += [
                    index_key(message_id),
                    b"0" + (work.now_ms // 1000).to_bytes(4, "big") + _encode(origin),
                ]

    # -- grants ----------------------------------------------------------------------------------------

    def reserve(self, parts: int) -> bool:
        """Count these parts as granted, if the limit allows; the grant is written by the caller."""
        if self.stopping or self._outgoing.paused or parts > 2 * self.windows - self.granted_open:
            return False
        self.granted_open += parts
        return True

    def _take_back(self, work: Turn) -> None:
        """While an operator's pause lasts nothing is granted that was not handed to a bind."""
        runs, parts = self._outgoing.take_back()
        work.resolved_parts += parts
        for run in runs:
            work.touch(run)

    def _grant(self, work: Turn) -> list[Run]:
        self._grants_wanted = False
        if self.stopping or self._outgoing.paused:
            return []
        budget = 2 * self.windows - (self.granted_open - work.resolved_parts)
        rate = self._outgoing.pacer.rate
        if rate:
            # What cannot leave within a second needs no grant yet: a crash would have it held for nothing.
            budget = min(budget, ceil(rate) - self._outgoing.granted_ahead())
        if budget <= 0:
            return []
        raised, granted = grant_more(self._outgoing, budget)
        self.granted_open += granted
        for run in raised:
            work.touch(run)
        return raised

    def adopt(self, run: Run, progress: blocks.Progress) -> None:
        """Give a run what its journal says; what was granted and not answered is in doubt from now on.

        The run stays fresh: between this reading and its first grant a cancellation may still be written.
        """
        granted = min(progress.grant, len(run.entries))
        for index, entry in enumerate(run.entries):
            if entry is None or index in progress.ended:
                run.skip.add(index)
                run.open -= 1
                continue
            wanted = blocks.pending_parts(entry)
            missing = [part for part in wanted if (index, part) not in progress.sent]
            if not missing:
                run.skip.add(index)
                run.open -= 1
            elif index < granted:
                run.skip.add(index)
                self._inherited_doubt(run, index, entry, missing)
            elif len(missing) < len(wanted):
                # A late answer named one part of a message that is otherwise still to be sent.
                entry.extra = msgspec.structs.replace(entry.extra or Extra(), pending=missing)
        run.next = run.grant = run.usable = granted
        self._if_ended(run)

    def _inherited_doubt(self, run: Run, index: int, entry: Entry, missing: list[int]) -> None:
        message = LongMessage(run, index, dict.fromkeys(missing, b""))
        message.todo.clear()
        if entry.parts > 1:
            run.long[index] = message
            message.outstanding = set(missing)
        self.granted_open += len(missing)
        self._doubts += [(run, index, part) for part in missing]
        self.bell.ring()

    def _first_look(self, run: Run, records: list[bytes]) -> None:
        """The journal of a run as of its first grant: a cancellation or a late answer may be there."""
        run.fresh = False
        if len(records) <= 1:
            return
        progress = blocks.fold(records)
        before = run.open
        for index in sorted(set(progress.ended) | {index for index, _ in progress.sent}):
            entry = run.entries[index]
            if index in run.skip or entry is None:
                continue
            wanted = blocks.pending_parts(entry)
            missing = [part for part in wanted if (index, part) not in progress.sent]
            if index in progress.ended:
                missing = []
            if index < run.grant:
                self.granted_open -= len(wanted) - len(missing)
            if missing:
                entry.extra = msgspec.structs.replace(entry.extra or Extra(), pending=missing)
            else:
                run.skip.add(index)
                run.open -= 1
        if run.open < before:
            # Of what was just granted nothing may be left to send, and then no answer asks for more.
            self._grants_wanted = True
            self._if_ended(run)

    def _if_ended(self, run: Run) -> None:
        if run.open <= 0:
            self._ended_runs.append(run)
            self.bell.ring()

    async def _look_again(self, run: Run) -> None:
        (records,) = await self._stage.read_surely([("LRANGE", run.journal_key, 0, -1)])
        self._first_look(run, records)
