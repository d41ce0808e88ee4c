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
import shutil
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, cast

import msgspec
import redis
from rich.console import Console
from rich.progress import Progress, TaskID

from ..codecs import framing
from ..codecs.pdu import BindTransceiver, SubmitSm, encode
from . import flags
from .audit import Audit, Auditor
from .audit_files import read_told
from .dispatch_figures import DispatchConfig, DispatchFigures, Memory, ProcessFigures, saturated, table
from .load import LoadConfig, LoadResult
from .processes import START_S, FsyncProbe, Meter, ProcessFailed, Spawned, ask, percentiles
from .smsc_config import SmscConfig
from .smsc_log import AcceptedPart, LogRecord, read_log

SYSTEM_ID: Final = "todoke"
PROBE_ID: Final = "probe"
"""The account that measures the round trip; the audit does not look at it."""
PASSWORD: Final = "secret"
PROBES: Final = 20
BOUND_POLL_S: Final = 0.005
MB: Final = 1e6


class Run:
    """One run in `directory`, from starting everything to the figures."""

    def __init__(self, config: DispatchConfig, directory: Path, stack: ExitStack) -> None:
        self.config = config
        self.directory = directory
        self._stack = stack
        (directory / "run").mkdir(mode=0o750)
        self._socket = directory / "run" / "todoke.sock"
        self._fsync = FsyncProbe(directory)
        self._meter = Meter()
        self._redis: Any = None
        self._server_pid = 0
        self._peak = 0
        self._restart_s: float | None = None
        self._rewrote = False

    def __call__(self, progress: Progress) -> DispatchFigures:
        config = self.config
        fsync_before = self._fsync.now()
        self._start_smsc()
        round_trip = self._round_trip()
        ready_s = self._starts()
        start = self._used_memory()
        pids = {"engine": self._engine.pid, "redis": self._server_pid, "smsc": self._smsc.pid}
        for name, pid in pids.items():
            self._meter.watch(name, pid)
        self._fsync.start()
        load = self._load(progress)
        fsync_beside = self._fsync.stop()
        self._meter.close()
        end = self._used_memory()
        settled, keys_left = self._settle()
        rewrites = int(self._info().get("aof_rewrites", 0))
        engine_exit, _ = self._engine.stop()
        _, words = self._smsc.stop()
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
            smsc=msgspec.json.decode(words.strip().splitlines()[-1], type=dict[str, Any]),
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
            log=str(self.directory / "smsc.log"),
            json=True,
        )
        self._smsc = self._spawn("smsc", "todoke.bench.smsc", ["--config-json", _json(smsc)])
        self._port = int(self._smsc.line().rpartition(":")[2])

    def _spawn(self, name: str, module: str, arguments: list[str]) -> Spawned:
        return self._stack.enter_context(Spawned(name, module, arguments, self.directory))

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
            self._engine.stop()
            taken.append(self._start_engine())
        return statistics.median(taken)

    def _start_engine(self) -> float:
        """Start it; seconds until every bind is bound."""
        path = self.directory / "todoke.toml"
        path.write_text(self._toml())
        started = time.monotonic()
        self._engine = self._spawn("engine", "todoke.engine.cli", ["serve", str(path)])
        while True:
            self._engine.check()
            if time.monotonic() > started + START_S:
                raise ProcessFailed(
                    f"the engine was not bound within {START_S:g} s: {self._engine.last_words()}"
                )
            try:
                status = ask(self._socket, "status")
            except (OSError, ProcessFailed):
                status = {}
            carriers: list[dict[str, Any]] = status.get("carriers", [])
            if carriers and all(carrier.get("bound") == self.config.binds for carrier in carriers):
                break
            time.sleep(BOUND_POLL_S)
        ready_s = time.monotonic() - started
        self._redis = redis.Redis(unix_socket_path=str(self.directory / "run" / "server.sock"))
        self._server_pid = int(self._info()["process_id"])
        return ready_s

    def _toml(self) -> str:
        config = self.config
        binary = f"server_binary = {_json(config.server_binary)}\n" if config.server_binary else ""
        return f"""\
[node]
data = {_json(str(self.directory / "run"))}
[redis]
{binary}
[intake]
socket = {_json(str(self._socket))}
events_max = {max(1_000_000, config.messages)}
[[carrier]]
name = "carrier"
hosts = ["127.0.0.1:{self._port}"]
system_id = "{SYSTEM_ID}"
password = "{PASSWORD}"
binds = {config.binds}
rate = {config.carrier_rate}
window = {config.window}
history_s = {config.history_s}
{config.engine_toml}
[[route]]
prefix = []
carriers = ["carrier"]
"""

    # The run

    def _load(self, progress: Progress) -> LoadResult:
        config = self.config
        load = LoadConfig(
            socket=str(self._socket),
            messages=config.messages,
            batch=config.batch,
            in_flight=config.unanswered,
            backlog=config.backlog,
            rate=config.rate,
            one_at_a_time=config.idle,
            text=config.text,
            quiet_s=config.quiet_s,
            told=str(self.directory / "told.jsonl"),
        )
        accepted = progress.add_task("accepted", total=config.messages)
        reported = progress.add_task("reported", total=config.messages)
        client = self._spawn("client", "todoke.bench.load", ["--config-json", _json(load)])
        while True:
            line = msgspec.json.decode(client.line(), type=dict[str, Any])
            if "result" in line:
                result = msgspec.convert(line["result"], LoadResult)
                progress.update(accepted, completed=result.accepted)
                progress.update(reported, completed=result.reported)
                return result
            self._step(line["progress"], progress, (accepted, reported))

    def _step(self, counts: dict[str, int], progress: Progress, tasks: tuple[TaskID, TaskID]) -> None:
        """Now and then during the run: faults, memory, the progress bars."""
        config = self.config
        for task, name in zip(tasks, ("accepted", "reported"), strict=True):
            progress.update(task, completed=counts[name])
        part = counts["accepted"] / config.messages
        if config.aof_rewrite and not self._rewrote and part >= 0.4 and not config.idle:
            self._rewrote = True
            self._redis.bgrewriteaof()
        if config.kill_engine_at and self._restart_s is None and part >= config.kill_engine_at:
            self._kill()
        self._smsc.check()
        self._engine.check()
        self._used_memory()

    def _kill(self) -> None:
        """kill -9 in full flight, and start again at once."""
        names = ("engine", "redis") if self.config.kill_server_too else ("engine",)
        self._meter.close(*names)
        if self.config.kill_server_too:
            os.kill(self._server_pid, signal.SIGKILL)
        self._engine.kill()
        self._restart_s = round(self._start_engine(), 3)
        pids = {"engine": self._engine.pid, "redis": self._server_pid}
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
        auditor = Auditor()
        auditor.told(read_told(self.directory / "told.jsonl"))
        auditor.seen(self._seen())
        faults = 1 if self._restart_s is not None else 0
        return auditor.verdict(
            faults * 2 * config.window * config.binds, rate_allowed=int(config.carrier_rate)
        )

    def _seen(self) -> Iterator[LogRecord]:
        for record in read_log(self.directory / "smsc.log"):
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
        at = msgspec.json.decode((self.directory / "told.jsonl.at").read_bytes(), type=dict[str, float])
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


