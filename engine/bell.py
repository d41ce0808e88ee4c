"""A bell: many rings before the next wait are one. The way one task tells another that there is work."""

from __future__ import annotations

import anyio


class Bell:
    """`ring()` from anywhere in the event loop; one task waits. Works on asyncio and trio."""

    __slots__ = ("_event", "_rung")

    def __init__(self) -> None:
        self._rung = False
        self._event: anyio.Event | None = None
        """There while somebody waits."""

    def ring(self) -> None:
        self._rung = True
        if self._event is not None:
            self._event.set()

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Until rung, at most `timeout_s` seconds. True if it rang; the bell is silent afterwards."""
        if not self._rung:
            if self._event is None:
                self._event = anyio.Event()
            if timeout_s is None:
                await self._event.wait()
            else:
                with anyio.move_on_after(timeout_s):
                    await self._event.wait()
        rang = self._rung
        if rang:
            self._rung, self._event = False, None
        return rang
