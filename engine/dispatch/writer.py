"""Writes one turn of a carrier's record stage: what `Turn` gathered becomes one commit.

Journal records with grants, the receipt index, blocks for what goes on, events for the apps, the end of
blocks: all in one MULTI, under the condition that our slots are still ours. Nothing is decided here but what
only the store can tell: whether a receipt has ended a message meanwhile, and whose id is given twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ..config import CarrierConfig
from ..ledger import blocks
from ..ledger.accept import finish_member, make_block
from ..ledger.blocks import Entry
from ..ledger.durable import Applied, DurableStage
from ..ledger.events import publish
from ..ledger.keys import GROUP, CarrierKeys
from ..receipts.correlation import CLOSED, read_table
from ..receipts.fields import WAITING, candidates, joined, origin_octets
from .copies import Copies
from .runs import Run
from .turn import Turn, merged

FINISH_GRACE_MS: Final = 2_000
"""Receipts mostly come within this time (or history_s, if that is less): then the first look at a block is
the last.
"""
FINISH_GRAIN_MS: Final = 500
"""Blocks that ended within this time are looked after in one go."""
BLOCK_ENTRIES_MAX: Final = 512
"""Of a block of what goes on."""


class TurnWriter:
    """Of one carrier; one call at a time. Holds no state between calls but the connection."""

    def __init__(
        self,
        config: CarrierConfig,
        keys: CarrierKeys,
        stage: DurableStage,
        copies: Copies,
        *,
        epoch: int,
        mint: Callable[[], str],
        other_keys: Callable[[str], CarrierKeys],
        holds: Callable[[], Mapping[bytes, bytes]],
    ) -> None:
        """`holds`: what the store must say for a turn to be written (see Slots)."""
        self._config = config
        self._keys = keys
        self._stage = stage
        self._copies = copies
        self._epoch = epoch
        self._mint = mint
        self._other_keys = other_keys
        self._holds = holds

    async def write(
        self, work: Turn, fresh: list[Run]
    ) -> tuple[list[Run], list[Any] | Applied, list[tuple[Run, int]]]:
        """Build the commit and write it. Returns the runs that ended, the replies, and where each first look
        is. Raises Fenced.
        """
        commands: list[tuple[Any, ...]] = []
        reads: list[tuple[Run, int]] = []
        if work.rx:
            ids = work.rx[::2]
            if len(set(ids)) < len(ids):
                work.rx = merged(work.rx)
                ids = work.rx[::2]
            commands.append(("HMGET", self._keys.receipts, *ids))
            commands.append(("HSET", self._keys.receipts, *work.rx))
            commands.append(("EXISTS", self._keys.orphans))
        for run in fresh:
            reads.append((run, len(commands)))
            commands.append(("LRANGE", run.journal_key, 0, -1))
        self._close_later(work)
        closed: list[Run] = []
        for run in work.dirty:
            commands.append(("RPUSHX", run.journal_key, run.record(self._epoch)))
            if run.open <= 0:
                closed.append(run)
                commands += self._closing(work, run)
        if work.doubts:
            commands.append(("HSET", self._keys.doubts, *work.doubts))
        commands += work.commands
        commands += work.places(self._epoch)
        for app, told in work.events.items():
            commands += publish(app, told)
        while True:
            endings, unless = await self._endings(work) if work.endings else ([], None)
            replies = await self._stage.commit_surely(commands + endings, self._holds(), unless)
            if replies is not None:
                return closed, replies, reads
            # A receipt came meanwhile: it may have ended one of these messages.

    def _closing(self, work: Turn, run: Run) -> list[tuple[Any, ...]]:
        """The commands that take a run with nothing left to send out of its lane, and have it looked after
        when receipts are no more to be expected.
        """
        lane = self._keys.lanes[run.lane]
        history_ms = int(self._config.history_s * 1000)
        finish_at = work.now_ms + history_ms + min(FINISH_GRACE_MS, history_ms)
        finish_at += FINISH_GRAIN_MS - finish_at % FINISH_GRAIN_MS
        work.due_times.append(finish_at)
        return [
            ("XACK", lane, GROUP, run.stream_id),
            ("XDEL", lane, run.stream_id),
            ("INCRBY", self._keys.queued[run.block.lane], -len(run.entries)),
            ("ZADD", self._keys.due, finish_at, finish_member(run.block_id)),
        ]

    def _close_later(self, work: Turn) -> None:
        """The blocks of what is sent again, and the facts that say where each message went."""
        for (carrier, lane, app, campaign, at_ms), items in work.later.items():
            keys = self._other_keys(carrier)
            for start in range(0, len(items), BLOCK_ENTRIES_MAX):
                chunk = items[start : start + BLOCK_ENTRIES_MAX]
                block_id = self._mint()
                entries: list[Entry | None] = [moved for _, _, moved, _ in chunk]
                block = blocks.Block(blocks.FORMAT, block_id, lane, app, campaign, work.now_ms, entries)
                held = any(moved.extra is not None and moved.extra.doubled for _, _, moved, _ in chunk)
                work.commands += make_block(keys, block, at_ms, self._epoch, held=held)
                if at_ms and carrier == self._config.name:
                    work.due_times.append(at_ms)
                for position, (run, index, moved, command_status) in enumerate(chunk):
                    place = f"{carrier}.{block_id}.{position}"
                    work.end(run, index, blocks.MOVED, command_status, place)
                    before = run.entries[index]
                    if before is not None and before.extra is not None and before.extra.message_id:
                        mid = before.extra.message_id
                        work.moved_on(mid, blocks.MOVED, command_status, place)
                        if self._has_sent(before, moved):
                            work.moved_on(mid, blocks.ALSO, 0, f"{self._config.name}.{run.block_id}.{index}")
                    if moved.extra is not None and moved.extra.doubled and carrier == self._config.name:
                        self._copies.remember((run.block_id, index), (block_id, position))

    @staticmethod
    def _has_sent(before: Entry, moved: Entry) -> bool:
        """Whether parts of a message may have been sent from here that goes on: receipts may come for them.
        (What a late answer has told of is taken out of `before` too.)
        """
        assert before.extra is not None
        if moved.extra is None or moved.extra.pending is None:
            return False
        return moved.extra.doubled or moved.extra.pending != before.extra.pending

    async def _endings(self, work: Turn) -> tuple[list[tuple[Any, ...]], dict[bytes, bytes | None]]:
        """The commands that tell and close what no receipt has ended, and the version of the index in which
        none has. What is told so is added to the turn's events.
        """
        keys = self._keys
        names = [told.message_id for _, _, told in work.endings]
        version, tables = await self._stage.read_surely(
            [("GET", keys.receipts_version), ("HMGET", keys.multi, *names)]
        )
        work.ended = {}
        commands: list[tuple[Any, ...]] = []
        for (app, parts, told), stored in zip(work.endings, tables, strict=True):
            closed, table = read_table(stored, parts)
            if not closed and WAITING in table:
                commands.append(("HSET", keys.multi, told.message_id, CLOSED))
                work.ended.setdefault(app, []).append(told)
        for app, ended in work.ended.items():
            commands += publish(app, ended)
        if commands:
            # Whoever is applying a receipt to one of them reads its table again.
            commands.append(("INCR", keys.receipts_version))
        return commands, {keys.receipts_version: version}

    async def after_index(self, work: Turn, replies: list[Any] | Applied) -> list[bytes]:
        """Two things the index may tell once it is written: an id that was given before, a receipt that came
        first. Returns the ids for which receipts may be parked.
        """
        ids = work.rx[::2]
        if isinstance(replies, Applied):
            return list(ids)
        before = replies[0]
        if any(before):
            new = work.rx[1::2]
            await self._keep_candidates(
                {
                    key: [*candidates(old), *candidates(new[position])]
                    for position, (key, old) in enumerate(zip(ids, before, strict=True))
                    if old is not None
                }
            )
        return list(ids) if replies[2] else []

    async def _keep_candidates(self, known: dict[bytes, list[bytes]]) -> None:
        """An SMSC gave an id again, and the new message was written over the one that had it: both are
        candidates. A receipt may have come for either meanwhile; what is stored now knows its state.
        """
        while True:
            (stored,) = await self._stage.read_surely(
                [("HMGET", self._keys.receipts, *known)], (self._keys.receipts_version,)
            )
            pairs: list[bytes] = []
            for (key, values), value in zip(known.items(), stored, strict=True):
                merged = {origin_octets(each): each for each in values}
                if value is not None:
                    merged.update((origin_octets(each), each) for each in candidates(value))
                pairs += [key, joined(list(merged.values()))]
            commands: list[tuple[Any, ...]] = [("HSET", self._keys.receipts, *pairs)]
            commands.append(("INCR", self._keys.receipts_version))
            commands.append(("INCR", self._keys.receipts_shared))
            if await self._stage.commit_surely(commands, watched=True) is not None:
                return

    async def read_journal(self, run: Run) -> list[bytes]:
        """The records of its journal, as often asked for as the store needs."""
        records: list[bytes]
        (records,) = await self._stage.read_surely([("LRANGE", run.journal_key, 0, -1)])
        return records
