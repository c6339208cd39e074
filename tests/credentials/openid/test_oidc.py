"""The `oidc` provider: a token, then credentials; which dialect is spoken, and when a token is kept."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from aws_signing_proxy.credentials.fetch import Step
from aws_signing_proxy.credentials.openid.provider import OpenIdOptions, OpenIdProvider
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError
from tests.credentials.openid.authorization_servers import Failure, OAuthServer, OriginalServer, TokenTemplate, make_jwt
from tests.credentials.openid.oidc_scene import (
    ROLE,
    STS_DOWN,
    STS_REFUSED,
    FakeSts,
    failure_of,
    fetch_of,
    notes_of,
    oauth_options_of,
    options_of,
)

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def sts() -> FakeSts:
    return FakeSts()


@pytest.fixture
def original() -> Iterator[OriginalServer]:
    with OriginalServer() as server:
        yield server


@pytest.fixture
def oauth() -> Iterator[OAuthServer]:
    with OAuthServer() as server:
        yield server


def types_of(server: OriginalServer | OAuthServer) -> list[str]:
    return [request.fields["content-type"] for request in server.requests]


def test_the_original_s_dialect_is_spoken_to_the_letter(original: OriginalServer, sts: FakeSts) -> None:
    provider = OpenIdProvider(options_of(original.url, session_duration_seconds=900), sts=sts)
    credentials = provider.retrieve(fetch_of())
    (request,) = original.requests
    assert (request.method, request.path) == ("POST", "/token")
    assert request.fields["content-type"] == request.fields["accept"] == JSON
    assert request.fields["accept-encoding"] == "identity"
    assert request.fields["user-agent"] == "aws-signing-proxy"
    assert json.loads(request.body) == {"identity": "client-1", "secret": "original-secret"}
    assert sts.asked == [
        {"role_arn": ROLE, "session_name": "client-1", "token": original.issued[0], "duration_seconds": 900}
    ]
    assert credentials.access_key_id == "ASIA0000000000000001"


@pytest.mark.parametrize("member", ["idToken", "id_token", "access_token"])
def test_each_of_the_names_that_a_token_may_have_is_known(original: OriginalServer, sts: FakeSts, member: str) -> None:
    original.token_member = member
    OpenIdProvider(options_of(original.url), sts=sts).retrieve(fetch_of())
    assert sts.tokens == original.issued


def test_the_steps_are_measured_one_for_each_server(original: OriginalServer, sts: FakeSts) -> None:
    fetch = fetch_of()
    OpenIdProvider(options_of(original.url), sts=sts).retrieve(fetch)
    assert [(step.step, step.is_success) for step in fetch.steps] == [
        (Step.AUTHORIZATION_SERVER, True),
        (Step.STS, True),
    ]


def test_the_notes_tell_what_the_token_claims_but_never_the_token(original: OriginalServer, sts: FakeSts) -> None:
    fetch = fetch_of()
    OpenIdProvider(options_of(original.url), sts=sts).retrieve(fetch)
    told = notes_of(fetch)
    assert 'iss "https://login.example.com", aud "sts.amazonaws.com", sub "client-1", expires in 300 s' in told
    assert original.issued[0] not in told
    assert {original.issued[0], "original-secret"} <= set(fetch.secrets)


def test_a_user_of_the_original_meets_its_dialect_first_and_no_second_request(
    original: OriginalServer, sts: FakeSts
) -> None:
    provider = OpenIdProvider(options_of(original.url), sts=sts)
    for _ in range(3):
        provider.retrieve(fetch_of())
    assert types_of(original) == [JSON] * 3


def test_a_server_of_oauth_is_found_out_once_and_remembered(oauth: OAuthServer, sts: FakeSts) -> None:
    provider = OpenIdProvider(options_of(oauth.url, client_secret="oauth-secret"), sts=sts)
    first = fetch_of()
    provider.retrieve(first)
    provider.retrieve(fetch_of())
    provider.retrieve(fetch_of(is_forced=True))
    assert types_of(oauth) == [JSON, FORM, FORM, FORM]
    assert "ASP_OPEN_ID_DIALECT=oauth2" in notes_of(first)
    assert [step.is_success for step in first.steps] == [False, True, True]


@pytest.mark.parametrize("status", [400, 401, 403, 406, 415, 422])
def test_an_answer_that_may_come_from_a_server_of_the_other_dialect_leads_to_a_second_question(
    oauth: OAuthServer, sts: FakeSts, status: int
) -> None:
    oauth.failures.append(Failure(status=status, body=b'{"message": "what is this?"}'))
    OpenIdProvider(options_of(oauth.url, client_secret="oauth-secret"), sts=sts).retrieve(fetch_of())
    assert types_of(oauth) == [JSON, FORM]


@pytest.mark.parametrize(
    "failure",
    [
        Failure(status=404),
        Failure(status=405),
        Failure(status=429),
        Failure(status=500),
        Failure(status=503),
        Failure(status=302, fields={"Location": "https://login.example.com/"}),
        Failure(closes=True),
        Failure(raw=b"no HTTP at all\r\n\r\n"),
    ],
)
def test_an_answer_that_says_nothing_about_the_dialect_leads_to_no_second_question(
    oauth: OAuthServer, sts: FakeSts, failure: Failure
) -> None:
    oauth.failure = failure
    failure_of(OpenIdProvider(options_of(oauth.url), sts=sts))
    assert types_of(oauth) == [JSON]


def test_a_server_that_was_replaced_by_one_of_oauth_is_found_out_again(sts: FakeSts, oauth: OAuthServer) -> None:
    provider = OpenIdProvider(options_of(oauth.url, client_secret="oauth-secret"), sts=sts)
    old_answer = json.dumps({"idToken": make_jwt({})}).encode()
    oauth.failures.append(Failure(status=200, body=old_answer))
    provider.retrieve(fetch_of())
    provider.retrieve(fetch_of())
    provider.retrieve(fetch_of())
    assert types_of(oauth) == [JSON, JSON, FORM, FORM]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_forced_fetch_tries_the_other_dialect_also_where_the_known_one_is_refused(
    sts: FakeSts, oauth: OAuthServer, status: int
) -> None:
    """The server became one of OAuth 2.0, whose answer to the old request says no instead of what it is."""
    provider = OpenIdProvider(options_of(oauth.url, client_secret="oauth-secret"), sts=sts)
    oauth.failures.append(Failure(status=200, body=json.dumps({"idToken": make_jwt({})}).encode()))
    provider.retrieve(fetch_of())
    no = Failure(status=status, body=b'{"message": "Unauthorized"}')
    oauth.failures.append(no)
    failure_of(provider)
    oauth.failures.append(no)
    provider.retrieve(fetch_of(is_forced=True))
    provider.retrieve(fetch_of())
    assert types_of(oauth) == [JSON, JSON, JSON, FORM, FORM]


@pytest.mark.parametrize("status", [408, 429, 503])
def test_a_forced_fetch_that_is_told_to_come_later_does_not_doubt_the_dialect(
    sts: FakeSts, oauth: OAuthServer, status: int
) -> None:
    provider = OpenIdProvider(options_of(oauth.url, client_secret="oauth-secret"), sts=sts)
    provider.retrieve(fetch_of())
    oauth.failures.append(Failure(status=status, body=b"{}"))
    failure_of(provider, fetch_of(is_forced=True))
    assert types_of(oauth) == [JSON, FORM, FORM]


@pytest.mark.parametrize("status", [401, 403])
def test_a_known_server_that_refuses_the_client_is_not_asked_in_the_other_dialect(
    original: OriginalServer, sts: FakeSts, status: int
) -> None:
    provider = OpenIdProvider(options_of(original.url), sts=sts)
    provider.retrieve(fetch_of())
    original.failure = Failure(status=status, body=b'{"error": "wrong secret"}')
    failure_of(provider)
    assert types_of(original) == [JSON, JSON]


def test_a_known_oauth_server_that_refuses_the_client_is_not_asked_in_the_other_dialect(
    oauth: OAuthServer, sts: FakeSts
) -> None:
    provider = OpenIdProvider(options_of(oauth.url, client_secret="oauth-secret"), sts=sts)
    provider.retrieve(fetch_of())
    oauth.secret = "rotated-secret"
    assert 'error "invalid_client"' in str(failure_of(provider))
    assert types_of(oauth) == [JSON, FORM, FORM]


def test_a_known_oauth_server_that_wants_another_scope_is_not_asked_in_the_other_dialect(
    oauth: OAuthServer, sts: FakeSts
) -> None:
    provider = OpenIdProvider(options_of(oauth.url, client_secret="oauth-secret"), sts=sts)
    provider.retrieve(fetch_of())
    oauth.failure = Failure(status=400, body=b'{"error": "invalid_scope"}')
    failure_of(provider)
    assert types_of(oauth) == [JSON, FORM, FORM]


@pytest.mark.parametrize(
    "changes",
    [
        {"scope": "aws"},
        {"audience": "sts.amazonaws.com"},
        {"client_authentication": "client_secret_basic"},
        {"dialect": "oauth2"},
    ],
)
def test_what_only_oauth_can_express_is_asked_for_in_oauth_at_once(
    oauth: OAuthServer, sts: FakeSts, changes: dict[str, str]
) -> None:
    OpenIdProvider(options_of(oauth.url, client_secret="oauth-secret", **changes), sts=sts).retrieve(fetch_of())
    assert types_of(oauth) == [FORM]


def test_a_dialect_that_is_set_is_the_only_one_tried(oauth: OAuthServer, sts: FakeSts) -> None:
    error = failure_of(OpenIdProvider(options_of(oauth.url, dialect="json"), sts=sts))
    assert types_of(oauth) == [JSON]
    assert error.is_conclusive
    assert "only form-encoded bodies are taken" in str(error)


def test_when_neither_dialect_is_understood_both_attempts_are_told(oauth: OAuthServer, sts: FakeSts) -> None:
    error = failure_of(OpenIdProvider(options_of(oauth.url, client_secret="wrong-secret"), sts=sts))
    assert [attempt.reason for attempt in error.attempts] == [
        (
            'answered 400 Bad Request with error "invalid_request", error_description "only form-encoded bodies are '
            'taken" (dialect json)'
        ),
        (
            'answered 401 Unauthorized with error "invalid_client", error_description "client authentication failed" '
            "(dialect oauth2)"
        ),
    ]
    assert error.is_conclusive
    assert "ASP_OPEN_ID_CLIENT_AUTH=client_secret_post" in str(error)


def test_a_wrong_secret_at_the_original_s_server_is_advised_as_such(original: OriginalServer, sts: FakeSts) -> None:
    error = failure_of(OpenIdProvider(options_of(original.url, client_secret="wrong-secret"), sts=sts))
    assert types_of(original) == [JSON, FORM]
    assert 'answered 401 Unauthorized with message "unknown identity"' in str(error)
    assert str(error).endswith("(Check ASP_OPEN_ID_CLIENT_ID and the client secret)")


def test_an_outage_between_the_two_dialects_is_not_conclusive(oauth: OAuthServer, sts: FakeSts) -> None:
    oauth.failures.extend((Failure(status=415), Failure(status=503)))
    error = failure_of(OpenIdProvider(options_of(oauth.url), sts=sts))
    assert not error.is_conclusive
    assert [attempt.reason.split()[1] for attempt in error.attempts] == ["503", "415"]


def test_the_refusal_of_sts_is_told_with_what_the_token_claims(original: OriginalServer, sts: FakeSts) -> None:
    original.token = TokenTemplate(claims={"iss": "https://login.example.com", "aud": ["account"], "azp": "client-1"})
    sts.error = STS_REFUSED
    error = failure_of(OpenIdProvider(options_of(original.url), sts=sts))
    advice = error.attempts[-1].advice
    assert advice.startswith("Check the role's trust policy; the idToken says iss ")
    assert 'aud ["account"], azp "client-1", expires in 300 s; AWS compares the token\'s azp "client-1" with' in advice
    assert error.is_conclusive
    assert original.issued[0] not in str(error)


def test_claims_that_sts_s_client_told_are_not_told_twice(original: OriginalServer, sts: FakeSts) -> None:
    attempt = Attempt("STS", 'refused; the token has iss "x", aud "y"', "Check the role")
    sts.error = CredentialsUnavailableError((attempt,), is_conclusive=True)
    assert failure_of(OpenIdProvider(options_of(original.url), sts=sts)).attempts == (attempt,)


def test_an_opaque_token_that_sts_refuses_is_said_to_be_opaque(oauth: OAuthServer, sts: FakeSts) -> None:
    oauth.failure = Failure(status=200, body=b'{"access_token": "opaque-access-token", "expires_in": 60}')
    sts.error = STS_REFUSED
    error = failure_of(OpenIdProvider(oauth_options_of(oauth.url), sts=sts))
    assert "the access_token is not a JWT but opaque" in error.attempts[-1].advice
    assert "opaque-access-token" not in error.explain()


def test_a_token_that_sts_took_is_never_used_again(original: OriginalServer, sts: FakeSts) -> None:
    provider = OpenIdProvider(options_of(original.url), sts=sts)
    provider.retrieve(fetch_of())
    provider.retrieve(fetch_of())
    assert sts.tokens == original.issued
    assert len(set(sts.tokens)) == 2


def test_a_token_that_sts_could_not_take_is_kept_for_the_next_time(original: OriginalServer, sts: FakeSts) -> None:
    provider = OpenIdProvider(options_of(original.url), sts=sts)
    sts.error = STS_DOWN
    assert failure_of(provider) is STS_DOWN
    failure_of(provider)
    sts.error = None
    fetch = fetch_of()
    provider.retrieve(fetch)
    assert sts.tokens == original.issued * 3
    assert "its last idToken is still good" in notes_of(fetch)
    assert original.issued[0] in fetch.secrets


def test_a_kept_token_is_dropped_when_the_fetch_is_forced_or_the_token_is_about_to_expire(
    original: OriginalServer, sts: FakeSts
) -> None:
    provider = OpenIdProvider(options_of(original.url), sts=sts)
    sts.error = STS_DOWN
    failure_of(provider)
    failure_of(provider, fetch_of(is_forced=True))
    assert len(original.issued) == 2
    failure_of(provider, fetch_of(clock=lambda: time.time() + 245))
    assert len(original.issued) == 3


def test_a_kept_token_is_dropped_when_sts_refuses_it(original: OriginalServer, sts: FakeSts) -> None:
    provider = OpenIdProvider(options_of(original.url), sts=sts)
    sts.error = STS_DOWN
    failure_of(provider)
    sts.error = STS_REFUSED
    failure_of(provider)
    failure_of(provider)
    assert len(original.issued) == 2


def test_a_token_that_expired_long_ago_is_not_shown_to_sts(original: OriginalServer, sts: FakeSts) -> None:
    original.token = TokenTemplate(lifetime_seconds=-301)
    error = failure_of(OpenIdProvider(options_of(original.url), sts=sts))
    assert sts.asked == []
    assert "expired 301 s ago" in error.attempts[0].reason
    assert "clocks" in error.attempts[0].advice


def test_a_token_that_seems_to_have_just_expired_is_left_to_sts(original: OriginalServer, sts: FakeSts) -> None:
    original.token = TokenTemplate(lifetime_seconds=-100)
    OpenIdProvider(options_of(original.url), sts=sts).retrieve(fetch_of())
    assert sts.tokens == original.issued


def test_without_files_the_provider_never_changes_and_has_nothing_to_give_back(
    original: OriginalServer, sts: FakeSts
) -> None:
    provider = OpenIdProvider(options_of(original.url), sts=sts)
    sts.error = STS_DOWN
    failure_of(provider)
    provider.close(fetch_of())
    assert (provider.name, provider.is_local, provider.has_changed()) == ("oidc", False, False)
    failure_of(provider)
    assert len(original.issued) == 2


@pytest.mark.parametrize(
    "changes",
    [{"token_endpoint": None}, {"dialect": "xml"}, {"token": "refresh"}, {"client_authentication": "none"}],
)
def test_options_that_nobody_can_mean_are_refused(changes: dict[str, str | None]) -> None:
    with pytest.raises(ValueError, match=r"one of|is needed") as caught:
        options_of(**{"token_endpoint": "http://127.0.0.1/token", **changes})
    assert "original-secret" not in str(caught.value)


def test_the_secret_is_not_in_the_repr_of_the_options() -> None:
    options: OpenIdOptions = options_of("https://login.example.com/token")
    assert "original-secret" not in repr(options)


def test_importing_the_provider_imports_no_heavy_library() -> None:
    heavy = ("authlib", "botocore", "cryptography", "hvac", "joserfc", "requests", "urllib3")
    code = (
        "import sys; import aws_signing_proxy.credentials.openid.provider; "
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
