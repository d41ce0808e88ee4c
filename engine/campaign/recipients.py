"""A list of recipients -> messages to submit, and the rows that cannot be sent, each with its reason. Pure.

Columns are known by English and Japanese names; every column is also a field that texts can merge. A wrong
row is refused alone. The same file with the same text gives the same references, so that sending it again
after a crash sends nothing twice.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from ..messages import Lane, SubmitMessage
from .errors import (
    COLUMNS,
    DUPLICATE_ROW,
    INVALID_LANE,
    INVALID_TIME,
    MISSING,
    QUOTES,
    UNDECODABLE,
    ListError,
    RowError,
)
from .numbers import REGION_DEFAULT, international, is_region
from .table import Table, read_table
from .template import Template, field_key

COLUMN_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "to": (
        "to", "宛先", "宛先番号", "送信先", "電話番号", "携帯電話番号", "携帯番号", "携帯電話", "携帯",
        "電話", "tel", "phone", "phone number", "phone_number", "mobile", "msisdn", "number",
    ),
    "text": ("text", "本文", "メッセージ", "文面", "内容", "message", "body"),
    "from": ("from", "送信元", "発信者番号", "発信元", "送信者", "sender"),
    "ref": ("ref", "参照番号", "管理番号", "整理番号", "reference"),
    "at": ("at", "送信日時", "予約日時", "配信日時", "send at", "send_at"),
    "expires": ("expires", "送信期限", "配信期限"),
    "carrier": ("carrier", "キャリア", "携帯会社", "通信会社"),
    "lane": ("lane", "優先度", "優先"),
    "tags": ("tags", "タグ"),
}  # fmt: skip
"""What a column may be called; width and case do not count."""

LANES: Final[dict[str, Lane]] = {
    "urgent": "urgent",
    "緊急": "urgent",
    "normal": "normal",
    "通常": "normal",
    "bulk": "bulk",
    "一括": "bulk",
}
ZONE_DEFAULT: Final = "Asia/Tokyo"
_BY_NAME: Final = {field_key(name): key for key, names in COLUMN_NAMES.items() for name in names}
_TIME: Final = re.compile(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})[T ]+(\d{1,2}):(\d{2})(?::(\d{2}))?")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller adds to a list."""

    text: str | None = None
    """Template for every row; None: the list's own text column."""
    sender: str = ""
    carrier: str | None = None
    lane: Lane = "normal"
    campaign: str | None = None
    region: str = REGION_DEFAULT
    zone: str = ZONE_DEFAULT
    """Zone of times written without one."""
    encoding: str | None = None
    receipt: bool = True
    again: str = ""
    """Mixed into the references: another value sends the same list once more."""


class Row(msgspec.Struct):
    """A row that can be submitted."""

    number: int
    message: SubmitMessage


class RefusedRow(msgspec.Struct):
    """A row that cannot be sent: where, and why. The value itself is not repeated."""

    row: int
    column: str
    code: str
    detail: str


class Recipients(msgspec.Struct):
    """A list that was read: the rows to submit and the rows refused, both in the order of the list."""

    encoding: str
    columns: dict[str, str]
    """Field of the message -> the column's name in the list."""
    rows: list[Row]
    refused: list[RefusedRow]


def read_recipients(data: bytes, options: Options | None = None) -> Recipients:
    """Read a list. Raises `ListError` when it cannot be used as a whole."""
    options = options or Options()
    _check_options(options)
    table = read_table(data, options.encoding)
    columns = _columns(table, options)
    template = _list_template(options, table)
    digest = hashlib.sha256(
        b"\0".join([data, (options.text or "").encode("utf-8", "replace"), options.again.encode()])
    )
    reader = _RowReader(table.header, columns, template, options, digest.hexdigest()[:16])
    rows: list[Row] = []
    refused: list[RefusedRow] = []
    for number, cells in table.rows:
        try:
            rows.append(reader.read(number, cells))
        except RowError as error:
            refused.append(RefusedRow(number, error.column, error.code, error.detail))
    names = {field: table.header[index] for field, index in columns.items()}
    return Recipients(table.encoding, names, rows, refused)


def _check_options(options: Options) -> None:
    if not is_region(options.region):
        raise ListError(f"region {options.region!r} is unknown; a two-letter code such as JP is allowed")
    try:
        ZoneInfo(options.zone)
    except (ValueError, OSError, KeyError):
        raise ListError(f"zone {options.zone!r} is unknown; a name such as Asia/Tokyo is allowed") from None


