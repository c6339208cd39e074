from __future__ import annotations

import logging

import pytest

from aws_signing_proxy.errors import DownstreamError, ErrorCode, InternalError, UpstreamError
from aws_signing_proxy.observe.error_log import ErrorLog


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def refused() -> UpstreamError:
    return UpstreamError(ErrorCode.UPSTREAM_CONNECT_FAILED, "No connection to 127.0.0.1:1: refused.")


def test_the_first_failure_of_a_kind_is_logged_at_once_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever is woken finds the sentence in the log."""
    ErrorLog(Clock()).report(refused())
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.__dict__["code"] == "upstream_connect_failed"
    assert record.__dict__["detail"] == "No connection to 127.0.0.1:1: refused."
    assert record.__dict__["more_since_the_last_line"] == 0


def test_a_thousand_failures_of_one_kind_make_one_line_and_the_next_one_counts_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An outage must not fill the disk."""
    clock = Clock()
    log = ErrorLog(clock)
    for _ in range(1000):
        log.report(refused())
    assert len(caplog.records) == 1
    clock.now += 10.0
    log.report(refused())
    assert [record.__dict__["more_since_the_last_line"] for record in caplog.records] == [0, 999]


def test_each_kind_of_failure_has_its_own_line(caplog: pytest.LogCaptureFixture) -> None:
    """A second problem is not hidden behind the first."""
    log = ErrorLog(Clock())
    log.report(refused())
    log.report(InternalError(ErrorCode.CREDENTIALS_UNAVAILABLE, "None were found."))
    assert [record.__dict__["status"] for record in caplog.records] == [502, 503]


def test_the_caller_s_mistakes_are_logged_at_debug_level_only(caplog: pytest.LogCaptureFixture) -> None:
    """Anybody could fill the log with them."""
    caplog.set_level(logging.DEBUG)
    ErrorLog(Clock()).report(DownstreamError(ErrorCode.BAD_HOST, "No Host."))
    (record,) = caplog.records
    assert record.levelno == logging.DEBUG
