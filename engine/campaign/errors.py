"""The errors of reading a list of recipients.

ListError        the list as a whole cannot be used: nothing of it is sent
RowError         one row is wrong: it is refused with its column and a code, the rest goes on
"""

from __future__ import annotations

from typing import Final

MISSING: Final = "missing"
INVALID_NUMBER: Final = "invalid_number"
NOT_MOBILE: Final = "not_mobile"
UNKNOWN_FIELD: Final = "unknown_field"
EMPTY_FIELD: Final = "empty_field"
INVALID_TEMPLATE: Final = "invalid_template"
INVALID_TIME: Final = "invalid_time"
INVALID_LANE: Final = "unknown_lane"
UNDECODABLE: Final = "undecodable"
COLUMNS: Final = "columns"
QUOTES: Final = "quotes"
DUPLICATE_ROW: Final = "duplicate_row"


class ListError(Exception):
    """The list as a whole cannot be used; the text says why."""


class RowError(Exception):
    """One row is wrong: its `column` as the list names it, a `code`, a `detail` without the value."""

    def __init__(self, column: str, code: str, detail: str) -> None:
        super().__init__(f"{column}: {code}: {detail}")
        self.column = column
        self.code = code
        self.detail = detail
