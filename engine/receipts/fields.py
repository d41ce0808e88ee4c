"""One field of the receipt index `{c}:rx`: canonical message_id -> what a receipt needs to become a report.

A value is: one octet of state, four octets of time (seconds, big-endian: when that state was written), then a
MessagePack array. A change of state therefore costs one slice and no decoding. An id that an SMSC gave twice
holds a list of such values behind the octet `L`. Pure.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ...codecs.receipt import Receipt

WHITE: Final = b" \t\r\n\0"
ZERO: Final = b"0" + WHITE
WAITING: Final = 0x30  # "0": no receipt yet
INTERMEDIATE: Final = 0x49  # "I"
MANY: Final = 0x4C  # "L": several candidates under one id

STATE_OCTETS: Final = {
    "delivered": 0x44,  # D
    "expired": 0x45,  # E
    "deleted": 0x58,  # X
    "undeliverable": 0x55,  # U
    "rejected": 0x52,  # R
    "skipped": 0x53,  # S
    "timeout": 0x54,  # T: no receipt within receipt_timeout_s
}
MOVED_ON: Final = 0x4D
"""M: it was not delivered, and the message goes on over another carrier: what comes for it here is over."""
REPORT_STATES: Final = {
    0x44: "delivered",
    0x45: "expired",
    0x58: "undeliverable",
    0x55: "undeliverable",
    0x52: "rejected",
    0x53: "undeliverable",
    0x54: "unknown",
}
"""What the app is told for each final octet."""

SEVERITY: Final = {0x44: 0, 0x54: 1, 0x45: 2, 0x53: 3, 0x58: 4, 0x55: 5, 0x52: 6}
"""Of a message in parts the worst part counts."""


class Origin(msgspec.Struct, array_like=True, gc=False):
    """Where a part came from, and whom to tell. The record stage writes the same array as a plain tuple."""

    block_id: str
    index: int
    part: int
    parts: int
    app: str
    ref: str | None
    destination: str
    """The last digits of the destination: enough to tell candidates apart, the same in national and other
    forms.
    """
    message_id: str = ""
    """Only when it is not `carrier.block.index`."""
    doubled: bool | int = False
    """An earlier copy may have been taken (True); it was, and no further one was sent (WITHDRAWN)."""


WITHDRAWN: Final = 2
BEFORE_DOUBT_S: Final = 5.0
"""From the last moment at which an answer may come to the note of its loss: clocks differ, stages wait."""
DESTINATION_DIGITS: Final = 6


class Parked(msgspec.Struct, array_like=True):
    """One receipt under `{c}:orphans`: it came (at that second) before its message_id was known."""

    came_s: int
    receipt: Receipt
    quoted: str = ""
    """The words of the message that it quotes."""


decode_parked = msgspec.msgpack.Decoder(list[Parked]).decode

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Origin).decode
_decode_many = msgspec.msgpack.Decoder(list[bytes]).decode


def index_key(message_id: bytes) -> bytes:
    """The canonical form of an SMSC's id: case-folded, leading zeros and white space stripped: SMSCs write
    the same id in their answer and in their receipt with or without either.
    """
    return message_id.rstrip(WHITE).lstrip(ZERO).lower() or b"0"


def index_keys(ids: list[str]) -> list[bytes]:
    """`index_key` of many ids as a journal holds them (latin-1 characters)."""
    return [raw.encode("latin-1").rstrip(WHITE).lstrip(ZERO).lower() or b"0" for raw in ids]


def next_look(
    values: list[bytes | None], block_id: str, now_s: int, history_s: float, timeout_s: float
) -> int | None:
    """When a block of messages that were sent once, in one part each, is next to be looked after.

    0: everything is over, final for `history_s` seconds. None: its messages have to be looked at one by one
    (half of it is over, a receipt is overdue, or a value is not a single one of this block). Else the second.
    """
    head = bytes((0x90 + len(Origin.__struct_fields__),)) + _encode(block_id)
    limit = max(0, now_s - int(history_s)).to_bytes(4, "big")
    finals = REPORT_STATES
    over = 0
    newest = b""
    oldest_wait = b"\xff\xff\xff\xff"
    for value in values:
        if value is None or not value.startswith(head, 5):
            return None
        since = value[1:5]
        if value[0] in finals:
            if since <= limit:
                over += 1
            elif since > newest:
                newest = since
        elif value[0] == MANY:
            return None
        elif since < oldest_wait:
            oldest_wait = since
    if over == len(values):
        return 0
    if 2 * over >= len(values):
        return None
    waits_since = int.from_bytes(oldest_wait, "big")
    if waits_since == 0xFFFFFFFF:
        return int.from_bytes(newest, "big") + int(history_s) + 1
    left_s = waits_since + timeout_s - now_s
    return None if left_s <= 0 else now_s + int(look_pause_s(now_s - waits_since, left_s, history_s))


def look_pause_s(missing_s: float, left_s: float, history_s: float) -> float:
    """How long to wait for missing receipts before the next look: longer, the longer they have been missing.

    `missing_s` since the oldest was sent, `left_s` until it counts as never coming.
    """
    return max(1.0, history_s, min(missing_s / 2, left_s))


def new_value(origin: Origin, now_s: int) -> bytes:
    """The complete path; the record stage encodes the same array from a tuple."""
    return b"0" + now_s.to_bytes(4, "big") + _encode(origin)


def with_state(value: bytes, octet: int, now_s: int) -> bytes:
    """The same value in another state, written at that second."""
    return octet.to_bytes(1, "big") + now_s.to_bytes(4, "big") + value[5:]


def origin_of(value: bytes) -> Origin:
    """Where the part of a single value came from."""
    return _decode(value[5:])


def origin_octets(value: bytes) -> bytes:
    """The origin as stored: two values of one part are equal in it, whatever their states."""
    return value[5:]


def is_final(value: bytes) -> bool:
    """Whether a single value is in a final state."""
    return value[0] != WAITING and value[0] != INTERMEDIATE


def since_s(value: bytes) -> int:
    """The second at which a single value's state was written."""
    return int.from_bytes(value[1:5], "big")


def candidates(value: bytes) -> list[bytes]:
    """The values under one id: one, or the several an SMSC that repeats its ids has made."""
    return _decode_many(value[1:]) if value[0] == MANY else [value]


def beside(old: bytes | None, new: bytes) -> bytes:
    """What to store for a new message under an id that is known for `old`, if it is."""
    if old is None:
        return new
    kept = [each for each in candidates(old) if origin_octets(each) != origin_octets(new)]
    return joined([*kept, new])


def numbers_of(receipt: Receipt) -> set[str]:
    """The ends of the numbers on a receipt."""
    return {
        address[-DESTINATION_DIGITS:]
        for address in (receipt.source_addr, receipt.destination_addr)
        if address
    }


def joined(values: list[bytes]) -> bytes:
    """One stored value for these candidates, newest last."""
    return values[0] if len(values) == 1 else b"L" + _encode(values)
