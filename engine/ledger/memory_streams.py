"""Streams and consumer groups of the memory store. Pure; see memory_commands."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from typing import Any, Final

from .memory_data import Database
from .port import StoreRefused

Id = tuple[int, int]

_PART_MAX: Final = 2**64 - 1
_LOWEST: Final[Id] = (0, 0)
_HIGHEST: Final[Id] = (_PART_MAX, _PART_MAX)
NODE_ENTRIES: Final = 100
"""Redis trims with `~` by whole nodes of this many entries."""


class Group:
    """A consumer group: pending entries as id -> [consumer, delivered at (ms), deliveries]."""

    __slots__ = ("consumers", "last", "pending")

    def __init__(self, last: Id) -> None:
        self.last = last
        self.pending: dict[Id, list[Any]] = {}
        self.consumers: set[bytes] = set()

    def copy(self) -> Group:
        new = Group(self.last)
        new.pending = {id_: list(entry) for id_, entry in self.pending.items()}
        new.consumers = set(self.consumers)
        return new


class Stream:
    """Entries in the order of their ids. Stays when it becomes empty, unlike every other value."""

    __slots__ = ("entries", "groups", "last", "order")

    def __init__(self) -> None:
        self.last: Id = _LOWEST
        self.entries: dict[Id, list[bytes]] = {}
        self.order: list[Id] = []
        self.groups: dict[bytes, Group] = {}

    def between(self, first: Id, last: Id, count: int | None) -> list[Id]:
        start, end = bisect_left(self.order, first), bisect_right(self.order, last)
        return self.order[start : end if count is None else min(end, start + count)]

    def trim(self, number: int) -> int:
        """Remove the oldest entries."""
        for id_ in self.order[:number]:
            del self.entries[id_]
        del self.order[:number]
        return number

    def copy(self) -> Stream:
        new = Stream()
        new.last = self.last
        new.entries = dict(self.entries)
        new.order = list(self.order)
        new.groups = {name: group.copy() for name, group in self.groups.items()}
        return new


def _text(id_: Id) -> bytes:
    return b"%d-%d" % id_


def _id(word: bytes, missing: int) -> Id:
    """`ms` or `ms-seq`; `missing` is the seq of an id without one. Raises StoreRefused."""
    ms, dash, seq = word.partition(b"-")
    if not ms.isdigit() or (dash and not seq.isdigit()):
        raise StoreRefused("ERR", "Invalid stream ID specified as stream command argument")
    found = int(ms), int(seq) if dash else missing
    if max(found) > _PART_MAX:
        raise StoreRefused("ERR", "Invalid stream ID specified as stream command argument")
    return found


def _next(id_: Id) -> Id:
    return (id_[0], id_[1] + 1) if id_[1] < _PART_MAX else (id_[0] + 1, 0)


def _range(first: bytes, last: bytes) -> tuple[Id, Id]:
    """`-`, `+`, an id, or `(`id for an excluded one."""
    low, high = _edge(first, 0), _edge(last, _PART_MAX)
    if first[:1] == b"(":
        low = _next(low)
    if last[:1] == b"(":
        high = (high[0], high[1] - 1) if high[1] else (high[0] - 1, _PART_MAX)
    return low, high


def _edge(word: bytes, missing: int) -> Id:
    if word in (b"-", b"+"):
        return _LOWEST if word == b"-" else _HIGHEST
    return _id(word.removeprefix(b"("), missing)


def _number(word: bytes) -> int:
    if not word.removeprefix(b"-").isdigit():
        raise StoreRefused("ERR", "value is not an integer or out of range")
    return int(word)


def _stream(db: Database, key: bytes) -> Stream | None:
    found: Stream | None = db.get(key, Stream)
    return found


def _group(db: Database, key: bytes, name: bytes, command: str) -> tuple[Stream, Group]:
    stream = _stream(db, key)
    group = None if stream is None else stream.groups.get(name)
    if stream is None or group is None:
        where = f"No such key '{key.decode()}' or consumer group '{name.decode()}'"
        raise StoreRefused(
            "NOGROUP", where + (" in XREADGROUP with GROUP option" if command == "XREADGROUP" else "")
        )
    return stream, group


def _entry(stream: Stream, id_: Id) -> list[Any]:
    fields = stream.entries.get(id_)
    return [_text(id_), None if fields is None else list(fields)]


# Writing


def _trimming(options: list[bytes]) -> Callable[[Stream], int]:
    """`MAXLEN [=|~] n` or `MINID [=|~] id`, all of `options`. Returns how many entries are to go."""
    strategy = options[0].upper()
    about = len(options) > 2 and options[1] in (b"~", b"=")
    if len(options) != (3 if about else 2) or strategy not in (b"MAXLEN", b"MINID"):
        raise StoreRefused("ERR", "syntax error")
    nodes = about and options[1] == b"~"
    word = options[-1]
    if strategy == b"MAXLEN":
        length = _number(word)
        if length < 0:
            raise StoreRefused("ERR", "The MAXLEN argument must be >= 0.")

        def surplus(stream: Stream) -> int:
            return max(0, len(stream.order) - length)

    else:
        lowest = _id(word, 0)

        def surplus(stream: Stream) -> int:
            return bisect_left(stream.order, lowest)

    return (lambda stream: surplus(stream) // NODE_ENTRIES * NODE_ENTRIES) if nodes else surplus


def _xadd(db: Database, args: list[bytes]) -> Any:
    key, at, make, trimming = args[0], 1, True, None
    while at < len(args):
        option = args[at].upper()
        if option == b"NOMKSTREAM":
            make, at = False, at + 1
        elif option in (b"MAXLEN", b"MINID"):
            length = 3 if args[at + 1 : at + 2] in ([b"~"], [b"="]) else 2
            trimming, at = _trimming(args[at : at + length]), at + length
        else:
            break
    wanted, fields = args[at : at + 1], args[at + 1 :]
    if not wanted or not fields or len(fields) % 2:
        raise StoreRefused("ERR", "wrong number of arguments for 'xadd' command")
    if wanted[0] != b"*":
        _id(wanted[0].removesuffix(b"-*"), 0)  # its form is judged before the key is looked at
    stream = _stream(db, key)
    last = _LOWEST if stream is None else stream.last
    id_ = _new_id(wanted[0], last, db.now_ms)
    if stream is None and not make:
        return None
    if id_ == _LOWEST:
        raise StoreRefused("ERR", "The ID specified in XADD must be greater than 0-0")
    if id_ <= last:
        detail = "The ID specified in XADD is equal or smaller than the target stream top item"
        raise StoreRefused("ERR", detail)
    stream = db.get_or_make(key, Stream)
    stream.entries[id_] = fields
    stream.order.append(id_)
    stream.last = id_
    if trimming is not None:
        stream.trim(trimming(stream))
    db.touched(key)
    return _text(id_)


def _new_id(word: bytes, last: Id, now_ms: int) -> Id:
    if word == b"*":
        return (now_ms, 0) if now_ms > last[0] else _next(last)
    if word.endswith(b"-*"):
        ms = _id(word[:-2], 0)[0]
        return (ms, last[1] + 1 if ms == last[0] else 0)
    return _id(word, 0)


def _xtrim(db: Database, args: list[bytes]) -> Any:
    trimming = _trimming(args[1:])
    stream = _stream(db, args[0])
    removed = 0 if stream is None else stream.trim(trimming(stream))
    if removed:
        db.touched(args[0])
    return removed


def _xdel(db: Database, args: list[bytes]) -> Any:
    ids = [_id(word, 0) for word in args[1:]]
    stream = _stream(db, args[0])
    removed = 0
    for id_ in ids if stream is not None else ():
        assert stream is not None
        if stream.entries.pop(id_, None) is not None:
            del stream.order[bisect_left(stream.order, id_)]
            removed += 1
    if removed:
        db.touched(args[0])
    return removed


# Reading


def _xlen(db: Database, args: list[bytes]) -> Any:
    stream = _stream(db, args[0])
    return 0 if stream is None else len(stream.order)


def _xrange(db: Database, args: list[bytes]) -> Any:
    low, high = _range(args[1], args[2])
    count = _range_count(args)
    stream = _stream(db, args[0])
    if stream is None:
        return []
    return [_entry(stream, id_) for id_ in stream.between(low, high, count)]


def _xrevrange(db: Database, args: list[bytes]) -> Any:
    low, high = _range(args[2], args[1])
    count = _range_count(args)
    stream = _stream(db, args[0])
    if stream is None:
        return []
    return [_entry(stream, id_) for id_ in stream.between(low, high, None)[::-1][:count]]


def _range_count(args: list[bytes]) -> int | None:
    if len(args) == 3:
        return None
    if len(args) != 5 or args[3].upper() != b"COUNT":
        raise StoreRefused("ERR", "syntax error")
    return max(0, _number(args[4]))


def _streams(words: Iterator[bytes]) -> list[tuple[bytes, bytes]]:
    """What follows STREAMS: keys, then as many ids."""
    rest = list(words)
    if not rest or len(rest) % 2:
        raise StoreRefused("ERR", "Unbalanced list of streams: for each stream key an ID must be specified.")
    half = len(rest) // 2
    return list(zip(rest[:half], rest[half:], strict=True))


def _xread(db: Database, args: list[bytes]) -> Any:
    words = iter(args)
    count: int | None = None
    for option in map(bytes.upper, words):
        if option == b"COUNT":
            count = _number(next(words, b"")) or None
        elif option == b"STREAMS":
            break
        else:
            raise StoreRefused("ERR", "syntax error")
    found: list[Any] = []
    for key, after in [(key, _id(word, 0)) for key, word in _streams(words)]:
        stream = _stream(db, key)
        ids = [] if stream is None else stream.between(_next(after), _HIGHEST, count)
        if stream is not None and ids:
            found.append([key, [_entry(stream, id_) for id_ in ids]])
    return found or None


# Groups


def _xgroup(db: Database, args: list[bytes]) -> Any:
    action, rest = args[0].upper(), args[1:]
    numbers: dict[bytes, tuple[int, ...]] = {b"CREATE": (3, 4), b"DESTROY": (2,), b"DELCONSUMER": (3,)}
    if len(rest) not in numbers.get(action, ()):
        raise StoreRefused("ERR", "syntax error")
    if action == b"CREATE":
        return _create_group(db, rest)
    stream = _stream(db, rest[0])
    if stream is None:
        raise StoreRefused("ERR", "The XGROUP subcommand requires the key to exist.")
    if action == b"DESTROY":
        if stream.groups.pop(rest[1], None) is None:
            return 0
        db.touched(rest[0])
        return 1
    _, group = _group(db, rest[0], rest[1], "XGROUP")
    mine = [id_ for id_, entry in group.pending.items() if entry[0] == rest[2]]
    for id_ in mine:
        del group.pending[id_]
    if rest[2] in group.consumers:
        group.consumers.discard(rest[2])
        db.touched(rest[0])
    return len(mine)


def _create_group(db: Database, args: list[bytes]) -> Any:
    key, name, start = args[:3]
    stream = _stream(db, key)
    if args[3:] and args[3].upper() != b"MKSTREAM":
        raise StoreRefused("ERR", "syntax error")
    if stream is None and not args[3:]:
        raise StoreRefused("ERR", "The XGROUP subcommand requires the key to exist.")
    last = (stream.last if stream else _LOWEST) if start == b"$" else _id(start, 0)
    stream = db.get_or_make(key, Stream)
    if name in stream.groups:
        raise StoreRefused("BUSYGROUP", "Consumer Group name already exists")
    stream.groups[name] = Group(last)
    db.touched(key)
    return b"OK"


def _xreadgroup(db: Database, args: list[bytes]) -> Any:
    words = iter(args)
    if next(words).upper() != b"GROUP":
        raise StoreRefused("ERR", "syntax error")
    name, consumer = next(words), next(words, b"")
    count: int | None = None
    for option in map(bytes.upper, words):
        if option == b"COUNT":
            count = _number(next(words, b"")) or None
        elif option == b"STREAMS":
            break
        else:
            raise StoreRefused("ERR", "syntax error")
    wanted = [
        (key, *_group(db, key, name, "XREADGROUP"), None if word == b">" else _id(word, 0))
        for key, word in _streams(words)
    ]
    found: list[Any] = []
    for key, stream, group, after in wanted:
        group.consumers.add(consumer)
        if after is None:
            entries = _deliver(db, stream, group, consumer, count)
        else:
            entries = _redeliver(db, stream, group, consumer, after, count)
        if entries or after is not None:
            found.append([key, entries])
    return found or None


def _deliver(db: Database, stream: Stream, group: Group, consumer: bytes, count: int | None) -> list[Any]:
    """Entries nobody of the group has seen."""
    ids = stream.between(_next(group.last), _HIGHEST, count)
    for id_ in ids:
        group.pending[id_] = [consumer, db.now_ms, 1]
    if ids:
        group.last = ids[-1]
    return [_entry(stream, id_) for id_ in ids]


def _redeliver(
    db: Database, stream: Stream, group: Group, consumer: bytes, after: Id, count: int | None
) -> list[Any]:
    """The consumer's own pending entries; one that was deleted meanwhile comes without fields."""
    mine = sorted(id_ for id_, entry in group.pending.items() if entry[0] == consumer and id_ > after)
    for id_ in mine[:count]:
        if id_ in stream.entries:
            group.pending[id_][1] = db.now_ms
            group.pending[id_][2] += 1
    return [_entry(stream, id_) for id_ in mine[:count]]


