"""curl, through the proxy to a stand-in that verifies every signature: what no Python client can be made to send."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.clients.conftest import proxy_environ
from tests.clients.processes import ProxyProcess
from tests.clients.verifying_service import VerifyingService, blob

MIB = 1024 * 1024
OPTIONS = ["--noproxy", "*", "--silent", "--show-error", "--verbose", "--max-time", "30", "--write-out", "%{http_code}"]


@dataclass(frozen=True)
class Transfer:
    """What curl did: the answer's status and body, and curl's own account of it (`--verbose`)."""

    status: int
    body: bytes
    account: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Curl = Callable[..., Transfer]


@pytest.fixture(scope="session")
def curl_program() -> str:
    program = shutil.which("curl")
    if program is None:
        pytest.skip("curl is not installed")
    return program


@pytest.fixture
def curl(curl_program: str) -> Curl:
    def run(*arguments: str, data: bytes = b"") -> Transfer:
        with tempfile.NamedTemporaryFile() as body:
            done = subprocess.run(
                # -q: no ~/.curlrc
                [curl_program, "-q", *OPTIONS, "--output", body.name, *arguments],
                input=data,
                capture_output=True,
                check=False,
                timeout=40,
            )
            account = done.stderr.decode("utf-8", "replace")
            assert done.returncode == 0, account
            return Transfer(int(done.stdout[-3:]), body.read(), account)

    return run


@pytest.fixture
def url(opensearch_proxy: ProxyProcess, service: VerifyingService) -> str:
    return opensearch_proxy.url


def test_an_offer_to_upgrade_to_http2_is_passed_over(curl: Curl, url: str, service: VerifyingService) -> None:
    transfer = curl("--http2", f"{url}/x")
    if "HTTP2-Settings" not in transfer.account:
        pytest.skip("this curl does not know HTTP/2")
    assert transfer.status == 200
    assert "< HTTP/1.1 200" in transfer.account
    assert service.only_request.values("upgrade") == []


def test_an_upload_from_a_pipe_comes_in_chunks_and_arrives_whole(
    curl: Curl, url: str, service: VerifyingService
) -> None:
    data = blob(3 * MIB)
    transfer = curl("--upload-file", "-", f"{url}/upload", data=data)
    assert "Transfer-Encoding: chunked" in transfer.account
    assert (transfer.status, transfer.json["sha256"]) == (200, hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize("framing", ["Content-Length", "Transfer-Encoding: chunked"])
def test_a_client_that_waits_for_100_continue_is_told_to_go_on_at_once(
    curl: Curl, url: str, service: VerifyingService, framing: str
) -> None:
    data = blob(2 * MIB)
    headers = ["--header", "Expect: 100-continue"] + (["--header", framing] if ":" in framing else [])
    began = time.monotonic()
    transfer = curl("--expect100-timeout", "20", "--data-binary", "@-", *headers, f"{url}/x", data=data)
    assert time.monotonic() - began < 10
    assert "< HTTP/1.1 100 Continue" in transfer.account
    assert (transfer.status, transfer.json["sha256"]) == (200, hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize(
    "path", ["/a/../b", "/a//b", "//a", "/./a", "/a/.", "/a/..", "/..", "/a/b/../../..//c/", "/a/%2e%2e/b"]
)
def test_a_path_that_is_not_normalised_is_verified_and_arrives_as_it_is(
    curl: Curl, url: str, service: VerifyingService, path: str
) -> None:
    assert curl("--path-as-is", url + path).status == 200
    assert service.only_request.target.decode() == path.replace("%2e", ".")


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("/test-*/_search?q=(a)'b'&w=!x", "/test-%2A/_search?q=%28a%29%27b%27&w=%21x"),
        ("/é?q=ä", "/%C3%A9?q=%C3%A4"),
        ('/{"a":[1|2]}^`\\?{"b":"<>"}', "/%7B%22a%22%3A%5B1%7C2%5D%7D%5E%60%5C?%7B%22b%22%3A%22%3C%3E%22%7D"),
        ("/%7etilde%2fslash%41", "/~tilde%2FslashA"),
        ("http://other.example:99/abs?x", "/abs?x"),
        ("http://other.example", "/"),
        ("/?", "/"),
        ("/?&&a&", "/?a"),
    ],
)
def test_an_odd_target_is_verified_and_arrives_in_its_canonical_form(
    curl: Curl, url: str, service: VerifyingService, written: str, sent: str
) -> None:
    assert curl("--globoff", "--request-target", written, url).status == 200
    assert service.only_request.target.decode() == sent


@pytest.mark.parametrize("target", ["/a b", "/50%", "/x#y", "no-slash", "*"])
def test_a_target_that_can_be_read_in_two_ways_is_refused_with_a_sentence_that_says_why(
    curl: Curl, url: str, service: VerifyingService, target: str
) -> None:
    transfer = curl("--request-target", target, url)
    assert transfer.status == 400
    assert transfer.json["code"] in {"bad_request_target", "malformed_request"}
    assert len(transfer.json["detail"]) > 20
    assert service.requests == []


def test_a_client_of_http_1_0_is_answered_without_chunks_and_the_connection_is_closed(
    curl: Curl, url: str, service: VerifyingService
) -> None:
    transfer = curl("--http1.0", f"{url}/_blob/{MIB}?framing=chunked")
    assert (transfer.status, transfer.body) == (200, blob(MIB))
    assert "transfer-encoding" not in transfer.account.lower()
    assert re.search(r"Closing connection", transfer.account)


def test_a_client_of_http_1_0_sends_a_body(curl: Curl, url: str, service: VerifyingService) -> None:
    transfer = curl("--http1.0", "--data-binary", "@-", f"{url}/x", data=b"of 1996")
    assert (transfer.status, service.only_request.body) == (200, b"of 1996")


def test_a_head_request_is_answered_without_a_body_and_with_the_length_of_it(
    curl: Curl, url: str, service: VerifyingService
) -> None:
    transfer = curl("--head", f"{url}/x")
    assert transfer.status == 200
    assert re.search(r"< content-length: [1-9]", transfer.account, re.IGNORECASE)


def test_a_connection_is_kept_for_the_next_request(curl: Curl, url: str, service: VerifyingService) -> None:
    further = (argument for number in "23" for argument in ("--output", os.devnull, f"{url}/{number}"))
    transfer = curl("--data", "x", f"{url}/1", *further)
    assert transfer.account.count("Re-using existing connection") == 2
    assert [request.path for request in service.requests] == [["1"], ["2"], ["3"]]


def test_the_proxy_is_not_one_for_tunnels_and_says_so(
    curl_program: str, opensearch_proxy: ProxyProcess, service: VerifyingService
) -> None:
    done = subprocess.run(
        [curl_program, "-q", "-sS", "-v", "--proxytunnel", "--proxy", opensearch_proxy.url, "http://x.example/"],
        capture_output=True,
        check=False,
        timeout=20,
    )
    assert done.returncode != 0
    assert b"< HTTP/1.1 405" in done.stderr
    assert service.requests == []


@pytest.fixture
def socket_path() -> Iterator[str]:
    # Not pytest's directory: the path of a socket has at most about 100 bytes.
    with tempfile.TemporaryDirectory(prefix="asp") as directory:
        yield f"{directory}/proxy.sock"


def test_the_proxy_listens_on_a_unix_socket_instead_of_a_port(
    curl: Curl, service: VerifyingService, socket_path: str
) -> None:
    environ = proxy_environ(service.url, service="es") | {"ASP_UNIX_SOCKET": socket_path}
    with ProxyProcess(environ) as proxy:
        assert proxy.url == f"unix:{socket_path}"
        transfer = curl("--unix-socket", socket_path, "--data", "over a socket", "http://any.example/x")
    assert (transfer.status, service.only_request.body) == (200, b"over a socket")
