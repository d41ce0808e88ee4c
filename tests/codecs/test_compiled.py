"""compiled: what its functions read and write is what the layouts say, field by field; else they leave it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.codecs import compiled, pdu
from todoke.codecs import constants as c
from todoke.codecs.errors import CodecError
from todoke.codecs.fields import LAYOUTS, Field, Kind
from todoke_tests_pdus import pdus

COVERED = {
    command_id
    for command_id, layout in LAYOUTS.items()
    if layout and not {field.kind for field in layout} & {Kind.DESTINATIONS, Kind.UNSUCCESSFUL}
}
SUBMIT_SM = pdu.encode(
    pdu.SubmitSm(source_addr=b"Todoke", destination_addr=b"819012345678", short_message=b"hi"), 7
)


def whole(frame: bytes) -> bytes:
    return len(frame).to_bytes(4, "big") + frame[4:]


def outcome(call: Any, *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except CodecError as error:
        return str(error)


def same_when_read(frame: bytes, lenient: bool = False) -> bool:
    """True if the compiled reader covered the frame (and agreed)."""
    command_id, status, sequence_number = (int.from_bytes(frame[at : at + 4], "big") for at in (4, 8, 12))
    patient = outcome(pdu._decode_field_by_field, frame, command_id, status, sequence_number, lenient)
    assert outcome(lambda: pdu.decode(frame, lenient=lenient)) == patient
    reader = pdu._READERS.get(command_id)
    fast = reader(frame, status, sequence_number) if reader else None
    assert fast is None or fast == patient
    return fast is not None


def test_every_layout_without_lists_is_covered():
    assert {command_id for command_id, reader in pdu._READERS.items() if reader} == COVERED
    assert {struct.command_id for struct, writer in pdu._WRITERS.items() if writer} == COVERED


@given(pdus(), st.integers(0, 2**32 - 1), st.sampled_from([0, 0, 0, c.ESME_RSYSERR, 2**32 - 1]))
def test_written_as_field_by_field_and_read_back(message: pdu.Pdu, sequence_number: int, status: int):
    frame = pdu.encode(message, sequence_number, status)
    assert frame == pdu._encode_field_by_field(message, sequence_number, status)
    writer = pdu._WRITERS[type(message)]
    if message.command_id in COVERED:
        assert writer is not None
        assert status or writer(message, sequence_number, status) == frame
    assert same_when_read(frame) == (message.command_id in COVERED and len(frame) > 16)


@given(pdus(), st.data(), st.booleans())
def test_damaged_octets_are_read_the_same(message: pdu.Pdu, data: st.DataObject, lenient: bool):
    frame = bytearray(pdu.encode(message, 7))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(16, max(len(frame), 17) - 1))
        frame[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=20))
    same_when_read(whole(bytes(frame)), lenient)


@given(pdus(), st.data())
def test_any_value_is_written_the_same_or_refused_the_same(message: pdu.Pdu, data: st.DataObject):
    layout = LAYOUTS[message.command_id]
    for field in data.draw(st.lists(st.sampled_from(layout), max_size=2)) if layout else []:
        if field.kind is Kind.INTEGER:
            setattr(message, field.name, data.draw(st.integers(-1, 300)))
        elif field.kind in (Kind.STRING, Kind.TIME, Kind.MESSAGE):
            setattr(
                message, field.name, data.draw(st.binary(max_size=70) | st.binary(min_size=254, max_size=256))
            )
    fast = outcome(pdu.encode, message, 7)
    assert fast == outcome(pdu._encode_field_by_field, message, 7, 0)


STRINGS = [
    (struct, field)
    for struct, writer in pdu._WRITERS.items()
    if writer
    for field in LAYOUTS[struct.command_id]
    if field.kind in (Kind.STRING, Kind.TIME, Kind.MESSAGE)
]


@pytest.mark.parametrize(
    ("struct", "field"), STRINGS, ids=[f"{struct.__name__}.{field.name}" for struct, field in STRINGS]
)
def test_each_string_has_the_same_limits(struct: type[pdu.Pdu], field: Field):
    """One octet below, at and above the limit, and with a NUL inside."""
    empty = pdu.encode(struct(), 7)
    last = field.size - 1 if field.kind is not Kind.MESSAGE else c.SHORT_MESSAGE_OCTETS_MAX
    for octets in (0, 1, last - 1, last, last + 1):
        for value in (b"7" * octets, b"7" * (octets // 2) + b"\0" + b"7" * (octets - octets // 2 - 1)):
            message = struct(**{field.name: value})
            assert outcome(pdu.encode, message, 7) == outcome(pdu._encode_field_by_field, message, 7, 0)
        if field.kind is Kind.MESSAGE:
            frame = empty[:-1] + bytes((octets,)) + b"7" * octets
        else:
            at = pdu.encode(struct(**{field.name: b"7" * last}), 7).index(b"7" * last)
            frame = empty[:at] + b"7" * octets + empty[at:]
        fits = octets in (0, last) if field.kind is Kind.TIME else octets <= last
        # The message's limit is not held against what is read.
        assert same_when_read(whole(frame)) == (fits or field.kind is Kind.MESSAGE)


def test_a_message_cut_off_is_left_to_the_patient_way():
    frame = SUBMIT_SM[:-1]
    assert not same_when_read(whole(frame))
    assert not same_when_read(whole(frame), lenient=True)


@pytest.mark.parametrize("wrap", [bytearray, memoryview])
def test_octets_of_another_type_are_written_the_same(wrap: Any):
    message = pdu.SubmitSm(
        source_addr=wrap(b"Todoke"), destination_addr=wrap(b"819012345678"), short_message=wrap(b"hi")
    )
    assert pdu.encode(message, 7) == SUBMIT_SM


def test_shapes_are_kept_up_to_a_limit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compiled, "SHAPES_MAX", 3)
    reader = compiled.compile_reader(c.SUBMIT_SM, pdu.decode_tlvs)
    writer = compiled.compile_writer(c.SUBMIT_SM, lambda _: b"")
    assert reader is not None
    assert writer is not None
    shapes = [reader.__globals__["shapes"], writer.__globals__["shapes"]]
    sizes = []
    for octets in (1, 2, 3, 3, 4, 5, 6, 7, 1):
        message = pdu.SubmitSm(source_addr=b"1" * octets, sequence_number=7)
        frame = writer(message, 7, 0)
        assert frame is not None
        assert reader(frame, 0, 7) == message
        sizes.append([len(one) for one in shapes])
    assert sizes == [[size, size] for size in (1, 2, 3, 3, 1, 2, 3, 1, 2)]
    # What is beyond a limit is never kept.
    assert writer(pdu.SubmitSm(source_addr=b"1" * 21), 7, 0) is None
    assert all((0, 21, 0, 0, 0, 0) not in one for one in shapes)
