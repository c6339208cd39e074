"""No secret in any output: every source through success and each failure, at DEBUG, with servers that say back all."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.credentials.sts.sts_answers import error_document
from tests.credentials.sts.sts_server import Respond, StsRequest, StsServer, numbered_set
from tests.outages.conftest import metrics, wait_until
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
        told += [output, *checks(scene, stack, styles)]
        found = {secret: around for text in told for secret, around in found_in(text, scene.secrets).items()}
        assert not found, json.dumps(found, indent=1)
        assert "credentials loaded" in output or scene.never_succeeds


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
    pages = [proxy.management(page)[1].decode() for page in PAGES]
    return [answer.body.decode(), repr(answer.fields), *pages]


def fetches(proxy: ProxyProcess) -> int:
    # Not from the log: of a source that is local the same failure is logged once.
    counts = metrics(proxy)
    return int(sum(count for name, count in counts.items() if "credential_refreshes_total{" in name))


def checks(scene: Scene, stack: contextlib.ExitStack, styles: Sequence[str]) -> Iterator[str]:
    """Yield what `check` writes: in success, with STS saying back what it hears when it is asked who we are; and not.

    One failure will do: its sentences are those of the proxy.
    """
    scene.mend()
    asked_who = stack.enter_context(StsServer())
    asked_who.choose = lambda request: said_back(request) if request.action == "GetCallerIdentity" else None
    yield checked(scene, {"AWS_ENDPOINT_URL_STS": asked_who.url, "NO_PROXY": "127.0.0.1"})
    for number in range(1, asked_who.issued + 1):
        scene.planted += [*filter(None, (numbered_set(number).secret_access_key, numbered_set(number).session_token))]
    scene.fail(styles[0])
    yield checked(scene, {}, "--no-whoami")


def said_back(request: StsRequest) -> Respond:
    token = request.field("X-Amz-Security-Token") or ""
    return Respond(403, error_document("InvalidClientTokenId", f"{token} is {token[1:]}?"))


def checked(scene: Scene, settings: Mapping[str, str], *options: str) -> str:
    """Return what `aws-signing-proxy check` writes."""
    environ = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "ASP_TARGET_URL": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-m", "aws_signing_proxy", "check", *options],
        env=environ | python_path() | SETTINGS | scene.environ | dict(settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in {0, 2}, done.stderr
    text = f"{done.stdout}{done.stderr}"
    # Lines are broken where a secret may have spaces.
    return f"{text}{' '.join(text.split())}"


def python_path() -> dict[str, str]:
    return {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
