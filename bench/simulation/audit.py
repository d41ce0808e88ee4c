"""Were the promises kept? From the evidence alone: nothing here asks the engine what it thinks.

    lost           accepted, and no final report came
    told twice     two final reports, or a correction to something else than delivered
    unexplained    an SMSC took a part again, with no doubt that could have been the reason
    too much doubt one lost bind or one crash was the reason for more copies than windows allow
    not called doubled   copies of a part were sent, and the report does not say so
    needless copy  it was known that the first one had been taken, by its answer or its receipt
    no doubt       a message is called doubled, or in doubt, and nothing had happened
    untrue         the report says something that the SMSC's receipts contradict
    broken parts   copies of a part differ, or a delivered message misses a part
    left behind    keys in the store after all history is over

Pace, window, hours and expiry are judged while the run goes on, at the write (`wires`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from math import inf
from typing import Any, Final

from ...engine.config import CarrierConfig
from ...engine.messages import Correction
from .evidence import Copy, Doubt, Evidence, Told
from .scenario import Scenario
from .traffic import SHARED_NUMBERS

EXAMPLES_MAX: Final = 5
LONGEST_MESSAGE_PARTS: Final = 10
"""A message is granted whole, even where the windows are smaller."""
TOLD_S: Final = 1.0
"""A report may be on its way to the app for so long."""
SLACK_S: Final = 1.0
"""A fault and its effect may be so far apart."""
WRITTEN_DOWN_S: Final = 10.0
"""After an answer was read, with a store that answers. (A batch waits for the one before it.)"""
KEPT_KEYS: Final = (b"{todoke}:", b":ref:", b":concat:", b":version", b":slot:", b":acked", b":answers")
"""What may stay in the store: the epoch, the names served, counters, reference buckets and answers nobody
waits for (they expire), how far an app has read.
"""


def audit(scenario: Scenario, evidence: Evidence, contents: dict[bytes, Any]) -> list[str]:
    """The promises broken, in words; empty if all were kept."""
    broken = list(evidence.broken)
    broken += _few("lost", _lost(evidence))
    broken += _few("told twice", _told_twice(evidence))
    broken += _few("unexplained copy", _unexplained(scenario, evidence))
    broken += _few("not called doubled", _not_called_doubled(evidence))
    broken += _few("needless copy", _needless(scenario, evidence))
    broken += _few("no doubt", _called_doubtful(evidence))
    broken += _few("too much doubt", _too_much_doubt(scenario, evidence))
    broken += _few("untrue", _untrue(scenario, evidence))
    broken += _few("broken parts", _broken_parts(evidence))
    dated = any(not name for _, name in evidence.steps)
    broken += _few("left behind", _left_behind(contents, dated))
    return broken


def _few(what: str, found: Iterator[str]) -> list[str]:
    lines = list(found)
    few = [f"{what}: {line}" for line in lines[:EXAMPLES_MAX]]
    return [*few, f"{what}: {len(lines)} in all"] if len(lines) > EXAMPLES_MAX else few


def _reports(evidence: Evidence) -> dict[int, list[Told]]:
    by_number: dict[int, list[Told]] = {}
    for told in evidence.told:
        number = evidence.number_of.get(told.event.message_id)
        if number is None:
            # A submit whose answer was lost, of a message without a ref: nobody knows the id.
            continue
        by_number.setdefault(number, []).append(told)
    return by_number


def _copies(evidence: Evidence) -> dict[int, dict[int, list[Copy]]]:
    """number -> part -> copies, in order of time."""
    found: dict[int, dict[int, list[Copy]]] = {}
    for copy in evidence.copies:
        found.setdefault(copy.number, {}).setdefault(copy.part, []).append(copy)
    return found


def _lost(evidence: Evidence) -> Iterator[str]:
    reports = _reports(evidence)
    copies = _copies(evidence)
    for number, ids in evidence.message_ids.items():
        if len(ids) > 1:
            yield f"message {number} was accepted as {', '.join(ids)}"
        if number not in reports:
            seen = {part: len(each) for part, each in copies.get(number, {}).items()}
            yield f"message {number} ({next(iter(ids))}) has no report; parts at the SMSC: {seen}"


def _told_twice(evidence: Evidence) -> Iterator[str]:
    for number, told in _reports(evidence).items():
        reports = [each.event for each in told if not isinstance(each.event, Correction)]
        corrections = [each.event for each in told if isinstance(each.event, Correction)]
        if len(reports) > 1:
            yield f"message {number}: {', '.join(each.state for each in reports)}"
        if corrections and (
            len(corrections) > 1 or corrections[0].state != "delivered" or not reports
            or reports[0].state == "delivered"
        ):  # fmt: skip
            yield f"message {number}: corrections {', '.join(each.state for each in corrections)}"
        sent = evidence.sent[number]
        for each in told:
            if each.event.ref != sent.ref:
                yield f"message {number}: its report names ref {each.event.ref}"
            if each.app != sent.app:
                yield f"message {number} of {sent.app} was told to {each.app}"


def _unexplained(scenario: Scenario, evidence: Evidence) -> Iterator[str]:
    policies = {plan.engine.name: plan.engine.in_doubt for plan in scenario.carriers}
    for number, parts in _copies(evidence).items():
        accepted_once = number in evidence.message_ids and len(evidence.message_ids[number]) == 1
        for part, copies in parts.items():
            for before, after in pairwise(copies):
                if number in evidence.unclear and evidence.sent[number].ref is None:
                    continue
                reason = _reason(evidence, before, after)
                if not reason or not accepted_once:
                    yield (
                        f"part {number}.{part} at {before.time:.3f} on {before.carrier} bind {before.bind}"
                        f" and at {after.time:.3f}"
                    )
                elif policies[before.carrier] == "never":
                    yield f"part {number}.{part} was sent again after doubt ({reason}), policy never"


def _reason(evidence: Evidence, before: Copy, after: Copy) -> str:
    """Why the first copy was in doubt when the second was sent; empty: it was not."""
    if before.fate.lost_response:
        return "lost response"
    settled_at = _settled_at(evidence, before)
    lost_at = evidence.lost_binds.get((before.carrier, before.bind))
    if lost_at is not None and before.time - SLACK_S <= lost_at <= min(after.time, settled_at):
        return "lost bind"
    for doubt in evidence.doubts:
        if _concerns(doubt, before, min(after.time, settled_at)):
            return doubt.why
    return ""


def _settled_at(evidence: Evidence, copy: Copy) -> float:
    """When the answer to this copy must have been written down: what strikes later puts it in no doubt."""
    if copy.heard_at is None:
        return inf
    settled_at = copy.heard_at + WRITTEN_DOWN_S
    for outage in sorted(evidence.outages, key=lambda each: each.from_s):
        if outage.process in ("", copy.process) and copy.heard_at - SLACK_S <= outage.until_s:
            if outage.from_s > settled_at:
                break
            settled_at = max(settled_at, outage.until_s + WRITTEN_DOWN_S)
    return settled_at


def _not_called_doubled(evidence: Evidence) -> Iterator[str]:
    """possibly_doubled is set in every final report that came after a second copy had been taken."""
    copies = _copies(evidence)
    for number, told in _reports(evidence).items():
        if number in evidence.unclear and evidence.sent[number].ref is None:
            continue
        for part, each in copies.get(number, {}).items():
            again = [copy for copy in each[1:] if copy.time < told[0].time - TOLD_S]
            if again and not told[0].event.possibly_doubled:
                yield (
                    f"part {number}.{part} was taken {len(each)} times, at"
                    f" {', '.join(f'{copy.time:.3f}' for copy in each)};"
                    f" told {told[0].event.state} at {told[0].time:.3f}"
                )


def _needless(scenario: Scenario, evidence: Evidence) -> Iterator[str]:
    """A late answer, or a receipt within `hold_s`, cancels the copy: of a message in one part, whose number
    no other message has, while all clocks are right.
    """
    if evidence.steps or any(fault.kind == "ids_again" for fault in scenario.faults):
        return
    plans = {plan.engine.name: plan.engine for plan in scenario.carriers}
    for number, parts in _copies(evidence).items():
        if evidence.sent[number].to.startswith(SHARED_NUMBERS) or number in evidence.unclear:
            continue
        if any(copy.parts > 1 for each in parts.values() for copy in each):
            continue
        for before, after in pairwise(parts[0]):
            said = f"part {number}.0 at {before.time:.3f} on {before.carrier} and at {after.time:.3f}"
            engine = plans[before.carrier]
            known_at = _settled_at(evidence, before)
            if known_at < after.time and not _forgotten(evidence, before, known_at):
                yield f"{said}; its answer was read at {before.heard_at:.3f}"
            elif (
                engine.in_doubt == "hold"
                and before.wants_receipt
                and before.answered_at
                and before.answered_at[0] + WRITTEN_DOWN_S < before.time + engine.hold_s
                and before.answered_at[0] + engine.orphan_ttl_s > after.time
            ):
                yield f"{said}, {engine.hold_s:g} s to hold; its receipt came at {before.answered_at[0]:.3f}"


def _forgotten(evidence: Evidence, copy: Copy, until_s: float) -> bool:
    """Whether who read the answer to this copy may have lost it before it was written down."""
    assert copy.heard_at is not None
    return any(
        doubt.process in ("", copy.process)
        and not doubt.carrier
        and doubt.from_s <= until_s
        and doubt.until_s >= copy.heard_at - SLACK_S
        for doubt in evidence.doubts
    )


def _called_doubtful(evidence: Evidence) -> Iterator[str]:
    """Doubt has a reason: a lost answer, a lost bind, a fault."""
    copies = _copies(evidence)
    for number, told in _reports(evidence).items():
        report = told[0].event
        in_doubt = report.error is not None and report.error.class_ == "in_doubt"
        if not (report.possibly_doubled or in_doubt) or number in evidence.unclear:
            continue
        from_s, until_s = evidence.accepted_at[number] - SLACK_S, told[0].time
        if not (
            any(copy.fate.lost_response for each in copies.get(number, {}).values() for copy in each)
            or any(from_s <= lost_at <= until_s for lost_at in evidence.lost_binds.values())
            or any(doubt.from_s <= until_s and doubt.until_s >= from_s for doubt in evidence.doubts)
        ):
            what = "in doubt" if in_doubt else "doubled"
            yield f"message {number} is called {what}, and nothing had happened to it"


def _too_much_doubt(scenario: Scenario, evidence: Evidence) -> Iterator[str]:
    """Design section 1, promise 3: parts in doubt per fault <= 2 x the windows of the binds concerned."""
    limits = {
        plan.engine.name: (plan.engine.window, 2 * plan.engine.binds * plan.engine.window)
        for plan in scenario.carriers
    }
    again: Counter[tuple[str, int, bool]] = Counter()
    for parts in _copies(evidence).values():
        for copies in parts.values():
            for before, after in pairwise(copies):
                if _reason(evidence, before, after) != "lost bind":
                    continue
                doubts = [doubt for doubt in evidence.doubts if _concerns(doubt, before, after.time)]
                # A stalled line may put window after window in doubt on one bind.
                if not any(doubt.carrier for doubt in doubts):
                    again[before.carrier, before.bind, bool(doubts)] += 1
    for (carrier, bind, process), number in again.items():
        window, windows = limits[carrier]
        # What a process had granted, if it was one that fell silent.
        limit = windows + LONGEST_MESSAGE_PARTS if process else window
        if number > limit:
            yield f"{number} parts were sent again after bind {bind} of {carrier} was lost; {limit} at most"


def _concerns(doubt: Doubt, copy: Copy, until_s: float) -> bool:
    return (
        doubt.carrier in ("", copy.carrier)
        and doubt.process in ("", copy.process)
        and doubt.from_s <= until_s
        and doubt.until_s >= copy.time - SLACK_S
    )


def _doubtful(evidence: Evidence, copy: Copy) -> bool:
    """Whether the engine may never have learnt this copy's message_id: a fault fell near it."""
    near_s = copy.time + 5.0
    if copy.fate.lost_response:
        return True
    lost_at = evidence.lost_binds.get((copy.carrier, copy.bind))
    if lost_at is not None and copy.time - SLACK_S <= lost_at <= near_s:
        return True
    return any(_concerns(doubt, copy, near_s) for doubt in evidence.doubts)


