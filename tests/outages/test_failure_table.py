"""Every way in which a source fails: what clients are answered, what is logged, and what is counted, word by word."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.outages import rows_openid, rows_sdk, rows_sts, rows_vault
from tests.outages.conftest import Start, metrics
from tests.outages.load import Answer, ask
from tests.outages.table import Places, Row, places, shown
from tests.proxy.proxy_process import ProxyProcess

ROWS = (*rows_sts.ROWS, *rows_openid.ROWS, *rows_vault.ROWS, *rows_sdk.ROWS)

# Nothing is fetched until it is ordered: what is counted then is one fetch, however slow the machine is.
SETTINGS = {"ASP_BACKGROUND_REFRESH": "false", "ASP_CREDENTIALS_WAIT_TIMEOUT": "100ms"}
# It has to import botocore within that, too.
SILENT = {"ASP_CREDENTIALS_FETCH_TIMEOUT": "3s"}
# Of a name server that is not there, the C library is to give up soon.
NO_NAME = {"RES_OPTIONS": "timeout:1 attempts:1"}


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Places]:
    with places() as found:
        yield found


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_failure_is_answered_logged_and_counted_as_the_table_says(
    row: Row, elsewhere: Places, tmp_path: Path, start: Start
) -> None:
    with row.source(tmp_path) as source:
        more = (SILENT if "silent" in row.name else {}) | (NO_NAME if "name" in row.name else {})
        proxy, service = start(source, **{**SETTINGS, **more, **(row.fail(source, elsewhere) or {})})
        row.fail_later(source)
        if not row.is_local:
            proxy.signal(signal.SIGHUP)
        line = proxy.wait_for_log("no valid credentials")
        counts = metrics(proxy)
        told = about(proxy)
        answer = ask(proxy.port)
        assert shown(line["reason"], source, elsewhere) == row.reason
        check_log(line, row, proxy)
        check_counts(counts, row)
        assert (told["outcome"], told["reason"]) == (row.outcome, line["reason"])
        check_answer(answer, row, line["reason"])
        assert service.requests == []


def check_log(line: Mapping[str, Any], row: Row, proxy: ProxyProcess) -> None:
    fields = {name: value for name, value in line.items() if name not in {"timestamp", "reason", "next_try_in_seconds"}}
    assert fields == {
        "level": "error",
        "event": "no valid credentials",
        "logger": "aws_signing_proxy.credentials",
        "provider": row.source.name,
    }
    # Chance takes up to a fifth off a delay of ours, and adds as much to what a server wishes.
    shortest, longest = (
        (0.79, 1.0) if row.next_try_seconds == 1.0 else (row.next_try_seconds, 1.2 * row.next_try_seconds)
    )
    assert shortest <= line["next_try_in_seconds"] <= longest
    assert [one["event"] for one in proxy.log if one["level"] not in {"info", "debug"}][:1] == ["no valid credentials"]


def check_counts(counts: Mapping[str, float], row: Row) -> None:
    refreshes = {
        outcome: counts[
            f'aws_signing_proxy_credential_refreshes_total{{outcome="{outcome}",source="{row.source.name}"}}'
        ]
        for outcome in ("success", "refused", "absent", "failed", "timeout")
    }
    assert refreshes == dict.fromkeys(refreshes, 0) | {row.outcome: 1}
    behind_breaker = 1 if row.has_asked and not row.is_local else 0
    breaker = {
        kind: counts[f'auth_circuit_breaker_count{{type="{kind}"}}']
        for kind in ("requests", "total_successes", "total_failures", "consecutive_successes", "consecutive_failures")
    }
    failures = ("requests", "total_failures", "consecutive_failures")
    assert breaker == dict.fromkeys(breaker, 0) | dict.fromkeys(failures, behind_breaker)
    assert counts['auth_circuit_breaker_state{state="closed"}'] == 1
    assert counts["aws_signing_proxy_credentials_valid"] == 0


def about(proxy: ProxyProcess) -> dict[str, Any]:
    """Return what the management port tells about the last fetch."""
    last_fetch: dict[str, Any] = json.loads(proxy.management("/status/credentials")[1])["last_fetch"]
    return last_fetch


def check_answer(answer: Answer, row: Row, reason: str) -> None:
    assert answer.status == 503
    assert answer.fields["content-type"] == "application/problem+json"
    problem = answer.problem
    assert problem["code"] == row.code
    detail = problem["detail"]
    # On a machine that was busy for a second, this request made the next fetch, and waited for it.
    detail = detail.removesuffix(" The request waited 0.1 s for credentials (ASP_CREDENTIALS_WAIT_TIMEOUT).")
    retry_after = int(answer.fields["retry-after"])
    is_as_planned = retry_after == 1 if row.next_try_seconds == 1.0 else retry_after > row.next_try_seconds - 10
    assert is_as_planned or detail != problem["detail"] or answer.seconds > 0.1
    if row.code == "credentials_unavailable":
        assert detail == f"The proxy has no AWS credentials: {reason}."
    elif row.is_local:
        ending = ": put new ones there (for environment variables, restart the proxy)."
        assert detail.startswith("The AWS credentials from environment expired at ")
        assert detail.endswith(ending)
    else:
        before_clock = reason.partition(", and it is ")[0]
        assert detail.startswith(f"The proxy has no valid AWS credentials: {before_clock}, and it is ")
