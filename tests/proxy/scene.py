"""The proxy path between fake transports: no socket, a clock that a test sets, and everything else real."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError
from aws_signing_proxy.observe.counters import Counters
from aws_signing_proxy.proxy.body import BodyLimits, BodyMemory
from aws_signing_proxy.proxy.context import Context, Limits
from aws_signing_proxy.proxy.downstream import DownstreamConnection
from aws_signing_proxy.proxy.rewrite import HeadRewriter
from aws_signing_proxy.proxy.route import Route
from aws_signing_proxy.proxy.server import ProxyServer
from aws_signing_proxy.sigv4 import Signer
from aws_signing_proxy.upstream.upstream import Upstream
from tests.credentials.stores import store_of
from tests.upstream.fake_connector import FakeConnector
from tests.upstream.fake_transport import FakeTransport

__all__ = ["GET", "NOW", "OK", "Client", "Scene", "play", "post", "until"]

NOW = 1_700_000_000.0
GET = b"GET /path HTTP/1.1\r\nHost: client.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

_NEVER = float("inf")
_LIMITS = Limits(
    max_connections=10,
    max_head_bytes=4096,
    max_body_bytes=_NEVER,
    request_head_timeout_seconds=10.0,
    client_idle_timeout_seconds=300.0,
    upstream_wait_timeout_seconds=20.0,
    response_timeout_seconds=60.0,
    progress_timeout_seconds=120.0,
    flush_interval_seconds=0.0,
    credentials_wait_timeout_seconds=10.0,
)


def post(body: bytes, *fields: bytes, method: bytes = b"POST") -> bytes:
    """Return a whole request with a body of known length."""
    lines = [method + b" /path HTTP/1.1", b"Host: client.test", b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for what a thread brings about, which tells nobody."""
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110 - there is nothing to wait on
            await asyncio.sleep(0.0005)


class SceneProvider:
    """A local source that has `credentials`; where it is made remote (`is_local`), requests wait for a fetch."""

    name = "test"

    def __init__(self, credentials: Credentials | None) -> None:
        self.credentials = credentials
        self.is_local = True
        self.is_conclusive = False

    def has_changed(self) -> bool:
        """Never."""
        return False

    def retrieve(self, _fetch: Fetch) -> Credentials:
        """Return what there is."""
        if self.credentials is None:
            attempt = Attempt("nowhere", "there is nothing", "Put something there")
            raise CredentialsUnavailableError((attempt,), is_conclusive=self.is_conclusive)
        return self.credentials

    def close(self, _fetch: Fetch) -> None:
        """Nothing was lent."""


class Client:
    """A client on a fake transport; what it sends is received at once."""

    def __init__(self, scene: Scene, *, high_water: int | None = None) -> None:
        self.connection = DownstreamConnection(scene.context, scene.server)
        self.transport = FakeTransport(self.connection, high_water=high_water)
        self.connection.connection_made(self.transport)

    def send(self, data: bytes) -> None:
        """Let the proxy receive `data` in one read."""
        self.connection.data_received(data)

    def take(self) -> bytes:
        """Return what the proxy has sent."""
        return self.transport.take()

    def take_problem(self) -> tuple[int, str]:
        """Return the status and the code of the one error that the proxy has sent."""
        head, _, body = self.take().partition(b"\r\n\r\n")
        problem = json.loads(body)
        status = int(head[9:12])
        assert problem["status"] == status
        return status, problem["code"]

    def lose(self) -> None:
        """Go away."""
        self.transport.lose()


