"""Is a recovery branch missed? Seeds are played with an engine without it, until one fails.

A seed fails when a promise is broken that the whole engine keeps on the same seed, or when fewer than
REACH_MIN of what could be delivered was delivered, and the whole engine delivers them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Final

import msgspec

from .run import Outcome
from .scenario import Size
from .seeds import play_all

REACH_MIN: Final = 0.999
"""Of what the network could deliver."""


class Trial(msgspec.Struct, frozen=True):
    """How it went with one branch."""

    played: int
    """Seeds, up to the one that failed."""
    failed: Outcome | None
    """None: nobody missed the branch."""
    why: list[str]
    """The promises broken, or what was not delivered."""


def try_without(
    delete: str,
    seeds: Sequence[int],
    size: Size,
    messages: int | None,
    jobs: int = 1,
    faults: tuple[str, ...] = (),
) -> Trial:
    """Play these seeds without this branch, each in a process of its own, until one fails."""
    played = 0
    with closing(play_all(seeds, size, messages, jobs, faults, delete)) as outcomes:
        for outcome in outcomes:
            played += 1
            enough = REACH_MIN * outcome.deliverable
            if outcome.ok and outcome.delivered >= enough:
                continue
            (whole,) = play_all([outcome.seed], size, messages, 1, faults)
            if not whole.ok:
                continue  # it fails with the branch as well
            if not outcome.ok:
                return Trial(played, outcome, outcome.broken)
            if whole.delivered >= REACH_MIN * whole.deliverable:
                share = f"{outcome.delivered} of {outcome.deliverable} deliverable messages delivered"
                return Trial(played, outcome, [f"{share}, the whole engine delivers {whole.delivered}"])
    return Trial(played, None, [])
