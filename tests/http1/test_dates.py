"""The `Date` field."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from aws_signing_proxy.http1.dates import date_of


@pytest.mark.parametrize("moment", [0, 784_111_777, 951_782_400, 1_700_000_000, 4_102_444_799])
def test_a_date_is_read_to_the_second(moment: int) -> None:
    value = formatdate(moment, usegmt=True).encode()
    assert date_of(b"Server: x\r\nDate: " + value + b"\r\nX: y\r\n") == moment
    assert date_of(b"date:\t" + value.lower() + b" \r\n") == moment


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"0",
        b"1700000000",
        b"2023-11-14T22:13:20Z",
        b"Tue, 14 Nov 2023 22:13:20 +0000",
        b"Tuesday, 14-Nov-23 22:13:20 GMT",
        b"Tue Nov 14 22:13:20 2023",
        b"Tue, 14 Nov 2023 24:13:20 GMT",
        b"Tue, 14 Foo 2023 22:13:20 GMT",
        b"Tue, 14 Nov 12023 22:13:20 GMT",
        b"Tue, 14 Nov 2023 22:13:20 GMT, Tue, 14 Nov 2023 22:13:20 GMT",
    ],
)
def test_anything_but_an_imf_fixdate_is_no_date(value: bytes) -> None:
    assert date_of(b"Date: " + value + b"\r\n") is None


def test_two_dates_are_none_and_a_field_that_ends_like_it_is_another() -> None:
    line = b"Date: Tue, 14 Nov 2023 22:13:20 GMT\r\n"
    assert date_of(line + line) is None
    assert date_of(b"X-" + line) is None
    assert date_of(b"") is None


def test_a_day_that_no_calendar_has_does_not_raise() -> None:
    for value in (b"Tue, 99 Nov 2023 22:13:20 GMT", b"Tue, 00 Feb 0000 22:13:20 GMT"):
        date_of(b"Date: " + value + b"\r\n")
