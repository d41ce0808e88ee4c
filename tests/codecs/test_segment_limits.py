"""segment at its limits: where one choice, one size or one way of sending ends and the next begins."""

from __future__ import annotations

from typing import Any

import pytest
from todoke.codecs import constants as c
from todoke.codecs import pdu, septets, udh
from todoke.codecs.errors import TextError
from todoke.codecs.segment import Rules, fields, segment, segment_data
from todoke.codecs.transliterate import TABLE

PORTS = udh.Ports(9200, 2948, 16)
PORTS_ELEMENT = b"\x05\x04\x23\xf0\x0b\x84"


# --- sizes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("concat", "each"), [("udh8", 153), ("udh16", 152), ("sar", 153)])
def test_three_parts_without_any_escape(concat: Any, each: int):
    text = "".join(chr(ord("a") + at % 26) for at in range(400))
    cut = segment(text, Rules(concat=concat))
    assert cut.texts == [text[:each], text[each : 2 * each], text[2 * each :]]
    assert cut.units == [each, each, 400 - 2 * each]
    assert (cut.units_left, cut.segments) == (3 * each - 400, 3)


def test_latin_1_and_octets_where_the_smsc_cuts():
    rules = Rules(concat="payload", alphabets=("latin1",))
    for cut in (segment("ç" * 141, rules), segment_data(b"x" * 141, rules)):
        assert (cut.units, cut.segments, cut.units_left) == ([141], 2, 127)


def test_parts_of_a_carriers_own_where_its_single_part_is_the_standards():
    cut = segment("a" * 161, Rules(units_part={"gsm7": 100}))
    assert (cut.units, cut.units_left) == ([100, 61], 39)


def test_a_single_part_of_seven_bits_in_the_last_octet():
    # 159 septets are 139 octets and a bit; of these 140, a header of 7 leaves 133: 152 septets.
    rules = Rules(units_single={"gsm7": 159})
    assert segment("a" * 152, rules, PORTS).units == [152]
    assert segment("a" * 153, rules, PORTS).segments == 2


def test_the_least_room_beside_a_header():
    rules = Rules(alphabets=("gsm7",), units_single={"gsm7": 10}, units_part={"gsm7": 10})
    assert segment("abc", rules, PORTS).units == [2, 1]
    rules = Rules(alphabets=("gsm7",), units_single={"gsm7": 9}, units_part={"gsm7": 9})
    assert segment("a", rules, PORTS).units == [1]
    with pytest.raises(TextError, match="no room beside the header") as caught:
        segment("ab", rules, PORTS)
    assert (caught.value.field, caught.value.code) == ("text", "too_long")


# --- choices ----------------------------------------------------------------------------------------------


def test_data_coding_is_the_carriers_also_behind_escapes_and_tables():
    rules = Rules(gsm7_data_coding=1, languages=(1,))
    assert segment("[" * 100, rules).data_coding == 1
    assert segment("ş" * 71, rules).data_coding == 1


@pytest.mark.parametrize(("ports", "element"), [(None, b""), (PORTS, PORTS_ELEMENT)])
def test_the_header_of_a_text_that_only_tables_have(ports: udh.Ports | None, element: bytes):
    cut = segment("ş", Rules(languages=(1,), alphabets=("gsm7",)), ports)
    assert cut.header == element + b"\x25\x01\x01"


def test_tables_where_the_ports_leave_ucs2_too_little_room():
    """66 units fit beside them, not 70."""
    rules = Rules(languages=(1,))
    cut = segment("ş" * 67, rules, PORTS)
    assert (cut.alphabet, cut.locking, cut.segments) == ("gsm7", 1, 1)
    assert segment("ş" * 66, rules, PORTS).alphabet == "ucs2"


def test_tables_for_a_text_of_gsm7_where_another_alphabet_is_preferred():
    cut = segment("€" * 81, Rules(languages=(1,), alphabets=("latin1", "gsm7")))
    assert (cut.alphabet, cut.locking, cut.segments) == ("gsm7", 1, 1)


