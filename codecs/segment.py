"""A text or binary message -> the parts to send (3GPP TS 23.040 section 9.2.3.24.1, TS 23.038).

Never torn between two parts: an escape pair, a surrogate pair, and a grapheme cluster that fits one part.
A message of more parts than allowed is refused, never cut.

What a text is sent in: the first of the carrier's alphabets that has all of it. If that takes several parts,
or none has it, national language tables that the carrier takes may do it in fewer; and where the carrier has
a transliteration table, the text that it gives may. Neither is used for anything less than a part saved, or
UCS-2 avoided.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from struct import Struct
from typing import Final, Literal

import msgspec

from . import constants as c
from . import cuts, gsm7, national, septets, transliterate, udh
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

_IN_PARAMETERS: Final = ("sar", "payload")
"""Ways of concatenation in which the SMSC builds the headers, of optional parameters."""

_sar = Struct(">HHHHHBHHB").pack
_port_tlvs = Struct(">HH2sHH2s").pack
_tlv_header = Struct(">HH").pack


class Rules(msgspec.Struct, frozen=True):
    """What one carrier takes. `alphabets` are tried in order; `units_*` replace the standard's sizes by
    alphabet.

    `languages` are the national tables it takes (see `national.LANGUAGES`), `packed` that its GSM 7-bit goes
    out as packed septets, `transliterate` what may stand for a character (see `transliterate.apply`).

    Raises ValueError for an unknown alphabet or language, a size below 2, a part with room for more than a
    message of one part, or parts_max outside 1 to 255.
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
    languages: tuple[int, ...] = ()
    packed: bool = False
    transliterate: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if self.concat not in UNITS_PART:
            raise ValueError(f"concat must be one of {', '.join(UNITS_PART)}")
        if not 1 <= self.parts_max <= PARTS_MAX:
            raise ValueError(f"parts_max must be 1 to {PARTS_MAX}")
        if unknown := set(self.alphabets) - {"gsm7", "ucs2", "latin1"}:
            raise ValueError(f"unknown alphabet {sorted(unknown)[0]!r}: gsm7, ucs2, latin1")
        for language in self.languages:
            if language not in national.LANGUAGES:
                raise ValueError(f"unknown language {language!r}: 1 to {len(national.LANGUAGES)}")
        for name in ("units_single", "units_part"):
            sizes: dict[str, int] | None = getattr(self, name)
            for alphabet, units in (sizes or {}).items():
                if alphabet not in UNITS_SINGLE:
                    raise ValueError(f"{name}: unknown alphabet {alphabet!r}")
                # Two units: an escape or surrogate pair must fit, or nothing could be sent.
                if not 2 <= units <= MESSAGE_PAYLOAD_OCTETS_MAX // 2:
                    raise ValueError(f"{name}: {alphabet} must be 2 to {MESSAGE_PAYLOAD_OCTETS_MAX // 2}")
                # Else a text a little too long for one part would go into one all the same.
                if self.single(alphabet) < self.part(alphabet):
                    raise ValueError(
                        f"{name}: {alphabet} {units} does not go together: a message of one part would hold"
                        f" {self.single(alphabet)}, one of several {self.part(alphabet)}"
                    )

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
    """`parts` are encoded, without any header, septets not packed; `units` each one's length in the
    alphabet's units.

    With concat "payload" a long message is one part here; `segments` says how many the SMSC makes of it.
    `locking` and `single` are the languages of national tables, 0 without; `header` is the elements of the
    user data header that every part has besides the one that tells its place.
    """

    alphabet: str
    data_coding: int
    parts: list[bytes]
    units: list[int]
    units_left: int
    segments: int
    locking: int = 0
    single: int = 0
    header: bytes = b""

    @property
    def texts(self) -> list[str]:
        """Each part's text, decoded from its octets (Latin-1 for binary)."""
        if self.alphabet == "gsm7":
            return [gsm7.decode(part, self.locking, self.single) for part in self.parts]
        return [part.decode("utf-16-be" if self.alphabet == "ucs2" else "latin-1") for part in self.parts]

    def __repr__(self) -> str:
        """Without text."""
        return f"Segmented(alphabet={self.alphabet!r}, units={self.units})"


