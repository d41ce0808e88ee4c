"""`todoke audit`: were the promises kept?"""

from __future__ import annotations

from pathlib import Path

from .errors import CliError, UsageError
from .node import JsonOption


def audit(
    *,
    told: list[Path],
    smsc: list[Path],
    doubt_allowed: int = 0,
    open_allowed: bool = False,
    rate_allowed: int = 0,
    json: JsonOption = False,
) -> int:
    """Compare what apps were told was accepted and reported with what the simulated SMSCs saw.

    Prints how many messages were lost, doubled, unreported or reported wrongly; exit 1 when a promise is
    broken.

    Parameters
    ----------
    told
        File of `todoke send --told` or of a benchmark; may be given several times.
    smsc
        Log of `todoke smsc --log`; may be given several times.
    doubt_allowed
        Parts that faults of the run may have doubled.
    open_allowed
        The node is still at work: messages without a final report are no fault yet.
    rate_allowed
        Parts in any second that an account may have sent; 0: not judged.
    """
    from ...bench.audit import main_audit
    from ...bench.audit_files import ToldFormatError
    from ...bench.smsc_log import LogFormatError

    if not told or not smsc:
        raise UsageError("audit: --told and --smsc are needed")
    try:
        return main_audit(
            told,
            smsc,
            doubt_allowed=doubt_allowed,
            open_allowed=open_allowed,
            rate_allowed=rate_allowed,
            json=json,
        )
    except OSError as error:
        raise CliError(f"cannot read {error.filename}: {error.strerror}") from None
    except (ToldFormatError, LogFormatError) as error:
        raise CliError(str(error)) from None
