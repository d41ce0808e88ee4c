"""`todoke send`: one message, or a list of them from a CSV file."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal

from cyclopts import Parameter

from .errors import EXIT_FAILED, EXIT_OK, CliError, UsageError
from .node import ConfigOption, JsonOption, SocketOption, node_client
from .output import print_json, print_table, progress_bar

if TYPE_CHECKING:
    from ..campaign.recipients import Options, Recipients
    from .sending import Sent

REFUSED_SHOWN_MAX = 50


def send(
    *,
    to: str | None = None,
    text: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    csv: Path | None = None,
    from_: Annotated[str, Parameter(name="--from")] = "",
    ref: str | None = None,
    at: str | None = None,
    expires: str | None = None,
    lane: Literal["urgent", "normal", "bulk"] = "normal",
    carrier: str | None = None,
    receipt: bool = True,
    region: str = "JP",
    zone: str = "Asia/Tokyo",
    encoding: str | None = None,
    again: str = "",
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    wait: Annotated[bool, Parameter(negative="")] = False,
    timeout: float | None = None,
    told: Path | None = None,
    socket: SocketOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """Send one message, or a CSV list of them.

    A list needs a column with the numbers (`to`, `宛先`, `電話番号` ...) and one with texts (`text`, `本文`),
    or `--text`. Texts may name columns: `{氏名}様`. Other columns may be `from`, `ref`, `at`,
    `expires`, `carrier`, `lane`, `tags`. The file may be UTF-8, Shift_JIS or what else offices write.
    Wrong rows are refused by row, column and reason; the rest is sent.

    Sending the same file with the same text again sends nothing twice (within `ref_ttl_s`), unless
    `--again` says so.

    Exit 0 if messages were accepted; 1 if none was or, with `--wait`, if reports are missing.

    Parameters
    ----------
    to
        The number, national or international.
    text
        The text; for a list, the template of every row.
    csv
        The list.
    from_
        Sender; else the carrier's default.
    ref
        Your own reference: the same message with the same reference again is not sent again.
    at
        Not before this time: 2026-11-21 10:00, or RFC 3339.
    expires
        Not after this time.
    carrier
        Only this carrier, instead of the routes.
    receipt
        With --no-receipt no delivery receipt is asked; the final state is `sent`.
    region
        Country of national numbers.
    zone
        Zone of times written without one.
    encoding
        Character set of the list, if it is guessed wrong.
    again
        Any word: send a list once more that was sent before with another word, or none.
    dry_run
        Only read the list, and tell what is wrong with it.
    wait
        Wait for the reports. Events about other messages are left to whoever listens for them.
    timeout
        Longest wait for the reports, in seconds.
    told
        File for what was accepted and reported, one JSON object a line, for `todoke audit`.
    """
    from ..campaign.recipients import Options

    if (csv is None) == (to is None) or (to is not None and text is None):
        raise UsageError("send: give --to with --text, or --csv")
    if csv is not None and (ref or at or expires):
        raise UsageError("send: --ref, --at and --expires are for one message; a list has columns for them")
    options = Options(
        text=text,
        sender=from_,
        carrier=carrier,
        lane=lane,
        region=region,
        zone=zone,
        encoding=encoding,
        again=again,
        receipt=receipt,
    )
    from .sending import Sent, submit_rows, wait_for_reports

    sent = Sent(_read_list(csv, options) if csv is not None else _one(options, to or "", ref, at, expires))
    if dry_run:
        return _tell(sent, csv, json, dry_run=True)
    shown = csv is not None and not json
    with node_client(socket, config) as client, _told_file(told) as told_to, contextlib.ExitStack() as stack:
        subscription = stack.enter_context(client.subscribe()) if wait else None
        with progress_bar("sending", len(sent.recipients.rows), shown=shown) as advance:
            submit_rows(client, sent, advance, told_to)
        complete = True
        if subscription is not None:
            with progress_bar("reports", len(sent.taken), shown=shown) as advance:
                complete = wait_for_reports(subscription, sent, advance, timeout, told_to)
    code = _tell(sent, csv, json)
    return code if complete else EXIT_FAILED


def _read_list(path: Path, options: Options) -> Recipients:
    from ..campaign.errors import ListError
    from ..campaign.recipients import read_recipients

    try:
        return read_recipients(path.read_bytes(), options)
    except OSError as error:
        raise CliError(f"cannot read {path}: {error.strerror}") from None
    except ListError as error:
        raise CliError(f"{path}: {error}") from None


def _one(options: Options, to: str, ref: str | None, at: str | None, expires: str | None) -> Recipients:
    """One message as a list of one row; it needs no reference, unless it is to be repeated safely."""
    import uuid

    from ..campaign.errors import RowError
    from ..campaign.numbers import international
    from ..campaign.recipients import Recipients, Row, time_of
    from ..messages import SubmitMessage

    try:
        message = SubmitMessage(
            to=international(to, options.region, "--to"),
            text=options.text,
            from_=options.sender,
            ref=ref or f"send-{uuid.uuid4().hex}",
            at=time_of(at or "", options.zone, "--at"),
            expires=time_of(expires or "", options.zone, "--expires"),
            lane=options.lane,
            carrier=options.carrier,
            receipt=options.receipt,
        )
    except RowError as error:
        raise UsageError(f"send: {error.column}: {error.detail}") from None
    return Recipients("utf-8", {}, [Row(1, message)], [])


@contextlib.contextmanager
def _told_file(path: Path | None) -> Generator[BinaryIO | None, None, None]:
    if path is None:
        yield None
        return
    try:
        file = path.open("ab")
    except OSError as error:
        raise CliError(f"cannot write {path}: {error.strerror}") from None
    with file:
        yield file


def _tell(sent: Sent, csv: Path | None, json: bool, *, dry_run: bool = False) -> int:
    """Print the summary; exit 1 if nothing was taken although something should have been."""
    summary = {"dry_run": dry_run, **summary_of(sent)}
    if json:
        print_json(summary)
    elif csv is None:
        _tell_one(sent, dry_run)
    else:
        _tell_list(sent, summary)
    return EXIT_FAILED if sent.refused and not sent.taken else EXIT_OK


def summary_of(sent: Sent) -> dict[str, Any]:
    """The summary as data. `messages` has what was accepted when there is only one."""
    recipients, refused = sent.recipients, sent.all_refused
    summary: dict[str, Any] = {
        "encoding": recipients.encoding,
        "columns": recipients.columns,
        "rows": len(recipients.rows) + len(recipients.refused),
        "accepted": len(sent.taken),
        "duplicates": sum(taken.accepted.duplicate for taken in sent.taken.values()),
        "parts": sum(taken.accepted.parts for taken in sent.taken.values()),
        "refused": refused,
        "reports": dict(Counter(report.state for report in sent.reports.values())),
    }
    if len(recipients.rows) == 1:
        summary["messages"] = [
            {
                "message_id": message_id,
                "ref": taken.accepted.ref,
                "parts": taken.accepted.parts,
                "report": sent.reports.get(message_id),
            }
            for message_id, taken in sent.taken.items()
        ]
    return summary


def _tell_one(sent: Sent, dry_run: bool) -> None:
    from .events import event_line

    for refused in sent.all_refused:
        raise CliError(f"refused: {refused.column}: {refused.detail} ({refused.code})")
    if dry_run:
        print("the message can be submitted; nothing was sent")
    for message_id, taken in sent.taken.items():
        again = ", a duplicate: not sent again" if taken.accepted.duplicate else ""
        print(f"{message_id} accepted, {taken.accepted.parts} part{'s' * (taken.accepted.parts != 1)}{again}")
        if message_id in sent.reports:
            print(event_line(sent.reports[message_id]))


def _tell_list(sent: Sent, summary: dict[str, Any]) -> None:
    refused = sent.all_refused
    if refused:
        rows = [[one.row, one.column, one.code, one.detail] for one in refused[:REFUSED_SHOWN_MAX]]
        print_table(f"Refused rows ({len(refused):,})", ["row", "column", "code", "reason"], rows)
        if len(refused) > REFUSED_SHOWN_MAX:
            print(f"... and {len(refused) - REFUSED_SHOWN_MAX:,} more; --json has them all")
    columns = ", ".join(f"{field} from {name!r}" for field, name in summary["columns"].items())
    print(f"{summary['rows']:,} rows ({summary['encoding']}; {columns})")
    taken = (
        f"accepted {summary['accepted']:,} ({summary['parts']:,} parts, {summary['duplicates']:,} duplicates)"
    )
    if summary["dry_run"]:
        taken = f"{len(sent.recipients.rows):,} rows can be submitted; nothing was sent"
    print(f"{taken}, refused {len(refused):,}")
    if summary["reports"]:
        print(
            "reports: "
            + ", ".join(f"{state} {count:,}" for state, count in sorted(summary["reports"].items()))
        )
