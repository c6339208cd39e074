"""TLS without a socket: a real handshake with a server in memory, and every way in which it can go wrong."""

from __future__ import annotations

import itertools
import random
import ssl
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aws_signing_proxy.tls.contexts import client_context
from aws_signing_proxy.tls.engine import TlsEngine
from aws_signing_proxy.upstream.tls import TlsSettings
from tests.upstream.conftest import Authority
from tests.upstream.tls_server import TlsServer

VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


@pytest.fixture(name="shared")
def _shared(authority: Authority) -> TlsSettings:
    return TlsSettings(client_context(authority.ca_bundle), "service.test")


def _established(shared: TlsSettings, context: ssl.SSLContext) -> tuple[TlsEngine, TlsServer]:
    engine, server = shared.engine(), TlsServer(context)
    rest = server.shake_hands_with(engine)
    assert engine.is_established
    assert engine.decrypt(rest) == b""
    return engine, server


@VERSIONS
def test_bytes_go_both_ways_after_the_handshake(
    authority: Authority, shared: TlsSettings, version: ssl.TLSVersion
) -> None:
    engine, server = _established(shared, authority.server_context(version))
    assert server.decrypt(engine.encrypt(b"request")) == b"request"
    assert server.decrypt(engine.encrypt(memoryview(b"-body")[1:])) == b"body"
    assert engine.decrypt(server.encrypt(b"response")) == b"response"


@VERSIONS
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(sizes=st.lists(st.integers(1, 20_000), max_size=6), cuts=st.lists(st.integers(0, 100_000), max_size=12))
def test_records_may_be_cut_at_any_byte(
    authority: Authority, shared: TlsSettings, version: ssl.TLSVersion, sizes: list[int], cuts: list[int]
) -> None:
    engine, server = _established(shared, authority.server_context(version))
    plain = [bytes([at]) * size for at, size in enumerate(sizes)]
    encrypted = b"".join(server.encrypt(each) for each in plain)
    at = sorted({0, len(encrypted), *(cut for cut in cuts if cut < len(encrypted))})
    pieces = [encrypted[begin:end] for begin, end in itertools.pairwise(at)]
    assert b"".join(engine.decrypt(piece) for piece in pieces) == b"".join(plain)


def test_records_may_come_byte_by_byte(authority: Authority, shared: TlsSettings) -> None:
    engine, server = _established(shared, authority.server_context())
    encrypted = server.encrypt(b"slow") + server.goodbye()
    assert b"".join(engine.decrypt(bytes([byte])) for byte in encrypted) == b"slow"
    assert engine.is_closed_cleanly


@VERSIONS
def test_bytes_that_come_with_the_last_of_the_handshake_are_not_lost(
    authority: Authority, shared: TlsSettings, version: ssl.TLSVersion
) -> None:
    engine, server = shared.engine(), TlsServer(authority.server_context(version))
    tickets = server.shake_hands_with(engine)
    assert engine.decrypt(tickets + server.encrypt(b"early")) == b"early"


@VERSIONS
def test_the_peers_goodbye_is_told_from_a_mere_end(
    authority: Authority, shared: TlsSettings, version: ssl.TLSVersion
) -> None:
    engine, server = _established(shared, authority.server_context(version))
    assert engine.decrypt(server.encrypt(b"whole")) == b"whole"
    assert not engine.is_closed_cleanly
    assert engine.decrypt(server.goodbye()) == b""
    assert engine.is_closed_cleanly


def test_data_and_goodbye_in_one_piece_are_both_seen(authority: Authority, shared: TlsSettings) -> None:
    engine, server = _established(shared, authority.server_context())
    assert engine.decrypt(server.encrypt(b"last words") + server.goodbye()) == b"last words"
    assert engine.is_closed_cleanly


def test_a_changed_record_is_an_error(authority: Authority, shared: TlsSettings) -> None:
    engine, server = _established(shared, authority.server_context())
    record = bytearray(server.encrypt(b"secret"))
    record[-1] ^= 1
    with pytest.raises(ssl.SSLError):
        engine.decrypt(bytes(record))
    assert engine.take_alert()


@VERSIONS
def test_a_kept_session_is_resumed_by_the_next_connection(
    authority: Authority, shared: TlsSettings, version: ssl.TLSVersion
) -> None:
    context = authority.server_context(version)
    first, server = _established(shared, context)
    assert not first.was_resumed
    assert first.decrypt(server.encrypt(b"a response, and before it the tickets of TLS 1.3")) != b""
    first.keep_session()
    second, server = _established(shared, context)
    assert second.was_resumed
    assert server.tls.session_reused
    assert server.decrypt(second.encrypt(b"it works")) == b"it works"


