"""One machine drives the Redis store and the memory store with the same calls: the same replies, the same
state.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import Any, ClassVar

import hypothesis.strategies as st
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from todoke.engine.ledger.memory_store import MemoryStore
from todoke.engine.ledger.port import Command, Stage, StoreRefused
from todoke.engine.ledger.redis_store import RedisStore

STRINGS, LISTS, HASHES, SETS, STREAMS = (b"s1", b"s2"), (b"l1",), (b"h1", b"h2"), (b"z1",), (b"x1", b"x2")
ALL_KEYS = (*STRINGS, *LISTS, *HASHES, *SETS, *STREAMS)

EXAMPLES = int(os.environ.get("TODOKE_STORE_EXAMPLES", "40"))

any_key = st.sampled_from(ALL_KEYS)


def key_of(kind: tuple[bytes, ...]) -> st.SearchStrategy[bytes]:
    """Usually one of the kind, now and then one of another."""
    return st.one_of(*[st.sampled_from(kind)] * 9, any_key)


string, hash_, list_, zset, stream = map(key_of, (STRINGS, HASHES, LISTS, SETS, STREAMS))
word = st.sampled_from([b"a", b"b", b"c", b"", b"12", b"-3", b"007", "ä", 5, b"9223372036854775807"])
number = st.integers(-4, 4)
field = st.sampled_from([b"f1", b"f2", b"f3", "f4"])
member = st.sampled_from([b"m1", b"m2", b"m3"])
score = st.integers(-3, 3)
limit = st.sampled_from(["-inf", "+inf", -1, 0, 1, 2, "(0", "(1", "x"])
stream_id = st.sampled_from(["1-1", "1-2", "2-0", "2-1", "3", "5-*", "0-0", "6-*", "x", "7-7", "8-1", "9-1"])
known_id = st.sampled_from(["0", "0-0", "1-1", "1-2", "2-0", "2-1", "3", "3-0", "5-0", "5-1", "7-7", "9"])
bound = st.sampled_from(["-", "+", "(1-1", "1-1", "2", "(3-0", "7", "5-0"])
group = st.sampled_from([b"g1", b"g2"])
consumer = st.sampled_from([b"slot-1", b"slot-2"])
count = st.integers(0, 3)
optional_count = st.one_of(st.just(()), st.tuples(st.just("COUNT"), count))


def command(name: str, *arguments: st.SearchStrategy[Any] | str | int) -> st.SearchStrategy[Command]:
    """The command; an argument that draws a tuple or list stands for several."""
    drawn = [a if isinstance(a, st.SearchStrategy) else st.just(a) for a in arguments]

    def flat(values: tuple[Any, ...]) -> Command:
        words: list[Any] = [name]
        for value in values:
            words.extend(value) if isinstance(value, tuple | list) else words.append(value)
        return tuple(words)

    flat.__name__ = name  # how a failing example shows it
    return st.tuples(*drawn).map(flat)


def some(one: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(one, min_size=1, max_size=3)


def pairs(first: st.SearchStrategy[Any], second: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return some(st.tuples(first, second)).map(lambda found: [word for pair in found for word in pair])


def options(*choices: tuple[Any, ...]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.sampled_from([(), *choices])


GROUPS = st.one_of(
    command("XGROUP", "CREATE", stream, group, st.sampled_from(["0", "$", "1-1"]), options(("MKSTREAM",))),
    command("XGROUP", "DELCONSUMER", stream, group, consumer),
    command("XGROUP", "DESTROY", stream, group),
    command("XREADGROUP", "GROUP", group, consumer, optional_count, "STREAMS", stream, ">"),
    command("XREADGROUP", "GROUP", group, consumer, "STREAMS", "x1", "x2", ">", ">"),
    command("XREADGROUP", "GROUP", group, consumer, optional_count, "STREAMS", stream, known_id),
    command("XACK", stream, group, some(known_id)),
    command("XPENDING", stream, group),
    command("XPENDING", stream, group, bound, bound, count, options(("slot-1",))),
)
SET_OPTIONS = options(("NX",), ("XX",), ("GET",), ("EX", 100), ("NX", "PX", 90_000), ("KEEPTTL",), ("X",))
ZADD_OPTIONS = options(("NX",), ("XX",), ("GT",), ("LT", "CH"), ("CH",), ("XX", "NX"))
RANGE_OPTIONS = options(("WITHSCORES",), ("LIMIT", 1, 1), ("LIMIT", 0, -1), ("LIMIT", -1, 2))
XADD_OPTIONS = options(("NOMKSTREAM",), ("MAXLEN", 2), ("MINID", "=", "2-0"))
COMMANDS = st.one_of(
    command("GET", string),
    command("MGET", some(any_key)),
    command("SET", string, word, SET_OPTIONS),
    command("DEL", some(any_key)),
    command("UNLINK", some(any_key)),
    command("EXISTS", some(any_key)),
    command("INCR", string),
    command("INCRBY", string, word),
    command("DECRBY", string, number),
    command("EXPIRE", any_key, st.sampled_from([100, 0, -1, "x"])),
    command("PEXPIRE", any_key, 100_000),
    command("RPUSH", list_, some(word)),
    command("RPUSHX", list_, some(word)),
    command("LRANGE", list_, number, number),
    command("LLEN", list_),
    command("HSET", hash_, pairs(field, word)),
    command("HSETNX", hash_, field, word),
    command("HGET", hash_, field),
    command("HMGET", hash_, some(field)),
    command("HDEL", hash_, some(field)),
    command("HLEN", hash_),
    command("HEXISTS", hash_, field),
    command("HGETALL", hash_),
    command("HINCRBY", hash_, field, number),
    command("HSCAN", hash_, 0, options(("COUNT", 10))),
    command("ZADD", zset, ZADD_OPTIONS, pairs(score, member)),
    command("ZREM", zset, some(member)),
    command("ZRANGEBYSCORE", zset, limit, limit, RANGE_OPTIONS),
    command("ZCARD", zset),
    command("ZSCORE", zset, member),
    command("XADD", stream, XADD_OPTIONS, stream_id, pairs(field, word)),
    command("XLEN", stream),
    command("XDEL", stream, some(known_id)),
    command("XTRIM", stream, st.sampled_from([("MINID", "2-0"), ("MINID", "=", "3"), ("MAXLEN", 1)])),
    command("XRANGE", stream, bound, bound, optional_count),
    command("XREVRANGE", stream, bound, bound, optional_count),
    command("XREAD", optional_count, "STREAMS", stream, known_id),
    command("XREAD", "COUNT", 1, "STREAMS", "x1", "x2", known_id, known_id),
    command("NOSUCH", word),
    command("GET"),
)
commands = st.lists(st.one_of(COMMANDS, GROUPS), min_size=1, max_size=4)


def comparable(command: Command, reply: Any) -> Any:
    """A reply without what may differ: the order of a hash, the age of a pending entry."""
    name = str(command[0])
    if name == "HGETALL":
        return sorted(zip(reply[::2], reply[1::2], strict=True))
    if name == "HSCAN":
        return [reply[0], sorted(zip(reply[1][::2], reply[1][1::2], strict=True))]
    if name == "XPENDING" and len(command) > 3:
        return [[id_, owner, deliveries] for id_, owner, _, deliveries in reply]
    return reply


async def outcome(
    stage: Stage, kind: str, commands: Sequence[Command], watch: Sequence[bytes]
) -> tuple[Any, ...]:
    try:
        replies = await (stage.commit(commands) if kind == "commit" else stage.read(commands, watch))
    except StoreRefused as refusal:
        return "refused", refusal.code, refusal.partial
    if replies is None:
        return ("changed",)
    assert len(replies) == len(commands)
    return "done", [comparable(c, r) for c, r in zip(commands, replies, strict=True)]


async def state(stage: Stage) -> list[Any]:
    """Everything that is stored, read through the port."""
    found: list[Any] = []
    for kind, reading in (
        (STRINGS, "GET"), (LISTS, "LRANGE"), (HASHES, "HGETALL"), (SETS, "ZRANGEBYSCORE"), (STREAMS, "XRANGE")
    ):  # fmt: skip
        tail = {"LRANGE": (0, -1), "ZRANGEBYSCORE": ("-inf", "+inf", "WITHSCORES"), "XRANGE": ("-", "+")}
        for key in kind:
            commands: list[Command] = [(reading, key, *tail.get(reading, ()))]
            if reading == "XRANGE":
                commands += [("XPENDING", key, name, "-", "+", 99) for name in ("g1", "g2")]
            found += [key, [await outcome(stage, "read", [command], ()) for command in commands]]
    lives = await stage.read([("PTTL", key) for key in ALL_KEYS])
    return [*found, [min(life, 1) for life in lives]]


class Stores(RuleBasedStateMachine):
    portal: ClassVar[BlockingPortal]
    redis: ClassVar[tuple[Stage, Stage]]

    @initialize()
    def begin(self) -> None:
        store = MemoryStore(rng=random.Random(0))
        self.memory = store.stage("a"), store.stage("b")
        self.portal.call(self.redis[0].read, [("FLUSHALL",)])
        for stage in self.redis:
            self.portal.call(stage.unwatch)

    def both(self, which: int, kind: str, commands: Sequence[Command], watch: Sequence[bytes] = ()) -> None:
        expected = self.portal.call(outcome, self.redis[which], kind, commands, watch)
        assert self.portal.call(outcome, self.memory[which], kind, commands, watch) == expected

    @rule(which=st.integers(0, 1), commands=commands)
    def read(self, which: int, commands: list[Command]) -> None:
        self.both(which, "read", commands)

    @rule(which=st.integers(0, 1), commands=commands, watch=st.lists(any_key, min_size=1, max_size=2))
    def read_and_watch(self, which: int, commands: list[Command], watch: list[bytes]) -> None:
        self.both(which, "read", commands, watch)

    @rule(which=st.integers(0, 1), commands=commands)
    def commit(self, which: int, commands: list[Command]) -> None:
        self.both(which, "commit", commands)

    @rule(which=st.integers(0, 1))
    def unwatch(self, which: int) -> None:
        for stage in (self.redis[which], self.memory[which]):
            self.portal.call(stage.unwatch)

    @invariant()
    def same_state(self) -> None:
        if hasattr(self, "memory"):
            expected = self.portal.call(state, self.redis[1])
            assert self.portal.call(state, self.memory[1]) == expected


def test_both_stores_do_the_same(server: Any) -> None:
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(RedisStore(server.url)) as store,
    ):
        stages = portal.call(lambda: (store.stage("a"), store.stage("b")))
        machine = type("Machine", (Stores,), {"portal": portal, "redis": stages})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=30,
                deadline=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
            ),
        )
