"""Whether a carrier is fit to be given work: closed (yes), open (no), half open (a few, to see). Pure.

    closed ──TRIPPED──> open ──PAUSE_OVER──> half_open ──PROVED──> closed
                         ^                       │
                         └───────TRIPPED─────────┘

What trips it: the share of answers that are the carrier's fault, time-outs, no bind for a while, and
receipts that fail far more often than they do at this carrier. Throttling never does (the rate yields), nor
do refusals of a message or a number (the carrier works). What is counted slides; few samples prove nothing.
The pause before the next try doubles each time and has a jitter, so that many accounts do not return
together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from .retry import StatusClass


class State(StrEnum):
    """CLOSED: give it work; OPEN: give it none; HALF_OPEN: no more than `Breaker.probes` allows."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Event(StrEnum):
    """What moves it."""

    TRIPPED = "tripped"
    PAUSE_OVER = "pause_over"
    PROVED = "proved"


TABLE: Final[Mapping[State, Mapping[Event, State]]] = {
    State.CLOSED: {Event.TRIPPED: State.OPEN},
    State.OPEN: {Event.PAUSE_OVER: State.HALF_OPEN},
    State.HALF_OPEN: {Event.TRIPPED: State.OPEN, Event.PROVED: State.CLOSED},
}
"""An event that a state does not name changes nothing."""


class Cause(StrEnum):
    """Why it opened: what has to be proved before it closes differs."""

    ANSWERS = "answers"
    TIMEOUTS = "timeouts"
    BINDS = "binds"
    RECEIPTS = "receipts"


FAULTS: Final = frozenset({StatusClass.BUSY, StatusClass.SESSION, StatusClass.RETRY_ONCE})
"""Classes that are the carrier's fault."""
WORKS: Final = frozenset({StatusClass.PERMANENT, StatusClass.PERMANENT_DESTINATION})
"""Classes of a carrier that works and refuses this message. ROUTE counts by itself (it may be one sender's),
THROTTLE not at all.
"""

RECEIPTS_SLICES: Final = 10
USUAL_WEIGHT_MAX: Final = 5_000.0
"""What is usual is the mean of about this many receipts."""


class BreakerRules(msgspec.Struct, frozen=True, kw_only=True):
    """When it opens and closes. Times in seconds, shares 0 to 1."""

    sliding_s: float = 10.0
    """Answers and time-outs of this long count: several round trips of the slowest SMSC that still works."""
    samples_min: int = 20
    """Fewer than this in that time trip nothing: two windows of the smallest carriers (10)."""
    faults_share: float = 0.5
    """Of the answers and time-outs, from which it opens. A carrier that takes half still does half the work,
    and every message it takes after a retry needs no other.
    """
    refusals_share: float = 0.9
    """The same when refusals of class ROUTE count as well: so many are the account's, fewer one sender's."""
    timeouts_share: float = 0.25
    """Of the same, time-outs alone: each may become a second copy, so fewer of them are too many. Far above
    the 2 % that a lossy link or a bind cut now and then loses.
    """
    binds_down_s: float = 10.0
    """No bind for this long opens it: longer than a rebind and an SMSC's own switch-over take."""
    pause_s: float = 1.0
    """The first pause."""
    pause_longest_s: float = 10.0
    """A few probes every ten seconds hurt nobody, and a carrier that is back is back within that time."""
    calm_s: float = 300.0
    """Closed for this long, the next pause is the first again."""
    probes: int = 10
    """Answers without a fault that close it, and most parts unanswered meanwhile."""
    probe_faults_max: int = 5
    """This many faults while half open and it opens again."""
    receipts_s: float = 120.0
    """Final receipts of this long count; older ones are what is usual."""
    receipts_min: int = 100
    """Fewer trip nothing; with a hundred a drop by 0.3 of the usual is no accident (three deviations where
    one in two is usual, far more where nearly all are).
    """
    usual_min: float = 500.0
    """Receipts seen before anything is called usual."""
    receipts_drop: float = 0.3
    """It opens when the share delivered is lower than usual by this share of it."""
    receipts_wait_s: float = 300.0
    """Half open because of receipts, and none come: after this long good answers suffice."""


DEFAULT_RULES: Final = BreakerRules()


