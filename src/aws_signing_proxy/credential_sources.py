"""From the settings to the credentials' source: which provider, with which values, and roles on top of it.

A provider's module is imported by the configuration that needs it, and by no other: botocore, hvac and Authlib cost
memory and start time (docs/decisions/0007-credential-libraries.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

from aws_signing_proxy.config.rules import vault_auth_method
from aws_signing_proxy.config.settings import Settings, declarations
from aws_signing_proxy.config.values import CredentialsProvider
from aws_signing_proxy.credentials.http.web_address import passwords_in
from aws_signing_proxy.credentials.provider import Provider

if TYPE_CHECKING:
    from aws_signing_proxy.credentials.sts.service import AssumedRole, SecurityTokenService
    from aws_signing_proxy.credentials.vault.provider import VaultOptions

__all__ = ["is_eager", "provider_for", "secrets_of", "token_service"]

T = TypeVar("T")


def provider_for(settings: Settings, environ: Mapping[str, str]) -> Provider:
    """Return the configured provider, with the roles to assume on top of it. Asks nobody."""
    # One for all who need it: a second client of botocore's would cost what the first does.
    sts = token_service(settings, environ)
    provider = _source(settings, environ, sts)
    if not settings.assume_role_arns:
        return provider
    from aws_signing_proxy.credentials.sts.role_chain import RoleChainProvider

    return RoleChainProvider(provider, _roles(settings), sts=sts)


def token_service(settings: Settings, environ: Mapping[str, str]) -> SecurityTokenService:
    """Return STS as the settings' region has it. Asks nobody."""
    from aws_signing_proxy.credentials.sts.service import SecurityTokenService

    return SecurityTokenService(region=settings.region, environ=environ)


def is_eager(settings: Settings) -> bool:
    """Whether credentials are fetched ahead of requests."""
    is_open_id = settings.credentials_provider is CredentialsProvider.OIDC
    return settings.is_background_refresh or (is_open_id and settings.is_open_id_fetch_async)


def secrets_of(settings: Settings, environ: Mapping[str, str]) -> list[str]:
    """Return the secrets that stand in the settings and in the environment's URLs, for the log to leave out."""
    values = (getattr(settings, declared.name) for declared in declarations() if declared.is_secret)
    proxies = (settings.http_proxy, settings.https_proxy)
    return [
        *(value for value in values if value is not None),
        *_passwords_in_urls(environ),
        *(secret for proxy in proxies if proxy is not None for secret in proxy.secrets),
    ]


def _passwords_in_urls(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the password of every URL, as it stands there and decoded: an HTTP proxy's, an endpoint's.

    Servers quote them back: a proxy names whom it did not let through.
    """
    for name, value in environ.items():
        if "://" in value or name.lower().endswith("_proxy"):
            yield from passwords_in(value)


def _source(settings: Settings, environ: Mapping[str, str], sts: SecurityTokenService) -> Provider:
    match settings.credentials_provider:
        case None | CredentialsProvider.DEFAULT:
            from aws_signing_proxy.credentials.sdk.provider import DefaultChainProvider

            # So that the region of a flag counts where the chain asks STS, too.
            return DefaultChainProvider({**environ, "AWS_REGION": settings.region})
        case CredentialsProvider.AWSTOKEN:
            from aws_signing_proxy.credentials.static.awstoken import AwsTokenProvider

            return AwsTokenProvider(environ)
        case CredentialsProvider.IRSA:
            return _irsa(settings, sts)
        case CredentialsProvider.OIDC:
            return _open_id(settings, environ, sts)
        case CredentialsProvider.VAULT:
            from aws_signing_proxy.credentials.vault.provider import VaultProvider

            return VaultProvider(_vault_options(settings), sts=sts, environ=environ)


def _irsa(settings: Settings, sts: SecurityTokenService) -> Provider:
    from aws_signing_proxy.credentials.sts.irsa import IrsaOptions, IrsaProvider

    return IrsaProvider(
        IrsaOptions(
            role_arn=_required(settings.role_arn),
            token_file=_required(settings.web_identity_token_file),
            session_name=settings.irsa_client_id,
            duration_seconds=_whole(settings.role_session_duration_seconds),
        ),
        sts=sts,
    )


def _open_id(settings: Settings, environ: Mapping[str, str], sts: SecurityTokenService) -> Provider:
    from aws_signing_proxy.credentials.openid.provider import OpenIdOptions, OpenIdProvider

    auth = settings.open_id_client_auth
    return OpenIdProvider(
        OpenIdOptions(
            client_id=_required(settings.open_id_client_id),
            role_arn=_required(settings.role_arn),
            token_endpoint=settings.open_id_auth_server_url,
            issuer=settings.open_id_issuer_url,
            client_secret=settings.open_id_client_secret,
            client_secret_file=settings.open_id_client_secret_file,
            dialect=settings.open_id_dialect.value,
            client_authentication=None if auth is None else auth.value,
            key_file=settings.open_id_client_key_file,
            key_id=settings.open_id_client_key_id,
            scope=settings.open_id_scope,
            audience=settings.open_id_audience,
            token=settings.open_id_token_kind.value,
            ca_bundle=settings.open_id_ca_bundle,
            session_duration_seconds=_whole(settings.role_session_duration_seconds),
        ),
        sts=sts,
        environ=environ,
    )


def _vault_options(settings: Settings) -> VaultOptions:
    from aws_signing_proxy.credentials.vault.provider import VaultOptions

    given = {declared.name: getattr(settings, declared.name) for declared in declarations()}
    return VaultOptions(
        url=_required(settings.vault_url),
        path=_required(settings.vault_path),
        auth_method=(settings.vault_auth_method or vault_auth_method(given)).value,
        auth_mount=settings.vault_auth_mount,
        token=settings.vault_auth_token,
        token_file=settings.vault_auth_token_file,
        auth_role=settings.vault_auth_role,
        role_id=settings.vault_role_id,
        secret_id=settings.vault_secret_id,
        secret_id_file=settings.vault_secret_id_file,
        jwt_file=settings.vault_jwt_file,
        namespace=settings.vault_namespace,
        ca_bundle=settings.vault_ca_bundle,
        client_cert=settings.vault_client_cert,
        client_key=settings.vault_client_key,
        aws_role_arn=settings.vault_aws_role_arn,
        aws_ttl_seconds=settings.vault_aws_ttl_seconds,
        settling_timeout_seconds=settings.vault_settling_timeout_seconds,
    )


def _roles(settings: Settings) -> tuple[AssumedRole, ...]:
    from aws_signing_proxy.config.roles import RoleOptions
    from aws_signing_proxy.credentials.sts.service import AssumedRole

    arns = settings.assume_role_arns or ()
    options = settings.assume_role_options or (RoleOptions(),)
    if len(options) == 1:
        options *= len(arns)
    return tuple(
        AssumedRole(
            arn=arn,
            session_name=each.session_name or "aws-signing-proxy",
            external_id=each.external_id,
            duration_seconds=each.duration_seconds,
            tags=each.tags,
            transitive_tag_keys=each.transitive_tag_keys,
            policy=each.policy,
            policy_arns=each.policy_arns,
            source_identity=each.source_identity,
        )
        for arn, each in zip(arns, options, strict=True)
    )


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)


def _required(value: T | None) -> T:
    """Return a value that the settings' rules have made sure of."""
    if value is None:
        raise ValueError("a required setting is missing, and the settings' rules did not notice")
    return value
