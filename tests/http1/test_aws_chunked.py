"""The content coding aws-chunked with signed chunks: what is read, and that nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aws_signing_proxy.errors import DownstreamError
from aws_signing_proxy.http1.aws_chunked import AwsChunkedReader

SIGNATURE = b"a" * 64
EXTENSION = b";chunk-signature=" + SIGNATURE
CHECKSUM = frozenset({b"x-amz-checksum-crc32"})
SIGNED = b"x-amz-trailer-signature:" + SIGNATURE + b"\r\n\r\n"
GOOD = b"5" + EXTENSION + b"\r\nhello\r\n0" + EXTENSION + b"\r\n\r\n"


def chunk(size: bytes, data: bytes = b"", extension: bytes = EXTENSION, end: bytes = b"\r\n") -> bytes:
    return size + extension + b"\r\n" + data + end


def reader(
    decoded_length: int = 5, *, names: frozenset[bytes] | None = None, max_chunk_bytes: int = 1000
) -> AwsChunkedReader:
    return AwsChunkedReader(decoded_length=decoded_length, trailer_names=names, max_chunk_bytes=max_chunk_bytes)


def read(body: bytes, decoded_length: int = 5, *, names: frozenset[bytes] | None = None) -> AwsChunkedReader:
    reading = reader(decoded_length, names=names)
    reading.feed(body)
    reading.finish()
    return reading


def read_by_bytes(body: bytes, decoded_length: int, *, names: frozenset[bytes] | None) -> None:
    reading = reader(decoded_length, names=names)
    for position in range(len(body)):
        reading.feed(body[position : position + 1])
    reading.finish()


def refusal(body: bytes, decoded_length: int = 5, *, names: frozenset[bytes] | None = None) -> str:
    """Return the detail with which a body is refused; it is the same when it comes byte by byte."""
    with pytest.raises(DownstreamError) as whole:
        read(body, decoded_length, names=names)
    with pytest.raises(DownstreamError) as by_bytes:
        read_by_bytes(body, decoded_length, names=names)
    assert by_bytes.value.code == whole.value.code
    assert whole.value.status in {400, 501}
    return whole.value.detail


def test_chunks_come_out_whole_and_in_order() -> None:
    reading = read(chunk(b"3", b"abc") + chunk(b"02"[1:], b"de") + chunk(b"0"))
    assert [(each.size_digits, bytes(each.data)) for each in reading.chunks] == [
        (b"3", b"abc"),
        (b"2", b"de"),
        (b"0", b""),
    ]
    assert reading.is_complete
    assert reading.trailers == []


def test_an_empty_body_is_its_last_chunk_alone() -> None:
    assert [bytes(each.data) for each in read(chunk(b"0"), 0).chunks] == [b""]


@pytest.mark.parametrize("end", [b"\r\n", b"\n\r\n"], ids=["as SDKs of AWS", "as AWS's example and minio-go"])
def test_trailers_are_read_with_their_signature(end: bytes) -> None:
    body = chunk(b"5", b"hello") + b"0" + EXTENSION + b"\r\nX-Amz-Checksum-Crc32: NhCmhg== " + end + SIGNED
    trailer, own = read(body, names=CHECKSUM).trailers
    assert (trailer.name, trailer.value) == (b"x-amz-checksum-crc32", b"NhCmhg==")
    assert trailer.line == b"X-Amz-Checksum-Crc32: NhCmhg== " + end
    assert (own.name, own.value) == (b"x-amz-trailer-signature", SIGNATURE)


def test_several_trailers_may_be_separated_by_bare_line_feeds_as_minio_go_sends_them() -> None:
    names = frozenset({b"x-amz-checksum-crc32", b"x-amz-meta-a", b"x-amz-meta-b"})
    lines = [b"x-amz-meta-b:2\n", b"x-amz-checksum-crc32:NhCmhg==\n", b"x-amz-meta-a: 1 \n\r\n"]
    body = chunk(b"5", b"hello") + b"0" + EXTENSION + b"\r\n" + b"".join(lines) + SIGNED
    *trailers, own = read(body, names=names).trailers
    assert [trailer.line for trailer in trailers] == lines
    assert [trailer.value for trailer in trailers] == [b"2", b"NhCmhg==", b"1"]
    assert own.name == b"x-amz-trailer-signature"
    read_by_bytes(body, 5, names=names)


@pytest.mark.parametrize(
    "lines",
    [
        b"x-amz-meta-a:1\nx-amz-checksum-crc32:NhCmhg==\r\n",
        b"x-amz-meta-a:1\n\nx-amz-checksum-crc32:NhCmhg==\n\r\n",
        b"x-amz-meta-a:1\n x-amz-checksum-crc32:NhCmhg==\n\r\n",
        b"x-amz-meta-a:1\rx-amz-checksum-crc32:NhCmhg==\n\r\n",
        b"x-amz-meta-a:1\nx-amz-meta-a:1\n\r\n",
        b"x-amz-meta-a:1\nx-amz-other:1\n\r\n",
    ],
)
def test_nothing_else_separates_trailers(lines: bytes) -> None:
    names = CHECKSUM | {b"x-amz-meta-a"}
    refusal(chunk(b"5", b"hello") + b"0" + EXTENSION + b"\r\n" + lines + SIGNED, names=names)


def test_a_signature_does_not_follow_on_a_bare_line_feed() -> None:
    refusal(chunk(b"5", b"hello") + b"0" + EXTENSION + b"\r\nx-amz-checksum-crc32:NhCmhg==\n" + SIGNED, names=CHECKSUM)


@given(st.data())
def test_how_a_body_is_cut_changes_nothing(data: st.DataObject) -> None:
    contents = [b"\r\n0;chunk-signature=" + b"x" * 64 + b"\r\n\r\n", b"0\r\n\r\n\r\nx\n\n"]
    body = b"".join(chunk(b"%x" % len(each), each) for each in contents)
    body += b"0" + EXTENSION + b"\r\nx-amz-checksum-crc32:AA==\n\r\n" + SIGNED
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=12)))
    reading = reader(sum(map(len, contents)), names=CHECKSUM)
    for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        reading.feed(body[start:end])
    reading.finish()
    assert [bytes(each.data) for each in reading.chunks] == [*contents, b""]
    assert len(reading.trailers) == 2


@pytest.mark.parametrize(
    "line",
    [
        b"5\r\n",
        b"5" + EXTENSION + b"\n",
        b" 5" + EXTENSION + b"\r\n",
        b"5 " + EXTENSION + b"\r\n",
        b"+5" + EXTENSION + b"\r\n",
        b"0x5" + EXTENSION + b"\r\n",
        b"05" + EXTENSION + b"\r\n",
        b"-5" + EXTENSION + b"\r\n",
        b"5;chunk-signature=" + b"a" * 63 + b"\r\n",
        b"5;chunk-signature=" + b"a" * 65 + b"\r\n",
        b"5;chunk-signature=" + b"g" * 64 + b"\r\n",
        b"5;chunk-signature = " + b"a" * 64 + b"\r\n",
        b"5;Chunk-Signature=" + b"a" * 64 + b"\r\n",
        b"5" + EXTENSION + EXTENSION + b"\r\n",
        b"5;a=b" + EXTENSION + b"\r\n",
        b"5" + EXTENSION + b"\r\r\n",
        b"\r\n",
        b"1" * 16 + EXTENSION + b"\r\n",
    ],
)
def test_a_first_line_of_a_chunk_in_any_other_form_is_refused(line: bytes) -> None:
    assert "aws-chunked" in refusal(line + b"hello\r\n" + chunk(b"0"))


@pytest.mark.parametrize(
    ("body", "decoded_length", "reason"),
    [
        (chunk(b"5", b"hellox") + chunk(b"0"), 5, "longer or shorter than its size"),
        (chunk(b"5", b"hell") + chunk(b"0"), 5, "longer or shorter than its size"),
        (chunk(b"5", b"hello", end=b"\n\r") + chunk(b"0"), 5, "longer or shorter than its size"),
        (GOOD, 4, "more bytes than X-Amz-Decoded-Content-Length"),
        (GOOD, 6, "fewer bytes than X-Amz-Decoded-Content-Length"),
        (GOOD[:-1], 5, "ends before its last chunk"),
        (GOOD[:-2], 5, "ends before its last chunk"),
        (chunk(b"5", b"hello"), 5, "ends before its last chunk"),
        (b"", 0, "ends before its last chunk"),
        (GOOD + b"\r\n", 5, "bytes behind its end"),
        (GOOD + GOOD, 5, "bytes behind its end"),
        (GOOD[:-2] + b"x-amz-checksum-crc32:AAAAAA==\r\n\r\n", 5, "longer or shorter than its size"),
        (b"f" * 15 + EXTENSION + b"\r\n", 5, "more bytes than X-Amz-Decoded-Content-Length"),
    ],
)
def test_sizes_and_ends_that_contradict_each_other_are_refused(body: bytes, decoded_length: int, reason: str) -> None:
    assert reason in refusal(body, decoded_length)


@pytest.mark.parametrize(
    ("trailers", "reason"),
    [
        (b"\r\n", "not signed"),
        (SIGNED, "is missing"),
        (b"x-amz-checksum-crc32:AA==\r\n\r\n", "not signed"),
        (b"x-amz-other:1\r\n" + SIGNED, "does not announce"),
        (b"x-amz-checksum-crc32:AA==\r\nx-amz-checksum-crc32:AA==\r\n" + SIGNED, "twice"),
        (SIGNED[:-2] + b"x-amz-checksum-crc32:AA==\r\n\r\n", "behind the trailers' signature"),
        (b"x-amz-checksum-crc32:AA==\r\nx-amz-trailer-signature:abc\r\n\r\n", "64 hexadecimal digits"),
        (b"x-amz-checksum-crc32 :AA==\r\n" + SIGNED, "a name, a colon and a value"),
        (b" x-amz-checksum-crc32:AA==\r\n" + SIGNED, "a name, a colon and a value"),
        (b"x-amz-checksum-crc32:A\x00==\r\n" + SIGNED, "a name, a colon and a value"),
        (b"x-amz-checksum-crc32:A\r=\r\n" + SIGNED, "a name, a colon and a value"),
        (b"x-amz-checksum-crc32:A\nx-amz-other:1\r\n" + SIGNED, "a name, a colon and a value"),
        (b"x-amz-checksum-crc32:AA==\n" + SIGNED, "a name, a colon and a value"),
        (b"x-amz-checksum-crc32:" + b"A" * 20000 + b"\r\n" + SIGNED, "longer than"),
        (b"x-amz-checksum-crc32:AA==\r\n" + SIGNED + b"x", "behind its end"),
    ],
)
def test_trailers_that_are_not_those_that_were_announced_are_refused(trailers: bytes, reason: str) -> None:
    assert reason in refusal(chunk(b"5", b"hello") + b"0" + EXTENSION + b"\r\n" + trailers, names=CHECKSUM)


def test_a_line_that_never_ends_is_refused_while_it_comes() -> None:
    with pytest.raises(DownstreamError, match="longer than"):
        reader().feed(b"5" * 200)
    with pytest.raises(DownstreamError, match="longer than"):
        reader(0, names=CHECKSUM).feed(b"0" + EXTENSION + b"\r\n" + b"x-amz-checksum-crc32:A\n" * 1000)


def test_a_chunk_larger_than_can_be_held_is_refused_by_its_first_line() -> None:
    reading = reader(1001, max_chunk_bytes=1000)
    with pytest.raises(DownstreamError, match="ASP_BODY_MEMORY_LIMIT") as caught:
        reading.feed(chunk(b"3e9"))
    assert (caught.value.status, str(caught.value.code)) == (501, "payload_not_supported")
    reading = reader(1000, max_chunk_bytes=1000)
    reading.feed(chunk(b"3e8", b"x" * 1000) + chunk(b"0"))
    assert reading.is_complete


def test_no_more_than_a_chunk_is_held() -> None:
    reading = reader(2000)
    for _ in range(2):
        reading.feed(b"3e8" + EXTENSION + b"\r\n" + b"x" * 999)
        assert reading.held_bytes == 999
        reading.feed(b"x\r\n")
        assert reading.held_bytes == 0
