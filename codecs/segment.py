"""A text or binary message -> the parts to send (3GPP TS 23.040 section 9.2.3.24.1, TS 23.038).

Never torn between two parts: an escape pair, a surrogate pair, and a grapheme cluster that fits one part.
A message of more parts than allowed is refused, never cut.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, Literal

import msgspec
import regex  # type: ignore[import-untyped,unused-ignore]

from . import constants as c
from . import gsm7, udh
from .errors import TextError

PARTS_MAX: Final = 255
"""What one octet of a concatenation header can count."""
MESSAGE_PAYLOAD_OCTETS_MAX: Final = 65_535

UNITS_SINGLE: Final = {"gsm7": 160, "ucs2": 70, "latin1": 140, "binary": 140}
"""Units of a message of one part: septets, 16-bit units, octets."""
UNITS_PART: Final = {
    "udh8": {"gsm7": 153, "ucs2": 67, "latin1": 134, "binary": 134},
    "udh16": {"gsm7": 152, "ucs2": 66, "latin1": 133, "binary": 133},
    "sar": {"gsm7": 153, "ucs2": 67, "latin1": 134, "binary": 134},
    "payload": {"gsm7": 153, "ucs2": 67, "latin1": 134, "binary": 134},
}
"""Units of a part by the way of concatenation; for sar and payload the SMSC builds the header itself."""

Alphabet = Literal["gsm7", "ucs2", "latin1", "binary"]

_sar = Struct(">HHHHHBHHB").pack
_tlv_header = Struct(">HH").pack


class Rules(msgspec.Struct, frozen=True):
    """What one carrier takes. `alphabets` are tried in order; `units_*` replace the standard's sizes by
    alphabet.

    Raises ValueError for an unknown alphabet, a size below 1, or parts_max outside 1 to 255.
    """

    concat: Literal["udh8", "udh16", "sar", "payload"] = "udh8"
    alphabets: tuple[str, ...] = ("gsm7", "ucs2")
    units_single: dict[str, int] | None = None
    units_part: dict[str, int] | None = None
    parts_max: int = 10
    gsm7_data_coding: int = c.DATA_CODING_DEFAULT
    latin1_data_coding: int = c.DATA_CODING_LATIN1
    ucs2_data_coding: int = c.DATA_CODING_UCS2
    binary_data_coding: int = c.DATA_CODING_OCTETS

    def __post_init__(self) -> None:
        if self.concat not in UNITS_PART:
            raise ValueError(f"concat must be one of {', '.join(UNITS_PART)}")
        if not 1 <= self.parts_max <= PARTS_MAX:
            raise ValueError(f"parts_max must be 1 to {PARTS_MAX}")
        if unknown := set(self.alphabets) - {"gsm7", "ucs2", "latin1"}:
            raise ValueError(f"unknown alphabet {sorted(unknown)[0]!r}: gsm7, ucs2, latin1")
        for name in ("units_single", "units_part"):
            sizes: dict[str, int] | None = getattr(self, name)
            for alphabet, units in (sizes or {}).items():
                if alphabet not in UNITS_SINGLE:
                    raise ValueError(f"{name}: unknown alphabet {alphabet!r}")
                # Two units: an escape or surrogate pair must fit, or nothing could be sent.
                if not 2 <= units <= MESSAGE_PAYLOAD_OCTETS_MAX // 2:
                    raise ValueError(f"{name}: {alphabet} must be 2 to {MESSAGE_PAYLOAD_OCTETS_MAX // 2}")

    def single(self, alphabet: str) -> int:
        """Units that fit a message of one part."""
        overridden = self.units_single
        return overridden[alphabet] if overridden and alphabet in overridden else UNITS_SINGLE[alphabet]

    def part(self, alphabet: str) -> int:
        """Units that fit one of several parts."""
        overridden = self.units_part
        return (
            overridden[alphabet]
            if overridden and alphabet in overridden
            else UNITS_PART[self.concat][alphabet]
        )


class Segmented(msgspec.Struct):
    """`parts` are encoded, without any header; `units` each one's length in the alphabet's units.

    With concat "payload" a long message is one part here; `segments` says how many the SMSC makes of it.
    """

    alphabet: str
    data_coding: int
    parts: list[bytes]
    units: list[int]
    units_left: int
    segments: int

    @property
    def texts(self) -> list[str]:
        """Each part's text, decoded from its octets (Latin-1 for binary)."""
        if self.alphabet == "gsm7":
            return [gsm7.decode(part) for part in self.parts]
        return [part.decode("utf-16-be" if self.alphabet == "ucs2" else "latin-1") for part in self.parts]

    def __repr__(self) -> str:
        """Without text."""
        return f"Segmented(alphabet={self.alphabet!r}, units={self.units})"


