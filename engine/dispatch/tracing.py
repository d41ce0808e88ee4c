"""PDUs as they pass, for an operator who watches: `Tracing` cuts what the binds hand it, a `Trace` keeps it
until it is read.

Nobody watches: a bind has no tap, and asks one attribute for each read and each write. Somebody does: frames
are cut once for all watchers of the account, and put into queues with a limit; a reader who is slower than
the carrier loses PDUs and is told how many, the carrier never waits. A password never leaves the engine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from ...codecs import constants as c
from ...codecs.errors import Frame, FramingError
from ...codecs.framing import split
from ..bell import Bell
from ..messages import TracedPdu
from ..session.bind import Direction, Tap

TRACED_PDUS_MAX: Final = 10_000
TRACED_OCTETS_MAX: Final = 4 * 1024 * 1024
"""What one watcher may leave unread, in PDUs and in octets."""
TRACES_MAX: Final = 4
"""Watchers of one account at once."""
UNFRAMED_OCTETS_MAX: Final = 65_536

_BINDS: Final = frozenset({c.BIND_RECEIVER, c.BIND_TRANSMITTER, c.BIND_TRANSCEIVER, c.OUTBIND})


class TracedBind(Protocol):
    """What tracing needs of a bind."""

    name: str
    tap: Tap | None

    @property
    def session_number(self) -> int: ...

    @property
    def unframed(self) -> bytes: ...


class Trace:
    """One watcher's queue. `take` it when `bell` rings."""

    def __init__(self, binds: frozenset[str] | None, commands: frozenset[int] | None) -> None:
        """`binds` and `commands`: only these (None: all)."""
        self.binds = binds
        self.commands = commands
        self.bell = Bell()
        self._pdus: deque[TracedPdu] = deque()
        self._octets = 0
        self._lost = 0

    def put(self, pdu: TracedPdu) -> None:
        """One more, or one more lost."""
        if len(self._pdus) >= TRACED_PDUS_MAX or self._octets + len(pdu.octets) > TRACED_OCTETS_MAX:
            self._lost += 1
        else:
            self._pdus.append(pdu)
            self._octets += len(pdu.octets)
        self.bell.ring()

    def take(self, octets_max: int) -> tuple[list[TracedPdu], int]:
        """The oldest PDUs, of about `octets_max` octets together but at least one, and how many were lost
        behind them (0 while older ones wait still).
        """
        taken: list[TracedPdu] = []
        octets = 0
        while self._pdus and (not taken or octets + len(self._pdus[0].octets) <= octets_max):
            pdu = self._pdus.popleft()
            octets += len(pdu.octets)
            taken.append(pdu)
        self._octets -= octets
        if self._pdus:
            return taken, 0
        lost, self._lost = self._lost, 0
        return taken, lost


class Tracing:
    """The watchers of one account. `binds` gives those there are now."""

    def __init__(self, binds: Callable[[], Iterable[TracedBind]], wall: Callable[[], float]) -> None:
        self._binds = binds
        self._wall = wall
        self._traces: list[Trace] = []
        self._rests: dict[tuple[str, int], bytes] = {}
        """(bind, session) -> the octets of a PDU that is not whole yet, of what is received."""

    def watch(self, trace: Trace) -> bool:
        """Begin; False if too many watch already."""
        if len(self._traces) >= TRACES_MAX:
            return False
        self._traces.append(trace)
        if len(self._traces) == 1:
            # What came before of a PDU under way belongs to it.
            for bind in self._binds():
                self._rests[bind.name, bind.session_number] = bind.unframed
                bind.tap = self
        return True

    def made(self, bind: TracedBind) -> None:
        """A bind was made anew."""
        bind.tap = self if self._traces else None

    def leave(self, trace: Trace) -> None:
        """This watcher is gone; after the last nothing is tapped."""
        self._traces.remove(trace)
        if not self._traces:
            self._rests.clear()
            for bind in self._binds():
                bind.tap = None

    def passed(self, bind: TracedBind, direction: Direction, data: bytes) -> None:
        """See `session.bind.Tap`."""
        now = self._wall()
        name, session = bind.name, bind.session_number
        if direction == "sent":
            frames, rest = _cut(data)  # a write is whole PDUs
        else:
            key = (name, session)
            frames, rest = _cut(self._rests.pop(key, b"") + data)
            if rest:
                for old in [each for each in self._rests if each[0] == name]:
                    del self._rests[old]  # of a session that is over
                self._rests[key] = rest
        for command_id, _, _, frame in frames:
            pdu: TracedPdu | None = None
            for trace in self._traces:
                if trace.commands is not None and command_id not in trace.commands:
                    continue
                if trace.binds is not None and name not in trace.binds:
                    continue
                if pdu is None:
                    octets = without_password(frame) if command_id in _BINDS else frame
                    pdu = TracedPdu(now, direction, name, session, octets)
                trace.put(pdu)


def _cut(data: bytes) -> tuple[list[Frame], bytes]:
    """Whole PDUs, and the beginning of the next. A stream without frames is shown as one piece: the session
    ends over it.
    """
    try:
        frames, consumed = split(data, c.PDU_OCTETS_MAX)
    except FramingError as error:
        frames = list(error.frames)
        consumed = sum(len(frame) for _, _, _, frame in frames)
        frames.append((-1, 0, 0, data[consumed : consumed + UNFRAMED_OCTETS_MAX]))
        return frames, b""
    return frames, data[consumed:]


def without_password(frame: bytes) -> bytes:
    """A bind or outbind with `*` for every octet of its password (SMPP 3.4 section 4.1.1: the second
    string). One whose strings do not end has everything behind its header hidden.
    """
    start = frame.find(b"\0", c.HEADER_OCTETS) + 1
    end = frame.find(b"\0", start) if start else -1
    if end < 0:
        return frame[: c.HEADER_OCTETS] + b"*" * (len(frame) - c.HEADER_OCTETS)
    return frame[:start] + b"*" * (end - start) + frame[end:]
