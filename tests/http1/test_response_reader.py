"""One response cut out of a connection's bytes: the same however they arrive, and nothing behind it."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aws_signing_proxy.errors import ErrorCode, UpstreamError
from aws_signing_proxy.http1.response import MAX_RESPONSE_HEAD_BYTES
from aws_signing_proxy.http1.response_reader import MAX_INTERIM_HEADS, ResponseReader

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
COUNTED = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"


class Outcome(NamedTuple):
    interim: list[int]
    status: int
    block: bytes
    wire: bytes
    content: bytes
    is_complete: bool
    has_excess: bool


def read(pieces: list[bytes], *, is_head_request: bool = False) -> Outcome | None:
    """Everything that a reader found in the pieces; None where it refused them."""
    reader = ResponseReader(is_head_request=is_head_request)
    interim: list[int] = []
    wire = content = b""
    for piece in pieces:
        if not piece:
            continue
        try:
            reader.feed(piece)
        except UpstreamError as error:
            return None if error.code is ErrorCode.UPSTREAM_MALFORMED_RESPONSE else pytest.fail(repr(error))
        interim += [head.status for head in reader.interim]
        reader.interim.clear()
        if reader.piece is not None:
            wire += reader.piece
            content += b"".join(reader.content or []) if reader.content is not None else reader.piece
    head = reader.head
    return Outcome(
        interim,
        0 if head is None else head.status,
        b"" if head is None else head.block,
        wire,
        content,
        reader.is_complete,
        reader.has_excess,
    )


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


RESPONSES = st.builds(
    lambda interim, message, rest: b"".join(interim) + message + rest,
    st.lists(st.sampled_from([EARLY, b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 101 x\r\n\r\n"]), max_size=3),
    st.sampled_from(
        [
            COUNTED + b"body", COUNTED + b"bo", COUNTED, COUNTED[:30],
            CHUNKED + b"4\r\nbody\r\n0\r\n\r\n", CHUNKED + b"4;a\r\nbody\r\n1\r\nx\r\n0\r\nX: y\r\n\r\n",
            CHUNKED + b"4\r\nbo", CHUNKED + b"3\r\nbody\r\n0\r\n\r\n", CHUNKED + b"x\r\n",
            CHUNKED + b"0\r\nX : y\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\nuntil close\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n",
            b"HTTP/1.1 304 x\r\nContent-Length: 4\r\n\r\n", b"HTTP/1.0 200\r\nContent-Length: 4\r\n\r\nbody",
            b"HTTP/1.1 200 OK\r\nX: y\n\r\n", b"HTTP/1.1 200 OK\n\n", b"HTTX", b"\r\nHTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n", b"HTTP/1.1 20 OK\r\n\r\n", b"HTTP/2 200\r\n\r\n",
        ]
    ),
    st.sampled_from([b"", b"", b"\r\n", b"EVIL", COUNTED + b"EVIL", b"HTTP/1.1 200"]),
)  # fmt: skip


@given(data=RESPONSES, places=st.lists(st.integers(0, 10_000), max_size=6), is_head=st.booleans())
def test_any_cut_of_the_bytes_gives_the_same_response(data: bytes, places: list[int], *, is_head: bool) -> None:
    whole = read([data], is_head_request=is_head)
    assert read(cut(data, places), is_head_request=is_head) == whole
    assert read([data[at : at + 1] for at in range(len(data))], is_head_request=is_head) == whole


@given(
    st.sampled_from(
        [COUNTED + b"body", CHUNKED + b"4\r\nbody\r\n0\r\n\r\n", CHUNKED + b"4\r\nbody\r\n0\r\nX: y\r\n\r\n"]
    ),
    st.binary(min_size=1),
)
def test_bytes_behind_the_end_are_noticed_and_never_part_of_it(response: bytes, excess: bytes) -> None:
    alone, together = read([response]), read([response + excess])
    assert alone is not None
    assert alone.is_complete
    assert not alone.has_excess
    assert together == alone._replace(has_excess=True)
    assert read([response, excess]) == together


@pytest.mark.parametrize(
    ("data", "is_head_request"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", False),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n", False),
        (COUNTED, True),
        (CHUNKED, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", False),
    ],
)
def test_a_response_without_a_body_is_complete_with_its_head(data: bytes, *, is_head_request: bool) -> None:
    found = read([data], is_head_request=is_head_request)
    assert found is not None
    assert (found.is_complete, found.has_excess, found.wire) == (True, False, b"")
    with_body = read([data + b"body"], is_head_request=is_head_request)
    assert with_body == found._replace(has_excess=True)


@pytest.mark.parametrize(
    ("data", "is_clean", "is_complete"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nabc", True, True),
        (b"HTTP/1.1 200 OK\r\n\r\n", True, True),
        (b"HTTP/1.1 200 OK\r\n\r\nabc", False, False),
        (COUNTED + b"bod", True, False),
        (CHUNKED + b"4\r\nbody\r\n", True, False),
        (CHUNKED + b"4\r\nbody\r\n0\r\n", True, False),
        (b"HTTP/1.1 200 OK\r\n", True, False),
        (EARLY, True, False),
        (b"", True, False),
        (COUNTED + b"body", True, True),
        (COUNTED + b"body", False, True),
    ],
)
def test_the_end_of_the_connection_completes_only_a_body_that_ends_so_and_only_a_clean_end(
    data: bytes, *, is_clean: bool, is_complete: bool
) -> None:
    reader = ResponseReader(is_head_request=False)
    if data:
        reader.feed(data)
    assert reader.feed_eof(is_clean=is_clean) is is_complete
    assert reader.is_complete is is_complete


@pytest.mark.parametrize("size", [10**9, 1000])
def test_interim_heads_are_bounded(size: int) -> None:
    allowed = EARLY * MAX_INTERIM_HEADS + COUNTED + b"body"
    found = read([allowed[at : at + size] for at in range(0, len(allowed), size)])
    assert found is not None
    assert found.interim == [103] * MAX_INTERIM_HEADS
    too_many = EARLY + allowed
    assert read([too_many[at : at + size] for at in range(0, len(too_many), size)]) is None


@pytest.mark.parametrize("size", [10**9, 10_000])
def test_a_head_is_bounded_to_the_byte(size: int) -> None:
    largest = b"HTTP/1.1 204 x\r\nX: "
    largest += b"y" * (MAX_RESPONSE_HEAD_BYTES - len(largest) - 4) + b"\r\n\r\n"
    assert len(largest) == MAX_RESPONSE_HEAD_BYTES
    assert read([largest[at : at + size] for at in range(0, len(largest), size)]) is not None
    larger = largest.replace(b"X: ", b"X: z")
    assert read([larger[at : at + size] for at in range(0, len(larger), size)]) is None
    endless = largest[:-4] + b"y" * 10
    assert read([endless[at : at + size] for at in range(0, len(endless), size)]) is None


@pytest.mark.parametrize(
    "data", [b"HTTX", b"<html>", b"\r\n", b"\x15\x03\x01", b"HTTP/1.1 200 OK\nX", b"HTTP/2", b" HTTP/1.1"]
)
def test_what_can_never_become_a_response_is_refused_before_it_is_whole(data: bytes) -> None:
    assert read([data]) is None
