"""Preparing: carriers, parts, batchlets, and refusals that name the message."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from todoke.codecs.segment import Rules, segment
from todoke.engine.dispatch.prepare import CarrierRules, Preparer, body_digest
from todoke.engine.dispatch.router import Router
from todoke.engine.messages import Valid, Window
from todoke_tests_kit import WALL_S

NOW_MS = int(WALL_S * 1000)
PREPARER = Preparer(
    Router([(["81"], ("docomo", "au")), (["8180"], ("au",))]),
    {
        "docomo": CarrierRules(Rules(), "", True),
        "au": CarrierRules(Rules(alphabets=("ucs2",), parts_max=2), "", False),
    },
)


def prepare(*messages: Valid) -> tuple[list[tuple[str, str, list[int]]], list[tuple[int, str, str]]]:
    batchlets, refused = PREPARER.prepare(list(messages), list(range(len(messages))), NOW_MS)
    for batchlet in batchlets:
        lengths = {len(batchlet.places), len(batchlet.entries), len(batchlet.payloads), len(batchlet.digests)}
        assert len(lengths) == 1
    return (
        [(each.carrier, each.lane, each.places) for each in batchlets],
        [(each.index, str(each.field), each.code) for each in refused],
    )


def test_messages_of_one_carrier_and_lane_share_a_batchlet_wherever_they_stand() -> None:
    batchlets, refused = prepare(
        Valid("8190", text="a"), Valid("8180", text="b"), Valid("8190", text="c"),
        Valid("8190", text="d", lane="urgent"), Valid("8190", text="e"),
    )  # fmt: skip
    assert refused == []
    assert batchlets == [
        ("docomo", "normal", [0, 2, 4]), ("au", "normal", [1]), ("docomo", "urgent", [3]),
    ]  # fmt: skip


def test_refusals_name_message_field_and_code_and_spare_the_others() -> None:
    batchlets, refused = prepare(
        Valid("49", text="a"), Valid("8190", text="b"), Valid("8190", text="c", carrier="nobody"),
        Valid("8180", text="x" * 200), Valid("8190", text="\ud800"), Valid("8190", data=bytes(5_000)),
    )  # fmt: skip
    assert batchlets == [("docomo", "normal", [1])]
    assert refused == [
        (0, "to", "no_route"), (2, "carrier", "unknown_carrier"), (3, "text", "too_long"),
        (4, "text", "unencodable"), (5, "data", "too_long"),
    ]  # fmt: skip


def test_a_moment_that_has_passed_is_now() -> None:
    batchlets, _ = PREPARER.prepare([Valid("81", text="a", at_ms=NOW_MS - 1)], [0], NOW_MS)
    assert batchlets[0].at_ms == 0


def test_outside_its_hours_a_message_is_scheduled_for_the_opening() -> None:
    morning = Window(from_="08:00", to="09:00", zone="Asia/Tokyo")  # now is 17:00 there
    batchlets, _ = PREPARER.prepare([Valid("81", text="a", window=morning)], [0], NOW_MS)
    assert batchlets[0].at_ms == NOW_MS + 15 * 3_600_000
    expires_ms = NOW_MS + 15 * 3_600_000
    _, refused = PREPARER.prepare([Valid("81", text="a", window=morning, expires_ms=expires_ms)], [0], NOW_MS)
    assert [each.code for each in refused] == ["invalid_window"]


def test_at_within_the_hours_stays_and_outside_moves() -> None:
    window = Window(from_="08:00", to="21:00", zone="Asia/Tokyo")
    at_ms = NOW_MS + 3_600_000
    batchlets, _ = PREPARER.prepare([Valid("81", text="a", window=window, at_ms=at_ms)], [0], NOW_MS)
    assert batchlets[0].at_ms == at_ms
    late_ms = NOW_MS + 5 * 3_600_000
    batchlets, _ = PREPARER.prepare([Valid("81", text="a", window=window, at_ms=late_ms)], [0], NOW_MS)
    assert batchlets[0].at_ms == NOW_MS + 15 * 3_600_000


def test_the_digest_tells_bodies_apart_and_repeats_alike() -> None:
    base = {"to": "8190", "text": "a"}
    others: list[dict[str, object]] = [
        {"text": "b"}, {"to": "8191"}, {"sender": "x"}, {"expires_ms": 1}, {"at_ms": 1}, {"carrier": "au"},
        {"text": None, "data": b"a"}, {"window": Window(from_="08:00", to="09:00", zone="UTC")},
    ]  # fmt: skip
    digests = [body_digest(Valid(**{**base, **other})) for other in [{}, *others]]  # type: ignore[arg-type]
    assert len(set(digests)) == len(digests)
    assert body_digest(Valid("8190", text="a", ref="1", lane="bulk")) == digests[0]


@given(st.text(max_size=400))
def test_the_fast_path_counts_as_the_segmenter_does(text: str) -> None:
    batchlets, refused = PREPARER.prepare([Valid("81", text=text)], [0], NOW_MS)
    if refused:
        return
    entry, payload = batchlets[0].entries[0], batchlets[0].payloads[0]
    cut = segment(text, Rules())
    assert entry.parts == len(cut.parts)
    assert payload is None or [payload] == cut.parts
    assert batchlets[0].long == (entry.parts > 1)


def test_no_sender_stays_none_so_that_the_carrier_that_sends_gives_its_own() -> None:
    preparer = Preparer(Router([([], ("docomo",))]), {"docomo": CarrierRules(Rules(), "1111", True)})
    batchlets, _ = preparer.prepare(
        [Valid("81", text="a"), Valid("81", text="a", sender="x")], [0, 1], NOW_MS
    )
    assert [entry.sender for entry in batchlets[0].entries] == ["", "x"]
