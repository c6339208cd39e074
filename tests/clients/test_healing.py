"""The proxy's clock is wrong, or its credentials end: real clients, a service that verifies, and nobody notices."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
import trustme

from tests.clients.conftest import IDENTITY, REGION, proxy_environ
from tests.clients.processes import ProxyProcess
from tests.clients.refusing_service import DIALECTS, NumberedSets, RefusingService
from tests.clients.verifying_service import blob

HOUR = 3600.0


@pytest.fixture(name="service")
def _service() -> Iterator[RefusingService]:
    with RefusingService(IDENTITY, service="es", region=REGION) as running:
        yield running


@pytest.fixture(name="sets")
def _sets(tmp_path: Path) -> NumberedSets:
    return NumberedSets(tmp_path)


def _retries(proxy: ProxyProcess, cause: str) -> int:
    text = proxy.management("/status/metrics").text
    found = re.search(rf'^aws_signing_proxy_retries_total{{cause="{cause}"}} (\S+)$', text, re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


def _offset(proxy: ProxyProcess) -> float:
    return proxy.metric("aws_signing_proxy_clock_offset_seconds")


@pytest.mark.parametrize("offset", [-HOUR, HOUR])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_clock_that_is_an_hour_off_is_noticed_by_no_client(
    service: RefusingService, http: requests.Session, dialect: str, offset: float
) -> None:
    service.dialect, service.clock_offset_seconds = dialect, offset
    environ = proxy_environ(service.url, service="es") | {"ASP_ACCESS_LOG": "true"}
    with ProxyProcess(environ) as proxy:
        for method, body in (("POST", b"{}"), ("GET", None), ("PUT", blob(3 << 20)), ("DELETE", None), ("HEAD", None)):
            answer = http.request(method, f"{proxy.url}/any/thing?x=1", data=body, timeout=10)
            assert answer.status_code == 200
            if method != "HEAD":
                assert answer.json()["length"] == len(body or b"")
        assert service.refused == ["RequestTimeTooSkewed"]
        assert [request.method for request in service.requests] == ["POST", "GET", "PUT", "DELETE", "HEAD"]
        assert _offset(proxy) == pytest.approx(offset, abs=2)
        assert _retries(proxy, "clock_skew") == 1
        lines = [json.loads(line) for line in proxy.output.splitlines()]
    warnings = [line for line in lines if line["level"] == "warning"]
    assert [line["event"] for line in warnings] == [
        "the local clock is wrong; requests are signed with the service's time"
    ]
    assert warnings[0]["service_is_ahead_by_seconds"] == pytest.approx(offset, abs=2)
    assert {line["status"] for line in lines if "status" in line} == {200}


@pytest.mark.parametrize(("method", "size"), [("HEAD", 0), ("PUT", 3 << 20), ("POST", 200_000)])
def test_the_first_request_may_be_any(service: RefusingService, http: requests.Session, method: str, size: int) -> None:
    """A HEAD request's answer has no words; a large body is in a file; a smaller one takes several reads."""
    service.clock_offset_seconds = HOUR
    with ProxyProcess(proxy_environ(service.url, service="es")) as proxy:
        answer = http.request(method, f"{proxy.url}/any", data=blob(size) if size else None, timeout=10)
        assert answer.status_code == 200
        if size:
            assert answer.json()["length"] == size
        assert service.refused == ["RequestTimeTooSkewed"]


def test_over_tls_the_connection_is_kept_for_the_second_try(http: requests.Session, tmp_path: Path) -> None:
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with RefusingService(IDENTITY, service="es", region=REGION, tls=tls, name="localhost") as service:
        service.clock_offset_seconds = -HOUR
        environ = proxy_environ(service.url, service="es") | {"ASP_CA_BUNDLE": str(tmp_path / "ca.pem")}
        with ProxyProcess(environ) as proxy:
            for _ in range(3):
                assert http.post(f"{proxy.url}/any", data=blob(500_000), timeout=10).json()["length"] == 500_000
            assert service.refused == ["RequestTimeTooSkewed"]
            assert {request.connection for request in service.requests} == {1}


