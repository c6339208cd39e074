"""The bench itself, with hardly any effort: every part still runs, and its results become a page."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from bench.page import BEGIN, END
from bench.results import load_results
from bench.run import PARTS
from bench.tools import missing_tools

ROOT = Path(__file__).resolve().parent.parent.parent
# Two halves, so that they run beside each other, and each has time on a machine that does other work.
HALVES = ("cost,latency,bulk,memory,start", "scaling,overload,disturbance,flatness")


@pytest.fixture(autouse=True)
def _tools() -> None:
    missing = missing_tools()
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench.run", "--effort", "smoke", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("parts", HALVES)
def test_a_run_measures_its_parts_and_writes_the_page(parts: str, tmp_path: Path) -> None:
    page, results = tmp_path / "performance.md", tmp_path / "results.json"
    page.write_text(f"# Performance\n{BEGIN}\n{END}\nBy hand.\n")
    ended = run("--only", parts, "--write", "--page", str(page), "--results", str(results))
    assert ended.returncode == 0, ended.stderr
    measured = load_results(results)["parts"]
    assert list(measured) == parts.split(",")
    assert page.read_text().endswith("By hand.\n")
    for part in measured.values():
        assert part["tables"] or part["missing"]
        assert f"## {part['title']}" in ended.stdout
        for table in part["tables"]:
            assert table["rows"]
            assert {len(row) for row in table["rows"]} == {len(table["columns"])}
        for chart in part["charts"]:
            assert (tmp_path / "images" / f"{chart['name']}.svg").exists()


def test_the_halves_are_all_parts() -> None:
    assert {part for half in HALVES for part in half.split(",")} == set(PARTS)


def test_a_peer_is_started_with_the_same_environment_and_measured_beside_the_others() -> None:
    command = shlex.join([sys.executable, "-m", "aws_signing_proxy"])
    ended = run("--only", "start", "--peer", f"sibling={command}", "--peer", "broken=false")
    assert ended.returncode == 0, ended.stderr
    assert "| sibling | " in ended.stdout
    assert "broken is left out: false ended with status 1" in ended.stderr
    assert "| broken |" not in ended.stdout
