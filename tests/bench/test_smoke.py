"""The bench itself, with hardly any effort: every part still runs, and its results become a page."""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.contestants import Contestant, proxy, started
from bench.page import BEGIN, END
from bench.programs import BenchError
from bench.results import load_results
from bench.run import PARTS
from bench.servers import Service
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
    peers = (f"sibling={command}", "broken=false", "absent=/nonexistent")
    ended = run("--only", "start", *(argument for peer in peers for argument in ("--peer", peer)))
    assert ended.returncode == 0, ended.stderr
    assert "| sibling | " in ended.stdout
    assert "broken is left out: false ended with status 1" in ended.stderr
    assert "absent is left out: /nonexistent cannot be started: No such file or directory" in ended.stderr
    assert "| broken |" not in ended.stdout


def test_a_peer_that_does_not_start_is_left_out_of_loads_too(tmp_path: Path) -> None:
    said: list[str] = []
    peer = Contestant("absent", lambda service, tls: proxy(service, tls=tls, command=("/nonexistent",)), may_fail=True)
    service = Service(tmp_path, 1, 2, 3, 4, tmp_path / "ca.pem")
    with started([peer], service, tls=True, say=said.append) as programs:
        assert programs == {}
    assert said == ["absent is left out: /nonexistent cannot be started: No such file or directory"]
    with (
        pytest.raises(BenchError, match="cannot be started"),
        started([replace(peer, may_fail=False)], service, tls=True, say=said.append),
    ):
        pass
