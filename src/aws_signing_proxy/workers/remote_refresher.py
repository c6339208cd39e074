"""What stands for the refresher in a worker: passes on what requests want, and knows what the supervisor has said.

The one that fetches is in the supervisor, so there is one fetch at a time whoever wants it, and one back-off, one
circuit breaker, one log line about it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.credentials.outlook import Outlook
from aws_signing_proxy.credentials.refresher import Holder
from aws_signing_proxy.workers.channel import Message

__all__ = ["RemoteRefresher"]


class RemoteRefresher:
    """See `Renewer`. `send` reaches the supervisor. `generation` numbers the credentials that it has sent."""

    def __init__(self, send: Callable[[Message], None], outlook: Outlook) -> None:
        self.outlook = outlook
        self.generation = 0
        self._send = send
        self._has_wanted = False
        # The generation that the supervisor has been told of, until it has answered.
        self._asked: int | None = None
        self._is_coming = False

    def __repr__(self) -> str:
        return f"<RemoteRefresher of {self.outlook.provider} generation {self.generation}>"

    @property
    def is_renewing(self) -> bool:
        """Whether others than those in use are on their way, or may be: the supervisor has been asked."""
        return self._asked is not None or self._is_coming

    def monotonic(self) -> float:
        """Return the time by which the outlook is read; the same in all processes."""
        return time.monotonic()

    async def start(self, holder: Holder) -> None:
        """Do nothing: the supervisor begins."""

    async def stop(self) -> None:
        """Do nothing: the supervisor ends."""

    def order(self) -> None:
        """Do nothing: an operator's signal reaches the supervisor."""

    def want(self) -> None:
        """Let the supervisor know that a request wants credentials: once, until it says something new."""
        if not self._has_wanted:
            self._has_wanted = True
            self._send({"is": "wanted"})

    def reject(self, credentials: Credentials) -> None:  # noqa: ARG002 - those in use; their number is what is sent
        """Let the supervisor know that a service refused those in use; `is_renewing` until it has answered."""
        if self._asked != self.generation:
            self._asked = self.generation
            self._send({"is": "rejected", "generation": self.generation})

    # What the supervisor says

    def on_news(self, outlook: Outlook) -> None:
        """Something has changed."""
        self.outlook = outlook
        self._has_wanted = False

    def on_fetched(self, generation: int | None = None) -> None:
        """A fetch is over; with a new generation, where it brought credentials."""
        self._is_coming = False
        if generation is not None:
            self.generation = generation

    def on_answer(self, generation: int, *, is_renewing: bool) -> None:
        """The supervisor has heard that this generation was rejected; `is_renewing`: others are on their way."""
        if generation == self._asked:
            self._asked = None
        self._is_coming = is_renewing
