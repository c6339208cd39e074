"""How a source says that it has no credentials, and which provider a name means."""

from __future__ import annotations

import pytest

from aws_signing_proxy.credentials import (
    Attempt,
    CredentialsUnavailableError,
    ProviderNotSupportedError,
    provider_for,
)
from aws_signing_proxy.credentials.awstoken import AwsTokenProvider

FIRST = Attempt("environment", "nothing is set", "Set it")
SECOND = Attempt("a file", "no such file", "Create it")


def test_one_sentence_names_every_place_and_the_first_advice() -> None:
    error = CredentialsUnavailableError((FIRST, SECOND))
    assert str(error) == "environment: nothing is set; a file: no such file (Set it)"


def test_the_advice_for_a_broken_source_is_that_source_s() -> None:
    error = CredentialsUnavailableError((FIRST, SECOND), is_conclusive=True)
    assert str(error).endswith("(Create it)")


def test_the_explanation_has_each_place_with_what_to_do_about_it() -> None:
    error = CredentialsUnavailableError((FIRST, SECOND))
    assert error.explain() == "- environment: nothing is set\n  Set it\n- a file: no such file\n  Create it"


def test_no_attempt_at_all_is_said_too() -> None:
    error = CredentialsUnavailableError(())
    assert str(error) == error.explain() == "no source of credentials is configured"


@pytest.mark.parametrize("name", [None, "", "awstoken", "default"])
def test_static_credentials_are_what_an_unset_provider_means(name: str | None) -> None:
    assert isinstance(provider_for(name, {}), AwsTokenProvider)


@pytest.mark.parametrize("name", ["oidc", "vault", "irsa", "AWSTOKEN"])
def test_a_provider_that_is_not_there_is_refused_rather_than_replaced(name: str) -> None:
    with pytest.raises(ProviderNotSupportedError, match=name):
        provider_for(name, {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"})
