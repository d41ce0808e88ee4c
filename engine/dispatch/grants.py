"""Grants: the durable permission to write parts to a bind.

What is granted and has no outcome on record is in doubt after a crash, so no more is granted than the windows
can use: twice their sum, and a second of the rate. A grant is raised here and written by the recorder; it
counts from then on (`Run.grant`), and is usable when it is on disk (`Run.usable`). No I/O.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

import msgspec

from ..ledger import blocks
from ..ledger.blocks import Entry, Extra
from .inbox import Inbox
from .outgoing import Outgoing, grant_more
from .runs import LongMessage, Run
from .turn import Turn


class Grants:
    """The grants of one carrier in this process, over all of its runs."""

    def __init__(self, outgoing: Outgoing, inbox: Inbox) -> None:
        self._outgoing = outgoing
        self._inbox = inbox
        self.open_parts = 0
        """Parts granted and without a recorded outcome, over all runs."""
        self.windows = 0
        """Sum of the windows of the binds that may send; grants never exceed twice this."""
        self.stopping = False
        """A clean stop: no new grants."""
        self.wanted = False
        """Somebody asked for more since the last turn."""
        self.on_usable: Callable[[], None] = lambda: None
        """Called when grants became usable."""

    def want(self) -> None:
        self.wanted = True
        self._inbox.bell.ring()

    def reserve(self, parts: int) -> bool:
        """Count these parts as granted, if the limit allows; the grant is written by the caller."""
        if self.stopping or self._outgoing.paused or parts > 2 * self.windows - self.open_parts:
            return False
        self.open_parts += parts
        return True

    def grant(self, work: Turn) -> list[Run]:
        """Raise what may be raised, as a part of this turn. Returns the runs concerned."""
        self.wanted = False
        if self.stopping or self._outgoing.paused:
            return []
        budget = 2 * self.windows - (self.open_parts - work.resolved_parts)
        rate = self._outgoing.pacer.rate
        if rate:
            # What cannot leave within a second needs no grant yet: a crash would have it held for nothing.
            budget = min(budget, ceil(rate) - self._outgoing.granted_ahead())
        if budget <= 0:
            return []
        raised, granted = grant_more(self._outgoing, budget)
        self.open_parts += granted
        for run in raised:
            work.touch(run)
        return raised

    def take_back(self, work: Turn) -> None:
        """While an operator's pause lasts nothing is granted that was not handed to a bind."""
        runs, parts = self._outgoing.take_back()
        work.resolved_parts += parts
        for run in runs:
            work.touch(run)

    def lower(self) -> None:
        """A clean stop: what was granted and never given to a bind is granted no more, so nobody doubts it
        later.
        """
        self.stopping = True
        for lane in self._outgoing.lanes.values():
            for run in lane:
                if run.grant > run.next:
                    run.grant = run.usable = run.next
                    self._inbox.ended.append(run)
        self._inbox.bell.ring()

    def adopt(self, run: Run, progress: blocks.Progress) -> None:
        """Give a run what its journal says; what was granted and not answered is in doubt from now on.

        The run stays fresh: between this reading and its first grant a cancellation may still be written.
        """
        granted = min(progress.grant, len(run.entries))
        for index, entry in enumerate(run.entries):
            if entry is None or index in progress.ended:
                run.skip.add(index)
                run.open -= 1
                continue
            wanted = blocks.pending_parts(entry)
            missing = [part for part in wanted if (index, part) not in progress.sent]
            if not missing:
                run.skip.add(index)
                run.open -= 1
            elif index < granted:
                run.skip.add(index)
                self._inherited_doubt(run, index, entry, missing)
            elif len(missing) < len(wanted):
                # A late answer named one part of a message that is otherwise still to be sent.
                entry.extra = msgspec.structs.replace(entry.extra or Extra(), pending=missing)
        run.next = run.grant = run.usable = granted
        self._if_ended(run)

    def _inherited_doubt(self, run: Run, index: int, entry: Entry, missing: list[int]) -> None:
        message = LongMessage(run, index, dict.fromkeys(missing, b""))
        message.todo.clear()
        if entry.parts > 1:
            run.long[index] = message
            message.outstanding = set(missing)
        self.open_parts += len(missing)
        self._inbox.doubts += [(run, index, part) for part in missing]
        self._inbox.bell.ring()

    def first_look(self, run: Run, records: list[bytes]) -> None:
        """The journal of a run as of its first grant, or of a later one of copies: a cancellation or a late
        answer may be there, about what was not granted before.
        """
        run.fresh = False
        if len(records) <= 1:
            return
        progress = blocks.fold(records)
        before = run.open
        for index in sorted(set(progress.ended) | {index for index, _ in progress.sent}):
            entry = run.entries[index]
            if index < run.next or index in run.skip or entry is None:
                continue
            wanted = blocks.pending_parts(entry)
            missing = [part for part in wanted if (index, part) not in progress.sent]
            if index in progress.ended:
                missing = []
            if index < run.grant:
                self.open_parts -= len(wanted) - len(missing)
            if missing:
                entry.extra = msgspec.structs.replace(entry.extra or Extra(), pending=missing)
            else:
                run.skip.add(index)
                run.open -= 1
        if run.open < before:
            # Of what was just granted nothing may be left to send, and then no answer asks for more.
            self.wanted = True
            self._if_ended(run)

    def _if_ended(self, run: Run) -> None:
        if run.open <= 0:
            self._inbox.ended.append(run)
            self._inbox.bell.ring()
