"""Kannel, the open gateway that half the field grew up with, as an ESME of `todoke smsc`: messages go in at
its smsbox's HTTP door, receipts come out at the address it was told."""

from __future__ import annotations

import http.server
import os
import socket
import subprocess
import threading
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ElementTree
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import todoke_peers_kit as kit
from todoke.codecs import constants as c

STOP_S_MAX = 15.0
LOG_OCTETS_SHOWN = 3_000
RECEIPT_DELAY_S = 0.5
"""Kannel forgets a receipt that overtakes, on the other bind, the response with its id."""
DELIVERED, FAILED, ACCEPTED = "1", "2", "8"
"""Kinds of receipts, by Kannel's count."""
DLR_MASK = "31"
"""Delivered, failed, buffered, accepted and rejected by the SMSC."""
USER = {"username": "tester", "password": "foobar"}

CORE = """\
group = core
admin-port = {admin}
admin-interface = 127.0.0.1
admin-password = bar
admin-allow-ip = "127.0.0.1"
smsbox-port = {box}
smsbox-interface = 127.0.0.1
box-allow-ip = "127.0.0.1"
dlr-storage = internal
sms-resend-freq = 1
log-file = {directory}/bearerbox.log
log-level = 0

group = smsbox
bearerbox-host = 127.0.0.1
bearerbox-port = {box}
sendsms-port = {sendsms}
sendsms-interface = 127.0.0.1
log-file = {directory}/smsbox.log
log-level = 0

group = sendsms-user
username = tester
password = foobar
max-messages = 10
concatenation = true
default-sender = 0032069000

group = sms-service
keyword = default
get-url = "http://127.0.0.1:{ears}/message?from=%p&to=%P&coding=%c&text=%a"
catch-all = true
max-messages = 0
"""
SMSC = """
group = smsc
smsc = smpp
smsc-id = todoke
host = 127.0.0.1
{ports}
smsc-username = todoke
smsc-password = {password}
system-type = ""
interface-version = 34
enquire-link-interval = 1
reconnect-delay = 1
max-pending-submits = 3
source-addr-ton = 0
source-addr-npi = 1
dest-addr-ton = 1
dest-addr-npi = 1
"""


@cache
def why_not() -> str:
    """Why there is no Kannel here; "" when there is."""
    missing = [name for name in ("bearerbox", "smsbox") if kit.tool(name) is None]
    return f"needs Kannel's {' and '.join(missing)} (Debian: kannel)" if missing else ""


pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


