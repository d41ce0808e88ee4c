"""Real sockets: binds over TCP on asyncio, uvloop and trio; hosts in turn; TLS, verified or refused."""

from __future__ import annotations

import random
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest
import trustme
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSListener
from todoke.codecs import constants as c
from todoke.codecs.framing import split
from todoke.engine.clock import SystemClock
from todoke.engine.session.bind import Bind
from todoke.engine.session.connect import TcpConfig, TlsConfig, tcp_connector
from todoke.engine.session.errors import ConnectError, TlsError
from todoke.engine.session.settings import SessionConfig

pytestmark = pytest.mark.anyio

BACKENDS = pytest.mark.parametrize("anyio_backend", ["asyncio", "uvloop", "trio"], indirect=True)
UVLOOP = pytest.mark.parametrize("anyio_backend", ["uvloop"], indirect=True)


async def _smsc(stream: anyio.abc.ByteStream) -> None:
    """Answers everything, ESME_ROK."""
    buffer = b""
    async with stream:
        while True:
            try:
                buffer += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return
            frames, consumed = split(buffer, 100_000)
            buffer = buffer[consumed:]
            answers = [
                b"".join(
                    word.to_bytes(4, "big") for word in (18, command_id | c.RESPONSE_BIT, 0, sequence_number)
                )
                + b"1\0"
                for command_id, _, sequence_number, _ in frames
                if not command_id & c.RESPONSE_BIT
            ]
            if answers:
                await stream.send(b"".join(answers))


@asynccontextmanager
async def _listening(
    tls: ssl.SSLContext | None = None, serve: Callable[[Any], Awaitable[None]] = _smsc
) -> AsyncIterator[int]:
    tcp = await anyio.create_tcp_listener(local_host="127.0.0.1")
    listener: Any = tcp if tls is None else TLSListener(tcp, tls, standard_compatible=False)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield tcp.extra(SocketAttribute.local_port)
        tasks.cancel_scope.cancel()
    await listener.aclose()


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _send_some(connect: Any, recorder: Any, n: int = 300) -> Bind:
    """A bind sends n parts, everything is answered, and it closes."""
    config = SessionConfig(system_id="todoke", password="secret", window=50)
    bind = Bind("x", config, connect, SystemClock(), random.Random(1), recorder)
    left = list(range(n))
    done = anyio.Event()

    def pump(bind: Any, _: Any = None) -> None:
        take = [left.pop() for _ in range(min(len(left), bind.window_free))]
        bind.submit([b"x" * 100] * len(take), take)
        if len(recorder.tokens) == n:
            done.set()

    recorder.when_bound = recorder.when_responses = pump
    with anyio.fail_after(20.0):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bind.run)
            await done.wait()
            await bind.close(5.0)
    assert set(recorder.tokens.values()) == {"answered"}
    assert recorder.lost == ["unbound"]
    return bind


@BACKENDS
async def test_a_bind_over_tcp(recorder: Any) -> None:
    async with _listening() as port:
        await _send_some(tcp_connector([f"127.0.0.1:{port}"]), recorder)


@BACKENDS
async def test_a_peer_that_resets_and_one_that_does_not_read(recorder: Any) -> None:
    """Real sockets: the reset ends one session, the zero window the next, and the bind comes back."""
    served = 0

    async def serve(stream: Any) -> None:
        nonlocal served
        served += 1
        async with stream:
            bind = await stream.receive()
            head = (16).to_bytes(4, "big") + c.BIND_TRANSCEIVER_RESP.to_bytes(4, "big")
            await stream.send(head + bytes(4) + bind[12:16])
            if served == 1:
                linger = b"\1\0\0\0\0\0\0\0"
                stream.extra(SocketAttribute.raw_socket).setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, linger
                )
                await stream.receive()
            else:
                await anyio.sleep_forever()

    config = SessionConfig(system_id="a", password="b", window=1000, write_timeout_s=0.5)
    filled = anyio.Event()

    def fill(bind: Any, _: Any = None) -> None:
        while bind.window_free and len(recorder.tokens) < 100_000:
            bind.submit([b"x" * 60_000], [object()])

    def look() -> None:
        if len(recorder.lost) == 2:
            filled.set()

    recorder.poke = look
    recorder.when_bound = recorder.when_window = fill
    async with _listening(serve=serve) as port:
        bind = Bind(
            "x", config, tcp_connector([f"127.0.0.1:{port}"]), SystemClock(), random.Random(1), recorder
        )
        with anyio.fail_after(20.0):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(bind.run)
                await filled.wait()
                tasks.cancel_scope.cancel()
    assert recorder.lost[0].split(":")[0] in {"lost", "eof"}
    assert recorder.lost[1].startswith("write_stalled")


