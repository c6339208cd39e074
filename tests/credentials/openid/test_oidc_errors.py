"""What an authorization server may answer instead of a token: each with its own reason and advice."""

from __future__ import annotations

import email.utils
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from aws_signing_proxy.credentials.openid.provider import OpenIdProvider
from aws_signing_proxy.credentials.provider import CredentialsUnavailableError
from tests.credentials.openid.authorization_servers import Failure, OAuthServer, make_jwt
from tests.credentials.openid.oidc_scene import FakeSts, failure_of, fetch_of, oauth_options_of

HTML = {"Content-Type": "text/html; charset=utf-8"}


@pytest.fixture
def server() -> Iterator[OAuthServer]:
    with OAuthServer() as running:
        yield running


def failure_with(server: OAuthServer, failure: Failure, **changes: Any) -> CredentialsUnavailableError:
    server.failure = failure
    error = failure_of(OpenIdProvider(oauth_options_of(server.url, **changes), sts=FakeSts()))
    assert [attempt.source for attempt in error.attempts] == [f"authorization server {server.url}"]
    for attempt in error.attempts:
        assert attempt.reason
        assert attempt.advice[0].isupper()
        assert not attempt.advice.endswith(".")
    return error


@pytest.mark.parametrize(
    ("code", "status", "is_conclusive", "advice"),
    [
        ("invalid_client", 401, True, "Check ASP_OPEN_ID_CLIENT_ID and the client secret"),
        ("invalid_client", 400, True, "Check ASP_OPEN_ID_CLIENT_ID and the client secret"),
        ("unauthorized_client", 400, True, "Allow this client the client credentials grant"),
        ("unsupported_grant_type", 400, True, "Enable the client credentials grant"),
        ("invalid_scope", 400, True, "Set ASP_OPEN_ID_SCOPE"),
        ("invalid_target", 400, True, "Set ASP_OPEN_ID_AUDIENCE"),
        ("invalid_request", 400, True, "Compare what the server misses with ASP_OPEN_ID_SCOPE"),
        ("invalid_grant", 400, True, "Check at the authorization server that this client is enabled"),
        ("access_denied", 403, True, "Grant this client access to the audience"),
        ("temporarily_unavailable", 400, False, "The authorization server says that this passes"),
        ("server_error", 500, False, "Look into the authorization server's log"),
        ("too_many_requests", 429, False, "Raise the client's limit"),
        ("access_denied", 429, False, "Raise the client's limit"),
        ("of_this_server_only", 418, True, "Check ASP_OPEN_ID_AUTH_SERVER_URL"),
    ],
)
def test_each_error_of_oauth_has_its_advice(
    server: OAuthServer, code: str, status: int, is_conclusive: bool, advice: str
) -> None:
    body = json.dumps({"error": code, "error_description": "the server's own words"}).encode()
    error = failure_with(server, Failure(status=status, body=body))
    assert f'error "{code}", error_description "the server\'s own words"' in error.attempts[0].reason
    assert error.attempts[0].advice.startswith(advice)
    assert error.is_conclusive is is_conclusive


@pytest.mark.parametrize(
    ("status", "is_conclusive", "reason", "advice"),
    [
        (400, True, "answered 400 Bad Request", "ASP_OPEN_ID_DIALECT"),
        (401, True, "answered 401 Unauthorized", "Check ASP_OPEN_ID_CLIENT_ID"),
        (403, True, "answered 403 Forbidden", "Allow this client"),
        (404, True, "answered 404 Not Found", "the server has nothing there"),
        (405, True, "answered 405 Method Not Allowed", "takes no such request there"),
        (408, False, "answered 408 Request Timeout", "ASP_OPEN_ID_AUTH_SERVER_URL"),
        (410, True, "answered 410 Gone", "what was there is gone"),
        (415, True, "answered 415 Unsupported Media Type", "Check ASP_OPEN_ID_DIALECT"),
        (422, True, "answered 422 Unprocessable", "Check ASP_OPEN_ID_DIALECT"),
        (429, False, "answered 429 Too Many Requests", "Raise the client's limit"),
        (500, False, "answered 500 Internal Server Error", "overloaded"),
        (502, False, "answered 502 Bad Gateway", "overloaded"),
        (599, False, "answered 599", "overloaded"),
    ],
)
def test_each_status_without_an_error_code_has_its_advice(
    server: OAuthServer, status: int, is_conclusive: bool, reason: str, advice: str
) -> None:
    error = failure_with(server, Failure(status=status))
    assert error.attempts[0].reason.startswith(reason)
    assert error.attempts[0].reason.endswith("and nothing else")
    assert advice in error.attempts[0].advice
    assert error.is_conclusive is is_conclusive


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("30", "; it asks to wait 30 s"),
        ("soon", ""),
        ("-5", ""),
        ("", ""),
    ],
)
def test_the_time_to_wait_is_told(server: OAuthServer, text: str, told: str) -> None:
    reason = failure_with(server, Failure(status=429, fields={"Retry-After": text})).attempts[0].reason
    assert told in reason
    assert ("wait" in reason) is bool(told)


