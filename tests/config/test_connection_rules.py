"""Files of certificates and keys, hosts and ports: what is wrong with them is said at the start, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from aws_signing_proxy.config.loading import load_settings
from aws_signing_proxy.config.problems import SettingsError

PAIRS = pytest.mark.parametrize(
    ("cert", "key"), [("ASP_TLS_CERT", "ASP_TLS_KEY"), ("ASP_CLIENT_CERT", "ASP_CLIENT_KEY")]
)


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        certificate = trustme.CA().issue_cert(f"{name}.test")
        certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / f"{name}-pair.pem")
        certificate.private_key_pem.write_to_path(tmp_path / f"{name}-key.pem")
        certificate.cert_chain_pems[0].write_to_path(tmp_path / f"{name}-cert.pem")
    return tmp_path


def problems(**environ: str) -> dict[str, str]:
    """Return what is said of each setting that is wrong, nothing where all are right."""
    try:
        load_settings({}, {"ASP_TARGET_URL": "https://host"} | environ)
    except SettingsError as error:
        return {problem.environment_name: problem.sentence for problem in error.problems}
    return {}


@PAIRS
def test_certificate_and_key_stand_in_one_file_or_in_two(folder: Path, cert: str, key: str) -> None:
    assert problems(**{cert: f"{folder}/one-pair.pem"}) == {}
    assert problems(**{cert: f"{folder}/one-cert.pem", key: f"{folder}/one-key.pem"}) == {}


@PAIRS
def test_the_key_of_another_certificate_is_refused(folder: Path, cert: str, key: str) -> None:
    found = problems(**{cert: f"{folder}/one-cert.pem", key: f"{folder}/two-key.pem"})
    assert list(found) == [key]
    assert f"the key of the certificate in {folder}/one-cert.pem" in found[key]


@PAIRS
def test_a_certificate_without_its_key_is_refused_with_the_name_of_the_keys_setting(
    folder: Path, cert: str, key: str
) -> None:
    found = problems(**{cert: f"{folder}/one-cert.pem"})
    assert list(found) == [cert]
    assert key in found[cert]


@PAIRS
def test_a_key_without_a_certificate_is_refused(folder: Path, cert: str, key: str) -> None:
    found = problems(**{key: f"{folder}/one-key.pem"})
    assert found == {key: f'is "{folder}/one-key.pem". Expected: nothing, because {cert} is not set'}


@PAIRS
def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(folder: Path, cert: str, key: str) -> None:
    loaded = serialization.load_pem_private_key((folder / "one-key.pem").read_bytes(), None)
    (folder / "locked.pem").write_bytes(
        loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"passphrase"),
        )
    )
    found = problems(**{cert: f"{folder}/one-cert.pem", key: f"{folder}/locked.pem"})
    assert "passphrase" in found[key]


@PAIRS
def test_a_file_that_openssl_cannot_read_is_refused(folder: Path, cert: str, key: str) -> None:
    (folder / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    found = problems(**{cert: f"{folder}/broken.pem", key: f"{folder}/one-key.pem"})
    assert "OpenSSL" in found[key]


@PAIRS
def test_all_that_is_wrong_is_said_at_once(folder: Path, cert: str, key: str) -> None:
    found = problems(**{cert: f"{folder}/missing", key: f"{folder}/missing-too", "ASP_TLS_CLIENT_CA": "/no/such"})
    assert {cert, key, "ASP_TLS_CLIENT_CA"} == set(found)


def test_authorities_of_clients_without_a_certificate_of_the_proxy_are_refused(folder: Path) -> None:
    found = problems(ASP_TLS_CLIENT_CA=f"{folder}/one-cert.pem")
    assert "ASP_TLS_CERT is not set" in found["ASP_TLS_CLIENT_CA"]


def test_authorities_that_openssl_cannot_read_are_refused(folder: Path) -> None:
    (folder / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    found = problems(ASP_TLS_CERT=f"{folder}/one-pair.pem", ASP_TLS_CLIENT_CA=f"{folder}/broken.pem")
    assert list(found) == ["ASP_TLS_CLIENT_CA"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("host.test:9200", "host.test:9200"),
        ("HOST.test", "host.test"),
        ("[::1]:443", "[::1]:443"),
        ("10.0.0.1:80", "10.0.0.1:80"),
    ],
)
def test_connect_to_is_a_host_with_or_without_a_port(text: str, shown: str) -> None:
    settings = load_settings({}, {"ASP_TARGET_URL": "https://host", "ASP_CONNECT_TO": text}).settings
    assert repr(settings.connect_to) == shown


@pytest.mark.parametrize("name", ["ASP_CONNECT_TO", "ASP_SIGN_HOST"])
@pytest.mark.parametrize(
    "text", ["https://host", "host:0", "host:x", "user@host", "ho st", "host/path", "::1:80", "host?"]
)
def test_what_is_no_host_and_port_is_refused(name: str, text: str) -> None:
    assert list(problems(**{name: text})) == [name]
