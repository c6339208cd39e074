"""The `default` provider and the metadata services: a container's (ECS, EKS Pod Identity), and EC2's (IMDSv2)."""

from __future__ import annotations

import gc
import json
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.utils import ContainerMetadataFetcher

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.provider import CredentialsUnavailableError
from tests.credentials.sdk.aws_home import AwsHome
from tests.credentials.sdk.metadata_servers import ContainerEndpoint, InstanceService, when

HTML = b"<html>planted?</html>"


@pytest.fixture(name="home")
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AwsHome:
    return AwsHome(monkeypatch, tmp_path)


@pytest.fixture(name="container")
def _container(home: AwsHome) -> Iterator[ContainerEndpoint]:
    with ContainerEndpoint() as running:
        home.set(AWS_CONTAINER_CREDENTIALS_FULL_URI=running.full_uri)
        yield running


@pytest.fixture(name="instance")
def _instance(home: AwsHome) -> Iterator[InstanceService]:
    with InstanceService() as running:
        home.unset("AWS_EC2_METADATA_DISABLED")
        home.set(AWS_EC2_METADATA_SERVICE_ENDPOINT=running.url)
        yield running


def test_a_container_is_asked_anew_at_every_fetch_and_once(home: AwsHome, container: ContainerEndpoint) -> None:
    ends_at = container.expires_at = int(time.time()) + 5
    provider = home.provider()
    for number in (1, 2, 3):
        credentials = home.fetch(provider)
        assert credentials.access_key_id == f"ASIACONTAINER{number}"
        assert credentials.session_token == f"planted-token-CONTAINER-{number}"
        assert credentials.expires_at == ends_at
        assert credentials.source == f"container credentials from {container.full_uri}"
        assert len(container.requests) == number


def test_a_container_s_endpoint_that_takes_more_than_two_seconds_is_waited_for(
    home: AwsHome, container: ContainerEndpoint
) -> None:
    """After two botocore gives it up, and a slow one would never be heard."""
    container.failures.delay_seconds = 2.3
    assert home.fetch().access_key_id == "ASIACONTAINER1"
    assert len(container.requests) == 1


def test_a_relative_uri_is_asked_at_the_address_of_ecs(
    home: AwsHome, container: ContainerEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ContainerMetadataFetcher, "IP_ADDRESS", f"127.0.0.1:{container.port}")
    home.unset("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    home.set(AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=f"{container.PATH}?id=planted")
    credentials = home.fetch()
    assert credentials.access_key_id == "ASIACONTAINER1"
    assert credentials.source == "container credentials from http://169.254.170.2/v1/credentials"


def test_the_token_of_pod_identity_is_read_from_its_file_at_every_fetch(
    home: AwsHome, container: ContainerEndpoint, tmp_path: Path
) -> None:
    container.token_file = tmp_path / "token"
    home.set(AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=str(container.token_file))
    provider = home.provider()
    for token in ("planted-jwt-1", "planted-jwt-2"):
        container.token_file.write_text(token)
        fetch = Fetch()
        provider.retrieve(fetch)
        assert token in fetch.secrets
    assert [asked.fields["authorization"] for asked in container.requests] == ["planted-jwt-1", "planted-jwt-2"]


def test_a_token_of_the_environment_is_sent(home: AwsHome, container: ContainerEndpoint) -> None:
    container.token = "planted-token"
    home.set(AWS_CONTAINER_AUTHORIZATION_TOKEN="planted-token")
    assert home.fetch().access_key_id == "ASIACONTAINER1"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "cannot be used (No such file or directory)"),
        ("planted\r\nX: y", "the authorization token for it is not one line"),
    ],
)
def test_a_token_file_that_cannot_be_used_is_told(
    home: AwsHome, container: ContainerEndpoint, text: str | None, reason: str
) -> None:
    path = home.path / "token"
    home.set(AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=str(path))
    if text is not None:
        path.write_bytes(text.encode())
    error = home.failure()
    assert error.is_conclusive
    assert reason in str(error)
    assert container.requests == []


