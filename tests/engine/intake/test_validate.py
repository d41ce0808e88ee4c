"""What a message may be, field by field."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.engine.intake.errors import MessageError
from todoke.engine.intake.validate import check, check_number, sender_fault, validate
from todoke.engine.messages import REFUSAL_CODES, SubmitMessage, Valid, Window

NOW_MS = 1_795_224_600_000  # 2026-11-21T01:30:00Z
TO = "+819012345678"


@pytest.mark.parametrize(
    ("to", "digits"),
    [
        ("+819012345678", "819012345678"),
        ("819012345678", "819012345678"),
        ("+812012345678901", "812012345678901"),  # a 14-digit Japanese 0200 number
        ("+12025550123", "12025550123"),
        ("+2901234", "2901234"),  # the shortest: Saint Helena, 290 and four digits
    ],
)
def test_numbers(to: str, digits: str) -> None:
    assert check_number(to) == digits


@pytest.mark.parametrize(
    ("to", "code", "word"),
    [
        ("", "empty", "no number"),
        ("+", "invalid_number", "only digits"),
        ("09012345678", "invalid_number", "national"),
        ("+09012345678", "invalid_number", "national"),
        ("0081901234567", "invalid_number", "dialling prefix"),
        ("+81 90 1234 5678", "invalid_number", "only digits"),
        ("+81-90-1234-5678", "invalid_number", "only digits"),
        ("++819012345678", "invalid_number", "only digits"),
        ("８１９０１２３４５６７８", "invalid_number", "only digits"),
        ("٨١٩٠١٢٣٤٥٦٧٨", "invalid_number", "only digits"),
        ("819012²", "invalid_number", "only digits"),
        ("819012345678\n", "invalid_number", "only digits"),
        ("123456", "invalid_number", "not 6"),
        ("+8190123456789012", "invalid_number", "not 16"),
    ],
)
def test_no_numbers(to: str, code: str, word: str) -> None:
    with pytest.raises(MessageError) as caught:
        check_number(to)
    assert (caught.value.field, caught.value.code) == ("to", code)
    assert validate([SubmitMessage(to, "x")], [0], 0)[2][0].code == code
    assert word in caught.value.detail


@pytest.mark.parametrize(
    "sender",
    ["", "0032069000", "20305", "0", "1" * 20, "+819012345678", "TODOKE", "Ab 1-2_&@$", "Todoke.Shop", "1A"],
)
def test_senders(sender: str) -> None:
    assert sender_fault(sender) is None


@pytest.mark.parametrize(
    "sender",
    [
        "1" * 21,
        "TODOKE SHOPS",
        "とどけ",
        "Café",
        "123-456",
        " TODOKE",
        "TODOKE ",
        "A\n",
        "A\0",
        "[A]",
        "A^",
        "+",
        "+0",
        "+8190123456789012",
        "１２３",
        "A{",
        "A`",
        "€A",
        "\ud800A",
    ],
)
def test_no_senders(sender: str) -> None:
    assert sender_fault(sender)


WINDOW = Window("08:00", "21:00", "Asia/Tokyo")

ACCEPTED = [
    ({"text": "x"}, {}),
    ({"text": "改行\r\nあり\t　\f🙂"}, {}),
    ({"text": "x" * 39_015}, {}),
    (
        {"text": "\ue000\u0378\ufeff\u200b"},
        {},
    ),  # private, unassigned, format characters: the carrier's alphabet decides
    ({"text": "x", "from_": "TODOKE"}, {"sender": "TODOKE"}),
    ({"data": b"\0"}, {"data": b"\0"}),
    ({"data": b"x" * 34_170}, {}),
    ({"text": "x", "ref": "r" * 64}, {"ref": "r" * 64}),
    ({"text": "x", "ref": "注文　7"}, {"ref": "注文　7"}),
    ({"text": "x", "lane": "urgent", "receipt": False}, {"lane": "urgent", "receipt": False}),
    ({"text": "x", "tags": ["a"] * 16, "carrier": "docomo", "campaign": "c"}, {"tags": ["a"] * 16}),
    ({"text": "x", "window": WINDOW}, {"window": WINDOW}),
    ({"text": "x", "window": Window("21:00", "08:00", "UTC", ["mon", "sun"])}, {}),
    ({"text": "x", "window": Window("00:00", "24:00", "America/Argentina/Ushuaia")}, {}),
    ({"text": "x", "at": "2026-11-21T10:30:00+09:00"}, {"at_ms": NOW_MS}),
    ({"text": "x", "at": "2026-11-21 01:30:00.5z"}, {"at_ms": NOW_MS + 500}),
    ({"text": "x", "at": "1969-12-31T23:59:59Z"}, {"at_ms": 1}),  # long past is not "none"
    ({"text": "x", "expires": "2026-11-21T01:30:00.001Z"}, {"expires_ms": NOW_MS + 1}),
    ({"text": "x", "at": "2026-11-20T00:00:00Z", "expires": "2026-11-21T02:00:00Z"}, {}),
]


@pytest.mark.parametrize(("fields", "expected"), ACCEPTED, ids=lambda value: ",".join(value))
def test_accepted(fields: dict[str, Any], expected: dict[str, object]) -> None:
    valid = check(SubmitMessage(TO, **fields), NOW_MS)
    assert valid.to == "819012345678"
    for name, value in expected.items():
        assert getattr(valid, name) == value
    assert validate([SubmitMessage(TO, **fields)], [7], NOW_MS) == ([valid], [7], [])


REFUSED = [
    ({}, "text", "missing"),
    ({"text": ""}, "text", "empty"),
    ({"text": "x" * 39_016}, "text", "too_long"),
    ({"text": "nul\0"}, "text", "invalid_text"),
    ({"text": "\x1b"}, "text", "invalid_text"),
    ({"text": "a\x0b"}, "text", "invalid_text"),
    ({"text": "\x7f"}, "text", "invalid_text"),
    ({"text": "\x85"}, "text", "invalid_text"),
    ({"text": "half \ud83d"}, "text", "invalid_text"),
    ({"text": "\udc00"}, "text", "invalid_text"),
    ({"text": "x", "data": b"x"}, "data", "text_and_data"),
    ({"text": "", "data": b"x"}, "data", "text_and_data"),
    ({"data": b""}, "data", "empty"),
    ({"data": b"x" * 34_171}, "data", "too_long"),
    ({"text": "x", "from_": "x" * 12}, "from", "invalid_sender"),
    ({"text": "x", "ref": ""}, "ref", "empty"),
    ({"text": "x", "ref": "r" * 65}, "ref", "too_long"),
    ({"text": "x", "ref": "a\nb"}, "ref", "invalid_text"),
    ({"text": "x", "ref": "\ud800"}, "ref", "invalid_text"),
    ({"text": "x", "carrier": ""}, "carrier", "empty"),
    ({"text": "x", "carrier": "x" * 65}, "carrier", "too_long"),
    ({"text": "x", "campaign": "x" * 65}, "campaign", "too_long"),
    ({"text": "x", "tags": ["a"] * 17}, "tags", "too_many"),
    ({"text": "x", "tags": ["a", ""]}, "tags", "empty"),
    ({"text": "x", "tags": ["x" * 65]}, "tags", "too_long"),
    ({"text": "x", "window": Window("8:00", "21:00", "UTC")}, "window", "invalid_window"),
    ({"text": "x", "window": Window("08:00", "24:01", "UTC")}, "window", "invalid_window"),
    ({"text": "x", "window": Window("08:00", "21:60", "UTC")}, "window", "invalid_window"),
    ({"text": "x", "window": Window("08:00", "08:00", "UTC")}, "window", "invalid_window"),
    ({"text": "x", "window": Window("24:00", "08:00", "UTC")}, "window", "invalid_window"),
    ({"text": "x", "window": Window("08:00", "21:00", "UTC", [])}, "window", "invalid_window"),
    ({"text": "x", "window": Window("08:00", "21:00", "UTC", ["mon", "mon"])}, "window", "invalid_window"),
    ({"text": "x", "window": Window("08:00", "21:00", "Asia/Edo")}, "window", "unknown_zone"),
    ({"text": "x", "window": Window("08:00", "21:00", "../../etc/passwd")}, "window", "unknown_zone"),
    ({"text": "x", "window": Window("08:00", "21:00", "/etc/localtime")}, "window", "unknown_zone"),
    ({"text": "x", "window": Window("08:00", "21:00", "Asia")}, "window", "unknown_zone"),
    ({"text": "x", "window": Window("08:00", "21:00", "")}, "window", "unknown_zone"),
    ({"text": "x", "window": Window("08:00", "21:00", "\0")}, "window", "unknown_zone"),
    ({"text": "x", "window": Window("08:00", "21:00", "\ud800")}, "window", "unknown_zone"),
    ({"text": "x", "at": "2026-11-21T10:30:00"}, "at", "invalid_time"),
    ({"text": "x", "at": "2026-11-21"}, "at", "invalid_time"),
    ({"text": "x", "at": "2026-11-21T10:30+09:00"}, "at", "invalid_time"),
    ({"text": "x", "at": "2026-02-30T10:30:00Z"}, "at", "invalid_time"),
    ({"text": "x", "at": "2026-11-21T25:30:00Z"}, "at", "invalid_time"),
    ({"text": "x", "at": "0000-11-21T25:30:00Z"}, "at", "invalid_time"),
    ({"text": "x", "at": "tomorrow"}, "at", "invalid_time"),
    ({"text": "x", "at": "２０２６-11-21T10:30:00Z"}, "at", "invalid_time"),
    ({"text": "x", "at": ""}, "at", "invalid_time"),
    ({"text": "x", "at": "2027-11-23T10:30:00Z"}, "at", "too_far"),
    ({"text": "x", "expires": "9999-12-31T23:59:59-23:59"}, "expires", "too_far"),
    ({"text": "x", "expires": "2026-11-21T01:30:00Z"}, "expires", "expired"),
    ({"text": "x", "expires": "0001-01-01T00:00:00+23:59"}, "expires", "expired"),
    (
        {"text": "x", "at": "2026-11-21T03:00:00Z", "expires": "2026-11-21T03:00:00Z"},
        "expires",
        "expired",
    ),
]


@pytest.mark.parametrize(("fields", "field", "code"), REFUSED, ids=lambda value: ascii(value)[:60])
def test_refused(fields: dict[str, Any], field: str, code: str) -> None:
    message = SubmitMessage(TO, **fields)
    good = SubmitMessage(TO, "good")
    valid, kept, refused = validate([good, message, good], [0, 1, 2], NOW_MS)
    assert kept == [0, 2]
    assert [each.text for each in valid] == ["good", "good"]
    (refusal,) = refused
    assert (refusal.index, refusal.field, refusal.code) == (1, field, code)
    assert code in REFUSAL_CODES
    assert refusal.detail
    refusal.detail.encode()
    (refusal.ref or "").encode()


def test_a_number_is_not_told_in_a_detail() -> None:
    for to in ("09012345678", "+81 9012345678", "90123456789012345678"):
        (_, _, (refusal,)) = validate([SubmitMessage(to, "x")], [0], 0)
        assert not re.search(r"\d{4}", refusal.detail)


anything = st.one_of(st.none(), st.text(max_size=70))
messages = st.builds(
    SubmitMessage,
    to=st.one_of(st.text(max_size=20), st.from_regex(r"\+?[0-9]{5,17}", fullmatch=True)),
    text=st.one_of(anything, st.text(st.characters(categories=None), max_size=10)),
    from_=st.one_of(st.just(""), st.text(max_size=22)),
    ref=anything,
    at=st.one_of(st.none(), st.just("2026-11-21T03:00:00Z")),
    tags=st.one_of(st.none(), st.lists(st.text(max_size=3), max_size=2)),
    lane=st.sampled_from(["urgent", "normal", "bulk"]),
    receipt=st.booleans(),
    data=st.one_of(st.none(), st.none(), st.binary(max_size=3)),
    campaign=st.one_of(st.none(), st.text(max_size=3)),
)


@given(st.lists(messages, max_size=5))
def test_the_hot_path_decides_as_the_whole_rule(batch: list[SubmitMessage]) -> None:
    indexes = range(3, 3 + len(batch))
    valid, kept, refused = validate(batch, indexes, NOW_MS)
    expected: dict[int, Valid | str] = {}
    for index, message in zip(indexes, batch, strict=True):
        try:
            expected[index] = check(message, NOW_MS)
        except MessageError as error:
            expected[index] = f"{error.field} {error.code}"
    got: dict[int, Valid | str] = dict(zip(kept, valid, strict=True))
    got |= {refusal.index: f"{refusal.field} {refusal.code}" for refusal in refused}
    assert got == expected
