"""Each way in which Vault refuses or answers nonsense, with what it means and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.credentials.vault.vault_scene import PATH, TOKEN, Scene, scene
from tests.credentials.vault.vault_server import Failure

CREATE_DENIED = (
    "Error creating IAM user: AccessDenied: User: arn:aws:iam::123456789012:user/vault is not authorized to perform: "
    "iam:CreateUser on resource: arn:aws:iam::123456789012:user/vault-x\n\tstatus code: 403, request id: 1"
)


@pytest.fixture(name="at")
def _at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    with scene(monkeypatch) as made:
        yield made


def errors(*texts: str) -> bytes:
    return json.dumps({"errors": list(texts)}).encode()


@pytest.mark.parametrize(
    ("status", "text", "advice", "is_conclusive"),
    [
        (503, "Vault is sealed", "Unseal Vault", False),
        (503, "", "is not ready", False),
        (501, "", "Initialise Vault", False),
        (473, "", "performance standby", False),
        (472, "", "primary cluster", False),
        (429, 'request path "aws/creds/dev": rate limit quota exceeded', "quota", False),
        (412, "required index state not present", "not caught up", False),
        (500, "internal error", "Vault's log", False),
        (502, "Error creating IAM user: Throttling: Rate exceeded", "AWS throttles Vault", False),
        (504, "", "load balancer", False),
        (403, "permission denied", 'path "aws/creds/dev" { capabilities = ["read"] }', True),
        (404, "", "vault secrets list", True),
        (404, 'no handler for route "other/creds/dev". route entry not found.', "vault secrets list", True),
        (405, "unsupported operation", "<mount>/creds/<role>", True),
        (401, "", "gateway", True),
        (418, "", "Vault does not answer like this", True),
        (400, 'Role "dev" not found', "Create the role in Vault", True),
        (400, CREATE_DENIED, "Allow Vault's own AWS credentials", True),
        (
            400,
            "Error assuming role: AccessDenied: not authorized to perform: sts:AssumeRole",
            "Allow Vault's own",
            True,
        ),
        (400, "Error creating IAM user: InvalidClientTokenId: The security token", "config/root", True),
        (400, "Error creating IAM user: SignatureDoesNotMatch: Signature expired", "clock of Vault's machine", True),
        (400, "error creating IAM user: NoCredentialProviders: no valid providers", "it has none", True),
        (400, "Error creating IAM user: LimitExceeded: Cannot exceed quota for UsersPerAccount", "assumed_role", True),
        (400, "The requested DurationSeconds exceeds the MaxSessionDuration", "ASP_VAULT_AWS_TTL", True),
        (400, "did not supply a role_arn parameter and unable to determine one", "ASP_VAULT_AWS_ROLE_ARN", True),
        (400, 'role_arn "x" not in allowed role arns for Vault role "dev"', "ASP_VAULT_AWS_ROLE_ARN", True),
        (400, "attempted to retrieve iam_user credentials through the sts path; legacy roles", "ASP_VAULT_PATH", True),
        (400, "missing client token", "Vault saw no token", True),
        (400, "something new", "vault read aws/creds/dev", True),
    ],
)
def test_a_refused_read_tells_vaults_words_and_what_to_do(
    at: Scene, status: int, text: str, advice: str, *, is_conclusive: bool
) -> None:
    at.vault.fail(PATH, Failure(status=status, body=errors(*filter(None, [text]))))
    error = at.failure(at.provider())
    attempt = error.attempts[0]
    assert attempt.source == f"Vault {at.vault.url}"
    shown = f" ({' '.join(text.split())})" if text else ""
    assert attempt.reason == f"reading {PATH} was answered {status}{shown}"
    assert advice in attempt.advice
    assert error.is_conclusive is is_conclusive
    assert [step.is_success for step in at.fetches[-1].steps] == [True, False]


@pytest.mark.parametrize(
    ("body", "content_type", "words"),
    [
        (b"<html><title>502 Bad Gateway</title></html>", "text/html", "(text/html, not the JSON object"),
        (b"Client sent an HTTP request to an HTTPS server.\n", "text/plain", "Client sent an HTTP request"),
        (b"", "", "no content type"),
        (b"[1, 2]", "application/json", "not the JSON object"),
        (b'{"errors": "one text"}', "application/json", "was answered 400"),
        (b'{"errors": [null, 7, "the one"]}', "application/json", "(the one)"),
        (b"\xff\xfe\x00", "text/plain", "was answered 400"),
    ],
)
def test_a_refusal_in_another_form_than_vaults_is_told_all_the_same(
    at: Scene, body: bytes, content_type: str, words: str
) -> None:
    at.vault.fail(PATH, Failure(status=400, body=body, content_type=content_type))
    assert words in at.failure(at.provider()).attempts[0].reason


def test_plain_http_to_a_tls_listener_is_advised_to_use_https(at: Scene) -> None:
    body = b"Client sent an HTTP request to an HTTPS server.\n"
    at.vault.fail("", Failure(status=400, body=body, content_type="text/plain; charset=utf-8"))
    error = at.failure(at.provider(auth_method="approle", role_id="role-id-1"))
    assert error.attempts[0].advice.startswith("Begin ASP_VAULT_URL with https://")


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Log in</html>",
        b"not JSON",
        b"[]",
        b"null",
        b'"text"',
        b"[" * 100_000,
        b'{"lease_duration": ' + b"9" * 5000 + b"}",
        b"",
        b"{}",
        b'{"data": null}',
        b'{"data": []}',
        b'{"data": {}}',
        b'{"data": {"access_key": null, "secret_key": null}}',
        b'{"data": {"access_key": {}, "secret_key": []}}',
        b'{"data": {"access_key": " ", "secret_key": "planted"}}',
        b'{"data": {"data": {"access_key": "AKIA", "secret_key": "planted"}, "metadata": {}}}',
        b'{"lease_id": "aws/creds/dev/1", "data": {"access_key": "AKIA1", "secret_key": "planted"}}',
        b'{"lease_id": "x", "lease_duration": null, "data": {"access_key": "AKIA1", "secret_key": "planted"}}',
        b'{"lease_id": "x", "lease_duration": -5, "data": {"access_key": "AKIA1", "secret_key": "planted"}}',
        b'{"lease_id": "x", "lease_duration": true, "data": {"access_key": "AKIA1", "secret_key": "planted"}}',
        b'{"lease_id": "x", "lease_duration": "3600", "data": {"access_key": "AKIA1", "secret_key": "planted"}}',
        b'{"lease_id": "x", "lease_duration": 1e999, "data": {"access_key": "AKIA1", "secret_key": "planted"}}',
        b'{"lease_id": "x", "lease_duration": NaN, "data": {"access_key": "AKIA1", "secret_key": "planted"}}',
        b'{"lease_id": "x", "lease_duration": 60, "data": {"access_key": "AK/IA", "secret_key": "planted"}}',
        b'{"lease_id": "x", "lease_duration": 60, "data": {"access_key": "AKIA1", "secret_key": "pl\\nanted"}}',
    ],
)
def test_an_answer_with_status_200_that_holds_no_credentials_is_an_error(at: Scene, body: bytes) -> None:
    at.vault.fail(PATH, Failure(status=200, body=body))
    error = at.failure(at.provider())
    assert f"reading {PATH} gave" in error.attempts[0].reason


def test_a_secret_that_is_not_of_the_aws_engine_names_the_setting(at: Scene) -> None:
    at.vault.fail(PATH, Failure(status=200, body=b'{"data": {"password": "planted"}}'))
    error = at.failure(at.provider())
    assert error.is_conclusive
    assert "ASP_VAULT_PATH" in error.attempts[0].advice


def test_a_wrapped_answer_is_told_apart_and_its_token_kept_secret(at: Scene) -> None:
    body = b'{"data": null, "wrap_info": {"token": "planted-wrapping-token", "ttl": 300}}'
    at.vault.fail(PATH, Failure(status=200, body=body))
    error = at.failure(at.provider())
    assert "wrapped answer" in error.attempts[0].reason
    assert "planted-wrapping-token" in at.known_secrets


@pytest.mark.parametrize("body", [b"{}", b'{"auth": []}', b'{"auth": {"lease_duration": null}}'])
def test_a_token_renewal_answered_with_nonsense_is_an_error(at: Scene, body: bytes) -> None:
    at.backend.add_token(TOKEN, ttl=1200)
    provider = at.provider()
    at.retrieve(provider)
    at.clock.now += 900
    at.vault.fail("auth/token/renew-self", Failure(status=200, body=body))
    assert "renewing the token gave" in at.failure(provider).attempts[0].reason


@pytest.mark.parametrize("body", [b"{}", b'{"lease_duration": "1h"}'])
def test_a_lease_renewal_answered_with_nonsense_is_an_error(at: Scene, body: bytes) -> None:
    provider = at.provider()
    at.retrieve(provider)
    at.clock.now += 2400
    at.vault.fail("sys/leases/renew", Failure(status=200, body=body))
    assert "renewing the lease gave an answer without lease_duration" in at.failure(provider).attempts[0].reason


@pytest.mark.parametrize("body", [b"{}", b'{"data": {"ttl": "1h"}}', b'{"data": []}', b'{"data": {"ttl": 0}}'])
def test_a_look_up_answered_with_nonsense_leaves_the_tokens_life_unknown(at: Scene, body: bytes) -> None:
    at.vault.fail("auth/token/lookup-self", Failure(status=200, body=body))
    assert at.retrieve(at.provider()).access_key_id


@pytest.mark.parametrize("status", [500, 503])
def test_a_look_up_that_fails_for_another_reason_than_a_policy_is_reported(at: Scene, status: int) -> None:
    at.vault.fail("auth/token/lookup-self", Failure(status=status))
    assert "looking the token up was answered" in at.failure(at.provider()).attempts[0].reason


def test_what_vault_repeats_of_a_secret_is_masked(at: Scene) -> None:
    at.vault.fail(PATH, Failure(status=403, body=errors(f"bad token {TOKEN}, secret id planted-secret-id")))
    error = at.failure(at.provider(secret_id="planted-secret-id"))
    assert "bad token ***" in error.attempts[0].reason


def test_a_sealed_vault_refuses_the_login_too(at: Scene) -> None:
    at.vault.is_sealed = True
    error = at.failure(at.provider(auth_method="approle", role_id="role-id-1"))
    assert error.attempts[0].advice.startswith("Unseal Vault")
    assert not error.is_conclusive
