"""Accepting: from prepared messages to durable blocks, references included, in one atomic step.

One write is in flight at a time; what arrives meanwhile is the next batch. A step reads the references it is about to
take (and watches their version), then commits blocks, journals, queue entries and references together: either all of
it is on disk when the app hears `accepted`, or nothing is. Block ids are minted before the write, so a lost reply is
answered by asking for the block.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Final
from zlib import crc32

import anyio

from ..bell import Bell
from ..clock import Clock
from ..dispatch.prepare import Prepared
from ..messages import Accepted, Refusal
from . import blocks
from .keys import AppKeys, CarrierKeys
from .port import OutcomeUnknown, Store, StoreError, StoreUnavailable

log = logging.getLogger("todoke.accept")

BATCH_MESSAGES_MAX: Final = 4_000
BLOCK_MESSAGES_MAX: Final = 512
BLOCK_OCTETS_MAX: Final = 262_144
OUTCOME_ASK_S: Final = 15.0
"""How long a lost reply is asked after before the app is told to submit again with the same ref."""
CONCAT_BUCKET_S: Final = 21_600
"""Concatenation references of a destination are remembered for one to two of these."""


class _Waiting:
    """One submission in the stage's hands."""

    __slots__ = ("accepted", "app", "done", "error", "items", "refused")

    def __init__(self, app: str, items: list[Prepared]) -> None:
        self.app = app
        self.items = items
        self.done = anyio.Event()
        self.accepted: list[Accepted] = []
        self.refused: list[Refusal] = []
        self.error: StoreError | None = None


class _Group:
    """The messages of one batch that may share blocks."""

    __slots__ = ("entries", "octets", "payloads")

    def __init__(self) -> None:
        self.entries: list[blocks.Entry] = []
        self.payloads: list[bytes | None] = []
        self.octets = 0


BlockMade = Callable[[str, blocks.Block, list[bytes | None]], None]


