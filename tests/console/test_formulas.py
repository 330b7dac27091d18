"""The figures' formulas: a rate with its n, none under five, and what stands in neither part of it."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.formulas import LEAST, Counts, Rate, wilson
from models.tables import MEASURES


def counts(*levels: int, **more: int) -> Counts:
    """So many of each level, best first."""
    return Counts(*levels, **more)


def test_counts_are_the_columns_of_the_rollups_in_their_order() -> None:
    assert tuple(field.name for field in fields(Counts)) == MEASURES


@pytest.mark.parametrize(
    ("told", "satisfied_from", "hits", "n"),
    [
        (counts(5, 3, 1, 1, 0), 3, 9, 10),
        (counts(5, 3, 1, 1, 0), 4, 8, 10),
        (counts(5, 3, 1, 1, 0), 5, 5, 10),
        (counts(5, 3, 1, 1, 0), 2, 10, 10),
        (counts(5, 0, 0, 0, 0, not_adopted=7), 3, 5, 5),
        (counts(5, 0, 0, 0, 0, default_asked=9, default_unasked=9), 3, 5, 5),
        (counts(0, 0, 0, 0, 0), 3, 0, 0),
    ],
)
def test_satisfaction_is_of_real_effective_adopted_ratings(
    told: Counts, satisfied_from: int, hits: int, n: int
) -> None:
    assert told.satisfaction(satisfied_from) == Rate(hits, n)


@pytest.mark.parametrize(
    ("hits", "n", "value"), [(0, 0, None), (4, 4, None), (0, LEAST, 0.0), (5, 5, 1.0), (3, 4, None), (3, 6, 0.5)]
)
def test_under_five_there_is_no_rate(hits: int, n: int, value: float | None) -> None:
    assert Rate(hits, n).value == value
    assert (Rate(hits, n).interval is None) is (value is None)


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    # Newcombe (1998), Statistics in Medicine 17: 857–872, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_is_wilsons(hits: int, n: int, low: float, high: float) -> None:
    interval = wilson(hits, n)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


parts = st.integers(1, 10**7).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(parts)
def test_the_rate_lies_in_its_interval_and_the_interval_in_nought_to_one(part: tuple[int, int]) -> None:
    hits, n = part
    interval = wilson(hits, n)
    assert 0 <= interval.low <= hits / n <= interval.high <= 1


@given(parts)
def test_the_interval_of_the_opposite_is_its_mirror(part: tuple[int, int]) -> None:
    hits, n = part
    interval, mirror = wilson(hits, n), wilson(n - hits, n)
    assert interval.low == pytest.approx(1 - mirror.high, abs=1e-9)


@given(parts)
def test_ten_times_as_many_make_it_narrower(part: tuple[int, int]) -> None:
    hits, n = part
    few, many = wilson(hits, n), wilson(hits * 10, n * 10)
    assert many.high - many.low < few.high - few.low


def test_what_is_no_part_has_no_interval() -> None:
    for hits, n in ((1, 0), (-1, 5), (6, 5)):
        with pytest.raises(ValueError, match="is no rate"):
            wilson(hits, n)


some = st.builds(Counts, *[st.integers(0, 1000)] * len(MEASURES))


@given(st.lists(some, max_size=6))
def test_a_sum_has_the_n_of_its_parts(several: list[Counts]) -> None:
    whole = Counts.sum(several)
    assert whole.rated == sum(one.rated for one in several)
    assert whole.response.n == sum(one.asked for one in several)
    assert sum(whole.levels.values()) == whole.rated
    assert whole.satisfaction(3).hits + whole.bad == whole.rated
