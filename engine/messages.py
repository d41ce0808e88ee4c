"""The objects of the local socket: what an app submits, what it is answered, what it is told later.

Shapes and words only: this module decodes nothing and decides nothing.  `todoke.engine.intake` reads and
checks these objects, the node (see `intake.node`) accepts them, `todoke.engine.client` builds them.  The
order of the fields is the order in which they are written on the socket.

No object here shows a message text or a full telephone number in its `repr`, so that a log line or a
traceback cannot either.
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

import msgspec

PROTOCOL_VERSION: Final = 1
"""Version of the objects, told in the answer to `hello`."""

# -- Limits ---------------------------------------------------------------------------------------------

NUMBER_DIGITS_MIN: Final = 7
NUMBER_DIGITS_MAX: Final = 15
"""E.164 section 6.2.1: at most 15 digits, country code included (a Japanese 0200 number has just 15)."""
SENDER_CHARACTERS_MAX: Final = 11
"""An alphanumeric address holds at most 11 GSM characters (3GPP TS 23.040 section 9.1.2.5)."""
SENDER_DIGITS_MAX: Final = 20
"""source_addr is a C-octet string of at most 21 octets, its NULL included (SMPP 3.4 section 4.4.1)."""
TEXT_CHARACTERS_MAX: Final = 39_015
"""255 concatenated parts of 153 septets (3GPP TS 23.040 section 9.2.3.24.1); carriers take fewer."""
DATA_OCTETS_MAX: Final = 34_170
"""255 concatenated parts of 134 octets."""
REF_CHARACTERS_MAX: Final = 64
CARRIER_CHARACTERS_MAX: Final = 64
CAMPAIGN_CHARACTERS_MAX: Final = 64
TAG_CHARACTERS_MAX: Final = 64
TAGS_MAX: Final = 16
ZONE_CHARACTERS_MAX: Final = 64
ID_CHARACTERS_MAX: Final = 128
"""A request's `id` as a string; as an integer it fits 64 bits."""
CURSOR_CHARACTERS_MAX: Final = 128
MESSAGE_ID_CHARACTERS_MAX: Final = 128
SCHEDULE_S_MAX: Final = 366 * 86_400
"""`at` and `expires` lie at most this many seconds ahead."""

# -- Codes ----------------------------------------------------------------------------------------------

MISSING: Final = "missing"
UNKNOWN_KEY: Final = "unknown_key"
WRONG_TYPE: Final = "wrong_type"
EMPTY: Final = "empty"
TOO_LONG: Final = "too_long"
INVALID_NUMBER: Final = "invalid_number"
INVALID_SENDER: Final = "invalid_sender"
INVALID_TEXT: Final = "invalid_text"
TEXT_AND_DATA: Final = "text_and_data"
INVALID_TIME: Final = "invalid_time"
EXPIRED: Final = "expired"
TOO_FAR: Final = "too_far"
INVALID_WINDOW: Final = "invalid_window"
UNKNOWN_ZONE: Final = "unknown_zone"
UNKNOWN_LANE: Final = "unknown_lane"
TOO_MANY: Final = "too_many"
UNENCODABLE: Final = "unencodable"
NO_ROUTE: Final = "no_route"
UNKNOWN_CARRIER: Final = "unknown_carrier"
UNKNOWN_CAMPAIGN: Final = "unknown_campaign"
REF_CONFLICT: Final = "ref_conflict"
QUEUE_FULL: Final = "queue_full"
EVENTS_FULL: Final = "events_full"
UNAVAILABLE: Final = "unavailable"
STOPPING: Final = "stopping"
INTERNAL: Final = "internal"

UNKNOWN_OP: Final = "unknown_op"
UNKNOWN_MESSAGE: Final = "unknown_message"
BAD_CURSOR: Final = "bad_cursor"
ALREADY_SUBSCRIBED: Final = "already_subscribed"
BAD_FRAME: Final = "bad_frame"
FRAME_TOO_LONG: Final = "frame_too_long"
UNKNOWN_APP: Final = "unknown_app"
TOO_MANY_CONNECTIONS: Final = "too_many_connections"
NOT_ALLOWED: Final = "not_allowed"
OUT_OF_RANGE: Final = "out_of_range"

