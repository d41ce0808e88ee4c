"""What the intake needs of the node: the seam between the local socket and the ledger.

The intake holds one such object and knows nothing of stores, carriers or binds.  Every method may be called
from many tasks at once; a task that is cancelled while it waits in one must leave the node in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

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
