"""A whole node: store, carriers, intake, started in order and stopped in order.

Every task lives in the group opened here. A stop drains: nothing more is taken, answers on the wire are
waited for, the binds are unbound, what was learnt is written down.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import logging
import os
import random
import time
from collections.abc import AsyncGenerator, Callable
from functools import partial
from pathlib import Path
from typing import Final
from zlib import crc32

import anyio
import msgspec
from anyio.abc import TaskGroup

from ..codecs import segment
from ..codecs.errors import TextError
from . import stranded
from .clock import Clock, SystemClock
from .config import CarrierConfig, Config
from .config_errors import ConfigError
from .desk import Desk
from .dispatch.binds import Connector
from .dispatch.bodies import least_ms
from .dispatch.carrier import Carrier
from .dispatch.portability import KnownPortability, LearnedPortability, NumberTable, load_table
from .dispatch.prepare import CarrierRules, Preparer
from .dispatch.router import Router
from .feed import Feed
from .intake.limits import Limits
from .intake.server import DEFAULT_APP, Intake
from .ledger.accept import BLOCK_MESSAGES_MAX, AcceptStage
from .ledger.blocks import Block, Entry
from .ledger.keys import PROCESS_EPOCH, CarrierKeys
from .ledger.port import Stage, Store, StoreError
from .node import TodokeNode
from .peers import MachinePeers, Peers

log = logging.getLogger("todoke")

LOOK_S: Final = 3.0
"""What all carriers share is looked at this often at most, however many ask."""
GC_ALLOCATIONS: Final = 50_000
"""Container objects made, less those freed, before the youngest generation is looked at."""


class DrainResult(msgspec.Struct, frozen=True):
    """How a node stopped: `in_doubt` parts were on the wire without an answer; the next start takes them
    up.
    """

    in_doubt: int


class Engine:
    """The parts of a node, wired together. `start` makes them run in a task group, `drain` stops them."""

    def __init__(
        self,
        config: Config,
        store: Store,
        clock: Clock,
        rng: random.Random,
        connector_for: Callable[[CarrierConfig], Connector],
        peers: Peers | None = None,
        numbers: NumberTable | None = None,
    ) -> None:
        """`numbers`: which carrier numbers belong to, where that is known."""
        self.config = config
        self._store = store
        self._clock = clock
        self._rng = rng
        self._connector_for = connector_for
        self._peers = peers or MachinePeers()
        self._numbers = numbers
        self.apps = {app.uid: app.name for app in config.app} or None
        self.app_names = [app.name for app in config.app] or [DEFAULT_APP]
        self._look_at = float("-inf")
        self._was_alone = True
        self.carriers: dict[str, Carrier] = {}
        self.feeds: dict[str, Feed] = {}
        self.open_carriers: set[str] = set()
        """Carriers whose breaker is open: messages had better go elsewhere."""

    async def start(self, group: TaskGroup) -> TodokeNode:
        """Take the next epoch, make everything, start its tasks. Raises StoreError."""
        self._counting = self._store.stage("queued")
        stage = self._store.stage("start")
        (epoch,) = await stage.read([("INCR", PROCESS_EPOCH)])
        self.epoch = int(epoch)
        names = [carrier.name for carrier in self.config.carrier]
        await stranded.write_names(stage, names, self.app_names, self.epoch)
        waiting = (await stranded.look(stage, names, self.app_names, self._peers)).lines()
        for line in waiting:
            log.warning("%s", line)
        numbers = itertools.count(1)

        def mint() -> str:
            return f"{self.epoch:x}-r{next(numbers):x}"

        router = Router((route.prefix, tuple(route.carriers)) for route in self.config.route)
        portability = KnownPortability(
            LearnedPortability(ttl_s=self.config.portability.ttl_s), self._numbers or NumberTable()
        )
        carrier_keys = {carrier.name: CarrierKeys(carrier.name) for carrier in self.config.carrier}
        for app in self.app_names:
            feed = self.feeds[app] = Feed(self._store, app)
            await feed.load()
        routes = [route.carriers for route in self.config.route]
        shared = {name for carriers in routes if len(carriers) > 1 for name in carriers}
        routed = {name for carriers in routes for name in carriers}
        for config in self.config.carrier:
            carrier = Carrier(
                config,
                self._store,
                self._clock,
                self._rng,
                self._connector_for(config),
                epoch=self.epoch,
                peers=self._peers,
                mint=mint,
                elsewhere=partial(self._elsewhere, router, portability),
                other_keys=carrier_keys.__getitem__,
                app_for=lambda _to: self.app_names[0],
                portability=portability.learned,
                # What waits at a carrier that no route names any more may go wherever routes lead.
                alternatives=config.name in shared or config.name not in routed,
            )
            self.carriers[config.name] = carrier
            carrier.recorder.on_events = carrier.receipts.on_events = carrier.due.on_events = self._told
            carrier.late.on_events = self._told
            carrier.upkeep.on_looked = self._looked
            carrier.flow.on_open = partial(self._opened, config.name)
            carrier.recorder.failover.room_at = self._room_at
        accept = AcceptStage(
            self._store,
            carrier_keys,
            self._clock,
            epoch=self.epoch,
            ref_ttl_s=self.config.intake.ref_ttl_s,
            block_messages={c.name: _block_messages(c) for c in self.config.carrier},
            reference_max={c.name: 255 if c.concat == "udh8" else 65_535 for c in self.config.carrier},
            on_block=self._made,
            direct={name: carrier.taker for name, carrier in self.carriers.items()},
        )
        accept.on_scheduled = self._scheduled
        self._accept = accept
        self._carrier_keys = carrier_keys
        accept.queued_messages = (await self._counted())[-1]
        for carrier in self.carriers.values():
            carrier.recorder.on_closed = partial(_closed, accept)
        rules = {name: _rules(carrier) for name, carrier in self.carriers.items()}
        node = TodokeNode(
            self.config,
            self._clock,
            self._store,
            accept,
            Preparer(
                router,
                rules,
                self.open_carriers,
                portability,
                self._clock.monotonic,
                lambda name: self._room_at(name) >= 1,
            ),
            self.carriers,
            self.feeds,
            self.epoch,
            self._peers,
        )
        self.desk = Desk(
            self._clock,
            self._store,
            self.carriers,
            epoch=self.epoch,
            mint=mint,
            told=self._told,
        )
        for carrier in self.carriers.values():
            await group.start(carrier.run)
        for feed in self.feeds.values():
            group.start_soon(feed.run)
        group.start_soon(accept.run)
        group.start_soon(self._look_for_stranded, stage, waiting)
        return node

    async def _counted(self) -> list[int]:
        """How many events wait for each app, and behind them how many messages in all lanes. Raises
        StoreError.
        """
        commands = [feed.counted for feed in self.feeds.values()]
        commands += [("GET", key) for keys in self._carrier_keys.values() for key in keys.queued.values()]
        counts = [int(value or 0) for value in await self._counting.read(commands)]
        return [*counts[: len(self.feeds)], sum(counts[len(self.feeds) :])]

    async def _look_for_stranded(self, stage: Stage, said: list[str]) -> None:
        """A task: at the start, a process that served a name may have died so lately that it seems alive."""
        await anyio.sleep(max(carrier.lease_s for carrier in self.config.carrier) + LOOK_S)
        with contextlib.suppress(StoreError):
            for line in (await stranded.look(stage, self.carriers, self.app_names, self._peers)).lines():
                if line not in said:
                    log.warning("%s", line)

    async def _looked(self) -> None:
        """Now and then: what other processes have changed of what is counted here. Raises StoreError."""
        now = self._clock.monotonic()
        alone = all(carrier.slots.alone for carrier in self.carriers.values())
        if now < self._look_at and alone == self._was_alone:
            return  # another carrier has just looked
        self._look_at = now + LOOK_S
        if not (alone and self._was_alone):
            # Once more when the others are gone: what they did last is counted by nobody else.
            counts = await self._counted()
            self._accept.queued_messages = counts[-1]
            for feed, count in zip(self.feeds.values(), counts, strict=False):
                feed.shared_with_others(count)
        self._was_alone = alone
        if alone:
            for feed in self.feeds.values():
                feed.alone()

    def _made(self, carrier: str, block: Block, payloads: list[bytes | None]) -> None:
        self.carriers[carrier].made(block, payloads)

    def _scheduled(self, carrier: str, at_ms: int) -> None:
        self.carriers[carrier].due.notice(at_ms)

    def _opened(self, name: str, is_open: bool) -> None:
        """A breaker changed: what could not go to this carrier a moment ago may go there now."""
        if is_open:
            self.open_carriers.add(name)
            return
        self.open_carriers.discard(name)
        for carrier in self.carriers.values():
            if carrier.recorder.failover.moving:
                carrier.recorder.failover.move_away(True)

    def _room_at(self, name: str) -> float:
        return self.carriers[name].flow.room()

    def _told(self, app: str, count: int) -> None:
        feed = self.feeds.get(app)
        if feed is not None:
            feed.told(count)

    def _elsewhere(
        self, router: Router, portability: KnownPortability, entry: Entry, app: str, tried: list[str]
    ) -> tuple[str, Entry] | None:
        """The next carrier of the route that takes this message, and the message cut by its rules."""
        names = list(router.choose_ported(entry.to, portability, self._clock.monotonic()))
        paused = [name for name in names if name in self.carriers and self.carriers[name].hand.paused]
        if paused:
            # Better to wait where it is than at a paused account; better to wait there than to be refused.
            may_stay = bool(tried) and self.carriers[tried[-1]].recorder.failover.moving
            names = [name for name in names if name not in paused] + ([] if may_stay else paused)
        for name in names:
            if name in tried or name not in self.carriers or name in self.open_carriers:
                continue
            carrier = self.carriers[name]
            moved = msgspec.structs.replace(entry)
            try:
                moved.parts = len(carrier.maker.segmented(entry).parts)
            except TextError:
                continue
            if moved.parts > 1 and entry.parts == 1:
                # It has no concatenation reference yet; equal ones are harmless for equal texts.
                moved.reference = crc32(entry.text.encode()) & 0xFFFF
            return name, moved
        return None

    async def drain(self, drain_s: float) -> DrainResult:
        """Stop every carrier; what stays without an answer is in doubt."""
        results: list[int] = []

        async def one(carrier: Carrier) -> None:
            results.append(await carrier.drain(drain_s))

        async with anyio.create_task_group() as group:
            for carrier in self.carriers.values():
                group.start_soon(one, carrier)
        return DrainResult(sum(results))


def _closed(accept: AcceptStage, messages: int) -> None:
    accept.queued_messages -= messages


def _block_messages(config: CarrierConfig) -> int:
    """At most one second of the carrier's rate."""
    return min(BLOCK_MESSAGES_MAX, max(1, int(config.rate))) if config.rate else BLOCK_MESSAGES_MAX


