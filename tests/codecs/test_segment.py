"""segment: sizes of the standard, nothing torn, nothing lost, refused rather than cut."""

from __future__ import annotations

from typing import Any

import pytest
import regex
from hypothesis import example, given
from hypothesis import strategies as st
from todoke.codecs import constants as c
from todoke.codecs import gsm7, pdu, udh
from todoke.codecs.errors import TextError
from todoke.codecs.segment import Rules, fields, segment, segment_data, single

MANY = Rules(parts_max=255)
UCS2 = Rules(alphabets=("ucs2",), parts_max=255)
FAMILY = "👨\u200d👩\u200d👧"


@pytest.mark.parametrize(
    ("concat", "gsm7_units", "ucs2_units", "octets"),
    [("udh8", 153, 67, 134), ("udh16", 152, 66, 133), ("sar", 153, 67, 134)],
)
def test_the_sizes_of_the_standard(concat: Any, gsm7_units: int, ucs2_units: int, octets: int):
    rules = Rules(concat=concat, alphabets=("gsm7", "latin1", "ucs2"))
    assert segment("a" * 160, rules).units == [160]
    assert segment("a" * 161, rules).units == [gsm7_units, 161 - gsm7_units]
    assert segment("ç" * 140, rules).units == [140]
    assert segment("ç" * 141, rules).units == [octets, 141 - octets]
    assert segment("日" * 70, rules).units == [70]
    assert segment("日" * 71, rules).units == [ucs2_units, 71 - ucs2_units]
    assert segment_data(b"x" * 140, rules).units == [140]
    assert segment_data(b"x" * 141, rules).units == [octets, 141 - octets]


@pytest.mark.parametrize(
    ("text", "alphabet", "data_coding", "units", "left"),
    [
        ("", "gsm7", 0, [0], 160),
        ("hello", "gsm7", 0, [5], 155),
        ("€", "gsm7", 0, [2], 158),
        ("日本", "ucs2", 8, [2], 68),
        ("😀", "ucs2", 8, [2], 68),
        ("a" * 306, "gsm7", 0, [153, 153], 0),
        ("日" * 100, "ucs2", 8, [67, 33], 34),
    ],
)
def test_what_a_preview_shows(text: str, alphabet: str, data_coding: int, units: list[int], left: int):
    cut = segment(text)
    assert (cut.alphabet, cut.data_coding, cut.units, cut.units_left) == (alphabet, data_coding, units, left)
    assert "".join(cut.texts) == text
    assert cut.segments == len(cut.parts)


def test_alphabets_are_tried_in_the_carriers_order():
    assert segment("é").alphabet == "gsm7"
    assert segment("é", Rules(alphabets=("latin1", "ucs2"))).alphabet == "latin1"
    assert segment("é", Rules(alphabets=("ucs2",))).parts == [b"\0\xe9"]
    assert segment("ç日", Rules(alphabets=("gsm7", "latin1", "ucs2"))).alphabet == "ucs2"


def test_data_codings_are_the_carriers():
    rules = Rules(gsm7_data_coding=1, ucs2_data_coding=0x18, binary_data_coding=2)
    assert segment("a", rules).data_coding == 1
    assert segment("日", rules).data_coding == 0x18
    assert segment_data(b"a", rules).data_coding == 2


@pytest.mark.parametrize(
    ("text", "rules"),
    [("日", Rules(alphabets=("gsm7",))), ("a\ud800", Rules()), ("日", Rules(alphabets=("gsm7", "latin1")))],
)
def test_what_no_alphabet_has_is_refused(text: str, rules: Rules):
    with pytest.raises(TextError) as caught:
        segment(text, rules)
    assert (caught.value.field, caught.value.code) == ("text", "unencodable")
    assert text not in str(caught.value)


@pytest.mark.parametrize(
    ("character", "per_part", "parts_max"),
    [("a", 153, 10), ("a", 153, 1), ("日", 67, 10), ("日", 67, 2), ("a", 153, 255), ("日", 67, 255)],
)
def test_over_parts_max_is_refused_never_cut(character: str, per_part: int, parts_max: int):
    rules = Rules(parts_max=parts_max)
    single_units = 160 if character == "a" else 70
    most = max(single_units, per_part * parts_max) if parts_max > 1 else single_units
    assert "".join(segment(character * most, rules).texts) == character * most
    with pytest.raises(TextError) as caught:
        segment(character * (most + 1), rules)
    assert caught.value.code == "too_long"


