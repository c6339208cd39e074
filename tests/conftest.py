"""What holds for all tests.

Hypothesis profiles: `fast` by default, `deep` when HYPOTHESIS_PROFILE says so.

A test that lacks a tool or a folder is skipped where people work, and fails where CI is set: a test that CI does not
run guards nothing.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Generator

import pytest
from hypothesis import settings

settings.register_profile("fast", max_examples=100, deadline=None)
settings.register_profile("deep", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))

# uvicorn sets the levels of these when it is started, in whichever test that is.
_LOGGERS_OF_UVICORN = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")


@pytest.fixture(autouse=True)
def _levels_of_loggers() -> None:
    """Begin each test with the levels that a new process has: tests run in any order, on several processes."""
    for name in _LOGGERS_OF_UVICORN:
        logging.getLogger(name).setLevel(logging.NOTSET)


_IS_CI = os.environ.get("CI", "").lower() not in {"", "0", "false"}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail what was skipped in CI; what is expected to fail (xfail) is no skip."""
    report = yield
    if _IS_CI and report.skipped and not hasattr(report, "wasxfail"):
        _fail(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail a module that was skipped as a whole in CI."""
    report = yield
    if _IS_CI and report.skipped:
        _fail(report)
    return report


def _fail(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"In CI nothing may be skipped (tests/conftest.py), and this was: {reason}"
