"""What a receipt changes: pure decisions over the receipt index.

Given the index values that a batch of receipts found, `Batch` says what to write and what to tell. Rules: an
intermediate state never overwrites a final one; a final state stands, but DELIVRD after another final is
told as a correction; a message in parts is delivered only if all its parts are, else the worst part counts.

A message that is more than one entry of the index, in parts or sent twice because its first copy was in
doubt, has a
*table* in `{c}:multi`: an octet of state for each part, whichever copy the receipt speaks of. It is what
makes the report of such a message one report.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ...codecs.receipt import FINAL_STATES, Receipt
from ..ledger.events import Told
from .fields import (
    DESTINATION_DIGITS,
    INTERMEDIATE,
    MANY,
    MOVED_ON,
    REPORT_STATES,
    SEVERITY,
    STATE_OCTETS,
    WAITING,
    Origin,
    candidates,
    is_final,
    joined,
    origin_of,
    since_s,
    with_state,
)

UNDECIDED: Final = (WAITING, INTERMEDIATE)
DELIVERED: Final = STATE_OCTETS["delivered"]
CLOSED: Final = b"!"
"""Before a table, or in its place: the message has ended for another reason than its receipts. Only a
DELIVRD of every part is still told, as a correction."""
DOUBLED: Final = b"2"
"""After a table: a receipt named a part that was sent again after doubt."""


class Batch:
    """The changes of one batch of receipts. `multi` is the table of parts as read, updated as the batch
    goes.
    """

    def __init__(
        self,
        carrier: str,
        now_ms: int,
        one_receipt: bool,
        goes_on: Callable[[Receipt], bool] = lambda receipt: False,
    ) -> None:
        """`now_ms` wall-clock milliseconds; `one_receipt`: one receipt speaks for all parts of a message;
        `goes_on`: whether a message of one part, failed so, may be tried over another carrier.
        """
        self._goes_on = goes_on
        self._carrier = carrier
        self._now_ms = now_ms
        self._now_s = now_ms // 1000
        self._one_receipt = one_receipt
        self.multi: dict[str, bytes | None] = {}
        """message_id -> its table as read; `finish_long` needs those of `long`."""
        self.changed: dict[bytes, bytes] = {}
        """Index fields to write; later receipts of the batch see them."""
        self.changed_multi: dict[str, bytes] = {}
        self.events: dict[str, list[Told]] = {}
        self.long: list[tuple[Origin, int, Receipt | None]] = []
        """Parts whose message has a table: `finish_long` once that is read."""
        self.contested: list[int] = []
        """Positions of receipts whose id is that of a message to another number, by what they say."""
        self.applied = 0
        self.repeated = 0
        self.again: list[tuple[bytes, Origin, Receipt]] = []
        """Messages that may go on elsewhere: `tell_failed` or `moved_on`. Index key, origin, receipt."""
        self.unanswered = 0
        """Parts for which no receipt came in time."""
        self.delivered = 0
        """Parts whose first final receipt says delivered ..."""
        self.failed: list[Receipt] = []
        """... and the receipts of those for which it says otherwise."""

    def apply_all(
        self,
        keys: list[bytes],
        receipts: list[Receipt | None],
        values: list[bytes | None],
        frames: list[bytes],
        read: Callable[[int], Receipt],
    ) -> list[int]:
        """Apply receipts under their own ids; parallel lists. Returns the positions that matched nothing;
        `contested` has those that `apply` is to be called for if they are to count.

        A receipt None says DELIVRD and has not been read further: its PDU is among the frames, and `read`
        gives the whole of it. The loop is the hot path for what nearly every receipt is: the first one,
        DELIVRD, of a message in one part that was sent once. `apply` decides everything else, and the same.
        """
        missed: list[int] = []
        changed = self.changed
        head = bytes((DELIVERED,)) + self._now_s.to_bytes(4, "big")
        prefix = self._carrier + "."
        carrier, now_ms = self._carrier, self._now_ms
        app = None
        events: list[Told] = []
        plain = 0
        parallel = zip(keys, receipts, values, frames, strict=True)
        for position, (key, receipt, value, frame) in enumerate(parallel):
            if receipt is None and value is not None and value[0] in UNDECIDED and key not in changed:
                origin = origin_of(value)
                # Anywhere in the PDU: what is nowhere in it is in none of its addresses either.
                if origin.parts == 1 and not origin.doubled and origin.destination.encode() in frame:
                    changed[key] = head + value[5:]
                    plain += 1
                    if origin.app != app:
                        app = origin.app
                        events = self.events.setdefault(app, [])
                    message_id = origin.message_id or f"{prefix}{origin.block_id}.{origin.index}"
                    events.append(
                        Told(
                            "report", message_id, origin.ref, "delivered", carrier, 1, 1, False, None, now_ms
                        )
                    )
                    continue
            whole = read(position)
            known = changed.get(key, value)
            if known is not None and known[0] in UNDECIDED and not same_destination(origin_of(known), whole):
                self.contested.append(position)
            elif not self.apply(key, whole, known, exact=True):
                missed.append(position)
        self.applied += plain
        self.delivered += plain
        return missed

    def apply(self, key: bytes, receipt: Receipt, value: bytes | None, *, exact: bool) -> bool:
        """Apply one receipt to the value under `key`. False: it belongs to none of the candidates there.

        A key that is not the receipt's own canonical id (`exact` False) counts only with the same
        destination. So does its own id when that message is decided already: an SMSC that gives its ids again
        may tell of the new message before it answers, and the receipt has to wait for that answer.
        """
        value = self.changed.get(key, value)
        if value is None:
            return False
        if value[0] == MANY:
            return self._apply_many(key, value, receipt)
        if (not exact or is_final(value)) and not same_destination(origin_of(value), receipt):
            return False
        changed = self._transition(key, value, receipt)
        if changed is not None:
            self.changed[key] = changed
        return True

    def _apply_many(self, key: bytes, value: bytes, receipt: Receipt) -> bool:
        """Several parts share the id: the destination tells which, the oldest without a final state first."""
        found = candidates(value)
        fitting = [
            position for position, each in enumerate(found) if same_destination(origin_of(each), receipt)
        ]
        if not fitting:
            return False
        waiting = [position for position in fitting if not is_final(found[position])]
        position = waiting[0] if waiting else fitting[-1]
        changed = self._transition(key, found[position], receipt)
        if changed is not None:
            found[position] = changed
            self.changed[key] = joined(found)
        return True

    def tell_failed(self, origin: Origin, receipt: Receipt) -> None:
        """A message of `again` stays where it is: its app is told."""
        self._tell(origin, "report", REPORT_STATES[STATE_OCTETS[receipt.state]], 0, receipt)

    def moved_on(self, key: bytes, origin: Origin) -> None:
        """A message of `again` goes on elsewhere: whatever is heard of it here changes nothing any more."""
        found = candidates(self.changed[key])
        for position, value in enumerate(found):
            if origin_of(value) == origin:
                found[position] = with_state(value, MOVED_ON, self._now_s)
        self.changed[key] = joined(found)

    def _transition(self, key: bytes, value: bytes, receipt: Receipt) -> bytes | None:
        """The value after this receipt, None for no change; tells the app what is to be told."""
        octet = value[0]
        new = STATE_OCTETS.get(receipt.state) if receipt.state in FINAL_STATES else None
        if new is None:
            if octet != WAITING:
                self.repeated += 1
                return None
            return with_state(value, INTERMEDIATE, self._now_s)
        if octet in UNDECIDED:
            origin = origin_of(value)
            self.applied += 1
            if new == DELIVERED:
                self.delivered += 1
            else:
                self.failed.append(receipt)
                if not has_table(origin) and self._goes_on(receipt):
                    self.again.append((key, origin, receipt))
                    return with_state(value, new, self._now_s)
            if has_table(origin):
                self.long.append((origin, new, receipt))
            else:
                self._tell(origin, "report", REPORT_STATES[new], 1 if new == DELIVERED else 0, receipt)
            return with_state(value, new, self._now_s)
        if new == DELIVERED and octet not in (DELIVERED, MOVED_ON):
            origin = origin_of(value)
            self.applied += 1
            if has_table(origin):
                self.long.append((origin, new, receipt))
            else:
                self._tell(origin, "correction", "delivered", 1, receipt)
            return with_state(value, new, self._now_s)
        self.repeated += 1
        return None

    def time_out(self, key: bytes, value: bytes, since_max_s: int) -> None:
        """No receipt came in time: every candidate in `value` that waits since that second or longer becomes
        `unknown`.
        """
        found = candidates(self.changed.get(key, value))
        for position, value in enumerate(found):
            if not is_final(value) and since_s(value) <= since_max_s:
                origin = origin_of(value)
                self.unanswered += 1
                if has_table(origin):
                    self.long.append((origin, STATE_OCTETS["timeout"], None))
                else:
                    self._tell(origin, "report", "unknown", 0, None, STATE_OCTETS["timeout"])
                found[position] = with_state(value, STATE_OCTETS["timeout"], self._now_s)
        self.changed[key] = joined(found)

    def message_id(self, origin: Origin) -> str:
        return origin.message_id or f"{self._carrier}.{origin.block_id}.{origin.index}"

    def finish_long(self) -> None:
        """Decide the messages that have a table; `multi` holds it as read (None: no receipt so far)."""
        for origin, octet, receipt in self.long:
            message_id = self.message_id(origin)
            stored = self.multi.get(message_id)
            closed, before = read_table(stored, origin.parts)
            was_doubled = says_doubled(stored, origin.parts)
            # Only the parts that were sent again say so of themselves; the last receipt may be another's.
            doubled = was_doubled or origin.doubled is True
            after = bytes(
                octet
                if (self._one_receipt or part == origin.part) and (each == WAITING or octet == DELIVERED)
                else each
                for part, each in enumerate(before)
            )
            if after == before and doubled == was_doubled:
                continue
            table = (CLOSED if closed else b"") + after + (DOUBLED if doubled else b"")
            self.multi[message_id] = self.changed_multi[message_id] = table
            if after == before:
                continue
            if WAITING in after:
                continue
            worst = worst_of(after)
            delivered = after.count(DELIVERED)
            if not closed and WAITING in before:
                self._tell(origin, "report", REPORT_STATES[worst], delivered, receipt, worst, doubled=doubled)
            elif worst == DELIVERED:
                self._tell(origin, "correction", "delivered", delivered, receipt, doubled=doubled)

    def _tell(
        self,
        origin: Origin,
        kind: str,
        state: str,
        delivered_parts: int,
        receipt: Receipt | None,
        worst: int | None = None,
        *,
        doubled: bool = False,
    ) -> None:
        if worst is None and receipt is not None:
            worst = STATE_OCTETS.get(receipt.state)
        error: tuple[str, int | None, str | None] | None = None
        if state != "delivered":
            if worst == STATE_OCTETS["timeout"]:
                error = ("no_receipt", None, None)
            elif receipt is None or STATE_OCTETS.get(receipt.state) != worst:
                # The part that decided was told of by another receipt, whose code was not kept.
                error = ("network", None, None)
            else:
                network = receipt.err or None
                if receipt.network_error is not None:
                    network = f"{receipt.network_error[0]}:{receipt.network_error[1]}"
                error = ("network", None, network)
        told = Told(
            kind,
            self.message_id(origin),
            origin.ref,
            state,
            self._carrier,
            origin.parts,
            delivered_parts,
            doubled or origin.doubled is True,
            error,
            self._now_ms,
        )
        events = self.events.get(origin.app)
        if events is None:
            self.events[origin.app] = [told]
        else:
            events.append(told)


def has_table(origin: Origin) -> bool:
    """Whether receipts of this message meet in a table."""
    return origin.parts > 1 or bool(origin.doubled)


def read_table(stored: bytes | None, parts: int) -> tuple[bool, bytes]:
    """A stored table: (closed, an octet of state for each part)."""
    closed = stored is not None and stored[:1] == CLOSED
    octets = (stored or b"")[1:] if closed else stored or b""
    return closed, octets[:parts] if len(octets) >= parts else bytes((WAITING,)) * parts


def says_doubled(stored: bytes | None, parts: int) -> bool:
    """Whether a stored table knows of a part that was sent again after doubt."""
    return stored is not None and stored.endswith(DOUBLED) and len(stored.removeprefix(CLOSED)) > parts


def worst_of(table: bytes) -> int:
    """The octet of the part that counts."""
    return max(table, key=lambda each: SEVERITY.get(each, 0))


def same_destination(origin: Origin, receipt: Receipt) -> bool:
    """A receipt's addresses are those of the message swapped, but some SMSCs do not swap: either may fit."""
    tail = origin.destination
    return (
        receipt.source_addr[-DESTINATION_DIGITS:] == tail
        or receipt.destination_addr[-DESTINATION_DIGITS:] == tail
    )