def test_an_escape_that_moves_can_cost_the_last_part():
    text = "a" * 152 + "€" + "a" * 151
    assert segment(text).units == [152, 153]
    assert segment(text + "a").units == [152, 153, 1]
    with pytest.raises(TextError):
        segment(text + "a", Rules(parts_max=2))


@pytest.mark.parametrize("before", range(150, 156))
@pytest.mark.parametrize("character", list(gsm7.EXTENSION))
def test_no_escape_pair_is_torn_at_any_offset(before: int, character: str):
    text = "a" * before + character * 80
    cut = segment(text)
    assert "".join(cut.texts) == text
    assert not any(part.endswith(b"\x1b") and not part.endswith(b"\x1b\x1b") for part in cut.parts)
    assert all(units >= 152 for units in cut.units[:-1])


# A cluster of most of a part, and a leading consonant before a whole syllable.
LONG = ["e" + "\u0301" * 50, "\u1100\uac01", "\u1100\u1161\u11a8"]


@pytest.mark.parametrize("before", range(60, 70))
@pytest.mark.parametrize(
    "cluster", ["😀", "が", FAMILY, "🇯🇵", "👍🏽", "각", "\r\n", "葛\U000e0100", "क्ष", *LONG]
)
def test_no_cluster_is_torn_at_any_offset(before: int, cluster: str):
    text = "日" * before + cluster * 3 + "日" * 40
    cut = segment(text)
    assert "".join(cut.texts) == text
    for part in cut.texts:
        assert part.count(cluster) * len(cluster) == len(part.replace("日", ""))


def test_cr_lf_is_one_cluster_in_gsm7_too():
    cut = segment("a" * 152 + "\r\n" + "b" * 50)
    assert cut.units == [152, 52]
    assert cut.texts[1].startswith("\r\n")


def test_binary_is_cut_anywhere():
    data = b"a" * 133 + b"\r\n\x1b" * 20
    cut = segment_data(data)
    assert cut.units == [134, len(data) - 134]
    assert b"".join(cut.parts) == data


def test_a_cluster_longer_than_a_part_is_torn_between_code_points():
    text = "日" * 10 + "e" + "\u0301" * 200
    cut = segment(text)
    assert "".join(cut.texts) == text
    assert cut.units[:3] == [67, 67, 67]
    zalgo = "😀" + "\U000e0100" * 100
    assert "".join(segment(zalgo).texts) == zalgo
    assert all(units <= 67 for units in segment(zalgo).units)


def test_sizes_of_a_carrier_of_its_own():
    rules = Rules(
        concat="sar",
        units_single={"ucs2": 125, "gsm7": 250},
        units_part={"ucs2": 125, "gsm7": 250},
        parts_max=8,
    )
    assert segment("日" * 125, rules).units == [125]
    assert segment("日" * 126, rules).units == [125, 1]
    assert segment("a" * 251, rules).units == [250, 1]
    assert [len(short) for _, short, _ in fields(segment("日" * 126, rules), rules, 1)] == [250, 2]


def test_a_part_that_does_not_fit_short_message_goes_into_message_payload():
    rules = Rules(units_part={"ucs2": 125}, units_single={"ucs2": 125})
    cut = segment("日" * 126, rules)
    (esm_class, short_message, tlvs), last = fields(cut, rules, 5)
    assert (esm_class, short_message) == (c.ESM_CLASS_UDHI, b"")
    assert pdu.decode_tlvs(tlvs) == [(c.TAG_MESSAGE_PAYLOAD, udh.concat8(5, 2, 1) + cut.parts[0])]
    assert last == (c.ESM_CLASS_UDHI, udh.concat8(5, 2, 2) + cut.parts[1], b"")


