"""Recovery branches of the engine, each with a way to take it out: an engine without it must break a promise.

A branch that can be deleted and no seed fails is dead, or covered by another one, or the audit is blind
there. Deletions work on the imported classes, in this process alone: a method is replaced, or compiled anew
from its source with some words of it changed. Words that are not there any more are an error, so a deletion
never deletes nothing.
"""

# What stands in for a method takes whatever that takes: the types are those of the method.
# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from ...engine.dispatch import retry
from ...engine.dispatch.asks import Asks
from ...engine.dispatch.carrier import Carrier
from ...engine.dispatch.copies import Copies
from ...engine.dispatch.due import DueStage
from ...engine.dispatch.grants import Grants
from ...engine.dispatch.inbox import Inbox
from ...engine.dispatch.late import LateFacts
from ...engine.dispatch.late_answers import LateAnswers
from ...engine.dispatch.outgoing import Outgoing
from ...engine.dispatch.slots import Slots
from ...engine.dispatch.taker import Taker
from ...engine.dispatch.tenure import Tenure
from ...engine.dispatch.writer import TurnWriter
from ...engine.feed import Feed
from ...engine.ledger.accept import AcceptStage
from ...engine.ledger.durable import DurableStage
from ...engine.receipts.correlation import Batch
from ...engine.receipts.stage import ReceiptStage
from ...engine.session.session import Session
from ...engine.session.timers import Timers

Change = tuple[object, str, Any]
"""Owner, attribute, what it is without the branch."""


class Deletion(NamedTuple):
    """One branch and how to be without it."""

    branch: str
    """Where it is in the engine."""
    recovers_from: str
    how: str
    """What the engine does without it."""
    changes: Callable[[], list[Change]]


class NotThere(LookupError):
    """The engine has no such words any more: the deletion is to be written anew."""


@contextmanager
def deleted(name: str) -> Generator[Deletion]:
    """The engine without this branch, in this process, while the body runs. Raises KeyError, NotThere."""
    deletion = DELETIONS[name]
    undo: list[Change] = []
    try:
        for owner, attribute, without in deletion.changes():
            undo.append((owner, attribute, vars(owner)[attribute]))
            setattr(owner, attribute, without)
        yield deletion
    finally:
        for owner, attribute, before in reversed(undo):
            setattr(owner, attribute, before)


def _edited(owner: type[Any], name: str, *words: tuple[str, str]) -> Change:
    """The method compiled anew with some words of its source changed; each stands there exactly once."""
    function = vars(owner)[name]
    source = textwrap.dedent(inspect.getsource(function))
    for old, new in words:
        if source.count(old) != 1:
            raise NotThere(f"{owner.__name__}.{name} has {old!r} {source.count(old)} times")
        source = source.replace(old, new)
    made: dict[str, Any] = {}
    code = compile(f"from __future__ import annotations\n{source}", f"<{name} without a branch>", "exec")
    exec(code, function.__globals__, made)
    return owner, name, made[name]


def _edit(owner: type[Any], name: str, *words: tuple[str, str]) -> Callable[[], list[Change]]:
    return lambda: [_edited(owner, name, *words)]


def _replace(owner: object, name: str, without: Any) -> Callable[[], list[Change]]:
    def changes() -> list[Change]:
        if name not in vars(owner):
            raise NotThere(f"{owner} has no {name}")
        return [(owner, name, without)]

    return changes


def _nothing(*_: Any) -> None:
    """Instead of a method."""


async def _nothing_async(*_: Any) -> None:
    """Instead of a method that is awaited."""


def _every_failure_is_final() -> list[Change]:
    decide = retry.decide
    return [(retry, "decide", lambda *args: decide(*args)._replace(after_s=None))]


