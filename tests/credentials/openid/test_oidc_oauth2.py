"""Standard OAuth 2.0: how the client authenticates, what it asks for, and where (discovery)."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from joserfc.jwk import ECKey, RSAKey

from aws_signing_proxy.credentials.fetch import Step
from aws_signing_proxy.credentials.openid.provider import OpenIdProvider
from tests.credentials.openid.authorization_servers import Failure, OAuthServer
from tests.credentials.openid.oidc_scene import FakeSts, failure_of, fetch_of, notes_of, oauth_options_of, options_of

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OPENID = "/.well-known/openid-configuration"
OAUTH = "/.well-known/oauth-authorization-server"


def pem_of(key: Any, encryption: Any = None) -> str:
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())
    return pem.decode()


@pytest.fixture
def server() -> Iterator[OAuthServer]:
    with OAuthServer() as running:
        yield running


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "client.pem"
    path.write_text(pem_of(RSA))
    return path


def retrieve(**changes: Any) -> FakeSts:
    sts = FakeSts()
    OpenIdProvider(oauth_options_of(**changes), sts=sts).retrieve(fetch_of())
    return sts


def refusal_of(**changes: Any) -> str:
    return str(failure_of(OpenIdProvider(oauth_options_of(**changes), sts=FakeSts())))


def expect_key(server: OAuthServer, key: Any) -> None:
    server.authentication = "private_key_jwt"
    server.public_key = (RSAKey if isinstance(key, rsa.RSAPrivateKey) else ECKey).import_key(pem_of(key))


def test_the_client_credentials_grant_is_asked_for_with_scope_and_audience(server: OAuthServer) -> None:
    sts = retrieve(token_endpoint=server.url, scope="aws openid", audience="sts.amazonaws.com")
    (request,) = server.requests
    assert parse_qs(request.body.decode()) == {
        "grant_type": ["client_credentials"],
        "scope": ["aws openid"],
        "audience": ["sts.amazonaws.com"],
    }
    assert request.fields["accept"] == "application/json"
    assert sts.tokens == server.issued


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_ids_and_secrets_of_any_characters_arrive_as_they_are(server: OAuthServer, method: str) -> None:
    server.client_id, server.secret, server.authentication = "c:l i&ent%=", "s%e:c r&t+ü€/ß", method
    retrieve(
        token_endpoint=server.url,
        client_id=server.client_id,
        client_secret=server.secret,
        client_authentication=method,
    )
    assert len(server.issued) == 1


def test_the_basic_credentials_are_form_encoded_before_they_are_joined(server: OAuthServer) -> None:
    server.client_id, server.secret = "a:b", "c d"
    retrieve(token_endpoint=server.url, client_id="a:b", client_secret="c d")
    authorization = server.requests[0].fields["authorization"]
    assert base64.b64decode(authorization.removeprefix("Basic ")) == b"a%3Ab:c+d"


def test_the_secret_s_file_is_read_at_each_fetch_before_the_setting(server: OAuthServer, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("oauth-secret\n")
    options = oauth_options_of(server.url, client_secret="other", client_secret_file=file)
    provider = OpenIdProvider(options, sts=FakeSts())
    provider.retrieve(fetch_of())
    server.secret = "rotated secret%"
    file.write_text("rotated secret%\r\n")
    fetch = fetch_of()
    provider.retrieve(fetch)
    assert len(server.issued) == 2
    assert "rotated secret%" in fetch.secrets


def test_after_a_failure_the_secret_s_file_is_watched_until_the_next_fetch(server: OAuthServer, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    provider = OpenIdProvider(oauth_options_of(server.url, client_secret_file=file), sts=FakeSts())
    failure_of(provider)
    assert not provider.has_changed()
    file.write_text("not-this-secret")
    assert provider.has_changed()
    failure_of(provider)
    file.write_text("oauth-secret")
    assert provider.has_changed()
    provider.retrieve(fetch_of())
    file.write_text("the next secret")
    assert not provider.has_changed()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read: no such file or directory"),
        (b"  \n", "is blank"),
        (b"\xff\xfe\x00", "is no text"),
        (b"x" * ((1 << 20) + 1), "is larger than a secret"),
    ],
)
def test_a_secret_s_file_that_holds_none_is_said_so(
    server: OAuthServer, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    error = failure_of(OpenIdProvider(oauth_options_of(server.url, client_secret_file=file), sts=FakeSts()))
    assert (error.is_conclusive, server.requests) == (True, [])
    assert f"{file}: {reason}" in str(error)
    assert "ASP_OPEN_ID_CLIENT_SECRET_FILE" in str(error)


@pytest.mark.parametrize("setting", ["client_secret_file", "key_file"])
def test_a_pipe_that_nobody_writes_to_is_not_waited_for(server: OAuthServer, tmp_path: Path, setting: str) -> None:
    """The thread would never come back, and no other fetch could be made."""
    pipe = tmp_path / "secret"
    os.mkfifo(pipe)
    error = failure_of(OpenIdProvider(oauth_options_of(server.url, **{setting: pipe}), sts=FakeSts()))
    assert f"{pipe}: cannot be read: not a regular file" in str(error)


@pytest.mark.parametrize("dialect", ["auto", "json", "oauth2"])
def test_a_missing_secret_is_said_before_anybody_is_asked(server: OAuthServer, dialect: str) -> None:
    told = refusal_of(token_endpoint=server.url, client_secret=None, dialect=dialect)
    assert told.startswith("client secret: is not set (Set ASP_OPEN_ID_CLIENT_SECRET or ")
    assert server.requests == []


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (RSA, "RS256"),
        (ec.generate_private_key(ec.SECP256R1()), "ES256"),
        (ec.generate_private_key(ec.SECP384R1()), "ES384"),
        (ec.generate_private_key(ec.SECP521R1()), "ES512"),
    ],
)
def test_a_key_proves_who_the_client_is(server: OAuthServer, key_file: Path, key: Any, algorithm: str) -> None:
    expect_key(server, key)
    key_file.write_text(pem_of(key))
    options = oauth_options_of(server.url, client_secret=None, key_file=key_file, key_id="key-1")
    provider = OpenIdProvider(options, sts=FakeSts())
    fetch = fetch_of()
    provider.retrieve(fetch)
    provider.retrieve(fetch_of())
    first, second = server.assertions
    assert (first["header"]["alg"], first["header"]["kid"]) == (algorithm, "key-1")
    assert (first["aud"], first["exp"] - first["iat"]) == (server.url, 60)
    assert first["jti"] != second["jti"]
    assertion = parse_qs(server.requests[0].body.decode())["client_assertion"][0]
    assert {assertion, pem_of(key)} <= set(fetch.secrets)


@pytest.mark.parametrize(
    ("supported", "algorithm"), [(["PS256", "ES256"], "PS256"), (["RS256", "PS256"], "RS256"), (None, "RS256")]
)
def test_the_server_s_metadata_decide_on_the_algorithm_and_its_issuer_is_the_audience(
    server: OAuthServer, key_file: Path, supported: list[str] | None, algorithm: str
) -> None:
    expect_key(server, RSA)
    server.metadata = {"token_endpoint_auth_signing_alg_values_supported": supported}
    retrieve(issuer=server.issuer, client_secret=None, key_file=key_file)
    (assertion,) = server.assertions
    assert (assertion["header"]["alg"], assertion["aud"]) == (algorithm, server.issuer)


def test_with_both_urls_set_nothing_is_discovered_and_the_issuer_is_the_audience(
    server: OAuthServer, key_file: Path
) -> None:
    expect_key(server, RSA)
    retrieve(token_endpoint=server.url, issuer=server.issuer, client_secret=None, key_file=key_file)
    assert [request.path for request in server.requests] == ["/token"]
    assert server.assertions[0]["aud"] == server.issuer


def test_a_certificate_beside_the_key_is_named_by_its_thumbprints(server: OAuthServer, key_file: Path) -> None:
    import hashlib
    import ssl

    import trustme

    issued = trustme.CA().issue_cert("client.example.com")
    certificate = issued.cert_chain_pems[0].bytes().decode()
    for first, second in ((certificate, pem_of(RSA)), (pem_of(RSA), certificate)):
        expect_key(server, RSA)
        key_file.write_text(f"Bag Attributes\n{first}{second}")
        retrieve(token_endpoint=server.url, client_secret=None, key_file=key_file)
    expected = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).digest()
    for assertion in server.assertions:
        assert assertion["header"]["x5t#S256"] == base64.urlsafe_b64encode(expected).rstrip(b"=").decode()
        assert assertion["header"]["x5t"]


def test_a_rotated_key_is_read_at_the_next_fetch(server: OAuthServer, key_file: Path) -> None:
    expect_key(server, RSA)
    provider = OpenIdProvider(oauth_options_of(server.url, key_file=key_file), sts=FakeSts())
    provider.retrieve(fetch_of())
    new = ec.generate_private_key(ec.SECP256R1())
    expect_key(server, new)
    assert "registered for ASP_OPEN_ID_CLIENT_ID" in str(failure_of(provider))
    key_file.write_text(pem_of(new))
    provider.retrieve(fetch_of())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("no key", "holds no PEM"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "holds no private key"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "holds no private key that can be read"),
        (pem_of(RSA, BestAvailableEncryption(b"passphrase")), "is protected by a passphrase"),
        (pem_of(rsa.generate_private_key(public_exponent=65537, key_size=1024)), "is an RSA key of 1024 bits"),
        (pem_of(ec.generate_private_key(ec.SECP256K1())), "is neither an RSA key nor one of the curves"),
        (pem_of(ed25519.Ed25519PrivateKey.generate()), "is neither an RSA key nor one of the curves"),
        (f"{pem_of(RSA)}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "holds a certificate that"),
    ],
)
def test_a_key_that_cannot_sign_is_said_so(server: OAuthServer, key_file: Path, content: str, reason: str) -> None:
    key_file.write_text(content)
    told = refusal_of(token_endpoint=server.url, client_secret=None, key_file=key_file)
    assert f"client key in {key_file}: {reason}" in told
    assert server.requests == []


def test_private_key_jwt_without_a_key_is_said_before_anybody_is_asked(server: OAuthServer) -> None:
    told = refusal_of(token_endpoint=server.url, client_authentication="private_key_jwt")
    assert told.startswith("client key: is not set")


def test_the_token_endpoint_is_discovered_once(server: OAuthServer) -> None:
    provider = OpenIdProvider(oauth_options_of(issuer=server.issuer), sts=FakeSts())
    fetch = fetch_of()
    provider.retrieve(fetch)
    provider.retrieve(fetch_of())
    assert [request.path for request in server.requests] == [OPENID, "/token", "/token"]
    assert "authorization" not in server.requests[0].fields
    assert f"the issuer's token endpoint is {server.url}" in notes_of(fetch)
    assert [step.step for step in fetch.steps] == [Step.AUTHORIZATION_SERVER, Step.AUTHORIZATION_SERVER, Step.STS]


def test_the_token_endpoint_is_discovered_again_after_a_failure_and_when_forced(server: OAuthServer) -> None:
    provider = OpenIdProvider(oauth_options_of(issuer=server.issuer), sts=FakeSts())
    provider.retrieve(fetch_of())
    server.failures.append(Failure(status=404))
    failure_of(provider)
    provider.retrieve(fetch_of())
    provider.retrieve(fetch_of(is_forced=True))
    assert [request.path for request in server.requests] == [OPENID, "/token", "/token"] + [OPENID, "/token"] * 2


@pytest.mark.parametrize(("path", "at"), [("", OAUTH), ("/tenant", f"{OAUTH}/tenant")])
def test_rfc_8414_s_address_is_asked_where_openid_s_has_nothing(server: OAuthServer, path: str, at: str) -> None:
    issuer = f"{server.origin}{path}"
    server.metadata_path, server.metadata = at, {"issuer": issuer}
    retrieve(issuer=issuer)
    assert [request.path for request in server.requests] == [f"{path}{OPENID}", at, "/token"]


def test_an_issuer_without_any_document_is_told_with_both_addresses(server: OAuthServer) -> None:
    server.metadata_path = None
    error = failure_of(OpenIdProvider(oauth_options_of(issuer=f"{server.origin}/x/"), sts=FakeSts()))
    assert [attempt.source for attempt in error.attempts] == [
        f"authorization server {server.origin}/x{OPENID}",
        f"authorization server {server.origin}{OAUTH}/x",
    ]
    assert "without /.well-known/openid-configuration" in str(error)
    assert error.is_conclusive


@pytest.mark.parametrize("status", [429, 500, 503, 302])
def test_a_server_that_does_not_say_there_is_no_document_is_not_asked_for_another(
    server: OAuthServer, status: int
) -> None:
    server.failure = Failure(status=status)
    error = failure_of(OpenIdProvider(oauth_options_of(issuer=server.issuer), sts=FakeSts()))
    assert len(server.requests) == 1
    assert error.is_conclusive is (status == 302)


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"issuer": "https://other.example.com"}, 'is the document of issuer "https://other.example.com", not of '),
        ({"issuer": None}, "names no issuer, not of "),
        ({"issuer": ["a"]}, "names no issuer, not of "),
        ({"token_endpoint": None}, "names no token_endpoint"),
        ({"token_endpoint": {"url": "x"}}, "names no token_endpoint"),
        ({"token_endpoint": "ftp://x.example.com/token"}, "names a token_endpoint that is not https"),
    ],
)
def test_a_document_that_is_not_this_issuer_s_or_useless_is_said_so(
    server: OAuthServer, metadata: dict[str, object], reason: str
) -> None:
    server.metadata = metadata
    error = failure_of(OpenIdProvider(oauth_options_of(issuer=server.issuer), sts=FakeSts()))
    assert reason in error.attempts[0].reason
    assert error.is_conclusive
    assert [request.path for request in server.requests] == [OPENID]


def test_an_issuer_with_another_slash_is_told_how_the_server_writes_it(server: OAuthServer) -> None:
    told = refusal_of(issuer=f"{server.issuer}/")
    assert f'is the document of issuer "{server.issuer}", not of "{server.issuer}/"' in told
    assert "a slash at its end included" in told


@pytest.mark.parametrize(
    ("supported", "method"),
    [
        (None, "client_secret_basic"),
        ("nonsense", "client_secret_basic"),
        (["client_secret_post", "client_secret_basic"], "client_secret_basic"),
        (["private_key_jwt", "client_secret_post"], "client_secret_post"),
    ],
)
def test_the_method_is_inferred_from_the_server_s_metadata(server: OAuthServer, supported: object, method: str) -> None:
    server.authentication = method
    server.metadata = {"token_endpoint_auth_methods_supported": supported}
    retrieve(issuer=server.issuer)
    assert len(server.issued) == 1


@pytest.mark.parametrize(
    ("wanted", "members", "taken"),
    [
        ("auto", ("access_token",), 0),
        ("auto", ("access_token", "id_token"), 1),
        ("id_token", ("access_token", "id_token"), 1),
        ("access_token", ("access_token", "id_token"), 0),
    ],
)
def test_the_token_that_is_wanted_is_taken(
    server: OAuthServer, wanted: str, members: tuple[str, ...], taken: int
) -> None:
    server.token_members = members
    assert retrieve(token_endpoint=server.url, token=wanted).tokens == [server.issued[taken]]


def test_an_unencrypted_connection_to_another_machine_is_noted() -> None:
    fetch = fetch_of(timeout_seconds=0.05)
    failure_of(OpenIdProvider(options_of("http://nowhere.invalid/token"), sts=FakeSts()), fetch)
    assert "the connection is not encrypted" in notes_of(fetch)