REFUSAL_CODES: Final[dict[str, str]] = {
    MISSING: "a field that is required is not there",
    UNKNOWN_KEY: "a key that does not exist; `field` is that key",
    WRONG_TYPE: "a value of another type than the field's",
    EMPTY: "a value that may not be empty is",
    TOO_LONG: "longer than the field's limit, or more parts than the carrier takes; never truncated",
    INVALID_NUMBER: "not a number in international form: country code and number, 7 to 15 digits, + optional",
    INVALID_SENDER: "not digits (at most 20), nor a name of at most 11 GSM characters with a letter in it",
    INVALID_TEXT: "not valid Unicode, or control characters other than tab, line feed, form feed and return",
    TEXT_AND_DATA: "`text` and `data` in one message",
    INVALID_TIME: "not an RFC 3339 date and time with its zone",
    EXPIRED: "`expires` is not after now, or not after `at`",
    TOO_FAR: "more than 366 days ahead",
    INVALID_WINDOW: "allowed hours that are not HH:MM, name no time, or days other than mon to sun",
    UNKNOWN_ZONE: "not the name of a time zone in the IANA database",
    UNKNOWN_LANE: "not urgent, normal or bulk",
    TOO_MANY: "more items than the field's limit",
    UNENCODABLE: "text that no alphabet of the carrier can write",
    NO_ROUTE: "no route leads to this number",
    UNKNOWN_CARRIER: "no such carrier is configured",
    UNKNOWN_CAMPAIGN: "no such campaign",
    REF_CONFLICT: "this `ref` was used with another body within `ref_ttl_s`",
    QUEUE_FULL: "the queue is full; come back after `retry_after_s`",
    EVENTS_FULL: "too many events wait for this app's acknowledgement; acknowledge, then repeat",
    UNAVAILABLE: "the node cannot store messages now; nothing was acknowledged; repeat with the same `ref`",
    STOPPING: "the node is stopping; repeat with the same `ref` when it is back",
    INTERNAL: "a fault of the node; its log has the traceback",
}
"""Why one message is refused (`refused[].code`), each with a line for the README."""

ERROR_CODES: Final[dict[str, str]] = {
    MISSING: REFUSAL_CODES[MISSING],
    UNKNOWN_KEY: REFUSAL_CODES[UNKNOWN_KEY],
    WRONG_TYPE: REFUSAL_CODES[WRONG_TYPE],
    INVALID_TEXT: REFUSAL_CODES[INVALID_TEXT],
    TOO_LONG: "longer than the field's limit",
    TOO_MANY: "more messages in one submit than `credit_messages` (nothing of it was taken), or more traces",
    UNKNOWN_OP: "no such `op`",
    UNKNOWN_MESSAGE: "this app has no such message, or its history is over",
    UNKNOWN_CARRIER: REFUSAL_CODES[UNKNOWN_CARRIER],
    NOT_ALLOWED: "only an operator may ask this (the node's own uid, or root), or only an app",
    OUT_OF_RANGE: "a value outside of what the carrier's contract in the configuration allows",
    BAD_CURSOR: "not a cursor of this app's events",
    ALREADY_SUBSCRIBED: "this app has a subscription; one at a time",
    UNAVAILABLE: "the node cannot answer now; repeat after `retry_after_s`",
    INTERNAL: REFUSAL_CODES[INTERNAL],
    BAD_FRAME: "bytes that are neither a JSON line nor a MessagePack frame; the connection is closed",
    FRAME_TOO_LONG: "a line or frame over `frame_octets_max`; the connection is closed",
    UNKNOWN_APP: "the caller's uid belongs to no [[app]]; the connection is closed",
    TOO_MANY_CONNECTIONS: "the node has `connections_max` connections; this one is closed",
}
"""Why a request or a connection is refused (`error.code`), each with a line for the README."""

CLOSING_CODES: Final = frozenset({BAD_FRAME, FRAME_TOO_LONG, UNKNOWN_APP, TOO_MANY_CONNECTIONS})
"""After an error with one of these codes the node closes the connection."""

# -- What an app submits --------------------------------------------------------------------------------

Lane: TypeAlias = Literal["urgent", "normal", "bulk"]
Day: TypeAlias = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
RequestId: TypeAlias = int | str | None


