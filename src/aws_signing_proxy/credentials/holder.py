"""What the refresher tells, and whom: who holds the credentials, the log, and how the last fetch ended."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from aws_signing_proxy.credentials.ledger import FetchOutcome
from aws_signing_proxy.credentials.model import Credentials

__all__ = ["Holder", "LastFetch", "Logger"]


class Logger(Protocol):
    """What the store needs of a logger: an event, and fields beside it. Satisfied by structlog's loggers."""

    def info(self, event: str, **fields: Any) -> Any:
        """Log what went well."""

    def warning(self, event: str, **fields: Any) -> Any:
        """Log what people should look at."""

    def error(self, event: str, **fields: Any) -> Any:
        """Log what stops requests from being served."""


class LastFetch(NamedTuple):
    """How the last fetch ended: when (seconds since the epoch), how, and why it failed, where it did."""

    at: float
    outcome: FetchOutcome
    reason: str | None


class Holder(Protocol):
    """Who holds the credentials that requests are signed with."""

    @property
    def held(self) -> Credentials | None:
        """Those in use, expired ones too."""

    def accept(self, fetched: Credentials) -> None:
        """Use these from now on. They may have expired, where there are no better ones."""

    def on_begun(self) -> None:
        """A fetch begins; one of the others follows."""

    def set_aside(self) -> None:
        """Let the next request ask for the credentials in use, as the sign that they are worth renewing."""

    def on_failed(self, *, is_hopeless: bool) -> None:
        """A fetch brought nothing; `is_hopeless`: the next try will not be in time for those who wait, or not help."""
