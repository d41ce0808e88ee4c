"""Two processes on one store, each with a way to it that can be unplugged, slowed down and listened to."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import trio
import trio.testing
from todoke.engine.config import Config
from todoke.engine.ledger.memory_store import MemoryStore
from todoke.engine.ledger.port import Command, StoreUnavailable
from todoke_tests_kit import WALL_S, FakeBind, House, Machine, node_config

LEASE_S = 10.0

Call = tuple[str, list[Command]]
"""The stage's name, and what it asked."""


class Cable:
    """One process's way to the store, which can be unplugged."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.unplugged = False
        self.calls: list[Call] = []
        """Every call that was made."""
        self.before: Callable[[str, list[Command]], Awaitable[None]] | None = None
        """Awaited before a call is carried out."""
        self.after: Callable[[str, list[Command]], Awaitable[None]] | None = None
        """Awaited before its answer is given."""

    def stage(self, name: str) -> CableStage:
        return CableStage(self, name, self._store.stage(name))

    async def wait(self, streams: dict[bytes, bytes], timeout_s: float) -> bool:
        await self.look("wait", [("XREAD", *streams)])
        return await self._store.wait(streams, timeout_s)

    async def look(self, name: str, commands: Sequence[Command]) -> None:
        self.calls.append((name, list(commands)))
        if self.before is not None:
            await self.before(name, list(commands))
        if self.unplugged:
            raise StoreUnavailable("unplugged")

    async def answer(self, name: str, commands: Sequence[Command]) -> None:
        if self.after is not None:
            await self.after(name, list(commands))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class CableStage:
    def __init__(self, cable: Cable, name: str, stage: Any) -> None:
        self._cable = cable
        self._name = name
        self._stage = stage

    async def ready(self) -> None:
        await self._stage.ready()

    async def read(self, commands: Sequence[Command], watch: Sequence[bytes] = ()) -> list[Any]:
        await self._cable.look(self._name, commands)
        replies = list(await self._stage.read(commands, watch))
        await self._cable.answer(self._name, commands)
        return replies

    async def commit(self, commands: Sequence[Command]) -> Any:
        await self._cable.look(self._name, commands)
        replies = await self._stage.commit(commands)
        await self._cable.answer(self._name, commands)
        return replies

    async def commit_if(self, holds: Mapping[bytes, bytes], commands: Sequence[Command]) -> Any:
        await self._cable.look(self._name, commands)
        replies = await self._stage.commit_if(holds, commands)
        await self._cable.answer(self._name, commands)
        return replies

    async def unwatch(self) -> None:
        await self._stage.unwatch()


Tale = Callable[[House, House], Awaitable[None]]


def play(
    tale: Tale,
    *others: dict[str, Any],
    one_machine: bool = False,
    config: Config | None = None,
    **settings: Any,
) -> None:
    """Two processes on one store; the first is open when the tale begins, the second is not.

    `settings` of the first carrier, `others` those of further ones; or a `config`.
    """
    config = config or node_config({"lease_s": LEASE_S, "window": 4, **settings}, *others)

    async def main() -> None:
        store = MemoryStore(rng=random.Random(1), wall=lambda: WALL_S + trio.current_time())
        machine = Machine()
        async with trio.open_nursery() as nursery:
            houses = [
                House(config, Cable(store), nursery, machine if one_machine else Machine())  # type: ignore[arg-type]  # all that an engine asks
                for _ in range(2)
            ]
            await houses[0].open()
            await tale(houses[0], houses[1])
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def cable(house: House) -> Cable:
    way: Any = house.store
    assert isinstance(way, Cable)
    return way


def held(house: House) -> list[int]:
    return list(house.carrier().slots.held)


def sent(*binds: FakeBind) -> list[str]:
    return sorted(each.text for bind in binds for each in bind.seen)
