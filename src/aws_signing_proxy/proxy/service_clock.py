"""What time it is for the service: the local clock, and how far it is off, as far as the service has shown it.

A service refuses a signature whose time is more than 5 minutes (S3: 15) from its own. Only such a refusal is a reason
to change the time that is signed: a request that was accepted proves that its time was good, whatever `Date` its answer
bears. A `Date` may be wrong (a gateway with a clock of its own stands before the service), so what one refusal names
is on trial until a request signed with it is accepted. Where that is refused as well, what was believed before is in
use again. Neither costs a request more than the one retry that it has.

Where nothing but the `Date` speaks of the time (an answer to HEAD has no words, and some words stand for a wrong time
or wrong credentials alike) what it shows is a guess: for the retry of that request alone, and adopted only where that
is accepted. A policy that forbids, behind a gateway whose clock is wrong, moves nobody's time.

    in use: 0 --refused, Date says +3600--> 3600 on trial --accepted--> 3600 --refused, Date says 0--> 0 on trial ...
                                                 |
                                                 +--refused--> 0

So the offset is forgotten too: when the local clock has been set right, the next refusal names an offset of nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aws_signing_proxy.observe.logs import get_logger

__all__ = ["REFUSED_SECONDS", "SAME_SECONDS", "ServiceClock"]

_LOG: Final = get_logger(__name__)

REFUSED_SECONDS: Final = 240.0
"""How far a time has to be off that a service refuses it: they allow 5 minutes, and a `Date` is not exact."""
SAME_SECONDS: Final = 15.0
"""What is nearer is the same time: a `Date` has whole seconds, and an answer takes its time."""
# No time zone is so far away. Whoever could make us sign for next year would hold signatures that are good next year.
_MOST_SECONDS: Final = 24 * 3600.0
# One warning for each change that is worth one.
_NOTABLE_SECONDS: Final = 30.0


class ServiceClock:
    """The offset of one service's clock from the local one.

    `offset_seconds` is added to the local time to get the time that is signed (never to what expiry is compared with).
    `is_on_trial`: no request that was signed with it has been accepted yet. `name` is the service's, for people.
    """

    __slots__ = ("_believed", "_name", "_said", "is_on_trial", "offset_seconds", "on_proven")

    def __init__(self, name: str) -> None:
        self.on_proven: Callable[[float], None] | None = None
        """Told of each offset that was on trial and proved good: for others who send to the same service."""
        self._name = name
        self._believed = 0.0
        self._said = 0.0
        self.offset_seconds = 0.0
        self.is_on_trial = False

    def __repr__(self) -> str:
        return f"<ServiceClock {self.offset_seconds:+.0f} s{' on trial' if self.is_on_trial else ''}>"

    def on_refused(self, used: float, seen: float | None) -> None:
        """A request that was signed with the offset `used` was refused for its time; the answer shows `seen`, or none.

        Offsets are in seconds, ahead of the local clock.
        """
        if used != self.offset_seconds:
            return  # signed with what is not in use any more
        if self.is_on_trial:
            self.is_on_trial = False
            self.offset_seconds = self._believed
            return
        guess = self.guessed(used, seen)
        if guess is not None:
            self.is_on_trial = True
            self.offset_seconds = guess

    @staticmethod
    def guessed(used: float, seen: float | None) -> float | None:
        """Return the offset to try instead of `used`, where the answer shows `seen`; None where that is no other."""
        if seen is None or abs(seen) > _MOST_SECONDS or abs(seen - used) < SAME_SECONDS:
            return None
        return seen if abs(seen) >= SAME_SECONDS else 0.0

    def on_guess_accepted(self, used: float) -> None:
        """A request that was signed with the guess `used`, and with it alone, was accepted."""
        self.is_on_trial = True
        self.offset_seconds = used
        self.on_accepted(used)

    def on_accepted(self, used: float) -> None:
        """A request that was signed with the offset `used` was accepted."""
        if not self.is_on_trial or used != self.offset_seconds:
            return
        self.is_on_trial = False
        self._believed = used
        if self.on_proven is not None:
            self.on_proven(used)
        if not used:
            _LOG.info("the local clock agrees with the service's again", service=self._name)
        elif abs(used - self._said) >= _NOTABLE_SECONDS:
            _LOG.warning(
                "the local clock is wrong; requests are signed with the service's time",
                service=self._name,
                service_is_ahead_by_seconds=round(used),
            )
        self._said = used

    def adopt(self, offset_seconds: float) -> None:
        """Believe what another process has proved: a request that was signed with this offset was accepted there.

        What is on trial here stays so; where it fails, this one is in use.
        """
        self._believed = self._said = offset_seconds
        if not self.is_on_trial:
            self.offset_seconds = offset_seconds
