"""What the parts share: how much of everything is done, and rounds in which the programs take turns."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench.contestants import Contestant, Peer, everybody
from bench.programs import BenchError
from bench.servers import Service

__all__ = ["FULL", "QUICK", "SMOKE", "Bench", "Effort", "in_turn"]

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Effort:
    """How much is measured. Seconds are those of one load, rounds the turns of each program."""

    name: str
    rounds: int
    goal_rounds: int
    seconds: int
    body_kib: tuple[int, ...]
    connections: tuple[int, ...]
    many_connections: int
    open_seconds: float
    disturbed_seconds: float
    bulk_mib: int
    bulk_modes: tuple[str, ...]
    bulk_at_once: int
    bulk_at_once_mib: int
    idle_connections: int
    starts: int
    field_counts: tuple[int, ...] = (5, 20, 60)
    slow_sts_seconds: float = 2.0
    settle_seconds: float = 1.0
    has_warm_up: bool = True


FULL = Effort(
    name="full",
    rounds=3,
    goal_rounds=7,
    seconds=2,
    body_kib=(0, 1, 16, 128),
    connections=(1, 32, 256),
    many_connections=1000,
    open_seconds=6.0,
    disturbed_seconds=20.0,
    bulk_mib=1024,
    bulk_modes=("GET", "chunked", "unsigned", "declared", "verbatim", "resigned"),
    bulk_at_once=16,
    bulk_at_once_mib=128,
    idle_connections=5000,
    starts=11,
)
QUICK = Effort(
    name="quick",
    rounds=1,
    goal_rounds=3,
    seconds=1,
    body_kib=(0, 1),
    connections=(32,),
    many_connections=1000,
    open_seconds=1.5,
    disturbed_seconds=5.0,
    bulk_mib=256,
    bulk_modes=("GET", "chunked", "unsigned"),
    bulk_at_once=4,
    bulk_at_once_mib=64,
    idle_connections=1000,
    starts=5,
    field_counts=(5, 60),
    slow_sts_seconds=1.0,
)
# For the test that every part still runs: its figures mean nothing.
SMOKE = Effort(
    name="smoke",
    rounds=1,
    goal_rounds=1,
    seconds=1,
    body_kib=(1,),
    connections=(32,),
    many_connections=16,
    open_seconds=0.5,
    disturbed_seconds=1.5,
    bulk_mib=8,
    bulk_modes=("GET", "chunked"),
    bulk_at_once=2,
    bulk_at_once_mib=4,
    idle_connections=50,
    starts=1,
    field_counts=(5, 60),
    slow_sts_seconds=0.2,
    settle_seconds=0.1,
    has_warm_up=False,
)


@dataclass(frozen=True)
class Bench:
    """One run of the bench. `say` tells the person who waits what is going on."""

    effort: Effort
    service: Service
    peers: tuple[Peer, ...]
    say: Callable[[str], None]

    @property
    def folder(self) -> Path:
        """A folder in memory, if there is one, for what parts write."""
        return self.service.folder

    def contestants(self, *, with_haproxy: bool = True) -> list[Contestant]:
        """Return who is measured."""
        return everybody(self.peers, with_haproxy=with_haproxy)

    def in_turn(self, programs: Mapping[str, T], rounds: int, measure: Callable[[T], R]) -> dict[str, list[R]]:
        """Measure each program once in each round; a peer that fails is left out, and named."""
        peers = {peer.name for peer in self.peers}
        warm_ups = 1 if self.effort.has_warm_up else 0
        return in_turn(programs, rounds, measure, warm_ups=warm_ups, may_fail=peers, say=self.say)


def in_turn(
    programs: Mapping[str, T],
    rounds: int,
    measure: Callable[[T], R],
    *,
    warm_ups: int = 1,
    may_fail: Collection[str] = (),
    say: Callable[[str], None] = print,
) -> dict[str, list[R]]:
    """Measure each of `programs` once in each round, after some rounds that do not count.

    Whatever the machine does meets all of them. One of `may_fail` that raises BenchError is left out of the result.
    """
    results: dict[str, list[R]] = {name: [] for name in programs}
    for number in range(warm_ups + rounds):
        for name in list(results):
            try:
                result = measure(programs[name])
            except BenchError as error:
                if name not in may_fail:
                    raise
                say(f"{name} is left out: {error}")
                del results[name]
                continue
            if number >= warm_ups:  # before that connections are opened, and caches filled
                results[name].append(result)
    return results
