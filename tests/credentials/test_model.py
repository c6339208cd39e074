"""What credentials are."""

from __future__ import annotations

import pytest

from aws_signing_proxy.credentials.model import (
    Credentials,
    InvalidValueError,
    clean_key_id,
    clean_secret,
    clean_token,
)

KEY_ID = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TOKEN = "FwoGZXIvYXdzEBYaD=="


def test_the_repr_shows_four_characters_of_the_key_id_and_the_source() -> None:
    credentials = Credentials(KEY_ID, SECRET, TOKEN, source="environment")
    assert repr(credentials) == "<Credentials …MPLE from environment>"
    assert str(credentials) == repr(credentials)
    for text in (repr(credentials), f"{credentials}", f"{[credentials]}", f"{credentials!r}"):
        assert SECRET not in text
        assert TOKEN not in text


def test_credentials_have_no_dictionary_to_print() -> None:
    assert not hasattr(Credentials(KEY_ID, SECRET, source="x"), "__dict__")


def test_credentials_expire_at_the_instant_that_they_name() -> None:
    credentials = Credentials(KEY_ID, SECRET, source="x", expires_at=100.0)
    assert not credentials.is_expired(99.999)
    assert credentials.is_expired(100.0)
    assert credentials.is_expired(101.0)


def test_credentials_without_an_end_never_expire() -> None:
    assert not Credentials(KEY_ID, SECRET, source="x").is_expired(1e12)


def test_the_secrets_are_the_secret_key_and_the_token() -> None:
    assert Credentials(KEY_ID, SECRET, source="x").secrets() == (SECRET,)
    assert Credentials(KEY_ID, SECRET, TOKEN, source="x").secrets() == (SECRET, TOKEN)


@pytest.mark.parametrize("clean", [clean_key_id, clean_secret, clean_token])
def test_surrounding_whitespace_is_no_part_of_a_value(clean: object) -> None:
    assert callable(clean)
    assert clean("NAME", " \tvalue\r\n") == "value"


@pytest.mark.parametrize("clean", [clean_key_id, clean_secret, clean_token])
@pytest.mark.parametrize("value", ["se\ncret", "se\r\nX-Injected: 1", "se\x00cret", "se\x7fcret", "se\x85cret"])
def test_a_control_character_within_a_value_is_refused_without_showing_it(clean: object, value: str) -> None:
    assert callable(clean)
    with pytest.raises(InvalidValueError, match="NAME holds a line break or another control character") as caught:
        clean("NAME", value)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("value", ["a b", "schlüssel", "a\u2028b"])
def test_what_becomes_a_field_value_is_visible_ascii(value: str) -> None:
    for clean in (clean_key_id, clean_token):
        with pytest.raises(InvalidValueError):
            clean("NAME", value)
    assert clean_secret("NAME", value) == value


@pytest.mark.parametrize("value", ["AKIA/20260101", "AKIA,Signature=0"])
def test_a_key_id_that_would_break_the_credential_scope_is_refused(value: str) -> None:
    with pytest.raises(InvalidValueError):
        clean_key_id("NAME", value)
