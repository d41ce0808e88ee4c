"""mobile_originated: what an app is told of a handset's message."""

from __future__ import annotations

from typing import Any

import pytest
from todoke.codecs import gsm7, pdu, septets, udh
from todoke.codecs.errors import CodecError
from todoke.engine.ledger.events import Told
from todoke.engine.receipts.mobile_originated import read_message


def frame(short_message: bytes, **more: Any) -> bytes:
    fields: dict[str, Any] = {
        "source_addr": b"819012345678",
        "source_addr_ton": 1,
        "destination_addr": b"321",
    }
    return pdu.encode(pdu.DeliverSm(short_message=short_message, **fields | more), 1)


def told(text: str, sender: str = "+819012345678", to: str = "321") -> Told:
    return Told("received", "", None, "", "one", 1, 0, False, None, 5, sender, to, text)


def test_text_and_addresses():
    assert read_message(frame(b"\x00\x1be"), "one", 5) == told("@€")
    plus = frame(b"hi", source_addr=b"+1", dest_addr_ton=1)
    assert read_message(plus, "one", 5) == told("hi", "+1", "+321")


def test_binary_is_hexadecimal():
    assert read_message(frame(b"\x01\xff", data_coding=4), "one", 5).text == "01ff"


def test_a_part_is_told_without_its_header():
    assert read_message(frame(udh.concat8(1, 2, 2) + b"hi", esm_class=0x40), "one", 5) == told("hi")


def test_what_data_coding_0_means_is_the_carriers():
    assert read_message(frame(b"\xe9@"), "one", 5, "latin1").text == "é@"
    packed = septets.pack(gsm7.encode("hellohello") or b"")
    assert read_message(frame(packed), "one", 5, packed=True).text == "hellohello"


def test_what_cannot_be_read_is_refused():
    with pytest.raises(CodecError):
        read_message(frame(b"hi")[:-1], "one", 5)
