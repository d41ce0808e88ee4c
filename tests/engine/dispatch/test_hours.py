"""Hours: in the zone's own clocks, over midnight, on days with 23 and 25 hours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.engine.dispatch import hours
from todoke.engine.messages import Window

TOKYO = "Asia/Tokyo"


def ms(text: str, zone: str = TOKYO) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def text(moment_ms: int, zone: str = TOKYO) -> str:
    return datetime.fromtimestamp(moment_ms / 1000, ZoneInfo(zone)).strftime("%Y-%m-%dT%H:%M")


def spans(window: Window, now: str) -> tuple[str, str]:
    opens, closes = hours.span(window, ms(now, window.zone))
    return text(opens, window.zone), text(closes, window.zone)


DAY = Window(from_="08:00", to="21:00", zone=TOKYO)
NIGHT = Window(from_="22:00", to="06:00", zone=TOKYO)


@pytest.mark.parametrize(
    ("now", "opens", "closes"),
    [
        ("2026-11-21T07:59", "2026-11-21T08:00", "2026-11-21T21:00"),
        ("2026-11-21T08:00", "2026-11-21T08:00", "2026-11-21T21:00"),
        ("2026-11-21T20:59", "2026-11-21T08:00", "2026-11-21T21:00"),
        ("2026-11-21T21:00", "2026-11-22T08:00", "2026-11-22T21:00"),
        ("2026-12-31T23:00", "2027-01-01T08:00", "2027-01-01T21:00"),
    ],
)
def test_a_day(now: str, opens: str, closes: str) -> None:
    assert spans(DAY, now) == (opens, closes)


@pytest.mark.parametrize(
    ("now", "opens", "closes"),
    [
        ("2026-11-21T21:59", "2026-11-21T22:00", "2026-11-22T06:00"),
        ("2026-11-21T23:59", "2026-11-21T22:00", "2026-11-22T06:00"),
        ("2026-11-22T05:59", "2026-11-21T22:00", "2026-11-22T06:00"),
        ("2026-11-22T06:00", "2026-11-22T22:00", "2026-11-23T06:00"),
    ],
)
def test_over_midnight(now: str, opens: str, closes: str) -> None:
    assert spans(NIGHT, now) == (opens, closes)


def test_a_night_belongs_to_the_day_on_which_it_opens() -> None:
    saturday_night = Window(from_="22:00", to="06:00", zone=TOKYO, days=["sat"])
    assert spans(saturday_night, "2026-11-22T01:00") == ("2026-11-21T22:00", "2026-11-22T06:00")
    assert spans(saturday_night, "2026-11-22T22:30") == ("2026-11-28T22:00", "2026-11-29T06:00")


def test_midnight_as_24_00() -> None:
    window = Window(from_="18:00", to="24:00", zone=TOKYO)
    assert spans(window, "2026-11-21T23:59") == ("2026-11-21T18:00", "2026-11-22T00:00")
    assert spans(window, "2026-11-22T00:00") == ("2026-11-22T18:00", "2026-11-23T00:00")


def test_one_day_a_week_is_found_from_any_day() -> None:
    monday = Window(from_="09:00", to="10:00", zone=TOKYO, days=["mon"])
    assert spans(monday, "2026-11-23T10:00") == ("2026-11-30T09:00", "2026-11-30T10:00")


def test_no_day_is_never() -> None:
    assert hours.span(Window(from_="09:00", to="10:00", zone=TOKYO, days=[]), 0) == (
        hours.NEVER_MS,
        hours.NEVER_MS,
    )


def test_days_of_23_and_25_hours_keep_the_hours_of_the_clocks() -> None:
    berlin = Window(from_="08:00", to="20:00", zone="Europe/Berlin")
    assert spans(berlin, "2026-03-29T01:00") == ("2026-03-29T08:00", "2026-03-29T20:00")
    assert spans(berlin, "2026-10-25T01:00") == ("2026-10-25T08:00", "2026-10-25T20:00")
    night = Window(from_="22:00", to="06:00", zone="Europe/Berlin")
    opens, closes = hours.span(night, ms("2026-03-28T23:00", "Europe/Berlin"))
    assert closes - opens == 7 * 3_600_000
    opens, closes = hours.span(night, ms("2026-10-24T23:00", "Europe/Berlin"))
    assert closes - opens == 9 * 3_600_000


ZONES = ("Asia/Tokyo", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "UTC")
clock = st.builds("{:02d}:{:02d}".format, st.integers(0, 23), st.integers(0, 59))


@given(
    st.sampled_from(ZONES), clock, clock,
    st.none() | st.lists(st.sampled_from(hours.DAYS), min_size=1, max_size=7, unique=True),
    st.datetimes(datetime(2024, 1, 1), datetime(2032, 1, 1), timezones=st.just(UTC)),
)  # fmt: skip
def test_a_span_is_the_one_that_holds_now_or_the_next(
    zone: str, from_: str, to: str, days: list[str] | None, now: datetime
) -> None:
    window = Window(from_=from_, to=to, zone=zone, days=days)  # type: ignore[arg-type]
    now_ms = int(now.timestamp() * 1000)
    opens_ms, closes_ms = hours.span(window, now_ms)
    assert now_ms < closes_ms
    assert (
        opens_ms < closes_ms or abs(closes_ms - opens_ms) <= 3_600_000
    )  # a gap of the clocks may swallow it
    opens = datetime.fromtimestamp(opens_ms / 1000, ZoneInfo(zone))
    assert days is None or any(
        hours.DAYS[(opens + timedelta(hours=shift)).weekday()] in days for shift in (-2, 0, 2)
    )
    assert opens_ms <= now_ms + 8 * 86_400_000


def test_the_next_moment_is_now_inside_and_the_opening_outside() -> None:
    now_ms = ms("2026-11-21T12:00")
    assert hours.next_moment(DAY, now_ms) == now_ms
    assert text(hours.next_moment(DAY, ms("2026-11-21T22:00"))) == "2026-11-22T08:00"


def test_the_last_second_of_a_window_is_too_late() -> None:
    closing_ms = ms("2026-11-21T21:00")
    assert hours.next_moment(DAY, closing_ms - 1_000) == closing_ms - 1_000
    assert text(hours.next_moment(DAY, closing_ms - 999)) == "2026-11-22T08:00"


def test_validity_ends_with_the_expiry_or_the_window_whichever_is_first() -> None:
    now_ms = ms("2026-11-21T20:00")
    assert hours.validity_s(0, None, now_ms) == 0
    assert hours.validity_s(now_ms + 90_500, None, now_ms) == 90
    assert hours.validity_s(0, DAY, now_ms) == 3_600
    assert hours.validity_s(now_ms + 60_000, DAY, now_ms) == 60
    assert hours.validity_s(now_ms + 7_200_000, DAY, now_ms) == 3_600


@given(st.integers(1_000, 10**9), st.sampled_from([None, DAY, NIGHT]))
def test_validity_never_reaches_past_what_it_stands_for(left_ms: int, window: Window | None) -> None:
    now_ms = ms("2026-11-21T20:00")
    if window is not None:
        now_ms = hours.next_moment(window, now_ms)
    seconds = hours.validity_s(now_ms + left_ms, window, now_ms)
    assert seconds >= 1
    assert seconds * 1000 <= left_ms
    assert window is None or now_ms + seconds * 1000 <= hours.span(window, now_ms)[1]


def test_a_carrier_that_goes_on_trying_needs_a_window_that_is_long_enough() -> None:
    evening = Window(from_="18:00", to="20:00", zone=TOKYO)
    opens = ms("2027-01-15 18:00")
    hour = 3_600_000
    assert hours.next_moment(evening, ms("2027-01-15 12:00"), hour) == opens
    assert hours.next_moment(evening, ms("2027-01-15 18:30"), hour) == ms("2027-01-15 18:30")
    assert hours.next_moment(evening, ms("2027-01-15 19:01"), hour) == opens + 24 * hour
    assert hours.next_moment(evening, ms("2027-01-15 12:00"), 3 * hour) == hours.NEVER_MS
