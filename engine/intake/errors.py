"""The errors of the intake, by what the server does next.

IntakeError
├── FrameError      close: the bytes are no frame, or the caller may not speak; answered once, then closed
├── RequestError    go on: this request is refused as a whole, the connection stays
└── NodeError       raised by the node (`intake.node.Node`) while it serves a request
    ├── NodeUnavailable   its store is away; nothing was acknowledged
    ├── UnknownMessage    the app has no such message (or it is another app's)
    └── BadCursor         the cursor is none of the app's events
SocketError         the server cannot start: the socket is in use, or its path cannot be one
"""

from __future__ import annotations

from ..messages import BAD_CURSOR, UNAVAILABLE, UNKNOWN_MESSAGE


class IntakeError(Exception):
    """`field`, `code` and `detail` go into the error object; none of them quotes a text or a number."""

    def __init__(self, field: str | None, code: str, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{code}: {detail}" if field is None else f"{field}: {code}: {detail}")
        self.field = field
        self.code = code
        self.detail = detail
        self.retry_after_s = retry_after_s


class FrameError(IntakeError):
    """Not a frame (code bad_frame, frame_too_long ...): answer it once, then close the connection."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(None, code, detail)


class RequestError(IntakeError):
    """A frame that asks for nothing we know: answer with its id, go on reading."""


class NodeError(IntakeError):
    """What a node says of a request it cannot serve."""


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


class SocketError(Exception):
    """The Unix socket cannot be opened; the text says which path and what to do."""
