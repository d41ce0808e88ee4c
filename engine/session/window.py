"""The window: requests not answered yet, by sequence number, and when they are given up.

SMPP 3.4 sections 2.7 (windowing), 3.2 and 5.1.4 (sequence_number 1 to 0x7FFFFFFF). Pure, and plain dicts
on purpose: the session's hot loops work on `tokens` directly.

Deadlines are kept for a stretch of time, not for a request: a stretch collects what was sent within
`granularity_s`, and expires as a whole that much after its first request would have. So a request is
given up at most `granularity_s` late and never early, and the list of stretches stays short at any rate.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from ...codecs.constants import SEQUENCE_NUMBER_MAX
from .events import Token

STRETCHES_A_TIMEOUT: Final = 16
GRANULARITY_S_MAX: Final = 1.0
NEVER: Final = float("inf")


class _Stretch:
    __slots__ = ("closes_at", "deadline", "first", "last")

    def __init__(self, first: int, last: int, closes_at: float, deadline: float) -> None:
        self.first = first
        self.last = last
        self.closes_at = closes_at
        self.deadline = deadline


class Window:
    """Sequence numbers and what waits for their answers.

    `tokens` are submit_sm, `requests` other requests with their command_id, `control` our own bind, unbind
    and enquire_link (outside the window), `late` those given up whose answer may still come (`late_max`
    of them).
    """

    __slots__ = (
        "_late_max",
        "_next",
        "_stretches",
        "_wrapped",
        "control",
        "granularity_s",
        "late",
        "requests",
        "response_timeout_s",
        "tokens",
    )

    def __init__(self, response_timeout_s: float, late_max: int, first_sequence_number: int = 1) -> None:
        self.tokens: dict[int, Token] = {}
        self.requests: dict[int, tuple[int, Token]] = {}
        self.control: dict[int, int] = {}
        self.late: dict[int, Token] = {}
        self.response_timeout_s = response_timeout_s
        self.granularity_s = min(GRANULARITY_S_MAX, response_timeout_s / STRETCHES_A_TIMEOUT)
        self._late_max = late_max
        self._next = first_sequence_number
        self._wrapped = False
        self._stretches: deque[_Stretch] = deque()

    def __len__(self) -> int:
        """Requests outstanding; our own enquire_link, bind and unbind do not count."""
        return len(self.tokens) + len(self.requests)

    def allocate(self, n: int) -> Sequence[int]:
        """The next n sequence numbers: 1 to 0x7FFFFFFF, then again from 1, skipping those in use."""
        first = self._next
        after = first + n
        if after <= SEQUENCE_NUMBER_MAX + 1 and not self._wrapped:
            self._next = after
            return range(first, after)
        return self._allocate_wrapped(n)

    def _allocate_wrapped(self, n: int) -> list[int]:
        taken: list[int] = []
        sequence_number = self._next
        while len(taken) < n:
            if sequence_number > SEQUENCE_NUMBER_MAX:
                sequence_number = 1
                self._wrapped = True
            if not (
                sequence_number in self.tokens
                or sequence_number in self.requests
                or sequence_number in self.control
                or sequence_number in self.late
            ):
                taken.append(sequence_number)
            sequence_number += 1
        self._next = sequence_number
        return taken

    def sent(self, first: int, last: int, now: float) -> None:
        """Start the response timer of the sequence numbers from `first` to `last` (over the wrap, if need
        be)."""
        stretches = self._stretches
        if stretches and now < stretches[-1].closes_at:
            stretches[-1].last = last
        else:
            closes_at = now + self.granularity_s
            stretches.append(_Stretch(first, last, closes_at, closes_at + self.response_timeout_s))

    def deadline(self) -> float:
        """When `expire` has something to do; NEVER when nothing is outstanding."""
        if not self._stretches:
            return NEVER
        if not self.tokens and not self.requests:
            self._stretches.clear()
            return NEVER
        return self._stretches[0].deadline

    def expire(self, now: float) -> list[Token]:
        """Take out what was not answered in time; it stays known as `late`."""
        expired: list[Token] = []
        stretches = self._stretches
        while stretches and stretches[0].deadline <= now:
            stretch = stretches.popleft()
            for sequence_number in _between(self.tokens, stretch.first, stretch.last):
                token = self.tokens.pop(sequence_number)
                self._remember(sequence_number, token)
                expired.append(token)
            for sequence_number in _between(self.requests, stretch.first, stretch.last):
                _, token = self.requests.pop(sequence_number)
                self._remember(sequence_number, token)
                expired.append(token)
        return expired

    def postpone(self, delay_s: float) -> None:
        """Move every deadline: for that long the answers could not be read."""
        for stretch in self._stretches:
            stretch.deadline += delay_s
            stretch.closes_at += delay_s

    def take_all(self, unsent_first: int | None) -> tuple[list[Token], list[Token]]:
        """Empty the window: (sent and unanswered, from `unsent_first` on never sent)."""
        unsent: list[Token] = []
        if unsent_first is not None:
            last = self._next - 1 or SEQUENCE_NUMBER_MAX
            unsent = [self.tokens.pop(n) for n in _between(self.tokens, unsent_first, last)]
            unsent += [self.requests.pop(n)[1] for n in _between(self.requests, unsent_first, last)]
        doubt = [*self.tokens.values(), *(token for _, token in self.requests.values())]
        self.tokens.clear()
        self.requests.clear()
        self.control.clear()
        self.late.clear()
        self._stretches.clear()
        return doubt, unsent

    def _remember(self, sequence_number: int, token: Token) -> None:
        late = self.late
        if len(late) >= self._late_max:
            del late[next(iter(late))]
        late[sequence_number] = token


def _between(held: dict[int, object] | dict[int, tuple[int, Token]], first: int, last: int) -> list[int]:
    """Those of `held` on the ring of sequence numbers from `first` to `last`."""
    span = (last - first) % SEQUENCE_NUMBER_MAX
    return [n for n in held if (n - first) % SEQUENCE_NUMBER_MAX <= span]
