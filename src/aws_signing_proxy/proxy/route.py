"""Where requests go, and as whom they are signed. One route today; a table of them is to come."""

from __future__ import annotations

from aws_signing_proxy.credentials.store import CredentialStore
from aws_signing_proxy.proxy.rewrite import HeadRewriter
from aws_signing_proxy.proxy.service_clock import ServiceClock
from aws_signing_proxy.sigv4.payloads import PayloadRules, PayloadSetting
from aws_signing_proxy.upstream.upstream import Upstream

__all__ = ["Route"]

_HOLD_ALL = PayloadRules(service="", is_tls=False, setting=PayloadSetting.SIGNED, memory_limit_bytes=0)


class Route:
    """The target of a request: its upstream and its clock, the credentials, the head, and how bodies are signed."""

    __slots__ = ("clock", "credentials", "payload", "rewriter", "upstream")

    def __init__(
        self,
        *,
        upstream: Upstream,
        credentials: CredentialStore,
        rewriter: HeadRewriter,
        payload: PayloadRules = _HOLD_ALL,
    ) -> None:
        self.upstream = upstream
        self.clock = ServiceClock(upstream.address)
        self.credentials = credentials
        self.rewriter = rewriter
        self.payload = payload
