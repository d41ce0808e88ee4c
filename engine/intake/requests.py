"""Frames -> requests. Two ways with one result: typed and whole, or field by field.

The first decodes a frame into Structs in one call; nearly every frame ends there. A frame that this refuses
is read again with patience, so that a bad message is refused alone, by field and code, and the rest of its
frame is served. Only what is no JSON or no MessagePack at all is a FrameError.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, TypeAlias, cast

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from ..messages import (
    BAD_FRAME,
    CARRIER_CHARACTERS_MAX,
    CURSOR_CHARACTERS_MAX,
    ID_CHARACTERS_MAX,
    INVALID_TEXT,
    INVALID_WINDOW,
    MESSAGE_ID_CHARACTERS_MAX,
    MISSING,
    TOO_LONG,
    TOO_MANY,
    UNKNOWN_KEY,
    UNKNOWN_LANE,
    UNKNOWN_OP,
    WRONG_TYPE,
    Lane,
    Refusal,
    RequestId,
    SubmitMessage,
    Window,
)
from .errors import FrameError, MessageError, RequestError
from .frames import Spelling
from .validate import safe_ref

_KEY_SHOWN_CHARACTERS_MAX: Final = 64
COMMAND_CHARACTERS_MAX: Final = 32
TRACED_COMMANDS_MAX: Final = 64

Id: TypeAlias = (
    Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
    | Annotated[str, Meta(max_length=ID_CHARACTERS_MAX)]
    | UnsetType
    | None
)


class Hello(msgspec.Struct, tag_field="op", tag="hello", forbid_unknown_fields=True):
    """What are your limits?"""

    id: Id = UNSET


class Subscribe(msgspec.Struct, tag_field="op", tag="subscribe", forbid_unknown_fields=True):
    """Tell me this app's events from the first unacknowledged one, for ever."""

    id: Id = UNSET


class Status(msgspec.Struct, tag_field="op", tag="status", forbid_unknown_fields=True):
    """How is the node?"""

    id: Id = UNSET


class Ack(msgspec.Struct, tag_field="op", tag="ack", forbid_unknown_fields=True):
    """The app is done with every event up to `cursor`."""

    cursor: Annotated[str, Meta(max_length=CURSOR_CHARACTERS_MAX)]
    id: Id = UNSET


class Query(msgspec.Struct, tag_field="op", tag="query", forbid_unknown_fields=True):
    """What became of a message?"""

    message_id: Annotated[str, Meta(max_length=MESSAGE_ID_CHARACTERS_MAX)]
    id: Id = UNSET


class Cancel(msgspec.Struct, tag_field="op", tag="cancel", forbid_unknown_fields=True):
    """Do not send a message, if it is not too late."""

    message_id: Annotated[str, Meta(max_length=MESSAGE_ID_CHARACTERS_MAX)]
    id: Id = UNSET


CarrierAct: TypeAlias = Literal["list", "pause", "resume", "rate", "window"]
HeldAct: TypeAlias = Literal["list", "release", "drop"]
_Name: TypeAlias = Annotated[str, Meta(max_length=CARRIER_CHARACTERS_MAX)]
_CommandName: TypeAlias = Annotated[str, Meta(max_length=COMMAND_CHARACTERS_MAX)]


class CarrierRequest(msgspec.Struct, tag_field="op", tag="carrier", forbid_unknown_fields=True):
    """An operator: how is each account, or change what it may do. `value` None: as configured."""

    act: CarrierAct
    name: _Name | None = None
    value: float | None = None
    id: Id = UNSET


class HeldRequest(msgspec.Struct, tag_field="op", tag="held", forbid_unknown_fields=True):
    """An operator: which messages are held because they are in doubt; send them now, or end them."""

    act: HeldAct
    carrier: _Name | None = None
    message_id: Annotated[str, Meta(max_length=MESSAGE_ID_CHARACTERS_MAX)] | None = None
    id: Id = UNSET


class TraceRequest(msgspec.Struct, tag_field="op", tag="trace", forbid_unknown_fields=True):
    """An operator: show me this carrier's PDUs as they pass, until I close. `bind` is a slot's number."""

    carrier: _Name
    bind: int | None = None
    commands: Annotated[list[_CommandName], Meta(max_length=TRACED_COMMANDS_MAX)] | None = None
    id: Id = UNSET


