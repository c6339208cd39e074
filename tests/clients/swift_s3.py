"""OpenStack Swift's S3 API over a store in memory: a service that checks chunk signatures, written by others.

A program of its own, run with a Python that has Swift (see `installed`): swift_s3.py ACCESS_KEY SECRET REGION. Swift's
middleware `s3api` does all that is S3: it verifies the signatures of heads, chunks and trailers, hashes and checksums.
What is here is around it: HTTP, one user, containers and objects.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from typing import Any
from urllib.parse import unquote

from swift.common import utils
from swift.common.middleware.s3api.s3api import filter_factory
from swift.common.swob import Request, Response

_MODIFIED = {"Last-Modified": "Tue, 14 Nov 2023 22:13:20 GMT", "X-Timestamp": "1700000000.00000"}


class Store:
    """As much of Swift as s3api asks for."""

    def __init__(self) -> None:
        self._containers: dict[str, dict[str, bytes]] = {}

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = Request(environ)
        _, _, container, name = request.split_path(2, 4, True)
        answer: Iterable[bytes] = self._respond(request, container, name)(environ, start_response)
        return answer

    def _respond(self, request: Any, container: str | None, name: str | None) -> Any:
        if container is None:
            return Response(status=200, request=request, body=b"[]")
        if name is None:
            return self._respond_of_container(request, container)
        objects = self._containers.get(container, {})
        if request.method == "PUT":
            # Reading to the end is what makes s3api compare hashes, chunks, trailers and checksums.
            body = request.environ["wsgi.input"].read()
            objects[name] = body
            return Response(status=201, request=request, headers={"ETag": hashlib.md5(body).hexdigest(), **_MODIFIED})
        if name not in objects:
            return Response(status=404, request=request)
        body = objects[name]
        return Response(
            status=200, request=request, body=body, headers={"ETag": hashlib.md5(body).hexdigest(), **_MODIFIED}
        )

    def _respond_of_container(self, request: Any, container: str) -> Any:
        if request.method == "PUT":
            self._containers.setdefault(container, {})
            return Response(status=201, request=request)
        if container not in self._containers:
            return Response(status=404, request=request)
        if request.method == "GET":
            listed = [
                {"name": name, "bytes": len(body), "hash": "x", "last_modified": "2023-11-14T22:13:20.000000"}
                for name, body in sorted(self._containers[container].items())
            ]
            return Response(status=200, request=request, body=json.dumps(listed), content_type="application/json")
        return Response(status=204, request=request, headers={"X-Container-Object-Count": "0"})


class Authorization:
    """One user, who may do everything."""

    def __init__(self, app: Callable[..., Iterable[bytes]], access_key: str, secret: str) -> None:
        self._app = app
        self._access_key = access_key
        self._secret = secret

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        details = environ.get("s3api.auth_details", {})
        is_known = details.get("access_key") == self._access_key
        if not is_known or not details["check_signature"](self._secret):
            denied: Iterable[bytes] = Response(status=403, body=b"denied")(environ, start_response)
            return denied
        environ["PATH_INFO"] = environ["PATH_INFO"].replace(self._access_key, "AUTH_test", 1)
        environ["REMOTE_USER"] = "test,test:user,AUTH_test"
        environ["swift.authorize"] = lambda _: None
        environ["swift_owner"] = True
        return self._app(environ, start_response)


class Body:
    """The body of a request: of known length, or in chunks of HTTP."""

    def __init__(self, file: BufferedIOBase, length: int | None) -> None:
        self._file = file
        self._is_chunked = length is None
        self._left = length or 0
        self._is_over = False

    def read(self, size: int | None = -1) -> bytes:
        size = -1 if size is None else size
        data = b""
        while (size < 0 or len(data) < size) and self._has_more():
            piece = self._file.read(self._left if size < 0 else min(self._left, size - len(data)))
            self._took(len(piece))
            data += piece
        return data

    def readline(self, size: int = -1) -> bytes:
        line = b""
        while (size < 0 or len(line) < size) and not line.endswith(b"\n") and (byte := self.read(1)):
            line += byte
        return line

    def _has_more(self) -> bool:
        if self._is_chunked and not self._left and not self._is_over:
            self._left = int(self._file.readline(), 16)
            if not self._left:
                self._is_over = True
                self._file.readline()
        return self._left > 0

    def _took(self, size: int) -> None:
        self._left -= size
        if self._is_chunked and not self._left:
            self._file.readline()


def handler(app: Callable[..., Iterable[bytes]]) -> type[BaseHTTPRequestHandler]:
    """Return a handler that serves the application, one request a connection."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _environ(self) -> dict[str, Any]:
            path, _, query = self.path.partition("?")
            environ = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in self.headers.items()}
            length = environ.pop("HTTP_CONTENT_LENGTH", None)
            if length is not None:
                environ["CONTENT_LENGTH"] = length
            is_chunked = environ.get("HTTP_TRANSFER_ENCODING") == "chunked"
            return environ | {
                "REQUEST_METHOD": self.command,
                "SCRIPT_NAME": "",
                "PATH_INFO": unquote(path, "latin-1"),
                "RAW_PATH_INFO": path,
                "QUERY_STRING": query,
                "CONTENT_TYPE": environ.pop("HTTP_CONTENT_TYPE", ""),
                "SERVER_NAME": "127.0.0.1",
                "SERVER_PORT": "80",
                "SERVER_PROTOCOL": "HTTP/1.1",
                "REMOTE_ADDR": "127.0.0.1",
                "wsgi.input": Body(self.rfile, None if is_chunked else int(length or 0)),
                "wsgi.errors": sys.stderr,
                "wsgi.url_scheme": "http",
            }

        def _serve(self) -> None:
            started: list[Any] = []
            body = b"".join(app(self._environ(), lambda status, fields, *_: started.extend((status, fields))))
            status, fields = started
            lines = [f"HTTP/1.1 {status}", "Connection: close"]
            lines += [f"{name}: {value}" for name, value in fields if name.lower() != "content-length"]
            if self.command != "HEAD":
                lines.append(f"Content-Length: {len(body)}")
            self.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
            self.close_connection = True

        do_GET = do_PUT = do_HEAD = _serve  # noqa: N815 - the names that http.server looks for

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


def main(access_key: str, secret: str, region: str) -> None:
    """Listen on a free port, and print which."""
    utils.HASH_PATH_SUFFIX = b"tests"
    make = filter_factory({}, location=region, s3_acl="false", check_bucket_owner="false", allow_no_owner="true")
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(make(Authorization(Store(), access_key, secret))))
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
