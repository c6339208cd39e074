from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from aws_signing_proxy.errors import DownstreamError, ErrorCode, InternalError, UpstreamError
from aws_signing_proxy.observe.error_log import ErrorLog
from aws_signing_proxy.observe.logs import configure_logs, remove_log_handlers


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What the program's log shows, as it is rendered."""
    stream = io.StringIO()
    configure_logs(level="debug", log_format="json", stream=stream)
    yield stream
    remove_log_handlers()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def refused() -> UpstreamError:
    return UpstreamError(ErrorCode.UPSTREAM_CONNECT_FAILED, "No connection to 127.0.0.1:1: refused.")


def test_the_first_failure_of_a_kind_is_logged_at_once_with_its_reason(stream: io.StringIO) -> None:
    """Whoever is woken finds the sentence in the log."""
    ErrorLog(Clock()).report(refused())
    (line,) = lines(stream)
    assert line["level"] == "warning"
    assert line["event"] == "The upstream could not be reached"
    assert (line["code"], line["status"]) == ("upstream_connect_failed", 502)
    assert line["detail"] == "No connection to 127.0.0.1:1: refused."
    assert line["more_since_the_last_line"] == 0


def test_people_read_the_same_in_the_console_format() -> None:
    """The format for people loses nothing."""
    console = io.StringIO()
    configure_logs(level="info", log_format="console", stream=console)
    ErrorLog(Clock()).report(refused())
    remove_log_handlers()
    assert "No connection to 127.0.0.1:1: refused." in console.getvalue()
    assert "upstream_connect_failed" in console.getvalue()


def test_a_thousand_failures_of_one_kind_make_one_line_and_the_next_one_counts_them(stream: io.StringIO) -> None:
    """An outage must not fill the disk."""
    clock = Clock()
    log = ErrorLog(clock)
    for _ in range(1000):
        log.report(refused())
    assert len(lines(stream)) == 1
    clock.now += 10.0
    log.report(refused())
    assert [line["more_since_the_last_line"] for line in lines(stream)] == [0, 999]


def test_each_kind_of_failure_has_its_own_line(stream: io.StringIO) -> None:
    """A second problem is not hidden behind the first."""
    log = ErrorLog(Clock())
    log.report(refused())
    log.report(InternalError(ErrorCode.CREDENTIALS_UNAVAILABLE, "None were found."))
    assert [line["status"] for line in lines(stream)] == [502, 503]


def test_the_caller_s_mistakes_are_logged_at_debug_level_only(stream: io.StringIO) -> None:
    """Anybody could fill the log with them."""
    ErrorLog(Clock()).report(DownstreamError(ErrorCode.BAD_HOST, "No Host."))
    (line,) = lines(stream)
    assert (line["level"], line["code"], line["detail"]) == ("debug", "bad_host", "No Host.")
