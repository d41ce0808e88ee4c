"""The SMSC's side of one connection: octets in, octets out, no socket and no clock.

A shell calls `receive_data`, writes what `data_to_send` returns, and closes as `ending` says. Session states
are SMPP 5 section 2.4 (protocol: a bind first, then what the bind allows, else ESME_RINVBNDSTS).
"""

from __future__ import annotations

import math
from collections import deque
from hmac import compare_digest
from typing import TYPE_CHECKING, Final, Literal

from ..codecs import framing
from ..codecs.constants import (
    BIND_RECEIVER,
    BIND_TRANSCEIVER,
    BIND_TRANSMITTER,
    DATA_SM,
    DATA_SM_RESP,
    DELIVER_SM,
    DELIVER_SM_RESP,
    ENQUIRE_LINK,
    ENQUIRE_LINK_RESP,
    ESME_RALYBND,
    ESME_RINVBNDSTS,
    ESME_RINVCMDID,
    ESME_RINVMSGID,
    ESME_RINVPASWD,
    ESME_RINVSYSID,
    ESME_ROK,
    GENERIC_NACK,
    QUERY_SM,
    QUERY_SM_RESP,
    RESPONSE_BIT,
    SUBMIT_SM,
    TAG_SC_INTERFACE_VERSION,
    UNBIND,
    UNBIND_RESP,
)
from ..codecs.errors import Frame, FramingError, PduError
from ..codecs.pdu import BindReceiver, BindTransceiver, BindTransmitter, QuerySm, decode
from .handset import MESSAGE_STATES
from .smsc_account import HEADER, Account, Item
from .smsc_parts import read_data

if TYPE_CHECKING:
    from .smsc_core import SmscCore

State = Literal["open", "bound_tx", "bound_rx", "bound_trx", "closed"]
_BOUND: Final[dict[int, State]] = {
    BIND_TRANSMITTER: "bound_tx",
    BIND_RECEIVER: "bound_rx",
    BIND_TRANSCEIVER: "bound_trx",
}
_ALLOWED: Final[dict[int, tuple[State, ...]]] = {
    SUBMIT_SM: ("bound_tx", "bound_trx"),
    QUERY_SM: ("bound_tx", "bound_trx"),
    DATA_SM: ("bound_tx", "bound_trx"),
    UNBIND: ("bound_tx", "bound_rx", "bound_trx"),
    ENQUIRE_LINK: ("open", "bound_tx", "bound_rx", "bound_trx"),
}
"""Requests an ESME may send, and when (SMPP 5 table 2-1; enquire_link is answered always)."""

UNBIND_TIMEOUT_S: Final = 5.0
MARK_S: Final = 0.1
"""Deliveries within this time share one deadline."""
ROUNDING_S: Final = 1e-6
"""A timer may ring so much before its deadline, in floating point: what is due then is due now."""
SEQUENCE_NUMBER_MAX: Final = 0x7FFFFFFF


