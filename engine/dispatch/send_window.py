"""How many requests and how many parts a second an account bears just now: up a little, down by half. Pure.

`SendWindow` is one bind's window (unanswered requests, SMPP 3.4 section 2.7), `AdaptivePace` the account's
rate. Both stay at what the contract allows as long as the SMSC takes it, go down by a factor when it says
"too much" (ESME_RTHROTTLED, ESME_RMSGQFUL of the account, congestion_state of SMPP 5.0 section 4.8.4.18),
and come back by steps, faster once it has been content for a while: the limit was agreed on, it is no secret
to be felt for anew. Called once for a batch of answers, with counts. Times in seconds, monotonic.
"""

from __future__ import annotations

from typing import Final

import msgspec

CONGESTED: Final = 90
"""congestion_state from here on is "nearing congestion" or worse: less is sent."""
OPTIMAL: Final = 80
"""congestion_state from here up to CONGESTED is where the SMSC works best: neither more nor less."""

CUT: Final = 0.5
"""What one "too much" leaves of the window, and at the least of the rate."""
CUT_PAUSE_S: Final = 1.0
"""No second cut within this time: carriers count over a second, and what comes meanwhile was sent before."""
CUT_PAUSE_LONGEST_S: Final = 10.0
"""However slowly an SMSC answers, after this long a further "too much" is news."""
CONTENT_S: Final = 3.0
"""This long after the last cut the window grows by one for each ESME_ROK, no longer by one a round."""

SMALLEST_CUT: Final = 0.9
"""A rate that is only a little too high is lowered a little: to the share that was taken, at most to this."""
RECOVERY_S: Final = 10.0
"""A rate comes back by one contract in this time."""
SHARE_MIN: Final = 0.05
"""The rate never falls below this share of the contract ..."""
PROBE_RATE: Final = 1.0
"""... nor below this many parts a second (or the contract, if that is less): something must be asked to be
told that it is over.
"""
THROTTLE_PAUSE_S: Final = 0.5
"""Where the contract names no rate there is nothing to lower: sending stops this long instead."""

_EVEN: Final = 1 - 1e-9


class WindowStatistics(msgspec.Struct, frozen=True):
    """What a SendWindow is at: `window` of `limit` requests, `cuts` so far, when the last one was (monotonic
    seconds, None = never), and the last `congestion_state` the SMSC told (None = it never did).
    """

    window: int
    limit: int
    cuts: int
    last_cut_at: float | None
    congestion_state: int | None


