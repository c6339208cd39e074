"""The declaration: every setting is complete, has its contract's names and defaults, and hides its secrets."""

from __future__ import annotations

import dataclasses

import pytest

from aws_signing_proxy.config.declaration import Declaration, Section
from aws_signing_proxy.config.settings import Settings, declarations
from aws_signing_proxy.config.values import LogFormat, LogLevel, OpenIdDialect, OpenIdToken, PayloadMode, TargetUrl

TARGET = TargetUrl("https", "host", 443)

each_setting = pytest.mark.parametrize("declared", declarations(), ids=lambda declared: declared.name)

# Attribute, environment names, flags (two dashes left out), default: the contract's table and the issue's.
CONTRACT: list[tuple[str, str, str, object]] = [
    ("target_url", "ASP_TARGET_URL", "target-url target", None),
    ("service", "ASP_SERVICE", "service", "es"),
    ("region", "AWS_REGION", "region", "eu-central-1"),
    ("sign_host", "ASP_SIGN_HOST", "sign-host", None),
    ("payload", "ASP_PAYLOAD", "payload", PayloadMode.AUTO),
    ("bind_address", "ASP_BIND_ADDRESS", "bind-address", "127.0.0.1"),
    ("port", "ASP_PORT", "port", 8080),
    ("unix_socket", "ASP_UNIX_SOCKET", "unix-socket", None),
    ("mgmt_bind_address", "ASP_MGMT_BIND_ADDRESS", "mgmt-bind-address", "127.0.0.1"),
    ("mgmt_port", "ASP_MGMT_PORT", "mgmt-port", 8081),
    ("workers", "ASP_WORKERS", "workers", 1),
    ("tls_cert", "ASP_TLS_CERT", "tls-cert", None),
    ("tls_key", "ASP_TLS_KEY", "tls-key", None),
    ("tls_client_ca", "ASP_TLS_CLIENT_CA", "tls-client-ca", None),
    ("credentials_provider", "ASP_CREDENTIALS_PROVIDER", "credentials-provider", None),
    ("is_background_refresh", "ASP_BACKGROUND_REFRESH", "background-refresh", True),
    ("credentials_wait_timeout_seconds", "ASP_CREDENTIALS_WAIT_TIMEOUT", "credentials-wait-timeout", 10.0),
    ("credentials_fetch_timeout_seconds", "ASP_CREDENTIALS_FETCH_TIMEOUT", "credentials-fetch-timeout", 20.0),
    (
        "circuit_breaker_failure_threshold",
        "ASP_CIRCUIT_BREAKER_FAILURE_THRESHOLD",
        "circuit-breaker-failure-threshold",
        5,
    ),
    ("circuit_breaker_timeout_seconds", "ASP_CIRCUIT_BREAKER_TIMEOUT", "circuit-breaker-timeout", 60.0),
    ("role_arn", "ASP_ROLE_ARN AWS_ROLE_ARN", "role-arn", None),
    ("role_session_duration_seconds", "ASP_ROLE_SESSION_DURATION", "role-session-duration", None),
    ("irsa_client_id", "ASP_IRSA_CLIENT_ID AWS_ROLE_SESSION_NAME", "irsa-client-id", "aws-signing-proxy"),
    ("web_identity_token_file", "AWS_WEB_IDENTITY_TOKEN_FILE", "", None),
    ("assume_role_arns", "ASP_ASSUME_ROLE_ARNS", "assume-role-arns", None),
    ("assume_role_options", "ASP_ASSUME_ROLE_OPTIONS", "assume-role-options", None),
    ("open_id_auth_server_url", "ASP_OPEN_ID_AUTH_SERVER_URL", "open-id-auth-server-url openid-auth-server-url", None),
    ("open_id_issuer_url", "ASP_OPEN_ID_ISSUER_URL", "open-id-issuer-url", None),
    ("open_id_client_id", "ASP_OPEN_ID_CLIENT_ID", "open-id-client-id openid-client-id", None),
    ("open_id_client_secret", "ASP_OPEN_ID_CLIENT_SECRET", "open-id-client-secret openid-client-secret", None),
    ("open_id_client_secret_file", "ASP_OPEN_ID_CLIENT_SECRET_FILE", "open-id-client-secret-file", None),
    ("open_id_client_key_file", "ASP_OPEN_ID_CLIENT_KEY_FILE", "open-id-client-key-file", None),
    ("open_id_client_key_id", "ASP_OPEN_ID_CLIENT_KEY_ID", "open-id-client-key-id", None),
    ("open_id_client_auth", "ASP_OPEN_ID_CLIENT_AUTH", "open-id-client-auth", None),
    ("open_id_dialect", "ASP_OPEN_ID_DIALECT", "open-id-dialect", OpenIdDialect.AUTO),
    ("open_id_scope", "ASP_OPEN_ID_SCOPE", "open-id-scope", None),
    ("open_id_audience", "ASP_OPEN_ID_AUDIENCE", "open-id-audience", None),
    ("open_id_token_kind", "ASP_OPEN_ID_TOKEN", "open-id-token", OpenIdToken.AUTO),
    ("open_id_ca_bundle", "ASP_OPEN_ID_CA_BUNDLE", "open-id-ca-bundle", None),
    (
        "is_open_id_fetch_async",
        "ASP_ASYNC_OPEN_ID_CREDENTIALS_FETCH",
        "async-open-id-credentials-fetch async-open-id-creds-fetch",
        False,
    ),
    ("vault_url", "ASP_VAULT_URL", "vault-url", None),
    ("vault_path", "ASP_VAULT_PATH ASP_VAULT_CREDENTIALS_PATH", "vault-path vault-credentials-path", None),
    ("vault_auth_method", "ASP_VAULT_AUTH_METHOD", "vault-auth-method", None),
    ("vault_auth_mount", "ASP_VAULT_AUTH_MOUNT", "vault-auth-mount", None),
    ("vault_auth_token", "ASP_VAULT_AUTH_TOKEN", "vault-auth-token vault-token", None),
    ("vault_auth_token_file", "ASP_VAULT_AUTH_TOKEN_FILE", "vault-auth-token-file", None),
    ("vault_auth_role", "ASP_VAULT_AUTH_ROLE", "vault-auth-role", None),
    ("vault_role_id", "ASP_VAULT_ROLE_ID", "vault-role-id", None),
    ("vault_secret_id", "ASP_VAULT_SECRET_ID", "vault-secret-id", None),
    ("vault_secret_id_file", "ASP_VAULT_SECRET_ID_FILE", "vault-secret-id-file", None),
    ("vault_jwt_file", "ASP_VAULT_JWT_FILE", "vault-jwt-file", None),
    ("vault_namespace", "ASP_VAULT_NAMESPACE", "vault-namespace", None),
    ("vault_ca_bundle", "ASP_VAULT_CA_BUNDLE", "vault-ca-bundle", None),
    ("vault_client_cert", "ASP_VAULT_CLIENT_CERT", "vault-client-cert", None),
    ("vault_client_key", "ASP_VAULT_CLIENT_KEY", "vault-client-key", None),
    ("vault_aws_role_arn", "ASP_VAULT_AWS_ROLE_ARN", "vault-aws-role-arn", None),
    ("vault_aws_ttl_seconds", "ASP_VAULT_AWS_TTL", "vault-aws-ttl", None),
    ("vault_settling_timeout_seconds", "ASP_VAULT_SETTLING_TIMEOUT", "vault-settling-timeout", 15.0),
    ("body_memory_limit_bytes", "ASP_BODY_MEMORY_LIMIT", "body-memory-limit", 1048576),
    ("body_memory_total_bytes", "ASP_BODY_MEMORY_TOTAL", "body-memory-total", 67108864),
    ("spool_dir", "ASP_SPOOL_DIR", "spool-dir", None),
    ("max_body_bytes", "ASP_MAX_BODY", "max-body", 0),
    ("max_head_size_bytes", "ASP_MAX_HEAD_SIZE", "max-head-size", 65536),
    ("max_connections", "ASP_MAX_CONNECTIONS", "max-connections", 10000),
    ("max_upstream_connections", "ASP_MAX_UPSTREAM_CONNECTIONS", "max-upstream-connections", 256),
    ("warm_connections", "ASP_WARM_CONNECTIONS", "warm-connections", 0),
    ("upstream_wait_timeout_seconds", "ASP_UPSTREAM_WAIT_TIMEOUT", "upstream-wait-timeout", 10.0),
    ("upstream_max_age_seconds", "ASP_UPSTREAM_MAX_AGE", "upstream-max-age", 300.0),
    ("idle_conn_timeout_seconds", "ASP_IDLE_CONN_TIMEOUT", "idle-conn-timeout", 90.0),
    ("dial_timeout_seconds", "ASP_DIAL_TIMEOUT", "dial-timeout", 30.0),
    ("ca_bundle", "ASP_CA_BUNDLE SSL_CERT_FILE AWS_CA_BUNDLE", "ca-bundle", None),
    ("http_proxy", "http_proxy HTTP_PROXY", "", None),
    ("https_proxy", "https_proxy HTTPS_PROXY", "", None),
    ("no_proxy", "no_proxy NO_PROXY", "", None),
    ("connect_to", "ASP_CONNECT_TO", "connect-to", None),
    ("client_cert", "ASP_CLIENT_CERT", "client-cert", None),
    ("client_key", "ASP_CLIENT_KEY", "client-key", None),
    ("insecure_skip_verify", "ASP_INSECURE_SKIP_VERIFY", "insecure-skip-verify", False),
    ("request_head_timeout_seconds", "ASP_REQUEST_HEAD_TIMEOUT", "request-head-timeout", 10.0),
    ("client_idle_timeout_seconds", "ASP_CLIENT_IDLE_TIMEOUT", "client-idle-timeout", 300.0),
    ("response_timeout_seconds", "ASP_RESPONSE_TIMEOUT", "response-timeout", 300.0),
    ("progress_timeout_seconds", "ASP_PROGRESS_TIMEOUT", "progress-timeout", 120.0),
    ("drain_timeout_seconds", "ASP_DRAIN_TIMEOUT", "drain-timeout", 30.0),
    ("upgrade_idle_timeout_seconds", "ASP_UPGRADE_IDLE_TIMEOUT", "upgrade-idle-timeout", 600.0),
    ("flush_interval_seconds", "ASP_FLUSH_INTERVAL", "flush-interval", 0.0),
    ("log_level", "ASP_LOG_LEVEL", "log-level", LogLevel.INFO),
    ("log_format", "ASP_LOG_FORMAT", "log-format", LogFormat.JSON),
    ("access_log", "ASP_ACCESS_LOG", "access-log", False),
    ("metrics_path", "ASP_METRICS_PATH", "metrics-path", "/status/metrics"),
]