def _rules(carrier: Carrier) -> CarrierRules:
    rules = carrier.maker.rules
    plain = (
        rules.alphabets[0] == "gsm7"
        and not rules.packed
        and (rules.units_single or {}).get("gsm7", segment.UNITS_SINGLE["gsm7"]) == 160
    )
    return CarrierRules(rules, carrier.config.sender, plain, least_ms(carrier.config))


def read_numbers(config: Config) -> NumberTable | None:
    """The table of `[portability]`; its wrong lines are logged. Raises ConfigError if it cannot be read."""
    name = config.portability.table_file
    if name is None:
        return None
    try:
        text = Path(name).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise ConfigError("[portability]", "table_file", f"cannot read {name}: {reason}") from None
    table, errors = load_table(text, [carrier.name for carrier in config.carrier])
    for line, detail in errors:
        log.warning("%s line %d: %s", name, line, detail)
    log.info("%s: the carriers of %d numbers and prefixes", name, len(table))
    return table


def tcp_connector_for(config: CarrierConfig) -> Connector:
    """Real connections to a carrier's hosts."""
    from .session.connect import TlsConfig, tcp_connector

    tls = TlsConfig(ca_file=config.tls_ca_file, server_name=config.tls_server_name) if config.tls else None
    return tcp_connector(config.hosts, tls)


