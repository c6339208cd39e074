"""Logging is one for the process: each test leaves it as it was."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from aws_signing_proxy.observe.logs import remove_log_handlers


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("aws_signing_proxy")
    levels = root.level, ours.level
    yield
    remove_log_handlers()
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