def _untrue(scenario: Scenario, evidence: Evidence) -> Iterator[str]:
    reports = _reports(evidence)
    copies = _copies(evidence)
    engines = {plan.engine.name: plan.engine for plan in scenario.carriers}
    ids_again = any(fault.kind == "ids_again" for fault in scenario.faults)
    for number, told in reports.items():
        if ids_again and evidence.sent[number].to.startswith(SHARED_NUMBERS):
            # One id and one destination for two messages: nobody can tell whose receipt it is.
            continue
        parts = copies.get(number, {})
        event = told[-1].event
        state = event.state
        taken = [copy for each in parts.values() for copy in each]
        expected = event.parts
        delivered = [
            part
            for part, each in parts.items()
            if any(copy.state == "delivered" and copy.answered_at for copy in each)
        ]
        sure = [copy for copy in taken if not _doubtful(evidence, copy)]
        if number in evidence.cancelled_at and told[0].event.state != "cancelled":
            yield f"message {number} was cancelled, its report says {told[0].event.state}"
        if state == "delivered" and len(delivered) < expected:
            yield f"message {number} is told delivered, {len(delivered)} of {expected} parts were"
        if state == "delivered" and event.delivered_parts != expected:
            yield f"message {number} is delivered with delivered_parts {event.delivered_parts} of {expected}"
        if state in ("cancelled", "expired") and not taken:
            continue
        if state == "sent" and (evidence.sent[number].receipt or len(parts) < expected):
            yield f"message {number} is told sent, {len(parts)} of {expected} parts were taken"
        if state == "undeliverable" and not any(copy.state != "delivered" for copy in taken):
            yield f"message {number} is told undeliverable, no receipt said so"
        # A process that began its life with a wrong date believes it: receipts are overdue by its clock.
        dated = evidence.largest_step_s < min(plan.engine.receipt_timeout_s for plan in scenario.carriers)
        in_time = any(_receipt_was_in_time(engines[copy.carrier], copy) for copy in sure)
        if state == "unknown" and event.parts == 1 and dated and in_time:
            yield f"message {number} is told unknown ({event.error}), its receipt was answered"
        whole = len([part for part in parts if part in {copy.part for copy in sure}]) == expected
        # What is told unknown is known for a while yet; a receipt that comes in that while corrects it.
        forgotten_s = told[0].time + min(engines[copy.carrier].history_s for copy in taken) if taken else 0.0
        # By a wrong date receipts that wait for their message are too old as well.
        too_late = state == "unknown" and (
            evidence.largest_step_s >= min(engine.orphan_ttl_s for engine in engines.values())
            or any(came_s > forgotten_s - SLACK_S for copy in taken for came_s in copy.answered_at[:1])
        )
        all_delivered = len(delivered) == expected and whole and len(taken) == expected
        if state != "delivered" and all_delivered and not too_late:
            yield f"message {number} was delivered, its report says {state} ({event.error})"
        if state == "expired" and whole and not any(copy.state == "expired" for copy in taken):
            yield f"message {number} is told expired, the SMSC took all of it"


