"""`todoke demo`: the whole road on this machine, from a list of recipients to the delivery reports."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from .errors import EXIT_FAILED, EXIT_OK, CliError
from .node import JsonOption
from .output import print_json, print_table, progress_bar

if TYPE_CHECKING:
    from .demo_figures import Figures
    from .demo_house import House

ANNOUNCEMENT = (
    "Four simulated carriers (docomo, au, softbank, rakuten) on 127.0.0.1: nothing leaves this machine."
)
SECONDS_MAX = 24.0
"""After this long the reports are no longer waited for: with stopping it ends within 30 seconds."""
PATIENCE_S = 3.0
"""How long a node that does not answer is asked again."""


def demo(*, json: JsonOption = False) -> int:
    """Show everything at work on this machine: embedded server, engine, and four simulated carriers.

    Sends a list of 1,009 recipients to simulated carriers, processes of their own behind real TCP on
    loopback: nothing leaves this machine, nobody receives anything. Prints a table a carrier and the
    refused rows; ends by itself within 30 seconds and leaves nothing behind.
    """
    from .demo_house import demo_house

    began = time.monotonic()
    with demo_house() as house:
        print(ANNOUNCEMENT, file=sys.stderr if json else sys.stdout, flush=True)
        house.start()
        figures = _run(house, began + SECONDS_MAX, shown=not json)
    if json:
        print_json(figures)
    else:
        _for_people(figures)
    return EXIT_OK if figures.complete else EXIT_FAILED


def _run(house: House, give_up_at: float, *, shown: bool) -> Figures:
    from ..campaign.recipients import read_recipients
    from ..client import ClientError, SyncClient
    from .demo_figures import figures_of
    from .demo_house import DATA
    from .sending import Sent, submit_rows, wait_for_reports

    sent = Sent(read_recipients((DATA / "recipients.csv").read_bytes()))
    started = time.monotonic()
    try:
        with (
            SyncClient(house.socket, answer_timeout_s=PATIENCE_S) as client,
            client.subscribe(reconnect=False) as subscription,
        ):
            with progress_bar("sending", len(sent.recipients.rows), shown=shown) as advance:
                submit_rows(client, sent, advance, patience_s=PATIENCE_S)
            with progress_bar("reports", len(sent.taken), shown=shown) as advance:
                wait_for_reports(subscription, sent, advance, give_up_at - time.monotonic())
    except (ClientError, CliError, TimeoutError) as error:
        raise CliError(f"{error}; the node's last words: {house.last_words()}") from None
    seconds = time.monotonic() - started
    # The carriers write their logs out when they stop.
    house.stop()
    return figures_of(house.carriers, sent, _taken_by_smscs(house), seconds)


def _taken_by_smscs(house: House) -> dict[str, float]:
    """Destination digits -> when the last part was taken."""
    from ...bench.smsc_log import AcceptedPart, read_log

    taken: dict[str, float] = {}
    for carrier in house.carriers:
        for record in read_log(house.log_of(carrier)):
            if isinstance(record, AcceptedPart):
                taken[record.destination] = max(record.time, taken.get(record.destination, 0.0))
    return taken


def _for_people(figures: Figures) -> None:
    rows = [
        [
            one.carrier,
            one.accepted,
            one.parts,
            one.delivered,
            ", ".join(f"{count} {reason}" for reason, count in one.failed.items()) or "-",
            *(_milliseconds(value) for value in (one.response_s.p50, one.response_s.p99)),
            *(_milliseconds(value) for value in (one.receipt_s.p50, one.receipt_s.p99)),
        ]
        for one in figures.carriers
    ]
    header = [
        "carrier",
        "accepted",
        "parts",
        "delivered",
        "failed, by reason",
        "response p50 ms",
        "p99",
        "receipt p50 ms",
        "p99",
    ]
    print_table("Carriers", header, rows)
    refused = [[one.row, one.column, one.code, one.detail] for one in figures.refused]
    print_table(f"Refused rows ({len(refused)})", ["row", "column", "code", "reason"], refused)
    accepted = sum(one.accepted for one in figures.carriers)
    unreported = sum(one.unreported for one in figures.carriers)
    print(
        f"{figures.recipients:,} recipients: {accepted:,} accepted, {len(refused)} refused, "
        f"{unreported} without a report; {figures.seconds:.1f} s from the first submit to the last report."
    )
    print("response, receipt: from the answer to the submit until the carrier had it, and until its report.")
    if unreported:
        print(f"todoke: {unreported} messages have no report yet", file=sys.stderr)


def _milliseconds(seconds: float | None) -> int | str:
    return "-" if seconds is None else round(seconds * 1000)
