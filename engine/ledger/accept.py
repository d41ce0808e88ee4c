"""Accepting: from prepared messages to durable blocks, references included, in one atomic step.

One write is in flight at a time; what arrives meanwhile is the next batch. A step reads the references it is
about to take (and watches their version), then commits blocks, journals, queue entries and references
together: either all of it is on disk when the app hears `accepted`, or nothing is. Block ids are minted
before the write, so a lost reply is answered by asking for the block.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any, Final, Protocol
from zlib import crc32

import anyio

from ..bell import Bell
from ..clock import Clock
from ..dispatch.prepare import Batchlet
from ..messages import REF_CONFLICT, Accepted, Refusal
from . import blocks
from .keys import GROUP, AppKeys, CarrierKeys
from .port import OutcomeUnknown, Store, StoreError, StoreUnavailable

log = logging.getLogger("todoke.accept")

BATCH_MESSAGES_MAX: Final = 4_000
BLOCK_MESSAGES_MAX: Final = 512
BLOCK_OCTETS_MAX: Final = 262_144
LONG_BLOCK_MESSAGES_MAX: Final = 16
"""Messages taken at once from a submission too large for one block."""
OUTCOME_ASK_S: Final = 15.0
"""How long a lost reply is asked after before the app is told to submit again with the same ref."""
CONCAT_BUCKET_S: Final = 21_600
"""Concatenation references of a destination are remembered for one to two of these."""


class _Waiting:
    """One submission in the stage's hands."""

    __slots__ = ("accepted", "app", "batchlets", "done", "error", "refused", "size")

    def __init__(self, app: str, batchlets: list[Batchlet]) -> None:
        self.app = app
        self.batchlets = batchlets
        self.size = sum(len(batchlet.entries) for batchlet in batchlets)
        self.done = anyio.Event()
        self.accepted: list[Accepted] = []
        self.refused: list[Refusal] = []
        self.error: StoreError | None = None


class _Group:
    """A block in the making."""

    __slots__ = ("block_id", "entries", "octets", "payloads", "room")

    def __init__(self, block_id: str, room: int) -> None:
        self.block_id = block_id
        self.entries: list[blocks.Entry | None] = []
        self.payloads: list[bytes | None] = []
        self.octets = 0
        self.room = room
        """Messages that still fit."""

    def add(self, entries: list[blocks.Entry], payloads: list[bytes | None], octets: int) -> None:
        self.entries += entries
        self.payloads += payloads
        self.octets += octets
        self.room -= len(entries)


_ref = Struct(">IIB")
_ref_head = _ref.pack
_read_ref_head = _ref.unpack_from
REF_HEAD_OCTETS: Final = _ref.size
"""A reference's value: body digest, second of acceptance, parts; then the message id."""

BlockMade = Callable[[str, blocks.Block, list[bytes | None]], None]


