"""What an app will be told: stored compactly, written in the same atomic step as the fact it tells. Pure.

One entry of `{a}:events` holds the events of one step. A cursor names the entry and the event's place in it,
so that an acknowledgement may fall anywhere.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..messages import Correction, Event, Received, Report, ReportError, StoredEvent
from .keys import AppKeys


class Told(msgspec.Struct, array_like=True, gc=False):
    """One event as stored. `kind`: `report`, `correction` or `received`; the latter uses the last three
    fields.
    """

    kind: str
    message_id: str
    ref: str | None
    state: str
    carrier: str
    parts: int
    delivered_parts: int
    doubled: bool
    error: tuple[str, int | None, str | None] | None
    at_ms: int
    sender: str = ""
    to: str = ""
    text: str = ""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Told]).decode


def publish(app: str, told: list[Told]) -> list[tuple[Any, ...]]:
    """The commands that tell an app; they belong into the commit of the facts."""
    keys = AppKeys(app)
    return [("XADD", keys.events, "*", b"e", _encode(told)), ("INCRBY", keys.events_n, len(told))]


def entry_events(value: bytes) -> list[Told]:
    """The events of one stored entry, in order."""
    return _decode(value)


def rfc3339(at_ms: int) -> str:
    """`2026-11-21T10:00:00Z`, to the second."""
    return _second(at_ms // 1000)


_seconds: dict[int, str] = {}


def _second(second: int) -> str:
    text = _seconds.get(second)
    if text is None:
        from datetime import UTC, datetime

        if len(_seconds) > 1000:
            _seconds.clear()
        text = _seconds[second] = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return text


def cursor(entry_id: str, position: int, count: int) -> str:
    """Event `position` (from 0) of the `count` in one entry."""
    return f"{entry_id}.{position}.{count}"


def split_cursor(value: str) -> tuple[str, int, int]:
    """entry id, position, count. Raises ValueError for what was never a cursor."""
    entry_id, position, count = value.split(".")
    milliseconds, sequence = entry_id.split("-")
    if not (milliseconds.isdecimal() and sequence.isdecimal() and position.isdecimal() and count.isdecimal()):
        raise ValueError("not a cursor")
    return entry_id, int(position), int(count)


def entry_key(entry_id: str) -> tuple[int, int]:
    """Entry ids in the order of the stream."""
    milliseconds, sequence = entry_id.split("-")
    return int(milliseconds), int(sequence)


def as_events(entry_id: str, told: list[Told], first: int) -> list[StoredEvent]:
    """The events of one entry from position `first` on, as an app reads them, each with its cursor."""
    before, after = entry_id + ".", f".{len(told)}"
    found: list[StoredEvent] = []
    for position in range(first, len(told)):
        one = told[position]
        where = before + str(position) + after
        if one.kind == "report" and one.error is None:
            event: Event = Report(
                where,
                one.message_id,
                one.ref,
                one.state,
                one.carrier,
                one.parts,
                one.delivered_parts,
                one.doubled,
                None,
                rfc3339(one.at_ms),
            )
        else:
            event = as_event(one, where)
        found.append((where, event))
    return found


def as_event(told: Told, where: str) -> Event:
    """The event as an app reads it."""
    if told.kind == "received":
        return Received(cursor=where, from_=told.sender, to=told.to, text=told.text, in_reply_to=None)
    error = told.error
    shape = Correction if told.kind == "correction" else Report
    return shape(
        where,
        told.message_id,
        told.ref,
        told.state,
        told.carrier,
        told.parts,
        told.delivered_parts,
        told.doubled,
        None if error is None else ReportError(error[0], error[1], error[2]),
        rfc3339(told.at_ms),
    )
