"""The commands of the store port over a Database: what Redis does, in plain Python. Pure.

`execute` gives the replies hiredis would give, and raises StoreRefused where Redis answers with an error.
Kept equal to real servers by the machine in tests/engine/ledger/test_store_machine.py. A command or an
option the ledger does not use is refused, not guessed.
"""

from __future__ import annotations

import re
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from math import inf
from typing import Any, Final

from .memory_data import Database, SortedSet
from .memory_streams import STREAM_COMMANDS
from .port import Command, StoreRefused

HASH_SCAN_WHOLE_MAX: Final = 512
"""Fields up to which HSCAN gives a hash in one reply; a larger one comes in HASH_SCAN_STEPS replies."""
HASH_SCAN_STEPS: Final = 16

_INTEGER: Final = re.compile(rb"0|-?[1-9][0-9]{0,18}")
_INT64_MAX: Final = 2**63 - 1


Function = Callable[[Database, list[bytes]], Any]
Prepared = tuple[Function, list[bytes]]
"""What runs a command, and its arguments."""


def execute(db: Database, command: Command, now_ms: int) -> Any:
    """Run one command at this time (milliseconds since 1970) and return its reply.

    Raises StoreRefused, having done nothing.
    """
    db.advance(now_ms)
    words = words_of(command)
    return function_of(words)(db, words[1:])


def prepared(command: Command) -> Prepared:
    """The command read once, to be run where and as often as it is wanted. Raises StoreRefused."""
    words = words_of(command)
    function = function_of(words)
    del words[0]
    return function, words


def words_of(command: Command) -> list[bytes]:
    """The command's words as Redis receives them."""
    return [
        word if isinstance(word, bytes) else word.encode() if isinstance(word, str) else str(word).encode()
        for word in command
    ]


def function_of(words: list[bytes]) -> Function:
    """What runs this command. Raises StoreRefused if it is unknown or has the wrong number of arguments."""
    entry = _by_name.get(words[0])
    if entry is None:
        name = words[0].upper().decode("ascii", "replace")
        entry = COMMANDS.get(name)
        if entry is None:
            raise StoreRefused(
                "ERR", f"unknown command '{name}' (the memory store has only what the ledger uses)"
            )
    function, fewest, step = entry
    count = len(words) - 1
    if count < fewest or (step == 0 and count != fewest) or (step > 1 and (count - fewest) % step):
        name = words[0].upper().decode("ascii", "replace")
        raise StoreRefused("ERR", f"wrong number of arguments for '{name.lower()}' command")
    return function


def _integer(word: bytes) -> int:
    if _INTEGER.fullmatch(word):
        number = int(word)
        if -_INT64_MAX - 1 <= number <= _INT64_MAX:
            return number
    raise StoreRefused("ERR", "value is not an integer or out of range")


# Strings and keys


def _get(db: Database, args: list[bytes]) -> Any:
    return db.get(args[0], bytes)


def _mget(db: Database, args: list[bytes]) -> Any:
    found = [db.values.get(key) for key in args]
    return [value if value.__class__ is bytes else None for value in found]


def _set(db: Database, args: list[bytes]) -> Any:
    key, value = args[0], args[1]
    only: bytes | None = None
    keep_ttl = give_old = False
    at_ms: int | None = None
    options = iter(args[2:])
    for option in map(bytes.upper, options):
        if option in (b"NX", b"XX") and only is None:
            only = option
        elif option == b"GET":
            give_old = True
        elif option == b"KEEPTTL" and at_ms is None:
            keep_ttl = True
        elif option in (b"EX", b"PX") and at_ms is None and not keep_ttl:
            length = _integer(next(options, b""))
            if length <= 0:
                raise StoreRefused("ERR", "invalid expire time in 'set' command")
            at_ms = db.now_ms + length * (1000 if option == b"EX" else 1)
        else:
            raise StoreRefused("ERR", "syntax error")
    old = db.get(key, bytes) if give_old else None
    if only is not None and (key in db.values) != (only == b"XX"):
        return old
    db.values[key] = value
    if not keep_ttl:
        db.expires_ms.pop(key, None)
    if at_ms is not None:
        db.expire_at(key, at_ms)
    db.touched(key)
    return old if give_old else b"OK"


