"""The numbers that the request path bumps."""

from __future__ import annotations

import pytest

from aws_signing_proxy.errors import ErrorCode
from aws_signing_proxy.observe.counters import (
    METHOD_CLASSES,
    NUMBERS,
    SIGNING_BUCKETS_SECONDS,
    TIME_BUCKETS_SECONDS,
    Counters,
    Limit,
    SentAgain,
)


def count(
    counters: Counters,
    *,
    method: bytes = b"GET",
    status: int = 200,
    code: str = "ok",
    total_seconds: float = 0.02,
    first_byte_seconds: float | None = 0.01,
    signing_seconds: float | None = 0.00002,
) -> None:
    counters.request_done(
        method=method,
        status=status,
        code=code,
        total_seconds=total_seconds,
        first_byte_seconds=first_byte_seconds,
        signing_seconds=signing_seconds,
        bytes_from_downstream=10,
        bytes_to_downstream=20,
    )


def test_everything_starts_at_zero() -> None:
    snapshot = Counters().snapshot()
    assert snapshot.numbers == dict.fromkeys(NUMBERS, 0)
    assert snapshot.limits_hit == dict.fromkeys(Limit, 0)
    assert snapshot.requests == {}
    assert sum(snapshot.total_seconds.counts) == 0


def test_a_request_is_counted_by_method_status_and_code() -> None:
    counters = Counters()
    count(counters)
    count(counters)
    count(counters, method=b"PUT", status=502, code=ErrorCode.UPSTREAM_CLOSED)
    assert counters.snapshot().requests == {("GET", 200, "ok"): 2, ("PUT", 502, "upstream_closed"): 1}


def test_a_code_and_its_text_are_counted_together() -> None:
    counters = Counters()
    count(counters, code=ErrorCode.UPSTREAM_CLOSED)
    count(counters, code="upstream_closed")
    assert list(counters.requests.values()) == [2]


def test_methods_that_clients_make_up_share_one_label_value() -> None:
    counters = Counters()
    for number in range(1000):
        count(counters, method=b"MADE-UP-%d" % number)
    count(counters, method=b"get")
    assert counters.snapshot().requests == {("other", 200, "ok"): 1001}
    assert "other" in METHOD_CLASSES


def test_bytes_are_summed_both_ways() -> None:
    counters = Counters()
    count(counters)
    count(counters)
    assert (counters.bytes_from_downstream_total, counters.bytes_to_downstream_total) == (20, 40)


@pytest.mark.parametrize(
    ("seconds", "index"),
    [(0.0, 0), (0.001, 0), (0.0010001, 1), (60.0, len(TIME_BUCKETS_SECONDS) - 1), (61.0, len(TIME_BUCKETS_SECONDS))],
)
def test_a_time_falls_into_the_bucket_whose_bound_it_does_not_exceed(seconds: float, index: int) -> None:
    counters = Counters()
    count(counters, total_seconds=seconds)
    distribution = counters.snapshot().total_seconds
    assert [i for i, n in enumerate(distribution.counts) if n] == [index]
    assert distribution.total == seconds


def test_times_that_a_request_did_not_reach_are_not_observed() -> None:
    counters = Counters()
    count(counters, first_byte_seconds=None, signing_seconds=None)
    snapshot = counters.snapshot()
    assert sum(snapshot.first_byte_seconds.counts) == sum(snapshot.signing_seconds.counts) == 0
    assert sum(snapshot.total_seconds.counts) == 1


def test_signing_has_buckets_of_its_own() -> None:
    counters = Counters()
    count(counters, signing_seconds=0.00002)
    distribution = counters.snapshot().signing_seconds
    assert distribution.bounds == SIGNING_BUCKETS_SECONDS
    assert distribution.counts[2] == 1


def test_bucket_bounds_ascend() -> None:
    for bounds in (TIME_BUCKETS_SECONDS, SIGNING_BUCKETS_SECONDS):
        assert list(bounds) == sorted(set(bounds))


def test_a_snapshot_does_not_change_any_more() -> None:
    counters = Counters()
    snapshot = counters.snapshot()
    count(counters)
    counters.limits_hit[Limit.CONNECTIONS] += 1
    counters.retries[SentAgain.CLOCK_SKEW] += 1
    assert snapshot == Counters().snapshot()


def test_a_number_that_is_not_declared_cannot_be_bumped() -> None:
    with pytest.raises(AttributeError):
        Counters().surprises_total = 1  # type: ignore[attr-defined] # the point of the test
