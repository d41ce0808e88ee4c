"""segment with national tables, packed septets, ports and transliteration, against counting by hand."""

from __future__ import annotations

from typing import Any

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from todoke.codecs import constants as c
from todoke.codecs import gsm7, national, pdu, septets, udh
from todoke.codecs.errors import TextError
from todoke.codecs.segment import Rules, Segmented, fields, segment, segment_data
from todoke.codecs.transliterate import TABLE

ALL = tuple(national.LANGUAGES)
PORTS = udh.Ports(9200, 2948, 16)
TURKISH = Rules(languages=(1,), parts_max=255)


def texts_of(out: list[tuple[int, bytes, bytes]], packed: bool = False) -> list[str]:
    """What a handset shows of each part, from its octets alone."""
    shown: list[str] = []
    for esm_class, user_data, tlvs in out:
        assert tlvs == b""
        header, data = udh.strip(user_data) if esm_class & c.ESM_CLASS_UDHI else (b"", user_data)
        if packed:
            data = septets.unpack(data, None, septets.fill_bits(len(header)))
        shown.append(gsm7.decode(data, *udh.shifts_of(header)))
    return shown


# --- room: every row of the table of 3GPP TS 23.040 section 9.2.3.24 --------------------------------------

A_1, A_2 = "ş", "şã"
"""Texts that need one table, and two: characters of Turkish and Portuguese."""
ROOM: list[tuple[str, Any, tuple[int, ...], bool, int, int]] = [
    # text to fill with, concat, languages, ports, units of a single part, units of one of several
    ("a", "udh8", (), False, 160, 153),
    ("a", "udh16", (), False, 160, 152),
    (A_1, "udh8", (1,), False, 155, 149),
    (A_1, "udh16", (1,), False, 155, 148),
    (A_2, "udh8", (1, 3), False, 152, 146),
    (A_2, "udh16", (1, 3), False, 152, 145),
    ("a", "udh8", (), True, 152, 146),
    ("a", "udh16", (), True, 152, 145),
    ("日", "udh8", (), False, 70, 67),
    ("日", "udh16", (), False, 70, 66),
    ("日", "udh8", (), True, 66, 64),
    ("日", "udh16", (), True, 66, 63),
    ("a", "sar", (), False, 160, 153),
    ("a", "sar", (), True, 152, 146),
    ("日", "sar", (), True, 66, 64),
]


@pytest.mark.parametrize(("text", "concat", "languages", "ports", "alone", "each"), ROOM)
@pytest.mark.parametrize("packed", [False, True])
def test_room_of_a_part(
    text: str, concat: Any, languages: tuple[int, ...], ports: bool, alone: int, each: int, packed: bool
):
    rules = Rules(concat=concat, languages=languages, packed=packed, parts_max=255)
    filler = "日" if text == "日" else "a"
    begun = len(text) + (text == A_2)  # A_2 has one character that takes an escape
    one, two = text + filler * (alone - begun), text + filler * (alone - begun + 1)
    cut = segment(one, rules, PORTS if ports else None)
    assert (cut.units, cut.units_left) == ([alone], 0)
    cut = segment(two, rules, PORTS if ports else None)
    assert cut.units == [each, alone + 1 - each]
    for whole in (segment(one, rules, PORTS if ports else None), cut):
        assert len(whole.header) == 6 * ports + 3 * (bool(whole.locking) + bool(whole.single))
        for _, short_message, _ in fields(whole, rules, 7):
            octets = len(short_message)
            assert octets <= (140 if packed or whole.alphabet == "ucs2" else 173)
    if packed and concat != "sar":
        full = fields(segment(two, rules, PORTS if ports else None), rules, 7)[0][1]
        limit = 139 if concat == "udh16" and filler == "日" else 140
        assert len(full) in (limit, limit - 1), "a full part fills the user data"


@pytest.mark.parametrize(
    ("text", "bits", "rows"),
    [(b"x" * 133, 16, [133]), (b"x" * 134, 16, [128, 6]), (b"x" * 135, 8, [135]), (b"x" * 136, 8, [130, 6])],
)
def test_room_of_binary_with_ports(text: bytes, bits: int, rows: list[int]):
    cut = segment_data(text, Rules(), udh.Ports(1, 2, bits))
    assert cut.units == rows
    assert b"".join(cut.parts) == text


