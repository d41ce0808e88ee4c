"""What the simulated network could have done, and what reached it: the audit's own ceiling. Pure.

`Ceiling` says which messages were deliverable at all. It knows the plan of the run (seed, rates, times when
a carrier refuses) and reads nothing of the engine: a message is deliverable if its handset exists and is
back, after the earliest moment at which the contracts of all carriers together could have let the message
leave, within the message's validity.

`CarrierSeen` is one SMSC's log, read for the rate and for copies. A second counts for the rate used when the
carrier took everything in it, all its binds were up throughout, and enough messages whose route names
this carrier first had not reached any SMSC yet.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from .population import Population
from .smsc_config import Spell
from .smsc_log import AcceptedPart, LogEvent, LogRecord

RECOVERY_S: Final = 10.0
"""After a spell of refusals a carrier need not be used in full for so long."""
BACKLOG_S: Final = 2.0
"""The backlog is not empty when it holds as many parts as the carrier takes in this time."""
LATE_LOOK_S: Final = 0.05
"""Around a second: how far back the simulator's own lateness matters."""
SUSPECT_S: Final = 0.5
"""How long before the end of a bind a part may have been taken whose response was not read any more."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the network before the run. Times in seconds, rates in parts a second."""

    rates: list[float]
    """Of each carrier; every message may go over any of them."""
    spells: list[list[Spell]]
    """When each carrier refuses."""
    validity_s: float
    receipt_s: float
    """The longest a receipt takes from a handset that is there."""


class Ceiling:
    """Which messages the network could have delivered. Feed it every message in the order of submission."""

    def __init__(self, plan: Plan, population: Population) -> None:
        self._plan = plan
        self._population = population
        self._parts = 0
        self._moment_s = 0.0
        self.deliverable = 0
        self.gone = 0
        self.too_late = 0

    def message(self, destination: str, parts: int, submitted_s: float = 0.0) -> bool:
        """Whether this message (destination in digits), submitted so long after the first, is deliverable; it
        is counted.
        """
        self._parts += parts
        handset = self._population.handset(destination.encode())
        if handset.gone:
            self.gone += 1
            return False
        waits_s = max(0.0, self._leaves_s() - submitted_s)
        if waits_s + self._plan.receipt_s + handset.away_s > self._plan.validity_s:
            self.too_late += 1
            return False
        self.deliverable += 1
        return True

    def _leaves_s(self) -> float:
        """When all parts so far can have left, from the first submit: the contracts used to the full."""
        while True:
            missing = self._parts - self.capacity(self._moment_s)
            if missing <= 1e-6:
                return self._moment_s
            self._moment_s += max(missing / sum(self._plan.rates), 1e-3)

    def capacity(self, passed_s: float) -> float:
        """Parts that the carriers together take in the first `passed_s` seconds."""
        total = 0.0
        for rate, spells in zip(self._plan.rates, self._plan.spells, strict=True):
            refused_s = sum(
                max(0.0, min(passed_s, spell.after_s + spell.for_s) - spell.after_s) for spell in spells
            )
            total += rate * (passed_s - refused_s)
        return total


class RateUsed(msgspec.Struct, frozen=True, kw_only=True):
    """How one carrier's contracted rate was used. Seconds, and parts a second at the SMSC."""

    contract: float
    counted_s: int
    """Seconds that count: see the module."""
    used: float | None
    """Of the contract, in the seconds that count; None: there were none."""
    lowest: float | None
    """In the lowest of a hundred such seconds."""
    refusing_s: int
    recovering_s: int
    bind_down_s: int
    no_backlog_s: int
    peak: int
    """Most parts that the SMSC counted in any sliding second, refused ones included."""
    peak_sure: int
    """The same, less what may have come earlier: where a simulator was late, by its own timers, what had
    come meanwhile was read together. Above the contract it broke the contract."""
    recovered_s: float | None
    """After the last spell, until a second with 95 % of the contract; None: no spell, or never."""


