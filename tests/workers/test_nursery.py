"""The process that workers are forked from, where the system has no room for what it is to do."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys

from aws_signing_proxy.workers.nursery import Frame, Nursery, Word, _Inside
from tests.wire.running_proxy import ENVIRONMENT

PROGRAM = """
import os, sys
from aws_signing_proxy.config.loading import load_settings
from aws_signing_proxy.running import run_proxy

def fork():
    raise BlockingIOError(11, "no more processes")

os.fork = fork
sys.exit(run_proxy(load_settings({}, os.environ), os.environ))
"""


def test_without_a_process_to_fork_from_the_proxy_ends_with_a_sentence() -> None:
    environ = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")} | ENVIRONMENT
    environ |= {"ASP_TARGET_URL": "http://127.0.0.1:1", "ASP_WORKERS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "no process can be made for workers (ASP_WORKERS): no more processes" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_channel_that_there_was_no_descriptor_for_is_a_worker_that_was_not_born() -> None:
    """The kernel drops what does not fit: the frame comes without it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        inside = _Inside(theirs, lambda *_: 0, lambda: None, lambda: None, 0.0)
        nursery = Nursery(ours, 0)
        nursery._say(Frame(Word.FORK, 3))
        assert inside._heed()
        assert nursery.frames() == [Frame(Word.NOT_BORN, 3, errno.EMFILE)]
        inside._wake.close()
        inside._bell.close()
