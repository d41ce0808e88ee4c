"""`todoke cancel`: take a message back."""

from __future__ import annotations

from .errors import EXIT_FAILED, EXIT_OK
from .node import ConfigOption, JsonOption, SocketOption, node_client
from .output import print_fields, print_json


def cancel(
    message_id: str,
    /,
    *,
    socket: SocketOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """Take back a message that was not sent yet.

    Exit 0 if it was cancelled (its report says so too), 1 if it was too late or is not known.

    Parameters
    ----------
    message_id
        The id that `todoke send` or the socket answered.
    """
    with node_client(socket, config) as client:
        answer = client.cancel(message_id)
    if json:
        print_json(answer)
    else:
        print_fields(answer)
    return EXIT_OK if answer.get("cancelled") else EXIT_FAILED
