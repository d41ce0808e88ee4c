"""cuts: each kind of part one unit before, at and behind the limit."""

from __future__ import annotations

import pytest
from todoke.codecs import cuts, gsm7, national


def gsm7_parts(text: str, limit: int) -> list[str]:
    data = gsm7.encode(text)
    assert data is not None
    return [gsm7.decode(part) for part in cuts.octets(text, data, limit, "gsm7")]


def utf16_parts(text: str, limit: int) -> list[str]:
    parts = cuts.utf16(text, text.encode("utf-16-be"), limit)
    return [part.decode("utf-16-be") for part in parts]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("aaa\r\nb", ["aaa", "\r\nb"]),
        ("aaa\rb\n", ["aaa\r", "b\n"]),
        ("aaab\r\n", ["aaab", "\r\n"]),
        ("aaab\ncc\r", ["aaab", "\ncc\r"]),
        ("aaa\n\rb", ["aaa\n", "\rb"]),
        ("aaaaaaa\r", ["aaaa", "aaa\r"]),
        ("aa\r\nb", ["aa\r\n", "b"]),
        # What stands for the marks of no escape and of no line must not be taken for one.
        ("£££££\r", ["££££", "£\r"]),
        ("@@@@@\r", ["@@@@", "@\r"]),
        ("$$$$$\r", ["$$$$", "$\r"]),
        ("aaa€", ["aaa", "€"]),
        ("aa€a", ["aa€", "a"]),
        ("aa€", ["aa€"]),
        ("€€€", ["€€", "€"]),
        ("a€€€", ["a€", "€€"]),
        ("€aa\r\n€", ["€aa", "\r\n€"]),
    ],
)
def test_octets_of_gsm7(text: str, parts: list[str]):
    assert gsm7_parts(text, 4) == parts


def test_octets_of_other_alphabets():
    # An escape is one only in GSM 7-bit; CR LF is one cluster in any text.
    text = "ççç\r\nç"
    assert cuts.octets(text, text.encode("latin-1"), 4, "latin1") == ["ççç".encode("latin-1"), b"\r\n\xe7"]
    assert cuts.octets("", b"abc\x1bdabc\r\n", 4, "binary") == [b"abc\x1b", b"dabc", b"\r\n"]
    assert cuts.octets("", b"abc\r\nabc", 4, "binary") == [b"abc\r", b"\nabc"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("ककककक", ["कककक", "क"]),
        ("ककककि", ["ककक", "कि"]),
        ("कककिक", ["कककि", "क"]),
        # Two septets each: U+0960 and U+0951 stand in the single shift table.
        ("कककॠ", ["ककक", "ॠ"]),
        ("ककॠ", ["ककॠ"]),
        ("ककॠक", ["ककॠ", "क"]),
        ("ककक\u0951", ["कक", "क\u0951"]),
        ("कककॠ\u0951", ["ककक", "ॠ\u0951"]),
        ("ककॠ\u0951क", ["कक", "ॠ\u0951", "क"]),
        ("कॠ\u0951\u0951", ["कॠ", "\u0951\u0951"]),
        ("कक\r\nक", ["कक\r\n", "क"]),
        ("ककक\r\n", ["ककक", "\r\n"]),
    ],
)
def test_septets_of_tables(text: str, parts: list[str]):
    data = national.encode(text, 6, 6)
    assert data is not None
    found = cuts.septets(text, data, 4, national.measure(6))
    assert [gsm7.decode(part, 6, 6) for part in found] == parts


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("日日日日日", ["日日日日", "日"]),
        ("日日日日", ["日日日日"]),
        ("日日日e\u0301", ["日日日", "e\u0301"]),
        ("日日e\u0301日", ["日日e\u0301", "日"]),
        ("日日日\r\n日", ["日日日", "\r\n日"]),
        # The first and the last of each half of a surrogate pair, and their neighbours.
        ("日日日\U00010000", ["日日日", "\U00010000"]),
        ("日日日\U0010fc00", ["日日日", "\U0010fc00"]),
        ("日日\U00010000日", ["日日\U00010000", "日"]),
        ("日日\U0010ffff日", ["日日\U0010ffff", "日"]),
        ("日日日\ud7a3😀", ["日日日\ud7a3", "😀"]),
        ("日日日\ue000😀", ["日日日\ue000", "😀"]),
        ("日日日日😀", ["日日日日", "😀"]),
        ("😀😀", ["😀😀"]),
        ("😀😀😀", ["😀😀", "😀"]),
        ("日😀😀", ["日😀", "😀"]),
        ("日日🇯🇵", ["日日", "🇯🇵"]),
        ("🇯🇵日", ["🇯🇵", "日"]),
        ("🇯🇵🇯🇵", ["🇯🇵", "🇯🇵"]),
        ("日👍🏽日", ["日", "👍🏽", "日"]),
        # Of more than a part: torn where it is full, between two characters.
        ("e\u0301\u0301\u0301\u0301", ["e\u0301\u0301\u0301", "\u0301"]),
        ("日e\u0301\u0301\u0301日", ["日", "e\u0301\u0301\u0301", "日"]),
        ("日e\u0301\u0301\u0301\u0301日", ["日e\u0301\u0301", "\u0301\u0301日"]),
        ("e" + "\u0301" * 6, ["e\u0301\u0301\u0301", "\u0301\u0301\u0301"]),
        ("日日日e" + "\u0301" * 6, ["日日日e", "\u0301\u0301\u0301\u0301", "\u0301\u0301"]),
        ("日日👍🏽\u0301", ["日日👍", "🏽\u0301"]),
    ],
)
def test_units_of_utf16(text: str, parts: list[str]):
    assert utf16_parts(text, 4) == parts


def test_where_a_part_ends():
    def units(text: str) -> int:
        return len(text)

    text = "日日e\u0301\u0301日"
    assert [cuts.boundary(text, 0, cut, 3, units) for cut in range(1, 6)] == [1, 2, 2, 2, 5]
    # A cluster at the very beginning is torn: nothing would go before it.
    assert cuts.boundary(text, 2, 4, 3, units) == 4
    # Nor is looked before the beginning, where the end of the text would be.
    assert cuts.boundary("e" + "\u0301" * 6, 0, 3, 3, units) == 3
    # Of three units where two fit.
    assert cuts.boundary(text, 0, 4, 2, units) == 4
