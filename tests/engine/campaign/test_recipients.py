"""Lists of recipients: what is read from the files people have, and what each wrong row is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.engine.campaign.errors import ListError
from todoke.engine.campaign.recipients import Options, Recipients, read_recipients
from todoke.engine.campaign.table import ROW_LINES_MAX

JAPANESE = (
    '宛先,氏名,金額,本文\n090-1234-0001,山田 太郎,"12,800",{氏名}様、{金額}円のお支払いを承りました。\n'
)


def read(list_text: str, /, **options: str) -> Recipients:
    return read_recipients(list_text.encode(), Options(**options))


def refusals(recipients: Recipients) -> list[tuple[int, str, str]]:
    return [(row.row, row.column, row.code) for row in recipients.refused]


@pytest.mark.parametrize(
    ("encoding", "found"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("cp932", "cp932"),
        ("euc_jp", "euc_jp"),
        ("iso2022_jp", "iso2022_jp"),
        ("utf-16", "utf-16"),
    ],
)
def test_the_character_set_is_found(encoding: str, found: str) -> None:
    data = (
        JAPANESE + "080-1234-0002,佐藤 花子,500,{氏名}様、ご予約は明日の十時です。お待ちしております。\r\n"
    ).encode(encoding)
    recipients = read_recipients(data)
    assert recipients.encoding == found
    assert recipients.rows[0].message.text == "山田 太郎様、12,800円のお支払いを承りました。"
    assert recipients.rows[1].message.to == "+818012340002"
    assert recipients.columns == {"to": "宛先", "text": "本文"}


def test_a_character_set_may_be_named() -> None:
    recipients = read_recipients(JAPANESE.encode("cp932"), Options(encoding="cp932"))
    assert recipients.rows[0].message.text == "山田 太郎様、12,800円のお支払いを承りました。"
    with pytest.raises(ListError, match="character set 'klingon' is unknown"):
        read_recipients(b"to,text\n", Options(encoding="klingon"))


def test_every_field_of_a_message_may_be_a_column() -> None:
    (row,) = read(
        "電話番号;送信元;管理番号;送信日時;送信期限;キャリア;優先度;タグ;本文\n"
        "０９０−１２３４−０００１;0032069000;r-1;2026/11/21 9:05;"
        "2026-11-21T21:00:00+09:00;au;緊急;a、b;はい\n"
    ).rows
    message = row.message
    assert row.number == 2
    assert (message.to, message.from_, message.ref, message.carrier) == (
        "+819012340001",
        "0032069000",
        "r-1",
        "au",
    )
    assert (message.at, message.expires) == ("2026-11-21T09:05:00+09:00", "2026-11-21T21:00:00+09:00")
    assert (message.lane, message.tags, message.text) == ("urgent", ["a", "b"], "はい")


def test_the_text_may_be_given_for_all_rows() -> None:
    text = "to\tName\n+819012340001\tAnn\n"
    assert read(text, text="Dear { name }, {{ok}}").rows[0].message.text == "Dear Ann, {ok}"
    with pytest.raises(ListError, match="the list has no column 'amount'; it has to, Name"):
        read(text, text="{amount}")
    with pytest.raises(ListError, match="without a field name"):
        read(text, text="{")


NUMBERS = [
    ("090-1234-0001", "+819012340001"),
    ("９０１２３４０００１", "+819012340001"),  # a spreadsheet ate the zero
    ("+81 (0)70 1234 0001", "+817012340001"),
    ("060ー1234ー0001", "+816012340001"),
    ("02012345678901", "+812012345678901"),
    ("+1 415 555 0123", "+14155550123"),
]


@pytest.mark.parametrize(("written", "expected"), NUMBERS)
def test_numbers_become_international(written: str, expected: str) -> None:
    assert read(f"to,text\n{written},x\n").rows[0].message.to == expected


def test_the_region_of_national_numbers_may_be_another() -> None:
    assert read("to,text\n0612345678,x\n", region="NL").rows[0].message.to == "+31612345678"


WRONG = [
    ("090-1234-567", "invalid_number"),
    ("090-0123-4567", "invalid_number"),
    ("9.01235E+10", "invalid_number"),
    ("山田", "invalid_number"),
    ("03-1234-5678", "not_mobile"),
    ("0120-123-456", "not_mobile"),
    ("", "missing"),
]


@pytest.mark.parametrize(("written", "code"), WRONG)
def test_a_wrong_number_is_refused_alone_and_not_quoted(written: str, code: str) -> None:
    recipients = read(f"番号は,電話番号,本文\n1,090-1234-0001,a\n2,{written},b\n3,090-1234-0003,c\n")
    assert refusals(recipients) == [(3, "電話番号", code)]
    assert [row.number for row in recipients.rows] == [2, 4]
    if written:
        assert written not in repr(recipients.refused)


def test_wrong_rows_are_told_by_number_column_and_code() -> None:
    recipients = read(
        "宛先,氏名,送信日時,優先度,本文\n"
        "090-1234-0001,山田,,,{氏名}様\n"
        "090-1234-0002,,,,{氏名}様\n"
        "090-1234-0003,佐藤,,,{名前}様\n"
        "\n"
        "090-1234-0004,鈴木,明日,,x\n"
        "090-1234-0005,高橋,,最高,x\n"
        "090-1234-0006,田中,,,\n"
        "090-1234-0007,伊藤,,,{氏名\n"
        "090-1234-0008,渡辺,,,x,y\n"
        "090-1234-0001,山田,,,{氏名}様\n"
        "090-1234-0009,山本\n"
        "090-1234-0010,中村,2026-02-30 10:00,,x\n"
    )
    assert refusals(recipients) == [
        (3, "氏名", "empty_field"),
        (4, "本文", "unknown_field"),
        (6, "送信日時", "invalid_time"),
        (7, "優先度", "unknown_lane"),
        (8, "本文", "missing"),
        (9, "本文", "invalid_template"),
        (10, "", "columns"),
        (11, "宛先", "duplicate_row"),
        (12, "本文", "missing"),
        (13, "送信日時", "invalid_time"),
    ]
    assert [row.number for row in recipients.rows] == [2]


def test_cells_may_hold_line_ends_and_quotation_marks() -> None:
    recipients = read('to,text\n090-1234-0001,"one\r\ntwo ""three"""\n090-1234-0002,x\n')
    assert [(row.number, row.message.text) for row in recipients.rows] == [(2, 'one\ntwo "three"'), (3, "x")]


