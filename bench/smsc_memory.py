"""The simulated SMSC behind memory streams on anyio: for deterministic simulation on trio's virtual clock.

No sockets, no threads, no files: time is `anyio.current_time()`, randomness the `random.Random` given. The
same `SmscCore` runs in `smsc` behind TCP.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
from anyio.abc import ByteStream, TaskGroup, TaskStatus

from ..engine.session.memory import MemoryByteStream, byte_stream_pair
from .smsc_config import SmscConfig
from .smsc_core import SmscCore
from .smsc_log import MemoryLog

if TYPE_CHECKING:
    from random import Random

    from .smsc_session import EsmeSession


class MemorySmsc:
    """A simulated SMSC in the running anyio loop: start `run` in a task group, then `connect` to it.

    `log` keeps what it accepted. `refusing` = True lets no one connect. After calling the core directly
    (`core.release(now)`), call `flush()`, so that what it caused is written.
    """

    def __init__(
        self,
        config: SmscConfig,
        rng: Random,
        *,
        wall_offset_s: float = 0.0,
        call_at: Callable[[float, Callable[[], None]], None] | None = None,
    ) -> None:
        """`call_at`: calls something at a moment; without it `run` sleeps until then."""
        self.config = config
        self.log = MemoryLog()
        self.refusing = False
        self.core = SmscCore(config, rng, anyio.current_time(), wall_offset_s, self.log)
        self._tasks: TaskGroup | None = None
        self._writers: dict[EsmeSession, _Writer] = {}
        self._call_at = call_at
        self._timer: anyio.CancelScope | None = None
        self._waits_until = inf

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve connections and timers until cancelled."""
        async with anyio.create_task_group() as self._tasks:
            task_status.started()
            self.flush()
            while self._call_at is None:
                with anyio.CancelScope(deadline=self._waits_until) as self._timer:
                    await anyio.sleep_forever()
                self._tick()
            await anyio.sleep_forever()

    async def connect(self) -> ByteStream:
        """A new connection, as the ESME holds it. Raises ConnectionRefusedError."""
        await anyio.lowlevel.checkpoint()
        if self.refusing or self._tasks is None:
            raise ConnectionRefusedError("the simulated SMSC does not listen")
        session = self.core.connect(anyio.current_time())
        if session is None:
            raise ConnectionRefusedError("the simulated SMSC has too many connections")
        near, far = byte_stream_pair()
        writer = self._writers[session] = _Writer(far)
        self._tasks.start_soon(self._read, session, far)
        self._tasks.start_soon(self._write, session, writer)
        self.flush()
        return near

    def cut(self, mode: str = "reset") -> None:
        """Cut every bind: "reset", "close", "unbind" or "silence"."""
        now = anyio.current_time()
        for account in self.core.accounts.values():
            for session in list(account.sessions):
                session.cut(mode, now)
        self.flush()

    def flush(self) -> None:
        """Write what sessions have to write, and let the timers ring earlier if they must. What a connection
        has no room for, and its end, is left to its writer.
        """
        for session in self.core.take_dirty():
            writer = self._writers.get(session)
            if writer is None:
                continue
            if not session.ending and not writer.behind:
                writer.behind = writer.stream.put(session.data_to_send())
            if session.ending or writer.behind:
                writer.wake.set()
        deadline = self.core.next_deadline()
        if deadline < self._waits_until:
            self._waits_until = deadline
            if self._call_at is not None:
                self._call_at(deadline, self._tick)
            elif self._timer is not None:
                self._timer.deadline = deadline

    def _tick(self) -> None:
        now = anyio.current_time()
        if now >= self._waits_until:
            self._waits_until = inf
            self.core.handle_tick(now)
            self.flush()

    async def _read(self, session: EsmeSession, stream: MemoryByteStream) -> None:
        try:
            while True:
                octets = await stream.receive()
                session.receive_data(octets, anyio.current_time())
                self.flush()
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            session.receive_eof(anyio.current_time())
            self.flush()

    async def _write(self, session: EsmeSession, writer: _Writer) -> None:
        try:
            while True:
                await writer.wake.wait()
                writer.wake = anyio.Event()
                writer.behind += session.data_to_send()
                if session.ending == "reset":
                    writer.stream.cut()
                elif writer.behind:
                    await writer.stream.send(writer.behind)
                    writer.behind = b""
                if session.ending:
                    await writer.stream.aclose()
                    return
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            session.receive_eof(anyio.current_time())
            self.flush()
        finally:
            del self._writers[session]


class _Writer:
    """What a session's writer knows. `behind`: octets that had no room yet."""

    __slots__ = ("behind", "stream", "wake")

    def __init__(self, stream: MemoryByteStream) -> None:
        self.stream = stream
        self.wake = anyio.Event()
        self.behind = b""
