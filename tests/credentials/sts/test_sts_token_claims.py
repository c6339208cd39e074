"""What an identity token says about itself, as far as messages tell it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aws_signing_proxy.credentials.sts.token_claims import TokenClaims, readable_duration, readable_time


def jwt(claims: Any) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJSUzI1NiJ9.{payload}.c2lnbmF0dXJl"


def test_the_claims_that_a_trust_policy_looks_at_are_read() -> None:
    claims = TokenClaims.of(jwt({"iss": "https://oidc", "sub": "system:sa", "aud": ["sts.amazonaws.com"], "exp": 99}))
    assert claims == TokenClaims("https://oidc", "system:sa", ("sts.amazonaws.com",), 99.0)
    assert claims.describe() == 'iss "https://oidc", sub "system:sa", aud "sts.amazonaws.com"'
    assert claims.is_expired(99.0)
    assert not claims.is_expired(98.9)


def test_an_audience_may_be_one_or_several() -> None:
    for given_audience, expected in (("one", ("one",)), (["one", "two"], ("one", "two")), ([7, "two"], ("two",))):
        claims = TokenClaims.of(jwt({"aud": given_audience}))
        assert claims is not None
        assert claims.audience == expected


def test_missing_claims_are_named_as_missing() -> None:
    claims = TokenClaims.of(jwt({"sub": ""}))
    assert claims is not None
    assert claims.describe() == "no iss, no sub, no aud"
    assert not claims.is_expired(1e12)


@pytest.mark.parametrize("exp", [True, "99", None, -1, 10**400, [], 1e300, float("nan")])
def test_an_expiry_that_is_no_time_is_none(exp: object) -> None:
    claims = TokenClaims.of(jwt({"exp": exp}))
    assert claims is not None
    assert claims.expires_at is None


@pytest.mark.parametrize(
    "token",
    [
        "",
        "opaque",
        "a.b",
        "a.b.c",
        "a.!!!.c",
        "a..c",
        "....",
        jwt([1]),
        jwt("text"),
        jwt(None),
        "a." + "W" * 20000 + ".c",
    ],
)
def test_what_is_no_jwt_has_no_claims(token: str) -> None:
    assert TokenClaims.of(token) is None


def test_deeply_nested_claims_do_no_harm() -> None:
    payload = base64.urlsafe_b64encode(b'{"a":' + b"[" * 14000).decode()
    assert TokenClaims.of(f"a.{payload}.c") is None


@given(st.text())
def test_no_text_makes_reading_claims_fail(text: str) -> None:
    claims = TokenClaims.of(f"a.{text}.c")
    assert claims is None or claims.describe()


def test_a_long_claim_is_cut() -> None:
    claims = TokenClaims.of(jwt({"sub": "s" * 5000}))
    assert claims is not None
    assert len(claims.subject or "") < 200


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (-5, "0 s"),
        (59.6, "1 min"),
        (45, "45 s"),
        (3600, "1 h"),
        (12_000, "3 h 20 min"),
        (200_000, "2 d 7 h"),
    ],
)
def test_durations_are_said_in_two_units_at_most(seconds: float, text: str) -> None:
    assert readable_duration(seconds) == text


def test_times_are_said_in_utc() -> None:
    assert readable_time(1769860800.9) == "2026-01-31T12:00:00Z"
