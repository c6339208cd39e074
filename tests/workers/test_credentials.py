"""Credentials are fetched by the supervisor alone; workers get them at once, and what they learn reaches it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.clients.conftest import IDENTITY, REGION, proxy_environ
from tests.clients.refusing_service import NumberedSets, RefusingService
from tests.wire.raw_client import RawClient, exchange
from tests.wire.raw_upstream import RawUpstream
from tests.workers.crew_process import GET, CrewProcess, until

NO_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_CONFIG_FILE": "/nonexistent"}
CLIENTS = 24
HOUR = 3600.0


@pytest.fixture(name="service")
def _service() -> Iterator[RefusingService]:
    with RefusingService(IDENTITY, service="es", region=REGION) as running:
        yield running


def _service_of(sets: NumberedSets) -> RefusingService:
    return RefusingService(sets.identity, service="es", region=REGION)


def _write_credentials(path: Path, access_key_id: str) -> None:
    beside = path.with_suffix(".new")
    beside.write_text(f"[default]\naws_access_key_id = {access_key_id}\naws_secret_access_key = the-secret-key\n")
    beside.replace(path)


def _key_ids(upstream: RawUpstream) -> set[bytes]:
    lines = [each.values(b"authorization")[0] for each in upstream.requests]
    return {line.partition(b"Credential=")[2].partition(b"/")[0] for line in lines}


def _ask(clients: list[RawClient]) -> list[int]:
    for client in clients:
        client.send(GET)
    return [client.read_response().status for client in clients]


@pytest.mark.parametrize("is_told", [False, True])
def test_a_changed_credentials_file_reaches_every_worker(
    upstream: RawUpstream, tmp_path: Path, *, is_told: bool
) -> None:
    path = tmp_path / "credentials"
    _write_credentials(path, "AKIAFIRST")
    settings = NO_CREDENTIALS | {"AWS_SHARED_CREDENTIALS_FILE": str(path)}
    with CrewProcess(upstream.url, settings, workers=3) as proxy:
        proxy.wait_for_workers(3)
        clients = proxy.clients(12)
        assert _key_ids(upstream) == {b"AKIAFIRST"}
        _write_credentials(path, "AKIASECOND")
        if is_told:
            proxy.signal(signal.SIGHUP)
        proxy.wait_for_log("credentials reloaded")
        proxy.metric("workers_running")  # every worker has answered: what was said before has been heard
        upstream.forget()
        assert _ask(clients) == [200] * 12
        assert _key_ids(upstream) == {b"AKIASECOND"}
        assert "the-secret-key" not in proxy.output


def test_without_credentials_every_worker_answers_503_with_the_reason(upstream: RawUpstream, tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    settings = NO_CREDENTIALS | {"AWS_SHARED_CREDENTIALS_FILE": str(path)}
    with CrewProcess(upstream.url, settings) as proxy:
        proxy.wait_for_workers(2)
        responses = [exchange(proxy.port, GET) for _ in range(8)]
        assert {(each.status, each.problem_code) for each in responses} == {(503, "credentials_unavailable")}
        assert all(b"no AWS credentials" in each.body for each in responses)
        status, body = proxy.management("/status/ready")
        assert (status, b"no AWS credentials" in body) == (503, True)
        _write_credentials(path, "AKIAFIRST")
        proxy.wait_for_log("credentials loaded")
        until(lambda: exchange(proxy.port, GET).status == 200)
        assert proxy.management("/status/ready")[0] == 200


def test_requests_that_wait_in_workers_for_the_first_credentials_are_answered_when_they_come(
    upstream: RawUpstream, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    program = tmp_path / "slow.py"
    program.write_text(
        f"open({str(gate)!r}).read()\n"
        'print(\'{"Version": 1, "AccessKeyId": "AKIASLOW", "SecretAccessKey": "slow-secret"}\')\n'
    )
    config = tmp_path / "config"
    config.write_text(f"[default]\ncredential_process = {sys.executable} {program}\n")
    with CrewProcess(upstream.url, NO_CREDENTIALS | {"AWS_CONFIG_FILE": str(config)}) as proxy:
        proxy.wait_for_workers(2)
        with ThreadPoolExecutor(8) as pool:
            waiting = [pool.submit(exchange, proxy.port, GET) for _ in range(8)]
            until(lambda: proxy.metric("credentials_waiting") == 8)
            assert b'"waiting_requests":8' in proxy.management("/status/credentials")[1]
            assert upstream.connections == 0
            gate.write_text("go")
            assert [each.result(10).status for each in waiting] == [200] * 8
        assert _key_ids(upstream) == {b"AKIASLOW"}
        assert proxy.metric("credential_refreshes_total", outcome="success") == 1


def test_credentials_that_end_are_renewed_once_for_all_workers_and_no_client_notices(
    tmp_path: Path,
) -> None:
    sets = NumberedSets(tmp_path)
    with _service_of(sets) as service, CrewProcess(service.url, NO_CREDENTIALS | sets.environ, workers=3) as proxy:
        proxy.wait_for_workers(3)
        clients = proxy.clients(CLIENTS)
        assert sets.given == 1
        sets.accepted = 2
        assert _ask(clients) == [200] * CLIENTS
        assert sets.given == 2, "one refresh, whoever asked for it"
        assert proxy.metric("credential_rejections_total") == 1
        assert proxy.metric("retries_total", cause="credentials") == CLIENTS
        warnings = [line for line in proxy.log if line["level"] == "warning"]
        assert [line["event"].partition(";")[0] for line in warnings] == [
            "the service says that the credentials are expired or unknown"
        ]


def test_where_a_renewal_is_not_due_each_worker_passes_the_services_answer_on_at_once(
    tmp_path: Path,
) -> None:
    sets = NumberedSets(tmp_path)
    with _service_of(sets) as service, CrewProcess(service.url, NO_CREDENTIALS | sets.environ) as proxy:
        proxy.wait_for_workers(2)
        clients = proxy.clients(8)
        sets.accepted = 99
        assert set(_ask(clients)) == {403}
        assert sets.given == 2
        assert set(_ask(clients)) == {403}
        assert sets.given == 2, "the last one was less than ten seconds ago"


def test_a_wrong_clock_that_one_worker_notices_is_known_to_the_others_and_to_its_successor(
    service: RefusingService,
) -> None:
    service.clock_offset_seconds = HOUR
    with CrewProcess(service.url, proxy_environ(service.url, service="es"), workers=3) as proxy:
        proxy.wait_for_workers(3)
        proxy.clients(1)
        assert service.refused == ["RequestTimeTooSkewed"]
        until(lambda: proxy.metric("clock_offset_seconds") == pytest.approx(HOUR, abs=2))
        proxy.clients(12)
        first = proxy.kill_worker()
        until(lambda: first not in proxy.workers and len(proxy.workers) == 3)
        proxy.wait_for_workers(3)
        proxy.clients(12)
        assert service.refused == ["RequestTimeTooSkewed"], "one request was refused, of all workers"


def test_a_worker_that_replaces_another_has_the_newest_credentials(upstream: RawUpstream, tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    _write_credentials(path, "AKIAFIRST")
    settings = NO_CREDENTIALS | {"AWS_SHARED_CREDENTIALS_FILE": str(path)}
    with CrewProcess(upstream.url, settings) as proxy:
        proxy.wait_for_workers(2)
        _write_credentials(path, "AKIASECOND")
        proxy.wait_for_log("credentials reloaded")
        for pid in proxy.workers:
            os.kill(pid, signal.SIGKILL)
        proxy.wait_for_log("a worker ended and is replaced", count=2)
        until(lambda: exchange(proxy.port, GET).status == 200)
        assert _key_ids(upstream) == {b"AKIASECOND"}


def test_no_secret_that_was_fetched_stands_in_an_argument_or_environment_of_a_process(
    upstream: RawUpstream, tmp_path: Path
) -> None:
    path = tmp_path / "credentials"
    _write_credentials(path, "AKIAFIRST")
    settings = NO_CREDENTIALS | {"AWS_SHARED_CREDENTIALS_FILE": str(path)}
    with CrewProcess(upstream.url, settings) as proxy:
        proxy.wait_for_workers(2)
        assert len(proxy.processes) == 4
        for pid in proxy.processes:
            for what in ("cmdline", "environ", "maps"):
                assert b"the-secret-key" not in Path(f"/proc/{pid}/{what}").read_bytes()
            names = [str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()]
            assert not [name for name in names if "shm" in name or "memfd" in name]


def test_a_lazy_source_is_asked_once_when_requests_come_to_every_worker(upstream: RawUpstream, tmp_path: Path) -> None:
    sets = NumberedSets(tmp_path)
    settings = NO_CREDENTIALS | sets.environ | {"ASP_BACKGROUND_REFRESH": "false"}
    with CrewProcess(upstream.url, settings) as proxy:
        proxy.wait_for_workers(2)
        assert proxy.management("/status/ready")[0] == 200
        assert sets.given == 0
        results: list[int] = []
        threads = [threading.Thread(target=lambda: results.append(exchange(proxy.port, GET).status)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert results == [200] * 8
        assert sets.given == 1
