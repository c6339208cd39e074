"""Connections to Vault: TLS, redirects, proxies, silence; nothing waits for ever, and nothing is left open."""

from __future__ import annotations

import gc
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from aws_signing_proxy.credentials.provider import CredentialsUnavailableError
from tests.credentials.vault.vault_scene import PATH, TOKEN, Scene, scene
from tests.credentials.vault.vault_server import CLOSE, DRIP, SILENCE, Failure, VaultServer


@pytest.fixture(name="at")
def _at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    with scene(monkeypatch) as made:
        yield made


class Authority:
    """A certificate authority, and what it issued, in files."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.folder = folder
        self.bundle = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(self.bundle)

    def server(self, *names: str, demands: Authority | None = None) -> ssl.SSLContext:
        """Return a server's context; it demands a certificate of the other authority where one is given."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*(names or ("127.0.0.1",))).configure_cert(context)
        if demands is not None:
            context.load_verify_locations(demands.bundle)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client(self, name: str = "client") -> dict[str, Any]:
        """Return the options of a client certificate."""
        issued = self.ca.issue_cert("proxy.example")
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        return {"client_cert": cert, "client_key": key}


@pytest.fixture(name="authority")
def _authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_the_ca_bundle_is_trusted(monkeypatch: pytest.MonkeyPatch, authority: Authority) -> None:
    with scene(monkeypatch, tls=authority.server()) as at:
        assert at.retrieve(at.provider(ca_bundle=authority.bundle)).access_key_id


def test_ssl_cert_file_is_trusted_and_requests_own_variable_is_not(
    monkeypatch: pytest.MonkeyPatch, authority: Authority, tmp_path: Path
) -> None:
    with scene(monkeypatch, tls=authority.server()) as at:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.bundle))
        assert "certificate is not accepted" in at.failure(at.provider()).attempts[0].reason
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))
        assert at.retrieve(at.provider()).access_key_id
        (tmp_path / "other").mkdir()
        other = Authority(tmp_path / "other")
        error = at.failure(at.provider(ca_bundle=other.bundle))
        assert "certificate is not accepted" in error.attempts[0].reason, "the bundle alone is trusted"


def test_an_untrusted_authority_and_a_wrong_name_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    with scene(monkeypatch, tls=authority.server("vault.example")) as at:
        untrusted = at.failure(at.provider())
        assert "ASP_VAULT_CA_BUNDLE" in untrusted.attempts[0].advice
        wrong_name = at.failure(at.provider(ca_bundle=authority.bundle))
        assert "Set ASP_VAULT_URL to a name" in wrong_name.attempts[0].advice
        assert untrusted.is_conclusive
        assert wrong_name.is_conclusive
        assert at.paths() == [], "nothing is sent to a server that is not trusted"


