"""`todoke bench`: measurements on this machine."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from .errors import CliError
from .node import JsonOption

ROUNDS = 15


def bench(
    what: Literal["codec", "dispatch", "reach"],
    /,
    *settings: Annotated[str, Parameter(allow_leading_hyphen=True)],
    json: JsonOption = False,
) -> int:
    """Measure this installation on this machine.

    `codec`: our codec beside smpplib and smpp34 in one run, as ratios (needs the extra: `pip install
    'todoke[bench]'`); exit 1 if a required ratio is missed. `dispatch`: client, engine, Redis and SMSC as
    processes of their own; rate, times, CPU and the audit; exit 1 if a promise is broken. `reach`: the same
    with two carriers and many faults; what was delivered of what could be, what was sent twice, how the
    contracted rates were used; exit 1 if a promise is broken.

    Parameters
    ----------
    what
        codec, dispatch or reach.
    settings
        Settings of the benchmark as `--name value`; `todoke bench WHAT -- --help` lists them.
    """
    words = [*settings, *(["--json"] if json else [])]
    if what == "dispatch":
        from ...bench.dispatch import main

        return main(words)
    if what == "reach":
        from ...bench.reach import main as main_reach

        return main_reach(words)
    return _codec(words)


def _codec(words: list[str]) -> int:
    import argparse

    from ...bench.codec import MissingContestant, main_codec

    parser = argparse.ArgumentParser(prog="todoke bench codec --", allow_abbrev=False)
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, help=f"rounds of every measurement, default {ROUNDS}"
    )
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(words)
    try:
        return main_codec(rounds=given.rounds, json=given.json)
    except MissingContestant as error:
        raise CliError(f"{error}: pip install 'todoke[bench]'") from None