def test_a_session_that_the_server_has_forgotten_costs_a_full_handshake_and_no_error(
    authority: Authority, shared: TlsSettings
) -> None:
    first, server = _established(shared, authority.server_context())
    first.decrypt(server.encrypt(b"x"))
    first.keep_session()
    another_server = authority.server_context()
    second, server = _established(shared, another_server)
    assert not second.was_resumed
    assert server.decrypt(second.encrypt(b"it works")) == b"it works"


def test_without_a_ticket_no_session_is_kept(authority: Authority, shared: TlsSettings) -> None:
    context = authority.server_context(ssl.TLSVersion.TLSv1_3)
    context.num_tickets = 0
    engine, server = _established(shared, context)
    engine.decrypt(server.encrypt(b"x"))
    engine.keep_session()
    assert shared.session is None


def test_a_certificate_of_an_unknown_authority_is_refused_with_an_alert(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Authority(tmp_path_factory.mktemp("other"))
    engine = TlsSettings(client_context(other.ca_bundle), "service.test").engine()
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        TlsServer(authority.server_context()).shake_hands_with(engine)
    assert not engine.is_established
    assert engine.take_alert()


def test_a_certificate_for_another_name_is_refused(authority: Authority) -> None:
    engine = TlsSettings(client_context(authority.ca_bundle), "other.test").engine()
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        TlsServer(authority.server_context()).shake_hands_with(engine)


def test_a_certificate_for_an_ip_address_is_taken(authority: Authority) -> None:
    engine = TlsSettings(client_context(authority.ca_bundle), "127.0.0.1").engine()
    TlsServer(authority.server_context()).shake_hands_with(engine)
    assert engine.is_established


def test_the_name_is_sent_and_http11_is_asked_for(authority: Authority, shared: TlsSettings) -> None:
    names: list[str | None] = []

    def on_name(_tls: ssl.SSLObject | ssl.SSLSocket, name: str | None, _context: ssl.SSLContext) -> None:
        names.append(name)

    context = authority.server_context()
    context.sni_callback = on_name
    context.set_alpn_protocols(["h2", "http/1.1"])
    _, server = _established(shared, context)
    assert names == ["service.test"]
    assert server.tls.selected_alpn_protocol() == "http/1.1"


def test_tls_before_1_2_is_refused(authority: Authority) -> None:
    assert client_context(authority.ca_bundle).minimum_version == ssl.TLSVersion.TLSv1_2


def test_plain_http_instead_of_tls_is_an_error(shared: TlsSettings) -> None:
    engine = shared.engine()
    engine.handshake()
    with pytest.raises(ssl.SSLError):
        engine.handshake(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_our_goodbye_reaches_the_peer(authority: Authority, shared: TlsSettings) -> None:
    engine, server = _established(shared, authority.server_context())
    goodbye = engine.close_notify()
    assert goodbye
    with pytest.raises(ssl.SSLZeroReturnError):
        _read_to_the_end(server, goodbye)


def test_our_goodbye_never_fails(authority: Authority, shared: TlsSettings) -> None:
    engine, server = _established(shared, authority.server_context())
    engine.decrypt(server.encrypt(b"nobody reads this") + server.goodbye())
    engine.close_notify()
    engine.close_notify()


def test_nothing_is_pending_unless_the_protocol_has_something_to_say(authority: Authority, shared: TlsSettings) -> None:
    engine, _ = _established(shared, authority.server_context())
    assert engine.take_pending() == b""


def test_a_bundle_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    with pytest.raises(ssl.SSLError):
        client_context(str(broken))
    with pytest.raises(FileNotFoundError):
        client_context(str(tmp_path / "missing.pem"))


def _read_to_the_end(server: TlsServer, data: bytes) -> None:
    server._incoming.write(data)
    if not server.tls.read(1):
        raise ssl.SSLZeroReturnError


@VERSIONS
@pytest.mark.parametrize("size", [16384, 16385, 300_000, 1_000_000])
def test_what_comes_in_many_records_at_once_is_decrypted_whole(
    authority: Authority, shared: TlsSettings, version: ssl.TLSVersion, size: int
) -> None:
    engine, server = _established(shared, authority.server_context(version))
    data = random.Random(size).randbytes(size)
    encrypted = server.encrypt(data)
    # The cut is inside of a record.
    assert engine.decrypt(encrypted[: size // 2]) + engine.decrypt(encrypted[size // 2 :]) == data
    assert engine.decrypt(server.encrypt(data) + server.goodbye()) == data
    assert engine.is_closed_cleanly
