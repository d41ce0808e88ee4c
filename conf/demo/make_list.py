"""Writes recipients.csv, the list that `todoke demo` sends: 1,000 good rows and 9 wrong, always the same.

Nobody is meant: the names are words such as "sample" and "example", the numbers count up from 0001 behind
1234, and the demonstration sends them to simulated carriers on this machine only.

    python conf/demo/make_list.py > conf/demo/recipients.csv
"""

from __future__ import annotations

import csv
import io
import random
import sys

SEED = 20261121
GOOD_ROWS = 1_000
HEADER = ["宛先", "氏名", "金額", "期日", "キャリア", "本文"]
CARRIERS = {"docomo": 42, "au": 27, "softbank": 21, "rakuten": 10}
FAMILIES = ["見本", "例示", "仮名", "試験", "架空", "模擬", "想定", "雛形"]
GIVEN = [
    "太郎",
    "花子",
    "一郎",
    "次郎",
    "桜",
    "海",
    "陸",
    "空",
    "月子",
    "星",
    "雪",
    "春",
    "夏美",
    "秋彦",
    "冬樹",
]
SHORT = [
    "{氏名}様 ご注文ありがとうございます。代金{金額}円を確かに承りました。",
    "【見本電力】{氏名}様、今月のご請求額は{金額}円です。お支払期日は{期日}です。",
    "{氏名}様、明日のご予約を確認しました。お待ちしております。変更は{期日}までにご連絡ください。",
    "【見本運輸】お荷物のお届けに伺いましたがご不在でした。{期日}まで営業所で保管します。",
    "Your sample account was charged JPY {金額}. Not you? Call us [24 h] or write to ~help.",
    "{氏名}様 ポイントが{金額}点になりました。有効期限は{期日}です🎁",
]
PARAGRAPHS = [
    "このたびは見本ガスのサービスをご利用いただき、まことにありがとうございます。",
    "ご契約内容の変更にともない、翌月分から料金が{金額}円に改定されます。",
    "口座振替をご利用のお客様は、お手続きの必要はございません。",
    "振込用紙でお支払いのお客様は、{期日}までに最寄りの取扱窓口でお支払いください。",
    "お引っ越しやお支払い方法の変更は、お客様専用の画面からいつでもお手続きいただけます。",
    "点検の日程は、担当の者から改めてお電話でご案内いたします。立ち会いをお願いいたします。",
    "ご不明な点がございましたら、見本ガスお客様窓口(受付時間 平日九時から十七時)までお問い合わせください。",
    "災害などの際は、安全のため供給を止めることがございます。復旧の見込みは順次お知らせします。",
]
LONG_SHARE = 0.12
LONG_CHARACTERS = (120, 660)


def main() -> None:
    """Write the list to standard output, as a spreadsheet program would: with a byte order mark."""
    random_ = random.Random(SEED)
    rows = [good_row(random_, number) for number in range(1, GOOD_ROWS + 1)]
    for offset, row in enumerate(wrong_rows(rows)):
        rows.insert(97 + offset * 101, row)
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows([HEADER, *rows])
    sys.stdout.buffer.write(text.getvalue().encode("utf-8-sig"))


def good_row(random_: random.Random, number: int) -> list[str]:
    """A row that is delivered, or not, but accepted."""
    to = f"{random_.choice(['070', '080', '090'])}-1234-{number:04d}"
    if number % 25 == 0:
        to = to.translate({ord(digit): ord(digit) + 0xFEE0 for digit in "0123456789"})
    name = f"{random_.choice(FAMILIES)} {random_.choice(GIVEN)}"
    amount = f"{random_.randrange(500, 100_000):,}"
    due = f"{random_.randrange(1, 13)}月{random_.randrange(1, 29)}日"
    (carrier,) = random_.choices(list(CARRIERS), list(CARRIERS.values()))
    text = long_text(random_) if random_.random() < LONG_SHARE else random_.choice(SHORT)
    return [to, name, amount, due, carrier, text]


def long_text(random_: random.Random) -> str:
    """A letter of up to 660 characters, its fields filled."""
    length = random_.randrange(*LONG_CHARACTERS)
    text = "{氏名}様\n"
    while len(text) < length - 70:
        text += random_.choice(PARAGRAPHS)
    return text + "\n見本ガス"


def wrong_rows(rows: list[list[str]]) -> list[list[str]]:
    """One row of each kind that a list may hold and that nobody should pay for."""
    good = rows[4]
    return [
        ["090-1234-567", *good[1:]],  # a digit short
        ["03-1234-5678", *good[1:]],  # a telephone on a desk
        ["", *good[1:]],
        ["9.01235E+10", *good[1:]],  # a spreadsheet took it for a quantity
        ["見本 太郎", *good[1:]],  # cells shifted
        ["090-1234-2006", "見本 太郎", "", "", "docomo", "{氏名}様 代金{金額}円を承りました。"],
        ["090-1234-2007", "見本 太郎", "1,000", "", "au", "{お名前}様 こんにちは。"],
        list(rows[41]),  # the same person and text once more
        ["090-1234-2009", "見本 太郎", "1,000", "1月1日", "rakuten", "{氏名}様\n" + "".join(PARAGRAPHS) * 3],
    ]


if __name__ == "__main__":
    main()
