"""Signing with the credentials of this instant: the one place where a request meets them."""

from __future__ import annotations

from time import perf_counter

from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.proxy.context import Context
from aws_signing_proxy.proxy.encoders import BodyEncoder
from aws_signing_proxy.proxy.payload_plan import StreamPlan
from aws_signing_proxy.proxy.record import RequestRecord
from aws_signing_proxy.proxy.rewrite import PreparedHead

__all__ = ["sign", "sign_streamed", "usable_credentials"]


def usable_credentials(context: Context) -> Credentials | None:
    """Return the credentials of this instant; None where there are none to sign with."""
    store = context.route.credentials
    credentials = store.current
    if credentials is not None:
        expires_at = credentials.expires_at
        if expires_at is None or context.wall_clock() < expires_at:
            return credentials
    return store.usable(context.wall_clock())


def sign(  # noqa: PLR0917 - by place: it is called for each request, and names cost time
    context: Context,
    prepared: PreparedHead,
    credentials: Credentials,
    record: RequestRecord,
    body_length: int | None,
    body_sha256: bytes | None,
) -> bytes:
    """Return the head as it goes upstream, signed for this second by the service's clock.

    `body_length`: in bytes; None where there is neither a body nor a length that the client gave.
    """
    began = perf_counter()
    route = context.route
    guess = record.guessed_offset_seconds
    offset = record.offset_seconds = route.clock.offset_seconds if guess is None else guess
    now = record.signed_at = context.wall_clock() + offset
    head = route.rewriter.finish(
        prepared,
        body_length=body_length,
        body_sha256=body_sha256,
        identity=credentials,
        now=now,
    )
    record.signing_seconds = perf_counter() - began
    return head


def sign_streamed(
    context: Context, prepared: PreparedHead, plan: StreamPlan, credentials: Credentials, record: RequestRecord
) -> tuple[bytes, BodyEncoder]:
    """Return the head of a body that is streamed, signed as `sign` does, and what its bytes go through."""
    began = perf_counter()
    route = context.route
    guess = record.guessed_offset_seconds
    offset = record.offset_seconds = route.clock.offset_seconds if guess is None else guess
    now = record.signed_at = context.wall_clock() + offset
    head, chunk_signer = route.rewriter.finish_streamed(prepared, plan, identity=credentials, now=now)
    record.signing_seconds = perf_counter() - began
    return head, plan.encoder(chunk_signer)
