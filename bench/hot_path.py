"""The time that each behaviour of the request's path takes, without sockets (see `bench.behaviours`).

    python -m bench.hot_path [--behaviour NAME] [--profile]

Microseconds, the best of several runs. Only ratios between two versions on the same quiet machine mean anything; for
what does not depend on the machine's mood there is `bench.instructions`.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import timeit

from bench.behaviours import Behaviour, scene

_WARM_UP = 1000
_REPEATS = 9
_SECONDS_OF_A_REPEAT = 0.1


def best_microseconds(behaviour: Behaviour) -> float:
    """Return the time of one call."""
    timer = timeit.Timer(behaviour)
    number = max(1, int(_SECONDS_OF_A_REPEAT / (timer.timeit(_WARM_UP) / _WARM_UP)))
    return min(timer.repeat(number=number, repeat=_REPEATS)) / number * 1e6


def profile(behaviour: Behaviour, calls: int = 20_000) -> None:
    """Print where the time of a behaviour goes."""
    with cProfile.Profile() as profiler:
        for _ in range(calls):
            behaviour()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(45)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.hot_path", description="Time of the request's path.")
    parser.add_argument("--behaviour", metavar="NAME", help="only those whose names contain this")
    parser.add_argument("--profile", action="store_true", help="say where the time goes")
    given = parser.parse_args()
    with scene() as behaviours:
        chosen = {name: each for name, each in behaviours.items() if (given.behaviour or "") in name}
        if not chosen:
            parser.error(f"no behaviour's name contains {given.behaviour!r}; there are: {', '.join(behaviours)}")
        gc.freeze()
        for name, behaviour in chosen.items():
            print(f"{name:46} {best_microseconds(behaviour):8.2f} µs", flush=True)
            if given.profile:
                profile(behaviour)


if __name__ == "__main__":
    main()
