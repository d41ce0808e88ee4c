"""`todoke bench dispatch`: client, engine, Redis and SMSC as processes of their own, measured and audited.

    todoke bench dispatch --messages 1000000 --window 1000 --json
    todoke bench dispatch --messages 200000 --kill-engine-at 0.5 --kill-server-too
    todoke bench dispatch --messages 20000 --window 100 --delay-ms 20 --binds 4
    todoke bench dispatch --messages 300 --idle

The engine runs as `todoke serve` does, with the embedded server, `appendfsync always`; the SMSC is `smsc`,
the client `load`. CPU comes from /proc, memory from Redis and /proc, the verdict from the audit of what the
client was told beside what the SMSC logged. Exit 1 when a promise was broken.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, cast

import msgspec
import redis

from ..codecs import framing
from ..codecs.pdu import BindTransceiver, SubmitSm, encode
from .audit import Audit
from .dispatch_figures import DispatchConfig, DispatchFigures, Memory, ProcessFigures, saturated, table
from .load import LoadConfig, LoadResult
from .processes import START_S, FsyncProbe, Meter, percentiles
from .road import PASSWORD, SYSTEM_ID, Road, carrier_table, command, open_road, route_table
from .smsc_config import SmscConfig
from .smsc_log import AcceptedPart, LogRecord, read_log

PROBE_ID: Final = "probe"
"""The account that measures the round trip; the audit does not look at it."""
PROBES: Final = 20
MB: Final = 1e6


class Run:
    """One run on `road`, from starting everything to the figures."""

    def __init__(self, config: DispatchConfig, road: Road) -> None:
        self.config = config
        self._road = road
        self._fsync = FsyncProbe(road.directory)
        self._meter = Meter()
        self._redis: Any = None
        self._server_pid = 0
        self._peak = 0
        self._restart_s: float | None = None
        self._rewrote = False

    def __call__(self) -> DispatchFigures:
        config = self.config
        fsync_before = self._fsync.now()
        self._start_smsc()
        round_trip = self._round_trip()
        ready_s = self._starts()
        start = self._used_memory()
        pids = {"engine": self._road.engine.pid, "redis": self._server_pid, "smsc": self._smsc.pid}
        for name, pid in pids.items():
            self._meter.watch(name, pid)
        self._fsync.start()
        try:
            load = self._load()
        finally:  # its thread would keep this process
            fsync_beside = self._fsync.stop()
        self._meter.close()
        end = self._used_memory()
        settled, keys_left = self._settle()
        rewrites = int(self._info().get("aof_rewrites", 0))
        engine_exit, _ = self._road.engine.stop()
        smsc = self._road.end_smsc(self._smsc)
        wall_s = load.reported_at - load.started
        self._meter.cpu_s["client"], self._meter.rss_mb["client"] = load.cpu_s, load.rss_mb
        processes = {
            name: ProcessFigures(
                round(used / config.messages * 1e6, 2),
                round(used / wall_s, 3),
                round(self._meter.rss_mb[name], 1),
            )
            for name, used in self._meter.cpu_s.items()
        }
        reported_per_s = load.reported / wall_s if wall_s else 0.0
        of_window = None
        sent_per_s = self._sent_per_s()
        if config.delay_ms and not config.idle:
            of_window = sent_per_s / (config.binds * config.window / (round_trip["p50"] / 1e3))
        return DispatchFigures(
            config=config,
            cores=os.cpu_count() or 1,
            accepted_per_s=round(load.accepted / max(load.accepted_at - load.started, 1e-9), 1),
            reported_per_s=round(reported_per_s, 1),
            load=load,
            processes=processes,
            saturated=saturated(processes, os.cpu_count() or 1, of_window, config.rate),
            fsync_before_ms=fsync_before,
            fsync_beside_ms=fsync_beside,
            round_trip_ms=round_trip,
            sent_per_s=round(sent_per_s, 1),
            of_window=None if of_window is None else round(of_window, 4),
            hands_ms=self._hands() if config.idle else {},
            ready_s=round(ready_s, 3),
            restart_s=self._restart_s,
            aof_rewrites=rewrites,
            memory=Memory(
                round(start / MB, 2),
                round(self._peak / MB, 2),
                round(end / MB, 2),
                round((self._peak - start) / config.messages, 1),
                settled,
                keys_left,
            ),
            engine_exit=engine_exit,
            smsc=smsc,
            audit=self._audit(),
        )

    # The processes

    def _start_smsc(self) -> None:
        config = self.config
        smsc = SmscConfig(
            accounts={SYSTEM_ID: PASSWORD, PROBE_ID: PASSWORD},
            response_delay_s=config.delay_ms / 1e3,
            receipt_delay_s=config.receipt_delay_ms / 1e3,
            hold_receipts=config.messages if config.in_flight else 0,
            messages_max=max(4_000_000, config.messages * 2),
            states=config.states,
        )
        self._smsc = self._road.start_smsc("smsc", smsc)
        self._port = self._smsc.listening_port()

    def _round_trip(self) -> dict[str, float]:
        """submit_sm to submit_sm_resp, one at a time, from here."""
        taken: list[float] = []
        with socket.create_connection(("127.0.0.1", self._port), timeout=START_S) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            bind = BindTransceiver(system_id=PROBE_ID.encode(), password=PASSWORD.encode())
            for number, pdu in enumerate([bind] + [SubmitSm(destination_addr=b"1")] * PROBES, 1):
                started = time.perf_counter()
                connection.sendall(encode(pdu, number))
                _one_pdu(connection)
                taken.append((time.perf_counter() - started) * 1e3)
        return percentiles(taken[1:])

    def _starts(self) -> float:
        """The median of `starts` starts on an empty ledger; the last one stays."""
        taken = [self._start_engine()]
        for _ in range(1, self.config.starts):
            self._road.engine.stop()
            taken.append(self._start_engine())
        return statistics.median(taken)

    def _start_engine(self) -> float:
        """Start it; seconds until every bind is bound."""
        ready_s = self._road.start_engine(self._toml(), self.config.binds)
        self._redis = redis.Redis(unix_socket_path=str(self._road.data / "server.sock"))
        self._server_pid = int(self._info()["process_id"])
        return ready_s

    def _toml(self) -> str:
        config = self.config
        more = f"history_s = {config.history_s}\n{config.engine_toml}"
        return self._road.toml(
            carrier_table("carrier", self._port, config.binds, config.carrier_rate, config.window, more),
            route_table([], ["carrier"]),
            server_binary=config.server_binary,
            events_max=max(1_000_000, config.messages),
        )

    # The run

    def _load(self) -> LoadResult:
        config = self.config
        load = LoadConfig(
            socket=str(self._road.socket),
            messages=config.messages,
            batch=config.batch,
            in_flight=config.unanswered,
            backlog=config.backlog,
            rate=config.rate,
            one_at_a_time=config.idle,
            text=config.text,
            quiet_s=config.quiet_s,
            told=str(self._road.told),
        )
        return self._road.load(load, self._look)

    def _look(self, counts: dict[str, int]) -> None:
        """Now and then during the run: faults, memory."""
        config = self.config
        part = counts["accepted"] / config.messages
        if config.aof_rewrite and not self._rewrote and part >= 0.4 and not config.idle:
            self._rewrote = True
            self._redis.bgrewriteaof()
        if config.kill_engine_at and self._restart_s is None and part >= config.kill_engine_at:
            self._kill()
        self._smsc.check()
        self._road.engine.check()
        self._used_memory()

    def _kill(self) -> None:
        """kill -9 in full flight, and start again at once."""
        names = ("engine", "redis") if self.config.kill_server_too else ("engine",)
        self._meter.close(*names)
        if self.config.kill_server_too:
            os.kill(self._server_pid, signal.SIGKILL)
        self._road.engine.kill()
        self._restart_s = round(self._start_engine(), 3)
        pids = {"engine": self._road.engine.pid, "redis": self._server_pid}
        for name in names:
            self._meter.watch(name, pids[name], from_its_start=True)

    # Redis, seen from outside

    def _info(self) -> dict[str, Any]:
        return cast("dict[str, Any]", self._redis.info())

    def _used_memory(self) -> int:
        """used_memory now; the most seen is kept."""
        try:
            used = int(self._info().get("used_memory", 0))
        except redis.ConnectionError:  # killed a moment ago
            return 0
        self._peak = max(self._peak, used)
        return used

    def _settle(self) -> tuple[float | None, dict[str, int] | None]:
        """After `settle_s`: used_memory in MB, and which kinds of keys are left."""
        if not self.config.settle_s:
            return None, None
        time.sleep(self.config.settle_s)
        keys = cast("Iterator[bytes]", self._redis.scan_iter(count=1_000))
        kinds = Counter(re.sub(r"[0-9]+", "#", key.decode("latin-1")) for key in keys)
        return round(self._used_memory() / MB, 2), dict(sorted(kinds.items()))

    # What the books say

    def _audit(self) -> Audit:
        config = self.config
        faults = 1 if self._restart_s is not None else 0
        return self._road.audit(
            self._seen(),
            doubt_allowed=faults * 2 * config.window * config.binds,
            rate_allowed=int(config.carrier_rate),
        )

    def _seen(self) -> Iterator[LogRecord]:
        for record in read_log(self._road.log("smsc")):
            if not (isinstance(record, AcceptedPart) and record.system_id == PROBE_ID):
                yield record

    def _sent_per_s(self) -> float:
        times = [record.time for record in self._seen() if isinstance(record, AcceptedPart)]
        window = self.config.binds * self.config.window
        if len(times) <= window or times[-1] <= times[0]:
            return 0.0
        return (len(times) - window) / (times[-1] - times[0])

    def _hands(self) -> dict[str, float]:
        """From the client's submit to the SMSC's log; both read this machine's monotonic clock."""
        at = msgspec.json.decode(
            self._road.told.with_name("told.jsonl.at").read_bytes(), type=dict[str, float]
        )
        return percentiles(
            [
                (record.time - at[record.destination]) * 1e3
                for record in self._seen()
                if isinstance(record, AcceptedPart)
            ]
        )


def _one_pdu(connection: socket.socket) -> None:
    buffer = b""
    while not framing.split(buffer, 4_096)[0]:
        buffer += connection.recv(4_096)


def run_dispatch(config: DispatchConfig) -> DispatchFigures:
    """One run. Raises `ProcessFailed` when a process does not start or ends by itself, OSError."""
    with open_road(config.directory) as road:
        return Run(config, road)()


def main(arguments: list[str] | None = None) -> int:
    """Command line words in, exit code out: 0 when every promise was kept."""
    return command("dispatch", arguments, __doc__ or "", DispatchConfig, run_dispatch, table)


if __name__ == "__main__":
    sys.exit(main())