@pytest.mark.parametrize(
    ("status", "body", "reason", "is_conclusive"),
    [
        (401, b"[401]: no pod found", "it answered 401 and said: [401]: no pod found", True),
        (403, b'{"code":"Denied","message":"no role"}', "it answered 403 and said: Denied: no role", True),
        (404, b"", "it answered 404 and said: nothing", True),
        (400, b"[1]", "it answered 400 and said: [1]", True),
        (302, b"", "it answered 302 and said: nothing", False),
        (429, b"slow down", "it answered 429 and said: slow down", False),
        (500, b"x" * 5000, "it answered 500 and said: xxxx", False),
        (200, b"", "its answer is no JSON object with AccessKeyId", True),
        (200, HTML, "its answer is no JSON object with AccessKeyId", True),
        (200, b'["planted"]', "its answer is no JSON object with AccessKeyId", True),
        (200, b'{"AccessKeyId":1}', "its answer is no JSON object with AccessKeyId", True),
        (200, b'{"AccessKeyId":"A","SecretAccessKey":null}', "no JSON object with SecretAccessKey", True),
        (
            200,
            b'{"AccessKeyId":"A","SecretAccessKey":"planted","Token":"planted","Expiration":"planted"}',
            "the Expiration in its answer is no time",
            True,
        ),
        (200, b"[" * 60000, "its answer is no JSON object with AccessKeyId", True),
        (200, b" " * 70000, "it answered 200 with more than 64 KiB", True),
    ],
)
def test_a_container_endpoint_that_fails_is_asked_once_and_told(
    home: AwsHome, container: ContainerEndpoint, status: int, body: bytes, reason: str, is_conclusive: bool
) -> None:
    container.failures.status, container.failures.body = status, body
    container.failures.fields = {"Location": "http://127.0.0.1:9/"} if status == 302 else {}
    error = home.failure()
    assert error.is_conclusive == is_conclusive
    assert str(error).startswith(f"container credentials from {container.full_uri}: ")
    assert reason in str(error)
    assert len(container.requests) == 1


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        ("is_silent", "it did not answer in time"),
        ("is_closing", "it closed the connection without an answer"),
        ("gone", "it refused the connection"),
    ],
)
def test_a_container_endpoint_that_does_not_answer_costs_no_more_than_the_fetch(
    home: AwsHome, container: ContainerEndpoint, failure: str, reason: str
) -> None:
    if failure == "gone":
        home.set(AWS_CONTAINER_CREDENTIALS_FULL_URI="http://127.0.0.1:9/v1/credentials")
    else:
        setattr(container.failures, failure, True)
    # Only silence ends by the clock: a busy machine may need longer than that for everything else.
    error = home.failure(timeout_seconds=0.3 if failure == "is_silent" else 20)
    assert not error.is_conclusive
    assert reason in str(error)
    assert error.__context__ is None, "it would keep the request with its token alive"


def test_the_secrets_of_an_answer_are_known_though_it_is_refused(home: AwsHome, container: ContainerEndpoint) -> None:
    container.failures.body = json.dumps(container.document() | {"Expiration": "never"}).encode()
    fetch = Fetch()
    with pytest.raises(CredentialsUnavailableError):
        home.provider().retrieve(fetch)
    assert {"planted-secret-CONTAINER-1", "planted-token-CONTAINER-1"} <= set(fetch.secrets)


def test_an_address_that_the_sdk_does_not_allow_is_told(home: AwsHome) -> None:
    home.set(AWS_CONTAINER_CREDENTIALS_FULL_URI="http://user:planted@example.com/x?planted")
    error = home.failure()
    assert error.is_conclusive
    assert str(error).startswith("container credentials from http://example.com/x: botocore does not allow")


def test_expired_credentials_of_a_container_are_handed_over_as_what_they_are(
    home: AwsHome, container: ContainerEndpoint
) -> None:
    container.expires_at = 1_000_000_000
    assert home.fetch().expires_at == 1_000_000_000
    assert len(container.requests) == 1


def test_a_hundred_fetches_leave_no_memory_thread_or_descriptor(home: AwsHome, container: ContainerEndpoint) -> None:
    container.lease_seconds = 3
    provider = home.provider()

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(10):
        home.fetch(provider)
    container.requests.clear()
    gc.collect()
    tracemalloc.start()
    try:
        threads, opened, (memory, _) = threading.active_count(), descriptors(), tracemalloc.get_traced_memory()
        for _ in range(100):
            home.fetch(provider)
        assert len(container.requests) == 100
        container.requests.clear()
        time.sleep(0.05)  # the stand-in's threads end after their client has gone
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - memory < 100_000
        assert threading.active_count() <= threads
        assert descriptors() <= opened + 1
    finally:
        tracemalloc.stop()


def test_an_instance_hands_out_its_role_by_version_2(home: AwsHome, instance: InstanceService) -> None:
    ends_at = instance.expires_at = int(time.time()) + 3600
    fetch = Fetch()
    credentials = home.provider().retrieve(fetch)
    assert credentials.access_key_id == "ASIAINSTANCE1"
    assert credentials.expires_at == ends_at
    assert credentials.source == f"instance role the-role from {instance.url}"
    assert [asked.method for asked in instance.requests] == ["PUT", "GET", "GET"]
    assert {instance.TOKEN, "planted-secret-INSTANCE-1", "planted-token-INSTANCE-1"} <= set(fetch.secrets)


@pytest.mark.parametrize("seconds", [-600, 5, 900])
def test_the_expiry_is_the_one_that_the_instance_wrote_never_one_that_was_extended(
    home: AwsHome, instance: InstanceService, seconds: int
) -> None:
    instance.expires_at = int(time.time()) + seconds
    provider = home.provider()
    for number in (1, 2):
        credentials = home.fetch(provider)
        assert credentials.expires_at == instance.expires_at
        assert credentials.access_key_id == f"ASIAINSTANCE{number}"


