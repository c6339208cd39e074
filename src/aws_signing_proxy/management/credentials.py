"""What the management port tells about the credentials: never a secret, and of the access key id four characters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aws_signing_proxy.credentials.model import utc
from aws_signing_proxy.credentials.refresher import Refresher
from aws_signing_proxy.credentials.store import CredentialStore
from aws_signing_proxy.observe.counters import Distribution

__all__ = ["CredentialFigures", "credentials_report"]


def credentials_report(store: CredentialStore, refresher: Refresher, waiting: int, now: float) -> dict[str, Any]:
    """Return the document of `/status/credentials`, for JSON.

    `waiting` is how many requests wait for credentials, `now` is in seconds since the epoch.
    """
    held = store.held
    last = refresher.last_fetch
    in_use = None
    if held is not None:
        in_use = {
            "source": held.source,
            "access_key_id": held.shown_id,
            "kind": "temporary" if held.session_token else "long-term",
            "expires_at": None if held.expires_at is None else utc(held.expires_at),
            "expires_in_seconds": None if held.expires_at is None else round(held.expires_at - now, 3),
            "refresh_at": None if refresher.refresh_at is None else utc(refresher.refresh_at),
        }
    open_seconds = refresher.seconds_until_breaker_closes
    return {
        "provider": refresher.provider.name,
        "valid": held is not None and not held.is_expired(now),
        "problem": store.problem,
        "in_use": in_use,
        "last_fetch": None
        if last is None
        else {"at": utc(last.at), "outcome": str(last.outcome), "reason": last.reason},
        "fetching": refresher.is_fetching,
        "next_try_in_seconds": _rounded(refresher.seconds_until_retry),
        "waiting_requests": waiting,
        "circuit_breaker": {
            "state": str(refresher.breaker.state),
            "tries_again_in_seconds": _rounded(open_seconds),
            "counts": dict(refresher.breaker.counts),
        },
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


class CredentialFigures:
    """The same for metrics: what `observe.exposition` asks (see its `CredentialsState`)."""

    def __init__(self, store: CredentialStore, refresher: Refresher) -> None:
        self._store = store
        self._refresher = refresher

    @property
    def is_valid(self) -> bool:
        """Whether there are credentials that have not expired."""
        return self._store.is_valid

    @property
    def expires_at(self) -> float | None:
        """When the credentials expire, in seconds since the epoch; None where that is unknown or there are none."""
        return self._store.expires_at

    @property
    def source(self) -> str:
        """What the source is called."""
        return self._refresher.provider.name

    @property
    def fetches(self) -> Mapping[str, int]:
        """How many fetches ended in which way."""
        return self._refresher.ledger.fetches

    @property
    def rejections_total(self) -> int:
        """How often the service refused the credentials themselves."""
        return self._refresher.ledger.rejections_total

    def durations(self) -> Mapping[str, Distribution]:
        """Return how long fetches and their steps took, by step."""
        return self._refresher.ledger.durations()

    @property
    def breaker_state(self) -> str:
        """The circuit breaker's state."""
        return str(self._refresher.breaker.state)

    @property
    def breaker_counts(self) -> Mapping[str, int]:
        """What the circuit breaker counted since its state last changed."""
        return self._refresher.breaker.counts