def _receipt_was_in_time(engine: CarrierConfig, copy: Copy) -> bool:
    """Whether the carrier sent its receipt before receipt_timeout_s were over: it may have been down."""
    taken_at = copy.time if copy.heard_at is None else copy.heard_at
    return bool(copy.answered_at) and copy.answered_at[0] < taken_at + engine.receipt_timeout_s - SLACK_S


def _broken_parts(evidence: Evidence) -> Iterator[str]:
    for number, parts in _copies(evidence).items():
        for part, copies in parts.items():
            if len({copy.payload_crc for copy in copies if copy.carrier == copies[0].carrier}) > 1:
                yield f"copies of part {number}.{part} differ"
        totals = {copy.parts for each in parts.values() for copy in each}
        if len(totals) > 1 and len({copy.carrier for each in parts.values() for copy in each}) == 1:
            yield f"message {number} has parts of {sorted(totals)}"


def _left_behind(contents: dict[bytes, Any], dated: bool) -> Iterator[str]:
    """`dated`: the date of the store was wrong for a while; keys with a time to live may live longer."""
    for key, value in sorted(contents.items()):
        if dated and (b":alive:" in key or b":lease:" in key):
            continue
        account, _, name = key.rpartition(b":")
        if dated and name == b"members" and all(account + b":alive:" + epoch in contents for epoch in value):
            continue  # of processes that are gone; who lives waits for the keys that say they live
        if any(word in key for word in KEPT_KEYS):
            continue
        if key.endswith((b":queued:urgent", b":queued:normal", b":queued:bulk", b":events:n")):
            if int(value):
                yield f"{key.decode()} = {int(value)}"
            continue
        entries = getattr(value, "entries", None)
        if entries is not None:
            pending = sum(len(group.pending) for group in value.groups.values())
            if len(entries) or pending:
                yield f"{key.decode()}: {len(entries)} entries, {pending} pending"
            continue
        if key.endswith(b":turns"):
            continue
        size = len(value) if hasattr(value, "__len__") else 1
        yield f"{key.decode()}: {size} ({str(value)[:160]})"
