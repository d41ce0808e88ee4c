"""Network captures -> TCP segments: pcap and pcapng files, the usual link layers, IPv4 and IPv6.

Read as a stream: one packet is held at a time. Nothing is allocated by a length the file claims beyond
PACKET_OCTETS_MAX. Written by hand because the readers at hand know one interface a pcapng file, one section,
and no limits.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Generator
from struct import Struct
from struct import error as StructError
from typing import Final, NamedTuple, Protocol

PACKET_OCTETS_MAX: Final = 1_048_576
"""tcpdump writes at most 262,144 octets a packet."""

_PCAP_MAGICS: Final = {
    b"\xa1\xb2\xc3\xd4": (">", 1e6, 0),
    b"\xd4\xc3\xb2\xa1": ("<", 1e6, 0),
    b"\xa1\xb2\x3c\x4d": (">", 1e9, 0),
    b"\x4d\x3c\xb2\xa1": ("<", 1e9, 0),
    b"\xa1\xb2\xcd\x34": (">", 1e6, 8),
    b"\x34\xcd\xb2\xa1": ("<", 1e6, 8),
}
"""pcap: byte order, units of time in a second, octets a packet header has more (the "modified" format)."""
_PCAPNG_MAGIC: Final = b"\x0a\x0d\x0d\x0a"
MAGICS: Final = frozenset({*_PCAP_MAGICS, _PCAPNG_MAGIC})
"""The first four octets of a capture."""

LINK_ETHERNET: Final = 1
LINK_IP: Final = 101
_NULL_LINKS: Final = frozenset({0, 108})
_IP_LINKS: Final = frozenset({12, 14, LINK_IP, 228, 229})
_LINK_COOKED: Final = 113
_LINK_COOKED_2: Final = 276
_VLAN_TAGS: Final = frozenset({0x8100, 0x88A8, 0x9100, 0x9200})
_PPPOE: Final = 0x8864
_ETHER_IP: Final = frozenset({0x0800, 0x86DD})

_TCP: Final = 6
_IP6_EXTENSIONS: Final = frozenset({0, 43, 60, 135})
_IP6_AUTHENTICATION: Final = 51
_IP6_FRAGMENT: Final = 44

_word = Struct(">H").unpack_from
_tcp_header = Struct(">HHIIBB").unpack_from

Endpoint = tuple[bytes, int]
"""(address of 4 or 16 octets, port)"""


class CaptureError(Exception):
    """The file is no capture, or is broken where it says."""


class Source(Protocol):
    """A binary file."""

    def read(self, size: int, /) -> bytes:
        """Exactly that many octets, or fewer at the end."""
        ...


class Packet(NamedTuple):
    """As captured: seconds since 1970, kind of link, octets from the link's header on."""

    time: float
    link: int
    octets: bytes


class Segment(NamedTuple):
    """One TCP segment. `missing` octets of its payload were on the wire and are not in the capture."""

    time: float
    source: Endpoint
    destination: Endpoint
    sequence: int
    acknowledged: int | None
    syn: bool
    payload: bytes
    missing: int


def endpoint_name(endpoint: Endpoint) -> str:
    """192.0.2.1:2775, [::1]:2775."""
    host, port = endpoint
    name = str(ipaddress.ip_address(host))
    return f"[{name}]:{port}" if len(host) == 16 else f"{name}:{port}"


# --- files ------------------------------------------------------------------------------------------------


def packets(file: Source, magic: bytes) -> Generator[Packet, None, None]:
    """All packets of a capture whose first four octets, `magic`, were read. Raises CaptureError."""
    if magic == _PCAPNG_MAGIC:
        yield from _pcapng(file)
    elif magic in _PCAP_MAGICS:
        yield from _pcap(file, *_PCAP_MAGICS[magic])
    else:
        raise CaptureError("neither pcap nor pcapng")


def _pcap(file: Source, order: str, units: float, more: int) -> Generator[Packet, None, None]:
    header = _exactly(file, 20, "the file header")
    (link,) = Struct(order + "I").unpack_from(header, 16)
    unpack, octets = Struct(order + "4I").unpack_from, 16 + more
    number = 0
    while head := file.read(octets):
        number += 1
        if len(head) < octets:
            raise CaptureError(f"cut off in packet {number}")
        seconds, fraction, length, _ = unpack(head)
        yield Packet(
            seconds + fraction / units, link & 0xFFFF, _exactly(file, _sane(length), f"packet {number}")
        )


class _Interface(NamedTuple):
    link: int
    units: float
    offset_s: int


def _pcapng(file: Source) -> Generator[Packet, None, None]:
    """Blocks (draft-ietf-opsawg-pcapng): a section has its own byte order and interfaces."""
    order = "<"
    interfaces: list[_Interface] = []
    kind_octets, number = _PCAPNG_MAGIC, 0
    while kind_octets:
        number += 1
        where = f"block {number}"
        length_octets = _exactly(file, 4, where)
        body = b""
        if kind_octets == _PCAPNG_MAGIC:
            body = _exactly(file, 4, where)
            if body not in (b"\x1a\x2b\x3c\x4d", b"\x4d\x3c\x2b\x1a"):
                raise CaptureError(f"{where}: no byte order mark")
            order, interfaces = ">" if body[0] == 0x1A else "<", []
        u32 = Struct(order + "I").unpack_from
        (kind,), (length,) = u32(kind_octets), u32(length_octets)
        if length < 12 + len(body) or length % 4:
            raise CaptureError(f"{where}: its length {length} cannot be")
        body += _exactly(file, _sane(length) - 8 - len(body), where)[:-4]
        try:
            if kind == 1:
                interfaces.append(_interface(body, order))
            elif (packet := _block_packet(kind, body, order, interfaces)) is not None:
                yield packet
        except (IndexError, ValueError, StructError):
            raise CaptureError(f"{where}: broken") from None
        kind_octets = file.read(4)
        if 0 < len(kind_octets) < 4:
            raise CaptureError(f"cut off in block {number + 1}")