class CarrierSeen:
    """One SMSC's log."""

    def __init__(self, records: Iterable[LogRecord]) -> None:
        self.arrivals: list[tuple[float, int]] = []
        """When how many parts came, taken or refused."""
        self.parts: list[tuple[float, str, int]] = []
        """Parts taken: when, destination, checksum."""
        self.states: Counter[tuple[str, str]] = Counter()
        self.refused: Counter[str] = Counter()
        self.refused_at: list[float] = []
        self.suspects = 0
        """Parts taken whose answer was lost, or may not have been read before the bind was cut."""
        self.cuts = 0
        self._late: list[tuple[float, float]] = []
        """When the simulator was how late, in seconds."""
        self.bound: list[tuple[float, int]] = []
        """When a bind came (+1) or went (-1)."""
        latest: dict[int, deque[float]] = {}
        for record in records:
            if isinstance(record, AcceptedPart):
                self._arrived(record.time, 1)
                self.parts.append((record.time, record.destination, record.payload_crc))
                self.states[record.destination, record.state] += 1
                times = latest.setdefault(record.bind, deque())
                times.append(record.time)
                while times[0] < record.time - SUSPECT_S:
                    times.popleft()
            elif isinstance(record, LogEvent):
                self._event(record, latest)

    def _arrived(self, time: float, parts: int) -> None:
        if self.arrivals and self.arrivals[-1][0] == time:
            self.arrivals[-1] = time, self.arrivals[-1][1] + parts
        else:
            self.arrivals.append((time, parts))

    def _event(self, event: LogEvent, latest: dict[int, deque[float]]) -> None:
        word, _, status = event.word.partition(":")
        if word == "refused":
            self._arrived(event.time, event.number)
            self.refused[status] += event.number
            self.refused_at.append(event.time)
        elif word == "response_lost":
            self.suspects += 1
        elif word == "cut":
            self.cuts += 1
        elif word == "late":
            self._late.append((event.time, event.number / 1e6))
        elif word == "bound":
            self.bound.append((event.time, 1))
        elif word == "lost":
            self.bound.append((event.time, -1))
            times = latest.pop(event.number, ())
            self.suspects += sum(time >= event.time - SUSPECT_S for time in times)

    def peaks(self, contract: float) -> tuple[int, int]:
        """`peak` and `peak_sure` of `RateUsed`."""
        second: deque[tuple[float, int]] = deque()
        total = peak = sure = 0
        for time, parts in self.arrivals:
            second.append((time, parts))
            total += parts
            while second[0][0] <= time - 1.0:
                total -= second.popleft()[1]
            peak = max(peak, total)
            if total <= contract:
                sure = max(sure, total)
            elif total > sure:
                since = time - 1.0 + self._lateness(time - 1.0 - LATE_LOOK_S, time)
                sure = max(sure, sum(each for at, each in second if at > since))
        return peak, sure

    def _lateness(self, begins: float, ends: float) -> float:
        first, last = bisect_left(self._late, (begins, 0.0)), bisect_right(self._late, (ends, math.inf))
        return max((late_s for _, late_s in self._late[first:last]), default=0.0)

    def used(
        self, contract: float, binds: int, spells: Sequence[Spell], first_seen: array[float]
    ) -> RateUsed:
        """How the rate was used. `first_seen`: sorted times at which the parts whose route names this
        carrier first reached any SMSC.
        """
        start = self.arrivals[0][0] if self.arrivals else 0.0
        seconds = _Seconds(start, math.ceil(first_seen[-1] - start) if first_seen else 0)
        for time, parts in self.arrivals:
            seconds.add(time, parts)
        for time in self.refused_at:
            seconds.mark("refusing", time, time)
        for spell in spells:
            ends = start + spell.after_s + spell.for_s
            seconds.mark("refusing", start + spell.after_s, ends)
            seconds.mark("recovering", ends, ends + RECOVERY_S)
        up, since = 0, start
        for time, change in [*self.bound, (math.inf, 0)]:
            if up < binds and time > since:
                seconds.mark("bind_down", since, time)
            up, since = up + change, time
        # What had not come BACKLOG_S of work before the end: from there on the backlog counts as empty.
        left = int(BACKLOG_S * contract)
        last_at = first_seen[-left] if len(first_seen) > left else start
        seconds.mark("no_backlog", last_at, math.inf)
        counted = sorted(seconds.counted())
        peak, peak_sure = self.peaks(contract)
        used = sum(counted) / len(counted) / contract if counted else None
        return RateUsed(
            contract=contract,
            counted_s=len(counted),
            used=None if used is None else round(used, 4),
            lowest=round(counted[len(counted) // 100] / contract, 4) if counted else None,
            refusing_s=seconds.marked("refusing"),
            recovering_s=seconds.marked("recovering"),
            bind_down_s=seconds.marked("bind_down"),
            no_backlog_s=seconds.marked("no_backlog"),
            peak=peak,
            peak_sure=peak_sure,
            recovered_s=self._recovered_s(start, contract, spells),
        )

    def _recovered_s(self, start: float, contract: float, spells: Sequence[Spell]) -> float | None:
        if not spells:
            return None
        ends = start + max(spell.after_s + spell.for_s for spell in spells)
        second: deque[tuple[float, int]] = deque()
        total = 0
        for time, parts in self.arrivals:
            if time < ends:
                continue
            second.append((time, parts))
            total += parts
            while second[0][0] <= time - 1.0:
                total -= second.popleft()[1]
            if total >= 0.95 * contract:
                return round(max(0.0, time - 1.0 - ends), 2)
        return None


class _Seconds:
    """Whole seconds from a start, how many parts came in each, and why some do not count."""

    def __init__(self, start: float, count: int) -> None:
        self._start = start
        self._parts = [0] * count
        self._why: list[str] = [""] * count

    def add(self, time: float, parts: int) -> None:
        second = int(time - self._start)
        if second < len(self._parts):
            self._parts[second] += parts

    def mark(self, why: str, begins: float, ends: float) -> None:
        """The seconds that this time touches do not count. The first reason stands."""
        first = max(0, math.floor(begins - self._start))
        last = min(len(self._why) - 1.0, math.floor(ends - self._start) if ends < math.inf else math.inf)
        for second in range(first, int(last) + 1):
            self._why[second] = self._why[second] or why

    def marked(self, why: str) -> int:
        return self._why.count(why)

    def counted(self) -> list[int]:
        return [parts for parts, why in zip(self._parts, self._why, strict=True) if not why]


def first_seen(
    seen: Iterable[CarrierSeen], carriers: int, prefers: Callable[[str], int]
) -> list[array[float]]:
    """When the parts that `prefers` (a function of the destination) gives each carrier first reached any
    SMSC, sorted.
    """
    first: dict[tuple[str, int], float] = {}
    for carrier in seen:
        for time, destination, crc in carrier.parts:
            known = first.get((destination, crc))
            if known is None or time < known:
                first[destination, crc] = time
    times: list[list[float]] = [[] for _ in range(carriers)]
    for (destination, _), time in first.items():
        times[prefers(destination)].append(time)
    return [array("d", sorted(each)) for each in times]


class Copies(msgspec.Struct, frozen=True, kw_only=True):
    """Parts that SMSCs took more than once."""

    doubled: int
    """Copies beyond the first."""
    inside: int
    """Those whose first copy's receipt came within the hold, so that none was needed."""
    between_carriers: int
    examples: list[str]
    """Destinations of a few that were `inside`."""


def copies(seen: Sequence[CarrierSeen], population: Population) -> Copies:
    """What was sent twice. The receipt of a part comes within the hold unless its handset is away."""
    taken: dict[tuple[str, int], list[int]] = {}
    for index, carrier in enumerate(seen):
        for _, destination, crc in carrier.parts:
            taken.setdefault((destination, crc), []).append(index)
    again = {key: carriers for key, carriers in taken.items() if len(carriers) > 1}
    inside = {
        key: carriers for key, carriers in again.items() if not population.handset(key[0].encode()).away_s
    }
    return Copies(
        doubled=sum(len(carriers) - 1 for carriers in again.values()),
        inside=sum(len(carriers) - 1 for carriers in inside.values()),
        between_carriers=sum(len(set(carriers)) > 1 for carriers in again.values()),
        examples=[destination for destination, _ in list(inside)[:10]],
    )


def unforeseen(seen: Iterable[CarrierSeen], population: Population) -> int:
    """Parts that an SMSC decided otherwise than the seed says."""
    return sum(
        count
        for carrier in seen
        for (destination, state), count in carrier.states.items()
        if (state == "delivered") == population.handset(destination.encode()).gone
    )
