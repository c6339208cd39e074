"""TLS towards clients, over real sockets: what goes through it, who is refused, and what a hostile client gets."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.tls.certificates import Certificates
from tests.wire.conftest import End, RawUpstream, RunningProxy
from tests.wire.raw_client import RawClient, Response

GET = b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
MIB = 1024 * 1024


@pytest.fixture(scope="module", name="certificates")
def _certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module", name="proxy", params=["uvloop", "asyncio"])
def _proxy(
    request: pytest.FixtureRequest, module_upstream: RawUpstream, certificates: Certificates
) -> Iterator[RunningProxy]:
    settings = settings_of(certificates) | {"ASP_REQUEST_HEAD_TIMEOUT": "1s"}
    with RunningProxy(module_upstream.url, settings, loop_kind=request.param) as proxy:
        yield proxy


def settings_of(certificates: Certificates) -> dict[str, str]:
    return {"ASP_TLS_CERT": str(certificates.cert), "ASP_TLS_KEY": str(certificates.key)}


class TlsClient(RawClient):
    """A client that speaks TLS."""

    def __init__(self, port: int, context: ssl.SSLContext, *, suppress_ragged_eofs: bool = True) -> None:
        super().__init__(port)
        self.sock = context.wrap_socket(
            self.sock, server_hostname="localhost", suppress_ragged_eofs=suppress_ragged_eofs
        )

    def read_some(self) -> bytes:
        try:
            return super().read_some()
        except ssl.SSLEOFError:
            self.was_reset = True
            return b""


def ask(port: int, context: ssl.SSLContext, request: bytes = GET) -> Response:
    with TlsClient(port, context) as client:
        client.send(request)
        return client.read_response()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_requests_go_through_tls_and_the_connection_is_kept(
    proxy: RunningProxy, upstream: RawUpstream, certificates: Certificates, version: ssl.TLSVersion
) -> None:
    context = certificates.client_context()
    context.minimum_version = context.maximum_version = version
    with TlsClient(proxy.port, context) as client:
        for _ in range(3):
            client.send(GET)
            assert client.read_response().status == 200
    assert len(upstream.requests) == 3
    assert proxy.application.listens_on == f"https://127.0.0.1:{proxy.port}"


def test_large_bodies_go_both_ways_whole(
    proxy: RunningProxy, upstream: RawUpstream, certificates: Certificates
) -> None:
    body = bytes(range(256)) * (8 * MIB // 256)
    upstream.answer_with([b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body])
    with TlsClient(proxy.port, certificates.client_context()) as client:
        client.send(b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert client.read_response().body == body
    assert upstream.requests[0].body == body


def test_pipelined_requests_in_one_record_are_answered_in_order(
    proxy: RunningProxy, upstream: RawUpstream, certificates: Certificates
) -> None:
    upstream.answer_with(*[[b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number] for number in range(5)])
    with TlsClient(proxy.port, certificates.client_context()) as client:
        client.send(GET * 5)
        assert [client.read_response().body for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]


def test_records_cut_at_every_byte_are_put_together(
    proxy: RunningProxy, upstream: RawUpstream, certificates: Certificates
) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = certificates.client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with RawClient(proxy.port) as client:
        is_done = False
        while not is_done:
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
                is_done = True
            client.send_pieces(bytes([byte]) for byte in outgoing.read())
            if not is_done:
                incoming.write(client.read_some())
        tls.write(GET)
        client.send_pieces(bytes([byte]) for byte in outgoing.read())
        answer = b""
        while b"\r\n\r\nok" not in answer:
            incoming.write(client.read_some())
            with contextlib.suppress(ssl.SSLWantReadError):
                while piece := tls.read(65536):
                    answer += piece
    assert answer.startswith(b"HTTP/1.1 200")
    assert len(upstream.requests) == 1


def test_the_proxys_goodbye_tells_a_whole_answer_from_one_that_was_cut_off(
    proxy: RunningProxy, upstream: RawUpstream, certificates: Certificates
) -> None:
    with TlsClient(proxy.port, certificates.client_context(), suppress_ragged_eofs=False) as client:
        client.send(b"GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert client.read_response().status == 200
        assert client.read_until_closed() == b""
        assert not client.was_reset
    upstream.answer_with([b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", End.RESET])
    with TlsClient(proxy.port, certificates.client_context(), suppress_ragged_eofs=False) as client:
        client.send(GET)
        with pytest.raises(EOFError):
            client.read_response()
        assert client.was_reset


@pytest.mark.parametrize("how", ["close_notify", "FIN", "RST"])
def test_a_request_that_was_cut_off_goes_nowhere(
    proxy: RunningProxy, upstream: RawUpstream, certificates: Certificates, how: str
) -> None:
    with TlsClient(proxy.port, certificates.client_context()) as client:
        client.send(b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf")
        proxy.settle()
        if how == "close_notify":
            with contextlib.suppress(ssl.SSLError, OSError):
                client.sock.settimeout(1)
                client.sock.unwrap()  # type: ignore[attr-defined]  # it is a TLS socket
        elif how == "FIN":
            client.sock.shutdown(socket.SHUT_RDWR)
    proxy.settle()
    assert upstream.requests == []
    assert proxy.counters.requests_in_flight == 0


def test_plain_http_on_the_tls_port_is_told_so(proxy: RunningProxy, upstream: RawUpstream) -> None:
    failures = proxy.counters.downstream_tls_failures_total
    with RawClient(proxy.port) as client:
        client.send(GET)
        response = client.read_response()
        assert client.read_until_closed() == b""
    assert (response.status, response.problem_code) == (400, "malformed_request")
    assert b"https://" in response.body
    assert upstream.requests == []
    assert proxy.counters.downstream_tls_failures_total == failures + 1


@pytest.mark.parametrize("data", [b"\x00", b"\xff" * 5000, b"\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x28"])
def test_what_is_neither_tls_nor_http_is_closed_without_a_word(
    proxy: RunningProxy, upstream: RawUpstream, data: bytes
) -> None:
    with RawClient(proxy.port) as client:
        client.send(data)
        assert client.read_until_closed() == b""
    proxy.settle()
    assert proxy.counters.downstream_connections_open == 0


@pytest.mark.parametrize(
    "data",
    [b"\x16\x03\x01\x00\x05hello", b"\x16\x03\x01\xff\xff" + b"\x00" * 70000, b"\x16\x03\x03\x00\x04\x0e\x00\x00\x00"],
    ids=["no client hello", "a record that is too large", "a handshake message out of turn"],
)
def test_a_broken_handshake_gets_an_alert_and_is_closed(proxy: RunningProxy, data: bytes) -> None:
    with RawClient(proxy.port) as client:
        client.send(data)
        answer = client.read_until_closed()
    assert answer[:1] == b"\x15" or client.was_reset


def test_a_record_that_was_changed_on_the_way_ends_the_connection_and_goes_nowhere(
    proxy: RunningProxy, upstream: RawUpstream, certificates: Certificates
) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = certificates.client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with RawClient(proxy.port) as client:
        is_done = False
        while not is_done:
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
                is_done = True
            client.send(outgoing.read())
            if not is_done:
                incoming.write(client.read_some())
        tls.write(GET)
        record = bytearray(outgoing.read())
        record[-1] ^= 1
        client.send(bytes(record))
        client.read_until_closed()
    assert upstream.requests == []


def test_a_handshake_that_is_not_finished_in_time_is_closed_however_slowly_it_goes_on(proxy: RunningProxy) -> None:
    hits = proxy.counters.limits_hit["tls_handshake_timeout"]
    began = time.monotonic()
    with RawClient(proxy.port) as client:
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
        with contextlib.suppress(OSError):
            while time.monotonic() - began < 4 and client.is_open(within_seconds=0.1):
                client.sock.sendall(hello[:1] or b"\x00")
                hello = hello[1:]
    assert 0.9 < time.monotonic() - began < 3
    assert proxy.counters.limits_hit["tls_handshake_timeout"] == hits + 1


def test_many_unfinished_handshakes_do_not_keep_others_from_theirs(
    proxy: RunningProxy, upstream: RawUpstream, certificates: Certificates
) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(RawClient(proxy.port)).send(b"\x16\x03\x01")
        began = time.monotonic()
        assert ask(proxy.port, certificates.client_context()).status == 200
        assert time.monotonic() - began < 1


def test_unfinished_handshakes_count_as_connections(module_upstream: RawUpstream, certificates: Certificates) -> None:
    settings = {
        "ASP_TLS_CERT": str(certificates.cert),
        "ASP_TLS_KEY": str(certificates.key),
        "ASP_MAX_CONNECTIONS": "2",
    }
    with (
        RunningProxy(module_upstream.url, settings) as proxy,
        RawClient(proxy.port) as one,
        RawClient(proxy.port) as two,
    ):
        one.send(b"\x16")
        two.send(b"\x16")
        proxy.settle()
        with pytest.raises((ssl.SSLError, OSError)):
            ask(proxy.port, certificates.client_context())
        assert proxy.counters.limits_hit["connections"] == 1
        one.sock.close()
        proxy.settle()
        assert ask(proxy.port, certificates.client_context()).status == 200


def test_a_client_must_show_a_certificate_of_the_authority(
    module_upstream: RawUpstream, certificates: Certificates, tmp_path: Path
) -> None:
    settings = settings_of(certificates) | {"ASP_TLS_CLIENT_CA": str(certificates.ca)}
    with RunningProxy(module_upstream.url, settings) as proxy:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            known, unknown, none = (certificates.client_context() for _ in range(3))
            for context in (known, unknown, none):
                context.minimum_version = context.maximum_version = version
            known.load_cert_chain(certificates.client_of())
            assert ask(proxy.port, known).status == 200
            with pytest.raises(ssl.SSLError, match=r"certificate required|handshake failure"):
                ask(proxy.port, none)
            unknown.load_cert_chain(certificates.client_of(authority=trustme.CA()))
            with pytest.raises(ssl.SSLError, match=r"unknown ca|bad certificate"):
                ask(proxy.port, unknown)
        assert proxy.counters.downstream_tls_failures_total == 4
        assert proxy.counters.downstream_tls_handshakes_total == 2


def test_a_renewed_certificate_is_shown_to_new_connections_and_old_ones_go_on(
    module_upstream: RawUpstream, tmp_path: Path
) -> None:
    certificates = Certificates(tmp_path)
    settings = settings_of(certificates)
    with RunningProxy(module_upstream.url, settings) as proxy:
        with TlsClient(proxy.port, certificates.client_context()) as before:
            shown = before.sock.getpeercert(binary_form=True)  # type: ignore[attr-defined]  # it is a TLS socket
            certificates.renew()
            proxy.call(proxy.application.reload)
            deadline = time.monotonic() + 5
            while True:
                with TlsClient(proxy.port, certificates.client_context()) as after:
                    is_new = after.sock.getpeercert(binary_form=True) != shown  # type: ignore[attr-defined]  # likewise
                    after.send(GET)
                    assert after.read_response().status == 200
                if is_new or time.monotonic() > deadline:
                    break
            assert is_new
            before.send(GET)
            assert before.read_response().status == 200
        certificates.breaks()
        time.sleep(0.01)
        proxy.call(proxy.application.reload)
        assert ask(proxy.port, certificates.client_context()).status == 200


def test_a_stopping_proxy_closes_idle_clients_with_a_goodbye_and_unfinished_handshakes_at_once(
    module_upstream: RawUpstream, certificates: Certificates
) -> None:
    settings = settings_of(certificates)
    with (
        RunningProxy(module_upstream.url, settings) as proxy,
        TlsClient(proxy.port, certificates.client_context(), suppress_ragged_eofs=False) as idle,
        RawClient(proxy.port) as unfinished,
    ):
        idle.send(GET)
        assert idle.read_response().status == 200
        began = time.monotonic()
        proxy.stop(drain_timeout_seconds=5)
        assert time.monotonic() - began < 2
        assert idle.read_until_closed() == b""
        assert not idle.was_reset
        assert unfinished.read_until_closed() == b""
