"""A CSV file as offices write it -> rows of text: which character set, which separator, what header. Pure.

In Japan a CSV is UTF-8 with or without a byte order mark, or what Excel writes there: cp932 (Shift_JIS).
A row whose octets are none of the file's characters, or whose quotation marks are not closed, spoils only
itself.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Final, NamedTuple

from .errors import ListError
from .template import field_key

LIST_OCTETS_MAX: Final = 256 * 1024 * 1024
ROWS_MAX: Final = 1_000_000
ROW_LINES_MAX: Final = 1_000
"""Lines one row may have; beyond it a quotation mark was not closed."""
SEPARATORS: Final = (",", "\t", ";")
_BOMS: Final = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_ENCODINGS: Final = ["cp932", "euc_jp", "cp1252", "utf_16_le", "utf_16_be", "big5", "euc_kr", "gb18030"]
_BAD_LINES_MAX: Final = 0.01
"""A file with fewer broken lines than this is UTF-8 with broken lines, not another character set."""
_SAMPLE_OCTETS: Final = 1_000_000


class Table(NamedTuple):
    """A list before its rows are looked at.

    `rows`: (number as a spreadsheet counts, cells; None for a row whose quotation marks do not close).
    """

    encoding: str
    separator: str
    header: list[str]
    rows: Iterator[tuple[int, list[str] | None]]


def read_table(data: bytes, encoding: str | None = None) -> Table:
    """Read a CSV file's octets. Octets that are no character become lone surrogates. Raises `ListError`."""
    if len(data) > LIST_OCTETS_MAX:
        raise ListError(f"longer than {LIST_OCTETS_MAX // 1024 // 1024} MiB")
    encoding = encoding or detect_encoding(data)
    try:
        text = data.decode(encoding, "surrogateescape")
    except LookupError:
        raise ListError(f"character set {encoding!r} is unknown") from None
    except UnicodeDecodeError as error:
        raise ListError(f"not {encoding}: octet {error.start}") from None
    text = text.removeprefix("\ufeff")
    separator = _separator(text)
    rows = _rows(text, separator)
    first = next((cells for _, cells in rows), None)
    if first is None:
        raise ListError("no header row")
    header = [cell.strip() for cell in first]
    seen = [field_key(cell) for cell in header if cell]
    for name in seen:
        if seen.count(name) > 1:
            raise ListError(f"two columns are called {name!r}")
    return Table(encoding, separator, header, rows)


def detect_encoding(data: bytes) -> str:
    """The character set of a list: its byte order mark, else UTF-8 if it holds, else what fits it best."""
    for bom, name in _BOMS:
        if data.startswith(bom):
            return name
    if b"\x1b$" in data:
        return "iso2022_jp"
    lines = data.splitlines()
    broken = sum(not _decodes(line, "utf-8") for line in lines)
    foreign = sum(not line.isascii() for line in lines)
    if b"\0" not in data and (not broken or broken <= max(1, _BAD_LINES_MAX * foreign) < foreign):
        return "utf-8"
    # Only here: it takes longer to import than most lists take to read.
    from charset_normalizer import from_bytes

    best = from_bytes(data[:_SAMPLE_OCTETS], cp_isolation=_ENCODINGS, steps=10).best()
    return best.encoding if best else "cp932"


def _decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _separator(text: str) -> str:
    """The separator that the header line has most of; a comma if none."""
    first = text.lstrip("\r\n").split("\n", 1)[0]
    return max(SEPARATORS, key=first.count)


def _rows(text: str, separator: str) -> Iterator[tuple[int, list[str] | None]]:
    """Rows with their numbers, blank ones left out. The number counts rows as a spreadsheet does."""
    lines = io.StringIO(text, newline="").readlines()
    start = number = 0
    while start < len(lines):
        number += 1
        if number > ROWS_MAX + 1:
            raise ListError(f"more than {ROWS_MAX} rows")
        reader = csv.reader(iter(lines[start : start + 1]), delimiter=separator, strict=True)
        taken = 1
        cells: list[str] | None
        try:
            cells = next(reader)
        except csv.Error:
            cells, taken = _row_of_lines(lines, start, separator)
        start += taken
        if cells is None or any(cell.strip() for cell in cells):
            yield number, cells


def _row_of_lines(lines: list[str], start: int, separator: str) -> tuple[list[str] | None, int]:
    """A row whose cells hold line ends: (cells, lines taken). None: its first line alone is to be refused."""
    reader = csv.reader(iter(lines[start : start + ROW_LINES_MAX]), delimiter=separator, strict=True)
    try:
        return next(reader), reader.line_num
    except csv.Error:
        return None, 1
