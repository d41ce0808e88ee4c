"""The Redis store in bad weather: real servers killed, frozen and misconfigured, and a scripted one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import hiredis
import pytest
from todoke.engine.ledger import redis_link
from todoke.engine.ledger.port import (
    DurabilityError,
    OutcomeUnknown,
    StoreAddressError,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from todoke.engine.ledger.redis_connect import parse_url
from todoke.engine.ledger.redis_store import RedisStage, RedisStore

pytestmark = pytest.mark.anyio

DEADLINE_S = 10.0


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


async def result(call: Any) -> Any:
    """What the call returned, or the StoreError it raised."""
    try:
        return await call
    except StoreError as error:
        return error


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  it may be the state of another process
            await anyio.sleep(0.002)


async def in_flight(calls: dict[str, Any], then: Callable[[], object]) -> dict[str, Any]:
    """Start the calls, do something once they are sent, return what became of each."""
    results: dict[str, Any] = {}

    async def run(name: str, call: Any) -> None:
        results[name] = await result(call)

    with anyio.fail_after(DEADLINE_S):
        async with anyio.create_task_group() as tasks:
            for name, call in calls.items():
                tasks.start_soon(run, name, call)
            await anyio.wait_all_tasks_blocked()
            then()
    return results


@asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[tuple[RedisStore, RedisStage]]:
    async with RedisStore(url, rng=random.Random(1), **options) as store:
        stage = store.stage("test")
        yield store, stage


# Connections


async def test_a_call_right_after_stage_waits_for_its_first_connection(server: Any) -> None:
    async with opened(server.url) as (_, stage):
        assert await stage.commit([("SET", "k", 1), ("INCR", b"k")]) == [b"OK", 2]


async def test_overlapping_calls_get_their_own_replies(server: Any) -> None:
    async with opened(server.url) as (_, stage):
        await stage.ready()
        calls = {str(n): stage.read([("HSET", "h", n, n), ("HGET", "h", n)]) for n in range(50)}
        results = await in_flight(calls, lambda: None)
        assert results == {str(n): [1, b"%d" % n] for n in range(50)}


async def test_thousands_of_arguments_and_large_replies(server: Any) -> None:
    pairs = [word for n in range(20_000) for word in (f"field-{n}", b"x" * 100)]
    async with opened(server.url) as (_, stage):
        assert await stage.commit([("HSET", "h", *pairs)]) == [20_000]
        (found,) = await stage.read([("HMGET", "h", *pairs[::2])])
        assert found == [b"x" * 100] * 20_000


async def test_without_a_server_calls_fail_at_once_and_work_resumes_by_itself(server: Any) -> None:
    async with opened(server.url) as (store, stage):
        await stage.commit([("SET", "k", 1)])
        server.kill()
        await until(lambda: stage.link is None)
        with anyio.fail_after(0.1):
            assert isinstance(await result(stage.read([("GET", "k")])), StoreUnavailable)
            assert isinstance(await result(stage.commit([("INCR", "k")])), StoreUnavailable)
            assert isinstance(await result(store.wait({b"s": b"0"}, 5)), StoreUnavailable)
        server.start()
        with anyio.fail_after(DEADLINE_S):
            await stage.ready()
        assert await stage.read([("GET", "k")]) == [b"1"]
        assert store.statistics().lost == 1
        assert store.statistics().connected == 1


async def test_calls_in_flight_when_the_server_dies(server: Any) -> None:
    async with opened(server.url) as (_, stage):
        await stage.commit([("XGROUP", "CREATE", "s", "g", "0", "MKSTREAM")])
        server.freeze()
        take = ("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">")
        results = await in_flight(
            {
                "read": stage.read([("GET", "k")]),
                "take": stage.read([take]),
                "commit": stage.commit([("SET", "k", 1)]),
            },
            server.kill,
        )
        assert {name: type(found) for name, found in results.items()} == {
            "read": StoreUnavailable,
            "take": OutcomeUnknown,
            "commit": OutcomeUnknown,
        }


async def test_a_silent_server_is_given_up_and_later_found_again(server: Any) -> None:
    async with opened(server.url, call_timeout_s=0.15) as (_, stage):
        await stage.ready()
        server.freeze()
        with anyio.fail_after(1.0):
            assert isinstance(await result(stage.commit([("INCR", "k")])), OutcomeUnknown)
        assert stage.link is None
        server.thaw()
        with anyio.fail_after(DEADLINE_S):
            await stage.ready()
        (found,) = await stage.read([("GET", "k")])
        assert found in (None, b"1")
        assert await stage.read([("GET", "k")]) == [found]


async def test_a_cancelled_call_leaves_the_replies_of_others_in_order(server: Any) -> None:
    async with opened(server.url) as (_, stage):
        await stage.commit([("SET", "a", 1), ("SET", "b", 2)])
        server.freeze()
        with anyio.move_on_after(0.02):
            await stage.read([("GET", "a")], watch=[b"a"])
        with anyio.move_on_after(0.02):
            await stage.commit([("GET", "a")])
        results = await in_flight({"b": stage.read([("GET", "b")])}, server.thaw)
        assert results == {"b": [b"2"]}
        await stage.read([("SET", "a", 3)])
        assert await stage.commit([("GET", "a")]) == [b"3"]  # the cancelled WATCH is gone


async def test_too_many_calls_in_flight_are_refused(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_link, "CALLS_IN_FLIGHT_MAX", 2)
    async with opened(server.url) as (_, stage):
        await stage.ready()
        server.freeze()
        calls = {str(n): stage.commit([("INCR", "k")]) for n in range(3)}
        results = await in_flight(calls, server.thaw)
        assert sorted(type(found).__name__ for found in results.values()) == [
            "StoreUnavailable",
            "list",
            "list",
        ]


async def test_close_ends_every_call(server: Any) -> None:
    async with RedisStore(server.url) as store:
        stage, late = store.stage("a"), store.stage("b")
        await stage.ready()
        server.freeze()
        results: dict[str, Any] = {}

        async def run(name: str, call: Any) -> None:
            results[name] = await result(call)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, "commit", stage.commit([("SET", "k", 1)]))
            tasks.start_soon(run, "read", stage.read([("GET", "k")]))
            tasks.start_soon(run, "late", late.ready())
            await anyio.wait_all_tasks_blocked()
            await store.close()
        server.thaw()
        assert isinstance(results["commit"], OutcomeUnknown)
        assert isinstance(results["read"], StoreUnavailable)
        assert results["late"] is None or isinstance(results["late"], StoreUnavailable)
        for call in (stage.read([("GET", "k")]), stage.ready(), store.wait({b"s": b"0"}, 1)):
            assert isinstance(await result(call), StoreUnavailable)


async def test_an_error_in_the_body_passes_unchanged(server: Any) -> None:
    with pytest.raises(KeyError):
        async with opened(server.url):
            raise KeyError


# WATCH


async def test_a_commit_whose_watch_was_lost_with_its_connection_does_nothing(server: Any) -> None:
    async with opened(server.url) as (_, stage):
        await stage.read([("GET", "k")], watch=[b"k"])
        assert stage.link is not None
        server.ask(b"CLIENT KILL ID %d" % stage.link.client_id)
        await until(lambda: stage.lost == 1)
        await stage.ready()
        assert isinstance(await result(stage.commit([("SET", "k", 1)])), StoreUnavailable)
        assert await stage.read([("EXISTS", "k")]) == [0]
        assert await stage.commit([("SET", "k", 2)]) == [b"OK"]


async def test_watches_do_not_add_up_over_two_connections(server: Any) -> None:
    async with opened(server.url) as (_, stage):
        await stage.read([("GET", "k")], watch=[b"k"])
        assert stage.link is not None
        server.ask(b"CLIENT KILL ID %d" % stage.link.client_id)
        await until(lambda: stage.lost == 1)
        await stage.ready()
        assert isinstance(await result(stage.read([("GET", "l")], watch=[b"l"])), StoreUnavailable)
        assert await stage.read([("GET", "l")], watch=[b"l"]) == [None]
        assert await stage.commit([("SET", "k", 2)]) == [b"OK"]


@pytest.mark.parametrize("bad", [("LPUSHX", "k"), ("INCR", "k")], ids=["queue", "run"])
async def test_nothing_is_watched_after_a_refusal(server: Any, bad: Any) -> None:
    async with opened(server.url) as (_, stage):
        await stage.commit([("SET", "k", "text"), ("SET", "w", 1)])
        for call in (stage.read([bad], watch=[b"w"]), stage.commit([bad])):
            await stage.read([], watch=[b"w"])
            assert isinstance(await result(call), StoreRefused)
            await stage.read([("INCR", "w")])
            assert await stage.commit([("INCR", "w")]) is not None


# Refusals


async def test_out_of_memory_refuses_a_commit_whole(server: Any) -> None:
    async with opened(server.url) as (_, stage):
        await stage.commit([("SET", "k", 1)])
        server.ask(b"CONFIG SET maxmemory 1")
        refusal = await result(stage.commit([("GET", "k"), ("SET", "l", 1), ("SET", "m", 1)]))
        assert isinstance(refusal, StoreRefused)
        assert (refusal.code, refusal.partial) == ("OOM", False)
        assert await stage.read([("EXISTS", "l", "m")]) == [0]


async def test_a_replica_refuses_writes(server: Any) -> None:
    async with opened(server.url) as (_, stage):
        await stage.ready()
        server.ask(b"REPLICAOF 127.0.0.1 1")
        refusal = await result(stage.commit([("SET", "k", 1)]))
        assert isinstance(refusal, StoreRefused)
        assert (refusal.code, refusal.partial) == ("READONLY", False)


async def test_a_failing_command_does_not_undo_the_others(server: Any) -> None:
    async with opened(server.url) as (_, stage):
        refusal = await result(stage.commit([("SET", "k", 1), ("RPUSH", "k", 1), ("SET", "l", 2)]))
        assert isinstance(refusal, StoreRefused)
        assert (refusal.code, refusal.partial) == ("WRONGTYPE", True)
        assert await stage.read([("MGET", "k", "l")]) == [[b"1", b"2"]]


async def test_credentials(server: Any) -> None:
    server.ask(b"CONFIG SET requirepass s3cret")
    for url, code in ((server.url, "NOAUTH"), (server.url.replace("unix://", "unix://:wr0ng@"), "WRONGPASS")):
        with pytest.raises(StoreRefused) as caught:
            async with opened(url):
                pass
        assert caught.value.code == code
        assert "wr0ng" not in repr(caught.value)
    url = server.url.replace("unix://", "unix://:s3cret@")
    assert "s3cret" not in repr(parse_url(url))
    async with opened(url + "?db=3") as (_, stage), opened(url) as (_, other):
        await stage.commit([("SET", "k", 1)])
        assert await stage.read([("GET", "k")]) == [b"1"]
        assert await other.read([("GET", "k")]) == [None]


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        (("--appendonly", "no"), "appendonly"),
        (("--appendfsync", "everysec"), "appendfsync"),
        (("--no-appendfsync-on-rewrite", "yes"), "no-appendfsync-on-rewrite"),
        (("--maxmemory-policy", "allkeys-lru"), "maxmemory-policy"),
    ],
)
async def test_a_forgetful_server_is_refused(stopped_server: Any, setting: Any, named: str) -> None:
    stopped_server.start(*setting)
    with pytest.raises(DurabilityError, match=f"{named} is '"):
        async with opened(stopped_server.url):
            pass
    async with opened(stopped_server.url, durability="relaxed") as (_, stage):
        assert await stage.commit([("SET", "k", 1)]) == [b"OK"]


@pytest.mark.parametrize(
    "url",
    [
        "http://x",
        "unix://",
        "redis://h?nonsense=1",
        "rediss://h?ssl_cert_reqs=maybe",
        "rediss://h?ssl_ca_certs=/no/file",
    ],
)
def test_a_wrong_url(url: str) -> None:
    with pytest.raises(StoreAddressError):
        parse_url(url)


def test_urls() -> None:
    assert parse_url("unix:///run/a%20b.sock").path == "/run/a b.sock"
    address = parse_url("redis://user:p%40ss@host:7000/2")
    assert (address.host, address.port, address.db, address.tls) == ("host", 7000, 2, None)
    assert (address.username, address.password) == ("user", "p@ss")
    tls = parse_url("rediss://host").tls
    assert tls is not None
    assert tls.check_hostname


# wait


async def test_wait(server: Any) -> None:
    async with opened(server.url) as (store, stage):
        assert await store.wait({b"s": b"0-0", b"t": b"0-0"}, 0.01) is False
        assert await store.wait({b"s": b"0-0"}, 0) is False
        calls = {str(n): store.wait({b"s": b"0-0", b"t": b"5-0"}, DEADLINE_S) for n in range(3)}
        tasks: list[asyncio.Task[Any]] = []
        add = stage.commit([("XADD", "t", "5-0", "f", "v"), ("XADD", "t", "5-1", "f", "v")])
        results = await in_flight(calls, lambda: tasks.append(asyncio.ensure_future(add)))
        assert results == {"0": True, "1": True, "2": True}
        assert await tasks[0] == [b"5-0", b"5-1"]
        assert await store.wait({b"t": b"5-0"}, 0) is True
        with anyio.move_on_after(0.02) as scope:
            await store.wait({b"t": b"5-1"}, DEADLINE_S)
        assert scope.cancelled_caught
        assert await store.wait({b"t": b"5-1"}, 0.01) is False
        await stage.commit([("SET", "s", 1)])
        refusal = await result(store.wait({b"s": b"0-0"}, 1))
        assert isinstance(refusal, StoreRefused)
        results = await in_flight({"wait": store.wait({b"t": b"5-1"}, DEADLINE_S)}, server.kill)
        assert isinstance(results["wait"], StoreUnavailable)


# A scripted server


class Script:
    """A server that knows the handshake and what it is told to say; notes every command of every
    connection.
    """

    def __init__(self, **facts: str) -> None:
        self.facts = {"redis_version": "7.0.15", "run_id": "one", "loading": "0", **facts}
        self.said: list[list[Any]] = []
        self.answers: dict[bytes, bytes] = {}
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        commands: list[Any] = []
        self.said.append(commands)
        self.writers.append(writer)
        parser = hiredis.Reader()
        while data := await reader.read(65536):
            parser.feed(data)
            while (command := parser.gets()) is not False:
                commands.append(command)
                writer.write(self.answer(command, len(self.said)))
        writer.close()

    def answer(self, command: list[bytes], client_id: int) -> bytes:
        if command[0] in self.answers:
            return self.answers[command[0]]
        if command[:2] == [b"CLIENT", b"ID"]:
            return b":%d\r\n" % client_id
        if command[:2] == [b"CLIENT", b"KILL"]:
            return b":0\r\n"
        if command[0] == b"INFO":
            text = "".join(f"{name}:{value}\r\n" for name, value in self.facts.items()).encode()
            return b"$%d\r\n%s\r\n" % (len(text), text)
        if command[0] == b"CONFIG":
            return b"-NOPERM this user has no permissions to run the 'config|get' command\r\n"
        if command[0] == b"EXEC":
            return b"*0\r\n"
        return b"+OK\r\n"


@asynccontextmanager
async def scripted(path: Path, **facts: str) -> AsyncIterator[tuple[Script, str]]:
    script = Script(**facts)
    listener = await asyncio.start_unix_server(script.serve, path / "s")
    try:
        yield script, f"unix://{path / 's'}"
    finally:
        listener.close()
        for writer in script.writers:
            writer.close()


async def test_the_lost_connection_is_closed_at_the_servers_end_first(short_path: Path) -> None:
    async with scripted(short_path) as (script, url), opened(url, durability="relaxed") as (_, stage):
        await stage.ready()
        assert stage.link is not None
        lost_id = stage.link.client_id
        script.writers[-1].transport.abort()
        await until(lambda: stage.lost == 1)
        await stage.ready()
        await stage.read([("GET", "k")])
        assert script.said[-1][-2:] == [[b"CLIENT", b"KILL", b"ID", b"%d" % lost_id], [b"GET", b"k"]]
        script.facts["run_id"] = "two"  # the server was restarted: that number is somebody else's now
        script.writers[-1].transport.abort()
        await until(lambda: stage.lost == 2)
        await stage.ready()
        assert script.said[-1][-1][:2] != [b"CLIENT", b"KILL"]


@pytest.mark.parametrize(
    ("facts", "answers", "error"),
    [
        ({"redis_version": "6.2.14"}, {}, DurabilityError),
        ({"valkey_version": "7.2.5"}, {}, DurabilityError),
        ({"loading": "1"}, {}, StoreUnavailable),
        ({}, {b"MULTI": b"-NOPERM no MULTI for you\r\n"}, StoreRefused),
        ({}, {b"CLIENT": b"-NOPERM no CLIENT for you\r\n"}, StoreRefused),
        ({}, {b"INFO": b"HTTP/1.1 400 Bad Request\r\n"}, StoreUnavailable),
    ],
)
async def test_a_server_that_will_not_do(
    short_path: Path, facts: Any, answers: Any, error: type[StoreError]
) -> None:
    async with scripted(short_path, **facts) as (script, url):
        script.answers = answers
        with pytest.raises(error):
            async with opened(url, durability="relaxed"):
                pass


async def test_durability_that_cannot_be_seen_is_refused(short_path: Path) -> None:
    async with scripted(short_path) as (_, url):
        with pytest.raises(DurabilityError, match="CONFIG GET"):
            async with opened(url):
                pass


@pytest.mark.parametrize("noise", [b"+OK\r\n", b"garbage\r\n"], ids=["unasked", "garbage"])
async def test_what_nobody_asked_for_closes_the_connection(short_path: Path, noise: bytes) -> None:
    async with scripted(short_path) as (script, url), opened(url, durability="relaxed") as (_, stage):
        await stage.ready()
        script.writers[-1].write(noise)
        await until(lambda: stage.lost == 1)
        await stage.ready()
        assert await stage.read([("GET", "k")]) == [b"OK"]


async def test_replies_may_arrive_octet_by_octet(short_path: Path) -> None:
    async with scripted(short_path) as (script, url), opened(url, durability="relaxed") as (_, stage):
        await stage.ready()
        script.answers = {b"GET": b"", b"TTL": b""}
        task = asyncio.ensure_future(stage.read([("GET", "k"), ("TTL", "k")]))
        for octet in b"*2\r\n$3\r\nabc\r\n*-1\r\n:7\r\n":
            script.writers[-1].write(bytes([octet]))
            await anyio.lowlevel.checkpoint()
        assert await task == [[b"abc", None], 7]
