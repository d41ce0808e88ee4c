"""Submitting rows and waiting for their reports, for `send` and `demo`.

A node that is away, full or stopping is asked again for a while: every row has a reference, so what was
taken the first time is answered as a duplicate and not sent twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import BinaryIO, Final

import msgspec

from ..campaign.recipients import Recipients, RefusedRow, Row
from ..client import NodeAway, SyncClient, SyncSubscription
from ..messages import Accepted, Correction, Event, Refusal, Report, SubmitAnswer
from .errors import CliError

SLICE_MESSAGES: Final = 100
"""Messages between two movements of the progress bar."""
PATIENCE_S: Final = 60.0
"""How long a node that is away or full is asked again without any progress."""
PAUSE_S: Final = 1.0
"""Between two attempts, unless the node says when to come back."""

Advance = Callable[[int], None]


class Taken(msgspec.Struct):
    """A row that the node holds; `at` is the monotonic time of the answer."""

    row: Row
    accepted: Accepted
    at: float


class Sent(msgspec.Struct):
    """What became of a list so far."""

    recipients: Recipients
    taken: dict[str, Taken] = {}
    """By message_id."""
    refused: list[RefusedRow] = []
    """By the node, in terms of the list."""
    reports: dict[str, Report | Correction] = {}
    reported_at: dict[str, float] = {}

    @property
    def all_refused(self) -> list[RefusedRow]:
        """Refused while reading or by the node, in the order of the list."""
        return sorted([*self.recipients.refused, *self.refused], key=lambda refused: refused.row)

    @property
    def unreported(self) -> int:
        """Messages whose report has not come."""
        return len(self.taken) - len(self.reports)


def submit_rows(
    client: SyncClient,
    sent: Sent,
    advance: Advance,
    told: BinaryIO | None = None,
    patience_s: float = PATIENCE_S,
) -> None:
    """Submit every row of the list. Raises `CliError` when the node stays away or full for `patience_s`."""
    rows = sent.recipients.rows
    for start in range(0, len(rows), SLICE_MESSAGES):
        _submit_slice(client, rows[start : start + SLICE_MESSAGES], sent, advance, told, patience_s)


def _submit_slice(
    client: SyncClient,
    rows: Sequence[Row],
    sent: Sent,
    advance: Advance,
    told: BinaryIO | None,
    patience_s: float,
) -> None:
    give_up_at = time.monotonic() + patience_s
    while rows:
        try:
            answer = client.submit_many([row.message for row in rows])
        except (NodeAway, TimeoutError) as error:
            if time.monotonic() > give_up_at:
                raise CliError(
                    f"{error or 'no answer in time'}; sending the list again goes on from here"
                ) from None
            time.sleep(PAUSE_S)
            continue
        now = time.monotonic()
        put_off = [refusal for refusal in answer.refused if refusal.retry_after_s is not None]
        _note(rows, answer, sent, now, told)
        advance(len(rows) - len(put_off))
        if len(put_off) < len(rows):
            give_up_at = now + patience_s
        elif now > give_up_at:
            raise CliError(f"{put_off[0].detail}; sending the list again goes on from here")
        rows = [rows[refusal.index] for refusal in put_off]
        if put_off:
            time.sleep(min(PAUSE_S, *(refusal.retry_after_s or PAUSE_S for refusal in put_off)))


def _note(rows: Sequence[Row], answer: SubmitAnswer, sent: Sent, now: float, told: BinaryIO | None) -> None:
    """Put an answer's parts to the rows they are about; what is to be repeated is left out."""
    refused = {refusal.index: refusal for refusal in answer.refused}
    accepted = iter(answer.accepted)
    lines: list[bytes] = []
    for index, row in enumerate(rows):
        refusal = refused.get(index)
        if refusal is None:
            taken = Taken(row, next(accepted), now)
            sent.taken[taken.accepted.message_id] = taken
            lines.append(_told_line(taken))
        elif refusal.retry_after_s is None:
            sent.refused.append(_refused_row(row, refusal, sent.recipients.columns))
    if told is not None:
        told.write(b"".join(lines))


def _told_line(taken: Taken) -> bytes:
    accepted, message = taken.accepted, taken.row.message
    line = {
        "message_id": accepted.message_id,
        "ref": accepted.ref,
        "parts": accepted.parts,
        "to": message.to,
        "row": taken.row.number,
    }
    return msgspec.json.encode(line) + b"\n"


def _refused_row(row: Row, refusal: Refusal, columns: dict[str, str]) -> RefusedRow:
    field = refusal.field or ""
    return RefusedRow(row.number, columns.get(field, field), refusal.code, refusal.detail)


def wait_for_reports(
    subscription: SyncSubscription,
    sent: Sent,
    advance: Advance,
    timeout_s: float | None = None,
    told: BinaryIO | None = None,
) -> bool:
    """Read events until every message of the list has its report; False if `timeout_s` passed before.

    Events are acknowledged as long as all of them are about this list: another reader's are left to that
    reader.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    only_ours = True
    while sent.unreported:
        left_s = None if deadline is None else deadline - time.monotonic()
        if left_s is not None and left_s <= 0:
            return False
        try:
            events = subscription.receive(left_s)
        except TimeoutError:
            return False
        now = time.monotonic()
        before = len(sent.reports)
        only_ours = _hear(events, sent, now, told) and only_ours
        advance(len(sent.reports) - before)
        if only_ours:
            subscription.ack(events[-1].cursor)
    return True


def _hear(events: Sequence[Event], sent: Sent, now: float, told: BinaryIO | None) -> bool:
    """Note the reports that are about this list; whether all were."""
    only_ours = True
    for event in events:
        if isinstance(event, Report | Correction) and event.message_id in sent.taken:
            sent.reports[event.message_id] = event
            sent.reported_at.setdefault(event.message_id, now)
            if told is not None:
                told.write(msgspec.json.encode(event) + b"\n")
        else:
            only_ours = False
    return only_ours
