"""Who is measured: this project's proxy, the two that pass on unsigned, and any peer that is given as a command.

A peer is started with the environment that this proxy gets, the contract of the original: `ASP_TARGET_URL`, `ASP_PORT`,
`ASP_MGMT_PORT`, `ASP_SERVICE`, the AWS variables, `SSL_CERT_FILE`. It must listen on 127.0.0.1 and sign.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from bench.processes import program_cores
from bench.programs import BenchError, Program, free_port, running
from bench.servers import Service, haproxy_pass_through, nginx_pass_through

__all__ = ["FLOOR", "OURS", "Contestant", "Peer", "environment_for", "everybody", "parse_peer", "proxy", "started"]

OURS = "proxy"
FLOOR = "nginx"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "ASIAEXAMPLEEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "not-a-secret-only-for-the-bench",
    "AWS_SESSION_TOKEN": "T" * 400,
    "AWS_REGION": "eu-central-1",
}
_COMMAND = (sys.executable, "-m", "aws_signing_proxy")


@dataclass(frozen=True)
class Peer:
    """Another signing proxy: its name in the tables, and the words of its command."""

    name: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class Contestant:
    """Somebody who is measured; `start` runs it before a service over plain HTTP, or over TLS."""

    name: str
    start: Callable[[Service, bool], AbstractContextManager[Program]]
    may_fail: bool = False


def parse_peer(text: str) -> Peer:
    """Read `NAME=COMMAND`. Raises ValueError with a sentence."""
    name, equals, command = text.partition("=")
    words = tuple(shlex.split(command))
    if not equals or not name.strip() or not words:
        raise ValueError(f"{text!r} is not NAME=COMMAND, such as original=/usr/local/bin/aws-signing-proxy")
    if name.strip() in {OURS, FLOOR, "haproxy", "direct"}:
        raise ValueError(f"{name.strip()!r} is the name of somebody who is measured anyway")
    return Peer(name.strip(), words)


def environment_for(service: Service, *, tls: bool, port: int, management_port: int) -> dict[str, str]:
    """Return the environment of a signing proxy before the service."""
    return {
        **{name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ},
        **CREDENTIALS,
        "ASP_TARGET_URL": f"https://localhost:{service.signed_tls_port}"
        if tls
        else f"http://127.0.0.1:{service.signed_port}",
        "ASP_SERVICE": "es",
        "ASP_BIND_ADDRESS": "127.0.0.1",
        "ASP_PORT": str(port),
        "ASP_MGMT_PORT": str(management_port),
        "SSL_CERT_FILE": str(service.ca_file),
        "ASP_LOG_LEVEL": "error",
    }


@contextlib.contextmanager
def proxy(
    service: Service, *, tls: bool, settings: Mapping[str, str] | None = None, command: tuple[str, ...] = _COMMAND
) -> Iterator[Program]:
    """Run this project's proxy as users do, with its default settings but for `settings`; or a peer's `command`."""
    port, management_port = free_port(), free_port()
    environment = environment_for(service, tls=tls, port=port, management_port=management_port) | dict(settings or {})
    log = service.folder / f"signing-proxy-{port}.log"
    with running(command, port=port, log=log, environment=environment, cores=program_cores()) as pid:
        yield Program(pid, port, management_port)


def everybody(peers: tuple[Peer, ...], *, with_haproxy: bool = True) -> list[Contestant]:
    """Return who is measured, in the order of the tables: those that do not sign, this proxy, its peers."""

    def peer(command: tuple[str, ...]) -> Callable[[Service, bool], AbstractContextManager[Program]]:
        return lambda service, tls: proxy(service, tls=tls, command=command)

    haproxy = Contestant("haproxy", lambda service, tls: haproxy_pass_through(service, tls=tls))
    return [
        Contestant(FLOOR, lambda service, tls: nginx_pass_through(service, tls=tls)),
        *([haproxy] if with_haproxy else []),
        Contestant(OURS, lambda service, tls: proxy(service, tls=tls)),
        *(Contestant(each.name, peer(each.command), may_fail=True) for each in peers),
    ]


@contextlib.contextmanager
def started(
    contestants: list[Contestant], service: Service, *, tls: bool, say: Callable[[str], None]
) -> Iterator[dict[str, Program]]:
    """Run all of them at once; they are loaded in turn. A peer that does not start is left out, and named."""
    with contextlib.ExitStack() as stack:
        programs = {}
        for contestant in contestants:
            try:
                programs[contestant.name] = stack.enter_context(contestant.start(service, tls))
            except BenchError as error:
                if not contestant.may_fail:
                    raise
                say(f"{contestant.name} is left out: {error}")
        yield programs
