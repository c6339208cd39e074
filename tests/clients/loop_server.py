"""The life of a stand-in server that runs in an event loop and a thread of its own, while a `with` statement does."""

from __future__ import annotations

import asyncio
import ssl
import threading
from typing import Self

__all__ = ["LoopServer"]

_START_SECONDS = _STOP_SECONDS = 10.0
_MOST_HEAD_BYTES = 1 << 20


class LoopServer:
    """Listens on a port of 127.0.0.1 that the system chooses. A subclass serves one connection in `converse`.

    `port` is 0 before it listens. Connections that are open at the end are cut off.
    """

    def __init__(self, name: str, *, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._is_ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name=name)
        self.port = 0

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it ends."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._is_ready.wait(_START_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop is not None and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(_STOP_SECONDS)

    async def _run(self) -> None:
        tasks: set[asyncio.Task[None]] = set()
        writers: set[asyncio.StreamWriter] = set()

        async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            writers.add(writer)
            try:
                await self.converse(reader, writer)
            except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
                pass  # the other side is gone
            finally:
                writer.close()
                writers.discard(writer)
                tasks.discard(task)

        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(
            on_connection, "127.0.0.1", 0, limit=_MOST_HEAD_BYTES, backlog=512, ssl=self._tls
        )
        self.port = server.sockets[0].getsockname()[1]
        self._is_ready.set()
        await self._stopping.wait()
        server.close()
        for writer in writers:
            writer.transport.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
