"""What commands print: JSON a line, or plain lines for people."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from rich.console import Console

WIDTH_WITHOUT_TERMINAL = 160
"""Tables in a file or a pipe are not folded to 80 columns."""


def print_json(value: object) -> None:
    """One JSON value on a line of its own."""
    print(msgspec.json.encode(value).decode(), flush=True)


def print_fields(values: Mapping[str, Any]) -> None:
    """`name  value` a line; nested values as JSON."""
    width = max(map(len, values), default=0)
    for name, value in values.items():
        shown = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        print(f"{name:{width}}  {shown}")


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table for people; numbers to the right."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", title_style="bold")
    for index, name in enumerate(header):
        numeric = all(isinstance(row[index], int | float) or row[index] == "-" for row in rows)
        table.add_column(name, justify="right" if rows and numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    console().print(table)


def console(*, stderr: bool = False) -> Console:
    """A console as wide as its terminal, or wide enough for a file."""
    from rich.console import Console

    made = Console(stderr=stderr, highlight=False)
    if not made.is_terminal:
        made.width = WIDTH_WITHOUT_TERMINAL
    return made


@contextlib.contextmanager
def progress_bar(what: str, total: int, *, shown: bool) -> Generator[Callable[[int], None], None, None]:
    """A bar on standard error that the function given moves on; nothing unless `shown` and on a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    made = console(stderr=True)
    columns = (TextColumn("{task.description:10}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=made, disable=not (shown and made.is_terminal)) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.update(task, advance=count)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
