"""The objects of the socket: their spelling, their codes, and what their reprs keep quiet about."""

from __future__ import annotations

import msgspec
import pytest
from todoke.engine import messages
from todoke.engine.messages import (
    Accepted,
    Correction,
    ErrorBody,
    Event,
    Received,
    Refusal,
    Report,
    ReportError,
    SubmitAnswer,
    SubmitMessage,
    Valid,
    Window,
    hidden_number,
)

REPORT = Report("c", "m", "order-7", "delivered", "docomo", 1, 1, False, None, "2026-11-21T10:00:00Z")

SPELLINGS = [
    (Accepted("order-7", "m", 1), '{"ref":"order-7","message_id":"m","parts":1}'),
    (Accepted(None, "m", 1, duplicate=True), '{"ref":null,"message_id":"m","parts":1,"duplicate":true}'),
    (
        Refusal(3, "r", "to", "invalid_number", "d"),
        '{"index":3,"ref":"r","field":"to","code":"invalid_number","detail":"d","retry_after_s":null}',
    ),
    (ErrorBody(None, "unknown_op", "d"), '{"field":null,"code":"unknown_op","detail":"d"}'),
    (
        REPORT,
        '{"event":"report","cursor":"c","message_id":"m","ref":"order-7","state":"delivered","carrier":"docomo",'
        '"parts":1,"delivered_parts":1,"possibly_doubled":false,"error":null,"at":"2026-11-21T10:00:00Z"}',
    ),
    (
        Received("c", "+8190", "0032069000", "hi", None),
        '{"event":"received","cursor":"c","from":"+8190","to":"0032069000","text":"hi","in_reply_to":null}',
    ),
    (
        ReportError("permanent", 11, "3:45"),
        '{"class":"permanent","command_status":11,"network_error":"3:45"}',
    ),
    (Window("08:00", "21:00", "Asia/Tokyo"), '{"from":"08:00","to":"21:00","zone":"Asia/Tokyo","days":null}'),
]


@pytest.mark.parametrize(("body", "json"), SPELLINGS, ids=lambda value: type(value).__name__)
def test_spelling(body: msgspec.Struct, json: str) -> None:
    assert msgspec.json.encode(body).decode() == json
    assert msgspec.json.decode(json, type=type(body)) == body


@pytest.mark.parametrize("event", [REPORT, Correction(*msgspec.structs.astuple(REPORT)), SPELLINGS[5][0]])
def test_an_event_is_known_by_its_kind(event: Event) -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=Event) == event


def test_every_code_has_its_line_for_the_readme() -> None:
    codes = {
        value
        for name, value in vars(messages).items()
        if name.isupper() and isinstance(value, str) and name.lower() == value
    }
    assert codes == messages.REFUSAL_CODES.keys() | messages.ERROR_CODES.keys()
    assert codes >= messages.CLOSING_CODES
    for line in (*messages.REFUSAL_CODES.values(), *messages.ERROR_CODES.values()):
        assert line
        assert not line.endswith(".")


def test_outcomes_are_in_the_order_of_the_messages() -> None:
    refusals = [Refusal(index, None, "to", "no_route", "") for index in (4, 0, 2)]
    answer = SubmitAnswer([Accepted("b", "1", 1), Accepted("d", "2", 1)], refusals)
    kinds = [outcome.index if isinstance(outcome, Refusal) else outcome.ref for outcome in answer.outcomes()]
    assert kinds == [0, "b", 2, "d", 4]


@pytest.mark.parametrize(
    "body",
    [
        SubmitMessage("+819012345678", "the secret text"),
        Valid("819012345678", "0032069000", "the secret text"),
        Received("c", "+819012345678", "0032069000", "the secret text", None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_repr_tells_no_text_and_no_number(body: object) -> None:
    for shown in (repr(body), str([body])):
        assert "secret" not in shown
        assert "9012345678" not in shown


@pytest.mark.parametrize(
    ("number", "hidden"), [("+819012345678", "+8190********"), ("0032", "00**"), ("1", "*"), ("", "")]
)
def test_hidden_number(number: str, hidden: str) -> None:
    assert hidden_number(number) == hidden
