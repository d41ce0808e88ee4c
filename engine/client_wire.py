"""The client's half of the local socket without its I/O: errors, requests, answers, reports.

ClientError
├── NodeAway          no connection, or it was lost: of what was not answered the outcome is unknown;
│                     submit it again with the same `ref`, then it is taken at most once
├── Refused           the node refused a request, or the only message of it: see `code`, `field`, `detail`
├── OverCredit        submit_frame() with more messages than there is credit for: wait for room() first
└── ProtocolViolation what came is not this protocol; the connection is closed
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from .intake.errors import FrameError
from .intake.frames import FrameBuffer, Spelling, encode
from .intake.limits import FRAME_OCTETS_LIMIT
from .messages import (
    FRAME_TOO_LONG,
    INVALID_TEXT,
    TOO_MANY,
    Accepted,
    Event,
    Refusal,
    Report,
    SubmitAnswer,
    SubmitMessage,
)

RECEIVE_OCTETS_MAX: Final = 262_144
CHUNK_MESSAGES: Final = 500
"""submit_many() sends submits of this many messages."""
RECONNECT_S_MIN: Final = 0.05
RECONNECT_S_MAX: Final = 5.0
"""A subscription that lost its node tries again after pauses that double from one to the other."""
TAKEOVER_S: Final = 1.0
"""How long a subscription tries while the app has another: one that was just closed is let go soon."""
REPORTS_KEPT_MAX: Final = 10_000
"""Reports that nobody waited for yet and that a wait_for_report() to come may ask for."""

T = TypeVar("T")
Message: TypeAlias = SubmitMessage | Mapping[str, Any]
"""A message to submit: the Struct, or a mapping with the same keys ("from", not "from_")."""


class ClientError(Exception):
    """Any of the errors drawn above."""


class NodeAway(ClientError):
    """There is no connection to the node, or it was lost."""


class OverCredit(ClientError):
    """More messages in flight than the node grants this connection."""


class ProtocolViolation(ClientError):
    """The node wrote what this client cannot read."""


class Refused(ClientError):
    """Refused with one of `messages.REFUSAL_CODES` or `messages.ERROR_CODES`."""

    def __init__(
        self, code: str, field: str | None = None, detail: str = "", retry_after_s: float | None = None
    ) -> None:
        super().__init__(f"{code}: {detail}" if field is None else f"{field}: {code}: {detail}")
        self.code = code
        self.field = field
        self.detail = detail
        self.retry_after_s = retry_after_s


class Limits(msgspec.Struct):
    """What the node grants this connection (its answer to hello)."""

    version: int
    credit_messages: int
    frame_octets_max: int


class _Error(msgspec.Struct):
    """Every field has a default: a report in the answer to a query has an `error` too, of another shape."""

    field: str | None = None
    code: str = ""
    detail: str = ""
    retry_after_s: float | None = None


class _Incoming(msgspec.Struct):
    id: int | None = None
    accepted: list[Accepted] | None = None
    refused: list[Refusal] | None = None
    events: list[Event] | None = None
    event: str | None = None
    error: _Error | None = None


Outcome: TypeAlias = SubmitAnswer | dict[str, Any] | Refused
"""An answer, by its request: of a submit, of anything else, or an error."""

_decode_msgpack = msgspec.msgpack.Decoder(_Incoming).decode
_decode_json = msgspec.json.Decoder(_Incoming).decode
_decode_json_event = msgspec.json.Decoder(Event).decode


class Wire:
    """Encodes requests, decodes answers and events. The caller writes what `request` and `submit` return."""

    def __init__(self, spelling: Spelling) -> None:
        self.spelling: Spelling = spelling
        self.frame_octets_max = FRAME_OCTETS_LIMIT  # until hello is answered
        self._frames = FrameBuffer(FRAME_OCTETS_LIMIT, spelling)
        self._id = 0

    def request(self, op: str, **fields: Any) -> tuple[int, bytes]:
        """The id and the frame of a request other than submit."""
        self._id += 1
        return self._id, encode(self.spelling, {"op": op, "id": self._id, **fields})

    def ack(self, cursor: str) -> bytes:
        """The frame of an acknowledgement that is not answered unless it is refused."""
        return encode(self.spelling, {"op": "ack", "cursor": cursor})

    def submit(self, messages: Sequence[Message]) -> tuple[int, bytes]:
        """The id and the frame of a submit; raises Refused for what cannot be one frame."""
        self._id += 1
        try:
            frame = encode(self.spelling, {"op": "submit", "id": self._id, "messages": messages})
        except UnicodeEncodeError:
            raise Refused(INVALID_TEXT, None, "a string of a message is not valid Unicode") from None
        if len(frame) > self.frame_octets_max:
            raise Refused(FRAME_TOO_LONG, None, f"a frame of {len(frame)} octets: submit fewer at once")
        return self._id, frame

    def receive_data(self, data: bytes) -> tuple[list[tuple[int | None, Outcome]], list[Event]]:
        """The answers (by id) and the events that `data` completes; raises ProtocolViolation.

        An outcome without an id is a Refused: the node's last words before it closes, or a refused ack.
        """
        answers: list[tuple[int | None, Outcome]] = []
        events: list[Event] = []
        json = self.spelling == "json"
        for frame in self._frames.receive_data(data):
            try:
                incoming = _decode_json(frame) if json else _decode_msgpack(frame)
            except msgspec.ValidationError:
                answers.append(_plain(frame, json))
                continue
            except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
                raise ProtocolViolation("the node wrote an unreadable frame") from error
            if incoming.events is not None:
                events += incoming.events
            elif incoming.accepted is not None and incoming.refused is not None:
                answers.append((incoming.id, SubmitAnswer(incoming.accepted, incoming.refused)))
            elif incoming.error is not None and incoming.error.code:
                error_ = incoming.error
                refused = Refused(error_.code, error_.field, error_.detail, error_.retry_after_s)
                answers.append((incoming.id, refused))
            elif json and incoming.event is not None:
                events.append(_event(frame))
            else:
                answers.append(_plain(frame, json))
        if self._frames.error is not None:
            raise ProtocolViolation(_reason(self._frames.error))
        return answers, events


def _plain(frame: bytes, json: bool) -> tuple[int | None, dict[str, Any]]:
    """The flat answer to hello, query, cancel, status or ack."""
    try:
        body: Any = msgspec.json.decode(frame) if json else msgspec.msgpack.decode(frame)
        if isinstance(body, dict):
            answer = msgspec.convert(body, dict[str, Any])
            return answer.pop("id", None), answer
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        pass
    raise ProtocolViolation("the node wrote what is no object")


def _event(line: bytes) -> Event:
    try:
        event: Event = _decode_json_event(line)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise ProtocolViolation("the node told an unreadable event") from error
    return event


def _reason(error: FrameError) -> str:
    return error.detail


class Chunks:
    """Cuts a long list of messages into submits of at most `messages_max`; puts their answers together."""

    def __init__(self, messages: Sequence[Message], messages_max: int) -> None:
        self.messages_max = max(1, messages_max)
        self.left = len(messages)
        self._messages = messages
        self._accepted: list[Accepted] = []
        self._refused: list[Refusal] = []

    def submit_next(self, submit: Callable[[Sequence[Message]], T]) -> tuple[int, int, T] | None:
        """Hand the next chunk to `submit`: index of its first message, how many, what `submit` returned.

        A chunk that cannot be one frame is halved; a single message that cannot is refused alone: None.
        """
        first = len(self._messages) - self.left
        count = min(self.messages_max, self.left)
        while True:
            try:
                submitted = submit(self._messages[first : first + count])
            except Refused as refused:
                if count == 1:
                    self.left -= 1
                    # The ref could be what cannot be written: the index tells which it is.
                    self._refused.append(Refusal(first, None, refused.field, refused.code, refused.detail))
                    return None
                count //= 2
            else:
                self.left -= count
                return first, count, submitted

    def add(self, first: int, answer: SubmitAnswer) -> None:
        """The answer to the chunk whose first message has the index `first`; call it in the chunks' order."""
        for refusal in answer.refused:
            refusal.index += first
        self._accepted += answer.accepted
        self._refused += answer.refused

    def answer(self) -> SubmitAnswer:
        """All of them as one, when every chunk is answered."""
        return SubmitAnswer(self._accepted, sorted(self._refused, key=lambda refusal: refusal.index))