def _delete(db: Database, args: list[bytes]) -> Any:
    return sum(db.remove(key) for key in args)


def _exists(db: Database, args: list[bytes]) -> Any:
    return sum(key in db.values for key in args)


def _add_to(db: Database, key: bytes, amount: int) -> int:
    old = db.get(key, bytes)
    number = (0 if old is None else _integer(old)) + amount
    if not -_INT64_MAX - 1 <= number <= _INT64_MAX:
        raise StoreRefused("ERR", "increment or decrement would overflow")
    db.values[key] = b"%d" % number
    db.touched(key)
    return number


def _incr(db: Database, args: list[bytes]) -> Any:
    return _add_to(db, args[0], 1)


def _incrby(db: Database, args: list[bytes]) -> Any:
    return _add_to(db, args[0], _integer(args[1]))


def _decrby(db: Database, args: list[bytes]) -> Any:
    return _add_to(db, args[0], -_integer(args[1]))


def _expire_in(db: Database, key: bytes, length_ms: int) -> int:
    if key not in db.values:
        return 0
    if length_ms <= 0:
        db.remove(key)
    else:
        db.expire_at(key, db.now_ms + length_ms)
        db.touched(key)
    return 1


def _expire(db: Database, args: list[bytes]) -> Any:
    return _expire_in(db, args[0], _integer(args[1]) * 1000)


def _pexpire(db: Database, args: list[bytes]) -> Any:
    return _expire_in(db, args[0], _integer(args[1]))


def _pttl(db: Database, args: list[bytes]) -> Any:
    if args[0] not in db.values:
        return -2
    at_ms = db.expires_ms.get(args[0])
    return -1 if at_ms is None else at_ms - db.now_ms


def _ttl(db: Database, args: list[bytes]) -> Any:
    left_ms = _pttl(db, args)
    return left_ms if left_ms < 0 else (left_ms + 500) // 1000


# Lists


def _values(db: Database, key: bytes) -> list[bytes]:
    """The list, or an empty one that is not stored."""
    found: list[bytes] | None = db.get(key, list)
    return [] if found is None else found


def _rpush(db: Database, args: list[bytes]) -> Any:
    values: list[bytes] = db.get_or_make(args[0], list)
    values.extend(args[1:])
    db.touched(args[0])
    return len(values)


def _rpushx(db: Database, args: list[bytes]) -> Any:
    return 0 if db.get(args[0], list) is None else _rpush(db, args)


def _lrange(db: Database, args: list[bytes]) -> Any:
    first, last = _integer(args[1]), _integer(args[2])
    values = _values(db, args[0])
    if first < 0:
        first = max(0, first + len(values))
    if last < 0:
        last += len(values)
    return values[first : max(0, last + 1)]


def _llen(db: Database, args: list[bytes]) -> Any:
    return len(_values(db, args[0]))


# Hashes


def _fields(db: Database, key: bytes) -> dict[bytes, bytes]:
    """The hash, or an empty one that is not stored."""
    found: dict[bytes, bytes] | None = db.get(key, dict)
    return {} if found is None else found


def _hset(db: Database, args: list[bytes]) -> Any:
    fields: dict[bytes, bytes] = db.get_or_make(args[0], dict)
    before = len(fields)
    fields.update(zip(args[1::2], args[2::2], strict=True))
    db.touched(args[0])
    return len(fields) - before


def _hsetnx(db: Database, args: list[bytes]) -> Any:
    if args[1] in _fields(db, args[0]):
        return 0
    return _hset(db, args)


def _hget(db: Database, args: list[bytes]) -> Any:
    return _fields(db, args[0]).get(args[1])


