"""What the tests against foreign SMPP stacks share.

`simulator` is ours as an SMSC, `converse` is ours as an ESME, `Process` is a foreign program that tells one
JSON object a line, and `Tap` is a wire between any two of them that keeps every PDU: what both sides say of
themselves is one thing, what went over the wire another.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import msgspec
from todoke.bench.smsc_log import AcceptedPart, LogEvent, ReceiptAnswered, read_log
from todoke.codecs import constants as c
from todoke.codecs import framing, gsm7, pdu, receipt, segment
from todoke.codecs.fast import SubmitTemplate
from todoke.engine.client import ClientError, SyncClient
from todoke.engine.clock import SystemClock
from todoke.engine.session.bind import Bind
from todoke.engine.session.connect import tcp_connector
from todoke.engine.session.settings import SessionConfig

HERE = Path(__file__).resolve().parent
WAIT_S_MAX = 20.0
POLL_S = 0.01
PDU_OCTETS_MAX = 70_000
SYSTEM_ID = "todoke"
PASSWORD = "hush8pw9"
SENDER = "0032069000"
ENQUIRE_LINK_S = 0.2
MORE_TO_SEND = struct.pack(">HHB", c.TAG_MORE_MESSAGES_TO_SEND, 1, 1)

TEXTS = {
    "819010000001": "Parcel 1 waits at the door: @home, £5 {ü}",
    "819010000002": "Parcel [2] costs 12 € at Straße 9_à. " * 11,
    "819010000003": "お荷物をお届けしました。",
    "819010000004": "届け先の皆様へ📦のお知らせ。" * 9,
}
"""Destination -> text: short and long, in the default alphabet and in UCS-2."""


def until(true: Callable[[], object], why: Callable[[], object]) -> None:
    """Poll until it is true; fail with `why()` when that takes too long."""
    give_up_at = time.monotonic() + WAIT_S_MAX
    while not true():
        assert time.monotonic() < give_up_at, why()
        time.sleep(POLL_S)


async def until_async(true: Callable[[], object], why: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + WAIT_S_MAX
    while not true():
        assert time.monotonic() < give_up_at, why()
        await anyio.sleep(POLL_S)


# --- the wire ---------------------------------------------------------------------------------------------


class Seen(NamedTuple):
    """One PDU that passed."""

    connection: int
    sender: str
    """`esme` (who connected) or `smsc`."""
    command_id: int
    command_status: int
    sequence_number: int
    frame: bytes

    def __repr__(self) -> str:
        name = c.COMMAND_NAMES.get(self.command_id, hex(self.command_id))
        return f"{self.connection} {self.sender} {name} {self.command_status} #{self.sequence_number}"


class Tap:
    """A relay on a port of its own to `port`, which remembers the PDUs of both directions."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.seen: list[Seen] = []
        self.left_over = 0
        """Octets at the end of a direction that were no whole PDU."""
        self._sockets: list[socket.socket] = [self._listener]
        self._threads = [threading.Thread(target=self._listen)]
        self._connections = 0

    def __enter__(self) -> Tap:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for one in self._sockets:
            one.close()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                esme, _ = self._listener.accept()
                self._sockets.append(esme)
                smsc = socket.create_connection(("127.0.0.1", self._to), timeout=WAIT_S_MAX)
                smsc.settimeout(None)
                self._sockets.append(smsc)
                self._connections += 1
                for source, sink, sender in (esme, smsc, "esme"), (smsc, esme, "smsc"):
                    source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    thread = threading.Thread(
                        target=self._relay, args=(source, sink, sender, self._connections)
                    )
                    self._threads.append(thread)
                    thread.start()

    def _relay(self, source: socket.socket, sink: socket.socket, sender: str, connection: int) -> None:
        waiting = b""
        with suppress(OSError):
            while data := source.recv(65_536):
                frames, used = framing.split(waiting + data, PDU_OCTETS_MAX)
                waiting = (waiting + data)[used:]
                # Noted first: who has seen an answer finds its request here.
                self.seen += [Seen(connection, sender, *frame) for frame in frames]
                sink.sendall(data)
        self.left_over += len(waiting)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def of(self, sender: str, command_id: int) -> list[Seen]:
        return [one for one in self.seen if one.sender == sender and one.command_id == command_id]

    def binds(self) -> list[str]:
        """The commands by which the ESME bound, in order."""
        kinds = (c.BIND_TRANSCEIVER, c.BIND_TRANSMITTER, c.BIND_RECEIVER)
        return [c.COMMAND_NAMES[one.command_id] for one in self.seen if one.command_id in kinds]

    def answered(self, sender: str, command_id: int) -> int:
        """Requests of `sender` that the other side answered ESME_ROK."""
        other = "smsc" if sender == "esme" else "esme"
        rok = {
            (one.connection, one.sequence_number)
            for one in self.of(other, command_id | c.RESPONSE_BIT)
            if not one.command_status
        }
        return sum((one.connection, one.sequence_number) in rok for one in self.of(sender, command_id))

    def check(self, unanswered: Iterable[int] = (), refused: Iterable[int] = ()) -> None:
        """Every PDU of both sides is read by our codec and written again octet by octet; every request has
        its one answer, of its own kind, from the other side, ESME_ROK. Exceptions are command_ids."""
        assert self.left_over == 0
        asked: Counter[tuple[object, ...]] = Counter()
        answers: Counter[tuple[object, ...]] = Counter()
        for one in self.seen:
            read = pdu.decode(one.frame)
            assert pdu.encode(read, one.sequence_number, one.command_status) == one.frame, (one, read)
            if one.command_id & c.RESPONSE_BIT:
                other = "smsc" if one.sender == "esme" else "esme"
                request = one.command_id & ~c.RESPONSE_BIT
                answers[one.connection, other, request, one.sequence_number] += 1
                assert not one.command_status or request in set(refused), one
            elif one.command_id not in set(unanswered):
                asked[one.connection, one.sender, one.command_id, one.sequence_number] += 1
        open_requests = asked - answers
        assert not open_requests, (open_requests, self.seen[-6:])
        assert max(asked.values()) == 1, "a sequence_number was used twice"
        assert not [key for key in answers - asked if key[2] not in set(unanswered)], answers - asked


