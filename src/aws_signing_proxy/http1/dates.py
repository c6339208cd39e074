"""The `Date` field (RFC 9110 section 6.6.1): when a message was made, to the second."""

from __future__ import annotations

import calendar
import re
from typing import Final

__all__ = ["date_of"]

_MONTHS: Final = (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec")
# IMF-fixdate (section 5.6.7). The two obsolete forms are not read: nobody's clock is set by such a server.
_DATE: Final = re.compile(
    rb"\ndate:[ \t]*(?:mon|tue|wed|thu|fri|sat|sun), (\d\d) (" + b"|".join(_MONTHS) + rb") (\d{4}) "
    rb"([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60) gmt[ \t]*\r"
)


def date_of(fields: bytes) -> int | None:
    """Return a field section's `Date` in seconds since the epoch; None where there is none, or several, or no such day.

    `fields` are lines, each with its CRLF.
    """
    lines = b"\r\n" + fields.lower()
    found = _DATE.search(lines)
    if found is None or lines.count(b"\ndate:") != 1:
        return None
    day, month, year, hour, minute, second = found.groups()
    try:
        return calendar.timegm((int(year), _MONTHS.index(month) + 1, int(day), int(hour), int(minute), int(second)))
    except ValueError:
        return None
