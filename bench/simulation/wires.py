"""The network between the engine's binds and the SMSCs, with a witness on it.

A line leads to one carrier. What binds write is read here, at the moment of the write: pace, window, expiry
and hours of the contract are judged by it (design section 1, promises 4 and 5).
"""

from __future__ import annotations

from collections import deque
from datetime import timedelta
from random import Random
from typing import Final

import anyio
import msgspec
import trio

from ...codecs import framing, smpp_time
from ...codecs.constants import DELIVER_SM_RESP, SUBMIT_SM, SUBMIT_SM_RESP
from ...codecs.pdu import SubmitSm, decode
from ...engine.session.memory import MemoryByteStream
from ..smsc_config import SmscConfig
from ..smsc_memory import MemorySmsc
from .clock import WALL_START_S
from .evidence import Doubt, Evidence, RecordingScenario, SmscWitness, Written
from .marks import MarkReader
from .scenario import CarrierPlan

CONNECT_S: Final = 0.001
RATE_SLACK_S: Final = 1e-6
"""Two writes exactly a second apart are not in one sliding second, whatever floating point says."""
EXPIRY_SLACK_S: Final = 0.002
"""The engine's clock reads whole milliseconds."""


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
        self.smsc = MemorySmsc(plan.smsc, rng, wall_offset_s=WALL_START_S)
        self.smsc.core.log = self.witness
        self.weather()

    def weather(self, **changes: object) -> None:
        """How the SMSC behaves from now on: the plan's ways but for `changes`."""
        config: SmscConfig = msgspec.structs.replace(self.plan.smsc, **changes)
        core = self.smsc.core
        core.config = config
        core.scenario = RecordingScenario(config, self._rng, self.witness.fates)
        core.plain = False

    async def connect(self) -> Wire:
        """A connection for a bind. Raises ConnectionRefusedError."""
        await anyio.sleep(CONNECT_S)
        near = await self.smsc.connect()
        assert isinstance(near, MemoryByteStream)
        wire = Wire(self, near)
        self.wires[wire] = None
        self.evidence.trace.add(self.name, "connected")
        return wire

    def wrote(self, frames: list[tuple[int, int, int, bytes]]) -> list[int]:
        """submit_sm that leave now; their sequence numbers."""
        now = anyio.current_time()
        sequence_numbers: list[int] = []
        for command_id, _, sequence_number, frame in frames:
            if command_id == SUBMIT_SM:
                sequence_numbers.append(sequence_number)
                self._witness_submit(frame, now)
        if sequence_numbers:
            self._count(len(sequence_numbers), now)
            self.evidence.trace.add(self.name, f"{len(sequence_numbers)} parts written")
        return sequence_numbers

    def _witness_submit(self, frame: bytes, now: float) -> None:
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
        self.evidence.written.append(Written(now, self.name, mark.number, mark.part, validity_s))
        self._judge_times(mark.number, mark.part, now, validity_s)

    def _judge_times(self, number: int, part: int, now: float, validity_s: int) -> None:
        sent = self.evidence.sent[number]
        wall_ms = (WALL_START_S + now + EXPIRY_SLACK_S) * 1000
        ends_ms = sent.expires_ms
        what = f"{self.name}: part {number}.{part} was written"
        if sent.at_ms and wall_ms < sent.at_ms:
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
            self.evidence.broke(f"{self.name}: {self._in_second} parts in a second, {rate:g} are allowed")

    def doubt(self, why: str, duration_s: float = 0.0) -> None:
        """What is under way on this line now has an unknown outcome."""
        now = anyio.current_time()
        self.evidence.doubts.append(Doubt(now, now + duration_s, self.name, why))


class Wire(anyio.abc.ByteStream):
    """One connection, as the bind holds it."""

    def __init__(self, line: Line, near: MemoryByteStream) -> None:
        self._line = line
        self._near = near
        self._tail = b""
        self._unanswered: dict[int, float] = {}
        """sequence_number -> when it was written."""
        self._severed = False

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        data = await self._near.receive(max_bytes)
        if anyio.current_time() < self._line.stalled_until:
            await trio.sleep_until(self._line.stalled_until)
        if self._severed:
            raise anyio.BrokenResourceError
        frames, used = framing.split(self._tail + data, 70_000)
        self._tail = (self._tail + data)[used:]
        for command_id, _, sequence_number, _ in frames:
            if command_id == SUBMIT_SM_RESP:
                self._unanswered.pop(sequence_number, None)
        return data

    async def send(self, item: bytes) -> None:
        if self._severed:
            raise anyio.BrokenResourceError
        frames, used = framing.split(item, 70_000)
        assert used == len(item), "a bind writes whole PDUs"
        now = anyio.current_time()
        sequence_numbers = self._line.wrote(frames)
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
        if outstanding > config.window:
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
        self._severed = True
        if reset:
            self._near.cut()

    def freeze(self) -> None:
        """Nothing passes any more, and nobody is told."""
        self._near.freeze()
