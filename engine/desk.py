"""The operator's desk: what may be asked and changed of a running node by who owns it.

Behind the requests `carrier`, `held` and `trace` of the local socket, which only the node's own uid and root
may make (see `intake.server`). Every change is durable before it is answered, and the log says who made it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Any, Final

import anyio
import msgspec

from ..codecs import constants as c
from .clock import Clock
from .dispatch.carrier import Carrier
from .dispatch.hand import OutOfRange
from .dispatch.tracing import TRACES_MAX, Trace
from .intake.errors import (
    BadValue,
    NodeUnavailable,
    TooManyTraces,
    UnknownCarrier,
    UnknownMessage,
)
from .ledger import blocks, inquiry
from .ledger.accept import hold_member, make_block
from .ledger.blocks import Block, Entry
from .ledger.events import Told, publish, rfc3339
from .ledger.keys import CarrierKeys
from .ledger.port import Stage, Store, StoreError
from .messages import hidden_number
from .receipts.correlation import CLOSED, read_table
from .receipts.fields import WAITING

log = logging.getLogger("todoke.desk")

UNAVAILABLE_RETRY_S: Final = 1.0
HELD_SHOWN_MAX: Final = 1_000
DUE_PAGE: Final = 500
TRIES_MAX: Final = 20
"""A block that is changed by others this often while we look is left to them."""
COMMAND_IDS: Final = {name: command_id for command_id, name in c.COMMAND_NAMES.items()}


class HeldBlock(msgspec.Struct):
    """A block of copies that wait because their first ones are in doubt."""

    carrier: Carrier
    block: Block
    due_ms: int
    held: list[int]
    """Entries in doubt, neither ended nor settled."""
    others: int
    """Entries that wait here for another reason."""


class Desk:
    """`told`: an app has so many more events."""

    def __init__(
        self,
        clock: Clock,
        store: Store,
        carriers: dict[str, Carrier],
        *,
        epoch: int,
        mint: Callable[[], str],
        told: Callable[[str, int], None],
    ) -> None:
        self._clock = clock
        self._carriers = carriers
        self._epoch = epoch
        self._mint = mint
        self._told = told
        self._stage: Stage = store.stage("desk")
        self._lock = anyio.Lock()

    # -- accounts --------------------------------------------------------------------------------------

    async def carrier(self, act: str, name: str | None, value: float | None, by: str) -> dict[str, Any]:
        """See `intake.node.Desk.carrier`."""
        if act != "list":
            if name is None:
                raise UnknownCarrier("name one")
            carrier = self._carrier(name)
            try:
                await carrier.lay_hand(act, value, by)
            except OutOfRange as error:
                raise BadValue(f"{act} of {name}: {error}") from None
            except StoreError as error:
                raise _unavailable(error) from error
            said = "" if value is None else f" {value:g}"
            log.warning("%s: %s%s, as %s asked", name, act, said, by)
        chosen = self._carriers.values() if name is None else [self._carrier(name)]
        try:
            async with self._lock:
                return {"carriers": [await self._account(carrier) for carrier in chosen]}
        except StoreError as error:
            raise _unavailable(error) from error

    async def _account(self, carrier: Carrier) -> dict[str, Any]:
        config, status = carrier.config, carrier.status()
        (orphans,) = await self._stage.read([("HLEN", carrier.keys.orphans)])
        held = 0
        async for block in self._held_blocks([carrier]):
            held += sum(len(_pending(block, index)) for index in block.held)
        sending = [bind for bind in status.binds if not bind.name.endswith("-rx")]
        windows = [bind.window for bind in sending if bind.bound_since is not None]
        health = status.health
        return {
            "name": config.name,
            "state": _state_of(carrier, bool(windows), health.breaker.state),
            "paused": status.hand.paused,
            "changed_by": status.hand.by or None,
            "changed_at": rfc3339(status.hand.at_ms) if status.hand.at_ms else None,
            "slots_held": len(status.slots_held),
            "slots": config.binds,
            "bound": sum(bind.bound_since is not None for bind in status.binds),
            "binds": len(status.binds),
            "outstanding": sum(bind.outstanding for bind in status.binds),
            "window": min(windows, default=status.window),
            "window_allowed": status.window,
            "window_contract": config.window,
            "rate": health.pace.rate,
            "rate_allowed": status.rate,
            "rate_contract": config.rate,
            "rate_used": status.used_last_second,
            "breaker": health.breaker.state,
            "breaker_reason": health.breaker.reason or None,
            "breaker_opened": health.breaker.opened,
            "held_parts": held,
            "orphans": orphans,
            "full_destinations": health.destinations.numbers,
        }

    # -- what is held ----------------------------------------------------------------------------------

    async def held(self, act: str, carrier: str | None, message_id: str | None, by: str) -> dict[str, Any]:
        """See `intake.node.Desk.held`."""
        carriers = list(self._carriers.values()) if carrier is None else [self._carrier(carrier)]
        try:
            async with self._lock:
                if act == "list":
                    return await self._list(carriers, message_id)
                if message_id is not None:
                    changed, elsewhere = await self._change_one(act, message_id)
                else:
                    changed, elsewhere = await self._change_all(act, carriers)
        except StoreError as error:
            raise _unavailable(error) from error
        for each in carriers:
            each.due.notice(0)
        what = "sent now" if act == "release" else "ended as unknown"
        log.warning("%d messages held in doubt are %s, as %s asked", changed, what, by)
        return {"changed": changed, "elsewhere": elsewhere}

    async def _list(self, carriers: list[Carrier], message_id: str | None) -> dict[str, Any]:
        shown: list[dict[str, Any]] = []
        messages = parts = 0
        now_ms = int(self._clock.wall() * 1000)
        async for held in self._held_blocks(carriers):
            for index in held.held:
                one = _shown(held, index, now_ms)
                if message_id is not None and one["message_id"] != message_id:
                    continue
                messages += 1
                parts += one["parts"]
                if len(shown) < HELD_SHOWN_MAX:
                    shown.append(one)
        return {"held": messages, "parts": parts, "messages": shown}

    async def _held_blocks(self, carriers: Iterable[Carrier]) -> AsyncGenerator[HeldBlock]:
        """Every block that is held now, with something in doubt in it."""
        for carrier in carriers:
            for member in await self._held_members(carrier.keys):
                block_id = member.rpartition(":")[2]
                found = await self._look(carrier, member, block_id)
                if found is not None and found.held:
                    yield found

    async def _held_members(self, keys: CarrierKeys) -> list[str]:
        members: dict[str, None] = {}
        start = 0
        while True:
            (page,) = await self._stage.read(
                [("ZRANGEBYSCORE", keys.due, "-inf", "+inf", "LIMIT", start, DUE_PAGE)]
            )
            members |= dict.fromkeys(member.decode() for member in page if member.startswith(b"h:"))
            if len(page) < DUE_PAGE:
                return list(members)
            start += DUE_PAGE

    async def _look(
        self, carrier: Carrier, member: str, block_id: str, *, watch: bool = False
    ) -> HeldBlock | None:
        """A held block as it is now; None: it is held no more. With `watch`, its journal is watched then."""
        keys = carrier.keys
        journal = keys.journal(block_id)
        score, body, records = await self._stage.read(
            [("ZSCORE", keys.due, member), ("GET", keys.block(block_id)), ("LRANGE", journal, 0, -1)],
            (journal,) if watch else (),
        )
        if score is None or body is None:
            if watch:
                await self._stage.unwatch()
            return None
        block = blocks.decode_block(body)
        progress = blocks.fold(records)
        held: list[int] = []
        others = 0
        for index, entry in enumerate(block.entries):
            if entry is None or index in progress.ended:
                continue
            missing = [part for part in blocks.pending_parts(entry) if (index, part) not in progress.sent]
            if not missing:
                continue
            if entry.extra is not None and entry.extra.doubled:
                held.append(index)
            else:
                others += 1
        return HeldBlock(carrier, block, int(float(score)), held, others)

    async def _change_all(self, act: str, carriers: list[Carrier]) -> tuple[int, int]:
        changed = elsewhere = 0
        for carrier in carriers:
            for member in await self._held_members(carrier.keys):
                done, not_ours = await self._change(act, carrier, member, None)
                changed += done
                elsewhere += not_ours
        return changed, elsewhere

    async def _change_one(self, act: str, message_id: str) -> tuple[int, int]:
        standing = await inquiry.find(self._stage, message_id)
        carrier = None if standing is None else self._carriers.get(standing.carrier)
        if standing is None or carrier is None:
            raise UnknownMessage("no such message, or its history is over")
        member = hold_member(standing.lane, standing.block_id)
        return await self._change(act, carrier, member, standing.index)

    async def _change(self, act: str, carrier: Carrier, member: str, only: int | None) -> tuple[int, int]:
        """Release or drop what a block holds, or one entry of it: (how many, how many another process must).

        The journal is watched: whoever releases the block, or hears a late answer, first has won.
        """
        block_id = member.rpartition(":")[2]
        for _ in range(TRIES_MAX):
            found = await self._look(carrier, member, block_id, watch=True)
            if found is None:
                return 0, 0
            wanted = [index for index in found.held if only in (None, index)]
            whole = len(wanted) == len(found.held) and not found.others
            if not wanted or ((act == "drop" or not whole) and self._is_anothers(carrier, block_id)):
                await self._stage.unwatch()
                return 0, len(wanted)
            if act == "drop":
                done = await self._drop(found, wanted)
            elif whole:
                done = await self._bring_forward(found, member)
            else:
                done = await self._take_out(found, wanted)
            if done:
                return len(wanted), 0
        return 0, 0

    def _is_anothers(self, carrier: Carrier, block_id: str) -> bool:
        """Made by another process, which may live: it remembers whose copies these are, and must be told."""
        made_by = int(block_id.partition("-")[0], 16)
        return made_by != self._epoch and not carrier.slots.surely_alone

    async def _bring_forward(self, found: HeldBlock, member: str) -> bool:
        """Due now: the due stage asks the receipts once more, as at the end of every hold, and sends the
        rest.
        """
        now_ms = int(self._clock.wall() * 1000)
        return await self._stage.commit([("ZADD", found.carrier.keys.due, now_ms, member)]) is not None

    async def _take_out(self, found: HeldBlock, wanted: list[int]) -> bool:
        """Some of a block, as a block of their own that is due now; the others go on waiting."""
        carrier, old = found.carrier, found.block
        keys = carrier.keys
        now_ms = int(self._clock.wall() * 1000)
        new_id = self._mint()
        entries: list[Entry | None] = [old.entries[index] for index in wanted]
        block = Block(blocks.FORMAT, new_id, old.lane, old.app, old.campaign, now_ms, entries)
        commands = make_block(keys, block, now_ms, self._epoch, held=True)
        places = [f"{keys.name}.{new_id}.{position}" for position in range(len(wanted))]
        moved = [(index, blocks.MOVED, 0, place) for index, place in zip(wanted, places, strict=True)]
        commands.append(("RPUSHX", keys.journal(old.block_id), self._record(moved)))
        for entry, place in zip(entries, places, strict=True):
            assert entry is not None
            assert entry.extra is not None
            name, block_id, index = blocks.split_message_id(entry.extra.message_id)
            end = (index, blocks.MOVED, 0, place)
            commands.append(("RPUSHX", CarrierKeys(name).journal(block_id), self._record([end])))
        if await self._stage.commit(commands) is None:
            return False
        for position, index in enumerate(wanted):
            carrier.recorder.copies.moved((old.block_id, index), (new_id, position))
        # The old block counts them still when it ends.
        carrier.recorder.on_closed(-len(wanted))
        return True

    async def _drop(self, found: HeldBlock, wanted: list[int]) -> bool:
        """Not sent again; each is told to its app, `unknown`, because its first copy may have arrived."""
        carrier, block = found.carrier, found.block
        keys = carrier.keys
        now_ms = int(self._clock.wall() * 1000)
        ended: list[tuple[int, int, int, str]] = []
        told: list[Told] = []
        tables: list[str | bytes] = []
        mids = [blocks.message_id(keys.name, block.block_id, index, block.entries[index]) for index in wanted]
        (stored,) = await self._stage.read([("HMGET", keys.multi, *mids)], (keys.receipts_version,))
        for index, mid, known in zip(wanted, mids, stored, strict=True):
            entry = block.entries[index]
            assert entry is not None
            ended.append((index, blocks.ABANDONED, 0, ""))
            closed, table = read_table(known, entry.parts)
            if closed or WAITING not in table:
                continue  # a receipt of its first copy has told its end already
            tables += [mid, CLOSED]
            told.append(
                Told(
                    "report", mid, entry.ref, "unknown", keys.name, entry.parts, 0, True,
                    ("in_doubt", None, None), now_ms,
                )
            )  # fmt: skip
        commands: list[tuple[Any, ...]] = [
            ("RPUSHX", keys.journal(block.block_id), self._record(ended)),
        ]
        if told:
            commands += [("HSET", keys.multi, *tables), ("INCR", keys.receipts_version)]
            commands += publish(block.app, told)
        try:
            replies = await self._stage.commit(commands)
        except StoreError:
            # If it was written, the app is told; its feed has to look.
            self._told(block.app, 0)
            raise
        if replies is None:
            return False
        for index in wanted:
            carrier.recorder.copies.ended_elsewhere(block.block_id, index)
        self._told(block.app, len(told))
        return True

    def _record(self, ended: list[tuple[int, int, int, str]]) -> bytes:
        return blocks.encode(blocks.Record(blocks.FORMAT, self._epoch, -1, ended=ended))

    # -- PDUs as they pass -----------------------------------------------------------------------------

    def watch(
        self, carrier: str, bind: int | None, commands: list[str] | None, by: str
    ) -> tuple[Trace, Callable[[], None]]:
        """See `intake.node.Desk.watch`."""
        found = self._carrier(carrier)
        wanted: frozenset[int] | None = None
        if commands is not None:
            for name in commands:
                if name not in COMMAND_IDS:
                    raise BadValue(f"no command {name!r}; such as submit_sm", "commands")
            wanted = frozenset(COMMAND_IDS[name] for name in commands)
        binds: frozenset[str] | None = None
        if bind is not None:
            if not 1 <= bind <= found.config.binds:
                raise BadValue(f"{carrier} has binds 1 to {found.config.binds}", "bind")
            name = f"{carrier}-{bind}"
            binds = frozenset({name, f"{name}-tx", f"{name}-rx"})
        trace = Trace(binds, wanted)
        if not found.tracing.watch(trace):
            raise TooManyTraces(f"{carrier} has {TRACES_MAX} traces already")
        log.warning("%s: its PDUs are watched, as %s asked", carrier, by)

        def leave() -> None:
            found.tracing.leave(trace)
            log.info("%s: its PDUs are watched by %s no more", carrier, by)

        return trace, leave

    def _carrier(self, name: str) -> Carrier:
        found = self._carriers.get(name)
        if found is None:
            raise UnknownCarrier(f"configured: {', '.join(self._carriers)}")
        return found


def _unavailable(error: StoreError) -> NodeUnavailable:
    return NodeUnavailable(f"the message store is away: {error}", UNAVAILABLE_RETRY_S)


def _state_of(carrier: Carrier, bound: bool, breaker: str) -> str:
    """In a word or two, the worst first."""
    if carrier.hand.paused:
        return "paused"
    if not carrier.slots.held:
        return "standing by"
    if not bound:
        return "not bound"
    return "sending" if breaker == "closed" else {"open": "left alone"}.get(breaker, "on trial")


def _pending(held: HeldBlock, index: int) -> list[int]:
    entry = held.block.entries[index]
    return [] if entry is None else blocks.pending_parts(entry)


def _shown(held: HeldBlock, index: int, now_ms: int) -> dict[str, Any]:
    entry = held.block.entries[index]
    assert entry is not None
    assert entry.extra is not None
    since_ms = entry.extra.first_ms or held.block.accepted_ms
    return {
        "message_id": entry.extra.message_id,
        "carrier": held.carrier.config.name,
        "app": held.block.app,
        "lane": held.block.lane,
        "to": hidden_number("+" + entry.to),
        "parts": len(blocks.pending_parts(entry)),
        "age_s": round(max(0, now_ms - since_ms) / 1000, 3),
        "due_at": rfc3339(held.due_ms),
        "due_in_s": round(max(0, held.due_ms - now_ms) / 1000, 3),
    }
