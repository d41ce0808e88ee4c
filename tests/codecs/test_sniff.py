"""sniff: what is strong evidence of another alphabet, and what must not be taken for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.codecs import gsm7
from todoke.codecs.sniff import alphabet_of, decode_jis

IN_MANY_SCRIPTS = [
    "Hello, Wörld 12",
    "1234",
    "Привет, мир",
    "Γειά σου κόσμε",
    "שלום עולם",
    "مرحبا",
    "नमस्ते दुनिया",
    "สวัสดีชาวโลก",
    "今日はとてもいい天気です。",
    "ありがとうございます",
    "カタカナでかきます。",
    "안녕하세요 세계",
    "Hello 😀",
    "привет 👍🏽",
    "ありがとう😀",
    "감사합니다♪ 👍",
    "👍👍",
    "好的\u3000ありがとうございました",
    "a\tb\r\nc\xa0d",
]


@pytest.mark.parametrize("text", IN_MANY_SCRIPTS)
@pytest.mark.parametrize("claimed", ["gsm7", "ascii", "latin1", "ucs2"])
def test_utf_16_in_either_order_under_any_of_these(text: str, claimed: str):
    assert alphabet_of(text.encode("utf-16-be"), claimed) == "ucs2"
    assert alphabet_of(text.encode("utf-16-le"), claimed) == "utf-16-le"


@pytest.mark.parametrize("claimed", ["gsm7", "ucs2"])
def test_a_byte_order_mark(claimed: str):
    assert alphabet_of("\ufeff你好".encode("utf-16-be"), claimed) == "ucs2"
    assert alphabet_of("\ufeff你好".encode("utf-16-le"), claimed) == "utf-16-le"
    assert alphabet_of(b"\xfe\xff\x00", "latin1") == "latin1"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"@",
        b"\0a\0b",  # two units: too short to know
        b"\0a\0b\0",
        b"\0\0\0\0\0\0",  # "@@@@@@"
        b"\0a\0b\0\x01",  # a control character
        b"\0a\0a\0a\0a",
        b"\x02a\x02b\x02c",  # "$a$b$c": none of the scripts
        b"\x04a\x05b\x04c\x05d",  # two scripts
        b"\x031\x032\x033",  # combining characters: no letters
        b"\x0aa\x0ab\x0ac",  # lines of one letter
        b"\x0da\x0db\x0dc",
        b"0A0B0C0D0E0F",  # would be hiragana
        b"0Y0W0a0b0c0d0e0f",
        b"He said: see http://example.com/a?b=c",
    ],
)
def test_a_text_in_the_default_alphabet_stays(data: bytes):
    assert alphabet_of(data, "gsm7") == "gsm7"


@given(
    st.text(
        alphabet=sorted(gsm7.EXTENSION)
        + sorted(set(gsm7.BASIC) - set("@\x1bèéÅåÇØ¥ùΔΦΨøòì£$ÇΞ\n\r_ΓΛΩΠΣΘÆæßÉ"))
    )
)
def test_words_in_the_default_alphabet_stay(text: str):
    data = gsm7.encode(text)
    assert data is not None
    assert alphabet_of(data, "gsm7") == "gsm7"


@pytest.mark.parametrize(
    "text",
    [
        "你好",  # "O`Y}"
        "一一一一",  # every second octet 0
        "そうだね",  # all octets ASCII
        "中",
        "协佐",  # near "STOP"
        "そうだねそうだねそうだね",
        "你好你好你好你好",
        "今天天气很好我们去公园玩吧",
        "😀😀😀",
        "Ђ",
    ],
)
def test_a_text_in_ucs_2_stays(text: str):
    assert alphabet_of(text.encode("utf-16-be"), "ucs2") == "ucs2"


def test_private_and_unassigned_characters_are_no_text():
    kana = "ありがとうございます"
    for strange in ("\u318f\u30a0\uffff", "\u9ffd\ufff0", "\ud7ff"):
        data = (kana + strange).encode("utf-16-be")
        assert alphabet_of(data, "gsm7") == "gsm7"
    torn = kana.encode("utf-16-be") + b"\xff\xfd"
    assert alphabet_of(torn, "gsm7") == "gsm7"


def test_ascii_under_data_coding_8():
    assert alphabet_of(b"id:123 stat:DELIVRD", "ucs2") == "ascii"  # an odd number of octets
    assert alphabet_of(b"Y", "ucs2") == "ascii"
    assert alphabet_of(b"Y\xe9s", "ucs2") == "ucs2"
    assert alphabet_of(b"Hello world!", "ucs2") == "ascii"
    assert alphabet_of(b"Hello worl", "ucs2") == "ucs2"  # five pairs
    assert alphabet_of(b"0ello world!", "ucs2") == "ucs2"  # and five with a kana
    assert alphabet_of(b"Hello ~orld!", "ucs2") == "ucs2"
    assert alphabet_of(b"Line one\r\nline 2", "ucs2") == "ascii"
    assert alphabet_of(b"Hello world!", "latin1") == "latin1"
    assert alphabet_of(b"", "ucs2") == "ucs2"


def test_utf_8_under_the_default_alphabet():
    assert alphabet_of("déjà vu".encode(), "gsm7") == "utf-8"
    assert alphabet_of("déjà vu".encode(), "latin1") == "latin1"
    assert alphabet_of("déjà vu".encode("latin-1"), "gsm7") == "gsm7"
    assert alphabet_of(b"deja vu", "gsm7") == "gsm7"


def test_shares_at_their_borders():
    """Half of the characters must be of the script."""
    assert alphabet_of("ああああ日本語語".encode("utf-16-be"), "gsm7") == "ucs2"
    assert alphabet_of("あああ日本語語".encode("utf-16-be"), "gsm7") == "gsm7"
    assert alphabet_of("ひらがなで漢".encode("utf-16-be"), "gsm7") == "ucs2"
    assert alphabet_of("ひらがな漢".encode("utf-16-be"), "gsm7") == "gsm7"  # five
    assert alphabet_of("123".encode("utf-16-be"), "gsm7") == "ucs2"
    assert alphabet_of("ありがとうж".encode("utf-16-be"), "gsm7") == "gsm7"  # no script of theirs
    assert alphabet_of("да11".encode("utf-16-be"), "gsm7") == "ucs2"
    assert alphabet_of("да111".encode("utf-16-be"), "gsm7") == "gsm7"
    assert alphabet_of("д а 1".encode("utf-16-be"), "gsm7") == "ucs2"


@pytest.mark.parametrize("beside", "\u2025∞☆❤！龠一")
def test_what_stands_beside_kana(beside: str):
    assert alphabet_of(("ありがとう" + beside).encode("utf-16-be"), "gsm7") == "ucs2"


@pytest.mark.parametrize("beside", "䷿ꀀꯀЖῼ⠁\ue000")
def test_what_stands_beside_no_kana(beside: str):
    assert alphabet_of(("ありがとう" + beside).encode("utf-16-be"), "gsm7") == "gsm7"


def test_hangul_from_end_to_end():
    assert alphabet_of(("가힣" * 3).encode("utf-16-be"), "gsm7") == "ucs2"


def test_japanese():
    assert alphabet_of(b"\x46\x7c\x4b\x5c", "jis_x_0208") == "jis_x_0208"
    assert decode_jis(b"\x46\x7c\x4b\x5c", "jis_x_0208") == "日本"
    assert decode_jis(b"\x30\x21", "jis_x_0212") == "丂"
    assert alphabet_of(b"\x30\x21", "jis_x_0212") == "jis_x_0212"
    assert decode_jis(b"\x46\x7c\x7f\x7f", "jis_x_0208").startswith("日")
    assert alphabet_of("日本".encode("cp932"), "jis_x_0208") == "shift_jis"
    assert alphabet_of("日本".encode("iso2022_jp"), "jis_x_0208") == "iso2022_jp"
    assert alphabet_of(b"Hello", "jis_x_0208") == "shift_jis"
    assert alphabet_of(b"a b ", "jis_x_0208") == "shift_jis"
    assert alphabet_of(b"\x7e\x7e\x7e\x7e", "jis_x_0208") == "shift_jis"  # no such characters
    assert alphabet_of(b"", "jis_x_0208") == "jis_x_0208"


@given(
    st.binary(max_size=80),
    st.sampled_from(["gsm7", "ucs2", "latin1", "ascii", "jis_x_0208", "jis_x_0212", "binary"]),
)
def test_any_octets(data: bytes, claimed: str):
    found = alphabet_of(data, claimed)
    if claimed == "binary":
        assert found == claimed
    if found in ("jis_x_0208", "jis_x_0212"):
        assert "\ufffd" not in decode_jis(data, found)


def test_hangul_whose_second_octets_are_ascii():
    assert alphabet_of("가각간갈감갑".encode("utf-16-be"), "gsm7") == "ucs2"


def test_half_a_surrogate_pair_is_no_text():
    kana = "ありがとうございます".encode("utf-16-be")
    assert alphabet_of(kana + b"\xd8\x3d", "gsm7") == "gsm7"
    assert alphabet_of(kana + b"\xd8\x3d\xde\x00", "gsm7") == "ucs2"


def test_digits_at_every_second_place_are_no_kana():
    assert alphabet_of(b"a0b0c0d0e0f0", "ucs2") == "ascii"
    assert alphabet_of(b"0a0b0c0d0e0f", "ucs2") == "ucs2"


def test_octets_of_eight_bits_are_no_jis():
    assert alphabet_of("ﾃｽﾄｱ".encode("cp932"), "jis_x_0208") == "shift_jis"
    assert alphabet_of(b"\x30\x21" + "ﾃｽ".encode("cp932"), "jis_x_0208") == "shift_jis"


def test_two_characters_of_jis_x_0212():
    assert "丂丄".encode("euc_jp") == b"\x8f\xb0\xa1\x8f\xb0\xa2"
    assert decode_jis(b"\x30\x21\x30\x22", "jis_x_0212") == "丂丄"
