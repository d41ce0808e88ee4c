"""The binds of one account in this process, by slot: made, run while the slot is held, closed.

A slot is worth one transceiver, or a transmitter and a receiver. A closed bind does not come back: when its
slot is ours again there is a new one.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Literal

import anyio
from anyio.abc import ByteStream, TaskGroup

from ..clock import Clock
from ..config import CarrierConfig
from ..session.bind import Bind, BindHandler
from ..session.settings import SessionConfig

UNBIND_S: Final = 3.0
"""How long an SMSC may take to answer an unbind: by then nothing is owed to it any more."""
CLOSE_S: Final = 0.5
"""How long answers to what it was given last are waited for before a bind unbinds."""

Kind = Literal["transceiver", "transmitter", "receiver"]
Connector = Callable[[], Awaitable[ByteStream]]


class Binds:
    """Whose binds run, and whose are being closed, by slot. Which slots are held is for Slots to say."""

    def __init__(
        self,
        config: CarrierConfig,
        connect: Connector,
        clock: Clock,
        rng: random.Random,
        handler: BindHandler,
        on_made: Callable[[list[Bind]], None],
    ) -> None:
        """`on_made` is called with the new binds of a slot, the one that sends first."""
        self._config = config
        self._connect = connect
        self._clock = clock
        self._rng = rng
        self._handler = handler
        self._on_made = on_made
        self.group: TaskGroup | None = None
        """Where binds run; None: none is to run yet."""
        self.sending: list[Bind] = []
        self.receiving: list[Bind] = []
        """Those that only receive."""
        self._by_slot: dict[int, list[Bind]] = {}
        self.running: set[int] = set()
        """Slots whose binds are up, or on their way."""
        self.leaving: set[int] = set()
        """Slots that are being given back, or whose binds are being closed."""
        self._stopping = {number: anyio.Lock() for number in range(1, config.binds + 1)}

    @property
    def all(self) -> list[Bind]:
        return [*self.sending, *self.receiving]

    @property
    def outstanding(self) -> bool:
        """Whether anything is unanswered."""
        return any(bind.outstanding for bind in self.sending)

    def make(self, number: int) -> None:
        """The binds of one slot; they run while it is held."""
        config, clock, handler = self._config, self._clock, self._handler
        name = f"{config.name}-{number}"
        for old in self._by_slot.get(number, ()):
            (self.receiving if old in self.receiving else self.sending).remove(old)
        kinds: dict[str, Kind] = {"": "transceiver"}
        if config.bind != "transceiver":
            kinds = {"-tx": "transmitter", "-rx": "receiver"}
        made = [
            Bind(name + suffix, session_config(config, kind), self._connect, clock, self._rng, handler)
            for suffix, kind in kinds.items()
        ]
        self.receiving += made[1:]
        self.sending.append(made[0])
        self._on_made(made)
        self._by_slot[number] = made

    def run(self, held: Iterable[int]) -> None:
        """Let the binds of these slots run, but for those that are being closed."""
        for number in held:
            if number not in self.running and number not in self.leaving and self.group is not None:
                self.running.add(number)
                for bind in self._by_slot[number]:
                    self.group.start_soon(bind.run)

    async def stop(self, number: int) -> None:
        """Close the binds of a slot and make new ones, for the time when it is ours again."""
        async with self._stopping[number]:
            if number in self.running:
                async with anyio.create_task_group() as group:
                    for bind in self._by_slot[number]:
                        group.start_soon(bind.close, CLOSE_S)
                self.make(number)
                self.running.discard(number)

    async def close(self) -> None:
        """Unbind all of them, at the end."""
        async with anyio.create_task_group() as group:
            for bind in self.all:
                group.start_soon(bind.close, CLOSE_S)


def session_config(config: CarrierConfig, kind: Kind) -> SessionConfig:
    """What one bind is told of its account."""
    return SessionConfig(
        system_id=config.system_id,
        password=config.password or "",
        system_type=config.system_type,
        bind=kind,
        interface_version=config.interface_version_octet,
        addr_ton=config.addr_ton,
        addr_npi=config.addr_npi,
        address_range=config.address_range,
        window=config.window,
        response_timeout_s=config.response_timeout_s,
        enquire_link_s=config.enquire_link_s,
        bind_timeout_s=config.bind_timeout_s,
        unbind_timeout_s=UNBIND_S,
    )
