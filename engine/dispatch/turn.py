"""What one turn of the record stage gathers: facts by block, index entries, events, blocks for what goes on.

Nothing is written here; the recorder makes one commit of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from ..ledger import blocks
from ..ledger.blocks import Entry, Extra
from ..ledger.events import Told
from ..ledger.keys import CarrierKeys
from ..receipts.fields import joined
from .holds import doubt_field
from .runs import Run

LATER_GRAIN_MS: Final = 250
"""What is sent again within the same quarter of a second shares a block."""

Elsewhere = Callable[[Entry, str, list[str]], tuple[str, Entry] | None]
"""(entry, its app, carriers tried) -> another carrier and the entry as that one takes it, or None."""


class Turn:
    """One turn of one carrier's recorder."""

    def __init__(self, keys: CarrierKeys, now_ms: int) -> None:
        self.keys = keys
        self._carrier = keys.name
        self.now_ms = now_ms
        self.dirty: list[Run] = []
        self.rx: list[bytes] = []
        """Receipt index fields and values, alternating."""
        self.commands: list[tuple[Any, ...]] = []
        self.events: dict[str, list[Told]] = {}
        self.endings: list[tuple[str, int, Told]] = []
        """(app, parts, report) of messages of which a receipt may have told an end already."""
        self.ended: dict[str, list[Told]] = {}
        """Those of them that are told by this turn."""
        self.later: dict[tuple[str, str, str, str, int], list[tuple[Run, int, Entry, int]]] = {}
        self.due_times: list[int] = []
        self.doubts: list[bytes] = []
        """Fields and values of `{c}:doubts`, alternating."""
        self.doubted: set[tuple[str, int]] = set()
        """(block, index) of whose answers are lost by this turn."""
        self.taken: set[tuple[str, int]] = set()
        """(block, index) of copies on their way of which a late answer of this turn says that their first one
        was taken ..."""
        self.superseded: dict[tuple[str, int], tuple[Run, int, Entry]] = {}
        """... and those of them that were refused, lost or not written, as this turn says too."""
        self.uncopied: set[tuple[str, int]] = set()
        """(block, index) of messages not decided about before this turn of which a late answer names a part:
        there is no copy."""
        self.resolved_parts = 0
        self._moved_on: dict[tuple[str, str], list[tuple[int, int, int, str]]] = {}

    def touch(self, run: Run) -> None:
        """This run gets a journal record in this turn."""
        if not run.dirty:
            run.dirty = True
            self.dirty.append(run)

    def moved_on(self, message_id: str, kind: int, command_status: int, place: str) -> None:
        """A message goes on that was accepted in another block: that one's journal names its last place
        (MOVED), and those where parts of it were sent (ALSO), because it has to outlive them.
        """
        carrier, block_id, index = blocks.split_message_id(message_id)
        facts = self._moved_on.setdefault((carrier, block_id), [])
        facts.append((index, kind, command_status, place))

    def places(self, epoch: int) -> list[tuple[Any, ...]]:
        """The commands that write down what `moved_on` was told."""
        return [
            (
                "RPUSHX",
                CarrierKeys(carrier).journal(block_id),
                blocks.encode(blocks.Record(blocks.FORMAT, epoch, -1, ended=facts)),
            )
            for (carrier, block_id), facts in self._moved_on.items()
        ]

    def end(self, run: Run, index: int, kind: int, command_status: int, where: str = "") -> None:
        run.ended.append((index, kind, command_status, where))
        run.open -= 1
        self.touch(run)

    def doubt(self, run: Run, index: int, entry: Entry, parts: list[int]) -> None:
        """The answers to these parts are lost: a receipt may tell of them."""
        if parts:
            self.doubted.add((run.block_id, index))
        if entry.extra is None or entry.extra.receipt:
            for part in parts:
                self.doubts += [doubt_field(entry.to, run.block_id, index, part), b"%d" % self.now_ms]

    def fail(self, run: Run, index: int, entry: Entry, status_class: str, command_status: int) -> None:
        self.end(run, index, blocks.FAILED, command_status)
        if has_table(entry):
            self.close_table(run, index, entry)
        self.tell(run, index, entry, "rejected", (str(status_class), command_status, None))

    def close_table(self, run: Run, index: int, entry: Entry) -> None:
        """Receipts of the parts that were taken decide nothing any more: the message has ended otherwise."""
        if _may_be_told(entry):
            return  # together with its report
        mid = blocks.message_id(self._carrier, run.block_id, index, entry)
        self.commands.append(("HSET", self.keys.multi, mid, b"!"))
        # Whoever is applying a receipt of a part reads the table again.
        self.commands.append(("INCR", self.keys.receipts_version))

    def tell(
        self,
        run: Run,
        index: int,
        entry: Entry,
        state: str,
        error: tuple[str, int | None, str | None] | None = None,
        *,
        doubled: bool = False,
    ) -> None:
        """`doubled`: more copies were sent than the entry knows of."""
        told = Told(
            "report",
            blocks.message_id(self._carrier, run.block_id, index, entry),
            entry.ref,
            state,
            self._carrier,
            entry.parts,
            0,
            doubled or (entry.extra is not None and entry.extra.doubled),
            error,
            self.now_ms,
        )
        if _may_be_told(entry):
            self.endings.append((run.block.app, entry.parts, told))
        else:
            self.events.setdefault(run.block.app, []).append(told)

    def go_on_later(
        self, run: Run, index: int, entry: Entry, extra: Extra, at_ms: int, command_status: int
    ) -> None:
        """The message goes on as an entry of a new block, due at `at_ms`; its id stays. What expires before
        that is due, and told, when it expires.
        """
        if entry.expires_ms:
            at_ms = min(at_ms, max(self.now_ms, entry.expires_ms))
        due = -(-at_ms // LATER_GRAIN_MS) * LATER_GRAIN_MS
        key = (self._carrier, run.block.lane, run.block.app, run.block.campaign, due)
        moved = Entry(
            entry.to,
            entry.sender,
            entry.text,
            entry.ref,
            entry.parts,
            entry.expires_ms,
            entry.reference,
            extra,
        )
        self.later.setdefault(key, []).append((run, index, moved, command_status))

    def go_elsewhere(
        self,
        run: Run,
        index: int,
        entry: Entry,
        command_status: int,
        other: tuple[str, Entry],
        tried: list[str],
    ) -> None:
        name, moved = other
        before = entry.extra or Extra()
        moved.extra = msgspec.structs.replace(
            before,
            message_id=blocks.message_id(self._carrier, run.block_id, index, entry),
            attempts=0,
            pending=None,
            carriers=tried,
            last_status=command_status,
            accepted_ms=before.accepted_ms or run.block.accepted_ms,
        )
        key = (name, run.block.lane, run.block.app, run.block.campaign, 0)
        self.later.setdefault(key, []).append((run, index, moved, command_status))


def _may_be_told(entry: Entry) -> bool:
    """Whether a receipt of an earlier copy may end this message at any moment."""
    return entry.extra is not None and entry.extra.doubled and entry.extra.receipt


def has_table(entry: Entry) -> bool:
    """Whether receipts of this message meet in a table (see receipts.correlation)."""
    return entry.parts > 1 or (entry.extra is not None and entry.extra.doubled)


def merged(rx: list[bytes]) -> list[bytes]:
    """Fields and values of the receipt index where an SMSC gave one id more than once in a turn."""
    found: dict[bytes, list[bytes]] = {}
    for key, value in zip(rx[::2], rx[1::2], strict=True):
        found.setdefault(key, []).append(value)
    return [each for key, values in found.items() for each in (key, joined(values))]
