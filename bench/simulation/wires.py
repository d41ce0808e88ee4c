"""The network between the engine's binds and the SMSCs, with a witness on it.

A line leads to one carrier. What binds write is read here, at the moment of the write: pace, window, expiry
and hours of the contract are judged by it (design section 1, promises 4 and 5).
"""

from __future__ import annotations

from collections import Counter, deque
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Final

import anyio
import msgspec
import trio

from ...codecs import constants as c
from ...codecs import framing, smpp_time
from ...codecs.constants import DELIVER_SM_RESP, SUBMIT_SM, SUBMIT_SM_RESP
from ...codecs.pdu import SubmitSm, decode
from ...engine.session.memory import MemoryByteStream
from ..smsc_config import SmscConfig
from ..smsc_memory import MemorySmsc
from .clock import WALL_START_S, ProcessClock, virtual_clock
from .evidence import Copy, Doubt, Evidence, RecordingScenario, SmscWitness, Written
from .halting import PROCESS
from .marks import MarkReader
from .scenario import CarrierPlan

if TYPE_CHECKING:
    from .process import Process

CONNECT_S: Final = 0.001
RATE_SLACK_S: Final = 1e-6
"""Two writes exactly a second apart are not in one sliding second, whatever floating point says."""
EXPIRY_SLACK_S: Final = 0.002
"""The engine's clock reads whole milliseconds."""
LET_GO_S: Final = 5.0
"""A process that learns that its slots are gone has let go of their connections after this."""
REFUSED_FOR_GOOD: Final = frozenset(
    {c.ESME_RINVDSTADR, c.ESME_RINVSRCADR, c.ESME_RSUBMITFAIL, c.ESME_RINVDSTTON, c.ESME_RINVDSTNPI}
)
_CONGESTION: Final = b"\x04\x28\x00\x01"


