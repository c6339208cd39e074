"""Every metric, declared once: what is exposed and docs/metrics.md both come from this table.

Names follow Prometheus: base units (seconds, bytes), counters end in `_total`. Labels have bounded values only.
`python -m aws_signing_proxy.observe.metrics > docs/metrics.md` writes the page again; a test fails while it differs.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Final, NamedTuple

from aws_signing_proxy.errors import ErrorCode
from aws_signing_proxy.observe.counters import (
    METHOD_CLASSES,
    SIGNING_BUCKETS_SECONDS,
    STATUS_CLASSES,
    TIME_BUCKETS_SECONDS,
    Limit,
    SentAgain,
)

__all__ = ["METRICS", "PREFIX", "Kind", "Metric", "metrics_page"]

PREFIX: Final = "aws_signing_proxy_"


class Kind(StrEnum):
    """How Prometheus reads a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Metric(NamedTuple):
    """One metric. `labels` maps each label to what its values are.

    `number` is the attribute of `Counters` that holds the value, where one integer is all there is to it.
    `is_library` marks those that prometheus_client measures by itself.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[tuple[str, str], ...] = ()
    unit: str = ""
    number: str | None = None
    is_library: bool = False


def _listed(values: tuple[str, ...]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _number(name: str, kind: Kind, text: str, *, unit: str = "", number: str | None = None) -> Metric:
    return Metric(PREFIX + name, kind, text, unit=unit, number=number or name)


def _library(name: str, kind: Kind, text: str, *, labels: tuple[tuple[str, str], ...] = (), unit: str = "") -> Metric:
    return Metric(name, kind, text, labels=labels, unit=unit, is_library=True)


_GENERATION: Final = (("generation", "`0`, `1`, `2`"),)

_OUTCOMES: Final = (
    "`success`; `refused`: the source is misconfigured or its server refused; `absent`: no place that was looked at "
    "has any; `failed`: it could not be reached, or failed; `timeout`: it was given up, or could not begin because one "
    "before it has not come back"
)
_STEPS: Final = (
    "`total`: the whole fetch; a request to the `authorization_server`, to `vault`, to `sts`; `sdk`: the AWS SDK's own "
    "chain"
)

METRICS: Final = (
    Metric(
        PREFIX + "requests_total",
        Kind.COUNTER,
        "Finished requests.",
        labels=(
            ("method", _listed(METHOD_CLASSES)),
            ("status", _listed(STATUS_CLASSES)),
            (
                "code",
                "`ok` where the upstream's own answer was relayed, else the error's code (errors.md): "
                + _listed(tuple(ErrorCode)),
            ),
        ),
    ),
    Metric(
        PREFIX + "request_duration_seconds",
        Kind.HISTOGRAM,
        "Time from a request's head, when it is here, to the last byte of its answer. Without what was refused unread.",
        unit="seconds",
    ),
    Metric(
        PREFIX + "upstream_first_byte_seconds",
        Kind.HISTOGRAM,
        "Time from a request's head, when it is here, to the first byte of the upstream's response.",
        unit="seconds",
    ),
    Metric(PREFIX + "signing_duration_seconds", Kind.HISTOGRAM, "Time to sign a request.", unit="seconds"),
    _number("requests_in_flight", Kind.GAUGE, "Requests that have begun and are not finished."),
    _number(
        "request_body_bytes_total",
        Kind.COUNTER,
        "Bytes of request bodies received from clients, without their framing.",
        unit="bytes",
        number="bytes_from_downstream_total",
    ),
    _number(
        "response_body_bytes_total",
        Kind.COUNTER,
        "Bytes of response bodies sent to clients.",
        unit="bytes",
        number="bytes_to_downstream_total",
    ),
    _number("downstream_connections_open", Kind.GAUGE, "Open connections of clients."),
    _number("downstream_connections_total", Kind.COUNTER, "Connections of clients accepted."),
    _number("downstream_tls_handshakes_total", Kind.COUNTER, "TLS handshakes with clients that were completed."),
    _number(
        "downstream_tls_failures_total",
        Kind.COUNTER,
        "TLS handshakes with clients that failed, plain HTTP on the TLS port included; the debug log has the reasons.",
    ),
    _number("tunnels_open", Kind.GAUGE, "Connections that speak another protocol after an Upgrade (WebSocket)."),
    _number("tunnels_total", Kind.COUNTER, "Requests that the upstream answered with 101 (Switching Protocols)."),
    _number("upstream_connections_open", Kind.GAUGE, "Open connections to the upstream, idle ones included."),
    _number("upstream_connections_idle", Kind.GAUGE, "Open connections to the upstream that wait for a request."),
    _number("upstream_waiting", Kind.GAUGE, "Requests that wait for an upstream connection."),
    _number("upstream_connects_total", Kind.COUNTER, "Attempts to connect to the upstream."),
    _number("upstream_connect_failures_total", Kind.COUNTER, "Attempts to connect to the upstream that failed."),
    _number("upstream_tls_handshakes_total", Kind.COUNTER, "TLS handshakes with the upstream."),
    _number("upstream_tls_sessions_reused_total", Kind.COUNTER, "TLS handshakes that resumed an earlier session."),
    _number("upstream_reuses_total", Kind.COUNTER, "Requests sent on a connection that was already open."),
    Metric(
        PREFIX + "retries_total",
        Kind.COUNTER,
        "Requests that the proxy sent once more: a reused connection had been closed, or the service refused their "
        "time or their credentials.",
        labels=(("cause", _listed(tuple(SentAgain))),),
    ),
    _number(
        "clock_offset_seconds",
        Kind.GAUGE,
        "How far the service's clock is ahead of the local one, as learned from refused requests; it is added to the "
        "time that is signed.",
        unit="seconds",
    ),
    _number("bodies_spooled_total", Kind.COUNTER, "Request bodies that went to a temporary file."),
    _number("spooled_bytes_total", Kind.COUNTER, "Bytes written to temporary files.", unit="bytes"),
    _number("spool_bytes", Kind.GAUGE, "Bytes in temporary files now.", unit="bytes"),
    _number("body_memory_bytes", Kind.GAUGE, "Memory held by request bodies now.", unit="bytes"),
    Metric(
        PREFIX + "limits_hit_total",
        Kind.COUNTER,
        "How often a limit or a timeout of the proxy was run into.",
        labels=(("limit", _listed(tuple(Limit))),),
    ),
    Metric(
        PREFIX + "credentials_valid",
        Kind.GAUGE,
        "1 while there are credentials to sign with that have not expired, else 0.",
    ),
    Metric(
        PREFIX + "credentials_expiry_seconds",
        Kind.GAUGE,
        "Seconds until the credentials expire, negative after that; absent where they name no end.",
        unit="seconds",
    ),
    _number("credentials_waiting", Kind.GAUGE, "Requests that wait for credentials."),
    Metric(
        PREFIX + "credential_refreshes_total",
        Kind.COUNTER,
        "Fetches of credentials that have ended.",
        labels=(
            ("source", "the credentials provider: `awstoken`, `default`, `irsa`, `oidc`, `vault`"),
            (
                "outcome",
                _OUTCOMES,
            ),
        ),
    ),
    Metric(
        PREFIX + "credential_refresh_duration_seconds",
        Kind.HISTOGRAM,
        "Time that fetches of credentials took, whether they succeeded or not.",
        labels=(
            (
                "step",
                _STEPS,
            ),
        ),
        unit="seconds",
    ),
    Metric(
        PREFIX + "credential_rejections_total",
        Kind.COUNTER,
        "How often the service said that the credentials are expired or unknown, and others were fetched.",
    ),
    _number("workers_running", Kind.GAUGE, "Workers that serve clients: 1, or as many as ASP_WORKERS says."),
    _number(
        "workers_silent",
        Kind.GAUGE,
        "Workers that have not said anything for 5 seconds. Their figures are the last ones that they gave.",
    ),
    _number(
        "worker_deaths_total",
        Kind.COUNTER,
        "Workers that ended without being told to by the supervisor; each is replaced.",
    ),
    Metric(
        PREFIX + "build_info",
        Kind.GAUGE,
        "Always 1; the labels say what runs.",
        labels=(
            ("version", "the proxy's version"),
            ("python", "the interpreter's version"),
            ("implementation", "the interpreter, `CPython`"),
            ("httptools", "the parser's version"),
            ("uvloop", "the event loop's version, empty where it is not installed"),
            ("openssl", "the TLS library's version"),
        ),
    ),
    Metric(
        "auth_circuit_breaker_state",
        Kind.GAUGE,
        "1 for the state that the circuit breaker before the credentials' servers is in, 0 for the others. "
        "Always closed with credentials that need no server.",
        labels=(("state", "`open`, `half-open`, `closed`"),),
    ),
    Metric(
        "auth_circuit_breaker_count",
        Kind.GAUGE,
        "What the circuit breaker counts since its state last changed.",
        labels=(
            (
                "type",
                "`requests`, `total_successes`, `total_failures`, `consecutive_successes`, `consecutive_failures`",
            ),
        ),
    ),
    _library("process_virtual_memory_bytes", Kind.GAUGE, "Virtual memory size of the process.", unit="bytes"),
    _library("process_resident_memory_bytes", Kind.GAUGE, "Resident memory size of the process.", unit="bytes"),
    _library("process_start_time_seconds", Kind.GAUGE, "When the process started, since the epoch.", unit="seconds"),
    _library("process_cpu_seconds_total", Kind.COUNTER, "CPU time of the process, user and system.", unit="seconds"),
    _library("process_max_fds", Kind.GAUGE, "Limit of open file descriptors."),
    _library("process_open_fds", Kind.GAUGE, "Open file descriptors."),
    _library(
        "python_gc_objects_collected_total",
        Kind.COUNTER,
        "Objects collected by the garbage collector.",
        labels=_GENERATION,
    ),
    _library(
        "python_gc_objects_uncollectable_total", Kind.COUNTER, "Objects that it could not collect.", labels=_GENERATION
    ),
    _library("python_gc_collections_total", Kind.COUNTER, "Runs of the garbage collector.", labels=_GENERATION),
    _library(
        "python_info",
        Kind.GAUGE,
        "Always 1; the interpreter.",
        labels=tuple(
            (name, "of the interpreter") for name in ("implementation", "major", "minor", "patchlevel", "version")
        ),
    ),
)


def metrics_page() -> str:
    """Return docs/metrics.md."""
    library = [metric for metric in METRICS if metric.is_library]
    own = [metric for metric in METRICS if metric.name.startswith(PREFIX)]
    kept = [metric for metric in METRICS if metric not in library and metric not in own]
    parts = [_INTRODUCTION]
    for title, metrics in (
        ("The proxy", own),
        ("Kept from the original, by name", kept),
        ("The process and its interpreter", library),
    ):
        parts.append(f"## {title}\n")
        parts += [_entry(metric) for metric in metrics]
    return "\n".join(parts).rstrip("\n") + "\n"


def _entry(metric: Metric) -> str:
    kind = f"{metric.kind}, in {metric.unit}" if metric.unit else str(metric.kind)
    lines = [f"### `{metric.name}`\n", f"{metric.help} ({kind})\n"]
    lines += [f"- `{name}`: {values}" for name, values in metric.labels]
    if metric.labels:
        lines.append("")
    return "\n".join(lines)


def _buckets(bounds: tuple[float, ...]) -> str:
    return ", ".join(f"{bound:g}" for bound in bounds)


_INTRODUCTION: Final = f"""\
# Metrics

<!-- Generated from src/aws_signing_proxy/observe/metrics.py: `python -m aws_signing_proxy.observe.metrics`. -->

The management port answers `GET /status/metrics` (`ASP_METRICS_PATH`) with Prometheus text, version 0.0.4.
All labels have a bounded number of values, which are listed here; no metric holds a path, a client or a secret.

Buckets of the histograms, in seconds:

- signing: {_buckets(SIGNING_BUCKETS_SECONDS)}
- the others: {_buckets(TIME_BUCKETS_SECONDS)}
"""

if __name__ == "__main__":
    sys.stdout.write(metrics_page())
