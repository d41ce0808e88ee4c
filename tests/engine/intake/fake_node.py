"""A node behind the intake's Protocol: accepts in memory, tells what it is told to. Loaded by file name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
from todoke.engine.intake.errors import BadCursor, NodeUnavailable, UnknownMessage
from todoke.engine.messages import Accepted, Event, Refusal, Report, StoredEvent, Valid


async def until(condition: Callable[[], object]) -> None:
    """Wait for what other tasks or processes bring about, at most five seconds."""
    with anyio.fail_after(5):
        while not condition():  # noqa: ASYNC110  there is no event for it, by intention
            await anyio.sleep(0.001)


def report(number: int, *, ref: str | None = None, state: str = "delivered") -> Report:
    """The report of message number `number`; the cursor is the node's to give."""
    return Report("", f"m-{number}", ref, state, "docomo", 1, 1, False, None, "2026-11-21T10:00:00Z")


class FakeNode:
    """Accepts everything but texts that begin with "refuse"; repeats of a ref are duplicates."""

    def __init__(self) -> None:
        self.calls: list[list[Valid]] = []
        self.messages: dict[str, tuple[str, Valid]] = {}
        self.by_ref: dict[tuple[str, str], str] = {}
        self.acked: list[str] = []
        self.away = False
        self.broken = False
        self.in_hand = 0
        self.peak_in_hand = 0
        self.auto_report = False
        self.turns = 1  # of the event loop that a submit takes
        self.fetched = 0  # how far the events were read
        self.gate: anyio.Event | None = None  # submits wait for it
        self._events: list[StoredEvent] = []
        self._acknowledged = 0
        self._more = anyio.Event()

    def tell(self, *events: Event) -> None:
        for event in events:
            self._events.append((f"c-{len(self._events) + 1}", event))
        self._more.set()
        self._more = anyio.Event()

    async def submit(
        self, app: str, messages: list[Valid], indexes: list[int]
    ) -> tuple[list[Accepted], list[Refusal]]:
        self.calls.append(messages)
        self.in_hand += len(messages)
        self.peak_in_hand = max(self.peak_in_hand, self.in_hand)
        try:
            for _ in range(self.turns):
                await anyio.lowlevel.checkpoint()
            if self.gate is not None:
                await self.gate.wait()
            if self.away:
                raise NodeUnavailable("the store is away", 2.5)
            if self.broken:
                raise RuntimeError("broken on purpose")
        finally:
            self.in_hand -= len(messages)
        accepted: list[Accepted] = []
        refused: list[Refusal] = []
        for index, message in zip(indexes, messages, strict=True):
            if message.text is not None and message.text.startswith("refuse"):
                refused.append(Refusal(index, message.ref, "to", "no_route", "nobody goes there"))
                continue
            known = None if message.ref is None else self.by_ref.get((app, message.ref))
            if known is not None:
                accepted.append(Accepted(message.ref, known, 1, duplicate=True))
                continue
            message_id = f"m-{len(self.messages) + 1}"
            self.messages[message_id] = (app, message)
            if message.ref is not None:
                self.by_ref[app, message.ref] = message_id
            accepted.append(Accepted(message.ref, message_id, 1))
            if self.auto_report:
                self.tell(report(len(self.messages), ref=message.ref))
        return accepted, refused

    async def query(self, app: str, message_id: str) -> dict[str, Any]:
        await anyio.lowlevel.checkpoint()
        if self.broken:
            raise RuntimeError("broken on purpose")
        self._find(app, message_id)
        # The keys of other answers, on purpose: a client must not mistake it for an error or a submit.
        return {"message_id": message_id, "state": "queued", "error": None, "accepted": 5}

    async def cancel(self, app: str, message_id: str) -> dict[str, Any]:
        await anyio.lowlevel.checkpoint()
        self._find(app, message_id)
        return {"cancelled": True, "state": "cancelled"}

    async def status(self) -> dict[str, Any]:
        await anyio.lowlevel.checkpoint()
        if self.away:
            raise NodeUnavailable("the store is away", 2.5)
        return {"queued": len(self.messages), "error": {"class": "none"}}

    async def events(self, app: str, after: str | None) -> list[StoredEvent]:
        if self.away:
            raise NodeUnavailable("the store is away", 0.01)
        start = self._acknowledged if after is None else self._place(after)
        while start >= len(self._events):
            await self._more.wait()
        await anyio.lowlevel.checkpoint()
        self.fetched = start + 1000
        return self._events[start : start + 1000]

    async def ack(self, app: str, cursor: str) -> None:
        await anyio.lowlevel.checkpoint()
        self._acknowledged = max(self._acknowledged, self._place(cursor))
        self.acked.append(cursor)

    def _place(self, cursor: str) -> int:
        try:
            place = int(cursor.removeprefix("c-"))
        except ValueError:
            raise BadCursor from None
        if not cursor.startswith("c-") or not 0 < place <= len(self._events):
            raise BadCursor
        return place

    def _find(self, app: str, message_id: str) -> None:
        if self.messages.get(message_id, ("", None))[0] != app:
            raise UnknownMessage
