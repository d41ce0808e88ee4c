"""A house to hold conversations in: a whole engine on the memory store, with binds that a test speaks for.

Everything between the local socket and the SMPP session is real; time is virtual (trio's autojump clock), the
SMSC is the test. `run(story)` plays a story: an async function that is given a `House`.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import anyio
import msgspec
import trio
import trio.lowlevel
import trio.testing
from anyio.abc import ByteStream
from todoke.codecs import constants as c
from todoke.codecs import pdu
from todoke.engine.app import DrainResult, Engine
from todoke.engine.clock import Clock
from todoke.engine.config import CarrierConfig, Config, IntakeConfig, parse
from todoke.engine.intake.errors import NodeUnavailable
from todoke.engine.ledger.keys import AppKeys, CarrierKeys
from todoke.engine.ledger.memory_store import MemoryStore
from todoke.engine.messages import Accepted, Correction, Event, Refusal, Report, Valid
from todoke.engine.node import TodokeNode
from todoke.engine.session.bind import BindStatistics

APP = "default"
WALL_S = 1_800_000_000.0
"""2027-01-15T08:00:00Z."""
NUMBER = "819000000000"


class VirtualClock:
    """Both clocks from the event loop's time."""

    def monotonic(self) -> float:
        return anyio.current_time()

    def wall(self) -> float:
        return WALL_S + anyio.current_time()


_lives = itertools.count(1)
"""No two processes that ever lived have one name, whatever machine they are on."""


class Machine:
    """What processes on one machine know of one another: the dead are known to be dead."""

    def __init__(self) -> None:
        self.dead: set[str] = set()

    def process(self) -> Life:
        return Life(self, f"life-{next(_lives)}")


class Life:
    """The Peers of one process."""

    def __init__(self, machine: Machine, me: str) -> None:
        self._machine = machine
        self.me = me

    def is_gone(self, identity: str) -> bool:
        return identity in self._machine.dead


def carrier_config(**settings: Any) -> CarrierConfig:
    """A carrier with everything at its default but what is named."""
    base: dict[str, Any] = {
        "name": "docomo",
        "hosts": ["127.0.0.1:2775"],
        "system_id": "todoke",
        "password": "secret",
        "window": 100,
        # Most of these stories are of one process and last hours: no need to see it renew its leases.
        "lease_s": 3600.0,
    }
    return msgspec.convert({**base, **settings}, CarrierConfig)


def node_config(*carriers: dict[str, Any], intake: dict[str, Any] | None = None, routes: str = "") -> Config:
    """A configuration with these carriers (their settings over the defaults)."""
    config = parse(
        '[[carrier]]\nname = "x"\nhosts = ["h:1"]\nsystem_id = "s"\n'
        + routes.replace("docomo", "x").replace("au", "x")
    )
    made = [carrier_config(**settings) for settings in carriers or ({},)]
    route = [msgspec.structs.replace(config.route[0], carriers=[each.name for each in made])]
    limits = msgspec.convert(intake or {}, IntakeConfig)
    return msgspec.structs.replace(config, carrier=made, route=route, intake=limits)


