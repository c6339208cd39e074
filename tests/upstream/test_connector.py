"""Opening connections over real sockets, and what a person is told for each way in which that fails."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from aws_signing_proxy.errors import ErrorCode, ProxyError
from aws_signing_proxy.tls.contexts import client_context
from aws_signing_proxy.upstream.connection import UpstreamConnection
from aws_signing_proxy.upstream.connector import Connector, UpstreamAddress
from aws_signing_proxy.upstream.tls import TlsSettings
from tests.upstream.conftest import Authority


class _Owner:
    def on_connection_closed(self, connection: UpstreamConnection) -> None:
        """Nothing: a connection that is not pooled tells nobody."""


@pytest.fixture(name="listener")
def _listener() -> Iterator[socket.socket]:
    """A server that accepts nothing, though the kernel does."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
        yield listener


def _port(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


async def _connect(connector: Connector) -> UpstreamConnection:
    return await connector.connect(_Owner())


def _failure(connector: Connector) -> ProxyError:
    with pytest.raises(ProxyError) as caught:
        asyncio.run(_connect(connector))
    return caught.value


def _connector(
    port: int, *, host: str = "127.0.0.1", tls: TlsSettings | None = None, timeout_seconds: float = 5.0
) -> Connector:
    return Connector(UpstreamAddress(host, port), tls, connect_timeout_seconds=timeout_seconds)


@contextlib.asynccontextmanager
async def _serving(
    on_client: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any], **options: Any
) -> AsyncIterator[int]:
    server = await asyncio.start_server(on_client, "127.0.0.1", 0, **options)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


@pytest.mark.parametrize(
    ("host", "text"), [("example.com", "example.com:443"), ("192.0.2.1", "192.0.2.1:443"), ("::1", "[::1]:443")]
)
def test_an_address_is_written_as_in_a_url(host: str, text: str) -> None:
    assert str(UpstreamAddress(host, 443)) == text


def test_a_connection_is_opened_without_delay_of_small_writes(listener: socket.socket) -> None:
    async def connect() -> int:
        connection = await _connect(_connector(_port(listener)))
        assert connection._transport is not None
        no_delay = connection._transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        connection.abort()
        await asyncio.sleep(0)
        return int(no_delay)

    assert asyncio.run(connect()) == 1


