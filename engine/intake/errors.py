"""The errors of the intake, by what the server does next.

IntakeError
├── FrameError      the bytes are no frame, or the caller may not speak: answer it once, close the connection
├── RequestError    this request is refused as a whole: answer it with its id, go on
├── MessageError    this message is refused alone: it becomes one entry of `refused`
└── NodeError       raised by the node (`intake.node.Node`) while it serves a request: answer it, go on
    ├── NodeUnavailable   its store is away; nothing was acknowledged
    ├── UnknownMessage    the app has no such message (or it is another app's)
    ├── BadCursor         the cursor is none of the app's events
    ├── NotAllowed        an operator's request of who is none, or an app's of who has none
    ├── UnknownCarrier    no such carrier is configured
    ├── BadValue          outside of what the contract allows
    └── TooManyTraces     as many watch this carrier as may
SocketError         the server cannot open its socket
"""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from ..messages import (
    BAD_CURSOR,
    NOT_ALLOWED,
    OUT_OF_RANGE,
    TOO_MANY,
    UNAVAILABLE,
    UNKNOWN_CARRIER,
    UNKNOWN_MESSAGE,
    RequestId,
)


class IntakeError(Exception):
    """`field`, `code` and `detail` are answered to the app; none of them quotes a text or a number.

    `retry_after_s`: when the same request may succeed; None: not unchanged.
    """

    def __init__(self, field: str | None, code: str, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{code}: {detail}" if field is None else f"{field}: {code}: {detail}")
        self.field = field
        self.code = code
        self.detail = detail
        self.retry_after_s = retry_after_s


class FrameError(IntakeError):
    """Not a frame, or not a caller (`code` is one of messages.CLOSING_CODES)."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(None, code, detail)


class RequestError(IntakeError):
    """A frame that asks for nothing we can do; `id` is the request's, UNSET if none can be told."""

    def __init__(self, id: RequestId | UnsetType, field: str | None, code: str, detail: str) -> None:
        super().__init__(field, code, detail)
        self.id: RequestId | UnsetType = UNSET if id is UNSET else id


class MessageError(IntakeError):
    """A message of a submit that breaks a rule."""


class NodeError(IntakeError):
    """What a node says of a request that it cannot serve."""


class NodeUnavailable(NodeError):
    """The store is away: nothing of the request was acknowledged; come back after `retry_after_s` seconds."""

    def __init__(self, detail: str = "the store is away", retry_after_s: float | None = 1.0) -> None:
        super().__init__(None, UNAVAILABLE, detail, retry_after_s)


class UnknownMessage(NodeError):
    """The app has no message with this id."""

    def __init__(self, detail: str = "this app has no such message") -> None:
        super().__init__("message_id", UNKNOWN_MESSAGE, detail)


class BadCursor(NodeError):
    """The cursor is not one of the app's events."""

    def __init__(self, detail: str = "not a cursor of this app's events") -> None:
        super().__init__("cursor", BAD_CURSOR, detail)


class NotAllowed(NodeError):
    """Who asks may not ask this."""

    def __init__(self, detail: str) -> None:
        super().__init__("op", NOT_ALLOWED, detail)


class UnknownCarrier(NodeError):
    """No such carrier is configured."""

    def __init__(self, detail: str) -> None:
        super().__init__("carrier", UNKNOWN_CARRIER, detail)


class BadValue(NodeError):
    """A value outside of what the contract allows; the text says what it does."""

    def __init__(self, detail: str, field: str = "value") -> None:
        super().__init__(field, OUT_OF_RANGE, detail)


class TooManyTraces(NodeError):
    """As many watch this carrier as may."""

    def __init__(self, detail: str) -> None:
        super().__init__(None, TOO_MANY, detail)


class SocketError(Exception):
    """The Unix socket cannot be opened; the text says which and why."""
