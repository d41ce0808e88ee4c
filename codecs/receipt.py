"""Delivery receipts: deliver_sm or data_sm -> whose message, which state (SMPP 3.4 sections 5.2.12, 5.3.2.35
and appendix B, whose text format is "typical", and varies as widely as that allows).

This is the complete reader; `fast.receipt_of` knows the usual shape and agrees with it. It never refuses a
receipt for a field it cannot read: what matters is the id and the state. It reads only what stands before the
first `text:`, because what follows is the subscriber's own words.
"""

from __future__ import annotations

import re
from struct import Struct
from typing import Final

import msgspec

from . import constants as c
from . import udh
from .errors import PduError
from .pdu import DataSm, DeliverSm, Tlvs, decode, decode_tlvs

FINAL_STATES: Final = frozenset({"delivered", "expired", "deleted", "undeliverable", "rejected", "skipped"})
"""Accepted and unknown are not final: SMSCs send them before the outcome."""

STATES: Final[dict[int, str]] = {
    c.MESSAGE_STATE_SCHEDULED: "enroute",
    c.MESSAGE_STATE_ENROUTE: "enroute",
    c.MESSAGE_STATE_DELIVERED: "delivered",
    c.MESSAGE_STATE_EXPIRED: "expired",
    c.MESSAGE_STATE_DELETED: "deleted",
    c.MESSAGE_STATE_UNDELIVERABLE: "undeliverable",
    c.MESSAGE_STATE_ACCEPTED: "accepted",
    c.MESSAGE_STATE_UNKNOWN: "unknown",
    c.MESSAGE_STATE_REJECTED: "rejected",
    c.MESSAGE_STATE_SKIPPED: "skipped",
}
"""message_state (section 5.2.28) -> our word."""

WORDS: Final[dict[str, str]] = {
    "DELIVRD": "delivered",
    "DELIVERED": "delivered",
    "EXPIRED": "expired",
    "DELETED": "deleted",
    "UNDELIV": "undeliverable",
    "UNDELIVERABLE": "undeliverable",
    "UNDELIVERED": "undeliverable",
    "FAILED": "undeliverable",
    "NOROUTES": "undeliverable",
    "ACCEPTD": "accepted",
    "ACCEPTED": "accepted",
    "ACKED": "accepted",
    "UNKNOWN": "unknown",
    "REJECTD": "rejected",
    "REJECTED": "rejected",
    "ENROUTE": "enroute",
    "SCHEDULED": "enroute",
    "BUFFRED": "enroute",
    "BUFFERD": "enroute",
    "BUFFERED": "enroute",
    "SKIPPED": "skipped",
}
"""`stat:` upper-cased -> our word; any other word is "unknown" and keeps its raw form."""

RECEIPT_TEXT_OCTETS_MAX: Final = 1_024
"""A receipt's fields stand within its first octets; no more of a message_payload is looked at."""
VALUE_CHARACTERS_MAX: Final = 64
ID_CHARACTERS_MAX: Final = 65
"""Longer ids than message_id allows (64 and a NUL) are not turned into another base."""


class Receipt(msgspec.Struct, gc=False):
    """What an SMSC tells about one part.

    `message_id` is as the SMSC wrote it ("" if it wrote none): the TLV's if there is one, else the text's;
    `alt_ids` is the text's beside a different one in the TLV. `stat` is the raw word in upper case, `state`
    one of delivered, expired, deleted, undeliverable, accepted, unknown, rejected, enroute, skipped. `err`
    and `done_date` are raw; `network_error` is (network type, code), type 0 if the SMSC wrote digits only.
    Addresses are as on the PDU: they should be those of the message swapped, and are a hint only.
    """

    message_id: str
    stat: str
    state: str
    err: str
    network_error: tuple[int, int] | None
    alt_ids: tuple[str, ...]
    source_addr: str
    destination_addr: str
    done_date: str

    def __repr__(self) -> str:
        """Without addresses."""
        return f"Receipt(message_id={self.message_id!r}, state={self.state!r}, err={self.err!r})"


