"""Names of role sessions."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aws_signing_proxy.credentials.sts.session_name import valid_session_name

VALID = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)


@given(st.text(alphabet=st.characters()) | st.text(alphabet="abcXYZ019_+=,.@-", max_size=100))
def test_whatever_is_given_the_name_is_one_that_sts_takes(text: str) -> None:
    assert VALID.fullmatch(valid_session_name(text))


@given(st.from_regex(VALID, fullmatch=True))
def test_a_valid_name_stays_as_it_is(name: str) -> None:
    assert valid_session_name(name) == name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("my client", "my-client"),
        ("  padded \n", "padded"),
        ("system:serviceaccount:ns/sa", "system-serviceaccount-ns-sa"),
        ("é€", "--"),
        ("x", "x-"),
        ("", "aws-signing-proxy"),
        (" \t", "aws-signing-proxy"),
        ("a" * 64, "a" * 64),
    ],
)
def test_what_is_not_valid_is_made_so(text: str, expected: str) -> None:
    assert valid_session_name(text) == expected


def test_two_long_names_that_differ_at_their_ends_stay_apart() -> None:
    one, other = valid_session_name("x" * 64 + "1"), valid_session_name("x" * 64 + "2")
    assert one != other
    assert len(one) == len(other) == 64
    assert one.startswith("x" * 55 + "-")


def test_a_long_name_is_always_cut_to_the_same() -> None:
    assert valid_session_name("y" * 100) == valid_session_name("y" * 100)