class FakeBind:
    """A bind that the test speaks for: it sees what was submitted, and answers."""

    def __init__(self, carrier: Any, name: str, window: int) -> None:
        self.name = name
        self.window = window
        self.bound = True
        self.carrier = carrier
        self.waiting: list[tuple[Any, bytes, Sent]] = []
        """What was submitted and not answered: token, body, and how it was seen."""
        self.seen: list[Sent] = []
        """Everything that was ever submitted."""
        self.delivers: list[tuple[int, int]] = []
        """(handle, command_status) of every deliver_sm answered."""
        self.late: list[Any] = []
        self.congestion_state: int | None = None
        self.rebinds: list[str] = []
        self.questions: list[tuple[Any, Any]] = []
        """Token and PDU of every query_sm that is not answered."""

    @property
    def window_free(self) -> int:
        return self.window - len(self.waiting) if self.bound else 0

    @property
    def outstanding(self) -> int:
        return len(self.waiting)

    def submit(self, bodies: Sequence[bytes], tokens: Sequence[Any]) -> None:
        assert self.bound, "submitted to a bind that is not bound"
        assert len(bodies) == len(tokens) <= self.window_free, "more than the window"
        now = anyio.current_time()
        for body, token in zip(bodies, tokens, strict=True):
            self.seen.append(Sent(body, token, now))
            self.waiting.append((token, body, self.seen[-1]))

    def request(self, command_id: int, body: bytes, token: Any) -> None:
        """A question (query_sm): the test answers it with `answer_question`."""
        frame = (16 + len(body)).to_bytes(4, "big") + command_id.to_bytes(4, "big") + bytes(4) + b"\0\0\0\1"
        self.questions.append((token, pdu.decode(frame + body)))

    def answer_question(self, message_state: int | None) -> None:
        """The oldest question is answered with that state; None: refused."""
        token, asked = self.questions.pop(0)
        answer = pdu.QuerySmResp(message_id=asked.message_id, message_state=message_state or 0)
        content = pdu.encode(answer, 1)[16:] if message_state is not None else b""
        status = 0 if message_state is not None else c.ESME_RQUERYFAIL
        self.carrier.on_responses(self, [(token, c.QUERY_SM_RESP, status, content, 1)])

    def answer_delivers(self, answers: Sequence[tuple[int, int, int]]) -> None:
        self.delivers += [(handle, command_status) for handle, _, command_status in answers]

    def rebind(self, detail: str) -> None:
        self.rebinds.append(detail)

    async def run(self) -> None:
        """The test does."""

    async def close(self, drain_s: float) -> None:
        self.lose()

    # What the test says:

    def answer(self, *ids: str | int, first: int = 0) -> None:
        """Answer the oldest waiting parts: a str is ESME_ROK with that message_id, an int a status."""
        taken, self.waiting[first : first + len(ids)] = self.waiting[first : first + len(ids)], []
        assert len(taken) == len(ids), f"only {len(taken)} parts wait"
        for (_, _, sent), id_ in zip(taken, ids, strict=True):
            sent.refused = isinstance(id_, int)
        self.carrier.on_responses(
            self,
            [
                (token, c.SUBMIT_SM_RESP, 0, id_.encode(), 1) if isinstance(id_, str)
                else (token, c.SUBMIT_SM_RESP, id_, b"", 1)
                for (token, _, _), id_ in zip(taken, ids, strict=True)
            ],
        )  # fmt: skip

    def time_out(self, number: int | None = None) -> None:
        """The oldest parts are not answered in time."""
        number = len(self.waiting) if number is None else number
        taken, self.waiting[:number] = self.waiting[:number], []
        tokens = [token for token, _, _ in taken]
        self.late += tokens
        was_full = self.bound and self.window_free == number
        self.carrier.on_doubt(self, tokens)
        if was_full and number:
            self.carrier.on_window(self)

    def answer_late(self, *ids: str) -> None:
        """The oldest parts that timed out are answered after all."""
        taken, self.late[: len(ids)] = self.late[: len(ids)], []
        self.carrier.on_late_responses(
            self,
            [(token, c.SUBMIT_SM_RESP, 0, id_.encode(), 1) for token, id_ in zip(taken, ids, strict=True)],
        )

    def lose(self, unsent: int = 0) -> None:
        """The connection goes; the newest `unsent` parts were never given to it."""
        if not self.bound:
            return
        self.bound = False
        tokens = [token for token, _, _ in self.waiting]
        kept = len(tokens) - unsent
        for _, _, sent in self.waiting[kept:]:
            sent.refused = True
        self.waiting = []
        if tokens[:kept]:
            self.carrier.on_doubt(self, tokens[:kept])
        if tokens[kept:]:
            self.carrier.on_unsent(self, tokens[kept:])
        self.carrier.on_lost(self, "lost")

    def bind_again(self, window: int | None = None) -> None:
        self.bound = True
        self.window = self.window if window is None else window
        self.carrier.on_bound(self)

    def receipt(
        self, message_id: str, stat: str = "DELIVRD", *, to: str = NUMBER, err: str = "000", quoted: str = ""
    ) -> int:
        """A deliver_sm with a receipt; returns its handle."""
        return self.deliver(receipt_frame(message_id, stat, to=to, err=err, quoted=quoted))

    def deliver(self, *frames: bytes) -> int:
        handle = getattr(self, "_handle", 0)
        items = [(handle + place, c.DELIVER_SM, frame) for place, frame in enumerate(frames, 1)]
        self._handle = handle + len(frames)
        self.carrier.on_delivers(self, items)
        return self._handle

    def statistics(self) -> BindStatistics:
        return BindStatistics(
            self.name,
            "bound",
            self.window,
            self.outstanding,
            WALL_S,
            "",
            False,
            0,
            1,
            len(self.seen),
            0,
            0,
            None,
            {},
        )


