"""What must hold for any octets on the local socket (`todoke.engine.intake`)."""

# An error that is let out is looked at where it is caught; there is no pytest here.
# ruff: noqa: PT017

from __future__ import annotations

import json
from typing import Any

import msgspec
from msgspec import UNSET
from todoke.engine.intake.errors import FrameError, MessageError, RequestError
from todoke.engine.intake.frames import LENGTH_OCTETS, FrameBuffer, Spelling, encode
from todoke.engine.intake.requests import Submission, decode_patiently, decode_request
from todoke.engine.intake.validate import check, validate
from todoke.engine.messages import (
    CLOSING_CODES,
    ERROR_CODES,
    REFUSAL_CODES,
    Refusal,
    SubmitMessage,
    Valid,
)

from .reading import Octets

FIELDS = ("to", "text", "from", "ref", "at", "expires", "lane", "carrier", "tags", "receipt", "data",
          "campaign", "window")  # fmt: skip
NOW_MS = 1_795_305_600_000
MESSAGES_MAX = 8
SPELLINGS: tuple[Spelling, ...] = ("json", "msgpack")


def _cut(
    pieces: list[bytes], octets_max: int
) -> tuple[list[bytes], str | None, Spelling | None, list[bytes]]:
    buffer = FrameBuffer(octets_max)
    frames = [frame for piece in pieces for frame in buffer.receive_data(piece)]
    error = buffer.error
    last = buffer.receive_eof()
    for found in (error, buffer.error):
        assert found is None or found.code in CLOSING_CODES
    assert error is None or buffer.receive_data(b"{}\n") == []
    return frames, None if error is None else error.code, buffer.spelling, last


def frames(data: bytes) -> None:
    """The same frames however the stream is cut, none above the limit, and each one a piece of it."""
    octets = Octets(data)
    octets_max = octets.choice((1_000, 16, 5, 70_000))
    step = octets.octet() + 1
    stream = octets.rest()
    found, code, spelling, last = _cut([stream], octets_max)
    assert all(len(frame) <= octets_max for frame in found)
    assert sum(map(len, found)) + sum(map(len, last)) <= len(stream)
    if spelling == "json":
        assert all(b"\n" not in frame and frame.strip(b" \t\r\n") for frame in found + last)
    elif spelling == "msgpack":
        start = stream.lstrip(b" \t\r\n")
        joined = b"".join(len(frame).to_bytes(LENGTH_OCTETS, "big") + frame for frame in found)
        assert start.startswith(joined)
        assert last == []
    else:
        assert not stream.strip(b" \t\r\n")
        assert found == last == []
    for size in (1, step):
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        assert _cut(pieces, octets_max) == (found, code, spelling, last)


def _outcome(frame: bytes, spelling: Spelling, decode: Any) -> Any:
    try:
        return decode(frame, spelling, MESSAGES_MAX)
    except RequestError as error:
        assert error.code in ERROR_CODES
        assert error.code not in CLOSING_CODES
        id_ = None if error.id is UNSET else error.id
        # The answer can be written in the caller's spelling.
        encode(spelling, {"id": id_, "error": {"field": error.field, "detail": error.detail}})
        return type(error), error.id, error.field, error.code
    except FrameError as error:
        assert error.code in CLOSING_CODES
        return type(error), error.code


def requests(data: bytes) -> None:
    """The typed way and the patient way say the same; only documented errors; both spellings agree."""
    octets = Octets(data)
    spelling = octets.choice(SPELLINGS)
    frame = octets.rest()
    outcome = _outcome(frame, spelling, decode_request)
    patient = _outcome(frame, spelling, decode_patiently)
    if isinstance(outcome, Submission):
        assert msgspec.structs.asdict(outcome) | {"indexes": list(outcome.indexes)} == (
            msgspec.structs.asdict(patient) | {"indexes": list(patient.indexes)}
        )
        submission(outcome, spelling)
    else:
        assert outcome == patient
        if isinstance(outcome, msgspec.Struct):
            _other_spelling(outcome, msgspec.to_builtins(outcome), spelling)