class Line:
    """All connections to one carrier, over the lives of the engine's processes."""

    def __init__(self, plan: CarrierPlan, rng: Random, evidence: Evidence) -> None:
        self.plan = plan
        self.name = plan.engine.name
        self.evidence = evidence
        self.stalled_until = 0.0
        """Nothing from the SMSC arrives before; nothing is lost."""
        self.wires: dict[Wire, None] = {}
        self.peak_parts_per_s = 0
        self.peak_outstanding = 0
        self._second: deque[tuple[float, int]] = deque()
        self._in_second = 0
        self._rng = rng
        self._marks = MarkReader()
        self.witness = SmscWitness(self.name, evidence, self._marks)
        self.smsc = MemorySmsc(plan.smsc, rng, wall_offset_s=WALL_START_S, call_at=virtual_clock().at)
        self.smsc.core.log = self.witness
        self.congestion_state: int | None = None
        """What the SMSC says of itself in every submit_sm_resp (SMPP 5.0 section 4.8.4.18)."""
        self.absent_until = 0.0
        self.absent_digit = b""
        """Handsets whose numbers end so are absent until then."""
        self.binds_max = plan.engine.binds * (1 if plan.engine.bind == "transceiver" else 2)
        self.excused: Counter[str] = Counter()
        self._on_the_wire: dict[tuple[int, int], tuple[Wire, int]] = {}
        """(message, part) -> the connection it was last written on, its sequence number."""
        self._taken: dict[tuple[Wire, int], Copy] = {}
        self.witness.on_taken = self._took
        self.weather()

    def weather(self, **changes: object) -> None:
        """How the SMSC behaves from now on: the plan's ways but for `changes`."""
        config: SmscConfig = msgspec.structs.replace(self.plan.smsc, **changes)
        core = self.smsc.core
        core.config = config
        scenario = core.scenario = RecordingScenario(config, self._rng, self.witness.fates)
        scenario.refused = self._refused
        scenario.absent_until = self._absent_s
        core.plain = False

    def _refused(self, destination: str, command_status: int) -> None:
        if command_status in REFUSED_FOR_GOOD:
            self.evidence.refused_numbers.add((self.name, destination))

    def _absent_s(self, destination: bytes) -> float:
        if self.absent_digit and destination.endswith(self.absent_digit):
            return self.absent_until - trio.current_time()
        return 0.0

    async def connect(self, process: Process) -> Wire:
        """A connection for a bind of `process`. Raises ConnectionRefusedError."""
        await anyio.sleep(CONNECT_S)
        # The far end is the SMSC's, whatever becomes of the process.
        near = await self._connect()
        wire = Wire(self, near, process)
        self.wires[wire] = None
        self.evidence.trace.add(self.name, f"connected by {process.name}")
        self._judge_binds()
        return wire

    async def _connect(self) -> MemoryByteStream:
        token = PROCESS.set("")
        try:
            near = await self.smsc.connect()
        finally:
            PROCESS.reset(token)
        assert isinstance(near, MemoryByteStream)
        return near

    def _judge_binds(self) -> None:
        """Promise 4: never more sessions than the account has. Who cannot know is counted apart."""
        held = Counter(wire.process.name for wire in self.wires if not wire.severed)
        if held.total() <= self.binds_max:
            return
        unaware = [name for name in held if self._is_unaware(name)]
        if unaware:
            self.excused[f"binds held by a process that {self._is_unaware(unaware[0])}"] += 1
        else:
            shown = ", ".join(f"{n} of {name}" for name, n in sorted(held.items()))
            self.evidence.broke(f"{self.name}: {shown} connections open, {self.binds_max} are allowed")

    def _is_unaware(self, process: str) -> str:
        now = trio.current_time()
        for doubt in self.evidence.doubts:
            if doubt.process in ("", process) and doubt.from_s <= now <= doubt.until_s + LET_GO_S:
                return doubt.why
        if any(not name and now <= at_s + self.plan.engine.lease_s for at_s, name in self.evidence.steps):
            return "believes the store's clock"
        return ""

    def _took(self, copy: Copy) -> None:
        """The SMSC has read a part: who wrote it is known from the connection."""
        found = self._on_the_wire.get((copy.number, copy.part))
        if found is not None:
            copy.process = found[0].process.name
            self._taken[found] = copy

    def heard(self, wire: Wire, sequence_number: int, command_status: int) -> None:
        """A submit_sm_resp reached the process."""
        copy = self._taken.pop((wire, sequence_number), None)
        if copy is not None and not command_status:
            copy.heard_at = trio.current_time()

    def wrote(self, wire: Wire, frames: list[tuple[int, int, int, bytes]]) -> list[int]:
        """submit_sm that leave now; their sequence numbers."""
        now = trio.current_time()
        sequence_numbers: list[int] = []
        for command_id, _, sequence_number, frame in frames:
            if command_id == SUBMIT_SM:
                sequence_numbers.append(sequence_number)
                self._witness_submit(wire, sequence_number, frame, now)
        if sequence_numbers:
            self._count(len(sequence_numbers), now)
            self.evidence.trace.add(
                self.name, f"{len(sequence_numbers)} parts written by {wire.process.name}"
            )
        return sequence_numbers

    def _witness_submit(self, wire: Wire, sequence_number: int, frame: bytes, now: float) -> None:
        pdu = decode(frame)
        assert isinstance(pdu, SubmitSm)
        tlvs = b"".join(
            tag.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value for tag, value in pdu.tlvs
        )
        payload = pdu.short_message + tlvs
        mark = self._marks.read(pdu.esm_class, pdu.data_coding, pdu.destination_addr, payload)
        if mark is None:
            self.evidence.broke(f"{self.name}: a part without a mark was written")
            return
        validity = smpp_time.parse(pdu.validity_period)
        validity_s = int(validity.total_seconds()) if isinstance(validity, timedelta) else 0
        process = wire.process
        self.evidence.written.append(
            Written(now, self.name, mark.number, mark.part, validity_s, process.name)
        )
        self._on_the_wire[mark.number, mark.part] = (wire, sequence_number)
        if self.evidence.continued.get(process.name, -1.0) == now:
            # It was stopped between its last look at the clock and the write: nothing can be done about that.
            self.excused["written on waking up"] += 1
            return
        self._judge_times(mark.number, mark.part, process.clock, validity_s)

    def _judge_times(self, number: int, part: int, clock: ProcessClock, validity_s: int) -> None:
        """By the date that the process was told: it has no other."""
        sent = self.evidence.sent[number]
        wall_ms = (clock.wall() + EXPIRY_SLACK_S) * 1000
        ends_ms = sent.expires_ms
        what = f"{self.name}: part {number}.{part} was written"
        if sent.at_ms and wall_ms < sent.at_ms and self.evidence.steps:
            # A clock that was wrong let it go, and was put right before it left.
            self.excused["before its time after a step of a clock"] += 1
        elif sent.at_ms and wall_ms < sent.at_ms:
            self.evidence.broke(f"{what} {sent.at_ms / 1000 - wall_ms / 1000:.3f} s before its time")
        if sent.expires_ms and wall_ms - 2 * EXPIRY_SLACK_S * 1000 >= sent.expires_ms:
            self.evidence.broke(f"{what} {wall_ms / 1000 - sent.expires_ms / 1000:.3f} s after it expired")
        if sent.window_ms[1]:
            opens_ms, closes_ms = sent.window_ms
            days = (wall_ms - opens_ms) // 86_400_000
            closes_ms += int(days) * 86_400_000
            if days < 0 or wall_ms - 2 * EXPIRY_SLACK_S * 1000 >= closes_ms:
                self.evidence.broke(f"{what} outside its window")
            ends_ms = min(ends_ms, closes_ms) if ends_ms else closes_ms
        if ends_ms and not validity_s:
            self.evidence.broke(f"{what} without a validity_period")
        elif ends_ms and wall_ms + validity_s * 1000 > ends_ms + 1_000:
            self.evidence.broke(f"{what} valid {wall_ms / 1000 + validity_s - ends_ms / 1000:.3f} s too long")
        if number in self.evidence.cancelled_at:
            self.evidence.broke(f"{what} after its app was told that it is cancelled")

    def _count(self, parts: int, now: float) -> None:
        second = self._second
        while second and second[0][0] <= now - 1.0 + RATE_SLACK_S:
            self._in_second -= second.popleft()[1]
        second.append((now, parts))
        self._in_second += parts
        self.peak_parts_per_s = max(self.peak_parts_per_s, self._in_second)
        rate = self.plan.engine.rate
        if rate and self._in_second > rate:
            lease_s = self.plan.engine.lease_s
            if any(not name and at_s <= now <= at_s + lease_s for at_s, name in self.evidence.steps):
                # Leases end early by the clock of the store alone: nobody could know.
                self.excused["rate after a step of the store's clock"] += 1
                return
            self.evidence.broke(f"{self.name}: {self._in_second} parts in a second, {rate:g} are allowed")

    def doubt(self, why: str, duration_s: float = 0.0) -> None:
        """What is under way on this line now has an unknown outcome."""
        now = trio.current_time()
        self.evidence.doubts.append(Doubt(now, now + duration_s, self.name, why))