class _Submit(msgspec.Struct, tag_field="op", tag="submit", forbid_unknown_fields=True):
    messages: list[SubmitMessage]
    id: Id = UNSET


class Submission(msgspec.Struct):
    """A submit: the messages that have the right types, their indexes, and the refusals of the others."""

    id: RequestId | UnsetType
    messages: list[SubmitMessage]
    indexes: Sequence[int]
    refused: list[Refusal]
    count: int
    """How many messages the submit holds, refused ones included."""


OperatorRequest: TypeAlias = CarrierRequest | HeldRequest | TraceRequest
Request: TypeAlias = Hello | Submission | Subscribe | Ack | Query | Cancel | Status | OperatorRequest

OPS: Final[dict[str, tuple[str, ...]]] = {
    "hello": (),
    "submit": ("messages",),
    "subscribe": (),
    "ack": ("cursor",),
    "query": ("message_id",),
    "cancel": ("message_id",),
    "status": (),
    "carrier": ("act",),
    "held": ("act",),
    "trace": ("carrier",),
}
"""Every `op`, with the keys it needs; each may bear an `id` too."""

_STRUCTS: Final[dict[str, Any]] = {
    "hello": Hello,
    "subscribe": Subscribe,
    "ack": Ack,
    "query": Query,
    "cancel": Cancel,
    "status": Status,
    "carrier": CarrierRequest,
    "held": HeldRequest,
    "trace": TraceRequest,
}
_OPERATOR_OPS: Final = frozenset({"carrier", "held", "trace"})
_FIELDS: Final[dict[str, Any]] = {
    "to": str,
    "text": str | None,
    "from": str,
    "ref": str | None,
    "at": str | None,
    "expires": str | None,
    "window": Window | None,
    "lane": Lane,
    "carrier": str | None,
    "tags": list[str] | None,
    "receipt": bool,
    "data": bytes | None,
    "campaign": str | None,
}
_TYPE_CODES: Final = {"lane": UNKNOWN_LANE, "window": INVALID_WINDOW}
_CHARACTERS_MAX: Final = {"cursor": CURSOR_CHARACTERS_MAX, "message_id": MESSAGE_ID_CHARACTERS_MAX}

# What msgspec raises for bytes it cannot read, or reads as another shape (ValidationError, a MsgspecError).
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)

_AnyRequest: TypeAlias = _Submit | Hello | Subscribe | Ack | Query | Cancel | Status | OperatorRequest
_decode_json = msgspec.json.Decoder(_AnyRequest).decode
_decode_msgpack = msgspec.msgpack.Decoder(_AnyRequest).decode
_decode_json_message = msgspec.json.Decoder(SubmitMessage).decode
_decode_msgpack_message = msgspec.msgpack.Decoder(SubmitMessage).decode
_decode_json_map = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_msgpack_map = msgspec.msgpack.Decoder(dict[str, Raw]).decode


def decode_request(frame: bytes, spelling: Spelling, messages_max: int) -> Request:
    """What a frame asks for. Raises RequestError (answer it, go on) or FrameError (answer it, close)."""
    try:
        request: _AnyRequest = _decode_msgpack(frame) if spelling == "msgpack" else _decode_json(frame)
    except _UNREADABLE:
        return decode_patiently(frame, spelling, messages_max)
    if isinstance(request, _Submit):
        count = len(request.messages)
        if count > messages_max:
            raise _too_many(request.id, count, messages_max)
        return Submission(request.id, request.messages, range(count), [], count)
    return request