def test_sizes_of_a_carriers_own_leave_room_for_a_header():
    rules = Rules(languages=(1,), units_single={"gsm7": 80}, units_part={"gsm7": 70}, parts_max=255)
    # 80 septets are 70 octets, of which 4 go; 70 are 62, of which 3 go.
    assert segment("ş" * 75, rules).units == [75]
    assert segment("ş" * 76, rules).units == [67, 9]


def test_a_payload_has_an_end():
    rules = Rules(concat="payload", units_single={"gsm7": 300}, units_part={"gsm7": 300}, parts_max=255)
    assert len(segment("a" * 65_535, rules).parts[0]) == 65_535
    with pytest.raises(TextError) as caught:
        segment("a" * 65_536, rules)
    assert caught.value.code == "too_long"


def test_no_room_beside_a_header():
    rules = Rules(units_single={"gsm7": 3, "ucs2": 3}, units_part={"gsm7": 3, "ucs2": 3})
    with pytest.raises(TextError) as caught:
        segment("a", rules, PORTS)
    assert caught.value.code == "too_long"
    assert segment("", rules, PORTS).units == [0]


# --- which tables -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rules", "chosen"),
    [
        # One part of UCS-2 is as good, and every handset has it.
        ("ş" * 70, TURKISH, ("ucs2", 0, 0, 1)),
        ("ş" * 71, TURKISH, ("gsm7", 1, 0, 1)),
        ("ş" * 71, Rules(), ("ucs2", 0, 0, 2)),
        ("ş" * 71, Rules(languages=(3, 4)), ("ucs2", 0, 0, 2)),
        # Fewer units before the simpler header, and that before the other.
        ("aş" * 40, Rules(languages=(1,)), ("gsm7", 1, 0, 1)),
        ("á" * 75, Rules(languages=(2, 3)), ("gsm7", 3, 0, 1)),
        ("á" * 75, Rules(languages=(2,)), ("gsm7", 0, 2, 1)),
        ("€" * 20 + "૦" * 20 + "a" * 40, Rules(languages=(1, 5)), ("gsm7", 1, 5, 1)),
        # Only as good as GSM 7-bit is not good enough; sparing escapes may be.
        ("a" * 161, TURKISH, ("gsm7", 0, 0, 2)),
        ("€" * 80, TURKISH, ("gsm7", 0, 0, 1)),
        ("€" * 81, TURKISH, ("gsm7", 1, 0, 1)),
        ("[" * 81, TURKISH, ("gsm7", 0, 0, 2)),
        # The carrier's order of alphabets holds.
        ("ş" * 71, Rules(languages=(1,), alphabets=("ucs2", "gsm7")), ("ucs2", 0, 0, 2)),
        ("ç" * 141, Rules(languages=(1,), alphabets=("latin1", "gsm7", "ucs2")), ("latin1", 0, 0, 2)),
        ("ş" * 71, Rules(languages=(1,), alphabets=("latin1", "gsm7", "ucs2")), ("gsm7", 1, 0, 1)),
        ("ş", Rules(languages=(1,), alphabets=("latin1", "gsm7")), ("gsm7", 1, 0, 1)),
        ("ş", Rules(languages=(1,), alphabets=("gsm7",)), ("gsm7", 1, 0, 1)),
        # As few parts as UCS-2 could need at the least, but not as it does: clusters move there.
        ("ş" * 671, Rules(languages=(1,)), ("gsm7", 1, 0, 5)),
        ("ş" * 1490, Rules(languages=(1,)), ("gsm7", 1, 0, 10)),
        # Where the SMSC builds the headers, only for what needs no other.
        ("ş" * 155, Rules(languages=(1,), concat="sar"), ("gsm7", 1, 0, 1)),
        ("ş" * 156, Rules(languages=(1,), concat="sar"), ("ucs2", 0, 0, 3)),
        ("ş" * 156, Rules(languages=(1,), concat="payload"), ("ucs2", 0, 0, 3)),
    ],
)
def test_tables_are_used_where_they_save_a_part(text: str, rules: Rules, chosen: tuple[str, int, int, int]):
    cut = segment(text, rules)
    assert (cut.alphabet, cut.locking, cut.single, cut.segments) == chosen
    assert "".join(cut.texts) == text