_DEFAULT: Final = Rules()
_NUMBERS: Final = [bytes((number,)) for number in range(1, PARTS_MAX + 1)]
_NO_NUMBER: Final = [b""]
_UDHI: Final = c.ESM_CLASS_UDHI
_LATIN1: Final = gsm7.LATIN1_TO_SEPTETS
_ANYWHERE: Final = {
    concat: (units["gsm7"], re.compile(rb".{1,%d}+" % units["gsm7"], re.DOTALL).findall)
    for concat, units in UNITS_PART.items()
}
"""Septets of a part, and what cuts octets into as many: of a few parts faster than a loop of slices."""


def segment(text: str, rules: Rules = _DEFAULT, ports: udh.Ports | None = None) -> Segmented:
    """Encode as the module says, and cut into parts; `ports` go with each.

    Raises TextError: "unencodable" if nothing can (a lone surrogate; or a carrier without UCS-2), "too_long"
    above `parts_max` parts. Raises ValueError for a port beyond its bits.
    """
    if rules.transliterate is not None:
        return _transliterated(text, rules, rules.transliterate, ports)
    for alphabet in rules.alphabets:
        if alphabet == "gsm7":
            if rules.languages and text[:1] in national.NATIONAL:
                # Not worth an exception.
                continue
            data = gsm7.encode(text)
            if data is None:
                continue
            if ports is None and rules.units_single is None:
                length = len(data)
                if length <= 160:
                    # Most texts; nothing could be better.
                    return Segmented(alphabet, rules.gsm7_data_coding, [data], [length], 160 - length, 1)
                if (
                    length == len(text)
                    and "\r" not in text
                    and rules.units_part is None
                    and not rules.languages
                    and rules.concat != "payload"
                ):
                    # No two septets belong together: `_cut` would do the same.
                    limit, pieces = _ANYWHERE[rules.concat]
                    if length > limit * rules.parts_max:
                        raise _too_long(rules)
                    parts = [data[:limit], data[limit:]] if length <= 2 * limit else pieces(data)
                    segments = len(parts)
                    units = [limit] * segments
                    units[-1] = last = len(parts[-1])
                    return Segmented(alphabet, rules.gsm7_data_coding, parts, units, limit - last, segments)
        else:
            try:
                data = text.encode("utf-16-be" if alphabet == "ucs2" else "latin-1")
            except UnicodeEncodeError:
                continue
        header = _ports_header(ports, rules) if ports else b""
        if rules.languages:
            return _with_languages(text, alphabet, data, rules, header)
        return _cut(text, data, alphabet, rules, header)
    if rules.languages and "gsm7" in rules.alphabets:
        return _with_languages(text, "", None, rules, _ports_header(ports, rules) if ports else b"")
    raise _unencodable(rules)


def segment_data(data: bytes, rules: Rules = _DEFAULT, ports: udh.Ports | None = None) -> Segmented:
    """Cut binary data into parts. Raises TextError "too_long"; ValueError for a port beyond its bits."""
    return _cut("", data, "binary", rules, _ports_header(ports, rules) if ports else b"")


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
    elements = segmented.header
    total = len(parts)
    if total == 1 and not rules.packed:
        if not elements:
            return [_field(0, parts[0], b"")]
        if segmented.locking or segmented.single:
            return [_field(_UDHI, _NUMBERS[len(elements) - 1] + elements + parts[0], b"")]
    if rules.concat == "udh8" and not elements and not rules.packed and rules.units_part is None:
        # Most long texts; what follows would do the same.
        head = b"\5\0\3%c%c" % (reference & 0xFF, total)
        found: list[tuple[int, bytes, bytes]] = []
        for number, part in enumerate(parts, 1):
            found.append((_UDHI, b"%b%c%b" % (head, number, part), b""))  # faster than a list comprehension
        return found
    if rules.concat in _IN_PARAMETERS and not (segmented.locking or segmented.single):
        return _with_parameters(segmented, rules, reference)
    head, numbers = b"", _NO_NUMBER
    if total > 1:
        # The place first: some receivers expect it there.
        octets = len(elements)
        if rules.concat == "udh16":
            high, low = reference >> 8 & 0xFF, reference & 0xFF
            head = bytes((6 + octets, udh.IEI_CONCAT_16, 4, high, low, total))
        else:
            head = bytes((5 + octets, udh.IEI_CONCAT_8, 3, reference & 0xFF, total))
        numbers = _NUMBERS
    elif elements:
        head = bytes((len(elements),))
    if rules.packed and segmented.alphabet == "gsm7":
        fill = septets.fill_bits(len(head) + len(numbers[0]) + len(elements))
        parts = [septets.pack(septets.padded(part, fill), fill) for part in parts]
    esm_class = _UDHI if head else 0
    return [
        _field(esm_class, head + one + elements + part, b"")
        for one, part in zip(numbers, parts)  # noqa: B905 (numbers are as many as there can be)
    ]


