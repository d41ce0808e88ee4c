"""Cutting a stream of octets into frames, however they arrive."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.engine.intake.errors import FrameError
from todoke.engine.intake.frames import FrameBuffer, Spelling, encode, encode_events
from todoke.engine.messages import Event, Received, Report

MAX = 1000


def feed(data: bytes, size: int, frame_octets_max: int = MAX) -> tuple[list[bytes], FrameBuffer]:
    buffer = FrameBuffer(frame_octets_max)
    frames: list[bytes] = []
    for start in range(0, len(data), size):
        frames += buffer.receive_data(data[start : start + size])
    return frames, buffer


def framed(bodies: list[bytes], spelling: Spelling) -> bytes:
    if spelling == "json":
        return b"".join(body + b"\n" for body in bodies)
    return b"".join(len(body).to_bytes(4, "big") + body for body in bodies)


lines = st.lists(
    st.binary(max_size=60).map(lambda octets: b"{" + octets.replace(b"\n", b"") + b"}"), max_size=8
)


@given(lines, st.integers(1, 50), st.sampled_from([b"", b"\n", b" \r\n\t"]))
def test_lines_however_they_arrive(bodies: list[bytes], size: int, white: bytes) -> None:
    frames, buffer = feed(white + framed(bodies, "json"), size)
    assert frames == bodies
    assert buffer.error is None
    assert buffer.spelling == ("json" if bodies else None)
    assert buffer.receive_eof() == []


@given(st.lists(st.binary(max_size=60), max_size=8), st.integers(1, 50))
def test_frames_however_they_arrive(bodies: list[bytes], size: int) -> None:
    frames, buffer = feed(framed(bodies, "msgpack"), size)
    assert frames == bodies
    assert buffer.error is None
    assert buffer.spelling == ("msgpack" if bodies else None)


@given(st.binary(max_size=400), st.integers(1, 50))
def test_garbage_gives_frames_or_one_typed_error(data: bytes, size: int) -> None:
    frames, buffer = feed(data, size, 64)
    frames += buffer.receive_eof()
    assert all(len(frame) <= 64 for frame in frames)
    assert feed(data, len(data) or 1, 64)[0] == feed(data, size, 64)[0]
    if buffer.error is not None:
        assert isinstance(buffer.error, FrameError)
        assert buffer.receive_data(b"more") == []


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    ("data", "frames", "code"),
    [
        (b'{"a":1}\n' + b"{" + b"x" * 100 + b"\n{}\n", [b'{"a":1}'], "frame_too_long"),
        (b'{"a":1}\n' + b"{" + b"x" * 100, [b'{"a":1}'], "frame_too_long"),
        (b"\0\0\0\1\xc0\0\0\0\x65" + b"x" * 0x65, [b"\xc0"], "frame_too_long"),
        (b"\0\0\0\1\xc0\xff\xff\xff\xff", [b"\xc0"], "frame_too_long"),
        (b"GET / HTTP/1.1\r\n", [], "frame_too_long"),
    ],
)
def test_too_long_after_good_ones(size: int, data: bytes, frames: list[bytes], code: str) -> None:
    got, buffer = feed(data, size, 100)
    assert got == frames
    assert buffer.error is not None
    assert buffer.error.code == code


@pytest.mark.parametrize("size", [1, 1000])
def test_exactly_the_limit_is_a_frame(size: int) -> None:
    line = b"{" + b"x" * 99
    assert feed(line + b"\n", size, 100)[0] == [line]
    assert feed(framed([line], "msgpack"), size, 100)[0] == [line]


def test_what_is_held_back_is_bounded() -> None:
    for start in (b"{", b"\0\0\3\xe8"):
        _, buffer = feed(start + b"x" * 100_000, 100)
        assert len(buffer._rest) <= MAX + 4


@pytest.mark.parametrize(
    ("data", "frames", "code"),
    [
        (b'{"op":"status"}', [b'{"op":"status"}'], None),
        (b'{"op":"status"}\n \r\n', [], None),
        (b"\0\0\0\5abc", [], "bad_frame"),
        (b"\0", [], "bad_frame"),
        (b"", [], None),
    ],
)
def test_end_of_input(data: bytes, frames: list[bytes], code: str | None) -> None:
    _, buffer = feed(data, 1000)
    assert buffer.receive_eof() == frames
    assert (buffer.error and buffer.error.code) == code


def test_events_go_many_to_a_frame_and_in_frames_that_fit() -> None:
    events: list[Event] = [
        Report(f"c-{n}", f"m-{n}", None, "delivered", "au", 1, 1, False, None, "") for n in range(100)
    ]
    events.append(Received("c", "+81", "00", "x" * 5000, None))  # alone over the limit: sent all the same
    frames, buffer = feed(encode_events("msgpack", events, MAX), 100_000, 10_000)
    assert buffer.error is None
    told = [msgspec.msgpack.decode(frame, type=dict[str, list[Event]])["events"] for frame in frames]
    assert [event for some in told for event in some] == events
    assert 2 < len(frames) < 60
    assert all(len(frame) <= MAX for frame in frames[:-1])


def test_events_are_one_a_line_in_json() -> None:
    events: list[Event] = [Received(f"c-{n}", "+81", "00", "t\n\u2028", None) for n in range(3)]
    told = encode_events("json", events, MAX).splitlines(keepends=True)
    assert [msgspec.json.decode(line, type=Event) for line in told] == events


def test_encode() -> None:
    assert encode("json", {"a": "é"}) == '{"a":"é"}\n'.encode()
    assert encode("msgpack", {"a": 1}) == b"\0\0\0\4\x81\xa1a\1"
