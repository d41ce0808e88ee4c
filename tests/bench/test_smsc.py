"""The simulator as a process: the ready line, a foreign client, TLS, signals, the summary."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
import smpplib.client
import smpplib.consts
from todoke.bench.smsc import WRITE_OCTETS_MAX, Smsc, config_of
from todoke.bench.smsc_config import SmscConfig
from todoke.bench.smsc_log import AcceptedPart, ReceiptAnswered, read_log
from todoke.codecs import framing
from todoke.codecs.pdu import BindTransceiver, SubmitSm, decode, encode

START_S = 20.0


class Running:
    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port

    def stop(self, number: int = signal.SIGTERM) -> dict[str, object]:
        self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=START_S)
        assert self.process.returncode == 0
        return msgspec.json.decode(out.strip().splitlines()[-1])


@contextmanager
def running(config: SmscConfig) -> Iterator[Running]:
    command = [
        sys.executable,
        "-m",
        "todoke.bench.smsc",
        "--config-json",
        msgspec.json.encode(config).decode(),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("listening on 127.0.0.1:")
        yield Running(process, int(line.rsplit(":", 1)[1]))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@contextmanager
def smpplib_client(port: int) -> Iterator[smpplib.client.Client]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = smpplib.client.Client("127.0.0.1", port, timeout=10, allow_unknown_opt_params=True)
        client.connect()
        client.bind_transceiver(system_id="todoke", password="secret")
        yield client
        client.unbind()
        client.disconnect()


def test_smpplib_sends_and_gets_its_receipts(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running(SmscConfig(log=str(log), json=True, states={"undeliverable:027": 1.0})) as smsc:
        sent: list[str] = []
        receipts: list[str] = []
        with smpplib_client(smsc.port) as client:
            client.set_message_sent_handler(lambda pdu: sent.append(pdu.message_id.decode()))
            client.set_message_received_handler(lambda pdu: receipts.append(pdu.short_message.decode()) or 0)
            for number in range(5):
                client.send_message(
                    source_addr_ton=smpplib.consts.SMPP_TON_ALNUM,
                    source_addr="Todoke",
                    dest_addr_ton=smpplib.consts.SMPP_TON_INTL,
                    destination_addr=f"81901234000{number}",
                    short_message=b"hello",
                    registered_delivery=True,
                )
            while len(sent) < 5 or len(receipts) < 5:
                client.read_once(ignore_error_codes=[])
        summary = smsc.stop()
    assert [text.split()[0] for text in receipts] == [f"id:{one}" for one in sent]
    assert all("stat:UNDELIV err:027" in text for text in receipts)
    assert (summary["accepted"], summary["delivers_answered"], summary["waiting"]) == (5, 5, 0)
    records = list(read_log(log))
    parts = [record for record in records if isinstance(record, AcceptedPart)]
    assert [part.message_id for part in parts] == sent
    answered = [record.serial for record in records if isinstance(record, ReceiptAnswered)]
    assert answered == [part.serial for part in parts]


def test_held_receipts_go_out_on_a_signal() -> None:
    with running(SmscConfig(hold_receipts=1_000, json=True)) as smsc, smpplib_client(smsc.port) as client:
        receipts: list[object] = []
        client.set_message_received_handler(lambda pdu: receipts.append(pdu) or 0)
        client.send_message(destination_addr="8190", short_message=b"hi", registered_delivery=True)
        client.read_once()
        smsc.process.send_signal(signal.SIGUSR1)
        while not receipts:
            client.read_once()


def test_tls(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command to make a certificate")
    key, cert = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    options = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = "-addext subjectAltName=DNS:localhost"
    command = [openssl, "req", *options.split(), *names.split(), "-keyout", key, "-out", cert]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.create_default_context(cafile=cert)
    with (
        running(SmscConfig(tls_cert=cert, tls_key=key, json=True)) as smsc,
        socket.create_connection(("127.0.0.1", smsc.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as stream,
    ):
        stream.sendall(encode(BindTransceiver(system_id=b"todoke", password=b"secret"), 1))
        frames, _ = framing.split(stream.recv(4_096), 4_096)
        assert decode(frames[0][3]).command_status == 0


def test_interrupt_ends_it_too_and_a_used_port_is_an_error() -> None:
    with running(SmscConfig(json=True)) as smsc:
        second = subprocess.run(
            [sys.executable, "-m", "todoke.bench.smsc", "--port", str(smsc.port)],
            capture_output=True,
            text=True,
        )
        assert second.returncode == 2
        assert second.stderr.startswith("smsc: ")
        assert smsc.stop(signal.SIGINT)["accepted"] == 0


def test_a_peer_that_does_not_read_is_not_read() -> None:
    """Responses nobody takes stop the reading: memory stays bounded, nothing is lost."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        smsc = Smsc(SmscConfig())
        await smsc.start()
        peer = socket.socket()
        try:
            # Small kernel buffers, so that little is needed to fill them.
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
            peer.setblocking(False)
            await loop.sock_connect(peer, ("127.0.0.1", smsc.port))
            await loop.sock_sendall(peer, encode(BindTransceiver(system_id=b"todoke", password=b"secret"), 1))
            await loop.sock_recv(peer, 4_096)
            (transport,) = smsc._transports.values()
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8_192)
            octets = encode(SubmitSm(destination_addr=b"81", registered_delivery=0), 2) * 500
            flood = asyncio.create_task(_flood(peer, octets))
            await _until(lambda: not transport.is_reading())
            assert transport.get_write_buffer_size() < 4 * WRITE_OCTETS_MAX
            accepted = smsc.core.statistics().accepted

            async def drain() -> None:
                while True:
                    await loop.sock_recv(peer, 1 << 20)

            drainer = asyncio.create_task(drain())
            await _until(lambda: smsc.core.statistics().accepted > accepted)
            for task in (flood, drainer):
                task.cancel()
            await asyncio.wait((flood, drainer))
        finally:
            peer.close()
            await smsc.stop()

    asyncio.run(main())


async def _flood(peer: socket.socket, octets: bytes) -> None:
    while True:
        await asyncio.get_running_loop().sock_sendall(peer, octets)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(START_S):
        while not condition():  # noqa: ASYNC110 - another's state, which has no event
            await asyncio.sleep(0.002)


def test_flags_and_json_make_one_configuration() -> None:
    words = ["--rate-max", "20", "--json", "--log", "x", "--receipt-delay-s", "1.5"]
    config = config_of(
        ["--config-json", '{"seed": 4, "rate_max": 10}', *words, "--states", '{"expired": 0.5}']
    )
    assert (config.seed, config.rate_max, config.json, config.log) == (4, 20, True, "x")
    assert (config.states, config.receipt_delay_s) == ({"expired": 0.5}, 1.5)
    with pytest.raises(msgspec.ValidationError):
        config_of(["--rate-max", "many"])
