"""Figures in shared memory: whole or not at all, added up, and kept when their worker is gone."""

from __future__ import annotations

import struct
import subprocess
import sys

import pytest

from aws_signing_proxy.observe.counters import NUMBERS, Counters, Limit, SentAgain, Snapshot
from aws_signing_proxy.workers.shared_counters import NO_FIGURES, Figures, SharedFigures, lasting, total


def _snapshot(seed: int = 1) -> Snapshot:
    counters = Counters()
    for at, name in enumerate(NUMBERS):
        setattr(counters, name, seed * (at + 1))
    counters.limits_hit[Limit.BODY_SIZE] = seed
    counters.retries[SentAgain.CLOCK_SKEW] = 2 * seed
    for _ in range(seed):
        counters.request_done(b"GET", 200, "ok", 0.02, 0.01, 0.00002, 0, 0)
    counters.request_done(b"PUT", 404, "ok", 0.2, None, None, 0, 0)
    return counters.snapshot()


def test_what_was_written_is_read_with_its_time() -> None:
    shared, snapshot = SharedFigures(), _snapshot()
    assert shared.read() is None
    shared.write(Figures(12.5, snapshot))
    read = shared.read()
    assert read is not None
    assert read.at == 12.5
    assert read.snapshot == snapshot._replace(requests={("GET", 200, "ok"): 1, ("PUT", 400, "ok"): 1})


def test_the_newest_of_many_is_read() -> None:
    shared = SharedFigures()
    for at in range(1, 8):
        shared.write(Figures(float(at), _snapshot(at)))
        read = shared.read()
        assert read is not None
        assert (read.at, read.snapshot.limits_hit[Limit.BODY_SIZE]) == (at, at)


@pytest.mark.parametrize("cut_at", [0, 1, 20, 300])
def test_whoever_dies_while_writing_leaves_what_was_there_before(cut_at: int) -> None:
    shared = SharedFigures()
    shared.write(Figures(1.0, _snapshot(1)))
    shared.write(Figures(2.0, _snapshot(2)))
    whole = bytes(shared._memory)
    shared.write(Figures(3.0, _snapshot(3)))
    torn = bytes(shared._memory)
    changed = [at for at in range(len(whole)) if whole[at] != torn[at]]
    # The text, then the head: all but what had been written when it died.
    for at in changed[: len(changed) - cut_at] if cut_at else changed:
        shared._memory[at] = whole[at]
    read = shared.read()
    assert read is not None
    assert read.at == 2.0


def test_a_head_that_was_torn_behind_its_number_is_no_copy() -> None:
    """Length and checksum of a place that was never written are 0, which is the checksum of nothing."""
    shared = SharedFigures()
    shared.write(Figures(1.0, _snapshot(1)))
    struct.pack_into("=Q", shared._memory, 0, 2)
    read = shared.read()
    assert read is not None
    assert read.at == 1.0


def test_a_new_number_does_not_make_an_old_copy_the_newest() -> None:
    shared = SharedFigures()
    for at in (1.0, 2.0, 3.0):
        shared.write(Figures(at, _snapshot()))
    struct.pack_into("=Q", shared._memory, 0, 4)
    read = shared.read()
    assert read is not None
    assert read.at == 3.0


def test_a_forgotten_place_has_nothing_of_the_one_before() -> None:
    shared = SharedFigures()
    shared.write(Figures(1.0, _snapshot()))
    shared.clear()
    assert shared.read() is None


# A process of its own: one with threads, as pytest's may be, must not be forked.
FORKED = """
import os, signal
from aws_signing_proxy.workers.shared_counters import NO_FIGURES, Figures, SharedFigures
from aws_signing_proxy.workers.turns import Board, MyTurns

shared, board, least = SharedFigures(), Board(2), 1 << 30
mine, others = MyTurns(board, 0), MyTurns(board, 1)
mine.begin()
for _ in range(20):
    shared.clear()
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        others.begin()
        others.opened()
        at = 0
        while True:
            at += 1
            shared.write(Figures(float(at), NO_FIGURES))
            if at == 50:
                os.write(tell, b"x")
    os.read(ready, 1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    least = min(least, shared.read().at)
print(least >= 50, list(board.numbers))
"""


def test_what_another_process_has_said_is_here_also_when_it_was_killed_in_the_middle_of_saying_more() -> None:
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("True [0, 1]\n", "")


def test_the_sum_has_every_count_of_every_worker() -> None:
    one, two = _snapshot(1), _snapshot(3)
    both = total([one, two])
    for name in NUMBERS:
        if name != "clock_offset_seconds":
            assert both.numbers[name] == one.numbers[name] + two.numbers[name]
    assert both.requests == {("GET", 200, "ok"): 4, ("PUT", 404, "ok"): 2}
    assert both.limits_hit[Limit.BODY_SIZE] == 4
    assert both.retries[SentAgain.CLOCK_SKEW] == 8
    pairs = zip(one.total_seconds.counts, two.total_seconds.counts, strict=True)
    assert both.total_seconds.counts == tuple(map(sum, pairs))
    assert both.total_seconds.total == pytest.approx(one.total_seconds.total + two.total_seconds.total)
    assert sum(both.signing_seconds.counts) == 4


@pytest.mark.parametrize(("offsets", "told"), [([0, 3600], 3600), ([-3600, -3599], -3600), ([0, 0], 0)])
def test_clock_offsets_are_not_added_but_the_farthest_is_told(offsets: list[int], told: int) -> None:
    snapshots = [NO_FIGURES._replace(numbers=NO_FIGURES.numbers | {"clock_offset_seconds": each}) for each in offsets]
    assert total(snapshots).numbers["clock_offset_seconds"] == told


def test_what_only_grows_outlives_its_worker_and_gauges_do_not() -> None:
    kept = lasting(_snapshot(2))
    for name, number in kept.numbers.items():
        assert bool(number) is name.endswith("_total")
    assert kept.requests == _snapshot(2).requests


def test_the_most_that_can_be_counted_fits() -> None:
    counters = Counters()
    for method in (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"OTHER"):
        for status in range(100, 1000):
            for code in ("ok", "upstream_malformed_response", "upstream_response_timeout", "credentials_unavailable"):
                counters.request_done(method, status, code, 0.1, 0.1, 0.1, 1 << 50, 1 << 50)
    shared = SharedFigures()
    shared.write(Figures(1.0, counters.snapshot()))
    read = shared.read()
    assert read is not None
    assert sum(read.snapshot.requests.values()) == 8 * 900 * 4
