"""The load client of `todoke bench dispatch`: a process that submits, is told, and acknowledges.

    python -m todoke.bench.load --config-json '{"socket": "run/todoke.sock", "messages": 100000}'

It speaks MessagePack over two connections, one to submit, one subscribed to every report and acknowledging
each frame of them. Closed loop by default: as much unanswered as `in_flight` allows. With `rate` open loop:
messages are due at fixed times and latencies count from those times, so a stalled node cannot hide by
slowing its own load. Every message has its own reference, destination and text. A lost connection is made
again, what was not answered is submitted again with the same references.

Standard output: JSON lines, `{"progress": ...}` a few times a second, at last `{"result": ...}`. The file
`told` is what `audit_files` reads.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import resource
import sys
import time
from array import array
from collections import Counter, deque
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import uvloop
from hdrh.histogram import HdrHistogram

from .load_wire import Answer, Events, Frames, Message, destination, text_of

PROGRESS_S: Final = 0.2
RECONNECT_S: Final = 0.02
LATENCY_US_MAX: Final = 600_000_000
RETRY_AFTER_S: Final = 0.5
"""For refusals that name no time of their own."""
RETRIED_CODES: Final = frozenset(("queue_full", "events_full", "unavailable", "stopping"))


class LoadConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to submit. Times are seconds, `rate` messages a second (0: closed loop)."""

    socket: str
    messages: int
    batch: int = 100
    """Messages in a submit frame."""
    in_flight: int = 4_000
    """Unanswered messages at most."""
    backlog: int = 0
    """Messages submitted and not yet reported at most; 0: no limit."""
    rate: float = 0.0
    one_at_a_time: bool = False
    """Submit one, wait for its report, pause."""
    pause_s: float = 0.01
    text: str = ""
    """Appended to each message's own eight digits; empty: so much that the text has 61 characters."""
    sender: str = "Todoke"
    long: float = 0.0
    """Share of messages (0 to 1) with a text of two parts."""
    validity_s: float = 0.0
    """Messages expire so long after they are submitted; 0: never."""
    receipt: bool = True
    quiet_s: float = 60.0
    """Give up when nothing was accepted or reported for so long."""
    told: str | None = None


class Latencies(msgspec.Struct, frozen=True):
    """Milliseconds."""

    p50: float
    p90: float
    p99: float
    max: float
    count: int


class LoadResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the client saw. `started` and the like are on the machine's monotonic clock."""

    messages: int
    accepted: int
    refused: dict[str, int]
    reported: int
    states: dict[str, int]
    started: float
    accepted_at: float
    """When the last message was accepted."""
    reported_at: float
    """When the last report came."""
    accept_ms: Latencies
    report_ms: Latencies
    reconnects: int
    submitted_again: int
    duplicates: int
    put_off: int
    """Refusals to come back later that were obeyed."""
    cpu_s: float
    rss_mb: float


