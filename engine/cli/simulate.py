"""`todoke simulate`: the engine on a virtual clock, under faults drawn from seeds."""

from __future__ import annotations

import os
from typing import Annotated, Literal

from cyclopts import Parameter

from .errors import CliError
from .node import JsonOption


def simulate(
    *,
    seeds: int = 20,
    first: Annotated[int, Parameter(name="--from")] = 1,
    size: Literal["minutes", "hour", "day"] = "hour",
    messages: int | None = None,
    jobs: int | None = None,
    faults: str = "",
    delete: str = "",
    trace: bool = False,
    coverage: bool = False,
    json: JsonOption = False,
) -> int:
    """Play seeds: the real engine in several processes on one account, on a virtual clock, under faults.

    Prints what broke and the command that repeats it, how much of what could be delivered was, and which
    faults and recovery branches were reached; exit 1 when a promise is broken.

    Parameters
    ----------
    seeds
        How many seeds to play.
    first
        The first seed.
    size
        Virtual length of a seed.
    messages
        Messages in a seed instead of the size's own number.
    jobs
        Seeds at a time; default one for each processor.
    faults
        Only these kinds of faults strike, by their names: kill,store_lost.
    delete
        Take this recovery branch out of the engine, and play until a seed fails; `list` prints them all.
    trace
        Write the trace of the first seed to standard output, and play no other.
    coverage
        Print every word of the coverage count.
    """
    try:
        from ...bench.simulation.__main__ import main
    except ModuleNotFoundError as error:
        raise CliError(f"{error}: pip install 'todoke[bench]'") from None
    words = ["--seeds", str(seeds), "--from", str(first), "--size", size]
    words += ["--jobs", str(jobs or os.cpu_count() or 1)]
    if messages is not None:
        words += ["--messages", str(messages)]
    if faults:
        words += ["--faults", faults]
    if delete:
        words += ["--delete", delete]
    words += ["--trace"] * trace + ["--coverage"] * coverage + ["--json"] * json
    return main(words)