class BreakerStatistics(msgspec.Struct, frozen=True):
    """What it is at. `opened` = how often so far; `next_change_at` as the method; `usual` = share of receipts
    that say delivered, None = not known yet.
    """

    state: str
    reason: str
    opened: int
    next_change_at: float | None
    usual: float | None


class _Sliding:
    """Sums of what was added in the last `span_s`, in `slices` steps."""

    __slots__ = ("_slice_s", "_slices", "_spans", "sums")

    def __init__(self, span_s: float, slices: int, width: int) -> None:
        self._slice_s = span_s / slices
        self._slices = slices
        self._spans: deque[tuple[int, list[int]]] = deque()
        self.sums = [0] * width

    def add(self, now: float, *amounts: int) -> None:
        number = int(now / self._slice_s)
        if not self._spans or self._spans[-1][0] != number:
            self.forget(now)  # within a slice nothing becomes too old
            self._spans.append((number, [0] * len(self.sums)))
        counted = self._spans[-1][1]
        for position, amount in enumerate(amounts):
            if amount:
                counted[position] += amount
                self.sums[position] += amount

    def forget(self, now: float) -> list[int]:
        """Drop what is older; returns the sums of that."""
        oldest = int(now / self._slice_s) - self._slices
        dropped = [0] * len(self.sums)
        while self._spans and self._spans[0][0] <= oldest:
            for position, amount in enumerate(self._spans.popleft()[1]):
                self.sums[position] -= amount
                dropped[position] += amount
        return dropped

    def clear(self) -> None:
        self._spans.clear()
        self.sums = [0] * len(self.sums)


