"""Frames to requests: the typed way and the patient way say the same; what is wrong is named."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from todoke.engine.intake.errors import FrameError, RequestError
from todoke.engine.intake.frames import Spelling
from todoke.engine.intake.requests import (
    OPS,
    Ack,
    Cancel,
    Hello,
    Query,
    Request,
    Status,
    Submission,
    Subscribe,
    decode_patiently,
    decode_request,
)
from todoke.engine.messages import ERROR_CODES, REFUSAL_CODES, Refusal, SubmitMessage

BOTH = pytest.mark.parametrize("spelling", ["json", "msgpack"])


def spell(body: Any, spelling: Spelling) -> bytes:
    return msgspec.json.encode(body) if spelling == "json" else msgspec.msgpack.encode(body)


def outcome(frame: bytes, spelling: Spelling, decode: Any = decode_request) -> object:
    """A request, or the name and fields of the error."""
    try:
        return decode(frame, spelling, 10)
    except (RequestError, FrameError) as error:
        if isinstance(error, RequestError):
            return type(error).__name__, error.field, error.code, error.id
        return type(error).__name__, error.field, error.code


GOOD: list[tuple[dict[str, Any], Request]] = [
    ({"op": "hello"}, Hello()),
    ({"op": "hello", "id": None}, Hello(None)),
    ({"op": "subscribe", "id": 2}, Subscribe(2)),
    ({"op": "status", "id": "ü"}, Status("ü")),
    ({"id": -(2**63), "cursor": "c-1", "op": "ack"}, Ack("c-1", -(2**63))),
    ({"op": "query", "message_id": "m", "id": 2**63 - 1}, Query("m", 2**63 - 1)),
    ({"op": "cancel", "message_id": "m"}, Cancel("m")),
    ({"op": "submit", "messages": []}, Submission(UNSET, [], range(0), [], 0)),
    (
        {"op": "submit", "id": 1, "messages": [{"to": "1", "text": "x", "from": "s", "ref": None}]},
        Submission(1, [SubmitMessage("1", "x", "s")], range(1), [], 1),
    ),
]


@BOTH
@pytest.mark.parametrize(("body", "request_"), GOOD, ids=lambda value: str(value)[:40])
def test_good(body: dict[str, Any], request_: Request, spelling: Spelling) -> None:
    frame = spell(body, spelling)
    for decode in (decode_request, decode_patiently):
        got = decode(frame, spelling, 10)
        if isinstance(got, Submission):
            got.indexes = range(len(got.indexes))
        assert got == request_


BAD: list[tuple[Any, tuple[str | None, str, object]]] = [
    ([1], (None, "wrong_type", UNSET)),
    ("hello", (None, "wrong_type", UNSET)),
    ({}, ("op", "missing", UNSET)),
    ({"id": 7}, ("op", "missing", 7)),
    ({"id": "a", "op": 1}, ("op", "wrong_type", "a")),
    ({"id": 1, "op": "sumbit"}, ("op", "unknown_op", 1)),
    ({"id": 1, "op": "hello", "hi": 1}, ("hi", "unknown_key", 1)),
    ({"id": 1, "op": "hello", "cursor": "c"}, ("cursor", "unknown_key", 1)),
    ({"id": 1.5, "op": "hello"}, ("id", "wrong_type", UNSET)),
    ({"id": 2**63, "op": "hello"}, ("id", "wrong_type", UNSET)),
    ({"id": [], "op": "hello"}, ("id", "wrong_type", UNSET)),
    (7, (None, "wrong_type", UNSET)),
    ({"id": "x" * 129, "op": "hello"}, ("id", "wrong_type", UNSET)),
    ({"id": 1, "op": "ack"}, ("cursor", "missing", 1)),
    ({"id": 1, "op": "ack", "cursor": 5}, ("cursor", "wrong_type", 1)),
    ({"id": 1, "op": "ack", "cursor": "x" * 129}, ("cursor", "too_long", 1)),
    ({"id": 1, "op": "query", "message_id": "x" * 129}, ("message_id", "too_long", 1)),
    ({"id": 1, "op": "cancel", "message_id": None}, ("message_id", "wrong_type", 1)),
    ({"id": 1, "op": "submit"}, ("messages", "missing", 1)),
    ({"id": 1, "op": "submit", "messages": {}}, ("messages", "wrong_type", 1)),
    ({"id": 1, "op": "submit", "messages": [{"to": "1", "text": "x"}] * 11}, ("messages", "too_many", 1)),
    ({"id": 1, "op": "submit", "messages": [{}] * 11}, ("messages", "too_many", 1)),
]


@BOTH
@pytest.mark.parametrize(("body", "error"), BAD, ids=lambda value: str(value)[:40])
def test_bad_request(body: Any, error: tuple[str | None, str, object], spelling: Spelling) -> None:
    assert outcome(spell(body, spelling), spelling) == ("RequestError", *error)
    assert error[1] in ERROR_CODES


@pytest.mark.parametrize(
    ("frame", "spelling"),
    [
        (b"", "json"),
        (b"{", "json"),
        (b"{'op': 'hello'}", "json"),
        (b'{"op":"hello"} {"op":"hello"}', "json"),
        (b'{"op":"hello",}', "json"),
        (b'{"op":' + b"[" * 100_000, "json"),
        (b'{"op":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "json"),
        (b"[1", "json"),
        (b"garbage", "json"),
        (b'{"op":"a\tb"}', "json"),
        (b"", "msgpack"),
        (b"\xc1", "msgpack"),
        (b"\x81\xa2op", "msgpack"),
        (b"\x81\xa2op\xa5hello\xc0", "msgpack"),
        (b"\xdf\xff\xff\xff\xff", "msgpack"),
        (b"\xdd\xff\xff\xff\xff", "msgpack"),
        (b"\x91" * 100_000, "msgpack"),
        (b"garbage", "msgpack"),
        (b"\xff\xff", "msgpack"),
        (b"\xde\xad\xbe\xef", "msgpack"),
        (b"\x81\xa1\xff\xc0", "msgpack"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_bad_frame(frame: bytes, spelling: Spelling) -> None:
    assert outcome(frame, spelling) == ("FrameError", None, "bad_frame")


MESSAGES: list[tuple[Any, str | None, str | None]] = [
    ({"to": "1", "text": "good", "ref": "g"}, None, None),
    ({"to": "1", "texxt": "x", "ref": "r"}, "texxt", "unknown_key"),
    ({"text": "x"}, "to", "missing"),
    ({"to": 819012345678, "text": "x"}, "to", "wrong_type"),
    ({"to": None, "text": "x"}, "to", "wrong_type"),
    ({"to": "1", "text": ["x"]}, "text", "wrong_type"),
    ({"to": "1", "from": 32069000, "text": "x"}, "from", "wrong_type"),
    ({"to": "1", "ref": 7, "text": "x"}, "ref", "wrong_type"),
    ({"to": "1", "lane": "express"}, "lane", "unknown_lane"),
    ({"to": "1", "receipt": 1}, "receipt", "wrong_type"),
    ({"to": "1", "tags": "a"}, "tags", "wrong_type"),
    ({"to": "1", "tags": [1]}, "tags", "wrong_type"),
    ({"to": "1", "window": {"from": "08:00"}}, "window", "invalid_window"),
    (
        {"to": "1", "window": {"from": "08:00", "to": "09:00", "zone": "UTC", "day": []}},
        "window",
        "invalid_window",
    ),
    (
        {"to": "1", "window": {"from": "08:00", "to": "09:00", "zone": "UTC", "days": ["monday"]}},
        "window",
        "invalid_window",
    ),
    ({"to": "1", "at": 1795225800}, "at", "wrong_type"),
    ({"to": "1", "data": "not base64!"}, "data", "wrong_type"),
    ("+819012345678", None, "wrong_type"),
    (None, None, "wrong_type"),
    ([["to", "1"]], None, "wrong_type"),
    ({"to": "1", "text": "good"}, None, None),
]


@BOTH
@pytest.mark.parametrize("start", range(0, len(MESSAGES), 9))
def test_a_bad_message_is_refused_alone(spelling: Spelling, start: int) -> None:
    some = [MESSAGES[0], *MESSAGES[start : start + 9]]
    frame = spell({"op": "submit", "id": 1, "messages": [message for message, _, _ in some]}, spelling)
    got = decode_request(frame, spelling, 10)
    assert isinstance(got, Submission)
    good = [index for index, (_, _, code) in enumerate(some) if code is None]
    assert list(got.indexes) == good
    assert [message.text for message in got.messages] == ["good"] * len(good)
    assert [(refusal.index, refusal.field, refusal.code) for refusal in got.refused] == [
        (index, field, code) for index, (_, field, code) in enumerate(some) if code is not None
    ]
    for refusal in got.refused:
        assert refusal.code in REFUSAL_CODES
        assert refusal.detail
        message = some[refusal.index][0]
        ref = message.get("ref") if isinstance(message, dict) else None
        assert refusal.ref == (ref if isinstance(ref, str) else None)


HALVES = b'{"op":"submit","id":1,"messages":[{"to":"1","text":"good","ref":"g"},%s,{"to":"1","text":"good"}]}'


@pytest.mark.parametrize(
    ("message", "checked", "field", "code"),
    [
        (
            b'{"to":"1","text":"\\ud83d"}',
            True,
            None,
            None,
        ),  # read as half a pair; the check of the text refuses it
        (b'{"to":"1","text":"\xff\xfe"}', True, None, None),
        (b'{"to":"1","text":"\\ud83d","ref":"\xff"}', True, None, None),
        (b'{"to":"1","\\ud83d":1}', False, "?", "unknown_key"),
        (b'{"to":"1","text":"x","ref":"\\udc00"}', True, None, None),
        (b'{"to":"1","text":"x","tags":3,"ref":"\\udc00"}', False, "tags", "wrong_type"),
    ],
)
def test_text_that_is_none_spoils_only_its_message(
    message: bytes, checked: bool, field: str | None, code: str | None
) -> None:
    got = decode_request(HALVES % message, "json", 10)
    assert isinstance(got, Submission)
    assert got.messages[0].ref == "g"
    if checked and list(got.indexes) == [0, 1, 2]:
        bad = got.messages[1]
        with pytest.raises(UnicodeEncodeError):
            ((bad.text or "") + (bad.ref or "")).encode()
    else:
        assert list(got.indexes) == [0, 2]
        (refusal,) = got.refused
        assert (refusal.index, refusal.ref) == (1, None)
        assert refusal.code in ("invalid_text", code)
        assert refusal.field in ("text", field)


@pytest.mark.parametrize("text", [b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"])
@pytest.mark.parametrize("key", ["text", "to", "ref", "from", "at", "carrier"])
def test_octets_that_are_no_utf8_in_messagepack(text: bytes, key: str) -> None:
    body = {"op": "submit", "id": 1, "messages": [{"to": "1", key: "?" * len(text)}, {"to": "1"}]}
    frame = msgspec.msgpack.encode(body).replace(b"?" * len(text), text)
    got = decode_request(frame, "msgpack", 10)
    assert isinstance(got, Submission)
    assert list(got.indexes) == [1]
    assert [(refusal.index, refusal.field, refusal.code) for refusal in got.refused] == [
        (0, key, "invalid_text")
    ]


def test_what_is_refused_can_be_written() -> None:
    messages = b'{"\\ud800":1,"ref":"\\ud800"},{"to":"1","lane":"\\ud800"},{"to":"\\ud800"}'
    frame = b'{"op":"submit","messages":[' + messages + b"]}"
    got = decode_request(frame, "json", 10)
    assert isinstance(got, Submission)
    assert len(got.refused) >= 2
    msgspec.json.encode(got.refused)
    for line in (b'{"op":"hello","id":"\\ud800"}', b'{"op":"hello","\\ud800":1}', b'{"op":"\\ud800"}'):
        with pytest.raises(RequestError) as caught:
            decode_request(line, "json", 10)
        msgspec.json.encode([caught.value.field, caught.value.detail])


@BOTH
def test_binary(spelling: Spelling) -> None:
    frame = spell({"op": "submit", "messages": [{"to": "1", "data": b"\0\xff"}]}, spelling)
    for decode in (decode_request, decode_patiently):
        got = decode(frame, spelling, 10)
        assert isinstance(got, Submission)
        assert got.messages[0].data == b"\0\xff"


def test_every_op_has_a_struct() -> None:
    assert [name for name, keys in OPS.items() if keys == ("message_id",)] == ["query", "cancel"]
    for body, _ in GOOD:
        assert body["op"] in OPS


leaves = st.none() | st.booleans() | st.integers(-5, 2**65) | st.floats(allow_nan=False) | st.text(max_size=5)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)
fields = st.sampled_from(["to", "text", "from", "ref", "lane", "tags", "receipt", "window", "at", "nonsense"])
bodies = st.fixed_dictionaries(
    {},
    optional={
        "op": st.sampled_from([*OPS, "nope"]) | values,
        "id": st.integers(0, 9) | values,
        "messages": st.lists(
            st.dictionaries(fields, st.text(max_size=3) | values, max_size=5) | values, max_size=4
        ),
        "cursor": st.text(max_size=3) | values,
        "message_id": st.text(max_size=3) | values,
        "other": values,
    },
)


@given(bodies)
def test_the_typed_way_and_the_patient_way_agree(body: dict[str, Any]) -> None:
    line = json.dumps(body).encode()
    typed, patient = outcome(line, "json"), outcome(line, "json", decode_patiently)
    for each in (typed, patient):
        if isinstance(each, Submission):
            each.indexes = list(each.indexes)
    assert typed == patient


@given(st.binary(max_size=200), st.sampled_from(["json", "msgpack"]))
def test_garbage_gives_a_request_or_a_typed_error(data: bytes, spelling: Spelling) -> None:
    outcome(data, spelling)
    outcome(b"{" + data + b"}", spelling)


@given(st.data())
def test_a_damaged_frame_gives_a_request_or_a_typed_error(data: st.DataObject) -> None:
    spelling: Spelling = data.draw(st.sampled_from(["json", "msgpack"]))
    body = {
        "op": "submit",
        "id": 1,
        "messages": [{"to": "1", "text": "あx", "ref": "r"}, {"to": "2", "tags": ["a"]}],
    }
    frame = bytearray(spell(body, spelling))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    got = outcome(bytes(frame[: data.draw(st.integers(0, len(frame)))]), spelling)
    if isinstance(got, Submission):
        assert sorted([*got.indexes, *(refusal.index for refusal in got.refused)]) == list(range(got.count))
        msgspec.json.encode(got.refused)


def test_refusals_can_be_made_from_every_field() -> None:
    assert Refusal(0, None, None, "internal", "").retry_after_s is None
