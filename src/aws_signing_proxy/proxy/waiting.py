"""A request that waits for what it needs: something to sign with, a connection; each within its own time."""

from __future__ import annotations

from aws_signing_proxy.errors import ProxyError
from aws_signing_proxy.observe.counters import Limit
from aws_signing_proxy.proxy.context import Context
from aws_signing_proxy.proxy.roles import Client, WaitingExchange
from aws_signing_proxy.upstream.upstream import ConnectionWaiter

__all__ = ["wait_for_connection", "wait_for_credentials"]


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


def wait_for_connection(context: Context, client: Client, request: ConnectionWaiter) -> None:
    """Let a request wait until a connection is free, or opened for it."""
    upstream = context.route.upstream
    # While a connection is being opened, the connect timeout is the limit.
    seconds = context.limits.upstream_wait_timeout_seconds if upstream.is_full else float("inf")
    client.wait_at_most(seconds, Limit.UPSTREAM_CONNECTIONS)
    upstream.wait(request)
