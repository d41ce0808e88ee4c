"""`todoke bench reach`: do 99.9 % of what a faulty network can deliver arrive, and at what price?

    todoke bench reach
    todoke bench reach --messages 5000 --rate 100 --spell-after-s 5 --spell-s 10 --json
    todoke bench reach --cut-every-s 0 --spell-s 0 --lost-responses 0

Real processes: `todoke serve` with the embedded server, two simulated SMSCs, a load client. Two routes name
both carriers, each another one first. The SMSCs lose responses, throttle above the contract, refuse
everything for a while, cut binds, tell receipts before responses or twice, and write ids in every form; some
handsets are away for a while, some do not exist. The verdict comes from the seed, the SMSCs' logs and what
the client was told (`reach_network`, `audit`). Exit 1 when a promise was broken, 130 after Ctrl-C.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.progress import Progress

from . import flags
from .audit import Audit, Auditor
from .audit_files import Accepted, Reported, read_told
from .load import LoadConfig, LoadResult
from .load_wire import destination, is_long
from .population import Population
from .processes import START_S, ProcessFailed, Spawned, ask
from .reach_figures import (
    CARRIERS,
    Deliverable,
    Doubt,
    ReachConfig,
    ReachConfigError,
    ReachFigures,
    requirements,
    table,
)
from .reach_network import CarrierSeen, Ceiling, Plan, copies, first_seen, unforeseen
from .smsc_config import ScenarioError, SmscConfig
from .smsc_log import read_log

SYSTEM_ID: Final = "todoke"
PASSWORD: Final = "secret"
BOUND_POLL_S: Final = 0.02
PREFIXES: Final = (range(5), range(5, 10))
"""The digit after 8190 that tells which carrier a number's route names first."""
EXIT_INTERRUPTED: Final = 130