def parse_deliver(frame: bytes, *, by_esm_class_only: bool = False) -> Receipt | None:
    """The receipt in a deliver_sm or data_sm, or None if it is a message from a subscriber.

    It is a receipt if esm_class says so, or (unless `by_esm_class_only`) if it has receipted_message_id or
    its text begins like one: `id:` and then `stat:` with a date. A receipt without any id comes back with
    message_id "". A wrong sm_length or broken optional parameters do not matter as long as there is text to
    read. Raises PduError or FramingError if the mandatory fields cannot be read.
    """
    usual = _usual_receipt(frame)
    if usual is None:
        return _patiently(frame, by_esm_class_only)
    receipt, esm_class = usual
    return receipt if not by_esm_class_only or _is_marked(esm_class) or _acknowledges(esm_class) else None


_MARKS: Final = c.ESM_CLASS_MC_DELIVERY_RECEIPT | c.ESM_CLASS_INTERMEDIATE_NOTIFICATION


def _is_marked(esm_class: int) -> bool:
    """It is a receipt, whatever the text (5.2.12)."""
    return esm_class & _MARKS != 0


def _acknowledges(esm_class: int) -> bool:
    """It may be a receipt: some SMSCs take the subscriber's acknowledgement for theirs."""
    return esm_class & c.ESM_CLASS_TYPE_MASK == c.ESM_CLASS_DELIVERY_ACKNOWLEDGEMENT


_mandatory = re.compile(
    "....\0\0\0\x05........[^\0]{0,5}+\0..([^\0]{0,20}+)\0..([^\0]{0,20}+)\0"
    "(.)..(?:[^\0]{16})?+\0(?:[^\0]{16})?+\0.....",
    re.DOTALL,
).match
_command_length = Struct(">I").unpack_from
_gap = r"[\t-\r ,;|\0]"
_no_gap = r"[^\t-\r ,;|\0]"
_key = r"(?:id|s(?:ub(?:mit\s?date)?|tat)|d(?:lvrd|one\s?date)|err|text)"
_skipped = rf"{_no_gap}{{1,64}}+"
_word = f"({_skipped})"
# Both texts give id, done date, stat and err in this order.
_usual_text = re.compile(
    rf"id:{_word}(?: sub:{_skipped})?+(?: dlvrd:{_skipped})?+ submit date:{_skipped} done date:{_word}"
    rf" stat:{_word} err:{_word}(?: [Tt]ext:|\Z)"
).match


def _any_order() -> str:
    """What `_scan` takes, but for empty values, repeated keys and values too long."""
    value = rf"\s?:(?:{_gap}++(?!{_key}\s?:))?+"
    once = [
        rf"{name}{value}(?({number})(?!)){_word}"
        for number, name in enumerate(("id", r"done\s?date", "stat", "err"), 1)
    ]
    other = [rf"(?:sub(?:mit\s?date)?|dlvrd){value}{_skipped}", rf"(?!{_key}\s?:){_no_gap}++"]
    return rf"{_gap}*+(?:(?:{'|'.join(once + other)})(?:{_gap}++|\Z))*+(?:text\s?:|\Z)"


_unusual_text = re.compile(_any_order(), re.IGNORECASE | re.ASCII).match


def _usual_receipt(frame: bytes) -> tuple[Receipt, int] | None:
    """The receipt and its esm_class, in a deliver_sm with nothing wrong: appendix B's text, or, if esm_class
    says that it is a receipt, its fields in any order and spelling.

    It takes a third of the time of `_patiently`, which reads the same in it. None: ask that.
    """
    text = frame.decode("latin-1")
    mandatory = _mandatory(text)
    if mandatory is None or _command_length(frame)[0] != len(frame):
        return None
    source_addr, destination_addr, octet = mandatory.groups()
    esm_class = ord(octet)
    start = mandatory.end()
    end = start + frame[start - 1]
    found = _usual_text(text, start, end)
    if found is None and esm_class & _MARKS:
        found = _unusual_text(text, start, end)
    if found is None:
        return None
    message_id, done_date, stat, err = found.groups("")
    if not message_id:
        return None
    receipt = with_tlvs(
        frame, text, end, message_id, stat.upper(), err, source_addr, destination_addr, done_date
    )
    return None if receipt is None else (receipt, esm_class)


