"""End to end against the certified OpenID provider from npm; an STS that verifies tokens by the provider's keys."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.credentials.openid.provider import OpenIdProvider
from tests.credentials.openid.oidc_scene import STS_REFUSED, FakeSts, failure_of, fetch_of, notes_of, options_of
from tests.credentials.openid.openid_provider_process import missing_tools, openid_provider

pytestmark = pytest.mark.skipif(bool(missing_tools()), reason=f"not installed: {', '.join(missing_tools())}")

SECRET = "s%e:c r&t+/=?~_-.*"
AUDIENCE = "https://sts.amazonaws.com"
KEYS: dict[str, Any] = {
    "rsa-1": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ec-1": ec.generate_private_key(ec.SECP256R1()),
}


def pem_of(key: Any) -> bytes:
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


def public_jwks() -> list[dict[str, Any]]:
    found = []
    for name, key in KEYS.items():
        jwk = (RSAKey if name.startswith("rsa") else ECKey).import_key(pem_of(key))
        found.append({**jwk.as_dict(private=False), "kid": name})
    return found


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with openid_provider(SECRET, public_jwks()) as running:
        yield running


class VerifyingSts(FakeSts):
    """Does what STS does with a token: verifies its signature by the issuer's published keys, and reads its claims."""

    def __init__(self, issuer: str) -> None:
        super().__init__()
        with urllib.request.urlopen(f"{issuer}/.well-known/openid-configuration", timeout=5) as answer:
            document = json.load(answer)
        with urllib.request.urlopen(document["jwks_uri"], timeout=5) as answer:
            self._keys = KeySet.import_key_set(json.load(answer))
        self.claims: list[dict[str, Any]] = []

    def assume_role_with_web_identity(self, fetch: Fetch, **asked: Any) -> Credentials:
        self.claims.append(dict(jwt.decode(asked["token"], self._keys, algorithms=["RS256"]).claims))
        return super().assume_role_with_web_identity(fetch, **asked)


def retrieve(at: str, fetch: Fetch | None = None, **changes: Any) -> dict[str, Any]:
    """Return the claims of the token that STS was shown, verified."""
    sts = VerifyingSts(at)
    options = options_of(**{"client_secret": SECRET, "issuer": at, "audience": AUDIENCE, **changes})
    OpenIdProvider(options, sts=sts).retrieve(fetch or fetch_of())
    (claims,) = sts.claims
    return claims


@pytest.mark.parametrize("client", ["basic", "post"])
def test_a_secret_of_any_characters_is_worth_a_token(issuer: str, client: str) -> None:
    claims = retrieve(issuer, client_id=client, client_authentication=f"client_secret_{client}", scope="aws")
    assert (claims["iss"], claims["aud"], claims["sub"], claims["scope"]) == (issuer, AUDIENCE, client, "aws")


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("is_discovered", [True, False])
def test_a_key_is_worth_a_token(issuer: str, tmp_path: Path, key: str, is_discovered: bool) -> None:
    file = tmp_path / "client.pem"
    file.write_bytes(pem_of(KEYS[key]))
    where = {"issuer": issuer} if is_discovered else {"issuer": None, "token_endpoint": f"{issuer}/token"}
    claims = retrieve(issuer, client_id="key", client_secret=None, key_file=file, key_id=key, **where)
    assert (claims["iss"], claims["sub"]) == (issuer, "key")


def test_discovery_and_token_are_noted(issuer: str) -> None:
    fetch = fetch_of()
    retrieve(issuer, fetch, client_id="basic")
    told = notes_of(fetch)
    assert f"the issuer's token endpoint is {issuer}/token" in told
    assert f'OAuth 2.0, client_secret_basic): iss "{issuer}", aud "{AUDIENCE}", sub "basic", expires in ' in told


def test_a_user_who_sets_only_url_id_and_secret_gets_there_too(issuer: str) -> None:
    sts = FakeSts()
    options = options_of(f"{issuer}/token", client_id="basic", client_secret=SECRET)
    provider = OpenIdProvider(options, sts=sts)
    provider.retrieve(fetch_of())
    second = fetch_of()
    provider.retrieve(second)
    assert [step.is_success for step in second.steps] == [True, True]


def test_the_opaque_token_that_comes_without_an_audience_is_told_when_sts_refuses_it(issuer: str) -> None:
    sts = FakeSts()
    sts.error = STS_REFUSED
    options = options_of(issuer=issuer, client_id="basic", client_secret=SECRET)
    assert "the access_token is not a JWT but opaque" in str(failure_of(OpenIdProvider(options, sts=sts)))


@pytest.mark.parametrize(
    ("changes", "reason", "advice"),
    [
        ({"client_secret": "wrong-secret"}, '401 Unauthorized with error "invalid_client"', "ASP_OPEN_ID_CLIENT_ID"),
        ({"client_id": "nobody"}, '401 Unauthorized with error "invalid_client"', "Check ASP_OPEN_ID_CLIENT_ID"),
        ({"scope": "admin"}, '400 Bad Request with error "invalid_scope"', "Set ASP_OPEN_ID_SCOPE"),
        ({"audience": "no-uri"}, '400 Bad Request with error "invalid_target"', "Set ASP_OPEN_ID_AUDIENCE"),
        ({"dialect": "json"}, '400 Bad Request with error "invalid_request"', "ASP_OPEN_ID_DIALECT"),
    ],
)
def test_each_refusal_is_told_in_the_provider_s_words(
    issuer: str, changes: dict[str, str], reason: str, advice: str
) -> None:
    options = options_of(**{"issuer": issuer, "client_id": "basic", "client_secret": SECRET, **changes})
    error = failure_of(OpenIdProvider(options, sts=FakeSts()))
    assert reason in error.attempts[-1].reason
    assert advice in error.attempts[-1].advice
    assert error.is_conclusive


def test_a_key_that_is_not_registered_is_told(issuer: str, tmp_path: Path) -> None:
    file = tmp_path / "client.pem"
    file.write_bytes(pem_of(rsa.generate_private_key(public_exponent=65537, key_size=2048)))
    options = options_of(issuer=issuer, client_id="key", client_secret=None, key_file=file)
    error = failure_of(OpenIdProvider(options, sts=FakeSts()))
    assert 'error "invalid_client"' in error.attempts[-1].reason
    assert "the public half of ASP_OPEN_ID_CLIENT_KEY_FILE" in error.attempts[-1].advice
