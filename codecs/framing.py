"""Octet stream -> frames (SMPP 3.4 section 3.2): the only place that reads command_length.

Pure and without state: the caller keeps what was not consumed. Nothing is allocated by a length a peer
claims.
"""

from __future__ import annotations

from struct import Struct

from .constants import ESME_RINVCMDLEN, HEADER_OCTETS
from .errors import Frame, FramingError

_header = Struct(">4I").unpack_from
_first_word = Struct(">I").unpack_from

_BANNERS: tuple[tuple[bytes, str], ...] = (
    (b"HTTP", "HTTP"),
    (b"GET ", "HTTP"),
    (b"POST", "HTTP"),
    (b"HEAD", "HTTP"),
    (b"PUT ", "HTTP"),
    (b"OPTI", "HTTP"),
    (b"CONN", "HTTP"),
    (b"PRI ", "HTTP/2"),
    (b"<htm", "HTML"),
    (b"<!DO", "HTML"),
    (b"\x14\x03", "TLS"),
    (b"\x15\x03", "TLS"),
    (b"\x16\x03", "TLS"),
    (b"SSH-", "SSH"),
    (b"AMQP", "AMQP"),
    (b"220 ", "SMTP or FTP"),
    (b"220-", "SMTP or FTP"),
    (b"EHLO", "SMTP"),
    (b"+OK ", "POP3"),
    (b"* OK", "IMAP"),
    (b"-ERR", "Redis"),
    (b"SIP/", "SIP"),
)


def split(buffer: bytes | bytearray, pdu_octets_max: int) -> tuple[list[Frame], int]:
    """Cut whole PDUs off the front of `buffer`.

    Returns ([(command_id, command_status, sequence_number, whole PDU)], octets consumed); the rest is the
    beginning of a PDU not yet complete, to be offered again with more octets behind it.
    Raises FramingError (with the good frames before it as `.frames`) on a command_length below 16 or above
    `pdu_octets_max`, as soon as its four octets are there.
    """
    data = bytes(buffer)
    end = len(data)
    frames: list[Frame] = []
    append = frames.append
    at = 0
    while end - at >= HEADER_OCTETS:
        command_length, command_id, command_status, sequence_number = _header(data, at)
        after = at + command_length
        if after > end or command_length < HEADER_OCTETS or command_length > pdu_octets_max:
            break
        append((command_id, command_status, sequence_number, data[at:after]))
        at = after
    if end - at >= 4:
        (command_length,) = _first_word(data, at)
        if command_length < HEADER_OCTETS or command_length > pdu_octets_max:
            raise FramingError(ESME_RINVCMDLEN, 0, _why(data, at, command_length, pdu_octets_max), frames)
    return frames, at


def _why(data: bytes, at: int, command_length: int, pdu_octets_max: int) -> str:
    for banner, protocol in _BANNERS:
        if data.startswith(banner, at):
            return f"the peer speaks {protocol}, not SMPP"
    return f"command_length {command_length}: must be {HEADER_OCTETS} to {pdu_octets_max}"
