"""A request body on its way out, when it is too large to leave in one write with the head."""

from __future__ import annotations

import asyncio
import logging

from aws_signing_proxy.errors import ErrorCode, InternalError, ProxyError
from aws_signing_proxy.proxy.body import ReceivedBody
from aws_signing_proxy.proxy.limit_errors import unexpected_failure
from aws_signing_proxy.proxy.roles import SendingExchange
from aws_signing_proxy.upstream.connection import UpstreamConnection

__all__ = ["BodySender"]

_LOG = logging.getLogger(__name__)

_PIECE_BYTES = 256 * 1024


class BodySender:
    """Sends a body from memory or from its file, as fast as the upstream takes it, on a task of its own.

    `is_done` turns true when all of it is handed over; until then the connection has no place for another request.
    """

    __slots__ = (
        "_body",
        "_connection",
        "_exchange",
        "_is_stopped",
        "_length",
        "_payload",
        "_task",
        "_writable",
        "is_done",
    )

    def __init__(
        self,
        exchange: SendingExchange,
        connection: UpstreamConnection,
        *,
        body: ReceivedBody | None,
        payload: bytes,
        length: int,
    ) -> None:
        self._exchange = exchange
        self._connection = connection
        self._body = body if body is not None and body.is_spooled else None
        self._payload = payload
        self._length = length
        self._writable: asyncio.Future[None] | None = None
        self._is_stopped = False
        self.is_done = False
        self._task = asyncio.get_running_loop().create_task(self._run(), name="send request body")

    def on_writable(self) -> None:
        """The upstream takes bytes again."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def stop(self) -> None:
        """Send no more: the connection, or the request, is gone."""
        self._is_stopped = True
        self.on_writable()

    async def _run(self) -> None:
        try:
            if not self._is_stopped:  # else it ended before it began, and the body's file may be closed
                await self._send()
        except ProxyError as error:
            if not self._is_stopped:
                self._exchange.fail(error)
        except Exception:  # noqa: BLE001 - it is logged, and ends this exchange only
            _LOG.exception("a request's body could not be sent")
            self._exchange.fail(unexpected_failure())

    async def _send(self) -> None:
        offset = 0
        while offset < self._length:
            piece = await self._piece(offset)
            if not piece:
                raise InternalError(ErrorCode.SPOOL_FAILED, "The stored body is shorter than it was when it arrived.")
            if not await self._hand_over(piece):
                return
            offset += len(piece)
            self._exchange.on_body_progress()
        self.is_done = True
        self._exchange.on_body_sent()

    async def _hand_over(self, piece: bytes | memoryview) -> bool:
        """Send a piece and wait until the upstream takes more; return whether to go on."""
        if not self._is_stopped:
            self._connection.send(piece)
        while self._connection.is_write_paused and not self._is_stopped:
            self._writable = asyncio.get_running_loop().create_future()
            await self._writable
        return not self._is_stopped

    async def _piece(self, offset: int) -> bytes | memoryview:
        if self._body is not None:
            return await self._body.read(offset)
        return memoryview(self._payload)[offset : offset + _PIECE_BYTES]
