"""Which numbers have a full queue at the SMSC, and whether it is they or the account. Pure.

ESME_RMSGQFUL (SMPP 3.4 section 5.1.3) means either that one destination's queue is full (a handset that is
off, and a sender that goes on) or the whole account's. While other numbers are accepted and few numbers are
refused, it is the number's: only that number waits, longer each time. Otherwise it is the account's, and the
window and the message's own back-off answer it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import msgspec

DESTINATIONS_MAX: Final = 10_000
"""Numbers remembered (about 2 MB); beyond it the one that was refused longest ago is forgotten."""
FIRST_S: Final = 15.0
"""A queue of one handset empties when the handset comes back: seconds are too short, and a message that is
valid for minutes still has several tries.
"""
LONGEST_S: Final = 900.0
FORGET_S: Final = 900.0
"""A number that was free this long begins anew with the first pause."""

ANSWERS_MAX: Final = 200.0
"""The share is that among about this many answers: beyond it what was counted is halved."""
ANSWERS_S: Final = 10.0
"""After this long without an answer the share begins anew."""
ACCOUNT_SHARE: Final = 0.25
"""From this share of ESME_RMSGQFUL on it may be the account."""
ACCOUNT_NUMBERS: Final = 3
"""... if at least this many different numbers are refused: one number that is sent to a lot is no account."""


class DestinationsStatistics(msgspec.Struct, frozen=True):
    """`numbers` remembered of `limit`, how many were `forgotten` for want of room, and the `share` of
    ESME_RMSGQFUL among the last answers (0 to 1).
    """

    numbers: int
    limit: int
    forgotten: int
    share: float


class Destinations:
    """The full numbers of one account. Times in seconds, monotonic. False (`bool`) while none is remembered,
    so that a hot loop asks nothing else.
    """

    __slots__ = ("_answers", "_at", "_forgotten", "_full", "_limit", "_numbers", "_refused")

    def __init__(self, limit: int = DESTINATIONS_MAX) -> None:
        """Raises ValueError for a limit below 1."""
        if limit < 1:
            raise ValueError(f"{limit} destinations are impossible; allowed: 1 and more")
        self._limit = limit
        self._numbers: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Number -> (free again at, the pause that led there); the one refused last is last."""
        self._answers = 0.0
        self._full = 0.0
        self._at = float("-inf")
        self._forgotten = 0
        self._refused: OrderedDict[str, float] = OrderedDict()
        """The last different numbers that were refused -> when."""

    def __repr__(self) -> str:
        """Without the numbers."""
        return f"<Destinations {len(self._numbers)} of {self._limit}>"

    def __bool__(self) -> bool:
        return bool(self._numbers)

    def answered(self, count: int, now: float) -> None:
        """A batch of `count` answers came that were not ESME_RMSGQFUL (those are told one by one, `full`)."""
        self._count(count, 0, now)

    def accepted(self, to: str) -> None:
        """An ESME_ROK to that number: its queue has room. Only needed while `bool(self)`."""
        self._numbers.pop(to, None)
        self._refused.pop(to, None)

    def full(self, to: str, now: float) -> bool:
        """An ESME_RMSGQFUL for that number. True = it is the account's, and the number is not held; False =
        it is the number's, which is held until `until`.
        """
        self._count(1, 1, now)
        self._refused[to] = now
        self._refused.move_to_end(to)
        if len(self._refused) > ACCOUNT_NUMBERS:
            self._refused.popitem(last=False)
        if self.is_accounts(now):
            return True
        free_at, pause_s = self._numbers.pop(to, (float("-inf"), 0.0))
        if now >= free_at:
            # Several parts may be refused at once: one step for all of them.
            begins = not pause_s or now - free_at > FORGET_S
            pause_s = FIRST_S if begins else min(LONGEST_S, 2 * pause_s)
            free_at = now + pause_s
        self._numbers[to] = (free_at, pause_s)
        if len(self._numbers) > self._limit:
            self._numbers.popitem(last=False)
            self._forgotten += 1
        return False

    def until(self, to: str, now: float) -> float:
        """When that number may be sent to: `now`, or later."""
        known = self._numbers.get(to)
        return now if known is None else max(now, known[0])

    def is_accounts(self, now: float) -> bool:
        """Whether an ESME_RMSGQFUL at `now` means the account."""
        if self._share(now) < ACCOUNT_SHARE or len(self._refused) < ACCOUNT_NUMBERS:
            return False
        return all(now - at <= ANSWERS_S for at in self._refused.values())

    def statistics(self, now: float) -> DestinationsStatistics:
        """What is remembered."""
        return DestinationsStatistics(
            numbers=len(self._numbers),
            limit=self._limit,
            forgotten=self._forgotten,
            share=self._share(now),
        )

    def _share(self, now: float) -> float:
        if not self._answers or now - self._at > ANSWERS_S:
            return 0.0
        return self._full / self._answers

    def _count(self, answers: int, full: int, now: float) -> None:
        if now - self._at > ANSWERS_S:
            self._answers = self._full = 0.0
        self._at = now
        self._answers += answers
        self._full += full
        if self._answers > ANSWERS_MAX:
            # A batch may be larger than what is looked at: what is left is the batch's own share.
            scale = ANSWERS_MAX / 2 / self._answers
            self._answers *= scale
            self._full *= scale
