"""Large bodies: PUT in the form that each payload mode wants from a client, and GET; by a client of one connection."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator

from bench.programs import BenchError

__all__ = ["MIB", "SETTINGS", "body_for", "get", "put"]

MIB = 1 << 20
_PIECE = b"\0" * MIB
_SIGNATURE = b"0" * 64
_TIMEOUT_SECONDS = 300

SETTINGS = {
    "chunked": {"ASP_SERVICE": "s3"},
    "unsigned": {"ASP_SERVICE": "s3", "ASP_PAYLOAD": "unsigned"},
    "declared": {"ASP_SERVICE": "s3"},
    "verbatim": {"ASP_SERVICE": "s3"},
    "resigned": {"ASP_SERVICE": "s3"},
}
"""What the proxy is told, so that it takes a body of this kind in this mode (docs/payload-modes.md)."""


def _chunk(data: bytes, extension: bytes) -> bytes:
    return b"%x%b\r\n%b\r\n" % (len(data), extension, data)


def _framed(size: int, extension: bytes, end: bytes) -> tuple[int, Iterator[bytes]]:
    """Return the length and the pieces of a body in chunks of 64 KiB."""
    mebibyte = _chunk(b"\0" * 65536, extension) * 16
    count = size // MIB

    def pieces() -> Iterator[bytes]:
        for _ in range(count):
            yield mebibyte
        yield end

    return len(mebibyte) * count + len(end), pieces()


def body_for(mode: str, size: int) -> tuple[int, Iterator[bytes], dict[str, str]]:
    """Return length, pieces and fields of a client's body for a mode; `size` in whole MiB."""
    plain = (_PIECE for _ in range(size // MIB))
    decoded = {"X-Amz-Decoded-Content-Length": str(size), "Content-Encoding": "aws-chunked"}
    match mode:
        case "declared":
            return size, plain, {"X-Amz-Content-Sha256": "ab" * 32}
        case "verbatim":
            length, pieces = _framed(size, b"", b"0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n")
            fields = {
                "X-Amz-Content-Sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
                "X-Amz-Trailer": "x-amz-checksum-crc32",
            }
            return length, pieces, decoded | fields
        case "resigned":
            extension = b";chunk-signature=" + _SIGNATURE
            length, pieces = _framed(size, extension, b"0" + extension + b"\r\n\r\n")
            return length, pieces, decoded | {"X-Amz-Content-Sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"}
        case _:
            return size, plain, {}


def put(port: int, mode: str, size: int, name: str = "object") -> float:
    """Send a body; return the seconds that it took. Raises BenchError where it was not stored."""
    length, pieces, fields = body_for(mode, size)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)
    began = time.perf_counter()
    try:
        connection.request("PUT", f"/store/{name}", body=pieces, headers={"Content-Length": str(length)} | fields)
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException) as error:
        raise BenchError(f"a PUT of {size // MIB} MiB broke off: {error!r}") from error
    finally:
        connection.close()
    if response.status not in {200, 201, 204}:
        raise BenchError(f"a PUT of {size // MIB} MiB was answered with {response.status}")
    return time.perf_counter() - began


def get(port: int, size: int) -> float:
    """Read the large file; return the seconds that it took. Raises BenchError where it is not whole."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)
    began = time.perf_counter()
    count = 0
    try:
        connection.request("GET", "/large")
        response = connection.getresponse()
        view = memoryview(bytearray(MIB))
        while read := response.readinto(view):
            count += read
    except (OSError, http.client.HTTPException) as error:
        raise BenchError(f"a GET of {size // MIB} MiB broke off: {error!r}") from error
    finally:
        connection.close()
    if count != size:
        raise BenchError(f"a GET of {size // MIB} MiB brought {count} bytes")
    return time.perf_counter() - began
