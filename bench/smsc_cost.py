"""What the simulated SMSC costs: CPU a message with its receipt, driven by the barest client.

    python -m todoke.bench.smsc_cost --messages 300000 --window 1000

One bind, 61 octets of text, receipts at once, the log written. The simulator runs in a process of its own,
its CPU time is read from /proc; the client sends a quarter of a window at a time. The limit is 6 us with a
window of 100 or more; below, each wake-up of the loop serves few messages.
"""

from __future__ import annotations

import socket
import sys
import tempfile
import time
from pathlib import Path
from struct import Struct
from typing import Final

import msgspec

from ..codecs import framing
from ..codecs.constants import DELIVER_SM, DELIVER_SM_RESP, SUBMIT_SM_RESP
from ..codecs.fast import SubmitTemplate
from ..codecs.pdu import BindTransceiver, encode
from . import flags
from .processes import START_S, Meter, Spawned
from .smsc_config import SmscConfig

LIMIT_US: Final = 6.0
READ_OCTETS: Final = 262_144
_answer = Struct(">IIIIB").pack


class CostConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of a run."""

    messages: int = 200_000
    window: int = 1_000
    json: bool = False


class Cost(msgspec.Struct, frozen=True):
    """What a run measured."""

    messages: int
    window: int
    cpu_us_per_message: float
    messages_per_s: float
    ok: bool


def run_cost(config: CostConfig) -> Cost:
    """One run. Raises `ProcessFailed`, OSError."""
    with tempfile.TemporaryDirectory(prefix="todoke-cost-") as name:
        directory = Path(name)
        smsc = SmscConfig(accounts={"cost": "cost"}, log=str(directory / "log"), json=True)
        words = ["--config-json", msgspec.json.encode(smsc).decode()]
        with Spawned("smsc", "todoke.bench.smsc", words, directory) as process:
            port = process.listening_port()
            with socket.create_connection(("127.0.0.1", port), timeout=START_S) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.sendall(encode(BindTransceiver(system_id=b"cost", password=b"cost"), 1))
                connection.recv(READ_OCTETS)
                meter = Meter()
                meter.watch("smsc", process.pid)
                started = time.perf_counter()
                _drive(connection, config)
                passed = time.perf_counter() - started
                meter.close()
    cost_us = meter.cpu_s["smsc"] / config.messages * 1e6
    return Cost(
        config.messages,
        config.window,
        round(cost_us, 2),
        round(config.messages / passed),
        cost_us <= LIMIT_US,
    )


def _drive(connection: socket.socket, config: CostConfig) -> None:
    """Submit `messages` with at most `window` unanswered; return when every receipt is answered."""
    template = SubmitTemplate(source_addr_ton=5, source_addr=b"Todoke")
    text = b"x" * 61
    step = max(1, config.window // 4)
    sent = unanswered = receipts = 0
    buffer = b""
    while receipts < config.messages:
        count = min(config.window - unanswered, config.messages - sent)
        if count and (count >= step or sent + count == config.messages):
            numbers = range(sent, sent + count)
            connection.sendall(
                b"".join([template.pdu(number + 2, b"8190%08d" % number, 0, text) for number in numbers])
            )
            sent += count
            unanswered += count
        buffer += connection.recv(READ_OCTETS)
        frames, used = framing.split(buffer, 4_096)
        buffer = buffer[used:]
        unanswered -= sum(frame[0] == SUBMIT_SM_RESP for frame in frames)
        answers = [_answer(17, DELIVER_SM_RESP, 0, frame[2], 0) for frame in frames if frame[0] == DELIVER_SM]
        receipts += len(answers)
        connection.sendall(b"".join(answers))


def main(arguments: list[str] | None = None) -> int:
    """Command line words in, exit code out: 0 within the limit."""
    words = sys.argv[1:] if arguments is None else arguments
    config = flags.settings(CostConfig, words, "python -m todoke.bench.smsc_cost", "What the SMSC costs.")
    cost = run_cost(config)
    if config.json:
        print(msgspec.json.encode(cost).decode())
    else:
        print(
            f"{cost.cpu_us_per_message:.2f} us of CPU a message with its receipt (at most {LIMIT_US:g}), "
            f"{cost.messages_per_s:,.0f} messages/s, window {cost.window}"
        )
    return 0 if cost.ok else 1


if __name__ == "__main__":
    sys.exit(main())
