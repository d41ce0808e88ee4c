"""Fuzz the codecs, the intake and the session, guided by coverage (atheris: pip install 'todoke[fuzz]').

Each target has its turn in a process of its own. Inputs that reached something new are kept in WORK/corpus
and used again by the next run in the same directory; inputs that broke a property in WORK/findings, the
smallest one for each way of breaking it. A finding does not stop the run.
Exit status: 0 no findings, 1 findings, 2 wrong use.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

EXAMPLES = """
examples:
  python tests/fuzz/run.py framing --minutes 10
  python tests/fuzz/run.py all --minutes 60 --work /tmp/fuzz     an hour for all of them; corpus kept
  python tests/fuzz/run.py pdu receipt --minutes 5
  python tests/fuzz/run.py pdu --repeat /tmp/fuzz/findings/pdu-1a2b3c4d
  python tests/fuzz/run.py pdu --hex 00000010000000150000000000000001
  python tests/fuzz/run.py --list
"""
SECONDS_MIN = 10
UNIT_SECONDS_MAX = 20
"""An input that takes longer stops its process."""
UNIT_CPU_SECONDS_MAX = 0.5
"""An input that takes longer, again and again, is a finding: no target reads over 1,500 octets."""
MEMORY_MB_MAX = 2_048
OWN = Path(__file__).resolve()


class Done(NamedTuple):
    """What one process did."""

    executions: int
    features: int
    inputs: int


# --- the process that fuzzes --------------------------------------------------------------------------------


class Findings:
    """Writes each distinct failure once, as the smallest input seen."""

    def __init__(self, target: str, folder: Path) -> None:
        self.target = target
        self.folder = folder
        self.octets: dict[str, int] = {}

    def add(self, data: bytes, error: BaseException) -> None:
        mark = hashlib.sha1(_where(error).encode()).hexdigest()[:8]
        path = self.folder / f"{self.target}-{mark}"
        if mark not in self.octets:
            self.octets[mark] = path.stat().st_size if path.exists() else sys.maxsize
            print(
                f"\nFINDING {self.target}: {type(error).__name__}: {error}\n  {_where(error)}",
                file=sys.stderr,
            )
            print(f"  {_command(self.target, path)}\n", file=sys.stderr, flush=True)
        if len(data) < self.octets[mark]:
            self.octets[mark] = len(data)
            path.write_bytes(data)
            path.with_suffix(".txt").write_text("".join(traceback.format_exception(error)))


def _where(error: BaseException) -> str:
    """The way down to the failure, without line numbers of this file: what tells two failures apart."""
    lines: list[str] = [type(error).__name__]
    step: TracebackType | None = error.__traceback__
    while step is not None:
        path = Path(step.tb_frame.f_code.co_filename)
        if path != OWN:
            lines.append(f"{path.stem}:{step.tb_lineno}")
        step = step.tb_next
    return " ".join(lines)


class TooSlow(Exception):
    """An input of a few hundred octets took UNIT_CPU_SECONDS_MAX of processor time."""


def fuzz(name: str, seconds: int, work: Path) -> None:
    """Never returns: libFuzzer ends the process."""
    import atheris

    # Not the targets themselves: what leads further into the code under test is worth keeping, no more.
    with atheris.instrument_imports(include=["todoke"], enable_loader_override=False):
        from todoke_fuzz.targets import TARGETS
    from todoke_fuzz import mutator, seeds

    target = TARGETS[name]
    corpus, findings = work / "corpus" / name, Findings(name, work / "findings")
    for data in target.seeds():
        (corpus / hashlib.sha1(data).hexdigest()).write_bytes(data)
    dictionary = work / "words.dict"
    quoted = ("".join(f"\\x{octet:02x}" for octet in word) for word in seeds.WORDS)
    dictionary.write_text("".join(f'"{word}"\n' for word in quoted))

    def check(data: bytes) -> None:
        for attempt in range(3):
            started = time.thread_time()
            try:
                target.check(data)
            except Exception as error:
                findings.add(data, error)
            if time.thread_time() - started < UNIT_CPU_SECONDS_MAX:
                return
            if attempt == 2:
                findings.add(data, TooSlow(f"{len(data)} octets"))

    def mutate(data: bytes, octets_max: int, seed: int) -> bytes:
        return mutator.mutate_pdu(bytes(data), octets_max, seed, atheris.Mutate)

    arguments = [
        str(OWN),
        f"-max_total_time={seconds}",
        f"-max_len={target.octets_max}",
        f"-timeout={UNIT_SECONDS_MAX}",
        f"-rss_limit_mb={MEMORY_MB_MAX}",
        f"-artifact_prefix={findings.folder}/{name}-",
        f"-dict={dictionary}",
        "-print_final_stats=1",
        "-report_slow_units=60",
        str(corpus),
    ]
    atheris.Setup(arguments, check, **({"custom_mutator": mutate} if target.structured else {}))
    atheris.Fuzz()


# --- the process that is started ----------------------------------------------------------------------------


def _command(name: str, path: Path) -> str:
    return f"{Path(sys.executable).name} {Path(sys.argv[0])} {name} --repeat {path}"


def turn(name: str, seconds: int, work: Path) -> Done:
    """Let one target run for its time, in as many processes as it takes; show what it says of itself."""
    log = work / f"{name}.log"
    deadline = time.monotonic() + seconds
    total = Done(0, 0, 0)
    while (left := round(deadline - time.monotonic())) >= SECONDS_MIN:
        command = [sys.executable, str(OWN), name, "--work", str(work), "--child", str(left)]
        with log.open("w") as out:
            child = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
            try:
                child.wait()
            except KeyboardInterrupt:
                child.send_signal(signal.SIGINT)
                child.wait()
                raise
        text = log.read_text("utf-8", "replace")
        done = read_log(text)
        for finding in re.findall(r"^FINDING .*\n.*\n.*$", text, re.MULTILINE):
            print(finding, flush=True)
        total = Done(total.executions + done.executions, max(total.features, done.features), done.inputs)
        if child.returncode and not done.executions:
            raise SystemExit(f"{name}: the fuzzer did not start; see {log}\n{text[-2000:]}")
    return total


def read_log(text: str) -> Done:
    """What libFuzzer says: executions, features reached, inputs kept."""
    executed = re.findall(r"number_of_executed_units:\s+(\d+)", text) or re.findall(
        r"^#(\d+)", text, re.MULTILINE
    )
    features = re.findall(r" ft: (\d+) corp: (\d+)", text)
    last = features[-1] if features else (0, 0)
    return Done(int(executed[-1]) if executed else 0, int(last[0]), int(last[1]))


def repeat(name: str, data: bytes) -> int:
    """Check one input without a fuzzer, and show what it breaks."""
    from todoke_fuzz.targets import TARGETS

    print(f"{name}: {len(data)} octets: {data.hex()}")
    try:
        TARGETS[name].check(data)
    except Exception:
        traceback.print_exc()
        return 1
    print("holds")
    return 0


def run(names: list[str], minutes: float, work: Path) -> int:
    findings = work / "findings"
    for name in names:
        (work / "corpus" / name).mkdir(parents=True, exist_ok=True)
    findings.mkdir(exist_ok=True)
    seconds = max(SECONDS_MIN, int(minutes * 60 / len(names)))
    print(f"{len(names)} targets, {seconds} s each; corpus, findings and logs in {work}", flush=True)
    executions = 0
    try:
        for name in names:
            done = turn(name, seconds, work)
            executions += done.executions
            found = [path for path in findings.glob(f"{name}-*") if path.suffix != ".txt"]
            print(f"{name:14} {done.executions:>12,} executions {done.features:>7,} features "
                  f"{done.inputs:>6,} inputs {len(found):>3} findings", flush=True)  # fmt: skip
    except KeyboardInterrupt:
        print("stopped")
    everything = sorted(path for path in findings.iterdir() if path.suffix != ".txt")
    print(f"{executions:,} executions, {len(everything)} findings")
    for path in everything:
        print(_command(path.name.partition("-")[0], path))
    return 1 if everything else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="run.py",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="names of --list, or all")
    parser.add_argument("--minutes", type=float, default=10.0, help="for all targets together (default: 10)")
    parser.add_argument(
        "--work", type=Path, help="directory of corpus and findings (default: a new one in /tmp)"
    )
    parser.add_argument("--list", action="store_true", help="name the targets")
    parser.add_argument("--repeat", type=Path, metavar="FILE", help="check this input, without a fuzzer")
    parser.add_argument("--hex", metavar="OCTETS", help="the same, given in hexadecimal")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        fuzz(options.targets[0], options.child, options.work)
    from todoke_fuzz.targets import TARGETS

    if options.list:
        for name, target in TARGETS.items():
            print(f"{name:14} {' '.join((target.check.__doc__ or '').split())}")
        return 0
    names = list(TARGETS) if options.targets == ["all"] else options.targets
    if not names or not set(names) <= set(TARGETS):
        parser.error(f"name one or more of: all, {', '.join(TARGETS)}")
    if options.repeat or options.hex:
        return repeat(names[0], options.repeat.read_bytes() if options.repeat else bytes.fromhex(options.hex))
    try:
        import atheris  # noqa: F401  only whether it is there
    except ImportError:
        parser.error("needs atheris: pip install 'todoke[fuzz]' (Linux and macOS)")
    work = options.work or Path(tempfile.mkdtemp(prefix="todoke-fuzz."))
    return run(names, options.minutes, work.resolve())


if __name__ == "__main__":
    sys.exit(main())
