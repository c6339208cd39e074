"""The access log: one line a request, written past the logging machinery.

A line costs 6 µs, against 105 µs through logging and its redaction. Where the access log is off there is no `AccessLog`
at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from json.encoder import encode_basestring_ascii
from typing import Final, TextIO

from aws_signing_proxy.observe.lines import Lines
from aws_signing_proxy.observe.logs import mask_known_secrets

__all__ = ["AccessLog", "without_query_values"]

_LONGEST_TARGET: Final = 2048


class AccessLog:
    """Writes one line for each finished request, in the format of the other log lines.

    `worker` stands in each, where this process is one of several.
    """

    __slots__ = ("_clock", "_end", "_is_json", "_lines", "_second", "_second_text")

    def __init__(
        self,
        stream: TextIO | None,
        *,
        log_format: str = "json",
        clock: Callable[[], float] = time.time,
        worker: int | None = None,
    ) -> None:
        self._lines = Lines(stream)
        self._is_json = log_format == "json"
        self._clock = clock
        self._end = "}" if self._is_json else ""
        if worker is not None:
            self._end = f', "worker": {worker}}}' if self._is_json else f" worker={worker}"
        self._second = -1
        self._second_text = ""

    def write(
        self,
        *,
        method: bytes,
        target: bytes,
        status: int,
        code: str,
        bytes_in: int,
        bytes_out: int,
        total_seconds: float,
        first_byte_seconds: float | None,
        client: str | None = None,
    ) -> None:
        """Write the line of one request. `code` is "ok" or an error's; the values of the target's query are left out.

        `client` is the address of the client's connection, where it is known.
        """
        method_text = method.decode("ascii", "backslashreplace")
        target_text = without_query_values(target)
        if self._is_json:
            first_byte = "null" if first_byte_seconds is None else f"{first_byte_seconds:.6f}"
            line = (
                f'{{"timestamp": "{self._timestamp()}", "level": "info", "event": "request", '
                f'"logger": "aws_signing_proxy.access", "method": {encode_basestring_ascii(method_text)}, '
                f'"target": {encode_basestring_ascii(target_text)}, "status": {status}, "code": "{code}", '
                f'"bytes_in": {bytes_in}, "bytes_out": {bytes_out}, "total_seconds": {total_seconds:.6f}, '
                f'"first_byte_seconds": {first_byte}'
            )
            line += self._end if client is None else f', "client": {encode_basestring_ascii(client)}{self._end}'
        else:
            first_byte = "-" if first_byte_seconds is None else f"{first_byte_seconds * 1000:.1f}ms"
            who = "-" if client is None else encode_basestring_ascii(client)[1:-1]
            line = (
                f"{self._timestamp()} {who} {encode_basestring_ascii(method_text)[1:-1]} "
                f"{encode_basestring_ascii(target_text)[1:-1]} {status} {code} in={bytes_in} out={bytes_out} "
                f"total={total_seconds * 1000:.1f}ms first_byte={first_byte}{self._end}"
            )
        self._lines.write(line)

    def _timestamp(self) -> str:
        """RFC 3339 in UTC with milliseconds; the seconds are formatted once a second."""
        now = self._clock()
        second = int(now)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{int((now - second) * 1000):03d}Z"


def without_query_values(target: bytes) -> str:
    r"""Return the request target with its query's names but not their values, and without user information.

    Longer targets are cut: a log line is not the place for 64 KiB. Bytes outside ASCII are shown as `\xNN`.
    """
    text = target.decode("ascii", "backslashreplace")
    path, mark, query = text.partition("?")
    if not path.startswith("/") and "@" in path:  # absolute form: http://user:password@host/
        scheme, _, rest = path.partition("//")
        authority, slash, path_only = rest.partition("/")
        path = f"{scheme}//{authority.rpartition('@')[2]}{slash}{path_only}"
    if mark:
        names = [pair.partition("=") for pair in query.split("&")]
        path = f"{path}?{'&'.join([name + equals for name, equals, _ in names])}"
    path = mask_known_secrets(path)  # before it is cut: half a secret would not be known any more
    return path if len(path) <= _LONGEST_TARGET else f"{path[:_LONGEST_TARGET]}..."
