"""The programs under test and beside it, as processes of their own: the proxy, and moto as the service."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

__all__ = ["MotoProcess", "ProxyProcess"]

_START_SECONDS = 30.0
_STOP_SECONDS = 15.0
# Whose `requests` neither asks the environment for a proxy nor a .netrc for a password.
_PLAIN = requests.Session()
_PLAIN.trust_env = False


class _Process:
    """A program with an environment of its own, whose output goes to a file that `output` reads."""

    def __init__(self, arguments: list[str], environ: Mapping[str, str]) -> None:
        self._file = tempfile.NamedTemporaryFile(prefix="clients-", suffix=".log")  # noqa: SIM115 - closed by `stop`
        # Nothing is inherited but what a program needs to start: no AWS_*, no *_PROXY, no home with a ~/.aws in it.
        base = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONUNBUFFERED": "1"}
        if "PYTHONPATH" in os.environ:
            base["PYTHONPATH"] = os.environ["PYTHONPATH"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", *arguments], env=base | dict(environ), stdout=self._file, stderr=self._file
        )

    @property
    def output(self) -> str:
        return Path(self._file.name).read_text(encoding="utf-8", errors="replace")

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Return the match of `pattern` in the output, as soon as it is there."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            found = re.search(pattern, self.output, re.MULTILINE)
            if found is not None:
                return found
            if self._process.poll() is not None:
                break
            time.sleep(0.02)
        output = self.output
        self.kill()
        raise AssertionError(f"the process did not start:\n{output}")

    def stop(self) -> tuple[int, str]:
        """End it as an operator does; return the exit status and all output."""
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(_STOP_SECONDS)
            return status, self.output
        finally:
            self.kill()

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._file.close()


class ProxyProcess:
    """The real proxy, started by `python -m aws_signing_proxy` with settings from the environment alone.

    When it is left, it is told to stop, and must have ended with status 0, without a word of a bug (a log line of
    level error) and without a secret in its output.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = {"ASP_PORT": "0", "ASP_MGMT_PORT": "0"} | dict(environ)
        self._process = _Process(["aws_signing_proxy"], self._environ)
        ready = json.loads(self._process.wait_for(r'^\{.*"event": "ready".*\}$')[0])
        self.url: str = ready["listens_on"]
        self.management_url = f"http://{ready['management']}"

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def output(self) -> str:
        """What it has written so far."""
        return self._process.output

    def management(self, path: str) -> requests.Response:
        return _PLAIN.get(self.management_url + path, timeout=10)

    def metric(self, name: str) -> float:
        """Return the value of a metric without labels."""
        found = re.search(rf"^{name} (\S+)$", self.management("/status/metrics").text, re.MULTILINE)
        assert found is not None, f"there is no metric {name}"
        return float(found[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        status, output = self._process.stop()
        if error is not None:
            return
        assert status == 0, output
        assert not [line for line in output.splitlines() if json.loads(line)["level"] in {"error", "critical"}], output
        for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            assert self._environ.get(name, "not set") not in output


class MotoProcess:
    """moto's server, with signatures enforced.

    Before that, a user who may do everything is made in its IAM; `environ` are that user's credentials, as the
    proxy is given them. moto verifies with the secret key that it knows the user by.
    """

    REGION = "us-east-1"

    def __init__(self) -> None:
        self._process = _Process(["moto.server", "-H", "127.0.0.1", "-p", "0"], {})
        self.url: str = self._process.wait_for(r"Running on (http://127\.0\.0\.1:\d+)$")[1]
        self.access_key_id, self.secret_access_key = self._make_user()
        # From the next action on, every one has to be signed by somebody who may do it.
        assert _PLAIN.post(f"{self.url}/moto-api/reset-auth", data=b"0", timeout=10).ok

    @property
    def environ(self) -> dict[str, str]:
        return {"AWS_ACCESS_KEY_ID": self.access_key_id, "AWS_SECRET_ACCESS_KEY": self.secret_access_key}

    def proxy(self, service: str, **changes: str) -> ProxyProcess:
        """Start a proxy in front of it."""
        return ProxyProcess(
            {"ASP_TARGET_URL": self.url, "ASP_SERVICE": service, "AWS_REGION": self.REGION} | self.environ | changes
        )

    def _make_user(self) -> tuple[str, str]:
        import boto3

        iam = boto3.Session().client(
            "iam",
            endpoint_url=self.url,
            region_name=self.REGION,
            aws_access_key_id="root",
            aws_secret_access_key="not-checked-yet",
        )
        iam.create_user(UserName="application")
        key = iam.create_access_key(UserName="application")["AccessKey"]
        statement = {"Effect": "Allow", "Action": "*", "Resource": "*"}
        iam.put_user_policy(
            UserName="application",
            PolicyName="everything",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
        )
        iam.close()
        return key["AccessKeyId"], key["SecretAccessKey"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
