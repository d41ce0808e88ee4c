"""What `todoke bench reach` is told and what it tells: settings, figures, requirements, the printed table."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from .audit import Audit, summary
from .load import LoadResult
from .reach_network import Copies, RateUsed
from .smsc_config import IdForm, Spell

DELIVERED_MIN: Final = 0.999
"""Of the deliverable messages."""
TWICE_MAX: Final = 0.01
"""Of the parts in doubt whose receipt came within the hold."""
RATE_MIN: Final = 0.95
"""Of the contracted rate, while the carrier takes everything and its binds are up."""
DOUBTS_MIN: Final = 100
"""Fewer parts in doubt are no measure of how many are sent twice: one of them may be."""
CARRIERS: Final = ("first", "second")


class ReachConfigError(ValueError):
    """Settings that contradict one another; the text says which."""


class ReachConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One run over two carriers. Times are seconds, shares 0 to 1. Raises `ReachConfigError`."""

    messages: int = 100_000
    seed: int = 1
    long: float = 0.1
    """Share of messages in two parts."""
    rate: int = 300
    """Parts in any sliding second that each carrier grants; above it ESME_RTHROTTLED."""
    binds: int = 2
    window: int = 100
    offered: float = 2_000.0
    """Messages a second that the client submits; 0: as many as are taken."""
    validity_s: float = 900.0
    response_timeout_s: float = 5.0
    hold_s: float = 15.0

    # The carriers
    lost_responses: float = 0.02
    cut_every_s: float = 20.0
    spell_after_s: float = 20.0
    """From the first submit until the first carrier refuses everything with ESME_RSYSERR."""
    spell_s: float = 30.0
    response_delay_s: float = 0.02
    response_jitter_s: float = 0.03
    receipt_delay_s: float = 0.5
    receipt_jitter_s: float = 2.5
    early_receipts: float = 0.05
    doubled_receipts: float = 0.01
    id_form: IdForm = "mixed"

    # The handsets
    gone: float = 0.005
    away: float = 0.01
    away_s: float = 60.0
    """The longest a handset is away, less than validity_s."""

    quiet_s: float = 90.0
    """Give up when nothing was accepted or reported for so long."""
    engine_toml: str = ""
    """Lines added to both carriers' tables."""
    server_binary: str = ""
    directory: str = ""
    """Where everything is written; empty: a temporary directory, removed afterwards."""
    json: bool = False

    def __post_init__(self) -> None:
        if self.away_s >= self.validity_s:
            raise ReachConfigError("away_s: must be less than validity_s")
        if self.receipt_s >= self.hold_s:
            raise ReachConfigError("hold_s: must be more than the delays of response and receipt together")
        if self.messages < 1 or self.rate < 1 or self.binds < 1:
            raise ReachConfigError("messages, rate, binds: must be 1 or more")

    @property
    def receipt_s(self) -> float:
        """The longest a receipt takes from a handset that is there."""
        delays = self.response_delay_s, self.response_jitter_s, self.receipt_delay_s, self.receipt_jitter_s
        return sum(delays)

    @property
    def spells(self) -> list[list[Spell]]:
        """Of each carrier."""
        if not self.spell_s:
            return [[], []]
        return [[Spell(after_s=self.spell_after_s, for_s=self.spell_s, command_status="ESME_RSYSERR")], []]


class Requirement(msgspec.Struct, frozen=True, kw_only=True):
    """One figure against what is asked of it. `ok` None: this run was too small to tell."""

    name: str
    figure: str
    wanted: str
    ok: bool | None


class Deliverable(msgspec.Struct, frozen=True, kw_only=True):
    """The network's own ceiling, in messages."""

    messages: int
    deliverable: int
    gone: int
    """Their handset does not exist."""
    too_late: int
    """Their validity would have ended first, however well the carriers were used."""
    delivered: int
    """Deliverable, delivered according to the SMSCs, and reported so."""
    missed: dict[str, int]
    """Deliverable and not delivered: the state reported -> messages."""
    unforeseen: int
    """Parts that an SMSC decided otherwise than the seed says: the ceiling itself is wrong."""

    @property
    def share(self) -> float:
        return self.delivered / self.deliverable if self.deliverable else 0.0


class Doubt(msgspec.Struct, frozen=True, kw_only=True):
    """Parts in doubt, and what became of them."""

    in_doubt: int
    """Parts the engine counted."""
    suspects: int
    """Parts an SMSC took whose answer it lost, or that came in the half second before a bind was cut."""
    settled: int
    """Parts of which a receipt told the engine in time that they were taken."""
    copies: Copies

    @property
    def share(self) -> float:
        """Sent twice though their receipt came within the hold; of the smaller count of doubts."""
        doubts = min(self.in_doubt, self.suspects)
        return self.copies.inside / doubts if doubts else float(self.copies.inside)


class ReachFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What a run measured."""

    config: ReachConfig
    ok: bool
    requirements: list[Requirement]
    wall_s: float
    """From the first submit to the last report."""
    deliverable: Deliverable
    doubt: Doubt
    rates: dict[str, RateUsed]
    refused: dict[str, dict[str, int]]
    """Carrier -> command_status -> parts refused."""
    cuts: dict[str, int]
    audit: Audit
    load: LoadResult
    status: list[dict[str, Any]]
    """The engine's own account of its carriers, at the end."""
    engine_exit: int
    smsc: dict[str, dict[str, Any]]


def requirements(
    config: ReachConfig, ceiling: Deliverable, doubt: Doubt, rates: dict[str, RateUsed], audit: Audit
) -> list[Requirement]:
    """Every figure against what is asked of it."""
    silent = audit.unreported + audit.open + config.messages - audit.accepted
    doubts = min(doubt.in_doubt, doubt.suspects)
    asked = [
        Requirement(
            name="delivered of the deliverable",
            figure=f"{ceiling.delivered:,} of {ceiling.deliverable:,} = {ceiling.share:.4%}",
            wanted=f">= {DELIVERED_MIN:.1%}",
            ok=ceiling.share >= DELIVERED_MIN and not ceiling.unforeseen,
        ),
        Requirement(name="without a final state", figure=f"{silent:,}", wanted="0", ok=not silent),
        Requirement(name="lost", figure=f"{audit.lost:,}", wanted="0", ok=not audit.lost),
        Requirement(
            name="sent twice, receipt within the hold",
            figure=f"{doubt.copies.inside:,} of {doubts:,} in doubt = {doubt.share:.2%}",
            wanted=f"<= {TWICE_MAX:.0%}",
            ok=doubt.share <= TWICE_MAX if doubts >= DOUBTS_MIN else None if doubt.copies.inside else True,
        ),
    ]
    for name, rate in rates.items():
        asked.append(
            Requirement(
                name=f"rate used, {name}",
                figure="no second counts" if rate.used is None else f"{rate.used:.2%} in {rate.counted_s} s",
                wanted=f">= {RATE_MIN:.0%}",
                ok=None if rate.used is None else rate.used >= RATE_MIN,
            )
        )
        asked.append(
            Requirement(
                name=f"most in a second, {name}",
                figure=f"{rate.peak_sure:,} ({rate.peak:,} as a late simulator counts)",
                wanted=f"<= {rate.contract:,.0f}",
                ok=rate.peak_sure <= rate.contract,
            )
        )
    wrong = audit.mismatched + audit.conflicting + audit.refs_split + audit.unclaimed
    asked.append(Requirement(name="reports that are not true", figure=f"{wrong:,}", wanted="0", ok=not wrong))
    return asked


def table(figures: ReachFigures) -> str:
    """The figures for people."""
    config, ceiling, doubt = figures.config, figures.deliverable, figures.doubt
    lines = [
        f"{config.messages:,} messages over 2 carriers of {config.rate:,} parts/s, seed {config.seed}, "
        f"{figures.wall_s:.0f} s",
        f"ceiling    {ceiling.deliverable:,} deliverable, {ceiling.gone:,} to handsets that are gone, "
        f"{ceiling.too_late:,} beyond their validity"
        + (f"; UNFORESEEN {ceiling.unforeseen:,} parts" if ceiling.unforeseen else ""),
    ]
    if ceiling.missed:
        lines.append(
            "missed     " + ", ".join(f"{state} {count:,}" for state, count in ceiling.missed.items())
        )
    twice = doubt.copies
    lines.append(
        f"in doubt   {doubt.in_doubt:,} parts ({doubt.suspects:,} by the SMSCs' logs), "
        f"{doubt.settled:,} settled by receipts"
    )
    lines.append(
        f"sent twice {twice.doubled:,}, receipt within the hold {twice.inside:,}, over two carriers "
        f"{twice.between_carriers:,}"
    )
    for name, rate in figures.rates.items():
        recovered = "" if rate.recovered_s is None else f"; full again {rate.recovered_s:g} s after the spell"
        lines += [
            f"{name:<10} {_share(rate.used)} of the rate in {rate.counted_s} s, least {_share(rate.lowest)}, "
            f"refused {figures.refused[name] or 0}, {figures.cuts[name]} cuts{recovered}",
            f"           not counted: refusing {rate.refusing_s} s, recovering {rate.recovering_s}, "
            f"bind down {rate.bind_down_s}, no backlog {rate.no_backlog_s}",
        ]
    lines += ["", summary(figures.audit), ""]
    width = max(len(each.name) for each in figures.requirements)
    lines += [
        f"{_WORDS[each.ok]:<7} {each.name:<{width}}  {each.figure}  ({each.wanted})"
        for each in figures.requirements
    ]
    return "\n".join(lines)


_WORDS: Final = {True: "kept", False: "BROKEN", None: "unsure"}


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