def _hmget(db: Database, args: list[bytes]) -> Any:
    get = _fields(db, args[0]).get
    return [get(field) for field in args[1:]]


def _hdel(db: Database, args: list[bytes]) -> Any:
    fields = _fields(db, args[0])
    removed = sum(fields.pop(field, None) is not None for field in args[1:])
    if removed:
        db.changed(args[0], fields)
    return removed


def _hlen(db: Database, args: list[bytes]) -> Any:
    return len(_fields(db, args[0]))


def _hexists(db: Database, args: list[bytes]) -> Any:
    return int(args[1] in _fields(db, args[0]))


def _hgetall(db: Database, args: list[bytes]) -> Any:
    return [word for pair in _fields(db, args[0]).items() for word in pair]


def _hincrby(db: Database, args: list[bytes]) -> Any:
    old = _hget(db, args)
    if old is not None and not _INTEGER.fullmatch(old):
        raise StoreRefused("ERR", "hash value is not an integer")
    number = int(old or 0) + _integer(args[2])
    if not -_INT64_MAX - 1 <= number <= _INT64_MAX:
        raise StoreRefused("ERR", "increment or decrement would overflow")
    _hset(db, [args[0], args[1], b"%d" % number])
    return number


def _hscan(db: Database, args: list[bytes]) -> Any:
    """Redis promises that a field present from the first to the last reply is given at least once. Here a
    large hash comes in a fixed number of shares, chosen by a checksum of the field, so that no state has to
    be kept."""
    if not args[1].isdigit():
        raise StoreRefused("ERR", "invalid cursor")
    if len(args) > 2 and (len(args) != 4 or args[2].upper() != b"COUNT"):
        raise StoreRefused("ERR", "syntax error")
    share = int(args[1])
    fields = _fields(db, args[0])
    if share == 0 and len(fields) <= HASH_SCAN_WHOLE_MAX:
        return [b"0", _hgetall(db, args)]
    words = [
        word for pair in fields.items() if zlib.crc32(pair[0]) % HASH_SCAN_STEPS == share for word in pair
    ]
    return [b"%d" % ((share + 1) % HASH_SCAN_STEPS), words]


# Sorted sets


def _score(word: bytes) -> float:
    if not _INTEGER.fullmatch(word):
        raise StoreRefused("ERR", "value is not a valid float (the memory store takes whole numbers)")
    return float(word)


def _zadd(db: Database, args: list[bytes]) -> Any:
    options: set[bytes] = set()
    start = 1
    while start < len(args) and args[start].upper() in (b"NX", b"XX", b"GT", b"LT", b"CH"):
        options.add(args[start].upper())
        start += 1
    pairs = args[start:]
    exclusive = len(options & {b"NX", b"GT", b"LT"}) > 1 or {b"NX", b"XX"} <= options
    if not pairs or len(pairs) % 2 or exclusive:
        raise StoreRefused("ERR", "syntax error")
    new = [(_score(pairs[i]), pairs[i + 1]) for i in range(0, len(pairs), 2)]
    members = db.get(args[0], SortedSet)
    if members is None:
        if b"XX" in options:
            return 0
        members = db.get_or_make(args[0], SortedSet)
    added = updated = 0
    for score, member in new:
        old = members.scores.get(member)
        if old is None:
            if b"XX" in options:
                continue
            added += 1
        elif (
            b"NX" in options
            or score == old
            or (b"GT" in options and score < old)
            or (b"LT" in options and score > old)
        ):
            continue
        else:
            updated += 1
        members.put(member, score)
    if added or updated:
        db.touched(args[0])
    return added + updated if b"CH" in options else added


def _zrem(db: Database, args: list[bytes]) -> Any:
    members = db.get(args[0], SortedSet)
    removed = 0 if members is None else sum(members.drop(member) for member in args[1:])
    if removed:
        db.changed(args[0], members)
    return removed


