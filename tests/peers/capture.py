"""Capture files of SMPP over TCP, and what tshark makes of them: every field with its octets, PDU by PDU."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from pathlib import Path
from struct import Struct
from typing import NamedTuple

import pytest

SMPP_PORT = 2775
ESME_PORT = 40_000
SEGMENT_OCTETS_MAX = 65_000
"""As a loopback interface has them; smaller ones are the caller's to cut."""
TSHARK_S = 60.0

_file_header = Struct("<IHHiIII").pack
_packet_header = Struct("<IIII").pack
_ip = Struct(">BBHHHBBH4s4s").pack
_tcp = Struct(">HHIIBBHHH").pack
_no_xml = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ETHERNET = bytes.fromhex("020000000002 020000000001 0800")
_ESME, _SMSC = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))


class Segment(NamedTuple):
    """What one side gave TCP at once. `connection` tells several apart."""

    from_smsc: bool
    data: bytes
    connection: int = 0


def write(path: Path, segments: Iterable[Segment]) -> None:
    """A pcap file of whole Ethernet frames, a millisecond apart, cut at SEGMENT_OCTETS_MAX."""
    # Magic number, version 2.4, UTC, largest packet, Ethernet.
    out = [_file_header(0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1)]
    sent: dict[tuple[int, bool], int] = {}
    for segment in segments:
        for at in range(0, len(segment.data), SEGMENT_OCTETS_MAX):
            data = segment.data[at : at + SEGMENT_OCTETS_MAX]
            frame = _frame(segment, data, sent, len(out))
            out += [
                _packet_header(1_800_000_000 + len(out) // 1_000, len(out) % 1_000 * 1_000, *[len(frame)] * 2)
            ]
            out[-1] += frame
    path.write_bytes(b"".join(out))


def _frame(segment: Segment, data: bytes, sent: dict[tuple[int, bool], int], number: int) -> bytes:
    esme = (_ESME, ESME_PORT + segment.connection)
    smsc = (_SMSC, SMPP_PORT)
    (source, source_port), (target, target_port) = (smsc, esme) if segment.from_smsc else (esme, smsc)
    mine, theirs = (segment.connection, segment.from_smsc), (segment.connection, not segment.from_smsc)
    sequence, acknowledged = sent.get(mine, 1), sent.get(theirs, 1)
    sent[mine] = sequence + len(data)
    tcp = _tcp(source_port, target_port, sequence, acknowledged, 0x50, 0x18, 65_535, 0, 0) + data
    # No checksums: tshark checks them only when asked.
    return _ETHERNET + _ip(0x45, 0, 20 + len(tcp), number & 0xFFFF, 0x4000, 64, 6, 0, source, target) + tcp


class Shown(NamedTuple):
    """One field as tshark shows it, with the octets it took for it (those of the whole octet for bits)."""

    name: str
    octets: bytes
    show: str


class ShownPdu(NamedTuple):
    """One PDU: its fields in their order, those of the user data header, and what tshark complains of."""

    fields: list[Shown]
    user_data: list[Shown]
    complaints: list[str]

    def first(self, name: str) -> Shown:
        return next(field for field in self.fields if field.name == name)


def tshark() -> str:
    """The program's path; skips the test where there is none."""
    found = shutil.which("tshark")
    if found is None:
        pytest.skip("needs tshark")
    return found


def read(path: Path) -> list[ShownPdu]:
    """Every PDU of a capture file, in the order in which tshark finds them complete."""
    command = [tshark(), "-n", "-r", str(path), "-d", f"tcp.port=={SMPP_PORT},smpp", "-T", "pdml"]
    command += ["-J", "smpp gsm_sms_ud gsm_sms _ws.malformed _ws.unreassembled"]
    command += ["-o", "smpp.decode_sms_over_smpp:GSM 7-bit"]
    environment = os.environ | {"TZ": "UTC", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, capture_output=True, timeout=TSHARK_S, env=environment, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return list(_pdus(done.stdout))


def _pdus(pdml: bytes) -> Iterator[ShownPdu]:
    # What XML cannot hold is left out of what tshark shows; the octets stand beside it in hexadecimal.
    text = _no_xml.sub("", pdml.decode("utf-8", "replace"))
    for packet in ET.fromstring(text).iter("packet"):
        current: ShownPdu | None = None
        for proto in packet.findall("proto"):
            name = proto.get("name", "")
            if name == "smpp":
                if current is not None:
                    yield current
                current = ShownPdu(list(_fields(proto)), [], _experts(proto))
            elif current is not None and name == "gsm_sms_ud":
                current.user_data.extend(_fields(proto))
                current.complaints.extend(_experts(proto))
            elif current is not None and name.startswith("_ws."):
                current.complaints.append(proto.get("showname", name))
        if current is not None:
            yield current


def _fields(proto: ET.Element) -> Iterator[Shown]:
    for field in proto.iter("field"):
        octets = field.get("unmaskedvalue") or field.get("value") or ""
        # Some fields (a list, a number of the callback) have a place and a size but no value.
        held = bytes.fromhex(octets) if octets else bytes(0)
        yield Shown(field.get("name", ""), held, field.get("show", ""))


def _experts(proto: ET.Element) -> list[str]:
    return [field.get("showname", "") for field in proto.iter("field") if field.get("name") == "_ws.expert"]
