"""The settings that say where the AWS credentials come from. See `settings`, which has the others."""
# ruff: noqa: RUF009 - `setting` returns a dataclass field, whose default is made once and never changes

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aws_signing_proxy.config import kinds
from aws_signing_proxy.config.declaration import Section, setting

if TYPE_CHECKING:
    from pathlib import Path

    from aws_signing_proxy.config.roles import RoleOptions
    from aws_signing_proxy.config.values import (
        CredentialsProvider,
        OpenIdClientAuth,
        OpenIdDialect,
        OpenIdToken,
        VaultAuthMethod,
    )

__all__ = ["CredentialSettings"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CredentialSettings:
    """The source of the credentials, the roles on top of it, and when it is asked."""

    credentials_provider: CredentialsProvider | None = setting(
        kinds.CREDENTIALS_PROVIDER,
        Section.CREDENTIALS,
        "ASP_CREDENTIALS_PROVIDER",
        unset="as default",
        summary="Where the AWS credentials come from; no other source is used. awstoken: static ones from the "
        "environment, else the shared credentials and config files. vault: HashiCorp Vault. oidc: a token of an "
        "OpenID Connect or OAuth 2.0 server. irsa: a pod's service account token. default: the AWS SDKs' own chain.",
    )
    is_background_refresh: bool = setting(
        kinds.BOOLEAN,
        Section.CREDENTIALS,
        "ASP_BACKGROUND_REFRESH",
        default="true",
        summary="Fetch credentials at the start and before they expire, so that no request waits; false = only when a "
        "request wants some.",
    )
    credentials_wait_timeout_seconds: float = setting(
        kinds.duration(zero="means not to wait"),
        Section.CREDENTIALS,
        "ASP_CREDENTIALS_WAIT_TIMEOUT",
        default="10s",
        summary="How long a request waits for credentials where there are no valid ones, before it is answered 503; "
        "0 = not at all.",
    )
    credentials_fetch_timeout_seconds: float = setting(
        kinds.duration(least_seconds=0.1, most_seconds=20.0),
        Section.CREDENTIALS,
        "ASP_CREDENTIALS_FETCH_TIMEOUT",
        default="20s",
        summary="How long one fetch of credentials may take, all its steps together; at most 20s.",
    )
    circuit_breaker_failure_threshold: int = setting(
        kinds.count(),
        Section.CREDENTIALS,
        "ASP_CIRCUIT_BREAKER_FAILURE_THRESHOLD",
        default="5",
        summary="How many failures in a row to fetch credentials open the circuit breaker.",
    )
    circuit_breaker_timeout_seconds: float = setting(
        kinds.duration(least_seconds=0.001),
        Section.CREDENTIALS,
        "ASP_CIRCUIT_BREAKER_TIMEOUT",
        default="60s",
        summary="How long the circuit breaker stays open.",
    )

    role_arn: str | None = setting(
        kinds.ROLE_ARN,
        Section.ROLES,
        "ASP_ROLE_ARN",
        "AWS_ROLE_ARN",
        example="arn:aws:iam::123456789012:role/some-role",
        summary="The role to assume with a web identity token; required with oidc and irsa. AWS_ROLE_ARN, which EKS "
        "sets, counts with irsa only.",
    )
    role_session_duration_seconds: float | None = setting(
        kinds.duration(least_seconds=900.0, most_seconds=43200.0),
        Section.ROLES,
        "ASP_ROLE_SESSION_DURATION",
        unset="STS's own, 1h",
        example="1h",
        summary="How long the credentials of oidc and irsa are to live, 15m to 12h; no longer than the role allows.",
    )
    irsa_client_id: str = setting(
        kinds.text("a text that becomes the session's name", placeholder="NAME"),
        Section.ROLES,
        "ASP_IRSA_CLIENT_ID",
        "AWS_ROLE_SESSION_NAME",
        default="aws-signing-proxy",
        summary="The role session name with irsa. What STS does not allow in it is replaced.",
    )
    web_identity_token_file: Path | None = setting(
        kinds.PATH,
        Section.ROLES,
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        example="/var/run/secrets/eks.amazonaws.com/serviceaccount/token",
        summary="The token file of irsa, which EKS sets; required with irsa. It is read again at each refresh.",
    )
    assume_role_arns: tuple[str, ...] | None = setting(
        kinds.ROLE_ARNS,
        Section.ROLES,
        "ASP_ASSUME_ROLE_ARNS",
        example="arn:aws:iam::123456789012:role/some-role",
        summary="Roles to assume in turn with the credentials of any provider; ARNs separated by commas or spaces.",
    )
    assume_role_options: tuple[RoleOptions, ...] | None = setting(
        kinds.ROLE_OPTIONS,
        Section.ROLES,
        "ASP_ASSUME_ROLE_OPTIONS",
        example='{"external_id": "some-id", "duration": "1h"}',
        summary="Options of ASP_ASSUME_ROLE_ARNS: a JSON object for all roles, or an array with one for each. Keys: "
        "session_name, external_id, duration, tags, transitive_tag_keys, policy, policy_arns, source_identity.",
    )

    open_id_auth_server_url: str | None = setting(
        kinds.TOKEN_SERVER_URL,
        Section.OPEN_ID,
        "ASP_OPEN_ID_AUTH_SERVER_URL",
        flags=("--openid-auth-server-url",),
        example="https://auth.example.com/token",
        summary="The token endpoint of the authorization server; required with oidc, unless the issuer's URL is set.",
    )
    open_id_issuer_url: str | None = setting(
        kinds.ISSUER_URL,
        Section.OPEN_ID,
        "ASP_OPEN_ID_ISSUER_URL",
        example="https://auth.example.com/realms/some-realm",
        summary="The issuer, whose discovery document names the token endpoint; instead of the token endpoint.",
    )
    open_id_client_id: str | None = setting(
        kinds.text("the OAuth client id"),
        Section.OPEN_ID,
        "ASP_OPEN_ID_CLIENT_ID",
        flags=("--openid-client-id",),
        example="some-client",
        summary="The OAuth client id; required with oidc. It is the role session's name, too.",
    )
    open_id_client_secret: str | None = setting(
        kinds.text("the OAuth client secret", placeholder="SECRET"),
        Section.OPEN_ID,
        "ASP_OPEN_ID_CLIENT_SECRET",
        flags=("--openid-client-secret",),
        secret=True,
        summary="The OAuth client secret; required with oidc, unless it is in a file or a key takes its place.",
    )
    open_id_client_secret_file: Path | None = setting(
        kinds.PATH,
        Section.OPEN_ID,
        "ASP_OPEN_ID_CLIENT_SECRET_FILE",
        example="/run/secrets/client-secret",
        summary="A file with the client secret, read again at each fetch.",
    )
    open_id_client_key_file: Path | None = setting(
        kinds.PATH,
        Section.OPEN_ID,
        "ASP_OPEN_ID_CLIENT_KEY_FILE",
        example="/run/secrets/client-key.pem",
        summary="A private key in PEM form, RSA or EC, to authenticate with private_key_jwt instead of a secret.",
    )
    open_id_client_key_id: str | None = setting(
        kinds.text("the key's id, as the server knows it"),
        Section.OPEN_ID,
        "ASP_OPEN_ID_CLIENT_KEY_ID",
        example="some-key",
        summary="The id (kid) of that key.",
    )
    open_id_client_auth: OpenIdClientAuth | None = setting(
        kinds.OPEN_ID_CLIENT_AUTH,
        Section.OPEN_ID,
        "ASP_OPEN_ID_CLIENT_AUTH",
        unset="found out",
        summary="How the client authenticates, in OAuth's words.",
    )
    open_id_dialect: OpenIdDialect = setting(
        kinds.OPEN_ID_DIALECT,
        Section.OPEN_ID,
        "ASP_OPEN_ID_DIALECT",
        default="auto",
        summary="What the server speaks: json, as the original proxy does; oauth2, the standard client credentials "
        "grant; auto finds out.",
    )
    open_id_scope: str | None = setting(
        kinds.text("scopes, separated by spaces"),
        Section.OPEN_ID,
        "ASP_OPEN_ID_SCOPE",
        example="openid",
        summary="The scope to ask for.",
    )
    open_id_audience: str | None = setting(
        kinds.text("the audience"),
        Section.OPEN_ID,
        "ASP_OPEN_ID_AUDIENCE",
        example="sts.amazonaws.com",
        summary="The audience to ask for, where the server takes that parameter.",
    )
    open_id_token_kind: OpenIdToken = setting(
        kinds.OPEN_ID_TOKEN,
        Section.OPEN_ID,
        "ASP_OPEN_ID_TOKEN",
        default="auto",
        summary="Which token of the answer goes to STS; auto: the id_token where there is one.",
    )
    open_id_ca_bundle: Path | None = setting(
        kinds.PEM_FILE,
        Section.OPEN_ID,
        "ASP_OPEN_ID_CA_BUNDLE",
        unset="SSL_CERT_FILE, else the system's certificates",
        summary="The certificates that are trusted for TLS to the authorization server.",
    )
    is_open_id_fetch_async: bool = setting(
        kinds.BOOLEAN,
        Section.OPEN_ID,
        "ASP_ASYNC_OPEN_ID_CREDENTIALS_FETCH",
        flags=("--async-open-id-creds-fetch",),
        default="false",
        summary="Fetch the credentials of oidc in the background even where ASP_BACKGROUND_REFRESH is false.",
    )

    vault_url: str | None = setting(
        kinds.VAULT_URL,
        Section.VAULT,
        "ASP_VAULT_URL",
        example="https://vault.example.com:8200",
        summary="The base URL of Vault; required with vault.",
    )
    vault_path: str | None = setting(
        kinds.VAULT_PATH,
        Section.VAULT,
        "ASP_VAULT_PATH",
        "ASP_VAULT_CREDENTIALS_PATH",
        example="/some-aws-engine/creds/some-aws-role",
        summary="The path of the credentials in Vault, with or without leading slash or v1/; required with vault.",
    )
    vault_auth_method: VaultAuthMethod | None = setting(
        kinds.VAULT_AUTH_METHOD,
        Section.VAULT,
        "ASP_VAULT_AUTH_METHOD",
        unset="told by the others that are set",
        summary="How to log in to Vault.",
    )
    vault_auth_mount: str | None = setting(
        kinds.VAULT_PATH,
        Section.VAULT,
        "ASP_VAULT_AUTH_MOUNT",
        unset="the method's name",
        example="kubernetes-prod",
        summary="Where the login method is mounted, without auth/.",
    )
    vault_auth_token: str | None = setting(
        kinds.text("the token to log in to Vault with", placeholder="TOKEN"),
        Section.VAULT,
        "ASP_VAULT_AUTH_TOKEN",
        flags=("--vault-token",),
        secret=True,
        summary="The token to log in to Vault with; required with vault, unless another login method is set.",
    )
    vault_auth_token_file: Path | None = setting(
        kinds.PATH,
        Section.VAULT,
        "ASP_VAULT_AUTH_TOKEN_FILE",
        example="/vault/secrets/token",
        summary="A file with the token, as a Vault agent writes it; read again when it changes.",
    )
    vault_auth_role: str | None = setting(
        kinds.text("the role's name"),
        Section.VAULT,
        "ASP_VAULT_AUTH_ROLE",
        example="some-role",
        summary="The role to log in as, with kubernetes and jwt.",
    )
    vault_role_id: str | None = setting(
        kinds.text("the role id"),
        Section.VAULT,
        "ASP_VAULT_ROLE_ID",
        example="675a50e7-cfe0-be76-e35f-49ec009731ea",
        summary="The role id, with approle.",
    )
    vault_secret_id: str | None = setting(
        kinds.text("the secret id", placeholder="SECRET"),
        Section.VAULT,
        "ASP_VAULT_SECRET_ID",
        secret=True,
        summary="The secret id, with approle.",
    )
    vault_secret_id_file: Path | None = setting(
        kinds.PATH,
        Section.VAULT,
        "ASP_VAULT_SECRET_ID_FILE",
        example="/run/secrets/secret-id",
        summary="A file with the secret id, read again at each login.",
    )
    vault_jwt_file: Path | None = setting(
        kinds.PATH,
        Section.VAULT,
        "ASP_VAULT_JWT_FILE",
        unset="with kubernetes, the pod's service account token",
        summary="A file with the token to log in with, with kubernetes and jwt; read again at each login.",
    )
    vault_namespace: str | None = setting(
        kinds.VAULT_PATH,
        Section.VAULT,
        "ASP_VAULT_NAMESPACE",
        example="some-team",
        summary="The namespace in Vault Enterprise.",
    )
    vault_ca_bundle: Path | None = setting(
        kinds.PEM_FILE,
        Section.VAULT,
        "ASP_VAULT_CA_BUNDLE",
        unset="SSL_CERT_FILE, else the system's certificates",
        summary="The certificates that are trusted for TLS to Vault.",
    )
    vault_client_cert: Path | None = setting(
        kinds.PEM_FILE,
        Section.VAULT,
        "ASP_VAULT_CLIENT_CERT",
        summary="A client certificate for TLS to Vault, in PEM form.",
    )
    vault_client_key: Path | None = setting(
        kinds.PEM_FILE,
        Section.VAULT,
        "ASP_VAULT_CLIENT_KEY",
        unset="in the certificate's file",
        summary="The key of the client certificate, in PEM form.",
    )
    vault_aws_role_arn: str | None = setting(
        kinds.ROLE_ARN,
        Section.VAULT,
        "ASP_VAULT_AWS_ROLE_ARN",
        summary="Which role Vault is to assume, where its own role allows several.",
    )
    vault_aws_ttl_seconds: float | None = setting(
        kinds.duration(least_seconds=1.0),
        Section.VAULT,
        "ASP_VAULT_AWS_TTL",
        unset="what Vault's role says",
        example="1h",
        summary="How long the credentials are to live, where Vault's role allows it.",
    )
    vault_settling_timeout_seconds: float = setting(
        kinds.duration(zero="means not to check"),
        Section.VAULT,
        "ASP_VAULT_SETTLING_TIMEOUT",
        default="15s",
        summary="How long to wait until AWS knows an IAM user that Vault has just made; 0 = it is not checked.",
    )
