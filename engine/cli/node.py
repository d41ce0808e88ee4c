"""How the commands find and speak to a running node."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

from cyclopts import Parameter

from .errors import CliError

if TYPE_CHECKING:
    from ..client import SyncClient

SOCKET_DEFAULT = "run/todoke.sock"
SOCKET_VARIABLE = "TODOKE_SOCKET"

SocketOption: TypeAlias = Annotated[
    Path | None, Parameter(name="--socket", help="The node's socket; else $TODOKE_SOCKET.")
]
ConfigOption: TypeAlias = Annotated[
    Path | None, Parameter(name="--config", help="A configuration whose [intake] socket is meant.")
]
JsonOption: TypeAlias = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")]


def socket_path(socket: Path | None, config: Path | None) -> str:
    """Where the node listens: --socket, $TODOKE_SOCKET, the configuration, or run/todoke.sock."""
    if socket is not None:
        return str(socket)
    if config is None:
        return os.environ.get(SOCKET_VARIABLE) or SOCKET_DEFAULT
    from .check import load_config

    return load_config(config).intake.socket


@contextlib.contextmanager
def node_errors() -> Generator[None, None, None]:
    """Errors of the client as one line and exit 1."""
    from ..client import ClientError

    try:
        yield
    except ClientError as error:
        raise CliError(str(error)) from None
    except TimeoutError:
        raise CliError("no answer in time") from None


@contextlib.contextmanager
def node_client(socket: Path | None, config: Path | None) -> Generator[SyncClient, None, None]:
    """A connected client. Raises `CliError` for whatever goes wrong with the node."""
    from ..client import SyncClient

    with node_errors(), SyncClient(socket_path(socket, config)) as client:
        client.connect()
        yield client
