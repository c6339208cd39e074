"""The `oidc` provider: a token from an authorization server, and for it credentials of a role from STS.

The server authenticates the client (`client_authentication`) in one of two dialects (`token_request`); where only its
issuer is known it is asked for its token endpoint first (`openid_discovery`). STS judges the token; what the token says
about itself is told beside a refusal (`identity_token`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, Protocol

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.credentials.openid.identity_token import IdentityToken
from aws_signing_proxy.credentials.openid.options import OpenIdOptions
from aws_signing_proxy.credentials.openid.token_request import TokenRequest
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError
from aws_signing_proxy.credentials.watched_files import FailureWatch

__all__ = ["OpenIdOptions", "OpenIdProvider", "WebIdentityExchange"]

# A kept token is shown to STS again only if it will surely not expire on the way.
_SHORTEST_REST_SECONDS: Final = 60.0
# By our clock, which may be wrong: beyond it a token is not even shown.
_CLOCK_TOLERANCE_SECONDS: Final = 300.0


class WebIdentityExchange(Protocol):
    """STS, as far as it is needed here: a token for the credentials of a role (AssumeRoleWithWebIdentity)."""

    def assume_role_with_web_identity(
        self, fetch: Fetch, *, role_arn: str, session_name: str, token: str, duration_seconds: int | None
    ) -> Credentials:
        """Return the role's credentials. Measures its step, and makes the session name valid.

        Raises:
            CredentialsUnavailableError: Conclusive where STS refused.
        """


class OpenIdProvider:
    """Asks the authorization server, then STS.

    Each fetch asks for a new token. The last one is kept only while STS could not be asked with it: an outage of STS
    is none of the authorization server's business, and a token that served its purpose has none in memory.

    `environ` has the variables of HTTP proxies, and OpenSSL's for trusted certificates.
    """

    name = "oidc"
    is_local = False

    def __init__(
        self, options: OpenIdOptions, *, sts: WebIdentityExchange, environ: Mapping[str, str] = os.environ
    ) -> None:
        self._options = options
        self._sts = sts
        self._request = TokenRequest(options, environ)
        self._kept: IdentityToken | None = None
        self._files = FailureWatch(options.client_secret_file, options.key_file)

    def has_changed(self) -> bool:
        """Whether the client's secret or key has changed since a fetch that failed.

        After a success never: a new one changes nothing about credentials that are good.
        """
        return self._files.has_changed()

    def close(self, fetch: Fetch) -> None:  # noqa: ARG002 - nobody is asked
        """Forget the token. Nothing was lent: connections are closed after each request."""
        self._kept = None

    def retrieve(self, fetch: Fetch) -> Credentials:
        """Return the credentials of the role.

        Raises:
            CredentialsUnavailableError: The authorization server or STS refused, or could not be asked.
        """
        with self._files:
            token = self._token(fetch)
        try:
            return self._sts.assume_role_with_web_identity(
                fetch,
                role_arn=self._options.role_arn,
                session_name=self._options.client_id,
                token=token.value,
                duration_seconds=self._options.session_duration_seconds,
            )
        except CredentialsUnavailableError as error:
            if error.is_conclusive and error.attempts:
                raise _with_claims(fetch, error, token) from None
            self._kept = token
            raise

    def _token(self, fetch: Fetch) -> IdentityToken:
        kept, self._kept = self._kept, None
        if kept is not None and not fetch.is_forced and kept.lives_until(fetch.now() + _SHORTEST_REST_SECONDS):
            fetch.secret(kept.value)
            fetch.note(self._source, f"its last {kept.kind} is still good: {kept.describe(fetch.now())}")
            return kept
        token = self._request.fetch_token(fetch)
        if token.expires_at is not None and token.expires_at + _CLOCK_TOLERANCE_SECONDS <= fetch.now():
            raise CredentialsUnavailableError(
                (
                    Attempt(
                        self._source,
                        fetch.shown(f"issued an {token.kind} that has expired: {token.describe(fetch.now())}"),
                        "Set the clocks of this machine and of the authorization server",
                    ),
                ),
                is_conclusive=True,
            )
        return token

    @property
    def _source(self) -> str:
        return f"authorization server {self._request.place}"


def _with_claims(fetch: Fetch, error: CredentialsUnavailableError, token: IdentityToken) -> CredentialsUnavailableError:
    """Return STS's refusal with what the token says about itself: a wrong audience or subject is the usual reason."""
    *before, last = error.attempts
    parts = []
    if token.problem is not None:
        parts.append(token.problem)
    # STS's client may have told them already; it cannot know of the rest.
    elif 'aud "' not in last.reason:
        parts.append(f"the {token.kind} says {token.describe(fetch.now())}")
    if token.authorized_party is not None:
        parts.append(f"AWS compares the token's azp {token.authorized_party} with the audience, not its aud")
    if not parts:
        return error
    advised = Attempt(last.source, last.reason, f"{last.advice}; {fetch.shown('; '.join(parts))}")
    return CredentialsUnavailableError((*before, advised), is_conclusive=True)
