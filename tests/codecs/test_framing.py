"""framing: every stream is also fed one octet at a time; garbage gives frames or a FramingError."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.codecs import constants as c
from todoke.codecs import pdu
from todoke.codecs.errors import Frame, FramingError
from todoke.codecs.framing import split

LINK = pdu.encode(pdu.EnquireLink(), 1)
RESPONSE = pdu.encode(pdu.SubmitSmResp(message_id=b"abc"), 2)
STREAM = LINK + RESPONSE + LINK


def feed(pieces: list[bytes], pdu_octets_max: int = 1000) -> tuple[list[Frame], bytes]:
    frames: list[Frame] = []
    rest = b""
    for piece in pieces:
        rest += piece
        more, consumed = split(rest, pdu_octets_max)
        frames += more
        rest = rest[consumed:]
    return frames, rest


def test_whole_pdus_and_their_headers():
    frames, consumed = split(STREAM + LINK[:7], 1000)
    assert frames == [
        (c.ENQUIRE_LINK, 0, 1, LINK),
        (c.SUBMIT_SM_RESP, 0, 2, RESPONSE),
        (c.ENQUIRE_LINK, 0, 1, LINK),
    ]
    assert consumed == len(STREAM)


@pytest.mark.parametrize("size", [1, 2, 3, 15, 16, 17, 1000])
def test_any_pieces_give_the_same(size: int):
    pieces = [STREAM[at : at + size] for at in range(0, len(STREAM), size)]
    assert feed(pieces) == (split(STREAM, 1000)[0], b"")


def test_frames_are_bytes_of_their_own():
    buffer = bytearray(STREAM)
    frames, _ = split(buffer, 1000)
    buffer[:] = b"\0" * len(buffer)
    assert all(type(frame) is bytes for *_, frame in frames)
    assert frames[0][3] == LINK


def test_nothing_of_nothing():
    assert split(b"", 1000) == ([], 0)
    assert split(LINK[:15], 1000) == ([], 0)


@pytest.mark.parametrize("command_length", [0, 3, 15, 1001, 70_001, 0x7FFFFFFF, 0xFFFFFFFF])
def test_an_impossible_length_is_told_after_four_octets(command_length: int):
    bad = command_length.to_bytes(4, "big")
    with pytest.raises(FramingError) as caught:
        split(STREAM + bad, 1000)
    error = caught.value
    assert (error.command_status, error.sequence_number) == (c.ESME_RINVCMDLEN, 0)
    assert [frame[0] for frame in error.frames] == [c.ENQUIRE_LINK, c.SUBMIT_SM_RESP, c.ENQUIRE_LINK]
    assert str(command_length) in error.detail


def test_the_largest_and_the_smallest_pass():
    assert split(LINK, 16)[1] == 16
    with pytest.raises(FramingError):
        split(RESPONSE, len(RESPONSE) - 1)
    assert split(RESPONSE, len(RESPONSE))[1] == len(RESPONSE)


@pytest.mark.parametrize("command_length", [0, 15, 1001])
def test_an_impossible_length_is_no_frame_whatever_follows_it(command_length: int):
    bad = command_length.to_bytes(4, "big") + LINK + LINK
    with pytest.raises(FramingError) as caught:
        split(LINK + bad, 1000)
    assert [frame[3] for frame in caught.value.frames] == [LINK]
    assert caught.value.detail == f"command_length {command_length}: must be 16 to 1000"


def test_the_largest_may_still_be_on_its_way():
    assert split(RESPONSE[:8], len(RESPONSE)) == ([], 0)
    assert split(LINK[:8], 16) == ([], 0)


@pytest.mark.parametrize(
    ("banner", "protocol"),
    [
        (b"HTTP/1.1 400 Bad Request", "HTTP"),
        (b"GET / HTTP/1.1", "HTTP"),
        (b"POST / HTTP/1.1", "HTTP"),
        (b"HEAD / HTTP/1.1", "HTTP"),
        (b"PUT / HTTP/1.1", "HTTP"),
        (b"OPTIONS * HTTP/1.1", "HTTP"),
        (b"CONNECT a:1 HTTP/1.1", "HTTP"),
        (b"PRI * HTTP/2.0", "HTTP/2"),
        (b"<html>", "HTML"),
        (b"<!DOCTYPE html>", "HTML"),
        (b"\x14\x03\x03\x00\x01\x01", "TLS"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "TLS"),
        (b"\x16\x03\x01\x02\x00\x01", "TLS"),
        (b"SSH-2.0-OpenSSH_9.9", "SSH"),
        (b"AMQP\x00\x00\x09\x01", "AMQP"),
        (b"220 mail ESMTP", "SMTP or FTP"),
        (b"220-mail ESMTP", "SMTP or FTP"),
        (b"EHLO mail", "SMTP"),
        (b"+OK POP3 ready", "POP3"),
        (b"* OK IMAP4rev1", "IMAP"),
        (b"-ERR unknown command", "Redis"),
        (b"SIP/2.0 400 Bad Request", "SIP"),
    ],
)
def test_other_protocols_are_recognised(banner: bytes, protocol: str):
    for stream in (banner, banner[:4], LINK + banner):
        with pytest.raises(FramingError) as caught:
            split(stream, c.PDU_OCTETS_MAX)
        assert caught.value.detail == f"the peer speaks {protocol}, not SMPP"


@given(st.binary(max_size=200), st.integers(16, 300))
def test_garbage_gives_frames_or_a_framing_error(data: bytes, pdu_octets_max: int):
    try:
        frames, consumed = split(data, pdu_octets_max)
    except FramingError as error:
        frames, consumed = error.frames, sum(len(frame[3]) for frame in error.frames)
    assert b"".join(frame[3] for frame in frames) == data[:consumed]
    assert all(16 <= len(frame[3]) <= pdu_octets_max for frame in frames)


@given(st.lists(st.binary(max_size=40), max_size=6), st.data())
def test_any_cut_of_good_pdus_gives_them_back(bodies: list[bytes], data: st.DataObject):
    pdus = [(16 + len(body)).to_bytes(4, "big") + bytes(12) + body for body in bodies]
    stream = b"".join(pdus)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    frames, rest = feed(pieces)
    assert [frame[3] for frame in frames] == pdus
    assert rest == b""