def decode_patiently(frame: bytes, spelling: Spelling, messages_max: int) -> Request:
    """The same, field by field: slower, and as precise about what is wrong as an app needs."""
    body = _top(frame, spelling)
    id_ = _id(body, spelling)
    op = body.get("op", UNSET)
    if op is UNSET:
        raise RequestError(id_, "op", MISSING, f"one of {', '.join(OPS)}")
    try:
        op = _typed(op, str, spelling)
    except _UNREADABLE:
        raise RequestError(id_, "op", WRONG_TYPE, "a string") from None
    if op not in OPS:
        raise RequestError(id_, "op", UNKNOWN_OP, f"one of {', '.join(OPS)}")
    if op in _OPERATOR_OPS:
        return _operator_request(op, body, id_, spelling)
    for key in body:
        if key not in ("op", "id") and key not in OPS[op]:
            raise RequestError(id_, _shown(key), UNKNOWN_KEY, f"{op} has no such key")
    values: dict[str, Any] = {}
    for key in OPS[op]:
        if key not in body:
            raise RequestError(id_, key, MISSING, f"{op} needs it")
        kind = list[Raw] if key == "messages" and isinstance(body[key], Raw) else list[Any]
        try:
            values[key] = _typed(body[key], kind if key == "messages" else str, spelling)
        except _UNREADABLE:
            wanted = "an array of objects" if key == "messages" else "a string"
            raise RequestError(id_, key, WRONG_TYPE, wanted) from None
        if key in _CHARACTERS_MAX and len(values[key]) > _CHARACTERS_MAX[key]:
            raise RequestError(id_, key, TOO_LONG, f"at most {_CHARACTERS_MAX[key]} characters")
    if op != "submit":
        request: Request = _STRUCTS[op](id=id_, **values)
        return request
    count = len(values["messages"])
    if count > messages_max:
        raise _too_many(id_, count, messages_max)
    submission = Submission(id_, [], [], [], count)
    indexes: list[int] = []
    for index, value in enumerate(values["messages"]):
        _read_message(value, spelling, index, submission.messages, indexes, submission.refused)
    submission.indexes = indexes
    return submission


def _operator_request(
    op: str, body: dict[str, Any], id_: RequestId | UnsetType, spelling: Spelling
) -> OperatorRequest:
    """A request with keys that may be missing: the first key that is wrong is named."""
    struct = _STRUCTS[op]
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct) if field.name != "id"}
    for key in OPS[op]:
        if key not in body:
            raise RequestError(id_, key, MISSING, f"{op} needs it")
    values: dict[str, Any] = {}
    for key, value in body.items():
        if key in ("op", "id"):
            continue
        if key not in fields:
            raise RequestError(id_, _shown(key), UNKNOWN_KEY, f"{op} has no such key")
        try:
            values[key] = _typed(value, fields[key].type, spelling)
        except msgspec.ValidationError as error:
            raise RequestError(id_, key, WRONG_TYPE, _printable(str(error))) from None
        except _UNREADABLE:
            raise RequestError(id_, key, WRONG_TYPE, "not readable") from None
    request: OperatorRequest = struct(id=id_, **values)
    return request


def _read_message(
    value: Any,
    spelling: Spelling,
    index: int,
    messages: list[SubmitMessage],
    indexes: list[int],
    refused: list[Refusal],
) -> None:
    if isinstance(value, Raw):
        try:
            whole = _decode_msgpack_message if spelling == "msgpack" else _decode_json_message
            messages.append(whole(value))
        except _UNREADABLE:
            pass
        else:
            indexes.append(index)
            return
    ref: str | None = None
    try:
        fields = _map(value, spelling)
        ref = _ref(fields.get("ref"), spelling)
        messages.append(read_fields(fields, spelling))
        indexes.append(index)
    except MessageError as error:
        refused.append(Refusal(index, ref, error.field, error.code, error.detail))


def read_fields(fields: dict[str, Any], spelling: Spelling) -> SubmitMessage:
    """A message from its fields, each an object or Raw; raises MessageError for the first that is wrong."""
    for key in fields:
        if key not in _FIELDS:
            raise MessageError(_shown(key), UNKNOWN_KEY, "a message has no such key")
    if "to" not in fields:
        raise MessageError("to", MISSING, "a message needs it")
    values: dict[str, Any] = {}
    for key, value in fields.items():
        try:
            values["from_" if key == "from" else key] = _typed(value, _FIELDS[key], spelling)
        except msgspec.ValidationError as error:
            code = _TYPE_CODES.get(key, WRONG_TYPE)
            raise MessageError(key, code, _printable(str(error))) from None
        except UnicodeError:
            raise MessageError(key, INVALID_TEXT, "not valid UTF-8") from None
        except (msgspec.MsgspecError, RecursionError):
            raise MessageError(key, WRONG_TYPE, "not readable") from None
    return SubmitMessage(**values)


