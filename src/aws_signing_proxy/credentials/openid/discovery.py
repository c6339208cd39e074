"""Where an issuer's token endpoint is: from the document that it publishes about itself.

OpenID Connect Discovery 1.0 section 4 first, then RFC 8414 section 3, for servers that know OAuth but not OpenID.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from aws_signing_proxy.credentials.fetch import Fetch, Step
from aws_signing_proxy.credentials.http.web_address import shown_address
from aws_signing_proxy.credentials.openid.authorization_server import Answer, Server
from aws_signing_proxy.credentials.openid.token_refusals import ServerRefusedError, refusal
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError

__all__ = ["ServerMetadata", "discover"]

_SETTING: Final = "ASP_OPEN_ID_ISSUER_URL"
_OK: Final = 200
_PASSING_STATUSES: Final = {408, 425, 429}
_OPENID: Final = "/.well-known/openid-configuration"
_OAUTH: Final = "/.well-known/oauth-authorization-server"


class ServerMetadata(NamedTuple):
    """What the server says about itself, as far as it matters here. None where it says nothing."""

    issuer: str
    token_endpoint: str
    authentication_methods: tuple[str, ...] | None
    signing_algorithms: tuple[str, ...] | None


def discover(fetch: Fetch, server: Server, issuer: str) -> ServerMetadata:
    """Return the metadata of `issuer`, an http or https URL.

    Raises:
        CredentialsUnavailableError: The server cannot be asked, publishes no document at either address, or one that
            is not this issuer's or names no token endpoint.
    """
    try:
        return _fetched(fetch, server, issuer, _openid_url(issuer))
    except ServerRefusedError as error:
        # Only "there is no such document": a server that is overloaded has not said so.
        if not 400 <= error.status < 500 or error.status in _PASSING_STATUSES:  # noqa: PLR2004 - 4xx
            raise
        before = error.attempts
    try:
        return _fetched(fetch, server, issuer, _oauth_url(issuer))
    except ServerRefusedError as error:
        advice = (
            f"Set {_SETTING} to the issuer as the server writes it, without {_OPENID}, "
            "or ASP_OPEN_ID_AUTH_SERVER_URL to the token endpoint itself"
        )
        attempts = tuple(Attempt(source, reason, advice) for source, reason, _ in (*before, *error.attempts))
        raise CredentialsUnavailableError(attempts, is_conclusive=error.is_conclusive) from None


def _openid_url(issuer: str) -> str:
    return f"{issuer.rstrip('/')}{_OPENID}"


def _oauth_url(issuer: str) -> str:
    """Return the address by RFC 8414 section 3.1: the well-known part stands between host and path."""
    parts = urlsplit(issuer)
    return urlunsplit((parts.scheme, parts.netloc, f"{_OAUTH}{parts.path.rstrip('/')}", "", ""))


def _fetched(fetch: Fetch, server: Server, issuer: str, url: str) -> ServerMetadata:
    with fetch.step(Step.AUTHORIZATION_SERVER):
        answer = server.ask(fetch, "GET", url, setting=_SETTING, fields={"Accept": "application/json"})
        document = answer.json_object()
        if answer.status != _OK:
            raise refusal(fetch, answer, setting=_SETTING, authentication=None)
        if document is None:
            raise _wrong(
                fetch, answer, "answered 200 OK, but no JSON object", f"Check {_SETTING}: no OpenID provider is there"
            )
        metadata = _checked(fetch, answer, issuer, document)
    fetch.note(answer.source, f"the issuer's token endpoint is {shown_address(metadata.token_endpoint)}")
    return metadata


def _checked(fetch: Fetch, answer: Answer, issuer: str, document: Mapping[str, object]) -> ServerMetadata:
    named = document.get("issuer")
    # RFC 8414 section 3.3: identical to the one that was asked about, or somebody else's document.
    if named != issuer:
        asked = shown_address(issuer) + ("/" if issuer.endswith("/") else "")
        what = f'is the document of issuer "{named}"' if isinstance(named, str) else "names no issuer"
        raise _wrong(
            fetch,
            answer,
            f'{what}, not of "{asked}"',
            f"Set {_SETTING} to the issuer exactly as the server writes it, a slash at its end included",
        )
    endpoint = document.get("token_endpoint")
    if not isinstance(endpoint, str) or not endpoint:
        raise _wrong(
            fetch,
            answer,
            "names no token_endpoint",
            "Set ASP_OPEN_ID_AUTH_SERVER_URL to the token endpoint instead, or ask another server",
        )
    if not endpoint.startswith("https://") and not (issuer.startswith("http://") and endpoint.startswith("http://")):
        raise _wrong(
            fetch,
            answer,
            f"names a token_endpoint that is not https: {shown_address(endpoint)}",
            "Mend the server's own address in its configuration: the client's secret is not sent there unencrypted",
        )
    return ServerMetadata(
        issuer,
        endpoint,
        _words(document.get("token_endpoint_auth_methods_supported")),
        _words(document.get("token_endpoint_auth_signing_alg_values_supported")),
    )


def _words(value: object) -> tuple[str, ...] | None:
    return tuple(word for word in value if isinstance(word, str)) if isinstance(value, list) else None


def _wrong(fetch: Fetch, answer: Answer, reason: str, advice: str) -> CredentialsUnavailableError:
    attempt = Attempt(answer.source, fetch.shown(reason), advice)
    return CredentialsUnavailableError((attempt,), is_conclusive=True)