def _with_parameters(segmented: Segmented, rules: Rules, reference: int) -> list[tuple[int, bytes, bytes]]:
    """Without a header: sar_* and port parameters do not go together with one (SMPP 5.0 section 4.7.12)."""
    elements, parts = segmented.header, segmented.parts
    # The ports are the only elements there can be.
    ports = (
        _port_tlvs(c.TAG_DEST_PORT, 2, elements[2:4], c.TAG_SOURCE_PORT, 2, elements[4:6])
        if elements
        else b""
    )
    if rules.packed and segmented.alphabet == "gsm7":
        parts = [septets.pack(septets.padded(part)) for part in parts]
    if len(parts) == 1:
        return [_field(0, parts[0], ports)]
    ref = reference & 0xFFFF
    return [
        _field(0, part, ports + _sar(0x020C, 2, ref, 0x020E, 1, len(parts), 0x020F, 1, number))
        for number, part in enumerate(parts, 1)
    ]


def _field(esm_class: int, user_data: bytes, tlvs: bytes) -> tuple[int, bytes, bytes]:
    if len(user_data) <= c.SHORT_MESSAGE_OCTETS_MAX:
        return esm_class, user_data, tlvs
    return esm_class, b"", tlvs + _tlv_header(c.TAG_MESSAGE_PAYLOAD, len(user_data)) + user_data


# --- choosing ---------------------------------------------------------------------------------------------


def _transliterated(text: str, rules: Rules, table: Mapping[str, str], ports: udh.Ports | None) -> Segmented:
    """The text as it is, unless with characters replaced it takes fewer parts, or as many without UCS-2."""
    rules = msgspec.structs.replace(rules, transliterate=None)
    chosen: Segmented | None = None
    refused: TextError | None = None
    try:
        chosen = segment(text, rules, ports)
    except TextError as error:
        refused = error
    # What no table of the carrier has goes first: the rest may then stay.
    for other in transliterate.versions(text, table, national.characters_of(rules.languages)):
        if chosen is not None and chosen.segments == 1 and chosen.alphabet != "ucs2":
            break
        try:
            found = segment(other, rules, ports)
        except TextError:
            continue
        if chosen is None or _cost(found) < _cost(chosen):
            chosen = found
    if chosen is None:
        assert refused is not None
        raise refused
    return chosen


def _cost(cut: Segmented) -> tuple[int, bool]:
    return cut.segments, cut.alphabet == "ucs2"


