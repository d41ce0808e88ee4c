"""A PDU for a person: every field with its offset, value, meaning, and what is wrong with it.

`describe` takes any octets and never raises. It reads the same layouts (`fields`) as `pdu.decode`, but goes
on behind a bad field as far as that makes sense. A row is `refused` exactly where `pdu.decode` or framing
gives up; other problems break the specification and are taken by us all the same.

What may be shown: names, codes, ids, times, lengths. Addresses and text only with `show_text`, passwords
never. In a PDU that does not hold together a field may hold what belongs to its neighbour, so there every
string is masked, and in a bind is never shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Final

import msgspec

from . import constants as c
from . import meanings
from .describe_text import text_rows
from .describe_tlvs import TlvReader
from .errors import command_name, status_name
from .fields import LAYOUTS, Field, Kind
from .rows import Description, Row, Shown

__all__ = ["Description", "Row", "describe"]

RETRIABLE: Final = frozenset({c.SUBMIT_SM_RESP, c.SUBMIT_MULTI_RESP, c.DATA_SM_RESP, c.GENERIC_NACK})
"""Responses whose command_status decides what becomes of a message."""

WITH_PASSWORD: Final = frozenset({c.BIND_RECEIVER, c.BIND_TRANSMITTER, c.BIND_TRANSCEIVER, c.OUTBIND})
TO_SMSC: Final = frozenset({c.SUBMIT_SM, c.SUBMIT_MULTI})
"""data_sm goes both ways: its esm_class is read like that of deliver_sm, whose types include the others."""

PRIVATE: Final = frozenset({"source_addr", "destination_addr", "esme_addr", "address_range", "dl_name"})

EMPTY: Final = {
    (c.CANCEL_SM, "message_id"): "empty: cancels ALL messages between the two addresses",
    (c.SUBMIT_SM_RESP, "message_id"): "empty: no receipt can be matched to it",
    (c.DATA_SM_RESP, "message_id"): "empty: no receipt can be matched to it",
    (c.DELIVER_SM_RESP, "message_id"): "unused",
}
"""What an empty string means where that is worth knowing."""


def describe(
    frame: bytes, show_text: bool = False, retry_class: Callable[[int], str] | None = None
) -> Description:
    """Any octets that should be one PDU, header included, field by field; never raises.

    `retry_class` says in a word or two what a sender does about a command_status.
    """
    found = _Reader(frame, Shown(show_text), retry_class).read()
    if found.refused:
        # Only now is it known that fields may hold each other's octets: once more, with less shown.
        secret = found.command_id in WITH_PASSWORD or found.command_id not in LAYOUTS
        found = _Reader(frame, Shown(show_text, doubtful=True, secret=secret), retry_class).read()
    return found


_unpack_header = Struct(">4I").unpack_from


class _Reader:
    """A cursor over one PDU that writes a row a field."""

    def __init__(self, frame: bytes, shown: Shown, retry_class: Callable[[int], str] | None) -> None:
        self.frame = frame
        self.shown = shown
        self.retry_class = retry_class
        self.rows: list[Row] = []
        self.at = c.HEADER_OCTETS
        self.end = len(frame)
        self.values: dict[str, int] = {}
        self.readers = {
            Kind.INTEGER: self.integer,
            Kind.STRING: self.string,
            Kind.TIME: self.time,
            Kind.MESSAGE: self.sm_length,
            Kind.DESTINATIONS: self.destinations,
            Kind.UNSUCCESSFUL: self.unsuccessful,
        }

    # --- whole ----------------------------------------------------------------------------------------------

    def read(self) -> Description:
        whole = self.header()
        if whole:
            self.body()
        if self.end < len(self.frame):
            self.add(self.end, len(self.frame) - self.end, "behind the PDU", "", "not read")
        return Description(
            command_name(self.command_id) if whole else "no PDU",
            self.command_id if whole else None,
            self.command_status if whole else None,
            self.sequence_number if whole else None,
            len(self.frame),
            self.rows,
        )

    def header(self) -> bool:
        """Whether there is a whole one."""
        if len(self.frame) < c.HEADER_OCTETS:
            self.add(
                0,
                len(self.frame),
                "header",
                "",
                problem=f"{len(self.frame)} octets, a header has {c.HEADER_OCTETS}",
                answer="generic_nack ESME_RINVCMDLEN, then close",
                refused=True,
            )
            return False
        numbers = _unpack_header(self.frame)
        command_length, self.command_id, self.command_status, self.sequence_number = numbers
        self.length_row(command_length)
        self.add(4, 4, "command_id", f"0x{self.command_id:08X}", command_name(self.command_id))
        self.status_row()
        in_range = 1 <= self.sequence_number <= c.SEQUENCE_NUMBER_MAX
        if not in_range and (self.sequence_number or self.command_id != c.GENERIC_NACK):
            problem = f"must be 1 to {c.SEQUENCE_NUMBER_MAX}"
        else:
            problem = ""
        self.add(12, 4, "sequence_number", str(self.sequence_number), problem=problem)
        return True

    def length_row(self, command_length: int) -> None:
        problem = ""
        if not c.HEADER_OCTETS <= command_length <= c.PDU_OCTETS_MAX:
            problem = f"must be {c.HEADER_OCTETS} to {c.PDU_OCTETS_MAX}"
        elif command_length != len(self.frame):
            problem = f"{len(self.frame)} octets are there"
            self.end = min(command_length, self.end)
        self.add(
            0,
            4,
            "command_length",
            str(command_length),
            problem=problem,
            answer="generic_nack ESME_RINVCMDLEN, then close" if problem else "",
            refused=bool(problem),
        )

    def status_row(self) -> None:
        value = self.command_status
        if not self.command_id & c.RESPONSE_BIT:
            problem = "must be 0 in a request" if value else ""
            meaning = ""
        else:
            problem = ""
            meaning = meanings.command_status(value)
            if value and self.retry_class and self.command_id in RETRIABLE:
                meaning += f"; retry: {self.retry_class(value)}"
        self.add(8, 4, "command_status", f"0x{value:08X}", meaning, problem=problem)

    def body(self) -> None:
        layout = LAYOUTS.get(self.command_id)
        if layout is None:
            self.other_body()
            return
        if self.command_id & c.RESPONSE_BIT and self.at == self.end:
            return  # section 3.2.1.3: a response with an error has no body, and some SMSCs never write one
        if self.fields(layout):
            self.message()
            self.tlvs()

    def other_body(self) -> None:
        """Of a command without a layout: a vendor's, cell broadcast, or none at all."""
        if self.command_id & ~c.RESPONSE_BIT not in c.VENDOR_COMMANDS:
            problem = "not supported" if self.command_id in c.BROADCAST_NAMES else "unknown"
            answer = self.answer(c.ESME_RINVCMDID)
            self.rows[1] = msgspec.structs.replace(self.rows[1], problem=problem, answer=answer, refused=True)
        if self.at < self.end:
            value = self.shown.octets(self.frame[self.at : self.end])
            self.add(self.at, self.end - self.at, "body", value)

    def fields(self, layout: Sequence[Field]) -> bool:
        """The mandatory fields; whether all are there."""
        readers = self.readers
        for number, field in enumerate(layout, 1):
            if not readers[field.kind](field):
                if left := [one.name for one in layout[number:]]:
                    self.add(self.end, 0, "not there", "", ", ".join(left))
                return False
        return True

    # --- mandatory fields -----------------------------------------------------------------------------------

    def integer(self, field: Field) -> bool:
        octets = field.size
        if self.end - self.at < octets:
            self.missing(field)
            return False
        number = self.frame[self.at : self.at + octets]
        value = int.from_bytes(number, "big")
        self.values[field.name] = value
        problem = ""
        if field.values is not None and value not in field.values:
            problem = f"must be {meanings.ranges(field.values)}"
        self.add(
            self.at,
            octets,
            field.name,
            self.shown.integer(number),
            self.meaning(field.name, value) if self.shown.may_show(number) else "",
            problem=problem,
            answer=self.answer(field.status) if problem else "",
        )
        self.at += octets
        return True

    def meaning(self, name: str, value: int) -> str:
        if name == "esm_class":
            return meanings.esm_class(value, to_smsc=self.command_id in TO_SMSC)
        if name == "error_status_code":
            return meanings.command_status(value)
        known = meanings.INTEGERS.get(name)
        return known(value) if known else ""

    def string(self, field: Field) -> bool:
        """Whether there was anything of it; a missing NUL at the very end of a response is forgiven."""
        start = self.at
        problem, note = "", ""
        nul = self.frame.find(0, start, self.end)
        value = self.frame[start : self.end if nul < 0 else nul]
        self.at = self.end if nul < 0 else nul + 1
        if nul < 0 and self.command_id & c.RESPONSE_BIT and len(value) < field.size:
            note = "its NUL is missing"
        elif nul < 0:
            problem = f"no NUL before the end of the PDU, at most {field.size} octets with it"
        elif len(value) >= field.size:
            problem = f"{len(value) + 1} octets with its NUL, at most {field.size}"
        self.string_row(field, start, value, problem, note)
        return nul >= 0 or not problem

    def string_row(self, field: Field, start: int, value: bytes, problem: str, note: str = "") -> None:
        if not value:
            note = note or EMPTY.get((self.command_id, field.name), "")
        elif field.name in PRIVATE:
            note = note or _address(value)
        shown = self.shown.string(value, private=field.name in PRIVATE, password=field.name == "password")
        self.add(start, self.at - start, field.name, shown, note, *self.fault(problem, field.status))

    def time(self, field: Field) -> bool:
        start = self.at
        nul = self.frame.find(0, start, self.end)
        if nul < 0:
            return self.string(field)
        value = self.frame[start:nul]
        self.at = nul + 1
        meaning, right = meanings.time(value)
        allowed = range(field.size) if self.command_id & c.RESPONSE_BIT else (0, field.size - 1)
        if len(value) not in allowed:
            problem = f"{len(value) + 1} octets with its NUL, must be 1 or {field.size}"
            self.string_row(field, start, value, problem)
        elif right:
            self.add(start, self.at - start, field.name, self.shown.string(value), meaning)
        else:
            shown = self.shown.string(value, private=True)
            answer = self.answer(field.status)
            self.add(start, self.at - start, field.name, shown, problem=meaning, answer=answer)
        return True

    def sm_length(self, field: Field) -> bool:
        length = Field("sm_length", Kind.INTEGER, 1, field.status)
        if not self.integer(length):
            return False
        claimed, there = self.values["sm_length"], self.end - self.at
        if claimed > there:
            self.blame_last(f"{there} octets are left in the PDU", field.status)
        elif claimed > c.SHORT_MESSAGE_OCTETS_MAX:
            self.blame_last(f"at most {c.SHORT_MESSAGE_OCTETS_MAX} in SMPP 3.4", field.status, refused=False)
        return True

    def destinations(self, field: Field) -> bool:
        return self.repeated(field, "number_of_dests", self.destination)

    def unsuccessful(self, field: Field) -> bool:
        return self.repeated(field, "no_unsuccess", self.unsuccess_sme)

    def repeated(self, field: Field, count_name: str, one: Callable[[Field], bool]) -> bool:
        if not self.integer(Field(count_name, Kind.INTEGER, 1, field.status)):
            return False
        if field.kind is Kind.DESTINATIONS and not self.values[count_name]:
            self.blame_last("must be 1 to 255", field.status)
        self.shown.level += 1
        there = all(one(field) for _ in range(self.values[count_name]))
        self.shown.level -= 1
        return there

    def destination(self, field: Field) -> bool:
        if not self.integer(Field("dest_flag", Kind.INTEGER, 1, c.ESME_RINVDESTFLAG)):
            return False
        if self.values["dest_flag"] == 2:
            return self.string(Field("dl_name", Kind.STRING, 21, c.ESME_RINVDLNAME))
        if self.values["dest_flag"] != 1:
            self.blame_last("must be 1 or 2; read on as 1", c.ESME_RINVDESTFLAG)
        return self.address()

    def unsuccess_sme(self, field: Field) -> bool:
        code = Field("error_status_code", Kind.INTEGER, 4, field.status)
        return self.address() and self.integer(code)

    def address(self) -> bool:
        return (
            self.integer(Field("dest_addr_ton", Kind.INTEGER, 1, c.ESME_RINVDSTTON))
            and self.integer(Field("dest_addr_npi", Kind.INTEGER, 1, c.ESME_RINVDSTNPI))
            and self.string(Field("destination_addr", Kind.STRING, 21, c.ESME_RINVDSTADR))
        )

    # --- text and optional parameters -----------------------------------------------------------------------

    def message(self) -> None:
        if "sm_length" not in self.values:
            return
        start = self.at
        self.at = min(self.end, start + self.values["sm_length"])
        self.text(start, self.at, "short_message", 0)

    def text(self, start: int, end: int, name: str, level: int) -> None:
        self.shown.level += level
        self.rows += text_rows(self.frame, start, end, name, self.command_id, self.values, self.shown)
        self.shown.level -= level

    def tlvs(self) -> None:
        reader = TlvReader(self.frame, self.at, self.end, self.shown, self.fault)
        for row, payload in reader.read(bool(self.values.get("sm_length"))):
            self.rows.append(row)
            if payload is not None:
                self.text(payload, row.offset + row.octets, "text", 1)

    # --- rows -----------------------------------------------------------------------------------------------

    def add(
        self,
        offset: int,
        octets: int,
        name: str,
        value: str,
        meaning: str = "",
        problem: str = "",
        answer: str = "",
        refused: bool = False,
    ) -> None:
        level = self.shown.level
        self.rows.append(Row(offset, octets, level, name, value, meaning, problem, answer, refused))

    def missing(self, field: Field) -> None:
        problem = "the PDU ends before it"
        self.add(self.at, self.end - self.at, field.name, "", "", *self.fault(problem, field.status))

    def blame_last(self, problem: str, status: int, *, refused: bool = True) -> None:
        text, answer, _ = self.fault(problem, status)
        self.rows[-1] = msgspec.structs.replace(self.rows[-1], problem=text, answer=answer, refused=refused)

    def fault(self, problem: str, status: int) -> tuple[str, str, bool]:
        """(problem, answer, refused) of a row; the body of a response with an error may be anything."""
        if not problem:
            return "", "", False
        if self.command_id & c.RESPONSE_BIT and self.command_status:
            return f"{problem} (ignored in a response with an error)", "", False
        return problem, self.answer(status), True

    def answer(self, status: int) -> str:
        """What to send back; a response is never answered."""
        if self.command_id & c.RESPONSE_BIT:
            return ""
        response = c.COMMAND_NAMES.get(self.command_id | c.RESPONSE_BIT) or "generic_nack"
        return f"{response} {status_name(status)} (0x{status:08X})"


def _address(value: bytes) -> str:
    """How it looks, without showing it."""
    digits = value.removeprefix(b"+")
    if not digits.isdigit():
        return f"{len(value)} octets, not all digits"
    plus = "" if digits == value else ", and a + that SMPP leaves out"
    return f"{len(digits)} digits{plus}"
