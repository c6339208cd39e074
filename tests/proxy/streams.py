"""What the tests of streamed bodies share: a scene in front of S3, and bodies in chunks that a client has signed."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from aws_signing_proxy.sigv4.chunks import STREAMING, STREAMING_TRAILER
from aws_signing_proxy.sigv4.payloads import PayloadRules, PayloadSetting
from tests.proxy.scene import Scene, play

__all__ = ["FORBIDDEN", "SIGNATURE", "content_of", "head", "play_s3", "signed_chunks", "signed_head", "trailers"]

SIGNATURE = b"c" * 64
FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n\r\ndenied"


def play_s3(
    run: Callable[[Scene], Coroutine[Any, Any, None]],
    *,
    setting: PayloadSetting = PayloadSetting.CHUNKED,
    is_tls: bool = True,
    service: str = "s3",
    **options: Any,
) -> None:
    """Run a scene whose route streams as S3's does; bodies over 1024 bytes are large."""

    async def in_front_of_s3(scene: Scene) -> None:
        scene.context.route.payload = PayloadRules(
            service=service,
            is_tls=is_tls,
            setting=setting,
            memory_limit_bytes=options.get("memory_limit_bytes", 1024),
            least_chunked_bytes=0,
        )
        await run(scene)

    play(in_front_of_s3, **options)


def head(length: int, *fields: bytes, method: bytes = b"PUT") -> bytes:
    """Return a head with a body of known length behind it."""
    lines = [method + b" /bucket/key HTTP/1.1", b"Host: client.test", b"Content-Length: %d" % length, *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def signed_chunks(*chunks: bytes, end: bytes = b"\r\n") -> bytes:
    """Return a body in chunks that the client has signed; `end` comes behind the last one's line."""
    framed = [b"%x;chunk-signature=%b\r\n%b\r\n" % (len(chunk), SIGNATURE, chunk) for chunk in chunks]
    return b"".join(framed) + b"0;chunk-signature=" + SIGNATURE + b"\r\n" + end


def trailers(*lines: bytes) -> bytes:
    """Return trailers with the signature that goes behind them."""
    return b"".join(lines) + b"x-amz-trailer-signature:" + SIGNATURE + b"\r\n\r\n"


def signed_head(body: bytes, decoded: int, *fields: bytes, trailer: bytes = b"") -> bytes:
    """Return the head of such a body."""
    mode = STREAMING_TRAILER if trailer else STREAMING
    more = [b"X-Amz-Trailer: " + trailer] if trailer else []
    return head(
        len(body),
        b"Content-Encoding: aws-chunked",
        b"X-Amz-Decoded-Content-Length: %d" % decoded,
        b"X-Amz-Content-Sha256: " + mode,
        *more,
        *fields,
    )


def content_of(sent: bytes) -> bytes:
    """Return the content of what was sent in signed chunks, framing taken off; its end must be there."""
    content = b""
    body = sent.partition(b"\r\n\r\n")[2]
    while True:
        line, _, body = body.partition(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        if not size:
            return content
        content += body[:size]
        assert body[size : size + 2] == b"\r\n"
        body = body[size + 2 :]
