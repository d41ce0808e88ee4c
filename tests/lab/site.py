"""A site of whole processes: nodes, their stores and carriers, started as a user starts them, with an app
that submits and one that listens. Shared by every test that kills, cuts off or lies to real processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from todoke.bench.audit_files import Reported
from todoke.bench.smsc_log import AcceptedPart, read_log
from todoke.engine.client import ClientError, SyncClient
from todoke.engine.client_sync import SyncSubscription
from todoke.engine.messages import SubmitAnswer

WAIT_S_MAX = 20.0
STOP_S_MAX = 20.0
POLL_S = 0.01
WINDOW = 50
MESSAGES = 1_200
FRAME_MESSAGES = 100
FINAL = {"delivered", "undeliverable", "rejected", "expired", "sent", "unknown"}
PASSWORD = "hush8pw9"


class Site:
    """A directory with a short path, and every process started in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "run" / "todoke.sock"
        self.processes: list[subprocess.Popen[str]] = []
        self.listeners: list[Hostile] = []
        self.log_to: int | None = None
        """A descriptor that standard error goes to, in the place of a file."""

    def start(self, name: str, *arguments: str) -> subprocess.Popen[str]:
        return self.run(name, "-m", *arguments)

    def run(self, name: str, *arguments: str) -> subprocess.Popen[str]:
        """A Python process."""
        with (self.directory / f"{name}.{len(self.processes)}.err").open("w") as error:
            process = subprocess.Popen(
                [sys.executable, "-P", *arguments],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=error if self.log_to is None else self.log_to,
                text=True,
            )
        self.processes.append(process)
        return process

    def smsc(self, **settings: Any) -> tuple[subprocess.Popen[str], str]:
        """A simulated SMSC: (process, host:port). Its log is `smsc.log`."""
        settings = {"accounts": {"todoke": PASSWORD}, "log": str(self.directory / "smsc.log")} | settings
        words = ["todoke.bench.smsc", "--config-json", msgspec.json.encode(settings).decode()]
        process = self.start("smsc", *words)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on "), line
        return process, line.split()[-1]

    def hostile(self, *script: bytes, slowly: bool = False) -> Hostile:
        self.listeners.append(Hostile(script, slowly))
        return self.listeners[-1]

    def node(self, config: str, *program: str) -> subprocess.Popen[str]:
        """A node that answers. `program`: what is run in the place of `-m todoke.engine.cli`."""
        (self.directory / "todoke.toml").write_text(config)
        words = program or ("-m", "todoke.engine.cli")
        process = self.run("serve", *words, "serve", "todoke.toml")
        until(lambda: process.poll() is not None or self.status(), self.errors)
        assert process.poll() is None, self.errors()
        return process

    def status(self) -> dict[str, Any]:
        """What the node says of itself; nothing while it is away."""
        with suppress(ClientError, TimeoutError), SyncClient(self.socket, answer_timeout_s=5) as client:
            return client.status()
        return {}

    def carrier(self, name: str = "docomo") -> dict[str, Any]:
        found = [one for one in self.status().get("carriers", ()) if one["name"] == name]
        return found[0] if found else {"outstanding": 0, "bound": 0, "last_error": None}

    def errors(self) -> str:
        """All that nodes wrote to standard error."""
        return "".join(path.read_text() for path in sorted(self.directory.glob("serve.*.err")))

    def server_pid(self) -> int:
        """The embedded server's process, 0 if there is none."""
        with suppress(OSError, ValueError):
            return int((self.directory / "run" / "server.pid").read_text())
        return 0

    def parts(self) -> Counter[str]:
        """Destination -> parts the SMSC took."""
        log = read_log(self.directory / "smsc.log")
        return Counter(record.destination for record in log if isinstance(record, AcceptedPart))

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        for listener in self.listeners:
            listener.close()
        kill(self.server_pid())


class Hostile:
    """A TCP server that answers a bind with what it was given, and keeps what it is told."""

    def __init__(self, script: Sequence[bytes], slowly: bool) -> None:
        self._script = script
        self._slowly = slowly
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.heard = b""
        self.connections = 0
        self._threads = [threading.Thread(target=self._listen)]
        self._open: list[socket.socket] = []
        self._threads[0].start()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                self._open.append(peer)
                self.connections += 1
                self._threads.append(threading.Thread(target=self._serve, args=(peer,)))
                self._threads[-1].start()

    def _serve(self, peer: socket.socket) -> None:
        with suppress(OSError):
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer.recv(65_536)
            for data in self._script:
                for piece in [bytes([octet]) for octet in data] if self._slowly else [data]:
                    peer.sendall(piece)
            while data := peer.recv(65_536):
                self.heard += data

    def close(self) -> None:
        for one in [self._listener, *self._open]:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for one in [self._listener, *self._open]:
            one.close()


