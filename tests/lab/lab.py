"""What the fault lab is made of: a store of its own, doors and lines through proxies, nodes that share both,
and the audit every test ends with."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, TypeVar

import hiredis
import redis
from todoke.bench.audit import Audit, Auditor, summary
from todoke.bench.audit_files import Accepted
from todoke.bench.smsc_log import LogEvent, read_log
from todoke.engine.ledger.embedded import EmbeddedServerError, bundled_binary
from todoke_tests_proxy import Cut, Direction, RedisDoor, SmppLine
from todoke_tests_site import Reports, Sender, Site, carrier, kill, number_of, until

START_S_MAX = 15.0
WINDOW = 20
MESSAGES = 300
LEASE_S = 3.2
HISTORY_S = 0.5
"""Every test ends when all is forgotten."""
IN_FLIGHT = {"response_delay_s": 0.04}
"""An SMSC at which a window stays full: 500 parts a second."""

DATED = Path(__file__).with_name("dated.py")

OnPdu = TypeVar("OnPdu", bound=Callable[[Direction, int, bytes], bytes | Cut | None])

MAY_STAY = re.compile(
    r"\{todoke\}:(epoch|carriers|apps)|\{c:\w+\}:(slot:\d+|lease:\d+|alive:\d+|members|turns|rx:version|rx:shared:version|queued:\w+|q:\w+)"
    r"|\{a:\w+\}:(events|events:n|events:acked|ref:\d+|ref:version)"
)
"""What a ledger without a message holds."""
COUNTERS = re.compile(r".*:(queued:\w+|events:n)")


def binary_of(kind: str) -> str | None:
    """The server's program; None where it is not installed."""
    if kind == "redis":
        return shutil.which("redis-server")
    with suppress(EmbeddedServerError):
        return str(bundled_binary())
    return None


