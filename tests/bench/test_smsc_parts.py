from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.bench.smsc_parts import read_data, read_submit, read_submits
from todoke.codecs import framing
from todoke.codecs.constants import (
    ESME_RINVDSTADR,
    ESME_RINVTLVSTREAM,
    TAG_MESSAGE_PAYLOAD,
    TAG_USER_MESSAGE_REFERENCE,
)
from todoke.codecs.pdu import DataSm, SubmitSm, encode

octet = st.integers(0, 255)
string = st.binary(max_size=20).map(lambda value: value.replace(b"\0", b"x"))
times = st.sampled_from([b"", b"000001000000000R"])
tlvs = st.lists(
    st.sampled_from([(TAG_MESSAGE_PAYLOAD, b"\1\2"), (TAG_USER_MESSAGE_REFERENCE, b"\0\7"), (0x1500, b"")]),
    max_size=2,
)


@given(
    st.builds(
        SubmitSm,
        service_type=st.sampled_from([b"", b"CMT", b"USSD"]),
        source_addr_ton=octet,
        source_addr_npi=octet,
        source_addr=string,
        dest_addr_ton=octet,
        dest_addr_npi=octet,
        destination_addr=string.filter(bool),
        esm_class=octet.map(lambda value: value & ~0x40),
        protocol_id=octet,
        priority_flag=st.integers(0, 3),
        schedule_delivery_time=times,
        validity_period=times,
        registered_delivery=st.integers(0, 0x3F),
        data_coding=octet,
        short_message=st.binary(max_size=140),
        tlvs=tlvs,
    )
)
def test_the_expression_reads_what_the_complete_decoder_reads(pdu: SubmitSm) -> None:
    if pdu.short_message and pdu.tlvs:
        pdu.tlvs = [(tag, value) for tag, value in pdu.tlvs if tag != TAG_MESSAGE_PAYLOAD]
    frames, _ = framing.split(encode(pdu, 77), 70_000)
    parts, refused = read_submits(frames)
    assert refused == []
    assert parts == [read_submit(frames[0][3])]


@given(st.binary(max_size=200))
def test_garbage_in_a_frame_is_a_part_or_a_refusal(body: bytes) -> None:
    frame = (16 + len(body)).to_bytes(4, "big") + b"\0\0\0\4\0\0\0\0\0\0\0\5" + body
    parts, refused = read_submits([(4, 0, 5, frame)])
    assert len(parts) + len(refused) == 1


def test_a_part_without_a_destination_is_refused() -> None:
    frames, _ = framing.split(encode(SubmitSm(short_message=b"x"), 3), 70_000)
    assert read_submits(frames) == ([], [(3, ESME_RINVDSTADR)])


@pytest.mark.parametrize("cut", [1, 3])
def test_a_text_shorter_than_its_length_is_refused(cut: int) -> None:
    whole = encode(SubmitSm(destination_addr=b"81", short_message=b"hello"), 3)
    frame = (len(whole) - cut).to_bytes(4, "big") + whole[4:-cut]
    parts, refused = read_submits([(4, 0, 3, frame)])
    assert parts == []
    assert [sequence_number for sequence_number, _ in refused] == [3]


def test_half_a_tlv_is_refused() -> None:
    whole = encode(SubmitSm(destination_addr=b"81", short_message=b"hello"), 3)
    frame = (len(whole) + 3).to_bytes(4, "big") + whole[4:] + b"\x15\0\0"
    assert read_submits([(4, 0, 3, frame)]) == ([], [(3, ESME_RINVTLVSTREAM)])


def test_data_sm_is_read_as_a_part() -> None:
    pdu = DataSm(destination_addr=b"81", registered_delivery=1, tlvs=[(TAG_MESSAGE_PAYLOAD, b"hi")])
    sequence_number, payload, fields = read_data(encode(pdu, 9))
    assert (sequence_number, payload) == (9, b"\x04\x24\0\2hi")
    assert fields[2] == b"\0\0" + b"81\0"
    assert fields[4] == b"\1"
