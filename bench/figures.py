"""Medians, spreads, ratios, quantiles: pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import TypedDict

__all__ = ["Figure", "differences", "figure", "quantile", "ratios"]


class Figure(TypedDict):
    """A figure of several rounds: their median, and the lowest and highest."""

    value: float
    low: float
    high: float


def figure(rounds: Iterable[float]) -> Figure:
    """Return what several rounds came to. Raises ValueError where there were none, or one was no number."""
    values = sorted(rounds)
    if not values or not all(map(math.isfinite, values)):
        raise ValueError(f"no figure can be made of {values}")
    return Figure(value=statistics.median(values), low=values[0], high=values[-1])


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Figure:
    """Return how often `theirs` goes into `ours`, round by round: the two of one round met the same machine."""
    return figure(one / other for one, other in zip(ours, theirs, strict=True))


def differences(ours: Sequence[float], theirs: Sequence[float]) -> Figure:
    """Return by how much `ours` is more than `theirs`, round by round."""
    return figure(one - other for one, other in zip(ours, theirs, strict=True))


def quantile(ascending: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of all values does not exceed (nearest rank)."""
    if not ascending:
        raise ValueError("no value has no quantile")
    return ascending[max(0, math.ceil(share * len(ascending)) - 1)]
