"""What waits in the message store under names that are configured no more.

The ledger is kept by carrier and by app. A carrier that was taken out of the configuration, or renamed,
leaves its messages there: nobody sends them, nothing of them is lost. So every node writes down the names it
serves, and whoever starts without one of them says what waits under it. Names that another living process
serves are its business, and carriers with nothing left are forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from .ledger.keys import KNOWN_APPS, KNOWN_CARRIERS, LANES, AppKeys, CarrierKeys
from .ledger.port import Stage
from .peers import Peers


class StrandedCarrier(msgspec.Struct, frozen=True):
    """`queued` messages are in blocks that are not finished; `receipts` of sent ones are awaited or kept."""

    name: str
    queued: int
    receipts: int

    def __str__(self) -> str:
        return (
            f"carrier {self.name!r} is configured no more: at most {self.queued} messages wait there, and "
            f"{self.receipts} receipts are awaited or kept. Nothing is lost; put its [[carrier]] table back, "
            "under that name: no route has to lead there, and if it cannot be bound, what waits goes over "
            "other carriers"
        )


class StrandedApp(msgspec.Struct, frozen=True):
    """So many `events` are not acknowledged."""

    name: str
    events: int

    def __str__(self) -> str:
        return (
            f"app {self.name!r} is configured no more: {self.events} events wait for it. Nothing is lost; "
            "put its [[app]] table back, under that name, to hear them"
        )


class Stranded(msgspec.Struct, frozen=True):
    """Everything that waits for nobody."""

    carriers: list[StrandedCarrier]
    apps: list[StrandedApp]

    def lines(self) -> list[str]:
        """What there is, and what to do about it."""
        return [str(each) for each in (*self.carriers, *self.apps)]


async def write_names(stage: Stage, carriers: Iterable[str], apps: Iterable[str], epoch: int) -> None:
    """These are served now. Raises StoreError."""
    await stage.commit(
        [
            ("HSET", KNOWN_CARRIERS, *(word for name in carriers for word in (name, epoch))),
            ("HSET", KNOWN_APPS, *(word for name in apps for word in (name, epoch))),
        ]
    )


async def look(stage: Stage, carriers: Iterable[str], apps: Iterable[str], peers: Peers) -> Stranded:
    """What waits under names that are known and not among these. Raises StoreError."""
    known_carriers, known_apps = await stage.read([("HGETALL", KNOWN_CARRIERS), ("HGETALL", KNOWN_APPS)])
    found = Stranded([], [])
    for name in _others(known_carriers, carriers):
        keys = CarrierKeys(name)
        replies = await stage.read(
            [
                *(("GET", keys.queued[lane]) for lane in LANES),
                ("HLEN", keys.receipts),
                ("ZCARD", keys.due),
                ("HGETALL", keys.members),
            ]
        )
        if await _is_served(stage, keys, replies[5], peers):
            continue
        queued = sum(max(0, int(value or 0)) for value in replies[:3])
        if queued or replies[3]:
            found.carriers.append(StrandedCarrier(name, queued, replies[3]))
        elif not replies[4]:
            await stage.commit([("HDEL", KNOWN_CARRIERS, name)])
    for name in _others(known_apps, apps):
        (events,) = await stage.read([("GET", AppKeys(name).events_n)])
        if int(events or 0) > 0:
            found.apps.append(StrandedApp(name, int(events)))
    return found


async def _is_served(stage: Stage, keys: CarrierKeys, members: list[bytes], peers: Peers) -> bool:
    epochs = [
        int(epoch)
        for epoch, identity in zip(members[::2], members[1::2], strict=True)
        if not peers.is_gone(identity.decode("utf-8", "replace"))
    ]
    return bool(epochs) and any(await stage.read([("EXISTS", keys.alive(epoch)) for epoch in epochs]))


def _others(known: list[Any], configured: Iterable[str]) -> list[str]:
    return sorted({bytes(name).decode() for name in known[::2]} - set(configured))