@pytest.mark.parametrize(
    "wrong",
    [
        {"parts_max": 0},
        {"parts_max": 256},
        {"alphabets": ("klingon",)},
        {"concat": "none"},
        {"units_part": {"ucs2": 1}},
        {"units_part": {"ucs3": 10}},
        {"units_single": {"gsm7": 0}},
        {"units_single": {"gsm7": 100_000}},
        {"units_single": {"gsm7": 152}},
        {"units_single": {"ucs2": 66}, "units_part": {"gsm7": 9}},
        {"units_part": {"gsm7": 161}},
        {"units_single": {"latin1": 99}, "units_part": {"latin1": 100}},
    ],
)
def test_wrong_rules_are_refused(wrong: dict[str, Any]):
    with pytest.raises(ValueError, match=next(iter(wrong)).removesuffix("s") + "|unknown"):
        Rules(**wrong)


def test_a_part_holds_no_more_than_a_message_of_one():
    for rules in (Rules(units_single={"gsm7": 153}), Rules(units_single={"gsm7": 152}, concat="udh16")):
        assert segment("x" * (rules.single("gsm7") + 1), rules).units == [rules.part("gsm7"), 1]
    with pytest.raises(
        ValueError, match=r"units_single: gsm7 100 .* one part would hold 100, .* several 153"
    ):
        Rules(units_single={"gsm7": 100})
    with pytest.raises(ValueError, match=r"units_part: ucs2 90 .* one part would hold 70, .* several 90"):
        Rules(units_part={"ucs2": 90})
    rules = Rules(units_single={"gsm7": 90}, units_part={"gsm7": 90})
    for length in range(80, 100):
        for ports in (None, udh.Ports(1, 2, 16)):
            cut = segment("x" * length, rules, ports)
            assert sum(cut.units) == length
            single = segment("x" * 80, rules, ports)
            if cut.segments == 1:
                assert cut.units[0] <= single.units[0] + single.units_left


# --- fields ---------------------------------------------------------------------------------------


def test_one_part_has_no_header():
    assert fields(segment("hi"), Rules(), 77) == [(0, b"hi", b"")]


def test_udh8_and_udh16():
    for rules, header in ((Rules(), udh.concat8), (Rules(concat="udh16"), udh.concat16)):
        cut = segment("a" * 400, rules)
        out = fields(cut, rules, 0x1234)
        assert [short for _, short, _ in out] == [
            header(0x1234, 3, number) + part for number, part in enumerate(cut.parts, 1)
        ]
        assert {(esm_class, tlvs) for esm_class, _, tlvs in out} == {(c.ESM_CLASS_UDHI, b"")}
        assert all(len(short) <= 160 for _, short, _ in out)


def test_sar():
    rules = Rules(concat="sar")
    cut = segment("a" * 400, rules)
    for number, (esm_class, short, tlvs) in enumerate(fields(cut, rules, 0x12345), 1):
        assert (esm_class, short) == (0, cut.parts[number - 1])
        assert pdu.decode_tlvs(tlvs) == [
            (c.TAG_SAR_MSG_REF_NUM, b"\x23\x45"),
            (c.TAG_SAR_TOTAL_SEGMENTS, b"\3"),
            (c.TAG_SAR_SEGMENT_SEQNUM, bytes((number,))),
        ]


def test_payload():
    rules = Rules(concat="payload")
    cut = segment("a" * 400, rules)
    assert (len(cut.parts), cut.units, cut.segments, cut.units_left) == (1, [400], 3, 59)
    ((esm_class, short, tlvs),) = fields(cut, rules, 1)
    assert (esm_class, short) == (0, b"")
    assert pdu.decode_tlvs(tlvs) == [(c.TAG_MESSAGE_PAYLOAD, b"a" * 400)]
    assert fields(segment("hi", rules), rules, 1) == [(0, b"hi", b"")]
    with pytest.raises(TextError):
        segment("a" * 1531, rules)


def test_the_same_reference_gives_the_same_octets():
    cut = segment("日" * 300)
    assert fields(cut, Rules(), 9) == fields(segment("日" * 300), Rules(), 9)


