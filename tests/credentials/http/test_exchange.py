"""One exchange: ended by its deadline whatever a server, a proxy or the resolver does, and failures told apart."""

from __future__ import annotations

import base64
import contextlib
import gc
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.http.exchange import Answer, HttpClient
from aws_signing_proxy.credentials.http.failures import ExchangeError, Failure, Kind
from aws_signing_proxy.credentials.http.trusted_certificates import CertificateFileError, TrustedCertificates
from tests.credentials.http_server import ThreadedServer, context_of
from tests.credentials.sts.connect_proxy import ConnectProxy

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture(name="authority", scope="module")
def _authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(name="bundle")
def _bundle(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


class Server(ThreadedServer):
    """Hands each connection to a function."""

    def __init__(self, does: Callable[[socket.socket], None], tls: ssl.SSLContext | None) -> None:
        super().__init__(tls=tls)
        self._does = does

    def serve(self, connection: socket.socket, number: int) -> None:
        connection.settimeout(10)
        self._does(connection)


@contextlib.contextmanager
def server(serve: Callable[[socket.socket], None], tls: ssl.SSLContext | None = None) -> Iterator[str]:
    with Server(serve, tls) as running:
        yield running.url


def client(environ: Mapping[str, str] | None = None, bundle: Path | None = None, largest: int = 1 << 20) -> HttpClient:
    trusted = TrustedCertificates(setting="BUNDLE", bundle=bundle, environ=environ or {})
    return HttpClient(trusted, environ=environ or {}, largest_answer_bytes=largest)


def ask(asked: HttpClient, url: str, seconds: float = 5.0, **more: Any) -> Answer:
    try:
        return asked.send(Fetch(timeout_seconds=seconds), "POST", url, fields={}, at_most_seconds=8.0, **more)
    finally:
        asked.close()


@pytest.mark.parametrize(
    ("status", "field", "seconds"),
    [
        (b"429 Too Many Requests", b"Retry-After: 30", 30.0),
        (b"503 Service Unavailable", b"Retry-After:  7 ", 7.0),
        (
            b"503 Busy",
            b"Date: Tue, 14 Nov 2023 22:00:00 GMT\r\nRetry-After: Tue, 14 Nov 2023 22:01:00 GMT",
            60.0,
        ),
        (b"503 Busy", b"Retry-After: Tue, 14 Nov 2023 22:01:00 GMT", 0.0),
        (b"503 Busy", b"Retry-After: soon", None),
        (b"503 Busy", b"Retry-After: -1", None),
        (b"503 Busy", b"X: 1", None),
        (b"403 Forbidden", b"Retry-After: 30", None),
        (b"200 OK", b"Retry-After: 30", None),
    ],
)
def test_a_fetch_knows_when_the_server_that_answered_last_wants_to_be_asked_again(
    status: bytes, field: bytes, seconds: float | None
) -> None:
    asked, fetch = client(), Fetch()
    fetch.retry_after_seconds = 99.0
    with server(answering(b"HTTP/1.1 " + status + b"\r\n" + field + b"\r\nContent-Length: 0\r\n\r\n")) as url:
        asked.send(fetch, "GET", url, fields={}, at_most_seconds=5.0)
    asked.close()
    assert fetch.retry_after_seconds == seconds


def test_a_fetch_knows_whether_a_server_was_asked(tmp_path: Path) -> None:
    fetch = Fetch()
    with pytest.raises(CertificateFileError):
        client(bundle=tmp_path / "none").send(fetch, "GET", "https://127.0.0.1:1", fields={}, at_most_seconds=5.0)
    assert not fetch.has_asked
    with pytest.raises(ExchangeError):
        client().send(fetch, "GET", "http://127.0.0.1:1", fields={}, at_most_seconds=5.0)
    assert fetch.has_asked


def failure(asked: HttpClient, url: str, seconds: float = 5.0, **more: Any) -> Failure:
    began = time.monotonic()
    with pytest.raises(ExchangeError) as caught:
        ask(asked, url, seconds, **more)
    assert time.monotonic() - began < seconds + 2.0
    assert caught.value.__context__ is None, "it would keep the request alive"
    return caught.value.failure


def answering(content: bytes) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(content)

    return serve


def drip(connection: socket.socket) -> None:
    connection.recv(1 << 16)
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b" " * 5000:
        connection.sendall(bytes((byte,)))
        time.sleep(0.02)


def silence(connection: socket.socket) -> None:
    while connection.recv(1 << 16):
        pass


def deaf(connection: socket.socket) -> None:
    """Take nothing from the socket, so that a large request cannot be sent."""
    connection.recv(1)
    threading.Event().wait(1.0)


@pytest.mark.parametrize("serve", [drip, silence], ids=["drip", "silence"])
@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "TLS"])
def test_an_answer_is_waited_for_until_the_deadline(
    serve: Callable[[socket.socket], None], is_tls: bool, authority: trustme.CA, bundle: Path
) -> None:
    with server(serve, context_of(authority, "127.0.0.1") if is_tls else None) as url:
        assert failure(client(bundle=bundle), url, 0.3) == Failure(Kind.SLOW)


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "TLS"])
def test_a_request_that_nobody_takes_ends_at_the_deadline(is_tls: bool, authority: trustme.CA, bundle: Path) -> None:
    with server(deaf, context_of(authority, "127.0.0.1") if is_tls else None) as url:
        assert failure(client(bundle=bundle), url, 0.3, body=b"x" * (1 << 24)).kind is Kind.SLOW


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "TLS"])
def test_a_kept_connection_has_the_deadline_of_the_exchange_that_uses_it(
    is_tls: bool, authority: trustme.CA, bundle: Path
) -> None:
    def serve(connection: socket.socket) -> None:
        answering(OK)(connection)
        threading.Event().wait(3.0)

    with server(serve, context_of(authority, "127.0.0.1") if is_tls else None) as url:
        asked = client(bundle=bundle)
        fetch = Fetch()
        asked.send(fetch, "POST", url, fields={}, at_most_seconds=8.0)
        began = time.monotonic()
        with pytest.raises(ExchangeError) as caught:
            asked.send(fetch, "POST", url, fields={}, at_most_seconds=0.3, body=b"x" * (1 << 24))
        assert caught.value.failure.kind is Kind.SLOW
        assert time.monotonic() - began < 1.5


