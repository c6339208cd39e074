"""What is left of a request when it is over: a line in the access log, a count, a line about a failure."""

from __future__ import annotations

import json
import signal

import pytest

from tests.proxy.proxy_process import ProxyProcess
from tests.wire.conftest import RawClient, RawUpstream, RunningProxy, raw_client

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n", 417, "expectation_failed"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", 400, "ambiguous_framing"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "bad_host"),
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method_not_supported"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", 431, "head_too_large"),
    ],
    ids=["expectation", "framing", "host", "tunnel", "head"],
)
def test_what_is_refused_unread_has_its_line_in_the_access_log_too(
    upstream: RawUpstream, request_bytes: bytes, status: int, code: str
) -> None:
    """Smuggling attempts are what somebody looks for there."""
    with ProxyProcess(upstream.url, {"ASP_ACCESS_LOG": "true"}) as proxy:
        raw_client(proxy.port, request_bytes)
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 0
        lines = [json.loads(line) for line in proxy.output.splitlines() if '"request"' in line]
    assert [(line["status"], line["code"], line["method"]) for line in lines] == [(status, code, "-")]


def test_what_is_refused_unread_adds_no_sample_to_the_times(upstream: RawUpstream) -> None:
    """Its zero would make the proxy look faster than it is."""
    with RunningProxy(upstream.url) as proxy:
        raw_client(proxy.port, b"GET / HTTP/1.1\r\n\r\n")
        proxy.settle()
        snapshot = proxy.call(proxy.counters.snapshot)
    assert snapshot.requests == {("other", 400, "bad_host"): 1}
    assert sum(snapshot.total_seconds.counts) == 0


def test_a_failure_of_the_upstream_is_in_the_log_with_its_reason_once(upstream: RawUpstream) -> None:
    """In the real program's own output, as whoever is woken reads it."""
    with ProxyProcess("http://127.0.0.1:1", {}) as proxy:
        for _ in range(3):
            with RawClient(proxy.port) as client:
                client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                assert client.read_response().status == 502
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 0
        lines = [line for line in proxy.log if line["level"] == "warning"]
    (line,) = lines
    assert line["code"] == "upstream_connect_failed"
    assert "No connection to 127.0.0.1:1: Connection refused" in line["detail"]


def test_a_bug_in_the_counting_costs_no_client_its_answer(
    upstream: RawUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The response is relayed, and the connection lives on, whatever the recording does."""
    upstream.default_reply = [OK]

    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    with RunningProxy(upstream.url) as proxy, RawClient(proxy.port) as client:
        monkeypatch.setattr(type(proxy.counters), "request_done", fail)
        for _ in range(2):
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.read_response().status == 200
