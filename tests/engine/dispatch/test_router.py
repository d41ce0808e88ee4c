"""Routing by the longest prefix."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from todoke.engine.dispatch.router import Router

ROUTER = Router(
    [(["81", "8190"], ("docomo", "au")), (["819012"], ("au",)), ([], ("world",)), (["1"], ("west", "world"))]
)


def test_the_longest_prefix_wins() -> None:
    assert ROUTER.choose("819099999999") == ("docomo", "au")
    assert ROUTER.choose("819012345678") == ("au",)
    assert ROUTER.choose("12125550100") == ("west", "world")


def test_no_prefix_is_every_number() -> None:
    assert ROUTER.choose("4915112345678") == ("world",)


def test_no_route_is_no_carrier() -> None:
    assert Router([(["81"], ("docomo",))]).choose("4915112345678") == ()
    assert Router([]).choose("81") == ()


def test_a_number_shorter_than_every_prefix_does_not_match_half_of_one() -> None:
    assert Router([(["8190"], ("docomo",))]).choose("81") == ()


digits = st.text("0123456789", min_size=0, max_size=6)


@given(
    st.dictionaries(digits, st.tuples(st.sampled_from("abc")), max_size=8), st.text("0123456789", max_size=9)
)
def test_it_is_the_plain_definition(routes: dict[str, tuple[str]], number: str) -> None:
    router = Router([([prefix] if prefix else [], carriers) for prefix, carriers in routes.items()])
    fitting = [prefix for prefix in routes if number.startswith(prefix)]
    assert router.choose(number) == (routes[max(fitting, key=len)] if fitting else ())


class Told:
    """A hook that answers what it was told to."""

    def __init__(self, answer: list[str]) -> None:
        self.answer = answer
        self.asked: list[tuple[str, list[str], float]] = []

    def carriers(self, to: str, usual: list[str], now: float) -> list[str]:
        self.asked.append((to, list(usual), now))
        usual.clear()  # what it does with its own list is its own affair
        return self.answer


PORTED = Router([(["81"], ("docomo", "au", "softbank")), (["82"], ("kt",))])


def test_portability_orders_what_the_route_names() -> None:
    hook = Told(["softbank", "au"])
    assert PORTED.choose_ported("8190", hook, 5.0) == ("softbank", "au", "docomo")
    assert hook.asked == [("8190", ["docomo", "au", "softbank"], 5.0)]


def test_portability_adds_and_removes_no_carrier() -> None:
    assert PORTED.choose_ported("8190", Told(["kt", "au", "au"]), 5.0) == ("au", "docomo", "softbank")
    assert PORTED.choose_ported("8190", Told([]), 5.0) == ("docomo", "au", "softbank")


def test_where_there_is_no_choice_nobody_is_asked() -> None:
    hook = Told(["au"])
    assert PORTED.choose_ported("8290", hook, 5.0) == ("kt",)
    assert PORTED.choose_ported("99", hook, 5.0) == ()
    assert hook.asked == []
