"""A proxy in front of a service that verifies, with a source of credentials that can be made to fail."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.clients.verifying_service import VerifyingService
from tests.outages.sources import Source
from tests.proxy.proxy_process import ProxyProcess

REGION = "eu-central-1"


class Start(Protocol):
    """Starts a proxy with a source; more settings by name."""

    def __call__(self, source: Source, **settings: str) -> tuple[ProxyProcess, VerifyingService]: ...


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Proxies and services that end with the test. Nothing that was signed wrongly may have reached a service."""
    with contextlib.ExitStack() as stack:
        services = []

        def start_one(source: Source, **settings: str) -> tuple[ProxyProcess, VerifyingService]:
            service = stack.enter_context(VerifyingService(source.identity, service="es", region=REGION))
            services.append(service)
            environ = {"AWS_REGION": REGION, "ASP_SERVICE": "es"} | source.environ | settings
            proxy = stack.enter_context(ProxyProcess(service.url, environ))
            return proxy.ready(), service

        yield start_one
        for service in services:
            assert service.refused == []


def metrics(proxy: ProxyProcess) -> dict[str, float]:
    """Return what the proxy counts: the value of each sample by its name with its labels in order."""
    lines = proxy.management("/status/metrics")[1].decode().splitlines()
    samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in samples}


def wait_until(is_so: Callable[[], bool], seconds: float = 15.0, *, pause_seconds: float = 0.01) -> None:
    """Wait for what another process brings about."""
    give_up = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < give_up, "it did not come about"
        time.sleep(pause_seconds)
