"""Octets of any kind against every property of the codecs that the fuzzer knows (tests/fuzz)."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from todoke.codecs import constants as c
from todoke.codecs import pdu
from todoke.codecs.errors import PduError
from todoke.codecs.receipt import canonical_id
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


# --- its properties -------------------------------------------------------------------------------

NAMES = [
    "framing",
    "pdu",
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
