"""Stand-ins for the metadata services that hand out credentials: EC2's (IMDSv2), and a container's (ECS, EKS).

Every set of credentials that is handed out is numbered: access key id `ASIA<kind><n>`, with secrets that say "planted".
"""

from __future__ import annotations

import itertools
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.credentials.sdk.stand_in import Asked, Reply, StandIn, as_json

__all__ = ["ContainerEndpoint", "InstanceService", "when"]


def when(moment: float) -> str:
    """Return seconds since the epoch as these services write times."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class _Numbered(StandIn):
    """Hands out credentials that live for `lease_seconds`; or until `expires_at`, where that is set."""

    kind = ""

    def __init__(self) -> None:
        super().__init__()
        self.lease_seconds = 3600.0
        self.expires_at: float | None = None
        self.handed_out = 0
        self._numbers = itertools.count(1)

    def document(self) -> dict[str, str]:
        """The next set of credentials."""
        self.handed_out = number = next(self._numbers)
        ends_at = self.expires_at if self.expires_at is not None else time.time() + self.lease_seconds
        return {
            "AccessKeyId": f"ASIA{self.kind}{number}",
            "SecretAccessKey": f"planted-secret-{self.kind}-{number}",
            "Token": f"planted-token-{self.kind}-{number}",
            "Expiration": when(ends_at),
        }


class InstanceService(_Numbered):
    """EC2's instance metadata service, version 2: without a token from `PUT /latest/api/token` it answers 401.

    `role` None is an instance without one (404). `is_version_1_allowed` is HttpTokens=optional. The token is
    `planted-imds-token`. See the EC2 user guide, "Use IMDS to access instance metadata".
    """

    kind = "INSTANCE"
    TOKEN = "planted-imds-token"

    def __init__(self) -> None:
        super().__init__()
        self.role: str | None = "the-role"
        self.code = "Success"
        self.is_version_1_allowed = False
        self.is_token_refused = False

    def answer(self, asked: Asked) -> Reply:
        if asked.path == "/latest/api/token":
            return self._token(asked)
        is_known = asked.fields.get("x-aws-ec2-metadata-token") == self.TOKEN
        if not is_known and not (self.is_version_1_allowed and "x-aws-ec2-metadata-token" not in asked.fields):
            return Reply(401, b"Unauthorized")
        place = "/latest/meta-data/iam/security-credentials/"
        if self.role is None or asked.path not in {place, place + self.role}:
            return Reply(404, b"Not Found")
        return Reply(200, self.role.encode()) if asked.path == place else as_json(self._role_document())

    def _token(self, asked: Asked) -> Reply:
        if self.is_token_refused or asked.method != "PUT":
            return Reply(405, b"")
        is_asked_well = asked.fields.get("x-aws-ec2-metadata-token-ttl-seconds", "").isdigit()
        return Reply(200, self.TOKEN.encode()) if is_asked_well else Reply(400, b"")

    def _role_document(self) -> dict[str, str]:
        if self.code != "Success":
            return {"Code": self.code, "Message": "EC2 cannot assume the role", "LastUpdated": when(0)}
        return {"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": when(time.time())} | self.document()


class ContainerEndpoint(_Numbered):
    """The endpoint for a container's credentials: of ECS's agent, or of EKS Pod Identity's.

    Where `token_file` is set, the Authorization field has to be what that file holds at this moment, else 401, as
    Pod Identity's agent does it; `token` is one that does not change. See the AWS SDKs and tools reference,
    "Container credential provider".
    """

    kind = "CONTAINER"
    PATH = "/v1/credentials"

    def __init__(self) -> None:
        super().__init__()
        self.token: str | None = None
        self.token_file: Path | None = None

    @property
    def full_uri(self) -> str:
        return self.url + self.PATH

    def answer(self, asked: Asked) -> Reply:
        expected = self.token_file.read_text() if self.token_file is not None else self.token
        if expected is not None and asked.fields.get("authorization") != expected:
            return Reply(401, b"[401]: the token is not valid")
        if asked.path != self.PATH or asked.method != "GET":
            return as_json({"code": "NotFound", "message": "there is nothing at this path"}, 404)
        return as_json(self.document())
