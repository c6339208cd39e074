"""How the demo looks: a table of what was sent, signed and verified, for a terminal of 80 columns and more."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TextIO

from aws_signing_proxy.demo.tour import Row

__all__ = ["Look", "Screen"]

_WIDTH: Final = 80
_TITLE: Final = 45
# The signature covers these in every request; the column names what it covers beside them.
_ALWAYS: Final = ("host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token")

# A rule's dash, an arrow, right, wrong.
_SYMBOLS: Final = ("─", "→", "✓", "✗")
_ASCII_SYMBOLS: Final = ("-", "->", "+", "x")

_BOLD: Final = "1"
_DIM: Final = "2"
_RED: Final = "31"
_GREEN: Final = "32"
_CYAN: Final = "36"


@dataclass(frozen=True, slots=True)
class Look:
    """What the terminal can show."""

    is_coloured: bool
    is_unicode: bool

    @classmethod
    def of(cls, stream: TextIO, environ: Mapping[str, str] = os.environ) -> Look:
        """Judge by the stream: colours on a terminal only (and not with NO_COLOR), Unicode where it can be encoded."""
        return cls(
            is_coloured=stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb",
            is_unicode=(stream.encoding or "").lower().replace("-", "") == "utf8",
        )


class Screen:
    """Writes the demo's text to a stream."""

    def __init__(self, stream: TextIO, look: Look) -> None:
        self._stream = stream
        self._look = look
        self._dash, self._arrow, self._tick, self._cross = _SYMBOLS if look.is_unicode else _ASCII_SYMBOLS
        self._number = 0

    def line(self, text: str = "") -> None:
        """Write one line; what the stream cannot encode is written as an escape."""
        if not self._look.is_unicode:
            text = text.encode("ascii", "backslashreplace").decode()
        self._stream.write(text + "\n")
        self._stream.flush()

    def heading(self, text: str, more: str = "") -> None:
        """Write a heading, with an explanation in the same line."""
        self.line()
        self.line(self._styled(text, _BOLD) + (f"  {more}" if more else ""))

    def table_head(self) -> None:
        """Write the columns' names."""
        self.line()
        self.line(self._styled(f"      {'request':<{_TITLE}}{'status':>6}  {'signature':<12}{'ms':>7}", _BOLD))
        self._rule()

    def group(self, text: str) -> None:
        """Write what the rows that follow have in common."""
        if self._number:
            self.line()
        self.line(self._styled(f" {text}", _CYAN))

    def row(self, row: Row) -> None:
        """Write one request: what it is and what came of it, then its target as sent and as forwarded."""
        self._number += 1
        is_ok = row.problem is None
        mark = self._styled(self._tick if is_ok else self._cross, _GREEN if is_ok else _RED)
        status = "-" if row.status is None else str(row.status)
        result = f"{status:>6}  {row.verdict:<12}{row.seconds * 1000:7.1f}"
        self.line(f"{self._number:>3} {mark} {row.title:<{_TITLE}}{self._styled(result, _GREEN if is_ok else _RED)}")
        self._detail(f"{row.method} {row.target}")
        if row.forwarded is not None:
            self._detail(f"{self._arrow} {row.method} {row.forwarded}")
        more = [name for name in row.signed_headers if name not in _ALWAYS]
        if more:
            self._detail(f"also signed: {', '.join(more)}")
        if row.code is not None:
            self._detail(f"answer: {row.code}")
        if row.problem is not None:
            for line in textwrap.wrap(f"FAILED: {row.problem}", _WIDTH - 6):
                self.line("      " + self._styled(line, _RED))

    def table_end(self, rows: list[Row]) -> None:
        """Write the rule below the table, and what it comes to."""
        self._rule()
        failed = sum(row.problem is not None for row in rows)
        verified = sum(row.problem is None and not row.is_straight for row in rows)
        refused = sum(row.problem is None and row.is_straight for row in rows)
        self.line(
            f" {verified} signed by the proxy and verified, {refused} refused as they should be, {failed} failed."
        )
        self.line(f" SignedHeaders of every request: {', '.join(_ALWAYS[:2])},")
        self.line(f" {', '.join(_ALWAYS[2:])}; and what is named with it.")

    def command(self, text: str) -> None:
        """Write a command to try."""
        self.line("  " + self._styled(text, _CYAN))

    def link(self, what: str, url: str) -> None:
        """Write a URL with what is there."""
        self.line(f"  {what:<36}{self._styled(url, _CYAN)}")

    def seen(self, service: str, request: str, status: int, verdict: str) -> None:
        """Write one line for a request that arrives at the stand-in later on."""
        colour = _GREEN if verdict == "verified" else _RED
        self.line(f"  {service:<4}{self._styled(f'{status} {verdict:<9}', colour)} {request}")

    def _detail(self, text: str) -> None:
        for line in textwrap.wrap(text, _WIDTH - 6, break_on_hyphens=False, subsequent_indent="  "):
            self.line("      " + self._styled(line, _DIM))

    def _rule(self) -> None:
        self.line(self._styled(self._dash * _WIDTH, _DIM))

    def _styled(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._look.is_coloured else text
