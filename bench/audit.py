"""Were the promises kept? What applications were told was accepted and reported, beside what the SMSCs saw.

Two sources, neither of them the engine's own books: the load client's lines (`audit_files`) and the
simulators' logs (`smsc_log`). What is looked for:

    lost         told accepted, but not every part reached an SMSC, and no report says it failed
    doubled      an SMSC accepted a part again: allowed up to the doubt the faults of the run explain
    unreported   told accepted, but no final report came (`open`: the SMSC has not answered for it yet either)
    mismatched   the final report says something else than the SMSC's receipts
    conflicting  two different final reports, the second no correction
    refs_split   one reference was answered with two message ids
    unclaimed    an SMSC accepted, or an application was told of, a message nobody was told is accepted

A part on the SMSC's side belongs to a message by its payload checksum where the client recorded it, else by
its destination; messages to one destination without checksums are judged together, by their counts.
"""

from __future__ import annotations

import sys
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from ..codecs import receipt
from .audit_files import Accepted, Reported, read_told
from .smsc_config import STATES
from .smsc_log import AcceptedPart, LogRecord, ReceiptAnswered, read_log

EXAMPLES_MAX: Final = 10
_DELIVERED: Final = STATES.index("delivered")
_FINAL_INDEXES: Final = frozenset(STATES.index(state) for state in receipt.FINAL_STATES)
FINAL_STATES: Final = ("delivered", "undeliverable", "rejected", "expired", "cancelled", "sent", "unknown")
_SENT_STATES: Final = frozenset(("delivered", "sent"))
"""Final states that say every part was taken by an SMSC."""
_COMPARED: Final = frozenset(("delivered", "undeliverable", "rejected", "expired"))
"""States that SMSC and engine call the same."""


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict. Counts are of messages; `doubled`, `parts_*` of parts."""

    ok: bool
    broken: list[str]
    """The promises broken, in words."""
    accepted: int
    parts_expected: int
    parts_seen: int
    lost: int
    doubled: int
    doubt_allowed: int
    unreported: int
    open: int
    mismatched: int
    conflicting: int
    refs_split: int
    unclaimed: int
    corrections: int
    repeated_events: int
    possibly_doubled: int
    """Reports that said so themselves."""
    ambiguous: int
    """Messages judged together with others to the same destination."""
    states: dict[str, int]
    """Final state -> messages."""
    peak_parts_per_s: int
    """Most parts any one account accepted in a sliding second."""
    examples: dict[str, list[str]]
    """Kind -> a few message ids."""


class Auditor:
    """Feed it what was told and what was seen, then ask for the verdict."""

    def __init__(self) -> None:
        self._index: dict[str, int] = {}
        self._ids: list[str] = []
        self._parts = array("I")
        self._refs: dict[str, int] = {}
        self._refs_split: list[str] = []
        self._units: dict[str | tuple[str, int], int] = {}
        """Destination, or (destination, checksum) -> unit: messages that cannot be told apart."""
        self._unit_of = array("I")
        self._expected = array("I")
        self._first = array("I")
        self._members: dict[int, list[int]] = {}
        self._final: dict[int, str] = {}
        self._counts: Counter[str] = Counter()
        self._conflicting: list[str] = []
        self._unclaimed: list[str] = []
        self._copies = _Copies()
        self._peak = 0

    def told(self, records: Iterable[Accepted | Reported]) -> None:
        """What one application was told."""
        for record in records:
            if isinstance(record, Accepted):
                self._accepted(record)
            else:
                self._reported(record)

    def _accepted(self, record: Accepted) -> None:
        index = self._index.get(record.message_id)
        if index is None:
            index = self._index[record.message_id] = len(self._ids)
            self._ids.append(record.message_id)
            self._parts.append(record.parts)
            self._unit(record, index)
        if record.ref is not None and self._refs.setdefault(record.ref, index) != index:
            self._refs_split.append(record.message_id)

    def _unit(self, record: Accepted, index: int) -> None:
        to = record.to.removeprefix("+")
        keys: Sequence[str | tuple[str, int]] = [(to, crc) for crc in record.payload_crcs or ()] or [to]
        unit = self._units.get(keys[0])
        if unit is None:
            unit = len(self._expected)
            self._expected.append(record.parts)
            self._first.append(index)
        else:
            self._members.setdefault(unit, [self._first[unit]]).append(index)
            self._expected[unit] += record.parts
        for key in keys:
            self._units[key] = unit
        self._unit_of.append(unit)

    def _reported(self, record: Reported) -> None:
        index = self._index.get(record.message_id)
        if index is None:
            self._unclaimed.append(record.message_id)
            return
        before = self._final.get(index)
        if record.correction:
            self._counts["corrections"] += 1
        elif before == record.state:
            self._counts["repeated_events"] += 1
        elif before is not None:
            self._conflicting.append(record.message_id)
        self._counts["possibly_doubled"] += record.possibly_doubled
        self._final[index] = sys.intern(record.state)

    def seen(self, records: Iterable[LogRecord]) -> None:
        """What one SMSC logged. Call `told` first: parts are matched as they come."""
        copies, units = self._copies, self._units
        base = copies.begin()
        second: deque[float] = deque()
        for record in records:
            if isinstance(record, AcceptedPart):
                unit = units.get((record.destination, record.payload_crc))
                if unit is None:
                    unit = units.get(record.destination, -1)
                    if unit < 0:
                        self._unclaimed.append(f"SMSC {record.message_id}")
                copies.add(unit, record)
                second.append(record.time)
                while second[0] <= record.time - 1.0:
                    second.popleft()
                self._peak = max(self._peak, len(second))
            elif isinstance(record, ReceiptAnswered):
                copies.answer(base + record.serial)

    def verdict(self, doubt_allowed: int = 0, *, open_allowed: bool = False, rate_allowed: int = 0) -> Audit:
        """Judge. `open_allowed`: the engine is still at work; `rate_allowed` in parts a second (0: any)."""
        judged = _Judged(self._copies, open_allowed)
        by_unit = self._copies.by_unit(len(self._expected))
        for index, unit in enumerate(self._unit_of):
            if unit not in self._members:
                judged.message(index, self._parts[index], self._final.get(index), by_unit(unit))
        for unit, members in self._members.items():
            finals = [(index, self._final.get(index)) for index in members]
            judged.together(finals, self._expected[unit], by_unit(unit))
        lists = {name: [self._ids[index] for index in found] for name, found in judged.lists.items()}
        lists |= {
            "conflicting": self._conflicting,
            "refs_split": self._refs_split,
            "unclaimed": self._unclaimed,
        }
        broken = [
            f"{len(ids)} {name}"
            for name, ids in lists.items()
            if ids and (name != "open" or not open_allowed)
        ]
        if judged.doubled > doubt_allowed:
            broken.append(f"{judged.doubled} doubled, {doubt_allowed} allowed")
        if rate_allowed and self._peak > rate_allowed:
            broken.append(f"{self._peak} parts in one second, {rate_allowed} allowed")
        return Audit(
            ok=not broken,
            broken=broken,
            accepted=len(self._ids),
            parts_expected=sum(self._parts),
            parts_seen=len(self._copies.unit),
            doubled=judged.doubled,
            doubt_allowed=doubt_allowed,
            corrections=self._counts["corrections"],
            repeated_events=self._counts["repeated_events"],
            possibly_doubled=self._counts["possibly_doubled"],
            ambiguous=sum(len(members) for members in self._members.values()),
            states=dict(sorted(Counter(self._final.values()).items())),
            peak_parts_per_s=self._peak,
            examples={name: ids[:EXAMPLES_MAX] for name, ids in lists.items() if ids},
            **{name: len(ids) for name, ids in lists.items()},
        )


class _Copies:
    """Every part an SMSC accepted, in parallel arrays: a million of them are 11 MB."""

    def __init__(self) -> None:
        self.unit = array("i")
        self.crc = array("I")
        self.state = bytearray()
        self.registered = bytearray()
        self.answered = bytearray()

    def begin(self) -> int:
        """Start on another log; what to add to its serials (counted from 1) to get an index."""
        return len(self.unit) - 1

    def add(self, unit: int, part: AcceptedPart) -> None:
        self.unit.append(unit)
        self.crc.append(part.payload_crc)
        self.state.append(STATES.index(part.state))
        self.registered.append(part.registered_delivery & 3)
        self.answered.append(0)

    def answer(self, index: int) -> None:
        """The receipt of this copy was answered ESME_ROK: it counts if it told a final state."""
        if index < len(self.state) and self.state[index] in _FINAL_INDEXES:
            self.answered[index] = 1

    def by_unit(self, units: int) -> Callable[[int], list[int]]:
        """A function from unit to the indexes of its copies."""
        first = array("i", [-1]) * units
        more: dict[int, list[int]] = {}
        for index, unit in enumerate(self.unit):
            if unit >= 0:
                if first[unit] < 0:
                    first[unit] = index
                else:
                    more.setdefault(unit, []).append(index)
        return lambda unit: [first[unit], *more.get(unit, ())] if first[unit] >= 0 else []


class _Judged:
    """Verdicts on messages, as lists of their indexes."""

    def __init__(self, copies: _Copies, open_allowed: bool) -> None:
        self._copies = copies
        self._open_allowed = open_allowed
        self.doubled = 0
        self.lists: dict[str, list[int]] = {"lost": [], "unreported": [], "open": [], "mismatched": []}

    def message(self, index: int, parts: int, final: str | None, indexes: list[int]) -> None:
        """A message with the copies of its parts."""
        by_part: dict[int, list[int]] = {}
        for copy in indexes:
            by_part.setdefault(self._copies.crc[copy], []).append(copy)
        got = min(len(by_part), parts)
        self.doubled += len(indexes) - got
        if final is None:
            self.lists[self._without_report(got < parts, by_part.values())].append(index)
        elif not (final in FINAL_STATES and self._agrees(final, got < parts, list(by_part.values()))):
            self.lists["mismatched"].append(index)

    def together(self, finals: list[tuple[int, str | None]], parts: int, indexes: list[int]) -> None:
        """Messages to one destination, with the copies of all their parts: only their numbers are judged."""
        got = min(parts, len(indexes))
        self.doubled += len(indexes) - got
        silent = [index for index, final in finals if final is None]
        failed = sum(final is not None and final not in _SENT_STATES for _, final in finals)
        missing = max(0, parts - got - failed)
        kind = self._without_report(False, [[copy] for copy in indexes])
        self.lists["open" if self._open_allowed else "lost"] += silent[:missing]
        self.lists[kind] += silent[missing:]
        if missing > len(silent):
            self.lists["mismatched"].append(finals[0][0])

    def _without_report(self, incomplete: bool, by_part: Iterable[list[int]]) -> str:
        if incomplete:
            return "open" if self._open_allowed else "lost"
        copies = self._copies
        if all(
            any(copies.answered[copy] or not copies.registered[copy] for copy in part) for part in by_part
        ):
            return "unreported"
        return "open"

    def _agrees(self, final: str, incomplete: bool, by_part: list[list[int]]) -> bool:
        """Whether a final report can be true, given the SMSC's decisions and the receipts answered."""
        copies = self._copies
        if final in _SENT_STATES:
            if incomplete:
                return False
            if final == "sent":
                return not any(copies.registered[copy] for part in by_part for copy in part)
            return all(any(copies.state[copy] == _DELIVERED for copy in part) for part in by_part)
        if incomplete:
            return True
        every = [copy for part in by_part for copy in part]
        if not all(copies.answered[copy] for copy in every):
            return True
        words = {STATES[copies.state[copy]] for copy in every}
        return words != {"delivered"} and (len(every) > 1 or not words <= _COMPARED or final in words)


