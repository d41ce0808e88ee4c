"""Octets of a fuzzer -> choices, numbers and texts; whatever is missing reads as zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Octets:
    """A cursor over an input: choices are taken off its front, so that an edit moves little behind it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def octet(self) -> int:
        value = self._data[self._at] if self else 0
        self._at += 1
        return value

    def number(self, octets: int) -> int:
        return int.from_bytes(self.take(octets), "big")

    def choice(self, values: Sequence[T]) -> T:
        return values[self.octet() % len(values)]

    def take(self, octets: int) -> bytes:
        value = self._data[self._at : self._at + octets]
        self._at += octets
        return value

    def rest(self) -> bytes:
        return self.take(len(self._data))


def text_of(octets: Octets) -> str:
    """A text of any characters, lone surrogates too, spelled in one of four ways."""
    spelling = octets.octet() % 4
    data = octets.rest()
    if spelling == 0:
        return data.decode("latin-1")
    if spelling == 1:
        return data.decode("utf-8", "replace")
    if spelling == 2:
        return data.decode("utf-16-be", "surrogatepass" if len(data) % 2 == 0 else "replace")
    return "".join(COMMON[octet % len(COMMON)] for octet in data)


COMMON = (
    "aA0 \n\r@£Δ^{}[~]|€\\\féçÇşĞıΩ語日本あ　、😀👩\u200d\ufe0f\u0301"
    "\u1100\u1161\u11a8🇯🇵कि\u094d\u064f\u06d2\u0d4d\x1b\x00\ufeff"
)
"""Characters of every kind that a cut between parts or a choice of alphabet depends on."""
