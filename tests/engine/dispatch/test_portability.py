"""Which carrier a number really belongs to: learnt, loaded, and never more than an order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from todoke.codecs import constants as c
from todoke.engine.dispatch import portability
from todoke.engine.dispatch.portability import (
    LINE_ERRORS_MAX,
    REFUSAL_S,
    TTL_S,
    KnownPortability,
    LearnedPortability,
    LineError,
    NumberTable,
    Portability,
    load_table,
    teaches,
)
from todoke.engine.dispatch.retry import CLASSES, StatusClass

NUMBER, OTHER = "819011112222", "819033334444"
USUAL = ["docomo", "au", "softbank"]


# -- experience ----------------------------------------------------------------------------------------


def taught(now: float = 10.0) -> LearnedPortability:
    learned = LearnedPortability()
    learned.refused(NUMBER, "docomo", now)
    learned.accepted(NUMBER, "softbank", now + 1)
    return learned


def test_a_refusal_here_and_an_acceptance_there_teach_the_carrier() -> None:
    learned = taught()
    assert learned.carriers(NUMBER, USUAL, 12.0) == ["softbank", "docomo", "au"]
    assert learned.carriers(OTHER, USUAL, 12.0) == USUAL
    assert learned.statistics().learnt == 1


def test_an_acceptance_alone_teaches_nothing() -> None:
    learned = LearnedPortability()
    learned.accepted(NUMBER, "softbank", 10.0)
    assert not learned
    assert learned.carriers(NUMBER, USUAL, 10.0) == USUAL


def test_a_carrier_that_refuses_and_takes_refused_something_else() -> None:
    learned = LearnedPortability()
    learned.refused(NUMBER, "docomo", 10.0)
    learned.accepted(NUMBER, "docomo", 11.0)
    learned.accepted(NUMBER, "au", 12.0)
    assert learned.carrier_of(NUMBER, 12.0) is None


def test_a_refusal_and_an_acceptance_far_apart_teach_nothing() -> None:
    learned = LearnedPortability()
    learned.refused(NUMBER, "docomo", 10.0)
    learned.accepted(NUMBER, "au", 10.0 + REFUSAL_S)
    assert learned.carrier_of(NUMBER, 10.0 + REFUSAL_S) is None


def test_what_proves_wrong_is_forgotten_and_can_be_learnt_anew() -> None:
    learned = taught()
    learned.refused(NUMBER, "softbank", 20.0)
    assert learned.carriers(NUMBER, USUAL, 20.0) == USUAL
    learned.accepted(NUMBER, "au", 21.0)
    assert learned.carrier_of(NUMBER, 21.0) == "au"
    assert learned.statistics().disproved == 1


def test_a_refusal_by_another_carrier_disproves_nothing() -> None:
    learned = taught()
    learned.refused(NUMBER, "au", 20.0)
    assert learned.carrier_of(NUMBER, 20.0) == "softbank"


def test_it_is_forgotten_after_its_time() -> None:
    learned = taught(10.0)
    assert learned.carrier_of(NUMBER, 11.0 + TTL_S - 1) == "softbank"
    assert learned.carrier_of(NUMBER, 11.0 + TTL_S) is None
    learned.refused(OTHER, "au", 11.0 + TTL_S)
    assert learned.statistics().numbers == 0


def test_the_oldest_goes_first_when_there_is_no_room() -> None:
    learned = LearnedPortability(limit=2)
    for n in range(3):
        learned.refused(str(n), "docomo", 10.0 + n)
        learned.accepted(str(n), "au", 10.0 + n)
    assert [learned.carrier_of(str(n), 13.0) for n in range(3)] == [None, "au", "au"]
    told = learned.statistics()
    assert (told.numbers, told.limit, told.forgotten) == (2, 2, 1)
    for n in range(portability.REFUSALS_MAX + 5):
        learned.refused(f"9{n}", "docomo", 20.0)
    assert len(learned._refused) == portability.REFUSALS_MAX
    assert NUMBER not in repr(taught())


def test_limits_that_make_no_sense_are_refused() -> None:
    for limit, ttl_s in ((0, 1.0), (1, 0.0), (1, float("nan"))):
        with pytest.raises(ValueError, match="impossible"):
            LearnedPortability(limit, ttl_s)


def test_only_what_may_be_about_the_number_teaches() -> None:
    assert teaches(c.ESME_RPROHIBITED, StatusClass.ROUTE)
    assert teaches(c.ESME_RX_P_APPN, StatusClass.PERMANENT)
    assert teaches(0x410, StatusClass.ROUTE)
    assert teaches(c.ESME_RINVDSTADR, StatusClass.ROUTE), "where the carrier's table says so"
    assert not teaches(c.ESME_RINVDSTADR, StatusClass.PERMANENT_DESTINATION)
    assert not teaches(c.ESME_RINVSRCADR, StatusClass.ROUTE)
    assert not teaches(c.ESME_RSYSERR, StatusClass.BUSY)
    assert set(CLASSES) >= portability.NOT_THE_NUMBERS, "none of them is a slip"


EVENTS = st.tuples(
    st.floats(0, 2_000),
    st.sampled_from(["refused", "accepted"]),
    st.sampled_from(["1", "2", "3", "4"]),
    st.sampled_from(USUAL),
)


@given(st.integers(1, 3), st.floats(1, 5_000), st.lists(EVENTS, max_size=60), st.permutations(USUAL))
def test_any_experience_only_reorders_and_puts_first_who_took_it_last(
    limit: int, ttl_s: float, events: list[tuple[float, str, str, str]], usual: list[str]
) -> None:
    learned = LearnedPortability(limit, ttl_s)
    now = 0.0
    for step, kind, number, carrier in events:
        now += step
        if kind == "refused":
            learned.refused(number, carrier, now)
            assert learned.carrier_of(number, now) != carrier
        else:
            learned.accepted(number, carrier, now)
        for each in "1234":
            told = learned.carriers(each, usual, now)
            assert sorted(told) == sorted(usual)
            assert [name for name in usual if name != told[0]] == told[1:]
        assert learned.statistics().numbers <= limit


# -- a table -------------------------------------------------------------------------------------------

TABLE = """\ufeffNumber,carrier
# ported in May
819011112222,softbank
+819033334444 , au

