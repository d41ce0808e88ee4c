"""What the intake needs of the node: the seam between the local socket and the ledger.

The intake holds one such object and knows nothing of stores, carriers or binds.  Every method may be called
from many tasks at once; a task that is cancelled while it waits in one must leave the node in order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ..bell import Bell
from ..messages import Accepted, Refusal, StoredEvent, Valid


class Node(Protocol):
    """The node as an app sees it.  Errors: `NodeUnavailable` from any method, others as named."""

    async def submit(
        self, app: str, messages: list[Valid], indexes: list[int]
    ) -> tuple[list[Accepted], list[Refusal]]:
        """Take `messages`; return only when those accepted are durable.

        `indexes[k]` is the index that a refusal of `messages[k]` must bear (they increase, with gaps).
        `accepted` is in the order of `messages` without the refused ones: apps that give no ref match them by
        it.  Raises NodeUnavailable when nothing may be acknowledged.
        """
        ...

    async def query(self, app: str, message_id: str) -> dict[str, Any]:
        """What is known of a message, as the flat object to answer.  Raises UnknownMessage."""
        ...

    async def cancel(self, app: str, message_id: str) -> dict[str, Any]:
        """Cancel what is not sent yet: `{"cancelled": bool, "state": ...}`.  Raises UnknownMessage."""
        ...

    async def status(self) -> dict[str, Any]:
        """The node's state, as the flat object to answer."""
        ...

    async def events(self, app: str, after: str | None) -> Sequence[StoredEvent]:
        """Wait until the app has events after the cursor `after`; return some, oldest first, at least one.

        None means after the acknowledged one.  The returned event objects are the caller's to change.
        """
        ...

    async def ack(self, app: str, cursor: str) -> None:
        """Acknowledge every event up to `cursor` (again: no change).  Raises BadCursor."""
        ...


class Watch(Protocol):
    """A queue of PDUs as they pass; `bell` rings when there are some, or some were lost."""

    bell: Bell

    def take(self, octets_max: int) -> tuple[Sequence[Any], int]:
        """The oldest, of about `octets_max` octets, at least one if there is any; and how many were lost
        behind them.
        """
        ...


class Desk(Protocol):
    """What an operator may ask; `by` says who, for the log.  Errors: NodeUnavailable, UnknownCarrier."""

    async def carrier(self, act: str, name: str | None, value: float | None, by: str) -> dict[str, Any]:
        """`list`, or one of `pause`, `resume`, `rate`, `window`: how the accounts are (afterwards).

        Raises BadValue.
        """
        ...

    async def held(self, act: str, carrier: str | None, message_id: str | None, by: str) -> dict[str, Any]:
        """`list`, `release` or `drop` what is held because it is in doubt; None and None: all of it.

        Raises UnknownMessage.
        """
        ...

    def watch(
        self, carrier: str, bind: int | None, commands: list[str] | None, by: str
    ) -> tuple[Watch, Callable[[], None]]:
        """Begin to watch a carrier's PDUs; call what comes with the queue when done.

        Raises BadValue, TooManyTraces.
        """
        ...
