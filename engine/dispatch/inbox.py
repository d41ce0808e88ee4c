"""What is heard of a carrier's parts and not written down yet: plain queues, no I/O.

The binds' handler and the taker put in, without awaiting, and ring; the recorder takes out, a turn at a time.
What a turn is writing down stays named here until it is written: if the slots are lost meanwhile, it is still
true.
"""

from __future__ import annotations

from typing import Final

from ..bell import Bell
from .outgoing import Token
from .runs import Run

TURN_ANSWERS_MAX: Final = 1_000
"""A turn of this many keeps the event loop for a millisecond or two: the next answer need not wait longer."""

Answer = tuple[Token, int, int, bytes, int]
"""token, command_id, command_status, message_id, sequence_number"""


class Inbox:
    """Of one carrier. `bell` tells the recorder that there is something to do, here or elsewhere."""

    def __init__(self) -> None:
        self.bell = Bell()
        self.answers: list[Answer] = []
        self.late: list[Answer] = []
        """Answers that came after their time-out."""
        self.doubts: list[Token] = []
        self.ended: list[Run] = []
        """Runs found to have nothing left to send: their end is still to be recorded."""
        self.in_turn: list[Answer] = []
        """The answers that the turn under way is writing down."""

    def answered(self, items: list[Answer]) -> None:
        self.answers += items
        self.bell.ring()

    def answered_late(self, items: list[Answer]) -> None:
        self.late += items
        self.bell.ring()

    def doubted(self, tokens: list[Token]) -> None:
        self.doubts += tokens
        self.bell.ring()

    @property
    def is_empty(self) -> bool:
        return not (self.answers or self.late or self.doubts or self.ended)

    def next_answers(self) -> list[Answer]:
        """The answers of the turn that begins; `in_turn` names them and those that came late."""
        answers = self.answers
        if len(answers) > TURN_ANSWERS_MAX:
            self.answers = answers[TURN_ANSWERS_MAX:]
            answers = answers[:TURN_ANSWERS_MAX]
            self.bell.ring()
        else:
            self.answers = []
        if self.late and self.doubts:
            answers = [*answers, *self._answered_after_all()]
        self.in_turn = [*answers, *self.late] if self.late else answers
        return answers

    def _answered_after_all(self) -> list[Answer]:
        """Late answers to parts whose doubt was not recorded yet: there never was one."""
        doubted = set(self.doubts)
        answers = [answer for answer in self.late if answer[0] in doubted]
        if answers:
            tokens = {answer[0] for answer in answers}
            self.doubts = [token for token in self.doubts if token not in tokens]
            self.late = [answer for answer in self.late if answer[0] not in tokens]
        return answers

    def sort_out_dropped(self) -> list[Answer]:
        """Take out what was heard of runs that were given up. Returns the answers among it: facts, written
        down another way.
        """
        facts = [answer for answer in (*self.answers, *self.late) if answer[0][0].dropped]
        self.doubts = [token for token in self.doubts if not token[0].dropped]
        if facts:
            self.answers = [answer for answer in self.answers if not answer[0][0].dropped]
            self.late = [answer for answer in self.late if not answer[0][0].dropped]
        return facts

    def drop_all(self) -> list[Answer]:
        """Nothing is in hand any more. Returns the answers that are not written down."""
        facts = [*self.in_turn, *self.answers, *self.late]
        self.in_turn, self.answers, self.late, self.doubts, self.ended = [], [], [], [], []
        return facts