class DirectTaker(Protocol):
    """A carrier that may take a block in the very write that makes it, when nothing waits before it.

    A message to an idle carrier then needs one fsync before it is on the wire, not three.
    """

    def offer(self, block: blocks.Block) -> bytes | None:
        """The consumer in whose name to take it, every entry granted; None to leave it in its lane."""
        ...

    def offered(self, block: blocks.Block, payloads: list[bytes | None], reply: Any, known: bool) -> None:
        """The write is over: `reply` is what XREADGROUP said. Not `known`: it was applied, its replies are
        lost.

        Called exactly once for every offer taken; `reply` None and `known`: nothing was written.
        """
        ...


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
        direct: Mapping[str, DirectTaker] | None = None,
    ) -> None:
        """`block_messages`: carrier -> most messages in a block; `reference_max`: carrier -> highest
        concatenation reference (255 or 65535); `on_block` is called with each block that was made durable
        and is due now.
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
        self.on_scheduled: Callable[[str, int], None] = lambda carrier, at_ms: None
        """Called with the moment of each block that was made durable and is due later."""
        self._direct = direct or {}
        self._waiting: deque[_Waiting] = deque()
        self._bell = Bell()
        self._minted = 0
        self._previous: dict[str, tuple[int, bool]] = {}
        """app -> (bucket, whether the bucket before it exists)."""
        self._last_span = 0
        self.away = False
        """The store did not answer last time: submissions are refused at the door until it does."""
        self.queued_messages = 0
        """Messages accepted and not yet finished by dispatch, as this process knows."""

    async def submit(self, app: str, batchlets: list[Batchlet]) -> tuple[list[Accepted], list[Refusal]]:
        """Make these durable. Returns what was accepted, in the order of their places, and what was refused
        (reference conflicts).

        Raises StoreUnavailable or StoreRefused: nothing of it was accepted. OutcomeUnknown: they may have
        been; to submit again with the same references is safe.
        """
        if self.away:
            raise StoreUnavailable("the message store is away")
        waiting = _Waiting(app, batchlets)
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
            size += waiting.size
        try:
            with anyio.CancelScope(shield=True):
                await self._accept(batch)
        except StoreError as error:
            if not self.away:
                log.error("submissions are refused until the message store is back: %s", error)
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
                try:
                    done = await self._commit(plan)
                except BaseException as error:
                    self._settle_offers(plan, None, known=not isinstance(error, OutcomeUnknown))
                    raise
                self._settle_offers(plan, done, known=bool(done) or done is None)
            if done is not None:
                break
            # Another process took one of the references between our look and our write: look again.
        for waiting, accepted, refused in plan.answers:
            waiting.accepted = accepted
            waiting.refused = refused
        self.queued_messages += plan.count
        for carrier, block, payloads in plan.due_now:
            self._on_block(carrier, block, payloads)
        for carrier, at_ms in plan.scheduled:
            self.on_scheduled(carrier, at_ms)

    def _settle_offers(self, plan: _Plan, replies: list[Any] | None, *, known: bool) -> None:
        for carrier, block, payloads, position in plan.offers:
            reply = replies[position] if replies else None
            self._direct[carrier].offered(block, payloads, reply, known)

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
                    except StoreError:
                        await anyio.sleep(0.05)
                        continue
                    return [] if there else None
            raise

    async def _plan(self, batch: list[_Waiting]) -> _Plan:
        now_ms = int(self._clock.wall() * 1000)
        known = await self._look_up(batch, now_ms)
        plan = _Plan()
        groups: dict[tuple[str, str, str, str, int], _Group] = {}
        new_refs: dict[str, list[bytes]] = {}
        for waiting in batch:
            app = waiting.app
            refs = new_refs.setdefault(app, [])
            placed: list[tuple[list[int], list[Accepted]]] = []
            refused: list[Refusal] = []
            for each in waiting.batchlets:
                batchlet = each
                if batchlet.refs:
                    # The submission itself stays whole: if this plan cannot be written, another is made of
                    # it.
                    batchlet, places, duplicates = self._drop_repeated(app, batchlet, known, refused)
                    if places:
                        placed.append((places, duplicates))
                    if not batchlet.entries:
                        continue
                key = (batchlet.carrier, batchlet.lane, app, batchlet.campaign, batchlet.at_ms)
                accepted = self._place(plan, groups, key, batchlet, known, refs, now_ms)
                placed.append((batchlet.places, accepted))
            plan.answers.append((waiting, _in_order(placed), refused))
        for key, group in groups.items():
            self._close(plan, key, group, now_ms)
        if known.twins:
            plan.name_twins(known.twins)
        bucket = self._span(now_ms)
        for app, refs in new_refs.items():
            if refs:
                keys = self._app(app)
                plan.commands.append(("HSET", keys.refs(bucket), *refs))
                plan.commands.append(("EXPIRE", keys.refs(bucket), int(self._ref_ttl_s * 2) + 60))
                plan.commands.append(("INCR", keys.refs_version))
        known.append_references(plan.commands, self._carriers, now_ms)
        return plan

    def _place(
        self,
        plan: _Plan,
        groups: dict[tuple[str, str, str, str, int], _Group],
        key: tuple[str, str, str, str, int],
        batchlet: Batchlet,
        known: _Known,
        refs: list[bytes],
        now_ms: int,
    ) -> list[Accepted]:
        """Put a batchlet into as few blocks as the limits allow; its references are appended to `refs`."""
        carrier = batchlet.carrier
        if batchlet.long:
            highest = self._reference_max[carrier]
            for entry in batchlet.entries:
                if entry.parts > 1:
                    entry.reference = known.next_reference(carrier, entry.to, highest)
        accepted: list[Accepted] = []
        entries, payloads, digests = batchlet.entries, batchlet.payloads, batchlet.digests
        octets = 48 * len(entries) + 3 * sum([len(entry.text) for entry in entries])
        if None in payloads:
            octets += sum([len(entry.extra.data or b"") for entry in entries if entry.extra is not None])
        now_s = now_ms // 1000
        start = 0
        while start < len(entries):
            group = groups.get(key)
            if group is None or group.octets + octets > BLOCK_OCTETS_MAX or group.room <= 0:
                if group is not None and group.entries:
                    self._close(plan, key, group, now_ms)
                self._minted += 1
                group = groups[key] = _Group(
                    f"{self._epoch:x}-{self._minted:x}", self._block_messages[carrier]
                )
            stop = min(len(entries), start + group.room)
            if octets > BLOCK_OCTETS_MAX:
                stop = min(stop, start + LONG_BLOCK_MESSAGES_MAX)
            prefix = f"{carrier}.{group.block_id}."
            position = len(group.entries)
            chunk = entries[start:stop]
            for entry, digest in zip(chunk, digests[start:stop], strict=True):
                message_id = prefix + str(position)
                position += 1
                ref = entry.ref
                accepted.append(Accepted(ref, message_id, entry.parts))
                if ref is not None:
                    refs.append(ref.encode())
                    refs.append(_ref_head(digest, now_s, entry.parts) + message_id.encode())
            group.add(chunk, payloads[start:stop], octets * (stop - start) // len(entries))
            start = stop
        return accepted

    def _drop_repeated(
        self, app: str, batchlet: Batchlet, known: _Known, refused: list[Refusal]
    ) -> tuple[Batchlet, list[int], list[Accepted]]:
        """A batchlet without the messages whose reference was accepted before (duplicates and conflicts), and
        the duplicates' places and answers.
        """
        taken = known.taken.setdefault(app, {})
        before = known.refs.get(app)
        digests = batchlet.digests
        names = [entry.ref for entry in batchlet.entries]
        fresh = {name: digest for name, digest in zip(names, digests, strict=True) if name is not None}
        if before is None and len(fresh) == len(names) and taken.keys().isdisjoint(fresh):
            taken.update(fresh)
            return batchlet, [], []
        kept: list[int] = []
        places: list[int] = []
        duplicates: list[Accepted] = []
        for position, (name, digest) in enumerate(zip(names, digests, strict=True)):
            if name is None:
                kept.append(position)
                continue
            found = before.get(name) if before is not None else None
            if found is not None and found[0] == digest:
                places.append(batchlet.places[position])
                duplicates.append(Accepted(name, found[1], found[2], True))
            elif found is None and taken.get(name) == digest:
                # The first one is in this very batch: its id is known when all are placed.
                places.append(batchlet.places[position])
                duplicates.append(Accepted(name, "", 0, True))
                known.twins.append((app, duplicates[-1]))
            elif found is not None or name in taken:
                place = batchlet.places[position]
                refused.append(
                    Refusal(place, name, "ref", REF_CONFLICT, "this ref was accepted with another body")
                )
            else:
                taken[name] = digest
                kept.append(position)
        return batchlet.only(kept), places, duplicates

    def _close(self, plan: _Plan, key: tuple[str, str, str, str, int], group: _Group, now_ms: int) -> None:
        """The commands that make one block."""
        carrier, lane, app, campaign, at_ms = key
        keys = self._carriers[carrier]
        block = blocks.Block(blocks.FORMAT, group.block_id, lane, app, campaign, now_ms, group.entries)
        consumer = self._direct[carrier].offer(block) if not at_ms and carrier in self._direct else None
        plan.add_block(keys, block, at_ms, self._epoch, consumer)
        if consumer is not None:
            plan.offers.append((carrier, block, group.payloads, len(plan.commands) - 1))
        elif not at_ms:
            plan.due_now.append((carrier, block, group.payloads))
        else:
            plan.scheduled.append((carrier, at_ms))

    async def _look_up(self, batch: list[_Waiting], now_ms: int) -> _Known:
        """Which references are taken, and the last concatenation reference of each destination of a long
        message.
        """
        bucket = self._span(now_ms)
        commands: list[tuple[Any, ...]] = []
        asked: list[tuple[str, list[str]]] = []
        watch: list[bytes] = []
        refs: dict[str, list[str]] = {}
        long: dict[str, list[str]] = {}
        for waiting in batch:
            for batchlet in waiting.batchlets:
                if batchlet.refs:
                    names = [entry.ref for entry in batchlet.entries if entry.ref is not None]
                    refs.setdefault(waiting.app, []).extend(names)
                if batchlet.long:
                    numbers = [entry.to for entry in batchlet.entries if entry.parts > 1]
                    long.setdefault(batchlet.carrier, []).extend(numbers)
        for app, names in refs.items():
            keys = self._app(app)
            watch.append(keys.refs_version)
            commands.append(("HMGET", keys.refs(bucket), *names))
            asked.append((app, names))
            if await self._has_previous(app, bucket):
                commands.append(("HMGET", keys.refs(bucket - 1), *names))
                asked.append((app, names))
        known = _Known()
        concat_bucket = now_ms // 1000 // CONCAT_BUCKET_S
        for carrier, numbers in long.items():
            prefix = self._carriers[carrier].prefix
            watch.append(prefix + b"concat:version")
            commands += [
                ("HMGET", prefix + b"concat:%d" % each, *numbers)
                for each in (concat_bucket, concat_bucket - 1)
            ]
        if not commands:
            return known
        replies = await self._stage.read(commands, watch)
        oldest_s = now_ms // 1000 - self._ref_ttl_s
        for (app, names), reply in zip(asked, replies, strict=False):
            if any(reply):
                for name, value in zip(names, reply, strict=True):
                    if value is not None:
                        digest, accepted_s, parts = _read_ref_head(value)
                        if accepted_s >= oldest_s:
                            before = known.refs.setdefault(app, {})
                            before.setdefault(name, (digest, value[REF_HEAD_OCTETS:].decode(), parts))
        rest = iter(replies[len(asked) :])
        for carrier, numbers in long.items():
            for number, here, before in zip(numbers, next(rest), next(rest), strict=True):
                last = here if here is not None else before
                known.concat[carrier, number] = int(last) if last is not None else crc32(number.encode())
        return known

    def _span(self, now_ms: int) -> int:
        """The span of `ref_ttl_s` that references are written to now. It never goes back: after a step of the
        date into the past, what was accepted before it is still looked for.
        """
        self._last_span = max(self._last_span, int(now_ms / 1000 / self._ref_ttl_s))
        return self._last_span

    async def _has_previous(self, app: str, bucket: int) -> bool:
        """Whether the span before this one holds references. Asked once a span: nobody adds to it any
        more.
        """
        known = self._previous.get(app)
        if known is None or known[0] != bucket:
            (there,) = await self._stage.read([("EXISTS", self._app(app).refs(bucket - 1))])
            known = self._previous[app] = (bucket, bool(there))
        return known[1]

    def _app(self, name: str) -> AppKeys:
        keys = self._apps.get(name)
        if keys is None:
            keys = self._apps[name] = AppKeys(name)
        return keys


class _Known:
    """What a batch's look-up found."""

    def __init__(self) -> None:
        self.refs: dict[str, dict[str, tuple[int, str, int]]] = {}
        """app -> ref -> digest, message_id, parts."""
        self.taken: dict[str, dict[str, int]] = {}
        """app -> ref -> digest, of this batch."""
        self.concat: dict[tuple[str, str], int] = {}
        self.twins: list[tuple[str, Accepted]] = []
        """Duplicates of messages of the same batch, to be given the first one's id."""
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
        self.scheduled: list[tuple[str, int]] = []
        """carrier, when: blocks that wait for their time."""
        self.offers: list[tuple[str, blocks.Block, list[bytes | None], int]] = []
        """carrier, block, payloads, and which command's reply says whether it was taken."""
        self.first_block_key = b""
        self.count = 0

    def name_twins(self, twins: list[tuple[str, Accepted]]) -> None:
        first: dict[tuple[str, str | None], Accepted] = {}
        for waiting, accepted, _ in self.answers:
            for answer in accepted:
                if not answer.duplicate:
                    first[waiting.app, answer.ref] = answer
        for app, twin in twins:
            found = first[app, twin.ref]
            twin.message_id, twin.parts = found.message_id, found.parts

    def add_block(
        self, keys: CarrierKeys, block: blocks.Block, at_ms: int, epoch: int, consumer: bytes | None
    ) -> None:
        key = keys.block(block.block_id)
        if not self.first_block_key:
            self.first_block_key = key
        self.count += len(block.entries)
        self.commands += make_block(
            keys, block, at_ms, epoch, len(block.entries) if consumer is not None else 0
        )
        if consumer is not None:
            lane = keys.lanes[block.lane]
            self.commands.append(("XREADGROUP", "GROUP", GROUP, consumer, "COUNT", 1, "STREAMS", lane, ">"))


