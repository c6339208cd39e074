"""The `awstoken` provider: static credentials, from the environment first, then from the shared files."""

from __future__ import annotations

from collections.abc import Mapping

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.credentials.provider import CredentialsUnavailableError, NothingFoundError
from aws_signing_proxy.credentials.static.environment import EnvironmentProvider
from aws_signing_proxy.credentials.static.shared_files import SharedFilesProvider

__all__ = ["AwsTokenProvider"]


class AwsTokenProvider:
    """Takes the environment's key pair where one is set, else that of a profile in the shared files.

    An environment with half a key pair is an error: nothing else is used, so that no request is signed
    as somebody whom the user did not mean.
    """

    name = "awstoken"
    is_local = True

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environment = EnvironmentProvider(environ)
        self._files = SharedFilesProvider(environ)

    def has_changed(self) -> bool:
        """Whether the files have changed; never where the environment has a key pair: they are not asked then."""
        return self._files.has_changed()

    def close(self, fetch: Fetch) -> None:
        """Nothing was lent."""

    def retrieve(self, fetch: Fetch) -> Credentials:
        """Return the first credentials found.

        Raises:
            CredentialsUnavailableError: With every place that was looked at.
        """
        try:
            return self._environment.retrieve(fetch)
        except CredentialsUnavailableError as error:
            if error.is_conclusive:
                raise
            before = error.attempts
        try:
            return self._files.retrieve(fetch)
        except CredentialsUnavailableError as error:
            attempts = before + error.attempts
            if not error.is_conclusive:
                raise NothingFoundError(attempts) from None
            raise CredentialsUnavailableError(attempts, is_conclusive=True) from None
