"""From the start to the end of the process: sources that are down or hang, signals, what is given back, `check`."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aws_signing_proxy.sigv4 import Identity
from tests.credentials.sts.sts_server import Refuse, StsServer
from tests.credentials.vault.vault_backend import AwsRole, Login
from tests.credentials.vault.vault_server import SILENCE, Failure
from tests.outages.conftest import REGION, Start, wait_until
from tests.outages.load import ask
from tests.outages.local_sources import AwsToken, Instance, Process
from tests.outages.sources import SOURCES, Source, Vault

each_source = pytest.mark.parametrize("kind", SOURCES, ids=lambda kind: kind.name)
# Three seconds are the source's to give back what it lent; the rest is for a machine that is busy.
LONGEST_END_SECONDS = 8.0


class VaultUser(Vault):
    """Vault with AppRole, and IAM users of its AWS engine, which STS knows after `unknown_seconds`."""

    unknown_seconds = 0.0

    def start(self, stack: contextlib.ExitStack) -> None:
        super().start(stack)
        self.sts = stack.enter_context(StsServer())
        self.vault.backend.logins["approle"] = Login("approle")
        self.vault.backend.roles["aws/creds/dev"] = AwsRole(ttl=self.lease_seconds, max_ttl=2 * self.lease_seconds)
        self.known_at: dict[str, float] = {}
        self.sts.choose = lambda request: None if self.knows(request.access_key_id or "") else _UNKNOWN

    def knows(self, access_key_id: str) -> bool:
        known_at = self.known_at.setdefault(access_key_id, time.monotonic() + self.unknown_seconds)
        return time.monotonic() >= known_at

    @property
    def environ(self) -> dict[str, str]:
        return super().environ | {
            "ASP_VAULT_PATH": "aws/creds/dev",
            "ASP_VAULT_AUTH_TOKEN": "",
            "ASP_VAULT_ROLE_ID": "role-id-1",
            "ASP_VAULT_SECRET_ID": "planted-secret-id",
            "AWS_ENDPOINT_URL_STS": self.sts.url,
        }

    def identity(self, access_key_id: str) -> Identity | None:
        """Know an IAM user as late as STS does."""
        number = re.fullmatch(r"AKIAUSER(\d{8})", access_key_id)
        if number is None or not self.knows(access_key_id):
            return None
        return Identity(access_key_id, f"planted-key-{int(number[1])}")


_UNKNOWN = Refuse("InvalidClientTokenId", "The security token included in the request is invalid.")


@each_source
def test_with_its_source_down_the_proxy_listens_at_once_says_why_and_recovers_by_itself(
    kind: type[Source], tmp_path: Path, start: Start
) -> None:
    with kind(tmp_path) as source:
        source.fail("closed")
        proxy, service = start(source)
        reason = proxy.wait_for_log("no valid credentials")["reason"]
        assert proxy.management("/status/live")[0] == 200
        status, body = proxy.management("/status/ready")
        assert status == 503
        assert json.loads(body)["reasons"] == [f"The proxy has no AWS credentials: {reason}."]
        assert any(address in reason for address in source.addresses.values()), "it names the server"
        source.mend()
        wait_until(lambda: proxy.management("/status/ready")[0] == 200)
        assert ask(proxy.port).status == 200
        assert len(service.requests) == 1


@each_source
def test_a_request_that_came_while_the_source_was_down_is_served_when_it_is_back(
    kind: type[Source], tmp_path: Path, start: Start
) -> None:
    with kind(tmp_path) as source, ThreadPoolExecutor(1) as pool:
        source.fail("closed")
        proxy, _ = start(source)
        proxy.wait_for_log("no valid credentials")
        answer = pool.submit(ask, proxy.port)
        time.sleep(0.1)
        source.mend()
        assert answer.result().status == 200


@each_source
def test_sighup_forces_a_fetch(kind: type[Source], tmp_path: Path, start: Start) -> None:
    with kind(tmp_path) as source:
        proxy, service = start(source)
        assert ask(proxy.port).status == 200
        proxy.signal(signal.SIGHUP)
        proxy.wait_for_log("credentials reloaded")
        assert source.sets == 2
        assert ask(proxy.port).status == 200
        keys = {request.values("authorization")[0].partition("/")[0] for request in service.requests}
        assert len(keys) == 2


def test_sighup_reads_a_file_again_that_does_not_look_changed(tmp_path: Path, start: Start) -> None:
    """Same size, same time, same inode: nobody who only watches it could notice."""
    source = AwsToken(tmp_path)
    source.write()
    with source:
        proxy, service = start(source)
        assert ask(proxy.port).status == 200
        before = source.file.stat()
        new = source.file.read_text().replace("AKIAFILE00000001", "AKIAFILE00000002").replace("file-1", "file-2")
        source.file.write_text(new)
        os.utime(source.file, ns=(before.st_atime_ns, before.st_mtime_ns))
        proxy.signal(signal.SIGHUP)
        proxy.wait_for_log("credentials reloaded")
        assert ask(proxy.port).status == 200
        assert "AKIAFILE00000002/" in service.requests[-1].values("authorization")[0]


@each_source
def test_sigterm_while_a_fetch_hangs_ends_within_seconds_with_status_0(
    kind: type[Source], tmp_path: Path, start: Start
) -> None:
    with kind(tmp_path) as source, ThreadPoolExecutor(1) as pool:
        source.fail("silent")
        proxy, service = start(source, ASP_DRAIN_TIMEOUT="500ms")
        wait_until(lambda: source.fetches > 0)
        answer = pool.submit(ask, proxy.port)
        time.sleep(0.1)
        began = time.monotonic()
        proxy.signal(signal.SIGTERM)
        with contextlib.suppress(ConnectionError):  # cut off, or told that there is nothing to sign with
            assert answer.result().status == 503
        assert proxy.wait() == 0
        assert time.monotonic() - began < LONGEST_END_SECONDS
        assert service.requests == []


def test_at_the_end_vault_s_leases_and_the_token_that_was_logged_in_for_are_given_back(
    tmp_path: Path, start: Start
) -> None:
    with VaultUser(tmp_path) as source:
        backend = source.vault.backend
        proxy, _ = start(source)
        assert ask(proxy.port).status == 200
        assert (len(backend.leases), len(backend.iam_users)) == (1, 1)
        logged_in = [token for token in backend.tokens if token.startswith("hvs.")]
        assert len(logged_in) == 1
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 0
        assert backend.leases == {}
        assert backend.iam_users == set()
        assert logged_in[0] not in backend.tokens


def test_at_the_end_a_given_token_of_vault_lives_on_and_its_lease_does_not(tmp_path: Path, start: Start) -> None:
    with Vault(tmp_path) as source:
        proxy, _ = start(source)
        assert ask(proxy.port).status == 200
        assert len(source.vault.backend.leases) == 1
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 0
        assert source.vault.backend.leases == {}
        assert list(source.vault.backend.tokens) == [source.secrets[0]]
        assert source.vault.count("auth/token/revoke-self") == 0


def test_a_vault_that_is_down_at_the_end_does_not_hold_it_up(tmp_path: Path, start: Start) -> None:
    with VaultUser(tmp_path) as source:
        proxy, _ = start(source)
        assert ask(proxy.port).status == 200
        source.vault.fail("", Failure(kind=SILENCE))
        began = time.monotonic()
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 0
        assert time.monotonic() - began < LONGEST_END_SECONDS


def test_an_iam_user_that_aws_does_not_know_yet_signs_nothing(tmp_path: Path, start: Start) -> None:
    """The service knows it as late as STS does, and refuses nothing: `start` looks."""
    with VaultUser(tmp_path) as source, ThreadPoolExecutor(10) as pool:
        source.unknown_seconds = 1.0
        proxy, service = start(source)
        answers = list(pool.map(lambda _: ask(proxy.port), range(10)))
        assert {answer.status for answer in answers} == {200}
        assert min(answer.seconds for answer in answers) > 0.5, "they waited"
        assert len(service.requests) == 10
        assert source.vault.backend.users_made == 1
        assert source.sts.counts["GetCallerIdentity"] >= 3, "once unknown, and known twice in a row"


@pytest.mark.parametrize("kind", [*SOURCES, AwsToken, Instance, Process, VaultUser], ids=lambda kind: kind.__name__)
def test_check_ends_with_status_0_where_there_are_credentials_and_with_2_where_not(
    kind: type[Source], tmp_path: Path
) -> None:
    with kind(tmp_path) as source, StsServer() as sts:
        if isinstance(source, AwsToken):
            source.write()
        environ = {"AWS_ENDPOINT_URL_STS": sts.url} | source.environ
        status, text = check(environ)
        assert status == 0, text
        assert text.endswith("Requests would be signed.\n")
        assert "identity     arn:aws:" in text
        assert re.search(r"^  source       \S", text, re.MULTILINE)
        status, text = check(environ | broken(source))
        assert status == 2, text
        assert text.endswith("Requests would be answered 503: nothing to sign with.\n")
        assert "none found; what was looked at:\n  - " in text
        if isinstance(source, Vault):
            assert source.vault.backend.leases == {}, "what was lent for the occasion"


def broken(source: Source) -> dict[str, str]:
    """Let the source fail; return the settings for that."""
    match source:
        case AwsToken():
            source.file.unlink()
        case Instance():
            source.service.role = None
        case Process():
            (source.folder / "process").write_text("#!/bin/sh\nexit 1\n")
        case _:
            source.fail("refused")
    return {}


def check(environ: dict[str, str]) -> tuple[int, str]:
    base = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "AWS_REGION": REGION,
        "ASP_TARGET_URL": "http://127.0.0.1:9",
    }
    if "PYTHONPATH" in os.environ:
        base["PYTHONPATH"] = os.environ["PYTHONPATH"]
    done = subprocess.run(
        [sys.executable, "-m", "aws_signing_proxy", "check"],
        env=base | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout
