"""What users of the original proxy rely on, seen from outside: settings by their names, signatures, management."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import trustme

from tests.clients.conftest import IDENTITY, REGION, proxy_environ
from tests.clients.processes import ProxyProcess
from tests.clients.verifying_service import VerifyingService


@pytest.fixture
def s3() -> Iterator[VerifyingService]:
    with VerifyingService(IDENTITY, service="s3", region=REGION) as running:
        yield running
    assert running.refused == []


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def test_a_path_in_the_target_is_a_prefix_of_every_path(s3: VerifyingService, http: requests.Session) -> None:
    with ProxyProcess(proxy_environ(f"{s3.url}/pre fix/".replace(" ", "%20"), service="s3")) as proxy:
        assert http.get(f"{proxy.url}/key", timeout=10).status_code == 200
    assert s3.only_request.path == ["pre fix", "key"]


def test_a_deployment_of_the_original_runs_with_nothing_changed(tmp_path: Path, http: requests.Session) -> None:
    """Every setting by its original name, the target without scheme as in the original's example."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    port, management_port = _free_port(), _free_port()
    with contextlib.ExitStack() as stack:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(tls)
        service = stack.enter_context(
            VerifyingService(IDENTITY, service="es", region=REGION, tls=tls, name="localhost")
        )
        environ = proxy_environ(f"localhost:{service.port}", service="es") | {
            "ASP_PORT": str(port),
            "ASP_MGMT_PORT": str(management_port),
            "ASP_CREDENTIALS_PROVIDER": "awstoken",
            "ASP_METRICS_PATH": "/own/metrics",
            "ASP_FLUSH_INTERVAL": "0s",
            "ASP_IDLE_CONN_TIMEOUT": "1m30s",
            "ASP_DIAL_TIMEOUT": "30s",
            "ASP_CIRCUIT_BREAKER_FAILURE_THRESHOLD": "5",
            "ASP_CIRCUIT_BREAKER_TIMEOUT": "60s",
            "SSL_CERT_FILE": str(tmp_path / "ca.pem"),
        }
        proxy = stack.enter_context(ProxyProcess(environ))
        answer = http.post(f"http://127.0.0.1:{port}/index/_search", json={"query": {}}, timeout=10)
        health = http.get(f"http://127.0.0.1:{management_port}/status/health", timeout=10)
        metrics = proxy.management("/own/metrics").text
    assert (answer.status_code, health.status_code, health.json()) == (200, 200, {"status": "ok"})
    assert service.only_request.values("host") == [service.authority]
    assert re.search(r'^auth_circuit_breaker_state\{state="closed"\} 1', metrics, re.MULTILINE)
    assert re.search(r'^auth_circuit_breaker_count\{type="requests"\} ', metrics, re.MULTILINE)
