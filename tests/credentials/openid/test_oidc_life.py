"""A provider that lives for months: it shows no secret, and leaks neither memory nor threads nor descriptors."""

from __future__ import annotations

import gc
import logging
import threading
import traceback
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc.jwk import ECKey

from aws_signing_proxy.credentials.openid.provider import OpenIdOptions, OpenIdProvider
from aws_signing_proxy.credentials.provider import CredentialsUnavailableError
from aws_signing_proxy.observe.redaction import Redactor
from tests.credentials.openid.authorization_servers import Failure, OAuthServer, OriginalServer, TokenTemplate
from tests.credentials.openid.oidc_scene import STS_DOWN, STS_REFUSED, FakeSts, fetch_of, oauth_options_of, options_of

SECRET = "planted-client-secret/+%"
FAILURES = [
    None,
    Failure(status=401, body=b'{"error": "invalid_client", "error_description": "%(said)s"}'),
    Failure(status=400, body=b"you sent %(said)s"),
    Failure(status=302, fields={"Location": "https://login.example.com/?x=%(said)s"}),
    Failure(status=200, body=b'{"error": "%(said)s"}'),
    Failure(status=200, body=b'{"access_token": ["%(said)s"]}'),
    Failure(closes=True),
    Failure(raw=b"HTTP/1.1 %(said)s\r\n\r\n"),
    Failure(raw=b"HTTP/1.1 200 OK\r\n%(said)s\r\n\r\n"),
    Failure(is_silent=True),
]


def with_said(failure: Failure, said: str) -> Failure:
    """Return the failure of a server that says what it was told."""
    return Failure(
        status=failure.status,
        body=failure.body.replace(b"%(said)s", said.encode()),
        fields={name: value.replace("%(said)s", said) for name, value in failure.fields.items()},
        closes=failure.closes,
        is_silent=failure.is_silent,
        raw=None if failure.raw is None else failure.raw.replace(b"%(said)s", said.encode()),
    )


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("dialect", ["json", "client_secret_basic", "client_secret_post"])
@pytest.mark.parametrize("sts_error", [None, STS_REFUSED, STS_DOWN])
def test_no_secret_is_shown_whatever_happens(
    failure: Failure | None,
    dialect: str,
    sts_error: CredentialsUnavailableError | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    redactor, sts, shown = Redactor(), FakeSts(), ""
    sts.error = sts_error
    with OriginalServer(secret=SECRET) if dialect == "json" else OAuthServer(secret=SECRET) as server:
        if isinstance(server, OAuthServer):
            server.authentication = dialect
        if failure is not None:
            server.failure = with_said(failure, SECRET)
        kind = {"dialect": "json"} if dialect == "json" else {"client_authentication": dialect}
        provider = OpenIdProvider(options_of(server.url, client_secret=SECRET, **kind), sts=sts)
        fetch = fetch_of(redactor=redactor, timeout_seconds=0.1 if failure and failure.is_silent else 5)
        try:
            provider.retrieve(fetch)
        except CredentialsUnavailableError as error:
            shown += f"{error}{error!r}{error.explain()}{''.join(traceback.format_exception(error))}"
        shown += f"{fetch.notes!r}{provider!r}{vars(provider)!r}{caplog.text}"
        secrets = [SECRET, *server.issued, *(value for value in fetch.secrets if len(value) >= 8)]
    assert SECRET in fetch.secrets
    assert set(server.issued) <= set(fetch.secrets)
    assert [secret for secret in secrets if secret in shown] == []


@pytest.fixture(scope="module")
def pem() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def count_of_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def options_for(kind: str, server: Any, tmp_path: Path, pem: str) -> OpenIdOptions:
    if kind == "original":
        return options_of(server.url)
    if kind == "secret":
        return oauth_options_of(issuer=server.issuer)
    file = tmp_path / "client.pem"
    file.write_text(pem)
    server.authentication, server.public_key = "private_key_jwt", ECKey.import_key(pem)
    return oauth_options_of(issuer=server.issuer, client_secret=None, key_file=file)


@pytest.mark.parametrize("kind", ["original", "secret", "key"])
@pytest.mark.parametrize("is_failing", [False, True])
def test_a_hundred_fetches_leave_nothing_behind(kind: str, is_failing: bool, tmp_path: Path, pem: str) -> None:
    with OriginalServer() if kind == "original" else OAuthServer() as server:
        server.token = TokenTemplate(claims={"iss": server.origin, "groups": "g" * 4000})
        provider = OpenIdProvider(options_for(kind, server, tmp_path, pem), sts=_NoSts())

        def fetch_some(count: int) -> None:
            for number in range(count):
                server.failures.extend([Failure(status=503)] if is_failing and number % 2 else [])
                try:
                    provider.retrieve(fetch_of(is_forced=True))
                except CredentialsUnavailableError:
                    assert is_failing
            server.requests.clear()
            server.issued.clear()
            getattr(server, "assertions", []).clear()
            gc.collect()

        fetch_some(10)
        threads, descriptors = threading.active_count(), count_of_descriptors()
        tracemalloc.start()
        fetch_some(10)
        held = tracemalloc.get_traced_memory()[0]
        fetch_some(100)
        grown = tracemalloc.get_traced_memory()[0] - held
        tracemalloc.stop()
        # One more each: the stand-in may still be about to let go of the last connection.
        assert threading.active_count() <= threads + 1
        assert count_of_descriptors() <= descriptors + 1
    # A hundred tokens would be 500 kB, a hundred connections more. The interpreter's own free lists take up to 50 kB.
    assert grown < 100_000


class _NoSts(FakeSts):
    def assume_role_with_web_identity(self, *args: Any, **named: Any) -> Any:
        """Keep nothing."""
        credentials = super().assume_role_with_web_identity(*args, **named)
        self.asked.clear()
        return credentials
