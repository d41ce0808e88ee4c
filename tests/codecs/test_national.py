"""national: the tables of TS 23.038 annex A, every pair of them both ways, and the search for the best."""

from __future__ import annotations

import hashlib
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.codecs import gsm7, national, national_tables

LOCKING_IDS = [language for language in national.LOCKING if language != 2]
ALL = tuple(national.LANGUAGES)

# Of each table: "code=character" in hexadecimal, in order, without the escape. Independent copies of
# the annex agree on them.
DIGESTS = {
    (1, "locking"): "da47699be9eac057",
    (1, "single"): "1825cac1454d309b",
    (2, "single"): "76853ae32b2e49f6",
    (3, "locking"): "8645277ea2af5263",
    (3, "single"): "0d3c26c7a6d924cb",
    (4, "locking"): "d1029b643ffc2a65",
    (4, "single"): "137742180616ff69",
    (5, "locking"): "109337de3186c11a",
    (5, "single"): "993b5f5cb7fa0981",
    (6, "locking"): "1d898b06c18deb98",
    (6, "single"): "a812d63e464f4cc6",
    (7, "locking"): "41bc4dc1322b2fa7",
    (7, "single"): "92a890acb48622f1",
    (8, "locking"): "cecc9ae4b97bb08d",
    (8, "single"): "312b919c70785327",
    (9, "locking"): "e27ef33f69fcf950",
    (9, "single"): "853118faba342de0",
    (10, "locking"): "7f2202465aa1cd67",
    (10, "single"): "3007245e325f80c9",
    (11, "locking"): "cdd1a470af2ecf17",
    (11, "single"): "c6cdd77fa000c036",
    (12, "locking"): "13b903d23a9d5752",
    (12, "single"): "d3d633560120e419",
    (13, "locking"): "7cbd0ca17cc375bb",
    (13, "single"): "a522d3cb035d7406",
}


@pytest.mark.parametrize(("language", "kind"), DIGESTS)
def test_the_tables_are_those_of_the_annex(language: int, kind: str):
    table = (
        dict(enumerate(national_tables.LOCKING[language]))
        if kind == "locking"
        else national_tables.SINGLE_CHARACTERS[language]
    )
    rows = [
        f"{code:02X}={ord(character):04X}"
        for code, character in sorted(table.items())
        if code != gsm7.ESCAPE and character != national_tables.UNDEFINED
    ]
    digest = hashlib.sha256(" ".join(rows).encode()).hexdigest()
    assert digest[:16] == DIGESTS[language, kind]


@pytest.mark.parametrize(
    ("language", "code", "character"),
    [
        (1, 0x04, "€"), (1, 0x07, "ı"), (1, 0x40, "İ"), (3, 0x18, "€"), (3, 0x0C, "ô"), (4, 0x2C, ","),
        (6, 0x00, "\u0901"), (6, 0x60, "ॐ"), (7, 0x24, "\u0ca1"), (11, 0x0E, "எ"), (13, 0x00, "ا"),
    ],
)  # fmt: skip
def test_anchors_of_the_locking_tables(language: int, code: int, character: str):
    """Those that other copies have wrong among them (0x2C, Kannada 0x24, Hindi 0x00)."""
    assert national.LOCKING[language][code] == character


@pytest.mark.parametrize(
    ("language", "code", "character"),
    [
        (1, 0x47, "Ğ"), (1, 0x73, "ş"), (2, 0x09, "ç"), (2, 0x41, "Á"), (3, 0x7F, "â"), (6, 0x19, "।"),
        (12, 0x65, "€"), (13, 0x3F, "۔"), (6, 0x0B, "*"),
    ],
)  # fmt: skip
def test_anchors_of_the_single_tables(language: int, code: int, character: str):
    assert national.SINGLE[language][character] == code
    assert gsm7.decode(bytes((0x1B, code)), 0, language) == character


def test_every_table_is_whole():
    assert list(national.LOCKING) == list(national.SINGLE) == [0, *ALL]
    assert national.LOCKING[2] == gsm7.BASIC
    for table in national.LOCKING.values():
        assert len(table) == 128
        assert table[gsm7.ESCAPE] == "\x1b"
        defined = [one for one in table if one != national_tables.UNDEFINED]
        assert len(defined) == len(set(defined))
    for codes in national.SINGLE.values():
        assert gsm7.ESCAPE not in codes.values()
        # What the search relies on: no table is without the extension table's characters.
        assert gsm7.EXTENSION.items() <= codes.items()


