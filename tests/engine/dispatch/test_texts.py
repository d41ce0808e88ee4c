"""From a carrier's keys for texts to the octets that leave: tables, packed septets, transliteration."""

from __future__ import annotations

from typing import Any

import pytest
from todoke.codecs import gsm7, septets, udh
from todoke.engine.app import _rules as carrier_rules  # pyright: ignore[reportPrivateUsage]
from todoke.engine.dispatch.bodies import BodyMaker
from todoke.engine.dispatch.outgoing import Outgoing
from todoke.engine.dispatch.pacing import Pacer
from todoke.engine.dispatch.runs import Run
from todoke.engine.ledger import blocks
from todoke.engine.ledger.blocks import Block, Entry
from todoke.engine.ledger.keys import CarrierKeys
from todoke_tests_kit import NUMBER, WALL_S, Sent, carrier_config

NOW_MS = int(WALL_S * 1000)


class Clock:
    def monotonic(self) -> float:
        return 1_000.0

    def wall(self) -> float:
        return WALL_S


class Bind:
    name = "b1"
    window_free = 10

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def submit(self, bodies: list[bytes], tokens: list[Any]) -> None:
        self.bodies += bodies


def left(text: str, parts: int, **keys: object) -> list[bytes]:
    """short_message of each submit_sm by which the text leaves, by the pump."""
    maker, bind = BodyMaker(carrier_config(**keys)), Bind()
    pump = Outgoing(maker, Pacer(0), Clock(), lambda: None)
    pump.binds.append(bind)
    entry = Entry(NUMBER, "", text, None, parts)
    entries: list[Entry | None] = [entry]
    one = Run(
        CarrierKeys("docomo"), Block(blocks.FORMAT, "1", "normal", "default", "", 0, entries), b"1-0", 1, 0.0
    )
    one.has_long = parts > 1
    one.grant = one.usable = 1
    pump.add(one)
    pump.pump()
    assert list(maker.bodies(entry, NOW_MS).values()) == bind.bodies, "sent again it is the same"
    return [Sent(body, (None, 0, 0), 0.0).pdu.short_message for body in bind.bodies]


def test_packed_is_packed_also_where_most_texts_go() -> None:
    assert left("hellohello", 1) == [b"hellohello"]
    assert left("hellohello", 1, gsm7_packed=True) == [septets.pack(b"hellohello")]
    first, second = left("a" * 161, 2, gsm7_packed=True)
    assert (len(first), first[6:], second[6:]) == (
        140,
        septets.pack(b"a" * 153, 1),
        septets.pack(b"a" * 8 + b"\r", 1),
    )


def test_tables_leave_with_their_header() -> None:
    (one,) = left("ş" * 100, 1, languages=["turkish"])
    header, data = udh.strip(one)
    assert udh.shifts_of(header) == (1, 0)
    assert gsm7.decode(data, 1) == "ş" * 100
    assert len(left("ş" * 100, 2)) == 2


def test_transliterated_only_where_it_is_asked_for() -> None:
    assert left("“x”", 1) == ["“x”".encode("utf-16-be")]
    assert left("“x”", 1, transliterate=True) == [b'"x"']
    assert left("♥", 1, transliterate=True, transliterate_extra={"♥": "<3"}) == [b"<3"]


@pytest.mark.parametrize(
    ("keys", "plain"),
    [
        ({}, True),
        ({"gsm7_packed": True}, False),
        ({"alphabets": ["ucs2"]}, False),
        ({"gsm7_single_units": 160}, True),
    ],
)
def test_which_carriers_take_texts_as_they_are(keys: dict[str, object], plain: bool) -> None:
    class Carrier:
        config = carrier_config(**keys)
        maker = BodyMaker(config)

    assert carrier_rules(Carrier()).gsm7_first == plain  # type: ignore[arg-type]
