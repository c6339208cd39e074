"""What STS costs: memory in a process of its own, and nothing that grows from call to call."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.sts.service import SecurityTokenService
from tests.credentials.sts.sts_scene import BASE, ROLE, ROLE_ARN, identity_token, service
from tests.credentials.sts.sts_server import CloseAtOnce, Refuse, Respond, StsServer

# 16 were measured; with all of botocore's data it would be 22.
MOST_MEBIBYTES = 20.0
CALLS = 100

PROGRAM = """
import asyncio, ssl, sys

def pss():
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("Pss:"))

from aws_signing_proxy.credentials.sts.service import SecurityTokenService
from aws_signing_proxy.credentials.fetch import Fetch
before = pss()
sts = SecurityTokenService(region="eu-central-1", environ={"AWS_ENDPOINT_URL_STS": sys.argv[1]})
for _ in range(100):
    sts.assume_role_with_web_identity(Fetch(), role_arn=sys.argv[2], session_name="x", token=sys.argv[3])
print(pss() - before)
sts.close()
"""


@pytest.fixture(name="server")
def _server() -> Iterator[StsServer]:
    with StsServer() as server:
        yield server


@pytest.fixture(name="sts")
def _sts(server: StsServer) -> Iterator[SecurityTokenService]:
    sts = service(server)
    yield sts
    sts.close()


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="memory is read from Linux's /proc")
def test_botocore_its_client_and_a_hundred_calls_stay_within_the_budget_of_memory(server: StsServer) -> None:
    arguments = [sys.executable, "-c", PROGRAM, server.url, ROLE_ARN, identity_token()]
    run = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert float(run.stdout) < MOST_MEBIBYTES


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are counted in Linux's /proc")
def test_a_hundred_calls_good_and_bad_leave_nothing_behind(server: StsServer, sts: SecurityTokenService) -> None:
    def ask(number: int) -> None:
        fetch = Fetch()
        try:
            if number % 2:
                sts.assume_role(fetch, BASE, ROLE)
            else:
                sts.assume_role_with_web_identity(fetch, role_arn=ROLE_ARN, session_name="x", token=identity_token())
        except Exception:  # noqa: BLE001 - each of the failures below
            return

    for number in range(10):
        ask(number)
    gc.collect()
    before = (threading.active_count(), descriptors(), len(gc.get_objects()))
    for number in range(CALLS):
        if number % 5 == 0:
            server.fail((Refuse("AccessDenied"), CloseAtOnce(), Respond(500), Respond(200, b"<"))[number // 5 % 4])
        ask(number)
    # The stand-in keeps what it received, with a few objects each.
    server.requests.clear()
    server._sets.clear()
    gc.collect()
    after = (threading.active_count(), descriptors(), len(gc.get_objects()))
    assert after[0] <= before[0]
    assert after[1] <= before[1]
    assert after[2] - before[2] < 200


def test_one_connection_serves_all_calls_of_a_fetch(server: StsServer, sts: SecurityTokenService) -> None:
    fetch = Fetch()
    for _ in range(10):
        sts.assume_role(fetch, BASE, ROLE)
    assert server.connections == 1


def test_good_calls_leave_no_garbage_in_cycles(sts: SecurityTokenService) -> None:
    """What only the garbage collector frees would make it run in the midst of requests."""
    for _ in range(3):
        sts.assume_role(Fetch(), BASE, ROLE)
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            sts.assume_role(Fetch(), BASE, ROLE)
        assert gc.collect() / 10 < 10
    finally:
        gc.enable()


def test_closing_it_twice_or_before_any_call_does_no_harm_and_it_can_be_used_again(server: StsServer) -> None:
    sts = service(server)
    sts.close()
    sts.assume_role(Fetch(), BASE, ROLE)
    sts.close()
    sts.close()
    assert sts.assume_role(Fetch(), BASE, ROLE).access_key_id
    sts.close()
    assert server.connections == 2
