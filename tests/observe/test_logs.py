"""Every log line of the process."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any, TextIO

import pytest

from aws_signing_proxy.observe.logs import configure_logs, forget_secret, get_logger, register_secret

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


@pytest.fixture(autouse=True)
def _secret() -> Iterator[None]:
    register_secret(SECRET)
    yield
    forget_secret(SECRET)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError


def lines_of(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def logs_to(stream: TextIO, *, level: str = "info", log_format: str) -> None:
    # Without pytest's own handlers, which fail a test at a line that cannot be rendered. It adds them to every test.
    logging.getLogger().handlers.clear()
    configure_logs(level=level, log_format=log_format, stream=stream)


def json_logs(level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    logs_to(stream, level=level, log_format="json")
    return stream


def fail() -> None:
    raise ValueError("broken")


def fail_telling_the_secret() -> None:
    try:
        int(SECRET)
    except ValueError as cause:
        raise RuntimeError(f"quoted {SECRET!r}") from cause


def test_a_line_is_one_json_object_with_its_facts_first() -> None:
    stream = json_logs()
    get_logger("aws_signing_proxy.some").info("something happened", count=3, name="x")
    (line,) = lines_of(stream)
    assert list(line) == ["timestamp", "level", "event", "logger", "count", "name"]
    assert line["level"] == "info"
    assert line["event"] == "something happened"
    assert line["logger"] == "aws_signing_proxy.some"
    assert (line["count"], line["name"]) == (3, "x")


def test_the_timestamp_is_rfc_3339_in_utc() -> None:
    stream = json_logs()
    get_logger("x").info("now")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", lines_of(stream)[0]["timestamp"])


def test_fields_cannot_take_the_place_of_the_facts() -> None:
    stream = json_logs()
    get_logger("x").info("event", timestamp="never", level="fatal", logger="somebody")
    (line,) = lines_of(stream)
    assert line["level"] == "info"
    assert line["timestamp"] != "never"
    assert line["logger"] == "aws_signing_proxy.x"


def test_the_standard_library_s_loggers_are_written_alike() -> None:
    stream = json_logs()
    logging.getLogger("uvicorn.error").warning("port %d", 8081)
    logging.getLogger("asyncio").error("Task was destroyed")
    first, second = lines_of(stream)
    assert (first["event"], first["level"], first["logger"]) == ("port 8081", "warning", "uvicorn.error")
    assert (second["event"], second["level"], second["logger"]) == ("Task was destroyed", "error", "asyncio")


def test_python_s_warnings_become_log_lines() -> None:
    stream = json_logs()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("something old", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    assert "something old" in lines_of(stream)[0]["event"]


def test_below_the_level_nothing_is_written() -> None:
    stream = json_logs(level="warning")
    get_logger("x").info("no")
    logging.getLogger("other").info("no")
    get_logger("x").warning("yes")
    assert [line["event"] for line in lines_of(stream)] == ["yes"]


def test_debug_lines_are_ours_only() -> None:
    stream = json_logs(level="DEBUG")
    logging.getLogger("botocore.auth").debug("CanonicalRequest: ...token...")
    get_logger("x").debug("ours")
    assert [line["event"] for line in lines_of(stream)] == ["ours"]


def test_configuring_twice_does_not_write_twice() -> None:
    first = json_logs()
    second = json_logs()
    get_logger("x").info("once")
    assert first.getvalue() == ""
    assert len(lines_of(second)) == 1


def test_an_exception_stands_in_one_field() -> None:
    stream = json_logs()
    try:
        fail()
    except ValueError:
        get_logger("x").exception("failed")
        logging.getLogger("other").exception("failed there")
    for line in lines_of(stream):
        assert line["exception"].startswith("Traceback")
        assert line["exception"].endswith("ValueError: broken")


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_planted_secret_is_nowhere(log_format: str) -> None:
    stream = io.StringIO()
    logs_to(stream, level="debug", log_format=log_format)
    ours, theirs = get_logger("x"), logging.getLogger("theirs")
    ours.debug(f"in the event {SECRET}", key=SECRET, nested={"list": [SECRET]}, authorization="unregistered-one")
    ours.info("positional %s", SECRET)
    theirs.info("argument %s", SECRET)
    theirs.info("unfitting %s %s", SECRET)
    theirs.info(f"unfitting %d {SECRET}", "text")
    try:
        fail_telling_the_secret()
    except RuntimeError:
        ours.exception("failed")
        theirs.exception("failed")
    text = stream.getvalue()
    assert text.count("***") >= 9
    assert SECRET not in text
    assert "EXAMPLEKEY" not in text
    assert "unregistered-one" not in text


def test_a_line_that_cannot_be_rendered_is_written_without_its_arguments() -> None:
    stream = json_logs()
    logging.getLogger("other").info("%d pieces", "three")
    logging.getLogger("other").info({"not": "text"})
    get_logger("x").info("odd", value=Unprintable())
    first, second, third = lines_of(stream)
    assert (first["event"], first["not_rendered"]) == ("%d pieces", "TypeError")
    assert second["level"] == "info"
    assert third["value"] == "<unprintable Unprintable>"


def test_a_line_break_in_a_value_is_no_line_break_in_the_log() -> None:
    forged = 'x\n{"event": "forged"}\x1b[2J\u2028'
    stream = json_logs()
    get_logger("x").info(forged, field=forged)
    assert len(stream.getvalue().splitlines()) == 1
    assert lines_of(stream)[0]["event"] == forged
    console = io.StringIO()
    logs_to(console, log_format="console")
    get_logger("x").info(forged, field=forged)
    logging.getLogger("other").info(forged)
    assert console.getvalue().count("\n") == 2
    assert "\x1b" not in console.getvalue()


def test_console_lines_are_for_people() -> None:
    stream = io.StringIO()
    logs_to(stream, log_format="console")
    get_logger("x").info("something happened", count=3)
    try:
        fail()
    except ValueError:
        get_logger("x").exception("failed")
    assert "something happened" in stream.getvalue()
    assert "count=3" in stream.getvalue()
    assert "\nTraceback" in stream.getvalue()


def test_an_unknown_format_or_level_is_refused() -> None:
    with pytest.raises(ValueError, match="xml"):
        configure_logs(log_format="xml")
    with pytest.raises(ValueError, match="loud"):
        configure_logs(level="loud")


def test_only_a_terminal_gets_colours() -> None:
    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        logs_to(stream, log_format="console")
        get_logger("x").info("something")
    assert "\x1b[" in terminal.getvalue()
    assert "\x1b[" not in file.getvalue()


_TEN_THOUSAND_LINES = """
import logging, sys
from aws_signing_proxy.observe.access_log import AccessLog
from aws_signing_proxy.observe.logs import configure_logs, get_logger
configure_logs(level="info", log_format="json", stream=sys.stderr)
access = AccessLog(sys.stderr)
for number in range(10_000):
    get_logger("x").info("line", number=number)
    logging.getLogger("other").info("line")
    access.write(method=b"GET", target=b"/", status=200, code="ok", bytes_in=0, bytes_out=0,
                 total_seconds=0.1, first_byte_seconds=None)
print("alive")
"""


def test_a_broken_pipe_does_not_take_the_process_down() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", _TEN_THOUSAND_LINES],
        stdout=subprocess.PIPE,
        stderr=writing,
        env={},  # PYTHONUNBUFFERED would hide what a buffer holds at the end
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stdout) == (0, b"alive\n")


def test_a_closed_standard_error_does_not_take_the_process_down() -> None:
    command = 'exec "$0" -c "$1" 2>&-'
    done = subprocess.run(
        ["/bin/sh", "-c", command, sys.executable, _TEN_THOUSAND_LINES], stdout=subprocess.PIPE, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"alive\n")


def test_a_closed_stream_swallows_lines() -> None:
    stream = json_logs()
    stream.close()
    get_logger("x").info("to nobody")


def test_where_there_are_several_workers_a_line_says_whose_it_is() -> None:
    for log_format in ("json", "console"):
        stream = io.StringIO()
        logging.getLogger().handlers.clear()
        configure_logs(log_format=log_format, stream=stream, worker=0)
        get_logger("x").warning("an event")
        logging.getLogger("foreign").warning("another")
        lines = stream.getvalue().splitlines()
        assert len(lines) == 2
        assert all('"worker": 0' in line or "worker=0" in line for line in lines)
