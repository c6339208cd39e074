"""The `default` provider: the AWS SDK's own chain, as botocore has it, without botocore where that changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from aws_signing_proxy.credentials.fetch import Fetch, Step
from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError
from aws_signing_proxy.credentials.sdk.static_shortcut import StaticShortcut

if TYPE_CHECKING:
    from aws_signing_proxy.credentials.sdk.chain import SdkChain

__all__ = ["DefaultChainProvider"]


class DefaultChainProvider:
    """Finds what every AWS tool in Python would find here, in the same order.

    Static keys of the environment, or of a profile with nothing else, are read by our own providers; for everything
    else botocore is imported, at the first `retrieve` that needs it, and asked anew each time. It reads `os.environ`
    (the container's and the web identity's variables, endpoints, AWS_CA_BUNDLE, the proxy variables); `environ`, which
    in production is the same, says which shortcut is taken, which profile and files are meant, and the region for STS
    (AWS_REGION, which botocore alone does not know; then AWS_DEFAULT_REGION and the profile's).

    Unlike botocore it stops at half a key pair in the environment, and at a file that cannot be read; it asks no
    terminal for an MFA code, and the metadata services never through a proxy.
    """

    name = "default"

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._shortcut = StaticShortcut(environ)
        self._files = self._shortcut.files
        self._chain: SdkChain | None = None

    @property
    def is_local(self) -> bool:
        """Whether the environment or the files have what the chain would find: neither botocore nor a server is asked.

        Two calls of `stat` where the files are as they were at the last look. A file that changes between this and
        `retrieve` is no reason to ask a server there: `retrieve` is told what was said here (`Fetch.is_local`).
        """
        return self._shortcut.provider() is not None

    def has_changed(self) -> bool:
        """Whether either shared file has changed since the last fetch; never where the environment has the keys."""
        return not self._shortcut.is_environment and self._files.has_changed()

    def close(self, fetch: Fetch) -> None:
        """Nothing was lent: roles and leases end by themselves."""

    def retrieve(self, fetch: Fetch) -> Credentials:
        """Return the first credentials of the chain, asked for now.

        Raises:
            CredentialsUnavailableError: No place has any; with every place. Or a place is configured and fails: with
                that one alone, conclusive where its server refused or its configuration is broken. Or the files have
                changed since `is_local` was asked, so that a server would have to be.
        """
        if self._files.has_changed():
            self._chain = None
        self._files.watch()
        provider = self._shortcut.provider()
        if provider is not None:
            return provider.retrieve(fetch)
        if fetch.is_local:
            attempt = Attempt("the AWS files", "changed while they were looked at", "They are read again in a moment")
            raise CredentialsUnavailableError((attempt,))
        with fetch.step(Step.SDK):
            if self._chain is None:
                from aws_signing_proxy.credentials.sdk.chain import SdkChain

                self._chain = SdkChain(self._environ)
            return self._chain.retrieve(fetch)
