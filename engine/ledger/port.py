"""The store port: the few Redis commands every step of the ledger is written in, and how they may fail.

Two stores stand behind it and are held equal by one test: `redis_store` (Redis >= 7.0, Valkey >= 8) and
`memory_store` (plain Python, on any anyio back end, with crashes on demand). Nothing here does I/O.

A *stage* is one connection of its own, so its WATCHes are its own too. Three shapes of call are enough:

- `read`: an optional WATCH and plain commands, one write and one answer;
- `commit`: MULTI, commands, EXEC in one write. The answer comes after the fsync (`appendfsync always`).

- `commit_if`: the same while some keys still have the values that the caller believes in.

Errors, and what the caller does next::

    StoreError
     ├── StoreUnavailable    nothing was done: wait (`Stage.ready`), then repeat
     ├── OutcomeUnknown      a write was sent, its answer never came: ask on the SAME stage, then repeat
     ├── StoreRefused        the server answered with an error: `code` and `detail` say which, `partial`
     │                       whether other commands of the call took effect
     ├── DurabilityError     the server may forget what it acknowledged, or is too old: tell the operator
     └── StoreAddressError   the URL in the configuration is wrong

Why the same stage after OutcomeUnknown: the lost write may still lie unread in the server's socket. A
stage's new connection first has the server drop the old one, so a question asked on it is asked after the
last moment the lost write could have been executed. On another stage the question could overtake the write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

Argument = bytes | str | int
Command = tuple[Argument, ...]

PURE_READS = frozenset(
    {"EXISTS", "GET", "HEXISTS", "HGET", "HGETALL", "HLEN", "HMGET", "HSCAN", "LLEN", "LRANGE", "MGET"}
    | {"PTTL", "TTL", "XLEN", "XPENDING", "XRANGE", "XREAD", "XREVRANGE", "ZCARD"}
    | {"ZRANGEBYSCORE", "ZSCORE"}
)
"""The commands of the port that change nothing. XREADGROUP is not one: it moves entries to a pending list."""


class StoreError(Exception):
    """Whatever a store may raise."""


class StoreUnavailable(StoreError):
    """The store cannot be reached, or the connection fell before an effect was asked for: nothing was
    done.
    """


class OutcomeUnknown(StoreError):
    """A write was sent and its answer did not come: it was done, will never be done, or was lost with the
    server.
    """


class StoreRefused(StoreError):
    """The server answered with an error.

    `code` is its first word (OOM, READONLY, MISCONF, LOADING, WRONGTYPE, NOAUTH, ERR ...), `detail` the rest.

    `partial` False: nothing of this call took effect (refused while MULTI was collecting commands; or a
    call of pure reads). True: the server ran the call and one command of it failed; the others took effect,
    because MULTI has no rollback. After a commit that is a defect of the ledger (a key of the wrong type),
    not weather.
    """

    def __init__(self, code: str, detail: str, *, partial: bool = False) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail
        self.partial = partial

    def __str__(self) -> str:
        return f"{self.code} {self.detail}"


class DurabilityError(StoreError):
    """The server may forget what it acknowledged, or is older than the port needs; the text names what to
    set.
    """


class StoreAddressError(StoreError):
    """The URL of the store cannot be used; the text says why and holds no password."""


WATCH_LOST: Final = "the connection with the WATCH was lost"


class Stage(Protocol):
    """One connection and its WATCHes. Calls may overlap and are answered in order, but a `read` with
    `watch` and the `commit` it guards must not be mixed with other calls on the same stage: give that work
    its own."""

    async def ready(self) -> None:
        """Return once the stage is connected; wait for ever otherwise (the caller sets a deadline).

        Raises StoreUnavailable if the store was closed.
        """
        ...

    async def read(self, commands: Sequence[Command], watch: Sequence[bytes] = ()) -> list[Any]:
        """WATCH the keys (none: no WATCH), run the commands one after another, return their replies as
        bytes, int, list or None. Other clients may act between the commands; a WATCH covers what they touch.

        After a `read` that watched: `commit` or `unwatch`. If this call raises, nothing is watched any more;
        it does raise StoreUnavailable if it was to watch more and what was watched before is lost.
        Raises StoreUnavailable, StoreRefused, and OutcomeUnknown if a command was not a pure read
        (XREADGROUP).
        """
        ...

    async def commit(self, commands: Sequence[Command]) -> list[Any] | None:
        """Run the commands as one transaction and return their replies once they are on disk; None if a
        watched key was changed since it was read: nothing was done. Nothing is watched afterwards, however
        this ends.

        Raises StoreUnavailable (also if the connection with the WATCH was lost meanwhile), OutcomeUnknown,
        StoreRefused.
        """
        ...

    async def commit_if(self, holds: Mapping[bytes, bytes], commands: Sequence[Command]) -> list[Any] | None:
        """As `commit`, if every key of `holds` (at least one) has its value there; None: one has not, and
        nothing was done. Nothing may be watched on this stage when it is called.

        This is the fence: a step of whoever holds something is done only while it is held.
        """
        ...

    async def unwatch(self) -> None:
        """Forget what was watched. Raises StoreUnavailable; nothing is watched then either."""
        ...


class Store(Protocol):
    """A place where commits are durable. Opened by the concrete class, as an asynchronous context manager."""

    def stage(self, name: str) -> Stage:
        """A new stage; the name (letters, digits, `-_:.`) shows in the server's client list. It lives as
        long as the store.
        """
        ...

    async def wait(self, streams: dict[bytes, bytes], timeout_s: float) -> bool:
        """Wait until one of the streams has an entry after the id given for it: True; False after
        `timeout_s` seconds.

        Reads nothing into any group: no side effect. Raises StoreUnavailable, StoreRefused.
        """
        ...

    async def close(self) -> None:
        """Close every connection; calls in flight end as if it had been lost. May be called again."""
        ...


def is_pure_read(commands: Sequence[Command]) -> bool:
    """Whether none of the commands can have changed anything."""
    for command in commands:
        if command[0] not in PURE_READS and name_of(command) not in PURE_READS:
            return False
    return True


def name_of(command: Command) -> str:
    """The command's name in upper case."""
    name = command[0]
    return (name.decode("ascii", "replace") if isinstance(name, bytes) else str(name)).upper()
