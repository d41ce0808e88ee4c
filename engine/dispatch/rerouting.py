"""A message whose receipt tells of a failure that another carrier may not share goes on over that one.

Asked by the receipt stage while it applies receipts; the commands made here are a part of its commit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from ...codecs.receipt import Receipt
from ..clock import Clock
from ..config import CarrierConfig
from ..ledger import blocks
from ..ledger.accept import make_block
from ..ledger.keys import CarrierKeys
from .receipt_failure import ReceiptTable, receipt_failure
from .turn import Elsewhere


class Rerouting:
    """Of one carrier. Holds no state."""

    def __init__(
        self,
        config: CarrierConfig,
        keys: CarrierKeys,
        clock: Clock,
        receipt_table: ReceiptTable,
        elsewhere: Elsewhere,
        epoch: int,
        mint: Callable[[], str],
        other_keys: Callable[[str], CarrierKeys],
    ) -> None:
        self._config = config
        self._keys = keys
        self._clock = clock
        self._epoch = epoch
        self._mint = mint
        self._elsewhere = elsewhere
        self._other_keys = other_keys
        self._receipt_table = receipt_table

    def goes_on(self, receipt: Receipt) -> bool:
        """Whether a message that failed so may be tried over another carrier."""
        kind = receipt_failure(receipt.state, receipt.err, receipt.network_error, self._receipt_table)
        return kind == "temporary"

    def move_on(self, block: blocks.Block, index: int, entry: blocks.Entry) -> list[tuple[Any, ...]] | None:
        """The commands by which a message that was not delivered goes to the next carrier of its route.

        None: there is none, or no time left.
        """
        now_ms = int(self._clock.wall() * 1000)
        extra = entry.extra or blocks.Extra()
        accepted_ms = extra.accepted_ms or block.accepted_ms
        if now_ms - accepted_ms > self._config.retry_horizon_s * 1000:
            return None
        if entry.expires_ms and entry.expires_ms <= now_ms:
            return None
        tried = [*(extra.carriers or []), self._config.name]
        other = self._elsewhere(entry, block.app, tried)
        if other is None:
            return None
        name, moved = other
        mid = blocks.message_id(self._config.name, block.block_id, index, entry)
        moved.extra = msgspec.structs.replace(
            extra,
            message_id=mid,
            attempts=0,
            pending=None,
            carriers=tried,
            first_ms=0,
            accepted_ms=accepted_ms,
        )
        new = blocks.Block(
            blocks.FORMAT, self._mint(), block.lane, block.app, block.campaign, now_ms, [moved]
        )
        place = f"{name}.{new.block_id}.0"
        fact = [(index, blocks.MOVED, 0, place)]
        record = blocks.encode(blocks.Record(blocks.FORMAT, self._epoch, -1, ended=fact))
        commands = make_block(self._other_keys(name), new, 0, self._epoch)
        commands.append(("RPUSHX", self._keys.journal(block.block_id), record))
        if extra.message_id:
            carrier, first_block, first_index = blocks.split_message_id(extra.message_id)
            known = [(first_index, blocks.MOVED, 0, place)]
            record = blocks.encode(blocks.Record(blocks.FORMAT, self._epoch, -1, ended=known))
            commands.append(("RPUSHX", CarrierKeys(carrier).journal(first_block), record))
        return commands
