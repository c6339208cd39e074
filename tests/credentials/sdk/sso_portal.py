"""A stand-in for IAM Identity Center: its portal (GetRoleCredentials) and its token endpoint (CreateToken).

See the API references "IAM Identity Center Portal" and "IAM Identity Center OIDC". Reached by AWS_ENDPOINT_URL_SSO and
AWS_ENDPOINT_URL_SSO_OIDC.
"""

from __future__ import annotations

import json
import time
from typing import Any

from tests.credentials.sdk.stand_in import Asked, Reply, StandIn, as_json

__all__ = ["SsoPortal", "sso_token"]


def sso_token(token: str, *, seconds: float, with_refresh: bool = False) -> str:
    """Return what `aws sso login` leaves in its cache: an access token that lives for so many seconds."""

    def at(moment: float) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))

    document = {"startUrl": "https://x.awsapps.com/start", "region": "eu-west-1", "accessToken": token}
    document["expiresAt"] = at(time.time() + seconds)
    if with_refresh:
        document |= {
            "clientId": "client",
            "clientSecret": "planted-client-secret",
            "refreshToken": "planted-refresh-token",
            "registrationExpiresAt": at(time.time() + 86400),
        }
    return json.dumps(document)


class SsoPortal(StandIn):
    """Knows the tokens in `tokens`, and one account with one role."""

    ACCOUNT = "123456789012"
    ROLE = "Developer"

    def __init__(self) -> None:
        super().__init__()
        self.tokens = {"planted-access-token"}
        self.ends_at = int(time.time()) + 3600
        self._number = 0

    def answer(self, asked: Asked) -> Reply:
        if asked.path == "/token":
            return self._new_token(json.loads(asked.body))
        if asked.path != "/federation/credentials":
            return Reply(404, b"")
        if asked.fields.get("x-amz-sso_bearer_token") not in self.tokens:
            return self._refused(401, "UnauthorizedException", "Session token not found or invalid")
        if f"account_id={self.ACCOUNT}" not in asked.query or f"role_name={self.ROLE}" not in asked.query:
            return self._refused(403, "ForbiddenException", "No access")
        self._number += 1
        credentials = {
            "accessKeyId": f"ASIASSO{self._number}",
            "secretAccessKey": f"planted-secret-SSO-{self._number}",
            "sessionToken": f"planted-token-SSO-{self._number}",
            "expiration": self.ends_at * 1000,
        }
        return as_json({"roleCredentials": credentials})

    def _new_token(self, asked: dict[str, Any]) -> Reply:
        if asked.get("refreshToken") != "planted-refresh-token" or asked.get("grantType") != "refresh_token":
            return self._refused(400, "InvalidGrantException", "invalid_grant")
        self.tokens.add("planted-renewed-token")
        answer = {"accessToken": "planted-renewed-token", "expiresIn": 28800, "refreshToken": "planted-refresh-token-2"}
        return as_json(answer | {"tokenType": "Bearer"})

    def _refused(self, status: int, code: str, message: str) -> Reply:
        reply = as_json({"message": message}, status)
        return Reply(reply.status, reply.body, {**reply.fields, "x-amzn-ErrorType": code})
