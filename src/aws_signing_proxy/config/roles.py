"""Roles to assume in turn: their ARNs, and the options of each, as they are written in settings."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aws_signing_proxy.config.notation import UnexpectedValueError, parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["ROLE_ARN", "RoleOptions", "parse_role_arns", "parse_role_options"]

ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::[0-9]+:role/[\x21-\x7e]+")
# A role's name may hold a comma, so only one before an ARN separates.
_SEPARATOR = re.compile(r"\s*,?\s+|,(?=\s*arn:)")
# AssumeRole, https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
_EXTERNAL_ID = re.compile(r"[\w+=,.@:/\\-]{2,1224}", re.ASCII)
_SOURCE_IDENTITY = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_POLICY_ARN = re.compile(r"arn:aws[a-z-]*:iam::(?:[0-9]+|aws):policy/[\x21-\x7e]+")
_MOST_TAGS = 50
_LONGEST_TAG_KEY = 128
_LONGEST_TAG_VALUE = 256
_LEAST_DURATION_SECONDS = 900
_MOST_DURATION_SECONDS = 43200


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleOptions:
    """How one role is assumed: the parameters of AssumeRole. None and empty ones are not sent."""

    session_name: str | None = None
    external_id: str | None = None
    duration_seconds: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    transitive_tag_keys: tuple[str, ...] = ()
    policy: str | None = None
    policy_arns: tuple[str, ...] = ()
    source_identity: str | None = None


def parse_role_arns(text: str) -> tuple[str, ...]:
    """Read ARNs that are separated by commas or white space.

    Raises UnexpectedValueError where there is none, or one that is no role's.
    """
    arns = tuple(arn for arn in _SEPARATOR.split(text.strip().rstrip(",")) if arn)
    if not arns or not all(ROLE_ARN.fullmatch(arn) for arn in arns):
        raise UnexpectedValueError
    return arns


def parse_role_options(text: str) -> tuple[RoleOptions, ...]:
    """Read a JSON object (for all roles: a tuple of one), or an array of them (one for each role).

    Raises UnexpectedValueError, whose text says which key is wrong.
    """
    try:
        document = json.loads(text)
    except ValueError:
        raise UnexpectedValueError("a JSON object, or an array of them") from None
    objects = document if isinstance(document, list) else [document]
    if not objects:
        raise UnexpectedValueError("an array with one object for each role, not an empty one")
    return tuple(_options(each) for each in objects)


def _options(document: object) -> RoleOptions:
    if not isinstance(document, dict):
        raise UnexpectedValueError("a JSON object, or an array of them")
    unknown = sorted(document.keys() - _READERS.keys())
    if unknown:
        raise UnexpectedValueError(f"an object whose keys are among {', '.join(_READERS)}")
    read: dict[str, Any] = {}
    for key, value in document.items():
        name, reader, expected = _READERS[key]
        found = reader(value)
        if found is None:
            raise UnexpectedValueError(f"an object whose {key} is {expected}")
        read[name] = found
    if not set(read.get("transitive_tag_keys", ())) <= read.get("tags", {}).keys():
        raise UnexpectedValueError("an object whose transitive_tag_keys are among its tags")
    return RoleOptions(**read)


def _text(pattern: re.Pattern[str]) -> Callable[[object], str | None]:
    return lambda value: value if isinstance(value, str) and pattern.fullmatch(value) else None


def _duration(value: object) -> int | None:
    if not isinstance(value, str):
        return None
    try:
        seconds = parse_duration(value)
    except UnexpectedValueError:
        return None
    return int(seconds) if _LEAST_DURATION_SECONDS <= seconds <= _MOST_DURATION_SECONDS else None


def _tags(value: object) -> dict[str, str] | None:
    if not isinstance(value, dict) or len(value) > _MOST_TAGS:
        return None
    for key, text in value.items():
        if not 1 <= len(key) <= _LONGEST_TAG_KEY or not isinstance(text, str) or len(text) > _LONGEST_TAG_VALUE:
            return None
    return value


def _texts(pattern: re.Pattern[str]) -> Callable[[object], tuple[str, ...] | None]:
    def read(value: object) -> tuple[str, ...] | None:
        is_good = isinstance(value, list) and all(isinstance(each, str) and pattern.fullmatch(each) for each in value)
        return tuple(value) if is_good and isinstance(value, list) else None

    return read


def _policy(value: object) -> str | None:
    if isinstance(value, dict):
        return json.dumps(value, separators=(",", ":"))
    if not isinstance(value, str):
        return None
    try:
        return value if isinstance(json.loads(value), dict) else None
    except ValueError:
        return None


_READERS: dict[str, tuple[str, Callable[[object], Any], str]] = {
    "session_name": ("session_name", _text(re.compile(r".{1,256}")), "a text"),
    "external_id": ("external_id", _text(_EXTERNAL_ID), "2 to 1224 letters, digits and _+=,.@:/-"),
    "duration": ("duration_seconds", _duration, "a duration from 15m to 12h, in quotes"),
    "tags": ("tags", _tags, "an object of at most 50 texts, keys up to 128 characters, values up to 256"),
    "transitive_tag_keys": ("transitive_tag_keys", _texts(re.compile(r".{1,128}")), "an array of tags' keys"),
    "policy": ("policy", _policy, "a session policy: an object, or its JSON as a text"),
    "policy_arns": ("policy_arns", _texts(_POLICY_ARN), "an array of ARNs of managed policies"),
    "source_identity": ("source_identity", _text(_SOURCE_IDENTITY), "2 to 64 letters, digits and _+=,.@-"),
}
