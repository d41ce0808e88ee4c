"""The session's clocks: SMPP 3.4 section 7.2 (enquire_link, inactivity, session_init), and those it lacks.

Pure: moments come in as `now` (seconds). Response timers are in window.py.
"""

from __future__ import annotations

import enum

from .settings import SessionConfig
from .window import NEVER


class Due(enum.Enum):
    """What has come due, the most serious first."""

    WRITE_STALLED = enum.auto()
    STATE = enum.auto()
    READ_TIMEOUT = enum.auto()
    ENQUIRE_LINK_TIMEOUT = enum.auto()
    INACTIVE = enum.auto()
    ENQUIRE_LINK = enum.auto()


class Timers:
    """When something is due. `state_deadline` limits the stay in a state that must not last (OPEN,
    UNBINDING)."""

    __slots__ = (
        "_config",
        "_enquire_deadline",
        "_partial_deadline",
        "_paused_at",
        "_received_at",
        "_write_deadline",
        "active_at",
        "state_deadline",
    )

    def __init__(self, config: SessionConfig, now: float) -> None:
        self._config = config
        self.state_deadline = now + config.bind_timeout_s
        self.active_at = now
        self._received_at = now
        self._enquire_deadline = NEVER
        self._partial_deadline = NEVER
        self._write_deadline = NEVER
        self._paused_at: float | None = None

    def received(self, now: float) -> None:
        """A valid PDU came, of any kind: the peer lives (SMPP 5.0 section 4.1.2)."""
        self._received_at = now
        self._enquire_deadline = NEVER

    def partial(self, begun: bool, new: bool, now: float) -> None:
        """Octets of a PDU not yet whole are there, or not; `new` when the PDU before it was completed."""
        if not begun:
            self._partial_deadline = NEVER
        elif new or self._partial_deadline == NEVER:
            self._partial_deadline = now + self._config.read_timeout_s

    def asked(self, now: float) -> None:
        """An enquire_link was sent."""
        self._enquire_deadline = now + self._config.enquire_link_timeout_s

    def write_began(self, now: float) -> None:
        self._write_deadline = now + self._config.write_timeout_s

    def write_done(self) -> None:
        self._write_deadline = NEVER

    @property
    def paused(self) -> bool:
        return self._paused_at is not None

    def pause(self, now: float) -> None:
        """What the peer sends is not read: its time limits stand still."""
        if self._paused_at is None:
            self._paused_at = now

    def resume(self, now: float) -> float:
        """Read on; returns for how long it was not."""
        if self._paused_at is None:
            return 0.0
        delay_s = now - self._paused_at
        self._paused_at = None
        self._received_at += delay_s
        self._partial_deadline += delay_s
        self._enquire_deadline += delay_s
        return delay_s

    def deadline(self, bound: bool) -> float:
        """When `due` will have something; NEVER if nothing is under way."""
        deadline = min(self._write_deadline, self.state_deadline)
        if self._paused_at is not None:
            return deadline
        deadline = min(deadline, self._partial_deadline)
        if bound:
            config = self._config
            ask_at = self._received_at + config.enquire_link_s
            deadline = min(deadline, ask_at if self._enquire_deadline == NEVER else self._enquire_deadline)
            if config.inactivity_timeout_s:
                deadline = min(deadline, self.active_at + config.inactivity_timeout_s)
        return deadline

    def due(self, bound: bool, now: float) -> Due | None:
        """The most serious thing due at `now`."""
        if now >= self._write_deadline:
            return Due.WRITE_STALLED
        if now >= self.state_deadline:
            return Due.STATE
        if self._paused_at is not None:
            return None
        if now >= self._partial_deadline:
            return Due.READ_TIMEOUT
        if not bound:
            return None
        config = self._config
        if now >= self._enquire_deadline:
            return Due.ENQUIRE_LINK_TIMEOUT
        if config.inactivity_timeout_s and now >= self.active_at + config.inactivity_timeout_s:
            return Due.INACTIVE
        if self._enquire_deadline == NEVER and now >= self._received_at + config.enquire_link_s:
            return Due.ENQUIRE_LINK
        return None
