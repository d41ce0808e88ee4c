"""The simulated SMSC behind memory streams on anyio: for deterministic simulation on trio's virtual clock.

No sockets, no threads, no files: time is `anyio.current_time()`, randomness the `random.Random` given. The
same `SmscCore` runs in `smsc` behind TCP.
"""

from __future__ import annotations

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

    def __init__(self, config: SmscConfig, rng: Random, *, wall_offset_s: float = 0.0) -> None:
        self.config = config
        self.log = MemoryLog()
        self.refusing = False
        self.core = SmscCore(config, rng, anyio.current_time(), wall_offset_s, self.log)
        self._tasks: TaskGroup | None = None
        self._wakes: dict[EsmeSession, anyio.Event] = {}
        self._changed = anyio.Event()
        self._waits_until = inf

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve connections and timers until cancelled."""
        async with anyio.create_task_group() as self._tasks:
            task_status.started()
            while True:
                deadline = self._waits_until = self.core.next_deadline()
                with anyio.CancelScope(deadline=deadline):
                    await self._changed.wait()
                self._changed = anyio.Event()
                if anyio.current_time() >= deadline:
                    self.core.handle_tick(anyio.current_time())
                    self.flush()

    async def connect(self) -> ByteStream:
        """A new connection, as the ESME holds it. Raises ConnectionRefusedError."""
        await anyio.lowlevel.checkpoint()
        if self.refusing or self._tasks is None:
            raise ConnectionRefusedError("the simulated SMSC does not listen")
        session = self.core.connect(anyio.current_time())
        if session is None:
            raise ConnectionRefusedError("the simulated SMSC has too many connections")
        near, far = byte_stream_pair()
        self._wakes[session] = anyio.Event()
        self._tasks.start_soon(self._read, session, far)
        self._tasks.start_soon(self._write, session, far)
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
        """Wake the writers of sessions with something to write, and the timers if they ring earlier now."""
        for session in self.core.take_dirty():
            if session in self._wakes:
                self._wakes[session].set()
        if self.core.next_deadline() < self._waits_until:
            self._changed.set()

    async def _read(self, session: EsmeSession, stream: MemoryByteStream) -> None:
        try:
            while True:
                octets = await stream.receive()
                session.receive_data(octets, anyio.current_time())
                self.flush()
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            session.receive_eof(anyio.current_time())
            self.flush()

    async def _write(self, session: EsmeSession, stream: MemoryByteStream) -> None:
        try:
            while True:
                await self._wakes[session].wait()
                self._wakes[session] = anyio.Event()
                octets = session.data_to_send()
                if session.ending == "reset":
                    stream.cut()
                elif octets:
                    await stream.send(octets)
                if session.ending:
                    await stream.aclose()
                    return
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            session.receive_eof(anyio.current_time())
            self.flush()
        finally:
            del self._wakes[session]
