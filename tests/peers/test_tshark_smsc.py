"""Captures of the simulator's scenarios over real TCP: nothing malformed to tshark, and the same counts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import todoke_tests_capture as capture
from todoke.bench.smsc import Smsc
from todoke.bench.smsc_config import Rule, SmscConfig
from todoke.bench.smsc_core import SmscStatistics
from todoke.codecs import constants as c
from todoke.codecs import framing, pdu, segment
from todoke_tests_capture import Segment
from todoke_tests_tshark_fields import difference

SCENARIO_S = 15.0
POLL_S = 0.002
OCTETS = 60_000


class Recording:
    """A relay to `port` that keeps what each side said, in the order in which it came by."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.port = 0
        self.segments: list[Segment] = []
        self._server: asyncio.Server | None = None
        self._done: list[asyncio.Future[None]] = []

    async def __aenter__(self) -> Recording:
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        if kind is None:
            await asyncio.gather(*self._done)
        await self._server.wait_closed()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self._done)
        done = asyncio.get_running_loop().create_future()
        self._done.append(done)
        their_reader, their_writer = await asyncio.open_connection("127.0.0.1", self._to)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._relay(reader, their_writer, False, number))
            tasks.create_task(self._relay(their_reader, writer, True, number))
        done.set_result(None)

    async def _relay(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, from_smsc: bool, number: int
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(OCTETS):
                self.segments.append(Segment(from_smsc, data, number))
                writer.write(data)
                await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


class Esme:
    """One connection that answers every deliver_sm and keeps all it is sent."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sequence_number = 0
        self.got: list[pdu.Pdu] = []

    async def connect(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._reading = asyncio.create_task(self._read())

    async def bind(self, request: pdu.Pdu) -> None:
        await self.connect()
        self.send(request)
        await until(lambda: bool(self.got))

    def send(self, *messages: pdu.Pdu) -> None:
        octets: list[bytes] = []
        for message in messages:
            self._sequence_number += 1
            octets.append(pdu.encode(message, self._sequence_number))
        self._writer.write(b"".join(octets))

    def count(self, struct: type[pdu.Pdu]) -> int:
        return sum(isinstance(message, struct) for message in self.got)

    async def _read(self) -> None:
        buffer = b""
        while data := await self._reader.read(OCTETS):
            frames, used = framing.split(buffer + data, c.PDU_OCTETS_MAX)
            buffer = (buffer + data)[used:]
            for _, _, sequence_number, frame in frames:
                message = pdu.decode(frame)
                self.got.append(message)
                if isinstance(message, pdu.DeliverSm):
                    self._writer.write(pdu.encode(pdu.DeliverSmResp(), sequence_number))

    async def unbind(self) -> None:
        self.send(pdu.Unbind())
        await until(lambda: self.count(pdu.UnbindResp) == 1)
        await self.close()

    async def close(self) -> None:
        self._writer.close()
        await self._reading
        await self._writer.wait_closed()


async def until(true: Callable[[], bool]) -> None:
    """Poll; the scenario's time limit ends it."""
    while not true():  # noqa: ASYNC110  other processes' state
        await asyncio.sleep(POLL_S)


Script = Callable[[int, Smsc], Awaitable[None]]


def played(config: SmscConfig, script: Script, path: Path) -> tuple[list[capture.ShownPdu], SmscStatistics]:
    """Play a script against a simulator on a port of its own; what tshark saw, and the simulator's counts."""
    capture.tshark()

    async def play() -> tuple[list[Segment], SmscStatistics]:
        smsc = Smsc(config)
        await smsc.start()
        async with asyncio.timeout(SCENARIO_S):
            async with Recording(smsc.port) as recording:
                await script(recording.port, smsc)
                return recording.segments, await smsc.stop()

    segments, statistics = asyncio.run(play())
    capture.write(path, segments)
    shown = capture.read(path)
    frames = whole(segments)
    assert len(shown) == len(frames)
    for frame, one in zip(frames, shown, strict=True):
        message = pdu.decode(frame)
        assert (difference(message, frame, one), one.complaints) == ("", []), message
    return shown, statistics


def whole(segments: list[Segment]) -> list[bytes]:
    """The PDUs in the order in which they were complete."""
    waiting: dict[tuple[int, bool], bytes] = {}
    found: list[bytes] = []
    for one in segments:
        side = one.connection, one.from_smsc
        data = waiting.get(side, b"") + one.data
        frames, used = framing.split(data, c.PDU_OCTETS_MAX)
        waiting[side] = data[used:]
        found += [frame for _, _, _, frame in frames]
    assert not any(waiting.values())
    return found


def counts(shown: list[capture.ShownPdu]) -> Counter[str]:
    """By command, with the command_status of what was refused."""
    found: Counter[str] = Counter()
    for one in shown:
        name = c.COMMAND_NAMES[int(one.first("smpp.command_id").show, 16)]
        status = next((int(field.show, 16) for field in one.fields if field.name == "smpp.command_status"), 0)
        found[f"{name} {c.STATUS_NAMES[status]}" if status else name] += 1
    return found


def parts(number: int, text: str, rules: segment.Rules) -> list[pdu.Pdu]:
    cut = segment.segment(text, rules)
    return [
        pdu.SubmitSm(
            source_addr_ton=5,
            source_addr=b"Todoke",
            dest_addr_ton=1,
            dest_addr_npi=1,
            destination_addr=b"8190%08d" % number,
            registered_delivery=1,
            data_coding=cut.data_coding,
            esm_class=esm_class,
            short_message=short_message,
            tlvs=pdu.decode_tlvs(tlvs),
        )
        for esm_class, short_message, tlvs in segment.fields(cut, rules, number)
    ]


TEXTS = ("Your parcel is here.", "Straße 9_à [€] " * 20, "お荷物をお届けしました。" * 10, "😀" * 30)
RULES = [segment.Rules(concat=concat) for concat in ("udh8", "udh16", "sar", "payload")]


def everything() -> list[pdu.Pdu]:
    return [
        part
        for number, (text, rules) in enumerate((text, rules) for text in TEXTS for rules in RULES)
        for part in parts(number, text, rules)
    ]


def test_texts_of_all_kinds_with_receipts(tmp_path: Path) -> None:
    submits = everything()

    async def script(port: int, smsc: Smsc) -> None:
        esme = Esme(port)
        await esme.bind(pdu.BindTransceiver(system_id=b"todoke", password=b"secret"))
        for at in range(0, len(submits), 7):
            esme.send(*submits[at : at + 7], pdu.EnquireLink())
        await until(lambda: smsc.core.statistics().delivers_answered == len(submits))
        answer = next(message for message in esme.got if isinstance(message, pdu.SubmitSmResp))
        esme.send(pdu.QuerySm(message_id=answer.message_id, source_addr_ton=5, source_addr=b"Todoke"))
        await until(lambda: esme.count(pdu.QuerySmResp) == 1)
        await esme.unbind()

    shown, statistics = played(SmscConfig(receipt_form="both"), script, tmp_path / "capture.pcap")
    links = -(-len(submits) // 7)
    assert counts(shown) == {
        "bind_transceiver": statistics.binds,
        "bind_transceiver_resp": statistics.binds,
        "submit_sm": statistics.submits,
        "submit_sm_resp": statistics.accepted,
        "deliver_sm": statistics.delivers,
        "deliver_sm_resp": statistics.delivers_answered,
        "enquire_link": links,
        "enquire_link_resp": links,
        "query_sm": 1,
        "query_sm_resp": 1,
        "unbind": 1,
        "unbind_resp": 1,
    }
    assert statistics.submits == statistics.accepted == statistics.delivers == len(submits)


def test_refusals_and_receipts_as_carriers_send_them(tmp_path: Path) -> None:
    config = SmscConfig(
        errors={"ESME_RTHROTTLED": 0.2, "ESME_RMSGQFUL": 0.1, "ESME_RSYSERR": 0.1},
        states={"undeliverable:027": 0.3, "expired": 0.2, "rejected": 0.1},
        doubled_receipts=0.2,
        early_receipts=0.3,
        enroute_first=0.3,
        lost_responses=0.1,
        id_form="hex_decimal",
        receipt_form="tlv",
        receipt_text=True,
        rules=[Rule(suffix="7", command_status="ESME_RINVDSTADR"), Rule(suffix="3", no_receipt=True)],
    )
    submits = everything() * 4

    async def script(port: int, smsc: Smsc) -> None:
        wrong, sender, receiver = Esme(port), Esme(port), Esme(port)
        await wrong.bind(pdu.BindTransmitter(system_id=b"todoke", password=b"wrong"))
        await wrong.close()
        await sender.bind(pdu.BindTransmitter(system_id=b"todoke", password=b"secret"))
        await receiver.bind(pdu.BindReceiver(system_id=b"todoke", password=b"secret"))
        sender.send(*submits)
        sender.send(pdu.CancelSm(message_id=b"1"), pdu.DataSm(source_addr=b"1", destination_addr=b"2"))
        sender.send(pdu.SubmitSm(destination_addr=b"2" * 20), pdu.EnquireLink())
        await until(lambda: sender.count(pdu.EnquireLinkResp) == 1)
        await until(lambda: smsc.core.statistics().waiting == 0)
        await sender.unbind()
        await receiver.unbind()

    shown, statistics = played(config, script, tmp_path / "capture.pcap")
    found = counts(shown)
    assert found["submit_sm"] + found["data_sm"] == statistics.submits == len(submits) + 2
    taken = found["submit_sm_resp"] + found["data_sm_resp"]
    assert (taken, found["deliver_sm"]) == (
        statistics.accepted - statistics.lost_responses,
        statistics.delivers,
    )
    assert found["deliver_sm_resp"] == statistics.delivers_answered == statistics.delivers
    assert found["generic_nack ESME_RINVCMDID"] == statistics.nacks == 1
    assert found["bind_transmitter_resp ESME_RINVPASWD"] == statistics.binds_refused == 1
    refused: Counter[str] = Counter()
    for name, count in found.items():
        command, _, status = name.partition(" ")
        if status and command != "generic_nack":
            refused[f"0x{getattr(c, status):08x}"] += count
    assert refused == statistics.refused
    assert len(refused) == 5


def test_messages_from_handsets(tmp_path: Path) -> None:
    async def script(port: int, smsc: Smsc) -> None:
        esme = Esme(port)
        await esme.bind(pdu.BindReceiver(system_id=b"todoke", password=b"secret"))
        await until(lambda: smsc.core.statistics().delivers_answered >= 20)
        await esme.unbind()

    texts = ["STOP", "届きました。" * 20, "Where is it? " * 20]
    shown, statistics = played(SmscConfig(mo_rate=500.0, mo_texts=texts), script, tmp_path / "capture.pcap")
    found = counts(shown)
    assert found["deliver_sm"] == statistics.delivers >= 20
    # One may be answered when the simulator has taken the unbind already.
    assert found["deliver_sm_resp"] >= statistics.delivers_answered >= 20
