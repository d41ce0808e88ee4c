"""`todoke bench`: measurements on this machine."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Literal

from cyclopts import Parameter

from .errors import CliError
from .node import JsonOption


def bench(
    what: Literal["codec", "dispatch"],
    /,
    *settings: Annotated[str, Parameter(allow_leading_hyphen=True)],
    json: JsonOption = False,
) -> int:
    """Measure this installation on this machine.

    `codec`: our codec beside smpplib and smpp34 in one run, as ratios (needs the extra: `pip install
    'todoke[bench]'`). `dispatch`: client, engine, Redis and SMSC as processes of their own; rate, times,
    CPU and the audit.

    Parameters
    ----------
    what
        codec or dispatch.
    settings
        Settings of the benchmark as `--name value`; `todoke bench dispatch -- --help` lists them.
    """
    try:
        module = import_module(f"todoke.bench.{what}")
    except ModuleNotFoundError as error:
        raise CliError(f"bench {what} needs {error.name}: pip install 'todoke[bench]'") from None
    code: int = module.main([*settings, *(["--json"] if json else [])])
    return code
