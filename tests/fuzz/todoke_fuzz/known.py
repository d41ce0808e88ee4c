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
        "captures",
        "3030303030303030202034310a2a0a666666666666666620203431",
        "a dump whose * stands for four gibibytes",
    ),
    Known("pdu", "0000001500000003000000000000002600001428" + "00", "query_sm whose repr shows an address"),
    Known(
        "pdu",
        "00000025000000210000000000000000" + "00002a000202041d0002000000050000000000de00",
        "submit_multi to a distribution list without a name, which came back as an address",
    ),
    Known(
        "receipt", "00000013000000050000010000383139300007" + "3020", "id of zeros and a space behind them"
    ),
    Known(
        "receipt", "0000001500000005000000000000000130203120", "id with a space between zeros and the rest"
    ),
    Known(
        "session",
        "00030109030c0008050301000409030c9b0c9b9b9b9b9b9b9b9b01",
        "deliver_sm answered when the connection had ended with an unbind under way",
    ),
]