def test_a_clock_that_is_set_right_again_is_believed_again(service: RefusingService, http: requests.Session) -> None:
    with ProxyProcess(proxy_environ(service.url, service="es")) as proxy:
        for count, offset in enumerate((HOUR, 0.0, -HOUR, 0.0), start=1):
            service.clock_offset_seconds = offset
            assert http.post(f"{proxy.url}/any", data=b"x", timeout=10).status_code == 200
            assert _offset(proxy) == pytest.approx(offset, abs=2)
            assert _retries(proxy, "clock_skew") == count


def test_many_requests_at_once_are_each_sent_again_at_most_once(service: RefusingService) -> None:
    service.clock_offset_seconds = HOUR

    def one(proxy: ProxyProcess) -> int:
        with requests.Session() as session:
            session.trust_env = False
            return session.post(f"{proxy.url}/any", data=b"x" * 5000, timeout=20).status_code

    with ProxyProcess(proxy_environ(service.url, service="es")) as proxy, ThreadPoolExecutor(24) as executor:
        statuses = list(executor.map(one, [proxy] * 96))
        assert statuses == [200] * 96
        assert _retries(proxy, "clock_skew") == len(service.refused) <= 24


def test_a_service_whose_date_is_wrong_but_which_accepts_is_left_alone(
    service: RefusingService, http: requests.Session
) -> None:
    """Within what it allows: 15 minutes."""
    service.clock_offset_seconds = 700.0
    with ProxyProcess(proxy_environ(service.url, service="es")) as proxy:
        for _ in range(3):
            assert http.get(f"{proxy.url}/any", timeout=10).status_code == 200
        assert _offset(proxy) == 0
        assert service.refused == []


@pytest.mark.parametrize("dialect", DIALECTS)
def test_credentials_that_the_service_ends_are_replaced_and_no_client_notices(
    http: requests.Session, sets: NumberedSets, dialect: str
) -> None:
    with RefusingService(sets.identity, service="es", region=REGION) as service:
        service.dialect = dialect
        environ = {"ASP_TARGET_URL": service.url, "ASP_SERVICE": "es", "AWS_REGION": REGION} | sets.environ
        with ProxyProcess(environ) as proxy:
            assert http.post(f"{proxy.url}/any", data=b"x", timeout=10).status_code == 200
            sets.accepted = 2
            answer = http.post(f"{proxy.url}/any", data=blob(3 << 20), timeout=10)
            assert answer.status_code == 200
            assert answer.json()["length"] == 3 << 20
            assert http.get(f"{proxy.url}/any", timeout=10).status_code == 200
            assert service.refused == ["InvalidClientTokenId"]
            assert sets.given == 2
            assert _retries(proxy, "credentials") == 1
            assert _offset(proxy) == 0


def test_requests_that_are_refused_together_cause_one_refresh(sets: NumberedSets) -> None:
    def one(proxy: ProxyProcess) -> int:
        with requests.Session() as session:
            session.trust_env = False
            return session.post(f"{proxy.url}/any", data=b"x", timeout=20).status_code

    with RefusingService(sets.identity, service="es", region=REGION) as service:
        environ = {"ASP_TARGET_URL": service.url, "ASP_SERVICE": "es", "AWS_REGION": REGION} | sets.environ
        with ProxyProcess(environ) as proxy, ThreadPoolExecutor(16) as executor:
            assert one(proxy) == 200
            sets.accepted = 2
            assert list(executor.map(one, [proxy] * 48)) == [200] * 48
            assert sets.given == 2
            assert _retries(proxy, "credentials") == len(service.refused) <= 16


def test_credentials_that_stay_refused_are_told_to_the_client_in_the_services_words(
    http: requests.Session, sets: NumberedSets
) -> None:
    sets.accepted = 99
    with RefusingService(sets.identity, service="es", region=REGION) as service:
        environ = {"ASP_TARGET_URL": service.url, "ASP_SERVICE": "es", "AWS_REGION": REGION} | sets.environ
        with ProxyProcess(environ) as proxy:
            for _ in range(3):
                answer = http.post(f"{proxy.url}/any", data=b"x", timeout=10)
                assert answer.status_code == 403
                assert answer.json() == {"message": "The security token included in the request is expired"}
            # One refresh: within ten seconds of it a service's word starts no other.
            assert sets.given == 2
            assert _retries(proxy, "credentials") == 1
            assert len(service.refused) == 4
