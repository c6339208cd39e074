"""What the `oidc` provider is told: one frozen value, made by the composition from settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

__all__ = ["CLIENT_AUTHENTICATIONS", "DIALECTS", "TOKENS", "OpenIdOptions"]

DIALECTS: Final = ("auto", "json", "oauth2")
CLIENT_AUTHENTICATIONS: Final = ("client_secret_basic", "client_secret_post", "private_key_jwt")
TOKENS: Final = ("auto", "id_token", "access_token")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIdOptions:
    """The settings of the `oidc` provider; each line names its own.

    `token_endpoint` or `issuer` is set. With both, nothing is discovered: the token endpoint is asked, and the issuer
    is the audience of a client assertion.

    Raises:
        ValueError: Neither of the two, or a word that is none of those above. Never quotes a secret.
    """

    client_id: str
    """ASP_OPEN_ID_CLIENT_ID. Also the name of the role session, as in the original."""
    role_arn: str
    """ASP_ROLE_ARN"""
    token_endpoint: str | None = None
    """ASP_OPEN_ID_AUTH_SERVER_URL"""
    issuer: str | None = None
    """ASP_OPEN_ID_ISSUER_URL"""
    client_secret: str | None = field(default=None, repr=False)
    """ASP_OPEN_ID_CLIENT_SECRET"""
    client_secret_file: Path | None = None
    """ASP_OPEN_ID_CLIENT_SECRET_FILE: read at each fetch, before `client_secret`."""
    dialect: str = "auto"
    """ASP_OPEN_ID_DIALECT: one of DIALECTS."""
    client_authentication: str | None = None
    """ASP_OPEN_ID_CLIENT_AUTH: one of CLIENT_AUTHENTICATIONS; None where it is to be inferred."""
    key_file: Path | None = None
    """ASP_OPEN_ID_CLIENT_KEY_FILE: a private key (PEM, RSA or EC), with its certificate or without; read each time."""
    key_id: str | None = None
    """ASP_OPEN_ID_CLIENT_KEY_ID: the `kid` of a client assertion."""
    scope: str | None = None
    """ASP_OPEN_ID_SCOPE"""
    audience: str | None = None
    """ASP_OPEN_ID_AUDIENCE"""
    token: str = "auto"  # noqa: S105 - the name of a choice
    """ASP_OPEN_ID_TOKEN: one of TOKENS."""
    ca_bundle: Path | None = None
    """ASP_OPEN_ID_CA_BUNDLE: trusted certificates (PEM) instead of the system's; read each time."""
    session_duration_seconds: int | None = None
    """ASP_ROLE_SESSION_DURATION"""

    def __post_init__(self) -> None:
        """Refuse what the composition cannot have meant."""
        if not self.token_endpoint and not self.issuer:
            raise ValueError("either token_endpoint or issuer is needed")
        if self.dialect not in DIALECTS:
            raise ValueError(f"dialect is one of {', '.join(DIALECTS)}")
        if self.token not in TOKENS:
            raise ValueError(f"token is one of {', '.join(TOKENS)}")
        if self.client_authentication is not None and self.client_authentication not in CLIENT_AUTHENTICATIONS:
            raise ValueError(f"client_authentication is one of {', '.join(CLIENT_AUTHENTICATIONS)}, or None")

    @property
    def needs_oauth2(self) -> bool:
        """Whether something is set that only standard OAuth 2.0 can express: the other dialect is not even tried."""
        return any((self.issuer, self.scope, self.audience, self.key_file, self.key_id, self.client_authentication))
