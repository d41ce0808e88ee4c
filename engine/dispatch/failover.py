"""While a carrier's breaker is open: what it was not given yet goes to the next carrier of its route.

Only what is to move is chosen here, a turn at a time; the turn carries it over.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final

from ..bell import Bell
from ..config import CarrierConfig
from ..ledger.blocks import Extra
from ..ledger.keys import LANES
from .claims import Claims
from .outgoing import Outgoing
from .runs import parts_to_send
from .turn import Elsewhere, Turn

MOVES_PER_TURN_MAX: Final = 1_000
URGENT: Final = LANES[0]


class Failover:
    """Of one carrier: whether its messages move, and which are next. How far each run was asked about stands
    in the run (`tried_moving`).
    """

    def __init__(
        self,
        config: CarrierConfig,
        outgoing: Outgoing,
        claims: Claims,
        bell: Bell,
        counts: dict[str, int],
        *,
        elsewhere: Elsewhere,
    ) -> None:
        """`bell` wakes the recorder; `counts` are its own."""
        self._config = config
        self._outgoing = outgoing
        self._claims = claims
        self._bell = bell
        self._counts = counts
        self._elsewhere = elsewhere
        self.moving = False
        """The account's breaker is open: what can go elsewhere goes."""
        self.room_at: Callable[[str], float] = lambda carrier: inf
        """How many parts another carrier would send soon if they were moved to it."""
        self.on_held_back: Callable[[], None] = lambda: None
        """Called when something was not moved for want of room: ring the bell after a while."""

    def move_away(self, moving: bool) -> None:
        """Begin or end moving what waits to other carriers. Called again: what could not go is tried anew."""
        self.moving = moving
        for run in self._outgoing.runs.values():
            run.tried_moving = 0
        if moving:
            self._bell.ring()

    def choose(self, work: Turn) -> None:
        """Let what was not given to a bind go to the next carrier of its route, as a part of this turn.

        Not with a part in doubt, nor after a part's ROK: then only this account can tell what became of it.
        Nor before the next carrier has room: its queue is no better a place to wait than ours, and what has
        moved does not come back when this carrier does. Urgent messages overtake those that wait there.
        """
        left = MOVES_PER_TURN_MAX
        room: dict[str, float] = {}
        held_back = False
        for lane_name, lane in self._outgoing.lanes.items():
            for run in lane:
                if not left:
                    break
                if run.open <= 0:
                    continue  # its end is recorded, or about to be
                if run.tried_moving < len(run.entries) and not self._claims.is_ours(run):
                    left -= 1
                    continue
                while run.tried_moving < len(run.entries) and left:
                    index = max(run.next, run.tried_moving)
                    run.tried_moving = index + 1
                    entry = run.entries[index] if index < len(run.entries) else None
                    if entry is None or index in run.skip:
                        continue
                    extra = entry.extra or Extra()
                    if extra.doubled or extra.pending is not None:
                        continue
                    tried = [*(extra.carriers or []), self._config.name]
                    other = self._elsewhere(entry, run.block.app, tried)
                    if other is None:
                        continue
                    if lane_name != URGENT:
                        there = room.get(other[0])
                        if there is None:
                            there = self.room_at(other[0])
                        if there < other[1].parts:
                            run.tried_moving = index
                            held_back = True
                            break
                        room[other[0]] = there - other[1].parts
                    left -= 1
                    run.skip.add(index)
                    if index < run.grant:
                        work.resolved_parts += parts_to_send(entry)
                    self._counts["moved"] += 1
                    work.go_elsewhere(run, index, entry, extra.last_status, other, tried)
        if not left:
            self._bell.ring()
        elif held_back:
            self.on_held_back()
