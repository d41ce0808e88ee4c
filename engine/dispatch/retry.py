"""What to do about a command_status: classes as data, one pure decision.

THROTTLE lower the rate now, send again, burns no attempt · BUSY exponential back-off, bounded · SESSION a
fault of the session, not of the message: send again, burns no attempt · ROUTE this carrier will not take it:
another may · PERMANENT final · PERMANENT_DESTINATION final, and no other carrier is tried · RETRY_ONCE once
more, then like ROUTE.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from ...codecs import constants as c


class StatusClass(StrEnum):
    """What kind of refusal a command_status is; the module's docstring says what follows from each."""

    THROTTLE = "throttle"
    BUSY = "busy"
    SESSION = "session"
    ROUTE = "route"
    PERMANENT = "permanent"
    PERMANENT_DESTINATION = "permanent_destination"
    RETRY_ONCE = "retry_once"


def _table() -> dict[int, StatusClass]:
    table: dict[int, StatusClass] = {}
    for status_class, statuses in {
        StatusClass.THROTTLE: (c.ESME_RTHROTTLED,),
        StatusClass.BUSY: (c.ESME_RSYSERR, c.ESME_RMSGQFUL, c.ESME_RX_T_APPN, 0x102),
        StatusClass.SESSION: (c.ESME_RINVCMDLEN, c.ESME_RINVBNDSTS),
        StatusClass.ROUTE: (
            *(0x03, 0x06, 0x07, 0x0A, 0x15, 0x42, 0x43, 0x48, 0x49, 0x50, 0x51, 0x54, 0x61, 0x62),
            *(0xC0, 0xC1, 0xC2, 0xC3, 0xC4, 0x100, 0x101, 0x104, 0x105, 0x106),
        ),
        StatusClass.PERMANENT: (0x01, 0x33, 0x34, 0x40, 0x44, 0x55, 0x63, 0x65, 0x66, 0x103),
        StatusClass.PERMANENT_DESTINATION: (c.ESME_RINVDSTADR,),
        StatusClass.RETRY_ONCE: (c.ESME_RSUBMITFAIL, 0xFF),
    }.items():
        table.update(dict.fromkeys(statuses, status_class))
    return table


CLASSES: Final = _table()
"""Everything that is not named here, vendor codes included, is RETRY_ONCE."""

BUSY_FIRST_S: Final = 2.0
BUSY_LONGEST_S: Final = 300.0
THROTTLE_S: Final = 1.0
SESSION_S: Final = 1.0
RETRY_ONCE_S: Final = 5.0


class Decision(NamedTuple):
    """`after_s` None = final here; `burns` = counts as an attempt; `elsewhere` = another carrier may be
    tried.
    """

    status_class: StatusClass
    after_s: float | None
    burns: bool
    elsewhere: bool


def decide(command_status: int, attempts: int, attempts_max: int, jitter: float) -> Decision:
    """What follows a refusal. `attempts` burnt before this one; `jitter` in [0, 1) spreads the retries."""
    status_class = CLASSES.get(command_status, StatusClass.RETRY_ONCE)
    spread = 0.75 + 0.5 * jitter
    if status_class is StatusClass.THROTTLE:
        return Decision(status_class, THROTTLE_S * spread, burns=False, elsewhere=False)
    if status_class is StatusClass.SESSION:
        # What an SMSC twice cannot read it will never read.
        unreadable = command_status == c.ESME_RINVCMDLEN
        if unreadable and attempts:
            return Decision(status_class, None, burns=True, elsewhere=False)
        return Decision(status_class, SESSION_S * spread, burns=unreadable, elsewhere=False)
    if status_class is StatusClass.BUSY:
        if attempts + 1 >= attempts_max:
            return Decision(status_class, None, burns=True, elsewhere=True)
        pause_s = min(BUSY_LONGEST_S, BUSY_FIRST_S * 2.0 ** min(attempts, 16))
        return Decision(status_class, pause_s * spread, burns=True, elsewhere=True)
    if status_class is StatusClass.RETRY_ONCE and attempts == 0 and attempts_max > 1:
        return Decision(status_class, RETRY_ONCE_S * spread, burns=True, elsewhere=True)
    elsewhere = status_class in (StatusClass.ROUTE, StatusClass.RETRY_ONCE)
    return Decision(status_class, None, burns=True, elsewhere=elsewhere)