class Sent:
    """One part as it was submitted."""

    def __init__(self, body: bytes, token: Any, at: float) -> None:
        frame = (16 + len(body)).to_bytes(4, "big") + b"\0\0\0\4" + bytes(4) + b"\0\0\0\1" + body
        self.pdu: Any = pdu.decode(frame)
        self.token = token
        self.part: int = token[2]
        self.at = at
        self.octets = body
        self.refused = False
        """The SMSC did not take it."""

    @property
    def to(self) -> str:
        return str(self.pdu.destination_addr.decode())

    @property
    def text(self) -> str:
        return str(self.pdu.short_message.decode("latin-1"))

    def __repr__(self) -> str:
        return f"<{self.text!r} part {self.part} at {self.at}>"


def receipt_frame(
    message_id: str,
    stat: str = "DELIVRD",
    *,
    to: str = NUMBER,
    err: str = "000",
    quoted: str = "",
    tlvs: Any = (),
) -> bytes:
    """A deliver_sm in the usual shape; `tlvs`: [(tag, value)]."""
    dates = "submit date:2701150800 done date:2701150801"
    text = f"id:{message_id} sub:001 dlvrd:001 {dates} stat:{stat} err:{err} text:{quoted}"
    return pdu.encode(
        pdu.DeliverSm(
            esm_class=4,
            source_addr=to.encode(),
            destination_addr=b"0032069000",
            short_message=text.encode(),
            tlvs=list(tlvs),
        ),
        1,
    )


T = TypeVar("T")