def _interface(body: bytes, order: str) -> _Interface:
    """An interface description, with its unit of time."""
    (link,) = Struct(order + "H").unpack_from(body)
    units, offset_s, at = 1e6, 0, 8
    option = Struct(order + "HH").unpack_from
    while at + 4 <= len(body):
        code, length = option(body, at)
        value = body[at + 4 : at + 4 + length]
        if code == 9 and value:
            units = float(2 ** (value[0] & 0x7F) if value[0] & 0x80 else 10 ** value[0])
        elif code == 14 and length == 8:
            (offset_s,) = Struct(order + "q").unpack(value)
        at += 4 + length + -length % 4
    return _Interface(link, units, offset_s)


def _block_packet(kind: int, body: bytes, order: str, interfaces: list[_Interface]) -> Packet | None:
    """The packet of an enhanced, simple or (obsolete) packet block; None of any other."""
    if kind == 3:
        (length,) = Struct(order + "I").unpack_from(body)
        return Packet(0.0, interfaces[0].link, body[4 : 4 + length])
    if kind not in (2, 6):
        return None
    number, high, low, length = Struct(order + ("I" if kind == 6 else "Hxx") + "3I").unpack_from(body)
    interface = interfaces[int(number)]
    time = interface.offset_s + ((high << 32) | low) / interface.units
    return Packet(time, interface.link, body[20 : 20 + length])


def _sane(length: int) -> int:
    if length > PACKET_OCTETS_MAX:
        raise CaptureError(f"a packet of {length} octets, the limit is {PACKET_OCTETS_MAX}")
    return int(length)


def _exactly(file: Source, octets: int, where: str) -> bytes:
    data = file.read(octets)
    if len(data) < octets:
        raise CaptureError(f"cut off in {where}")
    return data


# --- packets ----------------------------------------------------------------------------------------------


def segment_of(packet: Packet, counted: Counter[str]) -> Segment | None:
    """The TCP segment in a packet; None, with the reason in `counted`, if there is none to read."""
    start = _ip_start(packet, counted)
    data = packet.octets
    if start is None or len(data) - start < 20:
        return None
    version = data[start] >> 4
    found = _ip4(data, start, counted) if version == 4 else _ip6(data, start, counted)
    if found is None:
        return None
    source, destination, at, end = found
    if min(end, len(data)) - at < 20:
        return None
    source_port, destination_port, sequence, acknowledged, offset, flags = _tcp_header(data, at)
    payload_at = at + (offset >> 4) * 4
    payload = data[payload_at:end]
    return Segment(
        packet.time,
        (source, source_port),
        (destination, destination_port),
        sequence,
        acknowledged if flags & 0x10 else None,
        bool(flags & 0x02),
        payload,
        max(0, end - payload_at - len(payload)),
    )


def _ip_start(packet: Packet, counted: Counter[str]) -> int | None:
    """Where the IP header begins."""
    data, link = packet.octets, packet.link
    if link in _IP_LINKS:
        return 0
    if link in _NULL_LINKS:
        return 4
    if link == LINK_ETHERNET:
        at = 12
    elif link == _LINK_COOKED:
        at = 14
    elif link == _LINK_COOKED_2:
        return 20 if len(data) > 20 and _word(data)[0] in _ETHER_IP else None
    else:
        counted[f"packets of link type {link}, which is not read"] += 1
        return None
    while len(data) >= at + 2:
        (kind,) = _word(data, at)
        if kind in _ETHER_IP:
            return at + 2
        if kind == _PPPOE:
            return at + 10
        if kind not in _VLAN_TAGS:
            return None
        at += 4
    return None


def _ip4(data: bytes, start: int, counted: Counter[str]) -> tuple[bytes, bytes, int, int] | None:
    """(source, destination, where TCP begins, where it ends)."""
    if data[start + 9] != _TCP:
        return None
    if _word(data, start + 6)[0] & 0x3FFF:
        counted["IP fragments, which are not put together"] += 1
        return None
    length = _word(data, start + 2)[0] or len(data) - start  # 0: the sending network card did it later
    return (
        data[start + 12 : start + 16],
        data[start + 16 : start + 20],
        start + (data[start] & 15) * 4,
        (start + length),
    )


def _ip6(data: bytes, start: int, counted: Counter[str]) -> tuple[bytes, bytes, int, int] | None:
    if data[start] >> 4 != 6 or len(data) - start < 40:
        return None
    length = _word(data, start + 4)[0] or len(data) - start - 40
    kind, at = data[start + 6], start + 40
    while kind != _TCP and at + 8 <= len(data):
        if kind in _IP6_EXTENSIONS:
            kind, at = data[at], at + 8 + data[at + 1] * 8
        elif kind == _IP6_AUTHENTICATION:
            kind, at = data[at], at + 8 + data[at + 1] * 4
        elif kind == _IP6_FRAGMENT:
            if _word(data, at + 2)[0] & 0xFFF9:
                counted["IP fragments, which are not put together"] += 1
                return None
            kind, at = data[at], at + 8
        else:
            return None
    if kind != _TCP:
        return None
    return data[start + 8 : start + 24], data[start + 24 : start + 40], at, start + 40 + length
