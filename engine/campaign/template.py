"""Texts with merged fields: `{name}様 {amount}円` and a row of the list -> the text for one person. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Final

from .errors import EMPTY_FIELD, INVALID_TEMPLATE, UNKNOWN_FIELD, RowError

_PIECE: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def field_key(name: str) -> str:
    """The form in which column and field names are compared: width, case and outer spaces do not count."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


class Template:
    """A text with `{field}`s; `{{` and `}}` are braces. Raises `RowError` when it cannot be read."""

    def __init__(self, text: str, column: str = "text") -> None:
        self._column = column
        self._pieces: list[tuple[str, str | None]] = []
        """(literal, field that follows it), the last without a field."""
        literal, position = "", 0
        for found in _PIECE.finditer(text):
            literal += text[position : found.start()]
            position = found.end()
            token = found[0]
            if token in ("{{", "}}"):
                literal += token[0]
            elif len(token) == 1 or not token[1:-1].strip():
                raise RowError(
                    column, INVALID_TEMPLATE, f"{token!r} without a field name; write '{{{{' for a brace"
                )
            else:
                self._pieces.append((literal, field_key(found[1])))
                literal = ""
        self._pieces.append((literal + text[position:], None))

    @property
    def fields(self) -> list[str]:
        """The fields it needs, in order, once each."""
        return list(dict.fromkeys(name for _, name in self._pieces if name is not None))

    def fill(self, row: Mapping[str, str]) -> str:
        """The text with the fields of `row`, whose keys are as `field_key` makes them.

        Raises `RowError` for a field that is not there or is empty.
        """
        text = ""
        for literal, name in self._pieces:
            text += literal
            if name is None:
                continue
            if name not in row:
                raise RowError(self._column, UNKNOWN_FIELD, f"the list has no column {name!r}")
            if not row[name].strip():
                raise RowError(name, EMPTY_FIELD, "the text needs this field")
            text += row[name]
        return text
