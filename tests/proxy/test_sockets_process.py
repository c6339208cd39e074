"""The proxy as a process: it stops as an orchestrator expects, says in one line why it cannot start, and lives on."""

from __future__ import annotations

import contextlib
import resource
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.proxy.proxy_process import ProxyProcess
from tests.wire.raw_client import RawClient, Response, exchange
from tests.wire.raw_upstream import OK, End, RawUpstream, WaitFor

GET = b"GET /path HTTP/1.1\r\nHost: a\r\n\r\n"
NO_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}


def test_sigterm_lets_the_request_in_flight_end_and_closes_everything_else(upstream: RawUpstream) -> None:
    may_go_on = threading.Event()
    upstream.answer_with([OK], [WaitFor(may_go_on), OK])
    with ProxyProcess(upstream.url) as proxy, RawClient(proxy.port) as idle, RawClient(proxy.port) as busy:
        idle.send(GET)
        assert idle.read_response().status == 200
        busy.send(GET)
        upstream.wait_for_requests(2)
        proxy.signal(signal.SIGTERM)
        assert idle.read_until_closed() == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", proxy.port), 5)
        status, body = proxy.management("/status/ready")
        assert (status, b"stopping" in body) == (503, True)
        may_go_on.set()
        response = busy.read_response()
        assert (response.body, response.values(b"connection")) == (b"ok", [b"close"])
        assert busy.read_until_closed() == b""
        assert proxy.wait() == 0
        assert [line["event"] for line in proxy.log][-2:] == ["stopping", "stopped"]


def test_what_is_not_done_within_the_time_to_drain_is_cut_off_and_the_exit_status_is_still_0(
    upstream: RawUpstream,
) -> None:
    may_go_on = threading.Event()
    upstream.answer_with([WaitFor(may_go_on)])
    with ProxyProcess(upstream.url, {"ASP_DRAIN_TIMEOUT": "200ms"}) as proxy, RawClient(proxy.port) as client:
        client.send(GET)
        upstream.wait_for_requests(1)
        proxy.signal(signal.SIGTERM)
        assert client.read_until_closed() == b""
        assert proxy.wait() == 0
        assert "ASP_DRAIN_TIMEOUT" in proxy.output
        may_go_on.set()


def test_a_second_signal_ends_the_process_at_once(upstream: RawUpstream) -> None:
    may_go_on = threading.Event()
    upstream.answer_with([WaitFor(may_go_on)])
    with ProxyProcess(upstream.url) as proxy, RawClient(proxy.port) as client:
        client.send(GET)
        upstream.wait_for_requests(1)
        proxy.signal(signal.SIGINT)
        proxy.wait_for_log("stopping")
        proxy.signal(signal.SIGINT)
        assert proxy.wait() == 1
        may_go_on.set()


