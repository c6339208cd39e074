"""The demo's output fits a terminal of 80 columns, with and without colours and Unicode."""

from __future__ import annotations

import io
import re

import pytest

from aws_signing_proxy.demo.table import Look, Screen
from aws_signing_proxy.demo.tour import Row

ALWAYS = ("host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token")


def row(**changes: object) -> Row:
    values: dict[str, object] = {
        "title": "index a document",
        "service": "es",
        "method": "PUT",
        "target": "/library/_doc/1",
        "forwarded": None,
        "signed_headers": ("content-type", *ALWAYS),
        "status": 201,
        "verdict": "verified",
        "code": None,
        "seconds": 0.0123,
        "problem": None,
        "is_straight": False,
    }
    return Row(**(values | changes))  # type: ignore[arg-type] # the names are Row's own


def shown(*rows: Row, look: Look | None = None) -> str:
    stream = io.StringIO()
    screen = Screen(stream, look or Look(is_coloured=False, is_unicode=True))
    screen.table_head()
    for each in rows:
        screen.row(each)
    screen.table_end(list(rows))
    return stream.getvalue()


def test_a_row_tells_what_was_sent_signed_and_verified() -> None:
    text = shown(row(forwarded="/library/_doc/%31"))
    assert re.search(r"1 ✓ index a document +201  verified +12\.3\n", text)
    assert "      PUT /library/_doc/1\n      → PUT /library/_doc/%31\n      also signed: content-type\n" in text


def test_a_row_that_failed_says_why() -> None:
    text = shown(row(problem="status 200 was expected"))
    assert "✗ index a document" in text
    assert "      FAILED: status 200 was expected\n" in text
    assert "0 signed by the proxy and verified, 0 refused as they should be, 1 failed." in text


def test_a_refusal_names_the_code_of_the_service() -> None:
    text = shown(row(code="SignatureDoesNotMatch", is_straight=True, verdict="refused", status=403))
    assert "answer: SignatureDoesNotMatch" in text
    assert "0 signed by the proxy and verified, 1 refused as they should be, 0 failed." in text


def test_a_row_without_an_answer_has_no_status() -> None:
    assert re.search(r" -  not reached ", shown(row(status=None, verdict="not reached")))


def test_no_line_is_longer_than_80_columns() -> None:
    long = "/x" * 100
    text = shown(row(title="t" * 45, target=long, forwarded=long, problem="p" * 200))
    assert max(map(len, text.splitlines())) <= 80


def test_there_are_colours_where_the_terminal_shows_them_and_no_others() -> None:
    assert "\x1b[" in shown(row(), look=Look(is_coloured=True, is_unicode=True))
    assert "\x1b[" not in shown(row())


def test_without_unicode_everything_is_ascii() -> None:
    text = shown(row(target="/ä", forwarded="/b"), look=Look(is_coloured=False, is_unicode=False))
    assert text.isascii()
    assert r"PUT /\xe4" in text
    assert "-> PUT /b" in text


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "is_coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_a_terminal_has_colours_unless_it_is_told_otherwise(environ: dict[str, str], *, is_coloured: bool) -> None:
    with Terminal(io.BytesIO(), encoding="utf-8") as terminal:
        assert Look.of(terminal, environ) == Look(is_coloured=is_coloured, is_unicode=True)


def test_a_file_has_no_colours_and_its_own_encoding() -> None:
    with io.TextIOWrapper(io.BytesIO(), encoding="latin-1") as file:
        assert Look.of(file, {}) == Look(is_coloured=False, is_unicode=False)
