"""When a server wants to be asked again, by what it answered."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

__all__ = ["moment_of", "retry_after_seconds"]

# Longer ones are nonsense, and none that counts.
_MOST_DIGITS: Final = 9


def retry_after_seconds(fields: Mapping[str, str], now: float) -> float | None:
    """Return how long the server asks to wait (RFC 9110 section 10.2.3: seconds or a date); None where it does not.

    `fields` are the answer's header fields, their names in lower case; `now` is in seconds since the epoch. A date is
    compared with the answer's own Date where it has one: one of the two clocks may be wrong.
    """
    text = fields.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:_MOST_DIGITS])
    moment = moment_of(text)
    if moment is None:
        return None
    there = moment_of(fields.get("date", ""))
    return max(0.0, moment - (now if there is None else there))


def moment_of(text: str) -> float | None:
    """Return a date of HTTP's (RFC 9110 section 5.6.7) in seconds since the epoch; None where it is none."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