# receipted_message_id, network_error_code and message_state in any order; of a repeated one the last.
_usual_tlvs = re.compile(
    "(?:\0\x1e\0(.)([0-9A-Za-z._\\-]{1,64}+)\0|\x04\x23\0\x03([\x01-\x08])(.)(.)|\x04\x27\0\x01(.))*+",
    re.DOTALL,
).fullmatch


def with_tlvs(
    frame: bytes,
    text: str,
    end: int,
    message_id: str,
    stat: str,
    err: str,
    source_addr: str,
    destination_addr: str,
    done_date: str,
) -> Receipt | None:
    """`build` with the optional parameters from `end` to the end of `frame`, of which `text` is the Latin-1;
    None if they cannot be read.
    """
    state = WORDS.get(stat, "unknown")
    if end == len(frame):
        return Receipt(message_id, stat, state, err, None, (), source_addr, destination_addr, done_date)
    usual = _usual_tlvs(text, end)
    if usual is not None:
        length, tlv_id, network, high, low, state_octet = usual.groups()
        octets = 5 + len(message_id) + (7 if network else 0) + (5 if state_octet else 0)
        # All have their right length and none is repeated.
        if tlv_id == message_id and len(tlv_id) + 1 == ord(length) and octets == len(frame) - end:
            return Receipt(
                message_id,
                stat,
                STATES.get(ord(state_octet), state) if state_octet else state,
                err,
                (ord(network), ord(high) << 8 | ord(low)) if network else None,
                (),
                source_addr,
                destination_addr,
                done_date,
            )
    try:
        tlvs = decode_tlvs(frame, end)
    except PduError:
        return None
    return build(tlvs, message_id, stat, err, source_addr, destination_addr, done_date)


def _patiently(frame: bytes, by_esm_class_only: bool) -> Receipt | None:
    pdu = decode(frame, lenient=True)
    if not isinstance(pdu, DeliverSm | DataSm):
        return None
    marked = _is_marked(pdu.esm_class)
    acknowledges = _acknowledges(pdu.esm_class)
    if by_esm_class_only and not marked and not acknowledges:
        return None
    found = _read_text(pdu.message, pdu.esm_class)
    receipt = build(
        pdu.tlvs,
        found.get("id", ""),
        found.get("stat", "").upper(),
        found.get("err", ""),
        pdu.source_addr.decode("latin-1"),
        pdu.destination_addr.decode("latin-1"),
        found.get("donedate", ""),
    )
    if marked or (receipt.message_id and acknowledges):
        return receipt
    has_tlv_id = bool(_string(pdu.tlv(c.TAG_RECEIPTED_MESSAGE_ID)))
    return receipt if has_tlv_id or _looks_like_receipt(pdu.message, found) else None


def build(
    tlvs: Tlvs, text_id: str, stat: str, err: str, source_addr: str, destination_addr: str, done_date: str
) -> Receipt:
    """A receipt of what the text said and of the optional parameters, which count more."""
    state = WORDS.get(stat, "unknown")
    value_of = dict(reversed(tlvs)).get  # so that of a repeated one the first counts
    tlv_id = _string(value_of(c.TAG_RECEIPTED_MESSAGE_ID))
    message_state = value_of(c.TAG_MESSAGE_STATE)
    code = value_of(c.TAG_NETWORK_ERROR_CODE)
    differ = tlv_id and text_id and canonical_id(tlv_id) != canonical_id(text_id)
    return Receipt(
        tlv_id or text_id,
        stat,
        STATES.get(int.from_bytes(message_state, "big"), state) if message_state else state,
        err,
        network_error(code) if code else None,
        (text_id,) if differ else (),
        source_addr,
        destination_addr,
        done_date,
    )


