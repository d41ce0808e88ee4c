"""Claims: how everybody learns that what is not granted of a block is decided here, too.

Before its first grant anybody may write into the journal of a block: a cancellation, a late answer. Whoever
wants to decide about its messages without granting them (cancel one, move them to another carrier) says so in
the journal first, and reads it again in the same step. No I/O: the recorder writes.
"""

from __future__ import annotations

from ..ledger import blocks
from .runs import Run
from .turn import Turn


class Claims:
    """The claims of one carrier that are still to be written."""

    def __init__(self) -> None:
        self._unclaimed: list[Run] = []
        """Runs about whose ungranted messages something is to be decided, which nobody knows yet."""

    def is_ours(self, run: Run) -> bool:
        """Whether everybody knows that its messages are decided about here. If not, they will soon."""
        if run.claimed or not run.fresh:
            return True
        self._unclaimed.append(run)
        return False

    def claim(self, work: Turn, fresh: list[Run]) -> list[Run]:
        """Let the journals of these runs say that what is not granted is decided here, too."""
        claims = [
            run for run in dict.fromkeys(self._unclaimed) if run.fresh and run.open > 0 and run not in fresh
        ]
        self._unclaimed = []
        for run in claims:
            run.ended.append((0, blocks.CLAIMED, 0, ""))
            work.touch(run)
        return claims

    def drop_all(self) -> None:
        """Nothing is in hand any more."""
        self._unclaimed = []
