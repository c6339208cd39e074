"""A WebSocket service that takes signed handshakes only, made with the `websockets` library."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from typing import Self

from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from aws_signing_proxy.sigv4 import Identity
from aws_signing_proxy.sigv4.verification import SignatureRejected, Verifier
from tests.wire.running_proxy import ENVIRONMENT

__all__ = ["WebSocketService"]

_EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def echo(websocket: ServerConnection) -> None:
    """Send every message back."""
    for message in websocket:
        websocket.send(message)


class WebSocketService:
    """Serves on a free port of 127.0.0.1, in threads; `handler` has each connection whose handshake was signed."""

    def __init__(
        self, handler: Callable[[ServerConnection], None] = echo, *, tls: ssl.SSLContext | None = None, host: str = ""
    ) -> None:
        identity = Identity(
            access_key_id=ENVIRONMENT["AWS_ACCESS_KEY_ID"],
            secret_access_key=ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
            session_token=None,
        )
        self._verifier = Verifier(
            service="es", region="eu-central-1", identities={identity.access_key_id: identity}.get
        )
        self.requests: list[Request] = []
        self.refused: list[str] = []
        self._tls = tls
        self._host = host or "127.0.0.1"
        self._server: Server = serve(
            handler, "127.0.0.1", 0, process_request=self._judge, ssl=tls, max_size=None, close_timeout=2
        )
        self.port = int(self._server.socket.getsockname()[1])
        self._thread = threading.Thread(target=self._server.serve_forever, name="websocket service", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(5)

    @property
    def url(self) -> str:
        """Its URL, as a target."""
        return f"{'http' if self._tls is None else 'https'}://{self._host}:{self.port}"

    def _judge(self, connection: ServerConnection, request: Request) -> Response | None:
        self.requests.append(request)
        try:
            self._verifier.verify(
                method=b"GET",
                raw_target=request.path.encode(),
                fields=tuple((name.encode(), value.encode()) for name, value in request.headers.raw_items()),
                body_sha256=_EMPTY_SHA256,
                now=time.time(),
            )
        except SignatureRejected as rejected:
            self.refused.append(rejected.code)
            return connection.respond(403, rejected.message)
        return None
