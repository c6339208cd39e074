"""The way to STS: whatever a server or the network does, a call ends in its time and says what happened."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError
from aws_signing_proxy.credentials.sts.service import SecurityTokenService
from tests.credentials.sts.sts_scene import BASE, ROLE, ready, service
from tests.credentials.sts.sts_server import CloseAtOnce, Delay, Drip, Failure, Reset, Respond, Silence, StsServer


@pytest.fixture(name="server")
def _server() -> Iterator[StsServer]:
    with StsServer() as server:
        yield server


@pytest.fixture(name="sts")
def _sts(server: StsServer) -> Iterator[SecurityTokenService]:
    sts = service(server)
    yield sts
    sts.close()


def failure(sts: SecurityTokenService, seconds: float = 5.0, fetch: Fetch | None = None) -> tuple[Attempt, bool]:
    with pytest.raises(CredentialsUnavailableError) as caught:
        sts.assume_role(fetch or Fetch(timeout_seconds=seconds), BASE, ROLE)
    assert caught.value.__context__ is None, "it would keep the request alive"
    (attempt,) = caught.value.attempts
    return attempt, caught.value.is_conclusive


@pytest.mark.parametrize("bad", [Silence(), Delay(30.0), Drip(0.02)], ids=["silence", "late", "drip"])
@pytest.mark.parametrize("is_reused", [False, True], ids=["new connection", "kept connection"])
def test_a_server_that_gives_no_answer_is_given_up_in_the_time_of_the_fetch(
    server: StsServer, sts: SecurityTokenService, bad: Failure, is_reused: bool
) -> None:
    """Also one that sends a byte every 20 ms, so that no single wait is ever long."""
    ready(sts)
    fetch = Fetch(timeout_seconds=1.0 if is_reused else 0.3)
    if is_reused:
        sts.assume_role(fetch, BASE, ROLE)
    server.fail(bad)
    began = time.monotonic()
    with pytest.raises(CredentialsUnavailableError, match="did not answer in time") as caught:
        sts.assume_role(fetch, BASE, ROLE)
    assert time.monotonic() - began < 4.0
    assert not fetch.remaining_seconds
    assert not caught.value.is_conclusive
    assert not fetch.steps[-1].is_success
    assert server.connections == 1
    assert sts.assume_role(Fetch(), BASE, ROLE).access_key_id


def test_the_time_is_that_of_each_fetch_anew_though_the_client_is_one(
    server: StsServer, sts: SecurityTokenService
) -> None:
    sts.assume_role(Fetch(), BASE, ROLE)
    server.fail(Silence(), Delay(0.3), Silence())
    assert failure(sts, 0.1)[0].reason == "did not answer in time"
    assert sts.assume_role(Fetch(), BASE, ROLE).access_key_id
    assert failure(sts, 0.1)[0].reason == "did not answer in time"


def test_a_connection_that_the_server_had_closed_is_opened_anew_unnoticed(
    server: StsServer, sts: SecurityTokenService
) -> None:
    fetch = Fetch()
    for _ in range(3):
        sts.assume_role(fetch, BASE, ROLE)
        server.close_connections()
        while server.open_connections:
            time.sleep(0.002)
    assert server.connections == 3


@pytest.mark.parametrize("bad", [CloseAtOnce(), Reset()], ids=["closed", "reset"])
def test_a_kept_connection_that_ends_as_it_is_used_is_tried_once_more_on_a_new_one(
    server: StsServer, sts: SecurityTokenService, bad: Failure
) -> None:
    fetch = Fetch()
    sts.assume_role(fetch, BASE, ROLE)
    server.fail(bad)
    assert sts.assume_role(fetch, BASE, ROLE).access_key_id
    assert server.counts["AssumeRole"] == 3
    # On the new one there is no reason to hope.
    server.fail(bad, bad)
    attempt, is_conclusive = failure(sts, fetch=fetch)
    assert attempt.reason == "closed the connection without an answer"
    assert not is_conclusive
    assert server.counts["AssumeRole"] == 5


def test_a_connection_that_a_firewall_has_forgotten_since_the_last_fetch_is_not_used_again(
    sts: SecurityTokenService, server: StsServer
) -> None:
    """It swallows what is sent on it: that would be noticed when the time of the fetch is over."""
    sts.assume_role(Fetch(), BASE, ROLE)
    before = server.connections
    assert sts.assume_role(Fetch(), BASE, ROLE).access_key_id
    assert server.connections == before + 1


@pytest.mark.parametrize("bad", [CloseAtOnce(), Reset()], ids=["closed", "reset"])
def test_a_new_connection_that_ends_without_an_answer_is_a_failure_at_once(
    server: StsServer, sts: SecurityTokenService, bad: Failure
) -> None:
    server.fail(bad)
    assert failure(sts)[0].reason == "closed the connection without an answer"
    assert server.counts["AssumeRole"] == 1


@pytest.mark.parametrize("status", [500, 503, 429])
def test_an_error_of_the_server_is_not_asked_again_by_itself(
    server: StsServer, sts: SecurityTokenService, status: int
) -> None:
    server.fail(Respond(status))
    failure(sts)
    assert server.counts["AssumeRole"] == 1


def test_an_answer_that_is_cut_off_is_told_as_that(server: StsServer, sts: SecurityTokenService) -> None:
    server.fail(Respond(200, b"<AssumeRoleResponse>", declared_bytes=5000))
    attempt, is_conclusive = failure(sts)
    assert attempt.reason == "closed the connection in the middle of its answer"
    assert not is_conclusive
    assert server.counts["AssumeRole"] == 1


def test_a_huge_answer_is_not_read_to_its_end(server: StsServer, sts: SecurityTokenService) -> None:
    server.fail(Respond(200, b"<" + b"a" * 3_000_000))
    assert failure(sts)[0].reason == "answered 200 with more than 256 KiB"


def test_a_port_where_nobody_listens_is_told_as_that() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    attempt, is_conclusive = failure(service(f"http://user:password@127.0.0.1:{port}/?token=secret"))
    assert attempt.source == f"STS at http://127.0.0.1:{port}"
    assert attempt.reason == "refused the connection"
    assert "set AWS_ENDPOINT_URL_STS to one that can" in attempt.advice
    assert not is_conclusive


def test_a_name_that_does_not_exist_is_told_as_that() -> None:
    attempt, is_conclusive = failure(service("http://sts.does-not-exist.invalid"))
    assert attempt.reason.startswith("its name cannot be resolved (")
    assert not is_conclusive


def test_a_resolver_that_does_not_answer_is_given_up_in_the_time_of_the_fetch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    is_over = threading.Event()
    sts = ready(service("http://sts.example.invalid"))
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: is_over.wait(10))
    began = time.monotonic()
    attempt, _ = failure(sts, 0.2)
    assert time.monotonic() - began < 4.0
    assert "its name was not resolved within" in attempt.reason
    is_over.set()


@contextlib.contextmanager
def swallowing_address() -> Iterator[tuple[str, int]]:
    """Yield an address that answers nobody: a listener whose queue is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as stack:
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()


