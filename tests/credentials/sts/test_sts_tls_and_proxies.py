"""STS by TLS and through HTTP proxies, over real sockets."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError
from aws_signing_proxy.credentials.sts.service import SecurityTokenService
from aws_signing_proxy.credentials.sts.settings import StsSettings
from tests.credentials.http_server import ThreadedServer
from tests.credentials.sts.connect_proxy import ConnectProxy
from tests.credentials.sts.sts_scene import BASE, REGION, ROLE, ready, service
from tests.credentials.sts.sts_server import Drip, StsServer

NAME = "sts.eu-central-1.amazonaws.com"


@pytest.fixture(name="authority", scope="module")
def _authority() -> Any:
    return trustme.CA()


@pytest.fixture(name="bundle")
def _bundle(authority: Any, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(name="server")
def _server(authority: Any) -> Iterator[StsServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", NAME).configure_cert(context)
    with StsServer(tls=context) as server:
        yield server


def failure(sts: SecurityTokenService, seconds: float = 5.0, fetch: Fetch | None = None) -> tuple[Attempt, bool]:
    with pytest.raises(CredentialsUnavailableError) as caught:
        sts.assume_role(fetch or Fetch(timeout_seconds=seconds), BASE, ROLE)
    return caught.value.attempts[0], caught.value.is_conclusive


def works(sts: SecurityTokenService) -> bool:
    try:
        return bool(sts.assume_role(Fetch(), BASE, ROLE).access_key_id)
    finally:
        sts.close()


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_an_authority_of_ones_own_is_trusted_where_a_bundle_names_it(
    server: StsServer, bundle: str, variable: str
) -> None:
    assert works(service(server, **{variable: bundle}))


def test_the_bundle_for_aws_comes_before_the_general_one(server: StsServer, bundle: str) -> None:
    assert works(service(server, AWS_CA_BUNDLE=bundle, SSL_CERT_FILE="/nonexistent"))


def test_a_certificate_of_nobody_we_know_is_refused_with_the_reason(server: StsServer) -> None:
    attempt, is_conclusive = failure(service(server))
    assert attempt.reason.startswith("its certificate is not accepted (")
    assert "AWS_CA_BUNDLE" in attempt.advice
    assert is_conclusive
    assert not server.requests


def test_a_certificate_for_another_name_is_refused(server: StsServer, bundle: str) -> None:
    sts = service(server.url.replace("127.0.0.1", "localhost"), AWS_CA_BUNDLE=bundle)
    attempt, _ = failure(sts)
    assert "its certificate is not accepted (Hostname mismatch" in attempt.reason
    assert not server.requests


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot be read (No such file or directory)"), (b"nothing of use", "holds no certificate in PEM form")],
)
def test_a_bundle_that_cannot_be_read_is_told_before_anybody_is_asked(
    server: StsServer, tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "bundle.pem"
    if content is not None:
        path.write_bytes(content)
    sts = service(server, AWS_CA_BUNDLE=str(path))
    attempt, is_conclusive = failure(sts)
    assert attempt.source == f"AWS_CA_BUNDLE {path}"
    assert attempt.reason == words
    assert is_conclusive
    assert sts.address == server.url


def test_plain_http_where_tls_is_expected_is_told(bundle: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        attempt, _ = failure(service(f"https://127.0.0.1:{listener.getsockname()[1]}", AWS_CA_BUNDLE=bundle))
        thread.join()
    assert attempt.reason.startswith("does not speak TLS (")
    assert "write http://" in attempt.advice


class Mute(ThreadedServer):
    """Takes connections, and says nothing."""

    def serve(self, connection: socket.socket, number: int) -> None:
        self.stopping.wait()


def test_a_server_that_never_finishes_the_handshake_is_given_up(bundle: str) -> None:
    with Mute() as mute:
        attempt, is_conclusive = failure(ready(service(f"https://127.0.0.1:{mute.port}", AWS_CA_BUNDLE=bundle)), 0.3)
    assert attempt.reason == "did not answer in time"
    assert not is_conclusive
    assert "password" not in repr(StsSettings.read(REGION, {"HTTPS_PROXY": "http://u:password@proxy"}))


def test_a_drip_within_tls_ends_in_the_time_of_the_fetch(server: StsServer, bundle: str) -> None:
    """On a new connection, and on one that was kept."""
    sts = ready(service(server, AWS_CA_BUNDLE=bundle))
    for is_kept in (False, True):
        fetch = Fetch(timeout_seconds=2.0 if is_kept else 0.3)
        if is_kept:
            assert sts.assume_role(fetch, BASE, ROLE).access_key_id
        server.fail(Drip(0.02))
        began = time.monotonic()
        attempt, _ = failure(sts, fetch=fetch)
        assert attempt.reason == "did not answer in time"
        assert time.monotonic() - began < 4.0
    assert works(sts)


def test_the_endpoint_of_the_region_is_asked_through_a_proxy_by_its_name(server: StsServer, bundle: str) -> None:
    with ConnectProxy(to=server.port) as proxy:
        for variable in ("HTTPS_PROXY", "https_proxy"):
            environ = {variable: proxy.url, "AWS_CA_BUNDLE": bundle}
            sts = SecurityTokenService(region=REGION, environ=environ)
            assert works(sts)
            assert sts.address == f"https://{NAME}"
        assert proxy.tunnels == [f"{NAME}:443"] * 2
    assert server.requests[0].field("Host") == NAME


def test_a_proxy_without_a_scheme_and_with_a_password_is_understood(server: StsServer, bundle: str) -> None:
    with ConnectProxy(to=server.port) as proxy:
        environ = {"HTTPS_PROXY": f"me:pa%73s@127.0.0.1:{proxy.port}", "AWS_CA_BUNDLE": bundle}
        assert works(SecurityTokenService(region=REGION, environ=environ))
        assert [one.partition(" ")[2] for one in proxy.authorizations] == ["Basic bWU6cGFzcw=="]


def test_the_way_to_the_proxy_may_be_encrypted_too(server: StsServer, bundle: str, authority: Any) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with ConnectProxy(to=server.port, tls=context) as proxy:
        sts = SecurityTokenService(region=REGION, environ={"HTTPS_PROXY": proxy.url, "AWS_CA_BUNDLE": bundle})
        fetch = Fetch(timeout_seconds=2.0)
        assert ready(sts).assume_role(fetch, BASE, ROLE).access_key_id
        server.fail(Drip(0.02))
        began = time.monotonic()
        assert failure(sts, fetch=fetch)[0].reason == f"did not answer in time (asked through the proxy {proxy.url})"
        assert time.monotonic() - began < 4.0
        sts.close()
        assert proxy.tunnels == [f"{NAME}:443"]


def test_plain_http_goes_through_its_own_proxy_in_absolute_form() -> None:
    with StsServer() as server, ConnectProxy(to=server.port) as proxy:
        assert works(service("http://sts.invalid:8080", HTTP_PROXY=proxy.url, HTTPS_PROXY="http://127.0.0.1:9"))
        assert proxy.forwarded == ["http://sts.invalid:8080/"]
        assert not proxy.tunnels


def test_what_no_proxy_names_and_this_machine_are_asked_directly() -> None:
    with StsServer() as server, ConnectProxy(to=server.port) as proxy:
        assert works(service(server, HTTP_PROXY=proxy.url))
        url = "http://sts.invalid:8080"
        attempt, _ = failure(service(url, HTTP_PROXY=proxy.url, NO_PROXY="example.com, .invalid"))
        assert attempt.reason.startswith("its name cannot be resolved (")
        assert not proxy.forwarded
        assert works(service(url, HTTP_PROXY=proxy.url, NO_PROXY="example.com"))
        assert len(proxy.forwarded) == 1


def test_a_proxy_that_refuses_is_told_and_its_password_is_not(server: StsServer, bundle: str) -> None:
    with ConnectProxy(refuse_with="407 Proxy Authentication Required") as proxy:
        environ = {"HTTPS_PROXY": f"http://me:wrong-password@127.0.0.1:{proxy.port}", "AWS_CA_BUNDLE": bundle}
        attempt, is_conclusive = failure(SecurityTokenService(region=REGION, environ=environ))
    assert attempt.reason == (
        f"cannot be reached through the proxy {proxy.url}, which refused with 407 Proxy Authentication Required"
    )
    assert "correct HTTPS_PROXY or HTTP_PROXY" in attempt.advice
    assert "wrong-password" not in str(attempt)
    assert is_conclusive


def test_a_proxy_that_is_not_there_is_told(bundle: str) -> None:
    with ConnectProxy() as proxy:
        url = proxy.url
    attempt, is_conclusive = failure(
        SecurityTokenService(region=REGION, environ={"HTTPS_PROXY": url, "AWS_CA_BUNDLE": bundle})
    )
    assert attempt.reason == f"cannot be reached through the proxy {url}, which refused the connection"
    assert not is_conclusive


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "http://[broken", "http://user:secret@:port"])
def test_a_proxy_of_a_kind_that_is_not_known_is_told_without_its_password(proxy: str) -> None:
    attempt, is_conclusive = failure(SecurityTokenService(region=REGION, environ={"HTTPS_PROXY": proxy}))
    assert attempt.reason.startswith("cannot be asked: HTTPS_PROXY (")
    assert "secret" not in str(attempt)
    assert is_conclusive
