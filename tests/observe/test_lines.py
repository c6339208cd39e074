"""Lines to a stream that may be gone."""

from __future__ import annotations

import io

from aws_signing_proxy.observe.lines import Lines


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError

    def isatty(self) -> bool:
        raise ValueError("closed")


def test_a_line_is_written_with_its_end_and_at_once() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="utf-8", write_through=False)
    Lines(stream).write("hé")
    assert raw.getvalue() == "hé\n".encode()


def test_what_the_encoding_does_not_have_is_escaped() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Lines(stream).write("hé")
    assert raw.getvalue() == b"h\\xe9\n"


def test_a_broken_stream_swallows_lines_and_is_no_terminal() -> None:
    lines = Lines(Broken())
    lines.write("x")
    assert not lines.is_terminal


def test_no_stream_at_all_swallows_lines() -> None:
    lines = Lines(None)
    lines.write("x")
    assert not lines.is_terminal
