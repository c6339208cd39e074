"""Medians, spreads, ratios and quantiles of rounds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.figures import Figure, differences, figure, quantile, ratios

NUMBERS = st.floats(0.001, 1e9)


def test_a_figure_is_the_median_of_the_rounds_with_the_lowest_and_the_highest() -> None:
    assert figure([5.0, 1.0, 3.0, 100.0, 2.0]) == Figure(value=3.0, low=1.0, high=100.0)


def test_a_ratio_is_the_median_of_the_rounds_ratios_and_not_the_ratio_of_medians() -> None:
    # The machine was ten times slower in the second round, for both.
    ours, theirs = [2.0, 30.0, 2.0], [1.0, 10.0, 1.0]
    assert ratios(ours, theirs) == Figure(value=2.0, low=2.0, high=3.0)


def test_a_difference_is_taken_round_by_round() -> None:
    assert differences([3.0, 30.0], [1.0, 20.0]) == Figure(value=6.0, low=2.0, high=10.0)


def test_rounds_that_are_not_pairs_have_no_ratio() -> None:
    with pytest.raises(ValueError, match="zip"):
        ratios([1.0, 2.0], [1.0])


@pytest.mark.parametrize("rounds", [[], [1.0, math.nan], [math.inf]])
def test_no_figure_is_made_of_nothing_or_of_what_is_no_number(rounds: list[float]) -> None:
    with pytest.raises(ValueError, match="no figure"):
        figure(rounds)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (0.999, 100), (1.0, 100), (0.0, 1)])
def test_a_quantile_is_the_nearest_rank(share: float, expected: int) -> None:
    assert quantile(list(range(1, 101)), share) == expected


@given(st.lists(NUMBERS, min_size=1), st.floats(0.0, 1.0))
def test_a_quantile_is_one_of_the_values_and_no_smaller_one_covers_the_share(values: list[float], share: float) -> None:
    ascending = sorted(values)
    found = quantile(ascending, share)
    assert found in ascending
    assert sum(value <= found for value in ascending) >= share * len(ascending) - 1e-9


def test_of_nothing_there_is_no_quantile() -> None:
    with pytest.raises(ValueError, match="no value"):
        quantile([], 0.5)
