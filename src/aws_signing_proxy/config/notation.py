"""How values are written: Go's durations and booleans, sizes in bytes, whole numbers. And how a value is shown.

The settings keep the notations of the original proxy, a Go program: time.ParseDuration
(https://pkg.go.dev/time#ParseDuration) and strconv.ParseBool (https://pkg.go.dev/strconv#ParseBool).
Every parser takes text and returns a value, or raises `UnexpectedValueError`, which says what was expected.
"""

from __future__ import annotations

import re
from fractions import Fraction

__all__ = [
    "FALSE_WORDS",
    "TRUE_WORDS",
    "UnexpectedValueError",
    "parse_boolean",
    "parse_duration",
    "parse_size",
    "parse_whole_number",
    "quoted",
]

TRUE_WORDS = ("1", "t", "T", "true", "TRUE", "True")
FALSE_WORDS = ("0", "f", "F", "false", "FALSE", "False")

# Nanoseconds in each unit. Go knows both characters for micro: U+00B5 (micro sign) and U+03BC (Greek mu).
_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,
    "\u03bcs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_DURATION_PART = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|\u00b5s|\u03bcs|ms|s|m|h)"
_DURATION = re.compile(rf"([-+]?)((?:{_DURATION_PART})+)")
_DURATION_PARTS = re.compile(r"([0-9.]+)([a-z\u00b5\u03bc]+)")
# A Go duration is a signed 64-bit count of nanoseconds (some 292 years).
_MAX_DURATION_NANOSECONDS = 2**63 - 1

_KIB = 1024
_SIZE_UNITS = {
    "": 1,
    "b": 1,
    **dict.fromkeys(("k", "ki", "kib"), _KIB),
    **dict.fromkeys(("m", "mi", "mib"), _KIB**2),
    **dict.fromkeys(("g", "gi", "gib"), _KIB**3),
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
}
_SIZE = re.compile(r"([0-9]{1,18}) ?([a-zA-Z]*)")
_WHOLE_NUMBER = re.compile(r"[0-9]{1,18}")

_SHOWN_CHARACTERS = 120


class UnexpectedValueError(ValueError):
    """The text is not a value of its kind.

    `expected` says what is, where the parser knows better than its kind's general sentence. It never
    repeats the text, which may be a secret.
    """

    def __init__(self, expected: str | None = None) -> None:
        super().__init__(expected or "another value is expected")
        self.expected = expected


def parse_boolean(text: str) -> bool:
    """Read a boolean as Go's strconv.ParseBool does: 1, t, T, TRUE, true, True and their opposites."""
    if text in TRUE_WORDS:
        return True
    if text in FALSE_WORDS:
        return False
    raise UnexpectedValueError


def parse_duration(text: str) -> float:
    """Read a duration as Go writes it (`90s`, `1m30s`, `500ms`, `1.5h`, `0`), in seconds.

    Durations below zero are refused: no setting has a use for one. A number without a unit is refused
    too, as Go does, except zero.
    """
    if text.lstrip("+-") == "0" and len(text) <= len("+0"):
        return 0.0
    matched = _DURATION.fullmatch(text)
    if matched is None:
        if _WHOLE_NUMBER.fullmatch(text):
            raise UnexpectedValueError(f"a duration with its unit, such as {text}s or {text}ms")
        raise UnexpectedValueError
    # Fractions, not floats: 0.1s is then exactly 100 ms, and 1h0.000000001s is not lost in the sum.
    nanoseconds = sum(
        (Fraction(_decimal(number)) * _NANOSECONDS[unit] for number, unit in _DURATION_PARTS.findall(matched[2])),
        start=Fraction(0),
    )
    if nanoseconds > _MAX_DURATION_NANOSECONDS:
        raise UnexpectedValueError("a duration below 292 years")
    if matched[1] == "-" and nanoseconds:
        raise UnexpectedValueError("a duration that is not below zero")
    return float(nanoseconds / 1_000_000_000)


def _decimal(number: str) -> str:
    """Complete `.5` and `5.`, which Go takes and `Fraction` partly does not, to `0.5` and `5.0`."""
    whole, _, part = number.partition(".")
    return f"{whole or '0'}.{part or '0'}"


def parse_size(text: str) -> int:
    """Read a size in bytes: plain, or with a unit, in either case of letters.

    k, Ki and KiB are 1024 bytes each, KB is 1000; likewise M and G.
    """
    matched = _SIZE.fullmatch(text)
    if matched is None or matched[2].lower() not in _SIZE_UNITS:
        raise UnexpectedValueError
    return int(matched[1]) * _SIZE_UNITS[matched[2].lower()]


def parse_whole_number(text: str) -> int:
    """Read a whole number written in ASCII digits only (`int()` would also take `1_0`, ` 1` and other scripts)."""
    if not _WHOLE_NUMBER.fullmatch(text):
        raise UnexpectedValueError
    return int(text)


def quoted(text: str) -> str:
    """Show a value to a person: in quotes, shortened, control characters escaped so that they cannot act."""
    shown = text[:_SHOWN_CHARACTERS]
    escaped = "".join(
        character if character.isprintable() else character.encode("unicode_escape", "backslashreplace").decode()
        for character in shown
    )
    return f'"{escaped}{"…" if len(text) > _SHOWN_CHARACTERS else ""}"'