def _with_languages(text: str, alphabet: str, data: bytes | None, rules: Rules, header: bytes) -> Segmented:
    """In the alphabet found, None if none has the text; by national tables if that takes fewer parts."""
    if data is None:
        found = _by_tables(text, alphabet, rules, header)
        if found is None:
            raise _unencodable(rules)
        return found
    units = len(data) >> 1 if alphabet == "ucs2" else len(data)
    if units <= (_room_single(alphabet, rules, header) if header else rules.single(alphabet)):
        return _cut(text, data, alphabet, rules, header)
    found = _by_tables(text, alphabet, rules, header)
    if found is None:
        return _cut(text, data, alphabet, rules, header)
    # How many parts it is at the least otherwise is known without cutting, and most often enough.
    if found.segments < -(-units // _room_part(alphabet, rules, header)):
        return found
    try:
        cut = _cut(text, data, alphabet, rules, header)
    except TextError:
        return found
    return found if found.segments < cut.segments else cut


def _by_tables(text: str, alphabet: str, rules: Rules, header: bytes) -> Segmented | None:
    """By the best pair of tables: fewest parts, then fewest units, then the simplest header.

    None if no pair can, or if the text goes in an `alphabet` that the carrier prefers to GSM 7-bit.
    """
    alphabets = rules.alphabets
    if alphabets[0] != "gsm7" and alphabet and "gsm7" not in alphabets[: alphabets.index(alphabet) + 1]:
        return None
    pairs = national.pairs_of(rules.languages)
    if alphabet == "gsm7":
        # A longer header pays only if it spares escapes.
        pairs &= national.pairs_locking(one for one in gsm7.EXTENSION if one in text)
    best: tuple[tuple[int, int, int, int], Segmented] | None = None
    for locking, single, data in national.candidates(text, pairs):
        elements = header + _shifts(locking, single)
        try:
            cut = _cut(text, data, "gsm7", rules, elements, locking, single)
        except TextError:
            continue
        if rules.concat in _IN_PARAMETERS and (cut.segments > 1 or header):
            continue
        # A handset that knows no tables still shows most of a text without a locking one.
        rank = (cut.segments, len(data), len(elements), locking)
        if best is None or rank < best[0]:
            best = rank, cut
    return best[1] if best is not None else None


@cache
def _shifts(locking: int, single: int) -> bytes:
    elements = [
        (iei, bytes((language,)))
        for iei, language in (
            (udh.IEI_NATIONAL_SINGLE_SHIFT, single),
            (udh.IEI_NATIONAL_LOCKING_SHIFT, locking),
        )
        if language
    ]
    return udh.build(elements)[1:]


def _ports_header(ports: udh.Ports, rules: Rules) -> bytes:
    element = (
        udh.ports16(ports.destination, ports.source) if rules.concat in _IN_PARAMETERS else ports.element
    )
    return udh.build([element])[1:]


# --- cutting ----------------------------------------------------------------------------------------------


def _room(alphabet: str, units: int, octets: int) -> int:
    """Of `units` those left beside `octets` of header."""
    if alphabet == "gsm7":
        return ((units * 7 + 7) // 8 - octets) * 8 // 7
    return (2 * units - octets) // 2 if alphabet == "ucs2" else units - octets


def _room_single(alphabet: str, rules: Rules, header: bytes) -> int:
    """Beside a header; without one it is all of `rules.single`."""
    units = rules.single(alphabet)
    # One octet more for the length of the header.
    return max(_room(alphabet, units, 1 + len(header)), 0)


def _room_part(alphabet: str, rules: Rules, header: bytes) -> int:
    """Raises TextError if not even an escape or surrogate pair fits."""
    units = rules.part(alphabet)
    if header:
        units = min(_room(alphabet, units, len(header)), _room_single(alphabet, rules, header))
        if units < 2:
            raise TextError("text", "too_long", "no room beside the header")
    return units


def _cut(
    text: str, data: bytes, alphabet: str, rules: Rules, header: bytes, locking: int = 0, single: int = 0
) -> Segmented:
    """`data`, which encodes `text` (binary: none), in parts. Raises TextError "too_long"."""
    length = len(data) >> 1 if alphabet == "ucs2" else len(data)
    if header:
        most = _room_single(alphabet, rules, header)
    else:
        most = UNITS_SINGLE[alphabet] if rules.units_single is None else rules.single(alphabet)
    if length <= most:
        parts, units, left, segments = [data], [length], most - length, 1
    else:
        if header:
            limit = _room_part(alphabet, rules, header)
        else:
            limit = UNITS_PART[rules.concat][alphabet] if rules.units_part is None else rules.part(alphabet)
        if length > limit * rules.parts_max:
            raise _too_long(rules)
        if alphabet == "ucs2":
            parts = cuts.utf16(text, data, limit)
            units = [len(part) >> 1 for part in parts]
        else:
            if locking or single:
                parts = cuts.septets(text, data, limit, national.measure(locking))
            else:
                parts = cuts.octets(text, data, limit, alphabet)
            units = list(map(len, parts))
        segments = len(parts)
        if segments > rules.parts_max:
            raise _too_long(rules)
        left = limit - units[-1]
        if rules.concat == "payload":
            # It goes out whole; the parts were only counted.
            if len(data) > MESSAGE_PAYLOAD_OCTETS_MAX:
                raise TextError("text", "too_long", f"above {MESSAGE_PAYLOAD_OCTETS_MAX} octets")
            parts, units = [data], [length]
    if alphabet == "gsm7":
        data_coding = rules.gsm7_data_coding
    elif alphabet == "ucs2":
        data_coding = rules.ucs2_data_coding
    else:
        data_coding = rules.latin1_data_coding if alphabet == "latin1" else rules.binary_data_coding
    if header:
        return Segmented(alphabet, data_coding, parts, units, left, segments, locking, single, header)
    return Segmented(alphabet, data_coding, parts, units, left, segments)


def _unencodable(rules: Rules) -> TextError:
    return TextError("text", "unencodable", f"no way in {', '.join(rules.alphabets)}")


def _too_long(rules: Rules) -> TextError:
    return TextError("text", "too_long", f"more than {rules.parts_max} parts")