def test_several_addresses_have_one_time_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    with swallowing_address() as address:
        sts = ready(service("http://sts.example.invalid"))
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)] * 3
        monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)
        began = time.monotonic()
        attempt, is_conclusive = failure(sts, 0.3)
        assert time.monotonic() - began < 4.0
        assert attempt.reason.startswith("cannot be reached: no connection within")
        assert not is_conclusive


def test_an_address_that_leads_nowhere_leaves_time_for_the_next(
    server: StsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with swallowing_address() as address:
        sts = ready(service("http://sts.example.invalid"))
        answers = (address, ("127.0.0.1", server.port))
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", one) for one in answers]
        monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)
        assert sts.assume_role(Fetch(timeout_seconds=1.5), BASE, ROLE).access_key_id
        sts.close()


def test_the_next_address_is_tried_where_one_refuses(server: StsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = listener.getsockname()
    sts = ready(service("http://sts.example.invalid"))
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", one) for one in (closed, ("127.0.0.1", server.port))]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)
    assert sts.assume_role(Fetch(), BASE, ROLE).access_key_id
    sts.close()


def test_an_ipv6_address_is_taken_from_a_url_with_its_brackets(
    server: StsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def resolve(host: object, *_: object, **__: object) -> list[object]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]

    sts = service(f"http://[::1]:{server.port}")
    assert sts.address == f"http://[::1]:{server.port}"
    monkeypatch.setattr("socket.getaddrinfo", resolve)
    assert sts.assume_role(Fetch(), BASE, ROLE).access_key_id
    sts.close()
    assert asked == ["::1"]


def test_something_that_speaks_no_http_is_told_as_that() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"220 mail.example ESMTP\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        attempt, _ = failure(service(f"http://127.0.0.1:{listener.getsockname()[1]}"))
        thread.join()
    assert attempt.reason == "answered something that is not HTTP"
