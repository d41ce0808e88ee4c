"""One simulated day or hour, drawn from a seed: carriers, traffic, faults. Pure.

Three random sources, so that a scenario with one fault fewer keeps its carriers and its traffic: `carriers`,
`traffic` and `faults`, each of the seed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from ...engine.config import AppConfig, CarrierConfig, Config, IntakeConfig, RouteConfig
from ..smsc_config import IdForm, SmscConfig
from .clock import WALL_START_S
from .faults import KINDS, Fault
from .traffic import Batch, draw_traffic

Size = Literal["minutes", "hour", "day"]
SYSTEM_ID: Final = "todoke"
PASSWORD: Final = "secret"
APPS: Final = ("billing", "alerts")

_ID_FORMS: Final[tuple[IdForm, ...]] = (
    "decimal",
    "hex",
    "hex_decimal",
    "decimal_hex",
    "uuid",
    "zeros",
    "zeros_receipt",
    "mixed_case",
)


class CarrierPlan(msgspec.Struct, frozen=True):
    """One account: what the engine is configured for, and how the SMSC behind it behaves on a good day."""

    engine: CarrierConfig
    smsc: SmscConfig


class ProcessPlan(msgspec.Struct, frozen=True):
    """One engine process. Those of one machine share its clock, and see each other die."""

    name: str
    machine: str
    starts_at_s: float


class Scenario(msgspec.Struct, frozen=True):
    """Everything a run needs; times in virtual seconds from its start."""

    seed: int
    size: Size
    length_s: float
    """Traffic and faults end by then; the run goes on until all is quiet."""
    processes: list[ProcessPlan]
    carriers: list[CarrierPlan]
    batches: list[Batch]
    faults: list[Fault]
    patience_s: float
    """How long after the last of the traffic a report may come; a window may put a message off by a day."""
    json_lines: bool
    """The apps' spelling."""
    ack_lag_s: float

    def config(self) -> Config:
        """The engine's configuration."""
        names = [plan.engine.name for plan in self.carriers]
        return Config(
            app=[AppConfig(name=name, uid=1_001 + index) for index, name in enumerate(APPS)],
            carrier=[plan.engine for plan in self.carriers],
            route=[
                RouteConfig(prefix=["8190"], carriers=names),
                RouteConfig(prefix=["81"], carriers=names[::-1]),
                RouteConfig(carriers=names),
            ],
            intake=IntakeConfig(ref_ttl_s=2 * self.length_s + 86_400),
        )


class Shape(msgspec.Struct, frozen=True):
    """How large a scenario of one size is."""

    length_s: float
    messages: int
    faults: tuple[int, int]
    enquire_link_s: tuple[float, float]
    receipt_delay_s: tuple[float, float]
    receipt_timeout_s: float
    history_s: tuple[float, float]
    lease_s: tuple[float, ...]
    """Long ones where the time is long: renewals are most of what a quiet process does."""


SHAPES: Final[dict[Size, Shape]] = {
    "minutes": Shape(300.0, 100, (3, 6), (20.0, 60.0), (0.0, 20.0), 120.0, (30.0, 40.0), (10.0, 15.0, 30.0)),
    "hour": Shape(
        3_600.0, 2_000, (10, 18), (30.0, 90.0), (0.0, 100.0), 420.0, (60.0, 120.0), (10.0, 20.0, 40.0)
    ),
    "day": Shape(
        86_400.0, 2_000, (10, 16), (120.0, 300.0), (1.0, 1_800.0), 14_400.0, (300.0, 1_200.0), (60.0, 300.0)
    ),
}


def draw(seed: int, size: Size = "hour", messages: int | None = None, kinds: Sequence[str] = ()) -> Scenario:
    """The scenario of a seed. `messages` overrides how many are sent; only these `kinds` of faults strike,
    if any are named.
    """
    shape = SHAPES[size]
    rng = random.Random(f"{seed}:carriers")
    carriers = [_carrier(rng, name, shape) for name in ("alpha", "beta")]
    json_lines = rng.random() < 0.3
    ack_lag_s = rng.choice((0.0, 0.01, 0.5, 5.0))
    if size == "hour":
        # Two of three carriers at an easier pace: an hour of single parts costs twice as much to play.
        easier = random.Random(f"{seed}:easier")
        carriers = [_easier(plan, easier) if easier.random() < 0.67 else plan for plan in carriers]
        ack_lag_s = max(ack_lag_s, easier.choice((0.0, 0.5, 2.0)))
    processes = _processes(random.Random(f"{seed}:processes"), shape)
    names = [plan.engine.name for plan in carriers]
    batches = draw_traffic(
        random.Random(f"{seed}:traffic"),
        APPS,
        names,
        shape.length_s,
        messages if messages is not None else shape.messages,
        WALL_START_S,
    )
    faults = _faults(
        random.Random(f"{seed}:faults"),
        names,
        [each.name for each in processes],
        batches,
        shape,
        kinds or list(KINDS),
    )
    return Scenario(
        seed=seed,
        size=size,
        length_s=shape.length_s,
        processes=processes,
        carriers=carriers,
        batches=batches,
        faults=faults,
        patience_s=2 * (shape.receipt_timeout_s + 86_400.0),
        json_lines=json_lines,
        ack_lag_s=ack_lag_s,
    )


