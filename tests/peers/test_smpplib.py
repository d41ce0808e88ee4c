"""smpplib, the Python library most ESMEs are written with: its client against our simulator, and our bind
against a small server whose PDUs are all smpplib's (it has no server of its own)."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import smpplib.client
import smpplib.consts
import smpplib.exceptions
import smpplib.gsm
import todoke_peers_kit as kit
from todoke.codecs import constants as c

KINDS = pytest.mark.parametrize(
    "kinds", [("transceiver",), ("transmitter", "receiver")], ids=["transceiver", "separate"]
)


class Client:
    """smpplib's client, and what it was told."""

    def __init__(self, port: int) -> None:
        self.client = smpplib.client.Client("127.0.0.1", port, timeout=10, allow_unknown_opt_params=False)
        self.client.connect()
        self.ids: list[str] = []
        self.receipts: list[dict[str, str]] = []
        self.client.set_message_sent_handler(lambda pdu: self.ids.append(pdu.message_id.decode()))
        self.client.set_message_received_handler(self._received)

    def bind(self, kind: str, password: str = kit.PASSWORD) -> Any:
        return getattr(self.client, f"bind_{kind}")(system_id=kit.SYSTEM_ID, password=password)

    def _received(self, pdu: Any) -> int:
        assert pdu.esm_class == c.ESM_CLASS_MC_DELIVERY_RECEIPT
        words = pdu.short_message.decode().replace(" date:", "_date:").split(" ")
        told = dict(word.split(":", 1) for word in words)
        # Both places where a receipt names its message.
        assert pdu.receipted_message_id.decode() == told["id"]
        assert pdu.message_state == smpplib.consts.SMPP_MESSAGE_STATE_DELIVERED
        self.receipts.append(told | {"from": pdu.source_addr.decode(), "to": pdu.destination_addr.decode()})
        return smpplib.consts.SMPP_ESME_ROK

    def submit(self, to: str, text: str) -> int:
        """Send in as many parts as smpplib makes of it."""
        parts, data_coding, esm_class = smpplib.gsm.make_parts(text)
        for part in parts:
            self.client.send_message(
                source_addr_ton=smpplib.consts.SMPP_TON_UNK,
                source_addr=kit.SENDER,
                dest_addr_ton=smpplib.consts.SMPP_TON_INTL,
                dest_addr_npi=smpplib.consts.SMPP_NPI_ISDN,
                destination_addr=to,
                short_message=part,
                data_coding=data_coding,
                esm_class=esm_class,
                registered_delivery=True,
            )
        return len(parts)

    def read_until(self, true: Callable[[], object], why: Callable[[], object]) -> None:
        """Take what comes, until it is true."""
        give_up_at = time.monotonic() + kit.WAIT_S_MAX
        while not true():
            assert time.monotonic() < give_up_at, why()
            if select.select([self.client._socket], [], [], kit.POLL_S)[0]:
                self.client.read_once()

    def unbind(self, tap: kit.Tap, count: int) -> None:
        self.client.send_pdu(smpplib.smpp.make_pdu("unbind", client=self.client))
        # Whatever else is on its way comes first.
        while self.client.read_pdu().command != "unbind_resp":
            pass
        assert tap.answered("esme", c.UNBIND) == count
        self.client.disconnect()

    def close(self) -> None:
        if self.client._socket is not None:
            self.client._socket.close()
            self.client._socket = None


@contextmanager
def client(tap: kit.Tap) -> Generator[Client, None, None]:
    one = Client(tap.port)
    try:
        yield one
    finally:
        one.close()