_DEFAULT: Final = Rules()
_LATIN1: Final = gsm7.LATIN1_TO_SEPTETS


def segment(text: str, rules: Rules = _DEFAULT) -> Segmented:
    """Encode in the first of the rules' alphabets that can, and cut into parts.

    Raises TextError: "unencodable" if no alphabet can (a lone surrogate; or a carrier without UCS-2),
    "too_long" above `parts_max` parts.
    """
    for alphabet in rules.alphabets:
        if alphabet == "gsm7":
            data = gsm7.encode(text)
            if data is not None:
                return _segment(data, "gsm7", rules.gsm7_data_coding, rules)
        else:
            try:
                if alphabet == "ucs2":
                    return _segment_ucs2(text, text.encode("utf-16-be"), rules)
                return _segment(text.encode("latin-1"), "latin1", rules.latin1_data_coding, rules)
            except UnicodeEncodeError:
                continue
    raise TextError("text", "unencodable", f"no way in {', '.join(rules.alphabets)}")


def segment_data(data: bytes, rules: Rules = _DEFAULT) -> Segmented:
    """Cut binary data into parts. Raises TextError "too_long"."""
    return _segment(data, "binary", rules.binary_data_coding, rules)


def single(text: str) -> bytes | None:
    """The octets of a GSM 7-bit text of one part, or None if it is longer or not of that alphabet."""
    try:
        octets = text.encode("latin-1").translate(_LATIN1)
        if octets.isascii():
            return octets if len(octets) <= 160 else None
    except UnicodeEncodeError:
        pass
    encoded = gsm7.encode(text)
    return encoded if encoded is not None and len(encoded) <= 160 else None


def fields(segmented: Segmented, rules: Rules, reference: int) -> list[tuple[int, bytes, bytes]]:
    """Per part (esm_class, short_message, optional parameters as octets), as `SubmitTemplate` takes them.

    `reference` numbers the message towards its destination: its low 8 bits with "udh8", 16 otherwise. The
    same message with the same reference gives the same octets, which a resent part needs. What does not fit
    short_message (a carrier with larger parts) goes into message_payload.
    """
    parts = segmented.parts
    total = len(parts)
    if total == 1:
        return [_field(0, b"", parts[0], b"")]
    if rules.concat == "sar":
        ref = reference & 0xFFFF
        return [
            _field(0, b"", part, _sar(0x020C, 2, ref, 0x020E, 1, total, 0x020F, 1, number))
            for number, part in enumerate(parts, 1)
        ]
    header = udh.concat16 if rules.concat == "udh16" else udh.concat8
    return [
        _field(c.ESM_CLASS_UDHI, header(reference, total, number), part, b"")
        for number, part in enumerate(parts, 1)
    ]


def _field(esm_class: int, header: bytes, part: bytes, tlvs: bytes) -> tuple[int, bytes, bytes]:
    user_data = header + part
    if len(user_data) <= c.SHORT_MESSAGE_OCTETS_MAX:
        return esm_class, user_data, tlvs
    return esm_class, b"", tlvs + _tlv_header(c.TAG_MESSAGE_PAYLOAD, len(user_data)) + user_data


# --- cutting ----------------------------------------------------------------------------------------------


def _whole(data: bytes, alphabet: str, data_coding: int, units: int, left: int) -> Segmented:
    return Segmented(alphabet, data_coding, [data], [units], left, 1)


def _joined(cut: Segmented, data: bytes, rules: Rules) -> Segmented:
    """The same message as it goes out with concat "payload": whole, its parts being only counted."""
    if rules.concat != "payload":
        return cut
    if len(data) > MESSAGE_PAYLOAD_OCTETS_MAX:
        raise TextError("text", "too_long", f"above {MESSAGE_PAYLOAD_OCTETS_MAX} octets")
    return Segmented(cut.alphabet, cut.data_coding, [data], [sum(cut.units)], cut.units_left, cut.segments)


def _too_long(rules: Rules) -> TextError:
    return TextError("text", "too_long", f"more than {rules.parts_max} parts")


