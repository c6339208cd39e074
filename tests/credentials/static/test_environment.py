"""Static credentials from the environment."""

from __future__ import annotations

import traceback

import pytest

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.credentials.provider import CredentialsUnavailableError
from aws_signing_proxy.credentials.static.environment import EnvironmentProvider

PAIR = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "a-planted-secret"}


def fetch(environ: dict[str, str]) -> Credentials:
    return EnvironmentProvider(environ).retrieve(Fetch())


def failure(environ: dict[str, str]) -> CredentialsUnavailableError:
    with pytest.raises(CredentialsUnavailableError) as caught:
        fetch(environ)
    told = "".join(traceback.format_exception(caught.value)) + caught.value.explain() + repr(caught.value)
    assert "planted" not in told
    return caught.value


def test_a_key_pair_is_long_term() -> None:
    credentials = fetch(PAIR)
    assert credentials.access_key_id == PAIR["AWS_ACCESS_KEY_ID"]
    assert credentials.secret_access_key == PAIR["AWS_SECRET_ACCESS_KEY"]
    assert credentials.session_token is None
    assert credentials.expires_at is None
    assert credentials.source == "environment"


def test_a_session_token_belongs_to_the_pair() -> None:
    assert fetch(PAIR | {"AWS_SESSION_TOKEN": "token"}).session_token == "token"
    assert fetch(PAIR | {"AWS_SESSION_TOKEN": " "}).session_token is None


def test_a_line_break_at_the_end_of_a_value_is_no_part_of_it() -> None:
    credentials = fetch({name: f"{value}\n" for name, value in PAIR.items()} | {"AWS_SESSION_TOKEN": "token\n"})
    assert credentials.access_key_id == PAIR["AWS_ACCESS_KEY_ID"]
    assert credentials.secret_access_key == PAIR["AWS_SECRET_ACCESS_KEY"]
    assert credentials.session_token == "token"


@pytest.mark.parametrize(
    "environ",
    [{}, {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": " "}, {"AWS_SESSION_TOKEN": "planted"}],
)
def test_neither_half_set_means_that_another_source_may_be_asked(environ: dict[str, str]) -> None:
    error = failure(environ)
    assert not error.is_conclusive
    (attempt,) = error.attempts
    assert attempt.reason == "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set"


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"AWS_ACCESS_KEY_ID": "planted"}, "AWS_ACCESS_KEY_ID is set but AWS_SECRET_ACCESS_KEY is not set"),
        (
            {"AWS_ACCESS_KEY_ID": "planted", "AWS_SECRET_ACCESS_KEY": " \n"},
            "AWS_ACCESS_KEY_ID is set but AWS_SECRET_ACCESS_KEY is blank",
        ),
        ({"AWS_SECRET_ACCESS_KEY": "planted"}, "AWS_SECRET_ACCESS_KEY is set but AWS_ACCESS_KEY_ID is not set"),
    ],
)
def test_half_a_pair_is_an_error_that_names_the_missing_half(environ: dict[str, str], reason: str) -> None:
    error = failure(environ)
    assert error.is_conclusive
    assert error.attempts[0].reason == reason


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
def test_a_value_that_would_break_a_field_is_refused_by_its_name(name: str) -> None:
    error = failure(PAIR | {name: "planted\r\nX-Injected: yes"})
    assert error.is_conclusive
    assert name in str(error)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:01:40Z", 100.0),
        ("1970-01-01T01:01:40+01:00", 100.0),
        ("1970-01-01T00:01:40", 100.0),
        ("1970-01-01T00:01:40.500Z\n", 100.5),
        ("", None),
    ],
)
def test_the_expiration_is_iso_8601_and_utc_where_it_names_no_zone(text: str, seconds: float | None) -> None:
    assert fetch(PAIR | {"AWS_CREDENTIAL_EXPIRATION": text}).expires_at == seconds


def test_an_expiration_that_is_no_time_is_refused_rather_than_ignored() -> None:
    error = failure(PAIR | {"AWS_CREDENTIAL_EXPIRATION": "planted"})
    assert error.is_conclusive
    assert "AWS_CREDENTIAL_EXPIRATION is not a time in ISO 8601" in str(error)


def test_the_environment_never_changes() -> None:
    assert not EnvironmentProvider(PAIR).has_changed()