class Load:
    """One run. `await run()` gives the result."""

    def __init__(self, config: LoadConfig) -> None:
        self.config = config
        self._loop = asyncio.get_running_loop()
        self._encode = msgspec.msgpack.Encoder().encode
        self._answer = msgspec.msgpack.Decoder(Answer).decode
        self._events = msgspec.msgpack.Decoder(Events).decode
        self._submitter: Frames | None = None
        self._listener: Frames | None = None
        self._next = 0
        self._frame_id = 0
        self._unanswered: dict[int, tuple[float, list[int]]] = {}
        self._put_off: deque[tuple[float, list[int]]] = deque()
        self._in_flight = 0
        self._due_at = array("d", bytes(8 * config.messages))
        self._ids: list[str] = [""] * config.messages
        self._parts = bytearray(config.messages)
        self._states: list[str | None] = [None] * config.messages
        self._told_more: list[dict[str, Any]] = []
        self._counts = {
            "accepted": 0,
            "reported": 0,
            "reconnects": 0,
            "again": 0,
            "duplicates": 0,
            "put_off": 0,
        }
        self._refused: dict[str, int] = {}
        self._accept_us = array("I")
        self._report_us = array("I")
        self._started = self._accepted_at = self._reported_at = self._progress_at = 0.0
        self._done = asyncio.Event()
        self._connecting = False
        self._ended = False
        self._pump_at: asyncio.TimerHandle | None = None

    async def run(self) -> LoadResult:
        await self._connect()
        self._started = self._accepted_at = self._reported_at = self._progress_at = time.monotonic()
        self._pump()
        while not self._done.is_set():
            try:
                async with asyncio.timeout(PROGRESS_S):
                    await self._done.wait()
            except TimeoutError:
                print(msgspec.json.encode({"progress": self._counts}).decode(), flush=True)
                if time.monotonic() > self._progress_at + self.config.quiet_s:
                    break
        self._ended = True
        for connection in (self._submitter, self._listener):
            if connection is not None and connection.transport is not None:
                connection.transport.close()
        return self._result()

    # Connections

    async def _connect(self) -> None:
        """Make what connections are missing, for as long as it takes."""
        self._connecting = True
        while not self._ended and (self._submitter is None or self._listener is None):
            try:
                if self._submitter is None:
                    self._submitter = await self._open("submit")
                if self._listener is None:
                    self._listener = await self._open("listen")
                    self._listener.send(self._encode({"op": "subscribe", "id": 0}))
            except OSError:
                await asyncio.sleep(RECONNECT_S)
        self._connecting = False

    async def _open(self, name: str) -> Frames:
        _, protocol = await self._loop.create_unix_connection(lambda: Frames(self, name), self.config.socket)
        return protocol

    def lost(self, connection: Frames) -> None:
        """A connection is gone: what it had not answered is submitted again on the next."""
        if self._ended:
            return
        self._counts["reconnects"] += 1
        if connection is self._listener:
            self._listener = None
        elif connection is self._submitter:
            self._submitter = None
            now = time.monotonic()
            for _, numbers in self._unanswered.values():
                self._in_flight -= len(numbers)
                self._counts["again"] += len(numbers)
                self._put_off.append((now, numbers))
            self._unanswered.clear()
        if not self._connecting:
            self._connecting = True
            self._reconnecting = self._loop.create_task(self._reconnect())

    async def _reconnect(self) -> None:
        await asyncio.sleep(RECONNECT_S)
        await self._connect()
        self._pump()

    # Submitting

    def _pump(self) -> None:
        """Submit what may be submitted now; come back when more may."""
        self._pump_at = None
        config = self.config
        now = time.monotonic()
        while self._submitter is not None and self._put_off and self._put_off[0][0] <= now:
            self._submit(self._put_off.popleft()[1], now)
        while self._submitter is not None and self._next < config.messages:
            due = now
            if config.rate:
                due = self._started + self._next / config.rate
                if due > now:
                    self._pump_later(due - now)
                    break
            elif config.one_at_a_time and self._counts["reported"] < self._next:
                break
            count = min(1 if config.one_at_a_time else config.batch, config.messages - self._next)
            if not config.rate and self._in_flight + count > config.in_flight:
                break
            if config.backlog and self._next + count - self._counts["reported"] > config.backlog:
                break
            numbers = list(range(self._next, self._next + count))
            self._next += count
            for number in numbers:
                self._due_at[number] = self._started + number / config.rate if config.rate else now
            self._submit(numbers, now)
        if self._put_off:
            self._pump_later(max(0.0, self._put_off[0][0] - now))

    def _pump_later(self, delay_s: float) -> None:
        if self._pump_at is None:
            self._pump_at = self._loop.call_later(delay_s, self._pump)

    def _submit(self, numbers: list[int], now: float) -> None:
        config = self.config
        expires = None
        if config.validity_s:
            expires = (datetime.now(UTC) + timedelta(seconds=config.validity_s)).isoformat()
        messages = [
            Message(
                destination(number),
                text_of(number, config.text, config.long),
                f"r{number}",
                config.sender,
                config.receipt,
                expires,
            )
            for number in numbers
        ]
        self._frame_id += 1
        self._unanswered[self._frame_id] = now, numbers
        self._in_flight += len(numbers)
        assert self._submitter is not None
        self._submitter.send(self._encode({"op": "submit", "id": self._frame_id, "messages": messages}))

    # What comes back

    def received(self, connection: Frames, octets: bytes) -> None:
        """A frame from the node."""
        if connection.name == "submit":
            self._answered(self._answer(octets))
        else:
            self._heard(connection, self._events(octets))

    def _answered(self, answer: Answer) -> None:
        now = self._progress_at = time.monotonic()
        if answer.error is not None:
            self._count_refused(str(answer.error.get("code")), 1)
            return
        _, numbers = self._unanswered.pop(answer.id)
        self._in_flight -= len(numbers)
        for accepted in answer.accepted:
            number = int(accepted.ref[1:])
            if self._ids[number]:
                self._told_more.append(self._accepted_line(number, accepted.message_id, accepted.parts))
            else:
                self._ids[number] = accepted.message_id
                self._counts["accepted"] += 1
            self._parts[number] = min(accepted.parts, 255)
            self._counts["duplicates"] += accepted.duplicate
        if answer.accepted:
            self._accepted_at = now
            self._accept_us.extend([_us(now - self._due_at[number]) for number in numbers])
        for refused in answer.refused:
            if refused.code in RETRIED_CODES:
                self._counts["put_off"] += 1
                self._put_off.append(
                    (now + (refused.retry_after_s or RETRY_AFTER_S), [numbers[refused.index]])
                )
            else:
                self._count_refused(refused.code, 1)
        self._pump()
        self._look_done()

    def _count_refused(self, code: str, count: int) -> None:
        self._refused[code] = self._refused.get(code, 0) + count

    def _heard(self, connection: Frames, heard: Events) -> None:
        if heard.events is None:
            if heard.error is not None and connection.transport is not None:
                connection.transport.close()  # the last subscription is not let go yet: try again
            return
        now = self._progress_at = time.monotonic()
        for event in heard.events:
            number = -1 if event.ref is None else int(event.ref[1:])
            if event.event == "report" and number >= 0 and self._states[number] is None:
                self._states[number] = sys.intern(event.state)
                self._counts["reported"] += 1
                self._report_us.append(_us(now - self._due_at[number]))
                if event.possibly_doubled:
                    self._counts["possibly_doubled"] = self._counts.get("possibly_doubled", 0) + 1
            else:
                self._told_more.append(msgspec.to_builtins(event))
        self._reported_at = now
        connection.send(self._encode({"op": "ack", "cursor": heard.events[-1].cursor}))
        config = self.config
        if config.one_at_a_time:
            self._pump_later(config.pause_s)
        elif config.backlog:
            self._pump()
        self._look_done()

    def _look_done(self) -> None:
        refused = sum(self._refused.values())
        if self._counts["accepted"] + refused >= self.config.messages <= self._counts["reported"] + refused:
            self._done.set()

    # The end

    def _accepted_line(self, number: int, message_id: str, parts: int) -> dict[str, Any]:
        return {"message_id": message_id, "ref": f"r{number}", "parts": parts, "to": destination(number)}

    def write_told(self, path: str | Path) -> None:
        """The lines that `audit_files` reads. Raises OSError."""
        encode = msgspec.json.Encoder().encode_into
        buffer = bytearray()
        with open(path, "wb") as file:
            for number, message_id in enumerate(self._ids):
                if message_id:
                    encode(self._accepted_line(number, message_id, self._parts[number]), buffer)
                    file.write(buffer + b"\n")
                state = self._states[number]
                if state is not None:
                    encode({"event": "report", "message_id": message_id, "state": state}, buffer)
                    file.write(buffer + b"\n")
            for line in self._told_more:
                file.write(msgspec.json.encode(line) + b"\n")

    def submitted_at(self) -> dict[str, float]:
        """Destination (digits) -> when it was submitted, on the monotonic clock."""
        return {destination(number)[1:]: at for number, at in enumerate(self._due_at)}

    def _result(self) -> LoadResult:
        states: dict[str, int] = {}
        for state in self._states:
            if state is not None:
                states[state] = states.get(state, 0) + 1
        used = resource.getrusage(resource.RUSAGE_SELF)
        return LoadResult(
            messages=self.config.messages,
            accepted=self._counts["accepted"],
            refused=self._refused,
            reported=self._counts["reported"],
            states=states,
            started=self._started,
            accepted_at=self._accepted_at,
            reported_at=self._reported_at,
            accept_ms=_latencies(self._accept_us),
            report_ms=_latencies(self._report_us),
            reconnects=self._counts["reconnects"],
            submitted_again=self._counts["again"],
            duplicates=self._counts["duplicates"],
            put_off=self._counts["put_off"],
            cpu_s=used.ru_utime + used.ru_stime,
            rss_mb=used.ru_maxrss / 1024,
        )


