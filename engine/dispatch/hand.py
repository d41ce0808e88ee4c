"""What an operator has laid on an account: a pause, a lower rate, a smaller window. Pure.

Stored field by field in `{c}:hand`, so that two operators who change two things at once both have their way,
and kept until it is changed back: over restarts, and for every process that serves the account. The contract
of the configuration stays the limit; what was stored above one that was lowered since counts as the contract.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

RATE_MIN: Final = 0.01
"""Parts a second: one in a hundred seconds. Less is a pause."""


class OutOfRange(ValueError):
    """A value that the contract does not allow; the text says what it does allow."""


class Hand(msgspec.Struct, frozen=True, kw_only=True):
    """`rate` (parts a second) and `window` (requests of one bind) None: as configured. `by` and `at_ms`: who
    changed something last, and when.
    """

    paused: bool = False
    rate: float | None = None
    window: int | None = None
    by: str = ""
    at_ms: int = 0

    def rate_of(self, contract: float) -> float:
        """Parts a second of the whole account; 0 = unlimited."""
        if self.rate is None:
            return contract
        return min(self.rate, contract) if contract else self.rate

    def window_of(self, contract: int) -> int:
        """Requests that one bind may have unanswered."""
        return contract if self.window is None else min(self.window, contract)


def read_hand(pairs: Sequence[bytes]) -> Hand:
    """From what HGETALL gave. What cannot be read counts as not laid on, but for a pause: that stays."""
    found = {bytes(name): bytes(value) for name, value in zip(pairs[::2], pairs[1::2], strict=True)}
    rate = _number(found.get(b"rate"))
    window = _number(found.get(b"window"))
    at_ms = _number(found.get(b"at_ms"))
    return Hand(
        paused=b"paused" in found,
        rate=rate if rate is not None and rate >= RATE_MIN else None,
        window=int(window) if window is not None and window >= 1 else None,
        by=found.get(b"by", b"").decode("utf-8", "replace"),
        at_ms=int(at_ms or 0),
    )


def change(
    act: str, value: float | None, *, rate: float, window: int, key: bytes, by: str, at_ms: int
) -> list[tuple[Any, ...]]:
    """The commands that write a change: `pause`, `resume`, `rate` or `window`; `value` None is the contract.

    `rate` and `window` are the contract's. Raises OutOfRange.
    """
    field = "paused" if act in ("pause", "resume") else act
    stored: str | None = None
    if act == "pause":
        stored = "1"
    elif act == "rate" and value is not None:
        if not RATE_MIN <= value < float("inf") or (rate and value > rate):
            raise OutOfRange(f"{RATE_MIN:g} to " + (f"{rate:g} (the contract)" if rate else "any rate"))
        stored = repr(value)
    elif act == "window" and value is not None:
        if not 1 <= value <= window or value != int(value):
            raise OutOfRange(f"a whole number from 1 to {window} (the contract)")
        stored = str(int(value))
    first = ("HDEL", key, field) if stored is None else ("HSET", key, field, stored)
    return [first, ("HSET", key, "by", by, "at_ms", at_ms)]


def _number(value: bytes | None) -> float | None:
    try:
        number = float(value or b"")
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None