def test_a_handshake_that_drips_ends_at_the_deadline() -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        for byte in b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc" + b"\x00" * 5000:
            connection.sendall(bytes((byte,)))
            time.sleep(0.02)

    with server(serve) as url:
        assert failure(client(), url.replace("http:", "https:"), 0.3).kind is Kind.SLOW


@pytest.mark.parametrize("serve", [drip, silence], ids=["drip", "silence"])
def test_a_proxy_that_answers_no_connect_is_given_up_and_named(serve: Callable[[socket.socket], None]) -> None:
    with server(serve) as proxy:
        told = failure(client({"HTTPS_PROXY": proxy}), "https://server.invalid/", 0.3)
        assert told.reason == f"cannot be reached through the proxy {proxy}, which did not answer in time"


def test_a_record_that_drips_through_an_encrypted_proxy_ends_at_the_deadline(
    authority: trustme.CA, bundle: Path
) -> None:
    """TLS within TLS, where urllib3 collects the pieces of the inner record itself."""
    inner = context_of(authority, "server.invalid")

    def relay(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = inner.wrap_bio(incoming, outgoing, server_side=True)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                connection.sendall(outgoing.read())
                incoming.write(connection.recv(1 << 16))
        tls.write(b"HTTP/1.1 200 OK\r\nContent-Length: 16000\r\n\r\n" + b" " * 16000)
        for byte in outgoing.read():
            connection.sendall(bytes((byte,)))
            time.sleep(0.02)

    with server(relay, context_of(authority, "127.0.0.1")) as proxy:
        assert failure(client({"HTTPS_PROXY": proxy}, bundle), "https://server.invalid/", 0.5).kind is Kind.SLOW


def test_a_resolver_that_hangs_is_given_up_and_asked_by_one_thread_only(monkeypatch: pytest.MonkeyPatch) -> None:
    is_over = threading.Event()
    asked: list[object] = []

    def hang(host: object, *_: object, **__: object) -> list[Any]:
        asked.append(host)
        is_over.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)

    def lookups() -> int:
        return sum(thread.name == "resolve a name" for thread in threading.enumerate())

    for _ in range(3):
        assert failure(client(), "http://server.invalid/", 0.1).reason == "its name was not resolved within 0.1 s"
    assert lookups() == 1
    assert asked == ["server.invalid"]
    is_over.set()
    while lookups():
        time.sleep(0.002)


def test_where_there_are_no_more_threads_the_resolver_is_not_asked_and_the_next_exchange_tries_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with server(answering(OK)) as url, monkeypatch.context() as shortage:
        by_name = url.replace("127.0.0.1", "localhost")
        shortage.setattr(threading.Thread, "start", refuse)
        assert failure(client(), by_name).reason == "cannot be reached: resource temporarily unavailable"
        shortage.undo()
        assert ask(client(), by_name).status == 200


def test_a_field_that_cannot_be_written_is_no_name_that_cannot_be_resolved() -> None:
    with server(answering(OK)) as url:
        asked = client()
        with pytest.raises(ExchangeError) as caught:
            asked.send(Fetch(), "GET", url, fields={"X-Namespace": "\u65e5"}, at_most_seconds=8.0)
        asked.close()
    assert caught.value.failure == Failure(Kind.OTHER, "UnicodeEncodeError")