def only(answer: SubmitAnswer) -> Accepted:
    """The one message of an answer, accepted; raises Refused."""
    if answer.refused:
        refusal = answer.refused[0]
        raise Refused(refusal.code, refusal.field, refusal.detail, refusal.retry_after_s)
    if len(answer.accepted) != 1:
        raise ProtocolViolation(f"{len(answer.accepted)} answers to one message")
    return answer.accepted[0]


def too_many(messages: int, credit_messages: int) -> Refused:
    """More messages in one submit than the node takes from this connection."""
    return Refused(TOO_MANY, "messages", f"{messages} messages; the node grants {credit_messages} at once")


class Reports:
    """Reports by message_id and by ref, the latest `kept_max`: one may come before it is waited for."""

    def __init__(self, kept_max: int = REPORTS_KEPT_MAX) -> None:
        self._kept_max = kept_max
        self._kept: dict[str, Report] = {}
        self._id_of_ref: dict[str, str] = {}

    def add(self, event: Event) -> None:
        if not isinstance(event, Report):
            return
        if len(self._kept) >= self._kept_max and event.message_id not in self._kept:
            oldest = next(iter(self._kept))
            ref = self._kept.pop(oldest).ref
            if ref is not None and self._id_of_ref.get(ref) == oldest:
                del self._id_of_ref[ref]
        self._kept[event.message_id] = event
        if event.ref is not None:
            self._id_of_ref[event.ref] = event.message_id

    def find(self, message_id: str | None, ref: str | None) -> Report | None:
        if message_id is None and ref is not None:
            message_id = self._id_of_ref.get(ref)
        return None if message_id is None else self._kept.get(message_id)
