"""What a source of credentials is, and how it says that it has none.

A provider may be slow, may fail, and may hand out credentials that end. It is asked by the `CredentialStore`
alone, one fetch at a time, never on the path of a request that has valid credentials.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.model import Credentials

__all__ = ["Attempt", "CredentialsUnavailableError", "NothingFoundError", "Provider"]


class Attempt(NamedTuple):
    """One place that was looked at: what it is, why it gave nothing, and what a person can do about it.

    `reason` continues the sentence "<source>: ..."; `advice` is a sentence without its full stop. Neither ever
    holds a value that was read there.
    """

    source: str
    reason: str
    advice: str


class CredentialsUnavailableError(Exception):
    """No credentials: every place that was looked at, in order.

    `is_conclusive` means that the source is configured but broken (half a key pair, an unreadable file), or that its
    server refused (400, 401, 403): asking again at once would not help, and nothing further may be asked, because
    requests would be signed as somebody whom the user did not mean. Not conclusive: nothing there, a server that
    cannot be reached, answers 5xx or not in time. `advice` is what to do about all of it, where that is something else
    than the attempts' own.
    """

    def __init__(self, attempts: tuple[Attempt, ...], *, is_conclusive: bool = False, advice: str = "") -> None:
        super().__init__(attempts)
        self.attempts = attempts
        self.is_conclusive = is_conclusive
        self.advice = advice

    def __str__(self) -> str:
        """One sentence: every place with its reason, and what to do about the one that matters most."""
        if not self.attempts:
            return "no source of credentials is configured"
        places = "; ".join(f"{attempt.source}: {attempt.reason}" for attempt in self.attempts)
        # Where a source is broken that one is to be mended; where all are empty any will do, so the first is advised.
        advised = self.attempts[-1] if self.is_conclusive else self.attempts[0]
        return f"{places} ({self.advice or advised.advice})"

    def explain(self) -> str:
        """Several lines for a terminal: one place each, with what to do below it."""
        if not self.attempts:
            return "no source of credentials is configured"
        return "\n".join(f"- {source}: {reason}\n  {advice}" for source, reason, advice in self.attempts)


class NothingFoundError(CredentialsUnavailableError):
    """No place that was looked at has any credentials, and none of them failed: there is nothing to wait for."""


class Provider(Protocol):
    """A source of credentials. Its methods block, and are called by one thread at a time."""

    @property
    def name(self) -> str:
        """What the source is called in logs, metrics and settings ("awstoken")."""

    @property
    def is_local(self) -> bool:
        """Whether the next `retrieve` asks nobody but this process's environment and files. Cheap.

        It is then called in the event loop, at once, with a `Fetch` that says so, and must keep to it; otherwise in a
        thread, behind a circuit breaker.
        """

    def retrieve(self, fetch: Fetch) -> Credentials:
        """Return credentials as the source has them now. The caller checks whether they have expired.

        `fetch` says how much time there is and whether kept ones will do, and is told what happens. Every wait of a
        remote source is bounded by `fetch.timeout_seconds`.

        Raises:
            CredentialsUnavailableError: The source has none, or could not be asked; with the reasons.
        """

    def has_changed(self) -> bool:
        """Whether the source may hold others than at the last fetch. Cheap; False where only asking would tell."""

    def close(self, fetch: Fetch) -> None:
        """Give back what was lent (leases, tokens), as far as that succeeds in the time that `fetch` has. Once."""
