"""Durations, sizes, booleans and numbers are read as Go, and the documentation, write them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aws_signing_proxy.config.notation import (
    UnexpectedValueError,
    parse_boolean,
    parse_duration,
    parse_size,
    parse_whole_number,
    quoted,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("+0", 0.0),
        ("-0", 0.0),
        ("0s", 0.0),
        ("-0s", 0.0),
        ("90s", 90.0),
        ("+90s", 90.0),
        ("1m30s", 90.0),
        ("500ms", 0.5),
        ("1h", 3600.0),
        ("1.5h", 5400.0),
        (".5s", 0.5),
        ("5.s", 5.0),
        ("1h2m3.25s", 3723.25),
        ("250us", 0.00025),
        ("250\u00b5s", 0.00025),
        ("250\u03bcs", 0.00025),
        ("1ns", 1e-9),
        ("30s1m", 90.0),
        ("1m1m", 120.0),
        ("0.1s", 0.1),
    ],
)
def test_a_duration_is_read_as_go_writes_it(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "s", "1", "90", "1d", "1S", "1 s", " 1s", "1s ", "1,5s", "1e3s", "--1s",
     "1s-1s", ".s", "1m30", "\u0663s", "1s\n"],
)  # fmt: skip
def test_what_is_no_go_duration_is_refused(text: str) -> None:
    with pytest.raises(UnexpectedValueError):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", "a duration with its unit, such as 90s or 90ms"),
        ("-5s", "a duration that is not below zero"),
        ("2562048h", "a duration below 292 years"),
        ("9223372036854775808ns", "a duration below 292 years"),
    ],
)
def test_a_refused_duration_says_why(text: str, expected: str) -> None:
    with pytest.raises(UnexpectedValueError) as caught:
        parse_duration(text)
    assert caught.value.expected == expected


def test_the_longest_duration_of_go_is_taken() -> None:
    assert parse_duration("9223372036854775807ns") == pytest.approx(9223372036.854776)


def _as_go_prints(nanoseconds: int) -> str:
    """Write a duration as Go's time.Duration.String does, from whole hours down to a fraction of a second."""
    minutes, rest = divmod(nanoseconds, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    seconds, fraction = divmod(rest, 1_000_000_000)
    shown = f"{seconds}.{fraction:09d}".rstrip("0").rstrip(".")
    return (f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else "") + f"{shown}s"


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_every_duration_that_go_prints_comes_back(nanoseconds: int) -> None:
    assert parse_duration(_as_go_prints(nanoseconds)) == nanoseconds / 1_000_000_000  # of integers: rounded once


@given(st.text(max_size=12))
def test_any_text_is_a_duration_or_is_refused_in_words(text: str) -> None:
    with contextlib.suppress(UnexpectedValueError):
        assert parse_duration(text) >= 0


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("65536", 65536),
        ("100B", 100),
        ("1k", 1024),
        ("1K", 1024),
        ("1Ki", 1024),
        ("1KiB", 1024),
        ("1kib", 1024),
        ("1KB", 1000),
        ("1MiB", 1048576),
        ("64m", 67108864),
        ("64 MiB", 67108864),
        ("5MB", 5_000_000),
        ("2g", 2147483648),
        ("2GiB", 2147483648),
        ("2gb", 2_000_000_000),
    ],
)
def test_a_size_has_bytes_or_a_unit_in_either_case(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    "text", ["", "B", "-1", "+1", "1.5MiB", "1TiB", "1  k", "1kk", "1_000", " 1", "1\n", "\u0661k", "9" * 19]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UnexpectedValueError):
        parse_size(text)


@given(
    st.integers(min_value=0, max_value=10**18 - 1),
    st.sampled_from(
        [("", 1), ("KiB", 2**10), ("MiB", 2**20), ("GiB", 2**30), ("KB", 10**3), ("MB", 10**6), ("GB", 10**9)]
    ),
    st.booleans(),
)
def test_every_size_comes_back_from_its_text(number: int, unit: tuple[str, int], is_lower: bool) -> None:
    text = f"{number}{unit[0]}"
    assert parse_size(text.lower() if is_lower else text) == number * unit[1]


@pytest.mark.parametrize("text", ["1", "t", "T", "true", "TRUE", "True"])
def test_true_has_the_words_of_strconv_parsebool(text: str) -> None:
    assert parse_boolean(text) is True


@pytest.mark.parametrize("text", ["0", "f", "F", "false", "FALSE", "False"])
def test_false_has_the_words_of_strconv_parsebool(text: str) -> None:
    assert parse_boolean(text) is False


@pytest.mark.parametrize("text", ["", "yes", "no", "on", "off", "tRUE", "2", "true ", "y"])
def test_other_words_are_no_booleans(text: str) -> None:
    with pytest.raises(UnexpectedValueError):
        parse_boolean(text)


def test_a_whole_number_is_ascii_digits() -> None:
    assert parse_whole_number("007") == 7


@pytest.mark.parametrize("text", ["", "-1", "+1", "1_0", " 1", "1.0", "0x10", "\u0661", "\u00b2", "9" * 19])
def test_other_writings_of_numbers_are_refused(text: str) -> None:
    with pytest.raises(UnexpectedValueError):
        parse_whole_number(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("80a", '"80a"'),
        ("80\n\x1b[31m", r'"80\n\x1b[31m"'),
        ("b\u00fccher", '"b\u00fccher"'),
        ("\udcff", r'"\udcff"'),
        ("x" * 121, f'"{"x" * 120}\u2026"'),
    ],
)
def test_a_shown_value_is_quoted_short_and_harmless_to_a_terminal(text: str, shown: str) -> None:
    assert quoted(text) == shown
