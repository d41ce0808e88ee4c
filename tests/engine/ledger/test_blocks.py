"""Blocks and journals: truth is a fold, and telling a fact twice changes nothing."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.engine.ledger import blocks
from todoke.engine.ledger.blocks import Block, Entry, Extra, Record

records = st.builds(
    lambda grant, sent, ended: Record(
        blocks.FORMAT,
        1,
        grant,
        [i for i, _, _ in sent],
        [p for _, p, _ in sent],
        [d for _, _, d in sent],
        ended,
    ),
    st.integers(-1, 8),
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 2), st.sampled_from(["a", "b", ""])), max_size=4),
    st.lists(
        st.tuples(
            st.integers(0, 7),
            st.sampled_from([1, 2, 3, 4, 5, 8]),
            st.just(0),
            st.sampled_from(["c.1-1.0", "c.1-2.1"]),
        ),
        max_size=3,
    ),
)
journals = st.lists(records, max_size=6)


def fold(journal: list[Record]) -> blocks.Progress:
    return blocks.fold([blocks.encode(record) for record in journal])


@given(journals)
def test_a_journal_told_twice_is_the_same_journal(journal: list[Record]) -> None:
    assert fold(journal + journal) == fold(journal)


@given(journals, st.data())
def test_a_record_written_again_at_once_changes_nothing(journal: list[Record], data: st.DataObject) -> None:
    if journal:
        place = data.draw(st.integers(0, len(journal) - 1))
        assert fold([*journal[: place + 1], *journal[place:]]) == fold(journal)


@given(journals, st.integers(0, 7), st.integers(0, 2))
def test_the_first_telling_of_a_part_stands(journal: list[Record], index: int, part: int) -> None:
    before = fold(journal).sent.get((index, part))
    after = fold([*journal, Record(blocks.FORMAT, 2, -1, [index], [part], ["late"])]).sent[index, part]
    assert after == ("late" if before is None else before)


def test_an_end_stands_and_a_place_moves_on() -> None:
    def ended(*facts: tuple[int, int, int, str]) -> Record:
        return Record(blocks.FORMAT, 1, -1, ended=list(facts))

    progress = fold(
        [
            ended((0, blocks.MOVED, 88, "c.1-r1.0"), (1, blocks.EXPIRED, 0, "")),
            ended(
                (0, blocks.MOVED, 88, "c.1-r2.3"),
                (1, blocks.CANCELLED, 0, ""),
                (0, blocks.ALSO, 0, "c.1-r1.0"),
            ),
            ended((0, blocks.FAILED, 11, "")),
        ]
    )
    assert progress.ended == {0: (blocks.MOVED, 88, "c.1-r2.3"), 1: (blocks.EXPIRED, 0, "")}
    assert progress.also == {0: ["c.1-r1.0"]}


def test_the_last_grant_counts_because_a_clean_stop_lowers_it() -> None:
    assert fold([Record(1, 1, 0), Record(1, 1, 5), Record(1, 1, -1), Record(1, 1, 3)]).grant == 3


def test_without_part_numbers_every_part_is_the_first() -> None:
    assert fold([Record(1, 1, 2, [0, 1], [], ["a", "b"])]).sent == {(0, 0): "a", (1, 0): "b"}


@given(
    st.lists(
        st.none()
        | st.builds(
            Entry,
            to=st.text("0123456789", max_size=15), sender=st.text(max_size=5), text=st.text(max_size=20),
            ref=st.none() | st.text(max_size=5), parts=st.integers(1, 255), expires_ms=st.integers(0, 2**50),
            reference=st.integers(0, 65_535),
            extra=st.none() | st.builds(Extra, pending=st.none() | st.lists(st.integers(0, 254))),
        ),
        max_size=5,
    )
)  # fmt: skip
def test_a_block_is_read_as_it_was_written(entries: list[Entry | None]) -> None:
    block = Block(blocks.FORMAT, "1-1", "normal", "default", "", 5, entries)
    assert blocks.decode_block(blocks.encode(block)) == block


@given(st.binary(max_size=60))
def test_garbage_is_a_typed_error(data: bytes) -> None:
    for decode in (blocks.decode_block, blocks.decode_record):
        try:
            decode(data)
        except blocks.StoredShapeError:
            continue


def test_another_format_is_refused_not_guessed() -> None:
    block = Block(blocks.FORMAT + 1, "1-1", "normal", "default", "", 5, [])
    with pytest.raises(blocks.StoredShapeError, match="format 2"):
        blocks.decode_block(blocks.encode(block))
    with pytest.raises(blocks.StoredShapeError, match="format 2"):
        blocks.decode_record(blocks.encode(Record(blocks.FORMAT + 1, 1, 0)))


def test_a_record_of_an_older_engine_without_its_last_fields_is_read() -> None:
    assert blocks.decode_record(msgspec.msgpack.encode([1, 7, 5])) == Record(1, 7, 5)


def test_an_entry_of_an_older_engine_without_the_newest_extras_is_read() -> None:
    old = msgspec.msgpack.encode(
        [1, "1-1", "normal", "default", "", 5, [["81", "", "a", None, 1, 0, 0, ["id", True]]]]
    )
    (entry,) = blocks.decode_block(old).entries
    assert entry is not None
    assert entry.extra == Extra("id", True)


def test_plain_ids_are_those_of_blocks_that_are_nothing_but_sent() -> None:
    def plain(*journal: Record) -> list[str] | None:
        return blocks.plain_ids([blocks.encode(record) for record in journal])

    begin, sent = Record(1, 1, 0), Record(1, 1, 2, [0, 1], [], ["a", "b"])
    assert plain(begin, sent) == ["a", "b"]
    assert plain(begin) is None
    assert plain(begin, Record(1, 1, 2, [0], [], ["a"])) is None
    assert plain(begin, Record(1, 1, 2, [0, 1], [], ["a", ""])) is None
    assert plain(begin, Record(1, 1, 2, [0, 1], [0, 0], ["a", "b"])) is None
    assert plain(begin, sent, Record(1, 1, -1, ended=[(0, blocks.CANCELLED, 0, "")])) is None
    assert plain(begin, sent, Record(1, 1, -1, [0], [0], ["late"])) is None


@pytest.mark.parametrize(
    "value", ["", "a", "a.b", "a.b.", ".b.1", "a..1", "a.b.c", "a.b.-1", "a.b.99999", "a.b.1.5x"]
)
def test_what_is_no_message_id_is_a_value_error(value: str) -> None:
    with pytest.raises(ValueError, match=r"message id|unpack"):
        blocks.split_message_id(value)


def test_a_message_id_names_where_it_was_accepted() -> None:
    assert blocks.split_message_id(blocks.message_id("docomo", "1-2", 3)) == ("docomo", "1-2", 3)
    moved = Entry("81", "", "a", None, 1, extra=Extra(message_id="au.1-9.0"))
    assert blocks.message_id("docomo", "1-2", 3, moved) == "au.1-9.0"
