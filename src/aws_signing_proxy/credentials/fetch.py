"""One fetch of credentials on its way: how much time it has, how long its steps took, which secrets it met.

A provider is handed a `Fetch` for each time that it is asked. It measures, remembers and redacts; it decides nothing.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Final, NamedTuple

__all__ = ["LONGEST_TEXT", "Fetch", "Note", "Step", "StepTime"]

# Of what a server says about an error, in characters; a page of HTML helps nobody.
LONGEST_TEXT: Final = 400
_SHORTEST_TIMEOUT_SECONDS: Final = 0.05


class Step(StrEnum):
    """The servers that a fetch may have to ask, one step each: a metric's label."""

    AUTHORIZATION_SERVER = "authorization_server"
    VAULT = "vault"
    STS = "sts"
    SDK = "sdk"
    """The AWS SDK's own chain, which asks whom it must."""


class StepTime(NamedTuple):
    """How long a step took, in seconds, and whether it ended well."""

    step: Step
    seconds: float
    is_success: bool


class Note(NamedTuple):
    """Something that happened on the way: what was asked, and what came of it. For `check`; holds no secret."""

    source: str
    text: str


def _keep_nothing(_secret: str) -> None:
    """Stand in where nobody writes logs."""


def _show_all(text: str) -> str:
    """Stand in where no secret is known."""
    return text


def _log_nothing(_note: Note) -> None:
    """Stand in where nobody writes logs."""


class Fetch:
    """One fetch. Used by one thread; the time it has began when it was made.

    `is_forced`: what the provider has kept will not do, because the service refused it or an operator asked for new
    ones. `is_refused`: it is a service that said so, and what is in use is of no use any more. `is_local`: the provider
    has said that it will ask nobody, and is called in the event loop. `keep_secret`, `mask` and `log_warning` are the
    log's: a secret is made known before it is used, so that no message, whoever writes it, shows it. They are called by
    the fetch's thread.
    """

    def __init__(
        self,
        *,
        timeout_seconds: float = 20.0,
        is_forced: bool = False,
        is_local: bool = False,
        is_refused: bool = False,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
        keep_secret: Callable[[str], None] = _keep_nothing,
        mask: Callable[[str], str] = _show_all,
        log_warning: Callable[[Note], object] = _log_nothing,
    ) -> None:
        self.is_forced = is_forced
        self.is_local = is_local
        self.is_refused = is_refused
        self.steps: list[StepTime] = []
        self.notes: list[Note] = []
        self.warnings: list[Note] = []
        self.secrets: list[str] = []
        self.has_asked = False
        """Whether a server, or a program, was asked for anything."""
        self.retry_after_seconds: float | None = None
        """How long the server that answered last wants to be left alone; None where it does not say so."""
        self._clock = clock
        self._monotonic = monotonic
        self._pause = pause
        self._keep_secret = keep_secret
        self._mask = mask
        self._log_warning = log_warning
        self._ends_at = monotonic() + timeout_seconds

    def now(self) -> float:
        """Return the time in seconds since the epoch."""
        return self._clock()

    @property
    def remaining_seconds(self) -> float:
        """How much of the fetch's time is left; zero when it is over."""
        return max(0.0, self._ends_at - self._monotonic())

    def timeout_seconds(self, at_most: float) -> float:
        """Return how long the next wait may take: `at_most`, or what is left; never zero, which libraries misread."""
        return max(_SHORTEST_TIMEOUT_SECONDS, min(at_most, self.remaining_seconds))

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond the fetch's time."""
        self._pause(min(seconds, self.remaining_seconds))

    @contextlib.contextmanager
    def step(self, step: Step) -> Iterator[None]:
        """Measure what is done inside the `with` statement, whether it succeeds or raises."""
        began = self._monotonic()
        is_success = False
        try:
            yield
            is_success = True
        finally:
            self.steps.append(StepTime(step, self._monotonic() - began, is_success))

    def secret(self, value: str) -> str:
        """Make a secret known, so that it is shown nowhere from now on; return it."""
        if value:
            self.secrets.append(value)
            self._keep_secret(value)
        return value

    def note(self, source: str, text: str) -> None:
        """Remember something that went well."""
        self.notes.append(Note(source, self.shown(text)))

    def warn(self, source: str, text: str) -> None:
        """Remember something that people have to look at though the fetch goes on, and log it at once."""
        note = Note(source, self.shown_whole(text))
        self.notes.append(note)
        self.warnings.append(note)
        self._log_warning(note)

    def shown(self, text: str) -> str:
        """Return what a server or a library said as it may be shown: one line, without secrets, not too long."""
        line = self.shown_whole(text)
        return line if len(line) <= LONGEST_TEXT else f"{line[:LONGEST_TEXT]}..."

    def shown_whole(self, text: str) -> str:
        """Return a text of ours in one line, without secrets."""
        line = " ".join(self._mask(text).split())
        return "".join(character if character.isprintable() else "?" for character in line)
