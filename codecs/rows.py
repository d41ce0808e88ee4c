"""The rows `describe` writes, and what of a value may stand in one."""

from __future__ import annotations

import msgspec


class Row(msgspec.Struct, frozen=True):
    """One field, or a line about one: where it is (`offset` and number of `octets` within the PDU), how deep
    it is nested, its name in the specification, value, meaning; `problem` names the limit it breaks, `answer`
    the response and command_status it deserves, `refused` that the PDU cannot be used for it.
    """

    offset: int
    octets: int
    level: int
    name: str
    value: str
    meaning: str = ""
    problem: str = ""
    answer: str = ""
    refused: bool = False


class Description(msgspec.Struct, frozen=True):
    """One PDU. The numbers are None if there is no whole header."""

    name: str
    command_id: int | None
    command_status: int | None
    sequence_number: int | None
    octets: int
    rows: list[Row]

    @property
    def wrong(self) -> bool:
        """Something breaks the specification."""
        return any(row.problem for row in self.rows)

    @property
    def refused(self) -> bool:
        """Something makes it unreadable: `pdu.decode` raises."""
        return any(row.refused for row in self.rows)


class Shown:
    """What may be shown, and the depth of the row being written.

    `doubtful`: fields may hold octets of their neighbours. `secret`: one of those may be a password.
    """

    def __init__(self, show_text: bool, *, doubtful: bool = False, secret: bool = False) -> None:
        self.show_text = show_text
        self.doubtful = doubtful
        self.secret = secret
        self.level = 0

    def string(self, value: bytes, *, private: bool = False, password: bool = False) -> str:
        """In quotes, escaped so that no octet reaches the terminal as it is; or how long it is."""
        if not value:
            return "''"
        if self.secret or password:
            return f"({len(value)} octets, never shown)"
        if not self.show_text and (private or self.doubtful):
            return masked(len(value))
        return ascii(value.decode("latin-1"))

    def octets(self, value: bytes, *, private: bool = True) -> str:
        """In hexadecimal, or how many."""
        if not value:
            return "''"
        if self.secret:
            return f"({len(value)} octets, never shown)"
        if not self.show_text and (private or self.doubtful):
            return masked(len(value))
        return value.hex(" ")

    def may_show(self, number: bytes) -> bool:
        """Digits or letters where a number should be may be of an address or a password."""
        if not self.doubtful or (self.show_text and not self.secret):
            return True
        return not any(map(str.isalnum, number.decode("latin-1")))

    def integer(self, number: bytes) -> str:
        """Decimal and hexadecimal."""
        if not self.may_show(number):
            return "(masked)"
        value = int.from_bytes(number, "big")
        return f"{value} (0x{value:0{2 * len(number)}X})" if value > 9 else str(value)


def masked(octets: int) -> str:
    """Stands for what is not shown."""
    return f"({octets} octets, masked)"
