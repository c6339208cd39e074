"""TLS to the service: whom the proxy trusts, what it says when it does not, and sessions that are resumed."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import trustme

from tests.clients.conftest import IDENTITY, REGION, proxy_environ
from tests.clients.processes import ProxyProcess
from tests.clients.verifying_service import VerifyingService, blob


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_bundle(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


def _server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.fixture
def tls_service(authority: trustme.CA) -> Iterator[VerifyingService]:
    """The stand-in over TLS, with a certificate for localhost."""
    tls = _server_context(authority.issue_cert("localhost"))
    with VerifyingService(IDENTITY, service="es", region=REGION, tls=tls, name="localhost") as running:
        yield running


def _proxy(service: VerifyingService, **changes: str) -> ProxyProcess:
    return ProxyProcess(proxy_environ(service.url, service="es") | changes)


def _refusal(proxy: ProxyProcess, http: requests.Session) -> str:
    """Return the detail of the refusal that every request gets."""
    answer = http.post(f"{proxy.url}/x", data=b"secret document", timeout=10)
    assert answer.status_code == 502
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == "upstream_tls_failed"
    detail: str = problem["detail"]
    return detail


def test_a_service_whose_authority_is_in_the_bundle_is_trusted(
    tls_service: VerifyingService, ca_bundle: Path, http: requests.Session
) -> None:
    data = blob(3 * 1024 * 1024)
    with _proxy(tls_service, ASP_CA_BUNDLE=str(ca_bundle)) as proxy:
        assert http.put(f"{proxy.url}/x", data=data, timeout=10).json()["length"] == len(data)
        assert http.get(f"{proxy.url}/_blob/{len(data)}", timeout=10).content == data
    assert tls_service.requests[0].body == data
    assert tls_service.refused == []


def test_a_service_of_an_unknown_authority_gets_nothing_and_the_answer_names_the_setting(
    tls_service: VerifyingService, http: requests.Session, tmp_path: Path
) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other-ca.pem")
    with _proxy(tls_service, ASP_CA_BUNDLE=str(tmp_path / "other-ca.pem")) as proxy:
        detail = _refusal(proxy, http)
    assert tls_service.authority in detail
    assert "ASP_CA_BUNDLE" in detail
    assert tls_service.requests == []


def test_the_systems_authorities_are_the_only_trusted_ones_without_a_bundle(
    tls_service: VerifyingService, http: requests.Session
) -> None:
    with _proxy(tls_service) as proxy:
        assert "ASP_CA_BUNDLE" in _refusal(proxy, http)
    assert tls_service.requests == []


@pytest.mark.parametrize("names", [("other.example",), ("127.0.0.1",)], ids=["other_name", "address_only"])
def test_a_certificate_for_another_name_gets_nothing_and_the_answer_names_the_setting(
    authority: trustme.CA, ca_bundle: Path, http: requests.Session, names: tuple[str, ...]
) -> None:
    tls = _server_context(authority.issue_cert(*names))
    with (
        VerifyingService(IDENTITY, service="es", region=REGION, tls=tls, name="localhost") as service,
        _proxy(service, ASP_CA_BUNDLE=str(ca_bundle)) as proxy,
    ):
        detail = _refusal(proxy, http)
    assert "localhost" in detail
    assert "ASP_TARGET_URL" in detail
    assert "A private authority" not in detail  # trusting another one would not help
    assert service.requests == []


def test_a_service_that_does_not_speak_tls_gets_nothing_and_the_answer_says_so(
    opensearch_proxy: ProxyProcess, service: VerifyingService, http: requests.Session
) -> None:
    # Another proxy is a server of plain HTTP that answers a TLS handshake at once.
    target = opensearch_proxy.url.replace("http:", "https:")
    with ProxyProcess(proxy_environ(target, service="es")) as proxy:
        assert "speaks TLS" in _refusal(proxy, http)
    assert service.requests == []


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_later_connections_resume_the_session_of_the_first_one(
    authority: trustme.CA, ca_bundle: Path, http: requests.Session, version: ssl.TLSVersion
) -> None:
    tls = _server_context(authority.issue_cert("localhost"))
    tls.minimum_version = tls.maximum_version = version
    with (
        VerifyingService(IDENTITY, service="es", region=REGION, tls=tls, name="localhost") as service,
        _proxy(service, ASP_CA_BUNDLE=str(ca_bundle)) as proxy,
        contextlib.ExitStack() as downloads,
    ):
        assert http.get(f"{proxy.url}/first", timeout=10).status_code == 200
        # Nobody reads them, and no buffers hold so much: each keeps its connection busy.
        for _ in range(4):
            downloads.enter_context(http.get(f"{proxy.url}/_blob/{64 * 1024 * 1024}", stream=True, timeout=10))
        handshakes = proxy.metric("aws_signing_proxy_upstream_tls_handshakes_total")
        resumed = proxy.metric("aws_signing_proxy_upstream_tls_sessions_reused_total")
        downloads.close()
    assert [request.connection for request in service.requests] == [1, 1, 2, 3, 4]
    assert (handshakes, resumed) == (4, 3)
