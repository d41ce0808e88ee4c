"""What to do about a command_status: classes as data per carrier, one pure decision.

THROTTLE lower the rate now, send again, burns no attempt · BUSY exponential back-off, bounded · SESSION a
fault of the session, not of the message: send again, burns no attempt · ROUTE this carrier will not take it:
another may · PERMANENT final · PERMANENT_DESTINATION final, and no other carrier is tried · RETRY_ONCE once
more, then like ROUTE.

The default table is SMPP 5.0 section 4.7.6 (a superset of 3.4 section 5.1.3) read as an answer to submit_sm;
what a carrier means by a code of its own, or by one of these, is written in its configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
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
        StatusClass.BUSY: (c.ESME_RSYSERR, c.ESME_RMSGQFUL, c.ESME_RX_T_APPN, c.ESME_RSERTYPUNAVAIL),
        StatusClass.SESSION: (c.ESME_RINVCMDLEN, c.ESME_RINVBNDSTS),
        StatusClass.ROUTE: (
            *(c.ESME_RINVCMDID, c.ESME_RINVPRTFLG, c.ESME_RINVREGDLVFLG, c.ESME_RINVSRCADR),
            *(c.ESME_RINVSERTYP, c.ESME_RINVSUBREP, c.ESME_RINVESMCLASS, c.ESME_RINVREPFLAG),
            *(c.ESME_RINVSRCTON, c.ESME_RINVSRCNPI, c.ESME_RINVDSTTON, c.ESME_RINVDSTNPI),
            *(c.ESME_RINVSCHED, c.ESME_RINVEXPIRY),
            *(c.ESME_RINVTLVSTREAM, c.ESME_RTLVNOTALLWD, c.ESME_RINVTLVLEN, c.ESME_RMISSINGTLV),
            c.ESME_RINVTLVVAL,
            *(c.ESME_RSERTYPUNAUTH, c.ESME_RPROHIBITED, c.ESME_RINVDCS),
            *(c.ESME_RINVSRCADDRSUBUNIT, c.ESME_RINVDSTADDRSUBUNIT),
        ),
        StatusClass.PERMANENT: (
            *(c.ESME_RINVMSGLEN, c.ESME_RINVNUMDESTS, c.ESME_RINVDLNAME, c.ESME_RINVDESTFLAG),
            *(c.ESME_RCNTSUBDL, c.ESME_RINVNUMMSGS, c.ESME_RINVDFTMSGID),
            *(c.ESME_RX_P_APPN, c.ESME_RX_R_APPN, c.ESME_RSERTYPDENIED),
        ),
        StatusClass.PERMANENT_DESTINATION: (c.ESME_RINVDSTADR,),
        StatusClass.RETRY_ONCE: (c.ESME_RSUBMITFAIL, c.ESME_RUNKNOWNERR),
    }.items():
        table.update(dict.fromkeys(statuses, status_class))
    return table


CLASSES: Final[Mapping[int, StatusClass]] = _table()
"""Everything that is not named here is RETRY_ONCE: vendor codes (0x400 to 0x4FF), reserved ones, and those
that are no answer to submit_sm (of bind, query_sm, cancel_sm, replace_sm, broadcast_sm) and came anyway.
ESME_RDELIVERYFAILURE is told by its delivery_failure_reason, `REASONS`.
"""

REASONS: Final[Mapping[int, StatusClass]] = {
    0: StatusClass.BUSY,  # destination unavailable
    1: StatusClass.PERMANENT_DESTINATION,  # destination address invalid
    2: StatusClass.PERMANENT_DESTINATION,  # permanent network error
    3: StatusClass.BUSY,  # temporary network error
}
"""delivery_failure_reason (SMPP 3.4 section 5.3.2.33) -> class of an ESME_RDELIVERYFAILURE."""

NAMES_OF_3_4: Final[Mapping[str, int]] = {
    "ESME_RINVOPTPARSTREAM": c.ESME_RINVTLVSTREAM,
    "ESME_ROPTPARNOTALLWD": c.ESME_RTLVNOTALLWD,
    "ESME_RINVPARLEN": c.ESME_RINVTLVLEN,
    "ESME_RMISSINGOPTPARAM": c.ESME_RMISSINGTLV,
    "ESME_RINVOPTPARAMVAL": c.ESME_RINVTLVVAL,
}
"""Names that SMPP 5.0 changed: carriers' papers have both."""

STATUSES_BY_NAME: Final[Mapping[str, int]] = {
    **{name: command_status for command_status, name in c.STATUS_NAMES.items()},
    **NAMES_OF_3_4,
}

