"""One SMPP session as an ESME sees it: octets in, events and octets out; no I/O and no clock.

SMPP 3.4 sections 2.2 (states), 2.7 (windows), 4 (PDUs), 7.2 (timers). The caller:
 1. makes a Session when the connection is up: the bind PDU is queued already;
 2. writes what `data_to_send()` gives after every call of anything else here;
 3. gives every octet read to `receive_data`, the end to `receive_eof` or `connection_lost`;
 4. drains `events()` after each of these and acts on them;
 5. calls `handle_tick` when `next_deadline()` has come;
 6. at `Closed` flushes `data_to_send()` and closes the connection.

A peer can do nothing that raises here: what it does wrong is answered as section 3.3 and table 5-2 ask,
counted, or ends the session with a `Closed` event. The counters:

    unknown_command        request with an unknown command_id, answered generic_nack ESME_RINVCMDID
    illegal_state          PDU not legal in this state; a request that has a response is answered
                           ESME_RINVBNDSTS
    response_unsolicited   response to nothing of ours, ignored
    response_mismatched    response of another kind than its request, ignored
    nack_unmatched         generic_nack that names no request of ours
    message_id_malformed   submit_sm_resp with a message_id without NUL or above 64 octets
    bind_resp_malformed    bind_resp whose body could not be read, taken all the same
    outbind, alert_notification   PDUs we have no use for
    answer_stale           answer_delivers for another session
    late_response          answer to a request given up
    framing_error          stream that is not SMPP or lost its frames
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import Final

from ...codecs import constants as c
from ...codecs.errors import Frame, FramingError, status_name
from ...codecs.framing import split
from .errors import NotBound, WindowFull
from .events import (
    BindRefused,
    Bound,
    Closed,
    CloseReason,
    Counted,
    DeliverAnswer,
    DeliverItem,
    Delivers,
    Event,
    LateResponses,
    ResponseItem,
    Responses,
    TimedOut,
    Token,
    UnbindReceived,
)
from .settings import SessionConfig
from .states import AFTER_RECEIVING, AFTER_SENDING, BIND_COMMANDS, BOUND, RECEIVES, RESPONSES, SENDS, State
from .timers import Due, Timers
from .window import NEVER, Window
from .wire import MISSING, RESPONSE_OCTETS_MAX, bind_pdu, find_tlv, match_run, pack_header

_SUBMIT_SM_RESP: Final = c.SUBMIT_SM_RESP
_DELIVER_SM: Final = c.DELIVER_SM
_SYSTEM_ID_OCTETS_MAX: Final = 15
_WITHOUT_RESPONSE: Final = frozenset({c.OUTBIND, c.ALERT_NOTIFICATION})
_MESSAGE_ID_RESPONSES: Final = frozenset({c.SUBMIT_SM_RESP, c.DATA_SM_RESP})
_WINDOWED: Final = frozenset(RESPONSES) - {c.UNBIND, c.ENQUIRE_LINK}
_HANDLE_SHIFT: Final = 32
_SEQUENCE_MASK: Final = 0xFFFFFFFF


class Session:
    """One session, from bind to the end of its connection. Not to be used again after `Closed`.

    `state` is its state, `congestion_state` the last SMPP 5.0 congestion_state (0 to 100) the SMSC gave,
    `submitted`, `answered` and `delivered` count PDUs, `delivers_unanswered` those still owed an answer.
    """

    def __init__(self, config: SessionConfig, now: float, number: int = 0) -> None:
        """Queue the bind. `number` tells the sessions of one bind apart (it is in the handles of
        delivers)."""
        self.config = config
        self.state = State.OPEN
        self.congestion_state: int | None = None
        self.submitted = 0
        self.answered = 0
        self.delivered = 0
        self.delivers_unanswered = 0
        self._handle_base = number << _HANDLE_SHIFT
        self._window_size = config.window
        self._window = Window(config.response_timeout_s, config.late_max)
        self._held = False
        self._closed = False
        self._events: list[Event] = []
        self._counted: dict[str, int] = {}
        self._timed_out_in_a_row = 0
        self._unmatched_nacks = 0

        self._buffer = bytearray()
        self._buffer_octets_needed = 0
        self._out: list[bytes] = []
        self._out_octets = 0
        self._unsent_first: int | None = None

        self._timers = Timers(config, now)
        self._peer_unbind_sequence: int | None = None

        self._enter(State.OPEN)
        sequence_number = self._window.allocate(1)[0]
        self._window.control[sequence_number] = BIND_COMMANDS[config.bind]
        self._put(bind_pdu(config, sequence_number))

    # --- what the caller asks ------------------------------------------------------------------------------

    @property
    def window(self) -> int:
        """Most requests unanswered; may be set, and is kept between 1 and the configured window."""
        return self._window_size

    @window.setter
    def window(self, size: int) -> None:
        self._window_size = max(1, min(size, self.config.window))

    @property
    def outstanding(self) -> int:
        """Requests in the window: sent or queued, not answered, not given up."""
        return len(self._window)

    @property
    def window_free(self) -> int:
        """Requests that may be submitted now; 0 unless bound for sending, draining or written to the brim."""
        if not self._may_submit or self._held or self._out_octets >= self.config.write_buffer_octets_max:
            return 0
        window = self._window
        free = self._window_size - len(window.tokens) - len(window.requests)
        return free if free > 0 else 0

    @property
    def wants_read(self) -> bool:
        """False while so much is unanswered or unwritten that the peer has to wait (do not read on)."""
        config = self.config
        return (
            self.delivers_unanswered < config.deliver_outstanding_max
            and self._out_octets < config.write_buffer_octets_max
        )

    @property
    def closed(self) -> bool:
        """Closed was told: only `data_to_send` is of interest now."""
        return self._closed

    @property
    def unframed(self) -> bytes:
        """The beginning of a PDU that is not whole yet."""
        return bytes(self._buffer)

    def events(self) -> list[Event]:
        """Drain what happened since the last call, in order."""
        if self._counted:
            # In front: Closed stays the last event there is.
            self._events[:0] = [Counted(name, n) for name, n in self._counted.items()]
            self._counted = {}
        events = self._events
        self._events = []
        return events

    def data_to_send(self) -> bytes:
        """Drain what is to be written now, in one piece; from then on its requests count as sent."""
        out = self._out
        if not out:
            return b""
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        self._out_octets = 0
        self._unsent_first = None
        return data

    # --- sending -------------------------------------------------------------------------------------------

    def submit(self, bodies: Sequence[bytes], tokens: Sequence[Token], now: float) -> None:
        """Queue one submit_sm for each body (a PDU without its header); its outcome comes with its token.

        Raises NotBound or WindowFull, with nothing queued. Call `data_to_send` afterwards.
        """
        n = len(bodies)
        if n > self.window_free:
            if not self._may_submit or self._held:
                raise NotBound(self.state.value)
            raise WindowFull(n, self.window_free)
        if len(tokens) != n:
            raise ValueError("as many tokens as bodies")
        if not n:
            return
        window = self._window
        sequence_numbers = window.allocate(n)
        window.tokens.update(zip(sequence_numbers, tokens, strict=True))
        lengths = [len(body) + 16 for body in bodies]
        out = self._out
        for header, body in zip(
            map(pack_header, lengths, repeat(c.SUBMIT_SM), repeat(0), sequence_numbers), bodies, strict=True
        ):
            out.append(header)
            out.append(body)
        self._out_octets += sum(lengths)
        self._sent(sequence_numbers[0], sequence_numbers[-1], now)
        self.submitted += n

    def request(self, command_id: int, body: bytes, token: Token, now: float) -> None:
        """Queue any other request (query_sm, data_sm, cancel_sm ...): it takes a place in the window too.

        Raises NotBound or WindowFull.
        """
        if command_id not in SENDS[self.state] or command_id not in RESPONSES or self._held or self._closed:
            raise NotBound(self.state.value)
        if not self.window_free:
            raise WindowFull(1, 0)
        sequence_number = self._window.allocate(1)[0]
        self._window.requests[sequence_number] = (command_id, token)
        self._queue(command_id, 0, sequence_number, body)
        self._sent(sequence_number, sequence_number, now)

    def answer_delivers(self, answers: Sequence[DeliverAnswer]) -> None:
        """Queue deliver_sm_resp and data_sm_resp: (handle, command_id of the request, command_status).

        Answers of an earlier session of the same bind are dropped: a response must return on the session
        of its request (SMPP 3.4 section 2.6), and the SMSC will deliver that PDU again.
        """
        base = self._handle_base
        out = self._out
        octets = 0
        answered = 0
        if not self._closed:
            for handle, command_id, command_status in answers:
                sequence_number = handle - base
                if not 0 <= sequence_number <= _SEQUENCE_MASK:
                    continue
                response_id = command_id | c.RESPONSE_BIT
                if command_status:
                    out.append(pack_header(16, response_id, command_status, sequence_number))
                    octets += 16
                else:
                    # message_id is unused and NUL (section 4.6.2).
                    out.append(pack_header(17, response_id, command_status, sequence_number) + b"\0")
                    octets += 17
                answered += 1
        self._out_octets += octets
        self.delivers_unanswered = max(0, self.delivers_unanswered - answered)
        if answered != len(answers):
            self._count("answer_stale", len(answers) - answered)
        if self._peer_unbind_sequence is not None:
            self._finish_peer_unbind()

    def hold(self) -> None:
        """Take no more requests (the drain before an unbind); answers still come."""
        self._held = True

    def unbind(self, now: float) -> None:
        """Queue an unbind: Closed follows with its answer, or after unbind_timeout_s. Not bound: closed at
        once."""
        if self._closed or self.state is State.UNBINDING:
            return
        if self.state not in BOUND:
            self._close(CloseReason.UNBOUND, "not bound")
            return
        self._control(c.UNBIND)
        self._enter(AFTER_SENDING[self.state][c.UNBIND])
        self._timers.state_deadline = now + self.config.unbind_timeout_s

    # --- receiving -----------------------------------------------------------------------------------------

    def receive_data(self, data: bytes, now: float) -> None:
        """Take in octets as they came. Then call `events`, `data_to_send` and look at `wants_read`."""
        if self._closed:
            return
        buffer = self._buffer
        if buffer:
            buffer += data
            if len(buffer) < self._buffer_octets_needed:
                # Looked at again when it is whole: octets that come one by one cost no more than that.
                return
            data = bytes(buffer)
            buffer.clear()
        octets = len(data)
        if octets >= c.HEADER_OCTETS:
            responses: list[ResponseItem] = []
            matched_octets = match_run(data, self._window.tokens.pop, responses)
            if matched_octets:
                self._batch(responses, [], now)
                data = data[matched_octets:]
        self._split(data, now)
        if self.closed:
            buffer.clear()
            return
        progress = len(buffer) < octets
        if progress:
            self._timers.received(now)
        self._timers.partial(bool(buffer), progress, now)
        self._buffer_octets_needed = int.from_bytes(buffer[:4], "big") if len(buffer) >= 4 else 4

    def _split(self, data: bytes, now: float) -> None:
        """Frame `data`, deal with the frames, keep the rest."""
        octets_max = self._pdu_octets_max()
        error: FramingError | None = None
        try:
            frames, consumed = split(data, octets_max)
        except FramingError as caught:
            error = caught
            frames, consumed = caught.frames, sum(len(frame) for _, _, _, frame in caught.frames)
        if frames:
            self._frames(frames, now)
        if error is None:
            self._buffer += data[consumed:]
        elif octets_max == self._pdu_octets_max():
            self._framing_error(error)
        else:
            # The bind was accepted in this very buffer; what follows is only too long for an unbound peer.
            self._split(data[consumed:], now)

    def _pdu_octets_max(self) -> int:
        config = self.config
        return config.pdu_octets_max_unbound if self.state is State.OPEN else config.pdu_octets_max

    def receive_eof(self, now: float) -> None:
        """The peer closed its side; to our unbind, that is answer enough. Then drain `events`."""
        if self.state is State.UNBINDING and self._peer_unbind_sequence is None:
            self._close(CloseReason.UNBOUND, "closed without unbind_resp")
        else:
            self._close(CloseReason.EOF, "")

    def connection_lost(self, reason: CloseReason, detail: str = "") -> None:
        """The connection failed, or the caller gives it up. Then drain `events`."""
        self._close(reason, detail)

    def _frames(self, frames: list[Frame], now: float) -> None:
        """The hot loop: answers to submit_sm, and deliver_sm; anything else goes to `_other`."""
        responses: list[ResponseItem] = []
        delivers: list[DeliverItem] = []
        pop = self._window.tokens.pop
        base = self._handle_base
        may_deliver = self._may_deliver
        for command_id, command_status, sequence_number, frame in frames:
            if command_id == _SUBMIT_SM_RESP:
                token = pop(sequence_number, MISSING)
                if token is not MISSING:
                    message_id = frame[16:-1]
                    if command_status or frame[-1] or 0 in message_id or len(frame) > RESPONSE_OCTETS_MAX:
                        message_id = self._unusual_response(command_status, frame)
                    responses.append((token, command_id, command_status, message_id, sequence_number))
                    continue
            elif command_id == _DELIVER_SM and may_deliver:
                delivers.append((base + sequence_number, command_id, frame))
                continue
            # Something rarer, which may change the state: tell what came before it first.
            self._batch(responses, delivers, now)
            responses = []
            delivers = []
            self._other(command_id, command_status, sequence_number, frame, now)
            if self._closed and self.state is not State.UNBOUND:
                return
            may_deliver = self._may_deliver
        self._batch(responses, delivers, now)

    def _batch(self, responses: list[ResponseItem], delivers: list[DeliverItem], now: float) -> None:
        if responses:
            self.answered += len(responses)
            self._timed_out_in_a_row = 0
            self._unmatched_nacks = 0
            self._timers.active_at = now
            self._events.append(Responses(responses))
        if delivers:
            self.delivered += len(delivers)
            self.delivers_unanswered += len(delivers)
            self._timers.active_at = now
            self._events.append(Delivers(delivers))
        if self._peer_unbind_sequence is not None:
            self._finish_peer_unbind()

    def _other(
        self, command_id: int, command_status: int, sequence_number: int, frame: bytes, now: float
    ) -> None:
        """Everything but the hot two, by the table."""
        if command_id & c.RESPONSE_BIT:
            self._response(command_id, command_status, sequence_number, frame, now)
        elif command_id not in RESPONSES and command_id not in _WITHOUT_RESPONSE:
            self._count("unknown_command")
            self._queue(c.GENERIC_NACK, c.ESME_RINVCMDID, sequence_number)
        elif command_id not in RECEIVES[self.state]:
            self._count("illegal_state")
            if command_id in RESPONSES:
                self._queue(RESPONSES[command_id], c.ESME_RINVBNDSTS, sequence_number)
        elif command_id == c.ENQUIRE_LINK:
            self._queue(c.ENQUIRE_LINK_RESP, c.ESME_ROK, sequence_number)
        elif command_id == c.UNBIND:
            self._peer_unbind(sequence_number, now)
        elif command_id in _WITHOUT_RESPONSE:
            self._count(c.COMMAND_NAMES[command_id])
        else:
            self._batch([], [(self._handle_base + sequence_number, command_id, frame)], now)

    def _response(
        self, command_id: int, command_status: int, sequence_number: int, frame: bytes, now: float
    ) -> None:
        """An answer that the hot loop did not match. Nothing here is ever answered (section 3.3)."""
        window = self._window
        if command_id == c.GENERIC_NACK:
            self._nack(command_status or c.ESME_RUNKNOWNERR, sequence_number, now)
        elif sequence_number in window.requests:
            request_id, token = window.requests[sequence_number]
            if request_id | c.RESPONSE_BIT != command_id:
                self._count("response_mismatched")
                return
            del window.requests[sequence_number]
            content = self._content(command_id, command_status, frame)
            self._batch([(token, command_id, command_status, content, sequence_number)], [], now)
        elif sequence_number in window.control:
            if window.control[sequence_number] | c.RESPONSE_BIT != command_id:
                self._count("response_mismatched")
                return
            request_id = window.control.pop(sequence_number)
            if request_id == c.UNBIND:
                self._enter(AFTER_RECEIVING[self.state][command_id])
                self._close(CloseReason.UNBOUND, "")
            elif request_id != c.ENQUIRE_LINK:
                self._bind_response(command_id, command_status, frame)
        elif sequence_number in window.late:
            content = self._content(command_id, command_status, frame)
            self._late(command_id, command_status, content, sequence_number)
        elif sequence_number in window.tokens:
            self._count("response_mismatched")
        else:
            self._count("response_unsolicited")

    def _nack(self, command_status: int, sequence_number: int, now: float) -> None:
        """generic_nack (section 4.3): the failure of the request it names; a stream gone wrong if it names
        none."""
        window = self._window
        token = window.tokens.pop(sequence_number, MISSING)
        if token is MISSING and sequence_number in window.requests:
            _, token = window.requests.pop(sequence_number)
        if token is not MISSING:
            self._batch([(token, c.GENERIC_NACK, command_status, b"", sequence_number)], [], now)
        elif sequence_number in window.control:
            request_id = window.control.pop(sequence_number)
            if request_id == c.UNBIND:
                self._enter(State.UNBOUND)
                self._close(CloseReason.UNBOUND, "unbind answered by generic_nack")
            elif request_id != c.ENQUIRE_LINK:
                self._refused(command_status)
        elif sequence_number in window.late:
            self._late(c.GENERIC_NACK, command_status, b"", sequence_number)
        else:
            self._count("nack_unmatched")
            self._unmatched_nacks += 1
            if self._unmatched_nacks >= self.config.unmatched_nacks_max:
                self._close(CloseReason.NACKED, status_name(command_status))

    def _late(self, command_id: int, command_status: int, content: bytes, sequence_number: int) -> None:
        token = self._window.late.pop(sequence_number)
        self._timed_out_in_a_row = 0
        self._count("late_response")
        self._events.append(LateResponses([(token, command_id, command_status, content, sequence_number)]))

    def _bind_response(self, command_id: int, command_status: int, frame: bytes) -> None:
        if command_status != c.ESME_ROK:
            self._refused(command_status)
            return
        end = frame.find(b"\0", 16)
        if end < 0:
            self._count("bind_resp_malformed")
            end = len(frame)
        version = find_tlv(frame, end + 1, c.TAG_SC_INTERFACE_VERSION)
        self._enter(AFTER_RECEIVING[self.state][command_id])
        self._timers.state_deadline = NEVER
        self._events.append(Bound(frame[16:end][:_SYSTEM_ID_OCTETS_MAX], version[0] if version else None))

    def _refused(self, command_status: int) -> None:
        self._events.append(BindRefused(command_status))
        self._close(CloseReason.BIND_REFUSED, status_name(command_status))

    def _content(self, command_id: int, command_status: int, frame: bytes) -> bytes:
        if command_id in _MESSAGE_ID_RESPONSES:
            return self._unusual_response(command_status, frame)
        return b"" if command_status else frame[16:]

    def _unusual_response(self, command_status: int, frame: bytes) -> bytes:
        """The message_id of a submit_sm_resp or data_sm_resp that is not just ESME_ROK, id, NUL.

        An error carries no body, but peers send one (SMPP 3.4 section 4.4.2): its id is ignored. An id
        that breaks section 5.2.23 counts as none, as no receipt could ever name it.
        """
        if len(frame) <= 17:
            if len(frame) == 17 and frame[16] and not command_status:
                self._count("message_id_malformed")
            return b""
        end = frame.find(b"\0", 16)
        if end < 0:
            if not command_status:
                self._count("message_id_malformed")
            return b""
        congestion_state = find_tlv(frame, end + 1, c.TAG_CONGESTION_STATE)
        if congestion_state is not None and len(congestion_state) == 1 and congestion_state[0] <= 100:
            self.congestion_state = congestion_state[0]
        if command_status:
            return b""
        if end - 16 > c.MESSAGE_ID_OCTETS_MAX:
            self._count("message_id_malformed")
            return b""
        return frame[16:end]

    # --- ends ----------------------------------------------------------------------------------------------

    def _peer_unbind(self, sequence_number: int, now: float) -> None:
        """The SMSC wants to go: no more requests, and its unbind_resp once answers under way are through."""
        if self.state is State.UNBINDING:
            # Both at once, or twice: answered, and the first unbind takes its course.
            self._queue(c.UNBIND_RESP, c.ESME_ROK, sequence_number)
            return
        self._enter(AFTER_RECEIVING[self.state][c.UNBIND])
        self._timers.state_deadline = now + self.config.unbind_grace_s
        self._peer_unbind_sequence = sequence_number
        self._events.append(UnbindReceived())
        self._finish_peer_unbind()

    def _finish_peer_unbind(self, force: bool = False) -> None:
        sequence_number = self._peer_unbind_sequence
        if sequence_number is None or ((self._window or self.delivers_unanswered) and not force):
            return
        self._peer_unbind_sequence = None
        self._queue(c.UNBIND_RESP, c.ESME_ROK, sequence_number)
        self._enter(AFTER_SENDING[self.state][c.UNBIND_RESP])
        self._close(CloseReason.UNBOUND_BY_PEER, "")

    def _framing_error(self, error: FramingError) -> None:
        """The stream has no frames any more: say so, and go (SMPP 3.4 section 3.3: generic_nack)."""
        if self._closed:
            return
        self._count("framing_error")
        self._queue(c.GENERIC_NACK, error.command_status, error.sequence_number)
        self._close(CloseReason.FRAMING, error.detail)

    def _close(self, reason: CloseReason, detail: str) -> None:
        if self._closed:
            return
        doubt, unsent = self._window.take_all(self._unsent_first)
        if self._unsent_first is not None:
            # Told as unsent, so it must never leave; answers that are queued may.
            frames, _ = split(b"".join(self._out), self._out_octets)
            self._out = [frame for command_id, _, _, frame in frames if command_id not in _WINDOWED]
            self._unsent_first = None
        self._closed = True
        self._peer_unbind_sequence = None
        if self.state is not State.UNBOUND:
            self._enter(State.CLOSED)
        self._events.append(Closed(reason, detail, doubt, unsent))

    # --- time ----------------------------------------------------------------------------------------------

    def next_deadline(self) -> float:
        """When `handle_tick` has something to do, on the clock `now` is of; infinity for never."""
        if self._closed:
            return NEVER
        timers = self._timers
        deadline = timers.deadline(self._bound)
        return deadline if timers.paused else min(deadline, self._window.deadline())

    def handle_tick(self, now: float) -> None:
        """Do what is due at `now`. Then drain `events` and `data_to_send`; a call too early does no harm."""
        config = self.config
        timers = self._timers
        if not (self._closed or timers.paused):
            self._expire(now)
        match None if self._closed else timers.due(self._bound, now):
            case None:
                pass
            case Due.WRITE_STALLED:
                self._close(CloseReason.WRITE_STALLED, f"nothing taken for {config.write_timeout_s:g} s")
            case Due.STATE:
                self._state_timed_out()
            case Due.READ_TIMEOUT:
                self._close(CloseReason.READ_TIMEOUT, f"a PDU not whole after {config.read_timeout_s:g} s")
            case Due.ENQUIRE_LINK_TIMEOUT:
                silence_s = config.enquire_link_s + config.enquire_link_timeout_s
                self._close(CloseReason.ENQUIRE_LINK_TIMEOUT, f"no PDU in {silence_s:g} s")
            case Due.INACTIVE:
                self.unbind(now)
            case Due.ENQUIRE_LINK:
                self._ask(now)

    def _state_timed_out(self) -> None:
        if self.state is State.OPEN:
            self._close(CloseReason.BIND_TIMEOUT, f"no bind_resp in {self.config.bind_timeout_s:g} s")
        elif self._peer_unbind_sequence is not None:
            self._finish_peer_unbind(force=True)
        else:
            self._close(CloseReason.UNBIND_TIMEOUT, f"no unbind_resp in {self.config.unbind_timeout_s:g} s")

    def _expire(self, now: float) -> None:
        tokens = self._window.expire(now)
        if not tokens:
            return
        self._events.append(TimedOut(tokens))
        self._timed_out_in_a_row += len(tokens)
        # A whole window given up without one answer between: this bind answers nothing. With what is
        # outstanding now, at most two windows are in doubt.
        if self._timed_out_in_a_row >= max(2, self.config.window):
            self._close(CloseReason.UNANSWERED, f"{self._timed_out_in_a_row} requests in a row")
        elif self._peer_unbind_sequence is not None:
            self._finish_peer_unbind()

    def _ask(self, now: float) -> None:
        """Send an enquire_link; one before it that was never answered is forgotten."""
        control = self._window.control
        for sequence_number in [n for n, command_id in control.items() if command_id == c.ENQUIRE_LINK]:
            del control[sequence_number]
        self._control(c.ENQUIRE_LINK)
        self._timers.asked(now)

    def pause_reading(self, now: float) -> None:
        """The caller stops reading: time limits on what the peer sends stand still until `resume_reading`."""
        self._timers.pause(now)

    def resume_reading(self, now: float) -> None:
        self._window.postpone(self._timers.resume(now))

    def write_began(self, now: float) -> None:
        """The caller began to write what `data_to_send` gave: the peer has write_timeout_s to take it."""
        self._timers.write_began(now)

    def write_done(self) -> None:
        self._timers.write_done()

    # --- small things --------------------------------------------------------------------------------------

    def _enter(self, state: State) -> None:
        self.state = state
        self._bound = state in BOUND
        self._may_submit = c.SUBMIT_SM in SENDS[state]
        self._may_deliver = c.DELIVER_SM in RECEIVES[state]

    def _control(self, command_id: int) -> None:
        """A request of the session itself: outside the window, so that a full one cannot stop it."""
        sequence_number = self._window.allocate(1)[0]
        self._window.control[sequence_number] = command_id
        self._queue(command_id, c.ESME_ROK, sequence_number)

    def _queue(self, command_id: int, command_status: int, sequence_number: int, body: bytes = b"") -> None:
        self._put(pack_header(16 + len(body), command_id, command_status, sequence_number) + body)

    def _put(self, pdu: bytes) -> None:
        self._out.append(pdu)
        self._out_octets += len(pdu)

    def _sent(self, first: int, last: int, now: float) -> None:
        self._window.sent(first, last, now)
        self._timers.active_at = now
        if self._unsent_first is None:
            self._unsent_first = first

    def _count(self, name: str, n: int = 1) -> None:
        self._counted[name] = self._counted.get(name, 0) + n
