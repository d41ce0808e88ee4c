"""Writes PDUs as a network capture that Wireshark, tshark and `todoke pdu` read.

What passed was seen above TCP (and above TLS), so the packets around the PDUs are made up: one TCP connection
for each session of each bind, from 192.0.2.1 to 192.0.2.2 (RFC 5737: addresses of no machine), port 2775.
"""

from __future__ import annotations

import os
from pathlib import Path
from struct import Struct
from typing import Final

from ..messages import TracedPdu
from .captures import LINK_IP

SMPP_PORT: Final = 2775
FIRST_PORT: Final = 49_152
PORTS: Final = 16_384
SEGMENT_OCTETS_MAX: Final = 65_000
"""An IPv4 packet holds at most 65,535 octets."""
SNAPLEN: Final = 262_144

_NODE, _SMSC = b"\xc0\x00\x02\x01", b"\xc0\x00\x02\x02"
_file_header = Struct("<IHHiIII").pack
_packet_header = Struct("<IIII").pack
_ip_header = Struct(">BBHHHBBH4s4s").pack
_tcp_header = Struct(">HHIIBBHHH").pack
_pseudo_header = Struct(">4s4sBBH").pack
_PSH_ACK: Final = 0x18
_TCP: Final = 6


class PcapFile:
    """A capture being written; every PDU is in the file when `write` returns. Only its owner may read it."""

    def __init__(self, path: Path) -> None:
        """Raises OSError, FileExistsError too."""
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(handle, "wb")
        self._file.write(_file_header(0xA1B2C3D4, 2, 4, 0, 0, SNAPLEN, LINK_IP))
        self._file.flush()
        self._ports: dict[tuple[str, int], int] = {}
        self._sequences: dict[tuple[int, bool], int] = {}

    def write(self, pdu: TracedPdu) -> None:
        """One PDU, in as many segments as it takes."""
        port = self._ports.setdefault((pdu.bind, pdu.session), FIRST_PORT + len(self._ports) % PORTS)
        sent = pdu.direction == "sent"
        for start in range(0, len(pdu.octets), SEGMENT_OCTETS_MAX):
            self._segment(pdu.at, port, sent, pdu.octets[start : start + SEGMENT_OCTETS_MAX])
        self._file.flush()

    def close(self) -> None:
        """The file is whole at any time; this lets it go."""
        self._file.close()

    def _segment(self, at: float, port: int, sent: bool, octets: bytes) -> None:
        sequence = self._sequences.get((port, sent), 1)
        acknowledged = self._sequences.get((port, not sent), 1)
        self._sequences[port, sent] = (sequence + len(octets)) & 0xFFFFFFFF
        source, destination = (_NODE, _SMSC) if sent else (_SMSC, _NODE)
        ports = (port, SMPP_PORT) if sent else (SMPP_PORT, port)

        def tcp(checksum: int) -> bytes:
            return _tcp_header(*ports, sequence, acknowledged, 5 << 4, _PSH_ACK, 65_535, checksum, 0)

        def ip(checksum: int) -> bytes:
            length = 40 + len(octets)
            return _ip_header(0x45, 0, length, 0, 0x4000, 64, _TCP, checksum, source, destination)

        pseudo = _pseudo_header(source, destination, 0, _TCP, 20 + len(octets))
        packet = ip(_checksum(ip(0))) + tcp(_checksum(pseudo + tcp(0) + octets)) + octets
        microseconds = int(at * 1_000_000)
        header = _packet_header(*divmod(microseconds, 1_000_000), len(packet), len(packet))
        self._file.write(header + packet)


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
