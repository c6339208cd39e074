"""Credentials of Vault's AWS secrets engine, and the lease that they live by.

Vault's HTTP API documentation, "AWS secrets engine" (creds, sts, static-creds) and "/sys/leases". Three kinds behave
differently: an IAM user dies with its lease and with the token that made it; STS credentials live by their own time,
whatever becomes of their lease; static keys have no lease, and are rotated without notice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any, Final

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.model import InvalidValueError, clean_key_id, clean_secret, clean_token
from aws_signing_proxy.credentials.vault.client import Answer, VaultClient, number, text
from aws_signing_proxy.credentials.vault.errors import (
    BAD_REQUEST,
    FORBIDDEN,
    NOT_FOUND,
    Call,
    Purpose,
    VaultError,
)
from aws_signing_proxy.credentials.vault.options import VaultOptions
from aws_signing_proxy.credentials.vault.tokens import Life, Token, duration_text

__all__ = ["Kind", "Lease", "LeaseKeeper", "Renewal"]

_ASK_STATIC_AGAIN_SECONDS: Final = 300.0
# Vault's rotation runs every few seconds after the moment that it names.
_ROTATION_SECONDS: Final = 10.0


class Kind(Enum):
    """How the credentials end."""

    IAM_USER = auto()
    STS = auto()
    STATIC = auto()


class Renewal(Enum):
    """What came of a renewal: the lease lives on, is gone, or was refused (the token is dead, or a policy says no)."""

    DONE = auto()
    GONE = auto()
    FORBIDDEN = auto()


@dataclass(slots=True)
class Lease:
    """One set of credentials as Vault handed it out. `made_at`, `rotates_at`: seconds since the epoch.

    `fresh_since`: since when services may not know the keys; None: they do. `is_known`: STS does. `is_lost`: Vault does
    not know the lease any more, and its IAM user is gone.
    """

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(repr=False)
    lease_id: str
    kind: Kind
    life: Life
    token: Token
    made_at: float
    rotates_at: float | None = None
    fresh_since: float | None = None
    is_known: bool = False
    is_lost: bool = False

    @property
    def expires_at(self) -> float | None:
        """When the credentials end: an IAM user with its lease or its token, whichever ends first."""
        if self.kind is not Kind.IAM_USER or self.token.life.ends_at is None:
            return self.life.ends_at
        return min(self.token.life.ends_at, self.life.ends_at or self.token.life.ends_at)

    def ask_again_at(self, now: float) -> float | None:
        """When Vault has to be asked again, beside the store's own plan; None: it does for these.

        To renew the lease; to make another IAM user, in time for services to know it before this one ends; to see
        whether static keys were rotated.
        """
        if self.kind is Kind.IAM_USER:
            # Its token is renewed with the others, or is one that nobody keeps alive any more.
            moments = [self.life.renew_at() or self.life.replace_at(), self.token.life.replace_at()]
            return min((moment for moment in moments if moment is not None), default=None)
        if self.kind is not Kind.STATIC and self.life.ends_at is not None:
            return self.life.renew_at()
        soon = now + _ASK_STATIC_AGAIN_SECONDS
        if self.rotates_at is None or self.rotates_at + _ROTATION_SECONDS <= now:
            return soon
        return min(soon, self.rotates_at + _ROTATION_SECONDS)


class LeaseKeeper:
    """Makes leases, renews them and gives them back."""

    def __init__(self, client: VaultClient, options: VaultOptions) -> None:
        self._client = client
        self._options = options

    @property
    def read_call(self) -> Call:
        """What reading the credentials is called in messages."""
        path = self._options.path
        return Call(Purpose.READ, f"reading {path}", path, self._options.token_settings, "read")

    def make(self, fetch: Fetch, token: Token) -> Lease:
        """Read the path. Where the answer cannot be used, its lease is revoked.

        GET, with parameters in the query: Vault takes them there for reads, and the policy need not allow more.

        Raises:
            VaultError: Vault refused, could not be reached, or answered without usable credentials.
        """
        call = self.read_call
        parameters: dict[str, str] = {}
        if self._options.aws_role_arn:
            parameters["role_arn"] = self._options.aws_role_arn
        if self._options.aws_ttl_seconds:
            parameters["ttl"] = f"{round(self._options.aws_ttl_seconds)}s"
        asked_at = fetch.now()

        def send(hvac: Any) -> Any:
            return hvac.adapter.get(f"/v1/{call.path}", params=parameters)

        answer = self._client.ask(fetch, call, send, token=token.value)
        try:
            return self._lease(fetch, call, answer, token, asked_at)
        except VaultError:
            self._revoke_id(fetch, text(answer.get("lease_id")), token)
            raise

    def renew(self, fetch: Fetch, lease: Lease, token: Token) -> Renewal:
        """Ask for the lease's whole duration once more.

        Raises:
            VaultError: Vault could not be asked, or answered nonsense.
        """
        call = Call(Purpose.LEASE, "renewing the lease", "sys/leases/renew", self.read_call.settings)
        wanted = lease.life.seconds or 0.0
        asked_at = fetch.now()
        try:
            answer = self._client.ask(
                fetch,
                call,
                lambda hvac: hvac.sys.renew_lease(lease.lease_id, increment=max(1, round(wanted))),
                token=token.value,
            )
        except VaultError as error:
            if error.status not in {BAD_REQUEST, FORBIDDEN, NOT_FOUND}:
                raise
            fetch.note(self._client.source, f"the lease was not renewed: {error.attempts[0].reason}")
            lease.life.is_renewable = False
            if error.status == FORBIDDEN:
                return Renewal.FORBIDDEN
            return Renewal.DONE if error.says("not renewable", "max ttl") else Renewal.GONE
        seconds = number(answer.get("lease_duration"))
        if seconds is None:
            raise self._client.unusable(call, "an answer without lease_duration")
        lease.life.extend(asked_at, seconds, is_renewable=answer.get("renewable") is True, wanted=wanted)
        fetch.note(self._client.source, f"renewed the lease; it lives {duration_text(seconds)}")
        return Renewal.DONE

    def revoke(self, fetch: Fetch, lease: Lease, token: Token) -> bool:
        """Give the lease back; a failure is logged. Return False where asking again may help."""
        return self._revoke_id(fetch, lease.lease_id, token)

    def _revoke_id(self, fetch: Fetch, lease_id: str, token: Token) -> bool:
        if not lease_id:
            return True
        call = Call(Purpose.LEASE, "revoking the lease", "sys/leases/revoke", self.read_call.settings)
        try:
            self._client.ask(fetch, call, lambda hvac: hvac.sys.revoke_lease(lease_id), token=token.value)
        except VaultError as error:
            told = error.attempts[0]
            # A lease's id is no secret: whoever has it can do nothing without a token that may revoke.
            fetch.warn(
                self._client.source, f"the lease {lease_id} could not be given back: {told.reason} ({told.advice})"
            )
            return error.is_conclusive
        fetch.note(self._client.source, "gave a lease back")
        return True

    def _lease(self, fetch: Fetch, call: Call, answer: Answer, token: Token, asked_at: float) -> Lease:
        data = answer.get("data")
        data = data if isinstance(data, dict) else {}
        secret = fetch.secret(text(data.get("secret_key")))
        # Older versions write the first name, newer ones the second, or both.
        session = fetch.secret(text(data.get("security_token")) or text(data.get("session_token")))
        key_id = text(data.get("access_key"))
        if not key_id.strip() or not secret.strip():
            advice = "Set ASP_VAULT_PATH to a path of an AWS secrets engine: <mount>/creds/<role>, say"
            missing = "data.access_key" if not key_id.strip() else "data.secret_key"
            raise self._client.unusable(call, f"an answer without {missing}", advice, is_conclusive=True)
        lease_id = text(answer.get("lease_id"))
        seconds = number(answer.get("lease_duration"))
        if lease_id and not seconds:
            raise self._client.unusable(call, "a lease without lease_duration")
        seconds = seconds or number(data.get("ttl")) or None  # data.ttl: a role with no_lease
        kind = Kind.STS if session else Kind.IAM_USER if lease_id else Kind.STATIC
        ends_at = None if seconds is None or kind is Kind.STATIC else asked_at + seconds
        is_renewable = answer.get("renewable") is True and kind is Kind.IAM_USER
        try:
            return Lease(
                clean_key_id("data.access_key", key_id),
                clean_secret("data.secret_key", secret),
                (clean_token("data.security_token", session) or None) if session else None,
                lease_id,
                kind,
                Life(seconds, ends_at, is_renewable=is_renewable),
                token,
                made_at=asked_at,
                fresh_since=asked_at if kind is Kind.IAM_USER else None,
                rotates_at=_moment(data.get("expiration")) or (asked_at + seconds if seconds else None),
            )
        except InvalidValueError as error:
            advice = "Read the path by hand and look at the value: AWS issues none like this"
            raise self._client.unusable(call, f"an unusable value: {error}", advice, is_conclusive=True) from None


def _moment(value: object) -> float | None:
    """Return an RFC 3339 time in seconds since the epoch; None where there is none, or it cannot be read."""
    try:
        moment = datetime.fromisoformat(text(value))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
