"""How a token is asked for: in the original's dialect, or in OAuth 2.0's; and which of them a server speaks.

Where nothing is set but what the original knows, its dialect is tried first: for its users nothing changes, not even
by one request. Where something is set that only OAuth 2.0 has a place for, nothing else is tried. What a server
spoke is remembered; the other dialect is tried again only where an answer says "I do not understand", not where it says
"no". Where a fetch is forced either will do: the server may have become another one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final, Literal, NamedTuple, TypeAlias

from aws_signing_proxy.credentials.fetch import Fetch, Step
from aws_signing_proxy.credentials.http.web_address import is_loopback, shown_address
from aws_signing_proxy.credentials.openid.authorization_server import Answer, Server
from aws_signing_proxy.credentials.openid.client_authentication import authenticate, client_secret, method_for
from aws_signing_proxy.credentials.openid.discovery import ServerMetadata, discover
from aws_signing_proxy.credentials.openid.identity_token import IdentityToken, TokenMissingError, token_of
from aws_signing_proxy.credentials.openid.options import OpenIdOptions
from aws_signing_proxy.credentials.openid.token_refusals import ServerRefusedError, refusal
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError

__all__ = ["TokenRequest"]

_Dialect: TypeAlias = Literal["json", "oauth2"]

# How a server that speaks the other dialect may answer the first request: by what its framework makes of a body that it
# cannot read. 404, 405, 429 and 5xx say nothing about the dialect.
_STATUSES_OF_STRANGERS: Final = {400, 401, 403, 406, 415, 422}
# Of a server that is known to speak one, only these say that it has changed; 401 and 403 say that the client has.
_STATUSES_OF_CHANGED: Final = {400, 406, 415, 422}
# Where what is known is doubted: all but those that say "later".
_REFUSALS: Final = set(range(400, 500)) - {408, 425, 429}
# OAuth 2.0's ways to say that it did not find the parameters of its request (RFC 6749 section 5.2).
_CODES_OF_STRANGERS: Final = {None, "invalid_request", "unsupported_grant_type"}
_MEANING_CLIENT: Final = {401, 403}


class _Endpoint(NamedTuple):
    """Where tokens are, by which setting, and what the server says about itself (None where nobody asked)."""

    url: str
    setting: str
    audience: str
    metadata: ServerMetadata | None


class TokenRequest:
    """Asks for tokens, and remembers the token endpoint and the dialect from one time to the next."""

    def __init__(self, options: OpenIdOptions, environ: Mapping[str, str]) -> None:
        self._options = options
        self._server = Server(options.ca_bundle, environ)
        self._spoken: _Dialect | None = None
        self._metadata: ServerMetadata | None = None

    def fetch_token(self, fetch: Fetch) -> IdentityToken:
        """Return a new token.

        Raises:
            CredentialsUnavailableError: With every attempt, and what the server said to it.
        """
        if fetch.is_forced:
            self._metadata = None
        endpoint = self._endpoint(fetch)
        try:
            return self._asked(fetch, endpoint)
        except CredentialsUnavailableError:
            # The server may have moved: its document is to be read again.
            self._metadata = None
            raise

    @property
    def place(self) -> str:
        """The server, for messages: its token endpoint, or its issuer while that is not known."""
        return shown_address(self._options.token_endpoint or self._options.issuer or "")

    def _endpoint(self, fetch: Fetch) -> _Endpoint:
        options = self._options
        if options.token_endpoint:
            endpoint = _Endpoint(
                options.token_endpoint,
                "ASP_OPEN_ID_AUTH_SERVER_URL",
                options.issuer or options.token_endpoint,
                None,
            )
        else:
            if self._metadata is None:
                self._metadata = discover(fetch, self._server, options.issuer or "")
            found = self._metadata
            endpoint = _Endpoint(found.token_endpoint, "ASP_OPEN_ID_ISSUER_URL", found.issuer, found)
        if endpoint.url.startswith("http://") and not is_loopback(endpoint.url):
            fetch.note(
                f"authorization server {shown_address(endpoint.url)}",
                "the connection is not encrypted: who sees it reads the client's secret and the token; use https",
            )
        return endpoint

    def _asked(self, fetch: Fetch, endpoint: _Endpoint) -> IdentityToken:
        chosen = self._options.dialect
        if chosen == "oauth2" or (chosen == "auto" and self._options.needs_oauth2):
            return self._ask(fetch, endpoint, "oauth2")
        if chosen == "json":
            return self._ask(fetch, endpoint, "json")
        first: _Dialect = self._spoken or "json"
        try:
            return self._found(fetch, endpoint, first)
        except ServerRefusedError as error:
            is_doubted = fetch.is_forced and self._spoken is not None and error.status in _REFUSALS
            if not is_doubted and not _may_speak_otherwise(error, first, is_known=self._spoken is not None):
                raise
            before = error
        try:
            return self._found(fetch, endpoint, "json" if first == "oauth2" else "oauth2")
        except CredentialsUnavailableError as error:
            raise _both(before, error, first) from None

    def _found(self, fetch: Fetch, endpoint: _Endpoint, dialect: _Dialect) -> IdentityToken:
        token = self._ask(fetch, endpoint, dialect)
        if self._spoken != dialect:
            self._spoken = dialect
            fetch.note(
                f"authorization server {shown_address(endpoint.url)}",
                f"it speaks the dialect {dialect}, which ASP_OPEN_ID_DIALECT={dialect} would say at once",
            )
        return token

    def _ask(self, fetch: Fetch, endpoint: _Endpoint, dialect: _Dialect) -> IdentityToken:
        write: Callable[[Fetch, _Endpoint], _Request] = self._json if dialect == "json" else self._oauth2
        request = write(fetch, endpoint)
        with fetch.step(Step.AUTHORIZATION_SERVER):
            answer = self._server.ask(
                fetch, "POST", endpoint.url, setting=endpoint.setting, fields=request.fields, body=request.body
            )
            token = self._read(fetch, answer, endpoint, request.authentication)
        fetch.secret(token.value)
        how = "the original's dialect" if dialect == "json" else f"OAuth 2.0, {request.authentication}"
        fetch.note(answer.source, f"issued an {token.kind} ({how}): {token.describe(fetch.now())}")
        return token

    def _json(self, fetch: Fetch, _endpoint: _Endpoint) -> _Request:
        """Write the original's request."""
        secret = client_secret(fetch, self._options)
        body = json.dumps({"identity": self._options.client_id, "secret": secret}).encode()
        return _Request({"Content-Type": "application/json", "Accept": "application/json"}, body, "json")

    def _oauth2(self, fetch: Fetch, endpoint: _Endpoint) -> _Request:
        """Write the request of RFC 6749 section 4.4.2. `audience` is what Auth0 and others call it (RFC 8693)."""
        from authlib.oauth2.rfc6749.parameters import prepare_token_request

        options, metadata = self._options, endpoint.metadata
        method = method_for(options, metadata.authentication_methods if metadata else None)
        parameters = {"scope": options.scope, "audience": options.audience}
        plain = prepare_token_request("client_credentials", **{name: text for name, text in parameters.items() if text})
        authentication, body = authenticate(
            fetch,
            options,
            method,
            plain,
            audience=endpoint.audience,
            algorithms=metadata.signing_algorithms if metadata else None,
        )
        fields = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json", **authentication}
        return _Request(fields, body.encode(), method)

    def _read(self, fetch: Fetch, answer: Answer, endpoint: _Endpoint, authentication: str) -> IdentityToken:
        said = answer.json_object()
        # Some servers answer 200 with an error (RFC 6749 section 5.2 wants 400).
        is_error = said is not None and bool(said.get("error"))
        if not 200 <= answer.status < 300 or is_error:  # noqa: PLR2004 - 2xx
            raise refusal(fetch, answer, setting=endpoint.setting, authentication=authentication)
        if said is None:
            missing = TokenMissingError(
                f"answered {answer.status_line}, but no JSON object",
                f"Check {endpoint.setting}: it is to be the token endpoint, not a page for people",
            )
        else:
            try:
                return token_of(said, self._options.token, fetch.now())
            except TokenMissingError as error:
                missing = error
        raise ServerRefusedError(
            Attempt(answer.source, fetch.shown(missing.reason), missing.advice),
            is_conclusive=True,
            status=answer.status,
            code=None,
            is_without_token=not missing.has_other,
        )