def test_the_time_to_wait_may_be_a_date(server: OAuthServer) -> None:
    moment = email.utils.formatdate(time.time() + 90, usegmt=True)
    reason = failure_with(server, Failure(status=429, fields={"Retry-After": moment})).attempts[0].reason
    assert "; it asks to wait " in reason


@pytest.mark.parametrize(
    ("seconds", "told"), [(600, "s ahead of this machine's"), (-600, "s behind this machine's"), (5, None)]
)
def test_a_server_whose_clock_differs_is_told_beside_its_refusal(
    server: OAuthServer, seconds: int, told: str | None
) -> None:
    fields = {"Date": email.utils.formatdate(time.time() + seconds, usegmt=True)}
    reason = failure_with(server, Failure(status=401, fields=fields)).attempts[0].reason
    assert (told or "") in reason
    assert ("clock" in reason) is (told is not None)


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("https://login.example.com/token?secret=x", "a redirect to https://login.example.com/token, which is not"),
        ("https://u:p@login.example.com/a#b", "a redirect to https://login.example.com/a, which is not followed"),
        ("/elsewhere?x=y", "a redirect to /elsewhere, which is not followed"),
        ("", "a redirect to nowhere"),
        ("https://[", "a redirect to an address that cannot be understood"),
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(server: OAuthServer, status: int, location: str, told: str) -> None:
    error = failure_with(server, Failure(status=status, fields={"Location": location}))
    assert told in error.attempts[0].reason
    assert error.attempts[0].advice.startswith("Set ASP_OPEN_ID_AUTH_SERVER_URL to the address that finally answers")
    assert error.is_conclusive
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (Failure(status=200), "answered 200 OK, but no JSON object"),
        (Failure(status=204), "answered 204 No Content, but no JSON object"),
        (Failure(status=200, body=b"<html>sign in</html>", fields=HTML), "answered 200 OK, but no JSON object"),
        (Failure(status=200, body=b"[1, 2]"), "answered 200 OK, but no JSON object"),
        (Failure(status=200, body=b"null"), "answered 200 OK, but no JSON object"),
        (Failure(status=200, body=b'"text"'), "answered 200 OK, but no JSON object"),
        (Failure(status=200, body=b"[" * 200_000), "answered 200 OK, but no JSON object"),
        (Failure(status=200, body=b"\xff\xfe{"), "answered 200 OK, but no JSON object"),
        (Failure(status=200, body=b'{"access_token": "a'), "answered 200 OK, but no JSON object"),
        (Failure(status=200, body=b"{}"), "answered without a token"),
        (Failure(status=200, body=b'{"access_token": null, "id_token": ""}'), "answered without a token"),
        (Failure(status=200, body=b'{"access_token": 7}'), 'something else than a token in its member "access_token"'),
        (Failure(status=200, body=b'{"id_token": ["a"]}'), 'something else than a token in its member "id_token"'),
        (Failure(status=200, body=b'{"id_token": "a b"}'), 'something else than a token in its member "id_token"'),
        (Failure(status=200, body=b'{"id_token": "a\\nb"}'), 'something else than a token in its member "id_token"'),
        (Failure(status=200, body=json.dumps({"id_token": "x" * 20_001}).encode()), "id_token of 20001 characters"),
        (Failure(status=200, body=b'{"error": "invalid_client"}'), 'answered 200 OK with error "invalid_client"'),
        (Failure(status=200, body=b" " * ((1 << 20) + 1)), "answered 200 with more than 1 MiB"),
    ],
)
def test_a_success_that_is_none_is_said_so(server: OAuthServer, failure: Failure, reason: str) -> None:
    error = failure_with(server, failure)
    assert reason in error.attempts[0].reason
    assert error.is_conclusive


