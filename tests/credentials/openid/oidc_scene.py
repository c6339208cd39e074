"""What the tests of the `oidc` provider share: an STS that does as it is told, a fetch with a redactor, options."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from aws_signing_proxy.credentials.fetch import Fetch, Step
from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.credentials.openid.provider import OpenIdOptions, OpenIdProvider
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError
from aws_signing_proxy.observe.redaction import Redactor

ROLE = "arn:aws:iam::123456789012:role/search"
STS_REFUSED = CredentialsUnavailableError(
    (Attempt("STS", "answered AccessDenied", "Check the role's trust policy"),), is_conclusive=True
)
STS_DOWN = CredentialsUnavailableError((Attempt("STS", "answered 503", "Wait"),))


class FakeSts:
    """Takes every token, unless `error` is set; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.error: CredentialsUnavailableError | None = None

    def assume_role_with_web_identity(
        self, fetch: Fetch, *, role_arn: str, session_name: str, token: str, duration_seconds: int | None
    ) -> Credentials:
        self.asked.append(
            {
                "role_arn": role_arn,
                "session_name": session_name,
                "token": token,
                "duration_seconds": duration_seconds,
            }
        )
        with fetch.step(Step.STS):
            if self.error is not None:
                raise self.error
        number = len(self.asked)
        return Credentials(f"ASIA{number:016}", f"secret-{number}", f"session-{number}", source="sts")

    @property
    def tokens(self) -> list[str]:
        return [call["token"] for call in self.asked]


def fetch_of(
    *,
    timeout_seconds: float = 5.0,
    is_forced: bool = False,
    clock: Callable[[], float] = time.time,
    redactor: Redactor | None = None,
) -> Fetch:
    """Return a fetch that masks as the program's log does."""
    redactor = redactor or Redactor()
    return Fetch(
        timeout_seconds=timeout_seconds,
        is_forced=is_forced,
        clock=clock,
        keep_secret=redactor.register,
        mask=redactor.mask,
    )


def options_of(token_endpoint: str | None = None, **changes: Any) -> OpenIdOptions:
    """Return options as the original's users have them: URL, id and secret."""
    return OpenIdOptions(
        **{
            "client_id": "client-1",
            "role_arn": ROLE,
            "token_endpoint": token_endpoint,
            "client_secret": "original-secret",
            **changes,
        }
    )


def oauth_options_of(token_endpoint: str | None = None, **changes: Any) -> OpenIdOptions:
    """Return options for a server of OAuth 2.0, as the stand-in expects them."""
    return options_of(token_endpoint, **{"dialect": "oauth2", "client_secret": "oauth-secret", **changes})


def failure_of(provider: OpenIdProvider, fetch: Fetch | None = None) -> CredentialsUnavailableError:
    """Return the error that a retrieve ends with."""
    try:
        provider.retrieve(fetch or fetch_of())
    except CredentialsUnavailableError as error:
        return error
    raise AssertionError("it succeeded")


def notes_of(fetch: Fetch) -> str:
    return "\n".join(f"{source}: {text}" for source, text in fetch.notes)
