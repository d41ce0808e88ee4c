"""Open a link: parse the URL, connect, introduce ourselves, and see that the server keeps its promises.

Everything is asked in one write, on every connection anew: a server may come back as another one, or as the
same with another configuration.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast
from urllib.parse import unquote, urlsplit

import anyio

from .port import Command, DurabilityError, StoreAddressError, StoreRefused, StoreUnavailable
from .redis_link import Link, LinkLost, ReplyError, pack

Durability = Literal["always", "relaxed"]

REDIS_OLDEST: Final = (7, 0)
"""AOF `always` answered before the fsync in some cases until Redis 7.0; XADD `ms-*` and multi-part AOF came
with it.
"""
VALKEY_OLDEST: Final = (8, 0)

SETTINGS_NEEDED: Final[Mapping[str, str]] = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",  # "yes" stops the fsyncs while the AOF is rewritten
    "maxmemory-policy": "noeviction",
}
_CLIENT_ID_OF_NOBODY: Final = 0x7FFF_FFFF_FFFF_FFFF


@dataclass(frozen=True)
class Address:
    """Where a server listens and how to introduce ourselves. `path` (Unix socket) or `host` and `port`."""

    path: str | None = None
    host: str = "localhost"
    port: int = 6379
    db: int = 0
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return self.path if self.path is not None else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Server:
    """What answered: `name` is "redis" or "valkey"; `run_id` changes with every start of the server."""

    name: str
    version: str
    run_id: str


def parse_url(url: str) -> Address:
    """redis://, rediss:// (TLS) or unix:// as the `redis` library reads them. Raises StoreAddressError.

    Query arguments: db; for rediss:// also ssl_ca_certs, ssl_certfile, ssl_keyfile, ssl_cert_reqs
    (none, optional, required = default), ssl_check_hostname (default yes).
    """
    parts = urlsplit(url)
    if parts.scheme == "unix" and not parts.path:
        raise StoreAddressError("unix:// needs the absolute path of a socket")
    if parts.scheme == "unix" and not parts.netloc and not parts.query:
        return Address(path=unquote(parts.path))  # the embedded server's; `import redis` alone takes 0.1 s
    import redis.connection

    try:
        found = cast("dict[str, Any]", dict(redis.connection.parse_url(url)))  # type: ignore[no-untyped-call]
    except ValueError as error:
        raise StoreAddressError(str(error)) from None
    tls = _tls_context(found) if parts.scheme == "rediss" else None
    found.pop("connection_class", None)
    known = {
        key: found.pop(key) for key in ("path", "host", "port", "db", "username", "password") if key in found
    }
    if found:
        raise StoreAddressError(f"unknown argument {', '.join(sorted(found))}; allowed: db, ssl_*")
    return Address(tls=tls, **known)


def _tls_context(found: dict[str, Any]) -> ssl.SSLContext:
    """Take the ssl_* arguments out of `found`."""
    try:
        context = ssl.create_default_context(cafile=found.pop("ssl_ca_certs", None))
        certificate = found.pop("ssl_certfile", None)
        key = found.pop("ssl_keyfile", None)
        if certificate:
            context.load_cert_chain(certificate, key)
    except OSError as error:
        raise StoreAddressError(f"TLS files: {error.strerror or type(error).__name__}") from None
    demanded = str(found.pop("ssl_cert_reqs", "required")).lower()
    modes = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
    if demanded not in modes:
        raise StoreAddressError(f"ssl_cert_reqs: {', '.join(modes)}")
    checked = str(found.pop("ssl_check_hostname", "true")).lower() in ("1", "true", "yes")
    context.check_hostname = checked and demanded != "none"
    context.verify_mode = modes[demanded]
    return context


async def connect(
    address: Address, name: str, durability: Durability, call_timeout_s: float, previous: Link | None = None
) -> tuple[Link, Server]:
    """A link that is ready for work. `previous`, the lost link it replaces, is first closed at the server's
    end too.

    Raises StoreUnavailable, StoreRefused (credentials, permissions), DurabilityError. `call_timeout_s`
    bounds the connecting and each of the (at most two) round trips.
    """
    loop = asyncio.get_running_loop()
    link = Link(call_timeout_s)
    try:
        with anyio.fail_after(call_timeout_s):
            if address.path is not None:
                await loop.create_unix_connection(lambda: link, address.path)
            else:
                await loop.create_connection(lambda: link, address.host, address.port, ssl=address.tls)
    except TimeoutError:
        raise StoreUnavailable(f"{address}: no connection within {call_timeout_s:g} s") from None
    except OSError as error:
        raise StoreUnavailable(f"{address}: {error.strerror or type(error).__name__}") from None
    try:
        server = await _introduce(link, address, name, durability)
        if previous is not None and previous.run_id == link.run_id:
            await _drop(link, previous.client_id)
    except LinkLost as error:
        raise StoreUnavailable(f"{address}: {error}") from None
    except BaseException:
        link.abort("handshake failed")
        raise
    return link, server


async def _introduce(link: Link, address: Address, name: str, durability: Durability) -> Server:
    commands: list[Command] = []
    if address.password is not None:
        user = () if address.username is None else (address.username,)
        commands.append(("AUTH", *user, address.password))
    if address.db:
        commands.append(("SELECT", address.db))
    first_named = len(commands)
    commands += [
        ("CLIENT", "SETNAME", name),
        ("CLIENT", "ID"),
        ("INFO", "server"),
        ("INFO", "persistence"),
        # Were MULTI alone forbidden, the commands behind it would run one by one; without CLIENT KILL a
        # lost write could still be executed after we asked for it. Better to learn of both now.
        ("MULTI",),
        ("EXEC",),
        ("CLIENT", "KILL", "ID", _CLIENT_ID_OF_NOBODY),
        ("CONFIG", "GET", *SETTINGS_NEEDED),
    ]
    replies = await link.call(b"".join(pack(command) for command in commands), len(commands))
    for reply in replies[: first_named + 3]:
        _raise_refusal(reply)
    _, client_id, about, persistence = replies[first_named : first_named + 4]
    facts = _facts(about)
    server = Server(
        name="valkey" if "valkey_version" in facts else "redis",
        version=facts.get("valkey_version") or facts.get("redis_version", "0"),
        run_id=facts.get("run_id", ""),
    )
    _check_version(server)
    for reply in replies[first_named + 3 : -1]:
        _raise_refusal(reply)
    if _facts(persistence).get("loading") == "1":
        raise StoreUnavailable(f"{address}: the server is still loading its data")
    if durability == "always":
        _check_settings(replies[-1])
    link.client_id = client_id
    link.run_id = server.run_id
    return server


async def _drop(link: Link, client_id: int) -> None:
    """Have the server close a connection we lost: what it had not yet read from it will never be executed."""
    replies = await link.call(pack(("CLIENT", "KILL", "ID", client_id)), 1)
    _raise_refusal(replies[0])


def _facts(info: bytes) -> dict[str, str]:
    """INFO's lines `name:value`."""
    lines = info.decode("utf-8", "replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))


def _check_version(server: Server) -> None:
    oldest = VALKEY_OLDEST if server.name == "valkey" else REDIS_OLDEST
    numbers = tuple(int(number) if number.isdigit() else 0 for number in server.version.split(".")[:2])
    if numbers < oldest:
        wanted = ".".join(map(str, oldest))
        raise DurabilityError(
            f"{server.name} {server.version} is too old: needs Redis >= 7.0 or Valkey >= 8 ({wanted})"
        )


def _check_settings(reply: Any) -> None:
    if isinstance(reply, ReplyError):
        raise DurabilityError(
            "the server does not let us read its configuration (CONFIG GET), so its durability cannot be "
            'verified; allow it, or set [redis] durability = "relaxed"'
        )
    found = {reply[i].decode(): reply[i + 1].decode() for i in range(0, len(reply), 2)}
    wrong = [
        f"{key} is {found.get(key, 'unknown')!r}, set {wanted!r}"
        for key, wanted in SETTINGS_NEEDED.items()
        if found.get(key) != wanted
    ]
    if wrong:
        raise DurabilityError(f'{"; ".join(wrong)}; or set [redis] durability = "relaxed" and accept losses')


def _raise_refusal(reply: Any) -> None:
    if isinstance(reply, ReplyError):
        code, _, detail = str(reply).partition(" ")
        raise StoreRefused(code, detail)
