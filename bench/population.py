"""The handsets behind the simulated network: which are gone, which are away and for how long. Pure.

What a handset is follows from a seed and its number alone. So every simulated SMSC knows the same handsets,
in whatever order it is asked, and an audit can say what could be delivered without asking any of them.
"""

from __future__ import annotations

from typing import Final, NamedTuple
from zlib import crc32

SHARES: Final = 1 << 32
AWAY_LEAST: Final = 0.5
"""A handset that is away stays so for at least this part of the longest absence."""


class Handset(NamedTuple):
    """`gone`: no message ever reaches it. `away_s`: seconds that a message to it waits at the SMSC."""

    gone: bool = False
    away_s: float = 0.0


THERE: Final = Handset()


class Population:
    """All handsets of one seed; `gone` and `away` are shares (0 to 1), `away_s` the longest absence."""

    def __init__(self, seed: int, gone: float, away: float, away_s: float) -> None:
        self._seed = crc32(b"%d" % seed)
        self._gone = gone
        self._away = gone + away
        self._away_s = away_s
        self.all_there = not (gone or away)

    def handset(self, number: bytes) -> Handset:
        """The handset with this number (digits)."""
        share = _mixed(crc32(number, self._seed)) / SHARES
        if share >= self._away:
            return THERE
        if share < self._gone:
            return Handset(gone=True)
        part = (share - self._gone) / (self._away - self._gone)
        return Handset(away_s=self._away_s * (AWAY_LEAST + (1 - AWAY_LEAST) * part))


def _mixed(bits: int) -> int:
    """CRC-32 of numbers that differ in one digit differ in few patterns: spread them (multiply, fold)."""
    bits = (bits ^ bits >> 16) * 0x45D9F3B & 0xFFFFFFFF
    bits = (bits ^ bits >> 16) * 0x45D9F3B & 0xFFFFFFFF
    return bits ^ bits >> 16