@pytest.mark.parametrize("locking", national.LOCKING)
@pytest.mark.parametrize("single", national.SINGLE)
def test_every_pair_both_ways(locking: int, single: int):
    table = national.LOCKING[locking]
    characters = [one for one in table if one not in "\x1b\ufffd"]
    characters += [one for one in national.SINGLE[single] if one not in table]
    for character in characters:
        septets = national.encode(character, locking, single)
        assert septets is not None
        assert len(septets) == 2 - (character in table)
        assert gsm7.decode(septets, locking, single) == character
    whole = "".join(characters)
    assert gsm7.decode(national.encode(whole, locking, single) or b"", locking, single) == whole
    for outside in ("\0", "\x1b", "\ufffd", "日", "😀", "\ud800", "a\0"):
        assert national.encode(outside, locking, single) is None
    assert national.encode("", locking, single) == b""


@given(
    st.text(st.sampled_from("aA@£çÇğŞ€[ãक।1\0é"), max_size=12),
    st.sampled_from(LOCKING_IDS),
    st.sampled_from([0, *ALL]),
)
def test_encodes_exactly_what_the_tables_have(text: str, locking: int, single: int):
    known = set(national.LOCKING[locking]) | set(national.SINGLE[single])
    septets = national.encode(text, locking, single)
    assert (septets is not None) == all(one in known for one in text)
    if septets is not None:
        assert septets == b"".join(by_hand(one, locking, single) for one in text)
        assert national.measure(locking)(text) == len(septets)


def by_hand(character: str, locking: int, single: int) -> bytes:
    place = national.LOCKING[locking].find(character)
    return bytes((place,)) if place >= 0 else bytes((0x1B, national.SINGLE[single][character]))


def test_an_unknown_language_is_no_table():
    with pytest.raises(KeyError):
        national.encode("a", 14, 0)


def test_characters_of_languages():
    default = national.characters_of(())
    assert default == {*gsm7.BASIC, *gsm7.EXTENSION} - {"\x1b"}
    assert national.characters_of((1,)) - default == {*"ğĞşŞıİç"}
    assert "\ufffd" not in national.characters_of(ALL)


def test_the_tables_are_in_normal_form_or_written_by_number():
    """An editor that normalizes the file would otherwise break a character in two."""
    with open(national_tables.__file__, encoding="utf-8") as file:
        source = file.read()
    assert unicodedata.normalize("NFC", source) == source


# --- decoding as a handset does ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("octets", "locking", "single", "text"),
    [
        (b"\x1ba", 1, 0, "a"),
        (b"\x1b\x04", 1, 1, "€"),
        (b"\x1b\x07", 1, 0, "ı"),
        (b"\x1b\x07", 0, 1, "ì"),
        (b"\x1b\x1b", 1, 1, " "),
        (b"\x1b\x1b\x73", 0, 1, " s"),
        (b"\x1b\x1b\x1b\x73", 0, 1, " ş"),
        (b"a\x1b", 0, 1, "a"),
        (b"\x1b\x0d", 0, 1, "\r"),
        (b"\x1b\x0a", 6, 6, "\f"),
        (b"\x80\xff", 1, 1, "\ufffd\ufffd"),
        (b"\x1b\x80", 1, 1, "\ufffd"),
        (b"\x0c", 4, 0, "\ufffd"),
        (b"\x1b\x0c", 4, 4, "+"),
        (b"\x1b\x5b", 4, 4, "\ufffd"),
        (b"\x1b\x65\x65", 14, 200, "€e"),
        (b"\x1b\x65\x04", 1, 200, "€€"),
        (b"\x1bs\x07", 77, 1, "şì"),
        (b"\x60\x1b\x14", 2, 2, "¿^"),
    ],
)
def test_odd_octets_show_what_a_handset_shows(octets: bytes, locking: int, single: int, text: str):
    assert gsm7.decode(octets, locking, single) == text


@given(st.binary(max_size=60), st.integers(0, 20), st.integers(0, 20))
def test_any_octets_decode(data: bytes, locking: int, single: int):
    assert len(gsm7.decode(data, locking, single)) <= len(data)


@given(st.binary(max_size=60))
def test_without_tables_decoding_is_the_same_by_the_other_road(data: bytes):
    assert gsm7.decode(data, 99, 99) == gsm7.decode(data)