def test_the_settings_are_those_of_the_contract_in_its_names_and_defaults() -> None:
    settings = Settings(target_url=TARGET)
    assert [
        (
            declared.name,
            " ".join(declared.environment),
            " ".join(flag.removeprefix("--") for flag in declared.flags),
            None if declared.is_required else getattr(settings, declared.name),
        )
        for declared in declarations()
    ] == CONTRACT


@each_setting
def test_a_default_is_the_value_of_its_documented_text(declared: Declaration) -> None:
    if declared.default_text is not None:
        value = getattr(Settings(target_url=TARGET), declared.name)
        assert declared.kind.parse(declared.default_text) == value


@each_setting
def test_a_number_has_its_unit_in_its_name(declared: Declaration) -> None:
    placeholders = {"DURATION": "_seconds", "SIZE": "_bytes"}
    if unit := placeholders.get(declared.kind.placeholder):
        assert declared.name.endswith(unit)


@each_setting
def test_a_setting_explains_itself_in_sentences(declared: Declaration) -> None:
    assert declared.summary[0].isupper()
    assert declared.summary.endswith(".")
    assert declared.kind.expected
    assert declared.environment


@each_setting
def test_an_example_is_a_good_value(declared: Declaration) -> None:
    # Examples of files name files that are not here.
    if declared.example and declared.kind.placeholder != "PATH":
        declared.kind.parse(declared.example)


