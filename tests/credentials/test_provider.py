"""How a source says that it has no credentials."""

from __future__ import annotations

from aws_signing_proxy.credentials import Attempt, CredentialsUnavailableError

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
