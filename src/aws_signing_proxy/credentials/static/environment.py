"""Static credentials from AWS's environment variables.

The variables are those of the AWS SDKs and tools reference, "AWS access keys" (static credentials):
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN; and AWS_CREDENTIAL_EXPIRATION, which the AWS CLI's
`export-credentials` writes beside them (ISO 8601).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.model import (
    Credentials,
    InvalidValueError,
    clean_key_id,
    clean_secret,
    clean_token,
)
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError

__all__ = ["EnvironmentProvider"]

_SOURCE: Final = "environment"
_KEY_ID: Final = "AWS_ACCESS_KEY_ID"
_SECRET: Final = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 - a variable's name
_TOKEN: Final = "AWS_SESSION_TOKEN"  # noqa: S105 - a variable's name
_EXPIRATION: Final = "AWS_CREDENTIAL_EXPIRATION"


class EnvironmentProvider:
    """Reads the key pair from `environ`, which does not change while the process runs."""

    name = _SOURCE

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    is_local = True

    def has_changed(self) -> bool:
        """Never: a process's environment stays as it was started."""
        return False

    def close(self, fetch: Fetch) -> None:
        """Nothing was lent."""

    def retrieve(self, _fetch: Fetch) -> Credentials:
        """Return the credentials of the environment.

        Raises:
            CredentialsUnavailableError: Conclusive where only one half of the key pair is set, or a value is
                unusable; not conclusive where neither half is set. A blank value counts as unset.
        """
        key_id = self._environ.get(_KEY_ID, "").strip()
        secret = self._environ.get(_SECRET, "").strip()
        if not key_id and not secret:
            raise CredentialsUnavailableError(
                (Attempt(_SOURCE, f"{_KEY_ID} and {_SECRET} are not set", f"Set {_KEY_ID} and {_SECRET}"),)
            )
        if not key_id or not secret:
            there, missing = (_KEY_ID, _SECRET) if key_id else (_SECRET, _KEY_ID)
            state = "blank" if missing in self._environ else "not set"
            raise _broken(f"{there} is set but {missing} is {state}", f"Set {missing} too, or unset {there}")
        try:
            return Credentials(
                clean_key_id(_KEY_ID, key_id),
                clean_secret(_SECRET, secret),
                clean_token(_TOKEN, self._environ.get(_TOKEN, "")) or None,
                expires_at=self._expires_at(),
                source=_SOURCE,
            )
        except InvalidValueError as error:
            raise _broken(str(error), "Set it to the value as AWS issued it, on one line") from None

    def _expires_at(self) -> float | None:
        text = self._environ.get(_EXPIRATION, "").strip()
        if not text:
            return None
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            message = f"{_EXPIRATION} is not a time in ISO 8601 such as 2026-01-31T12:00:00Z"
            # `from None`: the parser's own message quotes the value, and people mix variables up.
            raise InvalidValueError(message) from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.timestamp()


def _broken(reason: str, advice: str) -> CredentialsUnavailableError:
    return CredentialsUnavailableError((Attempt(_SOURCE, reason, advice),), is_conclusive=True)
