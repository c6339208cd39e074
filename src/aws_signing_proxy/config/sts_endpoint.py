"""AWS_ENDPOINT_URL_STS: no setting of ours, but where STS is asked it has to be the URL of a server.

AWS SDKs and Tools Reference Guide, "Service-specific endpoints".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_signing_proxy.config.kinds import show_url
from aws_signing_proxy.config.notation import UnexpectedValueError
from aws_signing_proxy.config.problems import Problem
from aws_signing_proxy.config.values import CredentialsProvider, TargetUrl

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aws_signing_proxy.config.sources import Candidate

__all__ = ["broken_sts_endpoint"]

_VARIABLES: Final = ("AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL")
# These fetch nothing without STS. Elsewhere it is asked on the way, or by the SDKs' chain, which has its own rules.
_PROVIDERS: Final = frozenset({CredentialsProvider.IRSA, CredentialsProvider.OIDC})
_EXPECTED: Final = "the URL of STS with its scheme, https://..."


def broken_sts_endpoint(candidates: Mapping[str, Candidate], environ: Mapping[str, str]) -> Iterator[Problem]:
    """Yield what is wrong with the variable that counts, where no credentials can be had without STS."""
    if candidates["credentials_provider"].value not in _PROVIDERS and not candidates["assume_role_arns"].value:
        return
    if environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").strip().lower() == "true":
        return
    for name in _VARIABLES:
        if text := environ.get(name, "").strip():
            if not _is_url(text):
                yield Problem(name, show_url(text), _EXPECTED)
            return


def _is_url(text: str) -> bool:
    scheme, mark, rest = text.partition("://")
    address, _, _ = rest.partition("?")
    try:
        # A user is no part of what is asked, and nothing here says that there may be none.
        TargetUrl.parse(f"{scheme}://{address.rpartition('@')[2]}")
    except UnexpectedValueError:
        return False
    return bool(mark)
