"""AWS credentials: an identity to sign with, until when it is good, and where it came from."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import Final

from aws_signing_proxy.sigv4.identity import Identity

__all__ = [
    "SETTLING_SECONDS",
    "STS_LEAD_SECONDS",
    "VAULT_LEAD_SECONDS",
    "Credentials",
    "InvalidValueError",
    "clean_key_id",
    "clean_secret",
    "clean_token",
    "utc",
]

# How long before their expiry credentials are renewed, as the original proxy does it.
STS_LEAD_SECONDS: Final = 300.0
VAULT_LEAD_SECONDS: Final = 60.0
# IAM is eventually consistent: how long a service may not know keys that IAM has made. Mostly it takes 5 to 15 s; STS
# may know them long before the service does.
SETTLING_SECONDS: Final = 60.0


class Credentials(Identity):
    """What the signer needs, with its expiry and its source.

    `expires_at` is in seconds since the epoch, None where the source names no end. `source` says in plain words
    where they were found ("environment", "profile dev in /home/me/.aws/credentials"). `lead_seconds` is how long
    before their expiry the source is to be asked again; `ask_again_at` (seconds since the epoch) is when it is to
    be asked anyway, though they live longer or name no end: a token that has to be kept alive, keys that are
    rotated without notice. `fresh_since` (seconds since the epoch) is when keys of an IAM user were made that services
    may not know yet, None where there is nothing to wait for. The `repr` shows the last four characters of the access
    key id, never a secret.
    """

    __slots__ = ("ask_again_at", "expires_at", "fresh_since", "lead_seconds", "source")

    def __init__(
        self,
        access_key_id: str,
        secret_access_key: str,
        session_token: str | None = None,
        *,
        expires_at: float | None = None,
        source: str,
        lead_seconds: float = STS_LEAD_SECONDS,
        ask_again_at: float | None = None,
        fresh_since: float | None = None,
    ) -> None:
        super().__init__(access_key_id, secret_access_key, session_token)
        self.expires_at = expires_at
        self.source = source
        self.lead_seconds = lead_seconds
        self.ask_again_at = ask_again_at
        self.fresh_since = fresh_since

    def is_expired(self, now: float) -> bool:
        """Whether they are no longer good at `now` (seconds since the epoch). At the instant of expiry they are not."""
        return self.expires_at is not None and now >= self.expires_at

    def is_settling(self, now: float) -> bool:
        """Whether a service that does not know them at `now` (seconds since the epoch) may do so in a moment."""
        # Both ways: a clock that is set back must not make this last.
        return self.fresh_since is not None and abs(now - self.fresh_since) < SETTLING_SECONDS

    def secrets(self) -> tuple[str, ...]:
        """What must never be shown: the secret access key, and the session token where there is one."""
        if self.session_token is None:
            return (self.secret_access_key,)
        return (self.secret_access_key, self.session_token)

    @property
    def shown_id(self) -> str:
        """The last four characters of the access key id: all that is shown of them."""
        return f"…{self.access_key_id[-4:]}"

    def __repr__(self) -> str:
        return f"<Credentials {self.shown_id} from {self.source}>"


def utc(moment: float | None) -> str:
    """Write a moment in seconds since the epoch for people, in RFC 3339; None where nobody knows it. Never raises."""
    if moment is None:
        return "an unknown time"
    try:
        return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{moment:g} s since 1970"  # a server's nonsense; what is told must not fail over it


class InvalidValueError(ValueError):
    """A key, secret or token cannot be what its source meant. The message never holds the value."""


def clean_key_id(name: str, value: str) -> str:
    """Return the access key id without surrounding whitespace; `name` is what the message calls it.

    It becomes a part of the Authorization field, between "Credential=" and the "/" of the credential scope.

    Raises:
        InvalidValueError: It would break that field.
    """
    cleaned = clean_token(name, value)
    if "/" in cleaned or "," in cleaned:
        raise InvalidValueError(f'{name} holds a "/" or a ",", which no access key id does')
    return cleaned


def clean_token(name: str, value: str) -> str:
    """Return the session token without surrounding whitespace. It becomes a field's value.

    Raises:
        InvalidValueError: It holds anything but visible ASCII (a line break in its middle, say).
    """
    cleaned = clean_secret(name, value)
    if not cleaned.isascii() or " " in cleaned:
        raise InvalidValueError(f"{name} holds a space or a character that is not ASCII")
    return cleaned


def clean_secret(name: str, value: str) -> str:
    """Return the secret access key without surrounding whitespace (a file's last line break, say).

    It is only ever the key of an HMAC: S3-compatible services let people choose it, so most characters are good.

    Raises:
        InvalidValueError: It holds a control character: two lines were pasted into one value.
    """
    cleaned = value.strip()
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in cleaned):
        raise InvalidValueError(f"{name} holds a line break or another control character")
    return cleaned
