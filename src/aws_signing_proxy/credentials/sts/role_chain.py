"""Roles that are assumed in turn, on top of the credentials of any other provider."""

from __future__ import annotations

from typing import Final

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError, Provider
from aws_signing_proxy.credentials.sts.errors import INVALID_CREDENTIALS_CODES
from aws_signing_proxy.credentials.sts.service import AssumedRole, SecurityTokenService, StsRefusedError

__all__ = ["RoleChainProvider"]

# A new IAM user, as Vault makes them, is unknown to STS for some 5 to 10 s: IAM tells its regions one by one.
_SETTLING_PAUSES_SECONDS: Final = (0.5, 1.0, 1.5, 2.0, 2.5, 2.5)
_UNKNOWN_USER: Final = "InvalidClientTokenId"
# When the base, which could not be asked, is asked again.
_ASK_AGAIN_SECONDS: Final = 60.0


class RoleChainProvider:
    """Asks `base`, and assumes the roles in turn: the first with its credentials, the second with the first's.

    The credentials of `base` are kept: assumed sessions last an hour, and to ask Vault or an authorization server
    each time would make users and tokens that nobody needs.
    """

    is_local = False

    def __init__(self, base: Provider, roles: tuple[AssumedRole, ...], *, sts: SecurityTokenService) -> None:
        if not roles:
            raise ValueError("no role to assume")
        self.name = base.name
        self._base = base
        self._roles = roles
        self._sts = sts
        self._kept: Credentials | None = None
        # Seconds since the epoch; None: for as long as nothing happens.
        self._kept_until: float | None = None

    def has_changed(self) -> bool:
        """Whether the base may hold others than at the last fetch."""
        return self._base.has_changed()

    def close(self, fetch: Fetch) -> None:
        """Close the connections to STS, and let the base give back what was lent to it."""
        self._kept = None
        try:
            self._base.close(fetch)
        finally:
            self._sts.close()

    def retrieve(self, fetch: Fetch) -> Credentials:
        """Return credentials of the last role.

        They end when that session does. When the base wants to be asked (`ask_again_at`: to keep a token alive, say)
        so do they; the end of the base's own credentials does not matter to sessions that were had with them.

        Raises:
            CredentialsUnavailableError: The base has none, or a role could not be assumed; which one is said.
        """
        # What a service refuses is the last role's session; only STS can say that of the base.
        fetch.is_refused = False
        base, is_kept = self._base_credentials(fetch)
        try:
            assumed = self._assume_all(fetch, base, is_new=not is_kept)
        except StsRefusedError as error:
            if error.code == _UNKNOWN_USER and base.is_settling(fetch.now()):
                # Another user would be younger still; this one is asked for again.
                raise StsRefusedError(error.attempts, code=error.code, is_conclusive=False) from None
            if error.code not in INVALID_CREDENTIALS_CODES or fetch.is_forced or not fetch.remaining_seconds:
                raise
            if not is_kept and error.code == _UNKNOWN_USER:
                raise
            # What is kept will not do, here or in the base.
            fetch.is_forced = fetch.is_refused = True
            base, _ = self._base_credentials(fetch)
            assumed = self._assume_all(fetch, base, is_new=True)
        ask_again_at = base.ask_again_at
        if ask_again_at is not None and ask_again_at <= fetch.now():
            ask_again_at = fetch.now() + _ASK_AGAIN_SECONDS
        assumed.ask_again_at = ask_again_at
        return assumed

    def _base_credentials(self, fetch: Fetch) -> tuple[Credentials, bool]:
        """Return the base's credentials, and whether they are kept ones."""
        kept = self._kept
        if (
            kept is not None
            and not fetch.is_forced
            and not self._base.is_local  # costs nothing to ask
            and not self._base.has_changed()
            and (self._kept_until is None or fetch.now() < self._kept_until)
        ):
            return kept, True
        try:
            base = self._base.retrieve(fetch)
        except CredentialsUnavailableError as error:
            if kept is None or fetch.is_forced or error.is_conclusive or kept.is_expired(fetch.now()):
                raise
            fetch.note(self.name, f"could not be asked, so that its earlier credentials are used: {error}")
            return kept, True
        for secret in base.secrets():
            fetch.secret(secret)
        if base.is_expired(fetch.now()):
            attempt = Attempt(base.source, "its credentials are over already", "Check its clock and this machine's")
            raise CredentialsUnavailableError((attempt,))
        self._kept = base
        self._kept_until = _keep_until(base, fetch.now())
        return base, False

    def _assume_all(self, fetch: Fetch, base: Credentials, *, is_new: bool) -> Credentials:
        credentials = base
        for number, role in enumerate(self._roles, start=1):
            # Only keys without a token are those of a user, and only a remote source makes users.
            is_user = base.session_token is None and not self._base.is_local
            is_new_user = number == 1 and is_user and (is_new or base.is_settling(fetch.now()))
            try:
                credentials = self._assume(fetch, credentials, role, is_new_user=is_new_user)
            except CredentialsUnavailableError as error:
                raise self._with_hop(error, number, credentials) from None
        return credentials

    def _assume(self, fetch: Fetch, base: Credentials, role: AssumedRole, *, is_new_user: bool) -> Credentials:
        """Assume one role; with the keys of a new user, try for a while."""
        for pause in _SETTLING_PAUSES_SECONDS if is_new_user else ():
            try:
                return self._sts.assume_role(fetch, base, role)
            except StsRefusedError as error:
                if error.code != _UNKNOWN_USER or fetch.remaining_seconds <= pause:
                    raise
            fetch.note(base.source, f"STS does not know these keys yet; it is asked again after {pause:g} s")
            fetch.pause(pause)
        return self._sts.assume_role(fetch, base, role)

    def _with_hop(
        self, error: CredentialsUnavailableError, number: int, used: Credentials
    ) -> CredentialsUnavailableError:
        """Say at which role, and with whose credentials, it failed."""
        hop = f"role {number} of {len(self._roles)}, with the credentials of {used.source}"
        attempts = tuple(Attempt(source, f"{hop}: {reason}", advice) for source, reason, advice in error.attempts)
        if isinstance(error, StsRefusedError):
            return StsRefusedError(attempts, code=error.code, is_conclusive=error.is_conclusive)
        return CredentialsUnavailableError(attempts, is_conclusive=error.is_conclusive, advice=error.advice)


def _keep_until(base: Credentials, now: float) -> float | None:
    """Return until when the base need not be asked: its own wish, or its end less the lead, whichever is first."""
    moments = [] if base.ask_again_at is None else [base.ask_again_at]
    if base.expires_at is not None:
        lead = min(base.lead_seconds, (base.expires_at - now) / 4)
        moments.append(base.expires_at - lead)
    return min(moments, default=None)
