"""What a Session tells its caller: drained with `Session.events()`, in the order it happened.

Batches (`Responses`, `Delivers`) hold plain tuples: one event object a call of receive_data, not one a PDU.
Nothing here shows octets of a message in its repr beyond what the caller prints itself.
"""

from __future__ import annotations

import enum
from typing import Any, TypeAlias

import msgspec

Token: TypeAlias = Any
"""What the caller gave with a request and gets back with its outcome; never looked into."""

ResponseItem: TypeAlias = tuple[Token, int, int, bytes, int]
"""(token, command_id, command_status, message_id, sequence_number).

For submit_sm_resp and data_sm_resp `message_id` is the id without its NUL, empty where the SMSC gave none or
command_status is not ESME_ROK. For other responses (query_sm_resp ...) it is the whole body behind the
header. A generic_nack is the failure of that request: command_status is never ESME_ROK then.
"""

DeliverItem: TypeAlias = tuple[int, int, bytes]
"""(handle, command_id, whole PDU) of a deliver_sm or data_sm; give the handle to `answer_delivers` unchanged.

A handle is the sequence_number with the number of the session above its 32 bits: an answer that comes
after the connection was lost is recognised and dropped, instead of answering another PDU of the next
session.
"""

DeliverAnswer: TypeAlias = tuple[int, int, int]
"""(handle, command_id of the request, command_status to answer)"""


class CloseReason(enum.Enum):
    """Why a session ended."""

    EOF = "eof"
    LOST = "lost"
    FRAMING = "framing"
    BIND_REFUSED = "bind_refused"
    BIND_TIMEOUT = "bind_timeout"
    ENQUIRE_LINK_TIMEOUT = "enquire_link_timeout"
    READ_TIMEOUT = "read_timeout"
    WRITE_STALLED = "write_stalled"
    UNANSWERED = "unanswered"
    NACKED = "nacked"
    INACTIVE = "inactive"
    UNBOUND = "unbound"
    UNBOUND_BY_PEER = "unbound_by_peer"
    UNBIND_TIMEOUT = "unbind_timeout"
    ABANDONED = "abandoned"


class Bound(msgspec.Struct, gc=False):
    """The SMSC took the bind. `interface_version` is its sc_interface_version, None when it gave none."""

    system_id: bytes
    interface_version: int | None


class BindRefused(msgspec.Struct, gc=False):
    """The SMSC refused the bind with this command_status; Closed follows."""

    command_status: int


class Responses(msgspec.Struct):
    """Answers to requests, in order of arrival."""

    items: list[ResponseItem]


class LateResponses(msgspec.Struct):
    """Answers to requests that were reported in doubt by TimedOut before."""

    items: list[ResponseItem]


class Delivers(msgspec.Struct):
    """PDUs from the SMSC to be answered through `Session.answer_delivers`."""

    items: list[DeliverItem]


class TimedOut(msgspec.Struct):
    """No response within response_timeout_s: outcome unknown. Their places in the window are free again."""

    tokens: list[Token]


class UnbindReceived(msgspec.Struct, gc=False):
    """The SMSC wants to end the session: no more requests; Closed follows within unbind_grace_s."""


class Closed(msgspec.Struct):
    """The end: flush `data_to_send()`, close the connection. Only counters may follow.

    `tokens_in_doubt` were handed to the connection and not answered; `tokens_unsent` never left the session.
    """

    reason: CloseReason
    detail: str
    tokens_in_doubt: list[Token]
    tokens_unsent: list[Token]


class Counted(msgspec.Struct, gc=False):
    """Something unusual happened `n` times: `name` is one of the counters named in session.py."""

    name: str
    n: int


Event: TypeAlias = (
    Bound | BindRefused | Responses | LateResponses | Delivers | TimedOut | UnbindReceived | Closed | Counted
)
