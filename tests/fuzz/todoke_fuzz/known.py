"""Inputs that once broke a property, and why: they are checked by the tests for ever."""

from __future__ import annotations

from typing import NamedTuple


class Known(NamedTuple):
    """`octets` in hexadecimal, for `run.py TARGET --hex`."""

    target: str
    octets: str
    was: str


KNOWN = [
    Known(
        "receipt", "00000013000000050000010000383139300007" + "3020", "id of zeros and a space behind them"
    ),
    Known(
        "receipt", "0000001500000005000000000000000130203120", "id with a space between zeros and the rest"
    ),
]