@pytest.mark.parametrize(
    ("body", "fields", "told"),
    [
        (b"<html><body>", HTML, " and a page (text/html), no JSON"),
        (b"<x/>", {"Content-Type": "application/xml"}, " and a page (application/xml), no JSON"),
        (b"upstream is down", {"Content-Type": "text/plain"}, " and text/plain that is no JSON object"),
        (b"  \n", {}, " and nothing else"),
        (b"{}", {}, ""),
        (b'{"title": "Over quota", "detail": "come back"}', {}, ' with title "Over quota", detail "come back"'),
        (b'{"error": {"message": "inner words"}, "code": 17}', {}, ' with error "inner words", code "17"'),
        (b'{"error": null, "message": true, "detail": ["x"]}', {}, ""),
        (b'{"message": "two\\nlines\\u0007"}', {}, ' with message "two lines?"'),
    ],
)
def test_what_the_server_said_is_told_in_one_line(
    server: OAuthServer, body: bytes, fields: dict[str, str], told: str
) -> None:
    reason = failure_with(server, Failure(status=502, body=body, fields=fields)).attempts[0].reason
    assert reason == f"answered 502 Bad Gateway{told}"


def test_a_token_beside_an_empty_error_is_a_token(server: OAuthServer) -> None:
    server.failure = Failure(status=200, body=b'{"access_token": "opaque-token", "error": ""}')
    sts = FakeSts()
    OpenIdProvider(oauth_options_of(server.url), sts=sts).retrieve(fetch_of())
    assert sts.tokens == ["opaque-token"]


def test_a_long_error_is_cut_off(server: OAuthServer) -> None:
    body = json.dumps({"error": "e" * 5000, "error_description": "d" * 5000}).encode()
    assert len(failure_with(server, Failure(status=400, body=body)).attempts[0].reason) < 500


@pytest.mark.parametrize("before", range(180, 201, 4))
def test_a_secret_where_a_long_error_is_cut_off_is_not_shown_in_part(server: OAuthServer, before: int) -> None:
    body = json.dumps({"error": "invalid_request", "error_description": "d" * before + " =oauth-secret"}).encode()
    assert "oauth" not in failure_with(server, Failure(status=400, body=body)).attempts[0].reason


def test_a_missing_id_token_is_advised(server: OAuthServer) -> None:
    server.failure = None
    error = failure_of(OpenIdProvider(oauth_options_of(server.url, token="id_token"), sts=FakeSts()))
    assert error.attempts[0].reason == "issued an access_token, but no id_token"
    assert "Set ASP_OPEN_ID_TOKEN to access_token, or ASP_OPEN_ID_SCOPE to openid" in error.attempts[0].advice


def test_a_missing_access_token_is_advised(server: OAuthServer) -> None:
    server.token_members = ("id_token",)
    error = failure_of(OpenIdProvider(oauth_options_of(server.url, token="access_token"), sts=FakeSts()))
    assert error.attempts[0].reason == "issued an id_token, but no access_token"


def test_a_token_of_another_kind_is_no_sign_of_another_dialect(server: OAuthServer) -> None:
    server.failure = Failure(status=200, body=json.dumps({"access_token": make_jwt({})}).encode())
    options = oauth_options_of(server.url, dialect="auto", token="id_token")
    failure_of(OpenIdProvider(options, sts=FakeSts()))
    assert len(server.requests) == 1


@pytest.mark.parametrize("seconds", ["300", 300, 300.5, "soon", None, True, [], 1e999, -1, "9" * 400])
def test_odd_lifetimes_do_no_harm(server: OAuthServer, seconds: object) -> None:
    body = json.dumps({"access_token": "opaque-token", "expires_in": seconds}).encode()
    server.failure = Failure(status=200, body=body)
    OpenIdProvider(oauth_options_of(server.url), sts=FakeSts()).retrieve(fetch_of())


@pytest.mark.parametrize(
    "token",
    [
        make_jwt({"exp": "soon", "iss": ["x"], "aud": {"a": 1}, "sub": None}),
        make_jwt({"exp": True}),
        make_jwt({"sub": "s" * 5000}),
        "a.b.c",
        "..",
        "e30.W10.x",
        "e30.e30.",
        "a.b.c.d.e",
    ],
)
def test_odd_tokens_are_left_to_sts(server: OAuthServer, token: str) -> None:
    server.failure = Failure(status=200, body=json.dumps({"access_token": token}).encode())
    sts = FakeSts()
    OpenIdProvider(oauth_options_of(server.url), sts=sts).retrieve(fetch_of())
    assert sts.tokens == [token]
