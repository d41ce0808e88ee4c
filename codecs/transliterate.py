"""Characters that GSM 7-bit has not, in words of those that it has: “quoted” -> "quoted", Łódź -> Lodz.

Used only for a carrier whose configuration asks for it. The table is plain data, to be seen with `todoke
preview --transliteration-table` and extended per carrier. It never touches what GSM 7-bit has (3GPP TS 23.038
section 6.2.1), and no alphabet but Latin: a transcription of Greek or Cyrillic is not a way to send it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterator, Mapping
from typing import Final

import regex  # type: ignore[import-untyped,unused-ignore]

_SIGNS: Final = {
    "'": "‘’‚‛′‵´`ʹʻʼʽˈ＇｀",
    '"': "“”„‟″‶«»˝〝〞〟＂",
    "<": "‹〈《",
    ">": "›〉》",
    "-": "‐‑‒–—―−⁃﹘﹣",
    "...": "…⋯",
    "..": "‥",
    ".": "․·。｡",
    ",": "、､",
    "*": "•‣∙●▪◦⁎∗★☆",
    "/": "⁄∕",
    "|": "¦",
    "~": "˜∼〜",
    "^": "ˆ",
    "_": "‗",
    "!": "ǃ",
    "!!": "‼",
    "?!": "⁈",
    "!?": "⁉",
    "??": "⁇",
    "(c)": "©",
    "(r)": "®",
    "TM": "™",
    "SM": "℠",
    "No": "№",
    "o": "º°˚",
    "a": "ª",
    "+-": "±",
    "x": "×✕✖",
    ":": "÷∶",
    "<=": "≤",
    ">=": "≥",
    "<>": "≠",
    "~=": "≈",
    "->": "→",
    "<-": "←",
    "<->": "↔",
    "=>": "⇒",
    "1/2": "½",
    "1/4": "¼",
    "3/4": "¾",
    "1/3": "⅓",
    "2/3": "⅔",
    "o/oo": "‰",
    "c": "¢￠",
    "£": "￡",
    "¥": "￥",
    "u": "µ",
    "INR": "₹",
    "ILS": "₪",
    "KRW": "₩",
    "KZT": "₸",
    "NGN": "₦",
    "PHP": "₱",
    "RUB": "₽",
    "TRY": "₺",
    "UAH": "₴",
    "VND": "₫",
    "0": "⁰₀",
    "1": "¹₁",
    "2": "²₂",
    "3": "³₃",
    "4": "⁴₄",
    "5": "⁵₅",
    "6": "⁶₆",
    "7": "⁷₇",
    "8": "⁸₈",
    "9": "⁹₉",
}
"""What stands for signs."""

_LETTERS: Final = {
    "A": "ÀÁÂÃĀĂĄǍǠȀȂȦḀẠẢẤẦẨẪẬẮẰẲẴẶ",
    "a": "áâãāăąǎǡȁȃȧḁạảấầẩẫậắằẳẵặ",
    "B": "ƁḂḄḆ",
    "b": "ƀɓḃḅḇ",
    "C": "ĆĈĊČ",
    "c": "çćĉċčḉ",
    "D": "ÐĐƊĎḊḌḎḐḒ",
    "d": "ðđɗďḋḍḏḑḓ",
    "E": "ƏÈÊËĒĔĖĘĚȄȆȨḔḖḘḚḜẸẺẼẾỀỂỄỆ",
    "e": "əêëēĕėęěȅȇȩḕḗḙḛḝẹẻẽếềểễệ",
    "F": "ƑḞ",
    "f": "ƒḟ",
    "G": "ǤĜĞĠĢǦǴḠ",
    "g": "ǥĝğġģǧǵḡ",
    "H": "ĦĤȞḢḤḦḨḪ",
    "h": "ħĥȟḣḥḧḩḫẖ",
    "I": "ƗÌÍÎÏĨĪĬĮİǏȈȊḬḮỈỊ",
    "i": "ıíîïĩīĭįǐȉȋḭḯỉị",
    "J": "Ĵ",
    "j": "ĵǰ",
    "K": "ƘĶǨḰḲḴ",
    "k": "ĸƙķǩḱḳḵ",
    "L": "ŁⱢĿĹĻĽḶḸḺḼ",
    "l": "łŀĺļľḷḹḻḽ",
    "M": "ḾṀṂ",
    "m": "ḿṁṃ",
    "N": "ŊŃŅŇǸṄṆṈṊ",
    "n": "ŋńņňǹṅṇṉṋ",
    "O": "ƟÒÓÔÕŌŎŐƠǑǪǬȌȎȬȮȰṌṎṐṒỌỎỐỒỔỖỘỚỜỞỠỢ",
    "o": "óôõōŏőơǒǫǭȍȏȭȯȱṍṏṑṓọỏốồổỗộớờởỡợ",
    "P": "ṔṖ",
    "p": "ṕṗ",
    "R": "ŔŖŘȐȒṘṚṜṞ",
    "r": "ŕŗřȑȓṙṛṝṟ",
    "S": "ŚŜŞŠȘṠṢṤṦṨ",
    "s": "ſśŝşšșṡṣṥṧṩ",
    "T": "ŦŢŤȚṪṬṮṰ",
    "t": "ŧţťțṫṭṯṱẗ",
    "U": "ÙÚÛŨŪŬŮŰŲƯǓȔȖṲṴṶṸṺỤỦỨỪỬỮỰ",
    "u": "úûũūŭůűųưǔȕȗṳṵṷṹṻụủứừửữự",
    "V": "ṼṾ",
    "v": "ṽṿ",
    "W": "ŴẀẂẄẆẈ",
    "w": "ŵẁẃẅẇẉẘ",
    "X": "ẊẌ",
    "x": "ẋẍ",
    "Y": "ÝŶŸȲẎỲỴỶỸ",
    "y": "ýÿŷȳẏẙỳỵỷỹ",
    "Z": "ƵŹŻŽẐẒẔ",
    "z": "ƶźżžẑẓẕ",
    "Ä": "Ǟ",
    "ä": "ǟ",
    "Å": "Ǻ",
    "å": "ǻ",
    "Æ": "ǼǢ",
    "æ": "ǽǣ",
    "Ç": "Ḉ",
    "Ö": "Ȫ",
    "ö": "ȫ",
    "Ø": "Ǿ",
    "ø": "ǿ",
    "Ü": "ǕǗǙǛ",
    "ü": "ǖǘǚǜ",
    "'n": "ŉ",
    "DZ": "ǄǱ",
    "Dz": "ǅǲ",
    "dz": "ǆǳ",
    "ff": "ﬀ",
    "ffi": "ﬃ",
    "ffl": "ﬄ",
    "fi": "ﬁ",
    "fl": "ﬂ",
    "IJ": "Ĳ",
    "ij": "ĳ",
    "LJ": "Ǉ",
    "Lj": "ǈ",
    "lj": "ǉ",
    "NJ": "Ǌ",
    "Nj": "ǋ",
    "nj": "ǌ",
    "OE": "Œ",
    "oe": "œ",
    "SS": "ẞ",
    "st": "ﬅﬆ",
    "Th": "Þ",
    "th": "þ",
}
"""What stands for Latin letters: the letter with fewer marks, or as many letters as a ligature joins."""

_CODE_POINTS: Final[dict[str, tuple[int, ...]]] = {
    # Tabulator; spaces of other widths.
    " ": (0x09, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000),
    # Line and paragraph ends.
    "\n": (0x0B, 0x85, 0x2028, 0x2029),
    # What shows nothing: hyphenation, joiners, directions, variants; marks that no letter has.
    "": (
        *(0xAD, 0x200B, 0x200C, 0x200D, 0x200E, 0x200F, *range(0x202A, 0x202F)),
        *(0x2060, *range(0x2066, 0x206A), 0xFEFF, *range(0xFE00, 0xFE10), *range(0x0300, 0x0370)),
    ),
}
_FULL_WIDTH: Final = range(0xFF01, 0xFF5F)
_FULL_WIDTH_OFFSET: Final = 0xFF01 - 0x21


def _table() -> dict[str, str]:
    # The signs behind it have another for the full-width "`", which GSM 7-bit does not know.
    made = {chr(code): chr(code - _FULL_WIDTH_OFFSET) for code in _FULL_WIDTH}
    made.update({chr(code): text for text, codes in _CODE_POINTS.items() for code in codes})
    made.update({one: text for rows in (_SIGNS, _LETTERS) for text, row in rows.items() for one in row})
    # A character that is only another number for the same one is never looked up.
    return {one: made[one] for one in sorted(made) if unicodedata.is_normalized("NFC", one)}


TABLE: Final[Mapping[str, str]] = _table()
"""Character -> what is sent for it, all of it in GSM 7-bit."""

_clusters = regex.compile(r"\X").findall


def apply(text: str, table: Mapping[str, str] = TABLE, kept: Collection[str] = ()) -> str:
    """The text with every character of the table replaced, except those `kept`.

    A letter and its marks count as the one character they make (Unicode normalization form C), where there is
    one.
    """
    return "".join(
        [one if one in kept else table.get(one, one) for one in unicodedata.normalize("NFC", text)]
    )


def versions(text: str, table: Mapping[str, str], kept: Collection[str]) -> Iterator[str]:
    """Ways to write the text, in order of preference: nothing of `kept` replaced, then everything."""
    gentle = apply(text, table, kept)
    yield gentle
    thorough = apply(text, table)
    if thorough != gentle:
        yield thorough


def replaced(text: str, sent: str, table: Mapping[str, str], kept: Collection[str]) -> list[tuple[str, str]]:
    """What differs in `sent`, one of the `versions` of a text: (as written, as sent), each once, in order.

    What is written is a grapheme cluster: a letter with its marks, most often one character.
    """
    if sent != apply(text, table, kept):
        kept = ()
    pairs = [(cluster, apply(cluster, table, kept)) for cluster in _clusters(text)]
    return list(dict.fromkeys(pair for pair in pairs if pair[0] != pair[1]))
