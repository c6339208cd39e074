"""Static credentials from a profile of the shared credentials file or the shared config file.

The rules are those of the AWS SDKs and tools reference, "Shared config and credentials files": the credentials file
names a profile `[dev]`, the config file `[profile dev]` (but `[default]`); the files' places come from
AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE, the profile from AWS_PROFILE. The credentials file is asked first.

The files hold secrets: what is said about them names their path, a line's number and a key's name, never their text.
"""

from __future__ import annotations

import configparser
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.model import (
    Credentials,
    InvalidValueError,
    clean_key_id,
    clean_secret,
    clean_token,
)
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError
from aws_signing_proxy.credentials.watched_files import Mark, mark

__all__ = ["Marks", "SharedFilesProvider"]

_KEY_ID: Final = "aws_access_key_id"
_SECRET: Final = "aws_secret_access_key"  # noqa: S105 - a key's name
_TOKEN: Final = "aws_session_token"  # noqa: S105 - a key's name

# What a profile holds when its credentials have to be fetched from somewhere.
_FETCHED: Final = (
    "role_arn",
    "source_profile",
    "credential_source",
    "web_identity_token_file",
    "sso_session",
    "sso_start_url",
    "sso_account_id",
    "credential_process",
    "login_session",
)

_LARGEST_FILE_BYTES: Final = 1 << 20

# A section that no file has, so that configparser gives `[DEFAULT]` no special meaning.
_NO_DEFAULT_SECTION: Final = "\0"

_Profile: TypeAlias = Mapping[str, str]
Marks: TypeAlias = tuple[Mark, ...]
"""Both files as they are at one time."""


class _SharedFile(NamedTuple):
    """One of the two files, and how it writes a profile's name."""

    path: Path | None
    variable: str
    prefix: str

    def section(self, profile: str) -> str:
        return f"[{self.prefix}{profile}]" if profile != "default" else "[default]"

    @property
    def name(self) -> str:
        return str(self.path) if self.path is not None else self.variable


class SharedFilesProvider:
    """Reads the profile that `environ` names from the files that `environ` names."""

    name = "shared files"
    is_local = True

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._profile = environ.get("AWS_PROFILE", "").strip() or environ.get("AWS_DEFAULT_PROFILE", "").strip()
        self._profile = self._profile or "default"
        self._files = (
            _shared_file(environ, "AWS_SHARED_CREDENTIALS_FILE", "credentials", prefix=""),
            _shared_file(environ, "AWS_CONFIG_FILE", "config", prefix="profile "),
        )
        self._marks: Marks | None = None

    def has_changed(self) -> bool:
        """Whether either file was written, replaced, created or deleted since the last fetch: two calls of `stat`."""
        return self._marks is not None and self._marks != self.marks()

    def watch(self) -> None:
        """Take the files as they are now for known: `has_changed` compares with this. For who reads them otherwise."""
        self._marks = self.marks()

    def close(self, fetch: Fetch) -> None:
        """Nothing was lent."""

    def retrieve(self, _fetch: Fetch) -> Credentials:
        """Return the profile's static credentials.

        Raises:
            CredentialsUnavailableError: Conclusive where a file cannot be read or understood, or where the profile
                is there but incomplete or of a kind that has to be fetched.
        """
        # Marked before they are read: a file that changes in between is then read once more, not missed.
        self.watch()
        attempts: list[Attempt] = []
        profiles: list[tuple[_SharedFile, _Profile]] = []
        for file in self._files:
            found = self._look_into(file)
            if isinstance(found, Attempt):
                attempts.append(found)
            else:
                profiles.append((file, found))
        self._refuse_fetched(profiles)
        for file, profile in profiles:
            if profile.get(_KEY_ID) or profile.get(_SECRET):
                return self._credentials(file, profile)
            reason = f"its profile {file.section(self._profile)} has no {_KEY_ID} and {_SECRET}"
            attempts.append(Attempt(file.name, reason, f"Add {_KEY_ID} and {_SECRET} to it"))
        raise CredentialsUnavailableError(tuple(attempts))

    def marks(self) -> Marks:
        """Return what tells the files as they are now from what they were: two calls of `stat`."""
        return tuple(mark(file.path) for file in self._files)

    def _look_into(self, file: _SharedFile) -> _Profile | Attempt:
        if file.path is None:
            return Attempt(
                file.name, "not set, and there is no home directory", f"Set {file.variable} to the file's path"
            )
        try:
            parsed = _parse(file.path)
        except FileNotFoundError:
            return Attempt(file.name, "no such file", f"Create it, or set {file.variable} to its path")
        except OSError as error:
            reason = f"cannot be read ({error.strerror or type(error).__name__})"
            advice = f"Let the user that runs the proxy (id {os.geteuid()}) read it, or set {file.variable} to another"
            raise _broken(file.name, reason, advice) from None
        except _UnreadableError as error:
            advice = f"Correct it, or set {file.variable} to another file"
            raise _broken(file.name, str(error), advice) from None
        for section in parsed.sections():
            if _profile_name(section, file.prefix) == self._profile:
                return dict(parsed[section])
        return Attempt(
            file.name,
            f"it has no profile {file.section(self._profile)}",
            f"Add {file.section(self._profile)} to it, or set AWS_PROFILE to a profile that it has",
        )

    def _refuse_fetched(self, profiles: list[tuple[_SharedFile, _Profile]]) -> None:
        """Refuse a profile whose credentials are to be fetched.

        Static keys beside `role_arn` are no way out: every AWS tool would assume the role, and signing with the keys
        themselves would act as another identity than the profile says.
        """
        has_keys = any(profile.get(_KEY_ID) or profile.get(_SECRET) for _, profile in profiles)
        for file, profile in profiles:
            for key in _FETCHED if not has_keys else ("role_arn",):
                if key in profile:
                    reason = f"its profile {file.section(self._profile)} uses {key}, and awstoken uses static keys only"
                    advice = "Set AWS_PROFILE to a profile with static keys, or choose another credentials provider"
                    raise _broken(file.name, reason, advice)

    def _credentials(self, file: _SharedFile, profile: _Profile) -> Credentials:
        section = file.section(self._profile)
        for there, missing in ((_KEY_ID, _SECRET), (_SECRET, _KEY_ID)):
            if not profile.get(missing, "").strip():
                raise _broken(file.name, f"its profile {section} has {there} but no {missing}", f"Add {missing} to it")
        try:
            return Credentials(
                clean_key_id(_KEY_ID, profile[_KEY_ID]),
                clean_secret(_SECRET, profile[_SECRET]),
                clean_token(_TOKEN, profile.get(_TOKEN, "")) or None,
                source=f"profile {self._profile} in {file.name}",
            )
        except InvalidValueError as error:
            advice = "Write it as AWS issued it, on one line"
            raise _broken(file.name, f"in its profile {section}, {error}", advice) from None


