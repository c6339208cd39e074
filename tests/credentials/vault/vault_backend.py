"""What a Vault server knows, as far as the proxy can meet it: tokens, policies, logins, the AWS engine, leases.

Written from Vault's HTTP API documentation (auth/token, auth/approle, auth/kubernetes, auth/jwt, secret/aws,
sys/leases); the texts of errors are those that Vault itself writes. No AWS is asked: `iam_users` are those that live.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]
SYSTEM_MAX_TTL = 768 * 3600.0

# What Vault's own policy "default" allows, as far as it matters here; sys/leases/revoke is not among it.
DEFAULT_POLICY = {
    "auth/token/lookup-self": {"read"},
    "auth/token/renew-self": {"update"},
    "auth/token/revoke-self": {"update"},
    "sys/leases/renew": {"update"},
}
ROLE_POLICY = {"aws/*": {"read"}, "sys/leases/revoke": {"update"}}


class RefusedError(Exception):
    """An answer that is no success, with Vault's `errors`."""

    def __init__(self, status: int, *errors: str) -> None:
        super().__init__(status, *errors)
        self.status = status
        self.errors = errors


DENIED = (403, "1 error occurred:\n\t* permission denied\n\n")
INVALID_TOKEN = (403, "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n")


@dataclass
class StubToken:
    """A token. `ttl` 0: it never ends. `period`: each renewal grants it anew, without a maximum."""

    value: str
    ttl: float
    max_ttl: float
    renewable: bool
    policies: tuple[str, ...]
    namespace: str
    made_at: float
    ends_at: float | None
    period: float = 0.0


@dataclass
class StubLease:
    """A lease and the IAM user behind it (None: STS)."""

    lease_id: str
    token: str
    ttl: float
    max_ttl: float
    renewable: bool
    made_at: float
    ends_at: float
    user: str | None


@dataclass
class AwsRole:
    """A role of the AWS engine. `credential_type` as in Vault, or "static"; "ttl" means an STS role with no_lease."""

    credential_type: str = "iam_user"
    ttl: float = 3600.0
    max_ttl: float = 7200.0
    role_arns: tuple[str, ...] = ("arn:aws:iam::123456789012:role/dev",)
    error: tuple[int, str] | None = None
    extra: Json = field(default_factory=dict)


@dataclass
class Login:
    """What a login method hands out, and what it demands."""

    method: str
    ttl: float = 1200.0
    max_ttl: float = 3600.0
    renewable: bool = True
    policies: tuple[str, ...] = ("default", "proxy")
    role_id: str = "role-id-1"
    secret_ids: set[str] = field(default_factory=lambda: {"planted-secret-id"})
    bind_secret_id: bool = True
    role: str = "dev"
    jwts: set[str] = field(default_factory=lambda: {"planted.jwt.1"})


