"""WebSockets through the proxy, with a client and a server of the `websockets` library."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

websockets = pytest.importorskip("websockets", reason="the package websockets is not installed")

from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus  # noqa: E402
from websockets.sync.client import ClientConnection, connect  # noqa: E402
from websockets.sync.server import ServerConnection  # noqa: E402

from tests.proxy.websocket_service import WebSocketService  # noqa: E402
from tests.tls.certificates import Certificates  # noqa: E402
from tests.upstream.http_proxy import HttpProxy  # noqa: E402
from tests.wire.running_proxy import LoopKind, RunningProxy  # noqa: E402

MIB = 1024 * 1024


@pytest.fixture(name="loop_kind", params=["uvloop", "asyncio"])
def _loop_kind(request: pytest.FixtureRequest) -> LoopKind:
    kind: LoopKind = request.param
    return kind


@pytest.fixture(name="service")
def _service() -> Iterator[WebSocketService]:
    with WebSocketService() as service:
        yield service
        assert service.refused == []


def open_websocket(proxy: RunningProxy, path: str = "/socket", **options: Any) -> ClientConnection:
    opened: ClientConnection = connect(
        f"ws://127.0.0.1:{proxy.port}{path}", proxy=None, max_size=None, open_timeout=5, close_timeout=2, **options
    )
    return opened


def wait_until(is_so: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def no_tunnel_is_left(proxy: RunningProxy) -> None:
    wait_until(lambda: proxy.counters.tunnels_open == 0 and proxy.counters.downstream_connections_open == 0)
    wait_until(lambda: repr(proxy.application.plane.upstream._pool) == "<Pool idle=0 busy=0 connecting=0 waiting=0>")
    assert proxy.counters.requests_in_flight == 0


def test_messages_of_every_kind_and_size_go_both_ways(service: WebSocketService, loop_kind: LoopKind) -> None:
    with RunningProxy(service.url, loop_kind=loop_kind) as proxy:
        with open_websocket(proxy, "/socket?a=b%20c&x", subprotocols=None) as client:
            for message in ("text ü", "", b"binary\x00\xff", b"", "y" * 70_000, os.urandom(3 * MIB)):
                client.send(message)
                assert client.recv(timeout=10) == message
            assert client.ping().wait(5)
            assert proxy.counters.tunnels_open == 1
        no_tunnel_is_left(proxy)
        assert proxy.counters.tunnels_total == 1
        assert proxy.counters.requests == {("GET", 101, "ok"): 1}
    (request,) = service.requests
    assert request.headers["Upgrade"] == "websocket"
    assert request.headers["Connection"] == "Upgrade"
    signed = request.headers["Authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    assert set(signed).isdisjoint({"connection", "upgrade", "origin"})
    assert not any(name.startswith("sec-websocket") for name in signed)
    assert request.headers["Sec-WebSocket-Version"] == "13"


def test_a_message_in_many_fragments_arrives_as_one(service: WebSocketService) -> None:
    pieces = [os.urandom(50_000) for _ in range(40)]
    with RunningProxy(service.url) as proxy, open_websocket(proxy, compression=None) as client:
        client.send(iter(pieces))
        assert client.recv(timeout=10) == b"".join(pieces)


def test_the_client_ends_the_conversation_and_its_close_frame_arrives(loop_kind: LoopKind) -> None:
    ended: list[tuple[int, str]] = []

    def note_the_end(websocket: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            websocket.recv()
        ended.append((websocket.close_code or 0, websocket.close_reason or ""))

    with WebSocketService(note_the_end) as service, RunningProxy(service.url, loop_kind=loop_kind) as proxy:
        with open_websocket(proxy) as client:
            client.close(4001, "enough")
        no_tunnel_is_left(proxy)
    assert ended == [(4001, "enough")]


def test_the_service_ends_the_conversation_and_its_close_frame_arrives(loop_kind: LoopKind) -> None:
    with (
        WebSocketService(lambda websocket: websocket.close(4002, "go away")) as service,
        RunningProxy(service.url, loop_kind=loop_kind) as proxy,
    ):
        with open_websocket(proxy) as client:
            with pytest.raises(ConnectionClosedError):
                client.recv(timeout=5)
            assert (client.close_code, client.close_reason) == (4002, "go away")
        no_tunnel_is_left(proxy)


def test_a_client_that_vanishes_ends_the_services_connection_too(service: WebSocketService) -> None:
    with RunningProxy(service.url) as proxy, open_websocket(proxy) as client:
        client.socket.shutdown(socket.SHUT_RDWR)
        no_tunnel_is_left(proxy)


@pytest.mark.parametrize("slow_side", ["client", "service"])
def test_a_side_that_does_not_read_makes_the_other_wait_and_costs_no_memory(
    slow_side: str, loop_kind: LoopKind
) -> None:
    may_read = threading.Event()
    sent = threading.Event()
    total = 64 * MIB
    piece = os.urandom(MIB)

    def handle(websocket: ServerConnection) -> None:
        if slow_side == "client":
            for _ in range(total // MIB):
                websocket.send(piece)
            sent.set()
            websocket.recv()
        else:
            may_read.wait(10)
            received = 0
            while received < total:
                received += len(websocket.recv())
            websocket.send("all")

    def send_all(client: ClientConnection) -> None:
        for _ in range(total // MIB):
            client.send(piece)

    with WebSocketService(handle) as service, RunningProxy(service.url, loop_kind=loop_kind) as proxy:
        # max_queue: what the library itself reads ahead.
        with open_websocket(proxy, compression=None, max_queue=2) as client:
            if slow_side == "client":
                assert not sent.wait(1.0)
                assert _held_by(proxy) < 2 * MIB
                assert sum(len(client.recv(timeout=10)) for _ in range(total // MIB)) == total
                assert sent.wait(10)
                client.send("done")
            else:
                thread = threading.Thread(target=send_all, args=(client,))
                thread.start()
                time.sleep(1.0)
                assert thread.is_alive()
                assert _held_by(proxy) < 2 * MIB
                may_read.set()
                assert client.recv(timeout=20) == "all"
                thread.join(10)
        no_tunnel_is_left(proxy)


def _held_by(proxy: RunningProxy) -> int:
    """Return how many bytes wait in the transports of both sides."""

    def count() -> int:
        (downstream,) = proxy.application.server._connections
        assert downstream._transport is not None
        tunnel: Any = downstream._tunnel
        transports = (downstream._transport, tunnel._connection._transport)
        return sum(int(transport.get_write_buffer_size()) for transport in transports)

    return proxy.call(count)


def test_a_conversation_in_which_nothing_moves_is_closed_after_its_time(service: WebSocketService) -> None:
    with RunningProxy(service.url, {"ASP_UPGRADE_IDLE_TIMEOUT": "700ms", "ASP_PROGRESS_TIMEOUT": "100ms"}) as proxy:
        with open_websocket(proxy, ping_interval=None) as client:
            for _ in range(4):
                time.sleep(0.3)  # longer in all than the time, but something moves
                client.send("x")
                assert client.recv(timeout=5) == "x"
            began = time.monotonic()
            with pytest.raises(ConnectionClosedError):
                client.recv(timeout=5)
            assert 0.5 < time.monotonic() - began < 2.0
        no_tunnel_is_left(proxy)
        assert proxy.counters.limits_hit["upgrade_idle_timeout"] == 1


def test_a_stopping_proxy_waits_for_conversations_until_the_drain_timeout(service: WebSocketService) -> None:
    with RunningProxy(service.url) as proxy, open_websocket(proxy) as client:
        stopper = threading.Thread(target=lambda: proxy.stop(drain_timeout_seconds=1.0))
        stopper.start()
        time.sleep(0.3)
        client.send("still there")
        assert client.recv(timeout=5) == "still there"
        with pytest.raises(ConnectionClosedError):
            client.recv(timeout=5)
        stopper.join(5)
        assert proxy.counters.requests == {("GET", 101, "drain_timeout"): 1}
        assert proxy.counters.limits_hit["drain_timeout"] == 1


def test_a_refused_handshake_is_an_ordinary_answer() -> None:
    with WebSocketService() as service, RunningProxy(service.url, {"AWS_SECRET_ACCESS_KEY": "another"}) as proxy:
        with pytest.raises(InvalidStatus) as caught, open_websocket(proxy):
            pass
        assert caught.value.response.status_code == 403
        assert service.refused == ["SignatureDoesNotMatch"]
        assert proxy.counters.requests == {("GET", 403, "ok"): 1}
        assert proxy.counters.tunnels_total == 0


@pytest.mark.parametrize("is_through_a_proxy", [False, True], ids=["direct", "through_a_proxy"])
def test_tls_on_both_sides_carries_a_conversation(
    tmp_path: Path, loop_kind: LoopKind, is_through_a_proxy: bool
) -> None:
    certificates = Certificates(tmp_path, "service.test", "127.0.0.1", "localhost")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificates.cert, certificates.key)
    with contextlib.ExitStack() as stack:
        service = stack.enter_context(WebSocketService(tls=tls, host="service.test"))
        settings = {
            "ASP_CA_BUNDLE": str(certificates.ca),
            "ASP_TLS_CERT": str(certificates.cert),
            "ASP_TLS_KEY": str(certificates.key),
        }
        if is_through_a_proxy:
            settings["HTTPS_PROXY"] = stack.enter_context(HttpProxy(tls=tls)).url
        else:
            settings["ASP_CONNECT_TO"] = f"127.0.0.1:{service.port}"
        proxy = stack.enter_context(RunningProxy(service.url, settings, loop_kind=loop_kind))
        uri = f"wss://localhost:{proxy.port}/socket"
        with connect(uri, proxy=None, ssl=certificates.client_context(), max_size=None, close_timeout=2) as client:
            for message in ("text", os.urandom(2 * MIB)):
                client.send(message)
                assert client.recv(timeout=10) == message
        no_tunnel_is_left(proxy)
    assert service.refused == []


def test_many_conversations_at_once_leave_nothing_behind(service: WebSocketService) -> None:
    with RunningProxy(service.url, {"ASP_MAX_UPSTREAM_CONNECTIONS": "20"}) as proxy:
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(open_websocket(proxy)) for _ in range(20)]
            assert proxy.counters.tunnels_open == 20
            for number, client in enumerate(clients):
                client.send(str(number))
            assert [client.recv(timeout=5) for client in clients] == [str(number) for number in range(20)]
        no_tunnel_is_left(proxy)
        assert proxy.counters.tunnels_total == 20
