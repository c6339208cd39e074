"""A connector whose connections stand on fake transports."""

from __future__ import annotations

import asyncio

from aws_signing_proxy.upstream.connection import ConnectionOwner, UpstreamConnection
from aws_signing_proxy.upstream.connector import Connector, UpstreamAddress
from tests.upstream.fake_transport import FakeTransport

__all__ = ["FakeConnector"]


class FakeConnector(Connector):
    """Opens connections at once, or when a test resolves the future that stands for each in `asked`."""

    def __init__(self, *, high_water: int | None = None) -> None:
        super().__init__(UpstreamAddress("service.test", 80), None, connect_timeout_seconds=1.0)
        self._high_water = high_water
        self.asked: list[asyncio.Future[None]] = []
        self.transports: list[FakeTransport] = []
        self.opens_at_once = True
        self.closes_at_once = False

    async def connect(self, owner: ConnectionOwner) -> UpstreamConnection:
        asked = asyncio.get_running_loop().create_future()
        self.asked.append(asked)
        if not self.opens_at_once:
            await asked
        connection = UpstreamConnection(owner, None)
        transport = FakeTransport(connection, high_water=self._high_water)
        connection.connection_made(transport)
        self.transports.append(transport)
        if self.closes_at_once:
            connection.eof_received()
        return connection
