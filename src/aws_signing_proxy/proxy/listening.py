"""The sockets that clients connect to: taken once, before anything else runs, and shared by all who accept.

There is one accept queue, whoever takes from it. A connection in it belongs to nobody yet, so nothing that happens to
one worker can lose it (docs/decisions/0009-workers.md).
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from pathlib import Path

__all__ = ["Listeners"]

_BACKLOG = 2048


class Listeners:
    """The sockets of one address, bound and not yet listened on. `close` gives them back, for every process."""

    def __init__(self, sockets: list[socket.socket], unix_path: str | None = None) -> None:
        self.sockets = sockets
        self._unix_path = unix_path

    @classmethod
    def tcp(cls, host: str, port: int) -> Listeners:
        """Take a TCP port on all addresses of `host`; 0 means any free one. Raises OSError."""
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        sockets: list[socket.socket] = []
        try:
            for family, kind, protocol, _, address in dict.fromkeys(found):
                # What was free for the first address is asked for on the others, so that there is one port.
                taken = port or (int(sockets[0].getsockname()[1]) if sockets else 0)
                listener = _socket(family, kind, protocol)
                if listener is None:
                    continue
                sockets.append(listener)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listener.bind((address[0], taken, *address[2:]))
        except BaseException:
            for listener in sockets:
                listener.close()
            raise
        if not sockets:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        return cls(sockets)

    @classmethod
    def unix(cls, path: str) -> Listeners:
        """Take a Unix socket, replacing one that nobody listens on any more. Raises OSError."""
        _remove_stale_socket(path)
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.setblocking(False)
            listener.bind(path)
        except BaseException:
            listener.close()
            raise
        return cls([listener], path)

    @property
    def port(self) -> int:
        """The TCP port; 0 where it is a Unix socket."""
        address = self.sockets[0].getsockname()
        return int(address[1]) if isinstance(address, tuple) else 0

    def listen(self) -> None:
        """Let clients connect. May be called by each who accepts."""
        for listener in self.sockets:
            listener.listen(_BACKLOG)

    def let_go(self) -> None:
        """Close this process's hold on them."""
        for listener in self.sockets:
            listener.close()

    def shut(self) -> None:
        """Refuse clients from now on, also where another process still holds the sockets, and close them.

        A Unix socket's file stays where it is: another proxy may have made its own there by now.
        """
        for listener in self.sockets:
            # OSError: it was never listened on, or is closed already.
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
        self.let_go()

    def close(self) -> None:
        """Refuse clients as `shut` does, and remove the file."""
        self.shut()
        if self._unix_path is not None:
            with contextlib.suppress(OSError):
                Path(self._unix_path).unlink()
            self._unix_path = None


def _socket(family: int, kind: int, protocol: int) -> socket.socket | None:
    try:
        listener = socket.socket(family, kind, protocol)
    except OSError:
        return None  # the machine has a name of that family, and does not speak it
    listener.setblocking(False)
    return listener


def _remove_stale_socket(path: str) -> None:
    """Remove the socket file of a process that is gone; leave anything that is no socket.

    Raises OSError where a process listens on it.
    """
    try:
        if not stat.S_ISSOCK(Path(path).stat().st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
            return
        except BlockingIOError:
            pass  # it listens, and has no time
    raise OSError(errno.EADDRINUSE, f"Another process listens on {path}")