@contextlib.asynccontextmanager
async def open_store(config: Config) -> AsyncGenerator[Store]:
    """The configured message store, its server started if it is the embedded one. Raises StoreError."""
    from .ledger.redis_store import RedisStore

    async with contextlib.AsyncExitStack() as stack:
        url = config.redis.url
        if url == "embedded":
            from .ledger.embedded import embedded_server

            url = await stack.enter_async_context(
                embedded_server(Path(config.node.data), config.redis.server_binary)
            )
        yield await stack.enter_async_context(RedisStore(url, durability=config.redis.durability))


def tune_collector() -> None:
    """Spare the cycle collector what never dies: everything alive at the end of the start.

    Messages on their way are not cyclic; with the default thresholds the collector would walk them every few
    hundred allocations.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS, 20, 50)


async def run_node(
    config: Config, *, ready: Callable[[], None] | None = None, stop: anyio.Event | None = None
) -> DrainResult:
    """Run a node until `stop` is set (or the task is cancelled), then drain. Raises StoreError,
    SocketError.
    """
    stop = stop or anyio.Event()
    began = time.monotonic()
    result = DrainResult(0)
    async with open_store(config) as store, anyio.create_task_group() as group:
        numbers = read_numbers(config)
        clock = SystemClock()
        engine = Engine(config, store, clock, random.Random(), tcp_connector_for, numbers=numbers)
        node = await engine.start(group)
        intake = Intake(
            node,
            Limits(
                credit_messages=config.intake.credit_messages,
                frame_octets_max=config.intake.frame_octets_max,
                connections_max=config.intake.connections_max,
            ),
            wall=clock.wall,
            desk=engine.desk,
            operators={0, os.geteuid()},
        )
        node.intake_statistics = intake.statistics
        serving = anyio.CancelScope()

        async def serve(*, task_status: anyio.abc.TaskStatus[None]) -> None:
            with serving:
                await intake.serve(config.intake.socket, engine.apps, task_status=task_status)

        await group.start(serve)
        log.info("listening on %s after %.3f s", config.intake.socket, time.monotonic() - began)
        tune_collector()
        if ready is not None:
            ready()
        await stop.wait()
        node.stopping = True
        result = await engine.drain(config.node.drain_s)
        serving.cancel()
        group.cancel_scope.cancel()
    return result
