"""The promises that only whole processes can break: a node, its embedded server and carriers, started as a
user starts them, and then killed, cut off, lied to and listened to."""

from __future__ import annotations

import re
import socket
import struct
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from todoke.codecs import constants
from todoke.codecs.pdu import BindTransceiverResp, DeliverSm, decode, encode
from todoke.engine.client import SyncClient
from todoke_tests_site import (
    MESSAGES,
    PASSWORD,
    WAIT_S_MAX,
    WINDOW,
    Reports,
    Sender,
    Site,
    carrier,
    doubled_parts,
    in_full_flight,
    kill,
    message,
    number_of,
    stop,
    until,
)

RSS_MB_MAX = 150
TAG_OVERRUN = 0x1501


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