# --- ours as an SMSC --------------------------------------------------------------------------------------


class Simulator:
    """`todoke smsc` in a process; `stop()` first, then read what it logged."""

    def __init__(self, log: Path, **settings: Any) -> None:
        self._log = log
        settings = {"log_payload": True, "enquire_link_s": ENQUIRE_LINK_S} | settings
        words = [
            word
            for name, value in settings.items()
            for word in (
                [f"--{'' if value else 'no-'}{name.replace('_', '-')}"]
                if isinstance(value, bool)
                else [f"--{name.replace('_', '-')}", str(value)]
            )
        ]
        words += ["--system-id", SYSTEM_ID, "--password", PASSWORD, "--log", str(log), "--json"]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "todoke.engine.cli", "smsc", "--port", "0", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith("listening on 127.0.0.1:"), line
        self.port = int(line.rsplit(":", 1)[1])

    def stop(self) -> dict[str, Any]:
        """End it, and give its counts."""
        self._process.terminate()
        out, _ = self._process.communicate(timeout=WAIT_S_MAX)
        assert self._process.returncode == 0
        return msgspec.json.decode(out.strip().splitlines()[-1])

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def parts(self) -> list[AcceptedPart]:
        return [record for record in read_log(self._log) if isinstance(record, AcceptedPart)]

    def receipts_answered(self) -> int:
        return sum(isinstance(record, ReceiptAnswered) for record in read_log(self._log))

    def events(self) -> list[str]:
        return [record.word for record in read_log(self._log) if isinstance(record, LogEvent)]

    def texts(self) -> dict[str, str]:
        """Destination -> text, parts put together."""
        return joined(
            # The log keeps a part's TLVs behind its text.
            (one.destination, one.esm_class, one.data_coding, one.head.removesuffix(MORE_TO_SEND))
            for one in self.parts()
        )


@contextmanager
def simulator(log: Path, **settings: Any) -> Generator[Simulator, None, None]:
    smsc = Simulator(log, **settings)
    try:
        yield smsc
    finally:
        smsc.kill()


