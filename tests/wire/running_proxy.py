"""The whole application, as `app` composes it, in a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from typing import Literal, Self, TypeAlias, TypeVar

from aws_signing_proxy.app import Application
from aws_signing_proxy.config.loading import load_settings
from aws_signing_proxy.observe.counters import Counters

__all__ = ["ENVIRONMENT", "LoopKind", "RunningProxy"]

LoopKind: TypeAlias = Literal["uvloop", "asyncio"]
T = TypeVar("T")

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    # The SDKs' chain, where a test leaves it without the keys above, would ask an address that is not this machine's.
    "AWS_EC2_METADATA_DISABLED": "true",
    "ASP_BIND_ADDRESS": "127.0.0.1",
    "ASP_PORT": "0",
    "ASP_MGMT_PORT": "0",
    "ASP_SERVICE": "es",
    "AWS_REGION": "eu-central-1",
}
"""The environment of every proxy here, before a test's own settings."""

_START_SECONDS = 10.0


def _loop_factory(kind: LoopKind) -> Callable[[], asyncio.AbstractEventLoop]:
    if kind == "asyncio":
        return asyncio.new_event_loop
    import uvloop

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


class RunningProxy:
    """A proxy that runs while the `with` statement does.

    `settings` are environment variables beside `ENVIRONMENT`. `target_url` is a setting that every proxy needs.
    """

    application: Application
    loop: asyncio.AbstractEventLoop

    def __init__(
        self, target_url: str, settings: Mapping[str, str] | None = None, *, loop_kind: LoopKind = "uvloop"
    ) -> None:
        self.environ = ENVIRONMENT | {"ASP_TARGET_URL": target_url} | dict(settings or {})
        self._loop_kind: LoopKind = loop_kind
        self._started: Future[None] = Future()
        self._stopping: asyncio.Event | None = None
        self._drain_timeout_seconds = 0.0
        self._thread = threading.Thread(target=self._run, name="running proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.result(_START_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self.application.port

    @property
    def management_port(self) -> int:
        """The port of health and metrics."""
        return self.application.management.port

    @property
    def counters(self) -> Counters:
        """The numbers of the application itself."""
        return self.application.counters

    def upstream_uses(self) -> int:
        """How often a connection to the upstream was asked for, opened or taken from the pool."""
        self.settle()
        return self.counters.upstream_connects_total + self.counters.upstream_reuses_total

    def call(self, function: Callable[[], T]) -> T:
        """Call `function` in the proxy's event loop; return what it returns."""
        result: Future[T] = Future()

        def call() -> None:
            try:
                result.set_result(function())
            except BaseException as error:  # noqa: BLE001 - it belongs to the caller's thread
                result.set_exception(error)

        self.loop.call_soon_threadsafe(call)
        return result.result(_START_SECONDS)

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """Let the event loop do nothing inside the `with` statement: what arrives meanwhile, it finds together."""
        stands, may_go_on = threading.Event(), threading.Event()

        def stand() -> None:
            stands.set()
            may_go_on.wait(_START_SECONDS)

        self.loop.call_soon_threadsafe(stand)
        assert stands.wait(_START_SECONDS)
        try:
            yield
        finally:
            may_go_on.set()

    def settle(self) -> None:
        """Return when the proxy has read all that had been sent to it before.

        A write to a local socket is in the reader's buffer when it returns, and the event loop looks at its
        sockets once between two calls into it.
        """
        for _ in range(3):
            self.call(lambda: None)

    def stop(self, *, drain_timeout_seconds: float = 0.0) -> None:
        """Stop as on SIGTERM. May be called twice."""
        if not self._thread.is_alive():
            return
        self._drain_timeout_seconds = drain_timeout_seconds
        assert self._stopping is not None
        self.loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(_START_SECONDS + drain_timeout_seconds)
        assert not self._thread.is_alive(), "the proxy did not stop"

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=_loop_factory(self._loop_kind)) as runner:
                runner.run(self._serve())
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self.application = Application(load_settings({}, self.environ).settings, self.environ)
        try:
            await self.application.start()
        except BaseException:
            await self.application.stop(drain_timeout_seconds=0)
            raise
        self._started.set_result(None)
        await self._stopping.wait()
        await self.application.stop(drain_timeout_seconds=self._drain_timeout_seconds)
