"""From a valid submission to an entry of a carrier's block, or a refusal. Pure.

What is decided here is what the app is told at the door: which carrier takes the number, into how many parts the text
falls by that carrier's rules, and when it may first be sent.
"""

from __future__ import annotations

from typing import NamedTuple
from zlib import crc32

from ...codecs import segment
from ...codecs.errors import TextError
from ..ledger.blocks import Entry, Extra
from ..messages import Refusal, Valid
from . import hours
from .router import Router


class Prepared(NamedTuple):
    """One message on its way into a block. `payload`: the octets of a one-part GSM-7 text, else None."""

    index: int
    carrier: str
    lane: str
    campaign: str
    at_ms: int
    entry: Entry
    payload: bytes | None
    digest: int


class CarrierRules(NamedTuple):
    """What preparing needs to know of a carrier."""

    rules: segment.Rules
    sender: str
    gsm7_first: bool
    """GSM-7 is the first alphabet tried, one part holds 160 units: the fast path applies."""


class Preparer:
    """Routes and measures messages for the carriers of one node."""

    def __init__(self, router: Router, carriers: dict[str, CarrierRules]) -> None:
        self._router = router
        self._carriers = carriers

    def prepare(self, valid: Valid, index: int, now_ms: int) -> Prepared | Refusal:
        """`index` is the message's place in its submission; `now_ms` wall-clock milliseconds."""
        to = valid.to
        if valid.carrier is not None:
            name = valid.carrier
            if name not in self._carriers:
                known = ", ".join(self._carriers)
                return Refusal(index, valid.ref, "carrier", "unknown_carrier", f"no such carrier; known: {known}")
        else:
            names = self._router.choose(to)
            if not names:
                return Refusal(index, valid.ref, "to", "no_route", "no route has a prefix of this number")
            name = names[0]
        carrier = self._carriers[name]
        text: str | bytes
        payload: bytes | None = None
        parts = 1
        if valid.text is not None:
            text = valid.text
            if carrier.gsm7_first:
                payload = segment.single(text)
            if payload is None:
                try:
                    parts = len(segment.segment(text, carrier.rules).parts)
                except TextError as error:
                    return Refusal(index, valid.ref, error.field, error.code, error.detail)
        else:
            text = valid.data or b""
            try:
                parts = len(segment.segment_data(text, carrier.rules).parts)
            except TextError as error:
                return Refusal(index, valid.ref, "data", error.code, error.detail)
        sender = valid.sender or carrier.sender
        at_ms = valid.at_ms
        extra = None
        if not valid.receipt or valid.window is not None or valid.tags:
            extra = Extra(receipt=valid.receipt, window=valid.window, tags=valid.tags)
            if valid.window is not None:
                opens_ms = hours.span(valid.window, max(now_ms, at_ms))[0]
                if valid.expires_ms and opens_ms >= valid.expires_ms:
                    return Refusal(index, valid.ref, "window", "never_open", "the window does not open before `expires`")
                if opens_ms > max(now_ms, at_ms):
                    at_ms = opens_ms
        entry = Entry(to, sender, text, valid.ref, parts, valid.expires_ms, 0, extra)
        digest = 0 if valid.ref is None else body_digest(valid)
        return Prepared(index, name, valid.lane, valid.campaign or "", at_ms, entry, payload, digest)


def body_digest(valid: Valid) -> int:
    """What must be equal for a repeated reference to be a duplicate and not a conflict (32 bits)."""
    digest = crc32(valid.text.encode() if valid.text is not None else valid.data or b"")
    digest = crc32(valid.to.encode(), digest)
    if valid.sender:
        digest = crc32(valid.sender.encode(), digest)
    if valid.at_ms or valid.expires_ms or valid.carrier is not None or valid.window is not None:
        digest = crc32(repr((valid.at_ms, valid.expires_ms, valid.carrier, valid.window)).encode(), digest)
    return digest
