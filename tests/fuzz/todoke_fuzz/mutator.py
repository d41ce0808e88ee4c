"""Edits that keep a PDU a PDU, so that a fuzzer gets behind its header: lengths follow what is changed.

Pure: given the same input and the same numbers it makes the same output.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from todoke.codecs import constants as c
from todoke.codecs.fields import LAYOUTS, TLVS, Kind

from .seeds import WORDS

Mutate = Callable[[bytes, int], bytes]
"""Octets and the most octets to give back: the fuzzer's own mutation."""

_COMMANDS = sorted(c.COMMAND_NAMES)
_TAGS = sorted(TLVS)


def mutate_pdu(data: bytes, octets_max: int, seed: int, mutate: Mutate) -> bytes:
    """A whole PDU -> another one: its body, a field, a TLV, its command_id, sometimes its length."""
    chance = random.Random(seed)
    kind = chance.randrange(12)
    if len(data) < 16 or kind == 0:
        return mutate(data, octets_max)
    header, body = bytearray(data[:16]), data[16:]
    if kind <= 3:
        body = mutate(body, max(1, octets_max - 16))
    elif kind == 4:
        header[4:8] = chance.choice(_COMMANDS).to_bytes(4, "big")
        if chance.random() < 0.7:
            body = make_body(int.from_bytes(header[4:8], "big"), chance)
    elif kind == 5:
        header[8:16] = chance.choice((bytes(8), b"\0\0\0\x58\0\0\0\1", chance.randbytes(8)))
    elif kind == 6:
        body += make_tlv(chance)
    elif kind <= 8:
        at = chance.randrange(len(body) + 1)
        cut = at + chance.choice((0, 0, 1, 2, 4))
        body = body[:at] + chance.choice(WORDS) + body[cut:]
    elif kind == 9:
        # Move one field's end: a NUL in, or out.
        at = chance.randrange(len(body) + 1)
        nul = body.find(b"\0", at)
        body = (
            body[:nul] + body[nul + 1 :]
            if nul >= 0 and chance.random() < 0.5
            else body[:at] + b"\0" + body[at:]
        )
    elif kind == 10:
        body = fit_sm_length(bytes(header[4:8]), body, chance)
    else:
        body = body[: chance.randrange(len(body) + 1)]
    body = body[: max(0, octets_max - 16)]
    if chance.random() < 0.97:
        header[:4] = (16 + len(body)).to_bytes(4, "big")
    return bytes(header) + body


def make_tlv(chance: random.Random) -> bytes:
    """An optional parameter, mostly known and mostly of its size."""
    tag = chance.choice(_TAGS) if chance.random() < 0.8 else chance.randrange(0x10000)
    rule = TLVS.get(tag)
    low, high = (rule.octets_min, rule.octets_max) if rule else (0, 8)
    value = chance.randbytes(chance.randint(low, min(high, low + 24)))
    length = len(value) if chance.random() < 0.95 else chance.randrange(0x10000)
    return tag.to_bytes(2, "big") + length.to_bytes(2, "big") + value


def make_body(command_id: int, chance: random.Random) -> bytes:
    """Mandatory fields within their limits, made from the layout; sometimes optional parameters."""
    body = b""
    for field in LAYOUTS.get(command_id, ()):
        if field.kind is Kind.INTEGER:
            body += bytes((chance.choice((0, 1, 4, 8, 0x40, 0xFF, chance.randrange(256))),))
        elif field.kind is Kind.STRING:
            body += chance.randbytes(chance.randrange(field.size)).replace(b"\0", b"1") + b"\0"
        elif field.kind is Kind.TIME:
            body += chance.choice((b"", b"261121103005300+", b"000001000000000R")) + b"\0"
        elif field.kind is Kind.MESSAGE:
            text = chance.randbytes(chance.randrange(40))
            body += bytes((len(text),)) + text
        else:
            count = chance.randrange(4)
            one = b"\1\1\1" + b"81\0" if field.kind is Kind.DESTINATIONS else b"\1\1" + b"81\0\0\0\0\1"
            body += bytes((count,)) + one * count
    for _ in range(chance.choice((0, 0, 1, 2))):
        body += make_tlv(chance)
    return body


def fit_sm_length(command_id: bytes, body: bytes, chance: random.Random) -> bytes:
    """Make sm_length of a submit_sm or deliver_sm the octets behind it, or one octet more or less."""
    if command_id not in (b"\0\0\0\4", b"\0\0\0\5"):
        return body
    at = 0
    for octets in (0, 2, 2, 3, 0, 5):
        # The end of a string, then so many integers.
        end = body.find(b"\0", at)
        if end < 0:
            return body
        at = end + 1 + octets
    at -= 1
    if not 0 <= at < len(body):
        return body
    length = min(254, len(body) - at - 1) + chance.choice((0, 0, 0, -1, 1))
    return body[:at] + bytes((max(0, min(255, length)),)) + body[at + 1 :]