def test_its_client_as_a_transceiver(tmp_path: Path) -> None:
    with (
        kit.simulator(tmp_path / "log", receipt_form="both") as smsc,
        kit.Tap(smsc.port) as tap,
        client(tap) as esme,
    ):
        answer = esme.bind("transceiver")
        assert answer.system_id == b"todoke-smsc"
        # smpplib reads TLVs of a bind_resp: one octet, SMPP 3.4.
        assert answer.sc_interface_version == 0x34
        parts = sum(esme.submit(to, text) for to, text in kit.TEXTS.items())
        esme.read_until(lambda: len(esme.receipts) == parts == len(esme.ids), lambda: tap.seen)
        esme.client.send_pdu(smpplib.smpp.make_pdu("enquire_link", client=esme.client))
        esme.read_until(
            lambda: tap.answered("esme", c.ENQUIRE_LINK) and tap.answered("smsc", c.ENQUIRE_LINK),
            lambda: tap.seen,
        )
        esme.unbind(tap, 1)
        counts = smsc.stop()
    assert parts > 6
    assert [one["id"] for one in esme.receipts] == esme.ids
    assert {one["stat"] for one in esme.receipts} == {"DELIVRD"}
    assert {one["to"] for one in esme.receipts} == {kit.SENDER}
    assert {one["from"] for one in esme.receipts} == set(kit.TEXTS)
    assert smsc.texts() == kit.TEXTS
    assert [one.message_id for one in smsc.parts()] == esme.ids
    assert smsc.receipts_answered() == parts
    assert (counts["accepted"], counts["delivers_answered"], counts["waiting"]) == (parts, parts, 0)
    # The simulator's last enquire_link may be on its way when smpplib unbinds and leaves.
    tap.check(unanswered=[c.ENQUIRE_LINK])


def test_its_client_as_transmitter_and_receiver(tmp_path: Path) -> None:
    with (
        kit.simulator(tmp_path / "log", receipt_form="both") as smsc,
        kit.Tap(smsc.port) as tap,
        client(tap) as sends,
        client(tap) as takes,
    ):
        sends.bind("transmitter")
        takes.bind("receiver")
        parts = sum(sends.submit(to, text) for to, text in kit.TEXTS.items())
        sends.read_until(lambda: len(sends.ids) == parts, lambda: tap.seen)
        takes.read_until(lambda: len(takes.receipts) == parts, lambda: tap.seen)
        # smpplib itself holds a receiver back from sending: past it, the simulator does.
        forbidden = smpplib.smpp.make_pdu("submit_sm", client=takes.client, destination_addr="819010000009")
        takes.client._socket.sendall(forbidden.generate())
        with pytest.raises(smpplib.exceptions.PDUError, match="Incorrect BIND Status"):
            takes.read_until(lambda: False, lambda: tap.seen)
        sends.unbind(tap, 1)
        takes.unbind(tap, 2)
        counts = smsc.stop()
    assert sends.receipts == [] == takes.ids
    assert sorted(one["id"] for one in takes.receipts) == sorted(sends.ids)
    assert tap.binds() == ["bind_transmitter", "bind_receiver"]
    assert smsc.texts() == kit.TEXTS
    assert counts["waiting"] == 0
    tap.check(unanswered=[c.ENQUIRE_LINK], refused=[c.SUBMIT_SM])


def test_its_client_with_a_wrong_password(tmp_path: Path) -> None:
    with kit.simulator(tmp_path / "log") as smsc, kit.Tap(smsc.port) as tap, client(tap) as esme:
        with pytest.raises(smpplib.exceptions.PDUError, match="Invalid Password") as refused:
            esme.bind("transceiver", "wrong")
        assert refused.value.args[1] == c.ESME_RINVPASWD
        assert smsc.stop()["binds_refused"] == 1
        assert smsc.events() == []
    tap.check(refused=[c.BIND_TRANSCEIVER])


@KINDS
def test_our_bind_against_its_pdus(kinds: tuple[str, ...]) -> None:
    with kit.python_peer("smpplib_server.py", kit.PASSWORD) as server:
        with kit.Tap(server.wait("listening")["port"]) as tap:
            esme = kit.converse(tap, kinds, lambda: server.do("enquire_link"))
            server.wait("unbind", len(kinds))
        kit.server_heard(server, len(kinds), len(esme.answers))
        assert server.of("enquire_link")
        assert server.of("enquire_link_resp")


def test_a_server_of_its_pdus_unbinds() -> None:
    with (
        kit.python_peer("smpplib_server.py", kit.PASSWORD) as server,
        kit.Tap(server.wait("listening")["port"]) as tap,
    ):
        kit.unbound_by_peer(tap, server)