DELETIONS: Final[dict[str, Deletion]] = {
    # -- what was under way when its process, bind or answer was lost --------------------------------------
    "inherited-doubt": Deletion(
        "Grants._inherited_doubt",
        "a process died with parts granted and not answered",
        "who takes its blocks over decides nothing about them",
        _replace(Grants, "_inherited_doubt", _nothing),
    ),
    "take-over": Deletion(
        "Taker._recover",
        "a process died with blocks in hand",
        "pending lists are never read",
        _replace(Taker, "_recover", _nothing_async),
    ),
    "doubt": Deletion(
        "Inbox.doubted",
        "a bind fell, or an answer did not come, with parts unanswered",
        "their doubt is not written down",
        _replace(Inbox, "doubted", _nothing),
    ),
    "unwritten-rest": Deletion(
        "Outgoing.lost",
        "a bind fell between the parts of a message",
        "the parts it had not written are forgotten",
        _edit(Outgoing, "lost", ("if message.todo]", "if False]")),
    ),
    "unsent": Deletion(
        "Carrier.on_unsent",
        "a bind fell before it wrote what it was given",
        "what it was given is forgotten",
        _replace(Carrier, "on_unsent", _nothing),
    ),
    "lost-take": Deletion(
        "Taker.run, after StoreError",
        "the reply to a take was lost, the take was not",
        "pending lists are not read again",
        _edit(Taker, "run", ("            self._recovered = False\n            log.", "            log.")),
    ),
    "more-pending": Deletion(
        "Taker.look_for_more",
        "a block was taken in the name of a slot while it was lost",
        "pending lists are not compared with what is in hand",
        _replace(Taker, "look_for_more", _nothing),
    ),
    "dropped-entry": Deletion(
        "Taker._drop",
        "a queue entry whose block has been forgotten",
        "the entry is left where it is",
        _replace(Taker, "_drop", _nothing_async),
    ),
    "retry": Deletion(
        "retry.decide",
        "throttling, a full queue, an ill SMSC",
        "every refusal is final",
        _every_failure_is_final,
    ),
    "lower-grants": Deletion(
        "Grants.lower",
        "a clean stop with parts granted and not written",
        "they stay granted, and the next process holds them for in doubt",
        _replace(Grants, "lower", _nothing),
    ),
    # -- copies that are not needed ------------------------------------------------------------------------
    "held-second-look": Deletion(
        "DueStage._release, of a held block",
        "the answer was lost, and a receipt says that the part was taken",
        "the copy is released unasked",
        _edit(
            DueStage,
            "_release",
            ("look(block_id, now_s) if held else None", "look(block_id, now_s) if False else None"),
        ),
    ),
    "withdraw": Deletion(
        "Copies.withdraw",
        "an answer comes after its time-out",
        "the copy is sent all the same",
        _replace(Copies, "withdraw", lambda *_: None),
    ),
    "late-answers": Deletion(
        "Carrier.on_late_responses",
        "an answer comes after its time-out",
        "it is not heard",
        _replace(Carrier, "on_late_responses", _nothing),
    ),
    "late-facts": Deletion(
        "LateFacts.write",
        "answers to what a process had to give up",
        "they are dropped",
        _edit(LateFacts, "write", ("for fact in facts:", "for fact in ():")),
    ),
    "found-receipts": Deletion(
        "DueStage._find_messages",
        "a receipt comes after the copies of what it speaks of were decided on",
        "nobody looks whose it is",
        _replace(DueStage, "_find_messages", _nothing_async),
    ),
    "first-look": Deletion(
        "Grants.first_look",
        "a cancellation, or a late answer, between reading a journal and granting in it",
        "the journal is not read again",
        _edit(Grants, "first_look", ("if len(records) <= 1:", "if True:")),
    ),
    # -- several processes on one account ------------------------------------------------------------------
    "fence": Deletion(
        "DurableStage.commit, with holds",
        "a process that was stopped wakes up and decides",
        "its decisions are written whoever holds its slots",
        _edit(DurableStage, "commit", ("if holds:", "if False:")),
    ),
    "fenced": Deletion(
        "Tenure._lose",
        "slots are another process's now",
        "what was in hand stays in hand",
        _edit(
            Tenure,
            "_lose",
            ("facts = self._recorder.drop_all()", "facts = []; self._recorder.fenced = False"),
            ("    self._taker.drop_all()\n", "    pass\n"),
        ),
    ),
    "lease-margin": Deletion(
        "Outgoing.pump, lease_until",
        "a process cannot renew its lease",
        "it goes on writing what it was granted",
        _edit(Outgoing, "pump", ("if now >= self.lease_until:", "if False:")),
    ),
    "keep-lease": Deletion(
        "Tenure.keep_lease",
        "a process cannot renew its lease",
        "its binds stay open, and who takes its slots finds no room",
        _replace(Tenure, "keep_lease", _nothing_async),
    ),
    "predecessor": Deletion(
        "Tenure._gained, hold",
        "whoever had the slots before may have used up this second",
        "sending begins at once",
        _edit(Tenure, "_gained", ("if foreign:", "if False:")),
    ),
    "asks": Deletion(
        "Asks.look",
        "a cancellation reaches a process that does not have the block",
        "nobody answers",
        _replace(Asks, "look", _nothing_async),
    ),
    "give-up": Deletion(
        "Tenure._give_up_when_idle",
        "a process returns, and another has all slots",
        "nothing is given back",
        _replace(Tenure, "_give_up_when_idle", _nothing_async),
    ),
    "dead-lease": Deletion(
        "Slots._is_free",
        "the holder of a slot died and did not give it back",
        "only slots that were given back, or never held, are taken",
        _edit(
            Slots,
            "_take",
            (
                "    if not all(",
                "    if any(found[::2]):\n        return await self._stage.unwatch()\n    if not all(",
            ),
        ),
    ),
    # -- the store -----------------------------------------------------------------------------------------
    "ask-then-repeat": Deletion(
        "DurableStage.commit, OutcomeUnknown",
        "the reply to a write was lost",
        "it is repeated without a question",
        _edit(DurableStage, "commit", ("if applied[0] is not None and", "if False and")),
    ),
    "repeat": Deletion(
        "DurableStage.commit_surely",
        "a write did not reach the store",
        "it is held for written",
        _edit(
            DurableStage,
            "commit_surely",
            (
                "pause_s = await self._pause(error, pause_s)\n            if watched:",
                "return APPLIED\n            if watched:",
            ),
        ),
    ),
    "accept-asks": Deletion(
        "AcceptStage._commit, OutcomeUnknown",
        "the reply to the write of a submission was lost",
        "the app is told to submit again",
        _edit(AcceptStage, "_commit", ("with anyio.move_on_after(OUTCOME_ASK_S):", "while False:")),
    ),
    "repeated-refs": Deletion(
        "AcceptStage._drop_repeated",
        "an app submits again what it had no answer to",
        "it is accepted again",
        _replace(AcceptStage, "_drop_repeated", lambda self, app, batchlet, *_: (batchlet, [], [])),
    ),
    "put-off": Deletion(
        "ReceiptStage._turn, after StoreError",
        "receipts come while the store is away",
        "they are answered ESME_ROK",
        _edit(
            ReceiptStage,
            "_turn",
            (
                "self._answer(items, c.ESME_RX_T_APPN)\n        return",
                "self._answer(items, c.ESME_ROK)\n        return",
            ),
        ),
    ),
    "ack-from-store": Deletion(
        "Feed._write_ack",
        "another process, or a write whose reply was lost, acknowledged more",
        "acknowledgements begin where this process believes to be",
        _edit(Feed, "_write_ack", ("if there is not None and", "if False and")),
    ),
    "acks": Deletion(
        "Feed.run",
        "an app acknowledges",
        "it is not written down",
        _replace(Feed, "run", _nothing_async),
    ),
    # -- receipts ------------------------------------------------------------------------------------------
    "adopt-parked": Deletion(
        "ReceiptStage._adopt",
        "a receipt comes before the answer to its submit_sm",
        "parked receipts stay parked",
        _replace(ReceiptStage, "_adopt", _nothing_async),
    ),
    "parking-look": Deletion(
        "ReceiptStage._apply_alone, after parking",
        "the answer is recorded between the look into the index and the parking",
        "the index is not looked at again",
        _edit(ReceiptStage, "_apply_alone", ("if any(now_there):", "if False:")),
    ),
    "orphan-sweep": Deletion(
        "DueStage._sweep_orphans",
        "receipts that never find their message",
        "they are kept for good",
        _replace(DueStage, "_sweep_orphans", _nothing_async),
    ),
    "no-receipt": Deletion(
        "DueStage._time_out",
        "no receipt comes in time",
        "it is waited for without end",
        _replace(DueStage, "_time_out", _nothing_async),
    ),
    "repeated-receipts": Deletion(
        "Batch._transition",
        "a receipt comes twice",
        "it is told twice",
        _edit(Batch, "_transition", ("    if octet in UNDECIDED:", "    if True:")),
    ),
    "ids-again": Deletion(
        "TurnWriter._keep_candidates",
        "an SMSC gives an id a second time",
        "the first message is forgotten for the second",
        _replace(TurnWriter, "_keep_candidates", _nothing_async),
    ),
    # -- time and connections ------------------------------------------------------------------------------
    "response-timer": Deletion(
        "Session, response timer",
        "an answer never comes",
        "it is waited for as long as the connection stands",
        _edit(Session, "__init__", ("Window(config.response_timeout_s,", "Window(float('inf'),")),
    ),
    "enquire-link": Deletion(
        "Timers.due, ENQUIRE_LINK",
        "a connection is dead and nobody was told",
        "the peer is not asked whether it lives",
        lambda: [
            _edited(
                Timers, "deadline", ("ask_at = self._received_at + config.enquire_link_s", "ask_at = NEVER")
            ),
            _edited(Timers, "due", ("if self._enquire_deadline == NEVER and", "if False and")),
        ],
    ),
    "expiry": Deletion(
        "Outgoing._still_in_time",
        "the rest of a message in parts has to wait until its time is over",
        "the rest is written whenever it can be",
        _replace(Outgoing, "_still_in_time", lambda *_: True),
    ),
    "too-late": Deletion(
        "LateAnswers.drop_too_late",
        "an answer comes after its message was forgotten",
        "it is written down, and nobody forgets it",
        _edit(
            LateAnswers,
            "drop_too_late",
            ("self._inbox.late = kept + self._inbox.late", "self._inbox.late = late + self._inbox.late"),
        ),
    ),
}
