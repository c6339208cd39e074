"""The page: goals, tables, pictures, and that what people wrote stays."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench.charts import render, round_limit
from bench.figures import Figure, figure
from bench.goals import GOALS, Goal, goals_table, judge
from bench.page import BEGIN, END, PAGE, markdown, replaced, table_lines, write_page
from bench.results import Chart, Results, Series, Table, load_results, new_part, ratio_cell, save_results, span

ATMOST = Goal("memory", "memory.mib", 40, "MiB")
ATLEAST = Goal("throughput", "bulk.ratio", 0.7, "× nginx", is_upper=False)


def results(**figures: Figure) -> Results:
    part = new_part("Some <part>", "How it was done.")
    part["figures"] = {name.replace("_", ".", 1): value for name, value in figures.items()}
    part["tables"].append(Table(title="Some table", columns=["work", "µs"], rows=[["a|b", "1.0"]]))
    series = [Series(name="nginx", bars=[figure([1.0, 2.0]), None]), Series(name="proxy", bars=[figure([3.0])] * 2)]
    part["charts"].append(Chart(name="bench-some", title="A & B", unit="µs", labels=["GET", "<PUT>"], series=series))
    part["missing"]["flat.route"] = "there are none"
    part["measured"] = "today"
    return Results(run={"measured": "today", "machine": "a machine"}, parts={"some": part})


@pytest.mark.parametrize(
    ("goal", "value", "remark"),
    [
        (ATMOST, 40.0, "reached"),
        (ATMOST, 39.0, "reached"),
        (ATMOST, 44.0, "**missed by 10%**"),
        (ATLEAST, 0.7, "reached"),
        (ATLEAST, 0.9, "reached"),
        (ATLEAST, 0.35, "**missed by 50%**"),
    ],
)
def test_a_goal_is_reached_or_missed_by_a_share_of_it(goal: Goal, value: float, remark: str) -> None:
    parts = {"a": new_part("A", "")}
    parts["a"]["figures"][goal.key] = figure([value])
    assert judge(goal, parts).remark == remark


def test_a_goal_is_judged_by_the_median() -> None:
    parts = {"a": new_part("A", "")}
    parts["a"]["figures"][ATMOST.key] = figure([30.0, 39.0, 90.0])
    assert judge(ATMOST, parts) == ("39 (30 to 90)", 0.0, "reached")


def test_what_was_not_measured_is_neither_reached_nor_missed_and_says_why() -> None:
    parts = {"a": new_part("A", "")}
    assert judge(ATMOST, parts).remark == "not measured in this run"
    parts["a"]["missing"][ATMOST.key] = "there is no memory"
    assert judge(ATMOST, parts) == ("", None, "not measured: there is no memory")


def test_the_goal_beside_the_original_says_which_peer_it_wants() -> None:
    goal = next(goal for goal in GOALS if goal.key.endswith(".original"))
    assert "--peer original=COMMAND" in judge(goal, {}).remark


def test_every_goal_has_a_row() -> None:
    assert [row[0] for row in goals_table({})["rows"]] == [goal.name for goal in GOALS]
    assert len({goal.key for goal in GOALS}) == len(GOALS)


def test_what_people_wrote_before_and_behind_the_marks_stays() -> None:
    page = f"# Title\n\nBefore.\n{BEGIN}\nold\n{END}\n\n## Why\n\nBehind.\n"
    new = replaced(page, "new")
    assert new == f"# Title\n\nBefore.\n{BEGIN}\n\nnew\n\n{END}\n\n## Why\n\nBehind.\n"
    assert replaced(new, "new") == new


@pytest.mark.parametrize("page", ["nothing", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}{BEGIN}{END}"])
def test_a_page_without_its_marks_is_not_touched(page: str) -> None:
    with pytest.raises(ValueError, match="once each"):
        replaced(page, "new")


def test_a_table_has_its_numbers_to_the_right_and_no_bar_of_a_name_breaks_it() -> None:
    table = Table(title="", columns=["work", "µs"], rows=[["a|b", "1.0"]])
    assert table_lines(table) == ["| work | µs |", "|---|---:|", "| a\\|b | 1.0 |"]


def test_the_page_and_its_pictures_are_written(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"# Performance\n{BEGIN}\n{END}\nBy hand.\n")
    write_page(results(memory_idle=figure([1.0])), page)
    text = page.read_text()
    assert "## Some <part>" in text
    assert text.endswith(f"{END}\nBy hand.\n")
    for link in re.findall(r"\]\((images/[^)]+)\)", text):
        assert (tmp_path / link).read_text().startswith("<svg ")


def test_a_part_of_another_run_says_when_it_was_measured() -> None:
    mixed = results()
    assert "Measured by itself" not in markdown(mixed)
    mixed["parts"]["some"]["measured"] = "yesterday"
    assert "Measured by itself: yesterday." in markdown(mixed)


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    save_results(tmp_path / "results.json", results())
    assert load_results(tmp_path / "results.json") == results()


def test_the_projects_own_page_has_its_marks() -> None:
    replaced(PAGE.read_text(), "new")


def test_a_picture_is_well_formed_and_shows_each_figure_that_there_is() -> None:
    (chart,) = results()["parts"]["some"]["charts"]
    tree = ET.fromstring(render(chart))
    texts = ["".join(text.itertext()) for text in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == "A & B"
    assert {"GET", "<PUT>", "nginx", "proxy", "1.50"} <= set(texts)
    assert texts.count("3.00") == 2
    assert "prefers-color-scheme: dark" in render(chart)


def test_a_picture_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        render(Chart(name="none", title="", unit="", labels=["a"], series=[Series(name="x", bars=[None])]))


@pytest.mark.parametrize(
    ("value", "limit"), [(0, 1), (0.3, 0.5), (1, 1), (1.1, 2), (2.2, 2.5), (103, 200), (7, 10), (999, 1000)]
)
def test_an_axis_ends_at_a_round_number(value: float, limit: float) -> None:
    assert round_limit(value) == pytest.approx(limit)


def test_a_figure_of_one_round_has_no_spread() -> None:
    assert (span(figure([4.21])), span(figure([4.0, 4.2, 4.9]))) == ("4.2", "4.2 (4.0 to 4.9)")
    assert (ratio_cell(figure([2.0])), ratio_cell(figure([2.0, 3.0]))) == ("**2.00**", "**2.50** (2.00 to 3.00)")
