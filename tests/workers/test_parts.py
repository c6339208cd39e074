"""What each worker gets of a limit, of the processors, of the connections; how long its successor waits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aws_signing_proxy.config.loading import load_settings
from aws_signing_proxy.config.problems import SettingsError
from aws_signing_proxy.running import number_of_workers
from aws_signing_proxy.workers.cores import usable_cores
from aws_signing_proxy.workers.member import Member
from aws_signing_proxy.workers.shared_counters import NO_FIGURES, Figures, SharedFigures
from aws_signing_proxy.workers.shares import Share
from aws_signing_proxy.workers.turns import Board, MyTurns

TARGET = {"ASP_TARGET_URL": "https://host"}


@given(limit=st.integers(0, 10_000_000), workers=st.integers(1, 256))
def test_the_parts_of_a_limit_are_the_limit_together_and_differ_by_one_at_most(limit: int, workers: int) -> None:
    parts = [Share(slot, workers).of(limit) for slot in range(workers)]
    assert sum(parts) == limit
    assert max(parts) - min(parts) <= 1


def test_without_a_quota_there_are_as_many_processors_as_the_process_is_bound_to(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == len(os.sched_getaffinity(0))


def _group(root: Path, line: str, files: dict[str, str]) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(f"{line}\n")
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


@pytest.mark.parametrize(
    ("line", "files", "cores"),
    [
        ("0::/", {"cpu.max": "100000 100000"}, 1),
        ("0::/", {"cpu.max": "50000 100000"}, 1),
        ("0::/", {"cpu.max": "150000 100000"}, 2),
        ("0::/", {"cpu.max": "300000 100000"}, 3),
        ("0::/", {"cpu.max": "max 100000"}, 8),
        ("0::/", {}, 8),
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "200000 100000"}, 2),
        ("0::/a/b", {"a/b/cpu.max": "200000 100000", "a/cpu.max": "400000 100000"}, 2),
        ("0::/not/seen/here", {"cpu.max": "200000 100000"}, 2),
        ("0::/", {"cpu.max": "nonsense"}, 8),
        ("4:cpu,cpuacct:/", {"cpu,cpuacct/cpu.cfs_quota_us": "200000", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, 2),
        ("4:cpu,cpuacct:/", {"cpu,cpuacct/cpu.cfs_quota_us": "-1", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, 8),
        ("5:memory:/", {"memory/cpu.cfs_quota_us": "100000"}, 8),
        ("0::/", {"cpu.max": "9900000 100000"}, 8),
    ],
)
def test_a_quota_of_the_control_group_counts(
    tmp_path: Path, line: str, files: dict[str, str], cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    assert usable_cores(_group(tmp_path, line, files)) == cores


def test_auto_is_one_worker_for_each_processor_as_far_as_each_gets_a_part_of_the_limits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aws_signing_proxy.running.usable_cores", lambda: 6)
    for more, workers in (({}, 6), ({"ASP_MAX_UPSTREAM_CONNECTIONS": "4"}, 4), ({"ASP_MAX_CONNECTIONS": "2"}, 2)):
        assert number_of_workers(load_settings({}, TARGET | {"ASP_WORKERS": "auto"} | more).settings) == workers
    assert number_of_workers(load_settings({}, TARGET | {"ASP_WORKERS": "3"}).settings) == 3


@pytest.mark.parametrize("name", ["ASP_MAX_UPSTREAM_CONNECTIONS", "ASP_MAX_CONNECTIONS"])
def test_more_workers_than_there_are_connections_for_is_a_wrong_setting(name: str) -> None:
    with pytest.raises(SettingsError, match=rf"ASP_WORKERS .*at most as many as {name}, which is 3"):
        load_settings({}, TARGET | {"ASP_WORKERS": "4", name: "3"})


@pytest.mark.parametrize("text", ["0", "-1", "257", "many", "1.5"])
def test_a_number_of_workers_that_cannot_be_is_a_wrong_setting(text: str) -> None:
    with pytest.raises(SettingsError, match="ASP_WORKERS"):
        load_settings({}, TARGET | {"ASP_WORKERS": text})


def _turns(count: int) -> list[MyTurns]:
    board = Board(count)
    turns = [MyTurns(board, slot) for slot in range(count)]
    for each in turns:
        each.begin()
    return turns


def _whose(*turns: MyTurns) -> list[bool]:
    return [each.allowance > 0 for each in turns]


def test_a_worker_that_is_behind_may_catch_up_at_once() -> None:
    one, two = _turns(2)
    for _ in range(10):
        one.opened()
    assert (one.allowance, two.allowance) == (0, 11), "until it has one more"
    assert (one.least, two.least) == (0, 10)


def test_a_connection_is_for_whoever_has_fewest() -> None:
    one, two = _turns(2)
    assert _whose(one, two) == [True, True]
    one.opened()
    assert _whose(one, two) == [False, True]
    two.opened()
    assert _whose(one, two) == [True, True]
    one.opened()
    two.closed()
    assert _whose(one, two) == [False, True]


def test_one_more_or_less_of_many_does_not_matter() -> None:
    one, two = _turns(2)
    for _ in range(64):
        one.opened()
        two.opened()
    for _ in range(4):
        one.opened()
    assert _whose(one, two) == [True, True]
    one.opened()
    assert _whose(one, two) == [False, True]


def test_a_worker_that_has_left_or_is_gone_is_left_nothing() -> None:
    board = Board(3)
    one, two, three = (MyTurns(board, slot) for slot in range(3))
    one.begin()
    two.begin()
    one.opened()
    assert _whose(one) == [False]
    two.end()
    assert _whose(one) == [True], "the third has not begun, the second has left"
    two.closed()
    assert _whose(one) == [True]
    three.begin()
    assert _whose(one) == [False]
    board.take_off(2)
    assert _whose(one) == [True]


def test_a_worker_that_was_taken_for_one_that_hangs_says_again_how_many_it_has() -> None:
    board = Board(2)
    one, two = (MyTurns(board, slot) for slot in range(2))
    two.show()
    assert board.numbers[1] == -1, "it has not begun"
    one.begin()
    two.begin()
    one.opened()
    board.take_off(1)
    assert _whose(one) == [True]
    two.show()
    assert _whose(one) == [False]
    two.end()
    two.show()
    assert board.numbers[1] == -1, "it has ended"


def test_nobody_waits_for_a_worker_that_is_late_and_people_are_told_later(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    shared = SharedFigures()
    member = Member(0, shared)
    member.begin_life()
    member.is_ready = True
    shared.write(Figures(1000.0, NO_FIGURES))
    seen = []
    for now[0] in (1000.9, 1001.1, 1004.9, 1005.1, 1006.0):
        has_fallen_silent = member.notice_silence()
        seen.append((member.is_quiet, member.is_silent, has_fallen_silent))
    assert seen == [
        (False, False, False),
        (True, False, False),
        (True, False, False),
        (True, True, True),
        (True, True, False),
    ]
    shared.write(Figures(1006.0, NO_FIGURES))
    assert not member.notice_silence()
    assert (member.is_quiet, member.is_silent) == (False, False)


def test_a_successor_waits_longer_each_time_but_not_after_a_long_life(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    member = Member(0, SharedFigures())

    def live(seconds: float) -> float:
        member.begin_life()
        member.is_ready = True
        now[0] += seconds
        return member.end_life()

    assert [live(1.0) for _ in range(9)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert live(11.0) == 0.0
    assert live(1.0) == 0.1


def test_to_be_told_to_end_is_no_short_life_and_to_end_in_trying_to_serve_is_one() -> None:
    member = Member(0, SharedFigures())

    def live(status: int, *, is_ready: bool) -> float:
        member.begin_life()
        member.is_ready = is_ready
        return member.end_life(status)

    assert [live(0, is_ready=True) for _ in range(3)] == [0.0] * 3
    assert live(-9, is_ready=True) == 0.1
    assert live(0, is_ready=True) == 0.1
    assert live(0, is_ready=False) == 0.2
    assert live(1, is_ready=True) == 0.4


def test_a_member_tells_the_newest_figures_of_this_life_whatever_is_in_the_memory(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Memory:
        said: Figures | ValueError | None = None

        def read(self) -> Figures | None:
            if isinstance(self.said, ValueError):
                raise self.said
            return self.said

        def clear(self) -> None:
            self.said = None

    memory = Memory()
    member = Member(0, cast("SharedFigures", memory))
    assert member.figures() is None
    memory.said = newest = Figures(2.0, NO_FIGURES)
    assert member.figures() == newest
    for less in (None, Figures(1.0, NO_FIGURES), ValueError("no JSON"), ValueError("no JSON")):
        memory.said = less
        assert member.figures() == newest
    member.forget_figures()
    assert member.figures() is None
    assert sum("cannot be read" in str(record.msg) for record in caplog.records) == 1


def test_a_worker_that_was_never_ready_has_not_lived_long_however_long_it_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    member = Member(0, SharedFigures())
    member.begin_life()
    now[0] += 100
    assert member.end_life() == 0.1
    assert member.is_settled