def _xack(db: Database, args: list[bytes]) -> Any:
    ids = [_id(word, 0) for word in args[2:]]
    stream = _stream(db, args[0])
    group = None if stream is None else stream.groups.get(args[1])
    return 0 if group is None else sum(group.pending.pop(id_, None) is not None for id_ in ids)


def _xpending(db: Database, args: list[bytes]) -> Any:
    idle_ms = 0
    if len(args) == 2:
        return _xpending_summary(_group(db, args[0], args[1], "XPENDING")[1])
    rest = args[2:]
    if rest[0].upper() == b"IDLE":
        idle_ms, rest = _number(rest[1]), rest[2:]
    if len(rest) not in (3, 4):
        raise StoreRefused("ERR", "syntax error")
    low, high = _range(rest[0], rest[1])
    count = max(0, _number(rest[2]))
    _, group = _group(db, args[0], args[1], "XPENDING")
    found = [
        [_text(id_), entry[0], db.now_ms - entry[1], entry[2]]
        for id_, entry in sorted(group.pending.items())
        if low <= id_ <= high and db.now_ms - entry[1] >= idle_ms and (len(rest) == 3 or entry[0] == rest[3])
    ]
    return found[:count]


def _xpending_summary(group: Group) -> Any:
    if not group.pending:
        return [0, None, None, None]
    owners = sorted(entry[0] for entry in group.pending.values())
    counts = {owner: owners.count(owner) for owner in dict.fromkeys(owners)}
    return [
        len(owners),
        _text(min(group.pending)),
        _text(max(group.pending)),
        [[owner, b"%d" % count] for owner, count in counts.items()],
    ]


STREAM_COMMANDS: Final[dict[str, tuple[Callable[[Database, list[bytes]], Any], int, int]]] = {
    "XADD": (_xadd, 4, 1),
    "XTRIM": (_xtrim, 3, 1),
    "XDEL": (_xdel, 2, 1),
    "XLEN": (_xlen, 1, 0),
    "XRANGE": (_xrange, 3, 1),
    "XREVRANGE": (_xrevrange, 3, 1),
    "XREAD": (_xread, 3, 1),
    "XGROUP": (_xgroup, 2, 1),
    "XREADGROUP": (_xreadgroup, 6, 1),
    "XACK": (_xack, 3, 1),
    "XPENDING": (_xpending, 2, 1),
}
