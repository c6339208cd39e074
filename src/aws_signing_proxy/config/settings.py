"""Every setting of the program, declared once.

From this declaration come the flags, the environment names, the help, docs/configuration.md, the defaults
and the types. A number's unit stands in its attribute's name; in the environment it does not, there the
unit is part of the value.
"""
# ruff: noqa: RUF009 - `setting` returns a dataclass field, whose default is made once and never changes

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal

from aws_signing_proxy.config import kinds
from aws_signing_proxy.config.connection_kinds import SIGN_HOST
from aws_signing_proxy.config.connection_settings import ConnectionSettings
from aws_signing_proxy.config.declaration import Declaration, Section, declarations_of, setting

if TYPE_CHECKING:
    from pathlib import Path

    from aws_signing_proxy.config.values import LogFormat, LogLevel, PayloadMode, TargetUrl

__all__ = ["Settings", "declarations", "shown_value"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Settings(ConnectionSettings):
    """The settings of one run, validated. Secrets are left out of its `repr`."""

    target_url: TargetUrl = setting(
        kinds.TARGET_URL,
        Section.TARGET,
        "ASP_TARGET_URL",
        flags=("--target",),
        required=True,
        example="https://foo.eu-central-1.es.amazonaws.com",
        summary="Where to forward requests to. Without a scheme, https:// is meant. "
        "A path in it is put before every request's path.",
    )
    service: str = setting(
        kinds.NAME_IN_SCOPE,
        Section.TARGET,
        "ASP_SERVICE",
        default="es",
        summary="The AWS service to sign for, as it is named in signatures: es, aoss, s3, execute-api, ...",
    )
    region: str = setting(
        kinds.NAME_IN_SCOPE,
        Section.TARGET,
        "AWS_REGION",
        flags=("--region",),
        default="eu-central-1",
        summary="The AWS region to sign for.",
    )
    sign_host: str | None = setting(
        SIGN_HOST,
        Section.TARGET,
        "ASP_SIGN_HOST",
        unset="the target's",
        example="bucket.s3.eu-central-1.amazonaws.com",
        summary="The Host field that is signed and sent. Where connections go to, and whose certificate is expected, "
        "is still the target's.",
    )
    payload: PayloadMode = setting(
        kinds.PAYLOAD_MODE,
        Section.TARGET,
        "ASP_PAYLOAD",
        default="auto",
        summary="How bodies over ASP_BODY_MEMORY_LIMIT are signed: signed (hashed, then sent), unsigned, chunked, or "
        "auto, which goes by service and target.",
    )

    bind_address: str = setting(
        kinds.BIND_ADDRESS,
        Section.LISTENING,
        "ASP_BIND_ADDRESS",
        default="127.0.0.1",
        summary="The address to listen on. Whoever reaches it acts with your AWS identity.",
    )
    port: int = setting(
        kinds.PORT,
        Section.LISTENING,
        "ASP_PORT",
        default="8080",
        summary="The port to listen on; 0 takes any free one.",
    )
    unix_socket: Path | None = setting(
        kinds.SOCKET_PATH,
        Section.LISTENING,
        "ASP_UNIX_SOCKET",
        unset="not used",
        example="/run/aws-signing-proxy.sock",
        summary="Listen on this Unix domain socket instead of the address and port.",
    )
    mgmt_bind_address: str = setting(
        kinds.BIND_ADDRESS,
        Section.LISTENING,
        "ASP_MGMT_BIND_ADDRESS",
        default="127.0.0.1",
        summary="The address of the management port (health and metrics).",
    )
    mgmt_port: int = setting(
        kinds.PORT,
        Section.LISTENING,
        "ASP_MGMT_PORT",
        default="8081",
        summary="The management port; 0 takes any free one.",
    )

    workers: int | Literal["auto"] = setting(
        kinds.WORKERS,
        Section.LISTENING,
        "ASP_WORKERS",
        default="1",
        summary="The number of processes that serve requests; auto = one for each processor that this process may use. "
        "They share the limits on connections and on the memory for bodies.",
    )

    body_memory_limit_bytes: int = setting(
        kinds.size(),
        Section.LIMITS,
        "ASP_BODY_MEMORY_LIMIT",
        default="1MiB",
        summary="A request's body up to this size is kept in memory until it is signed, a larger one in a file.",
    )
    body_memory_total_bytes: int = setting(
        kinds.size(),
        Section.LIMITS,
        "ASP_BODY_MEMORY_TOTAL",
        default="64MiB",
        summary="The memory for all bodies together; beyond it they go to files.",
    )
    spool_dir: Path | None = setting(
        kinds.DIRECTORY,
        Section.LIMITS,
        "ASP_SPOOL_DIR",
        unset="the system's temporary directory",
        example="/var/tmp",  # noqa: S108 - an example in the documentation
        summary="The directory for the files of large bodies. They have no name in it.",
    )
    max_body_bytes: int = setting(
        kinds.size(),
        Section.LIMITS,
        "ASP_MAX_BODY",
        default="0",
        summary="A request with a larger body is answered 413; 0 = no limit.",
    )
    max_head_size_bytes: int = setting(
        kinds.size(least_bytes=1024),
        Section.LIMITS,
        "ASP_MAX_HEAD_SIZE",
        default="64KiB",
        summary="A request with a larger head (request line and fields) is answered 431; at least 1KiB.",
    )
    max_connections: int = setting(
        kinds.count(),
        Section.LIMITS,
        "ASP_MAX_CONNECTIONS",
        default="10000",
        summary="The number of client connections at the same time.",
    )

    max_upstream_connections: int = setting(
        kinds.count(),
        Section.UPSTREAM,
        "ASP_MAX_UPSTREAM_CONNECTIONS",
        default="256",
        summary="The number of connections to the target at the same time.",
    )
    warm_connections: int = setting(
        kinds.count(least=0),
        Section.UPSTREAM,
        "ASP_WARM_CONNECTIONS",
        default="0",
        summary="Connections to the target that are opened before a request needs them, at the start and in the place "
        "of those that end.",
    )
    upstream_wait_timeout_seconds: float = setting(
        kinds.duration(zero="means not to wait"),
        Section.UPSTREAM,
        "ASP_UPSTREAM_WAIT_TIMEOUT",
        default="10s",
        summary="How long a request waits for a connection to become free before it is answered 503; 0 = not at all.",
    )
    upstream_max_age_seconds: float = setting(
        kinds.duration(zero="means no limit"),
        Section.UPSTREAM,
        "ASP_UPSTREAM_MAX_AGE",
        default="5m",
        summary="A connection older than this takes no further request, so that the target's name is resolved again; "
        "0 = no limit.",
    )
    idle_conn_timeout_seconds: float = setting(
        kinds.duration(zero="means no limit"),
        Section.UPSTREAM,
        "ASP_IDLE_CONN_TIMEOUT",
        default="90s",
        summary="An idle connection to the target is closed after this; 0 = no limit.",
    )
    dial_timeout_seconds: float = setting(
        kinds.duration(zero="means no limit"),
        Section.UPSTREAM,
        "ASP_DIAL_TIMEOUT",
        default="30s",
        summary="How long connecting to the target may take, the TLS handshake included; 0 = no limit.",
    )
    ca_bundle: Path | None = setting(
        kinds.PEM_FILE,
        Section.UPSTREAM,
        "ASP_CA_BUNDLE",
        "SSL_CERT_FILE",
        "AWS_CA_BUNDLE",
        unset="the system's certificates",
        example="/etc/ssl/certs/company-ca.pem",
        summary="The certificates that are trusted for TLS to the target, instead of the system's.",
    )

    request_head_timeout_seconds: float = setting(
        kinds.duration(least_seconds=0.001),
        Section.TIMEOUTS,
        "ASP_REQUEST_HEAD_TIMEOUT",
        default="10s",
        summary="How long a request's head may take to arrive.",
    )
    client_idle_timeout_seconds: float = setting(
        kinds.duration(least_seconds=0.001),
        Section.TIMEOUTS,
        "ASP_CLIENT_IDLE_TIMEOUT",
        default="5m",
        summary="A client's connection without a request is closed after this.",
    )
    response_timeout_seconds: float = setting(
        kinds.duration(zero="means no limit"),
        Section.TIMEOUTS,
        "ASP_RESPONSE_TIMEOUT",
        default="5m",
        summary="How long the target may take to begin its response, before 504; 0 = no limit.",
    )
    progress_timeout_seconds: float = setting(
        kinds.duration(zero="means no limit"),
        Section.TIMEOUTS,
        "ASP_PROGRESS_TIMEOUT",
        default="2m",
        summary="How long a body may stand still, in either direction; 0 = no limit.",
    )
    drain_timeout_seconds: float = setting(
        kinds.duration(zero="means not to wait"),
        Section.TIMEOUTS,
        "ASP_DRAIN_TIMEOUT",
        default="30s",
        summary="How long requests in flight may take to finish after SIGTERM or SIGINT; 0 = they are cut off.",
    )
    upgrade_idle_timeout_seconds: float = setting(
        kinds.duration(zero="means no limit"),
        Section.TIMEOUTS,
        "ASP_UPGRADE_IDLE_TIMEOUT",
        default="10m",
        summary="A WebSocket on which nothing moves, in either direction, is closed after this; 0 = no limit.",
    )
    flush_interval_seconds: float = setting(
        kinds.duration(),
        Section.TIMEOUTS,
        "ASP_FLUSH_INTERVAL",
        default="0s",
        summary="How long a response's bytes may be held back to be sent together; 0 = they are sent as they come.",
    )

    log_level: LogLevel = setting(
        kinds.LOG_LEVEL,
        Section.OBSERVE,
        "ASP_LOG_LEVEL",
        default="info",
        summary="The least severe messages to log: debug, info, warning or error.",
    )
    log_format: LogFormat = setting(
        kinds.LOG_FORMAT,
        Section.OBSERVE,
        "ASP_LOG_FORMAT",
        default="json",
        summary="How log lines are written: json, one object a line, or console, for people.",
    )
    access_log: bool = setting(
        kinds.BOOLEAN,
        Section.OBSERVE,
        "ASP_ACCESS_LOG",
        default="false",
        summary="Log one line for every request. Query values are left out.",
    )
    metrics_path: str = setting(
        kinds.MANAGEMENT_PATH,
        Section.OBSERVE,
        "ASP_METRICS_PATH",
        default="/status/metrics",
        summary="The path of the Prometheus metrics on the management port.",
    )

    def __repr__(self) -> str:
        shown = (
            f"{declared.name}={shown_value(declared, getattr(self, declared.name))}" for declared in declarations()
        )
        return f"{type(self).__name__}({', '.join(shown)})"


def shown_value(declared: Declaration, value: object) -> str:
    """Return a setting's value as it may be shown to people; a secret's as three asterisks."""
    if declared.is_secret and value is not None:
        return "***"
    # Texts as they would be shown in a problem: a URL without its query, which may hold a secret.
    return declared.kind.show(str(value)) if isinstance(value, str | PurePath) else repr(value)


@cache
def declarations() -> tuple[Declaration, ...]:
    """Return the declaration of every setting, in the order of the help and the documentation."""
    sections = list(Section)
    return tuple(sorted(declarations_of(Settings), key=lambda declared: sections.index(declared.section)))
