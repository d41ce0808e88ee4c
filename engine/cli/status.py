"""`todoke status`: how a running node is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ..stranded import Stranded
from .carrier import laid
from .errors import EXIT_OK
from .node import ConfigOption, JsonOption, SocketOption, node_client
from .output import print_json, print_table


def status(*, socket: SocketOption = None, config: ConfigOption = None, json: JsonOption = False) -> int:
    """Binds, windows, rate used, queues, doubts, orphaned receipts and the last error of a running node."""
    with node_client(socket, config) as client:
        answer = client.status()
    if json:
        print_json(answer)
    else:
        _for_people(answer)
    return EXIT_OK


def _for_people(answer: Mapping[str, Any]) -> None:
    print(
        f"up {answer['uptime_s']:,.0f} s, accepted {answer['accepted']:,}, refused {answer['refused']:,}, "
        f"queued {answer['queued']:,}, store {answer['store']}" + (", stopping" if answer["stopping"] else "")
    )
    for app in answer["apps"]:
        print(f"app {app['name']}: {app['unacknowledged']:,} events not acknowledged")
    carriers: list[Mapping[str, Any]] = answer["carriers"]
    header = [
        "carrier", "bound", "in flight", "parts/s", "urgent", "normal", "bulk", "oldest s", "in doubt",
        "orphans", "receipt lag s",
    ]  # fmt: skip
    rows = [
        [
            one["name"],
            f"{one['bound']}/{len(one['binds'])}",
            f"{one['outstanding']}/{one['window'] * len(one['binds'])}",
            f"{one['rate_used']:g}" + (f"/{one['rate']:g}" if one["rate"] else ""),
            *(one["queued"][lane] for lane in ("urgent", "normal", "bulk")),
            "-" if one["oldest_queued_s"] is None else one["oldest_queued_s"],
            one["in_doubt"],
            one["orphans"],
            one["receipt_lag_s"],
        ]
        for one in carriers
    ]
    print_table("Carriers", header, rows)
    for one in carriers:
        if line := laid(one):
            print(line)
        if one["last_error"]:
            print(f"last error of {one['name']}: {one['last_error']}")
        if unanswered := one["counts"]["unanswered"]:
            share = 100 * one["no_receipt_share"]
            print(f"{one['name']}: {unanswered:,} parts ({share:.2f} %) were taken and never told of")
    for line in msgspec.convert(answer["stranded"], Stranded).lines():
        print(line)
