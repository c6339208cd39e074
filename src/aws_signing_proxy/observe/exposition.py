"""The counters as Prometheus text, made when somebody scrapes.

The only place that imports `prometheus_client`, which costs 30 to 40 ms and 5 MiB. Nothing is kept in its own metric
objects: a collector turns a snapshot into families, so the request path pays for integers only.
"""

from __future__ import annotations

import platform
import ssl
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from itertools import accumulate
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from aws_signing_proxy import __version__
from aws_signing_proxy.observe.counters import STATUS_CLASSES, Distribution, Snapshot
from aws_signing_proxy.observe.metrics import METRICS, PREFIX, Kind, Metric

__all__ = ["CONTENT_TYPE", "CredentialsState", "Exposition"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

BREAKER_STATES: Final = ("open", "half-open", "closed")
BREAKER_COUNTS: Final = (
    "requests",
    "total_successes",
    "total_failures",
    "consecutive_successes",
    "consecutive_failures",
)


class CredentialsState(Protocol):
    """What is told about the credentials in use, where they come from, and the circuit breaker before that."""

    @property
    def is_valid(self) -> bool:
        """Whether there are credentials that have not expired."""

    @property
    def expires_at(self) -> float | None:
        """When they expire, in seconds since the epoch; None where that is unknown or there are none."""

    @property
    def source(self) -> str:
        """What the source is called."""

    @property
    def fetches(self) -> Mapping[str, int]:
        """How many fetches ended in which way."""

    @property
    def rejections_total(self) -> int:
        """How often the service refused the credentials themselves."""

    def durations(self) -> Mapping[str, Distribution]:
        """Return how long fetches and their steps took, by step."""

    @property
    def breaker_state(self) -> str:
        """One of `BREAKER_STATES`."""

    @property
    def breaker_counts(self) -> Mapping[str, int]:
        """A number for each of `BREAKER_COUNTS`; an absent one is 0."""


class Exposition:
    """Renders all metrics of METRICS. `snapshot` gives the numbers, `clock` seconds since the epoch."""

    def __init__(
        self,
        *,
        snapshot: Callable[[], Snapshot],
        credentials: CredentialsState,
        clock: Callable[[], float],
    ) -> None:
        # Our own registry: the library's global one would be shared with whatever else runs in the process.
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Families(snapshot, credentials, clock))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def render(self) -> tuple[bytes, str]:
        """Return the text and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE

    def families(self) -> Iterator[Family]:
        """Yield everything that `render` writes."""
        yield from self._registry.collect()


class _Families(Collector):
    """Turns the numbers of this instant into metric families, in the order of METRICS."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        credentials: CredentialsState,
        clock: Callable[[], float],
    ) -> None:
        self._snapshot = snapshot
        self._credentials = credentials
        self._clock = clock
        self._labelled: dict[str, Callable[[Snapshot], Iterable[tuple[list[str], float]]]] = {
            PREFIX + "requests_total": _requests,
            PREFIX + "limits_hit_total": lambda now: [([limit], count) for limit, count in now.limits_hit.items()],
            PREFIX + "retries_total": lambda now: [([cause], count) for cause, count in now.retries.items()],
            PREFIX + "credentials_valid": lambda _: [([], float(credentials.is_valid))],
            PREFIX + "credentials_expiry_seconds": self._expiry,
            PREFIX + "credential_refreshes_total": lambda _: [
                ([credentials.source, outcome], count) for outcome, count in credentials.fetches.items()
            ],
            PREFIX + "credential_rejections_total": lambda _: [([], credentials.rejections_total)],
            PREFIX + "build_info": lambda _: [(_build_info(), 1.0)],
            "auth_circuit_breaker_state": lambda _: [
                ([state], float(state == credentials.breaker_state)) for state in BREAKER_STATES
            ],
            "auth_circuit_breaker_count": lambda _: [
                ([kind], credentials.breaker_counts.get(kind, 0)) for kind in BREAKER_COUNTS
            ],
        }

    def collect(self) -> Iterator[Family]:
        now = self._snapshot()
        for metric in METRICS:
            if metric.is_library:
                continue
            if metric.name == _REFRESH_DURATION:
                yield _histogram(metric, {(step,): each for step, each in self._credentials.durations().items()})
            elif metric.kind is Kind.HISTOGRAM:
                yield _histogram(metric, {(): getattr(now, _DISTRIBUTIONS[metric.name])})
            elif metric.number is not None:
                yield _family(metric, [([], now.numbers[metric.number])])
            else:
                yield _family(metric, self._labelled[metric.name](now))

    def _expiry(self, _now: Snapshot) -> Iterable[tuple[list[str], float]]:
        expires_at = self._credentials.expires_at
        return [] if expires_at is None else [([], expires_at - self._clock())]


_REFRESH_DURATION: Final = PREFIX + "credential_refresh_duration_seconds"
_DISTRIBUTIONS: Final = {
    PREFIX + "request_duration_seconds": "total_seconds",
    PREFIX + "upstream_first_byte_seconds": "first_byte_seconds",
    PREFIX + "signing_duration_seconds": "signing_seconds",
}


def _family(metric: Metric, samples: Iterable[tuple[list[str], float]]) -> Family:
    kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=[name for name, _ in metric.labels])
    for labels, value in samples:
        family.add_metric(labels, value)
    return family


def _histogram(metric: Metric, distributions: Mapping[tuple[str, ...], Distribution]) -> Family:
    """Return the family; `distributions` are by the values of the metric's labels."""
    family = HistogramMetricFamily(metric.name, metric.help, labels=[name for name, _ in metric.labels])
    for labels, distribution in distributions.items():
        bounds = [*map(repr, distribution.bounds), "+Inf"]
        cumulated = accumulate(distribution.counts)
        family.add_metric(list(labels), list(zip(bounds, cumulated, strict=True)), sum_value=distribution.total)
    return family


def _requests(now: Snapshot) -> Iterable[tuple[list[str], float]]:
    by_class: dict[tuple[str, str, str], int] = {}
    for (method, status, code), count in now.requests.items():
        status_class = f"{status // 100}xx"
        key = (method, status_class if status_class in STATUS_CLASSES else "other", code)
        by_class[key] = by_class.get(key, 0) + count
    return [(list(key), count) for key, count in by_class.items()]


@cache
def _build_info() -> list[str]:
    return [
        __version__,
        platform.python_version(),
        platform.python_implementation(),
        _version_of("httptools"),
        _version_of("uvloop"),
        ssl.OPENSSL_VERSION,
    ]


def _version_of(module: str) -> str:
    """Return the version of a library that is in use; empty where it is not."""
    # The module's own word: importlib.metadata would take 1 MiB, and 7 ms of the start.
    return str(getattr(sys.modules.get(module), "__version__", ""))
