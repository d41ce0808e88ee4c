"""The promises that only whole processes can break: a node, its embedded server and carriers, started as a
user starts them, and then killed, cut off, lied to and listened to."""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from todoke.bench.smsc_log import AcceptedPart, read_log
from todoke.codecs import constants
from todoke.codecs.pdu import BindTransceiverResp, DeliverSm, decode, encode
from todoke.engine.client import ClientError, SyncClient
from todoke.engine.client_sync import SyncSubscription
from todoke.engine.messages import SubmitAnswer

WAIT_S_MAX = 20.0
STOP_S_MAX = 20.0
POLL_S = 0.01
RSS_MB_MAX = 150
WINDOW = 50
MESSAGES = 1_200
FRAME_MESSAGES = 100
FINAL = {"delivered", "undeliverable", "rejected", "expired", "sent", "unknown"}
TAG_OVERRUN = 0x1501
PASSWORD = "hush8pw9"


class Site:
    """A directory with a short path, and every process started in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "run" / "todoke.sock"
        self.processes: list[subprocess.Popen[str]] = []
        self.listeners: list[Hostile] = []

    def start(self, name: str, *arguments: str) -> subprocess.Popen[str]:
        with (self.directory / f"{name}.{len(self.processes)}.err").open("w") as error:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", *arguments],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=error,
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

    def node(self, config: str) -> subprocess.Popen[str]:
        """A node that answers."""
        (self.directory / "todoke.toml").write_text(config)
        process = self.start("serve", "todoke.engine.cli", "serve", "todoke.toml")
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

    def __init__(self, site: Site, messages: int = MESSAGES) -> None:
        self._site = site
        self._waiting = [message(number) for number in range(messages)]
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
                except TimeoutError:
                    continue
                for event in events:
                    self._hear(event)
                subscription.ack(events[-1].cursor)
        finally:
            if subscription is not None:
                subscription.close()

    def _hear(self, event: Any) -> None:
        kind = type(event).__name__.lower()
        if kind == "received":
            self.received.append(event)
            return
        self.told.add((event.message_id, kind, event.state))
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


@pytest.fixture
def site() -> Generator[Site, None, None]:
    with tempfile.TemporaryDirectory(prefix="t-") as directory:
        site = Site(Path(directory))
        try:
            yield site
        finally:
            site.end()


@pytest.fixture
def cleanup() -> Generator[ExitStack, None, None]:
    with ExitStack() as stack:
        yield stack


def until(true: Callable[[], object], why: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + WAIT_S_MAX
    while not true():
        assert time.monotonic() < give_up_at, why()
        time.sleep(POLL_S)


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


@pytest.mark.parametrize("server_too", [False, True], ids=["engine", "engine-and-server"])
def test_kill_9_loses_nothing(site: Site, cleanup: ExitStack, server_too: bool) -> None:
    smsc, host = site.smsc(response_delay_s=0.05)
    node = site.node(carrier(host))
    sender, reports = Sender(site), Reports()
    cleanup.callback(sender.end)
    in_full_flight(site, reports)
    node.kill()
    if server_too:
        kill(site.server_pid())
    node.wait()
    assert len(reports.told) < MESSAGES, "killed too late to show anything"
    again = site.node(carrier(host))
    reports.all_told(site, sender.all_accepted())
    assert stop(again) == 0, site.errors()
    assert stop(smsc) == 0
    doubled = doubled_parts(site, sender)
    assert len(doubled) <= 2 * WINDOW
    assert sum(site.parts().values()) - MESSAGES <= 2 * WINDOW
    assert doubled <= reports.doubled, "doubled, and its report does not say so"


def test_the_server_is_killed_under_a_living_node(site: Site, cleanup: ExitStack) -> None:
    smsc, host = site.smsc(response_delay_s=0.05)
    node = site.node(carrier(host))
    sender, reports = Sender(site), Reports()
    cleanup.callback(sender.end)
    in_full_flight(site, reports)
    server = site.server_pid()
    kill(server)
    with SyncClient(site.socket, answer_timeout_s=WAIT_S_MAX) as client:
        answer = client.submit([message(MESSAGES)])
    assert {refusal.code for refusal in answer.refused} <= {"unavailable"}
    ids = sender.all_accepted() + [one.message_id for one in answer.accepted]
    assert set(sender.codes) <= {"unavailable"}
    reports.all_told(site, ids)
    assert node.poll() is None
    assert site.server_pid() not in (0, server)
    assert "the embedded server has died" in site.errors()
    assert stop(node) == 0, site.errors()
    assert stop(smsc) == 0
    parts = site.parts()
    assert len(parts) == len(ids)
    assert sum(parts.values()) - len(parts) <= 2 * WINDOW


def test_sigterm_in_full_flight(site: Site, cleanup: ExitStack) -> None:
    smsc, host = site.smsc(response_delay_s=0.05)
    node = site.node(carrier(host))
    sender, reports = Sender(site), Reports()
    cleanup.callback(sender.end)
    in_full_flight(site, reports)
    assert stop(node) == 0, site.errors()
    assert site.server_pid() == 0, "the embedded server goes with its last user"
    assert len(reports.told) < MESSAGES, "stopped too late to show anything"
    again = site.node(carrier(host))
    reports.all_told(site, sender.all_accepted())
    assert set(sender.codes) <= {"stopping", "unavailable", "NodeAway"}
    assert stop(again) == 0, site.errors()
    assert stop(smsc) == 0
    assert doubled_parts(site, sender) == set()
    assert reports.doubled == set()


def bind_resp() -> bytes:
    return encode(BindTransceiverResp(system_id=b"bad"), 1)


def deliver_with_overrun(text: bytes, source: bytes) -> bytes:
    """A message from a handset whose last TLV claims more octets than there are."""
    pdu = DeliverSm(source_addr=source, destination_addr=b"0032069000", short_message=text)
    body = encode(pdu, 7)[16:] + struct.pack(">HH", TAG_OVERRUN, 60_000) + text
    return struct.pack(">4I", 16 + len(body), constants.DELIVER_SM, 0, 7) + body


def header(length: int) -> bytes:
    return struct.pack(">4I", length, constants.BIND_TRANSCEIVER_RESP, 0, 1)


FOREIGN: dict[str, tuple[bytes, str]] = {
    "zero": (header(0), "length"),
    "fifteen": (header(15), "length"),
    "endless": (header(0xFFFFFFFF) + b"\xff" * 65_536, "length"),
    "http": (b"HTTP/1.1 400 Bad Request\r\nServer: door\r\n\r\n", "HTTP"),
    "tls": (b"\x15\x03\x01\x00\x02\x02\x46", "TLS"),
}
"""Name of a carrier -> (what answers its bind, a word of the error that must be shown)."""


def test_a_hostile_smsc_costs_only_its_bind(site: Site) -> None:
    smsc, host = site.smsc()
    liars = {name: site.hostile(answer) for name, (answer, _) in FOREIGN.items()}
    slow = site.hostile(bind_resp(), deliver_with_overrun(b"garbage", b"8190"), slowly=True)
    no_nul = site.hostile(struct.pack(">4I", 36, constants.BIND_TRANSCEIVER_RESP, 0, 1) + b"A" * 20)
    tables = [carrier(liar.host, name) for name, liar in liars.items()]
    node = site.node(
        carrier(host)
        + carrier(slow.host, "slow")
        + carrier(no_nul.host, "no-nul")
        + "".join(tables)
        + '[[route]]\ncarriers = ["docomo"]\n'
        + "[node]\ndrain_s = 5\n"
    )
    errors: dict[str, str] = {}

    def all_complained() -> bool:
        errors.update(
            {one["name"]: one["last_error"] for one in site.status()["carriers"] if one["last_error"]}
        )
        return set(errors) >= set(FOREIGN)

    until(all_complained, lambda: errors)
    sender, reports = Sender(site, 300), Reports()
    reports.all_told(site, sender.all_accepted())
    for name, (_, word) in FOREIGN.items():
        seen = site.carrier(name)
        assert word in seen["last_error"], (name, seen["last_error"])
        assert seen["bound"] == 0
        assert any(key.startswith("closed_") for key in seen["binds"][0]["counters"]), seen
        assert liars[name].connections < 20, "it rebinds without a pause"
    assert site.carrier("no-nul")["binds"][0]["counters"]["bind_resp_malformed"] == 1
    # A PDU that cannot be read is answered and counted; the bind stays.
    until(lambda: len(slow.heard) >= 16, lambda: site.carrier("slow"))
    answer = decode(slow.heard[: int.from_bytes(slow.heard[:4], "big")])
    assert answer.sequence_number == 7
    assert site.carrier("slow")["bound"] == 1
    assert slow.connections == 1
    rss = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{node.pid}/status").read_text())
    assert rss is not None
    assert int(rss[1]) / 1024 < RSS_MB_MAX
    assert "Traceback" not in site.errors()
    assert stop(node) == 0, site.errors()
    assert stop(smsc) == 0
    assert len(site.parts()) == 300


def test_no_log_tells_a_secret(site: Site) -> None:
    text, answer_text, frame_text = "Zaphod lies", "Marvin sighs", "Trillian waits"
    sender_name = "Magrathea"
    smsc, host = site.smsc(
        cut_after_submits=97,
        errors={"ESME_RSYSERR": 0.1, "ESME_RINVDSTADR": 0.1},
        states={"undeliverable:027": 0.3},
        receipt_text=True,
        mo_rate=20,
        mo_texts=[answer_text],
    )
    garbler = site.hostile(bind_resp(), deliver_with_overrun(answer_text.encode(), b"819087654321"))
    reader = site.hostile(b"HTTP/1.1 400 " + answer_text.encode() + b"\r\n\r\n")
    settings: dict[str, Any] = {"sender": "0032069000", "max_attempts": 2}
    node = site.node(
        carrier(host, **settings)
        + carrier(host, "refused", system_id="todoke", password="wrong9pw")
        + carrier(garbler.host, "garbler")
        + carrier(reader.host, "reader")
        + '[[route]]\ncarriers = ["docomo"]\n'
        + '[node]\nlog_level = "debug"\ndrain_s = 5\n'
    )
    good = [message(number, text=f"{text} {number}") for number in range(120)]
    good += [message(number, text=text, **{"from": sender_name}) for number in range(120, 150)]
    bad = [
        message(200, text=text * 2_000),
        message(201, text=text + "\x00"),
        message(202, text=text, **{"from": sender_name * 3}),
        message(203, text=text, carrier="none"),
        message(204, text=text, colour="red"),
        {"to": number_of(205) + "55555555", "text": text},
        {"to": f"{number_of(206)}x", "text": text},
    ]
    with SyncClient(site.socket) as client:
        answer = client.submit(good + bad)
        assert len(answer.accepted) == len(good)
        assert len(answer.refused) == len(bad)
    broken = f'{{"op":"submit","id":1,"messages":[{{"to":"+{number_of(207)}","text":"{frame_text}"'
    for frame in (
        broken.encode() + b"\n",
        struct.pack(">I", 40) + frame_text.encode() * 3,
        b"\x16" + broken.encode(),
    ):
        with socket.socket(socket.AF_UNIX) as raw:
            raw.settimeout(WAIT_S_MAX)
            raw.connect(str(site.socket))
            raw.sendall(frame)
            raw.shutdown(socket.SHUT_WR)
            assert raw.recv(65_536), "a bad frame is answered"
    reports = Reports()
    ids = [one.message_id for one in answer.accepted]
    reports.wait(site, lambda: bool(reports.received) and all(reports.finals(ids).values()))
    until(lambda: site.carrier("refused")["last_error"] and len(garbler.heard) >= 16, site.errors)
    assert {state for _, _, state in reports.told} >= {"delivered", "undeliverable"}
    garbler.close()  # else its unbind is waited for
    assert stop(node) in (0, 3), site.errors()
    assert stop(smsc) == 0
    log = site.errors() + (site.directory / "run" / "server.log").read_text()
    for fact in ("docomo", "refuses the account", "cannot be read", "draining"):
        assert fact in log, "it shows nothing, so it proves nothing"
    numbers = {number_of(number) for number in range(210)} | {"819087654321", "0032069000"}
    numbers |= {one.from_.removeprefix("+") for one in reports.received}
    secrets = {text, answer_text, frame_text, sender_name, PASSWORD, "wrong9pw"} | numbers
    assert not [secret for secret in secrets if secret in log]
