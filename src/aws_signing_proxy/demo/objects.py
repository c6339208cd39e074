"""A little of S3, in memory: put, get, list and delete objects; buckets exist as soon as they are written to."""

from __future__ import annotations

import hashlib
from typing import Final
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape

from aws_signing_proxy.demo.messages import Received, Reply

__all__ = ["ObjectStore", "s3_error"]

_MOST_OBJECTS: Final = 1000
_MOST_BYTES: Final = 64 * 1024 * 1024
_XML: Final = ("Content-Type", "application/xml")


class ObjectStore:
    """Answers `/{bucket}/{key}` and `/{bucket}?list-type=2`."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str], tuple[bytes, list[tuple[str, str]]]] = {}
        self._bytes = 0

    def answer(self, request: Received) -> Reply:
        """Answer a request whose signature is good."""
        bucket, _, key = unquote(request.path.decode("latin-1"))[1:].partition("/")
        if (request.field(b"x-amz-content-sha256") or "").startswith("STREAMING-"):
            return s3_error(501, "NotImplemented", "The stand-in does not decode aws-chunked bodies.")
        match request.method:
            case "PUT" if bucket and key:
                return self._put(bucket, key, request)
            case "GET" | "HEAD" if bucket and key:
                return self._get(bucket, key)
            case "GET" if bucket:
                return self._list(bucket, request.query)
            case "DELETE" if bucket and key:
                self._forget(bucket, key)
                return Reply(204, [])
            case _:
                return s3_error(
                    405, "MethodNotAllowed", "The stand-in knows PUT, GET, HEAD and DELETE /BUCKET/KEY, and GET /BUCKET"
                )

    def _put(self, bucket: str, key: str, request: Received) -> Reply:
        old = self._objects.get((bucket, key))
        grows_by = len(request.body) - (0 if old is None else len(old[0]))
        if self._bytes + grows_by > _MOST_BYTES or (old is None and len(self._objects) >= _MOST_OBJECTS):
            return s3_error(
                400,
                "EntityTooLarge",
                f"The stand-in keeps at most {_MOST_OBJECTS} objects of together {_MOST_BYTES} bytes.",
            )
        etag = hashlib.md5(request.body, usedforsecurity=False).hexdigest()
        kept = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in request.fields
            if name.lower() == b"content-type" or name.lower().startswith(b"x-amz-meta-")
        ]
        self._objects[bucket, key] = (request.body, [*kept, ("ETag", f'"{etag}"')])
        self._bytes += grows_by
        return Reply(200, [("ETag", f'"{etag}"')])

    def _get(self, bucket: str, key: str) -> Reply:
        found = self._objects.get((bucket, key))
        if found is None:
            return s3_error(404, "NoSuchKey", "The specified key does not exist.", f"<Key>{escape(key)}</Key>")
        content, fields = found
        return Reply(200, fields, content)

    def _list(self, bucket: str, query: bytes) -> Reply:
        prefix = parse_qs(query.decode("latin-1")).get("prefix", [""])[0]
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(content)}</Size></Contents>"
            for (where, key), (content, _) in sorted(self._objects.items())
            if where == bucket and key.startswith(prefix)
        )
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult>'
            f"<Name>{escape(bucket)}</Name><Prefix>{escape(prefix)}</Prefix>"
            f"<KeyCount>{contents.count('<Contents>')}</KeyCount><IsTruncated>false</IsTruncated>"
            f"{contents}</ListBucketResult>\n"
        )
        return Reply(200, [_XML], body.encode())

    def _forget(self, bucket: str, key: str) -> None:
        content, _ = self._objects.pop((bucket, key), (b"", []))
        self._bytes -= len(content)


def s3_error(status: int, code: str, message: str, more: str = "") -> Reply:
    """Return an error as S3 writes it; `more` is XML that stands behind the message."""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message>{more}</Error>\n"
    )
    return Reply(status, [_XML], body.encode())
