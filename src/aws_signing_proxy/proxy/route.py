"""Where requests go, and as whom they are signed. One route today; a table of them is to come."""

from __future__ import annotations

from aws_signing_proxy.credentials.store import CredentialStore
from aws_signing_proxy.proxy.rewrite import HeadRewriter
from aws_signing_proxy.proxy.service_clock import ServiceClock
from aws_signing_proxy.upstream.upstream import Upstream

__all__ = ["Route"]


class Route:
    """The target of a request: its upstream with its clock, the credentials to sign with, the head that it gets."""

    __slots__ = ("clock", "credentials", "rewriter", "upstream")

    def __init__(self, *, upstream: Upstream, credentials: CredentialStore, rewriter: HeadRewriter) -> None:
        self.upstream = upstream
        self.clock = ServiceClock(upstream.address)
        self.credentials = credentials
        self.rewriter = rewriter
