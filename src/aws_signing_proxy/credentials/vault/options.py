"""What the `vault` provider is given: plain values, which the composition takes from the settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

__all__ = ["KUBERNETES_TOKEN_FILE", "SETTLING_TIMEOUT_SECONDS", "VaultOptions"]

KUBERNETES_TOKEN_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
"""Where Kubernetes mounts a pod's service account token, unless a projected volume says otherwise."""

SETTLING_TIMEOUT_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultOptions:
    """Where Vault is, how to log in there, and which credentials to ask it for.

    `url` has no trailing slash; `path` is bare ("aws/creds/dev": no leading slash, no "v1/"). `auth_method` is "token",
    "token_file", "approle", "kubernetes" or "jwt"; `auth_mount` is where the method is mounted, by default its own
    name. `settling_timeout_seconds`: how long a fresh IAM user is waited for until AWS knows it; 0 = not at all.
    """

    url: str = field(repr=False)  # it may hold a password
    path: str
    auth_method: str
    auth_mount: str | None = None
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    auth_role: str | None = None
    role_id: str | None = None
    secret_id: str | None = field(default=None, repr=False)
    secret_id_file: Path | None = None
    jwt_file: Path | None = None
    namespace: str | None = None
    ca_bundle: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    aws_role_arn: str | None = None
    aws_ttl_seconds: float | None = None
    settling_timeout_seconds: float = SETTLING_TIMEOUT_SECONDS

    @property
    def token_settings(self) -> str:
        """What a person checks where Vault does not take the token: "ASP_VAULT_AUTH_TOKEN", "the login with jwt"."""
        if self.auth_method == "token_file":
            return f"ASP_VAULT_AUTH_TOKEN_FILE ({self.token_file})"
        return "ASP_VAULT_AUTH_TOKEN" if self.auth_method == "token" else f"the login with {self.auth_method}"