def _easier(plan: CarrierPlan, rng: random.Random) -> CarrierPlan:
    """No rate but the window's, answers and receipts in groups, longer leases: fewer turns of every stage."""
    engine = msgspec.structs.replace(
        plan.engine,
        rate=0,
        window=max(plan.engine.window, rng.choice((5, 20))),
        lease_s=max(plan.engine.lease_s, 20.0),
    )
    smsc = msgspec.structs.replace(plan.smsc, response_jitter_s=0.0, receipt_jitter_s=rng.choice((0.0, 5.0)))
    return CarrierPlan(engine, smsc)


def _processes(rng: random.Random, shape: Shape) -> list[ProcessPlan]:
    """Two from the beginning, on one machine or on two; often a third that comes in the middle."""
    machines = rng.choice((("one", "one"), ("one", "two")))
    plans = [ProcessPlan(name, machine, 0.0) for name, machine in zip(("a", "b"), machines, strict=True)]
    if rng.random() < 0.4:
        starts_at_s = round(rng.uniform(0.1, 0.7) * shape.length_s, 3)
        plans.append(ProcessPlan("c", rng.choice(("one", "two")), starts_at_s))
    return plans


def _carrier(rng: random.Random, name: str, shape: Shape) -> CarrierPlan:
    rate = rng.choice((0, 0, 10, 20, 50, 100, 200))
    window = rng.choice((1, 2, 5, 10, 20, 50, 100))
    response_timeout_s = rng.choice((5.0, 10.0, 30.0))
    low, high = shape.receipt_delay_s
    enquire_link_s = rng.uniform(*shape.enquire_link_s)
    id_form = rng.choice(_ID_FORMS)
    exact = id_form not in ("hex_decimal", "decimal_hex") and rng.random() < 0.3
    engine = CarrierConfig(
        name=name,
        hosts=[f"{name}.invalid:2775"],
        system_id=SYSTEM_ID,
        password=PASSWORD,
        bind=rng.choice(("transceiver", "transceiver", "transmitter+receiver")),
        binds=rng.choice((2, 2, 3)),
        rate=rate,
        window=window,
        response_timeout_s=response_timeout_s,
        lease_s=rng.choice(shape.lease_s),
        enquire_link_s=enquire_link_s,
        receipt_timeout_s=shape.receipt_timeout_s,
        history_s=rng.uniform(*shape.history_s),
        in_doubt=rng.choice(("hold", "hold", "hold", "resend", "resend", "never")),
        hold_s=rng.choice((2.0, 15.0, 60.0)),
        max_attempts=rng.choice((3, 8, 20)),
        concat=rng.choice(("udh8", "udh8", "udh16", "sar", "payload")),
        sender="0032069000",
        message_ids="exact" if exact else "auto",
        orphan_ttl_s=shape.receipt_timeout_s / 2,
    )
    errors = {
        status: rng.choice((0.0, 0.005, 0.03))
        for status in (
            "ESME_RSYSERR",
            "ESME_RMSGQFUL",
            "ESME_RTHROTTLED",
            "ESME_RSUBMITFAIL",
            "ESME_RINVDSTADR",
            "ESME_RINVSRCADR",
        )
    }
    # Small numbers are ambiguous where either base is tried.
    id_start = 1_000_000_000 if engine.message_ids == "auto" else 1
    smsc = SmscConfig(
        accounts={SYSTEM_ID: PASSWORD},
        smsc_id=name,
        binds_max=engine.binds * (1 if engine.bind == "transceiver" else 2),
        id_form=id_form,
        id_start=id_start,
        inactivity_s=3 * enquire_link_s,
        response_delay_s=rng.choice((0.0, 0.002, 0.05)),
        response_jitter_s=rng.choice((0.0, 0.0, 0.01, 0.5)),
        errors={status: share for status, share in errors.items() if share},
        lost_responses=rng.choice((0.0, 0.0, 0.01)),
        receipt_delay_s=rng.uniform(low, high / 4),
        receipt_jitter_s=rng.choice((0.0, rng.uniform(low, high))),
        states={"undeliverable:027": 0.03, "expired": 0.01, "rejected": 0.01, "deleted": 0.005},
        receipt_form=rng.choice(("text", "tlv", "both")),
        no_receipts=rng.choice((0.0, 0.0, 0.01)),
        early_receipts=rng.choice((0.0, 0.05, 0.3)),
        doubled_receipts=rng.choice((0.0, 0.02)),
        enroute_first=rng.choice((0.0, 0.1)),
        receipt_window_max=rng.choice((1, 10, 100, 1_000)),
        mo_rate=rng.choice((0.0, 0.01)) * 3_600 / shape.length_s,
        log_payload=True,
    )
    return CarrierPlan(engine, smsc)


def _faults(
    rng: random.Random,
    names: list[str],
    processes: list[str],
    batches: list[Batch],
    shape: Shape,
    kinds: Sequence[str],
) -> list[Fault]:
    """Most faults strike while a batch is on its way: that is when they can do harm."""
    weights = [KINDS[kind].weight for kind in kinds]
    faults: list[Fault] = []
    for kind in rng.choices(kinds, weights, k=rng.randint(*shape.faults)):
        if batches and rng.random() < 0.8:
            at_s = rng.choice(batches).at_s + rng.choice((0.0, 0.001, 0.02, 0.3, 2.0, 20.0)) * rng.random()
        else:
            at_s = rng.uniform(0.02, 0.95) * shape.length_s
        low, high = KINDS[kind].duration_s
        duration_s = round(rng.uniform(low, high) if rng.random() < 0.7 else low, 3)
        target, process = rng.choice(names), rng.choice(processes)
        faults.append(Fault(round(at_s, 4), kind, target, duration_s, rng.randrange(1 << 30), process))
    return sorted(faults, key=lambda fault: (fault.at_s, fault.kind))