COMMAND_STATUS_MAX: Final = 0xFFFFFFFF
RANGE_CODES_MAX: Final = 0x1000
"""Most codes that one range of a configuration may name."""

BUSY_FIRST_S: Final = 2.0
BUSY_LONGEST_S: Final = 300.0
THROTTLE_S: Final = 1.0
SESSION_S: Final = 1.0
RETRY_ONCE_S: Final = 5.0


class Classes:
    """How one carrier's command_status are to be read: the default table, and what its configuration says
    otherwise. Does not change once made.
    """

    __slots__ = ("_overrides", "_table")

    def __init__(self, overrides: Mapping[int, StatusClass] | None = None) -> None:
        """`overrides`: command_status (1 to 0xFFFFFFFF) -> class."""
        self._overrides = dict(overrides or {})
        self._table = {**CLASSES, **self._overrides}

    def of(self, command_status: int, delivery_failure_reason: int | None = None) -> StatusClass:
        """The class of a refusal. `delivery_failure_reason` is that TLV's value if the answer had one; it
        tells only what the carrier's own table leaves open about ESME_RDELIVERYFAILURE.
        """
        found = self._table.get(command_status)
        if found is not None:
            return found
        if command_status == c.ESME_RDELIVERYFAILURE and delivery_failure_reason is not None:
            return REASONS.get(delivery_failure_reason, StatusClass.RETRY_ONCE)
        return StatusClass.RETRY_ONCE

    @property
    def overrides(self) -> dict[int, StatusClass]:
        """What the configuration says (a copy)."""
        return dict(self._overrides)


DEFAULT_CLASSES: Final = Classes()


def parse_classes(words: Mapping[str, str]) -> Classes:
    """The classes of a carrier from its configuration, `{"0x58": "throttle", "ESME_RSUBMITFAIL": "busy"}`.

    A key is a name of SMPP 3.4 or 5.0, a number (hexadecimal with 0x, or decimal) or a range of numbers
    (`0x400-0x4FF`); a single code wins over a range that has it. Raises ValueError with one line that
    names the key and what is allowed.
    """
    singles: dict[int, tuple[str, StatusClass]] = {}
    ranges: dict[int, tuple[str, StatusClass]] = {}
    for key, word in words.items():
        status_class = _class_of(key, word)
        first, last = _codes_of(key)
        into = singles if first == last else ranges
        for command_status in range(first, last + 1):
            other = into.setdefault(command_status, (key, status_class))
            if other[1] is not status_class:
                raise ValueError(f"{key!r} and {other[0]!r} say two things about 0x{command_status:X}")
    return Classes({code: found for code, (_, found) in {**ranges, **singles}.items()})


def _class_of(key: str, word: str) -> StatusClass:
    try:
        return StatusClass(word.strip().lower().replace("-", "_"))
    except ValueError:
        allowed = ", ".join(StatusClass)
        raise ValueError(f"{key!r}: {word!r} is no class of refusal; allowed: {allowed}") from None


def _codes_of(key: str) -> tuple[int, int]:
    """The first and the last command_status that a key names."""
    name = key.strip().upper()
    named = STATUSES_BY_NAME.get(name)
    if named is None:
        low, dash, high = name.partition("-")
        first = _number(key, low)
        last = _number(key, high) if dash else first
    else:
        first = last = named
    if not 1 <= first <= last <= COMMAND_STATUS_MAX or last - first >= RANGE_CODES_MAX:
        raise ValueError(
            f"{key!r} is no refusal; allowed: 0x1 to 0xFFFFFFFF, ranges of up to {RANGE_CODES_MAX} codes"
        )
    return first, last


def _number(key: str, digits: str) -> int:
    text = digits.strip()
    try:
        return int(text[2:], 16) if text.startswith("0X") else int(text)
    except ValueError:
        raise ValueError(
            f"{key!r} is no command_status; allowed: a name such as ESME_RTHROTTLED, a number such as 0x58, "
            "a range such as 0x400-0x4FF"
        ) from None


class Decision(NamedTuple):
    """`after_s` None = final here; `burns` = counts as an attempt; `elsewhere` = another carrier may be
    tried.
    """

    status_class: StatusClass
    after_s: float | None
    burns: bool
    elsewhere: bool


def decide(
    command_status: int,
    attempts: int,
    attempts_max: int,
    jitter: float,
    classes: Classes = DEFAULT_CLASSES,
    delivery_failure_reason: int | None = None,
) -> Decision:
    """What follows a refusal. `attempts` burnt before this one; `jitter` in [0, 1) spreads the retries;
    `classes` are the carrier's; `delivery_failure_reason` is that TLV's value if the answer had one.
    """
    status_class = classes.of(command_status, delivery_failure_reason)
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