def _bound(word: bytes) -> tuple[float, bool]:
    """A limit of a range of scores and whether it is excluded."""
    excluded = word[:1] == b"("
    if excluded:
        word = word[1:]
    lowered = word.lower()
    if lowered in (b"-inf", b"+inf", b"inf"):
        return (-inf if lowered == b"-inf" else inf), excluded
    if not _INTEGER.fullmatch(word):
        raise StoreRefused("ERR", "min or max is not a float")
    return float(word), excluded


def _zrangebyscore(db: Database, args: list[bytes]) -> Any:
    (low, without_low), (high, without_high) = _bound(args[1]), _bound(args[2])
    with_scores, offset, count = False, 0, -1
    options = iter(args[3:])
    for option in map(bytes.upper, options):
        if option == b"WITHSCORES":
            with_scores = True
        elif option == b"LIMIT":
            offset, count = _integer(next(options, b"")), _integer(next(options, b""))
        else:
            raise StoreRefused("ERR", "syntax error")
    members = db.get(args[0], SortedSet)
    if members is None or offset < 0:
        return []
    order = members.order
    start = _after_score(order, low) if without_low else bisect_left(order, (low, b""))
    end = bisect_left(order, (high, b"")) if without_high else _after_score(order, high)
    found = order[start:end][offset:]
    if count >= 0:
        found = found[:count]
    if with_scores:
        return [word for score, member in found for word in (member, b"%d" % score)]
    return [member for _, member in found]


def _after_score(order: list[tuple[float, bytes]], score: float) -> int:
    return bisect_right(order, score, key=lambda pair: pair[0])


def _zcard(db: Database, args: list[bytes]) -> Any:
    members = db.get(args[0], SortedSet)
    return 0 if members is None else len(members)


def _zscore(db: Database, args: list[bytes]) -> Any:
    members = db.get(args[0], SortedSet)
    score = None if members is None else members.scores.get(args[1])
    return None if score is None else b"%d" % score


COMMANDS: Final[dict[str, tuple[Function, int, int]]] = {
    # name: (function, fewest arguments, step of further ones: 0 none, 1 any, 2 in pairs)
    "GET": (_get, 1, 0),
    "MGET": (_mget, 1, 1),
    "SET": (_set, 2, 1),
    "DEL": (_delete, 1, 1),
    "UNLINK": (_delete, 1, 1),
    "EXISTS": (_exists, 1, 1),
    "INCR": (_incr, 1, 0),
    "INCRBY": (_incrby, 2, 0),
    "DECRBY": (_decrby, 2, 0),
    "EXPIRE": (_expire, 2, 0),
    "PEXPIRE": (_pexpire, 2, 0),
    "TTL": (_ttl, 1, 0),
    "PTTL": (_pttl, 1, 0),
    "RPUSH": (_rpush, 2, 1),
    "RPUSHX": (_rpushx, 2, 1),
    "LRANGE": (_lrange, 3, 0),
    "LLEN": (_llen, 1, 0),
    "HSET": (_hset, 3, 2),
    "HSETNX": (_hsetnx, 3, 0),
    "HGET": (_hget, 2, 0),
    "HMGET": (_hmget, 2, 1),
    "HDEL": (_hdel, 2, 1),
    "HLEN": (_hlen, 1, 0),
    "HEXISTS": (_hexists, 2, 0),
    "HGETALL": (_hgetall, 1, 0),
    "HINCRBY": (_hincrby, 3, 0),
    "HSCAN": (_hscan, 2, 1),
    "ZADD": (_zadd, 3, 1),
    "ZREM": (_zrem, 2, 1),
    "ZRANGEBYSCORE": (_zrangebyscore, 3, 1),
    "ZCARD": (_zcard, 1, 0),
    "ZSCORE": (_zscore, 2, 0),
    **STREAM_COMMANDS,
}

_by_name: Final = {name.encode(): entry for name, entry in COMMANDS.items()}
