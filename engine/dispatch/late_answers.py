"""Answers that come after their time-out, to parts that are on record as in doubt, while their run is ours.

They end the doubt: a copy that was not sent yet is withdrawn, and the id correlates. (Answers to what this
process had to give up are written by late.py, outside any turn.)
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from ..config import CarrierConfig
from ..ledger import blocks
from ..ledger.blocks import Extra
from ..ledger.durable import DurableStage
from ..ledger.keys import CarrierKeys
from ..receipts.fields import DESTINATION_DIGITS, WITHDRAWN, index_key
from .copies import Copies
from .holds import doubt_field
from .inbox import Answer, Inbox
from .outcomes import NO_MESSAGE_ID
from .turn import Turn

log = logging.getLogger("todoke.record")

_encode = msgspec.msgpack.Encoder().encode


class LateAnswers:
    """Of one carrier; one call at a time, by the recorder. They wait in `Inbox.late`."""

    def __init__(
        self,
        config: CarrierConfig,
        keys: CarrierKeys,
        stage: DurableStage,
        inbox: Inbox,
        copies: Copies,
        counts: dict[str, int],
        *,
        is_sole: Callable[[], bool],
    ) -> None:
        """`is_sole`: whether this process is all of the account, so that nobody else has a copy in hand."""
        self._config = config
        self._keys = keys
        self._stage = stage
        self._inbox = inbox
        self._copies = copies
        self._counts = counts
        self._is_sole = is_sole

    async def drop_too_late(self) -> None:
        """Take out late answers to messages that are forgotten: nobody would forget what they add."""
        late, self._inbox.late = self._inbox.late, []
        places: list[list[tuple[str, str, int]]] = []
        for (run, index, _part), *_ in late:
            mid = blocks.message_id(self._config.name, run.block_id, index, run.entries[index])
            places.append([(self._config.name, run.block_id, index), blocks.split_message_id(mid)])
        wanted = list(dict.fromkeys((carrier, block_id) for pair in places for carrier, block_id, _ in pair))
        bodies = await self._stage.read_surely(
            [("GET", CarrierKeys(carrier).block(block_id)) for carrier, block_id in wanted]
        )
        held = {
            key: blocks.decode_block(body).entries
            for key, body in zip(wanted, bodies, strict=True)
            if body is not None
        }
        kept = [
            answer
            for answer, pair in zip(late, places, strict=True)
            if all(
                (carrier, block_id) in held and held[carrier, block_id][index] is not None
                for carrier, block_id, index in pair
            )
        ]
        if len(kept) < len(late):
            number = len(late) - len(kept)
            log.info("%s: %d answers came after their messages were forgotten", self._config.name, number)
        self._inbox.late = kept + self._inbox.late

    def mark(self, work: Turn) -> None:
        """Before anything is decided in this turn: which copies on their way have a first one that was
        taken.
        """
        for (run, index, part), _command_id, command_status, message_id, _sequence in self._inbox.late:
            if not command_status:
                self._copies.mark(work, run, index, part, message_id.decode("latin-1"))

    def take(self, work: Turn) -> list[Answer]:
        """Answers to parts that were in doubt: their ids correlate from now on, and a copy not sent yet is
        withdrawn. Returns those that are facts, but not to be decided about here.
        """
        late, self._inbox.late = self._inbox.late, []
        facts: list[Answer] = []
        sole = self._is_sole()
        for answer in late:
            token, _command_id, command_status, message_id, _sequence = answer
            run, index, part = token
            entry = run.entries[index]
            if entry is None:
                continue
            work.commands.append(
                ("HDEL", self._keys.doubts, doubt_field(entry.to, run.block_id, index, part))
            )
            if command_status:
                continue
            if not sole and self._copies.is_away(run, index):
                # Another process may have the copy in hand: what is remembered here decides nothing.
                facts.append(answer)
                continue
            extra = entry.extra or Extra()
            text = message_id.decode("latin-1")
            place = self._copies.withdraw(work, run, index, part, text)
            uncopied = (run.block_id, index) in work.uncopied
            on_its_way = place is None and self._config.in_doubt != "never" and not uncopied
            copied = self._copies.hops(run, index) > 1 or on_its_way or place in work.doubted
            doubled = True if copied or extra.doubled else WITHDRAWN
            if place is None:
                # The copy is on its way or there is none: both may be told of, and the block of the first
                # one waits.
                place = (run.block_id, index)
                self._copies.note_sent(work, place, part, text)
                if extra.message_id:
                    work.moved_on(
                        extra.message_id, blocks.ALSO, 0, f"{self._config.name}.{run.block_id}.{index}"
                    )
            else:
                self._counts["resolved_late"] += 1
                if entry.parts == 1 and not extra.receipt:
                    work.tell(run, index, entry, "sent", doubled=copied)
                elif entry.parts == 1 and not message_id:
                    work.tell(run, index, entry, "unknown", NO_MESSAGE_ID, doubled=copied)
            if message_id and extra.receipt:
                mid = blocks.message_id(self._config.name, run.block_id, index, entry)
                origin = (
                    *(*place, part, entry.parts, run.block.app, entry.ref),
                    *(entry.to[-DESTINATION_DIGITS:], mid, doubled),
                )
                work.rx += [
                    index_key(message_id),
                    b"0" + (work.now_ms // 1000).to_bytes(4, "big") + _encode(origin),
                ]
        return facts
