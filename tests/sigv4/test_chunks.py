"""Chunk signing against AWS's own examples, and the lengths that stand in heads before a byte is there."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aws_signing_proxy.sigv4 import Identity, Signer
from aws_signing_proxy.sigv4.chunks import (
    CHUNK_BYTES,
    STREAMING,
    STREAMING_TRAILER,
    ChunkEncoder,
    ChunkSigner,
    encoded_length,
)

EXAMPLE = Identity("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
AT = 1369353600.0  # 20130524T000000Z
BODY = b"a" * 66560
SHA256_OF = {
    65536: b"bf718b6f653bebc184e1479f1935b8da974d701b893afcf49e701f3e2f9f9c5a",
    1024: b"2edc986847e209b4016e141a6dc8716d3207350f416969382d431539bf292e4a",
    0: b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
}


def seeded(payload_hash: bytes, *fields: tuple[bytes, bytes]) -> tuple[bytes, ChunkSigner]:
    """Sign the head of AWS's examples, which upload 65 KiB of the letter a."""
    signer = Signer(service="s3", region="us-east-1")
    return signer.sign_streamed(
        signer.plan(
            method=b"PUT",
            target=signer.target(b"/examplebucket/chunkObject.txt"),
            signed_fields=[
                (b"host", b"s3.amazonaws.com"),
                (b"x-amz-storage-class", b"REDUCED_REDUNDANCY"),
                (b"content-encoding", b"aws-chunked"),
                (b"x-amz-decoded-content-length", b"66560"),
                *fields,
            ],
        ),
        payload_hash=payload_hash,
        identity=EXAMPLE,
        now=AT,
    )


def test_the_signatures_of_the_example_of_aws_come_out() -> None:
    """S3 API Reference, "Transferring Payload in Multiple Chunks", its example."""
    lines, signer = seeded(STREAMING, (b"content-length", b"66824"))
    assert lines.endswith(b"Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9\r\n")
    assert [signer.sign_chunk(SHA256_OF[size]) for size in (65536, 1024, 0)] == [
        b"ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
        b"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
        b"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    ]


def test_the_signatures_of_the_example_with_trailers_come_out() -> None:
    """S3 API Reference, "Signature calculations for trailing headers", its example (without Content-Length)."""
    lines, signer = seeded(STREAMING_TRAILER, (b"x-amz-trailer", b"x-amz-checksum-crc32c"))
    assert lines.endswith(b"Signature=106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e\r\n")
    assert [signer.sign_chunk(SHA256_OF[size]) for size in (65536, 1024, 0)] == [
        b"b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
        b"1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
        b"2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
    ]
    assert (
        signer.sign_trailers(b"x-amz-checksum-crc32c:sOO8/Q==\n")
        == b"d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"
    )


def test_the_body_of_the_example_is_encoded_as_the_documentation_shows_it() -> None:
    _, signer = seeded(STREAMING, (b"content-length", b"66824"))
    encoder = ChunkEncoder(signer)
    encoded = encoder.encode(BODY) + encoder.finish()
    assert encoded == (
        b"10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n"
        + b"a" * 65536
        + b"\r\n400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n"
        + b"a" * 1024
        + b"\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n"
    )
    assert len(encoded) == encoded_length(66560) == 66824


@given(st.data())
def test_how_a_body_is_cut_into_pieces_does_not_change_its_encoding(data: st.DataObject) -> None:
    body = random.Random(1).randbytes(data.draw(st.integers(0, 3 * CHUNK_BYTES + 5)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    whole = ChunkEncoder(seeded(STREAMING)[1])
    expected = whole.encode(body) + whole.finish()
    pieces = ChunkEncoder(seeded(STREAMING)[1])
    encoded = b""
    for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        encoded += pieces.encode(body[start:end])
        assert pieces.held_bytes < CHUNK_BYTES
    assert encoded + pieces.finish() == expected
    assert len(expected) == encoded_length(len(body))


@pytest.mark.parametrize("length", [0, 1, 15, 16, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 10 * CHUNK_BYTES])
def test_the_length_is_known_before_the_body(length: int) -> None:
    encoder = ChunkEncoder(seeded(STREAMING)[1])
    assert len(encoder.encode(bytes(length)) + encoder.finish()) == encoded_length(length)


def test_a_signer_of_chunks_shows_no_key_and_no_signature() -> None:
    assert repr(seeded(STREAMING)[1]) == "<ChunkSigner>"


def test_two_bodies_of_one_signer_have_chains_of_their_own() -> None:
    _, one = seeded(STREAMING)
    _, other = seeded(STREAMING)
    first = one.sign_chunk(SHA256_OF[0])
    assert other.sign_chunk(SHA256_OF[0]) == first
    assert one.sign_chunk(SHA256_OF[0]) != first