class Run:
    """One run in `directory`, from starting everything to the figures."""

    def __init__(self, config: ReachConfig, directory: Path, stack: ExitStack) -> None:
        self.config = config
        self.directory = directory
        self._stack = stack
        (directory / "run").mkdir(mode=0o750)
        self._socket = directory / "run" / "todoke.sock"
        self._population = Population(config.seed, config.gone, config.away, config.away_s)

    def __call__(self, progress: Progress) -> ReachFigures:
        smscs = {name: self._smsc(name, index) for index, name in enumerate(CARRIERS)}
        ports = [int(smsc.line().rpartition(":")[2]) for smsc in smscs.values()]
        engine = self._stack.enter_context(self._engine(ports))
        load = self._load(progress, [engine, *smscs.values()])
        status = ask(self._socket, "status")["carriers"]
        engine_exit, _ = engine.stop()
        words = {name: smsc.stop()[1] for name, smsc in smscs.items()}
        counts = {
            name: msgspec.json.decode(text.strip().splitlines()[-1], type=dict[str, Any])
            for name, text in words.items()
        }
        return self._judge(load, status, engine_exit, counts)

    # The processes

    def _spawn(self, name: str, module: str, arguments: list[str]) -> Spawned:
        return self._stack.enter_context(Spawned(name, module, arguments, self.directory))

    def _smsc(self, name: str, index: int) -> Spawned:
        config = self.config
        smsc = SmscConfig(
            accounts={SYSTEM_ID: PASSWORD},
            smsc_id=name,
            seed=config.seed * len(CARRIERS) + index,
            id_start=1_000_000_000 * (index + 1),
            id_form=config.id_form,
            binds_max=config.binds,
            rate_max=config.rate,
            window_max=config.window,
            response_delay_s=config.response_delay_s,
            response_jitter_s=config.response_jitter_s,
            lost_responses=config.lost_responses,
            receipt_delay_s=config.receipt_delay_s,
            receipt_jitter_s=config.receipt_jitter_s,
            early_receipts=config.early_receipts,
            doubled_receipts=config.doubled_receipts,
            handsets_seed=config.seed,
            gone=config.gone,
            away=config.away,
            away_s=config.away_s,
            spells=config.spells[index],
            cut_every_s=config.cut_every_s,
            log=str(self._log(name)),
            json=True,
        )
        return self._spawn(name, "todoke.bench.smsc", ["--config-json", _json(smsc)])

    def _log(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    @contextmanager
    def _engine(self, ports: list[int]) -> Iterator[Spawned]:
        """The engine, all its binds up. Ended with its embedded server, which would survive it."""
        path = self.directory / "todoke.toml"
        path.write_text(self._toml(ports))
        server = self.directory / "run" / "server.pid"
        with Spawned("engine", "todoke.engine.cli", ["serve", str(path)], self.directory) as engine:
            try:
                self._wait_until_bound(engine)
                yield engine
            finally:
                with suppress(ProcessFailed):
                    engine.stop()
                if server.exists():
                    with suppress(ProcessLookupError, ValueError):
                        os.kill(int(server.read_text()), signal.SIGTERM)

    def _wait_until_bound(self, engine: Spawned) -> None:
        until = time.monotonic() + START_S
        while True:
            engine.check()
            with suppress(OSError, ProcessFailed):
                carriers: list[dict[str, Any]] = ask(self._socket, "status").get("carriers", [])
                if carriers and all(carrier.get("bound") == self.config.binds for carrier in carriers):
                    return
            if time.monotonic() > until:
                raise ProcessFailed(f"the engine was not bound within {START_S:g} s: {engine.last_words()}")
            time.sleep(BOUND_POLL_S)

    def _toml(self, ports: list[int]) -> str:
        config = self.config
        binary = f"server_binary = {_json(config.server_binary)}\n" if config.server_binary else ""
        text = f"""\
[node]
data = {_json(str(self.directory / "run"))}
[redis]
{binary}
[intake]
socket = {_json(str(self._socket))}
events_max = {max(1_000_000, config.messages * 2)}
"""
        for name, port in zip(CARRIERS, ports, strict=True):
            text += f"""\
[[carrier]]
name = "{name}"
hosts = ["127.0.0.1:{port}"]
system_id = "{SYSTEM_ID}"
password = "{PASSWORD}"
binds = {config.binds}
rate = {config.rate}
window = {config.window}
response_timeout_s = {config.response_timeout_s}
in_doubt = "hold"
hold_s = {config.hold_s}
{config.engine_toml}
"""
        for digits, carriers in zip(PREFIXES, (CARRIERS, CARRIERS[::-1]), strict=True):
            prefixes = [f"8190{digit}" for digit in digits]
            text += f"[[route]]\nprefix = {_json(prefixes)}\ncarriers = {_json(carriers)}\n"
        return text

    def _load(self, progress: Progress, watched: list[Spawned]) -> LoadResult:
        config = self.config
        load = LoadConfig(
            socket=str(self._socket),
            messages=config.messages,
            long=config.long,
            rate=config.offered,
            validity_s=config.validity_s,
            quiet_s=config.quiet_s,
            told=str(self.directory / "told.jsonl"),
        )
        bars = {name: progress.add_task(name, total=config.messages) for name in ("accepted", "reported")}
        client = self._spawn("client", "todoke.bench.load", ["--config-json", _json(load)])
        while True:
            line = msgspec.json.decode(client.line(), type=dict[str, Any])
            counts = line.get("result") or line["progress"]
            for name, bar in bars.items():
                progress.update(bar, completed=counts[name])
            if "result" in line:
                return msgspec.convert(line["result"], LoadResult)
            for process in watched:
                process.check()

    # The verdict

    def _judge(
        self,
        load: LoadResult,
        status: list[dict[str, Any]],
        engine_exit: int,
        smsc: dict[str, dict[str, Any]],
    ) -> ReachFigures:
        config, population = self.config, self._population
        # First what could be done, without a look at what the engine did.
        deliverable, ceiling = self._ceiling()
        seen = {name: CarrierSeen(read_log(self._log(name))) for name in CARRIERS}
        surprises = unforeseen(seen.values(), population)
        waited = first_seen(seen.values(), len(CARRIERS), preferred)
        rates = {
            name: each.used(config.rate, config.binds, spells, times)
            for (name, each), spells, times in zip(seen.items(), config.spells, waited, strict=True)
        }
        sent_twice = copies(list(seen.values()), population)
        # Then what the application was told, and what the engine says of its doubts.
        delivered, missed = self._delivered(deliverable)
        counts = [carrier["counts"] for carrier in status]
        doubt = Doubt(
            in_doubt=sum(each["in_doubt"] for each in counts),
            suspects=sum(each.suspects for each in seen.values()),
            settled=sum(each["settled"] for each in counts),
            copies=sent_twice,
        )
        audit = self._audit(doubt.in_doubt)
        reached = Deliverable(
            messages=config.messages,
            deliverable=ceiling.deliverable,
            gone=ceiling.gone,
            too_late=ceiling.too_late,
            delivered=delivered,
            missed=missed,
            unforeseen=surprises,
        )
        asked = requirements(config, reached, doubt, rates, audit)
        return ReachFigures(
            config=config,
            ok=all(each.ok is not False for each in asked),
            requirements=asked,
            wall_s=round(load.reported_at - load.started, 1),
            deliverable=reached,
            doubt=doubt,
            rates=rates,
            refused={name: dict(each.refused) for name, each in seen.items()},
            cuts={name: each.cuts for name, each in seen.items()},
            audit=audit,
            load=load,
            status=status,
            engine_exit=engine_exit,
            smsc=smsc,
        )

    def _ceiling(self) -> tuple[set[str], Ceiling]:
        """The destinations of the deliverable messages."""
        config = self.config
        plan = Plan(
            rates=[float(config.rate)] * len(CARRIERS),
            spells=config.spells,
            validity_s=config.validity_s,
            receipt_s=config.receipt_s,
        )
        ceiling = Ceiling(plan, self._population)
        deliverable: set[str] = set()
        for number in range(config.messages):
            to = destination(number)[1:]
            submitted_s = number / config.offered if config.offered else 0.0
            if ceiling.message(to, 2 if is_long(number, config.long) else 1, submitted_s):
                deliverable.add(to)
        return deliverable, ceiling

    def _told(self) -> Iterator[Accepted | Reported]:
        return read_told(self.directory / "told.jsonl")

    def _delivered(self, deliverable: set[str]) -> tuple[int, dict[str, int]]:
        """(how many of the deliverable were reported delivered, last states of the others)."""
        to: dict[str, str] = {}
        states: dict[str, str] = {}
        for record in self._told():
            if isinstance(record, Accepted):
                to[record.message_id] = record.to.removeprefix("+")
            else:
                states[to[record.message_id]] = record.state
        missed = Counter(states.get(each, "none") for each in deliverable)
        return missed.pop("delivered", 0), dict(missed.most_common())

    def _audit(self, doubt_allowed: int) -> Audit:
        auditor = Auditor()
        auditor.told(self._told())
        for name in CARRIERS:
            auditor.seen(read_log(self._log(name)))
        return auditor.verdict(doubt_allowed)


def preferred(to: str) -> int:
    """Which carrier (an index into CARRIERS) the route of this number (digits) names first."""
    return next(index for index, digits in enumerate(PREFIXES) if int(to[4]) in digits)


def _json(value: object) -> str:
    """JSON, whose strings and lists are also TOML's."""
    return msgspec.json.encode(value).decode()


def run_reach(config: ReachConfig) -> ReachFigures:
    """One run. Raises `ProcessFailed` when a process does not start or ends by itself, OSError."""
    console = Console(stderr=True)
    directory = Path(config.directory or tempfile.mkdtemp(prefix="todoke-reach-")).resolve()
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
        config = flags.settings(ReachConfig, words, "todoke bench reach --", __doc__ or "")
        figures = run_reach(config)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except (
        msgspec.ValidationError,
        msgspec.DecodeError,
        ReachConfigError,
        ScenarioError,
        ProcessFailed,
        OSError,
    ) as error:
        print(f"bench reach: {error}", file=sys.stderr)
        return 2
    print(_json(figures) if config.json else table(figures))
    return 0 if figures.ok else 1


if __name__ == "__main__":
    sys.exit(main())
