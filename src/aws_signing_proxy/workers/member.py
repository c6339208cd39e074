"""One worker, as the supervisor knows it: its lives, one after the other, and how long to wait between them."""

from __future__ import annotations

import os
import time
from typing import Final

from aws_signing_proxy.observe.logs import get_logger
from aws_signing_proxy.workers.channel import Channel, Message
from aws_signing_proxy.workers.shared_counters import Figures, SharedFigures

__all__ = ["Member"]

_LOG: Final = get_logger(__name__)

# Who lived as long as this did not die of how it was started.
_LONG_LIFE_SECONDS: Final = 10.0
_FIRST_DELAY_SECONDS: Final = 0.1
_LONGEST_DELAY_SECONDS: Final = 10.0
_MOST_DOUBLINGS: Final = 10
# Figures come four times a second.
_QUIET_SECONDS: Final = 1.0
_SILENT_SECONDS: Final = 5.0


class Member:
    """One slot of the crew. `pid` and `channel` are None while nobody lives there."""

    def __init__(self, slot: int, figures: SharedFigures) -> None:
        self.slot = slot
        self._shared = figures
        self._newest: Figures | None = None
        self._has_unreadable_figures = False
        self.life = 0
        self.pid: int | None = None
        self.channel: Channel | None = None
        self.is_living = False
        """Whether there is a process, or the nursery has been told to make one."""
        self.is_ready = False
        self.is_quiet = False
        """Whether it is late with its figures: nobody is to wait for it."""
        self.is_silent = False
        """Whether it is so late that people are told."""
        self.has_answered = True
        """Whether it has copied its figures since it was last asked to."""
        self.has_left = False
        """Whether it takes no clients any more."""
        self._has_failed = False
        self._born_at = 0.0
        self._begun_at: float | None = None
        self._short_lives = 0

    def __repr__(self) -> str:
        return f"<Member {self.slot} pid {self.pid}{' ready' if self.is_ready else ''}>"

    @property
    def is_settled(self) -> bool:
        """Whether it is known how its start went."""
        return self.is_ready or self._has_failed

    @property
    def is_serving(self) -> bool:
        """Whether it takes clients."""
        return self.is_ready and not self.has_left

    def begin_life(self) -> None:
        """A worker is to be made."""
        self.life += 1
        self.is_living = True
        self.has_left = False
        self._begun_at = None
        self._born_at = time.monotonic()

    def end_life(self, status: int | None = None) -> float:
        """It is gone; return how long to wait before the next one is made: longer each time while none lives long.

        `status` is that of its end, None where it was never born. With 0 one that served was told to end: its life was
        not short by itself.
        """
        if self.is_ready and time.monotonic() - self._born_at >= _LONG_LIFE_SECONDS:
            self._short_lives = 0
        elif status != os.EX_OK or not self.is_ready:
            self._short_lives += 1
        self._has_failed = True
        self.life += 1
        self.pid = None
        self.is_living = self.is_ready = self.is_quiet = self.is_silent = False
        self.has_answered = True
        if self.channel is not None:
            self.channel.close()
            self.channel = None
        if not self._short_lives:
            return 0.0
        doublings = min(self._short_lives - 1, _MOST_DOUBLINGS)
        return min(_FIRST_DELAY_SECONDS * float(2**doublings), _LONGEST_DELAY_SECONDS)

    def begin_to_serve(self) -> None:
        """It has been told to: from now on it is to say something."""
        self._begun_at = time.monotonic()

    def lose_channel(self, life: int) -> None:
        """The channel of that life is closed."""
        if life == self.life:
            self.channel = None

    def figures(self) -> Figures | None:
        """Return the newest figures of this life that could be read; None before there are any. Never older ones."""
        try:
            read = self._shared.read()
        except Exception:  # noqa: BLE001 - whatever a worker has left there: the scrape and the others go on; it is logged
            read = None
            if not self._has_unreadable_figures:
                _LOG.exception("the figures of a worker cannot be read; its last ones are used", of_worker=self.slot)
            self._has_unreadable_figures = True
        # Older ones are all that is whole where a worker dies, or is read, in the middle of writing.
        if read is not None and (self._newest is None or read.at >= self._newest.at):
            self._newest = read
        return self._newest

    def forget_figures(self) -> None:
        """The next worker begins with none. The one before must be gone."""
        self._shared.clear()
        self._newest = None
        self._has_unreadable_figures = False

    def send(self, message: Message) -> None:
        """Tell it something, if it lives."""
        if self.channel is not None:
            self.channel.send(message)

    def notice_silence(self) -> bool:
        """Look when it last copied its figures; return whether it has just fallen silent."""
        was_silent, figures = self.is_silent, self.figures()
        heard_at = self._begun_at if figures is None else figures.at
        seconds = 0.0 if heard_at is None or not self.is_living else time.monotonic() - heard_at
        self.is_quiet, self.is_silent = seconds > _QUIET_SECONDS, seconds > _SILENT_SECONDS
        return self.is_silent and not was_silent
