"""SMPP time (3.4 section 7.1.1): `YYMMDDhhmmsstnnp`, absolute ("+", "-") or relative ("R"); and receipt
dates.

A deadline goes out relative, so that no clock and no zone of the SMSC can move it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from .errors import TextError

RELATIVE_SECONDS_MAX: Final = 99 * 12 * 31 * 86_400

_SHAPE = re.compile(rb"(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d)(\d\d)([-+R])", re.ASCII).fullmatch
_DATE_OCTETS: Final = {10: "%y%m%d%H%M", 12: "%y%m%d%H%M%S", 14: "%Y%m%d%H%M%S"}


def relative(seconds: int) -> bytes:
    """16 octets meaning "that long from when the SMSC gets it", 1 to RELATIVE_SECONDS_MAX seconds.

    Months are counted as 31 days and years as 12 such months: whatever calendar the SMSC uses, its reading is
    never later than ours. Up to 30 days no month is used and the value is exact. Raises TextError.
    """
    if not 0 < seconds <= RELATIVE_SECONDS_MAX:
        raise TextError("validity_period", "unencodable", f"must be 1 to {RELATIVE_SECONDS_MAX} seconds")
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    months, day = divmod(days, 31)
    year, month = divmod(months, 12)
    return b"%02d%02d%02d%02d%02d%02d000R" % (year, month, day, hour, minute, second)


def absolute(when: datetime) -> bytes:
    """16 octets for an aware `when`, in UTC, years 2000 to 2099. Raises TextError."""
    if when.tzinfo is None:
        raise TextError("schedule_delivery_time", "unencodable", "a time without a zone")
    try:
        utc = when.astimezone(UTC)
    except OverflowError:  # the first or the last day there is
        utc = when
    if not 2000 <= utc.year <= 2099:
        raise TextError("schedule_delivery_time", "unencodable", "the year must be 2000 to 2099")
    return utc.strftime("%y%m%d%H%M%S").encode() + b"%d00+" % (utc.microsecond // 100_000)


def parse(value: bytes) -> datetime | timedelta | None:
    """An aware datetime, or a timedelta for a relative time (years 365 days, months 30); None if it is empty.

    Raises TextError if the value is neither. Leading hundreds of the year are 20.
    """
    if not value:
        return None
    match = _SHAPE(value)
    if match is None:
        raise TextError("time", "unencodable", "must be 16 octets YYMMDDhhmmsstnnp")
    year, month, day, hour, minute, second, tenth, quarters = (int(group) for group in match.groups()[:8])
    if match[9] == b"R":
        days = year * 365 + month * 30 + day
        return timedelta(days=days, hours=hour, minutes=minute, seconds=second)
    if quarters > 48:
        raise TextError("time", "unencodable", "nn must be 00 to 48 quarter-hours")
    offset = timedelta(minutes=15 * quarters)
    try:
        return datetime(
            2000 + year,
            month,
            day,
            hour,
            minute,
            second,
            tenth * 100_000,
            tzinfo=timezone(offset if match[9] == b"+" else -offset),
        )
    except (ValueError, OverflowError):
        raise TextError("time", "unencodable", "no such date") from None


def receipt_date(raw: str) -> datetime | None:
    """The date of a receipt, of 10, 12 or 14 digits (no zone known) or an SMPP time; None if it is no date.

    Never an error: SMSCs write zeros and worse there, and a receipt is not refused for its date.
    """
    layout = _DATE_OCTETS.get(len(raw))
    try:
        if layout is not None and raw.isascii() and raw.isdigit():
            return datetime.strptime(raw, layout)  # the text carries no zone
        parsed = parse(raw.encode("ascii", "replace"))
    except (ValueError, TextError):
        return None
    return parsed if isinstance(parsed, datetime) else None
