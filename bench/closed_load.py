"""A closed loop: each connection sends its next request when it has the answer to the last. By wrk.

It finds what a program can do at most, and what a request costs it. Its latencies are those of a program that is asked
as much as it can answer; a slow answer keeps its client from asking again (coordinated omission), so for latency below
that there is `bench.open_load`.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass, replace

from bench.processes import cpu_seconds
from bench.programs import BenchError, Program, path_of

__all__ = ["GET", "POST_1K", "Load", "Work", "load", "parse_report"]

_SCRIPT = """
function init(args)
  local size, fields = tonumber(args[1]), tonumber(args[2])
  if size > 0 then
    wrk.method = "POST"
    wrk.body = string.rep("x", size)
    wrk.headers["Content-Type"] = "application/json"
  end
  for field = 1, fields do
    wrk.headers["X-Field-" .. field] = "a value of usual length, number " .. field
  end
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\\n{"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "p999": %d, "not_ok": %d, "broken": %d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
"""
_CHANGING = """
local number = 0
function request()
  number = number + 1
  wrk.headers["X-Request-Id"] = string.format("%08d", number)
  return wrk.format()
end
"""


@dataclass(frozen=True)
class Work:
    """What is sent: a GET, or a POST with a body of so many bytes; on so many connections.

    `fields` more than wrk sends by itself; `is_changing`: one more, with another value each time.
    """

    name: str
    body_bytes: int = 0
    connections: int = 32
    fields: int = 0
    is_changing: bool = False

    def on(self, connections: int) -> Work:
        """Return the same work on another number of connections."""
        return replace(self, connections=connections)


GET = Work("GET")
POST_1K = Work("POST 1 KB", 1024)


@dataclass(frozen=True)
class Load:
    """What a load came to; latencies in milliseconds. `busy`: the share of the time that the program worked."""

    cpu_us: float
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    busy: float


def load(program: Program, work: Work, seconds: int) -> Load:
    """Load a program. Raises BenchError where it does not answer every request with 200."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_SCRIPT + _CHANGING if work.is_changing else _SCRIPT)
        script.flush()
        command = [path_of("wrk"), "-t1", f"-c{work.connections}", f"-d{seconds}s", "--timeout", "20s"]
        command += ["-s", script.name, f"http://127.0.0.1:{program.port}/index/_doc/1?refresh=true", "--"]
        command += [str(work.body_bytes), str(work.fields)]
        before = cpu_seconds(program.pid)
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        used = cpu_seconds(program.pid) - before
    if run.returncode != 0:
        raise BenchError(f"wrk failed: {run.stdout}{run.stderr}")
    return parse_report(run.stdout, used)


def parse_report(output: str, cpu_seconds_used: float) -> Load:
    """Read what the script printed last. Raises BenchError where a request failed, or none was made."""
    try:
        report = json.loads(output.strip().rpartition("\n")[2])
    except ValueError as error:
        raise BenchError(f"wrk reported nothing: {output!r}") from error
    if report["not_ok"] or report["broken"] or not report["requests"]:
        raise BenchError(f"not every request was answered with 200: {report}")
    seconds = report["microseconds"] / 1e6
    return Load(
        cpu_us=cpu_seconds_used / report["requests"] * 1e6,
        requests_per_second=report["requests"] / seconds,
        p50_ms=report["p50"] / 1000,
        p99_ms=report["p99"] / 1000,
        p999_ms=report["p999"] / 1000,
        busy=cpu_seconds_used / seconds,
    )
