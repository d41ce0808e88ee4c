"""The node as the apps see it: what stands behind the local socket.

Implements `intake.node.Node` over the ledger and the carriers, and owns nothing that lives on its own:
`app.py` starts the tasks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import anyio
import msgspec

from . import stranded
from .clock import Clock
from .config import Config
from .dispatch.carrier import Carrier
from .dispatch.prepare import Preparer
from .dispatch.turn import has_table
from .feed import Feed
from .intake.errors import NodeUnavailable, UnknownMessage
from .ledger import blocks, inquiry
from .ledger.accept import AcceptStage
from .ledger.events import Told, publish, rfc3339
from .ledger.keys import LANES
from .ledger.port import OutcomeUnknown, Store, StoreError
from .messages import EVENTS_FULL, QUEUE_FULL, STOPPING, Accepted, Refusal, StoredEvent, Valid
from .peers import Peers
from .receipts.correlation import CLOSED, read_table
from .receipts.fields import WAITING

log = logging.getLogger("todoke.node")

FULL_RETRY_S: Final = 5.0
STOPPING_RETRY_S: Final = 10.0
CANCEL_PATIENCE_LEASES: Final = 1.5
"""How long another process is waited for, in leases: by then it has looked, or is gone."""
CANCEL_LOOK_S: Final = 1.0
"""While it is waited for: how often it is looked whether the message has ended without."""
UNAVAILABLE_RETRY_S: Final = 1.0
INQUIRIES_AT_ONCE: Final = 1


class _InOtherHands(Exception):
    """The message is in a block that another process has in hand."""

    def __init__(self, standing: inquiry.Standing, carrier: Carrier) -> None:
        super().__init__()
        self.standing = standing
        self.carrier = carrier


class TodokeNode:
    """One node. `stopping` set: nothing more is accepted."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        store: Store,
        accept: AcceptStage,
        preparer: Preparer,
        carriers: dict[str, Carrier],
        feeds: dict[str, Feed],
        epoch: int,
        peers: Peers,
    ) -> None:
        self._config = config
        self._peers = peers
        self._clock = clock
        self._accept = accept
        self._preparer = preparer
        self._carriers = carriers
        self._feeds = feeds
        self._epoch = epoch
        self._inquiry_stage = store.stage("inquiry")
        self._inquiry_lock = anyio.Lock()
        self._started = clock.monotonic()
        self.stopping = False
        self.accepted = 0
        self.refused = 0
        self.intake_statistics: Callable[[], Any] = lambda: None

    async def submit(
        self, app: str, messages: list[Valid], indexes: list[int]
    ) -> tuple[list[Accepted], list[Refusal]]:
        """See `intake.node.Node.submit`."""
        closed = self._closed_door(app, len(messages))
        if closed is not None:
            code, detail, retry_after_s = closed
            self.refused += len(messages)
            return [], [
                Refusal(index, message.ref, None, code, detail, retry_after_s)
                for message, index in zip(messages, indexes, strict=True)
            ]
        batchlets, refused = self._preparer.prepare(messages, indexes, int(self._clock.wall() * 1000))
        accepted: list[Accepted] = []
        if batchlets:
            try:
                accepted, conflicts = await self._accept.submit(app, batchlets)
            except StoreError as error:
                raise NodeUnavailable(f"the message store is away: {error}", UNAVAILABLE_RETRY_S) from error
            refused += conflicts
        self.accepted += len(accepted)
        self.refused += len(refused)
        return accepted, refused

    def _closed_door(self, app: str, count: int) -> tuple[str, str, float] | None:
        """Why nothing is taken now: (code, detail, retry_after_s)."""
        intake = self._config.intake
        if self.stopping:
            return STOPPING, "the node is stopping", STOPPING_RETRY_S
        if self._accept.queued_messages + count > intake.queue_max:
            return QUEUE_FULL, f"{intake.queue_max} messages wait already (queue_max)", FULL_RETRY_S
        if self._feeds[app].unacknowledged >= intake.events_max:
            return EVENTS_FULL, f"{intake.events_max} events are not acknowledged (events_max)", FULL_RETRY_S
        return None

    async def query(self, app: str, message_id: str) -> dict[str, Any]:
        """See `intake.node.Node.query`."""
        async with self._inquiry_lock:
            try:
                standing = await inquiry.find(self._inquiry_stage, message_id)
            except StoreError as error:
                raise NodeUnavailable(str(error), UNAVAILABLE_RETRY_S) from error
        if standing is None or standing.app != app:
            raise UnknownMessage()
        return standing.answer(message_id)

    async def cancel(self, app: str, message_id: str) -> dict[str, Any]:
        """See `intake.node.Node.cancel`: answered after the journal says so."""
        while True:
            async with self._inquiry_lock:
                held: _InOtherHands | None = None
                done = None
                try:
                    done = await self._try_cancel(app, message_id)
                except _InOtherHands as error:
                    held = error
                except StoreError as error:
                    raise NodeUnavailable(str(error), UNAVAILABLE_RETRY_S) from error
            if held is not None:
                # Its answer may take a while: others may ask meanwhile.
                try:
                    done = await self._cancel_elsewhere(message_id, held.standing, held.carrier)
                except StoreError as error:
                    raise NodeUnavailable(str(error), UNAVAILABLE_RETRY_S) from error
            if done is not None:
                return done

    async def _try_cancel(self, app: str, message_id: str) -> dict[str, Any] | None:
        """One attempt; None when the message moved on while we looked."""
        stage = self._inquiry_stage
        standing = await inquiry.find(stage, message_id, watch=True)
        if standing is None or standing.app != app:
            await stage.unwatch()
            raise UnknownMessage()
        answer = standing.answer(message_id)
        carrier = self._carriers.get(standing.carrier)
        run = carrier.find(standing.block_id) if carrier is not None else None
        gone = standing.state in ("submitted", "in_doubt")
        # (in_doubt is also what a granted entry of a run in hand looks like: there its bind decides.)
        if carrier is not None and run is None and standing.begun and not carrier.slots.surely_alone:
            # What another process has in hand is that one's to stop.
            await stage.unwatch()
            raise _InOtherHands(standing, carrier)
        if carrier is None or standing.final or standing.sent_parts or (gone and run is None):
            await stage.unwatch()
            return {**answer, "cancelled": False}
        if run is None:
            return await self._cancel_waiting(app, message_id, standing, carrier)
        await stage.unwatch()
        answered = anyio.Event()
        results: list[bool] = []

        def done(possible: bool) -> None:
            results.append(possible)
            answered.set()

        carrier.recorder.cancellations.cancel(run, standing.index, done)
        await answered.wait()
        if results[0]:
            return {**answer, "cancelled": True, "state": "cancelled", "final": True}
        now = await inquiry.find(stage, message_id)
        if now is None:
            raise UnknownMessage()
        if (now.carrier, now.block_id) != (standing.carrier, standing.block_id):
            # It had left the run already, to be sent later: it waits elsewhere.
            return None
        state = now.state if now.final else "submitted"
        return {**now.answer(message_id), "cancelled": False, "state": state}

    async def _cancel_elsewhere(
        self, message_id: str, standing: inquiry.Standing, carrier: Carrier
    ) -> dict[str, Any] | None:
        """Ask who has it in hand, until that one answers, or the message has ended or left the block without
        (None). Raises StoreError.
        """
        if standing.final or standing.sent_parts:
            return {**standing.answer(message_id), "cancelled": False}
        place = standing.block_id, standing.index
        until = self._clock.monotonic() + CANCEL_PATIENCE_LEASES * carrier.config.lease_s
        await carrier.asks.ask_to_cancel(*place)
        while self._clock.monotonic() < until:
            done = await carrier.asks.answer(*place, CANCEL_LOOK_S)
            if done is not None:
                state = {"state": "cancelled", "final": True} if done else {"state": "submitted"}
                return {**standing.answer(message_id), **state, "cancelled": done}
            async with self._inquiry_lock:
                now = await inquiry.find(self._inquiry_stage, message_id)
            if now is None:
                raise UnknownMessage()
            ended = now.final or now.sent_parts > 0
            if ended or (now.block_id, now.index) != place:
                await carrier.asks.take_back(*place)
                return {**now.answer(message_id), "cancelled": now.state == "cancelled"} if ended else None
        await carrier.asks.take_back(*place)
        raise NodeUnavailable("the process that has this message did not answer", UNAVAILABLE_RETRY_S)

    async def _cancel_waiting(
        self, app: str, message_id: str, standing: inquiry.Standing, carrier: Carrier
    ) -> dict[str, Any] | None:
        """Cancel what waits in `due` or in a lane: its journal is watched, whoever grants it first wins."""
        entry = standing.entry
        told = Told(
            "report", message_id, entry.ref, "cancelled", standing.carrier, entry.parts, 0,
            entry.extra is not None and entry.extra.doubled, None, int(self._clock.wall() * 1000),
        )  # fmt: skip
        record = blocks.Record(
            blocks.FORMAT, self._epoch, -1, ended=[(standing.index, blocks.CANCELLED, 0, "")]
        )
        commands: list[tuple[Any, ...]] = [
            ("RPUSHX", carrier.keys.journal(standing.block_id), blocks.encode(record)),
            *publish(app, [told]),
        ]
        if has_table(entry):
            keys = carrier.keys
            (stored,) = await self._inquiry_stage.read(
                [("HGET", keys.multi, message_id)], (keys.receipts_version,)
            )
            closed, table = read_table(stored, entry.parts)
            if closed or WAITING not in table:
                # A receipt of an earlier copy has ended it.
                await self._inquiry_stage.unwatch()
                return {**standing.answer(message_id), "cancelled": False, "final": True}
            commands += [("HSET", keys.multi, message_id, CLOSED), ("INCR", keys.receipts_version)]
        try:
            replies = await self._inquiry_stage.commit(commands)
        except OutcomeUnknown:
            # If it was written, the app is told; its feed has to look.
            self._feeds[app].told(0)
            raise
        if replies is None:
            return None
        carrier.recorder.copies.ended_elsewhere(standing.block_id, standing.index)
        self._feeds[app].told(1)
        answer = standing.answer(message_id)
        return {**answer, "cancelled": True, "state": "cancelled", "final": True}

    async def events(self, app: str, after: str | None) -> list[StoredEvent]:
        """See `intake.node.Node.events`."""
        return await self._feeds[app].events(after)

    async def ack(self, app: str, cursor: str) -> None:
        """See `intake.node.Node.ack`."""
        await self._feeds[app].ack(cursor)

    async def status(self) -> dict[str, Any]:
        """See `intake.node.Node.status`."""
        try:
            async with self._inquiry_lock:
                carriers = [await self._carrier_status(carrier) for carrier in self._carriers.values()]
                waiting = await stranded.look(self._inquiry_stage, self._carriers, self._feeds, self._peers)
        except StoreError as error:
            raise NodeUnavailable(str(error), UNAVAILABLE_RETRY_S) from error
        return {
            "uptime_s": round(self._clock.monotonic() - self._started, 3),
            "stopping": self.stopping,
            "accepted": self.accepted,
            "refused": self.refused,
            "queued": self._accept.queued_messages,
            "store": "away" if self._accept.away else "ready",
            "carriers": carriers,
            "apps": [
                {"name": feed.app, "unacknowledged": feed.unacknowledged} for feed in self._feeds.values()
            ],
            "stranded": msgspec.to_builtins(waiting),
            "intake": msgspec.to_builtins(self.intake_statistics()),
        }

    async def _carrier_status(self, carrier: Carrier) -> dict[str, Any]:
        keys = carrier.keys
        status = carrier.status()
        replies = await self._inquiry_stage.read(
            [
                *(("GET", keys.queued[lane]) for lane in LANES),
                *(("XRANGE", keys.lanes[lane], "-", "+", "COUNT", 1) for lane in LANES),
                ("HLEN", keys.orphans),
                ("ZCARD", keys.due),
            ]
        )
        now_ms = self._clock.wall() * 1000
        oldest = [int(entries[0][0].split(b"-")[0]) for entries in replies[3:6] if entries]
        errors = [bind.last_error for bind in status.binds if bind.last_error]
        return {
            "name": carrier.config.name,
            "binds": [msgspec.to_builtins(bind) for bind in status.binds],
            "bound": sum(bind.bound_since is not None for bind in status.binds),
            "window": carrier.config.window,
            "window_allowed": status.window,
            "paused": status.hand.paused,
            "changed_by": status.hand.by or None,
            "changed_at": rfc3339(status.hand.at_ms) if status.hand.at_ms else None,
            "slots_held": status.slots_held,
            "health": msgspec.to_builtins(status.health),
            "outstanding": sum(bind.outstanding for bind in status.binds),
            "rate": carrier.config.rate,
            "rate_allowed": status.rate,
            "rate_used": status.used_last_second,
            "queued": {lane: int(value or 0) for lane, value in zip(LANES, replies[:3], strict=True)},
            "oldest_queued_s": round((now_ms - min(oldest)) / 1000, 3) if oldest else None,
            "in_doubt": status.in_doubt,
            "orphans": replies[6],
            "due": replies[7],
            "receipt_lag_s": round(status.receipt_lag_s, 4),
            "no_receipt_share": round(_no_receipt_share(status.counts), 6),
            "last_error": errors[-1] if errors else None,
            "counts": status.counts,
        }


def _no_receipt_share(counts: Mapping[str, int]) -> float:
    """Of the parts whose receipt came or was given up: the share of the latter, since the start."""
    given_up = counts["unanswered"]
    return given_up / max(1, given_up + counts["receipts"])
