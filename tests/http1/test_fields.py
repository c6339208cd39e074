from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aws_signing_proxy.http1.fields import (
    BARE_LINE_END,
    FieldSorter,
    connection_options,
    fields_problem,
    without_lines,
)

REQUEST = b"POST / HTTP/1.1\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\n"

NAMES = st.sampled_from(
    [b"A", b"a", b"AB", b"Cut", b"CUT", b"cut-not", b"Noted", b"noTed", b"Both", b"x-p-1", b"X-P-", b"x-pq"]
)
VALUES = st.sampled_from([b"", b" ", b" v", b"v\t ", b"  a: b", b" \xff", b"Cut: x", b" CUT"])
LINES = st.lists(st.builds(lambda name, value: name + b":" + value, NAMES, VALUES), max_size=8)
SORTER = FieldSorter(cut={b"cut", b"both", b"x-p-1"}, noted={b"noted", b"both"}, noted_prefix=b"x-p-")


@pytest.mark.parametrize(
    "block",
    [
        b"X: y\n", b"X: y\rz\r\n", b"X: y\r\r\n", b"X: \x00\r\n", b"X: \x01\r\n", b"X: \x7f\r\n", b"X: \x0b\r\n",
        b"X: y\r\n z\r\n", b"X: y\r\n\tz\r\n", b"X:\r\n y\r\n", b" X: y\r\n", b"\tX: y\r\n",
        b"X : y\r\n", b"X\t: y\r\n", b"X Y: z\r\n", b": y\r\n", b"X\r\n", b"(X): y\r\n", b"\xc3\xa9: y\r\n",
        b"Content-Length: 5\r\nContent-Length: 5\r\n", b"Content-Length: 5, 5\r\n", b"Content-Length:\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Upgrade: x\r\nConnection: upgrade\r\nX : y\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: upgrade\r\nUpgrade: x\r\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("start_line", [REQUEST, RESPONSE], ids=["request", "response"])
def test_a_field_section_that_breaks_a_rule_is_refused_in_requests_and_responses(
    start_line: bytes, block: bytes
) -> None:
    assert fields_problem(start_line, block) is not None


@pytest.mark.parametrize(
    "block",
    [
        b"", b"X: y\r\n", b"X:\r\n", b"X: \r\n", b"X: caf\xc3\xa9\xff\r\n", b"X: a\tb\r\n", b"!#$%&'*+-.^_`|~09: y\r\n",
        b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: upgrade\r\nUpgrade: h2c\r\n",
        b"X: y\r\n" * 500, b"X: " + b"y" * 100_000 + b"\r\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("start_line", [REQUEST, RESPONSE], ids=["request", "response"])
def test_a_well_formed_field_section_passes(start_line: bytes, block: bytes) -> None:
    assert fields_problem(start_line, block) is None


@given(st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b"A: b", b" ", b"C", b":", b"\x00"]), max_size=12))
def test_no_field_section_with_a_bare_cr_or_lf_or_nul_passes(pieces: list[bytes]) -> None:
    block = b"".join(pieces) + b"\r\n"
    if b"\r\n\r\n" in b"\r\n" + block:
        return  # with an empty line in it, it is no field section
    if BARE_LINE_END.search(block) or b"\x00" in block:
        assert fields_problem(REQUEST, block) is not None
        assert fields_problem(RESPONSE, block) is not None


@pytest.mark.parametrize("text", [b"\n", b"a\nb", b"a\rb", b"\r\r\n", b"\n\r\n", b"a\r\n\nb", b"\r\nx\n"])
def test_a_bare_line_end_is_found(text: bytes) -> None:
    assert BARE_LINE_END.search(text) is not None


@pytest.mark.parametrize("text", [b"", b"a", b"\r\n", b"a\r\nb\r\n\r\n", b"a\r"])
def test_a_whole_line_end_or_one_that_is_not_here_yet_is_none(text: bytes) -> None:
    assert BARE_LINE_END.search(text) is None


@given(LINES)
def test_the_sorter_keeps_and_notes_what_a_walk_over_the_lines_would(lines: list[bytes]) -> None:
    kept, noted = SORTER.sort(b"".join(line + b"\r\n" for line in lines))
    names = [line.partition(b":")[0].lower() for line in lines]
    assert kept == b"".join(
        line + b"\r\n" for line, name in zip(lines, names, strict=True) if name not in {b"cut", b"both", b"x-p-1"}
    )
    assert noted == [
        (name, line.partition(b":")[2].strip(b" \t"))
        for line, name in zip(lines, names, strict=True)
        if name in {b"noted", b"both"} or name.startswith(b"x-p-")
    ]


def test_a_sorter_without_prefix_notes_exactly_the_names_it_was_given() -> None:
    sorter = FieldSorter(cut={b"a"}, noted={b"b"})
    assert sorter.sort(b"A: 1\r\nB: 2\r\nbb: 3\r\nab: 4\r\n") == (b"B: 2\r\nbb: 3\r\nab: 4\r\n", [(b"b", b"2")])


@given(LINES, st.sets(NAMES.map(bytes.lower)))
def test_lines_are_cut_by_their_whole_name_in_any_case(lines: list[bytes], names: set[bytes]) -> None:
    block = b"".join(line + b"\r\n" for line in lines)
    expected = b"".join(line + b"\r\n" for line in lines if line.partition(b":")[0].lower() not in names)
    assert without_lines(block, names) == expected


def test_connection_options_are_split_trimmed_and_in_small_letters() -> None:
    assert connection_options(b" Close, ,X-Foo\t,keep-ALIVE,") == {b"close", b"x-foo", b"keep-alive"}
    assert connection_options(b"") == set()
