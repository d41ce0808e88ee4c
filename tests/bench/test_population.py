"""Handsets that follow from a seed and a number alone."""

from __future__ import annotations

from todoke.bench.population import AWAY_LEAST, THERE, Population

NUMBERS = [b"8190%08d" % (number * 49_999_991 % 100_000_000) for number in range(20_000)]


def test_shares_are_what_was_asked_for() -> None:
    population = Population(7, gone=0.02, away=0.05, away_s=60.0)
    handsets = [population.handset(number) for number in NUMBERS]
    gone = sum(handset.gone for handset in handsets)
    away = [handset.away_s for handset in handsets if handset.away_s]
    assert 300 < gone < 500
    assert 850 < len(away) < 1_150
    assert 60.0 * AWAY_LEAST <= min(away) < 35.0
    assert 55.0 < max(away) <= 60.0
    assert not any(handset.gone and handset.away_s for handset in handsets)


def test_the_same_seed_the_same_handsets() -> None:
    first, again, other = (Population(seed, 0.1, 0.1, 9.0) for seed in (1, 1, 2))
    assert [first.handset(each) for each in NUMBERS] == [again.handset(each) for each in NUMBERS]
    assert [first.handset(each) for each in NUMBERS] != [other.handset(each) for each in NUMBERS]


def test_all_are_there_when_none_is_asked_for() -> None:
    population = Population(1, 0.0, 0.0, 60.0)
    assert population.all_there
    assert all(population.handset(each) is THERE for each in NUMBERS[:100])
