"""What of a block is over, what is overdue, and how to forget the one without the other. Pure.

Asked by the due stage about a block whose messages have to be looked at one by one; it reads and writes.
"""

from __future__ import annotations

from typing import Any, Final

from ..config import CarrierConfig
from ..ledger import blocks
from ..ledger.accept import finish_member
from ..ledger.keys import CarrierKeys
from ..receipts.fields import MANY, candidates, index_key, is_final, joined, look_pause_s, origin_of, since_s

RECHECK_MIN_S: Final = 1.0
HDEL_CHUNK: Final = 4_000
JOURNAL_RECORDS_MAX: Final = 64
"""A finished block's journal with more records than this is written anew as one."""


class BlockLook:
    """Which entries of a block are over, which receipts are overdue, and when to look again."""

    def __init__(
        self,
        config: CarrierConfig,
        block: blocks.Block,
        progress: blocks.Progress,
        index: dict[bytes, bytes | None],
        now_ms: int,
        alive_elsewhere: set[int],
        records: int,
    ) -> None:
        self.block = block
        self.progress = progress
        self.over: list[int] = []
        self.overdue: dict[bytes, bytes] = {}
        self.unanswered: list[tuple[str, blocks.Entry]] = []
        """message_id and entry of the parts whose receipt is overdue."""
        self.next_ms = 0
        self.shared = any(value is not None and value[0] == MANY for value in index.values())
        """Other messages have the same message_id as one of these."""
        self._records = records
        self._index = index
        now_s = now_ms // 1000
        history_s = config.history_s
        by_entry: dict[int, list[bytes]] = {}
        raw_of: dict[bytes, str] = {}
        told = [(index, raw) for (index, _part), raw in progress.sent.items()]
        for entry_index, raw in told + [(index, raw) for index, _part, raw in progress.more]:
            if raw:
                key = index_key(raw.encode("latin-1"))
                raw_of[key] = raw
                by_entry.setdefault(entry_index, []).append(key)
        self._by_entry = by_entry
        self._doubled: set[int] = set()
        """Messages whose parts may have been sent again, by what the index says."""
        oldest_wait = 0
        for position, entry in enumerate(block.entries):
            if entry is None:
                continue
            waits = False
            recent = position in alive_elsewhere
            for key in by_entry.get(position, ()):
                value = index.get(key)
                if value is None:
                    continue
                mine = [each for each in candidates(value) if _is_of(each, block.block_id, position)]
                for each in mine:
                    if origin_of(each).doubled:
                        self._doubled.add(position)
                    if not is_final(each):
                        if now_s - since_s(each) >= config.receipt_timeout_s:
                            self.overdue[key] = value
                            self.unanswered.append((raw_of[key], entry))
                            recent = True
                        else:
                            waits = True
                            oldest_wait = min(oldest_wait or since_s(each), since_s(each))
                    elif now_s - since_s(each) < history_s:
                        recent = True
            if not waits and not recent:
                self.over.append(position)
        if len(self.over) < sum(entry is not None for entry in block.entries):
            pause_s = max(RECHECK_MIN_S, history_s)
            if oldest_wait:
                left_s = oldest_wait + config.receipt_timeout_s - now_s
                pause_s = look_pause_s(now_s - oldest_wait, left_s, history_s)
            self.next_ms = now_ms + int(pause_s * 1000)

    def forget(self, keys: CarrierKeys, member: bytes, epoch: int) -> list[tuple[Any, ...]]:
        """The commands that remove what is over, whole or entry by entry."""
        block = self.block
        commands: list[tuple[Any, ...]] = []
        over = set(self.over)
        gone: list[bytes] = []
        kept: list[bytes] = []
        for key in dict.fromkeys(key for position in self.over for key in self._by_entry.get(position, ())):
            value = self._index.get(key)
            if value is None:
                continue
            others = [each for each in candidates(value) if not self._is_over(each, over)]
            if not others:
                gone.append(key)
            elif len(others) < len(candidates(value)):
                kept += [key, joined(others)]
        commands += [
            ("HDEL", keys.receipts, *gone[start : start + HDEL_CHUNK])
            for start in range(0, len(gone), HDEL_CHUNK)
        ]
        if kept:
            commands.append(("HSET", keys.receipts, *kept))
        tables: dict[bytes, list[str]] = {}
        for position in self.over:
            if is_origin(block.entries[position]):
                for multi in self._tables(keys, position):
                    name = blocks.message_id(keys.name, block.block_id, position)
                    tables.setdefault(multi, []).append(name)
        for multi, names in tables.items():
            commands.append(("HDEL", multi, *names))
        journal = keys.journal(block.block_id)
        if not self.next_ms:
            commands += [("ZREM", keys.due, member), ("UNLINK", keys.block(block.block_id), journal)]
            return commands
        commands.append(("ZADD", keys.due, self.next_ms, finish_member(block.block_id)))
        if self.over or self._records > JOURNAL_RECORDS_MAX:
            block.entries = [
                None if position in over else entry for position, entry in enumerate(block.entries)
            ]
            sent = [(*key, raw) for key, raw in self.progress.sent.items() if key[0] not in over]
            sent += [each for each in self.progress.more if each[0] not in over]
            record = blocks.Record(
                blocks.FORMAT,
                epoch,
                self.progress.grant,
                [index for index, _, _ in sent],
                [part for _, part, _ in sent],
                [raw for _, _, raw in sent],
                [(index, *end) for index, end in self.progress.ended.items() if index not in over]
                + [
                    (index, blocks.ALSO, 0, place)
                    for index, places in self.progress.also.items()
                    if index not in over
                    for place in places
                ],
            )
            commands += [
                ("SET", keys.block(block.block_id), blocks.encode(block)),
                ("DEL", journal),
                ("RPUSH", journal, blocks.encode(record)),
            ]
        return commands

    def _is_over(self, value: bytes, over: set[int]) -> bool:
        origin = origin_of(value)
        return origin.block_id == self.block.block_id and origin.index in over

    def _tables(self, keys: CarrierKeys, position: int) -> list[bytes]:
        """Where a message accepted here may have a table: at its first carrier, and at its last."""
        end = self.progress.ended.get(position)
        if end is not None and end[0] == blocks.MOVED:
            last = CarrierKeys(blocks.split_message_id(end[2])[0])
            return [keys.multi] if last.name == keys.name else [keys.multi, last.multi]
        entry = self.block.entries[position]
        abandoned = end is not None and end[0] == blocks.ABANDONED
        # An answer that came to its former holder says so in advance: a copy may be on its way.
        doubled = abandoned or position in self._doubled
        return [keys.multi] if entry is not None and (entry.parts > 1 or doubled) else []


def is_origin(entry: blocks.Entry | None) -> bool:
    """Whether a message was accepted in the block that holds this entry, not moved there."""
    return entry is not None and (entry.extra is None or not entry.extra.message_id)


def _is_of(value: bytes, block_id: str, position: int) -> bool:
    origin = origin_of(value)
    return origin.block_id == block_id and origin.index == position
