"""What `check` says of connections: how they get to the target, and what is spoken with clients."""

from __future__ import annotations

from pathlib import Path

import pytest

from aws_signing_proxy.check.report import run_check
from aws_signing_proxy.config.loading import load_settings
from tests.tls.certificates import Certificates

ENVIRON = {
    "ASP_TARGET_URL": "https://service.test",
    "ASP_CREDENTIALS_PROVIDER": "awstoken",
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret",
}


def told(**environ: str) -> str:
    lines: list[str] = []
    whole = ENVIRON | environ
    run_check(load_settings({}, whole), whole, lines.append, asks_who=False)
    return "\n".join(lines)


def test_the_direct_way_is_not_worth_a_word() -> None:
    assert "way there" not in told()


@pytest.mark.parametrize(
    ("environ", "way"),
    [
        (
            {"HTTPS_PROXY": "http://u:s3cr3t@proxy.test:3128"},
            "through the HTTP proxy http://***@proxy.test:3128 (HTTPS_PROXY)",
        ),
        (
            {"HTTPS_PROXY": "proxy.test", "NO_PROXY": "service.test"},
            "through no HTTP proxy, by scheme, NO_PROXY, or because it is this machine",
        ),
        ({"ASP_CONNECT_TO": "localhost:9200"}, "to localhost:9200 instead (ASP_CONNECT_TO)"),
    ],
)
def test_another_way_is_told_without_passwords(environ: dict[str, str], way: str) -> None:
    text = told(**environ)
    assert f"  way there    {way}\n" in text
    assert "s3cr3t" not in text


def test_an_unverified_target_is_warned_of() -> None:
    assert "ASP_INSECURE_SKIP_VERIFY is true" in told(ASP_INSECURE_SKIP_VERIFY="true")


def test_tls_for_clients_is_told(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    tls = {"ASP_TLS_CERT": str(certificates.cert), "ASP_TLS_KEY": str(certificates.key)}
    assert "listens on   127.0.0.1:8080, TLS\n" in told(**tls)
    with_clients = told(**tls, ASP_TLS_CLIENT_CA=str(certificates.ca))
    assert "listens on   127.0.0.1:8080, TLS with certificates of clients\n" in with_clients