def _segment(data: bytes, alphabet: str, data_coding: int, rules: Rules) -> Segmented:
    """One octet a unit. Only an escape pair and CR LF (one cluster) can be torn here."""
    length = len(data)
    single_units = rules.single(alphabet)
    if length <= single_units:
        return _whole(data, alphabet, data_coding, length, single_units - length)
    limit = rules.part(alphabet)
    if length > limit * rules.parts_max:
        raise _too_long(rules)
    escape = gsm7.ESCAPE if alphabet == "gsm7" else -1
    crlf = alphabet != "binary" and b"\r\n" in data
    if not crlf and (escape < 0 or b"\x1b" not in data):
        parts = [data[at : at + limit] for at in range(0, length, limit)]
    else:
        parts = list[bytes]()
        at = 0
        while at < length:
            end = at + limit
            if end < length and (
                data[end - 1] == escape or (crlf and data[end - 1] == 13 and data[end] == 10)
            ):
                end -= 1
            parts.append(data[at:end])
            at = end
    if len(parts) > rules.parts_max:
        raise _too_long(rules)
    units = [len(part) for part in parts]
    return _joined(Segmented(alphabet, data_coding, parts, units, limit - units[-1], len(parts)), data, rules)


def _joining() -> frozenset[str]:
    """Code points of the BMP that can make one grapheme cluster with a neighbour (UAX 29).

    A cut between two code points of which neither is in this set nor above the BMP is between two clusters;
    so whether a cut is safe costs two look-ups, and only the part whose cut is not gets segmented.
    """
    member = regex.compile(
        r"[\r\p{GCB=Extend}\p{GCB=ZWJ}\p{GCB=SpacingMark}\p{GCB=Prepend}\p{GCB=Regional_Indicator}"
        r"\p{GCB=L}\p{GCB=V}\p{GCB=T}]"
    )
    return frozenset(member.findall("".join(map(chr, range(0x10000)))))


_JOINING: Final = _joining()
_clusters = regex.compile(r"\X").findall


def _segment_ucs2(text: str, data: bytes, rules: Rules) -> Segmented:
    length = len(data) >> 1
    single_units = rules.single("ucs2")
    if length <= single_units:
        return _whole(data, "ucs2", rules.ucs2_data_coding, length, single_units - length)
    limit = rules.part("ucs2")
    if length > limit * rules.parts_max:
        raise _too_long(rules)
    parts = _stride(text, data, limit) if length == len(text) else None
    if parts is None:
        parts = _walk(text, data, limit)
    if len(parts) > rules.parts_max:
        raise _too_long(rules)
    units = [len(part) >> 1 for part in parts]
    cut = Segmented("ucs2", rules.ucs2_data_coding, parts, units, limit - units[-1], len(parts))
    return _joined(cut, data, rules)


def _stride(text: str, data: bytes, limit: int) -> list[bytes] | None:
    """Full parts of a text without surrogate pairs; None if one of the cuts might tear a cluster."""
    joining = _JOINING
    for at in range(limit, len(text), limit):
        if text[at] in joining or text[at - 1] in joining:
            return None
    step = limit * 2
    return [data[at : at + step] for at in range(0, len(data), step)]


def _walk(text: str, data: bytes, limit: int) -> list[bytes]:
    """Part by part: as many units as fit, moved back to before the cluster that the cut would tear."""
    parts: list[bytes] = []
    at = index = 0
    while at < len(data):
        end = at + limit * 2
        if end < len(data) and 0xD8 <= data[end - 2] <= 0xDB:
            end -= 2
        part = data[at:end]
        after = index + len(part.decode("utf-16-be"))
        if end < len(data) and not (_stands_alone(text[after - 1]) and _stands_alone(text[after])):
            kept = _whole_clusters(text[index : after + limit + 1], after - index, limit)
            if kept:
                after = index + kept
                part = text[index:after].encode("utf-16-be")
        parts.append(part)
        at += len(part)
        index = after
    return parts


def _stands_alone(character: str) -> bool:
    return character <= "\uffff" and character not in _JOINING


def _whole_clusters(text: str, cut: int, limit: int) -> int:
    """The last boundary at or before code point `cut`; 0 if the cluster there may (and has to) be torn.

    `text` begins at a boundary and reaches a part's length beyond the cut, so a cluster too long for any part
    is seen to be so.
    """
    index = 0
    for cluster in _clusters(text):
        after = index + len(cluster)
        if after > cut:
            if index == cut or len(cluster.encode("utf-16-be")) <= limit * 2:
                return index
            return 0
        index = after
    return cut
