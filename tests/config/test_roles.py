"""Roles to assume in turn, and their options, as settings write them."""

from __future__ import annotations

import pytest

from aws_signing_proxy.config.notation import UnexpectedValueError
from aws_signing_proxy.config.roles import RoleOptions, parse_role_arns, parse_role_options

A = "arn:aws:iam::123456789012:role/a"
COMMA = "arn:aws-cn:iam::123456789012:role/path/with,comma"


@pytest.mark.parametrize(
    ("text", "arns"),
    [
        (A, (A,)),
        (f"{A},{COMMA}", (A, COMMA)),
        (f"{COMMA}, {A}", (COMMA, A)),
        (f" {A}  {COMMA}\t{A} ", (A, COMMA, A)),
        (f"{A},", (A,)),
    ],
)
def test_arns_are_separated_by_commas_or_spaces_and_a_name_may_hold_a_comma(text: str, arns: tuple[str, ...]) -> None:
    assert parse_role_arns(text) == arns


@pytest.mark.parametrize("text", ["", " ", ",", "a", f"{A} b", "arn:aws:iam::1:user/x"])
def test_what_is_no_role_is_refused(text: str) -> None:
    with pytest.raises(UnexpectedValueError):
        parse_role_arns(text)


def test_every_option_is_read() -> None:
    (options,) = parse_role_options(
        """{"session_name": "s", "external_id": "id:1/x", "duration": "1h30m", "tags": {"Team": "a"},
        "transitive_tag_keys": ["Team"], "policy": {"Version": "2012-10-17"},
        "policy_arns": ["arn:aws:iam::aws:policy/ReadOnlyAccess"], "source_identity": "me"}"""
    )
    assert options == RoleOptions(
        session_name="s",
        external_id="id:1/x",
        duration_seconds=5400,
        tags={"Team": "a"},
        transitive_tag_keys=("Team",),
        policy='{"Version":"2012-10-17"}',
        policy_arns=("arn:aws:iam::aws:policy/ReadOnlyAccess",),
        source_identity="me",
    )


def test_an_array_has_the_options_of_each_role_and_a_policy_may_be_a_text() -> None:
    assert parse_role_options('[{}, {"policy": "{}"}]') == (RoleOptions(), RoleOptions(policy="{}"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no json", "a JSON object, or an array of them"),
        ("1", "a JSON object, or an array of them"),
        ("[1]", "a JSON object, or an array of them"),
        ("[]", "an array with one object for each role, not an empty one"),
        ('{"extrenal_id": "x"}', "an object whose keys are among session_name, external_id"),
        ('{"external_id": "x"}', "an object whose external_id is 2 to 1224"),
        ('{"duration": 3600}', "an object whose duration is a duration from 15m to 12h, in quotes"),
        ('{"duration": "1m"}', "an object whose duration is a duration from 15m to 12h, in quotes"),
        ('{"duration": "soon"}', "an object whose duration is a duration from 15m to 12h, in quotes"),
        ('{"tags": {"a": 1}}', "an object whose tags is"),
        ('{"tags": []}', "an object whose tags is"),
        ('{"transitive_tag_keys": ["a"]}', "an object whose transitive_tag_keys are among its tags"),
        ('{"transitive_tag_keys": "a"}', "an object whose transitive_tag_keys is an array"),
        ('{"policy": "no json"}', "an object whose policy is a session policy"),
        ('{"policy": 1}', "an object whose policy is a session policy"),
        ('{"policy_arns": ["x"]}', "an object whose policy_arns is an array of ARNs"),
        ('{"source_identity": "a b"}', "an object whose source_identity is"),
    ],
)
def test_a_wrong_option_is_named(text: str, expected: str) -> None:
    with pytest.raises(UnexpectedValueError) as caught:
        parse_role_options(text)
    assert (caught.value.expected or "").startswith(expected)
