"""What the outcome of a part means for its message: sent, over, to be sent again, or over another carrier.

An outcome is an answer (ESME_ROK or another command_status), a doubt, or that a part could not be written in
time (runs.py names them). A message in parts is decided about once, when the last of its parts has an
outcome. Nothing is written here: what is decided goes into the turn.
"""

from __future__ import annotations

import random
from typing import Final, NamedTuple

import msgspec

from ..clock import Clock
from ..config import CarrierConfig
from ..ledger import blocks
from ..ledger.blocks import Entry, Extra
from ..receipts.fields import DESTINATION_DIGITS, WHITE, ZERO
from . import retry
from .health import Health, destination_full
from .inbox import Answer
from .outgoing import NOT_NOW
from .portability import LearnedPortability, teaches
from .runs import IN_DOUBT, OK, OUT_OF_TIME, Run, parts_to_send
from .turn import Elsewhere, Turn, has_table

NO_MESSAGE_ID: Final = ("no_message_id", None, None)
"""The SMSC took it and gave no id: no receipt can ever be matched."""

_encode = msgspec.msgpack.Encoder().encode


class _Worst(NamedTuple):
    """Of several refusals of one message, the one that it is decided by."""

    decision: retry.Decision | None
    """None: nothing was refused."""
    command_status: int
    full_s: float
    """How long the number's queue is left alone."""


class Outcomes:
    """The judge of one carrier's messages. Counts what it decides in `counts`."""

    def __init__(
        self,
        config: CarrierConfig,
        clock: Clock,
        rng: random.Random,
        counts: dict[str, int],
        *,
        elsewhere: Elsewhere,
        health: Health,
        portability: LearnedPortability | None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._rng = rng
        self._counts = counts
        self._elsewhere = elsewhere
        self._health = health
        self._portability = portability

    def take_answers(self, work: Turn, answers: list[Answer]) -> None:
        """The hot loop: one ESME_ROK a message, mostly."""
        head = b"0" + (work.now_ms // 1000).to_bytes(4, "big")
        rx = work.rx
        encode = _encode
        refused = self._counts["refused"]
        for token, _command_id, command_status, message_id, _sequence in answers:
            run, index, part = token
            entry = run.entries[index]
            assert entry is not None
            if command_status:
                self.part_failed(work, run, index, part, command_status)
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
                elif not (message_id or run.taken.get((index, part))):
                    work.tell(run, index, entry, "unknown", NO_MESSAGE_ID)
            else:
                if not (message_id or run.taken.get((index, part))):
                    run.long[index].nameless = True
                self._long_part_done(work, run, index, part, OK)
        self._counts["sent"] += len(answers) - (self._counts["refused"] - refused)

    def part_failed(self, work: Turn, run: Run, index: int, part: int, outcome: int) -> None:
        """A part was refused (command_status) or is in doubt (IN_DOUBT)."""
        entry = run.entries[index]
        assert entry is not None
        self._counts["in_doubt" if outcome == IN_DOUBT else "refused"] += 1
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
        doubtful = [part for part, outcome in failed.items() if outcome == IN_DOUBT]
        work.doubt(run, index, entry, doubtful)
        if run.taken:
            left = self._not_taken(work, run, index, entry, list(failed) if pending is None else pending)
            if not left:
                return
            pending = None if pending is None else left
            failed = {part: outcome for part, outcome in failed.items() if part in left}
        statuses = [status for status in failed.values() if status not in (IN_DOUBT, OUT_OF_TIME)]
        doubt = IN_DOUBT in failed.values()
        extra = entry.extra or Extra()
        worst, last_status, full_s = self._worst(entry, extra, statuses)
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
        self._counts["retried"] += 1
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

    def _not_taken(self, work: Turn, run: Run, index: int, entry: Entry, parts: list[int]) -> list[int]:
        """Of these parts of a copy, which were refused, lost or not written: those whose first ones were not
        taken, as far as is known. If there are none the copy is over: receipts of the first ones tell the end
        of its message, and no further copy is sent.
        """
        left = [part for part in parts if (index, part) not in run.taken]
        place = (run.block_id, index)
        if not left and place in work.taken:
            # As a late answer of this very turn says: it is withdrawn when that is taken up.
            work.superseded[place] = (run, index, entry)
        elif len(left) < len(parts):
            self._note_taken(work, run, index, entry, [part for part in parts if part not in left])
            if left:
                entry.extra = msgspec.structs.replace(entry.extra or Extra(), pending=left)
            else:
                self._end_taken(work, run, index, entry)
        return left

    def end_superseded(self, work: Turn) -> None:
        """Copies that no late answer of this turn withdrew after all."""
        for run, index, entry in work.superseded.values():
            self._note_taken(work, run, index, entry, [0])
            self._end_taken(work, run, index, entry)

    def _note_taken(self, work: Turn, run: Run, index: int, entry: Entry, parts: list[int]) -> None:
        for part in parts:
            message_id = run.taken.pop((index, part))
            run.sent.append(index)
            run.ids.append(message_id)
            if run.has_long:
                run.parts.append(part)
            if not message_id:
                entry.extra = msgspec.structs.replace(entry.extra or Extra(), nameless=True)
            self._counts["resolved_late"] += 1
        work.touch(run)

    def _end_taken(self, work: Turn, run: Run, index: int, entry: Entry) -> None:
        run.open -= 1
        if entry.extra is not None and not entry.extra.receipt:
            work.tell(run, index, entry, "sent")
        elif entry.extra is not None and entry.extra.nameless:
            work.close_table(run, index, entry)
            work.tell(run, index, entry, "unknown", NO_MESSAGE_ID)

    def _worst(self, entry: Entry, extra: Extra, statuses: list[int]) -> _Worst:
        """A final refusal outweighs those that may be tried again, and of these the longest wait does."""
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
        return _Worst(worst, last_status, full_s)

    def take_skips(self, work: Turn, skips: list[tuple[Run, int, int, int]]) -> None:
        """What the pump did not write: see `Outgoing.skips`."""
        for run, index, kind, at_ms in skips:
            entry = run.entries[index]
            assert entry is not None
            if kind == OUT_OF_TIME:
                # The rest of a begun message; answers to its other parts may have decided it already.
                if index in run.long:
                    self._long_part_done(work, run, index, at_ms, OUT_OF_TIME)
                continue
            work.resolved_parts += parts_to_send(entry)
            if run.taken and not self._not_taken(work, run, index, entry, blocks.pending_parts(entry)):
                continue
            if kind == NOT_NOW:
                extra = msgspec.structs.replace(
                    entry.extra or Extra(),
                    message_id=blocks.message_id(self._config.name, run.block_id, index, entry),
                    accepted_ms=(entry.extra.accepted_ms if entry.extra else 0) or run.block.accepted_ms,
                )
                work.go_on_later(run, index, entry, extra, at_ms, 0)
            elif kind == blocks.EXPIRED:
                self._counts["expired"] += 1
                work.end(run, index, kind, 0)
                if has_table(entry):
                    work.close_table(run, index, entry)
                work.tell(run, index, entry, "expired")
            else:
                work.fail(run, index, entry, "unencodable", 0)
