"""What Vault's refusals mean, as sentences: what it answered, and what a person can do about exactly that.

The statuses are those of Vault's HTTP API documentation ("HTTP status codes") and of its health endpoint (429, 472,
473, 501, 503, which a load balancer may pass on). The texts that are looked for are those of Vault's AWS secrets engine
and login methods; where one changes, the advice becomes more general, never wrong.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final, NamedTuple

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError

__all__ = ["Call", "Purpose", "VaultError", "refusal"]

BAD_REQUEST: Final = 400
UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
_UNAVAILABLE: Final = 503
_CLIENT_ERRORS: Final = range(400, 500)
# Refusals that pass: request timeout, replication not caught up, too early, quota or standby, the health statuses of
# a disaster recovery secondary and of a performance standby.
_PASSING: Final = frozenset({408, 412, 425, 429, 472, 473})


class Purpose(Enum):
    """What a call to Vault is for: the same status means different things to a login and to a read."""

    LOGIN = auto()
    TOKEN = auto()
    READ = auto()
    LEASE = auto()


class Call(NamedTuple):
    """One call: what it is for, what it does in words ("reading aws/creds/dev"), its path without "v1/".

    `settings` names what the call's identity comes from, for advice ("ASP_VAULT_AUTH_TOKEN").
    """

    purpose: Purpose
    doing: str
    path: str
    settings: str
    capability: str = "update"


class VaultError(CredentialsUnavailableError):
    """A call to Vault that failed. `status` is None where no answer came; `texts` are Vault's own words."""

    def __init__(
        self, attempt: Attempt, *, is_conclusive: bool, status: int | None = None, texts: tuple[str, ...] = ()
    ) -> None:
        super().__init__((attempt,), is_conclusive=is_conclusive)
        self.status = status
        self.texts = texts

    def says(self, *words: str) -> bool:
        """Whether one of Vault's own words holds one of these, in any case."""
        told = " ".join(self.texts).lower()
        return any(word in told for word in words)


def refusal(
    fetch: Fetch, source: str, call: Call, *, status: int, texts: tuple[str, ...], shown: str = ""
) -> VaultError:
    """Return the error for an answer that is no success.

    `texts` are the answer's `errors`; `shown` is what to show where it has none ("text/html, not JSON").
    """
    told = fetch.shown("; ".join(texts)) or shown
    reason = f"{call.doing} was answered {status}" + (f" ({told})" if told else "")
    is_conclusive = status in _CLIENT_ERRORS and status not in _PASSING
    advice = _advice(call, status, " ".join(texts).lower())
    return VaultError(Attempt(source, reason, advice), is_conclusive=is_conclusive, status=status, texts=texts)


def _advice(call: Call, status: int, told: str) -> str:
    if status == BAD_REQUEST:
        return _advice_on_bad_request(call, told)
    if status == FORBIDDEN:
        return _advice_on_forbidden(call, told)
    if status == NOT_FOUND:
        return _advice_on_not_found(call)
    if status == _UNAVAILABLE and "sealed" in told:
        return "Unseal Vault (vault operator unseal) or see why its auto-unseal fails; the proxy asks again by itself"
    if status in _CLIENT_ERRORS:
        general = "Check ASP_VAULT_URL and what stands between the proxy and Vault: Vault does not answer like this"
    else:
        general = "Look into Vault's log at the time of this message; the proxy asks again by itself"
    return _ADVICE_BY_STATUS.get(status, general)


_ADVICE_BY_STATUS: Final = {
    UNAUTHORIZED: "Vault itself never answers 401: let the gateway in front of it pass the proxy's requests, or set "
    "ASP_VAULT_URL to Vault's own address",
    405: "Check ASP_VAULT_PATH: credentials are read from <mount>/creds/<role>, <mount>/sts/<role> or "
    "<mount>/static-creds/<role>",
    412: "The node has not caught up with its primary yet; the proxy asks again by itself",
    429: "Raise the quota that Vault names (rate limit, lease count), or set ASP_VAULT_URL to the active node if this "
    "one is a standby; the proxy asks again by itself",
    472: "Set ASP_VAULT_URL to the primary cluster: a disaster recovery secondary serves no requests",
    473: "Set ASP_VAULT_URL to the active node or to a load balancer that finds it: a performance standby refused",
    501: "Initialise Vault (vault operator init), or set ASP_VAULT_URL to one that is",
    502: "AWS throttles Vault, or the load balancer finds no node: see their logs; the proxy asks again by itself",
    _UNAVAILABLE: "Vault or the load balancer before it is not ready: see its log; the proxy asks again by itself",
    504: "The load balancer in front of Vault got no answer from it: see their logs; the proxy asks again by itself",
}


