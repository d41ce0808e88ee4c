"""smpp_time: the examples of the specification; a relative time is never read as later than meant."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.codecs import smpp_time
from todoke.codecs.errors import TextError

DAY = 86_400


@pytest.mark.parametrize(
    ("seconds", "value"),
    [
        (1, b"000000000001000R"),
        (3_661, b"000000010101000R"),
        (30 * DAY + 86_399, b"000030235959000R"),
        (31 * DAY, b"000100000000000R"),
        (12 * 31 * DAY, b"010000000000000R"),
        (smpp_time.RELATIVE_SECONDS_MAX, b"990000000000000R"),
    ],
)
def test_relative(seconds: int, value: bytes):
    assert smpp_time.relative(seconds) == value


@pytest.mark.parametrize("seconds", [0, -1, smpp_time.RELATIVE_SECONDS_MAX + 1])
def test_relative_refuses(seconds: int):
    with pytest.raises(TextError):
        smpp_time.relative(seconds)


@given(st.integers(1, smpp_time.RELATIVE_SECONDS_MAX))
def test_relative_is_exact_in_days_and_never_later(seconds: int):
    value = smpp_time.relative(seconds)
    year, month, day, hour, minute, second = (int(value[at : at + 2]) for at in range(0, 12, 2))
    assert month <= 11
    assert day <= 30
    longest = ((year * 12 + month) * 31 + day) * DAY + hour * 3600 + minute * 60 + second
    assert longest == seconds
    parsed = smpp_time.parse(value)
    assert isinstance(parsed, timedelta)
    assert parsed <= timedelta(seconds=seconds)


def test_the_examples_of_the_specification():
    assert smpp_time.parse(b"020610233429000R") == timedelta(
        days=2 * 365 + 6 * 30 + 10, hours=23, minutes=34, seconds=29
    )
    assert smpp_time.parse(b"") is None


def test_absolute():
    zone = timezone(timedelta(hours=9))
    when = datetime(2026, 11, 21, 19, 30, 5, 300_000, tzinfo=zone)
    assert smpp_time.absolute(when) == b"261121103005300+"
    assert smpp_time.parse(b"261121193005336+") == when
    assert smpp_time.parse(b"261121053005320-") == when


@pytest.mark.parametrize(
    ("microsecond", "tenth"), [(0, b"0"), (99_999, b"0"), (100_000, b"1"), (199_999, b"1"), (999_999, b"9")]
)
def test_tenths_of_a_second_are_begun_ones(microsecond: int, tenth: bytes):
    assert (
        smpp_time.absolute(datetime(2026, 1, 1, 0, 0, 0, microsecond, UTC))
        == b"260101000000" + tenth + b"00+"
    )


EAST = timezone(timedelta(hours=9))
WEST = timezone(-timedelta(hours=12))


@pytest.mark.parametrize(
    ("when", "value"),
    [
        (datetime(2000, 1, 1, tzinfo=UTC), b"000101000000000+"),
        (datetime(2000, 1, 1, 9, tzinfo=EAST), b"000101000000000+"),
        (datetime(2099, 12, 31, 23, 59, 59, tzinfo=UTC), b"991231235959000+"),
        (datetime(2100, 1, 1, 8, tzinfo=EAST), b"991231230000000+"),
    ],
)
def test_the_first_and_the_last_absolute_time(when: datetime, value: bytes):
    assert smpp_time.absolute(when) == value


@pytest.mark.parametrize(
    "when",
    [
        datetime(2026, 1, 1),
        datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(2000, 1, 1, 8, tzinfo=EAST),
        datetime(2100, 1, 1, tzinfo=UTC),
        datetime(2100, 1, 1, 9, tzinfo=EAST),
        datetime(1, 1, 1, tzinfo=EAST),
        datetime(9999, 12, 31, 23, tzinfo=WEST),
    ],
)
def test_absolute_refuses(when: datetime):
    with pytest.raises(TextError):
        smpp_time.absolute(when)


@pytest.mark.parametrize(("value", "hours"), [(b"261121120000048+", 12), (b"261121120000048-", -12)])
def test_the_farthest_zone(value: bytes, hours: int):
    assert smpp_time.parse(value) == datetime(2026, 11, 21, 12, tzinfo=timezone(timedelta(hours=hours)))


@pytest.mark.parametrize(
    "value",
    [
        b"x",
        b"26112119300533",
        b"261321193005336+",
        b"261121193005349+",
        b"261121193005336Z",
        b"\xff" * 16,
        b"261121193005336+x",
        b"x261121193005336+",
        b"261121193005349-",
    ],
)
def test_what_is_no_time(value: bytes):
    with pytest.raises(TextError):
        smpp_time.parse(value)


@given(st.binary(max_size=20))
def test_any_octets_are_a_time_or_a_typed_error(value: bytes):
    with contextlib.suppress(TextError):
        smpp_time.parse(value)
    smpp_time.receipt_date(value.decode("latin-1"))


@pytest.mark.parametrize(
    ("raw", "when"),
    [
        ("2611211000", datetime(2026, 11, 21, 10, 0)),
        ("261121100059", datetime(2026, 11, 21, 10, 0, 59)),
        ("20261121100059", datetime(2026, 11, 21, 10, 0, 59)),
        ("180711070003912+", datetime(2018, 7, 11, 7, 0, 3, 900_000, tzinfo=timezone(timedelta(hours=3)))),
        ("0000000000", None),
        ("000000000000", None),
        ("020610233429000R", None),
        ("", None),
        ("never", None),
        ("123", None),
        ("2611211000592026", None),
        ("2611 11000", None),
        ("261121100٠", None),
        ("²²²²²²²²²²", None),
    ],
)
def test_receipt_dates(raw: str, when: datetime | None):
    assert smpp_time.receipt_date(raw) == when
