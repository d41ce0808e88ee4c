"""Hexadecimal as people paste it -> octets: plain, with spaces, colons or 0x, and the dumps of xxd, hexdump,
od, tcpdump and Wireshark with their offsets and text columns.
"""

from __future__ import annotations

import re
from typing import Final

REPEATED_OCTETS_MAX: Final = 1_048_576
"""What all the `*` of a dump may stand for: 15 large PDUs. The offset behind one may say anything."""

# "0000  00 1a ...", "00000010: 001a ...", "\t0x0010:  001a ..."; without a colon two spaces, because plain
# words look alike. The indentation tells the two directions of Wireshark's "follow stream" apart.
_dump_line = re.compile(
    r"(\s*)(?:0x)?([0-9a-f]{4,8})(?::\s+|\s{2,})((?:[0-9a-f]{2})+(?:\s.*)?)", re.IGNORECASE
).fullmatch
_tokens = re.compile(r"(?:[0-9a-f]{2})+(?=\s|$)", re.IGNORECASE)
_decoration = re.compile(r"0x|\\x|[\s:,;\"'{}\[\]()<>._-]+", re.IGNORECASE)
_LETTER: Final = re.compile(r"[^0-9a-f]", re.IGNORECASE)


class HexError(Exception):
    """It is no hexadecimal; says where, not what."""


def blocks(text: str) -> list[bytes]:
    """The octets of a text, cut where a dump begins again at offset 0. Raises HexError."""
    lines = [line for line in text.splitlines() if line.strip()]
    dumped = [_dump_line(line) for line in lines]
    if any(dumped):
        return _dump_blocks(lines, dumped)
    return [_plain(text)]


def _plain(text: str) -> bytes:
    digits = _decoration.sub("", text.removeprefix("b'"))
    if bad := _LETTER.search(digits):
        raise HexError(f"digit {bad.start() + 1} is not hexadecimal")
    if len(digits) % 2:
        raise HexError(f"{len(digits)} digits are half an octet too many")
    if not digits:
        raise HexError("no octets")
    return bytes.fromhex(digits)


def _dump_blocks(lines: list[str], dumped: list[re.Match[str] | None]) -> list[bytes]:
    """Lines that are no dump (tcpdump's summaries, packet headings) are left out; `*` repeats a line."""
    found: list[bytearray] = []
    current: dict[str, bytearray] = {}
    last = b""
    repeated = 0
    for number, match in enumerate(dumped):
        if match is None:
            continue
        indent, offset = match[1], int(match[2], 16)
        octets = _columns(match[3], colon=":" in match[0][: match.start(3)])
        following = dumped[number + 1] if number + 1 < len(lines) else None
        if following is not None and 0 < (width := int(following[2], 16) - offset) < len(octets):
            octets = octets[:width]  # the text column looked like octets
        block = current.get(indent)
        if block is not None and last and len(block) < offset and lines[number - 1].strip() == "*":
            missing = offset - len(block)
            repeated += missing
            if repeated > REPEATED_OCTETS_MAX:
                raise HexError(f"* for {repeated:,} octets, the limit is {REPEATED_OCTETS_MAX:,}")
            block += (last * (missing // len(last) + 1))[:missing]
        if block is None or offset != len(block):
            found.append(block := bytearray())
            current[indent] = block
        block += octets
        last = octets
    return [bytes(one) for one in found if one]


def _columns(columns: str, *, colon: bool) -> bytes:
    """The octets of a line before its text column, which stands behind a wider space or a bar."""
    columns = columns.split("|")[0]
    # Wireshark and hexdump leave two spaces in the middle of 16 single octets; xxd and tcpdump do not.
    cut = re.search(r"\s{2,}" if colon else r"\s{3,}|\s{2,}>", columns)
    digits = columns[: cut.start()] if cut else columns
    octets = bytearray()
    for token in digits.split():
        if not _tokens.fullmatch(token):
            break
        octets += bytes.fromhex(token)
    return bytes(octets)
