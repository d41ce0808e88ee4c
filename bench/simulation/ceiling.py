"""The network's own ceiling: which messages could be delivered at all, whatever the engine had done.

Computed from the seed and from what SMSCs and handsets did, before anything of the engine is read. A message
counts as deliverable unless

- its app took it back, or an SMSC refused its number or sender for good, or
- a part that an SMSC took was not delivered by the network (its handset's fault), or no receipt was sent, or
- its deadline or its hours left it no calm time long enough, by the faults of the seed: CALM_S in which
  every carrier, the store and all clocks were well, and the contracted rates had room for what was sent
  before it, or
- a carrier that it may be sent over has the policy `in_doubt = "never"`: then a fault is enough for its app
  to be told `unknown`, as was asked for.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final, NamedTuple

from .clock import WALL_START_S
from .evidence import Copy, Evidence
from .scenario import Scenario
from .traffic import Sent

CALM_S: Final = 60.0
RECOVERY_S: Final = 60.0
"""After a fault is over: backoffs and leases end."""


class Reach(NamedTuple):
    """Messages: how many could be delivered, and how many of those were."""

    deliverable: int
    delivered: int


def reach(scenario: Scenario, evidence: Evidence) -> Reach:
    """The ceiling first, from the seed and the SMSCs; then what was delivered."""
    by_number: dict[int, dict[int, list[Copy]]] = {}
    for copy in evidence.copies:
        by_number.setdefault(copy.number, {}).setdefault(copy.part, []).append(copy)
    if any(plan.engine.in_doubt == "never" for plan in scenario.carriers):
        return Reach(0, 0)
    troubles = _troubles(scenario)
    backlog_s = _backlogs(scenario)
    possible = [
        number
        for number, sent in evidence.sent.items()
        if number in evidence.accepted_at
        and number not in evidence.cancelled_at
        and not any(to == sent.to for _, to in evidence.refused_numbers)
        and not any(_failed(each) for each in by_number.get(number, {}).values())
        and _has_time(sent, evidence.accepted_at[number], troubles, backlog_s)
    ]
    told = {
        evidence.number_of[each.event.message_id]: each.event.state
        for each in evidence.told
        if each.event.message_id in evidence.number_of
    }
    good = sum(
        told.get(number) == ("delivered" if evidence.sent[number].receipt else "sent") for number in possible
    )
    return Reach(len(possible), good)


def _failed(copies: list[Copy]) -> bool:
    """The network did not deliver this part, or says nothing of it."""
    return not any(copy.state == "delivered" and not copy.fate.no_receipt for copy in copies)


def _troubles(scenario: Scenario) -> list[tuple[float, float]]:
    """Times in which something was not well, joined."""
    joined: list[tuple[float, float]] = []
    for fault in sorted(scenario.faults, key=lambda each: each.at_s):
        until_s = fault.at_s + fault.duration_s + RECOVERY_S
        if joined and fault.at_s <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], until_s))
        else:
            joined.append((fault.at_s, until_s))
    return joined


def _backlogs(scenario: Scenario) -> list[tuple[float, float]]:
    """(moment, seconds until all that was sent up to then has left at the slowest carrier's rate)."""
    rate = min(
        _pace(plan.engine.rate, plan.engine.window, plan.smsc.response_delay_s) for plan in scenario.carriers
    )
    found: list[tuple[float, float]] = []
    free_at_s = 0.0
    for batch in scenario.batches:
        parts = sum(-(-len(str(each.body.get("text", ""))) // 60) or 1 for each in batch.messages)
        free_at_s = max(free_at_s, batch.at_s) + parts / rate
        found.append((batch.at_s, free_at_s - batch.at_s))
    return found


def _pace(rate: float, window: int, response_s: float) -> float:
    """Parts in a second over the whole account, at least."""
    by_window = window / (response_s + 0.6)
    return min(rate, by_window) if rate else by_window


def _has_time(
    sent: Sent,
    accepted_s: float,
    troubles: list[tuple[float, float]],
    backlogs: list[tuple[float, float]],
) -> bool:
    if not (sent.expires_ms or sent.window_ms[1]):
        return True
    ends_ms = [ms for ms in (sent.expires_ms, sent.window_ms[1]) if ms]
    ends_s = min(ends_ms) / 1000 - WALL_START_S
    starts_s = max(accepted_s, max(sent.at_ms, sent.window_ms[0]) / 1000 - WALL_START_S)
    position = min(bisect_left(backlogs, (accepted_s, 0.0)), len(backlogs) - 1)
    needed_s = CALM_S + max(backlogs[position][1], backlogs[max(0, position - 1)][1])
    calm_from_s = starts_s
    for from_s, until_s in troubles:
        if until_s <= calm_from_s:
            continue
        if from_s - calm_from_s >= needed_s:
            break
        calm_from_s = max(calm_from_s, until_s)
    return ends_s - calm_from_s >= needed_s
