"""What is counted about fetches of credentials: plain numbers, read when somebody scrapes."""

from __future__ import annotations

from bisect import bisect_left
from enum import StrEnum
from typing import Final

from aws_signing_proxy.credentials.fetch import Step, StepTime
from aws_signing_proxy.observe.counters import TIME_BUCKETS_SECONDS, Distribution

__all__ = ["WHOLE_FETCH", "FetchOutcome", "Ledger"]

WHOLE_FETCH: Final = "total"


class FetchOutcome(StrEnum):
    """How a fetch ended: a metric's label."""

    SUCCESS = "success"
    REFUSED = "refused"
    """The source is misconfigured, or its server refused: asking again does not help."""
    ABSENT = "absent"
    """There is nothing in any place that was looked at."""
    FAILED = "failed"
    """The source could not be reached, or answered with a failure."""
    TIMEOUT = "timeout"
    """It was given up, or the one before it has not come back."""


class Ledger:
    """Counts fetches by outcome, and times them by step. Written and read in the event loop."""

    def __init__(self) -> None:
        self.fetches: dict[str, int] = dict.fromkeys(FetchOutcome, 0)
        self.rejections_total = 0
        """How often a service said that the credentials are expired or unknown, and new ones were fetched."""
        self._counts = {name: [0] * (len(TIME_BUCKETS_SECONDS) + 1) for name in (WHOLE_FETCH, *Step)}
        self._sums = dict.fromkeys(self._counts, 0.0)

    def count(self, outcome: FetchOutcome, seconds: float | None, steps: list[StepTime]) -> None:
        """Count one fetch that took so long altogether; None where it could not even begin."""
        self.fetches[outcome] += 1
        if seconds is not None:
            self._observe(WHOLE_FETCH, seconds)
        for step in steps:
            self._observe(step.step, step.seconds)

    def _observe(self, name: str, seconds: float) -> None:
        self._counts[name][bisect_left(TIME_BUCKETS_SECONDS, seconds)] += 1
        self._sums[name] += seconds

    def durations(self) -> dict[str, Distribution]:
        """Return the distribution of each step's time and of the whole, for those that ever took place."""
        return {
            name: Distribution(TIME_BUCKETS_SECONDS, tuple(counts), self._sums[name])
            for name, counts in self._counts.items()
            if any(counts)
        }
