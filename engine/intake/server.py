"""The Unix socket that apps call: who may, how many, and where it lies.

The caller is known by the uid that the kernel vouches for (SO_PEERCRED, unix(7)), so there are no passwords;
the socket is 0660, in a directory that is 0750 if it is created here. An operator is who could as well read
the server's memory: its own uid, or root. Root needs no app for that.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
import struct
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final

import anyio
import anyio.abc
import msgspec
from anyio.abc import SocketAttribute

from ..messages import TOO_MANY_CONNECTIONS, UNKNOWN_APP
from .connection import Connection, Stream, say_and_linger
from .errors import FrameError, SocketError
from .frames import FrameBuffer
from .limits import Limits
from .node import Desk, Node

log = logging.getLogger(__name__)

DEFAULT_APP: Final = "default"
"""The app of a node without [[app]]: whoever has the server's own uid."""
SOCKET_MODE: Final = 0o660
DIRECTORY_MODE: Final = 0o750
SOCKET_PATH_OCTETS_MAX: Final = 107
"""sun_path holds 108 octets, its NULL included (unix(7))."""
ACCEPT_PAUSE_S: Final = 0.1
"""After the machine had no descriptor or memory for another connection."""

_UCRED: Final = struct.Struct("3i")  # pid, uid, gid
_ACCEPT_LATER: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class IntakeStatistics(msgspec.Struct, frozen=True):
    """What the intake holds now, and has refused since its start."""

    connections: int
    subscribed: tuple[str, ...]
    messages_in_hand: int
    refused_connections: int