class Scene:
    """A server with fake clients and a fake upstream. `now` is the monotonic clock; `limits` are given by name."""

    def __init__(
        self,
        *,
        max_upstream: int = 4,
        memory_limit_bytes: int = 1024,
        memory_total_bytes: int = 65536,
        spool_directory: str | None = None,
        high_water: int | None = None,
        **limits: Any,
    ) -> None:
        self.now = 0.0
        self.wall_now = NOW
        self.counters = Counters()
        self.connector = FakeConnector(high_water=high_water)
        self.executor = ThreadPoolExecutor(2)
        self.upstream = Upstream(
            self.connector,
            max_connections=max_upstream,
            idle_timeout_seconds=90.0,
            max_age_seconds=0.0,
            counters=self.counters,
            clock=lambda: self.now,
        )
        self.provider = SceneProvider(Credentials("AKIDEXAMPLE", "the-secret", "the-token", source="test"))
        self.credentials = store_of(self.provider, clock=lambda: self.wall_now, monotonic=lambda: self.now)
        self.rewriter = HeadRewriter(
            signer=Signer(service="es", region="eu-central-1"),
            host=b"service.test",
            path_prefix=b"",
            via_name=b"this-proxy",
        )
        self.context = Context(
            route=Route(upstream=self.upstream, credentials=self.credentials, rewriter=self.rewriter),
            limits=replace(_LIMITS, **limits),
            bodies=BodyLimits(
                memory_limit_bytes=memory_limit_bytes,
                memory=BodyMemory(memory_total_bytes, self.counters),
                spool_directory=spool_directory,
                executor=self.executor,
            ),
            counters=self.counters,
            access_log=None,
            loop=asyncio.get_running_loop(),
            wall_clock=lambda: self.wall_now,
        )
        self.context.clock = lambda: self.now
        self.server = ProxyServer(self.context)

    def client(self, *, high_water: int | None = None) -> Client:
        """Connect a client."""
        return Client(self, high_water=high_water)

    def service(self, number: int = 0) -> FakeTransport:
        """Return the upstream connection of that number, in order of opening: what the proxy sends stands there."""
        return self.connector.transports[number]

    def respond(self, data: bytes, number: int = 0) -> None:
        """Let the proxy receive `data` from the upstream in one read."""
        self.service(number).protocol.data_received(data)

    async def fetch_credentials(self) -> None:
        """Let the background task make a fetch, which it makes by itself in no scene."""
        await self.credentials.refresher._fetch(self.credentials)

    async def settle(self) -> None:
        """Let everything happen that is due in the event loop."""
        for _ in range(8):
            await asyncio.sleep(0)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for a thread of the spool."""
        await until(is_so)

    def pass_time(self, seconds: float) -> None:
        """Let time pass and the server look at it."""
        self.now += seconds
        self.server._sweep()
        assert self.server._sweep_timer is not None
        self.server._sweep_timer.cancel()

    @property
    def codes(self) -> dict[str, int]:
        """How often requests ended with each code."""
        codes: dict[str, int] = {}
        for (_, _, code), count in self.counters.requests.items():
            codes[code] = codes.get(code, 0) + count
        return codes

    @property
    def hit(self) -> dict[str, int]:
        """The limits that were hit."""
        return {str(limit): count for limit, count in self.counters.limits_hit.items() if count}

    @property
    def pool(self) -> str:
        """What the pool of upstream connections holds."""
        return repr(self.upstream._pool)

    def assert_nothing_is_held(self) -> None:
        """Every gauge is back at zero."""
        counters = self.counters
        assert counters.requests_in_flight == 0
        assert counters.body_memory_bytes == 0
        assert self.context.bodies.memory.used == 0
        assert counters.spool_bytes == 0
        assert " busy=0 connecting=0 waiting=0>" in self.pool


def play(run: Callable[[Scene], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Run a scene. At its end all clients go, and nothing may be held for them."""

    async def scene_of_its_own() -> None:
        scene = Scene(**options)
        problems: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
        await scene.fetch_credentials()
        try:
            await run(scene)
            for connection in list(scene.server._connections):
                connection.connection_lost(None)
            await scene.settle()
            await scene.until(lambda: scene.context.bodies.memory.used == 0)
            await scene.upstream.close()
        finally:
            scene.executor.shutdown()
        scene.assert_nothing_is_held()
        assert scene.counters.downstream_connections_open == 0
        assert problems == []

    asyncio.run(scene_of_its_own())
