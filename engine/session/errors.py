"""What the session and its shell raise, by what the caller has to do.

    SessionError
     ├─ NotBound        the PDU is not legal in this state: use another bind, or wait for on_bound
     ├─ WindowFull      more requests than the window has room for: send the rest after on_window
     └─ ConnectError    no host could be connected: wait and try again
         └─ TlsError    a host was reached but could not be trusted: tell somebody, then try again

What a peer does wrong is never raised: it ends as an event (events.py). No error carries message text, an
address of a subscriber or a password.
"""

from __future__ import annotations


class SessionError(Exception):
    """The root of what this package raises."""


class NotBound(SessionError):
    """A PDU was to be sent that is not legal in this session state; nothing was queued."""

    def __init__(self, state: str) -> None:
        super().__init__(f"not legal in session state {state}")
        self.state = state


class WindowFull(SessionError):
    """More requests than the window has room for; nothing was queued. `free` is what it has room for."""

    def __init__(self, wanted: int, free: int) -> None:
        super().__init__(f"{wanted} requests for a window with {free} free")
        self.wanted = wanted
        self.free = free


class ConnectError(SessionError):
    """No host of the list took the connection; `detail` says why, host by host."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class TlsError(ConnectError):
    """At least one host was reached, but its certificate or its TLS was not acceptable."""
