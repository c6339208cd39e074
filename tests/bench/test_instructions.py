"""How counts of instructions are judged, and that what is counted does what it says."""

from __future__ import annotations

import gc
import json

import pytest

from bench.behaviours import CALIBRATION, scene
from bench.instructions import RECORD, Entry, compare, judge, ratios

BUILT_WITH = {"python": "3.11.7 (main)", "openssl": "OpenSSL 3"}


def entry(python: str = "3.11.7 (main)", **instructions: float) -> Entry:
    return Entry(built_with=BUILT_WITH | {"python": python}, instructions={CALIBRATION: 1000.0} | instructions)


def test_counts_are_compared_as_ratios_to_the_calibration() -> None:
    assert ratios(entry(sign=500.0)["instructions"]) == {"sign": 0.5}
    # An interpreter that does everything with half of the instructions has changed nothing.
    faster = Entry(built_with=BUILT_WITH, instructions={CALIBRATION: 500.0, "sign": 250.0})
    assert [verdict.change for verdict in compare(faster, entry(sign=500.0))] == [0.0]


@pytest.mark.parametrize(
    ("now", "is_good", "word"),
    [(500.0, True, ""), (509.0, True, ""), (491.0, True, ""), (511.0, False, "MORE"), (480.0, True, "less: record it")],
)
def test_more_than_the_tolerance_fails_and_less_asks_to_be_recorded(now: float, is_good: bool, word: str) -> None:
    judgement = judge(entry(sign=now), entry(sign=500.0), tolerance_percent=2.0, is_ci=True)
    assert judgement.is_good is is_good
    assert word in judgement.lines[1]
    assert any("If that is meant" in line for line in judgement.lines) is not is_good


def test_another_build_of_the_interpreter_gets_more_room_and_is_named() -> None:
    recorded = entry(sign=500.0)
    judgement = judge(entry("3.11.2 (Debian)", sign=550.0), recorded, tolerance_percent=None, is_ci=True)
    assert judgement.is_good
    assert "  python: 3.11.7 (main) -> 3.11.2 (Debian)" in judgement.lines
    assert not judge(entry("3.11.2", sign=650.0), recorded, tolerance_percent=None, is_ci=True).is_good


@pytest.mark.parametrize("is_ci", [True, False])
def test_a_version_without_record_fails_in_ci_alone(is_ci: bool) -> None:
    judgement = judge(entry(sign=500.0), None, tolerance_percent=None, is_ci=is_ci)
    assert judgement.is_good is not is_ci
    assert "--record" in judgement.lines[-1]


@pytest.mark.parametrize("is_ci", [True, False])
def test_a_behaviour_without_record_fails_in_ci_alone(is_ci: bool) -> None:
    judgement = judge(entry(sign=500.0, new=10.0), entry(sign=500.0), tolerance_percent=None, is_ci=is_ci)
    assert judgement.is_good is not is_ci
    assert any("not recorded yet" in line for line in judgement.lines)


def test_a_behaviour_that_is_gone_is_named() -> None:
    judgement = judge(entry(), entry(sign=500.0), tolerance_percent=None, is_ci=True)
    assert any("no longer there: sign" in line for line in judgement.lines)


def test_every_behaviour_has_a_record() -> None:
    with scene() as behaviours:
        for recorded in json.loads(RECORD.read_text()).values():
            assert recorded["instructions"].keys() == behaviours.keys()


def test_a_behaviour_can_be_done_again_and_again_and_leaves_no_cycles_behind() -> None:
    with scene() as behaviours:
        for name, behaviour in behaviours.items():
            behaviour()
            gc.collect()
            for _ in range(20):
                behaviour()
            assert gc.collect() == 0, name
