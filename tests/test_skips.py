"""A skipped test fails in CI, and is a visible skip elsewhere (tests/conftest.py)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest

def test_skips(): pytest.skip("no tool")

@pytest.mark.skipif(True, reason="no folder")
def test_is_skipped(): ...

@pytest.mark.xfail(strict=True)
def test_fails_as_expected(): assert False

def test_passes(): ...
"""
SKIPPED_MODULE = """
import pytest
pytest.importorskip("no_such_module")
"""


def run_pytest(folder: Path, ci: str | None) -> str:
    """Run the tests above under this project's conftest.py; return what pytest printed."""
    (folder / "conftest.py").write_text((Path(__file__).parent / "conftest.py").read_text())
    (folder / "test_some.py").write_text(TESTS)
    (folder / "test_module.py").write_text(SKIPPED_MODULE)
    environ = {name: value for name, value in os.environ.items() if name != "CI" and not name.startswith("PYTEST")}
    if ci is not None:
        environ["CI"] = ci
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", "--continue-on-collection-errors", folder],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout


@pytest.mark.parametrize("ci", ["true", "1"])
def test_in_ci_what_is_skipped_has_failed(tmp_path: Path, ci: str) -> None:
    printed = run_pytest(tmp_path, ci)
    assert "1 failed, 1 passed, 1 xfailed, 2 errors" in printed
    for reason in ("no tool", "no folder", "could not import 'no_such_module'"):
        assert reason in printed


@pytest.mark.parametrize("ci", [None, "", "false"])
def test_elsewhere_it_is_a_skip_with_its_reason(tmp_path: Path, ci: str | None) -> None:
    printed = run_pytest(tmp_path, ci)
    assert "1 passed, 3 skipped, 1 xfailed" in printed
    assert "no tool" in printed
