"""smpp34, a Rust stack: its client against our simulator, its server against our bind and our whole engine.

Release 1.5.0 has its own ways, which are held fast here where they touch us. Its client answers an
enquire_link and has none to send, takes a refused bind for one that was never answered, and keeps to no
window, whatever its window_size says. Its server asks for no password, sends no enquire_link, mostly closes
before its unbind_resp has left, and on a receiver's bind takes a deliver_sm_resp for an unknown command.
What it does not tell, the wire does.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
import smpp34
import todoke_peers_kit as kit
from todoke.codecs import constants as c
from todoke.codecs import segment

KIND = {"transceiver": "TRX", "transmitter": "TX", "receiver": "RX"}
CONNECT_TIMEOUT_MS = {kit.PASSWORD: 20_000, "wrong": 1_500}
ADDRESS = {"source_addr": kit.SENDER, "dest_addr_ton": 1, "dest_addr_npi": 1, "registered_delivery": 1}


def client(tap: kit.Tap, kind: str, password: str = kit.PASSWORD) -> smpp34.Client:
    return smpp34.Client(
        "127.0.0.1",
        tap.port,
        kit.SYSTEM_ID,
        password,
        bind_type=KIND[kind],
        connect_timeout_ms=CONNECT_TIMEOUT_MS[password],
    )


async def submit(smsc: smpp34.Smsc, payload: bool = False) -> list[smpp34.SubmitSmResp]:
    """All TEXTS at once; long ones in parts or as message_payload."""
    waiting = []
    for reference, (to, text) in enumerate(kit.TEXTS.items(), 1):
        rules = segment.Rules(concat="payload" if payload else "udh8")
        cut = segment.segment(text, rules)
        for esm_class, octets, tlvs in segment.fields(cut, rules, reference):
            tlv = [smpp34.Tlv(int.from_bytes(tlvs[:2], "big"), tlvs[4:])] if tlvs else []
            coding = {"data_coding": cut.data_coding, "esm_class": esm_class}
            waiting.append(smsc.submit_sm(to, octets, **ADDRESS, **coding, tlvs=tlv))
    return list(await asyncio.gather(*waiting))


async def receipts(smsc: smpp34.Smsc, count: int) -> list[smpp34.DeliverSmEvent]:
    """So many receipts; each is checked against its TLVs."""
    async with asyncio.timeout(kit.WAIT_S_MAX):
        events = [await smsc.next() for _ in range(count)]
    for one in events:
        assert isinstance(one, smpp34.DeliverSmEvent)
        assert one.esm_class == c.ESM_CLASS_MC_DELIVERY_RECEIPT
        assert one.destination_addr == kit.SENDER
        assert one.source_addr in kit.TEXTS
        assert {tlv.tag for tlv in one.tlvs} == {smpp34.TLV_RECEIPTED_MESSAGE_ID, smpp34.TLV_MESSAGE_STATE}
        assert tlv_of(one, smpp34.TLV_MESSAGE_STATE).as_int() == 2
    return events


def tlv_of(event: smpp34.DeliverSmEvent, tag: int) -> smpp34.Tlv:
    return next(tlv for tlv in event.tlvs if tlv.tag == tag)


def ids_of(events: list[smpp34.DeliverSmEvent]) -> list[str | None]:
    return sorted(tlv_of(one, smpp34.TLV_RECEIPTED_MESSAGE_ID).as_string() or "" for one in events)


@pytest.mark.parametrize("payload", [False, True], ids=["parts", "message_payload"])
def test_its_client_as_a_transceiver(tmp_path: Path, payload: bool) -> None:
    async def run(tap: kit.Tap) -> list[smpp34.SubmitSmResp]:
        esme = client(tap, "transceiver")
        smsc = await esme.connect()
        assert smsc.system_id == kit.SYSTEM_ID
        answers = await submit(smsc, payload)
        assert ids_of(await receipts(smsc, len(answers))) == sorted(one.message_id for one in answers)
        await kit.until_async(lambda: tap.answered("smsc", c.ENQUIRE_LINK), lambda: tap.seen)
        await smsc.unbind()
        await kit.until_async(lambda: tap.answered("esme", c.UNBIND), lambda: tap.seen)
        return answers

    with kit.simulator(tmp_path / "log", receipt_form="tlv") as smsc, kit.Tap(smsc.port) as tap:
        answers = asyncio.run(run(tap))
        counts = smsc.stop()
    parts = len(answers)
    assert (parts == len(kit.TEXTS)) is payload
    assert {one.command_status for one in answers} == {0}
    assert smsc.texts() == kit.TEXTS
    assert (counts["accepted"], counts["delivers_answered"], counts["waiting"]) == (parts, parts, 0)
    tap.check(unanswered=[c.ENQUIRE_LINK])


def test_its_client_as_transmitter_and_receiver(tmp_path: Path) -> None:
    async def run(tap: kit.Tap) -> None:
        sends = await client(tap, "transmitter").connect()
        takes = await client(tap, "receiver").connect()
        answers = await submit(sends)
        assert ids_of(await receipts(takes, len(answers))) == sorted(one.message_id for one in answers)
        for one in sends, takes:
            await one.unbind()
        await kit.until_async(lambda: tap.answered("esme", c.UNBIND) == 2, lambda: tap.seen)

    with kit.simulator(tmp_path / "log", receipt_form="tlv") as smsc, kit.Tap(smsc.port) as tap:
        asyncio.run(run(tap))
        assert smsc.stop()["waiting"] == 0
    assert smsc.texts() == kit.TEXTS
    assert tap.binds() == ["bind_transmitter", "bind_receiver"]
    tap.check(unanswered=[c.ENQUIRE_LINK])


def test_its_client_with_a_wrong_password(tmp_path: Path) -> None:
    async def run(tap: kit.Tap) -> None:
        with pytest.raises(smpp34.SmppError, match="bind timed out"):
            await client(tap, "transceiver", "wrong").connect()

    with kit.simulator(tmp_path / "log") as smsc, kit.Tap(smsc.port) as tap:
        asyncio.run(run(tap))
        assert smsc.stop()["binds_refused"] == 1
    (answer,) = tap.of("smsc", c.BIND_TRANSCEIVER_RESP)
    assert answer.command_status == c.ESME_RINVPASWD
    tap.check(refused=[c.BIND_TRANSCEIVER], unanswered=[c.UNBIND])


def test_our_bind_against_its_server() -> None:
    with kit.python_peer("smpp34_server.py") as server:
        with kit.Tap(server.wait("listening")["port"]) as tap:
            esme = kit.converse(tap, ["transceiver"], None, unbind_answered=False)
            server.wait("unbind")
        kit.server_heard(server, 1, len(esme.answers))


def test_our_separate_binds_against_its_server() -> None:
    """It refuses every deliver_sm_resp of a receiver: counted here, and the bind stays while that is all."""
    kinds = ["transmitter", "receiver"]

    async def run(tap: kit.Tap) -> kit.Esme:
        async with kit.bound(tap.port, kinds) as esme:
            assert esme.submit({"819010000001": "one"}) == 1
            await kit.until_async(lambda: tap.of("smsc", c.GENERIC_NACK), lambda: tap.seen)
            enough = 1 + len(tap.of("esme", c.ENQUIRE_LINK))
            await kit.until_async(
                lambda: tap.answered("esme", c.ENQUIRE_LINK) > enough and esme.answers, lambda: tap.seen
            )
        return esme

    with kit.python_peer("smpp34_server.py") as server:
        with kit.Tap(server.wait("listening")["port"]) as tap:
            esme = asyncio.run(run(tap))
            server.wait("unbind", 2)
        kit.server_heard(server, 2, 1, texts={"819010000001": "one"}, status=c.ESME_RSYSERR)
    ((receipt_id, state),) = [(one.message_id, one.state) for one in esme.receipts]
    assert esme.answers == {("819010000001", 1): (0, receipt_id)}
    assert state == "delivered"
    transmitter, receiver = (bind.statistics() for bind in esme.binds)
    assert (transmitter.sessions, receiver.sessions) == (1, 1)
    assert receiver.counters == {"nack_unmatched": 1, "closed_unbound": 1}
    assert transmitter.counters == {"closed_unbound": 1}
    (nack,) = tap.of("smsc", c.GENERIC_NACK)
    assert (nack.command_status, nack.connection) == (c.ESME_RINVCMDID, 2)


def test_our_whole_engine_against_its_server() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="t-") as directory,
        kit.python_peer("smpp34_server.py") as server,
        kit.Tap(server.wait("listening")["port"]) as tap,
        kit.Engine(Path(directory), tap.port) as engine,
    ):
        assert engine.send(kit.TEXTS) == dict.fromkeys(kit.TEXTS, "delivered")
        assert engine.stop() == 0, engine.errors()
        server.wait("unbind")
        kit.server_heard(server, 1, len(server.of("submit")))
        assert "Traceback" not in engine.errors()
        assert "eof" not in engine.errors()
    tap.check(unanswered=[c.UNBIND, c.ENQUIRE_LINK])


def test_its_server_unbinds() -> None:
    with kit.python_peer("smpp34_server.py") as server, kit.Tap(server.wait("listening")["port"]) as tap:
        kit.unbound_by_peer(tap, server)
