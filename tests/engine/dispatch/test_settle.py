"""holds: which parts in doubt a number of orphans speaks of. What it may never do, for any of them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.codecs.receipt import Receipt
from todoke.engine.dispatch.holds import Doubt, Settled, by_number, doubt_field, read_doubts, settle
from todoke.engine.ledger.blocks import Entry
from todoke.engine.receipts.fields import Parked

TO, SENDER = "819012345678", "0032069000"
TIMEOUT_S = 30.0
NOW_S = 1_800_000_000


def orphan(
    came_s: int = 0, *, quoted: str = "", sender: str = SENDER, to: str = TO, message_id: str = "A1"
) -> Parked:
    receipt = Receipt(message_id, "DELIVRD", "delivered", "000", None, (), to, sender, "")
    return Parked(NOW_S + came_s, receipt, quoted)


def doubt(
    place: str = "1-1.0",
    parts: int = 1,
    since_s: int = 0,
    *,
    text: str = "Good morning",
    sender: str = SENDER,
    known: bool = True,
    message_id: str = "",
) -> Doubt:
    entry = Entry(TO, sender, text, None, parts) if known else None
    return Doubt(place, list(range(parts)), (NOW_S + since_s) * 1000, entry, 0, message_id)


def settled(doubts: list[Doubt], orphans: dict[bytes, Parked], *, one_receipt: bool = False) -> list[Settled]:
    return settle(doubts, orphans, TIMEOUT_S, one_receipt=one_receipt)


def fits(one: Doubt, parked: Parked) -> bool:
    return bool(settled([one._replace(parts=[0])], {b"k": parked}))


# -- what fits -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("came_s", "expected"), [(-36, False), (-35, True), (0, True), (86_400, True)])
def test_it_came_since_the_part_was_written(came_s: int, expected: bool) -> None:
    assert fits(doubt(), orphan(came_s)) is expected


@pytest.mark.parametrize(
    ("quoted", "expected"), [("Good m", True), ("", True), ("Hm", True), ("Good e", False)]
)
def test_it_quotes_no_other_words(quoted: str, expected: bool) -> None:
    assert fits(doubt(), orphan(quoted=quoted)) is expected


def test_of_a_forgotten_message_nothing_speaks_against_it() -> None:
    assert fits(doubt(known=False), orphan(quoted="Good evening", sender="another"))


def test_a_receipt_without_an_id_is_nobodys() -> None:
    assert not fits(doubt(), orphan(message_id=""))


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (SENDER, SENDER, True),
        (SENDER, "", True),  # some write none
        ("", "anything", True),  # the SMSC's own sender
        (SENDER, "0099999999", False),
        ("+8132069000", "8132069000", True),
        ("8132069000", "+8132069000", True),
        ("8132069000", "32069000", True),  # national form
        ("32069000", "8132069000", True),
        ("32069000", "9000", False),  # too few digits to be a form of it
        ("9000", "132069000", False),
        ("069000", "8132069000", True),  # six digits are enough
        ("Todoke", "TODOKE", True),
        ("Todoke", "Other", False),
    ],
)
def test_another_sender_speaks_against_it(ours: str, theirs: str, expected: bool) -> None:
    assert fits(doubt(sender=ours), orphan(sender=theirs)) is expected


def test_some_write_the_addresses_the_other_way_round_or_the_number_twice() -> None:
    swapped = orphan(to=SENDER, sender=TO)
    assert fits(doubt(), swapped)
    assert not fits(doubt(sender="0099999999"), swapped)
    assert fits(doubt(), orphan(sender=TO))


# -- how many --------------------------------------------------------------------------------------------


def test_the_oldest_doubt_gets_the_first_receipt() -> None:
    doubts = [doubt("new.0", since_s=5), doubt("old.0", since_s=1)]
    found = settled(doubts, {b"2": orphan(9, message_id="A2"), b"1": orphan(7)})
    assert found == [Settled("old.0", 0, b"1", "A1"), Settled("new.0", 0, b"2", "A2")]


def test_words_tell_two_apart() -> None:
    doubts = [doubt("a.0", text="Good morning"), doubt("b.0", text="Good evening")]
    assert settled(doubts, {b"1": orphan(quoted="Good evening")}) == [Settled("b.0", 0, b"1", "A1")]
    both = settled(doubts, {b"1": orphan(quoted="Good evening"), b"2": orphan(quoted="Good morning")})
    assert {(each.place, each.key) for each in both} == {("a.0", b"2"), ("b.0", b"1")}


def test_every_part_needs_one_of_its_own_where_the_carrier_tells_of_each() -> None:
    orphans = {b"1": orphan(), b"2": orphan(1)}
    assert settled([doubt(parts=3)], orphans) == []
    orphans[b"3"] = orphan(2)
    found = settled([doubt(parts=3)], orphans)
    assert [(each.part, each.key) for each in found] == [(0, b"1"), (1, b"2"), (2, b"3")]


def test_one_is_enough_for_all_parts_where_the_carrier_tells_of_the_message() -> None:
    found = settled([doubt(parts=3)], {b"1": orphan(), b"2": orphan(1)}, one_receipt=True)
    assert [(each.part, each.key) for each in found] == [(0, b"1"), (1, b"1"), (2, b"1")]
    assert settled([doubt(), doubt("1-1.1")], {b"1": orphan()}, one_receipt=True) == []


words = st.sampled_from(["Good morning", "Good evening"])
doubts_of = st.lists(
    st.builds(doubt, parts=st.integers(1, 2), since_s=st.integers(0, 60), text=words, known=st.booleans()),
    max_size=4,
).map(lambda made: [each._replace(place=f"1-{number}.{number}") for number, each in enumerate(made)])
orphans_of = st.lists(
    st.builds(
        orphan,
        st.integers(-50, 50),
        quoted=words | st.just(""),
        sender=st.sampled_from([SENDER, "", "0099999"]),
    ),
    max_size=12,
).map(lambda made: {b"%d" % number: parked for number, parked in enumerate(made)})


@given(doubts_of, orphans_of)
def test_an_orphan_settles_one_part_of_a_doubt_that_it_fits(
    doubts: list[Doubt], orphans: dict[bytes, Parked]
) -> None:
    found = settled(doubts, orphans)
    assert max(Counter(each.key for each in found).values(), default=1) == 1
    by_place = {each.place: each for each in doubts}
    assert all(fits(by_place[each.place], orphans[each.key]) for each in found)
    parts = Counter(each.place for each in found)
    assert all(count == len(by_place[place].parts) for place, count in parts.items())
    assert len({(each.place, each.part) for each in found}) == len(found)


@given(doubts_of, orphans_of, st.booleans())
def test_nothing_is_settled_but_with_an_orphan_for_every_doubt_that_they_fit(
    doubts: list[Doubt], orphans: dict[bytes, Parked], one_receipt: bool
) -> None:
    fitting = {one.place: {key for key, parked in orphans.items() if fits(one, parked)} for one in doubts}
    enough = set()
    for one in doubts:
        keys = fitting[one.place]
        rivals = [other for other in doubts if fitting[other.place] & keys]
        needed = sum(1 if one_receipt else len(other.parts) for other in rivals)
        if keys and len(keys) >= needed:
            enough.add(one.place)
    assert {each.place for each in settled(doubts, orphans, one_receipt=one_receipt)} == enough


@given(doubts_of, orphans_of, st.booleans(), st.randoms(use_true_random=False))
def test_the_order_in_which_they_are_read_changes_nothing(
    doubts: list[Doubt], orphans: dict[bytes, Parked], one_receipt: bool, rng: Any
) -> None:
    other_doubts, other_orphans = list(doubts), list(orphans.items())
    rng.shuffle(other_doubts)
    rng.shuffle(other_orphans)
    again = settled(other_doubts, dict(other_orphans), one_receipt=one_receipt)
    assert sorted(again) == sorted(settled(doubts, orphans, one_receipt=one_receipt))


# -- reading ---------------------------------------------------------------------------------------------


names = st.from_regex(r"[0-9a-f]{1,8}-[0-9]{1,6}", fullmatch=True)


@given(
    st.dictionaries(
        st.tuples(
            st.from_regex(r"[0-9]{3,15}", fullmatch=True), names, st.integers(0, 511), st.integers(0, 9)
        ),
        st.integers(0, 2**41),
        max_size=8,
    )
)
def test_what_is_noted_is_read_back(noted: dict[tuple[str, str, int, int], int]) -> None:
    pairs = [each for field, since in noted.items() for each in (doubt_field(*field), b"%d" % since)]
    read = read_doubts(pairs)
    back = {
        (tail, place, part)
        for tail, places in read.items()
        for place, (parts, _) in places.items()
        for part in parts
    }
    assert back == {(to[-6:], f"{block}.{index}", part) for to, block, index, part in noted}
    for places in read.values():
        for _, since in places.values():
            assert since in noted.values()


def test_orphans_are_found_by_the_end_of_either_number_and_count_once() -> None:
    first, again, other = orphan(1), orphan(2), orphan(3, to="0312345678")
    found = by_number([(b"1", [first, again]), (b"2", [other]), (b"3", [])])
    assert found["345678"] == {b"1": first, b"2": other}
    assert found["069000"] == {b"1": first, b"2": other}
    assert set(found) == {"345678", "069000"}


# -- copies of one message -------------------------------------------------------------------------------

COPIES = [doubt("1-1.0", message_id="m"), doubt("1-2.0", since_s=50, message_id="m")]
OTHER = doubt("1-3.0", since_s=60, message_id="n")


@pytest.mark.parametrize("order", [1, -1])
def test_one_receipt_is_of_the_last_copy(order: int) -> None:
    """The first may never have left; whichever it is, the message was taken."""
    (found,) = settled(COPIES[::order], {b"k": orphan(55)})
    assert (found.place, found.key) == ("1-2.0", b"k")


def test_two_receipts_are_of_both_copies() -> None:
    found = settled(COPIES, {b"k": orphan(55), b"l": orphan(56)})
    assert [(each.place, each.key) for each in found] == [("1-2.0", b"k"), ("1-1.0", b"l")]


def test_one_receipt_of_two_messages_is_nobodys_however_many_copies_there_are() -> None:
    assert settled([*COPIES, OTHER], {b"k": orphan(65)}) == []


def test_two_receipts_of_two_messages_may_both_be_of_the_one_that_was_sent_twice() -> None:
    orphans = {b"k": orphan(65), b"l": orphan(66)}
    assert settled([*COPIES, OTHER], orphans) == []
    found = settled([*COPIES, OTHER], {**orphans, b"m": orphan(67)})
    assert {each.place for each in found} == {"1-1.0", "1-2.0", "1-3.0"}


def test_two_receipts_of_a_long_message_sent_twice_may_be_of_one_part() -> None:
    copies = [doubt("1-1.0", 2, message_id="m"), doubt("1-2.0", 2, 50, message_id="m")]
    assert settled(copies, {b"k": orphan(55), b"l": orphan(56)}) == []
    assert len(settled(copies, {key: orphan(55) for key in (b"k", b"l", b"m", b"n")})) == 4