def test_tables_where_ucs2_has_to_move_clusters():
    """134 units of UCS-2 in three parts, since no cut falls between clusters; two of GSM 7-bit are fewer."""
    text = "क" * 66 + "का" + "क" * 36 + "।" * 30
    assert len(segment(text, Rules()).parts) == 3
    cut = segment(text, Rules(languages=(6,)))
    assert (cut.locking, cut.single, cut.segments) == (6, 6, 2)
    assert segment(text, Rules(languages=(6,), parts_max=2)) == cut
    with pytest.raises(TextError):
        segment(text, Rules(parts_max=2))


def test_as_many_parts_as_ucs2_are_sent_in_ucs2():
    cut = segment("क" * 104 + "।" * 30, Rules(languages=(6,)))
    assert (cut.alphabet, cut.segments) == ("ucs2", 2)


@pytest.mark.parametrize(
    ("text", "rules", "code"),
    [
        ("日", Rules(languages=ALL, alphabets=("gsm7",)), "unencodable"),
        ("ş", Rules(languages=ALL, alphabets=()), "unencodable"),
        ("ş\ud800", Rules(languages=ALL), "unencodable"),
        ("ş" * 1491, Rules(languages=ALL), "too_long"),
        ("ş\0" * 700, Rules(languages=ALL), "too_long"),
        ("ş" * 156, Rules(languages=ALL, alphabets=("gsm7",), concat="sar"), "unencodable"),
    ],
)
def test_what_tables_cannot_help_is_refused(text: str, rules: Rules, code: str):
    with pytest.raises(TextError) as caught:
        segment(text, rules)
    assert caught.value.code == code


def test_ports_and_tables_do_not_meet_where_both_cannot_be():
    rules = Rules(languages=(1,), concat="sar")
    assert segment("ş" * 100, rules).locking == 1
    assert segment("ş" * 100, rules, PORTS).alphabet == "ucs2"
    assert segment("ş" * 100, TURKISH, PORTS).locking == 1


@pytest.mark.parametrize("wrong", [(0,), (1, 14)])
def test_unknown_languages_are_refused(wrong: tuple[int, ...]):
    with pytest.raises(ValueError, match="unknown language"):
        Rules(languages=wrong)


# --- the oracle -------------------------------------------------------------------------------------------

