"""The figures of a demonstration, from what the client was told and what the simulated SMSCs logged. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from ..campaign.recipients import RefusedRow
from ..messages import Correction, Report
from .events import error_text
from .sending import Sent, Taken


class Times(msgspec.Struct):
    """Seconds; None when nothing was measured."""

    p50: float | None
    p99: float | None


class CarrierFigures(msgspec.Struct):
    """One carrier's line of the table."""

    carrier: str
    accepted: int
    parts: int
    delivered: int
    failed: dict[str, int]
    """Reason -> messages."""
    unreported: int
    response_s: Times
    """From the answer to the submit until the SMSC had taken the last part."""
    receipt_s: Times
    """From the answer to the submit until the report was in the client's hands."""


class Figures(msgspec.Struct):
    """A whole demonstration."""

    recipients: int
    seconds: float
    """From the first submit to the last report."""
    carriers: list[CarrierFigures]
    refused: list[RefusedRow]
    complete: bool
    """Every accepted message has its final report."""


def figures_of(
    carriers: Sequence[str], sent: Sent, taken_by_smsc: Mapping[str, float], seconds: float
) -> Figures:
    """`taken_by_smsc`: destination digits -> monotonic time at which an SMSC had taken the last part."""
    by_carrier: dict[str, list[Taken]] = {name: [] for name in carriers}
    for message_id, taken in sent.taken.items():
        report = sent.reports.get(message_id)
        name = report.carrier if report is not None else taken.row.message.carrier or carriers[0]
        by_carrier.setdefault(name, []).append(taken)
    recipients = sent.recipients
    return Figures(
        recipients=len(recipients.rows) + len(recipients.refused),
        seconds=round(seconds, 3),
        carriers=[_carrier(name, taken, sent, taken_by_smsc) for name, taken in by_carrier.items()],
        refused=sent.all_refused,
        complete=sent.unreported == 0,
    )


def _carrier(
    name: str, taken: Sequence[Taken], sent: Sent, taken_by_smsc: Mapping[str, float]
) -> CarrierFigures:
    reports = [
        sent.reports[one.accepted.message_id] for one in taken if one.accepted.message_id in sent.reports
    ]
    failed = Counter(reason_of(report) for report in reports if report.state != "delivered")
    response: list[float] = []
    receipt: list[float] = []
    for one in taken:
        at = taken_by_smsc.get(one.row.message.to.removeprefix("+"))
        if at is not None:
            # An answer may be read after the first part is already on its way.
            response.append(max(0.0, at - one.at))
        if one.accepted.message_id in sent.reported_at:
            receipt.append(max(0.0, sent.reported_at[one.accepted.message_id] - one.at))
    return CarrierFigures(
        carrier=name,
        accepted=len(taken),
        parts=sum(one.accepted.parts for one in taken),
        delivered=sum(report.state == "delivered" for report in reports),
        failed=dict(failed.most_common()),
        unreported=len(taken) - len(reports),
        response_s=_times(response),
        receipt_s=_times(receipt),
    )


def reason_of(report: Report | Correction) -> str:
    """Why a message was not delivered, in one line: `undeliverable (error 732)`."""
    if report.error is None:
        return report.state
    text = error_text(report.error.class_, report.error.command_status, report.error.network_error)
    return f"{report.state} ({text})"


def _times(seconds: Iterable[float]) -> Times:
    ordered = sorted(seconds)
    if not ordered:
        return Times(None, None)
    return Times(*(round(ordered[int(share * (len(ordered) - 1))], 4) for share in (0.5, 0.99)))
