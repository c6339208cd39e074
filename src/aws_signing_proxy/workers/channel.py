"""What supervisor and worker say to each other: JSON, one object a line, over a socket pair that both inherit.

Secrets go this way and no other: not in arguments, not in the environment, not in memory that has a name.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any, Final, TypeAlias, cast

from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.credentials.outlook import Outlook

__all__ = ["Channel", "Message", "credentials_from", "credentials_to", "outlook_from", "outlook_to"]

Message: TypeAlias = dict[str, Any]

# Whoever has left so much unread does not read any more: a message has some hundred bytes, credentials a few thousand.
_MOST_UNREAD_BYTES: Final = 1 << 20
_LONGEST_MESSAGE_BYTES: Final = 1 << 20


class Channel(asyncio.Protocol):
    """One end. `on_message` takes what the other end says, `on_closed` is called once, when it is gone."""

    def __init__(self, on_message: Callable[[Message], None], on_closed: Callable[[], None]) -> None:
        self._on_message = on_message
        self._on_closed = on_closed
        self._transport: asyncio.WriteTransport | None = None
        self._unfinished = b""

    async def open(self, sock: socket.socket) -> None:
        """Use `sock`, which belongs to the channel from now on. What comes may be heard before this returns."""
        sock.setblocking(False)
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=sock)

    def __repr__(self) -> str:
        return f"<Channel {'closed' if self._transport is None else 'open'}>"

    @property
    def is_stuck(self) -> bool:
        """Whether the other end has long stopped to read."""
        return self._transport is not None and self._transport.get_write_buffer_size() > _MOST_UNREAD_BYTES

    def send(self, message: Message) -> None:
        """Say something; dropped where the other end is gone."""
        if self._transport is not None:
            self._transport.write(json.dumps(message).encode("ascii") + b"\n")

    def close(self) -> None:
        """Close this end at once."""
        if self._transport is not None:
            self._transport.abort()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport (asyncio.BaseProtocol)."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """Take what was read (asyncio.Protocol)."""
        *lines, self._unfinished = (self._unfinished + data).split(b"\n")
        if len(self._unfinished) > _LONGEST_MESSAGE_BYTES:
            self.close()
            return
        for line in lines:
            self._on_message(json.loads(line))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - however it ended
        """The other end is gone (asyncio.BaseProtocol)."""
        self._transport = None
        self._unfinished = b""
        self._on_closed()


def credentials_to(credentials: Credentials) -> Message:
    """Return the credentials as they are sent."""
    return {
        "access_key_id": credentials.access_key_id,
        "secret_access_key": credentials.secret_access_key,
        "session_token": credentials.session_token,
        "expires_at": credentials.expires_at,
        "source": credentials.source,
        "fresh_since": credentials.fresh_since,
    }


def credentials_from(message: Message) -> Credentials:
    """Return what `credentials_to` was given, without what only the one that fetches needs."""
    return Credentials(
        message["access_key_id"],
        message["secret_access_key"],
        message["session_token"],
        expires_at=message["expires_at"],
        source=message["source"],
        fresh_since=message["fresh_since"],
    )


def outlook_to(outlook: Outlook) -> Message:
    """Return the outlook as it is sent."""
    return outlook._asdict()


def outlook_from(message: Message) -> Outlook:
    """Return what `outlook_to` was given."""
    return Outlook(**message)
