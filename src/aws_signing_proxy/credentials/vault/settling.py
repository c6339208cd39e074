"""The seconds in which AWS does not know a fresh IAM user yet, though Vault has handed out its keys.

IAM is eventually consistent: Vault's documentation of the AWS secrets engine speaks of 5 to 10 seconds or more, and its
makers found no question whose answer would hold for all of AWS (hashicorp/vault issues 687, 3115, 8413: one endpoint
may know a key that the next one does not). So STS is asked until it knows the key twice in a row.
"""

from __future__ import annotations

from typing import Final, Protocol

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError

__all__ = ["IdentityCheck", "Settling"]

# STS's answers to a key that it does not know, or whose secret it has not heard of; other services' words for it.
_UNKNOWN_YET: Final = frozenset(
    {
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
        "InvalidAccessKeyId",
        "AuthFailure",
    }
)
# Whoever is denied something is known.
_KNOWN: Final = frozenset({"AccessDenied", "AccessDeniedException"})
_BUSY: Final = frozenset({"Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException"})
_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 4.0
_GROWTH: Final = 1.5
_SUCCESSES: Final = 2
# Of the settling timeout, where STS cannot be asked: with the default, the 10 s that Vault's documentation speaks of.
_BLIND_SHARE: Final = 2 / 3


class IdentityCheck(Protocol):
    """Asks STS who credentials belong to (GetCallerIdentity, which needs no permission)."""

    def caller_identity(self, fetch: Fetch, credentials: Credentials) -> object:
        """Return whatever identifies them; only that it returns counts here.

        Raises:
            CredentialsUnavailableError: With an attribute `code`, AWS's error code ("InvalidClientTokenId"), where AWS
                refused; without it where STS could not be asked.
        """


class Settling:
    """Waits until AWS knows the keys of one IAM user."""

    def __init__(self, sts: IdentityCheck | None, source: str, timeout_seconds: float) -> None:
        self._sts = sts
        self._source = source
        self._timeout_seconds = timeout_seconds

    def wait(self, fetch: Fetch, credentials: Credentials, made_at: float) -> None:
        """Return when the credentials can be handed out. `made_at`: when Vault made them, since the epoch.

        Raises:
            CredentialsUnavailableError: Not conclusive: AWS does not know them yet, and the time is over.
        """
        if self._timeout_seconds <= 0:
            return
        sts = self._sts
        if sts is None:
            self._wait_blindly(fetch, credentials, made_at, "there is nobody to ask")
            return
        ends_at_remaining = fetch.remaining_seconds - min(self._timeout_seconds, fetch.remaining_seconds)
        successes, pause = 0, _FIRST_PAUSE_SECONDS
        while True:
            code, reason = _asked(sts, fetch, credentials)
            if code is None and reason:
                self._wait_blindly(fetch, credentials, made_at, reason)
                return
            if code is None:
                successes, pause = successes + 1, _FIRST_PAUSE_SECONDS
            elif code not in _BUSY:
                successes = 0
            if successes == _SUCCESSES:
                fetch.note(self._source, f"AWS knows the new IAM user {_age(fetch, made_at)} after it was made")
                return
            if fetch.remaining_seconds - pause <= ends_at_remaining:
                if successes:
                    return
                raise self._unsettled(fetch, credentials, made_at, code or "")
            fetch.pause(pause)
            pause = min(pause * _GROWTH, _LONGEST_PAUSE_SECONDS)

    def _wait_blindly(self, fetch: Fetch, credentials: Credentials, made_at: float, reason: str) -> None:
        """Wait as long as it mostly takes, where STS cannot say."""
        left = made_at + self._timeout_seconds * _BLIND_SHARE - fetch.now()
        # A clock that was set back must not make this wait for hours.
        left = min(left, self._timeout_seconds * _BLIND_SHARE)
        if left > fetch.remaining_seconds:
            fetch.pause(left)
            raise self._unsettled(fetch, credentials, made_at, reason)
        if left > 0:
            fetch.pause(left)
        fetch.note(
            self._source,
            f"could not ask AWS whether it knows the new IAM user already ({reason}); waited until "
            f"{_age(fetch, made_at)} after it was made, so first requests may still be refused",
        )

    def _unsettled(
        self, fetch: Fetch, credentials: Credentials, made_at: float, told: str
    ) -> CredentialsUnavailableError:
        key = f"…{credentials.access_key_id[-4:]}"
        reason = (
            f"AWS does not know the new IAM user's key {key} yet, {_age(fetch, made_at)} after it was made ({told})"
        )
        advice = "Wait: the proxy goes on asking for the same key; ASP_VAULT_SETTLING_TIMEOUT says how long at a time"
        return CredentialsUnavailableError((Attempt(self._source, reason, advice),))


def _asked(sts: IdentityCheck, fetch: Fetch, credentials: Credentials) -> tuple[str | None, str]:
    """Return AWS's error code and why STS could not say; (None, "") where it knows the credentials."""
    try:
        sts.caller_identity(fetch, credentials)
    except CredentialsUnavailableError as error:
        code = getattr(error, "code", None)
        if code in _KNOWN:
            return None, ""
        if code in _UNKNOWN_YET or code in _BUSY:
            return code, ""
        reason = error.attempts[0].reason if error.attempts else "no reason was given"
        return None, reason
    return None, ""


def _age(fetch: Fetch, made_at: float) -> str:
    return f"{max(0.0, fetch.now() - made_at):.0f} s"
