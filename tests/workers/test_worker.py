"""A worker's own side, without a supervisor's process: what it does when something of it fails."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from aws_signing_proxy.proxy.listening import Listeners
from aws_signing_proxy.workers import worker as worker_module
from aws_signing_proxy.workers.shared_counters import NO_FIGURES, Figures, SharedFigures
from aws_signing_proxy.workers.turns import Board, MyTurns
from aws_signing_proxy.workers.worker import Plane, _Worker


class TooLarge(SharedFigures):
    """Figures that do not fit, for a while."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    def write(self, figures: Figures) -> None:
        self.failures -= 1
        if self.failures >= 0:
            raise ValueError("figures of a million bytes do not fit")
        super().write(figures)


class IdlePlane:
    """Serves nobody (see `Plane`)."""

    def snapshot(self) -> object:
        return NO_FIGURES


def test_figures_that_cannot_be_published_are_told_of_once_and_tried_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "PUBLISH_SECONDS", 0.002)

    async def run() -> None:
        figures = TooLarge(5)
        listeners = Listeners([])
        worker = _Worker(lambda *_: cast("Plane", IdlePlane()), listeners, MyTurns(Board(1), 0), figures, 0.0)
        worker._plane = cast("Plane", IdlePlane())
        worker._publish()
        async with asyncio.timeout(10):
            while figures.read() is None:  # noqa: ASYNC110 - there is nothing to wait on
                await asyncio.sleep(0.002)
        worker._publish(is_last=True)

    asyncio.run(run())
    assert sum("cannot be published" in str(record.msg) for record in caplog.records) == 1