def test_a_client_certificate_is_shown_and_its_lack_explained(
    monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    with scene(monkeypatch, tls=authority.server(demands=authority)) as at:
        assert at.retrieve(at.provider(ca_bundle=authority.bundle, **authority.client())).access_key_id
        error = at.failure(at.provider(ca_bundle=authority.bundle))
        assert "ASP_VAULT_CLIENT_CERT" in error.attempts[0].advice


def test_a_client_certificate_of_a_stranger_is_explained(
    monkeypatch: pytest.MonkeyPatch, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other").client()
    with scene(monkeypatch, tls=authority.server(demands=authority)) as at:
        error = at.failure(at.provider(ca_bundle=authority.bundle, **stranger))
        assert "ASP_VAULT_CLIENT_CERT" in error.attempts[0].advice


def test_renewed_certificates_are_taken_from_their_files_without_a_restart(
    monkeypatch: pytest.MonkeyPatch, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other").client()
    with scene(monkeypatch, tls=authority.server(demands=authority)) as at:
        provider = at.provider(ca_bundle=authority.bundle, **stranger)
        at.failure(provider)
        good = authority.client()
        for name in ("client_cert", "client_key"):
            good[name].replace(stranger[name])
        assert at.retrieve(provider).access_key_id


@pytest.mark.parametrize(
    ("setting", "content", "reason"),
    [
        ("ca_bundle", None, "cannot be read (No such file or directory)"),
        ("ca_bundle", "no certificate", "holds no certificate in PEM form"),
        ("client_cert", None, "cannot be read (No such file or directory)"),
        ("client_cert", "planted rubbish", "is no usable pair"),
    ],
)
def test_files_of_certificates_that_cannot_be_used_are_named(
    at: Scene, tmp_path: Path, setting: str, content: str | None, reason: str
) -> None:
    path = tmp_path / "file.pem"
    if content is not None:
        path.write_text(content)
    error = at.failure(at.provider(url="https://127.0.0.1:1", **{setting: path}))
    assert reason in error.attempts[0].reason
    assert error.attempts[0].source == f"ASP_VAULT_{setting.upper()} {path}"
    assert error.is_conclusive


def test_an_ssl_cert_file_that_is_not_there_is_not_silently_ignored(at: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent/ca.pem")
    error = at.failure(at.provider(url="https://127.0.0.1:1"))
    assert error.attempts[0].source == "SSL_CERT_FILE /nonexistent/ca.pem"


def test_https_to_a_plain_listener_is_explained(at: Scene) -> None:
    error = at.failure(at.provider(url=at.vault.url.replace("http:", "https:")))
    assert error.attempts[0].advice.startswith("Begin ASP_VAULT_URL with http://")


def test_http_to_a_tls_listener_is_explained(monkeypatch: pytest.MonkeyPatch, authority: Authority) -> None:
    with scene(monkeypatch, tls=authority.server()) as at:
        error = at.failure(at.provider(url=at.vault.url.replace("https:", "http:")))
        assert "https://" in error.attempts[0].advice


def test_a_refused_connection_an_unknown_name_and_a_hang_up_are_told_apart(
    at: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        refused = at.failure(at.provider(url=f"http://127.0.0.1:{unused.getsockname()[1]}"))
    assert "it refused the connection" in refused.attempts[0].reason

    def unknown(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    at.vault.fail("", Failure(kind=CLOSE))
    closed = at.failure(at.provider())
    assert "it closed the connection without an answer" in closed.attempts[0].reason
    with monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", unknown)
        nameless = at.failure(at.provider(url="http://vault.invalid:8200"))
    assert "its name cannot be resolved" in nameless.attempts[0].reason
    assert not any(error.is_conclusive for error in (refused, closed, nameless))


@pytest.mark.parametrize("kind", [SILENCE, DRIP])
def test_a_server_that_is_silent_or_drips_bytes_holds_a_fetch_no_longer_than_its_time(at: Scene, kind: str) -> None:
    at.vault.fail(PATH, Failure(kind=kind))
    provider = at.provider()
    began = time.monotonic()
    with pytest.raises(CredentialsUnavailableError) as caught:
        provider.retrieve(at.fetch(timeout_seconds=0.3))
    assert time.monotonic() - began < 1.0
    assert "it did not answer in time" in caught.value.attempts[0].reason
    assert not caught.value.is_conclusive


def test_a_call_is_not_begun_when_the_fetchs_time_is_over(at: Scene) -> None:
    with pytest.raises(CredentialsUnavailableError, match="the time for this fetch is over"):
        at.provider().retrieve(at.fetch(timeout_seconds=0))
    assert at.paths() == []


def test_an_answer_of_any_size_is_not_read_to_its_end(at: Scene) -> None:
    at.vault.fail(PATH, Failure(status=200, body=b"x" * (3 << 20)))
    assert "it answered 200 with more than 1 MiB" in at.failure(at.provider()).attempts[0].reason


def test_an_answer_that_is_lost_is_reported_and_not_asked_for_again(at: Scene) -> None:
    at.vault.fail(PATH, Failure(kind=CLOSE, is_after=True))
    at.failure(at.provider())
    assert at.backend.users_made == 1


def test_a_standby_that_redirects_to_the_active_node_is_followed(at: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    with VaultServer() as standby:
        for path in (PATH, "auth/"):
            target = f"{at.vault.url}/v1/{PATH if path == PATH else 'auth/approle/login'}"
            standby.fail(path, Failure(status=307, body=b"", headers=(("Location", target),)))
        at.login("approle", bind_secret_id=False)
        provider = at.provider(url=standby.url, auth_method="approle", role_id="role-id-1")
        assert at.retrieve(provider).access_key_id
        assert at.vault.requests[0].body["role_id"] == "role-id-1", "method and body stay what they were"
        assert at.vault.requests[0].method == "POST"
        standby.mend()


@pytest.mark.parametrize(
    ("status", "location"),
    [
        (302, "{url}/v1/aws/creds/dev"),
        (301, "{url}/v1/aws/creds/dev"),
        (307, "{url}/login?next=x"),
        (307, "ftp://127.0.0.1/v1/aws/creds/dev"),
        (307, "https://user:planted@evil.example:bad/v1/aws/creds/dev"),
        (308, "{url}/v1/aws/creds/dev?token=1"),
    ],
)
def test_a_redirect_that_is_not_a_standbys_is_not_followed(at: Scene, status: int, location: str) -> None:
    with VaultServer() as other:
        headers = (("Location", location.format(url=other.url)),)
        at.vault.fail(PATH, Failure(status=status, body=b"", headers=headers))
        error = at.failure(at.provider())
        assert "not how Vault's standby nodes redirect" in error.attempts[0].reason
        assert other.requests == [], "the token went nowhere else"


def test_a_redirect_in_a_circle_ends(at: Scene) -> None:
    at.vault.fail(PATH, Failure(status=307, body=b"", headers=(("Location", f"{at.vault.url}/v1/{PATH}"),)))
    at.failure(at.provider())
    assert at.vault.count(PATH) <= 4


def test_the_proxy_of_the_environment_is_used_unless_no_proxy_excepts_vault(
    at: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    error = at.failure(at.provider(url="http://vault.invalid:8200"))
    assert "it cannot be reached through the proxy http://127.0.0.1:1, which" in error.attempts[0].reason
    monkeypatch.setenv("HTTP_PROXY", "socks5://127.0.0.1:1")
    error = at.failure(at.provider(url="http://vault.invalid:8200"))
    assert "HTTP_PROXY (socks5://127.0.0.1:1) is not the URL of an HTTP proxy" in error.attempts[0].reason
    assert at.retrieve(at.provider()).access_key_id, "this machine is asked directly"
    monkeypatch.setenv("NO_PROXY", "vault.invalid")
    error = at.failure(at.provider(url="http://vault.invalid:8200"))
    assert "its name cannot be resolved" in error.attempts[0].reason


def test_a_hundred_retrieves_leave_no_connection_thread_or_memory_behind(at: Scene) -> None:
    at.role(credential_type="assumed_role")
    provider = at.provider()

    def retrieve(times: int) -> tuple[int, int, int]:
        for _ in range(times):
            at.retrieve(provider, forced=True)
            at.fetches.clear()
            at.known_secrets.clear()
            at.vault.requests.clear()
            at.backend.leases.clear()
        gc.collect()
        # The stub's threads end a moment after their connections.
        deadline = time.monotonic() + 2
        while threading.active_count() > threads and time.monotonic() < deadline:
            time.sleep(0.01)
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count(), tracemalloc.get_traced_memory()[0]

    threads = threading.active_count()
    tracemalloc.start()
    try:
        before = retrieve(20)
        after = retrieve(100)
    finally:
        tracemalloc.stop()
    assert after[0] <= before[0]
    assert after[1] <= before[1]
    assert after[2] - before[2] < 100_000


def test_connections_are_closed_between_fetches(at: Scene) -> None:
    provider = at.provider()
    at.retrieve(provider)
    assert at.vault.connections == 1, "the calls of one fetch share a connection"
    at.retrieve(provider, forced=True)
    assert at.vault.connections == 2
    assert TOKEN not in repr(provider._client._hvac.token)
