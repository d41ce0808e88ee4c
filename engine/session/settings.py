"""What a session needs to be told, with every limit under its name.

Defaults are those of SMPP 3.4 section 7.2 (timers) where it gives any, else what carriers were seen to
expect.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from ...codecs.constants import HEADER_OCTETS, INTERFACE_VERSION_34, PDU_OCTETS_MAX, PDU_OCTETS_MAX_UNBOUND

WINDOW_MAX: Final = 100_000
"""No carrier grants more unanswered requests on one bind; a larger number is a slip of the configuration."""

_FIELD_OCTETS_MAX: Final = (
    ("system_id", 15),
    ("password", 8),
    ("system_type", 12),
    ("address_range", 40),
)
"""SMPP 3.4 section 4.1.1, without the NUL."""


class SessionConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One bind's account, window and timers (seconds; octets and counts as named).

    Raises ValueError, naming the field and never its value, on what cannot be put into a bind PDU.
    """

    system_id: str
    password: str
    system_type: str = ""
    bind: Literal["transceiver", "transmitter", "receiver"] = "transceiver"
    interface_version: int = INTERFACE_VERSION_34
    addr_ton: int = 0
    addr_npi: int = 0
    address_range: str = ""

    window: int = 100
    """Most requests unanswered at once; `Session.window` may go below, never above."""
    response_timeout_s: float = 30.0
    """Then a request is in doubt."""
    late_max: int = 10_000
    """Requests in doubt whose late answer would still be recognised."""
    enquire_link_s: float = 20.0
    """Silence of the SMSC after which it is asked."""
    enquire_link_timeout_s: float = 10.0
    """Further silence, of any PDU at all, after which the link is dead."""
    inactivity_timeout_s: float = 0.0
    """No message either way for so long: unbind (SMPP 3.4 section 7.2). 0: never, as a bind is meant to
    stay."""
    bind_timeout_s: float = 10.0
    unbind_timeout_s: float = 10.0
    unbind_grace_s: float = 1.0
    """After the SMSC's unbind: how long answers under way, both directions, are waited for."""
    read_timeout_s: float = 10.0
    """A PDU begun must be whole by then."""
    write_timeout_s: float = 10.0
    """The connection must take what is written by then; a peer that does not read is dropped."""

    pdu_octets_max: int = PDU_OCTETS_MAX
    pdu_octets_max_unbound: int = PDU_OCTETS_MAX_UNBOUND
    """Before the bind is accepted."""
    deliver_outstanding_max: int = 5_000
    """PDUs from the SMSC not yet answered by us; beyond it the connection is not read."""
    write_buffer_octets_max: int = 1_048_576
    """Octets waiting to be written; beyond it no request is taken and the connection is not read."""
    unmatched_nacks_max: int = 3
    """generic_nacks that name no request of ours, with no answer in between, before rebinding."""

    def __post_init__(self) -> None:
        for name, octets_max in _FIELD_OCTETS_MAX:
            value: str = getattr(self, name)
            if not value.isascii() or "\0" in value or len(value) > octets_max:
                raise ValueError(f"{name}: must be at most {octets_max} ASCII characters without NUL")
        if not 1 <= self.window <= WINDOW_MAX:
            raise ValueError(f"window: must be 1 to {WINDOW_MAX}")
        if min(self.pdu_octets_max, self.pdu_octets_max_unbound) < HEADER_OCTETS:
            raise ValueError(f"pdu_octets_max: must be at least {HEADER_OCTETS}")
        for name in ("response_timeout_s", "enquire_link_s", "enquire_link_timeout_s", "bind_timeout_s",
                     "unbind_timeout_s", "read_timeout_s", "write_timeout_s"):  # fmt: skip
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: must be more than 0")

    def __repr__(self) -> str:
        """Without the password: a repr ends in logs and tracebacks."""
        return f"SessionConfig(system_id={self.system_id!r}, bind={self.bind!r}, window={self.window})"
