"""Signing with the credentials of this instant: the one place where a request meets them."""

from __future__ import annotations

from time import perf_counter

from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.errors import ProxyError
from aws_signing_proxy.observe.counters import Limit
from aws_signing_proxy.proxy.context import Context
from aws_signing_proxy.proxy.record import RequestRecord
from aws_signing_proxy.proxy.rewrite import PreparedHead
from aws_signing_proxy.proxy.roles import Client, WaitingExchange

__all__ = ["sign", "usable_credentials", "wait_for_credentials"]


def usable_credentials(context: Context) -> Credentials | None:
    """Return the credentials of this instant; None where there are none to sign with."""
    store = context.route.credentials
    credentials = store.current
    now = context.wall_clock()
    if credentials is None or credentials.is_expired(now):
        return store.usable(now)
    return credentials


def wait_for_credentials(context: Context, client: Client, request: WaitingExchange) -> None:
    """Let a request wait until there are credentials, or answer it where none will come soon."""
    store = context.route.credentials
    try:
        store.check_worth_waiting(context.wall_clock())
    except ProxyError as error:
        request.fail(error)
        return
    client.wait_at_most(context.limits.credentials_wait_timeout_seconds, Limit.CREDENTIALS_WAIT)
    store.wait(request)


def sign(  # noqa: PLR0917 - by place: it is called for each request, and names cost time
    context: Context,
    prepared: PreparedHead,
    credentials: Credentials,
    record: RequestRecord,
    body_length: int,
    body_sha256: bytes | None,
) -> bytes:
    """Return the head as it goes upstream, signed for this second."""
    began = perf_counter()
    head = context.route.rewriter.finish(
        prepared,
        body_length=body_length,
        body_sha256=body_sha256,
        identity=credentials,
        now=context.wall_clock(),
    )
    record.signing_seconds = perf_counter() - began
    return head