def _columns(table: Table, options: Options) -> dict[str, int]:
    """Field of the message -> index of its column. Raises `ListError`."""
    columns: dict[str, int] = {}
    for index, name in enumerate(table.header):
        field = _BY_NAME.get(field_key(name))
        if field is None:
            continue
        if field in columns:
            raise ListError(f"two columns for {field!r}: {table.header[columns[field]]!r} and {name!r}")
        columns[field] = index
    if "to" not in columns:
        raise ListError("no column with the numbers; it may be called to, 宛先, 電話番号, phone ...")
    if "text" not in columns and options.text is None:
        raise ListError("no column with the texts (text, 本文 ...), and no text given for all rows")
    return columns


def _list_template(options: Options, table: Table) -> Template | None:
    """The template for all rows; what is wrong with it is wrong with the whole list. Raises `ListError`."""
    if options.text is None:
        return None
    try:
        template = Template(options.text)
    except RowError as error:
        raise ListError(f"text: {error.detail}") from None
    known = {field_key(name) for name in table.header}
    for name in template.fields:
        if name not in known:
            raise ListError(f"text: the list has no column {name!r}; it has {', '.join(table.header)}")
    return template


class _RowReader:
    """Turns cells into messages, remembering what came before to find duplicates."""

    def __init__(
        self,
        header: list[str],
        columns: dict[str, int],
        template: Template | None,
        options: Options,
        digest: str,
    ) -> None:
        self._header = header
        self._keys = [field_key(name) for name in header]
        self._columns = columns
        self._template = template
        self._options = options
        self._digest = digest
        self._seen: dict[tuple[str, str], int] = {}

    def read(self, number: int, cells: list[str] | None) -> Row:
        """One row as a message. Raises `RowError`."""
        if cells is None:
            raise RowError("", QUOTES, "a quotation mark that is not closed, or text after a closing one")
        if len(cells) > len(self._header) and any(cell.strip() for cell in cells[len(self._header) :]):
            raise RowError("", COLUMNS, f"{len(cells)} cells under {len(self._header)} columns")
        cells = [*cells, *[""] * (len(self._header) - len(cells))]
        for name, cell in zip(self._header, cells, strict=False):
            if any("\ud800" <= char <= "\udfff" for char in cell):
                raise RowError(name, UNDECODABLE, "octets that are no character of the list's character set")
        options = self._options
        to = international(self._cell(cells, "to"), options.region, self._name("to"))
        text = self._text(cells)
        first = self._seen.setdefault((to, text), number)
        if first != number:
            raise RowError(self._name("to"), DUPLICATE_ROW, f"the same number and text as row {first}")
        tags = [tag.strip() for tag in re.split("[,、;]", self._cell(cells, "tags")) if tag.strip()]
        message = SubmitMessage(
            to=to,
            text=text,
            from_=self._cell(cells, "from") or options.sender,
            ref=self._cell(cells, "ref") or f"{self._digest}-{number}",
            at=self._time(cells, "at"),
            expires=self._time(cells, "expires"),
            lane=self._lane(cells),
            carrier=self._cell(cells, "carrier") or options.carrier,
            tags=tags or None,
            receipt=options.receipt,
            campaign=options.campaign,
        )
        return Row(number, message)

    def _cell(self, cells: list[str], field: str) -> str:
        index = self._columns.get(field)
        return cells[index].strip() if index is not None else ""

    def _name(self, field: str) -> str:
        index = self._columns.get(field)
        return self._header[index] if index is not None else field

    def _text(self, cells: list[str]) -> str:
        if self._template is not None:
            template = self._template
        else:
            written = cells[self._columns["text"]]
            if not written.strip():
                raise RowError(self._name("text"), MISSING, "no text")
            template = Template(written, self._name("text"))
        return template.fill(dict(zip(self._keys, cells, strict=False))).replace("\r\n", "\n")

    def _lane(self, cells: list[str]) -> Lane:
        written = field_key(self._cell(cells, "lane")) or self._options.lane
        if written not in LANES:
            raise RowError(self._name("lane"), INVALID_LANE, f"allowed: {', '.join(LANES)}")
        return LANES[written]

    def _time(self, cells: list[str], field: str) -> str | None:
        return time_of(self._cell(cells, field), self._options.zone, self._name(field))


def time_of(text: str, zone: str, column: str) -> str | None:
    """A time as people or programs write it, with its zone; None for an empty one. Raises `RowError`."""
    written = field_key(text).upper()
    if not written:
        return None
    found = _TIME.fullmatch(written)
    try:
        if found:
            year, month, day, hour, minute, second = (int(part or 0) for part in found.groups())
            moment = datetime(year, month, day, hour, minute, second, tzinfo=ZoneInfo(zone))
        else:
            moment = datetime.fromisoformat(written)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise RowError(column, INVALID_TIME, "not a time such as 2026-11-21 10:00")
    return moment.isoformat()
