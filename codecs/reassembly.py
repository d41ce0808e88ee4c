"""The parts of subscribers' long messages -> whole messages, whatever order they come in.

Pure: time is an argument (seconds, of any one clock; after a restart it must not have begun anew), and what
is held is data (`state`), so that whoever keeps the parts durably can rebuild an assembler, or add the parts
again: a part that was added before changes nothing.

Parts belong together by both addresses, the reference with its width, and the total (3GPP TS 23.040 section
9.2.3.24.1). Nothing is dropped: a message that will not become whole, because its reference began another
one, its time is over or a limit was reached, is told with what there is of it.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from itertools import groupby
from typing import Final, NamedTuple

import msgspec

from . import inbound
from .inbound import Inbound
from .udh import Ports

PART_COST_OCTETS: Final = 1_000
"""What a part counts for `octets_max` beside its octets: the objects around them, at most."""
_DIGEST_OCTETS: Final = 16

_encode = msgspec.msgpack.Encoder().encode


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """`ttl_s`: how long a message waits for its next missing part. A handset that loses coverage, or is
    switched off, between two parts sends the rest when it is back, and an SMSC keeps parts while this end is
    away; a day covers both, and is less than a handset needs to come round to an 8-bit reference.

    `repeat_s`: how long a part that was told is known, and ignored if the SMSC delivers it again because our
    answer was lost. `told_max`: how many of them are known; the longest known is forgotten first.

    `series_per_sender_max`, `series_max`, `octets_max`: unfinished messages held for one sender, in all, and
    octets of their parts (with PART_COST_OCTETS each). Where one is exceeded, the message that has waited
    longest (of that sender, or of all) is told as it is.

    Raises ValueError for a limit that is not positive.
    """

    ttl_s: float = 86_400.0
    repeat_s: float = 3_600.0
    told_max: int = 100_000
    series_per_sender_max: int = 16
    series_max: int = 10_000
    octets_max: int = 64 << 20

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0")


class Key(NamedTuple):
    """What parts of one message have in common."""

    source_addr: str
    destination_addr: str
    reference: int
    reference_bits: int
    total: int


class Series(msgspec.Struct):
    """One unfinished message: its parts by number, and when the last one came."""

    key: Key
    parts: dict[int, Inbound]
    touched: float

    def __repr__(self) -> str:
        """Without addresses and text."""
        return f"Series(total={self.key.total}, numbers={sorted(self.parts)})"


class State(msgspec.Struct):
    """All an assembler knows, oldest first: what `Assembler(limits, state)` goes on from."""

    series: list[Series] = []
    told: list[tuple[bytes, float]] = []


class Whole(msgspec.Struct, frozen=True):
    """One message. `missing` names the parts that never came; () if it is complete.

    `text` is None if a part is binary; `data` is the octets of the parts one after the other either way.
    `parts` are what there is, in order; `ports` and `message_class` are the first part's.
    """

    source_addr: str
    destination_addr: str
    text: str | None
    data: bytes
    total: int
    missing: tuple[int, ...]
    parts: tuple[Inbound, ...]

    @property
    def ports(self) -> Ports | None:
        return self.parts[0].ports

    @property
    def message_class(self) -> int | None:
        return self.parts[0].message_class

    def __repr__(self) -> str:
        """Without addresses and text."""
        return f"Whole(octets={len(self.data)}, total={self.total}, missing={self.missing})"


class Assembler:
    """Give it every part with `add`, and call `expire` at `next_deadline`."""

    def __init__(self, limits: Limits | None = None, state: State | None = None) -> None:
        self._limits = limits or Limits()
        state = state or State()
        self._now = max((series.touched for series in state.series), default=0.0)
        # All in the order of waiting: the first is the oldest.
        self._series: OrderedDict[Key, Series] = OrderedDict()
        self._of_sender: dict[str, OrderedDict[Key, None]] = {}
        self._octets = 0
        self._told: OrderedDict[bytes, float] = OrderedDict(state.told)
        for series in state.series:
            self._open(Series(series.key, dict(series.parts), series.touched))

    def state(self) -> State:
        """A copy of all that is known."""
        series = [Series(one.key, dict(one.parts), one.touched) for one in self._series.values()]
        return State(series, list(self._told.items()))

    def __len__(self) -> int:
        """Unfinished messages."""
        return len(self._series)

    @property
    def octets(self) -> int:
        """What `octets_max` limits."""
        return self._octets

    def next_deadline(self) -> float | None:
        """When `expire` will next have something to tell, None if nothing is unfinished."""
        for series in self._series.values():
            return series.touched + self._limits.ttl_s
        return None

    def add(self, part: Inbound, now: float) -> list[Whole]:
        """The messages this part completes or ends, in the order in which they are over.

        A part of another content under a number that is taken begins a new message, and the old one is told
        as it is: what comes later is the new one's. A part that was added before is ignored, for `repeat_s`
        after its message was told.
        """
        self._advance(now)
        if part.concat is None:
            return [_whole(part.source_addr, part.destination_addr, 1, {1: part})]
        reference, total, number = part.concat
        key = Key(part.source_addr, part.destination_addr, reference, part.reference_bits, total)
        if _digest(key, number, part) in self._told:
            return []
        done: list[Whole] = []
        series = self._series.get(key)
        if series and number in series.parts:
            if _content(series.parts[number]) == _content(part):
                return []
            done.append(self._tell(key))
            series = None
        parts = self._close(key).parts if series else {}
        parts[number] = part
        self._open(Series(key, parts, self._now))
        if len(parts) == total:
            done.append(self._tell(key))
        return done + self._within_limits(part.source_addr)

    def expire(self, now: float) -> list[Whole]:
        """The messages whose time is over, oldest first; and parts told long ago are forgotten."""
        self._advance(now)
        done: list[Whole] = []
        while (deadline := self.next_deadline()) is not None and deadline <= self._now:
            done.append(self._tell(next(iter(self._series))))
        return done

    def _advance(self, now: float) -> None:
        """A clock that was set back must not turn the order of waiting round."""
        self._now = max(self._now, now)
        while self._told and next(iter(self._told.values())) + self._limits.repeat_s <= self._now:
            self._told.popitem(last=False)

    def _within_limits(self, source_addr: str) -> list[Whole]:
        limits = self._limits
        done: list[Whole] = []
        while len(self._of_sender.get(source_addr, ())) > limits.series_per_sender_max:
            done.append(self._tell(next(iter(self._of_sender[source_addr]))))
        while len(self._series) > limits.series_max or self._octets > limits.octets_max:
            done.append(self._tell(next(iter(self._series))))
        return done

    def _open(self, series: Series) -> None:
        """Put it last in the order of waiting."""
        self._series[series.key] = series
        self._of_sender.setdefault(series.key.source_addr, OrderedDict())[series.key] = None
        self._octets += _cost(series)

    def _close(self, key: Key) -> Series:
        series = self._series.pop(key)
        of_sender = self._of_sender[key.source_addr]
        del of_sender[key]
        if not of_sender:
            del self._of_sender[key.source_addr]
        self._octets -= _cost(series)
        return series

    def _tell(self, key: Key) -> Whole:
        parts = self._close(key).parts
        for number, part in parts.items():
            self._told[_digest(key, number, part)] = self._now
        while len(self._told) > self._limits.told_max:
            self._told.popitem(last=False)
        return _whole(key.source_addr, key.destination_addr, key.total, parts)


def _cost(series: Series) -> int:
    return sum(len(part.data) + len(part.header) + PART_COST_OCTETS for part in series.parts.values())


def _content(part: Inbound) -> tuple[int, bytes, bytes]:
    return part.data_coding, part.header, part.data


def _digest(key: Key, number: int, part: Inbound) -> bytes:
    return blake2b(_encode((key, number, _content(part))), digest_size=_DIGEST_OCTETS).digest()


def _whole(source_addr: str, destination_addr: str, total: int, parts: dict[int, Inbound]) -> Whole:
    ordered = sorted(parts.items())
    return Whole(
        source_addr,
        destination_addr,
        _text(ordered),
        b"".join(part.data for _, part in ordered),
        total,
        tuple(number for number in range(1, total + 1) if number not in parts),
        tuple(part for _, part in ordered),
    )


def _text(ordered: list[tuple[int, Inbound]]) -> str | None:
    """Octets of neighbours in the same alphabet and tables are decoded together: senders tear surrogate and
    escape pairs.
    """
    texts: list[str] = []
    for _, group in groupby(enumerate(ordered), _writing):
        run = [part for _, (_, part) in group]
        text, _alphabet = inbound.decode(_joined(run), run[0])
        if text is None:
            return None
        texts.append(text)
    return "".join(texts)


def _writing(place: tuple[int, tuple[int, Inbound]]) -> tuple[int, str, int, int, bool]:
    """The same for neighbours (no part missing between them) that are written in the same way."""
    index, (number, part) = place
    return number - index, part.claimed, part.locking, part.single, part.packed


def _joined(run: list[Inbound]) -> bytes:
    pieces: list[bytes] = []
    for part in reversed(run):
        pieces.append(inbound.units(part, pieces[-1] if pieces else b""))
    return b"".join(reversed(pieces))