class Server:
    """A durable store on a Unix socket, to be killed, frozen, restricted and started again."""

    def __init__(self, binary: str, directory: Path) -> None:
        directory.mkdir()
        self.directory = directory
        self.socket = directory / "s"
        self._binary = binary
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting: list[socket.socket] = []
        self.client = redis.Redis(unix_socket_path=str(self.socket), socket_timeout=10)

    def start(self, *settings: str) -> None:
        self.socket.unlink(missing_ok=True)
        words = ["--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.directory), "--save", ""]
        words += ["--appendonly", "yes", "--appendfsync", "always", *settings]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen([self._binary, *words], stdout=log, stderr=log)
        until(self.answers, lambda: (self.directory / "log").read_text())

    def answers(self) -> bool:
        with suppress(redis.RedisError):
            return bool(self.client.ping())
        return False

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(START_S_MAX)
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        freeze(self._process)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def send_unanswered(self, *words: str) -> None:
        """A command on a connection of its own, whose answer nobody waits for."""
        self._waiting.append(socket.socket(socket.AF_UNIX))
        self._waiting[-1].connect(str(self.socket))
        self._waiting[-1].sendall(hiredis.pack_command(words))

    def waiting(self) -> int:
        """Blocks in lanes that nobody has taken."""
        lanes = [key for key in self.client.scan_iter("{c:*}:q:*") if self.client.exists(key)]
        return sum(int(group["lag"] or 0) for lane in lanes for group in self.client.xinfo_groups(lane))

    def left(self) -> list[str]:
        """The keys, and what is in them, that a ledger without a message would not hold."""
        found: list[str] = []
        for raw in self.client.scan_iter(count=1_000):
            key = raw.decode()
            if key.endswith(":orphans"):
                continue  # judged by `orphans`
            if key.endswith(":doubts"):
                continue  # noted as long as orphans are kept
            if MAY_STAY.fullmatch(key) is None:
                held = self.client.hgetall(key) if self.client.type(key) == b"hash" else ""
                found.append(f"{key} {held}")
            elif COUNTERS.fullmatch(key):
                found += [f"{key}={value}" for value in [int(self.client.get(key) or 0)] if value]
            elif self.client.type(key) == b"stream" and (length := self.client.xlen(key)):
                found.append(f"{key} has {length}")
        return sorted(found)

    def orphans(self) -> int:
        """Receipts that found no message."""
        return sum(self.client.hlen(key) for key in self.client.scan_iter("{c:*}:orphans"))

    def end(self) -> None:
        self.client.close()
        for connection in self._waiting:
            connection.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Node:
    """One engine process with its own socket and directory; `door` is its way to the store."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.lab = lab
        self.site = Site(lab.directory / name)
        self.site.directory.mkdir()
        self.door = lab.stack.enter_context(Closing(RedisDoor(str(lab.server.socket))))
        self.process: subprocess.Popen[str] | None = None
        self.config = ""
        self._date = self.site.directory / "date"

    def date(self, by_s: float) -> None:
        """Its date is off by so much from now on. The node must be `dated` before it starts."""
        new = self._date.with_suffix(".new")
        new.write_text(str(by_s))
        new.rename(self._date)

    def start(self, **more: Any) -> None:
        """Start it, or start it again."""
        lab = self.lab
        if not self.config or more:
            fields = {"lease_s": LEASE_S, "history_s": HISTORY_S, "window": WINDOW} | lab.carrier | more
            node = "[node]\ndrain_s = 10\n"
            url = f'[redis]\nurl = "redis://{self.door.host}"\n'
            self.config = carrier(lab.host, **fields) + url + node
        program = (str(DATED), str(self._date)) if self._date.exists() else ()
        self.process = self.site.node(self.config, *program)

    def kill(self) -> None:
        """kill -9, without waiting: safe in a proxy's thread."""
        assert self.process is not None
        kill(self.process.pid)

    def killed(self) -> None:
        assert self.process is not None
        self.process.wait(START_S_MAX)

    def freeze(self) -> None:
        assert self.process is not None
        freeze(self.process)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """SIGTERM, and it says that nothing is in doubt."""
        assert self.process is not None
        self.process.terminate()
        code = self.process.wait(START_S_MAX)
        assert code == 0, f"ended with {code}\n{self.site.errors()[-3000:]}"
        assert "Traceback" not in self.site.errors(), self.site.errors()[-3000:]

    def counts(self) -> dict[str, int]:
        """What its carrier has counted."""
        counts: dict[str, int] = self.site.carrier().get("counts", {})
        return counts

    def bound(self) -> int:
        return int(self.site.carrier()["bound"])


class Closing:
    def __init__(self, thing: Any) -> None:
        self._thing = thing

    def __enter__(self) -> Any:
        return self._thing

    def __exit__(self, *_: object) -> None:
        self._thing.close()


class Lab:
    """One store, one SMSC behind a line, and as many nodes as a test asks for. `carrier`: settings of the
    account in every node's configuration.
    """

    def __init__(self, directory: Path, binary: str) -> None:
        self.directory = directory
        self.stack = ExitStack()
        self.server = Server(binary, directory / "store")
        self.stack.callback(self.server.end)
        self.server.start()
        self.smsc_site = Site(directory)
        self.stack.callback(self.smsc_site.end)
        self.nodes: list[Node] = []
        self.senders: list[Sender] = []
        self.reports = Reports()
        self.carrier: dict[str, Any] = {}
        self.host = ""
        self.line: Any = None
        self._smsc: subprocess.Popen[str] | None = None
        self._on_pdu: Any = None

    def smsc(self, **settings: Any) -> None:
        self._smsc, host = self.smsc_site.smsc(**(IN_FLIGHT | settings))
        self.line: SmppLine = self.stack.enter_context(Closing(SmppLine(host)))
        self.host = self.line.host
        if self._on_pdu is not None:
            self.line.on_pdu = self._on_pdu

    def watch(self, on_pdu: OnPdu) -> OnPdu:
        """Have the line ask this about every PDU."""
        self._on_pdu = on_pdu
        if self.line is not None:
            self.line.on_pdu = on_pdu
        return on_pdu

    def start_sending(self, *, smsc: bool = True, messages: int = MESSAGES, **settings: Any) -> Node:
        """An SMSC (unless there is one), a node, and an app that submits."""
        if smsc:
            self.smsc(**settings)
        node = self.node()
        self.send(node, messages)
        return node

    def release_receipts(self) -> None:
        """The receipts that `hold_receipts` held are sent."""
        assert self._smsc is not None
        self._smsc.send_signal(signal.SIGUSR1)

    def freeze_smsc(self) -> None:
        assert self._smsc is not None
        freeze(self._smsc)

    def thaw_smsc(self) -> None:
        assert self._smsc is not None
        self._smsc.send_signal(signal.SIGCONT)

    def node(self, name: str = "a", *, dated: bool = False, log_to: int | None = None, **more: Any) -> Node:
        """A node that answers. `dated`: its date can be set; `log_to`: where its log goes."""
        node = Node(self, name)
        node.site.log_to = log_to
        if dated:
            node.date(0)
        self.nodes.append(node)
        self.stack.callback(node.site.end)
        node.start(**more)
        return node

    def send(self, node: Node, messages: int = MESSAGES, **more: Any) -> Sender:
        """An app that submits so many messages to this node."""
        first = sum(sender.messages for sender in self.senders)
        sender = Sender(node.site, messages, first, **more)
        self.stack.callback(sender.end)
        self.senders.append(sender)
        return sender

    def in_flight(self, node: Node, reported: int = 50) -> None:
        """Some are reported, and more is on the wire."""
        self.reports.wait(node.site, lambda: len(self.reports.told) >= reported)
        until(lambda: node.site.carrier()["outstanding"] >= WINDOW // 2, node.site.errors)

    def parts(self) -> int:
        """Parts the SMSC has taken so far."""
        return sum(self.smsc_site.parts().values())

    def settle(self, node: Node) -> None:
        """Every message is accepted and has its one final state, as this node tells."""
        ids = [message_id for sender in self.senders for message_id in sender.all_accepted()]
        self.reports.all_told(node.site, ids)

    def end(self, *alive: Node, doubt: int = 0, rate: int = 0) -> Audit:
        """The audit: everything is settled, no key is left, the nodes stop cleanly, and the books of apps
        and SMSC agree. `doubt`: copies that the faults of this test explain; `rate`: parts in any second.
        """
        self.settle(alive[0])
        until(lambda: not self.server.left(), lambda: "\n".join(map(str, self.server.left()[:20])))
        orphans = self.server.orphans()
        for node in alive:
            node.stop()
        assert self._smsc is not None
        self._smsc.terminate()
        assert self._smsc.wait(START_S_MAX) == 0
        auditor = Auditor()
        for sender in self.senders:
            auditor.told(
                Accepted(sender.ids[f"r{number}"], number_of(number), 1, f"r{number}")
                for number in sender.numbers
            )
        auditor.told(self.reports.heard)
        log = self.directory / "smsc.log"
        auditor.seen(read_log(log))
        verdict = auditor.verdict(doubt, rate_allowed=rate)
        assert verdict.ok, summary(verdict)
        # A receipt of a first copy whose answer was lost has no message_id to find its message by; and one
        # that is told again after a kill may come when its message is forgotten.
        assert orphans <= doubt, f"{orphans} receipts found no message, {verdict.doubled} doubled"
        self._doubles_say_so()
        return verdict

    def _doubles_say_so(self) -> None:
        """Invariant 2: no copy without a report that admits it."""
        ids = {
            number_of(number): sender.ids[f"r{number}"]
            for sender in self.senders
            for number in sender.numbers
        }
        doubled = {ids[to] for to, copies in self.smsc_site.parts().items() if copies > 1}
        assert doubled <= self.reports.doubled, "doubled, and its report does not say so"

    def lost_binds(self) -> int:
        """Sessions that ended, as the SMSC knows."""
        return sum(event.word == "lost" for event in self.events())

    def events(self) -> list[LogEvent]:
        """What the SMSC logged of binds."""
        return [one for one in read_log(self.directory / "smsc.log") if isinstance(one, LogEvent)]

    def close(self) -> None:
        for node in self.nodes:
            if node.process is not None and node.process.poll() is None:
                node.thaw()
        with suppress(AssertionError):
            self.server.thaw()
        self.stack.close()


class At:
    """An `on_pdu` that does something at some PDUs of one kind."""

    def __init__(self, command_id: int, *numbers: int) -> None:
        self._command_id = command_id
        self._numbers = numbers
        self.seen = 0

    def __call__(self, direction: Direction, command_id: int, frame: bytes) -> bytes | Cut | None:
        if command_id != self._command_id:
            return None
        self.seen += 1
        return self.does(frame) if self.seen in self._numbers else None

    def does(self, frame: bytes) -> bytes | Cut | None:
        raise NotImplementedError


class Lose(At):
    def does(self, frame: bytes) -> bytes:
        return b""


def freeze(process: subprocess.Popen[Any]) -> None:
    """SIGSTOP, and it has stopped."""
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)


def seconds(deadline_s: float, true: Any, why: Any) -> float:
    """How long it took until `true`; at most `deadline_s`."""
    began = time.monotonic()
    until(true, why)
    took = time.monotonic() - began
    assert took <= deadline_s, f"{took:.2f} s, {deadline_s:.2f} allowed\n{why()}"
    return took
