"""The pump alone, with binds that only count: grant, window and pace are each asked before a part leaves."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from todoke.engine.dispatch.bodies import BodyMaker
from todoke.engine.dispatch.destinations import FIRST_S, Destinations
from todoke.engine.dispatch.outgoing import NOT_NOW, Outgoing, grant_more
from todoke.engine.dispatch.pacing import Pacer
from todoke.engine.dispatch.runs import LongMessage, Run
from todoke.engine.ledger import blocks
from todoke.engine.ledger.blocks import Block, Entry, Extra
from todoke.engine.ledger.keys import CarrierKeys
from todoke.engine.messages import Window
from todoke_tests_kit import NUMBER, carrier_config

KEYS = CarrierKeys("docomo")


class Clock:
    now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now + 1_800_000_000


class Bind:
    def __init__(self, name: str = "b1", window: int = 10) -> None:
        self.name = name
        self.window = window
        self.taken: list[tuple[str, int, int]] = []
        self.waiting = 0

    @property
    def window_free(self) -> int:
        return self.window - self.waiting

    def submit(self, bodies: list[bytes], tokens: list[Any]) -> None:
        assert 0 < len(bodies) == len(tokens) <= self.window_free
        self.waiting += len(bodies)
        self.taken += [(run.block_id, index, part) for run, index, part in tokens]

    def answer(self, number: int) -> None:
        self.waiting -= number


def outgoing(rate: float = 0, *binds: Bind) -> Outgoing:
    made = Outgoing(BodyMaker(carrier_config()), Pacer(rate), Clock(), lambda: None)
    made.binds += binds
    return made


def run(name: str, *texts: str | Entry, lane: str = "normal", granted: int | None = None) -> Run:
    entries: list[Entry | None] = [
        each
        if isinstance(each, Entry)
        else Entry(NUMBER, "", each, None, 1 if len(each) <= 160 else -(-len(each) // 153))
        for each in texts
    ]
    made = Run(KEYS, Block(blocks.FORMAT, name, lane, "default", "", 0, entries), b"1-0", 1, 0.0)
    made.has_long = any(entry is not None and entry.parts > 1 for entry in entries)
    made.grant = made.usable = len(entries) if granted is None else granted
    return made


@given(ahead_s=st.floats(1e-9, 0.01))
def test_what_waits_for_its_number_is_put_off_beyond_this_moment(ahead_s: float) -> None:
    """However short the wait is: due at once it would be taken and put off until time passes."""
    bind = Bind()
    out = outgoing(0, bind)
    now = out.clock.monotonic()
    out.destinations = Destinations()
    out.destinations.full(NUMBER, now - FIRST_S + ahead_s)
    out.add(run("1", "a"))
    out.pump()
    if out.destinations.until(NUMBER, now) == now:
        assert bind.taken  # nearer than the clock can tell
        return
    ((_, _, kind, at_ms),) = out.skips
    assert kind == NOT_NOW
    assert at_ms > out.clock.wall() * 1000


def test_nothing_leaves_above_the_grant() -> None:
    bind = Bind()
    out = outgoing(0, bind)
    out.add(held := run("1", "a", "b", "c", granted=2))
    out.pump()
    assert bind.taken == [("1", 0, 0), ("1", 1, 0)]
    held.grant = held.usable = 3
    out.pump()
    assert bind.taken[2:] == [("1", 2, 0)]


def test_a_grant_still_being_written_is_no_grant() -> None:
    bind = Bind()
    out = outgoing(0, bind)
    held = run("1", "a", granted=0)
    held.grant = 1
    out.add(held)
    out.pump()
    assert bind.taken == []


def test_the_window_is_filled_and_no_more() -> None:
    bind = Bind(window=2)
    out = outgoing(0, bind)
    out.add(run("1", *"abcde"))
    out.pump()
    assert len(bind.taken) == 2
    bind.answer(1)
    out.pump()
    assert len(bind.taken) == 3


def test_the_pace_holds_back_and_says_until_when() -> None:
    bind = Bind(window=100)
    out = outgoing(50, bind)
    out.add(run("1", *["a"] * 100))
    clock = out.clock
    assert isinstance(clock, Clock)
    sent_at: list[float] = []
    while len(bind.taken) < 100:
        before = len(bind.taken)
        out.pump()
        sent_at += [clock.now] * (len(bind.taken) - before)
        if out.pace_wait_until is None:
            break
        clock.now = max(out.pace_wait_until, clock.now + 0.001)
    assert len(sent_at) == 100
    assert max(sum(at <= each < at + 1 for each in sent_at) for at in sent_at) <= 50


def test_urgent_goes_before_normal_before_bulk() -> None:
    bind = Bind()
    out = outgoing(0, bind)
    for lane in ("bulk", "normal", "urgent"):
        out.add(run(lane, "a", lane=lane))
    out.pump()
    assert [block for block, _, _ in bind.taken] == ["urgent", "normal", "bulk"]


def test_a_run_that_waits_for_its_grant_does_not_hold_up_the_next() -> None:
    bind = Bind()
    out = outgoing(0, bind)
    out.add(run("1", "a", "b", granted=1))
    out.add(run("2", "c", granted=1))
    out.pump()
    assert sorted(bind.taken) == [("1", 0, 0), ("2", 0, 0)]


def test_binds_take_turns() -> None:
    one, two = Bind("b1"), Bind("b2")
    out = outgoing(0, one, two)
    out.add(held := run("1", *"abcd", granted=0))
    for granted in range(1, 5):
        held.grant = held.usable = granted
        out.pump()
    assert (len(one.taken), len(two.taken)) == (2, 2)


def test_all_parts_of_a_message_go_over_one_bind_and_none_between_them() -> None:
    one, two = Bind("b1", window=2), Bind("b2", window=2)
    out = outgoing(0, one, two)
    out.add(run("1", "x" * 700, "short"))
    for _ in range(5):
        out.pump()
        for bind in (one, two):
            bind.answer(bind.waiting)
    carriers = [bind for bind in (one, two) if any(index == 0 for _, index, _ in bind.taken)]
    (carrier,) = carriers
    assert [part for _, index, part in carrier.taken if index == 0] == [0, 1, 2, 3, 4]
    assert sum(index == 1 for bind in (one, two) for _, index, _ in bind.taken) == 1


def test_what_is_ended_or_forgotten_is_passed_over() -> None:
    bind = Bind()
    out = outgoing(0, bind)
    held = run("1", "a", "b", "c")
    held.skip.add(1)
    held.entries[2] = None
    out.add(held)
    out.pump()
    assert bind.taken == [("1", 0, 0)]
    assert held.next == 3


def test_expired_and_forbidden_entries_are_handed_to_the_recorder() -> None:
    bind = Bind()
    out = outgoing(0, bind)
    now_ms = int(out.clock.wall() * 1000)
    closed = Window(from_="01:00", to="02:00", zone="Asia/Tokyo")
    out.add(
        run(
            "1",
            Entry(NUMBER, "", "old", None, 1, now_ms - 1),
            Entry(NUMBER, "", "closed", None, 1, 0, 0, Extra(window=closed)),
            Entry(NUMBER, "", "x" * 400, None, 2),
            "fine",
        )
    )
    out.pump()
    assert bind.taken == [("1", 3, 0)]
    kinds = [(index, kind) for _, index, kind, _ in out.skips]
    assert kinds == [(0, blocks.EXPIRED), (1, NOT_NOW), (2, blocks.FAILED)]
    opens_ms = out.skips[1][3]
    assert 0 < opens_ms - now_ms <= 86_400_000


def test_a_lost_bind_names_a_part_of_what_it_had_begun() -> None:
    bind = Bind(window=2)
    out = outgoing(0, bind)
    out.add(held := run("1", "x" * 700))
    out.pump()
    assert out.has_begun()
    assert out.lost(bind) == [(held, 0, 2)]
    assert not out.has_begun()
    assert out.binds == []
    assert out.lost(bind) == []


def test_a_failed_part_stops_the_others_and_keeps_them_for_the_recorder() -> None:
    bind = Bind(window=2)
    out = outgoing(0, bind)
    out.add(held := run("1", "x" * 700))
    out.pump()
    message: LongMessage = held.long[0]
    message.failed[0] = 88
    bind.answer(2)
    out.pump()
    assert len(bind.taken) == 2
    assert message.todo == [2, 3, 4]


def test_a_stop_finishes_what_was_begun_and_begins_nothing() -> None:
    bind = Bind(window=2)
    out = outgoing(0, bind)
    out.add(run("1", "x" * 700, "next"))
    out.pump()
    out.stopping = True
    while out.has_begun():
        bind.answer(2)
        out.pump()
    bind.answer(bind.waiting)
    out.pump()
    assert [index for _, index, _ in bind.taken] == [0] * 5


def test_throttled_the_whole_account_pauses() -> None:
    bind = Bind()
    out = outgoing(0, bind)
    out.add(run("1", "a"))
    out.paused_until = out.clock.monotonic() + 0.5
    out.pump()
    assert bind.taken == []
    assert out.pace_wait_until == out.paused_until


def test_a_hold_is_for_accounts_with_a_rate() -> None:
    free, paced = outgoing(0, Bind()), outgoing(100, Bind())
    for out in (free, paced):
        out.hold(out.clock.monotonic() + 1)
    assert free.paused_until == 0
    assert paced.paused_until > 0


lanes = st.sampled_from(["urgent", "normal", "bulk"])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(lanes, st.lists(st.sampled_from(["a", "b" * 300, "c" * 1400]), min_size=1, max_size=6)),
        max_size=5,
    ),
    st.lists(st.integers(1, 6), min_size=1, max_size=3),
    st.integers(1, 40),
    st.randoms(use_true_random=False),
)
def test_every_part_leaves_once_in_whatever_order_grants_and_answers_come(
    described: list[tuple[str, list[str]]], windows: list[int], budget: int, rng: Any
) -> None:
    binds = [Bind(f"b{number}", window) for number, window in enumerate(windows)]
    out = outgoing(0, *binds)
    expected: list[tuple[str, int, int]] = []
    granted_total = 0
    for number, (lane, texts) in enumerate(described):
        held = run(str(number), *texts, lane=lane, granted=0)
        out.add(held)
        for index, entry in enumerate(held.entries):
            assert entry is not None
            expected += [(str(number), index, part) for part in range(entry.parts)]
    for _ in range(500):
        raised, granted = grant_more(out, budget)
        granted_total += granted
        for held in raised:
            held.usable = held.grant
        out.pump()
        for bind in binds:
            bind.answer(rng.randint(min(1, bind.waiting), bind.waiting))
        if sum(len(bind.taken) for bind in binds) == len(expected):
            break
    taken = [part for bind in binds for part in bind.taken]
    assert sorted(taken) == sorted(expected)
    assert granted_total == len(expected)


@given(st.lists(st.sampled_from(["a", "b" * 300]), min_size=1, max_size=10), st.integers(1, 25), st.data())
def test_a_grant_is_what_the_budget_allows_or_one_message_more(
    texts: list[str], budget: int, data: st.DataObject
) -> None:
    out = outgoing()
    held = run("1", *texts, granted=0)
    held.skip = data.draw(st.sets(st.integers(0, len(texts) - 1)))
    out.add(held)
    raised, granted = grant_more(out, budget)
    parts = [
        entry.parts for index, entry in enumerate(held.entries[: held.grant])
        if entry is not None and index not in held.skip
    ]  # fmt: skip
    assert granted == sum(parts)
    assert granted <= budget or granted - budget < parts[-1]
    assert (held in raised) == (held.grant > 0)
    if granted < budget:
        assert held.grant == len(texts)


def test_a_message_that_the_codec_fails_at_is_handed_to_the_recorder_and_stops_no_other() -> None:
    """Whatever it raises (fault 58), in whatever life."""

    class Maker(BodyMaker):
        def bodies(self, entry: Entry, now_ms: int) -> dict[int, bytes]:
            if entry.text == "poison":
                raise ZeroDivisionError
            return super().bodies(entry, now_ms)

    bind = Bind()
    out = Outgoing(Maker(carrier_config()), Pacer(0), Clock(), lambda: None)
    out.binds.append(bind)
    soon = (1_000 + 1_800_000_000 + 60) * 1000
    held = run("1", "a", Entry(NUMBER, "", "poison", None, 1, soon), Entry(NUMBER, "", "b", None, 1, soon))
    out.add(held)
    out.pump()
    assert bind.taken == [("1", 0, 0), ("1", 2, 0)]
    assert out.skips == [(held, 1, blocks.FAILED, 0)]
