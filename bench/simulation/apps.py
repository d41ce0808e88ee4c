"""The apps: one task submits, one listens. They behave as the README tells apps to.

A submit that was not answered is repeated with the same refs until it is; messages without a ref are not.
Reports are acknowledged with a lag, and after a lost connection the subscription goes on from what was
acknowledged.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import anyio
import anyio.abc
import trio

from ...engine.client_link import LOST, Link, Pending
from ...engine.client_wire import NodeAway, Refused, Wire
from ...engine.intake.frames import Spelling
from ...engine.messages import (
    EVENTS_FULL,
    INTERNAL,
    QUEUE_FULL,
    STOPPING,
    UNAVAILABLE,
    Accepted,
    Correction,
    Refusal,
    Report,
    SubmitAnswer,
)
from .evidence import Told
from .traffic import Batch, Sent

if TYPE_CHECKING:
    from .world import World

RETRY_CODES: Final = frozenset({EVENTS_FULL, INTERNAL, QUEUE_FULL, STOPPING, UNAVAILABLE})
NO_NODE_PAUSE_S: Final = 0.2
ANSWER_TIMEOUT_S: Final = 90.0


class App:
    """One app of the scenario."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.listening_until = 0.0
        """It does not listen before this moment (a fault moves it)."""
        self.open_batches = 0
        self.cursors: dict[str, None] = {}
        self.acked_all = True
        self._rng = random.Random(f"{world.scenario.seed}:app:{name}")
        self._link: Link | None = None
        self._spelling: Spelling = "json" if world.scenario.json_lines else "msgpack"
        self._listening: anyio.abc.ByteStream | None = None

    async def run(self) -> None:
        """Submit every batch of this app at its time."""
        batches = [batch for batch in self.world.scenario.batches if batch.app == self.name]
        self.open_batches = len(batches)
        async with anyio.create_task_group() as group:
            for batch in batches:
                await anyio.sleep(max(0.0, batch.at_s - trio.current_time()))
                group.start_soon(self._send, batch)

    # -- submitting --------------------------------------------------------------------------------------

    async def _send(self, batch: Batch) -> None:
        evidence = self.world.evidence
        for sent in batch.messages:
            evidence.sent[sent.number] = sent
        waiting = list(batch.messages)
        while waiting:
            answer = await self._submit(waiting)
            if answer is None:
                for sent in waiting:
                    evidence.unclear[sent.number] = None
                waiting = [sent for sent in waiting if sent.ref is not None]
                continue
            again: list[Sent] = []
            pause_s = 0.0
            for sent, outcome in zip(waiting, answer.outcomes(), strict=True):
                if isinstance(outcome, Accepted):
                    self._accepted(sent, outcome)
                elif outcome.code in RETRY_CODES:
                    if outcome.code in (INTERNAL, UNAVAILABLE):
                        evidence.unclear[sent.number] = None
                    if sent.ref is not None:
                        again.append(sent)
                    pause_s = max(pause_s, outcome.retry_after_s or 1.0)
                else:
                    self._refused(sent, outcome)
            waiting = again
            if waiting:
                await anyio.sleep(pause_s * (0.5 + self._rng.random()))
        self.open_batches -= 1
        await self._cancel(batch)

    async def _submit(self, messages: list[Sent]) -> SubmitAnswer | None:
        """One submit; None: the connection was lost, the outcome is unknown."""
        link = await self._connected()
        self.world.trace.add(self.name, f"submits {messages[0].number} and {len(messages) - 1} more")
        id_, frame = link.wire.submit([sent.body for sent in messages])
        pending = Pending(len(messages), None)
        link.send(id_, frame, pending)
        try:
            with anyio.fail_after(ANSWER_TIMEOUT_S):
                answer = await pending
        except (NodeAway, TimeoutError) as error:
            self.world.trace.add(self.name, f"submit of {messages[0].number}: {type(error).__name__}")
            self._drop(link)
            return None
        self.world.trace.add(
            self.name, f"answered: {len(answer.accepted)} accepted, {len(answer.refused)} refused"
        )
        return answer

    def _accepted(self, sent: Sent, accepted: Accepted) -> None:
        evidence = self.world.evidence
        evidence.message_ids.setdefault(sent.number, {})[accepted.message_id] = None
        other = evidence.number_of.setdefault(accepted.message_id, sent.number)
        if other != sent.number:
            evidence.broke(f"messages {other} and {sent.number} have one message_id")
        evidence.accepted_at.setdefault(sent.number, trio.current_time())
        if accepted.duplicate:
            self.world.coverage.count("app duplicate")
            if sent.number not in evidence.unclear:
                evidence.broke(f"message {sent.number} was called a duplicate and was submitted once")

    def _refused(self, sent: Sent, refusal: Refusal) -> None:
        self.world.coverage.count(f"app refused {refusal.code}")
        self.world.evidence.refused[sent.number] = refusal.code

    async def _connected(self) -> Link:
        while self._link is None or self._link.lost is not None:
            try:
                stream = self.world.connect(self.name)
            except NodeAway:
                await anyio.sleep(NO_NODE_PAUSE_S)
                continue
            link = self._link = Link(stream, self._spelling)
            self.world.tasks.start_soon(link.run)
        return self._link

    def _drop(self, link: Link) -> None:
        link.scope.cancel()
        if self._link is link:
            self._link = None

    async def _cancel(self, batch: Batch) -> None:
        evidence = self.world.evidence
        if not batch.cancel:
            return
        await anyio.sleep(batch.cancel_after_s)
        for number in batch.cancel:
            for message_id in evidence.message_ids.get(number, {}):
                link = await self._connected()
                try:
                    with anyio.fail_after(ANSWER_TIMEOUT_S):
                        answer = await link.ask("cancel", message_id=message_id)
                except (NodeAway, Refused) as error:
                    self.world.coverage.count(f"app cancel {type(error).__name__}")
                    continue
                except TimeoutError:
                    evidence.broke(f"the cancellation of {number} was not answered")
                    self._drop(link)
                    continue
                done = bool(answer["cancelled"])
                self.world.trace.add(self.name, f"cancel {number}: {done}")
                self.world.coverage.count(f"app cancelled {done}")
                if done:
                    evidence.cancelled_at[number] = trio.current_time()

    # -- listening ---------------------------------------------------------------------------------------

    async def listen(self) -> None:
        """Subscribe, for ever."""
        while True:
            if trio.current_time() < self.listening_until:
                await anyio.sleep(self.listening_until - trio.current_time())
            try:
                stream = self._listening = self.world.connect(self.name)
            except NodeAway:
                await anyio.sleep(NO_NODE_PAUSE_S)
                continue
            try:
                await self._listen(stream)
            except LOST:
                self.world.trace.add(self.name, "subscription lost")
            finally:
                with anyio.CancelScope(shield=True):
                    await stream.aclose()
            await anyio.sleep(NO_NODE_PAUSE_S)

    async def hang_up(self, for_s: float) -> None:
        """Stop listening for so long."""
        self.listening_until = trio.current_time() + for_s
        if self._listening is not None:
            await self._listening.aclose()

    async def _listen(self, stream: anyio.abc.ByteStream) -> None:
        wire = Wire(self._spelling)
        _, frame = wire.request("subscribe")
        await stream.send(frame)
        while True:
            answers, events = wire.receive_data(await stream.receive())
            for _, outcome in answers:
                if isinstance(outcome, Refused):
                    self.world.coverage.count(f"app subscription {outcome.code}")
                    return
            if not events:
                continue
            for event in events:
                self.acked_all = False
                if event.cursor not in self.cursors:
                    self.cursors[event.cursor] = None
                    self.world.trace.add(self.name, f"told {event.cursor}")
                    if isinstance(event, Report | Correction):
                        told = Told(trio.current_time(), self.name, event.cursor, event)
                        self.world.evidence.told.append(told)
                    else:
                        self.world.coverage.count("app received")
                else:
                    self.world.coverage.count("app told again")
            if self.world.scenario.ack_lag_s:
                await anyio.sleep(self.world.scenario.ack_lag_s * self._rng.random())
            await stream.send(wire.ack(events[-1].cursor))
            self.acked_all = True