def audit(
    told: Iterable[Accepted | Reported],
    seen: Iterable[LogRecord],
    doubt_allowed: int = 0,
    *,
    open_allowed: bool = False,
    rate_allowed: int = 0,
) -> Audit:
    """The verdict on one application and one SMSC (`Auditor` takes several of each)."""
    auditor = Auditor()
    auditor.told(told)
    auditor.seen(seen)
    return auditor.verdict(doubt_allowed, open_allowed=open_allowed, rate_allowed=rate_allowed)


def main_audit(
    told: Sequence[str | Path],
    logs: Sequence[str | Path],
    *,
    doubt_allowed: int = 0,
    open_allowed: bool = False,
    rate_allowed: int = 0,
    json: bool = False,
) -> int:
    """Audit files, print the verdict; 0 when every promise is kept, else 1.

    `told` are files of `audit_files`, `logs` of `smsc_log`. Raises OSError, `ToldFormatError`,
    `LogFormatError`.
    """
    auditor = Auditor()
    for path in told:
        auditor.told(read_told(path))
    for path in logs:
        auditor.seen(read_log(path))
    verdict = auditor.verdict(doubt_allowed, open_allowed=open_allowed, rate_allowed=rate_allowed)
    print(msgspec.json.encode(verdict).decode() if json else summary(verdict))
    return 0 if verdict.ok else 1


def summary(verdict: Audit) -> str:
    """The verdict for people, a few lines."""
    states = ", ".join(f"{state} {count:,}" for state, count in verdict.states.items()) or "none"
    lines = [
        f"accepted    {verdict.accepted:,} messages, {verdict.parts_expected:,} parts",
        f"SMSCs saw   {verdict.parts_seen:,} parts, at most {verdict.peak_parts_per_s:,} in a second",
        f"reported    {states}",
        f"lost {verdict.lost:,}  doubled {verdict.doubled:,} (allowed {verdict.doubt_allowed:,})  "
        f"unreported {verdict.unreported:,}  open {verdict.open:,}  mismatched {verdict.mismatched:,}  "
        f"corrections {verdict.corrections:,}",
    ]
    lines += [f"e.g. {name}: {', '.join(ids[:3])}" for name, ids in verdict.examples.items()]
    lines.append("every promise kept" if verdict.ok else "BROKEN: " + "; ".join(verdict.broken))
    return "\n".join(lines)
