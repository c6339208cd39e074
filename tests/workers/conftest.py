"""A raw upstream for each test here: these tests end processes in ways that the next should not meet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.wire.raw_upstream import RawUpstream


@pytest.fixture(name="upstream")
def _upstream() -> Iterator[RawUpstream]:
    with RawUpstream() as upstream:
        yield upstream
