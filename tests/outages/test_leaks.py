"""A hundred refreshes in a row leave nothing behind, the process stays small, and it ends while a fetch hangs."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import pytest

from tests.outages.conftest import Start, wait_until
from tests.outages.load import ask
from tests.outages.sources import SOURCES, Irsa, Source

# What is freed late, and the allocator's rounding; a leak of a connection or a document a fetch would be more.
_MOST_GROWTH_MIB = 3.0
_MOST_IDLE_MIB = 72.0


def pss_mib(pid: int) -> float:
    found = re.search(r"^Pss:\s+(\d+) kB$", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def held(pid: int) -> tuple[int, int]:
    """Return the number of threads and of descriptors."""
    return len(list(Path(f"/proc/{pid}/task").iterdir())), len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.mark.parametrize("kind", SOURCES, ids=lambda kind: kind.name)
def test_a_hundred_refreshes_leak_no_memory_thread_or_descriptor(
    kind: type[Source], tmp_path: Path, start: Start
) -> None:
    with kind(tmp_path) as source:
        proxy, _ = start(source)
        assert ask(proxy.port).status == 200

        def refresh(times: int) -> None:
            for _ in range(times):
                before = source.sets
                proxy.signal(signal.SIGHUP)
                wait_until(lambda before=before: source.sets > before)  # type: ignore[misc] # bound at each turn

        refresh(20)
        time.sleep(0.3)
        memory, (threads, descriptors) = pss_mib(proxy.pid), held(proxy.pid)
        refresh(100)
        time.sleep(0.3)
        assert pss_mib(proxy.pid) - memory < _MOST_GROWTH_MIB
        threads_after, descriptors_after = held(proxy.pid)
        # One more of each may be on its way: a fetch that ends, a connection that is being closed.
        assert threads_after <= threads + 1
        assert descriptors_after <= descriptors + 1
        assert ask(proxy.port).status == 200


def test_the_process_with_irsa_is_small(tmp_path: Path, start: Start) -> None:
    with Irsa(tmp_path) as source:
        proxy, _ = start(source)
        assert ask(proxy.port).status == 200
        assert pss_mib(proxy.pid) < _MOST_IDLE_MIB


def test_it_listens_at_once_and_ends_soon_while_a_fetch_hangs(tmp_path: Path, start: Start) -> None:
    with Irsa(tmp_path) as source:
        source.fail("silent")
        proxy, _ = start(source)
        wait_until(lambda: source.fetches == 1)
        assert proxy.management("/status/live")[0] == 200
        assert proxy.management("/status/ready")[0] == 503
        began = time.monotonic()
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 0
        assert time.monotonic() - began < 8.0