class EsmeSession:
    """Created by `SmscCore.connect`. `ending` is "" while open, then "close" or "reset"."""

    def __init__(self, core: SmscCore, now: float) -> None:
        self._core = core
        self._config = core.config
        self.state: State = "open"
        self.account: Account | None = None
        self.bind = 0
        self.ending: Literal["", "close", "reset"] = ""
        self.unanswered = 0
        self.peak_unanswered = 0
        self._outstanding: dict[int, Item] = {}
        self._marks: deque[tuple[int, float]] = deque()
        self._sequence_number = 0
        self._tail = b""
        self._out: list[bytes] = []
        self._dirty = False
        self._silent = False
        self._unbinding = False
        self._heard = now
        self._enquired = now
        self._armed = math.inf
        self._arm(now + self._config.bind_timeout_s)

    # The shell's side

    def receive_data(self, data: bytes, now: float) -> None:
        """Take octets from the peer; then write `data_to_send()` and look at `ending`."""
        if self.ending or self._silent:
            return
        self._heard = now
        buffer = self._tail + data if self._tail else data
        try:
            frames, used = framing.split(buffer, self._config.pdu_octets_max)
        except FramingError as error:
            self._frames(error.frames, now)
            self._core.counters.framing_errors += 1
            self.answer([HEADER(16, GENERIC_NACK, error.command_status, error.sequence_number)])
            self.close("close", now)
            return
        self._tail = buffer[used:]
        self._frames(frames, now)

    def receive_eof(self, now: float) -> None:
        """The connection is gone: unanswered receipts are offered elsewhere."""
        self.close("reset", now)

    def data_to_send(self) -> bytes:
        """Drain what is to be written, in one piece."""
        self._dirty = False
        data = b"".join(self._out)
        self._out.clear()
        return data

    # Requests

    def _frames(self, frames: list[Frame], now: float) -> None:
        """Runs of submit_sm and of deliver_sm_resp are handled at once; other PDUs keep their place."""
        submits: list[Frame] = []
        answers: list[Frame] = []
        for frame in frames:
            command_id = frame[0]
            if command_id == SUBMIT_SM:
                submits.append(frame)
            elif command_id == DELIVER_SM_RESP:
                answers.append(frame)
            else:
                submits, answers = self._batches(submits, answers, now)
                if not self.ending:
                    self._other(frame, now)
        self._batches(submits, answers, now)

    def _batches(
        self, submits: list[Frame], answers: list[Frame], now: float
    ) -> tuple[list[Frame], list[Frame]]:
        if answers and not self.ending:
            self._answered(answers, now)
        if submits and not self.ending:
            if self.account is not None and self.state in _ALLOWED[SUBMIT_SM]:
                self.account.accept(self, submits, now)
            else:
                for frame in submits:
                    self._refuse(frame, ESME_RINVBNDSTS)
        return [], []

    def _other(self, frame: Frame, now: float) -> None:
        command_id, _, sequence_number, _ = frame
        if command_id & RESPONSE_BIT:
            if command_id == UNBIND_RESP and self._unbinding:
                self.close("close", now)
            elif command_id == DATA_SM_RESP or command_id not in (ENQUIRE_LINK_RESP, GENERIC_NACK):
                self._core.counters.unexpected_responses += 1
            return
        if command_id in _BOUND:
            self._bind(frame, now)
        elif command_id not in _ALLOWED:
            self._core.counters.nacks += 1
            self.answer([HEADER(16, GENERIC_NACK, ESME_RINVCMDID, sequence_number)])
        elif self.state not in _ALLOWED[command_id]:
            self._refuse(frame, ESME_RINVBNDSTS)
        elif command_id == ENQUIRE_LINK:
            self.answer([HEADER(16, ENQUIRE_LINK_RESP, ESME_ROK, sequence_number)])
        elif command_id == UNBIND:
            self.answer([HEADER(16, UNBIND_RESP, ESME_ROK, sequence_number)])
            self.close("close", now)
        else:
            try:
                self._data(frame, now) if command_id == DATA_SM else self._query(frame, now)
            except PduError as error:
                self._refuse(frame, error.command_status)

    def _refuse(self, frame: Frame, command_status: int) -> None:
        self._core.counters.refused(command_status, 1)
        self.answer([HEADER(16, frame[0] | RESPONSE_BIT, command_status, frame[2])])

    def _bind(self, frame: Frame, now: float) -> None:
        try:
            pdu = decode(frame[3])
        except PduError as error:
            self._refuse(frame, error.command_status)
            return
        assert isinstance(pdu, BindReceiver | BindTransceiver | BindTransmitter)
        account = self._core.accounts.get(pdu.system_id.decode("latin-1"))
        status = self._bind_status(account, pdu.password)
        if status or account is None:
            self._core.counters.binds_refused += 1
            self._refuse(frame, status)
            return
        self.account = account
        self.state = _BOUND[frame[0]]
        self._core.bound(self, now)
        tlv = TAG_SC_INTERFACE_VERSION.to_bytes(2, "big") + b"\0\1\x34"
        body = self._config.smsc_id.encode()[:15] + b"\0" + tlv
        self.answer([HEADER(16 + len(body), frame[0] | RESPONSE_BIT, ESME_ROK, frame[2]), body])
        account.sessions.append(self)
        if self.state != "bound_tx":
            account.receivers.append(self)
            account.pump(now)
        self._arm(self._next_deadline())

    def _bind_status(self, account: Account | None, password: bytes) -> int:
        if self.state != "open":
            return ESME_RALYBND
        if account is None:
            return ESME_RINVSYSID
        if not compare_digest(self._config.accounts[account.system_id].encode(), password):
            return ESME_RINVPASWD
        if len(account.sessions) >= self._config.binds_max:
            return ESME_RALYBND
        return self._core.scenario.choose_bind()

    def _data(self, frame: Frame, now: float) -> None:
        assert self.account is not None
        self._core.counters.submits += 1
        self.account.take(self, [read_data(frame[3])], DATA_SM | RESPONSE_BIT, now)

    def _query(self, frame: Frame, now: float) -> None:
        assert self.account is not None
        pdu = decode(frame[3])
        assert isinstance(pdu, QuerySm)
        state = self.account.state_of(pdu.message_id, now)
        if state is None:
            self._refuse(frame, ESME_RINVMSGID)
            return
        body = pdu.message_id + b"\0\0" + bytes((MESSAGE_STATES[state], 0))
        self.answer([HEADER(16 + len(body), QUERY_SM_RESP, ESME_ROK, frame[2]), body])

    # Answers and deliveries

    def answer(self, pieces: list[bytes]) -> None:
        """Queue octets for the peer."""
        if self.ending or self._silent:
            return
        self._out += pieces
        if not self._dirty:
            self._dirty = True
            self._core.dirty.append(self)

    @property
    def deliver_room(self) -> int:
        """How many more deliver_sm may be unanswered."""
        return self._config.receipt_window_max - len(self._outstanding)

    def deliver(self, items: list[Item], now: float) -> None:
        """Send `items` as deliver_sm; they are the account's again when unanswered."""
        assert self.account is not None
        sequence_number = self._sequence_number
        if sequence_number + len(items) > SEQUENCE_NUMBER_MAX:
            sequence_number = 0
        outstanding = self._outstanding
        pieces: list[bytes] = []
        for item in items:
            sequence_number += 1
            body = item[1]
            pieces.append(HEADER(16 + len(body), DELIVER_SM, 0, sequence_number))
            pieces.append(body)
            outstanding[sequence_number] = item
        self._sequence_number = sequence_number
        self.account.unanswered_receipts += len(items)
        self._core.counters.delivers += len(items)
        self.answer(pieces)
        deadline = math.ceil(now / MARK_S) * MARK_S + self._config.receipt_timeout_s
        if self._marks and self._marks[-1][1] == deadline:
            self._marks[-1] = sequence_number, deadline
        else:
            self._marks.append((sequence_number, deadline))
            self._arm(deadline)

    def _answered(self, frames: list[Frame], now: float) -> None:
        account = self.account
        if account is None:
            self._core.counters.unexpected_responses += len(frames)
            return
        pop = self._outstanding.pop
        done: list[int] = []
        found = refused = 0
        for _, command_status, sequence_number, _ in frames:
            item = pop(sequence_number, None)
            if item is None:
                continue
            found += 1
            if command_status != ESME_ROK:
                account.refused(item, command_status, now)
                refused += 1
            elif item[0]:
                done.append(item[0])
        account.unanswered_receipts -= found
        counters = self._core.counters
        counters.unexpected_responses += len(frames) - found
        counters.delivers_answered += found - refused
        if self._core.log is not None and done:
            self._core.log.answered(now, done)
        account.pump(now)

    # Endings and timers

    def cut(self, mode: str, now: float) -> None:
        """A fault: end this bind as `mode` says ("reset" drops what was not yet written)."""
        self._core.note(now, self.account.system_id if self.account else "", "cut", self.bind)
        if mode == "unbind":
            if not self._unbinding:
                self._unbinding = True
                self._sequence_number = self._sequence_number % SEQUENCE_NUMBER_MAX + 1
                self.answer([HEADER(16, UNBIND, 0, self._sequence_number)])
                self._core.call_at(now + UNBIND_TIMEOUT_S, lambda later: self.close("close", later))
        elif mode == "silence":
            self._silent = True
            self._out.clear()
            self._leave(now)
        else:
            self.close("reset" if mode == "reset" else "close", now)

    def close(self, ending: Literal["close", "reset"], now: float) -> None:
        """End the session; the shell closes the connection when it sees `ending`."""
        if self.ending:
            return
        if ending == "reset":
            self._out.clear()
        if not self._dirty:
            self._dirty = True
            self._core.dirty.append(self)
        self.ending = ending
        self.state = "closed"
        self._leave(now)
        self._core.gone(self)

    def _leave(self, now: float) -> None:
        """Give the account back what this bind still had in hand."""
        account = self.account
        if account is None or self not in account.sessions:
            return
        account.sessions.remove(self)
        if self in account.receivers:
            account.receivers.remove(self)
        self._core.note(now, account.system_id, "lost", self.bind)
        items = list(self._outstanding.values())
        self._outstanding.clear()
        self._marks.clear()
        account.offer_again(items, now)

    def _arm(self, deadline: float) -> None:
        if deadline < self._armed:
            self._armed = deadline
            self._core.call_at(deadline, self._tick)

    def _next_deadline(self) -> float:
        if self.state == "open":
            return math.inf
        deadline = self._marks[0][1] if self._marks else math.inf
        if self._config.inactivity_s:
            deadline = min(deadline, self._heard + self._config.inactivity_s)
        if self._config.enquire_link_s:
            deadline = min(deadline, max(self._heard, self._enquired) + self._config.enquire_link_s)
        return deadline

    def _tick(self, now: float) -> None:
        self._armed = math.inf
        if self.ending or self._silent:
            return
        if self.state == "open":
            self.close("close", now)
            return
        due = now + ROUNDING_S
        while self._marks and self._marks[0][1] <= due:
            self._time_out(self._marks.popleft()[0], now)
        inactivity_s, enquire_link_s = self._config.inactivity_s, self._config.enquire_link_s
        if inactivity_s and due >= self._heard + inactivity_s:
            self.close("close", now)
            return
        if enquire_link_s and due >= max(self._heard, self._enquired) + enquire_link_s:
            self._enquired = now
            self._sequence_number = self._sequence_number % SEQUENCE_NUMBER_MAX + 1
            self.answer([HEADER(16, ENQUIRE_LINK, 0, self._sequence_number)])
        self._arm(self._next_deadline())

    def _time_out(self, last: int, now: float) -> None:
        """deliver_sm up to sequence_number `last` were never answered: offer them again."""
        assert self.account is not None
        late: list[Item] = []
        for sequence_number in list(self._outstanding):
            if sequence_number > last:
                break
            late.append(self._outstanding.pop(sequence_number))
        self.account.offer_again(late, now)