def test_255_parts_and_not_256():
    cut = segment("a" * (255 * 153), MANY)
    assert fields(cut, MANY, 1)[254][1][:6] == udh.concat8(1, 255, 255)
    with pytest.raises(TextError):
        segment("a" * (255 * 153 + 1), MANY)


def test_no_text_in_a_repr():
    assert "hello" not in repr(segment("hello"))


# --- single ---------------------------------------------------------------------------------------


@given(st.text(st.sampled_from("aé€[Δ日\0" + "b" * 10), max_size=170))
@example("a" * 160)
@example("a" * 161)
@example("€" * 80)
@example("€" * 80 + "a")
def test_single_is_the_one_part_of_gsm7(text: str):
    octets = gsm7.encode(text)
    expected = octets if octets is not None and len(octets) <= 160 else None
    assert single(text) == expected


# --- properties -----------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        *("日", "a", "€", "😀", FAMILY, "🇯🇵", "🇯", "\r\n", "\r", "\n", "が", "\u0301", "각", "ᄀ"),
        *("\u1100\uac01", "e" + "\u0301" * 40, "क्ष", "\u200d", "\u0600", "日" * 30, "a" * 70),
    ]
)
TEXTS = st.lists(PIECES, max_size=60).map("".join)


def boundaries(text: str) -> list[tuple[int, int]]:
    """(start, end) of every grapheme cluster, in code points."""
    return [match.span() for match in regex.finditer(r"\X", text)]


def size(text: str, alphabet: str) -> int:
    if alphabet == "gsm7":
        return len(gsm7.encode(text) or b"")
    return len(text) if alphabet == "latin1" else len(text.encode("utf-16-be")) // 2


@given(TEXTS, st.sampled_from([MANY, UCS2, Rules(concat="udh16", parts_max=255)]))
def test_nothing_is_torn_nothing_is_lost_and_parts_are_full(text: str, rules: Rules):
    cut = segment(text, rules)
    assert "".join(cut.texts) == text
    assert cut.units == [size(part, cut.alphabet) for part in cut.texts]
    limit = rules.part(cut.alphabet)
    if len(cut.parts) == 1:
        assert cut.units[0] <= rules.single(cut.alphabet)
        return
    assert all(0 < units <= limit for units in cut.units)
    clusters = boundaries(text)
    at = 0
    for part, following in zip(cut.texts[:-1], cut.texts[1:], strict=True):
        at += len(part)
        start, end = next((start, end) for start, end in clusters if start <= at < end)
        whole_cluster = text[start:end]
        oversized = size(whole_cluster, cut.alphabet) > limit
        assert start == at or oversized, "a cluster that fits one part is torn"
        # Full: what was moved to the next part would not have fitted.
        moved = following[0] if oversized else whole_cluster
        assert size(part + moved, cut.alphabet) > limit or oversized


@given(st.text(max_size=300), st.sampled_from(["udh8", "udh16", "sar", "payload"]))
def test_any_text_is_segmented_or_refused(text: str, concat: Any):
    rules = Rules(concat=concat)
    try:
        cut = segment(text, rules)
    except TextError:
        return
    assert "".join(cut.texts) == text
    assert len(fields(cut, rules, 3)) == len(cut.parts) <= 10


@given(st.binary(max_size=2000))
def test_any_data_is_segmented_or_refused(data: bytes):
    try:
        cut = segment_data(data)
    except TextError:
        assert len(data) > 1340
        return
    assert b"".join(cut.parts) == data


def test_sizes_at_their_limits_are_taken():
    for units in (2, 32_767):
        assert Rules(units_single={"gsm7": units}, units_part={"gsm7": units}).single("gsm7") == units
    for units in (1, 32_768):
        with pytest.raises(ValueError, match="must be 2 to 32767"):
            Rules(units_single={"gsm7": units}, units_part={"gsm7": units})


def test_latin_1_and_octets_have_their_own_data_coding():
    assert segment("ÿ", Rules(alphabets=("latin1",))).data_coding == 3
    assert segment_data(b"\xff").data_coding == 4


def test_what_is_too_long_is_the_text():
    with pytest.raises(TextError) as caught:
        segment("日" * 671)
    assert (caught.value.field, caught.value.code) == ("text", "too_long")