def _advice_on_bad_request(call: Call, told: str) -> str:
    if "http request to an https server" in told:
        return "Begin ASP_VAULT_URL with https://: this port speaks TLS"
    if call.purpose is Purpose.LOGIN:
        return f"Check {call.settings}: Vault does not accept this login (its server log says more)"
    if call.purpose is not Purpose.READ:
        return "Look into Vault's log: it cannot do this with the token or the lease that the proxy holds"
    for words, advice in _ADVICE_ON_READ:
        if words in told:
            return advice
    return f"Ask Vault the same by hand (vault read {call.path}): its role or its own AWS credentials need mending"


# The first that fits counts: what AWS told Vault comes before what Vault was about to do.
_ADVICE_ON_READ: Final = (
    (
        "did not supply a role_arn",
        "Set ASP_VAULT_AWS_ROLE_ARN to one of the ARNs that Vault's role allows: it allows several",
    ),
    (
        "not in allowed role arns",
        "Set ASP_VAULT_AWS_ROLE_ARN to one of the ARNs in the role_arns of Vault's role, or add this one there",
    ),
    (
        "durationseconds",
        "Lower ASP_VAULT_AWS_TTL, or raise the IAM role's maximum session duration (1 h at most for a chained role)",
    ),
    (
        "accessdenied",
        "Allow Vault's own AWS credentials (config/root of the secrets engine) the action that AWS names",
    ),
    (
        "not authorized to perform",
        "Allow Vault's own AWS credentials (config/root of the secrets engine) the action that AWS names",
    ),
    (
        "invalidclienttokenid",
        "Give Vault valid AWS credentials (vault write <mount>/config/root): AWS does not know those it has",
    ),
    (
        "signaturedoesnotmatch",
        "Give Vault the right secret key (vault write <mount>/config/root), and check the clock of Vault's machine",
    ),
    ("nocredentialproviders", "Give Vault AWS credentials (vault write <mount>/config/root): it has none"),
    ("limitexceeded", "Raise the account's quota of IAM users, or use a role of type assumed_role, which makes none"),
    ("not found", "Create the role in Vault (vault list <mount>/roles shows those there are), or mend ASP_VAULT_PATH"),
    ("legacy roles", "Set ASP_VAULT_PATH to <mount>/sts/<role> or <mount>/creds/<role>, whichever Vault's role allows"),
    ("missing client token", "Set ASP_VAULT_AUTH_TOKEN or another login: Vault saw no token"),
)


def _advice_on_forbidden(call: Call, told: str) -> str:
    if call.purpose is Purpose.LOGIN:
        return (
            f"Check {call.settings}, and ASP_VAULT_NAMESPACE: Vault answers so where the login is not allowed, "
            "and where no login method is mounted at that path"
        )
    if call.purpose is Purpose.TOKEN or "invalid token" in told:
        return f"Check {call.settings}: the token has ended or was revoked, or belongs to another namespace"
    return (
        f'Give the token a policy with path "{call.path}" {{ capabilities = ["{call.capability}"] }}; or the token '
        f"has ended, was revoked, or belongs to another namespace: check {call.settings}, and ASP_VAULT_NAMESPACE"
    )


def _advice_on_not_found(call: Call) -> str:
    if call.purpose is Purpose.LOGIN:
        return "Check ASP_VAULT_AUTH_MOUNT (vault auth list shows the mounts), ASP_VAULT_NAMESPACE and ASP_VAULT_URL"
    if call.purpose is Purpose.READ:
        return (
            "Check the mount and the role in ASP_VAULT_PATH (vault secrets list shows the mounts), and "
            "ASP_VAULT_NAMESPACE"
        )
    return "Check ASP_VAULT_URL: this server does not know a path that every Vault has"
