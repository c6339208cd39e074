"""`aws-signing-proxy demo` as a process of its own, as people run it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

COMMAND = [sys.executable, "-m", "aws_signing_proxy", "demo"]
# What would redirect the proxy itself must not reach the demo.
ENVIRON = os.environ | {
    "ASP_TARGET_URL": "http://192.0.2.1",
    "ASP_SERVICE": "sqs",
    "ASP_MAX_BODY": "1",
    "AWS_SECRET_ACCESS_KEY": "half a pair",
    "PYTHONIOENCODING": "utf-8",
}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], env=ENVIRON, capture_output=True, encoding="utf-8", timeout=60, check=False
    )


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the demo, wait until it serves, and give what it printed so far."""
    with subprocess.Popen(
        [*COMMAND, *arguments], env=ENVIRON, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
    ) as process:
        try:
            assert process.stdout is not None
            printed = ""
            while "What arrives at the stand-in" not in printed:
                line = process.stdout.readline()
                assert line, printed
                printed += line
            yield process, printed
        finally:
            process.kill()


def test_once_prints_the_table_and_ends_with_0() -> None:
    done = run("--once")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 signed by the proxy and verified, 2 refused as they should be, 0 failed." in done.stdout
    assert done.stderr == ""
    assert "Ctrl-C" not in done.stdout


ONE_THAT_FAILS = """
import sys
from aws_signing_proxy.demo import tour
from aws_signing_proxy.demo.command import run_demo
tour.steps = lambda: [tour.Step(title="a step", service="es", method="GET", target=b"/", status=404)]
sys.exit(run_demo(once=True, port=0, mgmt_port=0))
"""


def test_a_request_that_does_not_go_as_it_should_makes_the_exit_status_1() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ONE_THAT_FAILS],
        env=ENVIRON,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILED: status 404 was expected" in done.stdout


def test_it_serves_on_the_given_ports_until_ctrl_c() -> None:
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        port, mgmt_port = first.getsockname()[1], second.getsockname()[1]
    with serving("--port", str(port), "--mgmt-port", str(mgmt_port)) as (process, printed):
        assert f"http://127.0.0.1:{port}" in printed
        assert f"http://127.0.0.1:{mgmt_port}/status/metrics" in printed
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/library/_doc/1", timeout=10) as response:
            assert response.status == 200
        with urllib.request.urlopen(f"http://127.0.0.1:{mgmt_port}/status/ready", timeout=10) as response:
            assert response.status == 200
        assert process.stdout is not None
        assert process.stdout.readline() == "  es  200 verified  GET /library/_doc/1\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def test_a_port_that_is_in_use_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("--once", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "address already in use" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_two_ports_that_are_the_same_are_refused() -> None:
    done = run("--once", "--port", "4711", "--mgmt-port", "4711")
    assert done.returncode == 2
    assert "ASP_MGMT_PORT" in done.stderr
