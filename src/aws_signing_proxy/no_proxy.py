"""NO_PROXY: what is connected to without a proxy. Pure: a text in, an answer out.

Read in one way for all connections, to the service and to whom credentials are fetched from. It is no standard: here it
means what curl (https://everything.curl.dev/usingcurl/proxies/env.html) and Go
(https://pkg.go.dev/golang.org/x/net/http/httpproxy) agree on; where they differ, what Go does, as the original proxy is
a Go program.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

__all__ = ["NoProxy", "is_on_this_machine"]

_MAX_PORT = 65535
_SEPARATORS = re.compile(r"[,\s]+")
_PORT_OF_ENTRY = re.compile(r"(?P<host>\[[^\]]*\]|[^:]*)(?::(?P<port>[0-9]{1,5}))?")

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class _Entry:
    """One of the list: a name, with or without what is below it, or a network; for one port or for all."""

    name: str = ""
    is_itself: bool = True
    network: _Network | None = None
    port: int | None = None

    def covers(self, host: str, port: int) -> bool:
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            return _is_in(host, self.network)
        return (self.is_itself and host == self.name) or host.endswith(f".{self.name}")


@dataclass(frozen=True, slots=True, repr=False)
class NoProxy:
    """What is connected to without a proxy. `unknown`: words of the list that cover nothing."""

    text: str
    is_everything: bool = False
    entries: tuple[_Entry, ...] = ()
    unknown: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return self.text

    @classmethod
    def parse(cls, text: str) -> NoProxy:
        """Read the list. Nothing is refused in it: it is shared with programs that understand other words."""
        words = [word for word in _SEPARATORS.split(text.strip()) if word]
        entries = {word: _entry(word) for word in words if word != "*"}
        return cls(
            ",".join(words),
            "*" in words,
            tuple(entry for entry in entries.values() if entry is not None),
            tuple(word for word, entry in entries.items() if entry is None),
        )

    def covers(self, host: str, port: int) -> bool:
        """Whether `host` (in lower case, IPv6 without brackets) is connected to without a proxy."""
        host = host.rstrip(".")
        return self.is_everything or any(entry.covers(host, port) for entry in self.entries)


def _entry(word: str) -> _Entry | None:
    if network := _network(word):
        return _Entry(network=network)
    matched = _PORT_OF_ENTRY.fullmatch(word)
    port = None if matched is None or matched["port"] is None else int(matched["port"])
    if matched is None or port == 0 or (port or 0) > _MAX_PORT:
        return None
    host = matched["host"]
    if network := _network(host.removeprefix("[").removesuffix("]")):
        return _Entry(network=network, port=port)
    # A dot in front, or *., leaves the name itself out (Go); without it the name is meant, and all below it.
    name = host.removeprefix("*").lower().rstrip(".")
    is_itself = not name.startswith(".")
    name = name.removeprefix(".")
    if not re.fullmatch(r"[a-z0-9_.-]+", name):
        return None
    return _Entry(name=name, is_itself=is_itself, port=port)


def _network(text: str) -> _Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _is_in(host: str, network: _Network) -> bool:
    try:
        return ipaddress.ip_address(host) in network
    except ValueError:
        return False  # a name: it is not resolved for this


def is_on_this_machine(host: str) -> bool:
    """Whether a name or address is of this machine itself (RFC 6761 section 6.3): no proxy could reach it for us."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        name = host.rstrip(".")
        return name == "localhost" or name.endswith(".localhost")
