"""Where the SDK's chain would find static keys: told without the SDK, so that the most common start is cheap.

botocore costs some 80 ms and 11 MiB (measured: loading it, and one answer), and for keys that lie in the environment
or in a plain profile it does nothing that we cannot. Decided here is only whether its answer is known beforehand; where
there is doubt (a variable that redirects it, a file that it reads otherwise than `SharedFilesProvider` does, a profile
with anything but keys) it is asked.

The order that this relies on is botocore's `create_credential_resolver`, the same from 1.36 on: the environment; the
profile's role; web identity; SSO; the credentials file; a login session; credential_process; the config file.
"""

from __future__ import annotations

import configparser
import os
import re
import shlex
from collections.abc import Mapping
from typing import Final, TypeAlias

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.credentials.provider import CredentialsUnavailableError, Provider
from aws_signing_proxy.credentials.static.environment import EnvironmentProvider
from aws_signing_proxy.credentials.static.shared_files import Marks, SharedFilesProvider

__all__ = ["StaticShortcut", "files_as_sdk", "path_as_sdk", "profile_as_sdk"]

_KEY_ID: Final = "aws_access_key_id"
_SECRET: Final = "aws_secret_access_key"  # noqa: S105 - a key's name
_TOKEN: Final = "aws_session_token"  # noqa: S105 - a key's name
_PAIR: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_FILES: Final = {"AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials", "AWS_CONFIG_FILE": "~/.aws/config"}

# What a profile may hold beside its keys without having to be fetched from somewhere. Any other key of these
# families, also one that a later botocore knows, is left to botocore.
_FETCHED: Final = re.compile(
    r"role_|source_|credential_|web_identity|sso_|login_|mfa_|external_id|duration_seconds|aws_security_token"
)

_WORDS_OF_A_HEADER: Final = 2

_Section: TypeAlias = Mapping[str, str]


def profile_as_sdk(environ: Mapping[str, str]) -> str | None:
    """Return the profile that is chosen, None where none is: botocore asks AWS_DEFAULT_PROFILE first.

    A blank name counts as none; botocore would look for a profile without a name.
    """
    return environ.get("AWS_DEFAULT_PROFILE", "").strip() or environ.get("AWS_PROFILE", "").strip() or None


def path_as_sdk(environ: Mapping[str, str], variable: str) -> str:
    """Return where one of the two shared files is: botocore puts in variables and home directories."""
    return os.path.expanduser(os.path.expandvars(environ.get(variable, _FILES[variable])))  # noqa: PTH111 - as it does


def files_as_sdk(environ: Mapping[str, str]) -> SharedFilesProvider:
    """Return the reader of the files and the profile that botocore would read."""
    paths = {name: path_as_sdk(environ, name) for name in _FILES}
    return SharedFilesProvider({**environ, **paths, "AWS_PROFILE": profile_as_sdk(environ) or "default"})


class StaticShortcut:
    """Knows which of our own providers has what botocore's chain would find."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._environment = EnvironmentProvider(environ)
        # One to look with, one to answer: what a look has seen must not count as fetched.
        self._reader, self.files = files_as_sdk(environ), files_as_sdk(environ)
        # What the last look into the files found, and the files' marks at that look.
        self._found: tuple[Marks, bool] | None = None

    def provider(self) -> Provider | None:
        """Return the provider that answers instead of botocore, None where botocore has to be asked.

        Where the environment holds nothing the two files are looked at by `stat`, and read where they have changed:
        this is asked for every request that has no credentials, and reading 300 profiles takes 9 ms (measured).
        """
        if self.is_environment:
            # botocore's old name for the session token, which it prefers.
            is_whole = all(self._environ.get(name, "").strip() for name in _PAIR)
            return None if is_whole and self._environ.get("AWS_SECURITY_TOKEN") else self._environment
        return self.files if self._is_plain_profile() else None

    @property
    def is_environment(self) -> bool:
        """Whether the environment answers, with its key pair or with half of one, which is an error.

        botocore passes over a secret access key without its id. We do not: a broken source is no reason to look
        elsewhere.
        """
        return any(self._environ.get(name, "").strip() for name in _PAIR)

    def _is_plain_profile(self) -> bool:
        # Marked before they are read: files that change in between are then read once more.
        marks = self._reader.marks()
        if self._found is None or self._found[0] != marks:
            self._found = marks, self._read_whether_plain()
        return self._found[1]

    def _read_whether_plain(self) -> bool:
        if self._environ.get("AWS_WEB_IDENTITY_TOKEN_FILE") or not self._has_usual_variables():
            return False
        expected = self._keys_as_sdk()
        if expected is None:
            return False
        try:
            found = self._reader.retrieve(Fetch())
        except CredentialsUnavailableError:
            return False
        return expected == _triple(found)

    def _has_usual_variables(self) -> bool:
        """Whether no variable is set to nothing: for botocore that is a value, for us it is none."""
        return all(self._environ.get(name, "set").strip() for name in _FILES)

    def _keys_as_sdk(self) -> tuple[str, str, str | None] | None:
        """Return the keys as botocore would read them, None where it would fail or look elsewhere."""
        profile = profile_as_sdk(self._environ) or "default"
        try:
            credentials = _parsed(path_as_sdk(self._environ, "AWS_SHARED_CREDENTIALS_FILE"))
            config = _profiles(_parsed(path_as_sdk(self._environ, "AWS_CONFIG_FILE")))
        except _OtherwiseReadError:
            return None
        sections = (credentials.get(profile), config.get(profile))
        if any(_FETCHED.match(key) for section in sections if section is not None for key in section):
            return None
        for section in sections:
            if section is not None and _KEY_ID in section:
                # Half a pair is botocore's error; SharedFilesProvider's differs from it only in its words.
                return section[_KEY_ID], section.get(_SECRET, ""), section.get(_TOKEN)
        return None


def _triple(credentials: Credentials) -> tuple[str, str, str | None]:
    return credentials.access_key_id, credentials.secret_access_key, credentials.session_token


class _OtherwiseReadError(Exception):
    """A file that botocore refuses, or reads in a way that is not worth telling."""


def _profiles(sections: Mapping[str, _Section]) -> dict[str, _Section]:
    """Return the config file's profiles by name, as botocore's `build_profile_map` tells them from other sections.

    Of two headers that name one profile the last counts, whole.
    """
    found: dict[str, _Section] = {}
    for header, section in sections.items():
        try:
            words = shlex.split(header) if header.startswith("profile") else []
        except ValueError:
            continue
        name = "default" if header == "default" else words[1] if len(words) == _WORDS_OF_A_HEADER else None
        if name is not None:
            found[name] = section
    return found


def _parsed(path: str) -> dict[str, _Section]:
    """Return a file's sections as botocore's `raw_config_parse` reads them.

    Raises:
        _OtherwiseReadError: It would fail, or the file holds what the two readers may understand differently.
    """
    if not os.path.isfile(path):  # noqa: PTH113 - the same question as botocore's
        return {}
    parser = configparser.RawConfigParser()
    try:
        parser.read([path])
    except (configparser.Error, ValueError):
        # `from None`: both quote the file.
        raise _OtherwiseReadError from None
    sections: dict[str, _Section] = {name: dict(parser[name]) for name in parser.sections()}
    if any(_is_nested_wrongly(value) for keys in sections.values() for value in keys.values()):
        raise _OtherwiseReadError
    return sections


def _is_nested_wrongly(value: str) -> bool:
    """Whether a value that begins with a line break holds a line that is not `key = value`: botocore gives up."""
    return value.startswith("\n") and any(line.strip() and "=" not in line for line in value.splitlines())
