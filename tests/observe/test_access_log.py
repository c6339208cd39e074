"""One line a request."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from aws_signing_proxy.observe.access_log import AccessLog, without_query_values
from aws_signing_proxy.observe.logs import forget_secret, register_secret


def line_of(log_format: str = "json", **changed: Any) -> str:
    stream = io.StringIO()
    request: dict[str, Any] = {
        "method": b"GET",
        "target": b"/index/_search?q=private&size=3",
        "status": 200,
        "code": "ok",
        "bytes_in": 10,
        "bytes_out": 20,
        "total_seconds": 0.0123456,
        "first_byte_seconds": 0.01,
    }
    AccessLog(stream, log_format=log_format, clock=lambda: 1_700_000_000.125).write(**(request | changed))
    assert stream.getvalue().endswith("\n")
    return stream.getvalue()[:-1]


def test_a_line_has_the_request_and_its_outcome() -> None:
    assert json.loads(line_of(client="127.0.0.1:4711")) == {
        "timestamp": "2023-11-14T22:13:20.125Z",
        "level": "info",
        "event": "request",
        "logger": "aws_signing_proxy.access",
        "method": "GET",
        "target": "/index/_search?q=&size=",
        "status": 200,
        "code": "ok",
        "bytes_in": 10,
        "bytes_out": 20,
        "total_seconds": 0.012346,
        "first_byte_seconds": 0.01,
        "client": "127.0.0.1:4711",
    }


def test_a_request_without_an_upstream_s_answer_has_no_first_byte() -> None:
    line = json.loads(line_of(first_byte_seconds=None))
    assert line["first_byte_seconds"] is None
    assert "client" not in line


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (b"/", "/"),
        (b"/a?x=1&y=2", "/a?x=&y="),
        (b"/a?", "/a?"),
        (b"/a?uploads", "/a?uploads"),
        (b"/a?x=1=2&&y=", "/a?x=&&y="),
        (b"/a?x=1?y=2", "/a?x="),
        (b"/a?X-Amz-Signature=abc&X-Amz-Security-Token=def", "/a?X-Amz-Signature=&X-Amz-Security-Token="),
        (b"*", "*"),
        (b"http://user:pass@host/a@b?x=1", "http://host/a@b?x="),
        (b"http://host", "http://host"),
        (b"/a@b:c", "/a@b:c"),
        (b"/%FF/\xff", r"/%FF/\xff"),
    ],
)
def test_the_target_keeps_its_names_and_loses_its_values(target: bytes, shown: str) -> None:
    assert without_query_values(target) == shown


def test_a_long_target_is_cut() -> None:
    assert len(without_query_values(b"/" + b"a" * 60_000)) < 2_100


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_nothing_in_a_request_can_forge_a_line(log_format: str) -> None:
    line = line_of(log_format, target=b'/"\n\r\x1b[2J\x00', method=b'G"\nT', client='"\n')
    assert not any(ord(character) < 0x20 for character in line)
    if log_format == "json":
        assert json.loads(line)["target"] == '/"\n\r\x1b[2J\x00'


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_secret_in_the_path_is_masked(log_format: str) -> None:
    secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    register_secret(secret)
    try:
        line = line_of(log_format, target=f"/{secret}?x={secret}".encode())
    finally:
        forget_secret(secret)
    assert "EXAMPLEKEY" not in line
    assert "/***?x=" in line


def test_a_console_line_is_short() -> None:
    line = line_of("console")
    assert line == (
        "2023-11-14T22:13:20.125Z - GET /index/_search?q=&size= 200 ok in=10 out=20 total=12.3ms first_byte=10.0ms"
    )
    assert line_of("console", first_byte_seconds=None).endswith(" first_byte=-")


def test_the_timestamp_follows_the_clock() -> None:
    stream = io.StringIO()
    moments = iter([1_700_000_000.0, 1_700_000_000.999, 1_700_000_001.5])
    log = AccessLog(stream, clock=lambda: next(moments))
    for _ in range(3):
        log.write(
            method=b"GET", target=b"/", status=200, code="ok", bytes_in=0, bytes_out=0,
            total_seconds=0.0, first_byte_seconds=0.0,
        )  # fmt: skip
    times = [json.loads(line)["timestamp"][17:] for line in stream.getvalue().splitlines()]
    assert times == ["20.000Z", "20.999Z", "21.500Z"]


@pytest.mark.parametrize("client", [None, "127.0.0.1:4711"])
def test_where_there_are_several_workers_a_line_says_whose_it_is(client: str | None) -> None:
    request = {"method": b"GET", "target": b"/", "status": 200, "code": "ok", "bytes_in": 0, "bytes_out": 0}
    found = []
    for log_format in ("json", "console"):
        stream = io.StringIO()
        log = AccessLog(stream, log_format=log_format, worker=3)
        log.write(**request, total_seconds=0.1, first_byte_seconds=None, client=client)  # type: ignore[arg-type]  # one of each type
        found.append(stream.getvalue())
    assert json.loads(found[0])["worker"] == 3
    assert found[1].endswith(" worker=3\n")