def _top(frame: bytes, spelling: Spelling) -> dict[str, Any]:
    """The keys of a request, their values still Raw where that can be; FrameError if it is no frame."""
    try:
        return _decode_msgpack_map(frame) if spelling == "msgpack" else _decode_json_map(frame)
    except msgspec.ValidationError:
        # Told before the rest was read: octets that only begin like a number are no frame.
        try:
            _typed(Raw(frame), Raw, spelling)
        except _UNREADABLE:
            raise FrameError(BAD_FRAME, f"not {_language(spelling)}") from None
        raise RequestError(UNSET, None, WRONG_TYPE, "a request is an object with string keys") from None
    except _UNREADABLE as error:
        if spelling == "msgpack" or isinstance(error, RecursionError):
            raise FrameError(BAD_FRAME, f"not {_language(spelling)}") from None
    # msgspec refuses a whole line for one half of a surrogate pair ("\ud800") or one octet that is no UTF-8.
    # The standard library reads both into strings, in which the check of that one field then finds them.
    try:
        return msgspec.convert(json.loads(frame.decode("utf-8", "surrogateescape")), dict[str, Any])
    except msgspec.ValidationError:
        raise RequestError(UNSET, None, WRONG_TYPE, "a request is an object with string keys") from None
    except json.JSONDecodeError as error:
        where = f"{error.msg} at character {error.pos}"
        raise FrameError(BAD_FRAME, f"not {_language(spelling)}: {where}") from None
    except (ValueError, RecursionError):
        raise FrameError(BAD_FRAME, f"not {_language(spelling)}") from None


def _map(value: Any, spelling: Spelling) -> dict[str, Any]:
    try:
        if isinstance(value, Raw):
            return _decode_msgpack_map(value) if spelling == "msgpack" else _decode_json_map(value)
        return msgspec.convert(value, dict[str, Any])
    except msgspec.ValidationError:
        raise MessageError(None, WRONG_TYPE, "a message is an object with string keys") from None
    except UnicodeError:
        raise MessageError(None, INVALID_TEXT, "a key is not valid UTF-8") from None
    except (msgspec.MsgspecError, RecursionError):
        raise MessageError(None, WRONG_TYPE, "not readable") from None


def _typed(value: Any, kind: Any, spelling: Spelling) -> Any:
    if isinstance(value, Raw):
        if spelling == "msgpack":
            return msgspec.msgpack.decode(value, type=kind)
        return msgspec.json.decode(value, type=kind)
    return msgspec.convert(value, kind)


def _id(body: dict[str, Any], spelling: Spelling) -> RequestId | UnsetType:
    if "id" not in body:
        return UNSET
    try:
        id_ = cast(RequestId, _typed(body["id"], Id, spelling))
    except (*_UNREADABLE, OverflowError):
        detail = f"an integer of 64 bits, or a string of at most {ID_CHARACTERS_MAX} characters"
        raise RequestError(UNSET, "id", WRONG_TYPE, detail) from None
    if isinstance(id_, str) and _printable(id_) != id_:
        raise RequestError(UNSET, "id", INVALID_TEXT, "not valid Unicode")
    return id_


def _ref(value: Any, spelling: Spelling) -> str | None:
    try:
        return safe_ref(_typed(value, str | None, spelling))
    except _UNREADABLE:
        return None


def _too_many(id_: RequestId | UnsetType, count: int, messages_max: int) -> RequestError:
    return RequestError(id_, "messages", TOO_MANY, f"at most {messages_max} messages, not {count}")


def _shown(key: str) -> str:
    return _printable(key)[:_KEY_SHOWN_CHARACTERS_MAX]


def _printable(text: str) -> str:
    """A string that can be written as UTF-8, whatever was in it."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _language(spelling: Spelling) -> str:
    return "a JSON object on one line" if spelling == "json" else "one MessagePack object behind its length"
