"""`todoke query`: what became of a message."""

from __future__ import annotations

from .errors import EXIT_OK
from .node import ConfigOption, JsonOption, SocketOption, node_client
from .output import print_fields, print_json


def query(
    message_id: str,
    /,
    *,
    socket: SocketOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """Ask what became of a message.

    Answered for `history_s` after the message has ended; exit 1 if it is not known (any more).

    Parameters
    ----------
    message_id
        The id that `todoke send` or the socket answered.
    """
    with node_client(socket, config) as client:
        answer = client.query(message_id)
    if json:
        print_json(answer)
    else:
        print_fields(answer)
    return EXIT_OK