def _string(value: bytes | None) -> str:
    return value.partition(b"\0")[0].decode("latin-1").strip()[:VALUE_CHARACTERS_MAX] if value else ""


def network_error(value: bytes) -> tuple[int, int] | None:
    """(network type, code) of the 3 octets of section 5.3.2.31, or of the digits some SMSCs write instead."""
    digits = value.rstrip(b"\0")
    if digits.isdigit() and len(digits) <= 5:
        return 0, int(digits)
    return (value[0], value[1] << 8 | value[2]) if len(value) == 3 else None


def canonical_id(raw: str) -> str:
    """The one form an id is stored under: case folded, without white space around it and leading zeros; "0"
    if nothing is left. The form of a form is itself.
    """
    if raw.isdigit() and raw[0] != "0":
        return raw
    return raw.rstrip(" \t\r\n\0").lstrip("0 \t\r\n\0").casefold() or "0"


def id_variants(raw: str) -> list[str]:
    """The canonical forms `raw` would have had in the other base (hexadecimal, decimal), without its own.

    SMSCs answer a submit in one base and write the receipt in the other. Integers have no width here.
    """
    own = canonical_id(raw)
    if len(own) > ID_CHARACTERS_MAX or not own.isascii():
        return []
    variants: list[str] = []
    if own.isdigit():
        variants.append(f"{int(own):x}")
    if _HEXADECIMAL(own):
        variants.append(str(int(own, 16)))
    return [variant for variant in variants if variant != own]


_HEXADECIMAL = re.compile(r"[0-9a-f]+").fullmatch

# --- the text ---------------------------------------------------------------------------------------------

# A separator comes first and the keys differ in their first letters: most octets cost one look.
_fields = re.compile(
    rf"{_gap}({_key})\s?:(?:{_gap}++(?!{_key}\s?:))?+({_no_gap}*+)", re.IGNORECASE | re.ASCII
).finditer
_SPELLINGS: Final = {
    key: key.lower().replace(" ", "")
    for key in ("id", "sub", "dlvrd", "submit date", "done date", "stat", "err", "text", "Text")
}


def _scan(text: str) -> dict[str, str]:
    """Key -> first word of its value, of everything before the first `text:`.

    The first of a repeated key counts. A value ends where the next key begins, so an empty one takes nothing
    from its neighbour.
    """
    found: dict[str, str] = {}
    for match in _fields(" " + text):
        spelt, word = match.groups()
        key = _SPELLINGS.get(spelt) or "".join(spelt.lower().split())
        if key == "text":
            break
        if word:
            found.setdefault(key, word[:VALUE_CHARACTERS_MAX])
    return found


def _read_text(data: bytes, esm_class: int) -> dict[str, str]:
    """The fields, in whichever encoding an id is found, else in that which shows the most of them.

    data_coding is not asked: it is often the original's.
    The octets as they are come first: esm_class may claim a header that is not there, and stripping one would
    cut the fields off and leave the subscriber's words.
    """
    data = data[:RECEIPT_TEXT_OCTETS_MAX]
    if not data:
        return {}
    most: dict[str, str] = {}
    for octets in (data, udh.strip(data)[1]) if esm_class & c.ESM_CLASS_UDHI else (data,):
        for encoding in ("latin-1", "utf-16-be", "utf-16-le"):
            found = _scan(octets.decode(encoding, "replace"))
            if "id" in found:
                return found
            most = max(most, found, key=len)
    return most


# In ASCII or in UTF-16 of either order.
_begins_with_id = re.compile(rb"[\s\0]*i\0?d[\s\0]*:", re.IGNORECASE).match


def _looks_like_receipt(data: bytes, found: dict[str, str]) -> bool:
    """Strict, because nothing but the text says so, and a subscriber can write anything."""
    dated = "donedate" in found or "submitdate" in found
    return dated and "id" in found and "stat" in found and _begins_with_id(data) is not None
