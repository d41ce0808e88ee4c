"""transliterate: what the table holds, what is replaced and what is left, and that it can be told."""

from __future__ import annotations

import unicodedata

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st
from todoke.codecs import gsm7, national
from todoke.codecs.transliterate import TABLE, apply, replaced, versions


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("“Hi” ‘you’ „so“ «la»", '"Hi" \'you\' "so" "la"'),
        ("a–b — c… 5′", "a-b - c... 5'"),
        ("1\u00a0000\u202f000\u3000\t.", "1 000 000  ."),
        ("ＡＢＣ０９！～", "ABC09!~"),
        ("｀", "'"),
        ("ﬁne eﬀort ﬃ Œuvre Ĳ", "fine effort ffi OEuvre IJ"),
        ("Łódź Čapek Þór Şişli ế", "Lodz Capek Thor Sisli e"),
        ("naïve façade ẞ", "naive facade SS"),
        ("e\u0301 o\u0308 x\u0302 n\u0303", "é ö x ñ"),
        ("a\u200bb\u00adc\ufeff©️ \u2028\u2029", "abc(c) \n\n"),
        ("Ångström \u212b \u2126", "Ångström Å Ω"),
        ("½ ≤ 3 → €", "1/2 <= 3 -> €"),
        ("日本 Ж", "日本 Ж"),
        ("", ""),
    ],
)
def test_what_stands_for_what(text: str, sent: str):
    assert apply(text) == sent


def test_the_table_gives_gsm7_and_never_touches_it():
    have = {*gsm7.BASIC, *gsm7.EXTENSION} - {"\x1b"}
    assert not have & TABLE.keys()
    for character, sent in TABLE.items():
        assert len(character) == 1
        assert gsm7.encode(sent) is not None, character
        # Else it would be replaced before it is looked up.
        assert unicodedata.normalize("NFC", character) == character
    assert list(TABLE) == sorted(TABLE)
    assert len(TABLE) > 700


def test_every_full_width_character_is_there():
    for code in range(0xFF01, 0xFF5F):
        assert TABLE[chr(code)] == (chr(code - 0xFEE0) if code != 0xFF40 else "'")


def test_a_table_of_ones_own():
    assert apply("♥ “x”", {"♥": "<3"}) == "<3 “x”"
    assert apply("♥ “x”", {**TABLE, "“": "<<"}) == '♥ <<x"'


def test_what_is_kept():
    assert apply("“ş”", TABLE, "ş") == '"ş"'
    assert apply("s\u0327", TABLE, "ş") == "ş"


def test_versions_go_from_gentle_to_thorough():
    assert list(versions("“ş”", TABLE, "ş")) == ['"ş"', '"s"']
    assert list(versions("“s”", TABLE, "ş")) == ['"s"']


@pytest.mark.parametrize(
    ("text", "kept", "sent", "told"),
    [
        ("“a” “b”", "", '"a" "b"', [("“", '"'), ("”", '"')]),
        ("e\u0301e\u0301", "", "éé", [("e\u0301", "é")]),
        ("“ş”", "ş", '"ş"', [("“", '"'), ("”", '"')]),
        ("“ş”", "ş", '"s"', [("“", '"'), ("ş", "s"), ("”", '"')]),
        ("plain", "", "plain", []),
        ("a\u200bb", "", "ab", [("\u200b", "")]),
    ],
)
def test_what_was_replaced_can_be_told(text: str, kept: str, sent: str, told: list[tuple[str, str]]):
    assert replaced(text, sent, TABLE, kept) == told


@given(
    st.text(st.one_of(st.characters(), st.sampled_from("“…ﬁŁa\u0301\u200d\r\n")), max_size=40), st.booleans()
)
def test_what_is_told_makes_the_text_that_is_sent(text: str, keep: bool):
    kept = national.characters_of((1, 3)) if keep else frozenset[str]()
    for sent in versions(text, TABLE, kept):
        told = dict(replaced(text, sent, TABLE, kept))
        assert "".join(told.get(cluster, cluster) for cluster in regex.findall(r"\X", text)) == sent


@given(st.text(max_size=60))
def test_what_it_gives_stays_as_it_is(text: str):
    once = apply(text)
    assert apply(once) == once