class Breaker:
    """One carrier's breaker. It begins closed, with no bind up (`binds` tells). Times monotonic, and
    `jitter` in [0, 1) wherever it may open.
    """

    __slots__ = (
        "_answers",
        "_binds_jitter",
        "_cause",
        "_changed_at",
        "_delivered",
        "_down_since",
        "_faults",
        "_good",
        "_opened",
        "_probed_at",
        "_probes_out",
        "_reason",
        "_receipts",
        "_response_timeout_s",
        "_retry_at",
        "_routes",
        "_row",
        "_state",
        "_undelivered",
        "_up",
        "_usual_delivered",
        "_usual_weight",
        "rules",
    )

    def __init__(
        self, now: float, rules: BreakerRules = DEFAULT_RULES, *, response_timeout_s: float = 30.0
    ) -> None:
        """`now`: from here the binds have their time to come up. `response_timeout_s` as the binds have it: a
        time-out tells of a request that long ago.
        """
        self.rules = rules
        self._response_timeout_s = response_timeout_s
        self._state = State.CLOSED
        self._cause: Cause | None = None
        self._reason = "working"
        self._changed_at = float("-inf")
        self._retry_at = float("inf")
        self._opened = 0
        self._row = 0
        """Openings without a calm time between them."""
        self._up = 0
        self._down_since = now
        self._binds_jitter = 0.5
        self._answers = _Sliding(rules.sliding_s, 10, 4)
        """good, faults, route, time-outs"""
        self._receipts = _Sliding(rules.receipts_s, RECEIPTS_SLICES, 2)
        """delivered, failed"""
        self._usual_delivered = 0.0
        self._usual_weight = 0.0
        # While half open:
        self._good = self._faults = self._routes = self._delivered = self._undelivered = 0
        self._probes_out = 0
        self._probed_at = float("-inf")

    # -- what it is told -------------------------------------------------------------------------------

    def answers(
        self, ok: int, failed: Mapping[StatusClass, int], now: float, jitter: float, *, full: int = 0
    ) -> State:
        """A batch of answers: `ok` ESME_ROK, `failed` by class, without the `full` ESME_RMSGQFUL of single
        numbers: those say nothing of the account. Returns the state after it.
        """
        self.state(now)
        good, faults, route = ok, 0, 0
        if failed:
            good += sum(failed.get(each, 0) for each in WORKS)
            faults = sum(failed.get(each, 0) for each in FAULTS)
            route = failed.get(StatusClass.ROUTE, 0)
        if self._state is State.CLOSED:
            self._answers.add(now, good, faults, route, 0)
            if faults or route:
                self._judge_answers(now, jitter)
        elif self._state is State.HALF_OPEN:
            self._answered_probes(good + faults + route + failed.get(StatusClass.THROTTLE, 0) + full)
            self._good += good
            self._routes += route
            self._probe_failed(faults, "refused", now, jitter)
            self._try_to_close(now)
        return self._state

    def timed_out(self, parts: int, now: float, jitter: float) -> State:
        """`parts` had no answer within response_timeout_s. (Those of a lost bind are not meant: `binds`.)"""
        self.state(now)
        if now - self._response_timeout_s < self._changed_at:
            # They were sent before the last change, and belong to what was judged then.
            return self._state
        if self._state is State.CLOSED:
            self._answers.add(now, 0, 0, 0, parts)
            self._judge_answers(now, jitter)
        elif self._state is State.HALF_OPEN:
            self._answered_probes(parts)
            self._probe_failed(parts, "not answered", now, jitter)
        return self._state

    def binds(self, up: int, now: float, jitter: float) -> State:
        """`up` binds may send from `now` on."""
        self.state(now)
        if not up and self._up:
            self._down_since = now
        if up < self._up:
            # What the lost bind had of the probes is in doubt, and will not be answered.
            self._probes_out = 0
        self._up = up
        self._binds_jitter = jitter
        return self.state(now)

    def receipts(self, delivered: int, failed: int, now: float, jitter: float) -> State:
        """A batch of final receipts: delivered, and failed for a reason that may be the carrier's (none that
        is certainly the handset's: `receipt_failure.is_destinations`).
        """
        self.state(now)
        if self._state is State.CLOSED:
            # What is usual is learnt from what has left the window: a drop is judged before it is learnt.
            self._learn(*self._receipts.forget(now))
            self._receipts.add(now, delivered, failed)
            self._judge_receipts(now, jitter)
        elif self._state is State.HALF_OPEN and self._cause is Cause.RECEIPTS:
            self._delivered += delivered
            self._undelivered += failed
            self._judge_probe_receipts(now, jitter)
        return self._state

    # -- what it says ----------------------------------------------------------------------------------

    def state(self, now: float) -> State:
        """The state at `now`: time alone may have changed it."""
        rules = self.rules
        if self._state is State.OPEN:
            if now >= self._retry_at and self._up:
                self._move(Event.PAUSE_OVER, now)
        elif not self._up and now >= self._down_since + rules.binds_down_s:
            said = f"no bind for {rules.binds_down_s:g} s"
            self._open(Cause.BINDS, said, now, self._binds_jitter)
        elif self._state is State.HALF_OPEN:
            self._try_to_close(now)
        return self._state

    @property
    def reason(self) -> str:
        """Why it is in the state that `state` returned last; one line for an operator."""
        return self._reason

    def next_change_at(self, now: float) -> float | None:
        """When `state` may change by time alone; None = only what it is told can change it."""
        state = self.state(now)
        if state is State.OPEN:
            return max(now, self._retry_at) if self._up else None
        if not self._up:
            return self._down_since + self.rules.binds_down_s
        if state is not State.HALF_OPEN:
            return None
        moments: list[float] = []
        if self._cause is Cause.RECEIPTS and self._good >= self.rules.probes:
            moments.append(self._changed_at + self.rules.receipts_wait_s)
        if self._probes_out >= self.rules.probes:
            moments.append(self._probed_at + 2 * self._response_timeout_s)
        return min(moments, default=None)

    def probes(self, now: float) -> int | None:
        """Parts that may be sent now: None = any number, 0 = none. Tell `probing` what was sent of them."""
        state = self.state(now)
        if state is State.CLOSED:
            return None
        if state is State.OPEN:
            return 0
        if now >= self._probed_at + 2 * self._response_timeout_s:
            self._probes_out = 0  # nothing is unanswered that long
        return max(0, self.rules.probes - self._probes_out)

    def probing(self, parts: int, now: float) -> None:
        """`parts` were handed to a bind while half open."""
        if self._state is State.HALF_OPEN:
            self._probes_out += parts
            self._probed_at = now

    def statistics(self, now: float) -> BreakerStatistics:
        """What it is at."""
        return BreakerStatistics(
            state=str(self.state(now)),
            reason=self._reason,
            opened=self._opened,
            next_change_at=self.next_change_at(now),
            usual=self._usual(),
        )

    # -- judging ---------------------------------------------------------------------------------------

    def _judge_answers(self, now: float, jitter: float) -> None:
        rules = self.rules
        good, faults, route, timeouts = self._answers.sums
        count = good + faults + route + timeouts
        if count < rules.samples_min:
            return
        of = f"of {count} answers due in {rules.sliding_s:g} s"
        if timeouts >= rules.timeouts_share * count:
            self._open(Cause.TIMEOUTS, f"{timeouts} {of} did not come", now, jitter)
        elif faults + timeouts >= rules.faults_share * count:
            self._open(Cause.ANSWERS, f"{faults + timeouts} {of} were faults or did not come", now, jitter)
        elif faults + timeouts + route >= rules.refusals_share * count:
            self._open(Cause.ANSWERS, f"{faults + timeouts + route} {of} refused the route", now, jitter)

    def _judge_receipts(self, now: float, jitter: float) -> None:
        delivered, failed = self._receipts.sums
        count = delivered + failed
        usual = self._usual()
        if usual is None or count < self.rules.receipts_min:
            return
        if delivered < count * usual * (1 - self.rules.receipts_drop):
            said = (
                f"{100 * delivered / count:.0f} % of {count} receipts in {self.rules.receipts_s:g} s say "
                f"delivered, usual are {100 * usual:.0f} %"
            )
            self._open(Cause.RECEIPTS, said, now, jitter)

    def _judge_probe_receipts(self, now: float, jitter: float) -> None:
        count = self._delivered + self._undelivered
        if count < self.rules.probes:
            return
        if self._delivered < count * (self._usual() or 0.0) * (1 - self.rules.receipts_drop):
            said = f"{self._undelivered} of {count} receipts of the probes failed"
            self._open(Cause.RECEIPTS, said, now, jitter)
        else:
            self._try_to_close(now)

    def _usual(self) -> float | None:
        if self._usual_weight < self.rules.usual_min:
            return None
        return self._usual_delivered / self._usual_weight

    def _learn(self, delivered: int, failed: int) -> None:
        self._usual_delivered += delivered
        self._usual_weight += delivered + failed
        if self._usual_weight > USUAL_WEIGHT_MAX:
            scale = USUAL_WEIGHT_MAX / self._usual_weight
            self._usual_delivered *= scale
            self._usual_weight *= scale

    # -- half open -------------------------------------------------------------------------------------

    def _answered_probes(self, parts: int) -> None:
        self._probes_out = max(0, self._probes_out - parts)

    def _probe_failed(self, parts: int, how: str, now: float, jitter: float) -> None:
        rules = self.rules
        self._faults += parts
        bad = self._faults + self._routes
        refused = bad >= rules.probes and bad >= rules.refusals_share * (bad + self._good)
        if self._faults >= rules.probe_faults_max or refused:
            cause = self._cause or Cause.ANSWERS
            self._open(cause, f"tried again: {bad} of {bad + self._good} parts were {how}", now, jitter)

    def _try_to_close(self, now: float) -> None:
        rules = self.rules
        if self._state is not State.HALF_OPEN or self._good < rules.probes:
            return
        if self._cause is Cause.RECEIPTS:
            enough = self._delivered + self._undelivered >= rules.probes
            if not enough and now < self._changed_at + rules.receipts_wait_s:
                return
        self._move(Event.PROVED, now)

    # -- moving ----------------------------------------------------------------------------------------

    def _open(self, cause: Cause, said: str, now: float, jitter: float) -> None:
        if Event.TRIPPED not in TABLE[self._state]:
            return
        rules = self.rules
        if self._state is State.CLOSED and now - self._changed_at >= rules.calm_s:
            self._row = 0
        pause_s = min(rules.pause_longest_s, rules.pause_s * 2.0 ** min(self._row, 30))
        self._retry_at = now + pause_s * (0.75 + 0.5 * jitter)
        self._row += 1
        self._opened += 1
        self._cause = cause
        self._reason = said
        self._move(Event.TRIPPED, now)

    def _move(self, event: Event, now: float) -> None:
        after = TABLE[self._state].get(event)
        if after is None:
            return
        self._state = after
        self._changed_at = now
        self._answers.clear()
        self._receipts.clear()
        self._good = self._faults = self._routes = self._delivered = self._undelivered = 0
        self._probes_out = 0
        if event is Event.PAUSE_OVER:
            self._reason = f"trying again after: {self._reason}"
        elif event is Event.PROVED:
            self._reason = "working"