# --- the search -------------------------------------------------------------------------------------------

SAMPLES = [
    "ş", "Ş", "ğ", "ç", "Ç", "ã", "á", "Á", "ú", "€", "[", "^", "@", "a", "A", " ", "1", "`", "∞",
    "क", "ि", "।", "॰", "ক", "০", "ا", "۔", "ே", "\0", "é", "日",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(SAMPLES), min_size=1, max_size=8).map("".join)
LANGUAGES = st.one_of(st.just(ALL), st.lists(st.sampled_from(ALL), max_size=4, unique=True).map(tuple))


def all_pairs(text: str, languages: tuple[int, ...]) -> dict[tuple[int, int], int]:
    """Every allowed pair that has the text -> the septets it takes, one by one."""
    return {
        (locking, single): len(septets)
        for locking in (0, *languages)
        if locking != 2
        for single in (0, *languages)
        if (septets := national.encode(text, locking, single)) is not None
    }


@given(TEXTS, LANGUAGES)
def test_no_pair_takes_fewer_septets_or_as_many_with_a_shorter_header(text: str, languages: tuple[int, ...]):
    found = national.candidates(text, national.pairs_of(languages))
    possible = all_pairs(text, languages)
    # Whether a text needs no table at all is not asked of the search.
    possible.pop((0, 0), None)
    assert bool(found) == (bool(possible) and bool(languages))
    assert len({locking for locking, _, _ in found}) == len(found)
    for locking, single, septets in found:
        assert national.encode(text, locking, single) == septets
        assert not (locking and single) or (locking, 0) not in possible, "a single shift table for nothing"
        assert single in (0, locking) or (locking, locking) not in possible or not locking
    for (locking, single), units in possible.items() if found else ():
        header = bool(locking) + bool(single)
        assert any(
            len(septets) <= units and bool(one) + bool(other) <= header for one, other, septets in found
        ), (locking, single)


@pytest.mark.parametrize(
    ("text", "languages", "best"),
    [
        ("şaş", ALL, (1, 0, 3)),
        ("Ação", ALL, (3, 0, 4)),
        ("Atenção [1]", (1, 3), (3, 0, 13)),
        ("aşk ã", (1, 3), (1, 3, 6)),
        ("Áa", (2,), (0, 2, 3)),
        ("क A", (6,), (6, 6, 4)),
        ("क ০", (6, 4), (6, 4, 4)),
        ("क€", (6,), (6, 0, 3)),
    ],
)
def test_the_pairs_a_person_would_choose(text: str, languages: tuple[int, ...], best: tuple[int, int, int]):
    found = national.candidates(text, national.pairs_of(languages))
    assert min((len(septets), bool(one) + bool(other), one, other) for one, other, septets in found) == (
        best[2], bool(best[0]) + bool(best[1]), best[0], best[1],
    )  # fmt: skip


def test_only_locking_tables_with_a_character_that_is_asked_for():
    pairs = national.pairs_of(ALL) & national.pairs_locking("€")
    assert {one for one, _, _ in national.candidates("a€", pairs)} <= {1, 3}
    assert national.pairs_locking("日") == 0


def test_a_locking_table_with_nothing_of_what_gsm7_escapes_is_left_out():
    """The Turkish one has neither of the two, and so takes as many septets as the default alphabet."""
    found = national.candidates("Á[", national.pairs_of((1, 3)))
    assert [(locking, single) for locking, single, _ in found] == [(3, 0), (0, 3)]


def test_nothing_is_tried_behind_a_locking_table_that_has_all():
    assert national.candidates("ááá", national.pairs_of((1, 2, 3))) == [(3, 0, national.encode("ááá", 3, 0))]


def test_the_whole_extension_table_goes_without_a_single_shift_table():
    text = "".join(gsm7.EXTENSION)
    found = national.candidates(text, national.pairs_of((6,)))
    assert [(locking, single) for locking, single, _ in found] == [(6, 0), (0, 0)]


def test_a_character_that_no_table_has_ends_the_search():
    assert national.candidates("a日aa", national.pairs_of(ALL)) == []


def test_pairs_by_any_of_several_characters():
    assert national.pairs_locking("€|") == national.pairs_locking("€") | national.pairs_locking("|")
    assert national.pairs_locking("|") != 0