class House:
    """A node whose carriers' binds the test holds."""

    def __init__(
        self, config: Config, store: MemoryStore, nursery: trio.Nursery, machine: Machine | None = None
    ) -> None:
        self.config = config
        self.store = store
        self.clock: Clock = VirtualClock()
        self.machine = machine or Machine()
        self.peers: Life | None = None
        # `open` sets them.
        self.node: TodokeNode
        self.engine: Engine
        self._nursery = nursery
        self._scope: trio.CancelScope | None = None
        self._stopped: trio.Event = trio.Event()
        self._cursor: str | None = None
        self.submitted = 0

    # -- its life --------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Start a node on the store; the binds are not bound."""
        started = trio.Event()
        peers = self.peers = self.machine.process()
        self._scope = trio.CancelScope()
        self._stopped = trio.Event()

        async def live() -> None:
            assert self._scope is not None
            try:
                with self._scope:
                    async with anyio.create_task_group() as group:
                        self.engine = Engine(
                            self.config,
                            self.store,
                            self.clock,
                            random.Random(1),
                            lambda _: never_connects,
                            peers,
                        )
                        self.node = await self.engine.start(group)
                        started.set()
                        await trio.sleep_forever()
            finally:
                self.machine.dead.add(peers.me)
                self._stopped.set()

        self._nursery.start_soon(live)
        await started.wait()
        await self.settle()

    async def kill(self) -> None:
        """The process dies where it stands; what it had sent to the store may or may not have arrived."""
        assert self._scope is not None
        self.store.cut()
        self._scope.cancel()
        await self._stopped.wait()

    async def reopen(self) -> None:
        await self.kill()
        await self.open()

    async def neighbour(self) -> House:
        """One more process on the same machine and store, started."""
        other = House(self.config, self.store, self._nursery, self.machine)
        await other.open()
        return other

    async def crash_during(self, checkpoints: int, request: Awaitable[T]) -> T | None:
        """The store crashes so many steps into a request, and the process starts anew. The answer; None
        where there was none."""
        answers: list[T] = []

        async def ask() -> None:
            with suppress(NodeUnavailable):
                answers.append(await request)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await steps(checkpoints)
            self.store.crash()
        await self.reopen()
        return answers[0] if answers else None

    async def drain(self, drain_s: float = 5.0) -> DrainResult:
        """A clean stop."""
        self.node.stopping = True
        result = await self.engine.drain(drain_s)
        await self.settle()
        assert self._scope is not None
        self._scope.cancel()
        await self._stopped.wait()
        return result

    async def settle(self) -> None:
        """Until nobody has anything to do before time passes."""
        await trio.testing.wait_all_tasks_blocked()

    async def later(self, seconds: float) -> None:
        """Let so much time pass, and everything happen that falls due."""
        await trio.sleep(seconds)
        await self.settle()

    # -- carriers and binds ----------------------------------------------------------------------------------

    def carrier(self, name: str = "docomo") -> Any:
        return self.engine.carriers[name]

    def bind(self, window: int | None = None, carrier: str = "docomo") -> FakeBind:
        """One more bind, bound."""
        owner = self.carrier(carrier)
        binds = owner.binds
        if not all(isinstance(each, FakeBind) for each in binds.sending):
            binds.sending, binds.receiving = [], []
            binds._by_slot = {number: [] for number in range(1, owner.config.binds + 1)}
        bind = FakeBind(owner, f"{carrier}-{len(binds.sending) + 1}", window or owner.config.window)
        binds.sending.append(bind)
        binds._by_slot[len(binds.sending)] = [bind]
        owner.on_bound(bind)
        return bind

    async def answer_each(self, bind: FakeBind, first: int = 0) -> None:
        """What waits, and what comes up behind it, is taken one by one as A0, A1 and so on."""
        for number in itertools.count(first):
            if not bind.waiting:
                return
            bind.answer(f"A{number}")
            await self.settle()

    async def deliver(self, bind: FakeBind, *message_ids: str) -> None:
        """What waits is taken as these, and reaches its handsets."""
        bind.answer(*message_ids)
        await self.settle()
        for message_id in message_ids:
            bind.receipt(message_id)

    # -- the app ---------------------------------------------------------------------------------------------

    async def submit(self, *messages: Valid | str, app: str = APP) -> tuple[list[Accepted], list[Refusal]]:
        """A submission; a str is a text to NUMBER."""
        valid = [Valid(NUMBER, text=each) if isinstance(each, str) else each for each in messages]
        answer = await self.node.submit(app, valid, list(range(len(valid))))
        await self.settle()
        return answer

    async def accept(self, *messages: Valid | str) -> list[str]:
        """The message ids of a submission that is taken whole."""
        accepted, refused = await self.submit(*messages)
        assert refused == []
        return [each.message_id for each in accepted]

    async def told(self, app: str = APP) -> list[Report | Correction]:
        """`heard`, where no handset writes."""
        found: list[Report | Correction] = []
        for event in await self.heard(app):
            assert isinstance(event, Report | Correction), event
            found.append(event)
        return found

    async def heard(self, app: str = APP) -> list[Event]:
        """What the app is told that it was not told before in this test."""
        await self.settle()
        found: list[Event] = []
        while True:
            events: list[Any] = []
            with anyio.move_on_after(0.0001):
                events = list(await self.node.events(app, self._cursor))
            if not events:
                return found
            self._cursor = events[-1][0]
            found += [event for _, event in events]

    async def states(self) -> list[tuple[str, str]]:
        """(message_id, state) of what the app is newly told."""
        return [(event.message_id, event.state) for event in await self.told()]

    async def query(self, message_id: str) -> dict[str, Any]:
        return await self.node.query(APP, message_id)

    async def all_forgotten(self, after_s: float) -> None:
        """So much later nothing is left of any message."""
        await self.later(after_s)
        assert self.left_over() == {}
        assert (await self.node.status())["queued"] == 0

    # -- looking in ------------------------------------------------------------------------------------------

    def stored(self, *, carrier: str = "docomo") -> dict[str, Any]:
        """What the store holds of a carrier, without its prefix and without what stays for good."""
        prefix = CarrierKeys(carrier).prefix
        return {
            key[len(prefix) :].decode(): value
            for key, value in self.store.contents().items()
            if key.startswith(prefix)
        }

    def left_over(self, carrier: str = "docomo") -> dict[str, Any]:
        """What of a carrier's keys should not be there once all is over and forgotten."""
        lasting = (
            "q:",
            "doubts",
            "rx:shared",
            "rx:version",
            "slot:",
            "lease:",
            "members",
            "alive:",
            "turns",
            "concat:",
            "unreadable",
        )
        return {
            name: value
            for name, value in self.stored(carrier=carrier).items()
            if not name.startswith(lasting) and not (name.startswith("queued:") and int(value) == 0)
        }

    def grants(self, carrier: str = "docomo") -> int:
        return int(self.carrier(carrier).recorder.grants.open_parts)

    def unacknowledged(self, app: str = APP) -> int:
        return int(self.store.contents().get(AppKeys(app).events_n, 0))


async def steps(checkpoints: int) -> None:
    """Let everybody else go on by so many of trio's checkpoints."""
    for _ in range(checkpoints):
        await trio.lowlevel.checkpoint()


async def never_connects() -> ByteStream:
    await anyio.sleep_forever()
    raise AssertionError


Story = Callable[[House], Awaitable[None]]


def run(story: Story, config: Config | None = None, *, seed: int = 1) -> None:
    """Play a story in a house of its own, on virtual time."""

    async def main() -> None:
        store = MemoryStore(rng=random.Random(seed), wall=lambda: WALL_S + trio.current_time())
        async with trio.open_nursery() as nursery:
            house = House(config or node_config(), store, nursery)
            await house.open()
            await story(house)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def first_error(error: BaseException) -> BaseException:
    """What is at the bottom of nested exception groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