class Intake:
    """The connections of one node. `wall` tells Unix time in seconds; `desk` is for callers whose uid is
    among `operators`.
    """

    def __init__(
        self,
        node: Node,
        limits: Limits | None = None,
        *,
        wall: Callable[[], float] = time.time,
        desk: Desk | None = None,
        operators: Collection[int] = (),
    ) -> None:
        self._desk = desk
        self._operators = frozenset(operators if desk is not None else ())
        self._node = node
        self._limits = limits or Limits()
        self._wall = wall
        self._subscribed: set[str] = set()
        self._connections: set[Connection] = set()
        self._callers = 0
        self._refused_connections = 0

    def statistics(self) -> IntakeStatistics:
        return IntakeStatistics(
            connections=len(self._connections),
            subscribed=tuple(sorted(self._subscribed)),
            messages_in_hand=sum(connection.messages_in_hand for connection in self._connections),
            refused_connections=self._refused_connections,
        )

    async def handle_connection(self, stream: Stream, app: str | None, uid: int | None = None) -> None:
        """Serve one caller, known to be `app` and to have this uid, until it closes; closes `stream`.

        Cancelled, it answers what is in hand within `close_s` and ends.
        """
        desk = self._desk if uid in self._operators else None
        caller = "nobody" if uid is None else f"uid {uid}"
        connection = Connection(
            stream, app, self._node, self._limits, self._subscribed, self._wall, desk, caller
        )
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)

    async def serve(
        self,
        socket_path: str | os.PathLike[str],
        apps: Mapping[int, str] | None = None,
        *,
        task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen on `socket_path` for callers whose uid is in `apps`, until cancelled.

        `apps` None: one app, DEFAULT_APP, for the server's own uid. Raises SocketError if another server
        listens there, or no socket can be made there.
        """
        apps = {os.geteuid(): DEFAULT_APP} if apps is None else apps
        path = Path(socket_path)
        listener = await _listen(path)
        identity = _identity(path)
        try:
            async with anyio.create_task_group() as tasks:
                task_status.started()
                while True:
                    stream = await _accept(listener)
                    if stream is not None:
                        tasks.start_soon(self._welcome, stream, apps)
        finally:
            with anyio.CancelScope(shield=True):
                await listener.aclose()
            if identity is not None and _identity(path) == identity:
                os.unlink(path)

    async def _welcome(self, stream: anyio.abc.SocketStream, apps: Mapping[int, str]) -> None:
        self._callers += 1
        try:
            uid = peer_uid(stream)
            app = apps.get(uid)
            if self._callers > self._limits.connections_max:
                detail = f"the node has {self._limits.connections_max} connections"
                await self._turn_away(stream, FrameError(TOO_MANY_CONNECTIONS, detail))
            elif app is None and uid not in self._operators:
                log.warning("a caller with uid %d belongs to no app", uid)
                await self._turn_away(stream, FrameError(UNKNOWN_APP, f"uid {uid} belongs to no app"))
            else:
                await self.handle_connection(stream, app, uid)
        except Exception:  # a task's edge: one connection must not end the others
            log.exception("a connection failed")
        finally:
            self._callers -= 1
            await anyio.aclose_forcefully(stream)

    async def _turn_away(self, stream: anyio.abc.SocketStream, error: FrameError) -> None:
        """Say why in the caller's spelling, which its first octet tells."""
        self._refused_connections += 1
        frames = FrameBuffer(self._limits.frame_octets_max)
        with anyio.move_on_after(self._limits.first_octet_s):
            try:
                while frames.spelling is None:
                    frames.receive_data(await stream.receive())
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                pass
        await say_and_linger(stream, frames.spelling or "json", error, self._limits.linger_s)


async def serve(
    socket_path: str | os.PathLike[str],
    node: Node,
    apps: Mapping[int, str] | None = None,
    limits: Limits | None = None,
    *,
    wall: Callable[[], float] = time.time,
    task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """`Intake(node, limits).serve(socket_path, apps)` for who needs no statistics."""
    await Intake(node, limits, wall=wall).serve(socket_path, apps, task_status=task_status)


async def handle_connection(
    stream: Stream,
    app: str,
    node: Node,
    limits: Limits | None = None,
    *,
    wall: Callable[[], float] = time.time,
) -> None:
    """One connection by itself; several that share subscriptions need one `Intake`."""
    await Intake(node, limits, wall=wall).handle_connection(stream, app)


def peer_uid(stream: anyio.abc.SocketStream) -> int:
    """The uid of the process that connected, as the kernel tells it (SO_PEERCRED)."""
    raw = stream.extra(SocketAttribute.raw_socket)
    _pid, uid, _gid = _UCRED.unpack(raw.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return int(uid)


async def _accept(listener: anyio.abc.SocketListener) -> anyio.abc.SocketStream | None:
    """The next caller; None when there is none to be had now."""
    try:
        return await listener.accept()
    except (OSError, anyio.BrokenResourceError) as error:
        # anyio wraps the OSError of accept(2) on asyncio, not on trio.
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError) or cause.errno not in _ACCEPT_LATER:
            raise
        log.warning("no more connections now: %s", cause.strerror)
        await anyio.sleep(ACCEPT_PAUSE_S)
        return None


async def _listen(path: Path) -> anyio.abc.SocketListener:
    if len(os.fsencode(path)) > SOCKET_PATH_OCTETS_MAX:
        raise SocketError(f"socket {path}: a path of more than {SOCKET_PATH_OCTETS_MAX} octets")
    try:
        path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        _refuse_if_in_use(path)
        # It replaces a socket that nobody listens on, the mark of a server that was killed.
        return await anyio.create_unix_listener(path, mode=SOCKET_MODE)
    except OSError as error:
        raise SocketError(f"socket {path}: {error.strerror or error}") from error


def _refuse_if_in_use(path: Path) -> None:
    """Raises SocketError if something is there that is no socket, or somebody listens on it."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SocketError(f"socket {path}: there is something else that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return
        except OSError as error:
            # EAGAIN: its backlog is full, so somebody has it.
            if error.errno != errno.EAGAIN:
                raise
    raise SocketError(f"socket {path}: another server listens on it")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
