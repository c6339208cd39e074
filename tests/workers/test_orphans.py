"""Orphans that fall to the proxy are reaped; children that somebody waits for keep their status for them."""

from __future__ import annotations

import subprocess
import sys

# A process of its own, which orphans fall to as they fall to process 1 of a container (prctl, PR_SET_CHILD_SUBREAPER).
PROGRAM = """
import ctypes, os, subprocess, sys, threading, time
from aws_signing_proxy.workers.orphans import reap_orphans

assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0
own = os.fork()
if own == 0:
    os._exit(3)
parent = os.fork()
if parent == 0:
    if os.fork() == 0:
        time.sleep(0.05)
        os._exit(0)
    os._exit(0)
os.waitpid(parent, 0)
waited = []
def run():
    program = subprocess.Popen([sys.executable, "-c", "raise SystemExit(5)"])
    waited.append(program)
    may_wait.wait()
    waited.append(program.wait())
may_wait = threading.Event()
thread = threading.Thread(target=run)
thread.start()
reaped = []
deadline = time.monotonic() + 10
def is_zombie(pid):
    return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] == "Z"
while time.monotonic() < deadline and not (reaped and waited and is_zombie(waited[0].pid)):
    reaped += reap_orphans({own})
    time.sleep(0.005)
reaped += reap_orphans({own})
may_wait.set()
thread.join()
print(len(reaped), waited[1], os.waitstatus_to_exitcode(os.waitpid(own, 0)[1]))
"""


def test_orphans_are_reaped_and_others_are_left_to_those_who_wait_for_them() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.split(), done.stderr) == (["1", "5", "3"], "")
