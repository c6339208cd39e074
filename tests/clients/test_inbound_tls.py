"""curl and requests over TLS to the proxy, with and without a certificate of their own; and the process around it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.clients.conftest import proxy_environ
from tests.clients.processes import ProxyProcess
from tests.clients.verifying_service import VerifyingService
from tests.tls.certificates import Certificates


@pytest.fixture(name="certificates")
def _certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


def tls_environ(service: VerifyingService, certificates: Certificates, **changes: str) -> dict[str, str]:
    tls = {"ASP_TLS_CERT": str(certificates.cert), "ASP_TLS_KEY": str(certificates.key)}
    return proxy_environ(service.url, service="es") | tls | changes


@pytest.fixture(name="strict_proxy")
def _strict_proxy(service: VerifyingService, certificates: Certificates) -> Iterator[ProxyProcess]:
    """A proxy that wants certificates of its clients."""
    with ProxyProcess(tls_environ(service, certificates, ASP_TLS_CLIENT_CA=str(certificates.ca))) as running:
        yield running


def curl(*arguments: str) -> tuple[int, str, str]:
    program = shutil.which("curl")
    if program is None:
        pytest.skip("curl is not installed")
    done = subprocess.run(
        [program, "-q", "--noproxy", "*", "-sS", "--max-time", "10", *arguments], capture_output=True, check=False
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_curl_uploads_over_tls_and_its_request_is_signed(service: VerifyingService, certificates: Certificates) -> None:
    with ProxyProcess(tls_environ(service, certificates)) as proxy:
        assert proxy.url.startswith("https://127.0.0.1:")
        status, output, error = curl("--cacert", str(certificates.ca), "--data-binary", "x" * 100_000, f"{proxy.url}/x")
        assert (status, json.loads(output)["length"]) == (0, 100_000), error
        status, _, error = curl(f"{proxy.url}/x")
        assert status == 60, error  # without the authority it trusts nobody
        status, output, _ = curl(proxy.url.replace("https:", "http:"))
        assert json.loads(output)["code"] == "malformed_request"


def test_a_client_without_a_certificate_is_turned_away_and_one_with_it_is_served(
    strict_proxy: ProxyProcess, certificates: Certificates, http: requests.Session
) -> None:
    pair = str(certificates.client_of())
    status, _, error = curl("--cacert", str(certificates.ca), f"{strict_proxy.url}/x")
    assert status != 0
    assert "alert" in error or "certificate required" in error
    status, output, error = curl("--cacert", str(certificates.ca), "--cert", pair, f"{strict_proxy.url}/x")
    assert (status, json.loads(output)["path"]) == (0, ["x"]), error
    http.verify, http.cert = str(certificates.ca), pair
    assert http.post(f"{strict_proxy.url}/y", data=b"z" * 2_000_000, timeout=10).json()["length"] == 2_000_000
    assert strict_proxy.metric("aws_signing_proxy_downstream_tls_failures_total") >= 1


def test_a_hangup_reads_a_renewed_certificate_while_a_client_stays_connected(
    service: VerifyingService, certificates: Certificates, http: requests.Session
) -> None:
    http.verify = str(certificates.ca)
    with ProxyProcess(tls_environ(service, certificates)) as proxy:
        assert http.get(f"{proxy.url}/1", timeout=10).status_code == 200
        certificates.renew()
        os.kill(proxy._process._process.pid, signal.SIGHUP)
        proxy._process.wait_for("was read again: new connections use it")
        assert http.get(f"{proxy.url}/2", timeout=10).status_code == 200
        status, _, error = curl("--cacert", str(certificates.ca), f"{proxy.url}/3")
        assert status == 0, error
        # The first client did not have to shake hands anew.
        assert proxy.metric("aws_signing_proxy_downstream_tls_handshakes_total") == 2
    assert len(service.requests) == 3


def test_a_renewed_certificate_is_noticed_without_being_told(
    service: VerifyingService, certificates: Certificates
) -> None:
    with ProxyProcess(tls_environ(service, certificates)) as proxy:
        certificates.renew()
        proxy._process.wait_for("was read again: new connections use it")


def test_a_key_that_does_not_fit_ends_the_program_with_status_2_before_anything_is_listened_on(
    service: VerifyingService, certificates: Certificates, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Certificates(tmp_path / "other")
    done = subprocess.run(
        [sys.executable, "-m", "aws_signing_proxy"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
        | tls_environ(service, certificates, ASP_TLS_KEY=str(other.key), ASP_CONNECT_TO="x:y"),
        capture_output=True,
        check=False,
        timeout=20,
    )
    assert done.returncode == 2
    text = done.stderr.decode()
    assert "2 settings are wrong or missing; nothing was started" in text
    assert "ASP_TLS_KEY" in text
    assert "ASP_CONNECT_TO" in text


def test_a_target_that_is_not_verified_is_warned_of_at_every_start(service: VerifyingService) -> None:
    with ProxyProcess(proxy_environ(service.url, service="es") | {"ASP_INSECURE_SKIP_VERIFY": "true"}) as proxy:
        assert "ASP_INSECURE_SKIP_VERIFY is true" in proxy._process.output


def test_the_password_of_a_proxy_stands_in_no_line_of_the_log(http: requests.Session) -> None:
    environ = proxy_environ("https://service.test", service="es") | {
        "HTTPS_PROXY": "http://user:s3cr3t%40@127.0.0.1:9",
        "ASP_LOG_LEVEL": "debug",
    }
    with ProxyProcess(environ) as proxy:
        answer = http.get(f"{proxy.url}/x", timeout=10)
        assert answer.json()["code"] == "upstream_connect_failed"
        assert "s3cr3t" not in answer.text
        assert "s3cr3t" not in proxy._process.output