def joined(pieces: Iterable[tuple[str, int, int, bytes]]) -> dict[str, str]:
    """(destination, esm_class, data_coding, payload) of parts -> whole texts. One text a destination."""
    parts: dict[str, dict[int, bytes]] = defaultdict(dict)
    codings: dict[str, set[int]] = defaultdict(set)
    totals: dict[str, set[tuple[int, int]]] = defaultdict(set)
    for to, esm_class, data_coding, payload in pieces:
        number, group = 1, (0, 1)
        if esm_class & c.ESM_CLASS_UDHI:
            header, payload = payload[1 : 1 + payload[0]], payload[1 + payload[0] :]
            assert header[:2] == b"\x00\x03", header
            number, group = header[4], (header[2], header[3])
        elif payload[:2] == b"\x04\x24":  # message_payload
            assert int.from_bytes(payload[2:4], "big") == len(payload) - 4
            payload = payload[4:]
        assert number not in parts[to], "a part came twice"
        parts[to][number] = payload
        codings[to].add(data_coding)
        totals[to].add(group)
    whole: dict[str, str] = {}
    for to, numbered in parts.items():
        ((_, total),) = totals[to]
        (data_coding,) = codings[to]
        assert sorted(numbered) == list(range(1, total + 1)), (to, sorted(numbered))
        octets = b"".join(numbered[number] for number in sorted(numbered))
        whole[to] = octets.decode("utf-16-be") if data_coding == 8 else gsm7.decode(octets)
    return whole


# --- ours as an ESME --------------------------------------------------------------------------------------


class Esme:
    """The engine's binds to one SMSC, and what they told. A BindHandler that answers every deliver_sm."""

    def __init__(self) -> None:
        self.binds: list[Bind] = []
        self.answers: dict[Any, tuple[int, str]] = {}
        self.receipts: list[receipt.Receipt] = []
        self.messages: list[bytes] = []
        self.bound = 0
        self.doubts: list[Any] = []
        self.lost: list[str] = []

    def on_bound(self, bind: Bind) -> None:
        self.bound += 1

    def on_responses(self, bind: Bind, items: Any) -> None:
        for token, command_id, command_status, message_id, _ in items:
            assert command_id == c.SUBMIT_SM_RESP
            assert token not in self.answers
            self.answers[token] = command_status, message_id.decode()

    def on_late_responses(self, bind: Bind, items: Any) -> None:
        self.doubts += items

    def on_delivers(self, bind: Bind, items: Any) -> None:
        for _, _, frame in items:
            found = receipt.parse_deliver(frame)
            if found is None:
                self.messages.append(frame)
            else:
                self.receipts.append(found)
        bind.answer_delivers([(handle, command_id, 0) for handle, command_id, _ in items])

    def on_doubt(self, bind: Bind, tokens: Any) -> None:
        self.doubts += tokens

    def on_unsent(self, bind: Bind, tokens: Any) -> None:
        self.doubts += tokens

    def on_lost(self, bind: Bind, reason: str) -> None:
        self.lost.append(reason)

    def on_window(self, bind: Bind) -> None: ...

    def state(self) -> object:
        counts = len(self.answers), len(self.receipts), self.doubts, self.lost
        return counts, [bind.statistics() for bind in self.binds]

    def submit(self, texts: dict[str, str]) -> int:
        """Send every text, in parts where needed; gives the number of parts."""
        rules = segment.Rules()
        template = SubmitTemplate(source_addr=SENDER.encode(), source_addr_npi=1)
        bodies: list[bytes] = []
        tokens: list[tuple[str, int]] = []
        for reference, (to, text) in enumerate(texts.items(), 1):
            cut = segment.segment(text, rules)
            for number, (esm_class, payload, tlvs) in enumerate(segment.fields(cut, rules, reference), 1):
                body = template.body(to.encode(), cut.data_coding, payload, esm_class=esm_class, tlvs=tlvs)
                bodies.append(body)
                tokens.append((to, number))
        self.binds[0].submit(bodies, tokens)
        return len(bodies)


@asynccontextmanager
async def bound(port: int, kinds: Sequence[str], password: str = PASSWORD) -> AsyncIterator[Esme]:
    """The engine's binds of these kinds, up; unbound at the end."""
    esme = Esme()
    for kind in kinds:
        config = msgspec.convert(
            {
                "system_id": SYSTEM_ID,
                "password": password,
                "bind": kind,
                "enquire_link_s": ENQUIRE_LINK_S,
                "enquire_link_timeout_s": 5.0,
            },
            SessionConfig,
        )
        connect = tcp_connector([f"127.0.0.1:{port}"])
        esme.binds.append(Bind(kind, config, connect, SystemClock(), random.Random(1), esme))
    async with anyio.create_task_group() as tasks:
        for bind in esme.binds:
            tasks.start_soon(bind.run)
        try:
            await until_async(lambda: esme.bound == len(kinds), esme.state)
            yield esme
            for bind in esme.binds:
                await bind.close(WAIT_S_MAX)
        finally:
            tasks.cancel_scope.cancel()


