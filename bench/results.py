"""What the parts of the bench hand over: tables, pictures, figures; kept as JSON, of which the page is made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypedDict

from bench.figures import Figure

__all__ = [
    "Chart",
    "Part",
    "Results",
    "Series",
    "Table",
    "load_results",
    "new_part",
    "percent",
    "ratio_cell",
    "save_results",
    "span",
]


class Table(TypedDict):
    """A table of the page: the first column names the row, all others are numbers."""

    title: str
    columns: list[str]
    rows: list[list[str]]


class Series(TypedDict):
    """Bars of one colour, one for each label of the chart; None where nothing was measured."""

    name: str
    bars: list[Figure | None]


class Chart(TypedDict):
    """A picture: for each label a group of bars. `name` is that of its file; `unit` stands at the numbers."""

    name: str
    title: str
    unit: str
    labels: list[str]
    series: list[Series]


class Part(TypedDict):
    """What one part of the bench came to.

    `text`: how it was measured, for readers. `figures`: what goals are judged by. `missing`: what could not be
    measured, and why, by the name of the figure. `measured`: when, with which commit.
    """

    title: str
    text: str
    tables: list[Table]
    charts: list[Chart]
    figures: dict[str, Figure]
    missing: dict[str, str]
    measured: str


def new_part(title: str, text: str) -> Part:
    """Return a part that has nothing yet."""
    return Part(title=title, text=text, tables=[], charts=[], figures={}, missing={}, measured="")


class Results(TypedDict):
    """One run: the machine and versions it ran with, by name, and its parts."""

    run: dict[str, str]
    parts: dict[str, Part]


def save_results(path: Path, results: Results) -> None:
    """Write the results of a run."""
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


def load_results(path: Path) -> Results:
    """Read what `save_results` has written."""
    results: Results = json.loads(path.read_text())
    return results


# How figures are written


def span(figure: Figure, digits: int = 1) -> str:
    """Return the median and the spread, `4.2 (4.0 to 4.9)`."""
    value, low, high = (f"{figure[key]:.{digits}f}" for key in ("value", "low", "high"))
    return value if low == high else f"{value} ({low} to {high})"


def ratio_cell(figure: Figure) -> str:
    """Return a ratio as it stands in a table: what a reader looks for first."""
    value, low, high = (f"{figure[key]:.2f}" for key in ("value", "low", "high"))
    return f"**{value}**" if low == high else f"**{value}** ({low} to {high})"


def percent(share: float) -> str:
    """Return a share in percent."""
    return f"{share * 100:.0f} %"
