"""The way to the target: through HTTP proxies, to another address, under another Host, with a client certificate."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from aws_signing_proxy.errors import ErrorCode
from aws_signing_proxy.sigv4 import Identity
from tests.clients.verifying_service import VerifyingService
from tests.tls.certificates import Certificates
from tests.upstream.http_proxy import HttpProxy
from tests.wire.conftest import RawUpstream, RunningProxy, exchange
from tests.wire.running_proxy import ENVIRONMENT

GET = b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
IDENTITY = Identity(
    access_key_id=ENVIRONMENT["AWS_ACCESS_KEY_ID"],
    secret_access_key=ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
    session_token=None,
)
USER = b"us er:p%:@/ss\xc3\xbc"


@pytest.fixture(scope="module", name="certificates")
def _certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"), "service.test", "127.0.0.1")


@pytest.fixture(scope="module", name="server_tls")
def _server_tls(certificates: Certificates) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.cert, certificates.key)
    return context


@pytest.fixture(name="tls_service")
def _tls_service(server_tls: ssl.SSLContext) -> Iterator[VerifyingService]:
    with VerifyingService(
        IDENTITY, service="es", region="eu-central-1", tls=server_tls, name="service.test"
    ) as service:
        yield service
        assert service.refused == []


@pytest.fixture(name="service")
def _service() -> Iterator[VerifyingService]:
    with verifying_service() as service:
        yield service
        assert service.refused == []


def verifying_service(tls: ssl.SSLContext | None = None) -> VerifyingService:
    return VerifyingService(IDENTITY, service="es", region="eu-central-1", tls=tls, name="service.test")


def ask(target: str, **settings: str) -> tuple[int, bytes]:
    """Send a GET through a proxy of ours; return the status and the body."""
    return send(target, GET, **settings)


def send(target: str, request: bytes, /, **settings: str) -> tuple[int, bytes]:
    """Send one request through a proxy of ours; return the status and the body."""
    with RunningProxy(target, settings) as proxy:
        response = exchange(proxy.port, request)
        assert proxy.counters.requests_in_flight == 0
        return response.status, response.body


def failure(target: str, /, **settings: str) -> tuple[str, str]:
    """Send a request that cannot get through; return the code and the sentence."""
    _, body = ask(target, **settings)
    problem = json.loads(body)
    return problem["code"], problem["detail"]


# Tunnels


@pytest.mark.parametrize("is_tls_to_the_proxy", [False, True], ids=["http_proxy", "https_proxy"])
@pytest.mark.parametrize("user", [None, USER], ids=["open", "with_user"])
def test_a_target_of_https_is_reached_through_a_tunnel(
    tls_service: VerifyingService,
    certificates: Certificates,
    server_tls: ssl.SSLContext,
    user: bytes | None,
    is_tls_to_the_proxy: bool,
) -> None:
    body = bytes(range(256)) * 4096
    request = b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with (
        HttpProxy(user=user, tls=server_tls if is_tls_to_the_proxy else None) as http_proxy,
        RunningProxy(tls_service.url, {"HTTPS_PROXY": http_proxy.url, "ASP_CA_BUNDLE": str(certificates.ca)}) as proxy,
    ):
        for _ in range(3):
            assert exchange(proxy.port, request).status == 200
        assert proxy.counters.upstream_tls_handshakes_total == 1
    assert [each.body for each in tls_service.requests] == [body] * 3
    (head,) = http_proxy.heads
    assert head.startswith(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n" % ((tls_service.authority.encode(),) * 2))
    assert (b"Proxy-Authorization: Basic %b\r\n" % base64.b64encode(USER) in head) == (user is not None)
    assert b"AWS4" not in head


def test_tls_sessions_are_resumed_through_both_layers_of_tls(
    tls_service: VerifyingService, certificates: Certificates, server_tls: ssl.SSLContext
) -> None:
    settings = {"ASP_CA_BUNDLE": str(certificates.ca)}
    with (
        HttpProxy(tls=server_tls) as http_proxy,
        RunningProxy(tls_service.url, settings | {"HTTPS_PROXY": http_proxy.url}) as proxy,
    ):
        for _ in range(3):
            assert exchange(proxy.port, GET).status == 200
            proxy.call(lambda: proxy.application.plane.upstream.sweep(float("inf")))
        assert proxy.counters.upstream_tls_sessions_reused_total == 2


def test_the_proxy_cannot_be_taken_for_the_target(certificates: Certificates, tmp_path: Path) -> None:
    """Whoever answers in the tunnel must have the target's certificate."""
    other = Certificates(tmp_path, "other.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(other.cert, other.key)
    with (
        verifying_service(context) as impostor,
        HttpProxy() as http_proxy,
    ):
        code, detail = failure(impostor.url, HTTPS_PROXY=http_proxy.url, ASP_CA_BUNDLE=str(other.ca))
        assert impostor.requests == []
    assert code == ErrorCode.UPSTREAM_TLS_FAILED
    assert f"service.test:{impostor.port} through the proxy 127.0.0.1:{http_proxy.port}" in detail


def test_a_proxy_of_https_whose_certificate_is_not_trusted_gets_no_password(
    tls_service: VerifyingService, certificates: Certificates, tmp_path: Path
) -> None:
    other = Certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(other.cert, other.key)
    with HttpProxy(tls=context, user=USER) as http_proxy:
        code, detail = failure(
            tls_service.url,
            HTTPS_PROXY=http_proxy.url,
            ASP_CA_BUNDLE=str(certificates.ca),
            ASP_INSECURE_SKIP_VERIFY="true",  # which is about the target alone
        )
        assert http_proxy.heads == []
    assert code == ErrorCode.UPSTREAM_TLS_FAILED
    assert f"the proxy 127.0.0.1:{http_proxy.port}" in detail


# Absolute-form


@pytest.mark.parametrize("user", [None, USER], ids=["open", "with_user"])
@pytest.mark.parametrize("is_tls_to_the_proxy", [False, True], ids=["http_proxy", "https_proxy"])
def test_a_target_of_http_is_reached_in_absolute_form_and_the_signature_is_that_of_the_path(
    service: VerifyingService,
    certificates: Certificates,
    server_tls: ssl.SSLContext,
    user: bytes | None,
    is_tls_to_the_proxy: bool,
) -> None:
    with HttpProxy(user=user, tls=server_tls if is_tls_to_the_proxy else None) as http_proxy:
        status, _ = send(
            f"{service.url}/prefix",
            b"POST /a-*?q=1+2 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}",
            http_proxy=http_proxy.url,
            ASP_CA_BUNDLE=str(certificates.ca),
        )
    assert status == 200
    (head,) = http_proxy.heads
    assert head.startswith(b"POST %b/prefix/a-%%2A?q=1%%202 HTTP/1.1\r\n" % service.url.encode())
    assert head.count(b"Proxy-Authorization: ") == (user is not None)
    assert b"proxy-authorization" not in head.lower().partition(b"signedheaders=")[2].partition(b"\r\n")[0]
    assert service.only_request.values("proxy-authorization") == []


def test_a_proxy_that_wants_other_credentials_is_named_and_its_407_reaches_no_client(service: VerifyingService) -> None:
    with HttpProxy(user=USER) as http_proxy:
        code, detail = failure(service.url, HTTP_PROXY=f"http://x:s3cr3t@127.0.0.1:{http_proxy.port}")
    assert code == ErrorCode.UPSTREAM_PROXY_FAILED
    assert f"127.0.0.1:{http_proxy.port} answered 407" in detail
    assert "HTTP_PROXY" in detail
    assert "s3cr3t" not in detail


@pytest.mark.parametrize("setting", ["ASP_SIGN_HOST", "ASP_CONNECT_TO"])
def test_where_host_and_address_differ_a_target_of_http_is_reached_through_a_tunnel(
    module_upstream: RawUpstream, setting: str
) -> None:
    """In absolute-form a proxy would put the address into Host, and break the signature."""
    with HttpProxy({"service.test": module_upstream.port, "other.test": module_upstream.port}) as http_proxy:
        module_upstream.forget()
        settings = {setting: "other.test" if setting == "ASP_SIGN_HOST" else "other.test:80"}
        assert ask("http://service.test", HTTP_PROXY=http_proxy.url, **settings)[0] == 200
    host, address = (b"other.test", b"service.test") if setting == "ASP_SIGN_HOST" else (b"service.test", b"other.test")
    assert http_proxy.heads[0].startswith(b"CONNECT %b:80 " % address)
    assert module_upstream.requests[0].values(b"Host") == [host]


# What goes wrong


def _refusals() -> list[tuple[bytes, str]]:
    return [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 3\r\n\r\nno!", "answered 407"),
        (b"HTTP/1.0 403 Forbidden\r\n\r\n<html>", "answered 403"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "answered 502"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://login.test\r\n\r\n", "answered 302"),
        (b"HTTP/2 200 OK\r\n\r\n", "does not speak HTTP/1.1"),
        (b"HTTP/1.1 OK\r\n\r\n", "does not speak HTTP/1.1"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP/1.1"),
        (b"\x15\x03\x01\x00\x02\x02\x28", "does not speak HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20000, "a head of more than"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, "a head of more than"),
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "sent bytes that nobody asked for"),
    ]


@pytest.mark.parametrize(("answer", "said"), _refusals(), ids=lambda value: value if isinstance(value, str) else "")
def test_what_the_proxy_answers_instead_of_a_tunnel_is_said_with_its_address_and_without_its_password(
    answer: bytes, said: str
) -> None:
    with HttpProxy(user=b"user:s3cr3t") as http_proxy:
        http_proxy.answer = answer
        code, detail = failure("https://service.test", HTTPS_PROXY=http_proxy.url)
    assert code == ErrorCode.UPSTREAM_PROXY_FAILED
    assert f"127.0.0.1:{http_proxy.port}" in detail
    assert said in detail
    assert "s3cr3t" not in detail
    assert base64.b64encode(b"user:s3cr3t").decode() not in detail


def test_an_interim_answer_before_the_tunnel_is_passed_over(
    module_upstream: RawUpstream, certificates: Certificates
) -> None:
    with HttpProxy() as http_proxy:
        http_proxy.answer = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"
        code, detail = failure("https://service.test", HTTPS_PROXY=http_proxy.url, ASP_DIAL_TIMEOUT="2s")
    # The tunnel is open; behind it nobody speaks TLS.
    assert code in {ErrorCode.UPSTREAM_CONNECT_FAILED, ErrorCode.UPSTREAM_TLS_FAILED}
    assert f"service.test:443 through the proxy 127.0.0.1:{http_proxy.port}" in detail


def test_a_proxy_that_closes_without_a_word_is_said_to(certificates: Certificates) -> None:
    with HttpProxy() as http_proxy:
        http_proxy.closes = True
        code, detail = failure("https://service.test", HTTPS_PROXY=http_proxy.url)
    assert code == ErrorCode.UPSTREAM_PROXY_FAILED
    assert "without opening a tunnel" in detail


@pytest.mark.parametrize("is_tls_to_the_proxy", [False, True], ids=["connect", "handshake"])
def test_the_dial_timeout_covers_the_proxy(certificates: Certificates, is_tls_to_the_proxy: bool) -> None:
    with HttpProxy() as http_proxy, contextlib.ExitStack() as stack:
        http_proxy.is_silent = True
        port = http_proxy.port
        if is_tls_to_the_proxy:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            port = int(listener.getsockname()[1])
        scheme = "https" if is_tls_to_the_proxy else "http"
        code, detail = failure(
            "https://service.test", HTTPS_PROXY=f"{scheme}://127.0.0.1:{port}", ASP_DIAL_TIMEOUT="200ms"
        )
    assert code == ErrorCode.UPSTREAM_CONNECT_TIMEOUT
    assert detail.startswith(f"The proxy 127.0.0.1:{port} did not")
    assert "HTTPS_PROXY" in detail


@pytest.mark.parametrize("target", ["https://service.test", "http://service.test"])
def test_a_proxy_that_is_not_there_is_named_instead_of_the_target(target: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = int(gone.getsockname()[1])
    setting = "HTTPS_PROXY" if target.startswith("https") else "HTTP_PROXY"
    code, detail = failure(target, **{setting: f"http://u:s3cr3t@127.0.0.1:{port}"})
    assert code == ErrorCode.UPSTREAM_CONNECT_FAILED
    assert f"No connection to the proxy 127.0.0.1:{port}: Connection refused" in detail
    assert setting in detail
    assert "s3cr3t" not in detail


def test_a_proxy_whose_name_is_unknown_is_named_with_its_setting() -> None:
    code, detail = failure("https://service.test", https_proxy="http://proxy.invalid:3128")
    assert code == ErrorCode.UPSTREAM_NAME_NOT_RESOLVED
    assert "proxy.invalid" in detail
    assert "HTTPS_PROXY" in detail


def test_many_refused_tunnels_leave_nothing_behind() -> None:
    with HttpProxy() as http_proxy:
        http_proxy.answer = b"HTTP/1.1 503 Busy\r\n\r\n"
        with RunningProxy("https://service.test", {"HTTPS_PROXY": http_proxy.url}) as proxy:
            for _ in range(20):
                assert exchange(proxy.port, GET).problem_code == "upstream_proxy_failed"
            proxy.settle()
            assert repr(proxy.application.plane.upstream._pool) == "<Pool idle=0 busy=0 connecting=0 waiting=0>"


# Another address, another host, a certificate


def test_connections_go_elsewhere_while_host_name_and_signature_stay_the_targets(
    tls_service: VerifyingService, certificates: Certificates
) -> None:
    settings = {"ASP_CONNECT_TO": f"127.0.0.1:{tls_service.port}", "ASP_CA_BUNDLE": str(certificates.ca)}
    assert ask(tls_service.url, **settings)[0] == 200
    assert tls_service.only_request.values("host") == [tls_service.authority]


def test_where_nothing_listens_on_the_other_address_it_is_named_with_its_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = int(gone.getsockname()[1])
    code, detail = failure("https://service.test", ASP_CONNECT_TO=f"127.0.0.1:{port}")
    assert code == ErrorCode.UPSTREAM_CONNECT_FAILED
    assert f"No connection to 127.0.0.1:{port} for service.test:443" in detail
    assert "ASP_CONNECT_TO" in detail


def test_the_certificate_that_is_expected_is_the_targets_wherever_the_connection_goes(
    tls_service: VerifyingService, certificates: Certificates
) -> None:
    settings = {"ASP_CONNECT_TO": f"127.0.0.1:{tls_service.port}", "ASP_CA_BUNDLE": str(certificates.ca)}
    code, detail = failure("https://other.test", **settings)
    assert code == ErrorCode.UPSTREAM_TLS_FAILED
    assert "ASP_TARGET_URL" in detail
    assert tls_service.requests == []


@pytest.mark.parametrize(
    ("given", "sent"),
    [("signed.test", b"signed.test"), ("signed.test:8443", b"signed.test:8443"), ("signed.test:80", b"signed.test")],
)
def test_another_host_is_signed_and_sent(upstream: RawUpstream, given: str, sent: bytes) -> None:
    assert ask(upstream.url, ASP_SIGN_HOST=given)[0] == 200
    assert upstream.requests[0].values(b"Host") == [sent]


def test_a_target_that_wants_a_client_certificate_gets_it_and_the_renewed_one_later(
    certificates: Certificates, server_tls: ssl.SSLContext, tmp_path: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.cert, certificates.key)
    context.load_verify_locations(certificates.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    client = tmp_path / "client.pem"
    client.write_bytes(certificates.client_of().read_bytes())
    with verifying_service(context) as service:
        settings = {"ASP_CA_BUNDLE": str(certificates.ca), "ASP_CONNECT_TO": f"127.0.0.1:{service.port}"}
        status, _ = ask(service.url, **settings)
        assert status == 502
        with RunningProxy(service.url, settings | {"ASP_CLIENT_CERT": str(client)}) as proxy:
            assert exchange(proxy.port, GET).status == 200
            client.write_bytes(certificates.client_of(authority=trustme.CA()).read_bytes())
            used = proxy.application.plane.connections._client_tls
            assert used is not None
            used.check(is_forced=True)
            assert exchange(proxy.port, GET).status == 200  # on the connection that is open
            proxy.call(lambda: proxy.application.plane.upstream.sweep(float("inf")))
            assert exchange(proxy.port, GET).status == 502
    assert service.refused == []


def test_a_target_that_nobody_verifies_is_used_where_it_is_asked_for(tls_service: VerifyingService) -> None:
    settings = {"ASP_CONNECT_TO": f"127.0.0.1:{tls_service.port}"}
    assert ask(tls_service.url, **settings)[0] == 502
    assert ask(tls_service.url, ASP_INSECURE_SKIP_VERIFY="true", **settings)[0] == 200
