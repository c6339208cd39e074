"""What the management port answers, asked through real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from aws_signing_proxy.management.application import application
from aws_signing_proxy.management.server import ManagementServer

PATHS = ["/status/health", "/status/live", "/status/ready", "/status/credentials", "/status/metrics"]
METRICS = (b"a_total 1\n", "text/plain; version=0.0.4; charset=utf-8")


class Answer:
    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        status_line, *lines = head.decode().split("\r\n")
        self.status = int(status_line.split(" ")[1])
        self.fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


async def exchange(port: int, raw: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def ask(
    method: str,
    path: str,
    *,
    reasons: Callable[[], list[str]] = list,
    credentials: Callable[[], dict[str, Any]] = lambda: {"valid": True},
    exposition: Callable[[], tuple[bytes, str]] = lambda: METRICS,
    refresh: Callable[[], Awaitable[None]] | None = None,
    metrics_path: str = "/status/metrics",
) -> Answer:
    async def run() -> bytes:
        server = ManagementServer(
            application(
                reasons_not_ready=reasons,
                credentials=credentials,
                exposition=exposition,
                refresh=refresh,
                metrics_path=metrics_path,
            )
        )
        await server.start("127.0.0.1", 0)
        try:
            request = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            return await exchange(server.port, request.encode())
        finally:
            await server.stop()

    return Answer(asyncio.run(run()))


def test_health_is_answered_exactly_as_the_original_does() -> None:
    answer = ask("GET", "/status/health")
    assert (answer.status, answer.body) == (200, b'{"status":"ok"}')
    assert answer.fields["content-type"] == "application/json"


def test_live_is_answered_even_while_the_proxy_is_not_ready() -> None:
    assert ask("GET", "/status/live", reasons=lambda: ["no credentials"]).status == 200


def test_health_does_not_look_at_credentials() -> None:
    assert ask("GET", "/status/health", reasons=lambda: ["no credentials"]).status == 200


def test_ready_is_200_without_reasons_against_it() -> None:
    answer = ask("GET", "/status/ready")
    assert (answer.status, json.loads(answer.body)) == (200, {"status": "ready"})


def test_ready_is_503_with_every_reason_against_it() -> None:
    answer = ask("GET", "/status/ready", reasons=lambda: ["no credentials", "the proxy is stopping"])
    assert answer.status == 503
    assert json.loads(answer.body) == {"status": "not ready", "reasons": ["no credentials", "the proxy is stopping"]}


def test_what_is_told_about_the_credentials_is_passed_on_as_json() -> None:
    answer = ask("GET", "/status/credentials", credentials=lambda: {"valid": False, "problem": "none"})
    assert (answer.status, json.loads(answer.body)) == (200, {"valid": False, "problem": "none"})
    assert answer.fields["content-type"] == "application/json"


def test_the_credentials_are_told_while_the_proxy_is_not_ready_because_that_is_when_people_ask() -> None:
    assert ask("GET", "/status/credentials", reasons=lambda: ["no credentials"]).status == 200


def test_what_cannot_be_told_about_the_credentials_is_500_and_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> dict[str, Any]:
        raise ValueError("inside")

    answer = ask("GET", "/status/credentials", credentials=fail)
    assert answer.status == 500
    assert b"inside" not in answer.body


def test_metrics_are_passed_on_with_their_content_type() -> None:
    answer = ask("GET", "/status/metrics")
    assert (answer.status, answer.body) == (200, METRICS[0])
    assert answer.fields["content-type"] == METRICS[1]


def test_the_metrics_path_can_be_chosen() -> None:
    assert ask("GET", "/metrics", metrics_path="/metrics").body == METRICS[0]
    assert ask("GET", "/status/metrics", metrics_path="/metrics").status == 404


@pytest.mark.parametrize("path", PATHS)
def test_head_is_answered_without_a_body(path: str) -> None:
    answer = ask("HEAD", path)
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.fields["content-length"]) > 0


@pytest.mark.parametrize("path", PATHS)
def test_no_answer_may_be_stored(path: str) -> None:
    assert ask("GET", path).fields["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/", "/status", "/status/health/", "/nothing?x=y"])
def test_an_unknown_path_is_told_the_known_ones(path: str) -> None:
    answer = ask("GET", path)
    assert answer.status == 404
    assert json.loads(answer.body) == {"error": "Not Found", "paths": PATHS}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "MADEUP"])
def test_another_method_is_405_with_those_that_are_allowed(method: str) -> None:
    answer = ask(method, "/status/health")
    assert answer.status == 405
    assert set(answer.fields["allow"].replace(" ", "").split(",")) == {"GET", "HEAD"}
    assert "paths" in json.loads(answer.body)


def test_a_failing_exposition_is_500_and_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> tuple[bytes, str]:
        raise ValueError("inside")

    answer = ask("GET", "/status/metrics", exposition=fail)
    assert answer.status == 500
    assert b"inside" not in answer.body
    assert "inside" in caplog.text


def test_no_field_tells_what_serves() -> None:
    assert "server" not in ask("GET", "/status/health").fields


@pytest.mark.parametrize("path", ["/status/metrics", "/status/credentials"])
def test_numbers_of_other_processes_are_brought_up_to_date_before_they_are_told(path: str) -> None:
    order: list[str] = []

    async def refresh() -> None:
        await asyncio.sleep(0)
        order.append("refreshed")

    def metrics() -> tuple[bytes, str]:
        order.append("told")
        return METRICS

    def credentials() -> dict[str, Any]:
        order.append("told")
        return {}

    answer = ask("GET", path, exposition=metrics, credentials=credentials, refresh=refresh)
    assert (answer.status, order) == (200, ["refreshed", "told"])
