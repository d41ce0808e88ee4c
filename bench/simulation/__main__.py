"""`python -m todoke.bench.simulation`: play seeds, judge them, print what they went through.

Exit code 0 when every promise was kept in every seed and 99.9 % of what could be delivered was, 1 when not, 2
for wrong arguments.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from .clock import HASH_SEED, ordered
from .deletions import DELETIONS
from .faults import KINDS
from .run import Outcome, main_of_one
from .scenario import SHAPES, Size
from .seeds import play_all
from .trial import try_without

PROGRESS_SEEDS: Final = 20
DELIVERED_SHARE: Final = 0.999
"""What a direct connection reaches, of the messages that the network could deliver."""
SHARE_OF_MIN: Final = 5_000
"""Of fewer messages one more or less would decide."""
LIST: Final = "list"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(prog="python -m todoke.bench.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many seeds to play")
    parser.add_argument("--from", type=int, default=1, dest="first", help="the first seed")
    parser.add_argument("--size", choices=list(SHAPES), default="hour", help="virtual length of a seed")
    parser.add_argument("--messages", type=int, help="messages in a seed instead of the size's own")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="seeds at a time")
    parser.add_argument(
        "--trace", action="store_true", help="only the first seed: its trace to standard output"
    )
    parser.add_argument("--json", action="store_true", help="one outcome a line, nothing else")
    parser.add_argument("--coverage", action="store_true", help="print every word of the coverage count")
    parser.add_argument(
        "--faults", type=_kinds, default=(), metavar="KIND,KIND", help="only these kinds of faults strike"
    )
    parser.add_argument(
        "--delete",
        nargs="?",
        const=LIST,
        default="",
        choices=[LIST, *DELETIONS],
        metavar="NAME",
        help="take a recovery branch out of the engine, and play until a seed fails; no name: list them",
    )
    options = parser.parse_args(arguments)
    if options.delete == LIST:
        _print_deletions()
        return 0
    if not ordered():
        # The order of sets is chosen when an interpreter starts: begin again with a fixed one.
        environment = {**os.environ, "PYTHONHASHSEED": HASH_SEED}
        again = [sys.executable, "-m", "todoke.bench.simulation", *arguments]
        return subprocess.run(again, env=environment, check=False).returncode
    size: Size = options.size
    if options.trace:
        outcome = main_of_one(options.first, size, options.messages, True, options.faults, options.delete)
        _print_failure(outcome)
        return 0 if outcome.ok else 1
    seeds = range(options.first, options.first + options.seeds)
    return _play_deleted(seeds, size, options) if options.delete else _play(seeds, size, options)


def _kinds(words: str) -> tuple[str, ...]:
    kinds = tuple(word for word in words.split(",") if word)
    unknown = [word for word in kinds if word not in KINDS]
    if unknown or not kinds:
        raise argparse.ArgumentTypeError(f"no such kind: {', '.join(unknown)}; there are {', '.join(KINDS)}")
    return kinds


def _print_deletions() -> None:
    for name, deletion in DELETIONS.items():
        print(f"{name}: {deletion.branch}. Recovers from: {deletion.recovers_from}. Without: {deletion.how}.")


def _play_deleted(seeds: range, size: Size, options: argparse.Namespace) -> int:
    """Until a seed fails: 1. 0: nobody missed the branch."""
    deletion = DELETIONS[options.delete]
    trial = try_without(options.delete, seeds, size, options.messages, options.jobs, options.faults)
    if options.json:
        print(msgspec.json.encode(trial).decode())
    elif trial.failed is None:
        print(f"without {deletion.branch} ({deletion.how}), {trial.played} seeds keep every promise")
    else:
        print(f"without {deletion.branch} ({deletion.how}), the seed played as number {trial.played} fails")
        _print_failure(msgspec.structs.replace(trial.failed, broken=trial.why))
    return 1 if trial.failed is not None else 0


def _play(seeds: range, size: Size, options: argparse.Namespace) -> int:
    began = time.perf_counter()
    coverage: Counter[str] = Counter()
    bad: list[int] = []
    messages = copies = doubled = deliverable = delivered = 0
    real_s = cpu_s = 0.0
    outcomes = play_all(seeds, size, options.messages, options.jobs, options.faults)
    for done, outcome in enumerate(outcomes, 1):
        for word, n in outcome.coverage.items():
            coverage[word] += n
        messages += outcome.messages
        copies += outcome.copies
        doubled += outcome.doubled
        deliverable += outcome.deliverable
        delivered += outcome.delivered
        real_s += outcome.real_s
        cpu_s += outcome.cpu_s
        if not outcome.ok:
            bad.append(outcome.seed)
        if options.json:
            print(msgspec.json.encode(outcome).decode(), flush=True)
            continue
        if not outcome.ok:
            _print_failure(outcome)
        if sys.stderr.isatty():
            print(f"\r{done}/{len(seeds)} seeds, {len(bad)} bad", end="", file=sys.stderr, flush=True)
        elif done % PROGRESS_SEEDS == 0:
            print(f"{done}/{len(seeds)} seeds, {len(bad)} bad", file=sys.stderr, flush=True)
    if options.json:
        return 1 if bad else 0
    if sys.stderr.isatty():
        print(file=sys.stderr)
    print(
        f"{len(seeds)} seeds of a virtual {size}: {messages} messages, {copies} parts taken,"
        f" {doubled} of them again; {len(bad)} seeds bad;"
        f" {time.perf_counter() - began:.1f} s, {real_s / max(1, len(seeds)):.2f} s a seed,"
        f" {cpu_s / max(1, len(seeds)):.2f} s of it CPU"
    )
    print(
        f"deliverable: {deliverable} messages, delivered of them: {delivered}"
        f" ({100 * delivered / max(1, deliverable):.3f} %)"
    )
    _print_coverage(coverage, everything=options.coverage)
    if bad:
        print("bad seeds:", *sorted(bad))
    short = deliverable >= SHARE_OF_MIN and delivered < DELIVERED_SHARE * deliverable
    if short:
        print(f"less than {DELIVERED_SHARE:.1%} of what could be delivered was")
    return 1 if bad or short else 0


def _print_failure(outcome: Outcome) -> None:
    if outcome.ok:
        return
    print(f"seed {outcome.seed}:")
    for line in outcome.broken:
        print("   ", line.rstrip().replace("\n", "\n    "))
    print("  again:", outcome.command, flush=True)


def _print_coverage(coverage: Counter[str], *, everything: bool) -> None:
    """Faults and branches always (those never reached are the ones to look at), the rest on demand."""
    groups: dict[str, list[str]] = {}
    for word, n in sorted(coverage.items()):
        kind, _, rest = word.partition(" ")
        groups.setdefault(kind, []).append(f"{rest} {n}")
    for kind, lines in groups.items():
        if everything or kind in ("fault", "branch"):
            print(f"{kind}:", ", ".join(lines))
    never = [word for word, n in sorted(coverage.items()) if not n]
    if never:
        print("never reached:", ", ".join(never))


if __name__ == "__main__":
    sys.exit(main())