def test_a_name_is_resolved_for_each_connection(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def connect() -> None:
        loop = asyncio.get_running_loop()
        resolve = loop.getaddrinfo

        async def getaddrinfo(host: str, port: int, **options: Any) -> Any:
            asked.append(host)
            return await resolve("127.0.0.1", port, **options)

        monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
        connector = _connector(_port(listener), host="service.test")
        for _ in range(2):
            (await _connect(connector)).abort()
        await asyncio.sleep(0)

    asyncio.run(connect())
    assert asked == ["service.test", "service.test"]


def test_a_second_address_is_tried_where_the_first_refuses(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect() -> None:
        loop = asyncio.get_running_loop()

        async def getaddrinfo(_host: str, port: int, **_options: Any) -> Any:
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")
            ]

        monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
        (await _connect(_connector(_port(listener), host="service.test"))).abort()
        await asyncio.sleep(0)

    asyncio.run(connect())


def test_tls_is_established_before_the_connection_is_handed_over(authority: Authority) -> None:
    async def connect() -> bool:
        async def on_client(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        async with _serving(on_client, ssl=authority.server_context()) as port:
            tls = TlsSettings(client_context(authority.ca_bundle), "service.test")
            connector = _connector(port, tls=tls)
            assert connector.is_tls
            connection = await _connect(connector)
            is_established = connection._tls is not None and connection._tls.is_established
            connection.abort()
            await asyncio.sleep(0.01)
            return is_established

    assert asyncio.run(connect())


def test_a_refused_connection_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = _port(closed)
    error = _failure(_connector(port))
    assert error.code is ErrorCode.UPSTREAM_CONNECT_FAILED
    assert f"no connection to 127.0.0.1:{port}: connection refused. check asp_target_url" in error.detail.lower()


def test_a_name_that_does_not_exist_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect() -> None:
        async def getaddrinfo(*_: Any, **__: Any) -> Any:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
        await _connect(_connector(443, host="name.invalid"))

    with pytest.raises(ProxyError) as caught:
        asyncio.run(connect())
    assert caught.value.code is ErrorCode.UPSTREAM_NAME_NOT_RESOLVED
    assert caught.value.detail == (
        "The name name.invalid could not be resolved: Name or service not known. Check ASP_TARGET_URL and the DNS."
    )


def test_a_server_with_a_full_backlog_runs_into_the_connect_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as fillers:
        for _ in range(4):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        error = _failure(_connector(_port(full), timeout_seconds=0.2))
    assert error.code is ErrorCode.UPSTREAM_CONNECT_TIMEOUT
    assert "within 0.2 s (ASP_DIAL_TIMEOUT)" in error.detail


def test_a_tls_server_that_never_answers_runs_into_the_connect_timeout(
    listener: socket.socket, authority: Authority
) -> None:
    tls = TlsSettings(client_context(authority.ca_bundle), "service.test")
    error = _failure(_connector(_port(listener), tls=tls, timeout_seconds=0.1))
    assert error.code is ErrorCode.UPSTREAM_CONNECT_TIMEOUT


def test_a_timeout_of_the_system_is_explained_where_the_proxy_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect() -> None:
        async def getaddrinfo(*_: Any, **__: Any) -> Any:
            raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
        await _connect(_connector(443, timeout_seconds=0))

    with pytest.raises(ProxyError, match=r"(?i)connection timed out\. Check ASP_TARGET_URL"):
        asyncio.run(connect())


@pytest.mark.parametrize(
    ("name", "is_trusted", "reason", "setting"),
    [
        ("other.test", True, "Hostname mismatch", "ASP_TARGET_URL"),
        ("service.test", False, "unable to get local issuer certificate", "ASP_CA_BUNDLE"),
    ],
)
def test_a_certificate_that_is_not_trusted_says_why(
    authority: Authority,
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    reason: str,
    setting: str,
    *,
    is_trusted: bool,
) -> None:
    bundle = authority.ca_bundle if is_trusted else Authority(tmp_path_factory.mktemp("other")).ca_bundle

    async def connect() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda *_: None)  # the server's own complaint
        async with _serving(lambda _reader, writer: writer.close(), ssl=authority.server_context()) as port:
            try:
                await _connect(_connector(port, tls=TlsSettings(client_context(bundle), name)))
            finally:
                await asyncio.sleep(0.01)

    with pytest.raises(ProxyError) as caught:
        asyncio.run(connect())
    assert caught.value.code is ErrorCode.UPSTREAM_TLS_FAILED
    assert reason in caught.value.detail
    assert setting in caught.value.detail


def test_a_server_that_does_not_speak_tls_says_so(authority: Authority) -> None:
    async def connect() -> None:
        async def on_client(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await writer.drain()
            writer.close()

        async with _serving(on_client) as port:
            tls = TlsSettings(client_context(authority.ca_bundle), "service.test")
            await _connect(_connector(port, tls=tls))

    with pytest.raises(ProxyError) as caught:
        asyncio.run(connect())
    assert caught.value.code is ErrorCode.UPSTREAM_TLS_FAILED
    assert "wrong version number. Check that it speaks TLS on this port." in caught.value.detail


def test_a_server_that_closes_during_the_handshake_is_no_tls_error(authority: Authority) -> None:
    async def connect() -> None:
        async with _serving(lambda _reader, writer: writer.close()) as port:
            tls = TlsSettings(client_context(authority.ca_bundle), "service.test")
            await _connect(_connector(port, tls=tls))

    with pytest.raises(ProxyError) as caught:
        asyncio.run(connect())
    assert caught.value.code is ErrorCode.UPSTREAM_CONNECT_FAILED


def test_without_a_file_descriptor_the_proxy_itself_is_to_blame(listener: socket.socket) -> None:
    async def connect() -> None:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.ExitStack() as held:
            highest = held.enter_context(socket.socket()).fileno()
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, before[1]))
            held.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
            with contextlib.suppress(OSError):
                while True:
                    held.enter_context(socket.socket())
            await _connect(_connector(_port(listener)))

    with pytest.raises(ProxyError) as caught:
        asyncio.run(connect())
    assert caught.value.code is ErrorCode.OUT_OF_FILE_DESCRIPTORS
    assert caught.value.status == 503
    assert caught.value.retry_after_seconds == 1


def test_a_connect_that_is_cancelled_leaves_nothing_open(listener: socket.socket, authority: Authority) -> None:
    async def cancel() -> None:
        tls = TlsSettings(client_context(authority.ca_bundle), "service.test")
        connecting = asyncio.ensure_future(_connect(_connector(_port(listener), tls=tls)))
        accepted, _ = await asyncio.get_running_loop().run_in_executor(None, listener.accept)
        with accepted:
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting
            await asyncio.sleep(0)
            accepted.settimeout(5)
            with contextlib.suppress(ConnectionResetError):
                while accepted.recv(4096):
                    pass

    asyncio.run(cancel())


def test_the_context_verifies_by_default() -> None:
    context = client_context(None)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
