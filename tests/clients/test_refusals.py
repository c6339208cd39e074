"""The services of these tests do refuse what is not signed right; or the other modules would prove nothing."""

from __future__ import annotations

import pytest
import requests

from tests.clients.conftest import proxy_environ
from tests.clients.processes import MotoProcess, ProxyProcess
from tests.clients.verifying_service import VerifyingService

LIST_TABLES = {"X-Amz-Target": "DynamoDB_20120810.ListTables", "Content-Type": "application/x-amz-json-1.0"}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_s3_refuses_a_proxy_with_a_wrong_secret(moto: MotoProcess, http: requests.Session, method: str) -> None:
    with moto.proxy("s3", AWS_SECRET_ACCESS_KEY="not-the-secret") as proxy:
        answer = http.request(method, f"{proxy.url}/some-bucket/key", data=b"x", timeout=10)
    assert answer.status_code == 403
    assert "<Code>SignatureDoesNotMatch</Code>" in answer.text


def test_a_json_service_refuses_a_proxy_with_a_wrong_secret(moto: MotoProcess, http: requests.Session) -> None:
    with moto.proxy("dynamodb", AWS_SECRET_ACCESS_KEY="not-the-secret") as proxy:
        answer = http.post(f"{proxy.url}/", data=b"{}", headers=LIST_TABLES, timeout=10)
    assert answer.status_code == 403
    assert "SignatureDoesNotMatch" in answer.text


@pytest.mark.parametrize(("service", "code"), [("s3", "InvalidAccessKeyId"), ("dynamodb", "InvalidClientTokenId")])
def test_an_access_key_that_nobody_has_is_refused(
    moto: MotoProcess, http: requests.Session, service: str, code: str
) -> None:
    headers = LIST_TABLES if service == "dynamodb" else {}
    with moto.proxy(service, AWS_ACCESS_KEY_ID="AKIANOBODY") as proxy:
        answer = http.request("POST" if headers else "GET", f"{proxy.url}/", headers=headers, timeout=10)
    assert answer.status_code == 403
    assert code in answer.text


def test_unsigned_requests_that_go_past_the_proxy_are_not_served(moto: MotoProcess, http: requests.Session) -> None:
    """Moto answers 500 where AWS answers 403: it expects the Authorization field to be there. Nothing is done."""
    assert http.put(f"{moto.url}/made-unsigned", timeout=10).status_code == 500
    assert http.post(moto.url, data=b"{}", headers=LIST_TABLES, timeout=10).status_code == 500
    with moto.proxy("s3") as proxy:
        assert http.head(f"{proxy.url}/made-unsigned", timeout=10).status_code == 404


def test_the_stand_in_refuses_a_wrong_secret_and_an_unsigned_request(
    standing_service: VerifyingService, http: requests.Session
) -> None:
    standing_service.forget()
    environ = proxy_environ(standing_service.url, service="es") | {"AWS_SECRET_ACCESS_KEY": "not-the-secret"}
    with ProxyProcess(environ) as proxy:
        assert http.get(f"{proxy.url}/", timeout=10).status_code == 403
    assert http.get(f"{standing_service.url}/", timeout=10).status_code == 403
    assert standing_service.refused == ["SignatureDoesNotMatch", "MissingAuthenticationToken"]
    assert standing_service.requests == []


@pytest.mark.parametrize("changed", [{"AWS_REGION": "eu-west-9"}, {"ASP_SERVICE": "s3"}], ids=["region", "service"])
def test_the_stand_in_refuses_a_signature_for_another_region_or_service(
    standing_service: VerifyingService, http: requests.Session, changed: dict[str, str]
) -> None:
    standing_service.forget()
    with ProxyProcess(proxy_environ(standing_service.url, service="es") | changed) as proxy:
        assert http.get(f"{proxy.url}/", timeout=10).status_code == 403
    assert standing_service.refused == ["SignatureDoesNotMatch"]
