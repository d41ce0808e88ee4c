"""What receipts change: in whatever order and however often, a message is told once, and rightly."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.codecs.receipt import Receipt
from todoke.engine.ledger.events import Told
from todoke.engine.receipts import fields
from todoke.engine.receipts.correlation import CLOSED, Batch, read_table
from todoke.engine.receipts.fields import Origin

NOW_MS = 1_800_000_000_000
WORDS = ["delivered", "expired", "deleted", "undeliverable", "rejected", "skipped"]
INTERMEDIATE = ["accepted", "unknown", "enroute"]
REPORT = {
    "delivered": "delivered",
    "expired": "expired",
    "deleted": "undeliverable",
    "undeliverable": "undeliverable",
    "rejected": "rejected",
    "skipped": "undeliverable",
}


def receipt(message_id: str, state: str, to: str = "819000345678", err: str = "001") -> Receipt:
    return Receipt(message_id, state.upper()[:7], state, err, None, (), to, "0032069000", "")


class Index:
    """The index and the tables between batches, as the store would hold them."""

    def __init__(self, one_receipt: bool = False) -> None:
        self.values: dict[bytes, bytes] = {}
        self.tables: dict[str, bytes] = {}
        self.told: list[Told] = []
        self.one_receipt = one_receipt
        self.repeated = 0
        self.contested: list[int] = []
        self.now_ms = NOW_MS

    def sent(self, key: str, **origin: Any) -> None:
        made: dict[str, Any] = {
            "block_id": "1-1",
            "index": 0,
            "part": 0,
            "parts": 1,
            "app": "default",
            "ref": None,
        }
        value = fields.new_value(Origin(**{**made, "destination": "345678", **origin}), self.now_ms // 1000)
        before = self.values.get(key.encode())
        self.values[key.encode()] = fields.joined([*fields.candidates(before), value]) if before else value

    def receive(self, *receipts: Receipt, exact: bool = True) -> list[int]:
        batch = Batch("docomo", self.now_ms, self.one_receipt)
        keys = [each.message_id.encode() for each in receipts]
        found = [self.values.get(key) for key in keys]
        if exact:
            # What says DELIVRD comes unread, as the stage hands it over.
            unread = [None if each.state == "delivered" else each for each in receipts]
            frames = [b"\x05\0%s\0" % each.source_addr.encode() for each in receipts]
            missed = batch.apply_all(keys, unread, found, frames, receipts.__getitem__)
        else:
            missed = [
                place
                for place, (key, each, value) in enumerate(zip(keys, receipts, found, strict=True))
                if not batch.apply(key, each, value, exact=False)
            ]
        self._take(batch)
        self.contested = batch.contested
        return missed

    def time_out(self, key: str, since_max_s: int | None = None) -> None:
        batch = Batch("docomo", self.now_ms, self.one_receipt)
        limit = self.now_ms // 1000 if since_max_s is None else since_max_s
        batch.time_out(key.encode(), self.values[key.encode()], limit)
        self._take(batch)

    def _take(self, batch: Batch) -> None:
        batch.multi = {
            batch.message_id(origin): self.tables.get(batch.message_id(origin)) for origin, *_ in batch.long
        }
        batch.finish_long()
        self.values |= batch.changed
        self.tables |= batch.changed_multi
        self.repeated += batch.repeated
        for told in batch.events.values():
            self.told += told

    def say(self) -> list[tuple[str, str]]:
        said, self.told = [(each.kind, each.state) for each in self.told], []
        return said


@pytest.mark.parametrize("state", WORDS)
def test_a_final_receipt_is_a_report(state: str) -> None:
    index = Index()
    index.sent("a", ref="order-7")
    assert index.receive(receipt("a", state)) == []
    (told,) = index.told
    assert (told.kind, told.state, told.ref, told.carrier) == ("report", REPORT[state], "order-7", "docomo")
    assert told.message_id == "docomo.1-1.0"
    assert told.delivered_parts == (state == "delivered")
    assert told.error == (None if state == "delivered" else ("network", None, "001"))


@pytest.mark.parametrize("state", INTERMEDIATE)
def test_an_intermediate_one_tells_nothing_and_does_not_undo_a_final_one(state: str) -> None:
    index = Index()
    index.sent("a")
    index.receive(receipt("a", state))
    assert index.say() == []
    index.receive(receipt("a", "delivered"), receipt("a", state))
    assert index.say() == [("report", "delivered")]
    index.receive(receipt("a", state))
    assert index.say() == []


def test_delivered_after_another_final_is_a_correction_and_only_that() -> None:
    index = Index()
    index.sent("a")
    for state, said in [
        ("expired", [("report", "expired")]),
        ("undeliverable", []),
        ("delivered", [("correction", "delivered")]),
        ("rejected", []),
        ("delivered", []),
    ]:
        index.receive(receipt("a", state))
        assert index.say() == said


def test_no_receipt_in_time_is_unknown_and_can_be_corrected() -> None:
    index = Index()
    index.sent("a")
    index.time_out("a")
    (told,) = index.told
    assert (told.state, told.error) == ("unknown", ("no_receipt", None, None))
    index.say()
    index.time_out("a")
    assert index.say() == []
    index.receive(receipt("a", "delivered"))
    assert index.say() == [("correction", "delivered")]


def test_a_time_out_is_for_those_that_waited_long_enough() -> None:
    """An id was given twice; only the first message's time is over."""
    index = Index()
    index.sent("a", block_id="1-1")
    index.now_ms += 60_000
    index.sent("a", block_id="1-2")
    index.time_out("a", NOW_MS // 1000)
    assert [told.message_id for told in index.told] == ["docomo.1-1.0"]


def test_an_unknown_id_is_missed() -> None:
    index = Index()
    index.sent("a")
    assert index.receive(receipt("b", "delivered"), receipt("a", "delivered")) == [0]


def test_another_form_of_the_id_needs_the_same_destination() -> None:
    index = Index()
    index.sent("a")
    assert index.receive(receipt("a", "delivered", to="819000111111"), exact=False) == [0]
    assert index.say() == []
    assert index.receive(receipt("a", "delivered", to="09000345678"), exact=False) == []
    assert index.say() == [("report", "delivered")]


@pytest.mark.parametrize("state", ["delivered", "undeliverable"])
def test_an_id_with_another_number_is_contested(state: str) -> None:
    index = Index()
    index.sent("a")
    assert index.receive(receipt("a", state, to="819000111111")) == []
    assert (index.contested, index.say()) == ([0], [])
    assert index.receive(receipt("a", state)) == []
    assert (index.contested, index.say()) == ([], [("report", state)])


def test_addresses_that_were_not_swapped_fit_as_well() -> None:
    index = Index()
    index.sent("a")
    swapped = receipt("a", "delivered")
    swapped.source_addr, swapped.destination_addr = swapped.destination_addr, swapped.source_addr
    assert index.receive(swapped, exact=False) == []


def test_of_two_messages_with_one_id_the_destination_decides() -> None:
    index = Index()
    index.sent("a", block_id="1-1", destination="111111")
    index.sent("a", block_id="1-2", destination="222222")
    index.receive(receipt("a", "delivered", to="81222222"))
    assert [told.message_id for told in index.told] == ["docomo.1-2.0"]
    assert index.receive(receipt("a", "delivered", to="81333333")) == [0]
    index.receive(receipt("a", "expired", to="81111111"), receipt("a", "delivered", to="81222222"))
    assert [(told.message_id, told.state) for told in index.told[1:]] == [("docomo.1-1.0", "expired")]


def test_of_two_messages_to_one_destination_the_older_is_first() -> None:
    index = Index()
    index.sent("a", block_id="1-1")
    index.sent("a", block_id="1-2")
    index.receive(receipt("a", "delivered"), receipt("a", "expired"))
    assert [(told.message_id, told.state) for told in index.told] == [
        ("docomo.1-1.0", "delivered"), ("docomo.1-2.0", "expired"),
    ]  # fmt: skip


def test_the_worst_part_counts_and_its_error_code_is_not_anothers() -> None:
    index = Index()
    for part in range(3):
        index.sent(f"p{part}", part=part, parts=3)
    index.receive(receipt("p1", "undeliverable", err="005"))
    index.receive(receipt("p0", "delivered", err="000"))
    index.receive(receipt("p2", "delivered", err="000"))
    (told,) = index.told
    assert (told.state, told.parts, told.delivered_parts) == ("undeliverable", 3, 2)
    assert told.error == ("network", None, None)


def test_one_receipt_may_stand_for_all_parts() -> None:
    index = Index(one_receipt=True)
    for part in range(3):
        index.sent(f"p{part}", part=part, parts=3)
    index.receive(receipt("p2", "delivered"))
    assert index.say() == [("report", "delivered")]
    index.receive(receipt("p0", "undeliverable"))
    assert index.say() == []
    assert index.tables == {"docomo.1-1.0": b"DDD"}


def test_a_closed_message_is_told_only_if_all_of_it_was_delivered_after_all() -> None:
    index = Index()
    index.tables["docomo.1-1.0"] = CLOSED
    for part in range(2):
        index.sent(f"p{part}", part=part, parts=2)
    index.receive(receipt("p0", "expired"))
    assert index.say() == []
    index.receive(receipt("p1", "delivered"))
    assert index.say() == []
    index.receive(receipt("p0", "delivered"))
    assert index.say() == [("correction", "delivered")]


def test_a_damaged_table_is_read_as_none() -> None:
    assert read_table(b"DD", 3) == (False, b"000")
    assert read_table(b"!", 2) == (True, b"00")
    assert read_table(b"!DD", 2) == (True, b"DD")
    assert read_table(None, 1) == (False, b"0")


# -- properties ------------------------------------------------------------------------------------------

Arrival = tuple[int, str]
"""Which copy of which part, and its state."""


def arrivals(parts: int, copies: int) -> st.SearchStrategy[list[Arrival]]:
    return st.lists(
        st.tuples(st.integers(0, parts * copies - 1), st.sampled_from(WORDS + INTERMEDIATE)), max_size=14
    )


@given(st.data(), st.integers(1, 4), st.integers(1, 2))
def test_told_once_and_only_corrected_to_delivered(data: st.DataObject, parts: int, copies: int) -> None:
    index = Index()
    for copy in range(copies):
        for part in range(parts):
            index.sent(
                f"{copy}.{part}", part=part, parts=parts, block_id=f"1-{copy}",
                message_id="docomo.1-0.0" if copies > 1 else "", doubled=copies > 1,
            )  # fmt: skip
    said: list[tuple[str, str]] = []
    for number, state in data.draw(arrivals(parts, copies)):
        copy, part = divmod(number, parts)
        index.receive(receipt(f"{copy}.{part}", state))
        said += index.say()
    kinds = [kind for kind, _ in said]
    assert kinds in ([], ["report"], ["report", "correction"])
    if kinds == ["report", "correction"]:
        assert said[1] == ("correction", "delivered")
        assert said[0][1] != "delivered"


@given(st.data(), st.integers(1, 4), st.randoms(use_true_random=False))
def test_neither_order_nor_repetition_matters_when_each_part_has_one_final_state(
    data: st.DataObject, parts: int, rng: random.Random
) -> None:
    finals = data.draw(st.lists(st.sampled_from(WORDS), min_size=parts, max_size=parts))
    stream = [receipt(f"p{part}", state) for part, state in enumerate(finals)]
    stream += [receipt(f"p{rng.randrange(parts)}", rng.choice(INTERMEDIATE)) for _ in range(rng.randrange(4))]
    stream += rng.choices(stream[:parts], k=rng.randrange(5))
    outcomes = []
    for _ in range(3):
        rng.shuffle(stream)
        index = Index()
        for part in range(parts):
            index.sent(f"p{part}", part=part, parts=parts)
        rest = list(stream)
        while rest:
            cut = rng.randint(1, len(rest))
            index.receive(*rest[:cut])
            rest = rest[cut:]
        states = {key: fields.REPORT_STATES[value[0]] for key, value in index.values.items()}
        outcomes.append((index.say(), states, index.tables))
    assert outcomes[0] == outcomes[1] == outcomes[2]
    worst = max(finals, key=lambda state: fields.SEVERITY[fields.STATE_OCTETS[state]])
    assert outcomes[0][0] == [("report", REPORT[worst])]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(WORDS + INTERMEDIATE)), max_size=12))
def test_the_fast_loop_decides_as_the_patient_one(stream: list[tuple[str, str]]) -> None:
    fast, patient = Index(), Index()
    for index in (fast, patient):
        index.sent("a")
        index.sent("b", index=1, part=1, parts=2)
        index.sent("c", index=2, doubled=True, message_id="docomo.1-0.9")
    fast.receive(*(receipt(key, state) for key, state in stream))
    for key, state in stream:
        patient.receive(receipt(key, state), exact=False)
    assert Counter(fast.say()) == Counter(patient.say())
    assert fast.values == patient.values
    assert fast.tables == patient.tables