def submission(found: Submission, spelling: Spelling) -> None:
    """Each message is taken or refused once; refusals can be written; what is valid is within limits."""
    assert found.count <= MESSAGES_MAX
    indexes = list(found.indexes)
    assert len(indexes) == len(found.messages)
    assert sorted(indexes + [refusal.index for refusal in found.refused]) == list(range(found.count))
    valid, kept, refused = validate(found.messages, indexes, NOW_MS)
    assert sorted(kept + [refusal.index for refusal in refused]) == indexes
    for refusal in (*found.refused, *refused):
        assert refusal.code in REFUSAL_CODES
        for each in SPELLINGS:
            encode(each, refusal)
    for one in valid:
        taken(one)
    agree(found.messages)
    if not found.refused and not refused:
        body = {"op": "submit", "messages": found.messages} | ({} if found.id is UNSET else {"id": found.id})
        _other_spelling(found, body, spelling)


def agree(messages: list[SubmitMessage]) -> None:
    """`validate` lets through exactly what `check` does, with the same result."""
    for message in messages:
        valid, _, refused = validate([message], [5], NOW_MS)
        try:
            assert [check(message, NOW_MS)] == valid
        except MessageError as error:
            assert [(refusal.index, refusal.field, refusal.code) for refusal in refused] == [
                (5, error.field, error.code)
            ]


def taken(one: Valid) -> None:
    assert one.to.isascii()
    assert one.to.isdigit()
    assert 7 <= len(one.to) <= 15
    assert (one.text is None) != (one.data is None)
    assert one.text is None or 1 <= len(one.text) <= 39_015
    assert one.data is None or 1 <= len(one.data) <= 34_170
    assert 0 <= one.at_ms <= NOW_MS + 366 * 86_400_000
    assert one.expires_ms == 0 or max(NOW_MS, one.at_ms) < one.expires_ms
    assert len(one.sender) <= 20
    one.sender.encode("ascii")
    # It can be stored and read again as it is.
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(one), type=Valid) == one


def _other_spelling(found: Any, body: Any, spelling: Spelling) -> None:
    """The same object in the other spelling is the same request."""
    if spelling == "json":
        other: Spelling = "msgpack"
        frame = encode(other, body)[LENGTH_OCTETS:]
    else:
        other = "json"
        frame = encode(other, body)
    again = decode_request(frame, other, MESSAGES_MAX)
    if isinstance(found, Submission):
        assert isinstance(again, Submission)
        assert (again.id, again.messages) == (found.id, found.messages)
    else:
        assert again == found


def objects(data: bytes) -> None:
    """A message of any strings, in any field, is taken or refused by name; never anything else."""
    octets = Octets(data)
    fields: dict[str, Any] = {"to": "819012345678"}
    while octets:
        name = octets.choice(FIELDS)
        raw = octets.take(octets.octet() % 48)
        text = (
            raw.decode(
                octets.choice(("utf-8", "latin-1")), "surrogatepass" if octets.octet() & 1 else "replace"
            )
            if _decodable(raw)
            else raw.decode("latin-1")
        )
        if name == "data":
            fields[name] = raw
        elif name == "tags":
            fields[name] = text.split(",")
        elif name == "receipt":
            fields[name] = bool(octets.octet() & 1)
        elif name == "lane":
            fields[name] = octets.choice(("urgent", "normal", "bulk"))
        elif name == "window":
            start, _, end = text.partition("-")
            zone = octets.choice(("Asia/Tokyo", "UTC", text))
            days = octets.choice((None, [], ["mon"], ["mon", "mon"], ["sat", "sun"]))
            fields[name] = {"from": start, "to": end, "zone": zone, "days": days}
        else:
            fields[name] = text
    message = msgspec.convert(fields, SubmitMessage)
    agree([message])
    valid, _, refused = validate([message], [0], NOW_MS)
    assert len(valid) + len(refused) == 1
    for one in valid:
        taken(one)
    for refusal in refused:
        assert isinstance(refusal, Refusal)
        assert refusal.code in REFUSAL_CODES
        assert json.loads(encode("json", refusal))["index"] == 0
        assert "**" not in (refusal.detail or "")


def _decodable(raw: bytes) -> bool:
    try:
        raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True
