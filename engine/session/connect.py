"""TCP and TLS for a bind: hosts tried in turn, and a connection that notices a dead peer.

TCP_NODELAY, because a small request that waits for the acknowledgement of the one before it, delayed by the
peer, leaves 25 requests a second; TCP_USER_TIMEOUT (RFC 5482) and keep-alive, because octets nobody
acknowledges must end the connection, not fill it. TLS is verified or refused; it is never given up for
plain text.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import anyio
import msgspec
from anyio.abc import ByteStream, SocketAttribute, SocketStream
from anyio.streams.tls import TLSStream

from .errors import ConnectError, TlsError

PORT_MAX: Final = 65_535
SETTLED_S: Final = 60.0
"""A connection asked for so soon after the last one was made means that host serves no bind: try the next."""


class TcpConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Time limits of the connection, in seconds; `keepalive_probes` is a count."""

    connect_timeout_s: float = 10.0
    """For one host: name, TCP and TLS together."""
    user_timeout_s: float = 30.0
    """Sent octets not acknowledged for so long end the connection."""
    keepalive_idle_s: int = 30
    keepalive_interval_s: int = 10
    keepalive_probes: int = 3
    local_host: str | None = None
    """Source address, for carriers that allow one."""


class TlsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """TLS with verification, which cannot be turned off.

    `ca_file` replaces the system's authorities; `server_name` is what the certificate must say where that
    is not the host; `certificate_file` and `key_file` are ours, if the carrier asks for them.
    """

    ca_file: str | None = None
    server_name: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None


def tcp_connector(
    hosts: Sequence[str], tls: TlsConfig | None = None, tcp: TcpConfig | None = None
) -> Callable[[], Awaitable[ByteStream]]:
    """A function that connects to the first of `hosts` ("name:port", "[::1]:2775") that lets it.

    Each call begins with the host that was used last, or with the one after it when that connection was
    made less than SETTLED_S ago. The function raises ConnectError, or TlsError where a host could not be
    trusted. Raises ValueError on a malformed host, and TlsError on certificate files that cannot be read,
    at once.
    """
    if not hosts:
        raise ValueError("hosts: at least one is needed")
    return _Connector([_host_port(host) for host in hosts], tls, tcp or TcpConfig())


class _Connector:
    def __init__(self, hosts: list[tuple[str, int]], tls: TlsConfig | None, tcp: TcpConfig) -> None:
        self._hosts = hosts
        self._tls = tls
        self._tcp = tcp
        self._context = _context(tls) if tls is not None else None
        self._at = 0
        self._connected_at: float | None = None

    async def __call__(self) -> ByteStream:
        now = anyio.current_time()
        if self._connected_at is not None and now - self._connected_at < SETTLED_S:
            self._at = (self._at + 1) % len(self._hosts)
        failures: list[str] = []
        untrusted = False
        for _ in self._hosts:
            host, port = self._hosts[self._at]
            try:
                stream = await self._connect(host, port)
            except (ssl.SSLError, ssl.CertificateError) as error:
                untrusted = True
                failures.append(f"{host}:{port}: TLS: {error.reason or error}")
            except TimeoutError:
                failures.append(f"{host}:{port}: no connection in {self._tcp.connect_timeout_s:g} s")
            except (OSError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
                failures.append(f"{host}:{port}: {_why(error)}")
            else:
                self._connected_at = anyio.current_time()
                return stream
            self._at = (self._at + 1) % len(self._hosts)
        raise (TlsError if untrusted else ConnectError)("; ".join(failures))

    async def _connect(self, host: str, port: int) -> ByteStream:
        with anyio.fail_after(self._tcp.connect_timeout_s):
            stream = await anyio.connect_tcp(host, port, local_host=self._tcp.local_host)
            try:
                _set_options(stream, self._tcp)
                if self._context is None or self._tls is None:
                    return stream
                return await TLSStream.wrap(
                    stream,
                    hostname=self._tls.server_name or host,
                    ssl_context=self._context,
                    standard_compatible=False,
                )
            except BaseException:
                await anyio.aclose_forcefully(stream)
                raise


def _set_options(stream: SocketStream, tcp: TcpConfig) -> None:
    raw = stream.extra(SocketAttribute.raw_socket)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(tcp.user_timeout_s * 1000))
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, tcp.keepalive_idle_s)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, tcp.keepalive_interval_s)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, tcp.keepalive_probes)


def _context(tls: TlsConfig) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        if tls.certificate_file is not None:
            context.load_cert_chain(tls.certificate_file, tls.key_file)
    except (OSError, ssl.SSLError) as error:
        raise TlsError(f"certificate files: {_why(error)}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _host_port(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= PORT_MAX:
        raise ValueError(f"hosts: {text!r}: must be name:port")
    return host, int(port)


def _why(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