@BACKENDS
async def test_the_sockets_options() -> None:
    async with _listening() as port:
        connect = tcp_connector([f"127.0.0.1:{port}"], tcp=TcpConfig(user_timeout_s=12.5, keepalive_idle_s=7))
        async with await connect() as stream:
            raw = stream.extra(SocketAttribute.raw_socket)
            assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 12_500
            assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 7


@UVLOOP
async def test_hosts_are_tried_in_turn() -> None:
    async with _listening() as port:
        connect = tcp_connector([f"127.0.0.1:{_closed_port()}", f"127.0.0.1:{port}"])
        async with await connect() as stream:
            assert stream.extra(SocketAttribute.remote_port) == port


@UVLOOP
async def test_a_host_that_serves_no_bind_is_passed_over() -> None:
    """It takes connections, but none of them lasts: the next call begins with the next host."""
    async with _listening() as first, _listening() as second:
        connect = tcp_connector([f"127.0.0.1:{first}", f"localhost:{second}"])
        ports = []
        for _ in range(3):
            async with await connect() as stream:
                ports.append(stream.extra(SocketAttribute.remote_port))
        assert ports == [first, second, first]


@UVLOOP
async def test_no_host_at_all() -> None:
    ports = (_closed_port(), _closed_port())
    connect = tcp_connector([f"127.0.0.1:{port}" for port in ports])
    with pytest.raises(ConnectError) as caught:
        await connect()
    assert type(caught.value) is ConnectError
    assert all(f"127.0.0.1:{port}" in caught.value.detail for port in ports)


@UVLOOP
async def test_an_unknown_name_is_a_connect_error() -> None:
    with pytest.raises(ConnectError, match=r"no-such-host\.invalid"):
        await tcp_connector(["no-such-host.invalid:2775"])()


@UVLOOP
async def test_a_host_that_says_nothing_in_tls_is_given_up() -> None:
    async def silent(stream: Any) -> None:
        async with stream:
            await anyio.sleep_forever()

    async with _listening(serve=silent) as port:
        connect = tcp_connector([f"127.0.0.1:{port}"], TlsConfig(), TcpConfig(connect_timeout_s=0.3))
        with pytest.raises(ConnectError, match="no connection in"):
            await connect()


@pytest.mark.parametrize("host", ["localhost", ":2775", "a:0", "a:65536", "a:x", "a:٣", "", "a:-1"])
def test_malformed_hosts(host: str) -> None:
    with pytest.raises(ValueError, match="hosts"):
        tcp_connector([host])


def test_hosts_are_needed() -> None:
    with pytest.raises(ValueError, match="hosts"):
        tcp_connector([])


# --- TLS ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def _server(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    return context


@BACKENDS
async def test_a_bind_over_tls_with_its_own_ca(recorder: Any, authority: trustme.CA, ca_file: str) -> None:
    async with _listening(_server(authority, "127.0.0.1")) as port:
        connect = tcp_connector([f"127.0.0.1:{port}"], TlsConfig(ca_file=ca_file))
        await _send_some(connect, recorder)


@UVLOOP
async def test_the_server_name_may_differ_from_the_host(authority: trustme.CA, ca_file: str) -> None:
    async with _listening(_server(authority, "smsc.carrier.example")) as port:
        host = f"127.0.0.1:{port}"
        connect = tcp_connector([host], TlsConfig(ca_file=ca_file, server_name="smsc.carrier.example"))
        async with await connect():
            pass
        with pytest.raises(TlsError, match="TLS"):
            await tcp_connector([host], TlsConfig(ca_file=ca_file))()


@UVLOOP
async def test_an_unknown_authority_is_refused(ca_file: str) -> None:
    async with _listening(_server(trustme.CA(), "127.0.0.1")) as port:
        for tls in (TlsConfig(ca_file=ca_file), TlsConfig()):
            with pytest.raises(TlsError, match=r"(?i)certificate"):
                await tcp_connector([f"127.0.0.1:{port}"], tls)()


@UVLOOP
async def test_a_plain_text_peer_is_refused(ca_file: str) -> None:
    async def talks_first(stream: Any) -> None:
        async with stream:
            await stream.send(b"\0\0\0\x10\0\0\0\x15\0\0\0\0\0\0\0\1")
            await anyio.sleep_forever()

    async with _listening(serve=talks_first) as port:
        with pytest.raises(TlsError):
            await tcp_connector([f"127.0.0.1:{port}"], TlsConfig(ca_file=ca_file))()


def test_certificate_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(TlsError, match="certificate files"):
        tcp_connector(["a:1"], TlsConfig(ca_file=str(tmp_path / "none.pem")))
    junk = tmp_path / "junk.pem"
    junk.write_text("not a certificate")
    with pytest.raises(TlsError, match="certificate files"):
        tcp_connector(["a:1"], TlsConfig(ca_file=str(junk)))