class SendWindow:
    """The window of one bind, 1 to `limit` unanswered requests. It begins at the limit."""

    __slots__ = ("_congestion_state", "_cut_at", "_cuts", "_limit", "_window")

    def __init__(self, limit: int) -> None:
        """Raises ValueError for a limit below 1."""
        self._limit = _checked(limit)
        self._window = float(limit)
        self._cut_at = float("-inf")
        self._cuts = 0
        self._congestion_state: int | None = None

    @property
    def window(self) -> int:
        """Requests that may be unanswered now."""
        return int(self._window)

    @property
    def limit(self) -> int:
        """The contract's window; a lower one holds at once, a higher one at once if nothing had been cut."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        _checked(limit)
        if limit < self._limit:
            self._window = min(self._window, float(limit))
        elif self._window >= self._limit:
            self._window = float(limit)
        self._limit = limit

    def answered(
        self,
        ok: int,
        now: float,
        *,
        throttled: int = 0,
        full: int = 0,
        congestion_state: int | None = None,
        round_trip_s: float | None = None,
    ) -> int:
        """A batch of answers: `ok` ESME_ROK, `throttled` ESME_RTHROTTLED, `full` ESME_RMSGQFUL (without those
        that are one destination's), the batch's highest `congestion_state` if it had any, and how long
        answers take if that is known. Returns the window now; the caller gives it to the bind if it changed.
        """
        if congestion_state is not None:
            self._congestion_state = congestion_state
        congestion = 0 if congestion_state is None else congestion_state
        if throttled or full or congestion >= CONGESTED:
            self._cut(now, round_trip_s)
        elif ok and congestion < OPTIMAL and self._window < self._limit:
            self._raise(ok, now)
        return int(self._window)

    def statistics(self) -> WindowStatistics:
        """What it is at."""
        return WindowStatistics(
            window=self.window,
            limit=self._limit,
            cuts=self._cuts,
            last_cut_at=self._cut_at if self._cuts else None,
            congestion_state=self._congestion_state,
        )

    def _cut(self, now: float, round_trip_s: float | None) -> None:
        # What was under way at the last cut says "too much" about the window before it.
        pause_s = min(max(CUT_PAUSE_S, round_trip_s or 0.0), CUT_PAUSE_LONGEST_S)
        if now - self._cut_at < pause_s:
            return
        self._window = max(1.0, self._window * CUT)
        self._cut_at = now
        self._cuts += 1

    def _raise(self, ok: int, now: float) -> None:
        step = float(ok) if now - self._cut_at >= CONTENT_S else ok / self._window
        self._window = min(float(self._limit), self._window + step)


class PaceStatistics(msgspec.Struct, frozen=True):
    """What an AdaptivePace is at: `rate` of `contract_rate` parts a second (0 = unlimited), `cuts` so far,
    when the last one was (monotonic seconds, None = never).
    """

    rate: float
    contract_rate: float
    cuts: int
    last_cut_at: float | None


class AdaptivePace:
    """The rate of one account in parts a second: the contract's, or less after throttling.

    The share of the contract that may be used falls to what the SMSC took of the last second (at most by
    half, at most once a second), and rises evenly with time, so that 10 s after the last throttling no less
    than 95 % of the contract may be used again.
    """

    __slots__ = (
        "_at",
        "_contract",
        "_cut_at",
        "_cuts",
        "_ok",
        "_paused_until",
        "_refused",
        "_share",
        "_since",
    )

    def __init__(self, contract_rate: float) -> None:
        """`contract_rate` 0 = unlimited. Raises ValueError below 0."""
        self._contract = _checked_rate(contract_rate)
        self._share = 1.0
        self._at = 0.0
        """When `_share` was true."""
        self._cut_at = float("-inf")
        self._cuts = 0
        self._paused_until = float("-inf")
        self._ok = 0.0
        self._refused = 0.0
        self._since = float("-inf")
        """Since when `_ok` and `_refused` are counted."""

    @property
    def contract_rate(self) -> float:
        """What the contract allows; 0 = unlimited."""
        return self._contract

    def set_contract(self, contract_rate: float) -> None:
        """Another contract from now on; the share of it that may be used stays. Raises ValueError below 0."""
        self._contract = _checked_rate(contract_rate)

    def rate(self, now: float) -> float:
        """Parts a second that may be sent at `now`; 0 = unlimited. Never above the contract."""
        contract = self._contract
        if not contract or self._share >= 1.0:
            return contract
        self._recover(now)
        return min(contract, max(self._share * contract, min(PROBE_RATE, contract)))

    def paused_until(self, now: float) -> float:
        """Until when nothing is to be sent (`now` = no pause); only an unlimited account is ever paused."""
        return now if self._contract else max(now, self._paused_until)

    def answered(self, ok: int, throttled: int, now: float) -> None:
        """A batch of answers: `throttled` of them ESME_RTHROTTLED, `ok` of them ESME_ROK."""
        if now - self._since > CUT_PAUSE_S:
            # Half of the second before goes on counting: a batch alone says too little.
            kept = 0.5 if now - self._since <= 2 * CUT_PAUSE_S else 0.0
            self._ok *= kept
            self._refused *= kept
            self._since = now
        self._ok += ok
        self._refused += throttled
        if throttled and now - self._cut_at >= CUT_PAUSE_S:
            self._cut(now)

    def statistics(self, now: float) -> PaceStatistics:
        """What it is at."""
        return PaceStatistics(
            rate=self.rate(now),
            contract_rate=self._contract,
            cuts=self._cuts,
            last_cut_at=self._cut_at if self._cuts else None,
        )

    def _cut(self, now: float) -> None:
        self._recover(now)
        taken = self._ok / (self._ok + self._refused)
        self._share = max(SHARE_MIN, self._share * min(SMALLEST_CUT, max(CUT, taken)))
        self._cut_at = now
        self._cuts += 1
        self._paused_until = now + THROTTLE_PAUSE_S
        self._ok = self._refused = 0.0
        self._since = now

    def _recover(self, now: float) -> None:
        passed_s = max(0.0, now - self._at)
        self._at = max(self._at, now)
        share = self._share + passed_s / RECOVERY_S
        self._share = 1.0 if share > _EVEN else share


def _checked(limit: int) -> int:
    if limit < 1:
        raise ValueError(f"a window of {limit} is impossible; allowed: 1 and more")
    return limit


def _checked_rate(rate: float) -> float:
    if not 0 <= rate < float("inf"):
        raise ValueError(f"a rate of {rate} is impossible; allowed: 0 (unlimited) and more")
    return rate
