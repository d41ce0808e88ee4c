"""The user data of a message as rows: its header, its text or octets, the fields of a receipt.

3GPP TS 23.040 section 9.2.3.24 (header), SMPP 3.4 section 5.2.19 (alphabet) and appendix B (receipt).
"""

from __future__ import annotations

import re
from typing import Final

from . import constants as c
from . import inbound, meanings, receipt, udh
from .errors import CodecError
from .rows import Row, Shown, masked

ALPHABETS: Final = {
    "gsm7": "GSM 7-bit, unpacked",
    "ascii": "ASCII",
    "latin1": "Latin-1",
    "ucs2": "UCS-2",
    "utf-16-le": "UCS-2 with its octets exchanged",
    "utf-8": "UTF-8",
    "binary": "8-bit data, or an alphabet that is not read here",
}
"""Names of `inbound.ALPHABETS` for a person; what is not here is its own name."""

# Only digits and signs: the words behind a key can be the subscriber's own.
_COUNTS = re.compile(
    r"(?<!\w)(sub|dlvrd|submit\s?date)\s?:\s?([0-9]{1,16}[-+]?)(?!\w)", re.IGNORECASE | re.ASCII
)
_TEXT_KEY = re.compile(r"text\s?:", re.IGNORECASE)


def text_rows(
    frame: bytes, start: int, end: int, name: str, command_id: int, values: dict[str, int], shown: Shown
) -> list[Row]:
    """Rows for frame[start:end], the field `name`; `values` are the PDU's one-octet fields by name."""
    rows: list[Row] = []
    data = frame[start:end]
    header = b""
    level = shown.level
    if values.get("esm_class", 0) & c.ESM_CLASS_UDHI:
        header, data = udh.strip(data)
        if header:
            rows.append(Row(start, len(header), level, "user data header", header_value(header)))
            rows += header_rows(header, start, shown)
        else:
            problem = "esm_class says user data header, but none fits"
            rows.append(Row(start, 0, level, "user data header", "", problem=problem))
        start += len(header)
    if not header or data:
        rows.append(_text_row(start, data, name, values.get("data_coding"), header, shown))
    if command_id in (c.DELIVER_SM, c.DATA_SM):
        rows += receipt_rows(frame, start, data, shown)
    return rows


def header_value(header: bytes) -> str:
    """How much it takes; its elements follow."""
    return f"{len(header)} octets"


def header_rows(header: bytes, offset: int, shown: Shown) -> list[Row]:
    """One row an element, values that may be text or addresses masked; one more if an element overruns."""
    rows: list[Row] = []
    level = shown.level + 1
    at = 1
    for iei, octets in udh.elements(header):
        name = f"0x{iei:02X} {udh.IEI_NAMES.get(iei, 'reserved')}"
        value, meaning = meanings.element(iei, octets)
        problem = ""
        if iei in (udh.IEI_CONCAT_8, udh.IEI_CONCAT_16) and not value:
            problem = "must be a reference, a total of 1 to 255 and a number of 1 to the total: ignored"
        size = 2 + len(octets)
        shown_value = value or shown.octets(octets)
        rows.append(Row(offset + at, size, level, name, shown_value, meaning, problem))
        at += size
    if at < len(header):
        problem = "an element runs past the end of the header"
        rows.append(Row(offset + at, len(header) - at, level, "element", "", "", problem))
    return rows


def _text_row(
    start: int, data: bytes, name: str, data_coding: int | None, header: bytes, shown: Shown
) -> Row:
    claimed = "binary" if data_coding is None else inbound.alphabet_of(data_coding)
    locking, single = udh.shifts_of(header) if claimed == "gsm7" else (0, 0)
    like = inbound.Inbound("", "", None, data, claimed=claimed, locking=locking, single=single)
    text, alphabet = inbound.decode(data, like)
    meaning = "data_coding is the original message's" if data_coding is None else _alphabet_name(claimed)
    problem = ""
    if alphabet != claimed:
        meaning += f"; the octets look like {_alphabet_name(alphabet)}"
    elif alphabet == "gsm7" and any(octet > 0x7F for octet in data):
        meaning += "; octets above 0x7F: packed septets, or another alphabet"
    elif alphabet == "ucs2" and len(data) % 2:
        problem = "an odd number of octets is no UCS-2"
    if not data:
        value = "''"
    elif not shown.show_text or shown.secret:
        value = masked(len(data))
    else:
        value = data.hex(" ") if text is None else repr(text)
    return Row(start, len(data), shown.level, name, value, meaning, problem)


def _alphabet_name(alphabet: str) -> str:
    return ALPHABETS.get(alphabet, alphabet)


def receipt_rows(frame: bytes, start: int, data: bytes, shown: Shown) -> list[Row]:
    """What the receipt reader makes of the whole PDU; [] if it is none, or cannot be read."""
    try:
        found = receipt.parse_deliver(frame)
    except CodecError:
        return []
    if found is None:
        return []
    level = shown.level + 1

    def row(name: str, value: str, meaning: str) -> Row:
        return Row(start, len(data), level, f"receipt {name}", ascii(value)[1:-1], meaning)

    rows = [row("id", found.message_id, "" if found.message_id else "none: cannot be matched")]
    rows += [row("id", other, "in the text; the optional parameter says another") for other in found.alt_ids]
    rows.append(row("state", found.state, "final" if found.state in receipt.FINAL_STATES else "not final"))
    if found.stat:
        rows.append(row("stat", found.stat, "" if found.stat in receipt.WORDS else "not a known word"))
    if found.err:
        rows.append(row("err", found.err, "the SMSC's own code: ask the carrier"))
    if found.done_date:
        rows.append(row("done date", found.done_date, meanings.receipt_date(found.done_date)))
    head = _TEXT_KEY.split(data[: receipt.RECEIPT_TEXT_OCTETS_MAX].decode("latin-1"))[0]
    for key, value in _COUNTS.findall(head):
        words = " ".join(str(key).lower().replace("submitdate", "submit date").split())
        rows.append(row(words, value, meanings.receipt_date(value) if words == "submit date" else ""))
    return rows
