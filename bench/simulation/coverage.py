"""What a run has been through: faults that struck, and the recovery branches of the engine they led it into.

A branch is counted when its function is entered (`BRANCHES`), when the engine logs a line that is not
everyday, and from the engine's own counters. A branch that no seed reaches is a branch that no seed tests.
"""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final

from ...engine.dispatch.carrier import Carrier
from ...engine.dispatch.due import DueStage
from ...engine.dispatch.failover import Failover
from ...engine.dispatch.grants import Grants
from ...engine.dispatch.health import Health
from ...engine.dispatch.late import LateFacts
from ...engine.dispatch.late_answers import LateAnswers
from ...engine.dispatch.outgoing import Outgoing
from ...engine.dispatch.recorder import Recorder
from ...engine.dispatch.slots import Slots
from ...engine.dispatch.taker import Taker
from ...engine.dispatch.tenure import Tenure
from ...engine.dispatch.turn import Turn
from ...engine.feed import Feed
from ...engine.ledger.accept import AcceptStage
from ...engine.ledger.durable import DurableStage
from ...engine.receipts.correlation import Batch
from ...engine.receipts.stage import ReceiptStage

BRANCHES: Final[tuple[tuple[type[Any], str], ...]] = (
    (AcceptStage, "_probe"),
    (AcceptStage, "_drop_repeated"),
    (Batch, "_apply_many"),
    (Batch, "time_out"),
    (Carrier, "on_late_responses"),
    (Carrier, "on_unsent"),
    (DueStage, "_release"),
    (DueStage, "_finish"),
    (DueStage, "_sweep_orphans"),
    (DurableStage, "_pause"),
    (Failover, "move_away"),
    (Feed, "ack"),
    (Grants, "_inherited_doubt"),
    (Grants, "adopt"),
    (Grants, "first_look"),
    (Grants, "lower"),
    (Health, "timed_out"),
    (LateAnswers, "take"),
    (LateFacts, "_commands"),
    (LateFacts, "_write"),
    (LateFacts, "write_found"),
    (Outgoing, "lost"),
    (ReceiptStage, "_adopt"),
    (ReceiptStage, "_look_closer"),
    (ReceiptStage, "_park"),
    (Recorder, "_look_again"),
    (Recorder, "drop_all"),
    (Slots, "_release"),
    (Slots, "_take"),
    (Taker, "_drop"),
    (Taker, "_recover"),
    (Tenure, "_give_up_when_idle"),
    (Tenure, "_lose"),
    (Tenure, "fenced"),
    (Turn, "go_elsewhere"),
)


class Coverage:
    """Counts by word."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def count(self, word: str, n: int = 1) -> None:
        self.counts[word] += n

    @contextmanager
    def watching(self) -> Generator[None, None, None]:
        """Count entries into `BRANCHES` and lines of the engine's log while the body runs."""
        originals: list[tuple[type[Any], str, Any]] = []
        handler = _LogCounter(self)
        logger = logging.getLogger("todoke")
        level = logger.level
        for owner, name in BRANCHES:
            original = owner.__dict__.get(name)
            if original is not None:
                originals.append((owner, name, original))
                setattr(owner, name, self._counting(f"branch {owner.__name__}.{name}", original))
            else:
                self.count(f"missing {owner.__name__}.{name}", 0)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
            for owner, name, original in originals:
                setattr(owner, name, original)

    def _counting(self, word: str, original: Callable[..., Any]) -> Callable[..., Any]:
        counts = self.counts
        counts[word] += 0

        @functools.wraps(original)
        def counted(*args: Any, **kwargs: Any) -> Any:
            counts[word] += 1
            return original(*args, **kwargs)

        return counted


class _LogCounter(logging.Handler):
    def __init__(self, coverage: Coverage) -> None:
        super().__init__()
        self._coverage = coverage

    def emit(self, record: logging.LogRecord) -> None:
        self._coverage.count(f"log {record.module}: {str(record.msg)[:60]}")
