"""The reader of chunked bodies, held against llhttp: stricter, never laxer, and with the same content."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aws_signing_proxy.http1.chunked import MAX_CHUNK_LINE_BYTES, MAX_TRAILER_BYTES, ChunkedError, ChunkedReader

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


class Outcome(NamedTuple):
    is_refused: bool
    is_complete: bool
    content: bytes
    used: int


REFUSED = Outcome(is_refused=True, is_complete=False, content=b"", used=0)


def read(*pieces: bytes) -> Outcome:
    reader = ChunkedReader()
    content = b""
    used = 0
    for piece in pieces:
        if reader.is_complete:
            break
        try:
            count = reader.feed(piece)
        except ChunkedError:
            return REFUSED
        assert count == len(piece) or reader.is_complete, "only the end leaves bytes behind"
        used += count
        content += b"".join(reader.content)
        reader.content = []
    return Outcome(is_refused=False, is_complete=reader.is_complete, content=content, used=used)


class LlhttpReader:
    def __init__(self) -> None:
        self.content = b""
        self.is_complete = False

    def on_body(self, body: bytes) -> None:
        self.content += body

    def on_message_complete(self) -> None:
        self.is_complete = True


def read_with_llhttp(body: bytes) -> LlhttpReader | None:
    """None where llhttp refuses it."""
    reader = LlhttpReader()
    try:
        httptools.HttpRequestParser(reader).feed_data(HEAD + body)
    except httptools.HttpParserError:
        return None
    return reader


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


# Well-formed bodies from which something may be missing, doubled, or out of place.
_WHOLE = st.builds(
    lambda data, extension, zeros: b"%b%x%b\r\n%b\r\n" % (b"0" * zeros, len(data), extension, data),
    st.binary(min_size=1, max_size=20),
    st.sampled_from(
        [b"", b"", b";a", b";a=b", b';a="b c"', b';a="\\""', b";a=b;c", b";", b";=", b" ;a", b";a=\xff", b';a="\xff"']
    ),
    st.integers(0, 3),
)
_ENDS = st.sampled_from([b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"000;a\r\n\r\n", b"0\r\nX: y\r\nZ:\r\n\r\n", b""])
_DEBRIS = st.sampled_from(
    [b"\r\n", b"\n", b"\r", b"0", b"5", b"a", b" ", b"\t", b";", b"=", b'"', b"\\", b":", b"\x00", b"+", b"-", b"0x",
     b"Content-Length: 5\r\n", b"X: y\r\n", b" z\r\n", b"GET / HTTP/1.1\r\n", b"ffffffffffffffff", b"fffffffffffffff"]
)  # fmt: skip
BODIES = st.one_of(
    st.builds(
        lambda chunks, end, rest: b"".join(chunks) + end + rest,
        st.lists(_WHOLE, max_size=4), _ENDS, st.binary(max_size=6),
    ),
    st.lists(st.one_of(_WHOLE, _ENDS, _DEBRIS), max_size=8).map(b"".join),
)  # fmt: skip


@given(BODIES)
@example(b"3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n")
@example(b"0\r\nX: y\r\n z\r\n\r\n")
def test_what_is_accepted_llhttp_accepts_too_with_the_same_content_and_end(body: bytes) -> None:
    ours = read(body)
    if ours.is_refused:
        return
    theirs = read_with_llhttp(body[: ours.used])
    if ours.is_complete:
        assert theirs is not None
        assert theirs.is_complete
        assert theirs.content == ours.content
        before = read_with_llhttp(body[: ours.used - 1])
        assert before is None or not before.is_complete, "the end is the last byte of it"
    else:
        assert theirs is None or not theirs.is_complete


@given(BODIES, st.lists(st.integers(0, 10_000), max_size=8))
def test_any_cut_of_the_bytes_gives_the_same_content_and_the_same_end(body: bytes, places: list[int]) -> None:
    assert read(*cut(body, places)) == read(body)
    assert read(*(body[at : at + 1] for at in range(len(body)))) == read(body)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5), st.binary(max_size=20))
def test_what_was_chunked_comes_out_and_bytes_behind_the_end_stay(chunks: list[bytes], rest: bytes) -> None:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    expected = Outcome(is_refused=False, is_complete=True, content=b"".join(chunks), used=len(body))
    assert read(body + rest) == expected


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"5\nabcde", "bare LF"),
        (b"5\r\nabcde\n", "bare LF"),
        (b"0\r\nX: y\n", "bare LF"),
        (b"\r\n", "not a hexadecimal number"),
        (b"0x5\r\n", "not a hexadecimal number"),
        (b"+5\r\n", "not a hexadecimal number"),
        (b"-5\r\n", "not a hexadecimal number"),
        (b" 5\r\n", "not a hexadecimal number"),
        (b"5 \r\n", "not a hexadecimal number"),
        (b"5_0\r\n", "not a hexadecimal number"),
        (b"\xd9\xa5\r\n", "not a hexadecimal number"),
        (b"1000000000000000\r\n", "not a hexadecimal number"),
        (b"5;\r\n", "well-formed extensions"),
        (b"5;a=\r\n", "well-formed extensions"),
        (b'5;a="\r\n', "well-formed extensions"),
        (b"5;a\rb\r\n", "well-formed extensions"),
        (b"5;a b\r\n", "well-formed extensions"),
        (b"1\r\nab\r\n", "longer than its size says"),
        (b"1\r\nabcdef\r\n", "longer than its size says"),
        (b"1\r\nabcdef", "longer than its size says"),
        (b"1;" + b"a" * MAX_CHUNK_LINE_BYTES, f"longer than {MAX_CHUNK_LINE_BYTES} bytes"),
        (b"1;" + b"a" * MAX_CHUNK_LINE_BYTES + b"\r\n", f"longer than {MAX_CHUNK_LINE_BYTES} bytes"),
        (b"0\r\n" + b"X: y\r\n" * MAX_TRAILER_BYTES, f"longer than {MAX_TRAILER_BYTES} bytes"),
        (b"0\r\nX: " + b"y" * MAX_TRAILER_BYTES, f"longer than {MAX_TRAILER_BYTES} bytes"),
        (b"0\r\nContent-Length: 1\r\n\r\n", "a framing field stands among the trailers"),
        (b"0\r\nX: y\r\nTRANSFER-ENCODING: chunked\r\n\r\n", "a framing field stands among the trailers"),
        (b"0\r\nHost: x\r\n\r\n", "a framing field stands among the trailers"),
        (b"0\r\nX : y\r\n\r\n", "the trailers are not well-formed: invalid header token"),
        (b"0\r\nX: y\r\n z\r\n\r\n", "the trailers are not well-formed"),
        (b"0\r\nGET / HTTP/1.1\r\n\r\n", "the trailers are not well-formed"),
    ],
)
def test_what_is_wrong_is_said(body: bytes, reason: str) -> None:
    with pytest.raises(ChunkedError, match=reason):
        ChunkedReader().feed(body)


def test_limits_are_met_exactly() -> None:
    line = b"1;" + b"a" * (MAX_CHUNK_LINE_BYTES - 4) + b"\r\n"
    assert len(line) == MAX_CHUNK_LINE_BYTES
    assert read(line + b"x\r\n0\r\n\r\n").content == b"x"
    trailers = b"X: " + b"y" * (MAX_TRAILER_BYTES - 7) + b"\r\n\r\n"
    assert len(trailers) == MAX_TRAILER_BYTES
    assert read(b"0\r\n" + trailers).is_complete
    assert read(b"0\r\nX" + trailers).is_refused


def test_content_is_slices_of_the_piece_and_no_copy() -> None:
    reader = ChunkedReader()
    piece = b"3\r\nabc\r\n2\r\nde"
    reader.feed(piece)
    assert [bytes(each) for each in reader.content] == [b"abc", b"de"]
    assert all(each.obj is piece for each in reader.content)


def test_nothing_is_read_behind_the_end() -> None:
    reader = ChunkedReader()
    reader.feed(b"0\r\n\r\n")
    assert reader.feed(b"0\r\n\r\n") == 0
