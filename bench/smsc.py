"""The simulated SMSC as a process: `SmscCore` behind TCP (or TLS) on uvloop.

    python -m todoke.bench.smsc --config-json '{"port": 2775, "accounts": {"todoke": "secret"}}'
    python -m todoke.bench.smsc --port 2775 --receipt-delay-s 2 --states '{"undeliverable:027": 0.02}'

It prints one line, `listening on HOST:PORT`, when ready, and ends on SIGTERM or SIGINT with a summary.
SIGUSR1 releases held receipts. It binds loopback unless told otherwise, and it sends nothing to anyone but
the peers that connect.

The shell decides nothing: octets go into the core, and once per turn of the loop what has piled up for each
connection goes out in one write. Reading a connection stops while its peer does not read.
"""

from __future__ import annotations

import asyncio
import gc
import random
import signal
import ssl
import sys
import time
from typing import Final, cast

import msgspec
import uvloop

from . import flags
from .smsc_config import ScenarioError, SmscConfig
from .smsc_core import SmscCore, SmscStatistics
from .smsc_log import FileLog
from .smsc_session import EsmeSession

WRITE_OCTETS_MAX: Final = 1_048_576
"""Octets waiting for a peer before it is no longer read."""
LOG_FLUSH_S: Final = 0.25
LATE_S: Final = 0.005
"""A timer that rings so much too late is noted in the log: what came meanwhile came together."""
BACKLOG: Final = 1_024
_GC_THRESHOLD: Final = 200_000


class Smsc:
    """A listening simulator in the running asyncio loop.

    `await start()` returns when it listens (`port` is then the real one); `await stop()` closes everything
    and returns the statistics. Raises OSError (address, log file, certificate).
    """

    def __init__(self, config: SmscConfig) -> None:
        self.config = config
        self.port = config.port
        wall_offset_s = time.time() - time.monotonic()
        self._log = FileLog(config.log, wall_offset_s, config.smsc_id) if config.log else None
        self.core = SmscCore(config, random.Random(config.seed), time.monotonic(), wall_offset_s, self._log)
        self._transports: dict[EsmeSession, asyncio.Transport] = {}
        self._server: asyncio.Server | None = None
        self._flush_handle: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._log_timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        context: ssl.SSLContext | None = None
        if self.config.tls_cert and self.config.tls_key:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.config.tls_cert, self.config.tls_key)
        self._server = await self._loop.create_server(
            lambda: _Connection(self), self.config.host, self.config.port, backlog=BACKLOG, ssl=context
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self._arm_timer()
        self._flush_log()

    async def stop(self) -> SmscStatistics:
        """Close the listener, every connection and the log."""
        if self._server is not None:
            self._server.close()
        statistics = self.core.statistics()
        self.core.shut_down(time.monotonic())
        self._flush()
        for handle in (self._timer, self._log_timer, self._flush_handle):
            if handle is not None:
                handle.cancel()
        if self._log is not None:
            self._log.close()
            self.core.log = None
        if self._server is not None:
            await self._server.wait_closed()
        return statistics

    def release(self) -> None:
        """Send the held receipts."""
        self.core.release(time.monotonic())
        self.flush_soon()

    # Called by the connections

    def attach(self, transport: asyncio.Transport) -> EsmeSession | None:
        session = self.core.connect(time.monotonic())
        if session is not None:
            self._transports[session] = transport
            self.flush_soon()
        return session

    def detach(self, session: EsmeSession) -> None:
        self._transports.pop(session, None)
        session.receive_eof(time.monotonic())
        self.flush_soon()

    def flush_soon(self) -> None:
        """Write what is pending once the loop has read what else is there."""
        if self._flush_handle is None:
            self._flush_handle = self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_handle = None
        for session in self.core.take_dirty():
            octets = session.data_to_send()
            transport = self._transports.get(session)
            if transport is None:
                continue
            if session.ending == "reset":
                transport.abort()
                continue
            if octets:
                transport.write(octets)
            if session.ending:
                transport.close()
        self._arm_timer()

    def _arm_timer(self) -> None:
        deadline = self.core.next_deadline()
        if deadline < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = deadline
            delay_s = max(0.0, deadline - time.monotonic())
            self._timer = self._loop.call_later(delay_s, self._tick)

    def _tick(self) -> None:
        now = time.monotonic()
        late_s, self._timer_at = now - self._timer_at, float("inf")
        if late_s > LATE_S:
            self.core.note(now, "", "late", int(late_s * 1e6))
        self._timer = None
        self.core.handle_tick(now)
        if self._flush_handle is not None:
            self._flush_handle.cancel()
        self._flush()

    def _flush_log(self) -> None:
        if self._log is not None:
            self._log.flush()
            self._log_timer = self._loop.call_later(LOG_FLUSH_S, self._flush_log)


class _Connection(asyncio.Protocol):
    def __init__(self, smsc: Smsc) -> None:
        self._smsc = smsc
        self._session: EsmeSession | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_OCTETS_MAX)
        self._session = self._smsc.attach(self._transport)
        if self._session is None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._session is not None:
            self._session.receive_data(data, time.monotonic())
            self._smsc.flush_soon()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._session is not None:
            self._smsc.detach(self._session)

    def pause_writing(self) -> None:
        if self._transport is not None and self._transport.is_reading():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()


def run_smsc(config: SmscConfig) -> SmscStatistics:
    """Run a simulator until SIGTERM or SIGINT; print the ready line and the summary. Raises OSError."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, 50, 100)
    return uvloop.run(_serve(config))


async def _serve(config: SmscConfig) -> SmscStatistics:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    smsc = Smsc(config)
    await smsc.start()
    loop.add_signal_handler(signal.SIGUSR1, smsc.release)
    print(f"listening on {config.host}:{smsc.port}", flush=True)
    while not stopped.is_set():
        try:
            async with asyncio.timeout(config.statistics_s or None):
                await stopped.wait()
        except TimeoutError:
            _print(smsc.core.statistics(), config.json)
    statistics = await smsc.stop()
    _print(statistics, config.json)
    return statistics


def _print(statistics: SmscStatistics, as_json: bool) -> None:
    if as_json:
        print(msgspec.json.encode(statistics).decode(), flush=True)
        return
    shown = msgspec.structs.asdict(statistics)
    print(" ".join(f"{name}={value}" for name, value in shown.items() if value), flush=True)


def config_of(arguments: list[str]) -> SmscConfig:
    """A configuration from command line words: --config-json, then one flag a field on top of it.

    Raises `ScenarioError` and msgspec.ValidationError for wrong values, SystemExit for wrong flags.
    """
    return flags.settings(SmscConfig, arguments, "python -m todoke.bench.smsc", "A simulated SMSC.")


def main(arguments: list[str] | None = None) -> int:
    """Command line words in, exit code out."""
    try:
        config = config_of(sys.argv[1:] if arguments is None else arguments)
        run_smsc(config)
    except (ScenarioError, msgspec.ValidationError, msgspec.DecodeError, OSError) as error:
        print(f"smsc: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