@pytest.mark.parametrize("setting", ["ASP_PORT", "ASP_MGMT_PORT"])
def test_a_port_in_use_is_one_clear_line_and_exit_status_1(upstream: RawUpstream, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with ProxyProcess(upstream.url, {setting: str(port)}) as proxy:
            assert proxy.wait() == 1
            (line,) = [line for line in proxy.log if line["level"] == "error"]
            assert f"cannot listen on 127.0.0.1:{port}: address already in use" in line["event"]
            assert setting in line["event"]
            assert "Traceback" not in proxy.output


def _access_key_id(upstream: RawUpstream, at: int) -> bytes:
    (authorization,) = upstream.wait_for_requests(at + 1)[at].values(b"authorization")
    return authorization.partition(b"Credential=")[2].partition(b"/")[0]


def _credentials_file(path: Path, access_key_id: str) -> None:
    beside = path.with_suffix(".new")
    beside.write_text(f"[default]\naws_access_key_id = {access_key_id}\naws_secret_access_key = the-secret\n")
    beside.replace(path)


@pytest.mark.parametrize("is_told", [False, True])
def test_a_changed_credentials_file_is_read_again_at_once_on_sighup_and_soon_without(
    upstream: RawUpstream, tmp_path: Path, *, is_told: bool
) -> None:
    path = tmp_path / "credentials"
    _credentials_file(path, "AKIAFIRST")
    settings = NO_CREDENTIALS | {"AWS_SHARED_CREDENTIALS_FILE": str(path)}
    with ProxyProcess(upstream.url, settings) as proxy:
        assert exchange(proxy.port, GET).status == 200
        assert _access_key_id(upstream, 0) == b"AKIAFIRST"
        _credentials_file(path, "AKIASECOND")
        if is_told:
            proxy.signal(signal.SIGHUP)
        proxy.wait_for_log("credentials reloaded")
        assert exchange(proxy.port, GET).status == 200
        assert _access_key_id(upstream, 1) == b"AKIASECOND"
        assert "the-secret" not in proxy.output


def test_without_credentials_requests_are_answered_503_and_the_readiness_says_why(
    upstream: RawUpstream, tmp_path: Path
) -> None:
    path = tmp_path / "credentials"
    settings = NO_CREDENTIALS | {"AWS_SHARED_CREDENTIALS_FILE": str(path), "AWS_CONFIG_FILE": "/nonexistent"}
    with ProxyProcess(upstream.url, settings) as proxy:
        response = exchange(proxy.port, GET)
        assert (response.status, response.problem_code) == (503, "credentials_unavailable")
        assert int(response.values(b"retry-after")[0]) >= 1
        status, body = proxy.management("/status/ready")
        assert status == 503
        assert b"no AWS credentials" in body
        assert proxy.management("/status/health")[0] == 200
        assert upstream.received == b""
        _credentials_file(path, "AKIAFIRST")
        proxy.wait_for_log("credentials loaded")
        assert exchange(proxy.port, GET).status == 200
        assert proxy.management("/status/ready")[0] == 200


def test_expired_credentials_are_not_signed_with(upstream: RawUpstream) -> None:
    with ProxyProcess(upstream.url, {"AWS_CREDENTIAL_EXPIRATION": "2020-01-01T00:00:00Z"}) as proxy:
        response = exchange(proxy.port, GET)
        assert (response.status, response.problem_code) == (503, "credentials_expired")
        assert response.values(b"retry-after")
        assert proxy.management("/status/ready")[0] == 503
        assert upstream.connections == 0


def _over_unix_socket(path: Path) -> Response:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        sock.connect(str(path))
        sock.sendall(GET)
        data = b""
        while not data.endswith(b"\r\n\r\nok"):
            piece = sock.recv(65536)
            assert piece
            data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    return Response(head + b"\r\n\r\n", body, data)


def test_a_unix_socket_is_listened_on_and_removed_at_the_end(upstream: RawUpstream, tmp_path: Path) -> None:
    path = tmp_path / "proxy.sock"
    with ProxyProcess(upstream.url, {"ASP_UNIX_SOCKET": str(path)}) as proxy:
        assert proxy.wait_for_log("ready")["listens_on"] == f"unix:{path}"
        assert _over_unix_socket(path).status == 200
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 0
        assert not path.exists()


def test_the_socket_file_of_a_process_that_is_gone_is_replaced(upstream: RawUpstream, tmp_path: Path) -> None:
    path = tmp_path / "proxy.sock"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
    with ProxyProcess(upstream.url, {"ASP_UNIX_SOCKET": str(path)}) as proxy:
        proxy.ready()
        assert _over_unix_socket(path).status == 200


@pytest.mark.parametrize("backlog", [8, 0])
def test_a_unix_socket_that_another_process_listens_on_is_left_to_it(
    upstream: RawUpstream, tmp_path: Path, backlog: int
) -> None:
    """Also where that one is too busy to accept."""
    path = tmp_path / "proxy.sock"
    with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as filler:
        other.bind(str(path))
        other.listen(backlog)
        filler.connect(str(path))
        with ProxyProcess(upstream.url, {"ASP_UNIX_SOCKET": str(path)}) as proxy:
            assert proxy.wait() == 1
            (line,) = [line for line in proxy.log if line["level"] == "error"]
            assert f"cannot listen on {path}: address already in use" in line["event"]
        assert path.exists()


def test_a_file_that_is_no_socket_is_left_alone(upstream: RawUpstream, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with ProxyProcess(upstream.url, {"ASP_UNIX_SOCKET": str(path)}) as proxy:
        assert proxy.wait() != 0
    assert path.read_text() == "data"


def _descriptors(proxy: ProxyProcess) -> set[int]:
    return {int(each.name) for each in Path(f"/proc/{proxy.pid}/fd").iterdir()}


def test_a_process_out_of_file_descriptors_lives_on_and_serves_again(upstream: RawUpstream) -> None:
    with ProxyProcess(upstream.url) as proxy, contextlib.ExitStack() as clients:
        port = proxy.port
        first = clients.enter_context(RawClient(port))
        first.send(GET)
        assert first.read_response().status == 200
        limit = max(_descriptors(proxy)) + 10
        resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (limit, limit))
        for _ in range(60):
            with contextlib.suppress(OSError):
                clients.enter_context(RawClient(port))
        first.send(GET)
        assert first.read_response().status == 200, "on the connections that are there"
        assert proxy.is_running
        clients.close()
        deadline = time.monotonic() + 10
        status = 0
        while status != 200 and time.monotonic() < deadline:
            with contextlib.suppress(OSError, EOFError):
                status = exchange(port, GET).status
            time.sleep(0.02)
        assert status == 200, proxy.output


def test_a_connection_to_the_upstream_without_a_file_descriptor_is_answered_503(upstream: RawUpstream) -> None:
    upstream.answer_with([OK, End.CLOSE])
    with ProxyProcess(upstream.url) as proxy, RawClient(proxy.port) as client:
        client.send(GET)
        assert client.read_response().status == 200
        upstream.wait_until_all_closed()
        proxy.management("/status/health")  # the event loop has gone round
        used = _descriptors(proxy)
        lowest_free = min(set(range(len(used) + 1)) - used)
        _, hard = resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (lowest_free, hard))
        client.send(GET)
        response = client.read_response()
        assert (response.status, response.problem_code) == (503, "out_of_file_descriptors")
        assert response.values(b"retry-after") == [b"1"]
        resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (hard, hard))
        client.send(GET)
        assert client.read_response().status == 200
