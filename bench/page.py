"""docs/performance.md, made from the results of a run: what is generated stands between two marks, all else is kept.

python -m bench.page          (makes it anew from bench/results.json, without measuring)
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from bench.charts import render
from bench.goals import goals_table
from bench.results import Results, Table, load_results

__all__ = ["BEGIN", "END", "PAGE", "RESULTS", "markdown", "replaced", "table_lines", "write_page"]

_ROOT = Path(__file__).resolve().parent.parent
PAGE = _ROOT / "docs" / "performance.md"
RESULTS = _ROOT / "bench" / "results.json"
IMAGES = "images"
BEGIN = "<!-- What follows is written by `make bench`; change it there. -->"
END = "<!-- Written by hand from here on. -->"
_LINE = 120
_NUMBER = re.compile(r"\**-?\d|failed|$")


def table_lines(table: Table) -> list[str]:
    """Return a table as Markdown, columns of numbers to the right."""
    # A row may tell of a name with a bar in it.
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in (table["columns"], *table["rows"])]
    lines = ["| " + " | ".join(row) + " |" for row in escaped]
    columns = zip(*table["rows"], strict=True) if table["rows"] else [()] * len(table["columns"])
    is_number = [number > 0 and all(map(_NUMBER.match, column)) for number, column in enumerate(columns)]
    return [lines[0], "|" + "".join("---:|" if each else "---|" for each in is_number), *lines[1:]]


def markdown(results: Results) -> str:
    """Return what is generated of the page."""
    run = results["run"]
    lines = [
        *_wrapped(
            "Measured by `make bench` on one machine, the programs in turn, round after round, so that whatever the "
            "machine does meets all of them. Ratios are medians of the rounds' ratios, with the lowest and highest; "
            "they hold, where absolute figures move with the machine."
        ),
        "",
        *(f"- {key}: {value}" for key, value in run.items()),
        "",
        "## Goals",
        "",
        "Beside nginx, which signs nothing, in the same run. [What is missed, and why](#what-is-missed-and-why).",
        "",
        *table_lines(goals_table(results["parts"])),
    ]
    for part in results["parts"].values():
        lines += ["", f"## {part['title']}", "", part["text"].strip()]
        if part["measured"] != run.get("measured"):
            lines += ["", f"Measured by itself: {part['measured']}."]
        for chart in part["charts"]:
            lines += ["", f"![{chart['title']}]({IMAGES}/{chart['name']}.svg)"]
        for table in part["tables"]:
            lines += ["", f"**{table['title']}**", "", *table_lines(table)]
    return "\n".join(lines)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _LINE, break_on_hyphens=False)


def replaced(page: str, generated: str) -> str:
    """Return the page with its generated part replaced. Raises ValueError where the marks are not there, once each."""
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise ValueError(f"the page must have the lines {BEGIN!r} and {END!r}, once each and in this order")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{generated.strip()}\n\n{END}{after}"


def write_page(results: Results, page: Path = PAGE) -> None:
    """Write the page and its pictures."""
    page.write_text(replaced(page.read_text(), markdown(results)))
    images = page.parent / IMAGES
    images.mkdir(exist_ok=True)
    for part in results["parts"].values():
        for chart in part["charts"]:
            (images / f"{chart['name']}.svg").write_text(render(chart))


if __name__ == "__main__":
    write_page(load_results(RESULTS))
