"""`todoke events`: what the node tells this app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from .errors import EXIT_OK
from .node import ConfigOption, JsonOption, SocketOption, node_errors, socket_path
from .output import print_json

if TYPE_CHECKING:
    from ..messages import Event

QUIET_S = 0.5
"""Without --follow: after this long without an event there are no more waiting."""


def events(
    *,
    follow: Annotated[bool, Parameter(negative="")] = False,
    ack: bool = True,
    socket: SocketOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """Print the reports and received messages that wait for this app, and acknowledge them.

    An event is acknowledged when it was printed; what is not acknowledged comes again. One subscription
    an app: while its own program listens, this command is refused.

    Parameters
    ----------
    follow
        Go on printing events as they come, also over restarts of the node, until Ctrl-C.
    ack
        With --no-ack nothing is acknowledged: only a look.
    """
    from ..client import SyncClient

    with node_errors(), SyncClient(socket_path(socket, config)) as client:
        client.connect()
        with client.subscribe(reconnect=follow) as subscription:
            while True:
                try:
                    some = subscription.receive(None if follow else QUIET_S)
                except TimeoutError:
                    return EXIT_OK
                for event in some:
                    if json:
                        print_json(event)
                    else:
                        print(event_line(event), flush=True)
                if ack:
                    subscription.ack(some[-1].cursor)


def event_line(event: Event) -> str:
    """An event as a line for people."""
    from ..messages import Received

    if isinstance(event, Received):
        answering = f" in reply to {event.in_reply_to}" if event.in_reply_to else ""
        return f"received from {event.from_} to {event.to}{answering}: {event.text!r}"
    line = f"{event.at} {event.state:13} {event.message_id} {event.carrier}"
    line += f" {event.delivered_parts}/{event.parts} parts"
    if event.ref is not None:
        line += f" ref {event.ref}"
    if event.error is not None:
        line += f" ({error_text(event.error.class_, event.error.command_status, event.error.network_error)})"
    if event.possibly_doubled:
        line += " possibly doubled"
    if type(event).__name__ == "Correction":
        line += " (correction)"
    return line


def error_text(class_: str, command_status: int | None, network_error: str | None) -> str:
    """`permanent, ESME_RINVDSTADR` or `network, error 721`."""
    from ...codecs.constants import STATUS_NAMES

    said = [class_]
    if command_status:
        said.append(STATUS_NAMES.get(command_status, f"command_status {command_status:#x}"))
    if network_error is not None:
        said.append(f"error {network_error}")
    return ", ".join(said)
