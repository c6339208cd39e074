"""The figures of all workers, in memory that a worker writes and the supervisor reads, also when the worker is gone.

The request path bumps plain integers (`observe.counters`). A worker copies them here a few times a second, when it is
asked to, and at its end. A copy goes into the older one of two places, with a number and a checksum: whoever dies in
the middle of it leaves the other one as it was, and no reader needs a lock or trusts the order of somebody's writes.
"""

from __future__ import annotations

import json
import mmap
import struct
import zlib
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from aws_signing_proxy.observe.counters import (
    NUMBERS,
    SIGNING_BUCKETS_SECONDS,
    TIME_BUCKETS_SECONDS,
    Distribution,
    Limit,
    SentAgain,
    Snapshot,
)

__all__ = ["NO_FIGURES", "Figures", "SharedFigures", "lasting", "total"]

# The number of the copy, its length, the checksum of both its text and its number.
_HEAD: Final = struct.Struct("=QII")
# All methods, classes of status and codes together would take 90 KiB. What is not written takes no memory.
_PLACE_BYTES: Final = 128 * 1024
_TRIES: Final = 3
_BOUNDS: Final = (TIME_BUCKETS_SECONDS, TIME_BUCKETS_SECONDS, SIGNING_BUCKETS_SECONDS)
_STATUS_CLASS: Final = 100


class Figures(NamedTuple):
    """What a worker has said of itself: its numbers, and when (monotonic clock, seconds)."""

    at: float
    snapshot: Snapshot


NO_FIGURES: Final = Snapshot(
    requests={},
    numbers=dict.fromkeys(NUMBERS, 0),
    limits_hit=dict.fromkeys(Limit, 0),
    retries=dict.fromkeys(SentAgain, 0),
    total_seconds=Distribution(TIME_BUCKETS_SECONDS, (0,) * (len(TIME_BUCKETS_SECONDS) + 1), 0.0),
    first_byte_seconds=Distribution(TIME_BUCKETS_SECONDS, (0,) * (len(TIME_BUCKETS_SECONDS) + 1), 0.0),
    signing_seconds=Distribution(SIGNING_BUCKETS_SECONDS, (0,) * (len(SIGNING_BUCKETS_SECONDS) + 1), 0.0),
)


class SharedFigures:
    """The memory of one worker's figures. Made before the worker is forked; each has one writer at a time."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 2 * _PLACE_BYTES)
        self._written = 0

    def write(self, figures: Figures) -> None:
        """Copy the figures here. 60 µs, mostly for JSON."""
        text = json.dumps(_to_json(figures)).encode("ascii")
        if len(text) > _PLACE_BYTES - _HEAD.size:
            raise ValueError(f"figures of {len(text)} bytes do not fit")
        self._written += 1
        at = self._written % 2 * _PLACE_BYTES
        self._memory[at + _HEAD.size : at + _HEAD.size + len(text)] = text
        # Behind the text, for the checksum is what makes a copy good; nothing depends on the order all the same.
        _HEAD.pack_into(self._memory, at, self._written, len(text), _checksum(self._written, text))

    def read(self) -> Figures | None:
        """Return the newest figures; None where there are none."""
        # Whoever reads while two copies are written, one after the other, may find neither whole.
        for _ in range(_TRIES):
            found = [copy for copy in (self._copy(0), self._copy(_PLACE_BYTES)) if copy is not None]
            if found:
                return _from_json(json.loads(max(found)[1]))
        return None

    def _copy(self, at: int) -> tuple[int, bytes] | None:
        number, length, checksum = _HEAD.unpack_from(self._memory, at)
        # A head may be torn as well: its number written, and nothing else yet.
        if not number or not 0 < length <= _PLACE_BYTES - _HEAD.size:
            return None
        text = self._memory[at + _HEAD.size : at + _HEAD.size + length]
        return (number, text) if _checksum(number, text) == checksum else None

    def clear(self) -> None:
        """Forget everything: the next worker begins here. The one before must be gone."""
        for at in (0, _PLACE_BYTES):
            _HEAD.pack_into(self._memory, at, 0, 0, 0)


def _checksum(number: int, text: bytes) -> int:
    # With the number: the head of one copy is not that of another one.
    return zlib.crc32(text, number & 0xFFFFFFFF)


def _to_json(figures: Figures) -> list[Any]:
    at, now = figures
    # By class of status: a service could answer with hundreds of them, and nobody is told more than the class.
    requests: dict[tuple[str, int, str], int] = {}
    for (method, status, code), count in now.requests.items():
        key = (method, status // _STATUS_CLASS * _STATUS_CLASS, code)
        requests[key] = requests.get(key, 0) + count
    return [
        at,
        [[*key, count] for key, count in requests.items()],
        [now.numbers[name] for name in NUMBERS],
        [now.limits_hit[limit] for limit in Limit],
        [now.retries[cause] for cause in SentAgain],
        [[each.counts, each.total] for each in (now.total_seconds, now.first_byte_seconds, now.signing_seconds)],
    ]


def _from_json(told: list[Any]) -> Figures:
    at, requests, numbers, limits, retries, distributions = told
    total_seconds, first_byte_seconds, signing_seconds = (
        Distribution(bounds, tuple(counts), seconds)
        for bounds, (counts, seconds) in zip(_BOUNDS, distributions, strict=True)
    )
    return Figures(
        at,
        Snapshot(
            requests={(method, status, code): count for method, status, code, count in requests},
            numbers=dict(zip(NUMBERS, numbers, strict=True)),
            limits_hit=dict(zip(Limit, limits, strict=True)),
            retries=dict(zip(SentAgain, retries, strict=True)),
            total_seconds=total_seconds,
            first_byte_seconds=first_byte_seconds,
            signing_seconds=signing_seconds,
        ),
    )


def total(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Return the sum. Of clock offsets it is the one that is farthest off: they are not added."""
    result = NO_FIGURES
    for each in snapshots:
        result = _plus(result, each)
    return result


def lasting(snapshot: Snapshot) -> Snapshot:
    """Return what stays true of a worker that is gone: what only grows, and none of the gauges."""
    numbers = {name: number if name.endswith("_total") else 0 for name, number in snapshot.numbers.items()}
    return snapshot._replace(numbers=numbers)


def _plus(one: Snapshot, other: Snapshot) -> Snapshot:
    numbers = {name: one.numbers[name] + other.numbers[name] for name in NUMBERS}
    numbers["clock_offset_seconds"] = max(
        one.numbers["clock_offset_seconds"], other.numbers["clock_offset_seconds"], key=abs
    )
    requests = dict(one.requests)
    for key, count in other.requests.items():
        requests[key] = requests.get(key, 0) + count
    return Snapshot(
        requests=requests,
        numbers=numbers,
        limits_hit={limit: one.limits_hit[limit] + other.limits_hit[limit] for limit in Limit},
        retries={cause: one.retries[cause] + other.retries[cause] for cause in SentAgain},
        total_seconds=_together(one.total_seconds, other.total_seconds),
        first_byte_seconds=_together(one.first_byte_seconds, other.first_byte_seconds),
        signing_seconds=_together(one.signing_seconds, other.signing_seconds),
    )


def _together(one: Distribution, other: Distribution) -> Distribution:
    counts = tuple(mine + theirs for mine, theirs in zip(one.counts, other.counts, strict=True))
    return Distribution(one.bounds, counts, one.total + other.total)
