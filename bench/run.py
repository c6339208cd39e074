"""The bench: what a signed request costs, beside nginx and haproxy passing it on unsigned, and beside any peer.

    make bench [BENCH_ARGS='--quick --only cost,bulk --peer original=/path/to/its/command']

A full run takes about half an hour and writes docs/performance.md, its pictures and bench/results.json; a part of
it, or a quick one, is printed, and written with --write. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.contestants import Peer, parse_peer
from bench.machine import describe
from bench.measuring import FULL, QUICK, SMOKE, Bench, Effort
from bench.page import PAGE, RESULTS, markdown, write_page
from bench.parts import bulk, cost, disturbance, flatness, latency, memory, overload, scaling, start
from bench.processes import load_cores, on_cores
from bench.programs import BenchError
from bench.results import Part, Results, load_results, save_results
from bench.servers import nginx_service
from bench.tools import ensure_tools
from bench.transfers import MIB

PARTS: dict[str, Callable[[Bench], Part]] = {
    "cost": cost.measure,
    "latency": latency.measure,
    "bulk": bulk.measure,
    "memory": memory.measure,
    "start": start.measure,
    "scaling": scaling.measure,
    "overload": overload.measure,
    "disturbance": disturbance.measure,
    "flatness": flatness.measure,
}
_EFFORTS = {effort.name: effort for effort in (FULL, QUICK, SMOKE)}
_DESCRIPTORS = 20_000
_MEMORY_FOLDER = Path("/dev/shm")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line; says what is wrong with it, and exits."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    effort = parser.add_mutually_exclusive_group()
    effort.add_argument("--quick", action="store_const", const="quick", dest="effort", help="three minutes, for a look")
    effort.add_argument("--effort", choices=list(_EFFORTS), help="how much is measured (default: full)")
    parser.add_argument("--only", type=_parts, default=tuple(PARTS), metavar="PARTS", help=f"of {','.join(PARTS)}")
    parser.add_argument("--peer", type=_peer, action="append", default=[], metavar="NAME=COMMAND", dest="peers",
                        help="another signing proxy, with the same environment; repeatable")  # fmt: skip
    parser.add_argument("--pin", action="store_true", help="keep loads and service off the cores of what is measured")
    parser.add_argument("--write", action="store_true", help="write the page also where the run is not a full one")
    parser.add_argument("--page", type=Path, default=PAGE, help="instead of docs/performance.md")
    parser.add_argument("--results", type=Path, default=RESULTS, help="instead of bench/results.json")
    given = parser.parse_args(arguments)
    given.effort = _EFFORTS[given.effort or FULL.name]
    names = [peer.name for peer in given.peers]
    if len(set(names)) != len(names):
        parser.error(f"argument --peer: each needs a name of its own, not {', '.join(names)}")
    return given


def _parts(text: str) -> tuple[str, ...]:
    wanted = tuple(filter(None, (name.strip() for name in text.split(","))))
    unknown = [name for name in wanted if name not in PARTS]
    if unknown or not wanted:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown) or 'nothing'} is no part; there are {', '.join(PARTS)}")
    return tuple(name for name in PARTS if name in wanted)


def _peer(text: str) -> Peer:
    try:
        return parse_peer(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def measure(effort: Effort, parts: Sequence[str], peers: tuple[Peer, ...], *, pins: bool = False) -> Results:
    """Measure some parts. Raises BenchError where something that is needed is not there, or fails."""
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:5.0f} s] {text}", file=sys.stderr, flush=True)

    ensure_tools(say)
    _raise_descriptor_limit()
    run = describe(effort.name)
    run["cores"] = "the programs that are measured apart from all else" if pins else "shared by all"
    results = Results(run=run, parts={})
    place = _MEMORY_FOLDER if _MEMORY_FOLDER.is_dir() else None
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="asp-bench-", dir=place)))
        if pins:
            stack.enter_context(on_cores(load_cores()))
        service = stack.enter_context(nginx_service(folder, large_bytes=effort.bulk_mib * MIB))
        bench = Bench(effort, service, peers, say)
        for name in parts:
            part = PARTS[name](bench)
            part["measured"] = run["measured"]
            results["parts"][name] = part
    say("done")
    return results


def _raise_descriptor_limit() -> None:
    """Thousands of clients need as many descriptors, here and in the programs that are started from here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _merged(results: Results, path: Path) -> Results:
    """Put the parts of this run among those of earlier ones; each tells by itself when it was measured."""
    if set(results["parts"]) == set(PARTS) or not path.exists():
        return results
    earlier = load_results(path)
    parts = earlier["parts"] | results["parts"]
    return Results(run=earlier["run"], parts={name: parts[name] for name in PARTS if name in parts})


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it."""
    given = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        results = measure(given.effort, given.only, tuple(given.peers), pins=given.pin)
    except BenchError as error:
        sys.exit(f"bench: {error}")
    print(markdown(results))
    is_whole = given.effort is FULL and set(given.only) == set(PARTS)
    if is_whole or given.write:
        results = _merged(results, given.results)
        save_results(given.results, results)
        write_page(results, given.page)
        print(f"Written: {given.page}, {given.results}", file=sys.stderr)


if __name__ == "__main__":
    main()
