"""npm's smpp, the library of the Node world: its client against our simulator, its server against our bind
and against the whole engine."""

from __future__ import annotations

import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest
import todoke_peers_kit as kit
from todoke.codecs import constants as c

DEFAULT_NODE_PATH = "/usr/lib/node_modules:/usr/local/lib/node_modules:/usr/share/nodejs"
KINDS = pytest.mark.parametrize(
    "kinds", [("transceiver",), ("transmitter", "receiver")], ids=["transceiver", "separate"]
)


@cache
def why_not() -> str:
    """Why npm's smpp cannot be had here; "" when it can."""
    node = kit.tool("node")
    if node is None:
        return "needs node"
    asked = subprocess.run([node, "-e", "require('smpp')"], capture_output=True, text=True)
    return "needs npm's smpp (npm install smpp@0.5.1; NODE_PATH names its folder)" if asked.returncode else ""


@pytest.fixture(autouse=True)
def _node(monkeypatch: pytest.MonkeyPatch) -> None:
    if "NODE_PATH" not in os.environ:
        monkeypatch.setenv("NODE_PATH", DEFAULT_NODE_PATH)
    if reason := why_not():
        pytest.skip(reason)


def node(script: str, *arguments: str) -> kit.Process:
    return kit.Process(kit.tool("node") or "node", str(kit.HERE / script), *arguments)


def bind(esme: kit.Process, kind: str, password: str = kit.PASSWORD) -> None:
    esme.wait("connected")
    esme.do("bind", kind=f"bind_{kind}", system_id=kit.SYSTEM_ID, password=password)


def submit(esme: kit.Process, payload: bool = False) -> int:
    """Send TEXTS; gives the number of parts."""
    for reference, (to, text) in enumerate(kit.TEXTS.items(), 1):
        order = "payload" if payload else "submit"
        esme.do(order, to=to, **{"from": kit.SENDER}, text=text, reference=reference)
    esme.wait("cut", len(kit.TEXTS))
    return sum(one["parts"] for one in esme.of("cut"))


def unbind(esme: kit.Process) -> None:
    esme.do("unbind")
    assert esme.wait("unbind_resp")["status"] == 0
    esme.wait("closed")
    assert esme.of("error") == []


@pytest.mark.parametrize("payload", [False, True], ids=["parts", "message_payload"])
def test_its_client_as_a_transceiver(tmp_path: Path, payload: bool) -> None:
    with (
        kit.simulator(tmp_path / "log", receipt_form="both", id_form="uuid") as smsc,
        kit.Tap(smsc.port) as tap,
        node("node_client.js", str(tap.port)) as esme,
    ):
        bind(esme, "transceiver")
        answer = {"event": "bound", "status": 0, "system_id": "todoke-smsc", "sc_interface_version": 0x34}
        assert esme.wait("bound") == answer
        parts = submit(esme, payload)
        esme.wait("receipt", parts)
        esme.wait("answered", parts)
        esme.do("enquire_link")
        assert esme.wait("enquire_link_resp")["status"] == 0
        esme.wait("enquire_link")
        unbind(esme)
        counts = smsc.stop()
    assert (parts == len(kit.TEXTS)) is payload
    answers, receipts = esme.of("answered"), esme.of("receipt")
    assert {one["status"] for one in answers} == {0}
    assert [one["id"] for one in receipts] == [one["id"] for one in answers]
    assert all(one["text"].startswith(f"id:{one['id']} sub:001 dlvrd:001 ") for one in receipts)
    assert {(one["esm_class"], one["state"], one["to"]) for one in receipts} == {(4, 2, kit.SENDER)}
    assert {one["from"] for one in receipts} == set(kit.TEXTS)
    assert smsc.texts() == kit.TEXTS
    assert (counts["accepted"], counts["delivers_answered"], counts["waiting"]) == (parts, parts, 0)
    tap.check(unanswered=[c.ENQUIRE_LINK])


def test_its_client_as_transmitter_and_receiver(tmp_path: Path) -> None:
    with (
        kit.simulator(tmp_path / "log", receipt_form="tlv") as smsc,
        kit.Tap(smsc.port) as tap,
        node("node_client.js", str(tap.port)) as sends,
        node("node_client.js", str(tap.port)) as takes,
    ):
        for esme, kind in (sends, "transmitter"), (takes, "receiver"):
            bind(esme, kind)
            assert esme.wait("bound")["status"] == 0
        parts = submit(sends)
        sends.wait("answered", parts)
        takes.wait("receipt", parts)
        unbind(sends)
        unbind(takes)
        counts = smsc.stop()
    assert sends.of("receipt") == []
    ids = sorted(one["id"] for one in sends.of("answered"))
    assert sorted(one["id"] for one in takes.of("receipt")) == ids
    assert smsc.texts() == kit.TEXTS
    assert counts["waiting"] == 0
    tap.check(unanswered=[c.ENQUIRE_LINK])


def test_its_client_with_a_wrong_password(tmp_path: Path) -> None:
    with (
        kit.simulator(tmp_path / "log") as smsc,
        kit.Tap(smsc.port) as tap,
        node("node_client.js", str(tap.port)) as esme,
    ):
        bind(esme, "transceiver", "wrong")
        assert esme.wait("bound")["status"] == c.ESME_RINVPASWD
        assert smsc.stop()["binds_refused"] == 1
    tap.check(refused=[c.BIND_TRANSCEIVER])


@KINDS
def test_our_bind_against_its_server(kinds: tuple[str, ...]) -> None:
    with node("node_server.js", kit.PASSWORD) as server:
        with kit.Tap(server.wait("listening")["port"]) as tap:
            esme = kit.converse(tap, kinds, lambda: server.do("enquire_link"))
            server.wait("unbind", len(kinds))
        kit.server_heard(server, len(kinds), len(esme.answers))
        assert {one.network_error for one in esme.receipts} == {(3, 0)}
        assert server.of("enquire_link")
        assert {one["status"] for one in server.of("enquire_link_resp")} == {0}


def test_our_whole_engine_against_its_server() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="t-") as directory,
        node("node_server.js", kit.PASSWORD) as server,
        kit.Tap(server.wait("listening")["port"]) as tap,
        kit.Engine(Path(directory), tap.port, bind="transmitter+receiver", window=3) as engine,
    ):
        assert engine.send(kit.TEXTS) == dict.fromkeys(kit.TEXTS, "delivered")
        assert engine.stop() == 0, engine.errors()
        server.wait("unbind", 2)
        kit.server_heard(server, 2, len(server.of("submit")))
        assert "Traceback" not in engine.errors()
    tap.check()


def test_its_server_unbinds() -> None:
    with node("node_server.js", kit.PASSWORD) as server, kit.Tap(server.wait("listening")["port"]) as tap:
        kit.unbound_by_peer(tap, server)
