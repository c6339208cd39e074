"""Servers that cannot be reached, are not who they seem, or take their time: told, and never waited for long."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from aws_signing_proxy.credentials.http.web_address import is_loopback, shown_address
from aws_signing_proxy.credentials.openid.provider import OpenIdProvider
from aws_signing_proxy.credentials.provider import CredentialsUnavailableError
from tests.credentials.http_server import context_of
from tests.credentials.openid.authorization_servers import Failure, OAuthServer, OriginalServer
from tests.credentials.openid.failing_server import FailingServer, Reply, Request
from tests.credentials.openid.oidc_scene import FakeSts, failure_of, fetch_of, oauth_options_of, options_of

PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server() -> Iterator[OriginalServer]:
    with OriginalServer() as running:
        yield running


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_bundle(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def error_of(url: str, timeout_seconds: float = 5.0, **changes: Any) -> CredentialsUnavailableError:
    provider = OpenIdProvider(options_of(url, **changes), sts=FakeSts())
    return failure_of(provider, fetch_of(timeout_seconds=timeout_seconds))


def test_a_certificate_of_a_trusted_authority_is_accepted(authority: trustme.CA, ca_bundle: Path) -> None:
    with OriginalServer(tls=context_of(authority, "127.0.0.1")) as server:
        OpenIdProvider(options_of(server.url, ca_bundle=ca_bundle), sts=FakeSts()).retrieve(fetch_of())
        assert server.url.startswith("https://")


def test_a_certificate_of_an_unknown_authority_is_refused_before_the_secret_is_sent(authority: trustme.CA) -> None:
    with OriginalServer(tls=context_of(authority, "127.0.0.1")) as server:
        error = error_of(server.url)
        assert server.requests == []
    assert "its certificate is not accepted (unable to get local issuer certificate)" in error.attempts[0].reason
    assert "ASP_OPEN_ID_CA_BUNDLE" in error.attempts[0].advice
    assert error.is_conclusive


def test_with_a_bundle_set_the_system_s_authorities_are_not_trusted(
    authority: trustme.CA, ca_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_bundle))
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    with OriginalServer(tls=context_of(authority, "127.0.0.1")) as server:
        OpenIdProvider(options_of(server.url), sts=FakeSts()).retrieve(fetch_of())
        assert "certificate is not accepted" in str(error_of(server.url, ca_bundle=other))


def test_a_certificate_for_another_name_is_refused(authority: trustme.CA, ca_bundle: Path) -> None:
    with OriginalServer(tls=context_of(authority, "other.example.com")) as server:
        error = error_of(server.url, ca_bundle=ca_bundle)
        assert server.requests == []
    assert "certificate is not accepted (IP address mismatch" in error.attempts[0].reason


def test_a_changed_bundle_is_noticed_without_a_restart(authority: trustme.CA, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(bundle))
    with OriginalServer(tls=context_of(authority, "127.0.0.1")) as server:
        provider = OpenIdProvider(options_of(server.url, ca_bundle=bundle), sts=FakeSts())
        failure_of(provider)
        authority.cert_pem.write_to_path(str(bundle))
        provider.retrieve(fetch_of())


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("", "holds no certificate in PEM form"),
        ("x", "holds no certificate in PEM form"),
    ],
)
def test_a_bundle_that_cannot_be_read_is_said_so(tmp_path: Path, content: str | None, told: str) -> None:
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_text(content)
    error = error_of("https://127.0.0.1:1/token", ca_bundle=bundle)
    assert str(error).startswith(f"ASP_OPEN_ID_CA_BUNDLE {bundle}: {told}")
    assert error.is_conclusive


def test_tls_towards_a_server_without_it_is_said_so(server: OriginalServer) -> None:
    error = error_of(server.url.replace("http:", "https:"))
    assert error.attempts[0].reason.startswith("does not speak TLS (")
    assert error.is_conclusive


def test_plain_http_towards_a_server_of_tls_is_said_so(authority: trustme.CA) -> None:
    with OriginalServer(tls=context_of(authority, "127.0.0.1")) as server:
        error = error_of(server.url.replace("https:", "http:"))
    assert "closed the connection without an answer" in error.attempts[0].reason


def test_a_refused_connection_is_said_so() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = error_of(f"http://127.0.0.1:{unused.getsockname()[1]}/token")
    assert error.attempts[0].reason == "refused the connection"
    assert not error.is_conclusive


def test_a_name_that_does_not_resolve_is_said_so() -> None:
    error = error_of("http://nowhere.invalid/token")
    assert error.attempts[0].reason.startswith("its name cannot be resolved (")
    assert not error.is_conclusive


def test_a_name_that_can_be_none_is_said_so() -> None:
    error = error_of(f"http://{'x' * 64}.example.com/token")
    assert error.attempts[0].reason.startswith("its name cannot be resolved (")


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (Failure(closes=True), "closed the connection without an answer"),
        (Failure(raw=b"SSH-2.0-OpenSSH_9.7\r\n\r\n"), "answered something that is not HTTP"),
        (Failure(raw=b"HTTP/1.1 abc\r\n\r\n"), "answered something that is not HTTP"),
        (Failure(raw=b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000), "answered something that is not HTTP"),
        (
            Failure(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}"),
            "closed the connection in the middle of its answer",
        ),
        (
            Failure(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}"),
            "closed the connection in the middle of its answer",
        ),
        (Failure(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "closed the connection in"),
    ],
)
def test_what_is_no_answer_is_said_so(server: OriginalServer, failure: Failure, reason: str) -> None:
    server.failure = failure
    error = error_of(server.url)
    assert error.attempts[0].reason.startswith(reason)
    assert not error.is_conclusive


@pytest.mark.parametrize(
    "failure",
    [
        Failure(is_silent=True),
        Failure(seconds_between_bytes=0.02),
        Failure(status=200, body=b" " * 200, seconds_between_bytes=0.02),
        Failure(delay_seconds=1.0),
    ],
    ids=["silent", "drips its head", "drips its body", "slow"],
)
def test_no_server_is_waited_for_beyond_the_fetch_s_time(server: OriginalServer, failure: Failure) -> None:
    server.failure = failure
    began = time.monotonic()
    error = error_of(server.url, timeout_seconds=0.2)
    assert time.monotonic() - began < 0.6
    assert error.attempts[0].reason == "did not answer in time"
    assert not error.is_conclusive


def test_a_handshake_that_never_ends_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        error = error_of(f"https://127.0.0.1:{silent.getsockname()[1]}/token", timeout_seconds=0.2)
    assert time.monotonic() - began < 0.6
    assert error.attempts[0].reason == "did not answer in time"


def test_the_addresses_of_a_host_share_the_time(server: OriginalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    good = socket.getaddrinfo("127.0.0.1", server.port, type=socket.SOCK_STREAM)
    with socket.socket() as full:
        # With nobody accepting and its queue full, a listener swallows what comes.
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        queue = [socket.socket() for _ in range(3)]
        for one in queue:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        found = [(*good[0][:4], full.getsockname()), *good]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_named: found)
        began = time.monotonic()
        OpenIdProvider(options_of(server.url), sts=FakeSts()).retrieve(fetch_of(timeout_seconds=0.6))
        assert time.monotonic() - began < 0.6
        for one in queue:
            one.close()


@pytest.mark.parametrize(
    "url",
    [
        "login.example.com/token",
        "ftp://login.example.com/token",
        "https://",
        "https://[::1/token",
        "https://login.example.com:99999/token",
        "https://login.example.com/to ken",
        "https://login.example.com/token#part",
    ],
)
def test_what_is_no_url_is_said_so(url: str) -> None:
    error = error_of(url)
    assert error.is_conclusive
    assert "ASP_OPEN_ID_AUTH_SERVER_URL" in error.attempts[0].advice


def test_user_and_password_in_the_url_are_refused_and_not_shown() -> None:
    error = error_of("https://user:planted-password@login.example.com/token")
    assert "holds a user or a password" in str(error)
    assert "planted" not in error.explain()


def test_the_query_of_the_url_is_sent_but_not_shown(server: OriginalServer) -> None:
    server.failure = Failure(status=404)
    error = error_of(f"{server.url}?tenant=planted")
    assert server.requests[0].path == "/token?tenant=planted"
    assert "planted" not in error.explain()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:p@h.example.com:8443/a?b#c", "https://h.example.com:8443/a"),
        ("http://[::1]:80/x", "http://[::1]:80/x"),
        ("https://h:x/", "an address that cannot be understood"),
    ],
)
def test_an_address_is_shown_without_what_may_be_secret(url: str, shown: str) -> None:
    assert shown_address(url) == shown


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost/", True),
        ("http://127.9.9.9/", True),
        ("http://[::1]:1/", True),
        ("http://10.0.0.1/", False),
        ("http://localhost.example.com/", False),
    ],
)
def test_this_machine_is_known_by_name_and_address(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected


class ForwardProxy(FailingServer):
    """Answers in the place of the server that it is asked for, with a token."""

    def reply(self, request: Request) -> Reply:
        """Answer."""
        return Reply(200, b'{"idToken": "through-the-proxy"}')


@pytest.fixture
def proxy() -> Iterator[ForwardProxy]:
    with ForwardProxy() as running:
        yield running


def test_the_proxy_of_the_environment_is_used(proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://user:planted%20password@127.0.0.1:{proxy.port}")
    fetch, sts = fetch_of(), FakeSts()
    OpenIdProvider(options_of("http://login.invalid/token"), sts=sts).retrieve(fetch)
    assert proxy.requests[0].path == "http://login.invalid/token"
    assert proxy.requests[0].fields["proxy-authorization"] == "Basic dXNlcjpwbGFudGVkIHBhc3N3b3Jk"
    assert {"planted password", "dXNlcjpwbGFudGVkIHBhc3N3b3Jk"} <= set(fetch.secrets)
    assert sts.tokens == ["through-the-proxy"]


def tunnel(listener: socket.socket, target: tuple[str, int], heads: list[bytes]) -> None:
    """Take one CONNECT, and relay bytes to `target` until both sides are done."""
    downstream, _ = listener.accept()
    with downstream, socket.create_connection(target) as upstream:
        heads.append(downstream.recv(4096))
        downstream.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        waiting = {downstream: upstream, upstream: downstream}
        while waiting:
            for side in select.select(list(waiting), [], [], 5)[0]:
                data = side.recv(65536)
                if data:
                    waiting[side].sendall(data)
                else:
                    waiting.clear()


def test_tls_goes_through_the_proxy_s_tunnel_to_the_server_that_is_meant(
    authority: trustme.CA, ca_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads: list[bytes] = []
    with (
        OriginalServer(tls=context_of(authority, "login.invalid")) as server,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:password@127.0.0.1:{listener.getsockname()[1]}")
        thread = threading.Thread(target=tunnel, args=(listener, ("127.0.0.1", server.port), heads))
        thread.start()
        OpenIdProvider(options_of("https://login.invalid/token", ca_bundle=ca_bundle), sts=FakeSts()).retrieve(
            fetch_of()
        )
        thread.join()
        assert len(server.issued) == 1
        assert "proxy-authorization" not in server.requests[0].fields
    assert heads[0].startswith(b"CONNECT login.invalid:443 HTTP/1.")
    assert b"Proxy-Authorization: Basic dXNlcjpwYXNzd29yZA==\r\n" in heads[0].replace(b"proxy-a", b"Proxy-A")


def test_a_refusing_proxy_is_named(proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:planted@127.0.0.1:{proxy.port}")
    proxy.failure = Failure(status=407)
    error = error_of("https://login.invalid/token")
    assert error.attempts[0].reason.startswith(
        f"cannot be reached through the proxy http://127.0.0.1:{proxy.port}, which refused with 407 "
    )
    assert "HTTPS_PROXY" in error.attempts[0].advice
    assert "planted" not in error.explain()
    assert error.is_conclusive


def test_a_proxy_that_does_not_run_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setenv("HTTP_PROXY", address)
        error = error_of("http://login.invalid/token")
    assert error.attempts[0].reason == f"cannot be reached through the proxy {address}, which refused the connection"


def test_no_proxy_is_asked_for_hosts_that_it_is_not_for(
    proxy: ForwardProxy, server: OriginalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"127.0.0.1:{proxy.port}")
    OpenIdProvider(options_of(server.url), sts=FakeSts()).retrieve(fetch_of())
    monkeypatch.setenv("NO_PROXY", ".invalid")
    error_of("http://login.invalid/token")
    assert proxy.requests == []


def test_a_proxy_that_is_no_url_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "socks5://planted:secret@127.0.0.1:1")
    error = error_of("http://login.invalid/token")
    assert "HTTP_PROXY (socks5://127.0.0.1:1) is not the URL of an HTTP proxy" in str(error)
    assert "planted" not in error.explain()


def test_one_provider_may_be_asked_by_one_thread_after_another(server: OriginalServer) -> None:
    provider = OpenIdProvider(options_of(server.url), sts=FakeSts())
    for _ in range(3):
        thread = threading.Thread(target=provider.retrieve, args=(fetch_of(),))
        thread.start()
        thread.join()
    assert len(server.issued) == 3


def test_a_secure_issuer_cannot_send_the_secret_over_an_insecure_connection(
    authority: trustme.CA, ca_bundle: Path
) -> None:
    with OAuthServer(tls=context_of(authority, "127.0.0.1")) as server:
        server.metadata = {"token_endpoint": server.url.replace("https:", "http:")}
        options = oauth_options_of(issuer=server.issuer, ca_bundle=ca_bundle)
        error = failure_of(OpenIdProvider(options, sts=FakeSts()))
        assert len(server.requests) == 1
    assert "names a token_endpoint that is not https: http://127.0.0.1" in error.attempts[0].reason