@pytest.mark.parametrize("later", ["", '090-1234-0009,"y"\n', "\n" * (ROW_LINES_MAX + 10)])
def test_a_quotation_mark_that_is_not_closed_spoils_its_row_only(later: str) -> None:
    recipients = read(f'to,text\n090-1234-0001,"open\n090-1234-0002,x\n{later}')
    assert refusals(recipients) == [(2, "", "quotes")]
    assert recipients.rows[0].message.text == "x"


def test_octets_that_are_no_character_spoil_their_row_only() -> None:
    rows = "".join(f"090-1234-{n:04d},お知らせ\n" for n in range(300))
    data = f"to,text\n{rows}".encode() + b"090-1234-9999,\xff\xfe\n"
    recipients = read_recipients(data)
    assert refusals(recipients) == [(302, "text", "undecodable")]
    assert len(recipients.rows) == 300


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "no header row"),
        ("\n \n", "no header row"),
        ("name,text\na,b\n", "no column with the numbers"),
        ("to,name\n1,b\n", "no column with the texts"),
        ("to,宛先,text\n1,2,b\n", "two columns for 'to'"),
        ("to,x,Ｘ,text\n1,2,3,b\n", "two columns are called 'x'"),
    ],
)
def test_a_list_that_cannot_be_used_says_why(text: str, expected: str) -> None:
    with pytest.raises(ListError, match=expected):
        read(text)


def test_the_same_list_gives_the_same_references() -> None:
    def references(list_text: str, /, **options: str) -> list[str | None]:
        return [row.message.ref for row in read(list_text, **options).rows]

    text = "to,text\n090-1234-0001,a\n090-1234-0002,b\n"
    once = references(text)
    assert len(set(once)) == 2
    assert references(text) == once
    assert set(references(text, again="2")).isdisjoint(once)
    assert set(references(text, text="other")).isdisjoint(once)
    assert all(len(ref or "") <= 64 for ref in once)


@given(st.binary() | st.text().map(str.encode))
def test_any_octets_give_rows_or_refusals_or_a_list_error(data: bytes) -> None:
    for head in (b"", b"to,text\n"):
        try:
            recipients = read_recipients(head + data)
        except ListError as error:
            assert str(error)  # noqa: PT017  either outcome is right
        else:
            numbers = sorted(
                [row.number for row in recipients.rows] + [row.row for row in recipients.refused]
            )
            assert len(set(numbers)) == len(numbers)


CELL = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=20).filter(str.strip)


@given(st.lists(CELL, min_size=1, max_size=5))
def test_texts_survive_every_separator_and_character_set(texts: list[str]) -> None:
    for separator in ",;\t":
        for encoding in ("utf-8", "utf-8-sig", "utf-16"):
            quoted = [text.replace("{", "{{").replace("}", "}}").replace('"', '""') for text in texts]
            lines = [f'090-1234-{n:04d}{separator}"{text}"\n' for n, text in enumerate(quoted)]
            data = f"to{separator}text\n{''.join(lines)}".encode(encoding)
            assert [row.message.text for row in read_recipients(data).rows] == texts
