"""Stand-ins for authorization servers: one of the original's dialect, and a strict one of OAuth 2.0.

Each is a `FailingServer`: a context manager that listens in threads of this process and can be told to fail. Its `url`
is the token endpoint, its `token` says what the tokens claim, which are JWTs in form, with a signature that nobody
could verify; `issued` are those that it handed out.
"""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

from tests.credentials.openid.failing_server import FailingServer, Failure, Reply, Request

__all__ = ["Failure", "OAuthServer", "OriginalServer", "Request", "TokenTemplate", "make_jwt"]

FORM = "application/x-www-form-urlencoded"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ALGORITHMS = ("RS256", "PS256", "ES256", "ES384", "ES512")


@dataclass(frozen=True, kw_only=True)
class TokenTemplate:
    """What issued tokens claim, beside `exp`: `lifetime_seconds` from now (may be negative)."""

    claims: Mapping[str, object] = field(
        default_factory=lambda: {"iss": "https://login.example.com", "aud": "sts.amazonaws.com", "sub": "client-1"}
    )
    lifetime_seconds: float = 300.0

    def issue(self, number: int) -> str:
        """Return the token of this number."""
        return make_jwt({**self.claims, "exp": time.time() + self.lifetime_seconds, "jti": f"token-{number}"})


def make_jwt(claims: Mapping[str, object], header: Mapping[str, object] | None = None) -> str:
    """Return claims in the form of a signed JWT."""
    parts = (json.dumps(header or {"alg": "RS256", "kid": "1"}).encode(), json.dumps(claims).encode(), b"signature")
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


