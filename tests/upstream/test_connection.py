"""One upstream connection on a fake transport: what it passes on, what it refuses, and how it ends."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

import pytest

from aws_signing_proxy.tls.contexts import client_context
from aws_signing_proxy.upstream.connection import UpstreamConnection
from aws_signing_proxy.upstream.tls import TlsSettings
from tests.upstream.conftest import Authority
from tests.upstream.fake_transport import FakeTransport
from tests.upstream.tls_server import TlsServer


class _Owner:
    def __init__(self) -> None:
        self.closed: list[UpstreamConnection] = []

    def on_connection_closed(self, connection: UpstreamConnection) -> None:
        self.closed.append(connection)


class _User:
    """Writes down what it is told; `on_data` acts on it."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.on_data: Callable[[], None] = lambda: None

    def on_upstream_data(self, data: bytes) -> None:
        self.told.append(data)
        self.on_data()

    def on_upstream_closed(self, *, is_clean: bool) -> None:
        self.told.append("closed cleanly" if is_clean else "cut off")

    def on_upstream_writable(self) -> None:
        self.told.append("writable")


class _Plain:
    """An open plain connection, in use."""

    def __init__(self) -> None:
        self.owner, self.user = _Owner(), _User()
        self.connection = UpstreamConnection(self.owner, None)
        self.transport = FakeTransport(self.connection, high_water=100)
        self.connection.connection_made(self.transport)
        self.connection.is_pooled = True
        self.connection.user = self.user


class _Tls:
    """An open TLS connection, in use, and the server at its other end."""

    def __init__(self, authority: Authority) -> None:
        self.owner, self.user = _Owner(), _User()
        self.settings = TlsSettings(client_context(authority.ca_bundle), "service.test")
        self.connection = UpstreamConnection(self.owner, self.settings.engine())
        self.transport = FakeTransport(self.connection)
        self.server = TlsServer(authority.server_context())

    async def establish(self) -> None:
        self.connection.connection_made(self.transport)
        establishing = asyncio.ensure_future(self.connection.establish())
        while not establishing.done():
            await asyncio.sleep(0)
            if (data := self.transport.take()) and (answer := self.server.answer(data)):
                self.connection.data_received(answer)
        await establishing
        self.server.answer(self.transport.take())
        self.connection.is_pooled = True
        self.connection.user = self.user


@pytest.fixture(name="plain")
def _plain() -> _Plain:
    return _Plain()


@pytest.fixture(name="tls")
def _tls(authority: Authority) -> _Tls:
    tls = _Tls(authority)
    asyncio.run(tls.establish())
    return tls


def test_bytes_pass_unchanged_both_ways(plain: _Plain) -> None:
    plain.connection.send(b"request")
    plain.connection.send(memoryview(b" body"))
    plain.connection.data_received(b"response")
    assert plain.transport.take() == b"request body"
    assert plain.user.told == [b"response"]


def test_its_repr_says_what_it_does(plain: _Plain) -> None:
    assert repr(plain.connection) == "<UpstreamConnection busy uses=0 plain>"
    plain.connection.finished_use()
    assert repr(plain.connection) == "<UpstreamConnection idle uses=0 plain>"
    plain.connection.abort()
    assert repr(plain.connection) == "<UpstreamConnection ended uses=0 plain>"


def test_the_end_is_told_once_to_its_owner_and_its_user(plain: _Plain) -> None:
    plain.connection.eof_received()
    plain.transport.lose()
    assert plain.user.told == ["closed cleanly"]
    assert plain.owner.closed == [plain.connection]
    assert plain.connection.is_ended
    assert plain.connection.user is None


def test_a_reset_is_no_clean_end(plain: _Plain) -> None:
    plain.transport.lose(ConnectionResetError())
    assert plain.user.told == ["cut off"]


def test_bytes_that_nobody_asked_for_end_an_idle_connection(plain: _Plain) -> None:
    """They would be taken for the answer to the next request."""
    plain.connection.finished_use()
    plain.connection.data_received(b"HTTP/1.1 200 OK\r\n\r\n")
    assert plain.transport.is_aborted
    assert plain.owner.closed == [plain.connection]


def test_after_its_end_nothing_is_sent_or_passed_on(plain: _Plain) -> None:
    plain.connection.abort()
    plain.connection.send(b"late")
    plain.connection.data_received(b"late")
    plain.transport.lose()
    assert plain.transport.take() == b""
    assert plain.user.told == []
    assert plain.owner.closed == []


def test_its_owner_is_told_of_no_connection_that_it_does_not_count(plain: _Plain) -> None:
    plain.connection.is_pooled = False
    plain.transport.lose()
    assert plain.owner.closed == []


def test_reading_is_paused_and_resumed_once_however_often_it_is_asked(plain: _Plain) -> None:
    plain.connection.resume_reading()
    plain.connection.pause_reading()
    plain.connection.pause_reading()
    assert not plain.transport.reads
    plain.connection.resume_reading()
    plain.connection.resume_reading()
    assert plain.transport.reads


def test_a_connection_whose_use_is_over_reads_again(plain: _Plain) -> None:
    plain.connection.pause_reading()
    plain.connection.finished_use()
    assert plain.transport.reads


def test_reading_is_neither_paused_nor_resumed_after_the_end(plain: _Plain) -> None:
    plain.connection.pause_reading()
    plain.connection.abort()
    plain.connection.resume_reading()
    plain.connection.pause_reading()
    assert not plain.transport.reads


