"""The whole road as processes of their own: `todoke serve` with its embedded server, SMSCs, a client.

`bench dispatch` and `bench reach` stand on it: starting, waiting until every bind is bound, the client's
progress, ending everything whatever happens, the audit of what was told beside what was logged, and the
command around a run. What they do on the road and what they measure is theirs.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import msgspec
from rich.console import Console
from rich.progress import Progress

from . import flags
from .audit import Audit, Auditor
from .audit_files import read_told
from .load import LoadConfig, LoadResult
from .processes import START_S, ProcessFailed, Spawned, ask
from .smsc_config import ScenarioError, SmscConfig
from .smsc_log import LogRecord

SYSTEM_ID: Final = "todoke"
PASSWORD: Final = "secret"
BOUND_POLL_S: Final = 0.005
EXIT_INTERRUPTED: Final = 130


class Road:
    """The processes of one run in `directory`; they end with `stack`.

    What starts, waits or watches raises `ProcessFailed` when a process does not start or ends by itself.
    """

    engine: Spawned
    """The latest that `start_engine` started."""

    def __init__(self, directory: Path, stack: ExitStack, progress: Progress) -> None:
        self.data = directory / "run"
        self.data.mkdir(mode=0o750)
        self.socket = self.data / "todoke.sock"
        self.told = directory / "told.jsonl"
        self.directory = directory
        self._stack = stack
        self._progress = progress

    def log(self, smsc: str) -> Path:
        """What the SMSC of this name logs."""
        return self.directory / f"{smsc}.log"

    def _spawn(self, name: str, module: str, arguments: list[str]) -> Spawned:
        return self._stack.enter_context(Spawned(name, module, arguments, self.directory))

    # The SMSCs

    def start_smsc(self, name: str, config: SmscConfig) -> Spawned:
        """Its log, and what it counted, are for `audit` and `end_smsc`."""
        config = msgspec.structs.replace(config, log=str(self.log(name)), json=True)
        return self._spawn(name, "todoke.bench.smsc", ["--config-json", as_json(config)])

    def end_smsc(self, smsc: Spawned) -> dict[str, Any]:
        """Stop it; what it counted."""
        _, words = smsc.stop()
        return msgspec.json.decode(words.strip().splitlines()[-1], type=dict[str, Any])

    # The engine

    def start_engine(self, toml: str, binds: int) -> float:
        """Start it, again when it was stopped or killed; seconds until every carrier has `binds` bound."""
        path = self.directory / "todoke.toml"
        path.write_text(toml)
        started = time.monotonic()
        self.engine = self._spawn("engine", "todoke.engine.cli", ["serve", str(path)])
        self._stack.callback(self._end_engine)
        while not self._bound(binds):
            if time.monotonic() > started + START_S:
                raise ProcessFailed(
                    f"the engine was not bound within {START_S:g} s: {self.engine.last_words()}"
                )
            time.sleep(BOUND_POLL_S)
        return time.monotonic() - started

    def _bound(self, binds: int) -> bool:
        self.engine.check()
        with suppress(OSError, ProcessFailed):
            carriers: list[dict[str, Any]] = ask(self.socket, "status").get("carriers", [])
            return bool(carriers) and all(carrier.get("bound") == binds for carrier in carriers)
        return False

    def _end_engine(self) -> None:
        """With its embedded server, which would survive it."""
        with suppress(ProcessFailed):
            self.engine.stop()
        server = self.data / "server.pid"
        if server.exists():
            with suppress(ProcessLookupError, ValueError):
                os.kill(int(server.read_text()), signal.SIGTERM)

    def toml(self, *tables: str, server_binary: str, events_max: int) -> str:
        """The engine's configuration; `tables` are those of carriers and routes."""
        binary = f"server_binary = {as_json(server_binary)}\n" if server_binary else ""
        head = f"""\
[node]
data = {as_json(str(self.data))}
[redis]
{binary}
[intake]
socket = {as_json(str(self.socket))}
events_max = {events_max}
"""
        return "".join([head, *tables])

    # The client

    def load(self, config: LoadConfig, look: Callable[[dict[str, int]], None]) -> LoadResult:
        """Run the client to its end, shown as it goes; `look` is given its counts now and then."""
        bars = {
            name: self._progress.add_task(name, total=config.messages) for name in ("accepted", "reported")
        }
        client = self._spawn("client", "todoke.bench.load", ["--config-json", as_json(config)])
        while True:
            line = msgspec.json.decode(client.line(), type=dict[str, Any])
            counts = line.get("result") or line["progress"]
            for name, bar in bars.items():
                self._progress.update(bar, completed=counts[name])
            if "result" in line:
                return msgspec.convert(line["result"], LoadResult)
            look(counts)

    # The verdict

    def audit(self, *logs: Iterable[LogRecord], doubt_allowed: int, rate_allowed: int = 0) -> Audit:
        """What the client was told beside what the SMSCs logged."""
        auditor = Auditor()
        auditor.told(read_told(self.told))
        for log in logs:
            auditor.seen(log)
        return auditor.verdict(doubt_allowed, rate_allowed=rate_allowed)


def carrier_table(name: str, port: int, binds: int, rate: float, window: int, more: str) -> str:
    """A carrier at an SMSC of this machine, in TOML; `more`: lines of its own."""
    return f"""\
[[carrier]]
name = "{name}"
hosts = ["127.0.0.1:{port}"]
system_id = "{SYSTEM_ID}"
password = "{PASSWORD}"
binds = {binds}
rate = {rate}
window = {window}
{more}
"""


def route_table(prefixes: Iterable[str], carriers: Iterable[str]) -> str:
    """A route, in TOML."""
    return f"[[route]]\nprefix = {as_json(list(prefixes))}\ncarriers = {as_json(list(carriers))}\n"


def as_json(value: object) -> str:
    """JSON, whose strings and lists are also TOML's."""
    return msgspec.json.encode(value).decode()


@contextmanager
def open_road(directory: str) -> Generator[Road]:
    """A road in `directory`, which stays; empty: in a temporary one. Raises OSError."""
    path = Path(directory or tempfile.mkdtemp(prefix="todoke-bench-")).resolve()
    path.mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True)
    try:
        with ExitStack() as stack, Progress(console=console, transient=True) as progress:
            yield Road(path, stack, progress)
    finally:
        if not directory:
            shutil.rmtree(path, ignore_errors=True)


class Settings(Protocol):
    """What a run was told."""

    @property
    def json(self) -> bool: ...


class Figures(Protocol):
    """What a run measured. `ok`: every promise was kept."""

    @property
    def config(self) -> Settings: ...
    @property
    def ok(self) -> bool: ...


ConfigT = TypeVar("ConfigT", bound=msgspec.Struct)
FiguresT = TypeVar("FiguresT", bound=Figures)


def command(
    name: str,
    arguments: list[str] | None,
    description: str,
    kind: type[ConfigT],
    run: Callable[[ConfigT], FiguresT],
    table: Callable[[FiguresT], str],
) -> int:
    """`todoke bench NAME`: command line words in, figures printed, exit code out.

    0 when every promise was kept, 1 when one was broken, 2 with one line when there was no run, 130 after
    Ctrl-C.
    """
    try:
        words = sys.argv[1:] if arguments is None else arguments
        figures = run(flags.settings(kind, words, f"todoke bench {name} --", description))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except (msgspec.DecodeError, ScenarioError, ProcessFailed, OSError) as error:
        print(f"bench {name}: {error}", file=sys.stderr)
        return 2
    print(as_json(figures) if figures.config.json else table(figures))
    return 0 if figures.ok else 1