def converse(
    tap: Tap, kinds: Sequence[str], ask_back: Callable[[], object] | None, unbind_answered: bool = True
) -> Esme:
    """Bind, send TEXTS, get answers and receipts, ask and be asked for the link, unbind.

    `ask_back` makes the SMSC send an enquire_link on every bind; None where it cannot. `unbind_answered`: it
    sends an unbind_resp before it closes.
    """

    async def run() -> Esme:
        async with bound(tap.port, kinds) as esme:
            parts = esme.submit(TEXTS)
            await until_async(lambda: len(esme.receipts) == parts == len(esme.answers), esme.state)
            await until_async(lambda: tap.answered("esme", c.ENQUIRE_LINK) >= len(kinds), lambda: tap.seen)
            if ask_back is not None:
                ask_back()
                # On every bind: an unanswered one must not meet the unbind.
                await until_async(
                    lambda: tap.answered("smsc", c.ENQUIRE_LINK) == len(kinds), lambda: tap.seen
                )
        return esme

    esme = anyio.run(run)
    parts = len(esme.answers)
    assert parts > 6
    assert sorted(tap.binds()) == sorted(f"bind_{kind}" for kind in kinds)
    assert {status for status, _ in esme.answers.values()} == {0}
    ids = sorted(message_id for _, message_id in esme.answers.values())
    assert len(set(ids)) == parts
    assert sorted(one.message_id for one in esme.receipts) == ids
    assert {one.state for one in esme.receipts} == {"delivered"}
    assert esme.doubts == [] == esme.messages
    assert [one.split(":")[0] for one in esme.lost] == ["unbound"] * len(kinds), esme.lost
    assert [bind.statistics().sessions for bind in esme.binds] == [1] * len(kinds)
    tap.check(unanswered=() if unbind_answered else [c.UNBIND, c.ENQUIRE_LINK])
    assert len(tap.of("esme", c.UNBIND)) == len(kinds)
    assert tap.answered("smsc", c.DELIVER_SM) == parts == tap.answered("esme", c.SUBMIT_SM)
    assert tap.answered("esme", c.ENQUIRE_LINK) >= len(kinds)
    return esme


def unbound_by_peer(tap: Tap, server: Process) -> None:
    """The server says unbind: it is answered, nothing is lost, and the bind comes back and works."""

    async def run() -> Esme:
        async with bound(tap.port, ["transceiver"]) as esme:
            for number, text in enumerate(("before", "after"), 1):
                parts = esme.submit({f"81901000001{number}": text})
                await until_async(lambda n=number: len(esme.answers) == n == len(esme.receipts), esme.state)
                assert parts == 1
                if number == 1:
                    server.do("unbind")
                    await until_async(lambda: tap.answered("smsc", c.UNBIND), lambda: tap.seen)
                    await until_async(lambda: esme.bound == 2, esme.state)
        return esme

    esme = anyio.run(run)
    assert esme.doubts == []
    assert [one.split(":")[0] for one in esme.lost] == ["unbound_by_peer", "unbound"]
    assert server.texts() == {"819010000011": "before", "819010000012": "after"}


# --- foreign programs -------------------------------------------------------------------------------------


