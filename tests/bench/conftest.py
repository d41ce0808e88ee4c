"""An ESME of a few lines that talks to the simulated SMSC's core, octet by octet, on a clock of its own."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import msgspec
import pytest
from todoke.bench.smsc_config import SmscConfig
from todoke.bench.smsc_core import SmscCore
from todoke.bench.smsc_log import MemoryLog
from todoke.codecs import framing
from todoke.codecs.pdu import (
    BindReceiver,
    BindTransceiver,
    BindTransmitter,
    DeliverSm,
    DeliverSmResp,
    Pdu,
    SubmitSm,
    decode,
    encode,
)

BINDS = {"transceiver": BindTransceiver, "transmitter": BindTransmitter, "receiver": BindReceiver}


class World:
    """A core, its log, and the time."""

    def __init__(self, config: SmscConfig) -> None:
        self.now = 1_000.0
        self.log = MemoryLog()
        self.core = SmscCore(config, Random(config.seed), self.now, 1_800_000_000.0, self.log)
        self.peers: list[Peer] = []

    def peer(self) -> Peer:
        peer = Peer(self)
        self.peers.append(peer)
        return peer

    def bound(self, kind: str = "transceiver") -> Peer:
        peer = self.peer()
        (answer,) = peer.bind(kind=kind)
        assert answer.command_status == 0
        return peer

    def pass_time(self, seconds: float) -> None:
        """Let the core's timers fire one after another, as a shell would."""
        end = self.now + seconds
        while (deadline := self.core.next_deadline()) <= end:
            self.now = max(self.now, deadline)
            self.core.handle_tick(self.now)
            self.collect()
        self.now = end

    def collect(self) -> None:
        for session in self.core.take_dirty():
            for peer in self.peers:
                if peer.session is session:
                    peer.inbox += session.data_to_send()


class Peer:
    """One connection of the ESME; `pdus()` drains what came in."""

    def __init__(self, world: World) -> None:
        self.world = world
        session = world.core.connect(world.now)
        assert session is not None
        self.session = session
        self.inbox = b""
        self.sequence_number = 0

    @property
    def ended(self) -> str:
        return self.session.ending

    def octets(self, data: bytes) -> list[Pdu]:
        self.session.receive_data(data, self.world.now)
        self.world.collect()
        return self.pdus()

    def request(self, *pdus: Pdu) -> list[Pdu]:
        data = b""
        for pdu in pdus:
            self.sequence_number += 1
            data += encode(pdu, self.sequence_number)
        return self.octets(data)

    def bind(self, system_id: bytes = b"todoke", password: bytes = b"secret", kind: str = "transceiver"):
        return self.request(BINDS[kind](system_id=system_id, password=password))

    def submit(self, *numbers: int, text: bytes = b"hello", registered_delivery: int = 1) -> list[Pdu]:
        return self.request(*(submit_sm(number, text, registered_delivery) for number in numbers))

    def answer(self, pdus: list[Pdu], command_status: int = 0) -> list[Pdu]:
        """Answer every deliver_sm among `pdus`."""
        return self.octets(
            b"".join(
                encode(DeliverSmResp(), pdu.sequence_number, command_status)
                for pdu in pdus
                if isinstance(pdu, DeliverSm)
            )
        )

    def pdus(self) -> list[Pdu]:
        frames, used = framing.split(self.inbox, 70_000)
        self.inbox = self.inbox[used:]
        return [decode(frame) for _, _, _, frame in frames]


def submit_sm(number: int, text: bytes = b"hello", registered_delivery: int = 1) -> SubmitSm:
    return SubmitSm(
        source_addr_ton=5,
        source_addr=b"Todoke",
        dest_addr_ton=1,
        dest_addr_npi=1,
        destination_addr=b"8190%08d" % number,
        registered_delivery=registered_delivery,
        short_message=text,
    )


@pytest.fixture
def world() -> Callable[..., World]:
    """Makes a World from SmscConfig's fields."""
    return lambda **fields: World(msgspec.convert(fields, SmscConfig))