class _Request(NamedTuple):
    """A request, written. `authentication` is how the client proves who it is in it."""

    fields: dict[str, str]
    body: bytes
    authentication: str

    def __repr__(self) -> str:
        return f"<request with {self.authentication}>"


def _may_speak_otherwise(error: ServerRefusedError, dialect: _Dialect, *, is_known: bool) -> bool:
    """Whether the answer to a request in `dialect` may be that of a server which does not speak it."""
    if error.is_without_token:
        return True
    if not is_known:
        return error.status in _STATUSES_OF_STRANGERS
    if error.status == 401 and dialect == "json":  # noqa: PLR2004 - Unauthorized
        # An OAuth server's answer to a request in which it finds no client.
        return error.code == "invalid_client"
    return error.status in _STATUSES_OF_CHANGED and error.code in _CODES_OF_STRANGERS


def _both(
    first: ServerRefusedError, second: CredentialsUnavailableError, dialect: _Dialect
) -> CredentialsUnavailableError:
    """Return both attempts as one error, so that the advice that is shown is that of the dialect which was understood.

    It is the last one's where the failure is conclusive, else the first one's. `dialect` is the first one's.
    """
    before = _named(first.attempts, dialect)
    after = _named(second.attempts, "json" if dialect == "oauth2" else "oauth2")
    if not second.is_conclusive:
        return CredentialsUnavailableError(after + before)
    if isinstance(second, ServerRefusedError) and _understood(second, first):
        return CredentialsUnavailableError(before + after, is_conclusive=True)
    return CredentialsUnavailableError(after + before, is_conclusive=True)


def _named(attempts: tuple[Attempt, ...], dialect: _Dialect) -> tuple[Attempt, ...]:
    return tuple(Attempt(source, f"{reason} (dialect {dialect})", advice) for source, reason, advice in attempts)


def _understood(second: ServerRefusedError, first: ServerRefusedError) -> bool:
    """Whether the server rather understood the second request: it named what was wrong, or the first said nothing."""
    if second.code is not None and second.code not in _CODES_OF_STRANGERS:
        return True
    return first.status not in _MEANING_CLIENT
