"""The session as tables: which PDU is legal in which state, and which one changes the state.

SMPP 3.4 section 2.2 (session states) and table 2-1; SMPP 5.0 table 2-1 where 3.4 is silent. We are the ESME:
`SENDS` is its column, `RECEIVES` the SMSC's. Read a row aloud: "in BOUND_TX the SMSC may send ...".

Two states are ours. UNBINDING lies between an unbind, from either side, and its unbind_resp: no new
requests, but those on their way are still answered. CLOSED is the end of the connection for any other
cause.

Exceptions to the specification's table, on purpose:
 - DELIVER_SM is taken in BOUND_TX: some SMSCs deliver receipts on a transmitter bind.
 - ENQUIRE_LINK is not sent before the bind_resp (vendors restrict it to the bound states), though it may be.
 - UNBINDING does not remember the kind of bind: what any bind may receive is taken then.
 - DATA_SM from the SMSC stays illegal in BOUND_TX: nobody was seen doing it.
"""

from __future__ import annotations

import enum
from typing import Final

from ...codecs import constants as c


class State(enum.Enum):
    """Session states, named as in SMPP 3.4 section 2.2."""

    OPEN = "open"
    BOUND_TX = "bound_tx"
    BOUND_RX = "bound_rx"
    BOUND_TRX = "bound_trx"
    UNBINDING = "unbinding"
    UNBOUND = "unbound"
    CLOSED = "closed"


BOUND: Final = frozenset({State.BOUND_TX, State.BOUND_RX, State.BOUND_TRX})

_ALWAYS: Final = frozenset({c.ENQUIRE_LINK, c.ENQUIRE_LINK_RESP, c.GENERIC_NACK})
_UNBIND: Final = frozenset({c.UNBIND, c.UNBIND_RESP})
_BIND: Final = frozenset({c.BIND_RECEIVER, c.BIND_TRANSMITTER, c.BIND_TRANSCEIVER})
_BIND_RESP: Final = frozenset({c.BIND_RECEIVER_RESP, c.BIND_TRANSMITTER_RESP, c.BIND_TRANSCEIVER_RESP})
_OPERATIONS: Final = frozenset({c.SUBMIT_SM, c.SUBMIT_MULTI, c.QUERY_SM, c.CANCEL_SM, c.REPLACE_SM})
_OPERATIONS_RESP: Final = frozenset(
    {c.SUBMIT_SM_RESP, c.SUBMIT_MULTI_RESP, c.QUERY_SM_RESP, c.CANCEL_SM_RESP, c.REPLACE_SM_RESP}
)

_TX_SENDS: Final = _ALWAYS | _UNBIND | _OPERATIONS | {c.DATA_SM} | {c.DELIVER_SM_RESP}
_RX_SENDS: Final = _ALWAYS | _UNBIND | {c.DELIVER_SM_RESP, c.DATA_SM_RESP}
_TX_RECEIVES: Final = _ALWAYS | _UNBIND | _OPERATIONS_RESP | {c.DATA_SM_RESP} | {c.DELIVER_SM}
_RX_RECEIVES: Final = _ALWAYS | _UNBIND | {c.DELIVER_SM, c.ALERT_NOTIFICATION, c.DATA_SM}

SENDS: Final[dict[State, frozenset[int]]] = {
    State.OPEN: _ALWAYS | _BIND,
    State.BOUND_TX: _TX_SENDS,
    State.BOUND_RX: _RX_SENDS,
    State.BOUND_TRX: _TX_SENDS | _RX_SENDS,
    State.UNBINDING: _ALWAYS | {c.UNBIND_RESP, c.DELIVER_SM_RESP, c.DATA_SM_RESP},
    State.UNBOUND: _ALWAYS,
    State.CLOSED: frozenset(),
}
"""What the ESME may send."""

RECEIVES: Final[dict[State, frozenset[int]]] = {
    State.OPEN: _ALWAYS | _BIND_RESP | {c.OUTBIND},
    State.BOUND_TX: _TX_RECEIVES,
    State.BOUND_RX: _RX_RECEIVES,
    State.BOUND_TRX: _TX_RECEIVES | _RX_RECEIVES,
    State.UNBINDING: _TX_RECEIVES | _RX_RECEIVES,
    State.UNBOUND: _ALWAYS,
    State.CLOSED: frozenset(),
}
"""What the SMSC may send. An illegal request is answered ESME_RINVBNDSTS; an illegal response is counted."""

AFTER_SENDING: Final[dict[State, dict[int, State]]] = {
    State.BOUND_TX: {c.UNBIND: State.UNBINDING},
    State.BOUND_RX: {c.UNBIND: State.UNBINDING},
    State.BOUND_TRX: {c.UNBIND: State.UNBINDING},
    State.UNBINDING: {c.UNBIND_RESP: State.UNBOUND},
}
"""Where the session goes when the ESME has sent this PDU."""

AFTER_RECEIVING: Final[dict[State, dict[int, State]]] = {
    State.OPEN: {
        c.BIND_TRANSMITTER_RESP: State.BOUND_TX,
        c.BIND_RECEIVER_RESP: State.BOUND_RX,
        c.BIND_TRANSCEIVER_RESP: State.BOUND_TRX,
    },
    State.BOUND_TX: {c.UNBIND: State.UNBINDING},
    State.BOUND_RX: {c.UNBIND: State.UNBINDING},
    State.BOUND_TRX: {c.UNBIND: State.UNBINDING},
    State.UNBINDING: {c.UNBIND_RESP: State.UNBOUND},
}
"""Where the session goes when this PDU came (a bind_resp and an unbind_resp: when it was ours and
ESME_ROK)."""

BIND_COMMANDS: Final[dict[str, int]] = {
    "transceiver": c.BIND_TRANSCEIVER,
    "transmitter": c.BIND_TRANSMITTER,
    "receiver": c.BIND_RECEIVER,
}

RESPONSES: Final[dict[int, int]] = {
    request: request | c.RESPONSE_BIT
    for request in (*_BIND, *_OPERATIONS, c.DELIVER_SM, c.DATA_SM, c.UNBIND, c.ENQUIRE_LINK)
}
"""Known requests and the PDU that answers them. OUTBIND and ALERT_NOTIFICATION have no response PDU."""