def _json(value: object) -> str:
    """JSON, whose strings are also TOML's."""
    return msgspec.json.encode(value).decode()


def run_dispatch(config: DispatchConfig) -> DispatchFigures:
    """One run. Raises `ProcessFailed` when a process does not start or ends by itself, OSError."""
    console = Console(stderr=True)
    directory = Path(config.directory or tempfile.mkdtemp(prefix="todoke-bench-")).resolve()
    directory.mkdir(parents=True, exist_ok=True)
    try:
        with ExitStack() as stack, Progress(console=console, transient=True) as progress:
            return Run(config, directory, stack)(progress)
    finally:
        if not config.directory:
            shutil.rmtree(directory, ignore_errors=True)


def main(arguments: list[str] | None = None) -> int:
    """Command line words in, exit code out: 0 when every promise was kept."""
    try:
        words = sys.argv[1:] if arguments is None else arguments
        config = flags.settings(DispatchConfig, words, "todoke bench dispatch --", __doc__ or "")
        figures = run_dispatch(config)
    except (msgspec.ValidationError, msgspec.DecodeError, ProcessFailed, OSError) as error:
        print(f"bench dispatch: {error}", file=sys.stderr)
        return 2
    print(_json(figures) if config.json else table(figures))
    return 0 if figures.audit.ok else 1


if __name__ == "__main__":
    sys.exit(main())