def test_parts_as_large_as_a_message_of_one_are_counted_as_such():
    rules = Rules(languages=(1,), units_single={"ucs2": 70}, units_part={"ucs2": 70})
    text = "ş" * 120 + "[" * 20
    assert segment(text, rules).alphabet == "ucs2", "two parts, as many as with the table"
    assert segment(text + "a", rules).locking == 1


@pytest.mark.parametrize("languages", [(1, 3), (3, 1)])
@pytest.mark.parametrize("limits", [{"parts_max": 1}, {"concat": "sar"}, {"concat": "payload"}])
def test_tables_that_take_too_much_do_not_hide_others(languages: tuple[int, ...], limits: dict[str, Any]):
    """The Turkish one, tried first, spares one escape of two and takes 180 septets."""
    cut = segment("€|" * 60, Rules(languages=languages, alphabets=("gsm7",), **limits))
    assert (cut.locking, cut.single, cut.units) == (3, 0, [120])


def test_a_transliteration_that_does_not_help_does_not_hide_the_next():
    """With the letters kept it would take two parts, which cannot be where the SMSC builds the headers."""
    rules = Rules(transliterate=TABLE, languages=(1,), alphabets=("gsm7",), concat="sar")
    assert segment("ş" * 156 + "…", rules).texts == ["s" * 156 + "..."]


def test_no_cluster_is_torn_by_a_single_shift_table_alone():
    text = "a" * 147 + "b\u0951" + "c" * 20
    cut = segment(text, Rules(languages=(6,)))
    assert (cut.locking, cut.single) == (0, 6)
    assert cut.texts == ["a" * 147, "b\u0951" + "c" * 20]
    assert cut.units == [147, 23]


# --- fields -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", [0xFFFF, 0x0100, 0x0001, 0x1FFFF])
def test_every_bit_of_a_reference(reference: int):
    for rules, header in (
        (Rules(), udh.concat8(reference & 0xFF, 2, 1)),
        (Rules(packed=True, alphabets=("ucs2",)), udh.concat8(reference & 0xFF, 2, 1)),
        (Rules(concat="udh16"), udh.concat16(reference & 0xFFFF, 2, 1)),
    ):
        assert fields(segment("日" * 71, rules), rules, reference)[0][1].startswith(header)
    rules = Rules(concat="sar")
    tlvs = fields(segment("日" * 71, rules), rules, reference)[0][2]
    assert dict(pdu.decode_tlvs(tlvs))[c.TAG_SAR_MSG_REF_NUM] == (reference & 0xFFFF).to_bytes(2, "big")


@pytest.mark.parametrize("concat", ["udh8", "udh16", "sar"])
def test_fields_of_255_parts(concat: Any):
    rules = Rules(concat=concat, alphabets=("ucs2",), parts_max=255)
    cut = segment("日" * (255 * rules.part("ucs2")), rules)
    out = fields(cut, rules, 1)
    assert len(out) == 255
    assert out[-1][1].endswith(cut.parts[-1])


def test_short_message_up_to_254_octets():
    rules = Rules(units_single={"gsm7": 255}, units_part={"gsm7": 255})
    assert fields(segment("a" * 254, rules), rules, 1) == [(0, b"a" * 254, b"")]
    assert fields(segment("a" * 255, rules), rules, 1) == [(0, b"", b"\x04\x24\0\xff" + b"a" * 255)]


@pytest.mark.parametrize("concat", ["sar", "payload"])
@pytest.mark.parametrize(
    ("text", "language", "elements"), [("ş" * 71, 1, b"\x25\x01\x01"), ("á" * 71, 2, b"\x24\x01\x02")]
)
def test_packed_tables_have_a_header_also_where_the_smsc_builds_them(
    concat: Any, text: str, language: int, elements: bytes
):
    rules = Rules(concat=concat, packed=True, languages=(language,))
    cut = segment(text, rules)
    expected = b"\x03" + elements + septets.pack(septets.padded(cut.parts[0], 3), 3)
    assert fields(cut, rules, 9) == [(0x40, expected, b"")]
