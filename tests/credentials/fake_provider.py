"""A source of credentials that does what a test tells it to, and numbers each set that it gives."""

from __future__ import annotations

import threading
from collections.abc import Callable

from aws_signing_proxy.credentials.fetch import Fetch, Step
from aws_signing_proxy.credentials.model import STS_LEAD_SECONDS, Credentials
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError

__all__ = ["FakeProvider", "numbered", "unavailable"]

_LONGEST_SECONDS = 30.0


def numbered(
    number: int = 1, *, expires_at: float | None = None, lead_seconds: float = STS_LEAD_SECONDS
) -> Credentials:
    """Return the set of that number: its key id, secret and token all end in it."""
    return Credentials(
        f"AKIA-{number}",
        f"planted-secret-{number}",
        f"planted-token-{number}",
        expires_at=expires_at,
        source=f"source {number}",
        lead_seconds=lead_seconds,
    )


def unavailable(reason: str = "it is empty", *, is_conclusive: bool = False) -> CredentialsUnavailableError:
    """Return the error of a source that has none."""
    return CredentialsUnavailableError((Attempt("the source", reason, "Fill it"),), is_conclusive=is_conclusive)


class FakeProvider:
    """Gives set 1, 2, 3, ... each `lifetime_seconds` long (None: without end), or raises `failure`.

    `changed` is what `has_changed` says, or raises, until the next fetch. Between `hang` and `release` a fetch does
    not come back. `forced` and `refused` have what each fetch was told. Where it `makes_users`, each set
    is fresh. `on_retrieve` is called in each fetch, by its thread.
    """

    name = "fake"

    def __init__(self, *, is_local: bool = False, lifetime_seconds: float | None = 3600.0) -> None:
        self.is_local = is_local
        self.lifetime_seconds = lifetime_seconds
        self.lead_seconds = STS_LEAD_SECONDS
        self.failure: BaseException | None = None
        self.changed: bool | Exception = False
        self.given = 0
        self.forced: list[bool] = []
        self.refused: list[bool] = []
        self.makes_users = False
        self.closes = 0
        self.looks = 0
        self.most_at_once = 0
        self.threads: set[int] = set()
        self.is_hanging = False
        self.asks = not is_local
        """Whether it asks a server before it fails."""
        self.on_retrieve: Callable[[Fetch], object] | None = None
        self._at_once = 0
        self._gate = threading.Event()
        self._gate.set()

    @property
    def fetches(self) -> int:
        """How often it was asked."""
        return len(self.forced)

    def hang(self) -> None:
        """Let no fetch come back from now on."""
        self._gate.clear()

    def release(self) -> None:
        """Let them come back."""
        self.is_hanging = False
        self._gate.set()

    def retrieve(self, fetch: Fetch) -> Credentials:
        """Give the next set (see `Provider`)."""
        self.forced.append(fetch.is_forced)
        self.refused.append(fetch.is_refused)
        self.threads.add(threading.get_ident())
        self.changed = False
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            with fetch.step(Step.STS):
                return self._retrieve(fetch)
        finally:
            self._at_once -= 1

    def _retrieve(self, fetch: Fetch) -> Credentials:
        fetch.has_asked = self.asks
        if self.on_retrieve is not None:
            self.on_retrieve(fetch)
        if not self._gate.is_set():
            self.is_hanging = True
            self._gate.wait(_LONGEST_SECONDS)
        if self.failure is not None:
            raise self.failure
        self.given += 1
        expires_at = None if self.lifetime_seconds is None else fetch.now() + self.lifetime_seconds
        credentials = numbered(self.given, expires_at=expires_at, lead_seconds=self.lead_seconds)
        if self.makes_users:
            credentials.fresh_since = fetch.now()
        for secret in credentials.secrets():
            fetch.secret(secret)
        return credentials

    def has_changed(self) -> bool:
        """Say what the test wants, and count (see `Provider`)."""
        self.looks += 1
        if isinstance(self.changed, Exception):
            raise self.changed
        return self.changed

    def close(self, fetch: Fetch) -> None:
        """Count (see `Provider`)."""
        self.closes += 1
        self.most_at_once = max(self.most_at_once, self._at_once + 1)
