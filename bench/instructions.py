"""How many instructions each behaviour of the request's path takes, and whether that is more than was recorded.

    python -m bench.instructions [--record] [--tolerance PERCENT]

Counted by Valgrind's cachegrind, since virtual machines and containers mostly have no hardware counters. One process
under Valgrind builds everything once and forks for each behaviour two children, which call it N and 2 N times: the
difference is that of N calls, whatever start-up costs. What is compared is each count's ratio to that of a calibration
(plain Python and C, none of it this program's), so that an interpreter that was built in another way, or a faster
`hashlib`, moves both.

The record is `bench/instruction_counts.json`, one entry for each minor version of CPython. A behaviour that takes more
than the tolerance above its record fails the comparison; one that takes less asks to be recorded anew, for a later
regression would hide below the old figure. Where CI is set, a version or a behaviour without record fails, too.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple, TypedDict

from bench.behaviours import CALIBRATION, Behaviour, scene

__all__ = ["Entry", "Judgement", "Verdict", "compare", "count_all", "ratios"]

RECORD = Path(__file__).with_name("instruction_counts.json")
# Measured: counts of the same code differ by 0.5 % at most: under load, in another folder, beside other code.
TOLERANCE_PERCENT = 2.0
# Of another build of the same minor version, whose compiler has made other things fast (measured: up to 11 %).
OTHER_BUILD_TOLERANCE_PERCENT = 15.0
# The same way through the code each time: orders of sets and dicts; and memory from glibc's cache of this thread,
# whatever else is in use. Otherwise a count moved by 2 % with the length of a random key's encoding (glibc), and by 1 %
# with that of a folder's name (where a pool of CPython's own allocator is just full, each call makes and frees one).
_SAME_WAY = {
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONMALLOC": "malloc",
    "GLIBC_TUNABLES": "glibc.malloc.tcache_max=65536:glibc.malloc.tcache_count=2000",
}
_CALLS = 50
_INSTRUCTIONS_OF_A_CALL = re.compile(r"^summary: (\d+)", re.MULTILINE)
_INNER = "--counted"


class Entry(TypedDict):
    """What is recorded for one minor version: what was measured with, and instructions of one call."""

    built_with: dict[str, str]
    instructions: dict[str, float]


class Verdict(NamedTuple):
    """One behaviour beside its record: `change` is the share by which its ratio to the calibration grew."""

    name: str
    instructions: float
    change: float | None


class Judgement(NamedTuple):
    """What a comparison came to: lines for people, and whether the build may go on."""

    lines: list[str]
    is_good: bool


# Inside Valgrind


def call_counted() -> None:
    """Fork two children for each behaviour; print name, calls and process id of each."""
    with scene() as behaviours:
        gc.collect()
        gc.freeze()
        gc.disable()  # a collection at a place that moves would be counted here or there
        for name, behaviour in behaviours.items():
            calls = _calls_of(name)
            for _ in range(calls):
                behaviour()
            for times in (calls, 2 * calls):
                print(json.dumps([name, times, _in_child(behaviour, times)]), flush=True)


def _calls_of(name: str) -> int:
    # Small ones more often, so that what a fork does beside them is nothing.
    return _CALLS if name.startswith(("request", "relay: 64", CALIBRATION)) else 10 * _CALLS


def _in_child(behaviour: Behaviour, times: int) -> int:
    child = os.fork()
    if child == 0:
        try:
            for _ in range(times):
                behaviour()
        except BaseException:  # noqa: BLE001 - it is shown; a child must not go on as if it were the parent
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status != 0:
        raise ChildProcessError("a behaviour failed under Valgrind")
    return child


# Outside


def count_all() -> dict[str, float]:
    """Return the instructions of one call of each behaviour."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        sys.exit("bench: valgrind is not installed (Debian: apt-get install valgrind)")
    with tempfile.TemporaryDirectory(prefix="asp-counts-") as folder:
        command = [valgrind, "--quiet", "--tool=cachegrind", "--cache-sim=no", "--branch-sim=no"]
        command += [f"--cachegrind-out-file={folder}/%p", sys.executable, "-m", "bench.instructions", _INNER]
        run = subprocess.run(command, env=os.environ | _SAME_WAY, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            sys.exit(f"bench: counting failed with status {run.returncode}\n{run.stdout}{run.stderr}")
        totals: dict[str, list[tuple[int, int]]] = {}
        for line in run.stdout.splitlines():
            name, times, pid = json.loads(line)
            found = _INSTRUCTIONS_OF_A_CALL.search((Path(folder) / str(pid)).read_text())
            assert found is not None, "cachegrind wrote no summary"
            totals.setdefault(name, []).append((times, int(found[1])))
    return {
        name: (twice - once) / (calls_twice - calls) for name, ((calls, once), (calls_twice, twice)) in totals.items()
    }


def built_with() -> dict[str, str]:
    """Return what the counts depend on, beside this program: interpreter and libraries, by version and build."""
    return {
        "python": sys.version.replace("\n", " "),
        "openssl": ssl.OPENSSL_VERSION,
        **{name: version(name) for name in ("httptools", "uvloop")},
    }


def ratios(instructions: Mapping[str, float]) -> dict[str, float]:
    """Return each behaviour's instructions in calls of the calibration."""
    return {name: count / instructions[CALIBRATION] for name, count in instructions.items() if name != CALIBRATION}


def compare(measured: Entry, recorded: Entry) -> list[Verdict]:
    """Return a verdict for each measured behaviour; `change` is None where nothing is recorded for it."""
    now, before = ratios(measured["instructions"]), ratios(recorded["instructions"])
    return [
        Verdict(name, measured["instructions"][name], ratio / before[name] - 1 if name in before else None)
        for name, ratio in now.items()
    ]


def judge(measured: Entry, recorded: Entry | None, *, tolerance_percent: float | None, is_ci: bool) -> Judgement:
    """Return what to say, and whether nothing has become slower."""
    record_it = "python -m bench.instructions --record"
    if recorded is None:
        lines = [f"{name:46} {count:12,.0f}" for name, count in measured["instructions"].items()]
        return Judgement(
            [*lines, f"Nothing is recorded for this version of CPython; record it: {record_it}"], not is_ci
        )
    others = {name for name, value in recorded["built_with"].items() if measured["built_with"].get(name) != value}
    tolerance = tolerance_percent or (OTHER_BUILD_TOLERANCE_PERCENT if "python" in others else TOLERANCE_PERCENT)
    lines = [f"{'instructions of one call':46} {'now':>12} {'change':>8}   (tolerance {tolerance:g} %)"]
    is_good = True
    for verdict in compare(measured, recorded):
        remark = _remark(verdict, tolerance / 100)
        is_good &= not remark.startswith("MORE") and not (is_ci and verdict.change is None)
        change = "" if verdict.change is None else f"{verdict.change:+.2%}"
        lines.append(f"{verdict.name:46} {verdict.instructions:12,.0f} {change:>8} {remark}".rstrip())
    gone = recorded["instructions"].keys() - measured["instructions"].keys()
    if gone:
        lines.append(f"Recorded and no longer there: {', '.join(sorted(gone))}; record anew: {record_it}")
    if others:
        lines.append("Not the same as when it was recorded:")
        lines += [
            f"  {name}: {recorded['built_with'][name]} -> {measured['built_with'].get(name)}" for name in sorted(others)
        ]
    if not is_good:
        lines.append(f"A behaviour takes more instructions than recorded. If that is meant, record anew: {record_it}")
    return Judgement(lines, is_good)


def _remark(verdict: Verdict, tolerance: float) -> str:
    if verdict.change is None:
        return "not recorded yet"
    if verdict.change > tolerance:
        return "MORE"
    return "less: record it, or a later regression hides below it" if verdict.change < -tolerance else ""


def _records() -> dict[str, Entry]:
    return json.loads(RECORD.read_text()) if RECORD.exists() else {}


def main() -> None:
    """Count, and compare or record."""
    parser = argparse.ArgumentParser(prog="python -m bench.instructions", description="Instructions of each behaviour.")
    parser.add_argument("--record", action="store_true", help=f"write {RECORD.name} for this version of CPython")
    parser.add_argument("--tolerance", type=float, metavar="PERCENT", help=f"instead of {TOLERANCE_PERCENT:g}")
    given = parser.parse_args()
    measured = Entry(built_with=built_with(), instructions=count_all())
    minor, records = f"{sys.version_info.major}.{sys.version_info.minor}", _records()
    is_ci = os.environ.get("CI", "").lower() not in {"", "0", "false"}
    judgement = judge(measured, records.get(minor), tolerance_percent=given.tolerance, is_ci=is_ci)
    print("\n".join(judgement.lines))
    if given.record:
        measured["instructions"] = {name: round(count, 1) for name, count in measured["instructions"].items()}
        records[minor] = measured
        RECORD.write_text(json.dumps(dict(sorted(records.items())), indent=2) + "\n")
        print(f"Recorded in {RECORD.name}.")
    elif not judgement.is_good:
        sys.exit(1)


if __name__ == "__main__":
    if sys.argv[1:] == [_INNER]:
        call_counted()
    else:
        main()
