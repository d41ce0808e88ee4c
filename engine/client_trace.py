"""An operator's view of PDUs as they pass, for programs without an event loop."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import msgspec

from .client_sync import SyncLink
from .client_wire import Refused
from .messages import TracedPdu

ANSWER_S: float = 60.0


class _Answer(msgspec.Struct):
    pdus: list[TracedPdu]
    lost: int


class SyncTrace:
    """A carrier's PDUs from now on; a context manager. `bind` is a slot's number, `commands` their names.

    Who does not `receive` them in time loses some and is told how many; the carrier never waits. Raises
    NodeAway, Refused (not_allowed, unknown_carrier, out_of_range, too_many).
    """

    def __init__(
        self,
        socket_path: str | os.PathLike[str],
        carrier: str,
        *,
        bind: int | None = None,
        commands: Sequence[str] | None = None,
    ) -> None:
        self._link = SyncLink(os.fspath(socket_path), "msgpack")
        try:
            names = None if commands is None else list(commands)
            _, frame = self._link.wire.request("trace", carrier=carrier, bind=bind, commands=names)
            self._link.send(frame, time.monotonic() + ANSWER_S)
            # The first answer says that it has begun; more may have come with it.
            self._ready = self._receive(time.monotonic() + ANSWER_S)
        except BaseException:
            self._link.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Watch no more."""
        self._link.close()

    def receive(self, timeout_s: float | None = None) -> tuple[list[TracedPdu], int]:
        """The next PDUs, and how many were lost behind them. Raises TimeoutError, NodeAway, Refused."""
        if self._ready[0] or self._ready[1]:
            ready, self._ready = self._ready, ([], 0)
            return ready
        return self._receive(None if timeout_s is None else time.monotonic() + timeout_s)

    def _receive(self, deadline: float | None) -> tuple[list[TracedPdu], int]:
        pdus: list[TracedPdu] = []
        lost = 0
        while True:
            answers, _ = self._link.receive(deadline)
            for _, outcome in answers:
                if isinstance(outcome, Refused):
                    raise outcome
                answer = msgspec.convert(outcome, _Answer)
                pdus += answer.pdus
                lost += answer.lost
            if answers:
                return pdus, lost
