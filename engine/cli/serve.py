"""`todoke serve`: a node in the foreground, until a signal stops it."""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

from .errors import EXIT_FAILED, EXIT_IN_DOUBT, EXIT_OK
from .log_writer import LogWriter

if TYPE_CHECKING:
    import anyio
    from anyio.abc import TaskStatus

    from ..config import Config

SIGNAL_EXIT = 128
"""A second signal ends the process with this plus its number, as a shell reports a killed process."""

log = logging.getLogger("todoke")


def serve(file: Path, /) -> int:
    """Run a node until SIGTERM or Ctrl-C.

    A first signal drains: nothing new is taken, answers to what is on the wire are awaited for up to
    `drain_s`, the binds are unbound. A second signal ends at once. Logs go to standard error.

    Exit 0 after a clean drain, 3 if parts stayed in doubt: their count is logged and the next start takes
    them up.

    Parameters
    ----------
    file
        The configuration; see `todoke check`.
    """
    from .check import load_config, warnings_of

    config = load_config(file)
    log_to_stderr(config.node.log_level)
    log.info("socket %s", os.path.abspath(config.intake.socket))
    log.info("redis %s, durability %s", config.redis.safe_url, config.redis.durability)
    for text in warnings_of(config):
        log.warning("%s", text)
    return run_until_signal(config)


def log_to_stderr(level: str) -> None:
    """Plain lines for people: time, level, what happened. Nobody ever waits for them to be written."""
    logging.basicConfig(
        level=level.upper(),
        handlers=[LogWriter(sys.stderr.fileno())],
        format="%(asctime)s %(levelname)-7s %(message)s",
        force=True,
    )


def run_until_signal(config: Config) -> int:
    """Run the node on the production event loop; the exit code of `serve`."""
    import anyio

    from ..errors import EngineError
    from ..intake.errors import SocketError
    from ..ledger.embedded import EmbeddedServerError
    from ..ledger.port import StoreError

    expected = (OSError, StoreError, EmbeddedServerError, SocketError, EngineError)
    try:
        in_doubt = anyio.run(_node, config, backend="asyncio", backend_options={"use_uvloop": True})
    except expected as error:
        log.error("cannot go on: %s", error)
        return EXIT_FAILED
    except BaseExceptionGroup as group:
        known, others = group.split(expected)
        if others is not None:
            raise
        for leaf in _leaves(known):
            log.error("cannot go on: %s", leaf)
        return EXIT_FAILED
    if in_doubt:
        log.warning("stopped; %d parts stayed in doubt, the next start takes them up", in_doubt)
        return EXIT_IN_DOUBT
    log.info("stopped; nothing in doubt")
    return EXIT_OK


async def _node(config: Config) -> int:
    """Run the node and stop it by signal; the number of parts left in doubt."""
    import anyio

    from ..app import run_node

    stop = anyio.Event()
    in_doubt = 0
    async with anyio.create_task_group() as tasks:
        await tasks.start(_watch_signals, stop)
        result = await run_node(config, ready=lambda: log.info("ready"), stop=stop)
        in_doubt = result.in_doubt
        tasks.cancel_scope.cancel()
    return in_doubt


async def _watch_signals(stop: anyio.Event, *, task_status: TaskStatus[None]) -> None:
    import anyio

    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for number in signals:
            if stop.is_set():
                log.error("%s again: ending without waiting", number.name)
                logging.shutdown()
                os._exit(SIGNAL_EXIT + number)
            log.info("%s: draining (once more ends at once)", number.name)
            stop.set()


def _leaves(error: BaseException | None) -> list[BaseException]:
    """The errors inside a group of groups."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return [leaf for inner in group.exceptions for leaf in _leaves(inner)]
    return [error] if error else []
