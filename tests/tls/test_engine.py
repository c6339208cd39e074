"""The engine as a server, and how much memory it keeps. What it does as a client: tests/upstream/test_tls.py."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from aws_signing_proxy.tls.contexts import KeyPair, server_context
from aws_signing_proxy.tls.engine import TlsEngine
from tests.tls.certificates import Certificates

VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


def shake_hands(
    certificates: Certificates, *, client: ssl.SSLContext | None = None, server: ssl.SSLContext | None = None
) -> tuple[TlsEngine, TlsEngine]:
    """Return both ends of a connection, established."""
    server = server or server_context(KeyPair(certificates.cert, certificates.key))
    here = TlsEngine(client or certificates.client_context(), server_name="localhost")
    there = TlsEngine(server, is_server=True)
    data, _ = here.handshake()
    while not here.is_established or data:
        data, _ = there.handshake(data)
        if here.is_established:
            here.decrypt(data)  # the tickets of TLS 1.3
            break
        data, _ = here.handshake(data)
    return here, there


@pytest.fixture(name="certificates")
def _certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@VERSIONS
def test_a_server_speaks_both_ways_and_only_http_1_1(certificates: Certificates, version: ssl.TLSVersion) -> None:
    client = certificates.client_context()
    client.minimum_version = client.maximum_version = version
    client.set_alpn_protocols(["h2", "http/1.1"])
    here, there = shake_hands(certificates, client=client)
    assert there.decrypt(here.encrypt(b"request")) == b"request"
    assert here.decrypt(there.encrypt(b"response")) == b"response"
    assert here._tls.selected_alpn_protocol() == "http/1.1"


def test_what_is_older_than_tls_1_2_is_refused(certificates: Certificates) -> None:
    client = certificates.client_context()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        client.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        client.minimum_version = ssl.TLSVersion.TLSv1_1
    client.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        shake_hands(certificates, client=client)


def test_large_pieces_go_through_in_slices_and_arrive_whole(certificates: Certificates) -> None:
    here, there = shake_hands(certificates)
    data = bytes(range(256)) * 4096  # 1 MiB
    encrypted = there.encrypt(data)
    assert here.decrypt(encrypted) == data
    assert there.decrypt(here.encrypt(memoryview(data))) == data


def test_a_client_cannot_start_to_shake_hands_anew(certificates: Certificates) -> None:
    context = server_context(KeyPair(certificates.cert, certificates.key))
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