def test_a_full_transport_pauses_writing_until_it_takes_bytes_again(plain: _Plain) -> None:
    plain.connection.send(b"x" * 101)
    seen = [plain.connection.is_write_paused]
    assert plain.user.told == []
    plain.transport.take()
    seen.append(plain.connection.is_write_paused)
    assert seen == [True, False]
    assert plain.user.told == ["writable"]


def test_a_closed_connection_says_goodbye_and_an_aborted_one_does_not(plain: _Plain) -> None:
    plain.connection.close()
    assert plain.transport.is_closed
    assert not plain.transport.is_aborted
    other = _Plain()
    other.connection.abort()
    assert other.transport.is_aborted


def test_bytes_or_a_goodbye_that_the_loop_has_not_seen_are_found_by_looking() -> None:
    async def look() -> list[bool]:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        connection = UpstreamConnection(_Owner(), None)
        await loop.create_connection(lambda: connection, sock=ours)
        connection.user = _User()
        seen = [connection.has_unread_input()]
        theirs.sendall(b"nobody asked for this")
        seen.append(connection.has_unread_input())
        theirs.close()
        seen.append(connection.has_unread_input())
        connection.abort()
        await asyncio.sleep(0)
        seen.append(connection.has_unread_input())
        return seen

    assert asyncio.run(look()) == [False, True, True, True]


def test_a_plain_connection_has_nothing_to_establish(plain: _Plain) -> None:
    asyncio.run(plain.connection.establish())
    assert not plain.connection.was_resumed
    assert not plain.connection.has_said_goodbye


def test_tls_encrypts_what_is_sent_and_decrypts_what_comes(tls: _Tls) -> None:
    tls.connection.send(b"request")
    encrypted = tls.transport.take()
    assert b"request" not in encrypted
    assert tls.server.decrypt(encrypted) == b"request"
    tls.connection.data_received(tls.server.encrypt(b"response"))
    assert tls.user.told == [b"response"]


def test_a_record_that_is_not_whole_is_not_passed_on(tls: _Tls) -> None:
    record = tls.server.encrypt(b"response")
    tls.connection.data_received(record[:-1])
    assert tls.user.told == []
    tls.connection.data_received(record[-1:])
    assert tls.user.told == [b"response"]


def test_the_servers_close_notify_is_a_clean_end(tls: _Tls) -> None:
    tls.connection.data_received(tls.server.encrypt(b"all") + tls.server.goodbye())
    assert tls.user.told == [b"all", "closed cleanly"]
    assert tls.owner.closed == [tls.connection]


@pytest.mark.parametrize("end", ["eof", "lost"])
def test_without_close_notify_the_response_may_have_been_cut_off(tls: _Tls, end: str) -> None:
    tls.connection.data_received(tls.server.encrypt(b"some"))
    if end == "eof":
        tls.connection.eof_received()
    else:
        tls.transport.lose()
    assert tls.user.told == [b"some", "cut off"]


def test_a_user_can_see_that_the_goodbye_came_with_the_last_bytes(tls: _Tls) -> None:
    """So that the pool does not give the connection to the next request in that instant."""
    seen: list[bool] = []
    tls.user.on_data = lambda: seen.append(tls.connection.has_said_goodbye)
    tls.connection.data_received(tls.server.encrypt(b"all") + tls.server.goodbye())
    assert seen == [True]


def test_a_bad_record_ends_the_connection_with_an_alert(tls: _Tls) -> None:
    record = bytearray(tls.server.encrypt(b"secret"))
    record[-1] ^= 1
    tls.connection.data_received(bytes(record))
    assert tls.user.told == ["cut off"]
    assert tls.transport.take()
    assert tls.transport.is_aborted


def test_the_session_is_kept_after_the_first_use_and_resumed_by_the_next_connection(
    tls: _Tls, authority: Authority
) -> None:
    tls.connection.uses = 1
    tls.connection.data_received(tls.server.encrypt(b"response"))
    tls.connection.finished_use()
    assert tls.settings.session is not None


def test_closing_sends_close_notify(tls: _Tls) -> None:
    tls.connection.close()
    assert tls.transport.is_closed
    assert tls.server.decrypt(tls.transport.take()) == b""


def test_a_peer_that_closes_during_the_handshake_fails_it(authority: Authority) -> None:
    async def fail() -> None:
        tls = _Tls(authority)
        tls.connection.connection_made(tls.transport)
        establishing = asyncio.ensure_future(tls.connection.establish())
        await asyncio.sleep(0)
        tls.connection.eof_received()
        await establishing

    with pytest.raises(ConnectionResetError, match="during the TLS handshake"):
        asyncio.run(fail())


def test_an_untrusted_certificate_fails_the_handshake_and_the_peer_is_told_why(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tls = _Tls(Authority(tmp_path_factory.mktemp("other")))

    async def fail() -> None:
        server = TlsServer(authority.server_context())
        tls.connection.connection_made(tls.transport)
        establishing = asyncio.ensure_future(tls.connection.establish())
        await asyncio.sleep(0)
        tls.connection.data_received(server.answer(tls.transport.take()))
        with pytest.raises(ssl.SSLCertVerificationError):
            await establishing
        with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
            server.answer(tls.transport.take())

    asyncio.run(fail())
    assert tls.transport.is_closed, "closed, not aborted: the alert must go out"