@each_setting
def test_what_is_called_token_or_secret_is_secret(declared: Declaration) -> None:
    assert declared.is_secret == declared.name.endswith(("_token", "_secret", "_secret_id"))


def test_every_section_has_settings() -> None:
    assert {declared.section for declared in declarations()} == set(Section)


def test_no_two_settings_share_a_name() -> None:
    for names in (
        [name for declared in declarations() for name in declared.environment],
        [flag for declared in declarations() for flag in declared.flags],
    ):
        assert len(names) == len(set(names))


def test_settings_have_no_secret_in_their_text() -> None:
    settings = Settings(
        target_url=TARGET,
        vault_auth_token="hvs.abc",
        open_id_client_secret="s3cr3t",
        open_id_auth_server_url="https://auth/token?key=s3cr3t",
    )
    for text in (repr(settings), str(settings), f"{settings}"):
        assert "hvs.abc" not in text
        assert "s3cr3t" not in text
        assert "vault_auth_token=***" in text
        assert 'open_id_auth_server_url="https://auth/token?***"' in text
        assert "port=8080" in text


def test_a_secret_that_is_not_set_is_seen_not_to_be() -> None:
    assert "vault_auth_token=None" in repr(Settings(target_url=TARGET))


def test_settings_cannot_be_changed() -> None:
    settings = Settings(target_url=TARGET)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.port = 1  # type: ignore[misc]  # they are frozen, which is the point