def hidden_number(number: str) -> str:
    """A telephone number fit for a log line: the last digits are hidden, `+8190********`.

    Names (alphanumeric senders) are hidden in the same way.  At most five characters stay.
    """
    shown = min(5, len(number) // 2)
    return number[:shown] + "*" * (len(number) - shown)


class Window(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Hours in which a message may be sent: from `from_` until before `to`, on the clocks of `zone`.

    `from_` and `to` are "HH:MM" (00:00 to 24:00); `from_` after `to` crosses midnight, and the day is then
    the one on which the window opens.  `days` None: every day.
    """

    from_: str = msgspec.field(name="from")
    to: str
    zone: str
    days: list[Day] | None = None


class SubmitMessage(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """One message as an app writes it, in the `messages` of a submit; unchecked beyond its types.

    `data` (binary) is bytes in MessagePack and base64 in JSON; `at` and `expires` are RFC 3339 with a zone.
    """

    to: str
    text: str | None = None
    from_: str = msgspec.field(name="from", default="")
    ref: str | None = None
    at: str | None = None
    expires: str | None = None
    window: Window | None = None
    lane: Lane = "normal"
    carrier: str | None = None
    tags: list[str] | None = None
    receipt: bool = True
    data: bytes | None = None
    campaign: str | None = None

    def __repr__(self) -> str:
        return f"<SubmitMessage to {hidden_number(self.to)} ref={self.ref!r}>"


class Valid(msgspec.Struct, gc=False):
    """One message that passed the checks of `intake.validate`; exactly one of `text` and `data` is set.

    `to` is digits only, country code first, no "+".  `sender` is "" (the carrier's default), digits, "+"
    and digits, or a name.  `at_ms` and `expires_ms` are Unix times in milliseconds, 0 for none; `at_ms` may
    lie in the past (send now), `expires_ms` lies after now and after `at_ms`.
    """

    to: str
    sender: str = ""
    text: str | None = None
    data: bytes | None = None
    ref: str | None = None
    at_ms: int = 0
    expires_ms: int = 0
    window: Window | None = None
    lane: Lane = "normal"
    carrier: str | None = None
    tags: list[str] | None = None
    receipt: bool = True
    campaign: str | None = None

    def __repr__(self) -> str:
        return f"<Valid to {hidden_number(self.to)} ref={self.ref!r}>"


# -- What it is answered --------------------------------------------------------------------------------


class Accepted(msgspec.Struct, omit_defaults=True, gc=False):
    """One message the node holds durably.  `duplicate`: the same ref and body came before, with this id."""

    ref: str | None
    message_id: str
    parts: int
    duplicate: bool = False


class Refusal(msgspec.Struct, gc=False):
    """One message of a submit that was not taken; `index` is its place in `messages`, from 0.

    `field` is the key concerned (None: the message as a whole), `code` one of REFUSAL_CODES, `detail` a line
    for people (it quotes no text and no number), `retry_after_s` when to come back (None: not unchanged).
    """

    index: int
    ref: str | None
    field: str | None
    code: str
    detail: str
    retry_after_s: float | None = None


class SubmitAnswer(msgspec.Struct):
    """The answer to a submit.  `accepted` is in the order of `messages`, without the refused ones."""

    accepted: list[Accepted]
    refused: list[Refusal]

    def outcomes(self) -> list[Accepted | Refusal]:
        """What became of each message, in the order of `messages`."""
        outcomes: list[Accepted | Refusal] = list(self.accepted)
        for refusal in sorted(self.refused, key=lambda refusal: refusal.index):
            outcomes.insert(refusal.index, refusal)
        return outcomes


class ErrorBody(msgspec.Struct, omit_defaults=True):
    """The `error` of an answer to a request that was refused as a whole; `code` is one of ERROR_CODES.

    `retry_after_s` is only there when the same request may succeed later.
    """

    field: str | None
    code: str
    detail: str
    retry_after_s: float | None = None


# -- What it is told later ------------------------------------------------------------------------------

FINAL_STATES: Final = frozenset(
    {"delivered", "undeliverable", "rejected", "expired", "cancelled", "sent", "unknown"}
)
"""The states of a report; a message has one, and at most a `correction` to delivered afterwards."""


class ReportError(msgspec.Struct, gc=False):
    """Why a message was not delivered: our class of the error, the command_status of its submit_sm_resp, and
    what the network said in its receipt."""

    class_: str = msgspec.field(name="class")
    command_status: int | None = None
    network_error: str | None = None


class Report(msgspec.Struct, tag_field="event", tag="report", gc=False):
    """What became of one message.  `at` is RFC 3339 in UTC, "2026-11-21T10:00:00Z"."""

    cursor: str
    message_id: str
    ref: str | None
    state: str
    carrier: str
    parts: int
    delivered_parts: int
    possibly_doubled: bool
    error: ReportError | None
    at: str


class Correction(msgspec.Struct, tag_field="event", tag="correction", gc=False):
    """A report that replaces an earlier final one: the carrier said DELIVRD after another final state."""

    cursor: str
    message_id: str
    ref: str | None
    state: str
    carrier: str
    parts: int
    delivered_parts: int
    possibly_doubled: bool
    error: ReportError | None
    at: str


class Received(msgspec.Struct, tag_field="event", tag="received", gc=False):
    """A message from a handset.  `in_reply_to` is the message_id it may answer."""

    cursor: str
    from_: str = msgspec.field(name="from")
    to: str
    text: str
    in_reply_to: str | None

    def __repr__(self) -> str:
        return f"<Received {self.cursor!r} from {hidden_number(self.from_)}>"


Event: TypeAlias = Report | Correction | Received
StoredEvent: TypeAlias = tuple[str, Event]
"""An event and its cursor; the cursor of the pair goes into the event when it is written on the socket."""

Answer: TypeAlias = dict[str, Any]
"""The flat object that answers hello, query, cancel and status; `id` is added by the intake."""

# -- What an operator is shown --------------------------------------------------------------------------


class TracedPdu(msgspec.Struct, frozen=True, gc=False):
    """One PDU: when (Unix seconds), which way, over which bind, and its octets, header included.

    `session` tells the connections of one bind apart. The octets of a password are replaced by `*`.
    """

    at: float
    direction: Literal["sent", "received"]
    bind: str
    session: int
    octets: bytes

    def __repr__(self) -> str:
        return f"<TracedPdu {self.direction} {self.bind} {len(self.octets)} octets>"