class Ears:
    """An HTTP server that keeps the queries of what it is asked for: (path, fields)."""

    def __init__(self) -> None:
        heard: list[tuple[str, dict[str, str]]] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path, _, query = self.path.partition("?")
                heard.append((path, dict(urllib.parse.parse_qsl(query, encoding="latin-1"))))
                self.send_response(200)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.heard = heard
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(kit.POLL_S,))
        self._thread.start()

    def of(self, path: str) -> list[dict[str, str]]:
        return [fields for one, fields in self.heard if one == path]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Kannel:
    """bearerbox and smsbox, bound to nothing but this machine."""

    def __init__(self, directory: Path, smscs: str, ears: Ears) -> None:
        self._directory = directory
        self._ears = ears
        self._admin, box, self._sendsms = free_ports(3)
        config = directory / "kannel.conf"
        config.write_text(
            CORE.format(
                admin=self._admin, box=box, sendsms=self._sendsms, ears=ears.port, directory=directory
            )
            + smscs
        )
        config.chmod(0o600)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._start("bearerbox", config)
        kit.until(lambda: self._answers(box) and self._answers(self._admin), self.logs)
        self._start("smsbox", config)
        kit.until(lambda: self._answers(self._sendsms), self.logs)

    def _start(self, name: str, config: Path) -> None:
        with (self._directory / f"{name}.out").open("wb") as out:
            self._processes[name] = subprocess.Popen(
                [kit.tool(name) or name, "-v", "4", str(config)],
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=os.environ | {"TZ": "UTC"},
            )

    def _answers(self, port: int) -> bool:
        assert all(process.poll() is None for process in self._processes.values()), self.logs()
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        return False

    def logs(self) -> str:
        """The end of what Kannel wrote."""
        found = sorted(self._directory.glob("*.log")) + sorted(self._directory.glob("*.out"))
        ends = ((one.name, one.read_bytes()[-LOG_OCTETS_SHOWN:].decode(errors="replace")) for one in found)
        return "\n".join(f"--- {name}\n{end}" for name, end in ends)

    def wrote(self, words: str) -> bool:
        """Whether that stands in bearerbox's log."""
        return words.encode() in (self._directory / "bearerbox.log").read_bytes()

    def _get(self, port: int, path: str, **fields: str) -> str:
        url = f"http://127.0.0.1:{port}{path}?{urllib.parse.urlencode(fields)}"
        with urllib.request.urlopen(url, timeout=kit.WAIT_S_MAX) as answer:
            assert answer.status in (200, 202)
            return answer.read().decode()

    def status(self) -> ElementTree.Element:
        return ElementTree.fromstring(self._get(self._admin, "/status.xml", password="bar"))

    def smscs(self) -> list[dict[str, str]]:
        """What the status page says of the connections to the simulator."""
        found = self.status().findall("smscs/smsc")
        return [{field.tag: field.text or "" for field in one} for one in found]

    def wait_online(self, count: int) -> None:
        def online() -> bool:
            states = [one["status"] for one in self.smscs()]
            return len(states) == count and all(state.startswith("online") for state in states)

        kit.until(online, lambda: f"{self.smscs()}\n{self.logs()}")

    def send(self, to: str, text: str, **more: str) -> None:
        """Submit; receipts of every kind go to the ears."""
        gsm7 = text.isascii() or to in GSM7
        url = f"http://127.0.0.1:{self._ears.port}/receipt?to={to}&kind=%d&id=%F&text=%A"
        fields = {"to": to, "text": text, "charset": "UTF-8", "coding": "0" if gsm7 else "2"}
        fields |= USER | {"dlr-mask": DLR_MASK, "dlr-url": url} | more
        assert self._get(self._sendsms, "/cgi-bin/sendsms", **fields).startswith(("0:", "3:"))

    def shut_down(self) -> None:
        """As its administrator does; returns when bearerbox is gone. (smsbox may wait 10 s for another.)"""
        with suppress(ConnectionError):  # it may be gone before it has answered
            self._get(self._admin, "/shutdown", password="bar")
        assert self._processes["bearerbox"].wait(STOP_S_MAX) == 0, self.logs()

    def kill(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()


GSM7 = list(kit.TEXTS)[:2]


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def kannel(directory: Path, smscs: str) -> Generator[tuple[Kannel, Ears], None, None]:
    with ExitStack() as stack:
        ears = Ears()
        stack.callback(ears.close)
        gateway = Kannel(directory, smscs, ears)
        stack.callback(gateway.kill)
        yield gateway, ears


def smsc_group(kind: str, port: int, password: str = kit.PASSWORD) -> str:
    """Kannel's account at the simulator: `port` makes a transmitter, `receive-port` a receiver."""
    ports = {
        "transceiver": f"port = {port}\ntransceiver-mode = true",
        "transmitter": f"port = {port}",
        "receiver": f"port = 0\nreceive-port = {port}",
    }[kind]
    return SMSC.format(ports=ports, password=password)


@pytest.mark.parametrize(
    "kinds", [("transceiver",), ("transmitter", "receiver")], ids=["transceiver", "separate"]
)
def test_kannel_sends_and_gets_its_receipts(tmp_path: Path, kinds: Sequence[str]) -> None:
    rules = '[{"suffix": "9", "state": "undeliverable:027"}]'
    settings: dict[str, Any] = {
        "receipt_delay_s": RECEIPT_DELAY_S,
        "enquire_link_s": 0.5,
        "mo_rate": 2.0,
        "mo_texts": '["STOP", "お荷物"]',
        "rules": rules,
    }
    with (
        kit.simulator(tmp_path / "log", **settings) as smsc,
        kit.Tap(smsc.port) as tap,
        kannel(tmp_path, "".join(smsc_group(kind, tap.port) for kind in kinds)) as (gateway, ears),
    ):
        gateway.wait_online(len(kinds))
        for to, text in kit.TEXTS.items():
            gateway.send(to, text)
        gateway.send("819010000009", "nobody lives here")
        wanted = {*kit.TEXTS, "819010000009"}
        kit.until(lambda: finals(ears).keys() >= wanted, lambda: f"{gateway.logs()}\n{ears.heard}")
        kit.until(
            lambda: {text_of(one) for one in ears.of("/message")} >= {"STOP", "お荷物"},
            lambda: f"{gateway.logs()}\n{ears.heard}",
        )
        kit.until(
            lambda: tap.answered("esme", c.ENQUIRE_LINK) and tap.answered("smsc", c.ENQUIRE_LINK),
            lambda: tap.seen,
        )
        parts = len(tap.of("esme", c.SUBMIT_SM))
        assert gateway.status().findtext("sms/sent/total") == str(len(wanted))
        gateway.shut_down()
        counts = smsc.stop()
    assert sorted(tap.binds()) == sorted(f"bind_{kind}" for kind in kinds)
    assert finals(ears) == dict.fromkeys(kit.TEXTS, DELIVERED) | {"819010000009": FAILED}
    assert parts > len(wanted)
    assert smsc.texts() == kit.TEXTS | {"819010000009": "nobody lives here"}
    assert tap.answered("esme", c.UNBIND) == len(kinds)
    # Of a message in parts Kannel asks for one receipt, that of its first.
    assert smsc.receipts_answered() == len(wanted)
    assert counts["accepted"] == parts
    tap.check(unanswered=[c.ENQUIRE_LINK, c.DELIVER_SM])


def text_of(message: dict[str, str]) -> str:
    """A message from a handset: Kannel hands UCS-2 (its coding 2) through as octets."""
    octets = message["text"].encode("latin-1")
    return octets.decode("utf-16-be" if message["coding"] == "2" else "ascii")


def finals(ears: Ears) -> dict[str, str]:
    """Destination -> kind of its final receipt."""
    told = [(one["to"], one["kind"]) for one in ears.of("/receipt") if one["kind"] != ACCEPTED]
    assert len(dict(told)) == len(told), told
    return dict(told)


def test_kannel_is_throttled_and_comes_again(tmp_path: Path) -> None:
    """It sleeps a second on ESME_RTHROTTLED and sends the part again: all arrives, nothing twice."""
    with (
        kit.simulator(tmp_path / "log", rate=5, receipt_delay_s=RECEIPT_DELAY_S) as smsc,
        kit.Tap(smsc.port) as tap,
        kannel(tmp_path, smsc_group("transceiver", tap.port)) as (gateway, ears),
    ):
        gateway.wait_online(1)
        for to, text in kit.TEXTS.items():
            gateway.send(to, text)
        kit.until(lambda: finals(ears).keys() == kit.TEXTS.keys(), lambda: f"{gateway.logs()}\n{ears.heard}")
        gateway.shut_down()
        counts = smsc.stop()
    assert smsc.texts() == kit.TEXTS
    assert counts["refused"].keys() == {f"0x{c.ESME_RTHROTTLED:08x}"}
    tap.check(unanswered=[c.ENQUIRE_LINK], refused=[c.SUBMIT_SM])


def test_kannel_with_a_wrong_password(tmp_path: Path) -> None:
    with (
        kit.simulator(tmp_path / "log") as smsc,
        kit.Tap(smsc.port) as tap,
        kannel(tmp_path, smsc_group("transceiver", tap.port, password="wrong")) as (gateway, _),
    ):
        kit.until(lambda: gateway.wrote("code 0x0000000e (Invalid Password)"), gateway.logs)
        assert not gateway.smscs()[0]["status"].startswith("online")
        gateway.shut_down()
        assert smsc.stop()["binds_refused"] >= 1
    tap.check(refused=[c.BIND_TRANSCEIVER])