class _UnreadableError(Exception):
    """A file is not one that can be understood. The message never holds its text."""


def _shared_file(environ: Mapping[str, str], variable: str, default_name: str, *, prefix: str) -> _SharedFile:
    given = environ.get(variable, "").strip()
    home = environ.get("HOME", "").strip()
    if given and not given.startswith("~"):
        return _SharedFile(Path(given), variable, prefix)
    try:
        # "~someone" is left to the operating system; only our own "~" follows the environment that we were given.
        if given.startswith("~") and not (given == "~" or given.startswith("~/")):
            return _SharedFile(Path(given).expanduser(), variable, prefix)
        base = Path(home) if home else Path.home()
    except RuntimeError:  # no home directory: a container's user that no passwd file knows
        return _SharedFile(None, variable, prefix)
    path = base / given.removeprefix("~").lstrip("/") if given else base / ".aws" / default_name
    return _SharedFile(path, variable, prefix)


def _parse(path: Path) -> configparser.RawConfigParser:
    """Read and parse one file.

    Raises:
        OSError: It is not there or cannot be read.
        _UnreadableError: It is not a file of profiles; the message says what and at which line.
    """
    parser = configparser.RawConfigParser(
        default_section=_NO_DEFAULT_SECTION,
        # As the other AWS tools read it: a profile may be written in two places, and " # " begins a comment.
        strict=False,
        inline_comment_prefixes=("#", ";"),
    )
    try:
        parser.read_string(_text(path))
    except configparser.Error as error:
        # Neither the error's message nor its chain may leave here: both quote the line, which may hold the secret.
        problem = f"cannot be understood{_place(error)}: neither a [profile], a key = value, nor a # comment"
    except ValueError as error:
        problem = str(error) if isinstance(error, InvalidValueError) else "cannot be understood"
    else:
        return parser
    raise _UnreadableError(problem)


def _text(path: Path) -> str:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        # Opening a pipe would wait for its writer, and everything else with it.
        raise InvalidValueError("is not a regular file")
    if status.st_size > _LARGEST_FILE_BYTES:
        raise InvalidValueError(f"is larger than {_LARGEST_FILE_BYTES} bytes")
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InvalidValueError(f"is not UTF-8 text (line {line})") from None


def _place(error: configparser.Error) -> str:
    line = getattr(error, "lineno", None)
    if line is None:
        lines = [number for number, _ in getattr(error, "errors", [])]
        line = lines[0] if lines else None
    return "" if line is None else f" at line {line}"


def _profile_name(section: str, prefix: str) -> str | None:
    """Return the name of the profile that a section's header writes, None where it writes none."""
    words = section.strip()
    if words == "default" or not prefix:
        return words
    first, _, rest = words.partition(" ") if " " in words else words.partition("\t")
    if first != prefix.strip():
        return None
    return rest.strip().strip("\"'")


def _broken(source: str, reason: str, advice: str) -> CredentialsUnavailableError:
    return CredentialsUnavailableError((Attempt(source, reason, advice),), is_conclusive=True)