def test_a_proxy_that_says_back_what_it_was_sent_is_quoted_without_it() -> None:
    secrets: list[str] = []

    def mask(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, "***")
        return text

    refusal = f"407 {base64.b64encode(b'me:planted-password').decode()} is planted-password?"
    with ConnectProxy(refuse_with=refusal) as proxy:
        address = proxy.url.removeprefix("http://")
        asked = client({"HTTPS_PROXY": f"http://me:planted-password@{address}"})
        with pytest.raises(ExchangeError) as caught:
            asked.send(
                Fetch(keep_secret=secrets.append, mask=mask),
                "GET",
                "https://server.invalid/",
                fields={},
                at_most_seconds=8.0,
            )
        asked.close()
    told = f"cannot be reached through the proxy {proxy.url}, which refused with 407 *** is ***?"
    assert str(caught.value) == caught.value.failure.reason == told


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", Kind.CLOSED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", Kind.CUT_OFF),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Kind.CUT_OFF),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n", Kind.NOT_HTTP),
        (b"220 mail.example ESMTP\r\n", Kind.NOT_HTTP),
        (b"HTTP/1.1 200 OK\r\nno field at all\r\n\r\n{}", Kind.NOT_HTTP),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n" + b"x" * 3000, Kind.TOO_LARGE),
    ],
)
def test_what_is_no_answer_is_told_apart(content: bytes, kind: Kind) -> None:
    with server(answering(content)) as url:
        assert failure(client(largest=1 << 10), url).kind is kind


def test_certificates_that_are_not_accepted_are_told_apart(authority: trustme.CA, bundle: Path) -> None:
    with server(silence, context_of(authority, "127.0.0.1")) as url:
        assert failure(client(), url).kind is Kind.UNTRUSTED
    with server(silence, context_of(authority, "other.example")) as url:
        assert failure(client(bundle=bundle), url).kind is Kind.WRONG_NAME
    expired = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", not_after=datetime(2020, 1, 1, tzinfo=UTC)).configure_cert(expired)
    with server(silence, expired) as url:
        assert failure(client(bundle=bundle), url).kind is Kind.EXPIRED
    with server(answering(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as url:
        assert failure(client(bundle=bundle), url.replace("http:", "https:")).kind is Kind.NOT_TLS


def test_a_demand_for_a_client_certificate_is_told(authority: trustme.CA, bundle: Path) -> None:
    context = context_of(authority, "127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    # With 1.3 the refusal comes after the handshake, and may be lost in the close.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(bundle)
    with server(silence, context) as url:
        assert failure(client(bundle=bundle), url).kind is Kind.CLIENT_CERTIFICATE


@pytest.mark.parametrize(
    ("status", "is_conclusive"), [("407 Authenticate", True), ("403 No", True), ("429 Wait", False), ("502 Bad", False)]
)
def test_a_proxy_s_refusal_is_conclusive_where_asking_again_would_not_help(status: str, is_conclusive: bool) -> None:
    with ConnectProxy(refuse_with=status) as proxy:
        told = failure(client({"HTTPS_PROXY": proxy.url}), "https://server.invalid/")
    assert told.reason == f"cannot be reached through the proxy {proxy.url}, which refused with {status}"
    assert told.is_conclusive is is_conclusive


def test_user_information_in_a_url_is_no_part_of_the_request() -> None:
    seen: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        seen.append(connection.recv(1 << 16))
        connection.sendall(OK)

    with server(serve) as proxy:
        ask(client({"HTTP_PROXY": proxy}), "http://user:planted@server.invalid/path")
    assert seen[0].startswith(b"POST http://server.invalid/path HTTP/1.1\r\n")


def test_a_changed_bundle_is_read_again_and_an_unchanged_one_is_not(authority: trustme.CA, tmp_path: Path) -> None:
    path = tmp_path / "bundle.pem"
    trusted = TrustedCertificates(setting="BUNDLE", bundle=path, environ={})
    with pytest.raises(CertificateFileError):
        trusted.context()
    authority.cert_pem.write_to_path(str(path))
    first = trusted.context()
    assert trusted.context() is first
    trustme.CA().cert_pem.write_to_path(str(path), append=True)
    assert trusted.context() is not first


def test_a_bundle_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(CertificateFileError) as caught:
        TrustedCertificates(setting="BUNDLE", bundle=path, environ={}).context()
    assert caught.value.attempt.source == f"BUNDLE {path}"
    assert caught.value.attempt.reason == "cannot be read (not a regular file)"


def test_a_hundred_exchanges_good_and_bad_leave_nothing_behind() -> None:
    answers = (OK, b"", b"x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}")
    turn = iter(range(10_000))

    def serve(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(answers[next(turn) % len(answers)])

    def state() -> tuple[int, int]:
        gc.collect()
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    asked = client()
    with server(serve) as url:
        before = state()
        for _ in range(100):
            with contextlib.suppress(ExchangeError):
                ask(asked, url)
        deadline = time.monotonic() + 2
        while state() > before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert state()[0] <= before[0]
        assert state()[1] <= before[1] + 2, "the stand-in's own"