def _us(seconds: float) -> int:
    return min(max(1, int(seconds * 1e6)), LATENCY_US_MAX)


def _latencies(values_us: array[int]) -> Latencies:
    """Recorded only now: a histogram written in Python costs more than the message it counts."""
    histogram: Any = HdrHistogram(1, LATENCY_US_MAX, 3)
    for value, count in Counter(values_us).items():
        histogram.record_value(value, count)

    def at(percentile: float) -> float:
        return round(float(histogram.get_value_at_percentile(percentile)) / 1e3, 3)

    return (
        Latencies(at(50), at(90), at(99), at(100), len(values_us)) if values_us else Latencies(0, 0, 0, 0, 0)
    )


async def _run(config: LoadConfig) -> tuple[Load, LoadResult]:
    load = Load(config)
    return load, await load.run()


def run_load(config: LoadConfig) -> None:
    """Run, write `told` (one at a time: and `told`.at, when each was submitted), print the result."""
    load, result = uvloop.run(_run(config))
    if config.told is not None:
        load.write_told(config.told)
        if config.one_at_a_time:
            Path(config.told + ".at").write_bytes(msgspec.json.encode(load.submitted_at()))
    print(msgspec.json.encode({"result": result}).decode(), flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Command line words in, exit code out."""
    parser = argparse.ArgumentParser(prog="python -m todoke.bench.load", description="The load client.")
    parser.add_argument("--config-json", required=True, help="a LoadConfig as JSON")
    given = parser.parse_args(arguments)
    try:
        config = msgspec.json.decode(given.config_json, type=LoadConfig)
    except msgspec.DecodeError as error:
        print(f"load: {error}", file=sys.stderr)
        return 2
    gc.freeze()
    gc.set_threshold(200_000, 50, 100)
    run_load(config)
    return 0


if __name__ == "__main__":
    sys.exit(main())