class _Issuer(FailingServer):
    """What both dialects share: tokens."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls=tls)
        self.url = f"{self.origin}/token"
        """The token endpoint."""
        self.token = TokenTemplate()
        self.issued: list[str] = []

    def issue(self) -> str:
        """Return a new token."""
        token = self.token.issue(len(self.issued) + 1)
        self.issued.append(token)
        return token


class OriginalServer(_Issuer):
    """The original's dialect: JSON `identity` and `secret`, answered with `idToken` and `expires_in`.

    To anything that is no JSON it answers as a JSON API does, with `status_for_forms`.
    """

    def __init__(
        self, *, client_id: str = "client-1", secret: str = "original-secret", tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(tls=tls)
        self.client_id = client_id
        self.secret = secret
        self.token_member = "idToken"
        self.status_for_forms = 415

    def reply(self, request: Request) -> Reply:
        """Check method, type and credentials, as strictly as such a server may."""
        if request.method != "POST":
            return Reply(405, b'{"message": "POST only"}')
        if request.fields.get("content-type", "").partition(";")[0] != "application/json":
            return Reply(self.status_for_forms, b'{"message": "application/json expected"}')
        try:
            asked = json.loads(request.body)
        except ValueError:
            return Reply(400, b'{"message": "no JSON"}')
        if asked != {"identity": self.client_id, "secret": self.secret}:
            return Reply(401, b'{"message": "unknown identity"}')
        answer = {self.token_member: self.issue(), "expires_in": int(self.token.lifetime_seconds)}
        return Reply(200, json.dumps(answer).encode())


class OAuthError(Exception):
    """An error of RFC 6749 section 5.2."""

    def __init__(self, code: str, description: str, status: int = 400) -> None:
        super().__init__(code)
        self.reply = Reply(status, json.dumps({"error": code, "error_description": description}).encode())


class OAuthServer(_Issuer):
    """RFC 6749 to the letter: client credentials grant, one way to authenticate, registered scopes and audiences.

    `token_members` are the members of its answer that hold a token. `metadata` is published at `metadata_path` (None:
    nowhere) with `issuer` and `token_endpoint` of this server, unless it says otherwise.
    """

    def __init__(
        self,
        *,
        client_id: str = "client-1",
        secret: str = "oauth-secret",
        authentication: str = "client_secret_basic",
        public_key: Any = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(tls=tls)
        self.client_id = client_id
        self.secret = secret
        self.authentication = authentication
        self.public_key = public_key  # a joserfc key, for private_key_jwt
        self.scopes = {"aws", "openid"}
        self.audiences = {"sts.amazonaws.com"}
        self.accepted_audiences: set[str] | None = None  # of assertions; None: token endpoint and issuer
        self.metadata_path: str | None = "/.well-known/openid-configuration"
        self.metadata: dict[str, object] = {}
        self.assertions: list[dict[str, Any]] = []
        self.token_members: tuple[str, ...] = ("access_token",)

    @property
    def issuer(self) -> str:
        return self.origin

    def reply(self, request: Request) -> Reply:
        """Answer for the token endpoint and for discovery."""
        if request.path == self.metadata_path and request.method == "GET":
            document = {"issuer": self.issuer, "token_endpoint": self.url, **self.metadata}
            return Reply(200, json.dumps(document).encode())
        if request.path != "/token":
            return Reply(404, b"<html><title>404</title></html>", {"Content-Type": "text/html"})
        if request.method != "POST":
            return Reply(405, b"", {"Allow": "POST"})
        try:
            return self._issued(request)
        except OAuthError as error:
            return error.reply

    def _issued(self, request: Request) -> Reply:
        if request.fields.get("content-type", "").partition(";")[0] != FORM:
            raise OAuthError("invalid_request", "only form-encoded bodies are taken")
        pairs = parse_qsl(request.body.decode(), keep_blank_values=True, strict_parsing=True)
        form = dict(pairs)
        if len(form) != len(pairs):
            raise OAuthError("invalid_request", "a parameter is repeated")
        self._authenticate(request, form)
        if form.get("grant_type") != "client_credentials":
            raise OAuthError("unsupported_grant_type", "client_credentials only")
        if not set(form.get("scope", "").split()) <= self.scopes:
            raise OAuthError("invalid_scope", "scope is not allowed")
        if form.get("audience", "sts.amazonaws.com") not in self.audiences:
            raise OAuthError("access_denied", "client is not authorized for this audience", 403)
        tokens = {member: self.issue() for member in self.token_members}
        answer = {**tokens, "token_type": "Bearer", "expires_in": int(self.token.lifetime_seconds)}
        return Reply(200, json.dumps(answer).encode())

    def _authenticate(self, request: Request, form: Mapping[str, str]) -> None:
        authorization = request.fields.get("authorization")
        used = [
            name
            for name, is_used in (
                ("client_secret_basic", authorization is not None),
                ("client_secret_post", "client_secret" in form),
                ("private_key_jwt", "client_assertion" in form),
            )
            if is_used
        ]
        if len(used) > 1:
            raise OAuthError("invalid_request", "more than one way to authenticate")
        if used != [self.authentication]:
            raise OAuthError("invalid_client", f"{self.authentication} is what this client is set to", 401)
        if self.authentication == "private_key_jwt":
            self._check_assertion(form)
            return
        if authorization is not None:
            pair = base64.b64decode(authorization.removeprefix("Basic "), validate=True).decode()
            client_id, _, secret = (unquote_plus(part) for part in pair.partition(":"))
        else:
            client_id, secret = form.get("client_id", ""), form["client_secret"]
        if (client_id, secret) != (self.client_id, self.secret):
            raise OAuthError("invalid_client", "client authentication failed", 401)

    def _check_assertion(self, form: Mapping[str, str]) -> None:
        from joserfc import jwt
        from joserfc.errors import JoseError

        try:
            token = jwt.decode(form["client_assertion"], self.public_key, algorithms=list(ALGORITHMS))
        except (JoseError, ValueError):
            raise OAuthError("invalid_client", "the assertion's signature does not verify", 401) from None
        claims = token.claims
        now = time.time()
        accepted = self.accepted_audiences or {self.url, self.issuer}
        rules = (
            form.get("client_assertion_type") == ASSERTION_TYPE,
            claims.get("iss") == claims.get("sub") == self.client_id == form.get("client_id", self.client_id),
            claims.get("aud") in accepted,
            now < claims.get("exp", 0) <= now + 61,
            claims.get("iat", now + 9) <= now + 1,
            bool(claims.get("jti")) and claims["jti"] not in {old["jti"] for old in self.assertions},
        )
        if not all(rules):
            raise OAuthError("invalid_client", f"the assertion breaks rule {rules.index(False)}", 401)
        self.assertions.append({**claims, "header": token.header})
