"""Cancellations of what no bind was given: taken out of its run, and answered when the journal says so."""

from __future__ import annotations

from collections.abc import Callable

from ..bell import Bell
from ..ledger import blocks
from .claims import Claims
from .runs import Run, parts_to_send
from .turn import Turn, has_table

Done = Callable[[bool], None]
"""Told whether the message is cancelled."""


class Cancellations:
    """Those of one carrier that wait for a turn."""

    def __init__(self, claims: Claims, bell: Bell, counts: dict[str, int]) -> None:
        """`bell` wakes the recorder; `counts` are its own."""
        self._claims = claims
        self._bell = bell
        self._counts = counts
        self.asked: list[tuple[Run, int, Done]] = []
        """Those that the next turn looks at."""

    def cancel(self, run: Run, index: int, done: Done) -> None:
        """Let this message not be sent; `done` is called when that is written down, or is not to be."""
        self.asked.append((run, index, done))
        self._bell.ring()

    def take(self, work: Turn) -> list[tuple[Done, bool]]:
        """Cancel what no bind has been given. Returns what to answer after the journal says so."""
        asked, self.asked = self.asked, []
        results: list[tuple[Done, bool]] = []
        for run, index, done in asked:
            if run.open > 0 and not self._claims.is_ours(run):
                self.asked.append((run, index, done))
                continue
            entry = run.entries[index]
            possible = index >= run.next and entry is not None and index not in run.skip
            if possible:
                assert entry is not None
                run.skip.add(index)
                if index < run.grant:
                    work.resolved_parts += parts_to_send(entry)
                self._counts["cancelled"] += 1
                work.end(run, index, blocks.CANCELLED, 0)
                if has_table(entry):
                    work.close_table(run, index, entry)
                work.tell(run, index, entry, "cancelled")
            results.append((done, possible))
        return results

    def drop_all(self) -> list[Done]:
        """Nothing is in hand any more. Returns whom to answer that nothing is cancelled."""
        asked, self.asked = self.asked, []
        return [done for _, _, done in asked]