class Wire(anyio.abc.ByteStream):
    """One connection, as the bind holds it."""

    def __init__(self, line: Line, near: MemoryByteStream, process: Process) -> None:
        self._line = line
        self.process = process
        self._near = near
        self._tail = b""
        self._unanswered: dict[int, float] = {}
        """sequence_number -> when it was written."""
        self.severed = False

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        line = self._line
        while True:
            data = await self._near.receive(max_bytes)
            if trio.current_time() < line.stalled_until:
                await trio.sleep_until(line.stalled_until)
            if self.severed:
                raise anyio.BrokenResourceError
            frames, used = framing.split(self._tail + data, 70_000)
            whole, self._tail = (self._tail + data)[:used], (self._tail + data)[used:]
            if frames:
                break
        told = line.congestion_state
        for command_id, command_status, sequence_number, _ in frames:
            if command_id == SUBMIT_SM_RESP:
                self._unanswered.pop(sequence_number, None)
                line.heard(self, sequence_number, command_status)
        if told is None:
            return whole
        return b"".join(_congested(frame, told) for frame in frames)

    async def send(self, item: bytes) -> None:
        if self.severed:
            raise anyio.BrokenResourceError
        frames, used = framing.split(item, 70_000)
        assert used == len(item), "a bind writes whole PDUs"
        now = trio.current_time()
        sequence_numbers = self._line.wrote(self, frames)
        if sequence_numbers:
            self._unanswered.update(dict.fromkeys(sequence_numbers, now))
            self._judge_window(now)
        answers = sum(frame[0] == DELIVER_SM_RESP and not frame[1] for frame in frames)
        if answers:
            self._line.evidence.trace.add(self._line.name, f"{answers} deliver_sm_resp written")
        await self._near.send(item)

    def _judge_window(self, now: float) -> None:
        """A request given up by the response timer has left the window (protocol.md 1.5)."""
        config = self._line.plan.engine
        given_up = now - config.response_timeout_s
        outstanding = sum(at > given_up for at in self._unanswered.values())
        self._line.peak_outstanding = max(self._line.peak_outstanding, outstanding)
        if outstanding > config.window and self._line.evidence.continued.get(self.process.name, -1.0) == now:
            # What it had given up while it was stopped stood before the socket still, and leaves now.
            self._line.excused["written on waking up"] += 1
        elif outstanding > config.window:
            self._line.evidence.broke(
                f"{self._line.name}: {outstanding} requests unanswered on a bind, {config.window} are allowed"
            )

    async def send_eof(self) -> None:
        await self._near.send_eof()

    async def aclose(self) -> None:
        self._line.wires.pop(self, None)
        await self._near.aclose()

    def sever(self, *, reset: bool) -> None:
        """The process at this end is gone and writes no more. `reset`: what was under way is lost too."""
        self.severed = True
        self._line.wires.pop(self, None)
        if reset:
            self._near.cut()

    def freeze(self) -> None:
        """Nothing passes any more, and nobody is told."""
        self._near.freeze()

    def lose(self) -> None:
        """This end learns that the connection is gone, the SMSC does not."""
        self._line.wires.pop(self, None)
        self._near.lose()

    def abandon(self) -> None:
        """The machine at this end is gone: the SMSC waits for it as long as it is patient."""
        self.severed = True
        self._line.wires.pop(self, None)
        self._near.freeze()


def _congested(frame: tuple[int, int, int, bytes], congestion_state: int) -> bytes:
    """The frame, with a congestion_state if it answers a submit_sm that was taken."""
    command_id, command_status, _, octets = frame
    if command_id != SUBMIT_SM_RESP or command_status:
        return octets
    return (len(octets) + 5).to_bytes(4, "big") + octets[4:] + _CONGESTION + bytes((congestion_state,))
