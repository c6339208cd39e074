"""Files that hold one secret each: a token of Vault's agent, a secret id, a service account's token.

They are written by others and change while the proxy runs, so they are read whenever they are needed. What is said
about them names the path and the setting, never the text.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.model import InvalidValueError, clean_token
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError
from aws_signing_proxy.credentials.secret_file import read_at_most

__all__ = ["read_secret"]

_LARGEST_FILE_BYTES: Final = 1 << 16


def read_secret(fetch: Fetch, path: Path, setting: str) -> str:
    """Return the file's text without surrounding whitespace, made known to `fetch` as a secret.

    Raises:
        CredentialsUnavailableError: Not conclusive where there is no file or it is empty, since whoever writes it may
            be late; conclusive where it cannot be read or holds more than one value.
    """
    try:
        data = read_at_most(path, _LARGEST_FILE_BYTES)
    except FileNotFoundError:
        advice = f"See whether the program that writes it runs, or set {setting} to the right path"
        raise _broken(path, "no such file", advice, is_conclusive=False) from None
    except OSError as error:
        reason = f"cannot be read ({error.strerror or type(error).__name__})"
        advice = f"Let the user that runs the proxy (id {os.geteuid()}) read it, or set {setting} to another file"
        raise _broken(path, reason, advice) from None
    advice = f"Write nothing but the one value into it, or set {setting} to another file"
    if len(data) > _LARGEST_FILE_BYTES:
        raise _broken(path, f"holds more than {_LARGEST_FILE_BYTES} bytes", advice)
    text = fetch.secret(data.decode("utf-8", "replace").removeprefix("\ufeff").strip())
    if not text:
        raise _broken(
            path,
            "is empty",
            f"See whether the program that writes it runs, or set {setting} to another file",
            is_conclusive=False,
        )
    if text.startswith("{"):
        advice = f"Configure the agent's sink without wrap_ttl and dh_type, or set {setting} to a plain token's file"
        raise _broken(path, "holds JSON (a wrapped or encrypted token, say)", advice)
    try:
        return fetch.secret(clean_token("it", text))
    except InvalidValueError as error:
        raise _broken(path, str(error).removeprefix("it "), advice) from None


def _broken(path: Path, reason: str, advice: str, *, is_conclusive: bool = True) -> CredentialsUnavailableError:
    return CredentialsUnavailableError((Attempt(str(path), reason, advice),), is_conclusive=is_conclusive)
