"""One bind kept up for ever: connect, feed the session, write what it wants, tell a handler, come back.

The shell around `Session`: no SMPP decision is made here. One task reads, one writes, one keeps time.
Everything queued within a turn of the event loop leaves in one write (SMPP over TCP dies of many small
ones). The handler's methods are called from these tasks, without awaiting, in batches; they may call
`submit` and `answer_delivers`.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal, Protocol, TypeAlias

import anyio
import msgspec
from anyio.abc import ByteStream

from ..clock import Clock
from .backoff import CREDENTIALS_REFUSED, STABLE_S, backoff_s, refused_backoff_s
from .errors import ConnectError, NotBound
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
from .session import Session
from .settings import SessionConfig
from .states import BOUND, State
from .window import NEVER

READ_OCTETS_MAX: Final = 65_536
FLUSH_TIMEOUT_S: Final = 2.0
"""At the end of a session: for the last octets (unbind_resp, generic_nack) to leave."""
_CLOCK_SLACK_S: Final = 1e-6

_UNFLUSHED: Final = frozenset(
    {CloseReason.EOF, CloseReason.LOST, CloseReason.WRITE_STALLED, CloseReason.ABANDONED}
)

_log = logging.getLogger(__name__)


class BindHandler(Protocol):
    """What a Bind tells its owner. Plain calls, made from the bind's own tasks: return soon, raise nothing.

    For every token given to `submit` or `request` exactly one of on_responses, on_doubt and on_unsent is
    called; after on_doubt there may be one on_late_responses.
    """

    def on_bound(self, bind: Bind) -> None:
        """The session is up; `bind.window_free` says what may be submitted."""
        ...

    def on_responses(self, bind: Bind, items: list[ResponseItem]) -> None:
        """Answers: (token, command_id, command_status, message_id, sequence_number)."""
        ...

    def on_late_responses(self, bind: Bind, items: list[ResponseItem]) -> None:
        """Answers to what on_doubt reported after a time-out, on the same session."""
        ...

    def on_delivers(self, bind: Bind, items: list[DeliverItem]) -> None:
        """(handle, command_id, whole PDU), each to be answered through `bind.answer_delivers`."""
        ...

    def on_doubt(self, bind: Bind, tokens: list[Token]) -> None:
        """Sent, and not answered in time or before the connection went: outcome unknown."""
        ...

    def on_unsent(self, bind: Bind, tokens: list[Token]) -> None:
        """Queued, but never given to the connection before it went: surely not at the SMSC."""
        ...

    def on_lost(self, bind: Bind, reason: str) -> None:
        """The session is over (after on_doubt and on_unsent); the bind comes back by itself unless closed."""
        ...

    def on_window(self, bind: Bind) -> None:
        """There is room again after `window_free` had come down to 0."""
        ...


Direction: TypeAlias = Literal["sent", "received"]


class Tap(Protocol):
    """Who watches a bind, told of every write (whole PDUs) and every read (octets as they came)."""

    def passed(self, bind: Bind, direction: Direction, data: bytes) -> None:
        """`data` passes now. Return soon, raise nothing."""
        ...


class BindStatistics(msgspec.Struct, frozen=True):
    """A moment of a bind. `bound_since` is wall time in seconds, None while not bound."""

    name: str
    state: str
    window: int
    outstanding: int
    bound_since: float | None
    last_error: str
    refused: bool
    """The SMSC refuses the credentials: somebody has to look."""
    failures: int
    """Attempts in a row without a lasting session."""
    sessions: int
    submitted: int
    answered: int
    delivered: int
    congestion_state: int | None
    counters: dict[str, int]


class Bind:
    """A bind that `run` keeps up until `close`.

    `connect` makes a connection (see connect.py); it may raise OSError or ConnectError.
    `rng` draws the waits between attempts. All methods but `run` and `close` are plain calls.
    """

    def __init__(
        self,
        name: str,
        config: SessionConfig,
        connect: Callable[[], Awaitable[ByteStream]],
        clock: Clock,
        rng: random.Random,
        handler: BindHandler,
    ) -> None:
        self.name = name
        self.config = config
        self._connect = connect
        self._clock = clock
        self._rng = rng
        self._handler = handler
        self.tap: Tap | None = None

        self._session: Session | None = None
        self._window = config.window
        self._sessions = 0
        self._failures = 0
        self._refused = False
        self._refused_now = False
        self._flush = True
        self._last_error = ""
        self._bound_at: float | None = None
        self._bound_since: float | None = None
        self._counters: Counter[str] = Counter()
        self._submitted = self._answered = self._delivered = 0

        self._running = False
        self._closing = False
        self._full = False
        self._dispatching = False
        self._finished: anyio.Event | None = None
        self._drained: anyio.Event | None = None
        self._run_scope: anyio.CancelScope | None = None
        self._session_scope: anyio.CancelScope | None = None
        self._timer_scope: anyio.CancelScope | None = None
        self._timer_at = NEVER
        self._write_wanted: anyio.Event | None = None
        self._read_wanted: anyio.Event | None = None

    # --- plain calls ---------------------------------------------------------------------------------------

    @property
    def bound(self) -> bool:
        session = self._session
        return session is not None and session.state in BOUND

    @property
    def window(self) -> int:
        """Most requests unanswered at once: 1 to the configured window. Kept over sessions."""
        return self._window

    @window.setter
    def window(self, size: int) -> None:
        self._window = max(1, min(size, self.config.window))
        session = self._session
        if session is not None:
            session.window = self._window
            self._settle(session)

    @property
    def window_free(self) -> int:
        """Requests that `submit` takes now; 0 while not bound."""
        session = self._session
        return 0 if session is None else session.window_free

    @property
    def congestion_state(self) -> int | None:
        """The last congestion_state the SMSC told in this session (SMPP 5.0 section 4.8.4.18)."""
        session = self._session
        return None if session is None else session.congestion_state

    @property
    def session_number(self) -> int:
        """How many sessions there have been, this one included."""
        return self._sessions

    @property
    def unframed(self) -> bytes:
        """What has been read of a PDU that is not whole yet."""
        session = self._session
        return b"" if session is None else session.unframed

    @property
    def outstanding(self) -> int:
        session = self._session
        return 0 if session is None else session.outstanding

    def submit(self, bodies: Sequence[bytes], tokens: Sequence[Token]) -> None:
        """Send one submit_sm for each body, at most `window_free`; they leave in this turn of the loop.

        Raises NotBound or WindowFull, with nothing sent.
        """
        session = self._session
        if session is None:
            raise NotBound(State.CLOSED.value)
        session.submit(bodies, tokens, self._clock.monotonic())
        self._after_request(session)

    def request(self, command_id: int, body: bytes, token: Token) -> None:
        """Send another request (query_sm, data_sm ...). Raises NotBound or WindowFull."""
        session = self._session
        if session is None:
            raise NotBound(State.CLOSED.value)
        session.request(command_id, body, token, self._clock.monotonic())
        self._after_request(session)

    def answer_delivers(self, answers: Sequence[DeliverAnswer]) -> None:
        """Answer deliver_sm and data_sm: (handle, command_id, command_status). Too late is dropped, and
        counted."""
        session = self._session
        if session is None:
            self._counters["answer_stale"] += len(answers)
            return
        session.answer_delivers(answers)
        self._settle(session)

    def rebind(self, detail: str) -> None:
        """Give this session up and come back after the usual wait: its owner finds it useless."""
        session = self._session
        if session is not None:
            session.connection_lost(CloseReason.ABANDONED, detail)
            self._settle(session)

    def statistics(self) -> BindStatistics:
        """Where the bind stands. Counters are totals over all its sessions."""
        session = self._session
        return BindStatistics(
            name=self.name,
            state=State.CLOSED.value if session is None else session.state.value,
            window=self._window,
            outstanding=self.outstanding,
            bound_since=self._bound_since,
            last_error=self._last_error,
            refused=self._refused,
            failures=self._failures,
            sessions=self._sessions,
            submitted=self._submitted + (0 if session is None else session.submitted),
            answered=self._answered + (0 if session is None else session.answered),
            delivered=self._delivered + (0 if session is None else session.delivered),
            congestion_state=None if session is None else session.congestion_state,
            counters=dict(self._counters),
        )

    # --- the life of a bind --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep the bind up until `close` or cancellation; returns only then. Once for a Bind."""
        if self._running or self._closing:
            return
        self._running = True
        self._finished = anyio.Event()
        try:
            with anyio.CancelScope() as self._run_scope:
                while not self._closing:
                    await self._attempt()
        finally:
            self._run_scope = None
            self._running = False
            self._finished.set()

    async def close(self, drain_s: float) -> None:
        """Take no more requests, wait up to `drain_s` for answers, unbind, close; returns when that is done.

        What is still unanswered then goes to on_doubt.
        """
        self._closing = True
        finished = self._finished
        if not self._running or finished is None:
            return
        session = self._session
        if session is None or session.state is State.OPEN:
            self._cancel_run()
        else:
            session.hold()
            if self._drained is None:
                self._drained = anyio.Event()
            self._look_at_drain(session)
            with anyio.move_on_after(drain_s):
                await self._drained.wait()
            session.unbind(self._clock.monotonic())
            self._settle(session)
        with anyio.move_on_after(self.config.unbind_timeout_s + 2 * FLUSH_TIMEOUT_S):
            await finished.wait()
        self._cancel_run()
        await finished.wait()

    async def _attempt(self) -> None:
        """One connection, one session, and the wait before the next."""
        began = self._clock.monotonic()
        refused = False
        try:
            stream = await self._connect()
        except (OSError, ConnectError) as error:
            self._failed(f"{type(error).__name__}: {error}")
        else:
            try:
                refused = await self._serve(stream)
            except Exception:
                # The edge of this bind's tasks: a fault of ours or of the handler's must not end the others.
                self._failed("internal error")
                _log.exception("bind %s: internal error; rebinding", self.name)
        if self._closing:
            return
        if refused:
            wait_s = refused_backoff_s(self._rng)
        else:
            wait_s = backoff_s(self._failures, self._clock.monotonic() - began, self._rng)
        self._failures += 1
        await anyio.sleep(wait_s)

    async def _serve(self, stream: ByteStream) -> bool:
        """One session over one connection; True when the credentials were refused."""
        clock = self._clock
        self._sessions += 1
        session = Session(self.config, clock.monotonic(), self._sessions & 0x7FFFFFFF)
        session.window = self._window
        self._session = session
        self._full = False
        self._write_wanted = self._read_wanted = None
        self._refused_now = False
        self._flush = True
        try:
            async with anyio.create_task_group() as writing:
                writing.start_soon(self._write, session, stream)
                async with anyio.create_task_group() as reading:
                    self._session_scope = reading.cancel_scope
                    if session.closed:
                        reading.cancel_scope.cancel()
                    reading.start_soon(self._keep_time, session)
                    await self._read(session, stream)
                    reading.cancel_scope.cancel()
                # The writer ends by itself when all is written.
                flush_s = FLUSH_TIMEOUT_S if self._flush else 0.0
                writing.cancel_scope.deadline = anyio.current_time() + flush_s
                self._wake_writer()
        finally:
            with anyio.CancelScope(shield=True):
                session.connection_lost(CloseReason.ABANDONED, "cancelled")
                self._dispatch(session)
                self._session = None
                self._session_scope = self._timer_scope = None
                self._submitted += session.submitted
                self._answered += session.answered
                self._delivered += session.delivered
                await anyio.aclose_forcefully(stream)
        return self._refused_now

    # --- the three tasks of a session ----------------------------------------------------------------------

    async def _read(self, session: Session, stream: ByteStream) -> None:
        clock = self._clock
        receive = stream.receive
        while not session.closed:
            if not session.wants_read:
                await self._wait_to_read(session)
                continue
            try:
                data = await receive(READ_OCTETS_MAX)
            except anyio.EndOfStream:
                session.receive_eof(clock.monotonic())
            except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as error:
                session.connection_lost(CloseReason.LOST, _cause(error))
            else:
                if self.tap is not None:
                    self.tap.passed(self, "received", data)
                session.receive_data(data, clock.monotonic())
            self._settle(session)

    async def _wait_to_read(self, session: Session) -> None:
        session.pause_reading(self._clock.monotonic())
        self._counters["reading_paused"] += 1
        while not session.wants_read and not session.closed:
            self._read_wanted = anyio.Event()
            await self._read_wanted.wait()
        session.resume_reading(self._clock.monotonic())
        self._arm(session)

    async def _write(self, session: Session, stream: ByteStream) -> None:
        """The only one who writes: all that was queued meanwhile, in one piece."""
        clock = self._clock
        octets_brim = self.config.write_buffer_octets_max
        while True:
            data = session.data_to_send()
            if data:
                if self.tap is not None:
                    self.tap.passed(self, "sent", data)
                session.write_began(clock.monotonic())
                self._arm(session)
                try:
                    await stream.send(data)
                except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as error:
                    session.connection_lost(CloseReason.LOST, _cause(error))
                    self._settle(session)
                    return
                session.write_done()
                if len(data) >= octets_brim:
                    # What was too much to take requests, or to read on, has gone.
                    self._settle(session)
            elif session.closed:
                return
            else:
                self._write_wanted = anyio.Event()
                await self._write_wanted.wait()

    async def _keep_time(self, session: Session) -> None:
        clock = self._clock
        while not session.closed:
            now = clock.monotonic()
            deadline = session.next_deadline()
            if deadline <= now + _CLOCK_SLACK_S:
                # A remainder lost in rounding would never pass on a clock that stands still between events.
                session.handle_tick(max(now, deadline))
                self._settle(session)
                continue
            self._timer_at = deadline
            with anyio.CancelScope(deadline=anyio.current_time() + deadline - now) as self._timer_scope:
                await anyio.sleep_forever()

    # --- between the tasks ---------------------------------------------------------------------------------

    def _after_request(self, session: Session) -> None:
        self._full = not session.window_free
        self._wake_writer()
        self._arm(session)

    def _settle(self, session: Session) -> None:
        """After the session was given anything: tell the handler, wake whom it concerns."""
        if self._dispatching:
            return
        self._dispatch(session)
        self._wake_writer()
        if self._read_wanted is not None and (session.wants_read or session.closed):
            self._read_wanted.set()
            self._read_wanted = None
        if session.closed:
            if self._session_scope is not None:
                self._session_scope.cancel()
            return
        self._arm(session)
        self._look_at_window(session)
        if self._drained is not None:
            self._look_at_drain(session)

    def _dispatch(self, session: Session) -> None:
        """Events to the handler, in order; what a handler's call brings about is told in its turn."""
        self._dispatching = True
        try:
            while events := session.events():
                for event in events:
                    try:
                        self._tell(event)
                    except Exception:
                        # The edge to our owner's code: its fault costs this session, not the other events.
                        _log.exception("bind %s: the handler failed; rebinding", self.name)
                        session.connection_lost(CloseReason.ABANDONED, "the handler failed")
        finally:
            self._dispatching = False

    def _tell(self, event: Event) -> None:
        handler = self._handler
        match event:
            case Responses(items):
                handler.on_responses(self, items)
            case Delivers(items):
                handler.on_delivers(self, items)
            case LateResponses(items):
                handler.on_late_responses(self, items)
            case TimedOut(tokens):
                self._counters["response_timeout"] += len(tokens)
                handler.on_doubt(self, tokens)
            case Bound():
                self._bound_at = self._clock.monotonic()
                self._bound_since = self._clock.wall()
                self._last_error = ""
                self._refused = self._full = False
                _log.info("bind %s: bound", self.name)
                handler.on_bound(self)
            case BindRefused(command_status):
                self._refused = self._refused_now = command_status in CREDENTIALS_REFUSED
            case UnbindReceived():
                _log.info("bind %s: the SMSC unbinds", self.name)
            case Counted(name, n):
                self._counters[name] += n
                _log.debug("bind %s: %s x %d", self.name, name, n)
            case Closed():
                self._tell_closed(event)

    def _tell_closed(self, event: Closed) -> None:
        reason = f"{event.reason.value}: {event.detail}" if event.detail else event.reason.value
        self._counters[f"closed_{event.reason.value}"] += 1
        self._flush = event.reason not in _UNFLUSHED
        if self._bound_at is not None and self._clock.monotonic() - self._bound_at >= STABLE_S:
            self._failures = 0
        self._bound_at = self._bound_since = None
        if event.reason is not CloseReason.UNBOUND:
            self._failed(reason, alarm=self._refused_now)
        if event.tokens_in_doubt:
            self._handler.on_doubt(self, event.tokens_in_doubt)
        if event.tokens_unsent:
            self._handler.on_unsent(self, event.tokens_unsent)
        self._handler.on_lost(self, reason)

    def _failed(self, detail: str, alarm: bool = False) -> None:
        self._last_error = detail
        if alarm:
            _log.error("bind %s: the SMSC refuses the account: %s; trying again slowly", self.name, detail)
        else:
            _log.warning("bind %s: %s; trying again", self.name, detail)

    def _look_at_window(self, session: Session) -> None:
        if not session.window_free:
            self._full = True
        elif self._full:
            self._full = False
            self._handler.on_window(self)

    def _look_at_drain(self, session: Session) -> None:
        if self._drained is not None and (
            session.closed or not (session.outstanding or session.delivers_unanswered)
        ):
            self._drained.set()

    def _wake_writer(self) -> None:
        if self._write_wanted is not None:
            self._write_wanted.set()
            self._write_wanted = None

    def _arm(self, session: Session) -> None:
        """Bring the timer forward when something is due earlier; later deadlines it finds out by itself."""
        deadline = session.next_deadline()
        if deadline < self._timer_at and self._timer_scope is not None:
            self._timer_at = deadline
            self._timer_scope.deadline = anyio.current_time() + deadline - self._clock.monotonic()

    def _cancel_run(self) -> None:
        if self._run_scope is not None:
            self._run_scope.cancel()


def _cause(error: BaseException) -> str:
    cause = error.__cause__
    return str(cause) if isinstance(cause, OSError) else type(error).__name__