def test_an_instance_that_allows_version_1_alone_is_asked_so_unless_that_is_switched_off(
    home: AwsHome, instance: InstanceService
) -> None:
    instance.is_token_refused = instance.is_version_1_allowed = True
    assert home.fetch().access_key_id == "ASIAINSTANCE1"
    home.set(AWS_EC2_METADATA_V1_DISABLED="true")
    error = home.failure()
    assert not error.is_conclusive
    assert error.attempts[-1].source == f"instance role from {instance.url}"


@pytest.mark.parametrize(
    ("role", "code", "reason"),
    [
        (None, "Success", "the instance has no role (status 404)"),
        ("r", "AssumeRoleUnauthorizedAccess", "AssumeRoleUnauthorizedAccess: EC2 cannot assume the role"),
    ],
)
def test_an_instance_without_credentials_is_told_among_the_other_places(
    home: AwsHome, instance: InstanceService, role: str | None, code: str, reason: str
) -> None:
    instance.role, instance.code = role, code
    error = home.failure()
    assert not error.is_conclusive
    assert reason in error.attempts[-1].reason


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (500, b"", "it answered 500"),
        (200, b"", "its answer holds no credentials"),
        (200, HTML, "its answer holds no credentials"),
        (200, b"{}", "its answer holds no credentials"),
        (200, b"[1]", "its answer holds no credentials"),
        (200, b'{"AccessKeyId":null,"SecretAccessKey":1,"Token":[],"Expiration":null}', "holds no credentials"),
        (200, b" " * 70000, "it answered 200 with more than 64 KiB"),
    ],
)
def test_an_instance_whose_service_fails_is_told_alone_and_asked_again(
    home: AwsHome, instance: InstanceService, status: int, body: bytes, reason: str
) -> None:
    instance.failures.status, instance.failures.body = status, body
    instance.failures.only_path = "/the-role"
    error = home.failure()
    assert not error.is_conclusive
    assert [attempt.source for attempt in error.attempts] == [f"instance role from {instance.url}"]
    assert reason in str(error)


@pytest.mark.parametrize("role", ["a b", "a?b#c", "a%0d%0aX-Y:%20z", "a\r\nX: y", "é"])
def test_an_odd_name_of_a_role_does_no_harm(home: AwsHome, instance: InstanceService, role: str) -> None:
    instance.role = role
    error = home.failure()
    assert not error.is_conclusive
    assert error.attempts[-1].source == f"instance role from {instance.url}"


def test_a_long_name_of_a_role_is_told_in_part(home: AwsHome, instance: InstanceService) -> None:
    instance.role = "r" * 2000
    assert len(home.fetch().source) < 500


def test_an_instance_that_says_nothing_costs_its_timeouts_and_no_more(home: AwsHome, instance: InstanceService) -> None:
    instance.failures.is_silent = True
    home.set(AWS_METADATA_SERVICE_TIMEOUT="5", AWS_METADATA_SERVICE_NUM_ATTEMPTS="100")
    error = home.failure(timeout_seconds=0.4)
    assert "it did not answer in time: this is no EC2 instance" in error.attempts[-1].reason


def test_where_there_is_no_instance_it_is_tried_once(home: AwsHome) -> None:
    with socket.socket() as full:
        # Nobody accepts, and the one place in the queue is taken: a connect is not answered, as it is off EC2.
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        host, port = full.getsockname()
        with socket.socket() as first, socket.socket() as second:
            for each in (first, second):
                each.setblocking(False)
                each.connect_ex((host, port))
            home.unset("AWS_EC2_METADATA_DISABLED")
            home.set(AWS_EC2_METADATA_SERVICE_ENDPOINT=f"http://{host}:{port}")
            began = time.monotonic()
            error = home.failure()
            assert time.monotonic() - began < 1.9
    assert "it cannot be reached: no connection within 1 s: this is no EC2 instance" in error.attempts[-1].reason
    assert len(error.attempts) > 10


def test_the_services_are_never_asked_through_a_proxy(
    home: AwsHome, instance: InstanceService, container: ContainerEndpoint
) -> None:
    home.set(HTTP_PROXY="http://127.0.0.1:9", http_proxy="http://127.0.0.1:9")
    assert home.fetch().access_key_id == "ASIACONTAINER1"
    home.unset("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    assert home.fetch().access_key_id == "ASIAINSTANCE1"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("AWS_METADATA_SERVICE_TIMEOUT", "metadata_service_timeout or metadata_service_num_attempts is no number"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "the address of the instance metadata service is none"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "the address of the instance metadata service is none"),
    ],
)
def test_settings_of_the_service_that_are_none_are_told(home: AwsHome, name: str, reason: str) -> None:
    home.set(**{name: "no such thing"})
    error = home.failure()
    assert error.is_conclusive
    assert reason in str(error)


def test_times_are_written_as_the_services_write_them() -> None:
    assert when(0) == "1970-01-01T00:00:00Z"
