"""Octets of any kind against every property of the codecs that the fuzzer knows (tests/fuzz)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from todoke.codecs import constants as c
from todoke.codecs import inbound, pdu
from todoke.codecs.describe import describe
from todoke.codecs.errors import PduError, TextError
from todoke.codecs.fast import receipt_of
from todoke.codecs.national import LANGUAGES
from todoke.codecs.receipt import canonical_id, parse_deliver
from todoke.codecs.segment import Rules, segment
from todoke.codecs.transliterate import TABLE
from todoke_fuzz.pdu_targets import SECRETS
from todoke_fuzz.strategies import inputs
from todoke_fuzz.targets import TARGETS

# --- what the fuzzer found ------------------------------------------------------------------------


def test_a_distribution_list_has_a_name():
    message = pdu.SubmitMulti(dest_addresses=[pdu.DestAddress(dl_name=b"x")], short_message=b"hi")
    frame = pdu.encode(message, 7)
    assert pdu.decode(frame) == msgspec.structs.replace(message, sequence_number=7)
    nameless = frame.replace(b"\2x\0", b"\2\0")
    with pytest.raises(PduError) as caught:
        pdu.decode(len(nameless).to_bytes(4, "big") + nameless[4:])
    assert (caught.value.field, caught.value.command_status) == ("dl_name", c.ESME_RINVDLNAME)


@pytest.mark.parametrize("raw", ["0 1", " 0 01", "\t0\r\n00 1\0", "1 \0"])
def test_the_canonical_form_of_an_id_is_its_own(raw: str):
    assert canonical_id(raw) == "1"


@pytest.mark.parametrize("raw", ["", "0", " 0 \0", "000", "0 0"])
def test_an_id_of_nothing_is_zero(raw: str):
    assert canonical_id(raw) == "0"


@pytest.mark.parametrize("kind", pdu.PDUS.values(), ids=lambda kind: kind.__name__)
def test_no_repr_shows_an_address_a_text_or_a_password(kind: type[pdu.Pdu]):
    secrets = {name: b"SeCrEt" for name in SECRETS if name in kind.__struct_fields__}
    assert "SeCrEt" not in repr(kind(**secrets))


# --- time ---------------------------------------------------------------------------------------------------

OCTETS = 60_000
CPU_S_MAX = 1.0
"""Many times what they take; an input over which a loop goes again and again takes minutes."""


@pytest.mark.parametrize(
    "unit", [b"\0", b"id:", b" stat: ", b" s", b"\x1b", b"\xd8\x3d", b"\x1b$B", b"\x83\x5c", b"0"]
)
@pytest.mark.parametrize("data_coding", [0, 4, 8, 10])
def test_the_longest_message_is_read_in_milliseconds(unit: bytes, data_coding: int):
    payload = (unit * OCTETS)[:OCTETS]
    started = time.process_time()
    for esm_class in (0, 4, 0x40):
        message = pdu.DeliverSm(
            esm_class=esm_class, data_coding=data_coding, tlvs=[(c.TAG_MESSAGE_PAYLOAD, payload)]
        )
        frame = pdu.encode(message, 1)
        receipt_of(frame)
        parse_deliver(frame)
        inbound.read(message)
        inbound.read(message, packed=True)
        describe(frame, show_text=True)
    assert time.process_time() - started < CPU_S_MAX


@pytest.mark.parametrize(
    "unit", ["a", "^", "日", "\u0301", "👩\u200d", "🇯", "\u1100", "\r\n", "ş", "क्", "Ａ“"]
)
@pytest.mark.parametrize("transliterate", [None, TABLE], ids=["as it is", "transliterated"])
def test_the_longest_text_is_cut_in_milliseconds(unit: str, transliterate: Mapping[str, str] | None):
    text = (unit * 17_000)[:17_000]
    started = time.process_time()
    for alphabets in (("gsm7", "ucs2"), ("gsm7",), ("ucs2",)):
        rules = Rules(
            parts_max=255, alphabets=alphabets, languages=tuple(LANGUAGES), transliterate=transliterate
        )
        with contextlib.suppress(TextError):
            segment(text, rules)
    assert time.process_time() - started < CPU_S_MAX


# --- its properties -------------------------------------------------------------------------------

NAMES = [
    "framing",
    "pdu",
    "encode",
    "fast",
    "udh",
    "receipt",
    "inbound",
    "parts",
    "segment",
    "alphabets",
    "transliterate",
    "time",
    "describe",
]
INPUTS = {name: inputs(name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
@given(st.data())
@settings(max_examples=150)
def test_its_properties_hold_for_any_octets(name: str, data: st.DataObject):
    TARGETS[name].check(data.draw(INPUTS[name]))
