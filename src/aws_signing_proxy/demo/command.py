"""`aws-signing-proxy demo`: the stand-in, two proxies in front of it, the tour, and then it serves until Ctrl-C."""

from __future__ import annotations

import asyncio
import secrets
import signal
import sys
from typing import Final

from aws_signing_proxy.app import Application
from aws_signing_proxy.config.loading import load_settings
from aws_signing_proxy.config.settings import Settings
from aws_signing_proxy.demo.documents import DocumentStore
from aws_signing_proxy.demo.messages import Received, Reply
from aws_signing_proxy.demo.objects import ObjectStore
from aws_signing_proxy.demo.stand_in import HOST, VERDICT_FIELD, StandIn
from aws_signing_proxy.demo.table import Look, Screen
from aws_signing_proxy.demo.tour import Row, Tour
from aws_signing_proxy.observe.access_log import without_query_values
from aws_signing_proxy.observe.logs import configure_logs
from aws_signing_proxy.running import loop_factory
from aws_signing_proxy.sigv4.identity import Identity

__all__ = ["Demo", "run_demo"]

_REGION: Final = "eu-central-1"
_GROUPS: Final = {
    "es": "OpenSearch (service es)",
    "s3": "S3 (service s3)",
}
_EXIT_FAILED: Final = 1


def run_demo(*, once: bool, port: int, mgmt_port: int) -> int:
    """Run the demo; return 0, or 1 where a request did not go as it should or nothing could be listened on.

    `port` and `mgmt_port` are those of the first proxy (OpenSearch); 0 takes free ones, as the second always does.

    Raises:
        SettingsError: The two ports are the same.
    """
    configure_logs(level="warning", log_format="console")
    screen = Screen(sys.stdout, Look.of(sys.stdout))
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_run(screen, once=once, port=port, mgmt_port=mgmt_port))


async def _run(screen: Screen, *, once: bool, port: int, mgmt_port: int) -> int:
    demo = Demo(port=port, mgmt_port=mgmt_port)
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    try:
        await demo.start()
    except OSError as error:
        sys.stderr.write(f"aws-signing-proxy demo: {error.strerror or error}\n")
        await demo.stop()
        return _EXIT_FAILED
    try:
        rows = await _show_tour(screen, demo, stopping)
        if not once and not stopping.is_set():
            _show_what_to_try(screen, demo)
            demo.stand_in.on_request = lambda service, request, reply: _show_request(screen, service, request, reply)
            await stopping.wait()
            screen.line()
    finally:
        await demo.stop()
    return _EXIT_FAILED if any(row.problem is not None for row in rows) else 0


class Demo:
    """The stand-in with a new identity, and one proxy a service in front of it. `start`, then `stop`."""

    def __init__(self, *, port: int, mgmt_port: int) -> None:
        # Shaped like temporary credentials, and known to nobody else.
        self._identity = Identity("ASIADEMODEMODEMODEMO", secrets.token_urlsafe(30), secrets.token_urlsafe(300))
        self._ports = {"es": (port, mgmt_port), "s3": (0, 0)}
        self.stand_in = StandIn(
            identity=self._identity, region=_REGION, stores={"es": DocumentStore(), "s3": ObjectStore()}
        )
        self.proxies: dict[str, Application] = {}

    async def start(self) -> None:
        """Start the stand-in, then the proxies. Raises OSError, after which `stop` is still to be called."""
        await self.stand_in.start()
        environ = {
            "AWS_ACCESS_KEY_ID": self._identity.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self._identity.secret_access_key,
            "AWS_SESSION_TOKEN": self._identity.session_token or "",
        }
        for service, (port, mgmt_port) in self._ports.items():
            settings = _settings(service, self.stand_in.ports[service], port, mgmt_port)
            self.proxies[service] = Application(settings, environ)
            await self.proxies[service].start()

    async def stop(self) -> None:
        """Stop the proxies, then the stand-in."""
        for proxy in self.proxies.values():
            await proxy.stop(drain_timeout_seconds=1)
        await self.stand_in.stop()

    @property
    def tour(self) -> Tour:
        """The requests to send, through the proxies as they listen now."""
        return Tour(
            proxies={service: proxy.port for service, proxy in self.proxies.items()},
            stand_in=self.stand_in.ports,
            identity=self._identity,
            region=_REGION,
        )


def _settings(service: str, target_port: int, port: int, mgmt_port: int) -> Settings:
    flags = {
        "target_url": f"http://{HOST}:{target_port}",
        "service": service,
        "region": _REGION,
        "bind_address": HOST,
        "port": str(port),
        "mgmt_bind_address": HOST,
        "mgmt_port": str(mgmt_port),
    }
    # No environment: the demo looks the same wherever it runs.
    return load_settings(flags, {}).settings


async def _show_tour(screen: Screen, demo: Demo, stopping: asyncio.Event) -> list[Row]:
    screen.heading("aws-signing-proxy demo", "no AWS, no settings: all of it runs in this process")
    screen.line()
    screen.line("  client  ->  proxy: signs with SigV4  ->  stand-in for AWS: verifies")
    screen.table_head()
    rows: list[Row] = []
    group = ""
    async for row in demo.tour.rows():
        if stopping.is_set():
            break
        of_row = "Straight to the stand-in, past the proxy" if row.is_straight else _GROUPS[row.service]
        if of_row != group:
            group = of_row
            screen.group(group)
        screen.row(row)
        rows.append(row)
    screen.table_end(rows)
    return rows


def _show_what_to_try(screen: Screen, demo: Demo) -> None:
    es, s3 = demo.proxies["es"], demo.proxies["s3"]
    screen.heading("It is running. Ctrl-C ends it.")
    screen.link("proxy for OpenSearch (es)", es.listens_on)
    screen.link("proxy for S3 (s3)", s3.listens_on)
    screen.link("stand-in, which wants signatures", f"http://{HOST}:{demo.stand_in.ports['es']}")
    screen.link("health", f"http://{HOST}:{es.management.port}/status/health")
    screen.link("metrics", f"http://{HOST}:{es.management.port}/status/metrics")
    screen.heading("Try, from another terminal:")
    screen.command(f"curl '{es.listens_on}/library/_search?q=signing'")
    screen.command(f"curl -T README.md {s3.listens_on}/archive/readme.md")
    screen.command(f"curl '{s3.listens_on}/archive?list-type=2'")
    screen.command(f"curl -i http://{HOST}:{demo.stand_in.ports['es']}/library/_doc/1   # unsigned: 403")
    screen.heading("What arrives at the stand-in:")


def _show_request(screen: Screen, service: str, request: Received, reply: Reply) -> None:
    target = without_query_values(request.target)
    screen.seen(service, f"{request.method} {target}", reply.status, reply.field(VERDICT_FIELD) or "")
