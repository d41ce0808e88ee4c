"""`todoke smsc`: the SMSC simulator alone."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from .errors import EXIT_OK, UsageError


def smsc(
    *settings: Annotated[str, Parameter(allow_leading_hyphen=True)],
    port: int = 2775,
    host: str = "127.0.0.1",
    system_id: str = "todoke",
    password: str = "secret",
    rate: int = 0,
    seed: int = 1,
    log: str | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Run the SMSC simulator until Ctrl-C. It takes every message and sends a receipt; nothing goes further.

    It prints `listening on HOST:PORT` when it is ready and its counts when it ends.

    Parameters
    ----------
    settings
        Any other setting as `--name value`: receipt_delay_s, states, errors, lost_responses,
        early_receipts, doubled_receipts, cut_every_s, id_form, rules ...
        (`todoke.bench.smsc_config.SmscConfig` has them all).
    port
        0: any free port.
    rate
        Parts a second; above it ESME_RTHROTTLED. 0: unlimited.
    log
        File for the log of accepted parts, which `todoke audit` reads.
    json
        Print the counts as JSON.
    """
    import msgspec

    from ...bench.smsc import config_of, run_smsc
    from ...bench.smsc_config import ScenarioError

    given = ["--port", str(port), "--host", host, "--rate-max", str(rate), "--seed", str(seed)]
    given += ["--accounts", msgspec.json.encode({system_id: password}).decode()]
    given += ["--log", log] if log else []
    given += ["--json"] if json else []
    try:
        run_smsc(config_of([*given, *settings]))
    except SystemExit:
        raise UsageError(f"smsc: cannot read {' '.join(settings)!r}") from None
    except (ScenarioError, msgspec.ValidationError, msgspec.DecodeError, OSError) as error:
        raise UsageError(f"smsc: {error}") from None
    return EXIT_OK
