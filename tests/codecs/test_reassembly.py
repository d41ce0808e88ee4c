"""reassembly: parts in any order, twice, mixed, torn and missing; nothing lost, nothing told twice."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from todoke.codecs import constants as c
from todoke.codecs import gsm7, national, pdu, septets, udh
from todoke.codecs.inbound import Inbound, read
from todoke.codecs.reassembly import PART_COST_OCTETS, Assembler, Limits, State, Whole
from todoke.codecs.segment import Rules, fields, segment

DAY = 86_400.0
SCRIPTS = [
    "abcdefghijklmnopqrstuvwxyz ABC.,?",
    "@abc €[]{}\\~^|\r\n",
    "あいうえお日本語、。",
    "hello 😀👍🏽👨‍👩‍👧 é",
    "Привет мир",
    "ığşİçĞŞ abc^€",
    "âãõÊΓ abc{}",
    "नमस्ते दुनिया 12",
    "ا ب پ ت ٹ ابجد",
]


def deliver(short_message: bytes, source: bytes = b"81", to: bytes = b"32", **more: Any) -> pdu.DeliverSm:
    return pdu.DeliverSm(source_addr=source, destination_addr=to, short_message=short_message, **more)


def part(number: int, total: int, data: bytes = b"x", reference: int = 1, **more: Any) -> Inbound:
    header = udh.concat8(reference, total, number)
    return read(deliver(header + data, esm_class=c.ESM_CLASS_UDHI, **more))


def parts_of(
    text: str, rules: Rules, reference: int, ports: udh.Ports | None = None, **more: Any
) -> list[Inbound]:
    """As our own encoder sends it, and the wire brings it back."""
    cut = segment(text, rules, ports)
    found: list[Inbound] = []
    for esm_class, short, tlvs in fields(cut, rules, reference):
        message = deliver(
            short, esm_class=esm_class, data_coding=cut.data_coding, tlvs=pdu.decode_tlvs(tlvs), **more
        )
        back = pdu.decode(pdu.encode(message, 1))
        assert isinstance(back, pdu.DeliverSm)
        found.append(read(back, packed=rules.packed))
    return found


def shuffled(data: st.DataObject, parts: list[Inbound]) -> list[Inbound]:
    """Every part at least once, some more often, in any order."""
    again = data.draw(st.lists(st.sampled_from(parts), max_size=5))
    return data.draw(st.permutations(parts + again))


def told(assembler: Assembler, parts: list[Inbound], now: float = 0.0) -> list[Whole]:
    return [whole for one in parts for whole in assembler.add(one, now)]


# --- whole messages ---------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    st.sampled_from(SCRIPTS),
    st.sampled_from(["udh8", "udh16", "sar"]),
    st.booleans(),
    st.sampled_from([None, udh.Ports(240, 255, 8), udh.Ports(2948, 9200, 16)]),
    st.integers(0, 70_000),
    st.data(),
)
def test_what_we_send_comes_back_once_in_any_order(
    script: str, concat: Any, packed: bool, ports: udh.Ports | None, reference: int, data: st.DataObject
):
    """In every way our encoder has; packed, an @ or CR at an end may be lost, see `inbound.units`."""
    text = data.draw(st.text(script, min_size=200, max_size=700))
    if packed:
        text = text.replace("\r", "r").replace("@", "a")
    languages = tuple(national.LANGUAGES) if data.draw(st.booleans()) else ()
    rules = Rules(concat=concat, parts_max=255, packed=packed, languages=languages)
    parts = parts_of(text, rules, reference, ports)
    assembler = Assembler()
    (whole,) = told(assembler, shuffled(data, parts))
    assert (whole.text, whole.missing, whole.total) == (text, (), len(parts))
    assert (whole.source_addr, whole.destination_addr) == ("81", "32")
    assert (whole.ports and whole.ports[:2]) == (ports and ports[:2])
    assert whole.data == b"".join(one.data for one in parts)
    assert list(whole.parts) == parts
    assert (len(assembler), assembler.octets, assembler.expire(2 * DAY)) == (0, 0, [])


@settings(deadline=None)
@given(st.lists(st.text("abc€", min_size=161, max_size=400), min_size=2, max_size=4), st.data())
def test_senders_with_one_reference_never_mix(texts: list[str], data: st.DataObject):
    """Jasmin bug: parts were put together without looking at who sent them."""
    parts: list[Inbound] = []
    for sender, text in enumerate(texts):
        source, to = ((b"81%d" % sender, b"32"), (b"81", b"32%d" % sender))[sender % 2]
        parts += parts_of(text, Rules(), 7, source=source, to=to)
    wholes = told(Assembler(), shuffled(data, parts))
    assert sorted(whole.text or "" for whole in wholes) == sorted(texts)
    for whole in wholes:
        assert {one.source_addr for one in whole.parts} == {whole.source_addr}
        assert {one.destination_addr for one in whole.parts} == {whole.destination_addr}


def test_the_last_part_may_come_first():
    assembler = Assembler()
    assert assembler.add(part(2, 2, b"world"), 0) == []
    (whole,) = assembler.add(part(1, 2, b"hello "), 5)
    assert whole.text == "hello world"


def test_references_are_apart_by_width_and_total():
    assembler = Assembler()
    for number, (header, total) in enumerate(((udh.concat8, 2), (udh.concat16, 2), (udh.concat8, 3))):
        message = deliver(header(1, total, 1) + b"%d" % number, esm_class=c.ESM_CLASS_UDHI)
        assert assembler.add(read(message), 0) == []
    assert assembler.add(part(1, 2, b"x", reference=2), 0) == []
    assert len(assembler) == 4


def test_a_message_of_one_part_is_told_at_once():
    assembler = Assembler()
    message = read(deliver(b"hi", data_coding=0x10, tlvs=[(c.TAG_DEST_PORT, b"\0\5")]))
    for _ in range(2):  # without a series nothing tells a repeated delivery from a repeated message
        (whole,) = assembler.add(message, 0)
        assert (whole.text, whole.total, whole.missing, whole.parts) == ("hi", 1, (), (message,))
        assert (whole.message_class, whole.ports) == (0, udh.Ports(5, 0, 16))
    (whole,) = assembler.add(part(1, 1, b"yo"), 0)
    assert (whole.text, whole.total) == ("yo", 1)


# --- joined octets ----------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    st.sampled_from(
        [
            ("utf-16-be", 8, b"", "x😀日あ"),
            ("cp932", 5, b"", "日本語あ、"),
            ("euc_kr", 14, b"", "안녕하세요 "),
            ("gsm7", 0, b"", "ab€[]"),
            ("gsm7", 0, b"\x25\x01\x03\x24\x01\x03", "abâãΓ^"),
        ]
    ),
    st.data(),
)
def test_torn_anywhere(way: tuple[str, int, bytes, str], data: st.DataObject):
    """Senders cut through pairs; each part alone shows a broken character, the whole does not."""
    codec, data_coding, shifts, alphabet = way
    text = data.draw(st.text(alphabet, min_size=10, max_size=60))
    if codec == "gsm7":
        octets = national.encode(text, 3, 3) if shifts else gsm7.encode(text)
        assert octets is not None
    else:
        octets = text.encode(codec)
    cuts = sorted(
        {0, *data.draw(st.lists(st.integers(1, len(octets) - 1), min_size=1, max_size=6)), len(octets)}
    )
    pieces = [octets[start:end] for start, end in pairwise(cuts)]
    parts: list[Inbound] = []
    for number, piece in enumerate(pieces, 1):
        body = bytes((udh.IEI_CONCAT_8, 3, 9, len(pieces), number)) + shifts
        header = bytes((len(body),)) + body
        message = deliver(header + piece, esm_class=c.ESM_CLASS_UDHI, data_coding=data_coding)
        parts.append(read(message))
    (whole,) = told(Assembler(), shuffled(data, parts))
    assert whole.text == text


@settings(deadline=None)
@given(st.text("abc€\r\n", min_size=161, max_size=700), st.sampled_from([b"\0", b"\r"]), st.data())
def test_packed_parts(text: str, padding: bytes, data: st.DataObject):
    """Zeros or CR in the bits to spare of a part that had to leave a pair to the next."""
    rules = Rules(parts_max=255)
    text = text.replace("\r", "") + "a"
    cut = segment(text, rules)
    parts: list[Inbound] = []
    for number, septets_ in enumerate(cut.parts, 1):
        header = udh.concat8(1, len(cut.parts), number)
        fill = septets.fill_bits(len(header))
        room = (7 * len(septets_) + fill) % 8 == 1
        packed = septets.pack(septets_ + padding if room else septets_, fill)
        parts.append(read(deliver(header + packed, esm_class=c.ESM_CLASS_UDHI), packed=True))
    (whole,) = told(Assembler(), shuffled(data, parts))
    assert whole.text == text


def test_each_part_in_its_own_alphabet():
    parts = [
        part(1, 4, b"\x1be"),
        part(2, 4, b"\x65\xe5", data_coding=8),
        part(3, 4, b"\x67\x2c", data_coding=0x18),
        part(4, 4, b"\xe9", data_coding=3),
    ]
    (whole,) = told(Assembler(), parts)
    assert whole.text == "€日本é"


def test_the_whole_is_better_evidence_than_its_parts():
    octets = "да".encode("utf-16-be")
    parts = [part(1, 2, octets[:4]), part(2, 2, "нет".encode("utf-16-be")[:2])]
    assert [one.sniffed for one in parts] == [False, False]
    (whole,) = told(Assembler(), parts)
    assert whole.text == "дан"


def test_a_binary_part_makes_the_message_binary():
    (whole,) = told(Assembler(), [part(1, 2, b"hi"), part(2, 2, b"\1\2", data_coding=4)])
    assert (whole.text, whole.data) == (None, b"hi\1\2")
    assert [one.text for one in whole.parts] == ["hi", None]


def test_pairs_are_not_put_together_over_a_missing_part():
    assembler = Assembler()
    told(assembler, [part(1, 3, b"a\x1b"), part(3, 3, b"e")])
    (whole,) = assembler.expire(DAY)
    assert (whole.text, whole.missing) == ("ae", (2,))


def test_the_first_part_says_what_it_is_for():
    ports = udh.build([(0, b"\1\2\1"), udh.ports16(2948, 9200)])
    first = read(deliver(ports + b"a", esm_class=c.ESM_CLASS_UDHI, data_coding=0x11))
    (whole,) = told(Assembler(), [part(2, 2, b"b"), first])
    assert (whole.ports, whole.message_class) == (udh.Ports(2948, 9200, 16), 1)


# --- again, anew and too late -----------------------------------------------------------------------------


def test_a_part_delivered_again_is_ignored_for_a_while():
    assembler = Assembler(Limits(repeat_s=10))
    parts = [part(1, 2, b"a"), part(2, 2, b"b")]
    assert len(told(assembler, [*parts, *parts], 0)) == 1
    assert told(assembler, parts, 9.9) == []
    (whole,) = told(assembler, parts, 10.0)
    assert whole.text == "ab"


@pytest.mark.parametrize("other", [part(1, 2, b"c"), part(1, 2, b"a", data_coding=3)])
def test_a_reference_used_anew_ends_the_old_message(other: Inbound):
    assembler = Assembler()
    first = part(1, 2, b"a")
    assert assembler.add(first, 0) == []
    (old,) = assembler.add(other, 1)
    assert (old.text, old.missing) == ("a", (2,))
    assert assembler.add(first, 2) == []  # known
    (new,) = assembler.add(part(2, 2, b"d"), 3)
    assert (new.parts[0], new.missing) == (other, ())


def test_another_header_is_another_part():
    assembler = Assembler()
    assembler.add(part(1, 2, b"a"), 0)
    header = udh.build([(0, b"\1\2\1"), (0x24, b"\1")])
    assert len(assembler.add(read(deliver(header + b"a", esm_class=c.ESM_CLASS_UDHI)), 0)) == 1


def test_a_message_waits_for_its_next_part():
    assembler = Assembler(Limits(ttl_s=100))
    assert assembler.next_deadline() is None
    assembler.add(part(1, 3), 0)
    assembler.add(part(1, 2, reference=2), 50)
    assert assembler.next_deadline() == 100
    assembler.add(part(2, 3), 90)
    assembler.add(part(2, 3), 120)  # a repeated one is no progress
    assert assembler.next_deadline() == 150
    assert assembler.expire(149.9) == []
    (whole,) = assembler.expire(150)
    assert (whole.total, whole.missing) == (2, (2,))
    (whole,) = assembler.expire(190)
    assert (whole.total, whole.missing, [one.concat for one in whole.parts]) == (
        3,
        (3,),
        [(1, 3, 1), (1, 3, 2)],
    )
    assert assembler.next_deadline() is None


def test_a_late_part_is_told_alone():
    assembler = Assembler(Limits(ttl_s=100))
    assembler.add(part(1, 2, b"a"), 0)
    assert [whole.text for whole in assembler.expire(100)] == ["a"]
    assert assembler.add(part(2, 2, b"b"), 101) == []
    (whole,) = assembler.expire(201)
    assert (whole.text, whole.missing) == ("b", (1,))


def test_a_clock_set_back_turns_no_order_round():
    assembler = Assembler(Limits(ttl_s=100))
    assembler.add(part(1, 2), 1000)
    assembler.add(part(1, 2, reference=2), 0)
    assert assembler.expire(50) == []
    assert len(assembler.expire(1100)) == 2
    assembler.add(part(1, 2, reference=3), 2000)
    assembler = Assembler(Limits(ttl_s=100), assembler.state())
    assembler.add(part(1, 2, reference=4), 0)
    assert len(assembler.expire(2100)) == 2


# --- limits -----------------------------------------------------------------------------------------------


def test_too_many_messages_of_one_sender():
    assembler = Assembler(Limits(series_per_sender_max=2))
    assembler.add(part(1, 3, b"a", reference=1), 0)
    assembler.add(part(1, 3, b"b", reference=2), 0)
    assembler.add(part(2, 3, b"c", reference=1), 0)  # the second has waited longer now
    assembler.add(part(1, 3, b"other", reference=1, source=b"99"), 0)
    (whole,) = assembler.add(part(1, 3, b"d", reference=3), 0)
    assert (whole.text, whole.missing) == ("b", (2, 3))
    assert len(assembler) == 3


def test_too_many_messages():
    assembler = Assembler(Limits(series_max=2))
    for sender in (b"1", b"2"):
        assembler.add(part(1, 2, sender, source=sender), 0)
    (whole,) = assembler.add(part(1, 2, b"3", source=b"3"), 0)
    assert (whole.source_addr, whole.text) == ("1", "1")
    assert assembler.add(part(2, 2, b"3", source=b"3"), 0)[0].text == "33"


def test_too_many_octets():
    assembler = Assembler(Limits(octets_max=2 * (PART_COST_OCTETS + 106)))
    for sender in (b"1", b"2"):
        assert assembler.add(part(1, 2, bytes(100), source=sender), 0) == []
    assert assembler.octets == 2 * (1_000 + 106)
    (whole,) = assembler.add(part(1, 2, b"", source=b"3"), 0)
    assert whole.source_addr == "1"
    first, second = assembler.add(part(1, 3, bytes(3000), source=b"4"), 0), len(assembler)
    assert [whole.source_addr for whole in first] == ["2", "3", "4"]
    assert (second, assembler.octets) == (0, 0)


def test_too_many_known_parts():
    assembler = Assembler(Limits(told_max=2))
    parts = [part(1, 2, b"a"), part(2, 2, b"b")]
    others = [part(1, 2, b"c", reference=2), part(2, 2, b"d", reference=2)]
    told(assembler, parts)
    assert told(assembler, parts) == []
    assert len(assembler) == 0
    assert len(told(assembler, others)) == 1
    assert told(assembler, others) == []
    assert len(told(assembler, parts)) == 1  # forgotten, so told again


def test_limits_can_be_as_low_as_one_and_are_given_by_name():
    lowest = Limits(ttl_s=0.5, repeat_s=1, told_max=1, series_per_sender_max=1, series_max=1, octets_max=1)
    assert Assembler(lowest).next_deadline() is None
    with pytest.raises(TypeError):
        Limits(60.0)  # type: ignore[call-arg]  # which is the test


@pytest.mark.parametrize("name", Limits.__struct_fields__)
def test_limits_are_positive(name: str):
    for wrong in (0, -1, float("nan")):
        with pytest.raises(ValueError, match=name):
            Limits(**dict[str, Any]({name: wrong}))


def test_no_text_and_no_address_in_a_repr():
    assembler = Assembler()
    assembler.add(part(1, 2, b"secret"), 0)
    state = assembler.state()
    (whole,) = assembler.expire(DAY)
    for shown in (repr(state), repr(whole)):
        assert "secret" not in shown
        assert "81" not in shown
    assert repr(whole) == "Whole(octets=6, total=2, missing=(2,))"
    assert repr(state.series) == "[Series(total=2, numbers=[1])]"


def test_nothing_is_kept_of_a_sender_whose_messages_are_told():
    assembler = Assembler()
    told(assembler, [part(1, 2), part(1, 2, reference=2), part(2, 2), part(2, 2, reference=2)])
    assert (len(assembler), assembler.octets, assembler._of_sender) == (0, 0, {})


def test_the_oldest_known_part_is_forgotten_first():
    assembler = Assembler(Limits(repeat_s=10))
    first, second = part(1, 1, b"a"), part(1, 1, b"b", reference=2)
    assert len(told(assembler, [first], 0)) == len(told(assembler, [second], 5)) == 1
    assert told(assembler, [second], 12) == []
    assert len(told(assembler, [first], 12)) == 1


def test_a_zero_before_a_pair_held_back_is_padding_when_joined():
    octets = [b"a" * 152 + b"\0", b"\x1be"]
    parts: list[Inbound] = []
    for number, one in enumerate(octets, 1):
        header = udh.concat8(1, 2, number)
        packed = septets.pack(one, septets.fill_bits(len(header)))
        parts.append(read(deliver(header + packed, esm_class=c.ESM_CLASS_UDHI), packed=True))
    (whole,) = told(Assembler(), parts)
    assert whole.text == "a" * 152 + "€"


# --- rebuilt ----------------------------------------------------------------------------------------------


def test_a_rebuilt_assembler_goes_on():
    limits = Limits(ttl_s=100, series_per_sender_max=2)
    one = Assembler(limits)
    told(
        one,
        [part(1, 2, b"a"), part(2, 2, b"b"), part(1, 3, b"c", reference=2), part(1, 2, b"d", reference=3)],
        5,
    )
    stored = msgspec.msgpack.encode(one.state())
    two = Assembler(limits, msgspec.msgpack.decode(stored, type=State))
    assert (len(two), two.octets, two.next_deadline()) == (len(one), one.octets, 105)
    assert two.state() == one.state()
    assert two.add(part(1, 2, b"a"), 6) == []
    assert [whole.text for whole in two.add(part(2, 2, b"e", reference=3), 6)] == ["de"]
    two.add(part(2, 3, b"f", reference=2), 7)
    two.add(part(1, 2, b"g", reference=4), 7)
    assert [whole.text for whole in two.add(part(1, 2, b"h", reference=5), 7)] == ["cf"]
    assert len(one) == 2  # a state is a copy
    assert one.expire(104) == []


def test_a_rebuilt_assembler_knows_how_late_it_is():
    one = Assembler(Limits(ttl_s=100))
    one.add(part(1, 2, reference=1), 0)
    one.add(part(1, 2, reference=2), 90)
    two = Assembler(Limits(ttl_s=100), one.state())
    two.add(part(1, 3, reference=3), 1)  # a clock that was set back
    assert [series.touched for series in two.state().series] == [0, 90, 90]


def test_a_state_does_not_change_with_its_assembler():
    assembler = Assembler()
    assembler.add(part(1, 3), 0)
    state = assembler.state()
    assembler.add(part(2, 3), 0)
    Assembler(None, state).add(part(3, 3), 0)
    assert [sorted(series.parts) for series in state.series] == [[1]]


class Parts(RuleBasedStateMachine):
    """Whatever comes: each different part is told exactly once, or held; and limits are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = Limits(
            ttl_s=50, repeat_s=40, series_per_sender_max=2, series_max=4, octets_max=8 * PART_COST_OCTETS
        )
        self.assembler = Assembler(self.limits)
        self.now = 0.0
        self.held: set[tuple[Any, ...]] = set()
        self.told_at: dict[tuple[Any, ...], float] = {}

    def name(self, one: Inbound) -> tuple[Any, ...]:
        return one.source_addr, one.concat, one.reference_bits, one.data_coding, one.data

    def hear(self, wholes: list[Whole]) -> None:
        for whole in wholes:
            assert len(whole.parts) + len(whole.missing) == whole.total
            assert len({(one.source_addr, one.concat[:2]) for one in whole.parts if one.concat}) == 1
            for one in whole.parts:
                self.held.remove(self.name(one))
                self.told_at[self.name(one)] = self.now

    @rule(
        source=st.sampled_from([b"1", b"2", b"3"]),
        reference=st.integers(0, 2),
        total=st.integers(1, 3),
        number=st.integers(1, 3),
        content=st.sampled_from([b"a", b"b", b""]),
        data_coding=st.sampled_from([0, 8]),
    )
    def add(
        self, source: bytes, reference: int, total: int, number: int, content: bytes, data_coding: int
    ) -> None:
        one = part(min(number, total), total, content, reference, source=source, data_coding=data_coding)
        name = self.name(one)
        known_at = self.told_at.get(name)
        if name not in self.held and (known_at is None or known_at + self.limits.repeat_s <= self.now):
            self.held.add(name)
        self.hear(self.assembler.add(one, self.now))

    @rule(seconds=st.integers(1, 60))
    def wait(self, seconds: int) -> None:
        self.now += seconds
        deadline = self.assembler.next_deadline()
        wholes = self.assembler.expire(self.now)
        assert bool(wholes) == (deadline is not None and deadline <= self.now)
        self.hear(wholes)

    @rule()
    def restart(self) -> None:
        stored = msgspec.msgpack.encode(self.assembler.state())
        self.assembler = Assembler(self.limits, msgspec.msgpack.decode(stored, type=State))

    @invariant()
    def nothing_is_lost_and_limits_are_kept(self) -> None:
        state = self.assembler.state()
        assert {self.name(one) for series in state.series for one in series.parts.values()} == self.held
        assert len(state.series) == len(self.assembler) <= self.limits.series_max
        assert self.assembler.octets <= self.limits.octets_max
        senders = [series.key.source_addr for series in state.series]
        assert all(senders.count(sender) <= self.limits.series_per_sender_max for sender in senders)

    def teardown(self) -> None:
        self.now += 1000
        self.hear(self.assembler.expire(self.now))
        assert not self.held
        assert (len(self.assembler), self.assembler.octets) == (0, 0)


Parts.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestParts = Parts.TestCase


@settings(deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 255), st.integers(0, 255)), max_size=12))
def test_any_octets(messages: list[tuple[bytes, int, int]]):
    """Every octet that went in comes out, whatever it was."""
    assembler = Assembler(Limits(series_max=3))
    parts = [read(deliver(data, esm_class=esm, data_coding=coding)) for data, esm, coding in messages]
    wholes = told(assembler, parts) + assembler.expire(DAY)
    heard = [one for whole in wholes for one in whole.parts]
    assert all(one in heard for one in parts)
    assert all(one in parts for one in heard)
