"""errors: what a caller reads from them, and what no error may show."""

from __future__ import annotations

import pytest
from todoke.codecs import constants as c
from todoke.codecs.errors import CodecError, FramingError, PduError, TextError, command_name, status_name


def test_all_are_codec_errors_and_none_is_another():
    kinds = {FramingError, PduError, TextError}
    assert all(issubclass(kind, CodecError) for kind in kinds)
    assert not any(issubclass(a, b) for a in kinds for b in kinds - {a})


def test_what_they_carry():
    frame = (c.ENQUIRE_LINK, 0, 1, b"x")
    framing = FramingError(c.ESME_RINVCMDLEN, 5, "why", (frame,))
    assert str(framing) == "ESME_RINVCMDLEN: why"
    assert (framing.command_status, framing.sequence_number, framing.detail) == (2, 5, "why")
    assert framing.frames == [frame]
    assert FramingError(c.ESME_RINVCMDLEN, 0, "why").frames == []
    broken = PduError("submit_sm", "source_addr", "at most 20 octets", c.ESME_RINVSRCADR, 7)
    assert str(broken) == "submit_sm: source_addr: at most 20 octets (ESME_RINVSRCADR)"
    assert (broken.pdu, broken.field, broken.limit) == ("submit_sm", "source_addr", "at most 20 octets")
    assert (broken.command_status, broken.sequence_number) == (10, 7)
    assert PduError("submit_sm", "tlvs", "at most 64", c.ESME_RINVTLVSTREAM).sequence_number == 0
    text = TextError("text", "too_long", "more than 10 parts")
    assert str(text) == "text: too_long: more than 10 parts"
    assert (text.field, text.code, text.detail) == ("text", "too_long", "more than 10 parts")


@pytest.mark.parametrize(
    ("status", "name"),
    [(0, "ESME_ROK"), (0x58, "ESME_RTHROTTLED"), (0x400, "0x00000400"), (0x112, "ESME_RINVBCASTCHANIND")],
)
def test_status_names(status: int, name: str):
    assert status_name(status) == name


def test_names_and_numbers_agree():
    statuses = {name: value for name, value in vars(c).items() if name.startswith("ESME_")}
    assert {name: value for value, name in c.STATUS_NAMES.items()} == statuses
    assert len(c.STATUS_NAMES) == 67
    for command_id, name in c.COMMAND_NAMES.items():
        assert getattr(c, name.upper()) == command_id
    assert len(c.COMMAND_NAMES) == 27
    for command_id, name in c.BROADCAST_NAMES.items():
        assert getattr(c, name.upper()) == command_id
    assert not c.BROADCAST_NAMES.keys() & c.COMMAND_NAMES.keys()


@pytest.mark.parametrize(
    ("command_id", "name"),
    [(4, "submit_sm"), (0x80000113, "cancel_broadcast_sm_resp"), (0x10200, "0x00010200"), (0, "0x00000000")],
)
def test_command_names(command_id: int, name: str):
    assert command_name(command_id) == name
