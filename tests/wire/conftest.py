"""A raw upstream and the whole proxy before it: one of each for a module, and none of a test's traces for the next."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.wire.raw_client import RawClient, Response, exchange, raw_client
from tests.wire.raw_upstream import OK, End, Pause, RawUpstream, ReceivedRequest, Step, Tell, WaitFor, in_pieces
from tests.wire.running_proxy import RunningProxy

__all__ = [
    "OK",
    "End",
    "Pause",
    "RawClient",
    "RawUpstream",
    "ReceivedRequest",
    "Response",
    "RunningProxy",
    "Step",
    "Tell",
    "WaitFor",
    "exchange",
    "in_pieces",
    "raw_client",
]


@pytest.fixture(scope="module", name="module_upstream")
def _module_upstream() -> Iterator[RawUpstream]:
    with RawUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module", name="proxy")
def _proxy(module_upstream: RawUpstream) -> Iterator[RunningProxy]:
    """The proxy that all tests of a module share, with the default settings."""
    with RunningProxy(module_upstream.url) as proxy:
        yield proxy


@pytest.fixture(name="upstream")
def _upstream(module_upstream: RawUpstream) -> RawUpstream:
    """The module's upstream, with nothing received and nothing scripted."""
    module_upstream.forget()
    return module_upstream