8190*,docomo
+81901*,au
"""


def test_the_exact_number_wins_then_the_longest_prefix() -> None:
    table, errors = load_table(TABLE, USUAL)
    assert errors == []
    assert len(table) == 4
    assert table.carrier_of(NUMBER) == "softbank"
    assert table.carrier_of(OTHER) == "au"
    assert table.carrier_of("819019999999") == "au"
    assert table.carrier_of("819029999999") == "docomo"
    assert table.carrier_of("818099999999") is None
    assert table.carriers(NUMBER, USUAL, 0.0) == ["softbank", "docomo", "au"]
    assert table.carriers(NUMBER, ["docomo", "au"], 0.0) == ["docomo", "au"], (
        "the route names no such carrier"
    )
    assert NUMBER not in repr(table)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("8190", "1 fields"),
        ("8190,au,x", "3 fields"),
        ("8190,kddi", "no carrier 'kddi'; allowed: au, docomo, softbank"),
        ("090-1111,au", "no number"),
        ("*,au", "no number"),
        (",au", "no number"),
        ("1234567890123456,au", "1 to 15 digits"),
        ("８１９０,au", "no number"),
        ('"8190,au', "no CSV"),
    ],
)
def test_a_wrong_line_is_left_out_and_told(line: str, says: str) -> None:
    table, errors = load_table(f"8190*,au\n{line}\n8191*,au\n", USUAL)
    assert [error.line for error in errors] == [2]
    assert says in errors[0].detail
    assert "090-1111" not in errors[0].detail
    assert len(table) == 2


def test_of_two_lines_the_first_stands() -> None:
    table, errors = load_table("8190,au\n8190,docomo\n+8190,au\n", USUAL)
    assert errors == [LineError(2, "given before with another carrier")]
    assert table.carrier_of("8190") == "au"


def test_errors_have_a_limit() -> None:
    _, errors = load_table("x\n" * 1_000, USUAL)
    assert len(errors) == LINE_ERRORS_MAX + 1
    assert "too many" in errors[-1].detail


def test_rows_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portability, "ROWS_MAX", 2)
    table, errors = load_table("1,au\n2,au\n3,au\n4,au\n", USUAL)
    assert len(table) == 2
    assert [error.line for error in errors] == [3]


@given(st.text(max_size=200))
def test_any_text_is_a_table_and_errors(text: str) -> None:
    table, errors = load_table(text, USUAL)
    assert len(table) + len(errors) <= len(text.splitlines()) + 1


@given(
    st.dictionaries(st.text("0123456789", min_size=1, max_size=6), st.sampled_from(USUAL), max_size=20),
    st.text("0123456789", min_size=1, max_size=9),
)
def test_the_longest_prefix_is_found(prefixes: dict[str, str], to: str) -> None:
    longest = max((prefix for prefix in prefixes if to.startswith(prefix)), key=len, default=None)
    expected = None if longest is None else prefixes[longest]
    assert NumberTable({}, prefixes).carrier_of(to) == expected


# -- both ----------------------------------------------------------------------------------------------


def test_experience_goes_before_the_table_and_the_table_before_the_usual() -> None:
    table, _ = load_table(f"{NUMBER},au\n{OTHER},au\n", USUAL)
    known: Portability = KnownPortability(taught(), table)
    assert known.carriers(NUMBER, USUAL, 12.0) == ["softbank", "au", "docomo"]
    assert known.carriers(OTHER, USUAL, 12.0) == ["au", "docomo", "softbank"]
    assert known.carriers("81", USUAL, 12.0) == USUAL
    assert KnownPortability(taught()).carriers(OTHER, USUAL, 12.0) == USUAL
