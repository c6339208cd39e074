"""No secret in any output: every source through success and each failure, at DEBUG, with servers that say back all."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.outages.conftest import wait_until
from tests.outages.load import ask
from tests.outages.planted import STYLES, found_in
from tests.outages.planted_scenes import SCENES, Make, Scene
from tests.proxy.proxy_process import ProxyProcess

SETTINGS = {
    "AWS_REGION": "eu-central-1",
    "ASP_SERVICE": "es",
    "ASP_LOG_LEVEL": "debug",
    "ASP_ACCESS_LOG": "true",
    # Neither a breaker nor a wait may come between an order and its fetch.
    "ASP_CIRCUIT_BREAKER_FAILURE_THRESHOLD": "1000",
    "ASP_BACKGROUND_REFRESH": "false",
    "ASP_CREDENTIALS_WAIT_TIMEOUT": "100ms",
    "ASP_DRAIN_TIMEOUT": "1s",
}
PAGES = ("/status/ready", "/status/credentials", "/status/metrics", "/status/live", "/nothing")


@pytest.mark.parametrize("make", SCENES, ids=lambda make: make.__name__)
def test_no_secret_is_in_any_output_of_any_source_in_success_and_failure(make: Make, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        scene = make(tmp_path, stack)
        styles = list(scene.styles_beside) or list(STYLES)
        told: list[str] = []
        with ProxyProcess("http://127.0.0.1:9", SETTINGS | scene.environ) as proxy:
            proxy.ready()
            # First without credentials, then with some.
            for style in (*styles, None, *styles):
                told += fetched(proxy, scene, style)
            proxy.signal(signal.SIGTERM)
            assert proxy.wait() == 0
            output = proxy.output
            told.append(output)
        scene.mend()
        told += [checked(scene), checked(scene, "--no-whoami")]
        for style in styles:
            scene.fail(style)
            told.append(checked(scene, "--no-whoami"))
        found = {secret: around for text in told for secret, around in found_in(text, scene.secrets).items()}
        assert not found, json.dumps(found, indent=1)
        assert "credentials loaded" in output or not scene.servers + list(scene.styles_beside)


def fetched(proxy: ProxyProcess, scene: Scene, style: str | None) -> list[str]:
    """Order a fetch that fails in this style (None: succeeds); return everything that is told then."""
    if style is None:
        scene.mend()
    else:
        scene.fail(style)
    before = fetches(proxy)
    proxy.signal(signal.SIGHUP)
    wait_until(lambda: fetches(proxy) > before)
    answer = ask(proxy.port)
    return [
        answer.body.decode(),
        repr(answer.fields),
        *(repr(proxy.management(page)) for page in PAGES),
        *(proxy.management(page)[1].decode() for page in PAGES),
    ]


def fetches(proxy: ProxyProcess) -> int:
    # Of a source that is local the same failure is logged once.
    text = proxy.management("/status/metrics")[1].decode()
    lines = [line for line in text.splitlines() if line.startswith("aws_signing_proxy_credential_refreshes_total{")]
    return sum(int(float(line.rpartition(" ")[2])) for line in lines)


def checked(scene: Scene, *options: str) -> str:
    """Return what `aws-signing-proxy check` writes."""
    environ = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "ASP_TARGET_URL": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-m", "aws_signing_proxy", "check", *options],
        env=environ | python_path() | SETTINGS | scene.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in {0, 2}, done.stderr
    return f"{done.stdout}{done.stderr}"


def python_path() -> dict[str, str]:
    return {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
