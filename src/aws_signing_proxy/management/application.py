"""What the management port answers. It knows nothing by itself: readiness and metrics are given as callables."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

__all__ = ["DEFAULT_METRICS_PATH", "application"]

DEFAULT_METRICS_PATH: Final = "/status/metrics"

# A cached state is a wrong state.
_NOT_STORED: Final = {"cache-control": "no-store"}


def application(
    *,
    reasons_not_ready: Callable[[], list[str]],
    credentials: Callable[[], dict[str, Any]],
    exposition: Callable[[], tuple[bytes, str]],
    refresh: Callable[[], Awaitable[None]] | None = None,
    metrics_path: str = DEFAULT_METRICS_PATH,
) -> Starlette:
    """Return the ASGI application.

    `reasons_not_ready` gives a sentence for each reason why no request should be sent to the proxy now, none when it is
    ready. `credentials` gives what is told about the credentials. `exposition` gives the metrics' text and its
    content type. `refresh` is awaited before either: it brings the numbers of other processes up to date.

    - `/status/health`: 200 and `{"status":"ok"}`, exactly as the original proxy answers it.
    - `/status/live`: 200 while the event loop runs. Credentials that are missing do not end the process, so a liveness
      probe must not look at them.
    - `/status/ready`: 200, or 503 with the reasons.
    - `/status/credentials`: 200 and JSON: source, expiry, last fetch, circuit breaker; never a secret.
    - `metrics_path`: Prometheus text.
    """

    async def ready(_request: Request) -> Response:
        reasons = reasons_not_ready()
        if reasons:
            return JSONResponse({"status": "not ready", "reasons": reasons}, 503, _NOT_STORED)
        return JSONResponse({"status": "ready"}, headers=_NOT_STORED)

    async def about_credentials(_request: Request) -> Response:
        if refresh is not None:
            await refresh()
        return JSONResponse(credentials(), headers=_NOT_STORED)

    async def metrics(_request: Request) -> Response:
        if refresh is not None:
            await refresh()
        text, content_type = exposition()
        # Given as a field, because `media_type` would append a charset of its own.
        return Response(text, headers={"content-type": content_type, **_NOT_STORED})

    routes = [
        Route("/status/health", _health),
        Route("/status/live", _live),
        Route("/status/ready", ready),
        Route("/status/credentials", about_credentials),
        Route(metrics_path, metrics),
    ]
    paths = [route.path for route in routes]

    async def refuse(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # it is registered for 404 and 405 only
        return JSONResponse({"error": error.detail, "paths": paths}, error.status_code, error.headers)

    app = Starlette(routes=routes, exception_handlers={404: refuse, 405: refuse})
    app.router.redirect_slashes = False
    return app


async def _health(_request: Request) -> Response:
    return JSONResponse({"status": "ok"}, headers=_NOT_STORED)


async def _live(_request: Request) -> Response:
    return JSONResponse({"status": "live"}, headers=_NOT_STORED)
