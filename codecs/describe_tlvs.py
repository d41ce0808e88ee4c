"""The optional parameters of a PDU as rows (SMPP 3.4 sections 3.2.4 and 5.3)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Final

from . import constants as c
from . import meanings, receipt
from .fields import TLVS
from .rows import Row, Shown

_SAR: Final = (c.TAG_SAR_MSG_REF_NUM, c.TAG_SAR_TOTAL_SEGMENTS, c.TAG_SAR_SEGMENT_SEQNUM)

OPEN: Final = frozenset(
    {
        c.TAG_RECEIPTED_MESSAGE_ID,
        c.TAG_NETWORK_ERROR_CODE,
        c.TAG_USSD_SERVICE_OP,
        c.TAG_ITS_SESSION_INFO,
        c.TAG_SMS_SIGNAL,
        c.TAG_MS_VALIDITY,
        c.TAG_BROADCAST_CONTENT_TYPE,
        c.TAG_BROADCAST_FREQUENCY_INTERVAL,
        c.TAG_BROADCAST_END_TIME,
        c.TAG_ALERT_ON_MESSAGE_DELIVERY,
    }
)
"""Strings and octets that hold no address and no text; of all others only the length is shown."""

_FIT: Final = "runs past the end of the PDU"


class TlvReader:
    """A cursor from `at` to `end`; `fault` makes (problem, answer, refused) of (problem, command_status)."""

    def __init__(
        self,
        frame: bytes,
        at: int,
        end: int,
        shown: Shown,
        fault: Callable[[str, int], tuple[str, str, bool]],
    ) -> None:
        self.frame = frame
        self.at = at
        self.end = end
        self.shown = shown
        self.fault = fault

    def read(self, has_short_message: bool) -> Generator[tuple[Row, int | None], None, None]:
        """(row, where the text of a message_payload begins or None) in order."""
        tags = self._tags()
        for number, tag in enumerate(tags):
            if number == c.TLVS_MAX:
                problem = f"more than {c.TLVS_MAX} optional parameters"
                yield self._left_over("optional parameters", problem), None
                return
            row = self._row(tag)
            if tag == c.TAG_MESSAGE_PAYLOAD and not row.problem:
                if has_short_message and row.octets > 4:
                    row = self._wrong(row, "short_message is there too; only one may be", c.ESME_RTLVNOTALLWD)
                yield row, row.offset + 4
            elif tag in _SAR and not all(other in tags for other in _SAR):
                yield self._wrong(row, "ignored without the two other sar_ parameters", None), None
            else:
                yield row, None
        if self.at < self.end:
            problem = "left over: a tag and a length take 4 octets"
            yield self._left_over("optional parameters", problem), None

    def _tags(self) -> list[int]:
        """All that begin before the end, as far as the limit makes them worth reading."""
        tags: list[int] = []
        at = self.at
        while self.end - at >= 4 and len(tags) <= c.TLVS_MAX:
            tags.append(self._number(at))
            at += 4 + self._number(at + 2)
        return tags

    def _number(self, at: int) -> int:
        return int.from_bytes(self.frame[at : at + 2], "big")

    def _row(self, tag: int) -> Row:
        offset = self.at
        length = self._number(offset + 2)
        rule = TLVS.get(tag)
        # In a broken stream two octets of a text can stand where a tag should.
        number = f"0x{tag:04X}" if not self.shown.doubtful or self.shown.show_text else "masked"
        name = rule.name if rule else f"vendor tag {number}" if 0x1400 <= tag < 0x4000 else f"tag {number}"
        if self.shown.secret:
            name, rule = "optional parameter", None
        self.at = min(self.end, offset + 4 + length)
        value = self.frame[offset + 4 : self.at]
        problem, answer, refused = "", "", False
        if len(value) < length:
            problem, answer, refused = self.fault(f"its length {length} {_FIT}", c.ESME_RINVTLVSTREAM)
            shown, meaning = self.shown.octets(value), ""
        elif rule and not rule.octets_min <= length <= rule.octets_max:
            low, high = rule.octets_min, rule.octets_max
            size = f"{low} octets" if low == high else f"{low} to {high} octets"
            problem, answer, _ = self.fault(f"its length is {length}, must be {size}", c.ESME_RINVTLVLEN)
            shown, meaning = self.shown.octets(value), ""
        else:
            shown, meaning = self._value(tag, rule.kind if rule else "", value)
            if rule and length == 1 and not rule.value_min <= value[0] <= rule.value_max:
                problem = f"must be {rule.value_min} to {rule.value_max}"
                problem, answer, _ = self.fault(problem, c.ESME_RINVTLVVAL)
        level = self.shown.level
        return Row(offset, self.at - offset, level, name, shown, meaning, problem, answer, refused)

    def _value(self, tag: int, kind: str, value: bytes) -> tuple[str, str]:
        if tag == c.TAG_MESSAGE_PAYLOAD:
            return f"{len(value)} octets", ""
        if kind == "string":
            text = value.partition(b"\0")[0]
            note = "" if value.endswith(b"\0") else "its NUL is missing"
            if tag == c.TAG_BROADCAST_END_TIME:
                note = meanings.time(text)[0]
            return self.shown.string(text, private=tag not in OPEN), note
        if kind == "integer":
            shown = self.shown.integer(value)
        else:
            shown = self.shown.octets(value, private=tag not in OPEN)
        return shown, self._meaning(tag, value) if self.shown.may_show(value) else ""

    def _meaning(self, tag: int, value: bytes) -> str:
        if tag == c.TAG_NETWORK_ERROR_CODE:
            error = receipt.network_error(value)
            return meanings.network_error(*error) if error else ""
        return meanings.tlv_integer(tag, int.from_bytes(value, "big"))

    def _wrong(self, row: Row, problem: str, status: int | None) -> Row:
        """The same with a problem that the decoder does not mind."""
        if row.problem:
            return row
        answer = "" if status is None else self.fault(problem, status)[1]
        return Row(
            row.offset,
            row.octets,
            row.level,
            row.name,
            row.value,
            row.meaning,
            problem,
            answer,
            refused=False,
        )

    def _left_over(self, name: str, problem: str) -> Row:
        offset, self.at = self.at, self.end
        octets = self.end - offset
        value = self.shown.octets(self.frame[offset : self.end])
        return Row(
            offset, octets, self.shown.level, name, value, "", *self.fault(problem, c.ESME_RINVTLVSTREAM)
        )
