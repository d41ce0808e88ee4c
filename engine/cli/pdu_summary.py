"""What a capture held, in numbers: PDUs by command and status, requests without an answer, answer times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from hdrh.histogram import HdrHistogram

from ...codecs import constants as c
from ...codecs.errors import command_name, status_name
from .captures import Endpoint, endpoint_name
from .streams import Frame

OUTSTANDING_MAX: Final = 100_000
"""Requests remembered until their answer; the oldest is counted as unanswered beyond that."""
UNANSWERED_SHOWN_MAX: Final = 10
ANSWER_MICROSECONDS_MAX: Final = 3_600_000_000
_NO_ANSWER: Final = frozenset({c.ALERT_NOTIFICATION, c.OUTBIND})

Key = tuple[Endpoint | None, Endpoint | None, int]


class Summary:
    """Fed with every PDU of a capture, in order."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[int, int]] = Counter()
        self.wrong = 0
        self.outstanding: dict[Key, tuple[float, int]] = {}
        self.unanswered: Counter[int] = Counter()
        self.unanswered_shown: list[str] = []
        self.without_request = 0
        self.answers: Any = HdrHistogram(1, ANSWER_MICROSECONDS_MAX, 3)

    def add(self, frame: Frame, command_id: int, command_status: int, sequence_number: int) -> float | None:
        """Count a PDU; for an answer, the seconds since its request."""
        self.counts[command_id, command_status] += 1
        if not command_id & c.RESPONSE_BIT:
            if command_id not in _NO_ANSWER:
                if len(self.outstanding) >= OUTSTANDING_MAX:
                    self.give_up(next(iter(self.outstanding)))
                self.outstanding[frame.source, frame.destination, sequence_number] = frame.time, command_id
            return None
        request = self.outstanding.pop((frame.destination, frame.source, sequence_number), None)
        if request is None:
            self.without_request += 1
            return None
        seconds = frame.time - request[0]
        self.answers.record_value(min(ANSWER_MICROSECONDS_MAX, max(1, round(seconds * 1e6))))
        return seconds

    def give_up(self, key: Key) -> None:
        """No answer will come."""
        time, command_id = self.outstanding.pop(key)
        self.unanswered[command_id] += 1
        if len(self.unanswered_shown) < UNANSWERED_SHOWN_MAX and key[0] and key[1]:
            path = f"{endpoint_name(key[0])} > {endpoint_name(key[1])}"
            self.unanswered_shown.append(
                f"  {path} {command_name(command_id)} sequence {key[2]} at {time:.6f}"
            )

    def lines(self, counted: Iterable[tuple[str, int]]) -> list[str]:
        """For a person; `counted` is what reading the capture met with."""
        for key in list(self.outstanding):
            self.give_up(key)
        total = sum(self.counts.values())
        lines = [f"{total:,} PDUs, something wrong in {self.wrong:,}"]
        for (command_id, command_status), count in sorted(self.counts.items()):
            status = status_name(command_status) if command_id & c.RESPONSE_BIT else ""
            lines.append(f"{count:9,}  {command_name(command_id)} {status}".rstrip())
        if count := sum(self.unanswered.values()):
            kinds = ", ".join(f"{n:,} {command_name(one)}" for one, n in sorted(self.unanswered.items()))
            lines += [f"without an answer: {kinds}", *self.unanswered_shown]
            if count > len(self.unanswered_shown):
                lines.append(f"  and {count - len(self.unanswered_shown):,} more")
        if self.without_request:
            lines.append(f"answers whose request is not in the capture: {self.without_request:,}")
        if self.answers.total_count:
            at = self.answers.get_value_at_percentile
            times = ", ".join(
                f"{name} {at(percentile) / 1000:.1f} ms"
                for name, percentile in (
                    ("median", 50),
                    ("95 % within", 95),
                    ("99 % within", 99),
                    ("longest", 100),
                )
            )
            lines.append(f"answer times: {times}")
        lines += [f"{count:,} {what}" for what, count in sorted(counted)]
        return lines
