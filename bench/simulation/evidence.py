"""What can be known without asking the engine: what binds wrote, what SMSCs took, what apps were told.

The audit reads nothing else. Everything is noted as it happens, in virtual seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

import msgspec

from ...engine.messages import Correction, Report
from ..handset import Fate, Scenario
from ..smsc_config import STATES, SmscConfig
from ..smsc_log import Entry
from .marks import MarkReader
from .trace import Trace

if TYPE_CHECKING:
    from .traffic import Sent


class Copy(msgspec.Struct):
    """One part that an SMSC took."""

    time: float
    carrier: str
    bind: int
    serial: int
    number: int
    part: int
    parts: int
    payload_crc: int
    wants_receipt: bool
    fate: Fate
    answered_at: list[float]
    """When its receipts were answered ESME_ROK."""
    process: str = ""
    """Who wrote it."""
    heard_at: float | None = None
    """When the submit_sm_resp was read by that process."""

    @property
    def state(self) -> str:
        return STATES[self.fate.state]


class Written(msgspec.Struct):
    """One submit_sm as the engine wrote it on a connection."""

    time: float
    carrier: str
    number: int
    part: int
    validity_s: int
    process: str


class Doubt(msgspec.Struct):
    """A fault after which the outcome of parts under way is unknown. `carrier`, `process` "": all of them."""

    from_s: float
    until_s: float
    carrier: str
    why: str
    process: str = ""


class Outage(msgspec.Struct):
    """A time in which `process` ("": all) could not write down what it heard, or not at once."""

    from_s: float
    until_s: float
    process: str


class Told(msgspec.Struct):
    """A report or correction as an app received it."""

    time: float
    app: str
    cursor: str
    event: Report | Correction


class Evidence:
    """Everything seen in one run."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.sent: dict[int, Sent] = {}
        self.message_ids: dict[int, dict[str, None]] = {}
        """number -> the ids that apps were told."""
        self.number_of: dict[str, int] = {}
        self.accepted_at: dict[int, float] = {}
        self.refused: dict[int, str] = {}
        """number -> code of a refusal that stands."""
        self.unclear: dict[int, None] = {}
        """A submit of these was lost on its way at least once."""
        self.cancelled_at: dict[int, float] = {}
        """number -> when its app was told that it is cancelled."""
        self.told: list[Told] = []
        self.copies: list[Copy] = []
        self.written: list[Written] = []
        self.lost_binds: dict[tuple[str, int], float] = {}
        self.doubts: list[Doubt] = []
        self.outages: list[Outage] = []
        self.steps: list[tuple[float, str]] = []
        """When the clock of whom ("": the store) jumped."""
        self.largest_step_s = 0.0
        self.continued: dict[str, float] = {}
        """When each process last went on after it had been stopped."""
        self.refused_numbers: set[tuple[str, str]] = set()
        """(carrier, destination) that an SMSC has refused for good."""
        self.broken: list[str] = []
        """Promises seen broken while the run went on."""

    def broke(self, what: str) -> None:
        self.trace.add("audit", what)
        self.broken.append(f"at {self.trace.last[-1].split()[0]} {what}")


class RecordingScenario(Scenario):
    """The SMSC's dice, with a record of what they said: the log does not tell which answers were lost."""

    def __init__(self, config: SmscConfig, rng: Random, fates: deque[Fate]) -> None:
        super().__init__(config, rng)
        self.plain = False
        self._fates = fates
        self.refused: Callable[[str, int], None] = lambda destination, command_status: None
        self.absent_until: Callable[[bytes], float] = lambda destination: 0.0

    def choose(self, destination: bytes) -> Fate:
        fate = super().choose(destination)
        if fate.command_status:
            self.refused(destination.decode("latin-1"), fate.command_status)
            return fate
        absent_s = self.absent_until(destination)
        if absent_s > 0 and STATES[fate.state] == "delivered":
            fate = fate._replace(receipt_delay_s=absent_s, early_receipt=False)
        self._fates.append(fate)
        return fate


class SmscWitness:
    """The SMSC's log (`smsc_log.SubmitLog`), kept as evidence."""

    def __init__(self, carrier: str, evidence: Evidence, marks: MarkReader) -> None:
        self._carrier = carrier
        self._evidence = evidence
        self._by_serial: dict[int, Copy] = {}
        self._marks = marks
        self.fates: deque[Fate] = deque()
        self.on_taken: Callable[[Copy], None] = lambda copy: None

    def accepted(
        self, now: float, system_id: str, bind: int, first_serial: int, entries: list[Entry]
    ) -> None:
        for index, entry in enumerate(entries):
            mark = self._marks.read(entry[4], entry[5], entry[3][2:-1], entry[8])
            fate = self.fates.popleft()
            if mark is None:
                self._evidence.broke(f"{self._carrier} took a part without a mark")
                continue
            copy = Copy(
                now,
                self._carrier,
                bind,
                first_serial + index,
                mark.number,
                mark.part,
                mark.parts,
                mark.payload_crc,
                bool(entry[6] & 3),
                fate,
                [],
            )
            self._evidence.copies.append(copy)
            self._by_serial[copy.serial] = copy
            self.on_taken(copy)
            self._evidence.trace.add(self._carrier, f"took {mark.number}.{mark.part} on {bind}")

    def answered(self, now: float, serials: list[int]) -> None:
        for serial in serials:
            if serial in self._by_serial:
                self._by_serial[serial].answered_at.append(now)
        self._evidence.trace.add(self._carrier, f"receipts answered {len(serials)}")

    def event(self, now: float, system_id: str, word: str, number: int) -> None:
        if word == "lost":
            self._evidence.lost_binds[self._carrier, number] = now
        self._evidence.trace.add(self._carrier, f"{word} {number}")