class Backend:
    """One Vault. `clock` gives seconds since the epoch, so a test can let time pass."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.tokens: dict[str, StubToken] = {}
        self.leases: dict[str, StubLease] = {}
        self.policies: dict[str, dict[str, set[str]]] = {"default": DEFAULT_POLICY, "proxy": dict(ROLE_POLICY)}
        self.roles: dict[str, AwsRole] = {}
        self.logins: dict[str, Login] = {}
        self.iam_users: set[str] = set()
        self.users_made = 0
        self.sets_made = 0
        self.rotation = 1
        self._numbers = itertools.count(1)

    def add_token(
        self,
        value: str = "planted-vault-token",
        *,
        ttl: float = 0.0,
        max_ttl: float = SYSTEM_MAX_TTL,
        renewable: bool = True,
        policies: tuple[str, ...] = ("default", "proxy"),
        namespace: str = "",
        period: float = 0.0,
    ) -> StubToken:
        """Make a token as an operator does. `ttl` 0: it never ends."""
        now = self.clock()
        ends_at = now + ttl if ttl else None
        token = StubToken(value, ttl, max_ttl, renewable, policies, namespace, now, ends_at, period)
        self.tokens[value] = token
        return token

    def revoke_token(self, value: str) -> None:
        """Revoke a token, and with it every lease that was made by it."""
        self.tokens.pop(value, None)
        for lease in [lease for lease in self.leases.values() if lease.token == value]:
            self.revoke_lease(lease.lease_id)

    def revoke_lease(self, lease_id: str) -> None:
        """Revoke a lease: its IAM user is deleted. An unknown one is no error, as in Vault."""
        lease = self.leases.pop(lease_id, None)
        if lease is not None and lease.user is not None:
            self.iam_users.discard(lease.user)

    def handle(self, method: str, path: str, parameters: Mapping[str, Any], token: str, namespace: str) -> Json | None:
        """Answer one request; `path` is without "/v1/". None: 204. Raises RefusedError."""
        self._reap()
        if path.startswith("auth/") and path.endswith("/login"):
            return self._log_in(path.removeprefix("auth/").removesuffix("/login"), parameters, namespace)
        known = self._checked(token, path, "read" if method == "GET" else "update", namespace)
        answer: Json | None = None
        match path:
            case "auth/token/lookup-self":
                answer = self._lookup(known)
            case "auth/token/renew-self":
                answer = self._renew_token(known)
            case "sys/leases/renew":
                answer = self._renew_lease(str(parameters.get("lease_id")), parameters.get("increment") or 0)
            case "auth/token/revoke-self":
                self.revoke_token(known.value)
            case "sys/leases/revoke":
                self.revoke_lease(str(parameters.get("lease_id")))
            case _:
                answer = self._credentials(path, known, parameters)
        return answer

    def _reap(self) -> None:
        now = self.clock()
        for token in [token for token in self.tokens.values() if token.ends_at is not None and token.ends_at <= now]:
            self.revoke_token(token.value)
        for lease in [lease for lease in self.leases.values() if lease.ends_at <= now]:
            self.revoke_lease(lease.lease_id)

    def _checked(self, value: str, path: str, capability: str, namespace: str) -> StubToken:
        token = self.tokens.get(value)
        if token is None:
            raise RefusedError(*(INVALID_TOKEN if value else DENIED))
        if token.namespace.strip("/") != namespace.strip("/"):
            raise RefusedError(*DENIED)
        for name in token.policies:
            for pattern, allowed in self.policies.get(name, {}).items():
                is_prefix = pattern.endswith("*") and path.startswith(pattern[:-1])
                if name == "root" or ((is_prefix or pattern == path) and capability in allowed):
                    return token
        raise RefusedError(*DENIED)

    def _log_in(self, mount: str, sent: Mapping[str, Any], namespace: str) -> Json:
        login = self.logins.get(mount)
        if login is None:
            raise RefusedError(*DENIED)
        if login.method == "approle":
            is_known = sent.get("role_id") == login.role_id
            if login.bind_secret_id and not sent.get("secret_id"):
                raise RefusedError(400, "missing secret_id")
            if not is_known or (login.bind_secret_id and sent.get("secret_id") not in login.secret_ids):
                raise RefusedError(400, "invalid role or secret ID")
        elif login.method == "kubernetes":
            if sent.get("role") != login.role:
                raise RefusedError(400, f'invalid role name "{sent.get("role")}"')
            if sent.get("jwt") not in login.jwts:
                raise RefusedError(*DENIED)
        else:
            if (sent.get("role") or login.role) != login.role:
                raise RefusedError(400, f'role "{sent.get("role")}" could not be found')
            if sent.get("jwt") not in login.jwts:
                raise RefusedError(400, "error validating token: invalid audience (aud) claim: audience claim does not")
        token = self.add_token(
            f"hvs.planted-{next(self._numbers)}",
            ttl=login.ttl,
            max_ttl=login.max_ttl,
            renewable=login.renewable,
            policies=login.policies,
            namespace=namespace,
        )
        return envelope(auth=self._auth(token, login.ttl))

    def _auth(self, token: StubToken, seconds: float) -> Json:
        return {
            "client_token": token.value,
            "accessor": f"accessor-of-{len(token.value)}",
            "policies": list(token.policies),
            "token_policies": list(token.policies),
            "metadata": {},
            "lease_duration": int(seconds),
            "renewable": token.renewable,
            "entity_id": "",
            "token_type": "service",
            "orphan": True,
            "mfa_requirement": None,
            "num_uses": 0,
        }

    def _lookup(self, token: StubToken) -> Json:
        now = self.clock()
        ends_at = token.ends_at
        data = {
            "accessor": "8609694a-cdbc-db9b-d345-e782dbb562ed",
            "creation_time": int(token.made_at),
            "creation_ttl": int(token.ttl),
            "display_name": "token",
            "entity_id": "",
            "expire_time": None if ends_at is None else datetime.fromtimestamp(ends_at, UTC).isoformat(),
            "explicit_max_ttl": 0,
            "id": token.value,
            "meta": None,
            "num_uses": 0,
            "orphan": True,
            "path": "auth/token/create",
            "policies": list(token.policies),
            "ttl": 0 if ends_at is None else int(ends_at - now),
            "type": "service",
        }
        return envelope(data=data if ends_at is None else data | {"renewable": token.renewable})

    def _renew_token(self, token: StubToken) -> Json:
        if not token.renewable or token.ends_at is None:
            raise RefusedError(400, "lease is not renewable")
        now = self.clock()
        seconds, warnings = token.period or token.ttl, None
        if not token.period:
            seconds, warnings = _capped(seconds, token.made_at + token.max_ttl - now)
        token.ends_at = now + seconds
        return envelope(auth=self._auth(token, seconds), warnings=warnings)

    def _renew_lease(self, lease_id: str, increment: float) -> Json:
        lease = self.leases.get(lease_id)
        if lease is None:
            raise RefusedError(400, "lease not found")
        if not lease.renewable:
            raise RefusedError(400, "lease is not renewable")
        now = self.clock()
        seconds, warnings = _capped(increment or lease.ttl, lease.made_at + lease.max_ttl - now)
        lease.ends_at = now + seconds
        return envelope(lease_id=lease_id, renewable=True, lease_duration=int(seconds), warnings=warnings)

    def _credentials(self, path: str, token: StubToken, parameters: Mapping[str, Any]) -> Json:
        mount, _, rest = path.partition("/")
        role = self.roles.get(path)
        if mount != "aws":
            raise RefusedError(404, f'no handler for route "{path}". route entry not found.')
        if role is None and rest.startswith("static-creds/"):
            raise RefusedError(404)
        if role is None:
            raise RefusedError(400, f'Role "{rest.rpartition("/")[2]}" not found')
        if role.error is not None:
            raise RefusedError(*role.error)
        number = self.sets_made = next(self._numbers)
        if role.credential_type == "static":
            data = {"access_key": f"AKIASTATIC{self.rotation:06}", "secret_key": f"planted-static-{self.rotation}"}
            return envelope(data=data | role.extra)
        if role.credential_type == "iam_user":
            key = f"AKIAUSER{number:08}"
            self.iam_users.add(key)
            self.users_made += 1
            made: Json = {"access_key": key, "secret_key": f"planted-key-{number}", "security_token": None}
            return self._leased(path, token, role, made | role.extra, user=key)
        arn = parameters.get("role_arn")
        if arn is None and len(role.role_arns) != 1:
            raise RefusedError(400, "did not supply a role_arn parameter and unable to determine one")
        if arn is not None and arn not in role.role_arns:
            name = path.rpartition("/")[2]
            raise RefusedError(400, f'role_arn "{arn}" not in allowed role arns for Vault role "{name}"')
        ttl = float(str(parameters.get("ttl", role.ttl)).removesuffix("s"))
        data = {
            "access_key": f"ASIASTS{number:09}",
            "secret_key": f"planted-sts-{number}",
            "security_token": f"planted-session-{number}",
            "arn": f"{arn or role.role_arns[0]}/vault-{number}",
        }
        if role.credential_type == "ttl":
            return envelope(data=data | {"ttl": int(ttl)} | role.extra)
        return self._leased(path, token, AwsRole("assumed_role", ttl, ttl), data | role.extra, user=None)

    def _leased(self, path: str, token: StubToken, role: AwsRole, data: Json, *, user: str | None) -> Json:
        now = self.clock()
        lease_id = f"{path}/{uuid.uuid4()}"
        is_renewable = user is not None
        self.leases[lease_id] = StubLease(
            lease_id, token.value, role.ttl, role.max_ttl, is_renewable, now, now + role.ttl, user
        )
        return envelope(data=data, lease_id=lease_id, renewable=is_renewable, lease_duration=int(role.ttl))


def _capped(wanted: float, most: float) -> tuple[float, list[str] | None]:
    if most <= 0:
        raise RefusedError(400, "past the max TTL, cannot renew")
    if wanted <= most:
        return wanted, None
    warning = f'TTL of "{wanted:.0f}s" exceeded the effective max_ttl of "{most:.0f}s"; TTL value is capped accordingly'
    return most, [warning]


def envelope(**fields: Any) -> Json:
    """Return what every answer of Vault holds, with these fields set."""
    return {
        "request_id": str(uuid.uuid4()),
        "lease_id": "",
        "renewable": False,
        "lease_duration": 0,
        "data": None,
        "wrap_info": None,
        "warnings": None,
        "auth": None,
        "mount_type": "",
        **fields,
    }
