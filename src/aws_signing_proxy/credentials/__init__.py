"""Credentials: where they come from, and the one object that requests take them from.

`model` is what credentials are. `provider` is what a source of them is, and how it says that it has none. One
file a source: `environment`, `shared_files`; `awstoken` puts these two in order. `store` owns the credentials
in use: it fetches in the background, keeps valid ones when a fetch fails, and never hands out expired ones.

A source that is configured but broken is an error, never a reason to look elsewhere: requests would be signed as
somebody whom the user did not mean. The configured provider is the only one used.
"""

from __future__ import annotations

from collections.abc import Mapping

from aws_signing_proxy.credentials.awstoken import AwsTokenProvider
from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError, Provider
from aws_signing_proxy.credentials.store import CredentialStore

__all__ = [
    "Attempt",
    "CredentialStore",
    "Credentials",
    "CredentialsUnavailableError",
    "Provider",
    "ProviderNotSupportedError",
    "provider_for",
]


class ProviderNotSupportedError(ValueError):
    """The configured provider is not one that this version has. Nothing is used in its place."""


def provider_for(name: str | None, environ: Mapping[str, str]) -> Provider:
    """Return the provider called `name` (a value of ASP_CREDENTIALS_PROVIDER; None where it is unset).

    Raises:
        ProviderNotSupportedError: This version has no such provider.
    """
    match name:
        case None | "" | "default" | "awstoken":
            return AwsTokenProvider(environ)
        case _:
            raise ProviderNotSupportedError(
                f"the credentials provider {name!r} is not available in this version; "
                "set ASP_CREDENTIALS_PROVIDER to awstoken, or leave it unset"
            )
