"""The counters as Prometheus text, and the page that documents it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import REGISTRY

from aws_signing_proxy import __version__
from aws_signing_proxy.credentials.breaker import CircuitBreaker, CircuitState
from aws_signing_proxy.credentials.fetch import Step
from aws_signing_proxy.credentials.ledger import WHOLE_FETCH, FetchOutcome
from aws_signing_proxy.errors import ErrorCode
from aws_signing_proxy.observe.counters import (
    METHOD_CLASSES,
    NUMBERS,
    STATUS_CLASSES,
    Counters,
    Distribution,
    Limit,
    SentAgain,
)
from aws_signing_proxy.observe.exposition import BREAKER_COUNTS, BREAKER_STATES, CONTENT_TYPE, Exposition
from aws_signing_proxy.observe.metrics import METRICS, PREFIX, Kind, metrics_page

NOW = 1_000_000.0
PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


class FakeCredentials:
    """Valid ones whose source has never failed, unless a test says otherwise."""

    source = "vault"

    def __init__(self, *, is_valid: bool = True, expires_at: float | None = None) -> None:
        self.is_valid = is_valid
        self.expires_at = expires_at
        self.fetches = {"success": 0, "refused": 0, "failed": 0, "timeout": 0}
        self.rejections_total = 0
        self.breaker_state = "closed"
        self.breaker_counts: Mapping[str, int] = {}
        self.seconds: dict[str, Distribution] = {}

    def durations(self) -> Mapping[str, Distribution]:
        return self.seconds


def exposition(counters: Counters, credentials: FakeCredentials | None = None) -> Exposition:
    return Exposition(snapshot=counters.snapshot, credentials=credentials or FakeCredentials(), clock=lambda: NOW)


def samples(
    counters: Counters, credentials: FakeCredentials | None = None
) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text, _ = exposition(counters, credentials).render()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def plain(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return (name, frozenset(labels.items()))


def done(counters: Counters, *, status: int = 200, total_seconds: float = 0.02, code: str = "ok") -> None:
    counters.request_done(
        method=b"GET",
        status=status,
        code=code,
        total_seconds=total_seconds,
        first_byte_seconds=0.01,
        signing_seconds=0.00002,
        bytes_from_downstream=10,
        bytes_to_downstream=20,
    )


def test_the_text_is_declared_as_what_it_is() -> None:
    text, content_type = exposition(Counters()).render()
    assert content_type == CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"
    assert text.endswith(b"\n")


def test_requests_are_told_by_status_class() -> None:
    counters = Counters()
    for status in (200, 201, 299, 404, 999, 42):
        done(counters, status=status)
    found = samples(counters)
    name = PREFIX + "requests_total"
    assert found[plain(name, method="GET", status="2xx", code="ok")] == 3
    assert found[plain(name, method="GET", status="4xx", code="ok")] == 1
    assert found[plain(name, method="GET", status="other", code="ok")] == 2


def test_a_histogram_cumulates_its_buckets() -> None:
    counters = Counters()
    for seconds in (0.0005, 0.02, 0.02, 120.0):
        done(counters, total_seconds=seconds)
    found = samples(counters)
    name = PREFIX + "request_duration_seconds"
    assert found[plain(name + "_bucket", le="0.001")] == 1
    assert found[plain(name + "_bucket", le="0.025")] == 3
    assert found[plain(name + "_bucket", le="60.0")] == 3
    assert found[plain(name + "_bucket", le="+Inf")] == found[plain(name + "_count")] == 4
    assert found[plain(name + "_sum")] == pytest.approx(120.0405)


def test_every_number_of_the_counters_is_exposed_once() -> None:
    numbers = [metric.number for metric in METRICS if metric.number is not None]
    assert sorted(numbers) == sorted(NUMBERS)
    counters = Counters()
    for value, name in enumerate(NUMBERS, start=1):
        setattr(counters, name, value)
    found = samples(counters)
    for metric in METRICS:
        if metric.number is not None:
            assert found[plain(metric.name)] == NUMBERS.index(metric.number) + 1


def test_every_limit_is_exposed_before_it_was_ever_hit() -> None:
    counters = Counters()
    counters.limits_hit[Limit.HEAD_SIZE] += 2
    found = samples(counters)
    for limit in Limit:
        assert found[plain(PREFIX + "limits_hit_total", limit=limit)] == (2 if limit is Limit.HEAD_SIZE else 0)


def test_every_cause_of_a_retry_is_exposed_before_there_was_one() -> None:
    counters = Counters()
    counters.retries[SentAgain.CLOCK_SKEW] += 2
    found = samples(counters)
    for cause in SentAgain:
        assert found[plain(PREFIX + "retries_total", cause=cause)] == (2 if cause is SentAgain.CLOCK_SKEW else 0)
    assert counters.retries_total == 2


def test_the_credentials_expiry_counts_down() -> None:
    found = samples(Counters(), FakeCredentials(expires_at=NOW + 90))
    assert found[plain(PREFIX + "credentials_expiry_seconds")] == 90
    assert found[plain(PREFIX + "credentials_valid")] == 1


def test_an_unknown_expiry_is_absent_rather_than_a_number() -> None:
    found = samples(Counters(), FakeCredentials(is_valid=False))
    assert plain(PREFIX + "credentials_expiry_seconds") not in found
    assert found[plain(PREFIX + "credentials_valid")] == 0


def test_an_expiry_that_is_over_is_negative() -> None:
    found = samples(Counters(), FakeCredentials(is_valid=False, expires_at=NOW - 5))
    assert found[plain(PREFIX + "credentials_expiry_seconds")] == -5


def test_fetches_are_told_by_source_and_outcome_before_there_is_any() -> None:
    credentials = FakeCredentials()
    credentials.fetches["timeout"] = 3
    found = samples(Counters(), credentials)
    name = PREFIX + "credential_refreshes_total"
    assert found[plain(name, source="vault", outcome="timeout")] == 3
    for outcome in ("success", "refused", "failed"):
        assert found[plain(name, source="vault", outcome=outcome)] == 0


def test_the_time_of_a_fetch_is_told_as_a_whole_and_by_step() -> None:
    credentials = FakeCredentials()
    credentials.seconds = {
        "total": Distribution((0.1, 1.0), (1, 2, 1), 6.0),
        "authorization_server": Distribution((0.1, 1.0), (0, 1, 0), 0.5),
    }
    found = samples(Counters(), credentials)
    name = PREFIX + "credential_refresh_duration_seconds"
    assert found[plain(name + "_bucket", step="total", le="0.1")] == 1
    assert found[plain(name + "_bucket", step="total", le="1.0")] == 3
    assert found[plain(name + "_bucket", step="total", le="+Inf")] == 4
    assert found[plain(name + "_count", step="total")] == 4
    assert found[plain(name + "_sum", step="total")] == 6.0
    assert found[plain(name + "_count", step="authorization_server")] == 1
    assert plain(name + "_count", step="vault") not in found


def test_requests_that_wait_and_refusals_of_the_service_are_told() -> None:
    credentials, counters = FakeCredentials(), Counters()
    credentials.rejections_total, counters.credentials_waiting = 2, 4
    found = samples(counters, credentials)
    assert found[plain(PREFIX + "credentials_waiting")] == 4
    assert found[plain(PREFIX + "credential_rejections_total")] == 2


def test_a_circuit_that_was_never_needed_is_closed_and_has_counted_nothing() -> None:
    found = samples(Counters())
    assert found[plain("auth_circuit_breaker_state", state="closed")] == 1
    assert found[plain("auth_circuit_breaker_state", state="open")] == 0
    assert found[plain("auth_circuit_breaker_state", state="half-open")] == 0
    for name in ("requests", "total_successes", "total_failures", "consecutive_successes", "consecutive_failures"):
        assert found[plain("auth_circuit_breaker_count", type=name)] == 0


def test_a_breaker_tells_its_state_and_counts() -> None:
    credentials = FakeCredentials()
    credentials.breaker_state = "half-open"
    credentials.breaker_counts = {"requests": 7, "consecutive_failures": 3}
    found = samples(Counters(), credentials)
    assert found[plain("auth_circuit_breaker_state", state="half-open")] == 1
    assert found[plain("auth_circuit_breaker_state", state="closed")] == 0
    assert found[plain("auth_circuit_breaker_count", type="requests")] == 7
    assert found[plain("auth_circuit_breaker_count", type="total_failures")] == 0


def test_the_build_is_told() -> None:
    (build,) = [labels for (name, labels) in samples(Counters()) if name == PREFIX + "build_info"]
    assert dict(build)["version"] == __version__
    assert dict(build)["python"] == ".".join(map(str, sys.version_info[:3]))


def test_nothing_is_exposed_that_is_not_declared_and_nothing_declared_is_missing() -> None:
    counters = Counters()
    done(counters)
    declared = {metric.name: metric for metric in METRICS}
    exposed = {}
    credentials = FakeCredentials(expires_at=NOW)
    credentials.seconds = {"total": Distribution((1.0,), (1, 0), 0.5)}
    for family in exposition(counters, credentials).families():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        exposed[name] = family
    assert exposed.keys() == declared.keys()
    for name, family in exposed.items():
        assert family.type == declared[name].kind
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        assert labels == {label for label, _ in declared[name].labels}, name


def test_the_states_are_those_of_the_breaker() -> None:
    assert set(BREAKER_STATES) == set(CircuitState)
    assert set(BREAKER_COUNTS) == set(CircuitBreaker(failure_threshold=1, timeout_seconds=1).counts)


def test_names_follow_prometheus() -> None:
    for metric in METRICS:
        assert (metric.kind is Kind.COUNTER) == metric.name.endswith("_total")
        if metric.unit:
            assert metric.unit in metric.name
        assert metric.help.endswith(".")


def test_every_label_value_is_bounded_and_listed_in_the_page() -> None:
    page = metrics_page()
    told_of_credentials = (*FetchOutcome, *Step, WHOLE_FETCH, *CircuitState, *BREAKER_COUNTS)
    for value in (*METHOD_CLASSES, *STATUS_CLASSES, *ErrorCode, *Limit, *told_of_credentials):
        assert f"`{value}`" in page


def test_the_page_in_docs_is_the_generated_one() -> None:
    assert PAGE.read_text() == metrics_page(), "run: python -m aws_signing_proxy.observe.metrics > docs/metrics.md"


def test_the_library_s_global_registry_is_left_alone() -> None:
    before = set(REGISTRY._names_to_collectors)
    exposition(Counters())
    assert set(REGISTRY._names_to_collectors) == before


def test_only_the_exposition_imports_prometheus_client() -> None:
    code = (
        "import sys; import aws_signing_proxy.observe.counters, aws_signing_proxy.observe.metrics, "
        "aws_signing_proxy.observe.logs, aws_signing_proxy.observe.access_log; "
        "sys.exit('prometheus_client' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