class AcceptStage:
    """Owns the accept stage's connection. `run()` is its one task; `submit()` may be called from many."""

    def __init__(
        self,
        store: Store,
        carriers: dict[str, CarrierKeys],
        clock: Clock,
        *,
        epoch: int,
        ref_ttl_s: float,
        block_messages: dict[str, int],
        reference_max: dict[str, int],
        on_block: BlockMade,
    ) -> None:
        """`block_messages`: carrier -> most messages in a block; `reference_max`: carrier -> highest concatenation
        reference (255 or 65535); `on_block` is called with each block that was made durable and is due now.
        """
        self._stage = store.stage("accept")
        self._carriers = carriers
        self._apps: dict[str, AppKeys] = {}
        self._clock = clock
        self._epoch = epoch
        self._ref_ttl_s = ref_ttl_s
        self._block_messages = block_messages
        self._reference_max = reference_max
        self._on_block = on_block
        self._waiting: deque[_Waiting] = deque()
        self._bell = Bell()
        self._minted = 0
        self.away = False
        """The store did not answer last time: submissions are refused at the door until it does."""
        self.queued_messages = 0
        """Messages accepted and not yet finished by dispatch, as this process knows."""

    async def submit(self, app: str, items: list[Prepared]) -> tuple[list[Accepted], list[Refusal]]:
        """Make these durable. Returns what was accepted and what was refused (reference conflicts), in order.

        Raises StoreUnavailable or StoreRefused: nothing of `items` was accepted. OutcomeUnknown: they may have been;
        to submit again with the same references is safe.
        """
        if self.away:
            raise StoreUnavailable("the message store is away")
        waiting = _Waiting(app, items)
        self._waiting.append(waiting)
        self._bell.ring()
        await waiting.done.wait()
        if waiting.error is not None:
            raise waiting.error
        return waiting.accepted, waiting.refused

    async def run(self) -> None:
        """The stage's task, until cancelled."""
        while True:
            while self._waiting:
                await self._turn()
            if self.away:
                await self._probe()
            else:
                await self._bell.wait()

    async def _probe(self) -> None:
        """While the store is away: ask now and then, so that work resumes by itself."""
        try:
            await self._stage.read([("EXISTS", b"{todoke}:epoch")])
            self.away = False
            log.warning("the message store is back; submissions are accepted again")
        except StoreError:
            await self._bell.wait(0.2)

    async def _turn(self) -> None:
        batch: list[_Waiting] = []
        size = 0
        while self._waiting and size < BATCH_MESSAGES_MAX:
            waiting = self._waiting.popleft()
            batch.append(waiting)
            size += len(waiting.items)
        error: NodeUnavailable | None = None
        try:
            with anyio.CancelScope(shield=True):
                await self._accept(batch)
        except OutcomeUnknown:
            error = NodeUnavailable(
                "the message store went away in the middle of a write: submit again with the same ref",
                RETRY_AFTER_S,
            )
        except StoreError as reason:
            error = NodeUnavailable(f"the message store is away ({reason})", RETRY_AFTER_S)
        if error is not None:
            if not self.away:
                log.error("submissions are refused: %s", error)
            self.away = True
            for waiting in batch:
                waiting.error = error
        for waiting in batch:
            waiting.done.set()

    async def _accept(self, batch: list[_Waiting]) -> None:
        while True:
            plan = await self._plan(batch)
            if not plan.commands:
                await self._stage.unwatch()
                done: list[Any] | None = []
            else:
                done = await self._commit(plan)
            if done is not None:
                break
            # Another process took one of the references between our look and our write: look again.
        for waiting, accepted, refused in plan.answers:
            waiting.accepted = accepted
            waiting.refused = refused
        self.queued_messages += plan.count
        for carrier, block, payloads in plan.due_now:
            self._on_block(carrier, block, payloads)

    async def _commit(self, plan: _Plan) -> list[Any] | None:
        """Write; after a lost reply ask for the first block: the write was atomic, so it stands for all."""
        try:
            return await self._stage.commit(plan.commands)
        except OutcomeUnknown:
            log.warning("a reply of the message store was lost: asking what became of the write")
            with anyio.move_on_after(OUTCOME_ASK_S):
                while True:
                    try:
                        (there,) = await self._stage.read([("EXISTS", plan.first_block_key)])
                    except StoreUnavailable:
                        await anyio.sleep(0.05)
                        continue
                    return [] if there else None
            raise

    async def _plan(self, batch: list[_Waiting]) -> _Plan:
        now_ms = int(self._clock.wall() * 1000)
        known = await self._look_up(batch, now_ms)
        plan = _Plan()
        groups: dict[tuple[str, str, str, str, int], _Group] = {}
        taken: dict[tuple[str, str], tuple[int, str, int]] = {}
        new_refs: dict[str, list[bytes]] = {}
        block_ids: dict[int, str] = {}
        for waiting in batch:
            app = waiting.app
            accepted: list[Accepted] = []
            refused: list[Refusal] = []
            plan.answers.append((waiting, accepted, refused))
            refs = new_refs.setdefault(app, [])
            for item in waiting.items:
                index, carrier, lane, campaign, at_ms, entry, payload, digest = item
                ref = entry.ref
                if ref is not None:
                    before = taken.get((app, ref)) or known.refs.get((app, ref))
                    if before is not None:
                        if before[0] == digest:
                            accepted.append(Accepted(ref, before[1], before[2], True))
                        else:
                            refused.append(
                                Refusal(
                                    index,
                                    ref,
                                    "ref",
                                    "ref_conflict",
                                    "this ref was accepted with another body",
                                )
                            )
                        continue
                if at_ms <= now_ms:
                    at_ms = 0
                key = (carrier, lane, app, campaign, at_ms)
                group = groups.get(key)
                if group is None:
                    group = groups[key] = _Group()
                elif (
                    len(group.entries) >= self._block_messages[carrier]
                    or group.octets + len(entry.text) * 4 > BLOCK_OCTETS_MAX
                ):
                    self._close(plan, key, group, block_ids[id(group)], now_ms)
                    group = groups[key] = _Group()
                if not group.entries:
                    self._minted += 1
                    block_ids[id(group)] = f"{self._epoch:x}-{self._minted:x}"
                if entry.parts > 1:
                    entry.reference = known.next_reference(carrier, entry.to, self._reference_max[carrier])
                message_id = f"{carrier}.{block_ids[id(group)]}.{len(group.entries)}"
                group.entries.append(entry)
                group.payloads.append(payload)
                group.octets += 48 + len(entry.text)
                accepted.append(Accepted(ref, message_id, entry.parts))
                if ref is not None:
                    taken[app, ref] = (digest, message_id, entry.parts)
                    refs.append(ref.encode())
                    refs.append(
                        b"%08x%08x%02x%b" % (digest, now_ms // 1000, entry.parts, message_id.encode())
                    )
        for key, group in groups.items():
            self._close(plan, key, group, block_ids[id(group)], now_ms)
        bucket = int(now_ms / 1000 / self._ref_ttl_s)
        for app, refs in new_refs.items():
            if refs:
                keys = self._app(app)
                plan.commands.append(("HSET", keys.refs(bucket), *refs))
                plan.commands.append(("EXPIRE", keys.refs(bucket), int(self._ref_ttl_s * 2) + 60))
                plan.commands.append(("INCR", keys.refs_version))
        known.append_references(plan.commands, self._carriers, now_ms)
        return plan

    def _close(
        self, plan: _Plan, key: tuple[str, str, str, str, int], group: _Group, block_id: str, now_ms: int
    ) -> None:
        """The commands that make one block."""
        carrier, lane, app, campaign, at_ms = key
        keys = self._carriers[carrier]
        block = blocks.Block(blocks.FORMAT, block_id, lane, app, campaign, now_ms, group.entries)
        plan.add_block(keys, block, at_ms, self._epoch)
        if not at_ms:
            plan.due_now.append((carrier, block, group.payloads))

    async def _look_up(self, batch: list[_Waiting], now_ms: int) -> _Known:
        """Which references are taken, and the last concatenation reference of each destination of a long message."""
        bucket = int(now_ms / 1000 / self._ref_ttl_s)
        commands: list[tuple[Any, ...]] = []
        asked: list[tuple[str, list[str]]] = []
        watch: list[bytes] = []
        refs: dict[str, list[str]] = {}
        long: dict[str, list[str]] = {}
        for waiting in batch:
            found = [item.entry.ref for item in waiting.items if item.entry.ref is not None]
            if found:
                refs.setdefault(waiting.app, []).extend(found)
            for item in waiting.items:
                if item.entry.parts > 1:
                    long.setdefault(item.carrier, []).append(item.entry.to)
        for app, names in refs.items():
            keys = self._app(app)
            watch.append(keys.refs_version)
            encoded = [name.encode() for name in names]
            for each in (bucket, bucket - 1):
                commands.append(("HMGET", keys.refs(each), *encoded))
                asked.append((app, names))
        known = _Known()
        concat_bucket = now_ms // 1000 // CONCAT_BUCKET_S
        for carrier, numbers in long.items():
            prefix = self._carriers[carrier].prefix
            watch.append(prefix + b"concat:version")
            for each in (concat_bucket, concat_bucket - 1):
                commands.append(("HMGET", prefix + b"concat:%d" % each, *numbers))
        if not commands:
            return known
        replies = await self._stage.read(commands, watch)
        oldest_s = now_ms // 1000 - self._ref_ttl_s
        for (app, names), reply in zip(asked, replies, strict=False):
            if any(reply):
                for name, value in zip(names, reply, strict=True):
                    if value is not None and int(value[8:16], 16) >= oldest_s:
                        known.refs.setdefault(
                            (app, name), (int(value[:8], 16), value[18:].decode(), int(value[16:18], 16))
                        )
        rest = iter(replies[len(asked) :])
        for carrier, numbers in long.items():
            for number, here, before in zip(numbers, next(rest), next(rest), strict=True):
                last = here if here is not None else before
                known.concat[carrier, number] = int(last) if last is not None else crc32(number.encode())
        return known

    def _app(self, name: str) -> AppKeys:
        keys = self._apps.get(name)
        if keys is None:
            keys = self._apps[name] = AppKeys(name)
        return keys


class _Known:
    """What a batch's look-up found."""

    def __init__(self) -> None:
        self.refs: dict[tuple[str, str], tuple[int, str, int]] = {}
        """(app, ref) -> digest, message_id, parts."""
        self.concat: dict[tuple[str, str], int] = {}
        self._used: dict[str, dict[str, int]] = {}

    def next_reference(self, carrier: str, number: str, highest: int) -> int:
        """The concatenation reference of the next long message to this number."""
        reference = (self.concat[carrier, number] + 1) % (highest + 1)
        self.concat[carrier, number] = reference
        self._used.setdefault(carrier, {})[number] = reference
        return reference

    def append_references(
        self, commands: list[tuple[Any, ...]], carriers: dict[str, CarrierKeys], now_ms: int
    ) -> None:
        for carrier, used in self._used.items():
            prefix = carriers[carrier].prefix
            key = prefix + b"concat:%d" % (now_ms // 1000 // CONCAT_BUCKET_S)
            pairs = [field for pair in used.items() for field in pair]
            commands.append(("HSET", key, *pairs))
            commands.append(("EXPIRE", key, CONCAT_BUCKET_S * 2))
            commands.append(("INCR", prefix + b"concat:version"))


class _Plan:
    """One batch's write and what to say when it is durable."""

    def __init__(self) -> None:
        self.commands: list[tuple[Any, ...]] = []
        self.answers: list[tuple[_Waiting, list[Accepted], list[Refusal]]] = []
        self.due_now: list[tuple[str, blocks.Block, list[bytes | None]]] = []
        self.first_block_key = b""
        self.count = 0

    def add_block(self, keys: CarrierKeys, block: blocks.Block, at_ms: int, epoch: int) -> None:
        key = keys.block(block.block_id)
        if not self.first_block_key:
            self.first_block_key = key
        self.count += len(block.entries)
        self.commands += make_block(keys, block, at_ms, epoch)


def make_block(keys: CarrierKeys, block: blocks.Block, at_ms: int, epoch: int) -> list[tuple[Any, ...]]:
    """The commands that create a block: body, journal, and its place in a lane (now) or among the due (later)."""
    block_id = block.block_id
    commands: list[tuple[Any, ...]] = [
        ("SET", keys.block(block_id), blocks.encode(block)),
        ("RPUSH", keys.journal(block_id), blocks.encode(blocks.Record(blocks.FORMAT, epoch, 0))),
        ("INCRBY", keys.queued[block.lane], len(block.entries)),
    ]
    if at_ms:
        commands.append(("ZADD", keys.due, at_ms, release_member(block.lane, block_id)))
    else:
        commands.append(("XADD", keys.lanes[block.lane], "*", b"b", block_id))
    return commands


def release_member(lane: str, block_id: str) -> str:
    """A member of `due`: put this block into its lane."""
    return f"r:{lane}:{block_id}"


def finish_member(block_id: str) -> str:
    """A member of `due`: see whether this block is finished and forget what is."""
    return f"f:{block_id}"
