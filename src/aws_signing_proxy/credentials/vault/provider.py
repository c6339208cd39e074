"""The `vault` provider: AWS credentials from Vault's AWS secrets engine.

What was lent is kept in order: a lease that was made is remembered before anything else can fail, is renewed instead
of replaced, and is given back when nobody uses it any more.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.model import SETTLING_SECONDS, VAULT_LEAD_SECONDS, Credentials
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError
from aws_signing_proxy.credentials.vault.client import VaultClient
from aws_signing_proxy.credentials.vault.errors import FORBIDDEN, VaultError
from aws_signing_proxy.credentials.vault.leases import Kind, Lease, LeaseKeeper, Renewal
from aws_signing_proxy.credentials.vault.options import VaultOptions
from aws_signing_proxy.credentials.vault.settling import IdentityCheck, Settling
from aws_signing_proxy.credentials.vault.tokens import Token, TokenKeeper

__all__ = ["IdentityCheck", "VaultOptions", "VaultProvider"]

# A request that was signed just before new credentials came may still be on its way.
_GRACE_SECONDS: Final = 60.0
# An IAM user that AWS does not know after so long will not become known: it was deleted, say.
_LONGEST_SETTLING_SECONDS: Final = 300.0
_SOONEST_AGAIN_SECONDS: Final = 1.0
# Clocks are corrected by less all the time.
_CLOCK_SET_BACK_SECONDS: Final = 5.0


class VaultProvider:
    """Fetches credentials from Vault; keeps its token and its lease alive.

    `sts` tells whether AWS knows a fresh IAM user already; without it a fixed time is waited. `environ` has the
    variables of HTTP proxies, and OpenSSL's for trusted certificates.
    """

    name = "vault"
    is_local = False

    def __init__(
        self, options: VaultOptions, *, sts: IdentityCheck | None = None, environ: Mapping[str, str] = os.environ
    ) -> None:
        self._options = options
        self._client = VaultClient(options, environ)
        self._tokens = TokenKeeper(self._client, options)
        self._leases = LeaseKeeper(self._client, options)
        self._source = f"{self._client.source}, {options.path}"
        self._settling = Settling(sts, self._source, options.settling_timeout_seconds)
        self._held: Lease | None = None
        """What was handed out last."""
        self._fresh: Lease | None = None
        """What was made and not handed out yet: AWS does not know it, or its services may not."""
        self._last_asked_at = 0.0
        self._superseded: list[tuple[float, Lease]] = []
        """What was handed out before, and when it is given back (seconds since the epoch)."""

    def has_changed(self) -> bool:
        """Whether the token file has changed since it was read."""
        return self._tokens.has_changed()

    def retrieve(self, fetch: Fetch) -> Credentials:
        """Return the credentials that are held, kept alive, or new ones where those end soon or `fetch` is forced.

        Raises:
            CredentialsUnavailableError: Vault or AWS refused or could not be asked; or AWS does not know the new IAM
                user yet: the next call goes on with the same one.
        """
        self._mask(fetch)
        try:
            is_clock_wrong = fetch.now() < self._last_asked_at - _CLOCK_SET_BACK_SECONDS
            if is_clock_wrong:
                # What was written down by the old clock would be kept beyond its end.
                self._tokens.forget()
            token = self._current_token(fetch)
            held = None if is_clock_wrong or fetch.is_forced else self._held_on(fetch, token)
            may_keep = not (is_clock_wrong or fetch.is_refused)
            lease = held or self._settled(fetch, token, may_keep=may_keep)
            self._last_asked_at = fetch.now()
            self._give_back_superseded(fetch)
            self._tokens.revoke_unused(fetch, self._used_tokens())
            return self._credentials(fetch, lease)
        finally:
            self._client.rest()

    def close(self, fetch: Fetch) -> None:
        """Revoke every lease that is held, and the tokens that were logged in for; failures are logged."""
        self._mask(fetch)
        token = self._tokens.kept
        try:
            for lease in self._lent():
                self._leases.revoke(fetch, lease, token or lease.token)
            self._tokens.revoke_all(fetch)
        finally:
            self._held = self._fresh = None
            self._superseded = []
            self._client.rest()

    def _mask(self, fetch: Fetch) -> None:
        """Make known what is secret among the settings and in what is kept, before any message can quote it."""
        password = self._options.url.rpartition("@")[0].rpartition(":")[2] if "@" in self._options.url else ""
        for value in (self._options.token, self._options.secret_id, password):
            fetch.secret((value or "").strip())
        for token in self._tokens.all():
            fetch.secret(token.value)
        for lease in (*(lease for _, lease in self._superseded), self._held, self._fresh):
            if lease is not None:
                fetch.secret(lease.secret_access_key)
                fetch.secret(lease.session_token or "")

    def _lent(self) -> list[Lease]:
        leases = [lease for _, lease in self._superseded]
        return [lease for lease in (*leases, self._held, self._fresh) if lease is not None and lease.lease_id]

    def _used_tokens(self) -> list[Token]:
        kept = self._tokens.kept
        return [lease.token for lease in self._lent()] + ([kept] if kept is not None else [])

    def _current_token(self, fetch: Fetch) -> Token:
        """Return a token that lives; where none can be had, that of the lease that is made already."""
        try:
            return self._tokens.current(fetch)
        except CredentialsUnavailableError as error:
            fresh = self._fresh
            if fresh is None or fresh.life.is_near_its_end(fetch.now()):
                raise
            fetch.warn(self._source, f"the new IAM user is used all the same: {error}")
            return fresh.token

    def _held_on(self, fetch: Fetch, token: Token) -> Lease | None:
        """Return the lease that was handed out, kept alive; None where another one is needed."""
        lease = self._held
        if lease is None or self._fresh is not None or lease.kind is Kind.STATIC:
            return None
        renew_at = lease.life.renew_at()
        if renew_at is not None and fetch.now() >= renew_at and not self._renewed(fetch, lease, token):
            lease.is_lost = True
            return None
        now = fetch.now()
        if lease.life.ends_at is None or lease.life.is_near_its_end(now):
            return None
        if lease.kind is Kind.IAM_USER and lease.token.life.is_near_its_end(now):
            if lease.token is token and not self._tokens.can_be_replaced():
                raise self._token_ends()
            return None
        return lease

    def _renewed(self, fetch: Fetch, lease: Lease, token: Token) -> bool:
        """Renew the lease; return whether it lives on, at least to its end."""
        outcome = self._leases.renew(fetch, lease, token)
        if outcome is not Renewal.FORBIDDEN:
            return outcome is Renewal.DONE
        # A dead token has taken its IAM users with it; a policy without sys/leases/renew has not.
        return self._tokens.is_alive(fetch, token)

    def _token_ends(self) -> CredentialsUnavailableError:
        reason = "the Vault token ends soon and cannot be renewed, and the IAM user that it made ends with it"
        advice = (
            "Put a new token into ASP_VAULT_AUTH_TOKEN or ASP_VAULT_AUTH_TOKEN_FILE; a periodic one, or a login, needs "
            "nobody"
        )
        return CredentialsUnavailableError((Attempt(self._source, reason, advice),), is_conclusive=True)

    def _settled(self, fetch: Fetch, token: Token, *, may_keep: bool) -> Lease:
        """Return new credentials that AWS knows; what AWS does not know yet is kept for the next call.

        With `may_keep` the old ones are returned while they are good and the new ones are younger than services need.
        """
        lease = self._still_fresh(fetch, token)
        if lease is None:
            lease = self._fresh = self._made(fetch, token)
        held = self._held
        is_same = held is not None and held.access_key_id == lease.access_key_id
        if held is not None and lease.kind is Kind.STATIC:
            lease.fresh_since = held.fresh_since if is_same else lease.made_at
        if lease.kind is not Kind.STS and not is_same:
            if not lease.is_known:
                self._settling.wait(fetch, self._plain(lease), lease.made_at)
                lease.is_known = True
            if held is not None and may_keep and not held.is_lost and fetch.now() < _change_at(held, lease):
                return held
        self._held, self._fresh = lease, None
        if held is not None and held.kind is Kind.IAM_USER:
            self._superseded.append((fetch.now() + _GRACE_SECONDS, held))
        return lease

    def _still_fresh(self, fetch: Fetch, token: Token) -> Lease | None:
        """Return what an earlier call made and did not hand out, unless waiting for it has become pointless."""
        lease, now = self._fresh, fetch.now()
        if lease is None:
            return None
        is_dying = lease.life.is_near_its_end(now) or (
            lease.token is not token and lease.token.life.is_near_its_end(now)
        )
        if not is_dying and now - lease.made_at < _LONGEST_SETTLING_SECONDS:
            return lease
        self._superseded.append((now, lease))
        self._fresh = None
        return None

    def _made(self, fetch: Fetch, token: Token) -> Lease:
        try:
            return self._leases.make(fetch, token)
        except VaultError as error:
            if error.status != FORBIDDEN:
                raise
            other = self._tokens.replacement(fetch, token)
            if other is None:
                raise
        fetch.note(self._client.source, "the token was refused, so another one was taken")
        return self._leases.make(fetch, other)

    def _give_back_superseded(self, fetch: Fetch) -> None:
        """Revoke what nobody uses any more; where Vault could not be asked, once more at a later call."""
        now, token = fetch.now(), self._tokens.kept
        for at, lease in self._superseded.copy():
            has_ended = lease.expires_at is not None and lease.expires_at <= now
            if at > now and not has_ended:
                continue
            self._superseded.remove((at, lease))
            if not has_ended and not self._leases.revoke(fetch, lease, token or lease.token):
                self._superseded.append((now + _GRACE_SECONDS, lease))

    def _plain(self, lease: Lease) -> Credentials:
        return Credentials(
            lease.access_key_id,
            lease.secret_access_key,
            lease.session_token,
            expires_at=lease.expires_at,
            source=self._source,
            lead_seconds=VAULT_LEAD_SECONDS,
            fresh_since=lease.fresh_since,
        )

    def _credentials(self, fetch: Fetch, lease: Lease) -> Credentials:
        credentials = self._plain(lease)
        now = fetch.now()
        # A superseded lease that ends by itself before it would be given back needs nobody to come for it.
        due = [at for at, old in self._superseded if old.expires_at is None or old.expires_at > at]
        moments = [lease.ask_again_at(now) if self._fresh is None else _change_at(lease, self._fresh), *due]
        if (token := self._tokens.kept) is not None:
            moments.append(token.life.renew_at())
        known = [moment for moment in moments if moment is not None]
        if known:
            credentials.ask_again_at = max(min(known), now + _SOONEST_AGAIN_SECONDS)
        return credentials


def _change_at(held: Lease, fresh: Lease) -> float:
    """Return when new keys take the place of those in use: services know them by then, and the old ones still live."""
    # AWS lets a user have two keys: the old one of a static role lives until the new one is rotated.
    ends_at = fresh.rotates_at if held.kind is Kind.STATIC else held.expires_at
    seconds = SETTLING_SECONDS if ends_at is None else min(SETTLING_SECONDS, (ends_at - fresh.made_at) / 2)
    return fresh.made_at + seconds
