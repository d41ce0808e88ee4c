"""Why a receipt says that a message was not delivered: for a while, for good, or nobody can tell. Pure.

The codes in `err:` and in network_error_code are the carrier's own; most follow GSM's mobile application part
(3GPP TS 29.002), so there is a common table, and each carrier's configuration may say otherwise. Only a
temporary cause may lead to another attempt: the SMSC has tried for the whole validity already.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, cast, get_args

Failure = Literal["temporary", "permanent", "unknown"]
FAILURES: Final[tuple[Failure, ...]] = get_args(Failure)

RESENT_STATES: Final = frozenset({"expired", "undeliverable"})
"""Final states after which the cause is asked for at all."""
REFUSED_STATES: Final = frozenset({"rejected", "deleted", "skipped"})
"""Somebody decided that the message is not to be delivered: no code makes that temporary."""

NETWORK_TYPES_OF_GSM: Final = frozenset({0, 3})
"""Types of network_error_code whose codes share the table of `err:` (0 = the SMSC wrote bare digits)."""

NO_CODE: Final = frozenset({"", "0", "nul", "null", "none"})
"""What SMSCs write when there is no error code; no table may have them."""

_Code = tuple[Failure, bool]
"""What it is, and whether the cause lies with the destination (a handset, a subscriber) alone."""


def _table() -> dict[str, _Code]:
    table: dict[str, _Code] = {}
    for code, numbers in {
        ("permanent", True): (1, 2, 9, 11, 12, 13, 15, 21, 22),
        ("temporary", True): (31, 32, 40, 49, 50, 52, *range(60, 66)),
        ("temporary", False): (34, 35, 36),
        ("unknown", True): (5, *range(41, 49), 51, 54, 55),
    }.items():
        table.update(dict.fromkeys(map(str, numbers), cast(_Code, code)))
    return table


COMMON: Final[Mapping[str, _Code]] = _table()
"""1, 2 unknown in the HLR · 9 illegal subscriber · 11 no teleservice · 12 illegal handset · 13 barred · 15
closed user group · 21, 22 no SMS · 31, 32 busy · 34 system failure · 35, 36 data · 40, 49, 50, 52 memory full
· 60 to 65 absent · 5, 41 to 48, 51, 54, 55 the handset's, of no certain duration.
"""


class ReceiptTable:
    """One carrier's codes: the common ones, and what its configuration says otherwise. Does not change."""

    __slots__ = ("_table",)

    def __init__(self, overrides: Mapping[str, Failure] | None = None) -> None:
        """`overrides`: a code as receipts write it, or `type:code` of a network_error_code -> failure."""
        table = dict(COMMON)
        for key, failure in (overrides or {}).items():
            code = normal_code(key)
            # Their paper says for how long, not whose fault: what the common table says of that stands.
            table[code] = (failure, table.get(code, ("unknown", False))[1])
        self._table = table

    def find(self, err: str, network_error: tuple[int, int] | None) -> _Code | None:
        """What is known of these codes; the most particular entry wins, None = nothing is."""
        found: _Code | None = None
        if network_error is not None:
            found = self._table.get(f"{network_error[0]}:{network_error[1]}")
        if found is None:
            found = self._table.get(normal_code(err))
        if found is None and network_error is not None and network_error[0] in NETWORK_TYPES_OF_GSM:
            found = self._table.get(str(network_error[1]))
        return found


DEFAULT_TABLE: Final = ReceiptTable()


def normal_code(code: str) -> str:
    """A code without what receipts vary: blanks, letter case, leading zeros (of both numbers of `3:034`)."""
    parts = [part.strip().casefold() for part in code.split(":")]
    return ":".join(part.lstrip("0") or "0" if part else "" for part in parts)


def parse_receipt_table(words: Mapping[str, str]) -> ReceiptTable:
    """A carrier's table from its configuration, `{"034": "temporary", "8:1025": "permanent"}`.

    Raises ValueError with one line that names the key and what is allowed.
    """
    overrides: dict[str, Failure] = {}
    for key, word in words.items():
        if word not in FAILURES:
            raise ValueError(f"{key!r}: {word!r} is no kind of failure; allowed: {', '.join(FAILURES)}")
        code = normal_code(key)
        parts = code.split(":")
        if code in NO_CODE or len(parts) > 2 or (len(parts) == 2 and not all(map(str.isdecimal, parts))):
            raise ValueError(
                f"{key!r} is no error code of a receipt; allowed: what follows err: (other than 0), "
                "or TYPE:CODE of a network_error_code"
            )
        if overrides.setdefault(code, word) != word:
            raise ValueError(f"{key!r} is given twice; allowed is one word for a code")
    return ReceiptTable(overrides)


def receipt_failure(
    state: str, err: str, network_error: tuple[int, int] | None, table: ReceiptTable = DEFAULT_TABLE
) -> Failure:
    """Whether another attempt may succeed. `state`, `err` and `network_error` as in codecs' `Receipt`.

    A state that is no failure is "unknown"; so is a code that no table has.
    """
    if state in REFUSED_STATES:
        return "permanent"
    if state not in RESENT_STATES:
        return "unknown"
    found = table.find(err, network_error)
    return "unknown" if found is None else found[0]


def is_destinations(
    err: str, network_error: tuple[int, int] | None, table: ReceiptTable = DEFAULT_TABLE
) -> bool:
    """Whether the cause certainly lies with the handset or its subscriber, not with the carrier."""
    found = table.find(err, network_error)
    return found is not None and found[1]
