"""IAM users that Vault makes, before a service that learns of their keys late, as IAM allows."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
from collections.abc import Iterator

import pytest

from tests.credentials.sts.sts_server import StsServer
from tests.credentials.vault.vault_backend import AwsRole
from tests.credentials.vault.vault_server import SILENCE, Failure, VaultServer
from tests.outages.conftest import REGION, metrics, wait_until
from tests.proxy.proxy_process import ProxyProcess
from tests.wire.raw_upstream import OK, RawUpstream, ReceivedRequest

TOKEN = "planted-vault-token"
PATH = "aws/creds/writer"
REFUSED = (
    b"HTTP/1.1 403 Forbidden\r\nContent-Length: 68\r\n\r\n"
    b'{"message":"The security token included in the request is invalid."}'
)


class Scene:
    """A proxy with IAM users of Vault's. STS knows each at once, the service only those in `known`."""

    def __init__(self, settings: dict[str, str], stack: contextlib.ExitStack) -> None:
        self.used: list[str] = []
        # The keys that the service knows; it learns a key when it has refused it so often.
        self.known: set[str] = set()
        self.learns_after: float = float("inf")
        self.vault = stack.enter_context(VaultServer())
        self.vault.backend.add_token(TOKEN)
        self.vault.backend.roles[PATH] = AwsRole()
        sts = stack.enter_context(StsServer())
        upstream = stack.enter_context(RawUpstream())
        upstream.default_reply = self._reply
        environ = {
            "AWS_REGION": REGION,
            "ASP_SERVICE": "es",
            "ASP_CREDENTIALS_PROVIDER": "vault",
            "ASP_VAULT_URL": self.vault.url,
            "ASP_VAULT_PATH": PATH,
            "ASP_VAULT_AUTH_TOKEN": TOKEN,
            "AWS_ENDPOINT_URL_STS": sts.url,
        }
        self.proxy = stack.enter_context(ProxyProcess(upstream.url, environ | settings)).ready()

    def _reply(self, request: ReceivedRequest) -> list[bytes]:
        (authorization,) = request.values(b"authorization")
        key = re.findall(r"Credential=([^/]+)/", authorization.decode())[0]
        self.used.append(key)
        if key in self.known:
            return [OK]
        if self.used.count(key) >= self.learns_after:
            self.known.add(key)
        return [REFUSED]

    def get(self) -> bytes:
        """Send a request; return every byte of the answer."""
        with socket.create_connection(("127.0.0.1", self.proxy.port), 20) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            return b"".join(iter(lambda: client.recv(65536), b""))

    def stop(self) -> list[dict[str, object]]:
        """End the proxy; return what it warned of as to what it had been lent."""
        self.proxy.signal(signal.SIGTERM)
        assert self.proxy.wait() == 0
        return [line for line in self.proxy.log if line["event"] == "the credentials' source needs attention"]

    @property
    def users_made(self) -> int:
        return self.vault.backend.users_made


@contextlib.contextmanager
def scene_of(**settings: str) -> Iterator[Scene]:
    with contextlib.ExitStack() as stack:
        yield Scene(settings, stack)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_key_that_the_service_learns_late_is_sent_again_and_no_other_user_is_made(workers: str) -> None:
    with scene_of(ASP_WORKERS=workers) as scene:
        scene.learns_after = 3
        answer = scene.get()
        assert answer.startswith(b"HTTP/1.1 200")
        assert len(scene.used) == 4
        assert len(set(scene.used)) == 1
        assert scene.users_made == 1
        samples = metrics(scene.proxy)
        assert samples["aws_signing_proxy_credential_rejections_total"] == 0
        assert samples['aws_signing_proxy_retries_total{cause="credentials"}'] == 3
        assert scene.stop() == []
        assert scene.vault.backend.iam_users == set()


def test_a_key_that_the_service_does_not_learn_in_time_is_its_own_answer_and_is_kept() -> None:
    with scene_of(ASP_CREDENTIALS_WAIT_TIMEOUT="1s") as scene:
        scene.proxy.wait_for_log("credentials loaded")
        for _ in range(2):
            assert scene.get().partition(b"\r\n")[0] == REFUSED.partition(b"\r\n")[0]
        assert scene.users_made == 1
        scene.known.update(scene.used)
        assert scene.get().startswith(b"HTTP/1.1 200")
        assert len(set(scene.used)) == 1


def test_while_services_may_not_know_a_new_user_the_old_one_signs() -> None:
    with scene_of() as scene:
        scene.learns_after = 1
        assert scene.get().startswith(b"HTTP/1.1 200")
        scene.learns_after = float("inf")
        scene.proxy.signal(signal.SIGHUP)
        wait_until(lambda: scene.users_made == 2)
        scene.proxy.wait_for_log("credentials reloaded")
        for _ in range(10):
            assert scene.get().startswith(b"HTTP/1.1 200")
        assert len(set(scene.used)) == 1
        assert scene.stop() == []
        assert scene.vault.backend.iam_users == set(), "the one that was never used is given back, too"


def test_what_vault_does_not_let_the_proxy_give_back_is_logged_at_its_end() -> None:
    with scene_of() as scene:
        scene.vault.backend.policies["proxy"] = {"aws/*": {"read"}}
        scene.proxy.wait_for_log("credentials loaded")
        (lease_id,) = scene.vault.backend.leases
        (line,) = scene.stop()
        assert line["level"] == "warning"
        assert str(line["source"]).startswith("Vault http://127.0.0.1")
        assert f"the lease {lease_id} could not be given back" in str(line["reason"])


def test_a_fetch_that_goes_on_when_the_proxy_ends_is_logged_since_it_may_leave_a_user_behind() -> None:
    with scene_of() as scene:
        scene.proxy.wait_for_log("credentials loaded")
        scene.vault.fail(PATH, Failure(kind=SILENCE))
        scene.proxy.signal(signal.SIGHUP)
        wait_until(lambda: scene.vault.count(PATH) == 2)
        (line,) = scene.stop()
        assert "a fetch did not end within 3 s" in str(line["reason"])
