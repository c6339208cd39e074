"""Services that verify signatures, the proxy in front of each, and clients that know nothing of AWS credentials."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import requests

from aws_signing_proxy.sigv4 import Identity
from tests.clients.processes import MotoProcess, ProxyProcess
from tests.clients.verifying_service import VerifyingService

IDENTITY = Identity(
    access_key_id="AKIACLIENTS",
    secret_access_key="a/Secret+Of=The-Proxy",
    session_token="TheTokenOfTheProxy//" + "t" * 400 + "==",
)
REGION = "eu-central-1"


@pytest.fixture(scope="session", autouse=True)
def _clean_environment() -> Iterator[None]:
    """The clients find no credentials, no configuration and no proxy of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith("AWS_") or name.lower().endswith("_proxy"):
                patch.delenv(name)
        patch.setenv("AWS_CONFIG_FILE", "/nonexistent")
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


@pytest.fixture(scope="session")
def moto(_clean_environment: None) -> Iterator[MotoProcess]:
    with MotoProcess() as running:
        yield running


@pytest.fixture(scope="session")
def standing_service() -> Iterator[VerifyingService]:
    with VerifyingService(IDENTITY, service="es", region=REGION) as running:
        yield running


@pytest.fixture(scope="session")
def opensearch_proxy(standing_service: VerifyingService) -> Iterator[ProxyProcess]:
    """The proxy in front of the stand-in for OpenSearch."""
    with ProxyProcess(proxy_environ(standing_service.url, service="es")) as running:
        yield running


@pytest.fixture
def service(standing_service: VerifyingService) -> Iterator[VerifyingService]:
    """The stand-in for OpenSearch, with nothing in it; at the end it must have refused nothing."""
    standing_service.forget()
    yield standing_service
    assert standing_service.refused == []


@pytest.fixture
def http() -> Iterator[requests.Session]:
    """An HTTP client without opinions: no proxy, no .netrc."""
    with requests.Session() as session:
        session.trust_env = False
        yield session


def proxy_environ(target_url: str, *, service: str) -> dict[str, str]:
    """Return the settings of a proxy that signs as IDENTITY."""
    assert IDENTITY.session_token is not None
    return {
        "ASP_TARGET_URL": target_url,
        "ASP_SERVICE": service,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": IDENTITY.access_key_id,
        "AWS_SECRET_ACCESS_KEY": IDENTITY.secret_access_key,
        "AWS_SESSION_TOKEN": IDENTITY.session_token,
    }