class Sender:
    """An application that submits with refs, from a thread, and again what it has no answer for."""

    def __init__(self, site: Site, messages: int = MESSAGES, first: int = 0, **more: Any) -> None:
        self._site = site
        self._waiting = [message(number, **more) for number in range(first, first + messages)]
        self.numbers = range(first, first + messages)
        self.messages = messages
        self.ids: dict[str, str] = {}
        self.codes: Counter[str] = Counter()
        self.split: list[str] = []
        self._give_up = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while self._waiting and not self._give_up.is_set():
            frame = self._waiting[:FRAME_MESSAGES]
            try:
                with SyncClient(self._site.socket, answer_timeout_s=10) as client:
                    answer = client.submit(frame)
            except (ClientError, TimeoutError) as error:
                self.codes[type(error).__name__] += 1
                answer = SubmitAnswer([], [])
                time.sleep(POLL_S)
            self.codes.update(refusal.code for refusal in answer.refused)
            for one in answer.accepted:
                assert one.ref is not None
                if self.ids.setdefault(one.ref, one.message_id) != one.message_id:
                    self.split.append(one.ref)
            self._waiting = [one for one in self._waiting if one["ref"] not in self.ids]

    @property
    def busy(self) -> bool:
        """Something is still to be accepted."""
        return self._thread.is_alive()

    def all_accepted(self) -> list[str]:
        """The ids of all its messages, once each has been accepted."""
        until(lambda: not self._thread.is_alive(), lambda: f"{len(self.ids)} accepted, {self.codes}")
        assert len(self.ids) == self.messages
        assert not self.split, "one ref, two messages"
        return list(self.ids.values())

    def end(self) -> None:
        self._give_up.set()
        self._thread.join()


class Reports:
    """What the node told: every (message_id, event, state) once."""

    def __init__(self) -> None:
        self.told: set[tuple[str, str, str]] = set()
        self.heard: list[Reported] = []
        self.doubled: set[str] = set()
        self.received: list[Any] = []

    def wait(self, site: Site, enough: Callable[[], bool]) -> None:
        """Read events, acknowledging them, until it is enough."""
        give_up_at = time.monotonic() + WAIT_S_MAX
        subscription: SyncSubscription | None = None
        try:
            while not enough():
                assert time.monotonic() < give_up_at, f"{len(self.told)} told\n{site.errors()[-3000:]}"
                try:
                    if subscription is None:
                        subscription = SyncClient(site.socket).subscribe()
                    events = subscription.receive(0.2)
                    for event in events:
                        self._hear(event)
                    subscription.ack(events[-1].cursor)
                except TimeoutError:
                    continue
                except ClientError:
                    if subscription is not None:
                        subscription.close()
                    subscription = None
                    time.sleep(POLL_S)
        finally:
            if subscription is not None:
                subscription.close()

    def _hear(self, event: Any) -> None:
        kind = type(event).__name__.lower()
        if kind == "received":
            self.received.append(event)
            return
        self.told.add((event.message_id, kind, event.state))
        doubled, correction = event.possibly_doubled, kind == "correction"
        self.heard.append(Reported(event.message_id, event.state, correction, doubled))
        if event.possibly_doubled:
            self.doubled.add(event.message_id)

    def finals(self, ids: Sequence[str]) -> Counter[str]:
        """How many final states each of these messages has."""
        count = Counter(dict.fromkeys(ids, 0))
        for message_id, kind, state in self.told:
            if kind == "report" and state in FINAL:
                count[message_id] += 1
        return count

    def all_told(self, site: Site, ids: Sequence[str]) -> None:
        """Each of these messages, and no other, comes to one final state."""
        self.wait(site, lambda: set(ids) <= {message_id for message_id, _, _ in self.told})
        assert set(self.finals(ids).values()) == {1}, self.finals(ids).most_common(3)
        assert len(self.finals(ids)) == len(ids), "a report of a message nobody was told of"


def until(true: Callable[[], object], why: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + WAIT_S_MAX
    while True:
        began = time.monotonic()
        if true():
            return
        now = time.monotonic()
        assert now < give_up_at, why()
        # A look that takes long (a whole log) leaves the others as much time as it took.
        time.sleep(max(POLL_S, now - began))


def kill(pid: int) -> None:
    if pid:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def stop(process: subprocess.Popen[str]) -> int:
    process.terminate()
    return process.wait(STOP_S_MAX)


def carrier(host: str, name: str = "docomo", **more: Any) -> str:
    fields = {"name": name, "hosts": [host], "system_id": "todoke", "password": PASSWORD, "window": WINDOW}
    fields |= {"rate": 0, "hold_s": 1} | more
    return "[[carrier]]\n" + "".join(
        f"{key} = {msgspec.json.encode(value).decode()}\n" for key, value in fields.items()
    )


def number_of(number: int) -> str:
    return f"8190{10_000_000 + number}"


def message(number: int, **more: Any) -> dict[str, Any]:
    return {"to": "+" + number_of(number), "text": f"parcel {number}", "ref": f"r{number}"} | more


def in_full_flight(site: Site, reports: Reports) -> None:
    """Some are reported, the window is full, and more is to come."""
    reports.wait(site, lambda: len(reports.told) >= 100)
    until(lambda: site.carrier()["outstanding"] >= WINDOW // 2, site.errors)


def doubled_parts(site: Site, sender: Sender) -> set[str]:
    """The messages whose part the SMSC took more than once; each was taken at least once."""
    parts = site.parts()
    assert set(parts) == {number_of(number) for number in range(sender.messages)}
    ids = {number_of(int(ref[1:])): message_id for ref, message_id in sender.ids.items()}
    return {ids[to] for to, copies in parts.items() if copies > 1}