def _in_order(placed: list[tuple[list[int], list[Accepted]]]) -> list[Accepted]:
    """The answers of several batchlets in the order of the submission."""
    if len(placed) == 1:
        return placed[0][1]
    pairs = [pair for places, answers in placed for pair in zip(places, answers, strict=True)]
    pairs.sort(key=lambda pair: pair[0])
    return [answer for _, answer in pairs]


def make_block(
    keys: CarrierKeys, block: blocks.Block, at_ms: int, epoch: int, grant: int = 0, *, held: bool = False
) -> list[tuple[Any, ...]]:
    """The commands that create a block: body, journal, and its place in a lane (now) or among the due
    (later).

    `grant`: entries below may be sent at once, by whoever takes the block in the same write. `held`: its
    messages are copies that may not be needed.
    """
    block_id = block.block_id
    commands: list[tuple[Any, ...]] = [
        ("SET", keys.block(block_id), blocks.encode(block)),
        ("RPUSH", keys.journal(block_id), blocks.encode(blocks.Record(blocks.FORMAT, epoch, grant))),
        ("INCRBY", keys.queued[block.lane], len(block.entries)),
    ]
    if at_ms:
        member = hold_member(block.lane, block_id) if held else release_member(block.lane, block_id)
        commands.append(("ZADD", keys.due, at_ms, member))
    else:
        commands.append(("XADD", keys.lanes[block.lane], "*", b"b", block_id))
    return commands


def release_member(lane: str, block_id: str) -> str:
    """A member of `due`: put this block into its lane."""
    return f"r:{lane}:{block_id}"


def hold_member(lane: str, block_id: str) -> str:
    """A member of `due`: put this block into its lane, but for what needs no copy any more."""
    return f"h:{lane}:{block_id}"


def finish_member(block_id: str) -> str:
    """A member of `due`: see whether this block is finished and forget what is."""
    return f"f:{block_id}"