WORDS = st.sampled_from(
    [
        "ş",
        "ğİ",
        "ç",
        "ã",
        "á",
        "Á",
        "€",
        "[",
        "a",
        "A1 ",
        "नमस्ते",
        "क्षि",
        "॥",
        "०",
        "কা",
        "e",
        "\r\n",
        "🙂",
        "Σ",
        "é",
    ]
)
TEXTS = st.lists(WORDS, min_size=1, max_size=6).flatmap(
    lambda words: st.integers(1, 400 // len("".join(words))).map(lambda times: "".join(words) * times)
)


def count(clusters: list[int], alone: int, each: int) -> int:
    """Parts of clusters of so many units, filled one after the other."""
    if sum(clusters) <= alone:
        return 1
    parts, room = 1, each
    for units in clusters:
        if units > room:
            parts, room = parts + 1, each
        room -= units
    return parts


@given(TEXTS, st.lists(st.sampled_from(ALL), max_size=4, unique=True).map(tuple), st.booleans())
@settings(max_examples=200)
def test_no_allowed_pair_gives_fewer_parts(text: str, languages: tuple[int, ...], wide: bool):
    rules = Rules(languages=languages, concat="udh16" if wide else "udh8", parts_max=255)
    clusters: list[str] = regex.findall(r"\X", text)
    place = 7 if wide else 6
    tried: dict[tuple[int, int], tuple[int, int, int]] = {}
    for locking in (0, *languages):
        for single in (0, *languages):
            sizes = [national.encode(cluster, locking, single) for cluster in clusters]
            if locking != 2 and None not in sizes:
                units = [len(size or b"") for size in sizes]
                header = 3 * bool(locking) + 3 * bool(single)
                alone = (140 - header - bool(header)) * 8 // 7
                parts = count(units, alone, (140 - place - header) * 8 // 7)
                tried[locking, single] = (parts, sum(units), header)
    plain = tried.pop((0, 0), None)
    if plain is None:
        utf16 = [len(cluster.encode("utf-16-be")) // 2 for cluster in clusters]
        plain = (count(utf16, 70, (140 - place) // 2), 0, 0)
    cut = segment(text, rules)
    assert "".join(cut.texts) == text
    best = min(tried.values(), default=plain)
    if best[0] < plain[0]:
        assert (cut.segments, sum(cut.units), len(cut.header)) == best
        assert tried[cut.locking, cut.single] == best
    else:
        assert (cut.segments, cut.header) == (plain[0], b"")


@given(TEXTS, st.sampled_from([ALL, (1,), (6,), (1, 3)]), st.sampled_from(["udh8", "udh16"]), st.booleans())
@settings(max_examples=200)
def test_what_handsets_show_is_the_text_and_no_cluster_is_torn(
    text: str, languages: tuple[int, ...], concat: Any, packed: bool
):
    rules = Rules(languages=languages, concat=concat, packed=packed, parts_max=255)
    cut = segment(text, rules)
    out = fields(cut, rules, 77)
    if cut.alphabet == "gsm7":
        shown = texts_of(out, packed)
        assert shown == cut.texts
        assert "".join(shown) == text
    assert out == fields(segment(text, rules), rules, 77), "octet by octet the same again"
    edges = {0}
    for cluster in regex.findall(r"\X", text):
        edges.add(max(edges) + len(cluster))
    at = 0
    for part in cut.texts:
        assert at in edges
        at += len(part)
    for number, (esm_class, user_data, _) in enumerate(out, 1):
        header = udh.strip(user_data)[0] if esm_class else b""
        assert bool(esm_class & c.ESM_CLASS_UDHI) == bool(header)
        assert udh.concat_of(header) == ((77, len(out), number) if len(out) > 1 else None)
        assert udh.shifts_of(header) == (cut.locking, cut.single)
        if packed and cut.alphabet == "gsm7":
            assert len(user_data) <= 140


LONG_CLUSTER = "क" + "\u093f" * 170


def test_a_cluster_longer_than_a_part_is_torn_and_nothing_else():
    rules = Rules(languages=(6,), parts_max=255)
    text = "क" * 20 + LONG_CLUSTER + "का" * 80
    cut = segment(text, rules)
    assert "".join(cut.texts) == text
    assert cut.units[0] == 149
    assert all(not one.startswith("\u093e") for one in cut.texts[2:])


def test_a_cluster_is_too_long_by_its_units_not_by_its_characters():
    text = "क" * 100 + "ॠ" + "\u0951" * 80 + "क" * 50
    cut = segment(text, Rules(languages=(6,)))
    assert "".join(cut.texts) == text
    assert cut.units[0] in (145, 146), "torn, since it fits no part"


@pytest.mark.parametrize("before", range(140, 150))
@pytest.mark.parametrize("cluster", ["कि", "क्षि", "ॠि", "\r\n", "ॠ", "ॠ\u0951\u0962", "क" + "\u0951" * 60])
def test_no_cluster_is_torn_at_any_offset(before: int, cluster: str):
    """Those of characters behind an escape among them."""
    text = "क" * before + cluster * 2 + "क" * 150
    cut = segment(text, Rules(languages=(6,), parts_max=255))
    assert cut.locking == 6
    assert "".join(cut.texts) == text
    assert sum(part.count(cluster) for part in cut.texts) == 2
    assert all(units <= 149 for units in cut.units)


# --- fields -----------------------------------------------------------------------------------------------


def test_octets_of_a_part_with_tables():
    cut = segment("ş" * 71, TURKISH)
    assert fields(cut, TURKISH, 9) == [(0x40, b"\x03\x25\x01\x01" + b"\x1d" * 71, b"")]
    cut = segment("ş" * 80 + "ã" * 50, Rules(languages=(1, 3)))
    head = b"\x06\x24\x01\x03\x25\x01\x01"
    assert fields(cut, Rules(), 9)[0][1][:7] != head
    ((_, whole, _),) = fields(segment("ş" * 80 + "ã" * 20, Rules(languages=(1, 3))), Rules(), 9)
    assert whole.startswith(head)


@pytest.mark.parametrize(
    ("concat", "head"),
    [("udh8", b"\x08\x00\x03\x34\x02"), ("udh16", b"\x09\x08\x04\x12\x34\x02")],
)
def test_the_place_comes_first_then_the_tables(concat: Any, head: bytes):
    rules = Rules(languages=(1,), concat=concat)
    out = fields(segment("ş" * 200, rules), rules, 0x1234)
    for number, (esm_class, user_data, _) in enumerate(out, 1):
        assert esm_class == c.ESM_CLASS_UDHI
        assert user_data.startswith(head + bytes((number,)) + b"\x25\x01\x01" + b"\x1d")


@pytest.mark.parametrize(
    ("ports", "element"),
    [(udh.Ports(9200, 2948, 16), b"\x05\x04\x23\xf0\x0b\x84"), (udh.Ports(240, 255, 8), b"\x04\x02\xf0\xff")],
)
def test_ports_are_in_every_header(ports: udh.Ports, element: bytes):
    size = bytes((len(element),))
    assert fields(segment("a", Rules(), ports), Rules(), 1) == [(0x40, size + element + b"a", b"")]
    assert fields(segment_data(b"a", Rules(), ports), Rules(), 1) == [(0x40, size + element + b"a", b"")]
    out = fields(segment("a" * 161, Rules(), ports), Rules(), 1)
    for number, (_, user_data, _) in enumerate(out, 1):
        assert user_data.startswith(bytes((5 + len(element), 0, 3, 1, 2, number)) + element + b"a")
        assert udh.ports_of(udh.strip(user_data)[0]) == ports


@pytest.mark.parametrize("ports", [udh.Ports(65_536, 0, 16), udh.Ports(0, 256, 8)])
def test_ports_beyond_their_bits_are_refused(ports: udh.Ports):
    with pytest.raises(ValueError, match=r"range|must"):
        segment("a", Rules(), ports)


@pytest.mark.parametrize("bits", [8, 16])
def test_ports_are_parameters_where_the_smsc_builds_the_headers(bits: int):
    rules, ports = Rules(concat="sar"), udh.Ports(240, 7, bits)
    two = [(c.TAG_DEST_PORT, b"\0\xf0"), (c.TAG_SOURCE_PORT, b"\0\7")]
    ((esm_class, short_message, tlvs),) = fields(segment("a", rules, ports), rules, 1)
    assert (esm_class, short_message, pdu.decode_tlvs(tlvs)) == (0, b"a", two)
    out = fields(segment("a" * 161, rules, ports), rules, 1)
    for number, (esm_class, _, tlvs) in enumerate(out, 1):
        assert esm_class == 0
        assert pdu.decode_tlvs(tlvs) == [
            *two,
            (c.TAG_SAR_MSG_REF_NUM, b"\0\1"),
            (c.TAG_SAR_TOTAL_SEGMENTS, b"\2"),
            (c.TAG_SAR_SEGMENT_SEQNUM, bytes((number,))),
        ]
    rules = Rules(concat="payload")
    ((esm_class, short_message, tlvs),) = fields(segment("a" * 300, rules, ports), rules, 1)
    assert (esm_class, short_message) == (0, b"")
    assert pdu.decode_tlvs(tlvs) == [*two, (c.TAG_MESSAGE_PAYLOAD, b"a" * 300)]


@pytest.mark.parametrize("concat", ["sar", "payload"])
def test_one_part_with_tables_has_a_header_also_there(concat: Any):
    rules = Rules(languages=(1,), concat=concat)
    assert fields(segment("ş" * 71, rules), rules, 9) == [(0x40, b"\x03\x25\x01\x01" + b"\x1d" * 71, b"")]


# --- packed -----------------------------------------------------------------------------------------------


def test_packed_vectors():
    rules = Rules(packed=True)
    assert fields(segment("hellohello", rules), rules, 1) == [(0, bytes.fromhex("e8329bfd4697d9ec37"), b"")]
    # Seven bits left over: CR, not the zeros that an SMSC would count as "@".
    assert fields(segment("1234567", rules), rules, 1) == [(0, bytes.fromhex("31d98c56b3dd1a"), b"")]
    out = fields(segment("a" * 161, rules), rules, 1)
    assert [len(user_data) for _, user_data, _ in out] == [140, 14]
    assert out[0][1][:8] == b"\5\0\3\1\2\1" + septets.pack(b"a" * 153, 1)[:2]
    assert segment("a" * 161, rules).parts == [b"a" * 153, b"a" * 8], "packed last of all"


def test_only_gsm7_is_packed():
    rules = Rules(packed=True, alphabets=("gsm7", "latin1", "ucs2"))
    for text in ("日本", "ç", "日" * 100):
        assert fields(segment(text, rules), rules, 1) == fields(segment(text, rules), Rules(), 1)
    assert fields(segment_data(b"abc", rules), rules, 1) == [(0, b"abc", b"")]
    assert fields(segment_data(b"a" * 141, rules), rules, 1)[1][1].endswith(b"a" * 7)
    sar = Rules(packed=True, concat="sar")
    assert fields(segment("日", sar), sar, 1) == [(0, "日".encode("utf-16-be"), b"")]


def test_packed_without_a_header_of_ours():
    rules = Rules(packed=True, concat="sar")
    out = fields(segment("a" * 161, rules), rules, 1)
    assert [user_data for _, user_data, _ in out] == [septets.pack(b"a" * 153), septets.pack(b"a" * 8)]
    assert fields(segment("1234567", rules), rules, 1) == [(0, septets.pack(b"1234567\r"), b"")]


def test_packed_with_tables_and_ports_in_one_part():
    rules = Rules(packed=True, languages=(1,))
    ((_, user_data, _),) = fields(segment("ş" * 155, rules), rules, 1)
    assert user_data == b"\x03\x25\x01\x01" + septets.pack(b"\x1d" * 155, 3)
    assert len(user_data) == 140
    ((_, user_data, _),) = fields(segment("a" * 152, rules, PORTS), rules, 1)
    assert user_data == b"\x06" + PORTS_ELEMENT + septets.pack(b"a" * 152)
    assert len(user_data) == 140


PORTS_ELEMENT = b"\x05\x04\x23\xf0\x0b\x84"


# --- transliteration --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rules", "sent", "alphabet"),
    [
        ("“Hi” …", Rules(transliterate=TABLE), '"Hi" ...', "gsm7"),
        ("“Hi” 日", Rules(transliterate=TABLE), "“Hi” 日", "ucs2"),
        ("plain é", Rules(transliterate={**TABLE, "é": "e"}), "plain é", "gsm7"),
        # A part saved, by an entry of one's own.
        ("€" * 80 + "a", Rules(transliterate={"€": "E"}), "E" * 80 + "a", "gsm7"),
        ("日" * 70 + "…", Rules(transliterate={"…": ""}), "日" * 70, "ucs2"),
        # UCS-2 avoided, but a part more: no.
        ("½" * 70, Rules(transliterate=TABLE), "½" * 70, "ucs2"),
        ("½" * 53, Rules(transliterate=TABLE), "1/2" * 53, "gsm7"),
        # With tables the letters stay, and only the rest goes.
        ("ş" * 80 + "…", Rules(transliterate=TABLE, languages=(1,)), "ş" * 80 + "...", "gsm7"),
        ("ş" * 80, Rules(transliterate=TABLE, languages=(1,)), "ş" * 80, "gsm7"),
        ("ş" * 160, Rules(transliterate=TABLE, languages=(1,)), "s" * 160, "gsm7"),
        # Where nothing else can.
        ("…", Rules(transliterate=TABLE, alphabets=("gsm7",)), "...", "gsm7"),
        ("é…", Rules(transliterate=TABLE, alphabets=("latin1",)), "é...", "latin1"),
        ("日" * 671 + "…" * 1, Rules(transliterate={"…": "", "日": "a"}), "a" * 671, "gsm7"),
    ],
)
def test_transliterated_where_it_pays(text: str, rules: Rules, sent: str, alphabet: str):
    cut = segment(text, rules)
    assert "".join(cut.texts) == sent
    assert cut.alphabet == alphabet
    assert fields(cut, rules, 1) == fields(segment(text, rules), rules, 1)


def test_transliteration_keeps_the_ports():
    assert segment("…", Rules(transliterate=TABLE), PORTS).header == PORTS_ELEMENT


@pytest.mark.parametrize(
    ("text", "code"), [("\ud800…", "unencodable"), ("…" * 1000, "too_long"), ("日" * 671, "too_long")]
)
def test_what_transliteration_cannot_help_is_refused(text: str, code: str):
    with pytest.raises(TextError) as caught:
        segment(text, Rules(transliterate=TABLE))
    assert caught.value.code == code


@given(st.text(st.sampled_from("ab“”…ş€日\u0301"), max_size=120))
def test_transliteration_never_costs(text: str):
    plain = segment(text, Rules(languages=(1,)))
    cut = segment(text, Rules(languages=(1,), transliterate=TABLE))
    assert (cut.segments, cut.alphabet == "ucs2") <= (plain.segments, plain.alphabet == "ucs2")
    if (cut.segments, cut.alphabet == "ucs2") == (plain.segments, plain.alphabet == "ucs2"):
        assert cut == plain


def test_no_text_in_a_repr():
    assert isinstance(segment("ş" * 71, TURKISH), Segmented)
    assert "ş" not in repr(segment("ş" * 71, TURKISH))