class Process:
    """A foreign peer as a program: a JSON object a line on standard output (its events), the same on
    standard input (what it shall do)."""

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.events: list[dict[str, Any]] = []
        self._errors: list[str] = []
        self._threads = [threading.Thread(target=self._read), threading.Thread(target=self._read_errors)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for thread in self._threads:
            thread.join()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.events.append(json.loads(line))

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        self._errors += self._process.stderr

    def do(self, word: str, **fields: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": word, **fields}) + "\n")
        self._process.stdin.flush()

    def of(self, event: str) -> list[dict[str, Any]]:
        return [one for one in self.events if one["event"] == event]

    def wait(self, event: str, count: int = 1) -> dict[str, Any]:
        """The `count`th event of that name, once it is there."""
        until(lambda: len(self.of(event)) >= count or self._process.poll() is not None, self.said)
        assert len(self.of(event)) >= count, self.said()
        return self.of(event)[count - 1]

    def said(self) -> str:
        return "\n".join([*map(str, self.events[-20:]), *self._errors[-20:]])

    def texts(self) -> dict[str, str]:
        """Destination -> text as the foreign server read it, its parts put together by their headers."""
        parts: dict[str, dict[int, str]] = defaultdict(dict)
        totals: dict[str, int] = {}
        for one in self.of("submit"):
            header = bytes.fromhex(one["header"]) or bytes((5, 0, 3, 0, 1, 1))
            assert header[:3] == b"\x05\x00\x03", header
            assert header[5] not in parts[one["to"]], "a part came twice"
            totals[one["to"]] = header[4]
            parts[one["to"]][header[5]] = one["text"]
        assert {to: len(numbered) for to, numbered in parts.items()} == totals
        return {to: "".join(numbered[n] for n in sorted(numbered)) for to, numbered in parts.items()}


def python_peer(script: str, *arguments: str) -> Process:
    """A program beside this file, in this Python."""
    return Process(sys.executable, str(HERE / script), *arguments)


def server_heard(
    server: Process, binds: int, parts: int, texts: dict[str, str] = TEXTS, status: int = 0
) -> None:
    """What a foreign server must have seen of `converse`; `status` is what it makes of a deliver_sm_resp."""
    assert server.of("error") == [], server.said()
    assert [one["system_id"] for one in server.of("bound")] == [SYSTEM_ID] * binds
    assert server.texts() == texts
    submits = server.of("submit")
    assert len(submits) == parts
    assert {(one["from"], one["registered_delivery"]) for one in submits} == {(SENDER, 1)}
    server.wait("receipt_answered", parts)
    assert [one["status"] for one in server.of("receipt_answered")] == [status] * parts


# --- the whole engine -------------------------------------------------------------------------------------


class Engine:
    """`todoke serve` in `directory` (a short path) with one carrier."""

    def __init__(self, directory: Path, port: int, **carrier: Any) -> None:
        self._directory = directory
        self.socket = directory / "run" / "todoke.sock"
        fields = {"name": "foreign", "hosts": [f"127.0.0.1:{port}"], "system_id": SYSTEM_ID}
        fields |= {"password": PASSWORD, "sender": SENDER, "enquire_link_s": 1} | carrier
        (directory / "todoke.toml").write_text(
            "[[carrier]]\n"
            + "".join(f"{key} = {msgspec.json.encode(value).decode()}\n" for key, value in fields.items())
        )
        with (directory / "serve.err").open("w") as error:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "todoke.engine.cli", "serve", "todoke.toml"],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=error,
            )

    def __enter__(self) -> Engine:
        until(lambda: self.carrier()["bound"] or self._process.poll() is not None, self.errors)
        assert self._process.poll() is None, self.errors()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        with suppress(OSError, ValueError):
            os.kill(int((self._directory / "run" / "server.pid").read_text()), signal.SIGKILL)

    def carrier(self) -> dict[str, Any]:
        with suppress(ClientError, TimeoutError), SyncClient(self.socket, answer_timeout_s=5) as client:
            return client.status()["carriers"][0]
        return {"bound": 0}

    def errors(self) -> str:
        return (self._directory / "serve.err").read_text()[-3_000:]

    def stop(self) -> int:
        self._process.terminate()
        return self._process.wait(WAIT_S_MAX)

    def send(self, texts: dict[str, str]) -> dict[str, str]:
        """Submit, and give the final state of each destination once all are told."""
        with SyncClient(self.socket, answer_timeout_s=WAIT_S_MAX) as client:
            answer = client.submit([{"to": f"+{to}", "text": text, "ref": to} for to, text in texts.items()])
        assert not answer.refused, answer.refused
        to_of = {one.message_id: one.ref or "" for one in answer.accepted}
        states: dict[str, str] = {}
        give_up_at = time.monotonic() + WAIT_S_MAX
        with SyncClient(self.socket) as client, client.subscribe() as subscription:
            while len(states) < len(texts):
                assert time.monotonic() < give_up_at, (states, self.carrier(), self.errors())
                with suppress(TimeoutError):
                    for event in subscription.receive(0.2):
                        if type(event).__name__ == "Report":
                            assert to_of[event.message_id] not in states
                            states[to_of[event.message_id]] = event.state
        return states


def tool(name: str) -> str | None:
    """Where a program is, also outside a user's PATH."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")
