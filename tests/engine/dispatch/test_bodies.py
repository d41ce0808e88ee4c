"""submit_sm bodies: the same entry always gives the same octets, and never a part of something else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.codecs.errors import CodecError, TextError
from todoke.engine.dispatch.bodies import BodyMaker, sender_address
from todoke.engine.ledger.blocks import Entry, Extra
from todoke.engine.messages import Window
from todoke_tests_kit import NUMBER, WALL_S, Sent, carrier_config

NOW_MS = int(WALL_S * 1000)


def entry(text: str, parts: int = 1, **fields: object) -> Entry:
    return Entry(NUMBER, "", text, None, parts, **fields)  # type: ignore[arg-type]


def sent(body: bytes) -> Sent:
    return Sent(body, (None, 0, 0), 0.0)


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        ("", (0, 0, b"")), ("+819012345678", (1, 1, b"819012345678")), ("0032069000", (0, 1, b"0032069000")),
        ("Todoke", (5, 0, b"Todoke")),
    ],
)  # fmt: skip
def test_a_senders_shape_gives_its_type(sender: str, expected: tuple[int, int, bytes]) -> None:
    assert sender_address(sender, "auto", "auto") == expected
    assert sender_address(sender, 3, 8) == (3, 8, expected[2])


def test_the_carriers_sender_stands_in_for_none() -> None:
    maker = BodyMaker(carrier_config(sender="2222"))
    (body,) = maker.bodies(entry("a"), NOW_MS).values()
    assert sent(body).pdu.source_addr == b"2222"


def test_a_long_message_by_udh_has_one_reference_and_counts_its_parts() -> None:
    maker = BodyMaker(carrier_config())
    bodies = maker.bodies(entry("x" * 400, 3, reference=77), NOW_MS)
    assert list(bodies) == [0, 1, 2]
    headers = [sent(body).pdu.short_message[:6] for body in bodies.values()]
    assert headers == [bytes((5, 0, 3, 77, 3, number)) for number in (1, 2, 3)]
    assert all(sent(body).pdu.esm_class == 0x40 for body in bodies.values())


def test_only_the_pending_parts_are_made_and_they_are_the_same_octets() -> None:
    maker = BodyMaker(carrier_config())
    whole = maker.bodies(entry("x" * 400, 3, reference=9), NOW_MS)
    rest = maker.bodies(entry("x" * 400, 3, reference=9, extra=Extra(pending=[2])), NOW_MS + 86_400_000)
    assert rest == {2: whole[2]}


def test_validity_comes_from_expiry_and_window() -> None:
    maker = BodyMaker(carrier_config())
    (body,) = maker.bodies(entry("a", expires_ms=NOW_MS + 90_000), NOW_MS).values()
    assert sent(body).pdu.validity_period == b"000000000130000R"
    tokyo = Window(from_="08:00", to="18:00", zone="Asia/Tokyo")  # NOW is 17:00 there
    (body,) = maker.bodies(entry("a", extra=Extra(window=tokyo)), NOW_MS).values()
    assert sent(body).pdu.validity_period == b"000000010000000R"


def test_no_receipt_is_asked_when_none_is_wanted() -> None:
    maker = BodyMaker(carrier_config())
    (body,) = maker.bodies(entry("a", extra=Extra(receipt=False)), NOW_MS).values()
    assert sent(body).pdu.registered_delivery == 0


@pytest.mark.parametrize(("text", "parts"), [("x" * 400, 1), ("x" * 400, 4), ("x", 2)])
def test_a_message_that_todays_rules_cut_otherwise_is_not_sent_in_half(text: str, parts: int) -> None:
    """The carrier's rules were changed between accepting and sending."""
    with pytest.raises(TextError):
        BodyMaker(carrier_config()).bodies(entry(text, parts), NOW_MS)


def test_templates_are_bounded() -> None:
    maker = BodyMaker(carrier_config())
    for number in range(5_000):
        maker.template(str(number))
    assert len(maker._templates) <= 1_000


@given(st.text(max_size=300), st.integers(1, 3), st.integers(0, 70_000), st.binary(max_size=300) | st.none())
def test_any_entry_gives_all_its_parts_or_a_codec_error(
    text: str, parts: int, reference: int, data: bytes | None
) -> None:
    maker = BodyMaker(carrier_config())
    given_entry = entry(text, parts, reference=reference, extra=Extra(data=data))
    try:
        bodies = maker.bodies(given_entry, NOW_MS)
    except CodecError:
        return
    assert list(bodies) == list(range(parts))
    for body in bodies.values():
        assert sent(body).pdu.destination_addr == NUMBER.encode()
