"""Services that say that the credentials are expired: one fetch for many answers, and requests that are sent again.

Where nobody waits for credentials, or there are no others, the service's answer reaches the client as it came.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.outages.conftest import REGION, metrics, wait_until
from tests.outages.local_sources import AwsToken
from tests.outages.sources import SOURCES, Irsa, Source
from tests.proxy.proxy_process import ProxyProcess
from tests.wire.raw_upstream import OK, RawUpstream, ReceivedRequest

REJECTED = "the service says that the credentials are expired or unknown; fetching others"
MESSAGE = "The security token included in the request is expired"


def response(status: str, body: bytes, *fields: bytes) -> bytes:
    lines = [b"HTTP/1.1 " + status.encode(), *fields, b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


REJECTIONS = {
    "S3": response(
        "400 Bad Request",
        b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>ExpiredToken</Code><Message>The provided token has '
        b"expired.</Message><Token-0>IQoJ</Token-0><RequestId>1</RequestId><HostId>2</HostId></Error>",
        b"x-amz-request-id:  1 ",
        b"Content-Type: application/xml",
    ),
    "OpenSearch": response(
        "403 Forbidden", json.dumps({"message": MESSAGE}).encode(), b"x-amzn-ErrorType: ExpiredTokenException"
    ),
    "gzip": response(
        "403 ", gzip.compress(json.dumps({"Message": MESSAGE}).encode(), mtime=0), b"content-encoding: gzip"
    ),
}
POLICIES = {
    "S3": response(
        "403 Forbidden",
        b"<Error><Code>AccessDenied</Code><Message>ExpiredToken is no bucket of yours</Message></Error>",
    ),
    "OpenSearch": response(
        "403 Forbidden",
        b'{"Message":"User: arn:aws:sts::123456789012:assumed-role/reader/ExpiredToken is not authorized to perform: '
        b'es:ESHttpGet because no identity-based policy allows it"}',
    ),
    "another status": response("500 Oops", b"<Error><Code>ExpiredToken</Code></Error>"),
}


class Scene:
    """A proxy in front of a service that refuses the sets of `refuses`, or every set, with the bytes `with_bytes`."""

    def __init__(
        self, source: Source, with_bytes: bytes, settings: Mapping[str, str], stack: contextlib.ExitStack
    ) -> None:
        self.source = source
        self.with_bytes = with_bytes
        self.refuses: set[str] = set()
        self.refuses_all = False
        self.used: list[str] = []
        self.upstream = stack.enter_context(RawUpstream())
        self.upstream.default_reply = self._reply
        environ = {"AWS_REGION": REGION, "ASP_SERVICE": "es"} | source.environ | dict(settings)
        self.proxy = stack.enter_context(ProxyProcess(self.upstream.url, environ)).ready()

    def _reply(self, request: ReceivedRequest) -> list[bytes]:
        (authorization,) = request.values(b"authorization")
        key = re.findall(r"Credential=([^/]+)/", authorization.decode())[0]
        self.used.append(key)
        return [self.with_bytes if self.refuses_all or key in self.refuses else OK]

    def get(self) -> bytes:
        """Send a request; return every byte of the answer."""
        with socket.create_connection(("127.0.0.1", self.proxy.port), 20) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = b""
            while not is_whole(answer):
                piece = client.recv(65536)
                assert piece, answer
                answer += piece
            return answer

    def get_many(self, times: int) -> set[bytes]:
        with ThreadPoolExecutor(16) as pool:
            return set(pool.map(lambda _: self.get(), range(times)))

    @property
    def rejections(self) -> int:
        """How often the proxy said so in its log, which is as often as it counts."""
        logged = self.proxy.output.count(f'"event": "{REJECTED}"')
        assert metrics(self.proxy)["aws_signing_proxy_credential_rejections_total"] == logged
        return logged


def is_whole(answer: bytes) -> bool:
    head, is_there, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"\r\nContent-Length: (\d+)", head, re.IGNORECASE)
    return bool(is_there) and length is not None and len(body) == int(length[1])


@contextlib.contextmanager
def scene_of(source: Source, with_bytes: bytes, **settings: str) -> Iterator[Scene]:
    with source, contextlib.ExitStack() as stack:
        yield Scene(source, with_bytes, settings, stack)


@pytest.mark.parametrize("kind", SOURCES, ids=lambda kind: kind.name)
def test_many_rejections_of_one_set_make_one_fetch_and_no_client_sees_them(kind: type[Source], tmp_path: Path) -> None:
    with scene_of(kind(tmp_path), REJECTIONS["S3"]) as scene:
        assert scene.get() == OK
        scene.source.slow(0.3)
        scene.refuses.add(scene.used[0])
        assert scene.get_many(40) == {OK}
        assert len(set(scene.used)) == 2
        assert scene.source.sets == 2
        assert scene.rejections == 1
        line = scene.proxy.wait_for_log(REJECTED)
        assert line["level"] == "warning"
        assert line["provider"] == kind.name
        assert line["access_key_id"] == f"…{scene.used[0][-4:]}"


@pytest.mark.parametrize("service", REJECTIONS)
def test_where_nobody_waits_each_rejection_reaches_its_client_byte_for_byte(service: str, tmp_path: Path) -> None:
    with scene_of(Irsa(tmp_path), REJECTIONS[service], ASP_CREDENTIALS_WAIT_TIMEOUT="0") as scene:
        scene.proxy.wait_for_log("credentials loaded")
        assert scene.get() == OK
        scene.source.slow(1.0)
        scene.refuses.add(scene.used[0])
        assert scene.get_many(40) == {REJECTIONS[service]}
        scene.proxy.wait_for_log("credentials reloaded")
        assert scene.get_many(10) == {OK}
        assert scene.source.sets == 2
        assert scene.rejections == 1


@pytest.mark.parametrize("service", POLICIES)
def test_what_a_policy_forbids_starts_no_fetch(service: str, tmp_path: Path) -> None:
    with scene_of(Irsa(tmp_path), POLICIES[service]) as scene:
        scene.refuses_all = True
        assert scene.get_many(20) == {POLICIES[service]}
        assert scene.rejections == 0
        assert scene.source.fetches == 1


def test_a_service_that_rejects_every_set_cannot_make_the_proxy_fetch_again_and_again(tmp_path: Path) -> None:
    with scene_of(Irsa(tmp_path), REJECTIONS["S3"]) as scene:
        scene.refuses_all = True
        for _ in range(5):
            assert scene.get_many(10) == {REJECTIONS["S3"]}
        wait_until(lambda: "credentials reloaded" in scene.proxy.output)
        assert scene.get_many(20) == {REJECTIONS["S3"]}
        assert scene.rejections == 1
        assert scene.source.fetches == 2


def test_static_credentials_that_are_rejected_are_read_once_more_and_then_used_as_they_are(tmp_path: Path) -> None:
    source = AwsToken(tmp_path)
    source.write()
    with scene_of(source, REJECTIONS["OpenSearch"]) as scene:
        scene.refuses_all = True
        for _ in range(3):
            assert scene.get_many(10) == {REJECTIONS["OpenSearch"]}
        assert scene.rejections == 1
        name = 'aws_signing_proxy_credential_refreshes_total{outcome="success",source="awstoken"}'
        assert metrics(scene.proxy)[name] <= 2
        # Whoever puts new ones there is heard.
        scene.refuses_all = False
        source.write()
        wait_until(lambda: scene.get() == OK and scene.used[-1].endswith("2"))


def test_a_rejected_set_stays_in_use_while_its_source_is_down(tmp_path: Path) -> None:
    """It is the service that decides; some of its parts may know the set."""
    with scene_of(Irsa(tmp_path), REJECTIONS["S3"], ASP_CREDENTIALS_WAIT_TIMEOUT="200ms") as scene:
        scene.proxy.wait_for_log("credentials loaded")
        assert scene.get() == OK
        scene.source.fail("error")
        scene.refuses.add(scene.used[0])
        assert scene.get() == REJECTIONS["S3"]
        scene.proxy.wait_for_log("new credentials could not be had; the old ones stay in use")
        assert scene.get() == REJECTIONS["S3"]
        scene.source.mend()
        wait_until(lambda: scene.get() == OK)
        assert scene.rejections == 1
