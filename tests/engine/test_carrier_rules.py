"""carrier_rules: the keys of a carrier as rules of the segmenter."""

from __future__ import annotations

from todoke.codecs import national, transliterate
from todoke.codecs.segment import Rules
from todoke.engine.carrier_rules import build_carrier_rules
from todoke.engine.config import CarrierConfig, parse

CARRIER = """[[carrier]]
name = "mine"
hosts = ["h:1"]
system_id = "x"
"""


def carrier(keys: str = "") -> CarrierConfig:
    return parse(CARRIER + keys).carrier[0]


def test_without_keys_it_is_the_standard() -> None:
    assert build_carrier_rules(carrier()) == Rules()


def test_every_key_has_its_rule() -> None:
    rules = build_carrier_rules(
        carrier("""
concat = "udh16"
alphabets = ["latin1", "gsm7"]
parts_max = 3
gsm7_single_units = 155
ucs2_part_units = 60
gsm7_data_coding = 1
latin1_data_coding = 2
ucs2_data_coding = 24
binary_data_coding = 5
languages = ["urdu", "turkish"]
gsm7_packed = true
""")
    )
    assert rules == Rules(
        concat="udh16",
        alphabets=("latin1", "gsm7"),
        parts_max=3,
        units_single={"gsm7": 155},
        units_part={"ucs2": 60},
        gsm7_data_coding=1,
        latin1_data_coding=2,
        ucs2_data_coding=24,
        binary_data_coding=5,
        languages=(13, 1),
        packed=True,
    )


def test_every_language_has_its_name() -> None:
    names = ", ".join(f"'{name}'" for name in national.LANGUAGES.values())
    assert build_carrier_rules(carrier(f"languages = [{names}]")).languages == tuple(national.LANGUAGES)


def test_transliteration_is_the_table_and_the_carriers_own() -> None:
    assert build_carrier_rules(carrier("transliterate = true")).transliterate == transliterate.TABLE
    keys = """transliterate = true\ntransliterate_extra = { "♥" = "<3", "…" = ".." }"""
    table = build_carrier_rules(carrier(keys)).transliterate
    assert table == {**transliterate.TABLE, "♥": "<3", "…": ".."}
