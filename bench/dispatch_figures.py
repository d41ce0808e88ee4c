"""What `todoke bench dispatch` is told and what it tells: settings, figures, the printed table."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from .audit import Audit, summary
from .load import LoadResult

BUSY: Final = 0.9
"""A process with one thread that used more of a core than this could not do more."""


class DispatchConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One run of client, engine, Redis and SMSC. Times are seconds where the name says nothing else."""

    messages: int = 100_000
    window: int = 1_000
    binds: int = 1
    delay_ms: float = 0.0
    """The SMSC answers so late."""
    receipt_delay_ms: float = 0.0
    rate: float = 0.0
    """Messages a second offered (open loop); 0: as many as are taken (closed loop)."""
    carrier_rate: float = 0.0
    """Parts a second the carrier grants."""
    batch: int = 100
    unanswered: int = 4_000
    """Closed loop: messages submitted and not yet accepted."""
    backlog: int = 0
    """Closed loop: messages submitted and not yet reported; 0: no limit."""
    text: str = ""
    """Text behind a message's own eight digits; empty: 61 characters of GSM 7-bit in all."""
    in_flight: bool = False
    """The SMSC holds every receipt until it has all messages, then sends them shuffled."""
    states: dict[str, float] = {}
    """Final states other than delivered, as the simulator takes them."""
    idle: bool = False
    """One message at a time: how long from submit to the SMSC's hands."""
    kill_engine_at: float = 0.0
    """kill -9 the engine when this part (0..1) of the messages is accepted, and start it again."""
    kill_server_too: bool = False
    """The embedded server with it."""
    aof_rewrite: bool = True
    """Rewrite the append-only file in the middle of the run."""
    starts: int = 1
    """Start the engine so often on its empty ledger; ready_s is the median."""
    history_s: float = 600.0
    settle_s: float = 0.0
    """Afterwards wait so long, then look what is left in Redis (use with a short history_s)."""
    quiet_s: float = 60.0
    server_binary: str = ""
    engine_toml: str = ""
    """Lines added to the carrier's table."""
    directory: str = ""
    """Where everything is written; empty: a temporary directory, removed afterwards."""
    json: bool = False


class ProcessFigures(msgspec.Struct, frozen=True):
    """One process during the run. `busy` is its CPU time over the time that passed."""

    cpu_us_per_message: float
    busy: float
    rss_peak_mb: float


class Memory(msgspec.Struct, frozen=True):
    """Redis's used_memory in MB, and what a message in flight took at the peak."""

    start_mb: float
    peak_mb: float
    end_mb: float
    octets_per_message: float
    settled_mb: float | None
    keys_left: dict[str, int] | None
    """After settling: kind of key -> how many."""


class DispatchFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What a run measured. Rates are messages a second, from the first submit."""

    config: DispatchConfig
    cores: int
    accepted_per_s: float
    reported_per_s: float
    """Accepted, sent, answered, receipted, matched and told."""
    load: LoadResult
    processes: dict[str, ProcessFigures]
    saturated: str
    fsync_before_ms: dict[str, float]
    fsync_beside_ms: dict[str, float]
    round_trip_ms: dict[str, float]
    """Of one submit_sm at a time to the same SMSC, before the run."""
    sent_per_s: float
    """Parts a second as the SMSC saw them, from the first full window to the last part."""
    of_window: float | None
    """sent_per_s over binds x window / round trip."""
    hands_ms: dict[str, float]
    """Idle: from submit to the SMSC's hands."""
    ready_s: float
    """From starting the engine, embedded server included, until all its binds are bound."""
    restart_s: float | None
    aof_rewrites: int
    memory: Memory
    engine_exit: int
    smsc: dict[str, Any]
    audit: Audit

    @property
    def ok(self) -> bool:
        """Every promise was kept."""
        return self.audit.ok


def saturated(processes: dict[str, ProcessFigures], cores: int, of_window: float | None, rate: float) -> str:
    """In words, what kept the run from being faster."""
    name, busiest = max(processes.items(), key=lambda item: item[1].busy)
    total = sum(process.busy for process in processes.values())
    if total >= BUSY * cores:
        return f"all {cores} cores ({name} most)"
    if busiest.busy >= BUSY:
        return f"{name} (one core)"
    if of_window is not None and of_window >= BUSY:
        return "the window"
    if rate:
        return "the rate offered"
    return f"waiting (fsync, timers); busiest {name} at {busiest.busy:.0%} of a core"


def table(figures: DispatchFigures) -> str:
    """The figures for people."""
    load, memory = figures.load, figures.memory
    lines = [
        f"{load.messages:,} messages, {figures.config.binds} bind(s), window {figures.config.window}",
        f"rate       {figures.accepted_per_s:,.0f}/s accepted, {figures.sent_per_s:,.0f}/s sent, "
        f"{figures.reported_per_s:,.0f}/s reported; "
        f"saturated: {figures.saturated}",
        f"accept ms  p50 {load.accept_ms.p50:g}  p99 {load.accept_ms.p99:g}  max {load.accept_ms.max:g}",
        f"report ms  p50 {load.report_ms.p50:g}  p99 {load.report_ms.p99:g}  max {load.report_ms.max:g}",
    ]
    lines += [
        f"{name:<10} {process.cpu_us_per_message:6.2f} us of CPU a message, {process.busy:4.0%} of a core, "
        f"{process.rss_peak_mb:,.0f} MB at most"
        for name, process in figures.processes.items()
    ]
    lines.append(
        f"Redis      {memory.start_mb:.1f} MB before, {memory.peak_mb:.1f} at most "
        f"({memory.octets_per_message:.0f} octets a message of all), {memory.end_mb:.1f} after"
    )
    if memory.settled_mb is not None:
        lines.append(f"           {memory.settled_mb:.1f} MB when settled; keys {memory.keys_left}")
    lines.append(
        f"fsync ms   {_pair(figures.fsync_before_ms)} before, {_pair(figures.fsync_beside_ms)} beside the run"
        f"; AOF rewrites {figures.aof_rewrites}"
    )
    if figures.of_window is not None:
        lines.append(
            f"window     round trip {_pair(figures.round_trip_ms)} ms, "
            f"{figures.of_window:.1%} of binds x window / round trip"
        )
    if figures.hands_ms:
        lines.append(f"hands ms   {_pair(figures.hands_ms)} from submit to the SMSC")
    again = "" if figures.restart_s is None else f", {figures.restart_s:.2f} s after the kill"
    lines.append(f"ready      {figures.ready_s:.2f} s from start to bound{again}; exit {figures.engine_exit}")
    if load.reconnects or load.refused or load.put_off:
        lines.append(
            f"client     {load.reconnects} reconnects, {load.submitted_again:,} submitted again, "
            f"{load.duplicates:,} known already, {load.put_off:,} put off, refused {load.refused}"
        )
    return "\n".join([*lines, "", summary(figures.audit)])


def _pair(values: dict[str, float]) -> str:
    return "/".join(f"{name} {value:g}" for name, value in values.items()) or "not measured"
