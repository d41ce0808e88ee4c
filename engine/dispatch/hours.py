"""When a message may be sent: its window of hours in its own zone, its expiry, its validity_period. Pure.

Wall-clock hours belong to a place: 21:00 in Tokyo is not 21:00 UTC, and a day with a daylight-saving change
has 23 or 25 hours. All arithmetic goes through the zone; results are milliseconds since 1970 UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from ..messages import Window

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
NEVER_MS: Final = 1 << 60
SPANS_LOOKED_AT: Final = 8
VALIDITY_LEAST_MS: Final = 1_000
"""The shortest validity_period: a message with less time than this is not sent."""


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _minutes(hours: str) -> int:
    hour, minute = hours.split(":")
    return int(hour) * 60 + int(minute)


def span(window: Window, now_ms: int) -> tuple[int, int]:
    """The allowed span that holds `now_ms`, or else the next one: (opens_ms, closes_ms).

    A window whose `from` is later than its `to` runs over midnight and belongs to the day on which it opens;
    equal ends mean the whole day. (NEVER_MS, NEVER_MS) if no day is allowed.
    """
    zone = _zone(window.zone)
    here = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(zone)
    opens, closes = _minutes(window.from_), _minutes(window.to)
    length = closes - opens if closes > opens else closes - opens + 24 * 60
    days = window.days
    for offset in range(-1, 9):
        day = here.date() + timedelta(days=offset)
        if days is not None and DAYS[day.weekday()] not in days:
            continue
        start = datetime(day.year, day.month, day.day, opens // 60, opens % 60, tzinfo=zone)
        end_day = day + timedelta(days=(opens + length) // (24 * 60))
        end_minute = (opens + length) % (24 * 60)
        end = datetime(
            end_day.year, end_day.month, end_day.day, end_minute // 60, end_minute % 60, tzinfo=zone
        )
        closes_ms = int(end.timestamp() * 1000)
        if closes_ms > now_ms:
            return int(start.timestamp() * 1000), closes_ms
    return NEVER_MS, NEVER_MS


def next_moment(window: Window, now_ms: int, least_ms: int = VALIDITY_LEAST_MS) -> int:
    """The first moment from now on at which there is time enough to send: `now_ms` itself if that is now.

    `least_ms`: how much time is enough. NEVER_MS if no span is that long.
    """
    opens_ms, closes_ms = span(window, now_ms)
    if closes_ms - max(opens_ms, now_ms) < least_ms:
        # The spans of a week may differ (days that end at a change of the clock).
        for _ in range(SPANS_LOOKED_AT):
            opens_ms, closes_ms = span(window, closes_ms)
            if closes_ms - opens_ms >= least_ms:
                break
        else:
            return NEVER_MS
    return max(opens_ms, now_ms)


def validity_s(expires_ms: int, window: Window | None, now_ms: int) -> int:
    """Seconds for which the carrier may still try from now, 0 = no limit was asked.

    Cut to the message's expiry and to the end of its window, whichever comes first.
    """
    limit_ms = expires_ms
    if window is not None:
        closes_ms = span(window, now_ms)[1]
        limit_ms = min(limit_ms, closes_ms) if limit_ms else closes_ms
    return max(1, (limit_ms - now_ms) // 1000) if limit_ms else 0
