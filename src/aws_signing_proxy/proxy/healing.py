"""What is sent again: a request that the service refused for its time or its credentials, once for each.

Credentials that IAM has made a moment ago may be unknown to the service though nothing is wrong with them: what they
signed is sent again after a pause, and again, for as long as a request waits for credentials.

The service refused it before doing anything, so any method may be sent again. The answer is withheld meanwhile
(`ResponseRelay`), and goes to the client after all where there is nothing better to sign with.
"""

from __future__ import annotations

from typing import Final

from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.errors import InternalError, ProxyError, Retry
from aws_signing_proxy.http1.request import RequestHead
from aws_signing_proxy.observe.counters import Limit, SentAgain
from aws_signing_proxy.observe.logs import get_logger
from aws_signing_proxy.proxy.context import Context
from aws_signing_proxy.proxy.roles import Client, RefusedExchange
from aws_signing_proxy.proxy.signing import usable_credentials
from aws_signing_proxy.sigv4.refusals import Refusal
from aws_signing_proxy.upstream.connection import UpstreamConnection

__all__ = ["EVERY_REFUSAL", "NOT_SENT_AGAIN", "Healing", "may_repeat"]

_LOG: Final = get_logger(__name__)

NOT_SENT_AGAIN: Final[frozenset[Refusal]] = frozenset()
"""The refusals for which a request has been sent again, at first."""
EVERY_REFUSAL: Final = frozenset(Refusal)
"""Those after which a streamed one is not sent again once something of its body is gone."""
# While a service does not know fresh credentials yet: each pause is longer than the one before.
_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 2.0
_GROWTH: Final = 1.5
# RFC 9110 section 9.2.2: what may be sent again when it is not known whether it has been carried out.
_IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS"})


def may_repeat(error: ProxyError, connection: UpstreamConnection, request: RequestHead) -> bool:
    """Return whether a request whose connection was closed without an answer may be sent once more."""
    on_reused = error.retry is Retry.ON_REUSED_CONNECTION and connection.is_reused
    return on_reused and request.method in _IDEMPOTENT


class Healing:
    """Decides what becomes of an exchange that was refused; waits for other credentials (see `Waiter`)."""

    __slots__ = ("_client", "_context", "_exchange", "_is_pausing", "_patience_ends", "_pause", "_refused", "_spent")

    def __init__(self, context: Context, client: Client, exchange: RefusedExchange) -> None:
        self._context = context
        self._client = client
        self._exchange = exchange
        # While others are waited for.
        self._refused: Credentials | None = None
        # Instead of that: for the service to know those that were refused.
        self._is_pausing = False
        self._pause = _FIRST_PAUSE_SECONDS
        self._patience_ends: float | None = None
        self._spent = NOT_SENT_AGAIN

    def sent_again(self, credentials: Credentials | None) -> frozenset[Refusal]:
        """The refusals for which the request is not sent again any more, where it is signed with `credentials`."""
        if credentials is not None and self._is_settling(credentials):
            return self._spent - {Refusal.CREDENTIALS}
        return self._spent

    def begin(self, refusal: Refusal, credentials: Credentials) -> None:
        """The service refused what was signed with `credentials`; the clock, or their store, has been told."""
        if refusal is Refusal.CLOCK_SKEW or self._has_others(credentials):
            self._spent |= {refusal}
            self._send_again(refusal)
            return
        store, patience = self._context.route.credentials, self._context.limits.credentials_wait_timeout_seconds
        if self._is_settling(credentials):
            self._let_settle(credentials, patience)
            return
        self._spent |= {refusal}
        if not store.is_renewing or not patience:
            self._exchange.pass_on()
            return
        self._refused = credentials
        self._client.wait_at_most(patience, Limit.CREDENTIALS_WAIT)
        store.wait(self)

    def _is_settling(self, credentials: Credentials) -> bool:
        return credentials.is_settling(self._context.wall_clock())

    def _let_settle(self, credentials: Credentials, patience: float) -> None:
        """Wait a moment, and try the same credentials again; pass the answer on when the patience is over."""
        now = self._context.clock()
        if self._patience_ends is None:
            self._patience_ends = now + patience
            _LOG.debug("the service does not know new credentials yet", access_key_id=credentials.shown_id)
        left = self._patience_ends - now
        if left <= 0:
            if patience:
                self._context.counters.limits_hit[Limit.CREDENTIALS_WAIT] += 1
            self._exchange.pass_on()
            return
        self._refused, self._is_pausing = credentials, True
        self._client.wait_at_most(min(self._pause, left), Limit.CREDENTIALS_WAIT)
        self._pause = min(self._pause * _GROWTH, _LONGEST_PAUSE_SECONDS)

    def on_credentials(self) -> None:
        """A fetch is over (see `Waiter`): its credentials may be those that were refused."""
        refused, self._refused = self._refused, None
        has_paused, self._is_pausing = self._is_pausing, False
        if refused is None:
            return
        try:
            if has_paused or self._has_others(refused):
                self._send_again(Refusal.CREDENTIALS)
            else:
                self._exchange.pass_on()
        except Exception:  # noqa: BLE001 - it is logged, and ends this exchange only
            self._exchange.fail_unexpectedly("a refused request could not be sent again")

    def on_credentials_failed(self, error: InternalError) -> None:  # noqa: ARG002 - the service's answer says it
        """There will be none soon (see `Waiter`)."""
        self.on_credentials()

    def on_deadline(self) -> None:
        """Credentials took too long, or a pause is over."""
        if self._is_pausing:
            self.on_credentials()
            return
        self._context.counters.limits_hit[Limit.CREDENTIALS_WAIT] += 1
        self._context.route.credentials.leave(self)
        self.on_credentials()

    @property
    def is_waiting(self) -> bool:
        """Whether other credentials are waited for."""
        return self._refused is not None

    def stop(self) -> None:
        """The exchange is over, one way or the other."""
        if self._refused is not None:
            self._refused, self._is_pausing = None, False
            self._context.route.credentials.leave(self)

    def _has_others(self, refused: Credentials) -> bool:
        usable = usable_credentials(self._context)
        if usable is None:
            return False
        return (usable.access_key_id, usable.session_token) != (refused.access_key_id, refused.session_token)

    def _send_again(self, refusal: Refusal) -> None:
        self._context.counters.retries[SentAgain(refusal.value)] += 1
        _LOG.debug("the service refused a request; it is sent again", cause=refusal.value)
        self._exchange.send_again()
